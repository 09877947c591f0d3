"""
``pushctl certs``: a development authority in a folder, and the certificates it issues.

    certs/ca.crt  ca.key          the authority: give ca.crt to devices, keep ca.key from everybody
    certs/ca.crl                  what was revoked; the server's ``crlfile``, there from the start
    certs/server.crt  server.key  the server's ``certfile`` and ``keyfile``
    certs/NAME.crt  NAME.key      one pair for each device; NAME becomes its MQTT user name

Nothing that exists is overwritten, except the list (replaced whole) and the pair of a device whose
certificate was revoked or has run out. Private keys are created with mode 0600: others can never read them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pushd.ctl.authority import (
    AUTHORITY_DAYS,
    LEAF_DAYS,
    CertsError,
    Identity,
    check_device_name,
    is_revoked,
    issue_device,
    issue_server,
    make_authority,
    revocation_list,
    revoke,
    unnamed_hosts,
)

DIRECTORY = "certs"
_KEY_MODE = 0o600
_PUBLIC_MODE = 0o644


class CertificateFolder:
    """
    The folder of an authority.

    :ivar made: the paths written so far, in order; a command tells its user.
    """

    def __init__(self, path: Path, now: datetime) -> None:
        self.path = path
        self.made: list[Path] = []
        self._now = now

    def prepare(self, hosts: Iterable[str] = ()) -> None:
        """
        Make the authority, its empty revocation list and the server's certificate: those that are missing.

        :param hosts: what the server's certificate names besides this machine.
        :raises CertsError: half of a pair is missing, a file is not what its name says, or the server's
            certificate is there and does not name a host.
        """
        hosts = tuple(hosts)
        self.path.mkdir(parents=True, exist_ok=True)
        authority = self._load_pair("ca") or self._write_pair("ca", make_authority(self._now))
        if not self._list_path.exists():
            self._write_list(revocation_list(authority, self._now))
        server = self._load_pair("server") or self._write_pair(
            "server", issue_server(authority, hosts, self._now)
        )
        if unnamed := unnamed_hosts(server.certificate, hosts):
            path = self._certificate_path("server")
            raise CertsError(
                f"{path} does not name {', '.join(unnamed)}; remove it and its key to make it anew"
            )

    def has_device(self, name: str) -> bool:
        """Whether device `name` has a certificate that still works."""
        pair = self._load_pair(check_device_name(name))
        return pair is not None and not self._is_dead(pair.certificate)

    def add_device(self, name: str, days: int = LEAF_DAYS) -> None:
        """
        Issue a certificate to device `name`.

        :raises CertsError: the name is refused, or the device has a certificate that still works.
        """
        if self.has_device(name):
            raise CertsError(
                f"{self._certificate_path(name)} exists and is valid; revoke it first to replace it"
            )
        self._remove_pair(name)
        self._write_pair(name, issue_device(self._authority(), name, self._now, days))

    def revoke_device(self, name: str) -> None:
        """
        Put the certificate of device `name` on the list.

        :raises CertsError: there is no such device, or its certificate is on the list already.
        """
        pair = self._load_pair(check_device_name(name))
        if pair is None:
            raise CertsError(f"{self._certificate_path(name)}: no such certificate")
        authority, listed = self._authority(), self._load_list()
        if is_revoked(listed, pair.certificate):
            raise CertsError(f"{self._certificate_path(name)} is revoked already")
        self._write_list(revoke(authority, listed, pair.certificate, self._now))

    def _is_dead(self, certificate: x509.Certificate) -> bool:
        return certificate.not_valid_after_utc <= self._now or is_revoked(self._load_list(), certificate)

    def _authority(self) -> Identity:
        authority = self._load_pair("ca")
        if authority is None:
            raise CertsError(
                f"{self._certificate_path('ca')}: no authority here; run `pushctl certs init` first"
            )
        return authority

    def _load_pair(self, name: str) -> Identity | None:
        """:return: ``None`` if neither file of the pair exists."""
        certificate, key = self._certificate_path(name), self._key_path(name)
        if not certificate.exists() and not key.exists():
            return None
        for path, other in ((certificate, key), (key, certificate)):
            if not path.exists():
                raise CertsError(f"{path} is missing and {other} is there; remove that to make both anew")
        identity = Identity(_load_certificate(certificate), _load_key(key))
        if identity.certificate.public_key() != identity.key.public_key():
            raise CertsError(f"{certificate} and {key} do not belong together")
        return identity

    def _write_pair(self, name: str, identity: Identity) -> Identity:
        self._write_new(self._key_path(name), identity.key_pem(), _KEY_MODE)
        self._write_new(self._certificate_path(name), identity.certificate_pem(), _PUBLIC_MODE)
        return identity

    def _remove_pair(self, name: str) -> None:
        """The certificate goes first: a key alone is reported as half a pair, never used."""
        self._certificate_path(name).unlink(missing_ok=True)
        self._key_path(name).unlink(missing_ok=True)

    def _load_list(self) -> x509.CertificateRevocationList:
        try:
            return x509.load_pem_x509_crl(_read(self._list_path))
        except ValueError:
            raise CertsError(f"{self._list_path}: not a revocation list in PEM") from None

    def _write_list(self, revoked: x509.CertificateRevocationList) -> None:
        """Replace the list in one step: a server that reloads sees the old one or the new one."""
        draft = self._list_path.with_suffix(".crl.new")
        draft.unlink(missing_ok=True)
        self._write_new(draft, revoked.public_bytes(serialization.Encoding.PEM), _PUBLIC_MODE)
        draft.replace(self._list_path)
        self.made[-1] = self._list_path

    def _write_new(self, path: Path, content: bytes, mode: int) -> None:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
        self.made.append(path)

    # Not `with_suffix`: a device may be called "v1.2".
    def _certificate_path(self, name: str) -> Path:
        return self.path / f"{name}.crt"

    def _key_path(self, name: str) -> Path:
        return self.path / f"{name}.key"

    @property
    def _list_path(self) -> Path:
        return self.path / "ca.crl"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CertsError(f"{path} is missing") from None


def _load_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(_read(path))
    except ValueError:
        raise CertsError(f"{path}: not a certificate in PEM") from None


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except TypeError:
        raise CertsError(
            f"{path}: the key is encrypted; pushctl keeps its keys unencrypted, mode 0600"
        ) from None
    except ValueError:
        raise CertsError(f"{path}: not a private key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertsError(f"{path}: not an elliptic curve key, so not one that pushctl made")
    return key


def _days(text: str) -> int:
    """An argparse type. A device certificate cannot outlive an authority of the same day."""
    days = int(text)
    if not 1 <= days <= AUTHORITY_DAYS:
        raise argparse.ArgumentTypeError(f"{days} is not between 1 and {AUTHORITY_DAYS}")
    return days


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--directory", type=Path, default=Path(DIRECTORY), help="default: %(default)s")
    parser = argparse.ArgumentParser(prog="pushctl certs", description="Certificates for development.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    init = actions.add_parser("init", parents=[common], help="make an authority and a server certificate")
    init.add_argument(
        "--host",
        action="append",
        default=[],
        help="a name or address of the server besides localhost; repeatable",
    )
    device = actions.add_parser("device", parents=[common], help="issue a certificate to a device")
    device.add_argument("name", metavar="NAME", help="becomes its MQTT user name")
    device.add_argument("--days", type=_days, default=LEAF_DAYS, help="of validity; default: %(default)s")
    revoking = actions.add_parser("revoke", parents=[common], help="put a device's certificate on ca.crl")
    revoking.add_argument("name", metavar="NAME")
    return parser


def _perform(folder: CertificateFolder, options: argparse.Namespace) -> None:
    if options.action == "init":
        folder.prepare(options.host)
    elif options.action == "device":
        folder.add_device(options.name, options.days)
    else:
        folder.revoke_device(options.name)


def main(argv: Sequence[str]) -> int:
    """
    :param argv: what follows ``pushctl certs``.
    :return: the exit status.
    """
    options = _parser().parse_args(argv)
    folder = CertificateFolder(options.directory, datetime.now(timezone.utc))
    try:
        _perform(folder, options)
    except (CertsError, OSError) as problem:
        print(f"pushctl certs: {problem}", file=sys.stderr)
        return 1
    for path in folder.made:
        print(f"wrote {path}")
    if options.action == "revoke":
        print("reload the server to let it know (SIGHUP)")
    if not folder.made:
        print(f"{options.directory} is complete; nothing was changed")
    return 0
