"""Served predictions: kept when they are made, and scored when their horizon has passed."""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import structlog
from prometheus_client import Counter

from entasis_engine.times import Clock, to_milliseconds

log = structlog.get_logger()

QUEUE_PREDICTIONS_MAX = 10_000
BATCH_PREDICTIONS_MAX = 500
REMEMBERED_MAX = 10_000
RETRY_SECONDS_MIN = 1.0
RETRY_SECONDS_MAX = 60.0

SCORE_EVERY_SECONDS = 60.0
CLOSE_DEADLINE_SECONDS = 10.0
GRACE = timedelta(hours=48)
"""How far a symbol's candles must have come beyond a due time whose own candle is missing, for it never to come."""
KEPT = timedelta(days=730)
"""How long predictions stay, twice as long as figures look back."""

DROPPED = Counter(
    "entasis_predictions_dropped_total", "Predictions that were not kept, since the database did not keep up"
)
SCORED = Counter("entasis_predictions_scored_total", "Predictions whose horizon passed, by outcome", ["outcome"])


class PredictionKey(NamedTuple):
    """What makes a prediction the same one. Where two versions of a model predicted, there are two."""

    source: str
    symbol: str
    timeframe: str
    model: str
    as_of: datetime
    version: str


class PredictedRange(NamedTuple):
    """Where the close lands with the probability `level`, ends included; in quote currency."""

    level: float
    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One forecast, as it was served. Times are aware, in UTC and whole milliseconds.

    Raises `ValueError` where it is none: a number that is not finite, a probability outside 0 to 1, a naive time.
    """

    source: str
    """What the candles that it knows are kept under."""
    symbol: str
    timeframe: str
    """`1h`, `4h` or `1d`."""
    model: str
    """`lstm` or `ensemble`."""
    version: str
    as_of: datetime
    """The close of the last candle that it knows."""
    due: datetime
    """`as_of` and the horizon."""
    last_price: Decimal
    """The close at `as_of`, in quote currency: what the random walk predicts."""
    prediction: Decimal
    """The predicted close at `due`, in quote currency."""
    ranges: tuple[PredictedRange, ...]
    band: float
    """Half the width of the band around the prediction, as a fraction of it."""
    confidence: float
    """The probability that the close lands within the band."""
    sigma: float
    """Standard deviation of the logarithmic return up to `due`."""

    def __post_init__(self) -> None:
        if any(moment.utcoffset() != timedelta(0) or moment.microsecond % 1000 for moment in (self.as_of, self.due)):
            raise ValueError("times must be aware, in UTC and whole milliseconds")
        if self.due <= self.as_of:
            raise ValueError(f"a prediction is of what comes after it, not of {self.due} as of {self.as_of}")
        prices = (self.last_price, self.prediction, *(end for one in self.ranges for end in (one.low, one.high)))
        if not all(price.is_finite() and price > 0 for price in prices):
            raise ValueError("prices must be finite and above 0")
        if not all(0 <= share <= 1 for share in (self.confidence, *(one.level for one in self.ranges))):
            raise ValueError("probabilities must be from 0 to 1")
        if not all(math.isfinite(size) and size >= 0 for size in (self.band, self.sigma)):
            raise ValueError("band and sigma must be finite and not below 0")

    @property
    def key(self) -> PredictionKey:
        return PredictionKey(self.source, self.symbol, self.timeframe, self.model, self.as_of, self.version)


@dataclass(frozen=True, slots=True)
class Scored:
    """A prediction, and what came."""

    prediction: Prediction
    close: Decimal
    """Of the hour that ended at `due`, in quote currency."""
    score_time: datetime


Outcome = tuple[PredictionKey, Decimal | None]
"""The close that came; or None where no candle came, so that the prediction is void and never counted."""


class PredictionsUnavailableError(Exception):
    """Predictions cannot be read now; later they may."""


Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class LevelRanges(NamedTuple):
    """The ranges of one level, where there are any."""

    level: float
    places: Integers
    """Of the predictions that have one, ascending, shape (k,)."""
    low: Floats
    """In quote currency, shape (k,)."""
    high: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """What one model foretold of one instrument at one horizon, and what came, as columns of shape (n,).

    In the order of `as_of`. Some 130 bytes each, with three ranges.
    """

    as_of: Integers
    """Milliseconds since 1970."""
    due: Integers
    last_price: Floats
    """In quote currency, as the next two."""
    prediction: Floats
    close: Floats
    confidence: Floats
    band: Floats
    ranges: tuple[LevelRanges, ...]
    """By level, ascending."""

    @classmethod
    def of(cls, scored: Iterable[Scored]) -> Track:
        """The columns of predictions, in any order.

        Raises `ValueError` where they are of several sources, instruments, horizons or models.
        """
        rows = sorted(scored, key=lambda one: one.prediction.key)
        made = [one.prediction for one in rows]
        if len({one.key[:4] for one in made}) > 1:
            raise ValueError("a track is of one model, at one horizon, of one instrument of one source")
        return cls.from_columns(
            [to_milliseconds(one.as_of) for one in made],
            [to_milliseconds(one.due) for one in made],
            [one.last_price for one in made],
            [one.prediction for one in made],
            [one.close for one in rows],
            [one.confidence for one in made],
            [one.band for one in made],
            [one.ranges for one in made],
        )

    @classmethod
    def from_columns(
        cls,
        as_of: Sequence[int],
        due: Sequence[int],
        last_price: Sequence[Any],
        prediction: Sequence[Any],
        close: Sequence[Any],
        confidence: Sequence[float],
        band: Sequence[float],
        ranges: Iterable[Iterable[Sequence[Any]]],
    ) -> Track:
        """Of columns in the order of `as_of`; prices and ends of ranges are decimals, or texts of such."""
        by_level: defaultdict[float, tuple[list[int], list[Any], list[Any]]] = defaultdict(lambda: ([], [], []))
        for place, levels in enumerate(ranges):
            for level, low, high in levels:
                places, lows, highs = by_level[level]
                places.append(place)
                lows.append(low)
                highs.append(high)
        return cls(
            np.array(as_of, dtype=np.int64),
            np.array(due, dtype=np.int64),
            _floats(last_price),
            _floats(prediction),
            _floats(close),
            _floats(confidence),
            _floats(band),
            tuple(
                LevelRanges(level, np.array(places, dtype=np.int64), _floats(lows), _floats(highs))
                for level, (places, lows, highs) in sorted(by_level.items())
            ),
        )

    @classmethod
    def joined(cls, parts: Sequence[Track]) -> Track:
        """Parts of one track, in their order, as one."""
        if not parts:
            return cls.of(())
        starts = np.cumsum([0, *(part.as_of.size for part in parts[:-1])])
        by_level: defaultdict[float, list[LevelRanges]] = defaultdict(list)
        for part, start in zip(parts, starts, strict=True):
            for one in part.ranges:
                by_level[one.level].append(one._replace(places=one.places + start))
        return cls(
            np.concatenate([one.as_of for one in parts]),
            np.concatenate([one.due for one in parts]),
            np.concatenate([one.last_price for one in parts]),
            np.concatenate([one.prediction for one in parts]),
            np.concatenate([one.close for one in parts]),
            np.concatenate([one.confidence for one in parts]),
            np.concatenate([one.band for one in parts]),
            tuple(
                LevelRanges(
                    level,
                    np.concatenate([one.places for one in pieces]),
                    np.concatenate([one.low for one in pieces]),
                    np.concatenate([one.high for one in pieces]),
                )
                for level, pieces in sorted(by_level.items())
            ),
        )

    def within(self, since: datetime, until: datetime) -> Track:
        """What was foretold from one time to another, both included."""
        first = int(np.searchsorted(self.as_of, to_milliseconds(since), side="left"))
        end = max(first, int(np.searchsorted(self.as_of, to_milliseconds(until), side="right")))
        of_it = slice(first, end)
        ranges = []
        for one in self.ranges:
            start, stop = np.searchsorted(one.places, (first, end))
            if start < stop:
                here = slice(start, stop)
                ranges.append(LevelRanges(one.level, one.places[here] - first, one.low[here], one.high[here]))
        return Track(
            self.as_of[of_it],
            self.due[of_it],
            self.last_price[of_it],
            self.prediction[of_it],
            self.close[of_it],
            self.confidence[of_it],
            self.band[of_it],
            tuple(ranges),
        )


def _floats(column: Sequence[Any]) -> Floats:
    return np.array(column, dtype=np.float64)


class PredictionStore(Protocol):
    """Where predictions are kept. What reads raises `PredictionsUnavailableError` where it cannot."""

    async def record(self, predictions: Sequence[Prediction]) -> None:
        """Keep predictions, all or none. One that is there already stays as it is."""
        ...

    async def due(self, source: str, now: datetime, limit: int, *, after: Prediction | None = None) -> list[Prediction]:
        """At most `limit` predictions that are due at `now` and have no outcome, in the order of `due` and then of
        their keys; those that follow `after`, where it is given.
        """
        ...

    async def score(self, outcomes: Sequence[Outcome], at: datetime) -> None:
        """Keep outcomes, all or none. A prediction that has one already stays as it is; unknown ones are passed over.

        Args:
            at: the time of scoring.
        """
        ...

    async def scored(
        self,
        source: str,
        symbol: str,
        timeframe: str | None,
        model: str | None,
        since: datetime,
        until: datetime,
        limit: int,
    ) -> list[Scored]:
        """At most `limit` predictions with an `as_of` from `since` to `until`, both included, whose close came, newest
        `as_of` first.

        Args:
            timeframe, model: None for all.
        """
        ...

    async def track(
        self, source: str, symbol: str, timeframe: str, model: str, since: datetime, until: datetime, limit: int
    ) -> Track:
        """The same as columns, of one horizon and model: what many of them are read as, since it is quick."""
        ...

    async def purge(self, source: str, before: datetime, limit: int) -> int:
        """Forget at most `limit` predictions of a source that were due before a time, scored or not, the oldest first;
        gives how many.
        """
        ...


def _by_due(prediction: Prediction) -> tuple[datetime, PredictionKey]:
    return prediction.due, prediction.key


class MemoryPredictions:
    """Predictions in memory, for tests and for whoever needs no history."""

    def __init__(self) -> None:
        self._predictions: dict[PredictionKey, Prediction] = {}
        self._outcomes: dict[PredictionKey, tuple[Decimal | None, datetime]] = {}

    async def record(self, predictions: Sequence[Prediction]) -> None:
        for one in predictions:
            self._predictions.setdefault(one.key, one)

    async def due(self, source: str, now: datetime, limit: int, *, after: Prediction | None = None) -> list[Prediction]:
        waiting = sorted(
            (
                one
                for key, one in self._predictions.items()
                if key.source == source and one.due <= now and key not in self._outcomes
            ),
            key=_by_due,
        )
        start = 0 if after is None else bisect_right(waiting, _by_due(after), key=_by_due)
        return waiting[start : start + limit]

    async def score(self, outcomes: Sequence[Outcome], at: datetime) -> None:
        for key, close in outcomes:
            if key in self._predictions:
                self._outcomes.setdefault(key, (close, at))

    async def scored(
        self,
        source: str,
        symbol: str,
        timeframe: str | None,
        model: str | None,
        since: datetime,
        until: datetime,
        limit: int,
    ) -> list[Scored]:
        found = [
            Scored(self._predictions[key], close, at)
            for key, (close, at) in self._outcomes.items()
            if close is not None
            and (key.source, key.symbol) == (source, symbol)
            and timeframe in (None, key.timeframe)
            and model in (None, key.model)
            and since <= key.as_of <= until
        ]
        found.sort(key=lambda one: one.prediction.key)
        found.sort(key=lambda one: one.prediction.as_of, reverse=True)
        return found[:limit]

    async def track(
        self, source: str, symbol: str, timeframe: str, model: str, since: datetime, until: datetime, limit: int
    ) -> Track:
        return Track.of(await self.scored(source, symbol, timeframe, model, since, until, limit))

    async def purge(self, source: str, before: datetime, limit: int) -> int:
        of_it = (one for one in self._predictions.values() if one.source == source and one.due < before)
        old = sorted(of_it, key=_by_due)[:limit]
        for one in old:
            del self._predictions[one.key]
            self._outcomes.pop(one.key, None)
        return len(old)


class Recorder:
    """Between whoever predicts and the store: callers never wait, and the store is written in batches.

    Its queue is bounded. When it is full the oldest prediction that waits is dropped, and counted, since live figures
    can do without it and callers cannot do without an answer.
    """

    def __init__(
        self,
        store: PredictionStore,
        *,
        queue_max: int = QUEUE_PREDICTIONS_MAX,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._queue_max = queue_max
        self._sleep = sleep
        self._waiting: dict[PredictionKey, Prediction] = {}
        self._writing: list[Prediction] = []
        # Served again and again until the next candle: what was written lately is not written again.
        self._written: dict[PredictionKey, None] = {}
        self._arrived = asyncio.Event()
        self._turn = asyncio.Lock()

    def record(self, prediction: Prediction) -> None:
        """Hand a prediction over to be kept. Of the event loop's thread alone."""
        key = prediction.key
        if key in self._written or key in self._waiting:
            return
        if len(self._waiting) >= self._queue_max:
            del self._waiting[next(iter(self._waiting))]
            DROPPED.inc()
        self._waiting[key] = prediction
        self._arrived.set()

    async def write_forever(self) -> None:
        """Write what is handed over, in batches; on failure try again."""
        while True:
            await self._arrived.wait()
            delay_seconds = RETRY_SECONDS_MIN
            while True:
                try:
                    await self._write()
                    break
                except Exception as error:  # whatever the database raises, predictions go on
                    log.error(
                        "predictions.write_failed",
                        predictions=len(self._writing),
                        retry_seconds=delay_seconds,
                        exc_info=error,
                    )
                    await self._sleep(delay_seconds)
                    delay_seconds = min(delay_seconds * 2, RETRY_SECONDS_MAX)

    async def flush(self) -> None:
        """Write what is left, at the end. Raises what the store does."""
        while self._writing or self._waiting:
            await self._write()

    async def _write(self) -> None:
        """Write one batch; after a failure, the same one."""
        async with self._turn:
            if not self._writing:
                self._writing = list(islice(self._waiting.values(), BATCH_PREDICTIONS_MAX))
                for one in self._writing:
                    del self._waiting[one.key]
                    self._written[one.key] = None  # already, so that none comes twice while it is being written
            await self._store.record(self._writing)
            self._writing = []
            for key in list(islice(self._written, max(0, len(self._written) - REMEMBERED_MAX))):
                del self._written[key]
            if not self._waiting:
                self._arrived.clear()


