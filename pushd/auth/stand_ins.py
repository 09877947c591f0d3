"""
Hashes to spend time on for users who do not exist, so that nobody finds out by a clock who does.
"""

from __future__ import annotations

import base64
import os

from pushd.auth.password_hash import (
    ARGON2_DIGEST_BYTES,
    ARGON2_LANES,
    ARGON2_MEMORY_KIB,
    ARGON2_PASSES,
    ARGON2_SALT_BYTES,
    ARGON2_VERSION,
    AccountHash,
    Argon2idHash,
    Pbkdf2Hash,
    ScramHash,
)

# Formats, and what each costs.
MOST_SORTS = 16


class StandIns:
    """
    Hashes to spend time on for users who are not here: one of each sort that was seen. The same name gets the
    same one, as long as no new sort appears.
    """

    def __init__(self) -> None:
        self._of_sort: dict[tuple[str, object], AccountHash] = {}
        self.learn(_unknown_password())

    def learn(self, known: AccountHash) -> None:
        """Somebody has this."""
        sort = _sort(known)
        if len(self._of_sort) < MOST_SORTS:
            self._of_sort.setdefault(sort, known)

    def pick(self, seed: bytes) -> AccountHash:
        """One of them."""
        choices = list(self._of_sort.values())
        return choices[int.from_bytes(seed, "big") % len(choices)]


def _sort(known: AccountHash) -> tuple[str, object]:
    """What decides how long it takes to check."""
    if isinstance(known, Argon2idHash):
        return "argon2id", known.encoded.split("$")[3]
    if isinstance(known, (Pbkdf2Hash, ScramHash)):
        return type(known).__name__, known.iterations
    return type(known).__name__, None


def _unknown_password() -> Argon2idHash:
    """What a new account has; nobody knows a password for it."""
    salt, digest = map(_base64, (os.urandom(ARGON2_SALT_BYTES), os.urandom(ARGON2_DIGEST_BYTES)))
    costs = f"m={ARGON2_MEMORY_KIB},t={ARGON2_PASSES},p={ARGON2_LANES}"
    return Argon2idHash(f"$argon2id$v={ARGON2_VERSION}${costs}${salt}${digest}")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii").rstrip("=")
