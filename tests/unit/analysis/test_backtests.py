"""Tests of tests: hand-worked values, the right distribution where forecasts are right, power where they are wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy import stats
from scripts.evaluation import risk
from scripts.evaluation.backtests import (
    Flags,
    conditional_coverage,
    dynamic_quantile,
    expected_shortfall,
    independence,
    unconditional_coverage,
    violations,
)

from entasis_engine.analysis.series import HOUR_MS, Series
from entasis_engine.times import to_milliseconds

pytestmark = pytest.mark.filterwarnings("error")

NORMAL_VAR = float(-stats.norm.ppf(0.05))
NORMAL_ES = float(stats.norm.pdf(stats.norm.ppf(0.05)) / 0.05)


def _hits(text: str) -> Flags:
    return np.array([letter == "1" for letter in text])


def _uniform(ps: list[float]) -> float:
    """The p-value of a Kolmogorov-Smirnov test that they are."""
    return float(stats.kstest(ps, "uniform").pvalue)


def test_a_violation_is_a_loss_beyond_the_value_at_risk() -> None:
    returns, value_at_risk = np.array([-1.0, -2.0, -2.1, 3.0]), np.full(4, 2.0)
    assert violations(returns, value_at_risk).tolist() == [False, False, True, False]


def test_kupiecs_statistic_is_zero_at_the_expected_count() -> None:
    found = unconditional_coverage(np.arange(100) < 5)
    assert found.statistic == pytest.approx(0, abs=1e-12)
    assert found.p == pytest.approx(1)


def test_kupiecs_statistic_is_what_a_hand_finds() -> None:
    """8 of 100: 2 (8 ln(.08/.05) + 92 ln(.92/.95)) = 1.6158."""
    found = unconditional_coverage(np.arange(100) < 8)
    assert found.statistic == pytest.approx(2 * (8 * np.log(1.6) + 92 * np.log(0.92 / 0.95)))
    assert found.statistic == pytest.approx(1.616, abs=1e-3)
    assert found.p == pytest.approx(0.2037, abs=1e-3)


def test_kupiecs_region_is_that_of_his_table() -> None:
    """Of 255 days at 95 %, he does not reject more than 6 and fewer than 21 violations (Kupiec 1995, table 3)."""
    accepted = [count for count in range(1, 60) if unconditional_coverage(np.arange(255) < count).p > 0.05]
    assert accepted == list(range(7, 21))


def test_no_violation_and_nothing_but_violations_have_a_statistic() -> None:
    assert unconditional_coverage(np.zeros(100, dtype=np.bool_)).statistic == pytest.approx(-200 * np.log(0.95))
    assert unconditional_coverage(np.ones(100, dtype=np.bool_)).statistic == pytest.approx(-200 * np.log(0.05))
    for hits in (np.zeros(100, dtype=np.bool_), np.ones(100, dtype=np.bool_)):
        assert independence(hits).p == pytest.approx(1)


def test_christoffersens_statistic_is_what_a_hand_finds() -> None:
    """0011010000: of 6 steps from 0 two are to 1, of 3 from 1 one is; so of 9 three, the same rate: independent.

    1100000011: of 6 from 0 one, of 3 from 1 two, of 9 three.
    """
    assert independence(_hits("0011010000")).statistic == pytest.approx(0, abs=1e-12)
    clustered = independence(_hits("1100000011"))
    apart = 1 * np.log(1 / 6) + 5 * np.log(5 / 6) + 2 * np.log(2 / 3) + 1 * np.log(1 / 3)
    alike = 3 * np.log(1 / 3) + 6 * np.log(2 / 3)
    # Steps: 1-1, 1-0, five 0-0, 0-1, 1-1.
    assert clustered.statistic == pytest.approx(2 * (apart - alike))


def test_conditional_coverage_is_both_statistics_with_two_degrees() -> None:
    hits = _hits("1100000011")
    both = unconditional_coverage(hits).statistic + independence(hits).statistic
    assert conditional_coverage(hits).statistic == pytest.approx(both)
    assert conditional_coverage(hits).p == pytest.approx(np.exp(-both / 2))  # chi-squared with two degrees


def test_the_dynamic_quantile_statistic_is_that_of_the_normal_equations() -> None:
    """b' X'X b / (a (1 - a)) with b by inversion, as Engle & Manganelli (2004) write it."""
    generator = np.random.default_rng(1)
    hits = generator.random(500) < 0.06
    value_at_risk = np.exp(generator.normal(size=500))
    excess = hits - 0.05
    regressors = np.array(
        [[1, *(excess[day - lag] for lag in range(1, 5)), value_at_risk[day]] for day in range(4, 500)]
    )
    beta = np.linalg.inv(regressors.T @ regressors) @ regressors.T @ excess[4:]
    statistic = beta @ regressors.T @ regressors @ beta / (0.05 * 0.95)
    found = dynamic_quantile(hits, value_at_risk)
    assert found.statistic == pytest.approx(statistic)
    assert found.p == pytest.approx(stats.chi2.sf(statistic, 6))


def test_a_constant_value_at_risk_takes_a_degree_of_freedom_away() -> None:
    hits = np.random.default_rng(1).random(500) < 0.05
    found = dynamic_quantile(hits, np.full(500, 2.0))
    assert found.p == pytest.approx(stats.chi2.sf(found.statistic, 5))


def test_acerbi_and_szekelys_statistic_is_what_a_hand_finds() -> None:
    """40 days, two violations expected; losses of 3 and 6 at an expected shortfall of 4: 1 - (3/4 + 6/4) / 2."""
    returns = np.zeros(40)
    returns[[3, 30]] = [-3, -6]
    found = expected_shortfall(returns, np.full(40, 2.0), np.full(40, 4.0), np.random.default_rng(1), draws=10)
    assert found.statistic == pytest.approx(1 - 2.25 / 2)


def test_acerbi_and_szekelys_critical_value_is_theirs() -> None:
    """Of 250 normal days at 2.5 %, -0.70 is where 5 % of right models are rejected (2014, table 4)."""
    quantile = stats.norm.ppf(0.025)
    value_at_risk, shortfall = np.full(250, -quantile), np.full(250, stats.norm.pdf(quantile) / 0.025)
    returns = np.zeros(250)
    # Violations whose losses make the statistic -0.70: 1.7 times the 6.25 that are expected.
    returns[:6] = -1.7 * 6.25 * shortfall[0] / 6
    found = expected_shortfall(returns, value_at_risk, shortfall, np.random.default_rng(1), level=0.975)
    assert found.statistic == pytest.approx(-0.7)
    assert found.p == pytest.approx(0.05, abs=0.015)


def test_no_p_is_zero_and_the_generator_decides() -> None:
    returns = np.full(100, -50.0)
    first, second = (
        expected_shortfall(returns, np.ones(100), np.full(100, 1.5), np.random.default_rng(3), draws=99)
        for _ in range(2)
    )
    assert first == second
    assert first.p == pytest.approx(0.01)


def test_right_forecasts_have_uniform_p_values() -> None:
    """300 markets of 1,000 normal days with changing, known volatility.

    Kupiec's and Christoffersen's statistics are of counts, so that their p-values come in steps; the latter's reject
    a little too often where violations are few. They are held to rejecting 2 to 11 % at .05 instead.
    """
    generator = np.random.default_rng(20)
    found: dict[str, list[float]] = {"POF": [], "CC": [], "independence": [], "DQ": [], "Z2": []}
    for _ in range(300):
        sigma = np.exp(0.3 * generator.normal(size=1_000))
        returns, value_at_risk = sigma * generator.normal(size=1_000), sigma * NORMAL_VAR
        hits = violations(returns, value_at_risk)
        found["POF"].append(unconditional_coverage(hits).p)
        found["independence"].append(independence(hits).p)
        found["CC"].append(conditional_coverage(hits).p)
        found["DQ"].append(dynamic_quantile(hits, value_at_risk).p)
        found["Z2"].append(expected_shortfall(returns, value_at_risk, sigma * NORMAL_ES, generator, draws=100).p)
    rejected = {name: float(np.mean(np.array(ps) < 0.05)) for name, ps in found.items()}
    assert all(0.02 < share < 0.11 for share in rejected.values()), rejected
    assert _uniform(found["Z2"]) > 0.01
    assert _uniform(found["DQ"]) > 0.01


def test_heavy_tails_need_their_shape() -> None:
    """200 markets of Student-t days: told the tail's shape, the test of expected shortfall keeps its level; taken for
    exponential, it rejects more often.
    """
    generator = np.random.default_rng(21)
    freedom = 3
    quantile = stats.t.ppf(0.05, freedom)
    shortfall = stats.t.pdf(quantile, freedom) * (freedom + quantile**2) / (freedom - 1) / 0.05
    ones = np.ones(500)
    told, untold = [], []
    for _ in range(200):
        returns = generator.standard_t(freedom, size=500)
        for shape, ps in ((1 / freedom, told), (0.0, untold)):
            ps.append(
                expected_shortfall(returns, -quantile * ones, shortfall * ones, generator, shape=shape, draws=100).p
            )
    assert 0.01 < np.mean(np.array(told) < 0.05) < 0.1
    assert np.mean(np.array(untold) < 0.05) >= np.mean(np.array(told) < 0.05)


def test_a_value_at_risk_that_is_too_small_is_found() -> None:
    """Risk understated by 15 %, 1,500 days."""
    returns = np.random.default_rng(5).normal(size=1_500)
    low = np.full(1_500, 0.85 * NORMAL_VAR)
    hits = violations(returns, low)
    assert unconditional_coverage(hits).p < 0.01
    assert conditional_coverage(hits).p < 0.02
    assert (
        expected_shortfall(returns, low, 0.85 * NORMAL_ES / NORMAL_VAR * low / 0.85, np.random.default_rng(1)).p < 0.01
    )


def test_an_expected_shortfall_that_is_too_small_is_found() -> None:
    """Student-t days with the right value at risk and a normal's expected shortfall for it: a quarter too small."""
    returns = np.random.default_rng(6).standard_t(3, size=3_000)
    value_at_risk = np.full(3_000, -stats.t.ppf(0.05, 3))
    assert unconditional_coverage(violations(returns, value_at_risk)).p > 0.05
    found = expected_shortfall(returns, value_at_risk, value_at_risk * NORMAL_ES / NORMAL_VAR, np.random.default_rng(1))
    assert found.p < 0.01


