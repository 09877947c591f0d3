"""v5 §3.8 to §3.11, §4.7, §4.8: subscriptions, their options, and shared ones."""

from __future__ import annotations

import pytest

from tests.conformance import v5_packets as v5
from tests.conformance.harness import Broker
from tests.conformance.packets import packet, suback, subscribe, text
from tests.conformance.statements import holds
from tests.conformance.v5_client import (
    Client,
    connected,
    forgets,
    kept,
    publishes,
    resumed,
    subscribed,
    unretains,
)


@holds(
    "v5 [MQTT-3.8.4-1]",
    "v5 [MQTT-3.8.4-2]",
    "v5 [MQTT-2.2.1-6]",
    "v5 [MQTT-3.8.4-5]",
    "v5 [MQTT-3.8.4-6]",
    "v5 [MQTT-3.8.4-7]",
    "v5 [MQTT-3.9.3-1]",
    "v5 [MQTT-3.9.3-2]",
)
@pytest.mark.parametrize("packet_id", [1, 256, 65535])
def test_suback(broker: Broker, name: str, packet_id: int) -> None:
    """A code for each filter, in their order, under the same identifier, and without properties."""
    requests = [(f"{name}/{n}", n % 3) for n in range(7)]
    client = connected(broker)
    client.ask(v5.subscribe(packet_id, *requests), v5.suback(packet_id, 0, 1, 2, 0, 1, 2, 0))


@holds("v5 [MQTT-3.8.4-8]")
@pytest.mark.parametrize("granted", [0, 1, 2])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_the_lower_qos_counts(broker: Broker, name: str, qos: int, granted: int) -> None:
    """A message comes at its own QoS or at the granted one, whichever is lower."""
    client = subscribed(broker, (name, granted))
    publishes(broker, name, b"x", qos=qos)
    client.expect(v5.publish(name, b"x", 1, qos=min(qos, granted)))


WRONG = {
    "no filters": (packet(0x82, b"\0\1\0"), 0x82),
    "no options": (packet(0x82, b"\0\1\0" + text("a")), 0x81),
    "no properties": (packet(0x82, b"\0\1"), 0x81),
    "identifier 0": (v5.subscribe(0, ("a", 0)), 0x82),
    "QoS 3": (v5.subscribe(1, ("a", 3)), 0x81),
    "Retain Handling 3": (v5.subscribe(1, ("a", 0x30)), 0x82),
    "reserved bit 6": (v5.subscribe(1, ("a", 0x40)), 0x81),
    "reserved bit 7": (v5.subscribe(1, ("a", 0x80)), 0x81),
    "wrong flags": (packet(0x80, b"\0\1\0" + text("a") + b"\0"), 0x81),
    "Subscription Identifier 0": (packet(0x82, b"\0\1\2\x0b\0" + text("a") + b"\0"), 0x82),
    "two Subscription Identifiers": (packet(0x82, b"\0\1\4\x0b\1\x0b\2" + text("a") + b"\0"), 0x82),
    "a property of PUBLISH": (packet(0x82, b"\0\1\2\x01\0" + text("a") + b"\0"), 0x82),
    "an empty filter": (v5.subscribe(1, ("", 0)), 0x8F),
    "# before the end": (v5.subscribe(1, ("a/#/b", 0)), 0x8F),
    "# that is no level": (v5.subscribe(1, ("a#", 0)), 0x8F),
    "+ that is no level": (v5.subscribe(1, ("a/b+", 0)), 0x8F),
    "no UTF-8": (v5.subscribe(1, (b"\xff", 0)), 0x81),
    "U+0000": (v5.subscribe(1, ("a\0", 0)), 0x81),
    "a group without a name": (v5.subscribe(1, ("$share//a", 0)), 0x8F),
    "a group without a filter": (v5.subscribe(1, ("$share/g", 0)), 0x8F),
    "a group with an empty filter": (v5.subscribe(1, ("$share/g/", 0)), 0x8F),
    "a group with a wildcard": (v5.subscribe(1, ("$share/g+/a", 0)), 0x8F),
    "a group with #": (v5.subscribe(1, ("$share/#/a", 0)), 0x8F),
    "No Local in a group": (v5.subscribe(1, ("$share/g/a", v5.NO_LOCAL)), 0x82),
    "UNSUBSCRIBE without filters": (packet(0xA2, b"\0\1\0"), 0x82),
    "UNSUBSCRIBE with wrong flags": (packet(0xA0, b"\0\1\0" + text("a")), 0x81),
    "UNSUBSCRIBE with a bad filter": (v5.unsubscribe(1, "a#"), 0x8F),
    "UNSUBSCRIBE that is no UTF-8": (v5.unsubscribe(1, b"\xff"), 0x81),
    "UNSUBSCRIBE with a property of SUBSCRIBE": (packet(0xA2, b"\0\1\2\x0b\1" + text("a")), 0x82),
}


