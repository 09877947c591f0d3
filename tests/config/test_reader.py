"""A settings file as Mosquitto would read it: from bytes on disk to settings, or to one line of complaint."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.config.draft import Draft, settle
from pushd.config.errors import ConfigError
from pushd.config.options import OPTIONS
from pushd.config.reader import SettingsFile, read_settings
from pushd.config.settings import Settings


class ReaderTestCase(SynchronousTestCase):
    """Files in a directory of their own; messages name them without it."""

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)

    def write(self, name: str, contents: bytes | str) -> str:
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(contents.encode() if isinstance(contents, str) else contents)
        return path

    def read(self, contents: bytes | str, ports: Sequence[int] = ()) -> Settings:
        return read_settings(self.write("x.conf", contents), ports, environ={})

    def refusal(self, contents: bytes | str) -> str:
        error = self.assertRaises(ConfigError, self.read, contents)
        return str(error).replace(self.directory + os.sep, "")

    def warnings(self, contents: bytes | str) -> list[str]:
        return [text.replace(self.directory + os.sep, "") for text in self.read(contents).warnings]


class SyntaxTests(ReaderTestCase):
    def test_comments_and_blank_lines(self) -> None:
        """Lines that say nothing are skipped, comments in any encoding."""
        read = self.read(b"# Gr\xfc\xdfe\n\n   \n#max_keepalive 1\nmax_keepalive 2\n")
        assert read.limits.max_keepalive_s == 2

    def test_comments_start_in_the_first_column(self) -> None:
        """An indented # is an unknown option, as it always was."""
        told = "x.conf:2: unknown option '#'; a comment starts in the first column"
        assert self.refusal("listener 1883\n # plain\n") == told

    def test_line_ends_of_windows(self) -> None:
        """CRLF files are read like others, and the last line needs no end."""
        read = self.read("listener 1884\r\n\r\nallow_anonymous true\r\nacl_file a b\r")
        assert read.listeners[0].port == 1884
        assert read.listeners[0].security.acl_file == "a b"

    def test_spaces_separate(self) -> None:
        """Spaces may stand before a name, and any number behind it."""
        assert self.read("  sys_interval    30   seconds\n").sys_interval_s == 30

    def test_a_tab_does_not_separate(self) -> None:
        """A tab behind a name is part of it, and the message says so."""
        told = "x.conf:1: unknown option 'listener\\t1883'; a tab does not end a name, a space does"
        assert self.refusal("listener\t1883\n") == told

    def test_unknown_options(self) -> None:
        """A name that nobody knows stops the start; case counts, a byte order mark too."""
        assert self.refusal("\nzzz 5\n") == "x.conf:2: unknown option 'zzz'"
        for name, shown in (("Listener", "'Listener'"), ("\ufefflistener", "'\\ufefflistener'")):
            told = f"x.conf:1: unknown option {shown}; did you mean listener?"
            assert self.refusal(f"{name} 1883\n") == told

    def test_texts_keep_their_comments(self) -> None:
        """What looks like a comment behind a path is part of the path; behind a number it is not."""
        read = self.read(
            "listener 1883 # all\npassword_file /etc/passwd # users\nmax_keepalive 60 # a minute\n"
        )
        assert read.listeners[0].addresses == ("",)
        assert read.listeners[0].security.password_file == "/etc/passwd # users"
        assert read.limits.max_keepalive_s == 60

    def test_huge_lines(self) -> None:
        """A line of megabytes is a comment, or a value that is too long; the message stays short."""
        assert self.read("#" + "x" * 3_000_000).listeners[0].port == 1883
        assert self.refusal("acl_file " + "x" * 3_000_000) == "x.conf:1: acl_file: is longer than 65535 bytes"
        assert len(self.refusal("x" * 3_000_000)) < 200

    def test_nothing_is_evaluated(self) -> None:
        """A file is data: no home directories, no code, and a $ is a dollar."""
        read = self.read("listener 1883\nacl_file ~/$HOME/$(id)/`id`\n")
        assert read.listeners[0].security.acl_file == "~/$HOME/$(id)/`id`"


