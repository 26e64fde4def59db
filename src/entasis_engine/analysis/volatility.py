"""Variance of the log return over a horizon: what it was, and forecasts of it that need no trees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from entasis_engine.analysis.features import NAMES, VARIANCE_MIN
from entasis_engine.analysis.series import Floats

HAR_NAMES = ("variance_1", "variance_6", "variance_24", "variance_168", "variance_720", "season_1", "season_4", "level")
"""The logarithms of past variances over an hour, a quarter of a day, a day, a week and a month, and of those of the
hours to come on the days before; the first ones beside that of the moving average."""
_HAR = [NAMES.index(name) for name in HAR_NAMES]
_RIDGE = 1e-3


def realised_variance(hourly: Floats, hours: int) -> Floats:
    """The sum of the hourly variances of the `hours` after each hour, shape (n,); NaN where they are not over yet."""
    realised = np.full(hourly.size, np.nan)
    if hourly.size > hours:
        realised[:-hours] = np.lib.stride_tricks.sliding_window_view(hourly[1:], hours).sum(axis=-1)
    return realised


@dataclass(frozen=True, eq=False)
class Har:
    """The heterogeneous autoregression of Corsi (2009) in logarithms, with the season of the hours to come."""

    coefficients: Floats
    """Shape (1 + len(HAR_NAMES),), the first is the constant."""

    def predict(self, matrix: Floats) -> Floats:
        """Log of the variance over that of a return scaled with the moving average, for features (n, k): (n,)."""
        # Term by term, so that a row is the same alone and among others.
        total = np.full(len(matrix), self.coefficients[0])
        for place, coefficient in zip(_HAR, self.coefficients[1:], strict=True):
            total += coefficient * matrix[:, place]
        return total


def fit_har(matrix: Floats, log_variance: Floats) -> Har:
    """Least squares of the scaled log variance (n,) on features (n, k), n at least 100."""
    if len(matrix) < 100:
        raise ValueError(f"{len(matrix)} samples are too few")
    design = np.column_stack([np.ones(len(matrix)), matrix[:, _HAR]])
    # A ridge: columns may be constant, where prices were flat.
    square = design.T @ design + _RIDGE * len(matrix) * np.diag([0.0, *([1.0] * len(_HAR))])
    return Har(np.asarray(np.linalg.solve(square, design.T @ log_variance), dtype=np.float64))


def bias(variance: Floats, realised: Floats) -> float:
    """What to multiply forecasts with, so that realised over forecast variance is 1 in the mean: what minimises QLIKE
    (Patton 2011). Ratios above 50 count as 50: one crash shall not move all forecasts.
    """
    ratio = realised / np.maximum(variance, VARIANCE_MIN)
    return float(np.clip(np.minimum(ratio, 50.0).mean(), 0.05, 20.0)) if ratio.size else 1.0
