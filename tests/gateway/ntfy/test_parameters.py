"""`pushd.gateway.ntfy.parameters`: names, order, values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.http import problems
from pushd.gateway.http.problems import Problem, Refusal
from pushd.gateway.ntfy.parameters import ALIASES, NONE_SAID, NOT_OFFERED, Parameters, read_parameters
from pushd.mqtt.codes import QoS

EVERY_NAME = sorted(alias for aliases in ALIASES.values() for alias in aliases)


def of_headers(**headers: str) -> Parameters:
    """``X_Title="a"`` is the header ``X-Title: a``."""
    return read_parameters(
        [(name.replace("_", "-").encode(), [value.encode()]) for name, value in headers.items()], {}
    )


def of_query(**query: str) -> Parameters:
    return read_parameters([], {name.encode(): [value.encode()] for name, value in query.items()})


class OrderTests(SynchronousTestCase):
    """Header before query, earlier name before later, JSON before both"""

    def test_nothing_said_is_nothing_set(self) -> None:
        """Headers of HTTP's own do not count."""
        self.assertIs(of_headers(Host="h", Content_Type="text/plain", Accept="*/*"), NONE_SAID)

    def test_every_alias_works_as_header_and_in_the_query(self) -> None:
        """As ntfy's clients and people with curl write them."""
        for alias in ALIASES["title"]:
            self.assertEqual(of_headers(**{alias.title(): "T"}).title, "T")
            self.assertEqual(of_query(**{alias: "T"}).title, "T")

    def test_the_earlier_name_wins(self) -> None:
        """Whatever the order on the wire."""
        self.assertEqual(of_headers(T="3", Title="2", X_Title="1").title, "1")
        self.assertEqual(of_query(t="3", title="2").title, "2")

    def test_a_header_wins_over_the_query_and_an_empty_one_does_not(self) -> None:
        """The query is read only if no header is set."""
        query = {b"title": [b"query"]}
        self.assertEqual(read_parameters([(b"T", [b"header"])], query).title, "header")
        self.assertEqual(read_parameters([(b"X-Title", [b" "])], query).title, "query")

    def test_a_json_field_wins_and_an_empty_one_does_not(self) -> None:
        """Apprise sends an object and headers in one request."""
        headers = [(b"X-Title", [b"header"])]
        self.assertEqual(read_parameters(headers, {}, {"title": "field"}).title, "field")
        self.assertEqual(read_parameters(headers, {}, {"title": "", "tags": None}).title, "header")

    def test_names_in_the_query_are_lowercase(self) -> None:
        """As in ntfy; ``?Title=`` is somebody else's."""
        self.assertIs(of_query(Title="T"), NONE_SAID)


class ValueTests(SynchronousTestCase):
    """Each is what ntfy takes it for, or refused"""

    def assert_refused(self, problem: Problem, **headers: str) -> None:
        self.assertIs(self.assertRaises(Refusal, of_headers, **headers).problem, problem)

    def test_priorities_have_numbers_and_names(self) -> None:
        """1 to 5, min to urgent."""
        names = {"1": 1, "min": 1, "low": 2, "DEFAULT": 3, "high": 4, "max": 5, "urgent": 5}
        for said, meant in names.items():
            self.assertEqual(of_headers(X_Priority=said).priority, meant)
        for wrong in ("0", "6", "-1", "loud", "1.0"):
            self.assert_refused(problems.PRIORITY_INVALID, Priority=wrong)

    def test_http_priorities_are_none_of_ours(self) -> None:
        """RFC 9218's header comes from a proxy; the next name is looked at instead."""
        for value in ("u=4, i", "u=1", "i", "u=3,i=?0"):
            self.assertEqual(of_headers(Priority=value, P="2").priority, 2)

    def test_zero_in_json_is_no_priority(self) -> None:
        """Go's way to leave a number out."""
        self.assertEqual(read_parameters([], {}, {"priority": 0, "title": "x"}).priority, 0)

    def test_tags_are_cut_at_commas(self) -> None:
        """Uptime Kuma's tags hold spaces and colons."""
        self.assertEqual(of_headers(Tags=" a b:c ,, d").tags, ("a b:c", "d"))
        self.assertEqual(read_parameters([], {}, {"tags": ["a,b", "c"]}).tags, ("a", "b", "c"))

    def test_headers_may_be_utf8_or_rfc2047(self) -> None:
        """Python's smtp-minded clients send the one, curl the other; what is broken stays as it is."""
        self.assertEqual(of_headers(Title="Küche").title, "Küche")
        self.assertEqual(of_headers(Title="=?UTF-8?B?S8O8Y2hl?= !").title, "Küche !")
        for broken in ("=?UTF-8?B?S8O8?", "=?nope?Q?x?=", "=?utf-7?Q?+2AA-?=", "=?utf-8?B?a?="):
            self.assertTrue(of_headers(Title=broken).title)

    def test_nothing_that_breaks_a_line_gets_in(self) -> None:
        """Not by the query, nor by an encoded word."""
        for name in ("title", "tags", "click", "icon"):
            error = self.assertRaises(Refusal, of_query, **{name: "https://a\r\nX: y"})
            self.assertIs(error.problem, problems.CONTROL_CHARACTER)
        self.assert_refused(problems.CONTROL_CHARACTER, Title="=?utf-8?Q?a=0D=0Ab?=")

    def test_an_icon_is_a_web_url_and_a_click_anything(self) -> None:
        """ntfy's apps open ``mailto:`` and ``geo:`` too."""
        self.assertEqual(of_headers(Icon="https://a/b.png", Click="geo:1,2").click, "geo:1,2")
        self.assert_refused(problems.ICON_INVALID, Icon="data:image/png;base64,x")

    def test_markdown_has_two_ways(self) -> None:
        """By name or by content type."""
        self.assertTrue(of_headers(Markdown="yes").markdown)
        self.assertTrue(of_headers(Content_Type="text/markdown; charset=utf-8").markdown)
        self.assertFalse(of_headers(Markdown="no").markdown)

    def test_unifiedpush_has_two_ways(self) -> None:
        """By name or by the encoding of its messages."""
        self.assertTrue(of_query(up="1").unifiedpush)
        self.assertTrue(of_headers(Content_Encoding="aes128gcm").unifiedpush)

    def test_a_backslash_n_in_a_message_is_a_newline(self) -> None:
        """No header can hold a real one."""
        self.assertEqual(of_headers(M="a\\nb").message, "a\nb")


