"""
What a file is: by its first bytes, else by its name, else it is text or just bytes.

A type is said to others in two places: in the message that has the file attached, and when the file is
fetched. For the latter it is found again by the ending that the file was kept with. What a browser would run
(HTML, SVG, scripts) is never called by its name there: it is text.
"""

from __future__ import annotations

import codecs
import os
import re
from typing import NamedTuple


class FileType(NamedTuple):
    """:ivar ending: with its dot."""

    name: str
    ending: str


TEXT = FileType("text/plain; charset=utf-8", ".txt")
BYTES = FileType("application/octet-stream", ".bin")

# By their first bytes. A dot is any byte.
_MAGIC: tuple[tuple[re.Pattern[bytes], FileType], ...] = tuple(
    (re.compile(pattern, re.DOTALL), FileType(name, ending))
    for pattern, name, ending in (
        (rb"\x89PNG\r\n\x1a\n", "image/png", ".png"),
        (rb"\xff\xd8\xff", "image/jpeg", ".jpg"),
        (rb"GIF8[79]a", "image/gif", ".gif"),
        (rb"RIFF....WEBP", "image/webp", ".webp"),
        (rb"....ftyp(avif|avis)", "image/avif", ".avif"),
        (rb"....ftyp(heic|heix|mif1)", "image/heic", ".heic"),
        (rb"BM....\0\0\0\0", "image/bmp", ".bmp"),
        (rb"(II\*\0|MM\0\*)", "image/tiff", ".tiff"),
        (rb"....ftypqt  ", "video/quicktime", ".mov"),
        (rb"....ftypM4A", "audio/mp4", ".m4a"),
        (rb"....ftyp", "video/mp4", ".mp4"),
        (rb"\x1a\x45\xdf\xa3", "video/webm", ".webm"),
        (rb"RIFF....AVI ", "video/x-msvideo", ".avi"),
        (rb"RIFF....WAVE", "audio/wav", ".wav"),
        (rb"OggS", "audio/ogg", ".ogg"),
        (rb"fLaC", "audio/flac", ".flac"),
        (rb"(ID3|\xff[\xfb\xf3\xf2])", "audio/mpeg", ".mp3"),
        (rb"\xff[\xf1\xf9]", "audio/aac", ".aac"),
        (rb"%PDF-", "application/pdf", ".pdf"),
        (rb"PK\x03\x04", "application/zip", ".zip"),
        (rb"\x1f\x8b", "application/gzip", ".gz"),
        (rb"BZh", "application/x-bzip2", ".bz2"),
        (rb"\xfd7zXZ\0", "application/x-xz", ".xz"),
        (rb"\x28\xb5\x2f\xfd", "application/zstd", ".zst"),
        (rb"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed", ".7z"),
        (rb"Rar!\x1a\x07", "application/vnd.rar", ".rar"),
    )
)

# By their names: what is text or an archive inside, and is more than that for whoever gets it.
_OFFICE = "application/vnd.openxmlformats-officedocument."
_OF_ARCHIVE = {
    ".apk": "application/vnd.android.package-archive",
    ".docx": _OFFICE + "wordprocessingml.document",
    ".xlsx": _OFFICE + "spreadsheetml.sheet",
    ".pptx": _OFFICE + "presentationml.presentation",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odp": "application/vnd.oasis.opendocument.presentation",
    ".epub": "application/epub+zip",
}
_OF_TEXT = {
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".ics": "text/calendar; charset=utf-8",
    ".vcf": "text/vcard; charset=utf-8",
    ".log": TEXT.name,
    ".yml": TEXT.name,
    ".yaml": TEXT.name,
    ".conf": TEXT.name,
}

_NAME_OF = {
    **{file_type.ending: file_type.name for _, file_type in _MAGIC},
    **_OF_ARCHIVE,
    **_OF_TEXT,
    TEXT.ending: TEXT.name,
}


def file_type(head: bytes, filename: str) -> FileType:
    """
    :param head: a file's first bytes.
    :param filename: what its sender calls it; may be empty.
    """
    ending = os.path.splitext(filename.lower())[1]
    if ending == ".apk":  # as in ntfy: phones install them
        return FileType(_OF_ARCHIVE[ending], ending)
    found = next((kind for pattern, kind in _MAGIC if pattern.match(head)), None)
    if found is not None:
        by_name = _OF_ARCHIVE.get(ending) if found.ending == ".zip" else None
        return found if by_name is None else FileType(by_name, ending)
    if not is_text(head):
        return BYTES
    return FileType(_OF_TEXT[ending], ending) if ending in _OF_TEXT else TEXT


def is_text(head: bytes) -> bool:
    """Whether something begins as UTF-8 does; its last character may be cut."""
    if b"\0" in head:
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def type_of_ending(ending: str) -> str:
    """By what name a file that was kept with this ending is handed out."""
    return _NAME_OF.get(ending, BYTES.name)
