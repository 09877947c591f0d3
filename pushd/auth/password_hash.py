"""
The password hashes of Mosquitto's tools, and one for SCRAM: read, check, make.

    $6$<salt>$<digest>
        SHA-512 of the password, then the salt; Mosquitto up to 1.6
    $7$<iterations>$<salt>$<digest>
        PBKDF2-HMAC-SHA512; Mosquitto from 2.0 on
    $argon2id$v=19$m=<KiB>,t=<n>,p=<n>$<salt>$<digest>
        Argon2id as a PHC string; Mosquitto 2.1 when it is built with it
    $scram-sha-256$<iterations>$<salt>$<StoredKey>$<ServerKey>
        what a server keeps for SCRAM-SHA-256 (RFC 5802 §3, RFC 7677); not known to Mosquitto

The fields of the last are those of RFC 5803, which PostgreSQL keeps too; but the colons that stand between
them there would end the hash in a password file, and a name in front between dollars is how the others begin.

Salt, digest and keys are base64, without padding in Argon2's and with it elsewhere. A digest of the first two
has 64 bytes, a key 32; a salt has 12 bytes up to Mosquitto 2.0 and 64 from 2.1 on, and any length is read.

An account (`pushd.people`) may have another one, until its first login:

    $md5$<salt>$<digest>
        MD5 of the password, then the salt, as 32 hexadecimal digits; the salt is text as it stands. It is
        only read: such an account gets an Argon2id hash as soon as its password is known

Checking is slow on purpose and belongs into a thread; hashlib and argon2-cffi let go of the interpreter's
lock.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from dataclasses import dataclass
from typing import TypeAlias

from argon2.exceptions import VerifyMismatchError
from argon2.low_level import Type, hash_secret, verify_secret

from pushd.auth.saslprep import saslprep

# Twenty times what Mosquitto 2.1 writes (2.0 wrote 101), about 10 ms of one core. The 210,000 that OWASP
# gives for people's passwords would hold 10,000 devices that come back after a restart up for many minutes;
# whose passwords people choose takes Argon2id, or more with ``-I``.
DEFAULT_ITERATIONS = 20_000

# What RFC 7677 §4 wants at least. Here it is the client who computes, at each login or once.
MIN_SCRAM_ITERATIONS = 4096

# A typing error must not occupy a thread for hours: 10 million rounds take some seconds.
MAX_ITERATIONS = 10_000_000

# Mosquitto's choice, and the first line of OWASP's list: 46 MiB, one pass, one lane.
ARGON2_MEMORY_KIB = 47_104
ARGON2_PASSES = 1
ARGON2_LANES = 1
ARGON2_VERSION = 19
ARGON2_SALT_BYTES = 64
ARGON2_DIGEST_BYTES = 64

MAX_ARGON2_MEMORY_KIB = 1024 * 1024  # two threads check at once: 2 GiB
MAX_ARGON2_PASSES = 1000
MAX_ARGON2_LANES = 64

# 12 bytes are all that Mosquitto 2.0 accepts, and enough: a salt has to be unique, not secret.
SALT_BYTES = 12
DIGEST_BYTES = 64
SCRAM_KEY_BYTES = 32

MD5_PREFIX = "$md5$"
MD5_DIGEST = re.compile("[0-9A-Fa-f]{32}")
SURROGATE = re.compile("[\ud800-\udfff]")


class InvalidHash(ValueError):
    """A text that is none of these formats. The message never repeats the text."""


@dataclass(frozen=True, slots=True)
class Sha512Hash:
    """``$6$``: a single round, kept for old files. Whoever has such a file should set its passwords anew."""

    salt: bytes
    digest: bytes

    def verify(self, password: bytes) -> bool:
        """Whether this is the password, in a time that does not tell how nearly."""
        return hmac.compare_digest(self.digest, _sha512(password, self.salt))

    def __str__(self) -> str:
        return f"$6${_base64(self.salt)}${_base64(self.digest)}"


@dataclass(frozen=True, slots=True)
class Pbkdf2Hash:
    """``$7$``: PBKDF2-HMAC-SHA512 (RFC 8018 §5.2)."""

    iterations: int
    salt: bytes
    digest: bytes

    def verify(self, password: bytes) -> bool:
        """Whether this is the password, in a time that does not tell how nearly."""
        return hmac.compare_digest(self.digest, _pbkdf2(password, self.salt, self.iterations))

    def __str__(self) -> str:
        return f"$7${self.iterations}${_base64(self.salt)}${_base64(self.digest)}"


@dataclass(frozen=True, slots=True)
class Argon2idHash:
    """``$argon2id$``: the PHC string as it stands, checked for form (RFC 9106)."""

    encoded: str

    def verify(self, password: bytes) -> bool:
        """
        Whether this is the password, in a time that does not tell how nearly.

        :raises argon2.exceptions.VerificationError: it could not be computed, for lack of memory for example.
        """
        try:
            return verify_secret(self.encoded.encode("ascii"), password, Type.ID)
        except VerifyMismatchError:
            return False

    def __str__(self) -> str:
        return self.encoded


@dataclass(frozen=True, slots=True)
class ScramHash:
    """
    ``$scram-sha-256$``: lets the server check a client that proves it knows the password, and prove in turn
    that it knows this; neither ever sends the password.
    """

    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes

    def verify(self, password: bytes) -> bool:
        """Whether this is the password, in a time that does not tell how nearly: for clients that send it."""
        try:
            prepared = _prepared(password)
        except ValueError:
            return False
        stored_key, _ = _scram_keys(prepared, self.salt, self.iterations)
        return hmac.compare_digest(self.stored_key, stored_key)

    def __str__(self) -> str:
        fields = (*map(_base64, (self.salt, self.stored_key, self.server_key)),)
        return f"$scram-sha-256${self.iterations}${'$'.join(fields)}"


@dataclass(frozen=True, slots=True)
class Md5Hash:
    """``$md5$``: of the system that accounts come from. A GPU tries some 10**10 passwords in a second."""

    salt: str
    digest: bytes

    def verify(self, password: bytes) -> bool:
        """Whether this is the password, in a time that does not tell how nearly."""
        salted = password + self.salt.encode()
        return hmac.compare_digest(self.digest, hashlib.md5(salted, usedforsecurity=False).digest())

    def __str__(self) -> str:
        return f"{MD5_PREFIX}{self.salt}${self.digest.hex()}"


PasswordHash: TypeAlias = "Sha512Hash | Pbkdf2Hash | Argon2idHash | ScramHash"
AccountHash: TypeAlias = "PasswordHash | Md5Hash"


def parse_hash(encoded: str) -> PasswordHash:
    """
    Read what stands behind the colon of a password file.

    :raises InvalidHash: it is not exactly one of the formats.
    """
    match encoded.split("$"):
        case ["", "6", salt, digest]:
            return Sha512Hash(_salt(salt), _digest(digest))
        case ["", "7", iterations, salt, digest]:
            return Pbkdf2Hash(_number(iterations, MAX_ITERATIONS), _salt(salt), _digest(digest))
        case ["", "argon2id", version, costs, salt, digest]:
            _check_argon2(version, costs, salt, digest)
            return Argon2idHash(encoded)
        case ["", "scram-sha-256", iterations, salt, stored_key, server_key]:
            rounds = _number(iterations, MAX_ITERATIONS)
            keys = _digest(stored_key, SCRAM_KEY_BYTES), _digest(server_key, SCRAM_KEY_BYTES)
            return ScramHash(rounds, _salt(salt), *keys)
    raise InvalidHash("not a $6$, $7$, $argon2id$ or $scram-sha-256$ hash")


def parse_account_hash(encoded: str) -> AccountHash:
    """
    Read what stands in an account: a hash as in a password file, or ``$md5$``.

    :raises InvalidHash: it is not exactly one of the formats.
    """
    if not encoded.startswith(MD5_PREFIX):
        return parse_hash(encoded)
    salt, _, digest = encoded.removeprefix(MD5_PREFIX).rpartition("$")
    return md5_hash(salt, digest)


def md5_hash(salt: str, digest: str) -> Md5Hash:
    """
    :param digest: 32 hexadecimal digits.
    :raises InvalidHash: it is something else, or the salt is no text.
    """
    if not MD5_DIGEST.fullmatch(digest):
        raise InvalidHash("an MD5 digest that is not 32 hexadecimal digits")
    if SURROGATE.search(salt):
        raise InvalidHash("a salt that is not UTF-8")
    return Md5Hash(salt, bytes.fromhex(digest))


def make_sha512(password: bytes) -> Sha512Hash:
    """A new ``$6$`` hash, for brokers too old for anything better."""
    salt = os.urandom(SALT_BYTES)
    return Sha512Hash(salt, _sha512(password, salt))


def make_pbkdf2(password: bytes, iterations: int = DEFAULT_ITERATIONS) -> Pbkdf2Hash:
    """A new ``$7$`` hash, which every Mosquitto from 2.0 on reads."""
    salt = os.urandom(SALT_BYTES)
    return Pbkdf2Hash(iterations, salt, _pbkdf2(password, salt, iterations))


def make_argon2id(password: bytes) -> Argon2idHash:
    """A new Argon2id hash with Mosquitto's costs: 46 MiB and some 50 ms for each check."""
    salt = os.urandom(ARGON2_SALT_BYTES)
    encoded = hash_secret(
        password,
        salt,
        time_cost=ARGON2_PASSES,
        memory_cost=ARGON2_MEMORY_KIB,
        parallelism=ARGON2_LANES,
        hash_len=ARGON2_DIGEST_BYTES,
        type=Type.ID,
        version=ARGON2_VERSION,
    )
    return Argon2idHash(encoded.decode("ascii"))


