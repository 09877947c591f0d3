"""aiontfy, Home Assistant's client, which reads answers into types and takes nothing that is not one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from unittest import skipIf

from tests.clients.furniture import BrokerTestCase
from tests.processes import DEADLINE_S

SETTINGS = """\
allow_anonymous true
accounts true
password_file passwd
acl_file acl
admin_user ada
persistence true
persistence_location data
listener {mqtt} 127.0.0.1

listener {http} 127.0.0.1
protocol http
"""

# Whoever has no name has one topic.
ACL = """\
topic open
user ada
topic #
user bob
topic bobs
topic open
"""


@skipIf(sys.version_info < (3, 11), "aiontfy needs Python 3.11")
class AiontfyTests(BrokerTestCase):
    settings = SETTINGS
    acl = ACL

    def with_client(self, ask: Callable[[Any], Awaitable[Any]], **login: str) -> Any:
        """What comes of asking by a client of its own."""
        from aiohttp import ClientSession
        from aiontfy import Ntfy

        async def asked() -> Any:
            async with ClientSession() as session:
                return await ask(Ntfy(f"http://127.0.0.1:{self.broker.port('http')}", session, **login))

        return asyncio.run(asyncio.wait_for(asked(), DEADLINE_S))

    def as_bob(self, ask: Callable[[Any], Awaitable[Any]]) -> Any:
        return self.with_client(ask, username="bob", password="hunter2")

    def refusal(self, ask: Callable[[Any], Awaitable[Any]], **login: str) -> str:
        """Which of its errors it raises."""
        from aiontfy.exceptions import NtfyException

        return type(self.assertRaises(NtfyException, self.with_client, ask, **login)).__name__

    def test_setting_it_up_without_a_login(self) -> None:
        """It looks who it is."""
        account = self.with_client(lambda ntfy: ntfy.account())
        self.assertEqual((account.username, account.role, account.tokens), ("*", "anonymous", []))

    def test_setting_it_up(self) -> None:
        """With a login it makes a token for itself, and comes by that one from then on."""
        self.assertEqual(self.as_bob(lambda ntfy: ntfy.account()).username, "bob")
        made = self.as_bob(lambda ntfy: ntfy.generate_token("Home Assistant"))
        self.assertIsNone(made.expires)
        account = self.with_client(lambda ntfy: ntfy.account(), token=made.token)
        self.assertEqual((account.username, account.role), ("bob", "user"))
        self.assertIn("Home Assistant", [token.label for token in account.tokens])

    def test_a_token_that_expires(self) -> None:
        """The time is the one that was asked for."""
        until = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(hours=1)
        made = self.as_bob(lambda ntfy: ntfy.generate_token("soon", until))
        self.assertEqual(made.expires, until)

    def test_wrong_logins(self) -> None:
        """It asks for the password again at 401 only."""
        for login in ({"username": "bob", "password": "no"}, {"token": "tk_no"}):
            said = self.refusal(lambda ntfy: ntfy.account(), **login)
            self.assertEqual(said, "NtfyUnauthorizedAuthenticationError")
        self.assertEqual(self.refusal(lambda ntfy: ntfy.can_subscribe(["bobs"])), "NtfyForbiddenAccessError")

    def test_what_it_may_subscribe_to(self) -> None:
        """All of the topics, or none."""
        self.assertTrue(self.as_bob(lambda ntfy: ntfy.can_subscribe(["bobs", "open"])))
        login = {"username": "bob", "password": "hunter2"}
        said = self.refusal(lambda ntfy: ntfy.can_subscribe(["bobs", "adas"]), **login)
        self.assertEqual(said, "NtfyForbiddenAccessError")

    def test_there_and_back(self) -> None:
        """A message with all that it can have, from its own hand into its own ear."""
        from aiontfy import HttpAction, Message, ViewAction
        from yarl import URL

        url = URL("https://e.org/")
        message = Message(
            topic="bobs",
            message="Door",
            title="größe",
            tags=["door", "a b"],
            priority=4,
            actions=[
                ViewAction(label="Open", url=url),
                HttpAction(label="x", url=url),
            ],
            click=url,
            icon=url,
            markdown=True,
        )
        sent, heard = self.as_bob(lambda ntfy: self.say_and_hear(ntfy, message))
        self.assertEqual(heard[0].event, "open")
        self.assertEqual(heard[-1], sent)
        self.assertEqual((sent.title, sent.priority, sent.tags), ("größe", 4, ["door", "a b"]))

    async def say_and_hear(self, ntfy: Any, message: Any) -> tuple[Any, list[Any]]:
        """:return: what it said, and all that it heard until then."""
        heard: asyncio.Queue[Any] = asyncio.Queue()
        ear = asyncio.create_task(ntfy.subscribe([message.topic], heard.put_nowait))
        all_heard = [await heard.get()]
        sent = await ntfy.publish(message)
        while all_heard[-1].id != sent.id:
            all_heard.append(await heard.get())
        ear.cancel()
        return sent, all_heard

    def test_clear_and_delete(self) -> None:
        """By the sequence."""
        from aiontfy import Message

        self.as_bob(lambda ntfy: ntfy.publish(Message(topic="bobs", message="x", sequence_id="door")))
        cleared = self.as_bob(lambda ntfy: ntfy.clear("bobs", "door"))
        self.assertEqual((cleared.event, cleared.sequence_id), ("message_clear", "door"))
        self.assertEqual(self.as_bob(lambda ntfy: ntfy.delete("bobs", "door")).event, "message_delete")

    def test_the_server(self) -> None:
        """Figures for everybody, the version for administrators."""
        self.assertGreaterEqual(self.with_client(lambda ntfy: ntfy.stats()).messages, 0)
        version = self.with_client(lambda ntfy: ntfy.version(), username="ada", password="secret")
        self.assertTrue(version.version)
        self.assertEqual(self.refusal(lambda ntfy: ntfy.version()), "NtfyForbiddenAccessError")

    def test_what_there_is_not(self) -> None:
        """Reservations are nobody's; it hears so in words that it knows."""
        login = {"username": "bob", "password": "hunter2"}
        said = self.refusal(lambda ntfy: ntfy.delete_reservation("bobs"), **login)
        self.assertEqual(said, "NtfyNotFoundPageError")
