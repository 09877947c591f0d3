"""
Messages made of somebody else's JSON: ``X-Template``.

GitHub, Grafana and others push JSON of their own. With ``X-Template: yes`` the title, the message and the
priority of a request are templates over it; with ``X-Template: NAME`` they are in the file ``NAME.yml``:

    title: "{{ .repository.name }}"
    message: |
      {{ range .commits }}{{ .message }}
      {{ end }}
    priority: "{{ if .forced }}5{{ end }}"

The language is `pushd.gateway.ntfy.gotemplate`. Files come with pushd (``template_files``) or stand in the
folder that ``template_dir`` names, and those go first. Each is read when it is asked for, so that it may be
changed at any time.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pushd.gateway.http import problems
from pushd.gateway.http.body_limits import MESSAGE_LIMIT_BYTES
from pushd.gateway.http.problems import Refusal
from pushd.gateway.ntfy.gotemplate.errors import (
    ExecutionFailed,
    NotAllowed,
    OutputTooLarge,
    TemplateError,
    TemplateInvalid,
)
from pushd.gateway.ntfy.gotemplate.execution import execute
from pushd.gateway.ntfy.gotemplate.syntax import parse
from pushd.gateway.ntfy.gotemplate.values import measure

MAX_JSON_BYTES = 32_768  # as in ntfy
MAX_TEMPLATE_LENGTH = 32_768  # characters; the same

BUILT_IN = os.path.join(os.path.dirname(__file__), "template_files")

# What may be a file's name, and so nothing that leads out of its folder.
_NAME = re.compile(r"[-_A-Za-z0-9]{1,64}")
_INLINE = frozenset({"1", "yes", "true"})

_PROBLEM_OF = {
    OutputTooLarge: problems.TEMPLATE_TOO_LARGE,
    TemplateInvalid: problems.TEMPLATE_INVALID,
    NotAllowed: problems.TEMPLATE_NOT_ALLOWED,
    ExecutionFailed: problems.TEMPLATE_FAILED,
}

log = Logger()


@dataclass(frozen=True, slots=True)
class Filled:
    """What the templates came to; ``None`` is for what none speaks of."""

    title: str | None
    message: str | None
    priority: str | None


class Templates:
    """
    :param folder: of templates beside those that come with pushd, ``None`` for none; asked each time, for a
        reload may change it.
    :param in_thread: calls a function that blocks.
    """

    def __init__(self, folder: Callable[[], str | None], in_thread: Callable[..., Deferred[Any]]) -> None:
        self._folder = folder
        self._in_thread = in_thread

    async def fill(self, said: str, texts: Filled, body: bytes) -> Filled:
        """
        :param said: the parameter ``template``: ``yes``, or a file's name.
        :param texts: the title, message and priority of the request; its templates, if it said ``yes``.
        :param body: the JSON.
        :raises Refusal: 40042 or 41303 for the JSON; 40047 or 40048 for the file; what `render` raises for a
            template.
        """
        data = read_json(body)
        if said.lower() not in _INLINE:
            texts = await self.find(said)
        return Filled(*(text and render(text, data) for text in (texts.title, texts.message, texts.priority)))

    async def find(self, name: str) -> Filled:
        """
        The templates in a file.

        :raises Refusal: 40047 if there is no such file, 40048 if it has no templates in it.
        """
        if not _NAME.fullmatch(name):
            raise Refusal(problems.TEMPLATE_NOT_FOUND)
        folders = filter(None, (self._folder(), BUILT_IN))
        paths = [os.path.join(folder, f"{name}.yml") for folder in folders]
        text = await self._in_thread(_read_first, paths)
        if text is None:
            raise Refusal(problems.TEMPLATE_NOT_FOUND)
        try:
            return read_file(text)
        except ValueError as error:
            log.warn("The template {name} cannot be used: {error}", name=name, error=error)
            raise Refusal(problems.TEMPLATE_FILE_INVALID) from None


def _read_first(paths: list[str]) -> str | None:
    """Blocks."""
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read(MAX_TEMPLATE_LENGTH)
        except OSError:
            continue
    return None


def read_file(text: str) -> Filled:
    """
    :param text: a file of templates.
    :raises ValueError: it is none.
    """
    import yaml  # not at the top: 15 ms and 3 MB that most gateways never need

    try:
        loaded = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"it is no YAML: {error}") from None
    if not isinstance(loaded, dict) or not loaded.keys() & {"title", "message", "priority"}:
        raise ValueError("there is no title, message or priority in it")
    return Filled(*(_optional_text(loaded.get(name)) for name in ("title", "message", "priority")))


def _optional_text(value: object) -> str | None:
    return None if value is None else str(value)


def read_json(body: bytes) -> object:
    """
    :return: what `render` takes.
    :raises Refusal: 41303 for too much, 40042 for what is no JSON, or too deep for anybody.
    """
    if len(body) > MAX_JSON_BYTES:
        raise Refusal(problems.JSON_TOO_LARGE)
    try:
        data = json.loads(body.decode())
        measure(data, lambda steps: None)
    except (ValueError, RecursionError, ExecutionFailed):
        raise Refusal(problems.TEMPLATE_NEEDS_JSON) from None
    return data


def render(template: str, data: object) -> str:
    r"""
    Fill a template. As in ntfy the text is trimmed, and ``\n`` outside of actions means the end of a line.

    :param data: of `read_json`.
    :raises Refusal: 40043 for a template that cannot be read, 40044 for one that asks for what nobody gets,
        40045 for one that does not fit the data or takes too long, 40041 for a text too large for a message.
    """
    if len(template) > MAX_TEMPLATE_LENGTH:
        raise Refusal(problems.TEMPLATE_INVALID)
    try:
        text = execute(parse(template), data, MESSAGE_LIMIT_BYTES)
    except TemplateError as error:
        raise Refusal(_PROBLEM_OF[type(error)]) from None
    return _well_formed(text.replace("\\n", "\n").strip())


def _well_formed(text: str) -> str:
    """JSON can spell half a character; no message can hold one."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
