"""Filling an order against the market as it is seen: what a size costs, level by level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from entasis_engine.decimals import add, is_multiple, subtract
from entasis_engine.exchanges.feed import Instrument, Level
from entasis_engine.portfolio.margin import Side, average_price, notional


class StepError(Exception):
    """A number that is not a positive multiple of its step."""

    def __init__(self, field: str, given: Decimal, step: Decimal) -> None:
        super().__init__(f"{field} {given} is not a positive multiple of {step}")
        self.field = field
        self.given = given
        self.step = step


@dataclass(frozen=True, slots=True)
class Filled:
    """An order that was filled."""

    size: Decimal
    """In base currency."""
    notional: Decimal
    """Sum of price x size over the levels taken, in quote currency, exact."""
    beyond_depth: Decimal = Decimal(0)
    """How much of the size the visible book did not hold, in base currency."""

    @property
    def price(self) -> Decimal:
        """Average price, for display alone; see `average_price`."""
        return average_price(self.notional, self.size)


Fill = Callable[[Decimal], Filled]
"""Fills a size, in base currency, against the market as it is when it is called."""


def check_step(field: str, given: Decimal, step: Decimal) -> None:
    """Raises `StepError` unless `given` is a positive multiple of `step`."""
    if not (is_multiple(given, step) and given > 0):
        raise StepError(field, given, step)


def check_size(instrument: Instrument, size: Decimal) -> None:
    """Raises `StepError` unless `size` (base currency) is a positive multiple of the instrument's lot."""
    check_step("size", size, instrument.lot_size)


def check_price(instrument: Instrument, price: Decimal) -> None:
    """Raises `StepError` unless `price` (quote currency) is a positive multiple of the instrument's tick."""
    check_step("price", price, instrument.tick_size)


def takes_asks(side: Side, *, opening: bool) -> bool:
    """Whether an order buys, and so takes asks: opening a long and closing a short do, the other two take bids."""
    return (side is Side.LONG) is opening


def walk(levels: Sequence[Level], size: Decimal) -> Filled:
    """Fill `size` from the best level on, each level at its own price.

    What the visible levels do not hold is filled at the worst price among them, and told in `Filled.beyond_depth`. A
    feed shows only the top of an exchange's book, so that running out of levels says little about the market; to refuse
    would make what can be opened depend on how many levels a feed happens to send. It is kind to very large orders,
    which the limit on notional is there for.

    Args:
        levels: price (quote currency) and size (base currency), best first; at least one.
        size: in base currency, above 0.

    Raises:
        ValueError: there are no levels; see `fill`.
    """
    if not levels:
        raise ValueError("a book without levels can't be walked")
    cost, rest = Decimal(0), size
    for price, available in levels:
        taken = min(available, rest)
        cost = add(cost, notional(price, taken))
        rest = subtract(rest, taken)
        if not rest:
            break
    worst_price, _ = levels[-1]
    return Filled(size, add(cost, notional(worst_price, rest)), rest)


def fill(levels: Sequence[Level], last_price: Decimal, size: Decimal) -> Filled:
    """Fill `size` by walking the book or, where there is none, at the last price, all of it beyond the visible depth.

    Args:
        levels: as for `walk`, or empty.
        last_price: of the last trade, in quote currency.
        size: in base currency, above 0.
    """
    if levels:
        return walk(levels, size)
    return Filled(size, notional(last_price, size), size)
