"""Features know no future, no beginning, and no number that is not finite."""

from __future__ import annotations

import numpy as np
import pytest

from entasis_engine.analysis.features import (
    LOOKBACK,
    MOVE_MAX,
    NAMES,
    RECURRENT,
    WINDOW,
    compute,
    hourly_variance,
    moving_average,
    window_sums,
    windows,
)
from entasis_engine.analysis.series import HOUR_MS, Floats, Series


def market(
    count: int, *, seed: int = 1, price: float = 100.0, volatility: float = 0.01, missing: float = 0.0
) -> Series:
    """Candles of a random walk with heavy tails, some of them missing."""
    generator = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(generator.standard_t(4, size=count) * volatility))
    opening = np.concatenate([[price], close[:-1]])
    high = np.maximum(opening, close) * (1 + volatility * generator.random(count))
    low = np.minimum(opening, close) / (1 + volatility * generator.random(count))
    times = 1_577_836_800_000 + HOUR_MS * np.arange(count, dtype=np.int64)
    there = generator.random(count) >= missing
    there[0] = True
    columns = (opening, high, low, close, generator.random(count))
    return Series.from_arrays(times[there], *(column[there] for column in columns))


def flat(count: int, price: float) -> Series:
    times = 1_577_836_800_000 + HOUR_MS * np.arange(count, dtype=np.int64)
    return Series.from_arrays(times, *(np.full(count, price) for _ in range(4)), np.zeros(count))


def replaced(series: Series, at: int, factor: float) -> Series:
    """The same, with all prices from `at` on times `factor`."""
    there = ~series.missing
    scale = np.where(np.arange(len(series)) < at, 1.0, factor)
    prices = [(getattr(series, name) * scale)[there] for name in ("open", "high", "low", "close")]
    return Series.from_arrays(series.open_time[there], *prices, series.volume[there])


def test_later_candles_change_no_earlier_row_at_all() -> None:
    whole = market(1500, missing=0.02)
    before, after = compute(whole.until(1100)), compute(replaced(whole, 1100, 3.0))
    assert np.array_equal(before.matrix[LOOKBACK - 1 :], after.matrix[LOOKBACK - 1 : 1100])
    assert np.array_equal(before.scale[LOOKBACK - 1 :], after.scale[LOOKBACK - 1 : 1100])


@pytest.mark.parametrize("start", [1, 17, 64, 301, 756])
def test_candles_before_the_lookback_change_no_row_at_all(start: int) -> None:
    whole = market(1500, missing=0.02)
    late = whole.last(1500 - start)
    rows = 1500 - start - LOOKBACK + 1
    assert np.array_equal(compute(whole).matrix[-rows:], compute(late).matrix[-rows:])
    assert np.array_equal(compute(whole).scale[-rows:], compute(late).scale[-rows:])


@pytest.mark.parametrize("rows", [1, 2, 7, 48, 100])
def test_the_last_rows_alone_are_those_of_all(rows: int) -> None:
    whole = market(1200)
    some, every = compute(whole.last(LOOKBACK + rows - 1), rows), compute(whole)
    assert np.array_equal(some.matrix, every.matrix[-rows:])
    assert np.array_equal(some.scale, every.scale[-rows:])


def test_every_column_has_a_name_and_moves_with_the_market() -> None:
    matrix = compute(market(3000)).matrix[LOOKBACK - 1 :]
    assert matrix.shape[1] == len(NAMES) == len(set(NAMES))
    still = [name for name, column in zip(NAMES, matrix.T, strict=True) if column.std() < 1e-3]
    assert not still


def test_a_return_is_told_in_units_of_the_moving_average() -> None:
    series = market(1000)
    features = compute(series)
    last = np.log(series.close[-1] / series.close[-2])
    assert features.matrix[-1, NAMES.index("return_lag_0")] == pytest.approx(last / features.scale[-1], rel=1e-12)
    week = np.log(series.close[-1] / series.close[-169])
    told = features.matrix[-1, NAMES.index("return_168")] * features.scale[-1] * np.sqrt(168)
    assert told == pytest.approx(week, abs=1e-12)


