"""A MariaDB of the tests' own: in a temporary directory, on a free port, with one user who has a password."""

from __future__ import annotations

import functools
import os
import pwd
import subprocess
import tempfile
from itertools import count
from pathlib import Path

import pymysql  # type: ignore[import-untyped]  # it has no types of its own

from tests.processes import DEADLINE_S, Program, free_port, program

SCRATCH = tempfile.TemporaryDirectory(prefix="pushd-mariadb-")

# What has a meaning in a URL, in SQL and in log formats.
PASSWORD = "s3cr@t/'%{x}"
PASSWORD_IN_URL = "s3cr%40t%2F%27%25%7Bx%7D"

_names = (f"status_{number}" for number in count())


class MariaDb:
    """One server. It is made with its tables, and may be stopped and started again."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(dir=SCRATCH.name))
        self.port = free_port()
        self._me = pwd.getpwuid(os.getuid()).pw_name
        install = program("mariadb-install-db"), "--no-defaults", f"--user={self._me}", "--skip-test-db"
        subprocess.run(
            [*install, "--auth-root-authentication-method=normal", f"--datadir={self._data}"],
            check=True,
            capture_output=True,
            timeout=6 * DEADLINE_S,
        )
        self.start()
        self._run("CREATE USER pushd@localhost IDENTIFIED BY %s", PASSWORD)
        self._run("GRANT ALL ON *.* TO pushd@localhost")

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def _socket(self) -> str:
        return str(self.directory / "socket")

    def start(self) -> None:
        """Wait until it takes connections."""
        self._program = Program(
            [
                program("mariadbd"),
                "--no-defaults",
                f"--user={self._me}",
                f"--datadir={self._data}",
                f"--socket={self._socket}",
                f"--pid-file={self.directory / 'pid'}",
                f"--port={self.port}",
                "--bind-address=127.0.0.1",
                "--innodb-buffer-pool-size=16M",
                "--innodb-flush-log-at-trx-commit=2",
            ],
            self.directory,
        )
        self._program.wait_for("ready for connections", timeout_s=3 * DEADLINE_S)

    def stop(self) -> None:
        """Have it go away."""
        self._program.kill()

    def new_database(self) -> str:
        """:return: the URL of one that is empty."""
        name = next(_names)
        self._run(f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, name: str, password: str = PASSWORD_IN_URL) -> str:
        """As the settings have it."""
        return f"mysql://pushd:{password}@127.0.0.1:{self.port}/{name}"

    def _run(self, statement: str, *values: object) -> None:
        connection = pymysql.connect(unix_socket=self._socket, user="root")
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, values)


@functools.cache
def mariadb() -> MariaDb:
    """The one of this test process; nobody stops it."""
    return MariaDb()
