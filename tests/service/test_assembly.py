"""`pushd.service.assembly`: what listeners are made of, by their lines in the settings file."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from twisted.internet.defer import execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.password_hash import make_scram
from pushd.auth.scram import ScramMethod
from pushd.broker.broker import Broker
from pushd.broker.interfaces import AuthStep, Credentials
from pushd.config.reader import read_settings
from pushd.config.settings import Settings
from pushd.ctl.certs import CertificateFolder
from pushd.mqtt.codes import ReasonCode, Version
from pushd.service.assembly import Door, Logins, read_files
from pushd.service.gate import Gate
from pushd.storage.memory import MemoryStore
from tests.auth.scram_client import ScramClient


class DoorTestCase(SynchronousTestCase):
    """A folder with a settings file and what it names."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.write("passwd", f"anna:{make_scram(b'secret', 1)}\n")
        self.write("passwd-2", f"anna:{make_scram(b'other', 1)}\n")

    def write(self, name: str, text: str) -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def read(self, *lines: str) -> Settings:
        """The settings of these lines; ``{folder}`` is where the files are."""
        text = "\n".join(lines).format(folder=self.folder)
        return read_settings(str(self.write("pushd.conf", text)), environ={})

    def door(self, *lines: str) -> Door:
        """The first listener of a settings file, with its files in use."""
        settings = self.read(*lines)
        clock = Clock()
        broker = Broker(clock, MemoryStore())
        gate = Gate(lambda: broker.limits, broker.counters, clock.seconds)
        door = Door(settings.listeners[0], broker, gate, execute, clock, Logins(broker, 2))
        self.use(door, settings)
        return door

    def use(self, door: Door, settings: Settings) -> None:
        """What a reload does."""
        files = read_files(settings)
        door.use(settings.listeners[0], files, files.contexts[0])


class AuthMethodsTests(DoorTestCase):
    """Which methods of enhanced authentication a listener offers."""

    def lets_in(self, door: Door, password: str) -> bool:
        """Whether anna gets in by SCRAM with this password."""
        client = ScramClient("anna", password)
        exchange = door.policy.auth_methods[ScramMethod.name].begin(Credentials("id", None, None))
        challenge = exchange.step(client.first())
        assert isinstance(challenge, AuthStep)
        last = exchange.step(client.final(challenge.data))
        assert isinstance(last, AuthStep)
        return last.code is ReasonCode.SUCCESS

    def test_password_file_offers_scram(self) -> None:
        """Users of the file come in by it."""
        door = self.door("listener 1883", "password_file {folder}/passwd")
        self.assertTrue(self.lets_in(door, "secret"))
        self.assertFalse(self.lets_in(door, "other"))

    def test_no_password_file_offers_nothing(self) -> None:
        """There is nobody whom it could check."""
        self.assertEqual(self.door("listener 1883", "allow_anonymous true").policy.auth_methods, {})

    def test_reload_replaces_the_users(self) -> None:
        """And the offer, where a file is added or goes."""
        door = self.door("listener 1883", "password_file {folder}/passwd")
        self.use(door, self.read("listener 1883", "password_file {folder}/passwd-2"))
        self.assertTrue(self.lets_in(door, "other"))
        self.use(door, self.read("listener 1883", "allow_anonymous true"))
        self.assertEqual(door.policy.auth_methods, {})
        self.use(door, self.read("listener 1883", "password_file {folder}/passwd"))
        self.assertTrue(self.lets_in(door, "secret"))

    def test_certificate_is_not_overruled(self) -> None:
        """Where it says who somebody is, no password makes them somebody else; elsewhere one may be shown."""
        CertificateFolder(self.folder / "certs", datetime.now(timezone.utc)).prepare()
        lines = ["listener 8883", "password_file {folder}/passwd", "require_certificate true"]
        for option, name in (("cafile", "ca.crt"), ("certfile", "server.crt"), ("keyfile", "server.key")):
            lines.append(f"{option} {self.folder}/certs/{name}")
        for option in ("use_identity_as_username", "use_subject_as_username"):
            self.assertEqual(self.door(*lines, f"{option} true").policy.auth_methods, {})
        self.assertTrue(self.lets_in(self.door(*lines), "secret"))


class EntranceTests(DoorTestCase):
    """Who may come in, before anybody has said a word."""

    def test_reload_replaces_max_connections(self) -> None:
        """For connections that come from then on."""
        door = self.door("listener 1883", "allow_anonymous true", "max_connections 1")
        self.assertEqual([door.entrance.admit(9, None) for _ in range(2)], [0.0, None])
        self.use(door, self.read("listener 1883", "allow_anonymous true"))
        self.assertEqual(door.entrance.admit(9, None), 0.0)

    def test_a_proxy_has_no_pace(self) -> None:
        """All of its clients come from one address; theirs is looked at when they have told it."""
        for line, limited in (("", True), ("enable_proxy_protocol 1", False)):
            door = self.door("listener 1883", "allow_anonymous true", line)
            turns = [door.entrance.admit(9, "192.0.2.9") for _ in range(3000)]
            self.assertEqual(None in turns, limited)


class PolicyTests(DoorTestCase):
    """What clients are told, and what a reload makes of it"""

    OPEN = ("listener 1883", "allow_anonymous true")

    def test_told_once(self) -> None:
        """Who is in keeps the mount point and the QoS of its CONNECT; who comes now has the new ones."""
        door = self.door(*self.OPEN, "mount_point a/")
        old = door.policy
        self.use(door, self.read(*self.OPEN, "mount_point b/", "max_qos 1"))
        self.assertEqual(("a/", 2), (old.mount_point, old.max_qos))
        self.assertEqual(("b/", 1), (door.policy.mount_point, door.policy.max_qos))
        self.assertEqual({old, door.policy}, set(door.policies))

    def test_the_same_for_everybody(self) -> None:
        """Rules, methods and log lines are those of now, whenever a client came."""
        door = self.door(*self.OPEN)
        old = door.policy
        self.use(door, self.read(*self.OPEN, "max_qos 1", "password_file {folder}/passwd"))
        door.log(connections=False, subscriptions=True)
        for policy in (old, door.policy):
            self.assertEqual((False, True), (policy.log_connections, policy.log_subscriptions))
            self.assertEqual([ScramMethod.name], list(policy.auth_methods))
            self.assertIs(door.policy.authorizer, policy.authorizer)

    def test_nothing_new(self) -> None:
        """Most reloads change nothing of this, and policies do not pile up."""
        door = self.door(*self.OPEN)
        policy = door.policy
        self.use(door, self.read(*self.OPEN, "accept_protocol_versions 5", "use_username_as_clientid true"))
        self.assertIs(policy, door.policy)
        self.assertEqual(
            ({Version.V5}, True), (policy.accept_protocol_versions, policy.use_username_as_clientid)
        )
