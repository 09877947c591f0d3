"""
Reads a settings file: mosquitto.conf's syntax, to the letter.

- One option per line. ``#`` starts a comment in the first column only; blank lines and CRLF are fine.
- The name ends at the first space. A tab is no separator: after a name it makes an unknown name.
- Lines have an order: what belongs to a listener follows its ``listener`` line, what belongs to a bridge its
  ``connection`` line, what belongs to a plugin its ``plugin`` line, and `per_listener_settings` stands before
  any security option.
- `include_dir` reads the ``*.conf`` files of a directory where it stands. Each starts without a current
  listener, connection or plugin, and none includes others.

``${NAME}`` and ``file:PATH`` are ours (`pushd.config.indirect`). Nothing in a file is ever evaluated, and no
other file is opened. The only exception is `ConfigError`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pushd.config.draft import Block, Draft, settle
from pushd.config.errors import BadValue, ConfigError, NotYet, quoted
from pushd.config.indirect import expand, fetch_secret
from pushd.config.kinds import Anything, Endpoint, SecretText, port
from pushd.config.options import Option, Repeat, Scope, Status, find, nearest
from pushd.config.settings import Settings

MAX_PORTS = 10  # on the command line, as Mosquitto


def read_settings(
    path: str | None, ports: Sequence[int] = (), environ: Mapping[str, str] = os.environ
) -> Settings:
    """
    Read a settings file and those it includes.

    :param path: ``None`` is an empty file, and so local-only mode: loopback, port 1883, anonymous allowed.
    :param ports: of ``-p``: loopback ports instead of 1883. Ignored if the file opens a listener.
    :param environ: ``${NAME}`` is looked up in it; ``MOSQUITTO_PERSISTENCE_LOCATION`` overrides
        `persistence_location`.
    :raises ConfigError: with file, line and reason.
    """
    _check_ports(ports)
    draft = Draft()
    if path is not None:
        SettingsFile(path, _contents(path, origin=path, what=""), draft, environ).read()
    location = environ.get("MOSQUITTO_PERSISTENCE_LOCATION")
    if location:
        draft.whole.values["persistence_location"] = location
    return settle(draft, ports)


def _check_ports(ports: Sequence[int]) -> None:
    if len(ports) > MAX_PORTS:
        raise ConfigError("-p", f"{len(ports)} ports are more than {MAX_PORTS}")
    for number in ports:
        try:
            port().read(str(number))
        except BadValue as problem:
            raise ConfigError("-p", str(problem)) from None


def _contents(path: str, origin: str, what: str) -> bytes:
    """:param what: goes before the reason in a message, as ``include_dir: conf.d/a.conf ``."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as problem:  # ValueError: a path no file system can have
        raise ConfigError(origin, f"{what}cannot be read: {_reason(problem)}") from None


def _reason(problem: OSError | ValueError) -> str:
    return problem.strerror or str(problem) if isinstance(problem, OSError) else str(problem)


def _included(directory: str, origin: str) -> list[str]:
    """
    The files of an included directory, in Mosquitto's order: letter by letter, case counting only between
    the same letter (``A Ab a aB B b _``, for it compares upper case).
    """
    try:
        names = os.listdir(directory)
    except (OSError, ValueError) as problem:
        raise ConfigError(origin, f"include_dir: {directory} cannot be read: {_reason(problem)}") from None
    chosen = [name for name in names if name.endswith(".conf") and name != ".conf"]
    chosen.sort(key=lambda name: [(letter.upper(), letter) for letter in name])
    return [os.path.join(directory, name) for name in chosen]


def _hint(name: str) -> str:
    """What may have been meant by a name that is none."""
    if name.startswith("#"):
        return "; a comment starts in the first column"
    if "\t" in name:
        return "; a tab does not end a name, a space does"
    option = nearest(name)
    return f"; did you mean {option}?" if option else ""