def test_an_expected_shortfall_that_is_too_large_is_not_rejected() -> None:
    """The test is one-sided: against underestimated risk alone."""
    returns = np.random.default_rng(7).normal(size=1_000)
    ones = np.ones(1_000)
    found = expected_shortfall(returns, NORMAL_VAR * ones, 1.5 * NORMAL_ES * ones, np.random.default_rng(1))
    assert found.statistic > 0
    assert found.p > 0.9


def test_a_value_at_risk_that_does_not_follow_volatility_is_found() -> None:
    """Volatility that halves and doubles every 50 days, and one value at risk for all that is right on average."""
    generator = np.random.default_rng(8)
    sigma = np.where(np.arange(3_000) // 50 % 2 == 0, 0.5, 2.0)
    returns = sigma * generator.normal(size=3_000)
    level = float(-np.quantile(returns, 0.05))
    hits = violations(returns, np.full(3_000, level))
    assert unconditional_coverage(hits).p > 0.5
    assert independence(hits).p < 0.01
    assert dynamic_quantile(hits, np.full(3_000, level)).p < 0.001


def test_a_value_at_risk_that_itself_foretells_violations_is_found() -> None:
    """Forecasts of a volatility that does not change: nothing clusters, yet a small forecast is often exceeded."""
    generator = np.random.default_rng(9)
    value_at_risk = NORMAL_VAR * np.exp(0.4 * generator.normal(size=3_000))
    hits = violations(generator.normal(size=3_000), value_at_risk)
    assert independence(hits).p > 0.01
    assert dynamic_quantile(hits, value_at_risk).p < 0.001


def _walk(days: int, seed: int) -> Series:
    """A random walk of 4 % a day, from 2022-01-01 on."""
    generator = np.random.default_rng(seed)
    path = np.cumsum(generator.normal(size=(24 * days, 20)) * 0.04 / np.sqrt(480)).reshape(-1, 20)
    opens = np.concatenate([[0.0], path[:-1, -1]])
    columns = (opens, np.maximum(opens, path.max(axis=1)), np.minimum(opens, path.min(axis=1)), path[:, -1])
    times = to_milliseconds(datetime(2022, 1, 1, tzinfo=UTC)) + HOUR_MS * np.arange(24 * days)
    return Series.from_arrays(times, *(np.exp(column) for column in columns), np.ones(24 * days))


def test_days_are_judged_from_the_start_that_is_given() -> None:
    """A walk of a year, judged for its last hundred days: every method in the table, and a plot; the estimator that is
    served meets its goal where returns are as simple as here.
    """
    told: list[str] = []
    section = risk.daily({"A-USDT": _walk(365, 1)}, datetime(2022, 9, 23, tzinfo=UTC), told.append)
    goal, cost = section.goals
    assert told == ["risk of a day: A-USDT"]
    assert goal.measured["A-USDT"].endswith("(n = 100)")
    assert goal.met["A-USDT"]
    assert float(cost.measured["A-USDT"]) > 0
    for name in (risk.OURS_DAILY, "plain historical simulation", "normal", "Cornish–Fisher"):
        assert name in section.markdown
    assert list(section.plots) == ["risk-1d-a-usdt"]


def test_hours_are_judged_by_the_volatility_that_was_forecast() -> None:
    """Right forecasts hold; those that take no notice of what volatility does are seen to."""
    generator = np.random.default_rng(3)
    sigma = np.where(np.arange(8_000) // 48 % 2 == 0, 0.005, 0.02)
    returns = sigma * generator.normal(size=8_000)
    start = datetime(2022, 1, 1, tzinfo=UTC)
    times = to_milliseconds(start) + HOUR_MS * np.arange(8_000)
    right = risk.Hourly(times, returns, sigma)
    blind = risk.Hourly(times, returns, np.full(8_000, 0.0125))
    begin = start + timedelta(hours=3_000)
    section = risk.intraday({"A-USDT": right, "B-USDT": blind}, begin, lambda text: None)
    assert section.goals[0].met == {"A-USDT": True, "B-USDT": False}
    assert section.goals[0].measured["A-USDT"].endswith("(n = 5000)")
    assert list(section.plots) == ["risk-1h-a-usdt", "risk-1h-b-usdt"]


def test_there_is_nothing_to_judge_after_the_last_candle() -> None:
    with pytest.raises(ValueError, match="no day"):
        risk.daily({"A-USDT": _walk(200, 1)}, datetime(2023, 1, 1, tzinfo=UTC), lambda text: None)
    none = risk.Hourly(np.empty(0, dtype=np.int64), np.empty(0), np.empty(0))
    with pytest.raises(ValueError, match="no hour"):
        risk.intraday({"A-USDT": none}, datetime(2023, 1, 1, tzinfo=UTC), lambda text: None)
