"""What a read file amounts to: checks across lines, and the parts that take more than copying."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pushd.config.draft import Block, Draft, settle
from pushd.config.errors import BadValue, ConfigError
from pushd.config.options import LOG_TYPES, find
from pushd.config.reader import SettingsFile
from pushd.config.settings import LogSettings, Settings

TLS = "certfile s.crt\nkeyfile s.key\n"


def settled(text: str) -> Settings:
    draft = Draft()
    SettingsFile("x.conf", text.encode(), draft, {}).read()
    return settle(draft, ())


def log(text: str) -> LogSettings:
    return settled(text).log


class BlockTests(SynchronousTestCase):
    def keep(self, block: Block, name: str, *values: object) -> object:
        option = find(name)
        assert option is not None
        for number, value in enumerate(values, 1):
            block.keep(option, value, f"x.conf:{number}")
        return block.values[option.key]

    def test_rules_of_repetition(self) -> None:
        """The row of an option decides whether a second line replaces, adds or fails."""
        block = Block("x.conf")
        assert self.keep(block, "acl_file", "a", "b") == "b"
        assert self.keep(block, "log_type", "error", "debug") == ["error", "debug"]
        problem = self.assertRaises(BadValue, self.keep, block, "pid_file", "a", "b")
        assert str(problem) == "is a duplicate of x.conf:1"

    def test_remembers_where(self) -> None:
        """The line that counts is the line that is blamed."""
        block = Block("x.conf")
        self.keep(block, "acl_file", "a", "b")
        assert block.origins["acl_file"] == "x.conf:2"


class TlsTests(SynchronousTestCase):
    def refusal(self, text: str) -> str:
        return str(self.assertRaises(ConfigError, settled, "listener 8883\n" + text))

    def test_certificate_and_key_belong_together(self) -> None:
        """One without the other is no TLS listener, and no plain one either."""
        assert self.refusal("certfile a\n") == "x.conf:2: certfile: needs keyfile on this listener too"
        assert self.refusal("keyfile a\n") == "x.conf:2: keyfile: needs certfile on this listener too"

    def test_a_client_ca_needs_a_server_certificate(self) -> None:
        """cafile and capath mean nothing on a plain listener."""
        assert self.refusal("cafile a\n") == "x.conf:2: cafile: needs certfile on this listener too"
        assert self.refusal("capath a\n") == "x.conf:2: capath: needs certfile on this listener too"

    def test_client_certificates_need_tls(self) -> None:
        """A listener that must ask for certificates and cannot is not opened without asking."""
        told = "x.conf:2: require_certificate: needs certfile on this listener too"
        assert self.refusal("require_certificate true\n") == told
        assert settled("listener 1\nrequire_certificate false\n").listeners[0].tls is False

    def test_client_certificates_need_an_authority(self) -> None:
        """Nobody's certificate could be trusted."""
        told = "x.conf:4: require_certificate: needs cafile or capath on this listener too"
        assert self.refusal(f"{TLS}require_certificate true\n") == told

    def test_a_complete_listener(self) -> None:
        """All the files of a mutual TLS listener reach its settings."""
        text = f"listener 8883\n{TLS}capath ca\nrequire_certificate true\ncrlfile crl\nciphers_tls1.3 X\n"
        (door,) = settled(text).listeners
        assert door.tls
        assert (door.certfile, door.keyfile, door.capath) == ("s.crt", "s.key", "ca")
        assert (door.crlfile, door.ciphers_tls13, door.tls_version) == ("crl", "X", "tlsv1.2")

    def test_another_listeners_certificate_does_not_count(self) -> None:
        """Each listener is checked by itself."""
        text = f"{TLS}listener 1884\ncafile a\n"
        assert self.refusal(text) == "x.conf:5: cafile: needs certfile on this listener too"

    def test_identities_without_tls_are_pointed_out(self) -> None:
        """On a plain listener there is no certificate to take a name from; passwords count there."""
        told = "x.conf:2: use_identity_as_username has no effect on a listener without certfile; ignored"
        assert settled("listener 1\nuse_identity_as_username true\n").warnings == (told,)


