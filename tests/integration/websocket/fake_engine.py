"""An engine under the test's control: the real contract over a real gRPC server, with data the test decides on."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import grpc
from google.protobuf.struct_pb2 import ListValue
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from entasis.access.v1 import access_pb2, access_pb2_grpc
from entasis.market.v1 import market_pb2, market_pb2_grpc
from entasis.portfolio.v1 import portfolio_pb2, portfolio_pb2_grpc
from entasis_engine.errors import EntasisError, language_of

START_MS = 1_711_013_400_123  # 2024-03-21T09:30:00.123Z
LISTED = {"BTC-USDT", "ETH-USDT", "SOL-USDT"}
SLOW_SECONDS = 0.03
"""How long a slow failure takes."""


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something that no event tells of."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


class OpenStream:
    """One RPC that a client of the engine has open."""

    def __init__(self, method: str, request: Any) -> None:
        self.method = method
        self.request = request
        self.symbol = request.symbols[0]
        self.responses: asyncio.Queue[Any] = asyncio.Queue()


class _Health(health_pb2_grpc.HealthServicer):
    """Answers, unless the engine hangs."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine

    async def Check(self, request: Any, context: Any) -> health_pb2.HealthCheckResponse:
        if self._engine.hangs:
            await asyncio.Event().wait()
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


def session(account: str = "acc-1", **fields: Any) -> access_pb2.OpenSessionResponse:
    """Good credentials of an account, which may open market streams."""
    values: dict[str, Any] = {"session": f"{account}|key-1", "scopes": ["market:read"], "market_streams": True}
    return access_pb2.OpenSessionResponse(account=account, **(values | fields))


class FakeAccess(access_pb2_grpc.AccessServiceServicer):
    """Knows the credentials that the test names, and says what the test wants."""

    def __init__(self) -> None:
        self.anonymous: access_pb2.OpenSessionResponse | EntasisError = access_pb2.OpenSessionResponse(
            market_streams=True
        )
        """The answer about clients without credentials."""
        self.known: dict[str, access_pb2.OpenSessionResponse | EntasisError] = {}
        """The answer about a token or key; others are not valid."""
        self.rate_headers: tuple[tuple[str, str], ...] = ()
        """What refusals say of the rate limit."""
        self.opened: list[dict[str, str]] = []
        """What came with each OpenSession."""
        self.noted: list[str] = []
        """Why clients were refused without it."""
        self.ended: dict[tuple[str, str], str] = {}
        """Sessions with their address that are over, and why."""
        self.asked: list[list[tuple[str, str]]] = []
        """What each ListEndedSessions named."""
        self.notes_broken = False
        """Whether refusals cannot be noted."""
        self.broken = False
        """Whether to fail without a word of the contract."""
        self.waiting = 0
        """Calls of OpenSession that wait for `go`."""
        self.go = asyncio.Event()
        self.go.set()

    async def OpenSession(self, request: Any, context: Any) -> access_pb2.OpenSessionResponse:
        metadata = {name: str(value) for name, value in context.invocation_metadata()}
        if request.refused:
            self.noted.append(request.refused)
        else:
            self.opened.append(metadata)
        self.waiting += 1
        try:
            await self.go.wait()
        finally:
            self.waiting -= 1
        await self._fail_if_broken(context)
        token = metadata.get("authorization", "").removeprefix("Bearer ")
        sent = [credential for credential in (token, metadata.get("x-api-key", "")) if credential]
        answers = [self.known.get(one, EntasisError("KEY_INVALID")) for one in sent] or [self.anonymous]
        for answer in answers:
            if isinstance(answer, EntasisError):
                await self._refuse(answer, language_of(metadata["accept-language"]), context)
        answer = answers[0]
        assert isinstance(answer, access_pb2.OpenSessionResponse)
        return answer

    async def _refuse(self, error: EntasisError, language: Any, context: Any) -> None:
        details = (("grpc-status-details-bin", error.status(language).SerializeToString()), *self.rate_headers)
        code = next(code for code in grpc.StatusCode if code.value[0] == error.entry.code)
        await context.abort(code, error.message(language), trailing_metadata=details)

    async def ListEndedSessions(self, request: Any, context: Any) -> access_pb2.ListEndedSessionsResponse:
        held = [(one.session, one.address) for one in request.held]
        self.asked.append(held)
        await self._fail_if_broken(context)
        answer = access_pb2.ListEndedSessionsResponse()
        for index, one in enumerate(held):
            if one in self.ended:
                answer.ended.add(index=index, reason=self.ended[one])
        return answer

    async def NoteRefusals(self, request: Any, context: Any) -> access_pb2.NoteRefusalsResponse:
        if self.notes_broken:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "an older engine")
        self.noted += [one.case for one in request.refusals]
        return access_pb2.NoteRefusalsResponse()

    async def _fail_if_broken(self, context: Any) -> None:
        if self.broken:
            details = (("grpc-status-details-bin", status_pb2.Status(code=2, message="?").SerializeToString()),)
            await context.abort(grpc.StatusCode.UNKNOWN, "?", trailing_metadata=details)


