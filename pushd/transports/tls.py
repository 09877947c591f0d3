"""
TLS for listeners: files in, one OpenSSL context for all connections of a listener out.

Semantics are Mosquitto's: a client certificate is asked for only with ``require_certificate``, and then the
connection fails without a good one. Beyond Mosquitto, everything that is read at the start is read again at a
reload, ``cafile`` and ``capath`` too, and nothing takes effect unless all of it is good.

A context is never changed after its first connection: a reload builds a new one and swaps it in. Connections
live on with the context they started with. Tickets of the old context die with it, so that a device that was
just revoked cannot resume its way in: session resumption skips the verification of certificates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from OpenSSL import SSL
from OpenSSL.crypto import X509, X509StoreFlags
from OpenSSL.SSL import X509VerificationCodes as Codes
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

MINIMUM_VERSIONS = {"tlsv1.2": SSL.TLS1_2_VERSION, "tlsv1.3": SSL.TLS1_3_VERSION}

# OpenSSL's own choice and order (forward secrecy and AEAD first), less what identifies nobody. A narrow list
# would lock out devices in the field that work with Mosquitto; `ciphers` is there for those who want one.
DEFAULT_CIPHERS = "DEFAULT:!aNULL:!eNULL"

# Renegotiation (TLS 1.2) lets a peer make the server work for nothing; compression leaks (CRIME).
_OPTIONS = SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE

# What an operator reads in the log when a device is turned away; the rest is shown by number.
_REFUSALS = {
    Codes.ERR_CERT_HAS_EXPIRED: "it has expired",
    Codes.ERR_CERT_NOT_YET_VALID: "it is not valid yet",
    Codes.ERR_CERT_REVOKED: "it is revoked",
    Codes.ERR_UNABLE_TO_GET_CRL: "its authority has no revocation list in crlfile",
    Codes.ERR_CRL_HAS_EXPIRED: "the revocation list has expired",
    Codes.ERR_UNABLE_TO_GET_ISSUER_CERT: "its authority is not in cafile or capath",
    Codes.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its authority is not in cafile or capath",
    Codes.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its authority is not in cafile or capath",
    Codes.ERR_CERT_SIGNATURE_FAILURE: "its signature is not its authority's",
    Codes.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: "it is self-signed",
    Codes.ERR_SELF_SIGNED_CERT_IN_CHAIN: "its authority is not in cafile or capath",
    Codes.ERR_INVALID_PURPOSE: "it is not for TLS clients",
}

# What OpenSSL says of clients that have the wrong port.
_NOT_TLS = {
    "wrong version number": "what it sent is not TLS",
    "http request": "it sent HTTP, not TLS",
}

_SigningKey: TypeAlias = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)

_CRL_BLOCK = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)


class TlsFileError(Exception):
    """A certificate, key or list that cannot be used; the text names the file and says why."""


class CertificateRefused(SSL.Error):
    """
    A client's certificate did not pass; OpenSSL by itself would only say "certificate verify failed".

    Twisted looks into OpenSSL's errors, so it has their shape: a list of (library, function, reason).
    """

    def __init__(self, code: int, depth: int, serial: int) -> None:
        whose = "its certificate" if depth == 0 else f"the certificate {depth} above its own"
        number = f"{serial:x}"[:40]  # 20 octets (RFC 5280 §4.1.2.2), but who knows what was sent
        reason = _REFUSALS.get(code, f"verification error {code}")
        super().__init__([("pushd", "verify", f"{whose} (serial {number}) was refused: {reason}")])


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What a TLS listener is made of: values as in the settings file, `None` where there is no line."""

    certfile: str  # PEM, the server's own first, then its chain
    keyfile: str  # PEM, not encrypted
    cafile: str | None = None  # PEM, any number; the authorities of client certificates
    capath: str | None = None  # the same as a folder of files named by hash (`openssl rehash`)
    require_certificate: bool = False
    crlfile: str | None = None  # PEM, any number of lists
    tls_version: str = "tlsv1.2"  # the lowest to accept, a key of MINIMUM_VERSIONS
    ciphers: str | None = None  # OpenSSL's list, for TLS 1.2
    ciphers_tls13: str | None = None
    alpn: bytes = b"mqtt"  # the protocol to agree on, if the client offers it


