"""
SASLprep (RFC 4013): one spelling for user names and passwords that look the same.

A password with an umlaut may be typed as one character or as two, with a narrow or an ideographic space. Both
sides of SCRAM prepare the text before they compute with it, so that they agree on its bytes.

Characters that Unicode 3.2 of 2002 did not have are let through on both sides, as the RFC allows for queries:
emoji are among them, and nobody would understand why theirs was refused.
"""

from __future__ import annotations

import stringprep
from unicodedata import ucd_3_2_0

# RFC 4013 §2.3
PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str) -> str:
    """
    Prepare a text of any length; one that is plain ASCII costs nothing, others some microseconds for each
    character.

    :raises ValueError: it has a character that must not be in it, or mixes directions of writing, or nothing
        is left of it. The message does not repeat the text, which may be a password.
    """
    prepared = text if text.isascii() else ucd_3_2_0.normalize("NFKC", _mapped(text))
    if not prepared:
        raise ValueError("no character that counts")
    if not (prepared.isascii() and prepared.isprintable()):
        _check_prohibited(prepared)
        _check_directions(prepared)
    return prepared


def _mapped(text: str) -> str:
    """RFC 4013 §2.1"""
    kept = (character for character in text if not stringprep.in_table_b1(character))
    return "".join(" " if stringprep.in_table_c12(character) else character for character in kept)


def _check_prohibited(text: str) -> None:
    for character in text:
        if any(prohibits(character) for prohibits in PROHIBITED):
            raise ValueError(f"the character U+{ord(character):04X} is not allowed")


def _check_directions(text: str) -> None:
    """RFC 3454 §6: from right to left as a whole or not at all."""
    if not any(map(stringprep.in_table_d1, text)):
        return
    if any(map(stringprep.in_table_d2, text)):
        raise ValueError("mixes writing from right to left and from left to right")
    if not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])):
        raise ValueError("writing from right to left does not begin and end it")