class SettingsFile:
    """One file being read into a draft: the current listener, connection and plugin are its own."""

    def __init__(
        self,
        path: str,
        contents: bytes,
        draft: Draft,
        environ: Mapping[str, str],
        included: bool = False,
    ) -> None:
        self._path = path
        self._contents = contents
        self._draft = draft
        self._environ = environ
        self._included = included
        self._listener: Block | None = None
        self._bridge: Block | None = None
        self._plugin: Block | None = None

    def read(self) -> None:
        for origin, line in self._lines():
            name, _, text = line.lstrip(" ").partition(" ")
            if name:
                self._read_option(origin, name, text)

    def _lines(self) -> Iterator[tuple[str, str]]:
        """Where each line that counts is, and what it says."""
        for number, line in enumerate(self._contents.split(b"\n"), 1):
            if line.startswith(b"#"):
                continue  # in any encoding: comments are nobody's business
            origin = f"{self._path}:{number}"
            try:
                yield origin, line.decode("utf-8").rstrip("\r")
            except UnicodeDecodeError:
                raise ConfigError(origin, "this line is not UTF-8 (only comments need not be)") from None

    def _read_option(self, origin: str, name: str, text: str) -> None:
        option = find(name)
        if option is None:
            raise ConfigError(origin, f"unknown option {quoted(name)}{_hint(name)}")
        try:
            self._obey(option, name, self._value(option, name, text, origin), origin)
        except NotYet as value:
            self._not_yet(option, f"{name} {value}", origin)
        except BadValue as problem:
            raise ConfigError(origin, f"{name}: {problem}") from None

    def _value(self, option: Option, name: str, text: str, origin: str) -> Any:
        """
        What an option is given; its author is told where it may not mean what was meant.

        :raises BadValue: what it cannot take.
        """
        kind = option.kind_of(name)
        text = self._expanded(option, text)
        if not text.strip(" ") and not isinstance(kind, Anything):
            raise BadValue(f"needs a value: {kind.notation}")
        if isinstance(kind, SecretText) and option.status is Status.WORKS:
            text = fetch_secret(text)
        value = kind.read(text)
        remark = kind.remark(text)
        if remark:
            self._draft.warn(origin, f"{name}: {remark}")
        return value

    def _expanded(self, option: Option, text: str) -> str:
        try:
            return expand(text, self._environ)
        except BadValue:
            if option.status is Status.WORKS:
                raise
            return text  # nobody will look at it, so it is no reason not to start

    def _not_yet(self, option: Option, line: str, origin: str) -> None:
        """One of several log destinations can be done without; the one protocol of a listener cannot."""
        if option.repeat is not Repeat.ALL:
            raise ConfigError(origin, f"{line} is not implemented yet")
        self._draft.warn(origin, f"{line} is not implemented yet; ignored")

    def _obey(self, option: Option, name: str, value: Any, origin: str) -> None:
        shape = self._SHAPING.get(option.name)
        if shape is not None:
            shape(self, value, origin)
        elif option.prefix:
            options = self._block_of(option.scope, name, origin).values.setdefault("options", [])
            options.append((name.removeprefix(option.name), value))
        else:
            self._block_of(option.scope, name, origin).keep(option, value, origin)
        self._warn_of(option, name, origin)

    def _warn_of(self, option: Option, name: str, origin: str) -> None:
        """Name what is missing. Of a bridge its first line is enough: the rest goes with it."""
        if option.status is Status.LATER and option.scope is not Scope.BRIDGE:
            self._draft.warn(origin, f"{name} is not implemented yet: {option.note}")
        elif option.status is Status.NO_EFFECT:
            self._draft.warn(origin, f"{name} has no effect: {option.note}")

    def _block_of(self, scope: Scope, name: str, origin: str) -> Block:
        """What an option belongs to, by its scope and by the lines before it."""
        if scope is Scope.SECURITY:
            self._draft.security_seen = True
            scope = Scope.LISTENER if self._draft.per_listener else Scope.FILE
        if scope is Scope.FILE:
            return self._draft.whole
        if scope is Scope.LISTENER:
            self._listener = self._listener or self._draft.default_listener_for(name, origin)
            return self._listener
        if scope is Scope.DEFAULT_LISTENER:
            self._draft.local_only = False
            self._listener = self._draft.open_default_listener(origin)
            return self._listener
        if scope is Scope.OPEN_LISTENER and self._listener is not None:
            return self._listener
        if scope is Scope.BRIDGE and self._bridge is not None:
            return self._bridge
        if scope is Scope.PLUGIN and self._plugin is not None:
            return self._plugin
        missing = {Scope.OPEN_LISTENER: "listener", Scope.BRIDGE: "connection"}.get(scope, "plugin")
        raise BadValue(f"needs a {missing} line before it")

    # The lines that do more than give a value.

    def _open_listener(self, endpoint: Endpoint, origin: str) -> None:
        self._draft.local_only = False
        self._listener = self._draft.add_listener(origin, endpoint.port)
        if endpoint.address:
            self._listener.values["bind_address"] = endpoint.address
        if endpoint.path:
            self._listener.values["path"] = endpoint.path

    def _set_per_listener(self, wanted: bool, origin: str) -> None:
        if wanted and self._draft.security_seen:
            raise BadValue("must stand before any security option")
        self._draft.per_listener = self._draft.per_listener or wanted  # it cannot be taken back

    def _include(self, directory: str, origin: str) -> None:
        if self._included:
            raise BadValue("counts in the main file only")
        for path in _included(directory, origin):
            contents = _contents(path, origin, what=f"include_dir: {path} ")
            SettingsFile(path, contents, self._draft, self._environ, included=True).read()

    def _open_bridge(self, words: str, origin: str) -> None:
        name = words.split(" ")[0]
        if name in self._draft.bridges:
            raise BadValue(f"{quoted(name)} is a duplicate of {self._draft.bridges[name].origin}")
        self._bridge = self._draft.bridges[name] = Block(origin)

    def _open_plugin(self, plugin: str, origin: str) -> None:
        block = self._block_of(Scope.SECURITY, "plugin", origin)
        block.values.setdefault("plugin", []).append(self._new_plugin(plugin, origin))

    def _open_global_plugin(self, plugin: str, origin: str) -> None:
        self._draft.whole.values.setdefault("global_plugin", []).append(self._new_plugin(plugin, origin))

    def _load_plugin(self, words: str, origin: str) -> None:
        name, _, plugin = words.partition(" ")
        if not plugin:
            raise BadValue("needs a name and a plugin")
        known = self._draft.loaded_plugins.get(name)
        if known is not None:
            raise BadValue(f"{quoted(name)} is a duplicate of {known.origin}")
        self._draft.loaded_plugins[name] = self._new_plugin(plugin.strip(" "), origin)

    def _use_plugin(self, name: str, origin: str) -> None:
        block = self._block_of(Scope.OPEN_LISTENER, "plugin_use", origin)
        block.values.setdefault("plugin_use", []).append((name, origin))

    def _new_plugin(self, plugin: str, origin: str) -> Block:
        self._plugin = Block(origin, {"plugin": plugin})
        return self._plugin

    _SHAPING: ClassVar[dict[str, Callable[[SettingsFile, Any, str], None]]] = {
        "listener": _open_listener,
        "per_listener_settings": _set_per_listener,
        "include_dir": _include,
        "connection": _open_bridge,
        "plugin": _open_plugin,
        "global_plugin": _open_global_plugin,
        "plugin_load": _load_plugin,
        "plugin_use": _use_plugin,
    }
