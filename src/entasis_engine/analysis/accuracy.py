"""How well served predictions did, from those that were scored. Pure.

Each figure is None until the sample is large enough for it to say something. What counts is how many forecasts do not
overlap: a day's forecast made at each of 24 hours is hardly more than one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from entasis_engine.analysis.records import Floats, Integers, LevelRanges, Track
from entasis_engine.analysis.scoring import (
    brier_skill,
    diebold_mariano,
    expected_calibration_error,
    relative_error,
)
from entasis_engine.analysis.scoring import coverage as share_within
from entasis_engine.times import from_milliseconds

# Forecasts without overlap that a figure needs. At 20 the t rejects a true null at 5 % in 6 to 8 % of cases; with half
# as many, and 24 forecasts a day of a day each, in 10 % (simulated).
ERROR_MIN = 20
"""For `relative_error` and `t_statistic`."""
SHARE_MIN = 30
"""For `coverage` and `hit_rate`, whose standard error is then 9 points or less."""
SKILL_MIN = 50
"""For `brier_skill`."""
CALIBRATION_MIN = 100
"""For `expected_calibration_error`: ten to a bin."""


@dataclass(frozen=True, slots=True)
class LevelCoverage:
    """How often the close landed within the ranges of one level."""

    level: float
    """The probability that was told."""
    share: float | None
    """Needs `SHARE_MIN`."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How one model did at one horizon."""

    timeframe: str
    model: str
    sample_size: int
    """Forecasts that were scored; where two versions made one of the same time, both count."""
    independent_size: int
    """As many of them as fit after each other without overlap."""
    first_as_of: datetime | None
    last_as_of: datetime | None
    mean_absolute_error: float | None
    """In quote currency. None where nothing was scored, as the next."""
    random_walk_error: float | None
    """Of the random walk at the same times, in quote currency."""
    relative_error: float | None
    """The former over the latter. Needs `ERROR_MIN`, and a price that moved."""
    t_statistic: float | None
    """Of Diebold and Mariano, positive where the model is better. Needs `ERROR_MIN`."""
    coverage: tuple[LevelCoverage, ...]
    """By level, ascending."""
    hit_rate: float | None
    """Share of closes within the band, ends included. Needs `SHARE_MIN`."""
    mean_confidence: float | None
    """What `hit_rate` was told to be. None where nothing was scored."""
    expected_calibration_error: float | None
    """Over ten bins of equal count. Needs `CALIBRATION_MIN`."""
    brier_skill: float | None
    """Of `confidence` over always telling this sample's `hit_rate`. Needs `SKILL_MIN`."""


def accuracy(track: Track, timeframe: str, model: str) -> Accuracy:
    """The figures of one model at one horizon.

    Args:
        timeframe, model: what the track is of.
    """
    size = track.as_of.size
    error, walk = np.abs(track.prediction - track.close), np.abs(track.last_price - track.close)
    hit = error <= track.band * track.prediction
    independent = _without_overlap(track.as_of, track.due)

    def enough(at_least: int) -> bool:
        return independent >= at_least

    return Accuracy(
        timeframe=timeframe,
        model=model,
        sample_size=size,
        independent_size=independent,
        first_as_of=from_milliseconds(int(track.as_of[0])) if size else None,
        last_as_of=from_milliseconds(int(track.as_of[-1])) if size else None,
        mean_absolute_error=_mean(error),
        random_walk_error=_mean(walk),
        relative_error=relative_error(track.prediction, track.last_price, track.close) if enough(ERROR_MIN) else None,
        t_statistic=_t(track, error, walk) if enough(ERROR_MIN) else None,
        coverage=tuple(LevelCoverage(one.level, _share(track, one, independent)) for one in track.ranges),
        hit_rate=_mean(hit.astype(np.float64)) if enough(SHARE_MIN) else None,
        mean_confidence=_mean(track.confidence),
        expected_calibration_error=(
            expected_calibration_error(track.confidence, hit) if enough(CALIBRATION_MIN) else None
        ),
        brier_skill=brier_skill(track.confidence, hit, float(hit.mean())) if enough(SKILL_MIN) else None,
    )


def _without_overlap(as_of: Integers, due: Integers) -> int:
    """How many forecasts, ascending and of one length, fit after each other.

    Args:
        as_of, due: from when each knows, and to when it foretells, shape (n,).
    """
    # Of each: the first that begins when it is due, or later, which is always behind it.
    following = np.searchsorted(as_of, due, side="left").tolist()
    count, place = 0, 0
    while place < len(following):
        count, place = count + 1, following[place]
    return count


def _t(track: Track, error: Floats, walk: Floats) -> float | None:
    """Forecasts of the same time are one step, with their mean loss. Where forecasts are missing, more steps are taken
    to overlap than do, which costs the statistic some strength and makes it no less true.
    """
    times, place = np.unique(track.as_of, return_inverse=True)
    count = np.bincount(place)
    ends = np.empty_like(times)
    ends[place] = track.due
    # Of each step: how many of those from it on begin before it is due, itself among them.
    overlapping = np.searchsorted(times, ends, side="left") - np.arange(times.size)
    return diebold_mariano(
        np.bincount(place, weights=error) / count, np.bincount(place, weights=walk) / count, int(overlapping.max())
    )


def _share(track: Track, of_level: LevelRanges, independent: int) -> float | None:
    """How often the close landed within the ranges of one level.

    Args:
        independent: how many forecasts of the whole track do not overlap.
    """
    places = of_level.places
    if places.size < track.as_of.size:
        independent = _without_overlap(track.as_of[places], track.due[places])
    if independent < SHARE_MIN:
        return None
    return share_within(of_level.low, of_level.high, track.close[places])


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if values.size else None
