"""
A broker that listens, and clients that send it bytes: what every conformance test is made of.

A broker is a process of its own, started when the first test wants one of its kind and stopped at the end of
the run; then it must exit cleanly and must have logged no error.

The same tests hold for any broker that reads mosquitto.conf's syntax: with
``PUSHD_CONFORMANCE_BROKER=/usr/sbin/mosquitto`` each settings file goes to that program instead, which tells
a wrong expectation from a wrong broker. What Mosquitto 2.0 then fails is where it departs from the standard,
or has no such option.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path

import pytest

from tests.conformance import packets

ROOT = Path(__file__).resolve().parents[2]
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
OTHER_BROKER = os.environ.get("PUSHD_CONFORMANCE_BROKER")

# Long enough for a busy machine; a test that waits so long for something has failed.
PATIENCE_S = 5.0

_ALARMING = re.compile(r"Traceback|Unhandled|CRITICAL|Error:")
_numbers = count(1)


def unique(kind: str = "c") -> str:
    """A client id or topic name that nobody else has used on this broker; at most 23 letters and digits."""
    return f"{kind}{next(_numbers)}"


class Broker:
    """
    A broker's process.

    :param settings: lines of its settings file; ``{port}`` and ``{second_port}`` are free ports, ``{folder}``
        is where `files` are.
    :param files: more files that the settings name.
    :param identity: user name and password of the clients that it makes.
    """

    def __init__(
        self,
        settings: str,
        files: dict[str, str] | None = None,
        identity: tuple[str, bytes] | tuple[None, None] = (None, None),
    ) -> None:
        self._identity = identity
        self._folder = tempfile.TemporaryDirectory(prefix="pushd-conformance-")
        folder = Path(self._folder.name)
        for name, content in (files or {}).items():
            (folder / name).write_text(content)
            (folder / name).chmod(0o600)
        self.port, self.second_port = _free_port(), _free_port()
        self._settings = folder / "broker.conf"
        self._settings.write_text(
            _readable_by(OTHER_BROKER, settings).format(
                port=self.port, second_port=self.second_port, folder=folder
            )
        )
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(), stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=_environment()
            )
        self._await_port()

    def _command(self) -> list[str]:
        if OTHER_BROKER:
            return [OTHER_BROKER, "-c", str(self._settings)]
        return [*TWISTD, "--nodaemon", "--pidfile=", "pushd", "-c", str(self._settings)]

    def _await_port(self) -> None:
        for _ in range(int(PATIENCE_S / 0.02) * 3):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except ConnectionRefusedError:
                pass
            try:
                status = self._process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"the broker ended with {status}: {self.log()}")
        self._process.kill()
        raise AssertionError(f"the broker does not listen: {self.log()}")

    def log(self) -> str:
        """What it has written so far."""
        return self._log.read_text(errors="replace")

    def stop(self) -> None:
        """End it as an operator would, and look at what it leaves behind."""
        self._process.terminate()
        try:
            status = self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"SIGTERM did not end the broker: {self.log()}") from None
        log = self.log()
        self._folder.cleanup()
        assert status in (0, -signal.SIGTERM), log  # twistd cleans up, then ends by the signal it was sent
        if not OTHER_BROKER:
            alarming = _ALARMING.search(log)
            assert not alarming, log[alarming.start() :][:4000]

    # Clients

    def open(self, *, second_port: bool = False) -> RawClient:
        """A connection on which nothing has been sent."""
        return RawClient(self.second_port if second_port else self.port)

    def client(self, client_id: str | None = None, *subscriptions: tuple[str, int]) -> RawClient:
        """A client with a clean session, connected and subscribed."""
        client = self._connected(client_id or unique(), True, packets.ACCEPTED)
        client.subscribe(*subscriptions)
        return client

    def session(self, client_id: str, *subscriptions: tuple[str, int]) -> RawClient:
        """A client with a new persistent session, connected and subscribed."""
        client = self._connected(client_id, False, packets.ACCEPTED)
        client.subscribe(*subscriptions)
        return client

    def resumed(self, client_id: str) -> RawClient:
        """The client of a persistent session that came back. What it missed is about to come."""
        return self._connected(client_id, False, packets.RESUMED)

    def _connected(self, client_id: str, clean: bool, answer: bytes) -> RawClient:
        username, password = self._identity
        client = self.open()
        question = packets.connect(
            client_id, clean=clean, keep_alive=60, username=username, password=password
        )
        client.ask(question, answer)
        return client

    def publishes(self, topic: str, payload: bytes = b"", *, qos: int = 0, retain: bool = False) -> None:
        """Somebody else publishes one message; on return the broker has it."""
        publisher = self.client()
        publisher.publishes(topic, payload, qos=qos, retain=retain)
        publisher.leave()

    def retained(self, topic_filter: str) -> list[bytes]:
        """The PUBLISH packets that a new subscription at QoS 2 is answered with."""
        client = self.client(None, (topic_filter, 2))
        found = client.packets_until_ping()
        client.drop()
        return found

    def forgets(self, client_id: str) -> None:
        """End a persistent session that a test is done with."""
        self.client(client_id).leave()

    def serves(self) -> None:
        """A well-behaved client gets what it should: whatever somebody else did, it went no further."""
        topic = unique("well/behaved/")
        client = self.client(None, (topic, 1))
        client.send(packets.publish(topic, b"all is well"))
        client.expect(packets.publish(topic, b"all is well"))
        client.leave()


class RawClient:
    """
    One TCP connection: bytes out, bytes in, nothing else. Each `send` is a segment of its own.

    Every wait has an end (`PATIENCE_S`); no test sleeps.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._next_id = 0

    def send(self, data: bytes) -> None:
        """Send these bytes."""
        self._socket.sendall(data)

    def send_bytewise(self, data: bytes) -> None:
        """Send these bytes in as many segments."""
        for at in range(len(data)):
            self._socket.sendall(data[at : at + 1])

    def send_no_more(self) -> None:
        """Close the sending half of the connection."""
        self._socket.shutdown(socket.SHUT_WR)

    def read(self, size: int) -> bytes:
        """Exactly so many bytes; fewer if the broker closes before."""
        data = bytearray()
        while len(data) < size:
            try:
                chunk = self._socket.recv(size - len(data))
            except TimeoutError:
                raise AssertionError(f"{size} bytes expected, got only {bytes(data[:80])!r}") from None
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                break
            data += chunk
        return bytes(data)

    def expect(self, *expected: bytes) -> None:
        """The next bytes are these packets, in this order."""
        for each in expected:
            got = self.read(len(each))
            if got != each:  # not an assert: pytest would compare megabytes for its message
                pytest.fail(f"expected {each[:80]!r}, got {got[:80]!r}")

    def ask(self, question: bytes, *answers: bytes) -> None:
        """Send something, and expect these answers."""
        self.send(question)
        self.expect(*answers)

    def expect_in_any_order(self, *expected: bytes) -> None:
        """The next packets are these."""
        assert sorted(self.packet() for _ in expected) == sorted(expected)

    def expect_closed(self) -> None:
        """The broker closes the connection, without a word."""
        assert self.read(1) == b""
        self._socket.close()

    def expect_silence(self) -> None:
        """Nothing was sent up to now: the answer to a PINGREQ is the next packet."""
        self.ask(packets.PINGREQ, packets.PINGRESP)

    def packet(self) -> bytes:
        """The next packet, whole; empty if the broker closes."""
        header = self.read(2)
        length, shift = 0, 0
        while header:
            length |= (header[-1] & 127) << shift
            if header[-1] < 128:
                break
            header += self.read(1)
            shift += 7
        return header + self.read(length)

    def packets_until_ping(self) -> list[bytes]:
        """What was sent up to now."""
        self.send(packets.PINGREQ)
        found = []
        while (packet := self.packet()) != packets.PINGRESP:
            assert packet, "the connection was closed"
            found.append(packet)
        return found

    def subscribe(self, *subscriptions: tuple[str, int]) -> None:
        """Subscribe and be granted all of it."""
        if subscriptions:
            granted = packets.suback(9000, *(qos for _, qos in subscriptions))
            self.ask(packets.subscribe(9000, *subscriptions), granted)

    def publishes(self, topic: str, payload: bytes = b"", *, qos: int = 0, retain: bool = False) -> None:
        """Publish with the whole handshake; on return the broker has it."""
        self._next_id += 1
        number = self._next_id
        self.send(packets.publish(topic, payload, number, qos=qos, retain=retain))
        if qos == 0:
            self.expect_silence()
        elif qos == 1:
            self.expect(packets.puback(number))
        else:
            self.expect(packets.pubrec(number))
            self.ask(packets.pubrel(number), packets.pubcomp(number))

    def leave(self) -> None:
        """Say DISCONNECT, and see the broker close."""
        self.ask(packets.DISCONNECT)
        self.expect_closed()

    def drop(self) -> None:
        """Go away without a word."""
        self._socket.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def _readable_by(other_broker: str | None, settings: str) -> str:
    """Take out what only pushd knows, and let a foreign broker read our files when root runs the tests."""
    if not other_broker:
        return settings
    lines = [line for line in settings.splitlines() if not line.startswith("connect_timeout")]
    return "\n".join([*lines, *(["user root"] if os.geteuid() == 0 else []), ""])
