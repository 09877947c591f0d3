"""`pushd.broker.exchange`: methods of authentication that take more than one packet each way (v5 §4.12)."""

from __future__ import annotations

from dataclasses import dataclass, field

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from pushd.broker.exchange import Exchange
from pushd.broker.interfaces import AuthStep, Credentials, IAuthExchange, IAuthMethod
from pushd.mqtt.codes import PropertyId, Version
from pushd.mqtt.codes import ReasonCode as R
from pushd.mqtt.errors import ProtocolError
from pushd.mqtt.packets import Auth, Connect, Disconnect, Packet, Properties, Publish
from tests.driver import Peer, Rig

METHOD, DATA = PropertyId.AUTHENTICATION_METHOD, PropertyId.AUTHENTICATION_DATA

Steps = list["AuthStep | Deferred[AuthStep]"]


@implementer(IAuthExchange)
@dataclass
class Recital:
    """Says what it was given, one step after the other."""

    steps: Steps
    heard: list[bytes | None]

    def step(self, data: bytes | None) -> AuthStep | Deferred[AuthStep]:
        self.heard.append(data)
        return self.steps.pop(0)


@implementer(IAuthMethod)
@dataclass
class Reciter:
    """A method whose exchanges follow a script; each run goes on where the last one ended."""

    name: str = "RECITE"
    steps: Steps = field(default_factory=list)
    heard: list[bytes | None] = field(default_factory=list)
    begun: list[Credentials] = field(default_factory=list)

    def begin(self, credentials: Credentials) -> Recital:
        self.begun.append(credentials)
        return Recital(self.steps, self.heard)


verifyObject(IAuthMethod, Reciter())
verifyObject(IAuthExchange, Recital([], []))

MORE = AuthStep(R.CONTINUE_AUTHENTICATION, b"who?")
ADA = AuthStep(R.SUCCESS, b"welcome", "ada")
NO = AuthStep(R.NOT_AUTHORIZED)


def auth(code: R, data: bytes | None = None, method: str = "RECITE") -> Auth:
    properties: Properties = {METHOD: method}
    if data is not None:
        properties[DATA] = data
    return Auth(code, properties)


class ExchangeTests(SynchronousTestCase):
    """One run"""

    def test_steps(self) -> None:
        """The method sees the data, its answer names the method; it is over when the method says so."""
        method = Reciter(steps=[MORE, ADA])
        exchange = Exchange(method, Credentials("c", None, None))
        self.assertIs(MORE, exchange.step({METHOD: "RECITE"}))
        self.assertEqual(auth(R.CONTINUE_AUTHENTICATION, b"who?"), exchange.answer(MORE))
        self.assertFalse(exchange.finished)
        self.assertIs(ADA, exchange.step({METHOD: "RECITE", DATA: b"ada"}))
        self.assertEqual(auth(R.SUCCESS, b"welcome"), exchange.answer(ADA))
        self.assertTrue(exchange.finished)
        self.assertEqual([None, b"ada"], method.heard)

    def test_another_method(self) -> None:
        """The method does not change in between: [MQTT-4.12.0-5]."""
        exchange = Exchange(Reciter(), Credentials("c", None, None))
        for properties in ({METHOD: "OTHER"}, {}):
            error = self.assertRaises(ProtocolError, exchange.step, properties)
            self.assertIs(R.PROTOCOL_ERROR, error.code)


