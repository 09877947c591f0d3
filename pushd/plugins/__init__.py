"""
What the author of a plugin needs; everything else in here is how pushd calls it.

``docs/plugins.md`` explains it with two complete examples. What is exported here keeps its names and its
meaning: later versions add to it.
"""

from pushd.broker.interfaces import Access, PeerCertificate
from pushd.mqtt.codes import ReasonCode
from pushd.plugins.handle import BrokerHandle
from pushd.plugins.installed import InstalledPlugin, IPushdPlugin
from pushd.plugins.plugin import Plugin
from pushd.plugins.shapes import ClientInfo, Login, Message
from pushd.plugins.verdicts import ALLOW, DENY, DROP, IGNORE, Allow, Deny, Verdict

__all__ = [
    "ALLOW",
    "DENY",
    "DROP",
    "IGNORE",
    "Access",
    "Allow",
    "BrokerHandle",
    "ClientInfo",
    "Deny",
    "IPushdPlugin",
    "InstalledPlugin",
    "Login",
    "Message",
    "PeerCertificate",
    "Plugin",
    "ReasonCode",
    "Verdict",
]
