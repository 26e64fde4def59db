"""Sockets, handshakes and endings: what happens to clients that are slow, wrong or too many."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from tests.integration.websocket.conftest import MakeWorld, RawClient, World
from tests.integration.websocket.fake_engine import until
from websockets.asyncio.client import connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from entasis_engine.settings import Settings
from entasis_engine.websocket import Limits, metrics, open_bridge

# Little may be unsent, so that a client counts as slow as soon as the kernel's own buffers are full.
SMALL_BUFFER: dict[str, Any] = {"websocket_buffer_bytes_max": 8192}


def slow_times() -> float:
    return float(metrics.SLOW._value.get())


def expelled() -> float:
    return float(metrics.EXPELLED._value.get())


async def stopped_client(world: World) -> RawClient:
    """A client that subscribed to prices and does not read."""
    client = await world.raw_client()
    await client.send(action="subscribe", channel="market", symbol="BTC-USDT")
    await client.send(action="subscribe", channel="market", symbol="ETH-USDT", id="done")
    await client.read_until(lambda message: message.get("id") == "done")
    return client


async def flood(world: World, until_slow: float) -> None:
    """Trade until a client's socket is full; rounds are large, since the kernel takes megabytes first."""
    for _ in range(200):
        world.engine.trade(count=1000)
        await asyncio.sleep(0.005)
        if slow_times() > until_slow:
            return
    raise AssertionError("the client never became slow")


async def test_a_slow_client_gets_the_newest_and_sees_the_gap(make_world: MakeWorld) -> None:
    """A client that stops reading misses updates but not the last, while another, at its side, misses none."""
    world: World = await make_world(websocket_buffer_bytes_max=65_536)
    slow, fast = await stopped_client(world), await world.client()
    await fast.subscribed()
    before, rounds_after = slow_times(), 20
    while rounds_after:  # until the kernel's buffers are full, and then some more
        first_seq = world.engine.seq + 1
        last_seq = world.engine.trade(count=200)
        assert [(await fast.receive())["seq"] for _ in range(200)] == list(range(first_seq, last_seq + 1))
        rounds_after -= slow_times() > before
    unsent_bytes = max(connection.transport.get_write_buffer_size() for connection in world.bridge._sockets)
    assert unsent_bytes < 65_536 + 200 * 150  # the write that went over the limit, and nothing after it
    newest = {world.engine.trade("ETH-USDT"), last_seq := world.engine.trade()}
    assert (await fast.receive())["seq"] == last_seq

    def is_last(message: dict[str, Any]) -> bool:
        newest.discard(message["seq"])
        return not newest

    messages = await slow.read_until(is_last)  # which fails unless the newest of every stream arrives
    numbers = [message["seq"] for message in messages if message["symbol"] == "BTC-USDT"]
    assert numbers[-1] == last_seq
    assert numbers[:-1] == list(range(101, 101 + len(numbers) - 1))
    assert last_seq - numbers[-2] > 18 * 200  # the gap

    last_seq = world.engine.trade()
    assert (await slow.read_until(lambda message: True))[0]["seq"] == last_seq  # and all goes on as before


async def test_a_client_that_takes_nothing_is_cut(make_world: MakeWorld) -> None:
    """A client whose socket takes not one byte for the set time is disconnected."""
    world: World = await make_world(Limits(stall_seconds=0.1), **SMALL_BUFFER)
    await stopped_client(world)
    await flood(world, slow_times())
    await until(lambda: world.bridge.clients == 0)


async def test_a_client_that_asks_and_does_not_read_is_expelled(make_world: MakeWorld) -> None:
    """Answers that are not read are kept up to a limit; then the client is disconnected with 1008."""
    world: World = await make_world(Limits(controls_max=10, message_rate=1e9, message_burst=1e9), **SMALL_BUFFER)
    client = await stopped_client(world)
    before = expelled()
    await flood(world, slow_times())
    for number in range(20):
        await client.send(action="ping", id=number)
    await until(lambda: expelled() > before)
    await client.read_until(lambda message: False)
    assert client.protocol.close_rcvd is not None
    assert client.protocol.close_rcvd.code == 1008
    assert client.protocol.close_rcvd.reason.startswith("too slow")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{", "message"),
        ("[]", "message"),
        ('"subscribe"', "message"),
        ("{}", "action"),
        ('{"action": "dance", "id": 5}', "action"),
        ('{"action": "subscribe", "id": 5}', "channel"),
        ('{"action": "subscribe", "channel": "trades", "symbol": "BTC-USDT", "id": 5}', "channel"),
        ('{"action": "subscribe", "channel": "market", "id": 5}', "symbols"),
        ('{"action": "subscribe", "channel": "market", "symbols": "BTC-USDT", "id": 5}', "symbols"),
        ('{"action": "subscribe", "channel": "orderbook", "symbol": "BTC-USDT", "depth": 101, "id": 5}', "depth"),
        ('{"action": "subscribe", "channel": "candles", "symbol": "BTC-USDT", "interval": "2h", "id": 5}', "interval"),
    ],
)
async def test_a_malformed_message_is_answered_and_closes_nothing(world: World, text: str, field: str) -> None:
    """What is wrong with a message is named by its field, with the id where there is one, and the socket stays open."""
    client = await world.client()
    await client.socket.send(text)
    error = await client.receive()
    assert (error["type"], error["code"]) == ("error", 3)
    assert error["details"][0]["reason"] == "REQUEST_001"
    assert [violation["field"] for violation in error["details"][1]["field_violations"]] == [field]
    assert error.get("id") == (5 if '"id"' in text else None)
    await client.nothing_but()