class BadValueTests(ReaderTestCase):
    """Each line that Mosquitto refuses, and the sentence pushd answers it with."""

    REFUSED = {
        "max_keepalive 70000": "max_keepalive: 70000 is above 65535",
        "max_keepalive -1": "max_keepalive: -1 is below 0",
        "max_keepalive 10s": "max_keepalive: '10s' is not a number of seconds; Mosquitto 2.0 took it for 10",
        "max_packet_size 19": "max_packet_size: 19 is below 20",
        "max_inflight_messages 65536": "max_inflight_messages: 65536 is above 65535",
        "message_size_limit 268435456": "message_size_limit: 268435456 is above 268435455",
        "sys_interval 65536": "sys_interval: 65536 is above 65535",
        "log_facility 8": "log_facility: 8 is above 7",
        "connect_timeout 0": "connect_timeout: 0 is below 1",
        "retain_available": "retain_available: needs a value: true|false",
        "retain_available yes": "retain_available: 'yes' is neither true nor false",
        "allow_anonymous true\t": "allow_anonymous: 'true\\t' is neither true nor false",
        "acl_file   ": "acl_file: needs a value: PATH",
        "pid_file a\x00b": "pid_file: 'a\\x00b' has a control character, such as a tab, in it",
        "listener": "listener: needs a value: PORT [ADDRESS] | 0 PATH",
        "listener 70000": "listener: 70000 is above 65535",
        "listener 0": "listener: port 0 needs the path of a unix socket",
        "bind_interface seventeen-letters": "bind_interface: is longer than 15 bytes",
        "enable_proxy_protocol 3": "enable_proxy_protocol: 3 is above 2",
        "enable_proxy_protocol 1": "enable_proxy_protocol: needs a listener line before it",
        "port 0": "port: 0 is below 1",
        "log_dest file": "log_dest: needs a value",
        "log_dest printer": "log_dest: 'printer' is not one of none, stderr, stdout, syslog, topic, file",
        "socket_domain ipx": "socket_domain: 'ipx' is not one of ipv4, ipv6",
        "protocol mqtt5": "protocol: 'mqtt5' is not one of mqtt, websockets, http",
        "auto_id_prefix " + "x" * 51: "auto_id_prefix: is longer than 50 bytes",
        "cafile ca.crt": "cafile: needs a listener line before it",
        "tls_version tlsv1.2": "tls_version: needs a listener line before it",
        "mount_point a/": "mount_point: needs a listener line before it",
        "listener_allow_anonymous true": "listener_allow_anonymous: needs a listener line before it",
        "topic # both": "topic: needs a connection line before it",
        "clientid x": "clientid: needs a connection line before it",
        "plugin_opt_x y": "plugin_opt_x: needs a plugin line before it",
        "max_qos 3": "max_qos: 3 is above 2",
        "include_dir /nowhere": "include_dir: /nowhere cannot be read: No such file or directory",
    }

    def test_bad_lines(self) -> None:
        """A line that cannot be obeyed stops the start, and is named with file and line."""
        for line, cause in self.REFUSED.items():
            self.assertEqual(self.refusal(f"\n{line}\nsys_interval 1\n"), f"x.conf:2: {cause}")

    def test_mount_points_have_no_wildcards(self) -> None:
        """A prefix with a wildcard would be no topic."""
        told = "x.conf:2: mount_point: 'a/#' has a '#' in it, which it must not"
        assert self.refusal("listener 1883\nmount_point a/#\n") == told

    def test_old_tls_versions(self) -> None:
        """TLS 1.1 is not offered any more, and a file of Mosquitto 2.0 that allows it is told so."""
        text = "listener 1883\ntls_version tlsv1.1\n"
        assert self.read(text).listeners[0].tls_version == "tlsv1.2"
        told = "x.conf:2: tls_version: TLS 1.1 and older are not spoken; tlsv1.2 is the minimum"
        assert self.warnings(text) == [told]
        told = "x.conf:2: tls_version: 'tlsv2' is not one of tlsv1.2, tlsv1.3"
        assert self.refusal("listener 1883\ntls_version tlsv2\n") == told

    def test_text_that_is_not_utf8(self) -> None:
        """Latin-1 outside a comment is refused with its line."""
        told = "x.conf:2: this line is not UTF-8 (only comments need not be)"
        assert self.refusal(b"listener 1883\nacl_file caf\xe9\n") == told

    def test_a_file_that_cannot_be_read(self) -> None:
        """Without its file, pushd does not start on defaults instead."""
        missing = os.path.join(self.directory, "no.conf")
        error = self.assertRaises(ConfigError, read_settings, missing)
        assert str(error) == f"{missing}: cannot be read: No such file or directory"
        error = self.assertRaises(ConfigError, read_settings, self.directory)
        assert str(error) == f"{self.directory}: cannot be read: Is a directory"
        self.assertRaises(ConfigError, read_settings, "a\x00b")


