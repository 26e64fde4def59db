"""Figures of forecasts: values worked out by hand, and what they do to forecasters whose quality is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from entasis_engine.analysis.scoring import (
    Floats,
    brier_skill,
    coverage,
    diebold_mariano,
    expected_calibration_error,
    pinball,
    qlike,
    relative_error,
    reliability,
    simulated_ece,
    spiegelhalter_z,
)

NONE = np.empty(0)


def row(*numbers: float) -> Floats:
    return np.array(numbers, dtype=np.float64)


def chance(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


# Errors.


def test_relative_error_is_the_error_over_the_random_walks() -> None:
    """Errors of 1 and 2 where the price moved by 2 and 4 are half the random walk's."""
    assert relative_error(row(103, 198), row(100, 200), row(102, 196)) == pytest.approx((1 + 2) / (2 + 4))


def test_the_random_walk_itself_has_a_relative_error_of_1() -> None:
    """Predicting the last price is the measure."""
    last = 100 + chance().normal(size=50)
    assert relative_error(last, last, last + chance(2).normal(size=50)) == 1


def test_a_price_that_never_moved_has_no_relative_error() -> None:
    """Nothing can be told against a random walk without error."""
    assert relative_error(row(101), row(100), row(100)) is None


# Diebold and Mariano.


def test_t_of_steps_that_do_not_overlap_by_hand() -> None:
    """Differences 1, 2, 3, 2: mean 2, variance 1/2, four of them, corrected by sqrt(3/4)."""
    assert diebold_mariano(row(0, 0, 0, 0), row(1, 2, 3, 2), 1) == pytest.approx(2 / np.sqrt(0.5 / 4) * np.sqrt(3 / 4))


def test_t_of_steps_that_overlap_by_hand() -> None:
    """Differences 4, 3, 1, 0 at horizon 2: variance 10 / 4 and covariance 3 / 4, counted twice, or twice by half."""
    around = [2, 1, -1, -2]
    variance = (4 + 1 + 1 + 4) / 4
    covariance = (around[0] * around[1] + around[1] * around[2] + around[2] * around[3]) / 4
    correction = np.sqrt((4 + 1 - 2 * 2 + 2 * 1 / 4) / 4)
    flat = 2 / np.sqrt((variance + 2 * covariance) / 4) * correction
    falling = 2 / np.sqrt((variance + 2 * covariance / 2) / 4) * correction
    assert diebold_mariano(row(1, 1, 1, 1), row(5, 4, 2, 1), 2) == pytest.approx(flat)
    assert diebold_mariano(row(1, 1, 1, 1), row(5, 4, 2, 1), 2, weights="bartlett") == pytest.approx(falling)


def test_t_is_positive_for_the_better_forecast_and_turns_with_the_sides() -> None:
    """Less loss than the benchmark's is a positive t; the benchmark against it has the same, negative."""
    random = chance()
    good, bad = random.uniform(0, 1, 200), random.uniform(0.2, 1.2, 200)
    better = diebold_mariano(good, bad, 4)
    assert better is not None
    assert better > 3
    assert diebold_mariano(bad, good, 4) == pytest.approx(-better)


def test_falling_weights_stand_in_where_flat_ones_come_to_no_variance() -> None:
    """Differences that turn at every step have a negative sum of autocovariances: 1 - 2 x (n - 1) / n."""
    turning = np.tile([3.0, 1.0], 10)
    t = diebold_mariano(np.zeros(20), turning, 2)
    assert t is not None
    assert t == diebold_mariano(np.zeros(20), turning, 2, weights="bartlett")


@pytest.mark.parametrize(("horizon", "count"), [(1, 200), (4, 400), (24, 2000)])
def test_a_true_null_is_rejected_as_often_as_it_says(horizon: int, count: int) -> None:
    """Where no forecast is better and errors overlap fully, |t| exceeds 1.96 in about 5 % of 1,000 worlds."""
    random = chance(horizon)
    exceeded = 0
    for _world in range(1000):
        walk = np.concatenate([[0.0], np.cumsum(random.standard_t(5, count + horizon - 1))])
        t = diebold_mariano(walk[horizon:] - walk[:-horizon], np.zeros(count), horizon)
        assert t is not None
        exceeded += abs(t) > 1.96
    assert 0.03 < exceeded / 1000 < 0.085  # three standard errors, and a small sample's excess


