"""What each kind of value takes, and how it says no."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.config.errors import BadValue, NotYet
from pushd.config.kinds import (
    INT_MAX,
    Anything,
    BaseUrl,
    Boolean,
    Choice,
    Duration,
    Endpoint,
    EndpointKind,
    FilePath,
    HeaderName,
    Integer,
    Kind,
    LogDestination,
    MySqlUrl,
    Network,
    ProtocolVersions,
    RedisUrl,
    Retention,
    SecretText,
    Size,
    Text,
    TopicRetention,
    port,
    read_number,
)

KINDS: tuple[Kind, ...] = (
    Boolean(),
    Integer(),
    port(),
    Text(),
    FilePath(),
    Choice(("mqtt",), later=("websockets",)),
    Anything(),
    LogDestination(),
    EndpointKind(),
    ProtocolVersions(),
    Duration(),
    SecretText(),
    RedisUrl(),
    MySqlUrl(),
    Network(),
    HeaderName(),
)


class EveryKindTests(SynchronousTestCase):
    @given(st.sampled_from(KINDS), st.text())
    @settings(max_examples=500, deadline=None)
    def test_any_text_is_read_or_refused(self, kind: Kind, text: str) -> None:
        """Whatever stands behind an option's name, reading it ends in a value or in BadValue."""
        try:
            kind.read(text)
        except BadValue as problem:
            assert str(problem)
        else:
            assert "\n" not in kind.remark(text)

    def test_nothing_is_not_a_value(self) -> None:
        """An option without a value is refused, unless its value never counted."""
        for kind in KINDS:
            if not isinstance(kind, Anything):
                for text in ("", "   "):
                    self.assertRaises(BadValue, kind.read, text)


class BooleanTests(SynchronousTestCase):
    def test_the_four_words(self) -> None:
        """true and 1, false and 0 are all there is."""
        assert [Boolean().read(word) for word in ("true", "1", "false", "0")] == [True, True, False, False]

    def test_other_words_are_refused(self) -> None:
        """Case counts, and no other language of yes and no is spoken."""
        for word in ("True", "yes", "on", "2", "true\t", "TRUE"):
            self.assertRaises(BadValue, Boolean().read, word)

    def test_only_the_first_word_counts(self) -> None:
        """The rest of the line may be a comment."""
        assert Boolean().read("  true  # or not") is True


class IntegerTests(SynchronousTestCase):
    def test_bounds_are_included(self) -> None:
        """Both ends of a range are in it, and their neighbours are refused by name."""
        kind = Integer(5, 65535)
        assert kind.read("5") == 5
        assert kind.read("65535") == 65535
        assert str(self.assertRaises(BadValue, kind.read, "70000")) == "70000 is above 65535"
        assert str(self.assertRaises(BadValue, kind.read, "4")) == "4 is below 5"

    def test_a_small_number_may_mean_another(self) -> None:
        """Where Mosquitto takes negative numbers for "no limit", so does pushd."""
        assert Integer(1, below=-1).read("-20") == -1

    def test_bases(self) -> None:
        """Numbers are decimal, hexadecimal with 0x or octal with 0, as Mosquitto 2.1 reads them."""
        assert [read_number(word) for word in ("16", "0x10", "020", "+16", "-0x10", "0")] == [
            16,
            16,
            16,
            16,
            -16,
            0,
        ]

    def test_what_is_no_number(self) -> None:
        """Units, digits of other scripts, Python's underscores and bad octals are refused."""
        for word in ("10s", "1_000", "٣", "08", "1.5", "0x", "-", "ten", "1e3", "10\u00a0"):
            self.assertRaises(BadValue, Integer().read, word)

    def test_tabs_around_a_number(self) -> None:
        """Mosquitto 2.0 reads past them, so files have them."""
        assert [read_number(word) for word in ("\t10", "10\t", "10\t#")] == [10, 10, 10]

    def test_numbers_of_2_0(self) -> None:
        """What is refused now was some number before, and the message says which."""
        problem = self.assertRaises(BadValue, Integer(unit="seconds").read, "10s")
        assert str(problem) == "'10s' is not a number of seconds; Mosquitto 2.0 took it for 10"
        problem = self.assertRaises(BadValue, Integer().read, "many")
        assert str(problem) == "'many' is not a number; Mosquitto 2.0 took it for 0"

    def test_numbers_that_changed(self) -> None:
        """Where the two versions of Mosquitto read different numbers, the author is told."""
        assert Integer().remark("0x10") == "'0x10' is 16, as in Mosquitto 2.1; 2.0 took it for 0"
        assert Integer().remark("010 # ten") == "'010' is 8, as in Mosquitto 2.1; 2.0 took it for 10"
        assert [Integer().remark(word) for word in ("0", "10", "+5", "-1", "07", "\t3")] == [""] * 6

    def test_endless_digits_are_refused(self) -> None:
        """A number longer than Python converts is out of range, not a crash."""
        self.assertRaises(BadValue, Integer().read, "9" * 10_000)
        self.assertRaises(BadValue, Integer().read, str(INT_MAX + 1))


