"""
Who are you, by the certificate: its common name, or its whole subject, becomes the user name.

The listener's TLS has verified the certificate before anybody here sees it; what is left is to read a name
out of it that is fit to be a user name. User name and password of the CONNECT are ignored then, and so is the
password file.
"""

from __future__ import annotations

import unicodedata
from typing import Literal

from cryptography import x509
from cryptography.x509.oid import NameOID
from zope.interface import implementer

from pushd.broker.interfaces import Credentials, IAuthenticator, PeerCertificate, Verdict
from pushd.mqtt.codes import ReasonCode

# A user name's limit wherever it is written with a two-byte length (v3 §1.5.3).
MAX_NAME_BYTES = 65_535

# What OpenSSL writes for an attribute's type: its own short names, not those of RFC 4514, which knows only
# nine. A type that is not listed is written as its number, and its value as the hexadecimal of its DER.
SHORT_NAMES = {
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
    "1.2.840.113549.1.9.2": "unstructuredName",
    "1.2.840.113549.1.9.8": "unstructuredAddress",
    "1.3.6.1.4.1.311.60.2.1.1": "jurisdictionL",
    "1.3.6.1.4.1.311.60.2.1.2": "jurisdictionST",
    "1.3.6.1.4.1.311.60.2.1.3": "jurisdictionC",
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "street",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "title",
    "2.5.4.13": "description",
    "2.5.4.15": "businessCategory",
    "2.5.4.16": "postalAddress",
    "2.5.4.17": "postalCode",
    "2.5.4.18": "postOfficeBox",
    "2.5.4.20": "telephoneNumber",
    "2.5.4.41": "name",
    "2.5.4.42": "GN",
    "2.5.4.43": "initials",
    "2.5.4.44": "generationQualifier",
    "2.5.4.45": "x500UniqueIdentifier",
    "2.5.4.46": "dnQualifier",
    "2.5.4.51": "houseIdentifier",
    "2.5.4.54": "dmdName",
    "2.5.4.65": "pseudonym",
    "2.5.4.72": "role",
    "2.5.4.97": "organizationIdentifier",
}


@implementer(IAuthenticator)
class TlsIdentity:
    """The certificate's name becomes the client's user name (``use_identity_as_username`` and its sister)."""

    def __init__(self, use: Literal["common_name", "subject"] = "common_name") -> None:
        self._use = use

    def authenticate(self, credentials: Credentials) -> Verdict:
        """
        Sets ``credentials.username``. Without a certificate, or without a name in it, the answer is *bad user
        name or password* (4 in version 3), Mosquitto's only use of that code.
        """
        certificate = credentials.certificate
        name = None if certificate is None else self._name_in(certificate)
        if not name:
            return ReasonCode.BAD_USER_NAME_OR_PASSWORD
        credentials.username = name
        return ReasonCode.SUCCESS

    def _name_in(self, certificate: PeerCertificate) -> str | None:
        return certificate.subject if self._use == "subject" else certificate.common_name


class X509Identity:
    """A certificate of `cryptography`, as the `PeerCertificate` that the broker's rooms know."""

    __slots__ = ("_certificate",)

    def __init__(self, certificate: x509.Certificate) -> None:
        self._certificate = certificate

    @property
    def common_name(self) -> str | None:
        """
        The first common name, as Mosquitto takes it, if there are more; ``None`` if there is none fit for a
        name.

        That a later one might be fit does not help: it would not be the one that Mosquitto's files are about.
        """
        try:
            names = self._certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        except ValueError:  # the subject is not what its DER says it is, bad UTF-8 for example
            return None
        name = names[0].value if names else None
        return name if isinstance(name, str) and _is_fit(name) else None

    @property
    def subject(self) -> str:
        """
        The whole subject as OpenSSL prints it with ``-nameopt RFC2253``: last part first, plain ASCII, other
        bytes of its UTF-8 as ``\\C3``. Empty if it cannot be read.
        """
        try:
            name = self._certificate.subject
        except ValueError:
            return ""
        subject = ",".join(_rdn_text(rdn) for rdn in reversed(name.rdns))
        return subject if _is_fit(subject) else ""


class StatedIdentity:
    """The `PeerCertificate` of a client that showed its certificate to a proxy, which told us the name."""

    __slots__ = ("_common_name",)

    subject = ""  # nobody told us

    def __init__(self, common_name: str | None) -> None:
        self._common_name = common_name

    @property
    def common_name(self) -> str | None:
        """By the same rules as one that we read ourselves."""
        name = self._common_name
        return name if name is not None and _is_fit(name) else None


def _is_fit(name: str) -> bool:
    """
    No control character (a NUL would cut the name short elsewhere), no lone surrogate, not empty or too long.
    """
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        return False
    return 0 < len(name.encode()) <= MAX_NAME_BYTES


def _rdn_text(rdn: x509.RelativeDistinguishedName) -> str:
    return "+".join(_attribute_text(attribute) for attribute in reversed(list(rdn)))


def _attribute_text(attribute: x509.NameAttribute[str | bytes]) -> str:
    name = SHORT_NAMES.get(attribute.oid.dotted_string)
    if name is None or not isinstance(attribute.value, str):
        return f"{name or attribute.oid.dotted_string}=#{_value_der(attribute).hex().upper()}"
    return f"{name}={_escaped(attribute.value)}"


def _escaped(value: str) -> str:
    text = "".join(_escaped_byte(byte) for byte in value.encode("utf-8", "surrogatepass"))
    if text.startswith(("#", " ")):
        text = "\\" + text
    if len(value) > 1 and text.endswith(" "):
        text = text[:-1] + "\\ "
    return text


def _escaped_byte(byte: int) -> str:
    if byte < 0x20 or byte >= 0x7F:
        return f"\\{byte:02X}"
    character = chr(byte)
    return "\\" + character if character in ',+"\\<>;' else character


def _value_der(attribute: x509.NameAttribute[str | bytes]) -> bytes:
    """The value's own DER, which comes last in Name{RDN{Attribute{type, value}}} (X.690 §8.1)."""
    der = x509.Name([attribute]).public_bytes()
    at = 0
    for _ in range(3):
        at, _end = _content(der, at)
    _start, at = _content(der, at)
    return der[at:]


def _content(der: bytes, at: int) -> tuple[int, int]:
    """Where the content of the element at this offset begins and ends."""
    length = der[at + 1]
    start = at + 2
    if length >= 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[at + 2 : start], "big")
    return start, start + length
