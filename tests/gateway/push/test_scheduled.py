"""`pushd.gateway.push.scheduled`: what is to be sent later."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.message import PushMark
from pushd.broker.notes import Notes
from pushd.broker.publication import Publication
from pushd.broker.wheel import TimingWheel
from pushd.gateway.http.problems import Refusal
from pushd.gateway.push import scheduled
from pushd.gateway.push.scheduled import GIVE_UP_S, KIND, RETRY_S, Later, Postponed
from pushd.mqtt.codes import ReasonCode
from pushd.storage.memory import MemoryStore
from tests.gateway.push_api_case import ADA, PushApiCase, payloads


def later(id: str, due_at: float = 10.0) -> Later:
    return Later(id, due_at, "ada", "http", {"topic": "t", "message": "\u00e4"})


class PostponedTests(SynchronousTestCase):
    """What waits, and when it is sent."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.notes = Notes(MemoryStore(), TimingWheel(self.clock, self.clock.seconds), self.clock.seconds)
        self.code: Deferred[ReasonCode] | ReasonCode = ReasonCode.SUCCESS
        self.sent: list[str] = []
        self.postponed = self.make()

    def make(self) -> Postponed:
        return Postponed(self.notes, self.clock, self.clock.seconds, self.send)

    def send(self, one: Later, taken: Any) -> Deferred[ReasonCode]:
        self.sent.append(one.id)
        if self.code is ReasonCode.SUCCESS:
            taken()
        return self.code if isinstance(self.code, Deferred) else succeed(self.code)

    def test_in_the_order_of_their_times(self) -> None:
        """Each when it is due, and not before."""
        for id, due_at in (("b", 20), ("a", 10), ("c", 30)):
            self.postponed.add(later(id, due_at))
        self.clock.advance(9)
        self.assertEqual(self.sent, [])
        self.clock.pump([1, 10])
        self.assertEqual(self.sent, ["a", "b"])
        self.assertEqual([note.key for note in self.notes.of_kind(KIND)], ["c"])

    def test_cancelled(self) -> None:
        """It is not sent, and not known any more."""
        self.postponed.add(later("a"))
        self.assertTrue(self.postponed.cancel("a"))
        self.assertFalse(self.postponed.cancel("a"))
        self.clock.advance(11)
        self.assertEqual((self.sent, self.notes.of_kind(KIND)), ([], []))

    def test_restart(self) -> None:
        """The next process has it as it was; what is overdue goes at once, in order."""
        self.postponed.add(later("b", 12))
        self.postponed.add(later("a", 10))
        self.postponed.stop()
        self.clock.advance(60)
        self.postponed = self.make()
        self.postponed.start()
        self.assertEqual(self.postponed.get("a"), later("a", 10))
        self.clock.advance(0)
        self.assertEqual(self.sent, ["a", "b"])

    def test_once(self) -> None:
        """While one is being sent a restart is another matter; in this process it is sent once."""
        self.code = Deferred()
        self.postponed.add(later("a"))
        self.clock.pump([10, 100, 100])
        self.assertEqual(self.sent, ["a"])

    def test_not_now(self) -> None:
        """What cannot be stored at the moment is tried again, for a day."""
        self.code = ReasonCode.QUOTA_EXCEEDED
        self.postponed.add(later("a"))
        self.clock.pump([10, RETRY_S, RETRY_S])
        self.assertEqual(self.sent, ["a"] * 3)
        self.clock.advance(GIVE_UP_S)
        self.assertEqual((len(self.sent), len(self.postponed)), (4, 0))

    def test_refused(self) -> None:
        """Who may not send it any more does not; nor is what fails tried for ever."""
        self.code = ReasonCode.NOT_AUTHORIZED
        self.postponed.add(later("a"))
        self.clock.advance(10)
        self.code = fail(ZeroDivisionError())
        self.postponed.add(later("b", 20))
        self.clock.pump([10, RETRY_S])
        self.assertEqual((self.sent, len(self.postponed)), (["a", "b"], 0))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_many_at_once(self) -> None:
        """Everybody's reminder is for nine o'clock: others are served between."""
        for number in range(3 * scheduled.AT_ONCE):
            self.postponed.add(later(str(number)))
        breaks: list[int] = []
        call_later = self.clock.callLater
        self.patch(self.clock, "callLater", lambda *call: breaks.append(len(self.sent)) or call_later(*call))
        self.clock.advance(10)
        self.assertEqual(breaks, [scheduled.AT_ONCE, 2 * scheduled.AT_ONCE])
        self.assertEqual(len(self.sent), 3 * scheduled.AT_ONCE)

    def test_room(self) -> None:
        """There is an end to how many, and to how much they say; it comes back when they are sent."""
        self.patch(scheduled, "MAX_POSTPONED", 1)
        self.postponed.add(later("a"))
        self.assertRaises(Refusal, self.postponed.add, later("b"))
        self.clock.advance(10)
        self.postponed.add(later("b", 20))
        self.patch(scheduled, "MAX_POSTPONED", 9)
        self.patch(scheduled, "MAX_POSTPONED_BYTES", 90)
        self.assertRaises(Refusal, self.postponed.add, later("c"))


