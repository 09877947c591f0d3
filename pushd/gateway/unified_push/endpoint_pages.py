"""
A push service of UnifiedPush and Web Push (RFC 8030): applications' servers send to the endpoint of a device.

    POST    /v1/up                    a device registers: {"topic", "client" or "user", "vapid"}, all optional
    GET     /v1/up                    its user's endpoints, without their URLs
    DELETE  /v1/up/<id>               it takes one back; by the endpoint's URL, too, if its owner does it

    POST    /v1/up/<secret>           an application's server pushes 1 to 4096 bytes of any kind; or PUT
    GET     /v1/up/<secret>           whether one may push here: {"unifiedpush": {"version": 1}}
    DELETE  /v1/up/<secret>/<message> it takes back what no device has been sent yet

What is pushed is encrypted as a rule and reaches the device byte for byte: to MQTT clients as the payload, to
readers of ntfy's streams as ``message``, in base64 if it is no text. Without a ``topic`` a device gets one of
its own. With ``client`` or ``user`` it needs no subscription: its pushes go to these sessions and to nobody
else, as messages of that topic.

A push is answered with 201 when it is durable, whether anybody listens or not: it waits for as long as its
``TTL`` says. Nor does it matter for limits who sends, for one server of Matrix or Mastodon pushes for
thousands: they are the endpoint's.
"""

from __future__ import annotations

import re
from typing import Any

from pushd.broker.message import new_push_id
from pushd.gateway.http import problems
from pushd.gateway.http.openapi import described, integer, listed, one_of, record, text
from pushd.gateway.http.own_address import OwnAddress
from pushd.gateway.http.pages import json_answer, json_app, json_object
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Caller, Guard
from pushd.gateway.ntfy.publish import check_accepted
from pushd.gateway.ntfy.topics import topic_of_json
from pushd.gateway.unified_push.endpoints import Endpoint, new_endpoint_id
from pushd.gateway.unified_push.push_service import PushService
from pushd.gateway.unified_push.vapid import InvalidKey, check_sender, normal_key
from pushd.gateway.unified_push.web_push import URGENCIES, read_web_push
from pushd.mqtt.topics import is_valid_name

# What a message is called: its id and, if it replaces others, by what.
_MESSAGE = re.compile(r"([A-Za-z0-9]{12})(?:\.([-_A-Za-z0-9]{1,32}))?")

_FIELDS = frozenset({"topic", "client", "user", "vapid"})

VERSION = {"unifiedpush": {"version": 1}}

# For ``/openapi.json``

_WANTED = record(
    topic=text("Where it publishes to; a topic of its own without it"),
    client=text("A client id: its pushes go to this session, and need no subscription"),
    user=text("The same for all sessions of a user"),
    vapid=text("The public key that a sender has to sign with: P-256, uncompressed, in URL-safe base64"),
)
_ENDPOINT = record(
    ["id", "topic", "created_at"],
    endpoint=text("The URL to push to: a secret, told once"),
    id=text(),
    topic=text(),
    client=text(),
    user=text(),
    vapid=text(),
    created_at=integer("Unix seconds"),
)
_HEADERS = {
    "TTL": integer("For how many seconds the message is worth anything", minimum=0),
    "Urgency": one_of(*URGENCIES),
    "Topic": text("It replaces what waits under this name", pattern="^[-_A-Za-z0-9]{1,32}$"),
    "Content-Encoding": one_of("aes128gcm", "aesgcm"),
}
_REMOVED = record(["success"], success={"const": True})