@implementer(IOpenSSLServerConnectionCreator)
class TlsContextFactory:
    """
    The current context of one listener.

    A service that must not read files in the reactor's thread calls `build_context` in another and
    hands the result to `use`; `reload` does both at once.
    """

    def __init__(self, files: TlsFiles, context: SSL.Context | None = None) -> None:
        """
        :param context: built from these files, if that was done already.
        :raises TlsFileError: a file cannot be used.
        """
        self.files = files
        self._context = context or build_context(files)

    def reload(self, files: TlsFiles | None = None) -> None:
        """
        Read everything again; new connections get it, existing ones live on.

        :param files: other files from now on, if the settings name others.
        :raises TlsFileError: a file cannot be used; everything stays as it was.
        """
        files = files or self.files
        self.use(files, build_context(files))

    def use(self, files: TlsFiles, context: SSL.Context) -> None:
        """Give new connections this context, built from these files."""
        self.files, self._context = files, context

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Twisted asks this once for each connection."""
        return SSL.Connection(self._context, None)


class TlsFactory(TLSMemoryBIOFactory):
    """
    Wraps a protocol factory for ``listenTCP``: ``TlsFactory(TlsContextFactory(files), False, factory)``.

    Twisted's default protocol collects small writes for one turn of the reactor. Ours flush once per turn
    themselves, so that collector would only cost memory and a timer for each write.
    """

    protocol = TLSMemoryBIOProtocol


def build_context(files: TlsFiles) -> SSL.Context:
    """
    Read all files and make a context of them.

    :raises TlsFileError: a file is missing, unreadable, not PEM, or does not fit the others.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(MINIMUM_VERSIONS[files.tls_version])
    context.set_options(_OPTIONS)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # idle connections keep no record buffers, 34 KiB each
    _set_sessions(context)
    _set_ciphers(context, files)
    _set_identity(context, files)
    if files.require_certificate:
        _require_certificates(context, files)
    if files.crlfile is not None:
        _check_revocation(context, files.crlfile)
    context.set_alpn_select_callback(lambda _, offered: _choose(files.alpn, offered))
    return context


def read_revoked(crlfile: str) -> frozenset[tuple[bytes, int]]:
    """
    The certificates on revocation lists: the name of the issuer (as DER) and the serial number of each.
    OpenSSL looks at the lists in handshakes only; this is for connections that are open already.

    :raises TlsFileError: the file cannot be read, or is no list.
    """
    revoked: set[tuple[bytes, int]] = set()
    for crl in _read_lists(crlfile):
        issuer = crl.issuer.public_bytes()
        revoked.update((issuer, entry.serial_number) for entry in crl)
    return frozenset(revoked)


def peer_certificate(transport: object) -> x509.Certificate | None:
    """
    The certificate that the client of a TLS transport showed.

    Only listeners that require one ask for it, and such a handshake fails unless it verifies: what
    this returns was verified. Resumed connections have it too.

    :return: ``None`` for a client without one, and for a transport without TLS.
    """
    get_handle = getattr(transport, "getHandle", None)
    handle = get_handle() if get_handle is not None else None
    if not isinstance(handle, SSL.Connection):
        return None
    return handle.get_peer_certificate(as_cryptography=True)


def describe_tls_error(error: BaseException | None) -> str | None:
    """
    Why a TLS connection failed, for a log line.

    :return: ``None`` if `error` is not TLS's; never text that the peer chose.
    """
    if not isinstance(error, SSL.Error):
        return None
    queue = error.args[0] if error.args else None
    reasons = [entry[2] for entry in queue] if isinstance(queue, list) else []
    return "; ".join(_NOT_TLS.get(reason, reason) for reason in reasons if reason) or type(error).__name__


def _set_sessions(context: SSL.Context) -> None:
    """
    Let devices resume by ticket, which the client keeps.

    The server's own cache would hold up to 20 480 sessions, each with its client's certificate, for the
    same effect. OpenSSL refuses to resume at all with client certificates unless an id context is set.
    """
    context.set_session_id(b"pushd")
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)


