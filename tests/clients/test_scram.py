"""SCRAM-SHA-256 over a socket: users made by ``pushctl passwd``, a broker as twistd runs it, and SIGHUP."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from pushd.mqtt.codes import PropertyId, ReasonCode, Version
from pushd.mqtt.packets import Auth, Connack, Connect, Packet, Properties
from pushd.mqtt.reader import PacketReader
from pushd.mqtt.writer import encode
from tests.auth.scram_client import ScramClient
from tests.clients.furniture import new_directory, pushctl_passwd, run
from tests.processes import DEADLINE_S, start_pushd

SETTINGS = """\
allow_anonymous false
password_file passwd
listener {mqtt} 127.0.0.1
"""


class Caller:
    """A connection that speaks MQTT 5, one packet at a time."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        self._reader = PacketReader()
        self._reader.version = Version.V5

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()

    def ask(self, packet: Packet) -> Packet:
        """Send a packet and wait for the answer."""
        self._socket.sendall(encode(packet, Version.V5))
        while (answer := self._reader.next_packet()) is None:
            data = self._socket.recv(4096)
            assert data, "closed without an answer"
            self._reader.feed(data)
        return answer


def said(data: bytes) -> Properties:
    """The properties that carry a message."""
    return {PropertyId.AUTHENTICATION_METHOD: "SCRAM-SHA-256", PropertyId.AUTHENTICATION_DATA: data}


def heard(packet: Packet) -> bytes:
    """The message that a packet carries."""
    assert isinstance(packet, Auth | Connack)
    data = packet.properties[PropertyId.AUTHENTICATION_DATA]
    assert isinstance(data, bytes)
    return data


class ScramTests(SynchronousTestCase):
    """A broker for each test."""

    def setUp(self) -> None:
        self.directory = new_directory()
        self.add("eve", "apple")
        self.broker = start_pushd(SETTINGS, self.directory)
        self.addCleanup(self.broker.stop)

    def add(self, user: str, password: str) -> None:
        """Somebody who may use SCRAM."""
        pushctl_passwd("-H", "scram-sha-256", "-b", self.directory / "passwd", user, password)

    def log_in(self, user: str, password: str) -> ReasonCode:
        """The code of the CONNACK; with Success the broker has proved itself, too."""
        client = ScramClient(user, password)
        with Caller(self.broker.port("mqtt")) as caller:
            challenge = caller.ask(Connect(Version.V5, "scram", properties=said(client.first())))
            answer = Auth(ReasonCode.CONTINUE_AUTHENTICATION, said(client.final(heard(challenge))))
            connack = caller.ask(answer)
            assert isinstance(connack, Connack)
            if connack.code is ReasonCode.SUCCESS:
                self.assertTrue(client.trusts(heard(connack)))
            return connack.code

    def test_users_of_the_password_file(self) -> None:
        """Those with a hash for SCRAM come in with their password; nobody else does."""
        self.assertIs(self.log_in("eve", "apple"), ReasonCode.SUCCESS)
        self.assertIs(self.log_in("eve", "Apple"), ReasonCode.NOT_AUTHORIZED)
        self.assertIs(self.log_in("ada", "secret"), ReasonCode.NOT_AUTHORIZED)

    def test_same_users_by_password(self) -> None:
        """A client that knows no SCRAM sends its password, and comes in by the same line."""
        words = ("-p", str(self.broker.port("mqtt")), "-t", "a", "-m", "b", "-q", "1", "-u", "eve", "-P")
        self.assertEqual(run("mosquitto_pub", *words, "apple", directory=self.directory).status, 0)
        self.assertEqual(run("mosquitto_pub", *words, "pear", directory=self.directory).status, 5)

    def test_changed_password(self) -> None:
        """Counts from SIGHUP on."""
        self.add("eve", "pear")
        self.assertIs(self.log_in("eve", "apple"), ReasonCode.SUCCESS)
        self.assertIn("are reloaded", self.broker.reload())
        self.assertIs(self.log_in("eve", "apple"), ReasonCode.NOT_AUTHORIZED)
        self.assertIs(self.log_in("eve", "pear"), ReasonCode.SUCCESS)
