"""What training and serving cost, in CPU time of one thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import process_time

import numpy as np

from entasis_engine.analysis.forecasting import HISTORY_HOURS_MIN, TIMEFRAMES, Forecaster, train
from entasis_engine.analysis.series import Series
from scripts.evaluation.protocol import SEED
from scripts.evaluation.report import Goal, Section, table

REFIT_SECONDS_MAX = 60.0
FORECAST_MS_MAX = 1.0
HOURS = 300
"""New hours that a forecast is timed for, one by one."""


def costs(histories: Mapping[str, Series], progress: Callable[[float], None]) -> Section:
    """Trains all horizons once more, on the end of the histories, and serves the hours after it one by one."""
    seconds: dict[str, float] = {}
    milliseconds: dict[tuple[str, str], float] = {}
    for place, timeframe in enumerate(TIMEFRAMES):
        began = process_time()
        trained = train(
            {symbol: series.until(len(series) - HOURS) for symbol, series in histories.items()},
            timeframe,
            seed=SEED,
            progress=lambda share, place=place: progress((place + share) / len(TIMEFRAMES)),  # type: ignore[misc]
        )
        seconds[timeframe] = process_time() - began
        for symbol, series in histories.items():
            forecaster = Forecaster(trained, symbol)
            forecaster.forecast(series.until(len(series) - HOURS), "ensemble")
            tails = [series.until(len(series) - HOURS + hour + 1).last(HISTORY_HOURS_MIN) for hour in range(HOURS)]
            took = []
            for tail in tails:
                began = process_time()
                forecaster.forecast(tail, "ensemble")
                took.append(process_time() - began)
            milliseconds[timeframe, symbol] = float(np.median(took)) * 1e3
    total = sum(seconds.values())
    dearest = {symbol: max(milliseconds[timeframe, symbol] for timeframe in TIMEFRAMES) for symbol in histories}
    goals = (
        Goal(
            f"refit of {len(histories)} symbols, s of CPU",
            "all",
            f"< {REFIT_SECONDS_MAX:.0f}",
            dict.fromkeys(histories, f"{total:.0f} (together)"),
            dict.fromkeys(histories, total < REFIT_SECONDS_MAX),
        ),
        Goal(
            "forecast of a new hour, ms of CPU",
            "all",
            f"< {FORECAST_MS_MAX:.0f}",
            {symbol: f"{cost:.2f}" for symbol, cost in dearest.items()},
            {symbol: cost < FORECAST_MS_MAX for symbol, cost in dearest.items()},
        ),
    )
    rows = [
        [timeframe, f"{seconds[timeframe]:.1f}", *(f"{milliseconds[timeframe, symbol]:.2f}" for symbol in histories)]
        for timeframe in TIMEFRAMES
    ]
    head = ["timeframe", "refit, s", *(f"forecast for {symbol}, ms" for symbol in histories)]
    text = (
        "CPU time of one thread, the median of "
        f"{HOURS} new hours; neighbours on the same machine make it more than it is alone.\n\n{table(head, rows)}"
    )
    return Section("Cost", text, goals)
