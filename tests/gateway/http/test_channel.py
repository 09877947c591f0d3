"""`pushd.gateway.http.channel`: what is HTTP and what is not, and how long anybody waits."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, execute
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.http import problems
from pushd.gateway.http.body_limits import JSON_LIMIT_BYTES, MESSAGE_LIMIT_BYTES
from pushd.gateway.http.channel import CLOSE_S, DRAIN_S, IDLE_S, MAX_HEADERS, REQUEST_S
from pushd.gateway.http.uploads import MAX_AT_ONCE_PER_OWNER, STEP_BYTES
from pushd.mqtt.codes import ReasonCode
from tests.gateway.callers import Caller, Press
from tests.gateway.file_folders import SMALL, Folder, SlowThreads

HEAD = b"POST /t HTTP/1.1\r\nHost: h\r\n"

# Each could be read in two ways, or in none. A second request hides behind some.
MALFORMED: dict[str, bytes] = {
    "both framings": HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both framings, the other way round": HEAD
    + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "two equal lengths": HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
    "a list of lengths": HEAD + b"Content-Length: 1, 1\r\n\r\na",
    "a signed length": HEAD + b"Content-Length: +1\r\n\r\na",
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\na",
    "a hexadecimal length": HEAD + b"Content-Length: 0x1\r\n\r\na",
    "an empty length": HEAD + b"Content-Length:\r\n\r\na",
    "a length that no integer holds": HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "an unknown coding": HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
    "two codings": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity beside a length": HEAD + b"Transfer-Encoding: identity\r\nContent-Length: 1\r\n\r\na",
    "chunks in HTTP/1.0": b"POST /t HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk size that is no number": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a signed chunk size": HEAD + b"Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n",
    "a chunk size with 0x": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
    "a negative chunk size": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n",
    "an empty chunk size": HEAD + b"Transfer-Encoding: chunked\r\n\r\n\r\na\r\n0\r\n\r\n",
    "a chunk that does not end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    "a folded header": HEAD + b"X-Title: a\r\n Content-Length: 1\r\n\r\n",
    "a folded first header": b"POST /t HTTP/1.1\r\n Host: h\r\n\r\n",
    "a blank before the colon": HEAD + b"Content-Length : 1\r\n\r\na",
    "a header without a colon": HEAD + b"Content-Length\r\n\r\n",
    "a header without a name": HEAD + b": 1\r\n\r\n",
    "a bare line feed in a header": HEAD + b"X: a\nContent-Length: 1\r\n\r\na",
    "a bare carriage return": HEAD + b"X: a\rContent-Length: 1\r\n\r\na",
    "a NUL": HEAD + b"X: a\0b\r\n\r\n",
    "no Host": b"POST /t HTTP/1.1\r\n\r\n",
    "two Hosts": HEAD + b"Host: i\r\n\r\n",
    "a Host that is none": b"POST /t HTTP/1.1\r\nHost: a b\r\n\r\n",
    "no version": b"POST /t\r\nHost: h\r\n\r\n",
    "an unknown version": b"POST /t HTTP/2.0\r\nHost: h\r\n\r\n",
    "a blank in the target": b"POST /a b HTTP/1.1\r\nHost: h\r\n\r\n",
    "a method that is no word": b"P(ST /t HTTP/1.1\r\nHost: h\r\n\r\n",
    "too many headers": HEAD + b"X: 1\r\n" * (MAX_HEADERS + 1) + b"\r\n",
    "too long a header": HEAD + b"X: " + b"x" * 17_000 + b"\r\n\r\n",
    "too long a line": b"POST /" + b"x" * 17_000,
    "too long altogether": HEAD + b"X: " + b"x" * 9_000 + b"\r\nY: " + b"y" * 9_000 + b"\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
    "MQTT": b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00\r\n",
}

PIECES = [*MALFORMED.values(), HEAD, b"Content-Length: 5\r\n", b"\r\n", b"hello", b"5\r\nhello\r\n0\r\n\r\n"]


class MalformedTests(SynchronousTestCase):
    """Every one is answered 400, closes the connection, and publishes nothing"""

    def test_each_ends_in_400_and_close(self) -> None:
        """Nothing behind it is heard either."""
        for what, data in MALFORMED.items():
            caller = Caller()
            answers = caller.send(data) + caller.send(HEAD + b"Content-Length: 1\r\n\r\nx")
            self.assertEqual([answer.code for answer in answers], [40000], what)
            self.assertTrue(caller.hung_up, what)
            self.assertEqual(caller.press.published, [], what)

    def test_each_ends_so_byte_by_byte_too(self) -> None:
        """It does not matter how the network cuts it."""
        for what, data in MALFORMED.items():
            caller = Caller()
            answers = [answer for at in range(len(data)) for answer in caller.send(data[at : at + 1])]
            self.assertEqual([answer.code for answer in answers], [40000], what)
            self.assertTrue(caller.hung_up, what)

    def test_a_good_request_before_it_is_answered(self) -> None:
        """Only the bad one is refused."""
        good = HEAD + b"Content-Length: 1\r\n\r\na"
        answers = Caller().send(good + MALFORMED["two lengths"])
        self.assertEqual([answer.status for answer in answers], [200, 400])

    @settings(deadline=None)
    @given(
        st.lists(
            st.sampled_from([*MALFORMED.values(), HEAD, b"\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n"])
            | st.binary()
        )
    )
    def test_no_bytes_are_our_fault(self, pieces: list[bytes]) -> None:
        """Whatever arrives: no 500, no HTML, no exception."""
        caller = Caller()
        for piece in pieces:
            for answer in caller.send(piece):
                self.assertLess(answer.status, 500)
                self.assertEqual(answer.headers["Content-Type"], "application/json")


class WellFormedTests(SynchronousTestCase):
    """What must not be refused"""

    def test_requests_may_be_pipelined(self) -> None:
        """Each is answered, in order."""
        two = b"".join(HEAD + b"Content-Length: 1\r\n\r\n" + body for body in (b"a", b"b"))
        self.assertEqual([answer.json["message"] for answer in Caller().send(two)], ["a", "b"])

    def test_a_body_may_come_in_chunks(self) -> None:
        """With extensions and trailers, cut anywhere."""
        data = HEAD + b"Transfer-Encoding: Chunked\r\n\r\n2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nX: y\r\n\r\n"
        caller = Caller()
        answers = [answer for at in range(len(data)) for answer in caller.send(data[at : at + 1])]
        self.assertEqual([answer.json["message"] for answer in answers], ["hello"])

    def test_http_1_0_is_answered_and_closed(self) -> None:
        """Without a Host, as old devices send it."""
        caller = Caller()
        (answer,) = caller.send(b"POST /t HTTP/1.0\r\nContent-Length: 1\r\n\r\na")
        self.assertEqual((answer.status, answer.headers["Connection"]), (200, "close"))
        self.assertTrue(caller.hung_up)

    def test_close_is_obeyed(self) -> None:
        """And said again in the answer."""
        caller = Caller()
        answer = caller.post("/t", b"a", "Connection: close\r\n")
        self.assertEqual(answer.headers["Connection"], "close")
        self.assertTrue(caller.hung_up)

    def test_an_absolute_target_is_a_path(self) -> None:
        """As clients send it that think us a proxy."""
        answer = Caller().post("http://example.com/alerts?title=T", b"a")
        self.assertEqual((answer.json["topic"], answer.json["title"]), ("alerts", "T"))


class BodySizeTests(SynchronousTestCase):
    """413, before the body is read if it is announced"""

    def test_an_announced_length_is_enough(self) -> None:
        """Not a byte of the body was sent yet, and none is asked for."""
        head = HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n"
        (answer,) = Caller().send(head % (MESSAGE_LIMIT_BYTES + 1))
        self.assertEqual(answer.code, 41301)
        self.assertEqual(Caller().send(head % MESSAGE_LIMIT_BYTES)[0].status, 100)

    def test_chunks_are_counted_as_they_come(self) -> None:
        """The limit itself is taken, one more byte is not."""
        chunks = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
        rest = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
        self.assertEqual(Caller().send(chunks + rest + b"0\r\n\r\n")[0].status, 200)
        self.assertEqual(Caller().send(chunks + rest + b"1\r\nx\r\n0\r\n\r\n")[0].code, 41301)

    def test_the_json_object_may_be_twice_as_large(self) -> None:
        """Its own code says that it is the object."""
        head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
        self.assertEqual(Caller().send(head % JSON_LIMIT_BYTES), [])
        self.assertEqual(Caller().send(head % (JSON_LIMIT_BYTES + 1))[0].code, 41303)

    def test_what_is_still_sent_is_thrown_away_for_a_while(self) -> None:
        """A connection closed at once would be reset, and the caller never see why."""
        caller = Caller()
        caller.send(HEAD + b"Content-Length: 99999999\r\n\r\n")
        self.assertEqual(caller.send(b"x" * 10_000), [])
        self.assertFalse(caller.hung_up)
        caller.clock.advance(DRAIN_S)
        self.assertTrue(caller.hung_up)


class PatienceTests(SynchronousTestCase):
    """Deadlines, and none of them moved by dribbling"""

    def test_an_idle_connection_is_kept_for_a_minute(self) -> None:
        """Counted from the last answer."""
        caller = Caller()
        caller.clock.advance(IDLE_S - 1)
        caller.post("/t", b"a")
        caller.clock.pump([1.0] * int(IDLE_S - 1))
        self.assertFalse(caller.hung_up)
        caller.clock.advance(1)
        self.assertTrue(caller.hung_up)

    def test_a_connection_that_never_says_anything_is_closed(self) -> None:
        """Without an answer to nothing."""
        caller = Caller()
        caller.clock.pump([1.0] * int(IDLE_S))
        self.assertTrue(caller.hung_up)
        self.assertEqual(caller.answers(), [])

    def test_a_slow_body_is_cut_off(self) -> None:
        """A byte a second does not buy time."""
        caller = Caller()
        caller.clock.advance(10)
        caller.send(HEAD + b"Content-Length: 1000\r\n\r\n")
        for _ in range(int(REQUEST_S) - 1):
            caller.clock.advance(1)
            self.assertEqual(caller.send(b"x"), [])
        caller.clock.advance(1)
        self.assertEqual([answer.code for answer in caller.answers()], [40800])
        self.assertTrue(caller.hung_up)

    def test_a_slow_header_is_cut_off(self) -> None:
        """The time of a request begins with its first line."""
        caller = Caller()
        caller.send(HEAD)
        caller.clock.advance(REQUEST_S)
        self.assertEqual([answer.code for answer in caller.answers()], [40800])

    def test_a_store_that_does_not_answer_is_not_waited_for_forever(self) -> None:
        """The caller learns that the outcome is open; a late outcome changes nothing."""
        stored: Deferred[ReasonCode] = Deferred()
        caller = Caller(Press(stored))
        self.assertEqual(caller.send(HEAD + b"Content-Length: 1\r\n\r\na"), [])
        caller.clock.advance(REQUEST_S)
        self.assertEqual([answer.code for answer in caller.answers()], [50300])
        stored.callback(ReasonCode.SUCCESS)
        self.assertEqual(caller.answers(), [])
        self.assertFalse(caller.hung_up)

    def test_a_caller_that_does_not_read_is_cut_off(self) -> None:
        """Closing waits for what is left to be taken, but not forever."""
        caller = Caller()
        caller.send(MALFORMED["two lengths"])
        self.assertFalse(caller.transport.aborted)
        caller.clock.advance(CLOSE_S)
        self.assertTrue(caller.transport.aborted)

    def test_a_connection_that_is_gone_leaves_no_timer(self) -> None:
        """Whatever it was doing."""
        for data in (b"", HEAD, MALFORMED["two lengths"]):
            caller = Caller()
            caller.send(data)
            caller.channel.connectionLost(Failure(ConnectionLost()))
            self.assertEqual(caller.clock.getDelayedCalls(), [])


class FileBodyTests(SynchronousTestCase):
    """Bodies that are files: large, and perhaps slow"""

    def setUp(self) -> None:
        self.threads = SlowThreads()
        self.folder = Folder(self, in_thread=execute)
        self.caller = self.of(self.folder)

    def of(self, folder: Folder) -> Caller:
        caller = Caller()
        caller.site.uploads = folder.uploads
        caller.site.sender_of = lambda request: "192.0.2.7"
        return caller

    def head(self, length: int) -> bytes:
        return HEAD + b"Content-Length: %d\r\n\r\n" % length

    def assertNothingLeft(self, folder: Folder) -> None:
        self.assertEqual((folder.files, folder.uploads.room.bytes, len(folder.uploads)), ([], 0, 0))

    def test_an_announced_length_is_enough(self) -> None:
        """Too large for a file, as for a message elsewhere: not a byte is asked for."""
        (answer,) = self.caller.send(self.head(SMALL.max_file_bytes + 1))
        self.assertEqual((answer.code, answer.json["error"]), (41301, problems.FILE_TOO_LARGE.error))
        (answer,) = self.of(self.folder).send(
            b"POST /v1/publish/t HTTP/1.1\r\nHost: h\r\nContent-Length: 99999\r\n\r\n"
        )
        self.assertEqual(answer.code, 41301)
        self.assertNothingLeft(self.folder)

    def test_chunks_are_counted_as_they_come(self) -> None:
        """What has been written by then is gone."""
        chunk = b"40000\r\n" + b"x" * 0x40000 + b"\r\n"
        self.assertEqual(self.caller.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 3), [])
        self.assertEqual(len(self.folder.files), 1)
        (answer,) = self.caller.send(chunk)
        self.assertEqual(answer.code, 41301)
        self.assertNothingLeft(self.folder)

    def test_who_is_slow_but_steady_may_take_his_time(self) -> None:
        """As long as there is a step in each deadline."""
        self.caller.send(self.head(5 * STEP_BYTES))
        for _ in range(4):
            self.caller.clock.advance(REQUEST_S - 1)
            self.assertEqual(self.caller.send(b"x" * STEP_BYTES), [])
        self.assertEqual(len(self.folder.files), 1)
        self.assertEqual(len(self.caller.send(b"x" * STEP_BYTES)), 1)

    def test_who_dribbles_is_cut_off(self) -> None:
        """Nothing is left of what there was."""
        self.caller.send(self.head(900_000) + b"x" * (STEP_BYTES - 1000))
        for _ in range(int(REQUEST_S)):
            self.caller.clock.advance(1)
            self.caller.channel.dataReceived(b"x")
        self.assertEqual([answer.code for answer in self.caller.answers()], [40800])
        self.caller.channel.connectionLost(Failure(ConnectionLost()))
        self.assertNothingLeft(self.folder)

    def test_who_leaves_takes_his_file_with_him(self) -> None:
        """However far it had come."""
        self.caller.send(self.head(900_000) + b"x" * 500_000)
        self.assertEqual(len(self.folder.files), 1)
        self.caller.channel.connectionLost(Failure(ConnectionLost()))
        self.assertNothingLeft(self.folder)

    def test_500_slow_ones_hold_little(self) -> None:
        """One sender has so many at once; those beyond are told when to come again."""
        self.folder.limits = SMALL._replace(max_owner_bytes=100_000_000, max_total_bytes=100_000_000)
        answers = [
            answer
            for _ in range(500)
            for answer in self.of(self.folder).send(self.head(900_000) + b"x" * 70_000)
        ]
        self.assertEqual({answer.code for answer in answers}, {42901})
        self.assertEqual(len(answers), 500 - MAX_AT_ONCE_PER_OWNER)
        self.assertEqual(answers[0].headers["Retry-After"], "5")
        self.assertEqual(len(self.folder.files), MAX_AT_ONCE_PER_OWNER)

    def test_a_slow_disk_slows_its_sender_down(self) -> None:
        """And nobody reads what has nowhere to go."""
        folder = Folder(self, in_thread=self.threads)
        caller = self.of(folder)
        caller.send(self.head(900_000) + b"x" * 300_000)
        self.assertEqual(caller.transport.producerState, "paused")
        self.threads.work()
        self.assertEqual(caller.transport.producerState, "producing")

    def test_a_disk_that_fails_is_50700(self) -> None:
        """The sender need not send the rest."""
        os.rmdir(self.folder.path)
        self.caller.send(self.head(900_000) + b"x" * 100_000)
        (answer,) = self.caller.send(b"x")
        os.mkdir(self.folder.path)
        self.assertEqual(answer.code, 50700)
        self.caller.clock.advance(DRAIN_S)
        self.assertTrue(self.caller.hung_up)

    def test_a_small_body_is_no_file(self) -> None:
        """It is in memory, as it was before there were files."""
        self.assertEqual(self.caller.post("/t", b"x" * MESSAGE_LIMIT_BYTES).status, 200)
        self.assertNothingLeft(self.folder)

    def test_a_second_request_is_not_hidden_in_a_file(self) -> None:
        """What both framings announce is refused, whatever it is for."""
        smuggled = HEAD + b"Content-Length: 900000\r\nTransfer-Encoding: chunked\r\n\r\n"
        (answer,) = self.caller.send(smuggled + b"x" * 100_000)
        self.assertEqual(answer.code, 40000)
        self.assertNothingLeft(self.folder)
