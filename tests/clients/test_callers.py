"""
Who may call the gateway, with curl and a real pushd: certificates, tokens, trusted proxies, and how fast.

In the ACL the phone and bob have topics of their own; whoever has no name has none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from statistics import median
from time import perf_counter
from typing import Any

from tests.clients.furniture import Answer, BrokerTestCase, curl, pushctl
from tests.processes import Program, program

ACL = """\
user phone
topic phones/#
user bob
topic bobs/#
user ada
topic #
user eve
topic open
user fay
topic open
"""


class CallersTestCase(BrokerTestCase):
    """A server of which much can be asked."""

    acl = ACL

    def pushctl(self, *words: str) -> str:
        return pushctl(self.broker, self.directory, *words)

    def push(self, topic: str, *flags: str, port: str = "http", scheme: str = "http") -> Answer:
        return self.curl(f"/v1/publish/{topic}", "-d", "x", *flags, port=port, scheme=scheme)

    def listener(self, topic: str, *flags: str, port: str = "http", scheme: str = "http") -> Program:
        """A curl that has begun to read a stream; it ends with the test."""
        url = f"{scheme}://localhost:{self.broker.port(port)}/v1/listen?filter={topic}"
        reader = Program([program("curl"), "-sSiN", *flags, url], self.directory)
        self.addCleanup(reader.kill)
        reader.wait_for("200 OK")
        return reader


def bearer(token: str) -> tuple[str, str]:
    return "-H", f"Authorization: Bearer {token}"


def as_device(name: str) -> tuple[str, ...]:
    """curl's words for a device's certificate."""
    trusting = ("--cacert", "certs/ca.crt")
    return (*trusting, "--cert", f"certs/{name}.crt", "--key", f"certs/{name}.key")


CERTIFICATES = """\
per_listener_settings true
persistence true
persistence_location data
listener {mqtt} 127.0.0.1
allow_anonymous true

listener {mqtts} 127.0.0.1
cafile certs/ca.crt
certfile certs/server.crt
keyfile certs/server.key
crlfile certs/ca.crl
require_certificate true
use_identity_as_username true
acl_file acl

listener {https} 127.0.0.1
protocol http
cafile certs/ca.crt
certfile certs/server.crt
keyfile certs/server.key
crlfile certs/ca.crl
require_certificate true
use_identity_as_username true
acl_file acl

listener {subject} 127.0.0.1
protocol http
cafile certs/ca.crt
certfile certs/server.crt
keyfile certs/server.key
require_certificate true
use_subject_as_username true
"""


class CertificateTests(CallersTestCase):
    """HTTPS with client certificates, as with MQTTS."""

    settings = CERTIFICATES

    def https(self, topic: str, *flags: str) -> Answer:
        return self.push(topic, *flags, port="https", scheme="https")

    def who(self, *flags: str, port: str = "https") -> str:
        answer = self.curl("/v1/account", *flags, port=port, scheme="https")
        self.assertEqual(answer.status, 200, answer)
        username: str = json.loads(answer.body)["username"]
        return username

    def test_the_same_user_as_by_mqtt(self) -> None:
        """The same ACL lets it do the same, here as there."""
        watcher = self.subscriber("-t", "#")
        for topic, expected in (("phones/hello", 200), ("tablets/hello", 403)):
            self.assertEqual(self.https(topic, *as_device("phone")).status, expected)
        self.assertEqual(self.https("phones/hello", *as_device("tablet")).status, 403)
        self.publish("-t", "end", "-m", "end")
        self.assertEqual([message.topic for message in watcher.until("end")], ["phones/hello", "end"])

    def test_names(self) -> None:
        """The common name, or all of the subject."""
        self.assertEqual(self.who(*as_device("phone")), "phone")
        self.assertEqual(self.who(*as_device("phone"), port="subject"), "CN=phone")

    def test_nothing_else_counts(self) -> None:
        """A password is ignored, right or wrong; a token makes nobody somebody else."""
        self.assertEqual(self.who("-u", "ada:secret", *as_device("phone")), "phone")
        other = self.pushctl("token", "add", "--user", "tablet")
        self.assertEqual(self.https("phones/x", *bearer(other), *as_device("phone")).status, 401)

    def test_a_token_of_its_own(self) -> None:
        """May show less than the certificate does."""
        own = self.pushctl("token", "add", "--user", "phone", "--write", "phones/a")
        self.assertEqual(self.https("phones/a", *bearer(own), *as_device("phone")).status, 200)
        self.assertEqual(self.https("phones/b", *bearer(own), *as_device("phone")).status, 403)
        self.assertEqual(self.https("phones/b", *as_device("phone")).status, 200)

    def test_no_way_in(self) -> None:
        """Without a certificate, with one that was taken back, or of strangers."""
        for flags in (
            ("--cacert", "certs/ca.crt", "-u", "ada:secret"),
            as_device("stolen"),
            as_device("late"),
            ("--cacert", "certs/ca.crt", "--cert", "strangers/phone.crt", "--key", "strangers/phone.key"),
        ):
            self.assertNotEqual(self.https("phones/hello", *flags).exit_status, 0, flags)

    def test_streams(self) -> None:
        """What may be read is what the certificate's name may."""
        phone = self.listener("phones/%23", *as_device("phone"), port="https", scheme="https")
        self.publish("-t", "phones/in", "-m", "for the phone", "-q", "1")
        phone.wait_for("for the phone")


