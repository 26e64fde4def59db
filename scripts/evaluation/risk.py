"""How value at risk and expected shortfall held, against what happened and against simpler ways to estimate them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import process_time
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from entasis_engine.analysis.risk import (
    DAY_HOURS,
    LEVEL,
    NEEDED_HOURS,
    RECENT_HOURS,
    WINDOW_DAYS,
    RiskModel,
    filtered_historical,
    tail_risk,
)
from entasis_engine.analysis.series import HOUR_MS, Series
from entasis_engine.times import from_milliseconds, to_milliseconds
from scripts.evaluation import backtests
from scripts.evaluation.report import Goal, Section, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
Progress = Callable[[str], None]

SEED = 20211001
SIGNIFICANCE = 0.05
MS_MAX = 0.5
HISTORY_DAYS = 365
"""Of plain historical simulation of a day."""
HISTORY_HOURS = 4_380
"""Of filtered and of plain historical simulation of an hour: half a year."""
LONGEST_HOURS = (WINDOW_DAYS + 2) * DAY_HOURS
"""No fit reads more."""

OURS_DAILY = "HAR volatility, peaks over threshold"
OURS_HOURLY = "forecast volatility, filtered historical simulation"

_TAIL = 1 - LEVEL
_NORMAL = (float(-stats.norm.ppf(_TAIL)), float(stats.norm.pdf(stats.norm.ppf(_TAIL)) / _TAIL))


@dataclass(frozen=True, eq=False)
class Hourly:
    """One-hour volatility forecasts and what followed, of hours that had a candle. Arrays have the shape (n,)."""

    times: Times
    """When the hours began, milliseconds since 1970-01-01T00:00:00Z, ascending."""
    returns: Floats
    """Log returns of those hours."""
    sigma: Floats
    """Forecast before the hour began, of the log return's standard deviation."""


@dataclass(frozen=True, eq=False)
class Forecasts:
    """Forecasts of one method, in shares of the price or as log returns, and what followed. Shape (n,)."""

    returns: Floats
    value_at_risk: Floats
    shortfall: Floats
    shape: float = 0.0
    """Of the tail that the forecasts say, for the distribution of the test of expected shortfall."""


@dataclass(frozen=True)
class Verdict:
    """What the tests say of one method's forecasts."""

    count: int
    violations: int
    coverage: float
    independence: float
    conditional: float
    dynamic: float
    shortfall: backtests.Test
    realised_over_forecast: float
    """Mean loss of the violations over the expected shortfall forecast for them."""

    @property
    def holds(self) -> bool:
        """Whether every p that is a goal is above `SIGNIFICANCE`."""
        return min(self.coverage, self.conditional, self.dynamic, self.shortfall.p) > SIGNIFICANCE

    @property
    def goal(self) -> str:
        """The p-values that are a goal."""
        return (
            f"POF {self.coverage:.2f}, CC {self.conditional:.2f}, DQ {self.dynamic:.2f}, Z2 {self.shortfall.p:.2f}"
            f" (n = {self.count})"
        )

    def row(self, name: str) -> list[str]:
        """A row of the table of methods."""
        return [
            name,
            f"{100 * self.violations / self.count:.2f} % ({self.violations} of {self.count})",
            *(f"{p:.3f}" for p in (self.coverage, self.independence, self.conditional, self.dynamic)),
            f"{self.shortfall.statistic:+.3f}",
            f"{self.shortfall.p:.3f}",
            f"{self.realised_over_forecast:.3f}",
        ]


HEAD = (
    "method",
    "violations, 5 % wanted",
    "POF p",
    "independence p",
    "CC p",
    "DQ p",
    "Z2",
    "Z2 p",
    "realised / forecast ES",
)
LEGEND = (
    "POF: Kupiec (1995); independence and CC: Christoffersen (1998); DQ: Engle & Manganelli (2004), 4 lags and the "
    "value at risk; Z2: Acerbi & Székely (2014), one-sided, by simulation: below 0 where risk was underestimated. A p "
    "below .05 speaks against the forecasts. The last column is the mean loss of the violations over the expected "
    "shortfall that was forecast for them: above 1, it was too small."
)


def judge(forecasts: Forecasts) -> Verdict:
    """All tests of one method's forecasts."""
    hits = backtests.violations(forecasts.returns, forecasts.value_at_risk)
    return Verdict(
        count=hits.size,
        violations=int(np.count_nonzero(hits)),
        coverage=backtests.unconditional_coverage(hits).p,
        independence=backtests.independence(hits).p,
        conditional=backtests.conditional_coverage(hits).p,
        dynamic=backtests.dynamic_quantile(hits, forecasts.value_at_risk).p,
        shortfall=backtests.expected_shortfall(
            forecasts.returns,
            forecasts.value_at_risk,
            forecasts.shortfall,
            np.random.default_rng(SEED),
            shape=forecasts.shape,
        ),
        realised_over_forecast=float(-np.sum(forecasts.returns[hits]) / np.sum(forecasts.shortfall[hits]))
        if hits.any()
        else float("nan"),
    )


