"""
Every kind of door of a real ``twistd pushd``: Unix sockets, both families of addresses, a proxy in front, and
systemd, which is played by these tests.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.furniture import ADA, BOB, BrokerTestCase, Outcome, curl, new_directory, run
from tests.conformance import packets
from tests.processes import (
    DEADLINE_S,
    Ports,
    Program,
    environment,
    start_pushd,
    twistd_command,
    write_settings,
)
from tests.transports.proxies import COMMON_NAME, LINE, TCP4, binary, ssl

# What systemd does between fork and exec: the descriptors named in the first argument become 3 and following.
PASS_ON = """
import os, sys
from fcntl import F_DUPFD, fcntl
aside = [fcntl(int(one), F_DUPFD, 100) for one in sys.argv[1].split(",")]
for at, one in enumerate(aside, 3):
    os.dup2(one, at)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(aside)))
os.execv(sys.argv[2], sys.argv[2:])
"""

REFUSED = b"\x20\x02\x00\x05"
NO_IDENTITY = b"\x20\x02\x00\x04"


class UnixTests(BrokerTestCase):
    """``listener 0 PATH``."""

    settings = """
        allow_anonymous false
        password_file passwd
        listener 0 mqtt.sock
        listener 0 http.sock
        protocol http
        listener 0 tls.sock
        certfile certs/server.crt
        keyfile certs/server.key
        listener 0 named.sock
        use_identity_as_username true
        listener {mqtt} 127.0.0.1
    """.replace("        ", "")

    def test_mqtt(self) -> None:
        """Debian's clients get through, with the same passwords; the log says which door it was."""
        subscriber = self.subscriber("-t", "unix/a", "-i", "local", "--unix", "mqtt.sock", *ADA)
        words = ("--unix", "mqtt.sock", "-t", "unix/a", "-m", "hello", "-q", 1)
        self.assertEqual(self.publish(*words, *BOB).status, 0)
        subscriber.until("hello")
        self.broker.wait_for(r"New client connected from unix:mqtt.sock as local|unix:.*/mqtt.sock as local")
        self.assertNotEqual(self.publish(*words, "-u", "bob", "-P", "wrong").status, 0)

    def test_more_than_the_buffer_holds(self) -> None:
        """A client that reads late gets everything, whole and in order."""
        messages = b"".join(packets.publish("unix/big", bytes([number]) * 50_000) for number in range(15))
        hello = packets.connect("late", username="ada", password=b"secret")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE_S)
            client.connect(str(self.directory / "mqtt.sock"))
            client.sendall(hello + packets.subscribe(1, ("unix/big", 0)) + messages)
            expected = packets.ACCEPTED + b"\x90\x03\x00\x01\x00" + messages
            with client.makefile("rb") as answers:
                self.assertEqual(answers.read(len(expected)), expected)

    def test_http(self) -> None:
        """The gateway as well."""
        subscriber = self.subscriber("-t", "unix/push", *ADA)
        socket_flags = ("--unix-socket", "http.sock")
        url = "http://localhost/v1/publish/unix/push"
        answer = curl(url, *socket_flags, "-u", "bob:hunter2", "-d", "pushed", directory=self.directory)
        self.assertEqual(answer.status, 200, answer)
        subscriber.until("pushed")

    def test_tls(self) -> None:
        """It works here too, though there is nobody on the way who could read along."""
        command = ["openssl", "s_client", "-unix", "tls.sock", "-CAfile", "certs/ca.crt", "-brief"]
        done = subprocess.run(
            command, cwd=self.directory, input=b"", capture_output=True, timeout=DEADLINE_S, check=False
        )
        self.assertIn(b"Verification: OK", done.stdout + done.stderr)

    def test_identities_without_tls(self) -> None:
        """They are ignored, as the warning says: passwords count."""
        self.broker.wait_for("use_identity_as_username has no effect on a listener without certfile")
        words = ("--unix", "named.sock", "-t", "unix/a", "-n")
        self.assertEqual(self.publish(*words, *BOB).status, 0)
        self.assertEqual(self.publish(*words).status, 5)

    def test_mode(self) -> None:
        """User and group may come in."""
        self.assertEqual(stat.S_IMODE((self.directory / "mqtt.sock").stat().st_mode), 0o660)


