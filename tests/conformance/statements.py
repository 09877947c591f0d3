"""Which statements of the standard a test holds."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


def holds(*statements: str) -> pytest.MarkDecorator:
    """
    Mark a test with what it holds.

    :param statements: such as ``"v3 [MQTT-3.1.0-1]"`` for a numbered statement of MQTT 3.1.1 (one of
        ``statements_v3.json``) or with ``v5`` of MQTT 5.0, ``"v3 §4.6"`` or ``"v5 §4.6"`` for a section,
        ``"3.1 §3.1"`` for one of MQTT 3.1, or
        ``"mosquitto: ..."`` for what the standard leaves open and clients of Mosquitto rely on.
    """
    return pytest.mark.holds(*statements)


def numbered_statements(version: str = "v3") -> dict[str, dict[str, str]]:
    """
    The normative statements of MQTT 3.1.1 (``v3``) or 5.0 (``v5``) by number: ``says``, in our words; ``by``,
    whom it binds (``server``, ``client`` or ``both``); ``unseen``, for one of a server's that no test holds,
    why.
    """
    statements: dict[str, dict[str, str]] = json.loads((FOLDER / f"statements_{version}.json").read_text())
    return statements


def held() -> Iterator[tuple[str, str]]:
    """
    What the tests say they hold, read from their sources, so that all of them count.

    :return: ``(test, statement)``, the test as ``test_01_connect.py::test_name``.
    """
    for path in sorted(FOLDER.glob("test_*.py")):
        for function in ast.parse(path.read_text()).body:
            if isinstance(function, ast.FunctionDef):
                for decorator in function.decorator_list:
                    if isinstance(decorator, ast.Call) and _is_holds(decorator.func):
                        for argument in decorator.args:
                            yield f"{path.name}::{function.name}", ast.literal_eval(argument)


def _is_holds(function: ast.expr) -> bool:
    return isinstance(function, ast.Name) and function.id == "holds"
