"""The frozen walk-forward protocol: what is trained when, on what, and which forecasts count.

At the start of each quarter of the test period a model is trained for each horizon, of all symbols pooled, on the two
years of candles that end PURGE_HOURS before. It forecasts every hour of the quarter, each as of that hour's close, by
the very code that serves; nothing is known to it that was not known then. Every forecast is scored whose hour and
whose outcome's hour have a candle.

What is frozen here was not all chosen blindly. The kinds of model were taken over from the design, whose own
measurement reaches over DESIGN_PERIOD. What had to be chosen beyond that was chosen by the same walk over
CHOSEN_PERIOD; but two of these choices were made only after a first run had shown figures of SEEN_PERIOD. `_protocol`
in __main__ names them, and the page says so.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from entasis_engine.analysis.calibration import Residuals
from entasis_engine.analysis.ensemble import PURGE_HOURS, Samples
from entasis_engine.analysis.forecasting import (
    BANDS,
    HISTORY_HOURS_MIN,
    MODELS,
    TIMEFRAMES,
    TRAIN_HOURS,
    Forecaster,
    Track,
    Trained,
    train,
)
from entasis_engine.analysis.series import HOUR_MS, Floats, Series
from entasis_engine.times import to_milliseconds

TEST_START = datetime(2021, 10, 1, tzinfo=UTC)
DESIGN_PERIOD = "October 2021 to March 2026"
CHOSEN_PERIOD = "October 2019 to September 2021"
SEEN_PERIOD = "October 2021 to March 2024"
"""What was settled when is history: these do not move with the test period that a run is given."""
REFIT_MONTHS = 3
SEED = 20211001
QUANTILES = (0.025, 0.1, 0.25, 0.75, 0.9, 0.975)
"""The ends of the intervals, which pinball loss is taken of."""
EMPIRICAL_HOURS = TRAIN_HOURS
"""Returns that empirical quantiles, the benchmark of intervals, are made of: those a model learns from."""
EMPIRICAL_ROLLING_HOURS: Mapping[str, int] = {"1h": 30 * 24, "4h": 120 * 24, "1d": 365 * 24}
"""The same of a rolling window, which is the harder benchmark: it follows the market's state."""

COLUMNS = ("open_time", "open", "high", "low", "close", "volume")

Progress = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """All scored forecasts of one symbol and horizon, in the order of time; shape (n,) unless told otherwise."""

    hours: int
    time: npt.NDArray[np.int64]
    """Milliseconds since 1970: the close that a forecast was made at."""
    last: Floats
    actual: Floats
    """The close at the horizon."""
    tracks: Mapping[str, Track]
    """What was served, by model."""
    trees: Floats
    """The trees' median of the log return, alone."""
    network: Floats
    variances: Floats
    """Shape (3, n): by trees, autoregression and network."""
    ewma: Floats
    """Variance by the moving average."""
    realised: Floats
    """Variance, of the hours of the horizon; 0 where prices were flat."""
    empirical: Floats
    """Shape (n, len(QUANTILES)): of the log returns of EMPIRICAL_HOURS before the quarter."""
    empirical_rolling: Floats
    """Shape (n, len(QUANTILES)): of the log returns of the last EMPIRICAL_ROLLING_HOURS."""
    climatology: Floats
    """Share of those returns before the quarter that stayed within the band."""

    @property
    def returns(self) -> Floats:
        return np.log(self.actual / self.last)


