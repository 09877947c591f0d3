"""`pushd.gateway.ntfy.messages`: ntfy's message object, and the properties that stand for it."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.message import Message, PushMark
from pushd.gateway.ntfy.messages import as_json, marked_as_json, message_line, message_object, properties_of
from pushd.gateway.ntfy.parameters import NONE_SAID, Parameters
from pushd.mqtt.codes import PropertyId

MARK = PushMark("AAAAAAAAAAAA", 1_700_000_000)


def message(payload: bytes, parameters: Parameters = NONE_SAID) -> Message:
    """A push to topic "t", as the broker has it."""
    made = Message("t", payload, 1, False, properties_of(parameters))
    made.push = MARK
    return made


def shown(payload: bytes, parameters: Parameters = NONE_SAID) -> dict[str, Any]:
    """The object for that push."""
    line = message_line("t", message(payload, parameters))
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    loaded: dict[str, Any] = json.loads(line)
    return loaded


def shown_of_client(*pairs: tuple[str, str]) -> dict[str, Any]:
    """The object for what a client of version 5 has published with these User Properties."""
    made = Message("t", b"x", properties={PropertyId.USER_PROPERTY: list(pairs)})
    made.push = MARK
    return json.loads(message_line("t", made))  # type: ignore[no-any-return]


class MessageTests(SynchronousTestCase):
    """What a caller learns of its push, and readers of streams."""

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

    def test_what_is_kept_says_for_how_long(self) -> None:
        """ntfy's ``expires``."""
        self.assertEqual(message_object("t", message(b"x"), until=1_700_043_200)["expires"], 1_700_043_200)

    def test_an_event_has_a_sequence_and_no_message(self) -> None:
        """There is nothing to show, but to take away."""
        said = message_object("t", message(b"", Parameters(sequence_id="s1")), "message_delete")
        self.assertEqual((said["event"], said["sequence_id"]), ("message_delete", "s1"))
        self.assertNotIn("message", said)

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


class PropertyTests(SynchronousTestCase):
    """What MQTT subscribers of version 5 get"""

    def test_a_push_of_which_nothing_is_said_has_none(self) -> None:
        """Most have only a text."""
        self.assertEqual(properties_of(NONE_SAID), {})

    def test_each_parameter_is_a_property_of_its_name(self) -> None:
        """As texts; a list of tags with commas."""
        said = properties_of(Parameters(title="T", priority=4, tags=("a", "b"), sequence_id="s"))
        pairs = [("title", "T"), ("priority", "4"), ("tags", "a,b"), ("sequence_id", "s")]
        self.assertEqual(said, {PropertyId.USER_PROPERTY: pairs})

    def test_actions_and_attachments_survive(self) -> None:
        """They are JSON on the way."""
        action = {"id": "action1", "action": "view", "label": "Open", "url": "https://example.com/"}
        attachment = {"name": "cat.jpg", "type": "image/jpeg", "url": "https://example.com/cat.jpg"}
        made = Message("t", b"", 1, False, properties_of(Parameters(actions=(dict(action),)), attachment))
        made.push = MARK
        said = message_object("t", made)
        self.assertEqual((said["actions"], said["attachment"]), ([action], attachment))

    def test_a_client_of_version_5_says_the_same(self) -> None:
        """One message space: it has a title on both sides."""
        said = shown_of_client(("title", "T"), ("priority", "high"), ("tags", "a, b"), ("other", "x"))
        self.assertEqual((said["title"], said["priority"], said["tags"]), ("T", 4, ["a", "b"]))
        self.assertNotIn("other", said)

    def test_what_means_nothing_is_left_out(self) -> None:
        """Home Assistant's client stops at a priority of 6."""
        for name, value in {
            "priority": "6",
            "icon": "javascript:alert(1)",
            "actions": "[1]",
            "attachment": '{"name":"x"}',
            "sequence_id": "a/b",
            "tags": " , ",
            "title": "",
            "event": "open",
        }.items():
            plain = shown_of_client()
            self.assertEqual(shown_of_client((name, value)), plain, name)

    @given(st.lists(st.tuples(st.text(), st.text())))
    def test_any_properties_make_an_object(self, pairs: list[tuple[str, str]]) -> None:
        """Whatever clients say."""
        self.assertEqual(shown_of_client(*pairs)["message"], "x")


class JsonPayloadTests(SynchronousTestCase):
    """``format=json``: the message object is the payload"""

    def test_the_payload_is_the_object(self) -> None:
        """And streams show it as they would the other."""
        plain = message(b"hi", Parameters(title="T"))
        whole = Message("t", as_json("t", plain), 1)
        whole.push = marked_as_json(MARK)
        self.assertEqual(message_object("t", whole), message_object("t", plain))

    def test_a_copy_on_another_topic_says_so(self) -> None:
        """A routing rule has put it there."""
        whole = Message("u", as_json("t", message(b"hi")), 1)
        whole.push = marked_as_json(MARK)
        self.assertEqual(message_object("u", whole)["topic"], "u")

    def test_a_payload_that_a_plugin_made_is_text(self) -> None:
        """It need not be an object any more."""
        whole = Message("t", b"[]", 1)
        whole.push = marked_as_json(MARK)
        self.assertEqual(message_object("t", whole), message_object("t", message(b"[]")))
