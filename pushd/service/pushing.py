"""What the push pages of all gateways of the process share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pushd.broker.broker import Broker
from pushd.config.settings import Settings
from pushd.service.attachments import AttachmentOffice

if TYPE_CHECKING:
    from pushd.gateway.ntfy.publish import PushDesk


class Pushing:
    """
    :param settings: as they count now.
    :param files: where files that come with pushes are.
    """

    def __init__(
        self,
        broker: Broker,
        settings: Callable[[], Settings],
        now: Callable[[], float],
        files: AttachmentOffice,
    ) -> None:
        self._broker = broker
        self._settings = settings
        self._now = now
        self._files = files
        self._desk: PushDesk | None = None

    def desk(self) -> PushDesk:
        """Made when the first gateway asks: a broker without one needs none of it."""
        if self._desk is None:
            from pushd.gateway.http.own_address import OwnAddress
            from pushd.gateway.ntfy.composing import Composer
            from pushd.gateway.ntfy.idempotency import Answers
            from pushd.gateway.ntfy.publish import PushDesk

            address = OwnAddress(lambda: self._settings().base_url or "")
            self._desk = PushDesk(
                composer=Composer(self._files.attachments, self._files.templates, address),
                sends_json=lambda: self._settings().gateway_payload == "json",
                answers=Answers(self._broker.notes, self._now, self._broker.store.barrier),
            )
        return self._desk
