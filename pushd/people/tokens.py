"""
Access tokens: what they look like, and what is kept of one.

A token is ``tk_`` and 29 letters and digits, 32 characters in all, as ntfy's clients expect it. That is 149
bits by chance. Nobody guesses one, so its plain SHA-256 is kept; it is looked up by that, and so the time
this takes says nothing about how much of a guess was right.
"""

from __future__ import annotations

import hashlib
import secrets
import string

PREFIX = "tk_"
ALPHABET = string.ascii_lowercase + string.digits
LENGTH = 32

# Characters of a hash by which its user may name a token: enough to tell one's own apart.
ID_LENGTH = 12


def new_token() -> str:
    """One that nobody has, and nobody could guess."""
    return PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(LENGTH - len(PREFIX)))


def hash_of(token: str) -> str:
    """
    What is kept of it: 64 hexadecimal digits.

    :param token: any text, whatever somebody has sent as one.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def id_of(hash: str) -> str:
    """How a token is called in lists; its first characters would give some of it away."""
    return hash[:ID_LENGTH]