class RepetitionTests(ReaderTestCase):
    def test_some_texts_may_be_said_once(self) -> None:
        """A second pid_file is an error, and says where the first one is."""
        told = "x.conf:2: pid_file: is a duplicate of x.conf:1"
        assert self.refusal("pid_file a\npid_file a\n") == told

    def test_others_replace_the_first(self) -> None:
        """For files, numbers and words the last line counts."""
        read = self.read(
            "listener 1883\nacl_file a\nacl_file b\nmax_keepalive 1\nmax_keepalive 2\nuser a\nuser b\n"
        )
        assert read.listeners[0].security.acl_file == "b"
        assert (read.limits.max_keepalive_s, read.user) == (2, "b")

    def test_log_lines_add_up(self) -> None:
        """Each log_dest and log_type is one more, until none forgets them."""
        read = self.read("log_dest stderr\nlog_dest file a b\nlog_type error\nlog_type debug\n")
        assert read.log.destinations == ("stderr", "file a b")
        assert read.log.types == {"error", "debug"}

    def test_origins_add_up(self) -> None:
        """Each line names one more site whose pages may connect."""
        text = "listener 1\nwebsockets_origin https://a\nwebsockets_origin https://b\nlistener 2\n"
        first, second = self.read(text).listeners
        self.assertEqual(first.websockets_origins, ("https://a", "https://b"))
        self.assertEqual(second.websockets_origins, ())

    def test_each_listener_has_its_own(self) -> None:
        """What may be said once may be said once for each listener."""
        read = self.read("listener 1\nlistener_auto_id_prefix a\nlistener 2\nlistener_auto_id_prefix b\n")
        assert [door.security.auto_id_prefix for door in read.listeners] == ["a", "b"]


class ListenerTests(ReaderTestCase):
    def test_options_follow_their_listener(self) -> None:
        """An option belongs to the listener line above it."""
        read = self.read("listener 1 127.0.0.1\nmax_connections 5\nlistener 2\nprotocol http\n")
        first, second = read.listeners
        assert (first.port, first.addresses, first.max_connections, first.protocol) == (
            1,
            ("127.0.0.1",),
            5,
            "mqtt",
        )
        assert (second.port, second.addresses, second.max_connections, second.protocol) == (
            2,
            ("",),
            -1,
            "http",
        )

    def test_origin_is_the_line(self) -> None:
        """A listener knows where it was asked for."""
        read = self.read("\n\nlistener 1\n")
        assert read.listeners[0].origin == os.path.join(self.directory, "x.conf:3")

    def test_the_default_listener(self) -> None:
        """An option before any listener opens one on 1883, as in Mosquitto, but not without a word."""
        text = "max_connections 5\nlistener 8883\n"
        assert [(door.port, door.max_connections) for door in self.read(text).listeners] == [
            (1883, 5),
            (8883, -1),
        ]
        told = "x.conf:1: max_connections stands before any listener line and so opens one on port 1883"
        assert self.warnings(text) == [told]

    def test_the_default_listener_is_no_surprise(self) -> None:
        """Where a line asks for it, or no other is opened, there is nothing to warn of."""
        assert self.warnings("max_connections 5\nport 1884\n") == []
        assert self.warnings("max_connections 5\n") == []

    def test_port_and_bind_address(self) -> None:
        """The oldest spelling describes one listener, and what follows belongs to it."""
        read = self.read(
            "listener 1\nport 1884\nbind_address ::1\nmax_connections 3\ncafile a\ncertfile b\nkeyfile c\n"
        )
        assert [(door.port, door.addresses) for door in read.listeners] == [(1, ("",)), (1884, ("::1",))]
        assert [door.max_connections for door in read.listeners] == [-1, 3]
        assert [door.cafile for door in read.listeners] == [None, "a"]

    def test_bind_address_alone_opens_1883(self) -> None:
        """bind_address needs no port line, and may be said once."""
        assert self.read("bind_address 10.0.0.1\n").listeners[0].port == 1883
        assert "duplicate" in self.refusal("bind_address 10.0.0.1\nbind_address 10.0.0.2\n")


