"""
Reading rule files: one way to open them, one error for all that is wrong with them.

Their form is that of all our files: a rule per line, ``#`` in the first column starts a comment. A file that
cannot be understood completely is never used in part.

Rules are patterns with *variables*, each a whole level of a topic: ``%u`` the user name, ``%c`` the client
id, ``%f`` each user whom this one follows, ``%F`` each of those who follow back. Names come from outside, so
that a name must never be more than one level: one with ``+``, ``#`` or ``/`` in it is put nowhere, and one
like ``$SYS`` or ``$share`` not at the beginning of a topic (`is_one_level`).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator

# What C's isspace() takes off the ends of a line. str.strip() alone would also take off spaces that only
# Unicode knows, and with them a part of somebody's name.
BLANKS = " \t\n\v\f\r"

_SPECIAL = re.compile(r"[+#/\0]")


class RuleFileError(Exception):
    """A rule file is not usable. The text says where and why: ``conf/autosubscribe:3: no QoS``."""


def read_rule_file(path: str | os.PathLike[str]) -> str:
    """
    The whole text of a file. Bytes that are not UTF-8 come out as lone surrogates, which `numbered_lines`
    refuses wherever they matter.

    :raises RuleFileError: it cannot be opened, or is no regular file.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise RuleFileError(f"{os.fspath(path)}: not a regular file")
            return file.read()
    except OSError as problem:
        raise RuleFileError(f"{os.fspath(path)}: {problem.strerror}") from problem


def numbered_lines(text: str, origin: str) -> Iterator[tuple[int, str]]:
    """
    The lines that say something, with their numbers from 1, without blanks at their ends.

    Only a line feed ends a line (``str.splitlines`` knows ten more characters that do). CRLF works because
    the CR is a blank.

    :param origin: the file's name for messages.
    :raises RuleFileError: a line that is no comment has a NUL or is not UTF-8.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.strip(BLANKS)
        if not line or line[0] == "#":
            continue
        if not line.isascii() and any("\ud800" <= character <= "\udfff" for character in line):
            raise RuleFileError(f"{origin}:{number}: not UTF-8")
        if "\0" in line:
            raise RuleFileError(f"{origin}:{number}: NUL character")
        yield number, line


def is_one_level(name: str, depth: int = 1) -> bool:
    """
    Whether a name can stand for one level of a topic: it is there, and holds nothing that means more.

    :param depth: of the level; at 0, the first, a ``$`` in front means something.
    """
    return bool(name) and _SPECIAL.search(name) is None and (depth > 0 or name[0] != "$")


def _open_at_once(path: str, flags: int) -> int:
    # Opening a pipe that nobody writes to would wait for ever.
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
