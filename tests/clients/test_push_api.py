"""Pushes with curl as the sender, paho as the device and an HTTPS server that is told of the end."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import ssl
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import SimpleQueue
from threading import Thread
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.furniture import curl, new_directory
from tests.clients.paho_device import Device
from tests.processes import DEADLINE_S, Program, free_port, program, start_pushd

SETTINGS = """\
persistence true
persistence_location store/
allow_anonymous true
webhook_secret open sesame
allow_private_networks 127.0.0.0/8
allow_private_networks ::1

listener {mqtt} 127.0.0.1

listener {http} 127.0.0.1
protocol http
"""


class Receiver:
    """
    An HTTPS server that is told of pushes.

    :ivar told: of headers and body of each request.
    :ivar answers: statuses of the next answers; 200 when there are none.
    """

    def __init__(self, certfile: str, keyfile: str) -> None:
        self.told: SimpleQueue[tuple[dict[str, str], bytes]] = SimpleQueue()
        self.answers: list[int] = []
        self._server = HTTPServer(("127.0.0.1", 0), self._make_handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certfile, keyfile)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        Thread(target=self._server.serve_forever, daemon=True).start()

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                self.end_headers()
                receiver.told.put((dict(self.headers), body))

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        return Handler

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class PushApiTestCase(SynchronousTestCase):
    """A broker that may be killed and started again."""

    def setUp(self) -> None:
        self.directory = new_directory()
        (self.directory / "store").mkdir()
        # The authority of our own certificates is all that this machine trusts.
        with patch.dict(os.environ, SSL_CERT_FILE=str(self.directory / "certs/ca.crt")):
            self.broker = start_pushd(SETTINGS, self.directory)
        self.addCleanup(lambda: self.broker.kill())

    def start_again(self) -> None:
        with patch.dict(os.environ, SSL_CERT_FILE=str(self.directory / "certs/ca.crt")):
            self.broker = self.broker.start_again()

    def kill_and_start_again(self) -> None:
        self.broker.kill()
        self.start_again()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.broker.port('http')}{path}"

    def ask(self, path: str, *flags: str) -> Any:
        answer = curl(self.url(path), *flags, directory=self.directory)
        self.assertEqual(answer.status, 200, answer)
        return json.loads(answer.body)

    def push(self, *flags: str, query: str = "", **said: Any) -> Any:
        return self.ask(f"/v1/push{query}", "-d", json.dumps({"message": "hi", **said}), *flags)

    def device(self, client_id: str, filter: str = "") -> Device:
        """One whose session lasts."""
        device = Device(client_id, clean_session=False)
        device.connect(self.broker.port("mqtt"))
        self.addCleanup(device.client.loop_stop)
        if filter:
            device.subscribe(filter, 1)
        return device

    def away(self, client_id: str, filter: str = "") -> None:
        """The same, and nobody is there."""
        device = self.device(client_id, filter)
        device.client.disconnect()
        device.ends.get(timeout=DEADLINE_S)

    def receiver(self) -> Receiver:
        certificates = self.directory / "certs"
        receiver = Receiver(str(certificates / "server.crt"), str(certificates / "server.key"))
        self.addCleanup(receiver.close)
        return receiver


class ReceiptTests(PushApiTestCase):
    """What is told of a push."""

    def test_wait(self) -> None:
        """curl hears when paho has acknowledged."""
        device = self.device("phone")
        told = self.push(targets={"clients": ["phone"]}, topic="call", query="?wait=5s")
        self.assertTrue(told["complete"])
        self.assertEqual(told["counts"]["acknowledged"], 1)
        message = device.arrived.get(timeout=DEADLINE_S)
        self.assertEqual((message.topic, message.payload), ("call", b"hi"))

    def test_receipt_outlives_the_process(self) -> None:
        """A device that comes after kill -9 is in the receipt of before."""
        self.away("phone")
        id = self.push(targets={"clients": ["phone"]}, topic="call", receipt=True)["id"]
        self.kill_and_start_again()
        self.assertEqual(self.ask(f"/v1/push/{id}")["counts"]["queued"], 1)
        self.device("phone").arrived.get(timeout=DEADLINE_S)
        self.assertTrue(self.ask(f"/v1/push/{id}?wait=5s")["complete"])

    def test_stream(self) -> None:
        """curl -N sees each step, and the end."""
        self.away("phone")
        id = self.push(targets={"clients": ["phone"]}, topic="call", receipt=True)["id"]
        stream = Program([program("curl"), "-s", "-N", self.url(f"/v1/push/{id}/sse")], self.directory)
        self.addCleanup(stream.kill)
        stream.wait_for("^event: receipt")
        self.device("phone")
        stream.wait_for('^data: .*"state":"acknowledged"')
        stream.wait_for('^data: .*"complete":true')


class RetryTests(PushApiTestCase):
    """``curl --retry`` with a key of its own"""

    def test_broker_is_away(self) -> None:
        """A push that begins while the broker is being started again arrives once."""
        self.away("phone", "news")
        self.broker.kill()
        retrying = ("--retry", "30", "--retry-delay", "1", "--retry-connrefused", "--retry-all-errors")
        words = ["-s", *retrying, "-H", "Idempotency-Key: a", "-d", '{"topic": "news", "message": "1"}']
        pushing = Program([program("curl"), *words, self.url("/v1/push")], self.directory)
        self.addCleanup(pushing.kill)
        self.start_again()
        pushing.wait_for('"sessions":1')
        self.assertEqual(self.payloads(), [b"1"])

    def test_answer_was_lost(self) -> None:
        """The same push again, to the next process: the same answer, and no second message."""
        self.away("phone", "news")
        first = self.push("-H", "Idempotency-Key: a", topic="news")
        self.kill_and_start_again()
        self.assertEqual(self.push("-H", "Idempotency-Key: a", topic="news"), first)
        self.assertEqual(self.payloads(), [b"hi"])

    def test_ntfys_way(self) -> None:
        """The header counts for plain pushes, too."""
        self.away("phone", "news")
        first = self.ask("/news", "-d", "hi", "-H", "Idempotency-Key: a")
        self.kill_and_start_again()
        self.assertEqual(self.ask("/news", "-d", "hi", "-H", "Idempotency-Key: a"), first)
        self.assertEqual(self.payloads(), [b"hi"])

    def payloads(self) -> list[bytes]:
        """All that waited for the phone."""
        phone = self.device("phone")
        self.push(topic="news", message="end")
        payloads: list[bytes] = []
        while not payloads or payloads[-1] != b"end":
            payloads.append(phone.arrived.get(timeout=DEADLINE_S).payload)
        return payloads[:-1]


class LaterTests(PushApiTestCase):
    """deliver_at"""

    def test_kill_9(self) -> None:
        """What was put off is sent at its time, once, by a process that was not asked; or cancelled."""
        self.away("phone")
        due_at = int(time.time()) + 6
        for message in ("no", "yes"):
            said = {"targets": {"clients": ["phone"]}, "topic": "call", "message": message}
            id = self.push(**said, deliver_at=due_at)["id"]
            if message == "no":
                self.kill_and_start_again()
                self.ask(f"/v1/scheduled/{id}", "-X", "DELETE")
        self.kill_and_start_again()
        phone = self.device("phone")
        self.assertEqual(phone.arrived.get(timeout=DEADLINE_S).payload, b"yes")
        self.assertGreaterEqual(time.time(), due_at)
        self.push(targets={"clients": ["phone"]}, topic="call", message="end")
        self.assertEqual(phone.arrived.get(timeout=DEADLINE_S).payload, b"end")


class WebhookTests(PushApiTestCase):
    """webhook"""

    def test_told_and_signed(self) -> None:
        """An HTTPS server hears of the end, and can tell that it is from us; at the second attempt."""
        receiver = self.receiver()
        receiver.answers.append(500)
        self.device("phone")
        url = f"https://localhost:{receiver.port}/done?a=b"
        id = self.push(targets={"clients": ["phone"]}, topic="call", webhook=url)["id"]
        _, first = receiver.told.get(timeout=DEADLINE_S)
        headers, body = receiver.told.get(timeout=DEADLINE_S)
        self.assertEqual(body, first)
        self.assertEqual(json.loads(body)["counts"]["acknowledged"], 1)
        self.assertEqual(headers["X-Pushd-Delivery"], id)
        at, signed = (part.partition("=")[2] for part in headers["X-Pushd-Signature"].split(","))
        expected = hmac.new(b"open sesame", at.encode() + b"." + body, hashlib.sha256).hexdigest()
        self.assertEqual(signed, expected)

    def test_after_kill_9(self) -> None:
        """Who waited for the end still hears of it."""
        receiver = self.receiver()
        self.away("phone")
        url = f"https://localhost:{receiver.port}/"
        self.push(targets={"clients": ["phone"]}, topic="call", webhook=url)
        self.kill_and_start_again()
        self.device("phone")
        _, body = receiver.told.get(timeout=DEADLINE_S)
        self.assertTrue(json.loads(body)["complete"])

    def test_wrong_certificate(self) -> None:
        """A server that is not whom the URL names hears nothing."""
        receiver = self.receiver()
        url = f"https://127.0.0.2:{receiver.port}/"
        self.push(topic="nobody", webhook=url)
        time_out = self.push(topic="nobody", webhook=f"https://localhost:{receiver.port}/")
        headers, _ = receiver.told.get(timeout=DEADLINE_S)
        self.assertEqual(headers["X-Pushd-Delivery"], time_out["id"])

    def test_refused(self) -> None:
        """A private address that the settings do not list, and a URL without TLS."""
        for url in ("https://10.0.0.1/", f"http://localhost:{free_port()}/", "https://2130706433/"):
            said = json.dumps({"topic": "t", "message": "", "webhook": url})
            answer = curl(self.url("/v1/push"), "-d", said, directory=self.directory)
            self.assertEqual(json.loads(answer.body)["code"], 40000, url)
