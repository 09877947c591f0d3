"""`pushd.gateway.push.receipts`: what became of a push."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from tests.gateway.push_api_case import ADA, PushApiCase, payloads

LOST = Failure(ConnectionDone())
ZERO = {"queued": 0, "sent": 0, "acknowledged": 0, "expired": 0, "refused": 0}


class ReceiptTests(PushApiCase):
    """GET /v1/push/<id>"""

    def test_each_device(self) -> None:
        """How far it has come at each, and when."""
        self.rig.clock.advance(1000)
        near, _ = self.device("near", "t"), self.device("far", "t").drop()
        id = self.push(topic="t", receipt=True)["id"]
        self.rig.clock.advance(5)
        payloads(near)
        told = self.receipt(id)
        self.assertEqual(told["counts"], ZERO | {"queued": 1, "acknowledged": 1})
        self.assertEqual((told["complete"], told["time"], told["next"]), (False, 1000, None))
        shown = {device.pop("client_id"): device for device in told["devices"]}
        times = {"queued_at": None, "sent_at": 1000.0, "done_at": 1005.0}
        self.assertEqual(shown["near"], {"topic": "t", "state": "acknowledged", "reason": None, **times})
        times = {"queued_at": 1000.0, "sent_at": None, "done_at": None}
        self.assertEqual(shown["far"], {"topic": "t", "state": "queued", "reason": None, **times})

    def test_over_a_restart(self) -> None:
        """The next process knows, and hears of the end."""
        self.device("dev", "t").drop()
        id = self.push(topic="t", receipt=True)["id"]
        self.restart()
        self.assertEqual(self.receipt(id)["counts"], ZERO | {"queued": 1})
        payloads(self.device("dev"))
        self.assertTrue(self.receipt(id)["complete"])

    def test_pages(self) -> None:
        """A long list comes in pieces."""
        for number in range(5):
            self.device(f"d{number}", "t")
        id = self.push(topic="t", receipt=True)["id"]
        seen, after = [], ""
        while after is not None:
            told = self.receipt(id, f"?limit=2&after={after}")
            seen.append([device["client_id"] for device in told["devices"]])
            after = told["next"]
        self.assertEqual(seen, [["d0", "d1"], ["d2", "d3"], ["d4"]])

    def test_nobody_elses(self) -> None:
        """To others there is none, and without being asked for there is none at all."""
        adas = self.push(ADA, topic="t", receipt=True)["id"]
        nobodys = self.push(topic="t", receipt=True)["id"]
        plain = self.push(topic="t")["id"]
        self.assertEqual(self.ask("GET", f"/v1/push/{adas}").code, 40400)
        self.assertEqual(self.ask("GET", f"/v1/push/{nobodys}", headers=ADA).code, 40400)
        self.assertEqual(self.ask("GET", f"/v1/push/{plain}").code, 40400)
        self.assertEqual(self.ask("GET", f"/v1/push/{adas}", headers=ADA).status, 200)

    def test_bad_questions(self) -> None:
        """A page or a time that is none."""
        id = self.push(topic="t", receipt=True)["id"]
        for query in (
            "limit=0",
            "limit=1001",
            "after=-1",
            "after=x",
            "wait=61s",
            "wait=x",
            "wait=2m",
            "wait=1h",
        ):
            self.assertEqual(self.ask("GET", f"/v1/push/{id}?{query}").code, 40000, query)


class AdminTests(PushApiCase):
    """An administrator's view"""

    admins = ("ada",)
    mount_point = "home/"

    def test_sees_all(self) -> None:
        """Also what others have sent; topics are as callers of this listener know them."""
        self.device("dev", "t")
        id = self.push(topic="t", receipt=True)["id"]
        self.assertEqual(self.receipt(id, headers=ADA)["devices"][0]["topic"], "t")


