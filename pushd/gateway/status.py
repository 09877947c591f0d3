"""
How the server is, and was.

    GET  /v1/status            for administrators: the last sample and the totals since the start
    GET  /v1/status/sse        for administrators: the same again with each sample, as server-sent events
    GET  /v1/status/history    for administrators: what samples were before, see `history`
    GET  /metrics              for administrators, and for callers without a login where the listener lets
                               such in (``allow_anonymous``): Prometheus' text format
    GET  /v1/ready             open to all: whether clients may be sent here

No answer holds anything that a client can name: no client id, topic or user.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.web.resource import IResource

from pushd.gateway.history_query import Query, read_query
from pushd.gateway.http import problems
from pushd.gateway.http.events import Streams
from pushd.gateway.http.openapi import BOOLEAN, EVENTS, described, integer, listed, record, text
from pushd.gateway.http.pages import Pages, json_answer, json_app
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Guard

# The version of the format that every Prometheus reads.
METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Status(Protocol):
    """What the gateway asks of whoever watches the server."""

    @property
    def kept(self) -> Sequence[tuple[int, int]]:
        """How fine the history is, in seconds, and for how long it is kept so; the finest first."""

    @property
    def names(self) -> Sequence[str]:
        """Of the figures."""

    @property
    def ready(self) -> bool:
        """Whether the doors are open and all that guards them is there."""

    def now(self) -> dict[str, Any]:
        """The last sample, and totals since the start."""

    def history(self, query: Query) -> Deferred[bytes | None]:
        """:return: JSON with rows and what they mean; ``None`` if the history cannot be read now."""

    def listen(self, callback: Callable[[dict[str, Any]], object]) -> Callable[[], None]:
        """Call it with `now` after each sample. :return: ends that."""

    def metrics(self) -> bytes:
        """All figures in Prometheus' text format."""


def status_pages(guard: Guard, status: Status, streams: Streams) -> Pages:
    """The pages of this module, by their first segment."""
    resources: dict[bytes, Any] = {
        b"v1/status": StatusPages(guard, status, streams).app.resource(),
        b"v1/ready": ReadyPage(status).app.resource(),
        b"metrics": MetricsPage(guard, status).app.resource(),
    }
    pages: dict[bytes, IResource] = resources
    return pages


_READY = record(["ready"], ready=BOOLEAN)
_STATUS = record(
    ["time", "figures", "dropped"],
    time=integer("Unix seconds; of the last sample"),
    version=text(),
    healthy=BOOLEAN,
    figures=record(about="Those of the last sample"),
    dropped=record(about="Messages that subscribers did not get since the start, by reason"),
)
_HISTORY = record(
    ["step", "columns", "rows", "dropped"],
    step=integer("Seconds"),
    columns=listed(text()),
    rows=listed(listed({})),
    dropped=listed(listed({})),
)
_HISTORY_QUERY = {
    "from": text("A time, or how long ago: -1h"),
    "to": text("The same; now if it is not said"),
    "step": text("10s, 1min, 1h or a multiple of such"),
    "columns": text("Names of figures, parted by commas"),
}


class StatusPages:
    """Below ``/v1/status``."""

    app = json_app()

    def __init__(
        self, guard: Guard, status: Status, streams: Streams, now: Callable[[], float] = time.time
    ) -> None:
        self._guard = guard
        self._status = status
        self._streams = streams
        self._now = now

    @app.route("/status", methods=["GET"])
    @described("The last sample and the totals since the start, for administrators", answer=_STATUS)
    async def status(self, request: GatewayRequest) -> bytes:
        """
        ``{"time": …, "version": …, "healthy": …, "figures": {NAME: …}, "dropped": {REASON: …}, …}``

        ``figures`` are those of the last sample, which ended at ``time``; the other numbers are totals since
        ``started``.
        """
        await self._guard.identify_admin(request)
        return json_answer(request, self._status.now())

    @app.route("/status/sse", methods=["GET"])
    @described("The same with each sample, for administrators", answers=EVENTS)
    async def events(self, request: GatewayRequest) -> None:
        """An event for each sample, every ten seconds; its data is what ``/v1/status`` says."""
        caller = await self._guard.identify_admin(request)
        stream = self._streams.prepare(request, caller)
        stream.call_when_over(self._status.listen(stream.send))
        stream.begin()
        await stream.until_over()

    @app.route("/status/history", methods=["GET"])
    @described("What samples were before, for administrators", query=_HISTORY_QUERY, answer=_HISTORY)
    async def history(self, request: GatewayRequest) -> bytes:
        """
        ``{"step": 60, "columns": ["time", "samples", NAME, …], "rows": [[…], …], "dropped": [[…], …]}``

        ``?from=``, ``to=``, ``step=`` and ``columns=`` are those of `pushd.gateway.history_query`; at most
        2000 rows. A row is about the ``step`` seconds that begin at its ``time``, in Unix seconds; where
        nothing is known there is no row. A figure is the average of so many ``samples``; NAME_min and
        NAME_max, where the history has them, are the lowest and the highest. ``dropped`` lists time, reason
        and number of messages that subscribers did not get.

        10 s are kept for a day, 1 min for 31 days, 1 h for two years: a ``step`` that is no multiple of 60 is
        made of the first, and so on. The answer is 50300 while the database is away.
        """
        await self._guard.identify_admin(request)
        status = self._status
        body = await status.history(read_query(request.argument, self._now(), status.kept, status.names))
        if body is None:
            raise Refusal(problems.UNAVAILABLE)
        return request.prepared(body)


class ReadyPage:
    """For load balancers: ``/v1/health`` says that the process is well, this one that it takes clients."""

    app = json_app()

    def __init__(self, status: Status) -> None:
        self._status = status

    @app.route("/ready", methods=["GET"])
    @described("Whether clients may be sent here", answer=_READY, statuses=(200, 503), open=True)
    def ready(self, request: GatewayRequest) -> bytes:
        """Without a login. 503 until what was stored is loaded and all plugins run, and from a stop on."""
        ready = self._status.ready
        return json_answer(request, {"ready": ready}, 200 if ready else 503)


class MetricsPage:
    """``/metrics``."""

    app = json_app()

    def __init__(self, guard: Guard, status: Status) -> None:
        self._guard = guard
        self._status = status

    @app.route("/", methods=["GET"], strict_slashes=False)
    @described("Figures for Prometheus", answers="text/plain")
    async def metrics(self, request: GatewayRequest) -> bytes:
        """
        Prometheus' text format. Scrapers without a login are common, and the figures name nobody; a listener
        that is not to show them asks for logins.
        """
        caller = await self._guard.identify(request)
        if caller.username is not None and not self._guard.is_admin(caller):
            raise Refusal(problems.FORBIDDEN)
        body = request.prepared(self._status.metrics())
        request.responseHeaders.setRawHeaders(b"Content-Type", [METRICS_TYPE])
        return body
