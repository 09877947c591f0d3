"""`pushd.auth.chain`: who is asked in which order, and what holds when nobody has an opinion."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from pushd.auth.chain import AuthenticatorChain, AuthorizerChain
from pushd.broker.interfaces import Access, Credentials, IAuthenticator, IAuthorizer, Principal
from pushd.mqtt.codes import ReasonCode


class Anna:
    """Somebody who wants something."""

    client_id = "c1"
    username = "anna"


@implementer(IAuthenticator, IAuthorizer)
class Answers:
    """Answers what it was told to, and remembers that it was asked. An exception is raised."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked = 0

    def authenticate(self, credentials: Credentials) -> Any:
        """See `IAuthenticator`."""
        return self._answer()

    def authorize(self, principal: Principal, access: Access, topic: str) -> Any:
        """See `IAuthorizer`."""
        return self._answer()

    def _answer(self) -> Any:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class AuthenticatorChainTests(SynchronousTestCase):
    """Who are you?"""

    def ask(self, *answers: Any, username: str | None = "anna", allow_anonymous: bool = False) -> Any:
        """What a chain of authenticators with these answers says."""
        self.asked = [Answers(answer) for answer in answers]
        chain = AuthenticatorChain(self.asked, allow_anonymous)
        return chain.authenticate(Credentials("id", username, b"secret"))

    def test_it_is_an_authenticator(self) -> None:
        """Chains may stand in chains."""
        verifyObject(IAuthenticator, AuthenticatorChain([], False))

    def test_first_opinion_wins(self) -> None:
        """Those behind it are not asked."""
        self.assertIs(self.ask(None, ReasonCode.BANNED, ReasonCode.SUCCESS), ReasonCode.BANNED)
        self.assertEqual([answers.asked for answers in self.asked], [1, 1, 0])

    def test_without_opinions_anonymous_decides(self) -> None:
        """For clients without a name, with an empty one, and with one that nobody can check."""
        for username in (None, "", "anna"):
            for answers in ((), (None, None)):
                yes = self.ask(*answers, username=username, allow_anonymous=True)
                no = self.ask(*answers, username=username, allow_anonymous=False)
                self.assertIs(yes, ReasonCode.SUCCESS)
                self.assertIs(no, ReasonCode.NOT_AUTHORIZED)

    def test_refusal_holds_where_anonymous_clients_come_in(self) -> None:
        """A wrong password is not made good by sending none to those behind."""
        self.assertIs(self.ask(ReasonCode.NOT_AUTHORIZED, allow_anonymous=True), ReasonCode.NOT_AUTHORIZED)

    def test_empty_name_becomes_none(self) -> None:
        """The session that is made of it is an anonymous one."""
        credentials = Credentials("id", "", b"x")
        AuthenticatorChain([], True).authenticate(credentials)
        self.assertIsNone(credentials.username)

    def test_later_answers_are_waited_for_in_order(self) -> None:
        """Nobody is asked before the one in front has answered."""
        first: Deferred[Any] = Deferred()
        answer = self.ask(first, succeed(None), ReasonCode.SUCCESS, ReasonCode.BANNED)
        self.assertNoResult(answer)
        self.assertEqual([answers.asked for answers in self.asked], [1, 0, 0, 0])
        first.callback(None)
        self.assertIs(self.successResultOf(answer), ReasonCode.SUCCESS)
        self.assertEqual([answers.asked for answers in self.asked], [1, 1, 1, 0])

    def test_later_opinion_is_final(self) -> None:
        """A Deferred of a verdict is a verdict."""
        self.assertIs(self.successResultOf(self.ask(succeed(ReasonCode.BANNED))), ReasonCode.BANNED)

    def test_exception_refuses(self) -> None:
        """Whoever cannot decide lets nobody in, also where anonymous clients come in; the log says why."""
        answer = self.ask(RuntimeError("database"), ReasonCode.SUCCESS, allow_anonymous=True)
        self.assertIs(answer, ReasonCode.SERVER_UNAVAILABLE)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.asked[1].asked, 0)

    def test_failure_refuses(self) -> None:
        """The same for an answer that comes later."""
        answer = self.ask(fail(RuntimeError("database")), ReasonCode.SUCCESS, allow_anonymous=True)
        self.assertIs(self.successResultOf(answer), ReasonCode.SERVER_UNAVAILABLE)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_answer_that_is_no_verdict_refuses(self) -> None:
        """A plug-in that says True, or 0, is broken; that lets nobody in."""
        for wrong in (True, False, 0, "yes"):
            self.assertIs(self.ask(wrong), ReasonCode.SERVER_UNAVAILABLE)
            self.assertIs(self.successResultOf(self.ask(succeed(wrong))), ReasonCode.SERVER_UNAVAILABLE)


