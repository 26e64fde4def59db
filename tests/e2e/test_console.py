"""The console in a real browser: it shows what the engine says, and can be used without a mouse, and in Korean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import requests
from tests.e2e.conftest import Running, Start, eventually
from tests.support.browser import REFUSED, chromium, tab_to, until, violations, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(600)]

LOST = re.compile("WebSocket connection to|ERR_CONNECTION_REFUSED|ERR_FAILED|status of 50[0-9]")
"""What Chromium says by itself of an engine that is not there."""
DESKTOP = {"width": 1280, "height": 900}
COLOURS_SHOWN = """() => {
  const colours = new Set();
  for (const canvas of document.querySelectorAll("#chart canvas")) {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width || 1, canvas.height || 1);
    for (let at = 0; at < data.length; at += 4) if (data[at + 3]) colours.add(data.slice(at, at + 3).join());
  }
  return [...colours];
}"""
MARKUP_WITHOUT_WORDS = """async () => {
  const { WORDS } = await import("/console/i18n.js");
  const marked = [...document.querySelectorAll("[data-t], [data-t-label]")];
  const named = marked.flatMap((one) => [one.dataset.t, one.dataset.tLabel]).filter(Boolean);
  const values = (text) => [...text.matchAll(/{\\w+}/g)].map(String).sort().join();
  const odd = Object.entries(WORDS).filter(([, both]) => both.length !== 2 || new Set(both.map(values)).size > 1);
  return [...odd.map(([name]) => name), ...named.filter((name) => !WORDS[name])];
}"""


@pytest.fixture(scope="module")
def up(start: Start) -> Running:
    """An engine with a forecast for the next hour."""
    running = start("up", training="auto", hourly_history_days=190, symbols="BTC-USDT,ETH-USDT")
    eventually(
        lambda: running.get("/api/v1/analysis/prediction/BTC-USDT")[0], lambda status: status == 200, seconds=400
    )
    return running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def enter_key(page: Page, key: str) -> None:
    """By the keyboard alone, from the top of the page."""
    tab_to(page, "#key")
    page.keyboard.insert_text(key)
    page.keyboard.press("Enter")
    page.wait_for_selector("#account:not([hidden])")


def until_changed(page: Page, selector: str) -> None:
    """Wait until an element's text is another."""
    before = page.inner_text(selector)
    until(page, "([selector, before]) => document.querySelector(selector).textContent !== before", [selector, before])


def test_prices_and_the_book_move_without_a_key(up: Running, browser: Browser) -> None:
    """What is public needs no key: all that is listed is shown; what needs one says so where it would stand."""
    with watched(browser, up.web, viewport=DESKTOP, locale="en-US") as page:
        page.goto(up.web + "/")
        page.wait_for_selector('#connection[data-state="connected"]')
        page.wait_for_selector('#feed[data-state="live"]')
        until_changed(page, "#last")
        until_changed(page, ".bids tbody")
        until(page, "document.querySelectorAll('#prices tbody tr').length === 2")
        assert re.fullmatch(r"[\d,]+\.\d\d", page.inner_text("#last"))
        assert "need an API key" in page.inner_text("#forecast")
        page.get_by_role("button", name="ETH-USDT").press("Enter")
        assert page.inner_text("#chart-title") == "ETH-USDT"


def test_an_engine_that_shows_nothing_without_a_key_says_so(up: Running, browser: Browser) -> None:
    """Where the instruments may not be listed, their place says what is needed, in both languages."""
    with watched(browser, up.web, REFUSED, viewport=DESKTOP, locale="ko-KR") as page:

        def refuse_without_a_key(route: Route) -> None:
            if "x-api-key" in route.request.headers:
                route.continue_()
            else:
                route.fulfill(status=401, json={"message": "-"})

        page.route("**/market/instruments", refuse_without_a_key)
        page.goto(up.web + "/")
        until(page, "document.querySelector('#prices-empty').textContent.includes('API 키 없이는')")
        page.select_option("#language", "en")
        assert "without an API key" in page.inner_text("#prices-empty")
        enter_key(page, up.key)
        until(page, "document.querySelectorAll('#prices tbody tr').length === 2")
        page.wait_for_selector("#prices-empty", state="hidden")


def test_the_chart_shows_candles_and_the_forecast(up: Running, browser: Browser) -> None:
    """History and forecast are drawn, are told in words, and stand in a table, all as REST has them."""
    # An hour may end between the page's question and ours, and with it the forecast.
    forecasts = [up.get("/api/v1/analysis/prediction/BTC-USDT")[1]["prediction"]]
    with watched(browser, up.web, viewport=DESKTOP, locale="en-US") as page:
        page.goto(up.web + "/")
        enter_key(page, up.key)
        page.wait_for_selector('#chart[data-forecast="1h"]')
        until(page, "Number(document.querySelector('#chart').dataset.candles) > 400")
        eventually(lambda: len(page.evaluate(COLOURS_SHOWN)), lambda count: count > 20)
        forecasts.append(up.get("/api/v1/analysis/prediction/BTC-USDT")[1]["prediction"])
        until(page, "all => all.some((one) => document.querySelector('#chart').ariaLabel.includes(one))", forecasts)
        page.locator("#candles summary").press("Enter")
        second = page.locator("#candles tbody tr").nth(1)
        until(page, "document.querySelectorAll('#candles tbody tr').length > 1")
        cells = [cell.replace(",", "") for cell in second.locator("td").all_inner_texts()]
        newest = up.get("/api/v1/market/history/BTC-USDT?interval=1m&page_size=2")[1]["data"]
        assert cells in [[one[name] for name in ("open", "high", "low", "close", "volume")] for one in newest]
        for interval in ("5m", "1h", "1d"):
            page.get_by_role("radio", name=interval).first.press("Space")
            until(page, "words => document.querySelector('#chart').ariaLabel.includes(words)", interval)


