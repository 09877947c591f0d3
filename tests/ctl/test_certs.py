"""``pushctl certs``: what it writes, keeps and refuses to overwrite."""

from __future__ import annotations

import io
import stat
from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from twisted.trial.unittest import SynchronousTestCase

from pushd.ctl.authority import CertsError, is_revoked, issue_device, make_authority
from pushd.ctl.certs import CertificateFolder, main

NOW = datetime.now(timezone.utc)
PUBLIC = ["ca.crl", "ca.crt", "server.crt"]
PRIVATE = ["ca.key", "server.key"]


class FolderTestCase(SynchronousTestCase):
    """A path at which no folder is yet."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "certs"
        self.folder = CertificateFolder(self.path, NOW)

    def contents(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.path.iterdir()}

    def certificate(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.path / f"{name}.crt").read_bytes())

    def listed(self) -> x509.CertificateRevocationList:
        return x509.load_pem_x509_crl((self.path / "ca.crl").read_bytes())


class PrepareTests(FolderTestCase):
    """``init``"""

    def test_makes_everything(self) -> None:
        """One call makes the authority, its list and the server's pair, and says so."""
        self.folder.prepare()
        self.assertEqual(sorted(self.contents()), sorted(PUBLIC + PRIVATE))
        self.assertEqual(sorted(path.name for path in self.folder.made), sorted(PUBLIC + PRIVATE))

    def test_only_the_owner_reads_keys(self) -> None:
        """Keys are 0600, the rest may be read by the server's and the clients' users."""
        self.folder.prepare()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in self.path.iterdir()}
        self.assertEqual({modes[name] for name in PRIVATE}, {0o600})
        self.assertTrue(all(modes[name] & 0o400 and not modes[name] & 0o022 for name in PUBLIC))

    def test_again_changes_nothing(self) -> None:
        """A second call keeps every byte."""
        self.folder.prepare()
        before = self.contents()
        again = CertificateFolder(self.path, NOW)
        again.prepare(["localhost"])
        self.assertEqual((self.contents(), again.made), (before, []))

    def test_makes_what_is_missing(self) -> None:
        """A server's pair that was removed is made anew by the same authority."""
        self.folder.prepare()
        (self.path / "server.crt").unlink()
        (self.path / "server.key").unlink()
        self.folder.prepare(["push.example"])
        self.certificate("server").verify_directly_issued_by(self.certificate("ca"))

    def test_kept_server_must_name_the_hosts(self) -> None:
        """Asking for a name that the kept certificate lacks is not passed over."""
        self.folder.prepare()
        error = self.assertRaises(CertsError, self.folder.prepare, ["push.example"])
        self.assertIn("does not name push.example", str(error))

    def test_half_a_pair_is_reported(self) -> None:
        """A lost key is no reason to throw its certificate away unasked."""
        self.folder.prepare()
        for name in ("ca.key", "server.crt"):
            content = (self.path / name).read_bytes()
            (self.path / name).unlink()
            error = self.assertRaises(CertsError, self.folder.prepare)
            self.assertIn(f"{name} is missing", str(error))
            (self.path / name).write_bytes(content)

    def test_files_of_something_else_are_reported(self) -> None:
        """What is not what its name says is named, and stays."""
        self.folder.prepare()
        for name in ("ca.crt", "ca.key", "server.crt", "server.key"):
            content = (self.path / name).read_bytes()
            (self.path / name).write_bytes(b"hello")
            self.assertIn(name, str(self.assertRaises(CertsError, self.folder.prepare)))
            (self.path / name).write_bytes(content)

    def test_pair_that_does_not_match_is_reported(self) -> None:
        """A key of another certificate would only fail later, in the server."""
        self.folder.prepare()
        (self.path / "ca.key").write_bytes(make_authority(NOW).key_pem())
        self.assertIn("do not belong together", str(self.assertRaises(CertsError, self.folder.prepare)))

    def test_encrypted_key_is_reported(self) -> None:
        """There is no prompt for a pass phrase."""
        self.folder.prepare()
        protection = serialization.BestAvailableEncryption(b"secret")
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
        (self.path / "ca.key").write_bytes(make_authority(NOW).key.private_bytes(*form))
        self.assertIn("encrypted", str(self.assertRaises(CertsError, self.folder.prepare)))


