"""People in Redis, which several pushd and other programs may share."""

from __future__ import annotations

from typing import Any


class RedisPeople:
    """
    See `pushd.people.interfaces.IPeople`.

    :param door: to Redis: `pushd.redis.door.Door`.
    :param prefix: of all keys.
    """

    def __init__(self, door: Any, prefix: str = "pushd:") -> None:
        self._door = door
        self._prefix = prefix

    def open(self) -> None:
        """Note how far the feed of changes is."""
