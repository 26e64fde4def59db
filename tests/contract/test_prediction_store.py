"""What every store of predictions does, whatever it is made of, and those who write to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs
from tests.support.market import MINUTE, NOON, NoSleep, SetClock

from entasis_engine.analysis.records import (
    BATCH_PREDICTIONS_MAX,
    GRACE,
    KEPT,
    RETRY_SECONDS_MAX,
    SCORE_EVERY_SECONDS,
    MemoryPredictions,
    Outcome,
    PredictedRange,
    Prediction,
    PredictionKey,
    PredictionStore,
    PredictionsUnavailableError,
    Recorder,
    Scored,
    Scorer,
    Track,
)
from entasis_engine.analysis.sql import PAGE_ROWS, RAW_PAGE_ROWS, SqlPredictions
from entasis_engine.storage.database import READERS_MAX, open_database
from entasis_engine.storage.writes import finished

HOUR = timedelta(hours=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EVER = NOON + timedelta(days=10_000)
END = datetime(9999, 12, 31, tzinfo=UTC)
HORIZONS = {"1h": HOUR, "4h": 4 * HOUR, "1d": 24 * HOUR}


def made(as_of: datetime = NOON, *, timeframe: str = "1h", **changed: Any) -> Prediction:
    """A prediction with some figures."""
    figures: dict[str, Any] = {
        "source": "binance",
        "symbol": "BTC-USDT",
        "timeframe": timeframe,
        "model": "ensemble",
        "version": "v1",
        "as_of": as_of,
        "due": as_of + HORIZONS[timeframe],
        "last_price": Decimal("65000.00"),
        "prediction": Decimal("65010.50"),
        "ranges": (
            PredictedRange(0.5, Decimal("64900"), Decimal("65100")),
            PredictedRange(0.95, Decimal("64000"), Decimal("66000.01")),
        ),
        "band": 0.005,
        "confidence": 0.8123456789012345,
        "sigma": 0.1 + 0.2,
    }
    return Prediction(**(figures | changed))


@asynccontextmanager
async def _sqlite(folder: Path) -> AsyncIterator[SqlPredictions]:
    async with open_database(f"sqlite+aiosqlite:///{folder}/market.db") as database:
        yield SqlPredictions(database)


@asynccontextmanager
async def _memory(_folder: Path) -> AsyncIterator[MemoryPredictions]:
    yield MemoryPredictions()


STORES: dict[str, Callable[[Path], AbstractAsyncContextManager[Any]]] = {"sqlite": _sqlite, "memory": _memory}


@pytest.fixture(autouse=True)
async def _threads_end() -> AsyncIterator[None]:
    """Whatever happened to a store, none of its threads outlives it."""
    yield
    async with asyncio.timeout(30):
        while any("_connection_worker_thread" in thread.name for thread in threading.enumerate()):
            await asyncio.sleep(0)


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[PredictionStore]:
    async with STORES[request.param](tmp_path) as opened:
        yield opened


async def _due(store: PredictionStore, now: datetime = EVER, limit: int = 1000) -> list[Prediction]:
    return await store.due("binance", now, limit)


async def _scored(
    store: PredictionStore, since: datetime = EPOCH, until: datetime = END, limit: int = 1000
) -> list[Scored]:
    return await store.scored("binance", "BTC-USDT", None, None, since, until, limit)


HOURS = [made(NOON + number * HOUR) for number in range(6)]
LATER = NOON + 30 * HOUR
PRICE = Decimal("65020.25")


# Recording.


async def test_what_is_recorded_is_due_as_it_was(store: PredictionStore) -> None:
    """Every field of a prediction comes back, in order of when it is due, whatever the order it was recorded in."""
    await store.record(list(reversed(HOURS)))
    assert await _due(store) == HOURS


async def test_nothing_recorded_is_nothing_found(store: PredictionStore) -> None:
    """An empty store is empty, and recording, scoring and purging nothing does nothing."""
    await store.record([])
    await store.score([], NOON)
    assert await _due(store) == []
    assert await _scored(store) == []
    assert await store.purge("binance", EVER, 10) == 0


async def test_a_prediction_once_recorded_never_changes(store: PredictionStore) -> None:
    """A second one of the same key is neither added nor put in its place, in the same batch or a later one."""
    await store.record([HOURS[0], replace(HOURS[0], prediction=Decimal(1))])
    await store.record([replace(HOURS[0], prediction=Decimal(2)), HOURS[1]])
    assert await _due(store) == HOURS[:2]


async def test_a_scored_prediction_recorded_again_stays_scored(store: PredictionStore) -> None:
    """Recording again what has its outcome makes it due no more."""
    await store.record([HOURS[0]])
    await store.score([(HOURS[0].key, PRICE)], LATER)
    await store.record([HOURS[0]])
    assert await _due(store) == []
    assert await _scored(store) == [Scored(HOURS[0], PRICE, LATER)]


@pytest.mark.parametrize(
    "changed",
    [
        {"symbol": "ETH-USDT"},
        {"timeframe": "4h"},
        {"model": "lstm"},
        {"version": "v2"},
        {"as_of": NOON + MINUTE},
    ],
)
async def test_predictions_are_kept_apart(store: PredictionStore, changed: dict[str, Any]) -> None:
    """Symbol, horizon, model, version and time each tell predictions apart; two versions of one time both stay."""
    other = replace(HOURS[0], **changed)
    await store.record([HOURS[0], other])
    assert {one.key for one in await _due(store)} == {HOURS[0].key, other.key}
    await store.score([(other.key, PRICE)], LATER)
    assert await _due(store) == HOURS[:1]


async def test_recording_at_the_same_time_doubles_nothing(store: PredictionStore) -> None:
    """However many record the same predictions at once, each is there once."""
    await asyncio.gather(*(store.record(HOURS) for _ in range(10)))
    assert await _due(store) == HOURS


# What is due.


async def test_a_prediction_is_due_when_its_horizon_has_passed(store: PredictionStore) -> None:
    """At its due time it is, a millisecond earlier it is not, however long its horizon."""
    day = made(NOON - 24 * HOUR, timeframe="1d")  # due at noon
    await store.record([HOURS[0], day])
    assert await _due(store, NOON - timedelta(milliseconds=1)) == []
    assert await _due(store, NOON) == [day]
    assert await _due(store, NOON + HOUR) == [day, HOURS[0]]


async def test_what_is_due_is_of_one_source(store: PredictionStore) -> None:
    """Predictions of a simulated market are never due with those of a real one."""
    simulated = replace(HOURS[0], source="simulated")
    await store.record([HOURS[0], simulated])
    assert await _due(store) == HOURS[:1]
    assert await store.due("simulated", EVER, 10) == [simulated]


async def test_what_is_due_comes_in_pages(store: PredictionStore) -> None:
    """Page after page gives each prediction once, in order, also where many are due at once and when scored between."""
    together = [
        replace(one, model=model, version=version)
        for one in HOURS[:3]
        for model in ("ensemble", "lstm")
        for version in ("v1", "v2")
    ]
    await store.record(list(reversed(together)))
    seen: list[Prediction] = []
    while page := await store.due("binance", EVER, 5, after=seen[-1] if seen else None):
        assert len(page) <= 5
        seen += page
        await store.score([(page[0].key, PRICE)], LATER)
    assert seen == together
    assert len(await _due(store)) == 12 - 3


# Outcomes.


async def test_scored_are_newest_first_and_limited(store: PredictionStore) -> None:
    """The newest come first, those before `since` or after `until` not at all, and at most as many as asked for."""
    await store.record(HOURS)
    await store.score([(one.key, PRICE) for one in HOURS[:5]], LATER)
    expected = [Scored(one, PRICE, LATER) for one in reversed(HOURS[:5])]
    assert await _scored(store) == expected
    assert await _scored(store, since=NOON + 2 * HOUR) == expected[:3]
    assert await _scored(store, until=NOON + 2 * HOUR) == expected[2:]
    assert await _scored(store, until=NOON + 2 * HOUR - timedelta(milliseconds=1)) == expected[3:]
    assert await _scored(store, limit=2) == expected[:2]


async def test_a_track_is_what_was_scored_as_columns(store: PredictionStore) -> None:
    """The same figures as whole predictions have, of one model and horizon, over the span and number asked for."""
    others = [
        replace(HOURS[1], source="simulated"),
        replace(HOURS[1], symbol="ETH-USDT"),
        replace(HOURS[1], timeframe="4h"),
        replace(HOURS[1], model="lstm"),
    ]
    swapped = replace(HOURS[2], version="v2", ranges=(PredictedRange(0.8, Decimal("64100.1"), Decimal(66000)),))
    every = [*HOURS, *others, swapped]
    await store.record(every)
    await store.score([(one.key, PRICE) for one in every if one is not HOURS[4]] + [(HOURS[4].key, None)], LATER)

    async def track(since: datetime = EPOCH, until: datetime = END, limit: int = 100) -> Track:
        return await store.track("binance", "BTC-USDT", "1h", "ensemble", since, until, limit)

    def of(*predictions: Prediction) -> list[Any]:
        return _listed(Track.of(Scored(one, PRICE, LATER) for one in predictions))

    assert _listed(await track()) == of(*HOURS[:3], swapped, HOURS[3], HOURS[5])
    assert _listed(await track(HOURS[1].as_of, HOURS[3].as_of)) == of(*HOURS[1:3], swapped, HOURS[3])
    assert _listed(await track(limit=2)) == of(HOURS[3], HOURS[5])
    assert _listed(await track(until=EPOCH)) == of()


def _listed(track: Track) -> list[Any]:
    columns = [getattr(track, one.name) for one in fields(track) if one.name != "ranges"]
    ranges = [(one.level, *(column.tolist() for column in one[1:])) for one in track.ranges]
    return [*(column.tolist() for column in columns), ranges]


async def test_scored_are_of_the_horizon_and_model_asked_for(store: PredictionStore) -> None:
    """One horizon, one model, both or all; never of another source or symbol."""
    all_four = [made(timeframe=timeframe, model=model) for timeframe in ("1h", "4h") for model in ("ensemble", "lstm")]
    others = [made(source="simulated"), made(symbol="ETH-USDT")]
    await store.record([*all_four, *others])
    await store.score([(one.key, PRICE) for one in (*all_four, *others)], LATER)

    async def asked(timeframe: str | None, model: str | None) -> set[PredictionKey]:
        found = await store.scored("binance", "BTC-USDT", timeframe, model, EPOCH, END, 10)
        return {one.prediction.key for one in found}

    keys = [one.key for one in all_four]
    assert await asked(None, None) == set(keys)
    assert await asked("1h", None) == set(keys[:2])
    assert await asked(None, "lstm") == {keys[1], keys[3]}
    assert await asked("4h", "ensemble") == {keys[2]}
    assert await asked("1d", None) == set()


async def test_a_prediction_is_scored_once(store: PredictionStore) -> None:
    """A second outcome, in the same batch or later, and void or not, changes nothing."""
    await store.record(HOURS[:1])
    key = HOURS[0].key
    await store.score([(key, PRICE), (key, Decimal(1))], LATER)
    await store.score([(key, Decimal(2))], LATER + HOUR)
    await store.score([(key, None)], LATER + HOUR)
    assert await _scored(store) == [Scored(HOURS[0], PRICE, LATER)]


async def test_a_void_prediction_is_neither_due_nor_counted(store: PredictionStore) -> None:
    """One whose candle never came is done with, even if a close is told later."""
    await store.record(HOURS[:2])
    await store.score([(HOURS[0].key, None)], LATER)
    await store.score([(HOURS[0].key, PRICE)], LATER)
    assert await _due(store) == HOURS[1:2]
    assert await _scored(store) == []


async def test_outcomes_of_unknown_predictions_are_passed_over(store: PredictionStore) -> None:
    """An outcome of what was never recorded, or was forgotten, is nothing; others of the batch are kept."""
    await store.record(HOURS[:1])
    await store.score([(HOURS[1].key, PRICE), (HOURS[0].key, PRICE)], LATER)
    assert [one.prediction for one in await _scored(store)] == HOURS[:1]
    await store.record(HOURS[1:2])
    assert await _due(store) == HOURS[1:2]


async def test_old_predictions_are_forgotten_the_oldest_first(store: PredictionStore) -> None:
    """Those due before a time go, scored, void or neither, at most as many as told; what is due at that time stays."""
    await store.record(HOURS)
    await store.score([(HOURS[0].key, PRICE), (HOURS[1].key, None), (HOURS[5].key, PRICE)], LATER)
    before = HOURS[4].due
    assert await store.purge("binance", before, 3) == 3
    assert [one.prediction for one in await _scored(store)] == [HOURS[5]]
    assert await _due(store) == HOURS[3:5]
    assert await store.purge("binance", before, 3) == 1
    assert await store.purge("binance", before, 3) == 0
    assert await _due(store) == HOURS[4:5]
    await store.record(HOURS[:1])
    assert await _due(store) == [HOURS[0], HOURS[4]]


async def test_what_is_forgotten_is_of_one_source(store: PredictionStore) -> None:
    """However far a simulated market's clock has run, those of a real one stay, and are not in its way."""
    simulated = replace(HOURS[1], source="simulated")
    await store.record([*HOURS, simulated])
    assert await store.purge("simulated", EVER, 1) == 1
    assert await store.purge("simulated", EVER, 1) == 0
    assert await _due(store) == HOURS


