"""What Envoy answers by itself over REST: the documented body, in the caller's language."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from tests.e2e.edge.conftest import Stack, http_client

from entasis_engine.edge import Edge
from entasis_engine.errors import CATALOGUE, EntasisError, Language, status_as_json

pytestmark = pytest.mark.e2e

LANGUAGES: list[Language] = ["en", "ko"]
PRICE = "/api/v1/market/price/BTC-USDT"
HISTORY = "/api/v1/market/history/BTC-USDT"
UPGRADE = {
    "connection": "upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def expected(case: str, language: Language, **values: str) -> dict[str, Any]:
    return status_as_json(EntasisError(case, **values).status(language))


def check(response: httpx.Response, case: str, language: Language, **values: str) -> None:
    assert response.json() == expected(case, language, **values)
    assert response.status_code == CATALOGUE[case].http
    assert response.headers["x-error-code"] == CATALOGUE[case].reason
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/api/v1/nowhere", {}),
        ("POST", "/api/v1/nowhere", {}),
        ("OPTIONS", "/api/v1/nowhere", {}),
        ("GET", PRICE, UPGRADE),
        ("GET", "/api/v1/nowhere", UPGRADE),
        ("GET", "/ws/market/", UPGRADE),
        ("GET", "/ws", UPGRADE),
        ("POST", "/entasis.market.v1.MarketService/GetPrice", {"content-type": "application/json"}),
        ("GET", "/entasis.market.v1.MarketService/GetPrice", {}),
        ("GET", "/grpc.health.v1.Health/Check", {}),
    ],
)
async def test_nothing_here(
    rest: httpx.AsyncClient, method: str, path: str, headers: dict[str, str], language: Language
) -> None:
    """An unknown path, with any method, and an upgrade elsewhere than at /ws/market are 404 REQUEST_002."""
    response = await rest.request(method, path, headers=headers | {"accept-language": language})
    check(response, "NOTHING_HERE", language)


POSITION = "/v1/portfolio/positions/pos_1"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("method", "path", "methods"),
    [
        ("POST", PRICE, "GET"),
        ("DELETE", PRICE, "GET"),
        ("TRACE", PRICE + "/", "GET"),
        ("PUT", HISTORY.removeprefix("/api") + "?interval=1h", "GET"),
        ("PATCH", "/api/v1/portfolio/positions", "GET, POST"),
        ("POST", POSITION, "GET, DELETE"),
        ("GET", POSITION + ":close", "POST"),
        ("GET", "/api/v1/auth/token", "POST"),
        ("POST", "/api/v1/market/prices:stream", "GET"),
    ],
)
async def test_another_method_is_refused_and_told_which_there_are(
    rest: httpx.AsyncClient, method: str, path: str, methods: str, language: Language
) -> None:
    """A known path with another method is 405 REQUEST_002 with `Allow`, whatever else is wrong; pages can read it."""
    headers = {"accept-language": language, "origin": "https://page.example"}
    response = await rest.request(method, path, headers=headers, content=b"{}")
    check(response, "METHOD_REFUSED", language, methods=f"{methods}, OPTIONS")
    assert response.headers["allow"] == f"{methods}, OPTIONS"
    assert response.headers["access-control-allow-origin"] == "https://page.example"


async def test_head_is_answered_without_a_body(rest: httpx.AsyncClient) -> None:
    """HEAD is not served: 405, with the header that names the reason and no body."""
    response = await rest.head(PRICE)
    assert (response.status_code, response.headers["x-error-code"], response.content) == (405, "REQUEST_002", b"")


async def test_options_tells_the_methods(rest: httpx.AsyncClient) -> None:
    """OPTIONS of a known path, which is no preflight of a browser, is 204 with `Allow`."""
    response = await rest.options("/api/v1/portfolio/positions")
    assert (response.status_code, response.headers["allow"], response.content) == (204, "GET, POST, OPTIONS", b"")


JSON_PROBLEM = "the body is not a JSON object, or has null or a list in a list"
NESTED = '{"a":' * 31 + "{}" + "}" * 31


@pytest.mark.parametrize(
    ("body", "is_json"),
    [
        ('{"scopes":["market:read"]}', True),
        (' {\n\t"scopes" : [ ] , "lifetime_seconds" : -1.50e+2 }\r\n', True),
        ('{"scopes":null,"lifetime_seconds":true}', True),
        ('{"scopes":["\\"\\\\\\/\\u00e9 가"],"x":{"y":{"z":[{"v":0}]}}}', True),
        ("{}", True),
        (NESTED, True),
        ('{"a":' + NESTED + "}", False),
        ("null", False),
        ("[]", False),
        ('"x"', False),
        ("1", False),
        ("x", False),
        ("{", False),
        ("{}}", False),
        ("{} {}", False),
        ('{"a"}', False),
        ('{"a":}', False),
        ("{'a':1}", False),
        ("{a:1}", False),
        ('{"a":1,}', False),
        ('{"a":[1,]}', False),
        ('{"a":[1 2]}', False),
        ('{"a":[1}', False),
        ('{"a":nil}', False),
        ('{"a":01}', False),
        ('{"a":.5}', False),
        ('{"a":1.}', False),
        ('{"a":+1}', False),
        ('{"a":"\n"}', False),
        ('{"a":"\\x"}', False),
        ('{"a":"\\u12"}', False),
        ('{"a":"', False),
        ('{"a":[null]}', False),
        ('{"a":[["b"]]}', False),
        ("   ", False),
    ],
)
async def test_a_body_is_one_json_object(rest: httpx.AsyncClient, body: str, is_json: bool) -> None:
    """What is no JSON is 400, and so are `null` and lists in a list, which the transcoder would drop and unwrap."""
    response = await rest.post("/api/v1/auth/token", content=body.encode())
    assert (JSON_PROBLEM in response.text) == (not is_json), response.text
    if not is_json:
        assert (response.status_code, response.headers["x-error-code"]) == (400, "REQUEST_001")


@pytest.mark.parametrize("name", ["x+y", "x'y", "!", "x|y", "x%y", "grpc-internal-encoding-request", "grpc-anything"])
async def test_names_of_headers_that_grpc_refuses_are_dropped(rest: httpx.AsyncClient, name: str) -> None:
    """A header whose name HTTP allows and gRPC does not, or keeps for itself, is no internal error."""
    assert (await rest.get(PRICE, headers={name: "x"})).status_code == 200


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ("start=yesterday", "start", "Illegal timestamp format"),
        ("start=", "start", "Illegal timestamp format"),
        ("start=21.03.2024", "start", "Illegal timestamp format"),
        ("start=2024-13-21T09:00:00Z", "start", "invalid value"),
        ("page_size=x", "page_size", 'invalid value "x" for type TYPE_INT32'),
        ("page_size=99999999999", "page_size", "invalid value"),
        ('page_size="\\%00%0A%09%7F가', "page_size", '"\\\0\n\t\x7f가'),
        ("nope=1", "nope", 'Could not find field "nope"'),
        ("symbol.x=1", None, "symbol"),
        ("weird%22name=1", None, 'Could not find field "weird%22name"'),
        ("%5Cu0041=1", None, "Could not find field"),
    ],
)
async def test_a_malformed_query_names_the_field(
    rest: httpx.AsyncClient, query: str, field: str | None, words: str, language: Language
) -> None:
    """A bad or unknown parameter is 400 REQUEST_001 with Envoy's own words, and a BadRequest where a field is named."""
    response = await rest.get(f"{HISTORY}?{query}", headers={"accept-language": language})
    body = response.json()
    prefix = CATALOGUE["REQUEST_MALFORMED"].messages[language].partition("{")[0]
    assert (response.status_code, response.headers["x-error-code"]) == (400, "REQUEST_001")
    assert (body["code"], body["details"][0]) == (3, expected("REQUEST_MALFORMED", language)["details"][0])
    assert body["message"].startswith(prefix)
    assert words in body["message"]
    if field is None:
        assert len(body["details"]) == 1
    else:
        [violation] = body["details"][1]["field_violations"]
        assert body["details"][1]["@type"] == "type.googleapis.com/google.rpc.BadRequest"
        assert violation["field"] == field
        assert violation["description"] in body["message"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", ["/api/v1/market/price/%FF", f"{PRICE}?symbol=%C0%80", f"{PRICE}?%ED%A0%80=1"])
async def test_what_is_not_utf_8_is_refused(rest: httpx.AsyncClient, path: str, language: Language) -> None:
    """A path or query that is not UTF-8 is 400 REQUEST_001; the engine, which could not decode it, is not asked."""
    response = await rest.get(path, headers={"accept-language": language})
    prefix = CATALOGUE["REQUEST_MALFORMED"].messages[language].partition("{")[0]
    assert response.status_code == 400
    assert response.json()["message"] == prefix + "the path or the query is not UTF-8"


async def test_utf_8_passes(rest: httpx.AsyncClient) -> None:
    """Any UTF-8 reaches the engine, which judges it."""
    response = await rest.get("/api/v1/market/price/가é€😀")
    assert response.json()["symbol"] == "가é€😀"


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_large_body_is_refused(rest: httpx.AsyncClient, language: Language) -> None:
    """A body over the limit is 413 REQUEST_003 and names the limit."""
    response = await rest.request("GET", PRICE, content=b"x" * 65_537, headers={"accept-language": language})
    check(response, "TOO_LARGE", language, limit="65536")


async def test_large_headers_are_refused(rest: httpx.AsyncClient) -> None:
    """Headers over the limit are 431 REQUEST_004; in English, since Envoy stops reading them."""
    response = await rest.get(PRICE, headers={"accept-language": "ko", "x-long": "x" * 70_000})
    check(response, "HEADERS_TOO_LARGE", "en")


@pytest.mark.parametrize("language", LANGUAGES)
async def test_an_engine_that_hangs_is_too_slow(stack: Stack, rest: httpx.AsyncClient, language: Language) -> None:
    """An engine that does not answer in time is 504 SERVER_003."""
    stack.market.release.clear()
    response = await rest.get("/api/v1/market/price/SLOW-USDT", headers={"accept-language": language})
    stack.market.release.set()
    check(response, "TOO_SLOW", language)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_dead_engine_is_unavailable(dead_end: Edge, language: Language) -> None:
    """Without an engine REST is 503 SERVER_002, and says when to try again."""
    async with http_client(f"http://127.0.0.1:{dead_end.rest_port}") as client:
        response = await client.get(PRICE, headers={"accept-language": language})
    check(response, "UNAVAILABLE", language)
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_dead_bridge_is_unavailable(dead_end: Edge, language: Language) -> None:
    """Without a bridge a WebSocket handshake is 503 SERVER_002."""
    async with http_client(f"http://127.0.0.1:{dead_end.rest_port}") as client:
        response = await client.get("/ws/market", headers=UPGRADE | {"accept-language": language})
    check(response, "UNAVAILABLE", language)


async def test_a_request_that_does_not_come_is_late(stack: Stack) -> None:
    """A request whose headers do not arrive in time is 408 SERVER_003; the language they might name is not known."""
    request = f"GET {PRICE} HTTP/1.1\r\nhost: a\r\naccept-language: ko\r\n"
    status, headers, body = await exchange(stack, request.encode())
    assert (status, headers["x-error-code"]) == (408, "SERVER_003")
    assert body == expected("TOO_SLOW", "en")


@pytest.mark.parametrize(
    ("lines", "problem", "language"),
    [
        (f"GET {PRICE} HTTP/1.1\r\naccept-language: ko", "missing_host_header", "ko"),
        (f"GET {PRICE} HTTP/1.1", "missing_host_header", "en"),
        (f"GET {PRICE}%00 HTTP/1.1\r\nhost: a\r\naccept-language: ko-KR,ko;q=0.9", "path_normalization_failed", "ko"),
        # What stops Envoy from reading headers to their end also keeps it from knowing the language.
        (f"GET {PRICE} HTTP/1.1\r\nhost: a\r\naccept-language: ko\r\na_b: 1", "http1.unexpected_underscore", "en"),
        (f"GET {PRICE} HTTP/1.0\r\nhost: a\r\naccept-language: ko", "low_version", "en"),
        ("NONSENSE", "http1.codec_error", "en"),
    ],
)
async def test_what_is_refused_before_it_is_routed(stack: Stack, lines: str, problem: str, language: Language) -> None:
    """A header with an underscore and other broken HTTP is 400 REQUEST_001, with Envoy's keyword for it."""
    status, headers, body = await exchange(stack, f"{lines}\r\n\r\n".encode())
    prefix = CATALOGUE["REQUEST_MALFORMED"].messages[language].partition("{")[0]
    assert (status, headers["x-error-code"]) == (400, "REQUEST_001")
    assert body == expected("REQUEST_MALFORMED", language) | {"message": prefix + problem}


async def exchange(stack: Stack, sent: bytes) -> tuple[int, dict[str, str], Any]:
    """Send bytes and read one answer, as no HTTP library would."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.edge.rest_port)
    try:
        async with asyncio.timeout(5):
            writer.write(sent)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers["content-length"]))
    finally:
        writer.close()
    return int(head[0].split()[1]), headers, json.loads(body)
