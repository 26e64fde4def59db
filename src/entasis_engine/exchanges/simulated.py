"""The simulated exchange as a feed: the trades of a `Walk` at their time, on an order book that they are taken from."""

from __future__ import annotations

import asyncio
import heapq
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta

from entasis_engine.exchanges import simulation
from entasis_engine.exchanges.feed import (
    BookDelta,
    BookSnapshot,
    Candle,
    Connected,
    Event,
    FeedError,
    Instrument,
    Interval,
    Level,
    Trade,
)
from entasis_engine.exchanges.simulation import GENESIS, Print, SimulatedInstrument, Walk
from entasis_engine.times import Clock, system_clock, to_milliseconds

LEVELS = 30
SPREAD_TICKS = 1
GRID_PER_PRICE = 20_000  # resting orders stand about half a basis point apart
PAUSE_SECONDS_MIN = 0.01  # a fast market comes in batches instead of one wake-up a trade
STEPS_PER_BATCH_MAX = 200  # a market too fast to keep up with must still let others have their turn

_MINUTE = timedelta(minutes=1)


class SimulatedFeed:
    """A seeded market. It is a pure function of the time, so it repeats itself exactly and needs no memory.

    Args:
        symbols: the instruments to give, of `simulation.LISTED`; empty for all.
        seed: the market's; another seed is another market.
        speed: how much faster than the clock the market's time runs from `origin` on.
        origin: where the market's time begins to run faster; it matters only with a speed other than 1, and must then
            stay the same over restarts for the market to go on.
    """

    exchange = "simulated"

    def __init__(
        self,
        symbols: Sequence[str] = (),
        *,
        seed: int,
        speed: float = 1.0,
        origin: datetime | None = None,
        clock: Clock = system_clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._unknown = set(symbols) - {one.instrument.symbol for one in simulation.LISTED}
        self._listed = [one for one in simulation.LISTED if not symbols or one.instrument.symbol in symbols]
        self._seed = seed
        self.source = f"simulated-{seed}"
        self._speed = speed
        self._clock = clock
        self._sleep = sleep
        self._origin = origin or clock()
        self._past = {one.instrument.symbol: Walk(one, seed) for one in self._listed}
        self._past_lock = asyncio.Lock()
        self._closed = False

    async def instruments(self) -> Sequence[Instrument]:
        if self._unknown:
            raise FeedError(
                f"The simulated exchange does not list {', '.join(sorted(self._unknown))}; it lists "
                f"{', '.join(one.instrument.symbol for one in simulation.LISTED)}."
            )
        return [one.instrument for one in self._listed]

    def now(self) -> datetime:
        now = self._clock()
        if self._speed == 1:
            return now
        elapsed = to_milliseconds(now) - to_milliseconds(self._origin)
        return self._origin + timedelta(milliseconds=int(elapsed * self._speed))

    async def events(self) -> AsyncIterator[Sequence[Event]]:
        """The market from the start of the last minute on, so that a price and a whole minute are there at once."""
        start = GENESIS + (simulation.minute_of(self.now()) - 1) * _MINUTE
        batch: list[Event] = []
        courses = []
        for one in self._listed:
            desk = _Desk(one, Walk(one, self._seed), start)
            batch.append(Connected(one.instrument.symbol, start))
            batch.append(desk.snapshot())
            courses.append(desk.course())
        steps = 0
        for moment, events in heapq.merge(*courses, key=lambda step: step[0]):
            now = self.now()
            if moment > now or steps == STEPS_PER_BATCH_MAX:
                yield batch
                batch, steps = [], 0
                ahead = (moment - now).total_seconds() / self._speed
                await self._sleep(max(ahead, PAUSE_SECONDS_MIN) if ahead > 0 else 0)
            if self._closed:
                return
            batch.extend(events)
            steps += 1

    async def candles(self, symbol: str, interval: Interval, start: datetime, end: datetime) -> Sequence[Candle]:
        closed = GENESIS + (self.now() - GENESIS) // interval.length * interval.length
        async with self._past_lock:
            return await asyncio.to_thread(simulation.candles, self._past[symbol], interval, start, min(end, closed))

    async def close(self) -> None:
        self._closed = True


class _Desk:
    """One instrument's resting orders, and the trades that take from them."""

    def __init__(self, simulated: SimulatedInstrument, walk: Walk, start: datetime) -> None:
        self._instrument = simulated.instrument
        self._walk = walk
        self._start = start
        self._update_id = to_milliseconds(start)
        self._usual_lots = int(simulated.typical_minute_volume / simulated.instrument.lot_size / 4)
        opened = walk.prints(simulation.minute_of(start))[0].price
        self._bids, self._asks = self._ladders(Print(0, opened, 0, True), simulation.minute_of(start))

    def snapshot(self) -> BookSnapshot:
        return BookSnapshot(
            self._instrument.symbol, self._update_id, self._levels(self._bids), self._levels(self._asks), self._start
        )

    def course(self) -> Iterator[tuple[datetime, list[Event]]]:
        """Every trade from the start on, for ever: the orders that make way for it, the trade, what it leaves."""
        minute = simulation.minute_of(self._start)
        while True:
            opened = GENESIS + minute * _MINUTE
            for position, each in enumerate(self._walk.prints(minute)):
                moment = opened + timedelta(milliseconds=each.offset)
                yield moment, self._step(each, minute * 1000 + position, minute, moment)
            minute += 1

    def _step(self, each: Print, trade_id: int, minute: int, moment: datetime) -> list[Event]:
        bids, asks = self._ladders(each, minute)
        before = self._change_to(bids, asks, moment)
        tick, lot = self._instrument.tick_size, self._instrument.lot_size
        trade = Trade(self._instrument.symbol, trade_id, each.price * tick, each.size * lot, each.taker_buys, moment)
        taken = dict(asks if each.taker_buys else bids)
        taken[each.price] -= each.size
        if not taken[each.price]:
            del taken[each.price]
        after = self._change_to(bids, taken, moment) if each.taker_buys else self._change_to(taken, asks, moment)
        return [before, trade, after]

    def _ladders(self, each: Print, minute: int) -> tuple[dict[int, int], dict[int, int]]:
        """Bids and asks, size by price in lots by ticks, about a trade that takes the best of one side."""
        ask = each.price if each.taker_buys else each.price + SPREAD_TICKS
        bid = max(1, ask - SPREAD_TICKS)
        grid = max(1, each.price // GRID_PER_PRICE)
        asks = {ask: 0} | {(ask // grid + step) * grid: 0 for step in range(1, LEVELS)}
        bids = {bid: 0} | {(-(-bid // grid) - step) * grid: 0 for step in range(1, LEVELS)}
        for ladder in (bids, asks):
            for price in ladder:
                ladder[price] = self._resting(price, minute)
        best = asks if each.taker_buys else bids
        best[each.price] = max(best[each.price], each.size)
        return {price: size for price, size in bids.items() if price > 0}, asks

    def _resting(self, price: int, minute: int) -> int:
        """What rests at a price during a minute: a number that looks like chance and is always the same."""
        return 1 + (self._usual_lots * zlib.crc32(b"%d:%d" % (price, minute)) >> 32)

    def _change_to(self, bids: dict[int, int], asks: dict[int, int], moment: datetime) -> BookDelta:
        self._update_id += 1
        delta = BookDelta(
            self._instrument.symbol,
            self._update_id,
            self._levels(_difference(self._bids, bids)),
            self._levels(_difference(self._asks, asks)),
            moment,
        )
        self._bids, self._asks = bids, asks
        return delta

    def _levels(self, ladder: dict[int, int]) -> list[Level]:
        tick, lot = self._instrument.tick_size, self._instrument.lot_size
        return [(price * tick, size * lot) for price, size in ladder.items()]


def _difference(before: dict[int, int], after: dict[int, int]) -> dict[int, int]:
    """The sizes that are new or changed, and 0 for what is gone."""
    gone = dict.fromkeys(before.keys() - after.keys(), 0)
    return gone | {price: size for price, size in after.items() if before.get(price) != size}
