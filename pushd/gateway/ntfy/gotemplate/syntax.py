"""
From tokens to a tree: what a template consists of, and how it is read.

The language is that of Go's ``text/template`` as far as texts are made with it. Templates that define or call
others are refused: nobody needs them for one message, and they are how a template could go on for ever.

    body        = (text | action)*
    action      = pipeline
                | "if" pipeline body ("else if" pipeline body)* ("else" body)? "end"
                | "with" pipeline body ("else with" pipeline body)* ("else" body)? "end"
                | "range" pipeline body ("else" body)? "end"        "break" and "continue" within
    pipeline    = (variable ":=" | variable "=")? command ("|" command)*
    command     = operand operand*                                  the first may be a function
    operand     = ("." | variable | field | "(" pipeline ")") field* | literal | function
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from pushd.gateway.ntfy.gotemplate.errors import NotAllowed, TemplateInvalid
from pushd.gateway.ntfy.gotemplate.functions import FUNCTIONS
from pushd.gateway.ntfy.gotemplate.tokens import Kind, Part, Token, parts_of

# Blocks and parentheses within each other. Reading and running both recurse, some frames for each.
MAX_DEPTH = 40

# What Go has and a caller does not get, and why regular expressions are among it: those of Python can be made
# to take for ever.
NOT_ALLOWED = re.compile(r"define|template|block|call|(must)?[rR]egex\w*")


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that stands in the template."""

    value: object


