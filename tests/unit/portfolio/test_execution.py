"""Filling orders against a book."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.market import BTC, levels

from entasis_engine.exchanges.feed import Level
from entasis_engine.portfolio.execution import (
    Filled,
    StepError,
    check_price,
    check_size,
    check_step,
    fill,
    takes_asks,
    walk,
)
from entasis_engine.portfolio.margin import Side

ASKS = levels(("65000.00", "1"), ("65001.00", "2"), ("65010.00", "0.5"))
PRICES = st.integers(1, 10**12).map(lambda ticks: Decimal(ticks).scaleb(-8))
SIZES = st.integers(1, 10**20).map(lambda lots: Decimal(lots).scaleb(-18))
BOOKS = st.lists(st.tuples(PRICES, SIZES), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("size", "value", "price"),
    [
        ("0.5", "32500", "65000"),
        ("1", "65000", "65000"),
        ("1.5", "97500.5", "65000.33333333"),
        ("3.5", "227507", "65002"),
    ],
)
def test_a_fill_pays_each_level_its_own_price(size: str, value: str, price: str) -> None:
    """1.5 at 65000 x 1 and 65001 x 0.5 costs 97500.5, whatever the average price is rounded to."""
    filled = walk(ASKS, Decimal(size))
    assert filled == Filled(Decimal(size), Decimal(value))
    assert filled.price == Decimal(price)


def test_beyond_the_visible_depth_the_worst_price_holds() -> None:
    """5 out of a book of 3.5: the last 1.5 cost 65010 each, and the fill says that the book did not hold them."""
    filled = walk(ASKS, Decimal(5))
    assert filled.notional == 227507 + 65010 * Decimal("1.5")
    assert filled.beyond_depth == Decimal("1.5")


def test_without_a_book_the_last_price_holds() -> None:
    """No level is visible, so that all of the size is beyond the depth."""
    assert fill([], Decimal("65432.10"), Decimal(2)) == Filled(Decimal(2), Decimal("130864.20"), Decimal(2))


def test_with_a_book_the_last_price_does_not_matter() -> None:
    """`fill` is `walk` where there are levels."""
    assert fill(ASKS, Decimal(1), Decimal(2)) == walk(ASKS, Decimal(2))


def test_an_empty_book_cannot_be_walked() -> None:
    """There is no price in it."""
    with pytest.raises(ValueError, match="without levels"):
        walk([], Decimal(1))


@given(BOOKS, SIZES)
def test_a_fill_is_what_fractions_say(book: list[Level], size: Decimal) -> None:
    """The notional is exact, however many digits prices and sizes have."""
    cost, rest = Fraction(0), Fraction(size)
    for price, available in book:
        taken = min(rest, Fraction(available))
        cost, rest = cost + taken * Fraction(price), rest - taken
    filled = walk(book, size)
    assert Fraction(filled.beyond_depth) == rest
    assert Fraction(filled.notional) == cost + rest * Fraction(book[-1][0])


def test_a_fill_of_many_digits_is_exact() -> None:
    """What two levels cost together has more digits than Python's own 28."""
    book = levels(("1.00000001", "1" + "0" * 20), ("3", "0.000000000000000001"))
    filled = walk(book, Decimal("1" + "0" * 20 + ".000000000000000001"))
    assert filled == Filled(filled.size, Decimal("100000001000000000000.000000000000000003"))


@pytest.mark.parametrize("size", ["0.00001", "1.5", "100"])
def test_a_multiple_of_the_lot_is_taken(size: str) -> None:
    """The lot of BTC-USDT is 0.00001."""
    check_size(BTC, Decimal(size))


@pytest.mark.parametrize("size", ["0", "-1", "0.000001", "1.000005", "NaN", "Infinity"])
def test_any_other_size_is_refused(size: str) -> None:
    """The error names the field, what was given, and the step."""
    with pytest.raises(StepError, match="size") as refused:
        check_size(BTC, Decimal(size))
    assert (refused.value.field, str(refused.value.given), refused.value.step) == ("size", size, BTC.lot_size)


def test_a_price_off_its_tick_is_refused() -> None:
    """The tick of BTC-USDT is 0.01."""
    check_price(BTC, Decimal("65000.01"))
    with pytest.raises(StepError, match=r"price 65000\.001 is not a positive multiple of 0\.01"):
        check_price(BTC, Decimal("65000.001"))


def test_steps_are_held_exactly() -> None:
    """A number of forty digits that is off its step by one in the last is refused."""
    whole = "1" * 40
    check_step("size", Decimal(whole + ".5"), Decimal("0.5"))
    with pytest.raises(StepError):
        check_step("size", Decimal(whole + ".50000000000000000001"), Decimal("0.5"))


@pytest.mark.parametrize(
    ("side", "opening", "asks"),
    [(Side.LONG, True, True), (Side.LONG, False, False), (Side.SHORT, True, False), (Side.SHORT, False, True)],
)
def test_buying_takes_asks(side: Side, opening: bool, asks: bool) -> None:
    """Opening a long and closing a short buy; the others sell."""
    assert takes_asks(side, opening=opening) is asks
