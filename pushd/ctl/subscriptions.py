"""
``pushctl subscriptions``: what the server subscribes each client of a user to, beside what is in rules.

    $ pushctl subscriptions add anna 'alerts/#' 1
    anna: alerts/# 1
    $ pushctl subscriptions list anna
    alerts/# 1

The server need not run; one that does counts the change within a second, for clients that are connected and
for sessions that are kept.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

from pushd.config.errors import ConfigError
from pushd.config.reader import read_settings
from pushd.ctl.command import DONE, FAILED, NO, add_config
from pushd.ctl.people import Question, are_kept, ask_people
from pushd.ctl.terminal import printable
from pushd.mqtt.errors import MalformedPacket
from pushd.mqtt.topics import check_filter
from pushd.people.interfaces import IPeople, PeopleUnavailable
from pushd.people.names import check_username

DESCRIPTION = """\
Keep the list of what the server subscribes each client of a user to. The rules of autosubscribe_file are not
in it. The user needs no account, but something must ask for such lists: autosubscribe_file, or accounts.
"""

EPILOG = """\
The exit status is 0; or 1 if there is no such subscription, 2 if nothing can be read or changed.
A name or filter that begins with a dash stands behind --.
"""


def main(arguments: Sequence[str]) -> int:
    """
    :param arguments: what follows ``pushctl subscriptions``.
    :return: the exit status.
    """
    options = _parser().parse_args(arguments)
    try:
        return _do(options)
    except (ConfigError, PeopleUnavailable, ValueError, MalformedPacket) as problem:
        print(f"pushctl subscriptions: {problem}", file=sys.stderr)
        return FAILED


def _do(options: argparse.Namespace) -> int:
    """
    :raises ConfigError, PeopleUnavailable: nothing can be done.
    :raises ValueError, MalformedPacket: a name or filter is none.
    """
    check_username(options.user)
    if options.filter is not None:
        check_filter(options.filter)
    settings = read_settings(options.config)
    if options.command == "list":
        listed = ask_people(settings, _listed(options.user)) if are_kept(settings) else {}
        return _list(listed, options.filter)
    if options.command == "add":
        status, said = ask_people(settings, _add(options.user, options.filter, options.qos))
    else:
        status, said = ask_people(settings, _remove(options.user, options.filter))
    print(said)
    return status


def _listed(username: str) -> Question[Mapping[str, int]]:
    async def ask(people: IPeople) -> Mapping[str, int]:
        return await people.subscriptions(username)

    return ask


def _add(username: str, filter: str, qos: int) -> Question[tuple[int, str]]:
    async def ask(people: IPeople) -> tuple[int, str]:
        await people.keep_subscription(username, filter, qos)
        return DONE, f"{printable(username)}: {printable(filter)} {qos}"

    return ask


def _remove(username: str, filter: str) -> Question[tuple[int, str]]:
    async def ask(people: IPeople) -> tuple[int, str]:
        if await people.remove_subscription(username, filter):
            return DONE, f"{printable(username)}: {printable(filter)} removed"
        return NO, f"{printable(username)}: {printable(filter)} is not in the list"

    return ask


def _list(listed: Mapping[str, int], only: str | None) -> int:
    found = {filter: qos for filter, qos in listed.items() if only in (None, filter)}
    for filter, qos in sorted(found.items()):
        print(f"{printable(filter)} {qos}")
    return DONE if found or only is None else NO


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pushctl subscriptions",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add = _command(commands.add_parser("add", help="add a topic filter, or give it another QoS"))
    add.add_argument("qos", metavar="QOS", type=int, choices=(0, 1, 2), help="0, 1 or 2")
    _command(commands.add_parser("remove", help="take one away"))
    _command(commands.add_parser("list", help="show all, or only this one if it is there"), "?")
    return parser


def _command(command: argparse.ArgumentParser, filter: str | None = None) -> argparse.ArgumentParser:
    command.add_argument("user", metavar="USER", help="the user's name")
    command.add_argument("filter", metavar="FILTER", nargs=filter, help="a topic filter, such as 'alerts/#'")
    add_config(command)
    return command
