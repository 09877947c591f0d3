"""`pushd.auth.scram`: the RFC's own example, what must not get in, and the whole way over a broker."""

from __future__ import annotations

import base64
from itertools import count
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from pushd.auth.failures import BACKED_OFF, FAILED
from pushd.auth.password_file import PasswordFile
from pushd.auth.password_hash import (
    DEFAULT_ITERATIONS,
    SALT_BYTES,
    PasswordHash,
    make_pbkdf2,
    make_scram,
    parse_hash,
)
from pushd.auth.scram import MAX_MESSAGE_BYTES, ScramExchange, ScramMethod
from pushd.broker.interfaces import AuthStep, Credentials, IAuthExchange, IAuthMethod
from pushd.mqtt.codes import PropertyId, ReasonCode, Version
from pushd.mqtt.packets import Auth, Connack, Connect, Disconnect, Packet, Properties, Publish
from tests.auth.logins import Guarded
from tests.auth.scram_client import ScramClient
from tests.driver import Peer, Rig

# RFC 7677 §3: user "user", password "pencil".
EXAMPLE_HASH = parse_hash(
    "$scram-sha-256$4096$W22ZaJ0SNY7soEsUEjb6gQ==$"
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=$wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)
EXAMPLE_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
EXAMPLE = [
    b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
]

REFUSED = AuthStep(ReasonCode.NOT_AUTHORIZED)

USERS: dict[str, PasswordHash] = {
    "anna": make_scram(b"secret", 2),
    "bert, jr=1": make_scram("größe".encode(), 3),
    "old": make_pbkdf2(b"secret", 1),
    "user": EXAMPLE_HASH,
}

MALFORMED_FIRST = [
    None,
    b"",
    b"n",
    b"n,,",
    b"n,,n=anna",
    b"n,,n=anna,r=",
    b"n,,n=,r=abc",
    b"n,,r=abc,n=anna",
    b",,n=anna,r=abc",
    b"x,,n=anna,r=abc",
    b"p=tls-unique,,n=anna,r=abc",  # channel binding, which we do not have
    b"n,n=anna,r=abc",
    b"n,a=,n=anna,r=abc",
    b"n,a=bert,n=anna,r=abc",  # anna does not act for others
    b"n,a=\xc2\xad,n=anna,r=abc",
    b"n,,n=an=na,r=abc",
    b"n,,n=an=2c,r=abc",  # the escapes have capitals
    b"n,,n=an=41,r=abc",
    b"n,,n=an\0na,r=abc",
    b"n,,n=anna,r=a c",
    b"n,,n=anna,r=a\xc3\xa4c",
    b"n,,n=anna,r=abc\n",
    b"n,,n=anna,r=abc,",
    b"n,,n=anna,r=abc,x",
    b"n,,n=anna,r=abc,x=",
    b"n,,n=anna,r=abc,m=1",  # an extension that one must know
    b"n,,m=1,n=anna,r=abc",
    b"n,,n=\xff,r=abc",  # not UTF-8
    b"n,,n=\xed\xa0\x80,r=abc",
    b"n,,n=\xc2\xad,r=abc",  # nothing is left when it is prepared
    b"n,,n=\x07,r=abc",
    b"n,,n=anna,r=" + b"a" * MAX_MESSAGE_BYTES,
]


def method() -> ScramMethod:
    """One that knows the users, and minds no failures."""
    return ScramMethod(PasswordFile(USERS), Guarded(limit=0))


class ScramTestCase(SynchronousTestCase):
    """A method with a few users."""

    def setUp(self) -> None:
        self.method = method()

    def begin(self, username: str | None = None) -> ScramExchange:
        """An exchange with a client that has shown this name in its CONNECT."""
        return self.method.begin(Credentials("id", username, None))

    def ask(self, client: ScramClient, username: str | None = None) -> AuthStep:
        """A whole exchange, from which the client goes away satisfied or refused."""
        exchange = self.begin(username)
        step = exchange.step(client.first())
        if step == REFUSED:
            return step
        self.assertIs(step.code, ReasonCode.CONTINUE_AUTHENTICATION)
        last = exchange.step(client.final(step.data))
        self.assertEqual(client.trusts(last.data), last.code is ReasonCode.SUCCESS)
        return last

    def half_way(self, client: ScramClient) -> tuple[ScramExchange, bytes]:
        """An exchange that waits for the client's second message, and that message."""
        exchange = self.begin()
        return exchange, client.final(exchange.step(client.first()).data)


