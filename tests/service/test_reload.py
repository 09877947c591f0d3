"""`pushd.service.reload`: what waits for a start, one reload at a time, and who has to go."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any, cast
from weakref import WeakSet

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from pushd.broker.policy import Policy
from pushd.broker.tap import listen
from pushd.config.settings import ListenerSettings, LogSettings, Settings
from pushd.gateway.identity.guards import Caller
from pushd.mqtt.codes import ReasonCode, Version
from pushd.mqtt.packets import Disconnect
from pushd.service.doors import Shut
from pushd.service.reload import AT_ONCE, Farewell, OneAtATime, kept_until_restart
from tests.driver import Peer, Rig
from tests.fakes import Doorkeeper, Rules


class RestartTests(SynchronousTestCase):
    """What only a start can change"""

    settings = Settings((ListenerSettings("x.conf:1", 1883),))

    def test_named_and_kept(self) -> None:
        """The old values stay until then; everything else is new."""
        new = replace(
            self.settings, persistence=True, user="nobody", sys_interval_s=1, log=LogSettings(("syslog",))
        )
        kept, names = kept_until_restart(self.settings, new)
        self.assertEqual({"persistence", "user"}, set(names))
        self.assertEqual(replace(new, persistence=False, user=None), kept)

    def test_nothing(self) -> None:
        """Most changes are of other options."""
        new = replace(self.settings, clientid_prefixes="a", set_tcp_nodelay=False)
        self.assertEqual((new, []), kept_until_restart(self.settings, new))


class OneAtATimeTests(SynchronousTestCase):
    """Several signals in a row"""

    def setUp(self) -> None:
        self.begun: list[Deferred[None]] = []
        self.reloading = OneAtATime(self.begin)

    def begin(self) -> Deferred[None]:
        self.begun.append(Deferred())
        return self.begun[-1]

    def test_one_after_the_other(self) -> None:
        """Asked again when all is done, it is done again."""
        for number in (1, 2):
            self.reloading.ask()
            self.assertEqual(number, len(self.begun))
            self.begun[-1].callback(None)

    def test_asked_meanwhile(self) -> None:
        """However often, that is once more; what was read may have been old already."""
        for _ in range(5):
            self.reloading.ask()
        self.assertEqual(1, len(self.begun))
        self.begun[0].callback(None)
        self.assertEqual(2, len(self.begun))
        self.begun[1].callback(None)
        self.assertEqual(2, len(self.begun))

    def test_failure(self) -> None:
        """A mistake of ours is in the log, and the next signal is obeyed."""
        self.reloading.ask()
        self.begun[0].errback(ValueError("a mistake"))
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))
        self.reloading.ask()
        self.assertEqual(2, len(self.begun))


class FarewellTests(SynchronousTestCase):
    """Who has to go"""

    def setUp(self) -> None:
        self.rig = Rig()
        self.allowed = {"ada", "bob"}
        self.door = self.make_door(self.rig.policy)
        self.other = Policy("another", Doorkeeper(), Rules())

    def make_door(self, policy: Policy) -> Any:
        def still_admits(client: Any) -> bool:
            return client.session.client_id in self.allowed

        return SimpleNamespace(
            policy=policy,
            policies=WeakSet([policy]),
            still_admits=still_admits,
            still_tells=lambda tap: tap.username in self.allowed,
        )

    def see_out(self, *shut: Any) -> int:
        """:return: in how many pieces."""
        doors = cast(Any, SimpleNamespace(all=[self.door]))
        farewell = Farewell(self.rig.broker, doors, [Shut(door, ()) for door in shut])
        pieces = len(list(farewell.pieces()))
        self.rig.turn()
        return pieces

    def come(self, client_id: str, policy: Policy, **more: Any) -> Peer:
        self.rig.factory.policy = policy
        return self.rig.connect(client_id, version=Version.V5, **more)

    def reasons(self, peer: Peer) -> list[ReasonCode]:
        return [packet.code for packet in peer.received() if isinstance(packet, Disconnect)]

    def test_not_allowed_any_more(self) -> None:
        """They hear so; others do not notice."""
        ada, eve = self.come("ada", self.rig.policy), self.come("eve", self.rig.policy)
        self.see_out()
        self.assertEqual([ReasonCode.NOT_AUTHORIZED], self.reasons(eve))
        self.assertTrue(eve.closed)
        self.assertFalse(ada.closed)
        self.assertEqual(["ada"], list(self.rig.broker.sessions))

    def test_by_a_door_that_is_shut(self) -> None:
        """Whoever is allowed or not; what is kept of a session goes by the first door's rules from now on."""
        bob = self.come("bob", self.other, clean=False, properties={17: 100})
        self.see_out(self.make_door(self.other))
        self.assertEqual([ReasonCode.ADMINISTRATIVE_ACTION], self.reasons(bob))
        self.assertIs(self.rig.policy, self.rig.broker.sessions["bob"].policy)

    def test_by_somebody_elses_door(self) -> None:
        """Nothing is known about it: they stay."""
        carl = self.come("carl", self.other)
        self.see_out()
        self.assertFalse(carl.closed)

    def test_listening(self) -> None:
        """Whoever listens by HTTP is looked at in the same way."""
        cut: list[str] = []
        for name, policy in (("ada", self.rig.policy), ("eve", self.rig.policy), ("bob", self.other)):
            ended = partial(cut.append, name)
            listen(self.rig.broker, policy, Caller(name), "#", lambda topic, message: None, ended)
        self.see_out()
        self.assertEqual(["eve"], cut)
        self.see_out(self.make_door(self.other))
        self.assertEqual(["eve", "bob"], cut)

    def test_in_pieces(self) -> None:
        """Thousands of sessions do not hold up the reactor."""
        for number in range(2 * AT_ONCE + 1):
            self.come(f"c{number}", self.other)
        self.assertEqual(2, self.see_out())
