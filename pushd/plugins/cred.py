"""
Users by a checker of ``twisted.cred``: what other Twisted servers log in with.

    plugin pushd.plugins.cred:Checker
    plugin_opt_checker file:/etc/pushd/users

The checker is described as for ``twistd``'s ``--auth`` (``twistd ftp --help-auth`` lists the kinds):
``file:PATH``, ``memory:NAME:PASSWORD``, ``unix``, and those that packages bring along. It is asked with a
user name and a password, and its no is final; anonymous clients are left to others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twisted.cred.checkers import ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import LoginFailed
from twisted.cred.strcred import InvalidAuthType, findCheckerFactories, makeChecker
from twisted.internet.defer import maybeDeferred

from pushd.plugins.handle import BrokerHandle
from pushd.plugins.plugin import Plugin
from pushd.plugins.shapes import Login
from pushd.plugins.verdicts import DENY, IGNORE, Allow, Verdict


class Checker(Plugin):
    """One checker."""

    @dataclass(frozen=True)
    class Config:
        checker: str

    def __init__(self, config: Config, broker: BrokerHandle) -> None:
        """:raises ValueError: the description is of no checker that takes user names and passwords."""
        super().__init__(config, broker)
        self.checker = _checker(config.checker)

    async def authenticate(self, login: Login) -> Verdict:
        if login.username is None:
            return IGNORE
        shown = UsernamePassword(login.username.encode(), login.password or b"")
        try:
            avatar: Any = await maybeDeferred(self.checker.requestAvatarId, shown)
        except LoginFailed:
            return DENY
        # What the checker calls its user may be another spelling of what it was asked about.
        if isinstance(avatar, bytes):
            avatar = avatar.decode()
        return Allow(avatar if isinstance(avatar, str) and avatar else login.username)


def _checker(description: str) -> ICredentialsChecker:
    kind = description.partition(":")[0]
    try:
        checker: ICredentialsChecker = makeChecker(description)
    except InvalidAuthType as problem:
        known = ", ".join(sorted({factory.authType for factory in findCheckerFactories()}))
        raise ValueError(f"there is no checker {kind!r}; there are: {known}") from problem
    if IUsernamePassword not in checker.credentialInterfaces:
        raise ValueError(f"the checker {kind!r} does not take user names and passwords")
    if isinstance(checker, InMemoryUsernamePasswordDatabaseDontUse):
        # Its class compares bytes; what ``memory:`` fills it with is text.
        checker.users = {_bytes(name): _bytes(password) for name, password in checker.users.items()}
    return checker


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
