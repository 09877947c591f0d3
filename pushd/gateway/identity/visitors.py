"""
How many requests one caller may make: a token with a rate of its own, a user, or an address without a name.

Everybody has a bucket that is full after a rest, `BURST_S` seconds of the rate, and fills up again at the
rate. Who has emptied it is told 429 and, in ``Retry-After``, when there is something in it again; what was
refused costs nothing. Callers on this machine who show no name have no bucket: that is where proxies are, and
programs that we run ourselves.

One for all gateways of a process, in bounded memory. Logins that fail are counted elsewhere, before this.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, NamedTuple

from pushd.broker.pace import Paces
from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal

if TYPE_CHECKING:
    from pushd.gateway.identity.guards import Caller

# What may come at once after a quiet time, in seconds of the rate: an alert that goes to a whole team, or a
# device that was offline and has kept what it wanted to say.
BURST_S = 10.0

# To one endpoint of UnifiedPush, for as long as one likes and whoever sends: a server of Matrix or Mastodon
# pushes for thousands. A group that chats has its messages come in bursts, which are allowed for.
PUSHES_PER_S = 5.0


class Rates(NamedTuple):
    """Requests per second; 0 is no limit."""

    per_user: float = 0.0
    per_address: float = 0.0  # of those without a name


class Visitors:
    """
    Callers, and how fast each of them was.

    :param rates: asked each time, for a reload replaces them; ``None`` if nobody has a limit at all, whatever
        its token says.
    :param seconds: the time, of a clock that is not set.
    :param network_of: what counts as one address, as in `pushd.broker.interfaces.Credentials`.
    """

    def __init__(
        self,
        rates: Callable[[], Rates | None],
        seconds: Callable[[], float],
        network_of: Callable[[str], bytes] = str.encode,
    ) -> None:
        self._rates = rates
        self._seconds = seconds
        self._network_of = network_of
        self._paces = Paces()

    def check(self, caller: Caller, cost: int = 1) -> None:
        """
        Let somebody make a request, or turn it away.

        :param cost: how many it counts for; of many in one, the first decides.
        :raises Refusal: 42901, with ``Retry-After``.
        """
        if not cost or (caller.username is None and is_local(caller.address)):
            return
        rates = self._rates()
        if rates is None:
            return
        key, rate = self._bucket_of(caller, rates)
        if rate:
            self._take(key, rate, cost)

    def who(self, caller: Caller) -> Hashable | None:
        """As whom somebody is counted, whatever it asks for; ``None`` for nobody in particular."""
        if caller.username is not None:
            return "user", caller.username
        return None if is_local(caller.address) else ("address", self._network_of(caller.address))

    def check_key(self, key: Hashable, rate: float) -> None:
        """
        The same for something else than a caller, such as an endpoint that many send to.

        :param key: its own among all such keys: a tuple that begins with what it is.
        :raises Refusal: as `check`.
        """
        if self._rates() is not None:
            self._take(key, rate, 1)

    def _take(self, key: Hashable, rate: float, cost: int) -> None:
        now = self._seconds()
        pace = self._paces.of(key, now)
        wait_s = pace.wait_s(now, BURST_S)
        if wait_s:
            raise Refusal(problems.TOO_MANY_REQUESTS, retry_after(wait_s))
        pace.take(cost, now, rate)

    def _bucket_of(self, caller: Caller, rates: Rates) -> tuple[Hashable, float]:
        token = caller.token
        if token is not None and token.rate_per_s:
            return ("token", token.hash), token.rate_per_s
        who = self.who(caller)
        if who is None:
            return None, 0.0
        return who, rates.per_address if caller.username is None else rates.per_user


def is_local(address: str) -> bool:
    """
    Whether a caller is on this machine.

    :param address: as in `pushd.broker.interfaces.Credentials`, with or without a port.
    """
    return not address or address.startswith(("127.", "[::1]", "unix"))


def retry_after(seconds: float) -> bytes:
    """The header line. RFC 9110 §10.2.3: whole seconds, and never fewer than it takes."""
    return b"Retry-After: %d\r\n" % max(1, math.ceil(seconds))


# Of a gateway on its own.
UNLIMITED = Visitors(lambda: None, lambda: 0.0)
