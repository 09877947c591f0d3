"""
People in Redis, which several pushd, ``pushctl`` and other programs may share.

    pushd:user:NAME            hash: password, salt, status, created_at
    pushd:users                sorted set of the names that have one, for the list of accounts
    pushd:follows:NAME         set: whom NAME follows
    pushd:followers:NAME       set: who follows NAME
    pushd:subscriptions:NAME   hash: QoS by topic filter
    pushd:connected            set: who has ever connected
    pushd:token:HASH           hash: user, label, writes, reads, rate_per_s, created_at, expires_at, used_at,
                               used_from; HASH is the token's SHA-256
    pushd:tokens:NAME          set: the hashes of NAME's tokens
    pushd:token_owners         set: the names that have such a set
    pushd:grants:NAME          hash: permission by topic pattern; NAME is * for everybody
    pushd:granted              set: the names that have such a hash
    pushd:changes              stream, capped: user, aspect

``password`` is a hash as in a password file; or, as the system wrote it that this one replaces, 32
hexadecimal digits: MD5 of the password and ``salt``. ``status`` is "enabled" or "disabled". A name is the end
of its key whatever is in it, and so reaches into no other.

``writes`` and ``reads`` are topic filters as a JSON list; where one is missing, the token may whatever its
user may. A token that cannot be read is none.

Whoever reads the feed remembers the id of the last entry it has seen, and asks for that one and all behind
it. If it is not there any more, the feed was cut, emptied, or replaced by that of another Redis: all may be
other than it was.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from zope.interface import implementer

from pushd.people import scripts
from pushd.people.interfaces import (
    EVERYBODY,
    Account,
    Aspect,
    Change,
    Friends,
    Grant,
    IPeople,
    PeopleUnavailable,
    Token,
)
from pushd.people.memory import EVERYTHING, each_once
from pushd.redis.door import Door
from pushd.redis.errors import RedisUnavailable
from pushd.redis.script import Script, unpacked

MD5 = re.compile("[0-9a-fA-F]{32}")
ENABLED, DISABLED = "enabled", "disabled"

# Entries of the feed in one answer: 50 KB, decoded in a millisecond.
PAGE = 1000

P = ParamSpec("P")
T = TypeVar("T")


def asks(method: Callable[P, Coroutine[Deferred[Any], Any, T]]) -> Callable[P, Deferred[T]]:
    """A method that asks Redis, as one that returns a Deferred, with the errors of `IPeople`."""

    async def ask(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await method(*args, **kwargs)
        except RedisUnavailable as problem:
            raise PeopleUnavailable(str(problem)) from problem

    @wraps(method)
    def returning_deferred(*args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        return Deferred.fromCoroutine(ask(*args, **kwargs))

    return returning_deferred


@implementer(IPeople)
class RedisPeople:
    """
    See `IPeople`, and the top of this file.

    :param prefix: of all keys.
    """

    def __init__(self, door: Door, prefix: str = "pushd:") -> None:
        self._door = door
        self._prefix = prefix
        self._cursor: bytes | None = None  # the last entry of the feed that was seen
        self._feed_lock = DeferredLock()  # of those who move it

    def open(self) -> None:
        """Ask how far the feed of changes is. If that fails, the first `changes` says that all may have."""
        finding: Deferred[None] = self._feed_lock.run(self._find_end)
        finding.addErrback(lambda failure: failure.trap(PeopleUnavailable) and None)

    def close(self) -> Deferred[None]:
        return self._door.close()

    # Accounts

    @asks
    async def account(self, username: str) -> Account | None:
        fields = unpacked(await self._run(scripts.ACCOUNT, [self._user(username)]))
        return _account(username, *fields)

    @asks
    async def accounts(self, after: str = "", limit: int = 100) -> list[Account]:
        answer = await self._run(scripts.ACCOUNTS, [self._key("users")], self._prefix, after, limit)
        read = (_account(_text(name), *fields) for name, *fields in unpacked(answer))
        return [account for account in read if account is not None]

    @asks
    async def keep_account(self, account: Account) -> None:
        name, status = account.username, ENABLED if account.enabled else DISABLED
        keys = [self._user(name), self._key("users"), self._feed]
        await self._run(scripts.KEEP_ACCOUNT, keys, name, account.password_hash, status, account.created_at)

    @asks
    async def replace_hash(self, username: str, old: str, new: str) -> bool:
        keys = [self._user(username), self._key("users")]
        password, salt = _apart(old)
        return await self._has(scripts.REPLACE_HASH, keys, username, old, password, salt, new)

    @asks
    async def enable(self, username: str, enabled: bool) -> bool:
        keys = [self._user(username), self._feed]
        return await self._has(scripts.ENABLE, keys, username, ENABLED if enabled else DISABLED)

    @asks
    async def remove_account(self, username: str) -> bool:
        keys = [self._user(username), self._key("users"), self._subscriptions(username)]
        keys += [self._key("connected"), self._follows(username), self._followers(username)]
        keys += [self._tokens(username), self._key("token_owners")]
        keys += [self._grants(username), self._key("granted"), self._feed]
        owns_grants = "0" if username == EVERYBODY else "1"
        return await self._has(scripts.REMOVE_ACCOUNT, keys, self._prefix, username, owns_grants)

    # Friends

    @asks
    async def follow(self, follower: str, followed: str) -> bool:
        keys = [self._follows(follower), self._followers(followed), self._feed]
        return await self._has(scripts.FOLLOW, keys, follower, followed)

    @asks
    async def unfollow(self, follower: str, followed: str) -> bool:
        keys = [self._follows(follower), self._followers(followed), self._feed]
        return await self._has(scripts.UNFOLLOW, keys, follower, followed)

    @asks
    async def friends(self, username: str) -> Friends:
        keys = [self._follows(username), self._followers(username)]
        followed, mutual = unpacked(await self._run(scripts.FRIENDS, keys))
        return Friends(frozenset(map(_text, followed)), frozenset(map(_text, mutual)))

    # What the server subscribes a user to

    @asks
    async def subscriptions(self, username: str) -> Mapping[str, int]:
        flat = unpacked(await self._run(scripts.SUBSCRIPTIONS, [self._subscriptions(username)]))
        return {_text(filter): int(qos) for filter, qos in zip(flat[::2], flat[1::2], strict=True)}

    @asks
    async def keep_subscription(self, username: str, filter: str, qos: int) -> None:
        keys = [self._subscriptions(username), self._feed]
        await self._run(scripts.KEEP_SUBSCRIPTION, keys, username, filter, qos)

    @asks
    async def remove_subscription(self, username: str, filter: str) -> bool:
        keys = [self._subscriptions(username), self._feed]
        return await self._has(scripts.REMOVE_SUBSCRIPTION, keys, username, filter)

    # Tokens

    @asks
    async def token(self, hash: str) -> Token | None:
        return _token_of(hash, *unpacked(await self._run(scripts.TOKEN, [self._token(hash)])))

    @asks
    async def tokens(self, username: str) -> list[Token]:
        answer = await self._run(scripts.TOKENS, [self._tokens(username)], self._prefix)
        read = (_token_of(_text(hash), *fields) for hash, *fields in unpacked(answer))
        found = (token for token in read if token is not None)
        return sorted(found, key=lambda token: (token.created_at, token.hash))

    @asks
    async def token_owners(self) -> list[str]:
        return sorted(
            map(_text, unpacked(await self._run(scripts.TOKEN_OWNERS, [self._key("token_owners")])))
        )

    @asks
    async def keep_token(self, token: Token) -> None:
        keys = [self._token(token.hash), self._tokens(token.username), self._key("token_owners"), self._feed]
        fields = _fields(token)
        await self._run(scripts.KEEP_TOKEN, keys, self._prefix, token.hash, token.username, *fields)

    @asks
    async def remove_token(self, username: str, hash: str) -> bool:
        keys = [self._token(hash), self._tokens(username), self._key("token_owners"), self._feed]
        return await self._has(scripts.REMOVE_TOKEN, keys, username, hash)

    @asks
    async def token_used(self, hash: str, at: int, address: str) -> None:
        await self._run(scripts.TOKEN_USED, [self._token(hash)], at, address)

    # The access control list

    @asks
    async def grants(self) -> list[Grant]:
        found: list[Grant] = []
        for name, flat in unpacked(await self._run(scripts.GRANTS, [self._key("granted")], self._prefix)):
            pairs = zip(flat[::2], flat[1::2], strict=True)
            found += [Grant(_text(name), _text(pattern), _text(permission)) for pattern, permission in pairs]
        return sorted(found, key=lambda grant: (grant.username, grant.pattern))

    @asks
    async def keep_grant(self, grant: Grant) -> None:
        keys = [self._grants(grant.username), self._key("granted"), self._feed]
        await self._run(scripts.KEEP_GRANT, keys, grant.username, grant.pattern, grant.permission)

    @asks
    async def remove_grants(self, username: str, pattern: str | None = None) -> bool:
        keys = [self._grants(username), self._key("granted"), self._feed]
        return await self._has(
            scripts.REMOVE_GRANTS, keys, username, *(() if pattern is None else (pattern,))
        )

    # First connections, and changes

    @asks
    async def connected(self, username: str) -> bool:
        return bool(await self._door.call("SADD", self._key("connected"), username))

    def changes(self) -> Deferred[list[Change]]:
        return self._feed_lock.run(self._changes)

    @asks
    async def _changes(self) -> list[Change]:
        news: list[Change] = []
        while self._cursor is not None:
            answer = await self._run(scripts.FEED_FROM, [self._feed], self._cursor, PAGE)
            entries = unpacked(answer)
            if not entries or entries[0][0] != self._cursor:
                break
            self._cursor = entries[-1][0]
            news += filter(None, map(_change, entries[1:]))
            if len(entries) < PAGE:
                return each_once(news)
        self._cursor = None
        await self._find_end()
        return EVERYTHING.copy()

    @asks
    async def _find_end(self) -> None:
        self._cursor = await self._run(scripts.FEED_END, [self._feed])

    # Keys

    def _run(self, script: Script, keys: list[str], *arguments: str | bytes | int) -> Awaitable[Any]:
        return self._door.run(script, keys, arguments)

    async def _has(self, script: Script, keys: list[str], *arguments: str | bytes | int) -> bool:
        return bool(await self._run(script, keys, *arguments))

    def _key(self, name: str) -> str:
        return f"{self._prefix}{name}"

    @property
    def _feed(self) -> str:
        return self._key("changes")

    def _user(self, username: str) -> str:
        return self._key(f"user:{username}")

    def _follows(self, username: str) -> str:
        return self._key(f"follows:{username}")

    def _followers(self, username: str) -> str:
        return self._key(f"followers:{username}")

    def _subscriptions(self, username: str) -> str:
        return self._key(f"subscriptions:{username}")

    def _token(self, hash: str) -> str:
        return self._key(f"token:{hash}")

    def _tokens(self, username: str) -> str:
        return self._key(f"tokens:{username}")

    def _grants(self, username: str) -> str:
        return self._key(f"grants:{username}")


def _account(username: str, password: Any, salt: Any, status: Any, created_at: Any) -> Account | None:
    """:param password: and the others: bytes, or false for a field that there is not."""
    if password is False:
        return None
    hash = _text(password)
    if MD5.fullmatch(hash):
        hash = f"$md5${_text(salt)}${hash}"
    return Account(
        username,
        hash,
        enabled=_text(status) in scripts.ENABLED,
        created_at=int(created_at) if created_at and created_at.isdigit() else 0,
    )


def _apart(hash: str) -> tuple[str, str]:
    """What a hash is in fields of its own: MD5 digest and salt, or all of it and none."""
    salted, _, digest = hash.rpartition("$")
    return (digest, salted[len("$md5$") :]) if salted.startswith("$md5$") else (hash, "")


def _token_of(hash: str, *values: Any) -> Token | None:
    """:param values: of `scripts.TOKEN_FIELDS`: bytes, or false for a field that there is not."""
    kept = dict(zip(scripts.TOKEN_FIELDS, values, strict=True))
    if kept["user"] is False:
        return None
    try:
        return Token(
            hash,
            _text(kept["user"]),
            _text(kept["label"]),
            _filters(kept["writes"]),
            _filters(kept["reads"]),
            _rate(kept["rate_per_s"]),
            int(kept["created_at"] or 0),
            int(kept["expires_at"] or 0),
            int(kept["used_at"] or 0),
            _text(kept["used_from"]),
        )
    except (TypeError, ValueError, RecursionError):  # somebody else has written it
        return None


def _filters(value: bytes | bool) -> tuple[str, ...] | None:
    """:raises TypeError, ValueError: it is no list of them."""
    if value is False:
        return None
    read = json.loads(_text(value))
    if not isinstance(read, list) or not all(isinstance(filter, str) for filter in read):
        raise ValueError("no list of filters")
    return tuple(read)


def _rate(value: bytes | bool) -> float:
    """:raises ValueError: it is none."""
    rate = float(value or 0)
    if not 0 <= rate < math.inf:
        raise ValueError("no rate")
    return rate


def _fields(token: Token) -> list[str | int]:
    """All but its user: names and values."""
    fields: list[str | int] = ["label", token.label, "used_at", token.used_at, "used_from", token.used_from]
    fields += ["created_at", token.created_at, "expires_at", token.expires_at]
    fields += ["rate_per_s", repr(token.rate_per_s)]
    for name, filters in (("writes", token.writes), ("reads", token.reads)):
        if filters is not None:
            fields += [name, json.dumps(filters, ensure_ascii=False)]
    return fields


def _change(entry: list[bytes]) -> Change | None:
    """``None`` for the entry about nobody, and for what a newer pushd may write."""
    _, username, aspect = map(_text, entry)
    known = {one.value: one for one in Aspect}.get(aspect)
    return None if known is None else Change(username, known)


def _text(value: bytes | bool) -> str:
    """:param value: false for a field that there is not. What others wrote may be no UTF-8."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
