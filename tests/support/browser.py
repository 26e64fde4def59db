"""A real Chromium for tests, and what each page of ours must keep to: no errors, and no word to any other host."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, WebSocket

OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
REFUSED = re.compile(r"Failed to load resource: the server responded with a status of \d+")
"""What Chromium says of every answer of 4xx and 5xx, those too that a page expects and handles."""


def executable() -> str | None:
    """Where Chromium is, if it is anywhere."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium; skips the test where there is none."""
    program = executable()
    if program is None:
        pytest.skip("skipped: no Chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="skipped: no Playwright")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=OPTIONS)
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page, and what went wrong on it so far."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.problems: list[str] = []
        self._host = urlsplit(origin).netloc
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        page.on("request", lambda request: self._asked(request.url))
        page.on("websocket", self._connected)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.problems.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def _connected(self, socket: WebSocket) -> None:
        self._asked(socket.url)

    def _asked(self, url: str) -> None:
        if not url.startswith(("data:", "blob:")) and urlsplit(url).netloc != self._host:
            self.problems.append(f"request to another host: {url}")

    def unexpected(self, *expected: re.Pattern[str]) -> list[str]:
        """The problems that no pattern describes."""
        return [one for one in self.problems if not any(pattern.search(one) for pattern in expected)]


@contextmanager
def watched(browser: Browser, origin: str, *expected: re.Pattern[str], **options: Any) -> Iterator[Page]:
    """A page of its own in a context of its own; at the end nothing may have gone wrong but what is expected."""
    context = browser.new_context(**options)
    try:
        watch = Watched(context.new_page(), origin)
        yield watch.page
        assert watch.unexpected(*expected) == []
    finally:
        context.close()


def until(page: Page, expression: str, argument: object = None, seconds: float = 30.0) -> None:
    """Wait until an expression is true: `wait_for_function` has the page itself evaluate it, which its CSP forbids."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression, argument):
        if time.monotonic() > deadline:
            raise AssertionError(f"never true: {expression} ({argument!r})")
        page.wait_for_timeout(20)


def violations(page: Page) -> list[str]:
    """What axe finds against the page as it is: rule, element, and what is wrong with it."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="skipped: no axe")
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {node['target']}: {node.get('failureSummary', '')}" for rule in found for node in rule["nodes"]
    ]


def tab_to(page: Page, selector: str, presses: int = 80) -> None:
    """Press Tab until the element has the focus, as somebody without a mouse does."""
    for _ in range(presses):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement?.matches(selector)", selector):
            return
    raise AssertionError(f"Tab never came to {selector}")
