"""
Accounts by HTTP, for administrators.

    GET     /v1/users?limit=9  {"users": [...], "next": "bob"}; ?after=bob goes on from there
    GET     /v1/users/<user>   {"username": "anna", "enabled": true, "created_at": 1700000000}
    PUT     /v1/users/<user>   {"password": "...", "enabled": true}, or one of the two; 201 for a new account
    DELETE  /v1/users/<user>   with all that is kept about this user

No answer has a password or a hash of one in it. Names may hold any character, a slash as ``%2F``.

What stands behind a user's name, such as ``/v1/users/<user>/follows``, belongs to other pages (`UserPages`).
So does what ntfy's clients ask at the same paths (`pushd.gateway.ntfy.access_pages`): everything at
``/v1/users`` but a list that comes in pages, and all changes at ``/v1/users/access``, whoever may be called
so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.web.resource import IResource, Resource

from pushd.gateway.http import problems
from pushd.gateway.http.openapi import BOOLEAN, closed, described, integer, listed, or_null, record, text
from pushd.gateway.http.pages import Quoted, json_answer, json_app, json_object, path_text, quoted_text
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Guard
from pushd.people.interfaces import Account, IPeople, PeopleUnavailable
from pushd.people.names import check_username

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000

MAX_PASSWORD_BYTES = 65_535  # what fits into a CONNECT (v3 §3.1.3.5)

# Where a user's name and what follows it stand in the path: users / anna / follows.
_AT_WORD = 2

T = TypeVar("T")


# How pages read names below ``/v1/users``, also a second one or a topic filter: see `Quoted`.
user_of_path = quoted_text


class UserPages(Resource):
    """
    Sends each request to the pages for what stands behind the user's name.

    :param accounts: the pages of users themselves.
    :param others: further pages, by that word, such as ``b"follows"``. All see their path from ``/users`` on,
        and read names with `user_of_path`.
    :param ntfys: the pages for ntfy's clients.
    """

    isLeaf = True

    def __init__(
        self, accounts: IResource, others: Mapping[bytes, IResource], ntfys: IResource | None = None
    ) -> None:
        super().__init__()
        self._accounts = Quoted(accounts)
        self._ntfys = self._accounts if ntfys is None else Quoted(ntfys)
        self._others = {word: Quoted(pages) for word, pages in others.items()}

    def render(self, request: GatewayRequest) -> Any:
        path = request.postpath or []
        if _is_ntfys(request, path):
            return self._ntfys.render(request)
        word = b"".join(path[_AT_WORD : _AT_WORD + 1])
        return self._others.get(word, self._accounts).render(request)


def _is_ntfys(request: GatewayRequest, path: list[bytes]) -> bool:
    """Whether a request is meant as ntfy means it."""
    reads = request.method in (b"GET", b"HEAD")
    if path == [b"users"]:
        return not (reads and request.args.keys() & {b"after", b"limit"})
    return path == [b"users", b"access"] and not reads


async def asked(answer: Deferred[T]) -> T:
    """
    What the keeper of people says.

    :raises Refusal: 50300, it cannot be asked at the moment.
    """
    try:
        return await answer
    except PeopleUnavailable:
        raise Refusal(problems.UNAVAILABLE) from None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a PUT asks for; ``None`` for what shall stay as it is."""

    password: bytes | None = None
    enabled: bool | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Wanted:
        """
        :raises Refusal: 40000, a field that means nothing here, or a value that is none. A field that is
            spelt wrongly must not look as if it had been obeyed.
        """
        if body.keys() - {"password", "enabled"}:
            raise Refusal(problems.USER_FIELD_UNKNOWN)
        enabled = body.get("enabled")
        if enabled is not None and not isinstance(enabled, bool):
            raise Refusal(problems.ENABLED_INVALID)
        return cls(_password(body.get("password")), enabled)


_USER = record(["username", "enabled"], username=text(), enabled=BOOLEAN, created_at=integer("Unix seconds"))
_USERS = record(["users", "next"], users=listed(_USER), next=or_null(text("What `after` wants")))
_WANTED = closed(record(password=text(), enabled=BOOLEAN, about="One of the two, or both"))
_DONE = record(["success"], success=BOOLEAN)
_LIST_QUERY = {
    "after": text("A user name: begin behind it"),
    "limit": integer(minimum=1, maximum=MAX_LIMIT),
}


