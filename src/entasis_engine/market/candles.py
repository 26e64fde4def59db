"""Folding trades into candles. Pure rules: the only time here is the trades' own, or one passed in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import reduce

import msgspec

from entasis_engine.decimals import add, subtract
from entasis_engine.exchanges.feed import Candle, Interval, Trade
from entasis_engine.times import EPOCH


def open_time_of(moment: datetime, interval: Interval) -> datetime:
    """When the candle that `moment` falls into opens; days open at midnight UTC."""
    return moment - (moment - EPOCH) % interval.length


def merge(candles: Sequence[Candle], open_time: datetime) -> Candle:
    """One candle over several that follow each other, oldest first; at least one."""
    # A quiet one stands at the price before it, at which nothing was traded within the interval.
    traded = [candle for candle in candles if candle.volume] or candles
    return Candle(
        open_time=open_time,
        open=traded[0].open,
        high=max(candle.high for candle in traded),
        low=min(candle.low for candle in traded),
        close=traded[-1].close,
        volume=reduce(add, (candle.volume for candle in traded)),
    )


class Closed(msgspec.Struct, frozen=True):
    """A candle whose interval is over."""

    interval: Interval
    candle: Candle
    complete: bool
    """False where trades may be missing: the feed did not cover the interval from its start to its end."""


class ClosedCandle(msgspec.Struct, frozen=True):
    """A candle that has just closed, for whoever keeps candles."""

    symbol: str
    interval: Interval
    candle: Candle
    complete: bool


class MinuteFolder:
    """Folds the trades of one instrument into one-minute candles; longer ones are folded from these.

    A minute without trades, while the feed is connected, closes as a flat candle at the last price with no volume, as
    exchanges publish it. A minute that the feed did not cover whole closes as incomplete.
    """

    def __init__(self) -> None:
        self.current: Candle | None = None
        self._covered_from: datetime | None = None
        self._last_price: Decimal | None = None

    @property
    def is_covered(self) -> bool:
        """Whether every trade is being given."""
        return self._covered_from is not None

    def connected(self, moment: datetime) -> None:
        """Every trade from `moment` on will be given."""
        if self._covered_from is None:
            self._covered_from = moment

    def disconnected(self) -> None:
        """Trades may be missing from now on. The candle in progress goes on, and will close as incomplete."""
        self._covered_from = None
        self._last_price = None

    def add(self, trade: Trade) -> list[Closed]:
        """Take a trade in, in the exchange's order; returns what it closed. A trade of a closed minute is ignored."""
        open_time = open_time_of(trade.time, Interval.MINUTE)
        closed: list[Closed] = []
        if self.current is not None and open_time != self.current.open_time:
            if open_time < self.current.open_time:
                return []
            closed = self._close_until(open_time)
        current = self.current
        if current is None or current.volume.is_zero():
            self.current = Candle(open_time, trade.price, trade.price, trade.price, trade.price, trade.size)
        else:
            self.current = Candle(
                open_time,
                current.open,
                max(current.high, trade.price),
                min(current.low, trade.price),
                trade.price,
                add(current.volume, trade.size),
            )
        self._last_price = trade.price
        return closed

    def advance(self, moment: datetime) -> list[Closed]:
        """Close what is over at `moment`, by which every trade before it has been given."""
        return self._close_until(open_time_of(moment, Interval.MINUTE))

    def _close_until(self, open_time: datetime) -> list[Closed]:
        """Close the minute in progress and the quiet ones after it, up to the one that opens at `open_time`."""
        closed: list[Closed] = []
        while self.current is not None and self.current.open_time < open_time:
            minute = self.current
            complete = self._covered_from is not None and self._covered_from <= minute.open_time
            closed.append(Closed(Interval.MINUTE, minute, complete))
            price = self._last_price
            # Across a lost connection nothing is known, so nothing is invented.
            following = minute.open_time + Interval.MINUTE.length
            self.current = Candle(following, price, price, price, price, Decimal(0)) if price is not None else None
        return closed


