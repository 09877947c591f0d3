"""
What one user has, and another knows the name of: tokens, receipts, scheduled messages, endpoints, keys.

Both may publish and read the same topic here, so it is not the access rules that keep them apart.
"""

from __future__ import annotations

import json
from typing import Any

from tests.clients.furniture import BrokerTestCase

SETTINGS = """\
accounts true
password_file passwd
acl_file acl
admin_user root
persistence true
persistence_location data
attachment_cache_dir files
gateway_limits false
listener {mqtt} 127.0.0.1
listener {http} 127.0.0.1
protocol http
"""

ACL = """\
user ada
topic readwrite shared
user bob
topic readwrite shared
"""

ADA = ("-u", "ada:secret")
BOB = ("-u", "bob:hunter2")


class OthersTests(BrokerTestCase):
    """Bob and what is ada's"""

    settings = SETTINGS
    acl = ACL

    def ask(self, method: str, path: str, *flags: str) -> tuple[int, Any]:
        """:return: status and object of an answer."""
        answer = self.curl(path, "-X", method, *flags)
        return answer.status, json.loads(answer.body)

    def assert_not_his(self, method: str, path: str, *flags: str) -> None:
        """It looks to bob as what there is not, byte for byte."""
        status, told = self.ask(method, path, *flags, *BOB)
        self.assertEqual((status, told["code"] // 100), (404, 404), (method, path))
        self.assertEqual(told.keys(), {"code", "http", "error"})

    def test_tokens(self) -> None:
        """They are neither seen, nor changed, nor taken back; by themselves or as they are shown."""
        _, made = self.ask("POST", "/v1/account/token", "-d", '{"label":"mine"}', *ADA)
        _, account = self.ask("GET", "/v1/account", *ADA)
        masked = account["tokens"][0]["token"]
        for token in (made["token"], masked):
            self.assert_not_his("DELETE", "/v1/account/token", "-H", f"X-Token: {token}")
            body = json.dumps({"token": token, "label": "his"})
            self.assert_not_his("PATCH", "/v1/account/token", "-d", body)
        _, account = self.ask("GET", "/v1/account", *BOB)
        self.assertEqual(account.get("tokens", []), [])
        status, account = self.ask("GET", "/v1/account", "-H", f"Authorization: Bearer {made['token']}")
        self.assertEqual((status, account["tokens"][0]["label"]), (200, "mine"))

    def test_receipts(self) -> None:
        """Who has what of a push is for who has pushed."""
        body = json.dumps({"targets": {"topics": ["shared"]}, "message": "x", "receipt": True})
        _, pushed = self.ask("POST", "/v1/push", "-d", body, *ADA)
        path = f"/v1/push/{pushed['id']}"
        self.assertEqual(self.ask("GET", path, *ADA)[0], 200)
        self.assert_not_his("GET", path)
        self.assert_not_his("GET", f"{path}/sse")
        self.assertEqual(self.ask("GET", path, *BOB), self.ask("GET", "/v1/push/AbCdEfGhIjKl", *BOB))

    def test_scheduled(self) -> None:
        """Not seen, and not cancelled."""
        body = json.dumps({"topic": "shared", "message": "later", "delay": "1h"})
        _, pushed = self.ask("POST", "/", "-d", body, *ADA)
        path = f"/v1/scheduled/{pushed['id']}"
        self.assertEqual(self.ask("GET", path, *ADA)[0], 200)
        self.assert_not_his("GET", path)
        self.assert_not_his("DELETE", path)
        self.assertNotIn(pushed["id"], json.dumps(self.ask("GET", "/v1/scheduled", *BOB)[1]))
        self.assertEqual(self.ask("GET", path, *ADA)[0], 200)

    def test_endpoints(self) -> None:
        """Not listed, and not removed."""
        _, made = self.ask("POST", "/v1/up", "-d", '{"topic":"shared"}', *ADA)
        (name,) = [one["id"] for one in self.ask("GET", "/v1/up", *ADA)[1]["endpoints"]]
        self.assertNotIn(name, json.dumps(self.ask("GET", "/v1/up", *BOB)[1]))
        self.assert_not_his("DELETE", f"/v1/up/{name}")
        endpoint = made["endpoint"]
        path = endpoint[endpoint.index("/v1/") :]
        self.assertEqual(self.curl(path, "-d", "x", "-H", "TTL: 60").status, 201)

    def test_keys(self) -> None:
        """An Idempotency-Key is one of its user's: it gives nobody the answer of another."""
        flags = ("-H", "Idempotency-Key: guessed", "-d", "the same")
        _, first = self.ask("POST", "/shared", *flags, *ADA)
        _, again = self.ask("POST", "/shared", *flags, *ADA)
        _, his = self.ask("POST", "/shared", *flags, *BOB)
        self.assertEqual(first["id"], again["id"])
        self.assertNotEqual(first["id"], his["id"])

    def test_sessions(self) -> None:
        """Clients, accounts, friends and lists of others are for administrators."""
        for path in ("/v1/clients", "/v1/users", "/v1/users/ada", "/v1/users/ada/follows"):
            self.assertEqual(self.ask("GET", path, *BOB)[0], 403, path)
        for method, path in (
            ("PUT", "/v1/users/ada/follows/bob"),
            ("PUT", "/v1/users/ada/subscriptions/shared"),
            ("DELETE", "/v1/users/ada"),
            ("DELETE", "/v1/clients/phone"),
        ):
            self.assertEqual(self.ask(method, path, *BOB)[0], 403, path)
