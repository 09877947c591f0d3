"""The gateway as curl sees it: pushes in all their spellings, and what is said to those that are refused."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from tests.clients.furniture import Answer, BrokerTestCase, Received

ADA = ("-u", "ada:secret")
TRUSTING = ("--cacert", "certs/ca.crt")

SETTINGS = """\
per_listener_settings true

listener {mqtt} 127.0.0.1
allow_anonymous true

listener {http} 127.0.0.1
protocol http
password_file passwd
acl_file acl

listener {open} 127.0.0.1
protocol http
allow_anonymous true
password_file passwd
acl_file acl

listener {https} 127.0.0.1
protocol http
certfile certs/server.crt
keyfile certs/server.key
password_file passwd

listener {mutual} 127.0.0.1
protocol http
cafile certs/ca.crt
certfile certs/server.crt
keyfile certs/server.key
require_certificate true
use_identity_as_username true
acl_file acl

listener {few} 127.0.0.1
protocol http
max_connections 1
"""
ACL = """\
topic write open/#
topic write suggestions

user ada
topic write #

user bob
topic read #
topic write only/bob

user phone
topic write from/phone
"""


class GatewayTestCase(BrokerTestCase):
    """Each class has the same settings."""

    settings = SETTINGS
    acl = ACL

    def assert_refused(self, answer: Answer, code: int) -> None:
        """ntfy's error object, with this number."""
        told = json.loads(answer.body)
        self.assertEqual((told["code"], told["http"], answer.status), (code, code // 100, code // 100), told)
        self.assertTrue(told["error"])


class PushTests(GatewayTestCase):
    """What is pushed arrives."""

    def test_post_and_put(self) -> None:
        """Both send the body to the topic in the path; the answer is ntfy's message object."""
        subscriber = self.subscriber("-t", "#")
        for method in ("POST", "PUT"):
            answer = self.curl("/alerts", *ADA, "-X", method, "-d", f"by {method}")
            self.assertEqual(answer.status, 200)
            told = json.loads(answer.body)
            self.assertEqual((told["event"], told["topic"]), ("message", "alerts"))
            self.assertEqual(told["message"], f"by {method}")
            self.assertRegex(told["id"], "^[A-Za-z0-9]{12}$")
            self.assertEqual(subscriber.until(f"by {method}")[-1].topic, "alerts")

    def test_a_file(self) -> None:
        """``-T`` puts a file, here of as many bytes as a message may have."""
        text = "f" * 65_536
        Path(self.directory, "file").write_text(text)
        subscriber = self.subscriber("-t", "files")
        self.assertEqual(self.curl("/files", *ADA, "-T", "file").status, 200)
        self.assertEqual(subscriber.until("f+")[0].payload, text)

    def test_json(self) -> None:
        """An object posted to the root names its topic itself, of several levels too."""
        subscriber = self.subscriber("-t", "#")
        pushed = json.dumps({"topic": "home/door", "message": "open", "title": "Door", "priority": 5})
        answer = self.curl("/", *ADA, "-d", pushed)
        self.assertEqual(answer.status, 200)
        self.assertEqual(json.loads(answer.body)["title"], "Door")
        self.assertEqual(subscriber.until("open")[0].topic, "home/door")

    def test_levels_in_paths(self) -> None:
        """``%2F`` and ``/v1/publish`` reach every MQTT topic."""
        subscriber = self.subscriber("-t", "#")
        self.curl("/home%2Fdoor", *ADA, "-d", "one")
        self.curl("/v1/publish/home/window", *ADA, "--data-binary", "two")
        topics = [message.topic for message in subscriber.until("two")]
        self.assertEqual(topics, ["home/door", "home/window"])

    def test_quality_and_retain(self) -> None:
        """``?qos=`` and ``?retain=`` mean what they mean in MQTT."""
        subscriber = self.subscriber("-t", "state", "-q", 2)
        for qos in (0, 1, 2):
            self.curl(f"/state?qos={qos}&retain=yes", *ADA, "-d", f"at {qos}")
        self.assertEqual([message.qos for message in subscriber.until("at 2")], [0, 1, 2])
        later = self.subscriber("-t", "state", "-q", 2)
        self.assertEqual(later.until("at 2"), [Received("state", "at 2", 2, True)])

    def test_two_pushes_over_one_connection(self) -> None:
        """Connections are kept for the next push."""
        url = f"http://localhost:{self.broker.port('http')}/kept"
        answer = self.curl("/kept", *ADA, "-v", "-d", "hello", url)
        self.assertIn("Re-using existing connection", answer.body)

    def test_health(self) -> None:
        """Anybody may ask whether the server is well."""
        self.assertEqual(self.curl("/v1/health"), Answer(200, '{"healthy":true}\n', 0))


class RefusalTests(GatewayTestCase):
    """What is not taken."""

    def test_wrong_credentials(self) -> None:
        """A wrong password and a name that does not exist are 401 alike."""
        for user in ("ada:wrong", "eve:secret", "ada:"):
            self.assert_refused(self.curl("/alerts", "-u", user, "-d", "x"), 40101)

    def test_no_credentials(self) -> None:
        """Without any it is 403: here nobody comes in without a name."""
        self.assert_refused(self.curl("/alerts", "-d", "x"), 40301)

    def test_not_allowed(self) -> None:
        """Where the ACL gives no right to write it is 403, and nothing is published."""
        subscriber = self.subscriber("-t", "#")
        self.assert_refused(self.curl("/alerts", "-u", "bob:hunter2", "-d", "no"), 40301)
        self.assertEqual(self.curl("/only%2Fbob", "-u", "bob:hunter2", "-d", "yes").status, 200)
        self.assertEqual([message.payload for message in subscriber.until("yes")], ["yes"])

    def test_anonymous_callers(self) -> None:
        """Where they are let in, they have the rights of the ACL's first lines."""
        self.assertEqual(self.curl("/suggestions", "-d", "x", port="open").status, 200)
        self.assert_refused(self.curl("/alerts", "-d", "x", port="open"), 40301)
        self.assert_refused(self.curl("/suggestions", "-u", "ada:x", "-d", "x", port="open"), 40101)

    def test_bad_topics(self) -> None:
        """Wildcards, the server's own topics and ntfy's own pages are no topics."""
        for topic, code in (
            ("a%2B", 40009),
            ("%23", 40009),
            ("%24SYS%2Fa", 40009),
            ("a.b", 40009),
            ("v1", 40010),
            ("docs", 40010),
        ):
            self.assert_refused(self.curl(f"/{topic}", *ADA, "-d", "x"), code)

    def test_bad_parameters(self) -> None:
        """A quality that does not exist is not taken for another one."""
        self.assert_refused(self.curl("/alerts?qos=3", *ADA, "-d", "x"), 40000)
        self.assert_refused(self.curl("/", *ADA, "-d", "no object"), 40024)

    def test_no_such_page(self) -> None:
        """Neither pages nor methods that are not there."""
        self.assert_refused(self.curl("/no/such/page", *ADA, "-d", "x"), 40401)
        self.assert_refused(self.curl("/alerts", *ADA, "-X", "DELETE"), 40401)

    def test_too_large(self) -> None:
        """One byte more than a message may have, whether its length was said before or not."""
        Path(self.directory, "large").write_text("x" * 65_537)
        self.assert_refused(self.curl("/alerts", *ADA, "-T", "large"), 41301)
        chunked = ("-H", "Transfer-Encoding: chunked")
        self.assert_refused(self.curl("/alerts", *ADA, *chunked, "-T", "large"), 41301)

    def test_max_connections(self) -> None:
        """A listener that is full closes the connection without an answer."""
        with socket.create_connection(("127.0.0.1", self.broker.port("few"))):
            self.assertEqual(self.curl("/v1/health", port="few").status, 0)


class HTTPSTests(GatewayTestCase):
    """The same over TLS."""

    def test_https(self) -> None:
        """certfile and keyfile make a gateway HTTPS."""
        answer = self.curl("/alerts", *TRUSTING, *ADA, "-d", "hi", port="https", scheme="https")
        self.assertEqual(answer.status, 200)
        answer = self.curl("/alerts", *TRUSTING, "-u", "ada:x", "-d", "hi", port="https", scheme="https")
        self.assert_refused(answer, 40101)

    def test_http_at_an_https_port(self) -> None:
        """Gets no answer."""
        self.assertEqual(self.curl("/alerts", *ADA, "-d", "hi", port="https").status, 0)

    def test_a_certificate_as_name(self) -> None:
        """With use_identity_as_username a caller needs no password: the certificate says who it is."""
        subscriber = self.subscriber("-t", "#")
        shown = (*TRUSTING, "--cert", "certs/phone.crt", "--key", "certs/phone.key")
        flags = (*shown, "-d", "hi")
        self.assertEqual(self.curl("/from%2Fphone", *flags, port="mutual", scheme="https").status, 200)
        self.assertEqual(subscriber.until("hi")[0].topic, "from/phone")
        self.assert_refused(self.curl("/alerts", *flags, port="mutual", scheme="https"), 40301)

    def test_bad_certificates(self) -> None:
        """None, a stranger's and one that has run out end the handshake."""
        late = ("--cert", "certs/late.crt", "--key", "certs/late.key")
        stranger = ("--cert", "strangers/phone.crt", "--key", "strangers/phone.key")
        for shown in ((), late, stranger):
            answer = self.curl("/a", *TRUSTING, *shown, "-d", "hi", port="mutual", scheme="https")
            self.assertEqual((answer.status, answer.exit_status != 0), (0, True), shown)
