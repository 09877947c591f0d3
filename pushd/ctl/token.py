"""
``pushctl token``: access tokens, with which a user's programs call the gateway instead of with its password.

    $ pushctl token add --user anna --label backup --write 'alerts/#' --rate 10/s
    tk_9g2lmk0dq7b4x1c8zv5n3j6h0p2w4
    $ pushctl token list anna
    3f1c8a90b2de anna (backup): may write alerts/#, read nothing; 10/s; never expires; never used
    $ pushctl token remove anna 3f1c8a90b2de

The token is printed once, alone on standard output; only its hash is kept. The server need not run; one that
does knows of a token at once, and of its end within a second.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pushd.config.errors import ConfigError
from pushd.config.reader import read_settings
from pushd.config.settings import Settings
from pushd.ctl.command import add_config
from pushd.ctl.people import are_kept, ask_people
from pushd.ctl.terminal import printable
from pushd.mqtt.errors import MalformedPacket
from pushd.mqtt.topics import SHARE_PREFIX, check_filter
from pushd.people.durations import duration_s, rate_per_s, rate_text
from pushd.people.interfaces import IPeople, PeopleUnavailable, Token
from pushd.people.names import check_username
from pushd.people.tokens import PREFIX, hash_of, id_of, new_token

DONE, FAILED = 0, 1  # exit statuses

# Characters that name a token at least: one digit would fit by chance to one that nobody meant.
MIN_ID_LENGTH = 4

MAX_LABEL_LENGTH = 1000

DESCRIPTION = """\
Keep access tokens: a program shows one to the gateway ("Authorization: Bearer tk_..."), and is the
token's user, as far as the token goes.
"""

ADD = """\
Make a token and print it. Without --write and --read it may do whatever its user may. With any of them
it may do no more than is named, and never more than its user. Topics are those of the ACL file: with the
listener's mount_point in front, if it has one.
"""

EPILOG = "The exit status is 0; or 1 with the reason on standard error, and then nothing was changed."


class Refused(Exception):
    """A command cannot be carried out; nothing was changed. The text is for standard error."""


def main(arguments: Sequence[str]) -> int:
    """
    :param arguments: what follows ``pushctl token``.
    :return: the exit status.
    """
    options = _parser().parse_args(arguments)
    try:
        options.do(options, read_settings(options.config))
    except (Refused, ConfigError, PeopleUnavailable, ValueError) as problem:
        print(f"pushctl token: {problem}", file=sys.stderr)
        return FAILED
    return DONE


# add


def _add(options: argparse.Namespace, settings: Settings) -> None:
    shown = new_token()
    token = replace(_token(options), hash=hash_of(shown))

    async def keep(people: IPeople) -> bool:
        await people.keep_token(token)
        return await people.account(token.username) is not None

    has_account = ask_people(settings, keep)
    print(shown)
    _note(f"{line_of(token, time.time())}; it is not shown again")
    if not has_account:
        _note(f"{printable(token.username)} has no account: the token counts only where others know the name")


def _token(options: argparse.Namespace) -> Token:
    """All of it but its hash. :raises ValueError, Refused: something cannot be so."""
    check_username(options.user)
    if len(options.label) > MAX_LABEL_LENGTH or not options.label.isprintable():
        raise Refused("the label must be one line of text")
    now = int(time.time())
    is_bound = options.write or options.read
    return Token(
        "",
        options.user,
        options.label,
        writes=_checked(options.write) if is_bound else None,
        reads=_checked(options.read) if is_bound else None,
        rate_per_s=rate_per_s(options.rate) if options.rate else 0.0,
        created_at=now,
        expires_at=now + duration_s(options.expires) if options.expires else 0,
    )


def _checked(filters: Iterable[str]) -> tuple[str, ...]:
    """:raises Refused: one is no topic filter."""
    found = tuple(dict.fromkeys(filters))
    for filter in found:
        if filter.startswith(SHARE_PREFIX):
            raise Refused(f"{printable(filter)}: name the filter behind $share/group/")
        try:
            check_filter(filter)
        except MalformedPacket as problem:
            raise Refused(f"{printable(filter)!r}: {problem}") from None
    return found


# list


def _list(options: argparse.Namespace, settings: Settings) -> None:
    if not are_kept(settings):
        return

    async def read(people: IPeople) -> list[Token]:
        owners = [options.user] if options.user is not None else await people.token_owners()
        return [token for owner in owners for token in await people.tokens(owner)]

    now = time.time()
    for token in ask_people(settings, read):
        print(line_of(token, now))


def line_of(token: Token, now: float) -> str:
    """
    All that is to be known about a token, for a terminal.

    :param now: Unix seconds.
    """
    label = f" ({printable(token.label)})" if token.label else ""
    facts = [_scope(token)]
    if token.rate_per_s:
        facts.append(rate_text(token.rate_per_s))
    facts += [_end(token, now), _last_use(token)]
    return f"{id_of(token.hash)} {printable(token.username)}{label}: {'; '.join(facts)}"


def _scope(token: Token) -> str:
    if token.writes is None and token.reads is None:
        return "may do what its user may"
    return f"may write {_topics(token.writes)}, read {_topics(token.reads)}"


def _topics(filters: Sequence[str] | None) -> str:
    if filters is None:
        return "what its user may"
    return " ".join(map(printable, filters)) or "nothing"


def _end(token: Token, now: float) -> str:
    if not token.expires_at:
        return "never expires"
    return f"{'expires' if token.expires_at > now else 'expired'} {_moment(token.expires_at)}"


def _last_use(token: Token) -> str:
    if not token.used_at:
        return "never used"
    where = f" from {printable(token.used_from)}" if token.used_from else ""
    return f"last used {_moment(token.used_at)}{where}"


def _moment(seconds: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
    except (OverflowError, OSError, ValueError):  # no program of ours has written that
        return "at some time"


# remove


def _remove(options: argparse.Namespace, settings: Settings) -> None:
    username = options.user
    wanted = hash_of(options.id) if options.id.startswith(PREFIX) else options.id.lower()
    if len(wanted) < MIN_ID_LENGTH:
        raise Refused(f"an ID has at least {MIN_ID_LENGTH} characters; pushctl token list shows them")

    async def remove(people: IPeople) -> Token:
        found = [token for token in await people.tokens(username) if token.hash.startswith(wanted)]
        if len(found) > 1:
            raise Refused(f"{printable(username)} has several tokens whose ID begins so")
        if not found or not await people.remove_token(username, found[0].hash):
            raise Refused(f"{printable(username)} has no such token")
        return found[0]

    if not are_kept(settings):
        raise Refused(f"{printable(username)} has no such token")
    removed = ask_people(settings, remove)
    print(f"Removed token {id_of(removed.hash)} of {printable(username)}")


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pushctl token", description=DESCRIPTION, epilog=EPILOG)
    commands = parser.add_subparsers(required=True, metavar="add|list|remove")
    add = commands.add_parser("add", description=ADD, epilog=EPILOG, help="make a token and print it")
    add.add_argument("--user", metavar="U", required=True, help="whose token it is")
    add.add_argument("--label", metavar="L", default="", help="what it is for; shown in lists")
    for name, what in (("write", "publish to"), ("read", "listen to")):
        add.add_argument(
            f"--{name}",
            metavar="FILTER",
            action="append",
            default=[],
            help=f"a topic filter that it may be used to {what}; may be repeated",
        )
    add.add_argument("--expires", metavar="TIME", help="after how long it ends: 90d, 12h; default never")
    add.add_argument("--rate", metavar="RATE", help="requests that it is good for: 10/s, 100/h")
    listing = commands.add_parser("list", help="show tokens, without the secret")
    listing.add_argument("user", metavar="USER", nargs="?", help="only this user's")
    remove = commands.add_parser("remove", help="revoke a token")
    remove.add_argument("user", metavar="USER", help="whose token it is")
    remove.add_argument("id", metavar="ID", help="as list shows it, or its beginning; or the token itself")
    for command, do in ((add, _add), (listing, _list), (remove, _remove)):
        command.set_defaults(do=do)
        add_config(command)
    return parser
