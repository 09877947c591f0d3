"""
From the name in a ``plugin`` line to a class and its configuration.

The name is ``DOTTED.PATH:CLASS`` or ``/PATH/TO/FILE.py:CLASS``, either without ``:CLASS`` if there is one
plugin in it, or, without any dot or colon, what an installed plugin is called (`pushd.plugins.installed`).
Loading imports the module and checks the options; it starts nothing, so that settings can be tried.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

from pushd.plugins.installed import installed
from pushd.plugins.options import OptionError, make_config
from pushd.plugins.plugin import HOOKS, Plugin

DEFAULT_TIMEOUT_S = 5.0
TIMEOUT_OPTION = "hook_timeout"  # of every plugin

# What stands in for Mosquitto's well-known plugins, which are C libraries, by a part of their file's name.
INSTEAD_OF = {
    "dynamic_security": "password_file and acl_file, which a reload (SIGHUP) reads again without "
    "dropping anybody",
    "acl_file": "the option acl_file",
    "password_file": "the option password_file",
    "go-auth": "a Python plugin that asks your back-end; docs/plugins.md has one for HTTP",
    "auth-plug": "a Python plugin that asks your back-end; docs/plugins.md has one for HTTP",
    "jwt": "a Python plugin whose authenticate looks at the token; see docs/plugins.md",
    "sparkplug": "a Python plugin with on_publish; see docs/plugins.md",
    "message_timestamp": "docs/examples/stamp.py",
    "payload_modification": "a Python plugin with on_publish; see docs/plugins.md",
    "persist_sqlite": "the option persistence: pushd stores in SQLite anyway",
}
_C_LIBRARY = re.compile(r"\.(so|dll|dylib)(\.[0-9.]+)?$")


class PluginError(Exception):
    """A plugin that cannot be used: ``conf/pushd.conf:12: plugin my.auth: no module named 'my'``."""

    def __init__(self, origin: str, plugin: str, cause: str) -> None:
        super().__init__(f"{origin}: plugin {plugin}: {cause}")


@dataclass(frozen=True, eq=False)
class LoadedPlugin:
    """
    A class that can be made a plugin of.

    :ivar origin: of the line that names it, for messages.
    :ivar timeout_s: how long one answer may take.
    :ivar deny_special_chars: ``auth_plugin_deny_special_chars``.
    """

    origin: str
    name: str
    shape: type
    config: Any
    timeout_s: float = DEFAULT_TIMEOUT_S
    deny_special_chars: bool = True

    @property
    def hooks(self) -> frozenset[str]:
        """The names of the methods that it wants to be asked by."""
        return frozenset(name for name in HOOKS if callable(getattr(self.shape, name, None)))


def load(
    origin: str, plugin: str, options: Sequence[tuple[str, str]] = (), *, deny_special_chars: bool = True
) -> LoadedPlugin:
    """
    :param plugin: as written in the settings.
    :param options: the ``plugin_opt_`` lines, without that prefix.
    :raises PluginError: it cannot be found or imported, is no plugin, or does not take these options.
    """
    try:
        return configure(origin, plugin, find_class(plugin), options, deny_special_chars=deny_special_chars)
    except LookupError as problem:
        raise PluginError(origin, plugin, str(problem.args[0])) from problem
    except PluginError:
        raise
    except Exception as problem:  # whatever an import may raise
        raise PluginError(origin, plugin, f"{type(problem).__name__}: {problem}") from problem


def configure(
    origin: str,
    plugin: str,
    shape: type,
    options: Sequence[tuple[str, str]] = (),
    *,
    deny_special_chars: bool = True,
) -> LoadedPlugin:
    """
    The same for a class that is there already.

    :raises PluginError: it does not take these options.
    """
    try:
        timeout_s, rest = _take_timeout(options)
        config = make_config(getattr(shape, "Config", Plugin.Config), rest)
    except OptionError as problem:
        raise PluginError(origin, plugin, str(problem)) from problem
    except Exception as problem:  # whatever reading its annotations may raise
        raise PluginError(origin, plugin, f"{type(problem).__name__}: {problem}") from problem
    return LoadedPlugin(origin, plugin, shape, config, timeout_s, deny_special_chars)


def find_class(plugin: str) -> type:
    """
    :raises LookupError: there is none; the text says why.
    :raises Exception: whatever its module raises.
    """
    if _C_LIBRARY.search(plugin):
        raise LookupError(_about_c_library(plugin))
    if "." not in plugin and ":" not in plugin:
        plugin = _path_of_installed(plugin)
    module_name, _, class_name = plugin.partition(":")
    module = _import_file(module_name) if module_name.endswith(".py") else import_module(module_name)
    if class_name:
        found = getattr(module, class_name, None)
    else:
        found = _only_plugin(module)
    if not isinstance(found, type):
        raise LookupError(f"{module_name} has no class {class_name!r}")
    if not any(callable(getattr(found, name, None)) for name in (*HOOKS, "start")):
        raise LookupError(f"{found.__name__} has none of the methods of a plugin: {', '.join(HOOKS)}, start")
    return found


def _import_file(path: str) -> ModuleType:
    """Read a file anew each time, so that a reload takes up what has changed in it."""
    name = "pushd_plugin_" + re.sub(r"\W", "_", path)
    spec = spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # its suffix is one that Python knows
    module = module_from_spec(spec)
    # Dataclasses look up what their annotations mean there.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _about_c_library(plugin: str) -> str:
    told = "it is a C library; pushd's plugins are Python classes (docs/plugins.md)"
    for part, instead in INSTEAD_OF.items():
        if part.replace("-", "_") in plugin.replace("-", "_"):
            return f"{told}. Instead of this one, use {instead}"
    return told


def _path_of_installed(name: str) -> str:
    known = installed()
    if name not in known:
        there_are = ", ".join(sorted(known)) or "none"
        raise LookupError(f"it is neither DOTTED.PATH:CLASS nor installed; installed are: {there_are}")
    return known[name]


def _only_plugin(module: ModuleType) -> type:
    found = [
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Plugin) and each.__module__ == module.__name__
    ]
    if len(found) != 1:
        names = ", ".join(each.__name__ for each in found) or "none"
        raise LookupError(f"say which class of {module.__name__}, as MODULE:CLASS; there are: {names}")
    return found[0]


def _take_timeout(options: Sequence[tuple[str, str]]) -> tuple[float, list[tuple[str, str]]]:
    """:return: what ``plugin_opt_hook_timeout`` says, and the other options."""
    rest = [(name, text) for name, text in options if name != TIMEOUT_OPTION]
    (*_, said) = (str(DEFAULT_TIMEOUT_S), *(text for name, text in options if name == TIMEOUT_OPTION))
    try:
        timeout_s = float(said)
    except ValueError:
        timeout_s = 0.0
    if not 0 < timeout_s <= 3600:
        raise OptionError(f"plugin_opt_{TIMEOUT_OPTION}: {said!r} is not a time in seconds")
    return timeout_s, rest
