"""What may be known now, or later: a value or a Deferred of one, as verdicts and decisions are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, succeed

T = TypeVar("T")
U = TypeVar("U")


def then(
    value: T | Deferred[T], function: Callable[..., U | Deferred[U]], *arguments: Any
) -> U | Deferred[U]:
    """What a function makes of a value: now, or when it is there. Without a Deferred it costs a call."""
    if isinstance(value, Deferred):
        return value.addCallback(function, *arguments)
    return function(value, *arguments)


def deferred(value: T | Deferred[T]) -> Deferred[T]:
    """The same for who waits for it in any case."""
    return value if isinstance(value, Deferred) else succeed(value)
