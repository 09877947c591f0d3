"""A push for later, as curl asks for it, and a broker that is killed meanwhile."""

from __future__ import annotations

import json
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.furniture import Answer, Subscriber, curl, new_directory
from tests.processes import start_pushd

SETTINGS = """\
persistence true
persistence_location store/
allow_anonymous true

listener {mqtt} 127.0.0.1

listener {http} 127.0.0.1
protocol http
"""


class LaterTests(SynchronousTestCase):
    """``In:``, ``At:`` and ``Delay:``"""

    def setUp(self) -> None:
        self.directory = new_directory()
        (self.directory / "store").mkdir()
        self.broker = start_pushd(SETTINGS, self.directory)
        self.addCleanup(lambda: self.broker.kill())

    def push(self, text: str, *flags: str) -> Answer:
        url = f"http://127.0.0.1:{self.broker.port('http')}/reminders"
        return curl(url, "-d", text, *flags, directory=self.directory)

    def test_kill_9(self) -> None:
        """What was answered 200 is delivered at its time, once, by a process that was not asked."""
        due_at = time.time() + 10
        answer = self.push("tea", "-H", "In: 10s")
        self.assertEqual(answer.status, 200, answer)
        self.assertLessEqual(abs(json.loads(answer.body)["time"] - due_at), 3)
        self.broker.kill()
        self.broker = self.broker.start_again()
        subscriber = Subscriber(self.broker.port("mqtt"), self.directory, "-t", "#")
        self.addCleanup(subscriber.kill)
        self.assertEqual(subscriber.until("tea")[0].topic, "reminders")
        self.assertGreaterEqual(time.time(), due_at)
        self.push("end")
        self.assertEqual([message.payload for message in subscriber.until("end")], ["tea", "end"])

    def test_what_no_clock_says(self) -> None:
        """Is refused in ntfy's words, and nothing is published instead."""
        codes = {"In: 1s": 40005, "At: tomorrow at 25:00": 40004, "Delay: 10 days": 40006}
        for header, code in codes.items():
            told = json.loads(self.push("x", "-H", header).body)
            self.assertEqual((told["code"], told["http"]), (code, 400), told)
