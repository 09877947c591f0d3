"""The page to look at: ``/console``. What it is made of is beside this module."""

from __future__ import annotations

from pushd.gateway.http.static_files import StaticFiles


def console() -> StaticFiles:
    """``/console`` and the files below it."""
    return StaticFiles(__name__, b"console")
