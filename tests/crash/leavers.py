"""Clients whose sessions end: because they ask for it, or because they stay away too long."""

from __future__ import annotations

import time
from random import Random

from pushd.mqtt.codes import QoS, Version
from tests.crash.ledger import Ledger
from tests.crash.people import Subscriber


class Quitter(Subscriber):
    """
    Ends its session now and then while it is `busy`, and begins another. As soon as the CONNACK has told it
    that the old one is over, nothing of that may come.
    """

    def __init__(
        self,
        name: str,
        version: Version,
        port: int,
        ledger: Ledger,
        rng: Random,
        filters: dict[str, tuple[list[str], QoS]],
    ) -> None:
        super().__init__(name, version, port, ledger, rng, filters)
        self._passing = False  # in version 3, the connection that is only for ending the session

    def act(self) -> None:
        super().act()
        if self.busy and self.is_done and self.rng.random() < 0.01:
            self.ledger.timeline.note(self.name, "will begin a new session")
            self.session.renew()
            self.hangs_up = True

    def renewed(self) -> None:
        super().renewed()
        self._passing = self.session.version is not Version.V5

    def connected(self) -> None:
        if self._passing:
            self._passing = False
            self.hangs_up = True
        else:
            super().connected()


class Passer(Subscriber):
    """
    Has a session that ends soon after its connection (v5 §3.1.2.11.2), and stays away for about as long.

    The time counts from when a broker has noticed; one that was killed before it could note that has left it
    to the next, which counts from its own start.
    """

    EXPIRES_S = 2
    _EARLY_S = 0.5  # so much earlier it may be over, by our clock
    _LATE_S = 2.0  # so much later it certainly is

    def __init__(
        self,
        name: str,
        version: Version,
        port: int,
        ledger: Ledger,
        rng: Random,
        filters: dict[str, tuple[list[str], QoS]],
    ) -> None:
        super().__init__(name, version, port, ledger, rng, filters)
        self.session.expires_s = self.EXPIRES_S
        self._left_at = 0.0
        self._comes_at = 0.0
        self._must_be_over = False  # when it said CONNECT

    @property
    def _may_be_over(self) -> bool:
        return self._left_at > 0 and self._age() >= self.EXPIRES_S - self._EARLY_S

    def opened(self) -> None:
        since = max(self._left_at, self.ledger.timeline.served_at)
        self._must_be_over = self._left_at > 0 and time.monotonic() - since > self.EXPIRES_S + self._LATE_S
        super().opened()

    def connected(self) -> None:
        if self._must_be_over and not self._is_new:
            self.surprised(f"a session of {self.EXPIRES_S} s is there after {self._age():.1f} s")
        super().connected()

    def session_lost(self) -> None:
        if not self._may_be_over:
            super().session_lost()
            return
        self.ledger.timeline.note(self.name, "has no session any more, after %.1f s", self._age())
        self.ledger.session_over(self.name)
        self._is_new = True

    def closed(self) -> None:
        if self.online:
            self._left_at = time.monotonic()
        elif self._may_be_over:
            # There may be a new session since, of which we were not told.
            self.session.renew()
        super().closed()

    def _age(self) -> float:
        return time.monotonic() - self._left_at

    def act(self) -> None:
        super().act()
        if self.busy and self.is_done and self.rng.random() < 0.01:
            self.leave()
            self._comes_at = time.monotonic() + self.rng.choice([0.1, 1.0, self.EXPIRES_S + 2.5])

    def look_back(self) -> None:
        """Called now and then: come back when it is time."""
        if time.monotonic() >= self._comes_at:
            self.wanted = True
