"""
``pushctl``: what an operator does beside the running server.

Each command is a module with ``main(argv) -> exit status``; only the one that is asked for is imported, as
``cryptography`` alone takes longer to load than most commands take to run. (The server is started by
``twistd``; a command called ``pushd`` would be hidden by the shell's own.)
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple


class Command(NamedTuple):
    """One row of the table of commands."""

    module: str
    summary: str


COMMANDS = {
    "access": Command("pushd.ctl.access", "keep the access control list, entry by entry, as ntfy's"),
    "acl": Command("pushd.ctl.acl", "say which line of the ACL file decides about a client and a topic"),
    "certs": Command("pushd.ctl.certs", "make, issue and revoke certificates"),
    "chat": Command("pushd.ctl.chat", "talk to another user, line by line"),
    "first-run": Command(
        "pushd.ctl.first_run", "make certificates and a user, show what to try (`make run`)"
    ),
    "friends": Command("pushd.ctl.friends", "keep who follows whom: %f and %F in rules"),
    "passwd": Command("pushd.ctl.passwd", "edit a password file, with mosquitto_passwd's flags"),
    "token": Command("pushd.ctl.token", "make, list and revoke access tokens for the gateway"),
    "user": Command("pushd.ctl.users", "add, disable, remove and import accounts"),
    "subscriptions": Command("pushd.ctl.subscriptions", "keep what the server subscribes a user to"),
    "top": Command("pushd.ctl.top", "show the hottest topics of a running server"),
    "route": Command("pushd.ctl.route", "say where the routing rules would send a message"),
}


def _parser() -> argparse.ArgumentParser:
    listing = "\n".join(f"  {name:<10} {command.summary}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="pushctl",
        description="Tools for the operator of pushd.",
        epilog=f"commands:\n{listing}\n\n`pushctl COMMAND --help` says more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one command; everything after its name is the command's own.

    :param argv: without the program's name; ``None`` is the process's.
    :return: the exit status.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    command = _parser().parse_args(arguments[:1]).command
    status: int = import_module(COMMANDS[command].module).main(arguments[1:])
    return status


if __name__ == "__main__":
    sys.exit(main())
