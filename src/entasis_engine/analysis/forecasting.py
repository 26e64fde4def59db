"""Forecasts of a price an hour, four hours and a day ahead, with intervals and the confidence that goes with them.

`train` makes a `Trained` of the histories of several symbols; a `Forecaster` serves one symbol with it. The median of
the return is told by trees and a network, its spread by trees, an autoregression and the network. How far forecasts
were off lately, in units of that spread, makes intervals and confidence: of forecasts that were made out of sample, by
models trained on what came before them, within the training, and of live ones from then on.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from math import exp, isfinite, log
from typing import Any

import numpy as np
import numpy.typing as npt

from entasis_engine.analysis import ensemble
from entasis_engine.analysis.boosting import Boosted
from entasis_engine.analysis.calibration import Gate, Residuals
from entasis_engine.analysis.ensemble import Models, Raw, Samples
from entasis_engine.analysis.features import LOOKBACK, NAMES, WINDOW, Features, compute
from entasis_engine.analysis.lstm import Lstm
from entasis_engine.analysis.series import HOUR_MS, Floats, Series
from entasis_engine.analysis.volatility import HAR_NAMES, Har
from entasis_engine.times import from_milliseconds, to_milliseconds

TIMEFRAMES: Mapping[str, int] = {"1h": 1, "4h": 4, "1d": 24}
"""The horizon in hours."""
BANDS: Mapping[str, float] = {"1h": 0.005, "4h": 0.01, "1d": 0.02}
"""`confidence` is the probability to end within this part of the prediction."""
MODELS = ("lstm", "ensemble")
LEVELS = (0.5, 0.8, 0.95)

HISTORY_HOURS_MIN = LOOKBACK + WINDOW - 1
"""Candles that a forecast needs."""
TRAIN_HOURS = 2 * 365 * 24
"""What `train` learns from, at the end of each history, besides the lookback before it."""
TRAIN_HOURS_MIN = 120 * 24
"""Candles without which `train` does not begin."""

RESIDUALS: Mapping[str, int] = {"1h": 30 * 24, "4h": 120 * 24, "1d": 180 * 24}
"""Residuals that make intervals. Fewer keep the coverage nearer to what is said, more make ends steadier."""
CONFIDENCE_RESIDUALS: Mapping[str, int] = {"1h": 30 * 24, "4h": 120 * 24, "1d": 365 * 24}
"""Residuals that make the confidence."""
GATE_DAYS = 365
"""Over which the ensemble's gains over the random walk are judged."""
_REPLAYED_HOURS_MAX = 366 * 24
_JUDGED_HOURS = 365 * 24  # the end of the training's span, forecast out of sample
_FOLDS = 2
_SAMPLES_MIN = 1500
_FORMAT = 1


class NotEnoughHistoryError(Exception):
    """Fewer hours of candles than are needed."""

    def __init__(self, needed: int, given: int) -> None:
        super().__init__(f"{given} hours of candles are too few: {needed} are needed")
        self.needed, self.given = needed, given


class NoForecastError(Exception):
    """The models have no finite answer."""


@dataclass(frozen=True, slots=True)
class Range:
    """Where the price lies at the horizon with the probability `level`. Prices in quote currency."""

    level: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """Of the price at the horizon, in quote currency."""

    price: float
    """The median."""
    confidence: float
    """Calibrated probability that the price ends within +-`band` of the forecast."""
    band: float
    """A part of 1."""
    ranges: tuple[Range, ...]
    """One for each of LEVELS; a wider one holds the narrower."""
    sigma: float
    """Standard deviation of the log return over the horizon."""


@dataclass(frozen=True, eq=False)
class Judged:
    """One symbol's forecasts out of sample, hour by hour, from which calibration starts. Shape (n,) each."""

    time: npt.NDArray[np.int64]
    """Milliseconds since 1970, when the candle closed; ascending."""
    log_close: Floats
    usable: npt.NDArray[np.bool_]
    """False where the hour had no candle."""
    trees: Floats
    network: Floats
    sigma: Floats


