"""What `pushd.gateway.ntfy.publish` takes and answers, for ``/openapi.json``, and the message object."""

from __future__ import annotations

from pushd.gateway.http.openapi import BOOLEAN, Operation, Page, Schema, integer, listed, one_of, record, text

ACTION: Schema = record(["action", "label"], action=one_of("view", "http", "broadcast", "copy"), label=text())

ATTACHMENT: Schema = record(
    ["name", "url"],
    name=text(),
    type=text(),
    size=integer("Bytes"),
    expires=integer("Unix seconds"),
    url=text(),
)

EVENTS_OF_MESSAGES = ("message", "message_clear", "message_delete")

MESSAGE: Schema = record(
    ["id", "time", "event", "topic"],
    about="ntfy's message object. What was not said is not there.",
    id=text(),
    time=integer("Unix seconds; of one that is scheduled, when it is due"),
    expires=integer("Unix seconds; when the archive forgets it"),
    event=one_of(*EVENTS_OF_MESSAGES, "open", "keepalive"),
    topic=text(),
    sequence_id=text(),
    title=text(),
    message=text(),
    priority=integer(minimum=1, maximum=5),
    tags=listed(text()),
    click=text(),
    icon=text(),
    actions=listed(ACTION),
    attachment=ATTACHMENT,
    content_type=text(),
    encoding=text("base64, if the message is no text"),
)

PARAMETERS: dict[str, Schema] = {
    "title": text(),
    "priority": text("1 to 5, or min, low, default, high, max"),
    "tags": text("Parted by commas"),
    "click": text("A URI that opens when the notification is tapped"),
    "icon": text("An http or https URL"),
    "actions": text("Up to three, as JSON or in ntfy's short form"),
    "markdown": one_of("yes", "no"),
    "attach": text("An http or https URL of a file that the message is about; nobody fetches it here"),
    "filename": text("What the file is called; without attach, the body is the file"),
    "template": text("yes, or the name of a template: what makes the message of a body in JSON"),
    "delay": text("When to deliver: 30m, tomorrow 10am, or Unix seconds"),
    "sequence_id": text("What it takes the place of earlier messages of"),
    "cache": one_of("yes", "no", about="no: only for who listens now"),
    "qos": one_of("0", "1", "2"),
    "retain": one_of("yes", "no"),
    "ttl": text("Seconds that it is worth being delivered"),
    "format": one_of("raw", "json", about="What MQTT subscribers get: the text, or the message object"),
}

_JSON: Schema = record(
    ["topic"],
    topic=text("May have levels: home/door"),
    message=text(),
    title=text(),
    priority=integer(minimum=1, maximum=5),
    tags=listed(text()),
    click=text(),
    icon=text(),
    actions=listed(ACTION),
    markdown=BOOLEAN,
    delay=text(),
    sequence_id=text(),
    qos=integer(minimum=0, maximum=2),
    retain=BOOLEAN,
    ttl=integer("Seconds", minimum=0),
)

_LEVELS = "A topic of several levels has %2F between them."
_NAME = text(pattern="^[-_A-Za-z0-9]{1,64}$")
_PATH = {"topic": _NAME, "sequence_id": _NAME}
_QUERY = {name: schema for name, schema in PARAMETERS.items() if name != "sequence_id"} | {
    "sid": PARAMETERS["sequence_id"]
}


def _of_text(summary: str) -> Operation:
    return Operation(summary, _LEVELS, path=_PATH, query=_QUERY, takes="text/plain", answer=MESSAGE)


_BY_GET = Operation(
    "Push by opening a URL", _LEVELS, path=_PATH, query={"message": text(), **_QUERY}, answer=MESSAGE
)
_CLEAR = Operation("Have readers take earlier messages of a sequence away", path=_PATH, answer=MESSAGE)
_OF_BYTES = Operation(
    "Push a payload, byte for byte, to a topic of MQTT",
    query=_QUERY,
    takes="application/octet-stream",
    answer=MESSAGE,
)

PAGES = (
    *(Page(method, "/", Operation("Push", body=_JSON, answer=MESSAGE)) for method in ("POST", "PUT")),
    *(Page(method, "/{topic}", _of_text("Push a text")) for method in ("POST", "PUT")),
    *(Page("GET", f"/{{topic}}/{word}", _BY_GET) for word in ("publish", "send", "trigger")),
    *(
        Page(method, "/{topic}/{sequence_id}", _of_text("Push in place of earlier messages"))
        for method in ("POST", "PUT")
    ),
    Page(
        "DELETE",
        "/{topic}/{sequence_id}",
        Operation(
            "Have readers forget a sequence, and publish none of it that is scheduled",
            path=_PATH,
            answer=MESSAGE,
        ),
    ),
    *(Page("PUT", f"/{{topic}}/{{sequence_id}}/{word}", _CLEAR) for word in ("clear", "read")),
    *(Page(method, "/v1/publish/{topic}", _OF_BYTES) for method in ("POST", "PUT")),
)
