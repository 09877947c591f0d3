"""
The table of every normative statement and the tests that hold it: ``docs/conformance.md``.

    python -m tests.conformance.table

writes it anew from the statements' files and from the tags of the tests.
"""

from __future__ import annotations

from collections import defaultdict

from tests.conformance.statements import FOLDER, held, numbered_statements

PLACE = FOLDER.parents[1] / "docs" / "conformance.md"

STANDARDS = {"v5": "MQTT 5.0", "v3": "MQTT 3.1.1"}

HEAD = """\
# Conformance

Every normative statement of MQTT 5.0 and of MQTT 3.1.1 by its number, in our words, and the tests in
`tests/conformance` that hold it: they drive a listening broker by raw bytes. An empty cell is a statement
that no test holds. A statement that binds clients only is marked so; tests of one show what the broker does
with a client that breaks it.

This page is made by `python -m tests.conformance.table`.
"""


def written() -> str:
    """The page."""
    tests: dict[str, list[str]] = defaultdict(list)
    for test, statement in held():
        if test not in tests[statement]:
            tests[statement].append(test)
    return HEAD + "".join(_section(version, tests) for version in STANDARDS)


def _section(version: str, tests: dict[str, list[str]]) -> str:
    rows = [
        f"| {number} | {_says(row)} | {_cell(tests[f'{version} [{number}]'], row)} |"
        for number, row in numbered_statements(version).items()
    ]
    head = ["", f"## {STANDARDS[version]}", "", "| number | statement | held by |", "|---|---|---|"]
    return "\n".join([*head, *rows, ""])


def _says(row: dict[str, str]) -> str:
    says = row["says"].replace("|", "\\|")
    return f"{says} *(client)*" if row["by"] == "client" else says


def _cell(tests: list[str], row: dict[str, str]) -> str:
    """The tests, by file; or why there can be none."""
    if not tests:
        return f"*{row['unseen']}*" if "unseen" in row else ""
    by_file: dict[str, list[str]] = defaultdict(list)
    for test in tests:
        file, _, name = test.partition("::")
        by_file[file.removesuffix(".py")].append(name)
    return "; ".join(f"`{file}`: " + ", ".join(f"`{name}`" for name in by_file[file]) for file in by_file)


if __name__ == "__main__":
    PLACE.write_text(written())
