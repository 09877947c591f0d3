"""What `pushd.gateway.ntfy.subscribe` takes and answers, for ``/openapi.json``."""

from __future__ import annotations

from dataclasses import replace

from pushd.gateway.http.openapi import BOOLEAN, EVENTS, Operation, Page, Schema, one_of, record, text
from pushd.gateway.ntfy.push_operations import MESSAGE

NDJSON = "application/x-ndjson"

_PATH = {"topics": text("One topic, or several with commas between them", pattern="^[-_A-Za-z0-9]{1,64}$")}
_FILTER = {"filter": text("A topic filter of MQTT, slashes and all", pattern="^[-_A-Za-z0-9]{1,64}$")}

_QUERY: dict[str, Schema] = {
    "since": text("all, none, latest, a message's id, Unix seconds, or how long ago: 10m"),
    "poll": one_of("yes", "no", about="yes: what was said, and no more"),
    "scheduled": one_of("yes", "no", about="yes: what is to be published later, too"),
    "id": text("Only this message"),
    "message": text("Only with this text"),
    "title": text("Only with this title"),
    "priority": text("Only of one of these priorities"),
    "tags": text("Only with all of these tags"),
}

_AUTH = Operation(
    "Whether the caller may read topics", path=_PATH, answer=record(["success"], success=BOOLEAN)
)

_FORMATS = {
    "json": Operation(
        "Read topics: a message object a line", path=_PATH, query=_QUERY, answer=MESSAGE, answers=NDJSON
    ),
    "sse": Operation("Read topics as server-sent events", path=_PATH, query=_QUERY, answers=EVENTS),
    "raw": Operation("Read topics: a message's text a line", path=_PATH, query=_QUERY, answers="text/plain"),
    "ws": Operation("Read topics over a WebSocket", path=_PATH, query=_QUERY, answers="", statuses=(101,)),
    "auth": _AUTH,
}

PAGES = (
    *(Page("GET", f"/{{topics}}/{name}", operation) for name, operation in _FORMATS.items()),
    *(
        Page("GET", f"/v1/subscribe/{{filter}}/{name}", replace(operation, path=_FILTER))
        for name, operation in _FORMATS.items()
    ),
)
