"""Which statements of the standard a test holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


def holds(*statements: str) -> pytest.MarkDecorator:
    """
    Mark a test with what it holds.

    :param statements: such as ``"v3 [MQTT-3.1.0-1]"`` for a numbered statement of MQTT 3.1.1 (one of
        ``statements_v3.json``), ``"v3 §4.6"`` for a section, ``"3.1 §3.1"`` for one of MQTT 3.1, or
        ``"mosquitto: ..."`` for what the standard leaves open and clients of Mosquitto rely on.
    """
    return pytest.mark.holds(*statements)


def numbered_statements() -> dict[str, dict[str, str]]:
    """
    The normative statements of MQTT 3.1.1 by number: ``says``, in our words; ``by``, whom it binds
    (``server``, ``client`` or ``both``); ``unseen``, for one of a server's that no test holds, why.
    """
    statements: dict[str, dict[str, str]] = json.loads((FOLDER / "statements_v3.json").read_text())
    return statements
