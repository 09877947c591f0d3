"""`pushd.broker.census`"""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.census import Census, Waiting
from pushd.broker.session import Session
from tests.driver import Rig
from tests.fakes import FakeConnection


class CensusTests(SynchronousTestCase):
    """Sessions of a broker; the test serves others in between."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.later: list[Callable[[], None]] = []
        self.patch(Census, "SLICE", 2)

    def sessions(self, count: int) -> list[Session]:
        """So many that are away, with two messages of three bytes for each."""
        for number in range(count):
            client = self.rig.connect(f"c{number}", clean=False)
            client.subscribe("t", qos=1)
            client.drop()
        ada = self.rig.connect("ada")
        for payload in (b"one", b"two"):
            ada.publish("t", payload, qos=1)
        ada.drop()
        return list(self.rig.broker.sessions.values())

    def test_nobody(self) -> None:
        """Without sessions nothing waits."""
        self.assertEqual(Waiting(), self.successResultOf(Census([], self.later.append).count()))

    def test_few(self) -> None:
        """What is less than a slice is counted at once."""
        counted = Census(self.sessions(1), self.later.append).count()
        self.assertEqual(Waiting(2, 6), self.successResultOf(counted))

    def test_many(self) -> None:
        """Others are served after each slice, and everybody counts once."""
        counted = Census(self.sessions(5), self.later.append).count()
        slices = 0
        while self.later:
            self.assertNoResult(counted)
            self.later.pop()()
            slices += 1
        self.assertEqual((Waiting(10, 30), 2), (self.successResultOf(counted), slices))

    def test_what_is_written(self) -> None:
        """What peers have not taken counts, too; of who is away there is nothing."""
        sessions = self.sessions(1)
        self.rig.connect("ada")
        online = self.rig.broker.sessions["ada"]
        assert online.client is not None
        connection = FakeConnection(unsent_packets=3, unsent_bytes=40)
        online.client.connection = connection
        counted = Census([*sessions, online], self.later.append).count()
        self.later.pop()()
        self.assertEqual(Waiting(2, 6, 3, 40), self.successResultOf(counted))

    def test_who_leaves_meanwhile(self) -> None:
        """Sessions that come and go between two slices do no harm."""
        counted = Census(self.sessions(4), self.later.append).count()
        for session in list(self.rig.broker.sessions.values()):
            self.rig.broker.end_session(session)
        self.rig.connect("new")
        while self.later:
            self.later.pop()()
        self.successResultOf(counted)