class FileTests(SynchronousTestCase):
    """The files of Unix sockets, from start to end."""

    SETTINGS = "listener 0 mqtt.sock\nallow_anonymous true\n"

    def setUp(self) -> None:
        self.directory = new_directory()
        self.socket = self.directory / "mqtt.sock"

    def start(self) -> Program:
        broker = start_pushd(self.SETTINGS, self.directory)
        self.addCleanup(broker.kill)
        return broker

    def refused(self) -> Outcome:
        """What a start says that must fail."""
        write_settings(self.directory / "again.conf", self.SETTINGS, Ports())
        command = [*twistd_command(), "-n", "--pidfile=", "pushd", "-c", "again.conf"]
        done = subprocess.run(
            command, cwd=self.directory, env=environment(), capture_output=True, timeout=DEADLINE_S
        )
        return Outcome(done.returncode, done.stderr.decode())

    def publish(self) -> int:
        return run("mosquitto_pub", "--unix", "mqtt.sock", "-t", "a", "-n", directory=self.directory).status

    def test_removed_at_the_end(self) -> None:
        """An orderly end leaves nothing behind."""
        broker = self.start()
        self.assertEqual(self.publish(), 0)
        broker.stop()
        self.assertFalse(self.socket.exists())

    def test_after_a_crash(self) -> None:
        """What is left of a killed process is no obstacle to the next one."""
        self.start().kill()
        self.assertTrue(self.socket.exists())
        self.start()
        self.assertEqual(self.publish(), 0)

    def test_in_use(self) -> None:
        """A second pushd does not take the door away from the first."""
        self.start()
        outcome = self.refused()
        self.assertEqual(outcome.status, 1, outcome)
        self.assertIn("again.conf:1: cannot listen on unix:mqtt.sock: another process", outcome.output)
        self.assertEqual(self.publish(), 0)

    def test_a_file_in_the_way(self) -> None:
        """A mistyped path costs no file."""
        self.socket.write_text("precious")
        self.assertEqual(self.refused().status, 1)
        self.assertEqual(self.socket.read_text(), "precious")


class AddressTests(BrokerTestCase):
    """Both families of addresses."""

    settings = """
        allow_anonymous true
        listener {both}
        listener {mqtt} localhost
        listener {six} ::1
        listener {only_six}
        socket_domain ipv6
        listener {loopback}
        bind_interface lo
        listener {http}
        protocol http
    """.replace("        ", "")

    def assert_reached(self, host: str, port: str, written: str) -> None:
        """A client comes in, and is called so in the log."""
        client_id = f"at-{port}-{len(self.broker.lines)}"
        outcome = self.publish("-h", host, "-t", "a", "-m", "b", "-i", client_id, port=port)
        self.assertEqual(outcome.status, 0, outcome)
        self.broker.wait_for(rf"New client connected from {re.escape(written)}\d+ as {client_id} ")

    def test_one_listener_for_both(self) -> None:
        """Clients are called by the address they have, not by what the listener makes of it."""
        self.assert_reached("127.0.0.1", "both", "127.0.0.1:")
        self.assert_reached("::1", "both", "[::1]:")

    def test_each_alone(self) -> None:
        """One that is of one family is not reached by the other."""
        self.assert_reached("::1", "six", "[::1]:")
        self.assert_reached("::1", "only_six", "[::1]:")
        for port in ("six", "only_six"):
            self.assertNotEqual(self.publish("-h", "127.0.0.1", "-t", "a", "-n", port=port).status, 0)

    def test_names(self) -> None:
        """``localhost`` is what the system says it is."""
        for family, _, _, _, address in socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM):
            host = str(address[0])
            self.assert_reached(host, "mqtt", f"{host}:" if family is socket.AF_INET else f"[{host}]:")

    def test_one_interface(self) -> None:
        """Loopback comes in by its own interface."""
        self.assert_reached("127.0.0.1", "loopback", "127.0.0.1:")
        self.assertIn(f" of lo port {self.broker.port('loopback')}", self.broker.log())

    def test_the_gateway(self) -> None:
        """On both as well."""
        for host in ("127.0.0.1", "[::1]"):
            url = f"http://{host}:{self.broker.port('http')}/v1/health"
            self.assertEqual(curl(url, directory=self.directory).status, 200)


