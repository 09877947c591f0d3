"""
What a plugin answers: yes, no, or that it has no opinion.

``True``, ``False`` and, where a verdict is asked for, ``None`` are no verdicts: a forgotten ``return`` must
not open a door.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, TypeAlias

from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.wire import text_fault


@dataclass(frozen=True, slots=True)
class Allow:
    """
    Yes, and nobody else is asked.

    :ivar username: from `Plugin.authenticate` only: who it is, where the client did not say, or only a token.
    """

    username: str | None = None

    def __post_init__(self) -> None:
        if self.username is not None and (not self.username or text_fault(self.username) is not None):
            raise ValueError(f"{self.username!r} is no user name")


@dataclass(frozen=True, slots=True)
class Deny:
    """
    No, and nobody else is asked.

    :ivar code: what a version 5 client is told, if the packet that answers it may say so, else *not
        authorised*; in version 3 there are few codes for CONNACK, one for SUBACK and none for PUBACK.
    """

    code: ReasonCode = ReasonCode.NOT_AUTHORIZED

    def __post_init__(self) -> None:
        if not isinstance(self.code, ReasonCode) or self.code < 0x80:
            raise ValueError(f"{self.code!r} is no reason to refuse anything")


class Word(Enum):
    """Verdicts that are only a word."""

    IGNORE = "ignore"
    DROP = "drop"

    def __repr__(self) -> str:
        return self.name


ALLOW: Final = Allow()
DENY: Final = Deny()
IGNORE: Final = Word.IGNORE  # no opinion: the next one is asked
DROP: Final = Word.DROP  # from on_publish: nobody gets the message, and its publisher does not learn of it

Verdict: TypeAlias = Allow | Deny | Literal[Word.IGNORE]


class Nonsense(TypeError):
    """An answer that is none. Counts as a failure of the plugin, and so as a refusal."""
