"""
``pushctl first-run``: what ``make run`` needs before the server starts, and what to try when it has.

Makes certificates and one user with a random password, both only where there are none, and prints three
commands. The password stays readable in ``conf/first-user``, so that later starts can print it again; who has
taken conf/passwd into their own hands is shown a place to fill in instead.

The ports and paths below are those of conf/pushd.conf; a test holds the two together.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from pushd.auth.password_file import PasswordFile
from pushd.auth.password_hash import make_pbkdf2
from pushd.auth.security_file import SecurityFileError
from pushd.ctl.authority import CertsError
from pushd.ctl.certs import CertificateFolder

CERTS = Path("certs")
PASSWORDS = Path("conf/passwd")
FIRST_USER = Path("conf/first-user")

ADDRESS = "127.0.0.1"
MQTT_PORT = 1883
TLS_PORT = 8883
HTTP_PORT = 8080

DEVICE = "phone1"
USER = "me"
PASSWORD_BYTES = 18  # of randomness: 24 characters, without padding

GREETING = f"""\
pushd listens on {ADDRESS}: {MQTT_PORT} MQTT, {TLS_PORT} MQTT with device certificates, {HTTP_PORT} HTTP.
Try, in another terminal in {{folder}}:

  mosquitto_sub -h {ADDRESS} -p {TLS_PORT} --cafile {CERTS}/ca.crt --cert {CERTS}/{DEVICE}.crt \
--key {CERTS}/{DEVICE}.key -i {DEVICE} -c -q 1 -t alerts -v

  curl -u {{login}} -d 'hello' 'http://{ADDRESS}:{HTTP_PORT}/alerts?qos=1'

  curl http://{ADDRESS}:{HTTP_PORT}/v1/health
"""


def make_certificates(now: datetime) -> None:
    """
    An authority, the server's certificate and one device's, as far as they are missing.

    :raises CertsError: the folder holds something else under their names.
    """
    folder = CertificateFolder(CERTS, now)
    folder.prepare()
    if not folder.has_device(DEVICE):
        folder.add_device(DEVICE)


def make_user() -> str:
    """
    A password file with one user, unless there is a password file.

    The clear password is written first: an interruption between the two leaves a password that the
    next run will hash, not a hash whose password nobody knows.

    :return: the login for ``curl -u``; with a word to replace if the password is not known here.
    """
    if not PASSWORDS.exists():
        if not FIRST_USER.exists():
            _write_private(FIRST_USER, f"{USER}:{secrets.token_urlsafe(PASSWORD_BYTES)}\n")
        name, _, password = FIRST_USER.read_text().strip().partition(":")
        _write_private(PASSWORDS, f"{name}:{make_pbkdf2(password.encode())}\n")
    return _known_login() or "USER:PASSWORD"


def _known_login() -> str | None:
    """What conf/first-user says, if it still opens the door."""
    if not FIRST_USER.exists():
        return None
    login = FIRST_USER.read_text().strip()
    name, _, password = login.partition(":")
    expected = PasswordFile.read(PASSWORDS).find(name)
    return login if expected is not None and expected.verify(password.encode()) else None


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def main(argv: Sequence[str]) -> int:
    """
    :param argv: what follows ``pushctl first-run``: nothing.
    :return: the exit status.
    """
    argparse.ArgumentParser(
        prog="pushctl first-run",
        description="Make certificates and a user in this folder, where there are none; show what to try.",
    ).parse_args(argv)
    try:
        make_certificates(datetime.now(timezone.utc))
        login = make_user()
    except (CertsError, SecurityFileError, OSError) as problem:
        print(f"pushctl first-run: {problem}", file=sys.stderr)
        return 1
    print(GREETING.format(folder=Path.cwd(), login=login), flush=True)
    return 0