class TextTests(SynchronousTestCase):
    def test_runs_to_the_end_of_the_line(self) -> None:
        """Spaces at the ends go; spaces inside and a # stay."""
        assert Text().read("  certs/my ca.crt # new \t") == "certs/my ca.crt # new"

    def test_control_characters_are_refused(self) -> None:
        """What Mosquitto takes for malformed text is not let into a path or a name."""
        for text in ("a\tb", "a\x00", "a\x7fb", "a\x85b", "a\ufffeb", "\ufdd0"):
            self.assertRaises(BadValue, Text().read, text)

    def test_length_counts_bytes(self) -> None:
        """A limit is one of UTF-8 bytes."""
        assert Text(max_bytes=4).read("éé") == "éé"
        self.assertRaises(BadValue, Text(max_bytes=4).read, "ééé")

    def test_forbidden_characters(self) -> None:
        """A mount point, for one, has no wildcards."""
        problem = self.assertRaises(BadValue, Text(forbidden="+#").read, "site/+")
        assert str(problem) == "'site/+' has a '+' in it, which it must not"


class SecretTests(SynchronousTestCase):
    def test_never_shown(self) -> None:
        """Neither printed settings nor a message tell a password."""
        assert repr([SecretText().read("pass")]) == "['***']"
        problem = self.assertRaises(BadValue, SecretText().read, "pa\tss")
        assert str(problem) == "the value has a control character, such as a tab, in it"

    def test_is_a_text(self) -> None:
        """Who is handed it can use it as it is."""
        assert SecretText().read(" pass word ") == "pass word"


class FilePathTests(SynchronousTestCase):
    def test_comments_behind_a_path(self) -> None:
        """They belong to the path, as in Mosquitto; but somebody will wonder."""
        told = "all of 'conf/acl # rules' is the path: a comment needs a line of its own"
        assert FilePath().remark(" conf/acl # rules ") == told
        assert LogDestination().remark("file conf/acl # rules") == told
        assert (FilePath().remark("conf/acl#1"), LogDestination().remark("stderr # rules")) == ("", "")


class ChoiceTests(SynchronousTestCase):
    def test_words_to_choose_from_are_named(self) -> None:
        """A wrong word is answered with the right ones."""
        problem = self.assertRaises(BadValue, Choice(("ipv4", "ipv6")).read, "ipv5")
        assert str(problem) == "'ipv5' is not one of ipv4, ipv6"

    def test_a_word_for_later_is_told_apart(self) -> None:
        """What Mosquitto knows and pushd does not do yet is not called a mistake."""
        self.assertRaises(NotYet, Choice(("mqtt",), later=("websockets",)).read, "websockets")


class LogDestinationTests(SynchronousTestCase):
    def test_a_file_has_a_path_with_spaces(self) -> None:
        """The path of a log file is everything to the end of the line."""
        assert LogDestination().read(" file  /var/log/my pushd.log ") == "file /var/log/my pushd.log"

    def test_a_file_needs_a_path(self) -> None:
        """``log_dest file`` alone logs nowhere and is refused."""
        self.assertRaises(BadValue, LogDestination().read, "file ")

    def test_unbuffered_is_understood(self) -> None:
        """Mosquitto's ``stdout unbuffered`` is stdout."""
        assert LogDestination().read("stdout unbuffered") == "stdout"