class PositionsStream(NamedTuple):
    """A stream of positions that a bridge has open."""

    session: str
    address: str
    responses: asyncio.Queue[Any]


class FakePortfolio(portfolio_pb2_grpc.PortfolioServiceServicer):
    """Holds positions of accounts, numbers what happens to them, and sends what the test makes."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, portfolio_pb2.Position]] = defaultdict(dict)
        """Open positions, by account and id."""
        self.seq = 100
        self.open: list[PositionsStream] = []
        self.opened: list[PositionsStream] = []
        """Every stream that was ever asked for."""
        self.refusals: dict[str, EntasisError] = {}
        """Why streams of a session are refused, or end."""
        self.slow_failure: EntasisError | None = None
        """What every stream ends with that has sent its headers and, a while later, still no snapshot."""
        self.hold_back: dict[str, asyncio.Event] = {}
        """What the snapshot of a session's streams waits for."""

    async def StreamPositions(self, request: Any, context: Any) -> AsyncIterator[Any]:
        metadata = dict(context.invocation_metadata())
        session, address = metadata["x-session-bin"].decode(), metadata["x-client-ip"]
        stream = PositionsStream(session, address, asyncio.Queue())
        self.opened.append(stream)
        if (refusal := self.refusals.get(session)) is not None:
            await _abort(context, refusal)
        self.open.append(stream)
        try:
            await context.send_initial_metadata(())
            if self.slow_failure is not None:
                await asyncio.sleep(SLOW_SECONDS)  # the ledger's own timeout
                await _abort(context, self.slow_failure)
            if (event := self.hold_back.get(session)) is not None:
                await event.wait()
                if (refusal := self.refusals.get(session)) is not None:
                    await _abort(context, refusal)
            held = self.held[session.partition("|")[0]].values()
            yield _update("snapshot", self.seq, *held)
            while True:
                response = await stream.responses.get()
                if isinstance(response, EntasisError):
                    await _abort(context, response)
                yield response
        finally:
            self.open.remove(stream)

    def change(self, event: str, position_id: str, account: str = "acc-1", **fields: Any) -> int:
        """Something happens to a position; its number."""
        held = self.held[account]
        position = held.setdefault(position_id, position_of(position_id))
        if event in {"closed", "liquidated"}:
            position.status = event
            position.close_time.FromMilliseconds(START_MS)
            del held[position_id]
        for name, value in fields.items():
            setattr(position, name, value)
        self.seq += 1
        for stream in self.open:
            if stream.session.partition("|")[0] == account:
                stream.responses.put_nowait(_update(event, self.seq, position))
        return self.seq

    def cut(self, session: str) -> None:
        """Streams of a session end as in an outage."""
        for stream in self.open:
            if stream.session == session:
                stream.responses.put_nowait(EntasisError("UNAVAILABLE"))

    def abort_held_back(self, session: str, refusal: EntasisError) -> None:
        """A stream that waits with its snapshot is refused instead."""
        self.refusals[session] = refusal
        self.hold_back[session].set()

    def end(self, session: str, refusal: EntasisError) -> None:
        """Streams of a session end, and no more are opened."""
        self.refusals[session] = refusal
        for stream in self.open:
            if stream.session == session:
                stream.responses.put_nowait(refusal)


def position_of(position_id: str) -> portfolio_pb2.Position:
    """A position as it is opened."""
    position = portfolio_pb2.Position(
        position_id=position_id,
        symbol="BTC-USDT",
        size="1.5",
        entry_price="64000.00",
        current_price="65000.00",
        pnl="1500.00",
        type="long",
        leverage="1",
        status="open",
        margin="96000.00",
        liquidation_price="320.00",
        realised_pnl="0.00",
        fees="48.00",
    )
    position.timestamp.FromMilliseconds(START_MS)
    position.open_time.FromMilliseconds(START_MS - 123)
    return position


def _update(event: str, seq: int, *positions: portfolio_pb2.Position) -> portfolio_pb2.StreamPositionsResponse:
    update = portfolio_pb2.PositionUpdate(event=event, seq=seq, positions=positions)
    return portfolio_pb2.StreamPositionsResponse(updates=[update])


async def _abort(context: Any, error: EntasisError) -> None:
    details = (("grpc-status-details-bin", error.status().SerializeToString()),)
    code = next(code for code in grpc.StatusCode if code.value[0] == error.entry.code)
    await context.abort(code, error.message(), trailing_metadata=details)