async def test_a_binary_frame_is_answered_and_closes_nothing(world: World) -> None:
    """A binary frame is REQUEST_001, whatever is in it."""
    client = await world.client()
    await client.socket.send(b'{"action": "ping"}')
    assert (await client.receive())["details"][0]["reason"] == "REQUEST_001"
    await client.nothing_but()


async def test_an_oversized_frame_is_told_and_closed_with_1009(world: World) -> None:
    """A frame beyond the limit gets REQUEST_003 as a message and in the reason of the close frame 1009."""
    client = await world.client(accept_language="ko")
    await client.socket.send("x" * 16_385)
    error = await client.receive()
    assert (error["type"], error["code"], error["details"][0]["reason"]) == ("error", 11, "REQUEST_003")
    assert error["message"] == "메시지가 16384바이트보다 큽니다"
    with pytest.raises(ConnectionClosed) as closed:
        await client.receive()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
    assert closed.value.rcvd.reason.startswith("REQUEST_003 ")


async def test_invalid_utf8_is_closed_with_1007(world: World) -> None:
    """A text frame that is not UTF-8 closes the connection with 1007."""
    client = await world.client()
    await client.socket.send(b"\xff\xfe", text=True)
    with pytest.raises(ConnectionClosed) as closed:
        await client.receive()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1007


@pytest.mark.parametrize("path", ["/", "/ws", "/ws/market/", "/ws/markets"])
async def test_there_is_one_path(world: World, path: str) -> None:
    """Any other path is 404 with the contract's body and header."""
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{world.bridge.port}{path}")
    response = refused.value.response
    assert (response.status_code, response.headers["x-error-code"]) == (404, "REQUEST_002")
    assert json.loads(response.body)["details"][0]["reason"] == "REQUEST_002"
    assert json.loads(response.body)["code"] == 5


async def test_a_query_is_no_obstacle(world: World) -> None:
    """What follows a question mark does not matter."""
    async with connect(f"{world.url}?from=browser") as socket:
        assert socket.state.name == "OPEN"


async def test_plain_http_is_refused_with_the_contracts_body(world: World) -> None:
    """A request that is no WebSocket handshake is REQUEST_001 in JSON, in the caller's language."""
    response = await asyncio.to_thread(
        requests.get,
        f"http://127.0.0.1:{world.bridge.port}/ws/market",
        headers={"Accept-Language": "ko"},
        timeout=10,
    )
    assert (response.status_code, response.headers["x-error-code"]) == (426, "REQUEST_001")
    assert response.headers["Content-Type"] == "application/json"
    assert response.json()["message"].startswith("잘못된 요청입니다")


async def test_one_client_too_many(make_world: MakeWorld) -> None:
    """A handshake beyond the limit is 503 with a body and Retry-After; when one leaves there is room again."""
    world: World = await make_world(websocket_clients_max=1)
    client = await world.client()
    with pytest.raises(InvalidStatus) as refused:
        await connect(world.url)
    response = refused.value.response
    assert (response.status_code, response.headers["x-error-code"]) == (503, "SERVER_002")
    assert response.headers["Retry-After"] == "1"
    assert json.loads(response.body)["code"] == 14
    await client.socket.close()
    await until(lambda: world.bridge.clients == 0)
    await world.client()


async def test_closing_says_going_away(world: World) -> None:
    """When the bridge ends, clients get 1001, the engine's streams are closed, and the port is free."""
    async with grpc.aio.insecure_channel(world.engine.address) as channel:
        async with open_bridge(Settings(), channel=channel) as bridge:
            socket = await connect(f"ws://127.0.0.1:{bridge.port}/ws/market")
            await socket.send(json.dumps({"action": "subscribe", "channel": "market", "symbol": "BTC-USDT"}))
            await until(lambda: len(world.engine.open) == 1)
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        await until(lambda: not world.engine.open)
        with pytest.raises(ConnectionRefusedError):
            await connect(f"ws://127.0.0.1:{bridge.port}/ws/market")


async def test_closing_does_not_wait_for_a_client_that_does_not_read(make_world: MakeWorld) -> None:
    """A client that is stuck is cut after the closing time, and does not hold up the end."""
    world: World = await make_world(Limits(close_seconds=0.3), **SMALL_BUFFER)
    await stopped_client(world)
    await flood(world, slow_times())
    # The fixture closes the bridge; the test's own time limit is the proof.


async def test_it_listens_on_a_unix_socket(world: World) -> None:
    """With a path instead of a port, the bridge serves there, and leaves no file behind."""
    path = Path(world.engine.address.removeprefix("unix:")).with_name("websocket.sock")
    async with (
        grpc.aio.insecure_channel(world.engine.address) as channel,
        open_bridge(Settings(), channel=channel, unix_path=str(path)) as bridge,
    ):
        assert bridge.port is None
        async with unix_connect(str(path), "ws://localhost/ws/market") as socket:
            await socket.send('{"action": "ping"}')
            assert json.loads(await socket.recv())["type"] == "pong"
    assert not path.exists()


async def test_compression_is_declined(world: World) -> None:
    """The extension that would cost twice the CPU is not negotiated."""
    client = await world.client()
    assert client.socket.protocol.extensions == []
