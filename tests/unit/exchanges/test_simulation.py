"""The simulated market and its feed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.market import MINUTE, NOON, SECOND, SetClock

from entasis_engine.exchanges import simulation
from entasis_engine.exchanges.feed import BookDelta, BookSnapshot, Candle, Connected, Event, FeedError, Interval, Trade
from entasis_engine.exchanges.simulated import STEPS_PER_BATCH_MAX, SimulatedFeed
from entasis_engine.exchanges.simulation import GENESIS, LISTED, MINUTES_PER_HOUR, Walk, minute_of
from entasis_engine.market.book import OrderBook
from entasis_engine.market.candles import MinuteFolder, merge

SEED = 7
SYMBOLS = [one.instrument.symbol for one in LISTED]
NOON_MINUTE = minute_of(NOON)
SIMULATED = pytest.mark.parametrize("simulated", LISTED, ids=SYMBOLS)


class PassingTime:
    """Sleeping moves the clock on at once."""

    def __init__(self, clock: SetClock, speed: float = 1.0) -> None:
        self._clock = clock
        self._speed = speed

    async def __call__(self, seconds: float) -> None:
        self._clock.now += timedelta(seconds=seconds)
        await asyncio.sleep(0)


def _feed(clock: SetClock, symbols: Sequence[str] = (), *, seed: int = SEED, speed: float = 1.0) -> SimulatedFeed:
    return SimulatedFeed(symbols, seed=seed, speed=speed, clock=clock, sleep=PassingTime(clock))


async def _played(feed: SimulatedFeed, until: datetime) -> list[Event]:
    events: list[Event] = []
    async for batch in feed.events():
        events += batch
        if feed.now() >= until:
            break
    return events


# The walk.


@SIMULATED
def test_a_walk_repeats_itself(simulated: simulation.SimulatedInstrument) -> None:
    """Two walks of one seed are the same walk, whatever part of them is looked at first."""
    first, second = Walk(simulated, SEED), Walk(simulated, SEED)
    second.minutes(NOON_MINUTE + 100_000, 5)
    assert np.array_equal(first.minutes(NOON_MINUTE, 200), second.minutes(NOON_MINUTE, 200))
    assert first.prints(NOON_MINUTE) == second.prints(NOON_MINUTE)


def test_another_seed_and_another_symbol_are_other_walks() -> None:
    """Neither seeds nor symbols share their course."""
    courses = [Walk(LISTED[0], SEED), Walk(LISTED[0], SEED + 1), Walk(LISTED[1], SEED)]
    shapes = {tuple(np.sign(np.diff(walk.minutes(NOON_MINUTE, 60)[:, 3])).tolist()) for walk in courses}
    assert len(shapes) == 3


@given(st.integers(-(2**70), 2**70))
@settings(max_examples=10)
def test_any_whole_number_is_a_seed(seed: int) -> None:
    """Negative and very large seeds work."""
    assert Walk(LISTED[0], seed).minutes(0, 1).shape == (1, 5)


@SIMULATED
def test_the_size_of_a_block_changes_nothing(simulated: simulation.SimulatedInstrument) -> None:
    """Minutes computed one by one, or by blocks cut anywhere, are those computed at once."""
    walk = Walk(simulated, SEED)
    whole = walk.minutes(NOON_MINUTE - 7, 187)
    for size in (1, 13, 60):
        parts = [walk.minutes(NOON_MINUTE - 7 + at, min(size, 187 - at)) for at in range(0, 187, size)]
        assert np.array_equal(np.concatenate(parts), whole)


@SIMULATED
def test_the_trades_of_a_minute_fold_to_exactly_its_candle(simulated: simulation.SimulatedInstrument) -> None:
    """Folding the trades of any minute gives that minute's candle, to the last digit of its volume."""
    walk, instrument = Walk(simulated, SEED), simulated.instrument
    first = NOON_MINUTE - 30
    folder = MinuteFolder()
    folder.connected(GENESIS + first * MINUTE)
    closed = []
    for minute in range(first, first + 61):
        opened = GENESIS + minute * MINUTE
        for number, each in enumerate(walk.prints(minute)):
            moment = opened + timedelta(milliseconds=each.offset)
            price, size = each.price * instrument.tick_size, each.size * instrument.lot_size
            closed += folder.add(Trade(instrument.symbol, number, price, size, each.taker_buys, moment))
    start = GENESIS + first * MINUTE
    assert [one.candle for one in closed] == simulation.candles(walk, Interval.MINUTE, start, start + 60 * MINUTE)


