"""
Accounts in files: what ``pushctl user import`` reads.

A password file of Mosquitto's or ours is taken as it is, hashes and all. The other format is CSV in UTF-8,
with or without a line of titles; how many fields a row has says what they are:

    user,password              a password in plain text
    user,hash,salt             32 hexadecimal digits: MD5 of the password, then the salt
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass

from pushd.auth.login_check import MAX_PASSWORD_BYTES
from pushd.auth.password_file import PasswordFile
from pushd.auth.password_hash import InvalidHash, md5_hash
from pushd.auth.security_file import BLANKS, SecurityFileError, numbered_lines, read_security_file
from pushd.people.names import check_username

TITLES = (["user", "password"], ["user", "hash", "salt"])


@dataclass(frozen=True, slots=True)
class Entry:
    """
    A user of a file.

    :ivar origin: ``users.csv:12``.
    :ivar password_hash: as an account has it; ``None`` if the file has the password itself.
    """

    origin: str
    username: str
    password_hash: str | None = None
    password: bytes = b""


def read_entries(path: str, is_csv: bool) -> list[Entry]:
    """
    All users of a file.

    :raises SecurityFileError: with file, line and reason, if anything in it is not right.
    """
    text = read_security_file(path)
    entries: list[Entry] = []
    known: dict[str, str] = {}
    for entry in _of_csv(text, path) if is_csv else _of_password_file(text, path):
        _check(entry, known)
        known[entry.username] = entry.origin
        entries.append(entry)
    return entries


def _check(entry: Entry, known: dict[str, str]) -> None:
    try:
        check_username(entry.username)
    except ValueError as problem:
        raise SecurityFileError(f"{entry.origin}: {problem}") from None
    if entry.username in known:
        raise SecurityFileError(
            f"{entry.origin}: {entry.username!r} stands in {known[entry.username]} already"
        )


def _of_password_file(text: str, path: str) -> Iterator[Entry]:
    users = PasswordFile.parse(text, path)  # refuses whatever is wrong
    for number, line in numbered_lines(text, path):
        name = line.partition(":")[0].strip(BLANKS)
        password_hash = users.find(name) if ":" in line else None
        if password_hash is not None:
            yield Entry(f"{path}:{number}", name, str(password_hash))


def _of_csv(text: str, path: str) -> Iterator[Entry]:
    rows = csv.reader(text.removeprefix("\ufeff").splitlines(keepends=True), strict=True)
    first = True
    try:
        for row in rows:
            if any(row) and not (first and [cell.strip().lower() for cell in row] in TITLES):
                yield _entry(row, f"{path}:{rows.line_num}")
            first = False
    except csv.Error as problem:
        raise SecurityFileError(f"{path}:{rows.line_num}: {problem}") from None


def _entry(row: list[str], origin: str) -> Entry:
    """
    :raises SecurityFileError: it is not one of the two kinds of rows.
    """
    try:
        match row:
            case [username, password]:
                return Entry(origin, username, None, _password(password))
            case [username, digest, salt]:
                return Entry(origin, username, str(md5_hash(salt, digest)))
    except (InvalidHash, ValueError) as problem:
        raise SecurityFileError(f"{origin}: {problem}") from None
    raise SecurityFileError(f"{origin}: expected user,password or user,hash,salt")


def _password(text: str) -> bytes:
    if not text:
        raise ValueError("the password is empty")
    password = text.encode("utf-8", "surrogateescape")
    if len(password) > MAX_PASSWORD_BYTES:
        raise ValueError(f"the password is longer than {MAX_PASSWORD_BYTES} bytes")
    return password
