"""
Running a template over data, within bounds that no template passes.

Work is counted: a step for each node, operand and element, and more for calls that look at large values. When
the steps are used up the template has failed, so that it takes some tens of milliseconds at the most.
Nothing of a template is ever Python: the tree says which rows of a table are called with which values.
"""

from __future__ import annotations

from pushd.gateway.ntfy.gotemplate.errors import ExecutionFailed, OutputTooLarge
from pushd.gateway.ntfy.gotemplate.functions import FUNCTIONS
from pushd.gateway.ntfy.gotemplate.syntax import (
    Body,
    Call,
    Choice,
    Jump,
    Literal,
    Operand,
    Path,
    Pipeline,
    Range,
)
from pushd.gateway.ntfy.gotemplate.values import check_length, elements, field_of, is_true, measure, shown

# A list of 100 alerts with 20 things said about each takes 6,000 or so.
MAX_STEPS = 20_000

# Characters that are looked at in the time of one step, about; and elements of lists.
_CHARACTERS_PER_STEP = 500
_ELEMENTS_PER_STEP = 20


def execute(body: Body, data: object, max_bytes: int) -> str:
    """
    :param data: what JSON can say, of at most `pushd.gateway.ntfy.gotemplate.values.MAX_DEPTH`.
    :param max_bytes: how large the text may become.
    :raises ExecutionFailed: the template does not fit the data, or takes too many steps.
    :raises OutputTooLarge: the text is too large.
    """
    return _Execution(data, max_bytes).run(body)


class _Leaves(Exception):
    """A ``break`` or ``continue`` on its way to its ``range``."""

    def __init__(self, ends: bool) -> None:
        super().__init__()
        self.ends = ends


class _Execution:
    def __init__(self, data: object, max_bytes: int) -> None:
        self._dot = data
        self._scopes: list[dict[str, object]] = [{"$": data}]
        self._steps = MAX_STEPS
        self._pieces: list[str] = []
        self._room_bytes = max_bytes

    def run(self, body: Body) -> str:
        self._body(body)
        return "".join(self._pieces)

    def _spend(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise ExecutionFailed("the template takes too long")

    def _write(self, text: str) -> None:
        self._room_bytes -= len(text.encode("utf-8", "replace"))
        if self._room_bytes < 0:
            raise OutputTooLarge("the text is too large")
        self._pieces.append(text)

    # Nodes

    def _body(self, body: Body) -> None:
        for node in body:
            self._spend(1)
            if isinstance(node, str):
                self._write(node)
            elif isinstance(node, Pipeline):
                self._action(node)
            elif isinstance(node, Choice):
                self._choice(node)
            elif isinstance(node, Range):
                self._range(node)
            else:
                self._jump(node)

    def _scoped(self, body: Body, dot: object) -> None:
        """Run `body` with another dot, and variables that are gone behind it."""
        before, self._dot = self._dot, dot
        self._scopes.append({})
        try:
            self._body(body)
        finally:
            self._scopes.pop()
            self._dot = before

    def _action(self, pipeline: Pipeline) -> None:
        value = self._pipeline(pipeline)
        if not pipeline.variables:
            measure(value, self._spend)
            self._write(shown(value))

    def _choice(self, choice: Choice) -> None:
        self._scopes.append({})
        for pipeline, body in choice.branches:
            value = self._pipeline(pipeline)
            if is_true(value):
                self._scoped(body, value if choice.moves_dot else self._dot)
                break
        else:
            self._scoped(choice.otherwise, self._dot)
        self._scopes.pop()

    def _range(self, loop: Range) -> None:
        self._scopes.append({})
        pipeline = loop.pipeline
        value = self._commands(pipeline)
        empty = True
        for key, element in elements(value):
            empty = False
            self._spend(1)
            self._set(pipeline, key, element)
            if not self._round(loop.body, element):
                break
        if empty:
            self._scoped(loop.otherwise, self._dot)
        self._scopes.pop()

    def _round(self, body: Body, element: object) -> bool:
        """:return: whether there may be another one."""
        depth = len(self._scopes)
        try:
            self._scoped(body, element)
        except _Leaves as leaves:
            del self._scopes[depth:]
            return not leaves.ends
        return True

    def _jump(self, jump: Jump) -> None:
        raise _Leaves(jump.ends)

    # Values

    def _set(self, pipeline: Pipeline, key: object, element: object) -> None:
        """With one variable ``range`` gives elements, with two keys as well."""
        values = (element,) if len(pipeline.variables) == 1 else (key, element)
        for name, value in zip(pipeline.variables, values, strict=False):
            self._scope_of(name, pipeline.declares)[name] = value

    def _scope_of(self, name: str, new: bool) -> dict[str, object]:
        if new:
            return self._scopes[-1]
        return next(scope for scope in reversed(self._scopes) if name in scope)

    def _pipeline(self, pipeline: Pipeline) -> object:
        value = self._commands(pipeline)
        for name in pipeline.variables:
            self._scope_of(name, pipeline.declares)[name] = value
        return value

    def _commands(self, pipeline: Pipeline) -> object:
        first, *others = pipeline.commands
        value = self._operand(first)
        for command in others:
            assert isinstance(command, Call)  # or it could not have been read
            value = self._call(command, (Literal(value),))
        return value

    def _operand(self, operand: Operand) -> object:
        self._spend(1)
        if isinstance(operand, Literal):
            return operand.value
        if isinstance(operand, Call):
            return self._call(operand)
        return self._path(operand)

    def _path(self, path: Path) -> object:
        if path.base is None:
            value = self._dot
        elif isinstance(path.base, str):
            value = self._scope_of(path.base, False)[path.base]
        else:
            value = self._pipeline(path.base)
        for name in path.fields:
            value = field_of(value, name)
        return value

    def _call(self, call: Call, last: tuple[Operand, ...] = ()) -> object:
        arguments = call.arguments + last
        function = FUNCTIONS[call.name]
        if not function.least <= len(arguments) <= function.most:
            raise ExecutionFailed(f"{call.name} with {len(arguments)} values")
        if call.name in _STOPS_AT:
            return self._first(arguments, _STOPS_AT[call.name])
        values = [self._operand(argument) for argument in arguments]
        self._pay(values, function.whole)
        result = function.call(*values)
        self._pay([result], whole=False)
        return result

    def _first(self, arguments: tuple[Operand, ...], truth: bool) -> object:
        """The first value that settles it, or the last one; those behind it are not looked at."""
        value: object = None
        for argument in arguments:
            value = self._operand(argument)
            if is_true(value) is truth:
                break
        return value

    def _pay(self, values: list[object], whole: bool) -> None:
        if whole:
            characters = measure(values, self._spend)
        else:
            characters = check_length(sum(len(value) for value in values if isinstance(value, str)))
            parts = sum(len(value) for value in values if isinstance(value, list | dict))
            self._spend(parts // _ELEMENTS_PER_STEP)
        self._spend(characters // _CHARACTERS_PER_STEP)


_STOPS_AT = {"and": False, "or": True}
