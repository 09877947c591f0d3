"""
Who may come in, and when: the limits that count before a connection has said a word.

Being let in costs an attacker nothing and us a little, so all of it is decided here, from a number and an
address, and a connection over a limit is closed without an answer. There is one `Gate` for the process and
one `Entrance` for each listener; `pushd.service.ports` asks them at each connection.

Three things make the gate close for a moment, on all listeners, and connections wait in the kernel's queue:
more of them per second than ``max_connect_rate``, no descriptors left, and an event loop that is late.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

from twisted.logger import Logger

from pushd.broker.counters import Counters
from pushd.broker.limits import Limits
from pushd.broker.pace import Pace, Paces
from pushd.transports.addresses import plain_host

log = Logger()

# In seconds of the rate: what may come at once after a quiet time. When a network or this process comes back,
# so does a whole fleet, and it is no attack.
BURST_S = 10.0

# Descriptors that no connection gets: the store, its journal, the log files and certificates need some.
SPARE_FILES = 64

# How long nobody is let in when there is nothing to let them in with. It must not be tried at once: a socket
# that cannot be accepted stays readable, and the event loop would do nothing else.
STARVED_PAUSE_S = 1.0

# An event loop that runs this late has enough to do; it gets this long to catch up.
LATE_S = 1.0
LATE_PAUSE_S = 1.0

# The longest that a connection is held back for its address. More would only pile up.
MAX_HOLD_S = 5.0

# The same reason for a pause is given once in so many seconds.
TELL_EVERY_S = 10.0


class Gate:
    """
    What all listeners share.

    :ivar connection_count: how many network connections are open.
    :ivar max_files: how many descriptors this process may have; ``None`` if that is not known.
    """

    def __init__(
        self, limits: Callable[[], Limits], counters: Counters, seconds: Callable[[], float]
    ) -> None:
        """
        :param limits: asked each time, for a reload replaces them.
        :param seconds: must not be set back, as a wall clock is now and then.
        """
        self._limits = limits
        self._seconds = seconds
        self._pace = Pace()
        self._paces = Paces()  # by network
        self._closed_until = 0.0
        self._told_at: dict[str, float] = {}  # reason -> when it was last logged
        self.counters = counters
        self.connection_count = 0
        self.max_files: int | None = None

    # All of it

    def pause_s(self) -> float:
        """How long nobody may come in by any door; 0 if the gate is open."""
        now = self._seconds()
        rate = self._limits().max_connect_rate
        if rate and self._closed_until <= now:
            wait_s = self._pace.wait_s(now, BURST_S)
            if wait_s > 0:
                self.close_for(wait_s, "max_connect_rate", f"more than {rate} connections per second")
        return max(0.0, self._closed_until - now)

    def close_for(self, pause_s: float, reason: str, cause: str) -> None:
        """
        Let nobody in for so long.

        :param reason: what it is counted under.
        :param cause: the same for people.
        """
        now = self._seconds()
        self._closed_until = max(self._closed_until, now + pause_s)
        self.counters.paused(reason)
        if now - self._told_at.get(reason, -TELL_EVERY_S) >= TELL_EVERY_S:
            self._told_at[reason] = now
            log.warn("No connections are accepted for a moment: {cause}", cause=cause)

    def starved(self, problem: OSError) -> None:
        """The system could not give us a connection."""
        self.close_for(STARVED_PAUSE_S, "open_files", problem.strerror or str(problem))

    def loop_was_late(self, late_s: float) -> None:
        """The event loop came to its timers so late."""
        if late_s > LATE_S:
            self.close_for(LATE_PAUSE_S, "event_loop_late", f"the event loop was {late_s:.1f} s late")

    def took_one(self) -> None:
        """A connection was taken from the kernel's queue."""
        rate = self._limits().max_connect_rate
        if rate:
            self._pace.take(1, self._seconds(), rate)

    def is_full(self) -> bool:
        """Whether there are as many connections as there may be."""
        return 0 <= self._limits().global_max_connections <= self.connection_count

    def is_spare(self, descriptor: int) -> bool:
        """
        Whether a connection got one of the last descriptors. A new one gets the lowest number that is free,
        so that its own number says how many are in use.
        """
        if self.max_files is None:
            return False
        return descriptor >= self.max_files - min(SPARE_FILES, self.max_files // 4)

    # By address

    def turn_s(self, host: str) -> float | None:
        """
        When the next connection from an address has its turn.

        Loopback has no pace of its own: that is where proxies are, and programs of this machine.

        :return: how many seconds from now, 0 for at once; ``None`` if that is too long.
        """
        rate = self._limits().max_connect_rate_per_address
        if not rate or _is_loopback(host):
            return 0.0
        now = self._seconds()
        pace = self._paces.of(_network(host), now)
        wait_s = pace.wait_s(now, BURST_S)
        if wait_s > MAX_HOLD_S:
            return None
        pace.take(1, now, rate)
        return wait_s


class Entrance:
    """
    One listener's place at the gate.

    :param name: of the listener, for log lines.
    :ivar max_connections: at once, through this listener; negative is no limit. A reload may assign it.
    :ivar is_behind_proxy: connections do not come from where they seem to; the protocol asks for their turn
        when it knows (`pushd.transports.proxy_protocol`). A reload may assign it, too.
    """

    def __init__(
        self, gate: Gate, name: str, max_connections: int = -1, is_behind_proxy: bool = False
    ) -> None:
        self.gate = gate
        self._name = name
        self.is_behind_proxy = is_behind_proxy
        self.max_connections = max_connections
        self.connection_count = 0

    def admit(self, descriptor: int, host: str | None) -> float | None:
        """
        Decide about a connection that was just accepted, and count it if it may stay.

        :param descriptor: of its socket.
        :param host: where it comes from; ``None`` for the file system.
        :return: how many seconds it has to wait for its turn; ``None`` if it must go.
        """
        gate = self.gate
        gate.took_one()
        where = "a Unix socket" if host is None else plain_host(host)
        if gate.is_spare(descriptor):
            gate.close_for(STARVED_PAUSE_S, "open_files", "too many open files")
            self._refuse("open_files", where, "too many open files")
            return None
        if 0 <= self.max_connections <= self.connection_count:
            self._refuse("max_connections", where, f"max_connections of {self._name} reached")
            return None
        if gate.is_full():
            self._refuse("global_max_connections", where, "global_max_connections reached")
            return None
        turn_s = 0.0 if host is None or self.is_behind_proxy else gate.turn_s(host)
        if turn_s is None:
            self._refuse("max_connect_rate_per_address", where, "too many connections per second")
            return None
        self.connection_count += 1
        gate.connection_count += 1
        return turn_s

    def left(self) -> None:
        """A connection that was admitted is gone."""
        self.connection_count -= 1
        self.gate.connection_count -= 1

    def _refuse(self, reason: str, where: str, cause: str) -> None:
        self.gate.counters.refused(reason)
        log.info("Connection from {where} denied: {cause}", where=where, cause=cause, log_type="notice")


def _is_loopback(host: str) -> bool:
    return host.startswith(("127.", "::ffff:127.")) or host == "::1"


def _network(host: str) -> bytes:
    """What is one address to us: for IPv6 the first 64 bits, as the rest is for each to choose."""
    try:
        packed = ip_address(plain_host(host.partition("%")[0])).packed
    except ValueError:  # not an address that a kernel would give
        return host.encode()
    return packed if len(packed) == 4 else packed[:8]
