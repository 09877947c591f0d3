"""
A gateway as commands see it: questions that are answered with JSON, and streams of events.

No proxy is asked and no redirection followed: the password is for this server alone. Whatever a server says
is as long as we are ready to read, and nobody waits for it for ever.
"""

from __future__ import annotations

import argparse
import base64
import getpass
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from pushd.ctl.terminal import printable

URL = "http://127.0.0.1:8080"
ANSWER_S = 35.0  # the gateway itself gives up after 30
SILENCE_S = 100.0  # two heart-beats of a stream, and a little more
MAX_ANSWER_BYTES = 4_000_000
MAX_EVENT_BYTES = 4_000_000


class NoAnswer(Exception):
    """
    The server did not say what was asked. The text is for whoever asked.

    :ivar status: of HTTP; 0 if there was none.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Event(NamedTuple):
    """One of a stream: ``type`` is "message" if it was not said."""

    type: str
    data: str


@dataclass(frozen=True, slots=True)
class Gateway:
    """
    Where to ask, and as whom.

    :ivar user: ``None`` for nobody.
    """

    url: SplitResult
    user: str | None = None
    password: str = ""
    context: ssl.SSLContext | None = None

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """
        One request.

        :param path: quoted, and with a slash in front.
        :param body: what JSON can say.
        :raises NoAnswer: it is away, or refuses.
        """
        connection = self._connection(ANSWER_S)
        try:
            answer = self._request(connection, method, path, body)
            return _understood(answer)
        except (OSError, HTTPException) as problem:
            raise self._away(problem) from problem
        finally:
            connection.close()

    def listen(self, path: str) -> Events:
        """
        Begin to read a stream.

        :raises NoAnswer: it is away, or refuses.
        """
        connection = self._connection(SILENCE_S)
        try:
            answer = self._request(connection, "GET", path)
            if not (answer.headers["Content-Type"] or "").startswith("text/event-stream"):
                _understood(answer)
                raise NoAnswer("it answers, but with no stream", answer.status)
            return Events(connection, answer)
        except (OSError, HTTPException) as problem:
            connection.close()
            raise self._away(problem) from problem
        except NoAnswer:
            connection.close()
            raise

    def _request(
        self, connection: HTTPConnection, method: str, path: str, body: object = None
    ) -> HTTPResponse:
        data = None if body is None else json.dumps(body).encode()
        connection.request(method, self.url.path + path, data, self._headers())
        return connection.getresponse()

    def _connection(self, timeout_s: float) -> HTTPConnection:
        host = self.url.hostname or ""
        if self.url.scheme == "https":
            return HTTPSConnection(host, self.url.port, timeout=timeout_s, context=self.context)
        return HTTPConnection(host, self.url.port, timeout=timeout_s)

    def _headers(self) -> dict[str, str]:
        if self.user is None:
            return {}
        login = f"{self.user}:{self.password}".encode()
        return {"Authorization": "Basic " + base64.b64encode(login).decode("ascii")}

    def _away(self, problem: Exception) -> NoAnswer:
        return NoAnswer(f"{self.url.geturl()} does not answer: {problem}")


class Events:
    """A stream of events that is being read. Iterating ends when the stream does, or its connection."""

    def __init__(self, connection: HTTPConnection, answer: HTTPResponse) -> None:
        self._connection = connection
        self._socket: socket.socket | None = connection.sock
        self._answer = answer

    def __iter__(self) -> Iterator[Event]:
        event = Event("message", "")
        size = 0
        try:
            while line := self._answer.readline(MAX_EVENT_BYTES):
                size += len(line)
                if size > MAX_EVENT_BYTES or not line.endswith(b"\n"):
                    return
                event = _with_line(event, line.decode("utf-8", "replace").rstrip("\n"))
                if line == b"\n":
                    size = 0
                    if event.data:
                        yield event._replace(data=event.data[:-1])
                    event = Event("message", "")
        except (OSError, HTTPException, ValueError):
            return
        finally:
            self._connection.close()

    def close(self) -> None:
        """End it, from another thread too: whoever iterates comes to the end."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def _with_line(event: Event, line: str) -> Event:
    """What a line adds to an event (HTML §9.2.6); comments and fields that we do not need add nothing."""
    name, _, value = line.partition(":")
    value = value.removeprefix(" ")
    if name == "data":
        return event._replace(data=f"{event.data}{value}\n")
    return event._replace(type=value) if name == "event" else event


def _understood(answer: HTTPResponse) -> dict[str, Any]:
    try:
        told = json.loads(answer.read(MAX_ANSWER_BYTES))
    except (ValueError, RecursionError):
        told = None
    if isinstance(told, dict) and "error" in told:
        raise NoAnswer(f"refused: {printable(str(told['error']))}", answer.status)
    if answer.status >= 300 or not isinstance(told, dict):
        raise NoAnswer(f"HTTP status {answer.status}, and nothing that pushd would say", answer.status)
    return told


def add_arguments(parser: argparse.ArgumentParser, *, user_required: bool = False) -> None:
    """The flags that say which gateway, and who asks."""
    parser.add_argument("--url", type=_url, default=URL, help=f"of the gateway (default: {URL})")
    parser.add_argument(
        "-u",
        "--user",
        metavar="USER[:PASSWORD]",
        required=user_required,
        help="who you are; without a password you are asked for it",
    )
    parser.add_argument("--cafile", help="who has signed the certificate of an https gateway")


def gateway_of(arguments: argparse.Namespace) -> Gateway:
    """
    :raises NoAnswer: the file of certificates cannot be used.
    """
    context = None
    if arguments.url.scheme == "https":
        try:
            context = ssl.create_default_context(cafile=arguments.cafile)
        except OSError as problem:
            raise NoAnswer(f"{arguments.cafile}: {problem.strerror or 'no certificate'}") from problem
    if arguments.user is None:
        return Gateway(arguments.url, context=context)
    user, colon, password = arguments.user.partition(":")
    if not colon:  # as curl has it; so no other user of the machine can read it in the list of processes
        password = getpass.getpass(f"Password of {user}: ")
    return Gateway(arguments.url, user, password, context)


def _url(text: str) -> SplitResult:
    url = urlsplit(text.rstrip("/"))
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment or url.username:
        raise ValueError(text)
    url.port  # noqa: B018  # raises ValueError if it is none
    return url


_url.__name__ = "URL"