TOKENS = """\
allow_anonymous false
accounts true
password_file passwd
acl_file acl
acl_check_subscribe true
admin_user ada
persistence true
persistence_location data
max_login_failures 0
listener {mqtt} 127.0.0.1
listener {http} 127.0.0.1
protocol http
"""


class TokenTests(CallersTestCase):
    """What a token opens, for how long."""

    settings = TOKENS

    def account(self, method: str, *flags: str, login: str = "bob:hunter2") -> Answer:
        return self.curl("/v1/account/token", "-u", login, "-X", method, *flags)

    def test_by_http(self) -> None:
        """Made, used, listed without its secret, and revoked: all by its user."""
        made = json.loads(self.account("POST", "-d", '{"label": "phone", "expires": 0}').body)
        token = made["token"]
        self.assertEqual(self.push("bobs/x", *bearer(token)).status, 200)
        self.assertEqual(self.push("bobs/x", "-u", f":{token}").status, 200)
        self.assertEqual(self.push("adas/x", *bearer(token)).status, 403)
        listed = self.curl("/v1/account", "-u", "bob:hunter2").body
        self.assertIn('"label":"phone"', listed)
        self.assertNotIn(token, listed)
        self.assertEqual(self.account("DELETE", "-H", f"X-Token: {token}").status, 200)
        self.await_refusal(token)

    def await_refusal(self, token: str) -> None:
        """Within a second, and some patience for a machine that is busy."""
        deadline = perf_counter() + 5.0
        while (answer := self.push("bobs/x", *bearer(token))).status != 401:
            self.assertLess(perf_counter(), deadline, answer)

    def test_others_tokens(self) -> None:
        """ntfy had this wrong once: whoever knew another's token could take it away."""
        token = self.pushctl("token", "add", "--user", "bob")
        for method, flags in (
            ("DELETE", ("-H", f"X-Token: {token}")),
            ("PATCH", ("-d", json.dumps({"token": token, "expires": 0}))),
        ):
            self.assertEqual(self.account(method, *flags, login="ada:secret").status, 404)
        self.assertEqual(self.push("bobs/x", *bearer(token)).status, 200)

    def test_scope_of_streams(self) -> None:
        """A token hears what it is for, of all that its user may read, wildcards too."""
        token = self.pushctl("token", "add", "--user", "ada", "--read", "sensors/+/state")
        for filter, status in (("sensors/a/state", 200), ("sensors/%2B/state", 200), ("%23", 403)):
            answer = self.curl(f"/v1/listen?filter={filter}", *bearer(token), "-I")
            self.assertEqual(answer.status, status, filter)
        self.assertEqual(self.push("sensors/a/state", *bearer(token)).status, 403)

    def test_a_scope_opens_no_other_door(self) -> None:
        """An administrator's token for some topics is no administrator, and makes no other token."""
        token = self.pushctl("token", "add", "--user", "ada", "--write", "a")
        for path in ("/v1/users", "/v1/clients", "/v1/status", "/v1/users/ada/follows", "/v1/rules"):
            self.assertEqual(self.curl(path, *bearer(token)).status, 403, path)
        self.assertEqual(self.curl("/v1/account/token", *bearer(token), "-d", "{}").status, 403)
        later = json.loads(self.curl("/b", "-u", "ada:secret", "-d", "x", "-H", "Delay: 1h").body)["id"]
        self.assertNotIn(later, self.curl("/v1/scheduled", *bearer(token)).body)
        self.assertEqual(self.curl(f"/v1/scheduled/{later}", *bearer(token), "-X", "DELETE").status, 404)
        self.assertIn(later, self.curl("/v1/scheduled", "-u", "ada:secret").body)

    def test_streams_end_with_their_token(self) -> None:
        """Revoked, or its user disabled, or gone; nobody else's stream ends."""
        self.pushctl("user", "add", "-b", "eve", "apple")
        self.pushctl("user", "add", "-b", "fay", "fig")
        first = self.pushctl("token", "add", "--user", "eve")
        id = json.loads(self.curl("/v1/account", *bearer(first)).body)["tokens"][0]["token"][-12:]
        second = self.pushctl("token", "add", "--user", "eve")
        third = self.pushctl("token", "add", "--user", "fay")
        stays = self.listener("bobs/%23", "-u", "bob:hunter2")
        streams = [self.listener("open", *bearer(token)) for token in (first, second, third)]
        self.pushctl("token", "remove", "eve", id)
        streams[0].finish()
        self.pushctl("user", "disable", "eve")
        streams[1].finish()
        self.pushctl("user", "delete", "fay")
        streams[2].finish()
        self.publish("-u", "bob", "-P", "hunter2", "-t", "bobs/x", "-m", "still here", "-q", "1")
        stays.wait_for("still here")

    def test_a_user_who_is_gone(self) -> None:
        """Takes its tokens along; who comes back under the same name does not get them back."""
        self.pushctl("user", "add", "-b", "gil", "grape")
        token = self.pushctl("token", "add", "--user", "gil")
        self.assertEqual(self.curl("/v1/stats", *bearer(token)).status, 200)
        self.pushctl("user", "delete", "gil")
        self.await_refusal(token)
        self.pushctl("user", "add", "-b", "gil", "grape")
        self.assertEqual(self.curl("/v1/stats", *bearer(token)).status, 401)

    def test_nothing_of_it_is_logged(self) -> None:
        """Neither a good one nor a wrong one."""
        token = self.pushctl("token", "add", "--user", "bob")
        self.push("bobs/x", *bearer(token))
        self.push("bobs/x", *bearer(token + "x"))
        self.broker.wait_for("unknown or expired token")
        self.assertNotIn(token, self.broker.log())