def daily(histories: Mapping[str, Series], start: datetime, progress: Progress) -> Section:
    """One-day forecasts made at every 00:00 UTC from `start` on, of candles before it alone; a fit a day.

    Args:
        histories: by symbol, hourly candles from at least `NEEDED_HOURS` before `start` on.
        start: of the first day that is forecast.
        progress: told what is being done.
    """
    measured: dict[str, str] = {}
    met: dict[str, bool] = {}
    cost: dict[str, str] = {}
    cheap: dict[str, bool] = {}
    plots: dict[str, Figure] = {}
    text = [LEGEND]
    for symbol, series in histories.items():
        progress(f"risk of a day: {symbol}")
        times, methods, milliseconds, fit_milliseconds = _daily_forecasts(series, start)
        verdicts = {name: judge(forecasts) for name, forecasts in methods.items()}
        ours = verdicts[OURS_DAILY]
        measured[symbol], met[symbol] = ours.goal, ours.holds
        cost[symbol], cheap[symbol] = f"{milliseconds:.2f}", milliseconds < MS_MAX
        text += [
            f"### {symbol}, one day",
            table(HEAD, [verdict.row(name) for name, verdict in verdicts.items()]),
            _by_year(times, methods[OURS_DAILY]),
            f"{milliseconds:.2f} ms of computing a call with the day's model, {fit_milliseconds:.1f} to fit it.",
        ]
        plots[f"risk-1d-{symbol.lower()}"] = _plot(f"{symbol}, one day", times, methods[OURS_DAILY])
    return Section(
        title="Risk of one day",
        markdown="\n\n".join(text),
        goals=(
            Goal("VaR 95 % and ES: p-values", "1d", "POF, CC, DQ, Z2 > .05", measured, met),
            Goal("risk, ms a call", "1d", f"< {MS_MAX}", cost, cheap),
        ),
        plots=plots,
    )


def intraday(forecasts: Mapping[str, Hourly], start: datetime, progress: Progress) -> Section:
    """One-hour forecasts from a model's volatility; residuals before `start` are what the first ones rest on.

    Args:
        forecasts: by symbol; from half a year before `start` on is best.
        start: of the first hour that is judged.
        progress: told what is being done.
    """
    measured: dict[str, str] = {}
    met: dict[str, bool] = {}
    plots: dict[str, Figure] = {}
    text = [LEGEND]
    for symbol, hourly in forecasts.items():
        progress(f"risk of an hour: {symbol}")
        times, methods, milliseconds = _hourly_forecasts(hourly, start)
        verdicts = {name: judge(each) for name, each in methods.items()}
        ours = verdicts[OURS_HOURLY]
        measured[symbol], met[symbol] = ours.goal, ours.holds
        text += [
            f"### {symbol}, one hour",
            table(HEAD, [verdict.row(name) for name, verdict in verdicts.items()]),
            _by_year(times, methods[OURS_HOURLY]),
            f"{milliseconds:.2f} ms of computing a call, beside the volatility forecast.",
        ]
        plots[f"risk-1h-{symbol.lower()}"] = _plot(f"{symbol}, one hour", times, methods[OURS_HOURLY])
    return Section(
        title="Risk of one hour",
        markdown="\n\n".join(text),
        goals=(Goal("VaR 95 % and ES: p-values", "1h", "POF, CC, DQ, Z2 > .05", measured, met),),
        plots=plots,
    )


