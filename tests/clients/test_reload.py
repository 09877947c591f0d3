"""SIGHUP: settings, passwords, certificates, listeners change while clients stay. And the other signals."""

from __future__ import annotations

import signal
import socket
import ssl
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pushd.ctl.certs import CertificateFolder
from pushd.mqtt.codes import Version
from pushd.mqtt.packets import Connect
from pushd.mqtt.writer import encode
from tests.clients.furniture import (
    ADA,
    BOB,
    Outcome,
    Subscriber,
    curl,
    device,
    mosquitto_passwd,
    new_directory,
    pushctl_passwd,
    run,
)
from tests.clients.traffic import Traffic
from tests.processes import start_pushd

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
ACL = (
    "user ada\ntopic #\n\nuser bob\ntopic read end\ntopic read shared/#\n\n"
    "user phone\ntopic #\n\nuser tablet\ntopic #\n"
)
EVE = ("-u", "eve", "-P", "apple")
FAREWELL = b"\xe0\x1c\x98\x1a\x1f\0\x17the listener was closed"  # DISCONNECT, Administrative action


class ReloadTestCase(SynchronousTestCase):
    """A broker for each test, as each changes its files."""

    def setUp(self) -> None:
        self.directory = new_directory()
        self.write("acl", ACL)
        self.broker = start_pushd(SETTINGS, self.directory)
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Whatever was reloaded, nothing may have failed."""
        self.broker.stop()
        self.assertNotIn("Traceback", self.broker.log())

    def write(self, name: str, text: str) -> None:
        Path(self.directory, name).write_text(text)

    def reload(self) -> None:
        """And it must go well."""
        self.assertIn("are reloaded", self.broker.reload())

    def subscriber(self, *flags: str, port: str = "mqtt") -> Subscriber:
        subscriber = Subscriber(self.broker.port(port), self.directory, *flags)
        self.addCleanup(subscriber.kill)
        return subscriber

    def publish(self, topic: str, payload: str, *flags: str, port: str = "mqtt") -> Outcome:
        words = ("-p", str(self.broker.port(port)), "-t", topic, "-m", payload, "-q", "1", *flags)
        return run("mosquitto_pub", *words, directory=self.directory)


class ReloadTests(ReloadTestCase):
    """What files say"""

    def test_a_new_user(self) -> None:
        """Written by mosquitto_passwd or by pushctl, a user who was added comes in after SIGHUP."""
        for add in (mosquitto_passwd, pushctl_passwd):
            add("-b", self.directory / "passwd", "eve", "apple")
            self.assertEqual(self.publish("a", "b", *EVE).status, 5)
            self.reload()
            self.assertEqual(self.publish("a", "b", *EVE).status, 0)
            add("-D", self.directory / "passwd", "eve")
            self.reload()
            self.assertEqual(self.publish("a", "b", *EVE).status, 5)

    def test_a_changed_password(self) -> None:
        """The new one counts, for MQTT and HTTP; whoever came in with the old one stays."""
        ada = self.subscriber("-t", "#", *ADA)
        mosquitto_passwd("-b", self.directory / "passwd", "ada", "changed")
        self.reload()
        self.assertEqual(self.publish("a", "b", *ADA).status, 5)
        self.assertEqual(self.publish("a", "hello", "-u", "ada", "-P", "changed").status, 0)
        url = f"http://127.0.0.1:{self.broker.port('http')}/a"
        statuses = [
            curl(url, "-u", f"ada:{password}", "-d", "x", directory=self.directory).status
            for password in ("secret", "changed")
        ]
        self.assertEqual(statuses, [401, 200])
        ada.until("hello")
        self.assertEqual(ada.log().count("sending CONNECT"), 1)

    def test_access_given_and_taken(self) -> None:
        """A line that is added or removed counts for those who are connected, and nobody is dropped."""
        bob = self.subscriber("-t", "#", *BOB)
        for number, (acl, expected) in enumerate(
            (
                (ACL, ["shared/1", "end"]),
                (ACL + "\nuser bob\ntopic read extra\n", ["extra", "shared/1", "end"]),
                (ACL, ["shared/1", "end"]),
                (ACL.replace("read shared/#", "read extra"), ["extra", "end"]),
            )
        ):
            self.write("acl", acl)
            self.reload()
            earlier = len(bob.messages())
            for topic in ("extra", "shared/1"):
                self.publish(topic, "something", *ADA)
            self.publish("end", f"end {number}", *ADA)
            self.assertEqual([one.topic for one in bob.until(f"end {number}")[earlier:]], expected)
        self.assertEqual(bob.log().count("sending CONNECT"), 1)

    def test_a_publisher_loses_its_right(self) -> None:
        """What a connected client may publish changes as well."""
        ada = self.subscriber("-t", "#", *ADA)
        self.publish("shared/bob", "refused", *BOB)
        self.write("acl", ACL.replace("read shared/#", "readwrite shared/#"))
        self.reload()
        self.publish("shared/bob", "taken", *BOB)
        self.assertEqual([one.payload for one in ada.until("taken")], ["taken"])

    def test_a_renewed_server_certificate(self) -> None:
        """New connections are shown the new one; the old connection goes on."""
        phone = self.subscriber("-h", "localhost", "-t", "#", *device("phone"), port="tls")
        for name in ("server.crt", "server.key"):
            (self.directory / "certs" / name).unlink()
        CertificateFolder(self.directory / "certs", datetime.now(timezone.utc)).prepare()
        self.reload()
        outcome = self.publish("a", "renewed", "-h", "localhost", *device("tablet"), port="tls")
        self.assertEqual(outcome.status, 0, outcome)
        phone.until("renewed")
        self.assertEqual(phone.log().count("sending CONNECT"), 1)
        shown = ssl.get_server_certificate(("127.0.0.1", self.broker.port("tls")))
        renewed = (self.directory / "certs/server.crt").read_text()
        self.assertEqual(*map(ssl.PEM_cert_to_DER_cert, (shown, renewed)))

    def test_a_revoked_certificate(self) -> None:
        """It opens no door any more after SIGHUP; others do not notice."""
        tablet = self.subscriber("-h", "localhost", "-t", "#", *device("tablet"), port="tls")
        flags = ("-h", "localhost", *device("phone"))
        self.assertEqual(self.publish("a", "before", *flags, port="tls").status, 0)
        CertificateFolder(self.directory / "certs", datetime.now(timezone.utc)).revoke_device("phone")
        self.reload()
        self.assertNotEqual(self.publish("a", "after", *flags, port="tls").status, 0)
        self.publish("a", "end", *ADA)
        self.assertEqual([one.payload for one in tablet.until("end")], ["before", "end"])

    def test_a_file_that_is_broken(self) -> None:
        """Nothing changes when one file is bad, not even what the good ones say; the log names it."""
        ada = self.subscriber("-t", "#", *ADA)
        mosquitto_passwd("-b", self.directory / "passwd", "eve", "apple")
        for name, text in (
            ("acl", "user ada\ntopic nonsense a/b c\n"),
            ("passwd", "ada:$7$not-a-hash\n"),
            ("certs/server.crt", "no certificate"),
            ("certs/ca.crl", "no list"),
            ("pushd.conf", "no_such_option true\n"),
        ):
            good = (self.directory / name).read_text()
            self.write(name, text)
            self.assertIn(f"Nothing was reloaded: {self.named(name)}", self.broker.reload())
            self.write(name, good)
            self.assertEqual(self.publish("a", "b", *EVE).status, 5)
            self.assertEqual(self.publish("a", f"despite {name}", *ADA).status, 0)
            ada.until(f"despite {name}")
        self.reload()
        self.assertEqual(self.publish("a", "b", *EVE).status, 0)

    def named(self, name: str) -> str:
        """As the settings name a file; their own name was on the command line."""
        return str(self.broker.settings) if name == "pushd.conf" else name

    def test_what_needs_a_restart(self) -> None:
        """The log says so by name, and all else is applied."""
        self.broker.write_settings("persistence true\nmax_packet_size 30\n" + SETTINGS)
        self.reload()
        self.broker.wait_for("persistence has changed: that takes effect at the next start")
        self.assertNotEqual(self.publish("a", "x" * 30, *ADA).status, 0)
        self.assertFalse((self.directory / "pushd.db").exists())

    def test_a_queue_outlives_it(self) -> None:
        """What waits for a session that is away still waits after SIGHUP."""
        session = ("-i", "bob-1", "-c", "-q", "1", "-t", "shared/#", *BOB)
        port = self.broker.port("mqtt")
        run("mosquitto_sub", "-p", port, "-E", *session, directory=self.directory)
        self.publish("shared/1", "waiting", *ADA)
        self.reload()
        self.assertEqual([one.payload for one in self.subscriber(*session).until("waiting")], ["waiting"])


class ListenerTests(ReloadTestCase):
    """Listeners come and go; who talks on the others does not notice"""

    def refused(self, port: str) -> bool:
        """Whether nobody listens there."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.broker.port(port))) != 0

    def change(self, text: str) -> None:
        self.broker.write_settings(text)
        self.reload()

    def test_added_and_removed(self) -> None:
        """
        A new one is open at once. When it is gone again, its clients are told that this was an administrative
        action (MQTT 5), and others go on.
        """
        ada = self.subscriber("-t", "#", *ADA)
        self.change(SETTINGS + "listener {more} 127.0.0.1\n")
        bob = self.subscriber("-V", "mqttv5", "-t", "#", *BOB, port="more")
        self.publish("shared/1", "by the new door", *ADA, port="more")
        bob.until("by the new door")
        self.change(SETTINGS)
        bob.wait_for("Received DISCONNECT \\(152\\)")
        self.assertTrue(self.refused("more"))
        self.publish("a", "end", *ADA)
        ada.until("end")
        self.assertEqual(ada.log().count("sending CONNECT"), 1)

    def test_one_cannot_be_opened(self) -> None:
        """Nothing changes then, not even what could be: not the other listener, not the users."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            number = taken.getsockname()[1]
            settings = SETTINGS.replace("allow_anonymous false", "allow_anonymous true")
            self.broker.write_settings(
                f"{settings}listener {{more}} 127.0.0.1\nlistener {number} 127.0.0.1\n"
            )
            told = self.broker.reload()
        self.assertIn("Nothing was reloaded", told)
        self.assertIn(f"127.0.0.1 port {number}: Address already in use", told)
        self.assertTrue(self.refused("more"))
        self.assertEqual(self.publish("a", "b").status, 5)
        self.assertEqual(self.publish("a", "b", *ADA).status, 0)

    def test_no_log_file(self) -> None:
        """A log file that cannot be opened keeps all as it was, listeners too."""
        self.broker.write_settings(SETTINGS + "listener {more} 127.0.0.1\nlog_dest file nowhere/log\n")
        self.assertRegex(
            self.broker.reload(), "Nothing was reloaded: log_dest file .*nowhere/log: No such file"
        )
        self.assertTrue(self.refused("more"))
        self.assertEqual(self.publish("a", "b", *ADA).status, 0)

    def test_tls_switched_on(self) -> None:
        """The port is never closed, but it speaks something else, and whoever is inside has to go."""
        plain = self.subscriber("-t", "#", *ADA)
        first = "listener {mqtt} 127.0.0.1\n"
        locks = "certfile certs/server.crt\nkeyfile certs/server.key\n"
        self.change(SETTINGS.replace(first, first + locks))
        plain.wait_for("sending CONNECT", after=len(plain.lines))  # it tries to come back
        ca = ("--cafile", "certs/ca.crt", "-h", "localhost")
        self.assertEqual(self.publish("a", "b", *ca, *ADA).status, 0)
        self.assertNotEqual(self.publish("a", "b", *ADA).status, 0)

    def test_narrower_and_wider(self) -> None:
        """From one address to all of a port, and back: places that overlap are no obstacle."""
        first = "listener {mqtt} 127.0.0.1\n"
        for text in (SETTINGS.replace(first, "listener {mqtt}\n"), SETTINGS):
            self.change(text)
            self.assertEqual(self.publish("a", "b", *ADA).status, 0)

    def test_overlapping_and_in_vain(self) -> None:
        """When another listener is the obstacle, the old one opens again."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            number = taken.getsockname()[1]
            wider = SETTINGS.replace("listener {mqtt} 127.0.0.1\n", "listener {mqtt}\n")
            self.broker.write_settings(f"{wider}listener {number} 127.0.0.1\n")
            self.assertIn("Nothing was reloaded", self.broker.reload())
        self.assertEqual(self.publish("a", "b", *ADA).status, 0)
        self.change(SETTINGS)
        self.assertEqual(self.publish("a", "b", *ADA).status, 0)

    def test_mount_point(self) -> None:
        """New clients have the new one; who is inside keeps the topics that it has subscribed to."""
        bob = self.subscriber("-t", "shared/#", *BOB)
        first = "listener {mqtt} 127.0.0.1\n"
        other = "listener {more} 127.0.0.1\n"
        self.change(SETTINGS.replace(first, first + "mount_point shared/\n") + other)
        self.publish("1", "under the mount point", *ADA)
        self.assertEqual(bob.until("under the mount point")[-1].topic, "shared/1")


