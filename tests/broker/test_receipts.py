"""`pushd.broker.receipts`: what becomes of a push at each device."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.interfaces import Access
from pushd.broker.limits import Limits
from pushd.broker.receipt import Change, Device, Receipt, State
from pushd.broker.targets import Targets
from pushd.mqtt.codes import PropertyId, ReasonCode, Version
from pushd.mqtt.packets import Puback, Pubcomp, Pubrec
from tests.fakes import HeldStore
from tests.pushing import PushCase, acknowledge, published

BOB = Targets(clients=("bob",))
ALL = Targets(all=True)


class StatesTests(PushCase):
    """From one state to the next"""

    def test_acknowledged_at_qos_1(self) -> None:
        """SENT when it leaves, ACKNOWLEDGED by the PUBACK, each with its time."""
        self.rig.clock.advance(5)
        self.push_to("bob")
        device = self.device("bob")
        assert (self.state("bob"), device.queued_at, device.sent_at, device.done_at) == (
            "sent",
            None,
            5,
            None,
        )
        self.rig.clock.advance(2)
        acknowledge(self.bob)
        assert (self.state("bob"), device.sent_at, device.done_at) == ("acknowledged", 5, 7)
        assert self.receipt().complete

    def test_acknowledged_at_qos_2(self) -> None:
        """Only PUBCOMP is the end of it."""
        self.push_to("bob", qos=2)
        self.bob.send(Pubrec(1))
        assert self.state("bob") == "sent"
        self.bob.send(Pubcomp(1))
        assert self.state("bob") == "acknowledged"
        assert not self.broker.receipts.released

    def test_qos_0(self) -> None:
        """At QoS 0 there is nothing to wait for."""
        self.push_to("bob", qos=0)
        assert (self.state("bob"), self.receipt().complete) == ("sent", True)

    def test_queued(self) -> None:
        """While its client is away, or its window full, a device is QUEUED."""
        self.bob.drop()
        self.push(b"x", Targets(clients=("bob", "ada")))
        assert (self.state("bob"), self.state("ada")) == ("queued", "sent")
        self.bob = self.come("bob")
        assert self.state("bob") == "sent"
        acknowledge(self.bob)
        assert (self.state("bob"), self.receipt().complete) == ("acknowledged", False)

    def test_full_window(self) -> None:
        """Behind two messages in flight, the third waits."""
        ids = [self.push_to("bob") for _ in range(3)]
        assert [self.state("bob", id) for id in ids] == ["sent", "sent", "queued"]
        acknowledge(self.bob)
        assert [self.state("bob", id) for id in ids] == ["acknowledged", "acknowledged", "sent"]

    def test_queue_full(self) -> None:
        """What does not fit any more is REFUSED; it goes on for the others."""
        self.bob.drop()
        for _ in range(3):
            self.push_to("bob", receipt=False)
        self.push(b"x", Targets(clients=("bob", "ada")))
        assert (self.state("bob"), self.state("ada")) == ("refused queue_full", "sent")

    def test_dropped_for_a_newer_one(self) -> None:
        """By ``queue_full drop_oldest``, what waited longest is REFUSED, also while its session sleeps."""
        self.broker.limits = Limits(max_queued_messages=1, queue_full="drop_oldest")
        self.bob.drop()
        older, newer = self.push_to("bob"), self.push_to("bob")
        assert (self.state("bob", older), self.state("bob", newer)) == ("refused queue_full", "queued")

    def test_may_not_be_read_any_more(self) -> None:
        """A right that was lost meanwhile, whether the message was queued or in flight."""
        sent = self.push_to("bob")
        self.bob.drop()
        queued = self.push_to("bob")
        self.rules.refused.add((Access.READ, "news"))
        self.come("bob")
        assert [self.state("bob", id) for id in (sent, queued)] == ["refused not_authorized"] * 2

    def test_too_large(self) -> None:
        """A client that takes no such packets is not sent it."""
        small = {PropertyId.MAXIMUM_PACKET_SIZE: 50}
        self.rig.connect("small", version=Version.V5, properties=small)
        for qos in (0, 1):
            self.push_to("small", b"x" * 100, qos=qos)
            assert self.state("small") == "refused packet_too_large"

    def test_slow_consumer(self) -> None:
        """At QoS 0, a client that does not read is not sent it."""
        self.broker.limits = Limits(max_write_buffer=1)
        self.ada.stop_reading()
        self.push_to("ada", qos=0)  # stays in the buffer
        self.push_to("ada", qos=0)
        assert self.state("ada") == "refused slow_consumer"

    def test_refused_by_the_client(self) -> None:
        """A version 5 client may say that it does not want it, by PUBACK and by PUBREC."""
        eve = self.rig.connect("eve", version=Version.V5)
        for qos, answer in ((1, Puback), (2, Pubrec)):
            self.push_to("eve", qos=qos)
            (packet,) = published(eve.received())
            eve.send(answer(packet.packet_id, ReasonCode.QUOTA_EXCEEDED))
            assert self.state("eve") == "refused by_client"

    def test_acknowledged_out_of_turn(self) -> None:
        """A PUBACK for a message of QoS 2, or for none, changes nothing."""
        self.push_to("bob", qos=2)
        self.bob.send(Puback(1), Puback(9), Pubcomp(1), Pubcomp(9))
        assert self.state("bob") == "sent"


class EndsTests(PushCase):
    """Sessions that end"""

    def test_with_its_connection(self) -> None:
        """A session that does not outlive its connection ends what it was sent."""
        self.push_to("ada")
        self.ada.drop()
        assert self.state("ada") == "refused session_ended"
        assert self.receipt().complete

    def test_half_acknowledged(self) -> None:
        """Also between PUBREC and PUBCOMP; a packet identifier says nothing of the next session."""
        self.push_to("ada", qos=2)
        self.ada.send(Pubrec(1))
        self.ada.drop()
        assert self.state("ada") == "refused session_ended"
        assert not self.broker.receipts.released

    def test_retained(self) -> None:
        """Who subscribes later to what a push has retained is no device of it."""
        self.push(b"x", Targets(topics=("t",)), retain=True)
        self.sue.subscribe("t", qos=1)
        assert acknowledge(self.sue) == [b"x"]
        assert self.receipt().devices == {}

    def test_acknowledged_for_ever(self) -> None:
        """A device that has acknowledged it may be sent it again, as what is retained: no matter."""
        self.sue.subscribe("t", qos=1)
        self.push(b"x", Targets(topics=("t",)), retain=True)
        acknowledge(self.sue)
        self.sue.subscribe("t", qos=1)
        assert self.state("sue", topic="t") == "acknowledged"
        assert acknowledge(self.sue) == [b"x"]

    def test_clean_start(self) -> None:
        """A kept session that is thrown away ends what waited for it."""
        self.bob.drop()
        self.push_to("bob")
        self.rig.connect("bob", username="bob", password=b"")
        assert self.state("bob") == "refused session_ended"

    def test_taken_over(self) -> None:
        """Another connection of the same session is no end."""
        self.push_to("bob")
        bob = self.come("bob")
        assert self.state("bob") == "sent"
        acknowledge(bob)
        assert self.state("bob") == "acknowledged"

    def test_session_that_expires(self) -> None:
        """Nor does anybody wait for a session whose time is over."""
        expiry = {PropertyId.SESSION_EXPIRY_INTERVAL: 10}
        eve = self.rig.connect("eve", False, version=Version.V5, properties=expiry)
        eve.drop()
        self.push_to("eve")
        self.rig.clock.pump([0.25] * 50)
        assert self.state("eve") == "refused session_ended"

    def test_handed_on(self) -> None:
        """What a group's member leaves behind is another's, which is a device of its own."""
        for peer in (self.bob, self.sue):
            peer.subscribe("$share/g/t", qos=1)
        self.push(b"x", Targets(topics=("t",)))
        (first,) = self.receipt().devices.values()
        other = self.sue if first.client_id == "bob" else self.bob
        (self.bob if first.client_id == "bob" else self.sue).drop()
        acknowledge(other)
        states = {device.state for device in self.receipt().devices.values()}
        assert (first.reason, states) == ("handed_on", {State.REFUSED, State.ACKNOWLEDGED})


class ExpiryTests(PushCase):
    """Pushes that it is too late for"""

    def wait(self, seconds: int) -> None:
        self.rig.clock.pump([0.25] * (4 * seconds + 2))

    def test_in_the_queue(self) -> None:
        """What waits too long is EXPIRED when it does, though nobody looks at the queue."""
        self.bob.drop()
        self.push(b"x", Targets(users=("bob",)), expiry_s=5)
        self.wait(4)
        assert self.state("bob") == "queued"
        self.wait(1)
        assert (self.state("bob"), self.state("bob2")) == ("expired", "sent")
        assert acknowledge(self.come("bob")) == []

    def test_after_a_restart(self) -> None:
        """The next process knows when that is."""
        self.bob.drop()
        self.push_to("bob", expiry_s=5)
        self.rig.clock.advance(0)
        self.restart()
        self.wait(5)
        assert self.state("bob") == "expired"

    def test_sent_in_time(self) -> None:
        """What is in flight does not expire: it is sent again however late (v5 [MQTT-3.3.2-5])."""
        self.push_to("bob", expiry_s=5)
        self.bob.drop()
        self.wait(6)
        assert self.state("bob") == "sent"
        assert acknowledge(self.come("bob")) == [b"x"]
        assert self.state("bob") == "acknowledged"

    def test_now_or_never(self) -> None:
        """With no time at all, it is for those who can be sent it at once."""
        self.bob.drop()
        outcome = self.push(b"x", Targets(users=("bob",)), expiry_s=0)
        assert (outcome.sent, outcome.queued, outcome.refused) == (1, 0, {"expired": 1})
        assert self.state("bob") == "expired"

    def test_interval_on_the_wire(self) -> None:
        """A version 5 client is told how long it is still good for."""
        eve = self.rig.connect("eve", version=Version.V5)
        self.push_to("eve", expiry_s=5)
        (packet,) = published(eve.received())
        assert packet.properties[PropertyId.MESSAGE_EXPIRY_INTERVAL] == 5

    def test_many_at_once(self) -> None:
        """A push that expires at many devices does not hold up everybody else."""
        for peer in (self.bob, self.bob2, self.sue):
            peer.drop()
        self.push(b"x", ALL, expiry_s=1)
        self.patch(self.broker.receipts, "SLICE", 1)
        self.wait(3)
        counts = self.receipt().counts()
        assert (counts[State.EXPIRED], counts[State.SENT], counts[State.QUEUED]) == (3, 1, 0)


class TellingTests(PushCase):
    """Those who watch"""

    def setUp(self) -> None:
        super().setUp()
        self.told: list[tuple[list[Change], bool]] = []

    def watch(self) -> None:
        self.stop = self.broker.receipts.watch(
            self.id, lambda receipt, changes: self.told.append((changes, receipt.complete))
        )

    def test_changes(self) -> None:
        """Each change is told once, the last with the news that it is complete."""
        self.push_to("bob")
        self.watch()
        self.rig.turn()
        self.told.clear()
        acknowledge(self.bob)
        assert self.told == [([Change("bob", "news", State.ACKNOWLEDGED, "", 0.0)], True)]

    def test_no_more(self) -> None:
        """Who has stopped hears nothing; stopping again does no harm."""
        self.push_to("bob")
        self.watch()
        self.stop()
        self.stop()
        self.told.clear()
        acknowledge(self.bob)
        assert self.told == []

    def test_unknown(self) -> None:
        """Of a receipt that there is not, nobody is told."""
        self.broker.receipts.watch("nothing", lambda receipt, changes: self.fail("told"))()
        assert self.successResultOf(self.broker.receipts.read("nothing")) is None

    def test_complete(self) -> None:
        """Somebody may hear of each receipt that is complete, such as who calls webhooks."""
        complete: list[str] = []
        self.broker.receipts.on_complete = lambda receipt: complete.append(receipt.id)
        first = self.push_to("bob")
        second = self.push_to("bob", qos=0)
        assert complete == [second]
        acknowledge(self.bob)
        assert complete == [second, first]

    def test_one_that_fails(self) -> None:
        """A mistake of one who watches is no matter for the others."""

        def fail(receipt: Receipt, changes: list[Change]) -> None:
            raise ValueError("a mistake")

        self.push_to("bob")
        self.broker.receipts.watch(self.id, fail)
        self.watch()
        acknowledge(self.bob)
        assert len(self.told) == 1
        assert len(self.flushLoggedErrors(ValueError)) == 1


class DurableTests(PushCase):
    """Nobody is told what a crash may undo"""

    def setUp(self) -> None:
        super().setUp()
        self.store = HeldStore()
        self.start(self.store)
        self.bob = self.come("bob")
        self.let()
        self.begin(b"x", BOB)
        self.let()

    def let(self) -> None:
        self.store.release()
        self.rig.turn()

    def test_read(self) -> None:
        """Who reads a receipt gets what is durable."""
        acknowledge(self.bob)
        self.store.pending = True
        reading = self.broker.receipts.read(self.id)
        self.assertNoResult(reading)
        self.let()
        receipt = self.successResultOf(reading)
        assert receipt is not None and receipt.complete

    def test_watch(self) -> None:
        """And who watches it."""
        told: list[list[Change]] = []
        self.broker.receipts.watch(self.id, lambda receipt, changes: told.append(changes))
        acknowledge(self.bob)
        assert told == []
        self.let()
        assert [change.state for (change,) in told] == [State.ACKNOWLEDGED]


class RestartTests(PushCase):
    """The next process"""

    def test_goes_on(self) -> None:
        """A device that comes back after a restart acknowledges what it was pushed before."""
        self.bob.drop()
        queued = self.push_to("bob")
        sent = self.push_to("sue", qos=1)
        self.restart()
        assert (self.state("bob", queued), self.state("sue", sent)) == ("queued", "sent")
        acknowledge(self.come("bob"))
        acknowledge(self.come("sue"))
        assert (self.state("bob", queued), self.state("sue", sent)) == ("acknowledged", "acknowledged")

    def test_what_was_over(self) -> None:
        """What was known stays known: owner, times and reasons."""
        self.bob.drop()
        for _ in range(3):
            self.push_to("bob", receipt=False)
        self.push(b"x", Targets(users=("bob",)))
        acknowledge(self.bob2)
        before = [device.as_note() for device in self.receipt().devices.values()]
        self.restart()
        assert [device.as_note() for device in self.receipt().devices.values()] == before
        assert (self.receipt().owner, self.receipt().complete) == ("boss", True)
        assert len(self.broker.receipts) == 2

    def test_half_acknowledged(self) -> None:
        """After PUBREC there is only a packet identifier, which is enough."""
        self.push_to("bob", qos=2)
        self.bob.send(Pubrec(1))
        self.restart()
        bob = self.come("bob")
        assert self.state("bob") == "sent"
        bob.send(Pubcomp(1))
        assert self.state("bob") == "acknowledged"

    def test_sessions_that_are_gone(self) -> None:
        """Sessions that ended with the process have not acknowledged anything."""
        self.push_to("ada")
        self.restart()
        assert self.state("ada") == "refused session_ended"

    def test_message_that_is_lost(self) -> None:
        """What the store cannot give back any more is not waited for."""
        self.bob.drop()
        lost, kept = self.push_to("bob"), self.push_to("bob")
        store = self.rig.store
        self.restart()
        del store.messages["bob"].queued[1]  # type: ignore[attr-defined]
        acknowledge(self.come("bob"))
        assert (self.state("bob", lost), self.state("bob", kept)) == ("refused lost", "acknowledged")

    def test_in_the_middle_of_a_push(self) -> None:
        """Whoever was handing it out is no more: there are no more devices than these."""
        self.broker.receipts.open("half", "boss")
        self.restart()
        assert self.receipt("half").complete

    def test_scheduled(self) -> None:
        """One that is still to come is not complete."""
        self.broker.receipts.open("later", "boss", delay_s=60)
        self.restart()
        assert not self.receipt("later").complete


class RoomTests(PushCase):
    """An end to it"""

    def test_forgotten(self) -> None:
        """After a day nobody knows of it, and nothing is left of it."""
        self.broker.limits = Limits(receipt_duration=60)
        self.bob.drop()
        self.push_to("bob")
        self.rig.clock.pump([1.0] * 62)
        assert self.broker.receipts.get(self.id) is None
        assert len(self.broker.receipts) == 0
        assert self.broker.notes.of_kind("receipt device") == []
        assert acknowledge(self.come("bob")) == [b"x"]  # the message is

    def test_room(self) -> None:
        """So many devices and no more."""
        self.broker.limits = Limits(max_receipts=4)
        self.push(b"x", ALL)
        assert not self.broker.receipts.has_room(1)
        self.broker.limits = Limits(max_receipts=0)
        assert self.broker.receipts.has_room(1_000_000)

    def test_refused_pushes(self) -> None:
        """Pushes that are refused leave nothing behind, however many they are."""
        self.patch(self.broker.receipts, "_SPARE", 5)
        self.bob.drop()
        for _ in range(50):
            self.push_to("bob")
        assert len(self.broker.receipts._heap) < 20
        assert len(self.broker.notes.of_kind("receipt")) == 3

    def test_pushes_to_nobody(self) -> None:
        """A receipt takes room of itself, also one of no devices."""
        self.broker.limits = Limits(max_receipts=2)
        codes = [self.code_of(b"", Targets(users=("nobody",))) for _ in range(4)]
        assert codes == [ReasonCode.NO_MATCHING_SUBSCRIBERS] * 3 + [ReasonCode.QUOTA_EXCEEDED]

    def test_nothing_without(self) -> None:
        """A push that wants no receipt leaves nothing, nor does what clients publish."""
        self.push(b"x", ALL, receipt=False)
        self.bob.subscribe("t", qos=1)
        self.ada.publish("t", b"y", qos=1)
        acknowledge(self.bob)
        assert len(self.broker.receipts) == 0
        assert self.broker.notes.of_kind("receipt device") == []


class NotesTests(SynchronousTestCase):
    """What is written of them"""

    def test_receipt(self) -> None:
        """Everything but its id and end is in its note."""
        receipt = Receipt("id", "ü", 1.5, 99.0)
        receipt.expires_at, receipt.scheduled = 7.25, True
        again = Receipt.of_note("id", receipt.as_note(), 99.0)
        for name in ("id", "owner", "created_at", "until", "expires_at", "scheduled", "settled"):
            assert getattr(again, name) == getattr(receipt, name)

    def test_device(self) -> None:
        """Everything."""
        receipt = Receipt("id", "", 0.0, 1.0)
        device = Device(receipt, 3, "é/👋", "t")
        device.state, device.reason, device.packet_id, device.sent_at = State.REFUSED, "lost", 9, 2.5
        again = Device.of_note(receipt, 3, device.as_note())
        assert again.as_note() == device.as_note()
        assert again.key == "id/3"
