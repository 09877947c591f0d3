"""
Who follows whom, by HTTP: for the user who follows, and for administrators.

    GET     /v1/users/<user>/follows           {"username": "anna", "follows": ["bob", "eve"],
                                                "mutual": ["eve"]}, who is one of them and follows back
    GET     /v1/users/<user>/follows/<other>   {"username": "anna", "follows": "eve", "mutual": true}
    PUT     /v1/users/<user>/follows/<other>   from now on; 201 if that is new
    DELETE  /v1/users/<user>/follows/<other>   from now on not any more

Neither of the two needs an account: their names may come from certificates, or from a password file. Names
may hold any character, a slash as ``%2F``. Rules with ``%f`` and ``%F`` count the change within a second.
"""

from __future__ import annotations

from collections.abc import Callable

from pushd.gateway.http import problems
from pushd.gateway.http.openapi import BOOLEAN, described, listed, record, text
from pushd.gateway.http.pages import json_answer, json_app
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Guard
from pushd.gateway.users import asked, user_of_path
from pushd.people.interfaces import IPeople
from pushd.people.names import check_username

_FOLLOWS = record(["username", "follows"], username=text(), follows=listed(text()), mutual=listed(text()))
_FOLLOW = record(["username", "follows"], username=text(), follows=text(), mutual=BOOLEAN)
_DONE = record(["success"], success=BOOLEAN)


class FollowPages:
    """
    Pages of `pushd.gateway.users.UserPages`, by the word ``follows``.

    :param people: who keeps them, when they are asked for.
    """

    app = json_app()

    def __init__(self, guard: Guard, people: Callable[[], IPeople]) -> None:
        self._guard = guard
        self._people = people

    @app.route("/users/<user>/follows", methods=["GET"])
    @described("Whom a user follows", answer=_FOLLOWS)
    async def listing(self, request: GatewayRequest, user: str) -> bytes:
        username = await self._identify(request, user)
        friends = await asked(self._people().friends(username))
        return json_answer(
            request,
            {
                "username": username,
                "follows": sorted(friends.followed),
                "mutual": sorted(friends.mutual),
            },
        )

    @app.route("/users/<user>/follows/<other>", methods=["GET"])
    @described("Whether a user follows another", answer=_FOLLOW)
    async def show(self, request: GatewayRequest, user: str, other: str) -> bytes:
        username, followed = await self._identify(request, user), _name(other)
        friends = await asked(self._people().friends(username))
        if followed not in friends.followed:
            raise Refusal(problems.NOT_FOLLOWED)
        return json_answer(
            request, {"username": username, "follows": followed, "mutual": followed in friends.mutual}
        )

    @app.route("/users/<user>/follows/<other>", methods=["PUT"])
    @described("Follow somebody", answer=_DONE, statuses=(200, 201))
    async def put(self, request: GatewayRequest, user: str, other: str) -> bytes:
        username, followed = await self._identify(request, user), _name(other)
        is_new = await asked(self._people().follow(username, followed))
        return json_answer(request, {"success": True}, 201 if is_new else 200)

    @app.route("/users/<user>/follows/<other>", methods=["DELETE"])
    @described("Follow somebody no longer", answer=_DONE)
    async def delete(self, request: GatewayRequest, user: str, other: str) -> bytes:
        username, followed = await self._identify(request, user), _name(other)
        if not await asked(self._people().unfollow(username, followed)):
            raise Refusal(problems.NOT_FOLLOWED)
        return json_answer(request, {"success": True})

    async def _identify(self, request: GatewayRequest, user: str) -> str:
        """
        Whose page it is, if it is the caller's, or the caller an administrator.

        :raises Refusal: as `Guard.identify_in_full`; 40301 for everybody else.
        """
        caller = await self._guard.identify_in_full(request)
        username = _name(user)
        if username != caller.username and not self._guard.is_admin(caller):
            raise Refusal(problems.FORBIDDEN)
        return username


def _name(segment: str) -> str:
    """
    A user's name in the path.

    :raises Refusal: 40000 for what nobody can be called, 40401 for what is no text.
    """
    name = user_of_path(segment)
    try:
        check_username(name)
    except ValueError:
        raise Refusal(problems.USERNAME_INVALID) from None
    return name
