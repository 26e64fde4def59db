"""Asking how well forecasts did: what is remembered, who waits, and what one question costs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from tests.support.market import SetMonotonic

from entasis_engine.analysis import accuracies as module
from entasis_engine.analysis.accuracies import REMEMBERED_SECONDS, SCORED_MAX, TRACKS_MAX, Accuracies
from entasis_engine.analysis.accuracy import Accuracy
from entasis_engine.analysis.records import MemoryPredictions, Prediction, PredictionsUnavailableError, Track

NOON = datetime(2024, 3, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

MADE = Prediction(
    source="binance",
    symbol="BTC-USDT",
    timeframe="1h",
    model="ensemble",
    version="v1",
    as_of=NOON,
    due=NOON + HOUR,
    last_price=Decimal(100),
    prediction=Decimal(101),
    ranges=(),
    band=0.005,
    confidence=0.5,
    sigma=0.01,
)


class Store(MemoryPredictions):
    """Counts what is read of it, and hangs or fails when told."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.at_once = 0
        self.at_once_most = 0
        self.limits: set[int] = set()
        self.going = asyncio.Event()
        self.going.set()
        self.failure: Exception | None = None

    async def track(
        self, source: str, symbol: str, timeframe: str, model: str, since: datetime, until: datetime, limit: int
    ) -> Track:
        self.reads += 1
        self.limits.add(limit)
        self.at_once += 1
        self.at_once_most = max(self.at_once_most, self.at_once)
        try:
            await self.going.wait()
            if self.failure is not None:
                raise self.failure
            return await super().track(source, symbol, timeframe, model, since, until, limit)
        finally:
            self.at_once -= 1

    async def keep(self, *as_ofs: datetime) -> None:
        """Predictions made at these times, with an outcome."""
        made = [replace(MADE, as_of=as_of, due=as_of + HOUR) for as_of in as_ofs]
        await self.record(made)
        await self.score([(one.key, Decimal(102)) for one in made], NOON)


@pytest.fixture
def worker() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def monotonic() -> SetMonotonic:
    return SetMonotonic()


@pytest.fixture
def accuracies(store: Store, worker: ThreadPoolExecutor, monotonic: SetMonotonic) -> Accuracies:
    return Accuracies(store, worker, source="binance", monotonic=monotonic)


async def _of(accuracies: Accuracies, *, symbol: str = "BTC-USDT", days: int = 90, now: datetime = NOON) -> Accuracy:
    async with asyncio.timeout(10):
        return await accuracies.of(symbol, "1h", "ensemble", days=days, now=now)


async def test_the_figures_are_of_the_days_asked_for(accuracies: Accuracies, store: Store) -> None:
    """Both ends of the span count, what lies beyond them does not, and all is read once, whatever the days."""
    await store.keep(*(NOON - number * DAY for number in range(-1, 400)))
    assert [(await _of(accuracies, days=days)).sample_size for days in (1, 2, 90, 365)] == [2, 3, 91, 366]
    assert (await _of(accuracies, days=10_000)).sample_size == 366
    assert (store.reads, store.limits) == (1, {SCORED_MAX})


async def test_what_is_foretold_later_is_not_seen(accuracies: Accuracies, store: Store) -> None:
    """A market that replays the past has no figures of forecasts that were made of what is to come."""
    await store.keep(NOON - HOUR, NOON + 700 * DAY)
    figures = await _of(accuracies, days=365)
    assert (figures.sample_size, figures.last_as_of) == (1, NOON - HOUR)


async def test_a_clock_that_went_back_sees_nothing_of_what_it_saw(accuracies: Accuracies, store: Store) -> None:
    """What is remembered is answered only up to the time that is asked of."""
    await store.keep(NOON - 2 * HOUR, NOON)
    assert (await _of(accuracies, days=2)).sample_size == 2
    assert (await _of(accuracies, days=3, now=NOON - HOUR)).sample_size == 1


