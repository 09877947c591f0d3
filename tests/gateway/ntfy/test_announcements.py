"""`pushd.gateway.ntfy.announcements` and `pushd.gateway.ntfy.formats`: made once, for all who read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.message import Message, PushMark
from pushd.broker.records import Kept
from pushd.gateway.ntfy.announcements import Announcement, Announcer, object_of_kept
from pushd.gateway.ntfy.formats import FRAMES, JSON, RAW, SSE, Format

MARK = PushMark("bQ1gAWzE2cbG", 1000, 60)


class Ear:
    """Remembers what it heard, and may not like it."""

    def __init__(self, fails: bool = False) -> None:
        self.heard: list[str] = []
        self._fails = fails

    def hear(self, announcement: Announcement) -> None:
        if self._fails:
            raise RuntimeError("deaf")
        self.heard.append(announcement.shown["message"])


class AnnouncerTests(SynchronousTestCase):
    """Who hears when"""

    def setUp(self) -> None:
        self.durable: list[Callable[[], None]] = []
        self.announcer = Announcer(self.mark, self.durable.append)

    def mark(self, message: Message) -> PushMark:
        message.push = message.push or MARK
        return message.push

    def test_one_of_each(self) -> None:
        """All taps of a message get the same one, and the store is asked once."""
        message = Message("news", b"0")
        made = [self.announcer.of_message("news", message) for _ in range(3)]
        self.assertEqual((len(set(map(id, made))), len(self.durable)), (1, 1))
        self.assertIsNot(self.announcer.of_message("news", Message("news", b"0")), made[0])

    def test_heard_when_durable(self) -> None:
        """Then, and at once by who asks later; whoever fails keeps nobody else from it."""
        ears = [Ear(), Ear(fails=True), Ear()]
        announcement = self.announcer.of_message("news", Message("news", b"0"))
        for ear in ears:
            announcement.tell(ear)
        self.assertEqual(ears[0].heard, [])
        self.durable[0]()
        late = Ear()
        announcement.tell(late)
        self.assertEqual([ear.heard for ear in (*ears, late)], [["0"], [], ["0"], ["0"]])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_kept(self) -> None:
        """Only what the archive has has an end there."""
        kept = self.announcer.of_message("news", Message("news", b"0"))
        self.assertEqual((kept.kept, kept.shown["expires"]), (True, 1060))
        message = Message("news", b"0")
        message.push = MARK._replace(keep_s=0)
        other = self.announcer.of_message("news", message)
        self.assertEqual((other.kept, "expires" in other.shown), (False, False))

    def test_events(self) -> None:
        """The same of what was told; an event that no archive has has the number 0."""
        told = Kept(7, "id", 1000, 1060, Message("news", b""), "message_clear")
        announcement = self.announcer.of_event("news", told)
        self.assertIs(self.announcer.of_event("news", told), announcement)
        self.assertEqual((announcement.kept, announcement.shown["event"]), (True, "message_clear"))
        self.assertEqual((announcement.shown["id"], announcement.shown["expires"]), ("id", 1060))
        gone = object_of_kept("news", Kept(0, "id", 1000, 1000, Message("news", b"")))
        self.assertNotIn("expires", gone)

    def test_encoded_once(self) -> None:
        """For each format."""
        calls: list[Any] = []

        def encode(shown: Any) -> bytes:
            calls.append(shown)
            return b"x"

        announcement = self.announcer.of_message("news", Message("news", b"0"))
        for _ in range(3):
            self.assertEqual(announcement.encoded(Format("once", b"", encode)), b"x")
        self.assertEqual(len(calls), 1)


class FormatTests(SynchronousTestCase):
    """From objects to bytes"""

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """One message is one line, or one event, or one frame, whatever is in it: half a character, too."""
        shown = {"id": "x", "event": "message", "topic": "t", "message": text}
        for format in (JSON, RAW):
            data = format.encode(shown)
            self.assertEqual((data.count(b"\n"), data[-1:], b"\r" in data), (1, b"\n", False))
        self.assertEqual(SSE.encode(shown).count(b"\n"), 2)
        self.assertEqual(FRAMES.encode(shown)[:1], b"\x81")

    def test_raw(self) -> None:
        """What breaks lines is a space."""
        shown = {"event": "message", "message": "a\nb\r\nc\rd\u2028e"}
        self.assertEqual(RAW.encode(shown), "a b c d\u2028e\n".encode())
        self.assertEqual(RAW.encode({"event": "keepalive"}), b"\n")
