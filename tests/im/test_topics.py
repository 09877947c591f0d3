"""`pushd.im.topics`: whose topic is which."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.im.topics import inbox, is_level


class InboxTests(SynchronousTestCase):
    """``/NAMESPACE/im/u/UID``"""

    def test_inbox(self) -> None:
        """Names may be anything that is one level."""
        self.assertEqual(inbox("chat", "anna"), "/chat/im/u/anna")
        self.assertEqual(inbox("%u", "<b>'\""), "/%u/im/u/<b>'\"")

    def test_hostile_names(self) -> None:
        """Nobody reaches another topic, or more than one, by choosing a name."""
        for name in ("", "+", "#", "a/b", "a+", "#b", "a\0"):
            self.assertRaises(ValueError, inbox, "chat", name)
            self.assertRaises(ValueError, inbox, name, "anna")

    @given(st.text(), st.text())
    def test_any_names(self, namespace: str, uid: str) -> None:
        """A topic has five levels, and the two names are two of them."""
        if is_level(namespace) and is_level(uid):
            self.assertEqual(inbox(namespace, uid).split("/"), ["", namespace, "im", "u", uid])
