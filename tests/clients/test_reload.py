"""SIGHUP: passwords, access rules and certificates change while clients stay connected."""

from __future__ import annotations

import ssl
from datetime import datetime, timezone
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pushd.ctl.certs import CertificateFolder
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


class ReloadTests(SynchronousTestCase):
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

    def test_another_listener_needs_a_restart(self) -> None:
        """It is not opened, and the log says so."""
        self.broker.write_settings(SETTINGS + "listener {more} 127.0.0.1\n")
        self.assertIn("needs a restart", self.broker.reload())
        self.assertEqual(self.publish("a", "b", *ADA).status, 0)

    def test_a_queue_outlives_it(self) -> None:
        """What waits for a session that is away still waits after SIGHUP."""
        session = ("-i", "bob-1", "-c", "-q", "1", "-t", "shared/#", *BOB)
        port = self.broker.port("mqtt")
        run("mosquitto_sub", "-p", port, "-E", *session, directory=self.directory)
        self.publish("shared/1", "waiting", *ADA)
        self.reload()
        self.assertEqual([one.payload for one in self.subscriber(*session).until("waiting")], ["waiting"])
