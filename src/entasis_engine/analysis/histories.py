"""What the models read: every instrument's closed hourly candles as arrays, kept up with those that close."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
import numpy.typing as npt
import structlog

from entasis_engine.analysis.series import Series
from entasis_engine.exchanges.feed import Candle, Interval
from entasis_engine.market.candles import open_time_of
from entasis_engine.times import from_milliseconds, to_milliseconds

log = structlog.get_logger()

PAGE_CANDLES = 500
"""Read at a time: other calls get their turn in between."""
OVERLAP = timedelta(hours=72)
"""Read again with what is new, since a candle may come late."""

Table = npt.NDArray[np.float64]
_NAMES = ("open", "high", "low", "close", "volume")


class CandleSource(Protocol):
    """Where closed candles are read; `CandleKeeper` is one."""

    def edition(self, symbol: str, interval: Interval) -> int:
        """Grows with each candle that can be read since."""
        ...

    async def read(self, symbol: str, interval: Interval, start: datetime, end: datetime, limit: int) -> list[Candle]:
        """At most `limit` closed candles with an open time in `[start, end)`, oldest first."""
        ...


@dataclass(frozen=True, eq=False)
class _Known:
    edition: int
    times: npt.NDArray[np.int64]
    """Open times in milliseconds; shape (m,)."""
    table: Table
    """Prices and volume; shape (m, 5)."""
    series: Series
    whole: datetime
    """The midnight before everything was last read."""


class Histories:
    """Series by symbol. The same object is given until a candle changes what it says. It begins at midnight, so that
    what is made of whole days stays the same throughout a day.

    A candle that cannot be, with a price of 0 or without a number, counts as missing.

    Args:
        span: how far back they reach at least.
    """

    def __init__(self, source: CandleSource, *, market_now: Callable[[], datetime], span: timedelta) -> None:
        self._source = source
        self._market_now = market_now
        self._span = span
        self._known: dict[str, _Known] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def current(self, symbol: str) -> Series | None:
        """The series, where nothing has to be read for it."""
        known = self._known.get(symbol)
        return known.series if known is not None and known.edition == self._edition(symbol) else None

    async def series(self, symbol: str) -> Series:
        """The series as of now."""
        async with self._locks[symbol]:
            series = self.current(symbol)
            if series is not None:
                return series
            edition, known = self._edition(symbol), self._known.get(symbol)
            now = self._market_now()
            midnight = open_time_of(now, Interval.DAY)
            oldest = open_time_of(now - self._span, Interval.DAY)
            if known is None or not known.times.size or known.whole != midnight:
                # Once a day everything, since a candle of long ago may have come.
                times, table = await self._read(symbol, oldest, now)
            else:
                start = max(oldest, from_milliseconds(int(known.times[-1])) - OVERLAP)
                times, table = await self._read(symbol, start, now)
                before = known.times < to_milliseconds(start)
                newer = int(times.size) - int((~before).sum())
                # Two editions a candle: when it is handed over, and when it is on disk. More means that old ones came.
                if edition - known.edition > 2 * max(newer, 1) + 2:
                    times, table = await self._read(symbol, oldest, now)
                else:
                    times = np.concatenate([known.times[before], times])
                    table = np.concatenate([known.table[before], table])
            self._known[symbol] = known = _remembered(edition, times, table, midnight, known)
            return known.series

    def _edition(self, symbol: str) -> int:
        return self._source.edition(symbol, Interval.HOUR)

    async def _read(self, symbol: str, start: datetime, end: datetime) -> tuple[npt.NDArray[np.int64], Table]:
        times, parts = [np.empty(0, dtype=np.int64)], [np.empty((0, len(_NAMES)))]
        while True:
            page = await self._source.read(symbol, Interval.HOUR, start, end, PAGE_CANDLES)
            if not page:
                break
            times.append(np.array([to_milliseconds(candle.open_time) for candle in page], dtype=np.int64))
            parts.append(_as_table(page))
            start = page[-1].open_time + Interval.HOUR.length
        table = np.concatenate(parts)
        usable = np.isfinite(table).all(axis=1) & (table[:, :4] > 0).all(axis=1) & (table[:, 4] >= 0)
        if not usable.all():
            log.warning("analysis.candles_unusable", symbol=symbol, candles=int((~usable).sum()))
        return np.concatenate(times)[usable], table[usable]


def _as_table(candles: Sequence[Candle]) -> Table:
    return np.array([[float(getattr(candle, name)) for name in _NAMES] for candle in candles])


def _remembered(
    edition: int, times: npt.NDArray[np.int64], table: Table, whole: datetime, known: _Known | None
) -> _Known:
    if known is not None and np.array_equal(times, known.times) and np.array_equal(table, known.table):
        return _Known(edition, times, table, known.series, whole)
    return _Known(edition, times, table, Series.from_arrays(times, *table.T), whole)