@holds(
    "v5 [MQTT-3.8.1-1]",
    "v5 [MQTT-3.8.3-1]",
    "v5 [MQTT-3.8.3-2]",
    "v5 [MQTT-3.8.3-4]",
    "v5 [MQTT-3.8.3-5]",
    "v5 [MQTT-3.10.1-1]",
    "v5 [MQTT-3.10.3-1]",
    "v5 [MQTT-3.10.3-2]",
    "v5 [MQTT-4.7.1-1]",
    "v5 [MQTT-4.7.1-2]",
    "v5 [MQTT-4.7.3-1]",
    "v5 [MQTT-4.7.3-2]",
    "v5 [MQTT-4.8.2-1]",
    "v5 [MQTT-4.8.2-2]",
    "v5 [MQTT-4.13.1-1]",
)
@pytest.mark.parametrize(("wrong", "code"), WRONG.values(), ids=WRONG)
def test_wrong_requests(broker: Broker, wrong: bytes, code: int) -> None:
    """A request that breaks a rule ends the connection."""
    client = connected(broker)
    client.send(wrong)
    client.expect_disconnect(code)


# Unsubscribing


@holds(
    "v5 [MQTT-3.10.4-1]",
    "v5 [MQTT-3.10.4-2]",
    "v5 [MQTT-3.10.4-4]",
    "v5 [MQTT-3.10.4-5]",
    "v5 [MQTT-3.10.4-6]",
    "v5 [MQTT-3.11.3-1]",
    "v5 [MQTT-3.11.3-2]",
    "v5 [MQTT-2.2.1-6]",
)
def test_unsubscribe(broker: Broker, name: str) -> None:
    """0x00 for what there was, 0x11 for what there was not, in the order of the filters."""
    client = subscribed(broker, (name + "/+", 1), (name + "/a", 1), ("$share/g/" + name, 1))
    filters = (name + "/b", name + "/a", name + "/#", name + "/a", "$share/h/" + name, "$share/g/" + name)
    client.ask(v5.unsubscribe(0xABCD, *filters), v5.unsuback(0xABCD, 0x11, 0, 0x11, 0x11, 0x11, 0))
    publishes(broker, name + "/a", b"x", qos=1)
    publishes(broker, name, b"y", qos=1)
    client.expect(v5.publish(name + "/a", b"x", 1, qos=1))
    client.expect_silence()


@holds("v5 [MQTT-3.10.4-3]")
def test_unsubscribe_in_the_middle(broker: Broker, name: str) -> None:
    """What is under way is finished."""
    client = subscribed(broker, (name, 2))
    publishes(broker, name, b"x", qos=2)
    client.expect(v5.publish(name, b"x", 1, qos=2))
    client.ask(v5.unsubscribe(1, name), v5.unsuback(1, 0))
    client.ask(v5.pubrec(1), v5.pubrel(1))
    client.send(v5.pubcomp(1))
    client.expect_silence()


# Options


@holds("v5 [MQTT-3.8.3-3]")
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("wildcard", [False, True])
def test_no_local(broker: Broker, name: str, qos: int, wildcard: bool) -> None:
    """What a client publishes itself does not come back, also once the broker knows the way."""
    client = subscribed(broker, (name + "/#" if wildcard else name, 2 | v5.NO_LOCAL))
    other = subscribed(broker, (name, 2))
    for number in (1, 2, 3):
        client.send(v5.publish(name, b"mine", number, qos=qos))
        if qos:
            assert client.answer().packet_id == number
        if qos == 2:
            client.ask(v5.pubrel(number), v5.pubcomp(number))
        other.expect(v5.publish(name, b"mine", number, qos=qos))
    other.send(v5.publish(name, b"yours"))
    client.expect(v5.publish(name, b"yours"))