class FarewellTests(ReloadTestCase):
    """Who is not allowed any more has to go"""

    def gone(self, client: Subscriber) -> None:
        """Wait until it was sent away, and told why."""
        client.wait_for("Received DISCONNECT \\(135\\)")

    def test_a_user_who_is_deleted(self) -> None:
        """And nobody else."""
        ada = self.subscriber("-t", "#", *ADA)
        bob = self.subscriber("-V", "mqttv5", "-t", "#", *BOB)
        mosquitto_passwd("-D", self.directory / "passwd", "bob")
        self.reload()
        self.gone(bob)
        self.publish("a", "end", *ADA)
        ada.until("end")
        self.assertEqual(ada.log().count("sending CONNECT"), 1)

    def test_anonymous(self) -> None:
        """They may come in, and then they may not."""
        self.broker.write_settings(SETTINGS.replace("allow_anonymous false", "allow_anonymous true"))
        self.reload()
        nobody, ada = self.subscriber("-V", "mqttv5", "-t", "#"), self.subscriber("-t", "#", *ADA)
        self.broker.write_settings(SETTINGS)
        self.reload()
        self.gone(nobody)
        self.publish("a", "end", *ADA)
        ada.until("end")

    def test_a_revoked_device(self) -> None:
        """Its connection ends as well, and not those of other devices."""
        phone, tablet = (
            self.subscriber("-V", "mqttv5", "-h", "localhost", "-t", "#", *device(name), port="tls")
            for name in ("phone", "tablet")
        )
        CertificateFolder(self.directory / "certs", datetime.now(timezone.utc)).revoke_device("phone")
        self.reload()
        self.gone(phone)
        self.publish("a", "end", *ADA)
        tablet.until("end")
        self.assertEqual(tablet.log().count("sending CONNECT"), 1)


