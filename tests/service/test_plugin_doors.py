"""`pushd.service.assembly`: where plugins stand among those that a listener asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.password_hash import make_scram
from pushd.broker.broker import Broker
from pushd.broker.interfaces import Access, Credentials
from pushd.config.reader import read_settings
from pushd.mqtt.codes import ReasonCode
from pushd.plugins.table import PluginTable
from pushd.service.assembly import Door, Logins, read_files
from pushd.service.gate import Gate
from pushd.storage.memory import MemoryStore

PLUGINS = """\
from pushd.plugins import ALLOW, DENY, IGNORE, Access, Plugin

class Ada(Plugin):
    def authenticate(self, login):
        return {"ada": ALLOW, "mallory": DENY}.get(login.username, IGNORE)

class Secret(Plugin):
    def authorize(self, client, access, topic):
        return DENY if topic == "secret" else IGNORE
"""


class PluginDoorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.write("plugins.py", PLUGINS)
        self.write("passwd", "".join(f"{name}:{make_scram(b'x', 1)}\n" for name in ("eve", "mallory")))
        self.write("acl", "topic read secret\ntopic news\n")

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def door(self, *lines: str) -> Door:
        """The first listener of a settings file, its plugins started."""
        text = "\n".join(("listener 1883", *lines)).format(folder=self.folder)
        settings = read_settings(str(self.write("pushd.conf", text)), environ={})
        clock = Clock()
        broker = Broker(clock, MemoryStore())
        gate = Gate(lambda: broker.limits, broker.counters, clock.seconds)
        files = read_files(settings)
        files.table = PluginTable(files.plugins.values(), broker, clock)
        self.successResultOf(files.table.start())
        door = Door(settings.listeners[0], broker, gate, execute, clock, Logins(broker, 2))
        door.use(settings.listeners[0], files, files.contexts[0])
        return door

    def login(self, door: Door, username: str | None, password: bytes | None = None) -> Any:
        verdict: Any = door.policy.authenticator.authenticate(Credentials("a", username, password))
        return verdict if isinstance(verdict, ReasonCode) else self.successResultOf(verdict)

    def test_users(self) -> None:
        """The plugin is asked before the password file, and that before names that nobody knows."""
        door = self.door(
            "plugin {folder}/plugins.py:Ada", "password_file {folder}/passwd", "allow_anonymous true"
        )
        for username, password, code in (
            ("ada", b"", ReasonCode.SUCCESS),
            ("mallory", b"x", ReasonCode.NOT_AUTHORIZED),
            ("eve", b"x", ReasonCode.SUCCESS),
            ("eve", b"y", ReasonCode.NOT_AUTHORIZED),
            (None, None, ReasonCode.SUCCESS),
        ):
            assert self.login(door, username, password) is code, username

    def test_names_without_a_password_file(self) -> None:
        """Whom the plugin does not know does not come in by a name."""
        door = self.door("plugin {folder}/plugins.py:Ada", "allow_anonymous true")
        assert self.login(door, "eve") is ReasonCode.NOT_AUTHORIZED
        assert self.login(door, None) is ReasonCode.SUCCESS

    def test_scram_would_go_round_it(self) -> None:
        """So it is offered only where no plugin has a say about users."""
        password_file = "password_file {folder}/passwd"
        assert self.door("plugin {folder}/plugins.py:Ada", password_file).policy.auth_methods == {}
        assert self.door("plugin {folder}/plugins.py:Secret", password_file).policy.auth_methods

    def test_access(self) -> None:
        """The plugin is asked before the ACL file."""
        door = self.door("plugin {folder}/plugins.py:Secret", "acl_file {folder}/acl", "allow_anonymous true")
        who = Credentials("a", None, None)
        for topic, code in (
            ("secret", ReasonCode.NOT_AUTHORIZED),
            ("news", ReasonCode.SUCCESS),
            ("other", ReasonCode.NOT_AUTHORIZED),
        ):
            assert door.policy.authorizer.authorize(who, Access.READ, topic) is code, topic

    def test_a_door_is_not_opened_without_its_plugins(self) -> None:
        """To forget them would be to leave it open."""
        text = f"listener 1883\nplugin {self.folder}/plugins.py:Ada\n"
        settings = read_settings(str(self.write("pushd.conf", text)), environ={})
        self.assertRaises(AssertionError, read_files(settings).plugins_of, settings.listeners[0])
