"""
A redis-server of a test's own: on a free port, in a folder of its own, with nothing in it.

    server = RedisServer(directory)
    people = RedisPeople(connect(server.url, reactor))
    server.pause()   # it accepts connections still, and answers nobody
    server.resume()
    server.stop()    # nobody listens any more
    server.start()   # on the same port, and empty, unless `persistent`

`shared_server` is one for the whole test session, for tests that leave it as it is and keep to a prefix, or a
database, of their own.
"""

from __future__ import annotations

import signal
import tempfile
from functools import cache
from pathlib import Path

from tests.processes import Program, free_port, program

READY = "Ready to accept connections"


class RedisServer:
    """
    See above; it is up when the constructor returns.

    :param options: further ones of the command line, such as ``("--requirepass", "secret")``.
    :param persistent: whether what is in it survives `stop`.
    :param tls: whether it speaks TLS too, with ``server.pem``, ``server.key`` and ``ca.pem`` in `directory`.
    :ivar port: of the loopback address.
    :ivar tls_port: the same for TLS.
    :ivar path: of its Unix socket.
    """

    def __init__(self, directory: Path, *options: str, persistent: bool = False, tls: bool = False) -> None:
        self.port = free_port()
        self.tls_port = free_port() if tls else 0
        self.path = str(directory / "redis.sock")
        self._directory = directory
        keeping = ("--appendonly", "yes") if persistent else ("--appendonly", "no")
        encrypting: tuple[str, ...] = (
            ("--tls-port", str(self.tls_port), "--tls-auth-clients", "no") if tls else ()
        )
        files = {"cert": "server.pem", "key": "server.key", "ca-cert": "ca.pem"} if tls else {}
        for option, name in files.items():
            encrypting += (f"--tls-{option}-file", str(directory / name))
        self._options = (*keeping, *encrypting, *options)
        self._program: Program | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where it listens, with TCP."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it (again), and wait until it answers."""
        command = [program("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--unixsocket", self.path, "--dir", str(self._directory), *self._options]
        self._program = Program(command, self._directory)
        self._program.wait_for(READY)

    def stop(self) -> None:
        """End it at once, as a crash would. Does nothing if it has ended."""
        if self._program is not None:
            self._program.kill()
            self._program = None

    def pause(self) -> None:
        """Freeze it."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._program is not None
        self._program.signal(number)


@cache
def shared_server() -> RedisServer:
    """Started when it is first asked for; ends with the tests."""
    folder = tempfile.TemporaryDirectory(prefix="pushd-redis-")
    server = RedisServer(Path(folder.name))
    server._folder = folder  # type: ignore[attr-defined]  # it goes when the server does
    return server