class ExampleTests(ScramTestCase):
    """RFC 7677 §3"""

    def test_example_of_the_rfc(self) -> None:
        """Byte for byte, in both directions."""
        self.method.make_nonce = lambda: EXAMPLE_NONCE
        exchange = self.begin()
        step = exchange.step(EXAMPLE[0])
        self.assertEqual(step, AuthStep(ReasonCode.CONTINUE_AUTHENTICATION, EXAMPLE[1]))
        self.assertEqual(exchange.step(EXAMPLE[2]), AuthStep(ReasonCode.SUCCESS, EXAMPLE[3], "user"))

    def test_it_keeps_the_interfaces(self) -> None:
        """The broker may rely on both."""
        verifyObject(IAuthMethod, self.method)
        verifyObject(IAuthExchange, self.begin())


class RightPasswordTests(ScramTestCase):
    """Who gets in."""

    def test_user_gets_in_by_name(self) -> None:
        """The broker is told who it is, and the client that the server knows it, too."""
        step = self.ask(ScramClient("anna", "secret"))
        self.assertEqual((step.code, step.username), (ReasonCode.SUCCESS, "anna"))

    def test_escapes_in_a_name(self) -> None:
        """A name may have a comma and an equals sign."""
        self.assertEqual(self.ask(ScramClient("bert=2C jr=3D1", "größe")).username, "bert, jr=1")

    def test_name_is_prepared(self) -> None:
        """A soft hyphen in the name makes nobody else."""
        self.assertEqual(self.ask(ScramClient("an\u00adna", "secret")).username, "anna")

    def test_client_that_would_have_liked_channel_binding(self) -> None:
        """``y`` is fine: we offer none."""
        self.assertIs(self.ask(ScramClient("anna", "secret", header="y,,")).code, ReasonCode.SUCCESS)

    def test_user_may_act_for_themselves(self) -> None:
        """Some clients say who they are twice."""
        self.assertIs(self.ask(ScramClient("anna", "secret", header="n,a=anna,")).code, ReasonCode.SUCCESS)

    def test_unknown_extensions_are_ignored(self) -> None:
        """But they are part of what is proved (RFC 5802 §5.1)."""
        client = ScramClient("anna", "secret", nonce="abc")
        client._bare += ",x=1,Y=two=2"
        self.assertIs(self.ask(client).code, ReasonCode.SUCCESS)

    def test_user_name_of_the_connect_may_be_there(self) -> None:
        """If it is the same, or empty, which is none."""
        for username in ("anna", "", None):
            self.assertIs(self.ask(ScramClient("anna", "secret"), username).code, ReasonCode.SUCCESS)

    def test_nonce_is_fresh(self) -> None:
        """What was overheard is of no use another time."""
        exchange, final = self.half_way(ScramClient("anna", "secret"))
        other, _ = self.half_way(ScramClient("anna", "secret"))
        self.assertEqual(other.step(final), REFUSED)
        self.assertIs(exchange.step(final).code, ReasonCode.SUCCESS)


