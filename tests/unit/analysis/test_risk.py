"""Value at risk and expected shortfall against distributions whose figures are known, and against what may go wrong."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from arch import arch_model
from arch.univariate import StudentsT
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from entasis_engine.analysis.risk import (
    DAY_HOURS,
    NEEDED_HOURS,
    RECENT_HOURS,
    WINDOW_DAYS,
    NoRiskError,
    RiskModel,
    Scenarios,
    TooLittleHistoryError,
    daily_risk,
    filtered_historical,
    generalised_pareto,
    tail_risk,
)
from entasis_engine.analysis.series import HOUR_MS, Floats, Series
from entasis_engine.times import to_milliseconds

pytestmark = pytest.mark.filterwarnings("error")

MIDNIGHT = to_milliseconds(datetime(2022, 1, 3, tzinfo=UTC))  # a Monday
STEPS = 20


def series_of(returns: Floats, spread: Floats, price: float = 100.0, keep: Floats | None = None) -> Series:
    """Candles from hourly log returns (n,), with a log range of each hour (n,) beyond open and close."""
    closes = price * np.exp(np.cumsum(returns))
    opens = np.concatenate([[price], closes[:-1]])
    highs, lows = np.maximum(opens, closes) * np.exp(spread), np.minimum(opens, closes) * np.exp(-spread)
    times = MIDNIGHT + HOUR_MS * np.arange(returns.size)
    columns = [times, opens, highs, lows, closes, np.ones(returns.size)]
    return Series.from_arrays(*(column if keep is None else column[keep] for column in columns))  # type: ignore[arg-type]


def walk(generator: np.random.Generator, sigma: Floats, price: float = 100.0) -> Series:
    """Candles of a random walk in small steps, with a standard deviation for each hour's log return (n,)."""
    steps = generator.normal(size=(sigma.size, STEPS)) * (sigma / np.sqrt(STEPS))[:, None]
    return of_steps(steps, price)


def of_steps(steps: Floats, price: float = 100.0) -> Series:
    """Candles from log returns within hours, shape (hours, steps)."""
    path = np.log(price) + np.cumsum(steps).reshape(steps.shape)
    closes = path[:, -1]
    opens = np.concatenate([[np.log(price)], closes[:-1]])
    columns = (opens, np.maximum(opens, path.max(axis=1)), np.minimum(opens, path.min(axis=1)), closes)
    times = MIDNIGHT + HOUR_MS * np.arange(closes.size)
    return Series.from_arrays(times, *(np.exp(column) for column in columns), np.ones(closes.size))


def plain(days: int, seed: int = 1, daily: float = 0.04, price: float = 100.0) -> Series:
    """A random walk with the same volatility throughout."""
    return walk(np.random.default_rng(seed), np.full(days * DAY_HOURS, daily / np.sqrt(DAY_HOURS)), price)


def quantiles(ppf: object, count: int) -> Floats:
    """A sample as even as can be: the distribution's own quantiles."""
    return np.asarray(ppf((np.arange(count) + 0.5) / count))  # type: ignore[operator]


def test_the_tail_of_a_generalised_pareto_distribution_is_found_exactly() -> None:
    """Losses that are Pareto beyond their threshold: the model is true; within 0.2 % from a large even sample."""
    shape, scale = 0.2, 2.0
    losses = quantiles(lambda share: stats.genpareto.ppf(share, shape, scale=scale), 400_000)
    value_at_risk = stats.genpareto.ppf(0.95, shape, scale=scale)
    shortfall = value_at_risk + (scale + shape * value_at_risk) / (1 - shape)
    tail = tail_risk(losses)
    assert tail.value_at_risk == pytest.approx(value_at_risk, rel=2e-3)
    assert tail.expected_shortfall == pytest.approx(shortfall, rel=2e-3)
    assert tail.shape == pytest.approx(shape, abs=5e-3)


@pytest.mark.parametrize("shape", [-0.4, -0.1, 0.0, 0.1, 0.3, 0.45])
def test_moments_recover_shape_and_scale(shape: float) -> None:
    """Within .02 from an even sample of 200,000."""
    found = generalised_pareto(quantiles(lambda share: stats.genpareto.ppf(share, shape, scale=3), 200_000))
    assert found == (pytest.approx(shape, abs=0.02), pytest.approx(3, rel=0.02))


