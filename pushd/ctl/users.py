"""
``pushctl user``: accounts, in the place where the server of a settings file keeps them.

    $ pushctl user add anna
    Password: ...
    Added user anna
    $ pushctl user disable anna        # and her connections end
    $ pushctl user import users.csv

The server need not run; if it does, it goes by what was changed at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pushd.auth.password_hash import make_argon2id, make_pbkdf2
from pushd.auth.security_file import SecurityFileError
from pushd.config.errors import ConfigError
from pushd.config.reader import read_settings
from pushd.ctl.account_file import Entry, read_entries
from pushd.ctl.command import add_config
from pushd.ctl.passwd import PasswdError, ask_password, checked_password
from pushd.ctl.people import ask_people
from pushd.ctl.terminal import printable
from pushd.people.interfaces import Account, IPeople, PeopleUnavailable
from pushd.people.names import check_username

DESCRIPTION = """\
Keep accounts: users who may log in where a listener has "accounts true".
The exit status is 0, or 1 with the reason on standard error; then nothing was changed.
"""

FORMATS = """\
FILE is a password file, as mosquitto_passwd writes it; or CSV, if it is called so or --csv says so:
user,password or user,hash,salt (MD5 of password and salt). All its users are imported, or none.
"""

HASHES: dict[str, Callable[[bytes], object]] = {"argon2id": make_argon2id, "sha512-pbkdf2": make_pbkdf2}

LISTED_AT_ONCE = 1000


def main(arguments: Sequence[str]) -> int:
    """
    :param arguments: what follows ``pushctl user``.
    :return: the exit status: 0, or 1 with the reason on standard error.
    """
    options = _parser().parse_args(arguments)
    try:
        # What is asked, read and hashed here takes its time: nobody is kept waiting by it yet.
        work = options.prepare(options)
        ask_people(read_settings(options.config), work.on)
    except (Refused, PasswdError, SecurityFileError, ConfigError, PeopleUnavailable) as problem:
        print(f"Error: {problem}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        print("\nError: no password given.", file=sys.stderr)
        return 1
    return 0


class Refused(Exception):
    """A command cannot be carried out; nothing was changed. The text is for standard error."""


@dataclass(frozen=True, slots=True)
class SetPasswords:
    """
    ``add`` and ``passwd``.

    :ivar hashes: by user.
    :ivar new: whether they have no account yet.
    """

    hashes: Mapping[str, str]
    new: bool

    async def on(self, people: IPeople) -> None:
        """:raises Refused: there is one already, or none."""
        accounts = {name: await people.account(name) for name in self.hashes}
        for name, account in accounts.items():
            if self.new and account is not None:
                raise Refused(
                    f"there is a user {printable(name)} already; pushctl user passwd sets a new password"
                )
            if not self.new and account is None:
                raise Refused(f"there is no user {printable(name)}")
        for name, account in accounts.items():
            await people.keep_account(account_of(name, self.hashes[name], account))
            print(
                f"Added user {printable(name)}" if self.new else f"Updated password of user {printable(name)}"
            )


@dataclass(frozen=True, slots=True)
class Enable:
    """``enable`` and ``disable``."""

    names: Sequence[str]
    enabled: bool

    async def on(self, people: IPeople) -> None:
        """:raises Refused: one of them has no account."""
        await check_all(people, self.names)
        for name in self.names:
            await people.enable(name, self.enabled)
            print(f"{'Enabled' if self.enabled else 'Disabled'} user {printable(name)}")


@dataclass(frozen=True, slots=True)
class Delete:
    """``delete``."""

    names: Sequence[str]

    async def on(self, people: IPeople) -> None:
        """:raises Refused: one of them has no account."""
        await check_all(people, self.names)
        for name in self.names:
            await people.remove_account(name)
            print(f"Deleted user {printable(name)}")


class List:
    """``list``."""

    async def on(self, people: IPeople) -> None:
        """One line each: status, day of its making, and name."""
        after = ""
        while accounts := await people.accounts(after, LISTED_AT_ONCE):
            for account in accounts:
                print(line_of(account))
            after = accounts[-1].username


@dataclass(frozen=True, slots=True)
class Import:
    """
    ``import``.

    :ivar hashes: by user; of all entries.
    :ivar replacing: whether they take the place of accounts that are there.
    """

    entries: Sequence[Entry]
    hashes: Mapping[str, str]
    replacing: bool

    async def on(self, people: IPeople) -> None:
        """:raises Refused: somebody is there already, and is not to be replaced."""
        accounts = {entry.username: await people.account(entry.username) for entry in self.entries}
        for entry in self.entries:
            if accounts[entry.username] is not None and not self.replacing:
                name = printable(entry.username)
                raise Refused(
                    f"{entry.origin}: there is a user {name} already; --replace gives it this password"
                )
        for username, account in accounts.items():
            await people.keep_account(account_of(username, self.hashes[username], account))
        print(f"Imported {len(accounts)} {'user' if len(accounts) == 1 else 'users'}")


def account_of(username: str, password_hash: str, old: Account | None) -> Account:
    """With this password. One that is there stays enabled or disabled."""
    if old is None:
        return Account(username, password_hash, created_at=int(time.time()))
    return replace(old, password_hash=password_hash)


async def check_all(people: IPeople, names: Iterable[str]) -> None:
    """:raises Refused: one of them has no account."""
    for name in names:
        if await people.account(name) is None:
            raise Refused(f"there is no user {printable(name)}")


def line_of(account: Account) -> str:
    """An account for a terminal. The name comes last, for it may be long, and have blanks in it."""
    status = "enabled" if account.enabled else "disabled"
    day = time.strftime("%Y-%m-%d", time.gmtime(account.created_at)) if account.created_at else "-"
    return f"{status:<9} {day:<10}  {printable(account.username)}"


# From words to work


def _set_passwords(options: argparse.Namespace) -> SetPasswords:
    make, names = HASHES[options.hash], options.names
    if options.batch:
        if len(names) != 2:
            raise Refused("-b takes a user name and a password")
        passwords = {checked_name(names[0]): checked_password(names[1])}
    else:
        several = len(names) > 1
        passwords = {
            checked_name(name): ask_password(f" of {printable(name)}" if several else "") for name in names
        }
    # What was typed, byte for byte, whatever its encoding.
    hashes = {name: str(make(os.fsencode(password))) for name, password in passwords.items()}
    return SetPasswords(hashes, options.new)


def _import(options: argparse.Namespace) -> Import:
    is_csv = options.csv or options.file.lower().endswith(".csv")
    entries = read_entries(options.file, is_csv)
    make = HASHES[options.hash]
    hashes = {entry.username: entry.password_hash or str(make(entry.password)) for entry in entries}
    return Import(entries, hashes, options.replace)


def checked_name(name: str) -> str:
    """:raises Refused: nobody can have this name."""
    try:
        check_username(name)
    except ValueError as problem:
        raise Refused(str(problem)) from None
    return name


# What takes the names of accounts that there are: what it does with them, and how.
WITH_NAMES: dict[str, tuple[str, Callable[[Sequence[str]], object]]] = {
    "enable": ("let users log in again", lambda names: Enable(names, True)),
    "disable": ("let users log in no more; their connections end", lambda names: Enable(names, False)),
    "delete": ("remove accounts, with friends and subscription lists", Delete),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pushctl user", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="add|passwd|enable|disable|delete|list|import")
    config, hashing = _config(), _hashing()
    for word, summary in (("add", "make accounts"), ("passwd", "set other passwords")):
        command = commands.add_parser(word, parents=[config, hashing], help=summary)
        _add_passwords(command)
        command.set_defaults(prepare=_set_passwords, new=word == "add")
    for word, (summary, work) in WITH_NAMES.items():
        command = commands.add_parser(word, parents=[config], help=summary)
        command.add_argument("names", metavar="NAME", nargs="+")
        command.set_defaults(prepare=lambda options, work=work: work(options.names))
    command = commands.add_parser("list", parents=[config], help="show all accounts")
    command.set_defaults(prepare=lambda options: List())
    command = commands.add_parser(
        "import", parents=[config, hashing], description=FORMATS, help="make accounts of a file's users"
    )
    _add_import(command)
    return parser


def _config() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    add_config(parser)
    return parser


def _hashing() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    summary = (
        "of passwords: argon2id, the default, takes 46 MiB and some 50 ms to check; sha512-pbkdf2 takes"
        " 10 ms, and is enough for a device with a long random password"
    )
    parser.add_argument("-H", "--hash", choices=HASHES, default="argon2id", help=summary)
    return parser


def _add_passwords(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-b",
        "--batch",
        action="store_true",
        help="NAME and a password follow, where other users of this machine can see it",
    )
    summary = "passwords are asked for; from a pipe, each is two lines of the same"
    command.add_argument("names", metavar="NAME", nargs="+", help=summary)


def _add_import(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE")
    command.add_argument("--csv", action="store_true", help="FILE is CSV, whatever its name")
    command.add_argument(
        "--replace", action="store_true", help="give users who are there already the password of the file"
    )
    command.set_defaults(prepare=_import)
