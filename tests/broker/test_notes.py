"""`pushd.broker.notes`: small facts are kept until they are over, also over a restart."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.notes import Notes
from pushd.broker.records import Note
from pushd.broker.wheel import TimingWheel
from pushd.storage.memory import MemoryStore

NOON = 1_800_000_000


class NotesTests(SynchronousTestCase):
    """Of two kinds, and over a store that can be looked at"""

    def setUp(self) -> None:
        self.store = MemoryStore()
        self.notes = self.start()

    def start(self) -> Notes:
        """A process."""
        self.clock = Clock()
        wheel = TimingWheel(self.clock, self.clock.seconds)
        wheel.start()
        notes = Notes(self.store, wheel, lambda: NOON + self.clock.seconds())
        notes.restore(self.store.load().notes.values())
        return notes

    def test_set(self) -> None:
        """The last one counts; kinds have nothing to do with each other."""
        for value in (b"1", b"2"):
            self.assertTrue(self.notes.set("answer", "k", value, NOON + 60))
        self.notes.set("other", "k", b"3", NOON + 90)
        self.assertEqual(Note("answer", "k", b"2", NOON + 60), self.notes.get("answer", "k"))
        self.assertEqual([b"3"], [note.value for note in self.notes.of_kind("other")])
        self.assertIsNone(self.notes.get("answer", "other"))

    def test_clear(self) -> None:
        """It is gone, also for the next process. One that is not there is no trouble."""
        self.notes.set("answer", "k", b"1", NOON + 60)
        self.notes.clear("answer", "k")
        self.notes.clear("nothing", "k")
        self.assertEqual((None, {}), (self.notes.get("answer", "k"), self.store.state.notes))

    def test_restart(self) -> None:
        """The next process has them, and may write them again."""
        self.notes.set("answer", "k", b"1", NOON + 60)
        notes = self.start()
        self.assertEqual(Note("answer", "k", b"1", NOON + 60), notes.get("answer", "k"))
        notes.set("answer", "k", b"2", NOON + 60)
        self.assertEqual(b"2", self.store.state.notes["answer", "k"].value)

    def test_end(self) -> None:
        """From then on it does not count, and soon it is nowhere."""
        self.notes.set("answer", "k", b"1", NOON + 60)
        self.notes.set("answer", "l", b"1", NOON + 600)
        self.clock.advance(59.75)
        self.assertEqual(2, len(self.notes.of_kind("answer")))
        self.clock.advance(0.25)
        self.assertEqual(
            (None, ["l"]),
            (self.notes.get("answer", "k"), [note.key for note in self.notes.of_kind("answer")]),
        )
        self.clock.pump([5.0] * 3)
        self.assertEqual([("answer", "l")], [*self.store.state.notes])

    def test_written_again_in_time(self) -> None:
        """A note that has got a later end stays, though the sweep has the old one before it."""
        self.notes.set("answer", "k", b"1", NOON + 60)
        self.clock.pump([5.25] * 3)
        self.notes.set("answer", "k", b"2", NOON + 600)
        self.clock.pump([5.25] * 20)
        self.assertEqual([b"2"], [note.value for note in self.notes.of_kind("answer")])

    def test_many_end_at_once(self) -> None:
        """They are cleared a slice at a time, of all kinds in turn."""
        self.notes.SLICE = 10
        for n in range(25):
            for kind in ("a", "b"):
                self.notes.set(kind, str(n), b"", NOON + 1)
        left = []
        for _ in range(12):
            self.clock.pump([0.25] * 20)
            left.append(len(self.notes))
        self.assertLessEqual(
            max(before - after for before, after in zip([50, *left], left, strict=False)), 10
        )
        self.assertEqual(0, left[-1])

    def test_too_many(self) -> None:
        """There is no room for one more of the kind; those that are there may be replaced."""
        self.notes.limit("answer", 2)
        self.assertEqual([True, True, False], [self.notes.set("answer", k, b"", NOON + 9) for k in "abc"])
        self.assertTrue(self.notes.set("answer", "a", b"new", NOON + 9))
        self.assertTrue(self.notes.set("other", "c", b"", NOON + 9))
        self.assertEqual(3, len(self.store.state.notes))

    def test_key_that_is_no_text(self) -> None:
        """It is refused before anything else: no store could write it, nor anything that comes after."""
        self.assertRaises(UnicodeEncodeError, self.notes.set, "answer", "\ud800", b"", NOON + 9)
        self.assertEqual({}, self.store.state.notes)
