"""
Access tokens and the access control list with a real pushd, in a file and in Redis: kept by pushctl beside
the server, which hears of each change.
"""

from __future__ import annotations

from pathlib import Path
from time import monotonic

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.furniture import ADA, BOB, Answer, Outcome, Subscriber, curl, new_directory, pushctl, run
from tests.processes import start_pushd
from tests.redis.server import RedisServer

# ada and bob are in the password file. Without entries everybody may do everything.
SETTINGS = """\
allow_anonymous true
password_file passwd
accounts true
max_login_failures 0
persistence true
persistence_location data
listener {mqtt} 127.0.0.1
listener {http} 127.0.0.1
protocol http
"""

# That a change is followed within a second, measured with clients that are started for it, on a machine that
# runs other tests meanwhile.
PATIENCE_S = 3.0

NOT_AUTHORIZED = "Not authorized"


class FileTests(SynchronousTestCase):
    """Kept in a file beside the store; a broker for each test."""

    def setUp(self) -> None:
        self.directory = new_directory()
        self.settings = SETTINGS + self.keeper()
        self.broker = start_pushd(self.settings, self.directory)
        self.addCleanup(self.stop)

    def keeper(self) -> str:
        """The settings that say where people are kept."""
        return ""

    def stop(self) -> None:
        """Nothing may have failed."""
        self.broker.stop()
        self.assertNotIn("Traceback", self.broker.log())

    def pushctl(self, *words: str) -> str:
        return pushctl(self.broker, self.directory, *words)

    def publish(self, topic: str, payload: str, *who: str) -> Outcome:
        words = ("-V", "5", "-p", str(self.broker.port("mqtt")), "-q", "1", "-t", topic, "-m", payload)
        return run("mosquitto_pub", *words, *who, directory=self.directory)

    def post(self, topic: str, *flags: str) -> Answer:
        url = f"http://127.0.0.1:{self.broker.port('http')}/v1/publish/{topic}"
        return curl(url, "-d", "hello", *flags, directory=self.directory)

    def subscriber(self, *words: str) -> Subscriber:
        subscriber = Subscriber(self.broker.port("mqtt"), self.directory, "-q", "1", *words)
        self.addCleanup(subscriber.kill)
        return subscriber

    def hears(self, subscriber: Subscriber, topic: str, mark: str) -> bool:
        """Whether a message comes: before what is published after it, or not at all."""
        self.publish(topic, f"{mark}-news", *ADA)
        self.publish("marks", mark, *ADA)
        return f"{mark}-news" in [message.payload for message in subscriber.until(mark)]

    def await_that(self, expected: bool, subscriber: Subscriber, topic: str) -> None:
        """Try until it comes, or does not, as is expected: soon after something has changed."""
        deadline, attempt = monotonic() + PATIENCE_S, 0
        while self.hears(subscriber, topic, f"{expected}-{attempt}") is not expected:
            self.assertLess(monotonic(), deadline, "the change was not followed")
            attempt += 1

    def await_status(self, expected: int, topic: str, *flags: str) -> Answer:
        """The same of an answer by HTTP."""
        deadline = monotonic() + PATIENCE_S
        while (answer := self.post(topic, *flags)).status != expected:
            self.assertLess(monotonic(), deadline, f"{answer}, and not {expected}")
        return answer

    def test_listening(self) -> None:
        """Who may not read any more stops hearing while it is connected, and hears again."""
        bob = self.subscriber(*BOB, "-t", "#")
        self.assertTrue(self.hears(bob, "news/today", "first"))
        self.pushctl("access", "grant", "bob", "news*", "deny-all")
        self.await_that(False, bob, "news/today")
        self.pushctl("access", "grant", "bob", "news/t*", "read-only")
        self.await_that(True, bob, "news/today")
        self.pushctl("access", "grant", "everyone", "*", "deny-all")
        self.pushctl("access", "grant", "everyone", "marks", "read-write")
        self.pushctl("access", "remove", "bob")
        self.await_that(False, bob, "news/today")

    def test_publishing(self) -> None:
        """By MQTT and by HTTP the same list is asked, and says no to whoever it does not name."""
        for words in (("everyone", "*", "deny-all"), ("everyone", "up*", "wo"), ("bob", "alerts/*", "rw")):
            self.pushctl("access", "grant", *words)
        self.await_status(403, "news")
        self.await_status(200, "alerts/fire", "-u", "bob:hunter2")
        for topic, who, is_allowed in (
            ("upABC", (), True),
            ("news", (), False),
            ("alerts/fire", BOB, True),
            ("alerts/fire", ADA, False),
            ("news", BOB, False),
        ):
            said = self.publish(topic, "hello", *who)
            self.assertEqual(NOT_AUTHORIZED not in said.output, is_allowed, (topic, who, said))
            flags = ("-u", f"{who[1]}:{who[3]}") if who else ()
            self.assertEqual(self.post(topic, *flags).status, 200 if is_allowed else 403, (topic, who))

    def test_start(self) -> None:
        """Nothing slips through while a server that has just started reads the list."""
        self.pushctl("access", "grant", "everyone", "news", "deny-all")
        self.broker.stop()
        self.broker = start_pushd(self.settings, self.directory)
        self.assertIn(NOT_AUTHORIZED, self.publish("news", "hello", *ADA).output)
        self.assertNotIn(NOT_AUTHORIZED, self.publish("others", "hello", *ADA).output)

    def test_hostile_names(self) -> None:
        """They are about nobody else, whatever they look like."""
        for name in ("b*", "?ob", "bob'--", "bob\u202e", "everyone ", "%", "_ob", "BOB"):
            self.pushctl("access", "grant", "--", name, "*", "deny-all")
        self.pushctl("access", "grant", "everyone", "secret", "deny-all")
        self.await_status(403, "secret", "-u", "bob:hunter2")
        self.assertEqual(self.post("news", "-u", "bob:hunter2").status, 200)

    def test_token(self) -> None:
        """It opens what it is for and its user may, tells when it was used, and can be revoked."""
        words = (
            "--label",
            "a 'hostile' label; rm *",
            "--write",
            "alerts/#",
            "--expires",
            "90d",
            "--rate",
            "100/s",
        )
        token = self.pushctl("token", "add", "--user", "bob", *words)
        shown = ("-H", f"Authorization: Bearer {token}")
        self.assertEqual(self.post("alerts/fire", *shown).status, 200)
        self.assertEqual(self.post("news", *shown).status, 403)
        self.pushctl("access", "grant", "bob", "alerts/secret", "deny-all")
        self.await_status(403, "alerts/secret", *shown)
        listed = self.pushctl("token", "list", "bob")
        self.assertIn("may write alerts/#, read nothing; 100/s; expires", listed)
        self.assertRegex(listed, r"last used \d{4}-\d\d-\d\d \d\d:\d\d UTC from 127\.0\.0\.1$")
        self.pushctl("token", "remove", "bob", listed.split()[0])
        self.await_status(401, "alerts/fire", *shown)
        self.assertEqual(self.pushctl("token", "list"), "")
        self.assertNotIn(token, self.broker.log())

    def test_token_is_kept_nowhere(self) -> None:
        """No file of the server's holds it."""
        token = self.pushctl("token", "add", "--user", "ada")
        self.assertEqual(self.post("news", "-H", f"Authorization: Bearer {token}").status, 200)
        for file in Path(self.directory, "data").iterdir():
            self.assertNotIn(token.encode(), file.read_bytes(), file)


class RedisTests(FileTests):
    """Kept in Redis."""

    def keeper(self) -> str:
        self.redis = RedisServer(self.directory)
        self.addCleanup(self.redis.stop)
        return f"redis_url {self.redis.url}\n"

    def test_redis_away(self) -> None:
        """What was forbidden stays so; what is there when it is back counts from then on."""
        self.pushctl("access", "grant", "everyone", "news", "deny-all")
        self.await_status(403, "news")
        self.redis.stop()
        self.assertEqual(self.post("news").status, 403)
        self.assertEqual(self.post("others").status, 200)
        self.redis.start()  # with nothing in it, as it keeps nothing here
        self.await_status(200, "news")
        self.pushctl("access", "grant", "everyone", "others", "deny-all")
        self.await_status(403, "others")
