"""Candles become arrays on a grid without holes, or are refused with a reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from entasis_engine.analysis.series import HOUR_MS, Series, SeriesError
from entasis_engine.exchanges.feed import Candle

START = datetime(2024, 3, 21, tzinfo=UTC)


def _candle(hour: int, close: str = "100", volume: str = "2") -> Candle:
    price = Decimal(close)
    return Candle(START + timedelta(hours=hour), price - 1, price + 2, price - 3, price, Decimal(volume))


def test_candles_become_arrays_in_their_order() -> None:
    series = Series.of([_candle(0, "100"), _candle(1, "101.5", "0.25")])
    assert len(series) == 2
    assert series.close.tolist() == [100.0, 101.5]
    assert (series.open[1], series.high[1], series.low[1], series.volume[1]) == (100.5, 103.5, 98.5, 0.25)
    assert not series.missing.any()
    assert series.as_of == START + timedelta(hours=2)


def test_a_hole_is_filled_with_the_last_close_and_no_volume() -> None:
    series = Series.of([_candle(0, "100"), _candle(3, "110")])
    assert series.missing.tolist() == [False, True, True, False]
    for column in (series.open, series.high, series.low, series.close):
        assert column[1:3].tolist() == [100.0, 100.0]
    assert series.volume.tolist() == [2.0, 0.0, 0.0, 2.0]
    assert np.diff(series.open_time).tolist() == [HOUR_MS] * 3


def test_nothing_is_a_series_of_nothing() -> None:
    assert len(Series.of([])) == 0


def test_a_cut_keeps_the_grid() -> None:
    series = Series.of([_candle(hour, str(100 + hour)) for hour in range(5)])
    assert series.until(2).close.tolist() == [100.0, 101.0]
    assert series.last(2).close.tolist() == [103.0, 104.0]
    assert len(series.last(50)) == 5


@pytest.mark.parametrize(
    "candles",
    [
        [_candle(0), _candle(0)],
        [_candle(1), _candle(0)],
        [Candle(START + timedelta(minutes=1), *[Decimal(1)] * 5)],
        [_candle(0, "3")],
        [Candle(START, *[Decimal("NaN")] * 5)],
        [Candle(START, *[Decimal(1)] * 4, Decimal(-1))],
        [Candle(START, *[Decimal("Infinity")] * 4, Decimal(1))],
    ],
    ids=["twice", "backwards", "half an hour", "price of 0", "NaN", "negative volume", "infinite"],
)
def test_what_is_no_market_is_refused(candles: list[Candle]) -> None:
    with pytest.raises(SeriesError):
        Series.of(candles)
