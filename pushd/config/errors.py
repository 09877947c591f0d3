"""
Why a settings file is refused.

    ConfigError        what the operator reads: where, and what is wrong there
    BadValue           raised by a value kind, which knows neither file nor option
    └── NotYet         a value that Mosquitto honours and pushd cannot, so far

`pushd.config.reader` turns the second and third into the first. Nothing else leaves `read_settings`.
"""


class ConfigError(Exception):
    """A settings file that cannot be obeyed: ``conf/pushd.conf:12: max_keepalive: 70000 is above 65535``."""

    def __init__(self, origin: str, cause: str) -> None:
        super().__init__(f"{origin}: {cause}")
        self.origin = origin
        self.cause = cause


class BadValue(ValueError):
    """A value its option cannot take. The text says why; file, line and option are put in front of it."""


class NotYet(BadValue):
    """A value that is right, but not implemented yet. The text is the value."""


def quoted(text: str) -> str:
    """`text` for a message: on one line, control characters escaped, and no longer than anybody reads."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
