"""mosquitto_pub, mosquitto_sub and mosquitto_rr with ``-V 5``: what people script with MQTT 5."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.furniture import BrokerTestCase, Outcome, Received, Subscriber, run
from tests.processes import Program, program

V5 = ("-V", "5")
NOT_AUTHORISED = 0x87  # the clients exit with the code of the CONNACK

SETTINGS = """\
allow_anonymous true
acl_file acl

listener {mqtt} 127.0.0.1

listener {named} 127.0.0.1
password_file passwd
"""
ACL = "topic #\ntopic deny secret/#\n"


class Version5TestCase(BrokerTestCase):
    """Publishes and subscribes with version 5 unless told otherwise."""

    settings = SETTINGS
    acl = ACL

    def subscriber5(self, *flags: str | int) -> Subscriber:
        return self.subscriber(*V5, *flags)

    def publish5(self, *flags: str | int) -> None:
        """Publish something that is accepted."""
        outcome = self.publish(*V5, *flags)
        self.assertEqual(outcome.status, 0, outcome)

    def reader(self, *flags: str | int) -> Subscriber:
        """A subscriber that tells all that it knows of a message, as JSON: see `details`."""
        return self.subscriber5("-F", "%j", *flags)

    def details(self, reader: Subscriber) -> dict[str, Any]:
        """All about the first message."""
        told: dict[str, Any] = json.loads(reader.wait_for(r'^\{"tst').string)
        return told


class PropertyTests(Version5TestCase):
    """``-D publish ...``"""

    def test_all_that_a_publisher_may_say(self) -> None:
        """The subscriber is told it as it was said, user properties in their order."""
        reader = self.reader("-t", "told", "-q", 1)
        said: dict[str, str | int] = {
            "content-type": "text/plain",
            "payload-format-indicator": 1,
            "response-topic": "answers/here",
            "correlation-data": "id-7",
        }
        flags: list[str | int] = []
        for name, value in said.items():
            flags += ["-D", "publish", name, value]
        for name, value in (("colour", "red"), ("size", "grün"), ("empty", "")):
            flags += ["-D", "publish", "user-property", name, value]
        self.publish5("-t", "told", "-m", "hello", "-q", 1, *flags)
        message = self.details(reader)
        properties = message["properties"]
        self.assertEqual(properties.pop("user-properties"), {"colour": "red", "size": "grün", "empty": ""})
        self.assertEqual(properties, said)

    def test_nothing_said(self) -> None:
        """A message without properties arrives without any."""
        reader = self.reader("-t", "plain")
        self.publish5("-t", "plain", "-m", "hello")
        message = self.details(reader)
        self.assertNotIn("properties", message)

    def test_topic_aliases(self) -> None:
        """mosquitto_pub may number its topic; subscribers see only the topic."""
        subscriber = self.subscriber5("-t", "numbered")
        self.publish5("-t", "numbered", "-m", "hello", "-D", "publish", "topic-alias", 3)
        self.assertEqual(subscriber.until("hello"), [Received("numbered", "hello", 0, False)])

    def test_a_topic_alias_that_is_too_high(self) -> None:
        """It ends the connection: the client may not have more than CONNACK says."""
        flags = ("-t", "numbered", "-m", "unheard", "-D", "publish", "topic-alias", 11)
        subscriber = self.subscriber5("-t", "numbered")
        after = len(self.broker.lines)
        self.publish(*V5, "-q", 1, *flags)
        self.broker.wait_for("topic alias 11", after)
        self.publish5("-t", "numbered", "-m", "heard")
        self.assertEqual([message.payload for message in subscriber.until("heard")], ["heard"])

    def test_the_will_has_properties(self) -> None:
        """They arrive with it."""
        reader = self.reader("-t", "wills/#")
        said = ("-D", "will", "content-type", "text/plain", "-D", "will", "user-property", "why", "gone")
        mortal = self.subscriber5("-t", "any", "--will-topic", "wills/5", "--will-payload", "gone", *said)
        mortal.kill()
        message = self.details(reader)
        self.assertEqual(
            message["properties"], {"content-type": "text/plain", "user-properties": {"why": "gone"}}
        )

    def test_a_subscriber_that_takes_little(self) -> None:
        """What is larger than its Maximum Packet Size is not for it; it stays and gets the rest."""
        subscriber = self.subscriber5("-t", "sizes", "-q", 1, "-D", "connect", "maximum-packet-size", 100)
        self.publish5("-t", "sizes", "-m", "x" * 100, "-q", 1)
        self.publish5("-t", "sizes", "-m", "small", "-q", 1)
        self.assertEqual([message.payload for message in subscriber.until("small")], ["small"])

    def test_a_subscriber_that_takes_one_at_a_time(self) -> None:
        """With a Receive Maximum of 1, all messages come, in their order."""
        numbers = [str(number) for number in range(200)]
        for qos in (1, 2):
            slow = self.subscriber5("-t", f"slow/{qos}", "-q", qos, "-D", "connect", "receive-maximum", 1)
            outcome = self.publish(
                *V5, "-l", "-t", f"slow/{qos}", "-q", qos, feed="\n".join(numbers).encode()
            )
            self.assertEqual(outcome.status, 0, outcome)
            slow.until("199")
            self.assertEqual(slow.payloads(), numbers)


class VersionTests(Version5TestCase):
    """All versions meet."""

    def test_from_each_to_each(self) -> None:
        """Whoever speaks what, the message is the same, at each QoS."""
        versions = ("mqttv31", "mqttv311", "5")
        for reading in versions:
            subscriber = self.subscriber("-V", reading, "-t", f"to/{reading}", "-q", 2)
            for writing in versions:
                for qos in (0, 1, 2):
                    payload = f"{writing} {qos}"
                    self.publish("-V", writing, "-t", f"to/{reading}", "-m", payload, "-q", qos)
                    expected = Received(f"to/{reading}", payload, qos, False)
                    self.assertEqual(subscriber.until(payload)[-1], expected)

    def test_what_version_3_cannot_be_told(self) -> None:
        """Properties are left out for subscribers of version 3, and the payload is as it was."""
        subscriber = self.subscriber("-V", "mqttv311", "-t", "mixed")
        self.publish5("-t", "mixed", "-m", "hello", "-D", "publish", "user-property", "a", "b")
        self.assertEqual(subscriber.until("hello"), [Received("mixed", "hello", 0, False)])


class RequestTests(Version5TestCase):
    """mosquitto_rr asks, and somebody answers."""

    def request(self, version: str) -> Outcome:
        """Ask for the time; mosquitto_sub and mosquitto_pub together are who answers."""
        topic, answers = f"time/{version}", f"answers/{version}"
        server = self.subscriber("-V", version, "-t", topic, "-q", 1)
        words = ("-p", str(self.broker.port("mqtt")), "-V", version, "-t", topic, "-e", answers)
        asking = Program(
            [program("mosquitto_rr"), *words, "-m", "when?", "-q", "1", "-W", "15"], self.directory
        )
        self.addCleanup(asking.kill)
        server.until("when\\?")
        self.publish("-V", version, "-t", answers, "-m", "now", "-q", 1)
        return Outcome(asking.finish(), asking.log())

    def test_an_answer(self) -> None:
        """It comes, with version 5 and with 3.1.1."""
        for version in ("5", "mqttv311"):
            self.assertEqual(self.request(version), Outcome(0, "now"))

    def test_what_the_server_is_told(self) -> None:
        """Where the answer shall go, and what it belongs to."""
        reader = self.reader("-t", "ask")
        words = ("-p", self.broker.port("mqtt"), *V5, "-t", "ask", "-e", "tell", "-m", "?", "-W", 1)
        correlation = ("-D", "publish", "correlation-data", "no 9")
        run("mosquitto_rr", *words, *correlation, directory=self.directory)
        message = self.details(reader)
        self.assertEqual(message["properties"], {"response-topic": "tell", "correlation-data": "no 9"})


class SessionTests(Version5TestCase):
    """``-x`` says for how many seconds a session is kept."""

    def make(self, client_id: str, *flags: str | int) -> None:
        """A session, offline."""
        self.make_session(client_id, *V5, "-t", f"kept/{client_id}", "-q", 1, *flags)

    def waiting(self, client_id: str) -> list[str]:
        """What the session has to say when its client is back, up to a message of now."""
        back = self.subscriber5("-i", client_id, "-c", "-x", 100, "-t", f"kept/{client_id}", "-q", 1)
        self.publish5("-t", f"kept/{client_id}", "-m", "end", "-q", 1)
        back.until("end")
        return back.payloads()

    def test_a_session_that_is_kept(self) -> None:
        """Messages wait, until its end, or for ever."""
        for client_id, seconds in (("hundred", 100), ("for-ever", -1)):
            self.make(client_id, "-x", seconds)
            self.publish5("-t", f"kept/{client_id}", "-m", "waited", "-q", 1)
            self.assertEqual(self.waiting(client_id), ["waited", "end"])

    def test_a_session_that_is_not(self) -> None:
        """Without a time it ends with its connection, even if it was not begun anew."""
        self.make("short", "-x", 0)
        self.publish5("-t", "kept/short", "-m", "missed", "-q", 1)
        self.assertEqual(self.waiting("short"), ["end"])

    def test_a_session_whose_time_is_up(self) -> None:
        """
        It is gone. When that is known is told by the Will of another one of the same length that began later:
        at the end of a session its Will is sent, however long that was to wait.
        """
        watcher = self.subscriber5("-t", "time")
        self.make("second", "-x", 1)
        will = ("--will-topic", "time", "--will-payload", "up", "-D", "will", "will-delay-interval", 100)
        self.subscriber5("-i", "clock", "-c", "-x", 1, "-t", "any", *will).kill()
        watcher.until("up")
        self.publish5("-t", "kept/second", "-m", "missed", "-q", 1)
        self.assertEqual(self.waiting("second"), ["end"])

    def test_messages_whose_time_is_up(self) -> None:
        """They are not delivered; the time of others runs down while they wait."""
        self.make("slow", "-x", 100)
        watcher = self.subscriber5("-t", "time")
        for payload, seconds in (("brief", 1), ("long", 60)):
            self.publish5(
                *("-t", "kept/slow", "-m", payload, "-q", 1),
                *("-D", "publish", "message-expiry-interval", seconds),
            )
        will = ("--will-topic", "time", "--will-payload", "up", "-D", "will", "will-delay-interval", 1)
        self.subscriber5("-i", "hourglass", "-c", "-x", 100, "-t", "any", *will).kill()
        watcher.until("up")
        back = self.reader("-i", "slow", "-c", "-x", 100, "-t", "kept/slow", "-q", 1)
        message = self.details(back)
        self.assertEqual(message["payload"], "long")
        self.assertIn(message["properties"]["message-expiry-interval"], range(50, 60))


class SubscriptionTests(Version5TestCase):
    """What a subscription may ask for."""

    def test_no_retained_messages(self) -> None:
        """With ``-R`` they do not even come over the line."""
        self.publish5("-t", "state", "-m", "kept", "-r", "-q", 1)
        there = self.subscriber5("-t", "state", "-R")
        self.publish5("-t", "state", "-m", "live", "-q", 1)
        there.until("live")
        self.assertEqual(len([line for line in there.lines if "received PUBLISH" in line]), 1)

    def test_retain_as_published(self) -> None:
        """Who asks for it sees whether the publisher said retain."""
        as_published = self.subscriber5("-t", "flag", "--retain-as-published")
        as_ever = self.subscriber5("-t", "flag")
        self.publish5("-t", "flag", "-m", "on", "-r")
        self.assertIs(as_published.until("on")[0].retained, True)
        self.assertIs(as_ever.until("on")[0].retained, False)

    def test_subscription_identifiers(self) -> None:
        """A message says which subscription it comes for."""
        reader = self.reader("-t", "marked/#", "-D", "subscribe", "subscription-identifier", 268_435_455)
        self.publish5("-t", "marked/1", "-m", "hello")
        message = self.details(reader)
        self.assertEqual(message["properties"], {"subscription-identifier": 268_435_455})

    def test_shared_subscriptions(self) -> None:
        """Members of a group share its messages, of both versions, and others get all of them."""
        members = [
            self.subscriber("-V", version, "-t", "$share/group/jobs", "-t", "end", "-q", 1)
            for version in ("5", "5", "mqttv311")
        ]
        watcher = self.subscriber5("-t", "jobs", "-q", 1)
        numbers = [f"{number:03}" for number in range(90)]
        self.publish("-V", "5", "-l", "-t", "jobs", "-q", 1, feed="\n".join(numbers).encode())
        watcher.until("089")
        self.assertEqual(watcher.payloads(), numbers)
        self.publish5("-t", "end", "-m", "end", "-q", 1)  # comes after whatever was before it
        shares = [member.until("end")[:-1] for member in members]
        self.assertTrue(all(shares))
        self.assertEqual(sorted(message.payload for share in shares for message in share), numbers)


class RefusalTests(Version5TestCase):
    """Version 5 is told the reason."""

    def test_a_wrong_password(self) -> None:
        """Not authorised, as a reason code of version 5."""
        for password, expected in (("secret", 0), ("wrong", NOT_AUTHORISED)):
            flags = ("-t", "a", "-m", "b", "-u", "ada", "-P", password)
            outcome = self.publish(*V5, *flags, port="named")
            self.assertEqual(outcome.status, expected, outcome)

    def test_a_topic_that_is_not_for_all(self) -> None:
        """The publisher is told with the acknowledgement."""
        for qos in (1, 2):
            outcome = self.publish(*V5, "-t", "secret/door", "-m", "open", "-q", qos)
            self.assertIn("Not authorized", outcome.output)
