"""`pushd.broker.message`: one publication, many subscribers, encoded once."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.message import Message, new_push_id
from pushd.mqtt.codes import PropertyId, QoS, Version
from pushd.mqtt.packets import Properties, Publish
from pushd.mqtt.writer import encode

PROPERTIES: Properties = {PropertyId.CONTENT_TYPE: "text/plain"}


def spliced(message: Message, version: Version, packet_id: int, mount_point: str = "") -> bytes:
    """The PUBLISH as a client sends it."""
    if version is not Version.V5:
        head, tail = message.encode_v3(mount_point)
    elif mount_point:
        head, tail = message.encode_v5_for(message.topic[len(mount_point) :], 0, 0.0)
    else:
        head, tail = message.encode_v5()
    return head + (packet_id.to_bytes(2, "big") if message.qos else b"") + tail


class ImageTests(SynchronousTestCase):
    """The wire image"""

    @given(
        st.sampled_from(list(Version)), st.sampled_from(list(QoS)), st.booleans(),
        st.sampled_from(["t", "é/a", "x" * 300]),
        st.sampled_from([b"", b"payload", b"x" * 200, b"x" * 20_000]),
    )  # fmt: skip
    def test_is_what_the_writer_writes(
        self, version: Version, qos: QoS, retain: bool, topic: str, payload: bytes
    ) -> None:
        """Head, packet identifier and tail are the packet that `encode` makes."""
        message = Message(topic, payload, qos, retain, PROPERTIES)
        packet_id = 777 if qos else 0
        properties = PROPERTIES if version is Version.V5 else {}
        expected = encode(Publish(topic, payload, qos, retain, False, packet_id, properties), version)
        self.assertEqual(expected, spliced(message, version, 777))

    def test_is_kept_by_version(self) -> None:
        """The next subscriber of a version gets the same bytes; each version has its own."""
        message = Message("t", b"x", 1)
        self.assertEqual((None, None), (message.image_v3, message.image_v5))
        made = message.encode_v3()
        self.assertIs(made, message.image_v3)
        self.assertIsNone(message.image_v5)
        self.assertIs(message.encode_v5(), message.image_v5)
        self.assertIs(made, message.image_v3)

    def test_image_behind_a_mount_point_is_not_kept(self) -> None:
        """It would be wrong for everybody else."""
        message = Message("home/t", b"x")
        message.encode_v3("home/")
        self.assertIsNone(message.image_v3)

    def test_mount_point(self) -> None:
        """Subscribers behind a mount point see the topic without it; others see it whole."""
        message = Message("home/t", b"x", 1)
        for _ in range(2):
            self.assertEqual(
                encode(Publish("t", b"x", QoS.AT_LEAST_ONCE, packet_id=9), Version.V3_1_1),
                spliced(message, Version.V3_1_1, 9, "home/"),
            )
            self.assertEqual(
                encode(Publish("home/t", b"x", QoS.AT_LEAST_ONCE, packet_id=9), Version.V3_1_1),
                spliced(message, Version.V3_1_1, 9),
            )


class VariantTests(SynchronousTestCase):
    """The same publication with another QoS or RETAIN flag"""

    def test_same_is_itself(self) -> None:
        """Nothing to change, nothing to make."""
        message = Message("t", b"x", 1, True)
        self.assertIs(message, message.variant(1, True))

    def test_is_made_once(self) -> None:
        """A thousand subscribers with a lower QoS share one variant."""
        message = Message("t", b"x", 2, True, PROPERTIES)
        variant = message.variant(1, False)
        self.assertIs(variant, message.variant(1, False))
        self.assertIsNot(variant, message.variant(0, False))
        self.assertEqual(
            ("t", b"x", 1, False, PROPERTIES),
            (variant.topic, variant.payload, variant.qos, variant.retain, variant.properties),
        )

    def test_keeps_the_original(self) -> None:
        """The message itself stays as it was, its image too."""
        message = Message("t", b"x", 2, True)
        image = message.encode_v3()
        message.variant(0, False).encode_v3()
        self.assertEqual((2, True, image), (message.qos, message.retain, message.image_v3))

    def test_repr(self) -> None:
        """Log lines say which message, without its payload."""
        self.assertEqual("<Message 't' qos=1 retain=False 3 bytes>", repr(Message("t", b"abc", 1)))


class NewIdTests(SynchronousTestCase):
    """12 of ``[A-Za-z0-9]``"""

    def test_ids_have_the_form_that_clients_expect_and_differ(self) -> None:
        """A thousand in a row have no two alike."""
        ids = {new_push_id() for _ in range(1000)}
        self.assertEqual(len(ids), 1000)
        self.assertTrue(all(re.fullmatch("[A-Za-z0-9]{12}", one) for one in ids))
