"""What a broker goes through: lives, deaths and lesser troubles in full traffic, and a balance after them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from random import Random

from pushd.mqtt.codes import QoS, Version
from tests.crash.brokers import MortalBroker
from tests.crash.crowd import Crowd
from tests.crash.ledger import Ledger
from tests.crash.people import Inspector, MQTTVisitor, Publisher, Pusher, Subscriber, Wanderer
from tests.crash.timeline import Timeline

PATIENCE_S = 30.0  # for what takes a moment; a broker that takes longer hangs
SILENCE_S = 3.0  # what has not come after such a silence will not come
_QUIET_S = 0.1  # the same when nothing is missing, and only what is too much might still come

_V3, _V5 = Version.V3_1_1, Version.V5
_PUBLISHERS = {"p1": _V3, "p2": _V5}


class GivenUp(Exception):
    """The broker does not do what every further step needs."""


class Ordeal:
    """
    One broker, its crowd, and what they do to it.

    :ivar kills: how often the broker was ended, `early_kills` of them before it had taken anybody in.
    """

    def __init__(self, broker: MortalBroker, seed: int, number: int = signal.SIGKILL) -> None:
        self.kills = 0
        self.early_kills = 0
        self.drops = 0
        self.full_disks = 0
        self.settlements = 0
        self.ledger = Ledger(Timeline())
        self._broker = broker
        self._signal = number
        self._rng = Random(seed)
        self._startup_s = 0.5  # measured anew with each start
        self._make_people(seed)
        self._crowd = Crowd([*self._clients, self._inspector, *self._pushers])

    def _make_people(self, seed: int) -> None:
        port, ledger = self._broker.mqtt_port, self.ledger

        def own(name: str) -> Random:
            return Random(f"{seed} {name}")

        def subscriber(name: str, version: Version, qos: QoS) -> Subscriber:
            filters = {"news/#": (news, qos)}
            return Subscriber(name, version, port, ledger, own(name), filters)

        topics = {name: _topics_of(name) for name in (*_PUBLISHERS, "pusher")}
        news = [topic for mine in topics.values() for topic in mine if topic.startswith("news/")]
        self._publishers = [
            Publisher(name, version, port, ledger, own(name), topics[name])
            for name, version in _PUBLISHERS.items()
        ]
        self._pushers: list[Pusher] = []
        if self._broker.has_gateway:
            self._pushers = [Pusher(self._broker.http_port, ledger, own("pusher"), topics["pusher"])]
        single = {topic: ([topic], QoS(1 + place % 2)) for place, topic in enumerate(news)}
        self._wanderers = [
            Wanderer(name, version, port, ledger, own(name), single)
            for name, version in (("wanderer3", _V3), ("wanderer5", _V5))
        ]
        self._sleepers = [subscriber("sleeper3", _V3, QoS(2)), subscriber("sleeper5", _V5, QoS(2))]
        stayers = [subscriber("stayer3", _V3, QoS(2)), subscriber("stayer5", _V5, QoS(1))]
        self._renewer = subscriber("renewer5", _V5, QoS(2))
        self._subscribers = [*stayers, *self._sleepers, *self._wanderers, self._renewer]
        self._clients: list[MQTTVisitor] = [*self._publishers, *self._subscribers]
        self._inspector = Inspector("inspector", _V5, port, ledger, own("inspector"))

    # The kinds of trouble

    def with_kills(self, kills: int) -> None:
        """Let the broker live so often that it is killed this often."""
        while self.kills < kills:
            self._begin_life()
            if self._rng.random() < 0.15:
                self._kill_after(self._rng.uniform(0.0, 1.2 * self._startup_s))
                continue
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
            self._await(self._anybody_online, "nobody is taken in")  # with a full disk nobody has to start
            self._crowd.pump(0.3 * self._rng.random())
            self._fill_disk(True)
            self._crowd.pump(self._rng.random())
            if self._rng.random() < 0.2:
                self._kill_after(0.0)
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
            self._broker.kill()

    # Lives

    def _begin_life(self) -> None:
        self.ledger.timeline.note(None, "the broker is started")
        self._broker.start()
        self._born = time.monotonic()

    def _kill_after(self, seconds: float) -> None:
        self._crowd.pump(seconds)
        self.early_kills += not self._anybody_online()
        self.kills += 1
        self._end_life(self._signal)

    def _end_life(self, number: int) -> None:
        self._check_alive()
        self.ledger.timeline.note(None, "the broker is sent signal %d", number)
        self._broker.send_signal(number)
        if number != signal.SIGKILL:
            # It says good-bye while they still publish.
            self._crowd.pump_while(lambda: self._broker.is_running, PATIENCE_S)
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
        self._check_alive()
        self.full_disks += full
        self.ledger.timeline.note(None, "the disk is full: %s", full)
        self._broker.fill_disk(full)

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
        """Send some to sleep, wake others; give somebody a new session."""
        if self._rng.random() < 0.3:
            self._crowd.drop(self._renewer)
            self._renewer.session.renew()
        for sleeper in self._sleepers:
            if self._rng.random() < 0.6:
                sleeper.leave()
            else:
                sleeper.wanted = True

    def _drop_somebody(self) -> None:
        visitor = self._rng.choice(self._crowd.visitors)
        # A push whose connection breaks could reach the broker after the one that follows on the next.
        may_break = visitor.is_done or not isinstance(visitor, Pusher)
        if may_break and self._crowd.is_connected(visitor):
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
        people = [*self._clients, *self._pushers]
        self._await(lambda: all(one.is_done for one in people), "something is never acknowledged")
        self._crowd.pump_while(lambda: self.ledger.is_missing and not self._silent_for(SILENCE_S), 600.0)
        self._await(lambda: self._silent_for(_QUIET_S), "the broker goes on and on")
        self._inspector.wanted = True
        self._await(lambda: not self._inspector.wanted, "the inspector is not served")
        self.ledger.settle()
        self.ledger.timeline.note(None, "settled")
        self.settlements += 1
        self._set_busy(True)

    def _silent_for(self, seconds: float) -> bool:
        return time.monotonic() - self._crowd.heard_at > seconds


def _topics_of(publisher: str) -> dict[str, QoS]:
    """Two topics of news and two of retained messages, one at QoS 1 and one at QoS 2 each."""
    return {f"{kind}/{publisher}/{qos:d}": qos for kind in ("news", "retained") for qos in (QoS(1), QoS(2))}