class LocalOnlyTests(ReaderTestCase):
    def test_no_file(self) -> None:
        """Without a file pushd answers on loopback, and lets in whoever is on this machine."""
        (door,) = read_settings(None).listeners
        assert (door.port, door.addresses, door.origin) == (1883, ("127.0.0.1", "::1"), "local-only mode")
        assert door.security.allow_anonymous is True

    def test_a_file_without_listener(self) -> None:
        """Neither security nor listener options open a door to other machines."""
        (door,) = self.read("allow_anonymous false\nmax_connections 5\npassword_file p\n").listeners
        assert door.addresses == ("127.0.0.1", "::1")
        assert (door.security.allow_anonymous, door.security.password_file, door.max_connections) == (
            False,
            "p",
            5,
        )

    def test_ports_of_the_command_line(self) -> None:
        """-p opens other ports, on loopback too."""
        doors = self.read("sys_interval 1\n", ports=(1884, 1885)).listeners
        assert [(door.port, door.addresses, door.origin) for door in doors] == [
            (1884, ("127.0.0.1", "::1"), "-p 1884"),
            (1885, ("127.0.0.1", "::1"), "-p 1885"),
        ]

    def test_ports_give_way_to_the_file(self) -> None:
        """A file that opens a listener keeps its say, and the flag is told so."""
        read = self.read("listener 1\n", ports=(1884,))
        assert [door.port for door in read.listeners] == [1]
        assert read.warnings == (
            f"-p 1884: ignored, because {self.directory}{os.sep}x.conf:1 opens a listener",
        )

    def test_bad_ports(self) -> None:
        """A flag is checked as a line would be."""
        for ports in ((0,), (65536,), (-1,), tuple(range(1, 12))):
            self.assertRaises(ConfigError, read_settings, None, ports)

    def test_one_family(self) -> None:
        """socket_domain narrows loopback as well."""
        assert self.read("socket_domain ipv4\n").listeners[0].addresses == ("127.0.0.1",)


class PerListenerTests(ReaderTestCase):
    def test_off(self) -> None:
        """Security options count for every listener, wherever they stand."""
        read = self.read("listener 1\nacl_file a\nlistener 2\nallow_anonymous true\n")
        assert [door.security.acl_file for door in read.listeners] == ["a", "a"]
        assert [door.security.allow_anonymous for door in read.listeners] == [True, True]

    def test_on(self) -> None:
        """Security options count for their listener, and anonymous clients need their own line."""
        read = self.read(
            "per_listener_settings true\nlistener 1\nacl_file a\nallow_anonymous true\nlistener 2\n"
        )
        assert [door.security.acl_file for door in read.listeners] == ["a", None]
        assert [door.security.allow_anonymous for door in read.listeners] == [True, False]

    def test_on_and_before_any_listener(self) -> None:
        """They describe the default listener then."""
        read = self.read("per_listener_settings true\nacl_file a\nlistener 2\n")
        assert [(door.port, door.security.acl_file) for door in read.listeners] == [(1883, "a"), (2, None)]

    def test_too_late(self) -> None:
        """After a security option it would be unclear whose that one was."""
        told = "x.conf:2: per_listener_settings: must stand before any security option"
        assert self.refusal("allow_anonymous true\nper_listener_settings true\n") == told

    def test_not_taken_back(self) -> None:
        """Once true, it stays."""
        read = self.read(
            "per_listener_settings true\nper_listener_settings false\nlistener 1\nacl_file a\nlistener 2\n"
        )
        assert read.listeners[1].security.acl_file is None

    def test_exceptions_of_a_listener(self) -> None:
        """listener_allow_anonymous and listener_auto_id_prefix win over the common lines, in any order."""
        read = self.read("listener 1\nlistener_allow_anonymous true\nallow_anonymous false\nlistener 2\n")
        assert [door.security.allow_anonymous for door in read.listeners] == [True, False]


