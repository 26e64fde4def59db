"""Keeping candles: nothing is lost, whatever the store or the exchange does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.support.market import MINUTE, NOON, MemoryStore, NoSleep, ScriptedFeed, SetClock, candle, unreachable

from entasis_engine.exchanges.feed import Candle, Interval
from entasis_engine.market.candles import ClosedCandle
from entasis_engine.market.keeper import (
    BACKFILL,
    BATCH_CANDLES_MAX,
    EMPTY_ANSWERS_MAX,
    FILL_ATTEMPTS_MAX,
    RETRY_SECONDS_MAX,
    SETTLE_SECONDS,
    CandleKeeper,
    missing_ranges,
)

FAR = NOON + timedelta(days=365)


class Bench:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.feed = ScriptedFeed(clock=SetClock(NOON + timedelta(days=1)))
        self.sleep = NoSleep()
        self.filled: list[tuple[str, Candle]] = []
        self.keeper = CandleKeeper(
            self.store,  # type: ignore[arg-type]
            self.feed,
            on_history=self._on_history,
            on_closed_late=self._on_closed_late,
            sleep=self.sleep,
        )

    def _on_history(self, symbol: str, minute: Candle) -> list[ClosedCandle]:
        self.filled.append((symbol, minute))
        return []

    def _on_closed_late(self, symbol: str, interval: Interval, candle: Candle) -> list[ClosedCandle]:
        return self._on_history(symbol, candle) if interval is Interval.MINUTE else []

    async def keep(self, minute: int) -> Candle:
        one = candle(NOON + minute * MINUTE, minute + 1)
        await self.keeper.keep("BTC-USDT", Interval.MINUTE, one)
        return one

    async def read(self) -> list[Candle]:
        return await self.keeper.read("BTC-USDT", Interval.MINUTE, NOON, FAR, 1000)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def _minutes(store: MemoryStore) -> list[int]:
    """Minutes since noon of the one-minute candles of BTC-USDT that are stored."""
    of = ("BTC-USDT", Interval.MINUTE)
    return sorted((at - NOON) // MINUTE for (_, symbol, length, at) in store.rows if (symbol, length) == of)


@asynccontextmanager
async def _running(loop: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(loop)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _until(holds: Callable[[], bool]) -> None:
    """Let the loops run until something holds; the test's own time limit ends it where it never does."""
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0)


# Which candles are missing.


