"""The console in a real browser, as its users have it: look, push, see it come, send a client away."""

from __future__ import annotations

import re
from typing import ClassVar

from tests.clients.browser import Browser
from tests.clients.furniture import ADA, BrokerTestCase

SETTINGS = """\
listener {mqtt} 127.0.0.1
listener {http} 127.0.0.1
protocol http
allow_anonymous false
password_file passwd
acl_file acl
admin_user ada
persistence true
persistence_location data
"""

ACL = """\
user ada
topic readwrite #
user bob
topic readwrite bob/#
"""

HOSTILE = "<img src=x onerror=document.title='hit'>'\"&%2e"


class ConsoleTests(BrokerTestCase):
    """One browser; each test begins logged out."""

    settings = SETTINGS
    acl = ACL
    browser: ClassVar[Browser]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)

    def setUp(self) -> None:
        self.browser.open(f"http://localhost:{self.broker.port('http')}/console")
        self.browser.run("sessionStorage.clear(); location.hash = '#/'; location.reload()")

    def log_in(self, username: str = "ada", password: str = "secret") -> None:
        self.browser.wait_for_text("label", "User name")
        self.browser.type("input[name=username]", username)
        self.browser.type("input[name=password]", password + "\n")

    def show(self, view: str) -> None:
        self.browser.run(f"location.hash = '#/{view}'")

    def assert_no_errors(self) -> None:
        """Neither scripts nor the page's policy had anything to complain about."""
        self.assertEqual([error for error in self.browser.errors() if "40" not in error], [])

    def test_log_in_and_look(self) -> None:
        """Figures and charts, on a phone as on a desk."""
        self.log_in()
        self.browser.wait_for_text("dt", "Clients connected")
        self.browser.wait_for_text("figcaption", "Messages")
        self.browser.resize(390, 844)
        fits = self.browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
        self.browser.resize(1200, 900)
        self.assertTrue(fits)
        self.assert_no_errors()

    def test_who_may_not(self) -> None:
        """A wrong password, and a user who is no administrator."""
        self.log_in(password="wrong")
        self.browser.wait_for("notice", "wrong")
        self.browser.run("sessionStorage.clear(); location.reload()")
        self.log_in("bob", "hunter2")
        self.browser.wait_for_text("main", "admin_user")

    def test_push_and_see_it_come(self) -> None:
        """What is pushed reaches a subscriber, and shows in the page; markup stays text."""
        subscriber = self.subscriber("-t", "alerts", *ADA)
        self.log_in()
        self.show("push/alerts")
        self.browser.attribute("#messages[data-watching=alerts]", "id")
        self.browser.type("textarea[name=message]", HOSTILE)
        self.browser.click("#push button")
        self.browser.wait_for_text("#messages .payload", HOSTILE)
        subscriber.until(re.escape(HOSTILE))
        self.assertNotEqual(self.browser.run("return document.title"), "hit")

    def test_the_chart_moves(self) -> None:
        """It goes on by itself."""
        self.log_in()
        points = int(self.browser.attribute("#live figure", "data-points"))
        self.browser.wait_for_text(f"#live figure[data-points='{points + 1}']", "Messages")

    def test_kick(self) -> None:
        """A client's page, from the list; one click, and it is gone."""
        client_id = f"phone {HOSTILE}"
        subscriber = self.subscriber("-t", "bob/#", "-i", client_id, "-u", "bob", "-P", "hunter2")
        self.log_in()
        self.show("clients")
        self.browser.wait_for_text("#clients a", client_id)
        self.browser.click("#clients a")
        self.browser.wait_for_text("td", "bob/#")
        said = len(subscriber.lines)
        self.browser.click("#kick")
        subscriber.wait_for("sending CONNECT", after=said)  # as it does when its connection is gone
        self.browser.wait_for("notice", "sent away")
        self.assertNotEqual(self.browser.run("return document.title"), "hit")

    def test_hot_topics_and_rules(self) -> None:
        """The busiest topic with its figures, and the files that say who may what."""
        self.publish("-t", f"hot/{HOSTILE}", "-m", "x", *ADA)
        self.log_in()
        self.show("topics")
        self.browser.wait_for_text("#hot td", f"hot/{HOSTILE}")
        self.show("rules")
        self.browser.wait_for_text("pre", "topic readwrite bob/#")
        self.assert_no_errors()
