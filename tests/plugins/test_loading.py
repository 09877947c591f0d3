"""`pushd.plugins.loading`: what a ``plugin`` line can name, and what it is told otherwise."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pushd.plugins import loading
from pushd.plugins.installed import installed
from pushd.plugins.loading import PluginError, load

ONE = """
from __future__ import annotations
from pushd.plugins import Plugin

class Mine(Plugin):
    class Config:
        number: int = 1

    def on_disconnect(self, client):
        pass
"""


class LoadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.patch(sys, "path", [str(self.directory), *sys.path])

    def write(self, name: str, text: str) -> Path:
        path = self.directory / f"{name}.py"
        path.write_text(text)
        self.addCleanup(sys.modules.pop, name, None)
        return path

    def refusal(self, plugin: str, *options: tuple[str, str]) -> str:
        error = str(self.assertRaises(PluginError, load, "x.conf:3", plugin, options))
        assert error.startswith(f"x.conf:3: plugin {plugin}: "), error
        return error

    def test_a_module_and_a_class(self) -> None:
        """With the colon, or without where there is only one plugin."""
        self.write("p_one", ONE)
        for plugin in ("p_one:Mine", str(self.directory / "p_one.py")):
            assert load("x.conf:3", plugin).shape.__name__ == "Mine"

    def test_a_file(self) -> None:
        """By its path; a reload takes up what was changed in it."""
        path = self.write("p_file", ONE)
        assert load("x.conf:3", str(path)).config.number == 1
        path.write_text(ONE.replace("= 1", "= 22"))
        assert load("x.conf:3", f"{path}:Mine").config.number == 22

    def test_what_it_wants_to_be_asked(self) -> None:
        """The methods that the class has, and no others."""
        path = self.write("p_hooks", ONE)
        assert load("x.conf:3", str(path)).hooks == {"on_disconnect"}

    def test_several_plugins_in_a_module(self) -> None:
        """The settings must say which."""
        path = self.write("p_two", ONE + ONE.partition("\n\n")[2].replace("Mine", "Other"))
        assert "say which class" in self.refusal(str(path))
        assert "there are: Mine, Other" in self.refusal(str(path))

    def test_not_there(self) -> None:
        """A module, a class, a file, an installed plugin that does not exist."""
        self.write("p_none", "x = 1\n")
        for plugin, told in (
            ("no.such.module:Class", "No module named 'no'"),
            ("p_none:Mine", "p_none has no class 'Mine'"),
            ("p_none:x", "p_none has no class 'x'"),
            (str(self.directory / "gone.py"), "No such file"),
            ("nobody", "neither DOTTED.PATH:CLASS nor installed; installed are: "),
        ):
            assert told in self.refusal(plugin), plugin

    def test_a_module_that_breaks(self) -> None:
        """Whatever its import raises is told."""
        self.write("p_broken", "1 / 0\n")
        assert "ZeroDivisionError: division by zero" in self.refusal("p_broken:Mine")
        self.write("p_syntax", "def\n")
        assert "SyntaxError" in self.refusal("p_syntax:Mine")

    def test_a_class_that_is_no_plugin(self) -> None:
        """It has nothing that could be asked."""
        self.write("p_empty", "class Mine: pass\n")
        assert "has none of the methods of a plugin" in self.refusal("p_empty:Mine")

    def test_c_libraries(self) -> None:
        """Mosquitto's well-known ones are named, with what stands in for them."""
        for path, instead in (
            ("/usr/lib/mosquitto_dynamic_security.so", "password_file and acl_file"),
            ("/etc/mosquitto/go-auth.so", "docs/plugins.md has one for HTTP"),
            ("/x/mosquitto-go-auth.so.1", "docs/plugins.md has one for HTTP"),
            ("C:\\mosquitto_dynamic_security.dll", "password_file"),
            ("/x/unheard_of.so", "pushd's plugins are Python classes"),
        ):
            told = self.refusal(path)
            assert "it is a C library" in told and instead in told, told

    def test_installed_plugins(self) -> None:
        """A package's name for its class."""
        self.write("p_one", ONE)
        self.patch(loading, "installed", lambda: {"mine": "p_one:Mine"})
        assert load("x.conf:3", "mine").shape.__name__ == "Mine"
        assert "installed are: mine" in self.refusal("yours")

    def test_options(self) -> None:
        """They are checked against the class, and FILE:LINE is told."""
        path = str(self.write("p_options", ONE))
        assert load("x.conf:3", path, [("number", "5")]).config.number == 5
        assert "plugin_opt_number: 'x' is not an integer" in self.refusal(path, ("number", "x"))
        assert "plugin_opt_colour is not an option" in self.refusal(path, ("colour", "red"))

    def test_time_out(self) -> None:
        """An option of every plugin."""
        path = str(self.write("p_time", ONE))
        assert load("x.conf:3", path).timeout_s == 5.0
        assert load("x.conf:3", path, [("hook_timeout", "0.5")]).timeout_s == 0.5
        for bad in ("0", "-1", "x", "nan", "inf"):
            assert "is not a time in seconds" in self.refusal(path, ("hook_timeout", bad))


class InstalledTests(SynchronousTestCase):
    def test_a_package_with_a_plugin(self) -> None:
        """Twisted's plugin system finds it in ``twisted/plugins``."""
        root = Path(self.mktemp()).absolute()
        plugins = root / "twisted" / "plugins"
        plugins.mkdir(parents=True)
        (plugins / "ldap_plugin.py").write_text(
            "from pushd.plugins.installed import InstalledPlugin\n"
            'ldap = InstalledPlugin("test-ldap", "pushd_ldap:LdapPlugin")\n'
        )
        import twisted.plugins

        self.patch(twisted.plugins, "__path__", [*twisted.plugins.__path__, str(plugins)])
        assert installed()["test-ldap"] == "pushd_ldap:LdapPlugin"
