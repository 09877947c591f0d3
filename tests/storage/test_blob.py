"""`pushd.storage.blob`: a batch as bytes, and bytes that are no batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgpack  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker import records as r
from pushd.broker.message import Message
from pushd.mqtt.codes import PropertyId
from pushd.storage.batch import Batch
from pushd.storage.blob import pack, unpack
from pushd.storage.journal import Journal
from pushd.storage.rows import DamagedRow, Times
from tests.storage.model import Model, journal, steps
from tests.storage.pictures import in_archive, kept, later, plain, standing

TIMES = Times(1_800_000_000.0)
ROOM = 1 << 30


def collected(taken: Iterable[tuple[str, tuple[Any, ...]]], before: int) -> Batch:
    """The second of two batches of any journal: it also speaks of what is written already."""
    sums = Journal({}, 1, 0)
    for number, record in enumerate(journal(Model(), taken)):
        if number == before:
            sums.cut()
        sums.apply[type(record)](record)
    batch = sums.cut()
    batch.settle()
    return batch


def seen(batch: Batch) -> dict[str, Any]:
    """What a batch says, as something that can be compared; orders count where they matter."""
    picture: dict[str, Any] = {
        name: getattr(batch, name)
        for name in (
            "number",
            "opened",
            "left",
            "ended",
            "unqueued",
            "acknowledged",
            "received",
            "forgotten",
            "expired",
            "notes",
        )
    }
    picture["queued"] = [(key, plain(message)) for key, message in batch.queued.items()]
    picture["inflight"] = [
        (key, plain(sent) if isinstance(sent, Message) else sent) for key, sent in batch.inflight.items()
    ]
    picture["retained"] = {topic: message and kept(message) for topic, message in batch.retained.items()}
    picture["subscriptions"] = {key: old and standing(old) for key, old in batch.subscriptions.items()}
    picture["kept"] = [in_archive(kept) for kept in batch.kept.values()]
    picture["wills"] = {client_id: will and will.fields for client_id, will in batch.wills.items()}
    picture["scheduled"] = {id: message and later(message) for id, message in batch.scheduled.items()}
    return picture


class RoundTripTests(SynchronousTestCase):
    """What is packed comes back"""

    @given(steps, st.integers(0, 40))
    def test_any_batch(self, taken: list[tuple[str, tuple[Any, ...]]], before: int) -> None:
        """All of it, whatever a broker records."""
        batch = collected(taken, before)
        blob = pack(batch, Times(0.0), ROOM)
        assert blob is not None
        self.assertEqual(seen(batch), seen(unpack(batch.number, blob, Times(0.0))))

    def test_payload_is_there_once(self) -> None:
        """However many sessions get it, in whatever variant."""
        push = Message("t", b"body" * 1000, 2, properties={PropertyId.CONTENT_TYPE: "x"}, expires_at=5.0)
        batch = Batch(1, queued={(n, 1): push.variant(n % 3, n > 5, (n,)) for n in range(10)})
        blob = pack(batch, TIMES, ROOM)
        assert blob is not None
        self.assertLess(len(blob), 5000)
        payloads = {id(message.payload) for message in unpack(1, blob, TIMES).queued.values()}
        self.assertEqual(1, len(payloads))

    def test_large_payloads(self) -> None:
        """They are better written once, into their table."""
        batch = Batch(1, retained={"t": Message("t", b"x" * 1001)})
        self.assertIsNone(pack(batch, TIMES, 1000))
        self.assertIsNotNone(pack(batch, TIMES, 1001))

    def test_times(self) -> None:
        """Another process counts its seconds from another moment."""
        batch = Batch(1, left={7: 5.0}, scheduled={"a": r.MessageScheduled("a", 6.0, Message("t", b""))})
        blob = pack(batch, TIMES, ROOM)
        assert blob is not None
        again = unpack(1, blob, Times(TIMES.offset + 100.0))
        scheduled = again.scheduled["a"]
        assert scheduled is not None
        self.assertEqual(({7: -95.0}, -94.0), (again.left, scheduled.due_at))


class OlderVersionTests(SynchronousTestCase):
    """What an older pushd has packed"""

    def test_nobody_was_remembered(self) -> None:
        """A journal of version 2 does not say who has retained a message."""
        blob = msgpack.packb(
            {
                "payloads": [b"x"],
                "messages": [[0, "t", 1, True, None, None, []]],
                "retained": [["t", 0]],
            }
        )
        message = unpack(1, blob, TIMES).retained["t"]
        assert message is not None
        self.assertEqual(("t", b"x", None), (message.topic, message.payload, message.source))

    def test_nothing_was_automatic(self) -> None:
        """A journal of version 3 has the clients' own subscriptions only, and knows no listener."""
        blob = msgpack.packb(
            {"opened": [[1, "ada", None, None]], "subscriptions": [[[1, "t"], [1, False, False, 0, 0]]]}
        )
        batch = unpack(1, blob, TIMES)
        subscription = batch.subscriptions[1, "t"]
        assert isinstance(subscription, r.SubscriptionAdded)
        self.assertEqual((False, None), (subscription.automatic, batch.opened[1].listener))

    def test_nothing_was_a_push(self) -> None:
        """A journal of version 4 says who has published a message, and nothing behind that."""
        message = [0, "t", 1, True, None, None, [], '["ada", null, "port 1883"]']
        blob = msgpack.packb({"payloads": [b"x"], "messages": [message], "queued": [[[1, 1], 0]]})
        batch = unpack(1, blob, TIMES)
        self.assertIsNone(batch.queued[1, 1].push)
        self.assertEqual(({}, set(), 0, {}), (batch.kept, batch.forgotten, batch.expired, batch.notes))


