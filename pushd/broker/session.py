"""
A session: what the broker knows of a client from one connection to the next.

Towards the client it holds each message in one of these states, from which the standard's two handshakes
(v5 §4.3.2, §4.3.3) follow:

    QUEUED ──sent──▶ AWAIT_PUBACK ──PUBACK──▶ done                            QoS 1
    QUEUED ──sent──▶ AWAIT_PUBREC ──PUBREC──▶ AWAIT_PUBCOMP ──PUBCOMP──▶ done  QoS 2

A message in `queue` is QUEUED. In `inflight`, by packet identifier, a message of QoS 1 awaits PUBACK, one of
QoS 2 awaits PUBREC, and ``None`` awaits PUBCOMP: once the client has it, only its identifier is left. Both
keep the order of sending by themselves, as a dict and a deque do.

A session that outlives its connection keeps its messages in memory only while there is a client. Without one
it *sleeps*: all of them are in the store, and are read back before the next CONNACK (`pushd.broker.sleep`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from pushd.broker import records
from pushd.broker.collapse import Places
from pushd.broker.message import Message, Source, source_of
from pushd.broker.outline import Outline
from pushd.broker.sleep import Sleep
from pushd.broker.subscription import Origin as Origin
from pushd.broker.subscription import Subscription as Subscription
from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.errors import ProtocolError
from pushd.mqtt.topics import SHARE_PREFIX

if TYPE_CHECKING:
    from pushd.broker.broker import Broker
    from pushd.broker.client import Client
    from pushd.broker.policy import Policy
    from pushd.broker.pressure import HeldBack
    from pushd.broker.shared import SharedGroup
    from pushd.broker.will import Will

PUBREL = 0x62  # the first byte of the packet
DUP = 0x08  # a flag in the first byte of PUBLISH

# Version 3 has no Receive Maximum; without any bound a client could have us remember 65 535 identifiers.
MAX_RECEIVED = 1000


class Session:
    """
    :ivar subscriptions: by topic filter as it is recorded: mount point and ``$share/NAME/`` included.
    :ivar given_up: filters like these, of automatic subscriptions that the client does not want.
    :ivar will: one that waits to be sent.
    :ivar client: the online client, or ``None`` while there is none.
    :ivar expiry_s: how long it is kept without a client; 0 ends it with the connection, ``None`` never does.
    :ivar received: packet identifiers of QoS 2 publishes whose PUBREL has not come yet.
    :ivar sequence: the number of the newest message that was queued.
    :ivar places: where queued messages may be replaced, if any may (`pushd.broker.collapse`).
    :ivar sleep: while its messages are in the store only; `queue`, `inflight` and `received` are empty then.
    :ivar unsent: what was in flight when its client came back, and more than that takes at once: it is sent
        again as earlier messages are acknowledged, before anything that is queued.
    :ivar holds_back: the publishers that wait for it to catch up.
    :ivar offline_since: when its client left; meaningful while `client` is ``None``.
    """

    __slots__ = (
        "_broker",
        "_next_packet_id",
        "client",
        "client_id",
        "expiry_s",
        "given_up",
        "holds_back",
        "inflight",
        "offline_since",
        "places",
        "policy",
        "queue",
        "queued_bytes",
        "received",
        "sequence",
        "sleep",
        "slot",
        "subscriptions",
        "unsent",
        "username",
        "will",
    )

    def __init__(self, broker: Broker, policy: Policy, client_id: str, username: str | None) -> None:
        self._broker = broker
        self.policy = policy
        self.client_id = client_id
        self.username = username
        self.client: Client | None = None
        self.will: Will | None = None
        self.expiry_s: float | None = 0.0
        self.subscriptions: dict[str, Subscription] = {}
        self.given_up: set[str] | None = None
        self.inflight: dict[int, Message | None] = {}
        # Made when first needed: an idle device needs neither, and an empty deque takes 600 bytes.
        self.queue: deque[Message] | None = None
        self.received: set[int] | None = None
        self.unsent: dict[int, Message] | None = None
        self.queued_bytes = 0
        self.sequence = 0
        self.places: Places | None = None
        self.sleep: Sleep | None = None
        self.holds_back: HeldBack | None = None
        self.offline_since = 0.0
        self.slot = 0
        self._next_packet_id = 1

    def __repr__(self) -> str:
        return f"<Session {self.client_id!r}>"

    @property
    def persistent(self) -> bool:
        """Whether it outlives its connection, so that its state is recorded."""
        return self.expiry_s != 0.0

    @property
    def source(self) -> Source:
        """What is remembered of it together with what it has retained."""
        return source_of(self.client_id, self.username, self.policy.name)

    @property
    def waiting_messages(self) -> int:
        """How many messages are queued or in flight."""
        if self.sleep is not None:
            return len(self.sleep.outline) + self.sleep.inflight_count
        return len(self.inflight) + len(self.queue or ())

    @property
    def waiting_bytes(self) -> int:
        """Their payloads together; of a session that sleeps, without those in flight."""
        if self.sleep is not None:
            return self.sleep.outline.payload_bytes
        inflight = sum(len(message.payload) for message in self.inflight.values() if message is not None)
        return self.queued_bytes + inflight

    @property
    def has_room(self) -> bool:
        """Whether a message would be sent at once."""
        client = self.client
        if client is None or client.congested or self.queue:
            return False
        return len(self.inflight) < client.window

    # Subscriptions that the server makes (`pushd.broker.automatic`)

    def give_up(self, filter: str) -> None:
        """The client does not want the server to subscribe it to this."""
        if self.given_up is None:
            self.given_up = set()
        self.given_up.add(filter)

    def claim(self, filter: str) -> Origin:
        """
        The client wants a subscription itself, though it may have given it up before.

        :return: whose it is.
        """
        known = self.subscriptions.get(filter)
        if self.given_up is not None and filter in self.given_up:
            self.given_up.remove(filter)
            return Origin.BOTH
        return Origin.CLIENT if known is None or known.origin is Origin.CLIENT else Origin.BOTH

    # Messages to the client

    def deliver(self, message: Message) -> None:
        """Send a message at its QoS, or queue it until there is a client, and room in its window."""
        client = self.client
        if message.qos == 0:
            if client is not None:
                if self.places is not None:
                    self._drop_older(self.places, message)
                client.send_unacknowledged(message)
            elif self._broker.limits.queue_qos0_messages:
                self._enqueue(message)
            elif message.push is not None:
                self._broker.receipts.refused(self, message, "offline")
        elif (
            client is None
            or self.queue
            or len(self.inflight) >= client.window
            or (client.window_bytes and not self._fits_window(client, message))
        ):
            self._enqueue(message)
        else:
            self._send(client, message)

    def _fits_window(self, client: Client, message: Message) -> bool:
        """``max_inflight_bytes``. One message is always sent, however large."""
        inflight = sum(len(each.payload) for each in self.inflight.values() if each is not None)
        return not inflight or inflight + len(message.payload) <= client.window_bytes

    def _send(self, client: Client, message: Message, sequence: int | None = None) -> None:
        """:param sequence: its number in the queue, if it comes from there."""
        if client.choosy and not client.fits(message):
            self._drop_queued(sequence, "packet_too_large", message)  # v5 [MQTT-3.1.2-25]
            return
        inflight = self.inflight
        packet_id = self._next_packet_id
        while packet_id in inflight:
            packet_id = packet_id % 65_535 + 1
        self._next_packet_id = packet_id % 65_535 + 1
        inflight[packet_id] = message
        if self.expiry_s != 0.0:
            self._broker.store.record(
                records.MessageSent(self.client_id, packet_id, message)
                if sequence is None
                else records.PacketIdAssigned(self.client_id, sequence, packet_id)
            )
            client.must_wait = True
        if message.push is not None:
            self._broker.receipts.sent(self, message)
        client.send_acknowledged(message, packet_id)

    # The queue

    def _enqueue(self, message: Message) -> None:
        if message.expires_at is not None and message.expired(self._broker.wheel.seconds()):
            self.dropped(message, "expired")
            return
        if self.places is not None and self._replace_queued(self.places, message):
            return
        size = len(message.payload)
        if not self.has_place(size) and not self._make_place(size):
            self.dropped(message, "queue_full")
            return
        self.sequence += 1
        self._record_queued(message, self.sequence)
        if self.sleep is None and self.queue is None:
            self._begin_queue()
        if self.queue is None:
            assert self.sleep is not None  # one of the two is there now
            self.sleep.add(self.sequence, message)
            return
        self.queue.append(message)
        self.queued_bytes += size
        if self.client is not None and len(self.queue) > self._broker.limits.strained_queue:
            self._broker.pressure.strained = self  # whoever published this is told to wait

    def _record_queued(self, message: Message, sequence: int) -> None:
        if self.expiry_s != 0.0:
            self._broker.store.record(records.MessageQueued(self.client_id, sequence, message))
        if message.push is not None:
            self._broker.receipts.queued(self, message, sequence)
            if message.push.collapse_key:
                self._note_place(message.topic, message.push.collapse_key, sequence)

    def _note_place(self, topic: str, key: str, sequence: int) -> None:
        if self.places is None:
            self.places = Places()
        count = self._queued_extent[0]
        self.places.note(topic, key, sequence)
        self.places.tidy(count, self.sequence - count)

    @property
    def _queued_extent(self) -> tuple[int, int]:
        """How many messages are queued, and the bytes of their payloads."""
        if self.sleep is not None:
            return len(self.sleep.outline), self.sleep.outline.payload_bytes
        return len(self.queue or ()), self.queued_bytes

    def _replace_queued(self, places: Places, message: Message) -> bool:
        """
        Put a message into the place of an older one with the same collapse key. If ``max_queued_bytes`` is in
        the way, the older one stays.

        :return: whether there was an older one.
        """
        count, total = self._queued_extent
        sequence = places.find(message, self.sequence - count)
        if sequence == 0:
            return False
        at = sequence - self.sequence - 1  # from the end
        more = len(message.payload) - self._queued_size(at)
        if 0 < self._broker.limits.max_queued_bytes < total + more:
            self.dropped(message, "queue_full")
        else:
            self._forget_queued(sequence)
            self._swap(at, sequence, message)
            self._record_queued(message, sequence)
        return True

    def withdraw(self, message: Message) -> bool:
        """
        Never send the queued message that this one replaces.

        :param message: is too late for everybody, and only keeps the place. It has a collapse key.
        :return: whether there was one.
        """
        if self.places is None or not self._replace_queued(self.places, message):
            return False
        if message.push is not None:
            self.places.forget(message.topic, message.push.collapse_key)
        return True

    def _swap(self, at: int, sequence: int, message: Message) -> None:
        if self.sleep is not None:
            self.sleep.replace(at, sequence, message)
            self._broker.counters.dropped("replaced", topic=message.topic)
            self._broker.receipts.dropped(self, sequence, "replaced")
        elif self.queue:
            older, self.queue[at] = self.queue[at], message
            self.queued_bytes += len(message.payload) - len(older.payload)
            self.dropped(older, "replaced")

    def _queued_size(self, at: int) -> int:
        if self.sleep is not None:
            return self.sleep.outline.size(at)
        return len(self.queue[at].payload) if self.queue else 0

    def _drop_older(self, places: Places, message: Message) -> None:
        """A message leaves at once: the one whose place it takes must not come after it."""
        sequence = places.find(message, self.sequence - self._queued_extent[0])
        if sequence and self.queue:
            older = self.queue[sequence - self.sequence - 1]
            self._take_queued(lambda each: each is older)
            self.dropped(older, "replaced")

    def _begin_queue(self) -> None:
        if self.client is None and self._may_sleep():
            self.sleep = Sleep(Outline())
        else:
            self.queue = deque()

    def has_place(self, size: int) -> bool:
        """Whether a payload of `size` bytes can be queued. The first limit that is reached counts."""
        limits = self._broker.limits
        count, total = self._queued_extent
        if 0 < limits.max_queued_messages <= count:
            return False
        return not 0 < limits.max_queued_bytes < total + size

    def _make_place(self, size: int) -> bool:
        """
        Drop what stands at the head of a full queue: what has expired takes nobody's place, and by
        ``queue_full drop_oldest`` neither does what waits longest.

        Behind the first that has not expired it stays: to look at a thousand for each one that comes would be
        too much.
        """
        while self._first_expired():
            self._drop_first("expired")
        limits = self._broker.limits
        fits_at_all = size <= limits.max_queued_bytes or limits.max_queued_bytes == 0
        if limits.queue_full == "drop_oldest" and fits_at_all:
            while not self.has_place(size):
                self._drop_first("queue_full")
        return self.has_place(size)

    def _first_expired(self) -> bool:
        now = self._broker.wheel.now
        if self.sleep is not None:
            return self.sleep.outline.first_expired(now)
        return self.queue[0].expired(now) if self.queue else False

    def _drop_first(self, reason: str) -> None:
        if self.sleep is not None:
            sequence = self.sequence - len(self.sleep.outline) + 1
            self.sleep.outline.drop_first()
            self._forget_queued(sequence)
            self._broker.counters.dropped(reason)  # on whatever topic: the message is only in the store
            self._broker.receipts.dropped(self, sequence, reason)
        else:
            assert self.queue  # what is full or has an expired head is not empty
            sequence, message = self._pop(self.queue)
            self._drop_queued(sequence, reason, message)

    def _pop(self, queue: deque[Message]) -> tuple[int, Message]:
        """Take the next message out of the queue, with its number."""
        # Nothing is ever taken out of the middle, so the place in the queue tells the number.
        sequence = self.sequence - len(queue) + 1
        message = queue.popleft()
        self.queued_bytes -= len(message.payload)
        return sequence, message

    def _fill_window(self, client: Client) -> None:
        """Send what waits as far as the window allows."""
        if self.unsent:
            self._send_again(client, self.unsent)
        queue = self.queue
        while queue and len(self.inflight) < client.window:
            if client.window_bytes and not self._fits_window(client, queue[0]):
                break
            sequence, message = self._pop(queue)
            if message.expired(self._broker.wheel.now):
                self._drop_queued(sequence, "expired", message)
            else:
                self._send(client, message, sequence)
        if not queue:
            self.places = None
        if self.holds_back is not None:
            self.holds_back.drained(len(queue or ()))

    def catch_up(self) -> None:
        """The window has become larger without an acknowledgement."""
        if self.client is not None:
            self._fill_window(self.client)

    def _send_again(self, client: Client, unsent: dict[int, Message]) -> None:
        while unsent and len(self.inflight) - len(unsent) < client.window:
            packet_id = next(iter(unsent))
            client.send_acknowledged(unsent.pop(packet_id), packet_id, DUP)

    def _forget_queued(self, sequence: int) -> None:
        if self.expiry_s != 0.0:
            self._broker.store.record(records.MessageDropped(self.client_id, sequence))

    def _drop_queued(self, sequence: int | None, reason: str, message: Message) -> None:
        if sequence is not None:
            self._forget_queued(sequence)
        self.dropped(message, reason)

    def dropped(self, message: Message, reason: str) -> None:
        """Count a message that the client will not get, and tell those who asked what becomes of it."""
        self._broker.counters.dropped(reason, topic=message.topic)
        if message.push is not None:
            self._broker.receipts.refused(self, message, reason)

    # Acknowledgements from the client. Those of an identifier that is not in that state are ignored, as both
    # standards let version 3 clients expect; see `Client` for what version 5 is answered.

    def on_puback(self, packet_id: int) -> None:
        """The client has a QoS 1 message."""
        message = self.inflight.get(packet_id)
        if message is not None and message.qos == 1:
            if message.push is not None:
                self._broker.receipts.acknowledged(self, message)
            self._acknowledged(packet_id)

    def on_pubrec(self, packet_id: int) -> bool:
        """
        The client has a QoS 2 message; or its PUBREC comes again, since the PUBREL was lost.

        :return: whether the packet identifier is known, so that PUBREL is due.
        """
        if packet_id not in self.inflight:
            return False
        message = self.inflight[packet_id]
        if message is not None:
            if message.qos != 2:
                return False
            # To the end: PUBRELs are sent again in the order of the PUBRECs (v3 [MQTT-4.6.0-3]).
            del self.inflight[packet_id]
            self.inflight[packet_id] = None
            if self.unsent:
                self.unsent.pop(packet_id, None)
            if message.push is not None:
                self._broker.receipts.release(self, message, packet_id)
            if self.expiry_s != 0.0:
                self._broker.store.record(records.MessageReleased(self.client_id, packet_id))
        return True

    def on_refused(self, packet_id: int, qos: int) -> None:
        """PUBACK or PUBREC came and says that the client does not want it, which ends it, too (v5 §4.3)."""
        message = self.inflight.get(packet_id)
        if message is not None and message.qos == qos:
            if message.push is not None:
                self._broker.receipts.refused(self, message, "by_client")
            self._acknowledged(packet_id)

    def on_pubcomp(self, packet_id: int) -> None:
        """A QoS 2 message is finished."""
        if packet_id in self.inflight and self.inflight[packet_id] is None:
            if self._broker.receipts.released:
                self._broker.receipts.completed(self, packet_id)
            self._acknowledged(packet_id)

    def _acknowledged(self, packet_id: int) -> None:
        self._forget_in_flight(packet_id)
        if (self.queue or self.unsent) and self.client is not None:
            self._fill_window(self.client)
        if self._broker.replays.waiting:
            self._broker.replays.go_on(self)

    def _forget_in_flight(self, packet_id: int) -> None:
        """Free a packet identifier. What is queued stays so: see `_acknowledged`."""
        del self.inflight[packet_id]
        if self.unsent:
            self.unsent.pop(packet_id, None)
        if self.expiry_s != 0.0:
            self._broker.store.record(records.MessageAcknowledged(self.client_id, packet_id))

    # QoS 2 from the client: the identifier is kept from PUBLISH to PUBREL, the message is passed on at once
    # (v5 §4.3.3, "Method B" of its figure)

    def hold_received(self, packet_id: int) -> bool:
        """
        A QoS 2 PUBLISH came.

        :return: whether it is new; a second one before its PUBREL is not (v5 [MQTT-4.3.3-10]).
        """
        if self.received is None:
            self.received = set()
        if packet_id in self.received:
            return False
        if len(self.received) >= MAX_RECEIVED:
            raise ProtocolError("too many QoS 2 messages without PUBREL", ReasonCode.RECEIVE_MAXIMUM_EXCEEDED)
        self.received.add(packet_id)
        if self.expiry_s != 0.0:
            self._broker.store.record(records.PacketIdReceived(self.client_id, packet_id))
        return True

    def release_received(self, packet_id: int) -> bool:
        """
        Its PUBREL came.

        :return: whether the identifier was held.
        """
        if self.received is None or packet_id not in self.received:
            return False
        self.received.remove(packet_id)
        if self.expiry_s != 0.0:
            self._broker.store.record(records.PacketIdReleased(self.client_id, packet_id))
        return True

    # Coming and going

    def resume(self, client: Client) -> None:
        """
        Send to a client that came back: first what was in flight, marked as a duplicate and in its order
        (v5 [MQTT-4.4.0-1], [MQTT-4.6.0-1]), then what was queued. What it may no longer read is dropped. A
        client may take less at once than it did before (v5 [MQTT-3.3.4-9]).
        """
        self.unsent = {}
        for packet_id, message in list(self.inflight.items()):
            if message is None:
                client.send_ack(PUBREL, packet_id)
            elif not self.may_read(message.topic):
                self._forget_in_flight(packet_id)
                self.dropped(message, "not_authorized")
            elif client.choosy and not client.fits(message):
                self._forget_in_flight(packet_id)
                self.dropped(message, "packet_too_large")
            else:
                self.unsent[packet_id] = message
        self._send_again(client, self.unsent)
        self.unsent = self.unsent or None  # an empty dict for each of a hundred thousand sessions is too many
        self.drop_unreadable()
        self._send_queued_unacknowledged(client)
        if self.queue:
            self._fill_window(client)

    def drop_unreadable(self) -> None:
        """Drop what is queued and may not be read any more. The session is awake."""
        may_read = cache(self.may_read)  # each topic is asked about once
        for unreadable in self._take_queued(lambda message: not may_read(message.topic)):
            self.dropped(unreadable, "not_authorized")

    def _send_queued_unacknowledged(self, client: Client) -> None:
        """QoS 0 first: it waits for no window, and must not be overtaken by what comes from now on."""
        now = self._broker.wheel.now
        for message in self._take_queued(lambda message: message.qos == 0):
            if message.expired(now):
                self.dropped(message, "expired")
            else:
                client.send_unacknowledged(message)

    def may_read(self, topic: str) -> bool:
        """Whether the access rules let this session have a message of this topic name."""
        return self._broker.may_read(self, topic)

    def give_back_shared(self, wanted: Callable[[SharedGroup], bool]) -> list[Message]:
        """
        Let go of what a shared group gave this session and what nobody can say the client has: all but QoS 2
        messages in flight, which are its own to the end (v5 [MQTT-4.8.2-4], [MQTT-4.8.2-5]).

        :param wanted: which groups want it back.
        :return: the messages, in their order.
        """

        def is_wanted(message: Message) -> bool:
            return message.shared is not None and wanted(message.shared[0])

        given_back = []
        for packet_id, message in list(self.inflight.items()):
            if message is not None and message.qos == 1 and is_wanted(message):
                self._forget_in_flight(packet_id)
                given_back.append(message)
        given_back += self._take_queued(is_wanted)
        for message in given_back:
            if message.push is not None:
                self._broker.receipts.refused(self, message, "handed_on")
        return given_back

    def _take_queued(self, wanted: Callable[[Message], bool]) -> list[Message]:
        """Take messages out of the queue."""
        waiting = self.queue or ()
        taken = [message for message in waiting if wanted(message)]
        if taken:
            first = self.sequence - len(waiting) + 1
            self._queue_anew(
                range(first, self.sequence + 1),
                [message for message in waiting if not wanted(message)],
            )
        return taken

    def _queue_anew(self, sequences: Iterable[int], messages: Iterable[Message]) -> None:
        """Have `messages` queued in place of those with these numbers: numbers stay without gaps."""
        self.queue, self.queued_bytes, self.places = deque(), 0, None
        for sequence in sequences:
            self._forget_queued(sequence)
        for message in messages:
            self._enqueue(message)
        self.queue = self.queue or None

    # Sleep

    def _may_sleep(self) -> bool:
        """
        Only who outlives its connection is recorded. What a shared group gave away it may want back, which
        no record tells: its members stay awake.
        """
        return self.expiry_s != 0.0 and not any(name.startswith(SHARE_PREFIX) for name in self.subscriptions)

    def fall_asleep(self) -> None:
        """The client is gone: leave the messages to the store."""
        if not (self.queue or self.inflight or self.received) or not self._may_sleep():
            return
        outline = Outline()
        for message in self.queue or ():
            outline.append(len(message.payload), message.expires_at)
        self.sleep = Sleep(outline, len(self.inflight))
        self.queue, self.queued_bytes = None, 0
        self.inflight = {}
        self.received = self.unsent = None

    def wake(self) -> Deferred[None] | None:
        """
        Have the messages in memory again, for a client that comes back.

        :return: ``None`` if they are; else fires when they are, or the session has ended meanwhile. Fails if
            the store cannot read them.
        """
        sleep = self.sleep
        if sleep is None:
            return None
        if sleep.waking:
            return sleep.wait()
        loaded = self._broker.store.load_messages(self.client_id)
        if not isinstance(loaded, Deferred):
            self._wake(sleep, loaded)
            return None
        waiter = sleep.wait()
        loaded.addCallback(partial(self._wake, sleep)).addBoth(sleep.over)
        return waiter

    def _wake(self, sleep: Sleep, saved: records.SavedMessages) -> None:
        first = self.sequence - len(sleep.outline) + 1
        known = sleep.complete(saved)
        sequences = range(first, self.sequence + 1)
        waiting = [known[sequence] for sequence in sequences if sequence in known]
        self.sleep = None
        self.inflight = dict(saved.inflight)
        self.received = set(saved.received) or None
        if len(waiting) < len(sleep.outline):  # some could not be read
            self._queue_anew(sequences, waiting)
        else:
            self.queue = deque(waiting) or None
            self.queued_bytes = sleep.outline.payload_bytes
        self._broker.receipts.woke(self)

    def restore(self, saved: records.SavedSession) -> None:
        """Become what a store kept of this session; its subscriptions are the broker's part."""
        self.expiry_s = self._broker.limits.session_expiry(saved.expiry_s)
        self.given_up = saved.given_up or None
        self.sequence = saved.last_sequence
        self.places = Places(saved.places) if saved.places else None
        if saved.last_sequence or saved.inflight_count or saved.has_received:
            self.sleep = Sleep(saved.queued, saved.inflight_count)

    # On the wheel: the end of a session that nobody came back for

    def due_at(self) -> float | None:
        if self.client is not None or self.expiry_s is None:
            return None
        return self.offline_since + self.expiry_s

    def on_due(self) -> None:
        self._broker.counters.clients_expired += 1
        self._broker.end_session(self)