class AuthorizerChainTests(SynchronousTestCase):
    """May you?"""

    def ask(self, *answers: Any, access: Access = Access.WRITE, topic: str = "a") -> Any:
        """What a chain of authorizers with these answers says."""
        self.asked = [Answers(answer) for answer in answers]
        return AuthorizerChain(self.asked).authorize(Anna(), access, topic)

    def test_it_is_an_authorizer(self) -> None:
        """Chains may stand in chains."""
        verifyObject(IAuthorizer, AuthorizerChain([]))

    def test_first_opinion_wins(self) -> None:
        """Those behind it are not asked."""
        self.assertIs(
            self.ask(None, ReasonCode.NOT_AUTHORIZED, ReasonCode.SUCCESS), ReasonCode.NOT_AUTHORIZED
        )
        self.assertEqual([answers.asked for answers in self.asked], [1, 1, 0])

    def test_without_opinions_all_is_allowed(self) -> None:
        """Without an ACL file there are no limits."""
        for access in Access:
            self.assertIs(self.ask(None, access=access), ReasonCode.SUCCESS)
            self.assertIs(self.ask(access=access), ReasonCode.SUCCESS)

    def test_closed_topics_stay_closed(self) -> None:
        """Nobody publishes into ``$SYS``, with rules or without."""
        self.assertIs(self.ask(topic="$SYS/broker/uptime"), ReasonCode.NOT_AUTHORIZED)
        self.assertIs(self.ask(ReasonCode.SUCCESS, topic="$SYS/broker/uptime"), ReasonCode.NOT_AUTHORIZED)
        self.assertIs(self.ask(topic="$SYS/broker/uptime", access=Access.READ), ReasonCode.SUCCESS)

    def test_later_answers_are_waited_for_in_order(self) -> None:
        """A publish or a subscription may wait for its verdict."""
        first: Deferred[Any] = Deferred()
        answer = self.ask(first, ReasonCode.NOT_AUTHORIZED, ReasonCode.SUCCESS)
        self.assertNoResult(answer)
        first.callback(None)
        self.assertIs(self.successResultOf(answer), ReasonCode.NOT_AUTHORIZED)

    def test_reading_does_not_wait(self) -> None:
        """A message is about to be delivered; whoever wants to think about it has refused."""
        self.assertIs(self.ask(Deferred(), access=Access.READ), ReasonCode.NOT_AUTHORIZED)
        failing = fail(RuntimeError("database"))
        self.assertIs(self.ask(failing, access=Access.READ), ReasonCode.NOT_AUTHORIZED)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_exception_refuses(self) -> None:
        """Raised at once or later; the log says why."""
        self.assertIs(self.ask(RuntimeError("x"), ReasonCode.SUCCESS), ReasonCode.NOT_AUTHORIZED)
        later = self.ask(fail(RuntimeError("x")), ReasonCode.SUCCESS)
        self.assertIs(self.successResultOf(later), ReasonCode.NOT_AUTHORIZED)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_answer_that_is_no_verdict_refuses(self) -> None:
        """True is not a reason code."""
        self.assertIs(self.ask(True), ReasonCode.NOT_AUTHORIZED)
        self.assertIs(self.successResultOf(self.ask(succeed(0))), ReasonCode.NOT_AUTHORIZED)
