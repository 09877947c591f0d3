"""People in a file of our own, ``people.db``: what a pushd without Redis has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred


class SqlitePeople:
    """
    See `pushd.people.interfaces.IPeople`.

    :param in_thread: calls a function, with arguments, where it may wait for the disk.
    """

    def __init__(self, path: str, in_thread: Callable[..., Deferred[Any]]) -> None:
        self.path = path
        self._in_thread = in_thread

    def open(self) -> None:
        """:raises PeopleUnavailable: the file cannot be used."""
