"""What tests of the analysis share: a past for a market, and models that have learned from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from tests.support.market import NOON

from entasis_engine.analysis.forecasting import TIMEFRAMES, Trained, train
from entasis_engine.analysis.registry import Registry
from entasis_engine.analysis.series import Series
from entasis_engine.exchanges import simulation
from entasis_engine.exchanges.feed import Candle, Interval
from entasis_engine.exchanges.simulation import GENESIS, LISTED, Walk

DAYS = 190
SYMBOLS = ("BTC-USDT", "ETH-USDT")


@cache
def past(symbol: str, until: datetime = NOON, days: int = DAYS) -> Sequence[Candle]:
    """Hourly candles up to a whole hour: the simulated market of some other time, moved to this one."""
    listed = next(one for one in LISTED if one.instrument.symbol == symbol)
    candles = simulation.candles(Walk(listed, 7), Interval.HOUR, GENESIS, GENESIS + timedelta(days=days))
    shift = until - (GENESIS + timedelta(days=days))
    return [Candle(one.open_time + shift, one.open, one.high, one.low, one.close, one.volume) for one in candles]


@cache
def trained() -> Mapping[str, Trained]:
    """Models of the past of both symbols; made once, since that takes some seconds."""
    histories = {symbol: Series.of(past(symbol)) for symbol in SYMBOLS}
    return {timeframe: train(histories, timeframe, seed=7) for timeframe in TIMEFRAMES}


def keep_models(data_dir: Path, source: str, *, now: datetime = NOON) -> str:
    """Have an engine of that data folder find the models when it starts; gives the version."""
    return Registry(data_dir / "models", Trained.from_files).save(trained(), source=source, now=now)
