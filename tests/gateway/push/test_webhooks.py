"""`pushd.gateway.push.webhooks`: telling of an end, until somebody has heard it."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.notes import Notes
from pushd.broker.wheel import TimingWheel
from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal
from pushd.gateway.push import webhooks
from pushd.gateway.push.outbound import NoAnswer, NotAllowed
from pushd.gateway.push.webhooks import BACK_OFF_S, KIND, LAST_CALL_S, Webhooks, signature
from pushd.storage.memory import MemoryStore
from tests.gateway.push_api_case import HOOK, Outside

DAY_S = 86_400.0


class WebhookCase(SynchronousTestCase):
    """`ends` are the pushes that there is something to tell of."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.rightNow = 1_700_000_000.0
        self.outside = Outside()
        self.secret: bytes | None = b"open sesame"
        self.ends: dict[str, dict[str, Any]] = {"p1": {"id": "p1", "complete": True}}
        self.notes = Notes(MemoryStore(), TimingWheel(self.clock, self.clock.seconds), self.clock.seconds)
        self.hooks = self.make()

    def make(self) -> Webhooks:
        return Webhooks(
            self.notes, self.outside, lambda: self.secret, self.clock, self.clock.seconds, self.ends.get
        )

    def restart(self) -> None:
        """The next process, which has the same notes."""
        self.hooks.stop()
        self.hooks = self.make()
        self.hooks.start()
        self.clock.advance(0)

    def tell(self, id: str = "p1") -> None:
        """A push with a webhook has come to its end."""
        self.hooks.expect(id, HOOK, self.clock.seconds() + DAY_S)
        self.hooks.complete(id)
        self.clock.advance(0)

    def fail(self, msg: Any = None) -> Any:
        raise self.failureException(msg)


class TellingTests(WebhookCase):
    """What is sent."""

    def test_request(self) -> None:
        """The body says which push, and the signature is of the time and the body."""
        self.tell()
        ((url, headers, body),) = self.outside.asked
        self.assertEqual((url, headers["X-Pushd-Delivery"]), (HOOK, "p1"))
        self.assertEqual(json.loads(body), {"event": "push", "id": "p1", "complete": True})
        at, signed = (part.partition("=")[2] for part in headers["X-Pushd-Signature"].split(","))
        expected = hmac.new(b"open sesame", at.encode() + b"." + body, hashlib.sha256).hexdigest()
        self.assertEqual((at, signed), ("1700000000", expected))

    def test_signature_is_known(self) -> None:
        """One that was made by another program (``openssl dgst -sha256 -hmac``)."""
        self.assertEqual(
            signature(b"key", 5, b"{}"),
            "t=5,v1=" + hmac.new(b"key", b"5.{}", "sha256").hexdigest(),
        )

    def test_heard(self) -> None:
        """Any good answer ends it, and nothing is kept."""
        self.tell()
        self.outside.answer(204)
        self.clock.advance(DAY_S)
        self.assertEqual((len(self.outside.asked), len(self.hooks), self.notes.of_kind(KIND)), (1, 0, []))

    def test_once(self) -> None:
        """An end that is told of twice is sent once."""
        self.tell()
        self.hooks.complete("p1")
        self.hooks.complete("unknown")
        self.clock.advance(1)
        self.assertEqual(len(self.outside.asked), 1)

    def test_last_call(self) -> None:
        """A push without an end is told of as it is, before it is forgotten."""
        self.ends["p1"]["complete"] = False
        self.hooks.expect("p1", HOOK, self.clock.seconds() + DAY_S)
        self.clock.advance(DAY_S - LAST_CALL_S - 1)
        self.assertEqual(self.outside.asked, [])
        self.clock.advance(1)
        self.clock.advance(0)
        self.assertFalse(json.loads(self.outside.asked[0][2])["complete"])

    def test_nothing_to_tell(self) -> None:
        """A push that is forgotten has nobody told of it."""
        self.ends.clear()
        self.tell()
        self.assertEqual((self.outside.asked, len(self.hooks)), ([], 0))


