"""Series are kept up with the candles that close, and read no more than they must."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from entasis_engine.analysis.histories import Histories
from entasis_engine.exchanges.feed import Candle, Interval
from entasis_engine.times import to_milliseconds

START = datetime(2024, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SYMBOL = "BTC-USDT"


class _Table:
    """Candles in memory, as the keeper would give them."""

    def __init__(self) -> None:
        self.candles: dict[datetime, Candle] = {}
        self.grown = 0
        self.read_candles = 0

    def put(self, hour: int, close: str = "100") -> None:
        opened = START + hour * HOUR
        self.candles[opened] = Candle(opened, *[Decimal(close)] * 4, Decimal(1))
        self.grown += 2

    def edition(self, symbol: str, interval: Interval) -> int:
        return self.grown

    async def read(self, symbol: str, interval: Interval, start: datetime, end: datetime, limit: int) -> list[Candle]:
        found = [self.candles[at] for at in sorted(self.candles) if start <= at < end][:limit]
        self.read_candles += len(found)
        return found


class _Now:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def now() -> _Now:
    return _Now()


@pytest.fixture
def table(now: _Now) -> _Table:
    table = _Table()
    for hour in range(1200):
        table.put(hour, str(100 + hour % 7))
    now.now = START + 1200 * HOUR
    return table


async def test_a_series_holds_every_candle_of_its_span(table: _Table, now: _Now) -> None:
    histories = Histories(table, market_now=now, span=timedelta(days=40))
    series = await histories.series(SYMBOL)
    assert len(series) == 960
    assert series.as_of == now.now
    assert series.close[-1] == 100 + 1199 % 7


async def test_the_same_object_is_given_until_a_candle_comes(table: _Table, now: _Now) -> None:
    histories = Histories(table, market_now=now, span=timedelta(days=400))
    assert histories.current(SYMBOL) is None
    first = await histories.series(SYMBOL)
    assert histories.current(SYMBOL) is first
    table.put(1200, "123")
    assert histories.current(SYMBOL) is None
    now.now += HOUR
    second = await histories.series(SYMBOL)
    assert second is not first
    assert (len(second), second.close[-1]) == (1201, 123.0)


async def test_an_edition_that_says_nothing_new_changes_no_series(table: _Table, now: _Now) -> None:
    histories = Histories(table, market_now=now, span=timedelta(days=400))
    first = await histories.series(SYMBOL)
    table.grown += 1  # it was written
    assert await histories.series(SYMBOL) is first


async def test_a_new_candle_costs_a_read_of_a_few_days(table: _Table, now: _Now) -> None:
    histories = Histories(table, market_now=now, span=timedelta(days=400))
    await histories.series(SYMBOL)
    table.read_candles = 0
    table.put(1200)
    now.now += HOUR
    await histories.series(SYMBOL)
    assert table.read_candles < 100


async def test_a_candle_that_comes_late_is_taken_in(table: _Table, now: _Now) -> None:
    """One of the last days at once; one of long ago the next day, or at once where it comes with others."""
    late = [table.candles.pop(START + hour * HOUR) for hour in (1190, 700)]
    histories = Histories(table, market_now=now, span=timedelta(days=400))
    assert (await histories.series(SYMBOL)).missing[[1190, 700]].all()
    for one in late:
        table.candles[one.open_time] = one
        table.grown += 1
    series = await histories.series(SYMBOL)
    assert series.missing[[1190, 700]].tolist() == [False, True]
    table.put(1200)
    now.now += HOUR
    now.now += timedelta(days=1)
    assert not (await histories.series(SYMBOL)).missing[700]


async def test_old_candles_that_come_together_are_taken_in_at_once(table: _Table, now: _Now) -> None:
    late = [table.candles.pop(START + hour * HOUR) for hour in range(700, 720)]
    histories = Histories(table, market_now=now, span=timedelta(days=400))
    await histories.series(SYMBOL)
    for one in late:
        table.candles[one.open_time] = one
        table.grown += 1
    assert not (await histories.series(SYMBOL)).missing.any()


async def test_a_series_begins_at_midnight(table: _Table, now: _Now) -> None:
    """So throughout a day it only grows."""
    now.now = START + 1100 * HOUR + timedelta(minutes=30)  # 20:30
    histories = Histories(table, market_now=now, span=timedelta(days=30))
    series = await histories.series(SYMBOL)
    begin = START + 1100 * HOUR - timedelta(days=30, hours=20)
    assert series.open_time[0] == to_milliseconds(begin)
    assert series.as_of == START + 1101 * HOUR


async def test_a_candle_that_cannot_be_counts_as_missing(table: _Table, now: _Now) -> None:
    """A price of 0 is no price: the last close stands in for it."""
    table.put(1199, "0")
    table.put(1198, "NaN")
    series = await Histories(table, market_now=now, span=timedelta(days=400)).series(SYMBOL)
    assert len(series) == 1198
    assert not series.missing.any()
    table.put(1200, "105")
    now.now += HOUR
    series = await Histories(table, market_now=now, span=timedelta(days=400)).series(SYMBOL)
    assert (len(series), series.missing[-3:].tolist()) == (1201, [True, True, False])


async def test_where_there_is_no_history_the_series_is_empty(now: _Now) -> None:
    histories = Histories(_Table(), market_now=now, span=timedelta(days=400))
    assert len(await histories.series(SYMBOL)) == 0
