"""A double-entry ledger: money is never made or lost, it only moves between accounts.

Each owner has two accounts in each currency, and the house has four:

    free       owner  what may be withdrawn, or used as margin
    margin     owner  what open positions hold
    funding    house  where deposits come from and withdrawals go to
    market     house  the other side of every profit and loss
    fees       house  what trading cost
    insurance  house  what liquidations leave of their margin; it pays losses beyond the margin

The margin is isolated: no position can cost its owner more than its own margin and fees. An owner's account is never
negative; those of the house may be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

from entasis_engine.decimals import add, subtract
from entasis_engine.portfolio.execution import check_step
from entasis_engine.portfolio.margin import MONEY_STEP

HOUSE = "house"
"""Owner of the house's accounts. A caller of the same name is no danger: the kinds of account differ."""

_NOTHING = Decimal(0)
_Key = TypeVar("_Key")


class AccountKind(StrEnum):
    """What an account is for; see the table above."""

    FREE = "free"
    MARGIN = "margin"
    FUNDING = "funding"
    MARKET = "market"
    FEES = "fees"
    INSURANCE = "insurance"

    @property
    def of_owner(self) -> bool:
        """True for accounts of an owner, which are never negative; False for those of the house."""
        return self in {AccountKind.FREE, AccountKind.MARGIN}


class TransactionKind(StrEnum):
    """Why money moved."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    OPEN = "open"
    CLOSE = "close"
    LIQUIDATION = "liquidation"


class UnbalancedError(Exception):
    """Entries that would make or lose money. A mistake in this program, never a caller's."""

    def __init__(self, currency: str, difference: Decimal) -> None:
        super().__init__(f"the entries in {currency} sum to {difference} instead of 0")
        self.currency = currency
        self.difference = difference


class InsufficientBalanceError(Exception):
    """An owner's account does not hold what a transaction takes from it."""

    def __init__(self, account: Account, currency: str, required: Decimal, available: Decimal) -> None:
        super().__init__(f"{account.kind} of {account.owner}: {required} {currency} required, {available} available")
        self.account = account
        self.currency = currency
        self.required = required
        self.available = available


