"""Which brokers are started, with which settings, and what is seen of them."""

import os
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.brokers import (
    BenchmarkError,
    Certificates,
    chosen_brokers,
    cpu_seconds,
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
        lines = settings_text(2883, None).splitlines()
        self.assertEqual(lines[:2], ["listener 2883 127.0.0.1", "allow_anonymous true"])
        self.assertLessEqual({"log_dest none", "max_queued_messages 0"}, set(lines))

    def test_tls(self) -> None:
        """With certificates both sides show one."""
        text = settings_text(2883, Certificates(Path("/c")))
        self.assertIn(
            "cafile /c/ca.crt\ncertfile /c/server.crt\nkeyfile /c/server.key\nrequire_certificate true", text
        )

    def test_websocket(self) -> None:
        """Certificates and protocol belong to the listener under load; the other one is plain."""
        text = settings_text(2883, Certificates(Path("/c")), plain_port=2884)
        head, plain = text.split("listener 2884 127.0.0.1\n")
        self.assertTrue(head.startswith("listener 2883 127.0.0.1\n"))
        self.assertIn("protocol websockets\n", head)
        self.assertIn("certfile", head)
        self.assertNotIn("protocol", plain)


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
        self.assertEqual((cpu_seconds(gone), resident_bytes(gone)), (0, 0))
