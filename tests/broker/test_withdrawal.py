"""What was pushed and is taken back: `Session.withdraw`, and `Archive.forget`."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.message import Message, PushMark
from pushd.broker.publication import Publication
from pushd.broker.records import KeptQuery
from pushd.mqtt.packets import Publish
from tests.driver import Peer, Rig


class WithdrawalCase(SynchronousTestCase):
    """bob has subscribed to everything, and is away."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.come().subscribe("#", qos=1)
        self.leave()

    def come(self) -> Peer:
        self.bob = self.rig.connect("bob", clean=False)
        return self.bob

    def leave(self) -> None:
        self.bob.drop()

    def push(self, id: str, key: str, topic: str = "t") -> None:
        mark = PushMark(id, 7, keep_s=60, collapse_key=key)
        publishing = self.rig.broker.publish(
            self.rig.policy, self.rig.broker.sessions["bob"], Publication(topic, id.encode(), mark=mark)
        )
        self.rig.turn()
        self.successResultOf(publishing)

    def came(self) -> list[bytes]:
        self.rig.turn()
        return [packet.payload for packet in self.bob.received() if isinstance(packet, Publish)]


class SessionTests(WithdrawalCase):
    def withdraw(self, key: str, topic: str = "t") -> bool:
        message = Message(topic, b"", 1, expires_at=-1.0)
        message.push = PushMark("", 0, collapse_key=key)
        return self.rig.broker.sessions["bob"].withdraw(message)

    def test_in_the_middle_of_a_queue(self) -> None:
        """It is never sent; what was before and behind it is, in order."""
        for id in "abc":
            self.push(id, id)
        self.assertTrue(self.withdraw("b"))
        self.come()
        self.assertEqual(self.came(), [b"a", b"c"])

    def test_over_a_restart(self) -> None:
        """That it was withdrawn survives as the queue does."""
        self.push("a", "a")
        self.push("b", "b")
        self.withdraw("a")
        self.rig = Rig(store=self.rig.store)
        self.come()
        self.assertEqual(self.came(), [b"b"])

    def test_once(self) -> None:
        """There is nothing to withdraw twice, nor what never was, nor what has another topic."""
        self.assertFalse(self.withdraw("a"))
        self.push("a", "a")
        self.assertFalse(self.withdraw("b"))
        self.assertFalse(self.withdraw("a", "u"))
        self.assertTrue(self.withdraw("a"))
        self.assertFalse(self.withdraw("a"))

    def test_key_used_again(self) -> None:
        """The next push with this key is a new one."""
        self.push("a", "k")
        self.withdraw("k")
        self.push("b", "k")
        self.come()
        self.assertEqual(self.came(), [b"b"])

    def test_sent(self) -> None:
        """What is on its way is not withdrawn any more."""
        self.come()
        self.push("a", "a")
        self.assertFalse(self.withdraw("a"))
        self.assertEqual(self.came(), [b"a"])


class ArchiveTests(WithdrawalCase):
    def forget(self, topic: str, id: str, key: str) -> bool:
        forgetting = Deferred.fromCoroutine(self.rig.broker.archive.forget(topic, id, key))
        forgotten: bool = self.successResultOf(forgetting)
        return forgotten

    def kept(self) -> list[bytes]:
        found = self.successResultOf(self.rig.broker.archive.find(KeptQuery(("t", "u"))))
        return [kept.message.payload for kept in found]

    def test_forgotten(self) -> None:
        """One of many is found no more, and counts no more."""
        for id in "abc":
            self.push(id, id)
        self.assertTrue(self.forget("t", "b", "b"))
        self.assertEqual((self.kept(), self.rig.broker.archive.count), ([b"a", b"c"], 2))

    def test_not_there(self) -> None:
        """Of another topic or key, or forgotten before, it is left alone."""
        self.push("a", "k")
        for topic, id, key in (("u", "a", "k"), ("t", "a", "l"), ("t", "b", "k")):
            self.assertFalse(self.forget(topic, id, key))
        self.assertTrue(self.forget("t", "a", "k"))
        self.assertFalse(self.forget("t", "a", "k"))