class IncludeTests(ReaderTestCase):
    def included(self, **files: str) -> str:
        for name, contents in files.items():
            self.write(f"d/{name}.conf", contents)
        self.write("d/ignored.txt", "nonsense")
        self.write("d/.conf", "nonsense")
        return f"include_dir {self.directory}/d\n"

    def test_where_it_stands(self) -> None:
        """Included lines count as if they stood there: later ones win."""
        line = self.included(a="sys_interval 1\n")
        assert self.read(f"{line}sys_interval 2\n").sys_interval_s == 2
        assert self.read(f"sys_interval 2\n{line}").sys_interval_s == 1

    def test_order(self) -> None:
        """Alphabetical, upper case before lower, and a file a letter longer after."""
        names = ("b", "A", "a", "B", "_x", "aB", "Ab")
        line = self.included(**{name: f"log_dest file {name}\n" for name in names})
        chosen = [place.removeprefix("file ") for place in self.read(line).log.destinations]
        assert chosen == ["A", "Ab", "a", "aB", "B", "b", "_x"]

    def test_each_starts_afresh(self) -> None:
        """A listener does not reach into an included file; the main file keeps its own."""
        line = self.included(a="listener 2\n", b="port 1884\n")
        read = self.read(f"listener 1\n{line}max_connections 7\n")
        assert [(door.port, door.max_connections) for door in read.listeners] == [(1, 7), (2, -1), (1884, -1)]
        assert "needs a listener line" in self.refusal(f"listener 1\n{self.included(a='cafile x')}")

    def test_no_deeper(self) -> None:
        """An included file includes nothing."""
        line = self.included(a="\ninclude_dir /etc\n")
        assert self.refusal(line) == "d/a.conf:2: include_dir: counts in the main file only"

    def test_mistakes_name_the_included_file(self) -> None:
        """The message leads to the line, not to the include_dir."""
        assert self.refusal(self.included(a="\n\nfoo 1\n")) == "d/a.conf:3: unknown option 'foo'"

    def test_an_unreadable_file_names_the_line(self) -> None:
        """What cannot be opened has no lines, so the including one is named."""
        os.makedirs(os.path.join(self.directory, "d", "a.conf"))
        told = "x.conf:1: include_dir: d/a.conf cannot be read: Is a directory"
        assert self.refusal(self.included()) == told


class NotImplementedTests(ReaderTestCase):
    def test_options_for_later_are_named(self) -> None:
        """An option of Mosquitto's that does nothing yet is accepted; a warning says what is missing."""
        told = "x.conf:2: enable_control_api is not implemented yet: nobody answers under $CONTROL"
        assert self.warnings("listener 1\nenable_control_api true\n") == [told]

    def test_options_without_effect_are_named(self) -> None:
        """So is what could not change anything here, even with no value."""
        (told,) = self.warnings("retry_interval\n")
        assert told.startswith("x.conf:1: retry_interval has no effect: messages are sent again when")

    def test_bridges_are_read_over(self) -> None:
        """A whole bridge is accepted and its values are checked; one warning names it."""
        text = "connection office\naddress 10.0.0.1:1883\ntopic # both 1\nclientid me\ntry_private false\n"
        told = "x.conf:1: connection is not implemented yet: no connection to another broker is made"
        assert self.warnings(text) == [told]
        assert self.refusal(text + "start_type manual\n").startswith(
            "x.conf:6: start_type: 'manual' is not one of"
        )
        assert "duplicate" in self.refusal("connection a\nconnection a\n")

    def test_variables_and_files_of_what_is_read_over(self) -> None:
        """What nobody will look at is no reason not to start."""
        text = "connection office\npassword file:/nowhere\nlocal_password ${NOWHERE}\n"
        assert len(self.warnings(text)) == 1


class ShutTests(ReaderTestCase):
    """Listeners that pushd cannot open as they are described."""

    def test_pre_shared_keys(self) -> None:
        """A door that asks for them is not opened without them; the others are."""
        text = "listener 1\npsk_hint x\nlistener 2\n"
        assert [door.port for door in self.read(text).listeners] == [2]
        (told,) = self.warnings(text)
        assert told.endswith("pre-shared keys are not known, so its listener stays shut")

    def test_the_api_of_mosquitto(self) -> None:
        """Our gateway is not put in its place: programs would meet what they do not expect."""
        text = "listener 1\nlistener 9883\nprotocol http_api\nhttp_dir /usr/share/mosquitto\n"
        assert [door.port for door in self.read(text).listeners] == [1]
        api, files = self.warnings(text)
        assert api.startswith("x.conf:3: protocol: http_api is not implemented yet: this listener stays shut")
        assert files.startswith("x.conf:4: http_dir is not implemented yet")

    def test_no_other_listener(self) -> None:
        """A broker without a door is of no use to anybody."""
        told = "x.conf:2: psk_hint x is not implemented yet, and there is no other listener"
        assert self.refusal("listener 1\npsk_hint x\n") == told
        told = "x.conf:1: protocol http_api is not implemented yet, and there is no other listener"
        assert self.refusal("protocol http_api\n") == told


