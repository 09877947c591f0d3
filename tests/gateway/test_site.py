"""`pushd.gateway.site`: the factory."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.http.channel import GatewayChannel
from pushd.gateway.site import make_site
from tests.gateway.callers import Doorkeeper, Press


class SiteTests(SynchronousTestCase):
    """Twisted's Site without what Twisted's would do on its own"""

    def test_only_http_1_1_is_negotiated(self) -> None:
        """HTTP/2 would be a way round every limit."""
        site = make_site(Press(), Doorkeeper(), reactor=Clock())
        self.assertEqual(site.acceptableProtocols(), [b"http/1.1"])
        self.assertIsInstance(site.buildProtocol(None), GatewayChannel)

    def test_a_listener_without_callers_costs_nothing(self) -> None:
        """No log file, no timer."""
        clock = Clock()
        site = make_site(Press(), Doorkeeper(), reactor=clock)
        site.doStart()
        self.assertEqual(clock.getDelayedCalls(), [])
        site.doStop()

    def test_first_request(self) -> None:
        """Who says nothing is not waited for as long as somebody between two requests."""
        clock = Clock()
        site = make_site(Press(), Doorkeeper(), reactor=clock, connect_timeout_s=lambda: 10)
        channel, transport = site.buildProtocol(None), StringTransport()
        channel.makeConnection(transport)
        clock.advance(9)
        self.assertFalse(transport.disconnecting)
        clock.advance(1)
        self.assertTrue(transport.disconnecting)
