"""What holds for everybody who comes in through one listener."""

from __future__ import annotations

from dataclasses import dataclass, field

from pushd.broker.hooks import NO_HOOKS, Hooks
from pushd.broker.interfaces import IAuthenticator, IAuthMethod, IAuthorizer
from pushd.mqtt.codes import Version


@dataclass(eq=False)  # without slots, for `pushd.service` has weak references to those in use
class Policy:
    """
    One listener's rules. Shared by its connections, so a reload that replaces a part is seen by all at once.
    Only what clients are told when they connect, or what is recorded of them depends on, holds until they
    leave: a reload that changes the mount point, `max_qos` or the Topic Aliases makes another policy for
    those who come from then on.

    :ivar name: for log lines, such as ``port 1883``.
    :ivar mount_point: in front of every topic that its clients name, and hidden from them again.
    :ivar log_connections: whether connects and disconnects are worth a line.
    :ivar log_subscriptions: the same of subscriptions.
    """

    name: str
    authenticator: IAuthenticator
    authorizer: IAuthorizer
    mount_point: str = ""
    allow_zero_length_clientid: bool = True
    auto_id_prefix: str = "auto-"
    log_connections: bool = True
    log_subscriptions: bool = True
    accept_protocol_versions: frozenset[Version] = frozenset(Version)
    max_qos: int = 2
    max_topic_alias: int = 10  # that clients may use towards us; 0 for none
    max_topic_alias_broker: int = 10  # that we use towards clients that allow it
    use_username_as_clientid: bool = False  # whoever has no user name is not let in then
    clientid_prefixes: str = ""  # what client ids must begin with: those that clients bring, or are given
    auth_methods: dict[str, IAuthMethod] = field(default_factory=dict)  # by name
    hooks: Hooks = NO_HOOKS  # of plugins
    asks_for_friends: bool = False  # its access rules do, of each message
