"""The analysis in operation: the models in use, and the loops that train them, follow the market and keep the score."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
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
from entasis_engine.analysis.registry import Registry
from entasis_engine.analysis.series import Series, SeriesError
from entasis_engine.analysis.service import AnalysisService
from entasis_engine.analysis.shelf import Shelf
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
    state = TrainingState(list(TIMEFRAMES), monotonic)
    trains = settings.training == "auto"
    shelf = Shelf(lambda timeframe: _absence(timeframe, state, trains))
    histories = Histories(keeper, market_now=feed.now, span=timedelta(days=settings.hourly_history_days))
    store = SqlPredictions(database)
    recorder = Recorder(store)
    scorer = Scorer(store, feed.source, _close_of(keeper), clock=feed.now)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="analysis") as worker:
        analyst = Analyst(
            instruments,
            histories,
            shelf,
            worker,
            source=feed.source,
            market_now=feed.now,
            on_prediction=recorder.record,
        )
        service = AnalysisService(
            analyst,
            PortfolioAnalyst(analyst, ledger, market.hub.last_price, market_now=feed.now),
            Accuracies(store, worker, source=feed.source),
            shelf,
            instruments,
            lambda: _training(state, trains, clock()),
            market_now=feed.now,
        )
        try:
            async with asyncio.TaskGroup() as loops:
                tasks = [
                    loops.create_task(
                        train_forever(
                            Trainer(settings.models_path, deadline_seconds=settings.training_seconds_max)
                            if trains
                            else None,
                            Registry(settings.models_path, Trained.from_files),
                            lambda: _to_learn_from(histories, keeper, symbols),
                            source=feed.source,
                            state=state,
                            on_loaded=lambda loaded: shelf.put(loaded.version, loaded.trained),
                            retrain_after=timedelta(hours=settings.retrain_hours),
                            poll_seconds=settings.models_poll_seconds,
                            clock=clock,
                        ),
                        name="analysis.train",
                    ),
                    loops.create_task(_follow_forever(analyst, keeper, shelf, symbols), name="analysis.follow"),
                    loops.create_task(recorder.write_forever(), name="analysis.record"),
                    loops.create_task(scorer.score_forever(), name="analysis.score"),
                ]
                yield Analysis(service)
                for task in tasks:
                    task.cancel()
        finally:
            await recorder.flush()


def _absence(timeframe: str, state: TrainingState, trains: bool) -> EntasisError:
    """Why there is no model, and when to ask again."""
    if not trains:
        return EntasisError("MODEL_MISSING", timeframe=timeframe)
    wait = min(RETRY_AFTER_SECONDS_MAX, max(1, round(state.seconds_left(timeframe))))
    if state.short is not None and not state.training:
        return EntasisError(
            "MODEL_WITHOUT_HISTORY",
            timeframe=timeframe,
            needed=str(state.short.needed),
            given=str(state.short.given),
            retry_after_seconds=wait,
        )
    if state.last_error and not state.training:
        return EntasisError("MODEL_DAMAGED", timeframe=timeframe, retry_after_seconds=wait)
    return EntasisError("MODEL_IN_TRAINING", timeframe=timeframe, retry_after_seconds=wait)


def _training(state: TrainingState, trains: bool, now: datetime) -> pb.Training:
    """What a training is about, as it is told."""
    if not trains:
        return pb.Training(state="off")
    message = pb.Training(state="running" if state.training else "failed" if state.last_error else "idle")
    if state.training:
        message.progress = round(state.progress.total, 3) if state.progress is not None else 0.0
    if state.training or state.last_error:
        message.expected_time.CopyFrom(timestamp(now + timedelta(seconds=round(state.seconds_left()))))
    return message


async def _to_learn_from(histories: Histories, keeper: CandleKeeper, symbols: Sequence[str]) -> Mapping[str, Series]:
    """What there is of each instrument, as soon as it is there after a start; what cannot be used is left out."""
    found = {}
    for symbol in symbols:
        await keeper.history_tried(symbol)
        try:
            found[symbol] = await histories.series(symbol)
        except SeriesError as error:
            log.warning("analysis.series_unusable", symbol=symbol, reason=str(error))
    return found


def _close_of(keeper: CandleKeeper) -> Callable[[str, datetime], Awaitable[Decimal | None]]:
    async def close_at(symbol: str, moment: datetime) -> Decimal | None:
        candles = await keeper.read(symbol, Interval.HOUR, moment - Interval.HOUR.length, moment, 1)
        return candles[0].close if candles else None

    return close_at


async def _follow_forever(analyst: Analyst, keeper: CandleKeeper, shelf: Shelf, symbols: Sequence[str]) -> None:
    """Make answers anew whenever a candle has closed or models were swapped."""
    for symbol in symbols:
        await keeper.history_tried(symbol)
    made: dict[str, object] = {}
    while True:
        for symbol in symbols:
            stand = (keeper.edition(symbol, Interval.HOUR), shelf.all)
            if made.get(symbol) != stand:
                try:
                    await analyst.follow(symbol)
                except Exception as error:  # a database that fails for a moment must not end the analysis
                    log.error("analysis.follow_failed", symbol=symbol, exc_info=error)
                else:
                    made[symbol] = stand
        await asyncio.sleep(FOLLOW_SECONDS)
