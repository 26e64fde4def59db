"""How well served predictions did, from those that were scored. Pure.

Each figure is None until the sample is large enough for it to say something. What counts is how many forecasts do not
overlap: a day's forecast made at each of 24 hours is hardly more than one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from entasis_engine.analysis.records import PredictedRange, Scored
from entasis_engine.analysis.scoring import (
    Floats,
    brier_skill,
    diebold_mariano,
    expected_calibration_error,
    relative_error,
)
from entasis_engine.analysis.scoring import coverage as share_within

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


def accuracy(scored: Sequence[Scored], timeframe: str, model: str) -> Accuracy:
    """The figures of one model at one horizon; predictions of others are passed over.

    Args:
        scored: of one instrument of one source, in any order.

    Raises `ValueError` where they are of several, whose errors are in different currencies.
    """
    of_it = sorted(
        (one for one in scored if (one.prediction.timeframe, one.prediction.model) == (timeframe, model)),
        key=lambda one: one.prediction.key,
    )
    if len({(one.prediction.source, one.prediction.symbol) for one in of_it}) > 1:
        raise ValueError("figures are of one instrument of one source")
    made = [one.prediction for one in of_it]
    predicted = np.array([one.prediction for one in made], dtype=np.float64)
    last = np.array([one.last_price for one in made], dtype=np.float64)
    close = np.array([one.close for one in of_it], dtype=np.float64)
    confidence = np.array([one.confidence for one in made], dtype=np.float64)
    band = np.array([one.band for one in made], dtype=np.float64)
    error, walk = np.abs(predicted - close), np.abs(last - close)
    hit = error <= band * predicted
    spans = [(one.as_of, one.due) for one in made]
    independent = _without_overlap(spans)

    def enough(at_least: int) -> bool:
        return independent >= at_least

    return Accuracy(
        timeframe=timeframe,
        model=model,
        sample_size=len(made),
        independent_size=independent,
        first_as_of=made[0].as_of if made else None,
        last_as_of=made[-1].as_of if made else None,
        mean_absolute_error=_mean(error),
        random_walk_error=_mean(walk),
        relative_error=relative_error(predicted, last, close) if enough(ERROR_MIN) else None,
        t_statistic=_t(spans, error, walk) if enough(ERROR_MIN) else None,
        coverage=_coverage(of_it),
        hit_rate=_mean(hit.astype(np.float64)) if enough(SHARE_MIN) else None,
        mean_confidence=_mean(confidence),
        expected_calibration_error=expected_calibration_error(confidence, hit) if enough(CALIBRATION_MIN) else None,
        brier_skill=brier_skill(confidence, hit, float(hit.mean())) if enough(SKILL_MIN) else None,
    )


Span = tuple[datetime, datetime]
"""From when a forecast knows to when it is due."""


def _without_overlap(spans: Sequence[Span]) -> int:
    """How many of the spans, ascending and of one length, fit after each other."""
    count, free = 0, None
    for as_of, due in spans:
        if free is None or as_of >= free:
            count, free = count + 1, due
    return count


def _t(spans: Sequence[Span], error: Floats, walk: Floats) -> float | None:
    """Forecasts of the same time are one step, with their mean loss. Where forecasts are missing, more steps are taken
    to overlap than do, which costs the statistic some strength and makes it no less true.
    """
    times, place = np.unique(np.array([as_of.timestamp() for as_of, _due in spans]), return_inverse=True)
    count = np.bincount(place)
    ends = np.empty(times.size)
    ends[place] = [due.timestamp() for _as_of, due in spans]
    # Of each step: how many of those from it on begin before it is due, itself among them.
    overlapping = np.searchsorted(times, ends, side="left") - np.arange(times.size)
    return diebold_mariano(
        np.bincount(place, weights=error) / count, np.bincount(place, weights=walk) / count, int(overlapping.max())
    )


def _coverage(scored: Sequence[Scored]) -> tuple[LevelCoverage, ...]:
    by_level: defaultdict[float, list[tuple[PredictedRange, Scored]]] = defaultdict(list)
    for one in scored:
        for within in one.prediction.ranges:
            by_level[within.level].append((within, one))
    return tuple(LevelCoverage(level, _share(by_level[level])) for level in sorted(by_level))


def _share(ranges: Sequence[tuple[PredictedRange, Scored]]) -> float | None:
    if _without_overlap([(one.prediction.as_of, one.prediction.due) for _within, one in ranges]) < SHARE_MIN:
        return None
    low, high, close = np.array([(within.low, within.high, one.close) for within, one in ranges], dtype=np.float64).T
    return share_within(low, high, close)


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if values.size else None
