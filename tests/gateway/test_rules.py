"""`pushd.gateway.rules`: files of rules, for administrators."""

from __future__ import annotations

from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.identity.guards import Guard
from pushd.gateway.rules import RuleFile, RulePages
from tests.gateway.callers import Caller

ADA = "Authorization: Basic YWRhOnNlY3JldA==\r\n"
FILES = [RuleFile("acl_file", "conf/acl", "topic read <b>\n"), RuleFile("routes_file", "ä", "")]


def pages(guard: Guard) -> dict[bytes, object]:
    return {b"v1/rules": RulePages(guard, lambda: succeed(FILES)).app.resource()}


class RulesTests(SynchronousTestCase):
    def test_all_files(self) -> None:
        """Each with the option that names it, and its text as it is."""
        caller = Caller(admins=("ada",), make_pages=pages)  # type: ignore[arg-type]  # klein's resource is untyped
        answer = caller.request("GET", "/v1/rules", headers=ADA)
        self.assertEqual(
            answer.json["files"],
            [
                {"option": "acl_file", "path": "conf/acl", "text": "topic read <b>\n"},
                {"option": "routes_file", "path": "ä", "text": ""},
            ],
        )

    def test_others(self) -> None:
        """Nobody else is told who may do what."""
        caller = Caller(make_pages=pages)  # type: ignore[arg-type]
        self.assertEqual(caller.request("GET", "/v1/rules", headers=ADA).code, 40301)
        self.assertEqual(caller.request("GET", "/v1/rules").code, 40301)
