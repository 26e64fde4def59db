"""Figures of served predictions: by hand, and of models whose quality is known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from entasis_engine.analysis.accuracy import (
    CALIBRATION_MIN,
    ERROR_MIN,
    SHARE_MIN,
    SKILL_MIN,
    Accuracy,
    LevelCoverage,
    accuracy,
)
from entasis_engine.analysis.records import PredictedRange, Prediction, Scored, Track
from entasis_engine.analysis.scoring import Floats, diebold_mariano

NOON = datetime(2024, 3, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HORIZONS = {"1h": 1, "4h": 4, "1d": 24}


def scored(hour: float = 0, close: float = 100, *, timeframe: str = "1h", **changed: Any) -> Scored:
    """A prediction of 100 from 100, and what came."""
    as_of = NOON + hour * HOUR
    figures: dict[str, Any] = {
        "source": "binance",
        "symbol": "BTC-USDT",
        "timeframe": timeframe,
        "model": "ensemble",
        "version": "v1",
        "as_of": as_of,
        "due": as_of + HORIZONS[timeframe] * HOUR,
        "last_price": Decimal(100),
        "prediction": Decimal(100),
        "ranges": (),
        "band": 0.005,
        "confidence": 0.5,
        "sigma": 0.01,
    }
    prediction = Prediction(**(figures | changed))
    return Scored(prediction, Decimal(str(close)), prediction.due)


def hourly(rows: Sequence[Scored]) -> Accuracy:
    return accuracy(Track.of(rows), "1h", "ensemble")


def test_errors_by_hand() -> None:
    """Off by 1 and 3 where the price moved by 2 and 4: errors 2 and 3, two thirds of the random walk's."""
    rows = [
        scored(0, 102, prediction=Decimal(101)),
        scored(1, 96, prediction=Decimal(99)),
    ] * 10
    rows = [scored(number, float(row.close), prediction=row.prediction.prediction) for number, row in enumerate(rows)]
    figures = hourly(rows)
    assert figures.mean_absolute_error == pytest.approx(2)
    assert figures.random_walk_error == pytest.approx(3)
    assert figures.relative_error == pytest.approx(2 / 3)
    assert (figures.sample_size, figures.independent_size) == (20, 20)
    assert (figures.first_as_of, figures.last_as_of) == (NOON, NOON + 19 * HOUR)


def test_nothing_scored_has_no_figures() -> None:
    """Of no predictions there are a size of 0 and no figures."""
    assert hourly([]) == Accuracy(
        "1h", "ensemble", 0, 0, None, None, None, None, None, None, (), None, None, None, None
    )


def test_the_order_of_what_was_scored_is_nothing() -> None:
    """Newest first, as the store gives them, or in any other order: the figures are the same."""
    random = np.random.default_rng(1)
    rows = [scored(number, 100 + random.normal(), confidence=random.uniform()) for number in range(150)]
    assert hourly(rows[::-1]) == hourly(rows)
    assert hourly([rows[at] for at in random.permutation(150)]) == hourly(rows)


def test_hits_and_coverage_count_their_ends() -> None:
    """A close on the end of the band or of a range is within; the share is by level, also where some lack it."""
    both = (PredictedRange(0.8, Decimal(98), Decimal(103)), PredictedRange(0.5, Decimal("99.9"), Decimal("100.5")))
    rows = [scored(number, close, ranges=both) for number, close in enumerate([100.5, 99.5, 98, 97.9] * 10)]
    rows += [scored(40 + number, 100, ranges=both[:1]) for number in range(10)]
    figures = hourly(rows)
    assert figures.hit_rate == pytest.approx((20 + 10) / 50)
    assert figures.coverage == (LevelCoverage(0.5, 10 / 40), LevelCoverage(0.8, (30 + 10) / 50))


def test_the_band_is_a_part_of_the_prediction() -> None:
    """Half a percent of 200 is 1, whatever the last price was."""
    rows = [scored(number, 201, prediction=Decimal(200)) for number in range(SHARE_MIN)]
    assert hourly(rows).hit_rate == 1
    rows = [scored(number, 201.01, prediction=Decimal(200)) for number in range(SHARE_MIN)]
    assert hourly(rows).hit_rate == 0


def test_confidence_by_hand() -> None:
    """Told .4 always, hit one time in four: off by .15; and worse than always telling .25 by .0225 in .1875."""
    rows = [scored(number, 101 if number % 4 else 100, confidence=0.4) for number in range(CALIBRATION_MIN)]
    figures = hourly(rows)
    assert figures.mean_confidence == pytest.approx(0.4)
    assert figures.hit_rate == 0.25
    assert figures.expected_calibration_error == pytest.approx(0.15)
    assert figures.brier_skill == pytest.approx(-0.0225 / 0.1875)


MINIMA = [
    ("relative_error", ERROR_MIN),
    ("t_statistic", ERROR_MIN),
    ("hit_rate", SHARE_MIN),
    ("coverage", SHARE_MIN),
    ("brier_skill", SKILL_MIN),
    ("expected_calibration_error", CALIBRATION_MIN),
]


