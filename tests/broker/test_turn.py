"""`pushd.broker.turn`: one write per client and turn, in order, and not before it is durable."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.counters import Counters
from pushd.broker.turn import Turn
from tests.fakes import FakeConnection, HeldStore

if TYPE_CHECKING:
    from pushd.broker.client import Client


class Outbox:
    """As much of a client as a turn needs."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self.outbox: list[bytes] = []
        self.must_wait = False
        self.held = 0
        self.terms = None
        self.connection = FakeConnection()

    def put(self, *pieces: bytes, wait: bool = False) -> None:
        for piece in pieces:
            if not self.outbox:
                self._turn.mark(cast("Client", self))
            self.outbox.append(piece)
        self.must_wait |= wait


class TurnCase(SynchronousTestCase):
    """A turn that ends when the test says so."""

    def setUp(self) -> None:
        self.ends: list[Callable[[], None]] = []
        self.store = HeldStore()
        self.counters = Counters()
        self.turn = Turn(self.ends.append, self.store, self.counters)

    def client(self) -> Outbox:
        return Outbox(self.turn)

    def end(self) -> None:
        """The turn that runs ends, and with it what was asked for until now."""
        due, self.ends[:] = list(self.ends), []
        for call in due:
            call()


class FlushTests(TurnCase):
    """What nothing holds back"""

    def test_nothing_before_the_end(self) -> None:
        """While packets are handled nothing is written."""
        client = self.client()
        client.put(b"1")
        self.assertEqual([], client.connection.written)

    def test_one_write(self) -> None:
        """All pieces of a client go out in one write, in their order; the bytes are counted."""
        client = self.client()
        client.put(b"1", b"2", b"3")
        self.end()
        self.assertEqual([b"123"], client.connection.written)
        self.assertEqual(3, self.counters.bytes_sent)

    def test_next_turn_starts_anew(self) -> None:
        """What was written is not written again."""
        client = self.client()
        client.put(b"1")
        self.end()
        client.put(b"2")
        self.end()
        self.assertEqual([b"1", b"2"], client.connection.written)

    def test_reactor_is_asked_once(self) -> None:
        """A thousand clients with something to send are one call at the end of the turn."""
        for _ in range(1000):
            self.client().put(b"x")
        self.assertEqual(1, len(self.ends))

    def test_asked_once_for_both(self) -> None:
        """
        Outboxes and what comes after them are one call. With two, work that goes on from turn to turn would
        be done twice in the next turn, four times in the one after, and so on.
        """
        self.client().put(b"x")
        self.turn.afterwards(lambda: None)
        self.client().put(b"y")
        self.assertEqual(1, len(self.ends))

    def test_many_clients_are_served_in_slices(self) -> None:
        """Between two slices the reactor serves others; nobody is forgotten, nobody gets it twice."""
        clients = [self.client() for _ in range(2 * Turn.SLICE + 1)]
        for client in clients:
            client.put(b"x")
        served = []
        while self.ends:
            self.end()
            served.append(sum(len(client.connection.written) for client in clients))
        self.assertEqual([Turn.SLICE, 2 * Turn.SLICE, 2 * Turn.SLICE + 1], served)

    def test_outbox_that_grows_between_slices(self) -> None:
        """What is added to a client that waits for its slice goes with it, in order."""
        clients = [self.client() for _ in range(Turn.SLICE + 1)]
        for client in clients:
            client.put(b"1")
        self.end()
        clients[0].put(b"2")
        clients[-1].put(b"2")
        self.end()
        self.end()
        self.assertEqual([b"1", b"2"], clients[0].connection.written)
        self.assertEqual([b"12"], clients[-1].connection.written)


class DurableTests(TurnCase):
    """What waits for the store"""

    def test_waits(self) -> None:
        """It is written when the barrier fires, and the bytes were counted then already."""
        client = self.client()
        client.put(b"1", wait=True)
        self.end()
        self.assertEqual(([], 1), (client.connection.written, client.held))
        self.store.release()
        self.assertEqual(([b"1"], 0), (client.connection.written, client.held))

    def test_later_turns_queue_behind(self) -> None:
        """Until then nothing of the same client overtakes, however many turns end."""
        client = self.client()
        client.put(b"1", wait=True)
        self.end()
        client.put(b"2")
        self.end()
        client.put(b"3", wait=True)
        self.end()
        self.assertEqual([], client.connection.written)
        for written in ([b"1"], [b"1", b"2"], [b"1", b"2", b"3"]):
            self.store.release(1)
            self.assertEqual(written, client.connection.written)

    def test_free_again(self) -> None:
        """Once nothing is held, nothing waits."""
        client = self.client()
        client.put(b"1", wait=True)
        self.end()
        self.store.release()
        client.put(b"2")
        self.end()
        self.assertEqual([b"1", b"2"], client.connection.written)

    def test_others_do_not_wait(self) -> None:
        """Only those whose outbox needs it; and all of them wait for one barrier."""
        clients = [self.client() for _ in range(4)]
        for n, client in enumerate(clients):
            client.put(b"x", wait=n % 2 == 0)
        self.end()
        self.assertEqual([0, 1, 0, 1], [len(client.connection.written) for client in clients])
        self.assertEqual(1, len(self.store.barriers))
        self.store.release()
        self.assertEqual([1, 1, 1, 1], [len(client.connection.written) for client in clients])


class AfterwardsTests(TurnCase):
    """What is done when the outboxes are empty"""

    def setUp(self) -> None:
        super().setUp()
        self.done: list[str] = []

    def test_after_the_writes(self) -> None:
        """A connection that is closed has got all that was for it."""
        client = self.client()
        client.put(b"bye")
        self.turn.afterwards(lambda: self.done.append(str(client.connection.written)))
        self.end()
        self.assertEqual(["[b'bye']"], self.done)

    def test_without_any_writes(self) -> None:
        """Nothing to send is no reason not to do it; in order, once."""
        self.turn.afterwards(lambda: self.done.append("1"))
        self.turn.afterwards(lambda: self.done.append("2"))
        self.end()
        self.end()
        self.assertEqual(["1", "2"], self.done)

    def test_after_the_last_slice(self) -> None:
        """It waits for all slices."""
        clients = [self.client() for _ in range(2 * Turn.SLICE + 1)]
        for client in clients:
            client.put(b"x")
        self.turn.afterwards(lambda: self.done.append(str(sum(len(c.connection.written) for c in clients))))
        while self.ends:
            self.end()
        self.assertEqual([str(len(clients))], self.done)

    def test_from_within(self) -> None:
        """What asks for more gets it in the next turn."""
        self.turn.afterwards(lambda: self.turn.afterwards(lambda: self.done.append("next")))
        self.end()
        self.assertEqual([], self.done)
        self.end()
        self.assertEqual(["next"], self.done)
