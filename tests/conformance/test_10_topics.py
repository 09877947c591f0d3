"""v3 §4.7, §1.5.3: topic names, topic filters, and the text they are made of."""

from __future__ import annotations

import pytest

from tests.conformance.harness import Broker
from tests.conformance.packets import packet, publish, suback, subscribe, text
from tests.conformance.statements import holds

# Topics below the test's own level T, and whether each filter matches each of them.
TOPICS = ("T", "T/", "T/a", "T/a/", "T/a/b", "T//b", "/T", "T/a/b/c", "T/A", "T/ a", "T/$a")
MATCHES = {
    "T": ("T",),
    "T/": ("T/",),
    "T/a": ("T/a",),
    "T/#": ("T", "T/", "T/a", "T/a/", "T/a/b", "T//b", "T/a/b/c", "T/A", "T/ a", "T/$a"),
    "T/+": ("T/", "T/a", "T/A", "T/ a", "T/$a"),
    "T/+/+": ("T/a/", "T/a/b", "T//b"),
    "T/+/b": ("T/a/b", "T//b"),
    "T/a/+": ("T/a/", "T/a/b"),
    "T/a/#": ("T/a", "T/a/", "T/a/b", "T/a/b/c"),
    "T/+/#": ("T/", "T/a", "T/a/", "T/a/b", "T//b", "T/a/b/c", "T/A", "T/ a", "T/$a"),
    "T/+/b/#": ("T/a/b", "T//b", "T/a/b/c"),
    "T/a/b/+": ("T/a/b/c",),
    "T//+": ("T//b",),
    "T//#": ("T/", "T//b"),
    "+/T": ("/T",),
    "/+": ("/T",),
    "/T": ("/T",),
    "/T/#": ("/T",),
    "+/a": ("T/a",),
    "+/a/b": ("T/a/b",),
    "T/$a": ("T/$a",),
    "T/A": ("T/A",),
}


def topics_of(messages: list[bytes], level: str) -> list[str]:
    """The topic names of QoS 0 PUBLISH packets, of those that have this level: others are other tests'."""
    topics = [message[4 : 4 + message[3]].decode() for message in messages]
    return sorted(topic for topic in topics if level in topic.split("/"))


@holds("v3 [MQTT-4.7.1-2]", "v3 [MQTT-4.7.1-3]", "v3 [MQTT-3.3.2-3]", "v3 [MQTT-4.7.3-4]")
@pytest.mark.parametrize("topic_filter", MATCHES)
def test_matching(broker: Broker, name: str, topic_filter: str) -> None:
    """Each filter gets exactly the topics that the standard says it matches."""
    client = broker.client(None, (topic_filter.replace("T", name), 0))
    publisher = broker.client()
    for topic in TOPICS:
        publisher.publishes(topic.replace("T", name), b"x")
    expected = sorted(topic.replace("T", name) for topic in MATCHES[topic_filter])
    assert topics_of(client.packets_until_ping(), name) == expected


@holds("v3 [MQTT-4.7.1-2]", "v3 [MQTT-3.3.1-6]", "v3 [MQTT-3.3.2-3]")
@pytest.mark.parametrize("topic_filter", MATCHES)
def test_matching_of_retained_messages(broker: Broker, name: str, topic_filter: str) -> None:
    """And the same for what is retained."""
    publisher = broker.client()
    for topic in TOPICS:
        publisher.publishes(topic.replace("T", name), b"x", retain=True)
    expected = sorted(topic.replace("T", name) for topic in MATCHES[topic_filter])
    found = topics_of(broker.retained(topic_filter.replace("T", name)), name)
    for topic in TOPICS:
        publisher.publishes(topic.replace("T", name), b"", retain=True)
    assert found == expected


@holds("v3 §4.7.1.2")
def test_everything(broker: Broker, name: str) -> None:
    """# alone gets every topic that does not begin with $."""
    client = broker.client(None, ("#", 0))
    client.packets_until_ping()  # what other tests retained
    for topic in (name, "/" + name, name + "/", f"{name}/a/b"):
        broker.publishes(topic, b"x")
        client.expect(publish(topic, b"x"))