class WrongTests(ScramTestCase):
    """Who does not."""

    def test_wrong_password(self) -> None:
        """It shows at the end, and the server does not prove itself then."""
        self.assertEqual(self.ask(ScramClient("anna", "Secret")), REFUSED)

    def test_other_name_than_in_the_connect(self) -> None:
        """One client is one user."""
        self.assertEqual(self.ask(ScramClient("anna", "secret"), "user"), REFUSED)

    def test_user_with_another_hash(self) -> None:
        """Fails with the right password as with a wrong one: the hash is of no use for SCRAM."""
        self.assertEqual(self.ask(ScramClient("old", "secret")), REFUSED)

    def test_spoilt_proof(self) -> None:
        """One bit is enough."""
        client = ScramClient("anna", "secret")
        exchange = self.begin()
        final = client.final(exchange.step(client.first()).data, spoil=1)
        self.assertEqual(exchange.step(final), REFUSED)

    def test_other_nonce(self) -> None:
        """The client has to repeat both halves."""
        for old, new in ((b",r=r", b",r=s"), (b",p=", b"x,p=")):
            exchange, final = self.half_way(ScramClient("anna", "secret"))
            self.assertEqual(exchange.step(final.replace(old, new, 1)), REFUSED)

    def test_other_header(self) -> None:
        """Whoever takes a "y" out of the first message on its way is found out by the second."""
        for header in ("y,,", "n,a=anna,", "p=tls-unique,,"):
            client = ScramClient("anna", "secret")
            client.binding = base64.b64encode(header.encode()).decode()
            exchange, final = self.half_way(client)
            self.assertEqual(exchange.step(final), REFUSED)

    def test_malformed_first_message(self) -> None:
        """Is not authorized, and nothing of it is told the sender."""
        for message in MALFORMED_FIRST:
            self.assertEqual(self.begin().step(message), REFUSED, message)

    def test_malformed_proof(self) -> None:
        """Too short, too long, or no base64."""
        for proof in (b"", b",p=", b",p=AAAA", b",p=" + b"A" * 44, b",p=\xc3\xa4", b",p=AA A", b",p=A"):
            exchange, final = self.half_way(ScramClient("anna", "secret"))
            without_proof = final[: final.index(b",p=")]
            self.assertEqual(exchange.step(without_proof + proof), REFUSED, proof)

    def test_failed_exchange_stays_failed(self) -> None:
        """There is one attempt for each exchange; a good message after a bad one is of no use."""
        exchange, final = self.half_way(ScramClient("anna", "secret"))
        self.assertEqual(exchange.step(b"c=biws"), REFUSED)
        self.assertEqual(exchange.step(final), REFUSED)

    def test_finished_exchange_is_over(self) -> None:
        """Nor is it good for a second time."""
        exchange, final = self.half_way(ScramClient("anna", "secret"))
        self.assertIs(exchange.step(final).code, ReasonCode.SUCCESS)
        self.assertEqual(exchange.step(final), REFUSED)
        self.assertEqual(exchange.step(EXAMPLE[0]), REFUSED)

    def test_truncated_messages(self) -> None:
        """Wherever a message is cut, the answer is the same."""
        client = ScramClient("anna", "secret")
        _, final = self.half_way(client)
        for length in range(len(b"n,,n=anna,r=")):
            self.assertEqual(self.begin().step(client.first()[:length]), REFUSED)
        for length in range(len(final)):
            exchange, final = self.half_way(client)
            self.assertEqual(exchange.step(final[:length]), REFUSED)

    @given(st.integers(0), st.integers(1, 255), st.booleans())
    def test_any_changed_byte_is_noticed(self, at: int, change: int, in_first: bool) -> None:
        """Whoever changes one on its way, in either message, keeps the client out."""
        client = ScramClient("anna", "secret")
        exchange = method().begin(Credentials("id", None, None))
        first = client.first()
        step = exchange.step(changed(first, at, change) if in_first else first)
        if step != REFUSED and b"r=" + client.nonce.encode() in (step.data or b""):
            final = client.final(step.data)
            step = exchange.step(final if in_first else changed(final, at, change))
            self.assertEqual(step, REFUSED)

    @given(st.binary(max_size=60) | st.text(alphabet="ny,=a2C3Drcpbiws").map(str.encode), st.binary())
    def test_any_bytes_are_answered(self, first: bytes, final: bytes) -> None:
        """No message raises an exception, at either place."""
        exchange = method().begin(Credentials("id", None, None))
        if exchange.step(first) == REFUSED:
            exchange = method().begin(Credentials("id", None, None))
            exchange.step(EXAMPLE[0])
        self.assertEqual(exchange.step(final), REFUSED)