class ProxyTests(BrokerTestCase):
    """Behind a proxy, which these tests are."""

    settings = """
        log_type all
        connect_timeout 1
        listener {mqtt} 127.0.0.1
        enable_proxy_protocol 1
        allow_anonymous false
        password_file passwd
        listener {certified} 127.0.0.1
        enable_proxy_protocol 2
        proxy_protocol_v2_require_tls true
        use_identity_as_username true
        listener {http} 127.0.0.1
        protocol http
        enable_proxy_protocol 2
        listener {websocket} 127.0.0.1
        protocol websockets
        enable_proxy_protocol 1
    """.replace("        ", "")

    def connect(self, data: bytes, port: str = "mqtt") -> socket.socket:
        """A connection on which this was sent."""
        client = socket.create_connection(("127.0.0.1", self.broker.port(port)), DEADLINE_S)
        self.addCleanup(client.close)
        client.sendall(data)
        return client

    def answer(self, data: bytes, port: str = "mqtt") -> bytes:
        """The first bytes that come back; none if the connection ends."""
        try:
            return self.connect(data, port).recv(4)
        except ConnectionResetError:
            return b""

    def test_the_address(self) -> None:
        """The log speaks of the client, not of the proxy; passwords are asked for as ever."""
        hello = packets.connect("behind-1", username="ada", password=b"secret")
        self.assertEqual(self.answer(LINE + hello), packets.ACCEPTED)
        self.broker.wait_for("New client connected from 192.0.2.7:4711 as behind-1 ")
        wrong = packets.connect("behind-2", username="ada", password=b"wrong")
        self.assertEqual(self.answer(LINE + wrong), REFUSED)
        self.broker.wait_for("Connection from 192.0.2.7:4711 refused")

    def test_the_certificate(self) -> None:
        """Its common name is the user name; the CONNECT's own is nothing."""
        header = binary(TCP4 + ssl(0x07, 0, COMMON_NAME))
        hello = packets.connect("behind-3", username="root", password=b"x")
        self.assertEqual(self.answer(header + hello, "certified"), packets.ACCEPTED)
        self.broker.wait_for("as behind-3 .* u'phone1'")

    def test_no_good_certificate(self) -> None:
        """TLS without one, or with one that the proxy did not find good, names nobody."""
        for facts in (ssl(0x01), ssl(0x07, 1, COMMON_NAME)):
            self.assertEqual(
                self.answer(binary(TCP4 + facts) + packets.connect("x"), "certified"), NO_IDENTITY
            )

    def test_no_tls(self) -> None:
        """The client is named in the log, and hears nothing."""
        self.assertEqual(self.answer(binary() + packets.connect("x"), "certified"), b"")
        self.broker.wait_for("Connection from 192.0.2.7:4711 refused: the client did not use TLS")

    def test_no_header(self) -> None:
        """Nobody comes in past the proxy."""
        self.assertEqual(self.answer(packets.connect("x")), b"")
        self.broker.wait_for(r"Connection from 127.0.0.1:\d+ refused: it does not begin with a PROXY line")

    def test_a_header_that_never_ends(self) -> None:
        """It is waited for as long as for a CONNECT."""
        self.assertEqual(self.answer(LINE[:20]), b"")
        self.broker.wait_for("its PROXY header did not come in time")

    def test_the_gateway(self) -> None:
        """curl speaks the first version only; a request behind the second one is answered as well."""
        request = b"GET /v1/health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        with self.connect(binary() + request, "http").makefile("rb") as answer:
            self.assertIn(b"200", answer.readline())
            self.assertIn(b"healthy", answer.read())

    def test_websockets(self) -> None:
        """
        Behind the header, an upgrade; and behind that, MQTT that knows the client's address: on a port of its
        own and on the gateway's.
        """
        upgrade = (
            b"GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
        )
        for port, header in (("websocket", LINE), ("http", binary())):
            hello = packets.connect(f"behind-{port}", username="ada", password=b"secret")
            frame = bytes([0x82, 0x80 | len(hello)]) + bytes(4) + hello  # masked with zeroes
            with self.connect(header + upgrade + frame, port).makefile("rb") as answer:
                self.assertIn(b"101", answer.readline())
                self.broker.wait_for(f"New client connected from 192.0.2.7:4711 as behind-{port} ")