def _set_ciphers(context: SSL.Context, files: TlsFiles) -> None:
    try:
        context.set_cipher_list((files.ciphers or DEFAULT_CIPHERS).encode())
        if files.ciphers_tls13 is not None:
            context.set_tls13_ciphersuites(files.ciphers_tls13.encode())
    except SSL.Error as error:
        given = files.ciphers if files.ciphers_tls13 is None else f"{files.ciphers} and {files.ciphers_tls13}"
        raise TlsFileError(f"no usable ciphers in {given}: {describe_tls_error(error)}") from error


def _set_identity(context: SSL.Context, files: TlsFiles) -> None:
    own, *chain = _read_certificates(files.certfile)
    key = _read_key(files.keyfile)
    if own.public_key() != key.public_key():
        raise TlsFileError(f"{files.keyfile}: not the key of the certificate in {files.certfile}")
    try:
        context.use_certificate(own)
        for certificate in chain:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(key)
    except SSL.Error as error:  # a key that is too short, say
        raise TlsFileError(f"{files.certfile}: {describe_tls_error(error)}") from error


def _require_certificates(context: SSL.Context, files: TlsFiles) -> None:
    """
    Fail handshakes without a certificate of one of the authorities.

    Their names are sent along: a phone with several certificates picks the right one by them.
    """
    if files.cafile is None and files.capath is None:
        raise TlsFileError(
            "require_certificate: no authority to check against, neither cafile nor capath is set"
        )
    for authority in _read_certificates(files.cafile) if files.cafile is not None else ():
        context.add_client_ca(authority)
    if files.capath is not None and not Path(files.capath).is_dir():
        raise TlsFileError(f"{files.capath}: not a folder")
    try:
        context.load_verify_locations(files.cafile, files.capath)
    except SSL.Error as error:
        raise TlsFileError(f"{files.cafile or files.capath}: {describe_tls_error(error)}") from error
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verify)


def _check_revocation(context: SSL.Context, crlfile: str) -> None:
    """The leaf must not be on its authority's list, and the list must be there (as in Mosquitto)."""
    store = context.get_cert_store()
    assert store is not None  # a context that was just made has one
    for crl in _read_lists(crlfile):
        store.add_crl(crl)
    store.set_flags(X509StoreFlags.CRL_CHECK)


def _read_lists(crlfile: str) -> list[x509.CertificateRevocationList]:
    """:return: at least one."""
    blocks = _CRL_BLOCK.findall(_read(crlfile))
    if not blocks:
        raise TlsFileError(f"{crlfile}: no revocation list in it")
    try:
        return [x509.load_pem_x509_crl(block) for block in blocks]
    except ValueError as error:
        raise TlsFileError(f"{crlfile}: {error}") from error


def _verify(connection: SSL.Connection, certificate: X509, code: int, depth: int, ok: int) -> bool:
    """OpenSSL's verdict stands; raising instead of returning it keeps the reason for the log."""
    if not ok:
        raise CertificateRefused(code, depth, certificate.get_serial_number())
    return True


def _choose(protocol: bytes, offered: Iterable[bytes]) -> bytes | SSL._NoOverlappingProtocols:
    """A client that offers only others goes on without ALPN: what it speaks will show soon enough."""
    return protocol if protocol in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise TlsFileError(f"{path}: {error.strerror}") from error


def _read_certificates(path: str) -> list[x509.Certificate]:
    """:return: at least one."""
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError as error:
        raise TlsFileError(f"{path}: no certificate in PEM in it ({error})") from error


def _read_key(path: str) -> _SigningKey:
    """Parsed here rather than by OpenSSL, which would ask the terminal for a pass phrase."""
    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except TypeError as error:
        raise TlsFileError(
            f"{path}: the key is encrypted; pushd asks for no pass phrase, decrypt it"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TlsFileError(f"{path}: no private key in PEM in it") from error
    if not isinstance(key, _SigningKey):
        raise TlsFileError(f"{path}: not a kind of key that TLS signs with")
    return key
