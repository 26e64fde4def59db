"""The smallest model that forecasts: for tests of what carries a forecast, not of the forecast."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tests.support.analysis import past
from tests.support.market import NOON

from entasis_engine.analysis.forecasting import HISTORY_HOURS_MIN, TRAIN_HOURS_MIN, Trained, train
from entasis_engine.analysis.registry import Registry
from entasis_engine.analysis.series import Series

TIMEFRAME = "1h"
SYMBOL = "BTC-USDT"


@cache
def _model() -> Trained:
    """Made once a run: even from the shortest past it takes some ten seconds."""
    days = (TRAIN_HOURS_MIN + HISTORY_HOURS_MIN) // 24
    return train({SYMBOL: Series.of(past(SYMBOL, NOON, days))}, TIMEFRAME, seed=7)


def keep_hourly_model(data_dir: Path) -> None:
    """Have an engine of that data folder, on the simulated market, forecast BTC-USDT for the next hour."""
    Registry(data_dir / "models", Trained.from_files).save({TIMEFRAME: _model()}, source="simulated-7", now=NOON)
