"""What tests of the market share: clocks that are set by hand, a feed that says what it is told to, short makers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from entasis_engine.exchanges.feed import (
    BookDelta,
    BookSnapshot,
    Candle,
    Event,
    FeedError,
    Instrument,
    Interval,
    Trade,
)

NOON = datetime(2024, 3, 21, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)

BTC = Instrument("BTC-USDT", Decimal("0.01"), Decimal("0.00001"), 2, "binance", Decimal(20))
ETH = Instrument("ETH-USDT", Decimal("0.01"), Decimal("0.0001"), 2, "binance", Decimal(20))


class SetClock:
    """A clock that stands still until it is set."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class SetMonotonic:
    """Monotonic seconds that pass only when told to."""

    def __init__(self, seconds: float = 1000.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


class NoSleep:
    """In place of `asyncio.sleep`: notes how long a wait was meant to be, and lets others have their turn."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)


class ScriptedFeed:
    """A feed that gives what a test puts in, and candles out of a table."""

    def __init__(self, instruments: Sequence[Instrument] = (BTC, ETH), *, clock: SetClock | None = None) -> None:
        self.exchange = self.source = "binance"
        self.clock = clock or SetClock()
        self.history: dict[tuple[str, Interval], list[Candle]] = {}
        self.asked: list[tuple[str, Interval, datetime, datetime]] = []
        self.failures: list[Exception] = []
        """Raised one by one by `candles`, before it answers again."""
        self.closed = 0
        self._instruments = instruments
        self._batches: asyncio.Queue[Sequence[Event] | Exception | None] = asyncio.Queue()

    def give(self, *events: Event) -> None:
        self._batches.put_nowait(events)

    def fail(self, error: Exception) -> None:
        """Have `events` raise."""
        self._batches.put_nowait(error)

    def end(self) -> None:
        """Have `events` end."""
        self._batches.put_nowait(None)

    async def instruments(self) -> Sequence[Instrument]:
        return self._instruments

    async def events(self) -> AsyncIterator[Sequence[Event]]:
        while (batch := await self._batches.get()) is not None:
            if isinstance(batch, Exception):
                raise batch
            yield batch

    async def candles(self, symbol: str, interval: Interval, start: datetime, end: datetime) -> Sequence[Candle]:
        self.asked.append((symbol, interval, start, end))
        if self.failures:
            raise self.failures.pop(0)
        known = self.history.get((symbol, interval), [])
        return [candle for candle in known if start <= candle.open_time < end]

    def now(self) -> datetime:
        return self.clock()

    async def close(self) -> None:
        self.closed += 1


class MemoryStore:
    """A store that can be told to fail or to hang."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, Interval, datetime], Candle] = {}
        self.save_failures: list[Exception] = []
        """Raised one by one, before a save succeeds again; the same for reads below."""
        self.read_failures: list[Exception] = []
        self.going = asyncio.Event()
        self.going.set()
        self.saves = 0
        self.on_saved: Callable[[], None] = lambda: None

    async def save(self, source: str, candles: Sequence[tuple[str, Interval, Candle]]) -> None:
        self.saves += 1
        await self.going.wait()
        if self.save_failures:
            raise self.save_failures.pop(0)
        for symbol, interval, one in candles:
            self.rows.setdefault((source, symbol, interval, one.open_time), one)
        self.on_saved()

    async def read(
        self, source: str, symbol: str, interval: Interval, start: datetime, end: datetime, limit: int
    ) -> list[Candle]:
        opens = await self.open_times(source, symbol, interval, start, end)
        return [self.rows[source, symbol, interval, at] for at in opens[:limit]]

    async def open_times(
        self, source: str, symbol: str, interval: Interval, start: datetime, end: datetime
    ) -> list[datetime]:
        if self.read_failures:
            raise self.read_failures.pop(0)
        asked = (source, symbol, interval)
        return sorted(at for (*of, at) in self.rows if tuple(of) == asked and start <= at < end)


def unreachable() -> FeedError:
    return FeedError("the exchange did not answer")


def trade(price: str | int, moment: datetime, size: str = "1", *, symbol: str = "BTC-USDT", number: int = 1) -> Trade:
    return Trade(symbol, number, Decimal(price), Decimal(size), True, moment)


def levels(*pairs: tuple[str, str]) -> list[tuple[Decimal, Decimal]]:
    return [(Decimal(price), Decimal(size)) for price, size in pairs]


def snapshot(
    bids: Sequence[tuple[str, str]],
    asks: Sequence[tuple[str, str]],
    moment: datetime = NOON,
    *,
    symbol: str = "BTC-USDT",
    update_id: int = 1,
) -> BookSnapshot:
    return BookSnapshot(symbol, update_id, levels(*bids), levels(*asks), moment)


def delta(
    bids: Sequence[tuple[str, str]],
    asks: Sequence[tuple[str, str]],
    moment: datetime = NOON,
    *,
    symbol: str = "BTC-USDT",
    update_id: int = 2,
) -> BookDelta:
    return BookDelta(symbol, update_id, levels(*bids), levels(*asks), moment)


def candle(open_time: datetime, *prices: str | int, volume: str | int = 1) -> Candle:
    """A candle of four prices, or of one that it never left."""
    opened, high, low, close = (Decimal(price) for price in (prices * 4 if len(prices) == 1 else prices))
    return Candle(open_time, opened, high, low, close, Decimal(volume))
