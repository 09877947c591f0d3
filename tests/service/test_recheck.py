"""`pushd.service.recheck`: who may stay after a reload, as far as that can be told without a password."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from cryptography import x509
from twisted.internet.defer import execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.accounts import AccountAuthenticator
from pushd.auth.check_queue import CheckQueue
from pushd.auth.failures import LoginFailures
from pushd.auth.password_file import PasswordFile, PasswordFileAuthenticator
from pushd.auth.password_hash import make_scram
from pushd.auth.tls_identity import TlsIdentity, X509Identity
from pushd.broker.interfaces import Credentials
from pushd.ctl.certs import CertificateFolder
from pushd.people.memory import MemoryPeople
from pushd.service.recheck import Grounds
from pushd.transports.tls import read_revoked
from tests.fakes import Doorkeeper

HASH = make_scram(b"secret", 1)
ADA = PasswordFile.parse(f"ada:{HASH}", "passwd")
ADA_AND_BOB = PasswordFile.parse(f"ada:{HASH}\nbob:{HASH}", "passwd")


FAILURES = LoginFailures(lambda: 0, lambda: 0.0, lambda reason: None)


def password_check(knows_all: bool = True) -> PasswordFileAuthenticator:
    """It is known by its type, and asked nothing."""
    check = PasswordFileAuthenticator(None, execute, CheckQueue(1), FAILURES)
    check.knows_all = knows_all
    return check


def account_check() -> AccountAuthenticator:
    """The same for this one."""
    return AccountAuthenticator(MemoryPeople(), execute, CheckQueue(1), FAILURES, Clock())


class PasswordTests(SynchronousTestCase):
    """By the password file"""

    def stays(self, username: str | None, **grounds: object) -> bool:
        asked = {"authenticators": (password_check(),), **grounds}
        return Grounds(**asked).admit(Credentials("id", username, None), None)  # type: ignore[arg-type]  # each test says what it is about

    def test_users(self) -> None:
        """Who is in the file stays, who is not goes: also one who came before there was a file."""
        self.assertTrue(self.stays("ada", passwords=ADA))
        self.assertFalse(self.stays("bob", passwords=ADA, allow_anonymous=True))

    def test_anonymous(self) -> None:
        """They stay where they are let in; and so does any name where nobody asks for a password."""
        for username in (None, "anybody"):
            self.assertTrue(self.stays(username, allow_anonymous=True))
            self.assertFalse(self.stays(username))
        self.assertFalse(self.stays(None, passwords=ADA))

    def test_somebody_else_decides(self) -> None:
        """Whoever a plugin may have let in stays, but for those who were taken out of the file."""
        both = {"authenticators": (Doorkeeper(), password_check()), "former_passwords": ADA_AND_BOB}
        self.assertTrue(self.stays("carl", passwords=ADA, **both))
        self.assertTrue(self.stays("ada", passwords=ADA, **both))
        self.assertFalse(self.stays("bob", passwords=ADA, **both))

    def test_accounts(self) -> None:
        """They are watched, and not asked here: who was let in by one stays, also if a file is new."""
        both = {"authenticators": (password_check(knows_all=False), account_check())}
        for passwords in (None, ADA):
            self.assertTrue(self.stays("carl", passwords=passwords, formerly_accounts=True, **both))
            self.assertFalse(self.stays("carl", passwords=passwords, allow_anonymous=True, **both))
        self.assertTrue(self.stays("ada", passwords=ADA, **both))
        self.assertTrue(self.stays(None, allow_anonymous=True, **both))
        self.assertFalse(self.stays(None, **both))
        gone = {"former_passwords": ADA_AND_BOB, "formerly_accounts": True, "passwords": ADA}
        self.assertFalse(self.stays("bob", **gone, **both))


class CertificateTests(SynchronousTestCase):
    """By certificates"""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.authority = CertificateFolder(self.folder, datetime.now(timezone.utc))
        self.authority.prepare()
        self.authority.add_device("phone")
        self.certificate = x509.load_pem_x509_certificate((self.folder / "phone.crt").read_bytes())

    def stays(self, username: str, *, shown: bool = True, identity: bool = True, **grounds: object) -> bool:
        certificate = self.certificate if shown else None
        peer = X509Identity(self.certificate) if shown else None
        asked = {"authenticators": (TlsIdentity(),) if identity else (), "allow_anonymous": True, **grounds}
        return Grounds(**asked).admit(  # type: ignore[arg-type]  # each test says what it is about
            Credentials("id", username, None, certificate=peer), certificate
        )

    def test_revoked(self) -> None:
        """A certificate that is on the list by now, of this authority."""
        self.assertTrue(self.stays("phone", revoked=read_revoked(str(self.folder / "ca.crl"))))
        self.authority.revoke_device("phone")
        self.assertFalse(self.stays("phone", revoked=read_revoked(str(self.folder / "ca.crl"))))
        other = frozenset({(b"another issuer", self.certificate.serial_number)})
        self.assertTrue(self.stays("phone", revoked=other))

    def test_required_by_now(self) -> None:
        """Who came without one has to go."""
        self.assertFalse(self.stays("ada", shown=False, identity=False, require_certificate=True))
        self.assertTrue(self.stays("ada", identity=False, require_certificate=True))

    def test_identity_by_now(self) -> None:
        """Where the certificate says who somebody is, others of that certificate have to go."""
        self.assertTrue(self.stays("phone"))
        self.assertFalse(self.stays("ada"))
        self.assertFalse(self.stays("ada", shown=False))
