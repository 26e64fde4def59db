"""The TypeScript program in a real browser, over gRPC-Web, on a page of another origin than the engine's."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import Running, Start, eventually
from tests.support.browser import OPTIONS, executable

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(400)]

PROGRAM = Path(__file__).parents[1] / "stubs" / "typescript"
DECIMAL = r"-?\d+(\.\d+)?"
LINES = [
    rf"price BTC-USDT {DECIMAL}",
    rf"history 5 candles, last close {DECIMAL}",
    rf"opened (pos_\w+) at {DECIMAL}",
    rf"closed (pos_\w+) pnl {DECIMAL}",
    "prediction unavailable AI_001",  # engines of tests train no models unless they are asked to
    rf"stream BTC-USDT \d+ {DECIMAL}",
    rf"stream BTC-USDT \d+ {DECIMAL}",
    rf"stream BTC-USDT \d+ {DECIMAL}",
    "error PORT_001 Insufficient balance: .*",
    "done",
]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


@pytest.fixture(scope="module")
def chromium() -> str:
    found = executable()
    if found is None:
        pytest.skip("skipped: no Chromium")
    return found


@pytest.fixture(scope="module")
def page_address(chromium: str) -> Iterator[str]:
    """Where the built page is served, by a server that knows nothing of the engine."""
    if shutil.which("npm") is None:
        pytest.skip("skipped: no npm")
    subprocess.run([sys.executable, str(PROGRAM / "build.py")], check=True)
    handler = functools.partial(Quiet, directory=str(PROGRAM / "dist"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_page_trades_over_grpc_web(chromium: str, page_address: str, start: Start) -> None:
    """The page shows the lines that the program prints in Node.js, and neither it nor the browser complains."""
    from playwright.sync_api import sync_playwright

    up: Running = start("up")
    eventually(lambda: up.get("/api/v1/market/history/BTC-USDT")[0], lambda status: status == 200)
    complaints: list[str] = []
    ended: list[str] = []
    origins: set[str] = set()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        page = browser.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: origins.add("/".join(request.url.split("/")[:3])))
        page.on("requestfailed", lambda request: ended.append(request.url))
        page.goto(page_address)
        page.get_by_label("Address").fill(up.web)
        page.get_by_label("API key").fill(up.key)
        page.get_by_role("button").click()
        page.wait_for_function("document.querySelector('output').textContent.split('\\n').length > 10", timeout=30_000)
        lines = page.locator("output").inner_text().splitlines()
        browser.close()

    assert not complaints
    assert origins - {"data:,"} == {page_address, up.web}
    assert ended == [f"{up.web}/entasis.market.v1.MarketService/StreamPrices"]  # by the page, once it had enough
    assert len(lines) == len(LINES), lines
    for pattern, line in zip(LINES, lines, strict=True):
        assert re.fullmatch(pattern, line), line
    (position,) = up.get("/api/v1/portfolio/positions?status=closed")[1]["positions"]
    assert [line.split()[1] for line in lines[2:4]] == [position["position_id"]] * 2
    assert lines[2].split()[3] == position["entry_price"]
