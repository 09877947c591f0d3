"""
From a request to the push that it asks for.

What a body is, in the order in which it is asked, as in ntfy:

    unifiedpush     bytes for a program, as they are
    template        JSON that a message is made of
    attach          a text about a file that is elsewhere
    filename        a file; as is whatever is no text, or too long for one
    otherwise       a text

JSON in ntfy's own format has its message in it, which then stands for the body.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pushd.gateway.http import problems
from pushd.gateway.http.own_address import OwnAddress
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Caller
from pushd.gateway.ntfy.attachments import Attachment, Attachments, linked
from pushd.gateway.ntfy.parameters import SEQUENCE_ID, Parameters, priority_of
from pushd.gateway.ntfy.pushes import EMPTY_MESSAGE, Push, push_of_bytes, push_of_json, push_of_text
from pushd.gateway.ntfy.templates import Filled, Templates
from pushd.gateway.ntfy.topics import topic_of_segment, topic_of_segments

AS_CALLED = OwnAddress(lambda: "")


@dataclass(frozen=True, slots=True)
class Composer:
    """
    What a push is made with; the same for all listeners.

    :ivar attachments: keeps files; ``None`` if there shall be none.
    :ivar templates: those that a push can name; ``None`` if there shall be none.
    :ivar address: what others call this gateway.
    """

    attachments: Attachments | None = None
    templates: Templates | None = None
    address: OwnAddress = AS_CALLED

    async def compose(
        self, request: GatewayRequest, caller: Caller, due_at: Callable[[str], float]
    ) -> tuple[Push, Attachment | None]:
        """
        :param due_at: Unix seconds for a delay; 0 for none.
        :return: the push, and the file that was kept for it: whoever does not publish it has to forget that.
        :raises Refusal: it makes no sense, or asks for what there is not.
        """
        push = read_push(request)
        said = push.parameters
        if said.template:
            return await self._filled(push, request.body), None
        if said.attach:
            return _about(push, linked(said.attach, said.filename)), None
        if push.is_file:
            kept = await self._kept(request, caller, said.filename, due_at(said.delay))
            return _about(push, kept), kept
        return (replace(push, payload=EMPTY_MESSAGE) if push.is_text and not push.payload else push), None

    async def _filled(self, push: Push, body: bytes) -> Push:
        if self.templates is None:
            raise Refusal(problems.TEMPLATE_OFF)
        said = push.parameters
        texts = Filled(said.title or None, said.message or None, said.priority_template or None)
        filled = await self.templates.fill(said.template, texts, push.payload if push.is_text else body)
        parameters = replace(
            said, title=_one_line(filled.title), priority=priority_of(_one_line(filled.priority) or None)
        )
        payload = (filled.message or "").strip().encode() or EMPTY_MESSAGE
        return replace(push, payload=payload, parameters=parameters, is_file=False)

    async def _kept(self, request: GatewayRequest, caller: Caller, name: str, needed_at: float) -> Attachment:
        files = self.attachments
        if files is None:
            raise Refusal(problems.ATTACHMENTS_OFF)
        upload = files.upload_of(request, caller)
        return await files.keep(upload, name, caller, self.address.base(request), needed_at)

    def forget(self, attachment: Attachment) -> None:
        """Nobody will be told of a file."""
        if self.attachments is not None:
            self.attachments.forget(attachment.id)


def _about(push: Push, attachment: Attachment) -> Push:
    """A push about a file; it has no other text than what was said."""
    payload = push.payload or push.parameters.message.strip().encode() or attachment.message.encode()
    return replace(push, payload=payload, attachment=attachment.shown())


def _one_line(text: str | None) -> str:
    """What a template came to, as a title or priority may be."""
    return " ".join((text or "").split())


def read_push(request: GatewayRequest) -> Push:
    """
    :raises Refusal: it makes no sense.
    """
    headers, query = request.requestHeaders.getAllRawHeaders(), request.args
    first, *others = request.segments
    if first == b"v1" and others:
        return push_of_bytes(topic_of_segments(others[1:]), request.body, headers, query)
    if not first:
        return push_of_json(request.body, headers, query)
    topic = topic_of_segment(first)
    if request.upload is None:
        push = push_of_text(topic, request.body, headers, query)
    else:
        push = _too_large_for_a_text(push_of_text(topic, b"", headers, query))
    if not others or request.method == b"GET":
        return push
    return replace(push, parameters=_in_sequence(push.parameters, others[0]))


def _too_large_for_a_text(push: Push) -> Push:
    said = push.parameters
    if said.unifiedpush or said.template or said.attach:
        raise Refusal(problems.MESSAGE_TOO_LARGE)
    return replace(push, payload=b"", is_file=True)


def _in_sequence(parameters: Parameters, segment: bytes) -> Parameters:
    return replace(parameters, sequence_id=sequence_id(segment))


def sequence_id(segment: bytes) -> str:
    """
    :param segment: of a path, percent-decoded.
    :raises Refusal: 40000, it is none.
    """
    text = segment.decode("latin-1")
    if not SEQUENCE_ID.fullmatch(text):
        raise Refusal(problems.SEQUENCE_ID_INVALID)
    return text
