"""Requests that were recorded for comparing two fronts of one engine: every binding, and what callers get wrong.

A path begins with `~` where it is asked under `/api/v1` and under `/v1`. In a path and in a body, `{name}` is what an
earlier answer held (`keep`): each front gets what it was answered itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

PREFIXES = ("/api/v1", "/v1")


@dataclass(frozen=True)
class Request:
    """One request, and what is kept of its answer for later ones."""

    method: str
    path: str
    body: str | None = None
    """As it is sent, with the content type `application/json`."""
    headers: Mapping[str, str] = field(default_factory=dict)
    key: str = "own"
    """`own`: that of the front's account; `none`; `wrong`; `narrow`: one that may read market data alone."""
    keep: Mapping[str, str] = field(default_factory=dict)
    """Name to keep a member of the answer under: `{"opened": "position_id"}`."""
    stream: bool = False
    """Whether the answer never ends by itself: its first message is compared."""

    @property
    def line(self) -> str:
        """What the table of differences names it by."""
        said = [self.method, self.path]
        said += [f"{name}: {value}" for name, value in self.headers.items()]
        said += [f"key: {self.key}"] if self.key != "own" else []
        said += [self.body if len(self.body) <= 120 else f"{len(self.body)} characters"] if self.body else []
        return " ".join(said)


def get(path: str, **more: Any) -> Request:
    return Request("GET", path, **more)


def post(path: str, body: Any = None, **more: Any) -> Request:
    """A body that is not text is sent as JSON."""
    return Request("POST", path, body if body is None or isinstance(body, str) else json.dumps(body), **more)


def opening(size: Any = "0.01", **more: Any) -> dict[str, Any]:
    return {"symbol": "BTC-USDT", "size": size, "type": "long"} | more


