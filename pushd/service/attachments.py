"""
The files that come with pushes, for all gateways of the process: where they are, and how long.

Nothing is imported and no folder is made without ``attachment_cache_dir``. They have threads of their own, so
that a slow disk makes nobody else wait who needs one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from pushd.auth.failures import network_of
from pushd.config.settings import Settings

if TYPE_CHECKING:
    from pushd.gateway.http.pages import Pages
    from pushd.gateway.http.uploads import FileLimits
    from pushd.gateway.ntfy.attachments import Attachments
    from pushd.gateway.ntfy.templates import Templates

log = Logger()

# How often it is looked for files whose time is over.
LOOK_S = 60.0

THREADS = 4


class AttachmentOffice:
    """
    :param settings: as they count now. Where the files are is decided at the start.
    """

    def __init__(self, settings: Callable[[], Settings], reactor: Any) -> None:
        self._settings = settings
        self._reactor = reactor
        self._threads = ThreadPool(0, THREADS, "files")
        self._looking = LoopingCall(self._remove_expired)
        self._looking.clock = reactor

    @cached_property
    def attachments(self) -> Attachments | None:
        """``None`` if the gateways take no files."""
        settings = self._settings()
        folder = settings.attachment_cache_dir
        if folder is None:
            return None
        from pushd.gateway.http.uploads import Uploads
        from pushd.gateway.ntfy.attachments import Attachments

        uploads = Uploads(folder, self._in_thread, self._limits)
        durable = settings.durability == "full"
        return Attachments(folder, uploads, self._in_thread, self._reactor.seconds, durable, network_of)

    @cached_property
    def templates(self) -> Templates:
        """Those that a push can name."""
        from pushd.gateway.ntfy.templates import Templates

        return Templates(lambda: self._settings().template_dir, self._in_thread)

    def pages(self) -> Pages:
        """Where the files are fetched; the same for all listeners."""
        if self.attachments is None:
            return {}
        from pushd.gateway.ntfy.file_page import FilePage

        return {b"file": FilePage(self.attachments, self._in_thread)}

    def _limits(self) -> FileLimits:
        from pushd.gateway.http.uploads import FileLimits

        settings = self._settings()
        return FileLimits(
            settings.attachment_file_size_limit,
            settings.attachment_total_size_limit,
            settings.visitor_attachment_total_size_limit,
            settings.attachment_expiry_duration,
        )

    def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Before the reactor runs there is nothing to keep waiting."""
        if not self._threads.started:
            return execute(function, *arguments)
        return deferToThreadPool(self._reactor, self._threads, function, *arguments)

    # Start and stop

    def open(self, owner: tuple[int, int] | None) -> None:
        """
        Have the folder, and find what the last process kept in it.

        :param owner: who the process is about to become, if that is somebody else.
        :raises OSError: that is not possible.
        """
        folder = self._settings().attachment_cache_dir
        if folder is None or self.attachments is None:
            return
        if not os.path.isdir(folder):
            os.makedirs(folder, mode=0o700)
            if owner is not None:
                os.chown(folder, *owner)
        failures: list[Any] = []
        self.attachments.load().addErrback(failures.append)  # the reactor does not run yet: it is done now
        for failure in failures:
            failure.raiseException()

    def start(self) -> None:
        """The process is the user now that it stays."""
        self._threads.start()
        if self.attachments is not None:
            self._looking.start(LOOK_S, now=False)

    def stop(self) -> None:
        """What was being written is; nobody waits for it any more."""
        if self._looking.running:
            self._looking.stop()
        if self._threads.started:
            self._threads.stop()

    def _remove_expired(self) -> None:
        assert self.attachments is not None
        removed = self.attachments.remove_expired()
        removed.addErrback(lambda failure: log.failure("Expired files were not removed", failure=failure))
