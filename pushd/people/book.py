"""
Who is whose friend, at hand at once: the friends of everybody who is needed, and of nobody else.

Access rules ask for each message and cannot wait for a keeper. So the friends of a user are loaded before its
first session gets anywhere, kept as long as it has one, and loaded again whenever they change. While the
keeper is away, those that were known last are as good as any.

A few users stay in the book when nobody needs them any more, and are kept right like the others: whoever
calls the gateway a hundred times a second, or loses its connection all the time, is loaded once.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.people.interfaces import Friends, IPeople, PeopleUnavailable

# Who listens is told of somebody's friends as they were and as they are.
FriendsListener = Callable[[str, Friends, Friends], None]

NOBODY = Friends()

# After a keeper could not answer; it was given its time already.
RETRY_S = 1.0

# Users whose friends are asked for again at the same time. All may have changed at once, and who logs in must
# not wait behind a hundred thousand of them.
AT_ONCE = 8

# Users who stay although nobody needs them; those who were needed last. Each may have thousands of friends.
MAX_IDLE = 100


class FriendBook:
    """See above. It hears of changes from whoever watches the keeper, by `refresh`."""

    _log = Logger()

    def __init__(self, people: IPeople, clock: IReactorTime) -> None:
        """:param clock: the reactor; times when an unavailable keeper is asked again."""
        self._people = people
        self._clock = clock
        self._pages: dict[str, _Page] = {}
        self._listeners: list[FriendsListener] = []
        self._idle: dict[str, None] = {}  # whom nobody needs, in the order in which that came about
        self._stale: dict[str, None] = {}  # to be loaded again, in the order in which they were found so
        self._asking = 0  # how many of these are on the way
        self._resting = False  # the keeper is left alone for a moment

    def __len__(self) -> int:
        """How many users are needed."""
        return len(self._pages) - len(self._idle)

    def listen(self, callback: FriendsListener) -> None:
        """
        Call this whenever the friends of somebody who is kept turn out to be others, and when they are there
        for the first time, whoever they are.
        """
        self._listeners.append(callback)

    def friends(self, username: str) -> Friends:
        """The friends of somebody who is kept; none of anybody else."""
        page = self._pages.get(username)
        return NOBODY if page is None or page.friends is None else page.friends

    def knows(self, username: str) -> bool:
        """Whether somebody's friends are there."""
        page = self._pages.get(username)
        return page is not None and page.friends is not None

    def need(self, username: str) -> Deferred[None] | None:
        """
        Keep somebody's friends until `release`, which is due once for each `need` or `keep`, however it ends.

        :return: ``None`` if they are there already. Else fires when they are, or fails with
            `PeopleUnavailable`; as long as it is not released, they are tried again all the same, and the
            listeners hear of it. May be cancelled.
        """
        page = self._pages.setdefault(username, _Page())
        page.needs += 1
        self._idle.pop(username, None)
        if page.friends is not None:
            return None
        waiting = page.wait()
        if not page.loading:
            self._stale.pop(username, None)
            self._load(username, page)
        return waiting

    def settled(self, username: str) -> Deferred[None] | None:
        """
        For who would rather wait than go by friends that are others by now.

        :return: ``None`` if nothing newer is on the way, or nobody can say at the moment. Else fires when it
            is there, or fails with `PeopleUnavailable`.
        """
        page = self._pages.get(username)
        if page is None or self._resting or not (page.loading or username in self._stale):
            return None
        return page.wait()

    def keep(self, username: str) -> None:
        """
        The same for somebody who is not waited for: those who are come first. The listeners hear when the
        friends are there.
        """
        page = self._pages.setdefault(username, _Page())
        page.needs += 1
        self._idle.pop(username, None)
        if page.friends is None and not page.loading:
            self._stale[username] = None
            self._refresh_some()

    def release(self, username: str) -> None:
        """One less needs them."""
        page = self._pages[username]
        page.needs -= 1
        if page.needs:
            return
        self._idle[username] = None
        if page.friends is None:
            self._drop(username)
        elif len(self._idle) > MAX_IDLE:
            self._drop(next(iter(self._idle)))

    def _drop(self, username: str) -> None:
        page = self._pages.pop(username)
        del self._idle[username]
        self._stale.pop(username, None)
        for waiting in () if page.loading else page.take_waiting():
            waiting.callback(None)

    def refresh(self, username: str) -> None:
        """
        Somebody's friends are others now, as far as is known; load them again if anybody needs them.

        :param username: everybody who is kept, if it is empty.
        """
        if not username:
            self._stale.update(dict.fromkeys(self._pages))
        elif username in self._pages:
            self._stale[username] = None
        self._refresh_some()

    def _refresh_some(self) -> None:
        while self._stale and self._asking < AT_ONCE and not self._resting:
            username = next(iter(self._stale))
            del self._stale[username]
            page = self._pages[username]
            if page.loading:
                page.again = True
                continue
            self._asking += 1
            self._load(username, page).addBoth(self._refreshed)

    def _refreshed(self, _: object) -> None:
        self._asking -= 1
        self._clock.callLater(0, self._refresh_some)

    def _load(self, username: str, page: _Page) -> Deferred[None]:
        """:return: fires, whatever happens, when the keeper has answered."""
        page.loading = True
        answer = self._people.friends(username)
        return answer.addCallbacks(self._loaded, self._not_loaded, (username, page), {}, (username, page), {})

    def _loaded(self, friends: Friends, username: str, page: _Page) -> None:
        page.loading = False
        old, page.friends = page.friends, friends
        if self._pages.get(username) is page:
            if page.again:
                page.again = False
                self.refresh(username)
            if friends != old:
                self._tell(username, old or NOBODY, friends)
        for waiting in page.take_waiting():
            waiting.callback(None)

    def _tell(self, username: str, old: Friends, new: Friends) -> None:
        for listener in self._listeners:
            try:
                listener(username, old, new)
            except Exception:
                self._log.failure("A change of the friends of {name!r}", name=username)

    def _not_loaded(self, failure: Failure, username: str, page: _Page) -> None:
        page.loading = page.again = False
        if failure.check(PeopleUnavailable) is None:
            self._log.failure("The friends of {name!r}", failure, name=username)
            failure = Failure(PeopleUnavailable(failure.getErrorMessage()))
        if self._pages.get(username) is page:
            self._stale[username] = None
            self._rest()
        for waiting in page.take_waiting():
            waiting.errback(failure)

    def _rest(self) -> None:
        if not self._resting:
            self._resting = True
            self._clock.callLater(RETRY_S, self._wake)

    def _wake(self) -> None:
        self._resting = False
        self._refresh_some()


class _Page:
    """
    What there is of one user.

    :ivar friends: ``None`` until they were loaded once.
    :ivar again: what is on the way may be too old already.
    """

    __slots__ = ("again", "friends", "loading", "needs", "waiting")

    def __init__(self) -> None:
        self.needs = 0
        self.friends: Friends | None = None
        self.loading = False
        self.again = False
        self.waiting: list[Deferred[None]] = []

    def wait(self) -> Deferred[None]:
        """:return: fires with the next answer of the keeper. May be cancelled."""
        waiting: Deferred[None] = Deferred(self.waiting.remove)
        self.waiting.append(waiting)
        return waiting

    def take_waiting(self) -> list[Deferred[None]]:
        taken, self.waiting = self.waiting, []
        return taken
