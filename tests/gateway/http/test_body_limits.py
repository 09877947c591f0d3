"""`pushd.gateway.http.body_limits`: how large a body may be."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.http import problems
from pushd.gateway.http.body_limits import JSON_LIMIT_BYTES, MESSAGE_LIMIT_BYTES, body_limit
from pushd.gateway.http.problems import Refusal


class BodyLimitTests(SynchronousTestCase):
    """Known from the request line, before a body is read"""

    def test_only_the_json_page_takes_the_larger(self) -> None:
        """With or without a query."""
        self.assertEqual(body_limit(b"/?qos=1").max_bytes, JSON_LIMIT_BYTES)
        self.assertEqual(body_limit(b"/topic").max_bytes, MESSAGE_LIMIT_BYTES)

    def test_the_limit_itself_fits(self) -> None:
        """One byte more does not."""
        body_limit(b"/t").check(MESSAGE_LIMIT_BYTES)
        error = self.assertRaises(Refusal, body_limit(b"/t").check, MESSAGE_LIMIT_BYTES + 1)
        self.assertIs(error.problem, problems.MESSAGE_TOO_LARGE)