class Aggregate:
    """Folds one-minute candles of one instrument into candles of a longer interval."""

    def __init__(self, interval: Interval) -> None:
        self.interval = interval
        self._minutes_per_candle = interval.length // Interval.MINUTE.length
        self._open_time: datetime | None = None
        self._minutes: dict[datetime, Candle] = {}
        self._folded: Candle | None = None  # None also where it must be folded anew

    def add(self, minute: Candle) -> None:
        """Take a closed minute in, in any order. One that belongs to a closed or later candle is ignored."""
        bucket = open_time_of(minute.open_time, self.interval)
        if self._open_time is None:
            self._open_time = bucket
        if bucket != self._open_time or minute.open_time in self._minutes:
            return
        if self._folded is not None and minute.open_time > next(reversed(self._minutes)):
            self._folded = merge([self._folded, minute], bucket)
        else:  # history may hand over a day's minutes at once, so they are folded only when the result is asked for
            self._folded = None
        self._minutes[minute.open_time] = minute

    def current(self, minute: Candle | None) -> Candle | None:
        """The candle in progress, given the minute in progress."""
        folded = self._fold()
        if minute is None or minute.open_time in self._minutes:
            return folded
        bucket = open_time_of(minute.open_time, self.interval)
        return merge([folded, minute] if folded is not None and folded.open_time == bucket else [minute], bucket)

    def advance(self, moment: datetime) -> Closed | None:
        """Close the candle in progress if it is over at `moment`, by which its minutes have been added."""
        bucket = open_time_of(moment, self.interval)
        if self._open_time is None or bucket <= self._open_time:
            self._open_time = self._open_time or bucket
            return None
        folded, complete = self._fold(), len(self._minutes) == self._minutes_per_candle
        self._open_time, self._minutes, self._folded = bucket, {}, None
        return Closed(self.interval, folded, complete) if folded is not None else None

    def _fold(self) -> Candle | None:
        if self._folded is None and self._minutes and self._open_time is not None:
            self._minutes = dict(sorted(self._minutes.items()))
            self._folded = merge(list(self._minutes.values()), self._open_time)
        return self._folded


class RollingVolume:
    """Volume of the last 24 hours in whole minutes: the minute in progress and the 1,439 closed ones before it."""

    WINDOW = timedelta(hours=24) - timedelta(minutes=1)
    MINUTES_HELD_MAX = 2 * 24 * 60

    def __init__(self) -> None:
        self._volumes: dict[datetime, Decimal] = {}
        self._closed_total = Decimal(0)
        self._oldest: datetime | None = None

    def __len__(self) -> int:
        """Minutes held."""
        return len(self._volumes)

    def add(self, minute: Candle) -> None:
        """Count a closed minute; a second candle of the same minute replaces the first."""
        if self._oldest is None or minute.open_time >= self._oldest:
            before = self._volumes.get(minute.open_time, Decimal(0))
            self._closed_total = add(self._closed_total, subtract(minute.volume, before))
            self._volumes[minute.open_time] = minute.volume
            if len(self._volumes) > self.MINUTES_HELD_MAX:  # nobody asked for a total for a day
                self._forget_before(max(self._volumes) - self.WINDOW)

    def total(self, in_progress: Candle) -> Decimal:
        """The volume up to now, given the minute in progress; older minutes are forgotten."""
        oldest = in_progress.open_time - self.WINDOW
        if oldest != self._oldest:
            self._forget_before(oldest)
        # History may know the minute in progress already, where it is over and only its close is not noticed yet.
        counted = self._volumes.get(in_progress.open_time, Decimal(0))
        return add(self._closed_total, subtract(in_progress.volume, counted))

    def _forget_before(self, oldest: datetime) -> None:
        self._oldest = oldest
        for start in [start for start in self._volumes if start < oldest]:
            self._closed_total = subtract(self._closed_total, self._volumes.pop(start))