@pytest.mark.parametrize(
    ("loss", "benchmark", "horizon"),
    [
        (NONE, NONE, 1),
        (row(1), row(2), 1),
        (row(1, 2, 3), row(2, 3, 5), 3),
        (row(1, 2, 3, 1), row(1, 2, 3, 1), 1),
        (row(0.1, 0.2, 0.3), row(0.2, 0.3, 0.4), 1),  # always 0.1, but for rounding
    ],
)
def test_too_few_or_never_varying_losses_have_no_t(loss: Floats, benchmark: Floats, horizon: int) -> None:
    """Without a variance there is no t."""
    assert diebold_mariano(loss, benchmark, horizon) is None


@pytest.mark.parametrize("count", range(2, 60))
def test_whatever_the_sample_the_t_is_finite_or_none(count: int) -> None:
    """Samples not much longer than the horizon give a finite t or none."""
    random = chance(count)
    t = diebold_mariano(random.normal(size=count), random.normal(size=count), 24)
    assert t is None or np.isfinite(t)


# Intervals and quantiles.


def test_coverage_counts_the_ends() -> None:
    """Outcomes on an end are within; one below and one above are not."""
    assert coverage(row(1, 1, 1, 1), row(2, 2, 2, 2), row(1, 2, 0.99, 2.01)) == 0.5


def test_pinball_by_hand() -> None:
    """Above the quantile an outcome costs its level, below it the rest: 0.1 x 2, 0.9 x 1, 0.9 x 3 and 0.1 x 0."""
    loss = pinball(np.array([[8.0, 11.0], [13.0, 10.0]]), row(0.1, 0.9), row(10, 10))
    assert loss == pytest.approx((0.1 * 2 + 0.1 * 1 + 0.9 * 3 + 0) / 4)


def test_pinball_is_least_for_the_true_quantiles() -> None:
    """Quantiles that are moved or stretched cost more than those that the outcomes were drawn from."""
    levels = row(0.05, 0.25, 0.5, 0.75, 0.95)
    actual = chance().normal(size=20_000)

    def cost(scale: float, shift: float) -> float:
        loss = pinball(np.tile(norm.ppf(levels) * scale + shift, (actual.size, 1)), levels, actual)
        assert loss is not None
        return loss

    assert cost(1, 0) < min(cost(1.2, 0), cost(0.8, 0), cost(1, 0.1), cost(1, -0.1))


# Probabilities.


def test_calibration_error_by_hand() -> None:
    """Two bins of two: told .25 and came 0, told .8 and came 1/2, so (.25 + .3) / 2."""
    assert expected_calibration_error(row(0.2, 0.9, 0.3, 0.7), row(0, 1, 0, 0), 2) == pytest.approx((0.25 + 0.3) / 2)


def test_bins_hold_equal_counts_and_equal_probabilities_stay_together() -> None:
    """Ten probabilities make five pairs; one that is told often is in one bin, whatever the order of the rows."""
    probability = chance().permutation(np.linspace(0.05, 0.95, 10))
    assert [one.count for one in reliability(probability, probability > 0.5, 5)] == [2] * 5
    often = row(0.3, 0.5, 0.5, 0.5, 0.5, 0.8)
    hits = row(0, 1, 0, 1, 0, 1)
    assert [one.count for one in reliability(often, hits, 3)] == [1, 5]
    turned = expected_calibration_error(often[::-1], hits[::-1], 3)
    assert turned == expected_calibration_error(often, hits, 3)