@dataclass(frozen=True, slots=True)
class Path:
    """
    A value, and the fields to follow from there.

    :ivar base: the name of a variable (``$`` is the data as a whole), a pipeline in parentheses, or ``None``
        for the dot.
    """

    base: str | Pipeline | None
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function and its arguments; a pipeline adds the value before it as the last one."""

    name: str
    arguments: tuple[Operand, ...]


Operand: TypeAlias = "Literal | Path | Call"


@dataclass(frozen=True, slots=True)
class Pipeline:
    """
    Commands, each with the value of the one before it.

    :ivar variables: what the value is given to; at most one, except behind ``range``.
    :ivar declares: whether these are new (``:=``).
    """

    commands: tuple[Operand, ...]
    variables: tuple[str, ...] = ()
    declares: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """
    ``if``, or ``with``: the first branch whose pipeline is true, or the last body.

    :ivar moves_dot: whether the dot becomes what was found true.
    """

    branches: tuple[tuple[Pipeline, Body], ...]
    otherwise: Body
    moves_dot: bool


@dataclass(frozen=True, slots=True)
class Range:
    """A body for each element, or another one if there is none."""

    pipeline: Pipeline
    body: Body
    otherwise: Body


@dataclass(frozen=True, slots=True)
class Jump:
    """``break`` (or, if not `ends`, ``continue``)."""

    ends: bool


Node: TypeAlias = "str | Pipeline | Choice | Range | Jump"
Body: TypeAlias = "tuple[Node, ...]"


def parse(template: str) -> Body:
    """
    :raises TemplateInvalid: it cannot be read.
    :raises NotAllowed: it has something in it that nobody gets here.
    """
    return _Parser(parts_of(template)).template()


class _Parser:
    def __init__(self, parts: Iterator[Part]) -> None:
        self._parts = parts
        self._tokens: list[Token] = []  # of the action that is being read, the next one last
        self._scopes: list[set[str]] = [{"$"}]
        self._depth = 0
        self._ranges = 0

    # Blocks

    def template(self) -> Body:
        body, end = self._body()
        if end is not None:
            raise TemplateInvalid(f"unexpected {end}")
        return body

    def _body(self) -> tuple[Body, str | None]:
        """:return: what there is up to ``end`` or ``else``, and which of them; the rest of it is unread."""
        nodes: list[Node] = []
        for part in self._parts:
            if isinstance(part, str):
                nodes.append(part)
                continue
            self._tokens = part[::-1]
            word = self._keyword()
            if word in ("end", "else"):
                return tuple(nodes), word
            nodes.append(self._action(word))
            self._end_action()
        return tuple(nodes), None

    def _keyword(self) -> str | None:
        """Take the first token, if it is a word that makes a block."""
        if not self._tokens:
            raise TemplateInvalid("an action is empty")
        first = self._tokens[-1]
        if first.kind is not Kind.NAME or first.text not in _KEYWORDS:
            return None
        return self._tokens.pop().text

    def _action(self, word: str | None) -> Node:
        if word is None:
            return self._pipeline()
        if word in ("break", "continue"):
            if not self._ranges:
                raise TemplateInvalid(f"{word} outside of range")
            return Jump(word == "break")
        self._enter()
        self._scopes.append(set())
        node = self._range() if word == "range" else self._choice(word)
        self._scopes.pop()
        self._depth -= 1
        return node

    def _choice(self, word: str) -> Choice:
        branches: list[tuple[Pipeline, Body]] = []
        while True:
            pipeline = self._pipeline()
            self._end_action()
            body, end = self._scoped_body()
            branches.append((pipeline, body))
            if end == "else" and self._next_is(word):
                self._tokens.pop()
                continue
            return Choice(tuple(branches), self._rest(end), moves_dot=word == "with")

    def _range(self) -> Range:
        pipeline = self._pipeline(most=2)
        self._end_action()
        self._ranges += 1
        body, end = self._scoped_body()
        self._ranges -= 1
        return Range(pipeline, body, self._rest(end))

    def _rest(self, end: str | None) -> Body:
        """What stands behind ``else``, and the ``end`` that there must be."""
        body: Body = ()
        if end == "else":
            self._end_action()
            body, end = self._scoped_body()
        if end != "end":
            raise TemplateInvalid("a block does not end")
        return body

    def _scoped_body(self) -> tuple[Body, str | None]:
        self._scopes.append(set())
        result = self._body()
        self._scopes.pop()
        return result

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TemplateInvalid(f"more than {MAX_DEPTH} blocks or parentheses within each other")

    # Pipelines

    def _pipeline(self, most: int = 1) -> Pipeline:
        """:param most: how many variables it may set; two only behind ``range``."""
        variables, mark = self._variables(most)
        commands = [self._command(first=True)]
        while self._take("|"):
            commands.append(self._command(first=False))
        if mark == ":=":
            self._scopes[-1].update(variables)
        elif any(not self._knows(name) for name in variables):
            raise TemplateInvalid("a variable is set that is not declared")
        return Pipeline(tuple(commands), variables, mark == ":=")

    def _variables(self, most: int) -> tuple[tuple[str, ...], str]:
        """``$a :=``, ``$a =`` or, behind ``range``, ``$a, $b :=``; nothing at all is not an error."""
        ahead = self._tokens[-1 : -2 * most - 1 : -1]
        for count in range(1, most + 1):
            mark = ahead[2 * count - 1].text if len(ahead) >= 2 * count else ""
            if mark in (":=", "="):
                names, commas = ahead[: 2 * count : 2], ahead[1 : 2 * count - 1 : 2]
                if not all(name.kind is Kind.VARIABLE and name.text != "$" for name in names):
                    break
                if all(comma.text == "," for comma in commas):
                    del self._tokens[-2 * count :]
                    return tuple(name.text for name in names), mark
        return (), ""

    def _command(self, first: bool) -> Operand:
        """:param first: of its pipeline; the others are functions that take a value."""
        if not self._tokens:
            raise TemplateInvalid("a value is missing")
        operand = self._operand()
        if isinstance(operand, Call):
            return Call(operand.name, tuple(self._arguments()))
        if not first or self._at_operand():
            raise TemplateInvalid("a value is used as a function")
        return operand

    def _arguments(self) -> Iterator[Operand]:
        while self._at_operand():
            if not self._tokens[-1].spaced:
                raise TemplateInvalid("two values with nothing between them")
            yield self._operand()

    def _at_operand(self) -> bool:
        return bool(self._tokens) and (self._tokens[-1].kind is not Kind.MARK or self._next_is("("))

    def _operand(self) -> Operand:
        token = self._tokens.pop()
        if token.kind is Kind.NAME:
            return _name(token.text)
        if token.kind in _LITERALS:
            return Literal(_LITERALS[token.kind](token.text))
        if token.kind is Kind.VARIABLE:
            return Path(self._known(token.text), self._fields())
        if token.kind is Kind.DOT:
            return Path(None, ())
        if token.kind is Kind.FIELD:
            return Path(None, (token.text[1:], *self._fields()))
        if token.text == "(":
            return Path(self._parenthesis(), self._fields())
        raise TemplateInvalid(f"unexpected {token.text}")

    def _parenthesis(self) -> Pipeline:
        self._enter()
        pipeline = self._pipeline()
        if not self._take(")"):
            raise TemplateInvalid("a parenthesis does not end")
        self._depth -= 1
        return pipeline

    def _fields(self) -> tuple[str, ...]:
        fields = []
        while self._tokens and self._tokens[-1].kind is Kind.FIELD and not self._tokens[-1].spaced:
            fields.append(self._tokens.pop().text[1:])
        return tuple(fields)

    # Small things

    def _knows(self, name: str) -> bool:
        return any(name in scope for scope in self._scopes)

    def _known(self, name: str) -> str:
        if not self._knows(name):
            raise TemplateInvalid(f"{name} is not declared")
        return name

    def _next_is(self, text: str) -> bool:
        return bool(self._tokens) and self._tokens[-1].text == text

    def _take(self, text: str) -> bool:
        if self._next_is(text):
            self._tokens.pop()
            return True
        return False

    def _end_action(self) -> None:
        if self._tokens:
            raise TemplateInvalid(f"unexpected {self._tokens[-1].text}")


_KEYWORDS = frozenset({"if", "else", "end", "with", "range", "break", "continue"})
_WORDS = {"true": True, "false": False, "nil": None}


def _name(name: str) -> Operand:
    if name in _WORDS:
        return Literal(_WORDS[name])
    if NOT_ALLOWED.fullmatch(name):
        raise NotAllowed(f"{name} is not allowed")
    if name not in FUNCTIONS:
        raise TemplateInvalid(f"there is no function {name}")
    return Call(name, ())


def _number(text: str) -> int | float:
    if "x" in text.lower():
        number: int | float = int(text, 16)
    elif any(sign in text for sign in ".eE"):
        number = float(text)
    else:
        number = int(text)
    if abs(number) == float("inf") or (isinstance(number, int) and not -(2**63) <= number < 2**63):
        raise TemplateInvalid(f"{text} is too large")
    return number


_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[0-7]{3}|.)", re.DOTALL)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"} | {
    letter: letter for letter in "\\\"'"
}


def _text(quoted: str) -> str:
    if quoted.startswith("`"):
        return quoted[1:-1]
    return _ESCAPE.sub(_unescaped, quoted[1:-1])


def _unescaped(match: re.Match[str]) -> str:
    escape = match[1]
    if escape in _ESCAPES:
        return _ESCAPES[escape]
    if len(escape) == 1:
        raise TemplateInvalid(f"unknown escape \\{escape}")
    code = int(escape, 8) if escape[0] in "01234567" else int(escape[1:], 16)
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise TemplateInvalid(f"\\{escape} is no character")
    return chr(code)


def _character(quoted: str) -> int:
    text = _text(quoted)
    if len(text) != 1:
        raise TemplateInvalid(f"{quoted} is not one character")
    return ord(text)


_LITERALS = {Kind.NUMBER: _number, Kind.TEXT: _text, Kind.CHARACTER: _character}
