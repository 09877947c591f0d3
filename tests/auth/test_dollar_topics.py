"""`pushd.auth.dollar_topics`: what no rule can open."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.dollar_topics import is_closed
from pushd.broker.interfaces import Access


class IsClosedTests(SynchronousTestCase):
    """Mosquitto's rules for topics that begin with a dollar sign."""

    def test_nobody_publishes_into_sys(self) -> None:
        """The broker's own figures cannot be forged, nor anything that begins like them."""
        for topic in ("$SYS/broker/uptime", "$SYS", "$SYSTEM/x", "$SYS/broker/connection/a/b/state"):
            self.assertTrue(is_closed(Access.WRITE, topic), topic)

    def test_nobody_commands(self) -> None:
        """``$CONTROL/`` is for commands to a broker, and none are taken here."""
        for topic in ("$CONTROL", "$CONTROL/broker/v1"):
            self.assertTrue(is_closed(Access.WRITE, topic), topic)
            self.assertFalse(is_closed(Access.READ, topic), topic)

    def test_a_bridge_may_tell_its_state(self) -> None:
        """Rules decide about the one topic that a bridge publishes to."""
        self.assertFalse(is_closed(Access.WRITE, "$SYS/broker/connection/bridge-1/state"))

    def test_reading_sys_is_for_the_rules(self) -> None:
        """Whether somebody sees ``$SYS`` is a matter of the ACL."""
        self.assertFalse(is_closed(Access.READ, "$SYS/broker/uptime"))
        self.assertFalse(is_closed(Access.SUBSCRIBE, "$SYS/#"))

    def test_share_is_for_subscribing_only(self) -> None:
        """No message is ever published to or delivered under ``$share``."""
        self.assertTrue(is_closed(Access.WRITE, "$share/g/a"))
        self.assertTrue(is_closed(Access.READ, "$share/g/a"))
        self.assertFalse(is_closed(Access.SUBSCRIBE, "$share/g/a"))

    def test_other_topics_are_open(self) -> None:
        """A dollar sign elsewhere, or another word behind it, is nothing special."""
        for topic in ("a/$SYS", "SYS", "$CONTROLS/x"):
            self.assertFalse(is_closed(Access.WRITE, topic), topic)
