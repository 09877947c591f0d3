"""
Markup in everything that others can name: client ids, user names, topics, texts, titles, names of files. The
console and the page of calls show it in a real browser, where it must stay text.
"""

from __future__ import annotations

import json
from typing import ClassVar
from urllib.parse import quote

from tests.clients.browser import Browser
from tests.clients.furniture import BrokerTestCase

SETTINGS = """\
allow_anonymous true
accounts true
password_file passwd
acl_file acl
admin_user ada
persistence true
persistence_location data
attachment_cache_dir files
listener {mqtt} 127.0.0.1
listener {http} 127.0.0.1
protocol http
"""

# Runs wherever it is taken for markup: in an element, an attribute, a script, a template.
MARKUP = (
    "<img src=x onerror=hit()>",
    '"><svg onload=hit()>',
    "'><script>hit()</script>",
    "</textarea></title></script><script>hit()</script>",
    "javascript:hit()//",
    "<iframe srcdoc='<script>parent.hit()</script>'>",
    "{{constructor.constructor('hit()')()}}${hit()}",
)
HOSTILE = "".join(MARKUP)
FIRST = MARKUP[0]

AS_ADA = ("-u", "ada:secret")

# Counts, in the page, what should never run.
TRAP = "window.hits = 0; window.hit = () => { window.hits += 1; };"


class MarkupTests(BrokerTestCase):
    """All of it is there before anybody looks"""

    settings = SETTINGS
    acl = f"topic readwrite #\n# {HOSTILE}\nuser ada\ntopic readwrite #\n"
    browser: ClassVar[Browser]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)

    def setUp(self) -> None:
        account = json.dumps({"username": FIRST, "password": "secret"})
        self.assertIn(self.curl("/v1/users", "-X", "POST", "-d", account, *AS_ADA).status, (200, 409))
        words = ("-i", HOSTILE, "-u", FIRST, "-P", "secret", "-q", "1")
        self.phone = self.subscriber("-t", f"phones/{HOSTILE.replace('#', '').replace('+', '')}", *words)

    def open(self, path: str) -> None:
        """A page, with a trap in it."""
        self.browser.open(f"http://localhost:{self.broker.port('http')}{path}")
        self.browser.run(TRAP)

    def log_in(self) -> None:
        self.open("/console")
        self.browser.run("sessionStorage.clear(); location.hash = '#/'; location.reload()")
        self.browser.wait_for_text("label", "User name")
        self.browser.type("input[name=username]", "ada")
        self.browser.type("input[name=password]", "secret\n")
        self.browser.wait_for_text("dt", "Clients connected")
        self.browser.run(TRAP)

    def show(self, view: str) -> None:
        self.browser.run(f"location.hash = {json.dumps('#/' + view)}")

    def assert_nothing_ran(self) -> None:
        """Nor has it become an element that could have."""
        self.assertEqual(self.browser.run("return window.hits"), 0)
        made = "return document.querySelectorAll('img[onerror],svg[onload],iframe,main script').length"
        self.assertEqual(self.browser.run(made), 0)
        self.assertEqual(
            self.browser.run("return document.querySelectorAll('a[href^=javascript]').length"), 0
        )

    def push(self, topic: str, *flags: str) -> None:
        self.assertEqual(self.curl(f"/v1/publish/{quote(topic, safe='')}", *flags, *AS_ADA).status, 200)

    def test_clients_and_their_page(self) -> None:
        """Client ids, user names and topic filters."""
        self.log_in()
        self.show("clients")
        self.browser.wait_for_text("#clients a", HOSTILE)
        self.browser.wait_for_text("#clients td", FIRST)
        self.browser.click("#clients a")
        self.browser.wait_for_text("h1", HOSTILE)
        self.assert_nothing_ran()

    def test_what_comes(self) -> None:
        """Topics and texts, live; with a title and a file's name that nobody asked for."""
        self.log_in()
        self.show(f"push/{quote('marked/#', safe='')}")
        self.browser.attribute("#messages[data-watching='marked/#']", "id")
        self.push(f"marked/{FIRST}", "-d", HOSTILE)
        self.browser.wait_for_text("#messages .payload", HOSTILE)
        self.browser.wait_for_text("#messages .topic", FIRST)
        said = ("-H", f"Title: {HOSTILE}", "-H", f"Filename: {FIRST}", "-H", f"Tags: {FIRST}")
        self.assertEqual(self.curl("/marked%2Ffile", "-d", "x", *said, *AS_ADA).status, 200)
        self.browser.wait_for_text("#messages .payload", f"You received a file: {FIRST}")
        self.assert_nothing_ran()

    def test_topics_and_rules(self) -> None:
        """The busiest, and the files that say who may what."""
        self.push(f"hot/{HOSTILE.replace('#', '').replace('+', '')}", "-d", "x")
        self.log_in()
        self.show("topics")
        self.browser.wait_for_text("#hot td", FIRST)
        self.show("rules")
        self.browser.wait_for_text("pre", HOSTILE)
        self.assert_nothing_ran()

    def test_addresses(self) -> None:
        """What stands behind the ``#`` in a link that somebody sends."""
        self.log_in()
        for view in (f"client/{quote(HOSTILE)}x", f"push/{quote(FIRST, safe='')}", f"{quote(FIRST)}", FIRST):
            self.show(view)
            self.browser.wait_for_text("body", "pushd")
            self.assert_nothing_ran()

    def test_the_page_of_calls(self) -> None:
        """What is answered to a call is shown as it is."""
        self.push("answered", "-d", HOSTILE)
        self.open("/docs")
        self.browser.wait_for_text("summary code", "/v1/listen")
        self.browser.run(
            "const form = [...document.querySelectorAll('details')].find("
            "(one) => one.querySelector('summary').textContent.includes('POST') &&"
            " one.querySelector('summary code + code').textContent === '/v1/publish/{topic}')"
            ".querySelector('form'); form.closest('details').open = true;"
            f"form.querySelector('input').value = 'answered';"
            f"form.querySelector('textarea').value = {json.dumps(HOSTILE)};"
            "form.requestSubmit();"
        )
        self.browser.wait_for_text("pre", "200 OK")
        self.assert_nothing_ran()

    def test_what_if(self) -> None:
        """Were something taken for markup one day, the page's policy would still not have it run."""
        for path in ("/console", "/docs"):
            self.open(path)
            self.browser.run(
                "window.blocked = 0;"
                "addEventListener('securitypolicyviolation', () => { window.blocked += 1; });"
                f"document.body.innerHTML = {json.dumps(HOSTILE)};"
                "const script = document.createElement('script'); script.textContent = 'hit()';"
                "document.body.append(script);"
            )
            self.browser.wait_for_text("body", "constructor")
            self.assertEqual(self.browser.run("return window.hits"), 0, path)
            self.assertGreater(self.browser.run("return window.blocked"), 0, path)
            self.browser.errors()

    def test_framed(self) -> None:
        """No other page has them in a frame, where clicks could be stolen."""
        for path in ("/console", "/docs"):
            head = self.curl(path, "-i").body.lower()
            self.assertIn("frame-ancestors 'none'", head)
            self.assertIn("x-frame-options: deny", head)
            self.assertIn("x-content-type-options: nosniff", head)
            self.assertNotIn("unsafe-", head)