def test_reliability_rows_by_hand() -> None:
    """A row tells its count, its ends, the mean that was told and the share that came true."""
    low, high = reliability(row(0.2, 0.9, 0.3, 0.7), np.array([False, True, True, False]), 2)
    assert (low.count, low.low, low.high, low.probability, low.hit_rate) == (2, 0.2, 0.3, 0.25, 0.5)
    assert (high.count, high.low, high.high, high.hit_rate) == (2, 0.7, 0.9, 0.5)
    assert high.probability == pytest.approx(0.8)


def test_the_rows_make_the_calibration_error() -> None:
    """The error is the mean distance of the rows, each by its count."""
    random = chance()
    probability = random.uniform(size=997)
    hit = random.uniform(size=997) < probability**2
    rows = reliability(probability, hit, 10)
    distance = sum(one.count * abs(one.hit_rate - one.probability) for one in rows) / 997
    assert expected_calibration_error(probability, hit, 10) == pytest.approx(distance)


def test_a_calibrated_forecaster_is_within_chance_and_an_overconfident_one_is_not() -> None:
    """Of 200 calibrated forecasters 95 % are below the 95 % quantile that chance makes; one 8 points off is above."""
    random = chance(3)
    probability = random.uniform(0.25, 0.99, 1000)
    by_chance = simulated_ece(probability, random, draws=500)
    limit = np.quantile(by_chance, 0.95)
    within = [
        (expected_calibration_error(probability, random.random(1000) < probability) or 0) <= limit for _ in range(200)
    ]
    assert 0.90 <= np.mean(within) <= 0.99
    off = expected_calibration_error(probability, random.random(1000) < probability - 0.08)
    assert off is not None
    assert off > by_chance[-1]


def test_simulated_errors_are_ascending_and_repeat_with_the_generator() -> None:
    """As many as asked for, in order, the same for the same seed."""
    probability = np.linspace(0.3, 0.9, 50)
    errors = simulated_ece(probability, chance(5), draws=20)
    assert errors.shape == (20,)
    assert np.all(np.diff(errors) >= 0)
    assert np.array_equal(errors, simulated_ece(probability, chance(5), draws=20))
    assert not np.array_equal(errors, simulated_ece(probability, chance(6), draws=20))


def test_spiegelhalters_z_by_hand() -> None:
    """Told .2 and .9, came 1 and 1: ((.8)(.6) + (.1)(-.8)) / sqrt(.36 x .16 + .64 x .09)."""
    z = spiegelhalter_z(row(0.2, 0.9), row(1, 1))
    assert z == pytest.approx((0.8 * 0.6 - 0.1 * 0.8) / np.sqrt(0.36 * 0.16 + 0.64 * 0.09))


def test_spiegelhalters_z_is_standard_normal_for_the_calibrated_and_positive_for_the_overconfident() -> None:
    """Over 500 calibrated forecasters: mean 0, deviation 1. One that exaggerates has a large positive one."""
    random = chance(4)
    probability = random.uniform(0.05, 0.95, 400)
    values = [spiegelhalter_z(probability, random.random(400) < probability) for _ in range(500)]
    assert np.mean(np.array(values, dtype=float)) == pytest.approx(0, abs=0.15)
    assert np.std(np.array(values, dtype=float)) == pytest.approx(1, abs=0.12)
    exaggerated = spiegelhalter_z(probability, random.random(400) < 0.5 + (probability - 0.5) / 2)
    assert exaggerated is not None
    assert exaggerated > 4


@pytest.mark.parametrize("told", [0.0, 0.5, 1.0])
def test_spiegelhalters_z_cannot_judge_certainty_nor_a_coin(told: float) -> None:
    """Where every outcome has the same error there is no z."""
    assert spiegelhalter_z(np.full(9, told), np.full(9, told > 0.5)) is None


def test_brier_skill_by_hand() -> None:
    """Errors .04 and .04 against climatology's .25 and .25: 1 - .08 / .5; against its own numbers it is 0."""
    assert brier_skill(row(0.8, 0.2), row(1, 0), 0.5) == pytest.approx(1 - 0.08 / 0.5)
    assert brier_skill(row(0.8, 0.2), row(1, 0), row(0.8, 0.2)) == pytest.approx(0)
    assert brier_skill(row(1, 0), row(1, 0), 0.5) == 1
    assert brier_skill(row(1, 1), row(1, 1), 1.0) is None


