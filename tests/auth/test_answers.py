"""`pushd.auth.answers`: what was answered of late."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.answers import FRESH_S, Answers, settled


class AnswersTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 1000.0
        self.asked: list[tuple[str, Deferred[str]]] = []
        self.answers = Answers(self.ask, lambda: self.now, worth=lambda answer: answer != "no", max_kept=3)

    def ask(self, key: str) -> Deferred[str]:
        answer: Deferred[str] = Deferred()
        self.asked.append((key, answer))
        return answer

    def get(self, key: str) -> Deferred[str]:
        return Deferred.fromCoroutine(settled(self.answers.get(key)))

    def know(self, key: str, answer: str) -> None:
        got = self.get(key)
        self.asked[-1][1].callback(answer)
        self.assertEqual(self.successResultOf(got), answer)


class AskingTests(AnswersTestCase):
    """When somebody is asked"""

    def test_once_for_a_while(self) -> None:
        """Then again."""
        self.know("a", "yes")
        self.now += FRESH_S - 0.1
        self.assertEqual(self.answers.get("a"), "yes")
        self.now += 0.2
        self.assertNoResult(self.get("a"))
        self.assertEqual(len(self.asked), 2)

    def test_many_ask_as_one(self) -> None:
        """A thousand pushes that come at once wait for one answer."""
        waiting = [self.get("a") for _ in range(5)]
        self.assertEqual(len(self.asked), 1)
        self.asked[0][1].callback("yes")
        self.assertEqual([self.successResultOf(each) for each in waiting], ["yes"] * 5)

    def test_who_fails_is_not_believed(self) -> None:
        """All who waited hear of it; the next asks again."""
        waiting = [self.get("a"), self.get("a")]
        self.asked[0][1].errback(ValueError("away"))
        for each in waiting:
            self.failureResultOf(each, ValueError)
        self.know("a", "yes")

    def test_what_is_worth_nothing_is_not_kept(self) -> None:
        """Or guesses would drive out what is."""
        self.know("a", "no")
        self.assertNoResult(self.get("a"))
        self.assertEqual(len(self.answers), 0)

    def test_bounded(self) -> None:
        """Who was not asked about for the longest time is forgotten."""
        for key in ("a", "b", "c"):
            self.know(key, "yes")
        self.answers.get("a")
        self.know("d", "yes")
        self.assertEqual(len(self.answers), 3)
        self.assertIsNone(self.answers.last("b"))


class ForgettingTests(AnswersTestCase):
    """When somebody knows better"""

    def test_forgotten(self) -> None:
        """One, or all of which something is true."""
        self.know("a", "yes")
        self.know("b", "maybe")
        self.answers.forget("a")
        self.assertIsNone(self.answers.last("a"))
        self.answers.forget_where(lambda answer: answer == "maybe")
        self.assertEqual(len(self.answers), 0)

    def test_an_answer_on_its_way_is_old(self) -> None:
        """Who asked before gets it; who asks afterwards does not, and it is not kept."""
        early = self.get("a")
        self.answers.forget("a")
        late = self.get("a")
        self.asked[0][1].callback("old")
        self.assertEqual(self.successResultOf(early), "old")
        self.assertNoResult(late)
        self.asked[1][1].callback("new")
        self.assertEqual((self.successResultOf(late), self.answers.get("a")), ("new", "new"))

    def test_all_answers_on_their_way(self) -> None:
        """The same when it is not one key."""
        early = self.get("a")
        self.answers.forget_where(lambda answer: False)
        self.asked[0][1].callback("old")
        self.assertEqual(self.successResultOf(early), "old")
        self.assertIsNone(self.answers.last("a"))

    def test_the_last_answer(self) -> None:
        """Is known longer than it counts."""
        self.know("a", "yes")
        self.now += 10 * FRESH_S
        self.assertEqual(self.answers.last("a"), "yes")

    def test_amended(self) -> None:
        """It does not count any longer for that; what is not known is not amended."""
        self.know("a", "yes")
        self.now += FRESH_S - 0.1
        self.answers.amend("a", "yes!")
        self.answers.amend("b", "yes!")
        self.assertEqual(self.answers.get("a"), "yes!")
        self.now += 0.2
        self.assertNoResult(self.get("a"))
        self.assertIsNone(self.answers.last("b"))
