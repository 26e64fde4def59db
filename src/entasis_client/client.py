"""The client: one method per RPC, streams that outlive their connection, and nothing that runs by itself."""

from __future__ import annotations

import asyncio
import math
import random
import time
import uuid
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import betterproto2

from entasis_betterproto.entasis.access import v1 as access
from entasis_betterproto.entasis.analysis import v1 as analysis
from entasis_betterproto.entasis.market import v1 as market
from entasis_betterproto.entasis.portfolio import v1 as portfolio
from entasis_client import methods
from entasis_client.calls import Calls, Channel, Clock, Credentials, Method, Sleep, Timing, closed_meanwhile
from entasis_client.channel import opener
from entasis_client.credentials import Exchanged, Fixed
from entasis_client.errors import EntasisError
from entasis_client.results import (
    Accuracies,
    Balance,
    Candle,
    Closed,
    Instrument,
    LedgerEntry,
    Models,
    Opened,
    OrderBook,
    PortfolioRisk,
    Position,
    Prediction,
    Price,
    Prices,
    Risk,
    Token,
    Trade,
    taken,
)
from entasis_client.retry import Backoff
from entasis_client.streams import (
    BookEvent,
    BookTracker,
    CandleEvent,
    CandleTracker,
    Fill,
    PositionEvent,
    PositionTracker,
    PriceEvent,
    PriceTracker,
    Reconnected,
    Tracker,
    followed,
)
from entasis_client.values import aware, decimal_text, header_text, seconds, symbol_list

Q = TypeVar("Q", bound=betterproto2.Message)
A = TypeVar("A", bound=betterproto2.Message)
R = TypeVar("R")
E = TypeVar("E")
Number = Decimal | str | int

DEFAULT_ADDRESS = "127.0.0.1:8080"
"""Envoy's, as `make run` has it."""


