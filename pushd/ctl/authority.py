"""
A small certificate authority: keys, certificates and the revocation list, as values, without a file in sight.

`pushd.ctl.certs` keeps them in a folder; tests make certificates from a stranger's authority, expired and
revoked ones, with the same functions. Every key is on P-256: a signature costs a tenth of RSA-2048's, and
every TLS 1.2 stack that a device may have knows the curve. Fields follow RFC 5280, "rfc" below.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650
LEAF_DAYS = 825  # what Apple's systems accept at most for a server certificate
BACKDATED = timedelta(hours=1)  # devices boot with clocks that are behind
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")

MAX_NAME_CHARACTERS = 64  # rfc appendix A.1, ub-common-name
MAX_NAME_BYTES = 200  # as a file name, with room for an ending within the usual 255
RESERVED_NAMES = frozenset({"ca", "server"})  # their files share the folder with those of devices

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")

# rfc §4.2.1.3: an authority signs certificates and revocation lists, a leaf signs handshakes; nothing else.
_AUTHORITY_USAGES = frozenset({"key_cert_sign", "crl_sign"})
_LEAF_USAGES = frozenset({"digital_signature"})
_ALL_USAGES = (
    _AUTHORITY_USAGES | _LEAF_USAGES | {"content_commitment", "key_encipherment", "data_encipherment"}
)
_ALL_USAGES |= {"key_agreement", "encipher_only", "decipher_only"}


class CertsError(Exception):
    """Why a certificate was not made, kept or revoked; the text is for the person who asked."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate with its private key: an authority, a server or a device."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def certificate_pem(self) -> bytes:
        """The certificate as a PEM file's content."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self) -> bytes:
        """The private key as PKCS #8 in PEM; not encrypted: a server that starts by itself asks nobody."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def check_device_name(name: str) -> str:
    """
    Refuse what cannot be a common name, an MQTT user name within topic patterns, and a file name at once.

    ``/``, ``+`` and ``#`` would widen an ACL pattern with ``%u``; by a leading dot or a backslash a name
    could leave the folder; a leading dash would be read as an option by the tools that take the file.

    :return: `name`.
    :raises CertsError: the name is refused.
    """
    if not name or len(name) > MAX_NAME_CHARACTERS or len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        raise CertsError(
            f"a device name has 1 to {MAX_NAME_CHARACTERS} characters and at most {MAX_NAME_BYTES} bytes"
        )
    if not name.isprintable():
        raise CertsError(f"device name {name!a}: control and other unprintable characters are not allowed")
    if set(name) & set("/\\+#"):
        raise CertsError(f"device name {name!a}: / \\ + and # are not allowed")
    if name[0] in ".- " or name[-1] == " ":
        raise CertsError(
            f"device name {name!a}: must not begin with a dot, dash or space, nor end with a space"
        )
    if name.casefold() in RESERVED_NAMES:  # casefold: file systems of macOS do not tell CA from ca
        raise CertsError(f"device name {name!a}: taken by the files of the authority or the server")
    return name


def make_authority(
    now: datetime, common_name: str = "pushd development CA", days: int = AUTHORITY_DAYS
) -> Identity:
    """
    A new self-signed authority.

    :param now: with a time zone.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(common_name)
    builder = (
        _certificate(subject, subject, key.public_key(), now, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(_AUTHORITY_USAGES), critical=True)
    )
    return Identity(builder.sign(key, hashes.SHA256()), key)


def issue_server(authority: Identity, hosts: Iterable[str], now: datetime, days: int = LEAF_DAYS) -> Identity:
    """
    A server certificate for this machine and `hosts`.

    :param hosts: host names and IP addresses that clients connect to, besides `LOCAL_HOSTS`.
    :raises CertsError: a host is neither.
    """
    names = [_host(host) for host in dict.fromkeys((*LOCAL_HOSTS, *hosts))]
    return _issue(
        authority, "localhost", ExtendedKeyUsageOID.SERVER_AUTH, now, days, x509.SubjectAlternativeName(names)
    )


def issue_device(authority: Identity, name: str, now: datetime, days: int = LEAF_DAYS) -> Identity:
    """
    A client certificate whose common name is `name`.

    :param days: of validity from `now`; zero or less makes a certificate that has run out already.
    :raises CertsError: see `check_device_name`.
    """
    return _issue(authority, check_device_name(name), ExtendedKeyUsageOID.CLIENT_AUTH, now, days)


def revocation_list(
    authority: Identity, now: datetime, previous: x509.CertificateRevocationList | None = None
) -> x509.CertificateRevocationList:
    """
    A list with the entries of `previous` and no others.

    It is valid as long as the authority: a list that runs out locks every device out, and nobody renews
    a development authority's list on a schedule.
    """
    return _sign_list(authority, now, list(previous or ()), _next_number(previous))


def revoke(
    authority: Identity,
    previous: x509.CertificateRevocationList,
    certificate: x509.Certificate,
    now: datetime,
) -> x509.CertificateRevocationList:
    """The list after `previous`, with `certificate` on it; it must be one of `authority`'s."""
    entry = (
        x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(now).build()
    )
    return _sign_list(authority, now, [*previous, entry], _next_number(previous))


def is_revoked(revoked: x509.CertificateRevocationList, certificate: x509.Certificate) -> bool:
    """Whether `certificate` is on the list."""
    return revoked.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None


def unnamed_hosts(server: x509.Certificate, hosts: Iterable[str]) -> list[str]:
    """Those of `hosts` that a server certificate does not name."""
    names = set(server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    return [host for host in hosts if _host(host) not in names]


def _issue(
    authority: Identity,
    common_name: str,
    purpose: x509.ObjectIdentifier,
    now: datetime,
    days: int,
    names: x509.SubjectAlternativeName | None = None,
) -> Identity:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate.subject
    builder = (
        _certificate(_name(common_name), issuer, key.public_key(), now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(_LEAF_USAGES), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(_authority_key(authority), critical=False)
    )
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return Identity(builder.sign(authority.key, hashes.SHA256()), key)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    """What every certificate has."""
    end = now + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, end) - BACKDATED)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _sign_list(
    authority: Identity, now: datetime, entries: Iterable[x509.RevokedCertificate], number: int
) -> x509.CertificateRevocationList:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now - BACKDATED)
        .next_update(max(now, authority.certificate.not_valid_after_utc))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_authority_key(authority), critical=False)
    )
    for entry in entries:
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(authority.key, hashes.SHA256())


def _next_number(previous: x509.CertificateRevocationList | None) -> int:
    """CRL numbers only grow (rfc §5.2.3)."""
    if previous is None:
        return 1
    return previous.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1


def _authority_key(authority: Identity) -> x509.AuthorityKeyIdentifier:
    own = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own.value)


def _key_usage(allowed: frozenset[str]) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in allowed for usage in _ALL_USAGES})


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        if len(host) > 253 or not _HOST_NAME.fullmatch(host):
            raise CertsError(f"{host!a} is neither a host name nor an IP address") from None
        return x509.DNSName(host)
