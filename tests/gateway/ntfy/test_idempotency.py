"""Requests that come again."""

from __future__ import annotations

import hashlib
from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.notes import Notes
from pushd.broker.wheel import TimingWheel
from pushd.gateway.http import problems
from pushd.gateway.http.problems import FORBIDDEN, Refusal
from pushd.gateway.identity.guards import Caller
from pushd.gateway.ntfy.idempotency import (
    KEEP_S,
    Answers,
    Remember,
    who,
)

ONE, OTHER = hashlib.sha256(b"1").digest(), hashlib.sha256(b"2").digest()


class Journal:
    """A store that is told of notes."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def record(self, record: Any) -> None:
        self.records.append(record)


class AnswersTests(SynchronousTestCase):
    """One key, one answer."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.made = 0
        self.journal = Journal()
        self.notes = Notes(self.journal, TimingWheel(self.clock, self.clock.seconds), self.clock.seconds)  # type: ignore[arg-type]
        self.answers = self.make_answers()
        self.until: Deferred[None] = succeed(None)

    def make_answers(self, **limits: int) -> Answers:
        return Answers(self.notes, self.clock.seconds, lambda: succeed(None), **limits)

    async def make(self, remember: Remember) -> bytes:
        """Publish."""
        self.made += 1
        answer = b"answer %d" % self.made
        remember(answer)
        await self.until
        return answer

    async def refuse(self, remember: Remember) -> bytes:
        """Publish nothing."""
        self.made += 1
        await self.until
        raise Refusal(FORBIDDEN)

    def ask(self, key: bytes = b"k", caller: str = "ada", digest: bytes = ONE, make: Any = None) -> Any:
        asking: Coroutine[Deferred[Any], Any, bytes] = self.answers.answer(
            caller, key, digest, make or self.make
        )
        return Deferred.fromCoroutine(asking)

    def refused(self, asking: Any) -> Any:
        return self.failureResultOf(asking, Refusal).value.problem

    def test_second_gets_the_answer_of_the_first(self) -> None:
        """Asking again publishes nothing."""
        self.assertEqual(self.successResultOf(self.ask()), b"answer 1")
        self.assertEqual(self.successResultOf(self.ask()), b"answer 1")
        self.assertEqual(self.made, 1)

    def test_keys_are_the_callers_own(self) -> None:
        """Another caller, or another key, is another request."""
        self.assertEqual(self.successResultOf(self.ask()), b"answer 1")
        self.assertEqual(self.successResultOf(self.ask(caller="ben", digest=OTHER)), b"answer 2")
        self.assertEqual(self.successResultOf(self.ask(key=b"l")), b"answer 3")

    def test_same_key_for_another_request(self) -> None:
        """That is a mistake, and said so, also while the first is being answered."""
        self.until = Deferred()
        first = self.ask()
        self.assertIs(self.refused(self.ask(digest=OTHER)), problems.IDEMPOTENCY_KEY_USED)
        self.until.callback(None)
        self.successResultOf(first)
        self.assertIs(self.refused(self.ask(digest=OTHER)), problems.IDEMPOTENCY_KEY_USED)

    def test_waits_for_the_first(self) -> None:
        """A repetition in the meantime gets the same answer, at the same time."""
        self.until = Deferred()
        first, second = self.ask(), self.ask()
        self.assertNoResult(second)
        self.until.callback(None)
        self.assertEqual(self.successResultOf(first), self.successResultOf(second))
        self.assertEqual(self.made, 1)

    def test_refusal_is_not_kept(self) -> None:
        """Who waited hears it as well; whoever asks later is looked at anew."""
        self.until = Deferred()
        first, second = self.ask(make=self.refuse), self.ask()
        self.until.callback(None)
        self.assertIs(self.refused(first), FORBIDDEN)
        self.assertIs(self.refused(second), FORBIDDEN)
        self.assertEqual(self.successResultOf(self.ask()), b"answer 2")

    def test_a_day(self) -> None:
        """After 24 hours a key is new."""
        self.successResultOf(self.ask())
        self.clock.advance(KEEP_S + 1)
        self.assertEqual(self.successResultOf(self.ask()), b"answer 2")

    def test_recorded_in_the_turn_of_the_push(self) -> None:
        """The note is there before anything is waited for."""
        self.until = Deferred()
        self.ask()
        self.assertEqual(self.journal.records[0].note.value, ONE + b"answer 1")

    def test_next_process_knows(self) -> None:
        """What the notes have is answered after a restart, too."""
        self.successResultOf(self.ask())
        self.answers = self.make_answers()
        self.assertEqual(self.successResultOf(self.ask()), b"answer 1")

    def test_no_room(self) -> None:
        """An answer that could not be kept is not made; room comes back after a day."""
        self.answers = self.make_answers(max_answers=2)
        self.successResultOf(self.ask(caller="ada"))
        self.successResultOf(self.ask(caller="ben"))
        self.assertIs(self.refused(self.ask(caller="cy")), problems.NO_ROOM_FOR_KEY)
        self.assertEqual(self.successResultOf(self.ask(caller="ada")), b"answer 1")
        self.clock.advance(KEEP_S + 1)
        self.successResultOf(self.ask(caller="cy"))

    def test_bytes_count(self) -> None:
        """So does how long the answers are."""
        self.answers = self.make_answers(max_bytes=40)
        self.successResultOf(self.ask(caller="ada"))
        self.assertIs(self.refused(self.ask(caller="ben", key=b"l")), problems.NO_ROOM_FOR_KEY)

    def test_one_caller_has_a_share(self) -> None:
        """Who uses a new key each time leaves room for others, also after a restart."""
        self.answers = self.make_answers(max_answers=8)
        for key in (b"a", b"b"):
            self.successResultOf(self.ask(key))
        self.answers = self.make_answers(max_answers=8)
        self.assertIs(self.refused(self.ask(b"c")), problems.NO_ROOM_FOR_KEY)
        self.successResultOf(self.ask(b"c", caller="ben"))

    def test_keys_that_are_none(self) -> None:
        """Something to see, and not too long."""
        for key in (b"", b"a" * 256, b" a", b"a\tb", b"\xe4", b"a\x7f"):
            self.assertIs(self.refused(self.ask(key)), problems.IDEMPOTENCY_KEY_INVALID, key)
        self.successResultOf(self.ask(b"a" * 255))


class WhoTests(SynchronousTestCase):
    """Whose keys they are"""

    def test_who(self) -> None:
        """A user's; of others, their address's, whichever port they come by."""
        for username, address, expected in (
            ("ada", "192.0.2.1:99", "user ada"),
            (None, "192.0.2.1:99", "at 192.0.2.1"),
            (None, "192.0.2.1", "at 192.0.2.1"),
            (None, "[2001:db8::1]:99", "at 2001:db8::1"),
            (None, "2001:db8::1", "at 2001:db8::1"),
            (None, "", "at "),
        ):
            self.assertEqual(who(Caller(username, address=address)), expected)
