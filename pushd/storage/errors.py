"""
What can be wrong with a store.

    StoreError   the process must not start on it; the message says why
"""

from __future__ import annotations


class StoreError(Exception):
    """The store cannot be used: it is locked, newer than this program, or cannot be opened."""
