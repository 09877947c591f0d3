"""`pushd.gateway.clients`: who is connected, over a broker that is there."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource

from pushd.gateway.clients import SLICE, ClientPages, Page
from pushd.gateway.http.pages import Quoted
from pushd.gateway.identity.guards import Guard
from pushd.mqtt.codes import PropertyId, QoS, ReasonCode, Version
from pushd.mqtt.packets import Disconnect, Publish, Subscribe, SubscriptionRequest, Will
from tests.driver import Peer, Rig
from tests.fakes import HeldStore
from tests.gateway.callers import NOW, Answer, Caller

ADA = "Authorization: Basic YWRhOnNlY3JldA==\r\n"

HOSTILE = ("a/b", "+", "#", "%2F", "..", "<script>", "'\" ;--", "ä\n{}", "//", " ")


class ClientsCase(SynchronousTestCase):
    """ada is an administrator."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.caller = Caller(admins=("ada",), make_pages=self.make_pages)

    def make_pages(self, guard: Guard) -> dict[bytes, IResource]:
        pages: Any = ClientPages(guard, self.rig.broker, lambda: NOW, self.soon)
        return {b"v1/clients": Quoted(pages.app.resource())}

    def soon(self, function: Callable[[], None]) -> None:
        self.rig.clock.callLater(0, function)

    def ask(self, method: str = "GET", target: str = "", login: str = ADA) -> Answer:
        return self.caller.request(method, f"/v1/clients{target}", headers=login)

    def told(self, client_id: str) -> Any:
        return self.ask(target="/" + quote(client_id, safe="")).json

    def ids(self, query: str = "") -> list[str]:
        return [client["client_id"] for client in self.ask(target=query).json["clients"]]


class ListTests(ClientsCase):
    """GET /v1/clients"""

    def test_pages(self) -> None:
        """In the order of ids, each once, until there is no next page."""
        for client_id in ("c", "a", "e", "b", "d"):
            self.rig.connect(client_id)
        pages, after = [], ""
        while after is not None:
            answer = self.ask(target=f"?limit=2&after={after}").json
            pages.append([client["client_id"] for client in answer["clients"]])
            after = answer["next"]
        self.assertEqual(pages, [["a", "b"], ["c", "d"], ["e"]])

    def test_what_is_told(self) -> None:
        """Enough to see who it is and whether it keeps up."""
        phone = self.rig.connect("phone", clean=False, username="ben")
        phone.subscribe("a", "b", qos=1)
        phone.drop()
        self.rig.connect("pc").publish("a", b"12345", qos=1)
        answer = self.ask().json
        self.assertEqual(
            answer["clients"][1],
            {
                "client_id": "phone",
                "username": "ben",
                "connected": False,
                "address": None,
                "listener": "a test",
                "subscriptions": 2,
                "queued_messages": 1,
                "queued_bytes": 5,
            },
        )
        self.assertEqual(answer["clients"][0]["address"], "192.0.2.7:4711")
        self.assertIs(answer["next"], None)

    def test_connected(self) -> None:
        """One may ask for those who are there, or those who are not."""
        self.rig.connect("here")
        self.rig.connect("away", clean=False).drop()
        found = [self.ids(f"?connected={word}") for word in ("yes", "no", "true", "0", "")]
        self.assertEqual(found, [["here"], ["away"], ["here"], ["away"], ["away", "here"]])
        self.assertEqual(self.ask(target="?connected=perhaps").code, 40000)

    def test_hostile_ids(self) -> None:
        """They are told as they are, and a page begins behind any of them."""
        for client_id in HOSTILE:
            self.rig.connect(client_id)
        self.assertEqual(self.ids(), sorted(HOSTILE))
        for client_id in HOSTILE:
            behind = self.ids("?after=" + quote(client_id, safe=""))
            self.assertEqual(behind, sorted(HOSTILE)[sorted(HOSTILE).index(client_id) + 1 :])

    def test_bad_pages(self) -> None:
        """Limits that are none, and names that nothing can have."""
        for query, code in (
            ("?limit=0", 40000),
            ("?limit=1001", 40000),
            ("?limit=x", 40000),
            ("?after=%ff", 40401),
        ):
            self.assertEqual(self.ask(target=query).code, code, query)

    def test_others(self) -> None:
        """Only administrators see who else is there, or do anything about it."""
        self.rig.connect("phone")
        for method, target in (("GET", ""), ("GET", "/phone"), ("DELETE", "/phone")):
            self.assertEqual(self.ask(method, target, login="").code, 40301)
        nobody = Caller(make_pages=self.make_pages)
        self.assertEqual(nobody.request("DELETE", "/v1/clients/phone", headers=ADA).code, 40301)
        self.assertIn("phone", self.rig.broker.sessions)


