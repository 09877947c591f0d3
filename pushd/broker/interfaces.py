"""
What the broker asks of others: who is this client, may it do that, remember this.

The rooms around the broker (`pushd.auth`, `pushd.storage`, `pushd.rules`, third-party plugins) provide these;
`pushd.service` hands them in. A verdict is three-valued:

- ``ReasonCode.SUCCESS``: allowed;
- another `ReasonCode`: refused, and this is what the client is told;
- ``None``: no opinion, ask the next one in the chain.

Each may also come later, as a Deferred of the same; the connection's reading is paused meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from pushd.mqtt.codes import ReasonCode

if TYPE_CHECKING:
    from pushd.broker.admission import Admission
    from pushd.broker.client import Client
    from pushd.broker.policy import Policy
    from pushd.broker.records import Kept, KeptQuery, Record, SavedMessages, SavedState
    from pushd.broker.session import Session
    from pushd.broker.tap import Tap
    from pushd.mqtt.packets import Auth

Verdict: TypeAlias = "ReasonCode | None"


class Access(Enum):
    """What a client wants to do with a topic."""

    READ = "read"  # a message of this topic name is about to be delivered to it
    WRITE = "write"  # it publishes to this topic name
    SUBSCRIBE = "subscribe"  # it subscribes to this topic filter


class Principal(Protocol):
    """Who acts, as far as access rules care. A session is one; so is a caller of the gateway."""

    @property
    def client_id(self) -> str:
        """Empty for a caller that is no MQTT client."""

    @property
    def username(self) -> str | None:
        """``None`` for an anonymous client."""


class PeerCertificate(Protocol):
    """The TLS certificate a client showed: already verified against the listener's CAs."""

    @property
    def common_name(self) -> str | None:
        """The subject's CN, or ``None`` if there is none that is text without control characters."""

    @property
    def subject(self) -> str:
        """The whole subject as an RFC 2253 string."""


@dataclass(slots=True)
class Credentials:
    """
    What a client shows at CONNECT, or a caller of the gateway in its request.

    An authenticator that knows better (a TLS certificate's identity) sets `username`. One that refuses
    without having looked, after too many failures, sets `retry_after_s`. One that may be told that nobody
    waits for its answer any more sets `asking` to the Deferred that it answers with.
    """

    client_id: str
    username: str | None
    password: bytes | None
    address: str = ""  # of the peer, for log lines and limits
    certificate: PeerCertificate | None = None
    retry_after_s: float = 0.0  # for callers who can be told: HTTP's, and not MQTT's
    asking: Deferred[Any] | None = None

    def abandon(self) -> None:
        """Whoever showed them is gone."""
        if self.asking is not None:
            self.asking.cancel()


@dataclass(frozen=True, slots=True)
class AuthStep:
    """What a method of enhanced authentication answers (v5 §4.12)."""

    code: ReasonCode  # CONTINUE_AUTHENTICATION, SUCCESS, or why not
    data: bytes | None = None  # for the client
    username: str | None = None  # with SUCCESS: who it is


class IAuthExchange(Interface):
    """One client's run of a method."""

    def step(data: bytes | None) -> AuthStep | Deferred[AuthStep]:
        """
        :param data: the client's Authentication Data; ``None`` if its packet had none.
        """


class IAuthMethod(Interface):
    """A method of enhanced authentication, such as SCRAM-SHA-256."""

    name: str = Attribute("The Authentication Method, as it stands in the packets.")

    def begin(credentials: Credentials) -> IAuthExchange:
        """Start with a client's CONNECT, or with the AUTH that asks for re-authentication."""


class IAuthenticator(Interface):
    """Who are you?"""

    def authenticate(credentials: Credentials) -> Verdict | Deferred[Verdict]:
        """
        :return: a verdict, or a Deferred of one. It must not block: hashing goes to a thread.
        """


class IAuthorizer(Interface):
    """May you?"""

    def authorize(principal: Principal, access: Access, topic: str) -> Verdict | Deferred[Verdict]:
        """
        :param topic: a topic name for READ and WRITE, a topic filter for SUBSCRIBE; mount point included.
        :return: a verdict. READ is asked while a route is built and must be answered at once;
            the others may be answered later. ``SERVER_UNAVAILABLE`` to READ is for who cannot say at the
            moment, and will have the routes built anew when it can (`Broker.access_changed`): then messages
            are queued for clients that are away, for they are looked at again before they are sent.
        """


