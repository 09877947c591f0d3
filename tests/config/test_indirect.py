"""Variables of the environment, and secrets in files of their own."""

from __future__ import annotations

import os
import shutil
import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.config.errors import BadValue
from pushd.config.indirect import MAX_SECRET_BYTES, expand, fetch_secret

ENVIRON = {"PORT": "1884", "HOST_2": "db", "EMPTY": "", "LOOP": "${LOOP}"}


class ExpandTests(SynchronousTestCase):
    def test_variables(self) -> None:
        """Any number of them, anywhere in a value."""
        assert expand("${HOST_2}:${PORT}/x", ENVIRON) == "db:1884/x"

    def test_defaults(self) -> None:
        """They count for what is missing, and for what is empty, as in a shell."""
        assert expand("${PORT:-1} ${NO:-2} ${EMPTY:-3} ${NO:-}", ENVIRON) == "1884 2 3 "

    def test_missing_ones(self) -> None:
        """An empty variable has a value; one that is missing has none."""
        assert expand("a${EMPTY}b", ENVIRON) == "ab"
        problem = self.assertRaises(BadValue, expand, "${NO_SUCH}", ENVIRON)
        assert str(problem).startswith("there is no environment variable NO_SUCH; ")

    def test_escape(self) -> None:
        """A second $ makes it the text that it is."""
        assert expand("$${PORT} $${NO:-x}", ENVIRON) == "${PORT} ${NO:-x}"

    def test_what_mosquitto_files_may_have(self) -> None:
        """Other dollars are left alone: $SYS, $share, passwords with any characters."""
        for text in (
            "$SYS/#",
            "$PORT",
            "pa$$word",
            "${port}",
            "${Port}",
            "${}",
            "${PORT",
            "$ {PORT}",
            "${1A}",
        ):
            assert expand(text, ENVIRON) == text

    def test_once(self) -> None:
        """What a variable says is not looked at again."""
        assert expand("${LOOP}", ENVIRON) == "${LOOP}"

    @given(st.text(st.sampled_from("${}:-ABab ")))
    @settings(max_examples=300, deadline=None)
    def test_any_text(self, text: str) -> None:
        """It is read or refused, and one without capitals comes out as it went in."""
        try:
            expanded = expand(text, {"A": "1"})
        except BadValue as problem:
            assert str(problem).startswith("there is no environment variable")
        else:
            assert expanded == text or "A" in text or "B" in text


class SecretTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)

    def fetch(self, contents: bytes) -> str:
        path = os.path.join(self.directory, "secret")
        with open(path, "wb") as file:
            file.write(contents)
        return fetch_secret(f" file:{path} ")

    def test_in_the_settings(self) -> None:
        """Any other text is the secret itself."""
        assert fetch_secret("profile:x") == "profile:x"

    def test_the_first_line(self) -> None:
        """Editors end it, Windows in another way, and what follows may be notes."""
        assert [self.fetch(text) for text in (b"pw", b"pw\n", b"pw\r\n", b"pw\nof anna\n")] == ["pw"] * 4

    def test_files_that_will_not_do(self) -> None:
        """Each is named with the reason, and never with what is in it."""
        for contents, reason in (
            (b"", "is empty"),
            (b"\nx\n", "is empty"),
            (b"hunter2\xff\n", "is not UTF-8"),
        ):
            problem = str(self.assertRaises(BadValue, self.fetch, contents))
            assert reason in problem and "hunter2" not in problem

    def test_paths_that_will_not_do(self) -> None:
        """No such file, a directory, or none at all."""
        for path in ("/no/such/file", self.directory, "", "a\x00b"):
            assert "cannot be read" in str(self.assertRaises(BadValue, fetch_secret, f"file:{path}"))

    def test_endless_files(self) -> None:
        """A device that never ends is read as far as any secret goes."""
        assert len(self.fetch(b"x" * (MAX_SECRET_BYTES + 1))) == MAX_SECRET_BYTES
