"""`pushd.gateway.ntfy.reading`: what was said, what is being said and what will be, in one stream."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail

from pushd.broker.interfaces import Access
from pushd.broker.message import Message
from pushd.broker.records import Kept, KeptQuery
from pushd.gateway.ntfy.reading import MAX_HELD_BYTES, PAGE
from pushd.service.audience import Audience
from tests.fakes import HeldStore
from tests.gateway.readers import NOW, UPGRADE, End, ReadersCase


class PollTests(ReadersCase):
    """``poll=1``: what was said, and that is all"""

    def poll(self, query: str = "", headers: str = "") -> list[str]:
        end = self.read(f"/news,more/json?poll=1{query}", headers)
        self.assertTrue(end.is_complete)
        self.assertEqual([shown for shown in end.objects() if shown["event"] == "open"], [])
        return end.messages()

    def test_everything(self) -> None:
        """Of all its topics in the order in which it was said; what nobody was to keep is gone."""
        for number, topic in enumerate(("news", "more", "other", "news")):
            self.push(topic, str(number))
        self.push("news", "x", keep_s=0)
        self.assertEqual(self.poll(), ["0", "1", "3"])

    def test_many_pages(self) -> None:
        """However much it is."""
        for number in range(2 * PAGE + 1):
            self.push("news", str(number))
        self.assertEqual(self.poll(), [str(number) for number in range(2 * PAGE + 1)])

    def test_nothing(self) -> None:
        """Nothing is no error."""
        self.assertEqual(self.poll(), [])
        self.push("news", "0")
        self.assertEqual(self.poll("&since=none"), [])

    def test_after_an_id(self) -> None:
        """Of any of the topics, and only what is behind it; all for one that nobody knows."""
        ids = [self.push(topic, topic) for topic in ("news", "more", "other", "news")]
        self.assertEqual(self.poll(f"&since={ids[1]}"), ["news"])
        self.assertEqual(self.poll(f"&since={ids[2]}"), ["news"])
        self.assertEqual(self.poll(f"&since={ids[3]}"), [])
        self.assertEqual(self.poll("&since=unknown00000"), ["news", "more", "news"])

    def test_after_a_time(self) -> None:
        """From the given second on."""
        self.push("news", "0")
        self.rig.clock.advance(10)
        self.push("news", "1")
        self.assertEqual(self.poll(f"&since={int(NOW) + 10}"), ["1"])
        self.assertEqual(self.poll("&since=5s"), ["1"])
        self.assertEqual(self.poll("&since=10m"), ["0", "1"])
        self.assertEqual(self.refused("/news/json?since=yesterday"), 40008)

    def test_latest(self) -> None:
        """Of each topic one."""
        for number, topic in enumerate(("news", "more", "news")):
            self.push(topic, str(number))
        self.assertEqual(self.poll("&since=latest"), ["1", "2"])

    def test_names(self) -> None:
        """By header, and by shorter names."""
        self.push("news", "0")
        end = self.read("/news/raw", "X-Poll: 1\r\nX-Since: all\r\n")
        self.assertEqual((end.body, end.is_complete), (b"0\n", True))
        self.assertEqual(self.read("/news/raw?po=1&si=all").body, b"0\n")

    def test_filters(self) -> None:
        """They are about messages; a deletion comes anyway."""
        self.push("news", "0", title="T", priority="5")
        self.push("news", "1", tags="a,b")
        self.assertEqual(self.poll("&title=T"), ["0"])
        self.assertEqual(self.poll("", "X-Priority: max\r\n"), ["0"])
        self.assertEqual(self.poll("&tags=b"), ["1"])

    def test_expired(self) -> None:
        """What is over is not there any more."""
        self.push("news", "0", keep_s=60)
        self.push("news", "1")
        self.rig.clock.advance(61)
        self.assertEqual(self.poll(), ["1"])

    def test_wildcards(self) -> None:
        """There is no archive for them; whoever asks for it is told so."""
        for query in ("poll=1", "since=all", "since=1h"):
            self.assertEqual(self.refused(f"/v1/subscribe/%23/json?{query}"), 40008, query)
        self.assertIn("200 OK", self.read("/v1/subscribe/%23/json?since=none").head)

    def test_no_connection_is_lost(self) -> None:
        """The next request may come on the same one."""
        end = self.read("/news/json?poll=1")
        end.transport.clear()
        end.ask("/news/auth")
        self.assertEqual(end.refusal().json, {"success": True})


class ScheduledTests(ReadersCase):
    """``scheduled=1``: what will be said"""

    def test_with_what_was_said(self) -> None:
        """Behind it, in the order in which it is due, with the time at which it is; nobody else's."""
        self.push("news", "later", delay_s=90)
        self.push("news", "soon", delay_s=60)
        self.push("other", "x", delay_s=60)
        self.push("news", "now")
        end = self.read("/news/json?poll=1&scheduled=1")
        self.assertEqual(end.messages(), ["now", "soon", "later"])
        self.assertEqual([shown["time"] - int(NOW) for shown in end.objects()], [0, 60, 90])

    def test_not_asked_for(self) -> None:
        """Nobody else sees it before it is due; then everybody does, under the same id."""
        end = self.read("/news/json")
        id = self.push("news", "later", delay_s=60)
        self.assertEqual(self.read("/news/json?poll=1").messages(), [])
        self.rig.clock.pump([1] * 61)
        self.assertEqual(end.objects()[-1]["id"], id)


