"""The broker that is killed: a process with a folder for what it must remember."""

from __future__ import annotations

import os
import pwd
import re
import signal
import sys
from pathlib import Path

from tests.crash.cast import CACHED
from tests.crash.disk import Disk
from tests.crash.evidence import StoreFile
from tests.processes import Ports, Program, program, twistd_command, write_settings

# Queues have no limit: what they would drop is policy, not loss.
_COMMON = """\
listener {{mqtt}} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {store}/
max_queued_messages 0
"""
_PUSHD = """\
cache_topic {cached} 12h
listener {{http}} 127.0.0.1
protocol http
allow_anonymous true
"""
# The last two are what pushd says of a store that it had to repair; no crash is a reason for that.
_ALARMING = re.compile(r"Traceback|Unhandled|CRITICAL|is damaged|is missing")


class MortalBroker:
    """
    One broker with many lives: always the same settings, ports and folder.

    :ivar file: what pushd keeps its state in.
    """

    def __init__(
        self, kind: str, folder: Path, lines: list[str], small_disk: bool = False, forgets: str = ""
    ) -> None:
        """
        :param kind: ``pushd`` or ``mosquitto``.
        :param folder: an empty one, for its settings and its store.
        :param lines: more lines for its settings.
        :param small_disk: give the store a file system of its own, where that can be done.
        :param forgets: what pushd is made to forget; see `tests.crash.forgetful`.
        """
        store = folder / "store"
        store.mkdir()
        self.has_gateway = kind == "pushd"
        self._disk = Disk(store, small_disk)
        self.file = StoreFile(self._disk.folder / "pushd.db")
        self._ports = Ports()
        self._settings = folder / f"{kind}.conf"
        text = "\n".join([_COMMON.format(store=store), *lines, ""])
        if self.has_gateway:
            text += _PUSHD.format(cached=CACHED)
            command = (
                [sys.executable, "-m", "tests.crash.forgetful", forgets] if forgets else twistd_command()
            )
            command += ["-n", "--pidfile=", "pushd", "-c", str(self._settings)]
        else:
            # Started by root, it would become a user that cannot read our files.
            text = f"user {pwd.getpwuid(os.getuid()).pw_name}\n{text}"
            command = [program("mosquitto"), "-c", str(self._settings)]
        self._command = self._disk.command(command)
        write_settings(self._settings, text, self._ports)
        self._process: _Process | None = None

    @property
    def mqtt_port(self) -> int:
        """Where MQTT clients connect to."""
        return self._ports["mqtt"]

    @property
    def http_port(self) -> int | None:
        """Where the gateway is, if it has one."""
        return self._ports["http"] if self.has_gateway else None

    @property
    def is_running(self) -> bool:
        """Whether there is a process. It may not listen yet."""
        return self._process is not None and self._process.is_running

    @property
    def has_small_disk(self) -> bool:
        """Whether its store is on a file system of its own."""
        return self._disk.is_small

    def start(self) -> None:
        """Begin a life; does not wait for anything."""
        self._process = _Process(self._command, self._settings.parent)

    def wait_until_up(self) -> None:
        """Wait until its ports are open."""
        assert self._process is not None
        self._process.wait_for("version .* running")

    def log(self) -> str:
        """What it has said in this life."""
        return "" if self._process is None else self._process.log()

    def send_signal(self, number: int) -> None:
        """Send the process a signal; see `bury`."""
        assert self._process is not None
        self._process.signal(number)

    def fill_disk(self, full: bool) -> None:
        """
        Leave no room on its disk, or give it back. Linux only.

        It may free some itself and use that: to leave none again, say so again.
        """
        pid = self._process.pid if self._process is not None else None
        if full:
            self._disk.fill(pid)
        else:
            self._disk.free(pid)

    def bury(self) -> str:
        """
        Wait for the end of a life.

        :return: what was wrong with it; empty if it ended by the signal that it was sent and logged no error.
        """
        assert self._process is not None
        process, self._process = self._process, None
        status = process.finish()
        if status not in (0, -signal.SIGTERM, -signal.SIGKILL) or _ALARMING.search(process.log()):
            return f"ended with {status}: {process}"
        return ""

    def close(self) -> None:
        """End it, whatever it is doing, for good."""
        if self._process is not None:
            self._process.kill()
        self._disk.close()


class _Process(Program):
    @property
    def is_running(self) -> bool:
        return self._process.poll() is None
