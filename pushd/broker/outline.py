"""
What is known of a queue whose messages are in the store only.

A phone that is off for a month must not keep a month of messages in memory. What a decision about its queue
needs (is it full? has its head expired?) is the size of each message and when it expires: twelve bytes.
"""

from __future__ import annotations

import math
from array import array

_NEVER = math.inf


class Outline:
    """
    Sizes and expiries of queued messages, in their order.

    :ivar payload_bytes: of all of them together.
    """

    __slots__ = ("_expiries", "_sizes", "payload_bytes")

    def __init__(self) -> None:
        self._sizes = array("I")
        self._expiries = array("d")
        self.payload_bytes = 0

    def __len__(self) -> int:
        return len(self._sizes)

    def append(self, size: int, expires_at: float | None) -> None:
        """
        One more message is queued.

        :param size: of its payload, in bytes.
        :param expires_at: in the broker's seconds; ``None`` for never.
        """
        self._sizes.append(size)
        self._expiries.append(_NEVER if expires_at is None else expires_at)
        self.payload_bytes += size

    def size(self, at: int) -> int:
        """The size of one message; negative places count from the end."""
        return self._sizes[at]

    def replace(self, at: int, size: int, expires_at: float | None) -> None:
        """Another message stands in the place of one."""
        self.payload_bytes += size - self._sizes[at]
        self._sizes[at] = size
        self._expiries[at] = _NEVER if expires_at is None else expires_at

    def drop_first(self) -> None:
        """The oldest message is not queued any more."""
        # A queue has a thousand messages or so: moving them up is nothing.
        self.payload_bytes -= self._sizes.pop(0)
        self._expiries.pop(0)

    def first_expired(self, now: float) -> bool:
        """Whether it is too late to send the oldest message."""
        return len(self._expiries) > 0 and self._expiries[0] <= now
