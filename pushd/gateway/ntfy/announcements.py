"""
What is said on a topic, as streams have it: made once for all who read it, and told when it is durable.

A message comes to each stream by a tap of its own, at once, before the store has it. The first tap to hand it
on makes an announcement of it, and the others find that one: a thousand streams of one topic are one message
object, one encoding for each format, and one thing that waits for the store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.logger import Logger

from pushd.broker.message import Message, PushMark
from pushd.broker.records import Kept
from pushd.gateway.ntfy.formats import Format
from pushd.gateway.ntfy.messages import message_object

log = Logger()


class Announcement:
    """
    :ivar topic: as the readers know it.
    :ivar id: with the topic, nobody else's.
    :ivar shown: the message object.
    :ivar kept: whether the archive has it, or had.
    """

    __slots__ = ("_encoded", "_readers", "id", "kept", "shown", "topic")

    def __init__(self, topic: str, id: str, shown: dict[str, Any], kept: bool) -> None:
        self.topic = topic
        self.id = id
        self.shown = shown
        self.kept = kept
        self._encoded: dict[str, bytes] = {}  # by format
        self._readers: list[Hearer] | None = []  # who wait; None once there is nothing to wait for

    def encoded(self, format: Format) -> bytes:
        """The message object as this format writes it."""
        data = self._encoded.get(format.name)
        if data is None:
            data = self._encoded[format.name] = format.encode(self.shown)
        return data

    def tell(self, reader: Hearer) -> None:
        """Have somebody hear it, as soon as it may be told."""
        if self._readers is None:
            reader.hear(self)
        else:
            self._readers.append(reader)

    def announce(self) -> None:
        """It is durable."""
        readers, self._readers = self._readers, None
        for reader in readers or ():
            try:
                reader.hear(self)
            except Exception:  # the others shall hear it
                log.failure("{reader!r} could not be told", reader=reader)


class Hearer(Protocol):
    """Who is told."""

    def hear(self, announcement: Announcement) -> None:
        """It is durable."""


class Announcer:
    """Makes announcements, for all streams of a listener."""

    def __init__(
        self, mark: Callable[[Message], PushMark], when_durable: Callable[[Callable[[], None]], object]
    ) -> None:
        """
        :param mark: gives the mark of a message, which has it from then on.
        :param when_durable: calls something once all that was recorded before is durable, in this order.
        """
        self._mark = mark
        self._when_durable = when_durable
        self._last_of: Message | Kept | None = None
        self._last: Announcement | None = None

    def of_message(self, topic: str, message: Message) -> Announcement:
        """
        Of a message that is being published. Its taps come one after the other: to know the last one is
        enough.
        """
        if message is self._last_of and self._last is not None:
            return self._last
        mark = self._mark(message)
        until = mark.at + mark.keep_s if mark.keep_s else 0
        shown = message_object(topic, message, until=until)
        return self._remember(message, Announcement(topic, mark.id, shown, mark.keep_s > 0))

    def of_event(self, topic: str, kept: Kept) -> Announcement:
        """Of an event that was told (`pushd.broker.archive.Archive.tell`)."""
        if kept is self._last_of and self._last is not None:
            return self._last
        shown = object_of_kept(topic, kept)
        return self._remember(kept, Announcement(topic, kept.id, shown, kept.number > 0))

    def _remember(self, source: Message | Kept, announcement: Announcement) -> Announcement:
        self._last_of, self._last = source, announcement
        self._when_durable(announcement.announce)
        return announcement


def object_of_kept(topic: str, kept: Kept) -> dict[str, Any]:
    """The message object of what the archive has."""
    if kept.message.push is None:
        kept.message.push = PushMark(kept.id, kept.at)
    return message_object(topic, kept.message, kept.event, kept.until if kept.number else 0)
