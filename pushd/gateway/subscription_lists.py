"""
What the server subscribes a user's clients to, by HTTP: for that user, and for administrators.

    GET     /v1/users/<user>/subscriptions            {"username": "anna",
                                                       "subscriptions": [{"filter": "alerts/#", "qos": 1}]}
    GET     /v1/users/<user>/subscriptions/<filter>   {"username": "anna", "filter": "alerts/#", "qos": 1}
    PUT     /v1/users/<user>/subscriptions/<filter>   {"qos": 2}, or nothing for QoS 1; 201 if that is new
    DELETE  /v1/users/<user>/subscriptions/<filter>

A filter is one segment of the path: ``alerts%2F%23``. It counts within a second, for clients that are
connected and for sessions that are kept, as far as access rules allow the user a SUBSCRIBE; ``%u`` and the
like mean nothing in it. The rules of ``autosubscribe_file`` are not in this list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pushd.gateway.http import problems
from pushd.gateway.http.openapi import BOOLEAN, closed, described, integer, listed, record, text
from pushd.gateway.http.pages import json_answer, json_app, json_object
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Guard
from pushd.gateway.users import asked, user_of_path
from pushd.mqtt.topics import is_valid_filter
from pushd.people.interfaces import IPeople
from pushd.people.names import check_username

DEFAULT_QOS = 1

# Filters of one user: each of its sessions gets them all, and a user may fill the list by itself.
MAX_LISTED = 1000


_ONE = record(["filter", "qos"], filter=text(), qos=integer(minimum=0, maximum=2))
_LIST = record(["username", "subscriptions"], username=text(), subscriptions=listed(_ONE))
_DONE = record(["success"], success=BOOLEAN)
_QOS = closed(record(qos=integer(minimum=0, maximum=2)))


class SubscriptionListPages:
    """
    Pages of `pushd.gateway.users.UserPages`, by the word ``subscriptions``.

    :param people: who keeps them, when they are asked for.
    """

    app = json_app()

    def __init__(self, guard: Guard, people: Callable[[], IPeople]) -> None:
        self._guard = guard
        self._people = people

    @app.route("/users/<user>/subscriptions", methods=["GET"])
    @described("What a user is subscribed to by the server", answer=_LIST)
    async def listing(self, request: GatewayRequest, user: str) -> bytes:
        username = await self._identify(request, user)
        listed = sorted((await self._listed(username)).items())
        subscriptions = [{"filter": filter, "qos": qos} for filter, qos in listed]
        return json_answer(request, {"username": username, "subscriptions": subscriptions})

    @app.route("/users/<user>/subscriptions/<filter>", methods=["GET"])
    @described("One of these subscriptions", answer=_ONE)
    async def show(self, request: GatewayRequest, user: str, filter: str) -> bytes:
        username, filter = await self._identify(request, user), _filter(filter)
        listed = await self._listed(username)
        if filter not in listed:
            raise Refusal(problems.NOT_SUBSCRIBED)
        return json_answer(request, {"username": username, "filter": filter, "qos": listed[filter]})

    @app.route("/users/<user>/subscriptions/<filter>", methods=["PUT"])
    @described("Subscribe a user", body=_QOS, body_required=False, answer=_DONE, statuses=(200, 201))
    async def put(self, request: GatewayRequest, user: str, filter: str) -> bytes:
        username, filter, qos = await self._identify(request, user), _filter(filter), _qos(request)
        listed = await self._listed(username)
        is_new = filter not in listed
        if is_new and len(listed) >= MAX_LISTED:
            raise Refusal(problems.TOO_MANY_LISTED)
        await asked(self._people().keep_subscription(username, filter, qos))
        return json_answer(request, {"success": True}, 201 if is_new else 200)

    @app.route("/users/<user>/subscriptions/<filter>", methods=["DELETE"])
    @described("Subscribe a user no longer", answer=_DONE)
    async def delete(self, request: GatewayRequest, user: str, filter: str) -> bytes:
        username, filter = await self._identify(request, user), _filter(filter)
        if not await asked(self._people().remove_subscription(username, filter)):
            raise Refusal(problems.NOT_SUBSCRIBED)
        return json_answer(request, {"success": True})

    async def _listed(self, username: str) -> Mapping[str, int]:
        return await asked(self._people().subscriptions(username))

    async def _identify(self, request: GatewayRequest, user: str) -> str:
        """
        Whose page it is, if it is the caller's, or the caller an administrator.

        :raises Refusal: as `Guard.identify_in_full`; 40301 for everybody else, 40000 for what is no name.
        """
        caller = await self._guard.identify_in_full(request)
        username = user_of_path(user)
        if username != caller.username and not self._guard.is_admin(caller):
            raise Refusal(problems.FORBIDDEN)
        try:
            check_username(username)
        except ValueError:
            raise Refusal(problems.USERNAME_INVALID) from None
        return username


def _filter(segment: str) -> str:
    """:raises Refusal: 40009, what stands in the path is no topic filter."""
    filter = user_of_path(segment)
    if not is_valid_filter(filter):
        raise Refusal(problems.TOPIC_INVALID)
    return filter


def _qos(request: GatewayRequest) -> int:
    """
    What a PUT asks for.

    :raises Refusal: 40000, it is none; 40024, the body is no JSON object.
    """
    body = json_object(request) if request.body else {}
    qos = body.pop("qos", DEFAULT_QOS)
    if body or type(qos) is not int or not 0 <= qos <= 2:
        raise Refusal(problems.QOS_INVALID)
    return qos
