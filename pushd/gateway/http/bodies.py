"""
How much memory the bodies of requests may take together.

A body is read before anybody knows whose it is. Most are small, and as many of them as there are connections
fit into memory; of the few pages that take more (`pushd.gateway.http.body_limits`), a batch is 8 MiB. So what
is beyond a small body needs room, which all callers of a listener share. Who gets none is told when to come
again.
"""

from __future__ import annotations

from pushd.gateway.http import problems
from pushd.gateway.http.body_limits import JSON_LIMIT_BYTES
from pushd.gateway.http.problems import Refusal

# Of one body; beyond it room is needed. 500 slow callers hold at most 64 MB with it.
SMALL_BYTES = JSON_LIMIT_BYTES

# Eight of the largest batches on their way at once.
ROOM_BYTES = 64 * 1024 * 1024


class BodyRoom:
    """
    What there is of it.

    :ivar left: in bytes.
    """

    def __init__(self, room_bytes: int = ROOM_BYTES) -> None:
        self.left = room_bytes

    def take(self, count: int) -> None:
        """
        :raises Refusal: 42901, there is not as much.
        """
        if count > self.left:
            raise Refusal(problems.TOO_MANY_BODIES, b"Retry-After: 5\r\n")
        self.left -= count

    def give_back(self, count: int) -> None:
        """What was taken."""
        self.left += count