async def test_what_was_due_first_is_forgotten_first(store: PredictionStore) -> None:
    """A day's forecast outlives an hour's that was made later but due earlier."""
    day = made(NOON, timeframe="1d", symbol="AAA-USDT")
    hour = made(NOON + HOUR)
    await store.record([day, hour])
    assert await store.purge("binance", EVER, 1) == 1
    assert await _due(store) == [day]


# Values.


@pytest.mark.parametrize(
    "number", ["1E-18", "1234567890123456789012345678901234567890", "0." + "1234567890" * 4, "1E+30", "65432.10", "0.1"]
)
async def test_decimals_are_exact(store: PredictionStore, number: str) -> None:
    """Every digit of a price comes back, however small, large or long it is."""
    price = Decimal(number)
    one = made(last_price=price, prediction=price, ranges=(PredictedRange(0.8, price, price),))
    await store.record([one])
    await store.score([(one.key, price)], LATER)
    (found,) = await _scored(store)
    (only,) = found.prediction.ranges
    assert [found.close, found.prediction.last_price, found.prediction.prediction] == [price] * 3
    assert only == PredictedRange(0.8, price, price)


@pytest.mark.parametrize("number", [0.1 + 0.2, 1 / 3, 5e-324, 1.0, 0.0])
async def test_floats_keep_every_bit(store: PredictionStore, number: float) -> None:
    """Estimates and levels come back as they were."""
    one = made(confidence=number, sigma=number, band=number, ranges=(PredictedRange(number, PRICE, PRICE),))
    await store.record([one])
    (found,) = await _due(store)
    assert [found.confidence, found.sigma, found.band, found.ranges[0].level] == [number] * 4


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2024, 3, 21, 9, 30, 0, 123_000, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 30, 23, 59, 59, 999_000, tzinfo=UTC),
    ],
)
async def test_times_keep_their_millisecond_and_zone(store: PredictionStore, moment: datetime) -> None:
    """Times come back to the millisecond, aware and in UTC."""
    one = made(moment, due=moment + MINUTE)
    await store.record([one])
    await store.score([(one.key, PRICE)], moment)
    (found,) = await _scored(store)
    for told, expected in (
        (found.prediction.as_of, moment),
        (found.prediction.due, moment + MINUTE),
        (found.score_time, moment),
    ):
        assert told == expected
        assert told.utcoffset() == timedelta(0)


