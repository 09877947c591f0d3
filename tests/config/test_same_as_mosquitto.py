"""
The same lines, read by pushd and by Debian's Mosquitto (2.0.11).

Each text gets a last line that nobody knows. Whichever line is complained about first is the first bad one,
so a text is good if it is the last; no broker is started. Where 2.1 is different from 2.0, pushd goes with
2.1: those lines stand by themselves, each with the reason.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pushd.config.draft import Draft
from pushd.config.errors import ConfigError
from pushd.config.reader import SettingsFile
from tests.processes import program

LAST = b"no_such_option 1\n"

GOOD = (
    # Comments, blanks, line ends.
    b"# caf\xe9\n\n   \n\r\nsys_interval 1\r\n",
    b"  sys_interval   1\n",
    b"sys_interval 1 2 3\nsys_interval 2 # two\n",
    b"sys_interval \t1\nsys_interval 1\t\nsys_interval 1\t# one\n",
    b"sys_interval +5\nsys_interval 0x10\nsys_interval 010\n",
    b"allow_anonymous true # x\nallow_anonymous 1\nallow_anonymous  0\n",
    b"acl_file a # b\n",
    # Listeners.
    b"listener 1883\nlistener 1883\nlistener 1884 127.0.0.1\nlistener 1885 127.0.0.1 more\n",
    b"listener 1883 # x\nlistener 1883 127.0.0.1 # x\nlistener 0 /tmp/x\n",
    b"port 1883\nport 1884\n",
    b"port 1883\nlistener 1884\n",
    b"bind_address 127.0.0.1\n",
    b"protocol mqtt\nmax_connections -5\nmax_connections 0\nmax_qos 1\nmaximum_qos 2\n",
    b"listener 1\nprotocol websockets\nmount_point a/\nhttp_dir /tmp\nsocket_domain ipv4\n",
    b"listener 1\ntls_version tlsv1.2\n",
    b"certfile a\nkeyfile b\ncapath c\nciphers x\nciphers_tls1.3 x\ncrlfile y\n",
    b"require_certificate true\nuse_identity_as_username 1\nuse_subject_as_username 0\n",
    b"tls_engine x\n",
    b"tls_keyform engine\n",
    b"use_username_as_clientid true\n",
    b"psk_file x\n",
    # Who may come in.
    b"per_listener_settings true\nper_listener_settings false\n",
    b"allow_anonymous true\nper_listener_settings false\n",
    b"per_listener_settings true\nlistener 1\nacl_file a\nlistener 2\nacl_file b\n",
    b"user a b\nallow_zero_length_clientid false\nauto_id_prefix x\n",
    # Limits.
    b"max_packet_size 20\nmax_inflight_messages -1\nmax_inflight_bytes -1\nmax_queued_messages -1\n",
    b"max_queued_bytes -1\nmemory_limit 10\nmessage_size_limit 10\nmax_keepalive 10\n",
    b"persistent_client_expiration 1d\npersistent_client_expiration 1h foo\n",
    b"persistent_client_expiration 1w\npersistent_client_expiration 1m\npersistent_client_expiration 1y\n",
    b"retry_interval\nretry_interval 20\ndhparamfile x\n",
    b"set_tcp_nodelay true\nupgrade_outgoing_qos true\ncheck_retain_source false\nretain_available 0\n",
    b"allow_duplicate_messages true\nqueue_qos0_messages true\nclientid_prefixes a\n",
    # What is kept, and the log.
    b"retained_persistence true\npersistence 1\npersistence_file a b\n",
    b"autosave_interval -1\nautosave_on_changes 1\n",
    b"log_dest file /tmp/a b\nlog_dest stdout stderr\nlog_dest dlt\nlog_dest none\nlog_dest syslog\n",
    b"log_type error warning\nlog_type websockets\nlog_type none\nlog_type all\nlog_type subscribe\n",
    b"log_facility 7\nlog_timestamp false\nlog_timestamp_format %H:%M\nconnection_messages 0\n",
    b"websockets_log_level 3\nwebsockets_headers_size 1000\npid_file x\n",
    # Bridges.
    b'connection a b\naddress 127.0.0.1:1884 127.0.0.1\ntopic #\ntopic # both 1 l/ r/\ntopic x in 0 "" ""\n',
    b"connection a\nclientid x\nusername y\npassword z\n",
    b"connection a\nlocal_clientid x\nlocal_username y\nlocal_password z\n",
    b"connection a\nkeepalive_interval 1\nidle_timeout 0\nthreshold 0\n",
    b"connection a\nrestart_timeout 5 30\nstart_type lazy\n",
    b"connection a\nbridge_protocol_version mqttv50\nbridge_insecure true\nbridge_attempt_unsubscribe 0\n",
    b"connection a\nnotifications false\nnotification_topic x\nround_robin true\ntry_private false\n",
    b"connection a\nbridge_cafile x\nbridge_alpn y\nbridge_tls_version tlsv1.2\nbridge_max_packet_size 0\n",
)

BAD = (
    b" # comment\n",
    b"\t\n",
    b"sys_interval\t1\n",
    b"\tsys_interval 1\n",
    b"\xef\xbb\xbflistener 1\n",
    b"Sys_interval 1\n",
    b"sys_interval\n",
    b"sys_interval \n",
    b"sys_interval   \r\n",
    b"acl_file caf\xe9\n",
    b"acl_file a\tb\n",
    b"pid_file a\x01b\n",
    b"sys_interval -1\n",
    b"sys_interval 65536\n",
    b"allow_anonymous yes\n",
    b"allow_anonymous True\n",
    b"allow_anonymous 2\n",
    b"user\n",
    # Listeners.
    b"listener\n",
    b"listener x\n",
    b"listener 0\n",
    b"listener 65536\n",
    b"listener -1\n",
    b"port 0\n",
    b"port 65536\n",
    b"bind_address\n",
    b"bind_address 127.0.0.1\nbind_address 127.0.0.1\n",
    b"protocol foo\n",
    b"socket_domain ipx\n",
    b"max_qos 3\n",
    b"mount_point a\n",
    b"listener 1\nmount_point a/#\n",
    b"listener 1\nmax_topic_alias 65536\n",
    # Who may come in, limits, log.
    b"allow_anonymous true\nper_listener_settings true\n",
    b"auto_id_prefix a\nauto_id_prefix b\n",
    b"plugin_opt_x y\n",
    b"auth_opt_x y\n",
    b"max_packet_size 19\n",
    b"max_inflight_messages 65536\n",
    b"message_size_limit -1\n",
    b"message_size_limit 268435456\n",
    b"max_keepalive 65536\n",
    b"max_keepalive -1\n",
    b"memory_limit -1\n",
    b"persistent_client_expiration 1\n",
    b"persistent_client_expiration 0d\n",
    b"persistent_client_expiration d\n",
    b"persistent_client_expiration x\n",
    b"queue_qos0_messages x\n",
    b"websockets_headers_size 65536\n",
    b"log_dest printer\n",
    b"log_dest file\n",
    b"log_type foo\n",
    b"log_facility 8\n",
    b"log_facility -1\n",
    b"log_timestamp_format a\nlog_timestamp_format b\n",
    b"pid_file a\npid_file b\n",
    b"persistence_location a\npersistence_location b\n",
    b"include_dir\n",
    b"include_dir /no/such/directory\n",
    # Bridges.
    b"topic #\n",
    b"address 127.0.0.1\n",
    b"bridge_cafile x\n",
    b"connection a\naddress 127.0.0.1\nconnection a\n",
    b"connection a\naddress 127.0.0.1\naddress 127.0.0.1\n",
    b"connection a\nstart_type manual\n",
    b"connection a\nbridge_protocol_version mqttv5\n",
    b"connection a\npassword x\nremote_password y\n",
    b"connection a\nclientid x\nremote_clientid y\n",
    b"connection a\nbridge_cafile x\nbridge_cafile y\n",
)

GOOD_ONLY_IN_2_0 = {
    b"sys_interval 10s\n": "2.1 wants all of a number to be one; 2.0 took the digits",
    b"sys_interval many\n": "the same; 2.0 took it for 0",
    b"cafile a\n": "2.1 wants a listener before it; 2.0 applied it to port 1883",
    b"tls_version tlsv1.2\n": "the same",
    b"http_dir /tmp\n": "the same",
    b"max_topic_alias 3\n": "the same",
    b"auto_id_prefix " + b"x" * 51 + b"\n": "2.1 allows 50 bytes; 2.0 any number",
}

GOOD_SINCE_2_1 = {
    b"acl_file a\nacl_file b\n": "the last one counts; 2.0 did not want a second one",
    b"user a\nuser b\n": "the same",
    b"listener 1\nmount_point a\nmount_point b\n": "the same",
    b"clientid_prefixes a\nclientid_prefixes b\n": "the same",
    b"max_keepalive 5\n": "2.0 wanted 10 or more",
    b"persistent_client_expiration 1s\n": "2.0 did not know seconds",
    b"listener 1\naccept_protocol_versions 3, 4\n": "2.0 did not know the option",
    b"global_max_clients 5\n": "the same",
    b"global_max_connections 5\n": "the same",
    b"packet_buffer_size 100\n": "the same",
    b"enable_control_api true\n": "the same",
    b"retain_expiry_interval 5\n": "the same",
    b"listener 1\nwebsockets_origin https://a\n": "the same",
}


class SameAsMosquittoTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory)

    def refused_by_mosquitto(self, text: bytes) -> bool:
        path = self.directory / "x.conf"
        path.write_bytes(text + LAST)
        command = [program("mosquitto"), "-c", str(path)]
        ended = subprocess.run(command, capture_output=True, timeout=20, check=False)
        found = re.search(rb"Error found at .*x\.conf:([0-9]+)", ended.stderr + ended.stdout)
        assert found is not None and ended.returncode == 3, (text, ended)
        return int(found[1]) <= text.count(b"\n")

    def refused_by_pushd(self, text: bytes) -> bool:
        read = SettingsFile("x.conf", text + LAST, Draft(), {}).read
        line = self.assertRaises(ConfigError, read).origin.removeprefix("x.conf:")
        return int(line) <= text.count(b"\n")

    def test_good_lines(self) -> None:
        """What Mosquitto reads, pushd reads."""
        for text in GOOD:
            self.assertFalse(self.refused_by_mosquitto(text), text)
            self.assertFalse(self.refused_by_pushd(text), text)

    def test_bad_lines(self) -> None:
        """What Mosquitto refuses, pushd refuses, and both with the same line."""
        for text in BAD:
            self.assertTrue(self.refused_by_mosquitto(text), text)
            self.assertTrue(self.refused_by_pushd(text), text)

    def test_lines_that_2_1_refuses(self) -> None:
        """pushd refuses them too: what they mean now is not what they meant then."""
        for text in GOOD_ONLY_IN_2_0:
            self.assertFalse(self.refused_by_mosquitto(text), text)
            self.assertTrue(self.refused_by_pushd(text), text)

    def test_lines_that_2_1_has_brought(self) -> None:
        """pushd reads them too."""
        for text in GOOD_SINCE_2_1:
            self.assertTrue(self.refused_by_mosquitto(text), text)
            self.assertFalse(self.refused_by_pushd(text), text)

    def test_order_of_included_files(self) -> None:
        """The same file's mistake is found first, whatever the letters."""
        names = ["b", "A", "a", "B", "_x", "aB", "Ab", "Aa", "1", "-"]
        folder = self.directory / "d"
        folder.mkdir()
        for name in names:
            (folder / f"{name}.conf").write_text("log_dest printer\n")
        text = f"include_dir {folder}\n".encode()
        while names:
            first = self.first_of_mosquitto(text)
            error = self.assertRaises(ConfigError, SettingsFile("x.conf", text, Draft(), {}).read)
            self.assertEqual(Path(error.origin.partition(":")[0]).stem, first)
            (folder / f"{first}.conf").unlink()
            names.remove(first)

    def first_of_mosquitto(self, text: bytes) -> str:
        """The name of the file that has the first mistake."""
        path = self.directory / "x.conf"
        path.write_bytes(text)
        command = [program("mosquitto"), "-c", str(path)]
        ended = subprocess.run(command, capture_output=True, timeout=20, check=False, text=True)
        found = re.search(r"Error found at .*/([^/]*)\.conf:1", ended.stderr + ended.stdout)
        assert found is not None, ended
        return found[1]
