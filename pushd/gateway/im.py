"""
Instant messages by HTTP (`pushd.im`).

    POST  /v1/im/<namespace>/<uid>      {"text": "hello"}, or {"content": [{"ty": 0, "co": "hello"}]}; either
                                        with "kind" and "media" as in the envelope, 0 without them
    GET   /v1/im/<namespace>/<uid>/sse  what comes for the caller itself, as server-sent events

The sender is the caller, whatever the body says, and whoever has no name sends without one, if the access
rules allow that. The answer to a POST comes when the message is as safe as one of QoS 1 that MQTT
acknowledges:

    {"id": "bQ1gAWzE2cbG", "topic": "/chat/im/u/ben", "time": 1700000000}

An event is an envelope as JSON. A payload on the topic that is no envelope is an event of the type
"undecodable", so that nobody waits for what cannot be shown:

    data: {"sender":"anna","time":1700000000,"kind":0,"media":0,"content":[{"ty":0,"co":"hello"}]}

    event: undecodable
    data: {"error":"the content is no JSON"}
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pushd.broker.message import Message, new_push_id
from pushd.broker.publication import Publication
from pushd.gateway.http.events import EventStream, Listening, Streams, feed
from pushd.gateway.http.openapi import EVENTS, described, integer, listed, record, text
from pushd.gateway.http.pages import json_answer, json_app, json_object, quoted_text
from pushd.gateway.http.problems import FORBIDDEN, TOPIC_INVALID, Problem, Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Caller, Guard
from pushd.gateway.ntfy.publish import Publisher, check_accepted
from pushd.im.envelope import (
    Envelope,
    EnvelopeError,
    Kind,
    Medium,
    Part,
    PartType,
    decode,
    encode,
    parts_of,
    to_enum,
)
from pushd.im.topics import inbox

_SENT = record(["id", "topic", "time"], id=text(), topic=text(), time=integer("Unix seconds"))
_MESSAGE = record(
    about="Either a text or a content",
    text=text(),
    content=listed(record(["ty"], ty=integer(), co={})),
    kind=integer(minimum=0, maximum=15),
    media=integer(minimum=0, maximum=15),
)


class ImPages:
    """
    :param now: Unix seconds.
    """

    app = json_app()

    def __init__(
        self,
        guard: Guard,
        publisher: Publisher,
        listening: Listening,
        streams: Streams,
        now: Callable[[], float],
    ) -> None:
        self._guard = guard
        self._publisher = publisher
        self._listening = listening
        self._streams = streams
        self._now = now

    @app.route("/im/<namespace>/<uid>", methods=["POST"])
    @described("Send somebody an instant message", body=_MESSAGE, answer=_SENT)
    async def send(self, request: GatewayRequest, namespace: str, uid: str) -> bytes:
        """
        :raises Refusal: 40009 for names that are no levels of a topic, 40000 and 40024 for a body that is no
            message, and whatever a push is refused for.
        """
        caller = await self._guard.identify(request)
        topic = inbox_of_path(namespace, uid)
        time_s = int(self._now())
        try:
            payload = encode(envelope_of(caller, json_object(request), time_s))
        except EnvelopeError as error:
            raise Refusal(Problem(40000, f"invalid request: {error}")) from None
        check_accepted(await self._publisher.publish(caller, Publication(topic, payload)))
        return json_answer(request, {"id": new_push_id(), "topic": topic, "time": time_s})

    @app.route("/im/<namespace>/<uid>/sse", methods=["GET"])
    @described("The instant messages that come for the caller", answers=EVENTS)
    async def listen(self, request: GatewayRequest, namespace: str, uid: str) -> None:
        """
        :raises Refusal: 40301 for anybody else's messages, unless the caller is an administrator, or if the
            access rules say so; 40009, 42903.
        """
        caller = await self._guard.identify_user(request)
        topic = inbox_of_path(namespace, uid)
        if quoted_text(uid) != caller.username and not self._guard.is_admin(caller):
            raise Refusal(FORBIDDEN)
        stream = self._streams.prepare(request, caller)
        await feed(stream, self._listening, caller, topic, partial(tell, stream))
        stream.begin()
        await stream.until_over()


def inbox_of_path(namespace: str, uid: str) -> str:
    """
    :raises Refusal: 40009.
    """
    try:
        return inbox(quoted_text(namespace), quoted_text(uid))
    except ValueError:
        raise Refusal(TOPIC_INVALID) from None


def envelope_of(caller: Caller, fields: dict[str, Any], time_s: int) -> Envelope:
    """
    The message that a body asks for. Fields that nobody knows are left alone, as in a push.

    :raises EnvelopeError: it cannot be one.
    """
    kind = to_enum(Kind, fields.get("kind", 0), "kind")
    medium = to_enum(Medium, fields.get("media", 0), "media")
    return Envelope(caller.username or "", time_s, _parts(fields), kind, medium)


def _parts(fields: dict[str, Any]) -> tuple[Part, ...]:
    if ("text" in fields) == ("content" in fields):
        raise EnvelopeError("it has either a text or a content")
    if "content" in fields:
        return parts_of(fields["content"])
    if fields["text"] == "":
        raise EnvelopeError("its text is empty")
    return (Part(PartType.TEXT, fields["text"]),)


def tell(stream: EventStream, topic: str, message: Message) -> None:
    """Have what came on somebody's topic in a stream."""
    try:
        envelope = decode(message.payload)
    except EnvelopeError as error:
        stream.send({"error": str(error)}, event="undecodable")
    else:
        stream.send(
            {
                "sender": envelope.sender,
                "time": envelope.time_s,
                "kind": int(envelope.kind),
                "media": int(envelope.medium),
                "content": [part.to_object() for part in envelope.parts],
            }
        )