def changed(message: bytes, at: int, change: int) -> bytes:
    """The message with other bits in one byte."""
    at %= len(message)
    return message[:at] + bytes([message[at] ^ change]) + message[at + 1 :]


class StandInTests(ScramTestCase):
    """Names that are not there look like those that are (RFC 5802 §9)."""

    def challenge(self, username: str) -> dict[str, str]:
        """The fields of the server's first message for this name."""
        data = self.begin().step(ScramClient(username, "").first()).data
        assert data is not None
        return dict(field.split("=", 1) for field in data.decode().split(","))

    def test_unknown_user_is_refused_at_the_end(self) -> None:
        """As somebody with a wrong password is."""
        self.assertEqual(self.ask(ScramClient("nobody", "secret")), REFUSED)

    def test_salt_of_a_name_is_always_the_same(self) -> None:
        """In this process, through whichever listener; and no two names share one."""
        salts = {self.challenge(name)["s"] for name in ("nobody", "nobody", "old", "old", "anna")}
        self.assertEqual(len(salts), 3)
        before = self.challenge("nobody")
        self.method = method()
        self.assertEqual(self.challenge("nobody")["s"], before["s"])

    def test_salt_and_rounds_are_as_long_as_somebodys(self) -> None:
        """Whatever tool has written the file."""
        seen = {self.challenge(f"nobody{number}")["i"] for number in range(40)}
        self.assertEqual(seen, {"2", "3", "4096"})
        self.method.replace(PasswordFile({"user": EXAMPLE_HASH}))
        self.assertEqual(len(base64.b64decode(self.challenge("nobody")["s"])), 16)

    def test_nobody_to_stand_in_for(self) -> None:
        """Without any user of SCRAM, or any file, what pushctl would have made is claimed."""
        for password_file in (PasswordFile({"old": USERS["old"]}), PasswordFile({}), None):
            self.method.replace(password_file)
            claimed = self.challenge("old")
            self.assertEqual(claimed["i"], str(DEFAULT_ITERATIONS))
            self.assertEqual(len(base64.b64decode(claimed["s"])), SALT_BYTES)
            self.assertEqual(self.ask(ScramClient("old", "secret")), REFUSED)


class ReloadTests(ScramTestCase):
    """The password file is replaced while an exchange is under way."""

    def test_user_who_was_deleted_does_not_slip_in(self) -> None:
        """Nor does the old password."""
        for users in ({}, {"anna": make_scram(b"other", 2)}, {"anna": USERS["old"]}):
            self.method.replace(PasswordFile(USERS))
            exchange, final = self.half_way(ScramClient("anna", "secret"))
            self.method.replace(PasswordFile(users))
            self.assertEqual(exchange.step(final), REFUSED)

    def test_others_are_not_disturbed(self) -> None:
        """Who is still there with the same password gets in."""
        exchange, final = self.half_way(ScramClient("anna", "secret"))
        self.method.replace(PasswordFile({"anna": USERS["anna"]}))
        self.assertIs(exchange.step(final).code, ReasonCode.SUCCESS)


def said(data: bytes | None, method: str = ScramMethod.name) -> Properties:
    """The properties that carry a message."""
    properties: Properties = {PropertyId.AUTHENTICATION_METHOD: method}
    if data is not None:
        properties[PropertyId.AUTHENTICATION_DATA] = data
    return properties


def go_on(data: bytes | None, **more: str) -> Auth:
    """AUTH 0x18"""
    return Auth(ReasonCode.CONTINUE_AUTHENTICATION, said(data, **more))


def again(data: bytes | None, **more: str) -> Auth:
    """AUTH 0x19"""
    return Auth(ReasonCode.RE_AUTHENTICATE, said(data, **more))


