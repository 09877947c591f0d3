"""
The plugins of one listener, in their order, as what the broker and the chains of `pushd.auth` ask.

The first that has an opinion decides. After the plugins come the password file and the ACL file, which sit in
the same two chains (`pushd.service.assembly`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from pushd.broker.client import Client
from pushd.broker.hooks import Decision, Hooks
from pushd.broker.interfaces import Access, Credentials, IAuthenticator, IAuthorizer, Principal
from pushd.broker.interfaces import Verdict as BrokerVerdict
from pushd.broker.message import Message as BrokerMessage
from pushd.mqtt.codes import LEGAL_CODES, PacketType, QoS, ReasonCode
from pushd.mqtt.packets import Connect
from pushd.plugins.seat import Seat
from pushd.plugins.shapes import (
    ClientInfo,
    Message,
    broker_message,
    client_of,
    login_of,
    message_of,
    online,
)
from pushd.plugins.verdicts import DROP, IGNORE, Allow, Deny, Nonsense

log = Logger()

SPECIAL = "+#/"  # what `auth_plugin_deny_special_chars` keeps away from a plugin's access rules

# Where a plugin fails.
UNAVAILABLE: BrokerVerdict = ReasonCode.SERVER_UNAVAILABLE
REFUSED: BrokerVerdict = ReasonCode.NOT_AUTHORIZED
NOBODY_GETS_IT: tuple[Decision, bool] = (ReasonCode.NOT_AUTHORIZED, True)


def _asking(
    credentials: Credentials, answer: BrokerVerdict | Deferred[BrokerVerdict]
) -> BrokerVerdict | Deferred[BrokerVerdict]:
    """Let the plugin be told if its client leaves; no longer than it is asked, for others come after it."""

    def answered(verdict: BrokerVerdict) -> BrokerVerdict:
        credentials.asking = None
        return verdict

    if isinstance(answer, Deferred):
        credentials.asking = answer
        answer.addCallback(answered)
    return answer


@implementer(IAuthenticator)
class PluginAuthenticator:
    """`Plugin.authenticate` of one plugin."""

    def __init__(self, seat: Seat, listener: str) -> None:
        self._seat = seat
        self._listener = listener

    def authenticate(self, credentials: Credentials) -> BrokerVerdict | Deferred[BrokerVerdict]:
        """Sets ``credentials.username`` if the plugin says who it is. When it fails, nobody comes in."""
        answer = self._seat.ask(
            "authenticate",
            (login_of(credentials, self._listener),),
            partial(_login_verdict, credentials),
            UNAVAILABLE,
        )
        return _asking(credentials, answer)


@implementer(IAuthenticator)
class NamedStrangers:
    """
    Asked when all others have been: who says a name that nobody vouches for does not come in.

    Where there are no plugins, ``allow_anonymous`` lets named strangers in, as in Mosquitto. Where there is
    one, it is there to know names.
    """

    def authenticate(self, credentials: Credentials) -> BrokerVerdict:
        return None if credentials.username is None else ReasonCode.NOT_AUTHORIZED


@implementer(IAuthorizer)
class PluginAuthorizer:
    """`Plugin.authorize` of one plugin."""

    def __init__(self, seat: Seat, listener: str) -> None:
        self._seat = seat
        self._listener = listener

    def authorize(
        self, principal: Principal, access: Access, topic: str
    ) -> BrokerVerdict | Deferred[BrokerVerdict]:
        """Refuses whoever has a special character in the name, and what is to be read and takes its time."""
        if self._seat.loaded.deny_special_chars and _is_special(principal):
            return ReasonCode.NOT_AUTHORIZED
        client = client_of(principal, self._listener)
        answer = self._seat.ask("authorize", (client, access, topic), _verdict, REFUSED)
        if access is Access.READ and isinstance(answer, Deferred):
            answer.cancel()
            self._seat.failed("authorize", Failure(Nonsense("an answer about READ must be given at once")))
            return ReasonCode.NOT_AUTHORIZED
        return answer


def _is_special(principal: Principal) -> bool:
    names = principal.client_id + (principal.username or "")
    return any(character in names for character in SPECIAL)


class HookChain:
    """
    What the plugins of one listener make of `pushd.broker.hooks.Hooks`.

    :param seconds: the broker's, which messages expire by.
    """

    def __init__(self, seats: Sequence[Seat], listener: str, seconds: Callable[[], float]) -> None:
        self._seats = tuple(seats)
        self._listener = listener
        self._seconds = seconds

    def hooks(self) -> Hooks:
        """Those that somebody wants."""
        return Hooks(
            connect=self.connect if self._asked("on_connect") else None,
            disconnect=self.disconnect if self._asked("on_disconnect") else None,
            publish=self.publish if self._asked("on_publish") else None,
            subscribe=self.subscribe if self._asked("on_subscribe") else None,
            unsubscribe=self.unsubscribe if self._asked("on_unsubscribe") else None,
        )

    def _asked(self, method: str) -> list[Seat]:
        return [seat for seat in self._seats if seat.wants(method)]

    # Who may refuse

    def connect(self, credentials: Credentials, packet: Connect) -> BrokerVerdict | Deferred[BrokerVerdict]:
        client = ClientInfo(
            credentials.client_id,
            credentials.username,
            credentials.address,
            self._listener,
            int(packet.version),
        )
        answer = self._judge(iter(self._asked("on_connect")), "on_connect", (client,))
        if isinstance(answer, Deferred):
            return _asking(credentials, answer.addCallback(_connack_code))
        return _connack_code(answer)

    def subscribe(self, client: Client, filter: str, qos: QoS) -> BrokerVerdict | Deferred[BrokerVerdict]:
        arguments = (online(client), filter, int(qos))
        return self._judge(iter(self._asked("on_subscribe")), "on_subscribe", arguments)

    def _judge(
        self, remaining: Iterator[Seat], method: str, arguments: tuple[Any, ...]
    ) -> BrokerVerdict | Deferred[BrokerVerdict]:
        """Ask until somebody has an opinion. Nobody's is consent."""
        for seat in remaining:
            verdict = seat.ask(method, arguments, _opinion, REFUSED)
            if isinstance(verdict, Deferred):
                return verdict.addCallback(self._judged, remaining, method, arguments)
            if verdict is not None:
                return verdict
        return ReasonCode.SUCCESS

    def _judged(
        self, verdict: BrokerVerdict, remaining: Iterator[Seat], method: str, arguments: tuple[Any, ...]
    ) -> BrokerVerdict | Deferred[BrokerVerdict]:
        return self._judge(remaining, method, arguments) if verdict is None else verdict

    # Who may change what is published

    def publish(self, principal: Principal, message: BrokerMessage) -> Decision | Deferred[Decision]:
        client = client_of(principal, self._listener)
        return self._pass(iter(self._asked("on_publish")), client, message)

    def _pass(
        self, remaining: Iterator[Seat], client: ClientInfo, message: BrokerMessage
    ) -> Decision | Deferred[Decision]:
        for seat in remaining:
            now = self._seconds()
            seen = message_of(message, now)
            read = partial(_decision, message, seen, now)
            answer = seat.ask("on_publish", (client, seen), read, NOBODY_GETS_IT)
            if isinstance(answer, Deferred):
                return answer.addCallback(self._passed, remaining, client)
            decision, is_final = answer
            if is_final or not isinstance(decision, BrokerMessage):
                return decision
            message = decision
        return message

    def _passed(
        self, answer: tuple[Decision, bool], remaining: Iterator[Seat], client: ClientInfo
    ) -> Decision | Deferred[Decision]:
        decision, is_final = answer
        if is_final or not isinstance(decision, BrokerMessage):
            return decision
        return self._pass(remaining, client, decision)

    # Who is only told

    def disconnect(self, client: Client) -> None:
        self._tell("on_disconnect", (online(client),))

    def unsubscribe(self, client: Client, filter: str) -> None:
        self._tell("on_unsubscribe", (online(client), filter))

    def _tell(self, method: str, arguments: tuple[Any, ...]) -> None:
        for seat in self._asked(method):
            seat.ask(method, arguments, lambda _: None, None)


