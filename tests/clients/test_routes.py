"""Routing rules in a pushd that runs: the case they are there for, pushes, kill -9, start and reload."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.furniture import ADA, BOB, Answer, Outcome, Subscriber, curl, new_directory, run
from tests.processes import Program, start_pushd, twistd_command

SETTINGS = """\
allow_anonymous false
password_file passwd
persistence true
routes_file routes
listener {mqtt} 127.0.0.1
listener {http} 127.0.0.1
protocol http
"""
ROUTES = """\
# What somebody says to a friend shows on his own terminals, too.
/+/im/u/+ copy /%1/im/u/%u
alerts/+ move log/%u/%1
"""


class RoutesTestCase(SynchronousTestCase):
    """A broker for each test, and a file of rules."""

    def setUp(self) -> None:
        self.directory = new_directory()
        self.write(ROUTES)
        self.broker = start_pushd(SETTINGS, self.directory)
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Nothing may have failed."""
        self.broker.stop()
        self.assertNotIn("Traceback", self.broker.log())

    def write(self, rules: str) -> None:
        Path(self.directory, "routes").write_text(rules)

    def subscriber(self, *flags: str) -> Subscriber:
        subscriber = Subscriber(self.broker.port("mqtt"), self.directory, "-q", "1", *flags)
        self.addCleanup(subscriber.kill)
        return subscriber

    def publish(self, topic: str, payload: str, *flags: str) -> Outcome:
        words = ("-p", str(self.broker.port("mqtt")), "-t", topic, "-m", payload, "-q", "1", *flags)
        return run("mosquitto_pub", *words, directory=self.directory)

    def push(self, topic: str, payload: str, *flags: str) -> Answer:
        """By HTTP, as ada."""
        url = f"http://127.0.0.1:{self.broker.port('http')}/v1/publish/{topic}"
        return curl(url, "-u", "ada:secret", "-d", payload, *flags, directory=self.directory)


class ChatTests(RoutesTestCase):
    """Ada has a PC and a phone, Bob as well"""

    def test_terminals(self) -> None:
        """What ada's PC sends to bob comes to both of his terminals and to her phone, once each."""
        phone = self.subscriber("-i", "ada-phone", "-t", "/chat/im/u/ada", *ADA)
        bobs = [self.subscriber("-i", name, "-t", "/chat/im/u/bob", *BOB) for name in ("bob-pc", "bob-phone")]
        for payload in ("hello", "end"):
            outcome = self.publish("/chat/im/u/bob", payload, "-i", "ada-pc", *ADA)
            self.assertEqual(0, outcome.status, outcome)
        for subscriber, topic in ((phone, "/chat/im/u/ada"), *((bob, "/chat/im/u/bob") for bob in bobs)):
            messages = subscriber.until("end")
            self.assertEqual([(topic, "hello"), (topic, "end")], [message[:2] for message in messages])

    def test_to_herself(self) -> None:
        """A note to herself comes once to each of her terminals, in every version."""
        phone = self.subscriber("-i", "ada-phone", "-t", "/chat/im/u/ada", *ADA)
        tablet = self.subscriber("-i", "ada-tablet", "-t", "#", "-V", "mqttv5", *ADA)
        for payload in ("note", "end"):
            self.publish("/chat/im/u/ada", payload, "-i", "ada-pc", "-V", "mqttv5", *ADA)
        for subscriber in (phone, tablet):
            subscriber.until("end")
            self.assertEqual(["note", "end"], subscriber.payloads())

    def test_answer(self) -> None:
        """Ada's phone sees both sides of a talk, in their order."""
        phone = self.subscriber("-i", "ada-phone", "-t", "/chat/im/u/ada", *ADA)
        self.publish("/chat/im/u/bob", "how are you?", "-i", "ada-pc", *ADA)
        self.publish("/chat/im/u/ada", "fine", "-i", "bob-pc", *BOB)
        phone.until("fine")
        self.assertEqual(["how are you?", "fine"], phone.payloads())

    def test_kill(self) -> None:
        """A copy for a phone that is away outlives kill -9, once its original was acknowledged."""
        words = ("-p", str(self.broker.port("mqtt")), "-i", "ada-phone", "-c", "-q", "1", *ADA)
        topic = ("-t", "/chat/im/u/ada")
        run("mosquitto_sub", *words, *topic, "-E", directory=self.directory)
        self.assertEqual(0, self.publish("/chat/im/u/bob", "hello", "-i", "ada-pc", *ADA).status)
        self.broker.kill()
        self.broker = self.broker.start_again()
        outcome = run("mosquitto_sub", *words, *topic, "-C", "1", "-W", "10", directory=self.directory)
        self.assertEqual((0, "hello\n"), outcome)


