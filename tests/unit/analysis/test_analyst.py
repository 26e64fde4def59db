"""What is answered where models fail, and that nothing is computed twice."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from tests.support.market import BTC, NOON, SetClock

from entasis.analysis.v1 import analysis_pb2 as pb
from entasis_engine.analysis import analyst as subject
from entasis_engine.analysis.analyst import Analyst
from entasis_engine.analysis.forecasting import Forecast, NoForecastError, NotEnoughHistoryError, Range
from entasis_engine.analysis.records import Prediction
from entasis_engine.analysis.series import HOUR_MS, Series
from entasis_engine.analysis.shelf import InUse, Shelf
from entasis_engine.errors import EntasisError
from entasis_engine.market.instruments import Instruments
from entasis_engine.times import to_milliseconds

SYMBOL = BTC.symbol


def _series(hours: int = 30, price: float = 64000.0) -> Series:
    times = to_milliseconds(NOON) - HOUR_MS * np.arange(hours, 0, -1, dtype=np.int64)
    prices = np.full(hours, price)
    return Series.from_arrays(times, prices, prices, prices, prices, np.ones(hours))


class _Histories:
    def __init__(self, series: Series) -> None:
        self.now = series

    def current(self, symbol: str) -> Series | None:
        return self.now

    async def series(self, symbol: str) -> Series:
        raise AssertionError("there is a current one")


class _Trained:
    """Stands for models: says what it is told to."""

    cutoff = NOON - timedelta(hours=1)

    def __init__(self, say: Callable[[Series], Forecast]) -> None:
        self.say = say


class _Forecaster:
    def __init__(self, trained: Any, symbol: str) -> None:
        self._trained = trained

    def forecast(self, series: Series, model: str) -> Forecast:
        return self._trained.say(series)  # type: ignore[no-any-return]


def _said(price: float) -> Forecast:
    return Forecast(price, 0.8, 0.005, (Range(0.5, price * 0.99, price * 1.01),), 0.004)


class _Desk:
    """An analyst whose models say what a test wants."""

    def __init__(self, say: Callable[[Series], Forecast], series: Series | None = None) -> None:
        self.calls = 0
        self.filled = True
        self.made: list[Prediction] = []
        self.clock = SetClock(NOON + timedelta(minutes=1))
        self.histories = _Histories(_series() if series is None else series)
        self.shelf = Shelf(lambda timeframe, symbol: EntasisError("MODEL_MISSING", timeframe=timeframe))
        self._say = say
        self.use("v1")
        self.executor = ThreadPoolExecutor(1)
        given: Any = self.histories
        self.analyst = Analyst(
            Instruments([BTC]),
            given,
            self.shelf,
            self.executor,
            source="binance",
            market_now=self.clock,
            is_filled=lambda symbol: self.filled,
            on_prediction=self.made.append,
        )

    def use(self, version: str) -> None:
        trained: Any = _Trained(self._counted)
        self.shelf.put({"1h": InUse(version, trained)})

    def _counted(self, series: Series) -> Forecast:
        self.calls += 1
        return self._say(series)

    async def ask(self) -> pb.GetPredictionResponse:
        return pb.GetPredictionResponse.FromString(await self.analyst.prediction(SYMBOL, "1h", "ensemble"))


@pytest.fixture(autouse=True)
def _forecasters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "Forecaster", _Forecaster)


async def test_what_many_ask_is_computed_once() -> None:
    """A hundred callers at once, and later ones, get one forecast, which is handed over to be kept once."""
    desk = _Desk(lambda series: _said(64100.0))
    answers = await asyncio.gather(*(desk.ask() for _ in range(100)))
    desk.clock.now += timedelta(minutes=30)
    answers.append(await desk.ask())
    assert all(answer == answers[0] for answer in answers)
    assert (desk.calls, len(desk.made)) == (1, 1)


async def test_a_new_series_or_a_new_version_is_answered_anew() -> None:
    """What is remembered is of one series and one version of the models."""
    desk = _Desk(lambda series: _said(float(series.close[-1])))
    first = await desk.ask()
    desk.histories.now = _series(price=65000.0)
    second = await desk.ask()
    desk.use("v2")
    third = await desk.ask()
    assert [one.prediction for one in (first, second, third)] == ["64000.00", "65000.00", "65000.00"]
    assert [one.model_version for one in (first, second, third)] == ["v1", "v1", "v2"]
    assert desk.calls == 3


async def test_prices_are_put_on_the_steps_of_the_instrument_and_bounds_outwards() -> None:
    """The prediction is on the nearest tick; the lower bound is on the tick below and the upper on the one above."""
    desk = _Desk(lambda series: Forecast(64000.126, 0.81239, 0.005, (Range(0.5, 63999.999, 64000.131),), 0.0042))
    answer = await desk.ask()
    (interval,) = answer.intervals
    assert (answer.prediction, interval.low, interval.high) == ("64000.13", "63999.99", "64000.14")
    assert (answer.confidence, answer.band, answer.volatility) == (0.8124, "0.005", "0.0042")


def _raising(error: Exception) -> Callable[[Series], Forecast]:
    def say(series: Series) -> Forecast:
        raise error

    return say


@pytest.mark.parametrize(
    ("error", "case"),
    [
        (NoForecastError("no number"), "PREDICTION_FAILED"),
        (NotEnoughHistoryError(791, 30), "HISTORY_SHORT"),
        (ZeroDivisionError("secret"), "PREDICTION_FAILED"),
        (MemoryError(), "PREDICTION_FAILED"),
    ],
)
async def test_whatever_a_model_raises_is_ai_002_in_our_own_words(error: Exception, case: str) -> None:
    """Callers never see what went wrong within; and what failed is not tried again for the same candles."""
    desk = _Desk(_raising(error))
    for _ in range(3):
        with pytest.raises(EntasisError) as raised:
            await desk.ask()
        assert raised.value.case == case
        assert "secret" not in raised.value.message()
    assert desk.calls == 1
    assert desk.made == []


async def test_no_model_is_said_before_anything_is_computed() -> None:
    desk = _Desk(lambda series: _said(1.0))
    desk.shelf.put({})
    with pytest.raises(EntasisError) as raised:
        await desk.ask()
    assert raised.value.case == "MODEL_MISSING"


async def test_candles_of_long_ago_are_no_ground_for_an_answer() -> None:
    """A forecast is given until shortly after it is due, when the candle that closed must be there; risk for two hours;
    then it is MARKET_002.
    """
    desk = _Desk(lambda series: _said(64000.0), _random_walk(200 * 24, 64000.0, 0.005))
    desk.clock.now = NOON + timedelta(minutes=70)
    await desk.ask()
    desk.clock.now += timedelta(seconds=1)
    with pytest.raises(EntasisError) as raised:
        await desk.ask()
    assert raised.value.case == "MARKET_DOWN"
    desk.clock.now = NOON + timedelta(hours=2)
    await desk.analyst.risk(SYMBOL)
    desk.clock.now += timedelta(seconds=1)
    with pytest.raises(EntasisError) as raised:
        await desk.analyst.risk(SYMBOL)
    assert raised.value.case == "MARKET_DOWN"


async def test_models_that_know_what_came_later_forecast_nothing() -> None:
    """A replay of the past is not forecast, nor scored, by models that have learned from what followed."""
    desk = _Desk(lambda series: _said(64000.0))
    desk.histories.now = _series().until(28)
    desk.clock.now = NOON - timedelta(hours=2)
    with pytest.raises(EntasisError) as raised:
        await desk.ask()
    assert raised.value.case == "MODEL_AHEAD"
    assert desk.made == []


async def test_a_failure_that_is_told_often_gathers_nothing() -> None:
    """The same failure is told again and again without keeping the frames of those who asked."""
    desk = _Desk(_raising(NoForecastError("no number")))

    def frames(error: BaseException) -> int:
        return sum(1 for _ in traceback.walk_tb(error.__traceback__))

    depths = []
    for _ in range(5):
        with pytest.raises(EntasisError) as raised:
            await desk.ask()
        depths.append(frames(raised.value))
    assert depths[-1] == depths[1]


@pytest.mark.parametrize("filled", [False, True])
async def test_want_of_history_that_is_still_being_filled_says_to_ask_again(filled: bool) -> None:
    """While candles are still being fetched after a start, what they are too few for may come soon; then no more."""
    desk = _Desk(_raising(NotEnoughHistoryError(791, 30)))
    for asked in (desk.ask, lambda: desk.analyst.risk(SYMBOL), lambda: desk.analyst.scenarios(SYMBOL)):
        desk.filled = filled
        desk.clock.now = NOON + timedelta(minutes=1)
        with pytest.raises(EntasisError) as short:
            await asked()
        desk.clock.now += timedelta(hours=3)
        with pytest.raises(EntasisError) as late:
            await asked()
        expected = ("HISTORY_SHORT", "MARKET_DOWN") if filled else ("HISTORY_LOADING", "HISTORY_LOADING")
        assert (short.value.case, late.value.case) == expected
    assert short.value.retry_after_seconds == (None if filled else 2)


async def test_no_candle_at_all_is_too_little_history() -> None:
    nothing = np.empty(0)
    desk = _Desk(
        lambda series: _said(1.0),
        Series.from_arrays(np.empty(0, dtype=np.int64), nothing, nothing, nothing, nothing, nothing),
    )
    with pytest.raises(EntasisError) as raised:
        await desk.ask()
    assert raised.value.case == "HISTORY_SHORT"


def _random_walk(hours: int, price: float, step: float, seed: int = 1) -> Series:
    generator = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(generator.normal(0, step, hours)))
    opened = np.concatenate([[price], close[:-1]])
    wick = np.exp(np.abs(generator.normal(0, step, hours)))
    times = to_milliseconds(NOON) - HOUR_MS * np.arange(hours, 0, -1, dtype=np.int64)
    return Series.from_arrays(
        times, opened, np.maximum(opened, close) * wick, np.minimum(opened, close) / wick, close, np.ones(hours)
    )


@pytest.mark.parametrize(
    ("price", "step"), [(64000.0, 0.005), (1e-8, 0.005), (64000.0, 0.0)], ids=["usual", "of 1e-8", "flat"]
)
async def test_risk_is_finite_whatever_the_price(price: float, step: float) -> None:
    """Losses are figures of the price's own size, for a price of 10^-8 too; a price that never moved loses nothing."""
    desk = _Desk(lambda series: _said(1.0), _random_walk(200 * 24, price, step))
    answer = pb.GetRiskResponse.FromString(await desk.analyst.risk(SYMBOL))
    var, shortfall = float(answer.var_95), float(answer.expected_shortfall)
    if step:
        assert 0 < var <= shortfall < 1.5 * price
        assert var > price / 1000
    else:
        assert (var, shortfall, float(answer.volatility)) == (0, 0, 0)