class LoadTests(ReloadTestCase):
    """Reloads while many talk"""

    first = SETTINGS
    second = (
        "max_inflight_messages 10\nmax_packet_size 100000\nlog_type error\nlog_type notice\n"
        + SETTINGS.replace("{http} 127.0.0.1", "{http} 127.0.0.1\nmax_connections 10").replace(
            "listener {mqtt} 127.0.0.1\n", "listener {mqtt} 127.0.0.1\nmax_qos 1\nmax_connections 500\n"
        )
        + "listener {more} 127.0.0.1\n"
    )

    def guest(self) -> socket.socket:
        """Somebody who comes in by the listener that is there now and then."""
        guest = socket.create_connection(("127.0.0.1", self.broker.port("more")), 10)
        self.addCleanup(guest.close)
        guest.sendall(encode(Connect(Version.V5, "guest", username="bob", password=b"hunter2"), Version.V5))
        self.assertEqual(guest.recv(1), b"\x20")
        return guest

    def all_from(self, client: socket.socket) -> bytes:
        """What a connection has to say until it ends."""
        return b"".join(iter(partial(client.recv, 100), b""))

    def test_hundred_reloads(self) -> None:
        """
        50 pairs do not lose a message, and none of them its connection, while settings, rules and listeners
        change a hundred times, and the files are broken now and then.
        """
        with Traffic(self.broker.port("mqtt"), 50, "ada", b"secret") as traffic:
            for number in range(50):
                self.broker.write_settings(self.second)
                self.write("acl", ACL + f"\nuser bob\ntopic read extra/{number}\n")
                self.reload()
                guest = self.guest()
                if number % 10 == 5:
                    self.write("acl", "nonsense\n")
                    self.assertIn("Nothing was reloaded: acl:1", self.broker.reload())
                self.broker.write_settings(self.first)
                self.write("acl", ACL)
                self.reload()
                self.assertTrue(self.all_from(guest).endswith(FAREWELL))
        self.assertEqual(traffic.problems, [])
        self.assertGreater(traffic.count, 1000)


