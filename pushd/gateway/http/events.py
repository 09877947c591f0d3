"""
Server-sent events: an answer that goes on for as long as its reader stays.

    self._streams = Streams()                       # one for each gateway
    ...
    @app.route("/news", methods=["GET"])
    async def news(self, request: GatewayRequest) -> None:
        caller = await self._guard.identify(request)
        stream = self._streams.prepare(request, caller)      # or 42903: too many are open
        await feed(stream, self._listening, caller, "news/#", lambda topic, message: stream.send(...))
        stream.begin()
        await stream.until_over()

What becomes of streams in general is told in `pushd.gateway.http.streams`. The format is that of the HTML
standard, §9.2: lines ``field: value``, and an empty line behind each event.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from pushd.broker.interfaces import Principal
from pushd.broker.message import Message
from pushd.broker.tap import Tap
from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.http.streams import HttpStream, Places
from pushd.gateway.identity.guards import Caller
from pushd.mqtt.codes import ReasonCode

EVENT_STREAM = b"text/event-stream; charset=utf-8"

_HEART_BEAT = b":\n\n"  # a comment, which no reader takes for an event

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Streams(Places):
    """Streams of events, in places that they share with others."""

    def prepare(self, request: GatewayRequest, caller: Caller) -> EventStream:
        """
        Have a place for a stream, from now until its request is over in whatever way.

        :raises Refusal: 42903, all places are taken.
        """
        leave = self.take(caller)
        stream = EventStream(request)
        stream.call_when_over(leave)
        return stream


class EventStream(HttpStream):
    """One reader's events. Made by `Streams.prepare`."""

    __slots__ = ()

    def __init__(self, request: GatewayRequest) -> None:
        super().__init__(request, EVENT_STREAM, lambda: _HEART_BEAT)

    def send(self, data: dict[str, Any] | str, event: str | None = None, id: str | None = None) -> None:
        """
        Send an event. Before `begin` and after the end there is nobody to send it to.

        :param data: an object goes as JSON; a text may have several lines.
        :param event: its type; "message" is what readers take it for without one.
        :param id: what a reader that comes back says it has seen (``Last-Event-ID``).
        :raises ValueError: a type or id with a line's end in it, or NUL.
        """
        self.write(encode_event(data, event, id))

    def _begin(self) -> None:
        super()._begin()
        self.write(_HEART_BEAT)  # at once: browsers say "open" at the first bytes of the body


class Listening(Protocol):
    """What streams ask of the broker."""

    def listen(
        self,
        principal: Principal,
        filter: str,
        received: Callable[[str, Message], None],
        ended: Callable[[], None],
    ) -> Deferred[Tap | ReasonCode]:
        """See `pushd.broker.tap.listen`."""


async def feed(
    stream: EventStream,
    listening: Listening,
    caller: Caller,
    filter: str,
    received: Callable[[str, Message], None],
) -> None:
    """
    Give `received` what comes on the topics that `filter` matches, for as long as the stream lasts.

    :raises Refusal: the caller may not listen there.
    """
    tap = await listening.listen(caller, filter, received, stream.close)
    if isinstance(tap, ReasonCode):
        raise Refusal(problems.OF_REASON_CODE.get(tap, problems.INTERNAL_ERROR))
    stream.call_when_over(tap.end)


def encode_event(data: dict[str, Any] | str, event: str | None = None, id: str | None = None) -> bytes:
    """
    :return: an event as it stands in a stream.
    :raises ValueError: see `EventStream.send`.
    """
    lines = [f"{name}: {_one_line(value)}" for name, value in (("event", event), ("id", id)) if value]
    text = data if isinstance(data, str) else _to_json(data)
    # The three ends of a line that the format knows; str.splitlines knows more.
    lines += [f"data: {line}" for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    # JSON may have an escaped half of a character in it, put there by a client of MQTT.
    return ("\n".join(lines) + "\n\n").encode("utf-8", "replace")


def _one_line(value: str) -> str:
    if any(letter in value for letter in "\r\n\0"):
        raise ValueError("an event's type or id is one line")
    return value
