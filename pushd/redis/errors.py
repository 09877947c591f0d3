"""
What can go wrong with Redis.

    RedisUnavailable    no answer: nobody there, not in time, or lost on the way
        RedisRefused    an answer, and it is an error
    BadUrl              where it is cannot be understood (a ValueError)
"""

from __future__ import annotations


class RedisUnavailable(Exception):
    """Nothing can be had from Redis at the moment. Whether what was asked has happened is not known."""


class RedisRefused(RedisUnavailable):
    """Redis answers with an error: out of memory, still loading, no permission. The message is its own."""


class BadUrl(ValueError):
    """The message says what is wrong with it, and never shows the password."""
