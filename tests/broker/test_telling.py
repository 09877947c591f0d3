"""`pushd.broker.telling`: what becomes of what was said."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.message import Message, PushMark
from pushd.broker.publication import Publication
from pushd.broker.records import Kept
from pushd.broker.telling import sequence_of, tell
from pushd.mqtt.codes import PropertyId, ReasonCode
from tests.broker.test_schedule import Sender
from tests.driver import Rig


def publication(sequence_id: str, payload: bytes = b"") -> Publication:
    """Part of a sequence on the topic "t"."""
    said = {PropertyId.USER_PROPERTY: [("sequence_id", sequence_id)]}
    return Publication("t", payload, 1, properties=said, mark=PushMark("A" * 12, 1_700_000_000, 60))


class TellTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = Rig()
        self.told: list[Kept] = []
        self.rig.broker.archive.watch("t", self.told.append)

    def tell(self, sequence_id: str, event: str, topic: str = "t") -> Deferred[ReasonCode]:
        return tell(self.rig.broker, self.rig.policy, Sender(), publication(sequence_id), event)

    def test_watchers_are_told(self) -> None:
        """With the sequence that it is about."""
        code = self.successResultOf(self.tell("s", "message_clear"))
        self.assertIs(code, ReasonCode.SUCCESS)
        (kept,) = self.told
        self.assertEqual((kept.event, sequence_of(kept.message)), ("message_clear", "s"))

    def test_subscribers_hear_nothing(self) -> None:
        """MQTT has no word for it."""
        device = self.rig.connect("device")
        device.subscribe("#")
        self.tell("s", "message_delete")
        self.assertEqual(device.received(), [])

    def test_deleting_cancels_what_is_scheduled_of_it(self) -> None:
        """And nothing else."""
        broker = self.rig.broker
        for id, sequence_id in (("1", "s"), ("2", "other")):
            broker.schedule(self.rig.policy, Sender(), publication(sequence_id, b"x"), id, 60.0)
        self.tell("s", "message_clear")
        self.assertEqual({each.id for each in broker.scheduled}, {"1", "2"})
        self.tell("s", "message_delete")
        self.assertEqual({each.id for each in broker.scheduled}, {"2"})

    def test_a_push_without_a_sequence_is_one_of_its_own(self) -> None:
        """By its id."""
        message = Message("t", b"x")
        self.assertIsNone(sequence_of(message))
        message.push = PushMark("BBBBBBBBBBBB", 0)
        self.assertEqual(sequence_of(message), "BBBBBBBBBBBB")

    def test_a_topic_that_is_none_is_refused(self) -> None:
        """As for a push."""
        wild = Publication("+", b"", mark=PushMark("A" * 12, 0))
        code = tell(self.rig.broker, self.rig.policy, Sender(), wild, "message_delete")
        self.assertIs(self.successResultOf(code), ReasonCode.TOPIC_NAME_INVALID)

    def test_who_may_not_write_may_not_tell(self) -> None:
        """The broker's own topics are nobody's."""
        own = Publication("$SYS/x", b"", mark=PushMark("A" * 12, 0))
        code = tell(self.rig.broker, self.rig.policy, Sender(), own, "message_delete")
        self.assertIs(self.successResultOf(code), ReasonCode.NOT_AUTHORIZED)
