"""`pushd.ctl.account_file`: users that are imported from files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.password_hash import make_pbkdf2, parse_account_hash
from pushd.auth.security_file import SecurityFileError
from pushd.ctl.account_file import Entry, read_entries

HASH = str(make_pbkdf2(b"secret", 1))
MD5 = hashlib.md5(b"secretpepper").hexdigest()


class FileTestCase(SynchronousTestCase):
    def read(self, text: str, is_csv: bool = True) -> list[Entry]:
        path = Path(self.mktemp())
        path.write_text(text, "utf-8", "surrogateescape", newline="")
        self.path = str(path)
        return read_entries(self.path, is_csv)

    def refuse(self, text: str, message: str, is_csv: bool = True) -> None:
        error = self.assertRaises(SecurityFileError, self.read, text, is_csv)
        self.assertEqual(str(error), f"{self.path}:{message}")


class CsvTests(FileTestCase):
    def test_passwords(self) -> None:
        """In plain text, with whatever is in them."""
        for title in ("", "user,password\r\n", "\ufeffUser,Password\n", "\n"):
            anna, bert = self.read(f'{title}anna,secret\r\n"b""e,rt", a b ')
            self.assertEqual((anna.username, anna.password, anna.password_hash), ("anna", b"secret", None))
            self.assertEqual((bert.username, bert.password), ('b"e,rt', b" a b "))

    def test_legacy_hashes(self) -> None:
        """Of the password, then the salt."""
        [anna] = self.read(f"user,hash,salt\nanna,{MD5.upper()},pepper\n")
        assert anna.password_hash is not None
        self.assertTrue(parse_account_hash(anna.password_hash).verify(b"secret"))
        self.assertEqual(anna.origin, f"{self.path}:2")

    def test_damage(self) -> None:
        """Says where and why, and never repeats a password."""
        expected = "expected user,password or user,hash,salt"
        self.refuse("anna,secret\nbert", f"2: {expected}")
        self.refuse("anna,secret,a,b", f"1: {expected}")
        self.refuse("anna,secret,salt", "1: an MD5 digest that is not 32 hexadecimal digits")
        self.refuse("anna,", "1: the password is empty")
        self.refuse("\n,secret", "2: the user name is empty")
        self.refuse("a\x1b[2J,secret", "1: the user name must not contain control characters")
        self.refuse("\udcff,secret", "1: the user name is not UTF-8")
        self.refuse("anna," + "x" * 65_536, "1: the password is longer than 65535 bytes")
        self.refuse('anna,"x" y', "1: ',' expected after '\"'")

    def test_twice(self) -> None:
        """Which of two passwords holds is not left to chance."""
        error = self.assertRaises(SecurityFileError, self.read, "anna,a\nbert,b\nanna,c\n")
        self.assertEqual(str(error), f"{self.path}:3: 'anna' stands in {self.path}:1 already")

    @given(
        st.lists(st.sampled_from(["anna", ",", '"', "\n", "\r", "\0", MD5, "é", "\udcff", "user,password"]))
    )
    def test_any_text_is_users_or_an_error(self, parts: list[str]) -> None:
        """No text raises anything but `SecurityFileError`."""
        try:
            entries = self.read("".join(parts))
        except SecurityFileError:
            return
        self.assertNotIn("", {entry.username for entry in entries})


class PasswordFileTests(FileTestCase):
    def test_hashes_are_kept(self) -> None:
        """Nobody needs to know the passwords."""
        entries = self.read(f"# users\n anna : {HASH}\nno user\ngröße:{HASH}:more\n", is_csv=False)
        names = [(entry.username, entry.password_hash) for entry in entries]
        self.assertEqual(names, [("anna", HASH), ("größe", HASH)])
        self.assertEqual(entries[1].origin, f"{self.path}:4")

    def test_damage(self) -> None:
        """As at a start of the server."""
        kinds = "not a $6$, $7$, $argon2id$ or $scram-sha-256$ hash"
        self.refuse(f"anna:{HASH}\nbert:secret", f"2: password of 'bert': {kinds}", is_csv=False)
        self.refuse(f"a\x07:{HASH}", "1: the user name must not contain control characters", is_csv=False)

    def test_no_such_file(self) -> None:
        """Is named."""
        error = self.assertRaises(SecurityFileError, read_entries, "/nowhere/users", False)
        self.assertEqual(str(error), "/nowhere/users: No such file or directory")
