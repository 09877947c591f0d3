"""Routing rules that ask for friends, in a pushd that runs, while ``pushctl`` changes who they are."""

from __future__ import annotations

import sys
from pathlib import Path
from time import monotonic

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.furniture import Outcome, Subscriber, curl, new_directory, run
from tests.processes import start_pushd

SETTINGS = """\
allow_anonymous true
persistence true
routes_file routes
listener {mqtt} 127.0.0.1
listener {http} 127.0.0.1
protocol http
"""
ROUTES = """\
presence/+ copy feed/%F/%u/%1
letters/%F move inbox/%1/%u
letters/+ drop
"""

# That a change is followed within a second, measured with clients that are started for it, on a machine that
# runs other tests meanwhile.
PATIENCE_S = 3.0


class FriendRoutesTests(SynchronousTestCase):
    """A broker for each test; who somebody is, anybody may say."""

    def setUp(self) -> None:
        self.directory = new_directory()
        Path(self.directory, "routes").write_text(ROUTES)
        self.broker = start_pushd(SETTINGS, self.directory)
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Nothing may have failed."""
        self.broker.stop()
        self.assertNotIn("Traceback", self.broker.log())

    def reader(self, user: str) -> Subscriber:
        """Somebody who reads what friends send; each copy goes to another, for one would get it once only."""
        topics = ("-t", f"feed/{user}/#", "-t", f"inbox/{user}/#", "-t", "mark")
        port = self.broker.port("mqtt")
        reader = Subscriber(port, self.directory, "-u", user, "-i", f"{user}-sub", "-q", "1", *topics)
        self.addCleanup(reader.kill)
        return reader

    def publish(self, user: str, topic: str, payload: str) -> None:
        words = ("-p", str(self.broker.port("mqtt")), "-u", user, "-t", topic, "-m", payload, "-q", "1")
        self.assertEqual(0, run("mosquitto_pub", *words, directory=self.directory).status)

    def push(self, user: str, topic: str, payload: str) -> None:
        """By HTTP."""
        url = f"http://127.0.0.1:{self.broker.port('http')}/v1/publish/{topic}"
        answer = curl(url, "-u", f"{user}:x", "-d", payload, directory=self.directory)
        self.assertEqual(200, answer.status, answer)

    def pushctl(self, *words: str) -> Outcome:
        return run(sys.executable, "-m", "pushd.ctl.main", *words, directory=self.directory)

    def friends(self, command: str, one: str, other: str) -> None:
        """Make them mutual friends (``add``), or let the one not follow any more (``remove``)."""
        for names in ((one, other), (other, one))[: 2 if command == "add" else 1]:
            self.assertEqual(0, self.pushctl("friends", command, "-c", "pushd.conf", "--", *names).status)

    def places(self, reader: Subscriber, user: str, topic: str, mark: str) -> list[str]:
        """Where a reader gets a message: it comes before one that is published after it, or not at all."""
        self.publish(user, topic, f"{mark}-news")
        self.publish("root", "mark", mark)
        return [message.topic for message in reader.until(mark) if message.payload == f"{mark}-news"]

    def await_places(self, expected: list[str], reader: Subscriber, user: str, topic: str) -> None:
        """Try until it comes there: soon after something has changed."""
        deadline = monotonic() + PATIENCE_S
        while (found := self.places(reader, user, topic, f"try-{monotonic()}")) != expected:
            self.assertLess(monotonic(), deadline, found)

    def test_presence(self) -> None:
        """Each mutual friend is told; who becomes one or is none any more, from the next message on."""
        self.friends("add", "ann", "bob")
        bob, eve = self.reader("bob"), self.reader("eve")
        self.await_places(["feed/bob/ann/pc"], bob, "ann", "presence/pc")
        self.assertEqual([], self.places(eve, "ann", "presence/pc", "no friend"))
        self.friends("add", "ann", "eve")
        self.await_places(["feed/eve/ann/pc"], eve, "ann", "presence/pc")
        self.friends("remove", "bob", "ann")
        self.await_places([], bob, "ann", "presence/pc")
        self.assertEqual(["feed/eve/ann/pc"], self.places(eve, "ann", "presence/pc", "last"))

    def test_letters(self) -> None:
        """They come through between friends only, by MQTT and by HTTP."""
        self.friends("add", "ann", "bob")
        bob = self.reader("bob")
        for user in ("ann", "eve"):
            self.publish(user, "letters/bob", f"of {user}")
            self.push(user, "letters/bob", f"push of {user}")
        self.push("root", "mark", "end")
        messages = bob.until("end")[:-1]
        self.assertEqual({"inbox/bob/ann"}, {message.topic for message in messages})
        self.assertEqual(["of ann", "push of ann"], [one.payload for one in messages])

    def test_hostile_names(self) -> None:
        """What can be no level gets nothing, and keeps nothing from others."""
        for name in ("+", "#", "a/b", "%f", "$SYS", "größe"):
            self.friends("add", "ann", name)
        for name in ("$SYS", "%f", "größe"):
            reader = self.reader(name)
            self.assertEqual([f"feed/{name}/ann/pc"], self.places(reader, "ann", "presence/pc", "first"))
            self.assertEqual([f"inbox/{name}/ann"], self.places(reader, "ann", f"letters/{name}", "last"))
        self.assertEqual([], self.places(self.reader("+"), "ann", "letters/x", "end"))

    def test_restart(self) -> None:
        """The Will of a client that kill -9 took along is told to its friends."""
        self.friends("add", "ann", "bob")
        words = ("-c", "-i", "bob-phone", "-u", "bob", "-q", "1", "-t", "feed/bob/#")
        run("mosquitto_sub", "-p", str(self.broker.port("mqtt")), *words, "-E", directory=self.directory)
        will = ("--will-topic", "presence/pc", "--will-payload", "gone", "--will-qos", "1")
        ann = Subscriber(
            self.broker.port("mqtt"), self.directory, "-c", "-i", "ann-pc", "-u", "ann", "-q", "1", *will,
            "-t", "ready",
        )  # fmt: skip
        self.addCleanup(ann.kill)
        self.publish("bob", "ready", "now")
        ann.until("now")
        self.broker.kill()
        ann.kill()
        self.broker = self.broker.start_again()
        flags = ("-p", str(self.broker.port("mqtt")), "-C", "1", "-W", "10", "-F", "%t %p")
        outcome = run("mosquitto_sub", *flags, *words, directory=self.directory)
        self.assertEqual((0, "feed/bob/ann/pc gone\n"), outcome)

    def test_reload_and_pushctl(self) -> None:
        """Rules that begin to ask count for those who are there; pushctl says the same."""
        routes = Path(self.directory, "routes")
        routes.write_text("x drop\n")
        self.broker.reload()
        self.friends("add", "ann", "bob")
        bob = self.reader("bob")
        self.assertEqual([], self.places(bob, "ann", "presence/pc", "before"))
        routes.write_text(ROUTES)
        self.assertIn("are reloaded", self.broker.reload())
        self.await_places(["feed/bob/ann/pc"], bob, "ann", "presence/pc")
        asked = self.pushctl("route", "test", "presence/pc", "--user", "ann", "-c", "pushd.conf")
        self.assertEqual(0, asked.status)
        self.assertIn("presence/pc is copied to feed/bob/ann/pc", asked.output)
