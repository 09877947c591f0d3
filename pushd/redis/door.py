"""
The door to Redis: every question to it goes through here.

Each is answered, or fails with `RedisUnavailable`, within its time. One that was sent and is not answered in
time takes the connection with it, for answers come in order and those behind it will be late as well; the
rest fail at once, and the next are asked over a new connection.

Answers are bytes, integers, ``None`` and lists of those. Words of questions may be text (sent as UTF-8),
bytes or integers: each goes with its length in front, so nothing in it can be taken for another word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import txredisapi  # type: ignore[import-untyped]  # it has no type hints
from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.ssl import (
    Certificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.python.failure import Failure

from pushd.redis.errors import BadUrl, RedisRefused, RedisUnavailable
from pushd.redis.link import Link
from pushd.redis.script import Script
from pushd.redis.url import Address, parse_url

TIMEOUT_S = 2.0

# A host may have several addresses. This is also how long Twisted takes to notice that all have refused.
NEXT_ADDRESS_S = 0.05

Word = str | bytes | int
Command = Sequence[Word]


def connect(url: str, reactor: Any, timeout_s: float = TIMEOUT_S) -> Door:
    """
    :param url: see `pushd.redis.url`. Nothing is connected before the first question.
    :raises BadUrl: it is none, or a file that it names cannot be read.
    """
    return Door(parse_url(url), reactor, timeout_s)


class Door:
    """See the top of this file. Answers may be cancelled; what was asked happens all the same."""

    def __init__(self, address: Address, reactor: Any, timeout_s: float = TIMEOUT_S) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._clock = reactor
        self._endpoint = _endpoint(address, reactor, timeout_s)
        self._link = Link(self._connect, str(address), reactor)

    def call(self, *words: Word) -> Deferred[Any]:
        """Ask one thing: ``door.call("INCRBY", key, 5)``."""
        return self._ask(lambda connection: connection.execute_command(*words))

    def run(self, script: Script, keys: Sequence[Word] = (), arguments: Sequence[Word] = ()) -> Deferred[Any]:
        """Run a script: by its hash, and with its text if Redis does not know it yet, or any more."""
        words = (len(keys), *keys, *arguments)

        def ask(connection: Any) -> Deferred[Any]:
            answer: Deferred[Any] = connection.execute_command("EVALSHA", script.sha, *words)
            return answer.addErrback(tell, connection)

        def tell(failure: Failure, connection: Any) -> Any:
            failure.trap(txredisapi.ResponseError)
            if not str(failure.value).startswith("NOSCRIPT"):
                return failure
            return connection.execute_command("EVAL", script.text, *words)

        return self._ask(ask)

    def pipeline(self, commands: Sequence[Command]) -> Deferred[list[Any]]:
        """Ask several things in one go. The answers in their order; one that is an error fails them all."""
        return self._ask(lambda connection: _all(connection, commands))

    def transaction(self, commands: Sequence[Command]) -> Deferred[list[Any]]:
        """The same, and no other client of Redis comes between them (MULTI, EXEC)."""
        return self._ask(lambda connection: _all(connection, [["MULTI"], *commands, ["EXEC"]])).addCallback(
            _executed
        )

    def close(self) -> Deferred[None]:
        """Fires when the connection is closed."""
        return self._link.close()

    def _ask(self, question: Callable[[Any], Deferred[Any]]) -> Deferred[Any]:
        asked: list[Any] = []

        def ask(connection: Any) -> Deferred[Any]:
            asked.append(connection)
            return question(connection)

        def failed(failure: Failure) -> Failure:
            translated = self._translated(failure)
            if asked and failure.check(TookTooLong):
                self._link.drop(asked[0])
            return translated

        answer = self._link.connection().addCallback(ask)
        return answer.addTimeout(self._timeout_s, self._clock).addErrback(failed)

    def _translated(self, failure: Failure) -> Failure:
        """What txredisapi and Twisted call it, as one of our errors."""
        if isinstance(failure.value, FirstError):
            failure = failure.value.subFailure
        if failure.check(TookTooLong):
            return Failure(RedisUnavailable(self._no_answer()))
        if failure.check(txredisapi.ResponseError):
            return Failure(RedisRefused(f"Redis at {self.address}: {failure.getErrorMessage()}"))
        if failure.check(txredisapi.RedisError):
            return Failure(RedisUnavailable(f"Redis at {self.address}: {failure.getErrorMessage()}"))
        return failure

    def _no_answer(self) -> str:
        because = "" if self._link.problem is None else f" ({self._link.problem})"
        return f"no answer from Redis at {self.address} in {self._timeout_s:g} s{because}"

    # Connections, for the link

    def _connect(self) -> Deferred[Any]:
        connecting: Deferred[Any] = Deferred.fromCoroutine(self._greet())
        return connecting.addTimeout(self._timeout_s, self._clock).addErrback(_why_not)

    async def _greet(self) -> Any:
        """Say who we are, and see that Redis is at work."""
        connection: Any = await self._endpoint.connect(_Protocols(self._clock))
        try:
            await _all(connection, [*_introduction(self.address), ["PING"]])
        except BaseException as problem:
            connection.transport.abortConnection()
            raise connection.tls_error or problem from None
        return connection


def _why_not(failure: Failure) -> Failure:
    """The reason why a connection was not made, in few words."""
    if isinstance(failure.value, FirstError):
        failure = failure.value.subFailure
    if failure.check(TookTooLong, ConnectingCancelledError, CancelledError):
        return Failure(RedisUnavailable("it does not answer"))
    return failure


class _Connection(txredisapi.RedisProtocol):  # type: ignore[misc]  # it has no type hints
    """
    One that says more of its end.

    :ivar tls_error: why TLS did not come about, such as "certificate verify failed"; ``None`` if it did.
    """

    tls_error: RedisUnavailable | None = None

    def connectionLost(self, why: Failure) -> None:
        if isinstance(why.value, SSL.Error) and why.value.args:
            reasons = (str(reason) for *_, reason in why.value.args[0])
            self.tls_error = RedisUnavailable(f"TLS: {', '.join(reasons)}")
        super().connectionLost(why)


class _Protocols(Factory):
    """txredisapi's own factories connect by themselves, and do not look at certificates."""

    noisy = False

    def __init__(self, clock: Any) -> None:
        self._clock = clock

    def buildProtocol(self, addr: Any) -> Any:
        protocol = _Connection(charset=None, convertNumbers=False)
        protocol.callLater = self._clock.callLater  # it would take the process's own reactor
        return protocol


