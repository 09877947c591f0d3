"""Tokens, and what is kept of them."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from pushd.people.tokens import hash_of, id_of, new_token


class TokenTests(SynchronousTestCase):
    def test_what_it_looks_like(self) -> None:
        """As ntfy's clients expect it, and each time another."""
        tokens = {new_token() for _ in range(100)}
        self.assertEqual(len(tokens), 100)
        for token in tokens:
            self.assertIsNotNone(re.fullmatch("tk_[a-z0-9]{29}", token))

    def test_hash(self) -> None:
        """SHA-256, in hexadecimal digits."""
        expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        self.assertEqual(hash_of("abc"), expected)

    def test_hash_of_what_is_no_text(self) -> None:
        """Whatever somebody sends as a token has a hash, which nothing else has."""
        self.assertNotEqual(hash_of("\udc80"), hash_of("?"))

    def test_id(self) -> None:
        """The same for the same token, and nothing of the token itself."""
        token = new_token()
        self.assertTrue(hash_of(token).startswith(id_of(hash_of(token))))
        self.assertNotIn(id_of(hash_of(token)), token)