class StorageAndLogTests(ReaderTestCase):
    """What is left out here, and what is added."""

    def test_one_log_destination_less(self) -> None:
        """A destination that is missing here is named; without another one, stderr it is."""
        assert self.warnings("log_dest dlt\n") == ["x.conf:1: log_dest dlt is not implemented yet; ignored"]
        assert self.read("log_dest dlt\n").log.destinations == ("stderr",)

    def test_durability(self) -> None:
        """A store is off unless asked for, and then survives a power loss unless told otherwise."""
        settings = self.read("")
        assert (settings.persistence, settings.durability) == (False, "full")
        settings = self.read("retained_persistence true\ndurability normal\n")
        assert (settings.persistence, settings.durability) == (True, "normal")


class EnvironmentTests(ReaderTestCase):
    def read_in(self, environ: Mapping[str, str], text: str) -> Settings:
        return read_settings(self.write("x.conf", text), environ=environ)

    def test_persistence_location(self) -> None:
        """The environment wins over the file, as Mosquitto's container images rely on."""
        text = "persistence_location /a\n"
        environ = {"MOSQUITTO_PERSISTENCE_LOCATION": "/b"}
        assert self.read_in(environ, text).persistence_location == "/b"
        assert self.read_in({}, text).persistence_location == "/a"

    def test_variables(self) -> None:
        """They may stand in any value, and behind the name of a listener or a path."""
        text = "listener ${PORT} ${ADDRESS:-127.0.0.1}\nacl_file ${DIR}/acl\n"
        (door,) = self.read_in({"PORT": "1884", "DIR": "/etc"}, text).listeners
        assert (door.port, door.addresses, door.security.acl_file) == (1884, ("127.0.0.1",), "/etc/acl")

    def test_variables_that_are_missing(self) -> None:
        """Nothing is guessed: the line is named, and what can be written there."""
        told = (
            "x.conf:2: listener: there is no environment variable PORT; ${PORT:-DEFAULT} gives it a default, "
            "and $${PORT} is the text itself"
        )
        assert self.refusal("\nlistener ${PORT}\n") == told

    def test_variables_without_a_value(self) -> None:
        """An empty one leaves an option without a value, and that is an error as ever."""
        problem = self.assertRaises(ConfigError, self.read_in, {"FILE": ""}, "acl_file ${FILE}\n")
        assert problem.cause == "acl_file: needs a value: PATH"

    def test_not_in_names(self) -> None:
        """Which options a file has does not depend on where it is read."""
        problem = self.assertRaises(ConfigError, self.read_in, {"NAME": "acl_file"}, "${NAME} x\n")
        assert problem.cause == "unknown option '${NAME}'"

    def test_in_included_files(self) -> None:
        """They are read with the same variables."""
        self.write("d/a.conf", "acl_file ${FILE}\n")
        text = "listener 1\ninclude_dir ${DIR}\n"
        read = self.read_in({"FILE": "here", "DIR": f"{self.directory}/d"}, text)
        assert read.listeners[0].security.acl_file == "here"