class AddressTests(SynchronousTestCase):
    def test_unix_sockets(self) -> None:
        """A unix socket has a path and no addresses, and is named by it."""
        (door,) = settled("listener 0 /run/mqtt\n").listeners
        assert (door.port, door.path, door.addresses, door.name) == (0, "/run/mqtt", (), "unix:/run/mqtt")
        assert door.security.allow_anonymous is False

    def test_unix_sockets_have_no_network(self) -> None:
        """Options of addresses do not count there; one that should keep others out stops the start."""
        told = "x.conf:2: socket_domain has no effect on a unix socket; ignored"
        assert settled("listener 0 /run/mqtt\nsocket_domain ipv4\n").warnings == (told,)
        problem = self.assertRaises(ConfigError, settled, "listener 0 /run/mqtt\nbind_interface lo\n")
        assert str(problem) == "x.conf:2: bind_interface: a unix socket is on no network interface"

    def test_an_interface_wins_over_an_address(self) -> None:
        """And whoever wrote both is told so."""
        told = "x.conf:2: bind_interface wins over the address of this listener"
        settings = settled("listener 1883 127.0.0.1\nbind_interface eth0\n")
        assert (settings.listeners[0].bind_interface, settings.warnings) == ("eth0", (told,))

    def test_an_interface_does_not_open_local_only_mode(self) -> None:
        """Where everybody on this machine is let in, no network may come in by an afterthought."""
        problem = self.assertRaises(ConfigError, settled, "bind_interface eth0\n")
        assert str(problem) == "x.conf:1: bind_interface: needs a listener or port line"


class ProxyTests(SynchronousTestCase):
    """A listener behind a proxy leaves TLS to it."""

    def refusal(self, text: str) -> str:
        return str(self.assertRaises(ConfigError, settled, "listener 1883\n" + text))

    def test_no_tls_of_its_own(self) -> None:
        """What only works where TLS ends here is refused beside it, in any order."""
        for line in ("cafile a", "capath a", "crlfile a", "use_subject_as_username true"):
            name = line.split(" ")[0]
            told = f"enable_proxy_protocol: cannot be used together with {name}"
            assert told in self.refusal(f"enable_proxy_protocol 2\n{line}\n")
            assert told in self.refusal(f"{line}\nenable_proxy_protocol 1\n")
        assert "together with certfile" in self.refusal(f"enable_proxy_protocol 2\n{TLS}")

    def test_certificates_behind_version_2(self) -> None:
        """It tells of them, so they may be asked for."""
        lines = (
            "require_certificate true\nuse_identity_as_username true\nproxy_protocol_v2_require_tls true\n"
        )
        settings = settled(f"listener 1883\nenable_proxy_protocol 2\n{lines}")
        (door,) = settings.listeners
        assert (door.tls, door.knows_certificates, door.require_certificate) == (False, True, True)
        assert (door.proxy_protocol_v2_require_tls, settings.warnings) == (True, ())

    def test_no_certificates_behind_version_1(self) -> None:
        """It tells nothing of them: asking for what nobody can have is a mistake."""
        assert "needs certfile" in self.refusal("enable_proxy_protocol 1\nrequire_certificate true\n")
        told = "x.conf:3: proxy_protocol_v2_require_tls: needs enable_proxy_protocol 2"
        assert self.refusal("enable_proxy_protocol 1\nproxy_protocol_v2_require_tls true\n") == told


class AnonymousTests(SynchronousTestCase):
    def test_any_listener_closes_the_door(self) -> None:
        """With a listener, anonymous clients need a line that lets them in."""
        assert settled("").listeners[0].security.allow_anonymous is True
        for line in ("listener 1", "port 1", "bind_address ::1"):
            assert settled(line).listeners[0].security.allow_anonymous is False
            assert settled(f"{line}\nallow_anonymous true").listeners[0].security.allow_anonymous is True


class LogTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """Without a line: the four usual types, on stderr, with the time in seconds."""
        assert log("") == LogSettings()

    def test_none_forgets_what_was_before(self) -> None:
        """none switches off, and a later line on again."""
        assert log("log_dest stdout\nlog_dest none\n").destinations == ("none",)
        assert log("log_dest none\nlog_dest syslog\n").destinations == ("syslog",)
        assert log("log_type all\nlog_type none\n").types == frozenset()

    def test_each_destination_once(self) -> None:
        """A place named twice gets each line once."""
        assert log("log_dest stderr\nlog_dest topic\nlog_dest stderr\n").destinations == ("stderr", "topic")

    def test_all_types(self) -> None:
        """all is every type there is."""
        assert log("log_type all\n").types == frozenset(LOG_TYPES)

    def test_times_and_facility(self) -> None:
        """The other log options reach their fields."""
        text = "log_timestamp false\nlog_timestamp_format %H:%M # x\nlog_facility 3\nconnection_messages 0\n"
        read = log(text)
        assert (read.timestamp, read.timestamp_format) == (False, "%H:%M # x")
        assert (read.facility, read.connection_messages) == (3, False)


class LimitTests(SynchronousTestCase):
    def test_units_are_in_the_names(self) -> None:
        """Seconds of the file are seconds of the settings."""
        limits = settled("max_keepalive 120\nconnect_timeout 3\nmax_queued_bytes -5\n").limits
        assert (limits.max_keepalive_s, limits.connect_timeout_s, limits.max_queued_bytes) == (120, 3, 0)
