"""
A template cut into its parts: plain texts, and actions, which are lists of tokens.

    Hello {{ .name | upper -}} !   ->   "Hello ", [FIELD name, |, NAME upper], "!"

Trim markers (``{{-`` and ``-}}``) and comments are dealt with here and seen by nobody else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from pushd.gateway.ntfy.gotemplate.errors import TemplateInvalid


class Kind(Enum):
    """What a token is. A `MARK` means itself: ``|``, ``(``, ``)``, ``,``, ``=``, ``:=``."""

    NAME = "a function or keyword"
    FIELD = "one name behind a dot"
    DOT = "a dot alone"
    VARIABLE = "a name behind a dollar sign"
    NUMBER = "a number"
    TEXT = "a quoted text"
    CHARACTER = "a quoted character, which is a number"
    MARK = "punctuation"


@dataclass(frozen=True, slots=True)
class Token:
    """:ivar spaced: whether there was white space before it: ``.a .b`` are two operands, ``.a.b`` is one."""

    kind: Kind
    text: str
    spaced: bool


# A text, or an action's tokens.
Part: TypeAlias = "str | list[Token]"

_TOKEN = re.compile(
    r"""
      (?P<END>    [ \t\r\n]+-\}\} | [ \t\r\n]*\}\} )
    | (?P<SPACE>  [ \t\r\n]+ )
    | (?P<NUMBER> [-+]? (?: 0[xX][0-9A-Fa-f]{1,16} | [0-9]{1,40}(?:\.[0-9]{0,40})? | \.[0-9]{1,40} )
                  (?: (?<=[0-9.]) [eE][-+]?[0-9]{1,3} )? (?![\w.]) )
    | (?P<FIELD>  \.[^\W\d]\w* )
    | (?P<DOT>    \. )
    | (?P<VARIABLE> \$\w* )
    | (?P<NAME>   [^\W\d]\w* )
    | (?P<TEXT>   "(?:[^"\\\n]|\\.)*" | `[^`]*` )
    | (?P<CHARACTER> '(?:[^'\\\n]|\\[^\n]){1,11}' )
    | (?P<MARK>   := | [|()=,] )
    """,
    re.VERBOSE,
)
_COMMENT = re.compile(r"/\*.*?\*/([ \t\r\n]+-)?\}\}", re.DOTALL)
_SPACE = " \t\r\n"
_TRIMMING = tuple(f"{{{{-{space}" for space in _SPACE)  # "{{-3}}" is a number


def parts_of(template: str) -> Iterator[Part]:
    """
    The parts of `template`, in order. Empty texts and comments are left out.

    :raises TemplateInvalid: an action does not end, or has something in it that is no token.
    """
    at, trim = 0, False
    while True:
        opened = template.find("{{", at)
        text = template[at:] if opened < 0 else template[at:opened]
        trim_end = template.startswith(_TRIMMING, opened) if opened >= 0 else False
        text = text.lstrip(_SPACE) if trim else text
        text = text.rstrip(_SPACE) if trim_end else text
        if text:
            yield text
        if opened < 0:
            return
        tokens, at, trim = _action(template, opened + (4 if trim_end else 2))
        if tokens is not None:
            yield tokens


def _action(template: str, at: int) -> tuple[list[Token] | None, int, bool]:
    """
    :return: the tokens, or ``None`` for a comment; where the action ends; whether it trims what follows.
    """
    if template.startswith("/*", at):
        comment = _COMMENT.match(template, at)
        if comment is None:
            raise TemplateInvalid("a comment does not end")
        return None, comment.end(), bool(comment[1])
    return _tokens(template, at)


def _tokens(template: str, at: int) -> tuple[list[Token], int, bool]:
    tokens: list[Token] = []
    spaced = True
    while True:
        match = _TOKEN.match(template, at)
        if match is None:
            raise TemplateInvalid(f"an action does not end, or cannot be read at {template[at : at + 20]!r}")
        at, what = match.end(), match.lastgroup or ""
        if what == "END":
            return tokens, at, match[0].endswith("-}}")
        if what != "SPACE":
            tokens.append(Token(Kind[what], match[0], spaced))
        spaced = what == "SPACE"
