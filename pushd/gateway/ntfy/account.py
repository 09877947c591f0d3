"""
A caller's own account, as ntfy's clients ask about it.

    GET     /v1/account          who I am, what I may, my tokens; without a login I am "*"
    POST    /v1/account          sign up: nobody can, administrators make accounts
    DELETE  /v1/account          the same
    POST    /v1/account/token    {"label": "phone", "expires": 1790000000}; the answer has the token in it
    PATCH   /v1/account/token    {"token": "tk_...", "label": "...", "expires": 0}
    DELETE  /v1/account/token    X-Token: tk_...

Only the hash of a token is kept, so it is shown once, when it is made. In lists it is ``tk_``, stars, and the
beginning of its hash; PATCH and DELETE take it by this name, too, and without any they mean the token that
the caller shows. Of a token that is somebody else's they say the same as of one that there is not.

Whoever has a token may make another one, which does not live longer than the first and is no faster. A token
that is only for some topics can do nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from pushd.gateway.http import problems
from pushd.gateway.http.openapi import BOOLEAN, described, integer, listed, record, text
from pushd.gateway.http.pages import json_answer, json_app, json_object
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Caller, Guard
from pushd.gateway.users import asked
from pushd.people.interfaces import IPeople, Token
from pushd.people.tokens import LENGTH, PREFIX, hash_of, id_of, new_token

# A year of devices that make a new one each week. ntfy has 60 as well, and forgets the oldest; here that
# might be the one that a machine in a cellar lives by.
MAX_TOKENS = 60

# How long a token is good that was asked for without saying so. ntfy's `tokenExpiryDuration`.
EXPIRES_AFTER_S = 72 * 3600

MAX_LABEL_LENGTH = 256

# What there is no limit to: the largest integer that JavaScript knows.
UNLIMITED = 2**53 - 1

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Allowance(NamedTuple):
    """
    What a caller may have.

    :ivar messages_per_day: that it may publish. How many it has is not counted: nobody shall wait for that.
    :ivar keep_messages_s: how long they are kept.
    :ivar file_bytes: the largest file that may be attached; 0 if none may.
    :ivar all_files_bytes: all of a caller's files together.
    :ivar keep_files_s: how long they are kept.
    :ivar used_bytes: what its files take at the moment.
    """

    messages_per_day: int = UNLIMITED
    keep_messages_s: int = 0
    file_bytes: int = 0
    all_files_bytes: int = 0
    keep_files_s: int = 0
    used_bytes: int = 0


_TOKEN = record(
    ["token", "last_access", "last_origin"],
    token=text("Only when it is made it is the token itself"),
    label=text(),
    last_access=integer("Unix seconds"),
    last_origin=text("The address of who used it last"),
    expires=integer("Unix seconds; not there for never"),
)
_NUMBERS = {"type": "object", "additionalProperties": {"anyOf": [integer(), text()]}}
_ACCOUNT = record(
    ["username", "role", "limits", "stats"],
    username=text("* without a login"),
    role=text("anonymous, user or admin"),
    tokens=listed(_TOKEN),
    limits=_NUMBERS,
    stats=_NUMBERS,
)
_WANTED = record(label={"type": ["string", "null"]}, expires={"type": ["integer", "null"], "minimum": 0})
_CHANGED = record(
    token=text(), label={"type": ["string", "null"]}, expires={"type": ["integer", "null"], "minimum": 0}
)
_DONE = record(["success"], success=BOOLEAN)


class OwnAccountPages:
    """
    Below ``/v1/account``.

    :param people: who keeps tokens, when they are asked for.
    :param now: Unix seconds.
    :param allowance: what a caller may have.
    """

    app = json_app()

    def __init__(
        self,
        guard: Guard,
        people: Callable[[], IPeople],
        now: Callable[[], float],
        allowance: Callable[[Caller], Allowance] = lambda caller: Allowance(),
    ) -> None:
        self._guard = guard
        self._people = people
        self._now = now
        self._allowance = allowance

    @app.route("/account", methods=["GET"])
    @described("Who I am, and what I may", answer=_ACCOUNT)
    async def show(self, request: GatewayRequest) -> bytes:
        caller = await self._guard.identify(request)
        account: dict[str, Any] = {"username": caller.username or "*", "role": self._role(caller)}
        if caller.username is not None and caller.scope.is_whole:
            tokens = await asked(self._people().tokens(caller.username))
            account["tokens"] = [shown(token, masked(token)) for token in tokens if self._is_good(token)]
        allowance = self._allowance(caller)
        account |= {"limits": _limits(allowance), "stats": _stats(allowance)}
        return json_answer(request, account)

    @app.route("/account", methods=["POST"])
    @described("Sign up: nobody can", answer=_DONE, open=True)
    def sign_up(self, request: GatewayRequest) -> bytes:
        raise Refusal(problems.SIGNUP_OFF)

    @app.route("/account", methods=["DELETE"])
    @described("Remove oneself: nobody can", answer=_DONE)
    async def leave(self, request: GatewayRequest) -> bytes:
        await self._guard.identify_user(request)
        raise Refusal(problems.FORBIDDEN)

    @app.route("/account/token", methods=["POST"])
    @described("Make a token", body=_WANTED, body_required=False, answer=_TOKEN)
    async def add_token(self, request: GatewayRequest) -> bytes:
        caller, username = await self._identify(request)
        body = _body(request)
        kept: list[Token] = await asked(self._people().tokens(username))
        if len(kept) >= MAX_TOKENS:
            raise Refusal(problems.TOO_MANY_TOKENS)
        secret, now = new_token(), int(self._now())
        token = Token(
            hash_of(secret),
            username,
            _label(body.get("label")) or "",
            rate_per_s=0.0 if caller.token is None else caller.token.rate_per_s,
            created_at=now,
            expires_at=self._expires_at(caller, body.get("expires")),
        )
        await asked(self._people().keep_token(token))
        return json_answer(request, shown(token, secret))

    @app.route("/account/token", methods=["PATCH"])
    @described("Change a token", body=_CHANGED, answer=_TOKEN)
    async def change_token(self, request: GatewayRequest) -> bytes:
        caller, username = await self._identify(request)
        body = json_object(request)
        said = body.get("token")
        old = await self._find(caller, username, said if isinstance(said, str) else "")
        label = _label(body.get("label"))
        new = replace(
            old,
            label=old.label if label is None else label,
            expires_at=self._expires_at(caller, body.get("expires")),
        )
        await asked(self._people().keep_token(new))
        return json_answer(request, shown(new, masked(new)))

    @app.route("/account/token", methods=["DELETE"])
    @described("Revoke a token", headers={"X-Token": text()}, answer=_DONE)
    async def remove_token(self, request: GatewayRequest) -> bytes:
        caller, username = await self._identify(request)
        said = request.getHeader(b"x-token") or request.getHeader(b"token") or b""
        token = await self._find(caller, username, said.decode("utf-8", "replace"))
        if not await asked(self._people().remove_token(username, token.hash)):
            raise Refusal(problems.TOKEN_NOT_FOUND)
        return json_answer(request, {"success": True})

    async def _identify(self, request: GatewayRequest) -> tuple[Caller, str]:
        caller = await self._guard.identify_in_full(request)
        assert caller.username is not None
        return caller, caller.username

    async def _find(self, caller: Caller, username: str, said: str) -> Token:
        """
        One of a user's tokens.

        :param said: itself, or how it is shown; empty for the one that the caller came in by.
        :raises Refusal: 40400, it has no such token; 40023, it did not come in by one.
        """
        if not said and caller.token is None:
            raise Refusal(problems.NO_TOKEN)
        hash = hash_of(said) if said or caller.token is None else caller.token.hash
        for token in await asked(self._people().tokens(username)):
            if token.hash == hash or masked(token) == said:
                return token
        raise Refusal(problems.TOKEN_NOT_FOUND)

    def _expires_at(self, caller: Caller, said: object) -> int:
        """
        When a token expires; 0 for never. None outlives the one that it was made with.

        :raises Refusal: 40000, it is no time to come.
        """
        now = int(self._now())
        wanted = now + EXPIRES_AFTER_S if said is None else said
        if type(wanted) is not int or not (wanted == 0 or now < wanted <= UNLIMITED):
            raise Refusal(problems.EXPIRES_INVALID)
        own = 0 if caller.token is None else caller.token.expires_at
        return min(wanted or own, own) if own else wanted

    def _role(self, caller: Caller) -> str:
        if caller.username is None:
            return "anonymous"
        return "admin" if self._guard.is_admin(caller) else "user"

    def _is_good(self, token: Token) -> bool:
        return not 0 < token.expires_at <= self._now()


def masked(token: Token) -> str:
    """How a token is shown to who has made it: as long as itself, and of no use to who looks on."""
    id = id_of(token.hash)
    return PREFIX + "*" * (LENGTH - len(PREFIX) - len(id)) + id


def shown(token: Token, name: str) -> dict[str, Any]:
    """A token in ntfy's words. `name` is it itself, or `masked`."""
    told: dict[str, Any] = {
        "token": name,
        "label": token.label,
        "last_access": token.used_at or token.created_at,
        "last_origin": token.used_from,
        "expires": token.expires_at,
    }
    return {field: value for field, value in told.items() if value or field not in ("label", "expires")}