class EndpointTests(SynchronousTestCase):
    def test_port_and_address(self) -> None:
        """A listener is a port, with or without an address; a # ends the line."""
        assert EndpointKind().read("1883") == Endpoint(1883, "")
        assert EndpointKind().read("8883  ::1 ignored") == Endpoint(8883, "::1")
        assert EndpointKind().read("1883 # all") == Endpoint(1883, "")

    def test_ports_end(self) -> None:
        """Ports go up to 65535."""
        assert EndpointKind().read("65535").port == 65535
        self.assertRaises(BadValue, EndpointKind().read, "65536")

    def test_unix_sockets(self) -> None:
        """Port 0 is a unix socket, and needs a path that the system can take."""
        assert EndpointKind().read("0 /run/mqtt # local") == Endpoint(0, path="/run/mqtt")
        assert EndpointKind().read("0 " + "x" * 107).path == "x" * 107
        assert "path" in str(self.assertRaises(BadValue, EndpointKind().read, "0"))
        assert "107" in str(self.assertRaises(BadValue, EndpointKind().read, "0 " + "x" * 108))


class DurationTests(SynchronousTestCase):
    def test_units(self) -> None:
        """A month has 30 days and a year 365."""
        words = ("90s", "1h", "2d", "1w", "1m", "1y")
        assert [Duration().read(word) for word in words] == [
            90,
            3600,
            172_800,
            604_800,
            2_592_000,
            31_536_000,
        ]

    def test_a_unit_and_a_number_are_needed(self) -> None:
        """Neither 0, nor a number alone, nor a unit alone is a span of time."""
        for word in ("0d", "14", "d", "-1d", "1x"):
            self.assertRaises(BadValue, Duration().read, word)


class ProtocolVersionsTests(SynchronousTestCase):
    def test_commas_and_blanks_separate(self) -> None:
        """Versions stand in any order and spacing."""
        assert ProtocolVersions().read(" 5, 4,3") == {3, 4, 5}

    def test_other_versions_are_refused(self) -> None:
        """There is no MQTT 6."""
        self.assertRaises(BadValue, ProtocolVersions().read, "4, 6")


class RedisUrlTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """TCP, TLS and Unix sockets, with and without a login, a port and a database."""
        for url in (
            "redis://localhost",
            "redis://:s%40crecy@10.0.0.7:6380/15",
            "redis://pushd:secret@[::1]:6379/",
            "rediss://redis.example.com/1?ssl_ca_certs=/etc/ssl/ours.pem",
            "unix:///run/redis/redis.sock",
            "unix://:secret@/run/redis/redis.sock?db=3",
        ):
            self.assertEqual(RedisUrl().read(url), url)

    def test_what_is_none(self) -> None:
        """A mistake is found at the start, not when Redis is needed."""
        for url in (
            "127.0.0.1:6379",
            "http://localhost",
            "redis://",
            "redis://host:0",
            "redis://host:65536",
            "redis://host:port",
            "redis://host/name",
            "redis://p@ss@host",
            "redis://[::1",
            "redis://[1.2.3]",
            "redis://host?ssl_ca_certs=/etc/ssl/ours.pem",
            "rediss://host?verify=no",
            "unix://relative.sock",
        ):
            self.assertRaises(BadValue, RedisUrl().read, url)

    def test_passwords_are_not_told(self) -> None:
        """The error goes to the log and to the terminal; the password does not."""
        problem = self.assertRaises(BadValue, RedisUrl().read, "redis://:hunter2@host:99999")
        self.assertNotIn("hunter2", str(problem))
        self.assertNotIn("hunter2", repr(RedisUrl().read("redis://:hunter2@host")))


class MySqlUrlTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """With and without a login and a port, and with what a password may have in it."""
        for url in (
            "mysql://localhost/status",
            "mysql://pushd:s%40cr%2Fcy@10.0.0.7:3307/status",
            "mariadb://pushd:secret@[::1]/status",
        ):
            self.assertEqual(MySqlUrl().read(url), url)

    def test_what_is_none(self) -> None:
        """A mistake is found at the start, not when there is something to write."""
        for url in (
            "localhost/status",
            "sqlite:///status.db",
            "mysql://localhost",
            "mysql://localhost/",
            "mysql:///status",
            "mysql://localhost/a/b",
            "mysql://host:0/status",
            "mysql://host:65536/status",
            "mysql://p@ss@host/status",
            "mysql://[1.2.3]/status",
            "mysql://host/status?ssl=1",
        ):
            self.assertRaises(BadValue, MySqlUrl().read, url)

    def test_passwords_are_not_told(self) -> None:
        """The error goes to the log and to the terminal; the password does not."""
        problem = self.assertRaises(BadValue, MySqlUrl().read, "mysql://me:hunter2@host:99999/status")
        self.assertNotIn("hunter2", str(problem))
        self.assertNotIn("hunter2", repr(MySqlUrl().read("mysql://me:hunter2@host/status")))


