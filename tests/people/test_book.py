"""The book of friends: who is kept in it, and how it stays right."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.people.book import AT_ONCE, MAX_IDLE, NOBODY, RETRY_S, FriendBook
from pushd.people.interfaces import Friends, PeopleUnavailable
from pushd.people.memory import MemoryPeople

JIM = Friends(frozenset({"jim"}), frozenset())
JIM_AND_EVA = Friends(frozenset({"jim", "eva"}), frozenset({"eva"}))


class SlowPeople(MemoryPeople):
    """A keeper that answers when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, Deferred[Friends]]] = []

    def friends(self, username: str) -> Deferred[Friends]:
        answer: Deferred[Friends] = Deferred()
        self.asked.append((username, answer))
        return answer

    def answer(self, friends: Friends = JIM) -> None:
        self.asked.pop(0)[1].callback(friends)

    def fail(self, problem: Exception | None = None) -> None:
        self.asked.pop(0)[1].errback(problem or PeopleUnavailable("away"))


class BookTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.people = SlowPeople()
        self.book = FriendBook(self.people, self.clock)
        self.told: list[tuple[str, Friends, Friends]] = []
        self.book.listen(lambda *change: self.told.append(change))

    def need(self, username: str = "ann", friends: Friends = JIM) -> None:
        """Have somebody in the book."""
        loading = self.book.need(username)
        assert loading is not None
        self.people.answer(friends)
        self.successResultOf(loading)


class NeedTests(BookTests):
    def test_first_need_loads(self) -> None:
        """Who is needed first has to be waited for; then the friends are there."""
        loading = self.book.need("ann")
        assert loading is not None
        self.assertNoResult(loading)
        assert not self.book.knows("ann")
        self.people.answer()
        self.successResultOf(loading)
        assert self.book.knows("ann")
        assert self.book.friends("ann") == JIM

    def test_second_need_waits_for_nothing(self) -> None:
        """Who is in the book already is not asked for again."""
        self.need()
        assert self.book.need("ann") is None
        assert self.people.asked == []

    def test_needs_at_the_same_time_ask_once(self) -> None:
        """Ten terminals of one user come at once: one question."""
        waiting = [self.book.need("ann") for _ in range(10)]
        assert len(self.people.asked) == 1
        self.people.answer()
        for one in waiting:
            assert one is not None
            self.successResultOf(one)

    def test_nobody_else_is_known(self) -> None:
        """Who is not needed has no friends here."""
        assert self.book.friends("stranger") == NOBODY

    def test_no_friends_are_an_answer_too(self) -> None:
        """Somebody without friends is in the book like others."""
        self.need(friends=NOBODY)
        assert self.book.knows("ann")
        assert self.told == [("ann", NOBODY, NOBODY)]

    def test_first_friends_are_told(self) -> None:
        """What was decided before they were known may be decided otherwise now."""
        self.need()
        assert self.told == [("ann", NOBODY, JIM)]

    def test_cancelled_wait(self) -> None:
        """A client that goes away while it waits disturbs nobody."""
        first, second = self.book.need("ann"), self.book.need("ann")
        assert first is not None and second is not None
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.book.release("ann")
        self.people.answer()
        self.successResultOf(second)


class KeepTests(BookTests):
    def test_some_at_a_time(self) -> None:
        """A start finds a hundred thousand sessions; who logs in meanwhile does not wait for all of them."""
        for number in range(3 * AT_ONCE):
            self.book.keep(f"user{number}")
        assert len(self.people.asked) == AT_ONCE
        self.book.need("ann")
        assert len(self.people.asked) == AT_ONCE + 1
        while self.people.asked:
            self.people.answer()
            self.clock.advance(0)
        assert all(self.book.knows(f"user{number}") for number in range(3 * AT_ONCE))

    def test_known_already(self) -> None:
        """Who is there is not asked for again, and stays for both."""
        self.need()
        self.book.keep("ann")
        assert self.people.asked == []
        self.book.release("ann")
        assert len(self.book) == 1

    def test_needed_before_its_turn(self) -> None:
        """Somebody who logs in while waiting in the row is asked for at once, and once."""
        for number in range(AT_ONCE):
            self.book.keep(f"user{number}")
        self.book.keep("ann")
        self.book.need("ann")
        while self.people.asked:
            self.people.answer()
            self.clock.advance(0)
        assert [name for name, _, _ in self.told].count("ann") == 1


