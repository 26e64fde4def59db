"""Exact decimals."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entasis_engine.decimals import (
    add,
    at_scale,
    divide_down,
    divide_up,
    is_multiple,
    multiply,
    plain,
    scale_of,
    subtract,
)

# Up to 40 digits, and exponents that print as long rows of zeros.
DECIMALS = st.builds(
    lambda digits, exponent: Decimal(digits).scaleb(exponent, None) if abs(digits) < 10**20 else Decimal(digits),
    st.integers(-(10**40), 10**40),
    st.integers(-30, 30),
)
POSITIVE = st.integers(1, 10**40).flatmap(lambda digits: st.integers(-30, 10).map(lambda e: Decimal(f"{digits}E{e}")))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1.2340", "1.234"),
        ("1E+3", "1000"),
        ("1E-18", "0.000000000000000001"),
        ("0E+3", "0"),
        ("0.000", "0"),
        ("-0.00", "0"),
        ("-1.50", "-1.5"),
        ("100", "100"),
        ("1234567890123456789012345678901234567890", "1234567890123456789012345678901234567890"),
    ],
)
def test_plain_prints_neither_exponent_nor_trailing_zeros(value: str, text: str) -> None:
    """A number prints exactly, without exponent, without zeros at the end of its fraction and without a minus zero."""
    assert plain(Decimal(value)) == text


@given(DECIMALS)
def test_plain_is_exact(value: Decimal) -> None:
    """What is printed is the same number, whatever its size."""
    text = plain(value)
    assert Fraction(text) == Fraction(value)
    assert "E" not in text.upper()


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        ("61828", 2, "61828.00"),
        ("65432.1", 2, "65432.10"),
        ("0.123456", 2, "0.123456"),
        ("1E+3", 2, "1000.00"),
        ("1E-8", 2, "0.00000001"),
        ("5", 0, "5"),
        ("5.5", 0, "5.5"),
        ("-0", 2, "0.00"),
    ],
)
def test_at_scale_fills_up_and_never_rounds(value: str, scale: int, text: str) -> None:
    """A price prints with at least the digits of its scale, and keeps those beyond it."""
    assert at_scale(Decimal(value), scale) == text


@given(DECIMALS, st.integers(0, 8))
def test_at_scale_is_exact(value: Decimal, scale: int) -> None:
    """Filling up changes no number."""
    text = at_scale(value, scale)
    assert Fraction(text) == Fraction(value)
    assert scale == 0 or len(text.partition(".")[2]) >= scale


@pytest.mark.parametrize(
    ("step", "scale"), [("0.01", 2), ("0.50", 1), ("5", 0), ("1E+2", 0), ("1E-18", 18), ("0." + "1" * 40, 40)]
)
def test_scale_of_a_step_is_its_digits_after_the_point(step: str, scale: int) -> None:
    """A step needs as many digits as it has after the point without its trailing zeros, however many those are."""
    assert scale_of(Decimal(step)) == scale


@pytest.mark.parametrize("step", ["NaN", "Infinity"])
def test_scale_of_what_is_no_number_is_refused(step: str) -> None:
    """A step that is not finite has no scale."""
    with pytest.raises(ValueError, match="finite"):
        scale_of(Decimal(step))


@given(DECIMALS, DECIMALS)
def test_sums_are_exact(left: Decimal, right: Decimal) -> None:
    """Sums and differences are never rounded, unlike those of Python's own 28 digits."""
    assert Fraction(add(left, right)) == Fraction(left) + Fraction(right)
    assert Fraction(subtract(left, right)) == Fraction(left) - Fraction(right)


@given(POSITIVE, POSITIVE, POSITIVE)
def test_quotients_are_rounded_from_the_exact_ones(numerator: Decimal, denominator: Decimal, step: Decimal) -> None:
    """The two roundings are the multiples of the step next to the exact quotient, and equal where it is one itself."""
    down, up = divide_down(numerator, denominator, step), divide_up(numerator, denominator, step)
    exact = Fraction(numerator) / Fraction(denominator)
    assert Fraction(down) <= exact <= Fraction(up)
    assert is_multiple(down, step)
    assert Fraction(up) - Fraction(down) == (Fraction(step) if exact % Fraction(step) else 0)


@given(POSITIVE, POSITIVE)
def test_products_are_exact(left: Decimal, right: Decimal) -> None:
    """No product is rounded to Python's own 28 digits."""
    assert Fraction(multiply(left, right)) == Fraction(left) * Fraction(right)
