"""CPU per unary gRPC call and per REST price read."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import grpc

from entasis.market.v1 import market_pb2 as pb
from scripts.bench.processes import Program, entasis, make_key, running

CALLS = 6_000
ROUNDS = 5
CONCURRENCY = 16
PATH = "/api/v1/market/price/BTC-USDT"


class Figure(NamedTuple):
    """Microseconds of CPU per item: ours, the peer's, and the parts of ours."""

    ours: float
    peer: float
    parts: dict[str, float]

    @property
    def ratio(self) -> float:
        return self.ours / self.peer


Load = Callable[[], Awaitable[None]]


async def measure(program: Program, load: Load, names: tuple[str, ...]) -> dict[str, float]:
    """CPU microseconds per call that each kind of process used under the load."""
    before = {name: program.cpu_seconds(name) for name in names}
    await load()
    return {name: (program.cpu_seconds(name) - before[name]) / CALLS * 1e6 for name in names}


async def in_turns(
    ours: Program, our_load: Load, parts: tuple[str, ...], peer: Program, peer_load: Load, tick: Callable[[], None]
) -> Figure:
    """Measure both in turns, so that whatever else the machine does meets both; the medians of the rounds count."""
    await our_load()
    await peer_load()
    our_rounds, peer_rounds = [], []
    for _round in range(ROUNDS):
        our_rounds.append(await measure(ours, our_load, parts))
        peer_rounds.append((await measure(peer, peer_load, ("",)))[""])
        tick()
    medians = {name: statistics.median(one[name] for one in our_rounds) for name in parts}
    return Figure(statistics.median(sum(one.values()) for one in our_rounds), statistics.median(peer_rounds), medians)


async def unary(tick: Callable[[], None]) -> Figure:
    """`GetPrice` on the engine's port beside a bare grpc.aio echo."""
    with tempfile.TemporaryDirectory() as data:
        key = make_key(Path(data))
        arguments, environment = entasis(Path(data), "serve", "engine", symbols="BTC-USDT")
        with (
            running(arguments, "Entasis is up", **environment) as ours,
            running([sys.executable, "-m", "scripts.bench.peers", "echo"], "ready on") as peer,
        ):
            request = pb.GetPriceRequest(symbol="BTC-USDT").SerializeToString()
            async with (
                grpc.aio.insecure_channel(ours.find(r"gRPC +(127[\d.:]+)")) as our_channel,
                grpc.aio.insecure_channel(peer.find(r"ready on (\S+)")) as peer_channel,
            ):
                price = our_channel.unary_unary("/entasis.market.v1.MarketService/GetPrice")
                echo = peer_channel.unary_unary("/bench.Echo/Echo")
                return await in_turns(
                    ours,
                    lambda: call(price, request, [("x-api-key", key)]),
                    ("",),
                    peer,
                    lambda: call(echo, request),
                    tick,
                )


async def call(
    method: Callable[..., Awaitable[bytes]], request: bytes, metadata: Sequence[tuple[str, str]] = ()
) -> None:
    async def some() -> None:
        for _ in range(CALLS // CONCURRENCY):
            await method(request, metadata=metadata)

    await asyncio.gather(*(some() for _ in range(CONCURRENCY)))


async def rest(tick: Callable[[], None]) -> Figure:
    """A price over REST, Envoy and engine together, beside FastAPI on uvicorn."""
    with tempfile.TemporaryDirectory() as data:
        key = make_key(Path(data))
        arguments, environment = entasis(Path(data), "up", symbols="BTC-USDT")
        with (
            running(arguments, "Ctrl-C ends it", **environment) as ours,
            running([sys.executable, "-m", "scripts.bench.peers", "fastapi"], "ready on") as peer,
        ):
            our_address = ours.find(r"http://(\S+?)/api")
            peer_address = peer.find(r"ready on (\S+)")
            return await in_turns(
                ours,
                lambda: read(our_address, key),
                ("entasis", "envoy"),
                peer,
                lambda: read(peer_address),
                tick,
            )


async def read(address: str, key: str = "") -> None:
    """GET the price over connections that stay open."""
    host, _, port = address.partition(":")
    credential = f"x-api-key: {key}\r\n" if key else ""
    request = f"GET {PATH} HTTP/1.1\r\nhost: {address}\r\n{credential}\r\n".encode()

    async def some() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for _ in range(CALLS // CONCURRENCY):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"not a price: {head!r}")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()

    await asyncio.gather(*(some() for _ in range(CONCURRENCY)))
