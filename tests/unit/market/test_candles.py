"""Folding trades into candles."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.market import MINUTE, NOON, SECOND, candle, trade

from entasis_engine.exchanges.feed import Candle, Interval, Trade
from entasis_engine.market.candles import Aggregate, Closed, MinuteFolder, RollingVolume, merge, open_time_of

DAY = timedelta(days=1)
LONGER = [Interval.FIVE_MINUTES, Interval.HOUR, Interval.DAY]

PRICES = st.integers(1, 10**6).map(lambda ticks: Decimal(ticks).scaleb(-2))
SIZES = st.sampled_from([Decimal("0.00001"), Decimal(1), Decimal("3.5"), Decimal("1E-18"), Decimal("1E+15")])
STEPS_SECONDS = st.one_of(st.integers(0, 20), st.integers(0, 600), st.sampled_from([60, 300, 3600]))
RUNS = st.lists(st.tuples(PRICES, SIZES, STEPS_SECONDS), min_size=1, max_size=60)


def _trades(run: Sequence[tuple[Decimal, Decimal, int]]) -> list[Trade]:
    moment, trades = NOON, []
    for number, (price, size, step) in enumerate(run):
        moment += step * SECOND
        trades.append(Trade("BTC-USDT", number, price, size, True, moment))
    return trades


def _directly(trades: Sequence[Trade], interval: Interval, until: datetime) -> list[Candle]:
    """The definition of a candle, over whole trades, with quiet intervals flat at the last price."""
    start, price = open_time_of(trades[0].time, interval), trades[0].price
    folded = []
    while start + interval.length <= until:
        within = [one for one in trades if start <= one.time < start + interval.length]
        prices = [one.price for one in within] or [price]
        with_volume = sum((int(one.size.scaleb(18)) for one in within), 0)
        volume = Decimal(f"{with_volume}E-18")
        folded.append(Candle(start, prices[0], max(prices), min(prices), prices[-1], volume))
        price = prices[-1]
        start += interval.length
    return folded


class _Chain:
    """A folder with the longer candles behind it, joined as the hub joins them."""

    def __init__(self, interval: Interval) -> None:
        self.folder = MinuteFolder()
        self.aggregate = Aggregate(interval)
        self.closed: list[Closed] = []

    def take(self, minutes: Sequence[Closed]) -> None:
        for minute in minutes:
            self.aggregate.advance(minute.candle.open_time)
            self.aggregate.add(minute.candle)
            if (longer := self.aggregate.advance(minute.candle.open_time + MINUTE)) is not None:
                self.closed.append(longer)


@given(RUNS)
def test_minutes_hold_what_their_trades_say(run: list[tuple[Decimal, Decimal, int]]) -> None:
    """Every minute is the open, high, low, close and exact volume of its trades; quiet ones are flat."""
    trades = _trades(run)
    end = open_time_of(trades[-1].time, Interval.MINUTE) + 3 * MINUTE
    folder = MinuteFolder()
    folder.connected(NOON)
    closed = [one for each in trades for one in folder.add(each)] + folder.advance(end)
    assert all(one.complete for one in closed)
    assert [one.candle for one in closed] == _directly(trades, Interval.MINUTE, end)


@given(RUNS, st.sampled_from([Interval.FIVE_MINUTES, Interval.HOUR]))
def test_folding_by_minutes_equals_folding_directly(
    run: list[tuple[Decimal, Decimal, int]], interval: Interval
) -> None:
    """Longer candles out of minutes are those that the trades themselves would give."""
    trades = _trades(run)
    end = open_time_of(trades[-1].time, interval) + interval.length
    chain = _Chain(interval)
    chain.folder.connected(NOON)
    for each in trades:
        chain.take(chain.folder.add(each))
    chain.take(chain.folder.advance(end))
    expected = _directly(trades, interval, end)
    assert [one.candle for one in chain.closed] == expected
    first_minute_has_come = open_time_of(trades[0].time, Interval.MINUTE) == open_time_of(trades[0].time, interval)
    assert [one.complete for one in chain.closed] == [first_minute_has_come, *[True] * (len(expected) - 1)]


@given(RUNS)
def test_candles_follow_each_other_without_gap_or_overlap(run: list[tuple[Decimal, Decimal, int]]) -> None:
    """Closed minutes come in order, one a minute."""
    folder = MinuteFolder()
    folder.connected(NOON)
    closed = [one for each in _trades(run) for one in folder.add(each)]
    assert all(after.candle.open_time - before.candle.open_time == MINUTE for before, after in pairwise(closed))


@pytest.mark.parametrize(
    ("interval", "opened"),
    [
        (Interval.MINUTE, "2024-03-21T23:59:00+00:00"),
        (Interval.FIVE_MINUTES, "2024-03-21T23:55:00+00:00"),
        (Interval.HOUR, "2024-03-21T23:00:00+00:00"),
        (Interval.DAY, "2024-03-21T00:00:00+00:00"),
    ],
)
def test_intervals_open_on_their_own_boundary_in_utc(interval: Interval, opened: str) -> None:
    """A moment belongs to the interval that opened last, a day at midnight UTC."""
    moment = datetime.fromisoformat("2024-03-21T23:59:59.999+00:00")
    assert open_time_of(moment, interval) == datetime.fromisoformat(opened)
    assert open_time_of(moment + timedelta(milliseconds=1), interval) == datetime.fromisoformat(
        "2024-03-22T00:00:00+00:00"
    )


def test_a_minute_before_any_trade_is_not_invented() -> None:
    """Without a price there is no candle."""
    folder = MinuteFolder()
    folder.connected(NOON)
    assert folder.advance(NOON + 10 * MINUTE) == []
    assert folder.current is None


def test_a_minute_is_open_until_its_last_millisecond() -> None:
    """A minute closes at its end and not before, and not twice."""
    folder = MinuteFolder()
    folder.connected(NOON)
    folder.add(trade(5, NOON + 59 * SECOND))
    assert folder.advance(NOON + MINUTE - timedelta(milliseconds=1)) == []
    assert [one.candle.open_time for one in folder.advance(NOON + MINUTE)] == [NOON]
    assert folder.advance(NOON + MINUTE) == []


def test_a_trade_replaces_the_flat_start_of_its_minute() -> None:
    """A minute that began flat at the last price has the open of its own first trade."""
    folder = MinuteFolder()
    folder.connected(NOON)
    folder.add(trade(5, NOON))
    folder.advance(NOON + MINUTE)
    assert folder.current == candle(NOON + MINUTE, 5, volume=0)
    folder.add(trade(9, NOON + MINUTE + SECOND))
    assert folder.current == candle(NOON + MINUTE, 9)


def test_a_minute_joined_midway_is_incomplete() -> None:
    """The minute in which the feed connected is incomplete, the next one complete."""
    folder = MinuteFolder()
    folder.connected(NOON + SECOND)
    folder.add(trade(5, NOON + 2 * SECOND))
    assert [one.complete for one in folder.advance(NOON + 2 * MINUTE)] == [False, True]


def test_a_minute_without_a_connection_is_incomplete() -> None:
    """Trades of a feed that never said that it is whole make incomplete minutes."""
    folder = MinuteFolder()
    folder.add(trade(5, NOON))
    assert [one.complete for one in folder.advance(NOON + 2 * MINUTE)] == [False, False]


def test_a_short_loss_makes_its_minute_incomplete() -> None:
    """A minute in which the feed was lost and came back is incomplete, and the one after it complete."""
    folder = MinuteFolder()
    folder.connected(NOON)
    folder.add(trade(5, NOON + SECOND))
    folder.disconnected()
    assert not folder.is_covered
    folder.connected(NOON + 20 * SECOND)
    assert folder.is_covered
    folder.add(trade(6, NOON + 30 * SECOND))
    closed = folder.advance(NOON + 2 * MINUTE)
    assert [(one.candle.open_time, one.complete) for one in closed] == [(NOON, False), (NOON + MINUTE, True)]


def test_nothing_is_invented_across_a_loss() -> None:
    """Minutes that the feed did not cover are neither flat nor there; the first one after is incomplete."""
    folder = MinuteFolder()
    folder.connected(NOON)
    folder.add(trade(5, NOON + SECOND))
    folder.disconnected()
    assert [one.complete for one in folder.advance(NOON + 5 * MINUTE)] == [False]
    assert folder.current is None
    folder.connected(NOON + 5 * MINUTE + SECOND)
    folder.add(trade(6, NOON + 5 * MINUTE + 2 * SECOND))
    closed = folder.advance(NOON + 7 * MINUTE)
    assert [(one.candle.open_time, one.complete) for one in closed] == [
        (NOON + 5 * MINUTE, False),
        (NOON + 6 * MINUTE, True),
    ]


def test_a_trade_of_a_closed_minute_is_ignored() -> None:
    """A late trade changes neither a closed minute nor the one in progress."""
    folder = MinuteFolder()
    folder.connected(NOON)
    folder.add(trade(5, NOON))
    folder.add(trade(6, NOON + MINUTE))
    assert folder.add(trade(99, NOON + 59 * SECOND)) == []
    assert folder.current == candle(NOON + MINUTE, 6)


def test_a_second_connection_does_not_shorten_what_is_covered() -> None:
    """Being told again that every trade is given changes nothing."""
    folder = MinuteFolder()
    folder.connected(NOON)
    folder.add(trade(5, NOON))
    folder.connected(NOON + 30 * SECOND)
    assert [one.complete for one in folder.advance(NOON + MINUTE)] == [True]


MINUTES = [candle(NOON + number * MINUTE, 10 + number, 30 - number, 1 + number, 20) for number in range(5)]


@given(st.permutations(MINUTES), st.lists(st.sampled_from(MINUTES), max_size=5))
def test_minutes_fill_a_candle_in_any_order_and_once_each(order: list[Candle], again: list[Candle]) -> None:
    """Whatever the order they come in, and however often, five minutes make the same five-minute candle."""
    aggregate = Aggregate(Interval.FIVE_MINUTES)
    aggregate.advance(NOON)
    for minute in [*order, *again]:
        aggregate.add(minute)
        known = aggregate.current(None)
        assert known is not None  # asking in between changes nothing
    assert aggregate.advance(NOON + 5 * MINUTE) == Closed(Interval.FIVE_MINUTES, merge(MINUTES, NOON), complete=True)


@given(st.sets(st.integers(0, 4), min_size=1, max_size=4))
def test_a_candle_that_lacks_a_minute_is_incomplete(known: set[int]) -> None:
    """A candle is complete only when all its minutes came."""
    aggregate = Aggregate(Interval.FIVE_MINUTES)
    for number in sorted(known):
        aggregate.add(MINUTES[number])
    closed = aggregate.advance(NOON + 5 * MINUTE)
    assert closed is not None
    assert closed.complete is False
    assert closed.candle == merge([MINUTES[number] for number in sorted(known)], NOON)


def test_a_minute_of_another_candle_is_ignored() -> None:
    """Minutes of a closed candle, or of a later one, do not get into the one in progress."""
    aggregate = Aggregate(Interval.FIVE_MINUTES)
    aggregate.add(MINUTES[0])
    aggregate.add(candle(NOON - MINUTE, 99))
    aggregate.add(candle(NOON + 5 * MINUTE, 99))
    assert aggregate.current(None) == merge(MINUTES[:1], NOON)


def test_the_candle_in_progress_has_the_minute_in_progress_in_it() -> None:
    """The current candle is its closed minutes and the running one, each counted once."""
    aggregate = Aggregate(Interval.FIVE_MINUTES)
    assert aggregate.current(None) is None
    assert aggregate.current(MINUTES[1]) == merge(MINUTES[1:2], NOON)
    aggregate.add(MINUTES[0])
    assert aggregate.current(MINUTES[1]) == merge(MINUTES[:2], NOON)
    aggregate.add(MINUTES[1])  # history knew it before its close was noticed
    assert aggregate.current(MINUTES[1]) == merge(MINUTES[:2], NOON)


def test_the_candle_in_progress_is_that_of_the_minute_in_progress() -> None:
    """After minutes without news the current candle is the new one and not what is left of an old one."""
    aggregate = Aggregate(Interval.FIVE_MINUTES)
    aggregate.add(MINUTES[0])
    later = candle(NOON + 11 * MINUTE, 7)
    assert aggregate.current(later) == candle(NOON + 10 * MINUTE, 7)


@pytest.mark.parametrize("interval", LONGER)
def test_a_candle_closes_at_its_end_once(interval: Interval) -> None:
    """A longer candle closes when its interval is over, and once."""
    aggregate = Aggregate(interval)
    start = open_time_of(NOON, interval)
    aggregate.add(candle(start, 5))
    assert aggregate.advance(start + interval.length - MINUTE) is None
    assert aggregate.advance(start + interval.length) is not None
    assert aggregate.advance(start + interval.length) is None


VOLUMES = st.lists(st.tuples(st.integers(0, 3 * 24 * 60), st.integers(0, 1000)), max_size=40)


@given(VOLUMES, st.integers(0, 3 * 24 * 60), st.integers(0, 9))
def test_the_rolling_volume_is_that_of_the_last_1440_minutes(
    minutes: list[tuple[int, int]], now: int, running: int
) -> None:
    """The total is the sum over the minute in progress and the 1,439 before it, the newest word on each minute."""
    volume = RollingVolume()
    for number, size in minutes:
        volume.add(candle(NOON + number * MINUTE, 1, volume=size))
    expected = running + sum(size for number, size in dict(minutes).items() if now - 1440 < number != now)
    assert volume.total(candle(NOON + now * MINUTE, 1, volume=running)) == expected


def test_the_rolling_volume_forgets_what_is_over_a_day_old() -> None:
    """As minutes pass the total loses exactly those that leave the window."""
    volume = RollingVolume()
    for number in range(1440):
        volume.add(candle(NOON + number * MINUTE, 1, volume=1))
    assert volume.total(candle(NOON + 1440 * MINUTE, 1, volume=0)) == 1439
    assert volume.total(candle(NOON + 1441 * MINUTE, 1, volume=0)) == 1438
    volume.add(candle(NOON, 1, volume=500))  # too late to count
    assert volume.total(candle(NOON + 1441 * MINUTE, 1, volume=0)) == 1438


def test_the_rolling_volume_is_exact_for_small_and_large() -> None:
    """Volumes of very different sizes add up, and subtract, without rounding."""
    volume = RollingVolume()
    volume.add(candle(NOON, 1, volume="1E+20"))
    volume.add(candle(NOON + MINUTE, 1, volume="1E-18"))
    assert volume.total(candle(NOON + 2 * MINUTE, 1, volume=0)) == Decimal("100000000000000000000.000000000000000001")
    assert volume.total(candle(NOON + DAY, 1, volume=0)) == Decimal("1E-18")


def test_the_rolling_volume_needs_bounded_memory_where_nobody_asks() -> None:
    """Minutes are forgotten even if no total is ever asked for, and the total is right when it is."""
    volume = RollingVolume()
    for number in range(10 * 1440):
        volume.add(candle(NOON + number * MINUTE, 1, volume=1))
        assert len(volume) <= RollingVolume.MINUTES_HELD_MAX
    assert volume.total(candle(NOON + 10 * DAY, 1, volume=0)) == 1439
