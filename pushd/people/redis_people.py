"""
People in Redis, which several pushd, ``pushctl`` and other programs may share.

    pushd:user:NAME            hash: password, salt, status, created_at
    pushd:users                sorted set of the names that have one, for the list of accounts
    pushd:follows:NAME         set: whom NAME follows
    pushd:followers:NAME       set: who follows NAME
    pushd:subscriptions:NAME   hash: QoS by topic filter
    pushd:connected            set: who has ever connected
    pushd:changes              stream, capped: user, aspect

``password`` is a hash as in a password file; or, as the system wrote it that this one replaces, 32
hexadecimal digits: MD5 of the password and ``salt``. ``status`` is "enabled" or "disabled". A name is the end
of its key whatever is in it, and so reaches into no other.

Whoever reads the feed remembers the id of the last entry it has seen, and asks for that one and all behind
it. If it is not there any more, the feed was cut, emptied, or replaced by that of another Redis: all may be
other than it was.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from zope.interface import implementer

from pushd.people import scripts
from pushd.people.interfaces import Account, Aspect, Change, Friends, IPeople, PeopleUnavailable
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
        keys += [self._key("connected"), self._follows(username), self._followers(username), self._feed]
        return await self._has(scripts.REMOVE_ACCOUNT, keys, self._prefix, username)

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


def _change(entry: list[bytes]) -> Change | None:
    """``None`` for the entry about nobody, and for what a newer pushd may write."""
    _, username, aspect = map(_text, entry)
    known = {one.value: one for one in Aspect}.get(aspect)
    return None if known is None else Change(username, known)


def _text(value: bytes | bool) -> str:
    """:param value: false for a field that there is not. What others wrote may be no UTF-8."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