def _limits(allowance: Allowance) -> dict[str, int | str]:
    return {
        "basis": "ip",  # ntfy's other one is what somebody has paid for
        "messages": allowance.messages_per_day,
        "messages_expiry_duration": allowance.keep_messages_s,
        "emails": 0,
        "calls": 0,
        "reservations": 0,
        "attachment_total_size": allowance.all_files_bytes,
        "attachment_file_size": allowance.file_bytes,
        "attachment_expiry_duration": allowance.keep_files_s,
        "attachment_bandwidth": UNLIMITED if allowance.all_files_bytes else 0,
    }


def _stats(allowance: Allowance) -> dict[str, int]:
    return {
        "messages": 0,
        "messages_remaining": allowance.messages_per_day,
        "emails": 0,
        "emails_remaining": 0,
        "calls": 0,
        "calls_remaining": 0,
        "reservations": 0,
        "reservations_remaining": 0,
        "attachment_total_size": allowance.used_bytes,
        "attachment_total_size_remaining": max(0, allowance.all_files_bytes - allowance.used_bytes),
    }


def _body(request: GatewayRequest) -> dict[str, Any]:
    """ntfy's clients send none for a token with no wishes."""
    return json_object(request) if request.body else {}


def _label(said: object) -> str | None:
    """:raises Refusal: 40000, it is none."""
    if said is None:
        return None
    if not isinstance(said, str) or len(said) > MAX_LABEL_LENGTH or _CONTROL.search(said):
        raise Refusal(problems.LABEL_INVALID)
    return said
