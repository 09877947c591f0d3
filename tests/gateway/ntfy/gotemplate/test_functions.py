"""`pushd.gateway.ntfy.gotemplate.functions`: what templates can call."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.ntfy.gotemplate.errors import ExecutionFailed
from pushd.gateway.ntfy.gotemplate.functions import FUNCTIONS
from pushd.gateway.ntfy.gotemplate.values import MAX_TEXT

CALLS: list[tuple[str, list[Any], Any]] = [
    ("not", [""], True),
    ("eq", ["a", "b", "a"], True),
    ("ne", [1, 2], True),
    ("ge", [2, 2.0], True),
    ("len", ["é"], 2),
    ("len", [{"a": 1}], 1),
    ("index", [{"a": [1, 2]}, "a", 1], 2),
    ("slice", ["abcd", 1, 3], "bc"),
    ("print", ["a", 1, 2, "b"], "a1 2b"),
    ("println", [1, None], "1 <nil>\n"),
    ("html", ["<a>"], "&lt;a&gt;"),
    ("urlquery", ["a b&"], "a+b%26"),
    ("trim", [" a\n"], "a"),
    ("trimAll", ["-", "-a-"], "a"),
    ("trimPrefix", ["a", "ab"], "b"),
    ("trimSuffix", ["b", "ab"], "a"),
    ("title", ["it's DOWN"], "It's Down"),
    ("trunc", [2, "abc"], "ab"),
    ("trunc", [-2, "abc"], "bc"),
    ("substr", [1, 2, "abc"], "b"),
    ("substr", [1, -1, "abc"], "bc"),
    ("repeat", [3, "ab"], "ababab"),
    ("replace", ["a", "bb", "aXa"], "bbXbb"),
    ("contains", ["b", "abc"], True),
    ("hasPrefix", ["a", "abc"], True),
    ("hasSuffix", ["a", "abc"], False),
    ("quote", ["a", 1, None], '"a" "1"'),
    ("squote", ["a"], "'a'"),
    ("cat", ["a", None, 2], "a 2"),
    ("indent", [2, "a\nb"], "  a\n  b"),
    ("nindent", [1, "a"], "\n a"),
    ("plural", ["dog", "dogs", 2], "dogs"),
    ("join", [", ", ["a", 1, None]], "a, 1"),
    ("split", ["/", "a/b"], {"_0": "a", "_1": "b"}),
    ("splitn", ["/", 2, "a/b/c"], {"_0": "a", "_1": "b/c"}),
    ("splitList", [",", "a,b"], ["a", "b"]),
    ("toString", [1.5], "1.5"),
    ("toStrings", [[1, "a"]], ["1", "a"]),
    ("sha256sum", [""], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("adler32sum", ["a"], "6422626"),
    ("b64enc", ["hi"], "aGk="),
    ("b64dec", ["aGk="], "hi"),
    ("b32dec", ["NBUQ===="], "hi"),
    ("base", ["a/b.txt"], "b.txt"),
    ("dir", ["a/b.txt"], "a"),
    ("ext", ["a/b.txt"], ".txt"),
    ("add", [1, 2, "3"], 6),
    ("add1", [2**63 - 1], -(2**63)),
    ("sub", [1, 2], -1),
    ("mul", [2, 3, 4], 24),
    ("div", [-7, 2], -3),
    ("mod", [-7, 2], -1),
    ("max", [1, 3, 2], 3),
    ("minf", [1.5, 0.5], 0.5),
    ("floor", [1.7], 1.0),
    ("ceil", [1.2], 2.0),
    ("round", [123.5555, 3], 123.556),
    ("round", [-0.5], -1.0),
    ("atoi", ["12"], 12),
    ("atoi", ["x"], 0),
    ("until", [3], [0, 1, 2]),
    ("untilStep", [3, 9, 3], [3, 6]),
    ("default", ["a", ""], "a"),
    ("default", ["a", "b"], "b"),
    ("empty", [[]], True),
    ("coalesce", [None, 0, "a"], "a"),
    ("all", [1, ""], False),
    ("any", [1, ""], True),
    ("ternary", ["yes", "no", True], "yes"),
    ("list", [1, 2], [1, 2]),
    ("first", [[1, 2]], 1),
    ("last", [[]], None),
    ("rest", [[1, 2]], [2]),
    ("initial", [[1, 2]], [1]),
    ("reverse", [[1, 2]], [2, 1]),
    ("append", [[1], 2], [1, 2]),
    ("prepend", [[1], 2], [2, 1]),
    ("concat", [[1], [2]], [1, 2]),
    ("chunk", [2, [1, 2, 3]], [[1, 2], [3]]),
    ("compact", [[0, 1, ""]], [1]),
    ("uniq", [[1, "1", 1, True]], [1, "1", True]),
    ("without", [[1, 2, 3], 2], [1, 3]),
    ("has", [2, [1, 2]], True),
    ("sortAlpha", [["b", "a"]], ["a", "b"]),
    ("dict", ["a", 1, "b"], {"a": 1, "b": ""}),
    ("get", [{"a": 1}, "b"], ""),
    ("set", [{"a": 1}, "b", 2], {"a": 1, "b": 2}),
    ("unset", [{"a": 1}, "a"], {}),
    ("hasKey", [{"a": None}, "a"], True),
    ("keys", [{"b": 1, "a": 2}], ["a", "b"]),
    ("values", [{"b": 1, "a": 2}], [2, 1]),
    ("pluck", ["a", {"a": 1}, {"b": 2}], [1]),
    ("pick", [{"a": 1, "b": 2}, "a"], {"a": 1}),
    ("omit", [{"a": 1, "b": 2}, "a"], {"b": 2}),
    ("dig", ["a", "b", "?", {"a": {"b": 1}}], 1),
    ("dig", ["a", "b", "?", {"a": 1}], "?"),
    ("deepEqual", [[1, {"a": 2}], [1, {"a": 2}]], True),
    ("deepEqual", [1, True], False),
    ("toJSON", [{"b": [1, None], "a": "é"}], '{"a":"é","b":[1,null]}'),
    ("mustToPrettyJSON", [{"a": 1}], '{\n  "a": 1\n}'),
    ("fromJSON", ['{"a":1}'], {"a": 1}),
    ("kindOf", [{}], "map"),
    ("typeIs", ["string", "a"], True),
]

WRONG: list[tuple[str, list[Any]]] = [
    ("upper", [1]),
    ("upper", [None]),
    ("len", [1]),
    ("index", [[1], 1]),
    ("index", [[1], "a"]),
    ("index", [None, 0]),
    ("slice", ["abc", 2, 1]),
    ("slice", ["abc", 0, 9]),
    ("div", [1, 0]),
    ("mod", [1, 0]),
    ("first", ["a"]),
    ("keys", [1]),
    ("b64dec", ["a"]),
    ("fromJSON", ["{"]),
    ("fail", ["no"]),
    ("repeat", [10**9, "a"]),
    ("indent", [10**9, "a"]),
    ("replace", ["", "a" * 1000, "b" * 1000]),
    ("join", ["a" * 1000, [1] * 1000]),
    ("until", [10**9]),
    ("untilStep", [0, 10**18, 1]),
]

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=8,
)


class FunctionTests(SynchronousTestCase):
    """One row each"""

    def test_each_gives_what_it_should(self) -> None:
        """The names, and the order of arguments, are those of Go and sprig."""
        for name, arguments, result in CALLS:
            self.assertEqual(FUNCTIONS[name].call(*arguments), result, (name, arguments))

    def test_what_cannot_be_done_fails(self) -> None:
        """What would grow too long fails before it does."""
        for name, arguments in WRONG:
            with self.assertRaises(ExecutionFailed, msg=name):
                FUNCTIONS[name].call(*arguments)

    def test_nothing_changes_its_arguments(self) -> None:
        """Several templates look at the same data."""
        for name, arguments, _ in CALLS:
            before = json.dumps(arguments)
            FUNCTIONS[name].call(*arguments)
            self.assertEqual(json.dumps(arguments), before, name)

    @settings(deadline=None)
    @given(st.sampled_from(sorted(FUNCTIONS)), st.lists(_JSON, max_size=5))
    def test_any_values_give_a_value_or_fail(self, name: str, values: list[object]) -> None:
        """Never another exception, and never a text that is too long."""
        function = FUNCTIONS[name]
        if not function.least <= len(values) <= function.most:
            return
        try:
            result = function.call(*values)
        except ExecutionFailed:
            return
        if isinstance(result, str):
            self.assertLessEqual(len(result), 2 * MAX_TEXT)
