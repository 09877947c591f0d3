"""
Topic injection: the table of the codec's tests, and some more, through every spelling of a topic in HTTP.

A topic is percent-decoded once and then exactly what MQTT takes for one, whichever way it came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.ntfy.topics import RESERVED
from tests.gateway.callers import Caller
from tests.gateway.readers import ReadersCase

TABLE = json.loads((Path(__file__).parents[1] / "vectors" / "topics.json").read_text())

# (topic, whether it is a name): what the codec knows, and what only HTTP can say.
NAMES: list[tuple[bytes, bool]] = [
    *((row["topic"].encode("utf-8", "surrogatepass"), row["valid"]) for row in TABLE["names"]),
    (b"\xff", False),
    (b"a/\xc0\xaf", False),
    (b"a/\xed\xa0\x80", False),
    (b"a%2Fb", True),
    (b"a/%00", True),
    (b"../../etc/passwd", True),
    (b"a\r\nX: y/b", True),
    (b"a/" * 199 + b"a", True),
    (b"a/" * 200 + b"a", False),
    (b"$share/g/a", True),
    (b"$CONTROL/dynamic-security/v1", True),
]
_FLAT = re.compile(rb"[-_A-Za-z0-9]{1,64}")


def is_flat(topic: bytes) -> bool:
    """One of ntfy's, which can stand in a path on its own."""
    return bool(_FLAT.fullmatch(topic)) and topic.decode() not in RESERVED


class PublishTests(SynchronousTestCase):
    """What is published, and to what"""

    def said(self, method: str, target: str, body: bytes = b"x") -> tuple[int, list[str]]:
        """:return: 200 or the code of the refusal, and the topics that were published to."""
        caller = Caller()
        answer = caller.request(method, target, body)
        code = 200 if answer.status == 200 else answer.code
        return code, [topic for topic, *_ in caller.press.published]

    def assert_said(self, topic: bytes, good: bool, method: str, target: str, body: bytes = b"x") -> None:
        code, published = self.said(method, target, body)
        if good:
            self.assertEqual((code, published), (200, [topic.decode()]), (method, target))
        else:
            self.assertEqual(published, [], (method, target))
            self.assertIn(code, (40009, 40010, 40024, 40401), (method, target))

    def rows(self) -> Iterator[tuple[bytes, bool]]:
        """The server's own topics are nobody's to publish to."""
        for topic, valid in NAMES:
            yield topic, valid and not topic.startswith(b"$")

    def test_one_segment(self) -> None:
        """With %2F for levels: publishing, by GET, and what is done to sequences."""
        for topic, valid in self.rows():
            good = valid and (b"/" in topic or is_flat(topic))
            path = "/" + quote(topic, safe="")
            for method, target in (
                ("POST", path),
                ("PUT", path),
                ("GET", f"{path}/publish"),
                ("PUT", f"{path}/sequence"),
                ("PUT", f"{path}/sequence/clear"),
                ("DELETE", f"{path}/sequence"),
            ):
                if topic:  # without one it is another page
                    self.assert_said(topic, good, method, target)

    def test_segments(self) -> None:
        """Behind /v1/publish, with slashes as they are, escaped, or both."""
        for topic, good in self.rows():
            for spelt in (quote(topic, safe="/"), quote(topic, safe=""), _all_escaped(topic)):
                self.assert_said(topic, good, "POST", f"/v1/publish/{spelt}")

    def test_objects(self) -> None:
        """In ntfy's JSON object."""
        for topic, good in self.rows():
            text = topic.decode("utf-8", "surrogatepass") if _is_text(topic) else None
            if text is not None:
                body = json.dumps({"topic": text, "message": "x"}).encode()
                self.assert_said(topic, good and text not in RESERVED, "POST", "/", body)

    def test_decoded_once(self) -> None:
        """What was escaped twice is a topic with a per cent sign in it, and no wildcard or level."""
        for spelt, topic in (("a%252Fb", "a%2Fb"), ("%2523", "%23"), ("a/%252B", "a/%2B")):
            self.assertEqual(self.said("POST", f"/v1/publish/{spelt}"), (200, [topic]))
        self.assertEqual(self.said("POST", "/a%252Fb"), (40009, []))

    def test_reserved(self) -> None:
        """ntfy's own pages, however they are spelt."""
        for name in RESERVED:
            for spelt in (name, _all_escaped(name.encode())):
                self.assertEqual(self.said("POST", f"/{spelt}"), (40010, []), spelt)
            self.assertEqual(self.said("POST", "/", json.dumps({"topic": name}).encode()), (40010, []))


class ReadTests(ReadersCase):
    """What is listened to"""

    def code(self, target: str) -> int:
        """200, or that of the refusal."""
        end = self.read(target)
        if end.head.startswith("HTTP/1.1 200 "):
            end.hang_up()
            return 200
        return end.refusal().code

    def test_topics(self) -> None:
        """One or a list: as for publishing, and no wildcard stands for a name."""
        for topic, valid in NAMES:
            good = valid and not topic.startswith(b"$") and (b"/" in topic or is_flat(topic))
            spelt = quote(topic, safe="")
            for target in (f"/{spelt}/json?poll=1", f"/ok,{spelt}/json?poll=1", f"/{spelt},ok/auth"):
                if topic:
                    self.assertEqual(self.code(target), 200 if good else _refusal_of(topic), target)

    def test_filters(self) -> None:
        """Behind /v1/subscribe the table of filters counts."""
        for row in TABLE["filters"]:
            filter = row["filter"].encode("utf-8", "surrogatepass")
            if filter and not filter.startswith(b"$"):
                code = self.code(f"/v1/subscribe/{quote(filter, safe='')}/json")
                self.assertIn(code, (200,) if row["valid"] else (40009, 40401), row)


def _all_escaped(topic: bytes) -> str:
    return "".join(f"%{byte:02x}" for byte in topic)


def _refusal_of(topic: bytes) -> int:
    return 40010 if topic.decode("latin-1") in RESERVED else 40009


def _is_text(topic: bytes) -> bool:
    try:
        topic.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True
