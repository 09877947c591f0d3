"""
Accounts with a real pushd, Debian's clients and curl: in a file, and in Redis.

Whoever changes an account is another process; the server hears of it.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.furniture import ADA, Answer, Outcome, Subscriber, curl, new_directory, run
from tests.processes import DEADLINE_S, Broker, environment, start_pushd
from tests.redis.server import RedisServer

# ada, the administrator, is in the password file; everybody else has an account.
SETTINGS = """\
allow_anonymous false
password_file passwd
accounts true
admin_user ada
max_login_failures 0
persistence_location data
listener {mqtt} 127.0.0.1
listener {http} 127.0.0.1
protocol http
"""
EVE = ("-u", "eve", "-P", "apple")


class AccountsTestCase(SynchronousTestCase):
    """One server for all tests of a class; accounts of their own keep the tests apart."""

    settings = SETTINGS
    directory: ClassVar[Path]
    broker: ClassVar[Broker]

    @classmethod
    def more_settings(cls) -> str:
        return ""

    @classmethod
    def setUpClass(cls) -> None:
        cls.directory = new_directory()
        cls.broker = start_pushd(cls.settings + cls.more_settings(), cls.directory)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.broker.stop()
        assert "Traceback" not in cls.broker.log(), cls.broker.log()

    def pushctl(self, word: str, *words: str) -> Outcome:
        """Run ``pushctl user``, beside the server."""
        command = [
            sys.executable,
            "-m",
            "pushd.ctl.main",
            "user",
            word,
            "-c",
            str(self.broker.settings),
            *words,
        ]
        done = subprocess.run(
            command, cwd=self.directory, env=environment(), capture_output=True, text=True, timeout=DEADLINE_S
        )
        return Outcome(done.returncode, done.stdout + done.stderr)

    def does(self, word: str, *words: str) -> str:
        outcome = self.pushctl(word, *words)
        self.assertEqual(outcome.status, 0, outcome)
        return outcome.output

    def users(self, method: str, path: str, body: object = None, login: str = "ada:secret") -> Answer:
        url = f"http://127.0.0.1:{self.broker.port('http')}/v1/users{path}"
        data = () if body is None else ("-d", json.dumps(body))
        return curl(url, "--path-as-is", "-u", login, "-X", method, *data, directory=self.directory)

    def publish(self, *flags: str, payload: str = "x") -> int:
        """:return: mosquitto_pub's exit status: the code of the CONNACK, if it was refused."""
        words = ("-p", str(self.broker.port("mqtt")), "-t", "t", "-m", payload, "-q", "1", *flags)
        return run("mosquitto_pub", *words, directory=self.directory).status

    def push(self, login: str) -> Answer:
        url = f"http://127.0.0.1:{self.broker.port('http')}/t"
        return curl(url, "-u", login, "-d", "x", directory=self.directory)

    def subscriber(self, *flags: str) -> Subscriber:
        subscriber = Subscriber(self.broker.port("mqtt"), self.directory, *flags)
        self.addCleanup(subscriber.kill)
        return subscriber