PROXIES = """\
allow_anonymous true
accounts true
acl_file acl
persistence true
persistence_location data
trusted_proxy unix
proxy_user_header X-Forwarded-User
max_request_rate_per_address 1
max_request_rate_per_user 2
max_login_failures 3
listener {http} 127.0.0.1
protocol http
listener 0 http.sock
protocol http
"""


class ProxyTests(CallersTestCase):
    """A proxy at a Unix socket is trusted; nobody else is."""

    settings = PROXIES

    def by_proxy(self, path: str, *flags: str) -> Answer:
        return curl(f"http://h{path}", "--unix-socket", "http.sock", *flags, directory=self.directory)

    def who(self, answer: Answer) -> str:
        username: str = json.loads(answer.body)["username"]
        return username

    def test_its_word_counts(self) -> None:
        """Through the socket, and from nowhere else."""
        header = ("-H", "X-Forwarded-User: bob")
        self.assertEqual(self.who(self.by_proxy("/v1/account", *header)), "bob")
        self.assertEqual(self.who(self.curl("/v1/account", *header)), "*")
        self.assertEqual(self.by_proxy("/v1/publish/bobs/x", *header, "-d", "x").status, 200)
        self.assertEqual(self.push("bobs/x", *header).status, 403)

    def test_a_disabled_account(self) -> None:
        """Is refused, whatever the proxy says."""
        self.pushctl("user", "add", "-b", "ina", "x")
        self.pushctl("user", "disable", "ina")
        self.assertEqual(self.by_proxy("/v1/account", "-H", "X-Forwarded-User: ina").status, 401)

    def test_limits_are_of_those_behind_it(self) -> None:
        """Each address its own; what is said to stand before it does not help."""
        statuses = [
            self.by_proxy("/v1/stats", "-H", f"X-Forwarded-For: 198.51.100.{number}, 203.0.113.5").status
            for number in range(20)
        ]
        self.assertIn(429, statuses)
        self.assertEqual(self.by_proxy("/v1/stats", "-H", "X-Forwarded-For: 203.0.113.6").status, 200)
        self.assertEqual(self.by_proxy("/v1/stats").status, 200)

    def test_so_are_failed_logins(self) -> None:
        """One address behind it guesses; another may log in."""
        self.pushctl("user", "add", "-b", "jon", "x")
        for number in range(4):
            flags = ("-u", f"jon:no{number}", "-H", "X-Forwarded-For: 203.0.113.7")
            answer = self.by_proxy("/v1/stats", *flags)
        self.assertEqual(answer.status, 429)
        self.broker.wait_for("Login failed: user 'jon' from 203.0.113.7:0 ")

    def test_retry_after(self) -> None:
        """curl --retry waits as long as it is told, and is let through."""
        bob = ("-H", "X-Forwarded-User: bob")
        for _ in range(100):
            answer = self.by_proxy("/v1/stats", "-i", *bob)
            if answer.status == 429:
                break
        self.assertIn("Retry-After: 1", answer.body)
        self.assertEqual(self.by_proxy("/v1/stats", "--retry", "5", *bob).status, 200)


