"""Positions, and the ways they change. Each change gives the new position and the transaction that pays for it.

Nothing is stored and no clock is read here: the caller keeps the position and posts the transaction, both or neither.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from entasis_engine.decimals import add, divide_down, multiply, subtract
from entasis_engine.exchanges.feed import Instrument
from entasis_engine.portfolio import ledger, margin
from entasis_engine.portfolio.execution import Filled, check_size, check_step
from entasis_engine.portfolio.ledger import Transaction
from entasis_engine.portfolio.margin import MONEY_STEP, Side


class Status(StrEnum):
    """Whether a position is held, and how it ended."""

    OPEN = "open"
    CLOSED = "closed"
    LIQUIDATED = "liquidated"


class PositionNotOpenError(Exception):
    """A position that was closed or liquidated before can't be closed or liquidated."""

    def __init__(self, position_id: str, status: Status) -> None:
        super().__init__(f"{position_id} is {status}")
        self.position_id = position_id
        self.status = status


class CloseTooLargeError(Exception):
    """More was to be closed than is open."""

    def __init__(self, given: Decimal, open_size: Decimal) -> None:
        super().__init__(f"{given} was to be closed of {open_size}")
        self.given = given
        self.open_size = open_size


class PositionLimitError(Exception):
    """A limit on what an owner may hold would be exceeded."""

    def __init__(self, what: str, limit: Decimal, reached: Decimal) -> None:
        super().__init__(f"{what} would be {reached}, and at most {limit} is allowed")
        self.what = what
        """`open_positions` or `notional`."""
        self.limit = limit
        self.reached = reached


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an owner may hold at once."""

    open_positions_max: int
    notional_max: Decimal
    """Sum of the entry notionals of open positions, in each quote currency by itself."""


@dataclass(frozen=True, slots=True)
class Position:
    """A size of one instrument, held long or short on isolated margin. Money is in the quote currency."""

    id: str
    owner: str
    symbol: str
    side: Side
    size: Decimal
    """What is still open, in base currency."""
    initial_size: Decimal
    entry_notional: Decimal
    """What was paid for `size`."""
    initial_notional: Decimal
    """What was paid for `initial_size`."""
    leverage: Decimal
    margin: Decimal
    """What is held for `size`."""
    fees_paid: Decimal
    open_time: datetime
    exit_notional: Decimal = Decimal(0)
    """What the closed parts fetched."""
    realised_pnl: Decimal = Decimal(0)
    """Profit of the closed parts before fees; a loss only as far as their margin bore it."""
    status: Status = Status.OPEN
    close_time: datetime | None = None
    """When the last part was closed, or the position liquidated."""

    @property
    def quote_currency(self) -> str:
        """The currency of its money."""
        return self.symbol.partition("-")[2]

    @property
    def entry_price(self) -> Decimal:
        """Average price it was opened at, for display alone; part closes do not change it."""
        return margin.average_price(self.initial_notional, self.initial_size)

    @property
    def exit_price(self) -> Decimal | None:
        """Average price of what was closed, for display alone; None while nothing was."""
        closed = subtract(self.initial_size, self.size)
        return margin.average_price(self.exit_notional, closed) if closed else None

    def unrealised_pnl(self, price: Decimal) -> Decimal:
        """What closing what is open at `price` would make, exact, before fees and the bound that the margin sets."""
        return margin.pnl(self.side, self.entry_notional, margin.notional(price, self.size))

    def liquidation_price(self, maintenance_rate: Decimal, tick: Decimal) -> Decimal:
        """The mark price that liquidates it while it is open; see `margin.liquidation_price`."""
        return margin.liquidation_price(self.side, self.size, self.entry_notional, self.margin, maintenance_rate, tick)


class Counted(Protocol):
    """What limits look at of a position."""

    @property
    def status(self) -> Status: ...

    @property
    def quote_currency(self) -> str: ...

    @property
    def entry_notional(self) -> Decimal: ...


def check_limits(held: Iterable[Counted], currency: str, entry_notional: Decimal, limits: Limits) -> None:
    """Whether an owner may open one more position.

    Args:
        held: the owner's positions; those no longer open do not count.
        currency: quote currency of the new one.
        entry_notional: of the new one, in that currency.
        limits: what is allowed.

    Raises:
        PositionLimitError: a limit would be exceeded; the number of positions is looked at first.
    """
    open_now = [position for position in held if position.status is Status.OPEN]
    if len(open_now) + 1 > limits.open_positions_max:
        raise PositionLimitError("open_positions", Decimal(limits.open_positions_max), Decimal(len(open_now) + 1))
    total = entry_notional
    for position in open_now:
        if position.quote_currency == currency:
            total = add(total, position.entry_notional)
    if total > limits.notional_max:
        raise PositionLimitError("notional", limits.notional_max, total)


def check_close(position: Position, size: Decimal, lot: Decimal) -> None:
    """Whether `size` of a position may be closed.

    All that is open may be closed whatever the lot is by now; a part must be a multiple of it.

    Raises:
        PositionNotOpenError: it was closed or liquidated before.
        CloseTooLargeError: `size` is more than what is open.
        StepError: `size` is not a positive multiple of the lot.
    """
    _check_open(position)
    if size == position.size:
        return
    check_step("size", size, lot)
    if size > position.size:
        raise CloseTooLargeError(size, position.size)


def open_position(
    filled: Filled,
    *,
    position_id: str,
    transaction_id: str,
    owner: str,
    instrument: Instrument,
    side: Side,
    leverage: Decimal,
    fee_rate: Decimal,
    time: datetime,
) -> tuple[Position, Transaction]:
    """Open a position with what was filled. Margin and fee are taken from what the owner has free.

    Args:
        filled: of the asks for a long, of the bids for a short.
        fee_rate: share of the notional, such as 0.0005.

    Raises:
        StepError: the size is not a positive multiple of the lot.
        LeverageError: the leverage is below 1 or above the instrument's limit.
    """
    check_size(instrument, filled.size)
    margin.check_leverage(leverage, instrument.max_leverage)
    position = Position(
        id=position_id,
        owner=owner,
        symbol=instrument.symbol,
        side=side,
        size=filled.size,
        initial_size=filled.size,
        entry_notional=filled.notional,
        initial_notional=filled.notional,
        leverage=leverage,
        margin=margin.initial_margin(filled.notional, leverage),
        fees_paid=margin.fee(filled.notional, fee_rate),
        open_time=time,
    )
    transaction = ledger.opening(
        transaction_id, time, owner, position.quote_currency, position_id, position.margin, position.fees_paid
    )
    return position, transaction


def close_position(
    position: Position, filled: Filled, *, transaction_id: str, lot: Decimal, fee_rate: Decimal, time: datetime
) -> tuple[Position, Transaction]:
    """Close what was filled: the whole position or a part.

    The part takes its share of entry notional and margin, rounded down to `MONEY_STEP`; what rounding leaves stays with
    the rest, so that the parts of a position add up to it exactly. A loss beyond the part's margin is not the owner's:
    the insurance pays it. The fee is paid from what is returned, and waived as far as that does not suffice, so that
    closing costs at most the margin and never fails for want of money.

    Args:
        filled: of the bids for a long, of the asks for a short.
        lot: the instrument's, in base currency.
        fee_rate: share of the exit notional, such as 0.0005.

    Raises:
        PositionNotOpenError, CloseTooLargeError, StepError: as `check_close` does.
    """
    check_close(position, filled.size, lot)
    rest = subtract(position.size, filled.size)
    entry_notional = _share(position.entry_notional, filled.size, position.size)
    held = _share(position.margin, filled.size, position.size)
    pnl = margin.pnl(position.side, entry_notional, filled.notional)
    realised_pnl = max(pnl, held.copy_negate())
    fee = min(margin.fee(filled.notional, fee_rate), add(held, realised_pnl))
    closed = replace(
        position,
        size=rest,
        entry_notional=subtract(position.entry_notional, entry_notional),
        margin=subtract(position.margin, held),
        exit_notional=add(position.exit_notional, filled.notional),
        realised_pnl=add(position.realised_pnl, realised_pnl),
        fees_paid=add(position.fees_paid, fee),
        status=Status.OPEN if rest else Status.CLOSED,
        close_time=None if rest else time,
    )
    transaction = ledger.closing(
        transaction_id, time, position.owner, position.quote_currency, position.id, held, pnl, fee
    )
    return closed, transaction


def liquidate(
    position: Position, filled: Filled, *, transaction_id: str, time: datetime
) -> tuple[Position, Transaction]:
    """Liquidate all that is open: the owner loses the margin, whatever the fill; the insurance bears the difference.

    There is no fee: the insurance keeps what is left.

    Args:
        filled: all that is open, of the bids for a long, of the asks for a short.

    Raises:
        PositionNotOpenError: it was closed or liquidated before.
        ValueError: `filled` is not all that is open.
    """
    _check_open(position)
    if filled.size != position.size:
        raise ValueError(f"{position.size} is liquidated at once, not {filled.size}")
    pnl = margin.pnl(position.side, position.entry_notional, filled.notional)
    liquidated = replace(
        position,
        size=Decimal(0),
        entry_notional=Decimal(0),
        margin=Decimal(0),
        exit_notional=add(position.exit_notional, filled.notional),
        realised_pnl=subtract(position.realised_pnl, position.margin),
        status=Status.LIQUIDATED,
        close_time=time,
    )
    transaction = ledger.liquidation(
        transaction_id, time, position.owner, position.quote_currency, position.id, position.margin, pnl
    )
    return liquidated, transaction


def _check_open(position: Position) -> None:
    if position.status is not Status.OPEN:
        raise PositionNotOpenError(position.id, position.status)


def _share(whole: Decimal, part_size: Decimal, size: Decimal) -> Decimal:
    """What a part of the size takes of an amount: all of it for the whole, else its share, rounded down."""
    if part_size == size:
        return whole
    return divide_down(multiply(whole, part_size), size, MONEY_STEP)
