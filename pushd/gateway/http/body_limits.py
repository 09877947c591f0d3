"""How large a request's body may be, which is known from its target."""

from __future__ import annotations

from typing import NamedTuple

from pushd.gateway.http import problems
from pushd.gateway.http.problems import Problem, Refusal

# ntfy takes 4096 bytes and makes a file of anything longer; Apprise, which relies on that, sends up to 8000.
# 64 KiB lets such clients pass without files, and 500 slow callers hold at most 32 MB of memory with it.
MESSAGE_LIMIT_BYTES = 65_536
JSON_LIMIT_BYTES = 2 * MESSAGE_LIMIT_BYTES  # as in ntfy: escapes may double a text


class BodyLimit(NamedTuple):
    """How large a request's body may be, and what is said of a larger one."""

    max_bytes: int
    problem: Problem

    def check(self, size: int) -> None:
        """
        :raises Refusal: `size` is too large.
        """
        if size > self.max_bytes:
            raise Refusal(self.problem)


_TEXT_LIMIT = BodyLimit(MESSAGE_LIMIT_BYTES, problems.MESSAGE_TOO_LARGE)
_JSON_LIMIT = BodyLimit(JSON_LIMIT_BYTES, problems.JSON_TOO_LARGE)


# Where a body may be larger than a message: its escapes, a list of names, or many messages.
_LIMITS = {
    b"/": _JSON_LIMIT,
    b"/v1/push": BodyLimit(1_048_576, problems.JSON_TOO_LARGE),
    b"/v1/push/batch": BodyLimit(8_388_608, problems.JSON_TOO_LARGE),
}


def body_limit(target: bytes) -> BodyLimit:
    """
    :param target: the request's, as it came.
    """
    return _LIMITS.get(target.partition(b"?")[0], _TEXT_LIMIT)
