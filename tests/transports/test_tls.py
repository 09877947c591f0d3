"""Real handshakes with an OpenSSL client, in memory, with certificates made as `pushctl certs` makes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.test.iosim import IOPump, connectedServerAndClient
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from pushd.ctl.authority import (
    Identity,
    issue_device,
    issue_server,
    make_authority,
    revocation_list,
    revoke,
)
from pushd.transports.tls import (
    TlsContextFactory,
    TlsFactory,
    TlsFileError,
    TlsFiles,
    build_context,
    describe_tls_error,
    peer_certificate,
)

NOW = datetime.now(timezone.utc)
PEM = serialization.Encoding.PEM

# Made once: they are values that no test changes.
AUTHORITY = make_authority(NOW)
STRANGER = make_authority(NOW)  # same name, another key
SERVER = issue_server(AUTHORITY, [], NOW)
PHONE = issue_device(AUTHORITY, "phone1", NOW)
EXPIRED_PHONE = issue_device(AUTHORITY, "phone1", NOW - timedelta(days=30), days=29)
STRANGERS_PHONE = issue_device(STRANGER, "phone1", NOW)


class End(Protocol):
    """One end of a connection, remembering what happened to it."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: BaseException | None = None
        self.handle: SSL.Connection | None = None  # also after the transport let go of it

    def connectionMade(self) -> None:
        self.handle = self.transport.getHandle()  # type: ignore[union-attr]  # a TLS transport

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Twisted gives it a default
        self.lost = reason.value


@implementer(IOpenSSLClientConnectionCreator)
class Client:
    """
    A client that checks the server against `AUTHORITY`.

    :param adjust: called with its context, for versions, protocols and the like.
    :ivar session: one to resume when it connects, if set.
    :ivar verified: how many certificates it checked; none while a session is resumed.
    """

    def __init__(
        self,
        identity: Identity | None = None,
        adjust: Callable[[SSL.Context], object] = lambda context: None,
    ) -> None:
        self.context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self.session: SSL.Session | None = None
        self.verified = 0
        store = self.context.get_cert_store()
        assert store is not None
        store.add_cert(X509.from_cryptography(AUTHORITY.certificate))
        self.context.set_verify(SSL.VERIFY_PEER, self._verify)
        if identity is not None:
            self.context.use_certificate(identity.certificate)
            self.context.use_privatekey(identity.key)
        adjust(self.context)

    def _verify(self, connection: SSL.Connection, certificate: X509, code: int, depth: int, ok: int) -> bool:
        self.verified += 1
        return bool(ok)

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = SSL.Connection(self.context, None)
        if self.session is not None:
            connection.set_session(self.session)
        return connection


class Link:
    """A listener and one client, after as much talk as the handshake takes."""

    def __init__(self, listener: TlsContextFactory, client: Client) -> None:
        self.server, self.client = End(), End()
        clock = Clock()
        servers = TlsFactory(listener, False, Factory.forProtocol(lambda: self.server), clock)
        clients = TLSMemoryBIOFactory(client, True, Factory.forProtocol(lambda: self.client), clock)
        self.pump: IOPump
        _, _, self.pump = connectedServerAndClient(
            lambda: servers.buildProtocol(None), lambda: clients.buildProtocol(None), clock=clock
        )

    def say_hello(self) -> bool:
        """Send something each way; whether both arrived. It also carries the tickets of TLS 1.3."""
        for end in (self.client, self.server):
            assert end.transport is not None
            end.transport.write(b"hello")
        self.pump.flush()
        return self.server.received == self.client.received == b"hello"

    def handle(self) -> SSL.Connection:
        """The client's OpenSSL connection."""
        assert self.client.handle is not None
        return self.client.handle

    def refusal(self) -> str:
        """Why the server ended the connection."""
        assert self.server.lost is not None
        return describe_tls_error(self.server.lost) or repr(self.server.lost)