class NetworkTests(SynchronousTestCase):
    """Where proxies may be"""

    def test_addresses_and_networks(self) -> None:
        """Each as it is written the shortest way; a comment may follow."""
        for text, expected in (
            ("127.0.0.1", "127.0.0.1/32"),
            ("10.0.0.0/8 # the rack", "10.0.0.0/8"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("unix", "unix"),
        ):
            self.assertEqual(Network().read(text), expected)

    def test_anything_else_is_refused(self) -> None:
        """A name may be somebody else's tomorrow; an address with bits behind its network is a slip."""
        for text in ("", "proxy.example", "10.0.0.1/8", "10.0.0", "::1/129", "Unix"):
            self.assertRaises(BadValue, Network().read, text)


class HeaderNameTests(SynchronousTestCase):
    """RFC 9110 §5.1"""

    def test_names(self) -> None:
        """Letters, digits and some signs; nothing that could end the name."""
        self.assertEqual(HeaderName().read("X-Forwarded-User"), "X-Forwarded-User")
        for text in ("", "X-User:", "a\tb", "größe", "a(b)", "x" * 101):
            self.assertRaises(BadValue, HeaderName().read, text)


class RetentionTests(SynchronousTestCase):
    """How long something is kept, everywhere and on some topics"""

    def test_times(self) -> None:
        """A number and a unit; nothing at all is a time, too."""
        for text, seconds in (("12h", 43_200), ("90s", 90), ("7d x", 604_800), ("2w", 1_209_600), ("0", 0)):
            self.assertEqual(Retention().read(text), seconds)

    def test_no_times(self) -> None:
        """Minutes or months: nobody could know."""
        for text in ("30m", "12", "h", "-1h", "1.5h", "1 h", "99999999999d"):
            self.assertRaises(BadValue, Retention().read, text)

    def test_shortest(self) -> None:
        """In the manual a default stands as one would write it."""
        self.assertEqual([Retention().written(n) for n in (0, 90, 43_200)], ["0", "90s", "12h"])

    def test_topics(self) -> None:
        """The time is the last word; topics may have blanks."""
        for text, filter, seconds in (
            ("alerts/# 7d", "alerts/#", 604_800),
            (" +/my door  0 ", "+/my door", 0),
            ("# 1h", "#", 3600),
        ):
            self.assertEqual(TopicRetention().read(text), (filter, seconds))

    def test_no_topics(self) -> None:
        """A filter that would match nothing is a mistake."""
        for text in ("alerts/#", "7d", "", "a#/b 7d", "a/#/b 7d", "a+ 7d", "alerts 30m"):
            self.assertRaises(BadValue, TopicRetention().read, text)


class SizeTests(SynchronousTestCase):
    """Bytes, in units"""

    def test_units(self) -> None:
        """None, and three in either case."""
        for text, size in (("0", 0), ("15M", 15_728_640), ("5g # much", 5_368_709_120), ("1K", 1024)):
            self.assertEqual(Size().read(text), size)

    def test_anything_else_is_refused(self) -> None:
        """A unit that nobody knows, none, and less than there must be."""
        for text in ("", "M", "5T", "1.5M", "x"):
            self.assertRaises(BadValue, Size().read, text)
        self.assertRaises(BadValue, Size(1).read, "0")

    def test_it_is_written_the_short_way(self) -> None:
        """As a duration is."""
        self.assertEqual([Size().written(n) for n in (0, 1000, 2048, 5 << 30)], ["0", "1000", "2K", "5G"])
        self.assertEqual([Duration().written(n) for n in (10_800, 90)], ["3h", "90s"])


class BaseUrlTests(SynchronousTestCase):
    """What a server is called"""

    def test_scheme_host_and_port(self) -> None:
        """A slash at the end says nothing."""
        for text in ("https://push.example.com", "http://[::1]:8080", "http://h/"):
            self.assertEqual(BaseUrl().read(text), text.rstrip("/"))

    def test_anything_else_is_refused(self) -> None:
        """A path would be in the way of the gateway's own."""
        for text in (
            "",
            "push.example.com",
            "https://",
            "ftp://h",
            "https://h/ntfy",
            "https://u@h",
            "http://h?a",
        ):
            self.assertRaises(BadValue, BaseUrl().read, text)