# What answers mean. Whatever is not listed is nonsense.


def _verdict(answer: Any) -> BrokerVerdict:
    if isinstance(answer, Allow):
        return ReasonCode.SUCCESS
    if isinstance(answer, Deny):
        return answer.code
    if answer is IGNORE:
        return None
    raise Nonsense(f"{answer!r} is no verdict")


def _opinion(answer: Any) -> BrokerVerdict:
    return None if answer is None else _verdict(answer)


def _login_verdict(credentials: Credentials, answer: Any) -> BrokerVerdict:
    if isinstance(answer, Allow) and answer.username is not None:
        credentials.username = answer.username
    return _connack_code(_verdict(answer))


def _connack_code(code: BrokerVerdict) -> BrokerVerdict:
    """A refusal that a CONNACK may carry."""
    return None if code is None else LEGAL_CODES[PacketType.CONNACK].get(code, ReasonCode.NOT_AUTHORIZED)


def _decision(message: BrokerMessage, seen: Message, now: float, answer: Any) -> tuple[Decision, bool]:
    """
    :param seen: `message` as the plugin was shown it.
    :return: what becomes of it, and whether nobody else is asked.
    """
    if answer is None or answer is IGNORE or answer is seen:
        return message, False
    if isinstance(answer, Message):
        return broker_message(answer, now), False
    if answer is DROP:
        return ReasonCode.SUCCESS, True
    if isinstance(answer, Allow):
        return message, True
    if isinstance(answer, Deny):
        return answer.code, True
    raise Nonsense(f"{answer!r} is neither a message nor a verdict")
