"""`pushd.gateway.ntfy.topics`: which topic a push goes to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.http import problems
from pushd.gateway.http.problems import Problem, Refusal
from pushd.gateway.ntfy.topics import RESERVED, topic_of_json, topic_of_segment, topic_of_segments
from pushd.mqtt.topics import is_valid_name


class SegmentTests(SynchronousTestCase):
    """``/<topic>``"""

    def assert_refused(self, segment: bytes, problem: Problem) -> None:
        self.assertIs(self.assertRaises(Refusal, topic_of_segment, segment).problem, problem)

    def test_a_flat_topic_is_its_own_mqtt_topic(self) -> None:
        """1 to 64 of ntfy's letters."""
        for topic in ("a", "A-b_9", "x" * 64):
            self.assertEqual(topic_of_segment(topic.encode()), topic)

    def test_other_letters_are_refused_in_a_flat_topic(self) -> None:
        """A trailing newline included, which a careless pattern would let pass."""
        for segment in (b"a b", b"a.b", "ä".encode(), b"a\n", b"+", b"x" * 65, b"$SYS"):
            self.assert_refused(segment, problems.TOPIC_INVALID)

    def test_ntfys_own_pages_are_no_topics(self) -> None:
        """Its clients expect 40010 for them."""
        for topic in RESERVED:
            self.assert_refused(topic.encode(), problems.TOPIC_RESERVED)

    def test_an_escaped_slash_makes_levels(self) -> None:
        """With levels it is a topic of MQTT's, whose letters are any."""
        self.assertEqual(topic_of_segment("home/küche 1".encode()), "home/küche 1")
        self.assertEqual(topic_of_segment(b"/"), "/")

    def test_what_mqtt_forbids_is_refused(self) -> None:
        """Wildcards, the server's own topics, NUL, what is not UTF-8, and levels without end."""
        for segment in (b"a/+", b"a/#", b"$SYS/x", b"a/\x00", b"a/\xff", b"a/\xed\xa0\x80", b"/" * 300):
            self.assert_refused(segment, problems.TOPIC_INVALID)


class OtherSpellingsTests(SynchronousTestCase):
    """``/v1/publish/…`` and JSON"""

    def test_segments_are_levels(self) -> None:
        """An empty one is a level too, as in MQTT."""
        self.assertEqual(topic_of_segments([b"home", b"", b"a/b"]), "home//a/b")

    def test_no_segments_are_no_page_and_an_empty_one_no_topic(self) -> None:
        """``/v1/publish`` and ``/v1/publish/``."""
        self.assertIs(self.assertRaises(Refusal, topic_of_segments, []).problem, problems.NOT_FOUND)
        self.assertIs(self.assertRaises(Refusal, topic_of_segments, [b""]).problem, problems.TOPIC_INVALID)

    def test_json_takes_any_topic_but_the_reserved(self) -> None:
        """Spaces and levels need no escapes there."""
        self.assertEqual(topic_of_json("living room/lamp"), "living room/lamp")
        self.assertIs(self.assertRaises(Refusal, topic_of_json, "docs").problem, problems.TOPIC_RESERVED)

    @given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
    def test_whatever_passes_is_a_topic_name(self, segment: bytes) -> None:
        """No bytes get a wildcard, a ``$`` or ill-formed text past the check."""
        for read in (topic_of_segment, lambda part: topic_of_segments([part])):
            try:
                topic = read(segment)
            except Refusal:
                continue
            self.assertTrue(is_valid_name(topic) and not topic.startswith("$"))
