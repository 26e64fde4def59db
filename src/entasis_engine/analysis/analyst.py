"""Answers about instruments: made once for each closed hour, off the event loop, and remembered."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypeVar

import structlog

from entasis_engine.analysis import wire
from entasis_engine.analysis.forecasting import (
    MODELS,
    TIMEFRAMES,
    Forecaster,
    NoForecastError,
    NotEnoughHistoryError,
    Trained,
)
from entasis_engine.analysis.histories import Histories
from entasis_engine.analysis.records import PredictedRange, Prediction
from entasis_engine.analysis.risk import NoRiskError, RiskModel, Scenarios, TooLittleHistoryError
from entasis_engine.analysis.series import Series
from entasis_engine.analysis.shelf import InUse, Shelf
from entasis_engine.errors import EntasisError
from entasis_engine.exchanges.feed import Instrument, Interval
from entasis_engine.market.candles import open_time_of
from entasis_engine.market.instruments import Instruments
from entasis_engine.times import isoformat

log = structlog.get_logger()

LATE_MAX = timedelta(hours=2)
"""An answer made of candles that end earlier than this before now would be of the past."""
CLOSING = timedelta(minutes=10)
"""How much later than its horizon a forecast is still given, until the candle that closed meanwhile is there."""

WANT_OF_HISTORY = ("HISTORY_SHORT", "MARKET_DOWN")
"""What is raised where history is too short, or ends too early."""

_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class _Answer(Generic[_Made]):
    """What was made of a series, or why it could not be."""

    series: Series
    version: str
    outcome: _Made | EntasisError

    def is_of(self, series: Series, version: str = "") -> bool:
        return self.series is series and self.version == version

    def told(self) -> _Made:
        """Raises where it could not be made."""
        if isinstance(self.outcome, EntasisError):
            # Raised again and again, it would gather the frames of all who asked.
            raise self.outcome.with_traceback(None)
        return self.outcome


class _Outlook(NamedTuple):
    """What a day may bring: for a portfolio, and as it is answered."""

    scenarios: Scenarios
    encoded: bytes


class Analyst:
    """Forecasts and risk of the listed instruments.

    Args:
        source: what the history is kept under.
        executor: where answers are computed; with one worker, since forecasters keep what is rolling.
        is_filled: whether a symbol's history was filled after the start, so that what is missing will not come soon.
        on_prediction: told of every forecast that is made. Must not wait.
    """

    def __init__(
        self,
        instruments: Instruments,
        histories: Histories,
        shelf: Shelf,
        executor: Executor,
        *,
        source: str,
        market_now: Callable[[], datetime],
        is_filled: Callable[[str], bool],
        on_prediction: Callable[[Prediction], None],
    ) -> None:
        self._instruments = instruments
        self._histories = histories
        self._shelf = shelf
        self._executor = executor
        self._source = source
        self._market_now = market_now
        self._is_filled = is_filled
        self._on_prediction = on_prediction
        self._predictions: dict[tuple[str, str, str], _Answer[bytes]] = {}
        self._risks: dict[str, _Answer[_Outlook]] = {}
        self._risk_models: dict[str, tuple[Series, RiskModel]] = {}
        """Touched by the executor's worker alone."""
        self._locks: defaultdict[tuple[str, ...], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._forecasters: dict[tuple[str, str], tuple[Trained, Forecaster]] = {}
        """Touched by the executor's worker alone."""

    async def prediction(self, symbol: str, timeframe: str, model: str) -> bytes:
        """The encoded `GetPredictionResponse`. Raises MARKET_001, MARKET_002, AI_001 or AI_002."""
        instrument = self._instruments.require(symbol)
        with self._once_filled(instrument):
            return await self._prediction(instrument, timeframe, model)

    @contextmanager
    def _once_filled(self, instrument: Instrument) -> Iterator[None]:
        """While history is being filled, want of it is no answer: it says to ask again."""
        try:
            yield
        except EntasisError as error:
            if error.case not in WANT_OF_HISTORY or self._is_filled(instrument.symbol):
                raise
            raise EntasisError("HISTORY_LOADING", symbol=instrument.symbol, exchange=instrument.exchange) from None

    async def _prediction(self, instrument: Instrument, timeframe: str, model: str) -> bytes:
        symbol = instrument.symbol
        key = (symbol, timeframe, model)
        in_use, series = await self._basis(instrument, timeframe)
        known = self._predictions.get(key)
        if known is None or not known.is_of(series, in_use.version):
            async with self._locks[key]:
                # Again, since both may have gone on while others were waited for.
                in_use, series = await self._basis(instrument, timeframe)
                known = self._predictions.get(key)
                if known is None or not known.is_of(series, in_use.version):
                    outcome = await self._predict(instrument, series, timeframe, model, in_use)
                    known = self._predictions[key] = _Answer(series, in_use.version, outcome)
        return known.told()

    async def _basis(self, instrument: Instrument, timeframe: str) -> tuple[InUse, Series]:
        in_use = self._shelf.require(timeframe, instrument.symbol)
        series = await self.series(instrument.symbol)
        late_max = min(LATE_MAX, timedelta(hours=TIMEFRAMES[timeframe]) + CLOSING)
        if self._market_now() - series.as_of > late_max:
            raise EntasisError("MARKET_DOWN", symbol=instrument.symbol, exchange=instrument.exchange)
        if series.as_of < in_use.trained.cutoff:
            raise EntasisError("MODEL_AHEAD", timeframe=timeframe, cutoff=isoformat(in_use.trained.cutoff))
        return in_use, series

    async def risk(self, symbol: str) -> bytes:
        """The encoded `GetRiskResponse`. Raises MARKET_001, MARKET_002 or AI_002."""
        instrument = self._instruments.require(symbol)
        with self._once_filled(instrument):
            return (await self._risk(instrument)).told().encoded

    async def scenarios(self, symbol: str) -> tuple[datetime, Scenarios]:
        """What the next 24 hours may bring, as of the last closed candle. Raises as `risk` does."""
        instrument = self._instruments.require(symbol)
        with self._once_filled(instrument):
            answer = await self._risk(instrument)
            return answer.series.as_of, answer.told().scenarios

    async def compute(self, symbol: str, compute: Callable[..., _Made], *given: Any) -> _Made:
        """Have something computed off the event loop. Raises AI_002 where there is no finite answer."""
        outcome = await self._computed(symbol, compute, *given)
        if isinstance(outcome, EntasisError):
            raise outcome
        return outcome

    async def follow(self, symbol: str) -> None:
        """Make every answer about an instrument anew where a candle has closed, so that callers need not wait, and so
        that what is scored does not depend on when they ask.
        """
        for timeframe in self._shelf.all:
            for model in MODELS:
                with suppress(EntasisError):  # whoever asks will be told
                    await self.prediction(symbol, timeframe, model)
        with suppress(EntasisError):
            await self.risk(symbol)

    async def _risk(self, instrument: Instrument) -> _Answer[_Outlook]:
        series = await self.series(instrument.symbol)
        known = self._risks.get(instrument.symbol)
        if known is None or not known.is_of(series):
            async with self._locks[instrument.symbol,]:
                series = await self.series(instrument.symbol)
                known = self._risks.get(instrument.symbol)
                if known is None or not known.is_of(series):
                    outcome = await self._computed(instrument.symbol, self._outlook, instrument, series)
                    known = self._risks[instrument.symbol] = _Answer(series, "", outcome)
        return known

    def _outlook(self, instrument: Instrument, series: Series) -> _Outlook:
        """Runs in the executor's worker. A day's model is kept, unless a candle of before came late: it costs more than
        what is made with it.
        """
        until_midnight = len(series) - (series.as_of - open_time_of(series.as_of, Interval.DAY)) // Interval.HOUR.length
        past = series.until(until_midnight)
        known = self._risk_models.get(instrument.symbol)
        if known is None or not known[0].is_same_as(past):
            known = self._risk_models[instrument.symbol] = (past, RiskModel.fit(series))
        scenarios = known[1].scenarios(series)
        answer = wire.risk(scenarios.risk(), instrument, series, self._market_now())
        return _Outlook(scenarios, answer.SerializeToString())

    async def _predict(
        self, instrument: Instrument, series: Series, timeframe: str, model: str, in_use: InUse
    ) -> bytes | EntasisError:
        made = await self._computed(instrument.symbol, self._forecast, instrument, series, timeframe, model, in_use)
        if isinstance(made, EntasisError):
            return made
        self._on_prediction(made)
        return wire.prediction(made, instrument, in_use.trained.cutoff, self._market_now()).SerializeToString()

    def _forecast(
        self, instrument: Instrument, series: Series, timeframe: str, model: str, in_use: InUse
    ) -> Prediction:
        """Runs in the executor's worker."""
        key = (timeframe, instrument.symbol)
        known = self._forecasters.get(key)
        if known is None or known[0] is not in_use.trained:
            known = self._forecasters[key] = (in_use.trained, Forecaster(in_use.trained, instrument.symbol))
        made = known[1].forecast(series, model)
        return Prediction(
            source=self._source,
            symbol=instrument.symbol,
            timeframe=timeframe,
            model=model,
            version=in_use.version,
            as_of=series.as_of,
            due=series.as_of + timedelta(hours=TIMEFRAMES[timeframe]),
            last_price=Decimal(str(series.close[-1])),
            prediction=wire.on_tick(made.price, instrument),
            ranges=tuple(
                PredictedRange(one.level, wire.below(one.low, instrument), wire.above(one.high, instrument))
                for one in made.ranges
            ),
            band=made.band,
            confidence=made.confidence,
            sigma=made.sigma,
        )

    async def series(self, symbol: str) -> Series:
        """Closed candles up to about now. Raises MARKET_001, MARKET_002 or AI_002."""
        instrument = self._instruments.require(symbol)
        series = self._histories.current(symbol)
        if series is None:
            series = await self._histories.series(symbol)
        if not len(series):
            raise EntasisError("HISTORY_SHORT", symbol=symbol, given="0", needed="1")
        if self._market_now() - series.as_of > LATE_MAX:
            raise EntasisError("MARKET_DOWN", symbol=symbol, exchange=instrument.exchange)
        return series

    async def _computed(self, symbol: str, compute: Callable[..., _Made], *given: Any) -> _Made | EntasisError:
        """What the executor makes of it, or what to tell whoever asks: never what went wrong, in its own words."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, compute, *given)
        except (NotEnoughHistoryError, TooLittleHistoryError) as error:
            return EntasisError("HISTORY_SHORT", symbol=symbol, given=str(error.given), needed=str(error.needed))
        except (NoForecastError, NoRiskError) as error:
            log.warning("analysis.no_finite_answer", symbol=symbol, reason=str(error))
        except Exception as error:  # whatever the models raise, the caller learns that there is no answer, and no more
            log.error("analysis.failed", symbol=symbol, exc_info=error)
        return EntasisError("PREDICTION_FAILED", symbol=symbol)
