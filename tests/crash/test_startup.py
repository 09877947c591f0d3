"""A broker that is killed while it takes up a large file that an older pushd has written."""

from __future__ import annotations

import signal
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from pushd.mqtt.codes import Version
from pushd.mqtt.packets import Publish
from pushd.storage import schema
from tests.crash.brokers import MortalBroker
from tests.crash.crowd import Crowd
from tests.crash.ledger import Ledger
from tests.crash.people import MQTTVisitor
from tests.crash.timeline import Timeline

SESSIONS = 4000
MESSAGES = 20  # of each session
KILLS = 3


class StartupTests(SynchronousTestCase):
    """The file is of the first version of the schema: it is upgraded, read, and must not be lost halfway."""

    def test_killed_while_it_starts(self) -> None:
        """However often a start is cut short, the one that is not finds every session and message."""
        with tempfile.TemporaryDirectory(prefix="pushd-crash-") as folder:
            broker = MortalBroker("pushd", Path(folder), [])
            self.addCleanup(broker.close)
            write_first_version(Path(folder) / "store" / "pushd.db")
            rng = Random(1)
            for _ in range(KILLS):
                kill_at_start(broker, rng)
            broker.start()
            broker.wait_until_up()
            readers = read(broker, [0, 1, SESSIONS // 2, SESSIONS - 1])
        assert {reader.name: reader.got for reader in readers} == {
            reader.name: [payload(reader.number, at) for at in range(MESSAGES)] for reader in readers
        }


def kill_at_start(broker: MortalBroker, rng: Random) -> None:
    """Half a second is what Python and its modules take."""
    broker.start()
    time.sleep(0.4 + 0.6 * rng.random())
    broker.send_signal(signal.SIGKILL)
    assert not broker.bury()


def payload(session: int, place: int) -> bytes:
    """What waits for a session at this place."""
    return b"%d of %d" % (place, session)


def write_first_version(path: Path) -> None:
    """The file: sessions that nobody is connected to, each with messages of its own."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(f"BEGIN; {schema.steps()[0]}; PRAGMA user_version = 1; COMMIT;")
        numbers = range(1, SESSIONS + 1)
        database.executemany(
            "INSERT INTO sessions VALUES (?, ?, NULL, NULL, 0)", ((at, f"reader{at - 1}") for at in numbers)
        )
        places = [(at, place) for at in numbers for place in range(MESSAGES)]
        database.executemany(
            "INSERT INTO bodies VALUES (?, 'news', ?, NULL, NULL)",
            ((at * MESSAGES + place, payload(at - 1, place)) for at, place in places),
        )
        database.executemany(
            "INSERT INTO queued VALUES (?, ?, ?, 1, 0, NULL)",
            ((at, place + 1, at * MESSAGES + place) for at, place in places),
        )
        database.commit()


class Reader(MQTTVisitor):
    """Has one of those sessions, and notes what comes."""

    def __init__(self, number: int, port: int) -> None:
        name = f"reader{number}"
        super().__init__(name, Version.V5, port, Ledger(Timeline()), Random(name))
        self.number = number
        self.got: list[bytes] = []

    def arrived(self, packet: Publish) -> None:
        self.got.append(packet.payload)


def read(broker: MortalBroker, numbers: list[int]) -> list[Reader]:
    """Let the clients of these sessions come, until each has something or nobody has had any for long."""
    readers = [Reader(number, broker.mqtt_port) for number in numbers]
    crowd = Crowd(readers)
    crowd.pump_while(lambda: any(len(reader.got) < MESSAGES for reader in readers), 10.0)
    crowd.close()
    return readers