@holds("v5 [MQTT-3.8.3-3]")
def test_no_local_of_one_of_two(broker: Broker, name: str) -> None:
    """A subscription without No Local that overlaps gets it."""
    client = subscribed(broker, (name, v5.NO_LOCAL), (name + "/#", 0))
    client.ask(v5.publish(name, b"x"), v5.publish(name, b"x"))
    client.expect_silence()


@holds("v5 [MQTT-3.3.1-12]", "v5 [MQTT-3.3.1-13]")
@pytest.mark.parametrize("qos", [0, 1])
def test_retain_as_published(broker: Broker, name: str, qos: int) -> None:
    """With it the RETAIN flag is as it was, without it 0."""
    as_it_was = subscribed(broker, (name, qos | v5.RETAIN_AS_PUBLISHED))
    plain = subscribed(broker, (name, qos))
    old = broker.client(None, (name, 0))
    for retain in (True, False):
        publishes(broker, name, b"x", qos=qos, retain=retain)
    assert [m.retain for m in as_it_was.messages_until_ping()] == [True, False]
    assert [m.retain for m in plain.messages_until_ping()] == [False, False]
    assert [each[0] for each in old.packets_until_ping()] == [0x30, 0x30]
    unretains(broker, name)


@holds("v5 [MQTT-3.3.1-9]", "v5 [MQTT-3.8.4-4]", "v5 [MQTT-3.3.1-10]", "v5 [MQTT-3.3.1-11]")
def test_retain_handling(broker: Broker, name: str) -> None:
    """0: each time; 1: only when the subscription is new; 2: never."""
    publishes(broker, name, b"kept", retain=True)
    found = v5.publish(name, b"kept", retain=True)
    client = connected(broker)
    for options, sent in ((0, True), (v5.SEND_IF_NEW, False), (v5.DO_NOT_SEND, False), (0, True)):
        client.ask(v5.subscribe(1, (name, options)), v5.suback(1, 0), *([found] if sent else []))
    client.expect_silence()
    client.ask(v5.unsubscribe(1, name), v5.unsuback(1, 0))
    client.ask(v5.subscribe(1, (name, v5.DO_NOT_SEND)), v5.suback(1, 0))
    client.ask(v5.unsubscribe(1, name), v5.unsuback(1, 0))
    client.ask(v5.subscribe(1, (name, v5.SEND_IF_NEW)), v5.suback(1, 0), found)
    client.expect_silence()
    unretains(broker, name)


@holds("v5 [MQTT-3.3.1-10]")
def test_retain_handling_of_a_resumed_session(broker: Broker, name: str) -> None:
    """A subscription that was kept is not new."""
    publishes(broker, name + "/r", b"kept", retain=True)
    client = kept(broker, name)
    client.ask(v5.subscribe(1, (name + "/r", v5.SEND_IF_NEW)), v5.suback(1, 0))
    assert client.payloads() == [b"kept"]
    client.leaves()
    client = resumed(broker, name, expiry=0)
    client.ask(v5.subscribe(1, (name + "/r", v5.SEND_IF_NEW)), v5.suback(1, 0))
    client.expect_silence()
    client.leaves()
    unretains(broker, name + "/r")


@holds("v5 [MQTT-3.8.4-3]")
def test_replacing(broker: Broker, name: str) -> None:
    """The same filter again: other options and another identifier, and no message twice."""
    client = subscribed(broker, (name, 0), identifier=1)
    client.subscribes((name, 1 | v5.NO_LOCAL), identifier=2)
    publishes(broker, name, b"x", qos=1)
    client.expect(v5.publish(name, b"x", 1, v5.subscription_id(2), qos=1))
    client.subscribes((name, 0))
    publishes(broker, name, b"x", qos=1)
    client.expect(v5.publish(name, b"x"))


# Subscription identifiers