class Scorer:
    """Gives predictions their outcome when their horizon has passed, and forgets those of long ago.

    Args:
        source: whose predictions.
        close_at: the close of the hourly candle of a symbol that ends at a time; None where there is no such candle.
        reached: when the latest candle that is known of a symbol closed; None where none is known. What is missing
            before that, by the grace or more, will not come any more: a clock cannot tell that, since after a pause it
            is ahead of the candles.
    """

    def __init__(
        self,
        store: PredictionStore,
        source: str,
        close_at: Callable[[str, datetime], Awaitable[Decimal | None]],
        reached: Callable[[str], Awaitable[datetime | None]],
        *,
        clock: Clock,
        grace: timedelta = GRACE,
        kept: timedelta = KEPT,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._source = source
        self._close_at = close_at
        self._reached = reached
        self._clock = clock
        self._grace = grace
        self._kept = kept
        self._sleep = sleep

    async def score_forever(self) -> None:
        """Score every minute, beginning with what came due while nothing ran; on failure, a minute later again."""
        while True:
            try:
                await self.score()
                await self._store.purge(self._source, self._clock() - self._kept, BATCH_PREDICTIONS_MAX)
            except Exception as error:  # whatever the database raises, predictions go on
                log.error("predictions.score_failed", retry_seconds=SCORE_EVERY_SECONDS, exc_info=error)
            await self._sleep(SCORE_EVERY_SECONDS)

    async def score(self) -> None:
        """Give an outcome to every prediction that is due, where its candle has come or will not come any more."""
        now = self._clock()
        reached: dict[str, datetime | None] = {}
        last: Prediction | None = None
        while page := await self._store.due(self._source, now, BATCH_PREDICTIONS_MAX, after=last):
            last = page[-1]
            outcomes = await self._outcomes(page, reached)
            if outcomes:
                await self._store.score(outcomes, now)
                voids = sum(close is None for _key, close in outcomes)
                SCORED.labels("void").inc(voids)
                SCORED.labels("scored").inc(len(outcomes) - voids)

    async def _outcomes(self, predictions: Iterable[Prediction], reached: dict[str, datetime | None]) -> list[Outcome]:
        closes: dict[tuple[str, datetime], Decimal | None] = {}
        outcomes: list[Outcome] = []
        for one in predictions:
            asked = (one.symbol, one.due)
            if asked not in closes:
                try:
                    async with asyncio.timeout(CLOSE_DEADLINE_SECONDS):
                        # Before the close, never after it: both may be fetched between the two.
                        if one.symbol not in reached:
                            reached[one.symbol] = await self._reached(one.symbol)
                        closes[asked] = await self._close_at(*asked)
                except Exception as error:  # not knowing is no reason to void it: it is asked again
                    log.warning("predictions.close_unknown", symbol=one.symbol, due=str(one.due), exc_info=error)
                    continue
            latest = reached[one.symbol]
            if closes[asked] is not None or (latest is not None and latest - one.due >= self._grace):
                outcomes.append((one.key, closes[asked]))
        return outcomes
