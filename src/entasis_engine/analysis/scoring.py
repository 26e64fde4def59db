"""How good forecasts were: errors, intervals, probabilities. Pure functions of arrays.

All of them answer None where the figure does not exist (no forecasts, or nothing to divide by) and raise `ValueError`
where the input cannot be forecasts at all: other shapes than told, numbers that are not finite, probabilities outside
0 to 1. What is answered is always finite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Values = npt.NDArray[Any]
"""Numbers of any kind; hits may be booleans."""

BINS = 10


def relative_error(predicted: Values, last: Values, actual: Values) -> float | None:
    """Mean absolute error over that of the random walk, which predicts the last price. Below 1 is better than it.

    Source: Theil (1966), as the mean absolute error relative to a benchmark of Hyndman and Koehler (2006).

    Args:
        predicted, last, actual: prices, shape (n,).

    None where n is 0 or the price never moved.
    """
    predicted, last, actual = _columns(predicted, last, actual)
    walk = np.abs(actual - last).sum()
    return _figure(np.abs(actual - predicted).sum() / walk) if walk > 0 else None


def diebold_mariano(
    loss: Values,
    benchmark_loss: Values,
    horizon: int,
    *,
    weights: Literal["flat", "bartlett"] = "flat",
) -> float | None:
    """The t of the mean difference of losses. Positive is better than the benchmark; to be held against Student's t
    with n - 1 degrees of freedom.

    Forecasts of `horizon` steps that are made at each step overlap, so that their losses are correlated up to
    `horizon` - 1 steps apart. The variance of the mean counts these autocovariances: with flat weights, as Diebold and
    Mariano (1995) do and as the correction for small samples of Harvey, Leybourne and Newbold (1997), which is applied,
    was derived for; or with the falling weights of Newey and West (1987). Where errors overlap fully, falling weights
    over so few lags leave a third of the variance out: they reject a true null at 5 % in 10 % of cases (simulated; flat
    weights in 5 %). Flat ones may come to no variance above 0 in a small sample; falling ones then stand in.

    Args:
        loss, benchmark_loss: of the same forecasts in the order of time and evenly spaced, shape (n,).
        horizon: steps from a forecast to what it forecasts, at least 1.

    None where n is less than 2 or not above `horizon`, or the difference never varies.
    """
    if horizon < 1:
        raise ValueError(f"a horizon is at least 1 step, not {horizon}")
    loss, benchmark_loss = _columns(loss, benchmark_loss)
    count = loss.size
    if count < 2 or count <= horizon:
        return None
    difference = benchmark_loss - loss
    mean = difference.mean()
    around = difference - mean
    variance = around @ around / count
    # A constant leaves rounding behind, which is no variance.
    if variance <= (1e-12 * np.abs(difference).max()) ** 2:
        return None
    lags = np.arange(1, horizon)
    covariances = np.array([around[lag:] @ around[:-lag] for lag in lags]) / count
    long_run = variance + 2 * covariances.sum()
    if weights == "bartlett" or long_run <= 0:
        long_run = variance + 2 * ((1 - lags / horizon) * covariances).sum()
    if long_run <= 0:  # never but by rounding
        return None
    correction = (count + 1 - 2 * horizon + horizon * (horizon - 1) / count) / count  # above 0 where n > horizon
    return _figure(mean / np.sqrt(long_run / count) * np.sqrt(correction))


def coverage(low: Values, high: Values, actual: Values) -> float | None:
    """Share of the outcomes within their intervals, ends included: the unconditional coverage of Christoffersen (1998).

    Args:
        low, high, actual: shape (n,).

    None where n is 0.
    """
    low, high, actual = _columns(low, high, actual)
    return _figure(np.mean((low <= actual) & (actual <= high))) if actual.size else None


def pinball(quantile_forecasts: Values, levels: Values, actual: Values) -> float | None:
    """Mean pinball loss over all forecasts and levels, in the unit of what is forecast. Less is better.

    Source: Koenker and Bassett (1978).

    Args:
        quantile_forecasts: shape (n, k).
        levels: of the quantiles, between 0 and 1, shape (k,).
        actual: shape (n,).

    None where n or k is 0.
    """
    (actual,) = _columns(actual)
    (levels,) = _columns(levels)
    quantiles = _finite(quantile_forecasts)
    if quantiles.shape != (actual.size, levels.size):
        raise ValueError(f"quantiles must have the shape {(actual.size, levels.size)}, not {quantiles.shape}")
    if np.any((levels <= 0) | (levels >= 1)):
        raise ValueError("levels must be between 0 and 1")
    above = actual[:, None] - quantiles
    return _figure(np.maximum(levels * above, (levels - 1) * above).mean()) if quantiles.size else None


def expected_calibration_error(probability: Values, hit: Values, bins: int = BINS) -> float | None:
    """Mean distance between the probability told and the share of hits, over bins of **equal count**, each weighted by
    its size. 0 is calibrated; chance alone makes it more than 0, see `simulated_ece`.

    Source: Naeini, Cooper and Hauskrecht (2015), with the bins of Nguyen and O'Connor (2015): told probabilities crowd
    together, and bins of equal width would then be empty or hold nearly all.

    Args:
        probability, hit: shape (n,); `hit` holds booleans, or zeros and ones. Equal probabilities share a bin.
        bins: at most so many.

    None where n is 0.
    """
    probability, hit = _forecasts(probability, hit)
    return _calibration_error(probability, hit, _bins(probability, bins), bins) if hit.size else None


def simulated_ece(probability: Values, generator: np.random.Generator, draws: int = 1000, bins: int = BINS) -> Floats:
    """Expected calibration errors that a perfect forecaster of the same probabilities would have, by chance alone, if
    outcomes were independent: what a measured one is to be held against.

    Source: consistency resampling, Bröcker and Smith (2007).

    Returns shape (draws,), ascending; empty where n is 0. Its mean is what to expect, its 95 % quantile what to exceed
    only now and then.
    """
    probability = _probabilities(probability)
    if not probability.size:
        return np.empty(0)
    place = _bins(probability, bins)
    errors = [
        _calibration_error(probability, (generator.random(probability.size) < probability).astype(float), place, bins)
        for _ in range(draws)
    ]
    return np.sort(np.array(errors, dtype=np.float64))


def spiegelhalter_z(probability: Values, hit: Values) -> float | None:
    """Standard normal where probabilities are calibrated and outcomes independent. Positive: the Brier score is worse
    than such probabilities promise.

    Source: Spiegelhalter (1986). Outcomes of overlapping forecasts are not independent, and make it too large.

    Args:
        probability, hit: shape (n,).

    None where n is 0, or all probabilities are 0, 1/2 or 1, of which it cannot judge.
    """
    probability, hit = _forecasts(probability, hit)
    lean = 1 - 2 * probability
    variance = np.sum(lean**2 * probability * (1 - probability))
    return _figure(np.sum((hit - probability) * lean) / np.sqrt(variance)) if variance > 0 else None


def brier_skill(probability: Values, hit: Values, climatology: float | Values) -> float | None:
    """The part of climatology's squared error that the probabilities do without: 1 is perfect, 0 no better, below 0
    worse.

    Source: Brier (1950), Murphy (1973).

    Args:
        probability, hit: shape (n,).
        climatology: the probability that would be told without a model, such as the share of hits so far; one number
            or shape (n,).

    None where n is 0 or climatology was never wrong.
    """
    probability, hit = _forecasts(probability, hit)
    base = _probabilities(np.broadcast_to(_finite(climatology), hit.shape))
    error = np.sum((base - hit) ** 2)
    return _figure(1 - np.sum((probability - hit) ** 2) / error) if error > 0 else None


@dataclass(frozen=True)
class ReliabilityRow:
    """One bin of a reliability diagram."""

    count: int
    low: float
    """The least probability in it."""
    high: float
    """The greatest."""
    probability: float
    """The mean that was told."""
    hit_rate: float
    """The share that came true."""


def reliability(probability: Values, hit: Values, bins: int = BINS) -> list[ReliabilityRow]:
    """The bins of `expected_calibration_error`, ascending, without empty ones.

    Source: Murphy and Winkler (1977).

    Args:
        probability, hit: shape (n,).
    """
    probability, hit = _forecasts(probability, hit)
    place = _bins(probability, bins)
    rows = []
    for number in np.unique(place):
        told, came = probability[place == number], hit[place == number]
        rows.append(
            ReliabilityRow(told.size, float(told.min()), float(told.max()), float(told.mean()), float(came.mean()))
        )
    return rows


def qlike(variance_forecast: Values, realised: Values) -> float | None:
    """Mean of r/f - log(r/f) - 1, which is 0 for perfect forecasts: a loss whose ranking survives a noisy, unbiased
    measure of variance.

    Source: Patton (2011).

    Args:
        variance_forecast, realised: variances above 0, shape (n,). An hour without trades has none: leave it out.

    None where n is 0.
    """
    forecast, realised = _columns(variance_forecast, realised)
    if np.any(forecast <= 0) or np.any(realised <= 0):
        raise ValueError("variances must be above 0")
    ratio = realised / forecast
    return _figure(np.mean(ratio - np.log(ratio) - 1)) if realised.size else None


def _calibration_error(probability: Floats, hit: Floats, place: npt.NDArray[np.intp], bins: int) -> float:
    return _figure(np.abs(np.bincount(place, weights=hit - probability, minlength=bins)).sum() / hit.size)


def _bins(probability: Floats, bins: int) -> npt.NDArray[np.intp]:
    """The bin of each, of as equal counts as equal probabilities, which stay together, allow."""
    if bins < 1:
        raise ValueError(f"there must be at least 1 bin, not {bins}")
    if not probability.size:
        return np.empty(0, dtype=np.intp)
    edges = np.quantile(probability, np.arange(1, bins) / bins)
    return np.searchsorted(edges, probability, side="right")


def _forecasts(probability: Values, hit: Values) -> tuple[Floats, Floats]:
    probability, hit = _columns(_probabilities(probability), hit)
    if np.any((hit != 0) & (hit != 1)):
        raise ValueError("hits must be 0 or 1")
    return probability, hit


def _probabilities(values: Values) -> Floats:
    (probability,) = _columns(values)
    if np.any((probability < 0) | (probability > 1)):
        raise ValueError("probabilities must be from 0 to 1")
    return probability


def _figure(value: float | np.floating[Any]) -> float:
    if not np.isfinite(value):
        raise ValueError("numbers are too large, or too small, to reckon with")
    return float(value)


def _columns(*values: Values) -> tuple[Floats, ...]:
    """Finite arrays of one and the same shape (n,)."""
    columns = tuple(_finite(value) for value in values)
    if any(column.ndim != 1 or column.shape != columns[0].shape for column in columns):
        raise ValueError(f"arrays must have one shape (n,), not {[column.shape for column in columns]}")
    return columns


def _finite(values: float | Values) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("numbers must be finite")
    return array