class DeviceTests(FolderTestCase):
    """``device`` and ``revoke``"""

    def setUp(self) -> None:
        super().setUp()
        self.folder.prepare()

    def test_device_gets_a_pair(self) -> None:
        """The pair is there, its key private, its certificate the authority's."""
        self.folder.add_device("phone1")
        self.certificate("phone1").verify_directly_issued_by(self.certificate("ca"))
        self.assertEqual(stat.S_IMODE((self.path / "phone1.key").stat().st_mode), 0o600)
        self.assertTrue(self.folder.has_device("phone1"))

    def test_name_with_a_dot(self) -> None:
        """A dot in a name is not taken for an ending."""
        self.folder.add_device("v1.2")
        self.folder.add_device("v1.3")
        self.assertTrue((self.path / "v1.2.crt").exists() and (self.path / "v1.3.key").exists())

    def test_valid_certificate_is_not_replaced(self) -> None:
        """A device that works goes on working."""
        self.folder.add_device("phone1")
        before = self.contents()
        self.assertRaises(CertsError, self.folder.add_device, "phone1")
        self.assertEqual(self.contents(), before)

    def test_expired_certificate_is_replaced(self) -> None:
        """A certificate that has run out makes room for the next."""
        self.folder.add_device("phone1", days=1)
        old = self.certificate("phone1")
        later = CertificateFolder(self.path, NOW + timedelta(days=2))
        self.assertFalse(later.has_device("phone1"))
        later.add_device("phone1")
        self.assertNotEqual(self.certificate("phone1"), old)

    def test_revoked_certificate_is_listed_and_can_be_replaced(self) -> None:
        """After a theft: revoke, issue again; the old one stays on the list, the new one is good."""
        self.folder.add_device("phone1")
        stolen = self.certificate("phone1")
        self.folder.revoke_device("phone1")
        self.assertTrue(is_revoked(self.listed(), stolen))
        self.assertFalse(self.folder.has_device("phone1"))
        self.folder.add_device("phone1")
        self.assertTrue(self.folder.has_device("phone1"))
        self.assertTrue(is_revoked(self.listed(), stolen))

    def test_revoking_twice_is_an_error(self) -> None:
        """The second time there is nothing to do, and the caller may be mistaken."""
        self.folder.add_device("phone1")
        self.folder.revoke_device("phone1")
        self.assertIn("already", str(self.assertRaises(CertsError, self.folder.revoke_device, "phone1")))

    def test_revoking_nobody_is_an_error(self) -> None:
        """A mistyped name must not look as if somebody had been locked out."""
        self.assertIn("no such", str(self.assertRaises(CertsError, self.folder.revoke_device, "phone2")))

    def test_refused_names_touch_nothing(self) -> None:
        """No path is made of a name before it is checked."""
        for act in (self.folder.add_device, self.folder.revoke_device, self.folder.has_device):
            self.assertRaises(CertsError, act, "../phone1")
        self.assertFalse((self.path.parent / "phone1.crt").exists())

    def test_broken_list_is_reported(self) -> None:
        """Without its list the authority cannot say who is locked out."""
        self.folder.add_device("phone1")
        (self.path / "ca.crl").write_bytes(b"hello")
        self.assertIn("ca.crl", str(self.assertRaises(CertsError, self.folder.revoke_device, "phone1")))

    def test_no_authority_yet(self) -> None:
        """The first thing to do is named."""
        empty = CertificateFolder(Path(self.mktemp()), NOW)
        self.assertIn("certs init", str(self.assertRaises(CertsError, empty.add_device, "phone1")))

    def test_devices_of_before_are_known_by_the_same_authority(self) -> None:
        """A pair that was put there by hand counts as well."""
        stranger = issue_device(make_authority(NOW), "tablet", NOW)
        (self.path / "tablet.crt").write_bytes(stranger.certificate_pem())
        (self.path / "tablet.key").write_bytes(stranger.key_pem())
        self.assertTrue(self.folder.has_device("tablet"))


class CommandTests(FolderTestCase):
    """The command line."""

    def run_command(self, *argv: str) -> tuple[int, str, str]:
        """:return: exit status, standard output, standard error."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                status = main([*argv, "--directory", str(self.path)])
            except SystemExit as stop:
                status = int(stop.code or 0)
        return status, out.getvalue(), err.getvalue()

    def test_init_device_revoke(self) -> None:
        """The three in turn; each names the files that it wrote."""
        for argv, written in (
            (("init", "--host", "a.example", "--host", "192.0.2.7"), "server.crt"),
            (("device", "phone1", "--days", "30"), "phone1.crt"),
            (("revoke", "phone1"), "ca.crl"),
        ):
            status, out, _ = self.run_command(*argv)
            self.assertEqual(status, 0)
            self.assertIn(f"wrote {self.path / written}\n", out)

    def test_nothing_to_do_is_said(self) -> None:
        """A second ``init`` succeeds and says that it changed nothing."""
        self.run_command("init")
        status, out, _ = self.run_command("init")
        self.assertEqual((status, out), (0, f"{self.path} is complete; nothing was changed\n"))

    def test_problem_is_one_line_and_status_1(self) -> None:
        """No traceback for what the user can mend."""
        self.run_command("init")
        for argv in (("device", "../x"), ("revoke", "nobody"), ("init", "--host", "a b")):
            status, _, err = self.run_command(*argv)
            self.assertEqual((status, err.count("\n")), (1, 1))
            self.assertTrue(err.startswith("pushctl certs: "))

    def test_folder_that_cannot_be_made(self) -> None:
        """What the operating system refuses is told in its words."""
        self.path.parent.mkdir(parents=True)
        self.path.write_text("a file")
        status, _, err = self.run_command("init")
        self.assertEqual(status, 1)
        self.assertIn(str(self.path), err)

    def test_usage_errors_are_status_2(self) -> None:
        """Days out of range, a missing name, an unknown action."""
        for argv in (("device", "a", "--days", "0"), ("device", "a", "--days", "x"), ("device",), ("list",)):
            self.assertEqual(self.run_command(*argv)[0], 2)
