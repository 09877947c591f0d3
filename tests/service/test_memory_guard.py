"""`pushd.service.memory_guard`: the option memory_limit."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.limits import Limits
from pushd.mqtt.codes import ReasonCode, Version
from pushd.mqtt.packets import Disconnect, Publish
from pushd.service.memory_guard import MemoryGuard
from tests.driver import Rig

MIB = 1024 * 1024


class MemoryGuardTests(SynchronousTestCase):
    """A limit of 100 MiB; the test says how much is taken."""

    def setUp(self) -> None:
        self.rig = Rig(Limits(memory_limit=100 * MIB))
        self.taken = 50
        MemoryGuard(self.rig.broker, lambda: self.taken * MIB).start()
        self.bob = self.rig.connect("bob", version=Version.V5)
        self.bob.subscribe("t", qos=1)

    def take(self, mib: int) -> None:
        self.taken = mib
        self.rig.clock.pump([0.25] * 8)

    def code(self) -> ReasonCode:
        connack = self.rig.connect("eve", version=Version.V5).connack
        assert connack is not None
        return connack.code

    def test_below(self) -> None:
        """Nothing happens."""
        self.take(89)
        assert self.code() is ReasonCode.SUCCESS

    def test_scarce(self) -> None:
        """From nine tenths on nobody new is let in; who is in goes on."""
        self.take(90)
        assert self.code() is ReasonCode.QUOTA_EXCEEDED
        self.bob.publish("t", b"1")
        assert [type(each) for each in self.bob.received()] == [Publish]

    def test_over(self) -> None:
        """Above the limit the one that most waits for goes, and nobody else."""
        ada = self.rig.connect("ada")
        ada.subscribe("u", qos=1)
        self.bob.publish("t", b"x", qos=1)
        self.bob.publish("u", b"x" * 100, qos=1)
        self.take(101)
        assert (self.bob.closed, ada.closed) == (False, True)

    def test_nobody_waits(self) -> None:
        """Where nobody has anything waiting, closing connections would not help."""
        self.take(101)
        assert not self.bob.closed

    def test_told(self) -> None:
        """A version 5 client hears why."""
        for number in range(30):
            self.bob.publish("t", b"x", qos=1, packet_id=number + 1)
        self.bob.received()
        self.take(101)
        (farewell,) = self.bob.received()
        assert isinstance(farewell, Disconnect)
        assert farewell.code is ReasonCode.QUOTA_EXCEEDED

    def test_room_again(self) -> None:
        """When memory is given back, everything is as before."""
        self.take(95)
        self.take(50)
        assert self.code() is ReasonCode.SUCCESS

    def test_no_limit(self) -> None:
        """Without one, nothing is looked at."""
        self.rig.broker.limits = Limits()
        self.take(10_000)
        assert self.code() is ReasonCode.SUCCESS
