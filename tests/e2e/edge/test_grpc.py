"""Native gRPC and gRPC-Web through Envoy: calls, streams, and Envoy's own errors in gRPC's own form."""

from __future__ import annotations

import base64
import struct
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import grpc
import httpx
import pytest
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from tests.e2e.edge.conftest import Stack
from tests.e2e.edge.fakes import SERVICE, STREAMED

from entasis.market.v1 import market_pb2, market_pb2_grpc
from entasis_engine.edge import Edge
from entasis_engine.errors import CATALOGUE, EntasisError, Language

pytestmark = pytest.mark.e2e

LANGUAGES: list[Language] = ["en", "ko"]
GET_PRICE = f"/{SERVICE}/GetPrice"
PRICE = market_pb2.GetPriceRequest(symbol="BTC-USDT")
TOO_LARGE = market_pb2.GetPriceRequest(symbol="x" * 70_000)
WEB = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}


@pytest.fixture
async def channel(stack: Stack) -> AsyncIterator[grpc.aio.Channel]:
    """A gRPC channel to the shared Envoy."""
    async with grpc.aio.insecure_channel(stack.authority) as opened:
        yield opened


@pytest.fixture
async def dead_channel(dead_end: Edge) -> AsyncIterator[grpc.aio.Channel]:
    """A gRPC channel to the Envoy that has nothing behind it."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{dead_end.rest_port}") as opened:
        yield opened


async def failure(call: Any) -> tuple[status_pb2.Status, str]:
    """How a call failed: the status from its trailers, and x-error-code."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    error = raised.value
    trailers = dict(error.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    # As grpcio-status demands of the two places where the status is told.
    assert (error.code().value[0], error.details()) == (status.code, status.message)
    return status, trailers["x-error-code"]


def check(told: tuple[status_pb2.Status, str], case: str, language: Language, **values: str) -> None:
    assert told == (EntasisError(case, **values).status(language), CATALOGUE[case].reason)


async def test_a_call_and_a_stream(channel: grpc.aio.Channel) -> None:
    """A unary call and a stream answer over native gRPC."""
    stub = market_pb2_grpc.MarketServiceStub(channel)
    price = await stub.GetPrice(PRICE, timeout=5)
    request = market_pb2.StreamPricesRequest(symbols=["BTC-USDT"])
    updates = [batch.updates[0].seq async for batch in stub.StreamPrices(request, timeout=5)]
    assert (price.price, updates) == ("65432.10", list(range(1, STREAMED + 1)))


async def test_the_address_cannot_be_forged(stack: Stack, channel: grpc.aio.Channel) -> None:
    """Over gRPC too the engine sees the peer's address, and no path of REST that the caller made up."""
    forged = {"x-client-ip": "6.6.6.6", "x-forwarded-for": "6.6.6.6", "x-envoy-original-path": "/?symbol=6.6.6.6"}
    await market_pb2_grpc.MarketServiceStub(channel).GetPrice(PRICE, metadata=tuple(forged.items()), timeout=5)
    assert stack.market.metadata["x-client-ip"] == "127.0.0.1"
    assert "6.6.6.6" not in str(stack.market.metadata)


async def test_the_engines_errors_pass(channel: grpc.aio.Channel) -> None:
    """An error of the engine arrives as the engine gave it."""
    request = market_pb2.GetPriceRequest(symbol="UNKNOWN-USDT")
    told = await failure(market_pb2_grpc.MarketServiceStub(channel).GetPrice(request, timeout=5))
    check(told, "SYMBOL_UNKNOWN", "en", symbol="UNKNOWN-USDT")


async def test_health_is_served(channel: grpc.aio.Channel) -> None:
    """The engine's health can be asked for through Envoy."""
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_is_served(stack: Stack) -> None:
    """A client without the contract can ask the engine for it through Envoy."""
    with grpc.insecure_channel(stack.authority) as channel:
        assert SERVICE in ProtoReflectionDescriptorDatabase(channel).get_services()


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_dead_engine_is_unavailable(dead_channel: grpc.aio.Channel, language: Language) -> None:
    """Without an engine a call fails with UNAVAILABLE, SERVER_002 and when to try again."""
    stub = market_pb2_grpc.MarketServiceStub(dead_channel)
    told = await failure(stub.GetPrice(PRICE, metadata=(("accept-language", language),), timeout=5))
    check(told, "UNAVAILABLE", language)


async def test_grpcios_own_reader_of_statuses_agrees(dead_channel: grpc.aio.Channel) -> None:
    """The details are where google.rpc.Status is looked for by gRPC's own helper."""
    call = market_pb2_grpc.MarketServiceStub(dead_channel).GetPrice(PRICE, timeout=5)
    with pytest.raises(grpc.aio.AioRpcError):
        await call
    assert await rpc_status.aio.from_call(call) == EntasisError("UNAVAILABLE").status()


@pytest.mark.parametrize("language", LANGUAGES)
async def test_an_engine_that_hangs_is_too_slow(stack: Stack, channel: grpc.aio.Channel, language: Language) -> None:
    """A call that Envoy gives up on fails with DEADLINE_EXCEEDED and SERVER_003."""
    stack.market.release.clear()
    request = market_pb2.GetPriceRequest(symbol="SLOW-USDT")
    stub = market_pb2_grpc.MarketServiceStub(channel)
    told = await failure(stub.GetPrice(request, metadata=(("accept-language", language),), timeout=5))
    stack.market.release.set()
    check(told, "TOO_SLOW", language)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_large_message_is_refused(channel: grpc.aio.Channel, language: Language) -> None:
    """A message over the limit fails with OUT_OF_RANGE and REQUEST_003."""
    stub = market_pb2_grpc.MarketServiceStub(channel)
    told = await failure(stub.GetPrice(TOO_LARGE, metadata=(("accept-language", language),), timeout=5))
    check(told, "TOO_LARGE", language, limit="65536")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", ["/no.Such/Rpc", "/entasis.web.v2.WebService/GetAsset", "/a%25b/c"])
async def test_an_unknown_service_is_refused(channel: grpc.aio.Channel, path: str, language: Language) -> None:
    """A service that is not served fails with UNIMPLEMENTED and REQUEST_002, which name the RPC."""
    call = channel.unary_unary(path)(b"", metadata=(("accept-language", language),), timeout=5)
    check(await failure(call), "NO_SUCH_RPC", language, method=path)


def frame(message: Any) -> bytes:
    encoded = message.SerializeToString()
    return struct.pack(">BI", 0, len(encoded)) + encoded


async def test_grpc_web_answers(rest: httpx.AsyncClient) -> None:
    """gRPC-Web gets the message and the trailers in the body."""
    response = await rest.post(GET_PRICE, content=frame(PRICE), headers=WEB)
    length = struct.unpack(">I", response.content[1:5])[0]
    answer = market_pb2.GetPriceResponse.FromString(response.content[5 : 5 + length])
    assert (answer.symbol, answer.price) == ("BTC-USDT", "65432.10")
    assert response.content[5 + length] == 0x80
    assert b"grpc-status:0" in response.content[5 + length :]


async def test_grpc_web_answers_as_text(rest: httpx.AsyncClient) -> None:
    """gRPC-Web in base64, for browsers that cannot read binary streams, is served too."""
    kind = "application/grpc-web-text"
    response = await rest.post(
        GET_PRICE, content=base64.b64encode(frame(PRICE)), headers={"content-type": kind, "accept": kind}
    )
    assert b"65432.10" in base64.b64decode(response.content)


async def test_pages_of_any_origin_may_use_grpc_web(rest: httpx.AsyncClient) -> None:
    """A preflight allows gRPC-Web's POST, and its answers expose the headers that errors are told in."""
    asked = {"origin": "https://page.example", "access-control-request-method": "POST"}
    response = await rest.options(GET_PRICE, headers=asked)
    assert response.headers["access-control-allow-methods"] == "POST"
    assert {"content-type", "x-grpc-web"} <= set(response.headers["access-control-allow-headers"].split(","))
    exposed = set(response.headers["access-control-expose-headers"].split(","))
    assert {"grpc-status", "grpc-message", "grpc-status-details-bin", "x-error-code"} <= exposed


def check_web(response: httpx.Response, case: str, language: Language, **values: str) -> None:
    status = EntasisError(case, **values).status(language)
    headers = response.headers
    assert (response.status_code, response.content) == (200, b"")
    assert headers["content-type"] == "application/grpc-web+proto"
    assert (headers["grpc-status"], unquote(headers["grpc-message"])) == (str(status.code), status.message)
    details = headers["grpc-status-details-bin"]
    assert "=" not in details  # gRPC sends base64 without padding
    assert status_pb2.Status.FromString(base64.b64decode(details + "==")) == status
    assert headers["x-error-code"] == CATALOGUE[case].reason


@pytest.mark.parametrize("language", LANGUAGES)
async def test_envoys_errors_over_grpc_web(rest: httpx.AsyncClient, dead_end: Edge, language: Language) -> None:
    """Envoy's own errors reach gRPC-Web as a status in the headers, with the details."""
    headers = WEB | {"accept-language": language}
    dead = f"http://127.0.0.1:{dead_end.rest_port}"
    check_web(await rest.post(dead + GET_PRICE, content=frame(PRICE), headers=headers), "UNAVAILABLE", language)
    large = await rest.post(GET_PRICE, content=frame(TOO_LARGE), headers=headers)
    check_web(large, "TOO_LARGE", language, limit="65536")
    unknown = await rest.post("/no.Such/Rpc", content=frame(PRICE), headers=headers)
    check_web(unknown, "NO_SUCH_RPC", language, method="/no.Such/Rpc")


async def test_the_engines_errors_over_grpc_web(rest: httpx.AsyncClient) -> None:
    """An error of the engine reaches gRPC-Web in the same form."""
    request = market_pb2.GetPriceRequest(symbol="UNKNOWN-USDT")
    response = await rest.post(GET_PRICE, content=frame(request), headers=WEB)
    check_web(response, "SYMBOL_UNKNOWN", "en", symbol="UNKNOWN-USDT")