class NonsenseTests(SynchronousTestCase):
    """What is no batch"""

    def unpack(self, blob: bytes) -> None:
        """It is a batch, or damage; never another exception."""
        try:
            unpack(1, blob, TIMES)
        except DamagedRow as problem:
            self.assertIn("journal: 1: ", str(problem))

    @given(st.binary(max_size=60))
    def test_any_bytes(self, blob: bytes) -> None:
        """They are called so."""
        self.unpack(blob)

    @given(steps, st.integers(0), st.integers(0, 255))
    def test_one_byte_is_another(self, taken: list[tuple[str, tuple[Any, ...]]], at: int, byte: int) -> None:
        """Wherever it stands."""
        blob = bytearray(pack(collected(taken, 5), TIMES, ROOM) or b"")
        blob[at % len(blob)] = byte
        self.unpack(bytes(blob))
        self.unpack(bytes(blob[: at % len(blob)]))

    values = st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=7),
        max_leaves=12,
    )

    @given(st.dictionaries(st.sampled_from([
        "payloads", "messages", "opened", "left", "ended", "subscriptions", "queued", "unqueued", "inflight",
        "acknowledged", "received", "retained", "wills", "scheduled",
        "kept", "forgotten", "expired", "notes",
    ]), values))  # fmt: skip
    def test_any_values(self, changes: dict[str, Any]) -> None:
        """MessagePack has nothing against them."""
        self.unpack(msgpack.packb(changes))

    def test_values_that_no_table_takes(self) -> None:
        """Numbers, times and texts are what they should be."""
        for changes in (
            {"ended": [True]},
            {"ended": [2**63]},
            {"left": [[1, None]]},
            {"left": [[1, float("nan")]]},
            {"opened": [[1, b"x", None, None]]},
            {"inflight": [[[1, 2], 0]]},
            {"payloads": ["text"], "messages": [[0, "t", 1, False, None, None, []]]},
            {"payloads": [b"x"], "messages": [[0, "t", 3, False, None, None, []]]},
            {"ended": {1: 2}},
        ):
            self.assertRaises(DamagedRow, unpack, 1, msgpack.packb(changes), TIMES)
