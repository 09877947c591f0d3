"""`pushd.auth.password_hash`: the formats, by vectors of Mosquitto's tool and RFC 7677, and damaged ones."""

from __future__ import annotations

import contextlib
import hashlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.auth.password_hash import (
    InvalidHash,
    Pbkdf2Hash,
    make_argon2id,
    make_pbkdf2,
    make_scram,
    make_sha512,
    parse_account_hash,
    parse_hash,
)

# (password, hash): the first three from mosquitto_passwd 2.0.11, two in the form that 2.1 writes; the
# last from the example of RFC 7677 §3, whose proofs test_scram.py checks.
VECTORS = [
    (
        "secret",
        "$6$WNlaB2y/QSDfJfoz$q1uVTtYH7tgvA6iu+qJvA+p/JX2hoF6fDhrekSW+2hzLO7E0xM7oWZkIaOYUUDG90mbyv8CggU8hsViqCquCGQ==",
    ),
    (
        "secret",
        "$7$101$DmVVbRFOCoLMcrMa$dzv1hMxF94f1uHwd++hgmCG4ZsiwDRtPStnI82fqQzk8tRdc7ciKaMRr3Aam4+Yda03nCzQQpoc/voLSaG5VkQ==",
    ),
    (
        "pässwörd €",
        "$7$101$4cL+TkkcRb/IPxJX$osbIw8jVyd9ozB7I8yz4vVhLHG3RR78N3FO1xKI7J3jM2tofn3GM/MEs/1qIzWmEP2z3l+rrkFPM3EPYWUOmhg==",
    ),
    (
        "secret",
        "$7$1000$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==$"
        "j5aX3DstWRgO5cjjfvKvsf7Z/KK812T4wGDMih+DCHQg8P7++fmj4sZcMp1smkEafZL0QZ29tE5ezahL/nyffw==",
    ),
    (
        "secret",
        "$argon2id$v=19$m=47104,t=1,p=1$"
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw$"
        "jN8KVtBuy9rOg+xx4HEO7K//Ei2hf4aegEDgCD4okj4rugUys2dVUsAyHcBFDFrGlWl198NIEs4dtHiTXPgqvA",
    ),
    (
        "pencil",
        "$scram-sha-256$4096$W22ZaJ0SNY7soEsUEjb6gQ==$"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=$wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    ),
]

DIGEST = "dzv1hMxF94f1uHwd++hgmCG4ZsiwDRtPStnI82fqQzk8tRdc7ciKaMRr3Aam4+Yda03nCzQQpoc/voLSaG5VkQ=="
KEY = "A" * 43 + "="
ARGON2 = "$c2FsdHNhbHQ$" + "A" * 43