class ReleaseTests(BookTests):
    def test_last_release_forgets(self) -> None:
        """The book keeps the last few whom nobody needs, and no more."""
        self.need()
        self.book.need("ann")
        self.book.release("ann")
        assert len(self.book) == 1
        self.book.release("ann")
        assert len(self.book) == 0
        for number in range(MAX_IDLE):
            assert self.book.knows("ann")
            self.need(f"user{number}")
            self.book.release(f"user{number}")
        assert not self.book.knows("ann")
        assert self.book.friends("ann") == NOBODY

    def test_idle_is_kept_right(self) -> None:
        """Whoever comes back soon is there already, as it is by then."""
        self.need()
        self.book.release("ann")
        self.book.refresh("ann")
        self.people.answer(JIM_AND_EVA)
        assert self.book.need("ann") is None
        assert self.book.friends("ann") == JIM_AND_EVA

    def test_answer_after_the_last_release(self) -> None:
        """An answer that nobody waits for any more is kept by nobody."""
        loading = self.book.need("ann")
        assert loading is not None
        self.book.release("ann")
        self.people.answer()
        self.successResultOf(loading)
        assert len(self.book) == 0
        assert self.told == []

    def test_needed_anew_during_an_old_question(self) -> None:
        """What was asked for somebody who left and came back counts from the second question on only."""
        self.book.need("ann")
        self.book.release("ann")
        again = self.book.need("ann")
        assert again is not None
        self.people.answer(JIM)
        self.assertNoResult(again)
        self.people.answer(JIM_AND_EVA)
        self.successResultOf(again)
        assert self.book.friends("ann") == JIM_AND_EVA


class RefreshTests(BookTests):
    def test_change(self) -> None:
        """The old friends count until the new ones are there; then the listeners hear of both."""
        self.need()
        self.told.clear()
        self.book.refresh("ann")
        assert self.book.friends("ann") == JIM
        self.people.answer(JIM_AND_EVA)
        assert self.book.friends("ann") == JIM_AND_EVA
        assert self.told == [("ann", JIM, JIM_AND_EVA)]

    def test_same_friends(self) -> None:
        """A refresh that changes nothing is no change."""
        self.need()
        self.told.clear()
        self.book.refresh("ann")
        self.people.answer(JIM)
        assert self.told == []

    def test_somebody_who_is_not_kept(self) -> None:
        """Changes of people without a session cost nothing."""
        self.book.refresh("stranger")
        assert self.people.asked == []

    def test_change_during_a_question(self) -> None:
        """An answer that was on the way when something changed may be too old: it is asked for again."""
        loading = self.book.need("ann")
        assert loading is not None
        self.book.refresh("ann")
        assert len(self.people.asked) == 1
        self.people.answer(JIM)
        self.successResultOf(loading)
        self.people.answer(JIM_AND_EVA)
        assert self.book.friends("ann") == JIM_AND_EVA

    def test_all(self) -> None:
        """When all may have changed, all are loaded again, some at a time."""
        names = [f"user{number}" for number in range(3 * AT_ONCE)]
        for name in names:
            self.need(name)
        self.book.refresh("")
        asked = []
        while self.people.asked:
            assert len(self.people.asked) <= AT_ONCE
            asked.append(self.people.asked[0][0])
            self.people.answer()
            self.clock.advance(0)
        assert sorted(asked) == sorted(names)

    def test_dropped_before_its_turn(self) -> None:
        """Who is not kept any more when its turn comes is not asked for."""
        for number in range(AT_ONCE):
            self.need(f"user{number}")
        for number in range(MAX_IDLE + 1):
            self.need(f"idle{number}")
            if number < MAX_IDLE:
                self.book.release(f"idle{number}")
        self.book.refresh("")
        self.book.release(f"idle{MAX_IDLE}")
        asked = []
        while self.people.asked:
            asked.append(self.people.asked[0][0])
            self.people.answer()
            self.clock.advance(0)
        assert "idle0" not in asked
        assert f"idle{MAX_IDLE}" in asked

    def test_listener_that_fails(self) -> None:
        """One listener's mistake is logged, and the others hear of the change all the same."""
        book = FriendBook(self.people, self.clock)
        book.listen(lambda *_: 1 / 0)  # type: ignore[arg-type]
        book.listen(lambda *change: self.told.append(change))
        book.need("ann")
        self.people.answer()
        assert self.told == [("ann", NOBODY, JIM)]
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1


