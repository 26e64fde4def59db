"""Take the pictures in docs/screenshots of the console and of Swagger UI, at two widths and in both themes.

python -m scripts.screenshots              of an engine that it starts for this, on a simulated exchange
python -m scripts.screenshots --url URL    of one that runs, with a key in ENTASIS_KEY; positions come and go

Needs Chromium, and Playwright for Python. Prices are those of the moment, sizes and what is shown are always the same.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "screenshots"
VIEWPORTS = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
THEMES = ("light", "dark")
START_SECONDS_MAX = 60.0
TRAINING_SECONDS_MAX = 180.0
POSITIONS = (
    {"symbol": "BTC-USDT", "size": "0.5", "type": "long", "leverage": "5"},
    {"symbol": "ETH-USDT", "size": "4.2", "type": "short", "leverage": "3"},
)
OPTIONS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="an engine that runs, such as http://127.0.0.1:8080")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("Chromium is not installed.", file=sys.stderr)
        return 1
    PICTURES.mkdir(exist_ok=True)
    if arguments.url:
        take(chromium, arguments.url.rstrip("/"), os.environ["ENTASIS_KEY"])
    else:
        with engine() as (url, key):
            take(chromium, url, key)
    return 0


@contextmanager
def engine() -> Iterator[tuple[str, str]]:
    """A first start in a folder of its own: where it is, and the key that it prints."""
    with tempfile.TemporaryDirectory() as folder:
        ports = ("rest_port", "grpc_port", "envoy_admin_port", "metrics_port", "https_port")
        settings = {"data_dir": folder, "hourly_history_days": "190", **dict.fromkeys(ports, "0")}
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "entasis"), "up"],
            env=os.environ | {f"ENTASIS_{name.upper()}": value for name, value in settings.items()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield said(process)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)


def said(process: subprocess.Popen[str]) -> tuple[str, str]:
    """URL and key out of what the engine prints. Raises RuntimeError where it ends or says neither in time."""
    assert process.stderr is not None
    deadline = time.monotonic() + START_SECONDS_MAX
    text = ""
    for line in process.stderr:
        text += line
        if found := re.search(r"(ek_\w+)' (http://127\.0\.0\.1:\d+)/", text):
            return found[2], found[1]
        if time.monotonic() > deadline:
            break
    raise RuntimeError(f"The engine did not start:\n{text}")


def call(method: str, url: str, key: str, body: object = None) -> Any:
    """The decoded answer of a REST call. Raises urllib.error.HTTPError."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"X-API-Key": key}, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def until_trained(url: str, key: str) -> None:
    """Wait until the longest horizon has a forecast: it is the last to be trained."""
    deadline = time.monotonic() + TRAINING_SECONDS_MAX
    while True:
        try:
            call("GET", f"{url}/api/v1/analysis/prediction/BTC-USDT?timeframe=1d", key)
            return
        except urllib.error.HTTPError as error:
            if error.code != 503 or time.monotonic() > deadline:
                raise
        time.sleep(1)


def take(chromium: str, url: str, key: str) -> None:
    """All pictures of one engine. The positions that it opens for them are closed again."""
    from playwright.sync_api import sync_playwright

    until_trained(url, key)
    portfolio = f"{url}/api/v1/portfolio/positions"
    opened = [call("POST", portfolio, key, position)["position_id"] for position in POSITIONS]
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
            for size in VIEWPORTS:
                for theme in THEMES:
                    console(browser, url, key, size, theme)
                    swagger(browser, url, size, theme)
            browser.close()
    finally:
        for position in opened:
            call("DELETE", f"{portfolio}/{position}", key)


def console(browser: Browser, url: str, key: str, size: str, theme: str) -> None:
    """The console with everything on it."""
    context = browser.new_context(viewport=VIEWPORTS[size], color_scheme=theme, locale="en-US")  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(url + "/")
    page.fill("#key", key)
    page.press("#key", "Enter")
    page.wait_for_selector('#chart[data-forecast="1h"]')
    page.wait_for_selector('#feed[data-state="live"]')
    for selector in ("[data-position] >> nth=1", "#balances dd", "#account-risk dd", "#risk dd", "#accuracy td"):
        page.wait_for_selector(selector)
    page.fill("#order-size", "0.25")
    page.evaluate("document.activeElement.blur()")
    page.wait_for_selector("#toast", state="hidden")  # what was said at the start has been read
    keep(page.screenshot(full_page=True), f"console-{size}-{theme}")
    context.close()


def swagger(browser: Browser, url: str, size: str, theme: str) -> None:
    """Swagger UI where its operations begin."""
    context = browser.new_context(viewport=VIEWPORTS[size], color_scheme=theme, locale="en-US")  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(url + "/docs")
    page.wait_for_selector(".opblock")
    page.evaluate("document.querySelector('.scheme-container').scrollIntoView()")
    keep(page.screenshot(), f"swagger-{size}-{theme}")
    context.close()


def keep(picture: bytes, name: str) -> None:
    """Write a picture into docs/screenshots, and say how large it is."""
    (PICTURES / f"{name}.png").write_bytes(picture)
    print(f"{name}.png: {len(picture) / 1000:.0f} kB")


if __name__ == "__main__":
    sys.exit(main())