MALFORMED = [
    "",
    "secret",
    "$",
    "$1$salt$digest",
    f"$5$c2FsdA==${DIGEST}",
    f"x$6$c2FsdA==${DIGEST}",
    "$6$c2FsdA==",
    "$6$c2FsdA==$c2hvcnQ=",  # the digest is short
    f"$6$${DIGEST}",  # no salt
    f"$6$c2FsdA${DIGEST}",  # padding is missing
    f"$6$c2FsdB==${DIGEST}",  # bits that belong to no byte
    f"$6$c2FsdA==x${DIGEST}",
    f"$6$c2F dA==${DIGEST}",
    f"$6$c2FsdA==${DIGEST}\n",
    f"$6$c2FsdA==${DIGEST}$",
    f"$6$sält${DIGEST}",
    f"$7$c2FsdA==${DIGEST}",  # no iterations
    f"$7$0$c2FsdA==${DIGEST}",
    f"$7$-1$c2FsdA==${DIGEST}",
    f"$7$+5$c2FsdA==${DIGEST}",
    f"$7$007$c2FsdA==${DIGEST}",
    f"$7$1_000$c2FsdA==${DIGEST}",
    f"$7$\u0661$c2FsdA==${DIGEST}",
    f"$7$10000001$c2FsdA==${DIGEST}",  # would take a thread for ever
    f"$7${'9' * 5000}$c2FsdA==${DIGEST}",
    f"$argon2i$v=19$m=47104,t=1,p=1{ARGON2}",
    f"$argon2id$v=16$m=47104,t=1,p=1{ARGON2}",
    f"$argon2id$m=47104,t=1,p=1{ARGON2}",
    f"$argon2id$v=19$m=47104,p=1,t=1{ARGON2}",
    f"$argon2id$v=19$m=47104,t=1{ARGON2}",
    f"$argon2id$v=19$m=4294967295,t=1,p=1{ARGON2}",  # 4 TiB
    f"$argon2id$v=19$m=47104,t=0,p=1{ARGON2}",
    f"$argon2id$v=19$m=8,t=1,p=2{ARGON2}",
    f"$argon2id$v=19$m=47104,t=1,p=1$c2FsdA{ARGON2[12:]}",  # the salt is short
    f"$argon2id$v=19$m=47104,t=1,p=1$c2FsdHNhbHQ=${'A' * 43}",
    "$argon2id$v=19$m=47104,t=1,p=1$c2FsdHNhbHQ$AAAA",
    f"$scram-sha-256$4096$c2FsdA==${KEY}",  # no ServerKey
    f"$scram-sha-256$4096$c2FsdA==${KEY}$c2FsdA==",  # a short one
    f"$scram-sha-256$0$c2FsdA==${KEY}${KEY}",
    f"$scram-sha-256$4096$${KEY}${KEY}",
    f"$scram-sha-256$4096$c2FsdA==${KEY}${KEY}$",
    f"$SCRAM-SHA-256$4096$c2FsdA==${KEY}${KEY}",
    f"SCRAM-SHA-256$4096:c2FsdA==${KEY}:{KEY}",  # as PostgreSQL writes it
]


class VectorTests(SynchronousTestCase):
    """Hashes that exist in people's files."""

    def test_right_password_matches(self) -> None:
        """Everybody who could log in with Mosquitto can log in here."""
        for password, encoded in VECTORS:
            self.assertTrue(parse_hash(encoded).verify(password.encode()), encoded)

    def test_wrong_password_does_not_match(self) -> None:
        """One bit of case, a missing or an additional character is a wrong password."""
        for password, encoded in VECTORS:
            for wrong in (password.upper(), password[:-1], password + "x", ""):
                self.assertFalse(parse_hash(encoded).verify(wrong.encode()), encoded)

    def test_text_of_a_hash_is_what_was_read(self) -> None:
        """Writing a hash again does not change it."""
        for _, encoded in VECTORS:
            self.assertEqual(str(parse_hash(encoded)), encoded)


class ParseHashTests(SynchronousTestCase):
    """A damaged hash is an error at start, not a user who cannot log in."""

    def test_malformed_hash_is_refused(self) -> None:
        """None of these is taken for a hash, and none of the messages repeats it into a log."""
        for encoded in MALFORMED:
            error = self.assertRaises(InvalidHash, parse_hash, encoded)
            self.assertNotIn("c2Fs", str(error))

    def test_salt_may_have_any_length(self) -> None:
        """12 bytes, 64, or what another tool has written."""
        for salt in ("AA==", "A" * 16, "A" * 400):
            self.assertIsInstance(parse_hash(f"$7$1${salt}${DIGEST}"), Pbkdf2Hash)

    @given(st.text(alphabet="$67argon2id=,vmtpscram-sha-256+/Aé \n\0", max_size=200) | st.text())
    def test_any_text_is_a_hash_or_an_error(self, text: str) -> None:
        """No text raises anything but `InvalidHash`."""
        try:
            parsed = parse_hash(text)
        except InvalidHash:
            return
        self.assertEqual(str(parsed), text)


