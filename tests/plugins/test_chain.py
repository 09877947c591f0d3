"""
`pushd.plugins.chain`: what plugins' answers do to clients, from CONNECT to the last byte.

Each test starts at an MQTT client's bytes (`pushd.testing.MemoryBroker`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from pushd.mqtt.codes import LEGAL_CODES, PacketType, QoS
from pushd.mqtt.packets import Will
from pushd.plugins import (
    ALLOW,
    DENY,
    DROP,
    IGNORE,
    Access,
    Allow,
    ClientInfo,
    Deny,
    Login,
    Message,
    Plugin,
    ReasonCode,
)
from pushd.plugins.loading import LoadedPlugin
from pushd.testing import MemoryBroker, use

OK, NO = ReasonCode.SUCCESS, ReasonCode.NOT_AUTHORIZED
FAILURES = [code for code in ReasonCode if code >= 0x80]
NONSENSE = [None, True, False, 1, 0x87, "allow", Deny, Allow, DROP, ReasonCode.SUCCESS, object(), (ALLOW,)]


def make(**methods: Any) -> LoadedPlugin:
    """A plugin whose methods say what they are given: a value, or a function of the arguments."""

    def method(answer: Any) -> Any:
        if callable(answer) and not isinstance(answer, type | Deny | Allow):
            return lambda self, *arguments: answer(*arguments)
        return lambda self, *arguments: answer

    return use(type("Made", (Plugin,), {name: method(answer) for name, answer in methods.items()}))


class ChainTestCase(SynchronousTestCase):
    def run_with(self, *plugins: LoadedPlugin, **options: Any) -> MemoryBroker:
        broker = MemoryBroker(*plugins, **options)
        broker.__enter__()
        self.addCleanup(broker.__exit__)
        return broker


class AuthenticateTests(ChainTestCase):
    def code(self, *answers: Any, **options: Any) -> ReasonCode | None:
        plugins = [make(authenticate=answer) for answer in answers]
        broker = self.run_with(*plugins, **options)
        return broker.connect("a", "ada", "secret").code

    def test_the_first_opinion_counts(self) -> None:
        """In the order of the settings."""
        for answers, code in (
            ((ALLOW, DENY), OK),
            ((DENY, ALLOW), NO),
            ((IGNORE, ALLOW), OK),
            ((IGNORE, IGNORE, Deny(ReasonCode.BANNED)), ReasonCode.BANNED),
        ):
            assert self.code(*answers) is code, answers

    def test_then_the_password_file(self) -> None:
        """Whoever no plugin has an opinion about."""
        assert self.code(IGNORE, users={"ada": "secret"}) is OK
        assert self.code(IGNORE, users={"ada": "other"}) is NO
        assert self.code(DENY, users={"ada": "secret"}) is NO

    def test_a_name_that_nobody_vouches_for(self) -> None:
        """Does not come in where names are known, though anonymous clients do."""
        broker = self.run_with(make(authenticate=IGNORE))
        assert broker.connect("a", "ada").code is NO
        assert broker.connect("a").code is OK
        assert self.run_with(make(on_publish=None)).connect("a", "ada").code is OK

    def test_nonsense(self) -> None:
        """Nobody comes in by it."""
        for answer in NONSENSE:
            plugin = make(authenticate=lambda login, answer=answer: answer)
            broker = self.run_with(plugin, users={"ada": "secret"})
            assert broker.connect("a", "ada", "secret").code is ReasonCode.SERVER_UNAVAILABLE, answer
            assert broker.failures == {"authenticate/failed": 1}
        self.flushLoggedErrors()

    def test_every_code(self) -> None:
        """A client of version 5 is told each that a CONNACK may have, and of version 3 something like it."""
        for code in FAILURES:
            broker = self.run_with(make(authenticate=Deny(code)))
            assert broker.connect("a").code is LEGAL_CODES[PacketType.CONNACK].get(code, NO), code
            old = broker.connect("b", version=4)
            assert old.code is not OK
            assert old.closed

    def test_what_it_sees(self) -> None:
        """And what is not seen in logs."""
        seen: list[Login] = []

        def authenticate(login: Login) -> Allow:
            seen.append(login)
            return ALLOW

        broker = self.run_with(make(authenticate=authenticate))
        broker.connect("a", "ada", b"\xff")
        (login,) = seen
        assert (login.client_id, login.username, login.password) == ("a", "ada", b"\xff")
        assert (login.address, login.listener, login.password_text) == ("192.0.2.7:4711", "a test", "")
        assert "xff" not in repr(login)

    def test_it_says_who_it_is(self) -> None:
        """A token's user becomes the client's."""
        broker = self.run_with(make(authenticate=Allow("ada")))
        broker.connect("a", "token", "eyJ…")
        assert broker.broker.clients() == [ClientInfo("a", "ada", "192.0.2.7:4711", "a test", 5)]

    def test_the_client_leaves_meanwhile(self) -> None:
        """The plugin is told by a cancellation, and nothing remains."""
        seen: list[str] = []
        waiting: Deferred[Any] = Deferred(lambda _: seen.append("cancelled"))
        broker = self.run_with(make(authenticate=lambda login: waiting))
        broker.connect("a").drop()
        assert seen == ["cancelled"]
        assert broker.broker.clients() == []
        assert broker.failures == {}

    def test_it_hangs(self) -> None:
        """The client is refused after the time-out; what it sent meanwhile is not looked at."""
        broker = self.run_with(make(authenticate=lambda login: Deferred()))
        ada = broker.connect("a")
        ada.publish("news", b"x")
        broker.advance(5)
        assert ada.code is ReasonCode.SERVER_UNAVAILABLE
        assert ada.closed
        assert broker.failures == {"authenticate/timed_out": 1}
        self.flushLoggedErrors()


class AuthorizeTests(ChainTestCase):
    def test_each_access_is_asked(self) -> None:
        """Publishing, subscribing, and reading what comes."""
        seen: list[tuple[str, Access, str]] = []

        def authorize(client: ClientInfo, access: Access, topic: str) -> Any:
            seen.append((client.client_id, access, topic))
            return ALLOW

        broker = self.run_with(make(authorize=authorize))
        ada = broker.connect("ada")
        ada.subscribe("news/#")
        ada.publish("news/today", b"x")
        assert seen == [
            ("ada", Access.SUBSCRIBE, "news/#"),
            ("ada", Access.WRITE, "news/today"),
            ("ada", Access.READ, "news/today"),
        ]

    def test_what_may_not_be_read_does_not_come(self) -> None:
        """The subscription is granted all the same, as with an ACL file."""
        broker = self.run_with(
            make(authorize=lambda client, access, topic: DENY if access is Access.READ else ALLOW)
        )
        ada = broker.connect("ada")
        assert ada.subscribe("news") == [OK]
        assert ada.publish("news", b"x", qos=1) is ReasonCode.NO_MATCHING_SUBSCRIBERS
        assert ada.messages() == []

    def test_reading_is_answered_at_once(self) -> None:
        """Who takes time for it has refused; an async def that does not wait is fine."""

        async def authorize(client: ClientInfo, access: Access, topic: str) -> Any:
            if topic == "slow":
                await Deferred()
            return ALLOW

        broker = self.run_with(make(authorize=authorize))
        bob = broker.connect("bob")
        bob.subscribe("fast", "#")
        # By the broker's own hand: publishing to "slow" would have to wait, too.
        for topic in ("slow", "fast"):
            broker.broker.publish(Message(topic, b"x"))
        assert [message.topic for message in bob.messages()] == ["fast"]
        assert broker.failures == {"authorize/failed": 1}
        self.flushLoggedErrors()

    def test_later_verdicts(self) -> None:
        """What a client sends behind the question waits for the answer, and keeps its order."""
        later: Deferred[Any] = Deferred()
        broker = self.run_with(
            make(authorize=lambda client, access, topic: later if topic == "slow" else ALLOW)
        )
        ada, bob = broker.connect("ada"), broker.connect("bob")
        bob.subscribe("fast", "late")
        assert ada.publish("slow", b"1", qos=1) is None
        ada.publish("fast", b"2")
        assert bob.messages() == []
        later.callback(DENY)
        assert [message.topic for message in bob.messages()] == ["fast"]

    def test_nonsense(self) -> None:
        """Nobody may do anything by it."""
        for answer in NONSENSE:
            broker = self.run_with(make(authorize=lambda *_, answer=answer: answer))
            ada = broker.connect("ada")
            assert ada.subscribe("news") == [NO]
            assert ada.publish("news", b"x", qos=1) is NO
        self.flushLoggedErrors()

    def test_special_characters(self) -> None:
        """Names that mean more than themselves in rules are refused everything, unless it is switched off."""
        for client_id, username in (("a+", None), ("a", "b/c"), ("#", None)):
            loaded = make(authorize=ALLOW)
            assert self.run_with(loaded).connect(client_id, username).subscribe("x") == [NO]
            lenient = replace(loaded, deny_special_chars=False)
            assert self.run_with(lenient).connect(client_id, username).subscribe("x") == [OK]

    def test_remembered_verdicts_are_forgotten(self) -> None:
        """When the plugin says that its rules have changed."""
        broker = self.run_with(make(authorize=lambda *_: rules[0]))
        rules: list[Any] = [ALLOW]
        ada = broker.connect("ada")
        ada.subscribe("news")
        ada.publish("news", b"1")
        rules[0] = DENY
        ada.publish("news", b"2")
        broker.broker.forget_verdicts()
        ada.publish("news", b"3")
        assert [message.payload for message in ada.messages()] == [b"1", b"2"]


class ConnectTests(ChainTestCase):
    def test_it_may_refuse(self) -> None:
        """After everybody else has agreed; nothing at all is consent."""
        busy = ReasonCode.SERVER_BUSY
        for answer, code in ((None, OK), (IGNORE, OK), (ALLOW, OK), (Deny(busy), busy), (True, NO)):
            broker = self.run_with(make(on_connect=answer))
            assert broker.connect("a").code is code, answer
        self.flushLoggedErrors()

    def test_it_sees_who_came(self) -> None:
        """Not those who were refused before."""
        seen: list[ClientInfo] = []
        broker = self.run_with(make(on_connect=lambda client: seen.append(client)), users={"ada": "x"})
        broker.connect("a", "ada", "wrong")
        broker.connect("b", "ada", "x", version=4)
        assert seen == [ClientInfo("b", "ada", "192.0.2.7:4711", "a test", 4)]

    def test_later(self) -> None:
        """The CONNACK waits."""
        later: Deferred[Any] = Deferred()
        broker = self.run_with(make(on_connect=lambda client: later))
        ada = broker.connect("a")
        assert ada.code is None
        later.callback(None)
        assert ada.code is OK

    def test_disconnect_is_told(self) -> None:
        """However it ends; by then the client is not online any more."""
        seen: list[tuple[str, int]] = []

        def on_disconnect(client: ClientInfo) -> None:
            seen.append((client.client_id, len(broker.broker.clients())))

        broker = self.run_with(make(on_disconnect=on_disconnect))
        broker.connect("a").disconnect()
        broker.connect("b").drop()
        broker.connect("c")
        broker.connect("c")  # takes over
        assert seen == [("a", 0), ("b", 0), ("c", 0)]

    def test_disconnecting(self) -> None:
        """A plugin may throw out whom it likes."""
        broker = self.run_with(make(on_publish=None))
        ada = broker.connect("ada")
        assert broker.broker.client("ada") is not None
        assert broker.broker.disconnect("ada", ReasonCode.QUOTA_EXCEEDED)
        assert ada.closed
        assert ada.disconnect_code is ReasonCode.QUOTA_EXCEEDED
        assert not broker.broker.disconnect("ada")
        assert broker.broker.client("ada") is None


class SubscribeTests(ChainTestCase):
    def test_it_may_refuse(self) -> None:
        """Each filter by itself; a shared one is shown without its group."""
        seen: list[tuple[str, int]] = []

        def on_subscribe(client: ClientInfo, filter: str, qos: int) -> Any:
            seen.append((filter, qos))
            return Deny(ReasonCode.QUOTA_EXCEEDED) if filter == "#" else None

        broker = self.run_with(make(on_subscribe=on_subscribe))
        codes = broker.connect("a").subscribe("news", "#", "$share/g/work", qos=1)
        assert codes == [ReasonCode.GRANTED_QOS_1, ReasonCode.QUOTA_EXCEEDED, ReasonCode.GRANTED_QOS_1]
        assert seen == [("news", 1), ("#", 1), ("work", 1)]

    def test_every_code(self) -> None:
        """A SUBACK has those that it may have."""
        for code in FAILURES:
            broker = self.run_with(make(on_subscribe=Deny(code)))
            (told,) = broker.connect("a").subscribe("news")
            assert told is LEGAL_CODES[PacketType.SUBACK].get(code, NO), code
            assert broker.connect("b", version=4).subscribe("news") == [ReasonCode.UNSPECIFIED_ERROR]

    def test_unsubscribe_is_told(self) -> None:
        """What was subscribed, and nothing else."""
        seen: list[str] = []
        broker = self.run_with(make(on_unsubscribe=lambda client, filter: seen.append(filter)))
        ada = broker.connect("a")
        ada.subscribe("news", "$share/g/work")
        ada.unsubscribe("news", "other", "$share/g/work")
        assert seen == ["news", "work"]


class PublishTests(ChainTestCase):
    def publish(self, *answers: Any, qos: int = 1, version: int = 5) -> tuple[Any, list[Message]]:
        """:return: what the publisher was told, and what a subscriber got."""
        broker = self.run_with(*(make(on_publish=answer) for answer in answers))
        ada, bob = broker.connect("ada", version=version), broker.connect("bob")
        bob.subscribe("#", qos=2)
        code = ada.publish("news", b"hello", qos)
        return code, bob.messages()

    def test_left_alone(self) -> None:
        """At every QoS."""
        for answer in (None, IGNORE, ALLOW):
            for qos in (0, 1, 2):
                code, messages = self.publish(answer, qos=qos)
                assert code is (OK if qos else None)
                assert messages == [Message("news", b"hello", qos)]

    def test_rewritten(self) -> None:
        """All that a message has."""
        wanted = Message(
            "other/topic",
            b"bye",
            2,
            content_type="text/plain",
            response_topic="answers",
            correlation_data=b"\0",
            payload_is_text=True,
            user_properties=(("a", "1"), ("a", "2")),
        )
        code, messages = self.publish(wanted)
        assert code is OK
        assert messages == [wanted]

    def test_retained(self) -> None:
        """A plugin may make any message its topic's retained one."""
        broker = self.run_with(make(on_publish=lambda client, message: replace(message, retain=True)))
        broker.connect("ada").publish("news", b"x")
        bob = broker.connect("bob")
        bob.subscribe("news")
        assert bob.messages() == [Message("news", b"x", 0, retain=True)]

    def test_one_after_the_other(self) -> None:
        """Each sees what the one before has made of it; a verdict ends it."""

        def add(client: ClientInfo, message: Message) -> Message:
            return replace(message, payload=message.payload + b"!")

        assert self.publish(add, add)[1][0].payload == b"hello!!"
        assert self.publish(add, ALLOW, add)[1][0].payload == b"hello!"
        assert self.publish(add, DROP, add) == (OK, [])
        assert self.publish(IGNORE, Deny(ReasonCode.QUOTA_EXCEEDED), add)[0] is ReasonCode.QUOTA_EXCEEDED

    def test_dropped(self) -> None:
        """Acknowledged, also by PUBCOMP, and nobody gets it."""
        for qos in (0, 1, 2):
            for version in (4, 5):
                code, messages = self.publish(DROP, qos=qos, version=version)
                assert (code, messages) == (OK if qos else None, [])

    def test_every_code(self) -> None:
        """PUBACK and PUBREC have those that they may have; version 3 cannot be told."""
        for code in FAILURES:
            for qos, packet in ((1, PacketType.PUBACK), (2, PacketType.PUBREC)):
                told, messages = self.publish(Deny(code), qos=qos)
                assert told is LEGAL_CODES[packet].get(code, NO), code
                assert messages == []
            assert self.publish(Deny(code), version=4) == (OK, [])

    def test_nonsense(self) -> None:
        """Nobody gets the message, and its publisher learns it."""
        messages = [
            Message("a/+", b""),
            Message("", b""),
            Message("$SYS/broker/uptime", b"0"),
            Message("news", "text"),  # type: ignore[arg-type]
            Message("news", b"", qos=3),
            Message("news", b"", user_properties=(("a", 1),)),  # type: ignore[arg-type]
            Message("news", b"", user_properties=(("a", "\ud800"),)),
            Message("news", b"", content_type="x" * 70_000),
            Message("news", b"", response_topic="#"),
            Message("news", b"", expires_in_s=-1),
        ]
        nonsense = [each for each in NONSENSE if each is not None and each is not DROP]
        for answer in (*messages, *nonsense):
            assert self.publish(lambda client, message, answer=answer: answer) == (NO, []), answer
        self.flushLoggedErrors()

    def test_order_is_kept(self) -> None:
        """A message that waits for a plugin holds back what comes behind it from the same client only."""
        later: Deferred[Any] = Deferred()
        broker = self.run_with(make(on_publish=lambda client, message: later if message.qos else None))
        ada, bob, eve = broker.connect("ada"), broker.connect("bob"), broker.connect("eve")
        bob.subscribe("#", qos=1)
        ada.publish("a", b"1", qos=1)
        ada.publish("a", b"2")
        eve.publish("e", b"3")
        assert [message.payload for message in bob.messages()] == [b"3"]
        later.callback(None)
        assert [message.payload for message in bob.messages()] == [b"1", b"2"]
        assert ada.acknowledged == {1: OK}

    def test_its_sender_leaves_meanwhile(self) -> None:
        """What has come is decided about, and passed on."""
        later: Deferred[Any] = Deferred()
        broker = self.run_with(make(on_publish=lambda client, message: later))
        ada, bob = broker.connect("ada"), broker.connect("bob")
        bob.subscribe("#")
        ada.publish("a", b"1")
        ada.drop()
        later.callback(None)
        assert len(bob.messages()) == 1

    def test_it_hangs(self) -> None:
        """After its time the message is refused, and the next one is asked about."""
        broker = self.run_with(make(on_publish=lambda client, message: Deferred()))
        ada = broker.connect("ada")
        assert ada.publish("a", b"1", qos=1) is None
        broker.advance(5)
        assert ada.messages() == []
        assert ada.acknowledged == {1: NO}
        assert broker.failures == {"on_publish/timed_out": 1}
        self.flushLoggedErrors()

    def test_wills(self) -> None:
        """Are messages like others."""
        broker = self.run_with(
            make(on_publish=lambda client, message: replace(message, topic=f"wills/{client.client_id}"))
        )
        bob = broker.connect("bob")
        bob.subscribe("wills/#")
        broker.connect("ada", will=Will("gone", b"x", QoS(0), False)).drop()
        assert [message.topic for message in bob.messages()] == ["wills/ada"]

    def test_its_own_messages(self) -> None:
        """Nobody is asked about them, the plugin least of all."""
        broker = self.run_with(make(on_publish=DENY, authorize=lambda client, access, topic: ALLOW))
        bob = broker.connect("bob")
        bob.subscribe("#")
        outcome = broker.broker.publish(Message("news", b"x", expires_in_s=10))
        assert self.successResultOf(outcome) is OK
        assert [message.payload for message in bob.messages()] == [b"x"]
        self.assertRaises(ValueError, broker.broker.publish, Message("$SYS/x", b""))

    @given(
        st.builds(
            Message,
            st.text(max_size=5),
            st.binary(max_size=5),
            st.integers(-1, 3),
            st.booleans(),
            st.none() | st.text(max_size=3),
            st.none() | st.text(max_size=3),
            st.none() | st.binary(max_size=3),
            st.none() | st.booleans(),
            st.lists(st.tuples(st.text(max_size=2), st.text(max_size=2)), max_size=2).map(tuple),
        )
    )
    def test_any_message(self, message: Message) -> None:
        """It arrives as the plugin has made it, or its publisher is told no; never anything between."""
        code, messages = self.publish(message)
        if messages:
            (got,) = messages
            assert replace(got, retain=message.retain) == message
        else:
            assert code is NO or message.topic.startswith("$")
        self.flushLoggedErrors()
