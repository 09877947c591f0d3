"""`pushd.gateway.unified_push.vapid`: who may push to an endpoint that is bound to a key (RFC 8292)."""

from __future__ import annotations

import base64
import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pushd.gateway.http.problems import Refusal
from pushd.gateway.unified_push.vapid import CLOCK_SKEW_S, MAX_AGE_S, InvalidKey, check_sender, normal_key
from tests.gateway.senders import ES256, Sender, encoded

NOW = 1_700_000_000.5
HERE = "https://push.example.com"
SENDER, STRANGER = Sender(), Sender()


class KeyTests(SynchronousTestCase):
    """RFC 8292 §3.2"""

    def test_padding_does_not_matter(self) -> None:
        """Some libraries pad base64 and some do not: the key is the same."""
        self.assertEqual(normal_key(SENDER.key + "="), SENDER.key)

    def test_no_point(self) -> None:
        """What is too short, compressed, not on the curve or no base64 is no key."""
        point = base64.urlsafe_b64decode(SENDER.key + "=")
        off_curve = point[:-1] + bytes([point[-1] ^ 1])
        for data in (
            b"",
            point[:-1],
            b"\x02" + point[1:33],
            b"\x06" + point[1:],
            off_curve,
            b"\4" + b"\0" * 64,
        ):
            self.assertRaises(InvalidKey, normal_key, encoded(data))
        for text in (
            SENDER.key[:-1] + "+",
            SENDER.key + "\n",
            SENDER.key.replace("B", " ", 1),
            "\ud800",
            "ä",
        ):
            self.assertRaises(InvalidKey, normal_key, text)

    @given(st.text(max_size=100) | st.binary(min_size=60, max_size=70).map(encoded))
    def test_any_text(self, text: str) -> None:
        """Whatever is registered is a key or is refused, and nothing else goes wrong."""
        with contextlib.suppress(InvalidKey):
            normal_key(text)


class CheckCase(SynchronousTestCase):
    """An endpoint bound to the key of `SENDER`."""

    def check(self, authorization: str | bytes) -> None:
        data = authorization if isinstance(authorization, bytes) else authorization.encode("latin-1")
        check_sender(data, SENDER.key, {HERE}, NOW)

    def assert_refused(self, authorization: str | bytes, code: int = 40300) -> None:
        refusal = self.assertRaises(Refusal, self.check, authorization)
        self.assertEqual(refusal.problem.code, code, authorization)

    def with_claims(self, **claims: Any) -> str:
        said = {"aud": HERE, "exp": NOW + 3600, **claims}
        token = SENDER.token({name: value for name, value in said.items() if value is not None})
        return f"vapid t={token}, k={SENDER.key}"


class AuthorizationTests(CheckCase):
    """RFC 8292 §3"""

    def test_as_in_the_standard(self) -> None:
        """A token for here that is good for an hour lets its sender push."""
        self.check(SENDER.authorization(HERE, NOW + 3600))

    def test_spellings(self) -> None:
        """The scheme in capitals, the parameters quoted, in another order, and without a space."""
        token = SENDER.token({"aud": HERE, "exp": NOW + 60})
        self.check(f"Vapid k={SENDER.key},t={token}")
        self.check(f'VAPID  t="{token}" , k="{SENDER.key}"')

    def test_nothing_shown(self) -> None:
        """Without VAPID the answer is 401, and names what is wanted."""
        for authorization in ("", "Basic YWRhOnNlY3JldA==", "WebPush eyJ0eXAi", "vapidt=x"):
            self.assert_refused(authorization, 40100)
        refusal = self.assertRaises(Refusal, self.check, "")
        self.assertEqual(refusal.headers, b"WWW-Authenticate: vapid\r\n")

    def test_parameters_that_are_none(self) -> None:
        """A key or a token that is missing or there twice, or other bytes than base64 has, is refused."""
        good = SENDER.authorization(HERE, NOW + 60)
        _, token, key = good.replace(",", "").split()
        for credentials in (
            "",
            token,
            key,
            f"{token}, {key}, {key}",
            f"{token} {key}",
            f"{token}, {key}\xff",
        ):
            self.assert_refused(f"vapid {credentials}")
        self.assert_refused(f"vapid {token}, {key}, x={'y' * 5000}")


