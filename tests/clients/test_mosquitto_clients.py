"""mosquitto_pub and mosquitto_sub, with both versions of the protocol that they share with pushd."""

from __future__ import annotations

from tests.clients.furniture import ADA, BOB, BrokerTestCase, Received, Subscriber

VERSIONS = ("mqttv31", "mqttv311")
IDENTIFIER_REJECTED, NOT_AUTHORISED = 2, 5  # CONNACK's codes; the clients exit with them


class PlainTests(BrokerTestCase):
    """An open broker: messages, whatever they are."""

    settings = "listener {mqtt} 127.0.0.1\nallow_anonymous true"

    def test_messages_arrive(self) -> None:
        """With 3.1 and 3.1.1, from either to either."""
        for of_subscriber in VERSIONS:
            subscriber = self.subscriber("-V", of_subscriber, "-t", f"plain/{of_subscriber}/#")
            for of_publisher in VERSIONS:
                topic, payload = f"plain/{of_subscriber}/{of_publisher}", f"hello {of_publisher}"
                self.publish("-V", of_publisher, "-t", topic, "-m", payload)
                self.assertEqual(subscriber.until(payload)[-1], Received(topic, payload, 0, False))

    def test_quality_is_the_lower_of_both(self) -> None:
        """A message arrives at the QoS it was published with, at most at the one subscribed to."""
        for version in VERSIONS:
            for granted in (0, 1, 2):
                topic = f"qos/{version}/{granted}"
                subscriber = self.subscriber("-V", version, "-t", topic, "-q", granted)
                for qos in (0, 1, 2):
                    self.assertEqual(
                        self.publish("-V", version, "-t", topic, "-m", f"at {qos}", "-q", qos).status, 0
                    )
                got = [message.qos for message in subscriber.until("at 2")]
                self.assertEqual(got, [min(granted, qos) for qos in (0, 1, 2)], (version, granted))

    def test_many_arrive_in_order(self) -> None:
        """What one client publishes arrives complete and in its order, at each QoS."""
        numbers = [str(number) for number in range(500)]
        for qos in (0, 1, 2):
            subscriber = self.subscriber("-t", f"many/{qos}", "-q", qos)
            self.publish("-l", "-t", f"many/{qos}", "-q", qos, feed="\n".join(numbers).encode())
            subscriber.until("499")
            self.assertEqual(subscriber.payloads(), numbers)

    def test_a_retained_message_waits_for_subscribers(self) -> None:
        """It comes first and marked to whoever subscribes later, and unmarked to whoever is there."""
        there = self.subscriber("-t", "lamp/#")
        self.publish("-t", "lamp/1", "-m", "on", "-r", "-q", 1)
        later = self.subscriber("-t", "lamp/+", "-q", 1)
        self.assertEqual(later.until("on"), [Received("lamp/1", "on", 1, True)])
        self.assertEqual(there.until("on"), [Received("lamp/1", "on", 0, False)])

    def test_an_empty_retained_message_clears(self) -> None:
        """``-r -n`` takes a retained message back."""
        self.publish("-t", "clear/me", "-m", "old", "-r")
        self.publish("-t", "clear/me", "-r", "-n")
        self.publish("-t", "clear/not", "-m", "kept", "-r")
        later = self.subscriber("-t", "clear/#")
        self.assertEqual(later.until("kept"), [Received("clear/not", "kept", 0, True)])

    def test_a_will_is_sent_when_its_client_dies(self) -> None:
        """``--will-*`` speaks for a client that is gone without a word; retained if it says so."""
        watcher = self.subscriber("-t", "wills/#", "-q", 1)
        mortal = self.subscriber(
            *("-t", "any", "--will-topic", "wills/mortal", "--will-payload", "gone"),
            *("--will-qos", 1, "--will-retain"),
        )
        mortal.kill()
        self.assertEqual(watcher.until("gone"), [Received("wills/mortal", "gone", 1, False)])
        later = self.subscriber("-t", "wills/mortal")
        self.assertEqual(later.until("gone"), [Received("wills/mortal", "gone", 0, True)])

    def test_a_farewell_keeps_the_will_unsaid(self) -> None:
        """Whoever says DISCONNECT needs no will."""
        watcher = self.subscriber("-t", "calm/#")
        self.publish("-t", "calm/1", "-m", "one", "--will-topic", "calm/will", "--will-payload", "gone")
        self.publish("-t", "calm/2", "-m", "two")
        self.assertEqual([message.payload for message in watcher.until("two")], ["one", "two"])

    def test_a_session_waits_for_its_client(self) -> None:
        """With ``-c`` and ``-i``, what was published meanwhile arrives at the QoS asked for."""
        for version in VERSIONS:
            for qos in (1, 2):
                client_id, topic = f"{version}-{qos}", f"kept/{version}/{qos}"
                self.make_session(client_id, "-V", version, "-t", topic, "-q", qos)
                self.publish("-t", topic, "-m", "hello", "-q", 2)
                back = self.subscriber("-V", version, "-i", client_id, "-c", "-t", topic, "-q", qos)
                self.assertEqual(back.until("hello"), [Received(topic, "hello", qos, False)])

    def test_quality_0_does_not_wait(self) -> None:
        """Messages of QoS 0 are for those who are there."""
        self.make_session("zero", "-t", "zero", "-q", 1)
        self.publish("-t", "zero", "-m", "missed", "-q", 0)
        self.publish("-t", "zero", "-m", "kept", "-q", 1)
        back = self.subscriber("-i", "zero", "-c", "-t", "zero", "-q", 1)
        self.assertEqual([message.payload for message in back.until("kept")], ["kept"])

    def test_a_large_message(self) -> None:
        """A megabyte arrives whole."""
        payload = self.directory / "large"
        payload.write_text("x" * 1_000_000)
        subscriber = self.subscriber("-t", "large", "-q", 1)
        self.assertEqual(self.publish("-t", "large", "-f", str(payload), "-q", 1).status, 0)
        self.assertEqual(len(subscriber.until("x+")[0].payload), 1_000_000)

    def test_nobody_publishes_figures_of_the_broker(self) -> None:
        """$SYS belongs to the broker, and # does not subscribe to it."""
        everything = self.subscriber("-t", "#")
        figures = self.subscriber("-t", "$SYS/broker/version")
        figures.until("pushd version .*")
        self.publish("-t", "$SYS/broker/version", "-m", "fake")
        self.publish("-t", "sentinel", "-m", "end of figures")
        topics = [message.topic for message in everything.until("end of figures")]
        self.assertEqual([topic for topic in topics if topic.startswith("$")], [])
        self.assertNotIn("fake", figures.payloads())


