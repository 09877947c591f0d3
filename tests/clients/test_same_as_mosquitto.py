"""One settings file, two brokers: Debian's mosquitto and pushd give the same clients the same answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.furniture import ADA, BOB, Subscriber, device, new_directory, run
from tests.clients.paho_device import Device
from tests.processes import DEADLINE_S, Broker, start_mosquitto, start_pushd

VERSIONS = ("mqttv31", "mqttv311")
OPEN = "listener {mqtt} 127.0.0.1\nallow_anonymous true\n"
TLS = """\
listener {tls} 127.0.0.1
cafile certs/ca.crt
certfile certs/server.crt
keyfile certs/server.key
crlfile certs/ca.crl
require_certificate true
"""


class Stage:
    """One of the two brokers, and what can be tried with it."""

    def __init__(self, case: SynchronousTestCase, broker: Broker, directory: Path) -> None:
        self._case = case
        self._directory = directory
        self.broker = broker

    def subscriber(self, *flags: str, port: str = "mqtt") -> Subscriber:
        subscriber = Subscriber(self.broker.port(port), self._directory, *flags)
        self._case.addCleanup(subscriber.kill)
        return subscriber

    def publish(self, topic: str, payload: str, *flags: str, port: str = "mqtt") -> tuple[bool, list[str]]:
        """:return: whether it went well, and the code of each CONNACK."""
        words = ("-d", "-p", str(self.broker.port(port)), "-t", topic, "-m", payload, "-q", "1", *flags)
        outcome = run("mosquitto_pub", *words, directory=self._directory)
        return outcome.status == 0, re.findall(r"CONNACK \((\d+)\)", outcome.output)

    def make_session(self, *flags: str) -> None:
        run("mosquitto_sub", "-p", self.broker.port("mqtt"), "-c", "-E", *flags, directory=self._directory)

    def device(self, client_id: str) -> Device:
        device = Device(client_id)
        self._case.addCleanup(device.leave)
        device.connect(self.broker.port("mqtt"))
        return device


class SameAnswersTests(SynchronousTestCase):
    """Each test plays one scene twice."""

    def play(self, settings: str, scene: Callable[[Stage], Any], acl: str = "") -> Any:
        """
        Play `scene` with both brokers, which must come to the same.

        :return: what it comes to.
        """
        results = []
        for start in (start_mosquitto, start_pushd):
            directory = new_directory()
            (directory / "acl").write_text(acl)
            broker = start(settings, directory)
            self.addCleanup(broker.kill)
            results.append(scene(Stage(self, broker, directory)))
        self.assertEqual(*results)
        return results[0]

    def test_nobody_without_a_name(self) -> None:
        """With a listener and nothing else, anonymous clients are refused, and so are all others."""

        def scene(stage: Stage) -> list[object]:
            names = ((), ADA, ("-u", "ada"))
            return [stage.publish("a", "b", "-V", version, *name) for version in VERSIONS for name in names]

        self.assertEqual(self.play("listener {mqtt} 127.0.0.1\n", scene), [(False, ["5"])] * 6)

    def test_anybody(self) -> None:
        """Where anonymous clients are let in and nobody knows names, any name does."""

        def scene(stage: Stage) -> list[object]:
            return [stage.publish("a", "b", *name) for name in ((), ADA, ("-u", "x"), ("-u", ""))]

        self.assertEqual(self.play(OPEN, scene), [(True, ["0"])] * 4)

    def test_passwords(self) -> None:
        """Who is refused, with and without allow_anonymous, with either program's password file."""

        def scene(stage: Stage) -> list[object]:
            names = (
                (),
                ADA,
                BOB,
                ("-u", "ada"),
                ("-u", "ada", "-P", ""),
                ("-u", "ada", "-P", "secret "),
                ("-u", "Ada", "-P", "secret"),
                ("-u", "", "-P", "secret"),
                ("-u", "eve", "-P", "secret"),
            )
            return [stage.publish("a", "b", *name) for name in names]

        for file in ("passwd", "passwd-pushctl"):
            settings = f"listener {{mqtt}} 127.0.0.1\npassword_file {file}\n"
            for more in ("", "allow_anonymous true\n"):
                codes = [code for _, (code,) in self.play(settings + more, scene)]
                anonymous = "0" if more else "5"
                self.assertEqual(codes, [anonymous, "0", "0", "5", "5", "5", "5", anonymous, "5"])

    def test_access_rules(self) -> None:
        """Whose messages get to whom."""
        acl = (
            "topic read news/#\ntopic write box\n\n"
            "user ada\ntopic read reports/#\ntopic write alerts/+\ntopic deny alerts/x\n"
            "topic deny reports/x\ntopic end\n\nuser bob\ntopic #\ntopic deny secret/#\n\n"
            "pattern readwrite devices/%c/#\npattern read users/%u/in\npattern write users/%u/out\n"
        )
        topics = (
            *("news/1", "news", "box", "reports/1", "reports/x", "reports", "alerts/1", "alerts/x"),
            *(
                "alerts/1/2",
                "secret/1",
                "devices/d1/s",
                "devices/d2/s",
                "devices/d4/s",
                "users/ada/in",
                "users/ada/out",
            ),
            *("users/bob/out", "$topic", "other"),
        )
        readers: tuple[tuple[str, ...], ...] = (("-i", "d1"), ("-i", "d2", *ADA), ("-i", "d3", *BOB))
        writers: tuple[tuple[str, ...], ...] = (("-i", "d4"), ADA, BOB)

        def scene(stage: Stage) -> list[object]:
            reading = [stage.subscriber("-t", "#", "-t", "$topic", "-q", "1", *reader) for reader in readers]
            for number, writer in enumerate(writers):
                for topic in topics:
                    stage.publish(topic, f"of {number}", *writer)
            for topic in ("news/end", "end"):
                stage.publish(topic, "end", *BOB)
            return [reader.until("end") for reader in reading]

        settings = "listener {mqtt} 127.0.0.1\nallow_anonymous true\npassword_file passwd\nacl_file acl\n"
        received = self.play(settings, scene, acl)
        self.assertTrue(all(len(messages) > 3 for messages in received), received)

    def test_certificates(self) -> None:
        """Who gets in with which certificate, and under which name."""
        acl = "user phone\ntopic phones\n\nuser CN=phone\ntopic subjects\n"
        shown = (
            device("phone"),
            device("late"),
            device("stolen"),
            device("phone", "strangers")[2:],
            (),
        )

        def scene(stage: Stage) -> list[object]:
            reader = stage.subscriber("-t", "#")
            flags = ("-h", "localhost", "--cafile", "certs/ca.crt")
            entered = [stage.publish("phones", "x", *flags, *one, port="tls")[0] for one in shown]
            stage.publish("subjects", "x", *flags, *device("phone"), port="tls")
            stage.publish("end", "end")
            return [entered, reader.until("end")]

        plain = "per_listener_settings true\nlistener {mqtt} 127.0.0.1\nallow_anonymous true\n"
        for name in ("use_identity_as_username", "use_subject_as_username"):
            entered, received = self.play(f"{plain}{TLS}{name} true\nacl_file acl\n", scene, acl)
            self.assertEqual(entered, [True, False, False, False, False])
            self.assertEqual(len(received), 2)

    def test_max_connections(self) -> None:
        """The second client of a listener for one is turned away."""

        def scene(stage: Stage) -> object:
            stage.subscriber("-t", "a")
            return stage.publish("a", "b")

        self.assertEqual(self.play(OPEN + "max_connections 1\n", scene), (False, []))

    def test_mount_points(self) -> None:
        """
        Who gets what across a mount point. Mosquitto 2.0.11 does not take the prefix away again, as it should
        and other releases do, so the topics are not looked at here.
        """
        settings = OPEN + "listener {site} 127.0.0.1\nmount_point site/\n"

        def scene(stage: Stage) -> object:
            both = [stage.subscriber("-t", "#"), stage.subscriber("-t", "#", port="site")]
            will = ("--will-topic", "will", "--will-payload", "gone")
            stage.subscriber("-t", "x", *will, port="site").kill()
            both[0].until("gone")
            stage.publish("a", "1", port="site")
            stage.publish("site/b", "2")
            stage.publish("c", "3")
            stage.publish("site/end", "end")
            return [[message.payload for message in one.until("end")] for one in both]

        outside, inside = self.play(settings, scene)
        self.assertEqual(outside, ["gone", "1", "2", "3", "end"])
        self.assertEqual(inside, ["gone", "1", "2", "end"])

    def test_client_ids_of_no_length(self) -> None:
        """Allowed unless the settings say otherwise; 3.1.1 only, as the client itself knows."""

        def scene(stage: Stage) -> object:
            return stage.publish("a", "b", "-V", "mqttv311")

        self.assertEqual(self.play(OPEN, scene), (True, ["0"]))
        refused = self.play(OPEN + "allow_zero_length_clientid false\n", scene)
        self.assertEqual(refused, (False, ["2"]))

    def test_message_size_limit(self) -> None:
        """A larger message is acknowledged and goes nowhere."""

        def scene(stage: Stage) -> object:
            reader = stage.subscriber("-t", "#")
            told = [stage.publish("a", payload) for payload in ("x" * 10, "y" * 11, "end")]
            return [told, reader.until("end")]

        told, received = self.play(OPEN + "message_size_limit 10\n", scene)
        self.assertEqual(told, [(True, ["0"])] * 3)
        self.assertEqual([message.payload for message in received], ["x" * 10, "end"])

    def test_max_packet_size(self) -> None:
        """A larger packet ends the connection; how large a packet is, the two count differently by a byte."""

        def scene(stage: Stage) -> object:
            reader = stage.subscriber("-t", "#")
            sender = stage.device("sender")
            sender.publish("a", b"x" * 90)
            sender.client.publish("a", b"y" * 100, 1)
            sender.ends.get(timeout=DEADLINE_S)
            stage.publish("a", "end")
            return reader.until("end")

        received = self.play(OPEN + "max_packet_size 100\n", scene)
        self.assertEqual([message.payload for message in received], ["x" * 90, "end"])

    def test_full_queues(self) -> None:
        """How many messages wait for a client that is away, and which."""

        def scene(stage: Stage) -> object:
            session = ("-i", "away", "-t", "#", "-q", "1")
            stage.make_session(*session)
            for number in range(10):
                stage.publish("a", str(number))
            back = stage.subscriber("-c", *session)
            stage.publish("a", "end")
            return [message.payload for message in back.until("end")]

        self.play(OPEN + "max_inflight_messages 2\nmax_queued_messages 3\n", scene)
        self.play(OPEN + "max_queued_bytes 4\nmax_queued_messages 0\n", scene)

    def test_quality_0_in_queues(self) -> None:
        """They wait only where the settings say so."""

        def scene(stage: Stage) -> object:
            session = ("-i", "away", "-t", "#", "-q", "1")
            stage.make_session(*session)
            stage.publish("a", "zero", "-q", "0")
            stage.publish("a", "one")
            return [message.payload for message in stage.subscriber("-c", *session).until("one")]

        self.assertEqual(self.play(OPEN, scene), ["one"])
        self.assertEqual(self.play(OPEN + "queue_qos0_messages true\n", scene), ["zero", "one"])

    def test_retained_messages(self) -> None:
        """A subscriber gets them marked, at the lower QoS, once for each filter; none that was cleared."""

        def scene(stage: Stage) -> object:
            for topic, payload in (("a", "1"), ("a", "2"), ("b", "3"), ("c/d", "4")):
                stage.publish(topic, payload, "-r", "-q", "2")
            stage.publish("b", "", "-r")
            reader = stage.subscriber("-t", "+", "-t", "c/#", "-t", "b", "-q", "1")
            stage.publish("end", "end")
            return sorted(reader.until("end"))

        self.assertEqual([one.payload for one in self.play(OPEN, scene)], ["2", "4", "end"])

    def test_retain_not_available(self) -> None:
        """Whoever asks for it is thrown out; others do not notice."""

        def scene(stage: Stage) -> object:
            reader = stage.subscriber("-t", "#")
            sender = stage.device("sender")
            sender.client.publish("a", "kept", 1, retain=True)
            sender.ends.get(timeout=DEADLINE_S)
            stage.publish("a", "end")
            return [reader.until("end"), stage.subscriber("-t", "#").messages()]

        received, retained = self.play(OPEN + "retain_available false\n", scene)
        self.assertEqual(([one.payload for one in received], retained), (["end"], []))
