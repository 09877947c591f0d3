"""The table against itself, and against the settings it fills."""

from __future__ import annotations

from dataclasses import fields

from twisted.trial.unittest import SynchronousTestCase

from pushd.config.draft import OPTION_OF_FIELD
from pushd.config.errors import BadValue
from pushd.config.kinds import Integer, SecretText
from pushd.config.options import OPTIONS, Scope, Status, find, nearest
from pushd.config.settings import LimitSettings, ListenerSettings, LogSettings, SecuritySettings, Settings

# Written by hand from mosquitto.conf(5) of 2.1: what an existing file may say.
MOSQUITTO = """
accept_protocol_versions acl_file address addresses allow_anonymous allow_duplicate_messages
allow_zero_length_clientid auth_opt_x auth_plugin auth_plugin_deny_special_chars auto_id_prefix
autosave_interval autosave_on_changes bind_address bind_interface bridge_alpn bridge_attempt_unsubscribe
bridge_bind_address bridge_cafile bridge_capath bridge_certfile bridge_ciphers bridge_ciphers_tls1.3
bridge_identity bridge_insecure bridge_keyfile bridge_max_packet_size bridge_max_topic_alias
bridge_outgoing_retain bridge_protocol_version bridge_psk bridge_receive_maximum bridge_reload_type
bridge_require_ocsp bridge_session_expiry_interval bridge_tcp_keepalive bridge_tcp_user_timeout
bridge_tls_use_os_certs bridge_tls_version cafile capath certfile check_retain_source ciphers
ciphers_tls1.3 cleansession clientid clientid_prefixes connection connection_messages crlfile dhparamfile
disable_client_cert_date_checks enable_control_api enable_proxy_protocol global_max_clients
global_max_connections global_plugin http_dir idle_timeout include_dir keepalive_interval keyfile
listener listener_allow_anonymous listener_auto_id_prefix local_cleansession local_clientid
local_password local_username log_dest log_facility log_timestamp log_timestamp_format log_type
max_connections max_inflight_bytes max_inflight_messages max_keepalive max_packet_size max_qos
max_queued_bytes max_queued_messages max_topic_alias max_topic_alias_broker maximum_qos memory_limit
message_size_limit mount_point notification_topic notifications notifications_local_only
packet_buffer_size password password_file per_listener_settings persistence persistence_file
persistence_location persistent_client_expiration pid_file plugin plugin_load plugin_opt_x plugin_use
port protocol proxy_protocol_v2_require_tls psk_file psk_hint queue_qos0_messages remote_clientid
remote_password remote_username require_certificate restart_timeout retain_available
retain_expiry_interval retained_persistence retry_interval round_robin set_tcp_nodelay socket_domain
start_type sys_interval threshold tls_engine tls_engine_kpass_sha1 tls_keyform tls_version topic
try_private upgrade_outgoing_qos use_identity_as_username use_subject_as_username
use_username_as_clientid user username websockets_headers_size websockets_log_level websockets_origin
"""

SHAPES = (SecuritySettings, ListenerSettings, LogSettings, LimitSettings, Settings)
RESOLVED = {"destinations": "log_dest", "types": "log_type"}  # fields that take more than filling in
NOT_OPTIONS = {"origin", "addresses", "path", "security", "plugins", "listeners", "limits", "log", "warnings"}


