"""People in a file of our own, ``people.db``: what a pushd without Redis has."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from pushd.people.interfaces import EVERYBODY, Account, Aspect, Change, Friends, Grant, IPeople, Token
from pushd.people.memory import EVERYTHING, each_once
from pushd.people.people_file import PeopleFile

# Changes that are kept. Whoever was away for longer asks for everything again.
CHANGES_KEPT = 10_000

InThread = Callable[..., Deferred[Any]]


@implementer(IPeople)
class SqlitePeople:
    """
    See `IPeople`.

    :param in_thread: calls a function, with arguments, where it may wait for the disk; several at a time.
    """

    def __init__(self, path: str, in_thread: InThread) -> None:
        self._file = PeopleFile(path)
        self._in_thread = in_thread
        self._seen: int | None = None  # the number of the last change that was told

    def open(self) -> None:
        """Open the file, or make it, here and now."""
        with self._file.reading() as connection:
            self._seen = _newest(connection)

    def close(self) -> Deferred[None]:
        return self._in_thread(self._file.close)

    # Accounts

    def account(self, username: str) -> Deferred[Account | None]:
        return self._in_thread(self._account, username)

    def _account(self, username: str) -> Account | None:
        with self._file.reading() as connection:
            row = connection.execute("SELECT * FROM account WHERE username = ?", [username]).fetchone()
        return None if row is None else _account_of(row)

    def accounts(self, after: str = "", limit: int = 100) -> Deferred[list[Account]]:
        return self._in_thread(self._accounts, after, limit)

    def _accounts(self, after: str, limit: int) -> list[Account]:
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM account WHERE username > ? ORDER BY username LIMIT ?", [after, limit]
            ).fetchall()
        return list(map(_account_of, rows))

    def keep_account(self, account: Account) -> Deferred[None]:
        return self._in_thread(self._keep_account, account)

    def _keep_account(self, account: Account) -> None:
        row = [account.username, account.password_hash, account.enabled, account.created_at]
        with self._file.writing() as connection:
            connection.execute("REPLACE INTO account VALUES (?, ?, ?, ?)", row)
            _note(connection, Aspect.ACCOUNT, account.username)

    def replace_hash(self, username: str, old: str, new: str) -> Deferred[bool]:
        return self._in_thread(self._replace_hash, username, old, new)

    def _replace_hash(self, username: str, old: str, new: str) -> bool:
        with self._file.writing() as connection:
            return _has_changed(
                connection,
                "UPDATE account SET password_hash = ? WHERE username = ? AND password_hash = ?",
                [new, username, old],
            )

    def enable(self, username: str, enabled: bool) -> Deferred[bool]:
        return self._in_thread(self._enable, username, enabled)

    def _enable(self, username: str, enabled: bool) -> bool:
        with self._file.writing() as connection:
            if _has_changed(
                connection,
                "UPDATE account SET enabled = ? WHERE username = ? AND enabled <> ?",
                [enabled, username, enabled],
            ):
                _note(connection, Aspect.ACCOUNT, username)
            return _is_there(connection, "SELECT 1 FROM account WHERE username = ?", [username])

    def remove_account(self, username: str) -> Deferred[bool]:
        return self._in_thread(self._remove_account, username)

    def _remove_account(self, username: str) -> bool:
        with self._file.writing() as connection:
            was_there = _has_changed(connection, "DELETE FROM account WHERE username = ?", [username])
            if was_there:
                _note(connection, Aspect.ACCOUNT, username)
            if _has_changed(connection, "DELETE FROM subscription WHERE username = ?", [username]):
                _note(connection, Aspect.SUBSCRIPTIONS, username)
            _forget_relations(connection, username)
            if _has_changed(connection, "DELETE FROM token WHERE username = ?", [username]):
                _note(connection, Aspect.TOKENS, username)
            if username != EVERYBODY:
                _forget_grants(connection, username)
            connection.execute("DELETE FROM connected WHERE username = ?", [username])
            return was_there

    # Friends

    def follow(self, follower: str, followed: str) -> Deferred[bool]:
        return self._in_thread(
            self._change_relation, "INSERT OR IGNORE INTO follow VALUES (?, ?)", follower, followed
        )

    def unfollow(self, follower: str, followed: str) -> Deferred[bool]:
        return self._in_thread(
            self._change_relation,
            "DELETE FROM follow WHERE follower = ? AND followed = ?",
            follower,
            followed,
        )

    def _change_relation(self, statement: str, follower: str, followed: str) -> bool:
        with self._file.writing() as connection:
            has_changed = _has_changed(connection, statement, [follower, followed])
            if has_changed:
                _note(connection, Aspect.FRIENDS, follower, followed)
            return has_changed

    def friends(self, username: str) -> Deferred[Friends]:
        return self._in_thread(self._friends, username)

    def _friends(self, username: str) -> Friends:
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT there.followed, back.follower IS NOT NULL FROM follow AS there"
                " LEFT JOIN follow AS back"
                " ON back.follower = there.followed AND back.followed = there.follower"
                " WHERE there.follower = ?",
                [username],
            ).fetchall()
        return Friends(
            frozenset(name for name, _ in rows), frozenset(name for name, is_mutual in rows if is_mutual)
        )

    # What the server subscribes a user to

    def subscriptions(self, username: str) -> Deferred[Mapping[str, int]]:
        return self._in_thread(self._subscriptions, username)

    def _subscriptions(self, username: str) -> Mapping[str, int]:
        with self._file.reading() as connection:
            rows = connection.execute("SELECT filter, qos FROM subscription WHERE username = ?", [username])
            return dict(rows.fetchall())

    def keep_subscription(self, username: str, filter: str, qos: int) -> Deferred[None]:
        return self._in_thread(self._keep_subscription, username, filter, qos)

    def _keep_subscription(self, username: str, filter: str, qos: int) -> None:
        with self._file.writing() as connection:
            if _has_changed(
                connection,
                "INSERT INTO subscription VALUES (?, ?, ?)"
                " ON CONFLICT (username, filter) DO UPDATE SET qos = excluded.qos WHERE qos <> excluded.qos",
                [username, filter, qos],
            ):
                _note(connection, Aspect.SUBSCRIPTIONS, username)

    def remove_subscription(self, username: str, filter: str) -> Deferred[bool]:
        return self._in_thread(self._remove_subscription, username, filter)

    def _remove_subscription(self, username: str, filter: str) -> bool:
        statement = "DELETE FROM subscription WHERE username = ? AND filter = ?"
        with self._file.writing() as connection:
            was_there = _has_changed(connection, statement, [username, filter])
            if was_there:
                _note(connection, Aspect.SUBSCRIPTIONS, username)
            return was_there

    # Tokens

    def token(self, hash: str) -> Deferred[Token | None]:
        return self._in_thread(self._token, hash)

    def _token(self, hash: str) -> Token | None:
        with self._file.reading() as connection:
            row = connection.execute("SELECT * FROM token WHERE hash = ?", [hash]).fetchone()
        return None if row is None else _token_of(*row)

    def tokens(self, username: str) -> Deferred[list[Token]]:
        return self._in_thread(self._tokens, username)

    def _tokens(self, username: str) -> list[Token]:
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM token WHERE username = ? ORDER BY created_at, hash", [username]
            ).fetchall()
        return [_token_of(*row) for row in rows]

    def token_owners(self) -> Deferred[list[str]]:
        return self._in_thread(self._token_owners)

    def _token_owners(self) -> list[str]:
        with self._file.reading() as connection:
            rows = connection.execute("SELECT DISTINCT username FROM token ORDER BY username")
            return [name for (name,) in rows]

    def keep_token(self, token: Token) -> Deferred[None]:
        return self._in_thread(self._keep_token, token)

    def _keep_token(self, token: Token) -> None:
        row: list[Any] = [token.hash, token.username, token.label]
        row += [_written(token.writes), _written(token.reads)]
        row += [token.rate_per_s, token.created_at, token.expires_at, token.used_at, token.used_from]
        with self._file.writing() as connection:
            owners = connection.execute("SELECT username FROM token WHERE hash = ?", [token.hash]).fetchall()
            connection.execute("REPLACE INTO token VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            _note(connection, Aspect.TOKENS, token.username, *(name for (name,) in owners))

    def remove_token(self, username: str, hash: str) -> Deferred[bool]:
        return self._in_thread(self._remove_token, username, hash)

    def _remove_token(self, username: str, hash: str) -> bool:
        statement = "DELETE FROM token WHERE username = ? AND hash = ?"
        with self._file.writing() as connection:
            was_there = _has_changed(connection, statement, [username, hash])
            if was_there:
                _note(connection, Aspect.TOKENS, username)
            return was_there

    def token_used(self, hash: str, at: int, address: str) -> Deferred[None]:
        return self._in_thread(self._token_used, hash, at, address)

    def _token_used(self, hash: str, at: int, address: str) -> None:
        statement = "UPDATE token SET used_at = ?, used_from = ? WHERE hash = ? AND used_at <= ?"
        with self._file.writing() as connection:
            connection.execute(statement, [at, address, hash, at])

    # The access control list

    def grants(self) -> Deferred[list[Grant]]:
        return self._in_thread(self._grants)

    def _grants(self) -> list[Grant]:
        with self._file.reading() as connection:
            rows = connection.execute("SELECT * FROM access ORDER BY username, pattern").fetchall()
        return [Grant(*row) for row in rows]

    def keep_grant(self, grant: Grant) -> Deferred[None]:
        return self._in_thread(self._keep_grant, grant)

    def _keep_grant(self, grant: Grant) -> None:
        with self._file.writing() as connection:
            if _has_changed(
                connection,
                "INSERT INTO access VALUES (?, ?, ?) ON CONFLICT (username, pattern)"
                " DO UPDATE SET permission = excluded.permission WHERE permission <> excluded.permission",
                [grant.username, grant.pattern, grant.permission],
            ):
                _note(connection, Aspect.GRANTS, grant.username)

    def remove_grants(self, username: str, pattern: str | None = None) -> Deferred[bool]:
        return self._in_thread(self._remove_grants, username, pattern)

    def _remove_grants(self, username: str, pattern: str | None) -> bool:
        with self._file.writing() as connection:
            return _forget_grants(connection, username, pattern)

    # First connections, and changes

    def connected(self, username: str) -> Deferred[bool]:
        return self._in_thread(self._connected, username)

    def _connected(self, username: str) -> bool:
        """Nearly always it is not the first time; then nobody has to wait for a writer."""
        with self._file.reading() as connection:
            if _is_there(connection, "SELECT 1 FROM connected WHERE username = ?", [username]):
                return False
        with self._file.writing() as connection:
            return _has_changed(connection, "INSERT OR IGNORE INTO connected VALUES (?)", [username])

    def changes(self) -> Deferred[list[Change]]:
        return self._in_thread(self._changes, self._seen).addCallback(self._told)

    def _changes(self, seen: int | None) -> tuple[int, list[Change]]:
        """:return: the number of the newest, and all behind `seen`."""
        with self._file.reading() as connection:
            newest = _newest(connection)
            rows = connection.execute(
                "SELECT username, aspect FROM change WHERE sequence > ? ORDER BY sequence",
                [newest if seen is None else seen],
            ).fetchall()
        if seen is None or len(rows) != newest - seen:
            return newest, EVERYTHING.copy()
        return newest, each_once(Change(username, Aspect(aspect)) for username, aspect in rows)

    def _told(self, read: tuple[int, list[Change]]) -> list[Change]:
        self._seen, changes = read
        return changes


def _newest(connection: sqlite3.Connection) -> int:
    """The number of the newest change ever; 0 if there was none."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'change'").fetchone()
    return 0 if row is None else int(row[0])


