"""Tracks: predictions and what came of them, as columns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from entasis_engine.analysis.records import PredictedRange, Prediction, Scored, Track

NOON = datetime(2024, 3, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def scored(hour: int = 0, *levels: float, **changed: Any) -> Scored:
    """A prediction of 100 and more by the hour, and what came."""
    as_of = NOON + hour * HOUR
    figures: dict[str, Any] = {
        "source": "binance",
        "symbol": "BTC-USDT",
        "timeframe": "1h",
        "model": "ensemble",
        "version": "v1",
        "as_of": as_of,
        "due": as_of + HOUR,
        "last_price": Decimal(99),
        "prediction": Decimal(100 + hour),
        "ranges": tuple(PredictedRange(level, Decimal(90 + hour), Decimal(110 + hour)) for level in levels),
        "band": 0.005,
        "confidence": 0.5,
        "sigma": 0.01,
    }
    return Scored(Prediction(**(figures | changed)), Decimal("101.5"), as_of + HOUR)


@pytest.mark.parametrize("changed", [{"symbol": "ETH-USDT"}, {"source": "simulated"}, {"model": "lstm"}])
def test_a_track_is_of_one_model_and_instrument(changed: dict[str, Any]) -> None:
    """Errors in different currencies, of a simulated market or of two models are not averaged."""
    with pytest.raises(ValueError, match="one model"):
        Track.of([scored(0), scored(1, **changed)])


def test_columns_are_in_the_order_of_time() -> None:
    """Whatever the order of what was scored; ranges know their place."""
    track = Track.of([scored(2, 0.8), scored(0), scored(1, 0.5, 0.8)])
    assert track.prediction.tolist() == [100, 101, 102]
    assert (track.due - track.as_of).tolist() == [3_600_000] * 3
    assert track.close.tolist() == [101.5] * 3
    assert [(one.level, one.places.tolist(), one.low.tolist(), one.high.tolist()) for one in track.ranges] == [
        (0.5, [1], [91], [111]),
        (0.8, [1, 2], [91, 92], [111, 112]),
    ]


def test_a_part_of_a_track_is_the_track_of_that_part() -> None:
    """Both ends are included, ranges are of the part alone, and of a span without forecasts there is nothing."""
    rows = [scored(0, 0.8), scored(1, 0.5, 0.8), scored(2), scored(3, 0.8), scored(4, 0.5)]
    track = Track.of(rows)
    for first, last in ((0, 4), (1, 3), (2, 3), (2, 2), (4, 4)):
        part = track.within(NOON + first * HOUR, NOON + last * HOUR)
        _same(part, Track.of(rows[first : last + 1]))
    assert track.within(NOON + 9 * HOUR, NOON + 10 * HOUR).as_of.size == 0
    assert track.within(NOON + 3 * HOUR, NOON).as_of.size == 0


def test_parts_joined_are_the_whole() -> None:
    """Also where levels are of some parts alone; no parts are an empty track."""
    rows = [scored(0), scored(1, 0.8), scored(2, 0.5, 0.8), scored(3), scored(4, 0.5)]
    for cuts in ([0, 5], [0, 2, 5], [0, 1, 3, 4, 5]):
        parts = [Track.of(rows[first:end]) for first, end in pairwise(cuts)]
        _same(Track.joined(parts), Track.of(rows))
    _same(Track.joined([]), Track.of([]))


def _same(one: Track, other: Track) -> None:
    for name in ("as_of", "due", "last_price", "prediction", "close", "confidence", "band"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()
    assert [(levels[0], *(column.tolist() for column in levels[1:])) for levels in one.ranges] == [
        (levels[0], *(column.tolist() for column in levels[1:])) for levels in other.ranges
    ]
