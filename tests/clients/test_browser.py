"""A web page in a real browser, which speaks MQTT over WebSocket and tells the broker whose page it is."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar
from urllib.parse import urlencode

from tests.clients.browser import Browser, WebServer
from tests.clients.furniture import BrokerTestCase

JS = Path(__file__).with_name("js")
FILES = (JS / "page.html", JS / "node_modules/mqtt/dist/mqtt.min.js")
V311, V5 = 4, 5

# The page is served at {page}, by whatever of its names. Only under one of them it may talk to {choosy} and
# {choosy_http}.
SETTINGS = """\
allow_anonymous true

listener {mqtt} 127.0.0.1

listener {websocket} 127.0.0.1
protocol websockets

listener {secure} 127.0.0.1
protocol websockets
certfile certs/server.crt
keyfile certs/server.key

listener {http} 127.0.0.1
protocol http

listener {choosy} 127.0.0.1
protocol websockets
websockets_origin http://localhost:{page}

listener {choosy_http} 127.0.0.1
protocol http
websockets_origin http://localhost:{page}
"""


class BrowserTests(BrokerTestCase):
    """What is pushed appears on a page, and what its reader types goes out."""

    settings = SETTINGS
    browser: ClassVar[Browser]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        page = WebServer(cls.broker.port("page"), *FILES)
        cls.addClassCleanup(page.close)
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)

    def show(
        self, topic: str, port: str, scheme: str = "ws", version: int = V5, host: str = "localhost"
    ) -> None:
        """Open the page, which goes to one of the broker's ports from then on."""
        url = f"{scheme}://localhost:{self.broker.port(port)}/mqtt"
        query = urlencode({"url": url, "topic": topic, "version": version})
        self.browser.open(f"http://{host}:{self.broker.port('page')}/page.html?{query}")

    def assert_shows_pushes(self, topic: str, port: str, scheme: str = "ws", version: int = V5) -> None:
        """What curl pushes to the gateway is seen on the page."""
        self.show(topic, port, scheme, version)
        self.browser.wait_for("state", "subscribed")
        for text in ("hello", "Grüße"):
            self.curl(f"/{topic}", "-d", text)
        self.browser.wait_for("messages", "Grüße")
        self.assertEqual(self.browser.texts("#messages li"), ["hello", "Grüße"])

    def test_a_push_appears(self) -> None:
        """On a page that is connected to a listener for WebSocket, with either version."""
        for version in (V311, V5):
            self.assert_shows_pushes(f"listener-{version}", "websocket", version=version)

    def test_a_push_appears_by_way_of_the_gateway(self) -> None:
        """The port that curl pushes to is enough: it has MQTT at /mqtt."""
        for version in (V311, V5):
            self.assert_shows_pushes(f"gateway-{version}", "http", version=version)

    def test_a_push_appears_by_way_of_tls(self) -> None:
        """With wss."""
        self.assert_shows_pushes("secure", "secure", "wss")

    def test_a_page_speaks(self) -> None:
        """What is typed into it reaches other clients."""
        subscriber = self.subscriber("-t", "chat/said")
        for port in ("websocket", "http"):
            self.show("chat", port)
            self.browser.wait_for("state", "subscribed")
            self.browser.type("input", f"typed for {port}\n")
            self.browser.wait_for("state", "said")
            subscriber.until(f"typed for {port}")

    def test_pages_of_others(self) -> None:
        """Where websockets_origin names whose pages may connect, others are refused, and the log says so."""
        for port in ("choosy", "choosy_http"):
            after = len(self.broker.lines)
            self.show("mine", port, host="127.0.0.1")
            self.browser.wait_for("state", "closed")
            self.broker.wait_for("origin may not connect", after)
            self.show("mine", port)
            self.browser.wait_for("state", "subscribed")