class DeliveryTests(SynchronousTestCase):
    """``qos``, ``retain``, ``cache``"""

    def test_a_push_reaches_who_is_off_by_default(self) -> None:
        """QoS 1, not retained."""
        self.assertEqual((NONE_SAID.qos, NONE_SAID.retain), (QoS.AT_LEAST_ONCE, False))

    def test_qos_is_one_of_three(self) -> None:
        """By query, header or JSON number."""
        self.assertIs(of_query(qos="2").qos, QoS.EXACTLY_ONCE)
        self.assertIs(of_headers(X_Qos="0").qos, QoS.AT_MOST_ONCE)
        self.assertIs(read_parameters([], {}, {"qos": 0}).qos, QoS.AT_MOST_ONCE)
        for wrong in ("3", "-1", "one", "01"):
            self.assertIs(self.assertRaises(Refusal, of_query, qos=wrong).problem, problems.QOS_INVALID)

    def test_retain_is_yes_or_no(self) -> None:
        """A misspelt one is refused, unlike ntfy's booleans."""
        for yes in ("1", "yes", "true", "True"):
            self.assertTrue(of_query(retain=yes).retain)
        self.assertTrue(read_parameters([], {}, {"retain": True}).retain)
        self.assertFalse(of_query(retain="no").retain)
        self.assertIs(self.assertRaises(Refusal, of_query, retain="y").problem, problems.RETAIN_INVALID)

    def test_no_cache_is_for_who_listens_now(self) -> None:
        """QoS 0, unless the caller knows better."""
        self.assertIs(of_headers(Cache="no").qos, QoS.AT_MOST_ONCE)
        self.assertIs(of_headers(Cache="no", X_Qos="2").qos, QoS.EXACTLY_ONCE)
        self.assertIs(of_headers(Cache="yes").qos, QoS.AT_LEAST_ONCE)


class DelayTests(SynchronousTestCase):
    """``delay``: read here as text only, for parameters do not know what time it is"""

    def test_it_is_passed_on_as_it_was_said(self) -> None:
        """Under each of its names."""
        for alias in ALIASES["delay"]:
            self.assertEqual(of_query(**{alias: "tomorrow, 3pm"}).delay, "tomorrow, 3pm")

    def test_what_is_not_kept_cannot_wait(self) -> None:
        """``cache=no`` and a delay contradict each other."""
        error = self.assertRaises(Refusal, of_query, delay="1h", cache="no", qos="2")
        self.assertIs(error.problem, problems.DELAY_NO_CACHE)


class NotOfferedTests(SynchronousTestCase):
    """What cannot be honoured is refused, never dropped"""

    def test_each_is_refused_under_every_name(self) -> None:
        """Header or query."""
        for parameter, problem in NOT_OFFERED.items():
            for alias in ALIASES[parameter]:
                for read, name in ((of_headers, alias.title()), (of_query, alias)):
                    with self.assertRaises(Refusal) as refused:
                        read(**{name: "1"})
                    self.assertIs(refused.exception.problem, problem, alias)

    def test_asking_for_nothing_is_granted(self) -> None:
        """``call=no`` wants no call."""
        self.assertEqual(of_headers(Call="no", Template="0"), NONE_SAID)

    @given(
        st.dictionaries(st.sampled_from(EVERY_NAME), st.binary()),
        st.dictionaries(st.sampled_from(EVERY_NAME), st.binary()),
    )
    def test_any_values_do(self, headers: dict[str, bytes], query: dict[str, bytes]) -> None:
        """They are parameters that can be encoded, or refused."""
        try:
            said = read_parameters(
                [(name.title().encode(), [value]) for name, value in headers.items()],
                {name.encode(): [value] for name, value in query.items()},
            )
        except Refusal:
            return
        repr(said).encode()
        said.message.encode()
