"""
The gateway's pages beside pushes, and who answers them: a row for each.

Imported when the first gateway is made: a broker without one needs none of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred

from pushd import __version__
from pushd.broker.broker import Broker
from pushd.config.settings import Settings
from pushd.gateway.api import VersionOne
from pushd.gateway.clients import ClientPages, Soon
from pushd.gateway.console import console
from pushd.gateway.explorer import explorer
from pushd.gateway.follows import FollowPages
from pushd.gateway.hot import HotTopicPages, HotTopics
from pushd.gateway.http.events import Streams
from pushd.gateway.http.openapi import OpenApiPage, pages_of
from pushd.gateway.http.pages import Quoted
from pushd.gateway.identity.guards import Caller, Guard
from pushd.gateway.im import ImPages
from pushd.gateway.listen import ListenPage
from pushd.gateway.ntfy import file_page
from pushd.gateway.ntfy.access_pages import AccessPages
from pushd.gateway.ntfy.account import Allowance, OwnAccountPages
from pushd.gateway.ntfy.push_operations import PAGES
from pushd.gateway.ntfy.server_pages import ServerPages
from pushd.gateway.ntfy.stream_operations import PAGES as STREAM_PAGES
from pushd.gateway.ntfy.subscribe import subscribe_pages
from pushd.gateway.push.push_api import PushApiPages
from pushd.gateway.push.scheduled import ScheduledPages
from pushd.gateway.rules import RuleFile, RulePages
from pushd.gateway.status import MetricsPage, ReadyPage, Status, StatusPages, status_pages
from pushd.gateway.subscription_lists import SubscriptionListPages
from pushd.gateway.unified_push.endpoint_pages import EndpointPages
from pushd.gateway.unified_push.matrix import MatrixPages
from pushd.gateway.users import AccountPages, UserPages
from pushd.people.interfaces import IPeople
from pushd.service.accounts import AccountLogins
from pushd.service.attachments import AttachmentOffice
from pushd.service.audience import Audience
from pushd.service.callers import allowance_of
from pushd.service.people import PeopleOffice
from pushd.service.push_api import PushApi
from pushd.service.unified_push import UnifiedPush

if TYPE_CHECKING:
    from pushd.gateway.http.pages import Pages
    from pushd.service.assembly import Publisher


class Desk(NamedTuple):
    """
    Whom the pages ask.

    :ivar broker: with all that it has, for those who may see it.
    :ivar settings: as they count now.
    :ivar in_thread: calls a function that blocks.
    :ivar soon: calls one when others have been served.
    :ivar status: of this process.
    :ivar people: who keeps accounts and friends.
    :ivar accounts: who logs in by them.
    :ivar hot_topics: who counts; ``None`` if nobody does.
    :ivar push_api: what the pages of ``/v1/push`` have in common.
    :ivar files: that come with pushes.
    :ivar unified_push: endpoints, and who pushes there.
    """

    broker: Broker
    settings: Callable[[], Settings]
    in_thread: Callable[..., Deferred[Any]]
    soon: Soon
    status: Status
    people: PeopleOffice
    accounts: AccountLogins
    hot_topics: HotTopics | None
    push_api: PushApi
    files: AttachmentOffice
    unified_push: UnifiedPush


def make_pages(guard: Guard, publisher: Publisher, desk: Desk) -> Pages:
    """
    The pages behind one listener's guard.

    :param publisher: the broker as the callers of that listener see it.
    """
    streams = Streams(lambda: _streams_per_caller(desk.settings()), who=guard.visitors.who)
    return {
        **status_pages(guard, desk.status, streams),
        **subscribe_pages(
            guard,
            Audience(desk.broker, publisher),
            streams,
            time.time,
            lambda: desk.settings().stream_keepalive_interval,
        ),
        b"console": console(),
        b"docs": explorer(),
        b"openapi.json": openapi(),
        b"v1/clients": Quoted(_resource(ClientPages(guard, desk.broker, time.time, desk.soon))),
        b"v1/im": Quoted(_resource(ImPages(guard, publisher, publisher, streams, time.time))),
        b"v1/listen": _resource(ListenPage(guard, publisher, streams, time.time)),
        b"v1/account": _resource(
            OwnAccountPages(guard, lambda: desk.people.people, time.time, partial(_allowance, desk))
        ),
        **dict.fromkeys((b"v1/stats", b"v1/version"), _resource(ServerPages(guard, desk.status))),
        b"v1/users": user_pages(guard, desk),
        **desk.push_api.pages(guard, publisher, streams),
        **desk.unified_push.pages(guard, publisher),
        b"v1/topics": _resource(HotTopicPages(guard, desk.hot_topics)),
        **desk.files.pages(),
        b"v1/rules": _resource(RulePages(guard, lambda: desk.in_thread(read_rule_files, desk.settings()))),
    }


def user_pages(guard: Guard, desk: Desk) -> UserPages:
    """All that begins with ``/v1/users``."""

    def people() -> IPeople:
        return desk.people.people

    make_hash = desk.accounts.make_hash
    return UserPages(
        _resource(AccountPages(guard, people, make_hash, time.time)),
        {
            b"follows": _resource(FollowPages(guard, people)),
            b"subscriptions": _resource(SubscriptionListPages(guard, people)),
        },
        _resource(AccessPages(guard, people, make_hash, time.time)),
    )


def openapi() -> OpenApiPage:
    """What all of it takes and answers."""
    klein = (
        StatusPages, ReadyPage, VersionOne, ClientPages, ImPages, ListenPage, AccountPages, FollowPages,
        SubscriptionListPages, HotTopicPages, RulePages, OwnAccountPages, ServerPages, AccessPages,
        PushApiPages, ScheduledPages, EndpointPages,
    )  # fmt: skip
    pages = [page for each in klein for page in pages_of(each.app)]
    return OpenApiPage(
        [
            *PAGES,
            *STREAM_PAGES,
            *file_page.PAGES,
            *pages_of(MetricsPage.app, "/metrics"),
            *pages_of(MatrixPages.app, "/_matrix"),
            *pages,
        ],
        __version__,
    )


def _allowance(desk: Desk, caller: Caller) -> Allowance:
    """What somebody may have, and what it has of it."""
    files = desk.files.attachments
    used_bytes = 0 if files is None else files.used_by(caller)
    return allowance_of(desk.settings(), caller)._replace(used_bytes=used_bytes)


def _streams_per_caller(settings: Settings) -> int:
    return settings.max_streams_per_caller if settings.gateway_limits else 0


def _resource(pages: Any) -> Any:
    """What klein makes of a class with an ``app``."""
    return pages.app.resource()


def read_rule_files(settings: Settings) -> list[RuleFile]:
    """Those that the settings name, as they are now. Blocks."""
    paths = [("acl_file", listener.security.acl_file) for listener in settings.listeners]
    paths += [("autosubscribe_file", settings.autosubscribe_file), ("routes_file", settings.routes_file)]
    named = {(option, path) for option, path in paths if path is not None}
    return [RuleFile(option, path, _read(path)) for option, path in sorted(named)]


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
