"""A market that never was: prices, trades and candles as pure functions of a seed and the time.

Nothing is remembered: the candle of any minute, and every trade within it, can be computed at any moment and always
comes out the same. So history agrees with what was streamed, and a restart continues the same market.

The logarithmic price follows a slowly mean-reverting walk by the hour whose volatility is itself a mean-reverting walk
(so calm and wild days cluster, as they do in real markets). Within the hour a Brownian bridge gives the minutes, and
within the minute the trades are laid so that they fold into exactly the minute's candle.
"""

from __future__ import annotations

import itertools
import math
import random
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from entasis_engine.exchanges.feed import Candle, Instrument, Interval

GENESIS = datetime(2024, 1, 1, tzinfo=UTC)
"""The walk begins here; there is no market before."""

MINUTES_PER_HOUR = 60
TRADES_PER_MINUTE_MIN, TRADES_PER_MINUTE_MAX = 60, 180

HOURLY_VOLATILITY = 0.005  # about 47 % a year
VOLATILITY_PERSISTENCE = 0.97
VOLATILITY_OF_VOLATILITY = 0.15
MEAN_REVERSION = 0.0005  # pulls half of a deviation back in about two months


@dataclass(frozen=True)
class SimulatedInstrument:
    """What is simulated, with the price it moves about and its usual volume."""

    instrument: Instrument
    typical_price: Decimal
    typical_minute_volume: Decimal


def _listed(symbol: str, tick: str, lot: str, scale: int, price: str, volume: str) -> SimulatedInstrument:
    return SimulatedInstrument(
        Instrument(symbol, Decimal(tick), Decimal(lot), scale, "simulated", Decimal(20)),
        Decimal(price),
        Decimal(volume),
    )


LISTED = (
    _listed("BTC-USDT", "0.01", "0.00001", 2, "65000", "12"),
    _listed("ETH-USDT", "0.01", "0.0001", 2, "3400", "180"),
    _listed("SOL-USDT", "0.01", "0.001", 2, "150", "2400"),
    _listed("XRP-USDT", "0.0001", "0.1", 4, "0.55", "400000"),
    _listed("ETH-BTC", "0.00001", "0.0001", 5, "0.052", "9"),
)


class Minute(NamedTuple):
    """One minute's candle in ticks and lots."""

    open: int
    high: int
    low: int
    close: int
    volume: int


class Print(NamedTuple):
    """One trade within a minute: milliseconds into it, price in ticks, size in lots, who took."""

    offset: int
    price: int
    size: int
    taker_buys: bool