def make_scram(password: bytes, iterations: int = DEFAULT_ITERATIONS) -> ScramHash:
    """
    New keys for SCRAM-SHA-256.

    :raises ValueError: the password is not UTF-8, or has a character that no client of SCRAM may send.
    """
    salt = os.urandom(SALT_BYTES)
    return ScramHash(iterations, salt, *_scram_keys(_prepared(password), salt, iterations))


def _sha512(password: bytes, salt: bytes) -> bytes:
    return hashlib.sha512(password + salt).digest()


def _pbkdf2(password: bytes, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha512", password, salt, iterations, DIGEST_BYTES)


def _scram_keys(password: bytes, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    """:return: StoredKey and ServerKey (RFC 5802 §3)."""
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256")


def _prepared(password: bytes) -> bytes:
    return saslprep(password.decode()).encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decoded(text: str) -> bytes:
    # b64decode(validate=True) lets text follow the padding; encoding again finds that and stray bits too.
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidHash("salt or digest is not base64") from None
    if _base64(data) != text:
        raise InvalidHash("salt or digest is not base64")
    return data


def _decoded_unpadded(text: str) -> bytes:
    if text.endswith("="):
        raise InvalidHash("base64 of an Argon2 hash has no padding")
    return _decoded(text + "=" * (-len(text) % 4))


def _salt(text: str) -> bytes:
    salt = _decoded(text)
    if not salt:
        raise InvalidHash("no salt")
    return salt


def _digest(text: str, length: int = DIGEST_BYTES) -> bytes:
    digest = _decoded(text)
    if len(digest) != length:
        raise InvalidHash(f"a digest of {len(digest)} bytes, not {length}")
    return digest


def _number(text: str, maximum: int) -> int:
    # int() would also take "+1", "1_000", blanks and the digits of other scripts.
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(maximum))):
        raise InvalidHash(f"not a number from 1 to {maximum}")
    if text[0] == "0" or int(text) > maximum:
        raise InvalidHash(f"not a number from 1 to {maximum}")
    return int(text)


def _check_argon2(version: str, costs: str, salt: str, digest: str) -> None:
    if version != f"v={ARGON2_VERSION}":
        raise InvalidHash(f"an Argon2 hash that is not of version {ARGON2_VERSION}")
    match [cost.partition("=") for cost in costs.split(",")]:
        case [("m", "=", memory), ("t", "=", passes), ("p", "=", lanes)]:
            memory_kib = _number(memory, MAX_ARGON2_MEMORY_KIB)
            _number(passes, MAX_ARGON2_PASSES)
            if memory_kib < 8 * _number(lanes, MAX_ARGON2_LANES):  # RFC 9106 §3.1
                raise InvalidHash("an Argon2 hash with less than 8 KiB for a lane")
        case _:
            raise InvalidHash("an Argon2 hash without m, t and p")
    if len(_decoded_unpadded(salt)) < 8 or len(_decoded_unpadded(digest)) < 12:
        raise InvalidHash("an Argon2 hash whose salt or digest is too short")