@holds("v5 [MQTT-3.3.4-3]", "v5 §3.8.2.1.2")
@pytest.mark.parametrize("identifier", [1, 127, 128, 16_384, 268_435_455])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_subscription_identifier(broker: Broker, name: str, identifier: int, qos: int) -> None:
    """It comes with every message, of any publisher, and with what is retained."""
    publishes(broker, name, b"kept", retain=True)
    client = connected(broker)
    client.ask(v5.subscribe(1, (name, qos), identifier=identifier), v5.suback(1, qos))
    assert client.message().says(v5.SUBSCRIPTION_ID) == [identifier]
    publishes(broker, name, b"x", v5.user("a", "b"), qos=qos)
    broker.publishes(name, b"y", qos=qos)
    assert [m.says(v5.SUBSCRIPTION_ID) for m in client.messages_until_ping()] == [[identifier]] * 2
    unretains(broker, name)


@holds("v5 [MQTT-3.3.4-2]", "v5 [MQTT-3.3.4-3]", "v5 [MQTT-3.3.4-4]")
def test_overlapping_subscriptions(broker: Broker, name: str) -> None:
    """One copy at the highest QoS, with all their identifiers."""
    client = subscribed(broker, (name + "/#", 0), identifier=1)
    client.subscribes((name + "/+", 2), identifier=2)
    client.subscribes((name + "/a", 1))
    client.subscribes((name + "/+/#", 1), identifier=2)
    publishes(broker, name + "/a", b"x", qos=2)
    (message,) = client.messages_until_ping()
    assert message.qos == 2
    assert sorted(map(str, message.says(v5.SUBSCRIPTION_ID))) == ["1", "2", "2"]


@holds("v5 [MQTT-3.3.4-3]", "v5 [MQTT-3.1.2-23]")
def test_identifiers_are_kept_with_the_session(broker: Broker, name: str) -> None:
    """They come with what was queued, and still hold afterwards."""
    client = kept(broker, name)
    client.subscribes((name, 1), identifier=300)
    client.leaves()
    publishes(broker, name, b"1", qos=1)
    client = resumed(broker, name)
    publishes(broker, name, b"2", qos=1)
    assert [m.says(v5.SUBSCRIPTION_ID) for m in client.messages_until_ping()] == [[300], [300]]
    client.leaves()
    forgets(broker, name)


# Topics


@holds("v5 [MQTT-4.7.2-1]", "v5 [MQTT-3.3.2-3]")
def test_wildcards(broker: Broker, name: str) -> None:
    """Each message has a topic that its filter matches; $ topics are apart."""
    client = subscribed(broker, (f"{name}/+/#", 0), ("+/" + name, 0), ("$app/" + name, 0))
    for topic in (name, name + "/a", name + "/a/b", "x/" + name, "$app/" + name, "$other/" + name):
        publishes(broker, topic, b"x")
    topics = [message.topic for message in client.messages_until_ping()]
    assert topics == [name + "/a", name + "/a/b", "x/" + name, "$app/" + name]


# Shared subscriptions


def members(broker: Broker, count: int, topic: str, qos: int = 1) -> list[Client]:
    """Clients that share a topic."""
    return [subscribed(broker, ("$share/g/" + topic, qos)) for _ in range(count)]


@holds("v5 §4.8.2")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_shared_in_turns(broker: Broker, name: str, qos: int) -> None:
    """Each message goes to one member; all get their part; who subscribed alone gets all."""
    group, alone = members(broker, 3, name, qos), subscribed(broker, (name, qos))
    for number in range(9):
        publishes(broker, name, b"%d" % number, qos=qos)
    got = [member.payloads() for member in group]
    assert sorted(payload for each in got for payload in each) == [b"%d" % number for number in range(9)]
    assert {len(each) for each in got} == {3}
    assert len(alone.payloads()) == 9


@holds("v5 [MQTT-4.8.2-3]")
def test_shared_at_each_members_qos(broker: Broker, name: str) -> None:
    """The QoS granted to the member that gets it counts."""
    group = [subscribed(broker, ("$share/g/" + name, qos)) for qos in (0, 1, 2)]
    for _ in range(3):
        publishes(broker, name, b"x", qos=2)
    assert [member.message().qos for member in group] == [0, 1, 2]


@holds("v5 §4.8.2")
def test_shared_by_several_groups(broker: Broker, name: str) -> None:
    """Each group is for itself, and its filter may have wildcards; versions mix."""
    first, second = members(broker, 2, name + "/#")
    other = subscribed(broker, ("$share/h/" + name + "/#", 0))
    old = broker.client()
    old.ask(subscribe(1, ("$share/h/" + name + "/#", 0)), suback(1, 0))
    for number in range(4):
        publishes(broker, f"{name}/{number}", b"x")
    counts = [len(client.messages_until_ping()) for client in (first, second, other)]
    assert counts == [2, 2, 2]
    assert len(old.packets_until_ping()) == 2


