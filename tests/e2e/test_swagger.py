"""Swagger UI as a stranger finds it at /docs: a key pasted once, and every endpoint answers "Execute"."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import requests
import yaml
from tests.e2e.conftest import Running, Start, eventually
from tests.support.browser import chromium, until, violations, watched

from entasis_engine import assets

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(600)]

OPENAPI = yaml.safe_load(assets.path("gen/openapi/entasis.yaml").read_text())
OPERATIONS = {
    operation["operationId"]: (method, path, operation)
    for path, methods in OPENAPI["paths"].items()
    for method, operation in methods.items()
    if "operationId" in operation
}
LAST = ("closePositionByDelete", "closePosition")  # what they close is looked at before


@pytest.fixture(scope="module")
def up(start: Start) -> Running:
    """An engine on a fresh folder, whose models are trained before anybody asks."""
    running = start("up", fresh=True, training="auto", hourly_history_days=190, symbols="BTC-USDT,ETH-USDT")
    running.key = running.until_said(r"\b(ek_\w+)")[1]

    def answered() -> int:
        path = "/api/v1/analysis/prediction/BTC-USDT"
        return requests.get(running.web + path, headers={"X-API-Key": running.key}, timeout=20).status_code

    eventually(answered, lambda status: status == 200, seconds=150)
    return running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def page(up: Running, browser: Browser) -> Iterator[Page]:
    """Swagger UI with the demo key pasted; at the end, nothing was complained of and no other host was asked."""
    with watched(browser, up.web) as page:
        page.set_default_timeout(60_000)
        page.goto(f"{up.web}/docs")
        page.wait_for_selector(".opblock")
        page.click("button.authorize")
        page.fill("#api_key_value", up.key)
        page.click(".modal-ux .auth-container:has(#api_key_value) button.authorize")
        page.click(".modal-ux .btn-done")
        yield page


def test_every_endpoint_answers_execute(page: Page) -> None:
    """Each operation of the document, executed with the values that stand in its form, gives its success.

    Only the id of a position is put in: of one that was opened in the same way just before.
    """
    shown = page.locator(".opblock").evaluate_all("all => all.map(one => one.id.split('-').at(-1))")
    assert sorted(shown) == sorted(OPERATIONS)
    answers = {}
    for name in [*(one for one in ("createPosition", *shown) if one not in LAST), *LAST]:
        if name not in answers:
            answers[name] = executed(page, name, answers)
    for name, (status, body) in answers.items():
        _, path, operation = OPERATIONS[name]
        assert status == min(code for code in operation["responses"] if code.startswith("2")), (name, body)
        first = body.splitlines()[0] if path.endswith(":stream") else body
        assert isinstance(json.loads(first), dict), (name, body[:300])


def executed(page: Page, name: str, answers: dict[str, tuple[str, str]]) -> tuple[str, str]:
    """The status and the body that Swagger UI shows for an operation."""
    operation = OPERATIONS[name][2]
    block = page.locator(f".opblock[id$='-{name}']")
    block.locator(".opblock-summary-control").click()
    block.locator("button.execute").wait_for()
    if any(one.get("name") == "position_id" for one in operation["parameters"]):
        position = json.loads(answers["createPosition"][1])["position_id"]
        block.locator("tr[data-param-name=position_id] input").fill(position)
    block.locator("button.execute").click()
    row = block.locator(".live-responses-table .response").first
    row.wait_for()
    status = row.locator(".response-col_status").inner_text().split()[0]
    body = row.locator(".response-col_description code, .response-col_description pre").first.inner_text()
    block.locator(".opblock-summary-control").click()
    return status, body


def test_a_key_that_was_pasted_outlives_a_reload_and_no_tab(page: Page) -> None:
    """The key is kept for the tab, so that a reload needs no second paste, and nowhere that outlives the tab."""
    page.reload()
    page.wait_for_selector("button.authorize.locked")
    assert page.evaluate("localStorage.length") == 0
    assert page.context.cookies() == []


def test_axe_finds_nothing(up: Running, browser: Browser) -> None:
    """With an operation open and its answer shown, axe has nothing to say, on a phone and on a desk."""
    with watched(browser, up.web) as page:
        page.goto(f"{up.web}/docs")
        block = page.locator("#operations-Market-streamPrices")
        block.locator(".opblock-summary-control").click()
        block.locator("button.execute").click()
        block.locator(".live-responses-table .response").first.wait_for()
        page.locator("#operations-Portfolio-createPosition .opblock-summary-control").click()
        page.locator("#operations-Portfolio-createPosition textarea").wait_for()
        for width, theme in ((390, "light"), (1280, "dark")):  # axe takes seconds for each, the page being large
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=theme)
            until(page, "dark => document.documentElement.classList.contains('dark-mode') === dark", theme == "dark")
            until(page, "() => document.getAnimations().every(one => one.playState !== 'running')")  # colours fade
            assert violations(page) == [], (width, theme)