@dataclass(frozen=True, slots=True)
class Account:
    """An account; it has one balance in each currency."""

    owner: str
    kind: AccountKind

    def __post_init__(self) -> None:
        if not self.kind.of_owner and self.owner != HOUSE:
            raise ValueError(f"an account of kind {self.kind} belongs to the house, not to {self.owner}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One change of one balance."""

    account: Account
    currency: str
    amount: Decimal
    """What the balance grows by; negative where it shrinks."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """Entries that happen together or not at all. Raises `UnbalancedError` unless they sum to 0 in each currency.

    A transaction may have no entries: the close of a part too small for its margin to be a `MONEY_STEP` moves nothing.
    """

    id: str
    kind: TransactionKind
    create_time: datetime
    entries: tuple[Entry, ...]
    position_id: str | None = None

    def __post_init__(self) -> None:
        for currency, difference in _sums((entry.currency, entry.amount) for entry in self.entries).items():
            if difference:
                raise UnbalancedError(currency, difference)


Balances = Mapping[tuple[Account, str], Decimal]
"""Balances by account and currency; one that is not there is 0."""


def post(balances: Balances, transaction: Transaction) -> dict[tuple[Account, str], Decimal]:
    """The balances that a transaction leaves in the accounts it touches; `balances` itself is not changed.

    Raises:
        InsufficientBalanceError: an owner's account would become negative.
    """
    changes = _sums(((entry.account, entry.currency), entry.amount) for entry in transaction.entries)
    posted = {}
    for (account, currency), change in changes.items():
        available = balances.get((account, currency), _NOTHING)
        posted[account, currency] = after = add(available, change)
        if account.kind.of_owner and after < 0:
            raise InsufficientBalanceError(account, currency, change.copy_negate(), available)
    return posted


def deposit(transaction_id: str, time: datetime, owner: str, currency: str, amount: Decimal) -> Transaction:
    """Money comes in, and is free. Raises `StepError` unless `amount` is a positive multiple of `MONEY_STEP`."""
    check_step("amount", amount, MONEY_STEP)
    moves = {_house(AccountKind.FUNDING): amount.copy_negate(), Account(owner, AccountKind.FREE): amount}
    return _transaction(transaction_id, TransactionKind.DEPOSIT, time, currency, moves)


def withdrawal(transaction_id: str, time: datetime, owner: str, currency: str, amount: Decimal) -> Transaction:
    """Free money goes out. Raises `StepError` unless `amount` is a positive multiple of `MONEY_STEP`."""
    check_step("amount", amount, MONEY_STEP)
    moves = {Account(owner, AccountKind.FREE): amount.copy_negate(), _house(AccountKind.FUNDING): amount}
    return _transaction(transaction_id, TransactionKind.WITHDRAWAL, time, currency, moves)


def opening(
    transaction_id: str, time: datetime, owner: str, currency: str, position_id: str, margin: Decimal, fee: Decimal
) -> Transaction:
    """A position takes its margin and its fee from what is free."""
    moves = {
        Account(owner, AccountKind.FREE): add(margin, fee).copy_negate(),
        Account(owner, AccountKind.MARGIN): margin,
        _house(AccountKind.FEES): fee,
    }
    return _transaction(transaction_id, TransactionKind.OPEN, time, currency, moves, position_id)


def closing(
    transaction_id: str,
    time: datetime,
    owner: str,
    currency: str,
    position_id: str,
    margin: Decimal,
    pnl: Decimal,
    fee: Decimal,
) -> Transaction:
    """A position, or a part of one, gives back its margin and its profit, less the fee.

    Of a loss the owner bears what the margin holds, and the insurance the rest.

    Args:
        margin: what the position held for the part closed.
        pnl: what the market made of it, before fees.
        fee: at most `margin + pnl`, and 0 where that is negative, so that nothing is taken from what is free.
    """
    left = add(margin, pnl)
    returned = max(left, _NOTHING)
    moves = {
        Account(owner, AccountKind.MARGIN): margin.copy_negate(),
        Account(owner, AccountKind.FREE): subtract(returned, fee),
        _house(AccountKind.MARKET): pnl.copy_negate(),
        _house(AccountKind.INSURANCE): min(left, _NOTHING),
        _house(AccountKind.FEES): fee,
    }
    return _transaction(transaction_id, TransactionKind.CLOSE, time, currency, moves, position_id)


def liquidation(
    transaction_id: str, time: datetime, owner: str, currency: str, position_id: str, margin: Decimal, pnl: Decimal
) -> Transaction:
    """A position's whole margin is lost: the market takes the loss, the insurance what is left, or pays what is short.

    So it is with Bybit ("Bankruptcy Price (USDT Contract)", Bybit Help Center): a fill better than the bankruptcy
    price, at which the margin is just used up, adds to the insurance fund, and a worse one is paid from it.

    Args:
        margin: what the position held.
        pnl: what the market made of it.
    """
    moves = {
        Account(owner, AccountKind.MARGIN): margin.copy_negate(),
        _house(AccountKind.MARKET): pnl.copy_negate(),
        _house(AccountKind.INSURANCE): add(margin, pnl),
    }
    return _transaction(transaction_id, TransactionKind.LIQUIDATION, time, currency, moves, position_id)


def _house(kind: AccountKind) -> Account:
    return Account(HOUSE, kind)


def _transaction(
    transaction_id: str,
    kind: TransactionKind,
    time: datetime,
    currency: str,
    moves: Mapping[Account, Decimal],
    position_id: str | None = None,
) -> Transaction:
    """Of moves in one currency; those of nothing make no entry."""
    entries = tuple(Entry(account, currency, amount) for account, amount in moves.items() if amount)
    return Transaction(transaction_id, kind, time, entries, position_id)


def _sums(amounts: Iterable[tuple[_Key, Decimal]]) -> dict[_Key, Decimal]:
    sums: dict[_Key, Decimal] = {}
    for key, amount in amounts:
        sums[key] = add(sums.get(key, _NOTHING), amount)
    return sums
