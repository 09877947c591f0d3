"""`pushd.plugins.table`: plugins that start, stop and are shared."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.broker import Broker
from pushd.broker.hooks import NO_HOOKS
from pushd.broker.interfaces import Credentials
from pushd.mqtt.codes import ReasonCode
from pushd.plugins import ALLOW, Login, Plugin, Verdict
from pushd.plugins.loading import LoadedPlugin, PluginError, configure
from pushd.plugins.table import PluginTable
from pushd.storage.memory import MemoryStore

said: list[str] = []


class Noted(Plugin):
    """Says when it starts and stops."""

    class Config:
        name: str
        breaks: str = ""

    def start(self) -> Deferred[None] | None:
        said.append(f"start {self.config.name}")
        if self.config.breaks == "start":
            raise OSError("broken")
        self.later: Deferred[None] = Deferred()
        return self.later if self.config.breaks == "slowly" else None

    def stop(self) -> None:
        said.append(f"stop {self.config.name}")

    def authenticate(self, login: Login) -> Verdict:
        return ALLOW


class Unmade(Plugin):
    def __init__(self, config: object, broker: object) -> None:
        raise RuntimeError("no hands")

    def on_connect(self, client: object) -> None:
        """So that it is a plugin."""


def noted(name: str, breaks: str = "") -> LoadedPlugin:
    return configure("x.conf:1", "noted", Noted, [("name", name), ("breaks", breaks)])


class TableTests(SynchronousTestCase):
    def setUp(self) -> None:
        said.clear()

    def table(self, *loaded: LoadedPlugin) -> PluginTable:
        clock = Clock()
        return PluginTable(loaded, Broker(clock, MemoryStore()), clock)

    def test_order(self) -> None:
        """One after the other, and the last stops first."""
        table = self.table(noted("a"), noted("b"))
        self.successResultOf(table.start())
        self.successResultOf(table.stop())
        assert said == ["start a", "start b", "stop b", "stop a"]

    def test_one_does_not_start(self) -> None:
        """Those before it stop again, those behind it never start, and the line of the settings is told."""
        failure = self.failureResultOf(
            self.table(noted("a"), noted("b", "start"), noted("c")).start(), PluginError
        )
        assert failure.getErrorMessage() == "x.conf:1: plugin noted: could not be started: OSError: broken"
        assert said == ["start a", "start b", "stop a"]

    def test_one_cannot_be_made(self) -> None:
        """Nothing has started then."""
        error = self.assertRaises(PluginError, self.table, configure("x.conf:1", "unmade", Unmade))
        assert str(error) == "x.conf:1: plugin unmade: RuntimeError: no hands"

    def test_nobody_comes_in_before_it_has_started(self) -> None:
        """They are told to try again."""
        loaded = noted("a", "slowly")
        table = self.table(loaded)
        starting = table.start()
        (asked,) = table.of_listener([loaded], "port 1").authenticators
        login = Credentials("a", "ada", b"x")
        assert asked.authenticate(login) is ReasonCode.SERVER_UNAVAILABLE
        plugin: Any = table.plugin(loaded)
        plugin.later.callback(None)
        self.successResultOf(starting)
        assert asked.authenticate(login) is ReasonCode.SUCCESS

    def test_what_nobody_wants_is_not_asked(self) -> None:
        """A listener has only the hooks that its plugins have."""
        loaded = noted("a")
        plugins = self.table(loaded).of_listener([loaded], "port 1")
        assert plugins.hooks == NO_HOOKS
        assert plugins.authorizers == ()
        assert self.table(loaded).of_listener([], "port 1").authenticators == ()
