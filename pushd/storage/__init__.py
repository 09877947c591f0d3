"""Remembers what must survive. `memory` is the reference that every other store is tested against."""