class EndpointPages:
    """
    The pages of devices and of applications' servers.

    :param service: that of the process.
    :param address: what this gateway is called.
    :param listener: the name of the policy behind whose guard the pages are.
    """

    app = json_app()

    def __init__(self, guard: Guard, service: PushService, address: OwnAddress, listener: str) -> None:
        self._guard = guard
        self._service = service
        self._endpoints = service.endpoints
        self._address = address
        self._listener = listener

    # Of devices

    @app.route("/up", methods=["POST"])
    @described(
        "Register an endpoint of UnifiedPush",
        body=_WANTED,
        body_required=False,
        answer=_ENDPOINT,
        statuses=(201,),
    )
    async def register(self, request: GatewayRequest) -> bytes:
        """
        :raises Refusal: 40000, 40009, 40010 and 40024 for what is asked for; 40301 for what the caller could
            not do itself; 42900, 50700.
        """
        caller = await self._identify(request)
        fields = json_object(request) if request.body else {}
        endpoint = self._wanted(caller, fields)
        check_accepted(await self._service.courier.permits(caller, endpoint))
        secret = await self._endpoints.register(endpoint)
        url = f"{self._address.base(request)}/v1/up/{secret}"
        return json_answer(request, {"endpoint": url, **shown(endpoint)}, 201)

    @app.route("/up", methods=["GET"])
    @described("One's own endpoints", answer=record(["endpoints"], endpoints=listed(_ENDPOINT)))
    async def listing(self, request: GatewayRequest) -> bytes:
        caller = await self._guard.identify_in_full(request)
        assert caller.username is not None
        endpoints = self._endpoints.of_owner(caller.username)
        return json_answer(request, {"endpoints": [shown(endpoint) for endpoint in endpoints]})

    @app.route("/up/<name>", methods=["DELETE"])
    @described("Remove an endpoint, by its id", answer=_REMOVED)
    async def remove(self, request: GatewayRequest, name: str) -> bytes:
        """
        :raises Refusal: 40400, 41000; 40301, it is somebody else's, for who shows its URL.
        """
        caller = await self._identify(request)
        await self._endpoints.remove(self._own(caller, name))
        return json_answer(request, {"success": True})

    async def _identify(self, request: GatewayRequest) -> Caller:
        """An endpoint outlives the token that it was registered with, so that must not have a scope."""
        caller = await self._guard.identify(request)
        if not caller.scope.is_whole:
            raise Refusal(problems.FORBIDDEN)
        return caller

    def _wanted(self, caller: Caller, fields: dict[str, Any]) -> Endpoint:
        """A field that is spelt wrongly must not look as if it had been obeyed: it may be ``vapid``."""
        values = {name: value for name, value in fields.items() if value is not None}
        if values.keys() - _FIELDS or not all(isinstance(value, str) and value for value in values.values()):
            raise Refusal(problems.ENDPOINT_INVALID)
        topic, client, user = (values.get(name, "") for name in ("topic", "client", "user"))
        if (client and user) or not all(map(_is_name, filter(None, (client, user)))):
            raise Refusal(problems.ENDPOINT_INVALID)
        if user and user != caller.username and not self._guard.is_admin(caller):
            raise Refusal(problems.FORBIDDEN)
        return Endpoint(
            new_endpoint_id(),
            caller.username,
            self._listener,
            topic_of_json(topic) if topic else _new_topic(),
            client,
            user,
            _vapid(values.get("vapid", "")),
            int(self._service.now()),
        )

    def _own(self, caller: Caller, name: str) -> Endpoint:
        """By its id, which no sender knows, or by its secret: then it has to be the caller's."""
        endpoint = self._endpoints.of_id(caller.username, name) or self._endpoints.of_id(None, name)
        if endpoint is None:
            endpoint = self._endpoints.find(name)
            if endpoint.owner is None or endpoint.owner != caller.username:
                raise Refusal(problems.FORBIDDEN)
        return endpoint

    # Of applications' servers

    @app.route("/up/<secret>", methods=["GET"])
    @described("Whether one may push to an endpoint", answer=record(["unifiedpush"]), open=True)
    def discover(self, request: GatewayRequest, secret: str) -> bytes:
        """
        :raises Refusal: 40400, 41000.
        """
        self._endpoints.find(secret)
        return json_answer(request, VERSION)

    @app.route("/up/<secret>", methods=["POST", "PUT"])
    @described(
        "Push to an endpoint",
        headers=_HEADERS,
        takes="application/octet-stream",
        answer=record(["id", "ttl"], id=text(), ttl=integer("Seconds that were granted")),
        statuses=(201,),
        open=True,
    )
    async def push(self, request: GatewayRequest, secret: str) -> bytes:
        """
        :raises Refusal: 40100 and 40300 at an endpoint that is bound to a key; as `read_web_push` and
            `PushService.take`.
        """
        self._check_sender(request, self._endpoints.find(secret))
        push = read_web_push(request.requestHeaders, request.body)
        accepted = await self._service.take(secret, push)
        name = f"{accepted.id}.{push.topic}" if push.topic else accepted.id
        location = f"{self._address.base(request)}/v1/up/{secret}/{name}"
        request.responseHeaders.setRawHeaders(b"Location", [location.encode()])
        request.responseHeaders.setRawHeaders(b"TTL", [b"%d" % accepted.ttl_s])
        return json_answer(request, {"id": accepted.id, "ttl": accepted.ttl_s}, 201)

    @app.route("/up/<secret>/<message>", methods=["DELETE"])
    @described("Take back what no device has been sent yet", answers="", statuses=(204,), open=True)
    async def withdraw(self, request: GatewayRequest, secret: str, message: str) -> bytes:
        """
        :raises Refusal: as `push`; 40400, every device has been sent it, or it has expired, or never was.
        """
        self._check_sender(request, self._endpoints.find(secret))
        named = _MESSAGE.fullmatch(message)
        if named is None or not await self._service.withdraw(secret, named[1], named[2] or ""):
            raise Refusal(problems.MESSAGE_NOT_FOUND)
        request.setResponseCode(204)
        return b""

    def _check_sender(self, request: GatewayRequest, endpoint: Endpoint) -> None:
        if endpoint.vapid:
            authorization = request.getHeader(b"authorization") or b""
            origins = self._address.origins(request)
            check_sender(authorization, endpoint.vapid, origins, self._service.now())


def shown(endpoint: Endpoint) -> dict[str, object]:
    """An endpoint as its owner is told of it; what was not said is left out."""
    fields = {
        "id": endpoint.id,
        "topic": endpoint.topic,
        "client": endpoint.client,
        "user": endpoint.user,
        "vapid": endpoint.vapid,
        "created_at": endpoint.created_at,
    }
    return {name: value for name, value in fields.items() if value != ""}


def _new_topic() -> str:
    """Of a device that names none. ntfy's distributors have topics of this form, and rules that know them."""
    return f"up{new_push_id()}{new_push_id()}"


def _vapid(text: str) -> str:
    try:
        return normal_key(text) if text else ""
    except InvalidKey:
        raise Refusal(problems.VAPID_KEY_INVALID) from None


def _is_name(text: str) -> bool:
    """What a client id or a user name may be, as far as MQTT says: text without a null character."""
    return is_valid_name(text.translate(_WILDCARDS))


_WILDCARDS = str.maketrans("+#", "__")