class TableTests(SynchronousTestCase):
    def test_every_option_of_mosquitto_is_known(self) -> None:
        """An existing mosquitto.conf never meets "unknown option"."""
        assert [name for name in MOSQUITTO.split() if find(name) is None] == []

    def test_names_are_used_once(self) -> None:
        """No name and no alias stands for two rows."""
        names = [name for option in OPTIONS for name in (option.name, *option.aliases)]
        assert len(names) == len(set(names))

    def test_aliases_find_their_option(self) -> None:
        """Older spellings mean the same row."""
        for old, new in (("maximum_qos", "max_qos"), ("retained_persistence", "persistence")):
            assert find(old) is find(new) is not None

    def test_a_prefix_is_no_name(self) -> None:
        """plugin_opt_ needs something behind it; anything will do."""
        assert find("plugin_opt_") is None
        assert find("auth_opt_hosts") is not None

    def test_other_spellings_set_existing_options(self) -> None:
        """What a row gives the value of is a row itself."""
        for option in OPTIONS:
            assert find(option.key) is not None or option.prefix

    def test_numbers_at_their_bounds(self) -> None:
        """Each number takes 0 and 1 if they are in its range, its maximum, and nothing above."""
        for option in OPTIONS:
            if isinstance(option.kind, Integer):
                self.check_bounds(option.kind)

    def check_bounds(self, kind: Integer) -> None:
        assert kind.read(str(kind.maximum)) == kind.maximum
        self.assertRaises(BadValue, kind.read, str(kind.maximum + 1))
        for number in (0, 1):
            if number >= kind.minimum or kind.below is not None:
                assert kind.read(str(number)) in (number, kind.below)
            else:
                self.assertRaises(BadValue, kind.read, str(number))

    def test_defaults_are_within_bounds(self) -> None:
        """A default could be written down as well."""
        for option in OPTIONS:
            if isinstance(option.kind, Integer) and option.default is not None:
                assert option.kind.read(str(option.default)) == option.default


class SettingsTests(SynchronousTestCase):
    def test_fields_have_the_defaults_of_the_table(self) -> None:
        """The settings of an empty file are the defaults that the table promises."""
        for shape in SHAPES:
            for field in fields(shape):
                if field.name in NOT_OPTIONS | RESOLVED.keys() | {"port"}:
                    continue
                option = find(OPTION_OF_FIELD.get(field.name, field.name))
                assert option is not None, field.name
                assert field.default == option.default, field.name

    def test_logging_has_the_defaults_of_the_table(self) -> None:
        """Destinations and types are lists in the file."""
        log, dest, types = LogSettings(), find("log_dest"), find("log_type")
        assert dest is not None and types is not None
        assert log.destinations == dest.default
        assert isinstance(types.default, tuple)
        assert log.types == frozenset(types.default)

    def test_every_implemented_option_has_a_field(self) -> None:
        """What the table calls implemented is not dropped on the way."""
        filled = {
            OPTION_OF_FIELD.get(field.name, RESOLVED.get(field.name, field.name))
            for shape in SHAPES
            for field in fields(shape)
        }
        shaping = {"listener", "bind_address", "per_listener_settings", "include_dir"}
        of_plugins = {
            "plugin",
            "global_plugin",
            "plugin_load",
            "plugin_use",
        }  # `PluginSettings` are made of them
        for option in OPTIONS:
            if option.status is Status.WORKS and option.scope not in (Scope.BRIDGE, Scope.PLUGIN):
                assert option.key in filled | shaping | of_plugins, option.name

    def test_what_does_not_work_says_what_is_missing(self) -> None:
        """A warning that only named the option would leave its reader alone."""
        for option in OPTIONS:
            assert (option.note != "") == (option.status is not Status.WORKS), option.name


class NearestTests(SynchronousTestCase):
    def test_slips(self) -> None:
        """A letter, an ending or the case wrong: the option is still recognised."""
        for written, meant in (
            ("max_keepalives", "max_keepalive"),
            ("Listener", "listener"),
            ("alow_anonymous", "allow_anonymous"),
            ("pasword_file", "password_file"),
        ):
            assert nearest(written) == meant

    def test_nothing_like_it(self) -> None:
        """No suggestion is better than a wrong one, and than a search through megabytes."""
        assert nearest("zzz") is None
        assert nearest("x" * 3_000_000) is None


class SecretTests(SynchronousTestCase):
    def test_options_of_plugins(self) -> None:
        """A plugin's password is a secret by its name."""
        for name, secret in (
            ("plugin_opt_db_password", True),
            ("auth_opt_jwt_secret", True),
            ("plugin_opt_url", False),
        ):
            option = find(name)
            assert option is not None
            assert isinstance(option.kind_of(name), SecretText) == secret

    def test_options_of_bridges(self) -> None:
        """So are the passwords that a bridge uses, however they are spelt."""
        for name in ("password", "remote_password", "local_password", "bridge_psk"):
            option = find(name)
            assert option is not None
            assert isinstance(option.kind_of(name), SecretText)
