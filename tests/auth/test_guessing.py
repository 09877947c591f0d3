"""Guessing passwords at a whole broker, by bytes: what whoever does it hears, and who is let in meanwhile."""

from __future__ import annotations

import base64
from itertools import count

from twisted.internet.address import IPv4Address
from twisted.internet.defer import execute
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.chain import AuthenticatorChain
from pushd.auth.check_queue import CheckQueue
from pushd.auth.failures import BACKED_OFF
from pushd.auth.password_file import PasswordFile, PasswordFileAuthenticator
from pushd.auth.password_hash import make_pbkdf2
from pushd.gateway.site import make_site
from pushd.mqtt.codes import ReasonCode, Version
from pushd.mqtt.packets import Connack
from pushd.transports.addresses import peer_address
from tests.auth.logins import Guarded
from tests.driver import Rig
from tests.gateway.callers import Press


class GuessingTests(SynchronousTestCase):
    """Three failures are allowed; anna's password is "secret"."""

    def setUp(self) -> None:
        self.failures = Guarded(limit=3)
        users = PasswordFile({"anna": make_pbkdf2(b"secret", 1)})
        check = PasswordFileAuthenticator(users, execute, CheckQueue(), self.failures)
        self.chain = AuthenticatorChain([check], allow_anonymous=False)
        self.rig = Rig(authenticator=self.chain)
        self.site = make_site(Press(), self.chain, reactor=Clock(), peer_address=peer_address)
        self.numbers = count()

    def connack(self, password: str, version: Version = Version.V5) -> Connack:
        """What the broker tells anna with this password."""
        peer = self.rig.connect(
            f"client{next(self.numbers)}", username="anna", password=password.encode(), version=version
        )
        assert peer.connack is not None
        return peer.connack

    def guess(self) -> Connack:
        """Three wrong passwords; the last answer."""
        return [self.connack(f"guess {next(self.numbers)}") for _ in range(3)][-1]

    def post(self, password: str) -> bytes:
        """What the gateway answers to anna with this password."""
        channel = self.site.buildProtocol(None)
        transport = StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.7", 4711))
        channel.makeConnection(transport)
        shown = base64.b64encode(b"anna:" + password.encode())
        channel.dataReceived(b"POST /t HTTP/1.0\r\nAuthorization: Basic %b\r\n\r\n" % shown)
        return bytes(transport.value())

    def test_mqtt_hears_what_a_wrong_password_hears(self) -> None:
        """Byte for byte, in either version; also with the right password."""
        wrong = self.guess()
        self.assertIs(wrong.code, ReasonCode.NOT_AUTHORIZED)
        self.assertEqual(self.connack("secret"), wrong)
        self.assertEqual(self.connack("secret", Version.V3_1_1).code, self.connack("x", Version.V3_1_1).code)
        self.assertEqual(self.failures.counted[BACKED_OFF], 3)

    def test_http_hears_for_how_long(self) -> None:
        """401 for a wrong password, 429 for one that was not looked at."""
        for number in range(3):
            self.assertIn(b'"code":40101', self.post(f"guess {number}"))
        answer = self.post("secret")
        self.assertIn(b'{"code":42909,"http":429,', answer)
        self.assertIn(b"\r\nRetry-After: 1\r\n", answer)
        self.failures.clock.advance(1)
        self.assertIn(b"200 OK", self.post("secret"))

    def test_mqtt_and_http_count_together(self) -> None:
        """What is tried at one door counts at the other."""
        self.guess()
        self.assertIn(b'"code":42909', self.post("secret"))

    def test_who_was_here_before_comes_back(self) -> None:
        """While a neighbour at the same address guesses other passwords, by whichever way."""
        self.assertIs(self.connack("secret").code, ReasonCode.SUCCESS)
        for number in range(5):
            self.rig.connect(username=f"user{number}", password=b"guess")
        self.assertIs(self.connack("secret").code, ReasonCode.SUCCESS)
        self.assertIn(b"200 OK", self.post("secret"))
