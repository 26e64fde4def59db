"""Market data from real exchanges, over ccxt's streams. Reconnects by itself; says when something may be missing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec
import structlog

from entasis_engine.exchanges import binance
from entasis_engine.exchanges.feed import (
    Candle,
    Connected,
    Disconnected,
    Event,
    FeedError,
    Instrument,
    Interval,
    Trade,
)
from entasis_engine.exchanges.live_ccxt import make_exchange
from entasis_engine.exchanges.live_rules import Backoff, BookDiffer, TradeRun, to_candle, to_instrument
from entasis_engine.times import MILLISECOND, Clock, from_milliseconds, system_clock, to_milliseconds

log = structlog.get_logger()

DEFAULT_SYMBOLS = ("BTC-USDT", "ETH-USDT")

REQUEST_DEADLINE_SECONDS = 10.0
"""Longest one request may take."""

MARKETS_DEADLINE_SECONDS = 30.0
"""Longest the list of markets may take: megabytes, and with some exchanges several requests."""

TRADE_SILENCE_SECONDS = 120.0
"""Without a trade of a symbol for longer, its stream is taken for dead, though the connection may answer pings."""

BOOK_SILENCE_SECONDS = 30.0
"""The same for its order book, which changes far more often."""

BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 30.0
"""Bounds of the wait before another attempt. It doubles in between, and a random part of it is waited."""

QUEUE_BATCHES_MAX = 1024
"""Batches between the exchange and the reader. A reader that lags further behind gets `Disconnected` after them, and
the streams start anew: memory stays bounded, and nothing is missing without a word."""

CANDLES_PER_PAGE_MAX = 1000

CLOCK_SKEW_MAX = timedelta(seconds=1)
"""How far the machine's clock may be ahead: a candle counts as closed once it ended longer ago than this."""

BINANCE_SNAPSHOT_LEVELS = 1000
"""Levels a side; Binance gives up to 5000, at five times the weight."""

REASON_CHARACTERS_MAX = 300

