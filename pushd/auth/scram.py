"""
Who are you, without sending the password: SCRAM-SHA-256 (RFC 5802, RFC 7677), in version 5's enhanced
authentication (v5 §4.12).

    client                                             server
    n,,n=anna,r=<nonce>                          ──▶
                                                 ◀──   r=<nonce><ours>,s=<salt>,i=<rounds>
    c=biws,r=<nonce><ours>,p=<proof>             ──▶
                                                 ◀──   v=<the server's own proof>

The first stands in the CONNECT, or in the AUTH that asks for re-authentication; the last in the CONNACK, or
in an AUTH with Success. Proofs are made from the password's salted hash and all that was said, so that
whoever changes a word or pretends to be the server gains nothing by it; whoever listens has to guess
passwords, each at the cost of all rounds.

Only the client computes for long; our part is a few HMACs and needs no thread. Channel binding would be
another method, ``SCRAM-SHA-256-PLUS``; who asks for it here (``p=``) is refused.

A user name in the CONNECT must be the same as in the first message, or the answer is *not authorized* at
once; a password there is not looked at.

Failures count like those of passwords (`pushd.auth.failures`); while too many are remembered no proof is
looked at.

Users come from the password file, if they have a ``$scram-sha-256$`` hash there. Everybody else is given a
salt and a number of rounds as well, and hears at the end what a wrong password hears; so nobody finds out by
asking who exists, nor who can use SCRAM.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable
from enum import IntEnum

from twisted.logger import Logger
from zope.interface import implementer

from pushd.auth.failures import Attempt, LoginFailures
from pushd.auth.password_file import PasswordFile
from pushd.auth.password_hash import DEFAULT_ITERATIONS, SALT_BYTES, SCRAM_KEY_BYTES, ScramHash
from pushd.auth.saslprep import saslprep
from pushd.broker.interfaces import AuthStep, Credentials, IAuthExchange, IAuthMethod
from pushd.mqtt.codes import ReasonCode

log = Logger()

# A message has a name, two nonces, and at most a few extensions. Preparing a name of this length costs some
# milliseconds if it is not plain ASCII; that is the most that a stranger can make us do.
MAX_MESSAGE_BYTES = 1024

NONCE_BYTES = 18  # of randomness; 24 characters

# Stand-in salts must be the same whenever a name is tried, through whichever listener, and unforeseeable.
STAND_IN_KEY = os.urandom(32)

# RFC 5802 §7. A value has no comma and no NUL; "m" announces an extension that must not be ignored, so it has
# no place among those that are.
_NONCE = r"[!-+\--~]+"
_EXTENSIONS = r"(?:,[A-Za-ln-z]=[^\0,]+)*"
CLIENT_FIRST = re.compile(
    r"(?P<header>[ny],(?:a=(?P<acts_for>(?:[^\0,=]|=2C|=3D)+))?,)"
    rf"(?P<bare>n=(?P<name>(?:[^\0,=]|=2C|=3D)+),r=(?P<nonce>{_NONCE}){_EXTENSIONS})"
)
CLIENT_FINAL = re.compile(
    rf"(?P<without_proof>c=(?P<binding>[^\0,]+),r=(?P<nonce>{_NONCE}){_EXTENSIONS}),p=(?P<proof>[^\0,]+)"
)


class Stage(IntEnum):
    """What an exchange waits for. Each message moves it on by one, or to the end."""

    CLIENT_FIRST = 0
    CLIENT_FINAL = 1
    OVER = 2


class _Failed(Exception):
    """The exchange ends without success. The text is for our log; the client is not told."""


def make_nonce() -> str:
    """Our half of the nonce: fresh randomness, without a comma."""
    return secrets.token_urlsafe(NONCE_BYTES)


@implementer(IAuthMethod)
class ScramMethod:
    """Checks clients against a `PasswordFile`, which a reload may replace."""

    name = "SCRAM-SHA-256"

    def __init__(
        self,
        password_file: PasswordFile | None,
        failures: LoginFailures,
        make_nonce: Callable[[], str] = make_nonce,
    ) -> None:
        """
        :param password_file: ``None`` for no file: then there are no users.
        """
        self._password_file = password_file
        self.failures = failures
        self.make_nonce = make_nonce

    def replace(self, password_file: PasswordFile | None) -> None:
        """Use this file from now on, also for exchanges that have begun."""
        self._password_file = password_file

    def begin(self, credentials: Credentials) -> ScramExchange:
        """See `IAuthMethod`."""
        return ScramExchange(self, credentials)

    def find(self, username: str) -> ScramHash | None:
        """What this user's client has to prove; ``None`` if there is no such user, or only another hash."""
        found = None if self._password_file is None else self._password_file.find(username)
        return found if isinstance(found, ScramHash) else None

    def stand_in(self, username: str) -> ScramHash:
        """
        What a user who is not here might have, the same at each attempt: as many rounds, and a salt as long,
        as somebody who is here. Nobody knows a password for it.
        """
        name = username.encode()
        choice = int.from_bytes(_hmac(STAND_IN_KEY, b"choice" + name)[:8], "big")
        models = () if self._password_file is None else self._password_file.scram_hashes
        model = models[choice % len(models)] if models else None
        length = SALT_BYTES if model is None else len(model.salt)
        return ScramHash(
            iterations=DEFAULT_ITERATIONS if model is None else model.iterations,
            salt=hashlib.shake_256(_hmac(STAND_IN_KEY, b"salt" + name)).digest(length),
            stored_key=_hmac(STAND_IN_KEY, b"stored" + name),
            server_key=_hmac(STAND_IN_KEY, b"server" + name),
        )


