"""
The push gateway of Matrix (its Push Gateway API), for devices whose application speaks UnifiedPush.

    GET   /_matrix/push/v1/notify    {"unifiedpush": {"gateway": "matrix"}}: it is one
    POST  /_matrix/push/v1/notify    {"notification": {"devices": [{"pushkey": "https://..."}], ...}}

A pushkey is the URL that a device got as its endpoint: one of ours, ``/v1/up/<secret>``, or a topic as ntfy's
application makes them, ``/up<12 letters>?up=1``. The notification goes there as it came. Pushkeys that are
none here, or not any more, come back as ``{"rejected": [...]}``: the homeserver forgets them. For all else
that goes wrong it gets an error, and tries again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from pushd.broker.message import new_push_id
from pushd.gateway.http import problems
from pushd.gateway.http.openapi import described, listed, record, text
from pushd.gateway.http.own_address import OwnAddress
from pushd.gateway.http.pages import json_answer, json_app, json_object
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Guard
from pushd.gateway.identity.visitors import PUSHES_PER_S
from pushd.gateway.ntfy.parameters import TRUE
from pushd.gateway.ntfy.publish import Publisher, check_accepted
from pushd.gateway.ntfy.topics import topic_of_segment
from pushd.gateway.unified_push.push_service import PushService
from pushd.gateway.unified_push.web_push import MAX_BODY_BYTES, WebPush

GATEWAY = {"unifiedpush": {"gateway": "matrix"}}

MAX_DEVICES = 50  # homeservers send one at a time

_PATH = re.compile(r"/v1/up/([-_A-Za-z0-9]{1,64})|/([-_A-Za-z0-9]{1,64})\?([-_A-Za-z0-9=&]{1,64})")

# What a pushkey is rejected for; the rest is passed on as it is.
_DEAD = frozenset({problems.ENDPOINT_NOT_FOUND, problems.ENDPOINT_GONE, problems.TOPIC_RESERVED})


_NOTIFICATION = record(
    ["notification"],
    notification=record(["devices"], devices=listed(record(["pushkey"], pushkey=text()), minItems=1)),
)
_REJECTED = record(["rejected"], rejected=listed(text("A pushkey that leads nowhere")))


class Place(NamedTuple):
    """Where a pushkey leads: to the endpoint with this secret, or to a topic."""

    secret: str = ""
    topic: str = ""


class MatrixPages:
    """
    :param service: for endpoints.
    :param publisher: for topics.
    :param address: what this gateway is called; pushkeys begin with it.
    :param now: Unix seconds.
    """

    app = json_app()

    def __init__(
        self,
        guard: Guard,
        service: PushService,
        publisher: Publisher,
        address: OwnAddress,
        now: Callable[[], float],
    ) -> None:
        self._guard = guard
        self._service = service
        self._publisher = publisher
        self._address = address
        self._now = now

    @app.route("/push/v1/notify", methods=["GET"])
    @described("Whether this is a push gateway of Matrix", answer=record(["unifiedpush"]), open=True)
    def discover(self, request: GatewayRequest) -> bytes:
        return json_answer(request, GATEWAY)

    @app.route("/push/v1/notify", methods=["POST"])
    @described("A notification of a Matrix homeserver", body=_NOTIFICATION, answer=_REJECTED, open=True)
    async def notify(self, request: GatewayRequest) -> bytes:
        """
        :raises Refusal: 40019, 41302; whatever a push is refused for that may be accepted later.
        """
        fields = json_object(request)
        devices = devices_of(fields)
        bodies = [request.body] if len(devices) == 1 else [_body_for(device, fields) for device in devices]
        if max(map(len, bodies)) > MAX_BODY_BYTES:
            raise Refusal(problems.MATRIX_TOO_LARGE)
        rejected = []
        for device, body in zip(devices, bodies, strict=True):
            if not await self._push(request, device["pushkey"], WebPush(body, urgency=urgency_of(fields))):
                rejected.append(device["pushkey"])
        return json_answer(request, {"rejected": rejected})

    async def _push(self, request: GatewayRequest, pushkey: str, push: WebPush) -> bool:
        """:return: whether the pushkey leads anywhere."""
        try:
            place = place_of(pushkey, self._address.base(request))
            if place is None:
                return False
            if place.topic:
                await self._publish(request, place.topic, push)
                return True
            return await self._push_to_endpoint(place.secret, push)
        except Refusal as refusal:
            if refusal.problem in _DEAD:
                return False
            raise

    async def _push_to_endpoint(self, secret: str, push: WebPush) -> bool:
        """To one that is bound to a sender's key nobody can push from here."""
        if self._service.endpoints.find(secret).vapid:
            return False
        await self._service.take(secret, push)
        return True

    async def _publish(self, request: GatewayRequest, topic: str, push: WebPush) -> None:
        """
        As the homeserver could itself, which logs in nowhere: access rules must allow it to anonymous. One of
        them pushes for thousands, so it is the topic that may be pushed to too often, and not the caller.
        """
        caller = await self._guard.identify(request, cost=0)
        self._guard.visitors.check_key(("unifiedpush", topic), PUSHES_PER_S)
        keep_s = self._publisher.keep_s(topic)
        publication = push.publication(topic, "", new_push_id(), int(self._now()), keep_s)
        check_accepted(await self._publisher.publish(caller, publication))


def devices_of(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """
    Those that a notification is for, at least one.

    :raises Refusal: 40019.
    """
    notification = fields.get("notification")
    devices = notification.get("devices") if isinstance(notification, dict) else None
    if not isinstance(devices, list) or not 0 < len(devices) <= MAX_DEVICES:
        raise Refusal(problems.MATRIX_INVALID)
    for device in devices:
        if not isinstance(device, dict) or not _is_text(device.get("pushkey")):
            raise Refusal(problems.MATRIX_INVALID)
    return devices


def _is_text(value: object) -> bool:
    """JSON can spell half a surrogate pair, with which a pushkey could not even be rejected."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def urgency_of(fields: dict[str, Any]) -> str:
    """That nothing but a counter has changed need not wake a device: Matrix calls it ``"prio": "low"``."""
    return "low" if fields["notification"].get("prio") == "low" else "normal"


def place_of(pushkey: str, base: str) -> Place | None:
    """
    :param base: our own URL, without a slash at the end.
    :return: ``None`` for one that is not ours.
    :raises Refusal: 40010.
    """
    found = _PATH.fullmatch(pushkey[len(base) :]) if pushkey.startswith(base) else None
    if found is None:
        return None
    if found[1]:
        return Place(secret=found[1])
    said = parse_qs(found[3]).get("up", [""])[0]
    return Place(topic=topic_of_segment(found[2].encode("ascii"))) if said.lower() in TRUE else None


def _body_for(device: dict[str, Any], fields: dict[str, Any]) -> bytes:
    """The notification for one of several devices: no device is to learn where the others can be reached."""
    notification = {**fields["notification"], "devices": [device]}
    text = json.dumps({**fields, "notification": notification}, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="replace")
