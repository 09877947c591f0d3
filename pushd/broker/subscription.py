"""A subscription, as the broker has it."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from pushd.mqtt.packets import SubscriptionRequest

if TYPE_CHECKING:
    from pushd.broker.tap import Taker


class Origin(IntEnum):
    """Who wanted a subscription."""

    CLIENT = 0
    SERVER = 1  # by its rules; when they are others, it may go
    BOTH = 2  # the client's own, and the server would have made it as well


class Subscription:
    """
    One topic filter of one session, or of one shared group or tap.

    :ivar filter: mount point included, and without ``$share/NAME/``.
    :ivar identifier: the Subscription Identifier (v5 §3.8.2.1.2); 0 for none.
    """

    __slots__ = ("filter", "identifier", "no_local", "origin", "qos", "retain_as_published", "session")

    def __init__(
        self,
        session: Taker,
        filter: str,
        request: SubscriptionRequest,
        identifier: int = 0,
    ) -> None:
        self.session = session
        self.filter = filter
        self.qos = int(request.qos)
        self.no_local = request.no_local
        self.retain_as_published = request.retain_as_published
        self.identifier = identifier
        self.origin = Origin.CLIENT

    @property
    def automatic(self) -> bool:
        """Whether the server made it, and may take it away (`pushd.broker.automatic`)."""
        return self.origin is Origin.SERVER