class PageTests(PushApiCase):
    """``/v1/scheduled``"""

    def postpone(self, at: int, headers: str = ADA, **said: Any) -> str:
        id: str = self.push(headers, deliver_at=at, **{"topic": "t", **said})["id"]
        return id

    def schedule(self, id: str, due_at: float, username: str | None) -> None:
        """As ntfy's surface does it."""
        publication = Publication("n", b"ntfy", mark=PushMark(id, int(due_at)))
        who = type("Who", (), {"client_id": "", "username": username})()
        delay_s = due_at - self.rig.clock.seconds()
        self.rig.broker.schedule(self.rig.policy, who, publication, id, delay_s)

    def listed(self, query: str = "", headers: str = ADA) -> list[str]:
        told = self.ask("GET", f"/v1/scheduled{query}", headers=headers).json
        return [row["id"] for row in told["scheduled"]]

    def test_both_sorts(self) -> None:
        """In the order of their times, whichever way they came."""
        second = self.postpone(200)
        self.schedule("first", 100.0, "ada")
        self.schedule("third", 300.0, "ada")
        self.schedule("bens", 100.0, "ben")
        self.assertEqual(self.listed(), ["first", second, "third"])
        self.assertEqual(self.listed(headers=""), [])

    def test_pages(self) -> None:
        """Each once, until there is no next page."""
        ids = [self.postpone(at) for at in (100, 100, 200, 300, 400)]
        seen: list[str] = []
        after: str | None = ""
        while after is not None:
            told = self.ask("GET", f"/v1/scheduled?limit=2&after={after}", headers=ADA).json
            seen += [row["id"] for row in told["scheduled"]]
            after = told["next"]
        self.assertEqual(sorted(seen), sorted(ids))
        self.assertEqual(seen[2:], ids[2:])

    def test_one(self) -> None:
        """With all that it says; in the list there is only what tells them apart."""
        id = self.postpone(100, title="T")
        told = self.ask("GET", f"/v1/scheduled/{id}", headers=ADA).json
        said = {"topic": "t", "message": "hi", "title": "T", "deliver_at": 100}
        self.assertEqual(told, {"id": id, "time": 100, "username": "ada", **said})
        self.schedule("first", 100.0, "ada")
        told = self.ask("GET", "/v1/scheduled/first", headers=ADA).json
        self.assertEqual((told["topic"], told["message"], told["time"]), ("n", "ntfy", 100))
        (row, _) = self.ask("GET", "/v1/scheduled", headers=ADA).json["scheduled"]
        self.assertNotIn("message", row)

    def test_cancelled(self) -> None:
        """Of either sort: it is not sent."""
        device = self.device("dev", "#")
        for id in (self.postpone(100), "first"):
            self.schedule("first", 100.0, "ada")
            self.assertEqual(
                self.ask("DELETE", f"/v1/scheduled/{id}", headers=ADA).json, {"id": id, "cancelled": True}
            )
        self.rig.clock.advance(101)
        self.turn()
        self.assertEqual(payloads(device), [])
        self.assertEqual(self.ask("DELETE", "/v1/scheduled/first", headers=ADA).code, 40400)

    def test_somebody_elses(self) -> None:
        """Others have nothing to see or to cancel."""
        adas = self.postpone(100)
        self.schedule("bens", 100.0, "ben")
        for id, headers in ((adas, ""), ("bens", ADA), ("nobodys", ADA)):
            for method in ("GET", "DELETE"):
                self.assertEqual(self.ask(method, f"/v1/scheduled/{id}", headers=headers).code, 40400)

    def test_without_a_name(self) -> None:
        """Who has no name cancels what it knows the id of; it is in no list."""
        id = self.postpone(100, headers="")
        self.assertEqual(self.listed(headers=""), [])
        self.assertEqual(self.ask("DELETE", f"/v1/scheduled/{id}").status, 200)

    def test_no_page(self) -> None:
        """A beginning that no page had."""
        for query in ("after=x", "after=1", "limit=x"):
            self.assertEqual(self.ask("GET", f"/v1/scheduled?{query}").code, 40000)


class AdminTests(PageTests):
    """An administrator's view of ``/v1/scheduled``"""

    admins = ("ada",)

    def test_both_sorts(self) -> None:
        """All, also of those without a name."""
        nobodys = self.postpone(100, headers="")
        self.schedule("bens", 200.0, "ben")
        self.assertEqual(self.listed(), [nobodys, "bens"])

    def test_somebody_elses(self) -> None:
        """And may cancel them."""
        self.schedule("bens", 200.0, "ben")
        self.assertEqual(self.ask("DELETE", "/v1/scheduled/bens", headers=ADA).status, 200)