class MakeTests(SynchronousTestCase):
    """New hashes."""

    def test_new_hash_can_be_read_and_matches(self) -> None:
        """What is made is what is read."""
        for made in (make_sha512(b"p"), make_pbkdf2(b"p", 3), make_argon2id(b"p"), make_scram(b"p", 3)):
            again = parse_hash(str(made))
            self.assertEqual(again, made)
            self.assertTrue(again.verify(b"p"))
            self.assertFalse(again.verify(b"q"))

    def test_two_hashes_of_one_password_differ(self) -> None:
        """Each has a salt of its own: equal passwords do not show in a file."""
        self.assertNotEqual(make_pbkdf2(b"p", 1), make_pbkdf2(b"p", 1))
        self.assertNotEqual(make_sha512(b"p"), make_sha512(b"p"))

    def test_salt_is_what_older_brokers_take(self) -> None:
        """Mosquitto 2.0 refuses a salt that is not of 12 bytes."""
        self.assertEqual(len(make_pbkdf2(b"p", 1).salt), 12)
        self.assertEqual(len(make_sha512(b"p").salt), 12)

    def test_scram_hash_is_of_the_prepared_password(self) -> None:
        """However a keyboard composes an umlaut, SCRAM's clients and those that send it are let in."""
        made = make_scram("pässwörd".encode(), 1)
        self.assertTrue(made.verify("pa\u0308sswo\u0308rd".encode()))
        self.assertFalse(made.verify(b"p\xe4ssword"))
        self.assertFalse(made.verify(b"\a"))

    def test_password_that_scram_cannot_use_is_refused(self) -> None:
        """It is an error when the hash is made, not when somebody wants to log in."""
        for password in (b"\xff", b"tab\t", b""):
            self.assertRaises(ValueError, make_scram, password, 1)

    @given(st.binary(max_size=100))
    def test_any_bytes_are_a_password(self, password: bytes) -> None:
        """Passwords are bytes, not text."""
        self.assertTrue(parse_hash(str(make_pbkdf2(password, 1))).verify(password))
        self.assertTrue(parse_hash(str(make_sha512(password))).verify(password))


class LegacyTests(SynchronousTestCase):
    """``$md5$``, in accounts only."""

    def test_password_then_salt(self) -> None:
        """As the system wrote it that accounts come from."""
        for salt in ("pepper", "", "$", "a$b$", "größe", ":"):
            digest = hashlib.md5(f"secret{salt}".encode()).hexdigest()
            for spelt in (digest, digest.upper()):
                stored = parse_account_hash(f"$md5${salt}${spelt}")
                self.assertTrue(stored.verify(b"secret"), salt)
                self.assertFalse(stored.verify(b"Secret"), salt)
                self.assertEqual(str(stored), f"$md5${salt}${digest}")

    def test_damage(self) -> None:
        """What is no MD5 is none."""
        digest = "0" * 32
        for text in (
            "$md5$",
            f"$md5${digest}0$",
            f"$md5$s${digest}0",
            f"$md5$s${digest[1:]}g",
            f"md5$s${digest}",
        ):
            self.assertRaises(InvalidHash, parse_account_hash, text)
        self.assertRaises(InvalidHash, parse_account_hash, f"$md5$\ud800${digest}")

    def test_no_hash_of_a_password_file(self) -> None:
        """Nobody writes new ones."""
        self.assertRaises(InvalidHash, parse_hash, f"$md5$s${'0' * 32}")

    def test_all_others(self) -> None:
        """An account may have any of them."""
        for made in (make_pbkdf2(b"x", 1), make_argon2id(b"x"), make_scram(b"x", 1)):
            self.assertEqual(parse_account_hash(str(made)), made)

    @given(st.text())
    def test_any_text_is_a_hash_or_an_error(self, text: str) -> None:
        """And nothing else is raised."""
        for shown in (text, f"$md5${text}", f"$md5${text}${'a' * 32}"):
            with contextlib.suppress(InvalidHash):
                self.assertFalse(parse_account_hash(shown).verify(b"x"))
