"""
Everybody who takes part in an ordeal, and which topics they deal with.

    news/       to those who stay, sleep, wander and leave; one topic of large messages among them
    retained/   set, replaced and cleared, and compared by the inspector; one topic of values that expire
    team/       to a group that shares its subscription
    fleeting/   messages with a time, some over in a moment
    will/       what is published for those who go without a farewell, or dies with the broker
"""

from __future__ import annotations

from random import Random
from typing import TypeVar

from pushd.mqtt.codes import QoS, Version
from tests.crash.archivist import Archivist
from tests.crash.leavers import Passer, Quitter
from tests.crash.ledger import Ledger
from tests.crash.people import (
    HEAVY,
    Inspector,
    Member,
    MQTTVisitor,
    Publisher,
    SlowSubscriber,
    Subscriber,
    Wanderer,
)
from tests.crash.pusher import Pusher
from tests.crash.wills import Manner, Testator

_V3, _V5 = Version.V3_1_1, Version.V5
_ONE, _TWO = QoS.AT_LEAST_ONCE, QoS.EXACTLY_ONCE

Filters = dict[str, "tuple[list[str], QoS]"]
_S = TypeVar("_S", bound=Subscriber)


class Cast:
    """
    :ivar sleepers: those who may be sent away and woken.
    :ivar clients: all who must be there when a balance is made, with all they asked for.
    :ivar late: whose Will waits; it comes back on its own account.
    :ivar archivists: who reads what was kept; nobody, where there is no gateway.
    """

    def __init__(self, seed: int, mqtt_port: int, http_port: int | None, ledger: Ledger) -> None:
        """:param http_port: where the gateway is; ``None`` for a broker that has none."""
        self._seed = seed
        self._port = mqtt_port
        self._ledger = ledger
        self.publishers = [self._publisher("p1", _V3), self._publisher("p2", _V5)]
        self.pushers = [] if http_port is None else [self._pusher(http_port)]
        self.archivists = [] if http_port is None else [Archivist(http_port, ledger, ARCHIVED)]
        will_topics = self._make_testators()
        self._make_subscribers(will_topics)
        self.inspector = Inspector("inspector", _V5, mqtt_port, ledger, self._random("inspector"))
        self.clients: list[MQTTVisitor] = [
            *self.publishers, *self.stayers, *self.sleepers, *self.wanderers, *self.leavers,
            *self.testators, self.passer,
        ]  # fmt: skip

    def _random(self, name: str) -> Random:
        return Random(f"{self._seed} {name}")

    def _publisher(self, name: str, version: Version) -> Publisher:
        topics = _topics_of(name, version)
        return Publisher(name, version, self._port, self._ledger, self._random(name), topics)

    def _pusher(self, http_port: int) -> Pusher:
        return Pusher(http_port, self._ledger, self._random("pusher"), _topics_of("pusher", None))

    def _make_testators(self) -> list[str]:
        """:return: the topics of their Wills."""

        def testator(name: str, version: Version, manner: Manner, clean: bool, retained: bool) -> Testator:
            topic = f"retained/will/{name}" if retained else f"will/{name}"
            topics.append(topic)
            return Testator(name, version, self._port, self._ledger, self._random(name), topic, manner, clean)

        topics: list[str] = []
        self.testators = [
            testator("testator3", _V3, Manner.AT_ONCE, False, False),
            testator("testator5", _V5, Manner.AT_ONCE, False, True),
            testator("homeless5", _V5, Manner.AT_ONCE, True, False),
            testator("patient5", _V5, Manner.NEVER, False, False),
        ]
        self.late = testator("late5", _V5, Manner.LATER, False, False)
        return topics

    def _make_subscribers(self, wills: list[str]) -> None:
        topics = [topic for name, version in _AUTHORS for topic in _topics_of(name, version)]

        def below(kind: str) -> list[str]:
            return [topic for topic in [*topics, *wills] if topic.startswith(f"{kind}/")]

        def filters(qos: QoS, *kinds: str) -> Filters:
            return {f"{kind}/#": (below(kind), qos) for kind in kinds}

        everything = "news", "fleeting", "will"
        self.stayers = [
            self._person(Subscriber, "stayer3", _V3, filters(_TWO, *everything)),
            self._person(Subscriber, "stayer5", _V5, filters(_ONE, *everything)),
        ]
        self.sleepers = [
            self._person(Subscriber, "sleeper3", _V3, filters(_TWO, *everything)),
            self._person(SlowSubscriber, "sleeper5", _V5, filters(_TWO, *everything)),
            self._person(Member, "member3", _V3, filters(_TWO, "team")),
            self._person(Member, "member5", _V5, filters(_TWO, "team")),
        ]
        single: Filters = {topic: ([topic], QoS(1 + place % 2)) for place, topic in enumerate(below("news"))}
        self.wanderers = [
            self._person(Wanderer, "wanderer3", _V3, single),
            self._person(Wanderer, "wanderer5", _V5, single),
        ]
        self.leavers = [
            self._person(Quitter, "quitter3", _V3, filters(_TWO, "news")),
            self._person(Quitter, "quitter5", _V5, filters(_TWO, "news")),
        ]
        self.passer = self._person(Passer, "passer5", _V5, filters(_TWO, "news"))

    def _person(self, kind: type[_S], name: str, version: Version, filters: Filters) -> _S:
        return kind(name, version, self._port, self._ledger, self._random(name), filters)


# Who publishes; pushes through the gateway have no version.
_AUTHORS: list[tuple[str, Version | None]] = [("p1", _V3), ("p2", _V5), ("pusher", None)]


def _topics_of(publisher: str, version: Version | None) -> dict[str, QoS]:
    """Its topics, most of them one at QoS 1 and one at QoS 2."""
    topics = {
        f"{kind}/{publisher}/{qos:d}": qos for kind in ("news", "retained", "team") for qos in (_ONE, _TWO)
    }
    if version is Version.V3_1_1:
        topics[f"news/{publisher}{HEAVY}"] = _ONE
    if version is Version.V5:
        topics[f"fleeting/{publisher}/1"] = _ONE
        topics[f"fleeting/{publisher}/2"] = _TWO
        topics[f"retained/fleeting/{publisher}"] = _ONE
    return topics


# What pushd keeps for those who come later: pushes, and what one line of its settings asks for besides.
CACHED = "news/p2/2"
ARCHIVED = [CACHED, *(topic for topic in _topics_of("pusher", None) if not topic.startswith("retained/"))]
