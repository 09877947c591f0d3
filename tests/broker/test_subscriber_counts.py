"""`pushd.broker.subscriber_counts`: how many subscribe to what, kept by the router and the shared groups."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.subscriber_counts import SubscriberCounts
from pushd.mqtt.packets import Unsubscribe
from tests.driver import Rig


class SubscriberCountsTests(SynchronousTestCase):
    """The counts themselves."""

    @given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=100))
    def test_top(self, changes: list[tuple[str, bool]]) -> None:
        """Whatever comes and goes, the filters with the most come first, and none with nobody at all."""
        counts, exact = SubscriberCounts(), Counter[str]()
        for filter, more in changes:
            if more or exact[filter]:
                exact[filter] += 1 if more else -1
                counts.change(filter, 1 if more else -1)
        top = counts.top(10)
        assert dict(top) == dict(+exact) == {filter: counts.of(filter) for filter in counts}
        assert [count for _, count in top] == sorted((+exact).values(), reverse=True)

    def test_only_so_many(self) -> None:
        """Filters with one subscriber fill up what is left."""
        counts = SubscriberCounts()
        for filter in ("a", "b", "b", "c"):
            counts.change(filter, 1)
        self.assertEqual(counts.top(2), [("b", 2), ("a", 1)])
        self.assertEqual(len(counts), 3)

    def test_changes(self) -> None:
        """Whoever wants to follow them is told the filters, from when he asks."""
        counts = SubscriberCounts()
        counts.change("a", 1)
        counts.changed = set()
        counts.change("b", 1)
        counts.change("b", -1)
        self.assertEqual(counts.changed, {"b"})


class CountingTests(SynchronousTestCase):
    """What the broker counts."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.counts = self.rig.broker.router.subscriber_counts = SubscriberCounts()
        self.ada, self.bob = self.rig.connect("ada"), self.rig.connect("bob", clean=False)

    def test_each_session_once(self) -> None:
        """A subscription that replaces one to the same filter is no second one."""
        for peer in (self.ada, self.bob, self.bob):
            peer.subscribe("a/+")
        self.bob.subscribe("a/b")
        self.assertEqual(self.counts.top(9), [("a/+", 2), ("a/b", 1)])

    def test_members_of_shared_groups(self) -> None:
        """Each counts for the filter of the group, beside those who have it for themselves."""
        self.ada.subscribe("$share/g/t")
        self.bob.subscribe("$share/g/t")
        self.bob.subscribe("$share/h/t")
        self.ada.subscribe("t")
        self.assertEqual(self.counts.top(9), [("t", 4)])

    def test_going(self) -> None:
        """UNSUBSCRIBE and the end of a session take away; a session that is kept stays counted."""
        for filter in ("a", "$share/g/a", "b/#"):
            self.ada.subscribe(filter)
            self.bob.subscribe(filter)
        self.ada.drop()
        self.bob.drop()
        self.assertEqual(self.counts.top(9), [("a", 2), ("b/#", 1)])
        bob = self.rig.connect("bob", clean=False)
        bob.send(Unsubscribe(1, ["a", "$share/g/a", "never"]))
        self.assertEqual(self.counts.top(9), [("b/#", 1)])
        self.rig.connect("bob", clean=True)
        self.assertEqual(self.counts.top(9), [])
