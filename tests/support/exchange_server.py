"""A local exchange that speaks as much of Binance spot's public API as ccxt needs, and misbehaves on command.

A `Market` is a run of raw frames with the order book they make. The server moves the markets on when told to, sends
frames to whoever subscribed, and answers REST from where the markets are. What clients miss happens all the same.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType, web

LEVELS_MAX = 5000
KLINES_MAX = 1000
YIELD_EVERY_FRAMES = 50
POLL_SECONDS = 0.005

Side = dict[Decimal, Decimal]
Kline = Sequence[object]
"""Open time in milliseconds; open, high, low, close, volume as text; close time in milliseconds."""


def data_dir() -> Path:
    """Where the real market data is."""
    return Path(os.environ.get("ENTASIS_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


def recorded_lines(native: str, day: str) -> list[str]:
    """The lines of a recording; skips the test where there is none."""
    path = data_dir() / "recordings" / f"binance_spot_{native.lower()}_{day}.gz"
    if not path.exists():
        pytest.skip("skipped: no real data")
    with gzip.open(path, "rt") as lines:
        return list(lines)


def synthetic_lines(native: str, count: int, *, seed: int = 7) -> list[str]:
    """A made-up recording: a snapshot, then `count` trades and diffs by turns, with digits that a float would lose."""
    rng = random.Random(seed)
    stamp = 1_723_204_800_000

    prices = [f"123456789012{at}.1234567890123456789" for at in range(100, 120)]

    def size() -> str:
        return rng.choice(["0.1000000000000000055", f"{rng.randrange(1, 9)}.000000000000000000{rng.randrange(1, 9)}"])

    def combined(stream: str, data: dict[str, object]) -> str:
        return f"{stamp}000000 " + json.dumps({"stream": f"{native.lower()}@{stream}", "data": data})

    levels = [[f"1234567890120{at:02}.5", "1.5"] for at in range(20)]
    lines = [f"{stamp}000000 " + json.dumps({"lastUpdateId": 1000, "bids": levels[:10], "asks": levels[10:]})]
    update = 1000
    for at in range(count):
        stamp += 50
        if at % 2 == 0:
            trade = {"e": "trade", "E": stamp, "s": native, "t": 1 + at // 2, "p": rng.choice(prices), "q": size()}
            lines.append(combined("trade", {**trade, "T": stamp, "m": rng.random() < 0.5, "M": True}))
            continue
        first, update = update + 1, update + rng.randrange(1, 5)
        changes = [[price, rng.choice([size(), "0.00000000"])] for price in rng.sample(prices, 3)]
        diff = {"e": "depthUpdate", "E": stamp, "s": native, "U": first, "u": update}
        lines.append(combined("depth@100ms", {**diff, "b": changes[:1], "a": changes[1:]}))
    return lines


class Market:
    """One symbol's frames and what they make of it so far. Deliberately not the code under test."""

    def __init__(
        self, native: str, lines: Iterable[str], *, filters: Sequence[dict[str, str]] = (), quotes_numbers: bool = True
    ) -> None:
        """`quotes_numbers=False` writes prices and sizes as JSON numbers, as some exchanges do."""
        self.native = native
        self.filters = filters or (
            {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000.00", "tickSize": "0.01000000"},
            {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000.0", "stepSize": "0.00001000"},
        )
        self.klines: dict[str, list[Kline]] = {}
        self.played_trades: list[dict[str, Any]] = []
        self.bids: Side = {}
        self.asks: Side = {}
        self.update_id = 0
        self._frames: list[tuple[str, str, dict[str, Any]]] = []
        self._at = 0
        for line in lines:
            message = json.loads(line.partition(" ")[2], parse_float=str)
            if "lastUpdateId" in message:
                # The market begins here: what came before the first snapshot has no book.
                self._frames.clear()
                self.update_id = message["lastUpdateId"]
                self.bids, self.asks = _side(message["bids"]), _side(message["asks"])
            else:
                text = json.dumps(message["data"])
                if not quotes_numbers:
                    text = re.sub(r'"(\d+\.\d+)"', r"\1", text)
                self._frames.append((message["stream"], text, message["data"]))

    @property
    def remaining(self) -> int:
        """Frames that are still to be played."""
        return len(self._frames) - self._at

    def advance(self) -> tuple[str, str]:
        """Let the next frame happen; its stream and its text."""
        stream, text, data = self._frames[self._at]
        self._at += 1
        if data.get("e") == "trade":
            self.played_trades.append(data)
        elif data.get("e") == "depthUpdate" and data["u"] > self.update_id:
            _apply(self.bids, data["b"])
            _apply(self.asks, data["a"])
            self.update_id = data["u"]
        return stream, text

    def depth(self, limit: int) -> dict[str, object]:
        def text(side: Side, *, highest_first: bool) -> list[list[str]]:
            return [[f"{price:f}", f"{side[price]:f}"] for price in sorted(side, reverse=highest_first)[:limit]]

        bids, asks = text(self.bids, highest_first=True), text(self.asks, highest_first=False)
        return {"lastUpdateId": self.update_id, "bids": bids, "asks": asks}

    def exchange_info(self) -> dict[str, object]:
        base, quote = self.native.removesuffix("USDT"), "USDT"
        return {
            "symbol": self.native,
            "status": "TRADING",
            "baseAsset": base,
            "baseAssetPrecision": 8,
            "quoteAsset": quote,
            "quotePrecision": 8,
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": True,
            "permissions": ["SPOT"],
            "filters": list(self.filters),
        }


def _side(levels: Iterable[Sequence[str]]) -> Side:
    return {Decimal(price): Decimal(size) for price, size in levels}


def _apply(side: Side, levels: Iterable[Sequence[str]]) -> None:
    for price, size in levels:
        if Decimal(size) == 0:
            side.pop(Decimal(price), None)
        else:
            side[Decimal(price)] = Decimal(size)


class _Client:
    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.socket = socket
        self.request = request
        self.streams: set[str] = set()
        self.wraps = request.path.startswith("/stream")
        # What is delayed, so that it still arrives in order. Bounded by the frames of a test.
        self.outbox: asyncio.Queue[tuple[float, str]] = asyncio.Queue()


class ExchangeServer:
    """The server and its misbehaviour. Use `running`."""

    def __init__(self, markets: Iterable[Market]) -> None:
        self.markets = {market.native: market for market in markets}
        self.delay_seconds = 0.0
        """Frames reach clients this much later than they happen."""
        self.is_failing = False
        """REST answers 500."""
        self.snapshots_stale_by = 0
        """As many depth answers are of the book as it was when the server started."""
        self.requests: list[str] = []
        """Paths that were asked for."""
        self.connections_made = 0
        self._drops: Callable[[str], bool] | None = None
        self._clients: list[_Client] = []
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._port = 0
        self._oldest_depth = {native: market.depth(LEVELS_MAX) for native, market in self.markets.items()}

    @classmethod
    @asynccontextmanager
    async def running(cls, *markets: Market) -> AsyncIterator[ExchangeServer]:
        server = cls(markets)
        app = web.Application()
        app.router.add_get("/api/v3/exchangeInfo", server._exchange_info)
        app.router.add_get("/api/v3/depth", server._depth)
        app.router.add_get("/api/v3/klines", server._klines)
        app.router.add_get("/api/v3/time", server._time)
        app.router.add_get("/ws/{connection}", server._stream)
        app.router.add_get("/stream/ws/{connection}", server._stream)
        server._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await server._runner.setup()
        await server.accept()
        try:
            yield server
        finally:
            server.cut()
            await server._runner.cleanup()

    def base_urls(self, *, combined: bool = False) -> dict[str, str]:
        """What to give the feed in place of Binance's addresses."""
        streams = f"ws://127.0.0.1:{self._port}" + ("/stream" if combined else "")
        return {
            "https://api.binance.com": f"http://127.0.0.1:{self._port}",
            "https://api.binance.us": f"http://127.0.0.1:{self._port}",
            "wss://stream.binance.com:9443": streams,
            "wss://stream.binance.us:9443": streams,
        }

    # What a test commands.

    async def play(self, frames: int | None = None, *, of: str | None = None) -> None:
        """Let the next frames of every market happen (or of one), as fast as can be; all that are left by default."""
        chosen = [self.markets[of]] if of else list(self.markets.values())
        for market in chosen:
            for at in range(market.remaining if frames is None else min(frames, market.remaining)):
                await self._publish(*market.advance())
                if at % YIELD_EVERY_FRAMES == 0:
                    await asyncio.sleep(0)

    @asynccontextmanager
    async def moving(self) -> AsyncIterator[None]:
        """Let the markets move on by themselves within, a few frames at a time."""

        async def move() -> None:
            while any(market.remaining for market in self.markets.values()):
                await self.play(2)
                await asyncio.sleep(POLL_SECONDS)

        mover = asyncio.create_task(move())
        try:
            yield
        finally:
            mover.cancel()
            await asyncio.wait([mover])

    def drop(self, frames: int, *, stream: str) -> None:
        """Keep the next frames of streams whose name contains `stream` from every client."""
        left = frames

        def drops(name: str) -> bool:
            nonlocal left
            if stream in name and left > 0:
                left -= 1
                return True
            return False

        self._drops = drops

    def cut(self) -> None:
        """Cut every connection, without a word."""
        for client in self._clients:
            if client.request.transport is not None:
                client.request.transport.abort()

    async def refuse(self) -> None:
        """Refuse new connections, REST's too. Cut the old ones."""
        assert self._site is not None
        await self._site.stop()
        self._site = None
        assert self._runner is not None
        assert self._runner.server is not None
        self.cut()
        # Idle connections kept alive for REST would still be answered.
        for connection in list(self._runner.server.connections):
            connection.force_close()
            if connection.transport is not None:
                connection.transport.abort()

    async def accept(self) -> None:
        """Accept connections, again on the same port."""
        assert self._runner is not None
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()
        self._port = self._runner.addresses[0][1]

    async def subscribed(self, *streams: str) -> None:
        """Wait until each stream has a subscriber."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: set(streams) <= {name for client in self._clients for name in client.streams}
            )

    async def asked(self, path: str, times: int) -> None:
        """Wait until `path` was asked for at least so often."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.requests.count(path) >= times)

    async def abandoned(self) -> None:
        """Wait until nobody streams."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._clients)

    async def deserted(self) -> None:
        """Wait until no connection is open, idle ones among them."""
        assert self._runner is not None
        assert self._runner.server is not None
        while self._runner.server.connections:
            await asyncio.sleep(POLL_SECONDS)  # aiohttp tells nobody when one closes

    # What clients get.

    async def _publish(self, stream: str, text: str) -> None:
        if self._drops is not None and self._drops(stream):
            return
        due = asyncio.get_running_loop().time() + self.delay_seconds
        for client in self._clients:
            if stream in client.streams:
                client.outbox.put_nowait((due, f'{{"stream":"{stream}","data":{text}}}' if client.wraps else text))

    async def _send(self, client: _Client) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, text = await client.outbox.get()
            if (wait_seconds := due - loop.time()) > 0:
                await asyncio.sleep(wait_seconds)
            await client.socket.send_str(text)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        client = _Client(socket, request)
        self._clients.append(client)
        self.connections_made += 1
        sender = asyncio.create_task(self._send(client))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._on_request(client, json.loads(message.data))
        finally:
            sender.cancel()
            await asyncio.wait([sender])
            self._clients.remove(client)
            await self._notify()
        return socket

    async def _on_request(self, client: _Client, request: dict[str, Any]) -> None:
        if request["method"] == "SUBSCRIBE":
            client.streams.update(request["params"])
        elif request["method"] == "UNSUBSCRIBE":
            client.streams.difference_update(request["params"])
        await client.socket.send_str(json.dumps({"result": None, "id": request["id"]}))
        await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _answer(self, request: web.Request, answer: Callable[[], object]) -> web.Response:
        self.requests.append(request.path)
        await self._notify()
        if self.is_failing:
            return web.json_response({"code": -1000, "msg": "An unknown error occurred."}, status=500)
        return web.json_response(answer())

    async def _exchange_info(self, request: web.Request) -> web.Response:
        return await self._answer(
            request,
            lambda: {"timezone": "UTC", "symbols": [market.exchange_info() for market in self.markets.values()]},
        )

    async def _time(self, request: web.Request) -> web.Response:
        return await self._answer(request, lambda: {"serverTime": 1_723_204_800_000})

    async def _depth(self, request: web.Request) -> web.Response:
        native = request.query["symbol"]

        def answer() -> object:
            if self.snapshots_stale_by > 0:
                self.snapshots_stale_by -= 1
                return self._oldest_depth[native]
            return self.markets[native].depth(int(request.query["limit"]))

        return await self._answer(request, answer)

    async def _klines(self, request: web.Request) -> web.Response:
        query = request.query
        rows = self.markets[query["symbol"]].klines.get(query["interval"], [])
        start, end = int(query.get("startTime", 0)), int(query.get("endTime", 2**62))
        limit = min(int(query["limit"]), KLINES_MAX)
        return await self._answer(request, lambda: [row for row in rows if start <= int(str(row[0])) <= end][:limit])
