"""``twistd pushd`` as a command: its flags, how it says no, how it starts and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess

from twisted.trial.unittest import SynchronousTestCase

from pushd import __version__
from tests.clients.furniture import Outcome, Subscriber, new_directory, run
from tests.processes import (
    DEADLINE_S,
    Broker,
    Ports,
    Program,
    environment,
    free_port,
    start_pushd,
    twistd_command,
    write_settings,
)

SETTINGS = "listener {mqtt} 127.0.0.1\nallow_anonymous true\n"


class CommandTestCase(SynchronousTestCase):
    """Runs twistd in a directory that has nothing to do with the sources."""

    def setUp(self) -> None:
        self.directory = new_directory()

    def twistd(self, *words: str) -> Outcome:
        """Run it to its end."""
        command = [*twistd_command(), *words]
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=DEADLINE_S,
        )
        return Outcome(done.returncode, done.stdout.decode())

    def pushd(self, *words: str) -> Outcome:
        """Run ``twistd -n pushd`` to its end."""
        return self.twistd("-n", "--pidfile=", "pushd", *words)

    def write(self, name: str, text: str) -> None:
        write_settings(self.directory / name, text, Ports())

    def start(self, settings: str, *flags: str, ready: str = "running") -> Broker:
        """A broker that is stopped at the end of the test."""
        broker = start_pushd(settings, self.directory, *flags, ready=ready)
        self.addCleanup(broker.kill)
        return broker

    def publish(self, port: int, topic: str = "a", payload: str = "b") -> int:
        words = ("-h", "127.0.0.1", "-p", port, "-t", topic, "-m", payload, "-q", 1)
        return run("mosquitto_pub", *words, directory=self.directory).status


class FlagTests(CommandTestCase):
    """What can be said on the command line."""

    def test_help(self) -> None:
        """It names each flag."""
        outcome = self.twistd("pushd", "--help")
        self.assertEqual(outcome.status, 0)
        for flag in ("--config", "--port", "--quiet", "--verbose", "--test-config"):
            self.assertIn(flag, outcome.output)

    def test_twistd_knows_pushd(self) -> None:
        """It is one of the services in twistd's own help."""
        self.assertRegex(self.twistd("--help").output, r"pushd +An MQTT broker")

    def test_version(self) -> None:
        """And nothing else."""
        self.assertEqual(self.twistd("pushd", "--version"), Outcome(0, f"pushd {__version__}\n"))

    def test_good_settings(self) -> None:
        """``--test-config`` says that they are good, and starts nothing."""
        self.write("good.conf", SETTINGS + "password_file passwd\n")
        outcome = self.pushd("-c", "good.conf", "--test-config")
        self.assertEqual(outcome.status, 0, outcome)
        self.assertIn("The settings are good", outcome.output)

    def test_bad_settings(self) -> None:
        """With and without ``--test-config``: file, line and reason, and Mosquitto's exit status."""
        for text, reason in (
            ("# one\nno_such_option 1\n", "bad.conf:2: "),
            ("listener {mqtt}\nmax_keepalive 70000\n", "bad.conf:2: max_keepalive"),
            ("listener {mqtt}\nallow_anonymous perhaps\n", "bad.conf:2: allow_anonymous"),
            ("listener {mqtt}\ncertfile certs/server.crt\n", "bad.conf:2: certfile"),
            ("listener {mqtt}\npassword_file nowhere\n", "nowhere"),
            ("listener {mqtt}\nacl_file nowhere\n", "nowhere"),
            ("listener {mqtt}\ncertfile nowhere\nkeyfile certs/server.key\n", "nowhere"),
            ("listener {mqtt}\nlog_dest file no/such/folder/log\n", "no/such/folder/log"),
        ):
            self.assert_bad(text, reason, "--test-config")
        self.assert_bad("listener {mqtt}\nno_such_option 1\n", "bad.conf:2: ")
        self.assert_bad("listener {mqtt}\npassword_file nowhere\n", "nowhere")

    def assert_bad(self, text: str, reason: str, *flags: str) -> None:
        """These settings are refused with a line that has `reason`."""
        self.write("bad.conf", text)
        outcome = self.pushd("-c", "bad.conf", *flags)
        self.assertEqual(outcome.status, 3, (text, outcome))
        self.assertRegex(outcome.output, f"^Error: .*{re.escape(reason)}")
        self.assertNotIn("Traceback", outcome.output)

    def test_bad_flags(self) -> None:
        """They do not start a broker either."""
        for flags in (("--no-such-flag",), ("-p", "abc"), ("-p", "70000"), ("-c", "nowhere.conf")):
            outcome = self.pushd(*flags)
            self.assertNotEqual(outcome.status, 0, (flags, outcome))
            self.assertNotIn("Traceback", outcome.output)


