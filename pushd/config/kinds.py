"""
What the value of an option may be, and how it is read.

A kind is given everything that follows the option's name and the space after it. Which part of that counts
is Mosquitto's rule: words and numbers take the first word and ignore the rest of the line (so a comment may
follow them), texts take the whole line, trimmed (so a comment would become part of them).

Each raises `BadValue` with the reason. Nothing here knows files, lines or option names.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_network

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


class Kind(ABC):
    """One way to read a value."""

    __slots__ = ()

    @property
    @abstractmethod
    def notation(self) -> str:
        """How a value is written: words as they are, and CAPITALS for what is to be filled in."""

    @abstractmethod
    def read(self, text: str) -> object:
        """
        :param text: the rest of the line, after the option's name and one space.
        :raises BadValue: with the reason.
        """

    def written(self, value: object) -> str:
        """The shortest way to write what was read, for the manual."""
        return str(value)

    def remark(self, text: str) -> str:
        """What the author of a good value should know: that it may not mean what was meant. Or ""."""
        return ""


def first_word(text: str) -> str:
    """:raises BadValue: there is none. Only spaces separate words: a tab is part of one."""
    words = text.split(" ")
    for word in words:
        if word:
            return word
    raise BadValue("needs a value")


def read_number(word: str) -> int:
    """
    :param word: tabs around the number do not count.
    :raises BadValue: it is no number, or one of a length that cannot be meant.
    """
    word = word.strip("\t").partition("\t")[0]
    if NUMBER.fullmatch(word) is None:
        raise BadValue(f"{quoted(word)} is not a number")
    if len(word) > LONGEST_NUMBER:
        raise BadValue(f"{quoted(word)} is out of range")
    digits = word.lstrip("+-")
    octal = digits.startswith("0") and digits.isdigit()
    magnitude = int(digits, 8 if octal else 0)
    return -magnitude if word.startswith("-") else magnitude


def as_in_2_0(word: str) -> str:
    """The number that Mosquitto 2.0 took from a word: its first digits, as atoi(3)."""
    digits = re.match(r"\t*[+]?(-?[0-9]{1,10})", word)
    return str(int(digits[1])) if digits else "0"


@dataclass(frozen=True, slots=True)
class Boolean(Kind):
    """``true``, ``1``, ``false`` or ``0``; nothing else, and case counts."""

    notation = "true|false"

    def read(self, text: str) -> bool:
        word = first_word(text)
        if word in ("true", "1"):
            return True
        if word in ("false", "0"):
            return False
        raise BadValue(f"{quoted(word)} is neither true nor false")


@dataclass(frozen=True, slots=True)
class Integer(Kind):
    """A whole number within bounds, both included."""

    minimum: int = 0
    maximum: int = INT_MAX
    below: int | None = None  # what a number under the minimum becomes; None: it is refused
    unit: str = ""  # for the manual

    @property
    def notation(self) -> str:
        return self.unit.upper() or "NUMBER"

    def read(self, text: str) -> int:
        number = self._number(first_word(text))
        if number > self.maximum:
            raise BadValue(f"{number} is above {self.maximum}")
        if number >= self.minimum:
            return number
        if self.below is None:
            raise BadValue(f"{number} is below {self.minimum}")
        return self.below

    def _number(self, word: str) -> int:
        try:
            return read_number(word)
        except BadValue as problem:
            what = f" of {self.unit}" if self.unit else ""
            raise BadValue(f"{problem}{what}; Mosquitto 2.0 took it for {as_in_2_0(word)}") from None

    def remark(self, text: str) -> str:
        """0x10 and 010: the two versions of Mosquitto disagree about them."""
        word = first_word(text)
        number, before = read_number(word), as_in_2_0(word)
        if str(number) == before:
            return ""
        return f"{quoted(word)} is {number}, as in Mosquitto 2.1; 2.0 took it for {before}"


def seconds(minimum: int, maximum: int) -> Integer:
    """A span of time, in whole seconds."""
    return Integer(minimum, maximum, unit="seconds")


def port() -> Integer:
    """A TCP port; 0 is not one."""
    return Integer(1, 65535)


@dataclass(frozen=True, slots=True)
class Text(Kind):
    """Anything to the end of the line, trimmed."""

    max_bytes: int = 65535  # of UTF-8
    forbidden: str = ""  # characters
    name: str = "TEXT"  # for the manual

    @property
    def notation(self) -> str:
        return self.name

    def read(self, text: str) -> str:
        value = text.strip(BLANKS)
        if not value:
            raise BadValue("needs a value")
        if len(value.encode("utf-8")) > self.max_bytes:
            raise BadValue(f"is longer than {self.max_bytes} bytes")
        if CONTROL.search(value) or any(ord(character) & 0xFFFE == 0xFFFE for character in value):
            raise BadValue(f"{self._shown(value)} has a control character, such as a tab, in it")
        for character in self.forbidden:
            if character in value:
                raise BadValue(f"{self._shown(value)} has a {character!r} in it, which it must not")
        return value

    def _shown(self, value: str) -> str:
        return quoted(value)


@dataclass(frozen=True, slots=True)
class FilePath(Text):
    """The path of a file or directory, relative to the working directory. It is not opened here."""

    name: str = "PATH"

    def remark(self, text: str) -> str:
        if " #" not in text:
            return ""
        return f"all of {quoted(text.strip(BLANKS))} is the path: a comment needs a line of its own"


@dataclass(frozen=True, slots=True)
class Network(Kind):
    """Where somebody may be: an address, a network of them, or ``unix`` for any Unix socket."""

    notation = "ADDRESS[/BITS]|unix"

    def read(self, text: str) -> str:
        word = first_word(text)
        if word == "unix":
            return word
        try:
            return str(ip_network(word))
        except ValueError as problem:
            raise BadValue(f"{quoted(word)} is no network: {problem}") from None


@dataclass(frozen=True, slots=True)
class IpNetwork(Network):
    """The same without Unix sockets."""

    notation = "ADDRESS[/BITS]"

    def read(self, text: str) -> str:
        word = super(IpNetwork, self).read(text)
        if word == "unix":
            raise BadValue(f"{quoted(word)} is no network")
        return word


@dataclass(frozen=True, slots=True)
class HeaderName(Kind):
    """The name of an HTTP header (RFC 9110 §5.1)."""

    notation = "NAME"

    def read(self, text: str) -> str:
        word = first_word(text)
        if re.fullmatch(r"[-!#$%&'*+.^_`|~0-9A-Za-z]{1,100}", word) is None:
            raise BadValue(f"{quoted(word)} is no name of a header")
        return word


class Secret(str):
    """A password or the like. `repr` does not show it, so that settings may be printed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