MARKET = [
    get("~/market/price/BTC-USDT"),
    get("~/market/prices"),
    get("~/market/prices?symbols=BTC-USDT&symbols=ETH-USDT"),
    get("~/market/prices?symbols=BTC-USDT,FOO-BAR"),
    get("~/market/history/BTC-USDT?page_size=3"),
    get("~/market/orderbook/BTC-USDT"),
    get("~/market/orderbook/BTC-USDT?depth=3"),
    get("~/market/instruments"),
    get("~/market/prices:stream?symbols=BTC-USDT", stream=True),
    get("~/market/orderbooks:stream?symbols=BTC-USDT&depth=2", stream=True),
    get("~/market/candles:stream?symbols=BTC-USDT&interval=5m", stream=True),
    get("/v1/market/prices:stream?symbols=BTC-USDT", stream=True, headers={"Accept": "text/event-stream"}),
    get("/v1/market/prices:stream?symbols=BTC-USDT&symbols=ETH-USDT", stream=True, key="none"),
    # Symbols.
    get("/v1/market/price/FOO-BAR"),
    get("/v1/market/price/btc-usdt"),
    get("/v1/market/price/BTC%2DUSDT"),
    get("/v1/market/price/BTC%20USDT"),
    get("/v1/market/price/%EB%B9%84%ED%8A%B8"),
    get("/v1/market/price/%FF"),
    get("/v1/market/price/BTC%2FUSDT"),
    get("/v1/market/price/" + "A" * 200),
    get("/v1/market/price/BTC-USDT?symbol=ETH-USDT"),
    get("/v1/market/price/BTC-USDT?symbol=BTC-USDT"),
    get("/v1/market/prices?symbols=btc"),
    get("/v1/market/prices?symbols="),
    get("/v1/market/prices?symbols=" + ",".join(["BTC-USDT"] * 101)),
    get("/v1/market/prices?" + "&".join(["symbols=BTC-USDT"] * 101)),
    get("/v1/market/prices:stream"),
    get("/v1/market/prices:stream?symbols=FOO-BAR"),
    get("/v1/market/prices:stream?symbols=btc"),
    # Parameters: unknown, twice, by their JSON name, of the wrong type, out of range.
    get("/v1/market/price/BTC-USDT?nope=1"),
    get("/v1/market/instruments?nope=1"),
    get("/v1/market/history/BTC-USDT?pagesize=3"),
    get("/v1/market/history/BTC-USDT?pageSize=3"),
    get("/v1/market/history/BTC-USDT?page_size=3&page_size=4"),
    get("/v1/market/history/BTC-USDT?page_size=3&page_size=3"),
    get("/v1/market/history/BTC-USDT?page_size=3&pageSize=4"),
    get("/v1/market/history/BTC-USDT?page_size=three"),
    get("/v1/market/history/BTC-USDT?page_size=1.5"),
    get("/v1/market/history/BTC-USDT?page_size="),
    get("/v1/market/history/BTC-USDT?page_size=-1"),
    get("/v1/market/history/BTC-USDT?page_size=99999999999"),
    get("/v1/market/history/BTC-USDT?page_size=5000&interval=1d"),
    get("/v1/market/history/BTC-USDT?interval=7m"),
    get("/v1/market/history/BTC-USDT?interval="),
    get("/v1/market/orderbook/BTC-USDT?depth=0"),
    get("/v1/market/orderbook/BTC-USDT?depth=101"),
    get("/v1/market/orderbook/BTC-USDT?depth=deep"),
    get("/v1/market/prices:stream?symbols=BTC-USDT&nope=1"),
    get("/v1/market/orderbooks:stream?symbols=BTC-USDT&depth=deep"),
    get("/v1/market/prices:stream?symbols=BTC-USDT&resume_after=1"),
    get("/v1/market/prices:stream?symbols=BTC-USDT&resume_after[BTC-USDT]=1"),
    get("/v1/market/history/BTC-USDT?start.seconds=5"),
    get("/v1/market/price/BTC-USDT?"),
    get("/v1/market/price/BTC-USDT?=1"),
    get("/v1/market/instruments?%zz=1"),
    get("/v1/market/prices?symbols=BTC-USDT;ETH-USDT"),
    # Pages.
    get("/v1/market/history/BTC-USDT?interval=1m&page_size=2", keep={"page": "next_page_token"}),
    get("/v1/market/history/BTC-USDT?interval=1m&page_size=2&page_token={page}"),
    get("/v1/market/history/BTC-USDT?interval=5m&page_size=2&page_token={page}"),
    get("/v1/market/history/BTC-USDT?page_token=nonsense"),
    get("/v1/market/history/BTC-USDT?page_token=" + "x" * 300),
    # Times.
    get("/v1/market/history/BTC-USDT?start=2024-03-20T09:00:00Z&end=2024-03-20T12:00:00Z"),
    get("/v1/market/history/BTC-USDT?start=2024-03-20T09:00:00%2B09:00&end=2024-03-20T12:00:00%2B09:00"),
    get("/v1/market/history/BTC-USDT?start=2024-03-20T09:00:00.500Z&end=2024-03-20T12:00:00Z"),
    get("/v1/market/history/BTC-USDT?start=2024-03-20&end=2024-03-20T03:00"),
    get("/v1/market/history/BTC-USDT?start=2024-03-20T01:02:03&end=2024-03-20T03:00Z"),
    get("/v1/market/history/BTC-USDT?start=2024-03-20T12:00:00Z&end=2024-03-20T09:00:00Z"),
    get("/v1/market/history/BTC-USDT?start=2024-03-20T09:00:00Z&end=2024-03-20T09:00:00Z"),
    get("/v1/market/history/BTC-USDT?start=yesterday"),
    get("/v1/market/history/BTC-USDT?start="),
    get("/v1/market/history/BTC-USDT?start=2024-13-45T09:00:00Z"),
    get("/v1/market/history/BTC-USDT?start=2024-02-30"),
    get("/v1/market/history/BTC-USDT?start=1710925200"),
    get("/v1/market/history/BTC-USDT?start=1900-01-01T00:00:00Z"),
    get("/v1/market/history/BTC-USDT?end=2999-01-01T00:00:00Z&page_size=1"),
    get("/v1/market/history/BTC-USDT?start=2024-03-20t09:00:00z"),
    get("/v1/market/history/BTC-USDT?start=2024-03-20T09:00:00,5Z&end=2024-03-20T12:00:00Z"),
    get("/v1/market/history/BTC-USDT?start=2024-03-20T09:00:00%20Z"),
]

