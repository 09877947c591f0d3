"""v3 §4.7, v5 §4.7 and §4.8.2: the table in ``tests/vectors/topics.json``, and what a table cannot say."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.mqtt.codes import ReasonCode
from pushd.mqtt.errors import MalformedPacket
from pushd.mqtt.topics import (
    check_filter,
    check_name,
    is_valid_filter,
    is_valid_name,
    matches,
    split_shared,
)

TABLE: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "topics.json").read_text(encoding="utf-8")
)

levels = st.sampled_from(["", "a", "b", "$SYS", "é"])
names = st.lists(levels, min_size=1, max_size=6).map("/".join).filter(bool)
filters = st.lists(st.one_of(levels, st.just("+")), min_size=1, max_size=6).flatmap(
    lambda path: st.sampled_from(["/".join(path), "/".join([*path, "#"])])
)


def matches_by_recursion(filter: list[str], name: list[str]) -> bool:
    """The words of the standard, slowly: `matches` without its shortcuts and without the rule for ``$``."""
    if filter == ["#"]:
        return True
    if not filter or not name:
        return filter == name
    return filter[0] in ("+", name[0]) and (
        matches_by_recursion(filter[1:], name[1:]) or (filter[1:] == ["#"] and not name[1:])
    )


class TopicNameTests(SynchronousTestCase):
    """What a message may be published to."""

    def test_table_of_names(self) -> None:
        """Every name in the table is judged as the table says."""
        wrong = [row for row in TABLE["names"] if is_valid_name(row["topic"]) is not row["valid"]]
        self.assertEqual([], wrong)

    def test_invalid_name_is_0x90(self) -> None:
        """The peer is told that the topic name is invalid."""
        error = self.assertRaises(MalformedPacket, check_name, "a/+")
        self.assertIs(error.code, ReasonCode.TOPIC_NAME_INVALID)

    def test_message_does_not_repeat_the_name(self) -> None:
        """What ends up in a log holds nothing that a peer has chosen."""
        error = self.assertRaises(MalformedPacket, check_name, "secret\n+")
        self.assertNotIn("secret", str(error))

    def test_the_longest_name(self) -> None:
        """65535 bytes of UTF-8 are a name; one more is not, counted in bytes."""
        self.assertTrue(is_valid_name("é" * 32767 + "a"))
        self.assertFalse(is_valid_name("é" * 32768))
        self.assertFalse(is_valid_name("a" * 65536))

    def test_the_deepest_name(self) -> None:
        """200 levels are a name, 201 are an attack."""
        self.assertTrue(is_valid_name("/" * 199))
        self.assertFalse(is_valid_name("/" * 200))
        self.assertFalse(is_valid_name("/" * 65535))

    @given(st.text())
    def test_a_name_is_a_filter_without_wildcards(self, text: str) -> None:
        """What can be published to can be subscribed to by the same words, but for ``$share``."""
        if not text.startswith("$share/"):
            plain = "+" not in text and "#" not in text
            self.assertEqual(is_valid_name(text), plain and is_valid_filter(text))


class TopicFilterTests(SynchronousTestCase):
    """What a client may subscribe with."""

    def test_table_of_filters(self) -> None:
        """Every filter in the table is judged as the table says."""
        wrong = [row for row in TABLE["filters"] if is_valid_filter(row["filter"]) is not row["valid"]]
        self.assertEqual([], wrong)

    def test_invalid_filter_is_0x8f(self) -> None:
        """The peer is told that the topic filter is invalid, be it shared or not."""
        for filter in ("a#", "$share/g", ""):
            error = self.assertRaises(MalformedPacket, check_filter, filter)
            self.assertIs(error.code, ReasonCode.TOPIC_FILTER_INVALID)

    def test_the_longest_filter(self) -> None:
        """65535 bytes are a filter, its share included."""
        self.assertTrue(is_valid_filter("$share/g/" + "a" * (65535 - 9)))
        self.assertFalse(is_valid_filter("$share/g/" + "a" * (65536 - 9)))

    def test_the_deepest_filter(self) -> None:
        """200 levels below the share are a filter."""
        self.assertTrue(is_valid_filter("$share/g/" + "/" * 199))
        self.assertFalse(is_valid_filter("+" + "/+" * 200))

    @given(filters)
    def test_well_built_filters_are_valid(self, filter: str) -> None:
        """Whole levels, with ``#`` last, are a filter, unless there is nothing at all."""
        self.assertEqual(is_valid_filter(filter), filter != "")


class SharedFilterTests(SynchronousTestCase):
    """v5 §4.8.2"""

    def test_a_shared_filter_comes_apart(self) -> None:
        """Group and filter are what stands between and behind the slashes."""
        self.assertEqual(("group", "a/+/#"), split_shared("$share/group/a/+/#"))
        self.assertEqual(("g", "/"), split_shared("$share/g//"))

    def test_any_other_filter_stays_whole(self) -> None:
        """``$share`` without a slash, or not at the beginning, shares nothing."""
        for filter in ("a/b", "$share", "$shared/g/a", "a/$share/g/b", "#"):
            self.assertEqual((None, filter), split_shared(filter))

    def test_a_share_without_group_or_filter_is_malformed(self) -> None:
        """There is no nameless group, and no group of nothing."""
        for filter in ("$share/", "$share//a", "$share/g", "$share/g/", "$share/a+/b", "$share/#/b"):
            self.assertRaises(MalformedPacket, split_shared, filter)


class MatchesTests(SynchronousTestCase):
    """v3 §4.7.1, §4.7.2; v5 §4.7.1, §4.7.2"""

    def test_table_of_matches(self) -> None:
        """Every pair in the table matches, or not, as the table says."""
        wrong = [row for row in TABLE["matches"] if matches(row["filter"], row["name"]) is not row["matches"]]
        self.assertEqual([], wrong)

    @given(filters.filter(bool), names)
    def test_agrees_with_the_standard_word_by_word(self, filter: str, name: str) -> None:
        """Any filter and name give what a literal reading of the standard gives."""
        expected = matches_by_recursion(filter.split("/"), name.split("/"))
        if name.startswith("$") and filter[0] in "+#":
            expected = False  # v3 and v5 [MQTT-4.7.2-1]
        self.assertIs(matches(filter, name), expected)

    @given(names)
    def test_a_name_matches_itself(self, name: str) -> None:
        """A subscription to exactly this topic gets its messages."""
        self.assertTrue(matches(name, name))

    def test_time_is_linear_in_the_levels(self) -> None:
        """The patterns that make backtracking matchers take years take no time."""
        started = time.process_time()
        self.assertFalse(matches("/".join(["+"] * 150 + ["b"]), "/".join(["a"] * 151)))
        self.assertFalse(matches("+/" * 199 + "x", "a/" * 199 + "y"))
        self.assertLess(time.process_time() - started, 0.1)
