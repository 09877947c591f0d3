"""What a broker goes through: lives, deaths and lesser troubles in full traffic, and a balance after them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from random import Random

from tests.crash.brokers import MortalBroker
from tests.crash.cast import Cast
from tests.crash.crowd import Crowd
from tests.crash.ledger import Ledger
from tests.crash.timeline import Timeline

PATIENCE_S = 30.0  # for what takes a moment; a broker that takes longer hangs
SILENCE_S = 3.0  # what has not come after such a silence will not come
_QUIET_S = 0.1  # the same when nothing is missing, and only what is too much might still come

STOP_S = 10.0  # for a stop at a signal, with all that has to be written


class GivenUp(Exception):
    """The broker does not do what every further step needs."""


class Ordeal:
    """
    One broker, its crowd, and what they do to it.

    :ivar kills: how often the broker was ended, `early_kills` of them before it had taken anybody in.
    """

    def __init__(self, broker: MortalBroker, seed: int, number: int = signal.SIGKILL) -> None:
        """:param number: what it is killed with. With SIGKILL it is sometimes asked to end just before."""
        self.kills = 0
        self.early_kills = 0
        self.drops = 0
        self.full_disks = 0
        self.settlements = 0
        self.ledger = Ledger(Timeline())
        self.ledger.evidence = broker.file.about
        self._broker = broker
        self._signal = number
        self._rng = Random(seed)
        self._startup_s = 0.5  # measured anew with each start
        self._born = 0.0
        self._cast = Cast(seed, broker.mqtt_port, broker.http_port, self.ledger)
        self._clients, self._inspector = self._cast.clients, self._cast.inspector
        others = *self._cast.pushers, *self._cast.archivists
        self._crowd = Crowd([*self._clients, self._cast.late, self._inspector, *others])

    # The kinds of trouble

    def with_kills(self, kills: int) -> None:
        """Let the broker live so often that it is killed this often."""
        while self.kills < kills:
            if self._rng.random() < 0.15:
                self._kill_at_start(self._rng.choice([1, 1, 2, 3]))
            self._begin_life()
            if self._rng.random() < 0.3:
                self._look_first()
            self._await(self._anybody_online, "nobody is taken in")
            if self._rng.random() < 0.25:
                self._settle()
            self._change_people()
            self._kill_after(self._rng.choice([0.05, 0.4, 1.0]) * self._rng.random())
        self._begin_life()
        self._settle()
        self._end_life(signal.SIGTERM)

    def with_backlog(self, messages: int, kills: int) -> None:
        """
        Let so many messages be acknowledged while all who wait for them are away, then let one who takes
        only a few at once have them; kill the broker all the while.
        """
        cast = self._cast
        self._begin_life()
        self._settle()  # everybody is subscribed
        for client in [*self._clients, cast.late, *cast.pushers]:
            client.wanted = client in cast.publishers
        goal = self.ledger.acknowledged_count + messages
        self._live_until(lambda: self.ledger.acknowledged_count >= goal, kills // 2)
        for publisher in cast.publishers:
            publisher.busy = False
        slow = cast.sleepers[1]
        slow.wanted = True
        self._live_until(lambda: slow.is_done and self._silent_for(_QUIET_S), kills - kills // 2)
        for pusher in cast.pushers:
            pusher.wanted = True
        self._settle()
        self._end_life(signal.SIGTERM)

    def _live_until(self, done: Callable[[], bool], kills: int) -> None:
        """Kill the broker this often, and then let it live until something is done."""
        for _ in range(kills):
            self._await(self._anybody_online, "nobody is taken in")
            self._kill_after(self._rng.random())
            self._begin_life()
        self._crowd.pump_while(lambda: self._broker.is_running and not done(), 10 * PATIENCE_S)
        self._check_alive()

    def with_drops(self, drops: int) -> None:
        """Let the broker live, and break this many connections."""
        self._begin_life()
        while self.drops < drops:
            self._crowd.pump(0.1 * self._rng.random())
            self._check_alive()
            self._drop_somebody()
            if self._rng.random() < 0.05:
                self._change_people()
            if self._rng.random() < 0.03:
                self._settle()
        self._settle()
        self._end_life(signal.SIGTERM)

    def with_full_disks(self, times: int) -> None:
        """Let the broker live, and so often not write for a moment; it may refuse what it cannot keep."""
        self.ledger.may_refuse = True
        self._begin_life()
        while self.full_disks < times:
            self._await(self._anybody_online, "nobody is taken in")
            self._crowd.pump(0.3 * self._rng.random())
            self._fill_disk(True)
            if self._rng.random() < 0.2:
                self._kill_after(0.0)
                self._broker.fill_disk(False)  # without any room it may refuse to start
                self._begin_life()
            else:
                self._fill_disk(False)
            if self._rng.random() < 0.2:
                self._settle()
        self._settle()
        self._end_life(signal.SIGTERM)

    def endure(self, trouble: Callable[[], None]) -> None:
        """Go through one of the above, and leave nothing behind."""
        try:
            trouble()
        except GivenUp as reason:
            self.ledger.found("broken", str(reason), None)
        finally:
            self._crowd.close()
            self._broker.close()

    # Lives

    def _begin_life(self) -> None:
        self.ledger.timeline.begin_life()
        self._broker.start()
        self._born = time.monotonic()

    def _kill_at_start(self, times: int) -> None:
        """Kill it while it reads what the last one has left, or as soon as it has; so often in a row."""
        for _ in range(times):
            self._begin_life()
            self._kill_after(self._rng.uniform(0.0, 1.2 * self._startup_s))

    def _kill_after(self, seconds: float) -> None:
        self._crowd.pump(seconds)
        self.early_kills += not self._anybody_online()
        self.kills += 1
        if self._signal == signal.SIGKILL and self._rng.random() < 0.15:
            self._send(signal.SIGTERM)
            self._crowd.pump_while(lambda: self._broker.is_running, 0.1 * self._rng.random())
            self._bury_after(signal.SIGKILL)
        else:
            self._end_life(self._signal)

    def _end_life(self, number: int) -> None:
        self._check_alive()
        self._bury_after(number)

    def _send(self, number: int) -> None:
        self._check_alive()
        self.ledger.timeline.note(None, "the broker is sent %s", signal.Signals(number).name)
        self._broker.send_signal(number)

    def _bury_after(self, number: int) -> None:
        if self._broker.is_running:
            self._send(number)
        # It says good-bye while they still publish.
        if self._crowd.pump_while(lambda: self._broker.is_running, STOP_S):
            self.ledger.found("broken", f"it has not ended {STOP_S:.0f} s after the signal", None)
            self._broker.send_signal(signal.SIGKILL)
        wrong = self._broker.bury()
        if wrong:
            self.ledger.found("broken", wrong, None)
        self._crowd.pump_while(self._anybody_connected, PATIENCE_S)

    def _check_alive(self) -> None:
        if not self._broker.is_running:
            raise GivenUp(f"the broker ended by itself: {self._broker.bury()}")

    def _anybody_online(self) -> bool:
        online = any(client.online for client in [*self._clients, self._inspector])
        if online and self._born:
            self._startup_s, self._born = time.monotonic() - self._born, 0.0
        return online

    def _anybody_connected(self) -> bool:
        return any(self._crowd.is_connected(visitor) for visitor in self._crowd.visitors)

    def _await(self, condition: Callable[[], bool], trouble: str) -> None:
        """Let everybody act until something holds."""
        if self._crowd.pump_while(lambda: self._broker.is_running and not condition(), PATIENCE_S):
            raise GivenUp(trouble)
        self._check_alive()

    def _fill_disk(self, full: bool) -> None:
        """Fill it and keep it full for a moment; or free it."""
        self._check_alive()
        self.full_disks += full
        self.ledger.timeline.note(None, "the disk is %s", "full" if full else "free")
        self._broker.fill_disk(full)
        deadline = time.monotonic() + self._rng.random()
        while full and time.monotonic() < deadline:
            self._crowd.pump(0.05)
            self._check_alive()
            self._broker.fill_disk(True)

    # People

    def _look_first(self) -> None:
        """Before anybody else comes, compare what is retained with what may be."""
        wanted = {visitor: visitor.wanted for visitor in self._crowd.visitors}
        for visitor in wanted:
            visitor.wanted = visitor is self._inspector
        self._await(lambda: not self._inspector.wanted, "the inspector is not served")
        for visitor, was_wanted in wanted.items():
            visitor.wanted = was_wanted

    def _change_people(self) -> None:
        """Send some to sleep, wake others."""
        for sleeper in self._cast.sleepers:
            if self._rng.random() < 0.6:
                sleeper.leave()
            else:
                sleeper.wanted = True
        if self.settlements:  # everybody is subscribed
            self._cast.late.look_back()
        self._cast.passer.look_back()

    def _drop_somebody(self) -> None:
        visitor = self._rng.choice(self._crowd.visitors)
        if visitor.may_break and self._crowd.is_connected(visitor):
            self.drops += 1
            self.ledger.timeline.note(visitor.name, "loses its connection")
            self._crowd.drop(visitor, reset=self._rng.random() < 0.5)

    def _set_busy(self, busy: bool) -> None:
        for visitor in self._crowd.visitors:
            visitor.busy = busy

    # The balance

    def _settle(self) -> None:
        """Stop the traffic, let everything arrive, and compare."""
        self._set_busy(False)
        for client in self._clients:
            client.wanted = True
        people = [*self._clients, *self._cast.pushers]
        self._await(lambda: all(one.is_done for one in people), "something is never acknowledged")
        self._crowd.pump_while(lambda: self.ledger.is_missing and not self._silent_for(SILENCE_S), 600.0)
        self._await(lambda: self._silent_for(_QUIET_S), "the broker goes on and on")
        self._inspector.wanted = True
        self._await(lambda: not self._inspector.wanted, "the inspector is not served")
        for archivist in self._cast.archivists:
            archivist.wanted = True
        self._await(lambda: not any(one.wanted for one in self._cast.archivists), "the archive is not read")
        self.ledger.settle()
        self.ledger.timeline.note(None, "settled")
        self.settlements += 1
        self._set_busy(True)

    def _silent_for(self, seconds: float) -> bool:
        return time.monotonic() - self._crowd.heard_at > seconds