BAD_FILTERS = [
    "",
    "a#",
    "#a",
    "#/a",
    "a/#/b",
    "a/b#",
    "##",
    "a/##",
    "+a",
    "a+",
    "a/b+/c",
    "a/+b",
    "++",
    "+#",
    "a/+#",
    "#+",
]


@holds("v3 [MQTT-4.7.1-2]", "v3 [MQTT-4.7.1-3]", "v3 [MQTT-4.7.3-1]", "v3 [MQTT-4.8.0-1]")
@pytest.mark.parametrize("topic_filter", BAD_FILTERS)
def test_bad_filters(broker: Broker, topic_filter: str) -> None:
    """A wildcard that is no whole level, or # before the end, is no filter."""
    client = broker.client()
    client.send(subscribe(1, (topic_filter, 0)))
    client.expect_closed()


@holds("v3 [MQTT-4.7.1-1]", "v3 [MQTT-3.3.2-2]")
@pytest.mark.parametrize("topic", ["#", "+", "a/#", "a/+/b", "a+", "a#b"])
def test_wildcards_in_a_topic_name(broker: Broker, topic: str) -> None:
    """Nobody publishes to a wildcard."""
    client = broker.client()
    client.send(publish(topic, b"x"))
    client.expect_closed()


@holds("v3 [MQTT-4.7.2-1]")
@pytest.mark.parametrize("topic_filter", ["#", "+/#", "+/{name}", "+/+", "+"])
def test_dollar_topics_are_apart(broker: Broker, name: str, topic_filter: str) -> None:
    """A filter that begins with a wildcard sees no topic that begins with $."""
    client = broker.client(None, (topic_filter.format(name=name), 0))
    client.packets_until_ping()  # what other tests retained
    broker.publishes("$app/" + name, b"hidden", retain=True)
    broker.publishes("$app", b"hidden")
    client.expect_silence()
    assert [m for m in broker.retained(topic_filter.format(name=name)) if b"hidden" in m] == []
    broker.publishes("$app/" + name, b"", retain=True)


@holds("v3 [MQTT-4.7.2-1]")
@pytest.mark.parametrize("topic_filter", ["$app/{name}", "$app/#", "$app/+"])
def test_dollar_topics_are_topics(broker: Broker, name: str, topic_filter: str) -> None:
    """A filter that begins with the same level as a $ topic matches it like any other."""
    client = broker.client(None, (topic_filter.format(name=name), 0))
    broker.publishes("$app/" + name, b"seen")
    client.expect(publish("$app/" + name, b"seen"))


@holds("v3 [MQTT-4.7.2-1]", "v3 §4.7.2")
def test_sys_topics(broker: Broker) -> None:
    """$SYS is the broker's own: shown to who asks for it, not through #, and written by no client."""
    version = broker.client(None, ("$SYS/broker/version", 0)).packet()
    assert version.startswith(b"\x31") and b"$SYS/broker/version" in version
    everything = broker.client(None, ("#", 0), ("+/broker/version", 0))
    assert [message for message in everything.packets_until_ping() if b"$SYS" in message] == []
    watcher = broker.client(None, ("$SYS/forged", 0))
    broker.publishes("$SYS/forged", b"x", qos=1, retain=True)
    watcher.expect_silence()


@holds("v3 [MQTT-4.7.3-4]")
def test_topics_are_not_normalised(broker: Broker, name: str) -> None:
    """Case, accents in two spellings, spaces, dots and slashes all make another topic."""
    spellings = [
        "é",
        "e\u0301",
        "E",
        "e",
        " e",
        "e ",
        "./e",
        "e/../e",
        "%65",
        "e/",
        "//e",
        "\uff45",
        "\u017f",
        "s",
        "K",
        "K",
    ]
    watchers = {s: broker.client(None, (f"{name}/{s}", 0)) for s in dict.fromkeys(spellings)}
    for spelling in watchers:
        broker.publishes(f"{name}/{spelling}", spelling.encode())
    for spelling, watcher in watchers.items():
        watcher.expect(publish(f"{name}/{spelling}", spelling.encode()))
        watcher.expect_silence()