class PasswordTests(BrokerTestCase):
    """Nobody is let in without a name and its password."""

    settings = (
        "per_listener_settings true\n"
        "listener {mqtt} 127.0.0.1\npassword_file passwd\n"
        "listener {ours} 127.0.0.1\npassword_file passwd-pushctl"
    )

    def test_the_right_password(self) -> None:
        """Of either user, in a file of mosquitto_passwd's or of pushctl's, with either version."""
        for port in ("mqtt", "ours"):
            for who in (ADA, BOB):
                for version in VERSIONS:
                    outcome = self.publish("-V", version, "-t", "a", "-m", "b", *who, port=port)
                    self.assertEqual(outcome.status, 0, (port, outcome))

    def test_a_wrong_one(self) -> None:
        """Wrong passwords, names that do not exist and another's password are all answered alike."""
        for port in ("mqtt", "ours"):
            for name, password in (("ada", "wrong"), ("eve", "secret"), ("ada", "hunter2"), ("ada", "")):
                outcome = self.publish("-t", "a", "-m", "b", "-u", name, "-P", password, port=port)
                self.assertEqual(outcome.status, NOT_AUTHORISED, (port, name, password, outcome))

    def test_no_password(self) -> None:
        """Neither a name alone nor nothing at all opens the door."""
        for flags in ((), ("-u", "ada")):
            for version in VERSIONS:
                outcome = self.publish("-V", version, "-t", "a", "-m", "b", *flags)
                self.assertEqual(outcome.status, NOT_AUTHORISED, (flags, outcome))
                self.assertIn("not authorised", outcome.output)


ACL = """\
topic read news/#

user ada
topic read reports/#
topic write alerts/#
topic both/ways
topic deny alerts/secret

user bob
topic readwrite #

pattern readwrite devices/%c/#
pattern write users/%u/out
pattern read users/%u/in
"""


