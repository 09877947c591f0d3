"""
Imports point down only: the picture of the sources, held against every import in them.

    twisted/plugins     names pushd.service.tap in a string
    pushd.service       assembles everything                        pushd.ctl   commands, beside it
    pushd.testing       a broker for the tests of plugins
    pushd.auth .gateway .plugins .rules .stats .storage .transports adapters, strangers to each other
    pushd.broker        decides; no socket, file, reactor or clock of its own
    pushd.mqtt          bytes to packets and back; the standard library only
    pushd.people        accounts and friends, over pushd.redis, a door to Redis
    pushd.im            a leaf: the envelope of instant messages
    pushd.config        a leaf, for the service and the commands alone
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[1]

# Which packages of pushd each may import, itself aside.
INSIDE = {
    "mqtt": set[str](),
    "broker": {"mqtt"},
    "config": set[str](),
    "redis": set[str](),
    "im": set[str](),
    "people": {"redis"},
    "auth": {"mqtt", "broker", "people"},
    "storage": {"mqtt", "broker", "redis"},
    "cluster": {"mqtt", "broker", "redis"},
    "plugins": {"mqtt", "broker"},
    "rules": {"mqtt", "broker", "people"},
    "stats": {"mqtt", "broker", "redis"},
    "transports": {"mqtt", "broker"},
    "gateway": {"mqtt", "broker", "people", "im"},
    "ctl": {"auth", "config", "mqtt", "broker", "people", "redis", "rules", "im"},
    "service": {
        "mqtt", "broker", "config", "redis", "im", "people",
        "auth", "storage", "cluster", "plugins", "rules", "stats", "transports", "gateway",
    },
    "testing": {"mqtt", "broker", "auth", "plugins", "storage", "transports"},
}  # fmt: skip

# What each may import from elsewhere, beside the standard library; those that are not named, anything. The
# broker gets its time and its reactor as arguments: of Twisted it knows Deferreds, log lines and interfaces.
OUTSIDE = {
    "mqtt": set[str](),
    "broker": {
        "zope.interface",
        "twisted.internet.defer",
        "twisted.internet.interfaces",
        "twisted.logger",
        "twisted.python.failure",
    },
}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of pushd with the name of its package; that of ``pushd/__init__.py`` is empty."""
    for path in sorted((ROOT / "pushd").rglob("*.py")):
        parts = path.relative_to(ROOT / "pushd").parts
        yield (parts[0] if len(parts) > 1 else ""), path


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """
    What a file imports, in functions and under ``TYPE_CHECKING`` too: a line number and a dotted name.

    ``from a.b import c`` counts as ``a.b.c``, for `c` may be a module; relative imports are made absolute.
    """
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            prefix = ".".join((*base, *([node.module] if node.module else [])))
            yield from ((node.lineno, f"{prefix}.{alias.name}") for alias in node.names)


def is_allowed(package: str, imported: str) -> bool:
    """Whether a module of `package` may import this."""
    first, _, rest = imported.partition(".")
    if first == "pushd":
        return rest.partition(".")[0] in INSIDE[package] | {package, "__version__"}
    if first in sys.stdlib_module_names or package not in OUTSIDE:
        return True
    return any(f"{imported}.".startswith(f"{allowed}.") for allowed in OUTSIDE[package])


class LayeringTests(SynchronousTestCase):
    """The picture and the sources."""

    def test_every_package_is_in_the_picture(self) -> None:
        """A new package says first whom it may know."""
        self.assertEqual({package for package, _ in modules()} - {""} - set(INSIDE), set())

    def test_imports_point_down(self) -> None:
        """No module imports what its package may not know."""
        wrong = [
            f"{path.relative_to(ROOT)}:{line}: {imported}"
            for package, path in modules()
            if package
            for line, imported in imports(path)
            if not is_allowed(package, imported)
        ]
        self.assertEqual(wrong, [])

    def test_root_imports_nothing_of_ours(self) -> None:
        """``import pushd`` loads no room of the house."""
        self.assertEqual([name for _, name in imports(ROOT / "pushd/__init__.py") if "pushd" in name], [])

    def test_plugin_is_light(self) -> None:
        """Every ``twistd`` command loads the plugin: it names the service in a string and imports nothing."""
        plugin = ROOT / "twisted/plugins/pushd_plugin.py"
        self.assertEqual([name for _, name in imports(plugin) if name.startswith("pushd")], [])
        self.assertIn('"pushd.service.tap"', plugin.read_text())

    def test_nobody_imports_the_service(self) -> None:
        """What assembles everything is known to nobody else, the tests of it aside."""
        importers = [
            str(path.relative_to(ROOT))
            for package, path in modules()
            if package != "service"
            and any(f"{name}.".startswith("pushd.service.") for _, name in imports(path))
        ]
        self.assertEqual(importers, [])


class RuleTests(SynchronousTestCase):
    """The rules themselves, on examples."""

    def test_examples(self) -> None:
        """Neighbours, upward imports and reactors are told from what is allowed."""
        for package, imported, expected in (
            ("mqtt", "struct", True),
            ("mqtt", "pushd.mqtt.codes.QoS", True),
            ("mqtt", "twisted.internet.defer", False),
            ("mqtt", "pushd.broker", False),
            ("broker", "pushd.mqtt.codes", True),
            ("broker", "twisted.internet.defer.Deferred", True),
            ("broker", "twisted.internet.reactor", False),
            ("broker", "twisted.internet.deferred", False),
            ("transports", "pushd.config.settings", False),
            ("transports", "OpenSSL", True),
            ("auth", "pushd.gateway.identity.guards", False),
            ("ctl", "pushd.auth.password_hash", True),
            ("ctl", "pushd.service", False),
        ):
            self.assertIs(is_allowed(package, imported), expected, (package, imported))