def test_a_position_is_opened_and_closed_by_keyboard_alone(up: Running, browser: Browser) -> None:
    """Key, size, Enter: the position arrives by the stream and its PnL moves; a part is closed, and then the rest."""
    with watched(browser, up.web, viewport=DESKTOP, locale="en-US") as page:
        page.goto(up.web + "/")
        enter_key(page, up.key)
        until(page, "document.querySelector('#order-symbol').options.length === 2")
        tab_to(page, "#order-size")
        page.keyboard.type("0.02")
        page.keyboard.press("Enter")
        row = page.wait_for_selector("[data-position]")
        assert row is not None
        number = row.get_attribute("data-position")
        (held,) = up.get("/api/v1/portfolio/positions")[1]["positions"]
        assert (held["position_id"], held["symbol"], held["size"], held["type"]) == (number, "BTC-USDT", "0.02", "long")
        until_changed(page, "[data-position] td:nth-child(5)")
        assert re.fullmatch(r"[+−]?[\d,]+\.\d+", page.inner_text("[data-position] td:nth-child(5)"))
        until(page, "document.querySelector('#account-risk').textContent.includes('VaR')")

        tab_to(page, "[data-position] button")
        page.keyboard.press("Enter")
        page.wait_for_selector("#close[open]")
        assert page.evaluate("document.activeElement.id") == "close-size"
        page.keyboard.type("0.005")
        page.keyboard.press("Enter")
        until(page, "document.querySelector('[data-position] td').textContent === '0.015'")

        page.focus("[data-position] button")
        page.keyboard.press("Enter")
        tab_to(page, "#close-confirm", presses=4)
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-position]", state="detached")
        until(page, "document.querySelector('#toast').textContent.startsWith('Closed: Long BTC-USDT')")
        assert up.get("/api/v1/portfolio/positions")[1]["positions"] == []


def test_a_wrong_size_is_told_at_its_field_in_korean(up: Running, browser: Browser) -> None:
    """Before anything is sent, and by the engine too, the field says what is wrong with it, in the page's language."""
    with watched(browser, up.web, REFUSED, viewport=DESKTOP, locale="ko-KR") as page:
        page.goto(up.web + "/")
        assert page.get_attribute("html", "lang") == "ko"
        enter_key(page, up.key)
        until(page, "document.querySelector('#order-symbol').options.length === 2")
        page.fill("#order-size", "많이")
        page.press("#order-size", "Enter")
        assert page.inner_text("#order-size-error") == "0.5처럼 숫자를 입력해 주세요"
        page.fill("#order-size", "0.000001")
        page.press("#order-size", "Enter")
        until(page, "document.querySelector('#order-size-error').textContent.includes('0.00001의 양의 배수')")
        assert page.get_attribute("#order-size", "aria-invalid") == "true"
        assert page.evaluate("document.activeElement.id") == "order-size"
        page.select_option("#language", "en")
        assert page.inner_text("#order-title") == "Open a position"
        assert page.evaluate(MARKUP_WITHOUT_WORDS) == []


def test_a_key_lives_as_long_as_its_tab_or_until_it_is_forgotten(up: Running, browser: Browser) -> None:
    """It survives a reload, a wrong one is refused in words, and a forgotten one is nowhere any more."""
    with watched(browser, up.web, REFUSED, viewport=DESKTOP, locale="en-US") as page:
        page.goto(up.web + "/")
        page.fill("#key", "ek_wrong")
        page.press("#key", "Enter")
        until(page, "document.querySelector('#key-error').textContent.includes('the API key is not valid')")
        page.fill("#key", up.key)
        page.press("#key", "Enter")
        page.wait_for_selector("#account:not([hidden])")
        page.reload()
        page.wait_for_selector("#account:not([hidden])")
        until(page, "document.querySelector('#account-name').textContent.includes('acc_')")
        page.click("#forget")
        page.wait_for_selector("#key-form:not([hidden])")
        assert "need an API key" in page.inner_text("#positions")
        kept = page.evaluate(
            "JSON.stringify([sessionStorage, localStorage, document.cookie, document.documentElement.outerHTML])"
        )
        assert up.key not in kept