def varied(hours: Sequence[float], timeframe: str) -> Accuracy:
    random = np.random.default_rng(2)
    ranges = (PredictedRange(0.8, Decimal(99), Decimal(101)),)
    rows = [
        scored(hour, 100 + random.normal(), timeframe=timeframe, ranges=ranges, prediction=Decimal("100.1"))
        for hour in hours
    ]
    return accuracy(Track.of(rows), timeframe, "ensemble")


def told(figures: Accuracy, name: str) -> float | None:
    return figures.coverage[0].share if name == "coverage" else getattr(figures, name)


@pytest.mark.parametrize(("name", "at_least"), MINIMA)
def test_a_figure_waits_for_its_sample(name: str, at_least: int) -> None:
    """One forecast too few and it is None; with the last it is a finite number."""
    assert told(varied(range(at_least - 1), "1h"), name) is None
    figure = told(varied(range(at_least), "1h"), name)
    assert figure is not None
    assert np.isfinite(figure)


@pytest.mark.parametrize(("name", "at_least"), MINIMA)
def test_forecasts_that_overlap_do_not_make_up_a_sample(name: str, at_least: int) -> None:
    """A day's forecast at each hour counts once a day, and once where the days lie apart."""
    assert told(varied(range(24 * (at_least - 1)), "1d"), name) is None
    assert told(varied(range(24 * (at_least - 1) + 1), "1d"), name) is not None
    apart = [100 * day for day in range(at_least)]
    assert told(varied(apart[:-1], "1d"), name) is None
    assert told(varied(apart, "1d"), name) is not None


def losses(rows: Sequence[Scored]) -> tuple[Floats, Floats]:
    close, last, predicted = (
        np.array(column, dtype=float)
        for column in zip(
            *((one.close, one.prediction.last_price, one.prediction.prediction) for one in rows), strict=True
        )
    )
    return np.abs(close - predicted), np.abs(close - last)


def overlapping(hours: Sequence[int], version: str = "v1", seed: int = 3) -> list[Scored]:
    random = np.random.default_rng(seed)
    return [
        scored(
            hour, 100 + random.normal(), timeframe="4h", version=version, prediction=Decimal(str(100 + random.normal()))
        )
        for hour in hours
    ]


def test_t_is_that_of_diebold_and_mariano_over_the_hours_that_overlap() -> None:
    """Four hours' forecasts made each hour overlap over 4 steps, every other hour over 2, every fourth over 1."""
    for every, steps in ((1, 4), (2, 2), (3, 2), (4, 1), (7, 1)):
        rows = overlapping(range(0, 200 * every, every))
        assert accuracy(Track.of(rows), "4h", "ensemble").t_statistic == pytest.approx(
            diebold_mariano(*losses(rows), steps)
        )


def test_two_versions_of_one_time_both_count_and_are_one_step() -> None:
    """Both are in the sample and the errors; the t takes their mean, since they are of the same hours."""
    first, second = overlapping(range(150)), overlapping(range(150), "v2", seed=4)
    figures = accuracy(Track.of([*first, *second]), "4h", "ensemble")
    assert figures.sample_size == 300
    assert figures.independent_size == accuracy(Track.of(first), "4h", "ensemble").independent_size == 38
    error, walk = (np.mean(pair, axis=0) for pair in zip(losses(first), losses(second), strict=True))
    assert figures.mean_absolute_error == pytest.approx(error.mean())
    assert figures.t_statistic == pytest.approx(diebold_mariano(error, walk, 4))


def test_the_random_walk_itself_is_no_better_than_itself() -> None:
    """A model that predicts the last price has a relative error of 1, and no t, since nothing ever differs."""
    random = np.random.default_rng(5)
    figures = hourly([scored(number, 100 + random.normal()) for number in range(100)])
    assert figures.relative_error == 1
    assert figures.t_statistic is None


def test_a_model_that_knows_something_shows() -> None:
    """One that sees half of the move, tells its chance and its ranges truly, has the figures of such a model."""
    random = np.random.default_rng(6)
    rows = []
    for number in range(4000):
        seen, unseen = random.normal(size=2)
        sigma = random.uniform(0.3, 1.5)
        prediction = 100 + 0.7 * sigma * seen
        # The chance of landing within 0.5 of the prediction, told to the point.
        normal = random.normal(size=400)
        confidence = float(np.mean(np.abs(0.7 * sigma * normal) <= 0.5))
        half = 1.2816 * 0.7 * sigma
        rows.append(
            scored(
                number,
                prediction + 0.7 * sigma * unseen,
                prediction=Decimal(str(prediction)),
                confidence=confidence,
                ranges=(PredictedRange(0.8, Decimal(str(prediction - half)), Decimal(str(prediction + half))),),
            )
        )
    figures = hourly(rows)
    assert figures.relative_error == pytest.approx(0.7 / np.hypot(0.7, 0.7), abs=0.02)
    assert figures.t_statistic is not None
    assert figures.t_statistic > 10
    assert figures.coverage[0].share == pytest.approx(0.8, abs=0.02)
    assert figures.hit_rate == pytest.approx(figures.mean_confidence, abs=0.02)
    assert figures.expected_calibration_error is not None
    assert figures.expected_calibration_error < 0.03
    assert figures.brier_skill is not None
    assert figures.brier_skill > 0.1
