"""The manual page is made of the table and of conf/pushd.conf, and says what they say."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.config.draft import Draft, settle
from pushd.config.kinds import Anything
from pushd.config.manual import default_of, manual, sections
from pushd.config.options import BRIDGES, OPTIONS, Option, Scope, Status
from pushd.config.reader import SettingsFile

ROOT = Path(__file__).parents[2]
CONF = (ROOT / "conf" / "pushd.conf").read_text("utf-8")
ADDED_UP = ("log_dest", "log_type")  # several lines each
PAGE = (ROOT / "docs" / "pushd.conf.md").read_text("utf-8")


class PageTests(SynchronousTestCase):
    """docs/pushd.conf.md as it is in the repository."""

    def test_is_current(self) -> None:
        """It is what its sources make now."""
        told = "python -m pushd.config.manual conf/pushd.conf > docs/pushd.conf.md"
        assert manual(CONF) == PAGE, f"docs/pushd.conf.md is out of date: {told}"

    def test_explains_what_works(self) -> None:
        """Each has a heading of its own, with what it takes."""
        for option in OPTIONS:
            if option.status is Status.WORKS and option not in BRIDGES:
                assert f"\n### `{option.title} {option.kind.notation}`\n" in PAGE, option.name

    def test_lists_every_option(self) -> None:
        """The table at the end has them all, in the order of the alphabet."""
        table = PAGE[PAGE.index("## All options") :]
        names = re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)
        assert names == [option.title for option in sorted(OPTIONS, key=lambda option: option.name)]

    def test_says_what_happens_instead(self) -> None:
        """Of what does not work, the warning is in the manual."""
        for option in OPTIONS:
            if option.status is not Status.WORKS and option not in BRIDGES:
                assert f" | {option.status.value} | {option.note} |" in PAGE, option.name

    def test_no_comment_is_lost(self) -> None:
        """Every word that is explained in the settings file is in the page."""
        words = set(re.findall(r"\w+", PAGE))
        for line in CONF[CONF.index("# ====") :].splitlines():
            if line.startswith("# ") and "=====" not in line:
                missing = set(re.findall(r"\w+", line.replace("[SIGHUP]", ""))) - words
                assert not missing, (line, missing)

    def test_has_the_sections_of_the_settings_file(self) -> None:
        """Who knows the one finds the way in the other."""
        titles = re.findall(r"^# =+ (.+)$", CONF, re.MULTILINE)
        assert [section.title for section in sections(CONF)] == titles
        assert re.findall(r"^## (.+)$", PAGE, re.MULTILINE) == [
            "Syntax",
            *titles,
            "What does not work",
            "All options",
        ]


class ShownTests(SynchronousTestCase):
    """What the page shows can be typed."""

    def test_defaults_can_be_written(self) -> None:
        """Each default in the table is read as the default that it is."""
        for option in OPTIONS:
            shown = re.findall("`([^`]*)`", default_of(option))
            if isinstance(option.kind, Anything) or not shown:
                continue
            read = [option.kind.read(value) for value in shown]
            assert read == (list(option.default) if isinstance(option.default, tuple) else [option.default])

    def test_words_can_be_written(self) -> None:
        """Each word that an option offers is one that it takes."""
        for option in OPTIONS:
            for word in option.kind.notation.split("|"):
                if word == word.lower() and " " not in word:
                    option.kind.read(word)

    @given(st.lists(st.sampled_from([option for option in OPTIONS if option.scope is Scope.FILE])))
    @settings(max_examples=100, deadline=None)
    def test_defaults_in_any_order(self, options: list[Option]) -> None:
        """A file of defaults is a file without them: their order and number do not matter."""
        written = {
            option.name: value
            for option in options
            if option.status is Status.WORKS
            for value in re.findall("`([^`]*)`", default_of(option))
        }
        draft = Draft()
        text = "".join(f"{name} {value}\n" for name, value in written.items() if name not in ADDED_UP)
        SettingsFile("x.conf", text.encode(), draft, {}).read()
        assert settle(draft, ()) == settle(Draft(), ())


class SourceTests(SynchronousTestCase):
    """From a settings file to Markdown."""

    def page_of(self, text: str) -> str:
        page = manual(text)
        return page[page.index("doubled.") : page.index("## What does not work")].partition("\n## ")[2]

    def test_an_option(self) -> None:
        """Its comment, with what is typed in code, and what the table knows."""
        text = "# === Limits\n# As max_qos does. See $SYS/x and\n# conf/acl. [SIGHUP]\n#max_keepalive 0\n"
        assert self.page_of(text) == (
            "Limits\n\n### `max_keepalive SECONDS`\n\nAs `max_qos` does. See `$SYS/x` and\n`conf/acl`.\n\n"
            "- default `0` · 0 to 65535 · anywhere · SIGHUP applies it\n\n"
        )

    def test_options_that_share_a_comment(self) -> None:
        """Both have headings, and facts of their own; a default that the comment tells is not told again."""
        text = "# === T\n# Both. Default: none.\n#certfile PATH\nkeyfile x\n"
        assert self.page_of(text).endswith(
            "### `certfile PATH`\n\n### `keyfile PATH`\n\nBoth. Default: none.\n\n"
            "- `certfile` · after listener, or opens one · SIGHUP applies it\n"
            "- `keyfile` · after listener, or opens one · SIGHUP applies it\n\n"
        )

    def test_paragraphs_and_code(self) -> None:
        """A lone # ends a paragraph, and what is indented is code."""
        text = "# === T\n# One\n# line.\n#\n# Another:\n#     listener 1\n#     protocol http\n# And on.\n"
        assert self.page_of(text) == (
            "T\n\nOne\nline.\n\nAnother:\n\n    listener 1\n    protocol http\n\nAnd on.\n\n"
        )

    def test_an_option_in_use_again(self) -> None:
        """It is explained once; what is said of its second use is said of the section."""
        text = "# === T\n# Opens.\nlistener 1\n\n# Opens another.\nlistener 2\n"
        page = self.page_of(text)
        assert page.count("### ") == 1
        assert page.endswith("\n\nOpens another.\n\n")
