"""
People who are forgotten when the process ends: the reference that every other keeper is tested against.

It answers at once, so what it does can be read in one piece. Two of them may share their `Known`, as two
processes share a file: each hears of what the other changes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from pushd.people.interfaces import EVERYBODY, Account, Aspect, Change, Friends, Grant, IPeople, Token


@dataclass
class Known:
    """
    What is known.

    :ivar follows: who is followed, by follower.
    :ivar subscriptions: QoS by filter, by user.
    :ivar connected: who has ever connected.
    :ivar tokens: by hash.
    :ivar grants: the permission, by user and pattern.
    :ivar changes: all there ever were.
    """

    accounts: dict[str, Account] = field(default_factory=dict)
    follows: dict[str, set[str]] = field(default_factory=dict)
    subscriptions: dict[str, dict[str, int]] = field(default_factory=dict)
    connected: set[str] = field(default_factory=set)
    tokens: dict[str, Token] = field(default_factory=dict)
    grants: dict[tuple[str, str], str] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)


@implementer(IPeople)
class MemoryPeople:
    """
    See `IPeople`.

    :param known: what another one of them knows already.
    """

    def __init__(self, known: Known | None = None) -> None:
        self.known = known or Known()
        self._seen = len(self.known.changes)

    def open(self) -> None:
        """There is nothing to open."""

    def close(self) -> Deferred[None]:
        return succeed(None)

    # Accounts

    def account(self, username: str) -> Deferred[Account | None]:
        return succeed(self.known.accounts.get(username))

    def accounts(self, after: str = "", limit: int = 100) -> Deferred[list[Account]]:
        names = sorted(self.known.accounts)
        start = bisect_right(names, after)
        return succeed([self.known.accounts[name] for name in names[start : start + limit]])

    def keep_account(self, account: Account) -> Deferred[None]:
        self.known.accounts[account.username] = account
        self._note(Aspect.ACCOUNT, account.username)
        return succeed(None)

    def replace_hash(self, username: str, old: str, new: str) -> Deferred[bool]:
        account = self.known.accounts.get(username)
        if account is None or account.password_hash != old:
            return succeed(False)
        self.known.accounts[username] = replace(account, password_hash=new)
        return succeed(True)

    def enable(self, username: str, enabled: bool) -> Deferred[bool]:
        account = self.known.accounts.get(username)
        if account is not None and account.enabled is not enabled:
            self.known.accounts[username] = replace(account, enabled=enabled)
            self._note(Aspect.ACCOUNT, username)
        return succeed(account is not None)

    def remove_account(self, username: str) -> Deferred[bool]:
        was_there = self.known.accounts.pop(username, None) is not None
        if was_there:
            self._note(Aspect.ACCOUNT, username)
        if self.known.subscriptions.pop(username, None):
            self._note(Aspect.SUBSCRIPTIONS, username)
        self._forget_relations(username)
        self._forget_tokens(username)
        if username != EVERYBODY:
            self.remove_grants(username)
        self.known.connected.discard(username)
        return succeed(was_there)

    def _forget_relations(self, username: str) -> None:
        touched = self.known.follows.pop(username, set())
        for follower, followed in self.known.follows.items():
            if username in followed:
                followed.remove(username)
                touched.add(follower)
        if touched:
            self._note(Aspect.FRIENDS, username, *sorted(touched - {username}))

    def _forget_tokens(self, username: str) -> None:
        hashes = [token.hash for token in self.known.tokens.values() if token.username == username]
        for hash in hashes:
            del self.known.tokens[hash]
        if hashes:
            self._note(Aspect.TOKENS, username)

    # Friends

    def follow(self, follower: str, followed: str) -> Deferred[bool]:
        all_followed = self.known.follows.setdefault(follower, set())
        is_new = followed not in all_followed
        if is_new:
            all_followed.add(followed)
            self._note(Aspect.FRIENDS, follower, followed)
        return succeed(is_new)

    def unfollow(self, follower: str, followed: str) -> Deferred[bool]:
        all_followed = self.known.follows.get(follower, set())
        was_there = followed in all_followed
        if was_there:
            all_followed.remove(followed)
            self._note(Aspect.FRIENDS, follower, followed)
        return succeed(was_there)

    def friends(self, username: str) -> Deferred[Friends]:
        followed = frozenset(self.known.follows.get(username, ()))
        mutual = frozenset(name for name in followed if username in self.known.follows.get(name, ()))
        return succeed(Friends(followed, mutual))

    # What the server subscribes a user to

    def subscriptions(self, username: str) -> Deferred[Mapping[str, int]]:
        return succeed(dict(self.known.subscriptions.get(username, {})))

    def keep_subscription(self, username: str, filter: str, qos: int) -> Deferred[None]:
        of_user = self.known.subscriptions.setdefault(username, {})
        if of_user.get(filter) != qos:
            of_user[filter] = qos
            self._note(Aspect.SUBSCRIPTIONS, username)
        return succeed(None)

    def remove_subscription(self, username: str, filter: str) -> Deferred[bool]:
        was_there = self.known.subscriptions.get(username, {}).pop(filter, None) is not None
        if was_there:
            self._note(Aspect.SUBSCRIPTIONS, username)
        return succeed(was_there)

    # Tokens

    def token(self, hash: str) -> Deferred[Token | None]:
        return succeed(self.known.tokens.get(hash))

    def tokens(self, username: str) -> Deferred[list[Token]]:
        found = [token for token in self.known.tokens.values() if token.username == username]
        return succeed(sorted(found, key=lambda token: (token.created_at, token.hash)))

    def token_owners(self) -> Deferred[list[str]]:
        return succeed(sorted({token.username for token in self.known.tokens.values()}))

    def keep_token(self, token: Token) -> Deferred[None]:
        old = self.known.tokens.get(token.hash, token)
        self.known.tokens[token.hash] = token
        self._note(Aspect.TOKENS, token.username, old.username)
        return succeed(None)

    def remove_token(self, username: str, hash: str) -> Deferred[bool]:
        token = self.known.tokens.get(hash)
        if token is None or token.username != username:
            return succeed(False)
        del self.known.tokens[hash]
        self._note(Aspect.TOKENS, username)
        return succeed(True)

    def token_used(self, hash: str, at: int, address: str) -> Deferred[None]:
        token = self.known.tokens.get(hash)
        if token is not None and token.used_at <= at:
            self.known.tokens[hash] = replace(token, used_at=at, used_from=address)
        return succeed(None)

    # The access control list

    def grants(self) -> Deferred[list[Grant]]:
        return succeed([Grant(*key, permission) for key, permission in sorted(self.known.grants.items())])

    def keep_grant(self, grant: Grant) -> Deferred[None]:
        key = (grant.username, grant.pattern)
        if self.known.grants.get(key) != grant.permission:
            self.known.grants[key] = grant.permission
            self._note(Aspect.GRANTS, grant.username)
        return succeed(None)

    def remove_grants(self, username: str, pattern: str | None = None) -> Deferred[bool]:
        keys = [key for key in self.known.grants if key[0] == username and pattern in (None, key[1])]
        for key in keys:
            del self.known.grants[key]
        if keys:
            self._note(Aspect.GRANTS, username)
        return succeed(bool(keys))

    # First connections, and changes

    def connected(self, username: str) -> Deferred[bool]:
        is_first = username not in self.known.connected
        self.known.connected.add(username)
        return succeed(is_first)

    def changes(self) -> Deferred[list[Change]]:
        news = self.known.changes[self._seen :]
        self._seen = len(self.known.changes)
        return succeed(each_once(news))

    def _note(self, aspect: Aspect, *usernames: str) -> None:
        self.known.changes += each_once(Change(username, aspect) for username in usernames)


def each_once(changes: Iterable[Change]) -> list[Change]:
    """The same without repetitions, each where it came first."""
    return list(dict.fromkeys(changes))


# All may have changed: the answer when nobody can tell any more what has.
EVERYTHING = [Change("", aspect) for aspect in Aspect]