@dataclass(frozen=True, slots=True)
class SecretText(Text):
    """A text that no message shows, and that may stand in a file of its own (`pushd.config.indirect`)."""

    notation = "SECRET|file:PATH"

    def read(self, text: str) -> Secret:
        return Secret(super(SecretText, self).read(text))

    def _shown(self, value: str) -> str:
        return "the value"


# Where Redis is. Brackets stand around an IPv6 address and nowhere else. In a password, what has a meaning in
# a URL is written as %XX.
_LOGIN = r"(?:[^@/?#\[\]\s]*@)?"
_HOST = r"(?:\[(?P<ipv6>[0-9a-fA-F:.]+)\]|[^@:/?#\[\]\s]+)(?::(?P<port>[0-9]{1,5}))?"
_SERVER = _HOST + r"(?:/[0-9]{0,9})?"
_REDIS = (
    re.compile(f"redis://{_LOGIN}{_SERVER}"),
    re.compile(f"rediss://{_LOGIN}{_SERVER}" r"(?:\?ssl_ca_certs=[^#&\s]+)?"),
    re.compile(f"unix://{_LOGIN}" r"/[^?#\s]+(?:\?db=[0-9]{1,9})?"),
)


@dataclass(frozen=True, slots=True)
class RedisUrl(SecretText):
    """Where Redis is. It is looked for later; a secret, for it may have a password in it."""

    notation = "URL|file:PATH"

    def read(self, text: str) -> Secret:
        value = super(RedisUrl, self).read(text)
        found = next(filter(None, (form.fullmatch(value) for form in _REDIS)), None)
        if found is None:
            raise BadValue(
                "is not redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss:// and the same,"
                " or unix:///PATH[?db=DB]; in USER and PASSWORD, %40 stands for @, %2F for / and so on"
            )
        _check_server(found.groupdict())
        return value