@holds("v5 §4.8.2")
@pytest.mark.parametrize("expiry", [0, 60])
def test_shared_when_a_member_leaves(broker: Broker, name: str, expiry: int) -> None:
    """What it has not acknowledged goes to another, in its order, and what it has does not."""
    leaver = kept(broker, name, ("$share/g/" + name, 1), expiry=expiry)
    for number in range(3):
        publishes(broker, name, b"%d" % number, qos=1)
    assert leaver.payloads() == [b"0", b"1", b"2"]
    leaver.send(v5.puback(1))
    leaver.expect_silence()
    (heir,) = members(broker, 1, name)
    leaver.drop()
    assert [heir.next_payload(), heir.next_payload()] == [b"1", b"2"]
    publishes(broker, name, b"3", qos=1)
    assert heir.next_payload() == b"3"
    forgets(broker, name)


@holds("v5 [MQTT-4.8.2-4]", "v5 [MQTT-4.8.2-5]")
def test_shared_at_qos_2_when_a_member_leaves(broker: Broker, name: str) -> None:
    """What is under way at QoS 2 is finished with the same member, or with nobody."""
    leaver = kept(broker, name, ("$share/g/" + name, 2))
    publishes(broker, name, b"x", qos=2)
    assert leaver.message().packet_id == 1
    (other,) = members(broker, 1, name, 2)
    leaver.drop()
    leaver = resumed(broker, name)
    leaver.expect(v5.publish(name, b"x", 1, qos=2, dup=True))
    leaver.drop()
    forgets(broker, name)
    other.expect_silence()


@holds("v5 [MQTT-4.8.2-6]")
def test_shared_when_a_member_refuses(broker: Broker, name: str) -> None:
    """What one member refuses is given to nobody else."""
    group = members(broker, 2, name, 2)
    for qos, refuse in ((1, v5.puback), (2, v5.pubrec)):
        publishes(broker, name, b"x", qos=qos)
        for member in group:
            for message in member.messages_until_ping():
                member.send(refuse(message.packet_id, 0x97))
    for member in group:
        member.expect_silence()
        member.drop()


@holds("v5 §4.8.2")
def test_shared_and_unsubscribed(broker: Broker, name: str) -> None:
    """Who unsubscribed gets no more."""
    first, second = members(broker, 2, name)
    first.ask(v5.unsubscribe(1, "$share/g/" + name), v5.unsuback(1, 0))
    for number in range(3):
        publishes(broker, name, b"%d" % number, qos=1)
    first.expect_silence()
    assert second.payloads() == [b"0", b"1", b"2"]


@holds("v5 §4.8.2", "v5 §3.8.3.1")
def test_shared_and_retained(broker: Broker, name: str) -> None:
    """Nothing retained is sent to who joins; RETAIN is as the member wants it."""
    publishes(broker, name, b"old", retain=True)
    client = connected(broker)
    client.ask(v5.subscribe(1, ("$share/g/" + name, v5.RETAIN_AS_PUBLISHED)), v5.suback(1, 0))
    client.expect_silence()
    publishes(broker, name, b"new", retain=True)
    assert client.message().retain
    unretains(broker, name)


@holds("v5 §4.8.2", "v5 [MQTT-3.3.4-3]")
def test_shared_and_overlapping(broker: Broker, name: str) -> None:
    """A shared and a plain subscription of one client are two, each with its identifier."""
    client = subscribed(broker, ("$share/g/" + name, 0), identifier=1)
    client.subscribes((name, 0), identifier=2)
    publishes(broker, name, b"x")
    found = [message.says(v5.SUBSCRIPTION_ID) for message in client.messages_until_ping()]
    assert sorted(found) == [[1], [2]]


@holds("v5 §4.8.2")
def test_shared_while_everybody_is_away(broker: Broker, name: str) -> None:
    """A kept session of the group gets it later."""
    kept(broker, name, ("$share/g/" + name, 1)).leaves()
    publishes(broker, name, b"x", qos=1)
    client = resumed(broker, name)
    assert client.payloads() == [b"x"]
    client.leaves()
    forgets(broker, name)
