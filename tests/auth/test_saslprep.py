"""`pushd.auth.saslprep`: RFC 4013, by its own examples and the rules behind them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.saslprep import saslprep

# RFC 4013 §3, the examples that are accepted, and some of the rules they leave out.
PREPARED = {
    "I\u00adX": "IX",  # a soft hyphen counts for nothing
    "user": "user",
    "USER": "USER",
    "\u00aa": "a",
    "\u2168": "IX",
    "two words": "two words",
    "ideographic\u3000space": "ideographic space",
    "a\u0308": "ä",
    "\u0627\u0031\u0628": "\u0627\u0031\u0628",  # digits have no direction
    "🔑": "🔑",  # younger than Unicode 3.2
}

REFUSED = [
    "",
    "\u00ad",  # nothing is left of it
    "\u0007",
    "a\x7f",
    "\u0627\u0031",  # begins from right to left, and does not end so
    "a\u0627",
    "\ue000",  # private use
    "\ud800",
    "\ufffd",
    "\u2028",
    "\U000e0041",  # a language tag
]


class SaslprepTests(SynchronousTestCase):
    """RFC 4013"""

    def test_spellings_that_look_the_same_become_one(self) -> None:
        """A password is right however a keyboard composes it."""
        for text, prepared in PREPARED.items():
            self.assertEqual(saslprep(text), prepared, ascii(text))

    def test_what_cannot_be_compared_is_refused(self) -> None:
        """Control characters, mixed directions and the like; the message does not show the text."""
        for text in REFUSED:
            error = self.assertRaises(ValueError, saslprep, text)
            self.assertTrue(not text or text not in str(error), ascii(text))

    @given(st.text(st.characters(exclude_categories=())))
    def test_prepared_text_stays_as_it_is(self, text: str) -> None:
        """No text raises anything but `ValueError`; preparing twice is preparing once."""
        try:
            prepared = saslprep(text)
        except ValueError:
            return
        self.assertEqual(saslprep(prepared), prepared)
