"""Rolling residuals say what numpy says of the same window, and the gate opens to what helps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entasis_engine.analysis.calibration import GATE_DAYS_MIN, Gate, Residuals

NUMBERS = st.floats(-1e6, 1e6)


@given(st.lists(NUMBERS, min_size=1, max_size=60), st.integers(1, 20))
def test_the_last_so_many_count(values: list[float], size: int) -> None:
    rolling = Residuals(size)
    for value in values:
        rolling.push(value)
    kept = values[-size:]
    assert rolling.array().tolist() == kept
    assert rolling.quantile(0.0) == min(kept)
    assert rolling.quantile(1.0) == max(kept)
    inside = sum(-1.0 <= value <= 2.0 for value in kept)
    assert rolling.probability(-1.0, 2.0) == pytest.approx((inside + 0.5) / (len(kept) + 1))


@given(st.lists(NUMBERS, min_size=1, max_size=40), st.floats(0, 1))
def test_quantiles_are_those_of_weibull(values: list[float], level: float) -> None:
    expected = np.quantile(values, level, method="weibull")
    assert Residuals(100, values).quantile(level) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_intervals_of_exchangeable_residuals_cover_what_they_say() -> None:
    generator = np.random.default_rng(5)
    rolling, covered = Residuals(99, generator.standard_t(3, size=99)), 0
    for value in generator.standard_t(3, size=20_000):
        covered += rolling.quantile(0.1) <= value <= rolling.quantile(0.9)
        rolling.push(float(value))
    assert covered / 20_000 == pytest.approx(0.8, abs=0.01)


def gate(gains: list[float]) -> float:
    one = Gate(365)
    for day, gain in enumerate([*gains, 0.0]):
        for _ in range(24):
            one.push(day, gain / 24)
    return one.weight


def test_the_gate_opens_to_gains_shuts_to_losses_and_is_half_open_before_it_knows() -> None:
    noise = np.random.default_rng(6).normal(size=365)
    noise -= noise.mean()
    assert gate(list(noise + 1.0)) == 1.0
    assert gate(list(noise - 1.0)) == 0.0
    assert gate(list(noise)) == pytest.approx(2 / 3)
    assert gate([1.0] * (GATE_DAYS_MIN - 2)) == 0.5
    assert gate([0.0] * 100) == 0.5


def test_the_gate_forgets_what_is_over() -> None:
    noise = np.random.default_rng(7).normal(size=365)
    assert gate([*(noise - 1.0), *(noise + 1.0)]) == 1.0
