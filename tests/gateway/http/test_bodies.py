"""`pushd.gateway.http.bodies`: large bodies that stay in memory, of all callers together."""

from __future__ import annotations

from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.http import problems
from pushd.gateway.http.bodies import ROOM_BYTES, SMALL_BYTES, BodyRoom
from pushd.gateway.http.problems import Refusal
from tests.gateway.callers import Answer, Caller

LARGE = 1_000_000
HEAD = b"POST /v1/push/batch HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"


class RoomTests(SynchronousTestCase):
    """What there is"""

    def test_taken_and_given_back(self) -> None:
        """Not more than there is, and all of it again."""
        room = BodyRoom(10)
        room.take(10)
        refusal = self.assertRaises(Refusal, room.take, 1)
        self.assertIs(refusal.problem, problems.TOO_MANY_BODIES)
        room.give_back(10)
        room.take(10)

    def test_whole_batches_fit(self) -> None:
        """Several at once."""
        self.assertGreaterEqual(ROOM_BYTES // (8 * 1024 * 1024), 8)


class RequestTests(SynchronousTestCase):
    """Who takes it"""

    def setUp(self) -> None:
        self.caller = Caller()
        self.room = self.caller.site.body_room
        self.all = self.room.left

    def begin(self, size: int, sent: int) -> list[Answer]:
        return self.caller.send(HEAD % size + b" " * sent)

    def test_small_bodies_need_none(self) -> None:
        """However many there are."""
        self.begin(LARGE, SMALL_BYTES)
        self.assertEqual(self.room.left, self.all)

    def test_what_has_come_counts(self) -> None:
        """And not what was only announced; in one piece, or in many."""
        self.begin(LARGE, SMALL_BYTES + 10)
        self.assertEqual(self.room.left, self.all - 10)
        for _ in range(5):
            self.caller.send(b" " * 10)
        self.assertEqual(self.room.left, self.all - 60)

    def test_given_back_with_the_answer(self) -> None:
        """Whatever that is; the next request of the connection begins with nothing."""
        self.assertEqual(len(self.begin(LARGE, LARGE)), 1)
        self.assertEqual(self.room.left, self.all)
        self.begin(LARGE, SMALL_BYTES + 1)
        self.assertEqual(self.room.left, self.all - 1)

    def test_given_back_by_who_leaves(self) -> None:
        """In the middle of it."""
        self.begin(LARGE, LARGE - 1)
        self.caller.channel.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.room.left, self.all)

    def test_none_left(self) -> None:
        """42901, and when to come again; the rest of the body is thrown away, and a small one still taken."""
        self.room.take(self.all)
        (answer,) = self.caller.send(HEAD % LARGE + b" " * LARGE)
        self.assertEqual((answer.code, answer.headers["Retry-After"]), (42901, "5"))
        self.caller.connect()
        self.assertEqual(self.caller.post("/t", b"x").status, 200)
        self.room.give_back(self.all)
        self.assertEqual(self.room.left, self.all)
