"""`pushd.gateway.push.push_request`: what a push is told to be."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.message import PushMark
from pushd.broker.targets import Targets
from pushd.gateway.http.problems import Refusal
from pushd.gateway.push.push_request import (
    MAX_BATCH_TARGETS,
    PushRequest,
    read_batch,
    read_json,
    read_push_request,
)
from pushd.mqtt.codes import PropertyId
from pushd.mqtt.properties import encode_properties

MARK = PushMark("0123456789ab", 0)

# What is wrong with each is what its error names.
MISTAKES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("unknown field mesage", {"mesage": "x"}),
    ("unknown field", {"<script>": "x"}),
    ("unknown field targets.topic", {"targets": {"topic": ["a"]}}),
    ("targets must be", {"targets": ["a"]}),
    ("targets must name", {"targets": {}}),
    ("targets must name", {"targets": {"all": False, "users": []}}),
    ("targets.all", {"targets": {"all": 1}}),
    ("targets.all", {"targets": {"all": "yes"}}),
    ("targets.users must be a list", {"targets": {"users": "anna"}}),
    ("targets.users must be a list", {"targets": {"users": [""]}}),
    ("targets.clients must be a list", {"targets": {"clients": [1]}}),
    ("targets.clients must be a list", {"targets": {"clients": ["a\0"]}}),
    ("more than 1000 targets", {"targets": {"clients": [str(n) for n in range(1001)]}}),
    ("topic invalid", {"targets": {"topics": ["$SYS/x"]}}),
    ("topic invalid", {"targets": {"topics": ["a/#/b"]}}),
    ("topic invalid", {"targets": {"topics": ["$share/g/a"]}}),
    ("topic invalid", {"topic": "a/+"}),
    ("topic invalid", {"topic": ""}),
    ("topic invalid", {"topic": None}),
    ("topic must be", {"topic": 5}),
    ("topic is missing", {"topic": None, "targets": {"users": ["a"]}}),
    ("topic is for users", {"targets": {"topics": ["a"]}}),
    ("either message or payload_base64", {"message": None}),
    ("either message or payload_base64", {"payload_base64": ""}),
    ("message must be", {"message": 5}),
    ("payload_base64 is no base64", {"message": None, "payload_base64": "a"}),
    ("payload_base64 is no base64", {"message": None, "payload_base64": "\u00e4"}),
    ("message too large", {"message": "a" * 65_537}),
    ("qos must be", {"qos": 3}),
    ("qos must be", {"qos": True}),
    ("qos must be", {"qos": "1"}),
    ("qos must be", {"qos": 1.0}),
    ("retain must be", {"retain": 1}),
    ("retain is for topics", {"retain": True, "targets": {"users": ["a"]}}),
    ("retain is for topics", {"retain": True, "topic": None, "targets": {"topics": ["a/#"]}}),
    ("ttl must be", {"ttl": "1h"}),
    ("ttl must be", {"ttl": -1}),
    ("ttl must be", {"ttl": 10**9}),
    ("priority", {"priority": 6}),
    ("priority", {"priority": True}),
    ("tags must be", {"tags": "a,b"}),
    ("tags must be", {"tags": [1]}),
    ("control character", {"title": "a\r\nb"}),
    ("icon", {"icon": "javascript:alert(1)"}),
    ("actions", {"actions": [{}]}),
    ("actions must be", {"actions": "view, a, b"}),
    ("markdown must be", {"markdown": "yes"}),
    ("sequence id", {"sequence_id": "a/b"}),
    ("cache must be", {"cache": "no"}),
    ("format must be", {"format": "xml"}),
    ("properties must be", {"properties": {"a": 1}}),
    ("properties must be", {"properties": {"": "x"}}),
    ("properties must be", {"properties": {str(n): "" for n in range(65)}}),
    ("properties must be", {"properties": ["a"]}),
    ("properties must not be named", {"properties": {"title": "x"}}),
    ("take more than", {"properties": {"a": "x" * 17_000}}),
    ("take more than", {"title": "x" * 17_000}),
    ("collapse_key", {"collapse_key": ""}),
    ("collapse_key", {"collapse_key": "a" * 65}),
    ("collapse_key", {"collapse_key": "a\n"}),
    ("deliver_at must be", {"deliver_at": 1.5}),
    ("deliver_at must be", {"deliver_at": True}),
    ("receipt must be", {"receipt": "yes"}),
    ("webhook must be", {"webhook": ["x"]}),
)


def read(**said: Any) -> PushRequest:
    """A push to t that says m, unless it is said otherwise."""
    return read_push_request({"topic": "t", "message": "m", **said})


class ReadTests(SynchronousTestCase):
    """What is understood."""

    def test_topic_alone(self) -> None:
        """The topic is where it goes."""
        request = read()
        self.assertEqual((request.targets, request.topic, request.payload), (Targets(("t",)), "t", b"m"))

    def test_targets(self) -> None:
        """Each name once, in the order in which they were said."""
        targets = {"topics": ["b", "a/#", "b"], "users": ["u"], "clients": ["c", "c"], "all": None}
        request = read(targets=targets)
        self.assertEqual(request.targets, Targets(("b", "a/#"), ("u",), ("c",)))
        self.assertEqual(request.topic, "t")

    def test_topics_of_their_own(self) -> None:
        """Topics alone need no other; of a single one it is known."""
        self.assertEqual(read(topic=None, targets={"topics": ["a"]}).topic, "a")
        self.assertEqual(read(topic=None, targets={"topics": ["a", "b"]}).topic, "")
        self.assertEqual(read(topic=None, targets={"topics": ["a/#"]}).topic, "")

    def test_payload(self) -> None:
        """Byte for byte: no text is trimmed, and none at all is none."""
        self.assertEqual(read(message=" \n").payload, b" \n")
        self.assertEqual(read(message="").payload, b"")
        encoded = base64.b64encode(bytes(range(256))).decode()
        self.assertEqual(read(message=None, payload_base64=encoded).payload, bytes(range(256)))

    def test_all_of_it(self) -> None:
        """Each field has its place in what the broker is given."""
        request = read(
            qos=2, retain=True, ttl=60, title="T", properties={"zone": "B"}, collapse_key="k", markdown=True,
            deliver_at=1893456000, receipt=True, webhook="https://h/",
        )  # fmt: skip
        publication = request.publication(MARK)
        assert publication.properties is not None
        self.assertEqual((publication.qos, publication.retain, publication.expiry_s), (2, True, 60))
        self.assertEqual(publication.properties[PropertyId.USER_PROPERTY], [("title", "T"), ("zone", "B")])
        self.assertEqual(publication.properties[PropertyId.CONTENT_TYPE], "text/markdown")
        self.assertEqual((request.collapse_key, request.deliver_at), ("k", "1893456000"))
        self.assertEqual((request.receipt, request.webhook), (True, "https://h/"))

    def test_null_is_not_said(self) -> None:
        """Programs that fill in null for what they leave out are understood."""
        fields = ("targets", "title", "qos", "ttl", "tags", "properties", "receipt", "webhook", "deliver_at")
        self.assertEqual(read(**dict.fromkeys(fields)), read())


class MistakeTests(SynchronousTestCase):
    """What is not."""

    def test_each_has_words_of_its_own(self) -> None:
        """Every mistake is refused, and the error says which it is."""
        for words, said in MISTAKES:
            refusal = self.assertRaises(Refusal, read, **said)
            self.assertIn(words, refusal.problem.error, said)
            self.assertIn(refusal.problem.http, (400, 413), said)

    def test_nothing_of_the_callers_is_markup(self) -> None:
        """An unknown name is repeated only if it is a plain one."""
        for name in ("<img src=x>", "a" * 33, "\u00e4", "a b", ""):
            refusal = self.assertRaises(Refusal, read, **{name: 1})
            self.assertEqual(refusal.problem.error, "invalid request: unknown field")

    def test_no_object(self) -> None:
        """JSON of another kind."""
        for body in (b"", b"{", b"[]", b"5", b"null", b'"a"', b"\xff", b'{"a": "\\ud800"}', b"[" * 10_000):
            refusal = self.assertRaises(Refusal, lambda body=body: read_push_request(read_json(body)))
            self.assertEqual(refusal.problem.code, 40024, body)

    def test_batches(self) -> None:
        """A list, or one in an object; not too long, and not for too many."""
        self.assertEqual(read_batch(b'{"pushes": [1, 2]}'), [1, 2])
        self.assertEqual(read_batch(b"[]"), [])
        many = [{"targets": {"users": ["a"] * 11}}] * 1000
        self.assertGreater(11 * 1000, MAX_BATCH_TARGETS)
        for body in (b"{}", b"5", json.dumps(many).encode(), json.dumps([0] * 1001).encode()):
            self.assertRaises(Refusal, read_batch, body)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


class AnythingTests(SynchronousTestCase):
    """Whatever JSON says."""

    @given(name=st.sampled_from(sorted({field for _, said in MISTAKES for field in said})), value=values)
    def test_is_read_or_refused(self, name: str, value: Any) -> None:
        """What is read can be sent, as MQTT 5 wants it."""
        try:
            json.dumps(value, ensure_ascii=False).encode()
            request = read(**{name: value})
        except (Refusal, UnicodeEncodeError):
            return
        encode_properties(request.publication(MARK).properties or {})

    @given(body=st.binary(max_size=300) | values.map(lambda value: json.dumps(value).encode()))
    def test_bytes(self, body: bytes) -> None:
        """Also of bytes that are none of it."""
        for what in (lambda: read_push_request(read_json(body)), lambda: read_batch(body)):
            try:
                what()  # type: ignore[no-untyped-call]
            except Refusal as refusal:
                self.assertEqual(refusal.problem.http, 400)
