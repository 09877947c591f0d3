"""
A deployment: settings as somebody runs Mosquitto with, played on Debian's mosquitto and on pushd.

Each has a folder below ``settings`` with its files. ``{name}`` in a .conf file stands for a free port, or for
one of `_Words`. The line below one that begins with `NOT_FOR_2_0` is left out for Debian's, which
does not know the option, the line below `ONLY_FOR_2_0` for pushd.

A scene is a function: it is played with both at the same time, and *notes* what clients see. All notes must
be the same, but for those that a `Difference` tells of.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from OpenSSL.crypto import FILETYPE_PEM, load_certificate
from twisted.trial.unittest import SynchronousTestCase

from tests.clients.furniture import USERS, Outcome, new_directory, run
from tests.deployments.visitor import V311, Visitor
from tests.processes import DEADLINE_S, Ports, Program, ProgramFailed, program, twistd_command

SETTINGS = Path(__file__).with_name("settings")
NOT_FOR_2_0 = "# Not for 2.0"
ONLY_FOR_2_0 = "# Only for 2.0"
POLL_S = 0.01
READY = " running"  # the end of either's line


class Difference(NamedTuple):
    """Something that pushd does in another way than Mosquitto 2.0, on purpose."""

    note: str
    mosquitto: object
    pushd: object
    because: str


class Stage:
    """
    One of the two brokers, running, and the visitors it has.

    :ivar notes: what was seen, by what it is about.
    :ivar is_pushd: for what only one of them can be asked.
    """

    def __init__(self, name: str, is_pushd: bool, command: Sequence[str | Path], ports: Ports) -> None:
        self.is_pushd = is_pushd
        self.notes: dict[str, object] = {}
        self.directory = new_directory()
        self._ports = ports
        self._visitors: list[Visitor] = []
        shutil.copytree(SETTINGS / name, self.directory, dirs_exist_ok=True)
        (self.directory / "data").mkdir()
        _hash_authorities(self.directory / "certs")
        for path in self.directory.rglob("*.conf"):
            mark = ONLY_FOR_2_0 if is_pushd else NOT_FOR_2_0
            text = re.sub(rf"^{mark}.*\n.*\n", "", path.read_text(), flags=re.MULTILINE)
            path.write_text(text.format_map(_Words(ports)))
        self._command = command
        self.broker = self._start()

    def _start(self) -> Program:
        known = self._log_file().count(READY)
        broker = Program([*self._command, "-c", "mosquitto.conf"], self.directory, terminal=True)
        deadline = time.monotonic() + DEADLINE_S
        # Not by a connection: after one without a CONNECT, 2.0 miscounts those that max_connections allows.
        while READY not in broker.log() and self._log_file().count(READY) == known:
            if time.monotonic() > deadline or not broker.is_running:
                broker.kill()
                raise ProgramFailed(f"not ready: {broker}\n{self._log_file()}")
            time.sleep(POLL_S)
        return broker

    def _log_file(self) -> str:
        path = self.directory / "mosquitto.log"
        return path.read_text() if path.exists() else ""

    def start_again(self) -> None:
        """Stop it, and start it with what it left."""
        self.broker.stop()
        self.broker = self._start()

    def note(self, what: str, seen: object) -> None:
        """Write down what clients saw."""
        assert what not in self.notes, what
        self.notes[what] = seen

    def port(self, name: str) -> int:
        return self._ports[name]

    def visitor(
        self,
        client_id: str = "",
        version: Any = V311,
        user: str | None = None,
        tls: str | None = None,
        **flags: Any,
    ) -> Visitor:
        """
        :param user: logs in with the right password; ``NAME:PASSWORD`` with that one.
        :param tls: speaks it, and shows this certificate of the directory, unless it is empty.
        """
        visitor = Visitor(client_id, version, **flags)
        self._visitors.append(visitor)
        if user is not None:
            name, colon, password = user.partition(":")
            visitor.client.username_pw_set(name, password if colon else USERS.get(name))
        if tls is not None:
            path = str(self.directory / tls) if tls else ""
            authority = str(self.directory / "certs/ca.crt")
            visitor.client.tls_set(
                authority, f"{path}.crt" if path else None, f"{path}.key" if path else None
            )
        return visitor

    def guest(self, client_id: str = "", *more: Any, port: str = "mqtt", **flags: Any) -> Visitor:
        """A visitor that is let in."""
        visitor = self.visitor(client_id, *more, **flags)
        came = visitor.come(self.port(port))
        assert came == "Success", (self, client_id, came, self.broker.log())
        return visitor

    def try_door(self, *more: Any, port: str = "mqtt", **flags: Any) -> str:
        """:return: what somebody is told who comes and leaves at once."""
        visitor = self.visitor(*more, **flags)
        said = visitor.come(self.port(port))
        visitor.leave()
        return said

    def run(self, name: str, *arguments: str | int) -> Outcome:
        """Run one of mosquitto's own clients to its end."""
        return run(name, *arguments, directory=self.directory)

    def close(self) -> None:
        for visitor in self._visitors:
            visitor.leave()
        self.broker.kill()

    def __str__(self) -> str:
        return "pushd" if self.is_pushd else "mosquitto"


