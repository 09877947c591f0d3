"""Chromium without a window, and a web server for the page that it is to show."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import text_to_be_present_in_element
from selenium.webdriver.support.wait import WebDriverWait

from tests.processes import DEADLINE_S, program

# Nothing but the page shall be fetched, and no state of anybody's be read or kept.
_FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_BETWEEN_LOOKS_S = 0.05

# What a page that is being drawn anew may say of an element.
_NOT_YET = (NoSuchElementException, StaleElementReferenceException)


class Browser:
    """One, with one tab and a profile of its own. Any certificate will do."""

    def __init__(self) -> None:
        self._profile = tempfile.mkdtemp(prefix="pushd-browser-")
        options = ChromeOptions()
        options.binary_location = program("chromium" if shutil.which("chromium") else "google-chrome")
        options.accept_insecure_certs = True
        for flag in (*_FLAGS, f"--user-data-dir={self._profile}"):
            options.add_argument(flag)
        if os.getuid() == 0:
            options.add_argument("--no-sandbox")  # its sandbox is not for root
        self._driver = Chrome(options, Service(program("chromedriver")))
        self._driver.set_page_load_timeout(DEADLINE_S)

    def open(self, address: str) -> None:
        """Show a page."""
        self._driver.get(address)

    def wait_for(self, element: str, text: str) -> None:
        """
        Until the element with this id shows the text.

        :raises TimeoutException: it does not.
        """
        there = text_to_be_present_in_element((By.ID, element), text)
        WebDriverWait(self._driver, DEADLINE_S, _BETWEEN_LOOKS_S).until(there, f"no {text!r} in #{element}")

    def texts(self, selector: str) -> list[str]:
        """What the elements that a CSS selector means show."""
        return [element.text for element in self._driver.find_elements(By.CSS_SELECTOR, selector)]

    def type(self, selector: str, text: str) -> None:
        """Into a field; ``\\n`` sends the form."""
        self._driver.find_element(By.CSS_SELECTOR, selector).send_keys(text)

    def click(self, selector: str) -> None:
        """On the first element of this kind, as soon as it is there."""
        self._wait(lambda driver: driver.find_element(By.CSS_SELECTOR, selector)).click()

    def wait_for_text(self, selector: str, text: str) -> None:
        """
        Until some element of this kind shows the text.

        :raises TimeoutException: none does.
        """
        self._wait(
            lambda _: any(text in shown for shown in self.texts(selector)), f"no {text!r} in {selector}"
        )

    def attribute(self, selector: str, name: str) -> str:
        """What the first element of this kind has for it, as soon as it is there."""
        element = self._wait(lambda driver: driver.find_element(By.CSS_SELECTOR, selector))
        return str(element.get_attribute(name))

    def run(self, script: str) -> Any:
        """What a function body in JavaScript returns."""
        return self._driver.execute_script(script)

    def resize(self, width: int, height: int) -> None:
        """To so many pixels."""
        self._driver.set_window_size(width, height)

    def save_screenshot(self, path: Path) -> None:
        """As PNG."""
        self._driver.save_screenshot(str(path))

    def errors(self) -> list[str]:
        """What the browser had to complain about since the last time: scripts, policies, requests."""
        return [entry["message"] for entry in self._driver.get_log("browser") if entry["level"] == "SEVERE"]

    def _wait(self, condition: Callable[[Chrome], Any], problem: str = "") -> Any:
        waiting = WebDriverWait(self._driver, DEADLINE_S, _BETWEEN_LOOKS_S, _NOT_YET)
        return waiting.until(condition, problem)

    def close(self) -> None:
        self._driver.quit()
        shutil.rmtree(self._profile, ignore_errors=True)


class WebServer:
    """Serves a few files at the root, by their names, on a loopback port."""

    def __init__(self, port: int, *files: Path) -> None:
        contents = {f"/{file.name}": file.read_bytes() for file in files}
        self._server = ThreadingHTTPServer(("127.0.0.1", port), partial(_Answer, contents))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Answer(BaseHTTPRequestHandler):
    """To one request, or several over one connection."""

    def __init__(self, contents: dict[str, bytes], *of_connection: object) -> None:
        self._contents = contents
        super().__init__(*of_connection)  # type: ignore[arg-type]  # the server's business

    def do_GET(self) -> None:
        content = self._contents.get(self.path.partition("?")[0])
        self.send_response(404 if content is None else 200)
        kind = "text/javascript" if self.path.endswith(".js") else "text/html"
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the tests have output of their own."""
