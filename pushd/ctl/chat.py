"""
``pushctl chat``: talk to somebody, each at a terminal.

    $ pushctl chat -u anna ben                    $ pushctl chat -u ben anna
    Password of anna: ...                         Password of ben: ...
    -- connected; each line goes to ben           -- connected; each line goes to anna
    hello                                         14:05 anna: hello
    14:06 ben: hi there                           hi there

Each line is an instant message (``POST /v1/im``); what comes for the user is shown, whoever it is from, and
marked with the sender's name, of which the server is sure. What others wrote reaches the terminal as
characters that can be printed, and nothing else. When the connection is lost it is made again; what came
meanwhile is not shown, for nobody kept it: that is what a phone's MQTT session is for.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

from pushd.ctl.gateway import Event, Events, Gateway, NoAnswer, add_arguments, gateway_of
from pushd.ctl.terminal import printable
from pushd.im.envelope import EnvelopeError, Part, PartType, parts_of
from pushd.im.topics import is_level

NAMESPACE = "chat"
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0


class Conversation:
    """
    One user's side of it.

    :param show: prints a line; called from two threads.
    """

    def __init__(self, gateway: Gateway, namespace: str, peer: str, show: Callable[[str], None]) -> None:
        self._gateway = gateway
        self._to_peer = _path(namespace, peer)
        self._own = _path(namespace, gateway.user or "") + "/sse"
        self._show = show
        self._over = threading.Event()
        self._events: Events | None = None
        self._listener = threading.Thread(target=self._listen, daemon=True)

    def begin(self) -> None:
        """
        Listen to what comes.

        :raises NoAnswer: that is not possible.
        """
        self._events = self._gateway.listen(self._own)
        self._listener.start()

    def end(self) -> None:
        """Stop listening."""
        self._over.set()
        if self._events is not None:
            self._events.close()
        self._listener.join(1.0)

    def say(self, lines: Iterable[str]) -> None:
        """Send each line, until there are no more. What cannot be sent is said, and not sent later."""
        for line in lines:
            text = line.rstrip("\r\n")
            if not text.strip():
                continue
            try:
                self._gateway.ask("POST", self._to_peer, {"text": text})
            except NoAnswer as problem:
                self._show(f"-- not sent: {problem}")

    def _listen(self) -> None:
        while not self._over.is_set():
            for event in self._events or ():
                for line in shown(event):
                    self._show(line)
            if not self._over.is_set():
                self._show("-- the connection is lost; trying again")
                self._listen_again()

    def _listen_again(self) -> None:
        wait_s = FIRST_WAIT_S
        while not self._over.wait(wait_s):
            try:
                self._events = self._gateway.listen(self._own)
            except NoAnswer:
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            else:
                self._show("-- connected again")
                return


def _path(namespace: str, user: str) -> str:
    return f"/v1/im/{quote(namespace, safe='')}/{quote(user, safe='')}"


def shown(event: Event) -> Iterator[str]:
    """What a terminal is told of an event: a line for each of the message."""
    try:
        message = json.loads(event.data)
        if event.type != "message":
            raise EnvelopeError(str(message["error"]))
        head = f"{_clock(message['time'])} {printable(str(message['sender'])) or '(nobody)'}: "
        for part in parts_of(message["content"]):
            yield from (head + printable(line) for line in _lines(part))
    except (ValueError, KeyError, TypeError, OverflowError, OSError) as problem:
        yield f"-- something came that is no message: {printable(str(problem))}"


def _lines(part: Part) -> list[str]:
    if part.type is PartType.TEXT:
        return part.content.splitlines() or [""]
    named = "" if part.file is None else f" {part.file.name}"
    return [f"[{part.type.name.lower().replace('_', ' ')}{named}] {part.content}"]


def _clock(time_s: Any) -> str:
    return time.strftime("%H:%M", time.localtime(time_s))


def _name(text: str) -> str:
    if not is_level(text):
        raise ValueError(text)
    return text


_name.__name__ = "name"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pushctl chat", description="Talk to somebody, line by line.")
    add_arguments(parser, user_required=True)
    parser.add_argument(
        "--namespace",
        type=_name,
        default=NAMESPACE,
        help=f"the first level of the topics (default: {NAMESPACE})",
    )
    parser.add_argument("peer", type=_name, metavar="USER", help="whom to talk to")
    return parser


def _show(line: str) -> None:
    """A terminal that does not know a character shows a question mark."""
    encoding = sys.stdout.encoding or "ascii"
    sys.stdout.write(line.encode(encoding, "replace").decode(encoding) + "\n")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """
    :return: 0 at the end of what there is to say, 1 if nobody listens.
    """
    arguments = _parser().parse_args(argv)
    try:
        gateway = gateway_of(arguments)
        conversation = Conversation(gateway, arguments.namespace, arguments.peer, _show)
        conversation.begin()
        _show(f"-- connected; each line goes to {printable(arguments.peer)}")
    except NoAnswer as problem:
        print(problem, file=sys.stderr)
        return 1
    try:
        conversation.say(sys.stdin)
    except KeyboardInterrupt:
        pass
    finally:
        conversation.end()
    return 0