class ReloadTests(SynchronousTestCase):
    """SIGHUP, as far as doors are concerned."""

    SETTINGS = (
        "allow_anonymous true\nlistener 0 mqtt.sock\nlistener {mqtt} 127.0.0.1\nenable_proxy_protocol 2\n"
    )

    def setUp(self) -> None:
        self.broker = start_pushd(self.SETTINGS, new_directory())
        self.addCleanup(self.broker.kill)

    def answer(self, data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.broker.port("mqtt")), DEADLINE_S) as client:
            client.sendall(data)
            try:
                return client.recv(4)
            except ConnectionResetError:
                return b""

    def test_certificates_may_be_asked_for(self) -> None:
        """From then on, whoever comes without one is dropped."""
        plain, certified = binary(), binary(TCP4 + ssl(0x07, 0, COMMON_NAME))
        self.assertEqual(self.answer(plain + packets.connect("a")), packets.ACCEPTED)
        self.broker.write_settings(self.SETTINGS + "require_certificate true\n")
        self.assertIn("are reloaded", self.broker.reload())
        self.assertEqual(self.answer(plain + packets.connect("b")), b"")
        self.assertEqual(self.answer(certified + packets.connect("c")), packets.ACCEPTED)

    def test_doors_move(self) -> None:
        """A Unix socket that has another path is opened there, and its old file goes."""
        self.broker.write_settings(self.SETTINGS.replace("mqtt.sock", "other.sock"))
        self.assertIn("are reloaded", self.broker.reload())
        folder = self.broker.settings.parent
        self.assertEqual([path.name for path in folder.glob("*.sock")], ["other.sock"])
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(folder / "other.sock"))
            client.sendall(packets.connect("d"))
            self.assertEqual(client.recv(4), packets.ACCEPTED)

    def test_another_language(self) -> None:
        """Behind the same address: another version of the PROXY protocol, or none."""
        self.assertEqual(self.answer(binary() + packets.connect("d")), packets.ACCEPTED)
        for line, before in (("enable_proxy_protocol 1\n", LINE), ("", b"")):
            self.broker.write_settings(self.SETTINGS.replace("enable_proxy_protocol 2\n", line))
            self.assertIn("are reloaded", self.broker.reload())
            self.assertEqual(self.answer(before + packets.connect("d")), packets.ACCEPTED)
            self.assertNotEqual(self.answer(binary() + packets.connect("d")), packets.ACCEPTED)


