"""What is made of the latencies."""

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.overload.pair import percentile


class PercentileTests(SynchronousTestCase):
    """The value that a part of all does not exceed."""

    def test_of_a_hundred(self) -> None:
        """Half of them, all but one, all."""
        values = [float(number) for number in range(1, 101)]
        self.assertEqual([percentile(values, part) for part in (0.5, 0.99, 1.0)], [50, 99, 100])

    def test_of_few(self) -> None:
        """The 99th percentile of a few is the worst of them."""
        self.assertEqual(percentile([1.0, 2.0, 9.0], 0.99), 9.0)

    def test_of_none(self) -> None:
        """A phase too short for a message has no latency."""
        self.assertEqual(percentile([], 0.5), 0.0)
