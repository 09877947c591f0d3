"""
Writes the manual page of the settings file, ``docs/pushd.conf.md``::

    python -m pushd.config.manual conf/pushd.conf > docs/pushd.conf.md

Nothing is said twice: what an option does is the comment above it in ``conf/pushd.conf``; what it takes, its
default and where it may stand are in the table of `pushd.config.options`. A test fails while the page is not
what this makes of them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pushd.config.kinds import INT_MAX, Integer, Kind
from pushd.config.options import BRIDGES, OPTIONS, Option, Repeat, Status, find

TITLE = re.compile(r"# =+ (.+)")
OPTION_LINE = re.compile(r"#?([a-z]\S*) ")  # a comment has a space behind its #
CODE = re.compile(
    r'"([^"]+)"'  # what the file puts in quotation marks
    r"|(\$SYS(?:/\w+)*|(?:https?|wss?)://[^\s:]*[\w/](?::\d+[\w/]*)?|%Y\S*%S|\*\.conf"
    r"|(?:conf|certs|docs)/[\w./-]*\w|\w+(?:_\w+(?:\.\d)?)+|(?:cert|key|ca|crl)file|capath)"
)

OPENING = """\
# pushd.conf

The settings file of pushd: every option, what it takes and what it does. Mosquitto calls it
`mosquitto.conf`, and one that works there works here.

    twistd -n pushd -c /etc/pushd.conf
    twistd -n pushd -c /etc/pushd.conf --test-config

