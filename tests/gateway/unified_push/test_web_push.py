"""`pushd.gateway.unified_push.web_push`: what an application's server sends (RFC 8030 §5)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from pushd.gateway.http.problems import Refusal
from pushd.gateway.unified_push.web_push import (
    DEFAULT_TTL_S,
    MAX_BODY_BYTES,
    MAX_TTL_S,
    WebPush,
    collapse_key,
    read_web_push,
)
from pushd.mqtt.codes import PropertyId

AESGCM = {"Content-Encoding": "aesgcm", "Encryption": "salt=abc", "Crypto-Key": 'dh="xyz"'}

_NAMES = st.sampled_from(["TTL", "Urgency", "Topic", "Content-Encoding", "Encryption", "Crypto-Key"])


def read(body: bytes = b"x", **said: str) -> WebPush:
    headers = {name.replace("_", "-"): [value] for name, value in said.items()}
    return read_web_push(Headers(headers), body)


class WebPushCase(SynchronousTestCase):
    def assert_refused(self, code: int, body: bytes = b"x", **said: str) -> None:
        refusal = self.assertRaises(Refusal, read, body, **said)
        self.assertEqual(refusal.problem.code, code, said)


class BodyTests(WebPushCase):
    def test_any_bytes(self) -> None:
        """1 to 4096 bytes are taken as they are, white space and all."""
        for body in (b"\0", b" \n", b"\xff" * MAX_BODY_BYTES):
            self.assertEqual(read(body).body, body)

    def test_limits(self) -> None:
        """None is no message, and one byte more is too many."""
        self.assert_refused(40000, b"")
        self.assert_refused(41301, b"x" * (MAX_BODY_BYTES + 1))


class HeaderTests(WebPushCase):
    def test_nothing_said(self) -> None:
        """A sender that knows nothing of Web Push gets a day, and no more than what it sends is sent on."""
        self.assertEqual(read(), WebPush(b"x", DEFAULT_TTL_S, "normal", "", ()))

    def test_ttl(self) -> None:
        """Seconds; what is beyond four weeks is cut to that."""
        for said, granted in (
            ("0", 0),
            ("60", 60),
            (" 007 ", 7),
            ("2419200", MAX_TTL_S),
            ("9" * 20, MAX_TTL_S),
        ):
            self.assertEqual(read(TTL=said).ttl_s, granted)
        for wrong in ("-1", "1.5", "60 s", "+60", "1e3", "60, 60", "٦", "9" * 21):
            self.assert_refused(40000, TTL=wrong)

    def test_ttl_twice(self) -> None:
        """Two headers of a name are one with a comma, whatever proxies made of it: that is no number."""
        self.assertRaises(Refusal, read_web_push, Headers({"TTL": ["60", "90"]}), b"x")

    def test_urgency(self) -> None:
        """One of four words."""
        for word in ("very-low", "low", "normal", "high"):
            self.assertEqual(read(Urgency=word.title()).urgency, word)
        for wrong in ("urgent", "low, high", "5", "verylow"):
            self.assert_refused(40000, Urgency=wrong)

    def test_topic(self) -> None:
        """Up to 32 of URL-safe base64."""
        self.assertEqual(read(Topic="-_aZ09" + "x" * 26).topic, "-_aZ09" + "x" * 26)
        for wrong in ("x" * 33, "a b", "a+b", "a=", "ä"):
            self.assert_refused(40000, Topic=wrong)

    def test_content_encoding(self) -> None:
        """How to decrypt it goes along; of the older encoding, with its parameters."""
        self.assertEqual(read(Content_Encoding="AES128GCM").encryption, (("content-encoding", "aes128gcm"),))
        self.assertEqual(
            read_web_push(Headers({name: [value] for name, value in AESGCM.items()}), b"x").encryption,
            (("content-encoding", "aesgcm"), ("encryption", "salt=abc"), ("crypto-key", 'dh="xyz"')),
        )

    def test_content_encoding_of_others(self) -> None:
        """No device would understand it, or it lacks what that takes: the sender hears of it."""
        for wrong in ("gzip", "identity", "aes128gcm, gzip", "aesgcm"):
            self.assert_refused(40000, Content_Encoding=wrong)
        self.assert_refused(40000, Content_Encoding="aesgcm", Encryption="ä", Crypto_Key="x")

    @given(st.dictionaries(_NAMES, st.text(max_size=40).map(str.encode)), st.binary(max_size=5000))
    def test_whatever_comes(self, said: dict[str, bytes], body: bytes) -> None:
        """It is read or refused, and what is read is within all limits."""
        try:
            push = read_web_push(Headers({name.encode(): [value] for name, value in said.items()}), body)
        except Refusal as refusal:
            self.assertIn(refusal.problem.code, (40000, 41301))
        else:
            self.assertTrue(0 <= push.ttl_s <= MAX_TTL_S and 1 <= len(push.body) <= MAX_BODY_BYTES)
            push.publication("t", "k", "id", 0, 0).message("", 0.0).encode_v5()


class PublicationTests(WebPushCase):
    def test_for_later(self) -> None:
        """It is queued for as long as its TTL, and kept for streams no longer than their topic says."""
        made = read(TTL="60").publication("t", "k", "the id", 7, keep_s=100)
        self.assertEqual((made.topic, made.payload, made.qos, made.retain), ("t", b"x", 1, False))
        assert made.mark is not None
        self.assertEqual((made.expiry_s, made.mark.id, made.mark.at, made.mark.keep_s), (60, "the id", 7, 60))
        made = read(TTL="60").publication("t", "k", "the id", 7, keep_s=30)
        assert made.mark is not None
        self.assertEqual(made.mark.keep_s, 30)

    def test_for_now(self) -> None:
        """With a TTL of 0 it is for who is connected: nothing of it is kept anywhere."""
        made = read(TTL="0").publication("t", "k", "id", 7, keep_s=100)
        assert made.mark is not None
        self.assertEqual((made.qos, made.expiry_s, made.mark.keep_s), (0, 1, 0))

    def test_topic_of_its_endpoint(self) -> None:
        """What one endpoint's pushes replace is never another's, though both have this name for it."""
        keys = {collapse_key(endpoint, id, topic) for endpoint in "12" for id in "ab" for topic in "xy"}
        self.assertEqual(len(keys), 4)
        keys = {collapse_key("1", id, topic) for id, topic in (("a", ""), ("b", ""), ("b", "a"))}
        self.assertEqual(len(keys), 3)

    def test_urgency_is_a_priority(self) -> None:
        """ntfy's clients show it so; normal is what a message is anyway."""
        for urgency, priority in (("very-low", "1"), ("low", "2"), ("high", "4")):
            made = read(Urgency=urgency).publication("t", "k", "id", 7, 0)
            self.assertEqual(
                made.properties, {PropertyId.USER_PROPERTY: [("urgency", urgency), ("priority", priority)]}
            )
        self.assertIsNone(read(Urgency="normal").publication("t", "k", "id", 7, 0).properties)