async def test_figures_are_remembered_for_a_minute_though_the_market_stands_still(
    accuracies: Accuracies, store: Store, worker: ThreadPoolExecutor, monotonic: SetMonotonic
) -> None:
    """By seconds that pass here: at the end of a replay its clock stands, and outcomes come all the same."""
    await store.keep(NOON - HOUR)
    assert (await _of(accuracies)).sample_size == 1
    await store.keep(NOON)
    monotonic.seconds += REMEMBERED_SECONDS - 1
    assert (await _of(accuracies)).sample_size == 1
    monotonic.seconds += 1
    assert (await _of(accuracies)).sample_size == 2
    assert store.reads == 2


async def test_a_market_that_runs_fast_is_not_read_at_each_question(accuracies: Accuracies, store: Store) -> None:
    """A simulated day a second makes none of it out of date before a minute has passed."""
    for number in range(10):
        await _of(accuracies, now=NOON + number * DAY)
    assert store.reads == 1


async def test_what_is_remembered_waits_for_nobody(accuracies: Accuracies, store: Store) -> None:
    """While a slow read goes on, figures that are there are answered."""
    await store.keep(NOON - HOUR)
    await _of(accuracies)
    store.going.clear()
    slow = asyncio.create_task(_of(accuracies, symbol="ETH-USDT"))
    while store.reads < 2:
        await asyncio.sleep(0)
    assert (await _of(accuracies)).sample_size == 1
    assert not slow.done()
    store.going.set()
    assert (await slow).sample_size == 0


async def test_one_question_at_a_time_is_worked_out(accuracies: Accuracies, store: Store) -> None:
    """However many ask at once, the store has one reader, and the same is read once."""
    symbols = ["BTC-USDT", "ETH-USDT"]
    await asyncio.gather(*(_of(accuracies, symbol=symbol, days=days) for symbol in symbols for days in range(1, 20)))
    assert (store.reads, store.at_once_most) == (2, 1)


async def test_whoever_asks_and_leaves_has_it_read_once(accuracies: Accuracies, store: Store) -> None:
    """A question that is given up is answered all the same, so that the next one finds it."""
    store.going.clear()
    left = asyncio.create_task(_of(accuracies))
    while not store.reads:
        await asyncio.sleep(0)
    left.cancel()
    await asyncio.sleep(0)
    store.going.set()
    await asyncio.wait([left])
    await _of(accuracies)
    assert (left.cancelled(), store.reads) == (True, 1)


async def test_only_so_many_are_remembered(accuracies: Accuracies, store: Store) -> None:
    """The one that was longest not asked for is forgotten first."""
    symbols = [f"C{number}-USDT" for number in range(TRACKS_MAX)]
    for symbol in symbols:
        await _of(accuracies, symbol=symbol)
    await _of(accuracies, symbol=symbols[0])
    await _of(accuracies, symbol="ONE-MORE")
    assert store.reads == TRACKS_MAX + 1
    await _of(accuracies, symbol=symbols[0])
    assert store.reads == TRACKS_MAX + 1
    await _of(accuracies, symbol=symbols[1])
    assert store.reads == TRACKS_MAX + 2


async def test_a_failure_is_told_and_not_remembered(accuracies: Accuracies, store: Store) -> None:
    """Where the store cannot be read the next question reads again."""
    store.failure = PredictionsUnavailableError()
    with pytest.raises(PredictionsUnavailableError):
        await _of(accuracies)
    store.failure = None
    assert (await _of(accuracies)).sample_size == 0


async def test_a_store_that_hangs_is_unavailable(
    accuracies: Accuracies, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read has a deadline, after which the next one has its turn."""
    monkeypatch.setattr(module, "READ_DEADLINE_SECONDS", 0.01)
    store.going.clear()
    asked = asyncio.create_task(_of(accuracies))
    await asyncio.wait([asked], timeout=30)
    store.going.set()
    with pytest.raises(PredictionsUnavailableError, match="too long"):
        await asked
    assert (await _of(accuracies)).sample_size == 0
