"""
Where instant messages go: every user has one topic in each namespace, ``/NAMESPACE/im/u/UID``.

A namespace is an application's: programs of two that share a server do not meet. The user id is the name that
the user logs in with, so that an ACL line such as ``pattern read /chat/im/u/%u`` gives everybody their own.
"""

from __future__ import annotations


def is_level(name: str) -> bool:
    """Whether `name` can be one level of a topic, and no more: without wildcards, slashes and NUL."""
    return bool(name) and not any(letter in name for letter in "+#/\0")


def inbox(namespace: str, uid: str) -> str:
    """
    :return: the topic name on which a user gets instant messages.
    :raises ValueError: one of the two would be more than one level of it.
    """
    if not (is_level(namespace) and is_level(uid)):
        raise ValueError("a namespace or user id with +, #, / or NUL in it, or an empty one")
    return f"/{namespace}/im/u/{uid}"
