"""
Files that come with messages: kept for some hours, for whoever knows their address.

A file is kept under a name that says all there is to know about it, and so no list of them can be lost:

    <id>-<expires>-<owner><ending>        k3J…9-1700010800-5f2b…c1.jpg

`id` is what stands in its address; nobody guesses one. `expires` is when it goes, in Unix seconds, and
`owner` the beginning of a hash of whoever sent it, whose files have a limit together. A start reads the
folder.

A file that only has an address elsewhere (``X-Attach``) is not fetched: that address is all that is told.
"""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import unquote, urlsplit

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pushd.gateway.http import problems
from pushd.gateway.http.problems import Refusal
from pushd.gateway.http.request import GatewayRequest
from pushd.gateway.http.uploads import (
    ENTRY_BYTES,
    ID_LENGTH,
    PART,
    InThread,
    Upload,
    Uploads,
    new_file_id,
    remove,
)
from pushd.gateway.identity.guards import Caller
from pushd.gateway.ntfy.file_types import file_type

PATH = "/file/"

MAX_NAME_LENGTH = 255

_URL = re.compile(r"https?://[^\s/]\S*", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_KEPT = re.compile(
    r"(?P<id>[A-Za-z0-9]{24})-(?P<expires>\d{1,12})-(?P<owner>[0-9a-f]{16})(?P<ending>\.[a-z0-9]{1,9})",
    re.ASCII,
)

log = Logger()


@dataclass(frozen=True, slots=True)
class Attachment:
    """
    A file as a message object shows it.

    :ivar size: in bytes; 0 if nobody knows, as `type` is empty and `expires` 0 then.
    :ivar expires: Unix seconds.
    """

    name: str
    url: str
    type: str = ""
    size: int = 0
    expires: int = 0
    id: str = ""

    def shown(self) -> dict[str, object]:
        """ntfy's fields, as far as they are known."""
        fields: dict[str, object] = {
            "name": self.name,
            "type": self.type,
            "size": self.size,
            "expires": self.expires,
            "url": self.url,
        }
        return {name: value for name, value in fields.items() if value}

    @property
    def message(self) -> str:
        """What is said of a file that comes without a text; ntfy's words."""
        return f"You received a file: {self.name}"


def linked(url: str, name: str = "") -> Attachment:
    """
    A file elsewhere.

    :param name: what it shall be called; else what stands last in its address.
    :raises Refusal: 40013, that is no address.
    """
    if not _URL.fullmatch(url) or _CONTROL.search(url):
        raise Refusal(problems.ATTACHMENT_URL_INVALID)
    try:
        path = urlsplit(url).path
    except ValueError:  # such as a bracket that does not close
        raise Refusal(problems.ATTACHMENT_URL_INVALID) from None
    return Attachment(plain_name(name) or plain_name(unquote(path)) or "attachment", url)


@dataclass(frozen=True, slots=True)
class Kept:
    """A file on disk."""

    id: str
    expires: int
    owner: str
    ending: str
    size: int

    @property
    def filename(self) -> str:
        """Within its folder."""
        return f"{self.id}-{self.expires}-{self.owner}{self.ending}"


class Attachments:
    """
    Those of all gateways.

    :param folder: which must be there, and nobody else's.
    :param durable: whether a file shall survive a power loss once it is kept.
    :param now: Unix seconds.
    :param network_of: what counts as one address, as in `pushd.broker.interfaces.Credentials`.
    """

    def __init__(
        self,
        folder: str,
        uploads: Uploads,
        in_thread: InThread,
        now: Callable[[], float],
        durable: bool = True,
        network_of: Callable[[str], bytes] = str.encode,
    ) -> None:
        self._folder = folder
        self.uploads = uploads
        self._in_thread = in_thread
        self._now = now
        self._durable = durable
        self._network_of = network_of
        self._kept: dict[str, Kept] = {}
        self._expiring: list[tuple[int, str]] = []  # a heap; those that were forgotten are still in it

    def __len__(self) -> int:
        return len(self._kept)

    # Keeping

    def owner_of(self, caller: Caller) -> str:
        """For whom a caller's files count: the user, or the address of one without a name."""
        return self.owner(caller.username, caller.address)

    def owner(self, username: str | None, address: str) -> str:
        """See `owner_of`. It says nothing about whoever it is to one who reads the folder."""
        who = b"user " + username.encode() if username else b"address " + self._network_of(address)
        return sha256(who).hexdigest()[:16]

    def used_by(self, caller: Caller) -> int:
        """What a caller's files take, in bytes."""
        return self.uploads.room.used_by(self.owner_of(caller))

    def upload_of(self, request: GatewayRequest, caller: Caller) -> Upload:
        """
        A request's body as a file, also of one that is small and in memory.

        :raises Refusal: as `Uploads.begin` and `Upload.write`.
        """
        if request.upload is not None:
            return request.upload
        upload = self.uploads.begin(self.owner_of(caller))
        upload.write(request.body)
        return upload

    async def keep(
        self, upload: Upload, name: str, caller: Caller, base: str, needed_at: float = 0.0
    ) -> Attachment:
        """
        Keep what has arrived; from then on its room is ours to give back.

        :param upload: all of it. It is gone if it is not kept.
        :param name: what its sender calls it; may be empty.
        :param base: what the caller calls this gateway, such as ``https://push.example.com``.
        :param needed_at: when it will be told of, in Unix seconds, if that is not now.
        :return: when it is as durable as messages are.
        :raises Refusal: 40015, it would be gone by then; 42905, the caller has too much; 50700, the disk does
            not take it.
        """
        expires = int(self._now() + self.uploads.limits().expire_s)
        try:
            if expires <= needed_at:
                raise Refusal(problems.ATTACHMENT_EXPIRES_EARLY)
            upload.give_to(self.owner_of(caller))
        except Refusal:
            upload.discard()
            raise
        kind = file_type(upload.head, name)
        kept = Kept(new_file_id(), expires, upload.owner, kind.ending, upload.size)
        try:
            await upload.settle(self.path(kept), self._durable)
        except OSError as problem:
            log.error("A file could not be kept: {problem}", problem=problem)
            upload.remove()
            raise Refusal(problems.NO_ROOM) from None
        self._have(kept)
        url = f"{base}{PATH}{kept.id}{kept.ending}"
        shown_name = plain_name(name) or f"attachment{kept.ending}"
        return Attachment(shown_name, url, kind.name, kept.size, expires, kept.id)

    def _have(self, kept: Kept) -> None:
        self._kept[kept.id] = kept
        heapq.heappush(self._expiring, (kept.expires, kept.id))

    # Finding and forgetting

    def find(self, id: str) -> Kept | None:
        """A file that has not expired."""
        kept = self._kept.get(id)
        return kept if kept is not None and kept.expires > self._now() else None

    def path(self, kept: Kept) -> str:
        """Where it is on disk."""
        return os.path.join(self._folder, kept.filename)

    def forget(self, id: str) -> Deferred[None]:
        """:return: fires when it is gone; at once if there is none."""
        return self._remove([id])

    def remove_expired(self) -> Deferred[None]:
        """:return: fires when those are gone whose time is over."""
        ids = []
        while self._expiring and self._expiring[0][0] <= self._now():
            ids.append(heapq.heappop(self._expiring)[1])
        return self._remove(ids)

    def _remove(self, ids: list[str]) -> Deferred[None]:
        """Whoever is fetching one just now still gets it: it has no name any more, but it is there."""
        found = [self._kept.pop(id) for id in ids if id in self._kept]
        for kept in found:
            self.uploads.room.give_back(kept.owner, kept.size + ENTRY_BYTES)
        return self._in_thread(_remove_all, [self.path(kept) for kept in found])

    def load(self) -> Deferred[None]:
        """
        Find those that the last process kept, and clean up behind it.

        :return: fires when they are there, or fails with `OSError`.
        """
        reading = self._in_thread(read_folder, self._folder)
        return reading.addCallback(self._loaded)

    def _loaded(self, found: list[Kept]) -> Deferred[None]:
        for kept in found:
            self._have(kept)
            self.uploads.room.put(kept.owner, kept.size + ENTRY_BYTES)
        return self.remove_expired()


def read_folder(folder: str) -> list[Kept]:
    """
    The files that are kept in a folder. Uploads that never ended are removed; what has another name is
    somebody else's, and stays. Blocks.

    :raises OSError: it cannot be read.
    """
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = _KEPT.fullmatch(entry.name)
            if name is not None and entry.is_file(follow_symlinks=False):
                size = entry.stat(follow_symlinks=False).st_size
                found.append(Kept(name["id"], int(name["expires"]), name["owner"], name["ending"], size))
            elif _is_left_over(entry.name):
                remove(entry.path)
    return found


def _is_left_over(filename: str) -> bool:
    stem = filename.removesuffix(PART)
    return stem != filename and len(stem) == ID_LENGTH and stem.isalnum()


def _remove_all(paths: list[str]) -> None:
    for path in paths:
        remove(path)


def plain_name(name: str) -> str:
    """What a file is called, without folders and control characters; empty if nothing is left."""
    last = _CONTROL.sub("", name).replace("\\", "/").rpartition("/")[2].strip()
    return "" if last in (".", "..") else last[:MAX_NAME_LENGTH]