class ISessionCompanion(Interface):
    """
    Has at hand what is asked about the users of sessions too often to wait for it, as long as they last.
    Taps are sessions here, but for them nothing is prepared.
    """

    def prepare(username: str | None, policy: Policy) -> Deferred[None] | None:
        """
        A session of this user is about to open.

        :return: ``None`` if everything is at hand, else fires when it is, or fails: then the client is told
            ``SERVER_UNAVAILABLE``. The session opens in that turn, or this is asked again.
        """

    def prepare_sender(username: str | None) -> Deferred[None] | None:
        """
        Routing rules are about to be asked where a message of this user goes, who perhaps has no session.

        :return: ``None`` if everything is at hand, else fires when it is, or fails. The rules are asked in
            that turn.
        """

    def opened(session: Session | Tap) -> None:
        """A session is there, or was taken up again, perhaps by another user or by another listener."""

    def ended(session: Session | Tap) -> None:
        """A session is no more; one that was never `opened`, too."""


class ISubscriber(Interface):
    """Makes subscriptions that no client asks for; see `pushd.broker.automatic` for what they are."""

    def came(session: Session) -> Deferred[None] | None:
        """
        A client has been admitted.

        :return: ``None`` when all its automatic subscriptions are there, else fires when they are, or those
            that can be had in time. Never fails.
        """

    def forget(session: Session) -> None:
        """A session is over, or about to be taken up again. It may be unknown."""


class IRoutingRules(Interface):
    """Where else messages go than to the topic that they were published to."""

    def concern(topic: str) -> bool:
        """
        :param topic: a topic name, mount point included.
        :return: whether anything but `topic` itself may ever come out of `destinations`. Asked while a route
            is built, and remembered with it.
        """

    def destinations(topic: str, sender: Principal | None) -> tuple[str, ...]:
        """
        :param topic: what a message was published to.
        :param sender: who published it; ``None`` for a message that is nobody's.
        :return: the topic names that it is delivered at, each once; empty if nobody is to get it.
        """


class IStore(Interface):
    """
    Remembers what must survive. The broker decides in memory and tells the store, as an ordered journal.

    PUBACK, PUBREC, SUBACK, UNSUBACK and a persistent session's CONNACK leave after the barrier that
    follows their records; so does a PUBLISH whose packet identifier was recorded.
    """

    pending: bool = Attribute("Whether anything that was recorded is not durable yet.")
    failing: str | None = Attribute("Why nothing becomes durable at the moment; None while all is well.")

    def load() -> SavedState | Deferred[SavedState]:
        """
        What was durable when the last process ended, but for the messages of sessions: a million of them
        shall neither delay the start nor fill the memory. Called once, before anything is recorded.
        """

    def load_messages(client_id: str) -> SavedMessages | Deferred[SavedMessages]:
        """
        The messages of one persistent session, by all that was recorded before this call, durable or not
        (so it may take as long as a barrier). What is recorded of them after the call may be in it or not.

        The numbers of `queued` have no gaps: in the place of a message that cannot be read stands one that
        has expired. The Deferred fails with `pushd.storage.errors.StoreError` if nothing can be read at all.
        """

    def find_kept(query: KeptQuery) -> list[Kept] | Deferred[list[Kept]]:
        """
        What the archive has, in the order of its numbers, by all that was recorded before this call. What
        comes is durable when it comes. Fails as `load_messages` does.
        """

    def kept_number(id: str) -> int | Deferred[int | None] | None:
        """The number of what the archive has under this id, the lowest if it is several; or ``None``."""

    def record(record: Record) -> None:
        """Append one record. Cheap, never blocks, never fails."""

    def barrier() -> Deferred[None]:
        """A Deferred that fires when everything recorded before is durable."""

    def close() -> Deferred[None]:
        """Make everything durable and let go of files."""


class IConnection(Interface):
    """The network side of a client, as the broker sees it."""

    address: str = Attribute("Host and port of the peer, for log lines.")
    is_open: bool = Attribute("Whether it has not ended, nor begun to.")
    unsent_bytes: int = Attribute("How much was written that the peer has not taken, as far as we know.")
    unsent_packets: int = Attribute("How many packets these bytes are.")

    def accept(client: Client, keep_alive_s: float) -> None:
        """The CONNECT is accepted: from now on packets go to `client`, which must be heard in time."""

    def challenge(admission: Admission, packet: Auth) -> None:
        """Send this AUTH before a CONNECT is decided; the client's goes to `Admission.go_on`."""

    def refuse(code: ReasonCode, cause: str) -> None:
        """The CONNECT is not: answer it so, and close. `cause` is for the log."""

    def write(data: bytes) -> None:
        """Send these bytes now, or as soon as the peer takes them."""

    def close(code: ReasonCode, cause: str = "") -> None:
        """
        End the connection; a version 5 peer is sent DISCONNECT with `code` first, and with `cause` as its
        Reason String. `ReasonCode.SUCCESS` closes without a word.
        """

    def pause() -> None:
        """Handle no further packet before `resume`, which is due as often as this was called."""

    def resume() -> None:
        """Go on with what has come meanwhile."""
