"""
Reading the files that decide who may come in: one error for all that is wrong with them, one way to open
them.

Both formats are Mosquitto's: one entry per line, ``#`` in the first column starts a comment. A file that
cannot be understood completely is never used in part: what was meant to be denied might be in the part that
is missing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

# What C's isspace() takes off the ends of a name or a line. str.strip() alone would also take off spaces that
# only Unicode knows, and with them a part of somebody's name.
BLANKS = " \t\n\v\f\r"


class SecurityFileError(Exception):
    """
    A password or ACL file is not usable. The text says where and why: ``conf/passwd:3: empty user name``.
    """


def read_security_file(path: str | os.PathLike[str]) -> str:
    """
    The whole text of a file.

    Bytes that are not UTF-8 come out as lone surrogates: they may stand in a comment, and `numbered_lines`
    refuses them everywhere else.

    :raises SecurityFileError: it cannot be opened, or is no regular file.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SecurityFileError(f"{os.fspath(path)}: not a regular file")
            return file.read()
    except OSError as problem:
        raise SecurityFileError(f"{os.fspath(path)}: {problem.strerror}") from problem


def numbered_lines(text: str, origin: str) -> Iterator[tuple[int, str]]:
    """
    The lines that say something, with their numbers from 1, without blanks at their end.

    Only a line feed ends a line (``str.splitlines`` knows ten more characters that do). CRLF works because
    the CR is a blank.

    :param origin: the file's name for messages.
    :raises SecurityFileError: a line that is no comment has a NUL or is not UTF-8.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.rstrip(BLANKS)
        if not line or line[0] == "#":
            continue
        if not line.isascii() and any("\ud800" <= character <= "\udfff" for character in line):
            raise SecurityFileError(f"{origin}:{number}: not UTF-8")
        if "\0" in line:
            raise SecurityFileError(f"{origin}:{number}: NUL character")
        yield number, line


def _open_at_once(path: str, flags: int) -> int:
    # Opening a pipe that nobody writes to would wait for ever.
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
