"""The command: which attacks, and what is printed."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.brokers import BenchmarkError
from benchmarks.overload.__main__ import attack_table, chosen_attacks, summary_table
from benchmarks.overload.attack import ATTACKS
from benchmarks.overload.ordeal import GROWTH, MOST, P99, Phase, settings_text
from benchmarks.overload.peer import address


def noticed(p99_ms: float, name: str = "", **more: float) -> Phase:
    """What the pair noticed of one part of an attack."""
    return Phase(name, {P99: p99_ms, MOST: 2 * p99_ms, GROWTH: 1.5, **more})


class AttackChoiceTests(SynchronousTestCase):
    """``--attack``"""

    def test_all_by_default(self) -> None:
        """Without the option all are carried out, and each says what it is."""
        self.assertEqual(chosen_attacks(None), list(ATTACKS))
        self.assertTrue(all(attack.title.endswith(".") for attack in ATTACKS.values()))

    def test_unknown_name(self) -> None:
        """A name that is not known is refused with those that are."""
        error = self.assertRaises(BenchmarkError, chosen_attacks, "silent,loud")
        self.assertIn("--attack loud: not one of nobody, silent", str(error))

    def test_attackers_have_many_addresses(self) -> None:
        """None is that of the well-behaved, 127.0.0.77."""
        addresses = [address(number) for number in range(62_500)]
        self.assertEqual(len(set(addresses)), 62_500)
        self.assertTrue(all(one.startswith("127.1.") for one in addresses))


class TableTests(SynchronousTestCase):
    """What is printed can be pasted into a README."""

    def test_parts_of_an_attack_have_rows(self) -> None:
        """The last part has what became of it."""
        table = attack_table("retained", {"pushd": [noticed(1, "publish"), noticed(2, "read", read=7)]})
        self.assertIn("| pushd, publish | 1 | 2 | 1.5 |  |\n| pushd, read | 2 | 4 | 1.5 | 7 |", table)

    def test_summary(self) -> None:
        """Brokers stand beside each other; the verdict is on pushd's p99."""
        table = summary_table(
            {"silent": {"mosquitto": [noticed(300)], "pushd": [noticed(99)]}}, ["mosquitto", "pushd"]
        )
        self.assertIn("| silent | 300 | 600 | 1.5 | 99 | 198 | 1.5 | p99 ms ≤ 100 | ok |", table)

    def test_summary_of_what_only_one_can(self) -> None:
        """An attack that a broker was spared, or did not survive, has no figures."""
        table = summary_table({"guess-argon2id": {"pushd": [noticed(101)]}}, ["mosquitto", "pushd"])
        self.assertIn("| - | - | - | 101 | 202 | 1.5 | p99 ms ≤ 100 | missed |", table)


class SettingsTests(SynchronousTestCase):
    """What a broker is attacked with."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def test_all_doors(self) -> None:
        """Each kind of attacker finds the door it wants."""
        text = settings_text(self.folder, ATTACKS["silent"], True, None)
        for door in ("load", "tls", "websocket", "gateway"):
            self.assertIn(f"listener {{{door}}} 127.0.0.1", text)

    def test_what_mosquitto_has_not(self) -> None:
        """It would not start with an option that it does not know."""
        text = settings_text(self.folder, ATTACKS["silent"], False, None)
        self.assertNotIn("http", text)
        self.assertNotIn("connect_timeout", text)

    def test_passwords(self) -> None:
        """The users that are guessed at exist."""
        text = settings_text(self.folder, ATTACKS["guess-argon2id"], True, None)
        path = Path(next(line for line in text.splitlines() if line.startswith("password_file ")).split()[1])
        self.assertIn("user-49:$argon2id$", path.read_text())
