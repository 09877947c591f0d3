"""Which messages get through, and how."""

from __future__ import annotations

from typing import Any

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.deployments.deployment import DeploymentCase, Difference, Stage
from tests.deployments.visitor import V5, V31, V311, Visitor, connect_properties

VERSIONS = (V31, V311, V5)
ALIAS = Properties(PacketTypes.PUBLISH)
ALIAS.TopicAlias = 3


class MessageTests(DeploymentCase):
    """Retained messages, queues, limits and versions."""

    def test_home_server(self) -> None:
        """Devices announce themselves with retained messages and Wills; whoever comes later finds them."""

        def scene(stage: Stage) -> None:
            bridge = stage.visitor("zigbee2mqtt", clean_session=False)
            bridge.client.will_set("zigbee2mqtt/bridge/state", "offline", 1, retain=True)
            bridge.come(stage.port("mqtt"))
            bridge.subscribe("zigbee2mqtt/+/set", "zigbee2mqtt/bridge/request/#", qos=1)
            bridge.publish("zigbee2mqtt/bridge/state", "online", retain=True)
            for number in range(3):
                bridge.publish(f"homeassistant/light/{number}/config", str(number), 2, retain=True)
            bridge.publish("homeassistant/light/1/config", "", 1, retain=True)
            home = stage.guest("home", V5)
            home.subscribe("homeassistant/#", "zigbee2mqtt/#", "zigbee2mqtt/bridge/+", qos=2)
            stage.note("found", sorted(home.got()))
            for qos in range(3):
                home.publish("zigbee2mqtt/lamp/set", f"on {qos}", qos)
            stage.note("lamp", [one for one in bridge.got() if one.topic == "zigbee2mqtt/lamp/set"])
            bridge.die()
            stage.note("Will", home.until("offline")[-1])
            late = stage.guest("late", V31)
            late.subscribe("zigbee2mqtt/bridge/state")
            stage.note("last Will", late.got())

        self.play("home_server", scene)

    def test_small_router(self) -> None:
        """Each limit of a small machine: what is too large, too much or too many."""

        def scene(stage: Stage) -> None:
            first, _ = (stage.guest(name) for name in ("first", "second"))
            third = stage.guest("third")
            stage.note("a fourth", stage.try_door("fourth"))
            third.leave()
            first.got()  # by then the broker knows
            stage.note("in place of the third", stage.try_door("fifth"))

        self.play("small_router", scene)

    def test_small_queues(self) -> None:
        """What waits for a client that is away: QoS 0 too, and as much as there is room for."""

        def scene(stage: Stage) -> None:
            sessions = {"qos1": (1, 1), "qos2": (2, 1), "bytes": (1, 25)}
            for client_id in (*sessions, "mixed"):
                visitor = stage.guest(client_id, clean_session=False)
                visitor.subscribe(f"{client_id}/#", qos=2)
                visitor.leave()
            sender = stage.guest("sender")
            for number in range(10):
                for client_id, (qos, size) in sessions.items():
                    sender.publish(f"{client_id}/{number}", "x" * size, qos)
            for number, qos in enumerate((0, 1, 0, 1)):
                sender.publish(f"mixed/{number}", "x", qos)
            for client_id in (*sessions, "mixed"):
                visitor = stage.guest(client_id, clean_session=False)
                stage.note(client_id, sorted((one.topic, one.qos) for one in visitor.got()))
                visitor.leave()

        two = [("bytes/0", 1), ("bytes/1", 1)]
        because = "2.0 looks whether max_queued_bytes is reached, and takes one more; here it is the limit"
        self.play("small_router", scene, [Difference("bytes", [*two, ("bytes/2", 1)], two, because)])

    def test_small_sizes(self) -> None:
        """A payload above the limit vanishes with an answer; a packet above it ends the connection."""

        def scene(stage: Stage) -> None:
            reader = stage.guest("reader", V5)
            reader.subscribe("#", qos=1)
            for version in VERSIONS:
                for size in (200, 201, 500):
                    for qos in range(3):
                        sender = stage.guest("sender", version)
                        told = sender.publish(f"{version.name}/{qos}/{size}", "x" * size, qos)
                        # What a closed connection still had to say is lost if we were writing.
                        told = "ended" if size == 500 and told.startswith("ended: ") else told
                        stage.note(f"{version.name}, QoS {qos}, {size} bytes", told)
                        sender.leave()
            stage.note("got", sorted((one.topic, one.qos) for one in reader.got()))
            stage.note("limits", [reader.told.get(name) for name in ("MaximumPacketSize", "ReceiveMaximum")])

        closed = "ended: Protocol error"
        answer = "2.0 answers with Packet too large, which is no code of a PUBACK or PUBREC: paho hangs up"
        differences = (
            Difference("MQTTv5, QoS 1, 201 bytes", closed, "Quota exceeded", answer),
            # What paho makes of a PUBREC that refuses: it sends a PUBREL all the same.
            Difference("MQTTv5, QoS 2, 201 bytes", closed, "Packet identifier not found", answer),
        )
        self.play("small_router", scene, differences)

    def test_small_patience(self) -> None:
        """A keep alive above the limit: version 5 is told a shorter one."""

        def scene(stage: Stage) -> None:
            for version in VERSIONS:
                visitor = stage.visitor("patient", version)
                told = visitor.come(stage.port("mqtt"), keepalive=1000)
                stage.note(version.name, (told, visitor.told.get("ServerKeepAlive")))
                visitor.leave()

        refused = ("Client identifier not valid", None)
        because = "version 3 cannot be told; as 2.1, pushd refuses what it would not hold to"
        versions = [version.name for version in (V31, V311)]
        differences = [Difference(each, ("Success", None), refused, because) for each in versions]
        self.play("small_router", scene, differences)

    def test_latest_only(self) -> None:
        """Without retained messages and QoS 2: who asks for them all the same is told, or thrown out."""

        def scene(stage: Stage) -> None:
            reader = stage.guest("reader", V5)
            terms = ("RetainAvailable", "MaximumQoS", "TopicAliasMaximum")
            stage.note("CONNACK", [reader.told.get(name) for name in terms])
            stage.note("SUBACK", reader.subscribe("#", qos=2))
            old = stage.guest("old")
            stage.note("old SUBACK", old.subscribe("+/1", "a/#", qos=2))
            for version in VERSIONS:
                for qos in range(3):
                    for retain in (False, True):
                        sender = stage.guest(version.name, version)
                        told = sender.publish("a/1", f"{version.name} {qos} {retain}", qos, retain)
                        stage.note(f"QoS {qos}, retain {retain} from {version.name}", told)
                        sender.leave()
            sender = stage.guest("aliases", V5)
            stage.note("an alias too high", sender.publish("a/1", "alias", 1, said=ALIAS))
            stage.note("reader gets", reader.got())
            stage.note("old gets", old.got())
            late = stage.guest("late")
            late.subscribe("#")
            stage.note("retained", late.got())

        differences = (
            Difference(
                "QoS 2, retain True from MQTTv5",
                "ended: QoS not supported",
                "ended: Retain not supported",
                "neither is; which is told first does not matter",
            ),
        )
        self.play("latest_only", scene, differences)

    def test_fleet(self) -> None:
        """Sessions of all versions are kept; a subscriber's QoS counts, and overlaps bring one copy."""

        def scene(stage: Stage) -> None:
            for version in VERSIONS:
                device = _device(stage, version)
                told = device.subscribe(f"devices/{version.name}/#", "devices/+/all", qos=1)
                stage.note(f"{version.name} subscribes", told)
                device.leave()
            boss = stage.guest("boss", V5)
            for qos in range(3):
                boss.publish("devices/1/all", str(qos), qos)
                boss.publish("devices/MQTTv311/all", str(qos), qos)
            boss.publish("devices/MQTTv5/all", "5")
            boss.publish("devices/config", "kept", 1, retain=True)
            boss.leave()
            stage.start_again()
            for version in VERSIONS:
                device = _device(stage, version)
                got = device.got()
                stage.note(f"{version.name} comes back", device.session_present)
                stage.note(f"{version.name} gets", [one for one in got if one.payload != "5"])
                stage.note(f"{version.name} gets 5", [one.payload for one in got if one.payload == "5"])
                device.leave()
            late = stage.guest("late")
            late.subscribe("devices/config", qos=2)
            stage.note("retained", late.got())

        because = "2.0 means version 3 only; here allow_duplicate_messages false is for all"
        self.play("fleet", scene, [Difference("MQTTv5 gets 5", ["5", "5"], ["5"], because)])

    def test_old_clients(self) -> None:
        """A door for old versions, with QoS 0 only."""

        def scene(stage: Stage) -> None:
            for version in VERSIONS:
                stage.note(f"{version.name}", stage.try_door("c", version, port="old"))
            reader = stage.guest("reader", port="old")
            stage.note("SUBACK", reader.subscribe("a/#", qos=2))
            sender = stage.guest("sender", V5)
            for qos in range(3):
                sender.publish("a/1", str(qos), qos)
            stage.note("reader gets", reader.got())
            stage.note("QoS 1", reader.publish("a", "1", 1))

        differences = (
            Difference("MQTTv5", "Success", "Unsupported protocol version", "2.0 cannot refuse a version"),
        )
        self.play("old_clients", scene, differences)

    def test_moved_here(self) -> None:
        """With pushd's own options set, clients of a 2.0 configuration notice nothing."""

        def scene(stage: Stage) -> None:
            visitors = [stage.guest(name, user=name, clean_session=False) for name in ("ada", "bob")]
            ada, bob = visitors
            stage.note("SUBACK", bob.subscribe("#", "secret/1", qos=1))
            for topic in ("room-bob/1", "room-ada/1", "room-bob", "secret/1"):
                ada.publish(topic, "1")
            stage.note("bob gets", sorted(bob.got()))
            bob.leave()
            ada.got()  # by then the broker knows
            for number in range(5):
                ada.publish("room-bob/2", str(number))
            stage.note("bob gets later", stage.guest("bob", user="bob", clean_session=False).got())
            stage.note("failed logins", [stage.try_door("x", user="eve:guess") for _ in range(5)])

        self.play("moved_here", scene)


def _device(stage: Stage, version: Any) -> Visitor:
    """Whose session is kept."""
    if version == V5:
        device, said = (
            stage.visitor("five", V5),
            {"properties": connect_properties(SessionExpiryInterval=1000)},
        )
    else:
        device, said = stage.visitor(version.name, version, clean_session=False), {}
    device.come(stage.port("mqtt"), clean=False, **said)
    return device