class KeyBindingTests(CheckCase):
    """RFC 8292 §4.2"""

    def test_another_key(self) -> None:
        """A valid token of somebody else does not count, whichever key is shown with it."""
        token = STRANGER.token({"aud": HERE, "exp": NOW + 60})
        self.assert_refused(f"vapid t={token}, k={STRANGER.key}")
        self.assert_refused(f"vapid t={token}, k={SENDER.key}")

    def test_other_algorithms(self) -> None:
        """A token does not choose how it is checked: none, HMAC with the public key, or nothing."""
        headers: list[Any] = [
            {**ES256, "alg": "none"},
            {**ES256, "alg": "HS256"},
            {"typ": "JWT"},
            [],
            None,
            "ES256",
        ]
        for header in headers:
            token = SENDER.token({"aud": HERE, "exp": NOW + 60}, header)
            self.assert_refused(f"vapid t={token}, k={SENDER.key}")

    def test_signature(self) -> None:
        """One that is missing, too short, of zeros, as DER, or of other claims is none."""
        token = SENDER.token({"aud": HERE, "exp": NOW + 60})
        signed, _, signature = token.rpartition(".")
        other = SENDER.token({"aud": HERE, "exp": NOW + 61}).rpartition(".")[2]
        for wrong in ("", signature[:-2], encoded(bytes(64)), encoded(b"0" * 70), other):
            self.assert_refused(f"vapid t={signed}.{wrong}, k={SENDER.key}")
        self.assert_refused(f"vapid t={signed}, k={SENDER.key}")

    def test_signed_nonsense(self) -> None:
        """What is signed but is no JSON object, too deep for one, or no base64, is refused and no more."""
        head = encoded(b'{"alg":"ES256"}')
        for body in ("", encoded(b"7"), encoded(b"[" * 3000), encoded(b"\xff"), "a"):
            self.assert_refused(f"vapid t={SENDER.sign(f'{head}.{body}')}, k={SENDER.key}")
        self.assert_refused(f"vapid t={SENDER.sign('a.b.c')}, k={SENDER.key}")


class ClaimTests(CheckCase):
    """RFC 8292 §2"""

    def test_audience(self) -> None:
        """It is our origin, perhaps with a slash, or a list that has it; not another's or an address here."""
        for audience in (HERE, HERE + "/", HERE.upper(), [HERE], ["https://a.example", HERE]):
            self.check(self.with_claims(aud=audience))
        others: list[Any] = [
            "",
            "https://evil.example",
            HERE + "/v1/up/x",
            HERE + ":444",
            None,
            7,
            [],
            [7],
            {},
        ]
        for audience in others:
            self.assert_refused(self.with_claims(aud=audience))

    def test_expiry(self) -> None:
        """In the future, and at most a day ahead; a minute more is for clocks that differ."""
        for expiry in (NOW + 1, NOW + MAX_AGE_S, NOW + MAX_AGE_S + CLOCK_SKEW_S, int(NOW) + 100):
            self.check(self.with_claims(exp=expiry))
        late = NOW + MAX_AGE_S + CLOCK_SKEW_S + 1
        wrong: list[Any] = [
            None,
            NOW,
            NOW - 1,
            late,
            0,
            -1,
            10**400,
            str(NOW + 60),
            True,
            [],
            float("inf"),
            float("nan"),
        ]
        for expiry in wrong:
            self.assert_refused(self.with_claims(exp=expiry))

    @given(
        st.dictionaries(
            st.sampled_from(["aud", "exp", "sub"]), st.none() | st.integers() | st.text() | st.floats()
        )
    )
    def test_any_claims(self, claims: dict[str, Any]) -> None:
        """Whatever is signed, a token that is not for here and now lets nobody in."""
        self.assert_refused(f"vapid t={SENDER.token(claims)}, k={SENDER.key}")

    @given(st.binary(max_size=300))
    def test_any_bytes(self, data: bytes) -> None:
        """Whatever a header says, it is refused as one that has VAPID or as one that has not."""
        for scheme in (b"", b"vapid "):
            refusal = self.assertRaises(Refusal, self.check, scheme + data)
            self.assertIn(refusal.problem.code, (40100, 40300))
