"""/ws/market through Envoy."""

from __future__ import annotations

import json

import pytest
from tests.e2e.edge.conftest import Stack
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from entasis_engine.edge import Edge

pytestmark = pytest.mark.e2e

FORGED = {"x-client-ip": "6.6.6.6", "x-forwarded-for": "6.6.6.6", "x-real-ip": "6.6.6.6", "x-envoy-foo": "6.6.6.6"}


async def test_messages_pass_both_ways(stack: Stack) -> None:
    """A WebSocket at /ws/market reaches the bridge, whatever the query says, and carries messages both ways."""
    async with connect(f"ws://{stack.authority}/ws/market?a=b") as socket:
        await socket.recv()
        await socket.send("hello")
        await socket.send(b"\x00\x01")
        assert [await socket.recv(), await socket.recv()] == ["hello", b"\x00\x01"]


async def test_the_address_cannot_be_forged(stack: Stack) -> None:
    """The bridge sees the peer's address in x-client-ip, and nothing of what the caller claimed."""
    async with connect(f"ws://{stack.authority}/ws/market", additional_headers=FORGED) as socket:
        seen = str(await socket.recv())
    assert "x-client-ip: 127.0.0.1" in seen
    assert "6.6.6.6" not in seen


async def test_the_language_reaches_the_bridge(stack: Stack) -> None:
    """The bridge is told the caller's language."""
    languages = {"accept-language": "fr;q=0.9, ko-KR"}
    async with connect(f"ws://{stack.authority}/ws/market", additional_headers=languages) as socket:
        assert "accept-language: ko" in str(await socket.recv())


async def test_credentials_reach_the_bridge(stack: Stack) -> None:
    """The bridge gets the caller's credentials, whether they are sent as headers or as subprotocols."""
    async with connect(
        f"ws://{stack.authority}/ws/market",
        additional_headers={"Authorization": "Bearer a.b.c", "X-API-Key": "ek_1"},
        subprotocols=[Subprotocol("entasis.v1"), Subprotocol("key.ek_2")],
    ) as socket:
        seen = str(await socket.recv()).splitlines()
    assert {"authorization: Bearer a.b.c", "x-api-key: ek_1", "sec-websocket-protocol: entasis.v1, key.ek_2"} < set(
        seen
    )


@pytest.mark.parametrize("headers", [{"x-long": "a" * 9000}, {f"x-{number}": "a" for number in range(120)}])
async def test_headers_beyond_the_bridge_are_refused_in_our_words(stack: Stack, headers: dict[str, str]) -> None:
    """A handshake with a header line or with more headers than the bridge reads is 431 REQUEST_004, in JSON."""
    with pytest.raises(InvalidStatus) as raised:
        await connect(f"ws://{stack.authority}/ws/market", additional_headers=headers)
    response = raised.value.response
    assert response.status_code == 431
    assert json.loads(response.body or b"")["details"][0]["reason"] == "REQUEST_004"


@pytest.mark.parametrize("path", ["/ws/other", "/api/v1/market/price/BTC-USDT", "/"])
async def test_no_other_path_upgrades(stack: Stack, path: str) -> None:
    """An upgrade elsewhere is 404 REQUEST_002."""
    with pytest.raises(InvalidStatus) as raised:
        await connect(f"ws://{stack.authority}{path}")
    response = raised.value.response
    assert (response.status_code, response.headers["x-error-code"]) == (404, "REQUEST_002")


async def test_a_dead_bridge_is_unavailable(dead_end: Edge) -> None:
    """Without a bridge the handshake is refused with 503 SERVER_002 and the JSON body."""
    with pytest.raises(InvalidStatus) as raised:
        await connect(f"ws://127.0.0.1:{dead_end.rest_port}/ws/market")
    response = raised.value.response
    assert (response.status_code, response.headers["x-error-code"]) == (503, "SERVER_002")
    assert b'"reason":"SERVER_002"' in (response.body or b"")