def test_the_season_is_that_of_the_hour_to_come() -> None:
    """With every day's hour of 05:00 to 06:00 ten times as wild, the row of 05:00 expects it, and that of 06:00 not."""
    count = 1000
    times = 1_577_836_800_000 + HOUR_MS * np.arange(count, dtype=np.int64)
    wild = np.arange(count) % 24 == 5
    reach = np.where(wild, 0.1, 0.01)
    close = np.full(count, 100.0)
    series = Series.from_arrays(times, close, close * (1 + reach), close / (1 + reach), close, np.ones(count))
    season = compute(series).matrix[:, NAMES.index("season_1")]
    hours = np.arange(count) % 24
    late = np.arange(count) >= LOOKBACK
    assert season[late & (hours == 4)].min() > 2 > 0 > season[late & (hours != 4)].max()


def test_the_moving_average_is_that_of_the_formula() -> None:
    generator = np.random.default_rng(2)
    values, present = generator.random(600), (generator.random(600) > 0.2).astype(float)
    weights = 0.5 ** (np.arange(512) / 72.0) * present[::-1][:512]
    expected = (weights @ values[::-1][:512]) / weights.sum()
    assert moving_average(values, present)[-1] == pytest.approx(expected, rel=1e-12)


def test_window_sums_are_sums() -> None:
    values = np.arange(20.0)
    assert window_sums(window_sums(values, 3), 2, 3).tolist() == [float(sum(range(i, i + 6))) for i in range(15)]


def test_the_variance_of_a_candle_is_that_of_garman_and_klass() -> None:
    times = 1_577_836_800_000 + HOUR_MS * np.arange(2, dtype=np.int64)
    prices = [np.array(column) for column in ([100.0, 102.0], [100.0, 110.0], [100.0, 99.0], [100.0, 105.0])]
    series = Series.from_arrays(times, *prices, np.ones(2))
    own = 0.5 * np.log(110 / 99) ** 2 - (2 * np.log(2) - 1) * np.log(105 / 102) ** 2
    assert hourly_variance(series).tolist() == pytest.approx([0.0, own + np.log(102 / 100) ** 2])


@pytest.mark.parametrize(
    "series",
    [
        flat(1000, 1e-8),
        market(1000, price=1e-8),
        market(1000, price=1e300),
        market(1000, missing=0.9),
        replaced(market(1000), 900, 1e6),
        replaced(market(1000), 900, 1e-6),
    ],
    ids=["flat", "tiny", "huge", "missing", "jump up", "jump down"],
)
@pytest.mark.filterwarnings("error")
def test_rows_are_finite_whatever_prices_do(series: Series) -> None:
    features = compute(series)
    assert np.isnan(features.matrix[: LOOKBACK - 1]).all()
    assert np.isfinite(features.matrix[LOOKBACK - 1 :]).all()
    assert 0 < features.scale[LOOKBACK - 1 :].min() <= features.scale[LOOKBACK - 1 :].max() <= MOVE_MAX


def test_too_short_a_series_has_no_row() -> None:
    assert np.isnan(compute(market(LOOKBACK - 1)).matrix).all()
    with pytest.raises(ValueError, match="candles"):
        compute(market(LOOKBACK), 2)


def test_a_window_ends_with_its_own_row() -> None:
    features = compute(market(900))
    rows = np.array([LOOKBACK + WINDOW - 2, 899])
    seen: Floats = windows(features, rows)
    assert seen.shape == (2, WINDOW, 8)
    for window, row in zip(seen, rows, strict=True):
        assert np.array_equal(window, features.matrix[row - WINDOW + 1 : row + 1, RECURRENT])
    with pytest.raises(IndexError):
        windows(features, np.array([WINDOW - 2]))
