"""
The brokers of the conformance tests, one process for each kind of settings and test worker.

Each is started by the first test that names it, and serves a well-behaved client after every test.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.harness import Broker, unique

OPEN_TO_ALL = "listener {port} 127.0.0.1\nallow_anonymous true\nlog_type all\nsys_interval 1\n"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "holds(*statements): statements of the standard that a test holds")


@pytest.fixture
def name() -> str:
    """A client id or topic name of the test's own."""
    return unique()


@pytest.fixture(scope="session")
def open_process() -> Iterator[Broker]:
    process = Broker(OPEN_TO_ALL)
    yield process
    process.stop()


@pytest.fixture
def broker(open_process: Broker) -> Iterator[Broker]:
    """Open to all, every limit at its default."""
    yield open_process
    open_process.serves()


# Small numbers, so that a test reaches them with a few packets.
TIGHT = """
max_inflight_messages 3
max_queued_messages 5
max_packet_size 1000
message_size_limit 500
max_keepalive 60
retain_available false
allow_zero_length_clientid false
connect_timeout 1
"""


@pytest.fixture(scope="session")
def tight_process() -> Iterator[Broker]:
    process = Broker(OPEN_TO_ALL + TIGHT)
    yield process
    process.stop()


@pytest.fixture
def tight(tight_process: Broker) -> Iterator[Broker]:
    """Every limit set."""
    yield tight_process