ROUTES = TOKENS + "gateway_limits false\n"

# Who has a login of its own may ask these; what is in the answers is its own.
OWN = re.compile(r"/v1/(account|stats|push|scheduled|im|listen|up|webpush)\b")
FOR_ADMINISTRATORS = re.compile(r"/v1/(users|clients|status|rules|topics|version)\b|/metrics")
WRONG = ("ada:wrong", "nobody:secret", ":tk_29ab29ab29ab29ab29ab29ab29ab2")


class RouteTests(CallersTestCase):
    """Every path and method that the gateway has, as its own document tells."""

    settings = ROUTES

    def routes(self) -> Iterator[tuple[str, str]]:
        """Those at which somebody is asked who they are."""
        paths: dict[str, Any] = json.loads(self.curl("/openapi.json").body)["paths"]
        for path, operations in paths.items():
            for method, operation in operations.items():
                if operation.get("security") != []:
                    yield method.upper(), re.sub(r"{(\w+)}", _example, path)

    def ask(self, method: str, path: str, *flags: str) -> Answer:
        body = ("-d", "{}") if method in ("POST", "PUT", "PATCH") else ()
        return self.curl(path, "-X", method, *body, "--max-time", "5", *flags)

    def error(self, answer: Answer) -> int:
        """The code of the error object, which is nothing but one."""
        told = json.loads(answer.body)
        self.assertEqual(told.keys(), {"code", "http", "error"}, answer)
        code: int = told["code"]
        return code

    def test_without_a_login(self) -> None:
        """403, and never 401: nothing was wrong."""
        for method, path in self.routes():
            self.assertEqual(self.error(self.ask(method, path)), 40301, (method, path))

    def test_with_a_wrong_one(self) -> None:
        """401: a password, a name and a token."""
        for number, (method, path) in enumerate(self.routes()):
            login = WRONG[number % len(WRONG)]
            self.assertEqual(self.error(self.ask(method, path, "-u", login)), 40101, (method, path))

    def test_with_anothers(self) -> None:
        """Bob finds nothing of ada's, and no route fails."""
        for method, path in self.routes():
            status = self.ask(method, path, "-u", "bob:hunter2").status
            if FOR_ADMINISTRATORS.match(path):
                self.assertEqual(status, 403, (method, path))
            else:
                wanted = (200, 201, 202, 400, 403, 404) if OWN.match(path) else (400, 403, 404)
                self.assertIn(status, wanted, (method, path))


class GuessTests(CallersTestCase):
    """Where there are accounts, and nothing else."""

    settings = (
        "accounts true\nmax_login_failures 0\npersistence_location data\nlistener {http}\nprotocol http\n"
    )

    def test_guesses_look_alike(self) -> None:
        """An unknown user and a wrong password: the same answer, and about the same time."""
        self.pushctl("user", "add", "-b", "eve", "apple")
        self.assertEqual(self.curl("/v1/stats", "-u", "eve:apple").status, 200)
        times: dict[str, list[float]] = {"eve": [], "nobody": []}
        bodies = set()
        for number in range(15):
            for user, taken in times.items():
                began = perf_counter()
                answer = self.curl("/v1/stats", "-u", f"{user}:wrong{number}")
                taken.append(perf_counter() - began)
                self.assertEqual(answer.status, 401)
                bodies.add(answer.body)
        self.assertEqual(len(bodies), 1)
        # Loose, for other tests run meanwhile. That the same is computed for both is tested to the call.
        ratio = median(times["eve"]) / median(times["nobody"])
        self.assertTrue(0.5 < ratio < 2.0, times)


def _example(name: re.Match[str]) -> str:
    return {"user": "ada", "other": "eve", "filter": "t"}.get(name[1], "x")
