"""
What one reader of topics gets: what was said before it came, then what is being said; nothing is left out and
nothing comes twice.

    BEHIND --nothing left in the archive--> LIVE

**Listen first.** The taps are there before the archive is asked, and what they bring meanwhile is held.
What is kept is recorded when it is published, so the next look into the archive finds all that was held until
then: of that only its place in the order stays. What comes from the archive is given in the archive's order,
and with it, in its place, what was held and is in no archive (``cache=no``). When the archive has no more,
what is still held is given, less what was found, and the reader is LIVE.

**At the reader's pace.** The archive is read by the page, and the next only when the reader has taken what
there was. Who has slept for hours and has a slow line costs a page of messages, not the archive.

**As long as it may.** Access rules are asked about each topic before anything is read, by the broker about
each message, and again with each heart beat: then a stream ends whose reader has lost a topic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pushd.broker.interfaces import Principal
from pushd.broker.message import Message, PushMark, new_push_id
from pushd.broker.records import Kept, KeptQuery
from pushd.broker.tap import Tap
from pushd.gateway.http import problems
from pushd.gateway.http.problems import OF_REASON_CODE, Refusal
from pushd.gateway.http.streams import Stream
from pushd.gateway.ntfy.announcements import Announcement, Announcer, object_of_kept
from pushd.gateway.ntfy.filters import EVERYTHING, Filter
from pushd.gateway.ntfy.formats import Format
from pushd.gateway.ntfy.messages import message_object
from pushd.gateway.ntfy.since import NONE, Since
from pushd.mqtt.codes import ReasonCode

# Of what the archive has: with the largest messages there are, 3 MB.
PAGE = 50

# Of what comes while a reader is behind. With more, what the archive has is looked up there later; if that
# does not help, the reader is too slow.
MAX_HELD_BYTES = 262_144

# By topic and id, in the order in which it was said. None: it is in the archive, and what is before it is to
# be told before it.
_Held: TypeAlias = "dict[tuple[str, str], Announcement | None]"

log = Logger()


class Source(Protocol):
    """What a reader asks of the broker. Topics are without the mount point of the reader's listener."""

    def may_read(self, principal: Principal, topic: str) -> Deferred[ReasonCode]:
        """Whether somebody may read what is said on a topic, or may subscribe to a filter with wildcards."""

    def still_reads(self, principal: Principal, topic: str) -> bool:
        """The same, decided at once; ``True`` if nobody can say at the moment."""

    def listen(
        self,
        principal: Principal,
        filter: str,
        received: Callable[[str, Message], None],
        ended: Callable[[], None],
    ) -> Deferred[Tap | ReasonCode]:
        """See `pushd.broker.tap.listen`."""

    def watch(self, topic: str, function: Callable[[Kept], None]) -> Callable[[], None]:
        """See `pushd.broker.archive.Archive.watch`."""

    def find(self, query: KeptQuery) -> Deferred[list[Kept]]:
        """See `pushd.broker.archive.Archive.find`."""

    def number_of(self, id: str) -> Deferred[int | None]:
        """See `pushd.broker.archive.Archive.number_of`."""

    def scheduled(self, topics: tuple[str, ...]) -> list[Message]:
        """What waits to be published to these topics, in the order in which it is due."""

    def mark(self, message: Message) -> PushMark:
        """That of a message, which has it from then on: see `pushd.broker.archive.Archive.mark`."""

    def when_durable(self, function: Callable[[], None]) -> None:
        """Call it once all that was recorded before is durable, in the order of these calls."""

    def topic_of(self, message: Message) -> str:
        """As the readers know it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """
    What somebody wants to read.

    :ivar topics: names, or one filter with wildcards.
    :ivar named: how the reader itself calls all that.
    :ivar has_wildcards: then there is nothing but what is being said: the archive goes by topic names.
    :ivar poll: only what was said before, and then the end.
    :ivar scheduled: also what is to be said.
    """

    topics: tuple[str, ...]
    named: str
    has_wildcards: bool = False
    since: Since = NONE
    poll: bool = False
    scheduled: bool = False
    filter: Filter = EVERYTHING


async def check_access(source: Source, principal: Principal, topics: tuple[str, ...]) -> None:
    """
    :raises Refusal: 40301 and others, if one of these topics is not for this reader.
    """
    for topic in topics:
        code = await source.may_read(principal, topic)
        if code is not ReasonCode.SUCCESS:
            raise Refusal(OF_REASON_CODE.get(code, problems.INTERNAL_ERROR))


class Reader:
    """
    One of them.

    :ivar stream: where it reads; assigned once, for a stream needs the reader for its beats.
    """

    __slots__ = (
        "_announcer",
        "_format",
        "_held",
        "_held_bytes",
        "_looks_again",
        "_now",
        "_principal",
        "_source",
        "_wish",
        "stream",
    )

    stream: Stream

    def __init__(
        self,
        source: Source,
        announcer: Announcer,
        principal: Principal,
        wish: Wish,
        format: Format,
        now: Callable[[], float],
    ) -> None:
        """
        :param announcer: that of all readers of this listener.
        :param now: Unix seconds.
        """
        self._source = source
        self._announcer = announcer
        self._principal = principal
        self._wish = wish
        self._format = format
        self._now = now
        self._held: _Held | None = {}  # until it is live
        self._held_bytes = 0
        self._looks_again = False

    async def prepare(self) -> KeptQuery:
        """
        Listen, and find out where to begin.

        :raises Refusal: the caller may not read there.
        """
        wish = self._wish
        await check_access(self._source, self._principal, wish.topics)
        if not wish.poll:
            for topic in wish.topics:
                await self._listen(topic)
        after = await self._source.number_of(wish.since.id) if wish.since.id else 0
        # A reader whose clock is fast must not miss what is held while it waits for that time.
        at = min(wish.since.at, int(self._now()))
        limit = max(PAGE, len(wish.topics)) if wish.since.latest else PAGE
        return KeptQuery(wish.topics, after or 0, at, wish.since.latest, limit)

    async def _listen(self, topic: str) -> None:
        tap = await self._source.listen(self._principal, topic, self._came, self.stream.close)
        if isinstance(tap, ReasonCode):
            raise Refusal(OF_REASON_CODE.get(tap, problems.INTERNAL_ERROR))
        self.stream.call_when_over(tap.end)
        if not self._wish.has_wildcards:
            self.stream.call_when_over(self._source.watch(topic, self._was_told))

    async def run(self, query: KeptQuery) -> None:
        """Begin the stream, and bring its reader up to date. From then on it lives of what comes."""
        self.stream.begin()
        if not self._wish.poll:
            self.stream.write(self._event("open"))
        try:
            if not self._wish.since.nothing:
                await self._catch_up(query)
                self._tell_scheduled()
        except Exception:
            log.failure("the archive could not be read for a stream")
            self.stream.cut("the archive cannot be read")  # a proper end would say that this was all
        self._go_live()
        if self._wish.poll:
            self.stream.finish()

    def beat(self) -> bytes:
        """What a stream writes when nothing was said for a while."""
        if all(self._source.still_reads(self._principal, topic) for topic in self._wish.topics):
            return self._format.beat or self._event("keepalive")
        self.stream.close()
        return b""

    def _event(self, name: str) -> bytes:
        shown = {"id": new_push_id(), "time": int(self._now()), "event": name, "topic": self._wish.named}
        return self._format.encode(shown)

    # What is being said

    def _came(self, topic: str, message: Message) -> None:
        self._receive(self._announcer.of_message(topic, message))

    def _was_told(self, kept: Kept) -> None:
        topic = self._source.topic_of(kept.message)
        if self._source.still_reads(self._principal, topic):
            self._receive(self._announcer.of_event(topic, kept))

    def _receive(self, announcement: Announcement) -> None:
        if self._held is None:
            announcement.tell(self)
        else:
            self._hold(self._held, announcement)

    def hear(self, announcement: Announcement) -> None:
        """It is durable; see `Hearer`."""
        if self._wish.filter is EVERYTHING or self._wish.filter.passes(announcement.shown):
            self.stream.write(announcement.encoded(self._format))

    # What was said before

    async def _catch_up(self, query: KeptQuery) -> None:
        while self.stream.is_open:
            await self.stream.drained()
            self._looks_again = False
            self._leave_to_archive()
            page = await self._source.find(query)
            if not page and not self._looks_again:
                break
            for kept in page:
                await self.stream.drained()
                self._tell_kept(kept)
            # What came since is not for the first look: of that, everything is wanted.
            query = replace(query, latest=False, after=page[-1].number if page else query.after)

    def _tell_kept(self, kept: Kept) -> None:
        topic = self._source.topic_of(kept.message)
        self._tell_held_before((topic, kept.id))
        shown = object_of_kept(topic, kept)
        self._write(shown)

    def _write(self, shown: dict[str, Any]) -> None:
        if self._wish.filter.passes(shown):
            self.stream.write(self._format.encode(shown))

    def _tell_scheduled(self) -> None:
        """Not with ``latest``: that is about what was said."""
        if not self._wish.scheduled or self._wish.since.latest:
            return
        for message in self._source.scheduled(self._wish.topics):
            self._source.mark(message)
            self._write(message_object(self._source.topic_of(message), message))

    # What has to wait until that is told

    def _hold(self, held: _Held, announcement: Announcement) -> None:
        self._add(held, announcement)
        if self._held_bytes > MAX_HELD_BYTES:
            self._leave_to_archive()
            self._looks_again = True
        if self._held_bytes > MAX_HELD_BYTES:
            self.stream.cut("its reader is too far behind")

    def _add(self, held: _Held, announcement: Announcement) -> None:
        held[announcement.topic, announcement.id] = announcement
        self._held_bytes += len(announcement.encoded(self._format))

    def _leave_to_archive(self) -> None:
        """Hold no longer what the next look will find, but for where in the order the rest has to go."""
        if not self._held:
            return
        held, self._held, self._held_bytes = self._held, {}, 0
        follows_unkept = False
        for key, announcement in held.items():
            if announcement is not None and not announcement.kept:
                self._add(self._held, announcement)
                follows_unkept = True
            elif follows_unkept:
                self._held[key] = None
                follows_unkept = False

    def _tell_held_before(self, key: tuple[str, str]) -> None:
        """
        What was said before this, and is in no archive. It is as durable as this, whatever the announcement
        still waits for.
        """
        held = self._held
        if not held or key not in held:
            return
        for earlier in list(held):
            announcement = held.pop(earlier)
            if announcement is not None:
                self._held_bytes -= len(announcement.encoded(self._format))
            if earlier == key:
                break
            if announcement is not None:
                self.hear(announcement)

    def _go_live(self) -> None:
        held, self._held = self._held or {}, None
        for announcement in held.values():
            if announcement is not None:
                announcement.tell(self)