class PageTests(SynchronousTestCase):
    """How a page is found among very many"""

    @given(st.sets(st.text(max_size=3), max_size=40), st.text(max_size=2), st.integers(1, 10))
    def test_any_ids(self, ids: set[str], after: str, count: int) -> None:
        """The smallest ones behind the last page."""
        sessions: Any = dict.fromkeys(ids, "a session")
        found = self.successResultOf(Page(sessions, after, count).look(lambda function: None))
        self.assertEqual(found, sorted(id for id in ids if id > after)[:count])

    def test_slices(self) -> None:
        """Others are served between slices; who leaves meanwhile is not found, or was found before."""
        ids = [f"{number:05}" for number in range(SLICE * 3)]
        Random(7).shuffle(ids)
        sessions: Any = dict.fromkeys(ids, "a session")
        soon: list[Callable[[], None]] = []
        looking = Page(sessions, "00010", 5).look(soon.append)
        del sessions["00011"], sessions["00013"]
        slices = 1
        while soon:
            soon.pop()()
            slices += 1
        found = self.successResultOf(looking)
        self.assertEqual(slices, 3)
        self.assertTrue({"00012", "00014", "00015"} <= set(found), found)


class OneTests(ClientsCase):
    """GET /v1/clients/ID"""

    def connect(self, version: Version = Version.V3_1_1, **more: Any) -> Peer:
        return self.rig.connect("dev/1", version=version, **more)

    def test_online(self) -> None:
        """Since when, by which protocol, and what it is subscribed to."""
        peer = self.connect(username="ben", keep_alive_s=60, will=Will("gone", b""))
        peer.send(
            Subscribe(1, [SubscriptionRequest("a/+", QoS.AT_LEAST_ONCE), SubscriptionRequest("$share/g/b")])
        )
        self.rig.clock.advance(80)
        told = self.told("dev/1")
        subscriptions = told.pop("subscriptions")
        self.assertEqual(
            [(each["filter"], each["qos"]) for each in subscriptions], [("a/+", 1), ("$share/g/b", 0)]
        )
        self.assertEqual({each["automatic"] for each in subscriptions}, {False})
        self.assertEqual(
            told,
            {
                "client_id": "dev/1",
                "username": "ben",
                "connected": True,
                "address": "192.0.2.7:4711",
                "listener": "a test",
                "protocol_version": 4,
                "connected_since": int(NOW - 80),
                "away_since": None,
                "keep_alive_s": 60,
                "persistent": False,
                "expiry_s": 0.0,
                "queued_messages": 0,
                "queued_bytes": 0,
                "inflight_messages": 0,
                "received_messages": 0,
                "will": True,
            },
        )

    def test_away(self) -> None:
        """What waits for it, and since when."""
        properties: Any = {PropertyId.SESSION_EXPIRY_INTERVAL: 500}
        peer = self.connect(Version.V5, properties=properties)
        peer.subscribe("t", qos=1)
        peer.drop()
        self.rig.connect("pc").publish("t", b"12345", qos=1)
        self.rig.clock.advance(7)
        told = self.told("dev/1")
        self.assertEqual((told["connected"], told["connected_since"], told["address"]), (False, None, None))
        self.assertEqual((told["away_since"], told["expiry_s"]), (int(NOW - 7), 500.0))
        self.assertEqual((told["queued_messages"], told["queued_bytes"]), (1, 5))

    def test_in_flight(self) -> None:
        """What it has not acknowledged, and what it has not released."""
        peer = self.connect()
        peer.subscribe("t", qos=1)
        self.rig.connect("pc").publish("t", b"x", qos=1)
        peer.send(Publish("u", b"", QoS.EXACTLY_ONCE, packet_id=1))
        told = self.told("dev/1")
        self.assertEqual((told["inflight_messages"], told["received_messages"]), (1, 1))

    def test_hostile_ids(self) -> None:
        """Each is found by its own name only."""
        for client_id in HOSTILE:
            self.rig.connect(client_id)
        self.assertEqual([self.told(client_id)["client_id"] for client_id in HOSTILE], list(HOSTILE))

    def test_nobody(self) -> None:
        """Whom there is not, and what no id can be."""
        for target in ("/nobody", "/%00", "/%ff", "/", "/dev/1"):
            self.assertEqual(self.ask(target=target).code, 40401)
            self.assertEqual(self.ask("DELETE", target).code, 40401)