class AccessTests(BrokerTestCase):
    """An acl_file: who reads and who writes what."""

    settings = "listener {mqtt} 127.0.0.1\nallow_anonymous true\npassword_file passwd\nacl_file acl"
    acl = ACL

    def arrives(self, subscriber: Subscriber, topic: str, *publisher: str) -> bool:
        """Whether what `publisher` says on `topic` gets to `subscriber`, who must be let read both/ways."""
        earlier = len(subscriber.messages())
        self.publish("-t", topic, "-m", "question", "-q", 1, *publisher)
        self.publish("-t", "both/ways", "-m", f"end {earlier}", *BOB)
        return topic in [message.topic for message in subscriber.until(f"end {earlier}")[earlier:]]

    def test_writing(self) -> None:
        """ada writes where a line says so; a deny goes before, wherever it stands. Nobody is told."""
        bob = self.subscriber("-t", "#", *BOB)
        for topic, expected in (
            ("alerts/fire", True),
            ("alerts/secret", False),
            ("reports/x", False),
            ("elsewhere", False),
            ("users/ada/out", True),
            ("users/bob/out", False),
            ("users/ada/in", False),
        ):
            self.assertIs(self.arrives(bob, topic, *ADA), expected, topic)

    def test_reading(self) -> None:
        """ada gets only what she may read, whatever she subscribes to."""
        ada = self.subscriber("-t", "#", *ADA)
        for topic, expected in (
            ("reports/x", True),
            ("alerts/fire", False),
            ("news/1", False),
            ("users/ada/in", True),
            ("users/bob/in", False),
            ("users/ada/out", False),
        ):
            self.assertIs(self.arrives(ada, topic, *BOB), expected, topic)

    def test_client_ids_in_patterns(self) -> None:
        """%c is the client id: a device has a branch of its own."""
        bob = self.subscriber("-t", "#", *BOB)
        self.assertTrue(self.arrives(bob, "devices/d1/state", "-i", "d1"))
        self.assertFalse(self.arrives(bob, "devices/d1/state", "-i", "d2"))

    def test_anonymous_clients(self) -> None:
        """The lines before the first user are theirs."""
        anonymous = self.subscriber("-t", "#")
        self.publish("-t", "reports/x", "-m", "for ada", *BOB)
        self.publish("-t", "news/1", "-m", "for all", *BOB)
        self.assertEqual([message.payload for message in anonymous.until("for all")], ["for all"])

    def test_retained_messages(self) -> None:
        """Those that a subscriber may not read stay where they are."""
        self.publish("-t", "retained/x", "-m", "hidden", "-r", *BOB)
        self.publish("-t", "reports/retained", "-m", "shown", "-r", *BOB)
        ada = self.subscriber("-t", "#", *ADA)
        self.assertEqual([message.payload for message in ada.until("shown")], ["shown"])

    def test_wills(self) -> None:
        """A will goes no further than its client might."""
        bob = self.subscriber("-t", "alerts/#", *BOB)
        for topic in ("alerts/secret", "alerts/will"):
            flags = ("--will-topic", topic, "--will-payload", "gone")
            self.subscriber("-t", "both/ways", *flags, *ADA).kill()
        self.assertEqual([message.topic for message in bob.until("gone")], ["alerts/will"])


class LimitTests(BrokerTestCase):
    """What a listener's settings do to its clients."""

    settings = (
        "allow_anonymous true\nallow_zero_length_clientid false\nmax_keepalive 60\n"
        "listener {mqtt} 127.0.0.1\nlistener {few} 127.0.0.1\nmax_connections 1\n"
        "listener {site1} 127.0.0.1\nmount_point site1/\nlistener {site2} 127.0.0.1\nmount_point site2/"
    )

    def test_max_connections(self) -> None:
        """One more than there may be is turned away; it gets in when there is room again."""
        only = self.subscriber("-i", "only", "-t", "a", port="few")
        self.assertNotEqual(self.publish("-t", "a", "-m", "b", "-i", "more", port="few").status, 0)
        after = len(self.broker.lines)
        only.kill()
        self.broker.wait_for("closed its connection", after)
        self.assertEqual(self.publish("-t", "a", "-m", "b", "-i", "more", port="few").status, 0)

    def test_mount_points(self) -> None:
        """Clients of one mount point are among themselves; without one, all topics are seen as they are."""
        outside = self.subscriber("-t", "#", "-i", "outside")
        inside = self.subscriber("-t", "#", "-i", "inside", port="site1")
        self.publish("-t", "a", "-m", "of site 2", "-i", "pub", port="site2")
        self.publish("-t", "a", "-m", "of site 1", "-i", "pub", port="site1")
        self.publish("-t", "site1/b", "-m", "from outside", "-i", "pub")
        self.assertEqual([one.topic for one in inside.until("from outside")], ["a", "b"])
        self.assertEqual(
            [one.topic for one in outside.until("from outside")], ["site2/a", "site1/a", "site1/b"]
        )

    def test_an_empty_client_id(self) -> None:
        """mosquitto_pub has one unless told otherwise; it is refused where the settings say so."""
        outcome = self.publish("-V", "mqttv311", "-t", "a", "-m", "b")
        self.assertEqual(outcome.status, IDENTIFIER_REJECTED, outcome)

    def test_max_keepalive(self) -> None:
        """Whoever wants a longer one is refused, with the code that Mosquitto 2.1 has for it."""
        for keep_alive, expected in ((60, 0), (61, IDENTIFIER_REJECTED)):
            outcome = self.publish("-i", "kept", "-t", "a", "-m", "b", "-k", keep_alive)
            self.assertEqual(outcome.status, expected, outcome)