class SignalTests(ReloadTestCase):
    """The other signals"""

    def ask(self, number: int, answer: str) -> str:
        """Send a signal. :return: the line that says what came of it."""
        after = len(self.broker.lines)
        self.broker.signal(number)
        return self.broker.wait_for(answer, after).string

    def test_save(self) -> None:
        """USR1 says when everything is safe."""
        self.ask(signal.SIGUSR1, "There is nothing to save")

    def test_subscriptions(self) -> None:
        """USR2 writes them to the log, however many there are."""
        filters = [word for number in range(100) for word in ("-t", f"{{{number}}}/+")]
        self.subscriber("-i", "many", *filters, "-t", "~", *ADA)
        self.ask(signal.SIGUSR2, "Subscriptions:")
        self.broker.wait_for("  ~: many \\(0\\)")
        self.assertEqual(self.broker.log().count("/+: many (0)"), 100)

    def test_log_files(self) -> None:
        """RTMIN opens them anew, after logrotate has moved them away."""
        log = self.directory / "log"
        self.broker.write_settings(SETTINGS + f"log_dest file {log}\nlog_dest stdout\n")
        self.reload()
        log.rename(self.directory / "log.1")
        self.ask(signal.SIGRTMIN, "The log files are opened again")
        self.assertIn("opened again", log.read_text())

    def test_a_peer_that_is_gone(self) -> None:
        """PIPE ends nothing."""
        self.broker.signal(signal.SIGPIPE)
        self.assertEqual(self.publish("a", "b", *ADA).status, 0)

    def test_many_at_once(self) -> None:
        """Reloads that are asked for while one is under way are one more."""
        for _ in range(50):
            self.broker.signal(signal.SIGHUP)
        self.ask(signal.SIGUSR1, "nothing to save")
        self.reload()
        self.assertLess(self.broker.log().count("are reloaded"), 50)
