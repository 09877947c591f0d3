"""Friends in a pushd that runs, kept in a file or in Redis, with the clients and commands that people use."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import monotonic
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.furniture import Answer, Outcome, Subscriber, curl, new_directory, run
from tests.processes import start_pushd
from tests.redis.server import RedisServer

# Who somebody is, anybody may say here: names of all kinds are what this is about.
SETTINGS = """\
allow_anonymous true
acl_file acl
admin_user root
persistence true
listener {mqtt} 127.0.0.1
listener {http} 127.0.0.1
protocol http
"""
ACL = """\
pattern read user/%F/presence/+
pattern write /%F/chat
pattern read news/%f
pattern read /%u/chat
pattern readwrite marks/%u
user root
topic readwrite #
"""

# That a change is followed within a second, measured with clients that are started for it, on a machine that
# runs other tests meanwhile.
PATIENCE_S = 3.0


class FriendsTestCase(SynchronousTestCase):
    """A broker for each test."""

    def setUp(self) -> None:
        self.directory = new_directory()
        Path(self.directory, "acl").write_text(ACL)
        self.broker = start_pushd(SETTINGS + self.keeper(), self.directory)
        self.addCleanup(self.stop)

    def keeper(self) -> str:
        """The settings that say where friends are kept."""
        return ""

    def stop(self) -> None:
        """Nothing may have failed."""
        self.broker.stop()
        self.assertNotIn("Traceback", self.broker.log())

    def subscriber(self, user: str, topic: str, *flags: str) -> Subscriber:
        words = ("-u", user, "-i", f"{len(user)}-sub", "-q", "1", "-t", topic, "-t", f"marks/{user}", *flags)
        subscriber = Subscriber(self.broker.port("mqtt"), self.directory, *words)
        self.addCleanup(subscriber.kill)
        return subscriber

    def publish(self, user: str, topic: str, payload: str) -> Outcome:
        words = ("-p", str(self.broker.port("mqtt")), "-u", user, "-t", topic, "-m", payload, "-q", "1")
        return run("mosquitto_pub", *words, directory=self.directory)

    def pushctl(self, *words: str) -> Outcome:
        return run(sys.executable, "-m", "pushd.ctl.main", *words, directory=self.directory)

    def friends(self, command: str, *names: str) -> str:
        """:return: what ``pushctl friends`` says."""
        outcome = self.pushctl("friends", command, "-c", "pushd.conf", "--", *names)
        self.assertEqual(0, outcome.status, outcome)
        return outcome.output

    def befriend(self, one: str, other: str) -> None:
        self.friends("add", one, other)
        self.friends("add", other, one)

    def call(self, method: str, path: str, user: str = "root") -> Answer:
        """By HTTP, as some user."""
        url = f"http://127.0.0.1:{self.broker.port('http')}/v1/users/{path}"
        return curl(url, "-X", method, "-u", f"{user}:x", directory=self.directory)

    def gets(self, subscriber: Subscriber, user: str, topic: str, mark: str) -> bool:
        """Whether a message of `topic` comes: it comes before what is published after it, or not at all."""
        self.publish("root", topic, f"{mark}-news")
        self.publish("root", f"marks/{user}", mark)
        return f"{mark}-news" in [message.payload for message in subscriber.until(mark)]

    def await_that(self, expected: bool, subscriber: Subscriber, user: str, topic: str) -> None:
        """Try until it comes, or does not, as is expected: soon after something has changed."""
        deadline = monotonic() + PATIENCE_S
        attempt = 0
        while self.gets(subscriber, user, topic, f"{expected}-{attempt}") is not expected:
            self.assertLess(monotonic(), deadline, "the change was not followed")
            attempt += 1


class FileFriendsTests(FriendsTestCase):
    """Kept in a file beside the store."""

    def test_presence(self) -> None:
        """The unfriended stop receiving while they are connected; those who become friends start."""
        self.befriend("ann", "bob")
        bob = self.subscriber("bob", "user/+/presence/+")
        self.assertTrue(self.gets(bob, "bob", "user/ann/presence/phone", "first"))
        self.friends("remove", "ann", "bob")
        self.await_that(False, bob, "bob", "user/ann/presence/phone")
        self.friends("add", "ann", "bob")
        self.await_that(True, bob, "bob", "user/ann/presence/phone")
        self.assertFalse(self.gets(bob, "bob", "user/eve/presence/phone", "last"))

    def test_by_http(self) -> None:
        """Users keep their own; what they change counts in the same time."""
        bob = self.subscriber("bob", "news/+")
        self.assertFalse(self.gets(bob, "bob", "news/ann", "first"))
        self.assertEqual(201, self.call("PUT", "bob/follows/ann", "bob").status)
        self.await_that(True, bob, "bob", "news/ann")
        shown = self.call("GET", "bob/follows", "bob")
        self.assertEqual({"username": "bob", "follows": ["ann"], "mutual": []}, json.loads(shown.body))
        self.assertEqual(403, self.call("DELETE", "bob/follows/ann", "eve").status)
        self.assertEqual(200, self.call("DELETE", "bob/follows/ann").status)
        self.await_that(False, bob, "bob", "news/ann")

    def test_chat(self) -> None:
        """Friends may write to each other, by MQTT and by HTTP, and nobody else."""
        self.befriend("ann", "bob")
        bob = self.subscriber("bob", "/bob/chat")
        for user in ("ann", "eve"):
            self.publish(user, "/bob/chat", f"by-{user}")
        url = f"http://127.0.0.1:{self.broker.port('http')}/v1/publish//bob/chat"
        calls = [
            curl(url, "-u", f"{user}:x", "-d", user, directory=self.directory) for user in ("ann", "eve")
        ]
        self.assertEqual([200, 403], [answer.status for answer in calls])
        self.publish("root", "marks/bob", "end")
        self.assertEqual(["by-ann", "ann", "end"], [message.payload for message in bob.until("end")])

    def test_away(self) -> None:
        """Queueing stops and begins for clients that are away, across a restart."""
        self.befriend("ann", "bob")
        words = ("-p", str(self.broker.port("mqtt")), "-u", "bob", "-i", "phone", "-c", "-q", "1")
        run("mosquitto_sub", *words, "-t", "user/+/presence/+", "-E", directory=self.directory)
        self.publish("root", "user/ann/presence/pc", "kept")
        self.broker.kill()
        self.broker = self.broker.start_again()
        self.publish("root", "user/ann/presence/pc", "kept, too")
        self.publish("root", "user/eve/presence/pc", "no friend's")
        self.befriend("eve", "bob")
        other = self.subscriber("bob", "user/+/presence/+")
        self.await_that(True, other, "bob", "user/eve/presence/pc")
        self.friends("remove", "bob", "ann")
        self.await_that(False, other, "bob", "user/ann/presence/pc")
        self.publish("root", "user/eve/presence/pc", "end")
        phone = Subscriber(self.broker.port("mqtt"), self.directory, *words[2:], "-t", "user/+/presence/+")
        self.addCleanup(phone.kill)
        payloads = [message.payload for message in phone.until("end")]
        self.assertTrue(payloads[-2].startswith("True-"), payloads)
        self.assertFalse({"kept", "kept, too", "no friend's"} & set(payloads), payloads)

    def test_hostile_names(self) -> None:
        """Whoever befriends them opens their corner, and no other."""
        names = ("+", "#", "a/b", "%f", "' or 1=1 --", "größe", "user", "$SYS", "pushd:follows:x")
        for name in names:
            self.assertEqual(201, self.call("PUT", f"bob/follows/{quote(name, safe='')}").status, name)
        bob = self.subscriber("bob", "news/#")
        for name in ("%f", "' or 1=1 --", "größe", "user", "$SYS", "pushd:follows:x"):
            self.await_that(True, bob, "bob", f"news/{name}")
        for topic in ("news/ann", "news/a/b", "news", "news/"):
            self.assertFalse(self.gets(bob, "bob", topic, f"mark-{len(topic)}-{topic.count('/')}"), topic)
        self.assertEqual(set(names), set(json.loads(self.call("GET", "bob/follows").body)["follows"]))

    def test_reload(self) -> None:
        """Rules that begin to ask for friends find those of whoever is connected."""
        acl = Path(self.directory, "acl")
        acl.write_text("pattern readwrite #\n")
        self.broker.reload()
        self.friends("add", "bob", "ann")
        bob = self.subscriber("bob", "news/+")
        self.assertTrue(self.gets(bob, "bob", "news/eve", "first"))
        acl.write_text(ACL)
        self.broker.reload()
        self.await_that(True, bob, "bob", "news/ann")
        self.assertFalse(self.gets(bob, "bob", "news/eve", "last"))

    def test_acl_check(self) -> None:
        """pushctl says what the server does."""
        question = ("acl", "check", "bob", "phone", "read", "news/ann", "-c", "pushd.conf")
        self.assertEqual(1, self.pushctl(*question).status)
        self.friends("add", "bob", "ann")
        outcome = self.pushctl(*question)
        self.assertEqual((0, "allowed: acl:3: pattern read news/%f\n"), outcome)


class RedisFriendsTests(FileFriendsTests):
    """Kept in Redis."""

    def keeper(self) -> str:
        self.redis = RedisServer(self.directory)
        self.addCleanup(self.redis.stop)
        return f"redis_url {self.redis.url}\n"

    def test_redis_away(self) -> None:
        """Who is inside stays, with the friends that were known; who comes is told to come again."""
        self.befriend("ann", "bob")
        bob = self.subscriber("bob", "user/+/presence/+")
        self.assertTrue(self.gets(bob, "bob", "user/ann/presence/phone", "first"))
        self.redis.stop()
        self.assertTrue(self.gets(bob, "bob", "user/ann/presence/phone", "second"))
        refused = self.publish("eve", "/ann/chat", "hello")
        self.assertIn("broker unavailable", refused.output)
        answer = self.call("PUT", "bob/follows/ann")
        self.assertEqual(503, answer.status)
        self.redis.start()
        self.await_that(False, bob, "bob", "user/ann/presence/phone")
        self.befriend("ann", "bob")
        self.await_that(True, bob, "bob", "user/ann/presence/phone")