class SystemdTests(SynchronousTestCase):
    """Sockets and notices, as systemd gives and takes them."""

    def setUp(self) -> None:
        self.directory = new_directory()
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.notices.close)
        self.notices.bind(str(self.directory / "notify"))
        self.notices.settimeout(DEADLINE_S)

    def open(self, family: int, address: object) -> socket.socket:
        opened = socket.socket(family)
        self.addCleanup(opened.close)
        opened.bind(address)  # type: ignore[arg-type]  # of either family
        opened.listen()
        return opened

    def start(self, settings: str, *sockets: socket.socket, **variables: str) -> Program:
        """:param variables: more of the environment."""
        (self.directory / "pushd.conf").write_text(settings)
        descriptors = [each.fileno() for each in sockets]
        variables["NOTIFY_SOCKET"] = str(self.directory / "notify")
        command = ["env", *(f"{name}={value}" for name, value in variables.items())]
        if sockets:
            command += [sys.executable, "-c", PASS_ON, ",".join(map(str, descriptors))]
        command += [*twistd_command(), "-n", "--pidfile=", "pushd", "-c", "pushd.conf"]
        program = Program(command, self.directory, descriptors=descriptors)
        self.addCleanup(program.kill)
        return program

    def test_sockets(self) -> None:
        """Those that fit a listener are used; the rest is closed and named; the files are systemd's."""
        mqtt = self.open(socket.AF_INET, ("127.0.0.1", 0))
        path = str(self.directory / "mqtt.sock")
        unix, other = self.open(socket.AF_UNIX, path), self.open(socket.AF_INET, ("127.0.0.1", 0))
        port = mqtt.getsockname()[1]
        settings = f"allow_anonymous true\nlistener {port} 127.0.0.1\nlistener 0 mqtt.sock\n"
        broker = self.start(settings, mqtt, unix, other, LISTEN_FDNAMES="pushd:pushd:web")
        broker.wait_for("running")
        broker.wait_for("'web' .* no listener")
        for words in (("-h", "127.0.0.1", "-p", port), ("--unix", "mqtt.sock")):
            outcome = run("mosquitto_pub", *words, "-t", "a", "-n", "-q", 1, directory=self.directory)
            self.assertEqual(outcome.status, 0, outcome)
        broker.stop()
        self.assertTrue(Path(path).exists())

    def test_clients_wait_while_pushd_restarts(self) -> None:
        """The point of it: a client that comes between two processes is served by the second."""
        mqtt = self.open(socket.AF_INET, ("127.0.0.1", 0))
        port = mqtt.getsockname()[1]
        settings = f"allow_anonymous true\nlistener {port} 127.0.0.1\n"
        first = self.start(settings, mqtt)
        first.wait_for("running")
        first.stop()
        with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as client:
            client.sendall(packets.connect("patient"))
            self.start(settings, mqtt)
            self.assertEqual(client.recv(4), packets.ACCEPTED)

    def test_notices(self) -> None:
        """Ready when the doors are open, then a sign of life twice in the watchdog's time, then the end."""
        broker = self.start("listener 0 a.sock\nallow_anonymous true\n", WATCHDOG_USEC="400000")
        self.assertEqual(self.notices.recv(100), b"READY=1")
        self.assertTrue((self.directory / "a.sock").exists())
        for _ in range(3):
            self.assertEqual(self.notices.recv(100), b"WATCHDOG=1")
        broker.wait_for("running")
        broker.signal(signal.SIGTERM)
        broker.finish()
        self.notices.setblocking(False)
        self.assertIn(b"STOPPING=1", self.left())

    def test_a_watchdog_that_is_not_fed(self) -> None:
        """Once pushd hangs, systemd hears nothing more of it."""
        broker = self.start("listener 0 a.sock\nallow_anonymous true\n", WATCHDOG_USEC="200000")
        broker.wait_for("running")
        os.kill(broker.pid, signal.SIGSTOP)
        self.notices.setblocking(False)
        self.left()
        self.notices.settimeout(0.5)
        self.assertRaises(TimeoutError, self.notices.recv, 100)
        os.kill(broker.pid, signal.SIGCONT)

    def left(self) -> list[bytes]:
        """What systemd has not read yet."""
        notices = []
        while True:
            try:
                notices.append(self.notices.recv(100))
            except BlockingIOError:
                return notices