class AccountPages:
    """
    The pages of accounts.

    :param people: who keeps them; asked for at the first request, so that a gateway that nobody asks about
        users needs no file for them.
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

    @app.route("/users", methods=["GET"])
    @described("Accounts, for administrators", query=_LIST_QUERY, answer=_USERS)
    async def listing(self, request: GatewayRequest) -> bytes:
        await self._guard.identify_admin(request)
        after, limit = _text(request.argument(b"after")), _limit(request.argument(b"limit"))
        found = await asked(self._people().accounts(after, limit + 1))
        shown = found[:limit]
        users = [_shown(account) for account in shown]
        return json_answer(
            request, {"users": users, "next": shown[-1].username if len(found) > limit else None}
        )

    @app.route("/users/<user>", methods=["GET"])
    @described("One account, for administrators", answer=_USER)
    async def show(self, request: GatewayRequest, user: str) -> bytes:
        await self._guard.identify_admin(request)
        account = await asked(self._people().account(user_of_path(user)))
        if account is None:
            raise Refusal(problems.USER_NOT_FOUND)
        return json_answer(request, _shown(account))

    @app.route("/users/<user>", methods=["PUT"])
    @described("Make or change a user, for administrators", body=_WANTED, answer=_USER, statuses=(200, 201))
    async def put(self, request: GatewayRequest, user: str) -> bytes:
        await self._guard.identify_admin(request)
        username, wanted = user_of_path(user), Wanted.of(json_object(request))
        _check_name(username)
        # First, for it takes the longest: what is read below must not be old when it is written.
        password_hash = None if wanted.password is None else await self._make_hash(wanted.password)
        old = await asked(self._people().account(username))
        if password_hash is not None:
            await asked(self._people().keep_account(self._account(username, old, password_hash, wanted)))
        elif old is None:
            raise Refusal(problems.PASSWORD_MISSING)
        elif wanted.enabled is not None and not await asked(self._people().enable(username, wanted.enabled)):
            raise Refusal(problems.USER_NOT_FOUND)  # removed meanwhile
        account = await asked(self._people().account(username))
        if account is None:
            raise Refusal(problems.USER_NOT_FOUND)
        return json_answer(request, _shown(account), 201 if old is None else 200)

    def _account(self, username: str, old: Account | None, password_hash: str, wanted: Wanted) -> Account:
        if old is None:
            return Account(username, password_hash, wanted.enabled is not False, int(self._now()))
        enabled = old.enabled if wanted.enabled is None else wanted.enabled
        return Account(username, password_hash, enabled, old.created_at)

    @app.route("/users/<user>", methods=["DELETE"])
    @described("Remove an account, for administrators", answer=_DONE)
    async def delete(self, request: GatewayRequest, user: str) -> bytes:
        await self._guard.identify_admin(request)
        if not await asked(self._people().remove_account(user_of_path(user))):
            raise Refusal(problems.USER_NOT_FOUND)
        return json_answer(request, {"success": True})


def _shown(account: Account) -> dict[str, Any]:
    return {"username": account.username, "enabled": account.enabled, "created_at": account.created_at}


def _password(value: object) -> bytes | None:
    if value is None:
        return None
    try:
        password = value.encode() if isinstance(value, str) else b""
    except UnicodeEncodeError:  # JSON can say half a surrogate pair
        raise Refusal(problems.PASSWORD_INVALID) from None
    if not 0 < len(password) <= MAX_PASSWORD_BYTES:
        raise Refusal(problems.PASSWORD_INVALID)
    return password


def _check_name(username: str) -> None:
    try:
        check_username(username)
    except ValueError:
        raise Refusal(problems.USERNAME_INVALID) from None


def _text(argument: bytes) -> str:
    """A name to begin behind, which nobody needs to have."""
    return path_text(argument.decode(errors="surrogateescape")) if argument else ""


def _limit(argument: bytes) -> int:
    if not argument:
        return DEFAULT_LIMIT
    if not (argument.isdigit() and len(argument) <= len(str(MAX_LIMIT)) and 1 <= int(argument) <= MAX_LIMIT):
        raise Refusal(problems.LIMIT_INVALID)
    return int(argument)
