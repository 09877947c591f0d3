"""The doors of a whole broker, as the kernel sees them: descriptors run out, silence, limits that change."""

from __future__ import annotations

import contextlib  # not its `suppress` alone: trial takes a module's `suppress` for its own
import os
import re
import resource
import socket
import ssl
import tempfile
from datetime import datetime, timezone
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pushd.ctl.certs import CertificateFolder
from pushd.mqtt.codes import Version
from pushd.mqtt.packets import Connect
from pushd.mqtt.writer import encode
from tests.processes import start_pushd

CONNACK, PINGREQ, PINGRESP = b"\x20\x02\0\0", b"\xc0\0", b"\xd0\0"
SETTINGS = """\
allow_anonymous true
connect_timeout 2
listener {mqtt} 127.0.0.1
"""
MORE_DOORS = """\
listener {tls} 127.0.0.1
certfile certs/server.crt
keyfile certs/server.key
listener {proxied} 127.0.0.1
enable_proxy_protocol 1
listener {web} 127.0.0.1
protocol websockets
"""


class DoorsTestCase(SynchronousTestCase):
    """A broker of its own for each test."""

    more = ""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        CertificateFolder(Path(directory.name, "certs"), datetime.now(timezone.utc)).prepare()
        self.broker = start_pushd(SETTINGS + self.more, Path(directory.name))
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Whatever happened, nothing may have failed."""
        self.broker.stop()
        self.assertNotIn("Traceback", self.broker.log())

    def open(self, port: str = "mqtt") -> socket.socket:
        """A connection that has said nothing yet."""
        client = socket.create_connection(("127.0.0.1", self.broker.port(port)), 15)
        self.addCleanup(client.close)
        return client

    def connect(self, client_id: str) -> socket.socket:
        """A client that sent its CONNECT."""
        client = self.open()
        client.sendall(encode(Connect(client_id=client_id), Version.V3_1_1))
        return client

    def is_closed(self, client: socket.socket) -> bool:
        """Wait until it is; whether without a word."""
        try:
            return client.recv(1) == b""
        except ConnectionResetError:
            return True


class OpenFilesTests(DoorsTestCase):
    """No descriptors left"""

    def cpu_s(self) -> float:
        """Time that the broker has worked since its start."""
        fields = Path(f"/proc/{self.broker.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_served_on_and_served_again(self) -> None:
        """
        Who is in is served, who comes waits, the log says why, and the event loop does not spin. When
        somebody leaves, the next comes in.
        """
        inside = self.connect("inside")
        self.assertEqual(inside.recv(4), CONNACK)
        _, hard = resource.prlimit(self.broker.pid, resource.RLIMIT_NOFILE)
        held = [self.open() for _ in range(20)]
        self.assertEqual(self.ping(inside), PINGRESP)
        used = len(os.listdir(f"/proc/{self.broker.pid}/fd"))
        resource.prlimit(self.broker.pid, resource.RLIMIT_NOFILE, (used, hard))
        before_s, waiting = self.cpu_s(), self.connect("waiting")
        waiting.settimeout(1.5)  # shorter than connect_timeout, which sets the held ones free
        self.assertRaises(TimeoutError, waiting.recv, 4)
        self.broker.wait_for("No connections are accepted for a moment: Too many open files")
        self.assertEqual(self.ping(inside), PINGRESP)
        self.assertLess(self.cpu_s() - before_s, 0.5)
        for client in held:
            client.close()
        waiting.settimeout(15)
        self.assertEqual(waiting.recv(4), CONNACK)

    def ping(self, client: socket.socket) -> bytes:
        client.sendall(PINGREQ)
        return client.recv(2)


class SilenceTests(DoorsTestCase):
    """connect_timeout, whatever comes before a CONNECT"""

    more = MORE_DOORS

    def test_everybody_is_gone_in_time(self) -> None:
        """Nobody keeps a place who says nothing, or only begins to."""
        hello = ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="a").do_handshake()
        half = {
            "mqtt": b"\x10\x20\0\x04MQTT",
            "tls": hello.read()[:50],
            "proxied": b"PROXY TCP4 192.0.2.7",
            "web": b"GET /mqtt HTTP/1.1\r\nHost: a\r\n",
        }
        clients = []
        for port, beginning in half.items():
            for said in [b"", beginning] * 25:
                clients.append(self.open(port))
                clients[-1].sendall(said)
        self.assertTrue(all(self.is_closed(client) for client in clients))
        lines = [
            line for line in self.broker.lines if re.search("exceeded its time|did not come in time", line)
        ]
        self.assertGreaterEqual(len(lines), 8)


class ReloadTests(DoorsTestCase):
    """SIGHUP"""

    def test_limits_change(self) -> None:
        """For those who come from then on; nobody who is in is dropped."""
        first = self.connect("first")
        self.assertEqual(first.recv(4), CONNACK)
        self.broker.write_settings("global_max_connections 1\n" + SETTINGS)
        self.assertIn("are reloaded", self.broker.reload())
        self.assertTrue(self.is_closed(self.open()))
        self.broker.wait_for("denied: global_max_connections reached")
        self.broker.write_settings("global_max_connections 2\n" + SETTINGS + "max_connections 1\n")
        self.broker.reload()
        self.assertTrue(self.is_closed(self.open()))
        self.broker.wait_for("denied: max_connections of port")
        self.broker.write_settings(SETTINGS)
        self.broker.reload()
        self.assertEqual(self.connect("second").recv(4), CONNACK)
        first.sendall(PINGREQ)
        self.assertEqual(first.recv(2), PINGRESP)
