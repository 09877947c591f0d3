"""
A page to try the gateway's calls: ``/docs``. It shows what ``/openapi.json`` says, with a form for each call,
and sends what is filled in from the reader's browser.
"""

from __future__ import annotations

from pushd.gateway.http.static_files import StaticFiles


def explorer() -> StaticFiles:
    """``/docs`` and the files below it."""
    return StaticFiles(__name__, b"docs")
