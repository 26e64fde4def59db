"""Trees find what is there, come out the same each time, and are read back whole or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from entasis_engine.analysis.boosting import Boosted, Size, fit

NAMES = ("first", "second", "third")
SIZE = Size(60, 8, 50)


def samples(count: int = 4000) -> tuple[Any, Any]:
    generator = np.random.default_rng(1)
    matrix = generator.normal(size=(count, 3))
    # The mean lies far above the median.
    return matrix, np.where(matrix[:, 0] > 0, 1.0, -1.0) + generator.exponential(4.0, size=count) - 4 * np.log(2)


def test_the_median_is_found_and_not_the_mean() -> None:
    matrix, targets = samples()
    median = fit(matrix, targets, "median", Size(200, 8, 50), names=NAMES, seed=1).predict(matrix)
    mean = fit(matrix, targets, "mean", Size(200, 8, 50), names=NAMES, seed=1).predict(matrix)
    high, low = matrix[:, 0] > 0.1, matrix[:, 0] < -0.1
    assert median[high].mean() == pytest.approx(1.0, abs=0.3)
    assert median[low].mean() == pytest.approx(-1.0, abs=0.3)
    assert (mean - median).mean() == pytest.approx(4 - 4 * np.log(2), abs=0.3)


def test_the_same_seed_makes_the_same_text_and_another_seed_another() -> None:
    matrix, targets = samples()
    one, same, other = (fit(matrix, targets, "median", SIZE, names=NAMES, seed=seed).text for seed in (1, 1, 2))
    assert one == same != other


def test_trees_are_read_back_as_they_were() -> None:
    matrix, targets = samples()
    made = fit(matrix, targets, "mean", SIZE, names=NAMES, seed=1)
    read = Boosted.from_text(made.text, NAMES)
    assert np.array_equal(read.predict(matrix), made.predict(matrix))
    assert read.text == made.text


def test_a_row_is_forecast_alike_alone_and_among_others() -> None:
    matrix, targets = samples()
    trees = fit(matrix, targets, "mean", SIZE, names=NAMES, seed=1)
    assert [trees.predict(matrix[place : place + 1])[0] for place in range(5)] == trees.predict(matrix)[:5].tolist()


def test_damaged_text_is_refused() -> None:
    matrix, targets = samples()
    text = fit(matrix, targets, "mean", SIZE, names=NAMES, seed=1).text
    for damaged in ("", "nonsense", text[: len(text) // 2], text[10:], text[:-30]):
        with pytest.raises(ValueError, match="model"):
            Boosted.from_text(damaged, NAMES)
    with pytest.raises(ValueError, match="features"):
        Boosted.from_text(text, ("first", "second", "other"))


def test_progress_ends_at_the_whole() -> None:
    told: list[float] = []
    matrix, targets = samples()
    fit(matrix, targets, "mean", SIZE, names=NAMES, seed=1, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
