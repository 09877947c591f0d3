"""
What the value of an option may be, and how it is read.

A kind is given everything that follows the option's name and the space after it. Which part of that counts
is Mosquitto's rule: words and numbers take the first word and ignore the rest of the line (so a comment may
follow them), texts take the whole line, trimmed (so a comment would become part of them).

Each raises `BadValue` with the reason. Nothing here knows files, lines or option names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from pushd.config.errors import BadValue, NotYet, quoted

INT_MAX = 2**31 - 1  # Mosquitto keeps its numbers in a C int
BLANKS = " \t\r\n\v\f"

# As strtol(3) with base 0 reads them, since Mosquitto 2.1: decimal, 0x hexadecimal, 0 octal. 2.0 stopped at
# the first character that is no digit, so that "10s" was 10 and "0x10" was 0; both were traps.
NUMBER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
LONGEST_NUMBER = (
    40  # characters; longer ones are out of any range, and Python refuses to convert very long ones
)

# What MQTT advises against in its own strings, Mosquitto refuses in its settings: control characters and the
# code points that are no characters (v3 §1.5.3).
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ufdd0-\ufdef]")


class Kind(Protocol):
    """One way to read a value."""

    def read(self, text: str) -> object:
        """
        :param text: the rest of the line, after the option's name and one space.
        :raises BadValue: with the reason.
        """


def first_word(text: str) -> str:
    """:raises BadValue: there is none. Only spaces separate words: a tab is part of one."""
    words = text.split(" ")
    for word in words:
        if word:
            return word
    raise BadValue("needs a value")


def read_number(word: str) -> int:
    """:raises BadValue: `word` is no number, or one of a length that cannot be meant."""
    if NUMBER.fullmatch(word) is None:
        raise BadValue(f"{quoted(word)} is not a number")
    if len(word) > LONGEST_NUMBER:
        raise BadValue(f"{quoted(word)} is out of range")
    digits = word.lstrip("+-")
    octal = digits.startswith("0") and digits.isdigit()
    magnitude = int(digits, 8 if octal else 0)
    return -magnitude if word.startswith("-") else magnitude


@dataclass(frozen=True, slots=True)
class Boolean:
    """``true``, ``1``, ``false`` or ``0``; nothing else, and case counts."""

    def read(self, text: str) -> bool:
        word = first_word(text)
        if word in ("true", "1"):
            return True
        if word in ("false", "0"):
            return False
        raise BadValue(f"{quoted(word)} is neither true nor false")


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number within bounds, both included."""

    minimum: int = 0
    maximum: int = INT_MAX
    below: int | None = None  # what a number under the minimum becomes; None: it is refused
    unit: str = ""  # for the manual

    def read(self, text: str) -> int:
        number = read_number(first_word(text))
        if number > self.maximum:
            raise BadValue(f"{number} is above {self.maximum}")
        if number >= self.minimum:
            return number
        if self.below is None:
            raise BadValue(f"{number} is below {self.minimum}")
        return self.below


def seconds(minimum: int, maximum: int) -> Integer:
    """A span of time, in whole seconds."""
    return Integer(minimum, maximum, unit="seconds")


def port() -> Integer:
    """A TCP port; 0 is not one."""
    return Integer(1, 65535)


@dataclass(frozen=True, slots=True)
class Text:
    """Anything to the end of the line, trimmed."""

    max_bytes: int = 65535  # of UTF-8
    forbidden: str = ""  # characters

    def read(self, text: str) -> str:
        value = text.strip(BLANKS)
        if not value:
            raise BadValue("needs a value")
        if len(value.encode("utf-8")) > self.max_bytes:
            raise BadValue(f"is longer than {self.max_bytes} bytes")
        if CONTROL.search(value) or any(ord(character) & 0xFFFE == 0xFFFE for character in value):
            raise BadValue(f"{quoted(value)} has a control character")
        for character in self.forbidden:
            if character in value:
                raise BadValue(f"{quoted(value)} has a {character!r} in it")
        return value


class FilePath(Text):
    """The path of a file or directory, relative to the working directory. It is not opened here."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several words."""

    words: tuple[str, ...]
    later: tuple[str, ...] = ()  # words of Mosquitto's that are not implemented yet

    def read(self, text: str) -> str:
        word = first_word(text)
        if word in self.later:
            raise NotYet(word)
        if word not in self.words:
            raise BadValue(f"{quoted(word)} is not one of {', '.join(self.words)}")
        return word


@dataclass(frozen=True, slots=True)
class Anything:
    """A value that nobody looks at, because the option has no effect. It may even be missing."""

    def read(self, text: str) -> str:
        return text


@dataclass(frozen=True, slots=True)
class LogDestination:
    """``none``, ``stderr``, ``stdout``, ``syslog``, ``topic``, or ``file`` and a path to the line's end."""

    plain = Choice(("none", "stderr", "stdout", "syslog", "topic", "file"), later=("dlt", "android"))

    def read(self, text: str) -> str:
        word = self.plain.read(text)
        if word != "file":
            return word  # "stdout unbuffered" is Mosquitto's too; ours never is buffered
        path = text.lstrip(" ")[len(word) :]
        return f"file {FilePath().read(path)}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    Where to listen: ``PORT [ADDRESS]``, or ``0 PATH`` for a Unix socket.

    :ivar address: "" is every address.
    :ivar path: of a Unix socket; "" for none.
    """

    port: int
    address: str = ""
    path: str = ""


# What fits into a sockaddr_un on Linux, its NUL aside (unix(7)).
LONGEST_SOCKET_PATH = 107


@dataclass(frozen=True, slots=True)
class EndpointKind:
    """Reads an `Endpoint`. The one kind of words that a ``#`` ends."""

    def read(self, text: str) -> Endpoint:
        number = Integer(0, 65535).read(text)
        words = [word for word in text.split(" ") if word][1:2]
        address = words[0] if words and not words[0].startswith("#") else ""
        if number == 0 and not address:
            raise BadValue("port 0 needs the path of a unix socket")
        if number == 0:
            return Endpoint(0, path=Text(LONGEST_SOCKET_PATH).read(address))
        return Endpoint(number, Text().read(address) if address else "")


@dataclass(frozen=True, slots=True)
class ProtocolVersions:
    """MQTT protocol levels, separated by commas or blanks: ``3, 4, 5``."""

    def read(self, text: str) -> frozenset[int]:
        words = [word for word in re.split(r"[, \t]+", text) if word]
        if not words:
            raise BadValue("needs a value")
        for word in words:
            if word not in ("3", "4", "5"):
                raise BadValue(f"{quoted(word)} is not one of 3, 4, 5")
        return frozenset(int(word) for word in words)


@dataclass(frozen=True, slots=True)
class Duration:
    """A number and a unit: ``s``, ``h``, ``d``, ``w``, ``m`` (30 days), ``y`` (365 days). Read as seconds."""

    units = {"s": 1, "h": 3600, "d": 86_400, "w": 604_800, "m": 2_592_000, "y": 31_536_000}

    def read(self, text: str) -> int:
        word = first_word(text)
        unit = self.units.get(word[-1])
        if unit is None:
            raise BadValue(f"{quoted(word)} does not end in one of {' '.join(self.units)}")
        return Integer(1).read(word[:-1] or "0") * unit
