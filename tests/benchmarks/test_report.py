"""Tables and verdicts that `make bench` prints."""

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.report import (
    asked_for,
    markdown,
    median_of,
    number,
    ratio_to,
    scenario_table,
    spread,
    target_table,
    verdict,
    way_table,
)
from benchmarks.scenarios import CPU_PER_MESSAGE, P50, P99, SCENARIOS, Scenario, Target


class NumberTests(SynchronousTestCase):
    """Figures between nanoseconds and millions stand in the same table."""

    def test_three_digits_count(self) -> None:
        """A small figure keeps three digits, a large one loses its decimals."""
        self.assertEqual(
            [number(v) for v in (0.05234, 6.2, 17.0, 164223.4)], ["0.0523", "6.2", "17", "164223"]
        )

    def test_zero_is_zero(self) -> None:
        """Nothing lost is shown as 0, not as 0.00."""
        self.assertEqual(number(0.0), "0")

    def test_spread_of_one_round_is_its_figure(self) -> None:
        """With one round there is nothing to spread."""
        self.assertEqual(spread([6.2]), "6.2")

    def test_spread_shows_median_least_and_most(self) -> None:
        """One slow round moves the range, not the figure."""
        self.assertEqual(spread([6.1, 9.9, 6.2]), "6.2 (6.1-9.9)")

    def test_median_leaves_out_rounds_without_the_figure(self) -> None:
        """A figure that no round has is None, one that some rounds have is their median."""
        runs = [{"a": 1.0}, {"a": 3.0}, {"b": 9.0}]
        self.assertEqual(median_of(runs, "a"), 2.0)
        self.assertIsNone(median_of(runs, "c"))

    def test_ratio_needs_two_figures(self) -> None:
        """A ratio is shown only beside a reference that is not zero."""
        self.assertEqual(ratio_to(6.2, 1.5), "x0.24")
        self.assertEqual([ratio_to(None, 1.5), ratio_to(0.0, 1.5), ratio_to(6.2, None)], ["", "", ""])


class VerdictTests(SynchronousTestCase):
    """A target is a limit, a ratio, or both."""

    def test_reaching_the_limit_is_ok(self) -> None:
        """The limit itself is still allowed."""
        self.assertEqual(verdict(Target(1.5, 0.24), 1.5, 1.0), "ok")

    def test_above_the_limit_is_missed(self) -> None:
        """Without a reference only the limit counts."""
        self.assertEqual(verdict(Target(1.5, 0.24), 1.6, None), "missed")

    def test_above_the_limit_on_a_slow_machine(self) -> None:
        """Where the reference is slow as well, the verdict says that the ratio holds."""
        self.assertEqual(verdict(Target(1.5, 0.24), 3.0, 13.0), "missed (ok beside the reference)")

    def test_above_both(self) -> None:
        """A figure that holds neither limit nor ratio is missed."""
        self.assertEqual(verdict(Target(1.5, 0.24), 3.0, 6.2), "missed")

    def test_ratio_alone(self) -> None:
        """A target without a limit is judged by the reference, and not at all without one."""
        target = Target(None, 1.6)
        self.assertEqual(
            [verdict(target, 500, 362), verdict(target, 600, 362), verdict(target, 500, None)],
            ["ok", "missed", "no reference"],
        )

    def test_a_run_that_failed(self) -> None:
        """What was not measured is neither ok nor missed."""
        self.assertEqual(verdict(Target(1.5), None, 6.2), "not measured")

    def test_target_in_words(self) -> None:
        """The table says what was asked for."""
        self.assertEqual(asked_for(Target(1.5, 1.5 / 6.2)), "≤ 1.5, ≤ x0.24")
        self.assertEqual(asked_for(Target(None, 1.6)), "≤ x1.60")
        self.assertEqual(asked_for(Target(5000, least=True)), "≥ 5000")

    def test_more_is_better(self) -> None:
        """Of a throughput it is the least that is asked for."""
        target = Target(None, 1.0, least=True)
        self.assertEqual([verdict(target, 900, 1000), verdict(target, 1000, 1000)], ["missed", "ok"])


