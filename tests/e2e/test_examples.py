"""The examples that the API was specified with, as they were written: only host, scheme, token and key are replaced."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.e2e.conftest import Running, Start
from tests.support.browser import OPTIONS

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parent / "examples"


@pytest.fixture(scope="module")
def up(start: Start) -> Running:
    """A first start, whose key is the one that it prints."""
    running = start("up", fresh=True)
    running.key = running.until_said(r"\b(ek_\w+)")[1]
    return running


def example(name: str, up: Running) -> str:
    text = (EXAMPLES / name).read_text()
    host = up.web.removeprefix("http://")
    text = text.replace("https://api.example.com", up.web).replace("ws://api.example.com", f"ws://{host}")
    return text.replace("your-api-key", up.key)


def test_the_python_example_reads_a_price(up: Running) -> None:
    """The Python example, which sends a token and a key, gets the five fields of the price, all of them strings."""
    answer = requests.post(f"{up.web}/v1/auth/token", headers={"X-API-Key": up.key}, timeout=20)
    names: dict[str, Any] = {"token": answer.json()["access_token"]}
    exec(compile(example("rest.py", up), "rest.py", "exec"), names)
    price = names["get_market_price"]("BTC-USDT")
    assert list(price) == ["symbol", "price", "timestamp", "volume", "exchange"]
    assert price["symbol"] == "BTC-USDT"
    assert re.fullmatch(r"\d+\.\d{2}", price["price"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", price["timestamp"])
    assert all(isinstance(value, str) for value in price.values())


def test_the_python_example_opens_a_position(up: Running) -> None:
    """The Python example, whose headers stand outside the function as it has them, opens a position at leverage 1."""
    headers = {"X-API-Key": up.key}
    names: dict[str, Any] = {"token": "", "headers": headers}
    exec(compile(example("rest.py", up), "rest.py", "exec"), names)
    answer = names["create_position"]("BTC-USDT", "0.5")
    assert list(answer) == ["position_id", "status", "timestamp"]
    assert answer["status"] == "success"
    held = requests.get(f"{up.web}/v1/portfolio/positions", headers=headers, timeout=20).json()["positions"]
    assert [(one["position_id"], one["size"], one["type"], one["leverage"]) for one in held] == [
        (answer["position_id"], "0.5", "long", "1")
    ]


def test_the_javascript_example_prints_prices_in_node(up: Running) -> None:
    """Node prints the snapshot and the trades after it, and nothing else."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("skipped: no Node.js")
    version = subprocess.run([node, "-p", "process.versions.node"], check=True, capture_output=True, text=True).stdout
    flags = ["--experimental-websocket"] if int(version.split(".")[0]) < 22 else []
    program = subprocess.Popen(
        [node, *flags, "--no-warnings", "-e", example("market.js", up)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert program.stdout is not None
        lines = [program.stdout.readline() for _ in range(4)]
    finally:
        program.kill()
        program.wait(timeout=10)
    assert all(re.fullmatch(r"BTC-USDT: \d+\.\d{2}\n", line) for line in lines), lines


@pytest.mark.browser
def test_the_javascript_example_prints_prices_in_chromium(up: Running) -> None:
    """A browser prints the snapshot and the trades after it, and nothing else."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("skipped: no Chromium")
    from playwright.sync_api import sync_playwright

    printed: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        page = browser.new_page()
        page.goto(f"{up.web}/api/v1/market/instruments")
        page.on("console", lambda message: message.type == "log" and printed.append(message.text))
        page.add_script_tag(content=example("market.js", up))
        while len(printed) < 4:
            page.wait_for_event("console", timeout=20_000)
        browser.close()
    assert all(re.fullmatch(r"BTC-USDT: \d+\.\d{2}", line) for line in printed), printed
