"""Series are kept up with the candles that close, and read no more than they must."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from entasis_engine.analysis.histories import Histories
from entasis_engine.analysis.series import SeriesError
from entasis_engine.exchanges.feed import Candle, Interval

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


@pytest.mark.parametrize("hour", [1190, 700], ids=["of the last days", "of long ago"])
async def test_a_candle_that_comes_late_is_taken_in(table: _Table, now: _Now, hour: int) -> None:
    late = table.candles.pop(START + hour * HOUR)
    histories = Histories(table, market_now=now, span=timedelta(days=400))
    assert (await histories.series(SYMBOL)).missing[hour]
    table.candles[late.open_time] = late
    table.grown += 50  # it came with others
    series = await histories.series(SYMBOL)
    assert not series.missing.any()
    assert series.close[hour] == float(late.close)


async def test_a_candle_that_cannot_be_used_is_said_so_each_time_and_read_once(table: _Table, now: _Now) -> None:
    table.put(1199, "0")
    histories = Histories(table, market_now=now, span=timedelta(days=400))
    with pytest.raises(SeriesError):
        await histories.series(SYMBOL)
    read = table.read_candles
    for ask in (histories.series, histories.series):
        with pytest.raises(SeriesError):
            await ask(SYMBOL)
    assert table.read_candles == read


async def test_where_there_is_no_history_the_series_is_empty(now: _Now) -> None:
    histories = Histories(_Table(), market_now=now, span=timedelta(days=400))
    assert len(await histories.series(SYMBOL)) == 0
