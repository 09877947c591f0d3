"""Instant messages as people's programs see them: curl, paho-mqtt, and two terminals side by side."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from pushd.im.envelope import Envelope, Part, PartType, decode, encode
from tests.clients.furniture import Answer, BrokerTestCase
from tests.clients.paho_device import Device
from tests.processes import DEADLINE_S, Program, program

ADA, BOB = ("-u", "ada:secret"), ("-u", "bob:hunter2")

SETTINGS = """\
listener {mqtt} 127.0.0.1
password_file passwd
acl_file acl
admin_user ada

listener {http} 127.0.0.1
protocol http
"""
ACL = """\
pattern read /+/im/u/%u
user ada
topic write /+/im/u/bob
user bob
topic write /+/im/u/ada
"""


class ImTestCase(BrokerTestCase):
    """ada and bob may write to each other."""

    settings = SETTINGS
    acl = ACL

    def post(self, path: str, body: Any, *login: str) -> Answer:
        return self.curl(f"/v1/im/{path}", *login, "-d", json.dumps(body))

    def listen(self, path: str, *login: str) -> Program:
        """A curl that shows events as they come."""
        url = f"http://localhost:{self.broker.port('http')}/v1/im/{path}/sse"
        listener = Program([program("curl"), "-s", "-N", "-i", *login, url], self.directory, terminal=True)
        self.addCleanup(listener.kill)
        listener.wait_for("^HTTP/1.1 200 OK")
        listener.wait_for("^:")
        return listener

    def chat(self, peer: str, *flags: str) -> Program:
        """A terminal with somebody at it."""
        command = [sys.executable, "-m", "pushd.ctl.main", "chat", "--url"]
        command += [f"http://127.0.0.1:{self.broker.port('http')}", *flags, peer]
        terminal = Program(command, self.directory, keyboard=True)
        self.addCleanup(terminal.kill)
        return terminal


class CurlTests(ImTestCase):
    """Messages by HTTP"""

    def test_to_a_phone(self) -> None:
        """What curl posts, paho gets as an envelope; a phone that is away gets it when it comes back."""
        phone = Device("phone", clean_session=False)
        phone.client.username_pw_set("bob", "hunter2")
        phone.connect(self.broker.port("mqtt"))
        phone.subscribe("/chat/im/u/bob", 1)
        answer = self.post("chat/bob", {"text": "grüezi", "sender": "bob"}, *ADA)
        told = json.loads(answer.body)
        self.assertEqual((answer.status, told["topic"]), (200, "/chat/im/u/bob"))
        message = phone.arrived.get(timeout=DEADLINE_S)
        phone.client.disconnect()
        phone.client.loop_stop()
        self.assertEqual(message.qos, 1)
        envelope = Envelope("ada", told["time"], (Part(PartType.TEXT, "grüezi"),))
        self.assertEqual(decode(bytes(message.payload)), envelope)

    def test_to_a_page(self) -> None:
        """What paho publishes, curl shows as an event."""
        listener = self.listen("chat/ada", *ADA)
        laptop = Device("laptop")
        laptop.client.username_pw_set("bob", "hunter2")
        laptop.connect(self.broker.port("mqtt"))
        laptop.client.publish("/chat/im/u/ada", encode(Envelope("bob", 5, (Part(PartType.TEXT, "hi"),))), 1)
        laptop.client.publish("/chat/im/u/ada", b"no envelope", 1)
        event = json.loads(listener.wait_for("^data: (.*)$")[1])
        self.assertEqual(
            (event["sender"], event["time"], event["content"]), ("bob", 5, [{"ty": 0, "co": "hi"}])
        )
        listener.wait_for("^event: undecodable")
        laptop.client.disconnect()
        laptop.client.loop_stop()

    def test_who_may_not(self) -> None:
        """By the ACL file, by name, and by password."""
        for path, login, code in (
            ("chat/carl", ADA, 40301),
            ("chat/bob", (), 40301),
            ("chat/bob", ("-u", "ada:wrong"), 40101),
            ("chat/b%2Fob", ADA, 40009),
            ("%23/bob", ADA, 40009),
        ):
            self.assertEqual(json.loads(self.post(path, {"text": "x"}, *login).body)["code"], code, path)
        answer = self.curl("/v1/im/chat/ada/sse", *BOB)
        self.assertEqual(json.loads(answer.body)["code"], 40301)

    def test_rules_change(self) -> None:
        """Who may not read any more hears nothing more, on the stream that is open."""
        listener = self.listen("chat/ada", *ADA)
        self.post("chat/ada", {"text": "before"}, *BOB)
        listener.wait_for("before")
        acl = self.directory / "acl"
        acl.write_text(ACL.replace("pattern read", "pattern write"))
        self.addCleanup(self.broker.reload)
        self.addCleanup(acl.write_text, ACL)
        self.broker.reload()
        self.assertEqual(self.post("chat/ada", {"text": "meanwhile"}, *BOB).status, 200)
        acl.write_text(ACL)
        self.broker.reload()
        self.post("chat/ada", {"text": "after"}, *BOB)
        listener.wait_for("after")
        self.assertNotIn("meanwhile", listener.log())

    def test_user_is_removed(self) -> None:
        """A stream ends when its user is gone from the password file."""
        listener = self.listen("chat/bob", *BOB)
        passwords = self.directory / "passwd"
        before = passwords.read_text()
        self.addCleanup(self.broker.reload)
        self.addCleanup(passwords.write_text, before)
        passwords.write_text(re.sub("(?m)^bob:.*\n", "", before))
        self.broker.reload()
        self.assertEqual(listener.finish(), 0)


class ChatTests(ImTestCase):
    """pushctl chat, at two terminals side by side"""

    def test_conversation(self) -> None:
        """Each line comes to the other, with the sender's name and the time."""
        ada, bob = self.chat("bob", *ADA), self.chat("ada", *BOB)
        for terminal in (ada, bob):
            terminal.wait_for("^-- connected")
        for one, other, name, text in (
            (ada, bob, "ada", "are you there?"),
            (bob, ada, "bob", "yes, äöü <b>"),
        ):
            one.type(f"{text}\n")
            heard = other.wait_for(rf"^\d\d:\d\d {name}: (.*)$")
            self.assertEqual(heard[1], text)
        ada.type("\x04")
        self.assertEqual(ada.finish(), 0)

    def test_hostile_text(self) -> None:
        """Escape sequences do not reach the other's terminal, whoever wrote them, and by whatever way."""
        bob = self.chat("ada", *BOB)
        bob.wait_for("^-- connected")
        self.post("chat/bob", {"text": "\x1b[2Jgone\r\u202e\x07"}, *ADA)
        line = bob.wait_for("gone").string
        self.assertTrue(line.isprintable(), line)
        self.assertIn("\\x1b[2Jgone", line)

    def test_server_comes_back(self) -> None:
        """The conversation goes on when the server does."""
        ada = self.chat("bob", *ADA)
        ada.wait_for("^-- connected")
        self.broker.kill()
        ada.wait_for("^-- the connection is lost")
        type(self).broker = self.broker.start_again()
        ada.wait_for("^-- connected again")
        self.post("chat/ada", {"text": "welcome back"}, *BOB)
        ada.wait_for("bob: welcome back")

    def test_not_allowed(self) -> None:
        """What cannot be sent is told to whoever typed it."""
        ada = self.chat("carl", *ADA)
        ada.type("hello?\n")
        ada.wait_for("^-- not sent: refused: forbidden")

    def test_wrong_password(self) -> None:
        """There is nothing to type then."""
        ada = self.chat("bob", "-u", "ada:wrong")
        self.assertEqual(ada.finish(), 1)
        self.assertIn("refused: unauthorized", ada.log())
