"""Plugins in a pushd that runs: at each listener, at start and reload, and with a real HTTP service."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.furniture import Outcome, Subscriber, curl, new_directory, run
from tests.processes import ROOT, Broker, Program, ProgramFailed, start_pushd, twistd_command

EXAMPLES = ROOT / "docs" / "examples"

SHOUT = """\
from dataclasses import dataclass, replace
from twisted.internet import reactor
from twisted.internet.task import deferLater

from pushd.plugins import ALLOW, DENY, IGNORE, Message, Plugin

class Shout(Plugin):
    @dataclass
    class Config:
        suffix: str = "!"
        broken: bool = False
        late: bool = False

    async def start(self):
        if self.config.late:
            await deferLater(reactor, 0)
        if self.config.broken:
            raise OSError("no voice")
        print("started", self.config.suffix, flush=True)

    def stop(self):
        print("stopped", self.config.suffix, flush=True)

    def on_publish(self, client, message):
        return replace(message, payload=message.payload.upper() + self.config.suffix.encode())

class Listeners(Plugin):
    def authenticate(self, login):
        return ALLOW if login.username == "ada" else IGNORE

    async def on_publish(self, client, message):
        return replace(message, topic=f"{client.listener[5:]}/{client.username}/{message.topic}")
"""


class Service(BaseHTTPRequestHandler):
    """Knows ada with the password "apple", who may do what is below ``ada/``."""

    asked: list[tuple[str, dict[str, str]]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, body))
        self.send_response(self._status(body))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _status(self, body: dict[str, str]) -> int:
        if body["username"] != "ada":
            return 404
        if self.path.endswith("/login"):
            return 200 if body["password"] == "apple" else 401
        return 200 if body["topic"].startswith("ada/") else 403

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


class PluginTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = new_directory()
        (self.directory / "shout.py").write_text(SHOUT)

    def start(self, settings: str) -> Broker:
        broker = start_pushd(settings, self.directory)
        self.addCleanup(broker.kill)
        return broker

    def refusal(self, settings: str) -> str:
        error = self.assertRaises(ProgramFailed, start_pushd, settings, self.directory)
        return str(error)

    def publish(self, broker: Broker, topic: str, payload: str, *flags: str, port: str = "mqtt") -> Outcome:
        words = ("-p", str(broker.port(port)), "-t", topic, "-m", payload, "-q", "1", *flags)
        return run("mosquitto_pub", *words, directory=self.directory)

    def subscriber(self, broker: Broker, *flags: str) -> Subscriber:
        subscriber = Subscriber(broker.port("mqtt"), self.directory, *flags)
        self.addCleanup(subscriber.kill)
        return subscriber


class SettingsTests(PluginTestCase):
    def test_reload(self) -> None:
        """Options are read again: the new plugin starts before the old one stops, and nobody is dropped."""
        settings = "listener {mqtt} 127.0.0.1\nallow_anonymous true\nplugin shout.py:Shout\n"
        broker = self.start(settings)
        subscriber = self.subscriber(broker, "-t", "#")
        self.publish(broker, "a", "hello")
        subscriber.until("HELLO!")
        broker.write_settings(settings + "plugin_opt_suffix ~\n")
        self.assertIn("are reloaded", broker.reload())
        self.publish(broker, "a", "hello")
        subscriber.until("HELLO~")
        broker.wait_for("stopped !")
        said = [line for line in broker.lines if "started" in line or "stopped" in line]
        self.assertEqual([line[-9:] for line in said], ["started !", "started ~", "stopped !"])
        broker.stop()
        self.assertIn("stopped ~", broker.log())

    def test_reload_of_a_bad_one(self) -> None:
        """The old plugin stays, and the log says what was wrong with the new one."""
        settings = "listener {mqtt} 127.0.0.1\nallow_anonymous true\nplugin shout.py:Shout\n"
        broker = self.start(settings)
        subscriber = self.subscriber(broker, "-t", "#")
        for options, told in (
            ("plugin_opt_broken true", "could not be started: OSError: no voice"),
            ("plugin_opt_broken maybe", "plugin_opt_broken: 'maybe' is not true or false"),
            ("plugin no.such:Plugin", "No module named 'no'"),
        ):
            broker.write_settings(f"{settings}{options}\n")
            self.assertIn(told, broker.reload())
            self.publish(broker, "a", "x")
        subscriber.until("X!")
        broker.stop()

    def test_bad_plugins_stop_the_start(self) -> None:
        """With the line of the settings and the reason; a C library is told what there is instead."""
        for line, told in (
            ("plugin shout.py:Whisper", "pushd.conf:2: plugin shout.py:Whisper: shout.py has no class"),
            ("plugin shout.py:Shout\nplugin_opt_x 1", "plugin_opt_x is not an option of it"),
            ("plugin shout.py:Shout\nplugin_opt_broken true", "could not be started: OSError: no voice"),
            ("plugin /usr/lib/mosquitto_dynamic_security.so", "Instead of this one, use password_file"),
        ):
            self.assertIn(told, self.refusal(f"listener {{mqtt}} 127.0.0.1\n{line}\n"))

    def test_one_that_gives_up_late(self) -> None:
        """It has let nobody in so far; the process ends, and whoever watches over it sees that it failed."""
        options = "plugin_opt_late true\nplugin_opt_broken true"
        (self.directory / "late.conf").write_text(f"listener 0 sock\nplugin shout.py:Shout\n{options}\n")
        command = [*twistd_command(), "-n", "--pidfile=", "pushd", "-c", "late.conf"]
        program = Program(command, self.directory)
        self.addCleanup(program.kill)
        self.assertEqual(program.finish(), 1)
        self.assertIn("could not be started: OSError: no voice", program.log())

    def test_each_listener_has_its_own(self) -> None:
        """Under per_listener_settings; and one that is loaded once may be used at several."""
        broker = self.start(
            "per_listener_settings true\nplugin_load who shout.py:Listeners\n"
            "listener {mqtt} 127.0.0.1\nallow_anonymous true\n"
            "listener {other} 127.0.0.1\nplugin_use who\nallow_anonymous true\n"
        )
        subscriber = self.subscriber(broker, "-t", "#")
        self.publish(broker, "plain", "x")
        self.assertEqual(self.publish(broker, "x", "x", "-u", "bob", port="other").status, 5)
        self.publish(broker, "seen", "y", "-u", "ada", port="other")
        topics = [message.topic for message in subscriber.until("y")]
        self.assertEqual(topics, ["plain", f"{broker.port('other')}/ada/seen"])
        broker.stop()

    def test_the_gateway_asks_too(self) -> None:
        """A message that is pushed by HTTP is rewritten like any other."""
        broker = self.start(
            "listener {mqtt} 127.0.0.1\nlistener {http} 127.0.0.1\nprotocol http\n"
            "allow_anonymous true\nplugin shout.py:Shout\n"
        )
        subscriber = self.subscriber(broker, "-t", "news")
        url = f"http://127.0.0.1:{broker.port('http')}/news"
        self.assertEqual(curl(url, "-d", "hello", directory=self.directory).status, 200)
        subscriber.until("HELLO!")
        broker.stop()


class HttpAuthTests(PluginTestCase):
    """The example, with a service that really listens."""

    def setUp(self) -> None:
        super().setUp()
        Service.asked = []
        server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.url = f"http://127.0.0.1:{server.server_address[1]}/mqtt"

    def test_users_and_topics(self) -> None:
        """Who the service knows comes in, and does what the service allows."""
        broker = self.start(
            f"listener {{mqtt}} 127.0.0.1\nplugin {EXAMPLES / 'http_auth.py'}\nplugin_opt_url {self.url}\n"
        )
        ada = ("-u", "ada", "-P", "apple", "-i", "phone")
        subscriber = self.subscriber(broker, "-t", "ada/#", "-u", "ada", "-P", "apple", "-i", "desk")
        self.assertEqual(self.publish(broker, "ada/door", "open", *ada).status, 0)
        subscriber.until("open")
        self.assertEqual(self.publish(broker, "ada/x", "x", "-u", "ada", "-P", "pear").status, 5)
        self.assertEqual(self.publish(broker, "bob/x", "x", "-u", "bob", "-P", "x").status, 5)
        refused = self.publish(broker, "bob/x", "x", *ada, "-V", "5")
        self.assertIn("not authori", str(refused).lower())
        asked = {"client_id": "phone", "username": "ada", "password": "apple"}
        self.assertIn(("/mqtt/login", asked), Service.asked)
        access = {"client_id": "phone", "username": "ada", "access": "write", "topic": "ada/door"}
        self.assertIn(("/mqtt/access", access), Service.asked)
        broker.stop()
        self.assertNotIn("Traceback", broker.log())