class GatewayTests(RoutesTestCase):
    """Pushes"""

    def test_push(self) -> None:
        """It is routed as its caller's, and its caller hears that it went well."""
        log = self.subscriber("-t", "log/#", *BOB)
        alerts = self.subscriber("-t", "alerts/#", *BOB)
        self.assertEqual(200, self.push("alerts/cellar", "water").status)
        self.assertEqual("log/ada/cellar", log.until("water")[0].topic)
        self.publish("alerts/cellar/x", "end", *BOB)
        self.assertEqual(["end"], [message.payload for message in alerts.until("end")])


class FileTests(RoutesTestCase):
    """The file at start and at SIGHUP"""

    def test_reload(self) -> None:
        """New rules count from then on, for those who have been there; none are none."""
        bob = self.subscriber("-t", "#", *BOB)
        for number, (rules, topic) in enumerate(
            [("t copy u", "t"), ("t move u", "u"), ("# t move u", "t"), ("t drop\n+ copy w", "w")]
        ):
            self.write(rules)
            self.assertIn("are reloaded", self.broker.reload())
            self.publish("t", str(number), *ADA)
            self.assertEqual(topic, bob.until(str(number))[-1].topic)

    def test_mistake_at_reload(self) -> None:
        """It names the place, and the old rules stay."""
        self.write("a copy b\nt copy $SYS/x\n")
        self.assertRegex(self.broker.reload(), "Nothing was reloaded: .*routes:2: only the broker itself")
        log = self.subscriber("-t", "log/#", *BOB)
        self.publish("alerts/x", "old", *ADA)
        self.assertEqual("log/ada/x", log.until("old")[0].topic)

    def test_no_routes_any_more(self) -> None:
        """Without the line nothing is routed."""
        self.broker.write_settings(SETTINGS.replace("routes_file routes\n", ""))
        self.assertIn("are reloaded", self.broker.reload())
        alerts = self.subscriber("-t", "alerts/#", *BOB)
        self.publish("alerts/x", "here", *ADA)
        alerts.until("here")

    def test_mistake_at_start(self) -> None:
        """pushd does not start, and says where."""
        for rules, said in (
            ("\nt copy\n", r"routes:2: no destination after 'copy'"),
            (None, r"routes: No such"),
        ):
            path = Path(self.directory, "routes")
            path.unlink()
            if rules is not None:
                path.write_text(rules)
            words = ["-n", "--pidfile=", "pushd", "-c", str(self.broker.settings)]
            started = Program([*twistd_command(), *words], self.directory)
            self.addCleanup(started.kill)
            started.wait_for(said)
            self.assertEqual(3, started.finish())
            path.touch()

    def test_warned_once(self) -> None:
        """Of a rule that makes no topic, once, however often."""
        self.write("t/# copy %1")
        self.broker.reload()
        for _ in range(3):
            self.publish("t", "x", *ADA)
        self.broker.wait_for("routes:1: '' is no topic to publish to")
        self.assertEqual(1, self.broker.log().count("is no topic to publish to"))
