"""The models of one horizon, trained together: trees and a network for the median, three ways to tell the variance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from entasis_engine.analysis import boosting, lstm
from entasis_engine.analysis.boosting import Boosted, Size
from entasis_engine.analysis.features import (
    LOOKBACK,
    NAMES,
    VARIANCE_MIN,
    WINDOW,
    Features,
    compute,
    hourly_variance,
    windows,
)
from entasis_engine.analysis.lstm import Lstm
from entasis_engine.analysis.series import HOUR_MS, Floats, Series
from entasis_engine.analysis.volatility import Har, bias, fit_har, realised_variance

# Slow steps and large leaves: what there is to learn of returns is small beside the noise, and next to nothing at a
# day, where outcomes overlap as well. All sizes were chosen on candles before the test period of the evaluation.
MEDIAN_SIZE = Size(200, 16, 200)
MEDIAN_SIZE_LONG = Size(100, 8, 1000)
LONG_HOURS = 12
"""From this horizon on, what is named LONG counts."""
VARIANCE_SIZE = Size(300, 31, 100)
VARIANCE_SIZE_LONG = Size(250, 16, 200)
NETWORK_SAMPLES = 20_000
NETWORK_EPOCHS = 5
NETWORK_EPOCHS_LONG = 2
PURGE_HOURS = 25
"""Between the last sample a model learns from and the first it is judged by: no outcome may reach over."""
SIGMA_WEIGHTS = (3 / 4, 1 / 4, 0.0)
"""Of the variances by trees, autoregression and network. Before the test period the network's lost to the trees' by a
ninth of their QLIKE at an hour and by more than half at a day: it has no weight."""
SIGMA_MIN = 1e-5
_TARGET_MAX = 10.0  # a return of ten standard deviations teaches a median nothing that one of 30 would not

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Raw:
    """What the models say of n rows, before calibration. All in log return over the horizon, shape (n,)."""

    trees: Floats
    """The median, by the trees."""
    network: Floats
    """The median, by the network."""
    variances: Floats
    """Shape (3, n): by the trees, the autoregression and the network; `Models.sigma` joins them."""


@dataclass(frozen=True, eq=False)
class Samples:
    """One symbol's history as samples."""

    hours: int
    features: Features
    time: Rows
    """Shape (n,): milliseconds since 1970, when the row's candle closed."""
    log_close: Floats
    outcome: Floats
    """Shape (n,): log return over the horizon, NaN where it is not over."""
    realised: Floats
    """Shape (n,): variance over the horizon, NaN where it is not over."""
    usable: npt.NDArray[np.bool_]
    """Shape (n,): whether there is a window of features, and a candle at the hour itself."""
    taught: npt.NDArray[np.bool_]
    """Shape (n,): whether it is usable to learn from as well."""

    @classmethod
    def of(cls, series: Series, hours: int) -> Samples:
        features, log_close = compute(series), np.log(series.close)
        outcome = np.full(len(series), np.nan)
        outcome[:-hours] = log_close[hours:] - log_close[:-hours]
        realised = realised_variance(hourly_variance(series), hours)
        usable = ~series.missing
        usable[: LOOKBACK + WINDOW - 2] = False
        taught = usable.copy()
        # Flat prices have no variance to learn.
        taught[:-hours] &= ~series.missing[hours:] & (realised[:-hours] > VARIANCE_MIN)
        taught[-hours:] = False
        return cls(hours, features, series.open_time + HOUR_MS, log_close, outcome, realised, usable, taught)

    def learned(self, before: int) -> Rows:
        """Rows whose outcome was known, and PURGE_HOURS are over, at `before` (milliseconds)."""
        return np.flatnonzero(self.taught & (self.time <= before - PURGE_HOURS * HOUR_MS))


