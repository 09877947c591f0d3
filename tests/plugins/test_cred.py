"""`pushd.plugins.cred`: users of other Twisted servers."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pushd.plugins import ReasonCode
from pushd.plugins.loading import PluginError
from pushd.testing import MemoryBroker, use

CHECKER = "pushd.plugins.cred:Checker"


class CheckerTests(SynchronousTestCase):
    def login(self, checker: str, username: str | None, password: str | None) -> ReasonCode | None:
        with MemoryBroker(use(CHECKER, checker=checker), allow_anonymous=False) as broker:
            return broker.connect("a", username, password).code

    def test_users_in_memory(self) -> None:
        """The right password lets in, a wrong one, none, or another name do not."""
        for username, password, code in (
            ("ada", "secret", ReasonCode.SUCCESS),
            ("ada", "wrong", ReasonCode.NOT_AUTHORIZED),
            ("ada", None, ReasonCode.NOT_AUTHORIZED),
            ("bob", "secret", ReasonCode.NOT_AUTHORIZED),
            (None, None, ReasonCode.NOT_AUTHORIZED),
        ):
            assert self.login("memory:ada:secret", username, password) is code, (username, password)

    def test_users_of_a_file(self) -> None:
        """Names outside of ASCII, too."""
        path = Path(self.mktemp())
        path.write_text("zoë:geheim\n", encoding="utf-8")
        assert self.login(f"file:{path}", "zoë", "geheim") is ReasonCode.SUCCESS
        assert self.login(f"file:{path}", "zoë", "x") is ReasonCode.NOT_AUTHORIZED

    def test_a_file_that_goes_missing(self) -> None:
        """Nobody comes in."""
        path = Path(self.mktemp())
        path.write_text("ada:secret\n")
        with MemoryBroker(use(CHECKER, checker=f"file:{path}")) as broker:
            path.unlink()
            code = broker.connect("a", "ada", "secret").code
        assert code is not None and code >= 0x80
        self.flushLoggedErrors()

    def test_unknown_checkers(self) -> None:
        """The start says which there are."""
        error = self.assertRaises(PluginError, MemoryBroker, use(CHECKER, checker="ldap:x"))
        assert "there is no checker 'ldap'; there are: " in str(error)
        assert "memory" in str(error)

    def test_checkers_of_other_things(self) -> None:
        """An SSH key is no password."""
        error = self.assertRaises(PluginError, MemoryBroker, use(CHECKER, checker="anonymous"))
        assert "does not take user names and passwords" in str(error)