_MYSQL = re.compile(f"(?:mysql|mariadb)://{_LOGIN}{_HOST}" r"/[^/?#\s]+")


@dataclass(frozen=True, slots=True)
class MySqlUrl(SecretText):
    """Which database of MariaDB or MySQL. It is looked for later; a secret, as `RedisUrl` is."""

    notation = "URL|file:PATH"

    def read(self, text: str) -> Secret:
        value = super(MySqlUrl, self).read(text)
        found = _MYSQL.fullmatch(value)
        if found is None:
            raise BadValue(
                "is not mysql://USER:PASSWORD@HOST[:PORT]/DATABASE;"
                " in USER and PASSWORD, %40 stands for @, %2F for / and so on"
            )
        _check_server(found.groupdict())
        return value


def _check_server(parts: Mapping[str, str | None]) -> None:
    if parts.get("ipv6") is not None:
        try:
            IPv6Address(parts["ipv6"])
        except ValueError:
            raise BadValue("has something in brackets that is no IPv6 address") from None
    if parts.get("port") is not None:
        port().read(str(parts["port"]).lstrip("0") or "0")


@dataclass(frozen=True, slots=True)
class Choice(Kind):
    """One of several words."""

    words: tuple[str, ...]
    later: tuple[str, ...] = ()  # words of Mosquitto's that are not implemented yet
    remarks: Mapping[str, str] = field(default_factory=dict, hash=False)  # on words with a catch
    means: Mapping[str, str] = field(default_factory=dict, hash=False)  # words that stand for another

    @property
    def notation(self) -> str:
        return "|".join(self.words)

    def read(self, text: str) -> str:
        word = first_word(text)
        if word in self.later:
            raise NotYet(word)
        if word not in self.words and word not in self.remarks:
            raise BadValue(f"{quoted(word)} is not one of {', '.join(self.words)}")
        return self.means.get(word, word)

    def remark(self, text: str) -> str:
        return self.remarks.get(first_word(text), "")


@dataclass(frozen=True, slots=True)
class Anything(Kind):
    """A value that nobody looks at, because the option has no effect. It may even be missing."""

    notation = "TEXT"

    def read(self, text: str) -> str:
        return text


@dataclass(frozen=True, slots=True)
class LogDestination(Kind):
    """``none``, ``stderr``, ``stdout``, ``syslog``, ``topic``, or ``file`` and a path to the line's end."""

    notation = "stderr|stdout|syslog|topic|file PATH|none"
    plain = Choice(("none", "stderr", "stdout", "syslog", "topic", "file"), later=("dlt", "android"))

    def read(self, text: str) -> str:
        word = self.plain.read(text)
        if word != "file":
            return word  # "stdout unbuffered" is Mosquitto's too; ours never is buffered
        return f"file {FilePath().read(self._path(text))}"

    def remark(self, text: str) -> str:
        return FilePath().remark(self._path(text)) if first_word(text) == "file" else ""

    @staticmethod
    def _path(text: str) -> str:
        return text.lstrip(" ")[len("file") :]


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
class EndpointKind(Kind):
    """Reads an `Endpoint`. The one kind of words that a ``#`` ends."""

    notation = "PORT [ADDRESS] | 0 PATH"

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
class ProtocolVersions(Kind):
    """MQTT protocol levels, separated by commas or blanks: ``3, 4, 5``."""

    notation = "VERSION,..."

    def read(self, text: str) -> frozenset[int]:
        words = [word for word in re.split(r"[, \t]+", text) if word]
        if not words:
            raise BadValue("needs a value")
        for word in words:
            if word not in ("3", "4", "5"):
                raise BadValue(f"{quoted(word)} is not one of 3, 4, 5")
        return frozenset(int(word) for word in words)


