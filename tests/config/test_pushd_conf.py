"""conf/pushd.conf is the manual: it and the table of options say the same."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pushd.config.draft import Draft, settle
from pushd.config.kinds import Integer
from pushd.config.options import OPTIONS, Option, Repeat, Status, find
from pushd.config.reader import SettingsFile, read_settings

CONF = Path(__file__).parents[2] / "conf" / "pushd.conf"
TEXT = CONF.read_text("utf-8")
LINES = TEXT.splitlines()
PLACEHOLDER = re.compile(r"[A-Z][A-Z|0-9]*")  # a value in capitals stands for one that has no default


def shown() -> list[tuple[Option, str]]:
    """The options shown at their defaults: a # and a name without a space between."""
    found = [line[1:].partition(" ") for line in LINES if re.match(r"#[a-z]", line)]
    rows = [(find(name), value) for name, _, value in found]
    assert all(row is not None for row, _ in rows)
    return [(row, value) for row, value in rows if row is not None]


def comment_above(name: str) -> str:
    """The comment that explains an option; several options may share one."""
    at = next(at for at, line in enumerate(LINES) if re.match(rf"#?{re.escape(name)} ", line))
    start = at
    while LINES[start - 1]:
        start -= 1
    return "\n".join(line for line in LINES[start:at] if line.startswith("# "))


class ManualTests(SynchronousTestCase):
    def test_every_option_is_there(self) -> None:
        """What works can be found in the file, in use or at its default."""
        for option in OPTIONS:
            if option.status is Status.WORKS:
                assert re.search(rf"^#?{re.escape(option.title)} ", TEXT, re.MULTILINE), option.name

    def test_nothing_else_is_there(self) -> None:
        """What does not work yet is not advertised."""
        assert [option.name for option, _ in shown() if option.status is not Status.WORKS] == []

    def test_defaults_are_the_tables(self) -> None:
        """A shown default is the value that counts without the line."""
        for option, value in shown():
            if PLACEHOLDER.fullmatch(value):
                assert not option.default, option.name
            elif option.repeat is not Repeat.ALL:
                assert option.kind.read(value) == option.default, option.name

    def test_lists_of_defaults_are_the_tables(self) -> None:
        """Where several lines add up, all of the default is shown."""
        for name in ("log_dest", "log_type"):
            values = tuple(value for option, value in shown() if option.name == name)
            option = find(name)
            assert option is not None
            assert values == option.default

    def test_every_option_is_explained(self) -> None:
        """A comment stands above each, and names the unit of a number."""
        for option in OPTIONS:
            if option.status is Status.WORKS:
                comment = comment_above(option.title)
                assert comment, option.name
                if isinstance(option.kind, Integer):
                    assert option.kind.unit in comment.lower(), option.name

    def test_reload_is_promised_for_what_reloads(self) -> None:
        """Where the file says SIGHUP, the table agrees."""
        for option in OPTIONS:
            if option.status is Status.WORKS and "[SIGHUP]" in comment_above(option.title):
                assert option.reloadable, option.name

    def test_uncommenting_defaults_is_harmless(self) -> None:
        """With every default written out, the file is still read, and without a warning."""
        lines = [line for line in LINES if not line.startswith("#auth_plugin")]  # there is no plugin above it
        text = "\n".join(line[1:] if re.match(r"#[a-z]\S* [^A-Z]", line) else line for line in lines)
        draft = Draft()
        SettingsFile("x.conf", text.encode(), draft, {}).read()
        assert settle(draft, ()).warnings == ()


class DevelopmentTests(SynchronousTestCase):
    """What `make run` opens."""

    def test_doors(self) -> None:
        """Plain MQTT, MQTT with client certificates and the gateway, on loopback only."""
        plain, mutual, gateway = read_settings(str(CONF)).listeners
        assert [door.port for door in (plain, mutual, gateway)] == [1883, 8883, 8080]
        assert {door.addresses for door in (plain, mutual, gateway)} == {("127.0.0.1",)}
        assert [door.protocol for door in (plain, mutual, gateway)] == ["mqtt", "mqtt", "http"]
        assert [door.tls for door in (plain, mutual, gateway)] == [False, True, False]

    def test_locks(self) -> None:
        """Nobody comes in anonymously; devices are who their certificate says."""
        read = read_settings(str(CONF))
        for door in read.listeners:
            assert door.security.allow_anonymous is False
            assert (door.security.password_file, door.security.acl_file) == ("conf/passwd", "conf/acl")
        assert read.listeners[1].require_certificate
        assert read.listeners[1].use_identity_as_username

    def test_no_warnings(self) -> None:
        """The file that everyone starts with is clean."""
        assert read_settings(str(CONF)).warnings == ()