@dataclass(frozen=True, eq=False)
class Trained:
    """Models of one timeframe for all symbols, and their forecasts out of sample. Nothing changes it."""

    timeframe: str
    symbols: tuple[str, ...]
    trained_from: datetime
    """The first close that was learned from."""
    cutoff: datetime
    """The last close that was learned from, or was there to be."""
    sample_size: int
    feature_names: tuple[str, ...]
    metrics: Mapping[str, float]
    """Out of sample, within the training; all symbols together."""
    models: Models
    judged: Mapping[str, Judged]
    """By symbol."""

    @property
    def hours(self) -> int:
        """The horizon."""
        return TIMEFRAMES[self.timeframe]

    def to_files(self) -> Mapping[str, bytes]:
        """All there is, by file name: LightGBM's text, arrays, and JSON; nothing that runs when it is read."""
        meta = {
            "format": _FORMAT,
            "timeframe": self.timeframe,
            "symbols": list(self.symbols),
            "trained_from": to_milliseconds(self.trained_from),
            "cutoff": to_milliseconds(self.cutoff),
            "sample_size": self.sample_size,
            "feature_names": list(self.feature_names),
            "metrics": dict(self.metrics),
        }
        judged = {
            f"{place}_{name}": getattr(self.judged[symbol], name)
            for place, symbol in enumerate(self.symbols)
            for name in _JUDGED
        }
        return {
            "meta.json": json.dumps(meta, indent=1, sort_keys=True, allow_nan=False).encode(),
            "median.txt": self.models.median.text.encode(),
            "variance.txt": self.models.variance.text.encode(),
            "volatility.npz": _packed({"har": self.models.har.coefficients, "biases": np.array(self.models.biases)}),
            "lstm.npz": _packed(self.models.network.arrays()),
            "calibration.npz": _packed(judged),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Trained:
        """From what `to_files` gave. Raises ValueError where it is damaged, or does not fit this program."""
        try:
            return cls._read(files)
        except (KeyError, TypeError, AttributeError, OverflowError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise ValueError(f"not a trained model: {error!r}") from error

    @classmethod
    def _read(cls, files: Mapping[str, bytes]) -> Trained:
        meta = json.loads(files["meta.json"])
        if meta["format"] != _FORMAT or meta["timeframe"] not in TIMEFRAMES:
            raise ValueError("a trained model of another format")
        if tuple(meta["feature_names"]) != NAMES:
            raise ValueError("a model trained on other features")
        hours, symbols = TIMEFRAMES[meta["timeframe"]], tuple(meta["symbols"])
        volatility = _unpacked(files["volatility.npz"])
        coefficients, factors = _numbers(volatility["har"], 1 + len(HAR_NAMES)), _numbers(volatility["biases"], 3)
        network = Lstm.from_arrays(_unpacked(files["lstm.npz"]))
        if (network.steps, network.inputs, network.outputs) != (WINDOW, 8, 2):
            raise ValueError("a network of another shape")
        if not symbols or not all(isinstance(symbol, str) for symbol in symbols):
            raise ValueError("a model of no symbol")
        models = Models(
            hours,
            Boosted.from_text(files["median.txt"].decode(), NAMES),
            Boosted.from_text(files["variance.txt"].decode(), NAMES),
            Har(coefficients),
            network,
            (float(factors[0]), float(factors[1]), float(factors[2])),
        )
        arrays = _unpacked(files["calibration.npz"])
        metrics = {str(name): float(figure) for name, figure in meta["metrics"].items()}
        return cls(
            meta["timeframe"],
            symbols,
            from_milliseconds(int(meta["trained_from"])),
            from_milliseconds(int(meta["cutoff"])),
            int(meta["sample_size"]),
            NAMES,
            metrics,
            models,
            {symbol: _judged(arrays, place) for place, symbol in enumerate(symbols)},
        )


_JUDGED = ("time", "log_close", "usable", "trees", "network", "sigma")


def _judged(arrays: Mapping[str, npt.NDArray[Any]], place: int) -> Judged:
    time, usable = arrays[f"{place}_time"], arrays[f"{place}_usable"]
    if time.dtype != np.int64 or usable.dtype != np.bool_ or time.ndim != 1 or usable.shape != time.shape:
        raise ValueError("times must be integers, and usable a yes or no of each")
    if np.any(np.diff(time) <= 0):
        raise ValueError("times must ascend")
    log_close, trees, network, sigma = (
        _numbers(arrays[f"{place}_{name}"], time.size) for name in ("log_close", "trees", "network", "sigma")
    )
    if np.any(sigma <= 0):
        raise ValueError("sigma must be above 0")
    return Judged(time, log_close, usable, trees, network, sigma)


def _numbers(array: npt.NDArray[Any], size: int) -> Floats:
    if array.dtype != np.float64 or array.shape != (size,) or not np.isfinite(array).all():
        raise ValueError(f"{size} finite numbers must be there")
    return array


def _packed(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """An .npz, the same bytes for the same arrays: `numpy.savez` writes no clock time."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _unpacked(content: bytes) -> dict[str, npt.NDArray[Any]]:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)


def train(
    histories: Mapping[str, Series],
    timeframe: str,
    *,
    seed: int,
    threads: int = 1,
    progress: Callable[[float], None] = lambda share: None,
) -> Trained:
    """Train on the end of each history, all symbols pooled. The same arguments on the same machine give the same.

    First models learn from what was before the last year, or before the last half where there is less than two years,
    and forecast what came then, in two parts, the second by trees that have learned from the first. Only then the
    models that serve learn from everything.

    Raises `NotEnoughHistoryError` where no history has TRAIN_HOURS_MIN, or too few of their hours moved; ValueError for
    a timeframe that is none.
    """
    if timeframe not in TIMEFRAMES:
        raise ValueError(f"there is no timeframe {timeframe!r}; there are {', '.join(TIMEFRAMES)}")
    hours = TIMEFRAMES[timeframe]
    longest = max((len(series) for series in histories.values()), default=0)
    if longest < TRAIN_HOURS_MIN:
        raise NotEnoughHistoryError(TRAIN_HOURS_MIN, longest)
    # A history too short to learn from is left out, and its symbol is served as one that was not there.
    enough = {
        name: Samples.of(histories[name].last(TRAIN_HOURS + HISTORY_HOURS_MIN), hours)
        for name in sorted(histories)
        if len(histories[name]) >= TRAIN_HOURS_MIN
    }
    samples = [one for one in enough.values() if one.taught.any()]
    symbols = tuple(name for name, one in enough.items() if one.taught.any())
    moving = sum(int(one.taught.sum()) for one in samples)
    if moving < _SAMPLES_MIN:  # hours without a candle, and flat prices, teach nothing
        raise NotEnoughHistoryError(TRAIN_HOURS_MIN, moving)
    first = min(int(one.time[one.taught][0]) for one in samples)
    cutoff = max(int(one.time[-1]) for one in samples)

    span = min(_JUDGED_HOURS * HOUR_MS, (cutoff - first) // 2)
    bounds = [cutoff - span + span * fold // _FOLDS // HOUR_MS * HOUR_MS for fold in range(_FOLDS)]
    bounds.append(cutoff + HOUR_MS)
    parts = _Parts(progress)
    if sum(one.learned(bounds[0]).size for one in samples) < _SAMPLES_MIN // 4:
        raise NotEnoughHistoryError(TRAIN_HOURS_MIN, moving)
    early = ensemble.fit_network(samples, bounds[0], seed, parts.of(0.3))
    raws: list[list[Raw]] = [[] for _ in samples]
    for start, end in pairwise(bounds):
        models = ensemble.fit(samples, start, hours, early, seed=seed, threads=threads, progress=parts.of(0.1))
        for one, found in zip(samples, raws, strict=True):
            found.append(models.predict(one.features, _between(one, start, end)))
    network = ensemble.fit_network(samples, cutoff + ensemble.PURGE_HOURS * HOUR_MS, seed, parts.of(0.4))
    final = ensemble.fit(
        samples,
        cutoff + ensemble.PURGE_HOURS * HOUR_MS,
        hours,
        network,
        seed=seed,
        threads=threads,
        progress=parts.of(0.1),
    )
    joined = [_joined(found) for found in raws]
    rows = [_between(one, bounds[0], bounds[-1]) for one in samples]
    known = [one.taught[chosen] for one, chosen in zip(samples, rows, strict=True)]
    realised = np.concatenate([one.realised[chosen][k] for one, chosen, k in zip(samples, rows, known, strict=True)])
    seen = _joined([_part(raw, k) for raw, k in zip(joined, known, strict=True)])
    final = replace(final, biases=ensemble.biases(seen, realised))
    judged = {
        symbol: Judged(
            one.time[chosen],
            one.log_close[chosen],
            one.usable[chosen],
            raw.trees,
            raw.network,
            final.sigma(raw),
        )
        for symbol, one, chosen, raw in zip(symbols, samples, rows, joined, strict=True)
    }
    outcome = np.concatenate([one.outcome[chosen][k] for one, chosen, k in zip(samples, rows, known, strict=True)])
    progress(1.0)
    return Trained(
        timeframe,
        symbols,
        from_milliseconds(first),
        from_milliseconds(cutoff),
        sum(one.learned(cutoff + ensemble.PURGE_HOURS * HOUR_MS).size for one in samples),
        NAMES,
        _metrics(seen, outcome),
        final,
        judged,
    )


@dataclass(frozen=True, eq=False)
class Track:
    """One model's forecasts of many hours, as `Forecast`. Shape (n,), ranges (n, len(LEVELS))."""

    time: npt.NDArray[np.int64]
    """Milliseconds since 1970: the close that each was made at."""
    last: Floats
    """The price at that close."""
    price: Floats
    confidence: Floats
    sigma: Floats
    low: Floats
    high: Floats


class Forecaster:
    """Serves one symbol. It keeps the last residuals, so that one more closed candle costs little.

    Where the symbol was not trained on, the models, which know no symbols, forecast what is there of its own past to
    begin with; until that fills the windows, residuals of all trained symbols fill the rest.

    Not for several threads at a time.
    """

    def __init__(self, trained: Trained, symbol: str) -> None:
        self._trained = trained
        self._hours = trained.hours
        self._band = BANDS[trained.timeframe]
        self._reset(symbol)
        self._symbol = symbol

    def forecast(self, series: Series, model: str) -> Forecast:
        """As of the last candle of the series.

        The series may be longer or shorter than the last one; hours that were seen before are not looked at again.
        Raises `NotEnoughHistoryError`, `NoForecastError`, and ValueError for a model that is none.
        """
        if model not in MODELS:
            raise ValueError(f"there is no model {model!r}; there are {', '.join(MODELS)}")
        if len(series) < HISTORY_HOURS_MIN:
            raise NotEnoughHistoryError(HISTORY_HOURS_MIN, len(series))
        time = int(series.open_time[-1]) + HOUR_MS
        with np.errstate(all="ignore"):
            if time > self._time:
                self._advance(series)
            if time == self._time and float(series.close[-1]) == self._close:
                return self._forecast(model, self._close, self._last)
            # Of an hour before: as it would be said with what is known now.
            features = compute(series, WINDOW)
            raw = self._trained.models.predict(features, np.array([WINDOW - 1]))
            said = self._said((raw, self._trained.models.sigma(raw)), 0)
            return self._forecast(model, float(series.close[-1]), said)

    def track(self, series: Series, since: datetime) -> Mapping[str, Track]:
        """Forecasts of each hour whose candle closed after `since`, by model: what `forecast` would have answered hour
        by hour. Hours before what this forecaster has seen are left out; so are those without a forecast.
        """
        if len(series) < HISTORY_HOURS_MIN:
            raise NotEnoughHistoryError(HISTORY_HOURS_MIN, len(series))
        found: dict[str, list[tuple[float, ...]]] = {model: [] for model in MODELS}
        begin = to_milliseconds(since)

        def tell(time: int) -> None:
            if time <= begin:
                return
            for model, rows in found.items():
                try:
                    one = self._forecast(model, self._close, self._last)
                except NoForecastError:
                    continue
                ends = [end for side in ("low", "high") for end in (getattr(r, side) for r in one.ranges)]
                rows.append((time, self._close, one.price, one.confidence, one.sigma, *ends))

        with np.errstate(all="ignore"):
            self._advance(series, tell)
        width = 5 + 2 * len(LEVELS)
        tracks = {}
        for model, rows in found.items():
            array = np.array(rows, dtype=np.float64).reshape(len(rows), width)
            time, last, price, confidence, sigma = array[:, :5].T
            low, high = array[:, 5 : 5 + len(LEVELS)], array[:, 5 + len(LEVELS) :]
            tracks[model] = Track(time.astype(np.int64), last, price, confidence, sigma, low, high)
        return tracks

    def _reset(self, symbol: str) -> None:
        timeframe = self._trained.timeframe
        self._residuals = {model: Residuals(RESIDUALS[timeframe]) for model in MODELS}
        self._misses = {model: Residuals(CONFIDENCE_RESIDUALS[timeframe]) for model in MODELS}
        self._gate = Gate(GATE_DAYS)
        self._pending: deque[_Pending] = deque()
        self._rows: Features | None = None  # the last ones, which the network's next window begins with
        self._read: Series | None = None  # the candles that they were made of
        self._time, self._close, self._last = 0, 0.0, _Said(0.0, 0.0, 1.0)
        judged = self._trained.judged.get(symbol)
        if judged is not None and judged.time.size:
            for place in range(judged.time.size):
                said = _Said(float(judged.trees[place]), float(judged.network[place]), float(judged.sigma[place]))
                self._step(int(judged.time[place]), float(judged.log_close[place]), bool(judged.usable[place]), said)
            return
        # A symbol that was not there: begin with the last residuals of all that were, in turns.
        others = [Forecaster(self._trained, name) for name, one in self._trained.judged.items() if one.time.size]
        for mine, sizes in (("_residuals", RESIDUALS), ("_misses", CONFIDENCE_RESIDUALS)):
            for model in MODELS:
                share = sizes[timeframe] // max(len(others), 1)
                for turn in zip(*(getattr(other, mine)[model].array()[-share:] for other in others), strict=False):
                    for residual in turn:
                        getattr(self, mine)[model].push(float(residual))

    def _advance(self, series: Series, tell: Callable[[int], None] = lambda time: None) -> None:
        """Go on from the last hour seen to the last of the series."""
        times = series.open_time + HOUR_MS
        first = max(int(np.searchsorted(times, self._time, side="right")), HISTORY_HOURS_MIN - 1)
        # Older ones than any window holds would be forgotten at once.
        first = max(first, len(series) - _REPLAYED_HOURS_MAX)
        if first >= len(series):
            return
        raw, sigma = self._raws(series, first)
        logs = np.log(series.close[first:])
        for place in range(len(series) - first):
            at = first + place
            self._close = float(series.close[at])
            self._step(
                int(times[at]), float(logs[place]), not bool(series.missing[at]), self._said((raw, sigma), place)
            )
            tell(self._time)

    def _raws(self, series: Series, first: int) -> tuple[Raw, Floats]:
        """What the models say of the rows from `first` to the end."""
        count = len(series) - first
        kept = self._rows
        seen = series.until(first).last(HISTORY_HOURS_MIN)
        if kept is not None and int(series.open_time[first]) == self._time and _alike(seen, self._read):
            # Rows are the same whatever they are computed from: those of the hours before need not be again.
            added = compute(series, count)
            features = Features(np.concatenate([kept.matrix, added.matrix]), np.concatenate([kept.scale, added.scale]))
        else:
            features = compute(series, count + WINDOW - 1)
        self._rows = Features(features.matrix[-WINDOW + 1 :], features.scale[-WINDOW + 1 :])
        self._read = series.last(HISTORY_HOURS_MIN)
        raw = self._trained.models.predict(features, np.arange(WINDOW - 1, WINDOW - 1 + count))
        return raw, self._trained.models.sigma(raw)

    def _said(self, raws: tuple[Raw, Floats], place: int) -> _Said:
        raw, sigma = raws
        return _Said(float(raw.trees[place]), float(raw.network[place]), float(sigma[place]))

    def _step(self, time: int, log_close: float, usable: bool, said: _Said) -> None:
        """The hour that closed at `time`: what was forecast of it is judged, then its own forecast waits."""
        pending = self._pending
        while pending and pending[0].due <= time:
            one = pending.popleft()
            if one.due == time and one.usable and usable:
                self._judge(one, log_close - one.log_close)
        pending.append(_Pending(time + self._hours * HOUR_MS, log_close, usable, said, self._locations(said)))
        self._time, self._last = time, said

    def _judge(self, one: _Pending, outcome: float) -> None:
        both = (one.said.trees + one.said.network) / 2
        gain = abs(outcome) - abs(outcome - both)
        misses = {model: (outcome - location) / one.said.sigma for model, location in one.locations.items()}
        if not (isfinite(gain) and all(isfinite(miss) for miss in misses.values())):
            return
        self._gate.push(one.due // (24 * HOUR_MS), gain)
        for model, miss in misses.items():
            self._residuals[model].push(miss)
            self._misses[model].push(miss)

    def _locations(self, said: _Said) -> Mapping[str, float]:
        return {"lstm": said.network, "ensemble": self._gate.weight * (said.trees + said.network) / 2}

    def _forecast(self, model: str, close: float, said: _Said) -> Forecast:
        location, sigma = self._locations(said)[model], said.sigma
        residuals, misses = self._residuals[model], self._misses[model]
        if not len(residuals):
            raise NoForecastError("no forecast was ever judged")
        try:
            price = close * exp(location)
            ranges = []
            for level in LEVELS:
                low = close * exp(location + sigma * residuals.quantile((1 - level) / 2))
                high = close * exp(location + sigma * residuals.quantile((1 + level) / 2))
                # The median is in every range, even where all the last residuals lie on one side.
                ranges.append(Range(level, min(low, price), max(high, price)))
            confidence = misses.probability(log(1 - self._band) / sigma, log(1 + self._band) / sigma)
        except (OverflowError, ZeroDivisionError) as error:
            raise NoForecastError("the forecast is no number") from error
        figures = (price, sigma, confidence, *(end for one in ranges for end in (one.low, one.high)))
        if not all(isfinite(figure) for figure in figures) or not price > 0:
            raise NoForecastError("the forecast is no price")
        return Forecast(price, confidence, self._band, tuple(ranges), sigma)


def _alike(series: Series, other: Series | None) -> bool:
    """Whether no candle of those that both have came late, or was filled in otherwise; they end with the same hour."""
    if other is None:
        return False
    shared = min(len(series), len(other))
    return series.last(shared).is_same_as(other.last(shared))


@dataclass(frozen=True, slots=True)
class _Said:
    """What the models said of one hour."""

    trees: float
    network: float
    sigma: float


@dataclass(frozen=True, slots=True)
class _Pending:
    """A forecast whose outcome is not known yet."""

    due: int
    log_close: float
    usable: bool
    said: _Said
    locations: Mapping[str, float]


class _Parts:
    """Joins the progress of parts into one that goes from 0 to 1."""

    def __init__(self, progress: Callable[[float], None]) -> None:
        self._progress, self._done = progress, 0.0

    def of(self, share: float) -> Callable[[float], None]:
        start = self._done
        self._done += share
        return lambda part: self._progress(min(start + share * part, 1.0))


def _between(samples: Samples, start: int, end: int) -> npt.NDArray[np.int64]:
    """Rows that have features, from `start` to before `end` (milliseconds)."""
    rows = np.flatnonzero((samples.time >= start) & (samples.time < end))
    return rows[rows >= HISTORY_HOURS_MIN - 1]


def _joined(raws: list[Raw]) -> Raw:
    return Raw(
        np.concatenate([raw.trees for raw in raws]),
        np.concatenate([raw.network for raw in raws]),
        np.concatenate([raw.variances for raw in raws], axis=1),
    )


def _part(raw: Raw, chosen: npt.NDArray[np.bool_]) -> Raw:
    return Raw(raw.trees[chosen], raw.network[chosen], raw.variances[:, chosen])


def _metrics(raw: Raw, outcome: Floats) -> Mapping[str, float]:
    """Errors out of sample relative to the random walk."""
    walk = float(np.abs(outcome).sum())
    if not walk > 0:
        return {}
    both = (raw.trees + raw.network) / 2
    return {
        "relative_error_trees": float(np.abs(outcome - raw.trees).sum()) / walk,
        "relative_error_lstm": float(np.abs(outcome - raw.network).sum()) / walk,
        "relative_error_both": float(np.abs(outcome - both).sum()) / walk,
    }
