"""That a test holds each statement of the standards which can be seen from outside, and the table of them."""

from __future__ import annotations

import pytest

from tests.conformance import table
from tests.conformance.statements import held, numbered_statements

VERSIONS = ("v3", "v5")


def numbers(version: str) -> set[str]:
    """What the tests say they hold of a version."""
    return {tag[4:-1] for _, tag in held() if tag.startswith(version + " [")}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_statement_that_binds_a_server_is_held_by_a_test(version: str) -> None:
    """Nothing that the standard demands of a server is left to chance."""
    servers = {
        number
        for number, row in numbered_statements(version).items()
        if row["by"] != "client" and "unseen" not in row
    }
    assert servers - numbers(version) == set()


@pytest.mark.parametrize("version", VERSIONS)
def test_every_statement_that_a_test_names_exists(version: str) -> None:
    """A mistyped number holds nothing."""
    assert numbers(version) - numbered_statements(version).keys() == set()


def test_every_tag_is_of_a_kind() -> None:
    """A mistyped version holds nothing, either."""
    kinds = ("v3 [", "v3 §", "v5 [", "v5 §", "3.1 §", "mosquitto: ")
    assert [tag for _, tag in held() if not tag.startswith(kinds)] == []


def test_the_table_is_up_to_date() -> None:
    """``python -m tests.conformance.table`` writes it anew."""
    assert table.PLACE.read_text() == table.written()
