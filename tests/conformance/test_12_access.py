"""v3 §3.1.3.4, §3.3.5: user names, passwords, access rules, and listeners that differ."""

from __future__ import annotations

import pytest

from tests.conformance.harness import Broker, unique
from tests.conformance.packets import (
    ACCEPTED,
    PINGREQ,
    PINGRESP,
    connack,
    connect,
    pubcomp,
    publish,
    pubrec,
    pubrel,
    subscribe,
)
from tests.conformance.statements import holds

REFUSED = {
    "anonymous": (None, None),
    "an empty name": ("", b"secret"),
    "unknown": ("mallory", b"secret"),
    "a wrong password": ("alice", b"wrong"),
    "no password": ("alice", None),
    "an empty password": ("alice", b""),
    "a password with more behind it": ("alice", b"secret "),
    "another case": ("Alice", b"secret"),
    "not even text": ("alice", b"\xff\xfe"),
    "a long one": ("alice", b"x" * 65535),
}


@holds(
    "v3 [MQTT-3.2.2-4]", "v3 [MQTT-3.2.2-5]", "mosquitto: every failure to identify oneself is return code 5"
)
@pytest.mark.parametrize(("username", "password"), REFUSED.values(), ids=REFUSED)
def test_refused(guarded: Broker, username: str | None, password: bytes | None) -> None:
    """Whoever is not known, or cannot prove it, is told "not authorised", then closed."""
    client = guarded.open()
    client.ask(connect(unique(), username=username, password=password), connack(5))
    client.expect_closed()


@holds("v3 [MQTT-3.1.4-4]", "v3 §3.1.3.5")
@pytest.mark.parametrize(
    ("username", "password"), [("alice", b"secret"), ("bob", b"\xff\0binary"), ("zoë", b"pass word")]
)
def test_accepted(guarded: Broker, username: str, password: bytes) -> None:
    """A password is any bytes, a user name any text."""
    client = guarded.open()
    client.ask(connect(unique(), username=username, password=password), ACCEPTED)
    client.leave()


@holds("v3 [MQTT-3.1.4-5]")
def test_what_follows_a_wrong_password_is_ignored(guarded: Broker, name: str) -> None:
    """While the password is checked nothing else is, and nothing after it was wrong."""
    watcher = guarded.client(None, ("open/" + name, 0))
    client = guarded.open()
    client.ask(
        connect(unique(), username="alice", password=b"wrong")
        + publish("open/" + name, b"sneaked in") * 50
        + PINGREQ,
        connack(5),
    )
    client.expect_closed()
    watcher.expect_silence()


@holds("v3 §3.1.4")
def test_pipelining_while_the_password_is_checked(guarded: Broker, name: str) -> None:
    """What comes behind a good CONNECT waits for the answer, and is not lost."""
    client = guarded.open()
    client.send(connect(unique(), username="alice", password=b"secret") + subscribe(1, ("open/" + name, 0)))
    client.send_bytewise(publish("open/" + name, b"x") + PINGREQ)
    client.expect(ACCEPTED, b"\x90\x03\x00\x01\x00")
    client.expect(publish("open/" + name, b"x"))
    client.expect(PINGRESP)


@holds("v3 [MQTT-3.1.4-2]", "v3 §3.1.4")
def test_a_wrong_password_takes_nothing_over(guarded: Broker, name: str) -> None:
    """Knowing a client id is not enough to throw its owner out."""
    owner = guarded.client(name)
    thief = guarded.open()
    thief.ask(connect(name, username="alice", password=b"guess"), connack(5))
    thief.expect_closed()
    owner.expect_silence()


@holds("v3 §3.1.4")
def test_leaving_while_the_password_is_checked(guarded: Broker, name: str) -> None:
    """A client that is gone before it is let in leaves no trace; not even a Will."""
    for _ in range(5):
        client = guarded.open()
        client.send(connect(name, username="alice", password=b"secret"))
        client.drop()
    guarded.client(name).leave()


@holds("v3 [MQTT-3.3.5-2]")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_publish_that_is_not_allowed(guarded: Broker, name: str, qos: int) -> None:
    """3.1.1 cannot say no to a PUBLISH: it is acknowledged, and goes nowhere."""
    watcher = guarded.client(None, ("read/" + name, 0))
    client = guarded.client()
    client.publishes("read/" + name, b"x", qos=qos)
    client.publishes("read/" + name, b"x", qos=qos)
    watcher.expect_silence()


@holds("v3 [MQTT-3.3.5-2]", "v3 [MQTT-4.3.3-2]")
def test_qos_2_that_is_not_allowed(guarded: Broker, name: str) -> None:
    """Its handshake goes on as usual, with repetitions."""
    client = guarded.client()
    client.ask(publish("secret/" + name, b"x", 3, qos=2) * 2, pubrec(3), pubrec(3))
    client.ask(pubrel(3) * 2, pubcomp(3), pubcomp(3))