def test_moments_are_those_that_a_hand_finds() -> None:
    """Excesses 1, 2, 5: shares .65/3, 1.65/3, 2.65/3, so a0 = 8/3 and a1 = (2.35 + 2.7 + 1.75) / 9."""
    mean, weighted = 8 / 3, (1 * 2.35 + 2 * 1.35 + 5 * 0.35) / 9
    shape = 2 - mean / (mean - 2 * weighted)
    assert generalised_pareto(np.array([1.0, 2.0, 5.0])) == (
        pytest.approx(shape),
        pytest.approx(2 * mean * weighted / (mean - 2 * weighted)),
    )


def test_a_shape_beyond_the_limit_is_set_to_it_and_keeps_the_mean() -> None:
    """A tail without a mean: expected shortfall stays finite."""
    excesses = quantiles(lambda share: stats.genpareto.ppf(share, 1.5), 1_000)
    shape, scale = generalised_pareto(excesses)
    assert shape == 0.5
    assert scale / (1 - shape) == pytest.approx(excesses.mean())
    assert generalised_pareto(np.array([5.0, 5.0, 5.0, 5.0]))[0] == -0.5


def test_the_tail_of_a_normal_distribution() -> None:
    """1.645 and 2.063 standard deviations, within 0.5 %."""
    tail = tail_risk(quantiles(stats.norm.ppf, 200_000))
    assert tail.value_at_risk == pytest.approx(1.6449, rel=5e-3)
    assert tail.expected_shortfall == pytest.approx(2.0627, rel=5e-3)


@pytest.mark.parametrize("freedom", [3.5, 5.0, 8.0])
def test_the_tail_of_students_distribution(freedom: float) -> None:
    """Quantile and partial moment as the package `arch` has them, within 1 %."""
    reference = StudentsT()
    quantile = float(reference.ppf(0.05, [freedom]))
    shortfall = -float(reference.partial_moment(1, quantile, [freedom])) / 0.05
    tail = tail_risk(-quantiles(lambda share: reference.ppf(share, [freedom]), 200_000))
    assert tail.value_at_risk == pytest.approx(-quantile, rel=1e-2)
    assert tail.expected_shortfall == pytest.approx(shortfall, rel=1e-2)
    assert tail.shape > tail_risk(quantiles(stats.norm.ppf, 200_000)).shape


def test_a_sample_of_a_few_years_is_near_enough() -> None:
    """1,400 Student-t losses: over 200 samples both figures are right within 1 % in the mean, and spread by 10 %."""
    generator = np.random.default_rng(7)
    scale = np.sqrt(5 / 3)
    value_at_risk = -stats.t.ppf(0.05, 5) / scale
    shortfall = stats.t.pdf(stats.t.ppf(0.05, 5), 5) * (5 + stats.t.ppf(0.05, 5) ** 2) / 4 / 0.05 / scale
    tails = [tail_risk(generator.standard_t(5, size=1_400) / scale) for _ in range(200)]
    found = np.array([(tail.value_at_risk, tail.expected_shortfall) for tail in tails]) / (value_at_risk, shortfall)
    assert found.mean(axis=0) == pytest.approx([1, 1], abs=0.01)
    assert (found.std(axis=0) < 0.1).all()


@given(arrays(np.float64, st.integers(30, 200), elements=st.floats(-1e12, 1e12)))
@settings(max_examples=200, deadline=None)
def test_expected_shortfall_is_never_below_value_at_risk_nor_that_below_zero(losses: Floats) -> None:
    """Whatever the losses are; ties, gains alone and lone giants with them."""
    tail = tail_risk(losses)
    assert 0 <= tail.value_at_risk <= tail.expected_shortfall < np.inf
    capped = tail_risk(losses, worst=1.0)
    assert 0 <= capped.value_at_risk <= capped.expected_shortfall <= 1


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-8, 1e-3, 7.0, 1e9]))
@settings(max_examples=50, deadline=None)
def test_the_tail_of_scaled_losses_is_the_scaled_tail(seed: int, scale: float) -> None:
    """Quote currency has no say in it."""
    losses = np.random.default_rng(seed).standard_t(3, size=300)
    one, other = tail_risk(losses), tail_risk(scale * losses)
    assert other.value_at_risk == pytest.approx(scale * one.value_at_risk, rel=1e-9)
    assert other.expected_shortfall == pytest.approx(scale * one.expected_shortfall, rel=1e-9)