def data_of(packet: Packet | None) -> bytes | None:
    """A packet's Authentication Data; its method is checked, as each packet must name it."""
    assert isinstance(packet, Auth | Connack)
    assert packet.properties[PropertyId.AUTHENTICATION_METHOD] == ScramMethod.name
    return cast("bytes | None", packet.properties.get(PropertyId.AUTHENTICATION_DATA))


class BrokerTestCase(SynchronousTestCase):
    """A broker whose listener offers SCRAM."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.method = method()
        self.rig.policy.auth_methods = {self.method.name: self.method}
        self._ids = (f"client{number}" for number in count())

    def challenged(self, client: ScramClient, **connect: str) -> tuple[Peer, bytes]:
        """A connection that was sent a challenge, and the right answer to it."""
        peer = self.connect(said(client.first()), **connect)
        (challenge,) = peer.received()
        assert isinstance(challenge, Auth)
        self.assertIs(challenge.code, ReasonCode.CONTINUE_AUTHENTICATION)
        return peer, client.final(data_of(challenge))

    def connect(self, properties: Properties, username: str | None = None) -> Peer:
        """A connection that has sent a CONNECT with these properties."""
        peer = self.rig.open()
        peer.send(Connect(Version.V5, next(self._ids), username=username, properties=properties))
        return peer

    def online(self, name: str = "anna", password: str = "secret") -> Peer:
        """A client that came in by SCRAM."""
        peer, final = self.challenged(ScramClient(name, password))
        peer.send(go_on(final))
        assert peer.connack is not None and peer.connack.code is ReasonCode.SUCCESS
        return peer

    def refused(self, peer: Peer, code: ReasonCode) -> None:
        """The CONNECT is answered so, and the connection closed."""
        assert peer.connack is not None
        self.assertIs(peer.connack.code, code)
        self.assertTrue(peer.closed)


class ConnectTests(BrokerTestCase):
    """v5 §4.12"""

    def test_right_password_comes_in(self) -> None:
        """The CONNACK carries the method and the server's proof; the session is the user's."""
        client = ScramClient("anna", "secret")
        peer, final = self.challenged(client)
        peer.send(go_on(final))
        self.assertTrue(client.trusts(data_of(peer.connack)))
        self.assertEqual(self.rig.broker.sessions["client0"].username, "anna")
        self.assertEqual(peer.subscribe("t"), [ReasonCode.GRANTED_QOS_0])

    def test_wrong_password_does_not(self) -> None:
        """CONNACK 0x87, for an unknown user too."""
        for client in (ScramClient("anna", "wrong"), ScramClient("nobody", "secret")):
            peer, final = self.challenged(client)
            peer.send(go_on(final))
            self.refused(peer, ReasonCode.NOT_AUTHORIZED)

    def test_malformed_message_does_not(self) -> None:
        """In the CONNECT, missing there, or as an answer."""
        for message in (b"\xff", b"n,,n=anna", None):
            self.refused(self.connect(said(message)), ReasonCode.NOT_AUTHORIZED)
            peer, _ = self.challenged(ScramClient("anna", "secret"))
            peer.send(go_on(message))
            self.refused(peer, ReasonCode.NOT_AUTHORIZED)

    def test_user_name_of_the_connect_must_be_the_same(self) -> None:
        """Else 0x87 at once."""
        first = ScramClient("anna", "secret").first()
        self.refused(self.connect(said(first), username="bert"), ReasonCode.NOT_AUTHORIZED)
        self.challenged(ScramClient("anna", "secret"), username="anna")

    def test_unknown_method(self) -> None:
        """CONNACK 0x8C (v5 [MQTT-4.12.0-1]), as for SCRAM where no password file is."""
        self.refused(self.connect(said(b"x", method="KERBEROS")), ReasonCode.BAD_AUTHENTICATION_METHOD)
        self.rig.policy.auth_methods = {}
        self.refused(self.connect(said(EXAMPLE[0])), ReasonCode.BAD_AUTHENTICATION_METHOD)

    def test_answer_of_another_method(self) -> None:
        """The method stays that of the CONNECT (v5 [MQTT-4.12.0-5])."""
        peer, final = self.challenged(ScramClient("anna", "secret"))
        peer.send(go_on(final, method="KERBEROS"))
        self.refused(peer, ReasonCode.PROTOCOL_ERROR)

    def test_answer_must_not_ask_for_re_authentication(self) -> None:
        """A client that was challenged goes on, with 0x18 (v5 [MQTT-4.12.0-3])."""
        peer, final = self.challenged(ScramClient("anna", "secret"))
        peer.send(again(final))
        self.refused(peer, ReasonCode.PROTOCOL_ERROR)

    def test_packets_before_the_end_are_refused(self) -> None:
        """Nobody publishes before it is clear who they are (v5 [MQTT-3.1.2-30])."""
        watcher = self.online()
        watcher.subscribe("t")
        peer, _ = self.challenged(ScramClient("anna", "secret"))
        peer.send(Publish("t", b"x"))
        self.refused(peer, ReasonCode.PROTOCOL_ERROR)
        self.assertEqual(watcher.received(), [])

    def test_answer_that_is_too_large_is_not_collected(self) -> None:
        """A stranger who was challenged does not get more memory than for a CONNECT."""
        peer, _ = self.challenged(ScramClient("anna", "secret"))
        peer.send(b"\xf0\xc0\x9a\x0c")  # 200,000 bytes
        self.refused(peer, ReasonCode.PACKET_TOO_LARGE)

    def test_client_that_never_answers_is_let_go(self) -> None:
        """A challenge does not give more time than the CONNECT had."""
        peer, _ = self.challenged(ScramClient("anna", "secret"))
        self.rig.clock.pump([1.0] * int(self.rig.broker.limits.connect_timeout_s + 3))
        self.assertTrue(peer.closed)

    def test_reload_ends_an_exchange_that_is_out_of_date(self) -> None:
        """The new file decides."""
        peer, final = self.challenged(ScramClient("anna", "secret"))
        self.method.replace(PasswordFile({}))
        peer.send(go_on(final))
        self.refused(peer, ReasonCode.NOT_AUTHORIZED)


class ReAuthenticationTests(BrokerTestCase):
    """v5 §4.12.1"""

    def ended(self, peer: Peer, code: ReasonCode) -> None:
        """The client is told so in a DISCONNECT, and the connection closed."""
        (*_, last) = peer.received()
        assert isinstance(last, Disconnect)
        self.assertIs(last.code, code)
        self.assertTrue(peer.closed)

    def begin(self, peer: Peer, client: ScramClient) -> bytes:
        """A client asks for it; returns the right answer to the challenge."""
        peer.send(again(client.first()))
        (challenge,) = peer.received()
        return client.final(data_of(challenge))

    def test_same_user(self) -> None:
        """AUTH with Success and the server's proof; everything goes on meanwhile and afterwards."""
        peer, client = self.online(), ScramClient("anna", "secret")
        final = self.begin(peer, client)
        self.assertEqual(peer.subscribe("t"), [ReasonCode.GRANTED_QOS_0])
        peer.send(go_on(final))
        (answer,) = peer.received()
        assert isinstance(answer, Auth)
        self.assertIs(answer.code, ReasonCode.SUCCESS)
        self.assertTrue(client.trusts(data_of(answer)))
        peer.publish("t", b"x")
        self.assertEqual(peer.received(), [Publish("t", b"x")])

    def test_as_often_as_one_likes(self) -> None:
        """Each time is a new exchange."""
        peer = self.online()
        for _ in range(3):
            peer.send(go_on(self.begin(peer, ScramClient("anna", "secret"))))
            (answer,) = peer.received()
            assert isinstance(answer, Auth)
            self.assertIs(answer.code, ReasonCode.SUCCESS)

    def test_wrong_password_ends_the_connection(self) -> None:
        """DISCONNECT 0x87 (v5 [MQTT-4.12.1-2])."""
        peer = self.online()
        peer.send(go_on(self.begin(peer, ScramClient("anna", "wrong"))))
        self.ended(peer, ReasonCode.NOT_AUTHORIZED)

    def test_another_user_ends_the_connection(self) -> None:
        """Whatever password they know: a session does not change hands."""
        peer = self.online()
        peer.send(go_on(self.begin(peer, ScramClient("bert=2C jr=3D1", "größe"))))
        self.ended(peer, ReasonCode.NOT_AUTHORIZED)

    def test_another_method_ends_the_connection(self) -> None:
        """It has to be that of the CONNECT (v5 [MQTT-4.12.1-1])."""
        peer = self.online()
        peer.send(again(b"x", method="KERBEROS"))
        self.ended(peer, ReasonCode.PROTOCOL_ERROR)

    def test_client_that_came_in_without_a_method(self) -> None:
        """It cannot begin with one (v5 [MQTT-4.12.1-1])."""
        peer = self.rig.connect("ada", version=Version.V5)
        peer.send(again(ScramClient("anna", "secret").first()))
        self.ended(peer, ReasonCode.PROTOCOL_ERROR)

    def test_answer_without_a_question(self) -> None:
        """AUTH 0x18 is out of place once the client is in, the first time and after another."""
        peer = self.online()
        peer.send(go_on(b"x"))
        self.ended(peer, ReasonCode.PROTOCOL_ERROR)
        peer = self.online()
        peer.send(go_on(self.begin(peer, ScramClient("anna", "secret"))))
        peer.send(go_on(b"x"))
        self.ended(peer, ReasonCode.PROTOCOL_ERROR)

    def test_method_that_is_no_longer_offered(self) -> None:
        """After a reload without a password file nobody can be asked."""
        peer = self.online()
        self.rig.policy.auth_methods = {}
        peer.send(again(ScramClient("anna", "secret").first()))
        self.ended(peer, ReasonCode.BAD_AUTHENTICATION_METHOD)


