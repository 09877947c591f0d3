"""What commands that work with a server's settings have in common."""

from __future__ import annotations

from typing import Protocol

SETTINGS = "conf/pushd.conf"

DONE, NO, FAILED = 0, 1, 2  # exit statuses


class Parser(Protocol):
    """One of argparse's, or a group of options in one."""

    def add_argument(self, *names: str, metavar: str, default: str, help: str) -> object: ...


def add_config(parser: Parser, what: str = "the server's settings file") -> None:
    """
    Add ``-c FILE``.

    :param what: it is, for the help.
    """
    parser.add_argument(
        "-c", "--config", metavar="CONF", default=SETTINGS, help=f"{what}; default {SETTINGS}"
    )
