"""Doors that are not a plain TCP port, and settings that are old."""

from __future__ import annotations

from typing import Any

from tests.deployments.deployment import DeploymentCase, Difference, Stage
from tests.deployments.visitor import V5, V31, V311, Visitor
from tests.transports.proxies import COMMON_NAME, LINE, TCP4, binary, ssl

VERSIONS = (V31, V311, V5)


class DoorTests(DeploymentCase):
    """How clients get in, whatever they may do then."""

    def test_dashboard(self) -> None:
        """A browser's clients meet those of the other door."""

        def scene(stage: Stage) -> None:
            pages = [
                stage.guest(f"page {n}", version, port="web", transport="websockets")
                for n, version in enumerate((V311, V5))
            ]
            device = stage.guest("device")
            for each in (*pages, device):
                each.subscribe("#", qos=2)
            for qos in range(3):
                device.publish("a", f"device {qos}", qos)
                pages[0].publish("b", f"page {qos}" + "x" * 5000, qos)
            for name, each in (("page", pages[0]), ("page 5", pages[1]), ("device", device)):
                stage.note(name, sorted(each.got()))
            for each in pages:
                each.leave()
            stranger = stage.visitor("stranger", transport="websockets")
            stranger.client.ws_set_options(headers={"Origin": "https://example.org"})
            stage.note("another page", stranger.come(stage.port("web")))

        because = "2.0 does not know websockets_origin"
        self.play("dashboard", scene, [Difference("another page", "Success", "no connection", because)])

    def test_unix_socket(self) -> None:
        """Through a file as through a port."""

        def scene(stage: Stage) -> None:
            inside = stage.visitor("inside", transport="unix")
            stage.note("inside", inside.come(str(stage.directory / "broker.sock")))
            outside = stage.guest("outside", V5)
            for each in (inside, outside):
                each.subscribe("#", qos=1)
                each.publish("a", "1")
            stage.note("inside gets", inside.got())
            stage.note("outside gets", outside.got())

        self.play("unix_socket", scene)

    def test_old_times(self) -> None:
        """A file from the days of one listener; client ids need their prefix."""

        def scene(stage: Stage) -> None:
            for client_id in ("home-1", "other", ""):
                for version in VERSIONS:
                    stage.note(f"{client_id!r} {version.name}", stage.try_door(client_id, version))
            visitor = stage.guest("home-2")
            visitor.subscribe("#", qos=2)
            visitor.publish("a", "1", 2, retain=True)
            stage.note("got", visitor.got())

        self.play("old_times", scene)

    def test_bridge(self) -> None:
        """Whether or not there is a way to the head office, the branch goes on."""

        def scene(stage: Stage) -> None:
            visitor = stage.guest("v")
            visitor.subscribe("#", qos=1)
            visitor.publish("readings/1", "1")
            stage.note("got", [one for one in visitor.got() if one.topic != "bridge/state"])
            told = visitor.publish("$SYS/broker/connection/branch1/state", "1", retain=True)
            stage.note("state of another bridge", told)
            late = stage.guest("late")
            late.subscribe("$SYS/broker/connection/branch1/state")
            stage.note("state", late.got())

        _, pushd = self.play("bridge", scene)
        self.assertIn("connection is not implemented yet", pushd.broker.log())

    def test_behind_proxy(self) -> None:
        """pushd takes what the proxy says of its clients; without it, nobody gets in."""

        def scene(stage: Stage) -> None:
            headers = (
                ("mqtt", LINE),
                ("tls", binary(TCP4 + ssl(0x07, 0, COMMON_NAME))),
                ("tls", binary(TCP4)),
                ("mqtt", b""),
            )
            for number, (port, header) in enumerate(headers):
                visitor = stage.visitor(f"v{number}")
                if stage.is_pushd:
                    _announce(visitor, header)
                stage.note(f"header {number}", visitor.come(stage.port(port)) == "Success")

        differences = (
            Difference("header 2", True, False, "2.0 knows no proxies; without TLS this one is refused"),
            Difference("header 3", True, False, "the same, without a header"),
        )
        self.play("behind_proxy", scene, differences)

    def test_shared_keys(self) -> None:
        """pushd knows no pre-shared keys: that door stays shut, the other is open."""

        def scene(stage: Stage) -> None:
            words = ("-p", stage.port("shut_psk"), "--psk", "0123456789abcdef", "--psk-identity", "ada")
            outcome = stage.run("mosquitto_pub", *words, "-t", "a", "-m", "b")
            stage.note("by key", outcome.status == 0)
            stage.note("by password", stage.try_door(user="ada"))

        because = "TLS with pre-shared keys is not implemented; better shut than open"
        self.play("shared_keys", scene, [Difference("by key", True, False, because)])


def _announce(visitor: Visitor, header: bytes) -> None:
    """Send what a proxy says before all else."""

    def opened(_: Any, __: Any, connection: Any) -> None:
        connection.sendall(header)

    visitor.client.on_socket_open = opened
