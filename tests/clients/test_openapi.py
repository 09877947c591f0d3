"""Schemathesis calls all that ``/openapi.json`` tells of, with what it allows and with what it does not."""

from __future__ import annotations

from pathlib import Path
from sys import executable

from tests.clients.furniture import BrokerTestCase
from tests.processes import Program

SETTINGS = """\
admin_user ada
max_login_failures 0
gateway_limits false

listener {mqtt} 127.0.0.1

listener {http} 127.0.0.1
protocol http
allow_anonymous true
accounts true
password_file passwd
"""

# They answer without an end, which a client of this kind would wait for.
STREAMS = r"/(sse|listen|json|raw|ws)$"

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


class SchemathesisTests(BrokerTestCase):
    settings = SETTINGS

    def test_every_operation(self) -> None:
        """No call is answered 500, nor in a way that the document does not tell of."""
        url = f"http://127.0.0.1:{self.broker.port('http')}/openapi.json"
        command = [
            Path(executable).with_name("schemathesis"), "run", url,
            "--auth", "ada:secret", "--phases", "coverage,fuzzing", "--max-examples", "5",
            "--request-timeout", "5", "--exclude-path-regex", STREAMS,
            "--checks", ",".join(CHECKS), "--no-color",
        ]  # fmt: skip
        run = Program(command, self.directory)
        self.assertEqual(run.finish(120), 0, str(run))
        self.assertRegex(str(run), r"Tested: \d{2}")