ACCESS = [
    get("/v1/market/price/BTC-USDT", key="none"),
    get("/v1/market/price/BTC-USDT", key="wrong"),
    get("/v1/portfolio/positions", key="none"),
    get("/v1/portfolio/positions", key="narrow"),
    post("/v1/portfolio/positions", opening(), key="narrow"),
    get("/v1/market/price/BTC-USDT?nope=1", key="none"),
    get("/v1/market/history/BTC-USDT?page_size=-1", key="none"),
    get("/v1/portfolio/positions:stream", key="none"),
    get("/v1/portfolio/positions:stream", key="wrong"),
    get("/v1/market/price/BTC-USDT", key="none", headers={"Authorization": "Bearer nonsense"}),
    get("/v1/market/price/BTC-USDT", key="none", headers={"Authorization": "Basic dXNlcjpwYXNz"}),
    get("/v1/market/price/BTC-USDT", headers={"Authorization": "Bearer nonsense"}),
    post("~/auth/token", {}, keep={"token": "access_token"}),
    post("/v1/auth/token", {"scopes": ["market:read"], "lifetime_seconds": 60}),
    post("/v1/auth/token"),
    post("/v1/auth/token", {"scopes": ["everything"]}),
    post("/v1/auth/token", {"scopes": "market:read"}),
    post("/v1/auth/token", {"scopes": [None]}),
    post("/v1/auth/token", {"scopes": [["market:read"]]}),
    post("/v1/auth/token", {"lifetime_seconds": "60"}),
    post("/v1/auth/token", {"lifetime_seconds": 1.5}),
    post("/v1/auth/token", {"lifetimeSeconds": 60}),
    post("/v1/auth/token", {"lifetime_seconds": 0}),
    post("/v1/auth/token", {"scopes": ["admin"]}, key="narrow"),
    post("/v1/auth/token", {}, key="none"),
    get("/v1/portfolio/balance", key="none", headers={"Authorization": "Bearer {token}"}),
    get("/v1/portfolio/balance", headers={"Authorization": "Bearer {token}"}),
]

