"""
Values that say where the value is: in the environment, or in a file of their own.

    listener ${MQTT_PORT:-1883}
    remote_password file:/run/secrets/bridge

Mosquitto knows neither. So that a file which was written for it keeps its meaning, as little as possible is
taken for a name: ``${NAME}`` counts only with capitals, digits and underscores in it, and any other ``$`` is
a dollar. ``$${NAME}`` is the text ``${NAME}``. ``file:`` counts only where a secret is expected.

What was put in is not looked at again: a variable's value cannot name another variable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pushd.config.errors import BadValue, quoted

VARIABLE = re.compile(r"(?P<escape>\$?)\$\{(?P<name>[A-Z_][A-Z0-9_]*)(?::-(?P<default>[^}]*))?\}")

FILE = "file:"
MAX_SECRET_BYTES = 65_536  # a key or token is shorter; this keeps /dev/zero from being read


def expand(text: str, environ: Mapping[str, str]) -> str:
    """
    Put variables of the environment in.

    :raises BadValue: there is no such variable, and no default for it. An empty one counts as one that is not
        there where a default is given, as in a shell.
    """
    return VARIABLE.sub(lambda found: _value_of(found, environ), text)


def _value_of(found: re.Match[str], environ: Mapping[str, str]) -> str:
    name, default = found["name"], found["default"]
    if found["escape"]:
        return found[0][1:]
    value = environ.get(name)
    if default is not None:
        return value or default
    if value is None:
        raise BadValue(
            f"there is no environment variable {name}; ${{{name}:-DEFAULT}} gives it a default, "
            f"and $${{{name}}} is the text itself"
        )
    return value


def fetch_secret(text: str) -> str:
    """
    The first line of the file that ``file:PATH`` names; any other text is the secret itself.

    :raises BadValue: the file cannot be read, or its first line is empty. Never with what it says.
    """
    path = text.strip(" ")
    if not path.startswith(FILE):
        return text
    path = path.removeprefix(FILE).strip(" ")
    try:
        with open(path, "rb") as file:
            line = file.readline(MAX_SECRET_BYTES)
        secret = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise BadValue(f"the first line of {quoted(path)} is not UTF-8") from None
    except (OSError, ValueError) as problem:  # ValueError: a path no file system can have
        reason = getattr(problem, "strerror", None) or str(problem)
        raise BadValue(f"{quoted(path)} cannot be read: {reason}") from None
    if not secret.strip():
        raise BadValue(f"the first line of {quoted(path)} is empty")
    return secret
