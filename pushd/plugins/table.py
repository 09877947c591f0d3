"""All plugins of a broker: made together, started together, and at a reload replaced together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from pushd.broker.broker import Broker
from pushd.broker.hooks import NO_HOOKS, Hooks
from pushd.broker.interfaces import IAuthenticator, IAuthorizer
from pushd.plugins.chain import HookChain, NamedStrangers, PluginAuthenticator, PluginAuthorizer
from pushd.plugins.handle import BrokerHandle
from pushd.plugins.loading import LoadedPlugin, PluginError
from pushd.plugins.seat import Seat


@dataclass(frozen=True)
class ListenerPlugins:
    """
    What one listener has of its plugins.

    :ivar authenticators: to be asked before all others.
    :ivar last_authenticators: to be asked after all others.
    :ivar authorizers: to be asked before all others.
    """

    authenticators: tuple[IAuthenticator, ...] = ()
    last_authenticators: tuple[IAuthenticator, ...] = ()
    authorizers: tuple[IAuthorizer, ...] = ()
    hooks: Hooks = NO_HOOKS


class PluginTable:
    """
    The plugins of one reading of the settings.

    A listener that uses one has it under the same key as any other that does: there is one instance.
    """

    def __init__(self, loaded: Iterable[LoadedPlugin], broker: Broker, reactor: object) -> None:
        """
        Make the instances; nothing is started.

        :raises PluginError: of one that cannot be made.
        """
        self._broker = broker
        handle = BrokerHandle(broker, reactor)
        self._seats = {each: self._seat(each, handle) for each in loaded}

    def _seat(self, loaded: LoadedPlugin, handle: BrokerHandle) -> Seat:
        try:
            plugin = loaded.shape(loaded.config, handle)
        except Exception as problem:
            told = f"{type(problem).__name__}: {problem}"
            raise PluginError(loaded.origin, loaded.name, told) from problem
        return Seat(loaded, plugin, handle.reactor, self._broker.counters)

    def __bool__(self) -> bool:
        return bool(self._seats)

    def plugin(self, loaded: LoadedPlugin) -> object:
        """The instance of what was loaded."""
        return self._seats[loaded].plugin

    def start(self) -> Deferred[None]:
        """
        Start one after the other. Until its turn is over, a plugin lets nobody in.

        :return: fails with `PluginError`; then those that had started are stopped again.
        """
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        for seat in self._seats.values():
            try:
                await seat.start()
            except Exception as problem:
                await self._stop()
                told = f"could not be started: {type(problem).__name__}: {problem}"
                raise PluginError(seat.loaded.origin, seat.loaded.name, told) from problem

    def stop(self) -> Deferred[None]:
        """Stop one after the other, the last first. Never fails."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for seat in reversed(self._seats.values()):
            await seat.stop()

    def of_listener(self, loaded: Iterable[LoadedPlugin], listener: str) -> ListenerPlugins:
        """
        :param loaded: the plugins of this listener, in their order.
        :param listener: its name.
        """
        seats = [self._seats[each] for each in loaded]
        who = [PluginAuthenticator(seat, listener) for seat in seats if seat.wants("authenticate")]
        may = [PluginAuthorizer(seat, listener) for seat in seats if seat.wants("authorize")]
        return ListenerPlugins(
            tuple(who),
            (NamedStrangers(),) if who else (),
            tuple(may),
            HookChain(seats, listener, self._broker.wheel.seconds).hooks(),
        )
