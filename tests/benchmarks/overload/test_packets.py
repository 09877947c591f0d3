"""Packets of attackers and victims, byte by byte."""

from hypothesis import given
from hypothesis.strategies import binary, integers, text
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.overload.packets import connect, cut, publish, publish_id, subscribe


class CutTests(SynchronousTestCase):
    """Finding the ends of packets."""

    @given(binary(max_size=300), integers(1, 65_535), text(max_size=50))
    def test_what_is_made_is_cut(self, payload: bytes, packet_id: int, topic: str) -> None:
        """Whatever a packet holds, its end is found where it is, wherever it begins."""
        packet = publish(topic, payload, packet_id)
        found = cut(b"??" + packet + b"more", 2)
        assert found is not None
        first, body, after = found
        self.assertEqual((first, after), (0x32, 2 + len(packet)))
        self.assertEqual(publish_id((b"??" + packet)[body:after]), packet_id.to_bytes(2, "big"))

    @given(binary(min_size=200, max_size=300), integers(0, 203))
    def test_an_unfinished_packet(self, payload: bytes, length: int) -> None:
        """Of a packet whose end has not arrived nothing is told."""
        self.assertIsNone(cut(publish("t", payload)[:length], 0))


class ShapeTests(SynchronousTestCase):
    """The packets themselves."""

    def test_connect(self) -> None:
        """A clean session without keep-alive; user name and password only if they are given."""
        self.assertEqual(connect("me"), b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02me")
        self.assertEqual(
            connect("me", "u", "p"), b"\x10\x14\x00\x04MQTT\x04\xc2\x00\x00\x00\x02me\x00\x01u\x00\x01p"
        )

    def test_subscribe(self) -> None:
        """Each filter has the QoS behind it."""
        self.assertEqual(subscribe(["a", "+/b"], 1, 7), b"\x82\x0c\x00\x07\x00\x01a\x01\x00\x03+/b\x01")

    def test_publish(self) -> None:
        """Without a packet id it is QoS 0; the retain flag is the lowest bit."""
        self.assertEqual(publish("a", b"x"), b"\x30\x04\x00\x01ax")
        self.assertEqual(publish("a", b"x", 258, retain=True), b"\x33\x06\x00\x01a\x01\x02x")
