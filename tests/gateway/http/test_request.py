"""`pushd.gateway.http.request`: what resources can rely on."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource, Resource

from pushd.gateway.http.request import GatewayRequest, origin_form, response
from tests.gateway.callers import Answer, Caller
from tests.gateway.file_folders import Folder


class Page(Resource):
    """An ordinary Twisted resource, as rooms to come may have."""

    isLeaf = True

    def render_GET(self, request: GatewayRequest) -> bytes:
        return b'{"a":"%s"}' % request.argument(b"a")

    def render_POST(self, request: GatewayRequest) -> bytes:
        raise RuntimeError("no")


def ask(method: str, target: str, page: IResource) -> Answer:
    caller = Caller()
    caller.site.resource = page
    return caller.request(method, target)


class ResourceTests(SynchronousTestCase):
    """Twisted's way to answer works, without Twisted's pages"""

    def test_bytes_are_an_answer(self) -> None:
        """With the first value of a repeated argument, percent-decoded."""
        self.assertEqual(ask("GET", "/x?a=%31+2&a=3", Page()).json, {"a": "1 2"})

    def test_a_method_that_a_resource_lacks_is_404(self) -> None:
        """Twisted would answer in HTML."""
        self.assertEqual(ask("DELETE", "/x", Page()).code, 40401)

    def test_an_exception_is_500_and_logged(self) -> None:
        """Twisted would answer in HTML here, too."""
        self.assertEqual(ask("POST", "/x", Page()).code, 50001)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class ResponseTests(SynchronousTestCase):
    """The one place where an answer is put together"""

    def test_every_status_of_the_catalogue_has_a_reason_phrase(self) -> None:
        """429 is missing from Twisted's own table."""
        self.assertTrue(response(429, b"").startswith(b"HTTP/1.1 429 Too Many Requests\r\n"))

    def test_only_the_path_of_an_absolute_target_counts(self) -> None:
        """With nothing behind the host it is the root."""
        self.assertEqual(origin_form(b"http://h:80/a?b"), b"/a?b")
        self.assertEqual(origin_form(b"https://h"), b"/")
        self.assertEqual(origin_form(b"/http://h"), b"/http://h")


class UploadTests(SynchronousTestCase):
    """A body that is a file"""

    def ask(self, page: IResource) -> tuple[Answer, Folder]:
        """:return: what a page answers to one, and where it was."""
        caller, folder = Caller(), Folder(self)
        caller.site.resource = page
        caller.site.uploads = folder.uploads
        return caller.request("PUT", "/x", b"x" * 100_000), folder

    def test_a_page_that_knows_no_files_refuses_it(self) -> None:
        """Whoever asks for the body does not want so much."""
        answer, folder = self.ask(Echo())
        self.assertEqual(answer.code, 41301)
        self.assertEqual((folder.files, folder.uploads.room.bytes), ([], 0))

    def test_nobody_keeps_it_by_not_looking(self) -> None:
        """It is gone with its answer."""
        answer, folder = self.ask(Blind())
        self.assertEqual(answer.json, {"looked": False})
        self.assertEqual((folder.files, folder.uploads.room.bytes), ([], 0))


class Echo(Resource):
    """Looks at what it is sent."""

    isLeaf = True

    def render_PUT(self, request: GatewayRequest) -> bytes:
        return request.body


class Blind(Resource):
    """Does not."""

    isLeaf = True

    def render_PUT(self, request: GatewayRequest) -> bytes:
        return b'{"looked":false}'