@SIMULATED
@pytest.mark.parametrize("interval", [Interval.FIVE_MINUTES, Interval.HOUR, Interval.DAY])
def test_longer_candles_are_their_minutes_merged(simulated: simulation.SimulatedInstrument, interval: Interval) -> None:
    """A longer candle is exactly what its minutes fold into."""
    walk, start = Walk(simulated, SEED), NOON.replace(hour=0)
    minutes = simulation.candles(walk, Interval.MINUTE, start, start + timedelta(days=2))
    per_candle = interval.length // MINUTE
    merged = [merge(minutes[at : at + per_candle], minutes[at].open_time) for at in range(0, len(minutes), per_candle)]
    assert simulation.candles(walk, interval, start, start + timedelta(days=2)) == merged


@SIMULATED
def test_minutes_follow_each_other_and_make_sense(simulated: simulation.SimulatedInstrument) -> None:
    """Each minute opens where the one before closed, stays between its low and high, and has volume."""
    minutes = Walk(simulated, SEED).minutes(NOON_MINUTE, 24 * MINUTES_PER_HOUR)
    assert np.array_equal(minutes[1:, 0], minutes[:-1, 3])
    assert (minutes[:, 2] <= minutes[:, [0, 3]].min(axis=1)).all()
    assert (minutes[:, 1] >= minutes[:, [0, 3]].max(axis=1)).all()
    assert (minutes[:, 2] >= 1).all()
    assert (minutes[:, 4] > 0).all()


def test_prices_stay_about_where_they_belong() -> None:
    """Over a year no price runs away: it stays within a factor of five of its usual one."""
    for simulated in LISTED:
        closes = [
            one.close
            for one in simulation.candles(Walk(simulated, SEED), Interval.DAY, GENESIS, NOON.replace(year=2025))
        ]
        assert simulated.typical_price / 5 < min(closes) <= max(closes) < simulated.typical_price * 5


@pytest.mark.parametrize("interval", list(Interval))
def test_candles_open_on_their_boundary_wherever_the_range_begins(interval: Interval) -> None:
    """A range that begins between two boundaries holds the candles that open within it, and none before genesis."""
    walk, length = Walk(LISTED[0], SEED), interval.length
    start = NOON.replace(hour=0) + SECOND
    opens = [one.open_time for one in simulation.candles(walk, interval, start, start + 3 * length)]
    assert opens == [NOON.replace(hour=0) + number * length for number in (1, 2, 3)]
    early = simulation.candles(walk, interval, GENESIS - 3 * length, GENESIS + 2 * length)
    assert [one.open_time for one in early] == [GENESIS, GENESIS + length]
    assert simulation.candles(walk, interval, start, start) == []
    assert simulation.candles(walk, interval, GENESIS - 3 * length, GENESIS) == []


# The feed.


async def test_a_feed_repeats_itself_after_a_restart() -> None:
    """Two feeds at the same moment give the same events, and one started later goes on with the same trades."""
    first = await _played(_feed(SetClock()), NOON + 30 * SECOND)
    again = await _played(_feed(SetClock()), NOON + 30 * SECOND)
    assert first == again
    later = await _played(_feed(SetClock(NOON + 20 * SECOND)), NOON + 30 * SECOND)
    trades = [one for one in first if isinstance(one, Trade)]
    assert [one for one in later if isinstance(one, Trade)] == [one for one in trades if one.time >= NOON - MINUTE]


async def test_what_is_streamed_folds_into_what_history_says() -> None:
    """The candles of the streamed trades are those that the feed gives as history, for every instrument."""
    clock = SetClock(NOON + 10 * SECOND)
    feed = _feed(clock)
    events = await _played(feed, NOON + 2 * MINUTE + 5 * SECOND)
    for symbol in SYMBOLS:
        folder, closed = MinuteFolder(), []
        for event in events:
            if event.symbol == symbol and isinstance(event, Connected):
                folder.connected(event.time)
            elif event.symbol == symbol and isinstance(event, Trade):
                closed += folder.add(event)
        assert all(one.complete for one in closed)
        history = await feed.candles(symbol, Interval.MINUTE, NOON - MINUTE, NOON + 2 * MINUTE)
        assert [one.candle for one in closed] == history
        assert len(history) == 3