class AccountTests(AccountsTestCase):
    """In ``people.db``."""

    def test_by_command_line(self) -> None:
        """A user who is added comes in at once, by MQTT and HTTP; then by another password; then not."""
        self.assertEqual(self.publish(*EVE), 5)
        self.does("add", "-b", "eve", "apple")
        self.assertEqual((self.publish(*EVE), self.push("eve:apple").status), (0, 200))
        self.assertIn("eve\n", self.does("list"))
        self.does("passwd", "-b", "eve", "pear")
        self.assertEqual((self.publish(*EVE), self.push("eve:apple").status), (5, 401))
        self.assertEqual(self.publish("-u", "eve", "-P", "pear"), 0)
        self.does("delete", "eve")
        self.assertEqual(self.publish("-u", "eve", "-P", "pear"), 5)
        self.assertIn("there is no user eve", self.pushctl("delete", "eve").output)

    def test_by_http(self) -> None:
        """The same, for administrators only."""
        self.assertEqual(self.users("PUT", "/fay", {"password": "fig"}).status, 201)
        self.assertEqual((self.publish("-u", "fay", "-P", "fig"), self.push("fay:fig").status), (0, 200))
        self.assertEqual(self.users("GET", "/fay", login="fay:fig").status, 403)
        self.assertEqual(json.loads(self.users("GET", "/fay").body)["enabled"], True)
        self.assertEqual(self.users("PUT", "/fay", {"enabled": False}).status, 200)
        self.assertEqual(self.publish("-u", "fay", "-P", "fig"), 5)
        self.assertEqual(self.users("DELETE", "/fay").status, 200)
        self.assertEqual(self.users("GET", "/fay").status, 404)

    def test_hostile_names(self) -> None:
        """Each is a user, whichever way it came and goes."""
        for name in ("a/b", "#", "+/+", "'; DROP TABLE account; --", "<script>", "%2F", "größe", '"', ".."):
            path = "/" + quote(name, safe="").replace(".", "%2E")
            self.assertEqual(self.users("PUT", path, {"password": "x"}).status, 201, name)
            self.assertEqual(self.publish("-u", name, "-P", "x"), 0, name)
            self.assertIn(f"{name}\n", self.does("list"))
            self.does("disable", "--", name)
            self.assertEqual(self.publish("-u", name, "-P", "x"), 5, name)
            self.assertEqual(self.users("DELETE", path).status, 200, name)

    def test_the_password_file_comes_first(self) -> None:
        """An account of the same name is of no use, and no danger."""
        self.does("add", "-b", "bob", "banana")
        self.assertEqual(self.publish("-u", "bob", "-P", "banana"), 5)
        bob = self.subscriber("-u", "bob", "-P", "hunter2", "-t", "t")
        self.does("disable", "bob")
        self.does("add", "-b", "gil", "grape")  # the watch has seen the first when it has seen the second
        gil = self.subscriber("-V", "mqttv5", "-u", "gil", "-P", "grape", "-t", "t")
        self.does("disable", "gil")
        gil.wait_for("Received DISCONNECT \\(135\\)")
        self.publish(*ADA, payload="end")
        bob.until("end")
        self.assertEqual(bob.log().count("sending CONNECT"), 1)

    def test_connections_end(self) -> None:
        """Of who is disabled, removed or given another password; each in its turn, and nobody else's."""
        for name in ("kim", "lea", "max", "nia"):
            self.does("add", "-b", name, "x")
        kim, lea, max_, nia = (
            self.subscriber("-V", "mqttv5", "-u", name, "-P", "x", "-t", "t")
            for name in ("kim", "lea", "max", "nia")
        )
        self.does("disable", "kim")
        self.does("delete", "lea")
        self.assertEqual(self.users("PUT", "/max", {"password": "y"}).status, 200)
        for gone in (kim, lea, max_):
            gone.wait_for("Received DISCONNECT \\(135\\)")
        self.publish(*ADA, payload="end")
        nia.until("end")
        self.assertEqual(nia.log().count("sending CONNECT"), 1)

    def test_import(self) -> None:
        """Of legacy hashes, which are replaced at the first login; of a password file; all or nothing."""
        digest = hashlib.md5(b"secretpepper").hexdigest()
        (self.directory / "users.csv").write_text(f"user,hash,salt\nold,{digest},pepper\n")
        self.does("import", "users.csv")
        self.assertEqual(self.publish("-u", "old", "-P", "wrong"), 5)
        for _ in range(2):
            self.assertEqual(self.publish("-u", "old", "-P", "secret"), 0)
        self.assertIn("$argon2id$", self.hashes())
        self.assertNotIn(digest, self.hashes())
        (self.directory / "more.csv").write_text("new,plain\nbroken\n")
        self.assertIn("more.csv:2: ", self.pushctl("import", "more.csv").output)
        self.assertEqual(self.publish("-u", "new", "-P", "plain"), 5)
        lines = (self.directory / "passwd").read_text().splitlines()
        (self.directory / "other").write_text(lines[1].replace("bob:", "rob:") + "\n")
        self.does("import", "other")
        self.assertEqual(self.publish("-u", "rob", "-P", "hunter2"), 0)

    def hashes(self) -> str:
        """All that are kept."""
        with closing(sqlite3.connect(self.directory / "data" / "people.db")) as database:
            return str(database.execute("SELECT password_hash FROM account").fetchall())

    def test_survives_a_restart(self) -> None:
        """An account is kept."""
        self.does("add", "-b", "pat", "plum")
        self.broker.stop()
        type(self).broker = self.broker.start_again()
        self.assertEqual(self.publish("-u", "pat", "-P", "plum"), 0)