class WaitTests(PushApiCase):
    """?wait="""

    def begin_push(self, query: str) -> None:
        self.begin("POST", f"/v1/push{query}", {"topic": "t", "message": "hi"})

    def test_answers_at_the_end(self) -> None:
        """As soon as all have acknowledged."""
        device = self.device("dev", "t")
        self.begin_push("?wait=5s")
        self.assertEqual(self.caller.answers(), [])
        payloads(device)
        self.turn()
        told = self.heard().json
        self.assertEqual((told["complete"], told["counts"]), (True, ZERO | {"acknowledged": 1}))
        self.assertEqual(told["sessions"], 1)

    def test_answers_in_time(self) -> None:
        """Or when the time is over, as things are."""
        self.device("dev", "t").drop()
        self.begin_push("?wait=5s")
        self.rig.clock.advance(4.9)
        self.assertEqual(self.caller.answers(), [])
        self.rig.clock.advance(0.2)
        self.turn()
        told = self.heard().json
        self.assertEqual((told["complete"], told["counts"]), (False, ZERO | {"queued": 1}))

    def test_nobody_to_wait_for(self) -> None:
        """A push to nobody is answered at once."""
        self.begin_push("?wait=60s")
        self.assertTrue(self.heard().json["complete"])

    def test_receipt_may_wait_too(self) -> None:
        """GET with wait."""
        device = self.device("dev", "t")
        id = self.push(topic="t", receipt=True)["id"]
        self.begin("GET", f"/v1/push/{id}?wait=1m")
        self.assertEqual(self.caller.answers(), [])
        payloads(device)
        self.turn()
        self.assertTrue(self.heard().json["complete"])

    def test_deadline_moves(self) -> None:
        """A connection's patience is longer by what its caller wants to wait."""
        self.device("dev", "t").drop()
        self.begin_push("?wait=60s")
        self.caller.clock.advance(59)
        self.caller.clock.advance(20)
        self.assertEqual(self.caller.answers(), [])

    def test_leaving(self) -> None:
        """Whoever leaves is not waited for any more."""
        self.device("dev", "t").drop()
        self.begin_push("?wait=60s")
        self.caller.channel.connectionLost(LOST)
        self.turn()
        self.rig.clock.advance(61)


class StreamTests(PushApiCase):
    """GET /v1/push/<id>/sse"""

    def events(self) -> list[tuple[str, Any]]:
        """What came since the last time."""
        told = []
        for block in self.caller.transport.value().decode().split("\n\n"):
            lines = dict(
                line.split(": ", 1) for line in block.splitlines() if line.startswith(("event", "data"))
            )
            if lines:
                told.append((lines["event"], json.loads(lines["data"])))
        self.caller.transport.clear()
        return told

    def test_changes(self) -> None:
        """First how it stands, then each change, at last how it ended; and that is the end."""
        device = self.device("dev", "t")
        device.drop()
        id = self.push(topic="t", receipt=True)["id"]
        self.begin("GET", f"/v1/push/{id}/sse")
        ((event, told),) = self.events()
        self.assertEqual((event, told["counts"]["queued"]), ("receipt", 1))
        payloads(self.device("dev"))
        self.turn()
        *changes, (event, told) = self.events()
        self.assertEqual([(name, change["state"]) for name, change in changes], [
            ("device", "sent"), ("device", "acknowledged"),
        ])  # fmt: skip
        self.assertEqual((event, told["complete"]), ("receipt", True))

    def test_complete_already(self) -> None:
        """Of one that is at its end there is one event."""
        id = self.push(topic="t", receipt=True)["id"]
        self.begin("GET", f"/v1/push/{id}/sse")
        ((event, told),) = self.events()
        self.assertEqual((event, told["complete"]), ("receipt", True))

    def test_reader_leaves(self) -> None:
        """Nothing is left of one who leaves."""
        self.device("dev", "t").drop()
        id = self.push(topic="t", receipt=True)["id"]
        self.begin("GET", f"/v1/push/{id}/sse")
        self.caller.channel.connectionLost(LOST)
        receipt = self.rig.broker.receipts.get(id)
        self.assertFalse(receipt is None or receipt.watchers)

    def test_nobody_elses(self) -> None:
        """As the receipt itself."""
        id = self.push(ADA, topic="t", receipt=True)["id"]
        self.assertEqual(self.ask("GET", f"/v1/push/{id}/sse").code, 40400)
