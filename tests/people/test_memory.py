"""The reference."""

from __future__ import annotations

from pushd.people.interfaces import IPeople
from pushd.people.memory import Known, MemoryPeople
from tests.people.contract import PeopleContract


class MemoryPeopleTests(PeopleContract):
    """Several of them share what they know, as processes share a file."""

    def setUp(self) -> None:
        self.start_over()
        super().setUp()

    def make(self) -> IPeople:
        people = MemoryPeople(self.known)
        people.open()
        return people

    def start_over(self) -> None:
        self.known = Known()


del PeopleContract  # the tests of it alone are none
