"""v5 §4.12: enhanced authentication, by the method SCRAM-SHA-256 (RFC 7677)."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from itertools import count

import pytest

from tests.conformance import v5_packets as v5
from tests.conformance.harness import Broker, unique
from tests.conformance.packets import PINGREQ
from tests.conformance.statements import holds
from tests.conformance.v5_client import Client, opened

METHOD = "SCRAM-SHA-256"
_numbers = count(1)


class Scram:
    """The client's part of one exchange."""

    def __init__(self, user: str = "anna", password: bytes = b"pencil") -> None:
        self._password = password
        self._bare = f"n={user},r=nonce{next(_numbers)}"
        self.first = b"n,," + self._bare.encode()
        self.server_signature = b""

    def final(self, challenge: bytes) -> bytes:
        """The answer to the server's first message."""
        fields = dict(field.split("=", 1) for field in challenge.decode().split(","))
        without_proof = f"c=biws,r={fields['r']}"
        salted = hashlib.pbkdf2_hmac("sha256", self._password, b64decode(fields["s"]), int(fields["i"]))
        said = f"{self._bare},{challenge.decode()},{without_proof}".encode()
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), said, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        server_key = hmac.digest(salted, b"Server Key", "sha256")
        self.server_signature = b"v=" + b64encode(hmac.digest(server_key, said, "sha256"))
        return f"{without_proof},p={b64encode(proof).decode()}".encode()


def auth(code: int, data: bytes, method: str = METHOD) -> bytes:
    """AUTH of a method."""
    return v5.auth(code, v5.auth_method(method), v5.auth_data(data))


def challenged(broker: Broker, scram: Scram) -> tuple[Client, bytes]:
    """A client that sent CONNECT, and what it is to answer."""
    client = opened(broker)
    client.send(v5.connect(unique(), v5.auth_method(METHOD), v5.auth_data(scram.first)))
    return client, expect_auth(client, 0x18)


def expect_auth(client: Client, code: int) -> bytes:
    """The next packet is an AUTH of the method."""
    answer = client.answer()
    assert (answer.kind, answer.code, answer.says(v5.AUTH_METHOD)) == (0xF0, code, METHOD), answer
    data = answer.says(v5.AUTH_DATA)
    assert isinstance(data, bytes)
    return data


def proven(broker: Broker) -> Client:
    """A client that was let in."""
    scram = Scram()
    client, challenge = challenged(broker, scram)
    client.send(auth(0x18, scram.final(challenge)))
    answer = client.answer()
    assert (answer.kind, answer.code) == (0x20, 0), answer
    assert (answer.says(v5.AUTH_METHOD), answer.says(v5.AUTH_DATA)) == (METHOD, scram.server_signature)
    return client


@holds("v5 [MQTT-4.12.0-2]", "v5 [MQTT-4.12.0-5]", "v5 [MQTT-3.15.2-1]", "v5 [MQTT-4.12.0-3]")
def test_challenge_and_answer(doors: Broker) -> None:
    """AUTH 0x18 asks and answers, CONNACK lets in; all name the method, and the server proves itself."""
    proven(doors).expect_silence()


@holds("v5 [MQTT-4.12.0-4]", "v5 [MQTT-4.13.2-1]")
@pytest.mark.parametrize(("user", "password"), [("anna", b"wrong"), ("nobody", b"pencil")])
def test_wrong_proof(doors: Broker, user: str, password: bytes) -> None:
    """Who does not know the password is refused at the end, as is who does not exist."""
    scram = Scram(user, password)
    client, challenge = challenged(doors, scram)
    client.send(auth(0x18, scram.final(challenge)))
    answer = client.answer()
    assert answer.kind == 0x20 and answer.code in (0x86, 0x87)
    client.expect_closed()


@holds("v5 [MQTT-3.1.2-30]", "v5 [MQTT-4.12.0-5]", "v5 [MQTT-4.12.0-3]")
@pytest.mark.parametrize(
    "sent",
    [PINGREQ, v5.publish("a"), auth(0x18, b"x", "ANOTHER"), auth(0x19, b"x"), v5.connect("a"), v5.auth(0x18)],
)
def test_anything_but_the_answer(doors: Broker, sent: bytes) -> None:
    """Before the CONNACK there is only AUTH, to go on, of the same method."""
    client, _ = challenged(doors, Scram())
    client.send(sent)
    client.expect_refused(0x82)


@holds("v5 [MQTT-3.1.2-30]", "v5 §4.12")
def test_giving_up(doors: Broker) -> None:
    """A client may say DISCONNECT instead of an answer."""
    client, _ = challenged(doors, Scram())
    client.leaves()


@holds("v5 [MQTT-4.12.1-1]", "v5 §4.12.1")
def test_authenticating_again(doors: Broker, name: str) -> None:
    """AUTH 0x19 begins anew while everything else goes on; AUTH 0x00 ends it."""
    client = proven(doors)
    for _ in range(2):
        scram = Scram()
        client.send(auth(0x19, scram.first))
        challenge = expect_auth(client, 0x18)
        client.expect_silence()
        client.send(auth(0x18, scram.final(challenge)))
        assert expect_auth(client, 0x00) == scram.server_signature
    client.subscribes((name, 0))


@holds("v5 [MQTT-4.12.1-2]")
def test_failing_to_authenticate_again(doors: Broker) -> None:
    """A proof that is none ends the connection."""
    client = proven(doors)
    scram = Scram(password=b"wrong")
    client.send(auth(0x19, scram.first))
    client.send(auth(0x18, scram.final(expect_auth(client, 0x18))))
    client.expect_disconnect(0x87)


@holds("v5 [MQTT-4.12.1-1]", "v5 [MQTT-4.13.1-1]")
@pytest.mark.parametrize("sent", [auth(0x19, b"x", "ANOTHER"), auth(0x18, b"x"), v5.auth(0x19)])
def test_auth_out_of_turn(doors: Broker, sent: bytes) -> None:
    """Another method, or an answer to no question."""
    client = proven(doors)
    client.send(sent)
    client.expect_disconnect(0x82)
