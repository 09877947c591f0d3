"""Temporary files of the tests go to the system's place for them, not beside the sources."""

from __future__ import annotations

import os
import tempfile

import pytest
from twisted.trial.unittest import SynchronousTestCase

SCRATCH = tempfile.TemporaryDirectory(prefix="pushd-tests-")


def pytest_configure(config: pytest.Config) -> None:
    """trial's own `mktemp` makes a folder for each test in the current one, where trial would clean up."""

    def mktemp(case: SynchronousTestCase) -> str:
        return os.path.join(tempfile.mkdtemp(dir=SCRATCH.name), "temp")

    SynchronousTestCase.mktemp = mktemp  # type: ignore[method-assign]  # the point of it


def pytest_unconfigure(config: pytest.Config) -> None:
    SCRATCH.cleanup()
