"""What a version 5 client and the broker tell each other at CONNECT, and what of it they use up since."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from twisted.internet.defer import Deferred

from pushd.broker.message import Message
from pushd.broker.session import MAX_RECEIVED
from pushd.mqtt.codes import PropertyId, ReasonCode
from pushd.mqtt.errors import ProtocolError
from pushd.mqtt.packets import Connect, Properties

if TYPE_CHECKING:
    from pushd.broker.limits import Limits
    from pushd.broker.policy import Policy

NEVER = 0xFFFF_FFFF  # a Session Expiry Interval without an end (v5 §3.1.2.11.2)


class Terms:
    """
    One connection's.

    :ivar window: the client's Receive Maximum: how many QoS 1 and 2 messages it takes at once.
    :ivar max_packet_bytes: the client's Maximum Packet Size; 0 is no limit.
    :ivar receive_maximum: ours, as announced.
    :ivar owed: how many QoS 1 messages of the client we have taken whose PUBACK has not left yet;
        `hold` and `settle` count those that wait for the store.
    :ivar problem_information: whether the client wants Reason Strings.
    """

    __slots__ = (
        "_alias_limit_in",
        "_alias_limit_out",
        "_aliases_in",
        "_aliases_out",
        "_held",
        "_settled",
        "max_packet_bytes",
        "owed",
        "problem_information",
        "receive_maximum",
        "window",
    )

    def __init__(self, packet: Connect, policy: Policy, limits: Limits) -> None:
        offered = packet.properties
        self.window = _number(offered, PropertyId.RECEIVE_MAXIMUM, 65_535)
        self.max_packet_bytes = _number(offered, PropertyId.MAXIMUM_PACKET_SIZE, 0)
        self.problem_information = _number(offered, PropertyId.REQUEST_PROBLEM_INFORMATION, 1) == 1
        # What is announced must be taken: no more than the packet identifiers that a session holds.
        self.receive_maximum = min(limits.window, MAX_RECEIVED)
        self.owed = 0
        self._held = 0
        self._settled: Deferred[None] | None = None
        self._alias_limit_in = policy.max_topic_alias
        self._alias_limit_out = min(
            _number(offered, PropertyId.TOPIC_ALIAS_MAXIMUM, 0), policy.max_topic_alias_broker
        )
        self._aliases_in: dict[int, str] | None = None
        self._aliases_out: dict[str, int] | None = None

    @property
    def uses_aliases(self) -> bool:
        """Whether we may abbreviate topic names towards this client."""
        return self._alias_limit_out > 0

    @property
    def takes_any_bytes(self) -> bool:
        """Whether this client can be sent a small PUBLISH just as it came in."""
        # 3 + 16 383 bytes is the longest with a Remaining Length of two bytes.
        return not self._alias_limit_out and not 0 < self.max_packet_bytes < 3 + 0x3FFF

    def announced(self, limits: Limits, policy: Policy) -> Properties:
        """The broker's side, for the CONNACK (v5 §3.2.2.3). What is at the standard's default is left out."""
        said: Properties = {}
        if self.receive_maximum < 65_535:
            said[PropertyId.RECEIVE_MAXIMUM] = self.receive_maximum
        if policy.max_qos < 2:
            said[PropertyId.MAXIMUM_QOS] = policy.max_qos
        if not limits.retain_available:
            said[PropertyId.RETAIN_AVAILABLE] = 0
        if limits.max_packet_size:
            said[PropertyId.MAXIMUM_PACKET_SIZE] = limits.max_packet_size
        if self._alias_limit_in:
            said[PropertyId.TOPIC_ALIAS_MAXIMUM] = self._alias_limit_in
        return said

    def hold(self) -> int:
        """:return: how many PUBACKs are in the outbox that begins to wait for the store now."""
        count = self.owed - self._held
        self._held = self.owed
        return count

    def let_go(self) -> None:
        """The outbox leaves without waiting."""
        self._left(self.owed - self._held)

    def settle(self, count: int) -> None:
        """So many of those that waited for the store are leaving."""
        self._held -= count
        self._left(count)

    def _left(self, count: int) -> None:
        """So many PUBACKs are leaving."""
        self.owed -= count
        if self._settled is not None and self.owed < self.receive_maximum:
            settled, self._settled = self._settled, None
            settled.callback(None)

    def when_settled(self) -> Deferred[None]:
        """Fires when we owe so few that the client may send again; to be asked by one at a time."""
        self._settled = Deferred()
        return self._settled

    def topic_of(self, name: str, alias: int) -> str:
        """
        The topic name of a PUBLISH with a Topic Alias, which is remembered for the next (v5 §3.3.2.3.4).

        :raises ProtocolError: 0x94, above what we announced; 0x82, not known.
        """
        if alias > self._alias_limit_in:
            raise ProtocolError(  # v5 [MQTT-3.3.2-9]
                f"topic alias {alias} above {self._alias_limit_in}", ReasonCode.TOPIC_ALIAS_INVALID
            )
        if self._aliases_in is None:
            self._aliases_in = {}
        if name:
            self._aliases_in[alias] = name
            return name
        if alias not in self._aliases_in:
            raise ProtocolError(f"topic alias {alias} stands for nothing")  # v5 §3.3.4
        return self._aliases_in[alias]

    def image(self, message: Message, mount_point: str, seconds: Callable[[], float]) -> tuple[bytes, bytes]:
        """A message as this client is sent it: with an alias, counted down, without the mount point."""
        if not self._alias_limit_out and message.expires_at is None and not mount_point:
            return message.image_v5 or message.encode_v5()
        name = message.topic[len(mount_point) :]
        now = seconds()
        known, alias = self._alias_for(name)
        image = message.encode_v5_for("" if known else name, alias, now)
        if alias and 0 < self.max_packet_bytes < _size(image, message.qos):
            if not known and self._aliases_out is not None:
                del self._aliases_out[name]
            return message.encode_v5_for(name, 0, now)  # `fits` has seen that there is room for this
        return image

    def _alias_for(self, name: str) -> tuple[bool, int]:
        """:return: whether the client knows the alias already, and the alias; 0 when there is none left."""
        if not self._alias_limit_out:
            return False, 0
        if self._aliases_out is None:
            self._aliases_out = {}
        alias = self._aliases_out.get(name)
        if alias is not None:
            return True, alias
        if len(self._aliases_out) >= self._alias_limit_out:
            return False, 0
        alias = self._aliases_out[name] = len(self._aliases_out) + 1
        return False, alias

    def fits(self, message: Message, mount_point: str, now: float) -> bool:
        """Whether a message is within the client's Maximum Packet Size (v5 [MQTT-3.1.2-24])."""
        if not self.max_packet_bytes:
            return True
        image = message.encode_v5_for(message.topic[len(mount_point) :], 0, now)
        return _size(image, message.qos) <= self.max_packet_bytes


def session_expiry(properties: Properties) -> float | None:
    """Seconds that a session outlives its connection; ``None`` without an end (v5 §3.1.2.11.2)."""
    seconds = _number(properties, PropertyId.SESSION_EXPIRY_INTERVAL, 0)
    return None if seconds == NEVER else float(seconds)


def _size(image: tuple[bytes, bytes], qos: int) -> int:
    return len(image[0]) + len(image[1]) + (2 if qos else 0)  # the packet identifier


def _number(properties: Properties, name: PropertyId, default: int) -> int:
    return cast(int, properties.get(name, default))
