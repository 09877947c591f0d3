"""
The endpoints of UnifiedPush: which addresses there are that a push may be sent to, and where it goes then.

An endpoint is a *capability*: whoever knows its URL may push, so that URL has a secret of 256 random bits in
it. It is told once, to the device that registers it, and is not kept: what stands in the store is its
SHA-256, by which it is found again. A list of endpoints or a copy of the store is of no use to somebody who
wants to push. Each has an `id` besides, by which its owner speaks of it.

What is sent to an endpoint is sent in the name of its owner: a push gets as far as the owner's own would at
that time, whatever the owner could do when it registered the endpoint.

    live  --removed-->  gone, for `GONE_S` (410)  -->  unknown (404)
      `---nobody pushes for `UNUSED_S`------------------^
"""

from __future__ import annotations

import hashlib
import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pushd.broker.notes import Notes
from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal

log = Logger()

KIND = "unifiedpush"  # of its notes
KIND_OF_LATEST = "unifiedpush topic"

SECRET_BYTES = 32
ID_BYTES = 20

GONE_S = 30 * 86_400  # by then a sender has tried again, and knows; Matrix servers give up after a day
UNUSED_S = 365 * 86_400  # an application that has not pushed for a year has forgotten the endpoint, too
RENEW_S = 30 * 86_400

# A phone has an endpoint for each of its applications.
MAX_OF_OWNER = 1000
MAX_OF_NOBODY = 10_000  # of all who have no name


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    :ivar id: by which its owner speaks of it. An endpoint of nobody's may be removed by who knows it.
    :ivar owner: a user name; ``None`` for nobody's.
    :ivar listener: the name of the policy that it was registered under, and is pushed to by.
    :ivar topic: the topic name that its pushes have, without the mount point.
    :ivar client: the client id that they go to, instead of to the subscribers of `topic`; or
    :ivar user: the user whose sessions they go to.
    :ivar vapid: the public key that they must be signed with (`pushd.gateway.unified_push.vapid`); empty for
        none.
    :ivar created_at: Unix seconds.
    :ivar gone_at: Unix seconds; 0 for a live one.
    """

    id: str
    owner: str | None
    listener: str
    topic: str
    client: str = ""
    user: str = ""
    vapid: str = ""
    created_at: int = 0
    gone_at: int = 0

    @property
    def is_direct(self) -> bool:
        """Whether it is for certain sessions, and needs no subscription."""
        return bool(self.client or self.user)


class Endpoints:
    """
    Those of a process.

    :param notes: where they are kept; read when the first is asked for.
    :param durable: fires when all that was noted until now will survive.
    :param now: Unix seconds.
    """

    def __init__(self, notes: Notes, durable: Callable[[], Deferred[None]], now: Callable[[], float]) -> None:
        self._notes = notes
        self._durable = durable
        self._now = now
        # By owner and id, for those that are live. What is over is found out when it is looked at.
        self._keys: dict[str | None, dict[str, str]] = {}
        self._is_read = False

    async def register(self, endpoint: Endpoint) -> str:
        """
        Add an endpoint.

        :return: its secret, of 43 of ``[-_A-Za-z0-9]``, when it will survive.
        :raises Refusal: 42900, its owner has too many; 50700, all together have.
        """
        limit = MAX_OF_NOBODY if endpoint.owner is None else MAX_OF_OWNER
        if len(self._owned(endpoint.owner)) >= limit <= len(self.of_owner(endpoint.owner)):
            raise Refusal(problems.TOO_MANY_ENDPOINTS)
        secret = secrets.token_urlsafe(SECRET_BYTES)
        until = int(self._now()) + UNUSED_S
        if not self._notes.set(KIND, key_of(secret), _written(endpoint), until):
            raise Refusal(problems.NO_ROOM)
        self._owned(endpoint.owner)[endpoint.id] = key_of(secret)
        await self._durable()
        return secret

    def find(self, secret: str) -> Endpoint:
        """
        :raises Refusal: 41000, it was removed; 40400, it never was, or that was long ago.
        """
        endpoint = self._get(key_of(secret))
        if endpoint is None:
            raise Refusal(problems.ENDPOINT_NOT_FOUND)
        if endpoint.gone_at:
            raise Refusal(problems.ENDPOINT_GONE)
        return endpoint

    def pushed_to(self, secret: str) -> None:
        """It is in use. That is noted now and then, and not for each push."""
        note = self._notes.get(KIND, key_of(secret))
        until = int(self._now()) + UNUSED_S
        if note is not None and note.until < until - RENEW_S:
            self._notes.set(KIND, note.key, note.value, until)

    def of_owner(self, owner: str | None) -> list[Endpoint]:
        """All of a user, or of nobody, the oldest first."""
        owned = self._owned(owner)
        found = {id: self._get(key) for id, key in owned.items()}
        for id in [id for id, endpoint in found.items() if endpoint is None]:
            del owned[id]
        live = [endpoint for endpoint in found.values() if endpoint is not None]
        return sorted(live, key=lambda endpoint: endpoint.created_at)

    def of_id(self, owner: str | None, id: str) -> Endpoint | None:
        """The endpoint that an owner calls so."""
        key = self._owned(owner).get(id)
        return None if key is None else self._get(key)

    async def remove(self, endpoint: Endpoint) -> None:
        """Whoever pushes there is told from now on that it is gone, also after a restart."""
        key = self._owned(endpoint.owner).pop(endpoint.id)
        now = int(self._now())
        self._notes.set(KIND, key, _written(replace(endpoint, gone_at=now)), now + GONE_S)
        await self._durable()

    def note_latest(self, collapse_key: str, id: str, ttl_s: int) -> None:
        """Of what is pushed under one key, only the last can be withdrawn by it."""
        self._notes.set(KIND_OF_LATEST, collapse_key, id.encode("ascii"), int(self._now()) + ttl_s)

    def is_latest(self, collapse_key: str, id: str) -> bool:
        """Whether none was pushed under this key since."""
        note = self._notes.get(KIND_OF_LATEST, collapse_key)
        return note is not None and note.value == id.encode()

    def _owned(self, owner: str | None) -> dict[str, str]:
        if not self._is_read:
            self._read()
        return self._keys.setdefault(owner, {})

    def _read(self) -> None:
        """The notes are not there yet when this object is made."""
        self._is_read = True
        for note in self._notes.of_kind(KIND):
            endpoint = self._get(note.key)
            if endpoint is not None and not endpoint.gone_at:
                self._owned(endpoint.owner)[endpoint.id] = note.key

    def _get(self, key: str) -> Endpoint | None:
        note = self._notes.get(KIND, key)
        if note is None:
            return None
        try:
            return Endpoint(**json.loads(note.value))
        except (ValueError, TypeError):  # of a pushd that knows more about endpoints than this one
            log.error("the note of endpoint {key} cannot be read", key=key)
            return None


def new_endpoint_id() -> str:
    """27 of ``[-_A-Za-z0-9]``, which nobody guesses: it is all that owns an endpoint of nobody's."""
    return secrets.token_urlsafe(ID_BYTES)


def key_of(secret: str) -> str:
    """
    What an endpoint is found by. No salt and no slow hash: nobody can try all secrets of 256 bits. Nor does
    it help to measure how long it takes to look a hash up.
    """
    return urlsafe_b64encode(hashlib.sha256(secret.encode()).digest()).rstrip(b"=").decode("ascii")


def _written(endpoint: Endpoint) -> bytes:
    fields = {name: value for name, value in asdict(endpoint).items() if value or name == "owner"}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
