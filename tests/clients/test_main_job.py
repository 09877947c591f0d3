"""The main job: somebody says ``curl -d hello``, and it arrives on a device that a certificate let in."""

from __future__ import annotations

import json

from tests.clients.furniture import BrokerTestCase, Received, device

SETTINGS = """\
allow_anonymous false
password_file passwd
acl_file acl

listener {mqtt} 127.0.0.1

listener {tls} 127.0.0.1
cafile certs/ca.crt
certfile certs/server.crt
keyfile certs/server.key
crlfile certs/ca.crl
require_certificate true
use_identity_as_username true

listener {http} 127.0.0.1
protocol http
"""


class MainJobTests(BrokerTestCase):
    """One settings file with the three doors of the shipped one."""

    settings = SETTINGS
    acl = "user ada\ntopic #\n\nuser phone\ntopic read alerts/#\ntopic read alerts\n"
    flags = ("-h", "localhost", *device("phone"))

    def test_to_a_device_that_is_there(self) -> None:
        """hello arrives at the device, and curl is told so in ntfy's words."""
        phone = self.subscriber("-t", "alerts", *self.flags, port="tls")
        answer = self.curl("/alerts", "-u", "ada:secret", "-d", "hello")
        self.assertEqual(phone.until("hello"), [Received("alerts", "hello", 0, False)])
        self.assertEqual(answer.status, 200)
        told = json.loads(answer.body)
        self.assertEqual((told["event"], told["topic"], told["message"]), ("message", "alerts", "hello"))

    def test_at_the_quality_asked_for(self) -> None:
        """The push is as good as the lower of what both sides ask for."""
        phone = self.subscriber("-t", "alerts", "-q", 2, *self.flags, port="tls")
        for qos in (0, 1, 2):
            self.curl(f"/alerts?qos={qos}", "-u", "ada:secret", "-d", f"at {qos}")
        self.assertEqual([message.qos for message in phone.until("at 2")], [0, 1, 2])

    def test_to_a_device_that_is_away(self) -> None:
        """With a persistent session it arrives when the device comes back, once, at the QoS asked for."""
        for qos in (1, 2):
            session = ("-t", "alerts", "-q", str(qos), *self.flags)
            self.make_session(f"phone-{qos}", *session, port="tls")
            self.curl(f"/alerts?qos={qos}", "-u", "ada:secret", "-d", f"hello {qos}")
            phone = self.subscriber("-i", f"phone-{qos}", "-c", *session, port="tls")
            self.assertEqual(phone.until(f"hello {qos}"), [Received("alerts", f"hello {qos}", qos, False)])
            self.curl("/alerts?qos=1", "-u", "ada:secret", "-d", "and now")
            self.assertEqual(len(phone.until("and now")), 2)

    def test_without_asking_for_a_quality(self) -> None:
        """A push that says nothing about QoS waits for devices as well."""
        session = ("-t", "alerts", "-q", "1", *self.flags)
        self.make_session("phone-default", *session, port="tls")
        self.curl("/alerts", "-u", "ada:secret", "-d", "plain hello")
        phone = self.subscriber("-i", "phone-default", "-c", *session, port="tls")
        self.assertEqual(phone.until("plain hello"), [Received("alerts", "plain hello", 1, False)])

    def test_only_what_the_device_may_read(self) -> None:
        """What others are pushed does not reach it."""
        phone = self.subscriber("-t", "#", *self.flags, port="tls")
        self.curl("/payroll", "-u", "ada:secret", "-d", "not for phones")
        self.curl("/alerts", "-u", "ada:secret", "-d", "for phones")
        self.assertEqual([message.payload for message in phone.until("for phones")], ["for phones"])