# Variances.


def test_qlike_by_hand() -> None:
    """A perfect forecast costs 0; half and double the variance cost 2 - log 2 - 1 and 1/2 + log 2 - 1."""
    assert qlike(row(2, 3), row(2, 3)) == 0
    assert qlike(row(1, 4), row(2, 2)) == pytest.approx((2 - np.log(2) - 1 + 0.5 + np.log(2) - 1) / 2)


def test_qlike_is_least_for_the_mean_of_a_noisy_variance() -> None:
    """Although what is measured is noisy, the true variance costs less than one that is 10 % off."""
    realised = 2 * chance().chisquare(5, 50_000) / 5
    losses = [qlike(np.full(realised.size, forecast), realised) for forecast in (1.8, 2.0, 2.2)]
    assert losses[1] == min(losses)  # type: ignore[type-var]


@pytest.mark.parametrize("variances", [(row(0, 1), row(1, 1)), (row(1, 1), row(1, 0)), (row(1), row(-1))])
def test_a_variance_is_above_0(variances: tuple[Floats, Floats]) -> None:
    """Neither a forecast nor a measured variance may be 0 or less."""
    with pytest.raises(ValueError, match="above 0"):
        qlike(*variances)


# What cannot be scored.


@pytest.mark.parametrize(
    "of_nothing",
    [
        lambda: relative_error(NONE, NONE, NONE),
        lambda: coverage(NONE, NONE, NONE),
        lambda: pinball(np.empty((0, 2)), row(0.1, 0.9), NONE),
        lambda: pinball(np.empty((2, 0)), NONE, row(1, 2)),
        lambda: expected_calibration_error(NONE, NONE),
        lambda: spiegelhalter_z(NONE, NONE),
        lambda: brier_skill(NONE, NONE, 0.5),
        lambda: qlike(NONE, NONE),
    ],
)
def test_nothing_has_no_figure(of_nothing: Callable[[], float | None]) -> None:
    """Of no forecasts there is no figure."""
    assert of_nothing() is None


def test_nothing_has_no_bins() -> None:
    """Of no forecasts there are no rows and no errors to simulate."""
    assert reliability(NONE, NONE) == []
    assert simulated_ece(NONE, chance()).size == 0


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda: relative_error(row(1, 2), row(1), row(1)),
        lambda: relative_error(row(NAN), row(1), row(2)),
        lambda: relative_error(np.ones((2, 2)), np.ones((2, 2)), np.ones((2, 2))),
        lambda: diebold_mariano(row(1, 2, INF), row(1, 2, 3), 1),
        lambda: diebold_mariano(row(1, 2, 3), row(1, 2, 4), 0),
        lambda: coverage(row(1), row(NAN), row(1)),
        lambda: pinball(np.ones((2, 1)), row(0.1, 0.9), row(1, 2)),
        lambda: pinball(np.ones((1, 1)), row(1.0), row(1)),
        lambda: expected_calibration_error(row(1.1), row(1)),
        lambda: expected_calibration_error(row(0.5), row(0.5)),
        lambda: expected_calibration_error(row(0.5), row(1), 0),
        lambda: spiegelhalter_z(row(-0.1), row(1)),
        lambda: brier_skill(row(0.5), row(1), 2.0),
        lambda: brier_skill(row(0.5), row(1), row(0.5, 0.5)),
        lambda: simulated_ece(row(NAN), chance()),
        lambda: reliability(row(0.5, 0.5), row(1)),
    ],
)
def test_what_are_no_forecasts_is_refused(nonsense: Callable[[], Any]) -> None:
    """Other shapes, numbers that are not finite, and probabilities that are none raise, and never make a figure."""
    with pytest.raises(ValueError):  # noqa: PT011 - numpy words one of them
        nonsense()
