"""What `make run` prepares, and that its commands fit the settings file that it starts the server with."""

from __future__ import annotations

import io
import os
import stat
from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime, timezone
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.password_file import PasswordFile
from pushd.auth.password_hash import make_pbkdf2
from pushd.config.reader import read_settings
from pushd.config.settings import ListenerSettings
from pushd.ctl import first_run
from pushd.ctl.certs import CertificateFolder

ROOT = Path(__file__).resolve().parents[2]


class FirstRunTestCase(SynchronousTestCase):
    """An empty folder, which is the current one."""

    def setUp(self) -> None:
        folder = self.mktemp()
        os.mkdir(folder)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder)

    def run_it(self) -> tuple[int, str]:
        """:return: exit status, and all that was printed."""
        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            status = first_run.main([])
        return status, printed.getvalue()


class FreshFolderTests(FirstRunTestCase):
    """The first time."""

    def test_makes_certificates(self) -> None:
        """The server's and one device's are there, with the authority and its list."""
        self.assertEqual(self.run_it()[0], 0)
        made = {path.name for path in Path("certs").iterdir()}
        pairs = {f"{name}.{ending}" for name in ("ca", "server", "phone1") for ending in ("crt", "key")}
        self.assertEqual(made, {*pairs, "ca.crl"})

    def test_makes_a_user_whose_password_is_shown(self) -> None:
        """The printed login is one that the password file accepts."""
        _, printed = self.run_it()
        login = Path("conf/first-user").read_text().strip()
        self.assertIn(f"curl -u {login} -d 'hello' 'http://127.0.0.1:8080/alerts?qos=1'", printed)
        name, password = login.split(":")
        expected = PasswordFile.read("conf/passwd").find(name)
        assert expected is not None
        self.assertTrue(expected.verify(password.encode()))

    def test_secrets_are_private(self) -> None:
        """Neither the password nor its hash can be read by others."""
        self.run_it()
        for path in ("conf/passwd", "conf/first-user"):
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)

    def test_prints_three_commands(self) -> None:
        """Subscribe, push, health: as many lines as there are to paste."""
        _, printed = self.run_it()
        commands = [line.split()[0] for line in printed.splitlines() if line.startswith("  ")]
        self.assertEqual(commands, ["mosquitto_sub", "curl", "curl"])

    def test_every_folder_has_its_own_password(self) -> None:
        """There is no default password."""
        logins = set()
        for _ in range(2):
            self.setUp()
            self.run_it()
            logins.add(Path("conf/first-user").read_text())
        self.assertEqual(len(logins), 2)


class LaterRunTests(FirstRunTestCase):
    """Every other time."""

    def test_changes_nothing_and_says_the_same(self) -> None:
        """Files keep their bytes, and the commands are shown again."""

        def state() -> dict[Path, bytes]:
            return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}

        first, before = self.run_it(), state()
        self.assertEqual(self.run_it(), first)
        self.assertEqual(state(), before)

    def test_interrupted_first_run_is_completed(self) -> None:
        """A password that was written but not yet hashed is the one that gets hashed."""
        self.run_it()
        login = Path("conf/first-user").read_text()
        os.unlink("conf/passwd")
        self.assertIn(login.strip(), self.run_it()[1])

    def test_own_password_file_is_respected(self) -> None:
        """Who brings a password file gets no user made, and fills in the login."""
        os.mkdir("conf")
        Path("conf/passwd").write_text("")
        self.assertIn("curl -u USER:PASSWORD", self.run_it()[1])
        self.assertEqual(Path("conf/passwd").read_text(), "")
        self.assertFalse(Path("conf/first-user").exists())

    def test_outdated_password_is_not_shown(self) -> None:
        """After a change of the password the old one would only confuse."""
        self.run_it()
        Path("conf/passwd").write_text(f"me:{make_pbkdf2(b'changed')}\n")
        self.assertIn("curl -u USER:PASSWORD", self.run_it()[1])

    def test_expired_or_revoked_device_gets_a_new_certificate(self) -> None:
        """The first command works again, whatever happened to the device's certificate."""
        self.run_it()
        folder = CertificateFolder(Path("certs"), datetime.now(timezone.utc))
        folder.revoke_device("phone1")
        self.run_it()
        self.assertTrue(folder.has_device("phone1"))

    def test_problem_is_one_line_and_status_1(self) -> None:
        """A folder with other things in it stops the start with a reason."""
        self.run_it()
        Path("certs/ca.key").unlink()
        status, printed = self.run_it()
        self.assertEqual(status, 1)
        self.assertTrue(printed.startswith("pushctl first-run: certs/ca.key is missing"))


class SettingsFileTests(SynchronousTestCase):
    """conf/pushd.conf beside the constants of this command."""

    def setUp(self) -> None:
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(ROOT)
        self.settings = read_settings("conf/pushd.conf")

    def listener(self, port: int) -> ListenerSettings:
        (listener,) = (each for each in self.settings.listeners if each.port == port)
        return listener

    def test_ports_are_those_of_the_commands(self) -> None:
        """Each port is there, on loopback only, with the protocol that the command speaks."""
        for port, protocol, tls in (
            (first_run.MQTT_PORT, "mqtt", False),
            (first_run.TLS_PORT, "mqtt", True),
            (first_run.HTTP_PORT, "http", False),
        ):
            listener = self.listener(port)
            self.assertEqual((listener.protocol, listener.tls), (protocol, tls))
            self.assertEqual(listener.addresses, (first_run.ADDRESS,))

    def test_files_are_those_that_are_made(self) -> None:
        """The TLS listener uses the certificates, and every listener the password file, of this command."""
        listener = self.listener(first_run.TLS_PORT)
        made = [f"{first_run.CERTS}/{name}" for name in ("server.crt", "server.key", "ca.crt")]
        self.assertEqual([listener.certfile, listener.keyfile, listener.cafile], made)
        self.assertTrue(listener.require_certificate and listener.use_identity_as_username)
        self.assertIn(listener.crlfile, (None, f"{first_run.CERTS}/ca.crl"))
        passwords = {each.security.password_file for each in self.settings.listeners}
        self.assertEqual(passwords, {str(first_run.PASSWORDS)})
