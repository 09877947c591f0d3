"""`pushd.gateway.identity.scopes`: what a token is for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from pushd.broker.interfaces import Access, IAuthorizer
from pushd.gateway.identity.guards import Caller
from pushd.gateway.identity.scopes import WHOLE, Scope, ScopeAuthorizer, covers
from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.topics import is_valid_filter, matches

LEVELS = st.sampled_from(["a", "b", "", "+", "$x"])
NAMES = st.lists(st.sampled_from(["a", "b", "", "$x"]), min_size=1, max_size=4).map("/".join).filter(bool)
FILTERS = (
    st.builds(
        lambda levels, end: "/".join([*levels, *end]),
        st.lists(LEVELS, min_size=1, max_size=4),
        st.sampled_from([[], ["#"]]),
    )
    .filter(is_valid_filter)
    .filter(bool)
)


class CoversTests(SynchronousTestCase):
    """Whether one filter is within another"""

    def test_examples(self) -> None:
        """Level by level."""
        for filter, wanted, expected in (
            ("alerts/#", "alerts/#", True),
            ("alerts/#", "alerts", True),
            ("alerts/#", "alerts/+/door", True),
            ("alerts/#", "#", False),
            ("alerts/+", "alerts/#", False),
            ("alerts/+", "alerts/+", True),
            ("alerts/a", "alerts/+", False),
            ("+/a", "b/a", True),
            ("#", "+/#", True),
            ("#", "$SYS/#", False),
            ("+/broker", "$SYS/broker", False),
            ("$SYS/#", "$SYS/broker/+", True),
            ("#", "$share/g/a", False),
            ("a", "a/b", False),
            ("a/b", "a", False),
        ):
            self.assertIs(covers(filter, wanted), expected, (filter, wanted))

    @given(FILTERS, FILTERS, NAMES)
    def test_what_is_covered_is_matched(self, filter: str, wanted: str, name: str) -> None:
        """Whoever may listen to `wanted` hears nothing that `filter` does not match."""
        if covers(filter, wanted) and matches(wanted, name):
            self.assertTrue(matches(filter, name))

    @given(FILTERS)
    def test_each_covers_itself(self, filter: str) -> None:
        """A token for a filter is for this filter."""
        self.assertTrue(covers(filter, filter))

    @given(FILTERS, NAMES)
    def test_a_name_is_covered_if_it_is_matched(self, filter: str, name: str) -> None:
        """To listen to one topic is to read it."""
        self.assertIs(covers(filter, name), matches(filter, name))


class ScopeTests(SynchronousTestCase):
    """Reading and writing"""

    def test_writes_and_reads_are_apart(self) -> None:
        """One says nothing about the other; an empty list is nothing at all."""
        scope = Scope(writes=("alerts/#",), reads=())
        self.assertTrue(scope.allows(Access.WRITE, "alerts/a"))
        self.assertFalse(scope.allows(Access.WRITE, "other"))
        self.assertFalse(scope.allows(Access.READ, "alerts/a"))
        self.assertFalse(scope.allows(Access.SUBSCRIBE, "alerts/a"))

    def test_without_bounds(self) -> None:
        """A side that is not bound is as it was, also for filters."""
        scope = Scope(writes=())
        self.assertTrue(scope.allows(Access.READ, "$SYS/x"))
        self.assertTrue(scope.allows(Access.SUBSCRIBE, "#"))
        self.assertEqual((WHOLE.is_whole, scope.is_whole), (True, False))


class Tapped:
    """Listens for somebody."""

    username, client_id = "ada", ""

    def __init__(self, principal: Caller) -> None:
        self.principal = principal


class AuthorizerTests(SynchronousTestCase):
    """Asked before the rules"""

    def setUp(self) -> None:
        self.authorizer = ScopeAuthorizer()
        self.caller = Caller("ada", scope=Scope(("a",), ("b/#",)))

    def test_it_is_one(self) -> None:
        """The broker may ask it."""
        verifyObject(IAuthorizer, self.authorizer)

    def test_it_never_allows(self) -> None:
        """The user's own rules are still to be asked."""
        self.assertIsNone(self.authorizer.authorize(self.caller, Access.WRITE, "a"))
        self.assertIsNone(self.authorizer.authorize(self.caller, Access.SUBSCRIBE, "b/+"))
        self.assertIsNone(self.authorizer.authorize(Caller("ada"), Access.WRITE, "x"))

    def test_what_is_out_of_scope_is_refused(self) -> None:
        """Whatever the user may."""
        for access, topic in ((Access.WRITE, "b/c"), (Access.READ, "a"), (Access.SUBSCRIBE, "#")):
            self.assertIs(self.authorizer.authorize(self.caller, access, topic), ReasonCode.NOT_AUTHORIZED)

    def test_a_tap_is_of_somebody(self) -> None:
        """Each message is asked about with the tap, and not with the caller."""
        tap = Tapped(self.caller)
        self.assertIsNone(self.authorizer.authorize(tap, Access.READ, "b/c"))
        self.assertIs(self.authorizer.authorize(tap, Access.READ, "a"), ReasonCode.NOT_AUTHORIZED)
