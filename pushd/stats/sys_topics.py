"""
The broker's own figures as retained messages under ``$SYS/broker``.

Names and formats are Mosquitto's, so that its exporters and dashboards read them unchanged; what is ours
is the version's text, ``event_loop``, ``store/failing``, ``scheduled messages``, ``logins``, ``plugins``, and
the reasons below ``publish/messages/dropped`` and ``connections``.
Everything is published once at the start, then every `interval_s` what has changed, at wall-clock multiples
of the interval: two brokers' figures line up, and so do those before and after a restart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from pushd.broker.counters import Counters
from pushd.stats.heap import resident_bytes
from pushd.stats.load import WINDOWS, LoadAverage

PREFIX = "$SYS/broker/"

# A timer may fire a hair before the multiple it was set for; the next one is then not this one again.
_EARLY_S = 0.01

FAILED = "The $SYS topics could not be published"


class Gauges(NamedTuple):
    """What the broker holds at this moment, next to the totals that `Counters` keeps."""

    clients_connected: int
    clients_total: int  # online, and offline with a session kept
    subscriptions: int  # without the shared ones
    shared_subscriptions: int
    retained_messages: int
    stored_messages: int  # distinct messages held: retained, queued or in flight
    stored_bytes: int  # of their payloads
    sockets: int  # network connections open, whether or not a CONNECT came
    packets_out: int = 0  # waiting to be taken by peers
    packets_out_bytes: int = 0
    event_loop_late_ms: int = 0  # the latest that it was in the last seconds
    scheduled_messages: int = 0  # that will be published later
    store_failing: str | None = None  # why nothing can be made durable; None while it can


def _dropped(counters: Counters) -> int:
    """All messages that a subscriber did not get, whatever the reason."""
    return sum(counters.publish_dropped.values())


# Under ``load/``: what is averaged.
_LOADS: dict[str, Callable[[Counters], int]] = {
    "messages/received": lambda counters: counters.messages_received,
    "messages/sent": lambda counters: counters.messages_sent,
    "publish/dropped": _dropped,
    "publish/received": lambda counters: counters.publish_received,
    "publish/sent": lambda counters: counters.publish_sent,
    "bytes/received": lambda counters: counters.bytes_received,
    "bytes/sent": lambda counters: counters.bytes_sent,
    "sockets": lambda counters: counters.connections_accepted,
    "connections": lambda counters: counters.connects_accepted,
}


class SysTopics:
    """
    Publishes the ``$SYS`` tree while it is started.

    :param gauges: asked once per update; may take a moment to count.
    :param publish: called with a topic name and a payload; the broker makes it a retained message.
    :param interval_s: 0 for no ``$SYS`` at all.
    :param clock: its seconds are those of the wall clock, as the reactor's are.
    :param monotonic_s: what durations are measured with: a wall clock is set now and then.
    :param heap_bytes: resident memory now and at its highest.
    """

    _log = Logger()

    def __init__(
        self,
        counters: Counters,
        gauges: Callable[[], Deferred[Gauges]],
        publish: Callable[[str, bytes], None],
        *,
        version: str,
        interval_s: int,
        clock: IReactorTime,
        monotonic_s: Callable[[], float] = time.monotonic,
        heap_bytes: Callable[[], tuple[int, int]] = resident_bytes,
    ) -> None:
        self._counters = counters
        self._gauges = gauges
        self._publish = publish
        self._version = version
        self._interval_s = interval_s
        self._clock = clock
        self._monotonic_s = monotonic_s
        self._heap_bytes = heap_bytes
        self._began_s = self._updated_s = monotonic_s()
        self._loads = {name: LoadAverage(total(counters)) for name, total in _LOADS.items()}
        self._published: dict[str, str] = {}  # topic name below the prefix -> what it says now
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Publish everything now, and from here on what changes."""
        if self._interval_s > 0 and self._timer is None:
            self._update()

    def stop(self) -> None:
        """Publish nothing more. What was published stays, as the last that is known."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def set_interval(self, interval_s: int) -> None:
        """Go on at another interval, as after a reload of the settings."""
        self.stop()
        self._interval_s = interval_s
        self.start()

    def _update(self) -> None:
        """Publish what has changed; come back at the next multiple of the interval, whatever goes wrong."""
        self._timer = self._clock.callLater(self._delay_s(), self._update)
        published = self._gauges().addCallback(self._publish_changes)
        published.addErrback(lambda failure: self._log.failure(FAILED, failure))

    def _delay_s(self) -> float:
        delay_s = self._interval_s - self._clock.seconds() % self._interval_s
        return delay_s if delay_s > _EARLY_S else delay_s + self._interval_s

    def _publish_changes(self, gauges: Gauges) -> None:
        if self._timer is None:
            return  # stopped while it was counted
        self._update_loads()
        # Taken as a whole first: publishing counts too, and may count a first drop of some reason.
        for name, text in list(self._figures(gauges)):
            if self._published.get(name) != text:
                self._publish(PREFIX + name, text.encode())
                self._published[name] = text

    def _update_loads(self) -> None:
        now_s = self._monotonic_s()
        elapsed_s, self._updated_s = now_s - self._updated_s, now_s
        for name, load in self._loads.items():
            load.update(_LOADS[name](self._counters), elapsed_s)

    def _figures(self, gauges: Gauges) -> Iterator[tuple[str, str]]:
        """Every topic name below the prefix and what it should say now."""
        yield "version", f"pushd version {self._version}"
        yield "uptime", f"{int(self._updated_s - self._began_s)} seconds"
        yield "store/failing", gauges.store_failing or "none"
        for name, number in self._numbers(gauges):
            yield name, str(number)
        for name, load in self._loads.items():
            for (window, _), value in zip(WINDOWS, load.values, strict=True):
                # Two decimals, so a load is published again when it has moved by 0.01, and settles at 0.00.
                yield f"load/{name}/{window}", f"{value:.2f}"

    def _numbers(self, gauges: Gauges) -> Iterator[tuple[str, int]]:
        yield from _held(gauges, self._counters)
        yield from _counted(self._counters)
        current, maximum = self._heap_bytes()
        yield "heap/current", current
        yield "heap/maximum", maximum


def _held(gauges: Gauges, counters: Counters) -> Iterator[tuple[str, int]]:
    """Of clients and of what is kept for them, also under the older names that exporters still read."""
    offline = gauges.clients_total - gauges.clients_connected
    yield "clients/total", gauges.clients_total
    yield "clients/maximum", counters.clients_maximum
    yield "clients/connected", gauges.clients_connected
    yield "clients/active", gauges.clients_connected
    yield "clients/disconnected", offline
    yield "clients/inactive", offline
    yield "clients/expired", counters.clients_expired
    yield "messages/stored", gauges.stored_messages  # the older name of the next
    yield "store/messages/count", gauges.stored_messages
    yield "store/messages/bytes", gauges.stored_bytes
    yield "subscriptions/count", gauges.subscriptions
    yield "shared_subscriptions/count", gauges.shared_subscriptions
    yield "retained messages/count", gauges.retained_messages
    yield "packet/out/count", gauges.packets_out
    yield "packet/out/bytes", gauges.packets_out_bytes
    yield "connections/socket/count", gauges.sockets
    yield "event_loop/late/ms", gauges.event_loop_late_ms
    yield "scheduled messages/count", gauges.scheduled_messages


def _counted(counters: Counters) -> Iterator[tuple[str, int]]:
    """Totals since the start."""
    yield "messages/received", counters.messages_received
    yield "messages/sent", counters.messages_sent
    yield "bytes/received", counters.bytes_received
    yield "bytes/sent", counters.bytes_sent
    yield "publish/messages/received", counters.publish_received
    yield "publish/messages/sent", counters.publish_sent
    yield from _by_reason("publish/messages/dropped", counters.publish_dropped)
    yield from _by_reason("connections/refused", counters.connections_refused)
    yield from _by_reason("connections/paused", counters.connections_paused)
    yield from _by_reason("connections/closed", counters.connections_closed)
    yield from _by_reason("logins/refused", counters.logins_refused)
    yield from _by_reason("plugins/failures", counters.plugin_failures)
    yield "publish/bytes/received", counters.publish_bytes_received
    yield "publish/bytes/sent", counters.publish_bytes_sent


def _by_reason(name: str, counts: dict[str, int]) -> Iterator[tuple[str, int]]:
    """All of them, and then each reason that there was."""
    yield name, sum(counts.values())
    for reason, count in counts.items():
        yield f"{name}/{reason}", count
