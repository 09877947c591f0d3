"""``curl --retry`` with an Idempotency-Key, at a pushd that is killed again and again."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.furniture import curl, new_directory
from tests.clients.paho_device import Device
from tests.processes import DEADLINE_S, start_pushd

SETTINGS = """\
persistence true
persistence_location store/
allow_anonymous true
gateway_limits false
max_queued_messages 0

listener {mqtt} 127.0.0.1

listener {http} 127.0.0.1
protocol http
"""

KILLS = 12
SENDERS = 3
# So many pushes are answered by each process before it is killed.
PUSHES = 6

# A machine with much else to do takes its time to start a process again; `run` waits a little longer.
RETRY = ("--retry", "18", "--retry-all-errors", "--retry-delay", "1", "--max-time", "10")


class Sender(Thread):
    """
    Pushes numbers to a topic of its own, one after the other, each with a key.

    :ivar answers: what it was told, by number: an id each.
    """

    def __init__(self, topic: str, port: int, directory: Path, news: SimpleQueue[bool]) -> None:
        """
        :param news: of whether it was 200, for each push that has an answer.
        """
        super().__init__(daemon=True)
        self._news = news
        self.topic = topic
        self.answers: list[str] = []
        self.failures: list[object] = []
        self.stopped = False
        self._url = f"http://127.0.0.1:{port}/{topic}?qos=2"
        self._directory = directory

    def run(self) -> None:
        while not self.stopped and not self.failures:
            self._push(len(self.answers))

    def _push(self, number: int) -> None:
        key = f"{self.topic}-{number}"
        headers = ("-H", f"Idempotency-Key: {key}")
        answer = curl(self._url, *RETRY, *headers, "-o", key, "-d", str(number), directory=self._directory)
        # Of several attempts curl writes the one line for the last; its body is in the file.
        if answer.status == 200:
            self.answers.append(json.loads((self._directory / key).read_text())["id"])
        else:
            self.failures.append(answer)
        self._news.put(not self.failures)


class RetryTests(SynchronousTestCase):
    """Who pushes, and who subscribes"""

    def setUp(self) -> None:
        self.directory = new_directory()
        (self.directory / "store").mkdir()
        self.broker = start_pushd(SETTINGS, self.directory)
        self.addCleanup(lambda: self.broker.kill())
        self.random = random.Random(4711)
        self.news: SimpleQueue[bool] = SimpleQueue()

    def subscriber(self, qos: int) -> Device:
        """One with a session that lasts, which comes back by itself."""
        device = Device(f"qos{qos}", clean_session=False, reconnect_on_failure=True)
        device.client.reconnect_delay_set(1, 1)
        device.connect(self.broker.port("mqtt"))
        device.subscribe("retried/+", qos)
        self.addCleanup(device.leave)
        return device

    def test_each_arrives_once_and_none_is_lost(self) -> None:
        """A dozen of kills -9: in the archive, at a subscriber of QoS 2, and in order at one of QoS 1."""
        exact, repeating = self.subscriber(2), self.subscriber(1)
        senders = [self.sender(number) for number in range(SENDERS)]
        for _ in range(KILLS):
            for _ in range(PUSHES):
                self.assertTrue(self.news.get(timeout=DEADLINE_S))
            time.sleep(self.random.random() * 0.05)  # not always between the same two instructions
            self.broker.kill()
            self.broker = self.broker.start_again()
        for sender in senders:
            sender.stopped = True
            sender.join()
            self.assertEqual(sender.failures, [])
        self.assertGreaterEqual(sum(len(sender.answers) for sender in senders), KILLS * PUSHES)
        self.assert_kept(senders)
        self.assert_received(senders, exact, repeating)

    def sender(self, number: int) -> Sender:
        sender = Sender(f"retried%2F{number}", self.broker.port("http"), self.directory, self.news)
        sender.start()
        return sender

    def assert_kept(self, senders: list[Sender]) -> None:
        """The archive has each once, in order, under the id that was answered."""
        for sender in senders:
            url = f"http://127.0.0.1:{self.broker.port('http')}/{sender.topic}/json?poll=1"
            lines = curl(url, directory=self.directory).body.splitlines()
            kept = [json.loads(line) for line in lines]
            self.assertEqual([shown["id"] for shown in kept], sender.answers)
            self.assertEqual([shown["message"] for shown in kept], _numbers(sender))

    def assert_received(self, senders: list[Sender], exact: Device, repeating: Device) -> None:
        """By MQTT: QoS 2 is once, QoS 1 at least once, both in order."""
        wanted = {sender.topic.replace("%2F", "/"): _numbers(sender) for sender in senders}
        self.assertEqual(self.all_of(exact), wanted)
        first = {topic: list(dict.fromkeys(payloads)) for topic, payloads in self.all_of(repeating).items()}
        self.assertEqual(first, wanted)

    def all_of(self, device: Device) -> dict[str, list[str]]:
        """What a subscriber got, by topic, up to something that is sent now."""
        end = f"retried/end-{device.client._client_id.decode()}"
        url = f"http://127.0.0.1:{self.broker.port('http')}/{end.replace('/', '%2F')}?qos=2"
        self.assertEqual(curl(url, "-d", "end", directory=self.directory).status, 200)
        received: dict[str, list[str]] = {}
        while True:
            message: Any = device.next_message()
            if message.topic == end:
                return {topic: payloads for topic, payloads in received.items() if "/end-" not in topic}
            received.setdefault(message.topic, []).append(message.payload.decode())


def _numbers(sender: Sender) -> list[str]:
    return [str(number) for number in range(len(sender.answers))]
