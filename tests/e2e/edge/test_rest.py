"""REST through Envoy: what the contract's messages look like as JSON, and which headers pass."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from tests.e2e.edge.conftest import Stack
from tests.e2e.edge.fakes import STREAMED

from entasis_engine.errors import language_of

pytestmark = pytest.mark.e2e

PRICE = (
    '{"symbol":"BTC-USDT","price":"65432.10","timestamp":"2024-03-21T09:30:00Z","volume":"123.45",'
    '"exchange":"simulated"}'
)
HISTORY = (
    '{"symbol":"BTC-USDT","data":[{"timestamp":"2024-03-21T09:00:00Z","open":"65000.00","high":"65100.00",'
    '"low":"64900.00","close":"65050.00","volume":"2.5"}],"interval":"1h","next_page_token":""}'
)
BOOK = (
    '{"symbol":"BTC-USDT","bids":[["65000.00","1.234"],["64999.00","1.234"]],'
    '"asks":[["65001.00","2.345"],["65002.00","2.345"]],"timestamp":"2024-03-21T09:30:00.123Z",'
    '"seq":"9223372036854775808","checksum":7}'
)
INSTRUMENTS = (
    '{"instruments":[{"symbol":"BTC-USDT","base_currency":"BTC","quote_currency":"USDT","tick_size":"0.01",'
    '"lot_size":"0.00001","quote_scale":2,"max_leverage":"20","exchange":"simulated"}]}'
)


@pytest.mark.parametrize("base", ["/api/v1", "/v1"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/market/price/BTC-USDT", PRICE),
        ("/market/history/BTC-USDT?interval=1h&start=2024-03-21T09:00:00Z&end=2024-03-21T10:00:00Z", HISTORY),
        ("/market/history/BTC-USDT?interval=1h&start=2024-03-21T10:00:00%2B01:00", HISTORY),
        ("/market/orderbook/BTC-USDT?depth=2", BOOK),
        ("/market/instruments", INSTRUMENTS),
    ],
)
async def test_json_is_exact(rest: httpx.AsyncClient, base: str, path: str, body: str) -> None:
    """Every read answers byte for byte as documented, under /api/v1 and /v1."""
    response = await rest.get(base + path)
    assert (response.status_code, response.text) == (200, body)
    assert response.headers["content-type"] == "application/json"


async def test_the_largest_page_passes(rest: httpx.AsyncClient) -> None:
    """A page of 1000 candles is not too large for Envoy to transcode."""
    response = await rest.get("/api/v1/market/history/BTC-USDT", params={"page_size": 1000})
    assert len(response.json()["data"]) == 1000


@pytest.mark.parametrize("base", ["/api/v1", "/v1"])
@pytest.mark.parametrize(
    ("accept", "content_type", "before", "after"),
    [
        ({}, "application/x-ndjson", "", "\n"),
        ({"accept": "application/json"}, "application/x-ndjson", "", "\n"),
        ({"accept": "text/event-stream"}, "text/event-stream", "data: ", "\n\n"),
    ],
)
async def test_streams_as_lines_and_as_events(
    rest: httpx.AsyncClient, base: str, accept: dict[str, str], content_type: str, before: str, after: str
) -> None:
    """A stream is newline-delimited JSON, or server-sent events for a caller who accepts those."""
    response = await rest.get(f"{base}/market/prices:stream?symbols=BTC-USDT", headers=accept)
    update = (
        '{"updates":[{"symbol":"BTC-USDT","price":"65432.10","timestamp":"2024-03-21T09:30:00.123Z","volume":"1.23",'
        '"seq":"%d"}],"interruptions":[]}'
    )
    assert response.headers["content-type"] == content_type
    assert response.text == "".join(before + update % seq + after for seq in range(1, STREAMED + 1))


async def test_streams_are_not_held_back(stack: Stack, rest: httpx.AsyncClient) -> None:
    """Each message of a stream arrives when it is sent, not when the stream ends, and no time limit ends the stream."""
    stack.market.first_of_stream_read.clear()
    async with rest.stream("GET", "/api/v1/market/prices:stream?symbols=SLOW-USDT") as response:
        lines = response.aiter_lines()
        first = json.loads(await anext(lines))
        stack.market.first_of_stream_read.set()
        assert first["updates"][0]["seq"] == "1"
        assert len([line async for line in lines]) == STREAMED - 1


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_an_error_before_a_stream_is_an_error(rest: httpx.AsyncClient, accept: str) -> None:
    """A stream that is refused answers with the status and the JSON body of the error."""
    response = await rest.get("/api/v1/market/prices:stream?symbols=UNKNOWN-USDT", headers={"accept": accept})
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/json"
    assert response.json()["details"][0]["reason"] == "MARKET_001"


@pytest.mark.parametrize(
    ("symbol", "status", "reason", "retry_after"),
    [("UNKNOWN-USDT", 404, "MARKET_001", None), ("DOWN-USDT", 503, "MARKET_002", "5")],
)
async def test_the_engines_errors_pass(
    rest: httpx.AsyncClient, symbol: str, status: int, reason: str, retry_after: str | None
) -> None:
    """An error of the engine arrives with its status, its details, and its metadata as headers."""
    response = await rest.get(f"/api/v1/market/price/{symbol}")
    info = response.json()["details"][0]
    assert (response.status_code, response.headers["x-error-code"]) == (status, reason)
    assert response.headers.get("retry-after") == retry_after
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert (info["reason"], info["domain"], info["metadata"]["symbol"]) == (reason, "entasis", symbol)


async def test_grpcs_own_headers_stay_out_of_rest(rest: httpx.AsyncClient) -> None:
    """REST callers see no header of gRPC, whether the call succeeds or fails."""
    for symbol in ("BTC-USDT", "UNKNOWN-USDT"):
        response = await rest.get(f"/api/v1/market/price/{symbol}")
        assert not [name for name in response.headers if name.startswith(("grpc-", "x-envoy-"))]


FORGED = {
    "x-client-ip": "6.6.6.6",
    "x-forwarded-for": "6.6.6.6",
    "x-real-ip": "6.6.6.6",
    "forwarded": "for=6.6.6.6",
    "x-envoy-external-address": "6.6.6.6",
    "x-envoy-original-path": "/forged?symbol=FORGED",
    "x-envoy-upstream-rq-timeout-ms": "1",
    "x-envoy-retry-on": "5xx",
    "x-request-id": "forged",
}


async def test_the_callers_address_cannot_be_forged(stack: Stack, rest: httpx.AsyncClient) -> None:
    """The engine sees the peer's address in x-client-ip, and nothing of what the caller claimed."""
    await rest.get("/api/v1/market/price/BTC-USDT", headers=FORGED)
    assert stack.market.metadata["x-client-ip"] == "127.0.0.1"
    assert "6.6.6.6" not in str(stack.market.metadata)
    assert "forged" not in str(stack.market.metadata).lower()