def _introduction(address: Address) -> list[Command]:
    introduction: list[Command] = []
    if address.password is not None:
        user = [] if address.username is None else [address.username]
        introduction.append(["AUTH", *user, address.password])
    if address.db:
        introduction.append(["SELECT", address.db])
    return introduction


def _all(connection: Any, commands: Sequence[Command]) -> Deferred[list[Any]]:
    """Sent in one go, so nothing of ours comes between them."""
    return gatherResults([connection.execute_command(*words) for words in commands], consumeErrors=True)


def _executed(answers: list[Any]) -> list[Any]:
    """:param answers: to MULTI, to each command ("QUEUED"), and to EXEC: a list of what they really say."""
    executed: list[Any] = answers[-1] or []
    for answer in executed:
        if isinstance(answer, txredisapi.ResponseError):
            raise RedisRefused(str(answer))
    return executed


def _endpoint(address: Address, reactor: Any, timeout_s: float) -> IStreamClientEndpoint:
    if address.path:
        return UNIXClientEndpoint(reactor, address.path, timeout=timeout_s)
    endpoint = HostnameEndpoint(
        reactor, address.host, address.port, timeout=timeout_s, attemptDelay=NEXT_ADDRESS_S
    )
    if not address.tls:
        return endpoint
    return wrapClientTLS(optionsForClientTLS(address.host, trustRoot=_trusted(address)), endpoint)


def _trusted(address: Address) -> Any:
    if address.ca_file is None:
        return platformTrust()
    try:
        with open(address.ca_file, "rb") as file:
            pem = file.read()
        certificates = x509.load_pem_x509_certificates(pem)
    except (OSError, ValueError) as problem:
        raise BadUrl(f"{address.ca_file} cannot be used as certificates for Redis: {problem}") from problem
    return trustRootFromCertificates([Certificate(X509.from_cryptography(each)) for each in certificates])
