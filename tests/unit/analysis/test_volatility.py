"""Variance that was, and the autoregression that forecasts it."""

from __future__ import annotations

import numpy as np
import pytest

from entasis_engine.analysis.features import NAMES
from entasis_engine.analysis.volatility import HAR_NAMES, bias, fit_har, realised_variance


def test_realised_variance_is_that_of_the_hours_after() -> None:
    hourly = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    assert realised_variance(hourly, 2).tolist()[:3] == [6.0, 12.0, 24.0]
    assert np.isnan(realised_variance(hourly, 2)[3:]).all()
    assert np.isnan(realised_variance(hourly, 5)).all()


def test_the_autoregression_finds_what_made_the_variance() -> None:
    generator = np.random.default_rng(3)
    matrix = generator.normal(size=(5000, len(NAMES)))
    truth = np.linspace(-0.4, 0.6, len(HAR_NAMES))
    wanted = 0.3 + matrix[:, [NAMES.index(name) for name in HAR_NAMES]] @ truth
    har = fit_har(matrix, wanted + generator.normal(size=5000) * 0.1)
    assert har.coefficients == pytest.approx([0.3, *truth], abs=0.01)
    assert har.predict(matrix) == pytest.approx(wanted, abs=0.06)


def test_a_row_is_forecast_alike_alone_and_among_others() -> None:
    generator = np.random.default_rng(4)
    matrix = generator.normal(size=(1001, len(NAMES)))
    har = fit_har(matrix, generator.normal(size=1001))
    assert [har.predict(matrix[place : place + 1])[0] for place in range(9)] == har.predict(matrix)[:9].tolist()


def test_columns_that_never_move_do_no_harm() -> None:
    har = fit_har(np.zeros((200, len(NAMES))), np.full(200, -1.0))
    assert har.predict(np.zeros((1, len(NAMES)))) == pytest.approx([-1.0])


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        fit_har(np.zeros((99, len(NAMES))), np.zeros(99))


def test_bias_makes_the_mean_ratio_one_and_heeds_no_crash() -> None:
    forecast = np.full(1000, 2e-4)
    assert bias(forecast, np.full(1000, 3e-4)) == pytest.approx(1.5)
    crashed = np.full(1000, 3e-4)
    crashed[0] = 1e3
    assert bias(forecast, crashed) < 1.6
    assert bias(np.empty(0), np.empty(0)) == 1.0
