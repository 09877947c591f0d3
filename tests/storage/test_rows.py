"""`pushd.storage.rows`: many rows to a step, and rows that make no sense."""

from __future__ import annotations

import sqlite3

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.message import PushMark, Source
from pushd.mqtt.codes import PropertyId
from pushd.mqtt.packets import Properties
from pushd.storage.rows import (
    DamagedRow,
    Statement,
    Times,
    read_ids,
    read_properties,
    read_push,
    read_source,
    written_ids,
    written_properties,
    written_push,
    written_source,
)


class StatementTests(SynchronousTestCase):
    """Rows in as few steps as possible"""

    def setUp(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(self.connection.close)
        self.connection.execute("CREATE TABLE t (a, b)")
        self.insert = Statement("INSERT INTO t VALUES {rows}", 2)

    def test_all_rows_in_their_order(self) -> None:
        """Whatever their number."""
        for count in (0, 1, 2, 511, 512, 1500):
            self.connection.execute("DELETE FROM t")
            rows = [(n, str(n)) for n in range(count)]
            self.insert.run(self.connection, iter(rows))
            self.assertEqual(rows, self.connection.execute("SELECT * FROM t ORDER BY rowid").fetchall())

    def test_few_steps(self) -> None:
        """A thousand rows are six steps: SQLite lets other threads run at each."""
        steps: list[str] = []
        self.connection.set_trace_callback(steps.append)
        self.insert.run(self.connection, [(n, n) for n in range(1000)])
        self.assertEqual(6, len(steps))


class ReadTests(SynchronousTestCase):
    """What was written, and what was not"""

    @given(st.lists(st.integers(1, 268_435_455)).map(tuple))
    def test_subscription_identifiers(self, ids: tuple[int, ...]) -> None:
        """They come back."""
        self.assertEqual(ids, read_ids(written_ids(ids)))

    @given(
        st.builds(
            PushMark, st.text(), st.integers(0), st.integers(0), st.booleans(), st.text(), st.booleans()
        )
    )
    def test_pushes(self, push: PushMark) -> None:
        """A mark comes back, whatever its texts; none is none."""
        self.assertEqual(push, read_push(written_push(push)))
        self.assertIsNone(read_push(written_push(None)))

    def test_no_pushes(self) -> None:
        """Any other JSON is damage, and what is no JSON."""
        for text in (
            "",
            "[]",
            "{}",
            '["a"]',
            '["a", "1"]',
            '["a", 1.5]',
            '["a", 1, 0, 1]',
            "[1, 1]",
            "[" * 9999,
        ):
            self.assertRaises(DamagedRow, read_push, text)

    def test_sources(self) -> None:
        """Who published something comes back as it was; what is none is damage."""
        for source in (None, Source("ada", None, "port 1883"), Source('é"', "", "unix:/x")):
            self.assertEqual(source, read_source(written_source(source)))
        for nonsense in (
            "",
            "x",
            "1",
            "[]",
            '["a"]',
            '["a", 1, "b"]',
            '[1, "a", "b"]',
            '{"a": 1}',
            "[" * 9999,
        ):
            self.assertRaises(DamagedRow, read_source, nonsense)

    def test_properties(self) -> None:
        """They come back; none are NULL."""
        properties: Properties = {
            PropertyId.CONTENT_TYPE: "text/plain",
            PropertyId.USER_PROPERTY: [("a", "1")],
        }
        self.assertEqual(properties, read_properties(written_properties(properties)))
        self.assertEqual((None, {}), (written_properties({}), read_properties(None)))

    @given(st.binary(max_size=20))
    def test_any_bytes(self, data: bytes) -> None:
        """Bytes are properties, or a damaged row."""
        try:
            read_properties(data)
        except DamagedRow as problem:
            self.assertIn("properties", str(problem))

    def test_nonsense(self) -> None:
        """It is called so."""
        self.assertRaises(DamagedRow, read_ids, "1 x")
        self.assertRaises(DamagedRow, read_properties, b"\0\0")

    def test_times(self) -> None:
        """The wall clock's, and back; no time stays no time."""
        times = Times.now(lambda: 1000.0, lambda: 10.0)
        self.assertEqual((1002.0, 12.0), (times.written(12.0), times.read(1002.0)))
        self.assertEqual((None, None), (times.written(None), times.read(None)))