@pytest.mark.parametrize("losses", [np.zeros(29), np.append(np.zeros(100), np.nan), np.append(np.zeros(100), np.inf)])
def test_there_is_no_tail_of_too_few_losses_or_of_no_numbers(losses: Floats) -> None:
    with pytest.raises(NoRiskError):
        tail_risk(losses)


def test_a_random_walk_has_the_risk_of_its_normal_distribution() -> None:
    """4 % a day for four years: one history is off by 4 % or so, the mean of ten by less than 3 %."""
    found = []
    for seed in range(10):
        series = plain(1_461, seed)
        risk = daily_risk(series)
        found.append(
            (risk.value_at_risk / series.close[-1], risk.expected_shortfall / series.close[-1], risk.volatility)
        )
        assert risk.sample_size == WINDOW_DAYS - 30
        assert risk.horizon_hours == 24
    truth = [-np.expm1(-0.04 * 1.6449), -np.expm1(-0.04 * 2.0627), 0.04 * np.sqrt(365)]
    assert np.mean(found, axis=0) == pytest.approx(truth, rel=0.03)


def test_forecasts_follow_the_conditional_figures_of_a_garch_process() -> None:
    """On simulated data whose next day's distribution is known, of 150 days: off by less than 10 % in the mean, where
    one sample of 850 days has its error, and than 12 % in the middle; and so near the true model, fitted to the daily
    returns by the package `arch`, whose own error is seen to be smaller.
    """
    generator = np.random.default_rng(11)
    reference = arch_model(None, mean="Zero", vol="GARCH", p=1, q=1, dist="t")
    reference.distribution = StudentsT(seed=np.random.default_rng(5))
    days = 1_000
    simulated = reference.simulate([0.15, 0.06, 0.93, 6.0], days)
    daily, sigma = simulated["data"].to_numpy() / 100, simulated["volatility"].to_numpy() / 100
    # Within the day, a walk that ends where the day's return says.
    steps = generator.normal(size=(days, DAY_HOURS * STEPS)) * (sigma / np.sqrt(DAY_HOURS * STEPS))[:, None]
    steps += ((daily - steps.sum(axis=1)) / steps.shape[1])[:, None]
    series = of_steps(steps.reshape(-1, STEPS))
    judged = np.arange(days - 150, days)
    ours = []
    for day in judged:
        known = series.until(int(day) * DAY_HOURS)
        found = daily_risk(known)
        ours.append((found.value_at_risk / known.close[-1], found.expected_shortfall / known.close[-1]))
    quantile = float(StudentsT().ppf(0.05, [6.0]))
    shortfall = -float(StudentsT().partial_moment(1, quantile, [6.0])) / 0.05
    truth = sigma[judged, None] * np.array([-quantile, shortfall])
    errors = np.log(np.array(ours) / truth)
    assert np.abs(errors.mean(axis=0)).max() < 0.1
    assert np.median(np.abs(errors), axis=0).max() < 0.12

    fitted = arch_model(100 * daily[: judged[0]], mean="Zero", vol="GARCH", p=1, q=1, dist="t").fit(disp="off")
    again = arch_model(100 * daily, mean="Zero", vol="GARCH", p=1, q=1, dist="t").fix(fitted.params)
    residuals = fitted.resid / fitted.conditional_volatility
    theirs = again.conditional_volatility[judged] / 100 * -np.quantile(residuals, 0.05)
    assert np.median(np.abs(np.log(theirs / truth[:, 0]))) < 0.05
    assert np.median(np.abs(errors[:, 0] - np.log(theirs / truth[:, 0]))) < 0.12


