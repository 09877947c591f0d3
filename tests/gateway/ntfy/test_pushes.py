"""`pushd.gateway.ntfy.pushes`: bodies, in their three kinds."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.http import problems
from pushd.gateway.http.body_limits import MESSAGE_LIMIT_BYTES
from pushd.gateway.http.problems import Problem, Refusal
from pushd.gateway.ntfy.pushes import push_of_bytes, push_of_json, push_of_text
from pushd.mqtt.codes import QoS

NAMES = st.sampled_from(["topic", "message", "title", "tags", "priority", "actions", "qos", "x"])
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner),
    max_leaves=12,
)


class TextTests(SynchronousTestCase):
    """``POST /<topic>``"""

    def test_text_is_trimmed(self) -> None:
        """``echo`` ends its line; nobody means that."""
        self.assertEqual(push_of_text("t", " grüße\n".encode(), [], {}).payload, "grüße".encode())

    def test_the_parameter_is_used_when_the_body_is_empty(self) -> None:
        """And not when it is not."""
        query = {b"message": [b"said"]}
        self.assertEqual(push_of_text("t", b"", [], query).payload, b"said")
        self.assertEqual(push_of_text("t", b"body", [], query).payload, b"body")

    def test_of_an_empty_text_nothing_is_left(self) -> None:
        """What it becomes depends on what else there is."""
        push = push_of_text("t", b" \n", [], {})
        self.assertEqual((push.payload, push.is_text), (b"", True))

    def test_what_is_not_text_is_a_file(self) -> None:
        """So is what has a file's name, but not what tells of a file elsewhere."""
        self.assertTrue(push_of_text("t", b"\xff\xd8", [], {}).is_file)
        self.assertTrue(push_of_text("t", b"text", [], {b"filename": [b"a.txt"]}).is_file)
        elsewhere = {b"filename": [b"a.txt"], b"attach": [b"https://example.com/a"]}
        self.assertFalse(push_of_text("t", b"text", [], elsewhere).is_file)

    def test_unifiedpush_keeps_every_byte(self) -> None:
        """It is ciphertext: trimmed it would be garbage."""
        self.assertEqual(push_of_text("up1", b" \xff\n", [], {b"up": [b"1"]}).payload, b" \xff\n")


class BytesTests(SynchronousTestCase):
    """``POST /v1/publish/<topic>``"""

    def test_bytes_arrive_as_sent(self) -> None:
        """Blanks, NULs, and nothing at all, which with retain clears a topic."""
        for body in (b" a\n", b"\x00\xff", b""):
            self.assertEqual(push_of_bytes("t", body, [], {b"retain": [b"1"]}).payload, body)


class JsonTests(SynchronousTestCase):
    """``POST /``"""

    def assert_refused(self, body: bytes, problem: Problem) -> None:
        self.assertIs(self.assertRaises(Refusal, push_of_json, body, [], {}).problem, problem)

    def test_fields_are_topic_message_and_parameters(self) -> None:
        """ntfy's, and our two."""
        fields = {"topic": "a/b", "message": " m ", "title": "T", "priority": 4, "qos": 2, "retain": True}
        push = push_of_json(json.dumps(fields).encode(), [], {})
        self.assertEqual((push.topic, push.payload, push.parameters.title), ("a/b", b"m", "T"))
        self.assertEqual((push.parameters.qos, push.parameters.retain), (QoS.EXACTLY_ONCE, True))

    def test_headers_and_query_fill_in(self) -> None:
        """``?qos=`` works here, too."""
        push = push_of_json(b'{"topic":"t"}', [(b"X-Title", [b"T"])], {b"qos": [b"0"]})
        self.assertEqual((push.payload, push.parameters.title), (b"", "T"))
        self.assertIs(push.parameters.qos, QoS.AT_MOST_ONCE)

    def test_fields_nobody_knows_are_left_alone(self) -> None:
        """Clients newer than the server send some; null is not set."""
        self.assertEqual(push_of_json(b'{"topic":"t","new":{},"tags":null}', [], {}).topic, "t")

    def test_what_is_no_such_object_is_refused(self) -> None:
        """Other JSON, no JSON, JSON of other encodings, and JSON made to hurt."""
        for body in (b"", b"[]", b"1", b"{", b'{"topic":1}', "{}".encode("utf-16"), b'{"topic":"\xff"}'):
            self.assert_refused(body, problems.TOPIC_INVALID if body == b"{}" else problems.JSON_INVALID)
        self.assert_refused(b"[" * 100_000, problems.JSON_INVALID)
        self.assert_refused(b'{"topic":"t","priority":' + b"9" * 5000 + b"}", problems.JSON_INVALID)

    def test_half_a_character_is_refused(self) -> None:
        """A lone surrogate fits no UTF-8; a pair of them is one character."""
        self.assert_refused(b'{"topic":"t","message":"\\ud83d"}', problems.JSON_INVALID)
        self.assertEqual(
            push_of_json(b'{"topic":"t","message":"\\ud83d\\ude00"}', [], {}).payload, "😀".encode()
        )

    def test_fields_of_other_types_are_refused(self) -> None:
        """Rather than shown to phones as Python writes them."""
        for field in (b'"title":[]', b'"title":{}', b'"tags":[1]', b'"message":5', b'"priority":1.5'):
            self.assert_refused(b'{"topic":"t",%s}' % field, problems.JSON_INVALID)

    def test_the_topic_is_checked(self) -> None:
        """Missing, with a wildcard, reserved."""
        self.assert_refused(b"{}", problems.TOPIC_INVALID)
        self.assert_refused(b'{"topic":"a/#"}', problems.TOPIC_INVALID)
        self.assert_refused(b'{"topic":"v1"}', problems.TOPIC_RESERVED)

    def test_a_message_is_no_larger_than_as_a_body(self) -> None:
        """The object may be, for its escapes."""
        fits = json.dumps({"topic": "t", "message": "x" * MESSAGE_LIMIT_BYTES}).encode()
        self.assertEqual(len(push_of_json(fits, [], {}).payload), MESSAGE_LIMIT_BYTES)
        self.assert_refused(fits.replace(b"xx", b"xxx", 1), problems.MESSAGE_TOO_LARGE)

    @given(ANY_JSON)
    def test_any_json_is_a_push_or_refused(self, value: object) -> None:
        """Nothing but a `Refusal` comes out of a bad one."""
        try:
            push = push_of_json(json.dumps(value).encode(), [], {})
        except Refusal:
            return
        self.assertIsInstance(push.payload, bytes)