async def test_a_prediction_may_have_no_ranges(store: PredictionStore) -> None:
    """No ranges come back as none."""
    await store.record([made(ranges=())])
    assert await _due(store) == [made(ranges=())]


@pytest.mark.parametrize(
    "changed",
    [
        {"as_of": datetime(2024, 3, 21, 12)},  # noqa: DTZ001 - naive is what is refused
        {"due": NOON},
        {"due": datetime(2024, 3, 21, 22, tzinfo=timezone(HOUR))},
        {"due": NOON + timedelta(microseconds=1)},
        {"prediction": Decimal("NaN")},
        {"last_price": Decimal(0)},
        {"ranges": (PredictedRange(0.5, Decimal(1), Decimal("Infinity")),)},
        {"ranges": (PredictedRange(1.5, Decimal(1), Decimal(2)),)},
        {"confidence": float("nan")},
        {"confidence": 1.01},
        {"band": float("inf")},
        {"sigma": -0.1},
    ],
)
def test_what_is_no_prediction_is_refused(changed: dict[str, Any]) -> None:
    """Numbers that are not finite, probabilities that are none and times without a zone are never kept."""
    with pytest.raises(ValueError, match=r"must be|what comes after"):
        made(**changed)


# Giving up.


async def test_a_write_once_begun_is_finished(store: PredictionStore) -> None:
    """Whoever gives up a write stops, and what was to be written is there all the same; the next one works."""
    outcomes: list[Outcome] = [(one.key, PRICE) for one in HOURS]
    for turns in range(1, 9):
        await _given_up(store.record(HOURS), turns)
        assert await _due(store) == HOURS
        await _given_up(store.score(outcomes, LATER), turns)
        assert len(await _scored(store)) == 6
        await _given_up(store.purge("binance", EVER, 100), turns)
        assert await _scored(store) == []