class GuessingTests(ScramTestCase):
    """Three failures are allowed."""

    def setUp(self) -> None:
        self.failures = Guarded(limit=3)
        self.method = ScramMethod(PasswordFile(USERS), self.failures)

    def guess(self, *names: str) -> None:
        """A wrong password for each of these."""
        for name in names:
            self.assertEqual(self.ask(ScramClient(name, "wrong")), REFUSED)

    def gets_in(self, name: str) -> bool:
        """Whether the right password does."""
        return self.ask(ScramClient(name, "secret")).code is ReasonCode.SUCCESS

    def test_proof_is_not_looked_at_after_too_many(self) -> None:
        """Not even if it is good; the challenge before it is as ever."""
        self.guess("anna", "anna", "anna")
        self.assertFalse(self.gets_in("anna"))
        self.assertEqual(self.failures.counted, {FAILED: 3, BACKED_OFF: 1})
        self.failures.clock.advance(1)
        self.assertTrue(self.gets_in("anna"))

    def test_many_names_are_many_failures(self) -> None:
        """Of the address, and known ones count like unknown ones."""
        self.guess("bert, jr=1", "nobody", "somebody")
        self.assertFalse(self.gets_in("anna"))

    def test_device_with_an_old_password_locks_itself_only(self) -> None:
        """Others at its address come in."""
        self.guess("nobody", "nobody", "nobody", "nobody")
        self.assertTrue(self.gets_in("anna"))

    def test_user_who_came_in_before_is_not_locked_out(self) -> None:
        """By what others do at that address."""
        self.assertTrue(self.gets_in("anna"))
        self.guess("a", "b", "c")
        self.assertTrue(self.gets_in("anna"))

    def test_message_that_is_none_is_a_failure(self) -> None:
        """By the name in the CONNECT if there is one."""
        self.assertEqual(self.begin("anna").step(b"n,,"), REFUSED)
        self.assertEqual(self.begin().step(None), REFUSED)
        self.assertEqual(self.failures.counted, {FAILED: 2})