[conf/pushd.conf](../conf/pushd.conf) is such a file, to be copied and changed. The sections below are its
sections. At the end are the options that [do not work](#what-does-not-work) and a [table of
all](#all-options).

## Syntax

One option per line: its name, a space, its value.

- `#` begins a comment **in the first column only**. Blank lines count for nothing; lines may end as on
  Windows.
- Spaces end the name, a tab does not. Upper and lower case are different.
- Numbers and words end at the next space, and the rest of the line is ignored. Texts (paths, names, lists)
  run to the end of the line, with a `#` and what follows it.
- `true` may be written `1`, and `false` `0`. Numbers are decimal, hexadecimal with `0x`, or octal with `0`.
- If an option is there twice, the last line counts, where nothing else is said.
- Paths are relative to the directory that pushd is started in.

The order of the lines counts. What belongs to a listener follows its `listener` line, what belongs to a
bridge its `connection` line, and what belongs to a plugin its `plugin` line. The facts below each option
say where it may stand:

- *anywhere*: it is of the whole broker.
- *anywhere, or per listener*: it counts for all listeners, or after `per_listener_settings true` for the
  one that it follows.
- *after listener*: it belongs to the `listener` that it follows, and there must be one. *Or opens one*: if
  there is none, it opens a listener on port 1883 of every address, and belongs to that.

A file that opens no listener with `listener`, `port` or `bind_address` is for this machine alone: pushd
answers on port 1883 (or those of `-p`) of `127.0.0.1` and `::1`, and anonymous clients are let in unless a
line says otherwise.

A mistake stops the start with exit status 3 and one line, `FILE:LINE: OPTION: what is wrong`. What is right
but has no effect is named in a warning, in the log and by `--test-config`.

### Values from elsewhere

These two are not Mosquitto's.

`${NAME}` in a value is a variable of the environment, and `${NAME:-TEXT}` is `TEXT` where that is missing
or empty. A variable that is missing, without such a default, is a mistake. `NAME` has capitals, digits and
underscores only; any other `$` is a dollar, and `$${NAME}` is the text `${NAME}`. So a file that was
written for Mosquitto keeps its meaning, unless a value looks exactly like this: then its `$` must be
doubled.

`file:PATH`, where a password or another secret is expected, is the first line of that file. A secret that
begins with `file:` itself can stand in such a file only. Secrets are shown in no message.

The variable `MOSQUITTO_PERSISTENCE_LOCATION`, if it is set, wins over the line `persistence_location`.
"""


@dataclass(slots=True)
class Entry:
    """A comment, and the options that it explains; none for what is said of a whole section."""

    comment: list[str] = field(default_factory=list)  # without "# "
    options: list[Option] = field(default_factory=list)


@dataclass(slots=True)
class Section:
    """What stands under one heading of the settings file."""

    title: str
    entries: list[Entry] = field(default_factory=list)


def manual(settings_file: str) -> str:
    """
    The manual page, in Markdown.

    :param settings_file: the text of ``conf/pushd.conf``.
    """
    parts = [OPENING]
    for section in sections(settings_file):
        parts.append(f"\n## {section.title}\n\n")
        parts.extend(_entry(entry) for entry in section.entries)
    parts += [_what_does_not_work(), "\n", _all_options()]
    return re.sub(r"\n{3,}", "\n\n", "".join(parts))


def sections(settings_file: str) -> list[Section]:
    """What ``conf/pushd.conf`` explains. An option that it uses again is explained the first time."""
    found: list[Section] = []
    explained: set[str] = set()
    for paragraph in re.split(r"\n\n+", settings_file.strip("\n")):
        lines = paragraph.split("\n")
        title = TITLE.fullmatch(lines[0])
        if title:
            found.append(Section(title[1]))
            lines = lines[1:]
        if found and lines:  # what stands before the first title is about the file itself
            found[-1].entries.append(_read_entry(lines, explained))
    return found


def _read_entry(lines: Iterable[str], explained: set[str]) -> Entry:
    entry = Entry()
    for line in lines:
        option_line = OPTION_LINE.match(line)
        option = find(option_line[1]) if option_line else None
        if option is None:
            entry.comment.append(line.removeprefix("#").removeprefix(" "))
        elif option.name not in explained:
            explained.add(option.name)
            entry.options.append(option)
    return entry


# Entries


def _entry(entry: Entry) -> str:
    headings = "".join(f"### `{option.title} {option.kind.notation}`\n\n" for option in entry.options)
    return f"{headings}{_prose(entry.comment)}\n{_facts(entry)}"


def _facts(entry: Entry) -> str:
    """What the table knows of the options that a comment explains, and the comment does not say."""
    says_default = any("Default:" in line for line in entry.comment)
    lines = []
    for option in entry.options:
        facts = list(_facts_of(option, says_default))
        if len(entry.options) > 1:
            facts.insert(0, f"`{option.title}`")
        lines.append(f"- {' · '.join(facts)}\n")
    return "".join(lines) + "\n" if lines else ""


def _facts_of(option: Option, says_default: bool) -> Iterator[str]:
    default = default_of(option)
    if default != "none" and not says_default:
        yield f"default {default}"
    yield from filter(None, (_range(option.kind), place_of(option)))
    if option.reloadable:
        yield "SIGHUP applies it"
    if option.aliases:
        yield f"also spelt {', '.join(f'`{alias}`' for alias in option.aliases)}"
    if option.name not in ("listener", "include_dir"):
        yield from {Repeat.ONCE: ["once only"], Repeat.ALL: ["several lines add up"]}.get(option.repeat, [])


def place_of(option: Option) -> str:
    """Where it may stand."""
    if option.name == "per_listener_settings":
        return "before all access options"
    if option.name == "include_dir":
        return "anywhere in the main file"
    return option.scope.value


def default_of(option: Option) -> str:
    """Its default as it would be written, in code; "none" if there is none."""
    default = option.default
    if default in (None, "", ()):
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, frozenset):
        return f"`{','.join(str(item) for item in sorted(default))}`"
    if isinstance(default, tuple):
        return " ".join(f"`{item}`" for item in default)
    return f"`{option.kind.written(default)}`"


def _range(kind: Kind) -> str:
    if not isinstance(kind, Integer):
        return ""
    if kind.maximum < INT_MAX:
        return f"{kind.minimum} to {kind.maximum}"
    return f"at least {kind.minimum}" if kind.minimum > 0 and kind.below is None else ""


# Prose


def _prose(comment: Iterable[str]) -> str:
    """Comments as Markdown: what is indented is code, what is not is filled into paragraphs."""
    blocks: list[list[str]] = [[]]
    for line in comment:
        is_code = line.startswith("    ")
        if not line or (blocks[-1] and is_code != blocks[-1][-1].startswith("    ")):
            blocks.append([])
        if line:
            blocks[-1].append(line)
    return "".join(f"{_marked(block)}\n" for block in blocks if block)


def _marked(block: list[str]) -> str:
    """A block, with the words in prose that are to be typed as they are marked as code."""
    text = "".join(f"{line}\n" for line in block)
    if text.startswith("    "):
        return text
    text = re.sub(r"\s*\[SIGHUP\]", "", text)  # the facts below it say so
    return CODE.sub(lambda found: f"`{' '.join((found[1] or found[2]).split())}`", text)


# Tables


WHAT_DOES_NOT_WORK = """\
## What does not work

These options of Mosquitto's, and of ours to come, are read and checked, so that a file with them starts
pushd. A warning names each at the start. Only what guards a door, and would leave it open, stops the start.
"""

BRIDGES_TO_COME = """\
### Bridges

Connections to other brokers are not made yet. Their lines are checked; one warning names each `connection`.
"""


def _what_does_not_work() -> str:
    missing = [option for option in OPTIONS if option.status is not Status.WORKS and option not in BRIDGES]
    bridges = [option for option in BRIDGES if option.status is not Status.WORKS]
    heads = ("Option", "Status", "What happens instead")
    parts = [WHAT_DOES_NOT_WORK, "\n", *_table(heads, map(_missing_row, missing)), "\n"]
    if bridges:
        parts += [BRIDGES_TO_COME, "\n", *_table(("Option", "Takes", "Default"), map(_bridge_row, bridges))]
    return "".join(parts)


def _missing_row(option: Option) -> tuple[str, ...]:
    return (_named(option), option.status.value, option.note)


def _bridge_row(option: Option) -> tuple[str, ...]:
    return (_named(option), f"`{option.kind.notation}`", default_of(option))


def _all_options() -> str:
    heads = ("Option", "Default", "Where it may stand", "SIGHUP", "Whose", "Status")
    options = sorted(OPTIONS, key=lambda option: option.name)
    return "".join(("## All options\n\n", *_table(heads, map(_row, options))))


def _row(option: Option) -> tuple[str, ...]:
    return (
        _named(option),
        default_of(option),
        place_of(option),
        "applies it" if option.reloadable else "restart",
        "pushd's" if option.ours else "Mosquitto's",
        option.status.value,
    )


def _named(option: Option) -> str:
    return ", ".join((f"`{option.title}`", *(f"`{alias}`" for alias in option.aliases)))


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for cells in (heads, ("---",) * len(heads), *rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        sys.stdout.write(manual(file.read()))
