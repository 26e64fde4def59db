"""A bridge on a loopback port, an engine behind it, and clients of every kind."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.integration.websocket.fake_engine import FakeEngine
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import CLIENT, Protocol

from entasis_engine.settings import Settings
from entasis_engine.times import Clock, system_clock
from entasis_engine.websocket import CHANNEL_OPTIONS, Bridge, Limits, open_bridge

SECONDS = 20


class Client:
    """A WebSocket client that speaks JSON."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def receive(self) -> Any:
        async with asyncio.timeout(SECONDS):
            return json.loads(await self.socket.recv())

    async def ask(self, **message: Any) -> Any:
        await self.send(**message)
        return await self.receive()

    async def closed(self) -> Close:
        """How the server closes, which must be the next thing that it does."""
        with pytest.raises(ConnectionClosed) as closed:
            await self.receive()
        assert closed.value.rcvd is not None
        return closed.value.rcvd

    async def nothing_but(self, ping: str = "fence") -> None:
        """Nothing was on the way to this client."""
        answer = await self.ask(action="ping", id=ping)
        assert answer["type"] == "pong", answer

    async def market(self, *symbols: str, **extra: Any) -> None:
        """Subscribe without wanting an acknowledgement."""
        await self.send(action="subscribe", channel="market", symbols=list(symbols or ["BTC-USDT"]), **extra)

    async def subscribed(self, *symbols: str) -> None:
        """Subscribe to prices, and wait until that is done."""
        answer = await self.ask(action="subscribe", channel="market", symbols=list(symbols or ["BTC-USDT"]), id=0)
        assert {result["status"] for result in answer["results"]} == {"ok"}


class RawClient:
    """A client that reads only when told to, with a small receive buffer."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.setblocking(False)
        self.port = port
        self.protocol = Protocol(CLIENT, max_size=None)

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self.socket, ("127.0.0.1", self.port))
        key = base64.b64encode(os.urandom(16)).decode()
        await loop.sock_sendall(
            self.socket,
            "GET /ws/market HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode(),
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await loop.sock_recv(self.socket, 1)
        assert head.startswith(b"HTTP/1.1 101 ")

    async def send(self, **message: Any) -> None:
        frame = Frame(Opcode.TEXT, json.dumps(message).encode()).serialize(mask=True)
        await asyncio.get_running_loop().sock_sendall(self.socket, frame)

    async def read_until(self, enough: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Every message up to the first that is enough, or up to the close frame."""
        messages: list[dict[str, Any]] = []
        async with asyncio.timeout(SECONDS):
            while data := await asyncio.get_running_loop().sock_recv(self.socket, 65536):
                self.protocol.receive_data(data)
                for event in self.protocol.events_received():
                    assert isinstance(event, Frame)
                    if event.opcode is Opcode.TEXT:
                        messages.append(json.loads(bytes(event.data)))
                        if enough(messages[-1]):
                            return messages
                if self.protocol.close_rcvd is not None:
                    break
        return messages


class World:
    """Everything that a test may reach."""

    def __init__(self, engine: FakeEngine, bridge: Bridge, stack: contextlib.AsyncExitStack) -> None:
        self.engine = engine
        self.bridge = bridge
        self._stack = stack

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.bridge.port}/ws/market"

    async def client(self, subprotocols: Sequence[Any] | None = None, **headers: str) -> Client:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        opening = connect(self.url, additional_headers=names, subprotocols=subprotocols)
        return Client(await self._stack.enter_async_context(opening))

    async def refused(self, subprotocols: Sequence[Any] | None = None, **headers: str) -> Response:
        """The answer to a handshake that must fail."""
        with pytest.raises(InvalidStatus) as refused:
            await self.client(subprotocols, **headers)
        return refused.value.response

    async def raw_client(self) -> RawClient:
        assert self.bridge.port is not None
        client = RawClient(self.bridge.port)
        self._stack.callback(client.socket.close)
        await client.open()
        return client


MakeWorld = Callable[..., Any]


@pytest.fixture
async def make_world() -> AsyncIterator[MakeWorld]:
    """Builds a world with the settings and limits that the test needs."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(
            limits: Limits = Limits(linger_seconds=0.2, answer_seconds=20),  # noqa: B008
            clock: Clock = system_clock,
            **settings: Any,
        ) -> World:
            # A short path: that of a unix socket may not be longer than 107 characters.
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="entasis-")))
            # The RPCs that the bridge never calls stay as the base class has them: UNIMPLEMENTED.
            engine = FakeEngine(f"unix:{folder / 'engine.sock'}")  # type: ignore[abstract]
            await engine.start()
            stack.push_async_callback(engine.stop)
            channel = await stack.enter_async_context(
                grpc.aio.insecure_channel(engine.address, options=CHANNEL_OPTIONS)
            )
            opened = open_bridge(Settings(**settings), channel=channel, limits=limits, clock=clock)
            return World(engine, await stack.enter_async_context(opened), stack)

        yield make


@pytest.fixture
async def world(make_world: MakeWorld) -> World:
    """A world as most tests need it."""
    made: World = await make_world()
    return made
