"""`pushd.gateway.messages`: ntfy's message object."""

from __future__ import annotations

import base64
import json
import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.messages import Message, new_id
from pushd.gateway.parameters import NONE_SAID, Parameters


def shown(payload: bytes, parameters: Parameters = NONE_SAID) -> dict[str, object]:
    """The object for a push to topic "t"."""
    line = Message("AAAAAAAAAAAA", 1_700_000_000, "t", payload, parameters).to_json()
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    loaded: dict[str, object] = json.loads(line)
    return loaded


class MessageTests(SynchronousTestCase):
    """What a caller learns of its push."""

    def test_a_plain_push_has_the_five_fields_and_no_other(self) -> None:
        """What was not said is not shown."""
        expected = {"id": "AAAAAAAAAAAA", "time": 1_700_000_000, "event": "message"}
        expected |= {"topic": "t", "message": "hi"}
        self.assertEqual(shown(b"hi"), expected)

    def test_what_was_said_is_shown(self) -> None:
        """Markdown is said as a content type, as in ntfy."""
        said = shown(b"", Parameters(title="T", priority=5, tags=("a", "b"), click="x:y", markdown=True))
        self.assertEqual((said["title"], said["priority"], said["tags"]), ("T", 5, ["a", "b"]))
        self.assertEqual((said["click"], said["content_type"]), ("x:y", "text/markdown"))

    def test_bytes_that_are_no_text_come_back_in_base64(self) -> None:
        """JSON cannot carry them; ``encoding`` says what was done."""
        said = shown(b"\xff\x00")
        self.assertEqual((said["message"], said["encoding"]), ("/wA=", "base64"))

    @given(st.binary())
    def test_any_payload_can_be_read_back(self, payload: bytes) -> None:
        """Nothing is lost between the bytes that subscribers get and the object."""
        said = shown(payload)
        text = str(said["message"])
        self.assertEqual(base64.b64decode(text) if "encoding" in said else text.encode(), payload)


class NewIdTests(SynchronousTestCase):
    """12 of ``[A-Za-z0-9]``"""

    def test_ids_have_the_form_that_clients_expect_and_differ(self) -> None:
        """A thousand in a row have no two alike."""
        ids = {new_id() for _ in range(1000)}
        self.assertEqual(len(ids), 1000)
        self.assertTrue(all(re.fullmatch("[A-Za-z0-9]{12}", one) for one in ids))
