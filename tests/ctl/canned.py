"""A server that says what it was told to, for the tests of commands that ask one."""

from __future__ import annotations

import socket
import threading


class Canned:
    """
    Answers one connection after the other, each with the bytes that are given for it, and hangs up.

    :ivar requests: what was asked.
    """

    def __init__(self, *answers: bytes) -> None:
        self.requests: list[bytes] = []
        self._answers = answers
        self._port = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._port.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No further connection is taken; all answers have been given."""
        self._thread.join(10.0)

    def _serve(self) -> None:
        with self._port:
            for answer in self._answers:
                connection, _ = self._port.accept()
                with connection:
                    self.requests.append(_request(connection))
                    connection.sendall(answer)


def _request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data or not _is_whole(data):
        piece = connection.recv(65_536)
        if not piece:
            break
        data += piece
    return data


def _is_whole(data: bytes) -> bool:
    head, _, body = data.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return len(body) >= int(line.split(b":")[1])
    return True


def answer(body: bytes, status: str = "200 OK", kind: str = "application/json") -> bytes:
    """A whole answer of HTTP."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def stream(*pieces: bytes) -> bytes:
    """An answer of events, in chunks that end where they like."""
    kind = b"Content-Type: text/event-stream; charset=utf-8\r\n"
    head = b"HTTP/1.1 200 OK\r\n" + kind + b"Transfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