class StartTests(CommandTestCase):
    """Starting."""

    def test_without_settings(self) -> None:
        """``-p`` alone: loopback only, and everybody on this machine is let in."""
        port, other = free_port(), free_port()
        words = ["-n", "--pidfile=", "pushd", "-p", str(port), "-p", str(other)]
        broker = Program([*twistd_command(), *words], self.directory)
        self.addCleanup(broker.kill)
        broker.wait_for("running")
        self.assertEqual((self.publish(port), self.publish(other)), (0, 0))
        self.assertNotIn("0.0.0.0", broker.log())
        self.assertIn(f"127.0.0.1 port {port}", broker.log())

    def test_verbose(self) -> None:
        """``-v`` logs what clients do, whatever the settings say."""
        broker = self.start(SETTINGS + "log_type error\n", "-v")
        Subscriber(broker.port("mqtt"), self.directory, "-i", "me", "-t", "some/topic", "-q", 1).kill()
        broker.wait_for("me 1 some/topic$")

    def test_log_types(self) -> None:
        """Subscriptions are logged where the settings ask for them."""
        broker = self.start(SETTINGS + "log_type information\nlog_type unsubscribe\n")
        words = ("-p", broker.port("mqtt"), "-i", "me", "-t", "a/b", "-U", "c/d", "-E")
        run("mosquitto_sub", *words, directory=self.directory)
        broker.wait_for("me c/d$")
        self.assertNotIn("a/b", broker.log())

    def test_a_port_that_is_taken(self) -> None:
        """pushd says which one, and exits with 1."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            (self.directory / "taken.conf").write_text(f"listener {port} 127.0.0.1\n")
            outcome = self.pushd("-c", "taken.conf")
        self.assertEqual(outcome.status, 1)
        self.assertRegex(outcome.output, f"Error: taken.conf:1: .*{port}.*in use")
        self.assertNotIn("Traceback", outcome.output)

    def test_relative_paths_and_included_files(self) -> None:
        """Paths begin where pushd is started, whichever directory that is."""
        (self.directory / "conf.d").mkdir()
        self.write("conf.d/a.conf", "password_file passwd\n")
        broker = self.start("allow_anonymous false\ninclude_dir conf.d\nlistener {mqtt} 127.0.0.1\n")
        self.assertEqual(self.publish(broker.port("mqtt")), 5)

    def test_a_store_that_is_in_use(self) -> None:
        """A second process on the same store does not start, and above all not empty."""
        settings = SETTINGS + "persistence true\npersistence_location store\n"
        self.start(settings)
        self.write("second.conf", settings)
        outcome = self.pushd("-c", "second.conf")
        self.assertEqual(outcome.status, 1)
        self.assertIn("store/pushd.db: it is in use by another process", outcome.output)

    def test_two_stores_in_a_folder(self) -> None:
        """Files of different names are different stores, and none of them is touched that Mosquitto made."""
        settings = SETTINGS + "persistence true\npersistence_location store\n"
        (self.directory / "store").mkdir()
        (self.directory / "store" / "b.db").write_bytes(b"\0\xb5\0mosquitto db")
        self.start(settings)
        self.start(settings + "persistence_file b.db\n")
        files = (path.name for path in (self.directory / "store").glob("*.db"))
        stores = sorted(name for name in files if "status" not in name)
        self.assertEqual(stores, ["b.db", "b.pushd.db", "pushd.db"])
        self.assertEqual((self.directory / "store" / "b.db").read_bytes(), b"\0\xb5\0mosquitto db")

    def test_a_store_that_cannot_be_read(self) -> None:
        """What is no folder, or may not be read, stops the start; it does not start without its memory."""
        (self.directory / "file").write_bytes(b"")
        self.write("pushd.conf", SETTINGS + "persistence true\npersistence_location file/store\n")
        outcome = self.pushd("-c", "pushd.conf")
        self.assertEqual(outcome.status, 1)
        self.assertIn("persistence_location file/store", outcome.output)


class EndTests(CommandTestCase):
    """Stopping."""

    def assert_is_told(self, connection: socket.socket) -> None:
        """The connection is closed, and not reset."""
        self.assertEqual(connection.recv(100), b"")

    def connect(self, port: int) -> socket.socket:
        """A client that was accepted and says nothing more."""
        connection = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        self.addCleanup(connection.close)
        connection.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01x")
        self.assertEqual(connection.recv(4, socket.MSG_WAITALL), b"\x20\x02\x00\x00")
        return connection

    def test_signals(self) -> None:
        """
        SIGTERM and SIGINT stop it with clients connected: those are told, all is closed, and then twistd ends
        by the signal, as its users expect.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            broker = self.start(SETTINGS + "pid_file pid\n")
            connection = self.connect(broker.port("mqtt"))
            self.assertEqual((self.directory / "pid").read_text(), f"{broker.pid}\n")
            broker.signal(number)
            self.assert_is_told(connection)
            self.assertEqual(broker.finish(), -number)
            self.assertIn("terminating", broker.log())
            self.assertNotIn("Traceback", broker.log())
            self.assertFalse((self.directory / "pid").exists())

    def test_a_daemon(self) -> None:
        """Without ``-n`` it goes into the background, leaves its pid file, and is stopped by a signal."""
        ports = Ports()
        write_settings(self.directory / "daemon.conf", SETTINGS, ports)
        outcome = self.twistd("pushd", "-c", "daemon.conf")
        self.assertEqual(outcome.status, 0, outcome)
        try:
            connection = self.connect(ports["mqtt"])
        finally:
            os.kill(int((self.directory / "twistd.pid").read_text()), signal.SIGTERM)
        self.assert_is_told(connection)
        self.assertIn("running", (self.directory / "twistd.log").read_text())