def test_risk_rises_when_the_market_does_not_rest() -> None:
    """Three days of tripled volatility after calm, in a market that had such days before."""
    calm = np.full(600 * DAY_HOURS, 0.006)
    for begin in range(50, 590, 60):
        calm[begin * DAY_HOURS : (begin + 10) * DAY_HOURS] *= 3
    rough = calm.copy()
    rough[-3 * DAY_HOURS :] *= 3
    before = daily_risk(walk(np.random.default_rng(2), calm)).volatility
    after = daily_risk(walk(np.random.default_rng(2), rough)).volatility
    assert after > 1.8 * before


def test_a_weekend_is_known_to_be_quieter() -> None:
    """Half the volatility on Saturdays and Sundays: forecasts made as they begin and end say so, within 10 %."""
    days = 700
    sigma = np.where(np.arange(days) % 7 >= 5, 0.5, 1.0).repeat(DAY_HOURS) * 0.04 / np.sqrt(DAY_HOURS)
    series = walk(np.random.default_rng(3), sigma)

    def volatility(weekday: int) -> float:
        return daily_risk(series.until((686 + weekday) * DAY_HOURS)).volatility / np.sqrt(365)

    # Scenarios of one standard deviation: what is expected of the day, on an average of the residuals.
    assert volatility(0) == pytest.approx(0.04, rel=0.1)
    assert volatility(3) == pytest.approx(0.04, rel=0.1)
    assert volatility(5) == pytest.approx(0.02, rel=0.1)


def test_the_hour_of_the_day_does_not_sway_the_answer() -> None:
    """Volatility that wanders from hour to hour, and four hours of every day with four times as much: the next 24 hours
    hold them whenever they begin. Means of 20 days at each time of the day are within 10 % of the mean of all; what six
    hours say alone would sway them by half and more.
    """
    days = 700
    shape = np.ones(DAY_HOURS)
    shape[13:17] = 4
    generator = np.random.default_rng(4)
    level = np.zeros(days * DAY_HOURS)
    for hour in range(1, level.size):
        level[hour] = 0.98 * level[hour - 1] + 0.1 * generator.normal()
    series = walk(generator, 0.005 * np.exp(level) * np.tile(shape, days))
    ends = (680 + np.arange(20))[:, None] * DAY_HOURS - np.array([0, 6, 12, 18])
    found = np.array([[daily_risk(series.until(int(end))).volatility for end in row] for row in ends])
    by_hour = np.log(found).mean(axis=0)
    assert by_hour - by_hour.mean() == pytest.approx(0, abs=0.1)


def test_a_kept_model_answers_as_a_new_one_through_the_day_it_was_made_for() -> None:
    """The same candles, the same figures, to the last bit; and only what a model says it needs is read."""
    series = plain(260)
    model = RiskModel.fit(series.until(250 * DAY_HOURS))
    for hour in range(DAY_HOURS):
        now = series.until(250 * DAY_HOURS + hour)
        assert model.scenarios(now.last(RECENT_HOURS)).risk() == daily_risk(now)
    assert RiskModel.fit(series.until(251 * DAY_HOURS)).fitted_until > model.fitted_until


def test_days_before_the_window_do_not_count() -> None:
    """So that a longer history gives the same answer."""
    series = plain(WINDOW_DAYS + 40)
    assert daily_risk(series) == daily_risk(series.last((WINDOW_DAYS + 2) * DAY_HOURS))


@pytest.mark.parametrize("hour", range(0, DAY_HOURS, 5))
def test_the_needed_hours_suffice_whenever_they_end(hour: int) -> None:
    series = plain(200).until(190 * DAY_HOURS + hour)
    found = daily_risk(series.last(NEEDED_HOURS))
    assert found.sample_size >= 150
    assert 0 < found.value_at_risk < found.expected_shortfall
    with pytest.raises(TooLittleHistoryError) as caught:
        daily_risk(series.last(NEEDED_HOURS - 1))
    assert (caught.value.needed, caught.value.given) == (NEEDED_HOURS, NEEDED_HOURS - 1)


def test_no_history_is_too_little() -> None:
    nothing = plain(1).until(0)
    with pytest.raises(TooLittleHistoryError):
        daily_risk(nothing)
    with pytest.raises(TooLittleHistoryError):
        RiskModel.fit(plain(200)).scenarios(plain(200).last(RECENT_HOURS - 1))