def _daily_forecasts(series: Series, start: datetime) -> tuple[Times, dict[str, Forecasts], float, float]:
    """By method; and the milliseconds of a call, and of a fit, in the middle of all."""
    first = max((to_milliseconds(start) - int(series.open_time[0])) // HOUR_MS, NEEDED_HOURS)
    hour = int(series.open_time[0] // HOUR_MS)
    first += -(hour + first) % DAY_HOURS
    # `count` hours are known at a forecast; the hour `count` + 23 is the last that it speaks of.
    counts = np.arange(first, len(series) - DAY_HOURS + 1, DAY_HOURS)
    if counts.size == 0:
        raise ValueError("no day is left to judge")
    returns = series.close[counts + DAY_HOURS - 1] / series.close[counts - 1] - 1
    names = (OURS_DAILY, "plain historical simulation, 365 days", "the same volatility, normal", "… Cornish–Fisher")
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    shapes: list[float] = []
    fitting: list[float] = []
    calling: list[float] = []
    for count in counts.tolist():
        known = series.until(count).last(LONGEST_HOURS)
        begun = process_time()
        model = RiskModel.fit(known)
        fitted = process_time()
        scenarios = model.scenarios(known.last(RECENT_HOURS))
        scenarios.risk()
        calling.append(process_time() - fitted)
        fitting.append(fitted - begun)
        losses = -np.expm1(scenarios.returns)
        tail = tail_risk(losses, worst=1.0)
        shapes.append(tail.shape)
        past = known.close[::-DAY_HOURS][: HISTORY_DAYS + 1][::-1]
        sigma = float(np.sqrt(np.mean(scenarios.returns**2)))
        figures[names[0]].append((tail.value_at_risk, tail.expected_shortfall))
        figures[names[1]].append(_empirical(past[1:] / past[:-1] - 1))
        figures[names[2]].append((sigma * _NORMAL[0], sigma * _NORMAL[1]))
        figures[names[3]].append(_cornish_fisher(scenarios.returns))
    times = series.open_time[0] + HOUR_MS * counts
    methods = {
        name: _forecasts(returns, given, float(np.mean(shapes)) if name == OURS_DAILY else 0.0)
        for name, given in figures.items()
    }
    return times, methods, 1e3 * float(np.median(calling)), 1e3 * float(np.median(fitting))


def _hourly_forecasts(hourly: Hourly, start: datetime) -> tuple[Times, dict[str, Forecasts], float]:
    """By method; and the milliseconds of a call, in the middle of all."""
    least = round(20 / _TAIL)
    first = max(int(np.searchsorted(hourly.times, to_milliseconds(start))), least)
    if first >= hourly.times.size:
        raise ValueError("no hour is left to judge")
    returns, sigma = hourly.returns, hourly.sigma
    names = (OURS_HOURLY, "plain historical simulation, half a year", "the same volatility, normal")
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    calling: list[float] = []
    for place in range(first, returns.size):
        since = max(0, place - HISTORY_HOURS)
        begun = process_time()
        ours = filtered_historical(returns[since:place], sigma[since:place], float(sigma[place]), window=HISTORY_HOURS)
        calling.append(process_time() - begun)
        figures[names[0]].append(ours)
        figures[names[1]].append(_empirical(returns[since:place]))
        figures[names[2]].append((sigma[place] * _NORMAL[0], sigma[place] * _NORMAL[1]))
    methods = {name: _forecasts(returns[first:], given, 0.0) for name, given in figures.items()}
    return hourly.times[first:], methods, 1e3 * float(np.median(calling))


def _forecasts(returns: Floats, figures: Sequence[tuple[float, float]], shape: float) -> Forecasts:
    columns = np.array(figures, dtype=np.float64)
    return Forecasts(returns, columns[:, 0], columns[:, 1], shape)


def _empirical(returns: Floats) -> tuple[float, float]:
    """Quantile, and mean beyond it, of the returns themselves."""
    beyond = max(1, int(returns.size * _TAIL))
    worst = np.partition(returns, beyond)[: beyond + 1]
    return -float(worst[beyond]), -float(np.mean(worst[:beyond]))


def _cornish_fisher(returns: Floats) -> tuple[float, float]:
    """The normal's quantiles, corrected for skewness and excess kurtosis (Cornish & Fisher 1938); the mean of those
    beyond the value at risk.
    """
    skewness, excess = float(stats.skew(returns)), float(stats.kurtosis(returns))
    shares = np.append((np.arange(200) + 0.5) / 200 * _TAIL, _TAIL)
    z = stats.norm.ppf(shares)
    corrected = (
        z + (z**2 - 1) * skewness / 6 + (z**3 - 3 * z) * excess / 24 - (2 * z**3 - 5 * z) * skewness**2 / 36
    ) * np.std(returns)
    return -float(corrected[-1]), -float(np.mean(corrected[:-1]))


def _by_year(times: Times, forecasts: Forecasts) -> str:
    """Violations by year of our method, as a table."""
    years = [from_milliseconds(int(time)).year for time in times]
    hits = backtests.violations(forecasts.returns, forecasts.value_at_risk)
    all_of, hits_of = Counter(years), Counter(np.array(years)[hits].tolist())
    return table(
        ["year", *(str(year) for year in all_of)],
        [["violations", *(f"{100 * hits_of[year] / count:.1f} % of {count}" for year, count in all_of.items())]],
    )


def _plot(title: str, times: Times, forecasts: Forecasts) -> Figure:
    """Returns with value at risk and expected shortfall below them, violations marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4))
    axes = figure.subplots()
    at = times.astype("datetime64[ms]")
    hits = backtests.violations(forecasts.returns, forecasts.value_at_risk)
    axes.plot(at, 100 * forecasts.returns, ".", color="0.7", markersize=2, label="return")
    axes.plot(at, -100 * forecasts.value_at_risk, color="tab:blue", linewidth=0.8, label="value at risk, 95 %")
    axes.plot(at, -100 * forecasts.shortfall, color="tab:purple", linewidth=0.5, label="expected shortfall")
    axes.plot(at[hits], 100 * forecasts.returns[hits], ".", color="tab:red", markersize=4, label="violation")
    axes.set(title=title, ylabel="%")
    axes.legend(loc="lower right", ncols=4, fontsize="small")
    axes.grid(alpha=0.3)
    return figure
