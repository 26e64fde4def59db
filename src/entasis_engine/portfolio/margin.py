"""Margin, fees, profit and liquidation price of isolated positions in linear contracts.

Everything is in quote currency. Products and sums are exact; what an owner pays (initial margin, fees) is rounded up to
`MONEY_STEP`, so that rounding is never at the house's cost.

The liquidation price is Bybit's for isolated margin ("Liquidation Price (USDT Contract)", Bybit Help Center,
help.bybit.com article 900000181046), with the maintenance margin taken from the entry notional:

    long:  (entry notional - (margin - maintenance margin)) / size
    short: (entry notional + (margin - maintenance margin)) / size

Phemex defines that of its linear contracts alike (phemex.com/help-center/liquidation-price). Binance ("How to Calculate
Liquidation Price of USDⓈ-M Futures Contracts") and OKX take the maintenance margin from the notional at the mark price,
which makes it `(entry notional - margin) / (size x (1 - rate))` for a long; the two are never further apart than
`entry price x rate`. Taken from the entry, the maintenance margin is one number for the life of a position, and exactly
what is left of the margin when it is liquidated at its liquidation price. OKX, and Bybit of late, also count the fee
for closing; ours takes none at a liquidation.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from entasis_engine.decimals import add, divide_down, divide_up, multiply, subtract

MONEY_STEP = Decimal("1E-8")
"""Smallest step of a margin and of a fee, in quote currency."""


class Side(StrEnum):
    """The direction of a position: what rises in price is a gain for a long and a loss for a short."""

    LONG = "long"
    SHORT = "short"


class LeverageError(Exception):
    """A leverage below 1, or above the instrument's limit."""

    def __init__(self, given: Decimal, limit: Decimal) -> None:
        super().__init__(f"leverage {given} is not from 1 to {limit}")
        self.given = given
        self.limit = limit


def check_leverage(leverage: Decimal, limit: Decimal) -> None:
    """Raises `LeverageError` unless `1 <= leverage <= limit`; decimals such as 2.5 are fine."""
    if not (leverage.is_finite() and 1 <= leverage <= limit):
        raise LeverageError(leverage, limit)


def notional(price: Decimal, size: Decimal) -> Decimal:
    """Value of `size` (base currency) at `price`, in quote currency, exact."""
    return multiply(price, size)


def average_price(notional: Decimal, size: Decimal) -> Decimal:
    """Price of a unit, for display alone: rounded half up to `MONEY_STEP`. Money is reckoned from notionals."""
    doubled = add(multiply(notional, Decimal(2)), multiply(size, MONEY_STEP))
    return divide_down(doubled, multiply(size, Decimal(2)), MONEY_STEP)


def initial_margin(entry_notional: Decimal, leverage: Decimal) -> Decimal:
    """`entry notional / leverage`, in quote currency, rounded up to `MONEY_STEP`."""
    return divide_up(entry_notional, leverage, MONEY_STEP)


def fee(notional: Decimal, rate: Decimal) -> Decimal:
    """`notional x rate`, in quote currency, rounded up to `MONEY_STEP`; a rate of 0.0005 is 0.05 %."""
    return divide_up(multiply(notional, rate), Decimal(1), MONEY_STEP)


def pnl(side: Side, entry_notional: Decimal, exit_notional: Decimal) -> Decimal:
    """Profit, or loss where negative, between two notionals of one size, in quote currency, exact and before fees."""
    if side is Side.LONG:
        return subtract(exit_notional, entry_notional)
    return subtract(entry_notional, exit_notional)


def maintenance_margin(entry_notional: Decimal, rate: Decimal) -> Decimal:
    """`entry notional x rate`, in quote currency, exact: a threshold, which nobody pays."""
    return multiply(entry_notional, rate)


def liquidation_price(
    side: Side, size: Decimal, entry_notional: Decimal, margin: Decimal, maintenance_rate: Decimal, tick: Decimal
) -> Decimal:
    """The mark price at which an isolated position is liquidated; the formula and its source stand above.

    Rounded to the tick away from the entry, which changes nothing for a mark that is itself a multiple of the tick: it
    passes the rounded price exactly when it leaves `margin + pnl <= maintenance margin`.

    Args:
        side: of the position.
        size: in base currency, above 0.
        entry_notional: in quote currency.
        margin: what the position holds, in quote currency.
        maintenance_rate: share of the entry notional below which it is liquidated, such as 0.005.
        tick: smallest step of a price.

    Returns:
        The price in quote currency, never negative. 0 is a price that no mark reaches: a loss can't use the margin up.
    """
    buffer = subtract(margin, maintenance_margin(entry_notional, maintenance_rate))
    if side is Side.LONG:
        return divide_down(max(subtract(entry_notional, buffer), Decimal(0)), size, tick)
    return divide_up(max(add(entry_notional, buffer), Decimal(0)), size, tick)


def is_passed(side: Side, liquidation_price: Decimal, mark: Decimal) -> bool:
    """Whether a mark price liquidates: at or below the liquidation price of a long, at or above that of a short."""
    return mark <= liquidation_price if side is Side.LONG else mark >= liquidation_price