def _note(connection: sqlite3.Connection, aspect: Aspect, *usernames: str) -> None:
    """Leave a trace of a change, and none of old ones."""
    rows = [(username, aspect.value) for username in dict.fromkeys(usernames)]
    connection.executemany("INSERT INTO change (username, aspect) VALUES (?, ?)", rows)
    connection.execute("DELETE FROM change WHERE sequence <= ?", [_newest(connection) - CHANGES_KEPT])


def _forget_relations(connection: sqlite3.Connection, username: str) -> None:
    rows = connection.execute(
        "SELECT followed FROM follow WHERE follower = ? UNION SELECT follower FROM follow WHERE followed = ?",
        [username, username],
    ).fetchall()
    if rows:
        connection.execute("DELETE FROM follow WHERE follower = ? OR followed = ?", [username, username])
        _note(connection, Aspect.FRIENDS, username, *(name for (name,) in rows))


def _forget_grants(connection: sqlite3.Connection, username: str, pattern: str | None = None) -> bool:
    """:return: whether there was any of this pattern; without one, any at all."""
    statement = "DELETE FROM access WHERE username = ? AND pattern = ifnull(?, pattern)"
    had_any = _has_changed(connection, statement, [username, pattern])
    if had_any:
        _note(connection, Aspect.GRANTS, username)
    return had_any


def _has_changed(connection: sqlite3.Connection, statement: str, values: list[Any]) -> bool:
    """Carry out a statement. :return: whether any row is not as it was."""
    return connection.execute(statement, values).rowcount > 0


def _is_there(connection: sqlite3.Connection, query: str, values: list[Any]) -> bool:
    return connection.execute(query, values).fetchone() is not None


def _account_of(row: tuple[str, str, int, int]) -> Account:
    username, password_hash, enabled, created_at = row
    return Account(username, password_hash, bool(enabled), created_at)


def _token_of(
    hash: str, username: str, label: str, writes: str | None, reads: str | None, *rest: Any
) -> Token:
    return Token(hash, username, label, _read(writes), _read(reads), *rest)


def _written(filters: Sequence[str] | None) -> str | None:
    return None if filters is None else json.dumps(filters, ensure_ascii=False)


def _read(filters: str | None) -> tuple[str, ...] | None:
    return None if filters is None else tuple(json.loads(filters))
