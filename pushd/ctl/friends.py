"""
``pushctl friends``: who follows whom.

    $ pushctl friends add anna bob
    anna follows bob
    $ pushctl friends list anna
    bob
    eve (mutual)

For ``%f`` in rules anna's friends are bob and eve; for ``%F`` only eve, who follows her back. The server need
not run; one that does counts the change within a second.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pushd.config.errors import ConfigError
from pushd.config.reader import read_settings
from pushd.ctl.command import DONE, FAILED, NO, add_config
from pushd.ctl.people import Question, are_kept, ask_people
from pushd.ctl.terminal import printable
from pushd.people.interfaces import Friends, IPeople, PeopleUnavailable
from pushd.people.names import check_username

DESCRIPTION = """\
Keep who follows whom: %f in the ACL file's patterns and other rules is each user whom a user follows, %F each
who follows back. Neither needs an account.
"""

EPILOG = """\
The exit status is 0; or 1 if A does not follow B, 2 if nothing can be read or changed.
A name that begins with a dash stands behind --.
"""


def main(arguments: Sequence[str]) -> int:
    """
    :param arguments: what follows ``pushctl friends``.
    :return: the exit status.
    """
    options = _parser().parse_args(arguments)
    try:
        return _do(options)
    except (ConfigError, PeopleUnavailable, ValueError) as problem:
        print(f"pushctl friends: {problem}", file=sys.stderr)
        return FAILED


def _do(options: argparse.Namespace) -> int:
    """:raises ConfigError, PeopleUnavailable: nothing can be done; ValueError: a name is none."""
    for name in (options.a, options.b):
        if name is not None:
            check_username(name)
    settings = read_settings(options.config)
    if options.command == "list":
        friends = ask_people(settings, friends_of(options.a)) if are_kept(settings) else Friends()
        return _list(friends, options.b)
    change = _add if options.command == "add" else _remove
    status, said = ask_people(settings, change(options.a, options.b))
    print(said)
    return status


def friends_of(username: str) -> Question[Friends]:
    """Somebody's friends, as a question to the keeper of people."""

    async def ask(people: IPeople) -> Friends:
        return await people.friends(username)

    return ask


def _add(follower: str, followed: str) -> Question[tuple[int, str]]:
    async def ask(people: IPeople) -> tuple[int, str]:
        already = "" if await people.follow(follower, followed) else " already"
        return DONE, f"{printable(follower)} follows {printable(followed)}{already}"

    return ask


def _remove(follower: str, followed: str) -> Question[tuple[int, str]]:
    async def ask(people: IPeople) -> tuple[int, str]:
        if await people.unfollow(follower, followed):
            return DONE, f"{printable(follower)} does not follow {printable(followed)} any more"
        return NO, f"{printable(follower)} does not follow {printable(followed)}"

    return ask


def _list(friends: Friends, only: str | None) -> int:
    followed = friends.followed if only is None else friends.followed & {only}
    for name in sorted(followed):
        print(f"{printable(name)} (mutual)" if name in friends.mutual else printable(name))
    return DONE if followed or only is None else NO


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pushctl friends",
        description=DESCRIPTION.replace("%", "%%"),
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _command(commands.add_parser("add", help="from now on A follows B"))
    _command(commands.add_parser("remove", help="from now on A does not follow B any more"))
    _command(commands.add_parser("list", help="whom A follows; or only B, if it does"), "?")
    return parser


def _command(command: argparse.ArgumentParser, other: str | None = None) -> None:
    command.add_argument("a", metavar="A", help="the user who follows")
    command.add_argument("b", metavar="B", nargs=other, help="who is followed")
    add_config(command)
