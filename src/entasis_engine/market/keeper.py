"""Keeping closed candles: writing them in batches, and asking the exchange for those that were missed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog

from entasis_engine.exchanges.feed import Candle, Feed, Interval
from entasis_engine.market.candles import ClosedCandle, open_time_of
from entasis_engine.storage.candles import CandleStore
from entasis_engine.telemetry import metrics

log = structlog.get_logger()

QUEUE_CANDLES_MAX = 10_000
BATCH_CANDLES_MAX = 500
RETRY_SECONDS_MIN = 1.0
RETRY_SECONDS_MAX = 60.0
CANDLES_DEADLINE_SECONDS = 60.0
FILL_ATTEMPTS_MAX = 8
# A candle that has just closed is not in every exchange's history at once.
SETTLE_SECONDS = 5.0
SETTLE = timedelta(seconds=SETTLE_SECONDS)
EMPTY_ANSWERS_MAX = 3

HOURLY_HISTORY = timedelta(days=180)
# How far back history is filled at a start, in this order. Charts need no more; of hours, which models learn from, a
# setting says how many.
BACKFILL = {
    Interval.MINUTE: timedelta(days=3),
    Interval.HOUR: HOURLY_HISTORY,
    Interval.FIVE_MINUTES: timedelta(days=14),
    Interval.DAY: timedelta(days=365),
}


def missing_ranges(
    known: Iterable[datetime], interval: Interval, start: datetime, end: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """Half-open ranges within `[start, end)` of the open times that are not among `known` (ascending)."""
    expected = start
    for open_time in known:
        if open_time > expected:
            yield expected, open_time
        expected = max(expected, open_time + interval.length)
    if expected < end:
        yield expected, end


class _Wanted(NamedTuple):
    """A candle to ask the exchange for; what is due first comes first."""

    due: datetime
    symbol: str
    interval: Interval
    open_time: datetime
    attempt: int


class CandleKeeper:
    """Between the hub and the store. Nothing that was handed over is lost while the process lives: a candle is readable
    here until it is on disk, and what a crash takes is missed, found and filled at the next start.
    """

    def __init__(
        self,
        store: CandleStore,
        feed: Feed,
        *,
        on_history: Callable[[str, Candle], Sequence[ClosedCandle]],
        on_closed_late: Callable[[str, Interval, Candle], Sequence[ClosedCandle]],
        hourly_history: timedelta = HOURLY_HISTORY,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._feed = feed
        self._on_history = on_history
        self._on_closed_late = on_closed_late
        self._backfill = {**BACKFILL, Interval.HOUR: hourly_history}
        self._sleep = sleep
        # When full, `keep` waits: the feed is then read more slowly instead of candles being lost.
        self._queue: asyncio.Queue[tuple[str, Interval, Candle]] = asyncio.Queue(QUEUE_CANDLES_MAX)
        self._unwritten: defaultdict[tuple[str, Interval], dict[datetime, Candle]] = defaultdict(dict)
        # Incomplete candles to ask the exchange for. When full, the next start finds the gap.
        self._wanted: asyncio.PriorityQueue[_Wanted] = asyncio.PriorityQueue(QUEUE_CANDLES_MAX)
        self._editions: defaultdict[tuple[str, Interval], int] = defaultdict(int)
        self._next_minute: dict[str, datetime] = {}
        self._missed: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._tried: defaultdict[tuple[str, Interval], asyncio.Event] = defaultdict(asyncio.Event)

    async def history_tried(self, symbol: str, interval: Interval) -> None:
        """Wait until the history is there after a start, or could not be had, however often it was asked for."""
        await self._tried[symbol, interval].wait()

    def is_history_tried(self, symbol: str, interval: Interval) -> bool:
        """Whether the history was filled after the start, as far as it could be had."""
        return self._tried[symbol, interval].is_set()

    async def keep(self, symbol: str, interval: Interval, candle: Candle) -> None:
        """Hand a complete candle over to be written."""
        self._unwritten[symbol, interval][candle.open_time] = candle
        self._editions[symbol, interval] += 1
        await self._queue.put((symbol, interval, candle))

    async def keep_closed(self, closed: Sequence[ClosedCandle]) -> None:
        """Keep those that were seen whole, and ask the exchange for the others."""
        for one in closed:
            metrics.candles_closed(one.interval.value, "yes" if one.complete else "no").inc()
            if one.interval is Interval.MINUTE:
                self.followed(one.symbol, one.candle.open_time)
            if one.complete:
                await self.keep(one.symbol, one.interval, one.candle)
            else:
                self.want(one.symbol, one.interval, one.candle.open_time)

    def want(self, symbol: str, interval: Interval, open_time: datetime) -> None:
        """Ask the exchange for a closed candle that was not seen whole."""
        self._ask(open_time + interval.length + SETTLE, symbol, interval, open_time, attempt=1)

    def followed(self, symbol: str, open_time: datetime) -> None:
        """Note that a minute has closed, whole or not. Where those before it never did, history is looked through."""
        expected = self._next_minute.get(symbol)
        if expected is not None and open_time > expected:
            self._missed[symbol].set()
        self._next_minute[symbol] = open_time + Interval.MINUTE.length

    def edition(self, symbol: str, interval: Interval) -> int:
        """Grows with each candle that can be read since; what was read before it grew may be out of date."""
        return self._editions[symbol, interval]

    async def read(self, symbol: str, interval: Interval, start: datetime, end: datetime, limit: int) -> list[Candle]:
        """At most `limit` closed candles with an open time in `[start, end)`, oldest first, written or not."""
        # Taken before the read: a candle that is written meanwhile is then in both, and not in neither.
        unwritten = {
            open_time: candle
            for open_time, candle in self._unwritten[symbol, interval].items()
            if start <= open_time < end
        }
        stored = await self._store.read(self._feed.source, symbol, interval, start, end, limit)
        if not unwritten:
            return stored
        merged = unwritten | {candle.open_time: candle for candle in stored}
        return [merged[open_time] for open_time in sorted(merged)][:limit]

    async def write_forever(self) -> None:
        """Write what is handed over, in batches; on failure try again, and keep the candles meanwhile."""
        while True:
            batch = [await self._queue.get()]
            while len(batch) < BATCH_CANDLES_MAX and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            await self._write(batch)

    async def flush(self) -> None:
        """Write what is left, at the end."""
        await self._store.save(
            self._feed.source,
            [
                (symbol, interval, candle)
                for (symbol, interval), candles in self._unwritten.items()
                for candle in candles.values()
            ],
        )
        self._unwritten.clear()

    async def _write(self, batch: Sequence[tuple[str, Interval, Candle]]) -> None:
        delay_seconds = RETRY_SECONDS_MIN
        while True:
            try:
                await self._store.save(self._feed.source, batch)
                break
            except Exception as error:  # whatever the database raises, the candles must not be lost
                log.error("candles.write_failed", candles=len(batch), retry_seconds=delay_seconds, exc_info=error)
                await self._sleep(delay_seconds)
                delay_seconds = min(delay_seconds * 2, RETRY_SECONDS_MAX)
        for symbol, interval, candle in batch:
            self._editions[symbol, interval] += 1
            self._unwritten[symbol, interval].pop(candle.open_time, None)

    async def fill_history_forever(self, symbol: str) -> None:
        """Fill history at the start, and again whenever minutes were missed; on failure try again."""
        delay_seconds = RETRY_SECONDS_MIN
        while True:
            self._missed[symbol].clear()
            try:
                await self.fill_history(symbol)
            except Exception as error:  # a disk that fails for a moment must not end the market
                for interval in self._backfill:
                    self._tried[symbol, interval].set()
                log.error("history.fill_failed", symbol=symbol, retry_seconds=delay_seconds, exc_info=error)
                await self._sleep(delay_seconds)
                delay_seconds = min(delay_seconds * 2, RETRY_SECONDS_MAX)
            else:
                delay_seconds = RETRY_SECONDS_MIN
                await self._missed[symbol].wait()

    async def fill_history(self, symbol: str) -> None:
        """Fetch whatever closed candles of the past are not stored, after a first start and after a crash. The last
        day's minutes come first and are handed out, so that what is folded from them goes on where it was.
        """
        now = self._feed.now()
        self._next_minute.setdefault(symbol, open_time_of(now, Interval.MINUTE))
        for interval, span in self._backfill.items():
            start, end = open_time_of(now - span, interval), open_time_of(now, interval)
            known = await self._store.open_times(self._feed.source, symbol, interval, start, end)
            for first, last in missing_ranges(known, interval, start, end):
                candles = await self._fill(symbol, interval, first, last)
                if last == end and (not candles or candles[-1].open_time + interval.length < end):
                    self.want(symbol, interval, end - interval.length)
            if interval is Interval.MINUTE:
                day_ago = min(open_time_of(now, Interval.DAY), now - timedelta(days=1))
                for minute in await self.read(symbol, interval, day_ago, now, limit=2 * 24 * 60):
                    await self.keep_closed(self._on_history(symbol, minute))
            self._tried[symbol, interval].set()

    async def fill_wanted_forever(self) -> None:
        """Fetch the candles that were not seen whole, as they are asked for and have settled.

        What the exchange does not have yet is asked for again after the others, so that nobody waits for it.
        """
        while True:
            wanted = await self._wanted.get()
            early_seconds = (wanted.due - self._feed.now()).total_seconds()
            if early_seconds > 0:
                await self._sleep(min(early_seconds, SETTLE_SECONDS))
            symbol, interval = wanted.symbol, wanted.interval
            candles = await self._fill(symbol, interval, wanted.open_time, wanted.open_time + interval.length)
            for candle in candles or ():
                await self.keep_closed(self._on_closed_late(symbol, interval, candle))
            if candles is not None and not candles and wanted.attempt < EMPTY_ANSWERS_MAX:
                self._ask(self._feed.now() + SETTLE, symbol, interval, wanted.open_time, wanted.attempt + 1)

    def _ask(self, due: datetime, symbol: str, interval: Interval, open_time: datetime, attempt: int) -> None:
        if not self._wanted.full():
            self._wanted.put_nowait(_Wanted(due, symbol, interval, open_time, attempt))

    async def _fill(self, symbol: str, interval: Interval, start: datetime, end: datetime) -> Sequence[Candle] | None:
        """Fetch and keep candles. After several failures they are left to the next start, so that others get a turn;
        None then.
        """
        delay_seconds = RETRY_SECONDS_MIN
        for _attempt in range(FILL_ATTEMPTS_MAX):
            try:
                async with asyncio.timeout(CANDLES_DEADLINE_SECONDS):
                    candles = await self._feed.candles(symbol, interval, start, end)
            except Exception as error:  # whatever a feed raises, the market goes on
                log.warning(
                    "candles.fill_failed",
                    symbol=symbol,
                    interval=interval,
                    retry_seconds=delay_seconds,
                    reason=str(error) or type(error).__name__,
                )
                await self._sleep(delay_seconds)
                delay_seconds = min(delay_seconds * 2, RETRY_SECONDS_MAX)
                continue
            # Not through the queue: a long history on a slow disk must not hold up what the feed gives. The oldest come
            # first: whoever reads meanwhile finds a history that ends early, not one with a hole.
            for first in range(0, len(candles), BATCH_CANDLES_MAX):
                await self._write([(symbol, interval, one) for one in candles[first : first + BATCH_CANDLES_MAX]])
            log.debug("candles.filled", symbol=symbol, interval=interval, start=str(start), candles=len(candles))
            return candles
        return None
