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


class Aspect(Enum):
    """What has changed about somebody."""

    ACCOUNT = "account"  # made, disabled, enabled, removed, or another password
    FRIENDS = "friends"  # `Friends` is another: each change of a relation is one of both users
    SUBSCRIPTIONS = "subscriptions"  # the list of what the server subscribes this user to


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
        Remove an account, and with it all relations, the list of subscriptions, and the memory of its first
        connection.

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

    def changes() -> Deferred[list[Change]]:
        """
        What has changed, by whomever, since this was last called (the first time: since this keeper was
        made). Each `Change` once. If it cannot be told any more what has changed, one with an empty user name
        for each aspect: all may have.
        """

    def close() -> Deferred[None]:
        """Let go of files and connections."""