def read(path: Path) -> Series:
    """Hourly candles of a CSV, plain or gzipped, with the columns COLUMNS; shorter candles are folded into hours, of
    which those count that are whole. Times are ISO 8601 or milliseconds since 1970.

    Raises ValueError where the file has no such columns.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if missing := set(COLUMNS) - set(rows.fieldnames or ()):
            raise ValueError(f"{path} lacks the columns {', '.join(sorted(missing))}")
        table = [(_milliseconds(row["open_time"]), *(float(row[name]) for name in COLUMNS[1:])) for row in rows]
    table.sort()
    times = np.array([row[0] for row in table], dtype=np.int64)
    values = np.array([row[1:] for row in table], dtype=np.float64).reshape(len(table), 5)
    _, first = np.unique(times, return_index=True)
    times, values = times[first], values[first]
    spacing = int(np.diff(times).min()) if times.size > 1 else HOUR_MS
    if spacing < HOUR_MS:
        times, values = _folded(times, values, HOUR_MS // spacing)
    return Series.from_arrays(times, *values.T)


def joined(parts: Sequence[Series]) -> Series:
    """One series of several of the same symbol; where they overlap, the later one given counts."""
    times = np.concatenate([part.open_time[~part.missing] for part in parts])
    columns = [np.concatenate([getattr(part, name)[~part.missing] for part in parts]) for name in COLUMNS[1:]]
    _, from_end = np.unique(times[::-1], return_index=True)
    chosen = times.size - 1 - from_end
    return Series.from_arrays(times[chosen], *(column[chosen] for column in columns))


def quarters(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """From `start` on, the last one as far as `end`."""
    while start < end:
        month = start.month - 1 + REFIT_MONTHS
        following = start.replace(year=start.year + month // 12, month=month % 12 + 1, day=1)
        yield start, min(following, end)
        start = following


def walk(
    histories: Mapping[str, Series], timeframe: str, start: datetime, threads: int, progress: Progress
) -> Mapping[str, Outcomes]:
    """All forecasts of one horizon, by symbol.

    Raises ValueError where there is nothing before `start` to learn from, or nothing after it to forecast.
    """
    end = max(series.as_of for series in histories.values())
    parts = list(quarters(start, end))
    if not parts:
        raise ValueError(f"no candle closes after {start:%Y-%m-%d}")
    found: dict[str, list[Outcomes]] = {symbol: [] for symbol in histories}
    samples = {symbol: Samples.of(series, TIMEFRAMES[timeframe]) for symbol, series in histories.items()}
    for place, (first, following) in enumerate(parts):
        trained = train(
            {symbol: _until(series, first - timedelta(hours=PURGE_HOURS)) for symbol, series in histories.items()},
            timeframe,
            seed=SEED,
            threads=threads,
            progress=lambda share, place=place: progress((place + share * 0.9) / len(parts)),  # type: ignore[misc]
        )
        for symbol, series in histories.items():
            one = quarter(trained, symbol, _until(series, following), samples[symbol], first)
            if one is not None:
                found[symbol].append(one)
        progress((place + 1) / len(parts))
    return {symbol: _together(several) for symbol, several in found.items() if several}


def quarter(trained: Trained, symbol: str, series: Series, samples: Samples, first: datetime) -> Outcomes | None:
    """One symbol's forecasts from `first` to the end of the series, scored by `samples`, which reach further."""
    # The forecaster goes on where training ended: as much as that, and what a row looks back on.
    since = max(0, int(np.searchsorted(series.open_time, to_milliseconds(trained.cutoff))) - HISTORY_HOURS_MIN)
    forecaster = Forecaster(trained, symbol)
    tracks = forecaster.track(series.last(len(series) - since), first)
    time = tracks[MODELS[0]].time
    hours = trained.hours
    rows = (time - int(samples.time[0])) // HOUR_MS
    due = np.minimum(rows + hours, samples.usable.size - 1)
    scored = samples.usable[rows] & (rows + hours < samples.usable.size) & samples.usable[due]
    rows = rows[scored]
    if not rows.size:
        return None
    raw = trained.models.predict(samples.features, rows)
    biases = np.array(trained.models.biases)[:, None]
    begin = int(np.searchsorted(samples.time, to_milliseconds(first) - PURGE_HOURS * HOUR_MS, side="right"))
    known = samples.outcome[max(0, begin - hours - EMPIRICAL_HOURS) : begin - hours]
    known = known[np.isfinite(known)]
    band = float(np.mean(np.abs(np.expm1(known)) <= BANDS[trained.timeframe]))
    quantiles = np.quantile(known, QUANTILES)
    return Outcomes(
        hours,
        samples.time[rows],
        np.exp(samples.log_close[rows]),
        np.exp(samples.log_close[rows + hours]),
        {model: _chosen(track, scored) for model, track in tracks.items()},
        raw.trees,
        raw.network,
        raw.variances * biases,
        samples.features.scale[rows] ** 2 * hours,
        samples.realised[rows],
        np.tile(quantiles, (rows.size, 1)),
        _rolling_quantiles(samples.outcome, rows - hours, EMPIRICAL_ROLLING_HOURS[trained.timeframe]),
        np.full(rows.size, band),
    )