class TlsTestCase(SynchronousTestCase):
    """A folder with the server's files in it."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.write_identity(SERVER)
        self.write("ca.crt", AUTHORITY.certificate_pem())
        self.write("ca.crl", revocation_list(AUTHORITY, NOW).public_bytes(PEM))
        self.open_door = TlsFiles(self.path("server.crt"), self.path("server.key"))
        self.mutual = replace(
            self.open_door,
            cafile=self.path("ca.crt"),
            crlfile=self.path("ca.crl"),
            require_certificate=True,
        )

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def write(self, name: str, content: bytes) -> str:
        (self.folder / name).write_bytes(content)
        return self.path(name)

    def write_identity(self, identity: Identity) -> None:
        self.write("server.crt", identity.certificate_pem())
        self.write("server.key", identity.key_pem())


class ServerCertificateTests(TlsTestCase):
    """A listener with `certfile` and `keyfile` alone."""

    def test_provides_what_twisted_asks_for(self) -> None:
        """Twisted's TLS accepts the factory as it is, without its compatibility path."""
        verifyObject(IOpenSSLServerConnectionCreator, TlsContextFactory(self.open_door))

    def test_bytes_travel_both_ways(self) -> None:
        """A client that trusts the authority talks to the server."""
        self.assertTrue(Link(TlsContextFactory(self.open_door), Client()).say_hello())

    def test_no_client_certificate_is_asked_for(self) -> None:
        """As in Mosquitto, without `require_certificate` a client's certificate is not even looked at."""
        files = replace(self.open_door, cafile=self.path("ca.crt"))
        link = Link(TlsContextFactory(files), Client(STRANGERS_PHONE))
        self.assertTrue(link.say_hello())
        self.assertIsNone(peer_certificate(link.server.transport))

    def test_chain_is_sent_along(self) -> None:
        """What follows the server's own certificate in `certfile` reaches the client."""
        self.write("server.crt", SERVER.certificate_pem() + AUTHORITY.certificate_pem())
        link = Link(TlsContextFactory(self.open_door), Client())
        chain = link.handle().get_peer_cert_chain(as_cryptography=True)
        self.assertEqual(chain, [SERVER.certificate, AUTHORITY.certificate])

    def test_plain_bytes_end_the_connection_with_a_reason(self) -> None:
        """A client that forgot TLS is disconnected, and the log can say why."""
        end = End()
        server = TlsFactory(
            TlsContextFactory(self.open_door), False, Factory.forProtocol(lambda: end), Clock()
        )
        protocol = server.buildProtocol(None)
        assert protocol is not None
        protocol.makeConnection(StringTransport())
        protocol.dataReceived(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04abcd" * 4)
        protocol.connectionLost(Failure(RuntimeError("closed")))
        assert end.lost is not None
        self.assertIsNotNone(describe_tls_error(end.lost))


class ClientCertificateTests(TlsTestCase):
    """A listener with `require_certificate`."""

    def connect(self, identity: Identity | None) -> Link:
        link = Link(TlsContextFactory(self.mutual), Client(identity))
        link.say_hello()
        return link

    def test_good_certificate_is_let_in(self) -> None:
        """A device of our authority connects, and its certificate can be read."""
        link = self.connect(PHONE)
        self.assertEqual(link.server.received, b"hello")
        self.assertEqual(peer_certificate(link.server.transport), PHONE.certificate)

    def test_no_certificate_is_refused(self) -> None:
        """A client without a certificate gets no byte through."""
        link = self.connect(None)
        self.assertEqual(link.server.received, b"")
        self.assertIn("did not return a certificate", link.refusal())

    def test_certificate_of_another_authority_is_refused(self) -> None:
        """An authority that only bears the same name does not count."""
        link = self.connect(STRANGERS_PHONE)
        self.assertEqual(link.server.received, b"")
        self.assertIn("was refused", link.refusal())

    def test_expired_certificate_is_refused(self) -> None:
        """A certificate is good up to its last day."""
        link = self.connect(EXPIRED_PHONE)
        self.assertEqual(link.server.received, b"")
        self.assertIn("it has expired", link.refusal())

    def test_certificate_of_tomorrow_is_refused(self) -> None:
        """A certificate is good from its first day."""
        link = self.connect(issue_device(AUTHORITY, "phone1", NOW + timedelta(days=1)))
        self.assertEqual(link.server.received, b"")
        self.assertIn("it is not valid yet", link.refusal())

    def test_revoked_certificate_is_refused(self) -> None:
        """What is on the list of `crlfile` stays out; another device of the authority comes in."""
        listed = revoke(AUTHORITY, revocation_list(AUTHORITY, NOW), PHONE.certificate, NOW)
        self.write("ca.crl", listed.public_bytes(PEM))
        link = self.connect(PHONE)
        self.assertEqual(link.server.received, b"")
        self.assertIn("it is revoked", link.refusal())
        self.assertEqual(self.connect(issue_device(AUTHORITY, "phone2", NOW)).server.received, b"hello")

    def test_server_certificate_is_no_client_certificate(self) -> None:
        """A key stolen from a server does not make a device."""
        link = self.connect(SERVER)
        self.assertEqual(link.server.received, b"")
        self.assertIn("not for TLS clients", link.refusal())

    def test_list_of_another_authority_keeps_everyone_out(self) -> None:
        """Without a list of its authority no certificate can be checked, so none is trusted."""
        self.write("ca.crl", revocation_list(make_authority(NOW, "Another"), NOW).public_bytes(PEM))
        link = self.connect(PHONE)
        self.assertEqual(link.server.received, b"")
        self.assertIn("no revocation list", link.refusal())

    def test_several_authorities_with_a_list_each(self) -> None:
        """`cafile` and `crlfile` may hold any number of blocks."""
        other = make_authority(NOW, "Another")
        self.write("ca.crt", AUTHORITY.certificate_pem() + other.certificate_pem())
        lists = [revocation_list(authority, NOW).public_bytes(PEM) for authority in (AUTHORITY, other)]
        self.write("ca.crl", b"".join(lists))
        for device in (PHONE, issue_device(other, "phone1", NOW)):
            self.assertEqual(self.connect(device).server.received, b"hello")

    def test_authorities_from_a_folder(self) -> None:
        """`capath` holds authorities under the hash of their subject, as `openssl rehash` names them."""
        subject_hash = X509.from_cryptography(AUTHORITY.certificate).subject_name_hash()
        (self.folder / "authorities").mkdir()
        self.write(f"authorities/{subject_hash:08x}.0", AUTHORITY.certificate_pem())
        self.mutual = replace(self.mutual, cafile=None, capath=self.path("authorities"))
        self.assertEqual(self.connect(PHONE).server.received, b"hello")
        self.assertEqual(self.connect(STRANGERS_PHONE).server.received, b"")

    def test_client_is_told_the_authorities(self) -> None:
        """A client with several certificates learns which authority the server wants."""
        names = self.connect(PHONE).handle().get_client_ca_list()
        self.assertEqual([name.commonName for name in names], ["pushd development CA"])


class PeerCertificateTests(SynchronousTestCase):
    """`peer_certificate` on what is not TLS."""

    def test_plain_transport_has_none(self) -> None:
        """A TCP or in-memory transport has no certificate, and asking is no error."""
        self.assertIsNone(peer_certificate(StringTransport()))
        self.assertIsNone(peer_certificate(None))


class VersionTests(TlsTestCase):
    """`tls_version`, `ciphers` and the options that are always set."""

    def connect(self, adjust: Callable[[SSL.Context], object], **changes: str) -> Link:
        files = replace(self.open_door, **changes)  # type: ignore[arg-type]  # only text options are changed
        return Link(TlsContextFactory(files), Client(adjust=adjust))

    def test_tls_1_1_is_refused(self) -> None:
        """Nothing below TLS 1.2 connects, whatever the client allows."""

        def only_1_1(context: SSL.Context) -> None:
            context.set_cipher_list(b"ALL:@SECLEVEL=0")  # or OpenSSL's client would not even offer it
            context.set_min_proto_version(SSL.TLS1_VERSION)
            context.set_max_proto_version(SSL.TLS1_1_VERSION)

        link = self.connect(only_1_1)
        self.assertFalse(link.say_hello())
        self.assertIn("unsupported protocol", link.refusal())

    def test_tls_1_2_is_accepted_with_forward_secrecy(self) -> None:
        """A device with TLS 1.2 connects, by default with an ephemeral key."""
        link = self.connect(lambda context: context.set_max_proto_version(SSL.TLS1_2_VERSION))
        self.assertTrue(link.say_hello())
        self.assertIn("ECDHE", link.handle().get_cipher_name() or "")

    def test_minimum_of_1_3_refuses_1_2(self) -> None:
        """`tls_version tlsv1.3` means that and above."""
        link = self.connect(
            lambda context: context.set_max_proto_version(SSL.TLS1_2_VERSION), tls_version="tlsv1.3"
        )
        self.assertFalse(link.say_hello())

    def test_cipher_options_are_obeyed(self) -> None:
        """`ciphers` decides for TLS 1.2, `ciphers_tls1.3` for TLS 1.3."""
        wanted = {"ciphers": "ECDHE-ECDSA-CHACHA20-POLY1305", "ciphers_tls13": "TLS_AES_128_GCM_SHA256"}
        older = self.connect(lambda context: context.set_max_proto_version(SSL.TLS1_2_VERSION), **wanted)
        newer = self.connect(lambda context: None, **wanted)
        self.assertEqual(older.handle().get_cipher_name(), wanted["ciphers"])
        self.assertEqual(newer.handle().get_cipher_name(), wanted["ciphers_tls13"])

    def test_renegotiation_is_refused(self) -> None:
        """A TLS 1.2 client cannot make the server shake hands again on the same connection."""
        link = self.connect(lambda context: context.set_max_proto_version(SSL.TLS1_2_VERSION))
        link.handle().renegotiate()
        try:
            link.handle().do_handshake()
        except SSL.WantReadError:
            link.client.transport._flushSendBIO()  # type: ignore[union-attr]  # Twisted never renegotiates
        link.pump.flush()
        assert link.client.lost is not None
        self.assertIn("no renegotiation", describe_tls_error(link.client.lost) or "")

    def test_alpn_mqtt_is_agreed_on(self) -> None:
        """A client that offers ``mqtt`` beside others gets it."""
        link = self.connect(lambda context: context.set_alpn_protos([b"x-other", b"mqtt"]))
        self.assertEqual(link.handle().get_alpn_proto_negotiated(), b"mqtt")

    def test_unknown_alpn_is_no_obstacle(self) -> None:
        """A client that offers only what we do not know connects without."""
        link = self.connect(lambda context: context.set_alpn_protos([b"x-other"]))
        self.assertTrue(link.say_hello())
        self.assertEqual(link.handle().get_alpn_proto_negotiated(), b"")


class ResumptionTests(TlsTestCase):
    """Sessions that a device takes up again without a whole handshake."""

    def setUp(self) -> None:
        super().setUp()
        self.listener = TlsContextFactory(self.mutual)
        # OpenSSL forgets the session of a connection that is freed without a goodbye.
        self.links: list[Link] = []

    def connect(self, client: Client) -> Link:
        """Connect, talk (the tickets of TLS 1.3 come with the first bytes) and remember the session."""
        link = Link(self.listener, client)
        link.say_hello()
        self.links.append(link)
        client.session = link.handle().get_session()
        return link

    def test_resumed_session_keeps_its_identity(self) -> None:
        """With both TLS versions a ticket saves the handshake, and the device is still known."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            client = Client(PHONE)
            client.context.set_max_proto_version(version)
            self.connect(client)
            client.verified = 0
            second = self.connect(client)
            self.assertEqual(client.verified, 0)
            self.assertEqual(second.server.received, b"hello")
            self.assertEqual(peer_certificate(second.server.transport), PHONE.certificate)

    def test_revoked_device_cannot_resume_after_a_reload(self) -> None:
        """A ticket from before the reload is worth nothing: the list is asked again."""
        client = Client(PHONE)
        self.connect(client)
        listed = revoke(AUTHORITY, revocation_list(AUTHORITY, NOW), PHONE.certificate, NOW)
        self.write("ca.crl", listed.public_bytes(PEM))
        self.listener.reload()
        second = self.connect(client)
        self.assertEqual(second.server.received, b"")
        self.assertIn("it is revoked", second.refusal())


class ReloadTests(TlsTestCase):
    """What SIGHUP does to a listener."""

    def setUp(self) -> None:
        super().setUp()
        self.listener = TlsContextFactory(self.open_door)
        self.renewed = issue_server(AUTHORITY, ["push.example"], NOW)

    def shown(self) -> object:
        """The certificate that a new connection is shown."""
        return Link(self.listener, Client()).handle().get_peer_certificate(as_cryptography=True)

    def test_new_certificate_is_shown_to_new_connections(self) -> None:
        """After a renewal, new connections see the new certificate and old ones go on."""
        old = Link(self.listener, Client())
        self.write_identity(self.renewed)
        self.assertEqual(self.shown(), SERVER.certificate)
        self.listener.reload()
        self.assertEqual(self.shown(), self.renewed.certificate)
        self.assertTrue(old.say_hello())

    def test_other_files(self) -> None:
        """A reload may come with other file names."""
        certificate = self.write("new.crt", self.renewed.certificate_pem())
        self.listener.reload(TlsFiles(certificate, self.write("new.key", self.renewed.key_pem())))
        self.assertEqual(self.shown(), self.renewed.certificate)
        self.assertEqual(self.listener.files.certfile, certificate)

    def test_context_built_elsewhere(self) -> None:
        """A service may read the files in a thread and hand the finished context over."""
        self.write_identity(self.renewed)
        context = build_context(self.open_door)
        self.listener.use(self.open_door, context)
        self.assertEqual(self.shown(), self.renewed.certificate)
        self.listener = TlsContextFactory(self.open_door, context)
        self.assertEqual(self.shown(), self.renewed.certificate)

    def test_bad_file_changes_nothing(self) -> None:
        """A certificate without its key is reported; the server goes on with what it had."""
        self.write("server.crt", self.renewed.certificate_pem())
        error = self.assertRaises(TlsFileError, self.listener.reload)
        self.assertIn("server.key: not the key of the certificate in", str(error))
        self.assertEqual(self.shown(), SERVER.certificate)


class BadFileTests(TlsTestCase):
    """Every file that cannot be used is named, with the reason."""

    def complaint(self, files: TlsFiles) -> str:
        return str(self.assertRaises(TlsFileError, build_context, files))

    def test_missing_files(self) -> None:
        """A path that leads nowhere."""
        for option in ("certfile", "keyfile", "cafile", "crlfile"):
            files = replace(self.mutual, **{option: "nowhere.pem"})  # type: ignore[arg-type]  # see the tuple
            self.assertEqual(self.complaint(files), "nowhere.pem: No such file or directory")

    def test_files_that_are_not_pem(self) -> None:
        """A file of something else, or with a block cut short."""
        for content in (b"", b"hello", PHONE.certificate_pem()[:200]):
            bad = self.write("bad.pem", content)
            for option in ("certfile", "keyfile", "cafile", "crlfile"):
                files = replace(self.mutual, **{option: bad})  # type: ignore[arg-type]  # see the tuple
                self.assertIn("bad.pem: ", self.complaint(files))

    def test_broken_list(self) -> None:
        """A revocation list with the right frame round nonsense."""
        bad = self.write("ca.crl", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
        self.assertIn(bad, self.complaint(self.mutual))

    def test_encrypted_key_is_refused_without_a_prompt(self) -> None:
        """pushd never stops to ask a terminal for a pass phrase."""
        protection = serialization.BestAvailableEncryption(b"secret")
        key = SERVER.key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, protection)
        self.write("server.key", key)
        self.assertIn("server.key: the key is encrypted", self.complaint(self.open_door))

    def test_key_that_cannot_sign(self) -> None:
        """A key for key agreement only."""
        key = x25519.X25519PrivateKey.generate()
        plain = serialization.NoEncryption()
        self.write("server.key", key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, plain))
        self.assertIn("server.key: not a kind of key", self.complaint(self.open_door))

    def test_another_key(self) -> None:
        """A key that is good, of somebody else."""
        self.write(
            "server.key", Identity(SERVER.certificate, ec.generate_private_key(ec.SECP256R1())).key_pem()
        )
        self.assertIn("server.key: not the key of the certificate in", self.complaint(self.open_door))

    def test_no_authorities_to_check_against(self) -> None:
        """Requiring certificates of nobody in particular is a mistake, not a policy."""
        self.assertIn("require_certificate", self.complaint(replace(self.mutual, cafile=None)))

    def test_capath_that_is_no_folder(self) -> None:
        """OpenSSL would take any string for a folder and find nothing in it."""
        files = replace(self.mutual, capath=self.path("ca.crt"))
        self.assertIn("ca.crt: not a folder", self.complaint(files))

    def test_unknown_ciphers(self) -> None:
        """A list that leaves nothing."""
        for option in ("ciphers", "ciphers_tls13"):
            files = replace(self.open_door, **{option: "ROT13"})  # type: ignore[arg-type]  # see the tuple
            self.assertIn("ROT13", self.complaint(files))


class DescribeTests(SynchronousTestCase):
    """What the log says about a failed connection."""

    def test_other_errors_are_not_described(self) -> None:
        """Only TLS's own errors are explained here."""
        self.assertIsNone(describe_tls_error(ConnectionError("gone")))

    def test_error_without_a_queue_is_named_by_its_kind(self) -> None:
        """OpenSSL may fail without saying why."""
        self.assertEqual(describe_tls_error(SSL.Error([])), "Error")
        self.assertEqual(describe_tls_error(SSL.ZeroReturnError()), "ZeroReturnError")
