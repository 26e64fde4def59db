"""Positions held together: they add up, they hedge, and each has its part."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from entasis_engine.analysis.portfolio_risk import (
    COMMON_DAYS,
    Exposure,
    PortfolioRisk,
    portfolio_risk,
    risk_of_scenarios,
)
from entasis_engine.analysis.risk import DAY_MS, NoRiskError, Scenarios, TooLittleHistoryError, daily_risk
from entasis_engine.analysis.series import HOUR_MS, Floats, Series

pytestmark = pytest.mark.filterwarnings("error")


def history(days: int, seed: int, price: float = 100.0, first_day: int = 19_000) -> Series:
    """A random walk of 4 % a day, from the given day since 1970."""
    generator = np.random.default_rng(seed)
    path = np.log(price) + np.cumsum(generator.normal(size=(24 * days, 20)) * 0.04 / np.sqrt(480)).reshape(-1, 20)
    closes = path[:, -1]
    opens = np.concatenate([[np.log(price)], closes[:-1]])
    columns = (opens, np.maximum(opens, path.max(axis=1)), np.minimum(opens, path.min(axis=1)), closes)
    times = first_day * DAY_MS + HOUR_MS * np.arange(closes.size)
    return Series.from_arrays(times, *(np.exp(column) for column in columns), np.ones(closes.size))


def scenarios(returns: Floats, first_day: int = 19_000) -> Scenarios:
    """On consecutive days."""
    return Scenarios(DAY_MS * (first_day + np.arange(returns.size)), returns, 100.0)


def correlated(count: int, correlation: float, seed: int = 1) -> dict[str, Scenarios]:
    """Normal log returns of 1 % and 2 %."""
    drawn = np.random.default_rng(seed).normal(size=(2, count))
    second = correlation * drawn[0] + np.sqrt(1 - correlation**2) * drawn[1]
    return {"A-USDT": scenarios(0.01 * drawn[0]), "B-USDT": scenarios(0.02 * second)}


def sums(found: PortfolioRisk) -> tuple[float, float]:
    """Of the contributions."""
    return (
        sum(part.value_at_risk for part in found.contributions),
        sum(part.expected_shortfall for part in found.contributions),
    )


def test_one_long_unit_has_the_risk_of_one_unit() -> None:
    """By construction: but for the last digits of a binary float."""
    series = history(400, 1)
    single = daily_risk(series)
    found = portfolio_risk([Exposure("p", "A-USDT", 1.0, float(series.close[-1]))], {"A-USDT": series})
    assert found.value_at_risk == pytest.approx(single.value_at_risk, rel=1e-12)
    assert found.expected_shortfall == pytest.approx(single.expected_shortfall, rel=1e-12)
    assert (found.sample_size, found.method, found.horizon_hours) == (
        single.sample_size,
        single.method,
        single.horizon_hours,
    )
    assert sums(found) == pytest.approx((found.value_at_risk, found.expected_shortfall))


def test_histories_that_no_position_needs_are_not_looked_at() -> None:
    series = history(200, 1)
    exposures = [Exposure("p", "A-USDT", 1.0, 100.0)]
    assert portfolio_risk(exposures, {"A-USDT": series, "B-USDT": series.until(0)}).value_at_risk > 0


def test_no_position_has_no_risk() -> None:
    found = portfolio_risk([], {})
    assert (found.value_at_risk, found.expected_shortfall, found.contributions, found.sample_size) == (0, 0, (), 0)


def test_what_one_position_gains_the_other_loses() -> None:
    """Long and short of the same size: nothing is at risk, and nobody adds anything."""
    given_ = correlated(1_000, 0.5)
    found = risk_of_scenarios([Exposure("long", "B-USDT", 2.5, 40.0), Exposure("short", "B-USDT", -2.5, 40.0)], given_)
    assert (found.value_at_risk, found.expected_shortfall) == (0, 0)
    assert all(part.value_at_risk == part.expected_shortfall == 0 for part in found.contributions)


def test_what_is_left_of_many_that_offset_each_other_is_about_nothing() -> None:
    """Sizes that no binary float holds."""
    sizes = [0.1, 0.2, -0.3, 0.7, -0.7]
    positions = [Exposure(str(place), "A-USDT", size, 65_432.1) for place, size in enumerate(sizes)]
    found = risk_of_scenarios(positions, correlated(1_000, 0.5))
    assert 0 <= found.value_at_risk <= found.expected_shortfall < 1e-9
    assert sums(found) == pytest.approx((found.value_at_risk, found.expected_shortfall), abs=1e-9)


def test_two_positions_in_one_instrument_are_as_one() -> None:
    given_ = correlated(1_000, 0.5)
    apart = risk_of_scenarios([Exposure("1", "A-USDT", 1.0, 100.0), Exposure("2", "A-USDT", 3.0, 100.0)], given_)
    together = risk_of_scenarios([Exposure("3", "A-USDT", 4.0, 100.0)], given_)
    assert apart.value_at_risk == pytest.approx(together.value_at_risk)
    assert apart.expected_shortfall == pytest.approx(together.expected_shortfall)
    first, second = apart.contributions
    assert second.value_at_risk == pytest.approx(3 * first.value_at_risk)
    assert second.expected_shortfall == pytest.approx(3 * first.expected_shortfall)


def test_a_hedge_makes_the_whole_less_risky_and_has_a_part_below_zero() -> None:
    given_ = correlated(2_000, 0.9)
    held = Exposure("held", "A-USDT", 10.0, 100.0)
    alone = risk_of_scenarios([held], given_)
    hedged = risk_of_scenarios([held, Exposure("hedge", "B-USDT", -4.0, 100.0)], given_)
    assert hedged.value_at_risk < 0.7 * alone.value_at_risk
    assert hedged.expected_shortfall < 0.7 * alone.expected_shortfall
    part = hedged.contributions[1]
    assert part.value_at_risk < 0
    assert part.expected_shortfall < 0


def test_a_short_position_loses_by_what_prices_gain() -> None:
    """Returns that fall far and rise little: a long unit has much at risk, a short one has not; and as it is worth."""
    returns = np.concatenate([np.full(900, 0.005), np.linspace(-0.3, -0.1, 100)])
    returns = np.random.default_rng(1).permutation(returns + np.linspace(0, 1e-4, 1_000))
    given_ = {"A-USDT": scenarios(returns)}
    long = risk_of_scenarios([Exposure("long", "A-USDT", 1.0, 100.0)], given_)
    short = risk_of_scenarios([Exposure("short", "A-USDT", -1.0, 100.0)], given_)
    assert 15 < long.value_at_risk < 20
    assert short.value_at_risk == pytest.approx(-100 * -np.expm1(0.005), rel=0.05)
    mirrored = risk_of_scenarios(
        [Exposure("long", "A-USDT", 1.0, 100.0)], {"A-USDT": scenarios(np.log(2 - np.exp(returns)))}
    )
    assert mirrored.value_at_risk == pytest.approx(short.value_at_risk)
    assert mirrored.expected_shortfall == pytest.approx(short.expected_shortfall)


@pytest.mark.parametrize(("first", "second", "correlation"), [(10, 3, 0.6), (10, -2, 0.6), (5, 5, -0.3)])
def test_parts_of_a_normal_portfolio_are_those_of_the_covariance_formula(
    first: float, second: float, correlation: float
) -> None:
    """Euler's allocation of a normal portfolio is its figure times w (Sw) / w'Sw (Tasche 2000): from 400,000 small
    returns within 2 % of the whole.
    """
    given_ = {
        symbol: Scenarios(each.day, each.returns / 100, each.price)
        for symbol, each in correlated(400_000, correlation).items()
    }
    found = risk_of_scenarios([Exposure("1", "A-USDT", first, 100.0), Exposure("2", "B-USDT", second, 100.0)], given_)
    weights = 100 * np.array([first * 1e-4, second * 2e-4])
    covariance = np.array([[1, correlation], [correlation, 1]])
    variance = weights @ covariance @ weights
    shares = weights * (covariance @ weights) / variance
    whole = np.sqrt(variance) * np.array([-stats.norm.ppf(0.05), stats.norm.pdf(stats.norm.ppf(0.05)) / 0.05])
    parts = np.array([(part.value_at_risk, part.expected_shortfall) for part in found.contributions])
    assert (found.value_at_risk, found.expected_shortfall) == pytest.approx(tuple(whole), rel=0.02)
    assert parts / whole == pytest.approx(np.outer(shares, [1, 1]), abs=0.02)


@given(
    sizes=st.lists(st.floats(-1e4, 1e4, allow_subnormal=False), min_size=1, max_size=6),
    seed=st.integers(0, 2**32 - 1),
    quiet=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_parts_make_the_whole(sizes: list[float], seed: int, quiet: bool) -> None:
    """Whatever is held, of returns with ties and flat days too; shortfall is never below value at risk."""
    generator = np.random.default_rng(seed)
    returns = generator.standard_t(3, size=(3, 300)) * 0.03
    if quiet:
        returns = np.round(returns, 1)
    given_ = {f"{place}-USDT": scenarios(each) for place, each in enumerate(returns)}
    positions = [Exposure(str(place), f"{place % 3}-USDT", size, 50.0) for place, size in enumerate(sizes)]
    found = risk_of_scenarios(positions, given_)
    assert 0 <= found.value_at_risk <= found.expected_shortfall
    gross = sum(abs(size) * 50 for size in sizes)
    assert sums(found) == pytest.approx((found.value_at_risk, found.expected_shortfall), rel=1e-9, abs=1e-9 * gross)
    if min(sizes) >= 0:
        assert found.expected_shortfall <= gross


def test_long_positions_cannot_lose_more_than_they_are_worth_but_short_ones_can() -> None:
    """Seven of a hundred days lose everything; or a rise without end, for who is short."""
    returns = np.where(np.arange(300) % 100 < 7, -30.0, 0.01)
    given_ = {"A-USDT": scenarios(returns), "B-USDT": scenarios(-returns / 10)}
    long = risk_of_scenarios([Exposure("1", "A-USDT", 2.0, 25.0)], given_)
    short = risk_of_scenarios([Exposure("1", "B-USDT", -2.0, 25.0)], given_)
    assert long.expected_shortfall == pytest.approx(50.0)
    assert short.expected_shortfall > 500


def test_positions_share_what_the_tail_says_by_size_where_scenarios_near_it_lose_nothing() -> None:
    """One day of a hundred falls, in all others nothing moves: the fitted value at risk is above 0 all the same."""
    given_ = {"A-USDT": scenarios(np.where(np.arange(300) % 100 == 0, -0.1, 0.0))}
    found = risk_of_scenarios([Exposure("1", "A-USDT", 1.0, 10.0), Exposure("2", "A-USDT", 3.0, 10.0)], given_)
    first, second = found.contributions
    assert found.value_at_risk > 0
    assert (first.value_at_risk, second.value_at_risk) == pytest.approx(
        (found.value_at_risk / 4, found.value_at_risk * 3 / 4)
    )


def test_only_days_that_all_instruments_have_count() -> None:
    """The same returns on days that overlap: what happened on the same day is held together."""
    returns = np.random.default_rng(1).normal(size=1_000) * 0.02
    given_ = {"A-USDT": scenarios(returns[:800]), "B-USDT": scenarios(returns[300:], first_day=19_300)}
    found = risk_of_scenarios([Exposure("1", "A-USDT", 1.0, 100.0), Exposure("2", "B-USDT", -1.0, 100.0)], given_)
    assert found.sample_size == 500
    assert (found.value_at_risk, found.expected_shortfall) == (0, 0)


def test_too_few_common_days_are_too_little_history() -> None:
    returns = np.random.default_rng(1).normal(size=200) * 0.02
    given_ = {"A-USDT": scenarios(returns), "B-USDT": scenarios(returns, first_day=19_201 - COMMON_DAYS)}
    positions = [Exposure("1", "A-USDT", 1.0, 100.0), Exposure("2", "B-USDT", 1.0, 100.0)]
    with pytest.raises(TooLittleHistoryError):
        risk_of_scenarios(positions, given_)
    with pytest.raises(TooLittleHistoryError):
        portfolio_risk(positions[:1], {"A-USDT": history(100, 1)})


@pytest.mark.parametrize("price", [np.inf, np.nan])
def test_a_price_that_is_no_number_has_no_risk(price: float) -> None:
    with pytest.raises(NoRiskError):
        risk_of_scenarios([Exposure("1", "A-USDT", -1.0, price)], correlated(300, 0.0))


def test_real_histories_of_different_length_go_together() -> None:
    """A hedged pair of independent walks: less than the sum of the two, more than nothing."""
    histories = {"A-USDT": history(500, 1), "B-USDT": history(300, 2, first_day=19_200)}
    prices = {symbol: float(series.close[-1]) for symbol, series in histories.items()}
    one, other = (Exposure(symbol, symbol, 1.0, prices[symbol]) for symbol in histories)
    both = portfolio_risk([one, other], histories)
    parts = [portfolio_risk([each], histories).expected_shortfall for each in (one, other)]
    assert max(parts) * 0.7 < both.expected_shortfall < sum(parts)
    assert both.sample_size == 270
