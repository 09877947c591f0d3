"""``acl_check_subscribe true``: a client is told at once that there is nothing for it."""

from __future__ import annotations

from queue import SimpleQueue

from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.clients.furniture import BrokerTestCase
from tests.clients.paho_device import V5, V311, Device
from tests.processes import DEADLINE_S

FILTERS = ("sensors/#", "#", "alerts/#", "$share/group/alerts", "$share/group/sensors/+/state")


class CheckSubscribeTests(BrokerTestCase):
    """Clients that subscribe."""

    settings = (
        "per_listener_settings true\n"
        "listener {mqtt} 127.0.0.1\nallow_anonymous true\nacl_file acl\nacl_check_subscribe true\n"
        "listener {lenient} 127.0.0.1\nallow_anonymous true\nacl_file acl\n"
    )
    acl = "topic read sensors/+/state\ntopic write #\n"

    def suback(self, version: MQTTProtocolVersion, port: str = "mqtt") -> list[int]:
        """The codes for all filters in one SUBSCRIBE."""
        device = Device("dev", version)
        self.addCleanup(device.leave)
        codes: SimpleQueue[list[int]] = SimpleQueue()
        device.client.on_subscribe = lambda _, __, ___, told, ____: codes.put([code.value for code in told])
        device.connect(self.broker.port(port))
        device.client.subscribe(
            [(one, SubscribeOptions(1) if version == V5 else 1) for one in FILTERS]  # type: ignore[arg-type]
        )
        return codes.get(timeout=DEADLINE_S)

    def test_refusals_are_told(self) -> None:
        """For each filter of its own: 0x80 in MQTT 3.1.1, 0x87 in MQTT 5."""
        self.assertEqual(self.suback(V311), [1, 1, 0x80, 0x80, 1])
        self.assertEqual(self.suback(V5), [1, 1, 0x87, 0x87, 1])

    def test_other_listeners_grant_everything(self) -> None:
        """As Mosquitto does: what may not be read is kept back."""
        self.assertEqual(self.suback(V311, "lenient"), [1] * 5)

    def test_wide_subscription_brings_what_may_be_read(self) -> None:
        """And nothing else."""
        reader = self.subscriber("-t", "#")
        for topic, payload in (("alerts/fire", "no"), ("sensors/x/state", "yes")):
            self.publish("-t", topic, "-m", payload, "-q", "1")
        self.assertEqual([message.payload for message in reader.until("yes")], ["yes"])