def test_an_order_whose_answer_is_lost_is_done_once(up: Running, browser: Browser) -> None:
    """The page sends it again by itself, with the same Idempotency-Key, and the engine opens one position."""
    keys: list[str] = []

    def lose_the_first_answer(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            route.fetch()
            route.abort()
        else:
            route.continue_()

    with watched(browser, up.web, LOST, viewport=DESKTOP, locale="en-US") as page:
        page.route("**/api/v1/portfolio/positions", lose_the_first_answer)
        page.goto(up.web + "/")
        enter_key(page, up.key)
        until(page, "document.querySelector('#order-symbol').options.length === 2")
        page.get_by_role("radio", name="Short").press("Space")
        page.fill("#order-size", "0.01")
        page.press("#order-size", "Enter")
        until(page, "document.querySelector('#order-size').value === ''")
        (held,) = up.get("/api/v1/portfolio/positions")[1]["positions"]
        assert (held["type"], held["size"]) == ("short", "0.01")
        assert len(keys) == 2
        assert keys[0] == keys[1]
    call = {"headers": {"X-API-Key": up.key}, "timeout": 20}
    requests.delete(f"{up.web}/api/v1/portfolio/positions/{held['position_id']}", **call)


def test_nothing_is_asked_while_nobody_looks(up: Running, browser: Browser) -> None:
    """A hidden tab sends no requests; a forecast that is not there yet says when it is looked for again."""
    asked: list[str] = []
    reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "AI_001"}
    training = {"status": 503, "json": {"message": "-", "details": [reason]}, "headers": {"Retry-After": "7"}}
    hide = """hidden => {
      Object.defineProperty(document, "hidden", { configurable: true, value: hidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    with watched(browser, up.web, REFUSED, viewport=DESKTOP, locale="en-US") as page:
        page.route("**/prediction/**", lambda route: route.fulfill(**training))
        page.on("request", lambda request: asked.append(request.url))
        page.clock.install()
        page.goto(up.web + "/")
        enter_key(page, up.key)
        until(page, "document.querySelector('#forecast').textContent.includes('being trained. Next look in 7 s')")
        page.wait_for_selector("#balances dd")
        page.wait_for_load_state("networkidle")
        page.evaluate(hide, True)
        page.evaluate("fetch('/?hidden').then((answer) => answer.text())")  # what was under way is told of by now
        asked.clear()
        page.clock.fast_forward(600_000)
        page.evaluate("fetch('/?last').then((answer) => answer.text())")
        assert [url for url in asked if "?last" not in url] == []
        page.evaluate(hide, False)
        eventually(lambda: page.evaluate("1") and asked, lambda urls: any("/api/" in url for url in urls))


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en-US", "ko-KR"])
def test_it_is_accessible_and_fits(up: Running, browser: Browser, width: int, theme: str, language: str) -> None:
    """axe finds nothing with everything on the page, nor in the dialog; nothing is wider than the screen."""
    body = {"symbol": "ETH-USDT", "size": "0.5", "type": "short", "leverage": "3"}
    call = {"headers": {"X-API-Key": up.key}, "timeout": 20}
    opened = requests.post(f"{up.web}/api/v1/portfolio/positions", json=body, **call).json()
    viewport = {"width": width, "height": 800}
    with watched(browser, up.web, viewport=viewport, color_scheme=theme, locale=language) as page:
        page.goto(up.web + "/")
        page.wait_for_selector('#feed[data-state="live"]')
        assert violations(page) == []
        enter_key(page, up.key)
        page.wait_for_selector('#chart[data-forecast="1h"]')
        page.wait_for_selector("[data-position]")
        page.locator("#candles summary").press("Enter")
        page.wait_for_selector("#accuracy table")
        assert violations(page) == []
        for fits in (width, 900):
            page.set_viewport_size({"width": fits, "height": 800})
            until(page, "document.documentElement.scrollWidth <= innerWidth")
        page.set_viewport_size(viewport)
        page.locator("[data-position] button").press("Enter")
        page.wait_for_selector("#close[open]")
        assert violations(page) == []
    requests.delete(f"{up.web}/api/v1/portfolio/positions/{opened['position_id']}", **call)


def test_it_comes_back_when_the_engine_does(start: Start, browser: Browser, tmp_path: object) -> None:
    """While the engine is away the page says so; when it is back, prices move again and the key is still used."""
    first = start("up", data_dir=tmp_path, symbols="BTC-USDT")
    port = first.web.rpartition(":")[2]
    with watched(browser, first.web, LOST, REFUSED, viewport=DESKTOP, locale="en-US") as page:
        page.goto(first.web + "/")
        enter_key(page, first.key)
        page.wait_for_selector('#feed[data-state="live"]')
        first.stop()
        page.wait_for_selector('#connection[data-state="reconnecting"]')
        assert page.inner_text("#connection") == "Reconnecting"
        start("up", data_dir=tmp_path, symbols="BTC-USDT", rest_port=port).web  # noqa: B018
        page.wait_for_selector('#connection[data-state="connected"]')
        until_changed(page, "#last")
        until(page, "document.querySelector('#positions').textContent === 'No open positions.'")
        until(page, "Number(document.querySelector('#reconnections').textContent) >= 1")