class DeploymentCase(SynchronousTestCase):
    """Each test plays one deployment."""

    maxDiff = None

    def play(
        self, name: str, scene: Callable[[Stage], None], differences: Sequence[Difference] = ()
    ) -> tuple[Stage, Stage]:
        """
        Play a scene with both brokers, and compare what was noted.

        :return: mosquitto and pushd, which have ended.
        """
        played: dict[bool, Stage | Exception] = {}

        def play_with(is_pushd: bool) -> None:
            try:
                played[is_pushd] = _play(name, is_pushd, scene)
            except Exception as problem:
                played[is_pushd] = problem

        threads = [threading.Thread(target=play_with, args=(which,), daemon=True) for which in (False, True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(3 * DEADLINE_S)
        mosquitto, pushd = played[False], played[True]
        for each in (mosquitto, pushd):
            if isinstance(each, Exception):
                raise each
        assert isinstance(mosquitto, Stage)
        assert isinstance(pushd, Stage)
        self._compare(mosquitto.notes, pushd.notes, differences)
        self.assertNotIn("Traceback", pushd.broker.log())
        return mosquitto, pushd

    def _compare(
        self, mosquitto: dict[str, object], pushd: dict[str, object], differences: Sequence[Difference]
    ) -> None:
        unlike = {
            note: (mosquitto.get(note), pushd.get(note))
            for note in {**mosquitto, **pushd}
            if mosquitto.get(note) != pushd.get(note)
        }
        intended = {each.note: (each.mosquitto, each.pushd) for each in differences}
        self.assertEqual(intended, unlike)


class _Words(dict[str, object]):
    """What names in braces stand for."""

    def __init__(self, ports: Ports) -> None:
        # Started by root, mosquitto would become somebody else, who cannot read our files.
        super().__init__(user=pwd.getpwuid(os.getuid()).pw_name)
        self._ports = ports

    def __missing__(self, name: str) -> object:
        if name == "dynamic_security":
            return _library("mosquitto_dynamic_security.so")
        return self._ports[name]


def _library(name: str) -> Path:
    """Where a plugin that comes with mosquitto is."""
    folders = ("/usr/lib", "/usr/local/lib", "/opt/homebrew/lib")
    found = [path for folder in folders for path in Path(folder).glob(f"**/{name}")]
    if not found:
        raise ProgramFailed(f"{name} is not installed; it comes with mosquitto")
    return found[0]


def _play(name: str, is_pushd: bool, scene: Callable[[Stage], None]) -> Stage:
    ports = Ports()
    command: list[str | Path]
    if is_pushd:
        command = [*twistd_command(), "-n", "--pidfile=", "pushd"]
    else:
        command = [program("mosquitto")]
    stage = Stage(name, is_pushd, command, ports)
    try:
        scene(stage)
    except Exception as problem:
        raise AssertionError(f"{stage}: {problem!r}\n{stage.broker}") from problem
    finally:
        stage.close()
    return stage


def _hash_authorities(folder: Path) -> None:
    """What ``openssl rehash`` does, for `capath`."""
    pem = (folder / "ca.crt").read_bytes()
    name = f"{load_certificate(FILETYPE_PEM, pem).subject_name_hash():08x}.0"
    (folder / "hashed").mkdir()
    (folder / "hashed" / name).write_bytes(pem)
