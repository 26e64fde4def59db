"""Margin, fees, profit and liquidation price, against the worked examples that exchanges publish."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entasis_engine.decimals import at_scale, is_multiple
from entasis_engine.portfolio.margin import (
    MONEY_STEP,
    LeverageError,
    Side,
    average_price,
    check_leverage,
    fee,
    initial_margin,
    is_passed,
    liquidation_price,
    maintenance_margin,
    notional,
    pnl,
)

CENT = Decimal("0.01")
LONG, SHORT = Side.LONG, Side.SHORT

SIDES = st.sampled_from(Side)
PRICES = st.integers(1, 10**9).map(lambda ticks: Decimal(ticks) * CENT)
SIZES = st.integers(1, 10**9).map(lambda lots: Decimal(lots) * Decimal("0.00001"))
LEVERAGES = st.integers(100, 12_500).map(lambda hundredths: Decimal(hundredths) * CENT)
RATES = st.integers(0, 100).map(lambda basis_points: Decimal(basis_points) * Decimal("0.0001"))
POSITIVE = st.integers(1, 10**40).flatmap(lambda digits: st.integers(-30, 10).map(lambda e: Decimal(f"{digits}E{e}")))


def _value(price: str, size: str) -> Decimal:
    return notional(Decimal(price), Decimal(size))


def _liquidation_price(
    side: Side, size: str, entry: str, leverage: str, rate: str = "0.005", tick: Decimal = CENT
) -> Decimal:
    value = _value(entry, size)
    margin = initial_margin(value, Decimal(leverage))
    return liquidation_price(side, Decimal(size), value, margin, Decimal(rate), tick)


def test_pnl_of_the_specification() -> None:
    """The specification, section 4: 1.5 BTC-USDT bought at 64000.00 are worth 1500.00 more at 65000.00."""
    profit = pnl(LONG, _value("64000.00", "1.5"), _value("65000.00", "1.5"))
    assert at_scale(profit, 2) == "1500.00"


@pytest.mark.parametrize(
    ("side", "size", "entry", "price", "profit"),
    [
        # "P&L calculations (USDT Contract)", Bybit Help Center (help.bybit.com, article 900000630066).
        (LONG, "0.2", "7000", "7500", "100"),
        (SHORT, "0.4", "6000", "5000", "400"),
        # "Calculation of profit and loss", Kraken Support (article 360022835511), multi-collateral linear futures.
        (LONG, "5", "35000", "40000", "25000"),
        # "What is USDT Collateralized Perpetual contract", Poloniex Support (article 360051798754).
        (LONG, "1", "10000", "11000", "1000"),
        (SHORT, "1", "10000", "11000", "-1000"),
    ],
)
def test_pnl_of_published_examples(side: Side, size: str, entry: str, price: str, profit: str) -> None:
    """A long makes the rise of its notional, a short the fall: the figures of Bybit, Kraken and Poloniex."""
    assert pnl(side, _value(entry, size), _value(price, size)) == Decimal(profit)


def test_average_entry_price_of_a_published_example() -> None:
    """Bybit, "P&L calculations (USDT Contract)": 0.5 BTC at 5000 and 0.3 BTC at 6000 are 4300 USDT, 5375 on average."""
    value = _value("5000", "0.5") + _value("6000", "0.3")
    assert value == 4300
    assert average_price(value, Decimal("0.8")) == 5375


@pytest.mark.parametrize(
    ("size", "entry", "leverage", "margin"),
    [
        # "Order Cost (USDT Contract)", Bybit Help Center (help.bybit.com, article 900000169703).
        ("1", "8000", "50", "160"),
        # "Liquidation Price (USDT Contract)", Bybit Help Center (bybit.com), example 1.
        ("1", "20000", "50", "400"),
        # "Calculations of DEX perpetual contract", OKX Help (okx.com/help/calculation-of-dex-perpetual-contract).
        ("1", "10000", "10", "1000"),
        # Phemex Help Center, phemex.com/help-center/why-is-order-cost-different-for-buy-and-sell.
        ("1", "70000", "10", "7000"),
        ("1", "75000", "5", "15000"),
        # "Linear Perpetual Contracts", BitMEX (bitmex.com/app/linearPerpetualsGuide): 1,000,000 USDT at 50x.
        ("200", "5000", "50", "20000"),
    ],
)
def test_initial_margin_of_published_examples(size: str, entry: str, leverage: str, margin: str) -> None:
    """The initial margin is the notional over the leverage: the figures of Bybit, OKX, Phemex and BitMEX."""
    assert initial_margin(_value(entry, size), Decimal(leverage)) == Decimal(margin)


@pytest.mark.parametrize(
    ("price", "rate", "paid"),
    [
        # "Binance Futures Fee Structure & Fee Calculations", Binance Support (FAQ 360033544231), 1 BTC of BTCUSDT.
        ("10104", "0.0005", "5.052"),
        ("11104", "0.0002", "2.2208"),
        # "Order Cost (USDT Contract)", Bybit Help Center: to open at 8000, to close at 7840, each at 0.075 %.
        ("8000", "0.00075", "6"),
        ("7840", "0.00075", "5.88"),
        # The same page of Phemex, at 0.055 %.
        ("70000", "0.00055", "38.5"),
        ("75000", "0.00055", "41.25"),
    ],
)
def test_fee_of_published_examples(price: str, rate: str, paid: str) -> None:
    """The fee is the notional times the rate: the figures of Binance, Bybit and Phemex for 1 BTC."""
    assert fee(_value(price, "1"), Decimal(rate)) == Decimal(paid)


@pytest.mark.parametrize(
    ("side", "entry", "leverage", "liquidated_at"),
    [
        # "Liquidation Price (USDT Contract)", Bybit Help Center (help.bybit.com, article 900000181046).
        (LONG, "10000", "50", "9850"),
        (SHORT, "8000", "40", "8160"),
        # The same title on bybit.com, example 1: initial margin 400, maintenance margin 100.
        (LONG, "20000", "50", "19700"),
    ],
)
def test_liquidation_price_of_published_examples(side: Side, entry: str, leverage: str, liquidated_at: str) -> None:
    """1 BTC on isolated margin with a maintenance margin rate of 0.5 %: the figures of Bybit."""
    assert _liquidation_price(side, "1", entry, leverage) == Decimal(liquidated_at)


def test_bankruptcy_price_of_a_published_example() -> None:
    """Bybit, "Bankruptcy Price (USDT Contract)": 1 BTC long from 10000 at 50x has lost its whole margin at 9800."""
    assert _liquidation_price(LONG, "1", "10000", "50", rate="0") == 9800


def test_maintenance_margin_of_a_published_example() -> None:
    """Bybit, "Liquidation Price (USDT Contract)": 0.5 % of 1 BTC at 20000 are 100 USDT."""
    assert maintenance_margin(_value("20000", "1"), Decimal("0.005")) == 100


@given(SIZES, PRICES, RATES)
def test_a_long_at_leverage_1_is_liquidated_near_0(size: Decimal, entry: Decimal, rate: Decimal) -> None:
    """Without borrowing a long is liquidated only at about the maintenance margin rate of its price, never below 0."""
    value = notional(entry, size)
    price = liquidation_price(LONG, size, value, initial_margin(value, Decimal(1)), rate, CENT)
    assert 0 <= price <= entry * rate


def test_a_margin_that_was_rounded_up_makes_no_price_negative() -> None:
    """1E-16 of notional holds a margin of 1E-8: more than the long cost, yet its liquidation price is 0."""
    tick = size = Decimal("1E-8")
    value = notional(tick, size)
    assert liquidation_price(LONG, size, value, initial_margin(value, Decimal(1)), Decimal("0.005"), tick) == 0


def test_a_price_of_0_liquidates_nobody() -> None:
    """A long at leverage 1 with no maintenance margin has liquidation price 0, which no mark passes."""
    price = _liquidation_price(LONG, "1.5", "64000", "1", rate="0")
    assert price == 0
    assert not is_passed(LONG, price, CENT)


@given(SIDES, SIZES, PRICES, LEVERAGES, RATES, PRICES, st.integers(-2, 2))
def test_a_mark_passes_when_the_margin_left_is_the_maintenance_margin_or_less(
    side: Side, size: Decimal, entry: Decimal, leverage: Decimal, rate: Decimal, other: Decimal, ticks: int
) -> None:
    """Rounding the liquidation price to a tick moves no mark to the other side of it, near it or far away."""
    value = notional(entry, size)
    margin = initial_margin(value, leverage)
    price = liquidation_price(side, size, value, margin, rate, CENT)
    assert price >= 0
    assert is_multiple(price, CENT)
    for mark in (other, max(price + ticks * CENT, CENT)):
        left = Fraction(margin) + Fraction(pnl(side, value, notional(mark, size)))
        assert is_passed(side, price, mark) == (left <= Fraction(value) * Fraction(rate))


@given(POSITIVE, POSITIVE, SIDES)
def test_pnl_is_exact(entry: Decimal, left: Decimal, side: Side) -> None:
    """No profit is rounded, and a short makes what a long loses."""
    assert Fraction(pnl(LONG, entry, left)) == Fraction(left) - Fraction(entry)
    assert Fraction(pnl(SHORT, entry, left)) == Fraction(entry) - Fraction(left)


@given(POSITIVE, LEVERAGES, RATES)
def test_what_an_owner_pays_is_rounded_up(value: Decimal, leverage: Decimal, rate: Decimal) -> None:
    """Margin and fee are whole steps of money, by less than one step more than the exact amount."""
    for paid, exact in (
        (initial_margin(value, leverage), Fraction(value) / Fraction(leverage)),
        (fee(value, rate), Fraction(value) * Fraction(rate)),
    ):
        assert is_multiple(paid, MONEY_STEP)
        assert 0 <= Fraction(paid) - exact < Fraction(MONEY_STEP)


@pytest.mark.parametrize(
    ("value", "size", "price"),
    [("100", "3", "33.33333333"), ("200", "3", "66.66666667"), ("0.00000001", "2", "0.00000001")],
)
def test_average_price_is_rounded_half_up(value: str, size: str, price: str) -> None:
    """An average that does not come out even is shown with eight decimals."""
    assert average_price(Decimal(value), Decimal(size)) == Decimal(price)


@pytest.mark.parametrize("given_leverage", ["1", "1.0", "2.5", "20"])
def test_leverage_within_the_limit_is_taken(given_leverage: str) -> None:
    """From 1 to the limit, decimals included."""
    check_leverage(Decimal(given_leverage), Decimal(20))


@pytest.mark.parametrize("given_leverage", ["0", "0.9999", "20.0001", "-1", "NaN", "Infinity"])
def test_leverage_beyond_the_limit_is_refused(given_leverage: str) -> None:
    """Below 1, above the limit, and what is no number; the error tells the limit."""
    with pytest.raises(LeverageError) as refused:
        check_leverage(Decimal(given_leverage), Decimal(20))
    assert refused.value.limit == 20