PORTFOLIO = [
    get("~/portfolio/positions"),
    get("~/portfolio/balance"),
    post("~/portfolio/positions", opening(), keep={"first": "position_id"}),
    post("/v1/portfolio/positions", opening("0.50", type="short", leverage="2"), keep={"second": "position_id"}),
    get("~/portfolio/positions/{first}"),
    get("~/portfolio/positions"),
    get("~/portfolio/positions:stream", stream=True),
    get("/v1/portfolio/positions?status=all&page_size=1", keep={"page": "next_page_token"}),
    get("/v1/portfolio/positions?status=all&page_size=1&page_token={page}"),
    get("/v1/portfolio/positions?status=closed&page_size=1&page_token={page}"),
    get("/v1/portfolio/positions?page_token=nonsense"),
    get("/v1/portfolio/positions?status=old"),
    get("/v1/portfolio/positions?page_size=many"),
    get("~/analysis/portfolio/risk"),
    post("~/portfolio/positions/{second}:close", {"size": "0.1"}),
    post("/v1/portfolio/positions/{second}:close", {"size": "99"}),
    post("/v1/portfolio/positions/{second}:close", {"size": "0"}),
    post("/v1/portfolio/positions/{second}:close", {"size": 0.1}),
    post("/v1/portfolio/positions/{second}:close", "{}"),
    post("/v1/portfolio/positions/{second}:close"),
    Request("DELETE", "/api/v1/portfolio/positions/{first}"),
    Request("DELETE", "/v1/portfolio/positions/{first}"),
    Request("DELETE", "/v1/portfolio/positions/pos_nobody"),
    post("/v1/portfolio/positions", opening(), keep={"third": "position_id"}),
    Request("DELETE", "/v1/portfolio/positions/{third}?size=0.004"),
    Request("DELETE", "/v1/portfolio/positions/{third}"),
    get("/v1/portfolio/positions/pos_nobody"),
    get("/v1/portfolio/positions/nobody"),
    get("/v1/portfolio/positions/{first}?nope=1"),
    get("/v1/portfolio/positions?status=closed"),
    get("~/portfolio/trades"),
    get("/v1/portfolio/trades?position_id={first}"),
    get("/v1/portfolio/trades?position_id=nobody"),
    get("~/portfolio/ledger"),
    get("/v1/portfolio/ledger?page_size=2", keep={"page": "next_page_token"}),
    get("/v1/portfolio/ledger?page_size=2&page_token={page}"),
    # Repeats.
    post("/v1/portfolio/positions", opening(), headers={"Idempotency-Key": "once"}, keep={"repeated": "position_id"}),
    post("/v1/portfolio/positions", opening(), headers={"Idempotency-Key": "once"}),
    post("/v1/portfolio/positions", opening("0.02"), headers={"Idempotency-Key": "once"}),
    post("/v1/portfolio/positions/{repeated}:close", {}, headers={"Idempotency-Key": "end"}),
    post("/v1/portfolio/positions/{repeated}:close", {}, headers={"Idempotency-Key": "end"}),
    post("/v1/portfolio/positions", opening(), headers={"Idempotency-Key": ""}),
    post("/v1/portfolio/positions", opening(), headers={"Idempotency-Key": "x" * 129}),
    # What cannot be opened.
    post("/v1/portfolio/positions", opening("100")),
    post("/v1/portfolio/positions", opening("1000000")),
    post("/v1/portfolio/positions", opening("0.000001")),
    post("/v1/portfolio/positions", opening("0")),
    post("/v1/portfolio/positions", opening("-1")),
    post("/v1/portfolio/positions", opening("1e3")),
    post("/v1/portfolio/positions", opening(symbol="FOO-BAR")),
    post("/v1/portfolio/positions", opening(symbol="btc")),
    post("/v1/portfolio/positions", opening(type="sideways")),
    post("/v1/portfolio/positions", opening(leverage="1000")),
    post("/v1/portfolio/positions", {"symbol": "btc", "size": "-1", "type": "up", "leverage": "x"}),
    # Bodies.
    post("/v1/portfolio/positions"),
    post("/v1/portfolio/positions", "{}"),
    post("/v1/portfolio/positions", "{"),
    post("/v1/portfolio/positions", "nonsense"),
    post("/v1/portfolio/positions", "[]"),
    post("/v1/portfolio/positions", "null"),
    post("/v1/portfolio/positions", '"text"'),
    post("/v1/portfolio/positions", " "),
    post("/v1/portfolio/positions", opening(1.5)),
    post("/v1/portfolio/positions", opening(True)),
    post("/v1/portfolio/positions", opening(None)),
    post("/v1/portfolio/positions", opening(["1"])),
    post("/v1/portfolio/positions", opening({"a": "1"})),
    post("/v1/portfolio/positions", opening(leverage=None)),
    post("/v1/portfolio/positions", opening(lever="2")),
    post("/v1/portfolio/positions", opening(**{"le ver": "2"})),
    post("/v1/portfolio/positions", '{"symbol": "BTC-USDT", "symbol": "ETH-USDT", "size": "0.01", "type": "long"}'),
    post("/v1/portfolio/positions", '{"symbol": "BTC-USDT", "size": "0.01", "type": "long"} {}'),
    post("/v1/portfolio/positions", "{'symbol': 'FOO-BAR', 'size': '1', 'type': 'long'}"),
    post("/v1/portfolio/positions", opening(symbol="비트-코인")),
    post("/v1/portfolio/positions", opening(symbol="\x00")),
    post("/v1/portfolio/positions?nope=1", opening()),
    post("/v1/portfolio/positions", opening(note="x" * 70_000)),
    post("/v1/portfolio/positions", opening(), headers={"Content-Type": "text/plain"}, keep={"plain": "position_id"}),
    post("/v1/portfolio/positions", "symbol=BTC-USDT", headers={"Content-Type": "application/x-www-form-urlencoded"}),
    get("/v1/portfolio/balance", body="{}"),
]

