"""
``pushctl access``: the access control list, with the words of ``ntfy access``.

    $ pushctl access grant everyone '*' deny-all
    $ pushctl access grant everyone 'up*' write-only
    $ pushctl access grant anna 'alerts*' read-write
    $ pushctl access list
    user anna: read-write access to alerts*
    everyone: write-only access to up*
    everyone: no access to *

The list counts at each listener with ``accounts true``, before its ACL file. The server need not run; one
that does goes by a change within a second.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence

from pushd.auth.grants import Entry
from pushd.config.errors import ConfigError
from pushd.config.reader import read_settings
from pushd.config.settings import Settings
from pushd.ctl.command import DONE, FAILED, NO, add_config
from pushd.ctl.people import are_kept, ask_people
from pushd.ctl.terminal import printable
from pushd.people.access import PERMISSIONS, check_pattern, permission_of, who_is
from pushd.people.interfaces import EVERYBODY, Grant, IPeople, PeopleUnavailable
from pushd.people.names import check_username

DESCRIPTION = """\
Keep the access control list: who may read and write which topics, before and beside the ACL file.
USER is a user name, or everyone, also called * and anonymous: all users, and clients without a name.
TOPIC is a whole topic, in which * stands for any characters, slashes too; with the listener's
mount_point in front, if it has one.
"""

EPILOG = """\
For each message the longest entry of its user decides, or else the longest of everyone; what it does
not let do is forbidden. Where there is no entry the ACL file decides, and about an admin_user always.
The exit status is 0; or 1 if there is no such entry, 2 if nothing can be read or changed.
"""


def main(arguments: Sequence[str]) -> int:
    """
    :param arguments: what follows ``pushctl access``.
    :return: the exit status.
    """
    options = _parser().parse_args(arguments)
    try:
        status: int = options.do(options, read_settings(options.config))
    except (ConfigError, PeopleUnavailable, ValueError) as problem:
        print(f"pushctl access: {problem}", file=sys.stderr)
        return FAILED
    return status


def _grant(options: argparse.Namespace, settings: Settings) -> int:
    grant = Grant(_who(options.user), options.topic, permission_of(options.permission))
    check_pattern(grant.pattern)

    async def keep(people: IPeople) -> None:
        await people.keep_grant(grant)

    ask_people(settings, keep)
    print(line_of(grant))
    for warning in _warnings(settings, grant.username):
        print(f"note: {warning}", file=sys.stderr)
    return DONE


def _warnings(settings: Settings, username: str) -> Iterable[str]:
    if not any(listener.security.accounts for listener in settings.listeners):
        yield "no listener has accounts true, so nobody goes by the list"
    if username in settings.admin_user:
        yield f"{printable(username)} is an admin_user, about whom the list says nothing"


def _remove(options: argparse.Namespace, settings: Settings) -> int:
    username, pattern = _who(options.user), options.topic

    async def remove(people: IPeople) -> bool:
        return await people.remove_grants(username, pattern)

    whose = f"{_name(username)}: " + ("" if pattern is None else f"{printable(pattern)}: ")
    if are_kept(settings) and ask_people(settings, remove):
        print(f"{whose}removed")
        return DONE
    print(f"{whose}no entry")
    return NO


def _list(options: argparse.Namespace, settings: Settings) -> int:
    wanted = None if options.user is None else _who(options.user)
    grants = ask_people(settings, all_grants) if are_kept(settings) else []
    found = [grant for grant in grants if wanted in (None, grant.username)]
    for grant in in_order(found):
        print(line_of(grant))
    return DONE if found or wanted is None else NO


async def all_grants(people: IPeople) -> list[Grant]:
    """The whole list, as a question to the keeper of people."""
    return await people.grants()


def in_order(grants: Iterable[Grant]) -> list[Grant]:
    """By user, everybody last; of each first what decides first."""
    entries = sorted(map(Entry, grants), key=lambda entry: (*_place(entry.grant.username), entry.rank()))
    return [entry.grant for entry in entries]


def _place(username: str) -> tuple[bool, str]:
    return username == EVERYBODY, username


def line_of(grant: Grant) -> str:
    """An entry for a terminal. One that cannot be understood forbids."""
    words = f"{grant.permission} access" if any(PERMISSIONS.get(grant.permission, ())) else "no access"
    return f"{_name(grant.username)}: {words} to {printable(grant.pattern)}"


def _name(username: str) -> str:
    return "everyone" if username == EVERYBODY else f"user {printable(username)}"


def _who(word: str) -> str:
    """:raises ValueError: nobody can be called so."""
    username = who_is(word)
    check_username(username)
    return username


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pushctl access",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="grant|remove|list")
    grant = commands.add_parser("grant", help="add an entry, or change the one of this user and topic")
    grant.add_argument("user", metavar="USER")
    grant.add_argument("topic", metavar="TOPIC")
    grant.add_argument("permission", metavar="PERMISSION", help=", ".join(reversed(PERMISSIONS)))
    remove = commands.add_parser("remove", help="take away an entry of a user, or all")
    remove.add_argument("user", metavar="USER")
    remove.add_argument("topic", metavar="TOPIC", nargs="?")
    listing = commands.add_parser("list", help="show all entries, or those of a user, as they decide")
    listing.add_argument("user", metavar="USER", nargs="?")
    for command, do in ((grant, _grant), (remove, _remove), (listing, _list)):
        command.set_defaults(do=do)
        add_config(command)
    return parser
