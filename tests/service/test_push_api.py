"""`pushd.service.push_api`: what goes on when nobody asks, and how names are looked up."""

from __future__ import annotations

from ipaddress import ip_network
from unittest.mock import patch

from pushd.broker.interfaces import Access
from pushd.config.settings import Settings
from pushd.mqtt.codes import ReasonCode
from pushd.service.push_api import ListenerPusher, PushApi, addresses_of
from tests.driver import Rig
from tests.fakes import Rules
from tests.gateway.callers import Caller
from tests.gateway.push_api_case import PushApiCase, payloads


class LifeTests(PushApiCase):
    """Start and stop"""

    def test_without_a_gateway(self) -> None:
        """A process that has none does nothing, and leaves what waits alone."""
        self.push(topic="t", deliver_at=100)
        self.turn()
        api = PushApi(self.rig.broker, lambda: self.settings, lambda: None, self.rig.clock)  # type: ignore[arg-type, return-value]
        api.start()
        api.stop()
        self.assertNotIn("office", vars(api))

    def test_gateway_that_comes_with_a_reload(self) -> None:
        """What waits is taken up then."""
        device = self.device("dev", "t")
        self.push(topic="t", deliver_at=100)
        self.api.stop()
        desk = self.api._desk
        self.api = PushApi(self.rig.broker, lambda: self.settings, desk, self.rig.clock)
        self.api.start()
        self.addCleanup(self.api.stop)
        Caller(make_pages=self.make_pages)
        self.rig.clock.advance(101)
        self.turn()
        self.assertEqual(payloads(device), [b"hi"])

    def test_listener_that_is_no_more(self) -> None:
        """Nobody can say who may push by a listener that the settings do not have any more."""
        device = self.device("dev", "t")
        self.push(topic="t", deliver_at=100)
        self.rig.broker.policies.clear()
        self.rig.clock.advance(101)
        self.turn()
        self.assertEqual((payloads(device), len(self.api.office.postponed)), ([], 0))

    def test_right_that_was_lost(self) -> None:
        """Who may not write there any more when it is time does not."""
        device = self.device("dev", "t")
        self.push(topic="t", deliver_at=100)
        self.rules.refused = {(Access.WRITE, "t")}
        self.rig.clock.advance(101)
        self.turn()
        self.assertEqual(payloads(device), [])


class SettingsTests(PushApiCase):
    """What the settings say, as they count now."""

    def test_networks(self) -> None:
        """Lists of networks are read anew each time."""
        self.assertEqual(self.api._allowed_networks(), [])
        self.settings = Settings((), allow_private_networks=("10.0.0.0/8", "::1/128"))
        self.assertEqual(self.api._allowed_networks(), [ip_network("10.0.0.0/8"), ip_network("::1")])

    def test_secret(self) -> None:
        """So is the secret, which may be missing."""
        self.assertEqual(self.api._secret(), b"open sesame")
        self.settings = Settings(())
        self.assertIsNone(self.api._secret())


class PusherTests(PushApiCase):
    """`ListenerPusher`"""

    def test_may_write(self) -> None:
        """As the access rules say it; below the listener's mount point, and never to the server's own."""
        rules = Rules({(Access.WRITE, "home/no")})
        rig = Rig(authorizer=rules, mount_point="home/")
        pusher = ListenerPusher(rig.broker, lambda: rig.policy)
        who = type("Who", (), {"client_id": "", "username": None})()
        codes = [self.successResultOf(pusher.may_write(who, topic)) for topic in ("yes", "no")]
        self.assertEqual(codes, [ReasonCode.SUCCESS, ReasonCode.NOT_AUTHORIZED])
        self.assertEqual((pusher.listener, pusher.mount_point), ("a test", "home/"))


class NameTests(PushApiCase):
    """`addresses_of`"""

    def test_each_once(self) -> None:
        """Addresses as the system orders them; it tells each more than once."""
        four, six = ("192.0.2.1", 0), ("2001:db8::1", 0, 0, 0)
        told = [(2, 1, 6, "", four), (10, 1, 6, "", six), (2, 2, 17, "", four)]
        with patch("socket.getaddrinfo", return_value=told):
            self.assertEqual(addresses_of("h"), ["192.0.2.1", "2001:db8::1"])