ANALYSIS = [
    get("~/analysis/prediction/BTC-USDT"),
    get("~/analysis/risk/BTC-USDT"),
    get("~/analysis/accuracy/BTC-USDT"),
    get("~/analysis/models"),
    get("/v1/analysis/prediction/BTC-USDT?timeframe=1h&model=lstm"),
    get("/v1/analysis/prediction/BTC-USDT?timeframe=4h"),
    get("/v1/analysis/prediction/BTC-USDT?timeframe=2h"),
    get("/v1/analysis/prediction/BTC-USDT?model=oracle"),
    get("/v1/analysis/prediction/FOO-BAR"),
    get("/v1/analysis/risk/FOO-BAR"),
    get("/v1/analysis/accuracy/BTC-USDT?days=0"),
    get("/v1/analysis/accuracy/BTC-USDT?days=soon"),
    get("/v1/analysis/models?nope=1"),
]

KOREAN = {"Accept-Language": "ko-KR,ko;q=0.9,en;q=0.8"}
LANGUAGES = [
    get("/v1/market/price/FOO-BAR", headers=KOREAN),
    get("/v1/market/price/btc", headers=KOREAN),
    get("/v1/market/price/BTC-USDT", headers=KOREAN, key="none"),
    get("/v1/market/price/BTC-USDT?nope=1", headers=KOREAN),
    get("/v1/market/history/BTC-USDT?page_size=three", headers=KOREAN),
    get("/v1/nothing", headers=KOREAN),
    get("/v1/nothing", headers={"Accept-Language": "fr, en;q=0.3, ko;q=0.7"}),
    get("/v1/market/prices?symbols=FOO-BAR", headers=KOREAN),
    get("/v1/market/prices:stream?symbols=FOO-BAR", headers=KOREAN),
    post("/v1/portfolio/positions", opening("100"), headers=KOREAN),
    post("/v1/portfolio/positions", "{", headers=KOREAN),
    post("/v1/portfolio/positions", opening(note="x" * 70_000), headers=KOREAN),
]

PLACES = [
    get("/v1/nothing"),
    get("/api/v2/market/price/BTC-USDT"),
    get("/v1/market/price"),
    get("/v1/market/price/"),
    get("/v1/market/price/BTC-USDT/"),
    get("/v1/market/price/BTC-USDT/more"),
    get("/v1//market/price/BTC-USDT"),
    get("/v1/market/./price/BTC-USDT"),
    get("/V1/market/price/BTC-USDT"),
    get("/v1/market/prices:nothing"),
    get("/entasis.market.v1.MarketService/GetPrice"),
    post("/v1/market/price/BTC-USDT", {}),
    post("/entasis.access.v1.AccessService/OpenSession", {}),
    Request("PUT", "/v1/portfolio/positions", "{}"),
    Request("PATCH", "/v1/portfolio/positions", "{}"),
    Request("DELETE", "/v1/portfolio/positions"),
    Request("HEAD", "/v1/market/price/BTC-USDT"),
    Request("OPTIONS", "/v1/market/price/BTC-USDT"),
    Request(
        "OPTIONS",
        "/v1/market/price/BTC-USDT",
        headers={"Origin": "http://localhost", "Access-Control-Request-Method": "GET"},
    ),
]

WEB = [
    get("/", key="none"),
    get("/docs", key="none"),
    get("/docs/nothing.html", key="none"),
    get("/console/nothing.js", key="none"),
    get("/docs/openapi.yaml", key="none", headers={"Accept-Encoding": "gzip"}),
]

# These leave the fronts' accounts in different states, and so come last.
CONTRADICTIONS = [
    post("/v1/portfolio/positions", opening(), keep={"last": "position_id"}),
    post("/v1/portfolio/positions/{last}:close?size=0.001", {}),
    post("/v1/portfolio/positions", opening(), keep={"last": "position_id"}),
    post("/v1/portfolio/positions/{last}:close", {"position_id": "pos_other"}),
    post("/v1/portfolio/positions?size=0.03", opening()),
    post("/v1/portfolio/positions", '{"symbol": "BTC-USDT", "size": "0.01", "type": "long",}'),
]


def recorded() -> Iterator[Request]:
    """All of them, in an order in which each finds what it needs."""
    for one in (*MARKET, *ACCESS, *PORTFOLIO, *ANALYSIS, *LANGUAGES, *PLACES, *WEB, *CONTRADICTIONS):
        if one.path.startswith("~"):
            yield from (replace(one, path=prefix + one.path[1:]) for prefix in PREFIXES)
        else:
            yield one