class EventTests(ReadersCase):
    """What becomes of what was said"""

    def tell(self, topic: str) -> None:
        message = Message(topic, b"")
        self.rig.broker.archive.tell(message, "message_delete")
        self.rig.turn()

    def test_live_and_kept(self) -> None:
        """A deletion comes to those who are there, and later to those who were not, past every filter."""
        end = self.read("/news,more/json?title=none")
        self.tell("news")
        self.tell("other")
        polled = self.read("/news/json?poll=1&title=none")
        for objects in (end.objects()[1:], polled.objects()):
            self.assertEqual(
                [(shown["event"], shown["topic"]) for shown in objects], [("message_delete", "news")]
            )

    def test_who_may_not_read_any_more(self) -> None:
        """Nor hears of deletions."""
        end = self.read("/news/json")
        self.rules.refused.add((Access.READ, "news", ""))
        self.tell("news")
        self.assertEqual(len(end.objects()), 1)

    def test_raw(self) -> None:
        """An empty line: there is no text."""
        end = self.read("/news/raw")
        self.tell("news")
        self.assertEqual(end.body, b"\n\n")


class DurableTests(ReadersCase):
    """No message is announced before it is durable"""

    def setUp(self) -> None:
        super().setUp()
        self.store = HeldStore()
        self.use_broker(self.store)

    def release(self) -> None:
        self.store.release()
        self.rig.turn()

    def test_in_order(self) -> None:
        """Until then there is silence, also for what is not kept and came behind it."""
        end = self.read("/news/json")
        for number, keep_s in enumerate((3600, 0, 3600)):
            self.push("news", str(number), keep_s)
        self.assertEqual(end.messages(), [])
        self.release()
        self.assertEqual(end.messages(), ["0", "1", "2"])

    def test_one_for_all(self) -> None:
        """Many readers wait for the store together, and read the same."""
        ends = [self.read("/news/json") for _ in range(5)]
        self.push("news", "0")
        waiting = len(self.store.barriers)
        self.assertLessEqual(waiting, 2)  # that of who pushes, and that of the readers
        self.release()
        lines = {end.body.splitlines()[-1] for end in ends}
        self.assertEqual((len(lines), [end.messages() for end in ends]), (1, [["0"]] * 5))

    def test_what_comes_meanwhile(self) -> None:
        """Found in the archive and heard at the tap, it comes once, in its order."""
        self.push("news", "0")
        self.release()
        end = self.read("/news/json?since=all")
        self.push("news", "1")
        self.push("news", "2", keep_s=0)
        self.push("news", "3")
        for _ in range(6):
            self.release()
            self.push("other", "x")
        self.push("news", "4")
        self.release()
        self.assertEqual(end.messages(), ["0", "1", "2", "3", "4"])


