"""`pushd.auth.tls_identity`: user names out of certificates."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID as Oid
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from pushd.auth.tls_identity import StatedIdentity, TlsIdentity, X509Identity
from pushd.broker.interfaces import Credentials, IAuthenticator
from pushd.mqtt.codes import ReasonCode

KEY = ec.generate_private_key(ec.SECP256R1())
CN = Oid.COMMON_NAME


def identity(*attributes: tuple[x509.ObjectIdentifier, str]) -> X509Identity:
    """A certificate with these parts in its subject, in the order of its DER."""
    return certified(x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes]))


def certified(subject: x509.Name, altered: tuple[bytes, bytes] = (b"", b"")) -> X509Identity:
    """A certificate with this subject; `altered` replaces bytes of its DER by as many others."""
    start = datetime.datetime(2026, 1, 1)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(x509.Name([]))
    builder = builder.public_key(KEY.public_key()).serial_number(1)
    builder = builder.not_valid_before(start).not_valid_after(start + datetime.timedelta(days=1))
    der = builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER).replace(*altered, 1)
    return X509Identity(x509.load_der_x509_certificate(der))


class CommonNameTests(SynchronousTestCase):
    """``use_identity_as_username``"""

    def test_common_name_is_found(self) -> None:
        """Wherever in the subject it stands, in any script."""
        self.assertEqual(identity((Oid.COUNTRY_NAME, "DE"), (CN, "gerät 7")).common_name, "gerät 7")

    def test_first_of_several_is_taken(self) -> None:
        """As Mosquitto takes it."""
        self.assertEqual(identity((CN, "first"), (CN, "second")).common_name, "first")

    def test_subject_without_one_has_none(self) -> None:
        """An organisation is nobody's name."""
        self.assertIsNone(identity((Oid.ORGANIZATION_NAME, "Acme")).common_name)
        self.assertIsNone(identity().common_name)

    def test_control_characters_make_it_unfit(self) -> None:
        """A NUL that a broker in C would stop at, a line feed for the log, and their relatives."""
        for name in ("admin\0.evil", "a\nb", "\x7f", "a\x85b", "\x1b[2J"):
            self.assertIsNone(identity((CN, name)).common_name, repr(name))

    def test_second_name_does_not_stand_in_for_an_unfit_first(self) -> None:
        """Otherwise the certificate would have one name here and another elsewhere."""
        self.assertIsNone(identity((CN, "a\0"), (CN, "admin")).common_name)

    def test_bytes_that_are_no_utf8_make_it_unfit(self) -> None:
        """A name that is not what its type says is no name."""
        broken = certified(x509.Name([x509.NameAttribute(CN, "dev\u00e9")]), (b"dev\xc3\xa9", b"dev\xc3\xff"))
        self.assertIsNone(broken.common_name)
        self.assertEqual(broken.subject, "")


