"""
Who is connected, for administrators.

    GET     /v1/clients       {"clients": [...], "next": "dev/7"}, in the order of their ids; ?after=dev/7
                              goes on from there, ?limit=1..1000, ?connected=yes or no
    GET     /v1/clients/<id>  one, with its subscriptions and all that waits for it
    DELETE  /v1/clients/<id>  disconnects it; with ?session=1 its session ends, too

An id may hold any character, a slash as ``%2F``. "next" is ``null`` on the last page. Times are Unix seconds,
and ``null`` where there is none.

A list never holds up the broker, however many sessions there are: they are looked at in slices, between which
others are served, and of each slice only what may stand on the page is kept. Nothing is sorted but that.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import nsmallest
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pushd.broker.broker import Broker
from pushd.broker.client import Client
from pushd.broker.session import Session, Subscription
from pushd.gateway.http import problems
from pushd.gateway.http.openapi import BOOLEAN, described, integer, listed, one_of, or_null, record, text
from pushd.gateway.http.pages import begin_behind, json_answer, json_app, page_limit, quoted_text
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Guard
from pushd.gateway.ntfy.parameters import TRUE
from pushd.mqtt.codes import ReasonCode

# Sessions that are looked at in one piece, in 1 to 2 ms. To copy 100 000 ids before that takes as long.
SLICE = 1000

_FALSE = frozenset({"0", "no", "false"})

# Calls something when others have been served.
Soon: TypeAlias = "Callable[[Callable[[], None]], object]"

log = Logger()


_CLIENT = record(
    ["client_id", "username", "connected"],
    client_id=text(),
    username=or_null(text()),
    connected=BOOLEAN,
    address=or_null(text()),
    listener=text(),
    queued_messages=integer(),
    queued_bytes=integer(),
)
_CLIENTS = record(["clients", "next"], clients=listed(_CLIENT), next=or_null(text("What `after` wants")))
_KICKED = record(["disconnected", "session_ended"], disconnected=BOOLEAN, session_ended=BOOLEAN)
_LIST_QUERY = {
    "after": text("A client id: begin behind it"),
    "limit": integer(minimum=1, maximum=1000),
    "connected": one_of("yes", "no"),
}


class ClientPages:
    """
    :param now: Unix seconds.
    """

    app = json_app()

    def __init__(self, guard: Guard, broker: Broker, now: Callable[[], float], soon: Soon) -> None:
        self._guard = guard
        self._broker = broker
        self._now = now
        self._soon = soon

    @app.route("/clients", methods=["GET"])
    @described("Who is connected, or has a session, for administrators", query=_LIST_QUERY, answer=_CLIENTS)
    async def listing(self, request: GatewayRequest) -> bytes:
        """
        :raises Refusal: 40000; 40301 for anybody but an administrator, as below.
        """
        await self._guard.identify_admin(request)
        limit = page_limit(request)
        page = Page(self._broker.sessions, begin_behind(request), limit + 1, _connected(request))
        ids = await page.look(self._soon)
        sessions = [self._broker.sessions[id] for id in ids[:limit] if id in self._broker.sessions]
        next_after = ids[limit - 1] if len(ids) > limit else None
        return json_answer(request, {"clients": list(map(summary, sessions)), "next": next_after})

    @app.route("/clients/<client_id>", methods=["GET"])
    @described("One client, with its subscriptions, for administrators", answer=_CLIENT)
    async def one(self, request: GatewayRequest, client_id: str) -> bytes:
        """
        :raises Refusal: 40401, there is no such session.
        """
        await self._guard.identify_admin(request)
        session = self._session(client_id)
        told = summary(session) | details(session)
        told["subscriptions"] = list(map(_subscription, session.subscriptions.items()))
        told["connected_since"] = self._unix(None if session.client is None else session.client.since)
        told["away_since"] = self._unix(None if session.client is not None else session.offline_since)
        return json_answer(request, told)

    @app.route("/clients/<client_id>", methods=["DELETE"])
    @described(
        "Disconnect a client, for administrators",
        query={"session": one_of("yes", "no", about="yes: end its session, too")},
        answer=_KICKED,
    )
    async def kick(self, request: GatewayRequest, client_id: str) -> bytes:
        """
        The answer comes when the end of a session is durable.

        :raises Refusal: 40401, there is no such session.
        """
        caller = await self._guard.identify_admin(request)
        session = self._session(client_id)
        client, forget = session.client, request.argument(b"session").decode("latin-1").lower() in TRUE
        if client is not None:
            log.info(
                "Client {id} has to go: {user} wants it.",
                id=session.client_id,
                user=caller.username,
                log_type="notice",
            )
            dismiss(self._broker, client)
        if forget:
            self._broker.end_session(session)
        if self._broker.store.pending:
            await self._broker.store.barrier()
        return json_answer(request, {"disconnected": client is not None, "session_ended": forget})

    def _session(self, client_id: str) -> Session:
        session = self._broker.sessions.get(quoted_text(client_id))
        if session is None:
            raise Refusal(problems.NOT_FOUND)
        return session

    def _unix(self, at: float | None) -> int | None:
        """A time in the broker's seconds as everybody else counts them."""
        return None if at is None else int(self._now() - (self._broker.wheel.seconds() - at))


