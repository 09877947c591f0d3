"""
Collapse keys: a newer message takes the place of an older one that a session has not been sent yet.

Both have the same topic and the same key (`PushMark.collapse_key`). The newer one stands where the older one
stood in the queue, and has its number: so a value that changes all the time is not sent the later for it, and
takes nobody's place; numbers stay without gaps, and the queue is no longer than before. What was sent is
past: a message in flight is not replaced.

For a queue with such messages, `Places` knows where each key stands, and needs nothing of the messages: those
of a session that sleeps are in the store only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pushd.broker.message import Message


class Places:
    """Where in the queue of one session something may be replaced."""

    # Entries of what was sent stay until there are twice as many as the queue is long, and this many.
    _SPARE = 16

    __slots__ = ("_numbers",)

    def __init__(self, numbers: dict[tuple[str, str], int] | None = None) -> None:
        """:param numbers: of queued messages, by topic and key."""
        self._numbers = {} if numbers is None else numbers

    def find(self, message: Message, sent: int) -> int:
        """
        :param sent: the number of the last message that is not queued any more.
        :return: the number of the message whose place this one takes; 0 if there is none.
        """
        push = message.push
        if push is None or not push.collapse_key:
            return 0
        number = self._numbers.get((message.topic, push.collapse_key), 0)
        return number if number > sent else 0

    def note(self, topic: str, key: str, number: int) -> None:
        """A message with this number in the queue may be replaced."""
        self._numbers[topic, key] = number

    def forget(self, topic: str, key: str) -> None:
        """What stands there is not to be replaced any more."""
        self._numbers.pop((topic, key), None)

    def tidy(self, queued: int, sent: int) -> None:
        """
        Forget what was sent, now and then.

        :param queued: how many messages are.
        """
        if len(self._numbers) > 2 * queued + self._SPARE:
            self._numbers = {key: number for key, number in self._numbers.items() if number > sent}
