"""What is in the certificates of `pushctl certs`, and whom they name."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from ipaddress import ip_address

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.ctl.authority import (
    CertsError,
    check_device_name,
    is_revoked,
    issue_device,
    issue_server,
    make_authority,
    revocation_list,
    revoke,
    unnamed_hosts,
)

NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)
AUTHORITY = make_authority(NOW)


class AuthorityTests(SynchronousTestCase):
    """The root of all."""

    def test_signs_certificates_and_lists_only(self) -> None:
        """The authority is one, for leaves only, and its key is good for nothing else."""
        extensions = AUTHORITY.certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints)
        usage = extensions.get_extension_for_class(x509.KeyUsage)
        self.assertEqual(constraints.value, x509.BasicConstraints(ca=True, path_length=0))
        self.assertTrue(constraints.critical and usage.critical)
        self.assertTrue(usage.value.key_cert_sign and usage.value.crl_sign)
        self.assertFalse(usage.value.digital_signature)

    def test_lasts_ten_years_from_an_hour_ago(self) -> None:
        """A device whose clock is a little behind accepts it at once."""
        self.assertEqual(AUTHORITY.certificate.not_valid_before_utc, NOW - timedelta(hours=1))
        self.assertEqual(AUTHORITY.certificate.not_valid_after_utc, NOW + timedelta(days=3650))


class LeafTests(SynchronousTestCase):
    """Servers and devices."""

    def test_device_is_named_by_its_common_name(self) -> None:
        """The common name is what becomes the MQTT user name; any script's letters will do."""
        for name in ("phone1", "Müllers Telefon", "电话", "v1.2", "a" * 64):
            subject = issue_device(AUTHORITY, name, NOW).certificate.subject
            self.assertEqual(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value, name)

    def test_purposes_are_apart(self) -> None:
        """A device cannot pose as the server, nor the server as a device."""
        for identity, purpose in (
            (issue_device(AUTHORITY, "phone1", NOW), ExtendedKeyUsageOID.CLIENT_AUTH),
            (issue_server(AUTHORITY, [], NOW), ExtendedKeyUsageOID.SERVER_AUTH),
        ):
            extensions = identity.certificate.extensions
            self.assertEqual(list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value), [purpose])
            self.assertFalse(extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
            self.assertTrue(extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature)

    def test_issued_by_the_authority(self) -> None:
        """Signature, name and key identifier all point to the authority."""
        device = issue_device(AUTHORITY, "phone1", NOW).certificate
        device.verify_directly_issued_by(AUTHORITY.certificate)
        own = device.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        its = AUTHORITY.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        self.assertEqual(own.key_identifier, its.digest)

    def test_server_names_this_machine_and_more(self) -> None:
        """Clients may connect to localhost, both loopback addresses and every given host."""
        server = issue_server(AUTHORITY, ["push.example", "192.0.2.7", "*.example", "localhost"], NOW)
        names = server.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(names.get_values_for_type(x509.DNSName), ["localhost", "push.example", "*.example"])
        addresses = [ip_address(address) for address in ("127.0.0.1", "::1", "192.0.2.7")]
        self.assertEqual(names.get_values_for_type(x509.IPAddress), addresses)

    def test_unnamed_hosts(self) -> None:
        """Whoever needs a further name learns that this certificate does not have it."""
        server = issue_server(AUTHORITY, ["push.example"], NOW).certificate
        self.assertEqual(
            unnamed_hosts(server, ["push.example", "::1", "other.example", "::2"]), ["other.example", "::2"]
        )

    def test_what_is_no_host_is_refused(self) -> None:
        """A name that no client could connect to, or that means something else in a certificate."""
        for host in ("", "a b", "-a", "a..b", "http://a", "a:8883", "é.example", "a" * 300, "*", "a.*"):
            self.assertRaises(CertsError, issue_server, AUTHORITY, [host], NOW)

    def test_validity(self) -> None:
        """A leaf lasts 825 days, or as long as was asked for; also a time that is over."""
        self.assertEqual(
            issue_device(AUTHORITY, "a", NOW).certificate.not_valid_after_utc, NOW + timedelta(days=825)
        )
        past = issue_device(AUTHORITY, "a", NOW, days=-1).certificate
        self.assertEqual(past.not_valid_after_utc, NOW - timedelta(days=1))
        self.assertLess(past.not_valid_before_utc, past.not_valid_after_utc)


class DeviceNameTests(SynchronousTestCase):
    """A name that is a user name, a part of topics and a file name."""

    def test_refused_names(self) -> None:
        """What would widen a topic pattern, leave the folder, or not show."""
        paths = ("../x", "a/b", "/etc/passwd", "a\\b", ".", "..", ".hidden")
        topics = ("a+", "#", "+")
        unseen = ("", " ", " a", "a ", "a\nb", "a\0", "\x7f", "a\u202eb", "\u2028", "\ud800", "\ufeffa")
        others = ("-rf", "ca", "CA", "server", "Server", "a" * 65, "电" * 67)
        for name in (*paths, *topics, *unseen, *others):
            self.assertRaises(CertsError, check_device_name, name)

    @given(st.text(max_size=70))
    def test_accepted_names_stay_in_the_folder_and_in_their_level(self, name: str) -> None:
        """Whatever passes is one plain part of a path and one plain level of a topic."""
        try:
            check_device_name(name)
        except CertsError:
            return
        assert not set(name) & set("/\\+#\0\n") and name not in (".", "..")
        assert name.isprintable() and len(f"{name}.crt".encode()) <= 255


class RevocationTests(SynchronousTestCase):
    """The list."""

    def test_fresh_list_is_empty_signed_and_lasts(self) -> None:
        """A new authority's list names nobody and does not run out before the authority."""
        listed = revocation_list(AUTHORITY, NOW)
        self.assertEqual(len(listed), 0)
        self.assertTrue(listed.is_signature_valid(AUTHORITY.key.public_key()))
        self.assertEqual(listed.next_update_utc, AUTHORITY.certificate.not_valid_after_utc)

    def test_revoked_certificates_add_up(self) -> None:
        """Each revocation keeps the earlier ones and raises the list's number."""
        listed = revocation_list(AUTHORITY, NOW)
        devices = [issue_device(AUTHORITY, name, NOW).certificate for name in ("a", "b", "c")]
        for device in devices[:2]:
            listed = revoke(AUTHORITY, listed, device, NOW)
        self.assertEqual([is_revoked(listed, device) for device in devices], [True, True, False])
        number = listed.extensions.get_extension_for_oid(ExtensionOID.CRL_NUMBER).value
        self.assertEqual(number, x509.CRLNumber(3))