@holds("mosquitto: acl_file does not refuse subscriptions, it filters messages")
def test_subscription_to_what_may_not_be_read(guarded: Broker, name: str) -> None:
    """A subscription is granted, but brings only what may be read: retained or not."""
    publisher = guarded.client()
    publisher.publishes("write/" + name, b"x", retain=True)
    client = guarded.client(None, ("#", 0))
    client.packets_until_ping()
    publisher.publishes("write/" + name, b"x")
    publisher.publishes("open/" + name, b"x")
    client.expect(publish("open/" + name, b"x"))
    client.expect_silence()


@holds("mosquitto: pattern lines of acl_file")
def test_patterns(guarded: Broker, name: str) -> None:
    """%u and %c stand for the client's own name and id."""
    bob = guarded.open()
    bob.ask(connect(name, username="bob", password=b"\xff\0binary"), ACCEPTED)
    bob.subscribe(("own/#", 0), ("id/#", 0))
    for topic in ("own/bob/x", "own/alice/x", f"id/{name}/x", "id/other/x"):
        bob.send(publish(topic, b"x"))
    bob.expect(publish("own/bob/x", b"x"), publish(f"id/{name}/x", b"x"))
    bob.expect_silence()


@holds("v3 [MQTT-3.3.5-2]", "v3 [MQTT-3.1.2-8]")
def test_will_that_is_not_allowed(guarded: Broker, name: str) -> None:
    """A Will may go only where its client may publish."""
    watcher = guarded.client(None, ("read/" + name, 0), ("open/" + name, 0))
    for topic in ("read/" + name, "open/" + name):
        client = guarded.open()
        client.ask(
            connect(unique(), username="alice", password=b"secret", will=(topic, b"gone", 1, False)), ACCEPTED
        )
        client.drop()
    watcher.expect(publish("open/" + name, b"gone"))
    watcher.expect_silence()


@holds("mosquitto: mount_point")
def test_mount_point(guarded: Broker, name: str) -> None:
    """Clients of a listener with a mount point see their topics without it; others see it in front."""
    inside = guarded.open(second_port=True)
    inside.ask(connect(unique(), username="alice", password=b"secret"), ACCEPTED)
    inside.subscribe((name, 1), ("b/" + name, 1))
    outside = guarded.client(None, ("open/inside/#", 1))
    guarded.publishes("open/inside/" + name, b"in")
    inside.expect(publish(name, b"in"))
    outside.expect(publish("open/inside/" + name, b"in"))
    inside.send(publish("b/" + name, b"out") * 2)
    outside.expect(publish("open/inside/b/" + name, b"out") * 2)
    inside.expect(publish("b/" + name, b"out") * 2)


@holds("mosquitto: mount_point", "v3 [MQTT-3.1.2-8]")
def test_mount_point_of_a_will(guarded: Broker, name: str) -> None:
    """The Will of such a client is inside its mount point as well."""
    watcher = guarded.client(None, ("open/#", 0))
    watcher.packets_until_ping()
    client = guarded.open(second_port=True)
    client.ask(
        connect(unique(), username="alice", password=b"secret", will=(name, b"gone", 0, False)), ACCEPTED
    )
    client.drop()
    watcher.expect(publish("open/inside/" + name, b"gone"))


@holds("mosquitto: max_connections closes what is too much")
def test_max_connections(guarded: Broker) -> None:
    """One connection too many is closed at once; when another leaves there is room again."""
    clients = [guarded.open(second_port=True) for _ in range(3)]
    for client in clients:
        client.ask(connect(unique(), username="alice", password=b"secret"), ACCEPTED)
    guarded.open(second_port=True).expect_closed()
    clients.pop().leave()
    another = guarded.open(second_port=True)
    another.ask(connect(unique(), username="alice", password=b"secret"), ACCEPTED)
    for client in [*clients, another]:
        client.leave()


@holds("mosquitto: queue_qos0_messages")
def test_qos_0_waits_where_it_is_told_to(guarded: Broker, name: str) -> None:
    """With queue_qos0_messages a session that is kept misses nothing, in order."""
    guarded.session(name, ("open/" + name, 2)).leave()
    publisher = guarded.client()
    for n in range(3):
        publisher.publishes("open/" + name, b"%d" % n, qos=n)
    client = guarded.resumed(name)
    client.expect(
        publish("open/" + name, b"0"),
        publish("open/" + name, b"1", 1, qos=1),
        publish("open/" + name, b"2", 2, qos=2),
    )
    guarded.forgets(name)
