"""The door to Redis that the parts of this process share: made when the first of them asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed

if TYPE_CHECKING:
    from pushd.redis.door import Door


class RedisOffice:
    """
    :param url: of `redis_url`; ``None`` without one.
    """

    def __init__(self, url: str | None, reactor: Any) -> None:
        self.url = url
        self._reactor = reactor
        self._door: Door | None = None

    @property
    def door(self) -> Door:
        """
        One connection for all: Redis does one thing at a time.

        :raises pushd.redis.errors.BadUrl: the certificates that the URL names cannot be read.
        """
        if self._door is None:
            from pushd.redis.door import connect  # here: a broker without Redis needs none of it

            assert self.url is not None  # or nobody would ask
            self._door = connect(self.url, self._reactor)
        return self._door

    def close(self) -> Deferred[None]:
        """Fires when the connection is closed, if there is one."""
        return succeed(None) if self._door is None else self._door.close()