class SubjectTests(SynchronousTestCase):
    """``use_subject_as_username``; expected texts are those of ``openssl x509 -subject -nameopt RFC2253``."""

    def test_parts_come_last_first(self) -> None:
        """RFC 2253 turns the order of the certificate round."""
        name = identity((Oid.COUNTRY_NAME, "DE"), (Oid.ORGANIZATION_NAME, 'Acme, "Inc"'), (CN, "dev\u00e9"))
        self.assertEqual(name.subject, 'CN=dev\\C3\\A9,O=Acme\\, \\"Inc\\",C=DE')

    def test_types_have_openssls_names(self) -> None:
        """Which are more, and others, than those of the RFC; an unknown one is a number and DER."""
        name = identity(
            (Oid.EMAIL_ADDRESS, "a@b"),
            (Oid.SERIAL_NUMBER, "12"),
            (Oid.DOMAIN_COMPONENT, "x"),
            (Oid.USER_ID, "me"),
            (Oid.STREET_ADDRESS, "s"),
            (Oid.STATE_OR_PROVINCE_NAME, "st"),
            (Oid.GIVEN_NAME, "g"),
            (Oid.SURNAME, "sn"),
            (x509.ObjectIdentifier("1.2.3.4"), "odd"),
        )
        self.assertEqual(
            name.subject,
            "1.2.3.4=#0C036F6464,SN=sn,GN=g,ST=st,street=s,UID=me,DC=x,serialNumber=12,emailAddress=a@b",
        )

    def test_long_values_of_unknown_types_are_whole(self) -> None:
        """DER lengths of more than one byte are understood."""
        name = identity((x509.ObjectIdentifier("1.2.3.4"), "x" * 300))
        self.assertEqual(name.subject, "1.2.3.4=#0C82012C" + "78" * 300)

    def test_special_characters_are_escaped(self) -> None:
        """So that no value can look like another part of the subject."""
        for value, expected in (
            (" lead#ing+<>;=\\ ", "CN=\\ lead#ing\\+\\<\\>\\;=\\\\\\ "),
            ("#x", "CN=\\#x"),
            (" ", "CN=\\ "),
            ("a,CN=b", "CN=a\\,CN=b"),
            ("a\nb\x01\x7f", "CN=a\\0Ab\\01\\7F"),
        ):
            self.assertEqual(identity((CN, value)).subject, expected)

    def test_parts_of_one_level_are_joined(self) -> None:
        """A part may have several types and values."""
        level = x509.RelativeDistinguishedName(
            [x509.NameAttribute(CN, "zz"), x509.NameAttribute(Oid.USER_ID, "u")]
        )
        self.assertEqual(certified(x509.Name([level])).subject, "UID=u+CN=zz")

    def test_two_byte_strings_become_utf8(self) -> None:
        """Whatever string type the certificate's maker chose."""
        name = x509.Name([x509.NameAttribute(CN, "d\u00e9", _ASN1Type.BMPString)])
        self.assertEqual(certified(name).subject, "CN=d\\C3\\A9")
        self.assertEqual(certified(name).common_name, "d\u00e9")


class StatedIdentityTests(SynchronousTestCase):
    """What a proxy says of a certificate that it has seen"""

    def test_the_same_rules(self) -> None:
        """A name is a user name if it would be one in a certificate that we see ourselves."""
        self.assertEqual(StatedIdentity("phone1").common_name, "phone1")
        for name in (None, "", "a\0b", "a\nb", "x" * 65_536):
            self.assertIsNone(StatedIdentity(name).common_name)

    def test_no_subject(self) -> None:
        """The rest of it is not told, and so names nobody."""
        credentials = Credentials("id", None, None, certificate=StatedIdentity("phone1"))
        verdict = TlsIdentity("subject").authenticate(credentials)
        self.assertIs(verdict, ReasonCode.BAD_USER_NAME_OR_PASSWORD)


class TlsIdentityTests(SynchronousTestCase):
    """Who a client is by its certificate."""

    def test_it_is_an_authenticator(self) -> None:
        """It keeps the promise of the interface."""
        verifyObject(IAuthenticator, TlsIdentity())

    def test_common_name_becomes_the_user_name(self) -> None:
        """Whatever name and password the client has sent."""
        credentials = Credentials("id", "root", b"guess", certificate=identity((CN, "dev-7")))
        self.assertIs(TlsIdentity().authenticate(credentials), ReasonCode.SUCCESS)
        self.assertEqual(credentials.username, "dev-7")

    def test_subject_becomes_the_user_name(self) -> None:
        """The other option of the same kind."""
        credentials = Credentials("id", None, None, certificate=identity((CN, "dev-7")))
        self.assertIs(TlsIdentity("subject").authenticate(credentials), ReasonCode.SUCCESS)
        self.assertEqual(credentials.username, "CN=dev-7")

    def test_no_certificate_and_no_name_are_refused(self) -> None:
        """With 4 in version 3, 0x86 in version 5, and the sent name is not looked at."""
        for certificate in (None, identity((Oid.ORGANIZATION_NAME, "Acme")), identity((CN, "a\0"))):
            credentials = Credentials("id", "root", b"guess", certificate=certificate)
            self.assertIs(TlsIdentity().authenticate(credentials), ReasonCode.BAD_USER_NAME_OR_PASSWORD)
        credentials = Credentials("id", "root", b"guess", certificate=identity())
        self.assertIs(TlsIdentity("subject").authenticate(credentials), ReasonCode.BAD_USER_NAME_OR_PASSWORD)