class AgainTests(WebhookCase):
    """When it did not work."""

    def test_back_off(self) -> None:
        """It is tried again, ever later, with a new signature and the same body; then no more."""
        self.tell()
        for wait_s in BACK_OFF_S:
            self.outside.answer(503)
            self.clock.advance(wait_s - 1)
            before = len(self.outside.asked)
            self.clock.advance(1)
            self.assertEqual(len(self.outside.asked), before + 1)
        self.outside.answer(503)
        self.clock.advance(DAY_S)
        self.assertEqual(len(self.outside.asked), len(BACK_OFF_S) + 1)
        self.assertEqual(len({body for _, _, body in self.outside.asked}), 1)
        signatures = {headers["X-Pushd-Signature"] for _, headers, _ in self.outside.asked}
        self.assertEqual(len(signatures), len(BACK_OFF_S) + 1)
        self.assertEqual(self.notes.of_kind(KIND), [])

    def test_no_answer(self) -> None:
        """Silence is a failure like another, and so is a redirect."""
        self.tell()
        self.outside.waiting.pop().errback(NoAnswer("silence"))
        self.clock.advance(BACK_OFF_S[0])
        self.outside.answer(302)
        self.clock.advance(BACK_OFF_S[1])
        self.assertEqual(len(self.outside.asked), 3)

    def test_ends_at_once(self) -> None:
        """Who says 410 is not asked again, nor is a name that has become private."""
        self.tell()
        self.outside.answer(410)
        self.ends["p2"] = {"id": "p2"}
        self.tell("p2")
        self.outside.waiting.pop().errback(NotAllowed("private"))
        self.clock.advance(DAY_S)
        self.assertEqual((len(self.outside.asked), len(self.hooks)), (2, 0))

    def test_restart_between_attempts(self) -> None:
        """The next process goes on where this one was."""
        self.tell()
        self.outside.answer(500)
        self.restart()
        self.assertEqual(len(self.outside.asked), 1)
        self.clock.advance(BACK_OFF_S[0])
        self.assertEqual(len(self.outside.asked), 2)

    def test_restart_during_one(self) -> None:
        """What was on its way is sent again: whoever got it knows the push by its id."""
        self.tell()
        self.restart()
        self.assertEqual(len(self.outside.asked), 2)
        self.outside.answer(200)
        self.outside.answer(200)
        self.assertEqual(len(self.hooks), 0)

    def test_restart_before_the_end(self) -> None:
        """What is waited for is not forgotten."""
        self.ends["p1"]["complete"] = False
        self.hooks.expect("p1", HOOK, self.clock.seconds() + DAY_S)
        self.restart()
        self.assertEqual(self.outside.asked, [])
        self.hooks.complete("p1")
        self.clock.advance(0)
        self.assertEqual(len(self.outside.asked), 1)

    def test_end_during_a_restart(self) -> None:
        """An end that the last process did not come to tell is told by the next."""
        self.hooks.expect("p1", HOOK, self.clock.seconds() + DAY_S)
        self.restart()
        self.assertEqual(len(self.outside.asked), 1)


class CheckTests(WebhookCase):
    """Which are taken."""

    def refused(self, url: str = HOOK) -> Any:
        return self.assertRaises(Refusal, self.hooks.check, url).problem

    def test_good(self) -> None:
        """An https URL."""
        self.hooks.check(HOOK)

    def test_without_a_secret(self) -> None:
        """Nobody could tell that it is from us."""
        self.secret = None
        self.assertIs(self.refused(), problems.WEBHOOKS_OFF)

    def test_private(self) -> None:
        """Neither http nor this machine."""
        for url in ("http://hooks.example/", "https://127.0.0.1/", "x"):
            self.assertIs(self.refused(url), problems.WEBHOOK_INVALID)

    def test_too_many(self) -> None:
        """There is an end to what waits."""
        self.patch(webhooks, "MAX_WAITING", 1)
        self.hooks.expect("p1", HOOK, self.clock.seconds() + DAY_S)
        self.assertIs(self.refused(), problems.NO_ROOM_FOR_WEBHOOK)

    def test_log_shows_no_secrets(self) -> None:
        """Of a URL the log has only the host."""
        hook = webhooks.Hook("p1", "https://hooks.example/secret?token=t", None, 0, 0.0)
        self.assertEqual(hook.host, "hooks.example")