class FakeEngine(market_pb2_grpc.MarketServiceServicer):
    """Numbers trades, keeps them all, and sends what the test makes."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.open: list[OpenStream] = []
        self.opened: list[OpenStream] = []
        """Every stream that was ever asked for."""
        self.trades: dict[str, list[market_pb2.PriceUpdate]] = defaultdict(list)
        self.books: dict[str, market_pb2.GetOrderBookResponse] = {}
        self.candles: dict[str, market_pb2.CandleUpdate] = {}
        self.silent = False
        """Whether to accept streams and say nothing, as a process does that hangs."""
        self.hangs = False
        """Whether to answer no question either."""
        self.seq = 100
        # The RPC that the bridge never calls stays as the base class has it: UNIMPLEMENTED.
        self.access = FakeAccess()  # type: ignore[abstract]
        self.portfolio = FakePortfolio()  # type: ignore[abstract]
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        self._server = grpc.aio.server()
        market_pb2_grpc.add_MarketServiceServicer_to_server(self, self._server)
        portfolio_pb2_grpc.add_PortfolioServiceServicer_to_server(self.portfolio, self._server)
        access_pb2_grpc.add_AccessServiceServicer_to_server(self.access, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(_Health(self), self._server)
        self._server.add_insecure_port(self.address)
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    def trade(self, symbol: str = "BTC-USDT", price: str = "65432.10", count: int = 1) -> int:
        """Make trades and send them in one batch; the last one's number."""
        made = []
        for _ in range(count):
            self.seq += 1
            update = market_pb2.PriceUpdate(symbol=symbol, price=price, volume="1.23", seq=self.seq)
            update.timestamp.FromMilliseconds(START_MS + (self.seq - 101) * 1000)
            made.append(update)
        self.trades[symbol].extend(made)
        self._send("StreamPrices", symbol, market_pb2.StreamPricesResponse(updates=made))
        return self.seq

    def book(self, symbol: str = "BTC-USDT") -> int:
        """Change a book and send it."""
        self.seq += 1
        book = market_pb2.GetOrderBookResponse(symbol=symbol, seq=self.seq, checksum=4242)
        book.timestamp.FromMilliseconds(START_MS)
        for side, levels in ((book.bids, ("65000.00", "64999.00")), (book.asks, ("65001.00", "65002.00"))):
            for price in levels:
                level = ListValue()
                level.extend([price, "1.234"])
                side.append(level)
        self.books[symbol] = book
        self._send("StreamOrderBooks", symbol, market_pb2.StreamOrderBooksResponse(books=[book]))
        return self.seq

    def candle(self, symbol: str = "BTC-USDT", closed: bool = False) -> int:
        """Change the candle in progress and send it."""
        self.seq += 1
        update = market_pb2.CandleUpdate(symbol=symbol, interval="1m", closed=closed, seq=self.seq)
        update.candle.timestamp.FromMilliseconds(START_MS - 123)
        update.candle.open, update.candle.high = "65000.00", "65100.00"
        update.candle.low, update.candle.close, update.candle.volume = "64900.00", "65050.00", "2.5"
        self.candles[symbol] = update
        self._send("StreamCandles", symbol, market_pb2.StreamCandlesResponse(updates=[update]))
        return self.seq

    def interrupt(self, symbol: str = "BTC-USDT", *, restored: bool = False) -> None:
        interruption = market_pb2.FeedInterruption(symbol=symbol, restored=restored, exchange="binance")
        self._send("StreamPrices", symbol, market_pb2.StreamPricesResponse(interruptions=[interruption]))

    def _send(self, method: str, symbol: str, response: Any) -> None:
        for stream in self.open:
            if (stream.method, stream.symbol) == (method, symbol):
                stream.responses.put_nowait(response)

    async def StreamPrices(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        symbol = request.symbols[0]
        trades = self.trades[symbol][-1024:]
        first = trades[-1:]
        after = request.resume_after.get(symbol)
        if after is not None and trades and trades[0].seq - 1 <= after <= trades[-1].seq:
            first = [trade for trade in trades if trade.seq > after]
        snapshot = market_pb2.StreamPricesResponse(updates=first) if first else None
        async for response in self._stream("StreamPrices", request, context, snapshot):
            yield response

    async def StreamOrderBooks(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        book = self.books.get(request.symbols[0])
        snapshot = market_pb2.StreamOrderBooksResponse(books=[book]) if book else None
        async for response in self._stream("StreamOrderBooks", request, context, snapshot):
            yield response

    async def StreamCandles(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        candle = self.candles.get(request.symbols[0])
        snapshot = market_pb2.StreamCandlesResponse(updates=[candle]) if candle else None
        async for response in self._stream("StreamCandles", request, context, snapshot):
            yield response

    async def _stream(
        self, method: str, request: Any, context: grpc.aio.ServicerContext[Any, Any], snapshot: Any
    ) -> AsyncIterator[Any]:
        stream = OpenStream(method, request)
        self.opened.append(stream)
        if self.silent:
            await asyncio.Event().wait()
        if stream.symbol not in LISTED:
            status = EntasisError("SYMBOL_UNKNOWN", symbol=stream.symbol).status()
            # The real engine sends the error's code as a header too, ahead of the status.
            await context.send_initial_metadata((("x-error-code", "MARKET_001"),))
            await context.abort(
                grpc.StatusCode.NOT_FOUND,
                status.message,
                trailing_metadata=(("grpc-status-details-bin", status.SerializeToString()),),
            )
        self.open.append(stream)
        try:
            await context.send_initial_metadata(())
            if snapshot is not None:
                yield snapshot
            while True:
                yield await stream.responses.get()
        finally:
            self.open.remove(stream)
