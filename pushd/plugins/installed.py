"""
Plugins that a package brings along, called by a name: Twisted's own plugin system.

Such a package has a file ``twisted/plugins/NAME_plugin.py`` (and no ``__init__.py`` beside it) with:

    from pushd.plugins.installed import InstalledPlugin

    ldap = InstalledPlugin("ldap", "pushd_ldap:LdapPlugin")

Then ``plugin ldap`` in the settings is ``plugin pushd_ldap:LdapPlugin``. The class is named in a string:
every program that looks for plugins loads that file.
"""

from __future__ import annotations

from dataclasses import dataclass

from twisted.plugin import IPlugin, getPlugins
from zope.interface import Attribute, Interface, implementer


class IPushdPlugin(Interface):
    """What `plugin NAME` looks for."""

    name: str = Attribute("What the settings call it; without a dot or a colon.")
    path: str = Attribute("Where the class is: DOTTED.PATH:CLASS.")


@implementer(IPlugin, IPushdPlugin)
@dataclass(frozen=True)
class InstalledPlugin:
    """A name for a class."""

    name: str
    path: str


def installed() -> dict[str, str]:
    """The path of every plugin that is installed, by name."""
    return {plugin.name: plugin.path for plugin in getPlugins(IPushdPlugin)}
