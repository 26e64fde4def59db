"""Value at risk, expected shortfall and volatility of one unit held long for the next 24 hours, and for the next hour.

The day's figures come from one set of scenarios. Each past day's return, divided by the volatility that was to be
expected of that day, is a residual; the residuals times the volatility expected of the next 24 hours are the scenarios
(filtered historical simulation: Barone-Adesi, Giannopoulos & Vosper 1999), and the losses in them get a generalised
Pareto tail (McNeil & Frey 2000), from which both value at risk and expected shortfall are read. Volatility is the root
mean square of the same scenarios.

The expected volatility is a regression of a day's log variance on the means of the past day's, week's and month's
(HAR: Corsi 2009), on that of the last six hours, on the past day's fall (falls raise volatility more than rises do:
Corsi & Renò 2012), and on how much of the past and of the coming day is weekend. A day's variance is the sum over its
hours of Garman & Klass's (1980), and of the squared jump between one hour's close and the next one's open, which also
carries what happened in a gap. What six hours say is set against what is usual at their time of the day.

A model is fitted on whole UTC days, up to the last midnight in the candles, and applied to the 24-hour windows that end
with the last closed hour: the answer is new every hour, the fit once a day, and at midnight windows are UTC days, which
is what the backtests measure. The same candles give the same answer, whether or not the day's model was kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from entasis_engine.analysis.features import hourly_variance
from entasis_engine.analysis.series import HOUR_MS, Floats, Series
from entasis_engine.times import from_milliseconds

METHOD = "har-garman-klass/peaks-over-threshold"
LEVEL = 0.95
HORIZON_HOURS = 24

DAY_HOURS = 24
DAY_MS = DAY_HOURS * HOUR_MS
DAYS_A_YEAR = 365
"""The market never closes."""

WEEK_DAYS = 7
MONTH_DAYS = 30
LATE_HOURS = 6
RECENT_HOURS = MONTH_DAYS * DAY_HOURS + 1
"""What a fitted model needs of the latest candles: the month that it looks back on, and the close before."""

NEEDED_HOURS = 181 * DAY_HOURS
"""What a fit needs: 180 whole UTC days lie in any such span, which leaves 150 residuals, 15 of them in the tail."""
WINDOW_DAYS = 4 * DAYS_A_YEAR
"""What a fit takes at most. Older days tell little of today's tail."""
USABLE_DAYS = 150
"""Of the days in a fit, so many must have most of their candles."""

TAIL_SHARE = 0.10
"""The part of the losses that the tail is fitted to. From .075 to .15 it changes little."""
SHAPE_LIMIT = 0.5
"""The tail's shape is kept within plus or minus this.

Expected shortfall is finite below 1; the moments that the fit rests on have finite variance below a half (Hosking &
Wallis 1987). Of the scenarios of BTC and ETH it is -.1 to .3.
"""

_FLOOR_SHARE = 1e-3  # of the mean variance: what any counts for at least, since that of a flat day has no logarithm
_NOTHING = 1e-24  # a variance below any that prices can show
_FURTHEST = 50.0  # log return of a scenario: beyond any price, and its exponential is still a number


class TooLittleHistoryError(Exception):
    """Fewer hourly candles than the estimate needs."""

    def __init__(self, needed: int, given: int) -> None:
        super().__init__(f"{needed} hours of candles are needed, {given} are at hand")
        self.needed = needed
        self.given = given


class NoRiskError(Exception):
    """The candles lead to no finite figure."""


@dataclass(frozen=True)
class Risk:
    """Of one unit held long. `expected_shortfall >= value_at_risk >= 0`, and neither is above the unit's price."""

    value_at_risk: float
    """The loss, in quote currency, that is exceeded with a probability of 5 %; 0 where that is no loss."""
    expected_shortfall: float
    """The mean loss, in quote currency, where the loss is beyond the value at risk."""
    volatility: float
    """Of the log return, annualised: .45 is 45 % a year."""
    sample_size: int
    """The number of past days that the scenarios are made of."""
    method: str
    horizon_hours: int


@dataclass(frozen=True)
class Tail:
    """What lies in the worst part of a sample of losses, in the losses' unit."""

    value_at_risk: float
    expected_shortfall: float
    shape: float
    """Of the generalised Pareto distribution: 0 is exponential, above 0 heavier."""


