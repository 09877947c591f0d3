"""Clients that never subscribe, and get what rules, lists and friends say: paho beside a pushd, and curl."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.furniture import ADA, USERS, Answer, Outcome, Subscriber, curl, new_directory, run
from tests.clients.paho_device import V5, V311, Device
from tests.processes import DEADLINE_S, Broker, ProgramFailed, environment, start_pushd

SETTINGS = """\
allow_anonymous false
password_file passwd
admin_user ada
persistence true
autosubscribe_file auto
listener {mqtt} 127.0.0.1
listener {http} 127.0.0.1
protocol http
"""
RULES = "to/%u 1\nuser/%F/presence 1\n[user bob]\nbobs/+ 0\n"


class AutoSubscriptionTests(SynchronousTestCase):
    """A broker for each test, as each changes its files."""

    def setUp(self) -> None:
        self.directory = new_directory()
        self.write(RULES)
        self.broker: Broker = start_pushd(SETTINGS, self.directory)
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Whatever has happened, nothing may have failed."""
        self.broker.stop()
        self.assertNotIn("Traceback", self.broker.log())

    def write(self, rules: str) -> None:
        Path(self.directory, "auto").write_text(rules)

    def device(self, client_id: str = "phone", version: int = V311, **flags: object) -> Device:
        """One of bob's, with a session that is kept."""
        more = {"clean_session": False} if version == V311 else {}
        device = Device(client_id, version, **{**more, **flags})  # type: ignore[arg-type]
        device.client.username_pw_set("bob", USERS["bob"])
        self.addCleanup(device.leave)
        return device

    def publish(self, topic: str, payload: str, *flags: str) -> Outcome:
        words = ("-p", str(self.broker.port("mqtt")), "-t", topic, "-m", payload, "-q", "1", *ADA, *flags)
        return run("mosquitto_pub", *words, directory=self.directory)

    def ask(self, method: str, path: str) -> Answer:
        url = f"http://127.0.0.1:{self.broker.port('http')}/v1/{path}"
        return curl(url, "-X", method, "-u", "ada:secret", directory=self.directory)

    def pushctl(self, *words: str) -> None:
        words = (sys.executable, "-m", "pushd.ctl.main", *words, "-c", "pushd.conf")
        subprocess.run(words, check=True, timeout=DEADLINE_S, env=environment(), cwd=self.directory)

    def comes_soon(self, device: Device, topic: str) -> None:
        """A message on this topic reaches the device before long; each time one on another is waited for."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            self.publish(topic, topic)
            self.publish("to/bob", "ping")
            payload = device.next_message().payload.decode()
            if payload == topic:
                self.assertEqual(device.next_message().payload, b"ping")
                return
            self.assertEqual(payload, "ping")
        raise ProgramFailed(f"{topic} does not come: {self.broker}")

    def test_rules(self) -> None:
        """Both versions get messages by rules, for everybody and for their user."""
        for version in (V311, V5):
            device = self.device(f"phone-{version}", version)
            device.connect(self.broker.port("mqtt"))
            for topic in ("to/bob", "bobs/x", "to/eve", "to/bob"):
                self.publish(topic, topic)
            self.assertEqual([b"to/bob", b"bobs/x", b"to/bob"], device.next_payloads(3))

    def test_killed_and_started_again(self) -> None:
        """What was subscribed is so after kill -9, once; what the client gave up stays given up."""
        device = self.device()
        device.connect(self.broker.port("mqtt"))
        device.client.unsubscribe("bobs/+")
        device.acknowledged.get(timeout=DEADLINE_S)
        self.broker.kill()
        device.client.loop_stop()
        self.broker = self.broker.start_again()
        for topic in ("to/bob", "bobs/x"):
            self.publish(topic, topic)
        again = self.device()
        self.assertEqual((0, True), again.connect(self.broker.port("mqtt")))
        self.publish("to/bob", "last")
        self.assertEqual([b"to/bob", b"last"], again.next_payloads(2))

    def test_reload(self) -> None:
        """SIGHUP follows a changed file, and keeps the old rules if there is a mistake in it."""
        device = self.device()
        device.connect(self.broker.port("mqtt"))
        self.write(RULES + "[user bob]\nnew/# 1\nwrong\n")
        self.assertIn("auto:7: 'wrong': no QoS behind it", self.broker.reload())
        self.write("to/%u 1\nnew/# 1\n")
        self.assertIn("are reloaded", self.broker.reload())
        self.comes_soon(device, "new/x")
        for topic in ("bobs/x", "to/bob"):
            self.publish(topic, topic)
        self.assertEqual(b"to/bob", device.next_message().payload)

    def test_lists_and_friends(self) -> None:
        """pushctl and HTTP change them while the server runs, for a client that is connected."""
        device = self.device()
        device.connect(self.broker.port("mqtt"))
        self.pushctl("subscriptions", "add", "bob", "listed/+", "1")
        self.comes_soon(device, "listed/x")
        self.assertEqual(201, self.ask("PUT", "users/bob/subscriptions/by-http").status)
        self.comes_soon(device, "by-http")
        for follower, followed in (("bob", "eve"), ("eve", "bob")):
            self.pushctl("friends", "add", follower, followed)
        self.comes_soon(device, "user/eve/presence")

    def test_first_connection(self) -> None:
        """It is announced once, to whoever wants to decide about a user."""
        watcher = Subscriber(
            self.broker.port("mqtt"), self.directory, "-t", "$SYS/broker/clients/first-connected", *ADA
        )
        self.addCleanup(watcher.kill)
        for client_id in ("phone", "tablet"):
            self.device(client_id).connect(self.broker.port("mqtt"))
        said = json.loads(watcher.wait_for(r"\{.*bob.*\}").group())
        self.assertEqual(("bob", "phone"), (said["username"], said["clientid"]))
        self.publish("to/nobody", "x")
        self.assertEqual(1, watcher.log().count('"bob"'))


class StartTests(SynchronousTestCase):
    """A start"""

    def test_mistake(self) -> None:
        """A file with a mistake stops it, and says where."""
        directory = new_directory()
        (directory / "auto").write_text("# fine\nt 1\nt\n")
        with self.assertRaises(ProgramFailed) as caught:
            start_pushd("autosubscribe_file auto\nlistener {mqtt} 127.0.0.1\n", directory)
        self.assertIn("Error: auto:3: 't': no QoS behind it", str(caught.exception))
