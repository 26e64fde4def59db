"""Closed hourly candles as arrays, on a grid without holes: what every model and estimator reads.

Binary floats begin here. What is estimated from prices is no money; it becomes a decimal again where it is served.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from entasis_engine.exchanges.feed import Candle
from entasis_engine.times import from_milliseconds, to_milliseconds

HOUR_MS = 3_600_000

Floats = npt.NDArray[np.float64]


class SeriesError(ValueError):
    """Candles that no series can be made of. The text says which, and why."""


@dataclass(frozen=True, eq=False)
class Series:
    """Hourly candles of one instrument, oldest first. All arrays have the shape (n,).

    Where the exchange has no candle for an hour, the last close stands in for its prices and its volume is 0.
    """

    open_time: npt.NDArray[np.int64]
    """Milliseconds since 1970-01-01T00:00:00Z, an hour apart."""
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    """In base currency."""
    missing: npt.NDArray[np.bool_]
    """True where the hour had no candle."""

    @classmethod
    def of(cls, candles: Sequence[Candle]) -> Series:
        """From closed hourly candles, oldest first.

        Raises `SeriesError` where a price is not positive and finite, or an open time is no whole hour or not later
        than the one before.
        """
        times = np.array([to_milliseconds(candle.open_time) for candle in candles], dtype=np.int64)
        columns = [[getattr(candle, name) for candle in candles] for name in ("open", "high", "low", "close", "volume")]
        return cls.from_arrays(times, *(np.array(column, dtype=np.float64) for column in columns))

    @classmethod
    def from_arrays(
        cls,
        open_time: npt.NDArray[np.int64],
        open: Floats,  # noqa: A002 - the field's own names
        high: Floats,
        low: Floats,
        close: Floats,
        volume: Floats,
    ) -> Series:
        """As `of`, from arrays of the shape (m,) that may have holes between hours."""
        if open_time.size == 0:
            nothing = np.empty(0)
            return cls(open_time, nothing, nothing, nothing, nothing, nothing, np.empty(0, dtype=np.bool_))
        if np.any(open_time % HOUR_MS) or np.any(np.diff(open_time) <= 0):
            raise SeriesError("open times must be whole hours, each later than the one before")
        prices = np.stack([open, high, low, close])
        usable = np.isfinite(prices).all(axis=0) & (prices > 0).all(axis=0) & np.isfinite(volume) & (volume >= 0)
        if not usable.all():
            at = from_milliseconds(int(open_time[np.argmin(usable)]))
            raise SeriesError(f"the candle of {at:%Y-%m-%dT%H:%MZ} has a price that is not above 0, or no number")
        place = (open_time - open_time[0]) // HOUR_MS
        count = int(place[-1]) + 1
        missing = np.ones(count, dtype=np.bool_)
        missing[place] = False
        # Of each hour of the grid: the last candle at or before it.
        source = np.maximum.accumulate(np.where(missing, 0, np.arange(count)))
        at_hand = np.empty(count, dtype=np.int64)
        at_hand[place] = np.arange(open_time.size)
        filled = at_hand[source]
        stand_in = close[filled]
        return cls(
            open_time[0] + HOUR_MS * np.arange(count, dtype=np.int64),
            np.where(missing, stand_in, open[filled]),
            np.where(missing, stand_in, high[filled]),
            np.where(missing, stand_in, low[filled]),
            stand_in,
            np.where(missing, 0.0, volume[filled]),
            missing,
        )

    def __len__(self) -> int:
        return int(self.close.size)

    @property
    def as_of(self) -> datetime:
        """The close of the last candle. Raises IndexError where there is none."""
        return from_milliseconds(int(self.open_time[-1]) + HOUR_MS)

    def is_same_as(self, other: Series) -> bool:
        """Whether both say the same of the same hours."""
        return all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("open_time", "open", "high", "low", "close", "volume", "missing")
        )

    def until(self, count: int) -> Series:
        """The first `count` hours."""
        return self._cut(slice(0, count))

    def last(self, count: int) -> Series:
        """The last `count` hours, or all where there are fewer."""
        return self._cut(slice(max(0, len(self) - count), len(self)))

    def _cut(self, part: slice) -> Series:
        return Series(
            self.open_time[part],
            self.open[part],
            self.high[part],
            self.low[part],
            self.close[part],
            self.volume[part],
            self.missing[part],
        )