@implementer(IAuthExchange)
class ScramExchange:
    """
    The server's side of one run: a message in, a message out.

    Whatever is wrong with a message, the answer is *not authorized*, and the exchange is over.
    """

    __slots__ = ("_credentials", "_first", "_hash", "_header", "_method", "_nonce", "_stage", "_username")

    def __init__(self, method: ScramMethod, credentials: Credentials) -> None:
        self._method = method
        self._credentials = credentials
        self._stage = Stage.CLIENT_FIRST
        self._header = ""  # the client's, as it must come again in its second message
        self._nonce = ""  # both halves
        self._first = ""  # both first messages, as the proofs cover them
        self._username = ""
        self._hash: ScramHash | None = None

    def step(self, data: bytes | None) -> AuthStep:
        """See `IAuthExchange`. Never raises an exception, and never answers later."""
        stage, self._stage = self._stage, Stage.OVER
        try:
            answer, self._stage = _ANSWERS[stage](self, _text(data))
            return answer
        except _Failed as failure:
            log.debug(
                "{method} of {id} ({address}) failed: {cause}",
                method=self._method.name,
                id=self._credentials.client_id,
                address=self._credentials.address,
                cause=failure,
            )
            return AuthStep(self._method.failures.fail(self._attempt(), self._method.name))

    def _attempt(self) -> Attempt:
        """
        Every proof is another one, so all attempts of a user from one address look like the same. They are
        limited nevertheless, but by themselves: a device with an old password does not lock its neighbours.
        """
        username = self._username or self._credentials.username or ""
        return self._method.failures.attempt(self._credentials, username, self._method.name.encode())

    def _on_client_first(self, text: str) -> tuple[AuthStep, Stage]:
        message = CLIENT_FIRST.fullmatch(text)
        if message is None:
            raise _Failed("malformed, an extension that we do not have, or channel binding")
        self._username = _name(message["name"])
        self._check_identity(message["acts_for"])
        self._header = message["header"]
        self._nonce = message["nonce"] + self._method.make_nonce()
        self._hash = self._method.find(self._username) or self._method.stand_in(self._username)
        ours = f"r={self._nonce},s={_base64(self._hash.salt)},i={self._hash.iterations}"
        self._first = f"{message['bare']},{ours}"
        return AuthStep(ReasonCode.CONTINUE_AUTHENTICATION, ours.encode()), Stage.CLIENT_FINAL

    def _check_identity(self, acts_for: str | None) -> None:
        """One client is one user: in the CONNECT, where an empty name is none, and by whichever name here."""
        if acts_for is not None and _name(acts_for) != self._username:
            raise _Failed("to act for another user")
        if self._credentials.username and self._credentials.username != self._username:
            raise _Failed("not the user name of the CONNECT")

    def _on_client_final(self, text: str) -> tuple[AuthStep, Stage]:
        failures, attempt = self._method.failures, self._attempt()
        if lock_s := failures.source_lock_s(attempt) or failures.user_lock_s(attempt):
            return AuthStep(failures.back_off(attempt, lock_s)), Stage.OVER
        message = CLIENT_FINAL.fullmatch(text)
        if message is None:
            raise _Failed("malformed")
        if message["binding"] != _base64(self._header.encode()):
            raise _Failed("another header than in the first message, or channel binding")
        if message["nonce"] != self._nonce:
            raise _Failed("another nonce")
        all_said = f"{self._first},{message['without_proof']}".encode()
        proof = self._server_proof(all_said, _decoded(message["proof"]))
        return AuthStep(failures.succeed(attempt), proof, self._username), Stage.OVER

    def _server_proof(self, all_said: bytes, client_proof: bytes) -> bytes:
        """
        :return: the last message, for a client that has proved itself (RFC 5802 §3).
        """
        expected = self._hash
        assert expected is not None  # the first message has left it here
        signature = _hmac(expected.stored_key, all_said)
        if not hmac.compare_digest(_stored_key(signature, client_proof), expected.stored_key):
            raise _Failed("no such user, no hash for SCRAM, or a wrong password")
        if self._method.find(self._username) != expected:
            raise _Failed("the password was changed meanwhile")
        return f"v={_base64(_hmac(expected.server_key, all_said))}".encode()

    def _on_anything(self, text: str) -> tuple[AuthStep, Stage]:
        raise _Failed("it is over")


# What is done with the client's message at each stage.
_ANSWERS: dict[Stage, Callable[[ScramExchange, str], tuple[AuthStep, Stage]]] = {
    Stage.CLIENT_FIRST: ScramExchange._on_client_first,
    Stage.CLIENT_FINAL: ScramExchange._on_client_final,
    Stage.OVER: ScramExchange._on_anything,
}


def _text(data: bytes | None) -> str:
    if data is None or len(data) > MAX_MESSAGE_BYTES:
        raise _Failed("no Authentication Data, or too much of it")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _Failed("not UTF-8") from None


def _name(escaped: str) -> str:
    """A user name as it stands in the password file (RFC 5802 §5.1)."""
    try:
        return saslprep(escaped.replace("=2C", ",").replace("=3D", "="))
    except ValueError as problem:
        raise _Failed(f"user name: {problem}") from None


def _stored_key(signature: bytes, client_proof: bytes) -> bytes:
    """What our StoredKey is if the proof is good: the hash of the ClientKey that the proof hides."""
    client_key = bytes(one ^ other for one, other in zip(signature, client_proof, strict=True))
    return hashlib.sha256(client_key).digest()


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decoded(proof: str) -> bytes:
    try:
        decoded = base64.b64decode(proof, validate=True)
    except (binascii.Error, ValueError):
        raise _Failed("a proof that is not base64") from None
    if len(decoded) != SCRAM_KEY_BYTES or _base64(decoded) != proof:
        raise _Failed("a proof of another length, or one that can be written otherwise")
    return decoded
