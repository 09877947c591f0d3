"""
The brokers of the conformance tests, one process for each kind of settings and test worker.

Each is started by the first test that names it, and serves a well-behaved client after every test.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from base64 import b64encode
from collections.abc import Callable, Iterator

import pytest

from tests.conformance.harness import Broker, unique

# The standard lets a server choose how many copies overlapping subscriptions get; one is easier to expect.
OPEN_TO_ALL = """\
listener {port} 127.0.0.1
allow_anonymous true
log_type all
sys_interval 1
"""


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
    """Open to all, every limit at its default, and one copy of each message."""
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


# A door for browsers, and users who need not send their password.
OTHER_DOORS = """
allow_anonymous false
password_file {folder}/passwd
listener {port} 127.0.0.1
listener {second_port} 127.0.0.1
protocol websockets
"""


@pytest.fixture(scope="session")
def doors_process() -> Iterator[Broker]:
    passwd = f"anna:{scram_hash(b'pencil')}\nalice:{hashed(b'secret')}\n"
    process = Broker("log_type all\n" + OTHER_DOORS, {"passwd": passwd}, identity=("alice", b"secret"))
    yield process
    process.stop()


@pytest.fixture
def doors(doors_process: Broker) -> Iterator[Broker]:
    """Knows SCRAM-SHA-256 for anna; its second port speaks WebSocket."""
    yield doors_process
    doors_process.serves()


# What version 5 announces, and a second door for version 3 alone.
NARROW = """
max_inflight_messages 3
max_packet_size 1000
message_size_limit 500
max_keepalive 60
retain_available false
connect_timeout 1
listener {port} 127.0.0.1
allow_anonymous true
allow_zero_length_clientid false
max_qos 1
max_topic_alias 3
max_topic_alias_broker 2
accept_protocol_versions 4,5
listener {second_port} 127.0.0.1
allow_anonymous true
accept_protocol_versions 3,4
"""


@pytest.fixture(scope="session")
def narrow_process() -> Iterator[Broker]:
    process = Broker("log_type all\nper_listener_settings true\n" + NARROW)
    yield process
    process.stop()


@pytest.fixture
def narrow(narrow_process: Broker) -> Iterator[Broker]:
    """Announces limits in version 5; its second port takes version 3 only."""
    yield narrow_process
    narrow_process.serves()


def scram_hash(password: bytes, rounds: int = 4096) -> str:
    """What a server keeps of a password for SCRAM-SHA-256."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, rounds)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    keys = (salt, hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256"))
    return f"$scram-sha-256${rounds}$" + "$".join(b64encode(key).decode() for key in keys)