@dataclass(frozen=True, eq=False)
class Models:
    """Trained models of one horizon. Nothing changes them; several threads may ask at a time."""

    hours: int
    median: Boosted
    variance: Boosted
    har: Har
    network: Lstm
    biases: tuple[float, float, float]
    """What the variances of the trees, the autoregression and the network are multiplied with."""

    def predict(self, features: Features, rows: Rows) -> Raw:
        """What the models say of `rows`; each must have a whole window of features before it."""
        if not rows.size:
            return Raw(np.empty(0), np.empty(0), np.empty((3, 0)))
        scale = features.scale[rows] * np.sqrt(self.hours)
        matrix = features.matrix[rows]
        network = self.network.predict(windows(features, rows))
        logs = np.stack([self.variance.predict(matrix), self.har.predict(matrix), 2 * network[:, 1]])
        return Raw(
            self.median.predict(matrix) * scale,
            network[:, 0] * scale,
            np.exp(np.clip(logs, -12.0, 12.0)) * scale * scale,
        )

    def sigma(self, raw: Raw) -> Floats:
        """Standard deviation over the horizon, shape (n,), at least SIGMA_MIN: the weighted geometric mean."""
        total = np.zeros(raw.trees.size)
        for variance, factor, weight in zip(raw.variances, self.biases, SIGMA_WEIGHTS, strict=True):
            total += 0.5 * weight * np.log(np.maximum(variance * factor, VARIANCE_MIN))
        return np.maximum(np.exp(total), SIGMA_MIN)


def fit_network(
    samples: Sequence[Samples], before: int, seed: int, progress: Callable[[float], None] = lambda share: None
) -> Lstm:
    """The network alone, of all samples known at `before` (milliseconds)."""
    generator = np.random.default_rng(seed)
    parts = [(one, rows) for one in samples if (rows := one.learned(before)).size]
    share = min(1.0, NETWORK_SAMPLES / sum(rows.size for _, rows in parts))
    chosen = [(one, np.sort(generator.choice(rows, int(rows.size * share), replace=False))) for one, rows in parts]
    return lstm.fit(
        np.concatenate([windows(one.features, rows) for one, rows in chosen]),
        np.concatenate([_scaled(one, rows) for one, rows in chosen]),
        epochs=NETWORK_EPOCHS_LONG if samples[0].hours >= LONG_HOURS else NETWORK_EPOCHS,
        seed=seed,
        loss="laplace",
        progress=progress,
    )


def fit(
    samples: Sequence[Samples],
    before: int,
    hours: int,
    network: Lstm,
    *,
    seed: int,
    threads: int,
    progress: Callable[[float], None] = lambda share: None,
) -> Models:
    """All but the network, of all samples known at `before` (milliseconds). Variances have no bias yet."""
    parts = [(one, one.learned(before)) for one in samples]
    matrix = np.concatenate([one.features.matrix[rows] for one, rows in parts])
    returns = np.concatenate([_scaled(one, rows) for one, rows in parts])
    variances = np.concatenate(
        [np.log(one.realised[rows] / (one.features.scale[rows] ** 2 * hours)) for one, rows in parts]
    )
    median = boosting.fit(
        matrix,
        returns,
        "median",
        MEDIAN_SIZE_LONG if hours >= LONG_HOURS else MEDIAN_SIZE,
        names=NAMES,
        seed=seed,
        threads=threads,
        progress=lambda share: progress(share / 2),
    )
    variance = boosting.fit(
        matrix,
        variances,
        "mean",
        VARIANCE_SIZE_LONG if hours >= LONG_HOURS else VARIANCE_SIZE,
        names=NAMES,
        seed=seed,
        threads=threads,
        progress=lambda share: progress(0.5 + share / 2),
    )
    return Models(hours, median, variance, fit_har(matrix, variances), network, (1.0, 1.0, 1.0))


def biases(raw: Raw, realised: Floats) -> tuple[float, float, float]:
    """Of the three variances, by outcomes (n,) that the models did not see."""
    trees, har, network = (bias(variance, realised) for variance in raw.variances)
    return trees, har, network


def _scaled(samples: Samples, rows: Rows) -> Floats:
    """Outcomes beside what the moving average of variances lets expect."""
    scale = samples.features.scale[rows] * np.sqrt(samples.hours)
    scaled: Floats = np.clip(samples.outcome[rows] / scale, -_TARGET_MAX, _TARGET_MAX)
    return scaled