@dataclass(frozen=True, eq=False)
class Scenarios:
    """What the next 24 hours may bring, as past days had it, at today's volatility. Arrays have the shape (n,)."""

    day: npt.NDArray[np.int64]
    """The UTC days that the scenarios come from, as milliseconds of their beginning, ascending."""
    returns: Floats
    """Log returns over the next 24 hours."""
    price: float
    """The last close, in quote currency."""

    def risk(self) -> Risk:
        """Raises `NoRiskError` where a figure is not finite."""
        tail = tail_risk(-np.expm1(self.returns), worst=1.0)
        return Risk(
            value_at_risk=finite(self.price * tail.value_at_risk),
            expected_shortfall=finite(self.price * tail.expected_shortfall),
            volatility=finite(float(np.sqrt(np.mean(self.returns**2) * DAYS_A_YEAR))),
            sample_size=int(self.returns.size),
            method=METHOD,
            horizon_hours=HORIZON_HOURS,
        )


@dataclass(frozen=True, eq=False)
class RiskModel:
    """What is estimated once a day: the volatility regression and its residuals. Make one with `fit`."""

    fitted_until: datetime
    """The midnight up to which candles were used."""
    coefficients: Floats
    """Of the regression, shape (8,), in the order of `_Days.regressors`."""
    residual_day: npt.NDArray[np.int64]
    residuals: Floats
    """Log return / expected volatility of the past days, oldest first, shape (n,)."""
    hour_share: Floats
    """The part of a day's variance that falls in each UTC hour, shape (24,); sums to 1."""
    least_variance: float
    """What a day's variance counts for at least."""
    log_variance_range: tuple[float, float]
    """The least and the greatest log variance of a day so far; no forecast leaves it."""

    @classmethod
    def fit(cls, series: Series) -> RiskModel:
        """From the whole UTC days of the series, at most the last `WINDOW_DAYS`.

        Raises `TooLittleHistoryError`, and `NoRiskError` where the prices have no finite returns.
        """
        if len(series) < NEEDED_HOURS:
            raise TooLittleHistoryError(NEEDED_HOURS, len(series))
        since_midnight = int((series.open_time[-1] // HOUR_MS + 1) % DAY_HOURS)
        days = _Days.ending(series, len(series) - since_midnight, WINDOW_DAYS)
        usable = days.usable
        if np.count_nonzero(usable) < USABLE_DAYS:
            raise TooLittleHistoryError(NEEDED_HOURS, DAY_HOURS * int(np.count_nonzero(usable)))
        floor = max(_FLOOR_SHARE * float(np.mean(days.variance[usable])), _NOTHING)
        hour_share = days.hour_share(floor)
        regressors = days.regressors(hour_share, floor)[:-1]
        # The days that the regressors have a month before, and that were seen.
        target = np.maximum(days.variance[MONTH_DAYS:], floor)
        seen = usable[MONTH_DAYS:]
        regressors, target = regressors[seen], np.log(target[seen])
        if not (np.isfinite(regressors).all() and np.isfinite(target).all()):
            raise NoRiskError("the returns are not finite")
        coefficients: Floats = np.linalg.lstsq(regressors, target, rcond=None)[0].astype(np.float64)
        span = (float(target.min()), float(target.max()))
        expected = np.exp(np.clip(regressors @ coefficients, *span) / 2)
        return cls(
            fitted_until=from_milliseconds(int(days.begin[-1]) + DAY_MS),
            coefficients=coefficients,
            residual_day=days.begin[MONTH_DAYS:][seen],
            residuals=days.returns[MONTH_DAYS:][seen] / expected,
            hour_share=hour_share,
            least_variance=floor,
            log_variance_range=span,
        )

    def scenarios(self, recent: Series) -> Scenarios:
        """For the 24 hours after the last of `recent`, of which the last `RECENT_HOURS` are read.

        Raises `TooLittleHistoryError` where it is shorter, or where none of its days has most of its candles.
        """
        if len(recent) < RECENT_HOURS:
            raise TooLittleHistoryError(RECENT_HOURS, len(recent))
        days = _Days.ending(recent, len(recent), MONTH_DAYS)
        if not days.usable.any():
            raise TooLittleHistoryError(RECENT_HOURS, 0)
        latest = days.regressors(self.hour_share, self.least_variance)[-1]
        volatility = np.exp(np.clip(latest @ self.coefficients, *self.log_variance_range) / 2)
        returns = np.clip(self.residuals * volatility, -_FURTHEST, _FURTHEST)
        return Scenarios(self.residual_day, returns, float(recent.close[-1]))


def daily_risk(series: Series) -> Risk:
    """Of one unit held long for 24 hours from the end of the series. Fits a model anew: keep one where speed matters.

    Raises `TooLittleHistoryError` below `NEEDED_HOURS`, and `NoRiskError` where a figure is not finite.
    """
    return RiskModel.fit(series).scenarios(series).risk()


def tail_risk(losses: Floats, level: float = LEVEL, worst: float = np.inf) -> Tail:
    """Value at risk and expected shortfall of equally likely losses, by peaks over a threshold.

    The excesses of the worst tenth over the next smaller loss get a generalised Pareto distribution by probability
    weighted moments (Hosking & Wallis 1987); quantile and mean beyond it are McNeil & Frey's (2000, equations 12, 16).

    Args:
        losses: shape (n,), n at least 30; gains are negative.
        level: from 1 - `TAIL_SHARE`, where the fitted tail begins, to below 1.
        worst: the greatest loss that is possible; no figure exceeds it.

    Raises `NoRiskError` where there are too few losses, or one is not finite.
    """
    if losses.size < 3 / TAIL_SHARE or not np.isfinite(losses).all():
        raise NoRiskError("the losses are too few, or not finite")
    count = int(losses.size * TAIL_SHARE)
    tail = np.sort(np.partition(losses, losses.size - count - 1)[losses.size - count - 1 :])
    threshold = float(tail[0])
    shape, scale = generalised_pareto(tail[1:] - threshold)
    # How far beyond the threshold: losses.size x (1 - level) of `count` excesses are beyond the value at risk.
    rarity = count / (losses.size * (1 - level))
    distance = scale * (np.expm1(shape * np.log(rarity)) / shape if shape else np.log(rarity))
    beyond = (scale + shape * distance) / (1 - shape)
    quantile = min(max(threshold + distance, 0.0), worst)
    shortfall = min(max(threshold + distance + beyond, quantile), worst)
    return Tail(float(quantile), float(shortfall), shape)


def generalised_pareto(excesses: Floats) -> tuple[float, float]:
    """Shape and scale by probability weighted moments (Hosking & Wallis 1987) of excesses, ascending and >= 0, (n,).

    A shape beyond `SHAPE_LIMIT` is set to it, and the scale to what keeps the excesses' mean. (0, 0) where all are 0.
    """
    count = excesses.size
    mean = float(np.mean(excesses))
    if mean <= 0:
        return 0.0, 0.0
    share = (np.arange(1, count + 1) - 0.35) / count
    # Ascending excesses weigh less here than half their mean, so the difference below is above 0.
    weighted = float(np.mean((1 - share) * excesses))
    shape = 2 - mean / (mean - 2 * weighted)
    shape = min(max(shape, -SHAPE_LIMIT), SHAPE_LIMIT)
    return shape, mean * (1 - shape)


def filtered_historical(
    returns: Floats, sigma: Floats, next_sigma: float, level: float = LEVEL, window: int = 4_380
) -> tuple[float, float]:
    """Value at risk and expected shortfall of the next hour's log return: positive numbers, .01 is about 1 %.

    The last `window` returns over what was forecast of their volatility are residuals; the figures are their empirical
    quantile, and their mean beyond it, times `next_sigma` (Barone-Adesi, Giannopoulos & Vosper 1999).

    Args:
        returns: log returns of past hours, oldest first, shape (n,).
        sigma: the volatility forecast for each of those hours before it began, shape (n,), above 0.
        next_sigma: the forecast for the next hour.
        level: the probability that the value at risk is not exceeded.
        window: in hours; half a year, unless told.

    Raises `TooLittleHistoryError` where fewer than 20 residuals would lie beyond the value at risk, and `NoRiskError`
    where a figure is not finite.
    """
    residuals = returns[-window:] / sigma[-window:]
    needed = int(np.ceil(20 / (1 - level) - 1e-9))
    if residuals.size < needed:
        raise TooLittleHistoryError(needed, int(residuals.size))
    beyond = int(residuals.size * (1 - level) + 1e-9)
    # The worst of the residuals up to the one that the value at risk stands on.
    worst = np.partition(residuals, beyond)[: beyond + 1]
    quantile = max(-float(worst[beyond]), 0.0)
    shortfall = max(-float(np.mean(worst[:beyond])), quantile)
    return finite(next_sigma * quantile), finite(next_sigma * shortfall)


def finite(value: float) -> float:
    """The value; raises `NoRiskError` where it is not finite."""
    if not np.isfinite(value):
        raise NoRiskError("the figures are not finite")
    return value


@dataclass(frozen=True, eq=False)
class _Days:
    """Spans of 24 hours, one after another. Arrays have the shape (n,), unless told."""

    begin: npt.NDArray[np.int64]
    """Milliseconds since 1970-01-01T00:00:00Z."""
    hourly_variance: Floats
    """Shape (n, 24)."""
    variance: Floats
    returns: Floats
    """Log returns, from the close before the span to its last."""
    usable: npt.NDArray[np.bool_]
    """True where at least half of the hours have a candle."""

    @classmethod
    def ending(cls, series: Series, end: int, most: int) -> _Days:
        """The spans that end before hour `end` of the series; at most `most`, the last."""
        count = min(end // DAY_HOURS, most)
        start = end - count * DAY_HOURS
        closes = series.close[start + DAY_HOURS - 1 : end : DAY_HOURS]
        before = series.close[start - 1] if start else series.open[0]
        # With the hour before, whose close the first jump is from.
        part = series.until(end).last(end - start + 1)
        hourly = hourly_variance(part)[len(part) - (end - start) :].reshape(count, DAY_HOURS)
        return cls(
            begin=series.open_time[start:end:DAY_HOURS],
            hourly_variance=hourly,
            variance=hourly.sum(axis=1),
            returns=np.diff(np.log(closes), prepend=np.log(before)),
            usable=2 * np.count_nonzero(series.missing[start:end].reshape(count, DAY_HOURS), axis=1) <= DAY_HOURS,
        )

    def hour_share(self, floor: float) -> Floats:
        """The part of the variance that falls in each hour, on an average of the usable spans: (24,), sums to 1."""
        # A thousandth of each day is spread evenly, so that no hour's part is 0 and days without any variance count.
        each = floor / DAY_HOURS
        share = (self.hourly_variance[self.usable] + each) / (self.variance[self.usable, None] + floor)
        return np.asarray(share.mean(axis=0))

    def regressors(self, hour_share: Floats, floor: float) -> Floats:
        """What is known at the end of each span from the `MONTH_DAYS`th on, for the next: (n - MONTH_DAYS + 1, 8).

        No variance counts for less than `floor`.
        """
        # A span that was not seen is taken to be like the last one that was, or the first where none was before.
        place = np.maximum.accumulate(np.where(self.usable, np.arange(self.usable.size), np.argmax(self.usable)))
        variance = np.maximum(self.variance[place], floor)
        logs = np.log(variance)
        hour_of_end = int(self.begin[0] // HOUR_MS) % DAY_HOURS
        late_share = float(np.roll(hour_share, LATE_HOURS - hour_of_end)[:LATE_HOURS].sum())
        late = self.hourly_variance[place, -LATE_HOURS:].sum(axis=1) / late_share
        month_volatility = np.sqrt(_rolling_mean(variance, MONTH_DAYS))
        weekend = _weekend(np.append(self.begin, self.begin[-1] + DAY_MS))
        first = MONTH_DAYS - 1
        return np.column_stack(
            [
                np.ones(logs.size - first),
                np.log(np.maximum(late[first:], floor)),
                logs[first:],
                _rolling_mean(logs, WEEK_DAYS)[MONTH_DAYS - WEEK_DAYS :],
                _rolling_mean(logs, MONTH_DAYS),
                np.minimum(self.returns[first:], 0) / month_volatility,
                weekend[first:-1],
                weekend[first + 1 :],
            ]
        )


def _rolling_mean(values: Floats, width: int) -> Floats:
    return np.convolve(values, np.full(width, 1 / width), mode="valid")


def _weekend(begin: npt.NDArray[np.int64]) -> Floats:
    """The part of the 24 hours from `begin` on that is Saturday or Sunday in UTC, from 0 to 1."""
    hour_of_week = (begin // HOUR_MS + 72) % 168  # from Monday 00:00; 1970 began on a Thursday
    until, since = np.minimum(hour_of_week + DAY_HOURS, 168), np.maximum(hour_of_week, 120)
    return np.asarray(np.clip(until - since, 0, DAY_HOURS) / DAY_HOURS)