@dataclass(frozen=True, slots=True)
class Duration(Kind):
    """A number and a unit: ``s``, ``h``, ``d``, ``w``, ``m`` (30 days), ``y`` (365 days). Read as seconds."""

    notation = "TIME"
    units = {"s": 1, "h": 3600, "d": 86_400, "w": 604_800, "m": 2_592_000, "y": 31_536_000}

    def read(self, text: str) -> int:
        word = first_word(text)
        unit = self.units.get(word[-1])
        if unit is None or not word[:-1]:
            raise BadValue(f"{quoted(word)} is not a number and one of {' '.join(self.units)}, such as 14d")
        return Integer(1).read(word[:-1]) * unit

    def written(self, value: object) -> str:
        return _in_units(value, self.units, "s")


@dataclass(frozen=True, slots=True)
class Retention(Kind):
    """
    How long something is kept: ``0`` for not at all, or a number and ``s``, ``h``, ``d`` or ``w``. Read as
    seconds.

    Not ``m``: to Mosquitto that is a month, to ntfy a minute.
    """

    notation = "TIME"
    units = {"s": 1, "h": 3600, "d": 86_400, "w": 604_800}

    def read(self, text: str) -> int:
        word = first_word(text)
        if word == "0":
            return 0
        unit = self.units.get(word[-1])
        if unit is None or not word[:-1]:
            raise BadValue(f"{quoted(word)} is not 0, nor a number and one of s h d w, such as 12h")
        return Integer(0).read(word[:-1]) * unit

    def written(self, value: object) -> str:
        return _in_units(value, self.units, "s") if value else "0"


@dataclass(frozen=True, slots=True)
class TopicRetention(Kind):
    """A topic filter, and how long what is said there is kept."""

    notation = "FILTER TIME"

    def read(self, text: str) -> tuple[str, int]:
        filter, blank, time = text.strip(BLANKS).rpartition(" ")
        if not blank:
            raise BadValue("needs a topic filter and a time, such as: alerts/# 7d")
        levels = filter.rstrip(" ").split("/")
        if "#" in levels[:-1] or any(len(level) > 1 and set("+#") & set(level) for level in levels):
            raise BadValue(
                f"{quoted(filter)} is no topic filter: + and # stand for whole levels, # at the end"
            )
        return "/".join(levels), Retention().read(time)


@dataclass(frozen=True, slots=True)
class Size(Kind):
    """Bytes, alone or with ``K``, ``M`` or ``G`` behind them, each 1024 of the one before."""

    minimum: int = 0

    notation = "BYTES[K|M|G]"
    units = {"": 1, "K": 1024, "M": 1_048_576, "G": 1_073_741_824}

    def read(self, text: str) -> int:
        word = first_word(text)
        unit = word[-1].upper() if word[-1].upper() in self.units else ""
        size = Integer(unit="bytes").read(word.removesuffix(word[-1]) if unit else word) * self.units[unit]
        if size < self.minimum:
            raise BadValue(f"{size} bytes is below {self.minimum}")
        return size

    def written(self, value: object) -> str:
        return _in_units(value, self.units, "")


def _in_units(value: object, units: Mapping[str, int], plain: str) -> str:
    """With the largest unit that it is a multiple of."""
    assert isinstance(value, int)
    fitting = [name for name, size in units.items() if size > 1 and value and value % size == 0]
    unit = max(fitting, key=units.__getitem__, default=plain)
    return f"{value // units[unit]}{unit}"


@dataclass(frozen=True, slots=True)
class BaseUrl(Kind):
    """How a server is called from outside: a scheme, a host and perhaps a port."""

    notation = "URL"

    def read(self, text: str) -> str:
        word = first_word(text).rstrip("/")
        if re.fullmatch(r"https?://([-A-Za-z0-9.]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", word) is None:
            raise BadValue(f"{quoted(word)} is not like https://push.example.com, without a path")
        return word