class TableTests(SynchronousTestCase):
    """What is printed can be pasted into a README."""

    def test_markdown(self) -> None:
        """The first row is the head."""
        self.assertEqual(markdown([["a", "b"], ["1", "2"]]), "| a | b |\n| --- | --- |\n| 1 | 2 |")

    def test_scenario_table_compares_to_the_first_broker(self) -> None:
        """The reference has no ratio, the others have one per figure."""
        rounds = {"peer": [{CPU_PER_MESSAGE: 6.0}], "ours": [{CPU_PER_MESSAGE: 1.5}]}
        table = scenario_table("pair1", Scenario("one to one"), rounds)
        self.assertIn("| peer | 6 |\n| ours | 1.5 x0.25 |", table)

    def test_faults_appear_only_when_they_happened(self) -> None:
        """A column of zeros would hide the one that is not."""
        clean = {"peer": [{"lost": 0.0, "duplicates": 0.0}]}
        faulty = {"peer": [{"lost": 0.0, "duplicates": 0.0}, {"lost": 7.0, "duplicates": 0.0}]}
        self.assertIn("| broker |\n", scenario_table("x", Scenario("x"), clean))
        self.assertIn("| broker | lost |", scenario_table("x", Scenario("x"), faulty))

    def test_scenario_table_of_a_broker_without_figures(self) -> None:
        """A broker whose runs all failed keeps its row."""
        table = scenario_table("x", Scenario("x"), {"peer": [{"a": 1.0}], "ours": []})
        self.assertIn("| ours | - |", table)

    def test_target_table_judges_all_but_the_reference(self) -> None:
        """Each figure with a target is one row, with both brokers and a verdict for ours."""
        rounds = {"mosquitto": [{CPU_PER_MESSAGE: 6.0}], "pushd": [{CPU_PER_MESSAGE: 1.2}]}
        row = f"| pair1 | {CPU_PER_MESSAGE} | 6 | 1.2 | x0.20 | ≤ 1.5, ≤ x0.24 | ok |"
        self.assertIn(row, target_table({"pair1": rounds}))

    def test_target_table_of_a_single_broker(self) -> None:
        """Measured alone, a broker is judged by the limits."""
        table = target_table({"pair1": {"pushd": [{CPU_PER_MESSAGE: 1.6}]}})
        self.assertIn(f"| pair1 | {CPU_PER_MESSAGE} | 1.6 | ≤ 1.5, ≤ x0.24 | missed |", table)

    def test_target_table_of_several_judged(self) -> None:
        """With more brokers each has its own verdict."""
        rounds = {name: [{CPU_PER_MESSAGE: cpu}] for name, cpu in (("m", 6.0), ("a", 1.0), ("b", 9.0))}
        table = target_table({"pair1": rounds})
        self.assertIn("| verdict a | verdict b |", table)
        self.assertIn("| ok | missed |", table)

    def test_every_target_of_a_scenario_has_a_row(self) -> None:
        """A scenario with three targets has three rows, measured or not."""
        rows = target_table({"trickle": {"pushd": []}}).strip().splitlines()[2:]
        self.assertEqual([row.split(" | ")[1] for row in rows], [CPU_PER_MESSAGE, P50, P99])
        self.assertEqual(set(SCENARIOS["trickle"].targets), {CPU_PER_MESSAGE, P50, P99})


class WayTableTests(SynchronousTestCase):
    """What another way costs beside the plain one, of the same broker."""

    def test_each_broker_is_compared_to_itself(self) -> None:
        """Both figures and their ratio stand beside each other; only ours is judged."""
        plain = {"mosquitto": [{CPU_PER_MESSAGE: 6.0}], "pushd": [{CPU_PER_MESSAGE: 0.5}]}
        other = {"mosquitto": [{CPU_PER_MESSAGE: 9.0}], "pushd": [{CPU_PER_MESSAGE: 0.6}]}
        row = "| pair1-v5 | pair1 | 6 | 9 | x1.50 | 0.5 | 0.6 | x1.20 | ≤ x1.30 | ok |"
        self.assertIn(row, way_table({"pair1": plain, "pair1-v5": other}))

    def test_too_dear(self) -> None:
        """More than was asked for is missed, however little it is beside the reference's."""
        results = {
            "pair1": {"mosquitto": [{CPU_PER_MESSAGE: 6.0}], "pushd": [{CPU_PER_MESSAGE: 0.2}]},
            "pair1-ws": {"mosquitto": [{CPU_PER_MESSAGE: 6.0}], "pushd": [{CPU_PER_MESSAGE: 0.6}]},
        }
        self.assertIn("x3.00 | ≤ x2.50 | missed |", way_table(results))

    def test_nothing_asked_for(self) -> None:
        """Then there is no verdict."""
        runs = {"pushd": [{CPU_PER_MESSAGE: 4.0}]}
        self.assertIn("| 4 | 4 | x1.00 |  |  |", way_table({"qos1": runs, "qos1-v5": runs}))

    def test_the_plain_one_was_not_run(self) -> None:
        """Its figure is missing, and so is a verdict."""
        table = way_table({"pair1-v5": {"pushd": [{CPU_PER_MESSAGE: 0.6}]}})
        self.assertIn("| pair1-v5 | pair1 | - | 0.6 |  | ≤ x1.30 | no reference |", table)
