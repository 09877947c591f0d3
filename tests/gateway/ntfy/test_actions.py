"""`pushd.gateway.ntfy.actions`: action buttons, as JSON and as text."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal
from pushd.gateway.ntfy.actions import actions_of_json, actions_of_text

VIEW = {"action": "view", "label": "Open", "url": "https://example.com/"}


class JsonTests(SynchronousTestCase):
    """A list of objects"""

    def assert_refused(self, *listed: object) -> None:
        error = self.assertRaises(Refusal, actions_of_json, list(listed))
        self.assertIs(error.problem, problems.ACTIONS_INVALID)

    def test_each_action_gets_an_id(self) -> None:
        """No two buttons of a message share one."""
        first, second = actions_of_json([VIEW, VIEW])
        self.assertEqual(first, {"id": "action1", **VIEW})
        self.assertNotEqual(first["id"], second["id"])

    def test_a_http_action_posts_unless_it_says_otherwise(self) -> None:
        """ntfy's clients rely on the server to say so."""
        (action,) = actions_of_json([{**VIEW, "action": "http"}])
        self.assertEqual(action["method"], "POST")
        (action,) = actions_of_json([{**VIEW, "action": "http", "method": "PUT"}])
        self.assertEqual(action["method"], "PUT")

    def test_fields_nobody_knows_are_left_out(self) -> None:
        """What is passed on is what was checked."""
        (action,) = actions_of_json([{**VIEW, "onclick": ["x"]}])
        self.assertNotIn("onclick", action)

    def test_null_is_not_set(self) -> None:
        """As clients write it for what they have no value for."""
        action = {"action": "http", "label": "x", "url": "https://e.org/", "body": None, "headers": None}
        (checked,) = actions_of_json([action])
        self.assertEqual(checked.keys(), {"id", "action", "label", "url", "method"})

    def test_more_than_three_are_refused(self) -> None:
        """No phone shows a fourth."""
        self.assertEqual(len(actions_of_json([VIEW] * 3)), 3)
        self.assert_refused(VIEW, VIEW, VIEW, VIEW)

    def test_an_action_without_what_it_needs_is_refused(self) -> None:
        """A type that exists, a label, and what the type acts on."""
        self.assert_refused({**VIEW, "action": "run"})
        self.assert_refused({**VIEW, "label": ""})
        self.assert_refused({"action": "view", "label": "Open"})
        self.assert_refused({"action": "copy", "label": "Copy"})
        self.assert_refused("view")

    def test_a_field_of_the_wrong_type_is_refused(self) -> None:
        """Clients take the types for granted."""
        wrong = {"url": 7, "clear": "yes", "headers": {"a": 1}, "body": "\ud800", "action": []}
        for name, value in wrong.items():
            self.assert_refused({**VIEW, name: value})


class TextTests(SynchronousTestCase):
    """``view, Label, url, clear=true; …``"""

    def test_places_stand_for_names(self) -> None:
        """Type, label, URL; what follows is named."""
        (action,) = actions_of_text("view, Open, https://example.com/, clear=true")
        self.assertEqual(action, {"id": "action1", **VIEW, "clear": True})

    def test_names_may_stand_anywhere(self) -> None:
        """All may be named, and dots lead into tables."""
        (action,) = actions_of_text("action=http, label=Lock, url=http://x/?a=b, headers.X-A=1, method=PUT")
        self.assertEqual((action["url"], action["headers"]), ("http://x/?a=b", {"X-A": "1"}))

    def test_quotes_keep_separators(self) -> None:
        """Of both kinds, with a backslash before a quote that is meant."""
        (action,) = actions_of_text("""http, "a, b; c", http://x, body='{"it\\'s": 1}'""")
        self.assertEqual((action["label"], action["body"]), ("a, b; c", '{"it\'s": 1}'))

    def test_a_semicolon_parts_actions(self) -> None:
        """The last one may have one behind it."""
        first, second = actions_of_text("view, A, http://a; copy, B, 1234;")
        self.assertEqual((first["label"], second["value"]), ("A", "1234"))

    def test_a_bracket_begins_json(self) -> None:
        """As scripts write it into the header."""
        self.assertEqual(actions_of_text(json.dumps([VIEW])), actions_of_json([VIEW]))

    def test_what_cannot_be_read_is_refused(self) -> None:
        """An open quote, a word behind one, a part too many, a table nobody knows, JSON that is none."""
        bad = ["view, 'A", "view, 'A' b, http://a", "view, A, http://a, more", "run, A"]
        bad += ["[{", "[" * 9999, "[1"]
        for text in bad:
            self.assertIs(self.assertRaises(Refusal, actions_of_text, text).problem, problems.ACTIONS_INVALID)

    @given(st.text(alphabet="view,;='\"\\ []{}.headers\n:/", max_size=60) | st.text())
    def test_any_text_is_actions_or_refused(self, text: str) -> None:
        """Nothing but a `Refusal` comes out of a bad one."""
        try:
            actions = actions_of_text(text)
        except Refusal:
            return
        self.assertLessEqual(len(actions), 3)
