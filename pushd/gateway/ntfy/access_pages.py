"""
Users and what they may, in ntfy's words, for administrators.

    GET         /v1/users          [{"username": "anna", "role": "user",
                                     "grants": [{"topic": "alerts*", "permission": "read-only"}]}, ...]
    POST        /v1/users          {"username": "anna", "password": "..."}; 40901 if there is one
    PUT         /v1/users          the same, of one that there may be
    DELETE      /v1/users          {"username": "anna"}
    POST | PUT  /v1/users/access   {"username": "anna", "topic": "alerts*", "permission": "read-only"}
    DELETE      /v1/users/access   {"username": "anna", "topic": "alerts*"}

They share their paths with ours (`pushd.gateway.users`), which go on in this way: ``GET /v1/users`` with
``?limit=`` or ``?after=`` is our list, which comes in pages. Whoever is called "access" is shown by our
``GET /v1/users/access``, but changed and removed by the pages here, at ``/v1/users``, which also take
``enabled``.

Everybody, also without a name, is ``*``. The list has users with an account, and those that an entry is
about. An entry may be about anybody: names may come from a password file or from certificates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any

from twisted.internet.defer import Deferred

from pushd.gateway.http import problems
from pushd.gateway.http.openapi import BOOLEAN, described, listed, one_of, record, text
from pushd.gateway.http.pages import json_answer, json_app, json_object
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Guard
from pushd.gateway.users import Wanted, asked
from pushd.people.access import PERMISSIONS, check_pattern, permission_of
from pushd.people.interfaces import EVERYBODY, Account, Grant, IPeople
from pushd.people.names import check_username

# Accounts that are asked for at once; others are served in between.
PAGE = 500

_GRANT = record(["topic", "permission"], topic=text(), permission=one_of(*PERMISSIONS))
_USER = record(
    ["username", "role"], username=text(), role=one_of("admin", "user", "anonymous"), grants=listed(_GRANT)
)
_LOGIN = record(["username"], username=text(), password=text(), enabled=BOOLEAN)
_NAMED = record(["username"], username=text())
_ENTRY = record(["username", "topic", "permission"], username=text(), topic=text(), permission=text())
_ENTRY_NAMED = record(["username"], username=text(), topic=text())
_DONE = record(["success"], success=BOOLEAN)


class AccessPages:
    """
    See above.

    :param people: who keeps accounts and grants, when they are asked for.
    :param make_hash: a new hash of a password, as it stands in an account; made in a thread.
    :param now: Unix seconds.
    """

    app = json_app()

    def __init__(
        self,
        guard: Guard,
        people: Callable[[], IPeople],
        make_hash: Callable[[bytes], Deferred[str]],
        now: Callable[[], float],
    ) -> None:
        self._guard = guard
        self._people = people
        self._make_hash = make_hash
        self._now = now

    # Users

    @app.route("/users", methods=["GET"])
    @described("Users and what they may, for administrators", answer=listed(_USER))
    async def listing(self, request: GatewayRequest) -> bytes:
        await self._guard.identify_admin(request)
        grants = await asked(self._people().grants())
        of_user = {name: list(some) for name, some in groupby(grants, lambda grant: grant.username)}
        names = await self._names()
        names += sorted(of_user.keys() - set(names) - {EVERYBODY})
        users = [_shown(name, self._role(name), of_user.get(name, [])) for name in names]
        users.append(_shown(EVERYBODY, "anonymous", of_user.get(EVERYBODY, [])))
        return json_answer(request, users)

    async def _names(self) -> list[str]:
        """Of all accounts, in their order."""
        names: list[str] = []
        while True:
            accounts = await asked(self._people().accounts(names[-1] if names else "", PAGE))
            names += [account.username for account in accounts]
            if len(accounts) < PAGE:
                return names

    @app.route("/users", methods=["POST"])
    @described("Make an account, for administrators", body=_LOGIN, answer=_DONE)
    async def add(self, request: GatewayRequest) -> bytes:
        await self._guard.identify_admin(request)
        username, wanted = _wanted(json_object(request))
        if wanted.password is None:
            raise Refusal(problems.PASSWORD_MISSING)
        if await asked(self._people().account(username)) is not None:
            raise Refusal(problems.USER_EXISTS)
        await self._keep(username, wanted.password, wanted.enabled, new=True)
        return json_answer(request, {"success": True})

    @app.route("/users", methods=["PUT"])
    @described("Make or change an account, for administrators", body=_LOGIN, answer=_DONE)
    async def put(self, request: GatewayRequest) -> bytes:
        await self._guard.identify_admin(request)
        username, wanted = _wanted(json_object(request))
        if wanted.password is not None:
            await self._keep(username, wanted.password, wanted.enabled)
        elif wanted.enabled is None or not await asked(self._people().enable(username, wanted.enabled)):
            raise Refusal(problems.PASSWORD_MISSING)
        return json_answer(request, {"success": True})

    async def _keep(self, username: str, password: bytes, enabled: bool | None, new: bool = False) -> None:
        """
        :raises Refusal: 40901, it is to be a `new` one, and there is one by now.
        """
        # First, for it takes the longest: what is read below must not be old when it is written.
        password_hash = await self._make_hash(password)
        old = await asked(self._people().account(username))
        if old is not None and new:
            raise Refusal(problems.USER_EXISTS)
        if enabled is None:
            enabled = old is None or old.enabled
        created_at = int(self._now()) if old is None else old.created_at
        await asked(self._people().keep_account(Account(username, password_hash, enabled, created_at)))

    @app.route("/users", methods=["DELETE"])
    @described("Remove an account, for administrators", body=_NAMED, answer=_DONE)
    async def remove(self, request: GatewayRequest) -> bytes:
        await self._guard.identify_admin(request)
        if not await asked(self._people().remove_account(_username(json_object(request)))):
            raise Refusal(problems.USER_UNKNOWN)
        return json_answer(request, {"success": True})

    # What they may

    @app.route("/users/access", methods=["POST", "PUT"])
    @described("Let a user read or write topics, or not, for administrators", body=_ENTRY, answer=_DONE)
    async def allow(self, request: GatewayRequest) -> bytes:
        await self._guard.identify_admin(request)
        body = json_object(request)
        try:
            permission = permission_of(str(body.get("permission", "")))
        except ValueError:
            raise Refusal(problems.PERMISSION_INVALID) from None
        await asked(self._people().keep_grant(Grant(_anybody(body), _pattern(body), permission)))
        return json_answer(request, {"success": True})

    @app.route("/users/access", methods=["DELETE"])
    @described("Take entries about a user away, for administrators", body=_ENTRY_NAMED, answer=_DONE)
    async def reset(self, request: GatewayRequest) -> bytes:
        """Without a topic, all of them. As in ntfy it is no mistake if there is none."""
        await self._guard.identify_admin(request)
        body = json_object(request)
        pattern = _pattern(body) if body.get("topic") is not None else None
        await asked(self._people().remove_grants(_anybody(body), pattern))
        return json_answer(request, {"success": True})

    def _role(self, username: str) -> str:
        return "admin" if self._guard.names_admin(username) else "user"


def _shown(username: str, role: str, grants: list[Grant]) -> dict[str, Any]:
    told = [{"topic": grant.pattern, "permission": grant.permission} for grant in grants]
    return {"username": username, "role": role, **({"grants": told} if told else {})}


def _wanted(body: Mapping[str, Any]) -> tuple[str, Wanted]:
    """
    A user name, and what is to become of it.

    :raises Refusal: 40046, 40030; 40000 for a hash, and as `Wanted.of`.
    """
    username = _username(body)
    if body.get("tier"):
        raise Refusal(problems.TIER_INVALID)
    if body.get("hash"):
        raise Refusal(problems.HASH_INVALID)
    return username, Wanted.of({name: body[name] for name in ("password", "enabled") if name in body})


def _username(body: Mapping[str, Any]) -> str:
    """
    Somebody who may have an account. The name of everybody is nobody's.

    :raises Refusal: 40046.
    """
    username = _anybody(body)
    if username == EVERYBODY:
        raise Refusal(problems.USERNAME_NOT_NTFYS)
    return username


def _anybody(body: Mapping[str, Any]) -> str:
    """:raises Refusal: 40046, it is no name."""
    username = body.get("username")
    try:
        if not isinstance(username, str):
            raise ValueError
        check_username(username)
    except ValueError:
        raise Refusal(problems.USERNAME_NOT_NTFYS) from None
    return username


def _pattern(body: Mapping[str, Any]) -> str:
    """:raises Refusal: 40009, it is none."""
    pattern = body.get("topic")
    try:
        check_pattern(pattern if isinstance(pattern, str) else "")
    except ValueError:
        raise Refusal(problems.TOPIC_INVALID) from None
    assert isinstance(pattern, str)
    return pattern
