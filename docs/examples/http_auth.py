"""
Ask an HTTP service who may come in, and what they may do.

    plugin docs/examples/http_auth.py
    plugin_opt_url http://127.0.0.1:5000/mqtt

Two POST requests, both with a JSON object: ``URL/login`` gets ``client_id``, ``username`` and ``password``;
``URL/access`` gets ``client_id``, ``username``, ``access`` (``write`` or ``subscribe``) and ``topic``. The
status says it: 200 yes, 401 or 403 no, 404 "never heard of", which leaves it to the password file or the ACL
file. Anything else, or nothing for `timeout_s`, is a failure, and so a refusal.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.web.client import (
    Agent,
    FileBodyProducer,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseNeverReceived,
    readBody,
)
from twisted.web.http_headers import Headers

from pushd.plugins import ALLOW, DENY, IGNORE, Access, ClientInfo, Login, Plugin, Verdict

HEADERS = Headers({b"content-type": [b"application/json"]})

# The service has closed a connection that was kept just when it was used again. Asking twice does no harm.
LEFT = (ResponseNeverReceived, RequestTransmissionFailed)


class ServiceFailed(Exception):
    """The service did not answer, or not with a status that means something."""


class HttpAuth(Plugin):
    """
    Remembers an answer for `cache_s` seconds: a fleet that reconnects asks once per device.

    Whether a message may be read must be answered at once, so it is not asked: who may subscribe to a filter
    may read what matches it.
    """

    @dataclass(frozen=True)
    class Config:
        url: str
        timeout_s: float = 3.0
        cache_s: float = 30.0
        cache_size: int = 10_000

        def __post_init__(self) -> None:
            if not self.url.startswith(("http://", "https://")):
                raise ValueError(f"plugin_opt_url: {self.url!r} is no URL")

    config: Config

    VERDICTS: ClassVar[dict[int, Verdict]] = {200: ALLOW, 401: DENY, 403: DENY, 404: IGNORE}

    def start(self) -> None:
        reactor = self.broker.reactor
        self._pool = HTTPConnectionPool(reactor)
        self.agent: Any = Agent(reactor, connectTimeout=self.config.timeout_s, pool=self._pool)
        self._key = os.urandom(32)  # so that no password can be read out of the cache
        self._cache: dict[bytes, tuple[float, Verdict]] = {}

    async def stop(self) -> None:
        await self._pool.closeCachedConnections()

    async def authenticate(self, login: Login) -> Verdict:
        if login.username is None:
            return IGNORE
        asked = {"client_id": login.client_id, "username": login.username, "password": login.password_text}
        return await self._cached("login", asked)

    async def authorize(self, client: ClientInfo, access: Access, topic: str) -> Verdict:
        if access is Access.READ:
            return ALLOW
        asked = {
            "client_id": client.client_id,
            "username": client.username,
            "access": access.value,
            "topic": topic,
        }
        return await self._cached("access", asked)

    async def _cached(self, question: str, asked: Mapping[str, str | None]) -> Verdict:
        body = json.dumps(asked).encode()
        key = hmac.digest(self._key, question.encode() + body, "sha256")
        now = self.broker.reactor.seconds()
        good_until, verdict = self._cache.get(key, (0.0, IGNORE))
        if now < good_until:
            return verdict
        verdict = await self._ask(question, body)
        if len(self._cache) >= self.config.cache_size:
            self._cache.pop(next(iter(self._cache)))  # the oldest
        self._cache[key] = now + self.config.cache_s, verdict
        return verdict

    async def _ask(self, question: str, body: bytes) -> Verdict:
        url = f"{self.config.url}/{question}".encode()
        try:
            try:
                response = await self._post(url, body)
            except LEFT:
                response = await self._post(url, body)
        except CancelledError:
            raise  # the client is gone, and nobody cares any more
        except Exception as problem:
            raise ServiceFailed(f"{url.decode()}: {problem}") from problem
        await readBody(response)  # or the connection could not be used again
        if response.code not in self.VERDICTS:
            raise ServiceFailed(f"{url.decode()}: status {response.code}")
        return self.VERDICTS[response.code]

    def _post(self, url: bytes, body: bytes) -> Deferred[Any]:
        asking = self.agent.request(b"POST", url, HEADERS, FileBodyProducer(BytesIO(body)))
        posted: Deferred[Any] = asking.addTimeout(self.config.timeout_s, self.broker.reactor)
        return posted
