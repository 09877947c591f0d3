"""What strangers have made up, on a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with whatever could do something to a terminal, or turn its lines round, written out."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )
