"""`pushd.gateway.ntfy.gotemplate.values`: what JSON's values look like, and how they compare."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.ntfy.gotemplate.errors import ExecutionFailed
from pushd.gateway.ntfy.gotemplate.values import (
    MAX_DEPTH,
    MAX_TEXT,
    elements,
    equal,
    field_of,
    less,
    measure,
    number_shown,
    shown,
)

SHOWN: list[tuple[object, str]] = [
    (None, "<no value>"),
    (True, "true"),
    ("a", "a"),
    (3, "3"),
    (-0.5, "-0.5"),
    (2.0, "2"),
    (1750000000, "1750000000"),
    (1e20, "100000000000000000000"),
    (1e21, "1e+21"),
    (1.5e-7, "1.5e-07"),
    (0.0001, "0.0001"),
    (float("inf"), "+Inf"),
    ([1, "b", None], "[1 b <nil>]"),
    ({"b": 1, "a": [2]}, "map[a:[2] b:1]"),
]


class ShownTests(SynchronousTestCase):
    """As Go's %v, but for numbers"""

    def test_each_looks_as_it_should(self) -> None:
        """Whole numbers have no exponent, objects are in the order of their keys."""
        for value, text in SHOWN:
            self.assertEqual(shown(value), text)

    @given(st.floats() | st.integers())
    def test_every_number_is_some_text(self, number: float) -> None:
        """A finite one can be read back."""
        text = number_shown(number)
        if number == number and abs(number) < 1e300:
            self.assertAlmostEqual(float(text), float(number), delta=abs(number) * 1e-12)


class MeasureTests(SynchronousTestCase):
    """What may be walked through"""

    def test_small_things_are_not_what_they_contain(self) -> None:
        """A list of a list of a list, each twice, ends when the steps do."""
        value: list[object] = []
        for _ in range(40):
            value = [value, value]
        spent = [0]

        def spend(steps: int) -> None:
            spent[0] += steps
            if spent[0] > 1_000:
                raise ExecutionFailed("enough")

        self.assertRaises(ExecutionFailed, measure, value, spend)

    def test_depth_and_text_have_limits(self) -> None:
        """Before anything recurses."""
        deep: object = 1
        for _ in range(MAX_DEPTH + 1):
            deep = [deep]
        for value in (deep, ["x" * MAX_TEXT, "x"]):
            self.assertRaises(ExecutionFailed, measure, value, lambda steps: None)

    def test_characters_are_counted(self) -> None:
        """In all texts within."""
        self.assertEqual(measure({"a": ["bc", "d"], "e": 1}, lambda steps: None), 3)


class ComparisonTests(SynchronousTestCase):
    """eq and lt"""

    def test_equal_is_one_of_the_others(self) -> None:
        """Whole and broken numbers are numbers alike; nothing is only nothing."""
        self.assertTrue(equal(1, 2, 1.0))
        self.assertFalse(equal("a", "b"))
        self.assertTrue(equal(None, None))
        self.assertFalse(equal(None, ""))

    def test_numbers_and_texts_have_an_order(self) -> None:
        """Each among themselves."""
        self.assertTrue(less(1, 1.5))
        self.assertTrue(less("a", "b"))

    def test_different_kinds_do_not_compare(self) -> None:
        """As in Go, that is a mistake of the template and no answer."""
        unlike: list[tuple[object, object]] = [(1, "1"), (True, 1), ([], []), ({}, 1)]
        for first, other in unlike:
            self.assertRaises(ExecutionFailed, equal, first, other)
        for first, other in [*unlike, (True, False), (None, 1)]:
            self.assertRaises(ExecutionFailed, less, first, other)


class AccessTests(SynchronousTestCase):
    """Fields and elements"""

    def test_a_missing_field_is_nothing(self) -> None:
        """But only objects have fields."""
        self.assertEqual(field_of({"a": 1}, "a"), 1)
        self.assertIsNone(field_of({}, "a"))
        for value in (None, "a", [1], 3):
            self.assertRaises(ExecutionFailed, field_of, value, "a")

    def test_elements_have_keys(self) -> None:
        """Of a list, an object and a number; nothing has none, a text cannot be gone through."""
        self.assertEqual(list(elements(["a"])), [(0, "a")])
        self.assertEqual(list(elements({"b": 1, "a": 2})), [("a", 2), ("b", 1)])
        self.assertEqual(list(elements(2)), [(0, 0), (1, 1)])
        self.assertEqual(list(elements(None)), [])
        for value in ("a", True, 1.5):
            with self.assertRaises(ExecutionFailed):
                list(elements(value))
