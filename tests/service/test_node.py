"""`pushd.service.node`: a name that a restart does not change."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pushd.service.node import FILE, node_name


class NodeNameTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def test_stays(self) -> None:
        """The same at each start, and another elsewhere."""
        name = node_name(str(self.folder))
        self.assertEqual(node_name(str(self.folder)), name)
        self.assertNotEqual(node_name(None), name)
        self.assertNotEqual(node_name(None), node_name(None))

    def test_damaged(self) -> None:
        """A file with anything else in it is replaced."""
        for damage in (b"", b"\xff\n", b"../../etc\n", b"0" * 4000):
            (self.folder / FILE).write_bytes(damage)
            name = node_name(str(self.folder))
            self.assertEqual((self.folder / FILE).read_text(), f"{name}\n")
            self.assertEqual(len(name), 16)

    def test_nowhere(self) -> None:
        """A folder that is not there."""
        self.assertRaises(OSError, node_name, str(self.folder / "none"))
