"""
What became of a push, as its sender reads it.

    {"id":"kX3bP9aQ0zLm","time":1700000000,"expires":1700086400,"complete":false,
     "counts":{"queued":1,"sent":0,"acknowledged":2,"expired":0,"refused":0},
     "devices":[{"client_id":"dev-7","topic":"alerts/fire","state":"acknowledged","reason":null,
                 "queued_at":null,"sent_at":1700000000.1,"done_at":1700000000.3}],
     "next":null}

``acknowledged`` is the device's PUBACK or PUBCOMP; at QoS 0 ``sent`` is all there will be. A receipt is
complete when nothing will happen to it any more.

Only whoever sent a push reads its receipt, and administrators; to others there is none. What somebody sent
without a name is read by whoever has none either and knows the id.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from pushd.broker.receipts import Change, Device, Receipt, State
from pushd.gateway.http import problems
from pushd.gateway.http.events import EventStream
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.identity.guards import Caller, Guard

MAX_WAIT_S = 60

_WAIT = re.compile(rb"([0-9]{1,3})(s|m)?")
_AFTER = re.compile(rb"[0-9]{1,9}")


class Receipts(Protocol):
    """What this needs of `pushd.broker.receipts.Receipts`."""

    def get(self, id: str) -> Receipt | None: ...
    def read(self, id: str) -> Deferred[Receipt | None]: ...
    def watch(self, id: str, function: Callable[[Receipt, list[Change]], None]) -> Callable[[], None]: ...


class ReceiptReader:
    """
    Receipts as the callers of one listener see them.

    :param mount_point: of that listener: what its callers do not see of a topic.
    """

    def __init__(
        self, receipts: Receipts, guard: Guard, clock: IReactorTime, mount_point: Callable[[], str]
    ) -> None:
        self._receipts = receipts
        self._guard = guard
        self._clock = clock
        self._mount_point = mount_point

    async def read(self, caller: Caller, id: str) -> Receipt:
        """
        :return: the receipt as it is durably.
        :raises Refusal: 40400, there is none that this caller may read.
        """
        receipt = await self._receipts.read(id)
        if receipt is None or not self.may_read(caller, receipt.owner):
            raise Refusal(problems.PUSH_NOT_FOUND)
        return receipt

    def may_read(self, caller: Caller, owner: str) -> bool:
        """Whether what `owner` has sent, empty for somebody without a name, is this caller's business."""
        return owner == (caller.username or "") or self._guard.is_admin(caller)

    def until_complete(self, id: str, wait_s: float, request: GatewayRequest) -> Deferred[None]:
        """:return: fires when a receipt is complete, and after `wait_s`, and if the caller leaves."""
        done: Deferred[None] = Deferred()
        receipt = self._receipts.get(id)
        if receipt is None or receipt.complete or request.channel is None:
            done.callback(None)
            return done
        channel: Any = request.channel  # a `GatewayChannel`
        channel.allow(wait_s)
        late = self._clock.callLater(wait_s, done.callback, None)

        def look(receipt: Receipt, changes: list[Change]) -> None:
            if receipt.complete:
                end(None)

        def end(_: object) -> None:
            if late.active():
                late.cancel()
                done.callback(None)

        stop = self._receipts.watch(id, look)
        request.notifyFinish().addErrback(end)
        return done.addBoth(lambda _: stop())

    def page(self, receipt: Receipt, after: int, limit: int) -> dict[str, Any]:
        """A summary, and some of the devices: those from the `after`th on."""
        devices = list(islice(receipt.devices.values(), after, after + limit))
        more = after + limit < len(receipt.devices)
        listed = [self._device(device) for device in devices]
        return {**summary(receipt), "devices": listed, "next": str(after + limit) if more else None}

    def _device(self, device: Device) -> dict[str, Any]:
        return {
            "client_id": device.client_id,
            "topic": self._topic(device.topic),
            "state": device.state.value,
            "reason": device.reason or None,
            "queued_at": _time(device.queued_at),
            "sent_at": _time(device.sent_at),
            "done_at": _time(device.done_at),
        }

    def _topic(self, topic: str) -> str:
        return topic.removeprefix(self._mount_point())

    def follow(self, receipt: Receipt, stream: EventStream) -> None:
        """
        Have what happens to a receipt in a stream: a "receipt" with its summary now and at the end, a
        "device" for each change between.
        """

        def tell(receipt: Receipt, changes: list[Change]) -> None:
            for change in changes:
                stream.send(self._change(change), event="device")
            if receipt.complete:
                self._finish(receipt, stream)

        stop = self._receipts.watch(receipt.id, tell)
        stream.call_when_over(stop)
        stream.begin()
        if receipt.complete:
            self._finish(receipt, stream)
        else:
            stream.send(summary(receipt), event="receipt")

    def _finish(self, receipt: Receipt, stream: EventStream) -> None:
        stream.send(summary(receipt), event="receipt")
        stream.close()

    def _change(self, change: Change) -> dict[str, Any]:
        return {
            "client_id": change.client_id,
            "topic": self._topic(change.topic),
            "state": change.state.value,
            "reason": change.reason or None,
            "at": _time(change.at),
        }


def summary(receipt: Receipt) -> dict[str, Any]:
    """A receipt without its devices."""
    counts = receipt.counts()
    return {
        "id": receipt.id,
        "time": int(receipt.created_at),
        "expires": int(receipt.until),
        "complete": receipt.complete,
        "counts": {state.value: counts.get(state, 0) for state in State},
    }


def _time(at: float | None) -> float | None:
    return None if at is None else round(at, 3)


def wait_of(request: GatewayRequest) -> float:
    """
    How long a caller wants to wait for the end of a push: ``?wait=5s``. 0 for not at all.

    :raises Refusal: 40000.
    """
    said = request.argument(b"wait")
    if not said:
        return 0.0
    found = _WAIT.fullmatch(said)
    wait_s = -1 if found is None else int(found[1]) * (60 if found[2] == b"m" else 1)
    if not 0 <= wait_s <= MAX_WAIT_S:
        raise Refusal(problems.WAIT_INVALID)
    return float(wait_s)


def after_of(request: GatewayRequest) -> int:
    """
    How many devices were read before: ``?after=``.

    :raises Refusal: 40000.
    """
    said = request.argument(b"after")
    if said and not _AFTER.fullmatch(said):
        raise Refusal(problems.AFTER_INVALID)
    return int(said or b"0")