async def _given_up(writing: Coroutine[Any, Any, Any], turns: int) -> None:
    task = asyncio.create_task(writing)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(10):
        await asyncio.wait([task])


async def test_what_is_given_up_twice_is_finished_all_the_same() -> None:
    """However often it is cancelled, nobody goes on before the work is done; and then it is cancelled."""
    going, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await going.wait()
        done.set()

    task = asyncio.create_task(finished(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done()
    going.set()
    async with asyncio.timeout(30):
        await asyncio.wait([task])
    assert (done.is_set(), task.cancelled()) == (True, True)


async def test_a_reader_that_gives_up_leaves_the_store_usable(store: PredictionStore) -> None:
    """Reads that are cancelled midway take no connection with them."""
    await store.record(HOURS)
    await store.score([(one.key, PRICE) for one in HOURS], LATER)
    for turns in range(3 * READERS_MAX):
        reading = asyncio.create_task(_scored(store))
        for _ in range(turns + 1):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
    async with asyncio.timeout(10):
        assert len(await _scored(store)) == 6


# What only a file does.


async def test_a_file_keeps_predictions_and_outcomes(tmp_path: Path) -> None:
    """Closed and opened again, the file has what was recorded, scored and void."""
    async with _sqlite(tmp_path) as store:
        await store.record(HOURS)
        await store.score([(HOURS[0].key, PRICE), (HOURS[1].key, None)], LATER)
    async with _sqlite(tmp_path) as store:
        await store.record(HOURS)
        assert await _due(store) == HOURS[2:]
        assert await _scored(store) == [Scored(HOURS[0], PRICE, LATER)]


async def test_a_batch_is_wholly_there_or_not_at_all(tmp_path: Path) -> None:
    """Where one prediction of a batch cannot be written none is, and the store goes on."""
    async with _sqlite(tmp_path) as store:
        unwritable = made(LATER)
        object.__setattr__(unwritable, "band", None)
        with pytest.raises(IntegrityError):
            await store.record([*HOURS, unwritable])
        assert await _due(store) == []
        await store.record(HOURS)
        assert await _due(store) == HOURS


async def test_many_scored_are_read_whole(tmp_path: Path) -> None:
    """More than are decoded at a time come back all, in order."""
    async with _sqlite(tmp_path) as store:
        many = [made(NOON + number * HOUR) for number in range(max(3 * PAGE_ROWS, 2 * RAW_PAGE_ROWS) + 1)]
        await store.record(many)
        await store.score([(one.key, PRICE) for one in many], LATER)
        assert [one.prediction for one in await _scored(store, limit=10_000)] == list(reversed(many))
        track = await store.track("binance", "BTC-USDT", "1h", "ensemble", EPOCH, END, 10_000)
        assert _listed(track) == _listed(Track.of(Scored(one, PRICE, LATER) for one in many))


async def test_what_cannot_be_read_is_unavailable(tmp_path: Path) -> None:
    """Whatever is asked of a database that fails, the error is of predictions, and not of its library."""
    async with _sqlite(tmp_path) as store:
        async with store._database.writer.begin() as connection:
            await connection.execute(text("DROP TABLE predictions"))
        for reading in (
            _due(store),
            _scored(store),
            store.track("binance", "BTC-USDT", "1h", "ensemble", EPOCH, END, 9),
        ):
            with pytest.raises(PredictionsUnavailableError):
                await reading


async def test_whoever_stops_a_write_stops_though_it_fails(tmp_path: Path) -> None:
    """A write that is given up ends as cancelled even where it failed, so that a shutdown goes on."""
    async with _sqlite(tmp_path) as store:
        unwritable = made(LATER)
        object.__setattr__(unwritable, "band", None)
        recording = asyncio.create_task(store.record([unwritable]))
        await asyncio.sleep(0)
        recording.cancel()
        await asyncio.wait([recording])
        assert recording.cancelled()
        await store.record(HOURS)
        assert await _due(store) == HOURS


# Recording in the background.


class Stubborn(MemoryPredictions):
    """A store that can be told to fail or to hang."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[Exception] = []
        """Raised one by one by `record` and `score`."""
        self.batches: list[list[Prediction]] = []
        self.going = asyncio.Event()
        self.going.set()
        self.begun = asyncio.Event()

    async def record(self, predictions: Sequence[Prediction]) -> None:
        self.batches.append(list(predictions))
        self.begun.set()
        await self.going.wait()
        if self.failures:
            raise self.failures.pop(0)
        await super().record(predictions)

    async def score(self, outcomes: Sequence[Outcome], at: datetime) -> None:
        if self.failures:
            raise self.failures.pop(0)
        await super().score(outcomes, at)


@asynccontextmanager
async def _running(forever: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(forever)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0)


def _dropped() -> float:
    return REGISTRY.get_sample_value("entasis_predictions_dropped_total") or 0


async def test_what_is_handed_over_is_written(store: PredictionStore) -> None:
    """Predictions that a recorder was given arrive in its store."""
    recorder = Recorder(store)
    async with _running(recorder.write_forever()), asyncio.timeout(30):
        for one in HOURS:
            recorder.record(one)
        while await _due(store) != HOURS:
            await asyncio.sleep(0)


async def test_a_prediction_that_is_served_again_is_written_once() -> None:
    """Handed over while it waits, while it is being written and afterwards, it is in one batch."""
    store = Stubborn()
    store.going.clear()
    recorder = Recorder(store)
    async with _running(recorder.write_forever()):
        recorder.record(HOURS[0])
        recorder.record(HOURS[0])
        await _until(store.begun.is_set)
        recorder.record(HOURS[0])
        store.going.set()
        recorder.record(HOURS[1])
        await _until(lambda: len(store.batches) == 2)
        recorder.record(HOURS[0])
    await recorder.flush()
    assert store.batches == [HOURS[:1], HOURS[1:2]]


async def test_batches_are_bounded() -> None:
    """More predictions than a batch holds are written in several."""
    store, many = Stubborn(), [made(NOON + number * HOUR) for number in range(BATCH_PREDICTIONS_MAX + 1)]
    recorder = Recorder(store)
    for one in many:
        recorder.record(one)
    await recorder.flush()
    assert store.batches == [many[:-1], many[-1:]]


async def test_a_full_queue_drops_the_oldest_that_waits_and_counts_it() -> None:
    """With a store that hangs, the newest stay; one that was dropped may be handed over again."""
    store = Stubborn()
    store.going.clear()
    recorder = Recorder(store, queue_max=3)
    before = _dropped()
    async with _running(recorder.write_forever()):
        recorder.record(HOURS[0])
        await _until(store.begun.is_set)
        for one in HOURS[1:]:
            recorder.record(one)
        assert _dropped() - before == 2
        recorder.record(HOURS[1])
        assert _dropped() - before == 3
        store.going.set()
        await _until(lambda: len(store.batches) == 2)
    await recorder.flush()
    assert store.batches == [HOURS[:1], [HOURS[4], HOURS[5], HOURS[1]]]


async def test_a_failed_write_is_tried_again_after_ever_longer_waits() -> None:
    """Whatever the store raises, the same batch is written again, and those that came meanwhile after it."""
    store, sleep = Stubborn(), NoSleep()
    store.failures = [OSError("the disk is full")] * 8
    recorder = Recorder(store, sleep=sleep)
    with capture_logs() as logs:
        async with _running(recorder.write_forever()):
            recorder.record(HOURS[0])
            await _until(store.begun.is_set)
            recorder.record(HOURS[1])
            await _until(lambda: len(store.batches) == 10)
    assert sleep.waits == [1, 2, 4, 8, 16, 32, RETRY_SECONDS_MAX, RETRY_SECONDS_MAX]
    assert store.batches == [HOURS[:1]] * 9 + [HOURS[1:2]]
    assert await _due(store) == HOURS[:2]
    assert [line["event"] for line in logs] == ["predictions.write_failed"] * 8


async def test_flushing_writes_what_was_being_written() -> None:
    """A writer that is stopped between its tries loses nothing: the flush at the end writes it."""
    store = Stubborn()
    store.failures = [OSError("the disk is full")]
    stopped = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        stopped.set()
        await asyncio.Event().wait()

    recorder = Recorder(store, sleep=sleep)
    async with _running(recorder.write_forever()):
        recorder.record(HOURS[0])
        await _until(stopped.is_set)
        recorder.record(HOURS[1])
    await recorder.flush()
    assert await _due(store) == HOURS[:2]
    store.failures = [OSError("the disk is full")]
    recorder.record(HOURS[2])
    with pytest.raises(OSError, match="full"):
        await recorder.flush()


# Scoring in the background.


class Closes:
    """Closes by symbol and time, or what to raise."""

    def __init__(self, *known: Prediction) -> None:
        self.known: dict[tuple[str, datetime], Decimal | Exception] = {(one.symbol, one.due): PRICE for one in known}
        self.asked: list[tuple[str, datetime]] = []

    async def __call__(self, symbol: str, moment: datetime) -> Decimal | None:
        self.asked.append((symbol, moment))
        close = self.known.get((symbol, moment))
        if isinstance(close, Exception):
            raise close
        return close


class Reached:
    """Up to when candles are known, of every symbol; or what to raise."""

    def __init__(self, latest: datetime | Exception | None = EVER) -> None:
        self.latest = latest

    async def __call__(self, _symbol: str) -> datetime | None:
        if isinstance(self.latest, Exception):
            raise self.latest
        return self.latest


async def test_a_prediction_is_scored_with_the_close_at_its_due_time(store: PredictionStore) -> None:
    """What is due gets the close of its own symbol and hour and the time of scoring; what is not yet due waits."""
    ether = made(symbol="ETH-USDT")
    await store.record([*HOURS[:3], ether])
    closes, clock = Closes(*HOURS), SetClock(HOURS[1].due)
    closes.known["ETH-USDT", ether.due] = Decimal(3000)
    await Scorer(store, "binance", closes, Reached(), clock=clock).score()
    assert await _scored(store) == [Scored(one, PRICE, clock.now) for one in (HOURS[1], HOURS[0])]
    assert await store.scored("binance", "ETH-USDT", None, None, EPOCH, END, 9) == [
        Scored(ether, Decimal(3000), clock.now)
    ]
    assert await _due(store) == HOURS[2:3]


async def test_a_close_is_looked_up_once_for_all_who_wait_for_it() -> None:
    """Two models of one hour ask once."""
    store, closes = MemoryPredictions(), Closes(HOURS[0])
    await store.record([HOURS[0], replace(HOURS[0], model="lstm")])
    await Scorer(store, "binance", closes, Reached(), clock=SetClock(LATER)).score()
    assert closes.asked == [("BTC-USDT", HOURS[0].due)]
    assert len(await _scored(store)) == 2


async def test_without_a_candle_it_is_void_once_later_ones_are_known_and_not_before(store: PredictionStore) -> None:
    """Until candles have come further than the grace it may still come, however late it is; then it never counts."""
    await store.record(HOURS[:1])
    closes, reached, clock = Closes(), Reached(None), SetClock(HOURS[0].due + 100 * GRACE)
    scorer = Scorer(store, "binance", closes, reached, clock=clock)
    for latest in (None, HOURS[0].as_of, HOURS[0].due + GRACE - timedelta(milliseconds=1)):
        reached.latest = latest
        await scorer.score()
        assert await _due(store) == HOURS[:1]
    reached.latest = HOURS[0].due + GRACE
    await scorer.score()
    closes.known["BTC-USDT", HOURS[0].due] = PRICE
    await scorer.score()
    assert (await _due(store), await _scored(store)) == ([], [])


async def test_what_came_due_in_a_pause_is_scored_when_its_candles_are_fetched(store: PredictionStore) -> None:
    """After days without a run, the first pass, before anything is fetched, voids nothing."""
    await store.record(HOURS)
    closes, clock = Closes(), SetClock(HOURS[-1].due + 5 * GRACE)
    reached = Reached(HOURS[0].as_of)
    scorer = Scorer(store, "binance", closes, reached, clock=clock)
    await scorer.score()
    assert await _due(store) == HOURS
    closes.known, reached.latest = Closes(*HOURS).known, clock.now
    await scorer.score()
    assert [one.prediction for one in await _scored(store)] == HOURS[::-1]


async def test_what_is_fetched_between_two_looks_voids_nothing() -> None:
    """Candles that are fetched just after a close was missing do not make it missing for ever."""
    store, reached = MemoryPredictions(), Reached(None)
    await store.record(HOURS[:1])

    async def close_at(_symbol: str, _moment: datetime) -> None:
        reached.latest = EVER

    await Scorer(store, "binance", close_at, reached, clock=SetClock(EVER)).score()
    assert await _due(store) == HOURS[:1]


async def test_not_knowing_how_far_candles_have_come_voids_nothing() -> None:
    """A failure to tell is no outcome, and is told of."""
    store = MemoryPredictions()
    await store.record(HOURS[:1])
    with capture_logs() as logs:
        await Scorer(store, "binance", Closes(), Reached(OSError("the disk")), clock=SetClock(EVER)).score()
    assert [line["event"] for line in logs] == ["predictions.close_unknown"]
    assert await _due(store) == HOURS[:1]


async def test_a_candle_that_comes_late_counts() -> None:
    """One that was not there at the first try is taken at a later one, even beyond the grace."""
    store, closes, clock = MemoryPredictions(), Closes(), SetClock(HOURS[0].due)
    reached = Reached(HOURS[0].as_of)
    await store.record(HOURS[:1])
    scorer = Scorer(store, "binance", closes, reached, clock=clock)
    await scorer.score()
    closes.known["BTC-USDT", HOURS[0].due] = PRICE
    clock.now += 2 * GRACE
    reached.latest = clock.now
    await scorer.score()
    assert await _scored(store) == [Scored(HOURS[0], PRICE, clock.now)]


async def test_a_close_that_cannot_be_read_voids_nothing_and_stops_nobody() -> None:
    """Not knowing is no outcome, however late; the others are scored."""
    store, closes = MemoryPredictions(), Closes(HOURS[1])
    closes.known["BTC-USDT", HOURS[0].due] = OSError("the disk")
    await store.record(HOURS[:2])
    with capture_logs() as logs:
        await Scorer(store, "binance", closes, Reached(), clock=SetClock(LATER + 2 * GRACE)).score()
    assert [line["event"] for line in logs] == ["predictions.close_unknown"]
    assert [one.prediction for one in await _scored(store)] == [HOURS[1]]
    assert await _due(store) == HOURS[:1]


async def test_those_without_a_candle_keep_nobody_behind_them_waiting() -> None:
    """However many pages wait for candles that are missing, those that are due after them are scored."""
    store = MemoryPredictions()
    many = [made(NOON + number * MINUTE) for number in range(2 * BATCH_PREDICTIONS_MAX + 1)]
    await store.record(many)
    await Scorer(store, "binance", Closes(many[-1]), Reached(many[-1].due), clock=SetClock(many[-1].due)).score()
    assert [one.prediction for one in await _scored(store)] == many[-1:]
    assert len(await _due(store)) == 2 * BATCH_PREDICTIONS_MAX


async def test_scoring_goes_on_every_minute_whatever_is_raised() -> None:
    """It begins at once, is tried again a minute after a failure, and forgets what is too old to be looked at."""
    store, closes, clock, sleep = Stubborn(), Closes(*HOURS), SetClock(LATER), NoSleep()
    old = made(LATER - KEPT - 2 * HOUR)
    await store.record([old, *HOURS])
    await store.score([(old.key, PRICE)], LATER)
    store.failures = [OSError("the disk is full")]
    with capture_logs() as logs:
        async with _running(Scorer(store, "binance", closes, Reached(), clock=clock, sleep=sleep).score_forever()):
            await _until(lambda: len(sleep.waits) == 2)
    assert set(sleep.waits) == {SCORE_EVERY_SECONDS}
    assert [line["event"] for line in logs] == ["predictions.score_failed"]
    assert [one.prediction for one in await _scored(store)] == list(reversed(HOURS))
