"""`pushd.gateway.unified_push.matrix`: a homeserver that pushes to devices."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.interfaces import Access
from pushd.gateway.identity.guards import Reception
from pushd.gateway.identity.visitors import Rates, Visitors
from pushd.gateway.unified_push.matrix import Place, place_of
from pushd.mqtt.packets import Publish
from tests.gateway.callers import Answer
from tests.gateway.senders import Sender
from tests.gateway.up_case import ADA, BASE, UnifiedPushCase

NOTIFY = "/_matrix/push/v1/notify"


def notification(*pushkeys: object, **more: object) -> bytes:
    devices = [{"app_id": "org.example", "pushkey": pushkey} for pushkey in pushkeys]
    return json.dumps({"notification": {"event_id": "$x", "devices": devices, **more}}).encode()


class PlaceTests(SynchronousTestCase):
    """Where a pushkey leads."""

    def test_ours(self) -> None:
        """An endpoint, or a topic that says it is for UnifiedPush."""
        self.assertEqual(place_of(BASE + "/v1/up/s-_1", BASE), Place(secret="s-_1"))
        for query in ("up=1", "up=yes", "x=y&up=true"):
            self.assertEqual(place_of(f"{BASE}/upAbc?{query}", BASE), Place(topic="upAbc"))

    def test_not_ours(self) -> None:
        """What is elsewhere, or only looks as if it were here."""
        for pushkey in (
            "", "x", BASE, BASE + "/", BASE + "/upAbc", BASE + "/upAbc?up=0", BASE + "/a/b?up=1",
            BASE + ".evil.example/upAbc?up=1", BASE + "@evil.example/upAbc?up=1", BASE + ":1/upAbc?up=1",
            "https://evil.example/upAbc?up=1", BASE + "/v1/up/", BASE + "/v1/up/s/t", BASE + "/v1/up/s?x",
            BASE + "/upAbc?up=1#x", BASE + "/up%41bc?up=1", BASE + "/upAbc?up=1\n", BASE + "/../x?up=1",
        ):  # fmt: skip
            self.assertIsNone(place_of(pushkey, BASE), pushkey)


class MatrixTests(UnifiedPushCase):
    def notify(self, body: bytes) -> Answer:
        return self.request("POST", NOTIFY, body)

    def phone(self, filter: str) -> Any:
        phone = self.rig.connect("phone")
        phone.subscribe(filter)
        return phone

    def payloads(self, phone: Any) -> list[bytes]:
        return [packet.payload for packet in self.got(phone) if isinstance(packet, Publish)]

    def test_discovery(self) -> None:
        """An application asks whether there is a gateway here."""
        self.assertEqual(self.request("GET", NOTIFY).json, {"unifiedpush": {"gateway": "matrix"}})

    def test_to_an_endpoint(self) -> None:
        """The notification arrives as it came, white space and all."""
        told, phone = self.register(topic="chat"), self.phone("chat")
        body = notification(told["endpoint"]) + b" \n"
        self.assertEqual(self.notify(body).json, {"rejected": []})
        self.assertEqual(self.payloads(phone), [body])
        self.assertEqual(len(self.charged), 1)

    def test_to_a_topic(self) -> None:
        """The same for an endpoint of ntfy's application."""
        phone = self.phone("upAbcdefGhijkl")
        body = notification(f"{BASE}/upAbcdefGhijkl?up=1", prio="low")
        self.assertEqual(self.notify(body).json, {"rejected": []})
        self.assertEqual(self.payloads(phone), [body])

    def test_topic_that_is_closed(self) -> None:
        """A homeserver has no name. Where access rules want one it gets an error, and its pushkey lives."""
        self.rules.refused.add((Access.WRITE, "upX"))
        self.assertEqual(self.notify(notification(f"{BASE}/upX?up=1")).code, 40301)

    def test_dead_keys(self) -> None:
        """Those that are not ours, unknown, removed, reserved or bound to somebody's key are rejected."""
        gone, bound = self.register(), self.register(vapid=Sender().key)
        self.request("DELETE", f"/v1/up/{gone['id']}", headers=ADA)
        dead = [
            "https://elsewhere.example/up?up=1", f"{BASE}/v1/up/{'x' * 43}", gone["endpoint"],
            bound["endpoint"], f"{BASE}/docs?up=1", "", "ä",
        ]  # fmt: skip
        self.assertEqual(self.notify(notification(*dead)).json, {"rejected": dead})

    def test_several_devices(self) -> None:
        """Each is told of itself only: a pushkey is a secret."""
        one, two = self.register(topic="one"), self.register(topic="two")
        phone = self.phone("+")
        answer = self.notify(notification(one["endpoint"], "https://elsewhere.example/", two["endpoint"]))
        self.assertEqual(answer.json, {"rejected": ["https://elsewhere.example/"]})
        for told, payload in zip((one, two), self.payloads(phone), strict=True):
            (device,) = json.loads(payload)["notification"]["devices"]
            self.assertEqual(device, {"app_id": "org.example", "pushkey": told["endpoint"]})

    def test_too_large(self) -> None:
        """A notification of more than a push may have is refused as a whole."""
        told = self.register()
        self.assertEqual(self.notify(notification(told["endpoint"], content="x" * 4096)).code, 41302)

    def test_none(self) -> None:
        """What is no notification, or for no device, is refused."""
        for body in (
            b'{}', b'{"notification":[]}', b'{"notification":{}}', notification(), notification(7),
            b'{"notification":{"devices":[7]}}', b'{"notification":{"devices":{}}}',
            notification(*["x"] * 51), notification("\ud800"),
        ):  # fmt: skip
            self.assertEqual(self.notify(body).code, 40019, body)
        self.assertEqual(self.notify(b"x").code, 40024)

    @settings(max_examples=50, deadline=None)
    @given(
        st.recursive(
            st.none()
            | st.integers()
            | st.text(max_size=10)
            | st.sampled_from([BASE + "/upX?up=1", BASE + "/v1/up/x"]),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["notification", "devices", "pushkey", "prio"]), inner, max_size=3
                )
            ),
            max_leaves=10,
        )
    )
    def test_whatever_comes(self, value: object) -> None:
        """Any JSON is a notification or is refused."""
        answer = self.notify(json.dumps(value).encode())
        if answer.status != 200:
            self.assertIn(answer.code, (40019, 40024), value)


class RateTests(UnifiedPushCase):
    """With limits as a gateway has them."""

    def test_of_the_topic(self) -> None:
        """A homeserver pushes for many: a topic that gets too much is full, and no other is."""
        rates = Rates(per_user=1.0, per_address=1.0)
        reception = Reception(visitors=Visitors(lambda: rates, self.rig.clock.seconds))
        self.caller = self.new_caller(reception=reception)
        answers = [self.notify("upA") for _ in range(60)]
        self.assertEqual({answer.status for answer in answers}, {200, 429})
        self.assertIn("Retry-After", answers[-1].headers)
        self.assertEqual(self.notify("upB").status, 200)

    def notify(self, topic: str) -> Answer:
        return self.request("POST", NOTIFY, notification(f"{BASE}/{topic}?up=1"))