async def test_the_engine_sees_what_was_asked_for(stack: Stack, rest: httpx.AsyncClient) -> None:
    """A query parameter overrides the path, and x-envoy-original-path shows both, so that the engine can refuse."""
    asked = "/v1/market/price/BTC-USDT?symbol=ETH-USDT"
    response = await rest.get(asked, headers=FORGED)
    assert response.json()["symbol"] == "ETH-USDT"
    assert stack.market.metadata["x-envoy-original-path"] == asked


async def test_a_call_has_one_request_id(stack: Stack, rest: httpx.AsyncClient) -> None:
    """The engine and the caller are given the same request id, which the caller cannot choose."""
    response = await rest.get("/api/v1/market/price/BTC-USDT", headers=FORGED)
    assert response.headers.get_list("x-request-id") == [stack.market.metadata["x-request-id"]]


@pytest.mark.parametrize(
    "accept_language",
    [
        "ko",
        "KO-kr",
        "ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7",
        "en-US,en;q=0.9,ko;q=0.8",
        "en;q=0.5, ko",
        "fr, ko;q=0.2",
        "ko;q=0",
        "ko;q=0.1, en;q=0.2",
        "ko;q=x",
        "kok",
        "*",
        "",
        ";,;q",
    ],
)
async def test_edge_and_engine_agree_on_the_language(
    stack: Stack, rest: httpx.AsyncClient, accept_language: str
) -> None:
    """The header reaches the engine reduced to the language that the engine would have read from it."""
    await rest.get("/api/v1/market/price/BTC-USDT", headers={"accept-language": accept_language})
    assert stack.market.metadata["accept-language"] == language_of(accept_language)


async def test_pages_of_any_origin_may_read(rest: httpx.AsyncClient) -> None:
    """A preflight allows calls from any origin, without cookies, and a read says so too, with the error's headers."""
    origin = {"origin": "https://page.example"}
    preflight = await rest.options(
        "/api/v1/market/price/BTC-USDT", headers=origin | {"access-control-request-method": "GET"}
    )
    read = await rest.get("/api/v1/market/price/UNKNOWN-USDT", headers=origin)
    own = await rest.get("/api/v1/nowhere", headers=origin)
    assert (preflight.status_code, preflight.headers["access-control-allow-methods"]) == (200, "GET,POST,DELETE")
    for response in (preflight, read, own):
        assert response.headers["access-control-allow-origin"] == "https://page.example"
        assert "access-control-allow-credentials" not in response.headers
        assert "x-error-code" in response.headers["access-control-expose-headers"]


async def test_paths_are_made_plain(rest: httpx.AsyncClient) -> None:
    """Repeated slashes and dots are resolved before anything looks at the path; an escaped slash redirects."""
    plain = await rest.send(_raw(rest, "//api/v1//market/./price/x/../BTC-USDT"))
    escaped = await rest.send(_raw(rest, "/api/v1/market/price/BTC%2FUSDT"))
    assert (plain.status_code, plain.text) == (200, PRICE)
    assert (escaped.status_code, escaped.headers["location"]) == (307, "/api/v1/market/price/BTC/USDT")


def _raw(rest: httpx.AsyncClient, target: str) -> httpx.Request:
    """A request whose target httpx leaves as it is."""
    request = rest.build_request("GET", "/")
    extensions: dict[str, Any] = request.extensions
    extensions["target"] = target.encode()
    return request
