"""What brokers for tests are put together from: the same parts as the real one's, with a store in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zope.interface import implementer

from pushd.auth.chain import AuthenticatorChain, AuthorizerChain
from pushd.broker.broker import Broker
from pushd.broker.interfaces import Credentials, IAuthenticator, Verdict
from pushd.broker.policy import Policy
from pushd.mqtt.codes import ReasonCode
from pushd.plugins.handle import BrokerHandle
from pushd.plugins.loading import LoadedPlugin, configure, load
from pushd.plugins.table import PluginTable

LISTENER = "a test"  # what `ClientInfo.listener` says


def use(plugin: type | str, /, **options: object) -> LoadedPlugin:
    """
    A ``plugin`` line and its ``plugin_opt_`` lines.

    :param plugin: a class, or what the line would say.
    :param options: are written as in the settings and read again, so that ``Config`` is tried, too; a list or
        tuple as one line with blanks between its items.
    :raises PluginError: as at the start of pushd.
    """
    lines = [(name, _written(value)) for name, value in options.items()]
    if isinstance(plugin, str):
        return load("a test", plugin, lines)
    return configure("a test", plugin.__name__, plugin, lines)


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return " ".join(map(_written, value))
    return str(value)


@implementer(IAuthenticator)
class Users:
    """Stands where the password file does: behind the plugins."""

    def __init__(self, passwords: Mapping[str, str]) -> None:
        self._passwords = passwords

    def authenticate(self, credentials: Credentials) -> Verdict:
        if not self._passwords or credentials.username is None:
            return None
        password = self._passwords.get(credentials.username)
        matches = password is not None and credentials.password == password.encode()
        return ReasonCode.SUCCESS if matches else ReasonCode.NOT_AUTHORIZED


class Bench:
    """
    A broker with one listener and some plugins.

    :ivar broker: as plugins see it.
    """

    def __init__(
        self,
        broker: Broker,
        reactor: Any,
        loaded: Sequence[LoadedPlugin],
        users: Mapping[str, str],
        allow_anonymous: bool,
    ) -> None:
        self._core = broker
        self._loaded = loaded
        self._table = PluginTable(loaded, broker, reactor)
        self.broker = BrokerHandle(broker, reactor)
        plugins = self._table.of_listener(loaded, LISTENER)
        who = (*plugins.authenticators, Users(users), *plugins.last_authenticators)
        self._policy = Policy(
            LISTENER,
            AuthenticatorChain(who, allow_anonymous),
            AuthorizerChain(plugins.authorizers),
            log_connections=False,
            log_subscriptions=False,
            hooks=plugins.hooks,
        )

    def plugin(self, index: int = 0) -> Any:
        """The instance of the plugin that was given as the first, second, ..."""
        return self._table.plugin(self._loaded[index])

    @property
    def failures(self) -> dict[str, int]:
        """How often a plugin could not answer, by hook and kind, such as ``on_publish/timed_out``."""
        return self._core.counters.plugin_failures
