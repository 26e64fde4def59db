"""Tests of value at risk and expected shortfall against what happened.

Returns, values at risk and expected shortfalls have one unit, such as log return or quote currency, and the shape (n,):
returns with a loss below 0, the other two as positive losses, each forecast before its return. A violation is a return
below minus the value at risk. Every test's null hypothesis is that the forecasts are right; a small p speaks against.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]  # it ships no types
from scipy.special import xlogy  # type: ignore[import-untyped]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

LEVEL = 0.95
LAGS = 4
DRAWS = 5_000


@dataclass(frozen=True)
class Test:
    """What a test found."""

    statistic: float
    p: float

    __test__ = False  # no test to be collected


def violations(returns: Floats, value_at_risk: Floats) -> Flags:
    """True where the loss was beyond the value at risk; shape (n,)."""
    return returns < -value_at_risk


def unconditional_coverage(hits: Flags, level: float = LEVEL) -> Test:
    """Proportion of failures, by likelihood ratio (Kupiec 1995): are violations as frequent as they should be?"""
    count, hit = hits.size, int(np.count_nonzero(hits))
    statistic = 2 * (_log_likelihood(hit, count - hit, hit / count) - _log_likelihood(hit, count - hit, 1 - level))
    return _chi_squared(statistic, 1)


def independence(hits: Flags) -> Test:
    """First-order Markov alternative, by likelihood ratio (Christoffersen 1998): does a violation follow on another
    more or less often than on none?
    """
    before, after = hits[:-1], hits[1:]
    from_none = (int(np.sum(~before & after)), int(np.sum(~before & ~after)))
    from_hit = (int(np.sum(before & after)), int(np.sum(before & ~after)))
    both = (from_none[0] + from_hit[0], from_none[1] + from_hit[1])
    apart = _at_own_rate(*from_none) + _at_own_rate(*from_hit)
    return _chi_squared(2 * (apart - _at_own_rate(*both)), 1)


def conditional_coverage(hits: Flags, level: float = LEVEL) -> Test:
    """Frequency and independence at once, the sum of the two statistics (Christoffersen 1998)."""
    return _chi_squared(unconditional_coverage(hits, level).statistic + independence(hits).statistic, 2)


def dynamic_quantile(hits: Flags, value_at_risk: Floats, level: float = LEVEL, lags: int = LAGS) -> Test:
    """Regression of violations on earlier ones and on the value at risk (Engle & Manganelli 2004): could a violation
    have been foreseen?

    Args:
        hits: shape (n,).
        value_at_risk: shape (n,), in any unit that is the same over time, so of returns rather than of prices.
        level: of the value at risk.
        lags: earlier violations in the regression, beside a constant and the value at risk.
    """
    excess = hits - (1 - level)
    earlier = [excess[lags - lag : -lag] for lag in range(1, lags + 1)]
    regressors = np.column_stack([np.ones(excess.size - lags), *earlier, value_at_risk[lags:]])
    explained = regressors @ np.linalg.lstsq(regressors, excess[lags:], rcond=None)[0]
    statistic = float(explained @ explained) / (level * (1 - level))
    return _chi_squared(statistic, int(np.linalg.matrix_rank(regressors)))


def expected_shortfall(
    returns: Floats,
    value_at_risk: Floats,
    shortfall: Floats,
    generator: np.random.Generator,
    level: float = LEVEL,
    shape: float = 0.0,
    draws: int = DRAWS,
) -> Test:
    """The second test of Acerbi & Székely (2014): are losses beyond the value at risk as many and as large as forecast?

    The statistic is 0 where they are, and below 0 where risk was underestimated, which alone the test, one-sided, is
    against: -0.1 is a tenth too many or too large. Its distribution comes from simulation: violations at random, at the
    rate that the level says, whose losses exceed the value at risk by generalised Pareto excesses with the mean that
    was forecast.

    Args:
        returns: shape (n,).
        value_at_risk: shape (n,).
        shortfall: expected shortfall, shape (n,).
        generator: of the simulation's draws.
        level: of both figures.
        shape: of the excesses' distribution, below 1; 0 is exponential. Heavier tails need more evidence.
        draws: in the simulation.
    """
    expected = returns.size * (1 - level)
    beyond = violations(returns, value_at_risk)
    statistic = 1 + float(np.sum(returns[beyond] / shortfall[beyond])) / expected
    # Loss / expected shortfall is the base and a random part with the mean of what the base lacks to 1.
    base = value_at_risk / shortfall
    simulated = np.empty(draws)
    for draw in range(draws):
        hit = generator.choice(returns.size, generator.binomial(returns.size, 1 - level), replace=False, shuffle=False)
        excess = generator.exponential(size=hit.size)
        if shape:
            excess = np.expm1(shape * excess) / shape * (1 - shape)
        simulated[draw] = 1 - float(np.sum(base[hit] + (1 - base[hit]) * excess)) / expected
    # The statistic is one of its own distribution's draws under the null, so that no p is 0.
    p = (1 + np.count_nonzero(simulated <= statistic)) / (1 + draws)
    return Test(statistic, float(p))


def _log_likelihood(hit: int, missed: int, rate: float) -> float:
    return float(xlogy(hit, rate) + xlogy(missed, 1 - rate))


def _at_own_rate(hit: int, missed: int) -> float:
    count = hit + missed
    return _log_likelihood(hit, missed, hit / count) if count else 0.0


def _chi_squared(statistic: float, freedom: int) -> Test:
    statistic = max(float(statistic), 0.0)  # rounding may leave it a little below
    return Test(statistic, float(stats.chi2.sf(statistic, freedom)))
