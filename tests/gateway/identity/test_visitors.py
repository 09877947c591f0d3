"""`pushd.gateway.identity.visitors`: how many requests one caller may make."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.failures import network_of
from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal
from pushd.gateway.identity.guards import Caller
from pushd.gateway.identity.visitors import BURST_S, Rates, Visitors, is_local, retry_after
from pushd.people.interfaces import Token

FAR, NEAR = "192.0.2.7:4711", "127.0.0.1:4711"
TOKEN = Token("a" * 64, "ada", rate_per_s=1.0)
IN_A_BURST = int(2 * BURST_S) + 1  # at two per second


class VisitorsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 1000.0
        self.rates: Rates | None = Rates(per_user=2.0, per_address=2.0)
        self.visitors = Visitors(lambda: self.rates, lambda: self.now, network_of)

    def passed(self, caller: Caller, tries: int = 100) -> int:
        """How many of so many requests are let through."""
        count = 0
        for _ in range(tries):
            try:
                self.visitors.check(caller)
            except Refusal:
                continue
            count += 1
        return count


class RateTests(VisitorsTestCase):
    """Who has which bucket"""

    def test_a_burst_and_then_the_rate(self) -> None:
        """What was refused costs nothing."""
        ada = Caller("ada", address=FAR)
        self.assertEqual(self.passed(ada), IN_A_BURST)
        self.now += 5
        self.assertEqual(self.passed(ada), 10)

    def test_a_user_is_the_same_everywhere(self) -> None:
        """From two addresses, this machine too."""
        self.assertEqual(self.passed(Caller("ada", address=FAR)), IN_A_BURST)
        self.assertEqual(self.passed(Caller("ada", address=NEAR)), 0)
        self.assertEqual(self.passed(Caller("bob", address=FAR)), IN_A_BURST)

    def test_without_a_name_the_address_counts(self) -> None:
        """Whatever the port; of IPv6 the network."""
        self.assertEqual(self.passed(Caller(None, address=FAR)), IN_A_BURST)
        self.assertEqual(self.passed(Caller(None, address="192.0.2.7:4712")), 0)
        self.assertEqual(self.passed(Caller(None, address="[2001:db8::7]:1")), IN_A_BURST)
        self.assertEqual(self.passed(Caller(None, address="[2001:db8::8]:1")), 0)

    def test_this_machine_has_no_limit_without_a_name(self) -> None:
        """That is where proxies are, and programs of our own."""
        for address in (NEAR, "[::1]:4711", "unix:/run/pushd.sock", ""):
            self.assertEqual(self.passed(Caller(None, address=address)), 100)

    def test_a_token_with_a_rate_is_held_to_that(self) -> None:
        """And its user to its own."""
        by_token = Caller("ada", token=TOKEN, address=FAR)
        self.assertEqual(self.passed(by_token), 11)
        self.assertEqual(self.passed(Caller("ada", address=FAR)), IN_A_BURST)

    def test_a_token_without_one_is_its_user(self) -> None:
        """Many tokens are not many users."""
        for name in "ab":
            token = replace(TOKEN, hash=name * 64, rate_per_s=0.0)
            self.assertEqual(self.passed(Caller("ada", token=token), 10), 10)
        self.assertEqual(self.passed(Caller("ada")), IN_A_BURST - 20)


class LimitTests(VisitorsTestCase):
    """What is said, and what may be turned off"""

    def test_retry_after_is_when_there_is_room(self) -> None:
        """In whole seconds; whoever waits so long is let through."""
        ada = Caller("ada")
        self.passed(ada)
        refusal = self.assertRaises(Refusal, self.visitors.check, ada)
        self.assertIs(refusal.problem, problems.TOO_MANY_REQUESTS)
        self.assertEqual(refusal.headers, b"Retry-After: 1\r\n")
        self.now += 1
        self.visitors.check(ada)

    def test_never_sooner_than_it_takes(self) -> None:
        """And never "at once" to whom was just refused."""
        self.assertEqual(retry_after(3.2), b"Retry-After: 4\r\n")
        self.assertEqual(retry_after(0.001), b"Retry-After: 1\r\n")

    def test_one_switch_turns_all_off(self) -> None:
        """Also the rates of tokens."""
        self.rates = None
        self.assertEqual(self.passed(Caller("ada", token=TOKEN)), 100)
        self.assertEqual(self.passed(Caller(None, address=FAR)), 100)
        self.visitors.check_key(("endpoint", "x"), 0.001)
        self.visitors.check_key(("endpoint", "x"), 0.001)

    def test_a_rate_of_nothing_is_no_limit(self) -> None:
        """Each by itself."""
        self.rates = Rates()
        self.assertEqual(self.passed(Caller("ada")), 100)
        self.assertEqual(self.passed(Caller(None, address=FAR)), 100)
        self.assertEqual(self.passed(Caller("ada", token=TOKEN)), 11)

    def test_a_reload_counts_at_once(self) -> None:
        """For those who wait already, too."""
        self.passed(Caller("ada"))
        self.rates = Rates(per_user=0.0)
        self.assertEqual(self.passed(Caller("ada")), 100)

    def test_a_request_may_count_for_many(self) -> None:
        """A batch is let in by its first, and pays for all."""
        ada = Caller("ada")
        self.visitors.check(ada, cost=50)
        self.assertEqual(self.passed(ada), 0)
        self.now += 30
        self.assertGreater(self.passed(ada), 0)

    def test_or_for_none(self) -> None:
        """Somebody else is charged."""
        ada = Caller("ada")
        self.passed(ada)
        self.visitors.check(ada, cost=0)

    def test_other_keys(self) -> None:
        """Endpoints have buckets beside those of callers."""
        for _ in range(11):
            self.visitors.check_key(("endpoint", "x"), 1.0)
        self.assertRaises(Refusal, self.visitors.check_key, ("endpoint", "x"), 1.0)
        self.visitors.check_key(("endpoint", "y"), 1.0)

    def test_local_addresses(self) -> None:
        """With and without a port."""
        for address in ("127.0.0.1", "127.8.9.1:1", "[::1]:0", "unix"):
            self.assertTrue(is_local(address), address)
        for address in ("10.0.0.1:1", "[2001:db8::1]:1", "1.127.0.0:1"):
            self.assertFalse(is_local(address), address)
