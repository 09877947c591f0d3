"""`pushd.gateway.http.problems`: the catalogue of errors."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.http import problems
from pushd.gateway.http.problems import OF_REASON_CODE, Problem, Refusal

CATALOGUE = {name: row for name, row in vars(problems).items() if isinstance(row, Problem)}


class CatalogueTests(SynchronousTestCase):
    """ntfy's clients unpack the object into named arguments and act on the code."""

    def test_an_object_has_exactly_the_three_fields(self) -> None:
        """One field more breaks Home Assistant's client."""
        for name, row in CATALOGUE.items():
            shown = json.loads(row.body)
            self.assertEqual(shown, {"code": row.code, "http": row.http, "error": row.error}, name)

    def test_codes_that_clients_know_mean_what_they_mean_in_ntfy(self) -> None:
        """40101 is "log in again", 40301 "not yours", and so on."""
        known = {"UNAUTHORIZED": 40101, "FORBIDDEN": 40301, "NOT_FOUND": 40401, "TOPIC_INVALID": 40009}
        known |= {
            "TOPIC_RESERVED": 40010,
            "PRIORITY_INVALID": 40007,
            "ATTACHMENTS_OFF": 40014,
            "JSON_INVALID": 40024,
        }
        known |= {"EMAIL_OFF": 40001, "CALL_OFF": 40032, "ICON_INVALID": 40021, "ACTIONS_INVALID": 40018}
        known |= {"DELAY_NO_CACHE": 40002, "DELAY_INVALID": 40004}
        known |= {"DELAY_TOO_SMALL": 40005, "DELAY_TOO_LARGE": 40006}
        known |= {"MESSAGE_TOO_LARGE": 41301, "JSON_TOO_LARGE": 41303, "INTERNAL_ERROR": 50001}
        self.assertEqual({name: CATALOGUE[name].code for name in known}, known)

    def test_the_status_is_in_the_code(self) -> None:
        """Every row is an HTTP error; no refusal looks like a success."""
        for name, row in CATALOGUE.items():
            self.assertIn(row.http // 100, (4, 5), name)

    def test_a_refusal_carries_its_problem(self) -> None:
        """What is raised deep inside is what the caller is told."""
        self.assertIs(Refusal(problems.FORBIDDEN).problem, problems.FORBIDDEN)

    def test_the_brokers_refusals_have_a_problem_of_their_own(self) -> None:
        """None of what a broker says to a client's mistake is called our error."""
        self.assertNotIn(problems.INTERNAL_ERROR, OF_REASON_CODE.values())
