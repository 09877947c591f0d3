"""
Rewrite messages on their way: a user property with the time they came, and other names for old topics.

    plugin docs/examples/stamp.py
    plugin_opt_rename home/=building/1/ test/=sandbox/
    plugin_opt_max_payload 65536
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from pushd.plugins import ClientInfo, Deny, Message, Plugin, ReasonCode


class Stamp(Plugin):
    @dataclass(frozen=True)
    class Config:
        """
        :ivar property: the name of the user property; its value is a time such as 2026-01-31T12:00:00+00:00.
        :ivar rename: OLD=NEW, beginnings of topic names; the first that fits counts.
        :ivar max_payload: bytes; longer messages are refused. 0 is no limit.
        """

        property: str = "received-at"
        rename: list[str] = field(default_factory=list)
        max_payload: int = 0

        def __post_init__(self) -> None:
            for pair in self.rename:
                if "=" not in pair:
                    raise ValueError(f"plugin_opt_rename: {pair!r} is not OLD=NEW")

    config: Config

    def start(self) -> None:
        self._renames = [pair.split("=", 1) for pair in self.config.rename]

    def on_publish(self, client: ClientInfo, message: Message) -> Message | Deny:
        if 0 < self.config.max_payload < len(message.payload):
            return Deny(ReasonCode.QUOTA_EXCEEDED)
        # The reactor's seconds are those of the wall clock; in a test they stand still.
        now = datetime.fromtimestamp(self.broker.reactor.seconds(), timezone.utc)
        stamp = self.config.property, now.isoformat(timespec="seconds")
        return replace(
            message,
            topic=self._renamed(message.topic),
            user_properties=(*message.user_properties, stamp),
        )

    def _renamed(self, topic: str) -> str:
        for old, new in self._renames:
            if topic.startswith(old):
                return new + topic[len(old) :]
        return topic
