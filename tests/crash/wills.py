"""
Clients with a Will, who go away in every manner there is.

A Will is a message as any other to the ledger, "sent" with the CONNECT. When the connection ends, then

- it is due, if there was a CONNACK and no farewell: at once, or after its delay unless the client comes back
  before; by this broker, or by the one that is started after it was killed;
- it must not come, if the client came back in time, or if it said farewell to a broker that lived on;
- nobody knows, if a CONNECT was never answered, or a broker was killed after the farewell: nothing
  acknowledges a DISCONNECT.

The broker makes no client without a session wait for a disk, so of *its* Will anything is certain only if
something that was sent after its CONNACK was acknowledged: what becomes durable is an ordered journal.
"""

from __future__ import annotations

from enum import Enum
from random import Random

from pushd.mqtt.codes import PropertyId, QoS, ReasonCode, Version
from pushd.mqtt.packets import Properties, Will
from tests.crash.ledger import Ledger
from tests.crash.people import MQTTVisitor, payload_of
from tests.crash.timeline import Key


class Manner(Enum):
    """What becomes of a Will, and for that of the client."""

    AT_ONCE = 0  # no delay; comes back soon
    LATER = 1  # waits a second; stays away until all who are subscribed have it, and comes when asked to
    NEVER = 3600  # waits an hour; comes back long before


class Testator(MQTTVisitor):
    """
    Comes, and goes with or without a farewell, again and again while it is `busy`.

    :param topic: of its Will; it is retained below ``retained/``.
    """

    def __init__(
        self,
        name: str,
        version: Version,
        port: int,
        ledger: Ledger,
        rng: Random,
        topic: str,
        manner: Manner = Manner.AT_ONCE,
        clean: bool = False,
    ) -> None:
        super().__init__(name, version, port, ledger, rng, clean)
        self._topic = topic
        self._manner = manner
        self.wanted = manner is not Manner.LATER
        self._clean = clean
        self._will: Key | None = None  # that of the last CONNECT
        self._answered = False  # it had its CONNACK, with which all before it was durable, up to
        self._serial = 0  # this one of the ledger's
        self._is_going = False
        self._farewell_in = 0  # the life of the broker in which it said farewell, since its last CONNACK
        self._doubtful: list[Key] = []  # Wills of earlier CONNECTs that must not come once we are back
        self._void: list[Key] = []  # those that must not, since we are back for certain

    @property
    def may_break(self) -> bool:
        """Not while the broker reads the farewell."""
        return not self._farewell_in

    # Coming

    def next_will(self) -> Will:
        if self._will is not None and (self._manner is Manner.NEVER or self._farewell_in):
            self._doubtful.append(self._will)
        self._answered = False
        retain = self._topic.startswith("retained/")
        key = self._will = self._topic, self.ledger.topics[self._topic].sent + 1
        payload = payload_of(key)
        self.ledger.sent(self._topic, payload if retain else None)
        properties: Properties = {}
        if self._manner.value:
            properties[PropertyId.WILL_DELAY_INTERVAL] = self._manner.value
        return Will(self._topic, payload, QoS.EXACTLY_ONCE, retain, properties)

    def connected(self) -> None:
        super().connected()
        self._answered = True
        self._serial = self.ledger.sent_count
        if self._manner is Manner.NEVER or self._farewell_in == self.ledger.timeline.life:
            self._void = self._doubtful
        self._doubtful = []
        self._farewell_in = 0

    # Going

    def act(self) -> None:
        super().act()
        if self._void and self._is_certain:
            for key in self._void:
                self.ledger.withdrawn(key)
            self._void = []
        if self.busy and self.online and not self._is_going and self.rng.random() < 0.02:
            self._is_going = True
            self._go()

    def _go(self) -> None:
        if self.rng.random() < 0.6:
            self.ledger.timeline.note(self._will, "its client hangs up")
            self.hangs_up = True
        elif self.session.version is Version.V5 and self.rng.random() < 0.5:
            self.ledger.timeline.note(self._will, "its client says DISCONNECT with Will Message")
            self.session.leave(ReasonCode.DISCONNECT_WITH_WILL)
        else:
            # Until the broker closes the connection: closed by us, it could end before it was read.
            self.ledger.timeline.note(self._will, "its client says DISCONNECT")
            self._farewell_in = self.ledger.timeline.life
            self.session.leave()

    def closed(self) -> None:
        was_there, self._is_going, self._void = self.online, False, []
        super().closed()
        if was_there and not self._farewell_in and self._is_certain:
            self._is_due()

    @property
    def _is_certain(self) -> bool:
        return not self._clean or self.ledger.newest_acknowledged > self._serial

    def _is_due(self) -> None:
        assert self._will is not None  # there was a CONNECT
        self.ledger.timeline.note(self._will, "its client %s is gone", self.name)
        if self._manner is Manner.NEVER:
            return
        self.ledger.acknowledged(self._will)
        if self._manner is Manner.LATER:
            self.wanted = False

    def look_back(self) -> None:
        """Called now and then: come (back) if there is no Will that is still to be sent."""
        if self._will is None or not self.ledger.is_awaited(self._will):
            self.wanted = True