def dismiss(broker: Broker, client: Client) -> None:
    """Disconnect a client, and tell it that it was no accident."""
    client.connection.close(ReasonCode.ADMINISTRATIVE_ACTION, "disconnected by an administrator")
    broker.client_lost(client)


class Page:
    """
    The first `count` of the ids behind `after`.

    :param sessions: by id. They may change while they are looked at: who comes too late is left out.
    :param connected: whether sessions with a client are wanted, or those without; ``None`` for both.
    """

    def __init__(
        self, sessions: dict[str, Session], after: str, count: int, connected: bool | None = None
    ) -> None:
        self._sessions = sessions
        self._ids = list(sessions)
        self._after = after
        self._count = count
        self._connected = connected
        self._found: list[str] = []
        self._complete: Deferred[list[str]] = Deferred()

    def look(self, soon: Soon) -> Deferred[list[str]]:
        """:return: fires with the ids in their order: at once, if there is no more than one slice."""
        self._look_at_slice(0, soon)
        return self._complete

    def _look_at_slice(self, start: int, soon: Soon) -> None:
        behind = filter(self._is_wanted, self._ids[start : start + SLICE])
        self._found = nsmallest(self._count, [*self._found, *behind])
        if start + SLICE < len(self._ids):
            soon(lambda: self._look_at_slice(start + SLICE, soon))
        elif not self._complete.called:  # or whoever asked has left
            self._complete.callback(self._found)

    def _is_wanted(self, id: str) -> bool:
        if id <= self._after:
            return False
        session = self._sessions.get(id)
        return session is not None and (
            self._connected is None or self._connected is (session.client is not None)
        )


def summary(session: Session) -> dict[str, Any]:
    """A session as it stands in a list."""
    client = session.client
    asleep = session.sleep
    return {
        "client_id": session.client_id,
        "username": session.username,
        "connected": client is not None,
        "address": None if client is None else client.connection.address,
        "listener": session.policy.name,
        "subscriptions": len(session.subscriptions),
        "queued_messages": len(session.queue or () if asleep is None else asleep.outline),
        "queued_bytes": session.queued_bytes if asleep is None else asleep.outline.payload_bytes,
    }


def details(session: Session) -> dict[str, Any]:
    """
    What else there is of one session. Of one that sleeps, nobody knows what it has received without reading
    all its messages.
    """
    client, asleep = session.client, session.sleep
    return {
        "protocol_version": None if client is None else int(client.version),
        "keep_alive_s": None if client is None else client.keep_alive_s,
        "persistent": session.persistent,
        "expiry_s": session.expiry_s,  # null: never
        "inflight_messages": len(session.inflight) if asleep is None else asleep.inflight_count,
        "received_messages": len(session.received or ()) if asleep is None else None,
        "will": (session.will if client is None else client.will) is not None,
    }


def _subscription(named: tuple[str, Subscription]) -> dict[str, Any]:
    """:param named: with ``$share/NAME/`` in its name, if it has that."""
    filter, subscription = named
    return {
        "filter": filter,
        "qos": subscription.qos,
        "automatic": subscription.automatic,
        "no_local": subscription.no_local,
        "retain_as_published": subscription.retain_as_published,
        "identifier": subscription.identifier or None,
    }


def _connected(request: GatewayRequest) -> bool | None:
    said = request.argument(b"connected").decode("latin-1").lower()
    if said and said not in TRUE | _FALSE:
        raise Refusal(problems.CONNECTED_INVALID)
    return said in TRUE if said else None
