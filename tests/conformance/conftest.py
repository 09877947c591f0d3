"""
The brokers of the conformance tests, one process for each kind of settings and test worker.

Each is started by the first test that names it, and serves a well-behaved client after every test.
"""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from collections.abc import Callable, Iterator

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


@pytest.fixture
def start() -> Callable[[], Broker]:
    """Start a broker of the test's own, which the test must stop."""
    return lambda: Broker(OPEN_TO_ALL)


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
    tight_process.serves()


@pytest.fixture(scope="session")
def short_process() -> Iterator[Broker]:
    process = Broker(OPEN_TO_ALL + "max_packet_size 100\n")
    yield process
    process.stop()


@pytest.fixture
def short(short_process: Broker) -> Iterator[Broker]:
    """Takes packets of at most 100 bytes."""
    yield short_process
    short_process.serves()


# Two doors to one house: the second one leads into a part of it only, and lets in few.
GUARDED = """
allow_anonymous false
password_file {folder}/passwd
acl_file {folder}/acl
queue_qos0_messages true
listener {port} 127.0.0.1
listener {second_port} 127.0.0.1
mount_point open/inside/
max_connections 3
"""
ACL = """
user alice
topic readwrite open/#
topic read read/#
topic write write/#
topic readwrite well/behaved/#
pattern readwrite own/%u/#
pattern readwrite id/%c/#
"""


@pytest.fixture(scope="session")
def guarded_process() -> Iterator[Broker]:
    people = {"alice": b"secret", "bob": b"\xff\0binary", "zo\u00eb": b"pass word"}
    passwd = "".join(f"{person}:{hashed(password)}\n" for person, password in people.items())
    process = Broker(GUARDED, {"passwd": passwd, "acl": ACL}, identity=("alice", b"secret"))
    yield process
    process.stop()


@pytest.fixture
def guarded(guarded_process: Broker) -> Iterator[Broker]:
    """Asks for a password and goes by access rules; its clients are alice unless they say otherwise."""
    yield guarded_process
    guarded_process.serves()


def hashed(password: bytes) -> str:
    """A password as mosquitto_passwd writes it: PBKDF2 with SHA-512."""
    salt = os.urandom(12)
    key = hashlib.pbkdf2_hmac("sha512", password, salt, 101)
    return f"$7$101${b64encode(salt).decode()}${b64encode(key).decode()}"
