"""The analysis in operation: the models in use, and the loops that train them, follow the market and keep the score."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import structlog

from entasis.analysis.v1 import analysis_pb2 as pb
from entasis_engine.analysis.accuracies import Accuracies
from entasis_engine.analysis.analyst import Analyst
from entasis_engine.analysis.forecasting import TIMEFRAMES, Trained
from entasis_engine.analysis.histories import Histories
from entasis_engine.analysis.portfolio import PortfolioAnalyst
from entasis_engine.analysis.records import Recorder, Scorer
from entasis_engine.analysis.registry import Loaded, Registry
from entasis_engine.analysis.series import Series
from entasis_engine.analysis.service import AnalysisService
from entasis_engine.analysis.shelf import InUse, Shelf
from entasis_engine.analysis.sql import SqlPredictions
from entasis_engine.analysis.training import Trainer, TrainingState, train_forever
from entasis_engine.errors import EntasisError
from entasis_engine.exchanges.feed import Interval
from entasis_engine.market.keeper import CandleKeeper
from entasis_engine.market.operation import Market
from entasis_engine.portfolio.store import LedgerStore
from entasis_engine.protobuf import timestamp
from entasis_engine.settings import Settings
from entasis_engine.storage.database import Database
from entasis_engine.times import Clock, Monotonic

log = structlog.get_logger()

FOLLOW_SECONDS = 1.0
"""How long after a candle has closed, at most, answers are made anew by themselves."""
FOLLOW_RETRY_SECONDS_MAX = 60.0
HISTORY_SECONDS_MAX = 600.0
RETRY_AFTER_SECONDS_MAX = 3600


@dataclass(frozen=True)
class Analysis:
    """The analysis, open for questions."""

    service: AnalysisService


@asynccontextmanager
async def open_analysis(
    settings: Settings, market: Market, ledger: LedgerStore, database: Database, *, clock: Clock, monotonic: Monotonic
) -> AsyncIterator[Analysis]:
    """Serve forecasts and risk. At the end, what was forecast is kept, and no training goes on."""
    feed, keeper, instruments = market.feed, market.keeper, market.hub.instruments
    symbols = [one.symbol for one in instruments]
    models = _Models(settings, monotonic)
    shelf = Shelf(models.absence)
    histories = Histories(keeper, market_now=feed.now, span=timedelta(days=settings.hourly_history_days))
    store = SqlPredictions(database)
    recorder = Recorder(store)
    closed = asyncio.Event()
    """A candle has closed, by which forecasts may be scored."""
    scorer = Scorer(
        store,
        feed.source,
        _close_of(keeper),
        _reached(histories),
        clock=feed.now,
        sleep=lambda seconds: _pause(seconds, closed),
    )
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="analysis")
    figures = ThreadPoolExecutor(max_workers=1, thread_name_prefix="accuracy")  # a year takes long; forecasts go on
    analyst = Analyst(
        instruments,
        histories,
        shelf,
        worker,
        source=feed.source,
        market_now=feed.now,
        is_filled=lambda symbol: keeper.is_history_tried(symbol, Interval.HOUR),
        on_prediction=recorder.record,
    )
    service = AnalysisService(
        analyst,
        PortfolioAnalyst(analyst, ledger, market.hub.last_price, listed=symbols, market_now=feed.now),
        Accuracies(store, figures, source=feed.source, monotonic=monotonic),
        shelf,
        instruments,
        lambda: models.training(clock()),
        market_now=feed.now,
    )
    try:
        async with asyncio.TaskGroup() as loops:
            tasks = [
                loops.create_task(
                    train_forever(
                        models.trainer,
                        Registry(settings.models_path, Trained.from_files),
                        lambda: _to_learn_from(histories, keeper, symbols),
                        source=feed.source,
                        state=models.state,
                        on_loaded=lambda loaded: shelf.put(_in_use(loaded)),
                        on_looked=models.looked,
                        retrain_after=timedelta(hours=settings.retrain_hours),
                        poll_seconds=settings.models_poll_seconds,
                        clock=clock,
                    ),
                    name="analysis.train",
                ),
                *(
                    loops.create_task(
                        _follow_forever(analyst, keeper, shelf, symbol, closed), name=f"analysis.follow.{symbol}"
                    )
                    for symbol in symbols
                ),
                loops.create_task(recorder.write_forever(), name="analysis.record"),
                loops.create_task(_score_forever(scorer, keeper, symbols), name="analysis.score"),
            ]
            yield Analysis(service)
            for task in tasks:
                task.cancel()
    finally:
        try:
            await recorder.flush()
        except Exception as error:  # a disk that is full must not hide why everything ends
            log.error("predictions.lost", exc_info=error)
        for pool in (worker, figures):
            await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)


def _in_use(loaded: Loaded[Trained]) -> Mapping[str, InUse]:
    """Each timeframe's models under the version that they were trained for, since later ones may have taken them over:
    a forecast is then made, kept and scored once.
    """
    return {
        timeframe: InUse(loaded.info.timeframes[timeframe].trained_in, one) for timeframe, one in loaded.trained.items()
    }


class _Models:
    """What there is to say of models that are not there."""

    def __init__(self, settings: Settings, monotonic: Monotonic) -> None:
        self.state = TrainingState(list(TIMEFRAMES), monotonic)
        self.trainer = (
            Trainer(settings.models_path, deadline_seconds=settings.training_seconds_max)
            if settings.training == "auto"
            else None
        )
        self._loading = True

    def looked(self) -> None:
        """The models that were there at the start are in use, if there were any."""
        self._loading = False

    def absence(self, timeframe: str, symbol: str) -> EntasisError:
        """Why there is no model, and when to ask again."""
        if self._loading:
            return EntasisError("MODEL_LOADING", timeframe=timeframe)
        if self.trainer is None:
            return EntasisError("MODEL_MISSING", timeframe=timeframe)
        if (short := self.state.short) is not None and not self.state.training:
            return EntasisError("HISTORY_SHORT", symbol=symbol, needed=str(short.needed), given=str(short.given))
        wait = min(RETRY_AFTER_SECONDS_MAX, max(1, round(self.state.seconds_left(timeframe))))
        failed = self.state.last_error and not self.state.training
        return EntasisError(
            "MODEL_DAMAGED" if failed else "MODEL_IN_TRAINING", timeframe=timeframe, retry_after_seconds=wait
        )

    def training(self, now: datetime) -> pb.Training:
        """What a training is about, as it is told."""
        state = self.state
        if self._loading:
            return pb.Training(state="loading")
        if self.trainer is None:
            return pb.Training(state="off")
        failed = state.last_error and state.short is None  # want of history is no failure
        message = pb.Training(state="running" if state.training else "failed" if failed else "idle")
        if state.training:
            message.progress = round(state.progress.total, 3) if state.progress is not None else 0.0
        if state.training or failed:
            message.expected_time.CopyFrom(timestamp(now + timedelta(seconds=round(state.seconds_left()))))
        return message


async def _to_learn_from(histories: Histories, keeper: CandleKeeper, symbols: Sequence[str]) -> Mapping[str, Series]:
    """What there is of each instrument, as soon as it is there after a start. Those whose history is long in coming
    are waited for no longer than HISTORY_SECONDS_MAX in all; the next training will have them.
    """
    await _history_tried(keeper, symbols)
    return {symbol: await histories.series(symbol) for symbol in symbols}


async def _score_forever(scorer: Scorer, keeper: CandleKeeper, symbols: Sequence[str]) -> None:
    """What came due while nothing ran is scored by candles that are fetched at the start: before, they look missing."""
    await _history_tried(keeper, symbols)
    await scorer.score_forever()


async def _history_tried(keeper: CandleKeeper, symbols: Sequence[str]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(HISTORY_SECONDS_MAX):
            for symbol in symbols:
                await keeper.history_tried(symbol, Interval.HOUR)


def _close_of(keeper: CandleKeeper) -> Callable[[str, datetime], Awaitable[Decimal | None]]:
    async def close_at(symbol: str, moment: datetime) -> Decimal | None:
        candles = await keeper.read(symbol, Interval.HOUR, moment - Interval.HOUR.length, moment, 1)
        return candles[0].close if candles else None

    return close_at


def _reached(histories: Histories) -> Callable[[str], Awaitable[datetime | None]]:
    async def reached(symbol: str) -> datetime | None:
        series = await histories.series(symbol)
        return series.as_of if len(series) else None

    return reached


async def _pause(seconds: float, until: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await until.wait()
    until.clear()


async def _follow_forever(
    analyst: Analyst, keeper: CandleKeeper, shelf: Shelf, symbol: str, closed: asyncio.Event
) -> None:
    """Make answers about an instrument anew whenever a candle has closed or models were swapped."""
    await keeper.history_tried(symbol, Interval.HOUR)
    made: object = None
    pause_seconds = FOLLOW_SECONDS
    while True:
        stand = (keeper.edition(symbol, Interval.HOUR), shelf.all)
        if made != stand:
            try:
                await analyst.follow(symbol)
            except Exception as error:  # a database that fails for a moment must not end the analysis
                pause_seconds = min(2 * pause_seconds, FOLLOW_RETRY_SECONDS_MAX)
                log.error("analysis.follow_failed", symbol=symbol, retry_seconds=pause_seconds, exc_info=error)
            else:
                made, pause_seconds = stand, FOLLOW_SECONDS
                closed.set()
        await asyncio.sleep(pause_seconds)
