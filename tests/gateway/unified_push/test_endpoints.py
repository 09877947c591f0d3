"""`pushd.gateway.unified_push.endpoints`: which addresses there are that a push may be sent to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.notes import Notes
from pushd.broker.records import Note
from pushd.gateway.http.problems import Refusal
from pushd.gateway.unified_push import endpoints
from pushd.gateway.unified_push.endpoints import GONE_S, KIND, RENEW_S, UNUSED_S, Endpoint, Endpoints, key_of
from tests.driver import Rig

ENDPOINT = Endpoint("an id", "anna", "port 80", "upX", vapid="a key", created_at=5)


class EndpointsCase(SynchronousTestCase):
    """Over notes that a restart finds again."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.now = 1.0
        self.notes = Notes(self.rig.store, self.rig.broker.wheel, lambda: self.now)
        self.endpoints = self.started()

    def started(self) -> Endpoints:
        """Those of a process that starts now."""
        return Endpoints(self.notes, self.rig.store.barrier, lambda: self.now)

    def register(self, endpoint: Endpoint = ENDPOINT) -> str:
        secret: str = self.result(self.endpoints.register(endpoint))
        return secret

    def result(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def assert_refused(self, code: int, secret: str) -> None:
        refusal = self.assertRaises(Refusal, self.endpoints.find, secret)
        self.assertEqual(refusal.problem.code, code)


class CapabilityTests(EndpointsCase):
    def test_found_by_its_secret(self) -> None:
        """An endpoint is what it was registered as, also for the process that comes next."""
        secret = self.register()
        self.assertEqual(self.endpoints.find(secret), ENDPOINT)
        self.assertEqual(self.started().find(secret), ENDPOINT)

    def test_secret(self) -> None:
        """It has 256 bits, is another each time, and stands in no note."""
        first, second = self.register(), self.register(replace(ENDPOINT, id="another"))
        self.assertRegex(first, "^[-_A-Za-z0-9]{43}$")
        self.assertNotEqual(first, second)
        self.assertNotIn(first, repr(self.notes.of_kind(KIND)))

    def test_unknown(self) -> None:
        """A secret that is none, and an id, lead nowhere."""
        self.register()
        for secret in ("", "x" * 43, "an id", "ä"):
            self.assert_refused(40400, secret)

    def test_durable_before_it_is_told(self) -> None:
        """Nobody is given an endpoint that a crash could take away again."""
        stored: Deferred[None] = Deferred()
        slow = Endpoints(self.notes, lambda: stored, lambda: self.now)
        secret = Deferred.fromCoroutine(slow.register(ENDPOINT))
        self.assertNoResult(secret)
        stored.callback(None)
        self.assertEqual(slow.find(self.successResultOf(secret)), ENDPOINT)


class EndTests(EndpointsCase):
    def test_removed(self) -> None:
        """It is gone for a month, also after a restart, and unknown from then on."""
        secret = self.register()
        self.result(self.endpoints.remove(ENDPOINT))
        self.assert_refused(41000, secret)
        self.endpoints = self.started()
        self.assert_refused(41000, secret)
        self.now += GONE_S + 1
        self.assert_refused(40400, secret)

    def test_unused(self) -> None:
        """One that nobody pushes to for a year is over, and is not listed."""
        secret = self.register()
        self.now += UNUSED_S + 1
        self.assert_refused(40400, secret)
        self.assertEqual(self.endpoints.of_owner("anna"), [])

    def test_in_use(self) -> None:
        """One that is pushed to lives on; that is noted once a month, and not for each push."""
        secret = self.register()
        self.endpoints.pushed_to(secret)
        self.assertEqual(self.until(secret), 1 + UNUSED_S)
        self.now += RENEW_S + 1
        self.endpoints.pushed_to(secret)
        self.assertEqual(self.until(secret), RENEW_S + 2 + UNUSED_S)

    def until(self, secret: str) -> int:
        note = self.notes.get(KIND, key_of(secret))
        assert isinstance(note, Note)
        return note.until


class OwnerTests(EndpointsCase):
    def test_own(self) -> None:
        """A user has its own endpoints, the oldest first, and those of nobody else; removed ones are none."""
        older, nobodys = replace(ENDPOINT, id="b", created_at=1), replace(ENDPOINT, id="c", owner=None)
        for endpoint in (ENDPOINT, older, nobodys, replace(ENDPOINT, id="d", owner="ben")):
            self.register(endpoint)
        self.assertEqual(self.started().of_owner("anna"), [older, ENDPOINT])
        self.result(self.endpoints.remove(older))
        self.assertEqual(self.endpoints.of_owner("anna"), [ENDPOINT])
        self.assertEqual(self.started().of_owner("anna"), [ENDPOINT])

    def test_by_id(self) -> None:
        """An owner finds it by its id; to others the id means nothing."""
        self.register()
        self.assertEqual(self.endpoints.of_id("anna", "an id"), ENDPOINT)
        for owner in ("ben", None):
            self.assertIsNone(self.endpoints.of_id(owner, "an id"))

    def test_too_many(self) -> None:
        """A user has room for some; what is over or removed makes room again."""
        with patch.object(endpoints, "MAX_OF_OWNER", 2):
            self.register()
            self.now += UNUSED_S
            self.register(replace(ENDPOINT, id="b"))
            self.register(replace(ENDPOINT, id="c"))
            refused = self.failureResultOf(Deferred.fromCoroutine(self.endpoints.register(ENDPOINT)), Refusal)
            self.assertEqual(refused.value.problem.code, 42900)
            self.result(self.endpoints.remove(replace(ENDPOINT, id="b")))
            self.register(replace(ENDPOINT, id="d"))

    def test_all_together_too_many(self) -> None:
        """Where notes have no room, an endpoint is refused rather than forgotten."""
        self.notes.limit(KIND, 0)
        refused = self.failureResultOf(Deferred.fromCoroutine(self.endpoints.register(ENDPOINT)), Refusal)
        self.assertEqual(refused.value.problem.code, 50700)

    def test_note_of_a_newer_pushd(self) -> None:
        """A note that cannot be read is no endpoint, and disturbs none of the others."""
        secret = self.register()
        for number, value in enumerate((b"[]", b"{", b'{"id":"x"}', b'{"id":"x","colour":"red"}')):
            self.notes.set(KIND, str(number), value, UNUSED_S)
        self.endpoints = self.started()
        self.assertEqual(self.endpoints.of_owner("anna"), [ENDPOINT])
        self.assertEqual(self.endpoints.find(secret), ENDPOINT)
        self.assertTrue(self.flushLoggedErrors() == [])
