"""Where Redis is."""

from __future__ import annotations

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.config.errors import BadValue
from pushd.config.kinds import RedisUrl
from pushd.redis.errors import BadUrl
from pushd.redis.url import Address, parse_url


class UrlTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """All that other clients of Redis understand."""
        for url, address in (
            ("redis://localhost", Address("localhost")),
            ("redis://localhost/", Address("localhost")),
            ("redis://:s%40crecy@10.0.0.7:6380/15", Address("10.0.0.7", 6380, password="s@crecy", db=15)),
            ("redis://pushd:a%2Fb@[::1]", Address("::1", username="pushd", password="a/b")),
            ("rediss://redis.example.com", Address("redis.example.com", tls=True)),
            (
                "rediss://host/1?ssl_ca_certs=/etc/ca.pem",
                Address("host", tls=True, db=1, ca_file="/etc/ca.pem"),
            ),
            ("unix:///run/redis.sock", Address(path="/run/redis.sock")),
            ("unix://u:p@/run/a%20b?db=3", Address(path="/run/a b", username="u", password="p", db=3)),
        ):
            self.assertEqual(parse_url(url), address, url)

    def test_what_is_none(self) -> None:
        """Each is refused, and nothing of it is repeated: it may be a password."""
        for url in (
            "",
            "sesame",
            "sesame://host",
            "redis://",
            "redis://host:sesame",
            "redis://host:0",
            "redis://host:70000",
            "redis://host/sesame",
            "redis://host/²",
            "redis://[sesame",
            "redis://host#sesame",
            "redis://host?sesame=1",
            "unix://sesame",
            "unix:///run/redis.sock?db=sesame",
        ):
            problem = self.assertRaises(BadUrl, parse_url, url)
            self.assertNotIn("sesame", str(problem))

    def test_shown_without_the_password(self) -> None:
        """In the log stands where it is, and not how to get in."""
        address = parse_url("redis://pushd:sesame@[::1]:6380/2")
        self.assertEqual(str(address), "[::1]:6380")
        self.assertNotIn("sesame", repr(address))
        self.assertEqual(str(parse_url("unix://:sesame@/run/redis.sock")), "/run/redis.sock")

    @given(st.text())
    def test_any_password(self, password: str) -> None:
        """What is quoted as URLs have it arrives as it was."""
        quoted = quote(password, safe="", errors="replace")
        expected = password.encode("utf-8", "replace").decode("utf-8")
        self.assertEqual(parse_url(f"redis://:{quoted}@host").password, expected)

    @given(st.text(alphabet="redisunx:/@[]?#=.%1ab_\u00e9 ") | st.text())
    def test_anything(self, rest: str) -> None:
        """It is understood or refused; and what the settings accept is understood."""
        for url in (rest, f"redis://{rest}", f"rediss://{rest}", f"unix://{rest}"):
            try:
                RedisUrl().read(url)
            except BadValue:
                try:
                    parse_url(url)
                except BadUrl:
                    continue
            else:
                parse_url(url.strip(" \t\r\n\v\f"))
