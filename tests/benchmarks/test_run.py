"""The command: what is run, from its arguments."""

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.brokers import BenchmarkError
from benchmarks.run import chosen_scenarios, load_arguments, one_line
from benchmarks.scenarios import SCENARIOS, Scenario


class ScenarioChoiceTests(SynchronousTestCase):
    """``--scenario``"""

    def test_all_by_default(self) -> None:
        """Without the option every scenario runs."""
        self.assertEqual(chosen_scenarios(None), SCENARIOS)

    def test_names_in_the_order_given(self) -> None:
        """Names are separated by commas."""
        self.assertEqual(list(chosen_scenarios("qos1,pair1")), ["qos1", "pair1"])

    def test_unknown_name(self) -> None:
        """A name that is not known is refused with those that are."""
        error = self.assertRaises(BenchmarkError, chosen_scenarios, "pair1,pear")
        self.assertIn("--scenario pear: not one of pair1, pair1-v5", str(error))


class LoadArgumentTests(SynchronousTestCase):
    """How the load program is called."""

    def test_a_stream_lasts_as_long_as_asked(self) -> None:
        """--seconds goes to the load program."""
        self.assertEqual(
            load_arguments(Scenario("x", "stream --qos 1"), 4.0), ["stream", "--qos", "1", "--seconds", "4.0"]
        )

    def test_a_count_takes_its_time(self) -> None:
        """A scenario that counts connections or messages is not cut short."""
        self.assertEqual(
            load_arguments(Scenario("x", "push --messages 3", timed=False), 4.0), ["push", "--messages", "3"]
        )

    def test_websocket(self) -> None:
        """A scenario over WebSocket has the load program speak it."""
        self.assertEqual(
            load_arguments(Scenario("x", "push", timed=False, websocket=True), 4.0), ["push", "--websocket"]
        )


class ProgressTests(SynchronousTestCase):
    """What is said after each run."""

    def test_only_faults_that_happened(self) -> None:
        """A zero is worth saying of a figure, not of a fault."""
        self.assertEqual(one_line({"busy %": 0.0, "lost": 0.0, "failed": 2.0}), "busy % 0, failed 2")