class Entasis:
    """A client of the engine, for one event loop.

        async with Entasis("127.0.0.1:8080", api_key=key) as client:
            print((await client.price("BTC-USDT")).price)

    Every method raises `EntasisError`, and TypeError or ValueError for arguments that the contract cannot carry, before
    anything is sent. Reads are repeated while the engine is not there, and writes too, since each has
    an idempotency key; all attempts of a call together have its `timeout`, in seconds.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        api_key: str = "",
        token: str = "",
        exchange_key: bool = False,
        tls: bool = False,
        ca_file: Path | str | None = None,
        plaintext: bool = False,
        timeout: float = 10.0,
        outage_seconds_max: float | None = 300.0,
        language: str = "",
        backoff: Backoff | None = None,
        channel: Channel | None = None,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        chance: random.Random | None = None,
    ) -> None:
        """
        Args:
            address: `host:port`. Off this machine it needs `tls`, `ca_file` or, in so many words, `plaintext`.
            api_key: sent with every call; with `exchange_key` only to get short-lived tokens, which are sent instead.
                White space around it, such as the end of the line of a file, is no part of it.
            token: sent with every call.
            timeout: seconds that a call may take with all its attempts, and a stream until it stands.
            outage_seconds_max: how long a stream that broke is tried again; None: for ever.
            language: `en` or `ko`: of the words of errors.
            channel, clock, sleep, chance: in place of the real ones.

        Raises ValueError where these contradict each other, would send a key in the clear, or cannot be sent.
        """
        api_key = header_text(api_key, "api_key", trimmed=True)
        token = header_text(token, "token", trimmed=True)
        if exchange_key and (token or not api_key):
            raise ValueError("exchange_key exchanges an api_key for tokens: give api_key and no token")
        self._timeout = seconds(timeout, "timeout")
        self._outage_seconds_max = (
            None if outage_seconds_max in (None, math.inf) else seconds(outage_seconds_max, "outage_seconds_max")
        )
        self._timing = Timing(clock, sleep, chance or random.Random(), backoff or Backoff())  # noqa: S311 - for jitter
        open_channel = opener(address, tls=tls, ca_file=ca_file, plaintext=plaintext)
        self._calls = Calls(
            open_channel if channel is None else lambda: channel,
            self._timing,
            language=header_text(language, "language"),
        )
        self._key = Fixed(api_key)
        self._credentials: Credentials = Exchanged(self._exchange, clock) if exchange_key else Fixed(api_key, token)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End every call, by an EntasisError (CANCELLED), every stream, which just ends, and the connection."""
        await self._calls.close()

    # Market.

    async def price(self, symbol: str, *, timeout: float | None = None) -> Price:
        """The last traded price."""
        return await self._read(methods.GET_PRICE, market.GetPriceRequest(symbol=symbol), Price, timeout)

    async def prices(self, symbols: str | Iterable[str] = (), *, timeout: float | None = None) -> Prices:
        """The last traded prices of several instruments, of all where none is named."""
        request = market.ListPricesRequest(symbols=symbol_list(symbols))
        return await self._read(methods.LIST_PRICES, request, Prices, timeout)

    async def history(
        self,
        symbol: str,
        interval: str = "1h",
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncGenerator[Candle, None]:
        """Closed candles that open in `[start, end)`, oldest first, over all pages. Without `start`: as many before
        `end` as one page holds. `timeout` is that of each page.
        """
        request = market.GetHistoryRequest(
            symbol=symbol, interval=interval, start=aware(start, "start"), end=aware(end, "end"), page_size=page_size
        )
        async for page in self._pages(methods.GET_HISTORY, request, timeout):
            for candle in page.data:
                yield taken(Candle, candle)

    async def order_book(self, symbol: str, depth: int | None = None, *, timeout: float | None = None) -> OrderBook:
        """The best levels of an order book, 10 on each side unless `depth` (1 to 100) says otherwise."""
        request = market.GetOrderBookRequest(symbol=symbol, depth=depth)
        return await self._read(methods.GET_ORDER_BOOK, request, OrderBook, timeout)

    async def instruments(self, *, timeout: float | None = None) -> tuple[Instrument, ...]:
        """What can be traded, and in which steps."""
        answer = await self._call(methods.LIST_INSTRUMENTS, market.ListInstrumentsRequest(), timeout)
        return tuple(taken(Instrument, one) for one in answer.instruments)

    # Portfolio.

    async def open_position(
        self,
        symbol: str,
        size: Number,
        type: str = "long",  # noqa: A002 - the contract's name
        *,
        leverage: Number | None = None,
        idempotency_key: str = "",
        timeout: float | None = None,
    ) -> Opened:
        """Open a position of `size` in base currency, `long` or `short`. Done once, however often it is sent: by the
        key given, or one made for this call.
        """
        request = portfolio.CreatePositionRequest(
            symbol=symbol,
            size=decimal_text(size, "size"),
            type=type,
            leverage="" if leverage is None else decimal_text(leverage, "leverage"),
        )
        return await self._write(methods.CREATE_POSITION, request, Opened, idempotency_key, timeout)

    async def close_position(
        self,
        position_id: str,
        size: Number | None = None,
        *,
        idempotency_key: str = "",
        timeout: float | None = None,
    ) -> Closed:
        """Close a position, or `size` of it. Done once, as `open_position`."""
        request = portfolio.ClosePositionRequest(
            position_id=position_id, size="" if size is None else decimal_text(size, "size")
        )
        return await self._write(methods.CLOSE_POSITION, request, Closed, idempotency_key, timeout)

    async def positions(
        self, status: str = "open", *, page_size: int = 0, timeout: float | None = None
    ) -> AsyncGenerator[Position, None]:
        """The account's positions (`open`, `closed` or `all`), oldest first, over all pages."""
        request = portfolio.ListPositionsRequest(status=status, page_size=page_size)
        async for page in self._pages(methods.LIST_POSITIONS, request, timeout):
            for position in page.positions:
                yield taken(Position, position)

    async def position(self, position_id: str, *, timeout: float | None = None) -> Position:
        """One position."""
        request = portfolio.GetPositionRequest(position_id=position_id)
        answer = await self._call(methods.GET_POSITION, request, timeout)
        return taken(Position, answer.position or portfolio.Position())

    async def balance(self, *, timeout: float | None = None) -> tuple[Balance, ...]:
        """What the account has, by currency."""
        answer = await self._call(methods.GET_BALANCE, portfolio.GetBalanceRequest(), timeout)
        return tuple(taken(Balance, one) for one in answer.balances)

    async def trades(
        self, position_id: str = "", *, page_size: int = 0, timeout: float | None = None
    ) -> AsyncGenerator[Trade, None]:
        """The account's fills, or those of one position, newest first, over all pages."""
        request = portfolio.ListTradesRequest(position_id=position_id, page_size=page_size)
        async for page in self._pages(methods.LIST_TRADES, request, timeout):
            for trade in page.trades:
                yield taken(Trade, trade)

    async def ledger_entries(
        self, *, page_size: int = 0, timeout: float | None = None
    ) -> AsyncGenerator[LedgerEntry, None]:
        """The changes of the account's balances, newest first, over all pages."""
        request = portfolio.ListLedgerEntriesRequest(page_size=page_size)
        async for page in self._pages(methods.LIST_LEDGER_ENTRIES, request, timeout):
            for entry in page.entries:
                yield taken(LedgerEntry, entry)

    # Analysis.

    async def prediction(
        self, symbol: str, timeframe: str = "1h", model: str = "ensemble", *, timeout: float | None = None
    ) -> Prediction:
        """A forecast for `1h`, `4h` or `1d`, by `ensemble` or `lstm`."""
        request = analysis.GetPredictionRequest(symbol=symbol, timeframe=timeframe, model=model)
        return await self._read(methods.GET_PREDICTION, request, Prediction, timeout)

    async def risk(self, symbol: str, *, timeout: float | None = None) -> Risk:
        """What one unit may lose within one day."""
        return await self._read(methods.GET_RISK, analysis.GetRiskRequest(symbol=symbol), Risk, timeout)

    async def portfolio_risk(self, *, timeout: float | None = None) -> PortfolioRisk:
        """What the account's open positions may lose within one day."""
        request = analysis.GetPortfolioRiskRequest()
        return await self._read(methods.GET_PORTFOLIO_RISK, request, PortfolioRisk, timeout)

    async def accuracy(
        self, symbol: str, timeframe: str = "", model: str = "", *, days: int = 0, timeout: float | None = None
    ) -> Accuracies:
        """How well forecasts have done, of all horizons and models unless named, over 90 days unless said."""
        request = analysis.GetAccuracyRequest(symbol=symbol, timeframe=timeframe, model=model, days=days)
        return await self._read(methods.GET_ACCURACY, request, Accuracies, timeout)

    async def models(self, *, timeout: float | None = None) -> Models:
        """What forecasts are made with, and the training."""
        return await self._read(methods.LIST_MODELS, analysis.ListModelsRequest(), Models, timeout)

    # Access.

    async def issue_token(
        self, scopes: Iterable[str] = (), *, lifetime_seconds: int | None = None, timeout: float | None = None
    ) -> Token:
        """A short-lived token for the API key, with its scopes or fewer."""
        request = access.IssueTokenRequest(scopes=list(scopes), lifetime_seconds=lifetime_seconds)
        deadline = self._deadline(timeout)
        answer = await self._calls.unary(methods.ISSUE_TOKEN, request, self._key, deadline=deadline)
        return taken(Token, answer)

    # Streams. A reader that breaks off closes its iterator: at once with `contextlib.aclosing`.

    def stream_prices(self, symbols: str | Iterable[str]) -> AsyncGenerator[PriceEvent, None]:
        """The last trade of each symbol, then every trade once, over lost connections; a `Gap` where some are lost."""
        return self._followed(methods.STREAM_PRICES, PriceTracker(symbol_list(symbols)))

    def stream_order_books(
        self, symbols: str | Iterable[str], depth: int | None = None
    ) -> AsyncGenerator[BookEvent, None]:
        """Order books as they stand and at each change, each in place of the one before of the same symbol."""
        return self._followed(methods.STREAM_ORDER_BOOKS, BookTracker(symbol_list(symbols), depth))

    async def stream_candles(
        self, symbols: str | Iterable[str], interval: str = "1m"
    ) -> AsyncGenerator[CandleEvent, None]:
        """Candles in progress at each change, and each once more when it closes. What closed while there was no
        connection is filled in from the history, which needs the scope `market:read`, or told as `MissedCandles`.
        """
        tracker = CandleTracker(symbol_list(symbols), interval or "1m")
        events = self._followed(methods.STREAM_CANDLES, tracker)
        async with aclosing(events):
            async for event in events:
                if not isinstance(event, Fill):
                    yield event
                    continue
                if self._calls.closed:
                    return
                found: list[Candle] = []
                failure = None
                try:
                    span = self.history(
                        event.symbol, tracker.interval, start=event.start, end=event.end, page_size=1000
                    )
                    async for candle in span:
                        found.append(candle)
                except EntasisError as error:
                    failure = error
                if self._calls.closed:
                    return
                for filled in tracker.filled(event, found, failure):
                    yield filled

    def stream_positions(self) -> AsyncGenerator[PositionEvent, None]:
        """All open positions (`snapshot`), then each that changed; after a lost connection a snapshot again."""
        return self._followed(methods.STREAM_POSITIONS, PositionTracker())

    # Inside.

    def _deadline(self, timeout: float | None) -> float:
        return self._timing.clock() + (self._timeout if timeout is None else seconds(timeout, "timeout"))

    async def _call(self, method: Method[Q, A], request: Q, timeout: float | None) -> A:
        return await self._calls.unary(method, request, self._credentials, deadline=self._deadline(timeout))

    async def _pages(self, method: Method[Q, A], request: Any, timeout: float | None) -> AsyncGenerator[A, None]:
        """Every page of an RPC whose messages have `page_token` and `next_page_token`."""
        while True:
            page: Any = await self._call(method, request, timeout)
            yield page
            if not page.next_page_token:
                return
            if self._calls.closed:
                raise closed_meanwhile()
            request.page_token = page.next_page_token

    async def _read(self, method: Method[Q, A], request: Q, result: type[R], timeout: float | None) -> R:
        answer = await self._call(method, request, timeout)
        return taken(result, answer)

    def _followed(self, method: Method[Any, A], tracker: Tracker[A, E]) -> AsyncGenerator[E | Reconnected, None]:
        return followed(
            self._calls,
            method,
            tracker,
            self._credentials,
            self._timing,
            connect_seconds=self._timeout,
            outage_seconds_max=self._outage_seconds_max,
        )

    async def _write(
        self, method: Method[Q, A], request: Q, result: type[R], idempotency_key: str, timeout: float | None
    ) -> R:
        answer = await self._calls.unary(
            method,
            request,
            self._credentials,
            deadline=self._deadline(timeout),
            idempotency_key=header_text(idempotency_key, "idempotency_key") or str(uuid.uuid4()),
        )
        return taken(result, answer)

    async def _exchange(self, deadline: float) -> tuple[str, float]:
        answer = await self._calls.unary(methods.ISSUE_TOKEN, access.IssueTokenRequest(), self._key, deadline=deadline)
        return answer.access_token, float(answer.expires_in)