class PluginTests(ReaderTestCase):
    """What a file says about plugins, whether or not they can be loaded."""

    def plugins(self, text: str) -> list[list[str]]:
        return [[each.plugin for each in door.security.plugins] for door in self.read(text).listeners]

    def test_for_all_listeners(self) -> None:
        """A plugin is asked at every listener, in the order of the lines."""
        text = "listener 1\nplugin a\nlistener 2\nauth_plugin b\nglobal_plugin c\n"
        assert self.plugins(text) == [["c", "a", "b"], ["c", "a", "b"]]

    def test_for_one_listener(self) -> None:
        """Under per_listener_settings a plugin belongs to its listener, and a global one to all."""
        text = "per_listener_settings true\nglobal_plugin c\nlistener 1\nplugin a\nlistener 2\nplugin b\n"
        assert self.plugins(text) == [["c", "a"], ["c", "b"]]

    def test_by_name(self) -> None:
        """A plugin that is loaded by name is asked where it is used."""
        assert self.plugins("plugin_load p a\nlistener 1\nlistener 2\nplugin_use p\n") == [[], ["a"]]
        told = "x.conf:2: plugin_use: there is no plugin_load line for 'q'"
        assert self.refusal("listener 1\nplugin_use q\n") == told
        assert "needs a name and a plugin" in self.refusal("plugin_load p\n")
        assert "duplicate" in self.refusal("plugin_load p a\nplugin_load p b\n")

    def test_options(self) -> None:
        """They go to the plugin above them, as they are, to the end of the line."""
        options = "plugin_opt_url http://x # y\nauth_opt_n 1\nauth_plugin_deny_special_chars false\n"
        first, second = self.read(f"plugin a\n{options}plugin b\n").listeners[0].security.plugins
        assert first.options == (("url", "http://x # y"), ("n", "1"))
        assert (first.deny_special_chars, second.options, second.deny_special_chars) == (False, (), True)

    def test_secrets(self) -> None:
        """A password may be in a file of its own, and is not shown."""
        self.write("secret", "pass\nanother line\n")
        read = self.read(f"plugin a\nplugin_opt_password file:{self.directory}/secret\n")
        (plugin,) = read.listeners[0].security.plugins
        assert dict(plugin.options) == {"password": "pass"}
        assert "pass'" not in repr(read)
        told = "x.conf:2: plugin_opt_password: '/no/file' cannot be read: No such file or directory"
        assert self.refusal("plugin a\nplugin_opt_password file:/no/file\n") == told

    def test_included_files_start_without_a_plugin(self) -> None:
        """What stands in them cannot belong to a plugin of the main file."""
        self.write("d/a.conf", "plugin_opt_x 1\n")
        told = "d/a.conf:1: plugin_opt_x: needs a plugin line before it"
        assert self.refusal(f"plugin a\ninclude_dir {self.directory}/d\n") == told


NAMES = [name for option in OPTIONS for name in (option.name, *option.aliases) if name != "include_dir"]
VALUES = ["true", "${A}", "${EMPTY}", "${B} ${A}", "${NO}", "${NO:-2}", "$${A}", "file:/", "http_api"]
LINES = st.builds(
    "{} {}".format, st.sampled_from(NAMES), st.text() | st.integers().map(str) | st.sampled_from(VALUES)
)
USABLE = [option.name for option in OPTIONS if option.name != "include_dir"]
VARIABLES = {"A": "1", "EMPTY": "", "B": "${A}"}


def outcome(contents: bytes) -> Settings | ConfigError:
    """Settings or the one complaint; anything else would escape."""
    draft = Draft()
    try:
        SettingsFile("x.conf", contents, draft, VARIABLES).read()
        return settle(draft, ())
    except ConfigError as error:
        return error


class AnyTextTests(SynchronousTestCase):
    @given(st.binary())
    @settings(max_examples=300, deadline=None)
    def test_any_bytes(self, contents: bytes) -> None:
        """Whatever is in the file, it is settings or a complaint with a line."""
        result = outcome(contents)
        assert isinstance(result, Settings) or result.origin.startswith("x.conf:")

    @given(st.lists(LINES, max_size=8))
    @settings(max_examples=500, deadline=None)
    def test_any_values(self, lines: list[str]) -> None:
        """Known names with any values, in any order, are settings or a complaint with a line."""
        result = outcome("\n".join(lines).encode("utf-8", "surrogatepass"))
        assert isinstance(result, Settings) or result.origin.startswith("x.conf:")

    @given(
        st.lists(st.sampled_from(USABLE), max_size=12), st.sampled_from(["1", "true", "20", "3600", "stderr"])
    )
    @settings(max_examples=300, deadline=None)
    def test_any_order(self, names: list[str], value: str) -> None:
        """Plain values in any order never end in a file that opens no door at all."""
        result = outcome("\n".join(f"{name} {value}" for name in names).encode())
        assert isinstance(result, ConfigError) or result.listeners
