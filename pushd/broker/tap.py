"""
A tap: a subscription of somebody who is no MQTT client, such as a caller of the gateway who listens to a
stream of events. It gets what a client with the same name would, at QoS 0: from now on, as far as the access
rules let its principal read it, and without anything being kept for it.

A tap stands in the trie like a session with one subscription, so a broker without taps does nothing for them.
As for sessions, whether one may read a topic is decided with the topic's route, and again when access rules
have changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from pushd.broker.interfaces import Access, Verdict
from pushd.broker.session import Subscription
from pushd.mqtt.codes import QoS, ReasonCode
from pushd.mqtt.packets import SubscriptionRequest
from pushd.mqtt.topics import SHARE_PREFIX, is_valid_filter

if TYPE_CHECKING:
    from pushd.broker.broker import Broker
    from pushd.broker.interfaces import Principal
    from pushd.broker.message import Message
    from pushd.broker.policy import Policy
    from pushd.broker.session import Session
    from pushd.broker.shared import SharedGroup

    # Whoever a subscription may be of.
    Taker: TypeAlias = "Session | SharedGroup | Tap"

log = Logger()


def listen(
    broker: Broker,
    policy: Policy,
    principal: Principal,
    filter: str,
    received: Callable[[str, Message], None],
    ended: Callable[[], None],
) -> Deferred[Tap | ReasonCode]:
    """
    Listen for somebody who is no MQTT client; see `Tap` for what the arguments are.

    :return: fires with the tap, or with the reason why there is none: ``TOPIC_FILTER_INVALID``, also for a
        shared filter, or what the access rules say.
    """
    if filter.startswith(SHARE_PREFIX) or not is_valid_filter(policy.mount_point + filter):
        return succeed(ReasonCode.TOPIC_FILTER_INVALID)
    tap = Tap(broker, policy, principal, filter, received, ended)
    verdict = broker.authorize(policy, principal, Access.SUBSCRIBE, tap.subscription.filter)
    if not isinstance(verdict, Deferred):
        verdict = succeed(verdict)
    return verdict.addCallback(_listen, tap)


def _listen(verdict: Verdict, tap: Tap) -> Tap | ReasonCode:
    if verdict is not ReasonCode.SUCCESS:
        return verdict or ReasonCode.NOT_AUTHORIZED
    tap.begin()
    return tap


class Tap:
    """
    Made by `listen`.

    :ivar principal: whom it listens for.
    :ivar policy: that of the listener by which the principal came.
    :ivar client: always ``None``: a tap is given messages, and never bytes as they came in.
    """

    __slots__ = ("_broker", "_ended", "_received", "policy", "principal", "subscription")

    client = None

    def __init__(
        self,
        broker: Broker,
        policy: Policy,
        principal: Principal,
        filter: str,
        received: Callable[[str, Message], None],
        ended: Callable[[], None],
    ) -> None:
        """
        :param filter: without the listener's mount point.
        :param received: called with each message and its topic name as the principal knows it, at once, while
            the publisher waits: it should not take long.
        :param ended: called when the broker does not let the principal listen any longer.
        """
        self._broker = broker
        self._received = received
        self._ended = ended
        self.policy = policy
        self.principal = principal
        request = SubscriptionRequest(filter, QoS.AT_MOST_ONCE, retain_as_published=True)
        self.subscription = Subscription(self, policy.mount_point + filter, request)

    def __repr__(self) -> str:
        return f"<Tap {self.subscription.filter!r} of {self.username!r}>"

    @property
    def client_id(self) -> str:
        """For access rules: that of its principal."""
        return self.principal.client_id

    @property
    def username(self) -> str | None:
        """For access rules: that of its principal."""
        return self.principal.username

    @property
    def subscriptions(self) -> dict[str, Subscription]:
        """As a session has them: its only one."""
        return {self.subscription.filter: self.subscription}

    def deliver(self, message: Message) -> None:
        """Hand a message on. Whatever goes wrong there is not the publisher's trouble."""
        try:
            self._received(message.topic[len(self.policy.mount_point) :], message)
        except Exception:
            log.failure("{tap!r} failed", tap=self)
            self.cut()

    def has_place(self, size: int) -> bool:
        """Nothing waits here, so nobody has to wait for it."""
        return True

    def begin(self) -> None:
        """From now on it gets what comes."""
        self._broker.taps.add(self)
        if self._broker.companion is not None:
            self._broker.companion.opened(self)
        self._broker.router.subscribe(self.subscription)

    def end(self) -> None:
        """Whoever listened has gone. May be called again."""
        if self in self._broker.taps:
            self._broker.taps.remove(self)
            if self._broker.companion is not None:
                self._broker.companion.ended(self)
            self._broker.router.unsubscribe(self.subscription)

    def cut(self) -> None:
        """The principal may not listen any longer, or nobody can."""
        if self in self._broker.taps:
            self.end()
            self._ended()
