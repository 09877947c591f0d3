"""
Who would not be let in any more: a second look at those who are inside, after a reload.

Passwords are not kept, so not everything can be asked again. A client stays unless something speaks against
it: its user is gone from the password file, anonymous clients are not wanted any more, its certificate was
revoked, is missing, or makes it another user by now. Whoever has a new password stays, and so does whoever
was let in by somebody that cannot be asked without one (a plugin).

Accounts are not asked here; they are watched while the server runs (`pushd.service.accounts`). But who came
in before a listener asked them, and is not in its password file, has to log in again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from cryptography import x509
from twisted.logger import Logger

from pushd.auth.accounts import AccountAuthenticator
from pushd.auth.password_file import PasswordFile, PasswordFileAuthenticator
from pushd.auth.tls_identity import TlsIdentity
from pushd.broker.broker import Broker
from pushd.broker.client import Client
from pushd.broker.interfaces import Credentials, IAuthenticator
from pushd.mqtt.codes import ReasonCode

log = Logger()

# Certificates by issuer (its name as DER) and serial number.
Revoked: TypeAlias = frozenset[tuple[bytes, int]]


@dataclass(frozen=True, slots=True)
class Grounds:
    """What one listener goes by."""

    authenticators: tuple[IAuthenticator, ...] = ()
    allow_anonymous: bool = False
    passwords: PasswordFile | None = None
    former_passwords: PasswordFile | None = None  # until the last reload
    formerly_accounts: bool = False  # whether accounts were asked until then
    require_certificate: bool = False
    revoked: Revoked = frozenset()

    def admit(self, credentials: Credentials, certificate: x509.Certificate | None) -> bool:
        """
        Whether a client may stay.

        :param credentials: without a password; the user name is the one that it was let in by.
        :param certificate: the one it showed to us, and not to a proxy.
        """
        if certificate is not None and self._is_revoked(certificate):
            return False
        if self.require_certificate and credentials.certificate is None:
            return False
        return self._know(credentials)

    def _is_revoked(self, certificate: x509.Certificate) -> bool:
        if not self.revoked:
            return False
        return (certificate.issuer.public_bytes(), certificate.serial_number) in self.revoked

    def _know(self, credentials: Credentials) -> bool:
        """Ask those who were asked at CONNECT, in the same order."""
        username = credentials.username
        for authenticator in self.authenticators:
            if isinstance(authenticator, TlsIdentity):
                is_good = authenticator.authenticate(credentials) is ReasonCode.SUCCESS
                return is_good and credentials.username == username
            if isinstance(authenticator, AccountAuthenticator):
                if username:
                    return self.formerly_accounts and not self._was_removed(username)
            elif not isinstance(authenticator, PasswordFileAuthenticator):
                return not self._was_removed(username)
            elif username and self.passwords is not None:
                found = self.passwords.find(username) is not None
                if found or authenticator.knows_all:
                    return found
        return self.allow_anonymous

    @property
    def accounts(self) -> bool:
        """Whether accounts are asked."""
        return any(isinstance(each, AccountAuthenticator) for each in self.authenticators)

    def _was_removed(self, username: str | None) -> bool:
        """Whether somebody has taken a user out of the password file."""
        if not username or self.passwords is None or self.former_passwords is None:
            return False
        return self.former_passwords.find(username) is not None and self.passwords.find(username) is None


def dismiss(broker: Broker, client: Client, code: ReasonCode, why: str) -> None:
    """See a client out: it is told, and its Will is published."""
    log.info("Client {id} has to go: {why}.", id=client.session.client_id, why=why, log_type="notice")
    client.connection.close(code, why)
    broker.client_lost(client)