def test_history_with_more_holes_than_candles_is_too_little() -> None:
    """Eight candles a day for a year."""
    returns = np.random.default_rng(1).normal(size=365 * DAY_HOURS) * 0.01
    keep = np.arange(returns.size) % 3 == 0
    with pytest.raises(TooLittleHistoryError):
        daily_risk(series_of(returns, np.full(returns.size, 0.001), keep=keep))


def test_a_price_that_never_moves_has_no_risk() -> None:
    found = daily_risk(series_of(np.zeros(NEEDED_HOURS), np.zeros(NEEDED_HOURS)))
    assert (found.value_at_risk, found.expected_shortfall, found.volatility) == (0, 0, 0)


def test_a_price_that_wakes_after_months_and_one_that_falls_asleep_have_finite_figures() -> None:
    """Flat days beside lively ones."""
    returns = np.random.default_rng(6).normal(size=400 * DAY_HOURS) * 0.01
    asleep = np.arange(returns.size) < 200 * DAY_HOURS
    for quiet in (asleep, ~asleep):
        found = daily_risk(series_of(np.where(quiet, 0, returns), np.zeros(returns.size)))
        assert 0 <= found.value_at_risk <= found.expected_shortfall < np.inf
        assert 0 < found.volatility < 10


@pytest.mark.parametrize("price", [1e-8, 1e8])
def test_the_price_level_has_no_say_in_shares_of_it(price: float) -> None:
    found, usual = daily_risk(plain(250, price=price)), daily_risk(plain(250))
    assert found.value_at_risk == pytest.approx(usual.value_at_risk * price / 100, rel=1e-9)
    assert found.expected_shortfall == pytest.approx(usual.expected_shortfall * price / 100, rel=1e-9)
    assert found.volatility == pytest.approx(usual.volatility, rel=1e-9)


def test_a_unit_cannot_lose_more_than_it_costs() -> None:
    """Seven of a hundred days lose everything: the fitted tail alone would say a tenth more."""
    returns = np.where(np.arange(300) % 100 < 7, -30.0, 0.01)
    found = Scenarios(np.arange(300), returns, 50.0).risk()
    assert tail_risk(-np.expm1(returns)).expected_shortfall > 1.05
    assert found.value_at_risk <= found.expected_shortfall == 50.0


def test_prices_that_halve_or_double_within_hours_have_finite_figures() -> None:
    returns = np.random.default_rng(8).normal(size=300 * DAY_HOURS) * 0.7
    series = series_of(returns - returns.mean(), np.zeros(returns.size))
    found = daily_risk(series)
    assert 0 < found.value_at_risk <= found.expected_shortfall <= series.close[-1]


def test_one_jump_from_dust_to_riches_overflows_nothing() -> None:
    returns = np.random.default_rng(9).normal(size=300 * DAY_HOURS) * 1e-9
    returns[250 * DAY_HOURS] = 37
    found = daily_risk(series_of(returns, np.zeros(returns.size), price=1e-8))
    assert 0 <= found.value_at_risk <= found.expected_shortfall < np.inf


def test_gaps_change_little() -> None:
    """Hours and whole days without a candle, the last day too: within a quarter of the figures without."""
    series = plain(400)
    keep = np.random.default_rng(10).random(len(series)) > 0.05
    keep[100 * DAY_HOURS : 103 * DAY_HOURS] = False
    keep[-30:-1] = False
    keep[[0, -1]] = True
    columns = (series.open_time, series.open, series.high, series.low, series.close, series.volume)
    holed = Series.from_arrays(*(column[keep] for column in columns))  # type: ignore[arg-type]
    found, whole = daily_risk(holed), daily_risk(series)
    assert found.value_at_risk == pytest.approx(whole.value_at_risk, rel=0.25)
    assert found.volatility == pytest.approx(whole.volatility, rel=0.25)
    assert found.sample_size < whole.sample_size


def test_prices_that_are_no_numbers_have_no_risk() -> None:
    series = plain(250)
    closes = series.close.copy()
    closes[3_000] = np.nan
    broken = Series(series.open_time, series.open, series.high, series.low, closes, series.volume, series.missing)
    with pytest.raises(NoRiskError):
        daily_risk(broken)