class PausedSource(Audience):
    """An archive that answers when the test says so."""

    def __init__(self, source: Audience) -> None:
        self.__dict__.update(source.__dict__)
        self.waiting: list[tuple[KeptQuery, Deferred[list[Kept]]]] = []

    def find(self, query: KeptQuery) -> Deferred[list[Kept]]:
        answer: Deferred[list[Kept]] = Deferred()
        self.waiting.append((query, answer))
        return answer

    def look(self) -> int:
        """Look now. :return: how many were found."""
        query, answer = self.waiting.pop(0)
        found: list[Kept] = []
        super().find(query).addCallback(found.extend)
        answer.callback(found)
        return len(found)


class SpliceTests(ReadersCase):
    """Between what was said and what is being said"""

    def setUp(self) -> None:
        super().setUp()
        self.source = self.paused = PausedSource(self.source)

    def look_for_all(self, end: End, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Look until nothing more is found; `meanwhile` something is said."""
        while self.paused.waiting:
            meanwhile()
            self.paused.look()
            self.rig.turn()

    def test_during_a_look(self) -> None:
        """The look may have found it, or not: it comes once."""
        self.push("news", "0")
        end = self.read("/news/json?since=all")
        self.push("news", "1")
        self.assertEqual(self.paused.look(), 2)
        self.push("news", "2")  # the next look finds it, and nothing was held of it
        self.look_for_all(end)
        self.push("news", "3")
        self.assertEqual(end.messages(), ["0", "1", "2", "3"])

    def test_during_the_last_look(self) -> None:
        """It is given from what was held."""
        end = self.read("/news/json?since=all")
        _, answer = self.paused.waiting.pop()
        self.push("news", "0")
        answer.callback([])  # of the time before
        self.rig.turn()
        self.assertEqual(end.messages(), ["0"])

    def test_after_the_latest(self) -> None:
        """Only what was said before is about the last of each topic."""
        for number in range(2):
            self.push("news", str(number))
        end = self.read("/news/json?since=latest")
        self.paused.look()
        for number in range(2, 5):
            self.push("news", str(number))
        self.look_for_all(end)
        self.assertEqual(end.messages(), ["1", "2", "3", "4"])

    def test_a_clock_that_is_fast(self) -> None:
        """What is said meanwhile is not lost on who asks for what will be said."""
        end = self.read(f"/news/json?since={int(NOW) + 100}")
        self.push("news", "0")
        self.paused.look()
        self.push("news", "1")
        self.look_for_all(end)
        self.assertEqual(end.messages(), ["0", "1"])

    def test_not_kept(self) -> None:
        """What is in no archive comes in its place all the same."""
        end = self.read("/news/json?since=all")
        for number, keep_s in enumerate((3600, 0, 0, 3600, 3600, 0)):
            self.push("news", str(number), keep_s)
        self.look_for_all(end)
        self.assertEqual(end.messages(), ["0", "1", "2", "3", "4", "5"])

    def test_not_kept_over_several_looks(self) -> None:
        """Also when it was said before the archive was looked into again."""
        end = self.read("/news/json?since=all")
        self.push("news", "0")
        self.paused.look()
        self.push("news", "1")
        self.push("news", "2", keep_s=0)
        self.push("news", "3")
        self.paused.look()
        self.push("news", "4", keep_s=0)
        self.look_for_all(end)
        self.assertEqual(end.messages(), ["0", "1", "2", "3", "4"])

    def test_much_is_said_meanwhile(self) -> None:
        """What the archive has takes no memory, however slow the reader is."""
        end = self.read("/news/json?since=all")
        for number in range(20):
            self.push("news", f"{number} " + "x" * (MAX_HELD_BYTES // 10))
        self.look_for_all(end)
        self.assertFalse(end.transport.aborted)
        self.assertEqual([text.split()[0] for text in end.messages()], [str(number) for number in range(20)])

    def test_much_that_nobody_keeps(self) -> None:
        """Then the reader is too slow: a stream with gaps would look whole."""
        end = self.read("/news/json?since=all")
        for _ in range(11):
            self.push("news", "x" * (MAX_HELD_BYTES // 10), keep_s=0)
        self.assertTrue(end.transport.aborted)

    def test_pages_wait_for_the_reader(self) -> None:
        """Nothing more is read from the archive than it can take."""
        for number in range(3 * PAGE):
            self.push("news", str(number))
        end = self.read("/news/json?since=all")
        end.channel.pauseProducing()
        self.paused.look()
        self.assertEqual((len(end.messages()), self.paused.waiting), (0, []))
        end.channel.resumeProducing()
        self.assertEqual(len(end.messages()), PAGE)
        self.look_for_all(end)
        self.assertEqual(len(end.messages()), 3 * PAGE)

    def test_who_leaves_meanwhile(self) -> None:
        """Nothing is looked up for who is gone."""
        self.push("news", "0")
        end = self.read("/news/json?since=all")
        end.hang_up()
        self.paused.look()
        self.assertEqual((self.paused.waiting, len(self.places)), ([], 0))

    def test_who_takes_nothing(self) -> None:
        """From one heart beat to the next: it is not there any more."""
        self.push("news", "0")
        end = self.read("/news/json?since=all")
        end.channel.pauseProducing()
        self.paused.look()
        end.beat(1)
        self.assertFalse(end.transport.aborted)
        end.beat(1)
        self.assertTrue(end.transport.aborted)

    def test_the_archive_cannot_be_read(self) -> None:
        """The answer does not end as if this were all; the log says why."""
        end = self.read("/news/json?poll=1")
        self.paused.waiting.pop()[1].errback(OSError("disk"))
        self.assertTrue(end.transport.aborted)
        self.assertFalse(end.is_complete)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_nor_an_id_be_looked_up(self) -> None:
        """Nothing was said yet: an ordinary error."""
        self.paused.number_of = lambda id: fail(OSError("disk"))  # type: ignore[method-assign]
        self.assertEqual(self.refused("/news/json?since=bQ1gAWzE2cbG"), 50001)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.assertEqual((len(self.places), len(self.rig.broker.taps)), (0, 0))


class PreparingTests(ReadersCase):
    """Between asking and the first byte"""

    def test_rights_lost(self) -> None:
        """It is answered as if the reader had come a little later, over WebSocket too."""
        for target, headers in (("/news/json", ""), ("/news/ws", UPGRADE)):
            self.use_broker(HeldStore())
            end = self.read(f"{target}?since=bQ1gAWzE2cbG", headers)
            self.assertEqual(end.transport.value(), b"")
            for tap in list(self.rig.broker.taps):
                tap.cut()
            self.assertEqual(end.refusal().code, 50300)
            self.release()
            self.assertEqual((end.transport.value(), len(self.places)), (b"", 0))

    def test_who_leaves(self) -> None:
        """Nothing is left of it."""
        for target, headers in (("/news/json", ""), ("/news/ws", UPGRADE)):
            self.use_broker(HeldStore())
            end = self.read(f"{target}?since=bQ1gAWzE2cbG", headers)
            end.hang_up()
            self.release()
            left = len(self.places), len(self.rig.broker.taps), end.clock.getDelayedCalls()
            self.assertEqual(left, (0, 0, []))

    def release(self) -> None:
        store = self.rig.store
        assert isinstance(store, HeldStore)
        for _ in range(3):
            store.release()
            self.rig.turn()