class SettledTests(BookTests):
    def test_nothing_on_the_way(self) -> None:
        """Most of the time there is nothing to wait for."""
        self.need()
        assert self.book.settled("ann") is None
        assert self.book.settled("stranger") is None

    def test_newer_friends_on_the_way(self) -> None:
        """Who can wait goes by what holds now."""
        self.need()
        self.book.refresh("ann")
        waiting = self.book.settled("ann")
        assert waiting is not None
        self.assertNoResult(waiting)
        self.people.answer(JIM_AND_EVA)
        self.successResultOf(waiting)
        assert self.book.settled("ann") is None

    def test_unavailable(self) -> None:
        """Nobody waits for long: neither for an answer that does not come, nor while nobody is asked."""
        self.need()
        self.book.refresh("ann")
        waiting = self.book.settled("ann")
        assert waiting is not None
        self.people.fail()
        self.failureResultOf(waiting, PeopleUnavailable)
        assert self.book.settled("ann") is None

    def test_dropped_meanwhile(self) -> None:
        """Nobody waits for somebody whom nobody will ask for."""
        names = [f"user{number}" for number in range(AT_ONCE)]
        for name in [*names, "ann"]:
            self.need(name)
        self.book.refresh("")
        waiting = self.book.settled("ann")
        assert waiting is not None
        self.book.release("ann")
        for number in range(MAX_IDLE):
            loading = self.book.need(f"idle{number}")
            assert loading is not None
            self.people.asked.pop()[1].callback(JIM)
            self.book.release(f"idle{number}")
        self.successResultOf(waiting)


class UnavailableTests(BookTests):
    def test_need_fails(self) -> None:
        """Who cannot be loaded is not in the book; the caller decides what that means."""
        loading = self.book.need("ann")
        assert loading is not None
        self.people.fail()
        self.failureResultOf(loading, PeopleUnavailable)
        assert not self.book.knows("ann")

    def test_tried_again_while_needed(self) -> None:
        """Who does not give up, for it is about a session that is kept, gets them later."""
        loading = self.book.need("ann")
        assert loading is not None
        self.people.fail()
        self.failureResultOf(loading, PeopleUnavailable)
        self.clock.advance(RETRY_S)
        self.people.answer()
        assert self.told == [("ann", NOBODY, JIM)]

    def test_not_tried_again_after_release(self) -> None:
        """A login that was refused leaves nothing behind."""
        loading = self.book.need("ann")
        assert loading is not None
        self.people.fail()
        self.failureResultOf(loading, PeopleUnavailable)
        self.book.release("ann")
        self.clock.advance(RETRY_S)
        assert self.people.asked == []

    def test_old_friends_are_kept(self) -> None:
        """While the keeper is away, the last that was known counts, until it is back."""
        self.need()
        self.book.refresh("ann")
        self.people.fail()
        assert self.book.friends("ann") == JIM
        for _ in range(3):
            self.clock.advance(RETRY_S)
            self.people.fail()
        self.clock.advance(RETRY_S)
        self.people.answer(JIM_AND_EVA)
        assert self.book.friends("ann") == JIM_AND_EVA

    def test_keeper_is_left_alone(self) -> None:
        """A hundred users do not ask a keeper that is away a hundred times a second."""
        for number in range(100):
            self.need(f"user{number}")
        self.book.refresh("")
        while self.people.asked:
            self.people.fail()
            self.clock.advance(0)
        self.clock.advance(RETRY_S / 2)
        assert self.people.asked == []
        self.clock.advance(RETRY_S / 2)
        assert len(self.people.asked) == AT_ONCE

    def test_login_asks_even_now(self) -> None:
        """Somebody who logs in is asked for at once: the keeper may be back."""
        self.need()
        self.book.refresh("ann")
        self.people.fail()
        self.need("bob")
        assert self.book.friends("bob") == JIM

    def test_mistake_of_the_keeper(self) -> None:
        """Whatever else goes wrong is logged, and means the same to who waits."""
        loading = self.book.need("ann")
        assert loading is not None
        self.people.fail(KeyError("oops"))
        self.failureResultOf(loading, PeopleUnavailable)
        assert len(self.flushLoggedErrors(KeyError)) == 1