class ConnectingCase(SynchronousTestCase):
    """A broker that knows RECITE."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.method = Reciter()
        self.rig.policy.auth_methods = {self.method.name: self.method}

    def come(self, *steps: AuthStep | Deferred[AuthStep], method: str = "RECITE") -> Peer:
        """A client that sent its CONNECT; the method will answer so."""
        self.method.steps += steps
        peer = self.rig.open()
        peer.send(Connect(Version.V5, "c", properties={METHOD: method, DATA: b"hello"}))
        return peer

    def expect(self, peer: Peer, *packets: Packet) -> None:
        self.assertEqual(list(packets), peer.received())

    def code(self, peer: Peer) -> R | None:
        """Of the CONNACK."""
        return None if peer.connack is None else peer.connack.code


class ConnectingTests(ConnectingCase):
    """From CONNECT to CONNACK"""

    def test_in_one_step(self) -> None:
        """The method may know enough at once; then CONNACK has its last word, and it says who this is."""
        peer = self.come(ADA)
        assert peer.connack is not None
        self.assertEqual("RECITE", peer.connack.properties[METHOD])
        self.assertEqual(b"welcome", peer.connack.properties[DATA])
        self.assertEqual("ada", self.rig.broker.sessions["c"].username)
        self.assertEqual([b"hello"], self.method.heard)

    def test_challenged(self) -> None:
        """Or ask on, as often as it likes."""
        peer = self.come(MORE, MORE, ADA)
        for _ in range(2):
            self.expect(peer, auth(R.CONTINUE_AUTHENTICATION, b"who?"))
            peer.send(auth(R.CONTINUE_AUTHENTICATION, b"ada"))
        self.assertIs(R.SUCCESS, self.code(peer))
        self.assertEqual([b"hello", b"ada", b"ada"], self.method.heard)

    def test_refused(self) -> None:
        """At the first step or at a later one."""
        for steps in ((NO,), (MORE, NO)):
            peer = self.come(*steps)
            if len(steps) == 2:
                peer.received()
                peer.send(auth(R.CONTINUE_AUTHENTICATION))
            self.assertIs(R.NOT_AUTHORIZED, self.code(peer))
            self.assertTrue(peer.closed)
        self.assertEqual(0, self.rig.broker.online)

    def test_unknown_method(self) -> None:
        """0x8C: [MQTT-4.12.0-1]."""
        self.assertIs(R.BAD_AUTHENTICATION_METHOD, self.code(self.come(method="OTHER")))

    def test_step_that_takes_its_time(self) -> None:
        """Nothing more is read until it is there."""
        later: Deferred[AuthStep] = Deferred()
        peer = self.come(later)
        peer.send(Publish("t", b"x"))
        self.assertIsNone(self.code(peer))
        later.callback(ADA)
        self.rig.turn()
        peer.received()
        self.assertIs(R.SUCCESS, self.code(peer))
        self.assertEqual(1, self.rig.broker.counters.publish_received)

    def test_step_that_fails(self) -> None:
        """A method that breaks is no verdict: the server is unavailable."""
        later: Deferred[AuthStep] = Deferred()
        peer = self.come(later)
        later.errback(RuntimeError("out of order"))
        self.rig.turn()
        peer.received()
        self.assertIs(R.SERVER_UNAVAILABLE, self.code(peer))
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))

    def test_gone_while_challenged(self) -> None:
        """A client may give up; one that does not answer is cut off by connect_timeout."""
        self.come(MORE).drop()
        silent = self.come(MORE)
        self.rig.clock.pump([0.25] * 60)
        self.assertTrue(silent.closed)


class AgainTests(ConnectingCase):
    """Re-authentication (v5 §4.12.1)"""

    def setUp(self) -> None:
        super().setUp()
        self.peer = self.come(ADA)

    def again(self, *steps: AuthStep | Deferred[AuthStep]) -> None:
        self.method.steps += steps
        self.peer.send(auth(R.RE_AUTHENTICATE, b"again"))

    def test_success(self) -> None:
        """AUTH with Success ends it, and it can be done once more."""
        for _ in range(2):
            self.again(MORE, ADA)
            self.expect(self.peer, auth(R.CONTINUE_AUTHENTICATION, b"who?"))
            self.peer.send(auth(R.CONTINUE_AUTHENTICATION, b"ada"))
            self.expect(self.peer, auth(R.SUCCESS, b"welcome"))
        self.assertEqual(["c"] * 3, [credentials.client_id for credentials in self.method.begun])

    def told(self) -> R:
        """Why the connection ended."""
        (packet,) = self.peer.received()
        assert isinstance(packet, Disconnect) and self.peer.closed
        return packet.code

    def test_refused(self) -> None:
        """The connection ends: [MQTT-4.12.1-2]."""
        self.again(NO)
        self.assertIs(R.NOT_AUTHORIZED, self.told())

    def test_refused_with_a_code_of_connack(self) -> None:
        """DISCONNECT has fewer codes than CONNACK: what it cannot say becomes 0x87."""
        self.again(AuthStep(R.BAD_USER_NAME_OR_PASSWORD))
        self.assertIs(R.NOT_AUTHORIZED, self.told())

    def test_somebody_else(self) -> None:
        """A session does not change hands."""
        self.again(AuthStep(R.SUCCESS, None, "eve"))
        self.assertIs(R.NOT_AUTHORIZED, self.told())

    def test_answer_without_a_question(self) -> None:
        """Neither after CONNACK nor after a Success is there anything to go on with."""
        self.peer.send(auth(R.CONTINUE_AUTHENTICATION))
        self.assertIs(R.PROTOCOL_ERROR, self.told())

    def test_method_taken_away(self) -> None:
        """A reload may take a method away; who has come in by it cannot use it again."""
        self.rig.policy.auth_methods = {}
        self.peer.send(auth(R.RE_AUTHENTICATE))
        self.assertIs(R.BAD_AUTHENTICATION_METHOD, self.told())

    def test_broken_method(self) -> None:
        """A step that fails ends the connection."""
        later: Deferred[AuthStep] = Deferred()
        self.again(later)
        later.errback(RuntimeError("out of order"))
        self.rig.turn()
        self.assertIs(R.UNSPECIFIED_ERROR, self.told())
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
