"""Estimates become decimals that say neither more nor less than they should."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.market import BTC

from entasis_engine.analysis import wire
from entasis_engine.exchanges.feed import Instrument

CHEAP = Instrument("PEPE-USDT", Decimal("0.00000001"), Decimal(1), 8, "binance", Decimal(20))
COARSE = Instrument("XAU-USDT", Decimal("0.5"), Decimal(1), 1, "binance", Decimal(20))


@pytest.mark.parametrize(
    ("value", "scale", "printed"),
    [
        (3200.0, 2, "3200.00"),
        (3200.126, 2, "3200.13"),
        (0.0, 2, "0.00"),
        (-0.0, 2, "0.00"),
        (-12.5, 2, "-12.50"),
        (0.45, 2, "0.45"),
        (0.4512345, 2, "0.4512"),
        (0.00012345678, 2, "0.0001235"),
        (5.1234e-10, 2, "0.0000000005123"),
        (1e9, 2, "1000000000.00"),
        (1e27, 2, "1000000000000000013287555072.00"),
    ],
)
def test_an_estimate_has_the_scale_or_four_digits_that_say_something(value: float, scale: int, printed: str) -> None:
    assert wire.estimate(value, scale) == printed


def test_a_part_has_the_digits_of_its_whole() -> None:
    """What is next to nothing of a large sum is 0, and of a small one it is not."""
    assert wire.estimate(-1e-12, 2, 3200.0) == "0.00"
    assert wire.estimate(0.00001234, 2, 0.0008) == "0.0000123"


@given(st.floats(min_value=1e-12, max_value=1e12), st.integers(min_value=0, max_value=8))
def test_an_estimate_is_off_by_less_than_its_last_digits(value: float, scale: int) -> None:
    """Whatever the size, what is printed is within half a unit of the fourth digit, or of the scale."""
    off = abs(Decimal(wire.estimate(value, scale)) - Decimal(value))
    assert off <= max(Decimal(value) / 2000, Decimal(0)) or off <= Decimal(1).scaleb(-scale) / 2


@given(st.floats(min_value=1e-10, max_value=1e9), st.sampled_from([BTC, CHEAP, COARSE]))
def test_predictions_are_on_the_steps_and_bounds_hold_what_was_estimated(price: float, instrument: Instrument) -> None:
    """A price is a positive multiple of the tick, within half of one; bounds are never inside what was estimated, but
    for a lower bound below the first step.
    """
    tick, exact = instrument.tick_size, Decimal(price)
    low, near, high = (step(price, instrument) for step in (wire.below, wire.on_tick, wire.above))
    for one in (low, near, high):
        assert one > 0
        assert one % tick == 0
    assert low <= exact or low == tick
    assert exact <= high
    assert abs(near - exact) <= tick / 2 or near == tick


@pytest.mark.parametrize(("hours", "printed"), [(1, "1h"), (4, "4h"), (24, "1d"), (48, "2d")])
def test_horizons_are_printed_as_they_are_asked_for(hours: int, printed: str) -> None:
    assert wire.horizon(hours) == printed