_T = TypeVar("_T")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Deadlines and bounds of a live feed."""

    request_deadline_seconds: float = REQUEST_DEADLINE_SECONDS
    markets_deadline_seconds: float = MARKETS_DEADLINE_SECONDS
    trade_silence_seconds: float = TRADE_SILENCE_SECONDS
    book_silence_seconds: float = BOOK_SILENCE_SECONDS
    backoff_first_seconds: float = BACKOFF_FIRST_SECONDS
    backoff_max_seconds: float = BACKOFF_MAX_SECONDS
    queue_batches_max: int = QUEUE_BATCHES_MAX


class _SilenceError(FeedError):
    """A stream gave nothing for longer than it may."""


class LiveFeed:
    """A `Feed` of one exchange that ccxt streams from.

    Each symbol has a session with its trades and its order book. Where the connection is lost, or trades are missing,
    the session ends with `Disconnected` and, after a wait, begins anew: `Connected` comes with the first trade, and the
    book with a `BookSnapshot`. A gap in the book alone costs only a new `BookSnapshot`.

    Binance's book follows our own rules, in `binance`. Others' is ccxt's, compared state by state: as right, and as
    deep, as ccxt keeps it.
    """

    def __init__(
        self,
        exchange_id: str,
        symbols: Sequence[str] = (),
        *,
        base_urls: Mapping[str, str] | None = None,
        rng: random.Random | None = None,
        clock: Clock = system_clock,
        limits: Limits | None = None,
    ) -> None:
        """`base_urls` sends requests elsewhere: `{"https://api.binance.com": "https://data-api.binance.vision"}`.

        Raises `FeedError` where ccxt is missing, or has no such exchange.
        """
        self.exchange = self.source = exchange_id
        self._symbols = tuple(symbols) or DEFAULT_SYMBOLS
        self._limits = limits or Limits()
        self._rng = rng or random.Random()  # noqa: S311 (it spreads reconnections; nothing secret)
        self._clock = clock
        self._ccxt = make_exchange(
            exchange_id, base_urls=base_urls or {}, timeout_seconds=self._limits.request_deadline_seconds
        )
        self._queue: asyncio.Queue[Sequence[Event] | None] = asyncio.Queue(self._limits.queue_batches_max)
        self._runner: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._closed = False

    def now(self) -> datetime:
        return self._clock()

    async def instruments(self) -> Sequence[Instrument]:
        await self._load_markets()
        return [
            to_instrument(symbol, self._market(symbol), exchange=self.exchange, precision_mode=self._ccxt.precisionMode)
            for symbol in self._symbols
        ]

    async def events(self) -> AsyncIterator[Sequence[Event]]:
        if self._runner is not None:
            raise FeedError("a feed has one reader")
        if self._closed:
            return
        self._runner = asyncio.create_task(self._run(), name=f"live feed of {self.exchange}")
        try:
            while (batch := await self._queue.get()) is not None:
                yield batch
        finally:
            await self._stop()
        if self._failure is not None:
            raise FeedError("the live feed failed") from self._failure

    async def candles(self, symbol: str, interval: Interval, start: datetime, end: datetime) -> Sequence[Candle]:
        await self._load_markets()
        if interval.value not in (self._ccxt.timeframes or {}):
            raise FeedError(f"{self.exchange} has no candles of {interval.value}")
        ccxt_symbol = self._market(symbol)["symbol"]
        length = interval.length
        end = min(end, self._clock() - CLOCK_SKEW_MAX - length + MILLISECOND)
        found: dict[datetime, Candle] = {}
        cursor = start
        while cursor < end:
            limit = min(CANDLES_PER_PAGE_MAX, -((cursor - end) // length))
            rows = await self._ask(
                self._ccxt.fetch_ohlcv(ccxt_symbol, interval.value, to_milliseconds(cursor), limit),
                self._limits.request_deadline_seconds,
            )
            page = [to_candle(row) for row in rows]
            found.update((candle.open_time, candle) for candle in page if start <= candle.open_time < end)
            newest = max((candle.open_time for candle in page if candle.open_time >= cursor), default=None)
            # An empty page is a hole in the exchange's history, not necessarily its end.
            cursor = cursor + limit * length if newest is None else newest + length
        return [found[open_time] for open_time in sorted(found)]

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._stop()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)
        await self._ccxt.close()

    async def _stop(self) -> None:
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait([self._runner])

    async def _run(self) -> None:
        try:
            await self._load_markets_at_last()
            await _apart(self._follow_all())
        except Exception as error:
            self._failure = error
            await self._queue.put(None)

    async def _follow_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for symbol in self._symbols:
                session = _Session(self, symbol, self._market(symbol))
                group.create_task(self._follow(session), name=f"live feed of {symbol}")

    async def _load_markets_at_last(self) -> None:
        backoff = self.backoff()
        is_told = False
        while True:
            try:
                return await self._load_markets()
            except FeedError as error:
                wait_seconds = backoff.next_seconds()
                log.warning("live.unreachable", exchange=self.exchange, reason=str(error), retry_seconds=wait_seconds)
                if not is_told:
                    is_told = True
                    await self._queue.put([Disconnected(symbol, self._clock()) for symbol in self._symbols])
                await asyncio.sleep(wait_seconds)

    async def _follow(self, session: _Session) -> None:
        """Hold a session with the exchange, and another whenever it ends, for as long as the feed lives."""
        backoff = self.backoff()
        while True:
            try:
                await _apart(session.hold())
            except Exception as error:  # ccxt stumbles over an unexpected answer with whatever it happens to be
                if session.is_connected:
                    backoff.reset()
                wait_seconds = backoff.next_seconds()
                log.warning(
                    "live.disconnected",
                    exchange=self.exchange,
                    symbol=session.symbol,
                    reason=_reason(error),
                    retry_seconds=wait_seconds,
                )
            if left := session.end():
                # Waits for room where the reader lags: nothing piles up meanwhile, since the session is over.
                await self._queue.put(left)
            await asyncio.sleep(wait_seconds)

    # What sessions use.

    @property
    def ccxt(self) -> Any:
        return self._ccxt

    @property
    def limits(self) -> Limits:
        return self._limits

    def backoff(self) -> Backoff:
        return Backoff(self._limits.backoff_first_seconds, self._limits.backoff_max_seconds, self._rng)

    def emit(self, events: Sequence[Event]) -> None:
        """Hand events to the reader. Raises `asyncio.QueueFull` where it lags too far behind."""
        self._queue.put_nowait(events)

    async def ask(self, answer: Awaitable[_T]) -> _T:
        """Wait for the answer to a request. Raises `FeedError`."""
        return await self._ask(answer, self._limits.request_deadline_seconds)

    async def _ask(self, answer: Awaitable[_T], deadline_seconds: float) -> _T:
        try:
            return await _within(deadline_seconds, answer)
        except TimeoutError as error:
            raise FeedError(f"{self.exchange} did not answer within {deadline_seconds:g} s") from error
        except FeedError:
            raise
        except Exception as error:  # ccxt's own errors, aiohttp's, and what a malformed answer makes of it
            raise FeedError(f"{self.exchange}: {_reason(error)}") from error

    async def _load_markets(self) -> None:
        await self._ask(self._ccxt.load_markets(), self._limits.markets_deadline_seconds)

    def _market(self, symbol: str) -> Mapping[str, Any]:
        market: Mapping[str, Any] | None = self._ccxt.markets.get(symbol.replace("-", "/"))
        if market is None:
            raise FeedError(f"{self.exchange} does not list {symbol}")
        return market


class _Session:
    """One symbol's streams. Lives as long as the feed; held again after every end."""

    def __init__(self, feed: LiveFeed, symbol: str, market: Mapping[str, Any]) -> None:
        self.symbol = symbol
        self.is_connected = False
        """Whether trades are flowing, gapless, and `Connected` was given."""
        self._feed = feed
        self._ccxt = feed.ccxt
        self._ccxt_symbol: str = market["symbol"]
        self._market_id: str = market["id"]
        # Binance numbers a market's trades one by one, so that a missing one shows.
        self._own_rules = feed.exchange == "binance"
        self._trades = TradeRun(symbol, consecutive=self._own_rules)
        self._connections_lost = 0
        self._last_trade_time: datetime | None = None
        self._unsent: list[Event] = []
        self._end_is_told = False

    async def hold(self) -> None:
        """Give events until something fails, and raise that."""
        self._connections_lost = self._ccxt.connections_lost
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_trades())
                group.create_task(self._follow_own_book() if self._own_rules else self._follow_ccxt_book())
        except* _SilenceError:
            self._ccxt.drop_connections()
            raise

    def end(self) -> list[Event]:
        """What is left to tell of the session: trades that had arrived before it failed, and, once, that it is over."""
        events = self._unsent
        self._unsent = []
        if self.is_connected:
            trades, _ = self._trades.take(self._read_trades())
            self._note(trades)
            events += trades
        self._read_trades()
        self.is_connected = False
        if not self._end_is_told:
            # By the exchange's clock, as trades are: the machine's may be ahead, and would vouch for time not seen.
            events.append(Disconnected(self.symbol, self._last_trade_time or self._feed.now()))
            self._end_is_told = True
        return events

    async def _follow_trades(self) -> None:
        while True:
            await self._watch(
                self._ccxt.watch_trades(self._ccxt_symbol, None, None, {}), self._feed.limits.trade_silence_seconds
            )
            trades, has_gap = self._trades.take(self._read_trades(), after_loss=not self.is_connected)
            self._note(trades)
            events: list[Event] = list(trades)
            if trades and not self.is_connected:
                # Trades of the same millisecond may have come before the first that was seen.
                events.insert(0, Connected(self.symbol, trades[0].time + MILLISECOND))
                self.is_connected = True
            self._emit(events)
            if has_gap:
                raise FeedError("a trade is missing")
            self._require_connection()

    def _read_trades(self) -> Sequence[Mapping[str, Any]]:
        """Take what ccxt has kept of the trades since the last time; it would keep thousands of old ones."""
        kept = self._ccxt.trades.get(self._ccxt_symbol)
        if not kept:
            return ()
        rows = list(kept)
        kept.clear()
        return rows

    def _note(self, trades: Sequence[Trade]) -> None:
        if trades:
            self._last_trade_time = trades[-1].time

    async def _follow_own_book(self) -> None:
        book = binance.BookSynchroniser(self.symbol)
        self._ccxt.orderbooks.pop(self._ccxt_symbol, None)
        while True:
            arrived = await self._watch_book()
            self._take_diffs(book, arrived)
            self._require_connection()
            if book.needs_snapshot:
                await self._synchronise(book, arrived)

    async def _synchronise(self, book: binance.BookSynchroniser, arrived: Any) -> None:
        """Ask for snapshots until one is of use. Trades flow on meanwhile."""
        backoff = self._feed.backoff()
        while True:
            try:
                answer = await self._feed.ask(
                    self._ccxt.publicGetDepth({"symbol": self._market_id, "limit": BINANCE_SNAPSHOT_LEVELS})
                )
                snapshot = binance.to_snapshot(answer)
            except FeedError as error:
                log.warning("live.book_unavailable", symbol=self.symbol, reason=str(error))
            else:
                self._take_diffs(book, arrived)
                self._emit(book.on_snapshot(snapshot, self._feed.now()))
                self._require_connection()
                if not book.needs_snapshot:
                    return
            await asyncio.sleep(backoff.next_seconds())

    def _take_diffs(self, book: binance.BookSynchroniser, arrived: Any) -> None:
        messages = list(arrived.cache)
        arrived.cache.clear()
        self._emit([event for message in messages for event in book.on_diff(binance.to_diff(message))])

    async def _follow_ccxt_book(self) -> None:
        differ = BookDiffer(self.symbol)
        backoff = self._feed.backoff()
        while True:
            try:
                state = await self._watch_book()
            except _SilenceError:
                raise
            except FeedError as error:
                self._require_connection()
                # The connection holds, so it is the book alone that ccxt found wrong, and begins anew.
                log.warning("live.book_unavailable", symbol=self.symbol, reason=str(error))
                differ.reset()
                await asyncio.sleep(backoff.next_seconds())
                continue
            stamp = state["timestamp"]
            event = differ.update(state, self._feed.now() if stamp is None else from_milliseconds(int(stamp)))
            self._emit([] if event is None else [event])
            self._require_connection()
            backoff.reset()

    async def _watch_book(self) -> Any:
        return await self._watch(self._ccxt.watch_order_book(self._ccxt_symbol), self._feed.limits.book_silence_seconds)

    async def _watch(self, update: Awaitable[_T], silence_seconds: float) -> _T:
        try:
            return await _within(silence_seconds, update)
        except TimeoutError as error:
            raise _SilenceError(f"nothing came for {silence_seconds:g} s") from error
        except Exception as error:  # ccxt's own errors, and what a malformed message makes of it
            raise FeedError(_reason(error)) from error

    def _require_connection(self) -> None:
        # ccxt reconnects without a word where a connection ended between two reads.
        if self._ccxt.connections_lost != self._connections_lost:
            raise FeedError("the connection was lost")

    def _emit(self, events: Sequence[Event]) -> None:
        if not events:
            return
        self._end_is_told = False
        try:
            self._feed.emit(events)
        except asyncio.QueueFull as error:
            self._unsent += events
            raise FeedError("the reader lags behind") from error


async def _within(deadline_seconds: float, awaitable: Awaitable[_T]) -> _T:
    try:
        async with asyncio.timeout(deadline_seconds):
            return await awaitable
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # ccxt cancels what waits on a connection that it closes. Left so, the task would end without a word.
        raise FeedError("the connection was closed") from None


async def _apart(work: Coroutine[Any, Any, None]) -> None:
    """Await `work` in a task of its own, which ends with the caller's.

    A task group that is told to end while one of its tasks fails raises that failure alone. Whoever catches failures
    and goes on would then never end.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
    task.result()


def _reason(error: BaseException) -> str:
    """A line for the log on what went wrong first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text[:REASON_CHARACTERS_MAX]
