"""The status as curl and Prometheus see it, and its history: over a restart, in a MariaDB, without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from prometheus_client.parser import text_string_to_metric_families

from tests.clients.furniture import BrokerTestCase
from tests.processes import DEADLINE_S, Program, program
from tests.stats.mariadb import mariadb

ADA = ("-u", "ada:secret")
BOB = ("-u", "bob:hunter2")

SETTINGS = """\
per_listener_settings true

listener {mqtt} 127.0.0.1
allow_anonymous true

listener {http} 127.0.0.1
protocol http
password_file passwd

listener {open} 127.0.0.1
protocol http
allow_anonymous true

admin_user ada
"""


class StatusCase(BrokerTestCase):
    settings = SETTINGS

    def ask(self, path: str) -> Any:
        """As an administrator."""
        answer = self.curl(path, *ADA)
        self.assertEqual(answer.status, 200, answer)
        return json.loads(answer.body)

    def next_sample(self) -> dict[str, Any]:
        """Wait for it: that is one of those moments at which the time ends in 0, so it may be 15 s."""
        url = f"http://127.0.0.1:{self.broker.port('http')}/v1/status/sse"
        stream = Program([program("curl"), "-sN", *ADA, url], self.directory)
        self.addCleanup(stream.kill)
        line = stream.wait_for("^data: .*", timeout_s=2 * DEADLINE_S)[0]
        status: dict[str, Any] = json.loads(line.removeprefix("data: "))
        return status


class StatusTests(StatusCase):
    settings = SETTINGS + "persistence true\npersistence_location store/\n"

    def test_history_over_a_restart(self) -> None:
        """What is pushed shows in the next sample, is kept, and is still there after a restart."""
        for number in range(5):
            self.publish("-t", "status/a", "-m", number, "-q", 1)
        status = self.next_sample()
        assert status["messages_received"] >= 5
        assert status["figures"]["memory_bytes"] > 10_000_000
        path = "/v1/status/history?from=-1min&step=10s&columns=messages_received_per_s,store_commit_ms"
        before = self.ask(path)
        (row,) = before["rows"]
        assert before["columns"][:3] == ["time", "samples", "messages_received_per_s"]
        assert row[:2] == [status["time"] - 10, 1]
        assert row[2] > 0
        self.broker.stop()
        type(self).broker = self.broker.start_again()
        assert row in self.ask(path)["rows"]

    def test_status(self) -> None:
        """There are figures at once, and nothing is wrong with the history."""
        status = self.ask("/v1/status")
        assert status["figures"]["open_files"] > 5
        assert status["history"] == {"failing": None, "waiting": 0, "lost": 0}

    def test_ready(self) -> None:
        """Without a login."""
        assert self.curl("/v1/ready")[:2] == (200, '{"ready":true}\n')

    def test_metrics(self) -> None:
        """Prometheus' parser reads them; no name of a client is in them, whatever clients are called."""
        name = 'x"}\n<script>{%s}'
        self.publish("-t", f"{name}/y", "-i", name, "-u", name, "-m", "z", "-q", 1, "-r")
        answer = self.curl("/metrics", port="open")
        families = {family.name for family in text_string_to_metric_families(answer.body)}
        assert {"pushd_messages_received", "pushd_connections", "process_cpu_seconds"} <= families
        assert "<script>" not in answer.body

    def test_who_may(self) -> None:
        """Figures are for administrators; where no login is needed, Prometheus' are for all."""
        for path in ("/v1/status", "/v1/status/history", "/v1/status/sse", "/metrics"):
            for flags in ((), BOB):
                assert self.curl(path, *flags).status == 403, path
        assert self.curl("/metrics", *ADA).status == 200
        assert self.curl("/v1/status", port="open").status == 403


class MariaDbTests(StatusCase):
    """``status_database``."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.settings = f"{SETTINGS}status_database {mariadb().new_database().replace('{', '{{')}\n"
        super().setUpClass()

    def test_history(self) -> None:
        """It is written there, and nowhere else."""
        status = self.next_sample()
        rows = self.ask("/v1/status/history?from=-1min&step=10s&columns=connections")["rows"]
        assert rows[-1][:2] == [status["time"] - 10, 1]
        assert [*Path(self.directory).rglob("status.db*")] == []


class AwayTests(StatusCase):
    """A database that nobody has started."""

    settings: ClassVar[str] = f"{SETTINGS}status_database mysql://pushd:hunter2@127.0.0.1:{{mysql}}/status\n"

    def test_away(self) -> None:
        """Pushing goes on; the log says once what is wrong and no password; the history says: later."""
        self.broker.wait_for(
            f"kept in memory until .* database status at 127.0.0.1:{self.broker.port('mysql')}"
        )
        assert self.curl("/alerts", "-d", "hello", *ADA).status == 200
        assert self.curl("/v1/status/history", *ADA).status == 503
        status = self.next_sample()
        assert status["history"]["waiting"] == 1
        assert "Can't connect" in status["history"]["failing"]
        log = self.broker.log()
        assert (log.count("kept in memory"), log.count("hunter2")) == (1, 0)
