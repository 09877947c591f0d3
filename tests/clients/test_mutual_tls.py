"""Mutual TLS with mosquitto's clients: the certificate is the device's name, and a bad one is no way in."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from tests.clients.furniture import BrokerTestCase, Outcome, Received, device
from tests.processes import DEADLINE_S

IDENTITY = """\
per_listener_settings true
listener {mqtt} 127.0.0.1
allow_anonymous true

listener {tls} 127.0.0.1
cafile certs/ca.crt
certfile certs/server.crt
keyfile certs/server.key
crlfile certs/ca.crl
require_certificate true
use_identity_as_username true
acl_file acl

listener {subject} 127.0.0.1
cafile certs/ca.crt
certfile certs/server.crt
keyfile certs/server.key
require_certificate true
use_subject_as_username true
acl_file acl

listener {optional} 127.0.0.1
cafile certs/ca.crt
certfile certs/server.crt
keyfile certs/server.key
use_identity_as_username true

listener {oneway} 127.0.0.1
certfile certs/server.crt
keyfile certs/server.key
password_file passwd
tls_version tlsv1.3
"""
ACL = "user phone\ntopic phones/#\n\nuser CN=phone\ntopic subjects/#\n"
TRUSTING = ("--cafile", "certs/ca.crt")


class MutualTLSTests(BrokerTestCase):
    """A listener that requires a certificate and takes the client's name from it."""

    settings = IDENTITY
    acl = ACL

    def greet(self, *flags: str, port: str = "tls", topic: str = "phones/hello") -> Outcome:
        """Publish at QoS 1, so that a success means that the broker took it."""
        return self.publish("-h", "localhost", "-t", topic, "-m", "hi", "-q", 1, *flags, port=port)

    def assert_no_way_in(self, why: str, *flags: str) -> None:
        """These flags get nobody in, and the log says why in a line with `why`."""
        after = len(self.broker.lines)
        self.assertNotEqual(self.greet(*flags).status, 0)
        self.broker.wait_for(why, after)

    def test_a_good_certificate(self) -> None:
        """It opens the door, and its common name is whom the ACL speaks of."""
        watcher = self.subscriber("-t", "#")
        self.greet(*device("phone"), topic="phones/hello")
        self.greet(*device("phone"), topic="tablets/hello")
        self.greet(*device("tablet"), topic="phones/tablet")
        self.publish("-t", "end", "-m", "end of good")
        topics = [message.topic for message in watcher.until("end of good")]
        self.assertEqual(topics, ["phones/hello", "end"])

    def test_the_name_in_the_certificate_counts(self) -> None:
        """Whoever calls itself something else, with whatever password, is still who the certificate says."""
        watcher = self.subscriber("-t", "#")
        self.greet("-u", "phone", "-P", "x", *device("tablet"))
        self.greet("-u", "eve", "-P", "x", *device("phone"), topic="phones/named")
        self.assertEqual(watcher.until("hi"), [Received("phones/named", "hi", 0, False)])

    def test_a_certificate_of_strangers(self) -> None:
        """Another authority's certificate does not get in, with the same name on it."""
        self.assert_no_way_in("(?i)certificate", *TRUSTING, *device("phone", "strangers")[2:])

    def test_a_certificate_that_has_run_out(self) -> None:
        """Its time is over."""
        self.assert_no_way_in("(?i)expired", *device("late"))

    def test_a_certificate_that_was_taken_back(self) -> None:
        """It is on the list of the authority."""
        self.assert_no_way_in("(?i)revoked", *device("stolen"))

    def test_no_certificate(self) -> None:
        """A password alone is no way in, and nothing is none either."""
        self.assert_no_way_in("(?i)certificate", *TRUSTING)
        self.assert_no_way_in("(?i)certificate", *TRUSTING, "-u", "ada", "-P", "secret")

    def test_a_client_without_tls(self) -> None:
        """It is turned away at once, and the log knows why."""
        self.assert_no_way_in("what it sent is not TLS")
        self.assertNotEqual(self.curl("/", port="tls").exit_status, 0)
        self.broker.wait_for("it sent HTTP, not TLS")

    def test_the_client_checks_the_server(self) -> None:
        """A client that trusts another authority does not talk to us."""
        outcome = self.greet("--cafile", "strangers/ca.crt", *device("phone")[2:])
        self.assertNotEqual(outcome.status, 0)

    def test_the_subject_as_name(self) -> None:
        """With use_subject_as_username, it is all of the subject."""
        watcher = self.subscriber("-t", "#")
        self.greet(*device("phone"), port="subject", topic="phones/subject")
        self.greet(*device("phone"), port="subject", topic="subjects/hello")
        self.assertEqual(watcher.until("hi"), [Received("subjects/hello", "hi", 0, False)])

    def test_a_certificate_that_is_not_required(self) -> None:
        """As in Mosquitto, it is not asked for either: then there is no name, and no way in."""
        outcome = self.greet("-d", *device("tablet"), port="optional")
        self.assertIn("CONNACK (4)", outcome.output)

    def test_passwords_over_tls(self) -> None:
        """A listener with nothing but a certificate of its own asks for passwords."""
        self.assertEqual(self.greet("-u", "ada", "-P", "secret", *TRUSTING, port="oneway").status, 0)
        self.assertEqual(self.greet("-u", "ada", "-P", "x", *TRUSTING, port="oneway").status, 5)

    def test_an_old_version_of_tls(self) -> None:
        """Where TLS 1.3 is asked for, 1.2 does not get through the handshake."""
        context = ssl.create_default_context(cafile=str(self.directory / "certs/ca.crt"))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        for port, accepted in (("optional", True), ("oneway", False)):
            with socket.create_connection(("127.0.0.1", self.broker.port(port)), DEADLINE_S) as plain:
                if accepted:
                    context.wrap_socket(plain, server_hostname="localhost").close()
                else:
                    self.assertRaises(ssl.SSLError, context.wrap_socket, plain, server_hostname="localhost")

    def test_messages_larger_than_a_record(self) -> None:
        """A message of many TLS records arrives whole, in both directions."""
        payload = Path(self.directory, "large")
        payload.write_text("y" * 300_000)
        flags = ("-h", "localhost", "-q", "1", *device("phone"))
        reader = self.subscriber("-t", "phones/large", *flags, port="tls")
        self.assertEqual(self.publish("-t", "phones/large", "-f", "large", *flags, port="tls").status, 0)
        self.assertEqual(len(reader.until("y+")[0].payload), 300_000)
