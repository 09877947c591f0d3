"""`pushd.config.settings`: what follows from several options together."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pushd.config.settings import Settings


class StorePathTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Different files of Mosquitto's make different ones of ours; none is its own."""
        for name, ours in (
            ("mosquitto.db", "pushd.db"),
            ("fleet.db", "fleet.pushd.db"),
            ("x/store", "x/store.pushd"),
            (".db", ".db.pushd"),
        ):
            settings = Settings((), persistence_location="/var/lib", persistence_file=name)
            assert settings.store_path == f"/var/lib/{ours}"