class RedisAccountTests(AccountTests):
    """The same in Redis."""

    redis: ClassVar[RedisServer]

    @classmethod
    def more_settings(cls) -> str:
        return f"redis_url {cls.redis.url}\n"

    @classmethod
    def setUpClass(cls) -> None:
        folder = new_directory()
        cls.redis = RedisServer(folder)
        super().setUpClass()

    @classmethod
    def tearDownClass(cls) -> None:
        super().tearDownClass()
        cls.redis.stop()

    def hashes(self) -> str:
        asked = ("redis-cli", "-p", self.redis.port)
        keys = run(*asked, "--scan", directory=self.directory).output.split("\n")
        return "".join(run(*asked, "HGETALL", key, directory=self.directory).output for key in keys)


class OutageTests(AccountsTestCase):
    """A Redis that answers nobody."""

    redis: ClassVar[RedisServer]

    @classmethod
    def more_settings(cls) -> str:
        return f"redis_url {cls.redis.url}\n"

    @classmethod
    def setUpClass(cls) -> None:
        cls.redis = RedisServer(new_directory())
        super().setUpClass()

    @classmethod
    def tearDownClass(cls) -> None:
        super().tearDownClass()
        cls.redis.stop()

    def test_frozen(self) -> None:
        """Logins hear that the server is unavailable; who is inside talks on; and all is well afterwards."""
        self.does("add", "-b", "eve", "apple")
        eve = self.subscriber(*EVE, "-t", "t", "-q", "1")
        self.redis.pause()
        self.addCleanup(self.redis.resume)
        self.assertEqual(self.publish(*EVE), 3)
        self.assertEqual(self.publish(*EVE, "-V", "mqttv5"), 0x88)
        self.assertEqual(self.push("eve:apple").status, 503)
        self.assertEqual(self.publish(*ADA, payload="for eve"), 0)  # the password file is there
        eve.until("for eve")
        self.assertIn("no answer", self.pushctl("list").output)
        self.redis.resume()
        self.assertEqual(self.publish(*EVE, payload="again"), 0)
        eve.until("again")
        self.assertEqual(eve.log().count("sending CONNECT"), 1)

    def test_changed_while_away(self) -> None:
        """Who has to go goes when Redis is back; all others stay."""
        for name in ("ina", "jon"):
            self.does("add", "-b", name, "x")
        ina, jon = (
            self.subscriber("-V", "mqttv5", "-u", name, "-P", "x", "-t", "t") for name in ("ina", "jon")
        )
        self.redis.stop()
        self.redis.start()  # and empty: neither has an account any more
        for gone in (ina, jon):
            gone.wait_for("Received DISCONNECT \\(135\\)")


class ReloadTests(AccountsTestCase):
    """SIGHUP, at a server that has been started without."""

    settings = SETTINGS.replace("accounts true", "accounts false")

    def test_on_and_off(self) -> None:
        """Accounts are asked from the moment that the settings say so, and until they do not."""
        self.does("add", "-b", "eve", "apple")
        self.assertEqual(self.publish(*EVE), 5)
        self.broker.write_settings(SETTINGS)
        self.assertIn("are reloaded", self.broker.reload())
        self.assertEqual(self.publish(*EVE), 0)
        eve = self.subscriber("-V", "mqttv5", *EVE, "-t", "t")
        self.assertIn("are reloaded", self.broker.reload())
        self.assertEqual(eve.log().count("DISCONNECT"), 0)
        self.broker.write_settings(self.settings)
        self.assertIn("are reloaded", self.broker.reload())
        eve.wait_for("Received DISCONNECT \\(135\\)")
