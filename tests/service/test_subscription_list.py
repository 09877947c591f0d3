"""`pushd.service.subscription_list`: who has subscribed to what, within bounds."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pushd.service import subscription_list
from pushd.service.subscription_list import MAX_CLIENTS, subscription_lines
from tests.driver import Rig


class LinesTests(SynchronousTestCase):
    """What the log gets"""

    def setUp(self) -> None:
        self.rig = Rig()

    def lines(self) -> list[str]:
        return list(subscription_lines(self.rig.broker.sessions.values()))

    def subscribe(self, client_id: str, *filters: str, qos: int = 0) -> None:
        self.rig.connect(client_id).subscribe(*filters, qos=qos)

    def test_nobody(self) -> None:
        """Nothing to tell."""
        self.rig.connect("ada")
        self.assertEqual([], self.lines())

    def test_in_the_order_of_the_tree(self) -> None:
        """Each filter once, below its parent, and everybody behind it; shared ones by their full name."""
        self.subscribe("ada", "a/b", "a", "$share/g/c", qos=2)
        self.subscribe("bob", "a/b", "a-b", qos=1)
        self.assertEqual(
            ["  $share/g/c: ada (2)", "  a: ada (2)", "  a/b: ada (2), bob (1)", "  a-b: bob (1)"],
            self.lines(),
        )

    def test_many_clients(self) -> None:
        """The first few are named."""
        for number in range(MAX_CLIENTS + 3):
            self.subscribe(f"c{number}", "t")
        (line,) = self.lines()
        self.assertTrue(line.endswith("c4 (0) and 3 more"), line)

    def test_many_filters(self) -> None:
        """There is an end to it; what is left out is counted."""
        self.patch(subscription_list, "MAX_FILTERS", 3)
        self.patch(subscription_list, "MAX_LOOKED_AT", 6)
        self.subscribe("ada", *(f"t/{number}" for number in range(10)))
        self.assertEqual(["  and 7 subscriptions more"], self.lines()[3:])