def test_filtered_historical_simulation_is_what_a_hand_finds() -> None:
    """400 residuals -200 to 199: twenty lie beyond the value at risk of 180, and their mean is 190.5."""
    residuals = np.random.default_rng(1).permutation(np.arange(-200.0, 200.0))
    sigma = np.where(np.arange(400) < 200, 0.5, 2.0)
    value_at_risk, shortfall = filtered_historical(residuals * sigma, sigma, 0.25)
    assert value_at_risk == pytest.approx(180 * 0.25)
    assert shortfall == pytest.approx(190.5 * 0.25)


def test_filtered_historical_simulation_forgets_what_is_before_its_window() -> None:
    returns = np.random.default_rng(2).normal(size=2_000)
    wild = returns.copy()
    wild[:1_000] *= 100
    ones = np.ones(2_000)
    assert filtered_historical(wild, ones, 1.0, window=1_000) == filtered_historical(returns[1_000:], ones[1_000:], 1.0)


def test_filtered_historical_simulation_of_normal_residuals() -> None:
    """Changing volatility, known: the normal distribution's figures, within 3 %."""
    generator = np.random.default_rng(3)
    sigma = np.exp(generator.normal(size=100_000))
    found = filtered_historical(generator.normal(size=100_000) * sigma, sigma, 2.0, window=100_000)
    assert found == pytest.approx((2 * 1.6449, 2 * 2.0627), rel=0.03)


def test_filtered_historical_simulation_needs_twenty_residuals_in_the_tail() -> None:
    with pytest.raises(TooLittleHistoryError) as caught:
        filtered_historical(np.zeros(399), np.ones(399), 1.0)
    assert (caught.value.needed, caught.value.given) == (400, 399)
    assert filtered_historical(np.zeros(400), np.ones(400), 1.0) == (0.0, 0.0)
    with pytest.raises(NoRiskError):
        filtered_historical(np.full(400, -1.0), np.ones(400), np.inf)
    with pytest.raises(TooLittleHistoryError):
        filtered_historical(np.zeros(999), np.ones(999), 1.0, level=0.98)


@given(arrays(np.float64, 400, elements=st.floats(-1, 1)))
@settings(max_examples=50, deadline=None)
def test_an_hours_expected_shortfall_is_never_below_its_value_at_risk(returns: Floats) -> None:
    value_at_risk, shortfall = filtered_historical(returns, np.ones(400), 1.0)
    assert 0 <= value_at_risk <= shortfall


@pytest.mark.data
@pytest.mark.parametrize("name", ["btcusdt", "ethusdt"])
def test_a_year_of_real_candles_is_covered(data_dir: Path, name: str) -> None:
    """One-day forecasts of 2022 from the past alone: Kupiec's and Acerbi & Székely's tests see nothing amiss."""
    from scripts.evaluation import backtests

    with gzip.open(data_dir / f"{name}-1h-2017-08_2024-03.csv.gz", "rt") as file:
        rows = [row for row in csv.reader(file) if "2018" <= row[0] < "2023-01-02"]
    times = np.array([to_milliseconds(datetime.fromisoformat(row[0])) for row in rows])
    series = Series.from_arrays(times, *np.array([row[1:6] for row in rows], dtype=np.float64).T)
    begin = (to_milliseconds(datetime(2022, 1, 1, tzinfo=UTC)) - int(series.open_time[0])) // HOUR_MS
    figures = []
    for count in range(begin, begin + 365 * DAY_HOURS, DAY_HOURS):
        known, price = series.until(count), series.close[count - 1]
        found = daily_risk(known)
        change = series.close[count + DAY_HOURS - 1] / price - 1
        figures.append((change, found.value_at_risk / price, found.expected_shortfall / price))
    returns, value_at_risk, shortfall = np.array(figures).T
    assert backtests.unconditional_coverage(backtests.violations(returns, value_at_risk)).p > 0.05
    assert backtests.expected_shortfall(returns, value_at_risk, shortfall, np.random.default_rng(1)).p > 0.05
