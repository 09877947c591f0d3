"""
What is kept of people, wherever it is kept: in a file of our own, or in Redis.

One contract for both (``tests/people/contract.py``). Every method returns at once with a Deferred; none of
them blocks. One that cannot be answered fails with `PeopleUnavailable`, in bounded time: nobody waits for
ever for a Redis that is away.

Several processes may change the same people, ``pushctl`` among them. Each change leaves a trace, by which all
others hear of it within a second (`IPeople.changes`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from twisted.internet.defer import Deferred
from zope.interface import Interface


class PeopleUnavailable(Exception):
    """They cannot be asked at the moment: nobody answers, or not in time. The message says why."""


@dataclass(frozen=True, slots=True)
class Account:
    """
    :ivar password_hash: as it stands in a password file, ``$7$...`` or ``$argon2id$...``; or, until the first
        login, ``$md5$SALT$HEX`` of the system that this one replaces: MD5 of the password and the salt.
    :ivar enabled: whether its user may log in.
    :ivar created_at: Unix seconds.
    """

    username: str
    password_hash: str
    enabled: bool = True
    created_at: int = 0


@dataclass(frozen=True, slots=True)
class Friends:
    """
    :ivar followed: the users whom this one follows: ``%f`` in rules.
    :ivar mutual: those of them who follow back: ``%F``.
    """

    followed: frozenset[str] = frozenset()
    mutual: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Token:
    """
    An access token, which stands for its user's password at the gateway. Itself it is not kept.

    :ivar hash: its SHA-256 in hexadecimal digits.
    :ivar username: whose it is.
    :ivar label: what its user calls it.
    :ivar writes: topic filters that it may publish to, as far as its user may; ``None`` for all of them.
    :ivar reads: the same for listening.
    :ivar rate_per_s: how many requests it may make per second, in the long run; 0 for as many as its user.
    :ivar created_at: Unix seconds, as are all of these.
    :ivar expires_at: 0 for never.
    :ivar used_at: the last time it was shown; 0 for never. May be late by a minute.
    :ivar used_from: the address of who showed it then.
    """

    hash: str
    username: str
    label: str = ""
    writes: tuple[str, ...] | None = None
    reads: tuple[str, ...] | None = None
    rate_per_s: float = 0.0
    created_at: int = 0
    expires_at: int = 0
    used_at: int = 0
    used_from: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """
    An entry of ntfy's access control list.

    :ivar username: whom it is about; ``*`` for everybody, also without a name.
    :ivar pattern: a topic name, in which ``*`` stands for any number of characters.
    :ivar permission: ``read-write``, ``read-only``, ``write-only`` or ``deny-all``.
    """

    username: str
    pattern: str
    permission: str


# Whom a `Grant` of this name is about: everybody. A user who happens to be called so has none of its own.
EVERYBODY = "*"


class Aspect(Enum):
    """What has changed about somebody."""

    ACCOUNT = "account"  # made, disabled, enabled, removed, or another password
    FRIENDS = "friends"  # `Friends` is another: each change of a relation is one of both users
    SUBSCRIPTIONS = "subscriptions"  # the list of what the server subscribes this user to
    TOKENS = "tokens"  # one was made, changed or revoked; that one was used is no change
    GRANTS = "grants"  # the access control list has other entries about this user, or about everybody (``*``)


@dataclass(frozen=True, slots=True)
class Change:
    """Something about one user is not as it was."""

    username: str
    aspect: Aspect


class IPeople(Interface):
    """The keeper of people. User names are any text that MQTT allows; none is special to it."""

    def open() -> None:
        """
        Look whether this can work at all, before the first call. It may take a moment.

        :raises PeopleUnavailable: it cannot, for a reason that does not go away by itself. A Redis that is
            away is none: it may come back.
        """

    def account(username: str) -> Deferred[Account | None]:
        """Somebody's account, or ``None``."""

    def accounts(after: str = "", limit: int = 100) -> Deferred[list[Account]]:
        """Accounts in the order of their names (by code points), from the first behind `after` on."""

    def keep_account(account: Account) -> Deferred[None]:
        """Make an account, or put this one in the place of the one of the same name."""

    def replace_hash(username: str, old: str, new: str) -> Deferred[bool]:
        """
        Put another hash of the same password in the place of an old one. That is no `Change`: the password
        is the same.

        :return: whether the account had the old one still.
        """

    def enable(username: str, enabled: bool) -> Deferred[bool]:
        """Let somebody log in, or not. :return: whether there is such an account."""

    def remove_account(username: str) -> Deferred[bool]:
        """
        Remove an account, and with it all relations, the list of subscriptions, tokens and grants, and the
        memory of its first connection. Grants of `EVERYBODY` stay, whoever is called so.

        :return: whether there was one.
        """

    def follow(follower: str, followed: str) -> Deferred[bool]:
        """
        From now on the one follows the other. They need no account: their names may come from certificates or
        a password file.

        :return: whether that is new.
        """

    def unfollow(follower: str, followed: str) -> Deferred[bool]:
        """From now on it does not. :return: whether it did."""

    def friends(username: str) -> Deferred[Friends]:
        """Whom somebody follows. 5000 take no longer than 50 ms, and none of it on the reactor's thread."""

    def subscriptions(username: str) -> Deferred[Mapping[str, int]]:
        """Topic filters that the server subscribes each session of this user to, with their QoS."""

    def keep_subscription(username: str, filter: str, qos: int) -> Deferred[None]:
        """Add one to that list, or give it another QoS. The filter was checked."""

    def remove_subscription(username: str, filter: str) -> Deferred[bool]:
        """Take one away. :return: whether it was there."""

    def connected(username: str) -> Deferred[bool]:
        """Note that somebody has connected. :return: whether that was the first time ever."""

    def token(hash: str) -> Deferred[Token | None]:
        """The token with this hash, expired or not."""

    def tokens(username: str) -> Deferred[list[Token]]:
        """All tokens of a user, the oldest first."""

    def token_owners() -> Deferred[list[str]]:
        """All users who have tokens, in the order of their names (by code points)."""

    def keep_token(token: Token) -> Deferred[None]:
        """Add a token, or put it in the place of the one with the same hash."""

    def remove_token(username: str, hash: str) -> Deferred[bool]:
        """Revoke a user's token. :return: whether this user had it; nobody can revoke another's."""

    def token_used(hash: str, at: int, address: str) -> Deferred[None]:
        """Note that a token was shown. Nothing if it is gone, or if it was shown later than that."""

    def grants() -> Deferred[list[Grant]]:
        """All entries of the access control list, by user name and then by pattern."""

    def keep_grant(grant: Grant) -> Deferred[None]:
        """Add an entry, or give the one of the same user and pattern another permission."""

    def remove_grants(username: str, pattern: str | None = None) -> Deferred[bool]:
        """Take away one entry of a user, or without a pattern all. :return: whether there was any."""

    def changes() -> Deferred[list[Change]]:
        """
        What has changed, by whomever, since this was last called (the first time: since this keeper was
        made). Each `Change` once. If it cannot be told any more what has changed, one with an empty user name
        for each aspect: all may have.
        """

    def close() -> Deferred[None]:
        """Let go of files and connections."""