ILL_FORMED = {
    "a lone continuation": b"\x80",
    "a byte that never occurs": b"\xff",
    "cut short": b"\xe2\x82",
    "an overlong slash": b"\xc0\xaf",
    "an overlong U+0000": b"\xc0\x80",
    "a surrogate": b"\xed\xa0\x80",
    "a pair of surrogates": b"\xed\xa0\xbd\xed\xb8\x80",
    "beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "U+0000": b"\x00",
}


@holds("v3 [MQTT-1.5.3-1]", "v3 [MQTT-1.5.3-2]", "v3 [MQTT-4.7.3-2]", "v3 [MQTT-3.3.2-1]")
@pytest.mark.parametrize("text", ILL_FORMED.values(), ids=ILL_FORMED)
def test_ill_formed_text(broker: Broker, text: bytes) -> None:
    """What is no UTF-8, or holds U+0000, is no topic name, no filter and no client id."""
    publisher, subscriber = broker.client(), broker.client()
    publisher.send(publish(b"a/" + text, b"x"))
    subscriber.send(subscribe(1, (b"a/" + text, 0)))
    publisher.expect_closed()
    subscriber.expect_closed()


@holds("v3 [MQTT-1.5.3-1]", "v3 [MQTT-1.5.3-3]", "v3 [MQTT-4.7.3-4]")
@pytest.mark.parametrize(
    "text",
    [
        "\ufeff",
        "\ufeffa",
        "a\ufeff",
        "\U0001f600",
        "\u20ac",
        "\u07ff",
        "\ud7ff",
        "\ue000",
        "\U0010fffd",
        "\u202e",
    ],
)
def test_any_character_is_kept(broker: Broker, name: str, text: str) -> None:
    """Every character goes through as it is; a byte order mark at the beginning is no exception."""
    topic = f"{text}/{name}/{text}"
    client = broker.client(None, (topic, 0))
    broker.publishes(topic, b"x")
    client.expect(publish(topic, b"x"))


@holds("v3 [MQTT-4.7.3-3]")
def test_the_longest_topic(broker: Broker, name: str) -> None:
    """A topic may have 65535 bytes, as a filter and as a name."""
    topic = (name + "/").ljust(65535, "x")
    client = broker.client(None, (topic, 1))
    broker.publishes(topic, b"x", qos=1)
    client.expect(publish(topic, b"x", 1, qos=1))


@holds("v3 [MQTT-4.7.3-3]", "v3 §4.7.3")
def test_deep_topics(broker: Broker, name: str) -> None:
    """A hundred levels, and wildcards for many of them."""
    levels = [name] + ["x"] * 99
    client = broker.client(None, ("/".join([name] + ["+"] * 99), 0))
    broker.publishes("/".join(levels), b"deep")
    client.expect(publish("/".join(levels), b"deep"))


@holds("mosquitto: more than 200 levels are refused")
def test_too_deep_topics(broker: Broker) -> None:
    """A topic of nothing but slashes costs its length in levels; nobody needs one."""
    client = broker.client()
    client.send(publish("/" * 65535, b"x"))
    client.expect_closed()


@holds("v3 [MQTT-4.7.3-1]")
def test_shortest_topics(broker: Broker) -> None:
    """One character is enough, a slash too."""
    for topic in ("/", " ", "x", "//"):
        client = broker.client(None, (topic, 0))
        broker.publishes(topic, b"short")
        client.expect(publish(topic, b"short"))
        client.leave()


@holds("v3 [MQTT-3.8.3-1]")
def test_many_filters_at_once(broker: Broker, name: str) -> None:
    """A SUBSCRIBE may hold a thousand filters."""
    client = broker.client()
    body = b"\x00\x01" + b"".join(text(f"{name}/{n}") + b"\x00" for n in range(1000))
    client.ask(packet(0x82, body), suback(1, *[0] * 1000))
    broker.publishes(name + "/999", b"x")
    client.expect(publish(name + "/999", b"x"))