def after(outcomes: Outcomes, moment: datetime) -> Outcomes:
    """Those forecasts that were made at `moment` or later."""
    chosen = outcomes.time >= to_milliseconds(moment)
    rest = {
        field.name: getattr(outcomes, field.name)[..., chosen]
        if field.name == "variances"
        else getattr(outcomes, field.name)[chosen]
        for field in fields(Outcomes)
        if field.name not in ("hours", "tracks")
    }
    return Outcomes(
        hours=outcomes.hours, tracks={model: _chosen(track, chosen) for model, track in outcomes.tracks.items()}, **rest
    )


def _rolling_quantiles(outcome: Floats, known: npt.NDArray[np.int64], size: int) -> Floats:
    """Of the last `size` outcomes up to each row of `known`, ascending: shape (len(known), len(QUANTILES))."""
    begin = max(0, int(known[0]) - size + 1)
    window = Residuals(size, outcome[begin : int(known[0])][np.isfinite(outcome[begin : int(known[0])])])
    quantiles, at = np.empty((known.size, len(QUANTILES))), int(known[0])
    for place, row in enumerate(known):
        for value in outcome[at : int(row) + 1]:
            if np.isfinite(value):
                window.push(float(value))
        at = int(row) + 1
        quantiles[place] = [window.quantile(level) for level in QUANTILES]
    return quantiles


def _until(series: Series, moment: datetime) -> Series:
    """The candles that are closed at `moment`."""
    return series.until(int(np.searchsorted(series.open_time, to_milliseconds(moment) - HOUR_MS, side="right")))


def _chosen(track: Track, rows: npt.NDArray[np.bool_]) -> Track:
    return Track(*(getattr(track, field.name)[rows] for field in fields(Track)))


def _together(parts: Sequence[Outcomes]) -> Outcomes:
    def column(name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts], axis=-1 if name == "variances" else 0)

    tracks = {
        model: Track(
            *(np.concatenate([getattr(part.tracks[model], field.name) for part in parts]) for field in fields(Track))
        )
        for model in parts[0].tracks
    }
    rest = {field.name: column(field.name) for field in fields(Outcomes) if field.name not in ("hours", "tracks")}
    return Outcomes(hours=parts[0].hours, tracks=tracks, **rest)


def _milliseconds(text: str) -> int:
    if text.isdigit():
        return int(text)
    moment = datetime.fromisoformat(text)
    return to_milliseconds(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _folded(times: npt.NDArray[np.int64], values: Floats, count: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Hours of `count` candles each; those that lack one are left out."""
    _, begins, sizes = np.unique(times // HOUR_MS, return_index=True, return_counts=True)
    begins = begins[sizes == count]
    part = values[begins[:, None] + np.arange(count)]
    folded = [
        part[:, 0, 0],
        part[:, :, 1].max(axis=1),
        part[:, :, 2].min(axis=1),
        part[:, -1, 3],
        part[:, :, 4].sum(axis=1),
    ]
    return times[begins] // HOUR_MS * HOUR_MS, np.column_stack(folded)
