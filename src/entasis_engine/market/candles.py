"""Folding trades into candles. Pure rules: the only time here is the trades' own, or one passed in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from entasis_engine.exchanges.feed import Candle, Interval, Trade
from entasis_engine.times import EPOCH


def open_time_of(moment: datetime, interval: Interval) -> datetime:
    """When the candle that `moment` falls into opens; days open at midnight UTC."""
    return moment - (moment - EPOCH) % interval.length


def merge(candles: Sequence[Candle], open_time: datetime) -> Candle:
    """One candle over several that follow each other, oldest first; at least one."""
    return Candle(
        open_time=open_time,
        open=candles[0].open,
        high=max(candle.high for candle in candles),
        low=min(candle.low for candle in candles),
        close=candles[-1].close,
        volume=sum((candle.volume for candle in candles), Decimal(0)),
    )


class Closed(msgspec.Struct, frozen=True):
    """A candle whose interval is over."""

    interval: Interval
    candle: Candle
    complete: bool
    """False where trades may be missing: the feed did not cover the interval from its start to its end."""


class MinuteFolder:
    """Folds the trades of one instrument into one-minute candles; longer ones are folded from these.

    A minute without trades, while the feed is connected, closes as a flat candle at the last price with no volume, as
    exchanges publish it. A minute that the feed did not cover whole closes as incomplete.
    """

    def __init__(self) -> None:
        self.current: Candle | None = None
        self._covered_from: datetime | None = None
        self._last_price: Decimal | None = None

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
                current.volume + trade.size,
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
        self._folded: Candle | None = None

    def add(self, minute: Candle) -> None:
        """Take a closed minute in, in any order. One that belongs to a closed or later candle is ignored."""
        bucket = open_time_of(minute.open_time, self.interval)
        if self._open_time is None:
            self._open_time = bucket
        if bucket != self._open_time or minute.open_time in self._minutes:
            return
        in_order = not self._minutes or minute.open_time > next(reversed(self._minutes))
        self._minutes[minute.open_time] = minute
        if in_order:
            self._folded = merge([self._folded, minute] if self._folded else [minute], bucket)
        else:
            self._minutes = dict(sorted(self._minutes.items()))
            self._folded = merge(list(self._minutes.values()), bucket)

    def current(self, minute: Candle | None) -> Candle | None:
        """The candle in progress, given the minute in progress."""
        bucket = self._open_time
        if minute is None or (bucket is not None and open_time_of(minute.open_time, self.interval) != bucket):
            return self._folded
        if self._folded is None:
            return merge([minute], open_time_of(minute.open_time, self.interval))
        return merge([self._folded, minute], self._folded.open_time)

    def advance(self, moment: datetime) -> Closed | None:
        """Close the candle in progress if it is over at `moment`, by which its minutes have been added."""
        bucket = open_time_of(moment, self.interval)
        if self._open_time is None or bucket <= self._open_time:
            self._open_time = self._open_time or bucket
            return None
        closed = None
        if self._folded is not None:
            closed = Closed(self.interval, self._folded, len(self._minutes) == self._minutes_per_candle)
        self._open_time, self._minutes, self._folded = bucket, {}, None
        return closed


class RollingVolume:
    """Volume of the last 24 hours in whole minutes: the minute in progress and the 1,439 closed ones before it."""

    WINDOW = timedelta(hours=24) - timedelta(minutes=1)

    def __init__(self) -> None:
        self._volumes: dict[datetime, Decimal] = {}
        self._closed_total = Decimal(0)
        self._oldest: datetime | None = None

    def add(self, minute: Candle) -> None:
        """Count a closed minute; a second candle of the same minute replaces the first."""
        if self._oldest is None or minute.open_time >= self._oldest:
            self._closed_total += minute.volume - self._volumes.get(minute.open_time, Decimal(0))
            self._volumes[minute.open_time] = minute.volume

    def total(self, in_progress: Candle) -> Decimal:
        """The volume up to now, given the minute in progress; older minutes are forgotten."""
        oldest = in_progress.open_time - self.WINDOW
        if oldest != self._oldest:
            self._oldest = oldest
            for start in [start for start in self._volumes if start < oldest]:
                self._closed_total -= self._volumes.pop(start)
        return self._closed_total + in_progress.volume
