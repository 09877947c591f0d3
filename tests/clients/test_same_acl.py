"""
One table of ACL files, clients and topics, asked of two brokers: Debian's mosquitto, which is a 2.0, and
pushd with ``acl_substitution 2.0``. What anybody may read and write has to be the same.

Each file has a listener; beside them one is open to everything, where the other side of each message sits.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from paho.mqtt.subscribeoptions import SubscribeOptions
from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.acl_file import AclFile
from pushd.auth.security_file import SecurityFileError
from tests.clients.furniture import SCRATCH, new_directory
from tests.clients.paho_device import V5, Device
from tests.processes import DEADLINE_S, Broker, ProgramFailed, start_mosquitto, start_pushd

REFUSED = 0x80  # the lowest reason code that says so
VERSION = "$SYS/broker/version"

FILES = {
    "empty": "# nothing here\n",
    "own": (
        "topic read news/#\ntopic write box\ntopic deny news/x\n"
        "user ada\ntopic a/+\ntopic deny a/b\ntopic read a/b\ntopic write news/+\ntopic read news/x\n"
        "user bob\ntopic #\ntopic deny secret/#\nuser ada\ntopic read later\nuser a+b\ntopic own/#\n"
    ),
    "words": (
        "topic readwrite a/b c\ntopic read\ntopic   deny   later  \ntopic later\ntopic write a//b\ntopic /a\n"
    ),
    "patterns": (
        "user ada\npattern read news/#\ntopic deny news/x\npattern deny a/%c\npattern a/#\n"
        "pattern write home/%u/%c\npattern read home/%u/#\n"
    ),
    "own_first": (
        "pattern deny a/#\npattern later\nuser ada\ntopic read a/b\ntopic deny later\n"
        "user bob\ntopic write a/b\n"
    ),
    "parts": (
        "pattern dev-%u/#\npattern x/%c%u.%c\npattern %c\npattern read y-%c/+\npattern write %u-%u/%%u\n"
        "pattern deny dev-%u/x\n"
    ),
    "slashes": "pattern %u/#\npattern read home/%c/+\npattern write b/%c\n",
    "dollars": (
        "topic #\ntopic +/broker/#\nuser ada\ntopic $SYS/#\ntopic read $own/a\nuser bob\ntopic deny $SYS/#\n"
        "topic +/a\npattern $x-%u/+\n"
    ),
}

# User name and client id; the ids differ, or clients would throw each other out.
CLIENTS: tuple[tuple[str | None, str], ...] = (
    (None, "c1"),
    ("", "c2"),
    ("ada", "c3"),
    ("bob", "c4"),
    ("home", "c5"),
    ("a/b", "c6"),
    ("x", "c/7"),
    ("a+b", "c8"),
    ("#", "c9"),
    ("+", "c10"),
    ("ada", "c+"),
    ("bob", "#"),
    ("%c", "%u"),
    ("ada", "b"),
)

TOPICS = (
    *("news", "news/1", "news/x", "box", "later", "a", "a/b", "a/x", "a/b/c", "a//b", "/a", "a/b c", "read"),
    *("secret", "secret/1", "own/a", "own/b", "other", "b", "c1", "c3", "$x"),
    *("home/ada", "home/ada/c3", "home/ada/b", "home/a/b", "home/a/b/c", "home/x/1", "home/c/7/on", "b/c/7"),
    *("dev-ada/a", "dev-ada", "dev-ada/x", "dev-a/b/c", "dev-%u/a", "dev-/a", "dev-a/x", "home/c1/on"),
    *(
        "x/c3ada.c3",
        "x/c1.c1",
        "x/%c%u.%c",
        "x/c/7x.c/7",
        "y-c1/a",
        "y-c/7/a",
        "ada-ada/%ada",
        "ada/x",
        "bob",
    ),
    *("home/x", "x/y", "%c/a", "c1/a", "%u", "$own/a", "$own", "$other/a", "$x-ada/a", "$x-a/b/c"),
    *(VERSION, "$SYS/broker/connection/b/state", "$SYS/a", "$CONTROL/a"),
)
FILTERS = (
    *("#", VERSION, "$SYS/broker/connection/#", "$own/#", "$other/#", "$CONTROL/#"),
    *("$x", "$x-ada/#", "$x-a/#"),
)


class Client(Device):
    """A device of version 5, for that is told when a publish is refused."""

    def __init__(self, client_id: str, username: str | None) -> None:
        super().__init__(client_id, V5)
        self._codes: dict[int, int] = {}  # of PUBACKs, by packet identifier
        self.client.on_publish = lambda _, __, packet_id, code, ___: self._codes.update(
            {packet_id: code.value}
        )
        if username is not None:
            self.client.username_pw_set(username)

    def subscribe_to_all(self) -> None:
        # QoS 0: of QoS 1, some would wait for PUBACKs, and come after the SUBACK in `topics_with`.
        self.client.subscribe([(topic_filter, SubscribeOptions(0)) for topic_filter in FILTERS])
        self.acknowledged.get(timeout=DEADLINE_S)

    def publish_to_all(self, topics: Sequence[str], payload: str) -> set[str]:
        """
        At once, and until all are acknowledged.

        :return: those that are refused.
        """
        sent = [self.client.publish(topic, payload, 1) for topic in topics]
        for one in sent:
            one.wait_for_publish(DEADLINE_S)
        self.subscribe("end", 0)  # that on_publish has run, too
        return {topic for topic, one in zip(topics, sent, strict=True) if self._codes[one.mid] >= REFUSED}

    def topics_with(self, payload: str) -> set[str]:
        """Of all that has arrived: nothing comes later that was sent before this SUBACK."""
        self.subscribe("end", 0)
        messages = [self.arrived.get() for _ in range(self.arrived.qsize())]
        # The broker's own figures have payloads of their own.
        return {one.topic for one in messages if one.payload == payload.encode() or one.topic == VERSION}


class Answers(NamedTuple):
    """What a broker lets one client do."""

    reads: set[str]
    writes: set[str]
    refused: set[str]  # and said so


Who = tuple[str | None, str]  # user name and client id


class AskedTestCase(SynchronousTestCase):
    """Asks both brokers."""

    def start_both(self, files: dict[str, str]) -> tuple[Broker, Broker]:
        """Mosquitto and pushd, each with a listener for each file, and an open one."""
        lines = [
            "per_listener_settings true",
            "set_tcp_nodelay true",
            "listener {open} 127.0.0.1",
            "allow_anonymous true",
        ]
        for name in files:
            lines += [f"listener {{{name}}} 127.0.0.1", "allow_anonymous true", f"acl_file {name}.acl"]
        theirs = "\n".join(lines) + "\n"
        ours = theirs.replace("acl_file", "acl_substitution 2.0\nacl_file")
        return self.start(start_mosquitto, theirs, files), self.start(start_pushd, ours, files)

    def start(self, start: Callable[[str, Path], Broker], text: str, files: dict[str, str]) -> Broker:
        directory = new_directory()
        for name, acl in files.items():
            (directory / f"{name}.acl").write_text(acl)
        broker = start(text, directory)
        self.addCleanup(broker.kill)
        return broker

    def client(self, broker: Broker, port: str, who: Who) -> Client:
        """A client that is subscribed to everything, whatever of it gets there."""
        client = Client(who[1], who[0])
        client.connect(broker.port(port))
        self.addCleanup(client.leave)
        client.subscribe_to_all()
        return client

    def ask(
        self, broker: Broker, file: str, whom: Sequence[Who], topics: Sequence[str]
    ) -> dict[Who, Answers]:
        """Let everybody read and write everything, as far as the file allows."""
        outside = self.client(broker, "open", (None, f"outside {file}"))
        clients = {who: self.client(broker, file, who) for who in whom}
        outside.publish_to_all([topic for topic in topics if not topic.startswith("$SYS")], "for all")
        reads = {who: client.topics_with("for all") for who, client in clients.items()}
        answers = {}
        for who, client in clients.items():
            refused = client.publish_to_all(topics, f"of {who}")
            answers[who] = Answers(reads[who], outside.topics_with(f"of {who}") - {VERSION}, refused)
            client.leave()
        return answers


class SameDecisionsTests(AskedTestCase):
    """The whole table."""

    def test_everybody_reads_and_writes_the_same(self) -> None:
        """For each file, client and topic, and so many of them allowed that it means something."""
        brokers = self.start_both(FILES)
        allowed = 0
        for file in FILES:
            theirs, ours = (self.ask(broker, file, CLIENTS, TOPICS) for broker in brokers)
            for who in CLIENTS:
                self.assertEqual(ours[who], theirs[who], (file, who))
                allowed += len(ours[who].reads | ours[who].writes)
        self.assertGreater(allowed, 300)

    def test_where_we_are_stricter(self) -> None:
        """
        Who chooses a name with a dollar sign gets no ``$`` topic by it; and nobody is told that a command was
        obeyed that nobody takes.
        """
        topics, whom = ("$x", "$CONTROL/a", "a"), [("$SYS", "$x")]
        brokers = self.start_both({"names": "pattern %c\npattern %u/#\npattern $CONTROL/#\npattern a\n"})
        theirs, ours = (self.ask(broker, "names", whom, topics)["$SYS", "$x"] for broker in brokers)
        self.assertEqual(theirs, Answers({VERSION, "$x", "a"}, {"$x", "a"}, set()))
        self.assertEqual(ours, Answers({"a"}, {"a"}, {"$x", "$CONTROL/a"}))


class SameFilesTests(SynchronousTestCase):
    """Which files are read at all."""

    texts = (
        *("", "\n\n", "#x", " # x", "foo", "Topic a", "topics a", "\ufefftopic a", "topic a\r\nuser y\r\n"),
        *(
            "topic",
            "topic ",
            "topic a",
            "  topic a",
            "topic  read a",
            "\ttopic a",
            "topic\ta",
            "topic\tread a",
        ),
        *(
            "topic read",
            "topic read ",
            "topic read\ta",
            "topic a b",
            "topic readwrite a b c  ",
            "topic DENY a",
        ),
        *("topic a#", "topic a/#/b", "topic +a", "topic a/+b", "topic a//b", "topic /", "topic $share/+/a"),
        *("user", "user ", "user  x", "user \t", "user a b", "user a\x01"),
        *("pattern", "pattern a", "pattern readwrite %u", "pattern deny %c/#", "pattern %u#", "pattern +%u"),
        *("topic " + "x" * 65_536, "user " + "x" * 70_000),
    )

    def is_read_by_mosquitto(self, text: str) -> bool:
        directory = Path(tempfile.mkdtemp(dir=SCRATCH.name))
        (directory / "acl").write_text(text, newline="")
        try:
            start_mosquitto("listener {mqtt} 127.0.0.1\nacl_file acl\n", directory).kill()
        except ProgramFailed:
            return False
        return True

    def is_read_by_us(self, text: str) -> bool:
        try:
            AclFile.parse(text, "acl")
        except SecurityFileError:
            return False
        return True

    def test_same_files_are_refused(self) -> None:
        """What stops the one stops the other."""
        for text in self.texts:
            self.assertEqual(self.is_read_by_us(text), self.is_read_by_mosquitto(text), text[:40])