@given(st.sets(st.integers(-3, 33)), st.integers(0, 30), st.integers(0, 30), st.sampled_from(list(Interval)))
def test_missing_ranges_are_exactly_what_is_missing(known: set[int], first: int, last: int, interval: Interval) -> None:
    """The ranges together are the open times that are not known, in order, without overlap and as few as can be."""
    start, end = NOON + first * interval.length, NOON + last * interval.length
    within = sorted(NOON + number * interval.length for number in known if first <= number < last)
    ranges = list(missing_ranges(within, interval, start, end))
    missing = [
        number
        for begin, stop in ranges
        for number in range((begin - NOON) // interval.length, (stop - NOON) // interval.length)
    ]
    assert missing == [number for number in range(first, last) if number not in known]
    assert all(begin < stop for begin, stop in ranges)
    assert all(before[1] < after[0] for before, after in pairwise(ranges))


# Writing.


async def test_a_candle_is_readable_before_it_is_written(bench: Bench) -> None:
    """What was handed over can be read at once, and again once it is on disk, and never twice."""
    one = await bench.keep(0)
    assert await bench.read() == [one]
    async with _running(bench.keeper.write_forever()):
        await _until(lambda: _minutes(bench.store) == [0])
    assert await bench.read() == [one]


async def test_candles_are_written_in_batches(bench: Bench) -> None:
    """What waits is written in one transaction instead of one each."""
    for minute in range(100):
        await bench.keep(minute)
    async with _running(bench.keeper.write_forever()):
        await _until(lambda: len(_minutes(bench.store)) == 100)
    assert bench.store.saves == 1


async def test_a_failing_store_loses_nothing(bench: Bench) -> None:
    """A write that fails is tried again, ever less often, and meanwhile everything is readable."""
    bench.store.save_failures = [OSError("disk full")] * 8
    kept = [await bench.keep(minute) for minute in range(3)]
    with capture_logs() as logs:
        async with _running(bench.keeper.write_forever()):
            await _until(lambda: len(bench.sleep.waits) >= 4)
            assert await bench.read() == kept
            await _until(lambda: _minutes(bench.store) == [0, 1, 2])
    assert {line["event"] for line in logs} == {"candles.write_failed"}
    assert bench.sleep.waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert max(bench.sleep.waits) == RETRY_SECONDS_MAX


async def test_a_hanging_store_loses_nothing(bench: Bench) -> None:
    """While a write hangs, what is handed over stays readable, and at the end it is flushed."""
    async with _running(bench.keeper.write_forever()):
        first = await bench.keep(0)
        await _until(lambda: bench.store.saves == 1)
        bench.store.going.clear()
        kept = [first, *[await bench.keep(minute) for minute in (1, 2)]]
        assert await bench.read() == kept
    bench.store.going.set()
    await bench.keeper.flush()
    assert _minutes(bench.store) == [0, 1, 2]


async def test_the_end_writes_what_is_left(bench: Bench) -> None:
    """Flushing stores everything that was handed over, and once is enough."""
    await bench.keep(0)
    await bench.keeper.keep("ETH-USDT", Interval.HOUR, candle(NOON, 1))
    await bench.keeper.flush()
    assert len(bench.store.rows) == 2
    saves = bench.store.saves
    await bench.keeper.flush()
    assert len(bench.store.rows) == 2
    assert bench.store.saves == saves + 1


async def test_reading_mixes_stored_and_waiting_in_order(bench: Bench) -> None:
    """A page is the oldest candles, of those on disk and those on the way together, up to the limit."""
    await bench.store.save(
        "binance", [("BTC-USDT", Interval.MINUTE, candle(NOON + minute * MINUTE, 1)) for minute in (0, 2, 4)]
    )
    for minute in (1, 3, 5):
        await bench.keep(minute)
    found = await bench.keeper.read("BTC-USDT", Interval.MINUTE, NOON + MINUTE, NOON + 5 * MINUTE, 3)
    assert [(one.open_time - NOON) // MINUTE for one in found] == [1, 2, 3]


async def test_what_is_stored_never_seems_to_change(bench: Bench) -> None:
    """A second candle of the same minute does not show, not even while it waits to be written."""
    await bench.store.save("binance", [("BTC-USDT", Interval.MINUTE, candle(NOON, 99))])
    await bench.keep(0)
    assert await bench.read() == [candle(NOON, 99)]


async def test_candles_of_another_exchange_are_not_read(bench: Bench) -> None:
    """What a simulation stored is not the history of a real exchange."""
    await bench.store.save("simulated", [("BTC-USDT", Interval.MINUTE, candle(NOON, 99))])
    assert await bench.read() == []


# Asking the exchange.


async def test_a_wanted_candle_is_fetched_kept_and_handed_out(bench: Bench) -> None:
    """A minute that was not seen whole is asked for, stored, and handed to whoever folds minutes."""
    bench.feed.history["BTC-USDT", Interval.MINUTE] = [candle(NOON + minute * MINUTE, 7) for minute in range(3)]
    bench.keeper.want("BTC-USDT", Interval.MINUTE, NOON + MINUTE)
    async with _running(bench.keeper.fill_wanted_forever()):
        await _until(lambda: bool(bench.filled))
    assert bench.filled == [("BTC-USDT", candle(NOON + MINUTE, 7))]
    assert _minutes(bench.store) == [1]
    assert bench.feed.asked == [("BTC-USDT", Interval.MINUTE, NOON + MINUTE, NOON + 2 * MINUTE)]


async def test_a_candle_that_has_just_closed_is_given_time_to_appear(bench: Bench) -> None:
    """A candle is asked for some seconds after its end, since the exchange may not have it before."""
    bench.feed.clock.now = NOON + MINUTE + timedelta(seconds=1)
    bench.feed.history["BTC-USDT", Interval.MINUTE] = [candle(NOON, 7)]
    bench.keeper.want("BTC-USDT", Interval.MINUTE, NOON)
    async with _running(bench.keeper.fill_wanted_forever()):
        await _until(lambda: bool(bench.filled))
    assert bench.sleep.waits == [SETTLE_SECONDS - 1]


async def test_an_exchange_that_has_no_such_candle_yet_is_asked_again(bench: Bench) -> None:
    """An empty answer is not the last word, for a set number of times, and keeps no other candle waiting."""
    bench.feed.history["BTC-USDT", Interval.MINUTE] = [candle(NOON + MINUTE, 8)]
    for open_time in (NOON, NOON + MINUTE):
        bench.keeper.want("BTC-USDT", Interval.MINUTE, open_time)
    async with _running(bench.keeper.fill_wanted_forever()):
        await _until(lambda: len(bench.feed.asked) == EMPTY_ANSWERS_MAX + 1)
    assert [start for _, _, start, _ in bench.feed.asked] == [NOON, NOON + MINUTE, *[NOON] * (EMPTY_ANSWERS_MAX - 1)]
    assert [one.open_time for _, one in bench.filled] == [NOON + MINUTE]


async def test_the_newest_candle_of_history_is_asked_for_again_where_it_is_not_there_yet(bench: Bench) -> None:
    """Where history lacks the candle that closed last, that candle is wanted, and fetched once it is there."""
    bench.feed.clock.now = NOON + timedelta(milliseconds=300)
    bench.feed.history["BTC-USDT", Interval.MINUTE] = [candle(NOON - 2 * MINUTE, 1)]
    await bench.keeper.fill_history("BTC-USDT")
    assert _minutes(bench.store) == [-2]
    bench.feed.history["BTC-USDT", Interval.MINUTE].append(candle(NOON - MINUTE, 2))
    async with _running(bench.keeper.fill_wanted_forever()):
        await _until(lambda: _minutes(bench.store) == [-2, -1])


async def test_a_wanted_hour_is_not_handed_out_as_a_minute(bench: Bench) -> None:
    """Longer candles are stored, and only minutes are handed out."""
    bench.feed.history["BTC-USDT", Interval.HOUR] = [candle(NOON, 7)]
    bench.keeper.want("BTC-USDT", Interval.HOUR, NOON)
    async with _running(bench.keeper.fill_wanted_forever()):
        await _until(lambda: bool(bench.store.rows))
    assert bench.filled == []


@pytest.mark.parametrize("error", [unreachable(), TimeoutError(), KeyError("a defect of a library")])
async def test_an_exchange_that_fails_is_asked_again(bench: Bench, error: Exception) -> None:
    """Whatever the exchange fails with, it is asked again after a wait."""
    bench.feed.history["BTC-USDT", Interval.MINUTE] = [candle(NOON, 7)]
    bench.feed.failures = [error, error]
    bench.keeper.want("BTC-USDT", Interval.MINUTE, NOON)
    async with _running(bench.keeper.fill_wanted_forever()):
        await _until(lambda: _minutes(bench.store) == [0])
    assert bench.sleep.waits == [1, 2]


async def test_a_candle_that_cannot_be_had_gives_others_their_turn(bench: Bench) -> None:
    """After some attempts a candle is given up for now, and the next one is fetched."""
    bench.feed.history["BTC-USDT", Interval.MINUTE] = [candle(NOON, 7), candle(NOON + MINUTE, 8)]
    bench.feed.failures = [unreachable()] * FILL_ATTEMPTS_MAX
    bench.keeper.want("BTC-USDT", Interval.MINUTE, NOON)
    bench.keeper.want("BTC-USDT", Interval.MINUTE, NOON + MINUTE)
    async with _running(bench.keeper.fill_wanted_forever()):
        await _until(lambda: _minutes(bench.store) == [1])
    assert bench.feed.failures == []


async def test_only_what_is_missing_is_fetched(bench: Bench) -> None:
    """History is asked for exactly the ranges that are not stored, of every interval."""
    bench.feed.clock.now = NOON + 10 * MINUTE + timedelta(seconds=5)
    start = NOON + 10 * MINUTE - BACKFILL[Interval.MINUTE]
    everything = [candle(start + number * MINUTE, 1) for number in range(BACKFILL[Interval.MINUTE] // MINUTE)]
    bench.feed.history["BTC-USDT", Interval.MINUTE] = everything
    await bench.store.save(
        "binance",
        [("BTC-USDT", Interval.MINUTE, one) for number, one in enumerate(everything) if number not in (5, 6, 100)],
    )
    await bench.keeper.fill_history("BTC-USDT")
    assert [(first, last) for _, interval, first, last in bench.feed.asked if interval is Interval.MINUTE] == [
        (start + 5 * MINUTE, start + 7 * MINUTE),
        (start + 100 * MINUTE, start + 101 * MINUTE),
    ]
    assert {interval for _, interval, _, _ in bench.feed.asked} == set(Interval)
    assert len(bench.store.rows) == len(everything)


async def test_history_that_is_being_filled_has_no_holes(bench: Bench) -> None:
    """What can be read while a long history is written is its oldest part: it ends early, and nothing is left out."""
    bench.feed.clock.now = NOON + timedelta(seconds=5)
    everything = [candle(NOON - number * MINUTE, 1) for number in range(3 * BATCH_CANDLES_MAX + 7, 0, -1)]
    bench.feed.history["BTC-USDT", Interval.MINUTE] = everything
    readable: list[list[int]] = []
    bench.store.on_saved = lambda: readable.append(_minutes(bench.store))
    await bench.keeper.fill_history("BTC-USDT")
    oldest = -len(everything)
    written = [BATCH_CANDLES_MAX, 2 * BATCH_CANDLES_MAX, 3 * BATCH_CANDLES_MAX, len(everything)]
    assert readable == [list(range(oldest, oldest + count)) for count in written]


async def test_the_last_day_of_minutes_is_handed_out_in_order(bench: Bench) -> None:
    """What is folded from minutes gets those of the last day and of today, oldest first, the latest closed one last."""
    bench.feed.clock.now = NOON + timedelta(seconds=5)
    bench.feed.history["BTC-USDT", Interval.MINUTE] = [
        candle(NOON - number * MINUTE, 1) for number in range(3000, 0, -1)
    ]
    await bench.keeper.fill_history("BTC-USDT")
    opens = [minute.open_time for _, minute in bench.filled]
    assert opens == sorted(set(opens))
    assert opens[-1] == NOON - MINUTE
    assert opens[0] <= NOON - timedelta(days=1) + MINUTE


async def test_minutes_that_nobody_saw_are_looked_for(bench: Bench) -> None:
    """When minutes never closed, as across a lost connection, history is looked through again and they are fetched."""
    bench.feed.clock.now = NOON + timedelta(seconds=5)
    async with _running(bench.keeper.fill_history_forever("BTC-USDT")):
        await _until(lambda: any(interval is Interval.DAY for _, interval, _, _ in bench.feed.asked))
        bench.keeper.followed("BTC-USDT", NOON)
        bench.feed.clock.now = NOON + 8 * MINUTE
        bench.feed.history["BTC-USDT", Interval.MINUTE] = [candle(NOON + number * MINUTE, 1) for number in range(8)]
        bench.feed.history["BTC-USDT", Interval.FIVE_MINUTES] = [candle(NOON, 1)]
        bench.keeper.followed("BTC-USDT", NOON + 7 * MINUTE)
        await _until(lambda: ("binance", "BTC-USDT", Interval.FIVE_MINUTES, NOON) in bench.store.rows)
    assert _minutes(bench.store) == list(range(8))


async def test_minutes_that_follow_each_other_ask_for_nothing(bench: Bench) -> None:
    """While every minute closes after the one before, history is looked through once, at the start."""
    async with _running(bench.keeper.fill_history_forever("BTC-USDT")):
        await _until(lambda: any(interval is Interval.DAY for _, interval, _, _ in bench.feed.asked))
        asked = len(bench.feed.asked)
        for minute in range(5):
            bench.keeper.followed("BTC-USDT", NOON + minute * MINUTE)
            await asyncio.sleep(0)
    assert len(bench.feed.asked) == asked


async def test_a_store_that_cannot_be_read_does_not_end_the_market(bench: Bench) -> None:
    """Filling history goes on after a store failed to answer."""
    bench.store.read_failures = [OSError("disk"), OSError("disk")]
    bench.feed.history["BTC-USDT", Interval.DAY] = [candle(NOON.replace(hour=0) - timedelta(days=1), 1)]
    async with _running(bench.keeper.fill_history_forever("BTC-USDT")) as filling:
        await _until(lambda: bool(bench.store.rows) or filling.done())
    assert len(bench.store.rows) == 1
    assert bench.sleep.waits == [1, 2]


async def test_history_does_not_hold_up_what_the_feed_gives(bench: Bench) -> None:
    """While a long history waits for a disk that hangs, candles of the feed are taken without waiting."""
    bench.feed.clock.now = NOON
    bench.feed.history["BTC-USDT", Interval.MINUTE] = [
        candle(NOON - number * MINUTE, 1) for number in range(4000, 0, -1)
    ]
    bench.store.going.clear()
    async with _running(bench.keeper.fill_history_forever("BTC-USDT")), asyncio.timeout(30):
        await _until(lambda: bench.store.saves > 0)
        for minute in range(9_000):
            await bench.keep(minute)
        bench.store.going.set()
