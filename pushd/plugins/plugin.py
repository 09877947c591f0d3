"""The class that plugins are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pushd.plugins.handle import BrokerHandle

# The methods that a plugin may have, beside `start` and `stop`.
HOOKS = (
    "authenticate",
    "authorize",
    "on_connect",
    "on_disconnect",
    "on_publish",
    "on_subscribe",
    "on_unsubscribe",
)


class Plugin:
    """
    A plugin. It has those of these methods that it needs, each a plain function, an ``async def``, or one
    that returns a Deferred; one that it does not have costs nothing:

        def authenticate(self, login: Login) -> Verdict
        def authorize(self, client: ClientInfo, access: Access, topic: str) -> Verdict
        def on_connect(self, client: ClientInfo) -> Verdict | None
        def on_disconnect(self, client: ClientInfo) -> None
        def on_publish(self, client: ClientInfo, message: Message) -> Message | Verdict | DROP | None
        def on_subscribe(self, client: ClientInfo, filter: str, qos: int) -> Verdict | None
        def on_unsubscribe(self, client: ClientInfo, filter: str) -> None
        def start(self) -> None
        def stop(self) -> None

    The instance is made before `start`, also when settings are only checked: `__init__`, if there is one,
    opens nothing.

    :ivar config: what the settings say, an instance of the nested class ``Config``.
    :ivar broker: the way back: publish, find and disconnect clients.
    """

    class Config:
        """Without options."""

    def __init__(self, config: Any, broker: BrokerHandle) -> None:
        self.config = config
        self.broker = broker