async def test_the_book_makes_sense_at_every_moment() -> None:
    """The book is never crossed, and every trade takes from the best level of it, no more than rests there."""
    events = await _played(_feed(SetClock()), NOON + 20 * SECOND)
    books = {symbol: OrderBook() for symbol in SYMBOLS}
    trades = 0
    for event in events:
        book = books[event.symbol]
        if isinstance(event, BookSnapshot | BookDelta):
            assert book.update_id is None or event.update_id > book.update_id
            book.apply(event)
            best_bid, best_ask = book.bids(1), book.asks(1)
            assert not best_bid or not best_ask or best_bid[0][0] < best_ask[0][0]
        elif isinstance(event, Trade):
            trades += 1
            price, size = (book.asks if event.taker_buys else book.bids)(1)[0]
            assert price == event.price
            assert 0 < event.size <= size
    assert trades > 100


async def test_trades_are_numbered_and_timed_in_order() -> None:
    """Within a symbol the numbers of trades grow and their times never go back."""
    events = await _played(_feed(SetClock()), NOON + 90 * SECOND)
    for symbol in SYMBOLS:
        trades = [one for one in events if isinstance(one, Trade) and one.symbol == symbol]
        assert all(one.trade_id < after.trade_id and one.time <= after.time for one, after in pairwise(trades))


async def test_prices_and_sizes_keep_to_their_steps() -> None:
    """Every price is a multiple of the tick and every size one of the lot."""
    events = await _played(_feed(SetClock()), NOON + 5 * SECOND)
    by_symbol = {one.instrument.symbol: one.instrument for one in LISTED}
    pairs: list[tuple[str, Decimal, Decimal]] = []
    for event in events:
        if isinstance(event, Trade):
            pairs.append((event.symbol, event.price, event.size))
        elif isinstance(event, BookSnapshot | BookDelta):
            pairs += [(event.symbol, price, size) for price, size in (*event.bids, *event.asks)]
    assert all(
        price % by_symbol[symbol].tick_size == 0 and size % by_symbol[symbol].lot_size == 0
        for symbol, price, size in pairs
    )


@pytest.mark.parametrize("speed", [0.5, 1.0, 60.0])
async def test_a_trade_is_not_given_before_its_time(speed: float) -> None:
    """Whatever the speed, nothing is given earlier than the millisecond that the clock tells."""
    clock = SetClock()
    tick = timedelta(milliseconds=speed)
    feed = _feed(clock, ["BTC-USDT"], speed=speed)
    async for batch in feed.events():
        assert all(event.time < feed.now() + tick for event in batch)
        if feed.now() > NOON + 30 * SECOND:
            break


async def test_a_market_too_fast_to_keep_up_with_lets_others_have_their_turn() -> None:
    """At any speed batches stay small and the loop is given back between them."""
    clock = SetClock(NOON)
    feed = SimulatedFeed(["BTC-USDT"], seed=SEED, speed=1e6, clock=clock)
    clock.now += timedelta(hours=1)
    batches = feed.events()
    sizes = [len(await anext(batches)) for _ in range(5)]
    assert max(sizes) <= 3 * STEPS_PER_BATCH_MAX + 2
    await batches.aclose()


async def test_only_closed_candles_are_history() -> None:
    """A candle is history from the millisecond on in which its interval is over."""
    clock = SetClock(NOON + MINUTE - timedelta(milliseconds=1))
    feed = _feed(clock, ["BTC-USDT"])

    async def opens() -> list[datetime]:
        found: Sequence[Candle] = await feed.candles("BTC-USDT", Interval.MINUTE, NOON - MINUTE, NOON + MINUTE)
        return [one.open_time for one in found]

    assert await opens() == [NOON - MINUTE]
    clock.now = NOON + MINUTE
    assert await opens() == [NOON - MINUTE, NOON]


async def test_the_markets_time_runs_faster_from_its_origin_on() -> None:
    """With a speed the market's time is the origin's plus so many times what has passed."""
    clock = SetClock(NOON)
    feed = SimulatedFeed(seed=SEED, speed=60, origin=NOON, clock=clock)
    clock.now = NOON + 2 * SECOND
    assert feed.now() == NOON + 2 * MINUTE


async def test_only_the_instruments_asked_for_are_given() -> None:
    """The feed gives the instruments that it is asked for, and all without asking."""
    assert [one.symbol for one in await _feed(SetClock(), ["ETH-BTC"]).instruments()] == ["ETH-BTC"]
    assert [one.symbol for one in await _feed(SetClock()).instruments()] == SYMBOLS


async def test_an_instrument_that_is_not_simulated_is_named() -> None:
    """Asking for what is not simulated is an error that says what is."""
    with pytest.raises(FeedError, match=r"does not list FOO-BAR; it lists BTC-USDT, "):
        await _feed(SetClock(), ["BTC-USDT", "FOO-BAR"]).instruments()
