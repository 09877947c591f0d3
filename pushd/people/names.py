"""What an account may be called: by the command line, by HTTP, and in a file that is imported."""

from __future__ import annotations

import re

# The longest name that fits into a CONNECT (v3 §1.5.3).
MAX_USERNAME_BYTES = 65_535

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def check_username(name: str) -> None:
    """
    Refuse what no client could log in with, by MQTT or HTTP. Anything else is a name: slashes, wildcards,
    colons and blanks too.

    :raises ValueError: the name is empty, too long, no UTF-8, or has a control character, which MQTT advises
        against (v5 §1.5.4) and HTTP forbids (RFC 7617 §2).
    """
    if not name:
        raise ValueError("the user name is empty")
    if _SURROGATE.search(name):
        raise ValueError("the user name is not UTF-8")
    if len(name.encode()) > MAX_USERNAME_BYTES:
        raise ValueError(f"the user name is longer than {MAX_USERNAME_BYTES} bytes")
    if _CONTROL.search(name):
        raise ValueError("the user name must not contain control characters")
