"""Which brokers are started, with which settings, and what is seen of them."""

import os
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.brokers import (
    BenchmarkError,
    Certificates,
    Ports,
    Store,
    chosen_brokers,
    cpu_seconds,
    file_system_of,
    is_pushd,
    open_files,
    resident_bytes,
    settings_text,
)


class BrokerChoiceTests(SynchronousTestCase):
    """``--broker``"""

    def test_a_command_of_ones_own(self) -> None:
        """Everything after the first equals sign is the command, in the order given."""
        given = ["b=serve --port={port}", "a=other {conf}"]
        self.assertEqual(
            list(chosen_brokers(given).items()), [("b", "serve --port={port}"), ("a", "other {conf}")]
        )

    def test_pushd_by_name(self) -> None:
        """pushd alone can be measured without anything else installed."""
        self.assertIn("-n --pidfile= pushd -c {conf}", chosen_brokers(["pushd"])["pushd"])

    def test_unknown_name_without_command(self) -> None:
        """A name that stands for nothing is refused with those that do."""
        error = self.assertRaises(BenchmarkError, chosen_brokers, ["emqx"])
        self.assertIn("(mosquitto, pushd)", str(error))

    def test_missing_mosquitto_says_how_to_get_it(self) -> None:
        """Without the peer the message names the package, and the way to do without."""
        self.patch(os, "environ", {"PATH": ""})
        self.patch(os.path, "exists", lambda path: False)
        error = self.assertRaises(BenchmarkError, chosen_brokers, None)
        self.assertIn("apt install mosquitto", str(error))
        self.assertIn("--broker pushd", str(error))


class SettingsTests(SynchronousTestCase):
    """The one file that all brokers read."""

    def test_plain(self) -> None:
        """Loopback only, no log, and no queue limit that would drop a message."""
        lines = settings_text().splitlines()
        self.assertEqual(lines[:2], ["listener {load} 127.0.0.1", "allow_anonymous true"])
        self.assertLessEqual({"log_dest none", "max_queued_messages 0"}, set(lines))

    def test_tls(self) -> None:
        """With certificates both sides show one."""
        text = settings_text(Certificates(Path("/c")))
        self.assertIn(
            "cafile /c/ca.crt\ncertfile /c/server.crt\nkeyfile /c/server.key\nrequire_certificate true", text
        )

    def test_websocket(self) -> None:
        """Certificates and protocol belong to the listener under load; the other one is plain."""
        text = settings_text(Certificates(Path("/c")), websocket=True)
        head, plain = text.split("listener {nobody} 127.0.0.1\n")
        self.assertTrue(head.startswith("listener {load} 127.0.0.1\n"))
        self.assertIn("protocol websockets\n", head)
        self.assertIn("certfile", head)
        self.assertNotIn("protocol", plain)

    def test_gateway(self) -> None:
        """A listener of its own speaks HTTP."""
        text = settings_text(gateway=True)
        self.assertIn("listener {load} 127.0.0.1\nlistener {gateway} 127.0.0.1\nprotocol http\n", text)

    def test_nothing_is_kept(self) -> None:
        """Without a store everything is in memory, as with Mosquitto's defaults."""
        self.assertNotIn("persistence", settings_text())

    def test_store(self) -> None:
        """With one, pushd waits for it as long as was asked for."""
        text = settings_text(store=Store(Path("/disk"), "full"))
        self.assertIn("persistence true\npersistence_location /disk\ndurability full\n", text)

    def test_each_name_has_a_port(self) -> None:
        """A name stands for the same port wherever it is."""
        first, again, other = "{a} {a} {b}".format_map(Ports()).split()
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)

    def test_who_keeps_a_store(self) -> None:
        """The pushd of another checkout does; a Mosquitto does not."""
        names = ("pushd", "pushd-old", "mosquitto", "other")
        self.assertEqual([name for name in names if is_pushd(name)], ["pushd", "pushd-old"])


class ProcessTests(SynchronousTestCase):
    """What Linux says about a process."""

    def test_ourselves(self) -> None:
        """This process has used some CPU time, no more than it knows of itself, and some memory."""
        seen_s, known_s = cpu_seconds(os.getpid()), time.process_time()
        self.assertTrue(0 < seen_s <= known_s, f"{seen_s} s of {known_s} s")
        self.assertGreater(resident_bytes(os.getpid()), 2**20)

    def test_a_process_that_is_gone(self) -> None:
        """A broker that died used nothing more; that is no error here."""
        gone = 2**22 + 1  # above the highest process id that Linux gives
        self.assertEqual((cpu_seconds(gone), resident_bytes(gone), open_files(gone)), (0, 0, 0))

    def test_open_files(self) -> None:
        """One more is one more."""
        before = open_files(os.getpid())
        with open(os.devnull):
            self.assertEqual(open_files(os.getpid()), before + 1)

    def test_file_system(self) -> None:
        """What /proc is on needs no disk; a folder that is not mounted is on what its parent is on."""
        self.assertEqual(file_system_of(Path("/proc/self")), file_system_of(Path("/proc")))
        self.assertIn("proc on ", file_system_of(Path("/proc")))