class Walk:
    """The whole course of one instrument."""

    def __init__(self, simulated: SimulatedInstrument, seed: int) -> None:
        self.simulated = simulated
        self._key = (seed & (2**64 - 1), zlib.crc32(simulated.instrument.symbol.encode()))
        self._ticks_base = float(simulated.typical_price / simulated.instrument.tick_size)
        self._lots_base = float(simulated.typical_minute_volume / simulated.instrument.lot_size)
        # By the hour since genesis: logarithm of price over typical price at its start, and its volatility.
        self._levels = [0.0]
        self._volatilities: list[float] = []
        self._log_volatility = 0.0

    def minutes(self, first: int, count: int) -> npt.NDArray[np.int64]:
        """Candles of `count` minutes from minute `first` since genesis on; shape (count, 5), as `Minute`."""
        first_hour = first // MINUTES_PER_HOUR
        last_hour = -(-(first + count) // MINUTES_PER_HOUR)
        opens, sigmas = self._minute_opens(first_hour, last_hour + 1)
        skipped = first - first_hour * MINUTES_PER_HOUR
        opens, sigmas = opens[skipped : skipped + count + 1], sigmas[skipped : skipped + count]
        ticks = np.maximum(np.rint(self._ticks_base * np.exp(opens)), 1).astype(np.int64)
        uniform = self._uniform("wick", first, count)
        wick = sigmas * ticks[:-1]
        high = np.maximum(ticks[:-1], ticks[1:]) + np.floor(-np.log(uniform[:, 0]) * wick * 0.4).astype(np.int64)
        low = np.minimum(ticks[:-1], ticks[1:]) - np.floor(-np.log(uniform[:, 1]) * wick * 0.4).astype(np.int64)
        busy = np.exp(0.6 * _normal(uniform[:, 2], uniform[:, 3]) + 0.5 * (high - low) / np.maximum(wick, 1e-9))
        volume = np.rint(self._lots_base * 0.5 * busy).astype(np.int64) + TRADES_PER_MINUTE_MAX
        return np.stack([ticks[:-1], high, np.maximum(low, 1), ticks[1:], volume], axis=1)

    def prints(self, minute: int) -> list[Print]:
        """The trades of one minute, in order; they fold into exactly its candle."""
        candle = Minute(*(int(value) for value in self.minutes(minute, 1)[0]))
        chance = random.Random(f"{self._key}:{minute}")  # noqa: S311 - a simulation, and it must repeat itself
        count = chance.randint(TRADES_PER_MINUTE_MIN, TRADES_PER_MINUTE_MAX)
        offsets = sorted(chance.sample(range(60_000), count))
        prices = _path(candle, count, chance)
        sizes = _partition(candle.volume, count, chance)
        prints, before = [], candle.open
        for offset, price, size in zip(offsets, prices, sizes, strict=True):
            buys = price > before or (price == before and chance.random() < 0.5)
            prints.append(Print(offset, price, size, buys))
            before = price
        return prints

    def _minute_opens(self, first_hour: int, last_hour: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Log levels at the start of each minute of `[first_hour, last_hour)`, and each minute's volatility."""
        self._walk_to(last_hour)
        hours = last_hour - first_hour
        levels = np.array(self._levels[first_hour : last_hour + 1])
        volatilities = np.array(self._volatilities[first_hour:last_hour])[:, None] / math.sqrt(MINUTES_PER_HOUR)
        uniform = self._uniform("bridge", first_hour * MINUTES_PER_HOUR, hours * MINUTES_PER_HOUR)
        steps = _normal(uniform[:, 0], uniform[:, 1]).reshape(hours, MINUTES_PER_HOUR) * volatilities
        walked = np.concatenate([np.zeros((hours, 1)), np.cumsum(steps, axis=1)], axis=1)
        share = np.arange(MINUTES_PER_HOUR + 1) / MINUTES_PER_HOUR
        bridge = walked - share * walked[:, -1:] + levels[:-1, None] * (1 - share) + levels[1:, None] * share
        return bridge[:, :-1].ravel(), np.repeat(volatilities.ravel(), MINUTES_PER_HOUR)

    def _walk_to(self, hour: int) -> None:
        known = len(self._volatilities)
        if hour <= known:
            return
        uniform = self._uniform("hour", known, hour - known)
        moves = _normal(uniform[:, 0], uniform[:, 1]).tolist()
        shocks = _normal(uniform[:, 2], uniform[:, 3]).tolist()
        level = self._levels[-1]
        for move, shock in zip(moves, shocks, strict=True):
            self._log_volatility = VOLATILITY_PERSISTENCE * self._log_volatility + VOLATILITY_OF_VOLATILITY * shock
            volatility = HOURLY_VOLATILITY * math.exp(self._log_volatility)
            level += volatility * move - MEAN_REVERSION * level
            self._volatilities.append(volatility)
            self._levels.append(level)

    def _uniform(self, purpose: str, first: int, count: int) -> npt.NDArray[np.float64]:
        """Four numbers in (0, 1) for each of `count` steps from `first` on; shape (count, 4).

        Philox is a counter-based generator (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): the
        numbers of any step are found without computing those before it.
        """
        seed, symbol = self._key
        key = np.array([seed, symbol << 32 | zlib.crc32(purpose.encode())], dtype=np.uint64)
        raw = np.random.Philox(key=key, counter=first).random_raw(4 * count)
        return ((raw >> np.uint64(11)).astype(np.float64) + 0.5).reshape(count, 4) * 2.0**-53


def _normal(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Standard normal numbers from two uniform ones (Box and Muller, 1958)."""
    return np.asarray(np.sqrt(-2.0 * np.log(first)) * np.cos(2.0 * math.pi * second), dtype=np.float64)


def _path(candle: Minute, count: int, chance: random.Random) -> list[int]:
    """Prices that begin at the open, end at the close, and reach the high and the low but go no further."""
    touch = sorted(chance.sample(range(1, count - 1), 2))
    extremes = [candle.high, candle.low]
    chance.shuffle(extremes)
    anchors = [(0, candle.open), *zip(touch, extremes, strict=True), (count - 1, candle.close)]
    jitter = max(1.0, (candle.high - candle.low) / 12)
    prices = []
    for (start, begin), (stop, end) in itertools.pairwise(anchors):
        for position in range(start, stop):
            straight = begin + (end - begin) * (position - start) / (stop - start)
            noisy = straight if position == start else straight + chance.gauss(0, jitter)
            prices.append(min(candle.high, max(candle.low, round(noisy))))
    return [*prices, candle.close]


def _partition(total: int, count: int, chance: random.Random) -> list[int]:
    """`count` whole numbers of 1 or more that sum to `total`, a few large and most small."""
    weights = [chance.paretovariate(1.3) for _ in range(count)]
    scale = (total - count) / sum(weights)
    sizes = [1 + math.floor(weight * scale) for weight in weights]
    sizes[-1] += total - sum(sizes)
    return sizes


def minute_of(moment: datetime) -> int:
    """Whole minutes since genesis."""
    return (moment - GENESIS) // timedelta(minutes=1)


def candles(walk: Walk, interval: Interval, start: datetime, end: datetime) -> list[Candle]:
    """Candles with an open time in `[start, end)`, of which there are none before genesis."""
    start = max(GENESIS, start + (GENESIS - start) % interval.length)
    length = interval.length // timedelta(minutes=1)
    count = max(0, -((start - end) // interval.length))
    if count == 0:
        return []
    minutes = walk.minutes(minute_of(start), count * length).reshape(count, length, 5)
    instrument = walk.simulated.instrument
    folded = zip(
        minutes[:, 0, 0].tolist(),
        minutes[:, :, 1].max(axis=1).tolist(),
        minutes[:, :, 2].min(axis=1).tolist(),
        minutes[:, -1, 3].tolist(),
        minutes[:, :, 4].sum(axis=1).tolist(),
        strict=True,
    )
    tick, lot = instrument.tick_size, instrument.lot_size
    return [
        Candle(start + position * interval.length, opened * tick, high * tick, low * tick, close * tick, volume * lot)
        for position, (opened, high, low, close, volume) in enumerate(folded)
    ]
