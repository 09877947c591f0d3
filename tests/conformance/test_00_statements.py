"""The statements of the standard, and that a test holds each that can be seen from outside."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.conformance.statements import FOLDER, numbered_statements

NUMBERED = re.compile(r"v3 \[(MQTT-[^]]+)\]")


def held() -> Iterator[str]:
    """What the tests beside this one say they hold; read from their sources, so that all of them count."""
    for path in sorted(FOLDER.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "holds":
                yield from (ast.literal_eval(argument) for argument in node.args)


def test_every_statement_that_binds_a_server_is_held_by_a_test() -> None:
    """Nothing that the standard demands of a server is left to chance."""
    numbers = {match[1] for tag in held() if (match := NUMBERED.fullmatch(tag))}
    servers = {
        number
        for number, row in numbered_statements().items()
        if row["by"] != "client" and "unseen" not in row
    }
    assert servers - numbers == set()


def test_every_statement_that_a_test_names_exists() -> None:
    """A mistyped number holds nothing."""
    numbers = {match[1] for tag in held() if (match := NUMBERED.fullmatch(tag))}
    assert numbers - numbered_statements().keys() == set()
    assert [tag for tag in held() if not tag.startswith(("v3 [", "v3 §", "3.1 §", "mosquitto: "))] == []