class KickTests(ClientsCase):
    """DELETE /v1/clients/ID"""

    def kick(self, query: str = "") -> Any:
        return self.ask("DELETE", f"/phone{query}").json

    def test_disconnect(self) -> None:
        """The client is told why; its session is kept, so it may come back."""
        phone = self.rig.connect(
            "phone", False, version=Version.V5, properties={PropertyId.SESSION_EXPIRY_INTERVAL: 9}
        )
        self.assertEqual(self.kick(), {"disconnected": True, "session_ended": False})
        self.rig.turn()
        (packet,) = phone.received()
        assert isinstance(packet, Disconnect)
        self.assertEqual((packet.code, phone.closed), (ReasonCode.ADMINISTRATIVE_ACTION, True))
        self.assertIn("phone", self.rig.broker.sessions)

    def test_will(self) -> None:
        """Others hear that it is gone."""
        pc = self.rig.connect("pc")
        pc.subscribe("gone")
        self.rig.connect("phone", will=Will("gone", b"phone"))
        self.kick()
        self.rig.turn()
        self.assertEqual(pc.received(), [Publish("gone", b"phone")])

    def test_end_of_session(self) -> None:
        """With it, all that waited is gone; of one that is away as well."""
        for drop in (False, True):
            phone = self.rig.connect("phone", clean=False)
            phone.subscribe("t", qos=1)
            if drop:
                phone.drop()
            self.assertEqual(self.kick("?session=1"), {"disconnected": not drop, "session_ended": True})
            self.assertNotIn("phone", self.rig.broker.sessions)
            self.assertEqual(len(self.rig.broker.router.subscriptions), 0)

    def test_away(self) -> None:
        """There is nobody to disconnect, and that is no error."""
        self.rig.connect("phone", clean=False).drop()
        self.assertEqual(self.kick(), {"disconnected": False, "session_ended": False})
        self.assertIn("phone", self.rig.broker.sessions)

    def test_durable(self) -> None:
        """The answer waits until a crash would not bring the session back."""
        store = HeldStore()
        self.rig = Rig(store=store)
        self.rig.connect("phone", clean=False)
        store.release()
        self.caller = Caller(admins=("ada",), make_pages=self.make_pages)
        request = f"DELETE /v1/clients/phone?session=yes HTTP/1.1\r\nHost: h\r\n{ADA}\r\n"
        self.assertEqual(self.caller.send(request.encode()), [])
        store.release()
        (answer,) = self.caller.answers()
        self.assertEqual(answer.status, 200)