async def test_risk_follows_every_hour_and_changes_no_earlier_answer() -> None:
    """A new hour is answered with the day's model, just as a model fitted for that hour alone would."""
    whole = _random_walk(200 * 24 + 30, 64000.0, 0.004)
    kept = _Desk(lambda series: _said(1.0), whole.until(len(whole) - 1))
    await kept.analyst.risk(SYMBOL)
    kept.histories.now = whole
    fresh = _Desk(lambda series: _said(1.0), whole)
    assert await kept.analyst.risk(SYMBOL) == await fresh.analyst.risk(SYMBOL)


async def test_a_candle_that_comes_late_is_in_the_risk_at_once() -> None:
    """The day's model is made anew where the past that it was made of has changed."""
    whole = _random_walk(200 * 24, 64000.0, 0.004)
    holed = np.ones(len(whole), dtype=bool)
    holed[2000:2100] = False
    columns = (whole.open_time, whole.open, whole.high, whole.low, whole.close, whole.volume)
    desk = _Desk(lambda series: _said(1.0), Series.from_arrays(*(column[holed] for column in columns)))
    before = await desk.analyst.risk(SYMBOL)
    desk.histories.now = whole
    after = await desk.analyst.risk(SYMBOL)
    assert before != after
    assert after == await _Desk(lambda series: _said(1.0), whole).analyst.risk(SYMBOL)
