"""What a store of the ledger promises, whatever it is made of; and one in memory.

A store knows no rules: it gives a group of commands what they need, keeps what they come to, all of it or nothing, and
keeps groups that share an owner apart. What the rules are is in `positions` and `ledger`, and who asks is `desk`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Generic, Protocol, TypeVar

from entasis_engine.decimals import add, plain, subtract
from entasis_engine.portfolio.ledger import Account, AccountKind, Transaction, TransactionKind
from entasis_engine.portfolio.margin import Side, average_price
from entasis_engine.portfolio.positions import Position, Status
from entasis_engine.times import EPOCH, from_milliseconds, to_milliseconds

T = TypeVar("T")

OWNER_KINDS = tuple(kind for kind in AccountKind if kind.of_owner)
_NOTHING = Decimal(0)


class LedgerUnavailableError(Exception):
    """The ledger could not be asked, or did not say whether it kept what it was given. Trying again is right, with the
    same idempotency key where something was to be changed.
    """


class TooManyTradedError(Exception):
    """More positions were traded than whoever asked wants to hear of."""


class PageTokenError(Exception):
    """A page token that no page has given."""


@dataclass(frozen=True, slots=True)
class Trade:
    """A fill: a position opened, closed in whole or part, or liquidated. Money is in the quote currency."""

    id: str
    owner: str
    position_id: str
    transaction_id: str
    kind: TransactionKind
    symbol: str
    side: Side
    """Of the position."""
    size: Decimal
    """In base currency."""
    notional: Decimal
    """Sum of price x size, exact."""
    fee: Decimal
    realised_pnl: Decimal
    """What it added to the position's; 0 for an opening."""
    time: datetime

    @property
    def price(self) -> Decimal:
        """Average price, for display alone."""
        return average_price(self.notional, self.size)


@dataclass(frozen=True, slots=True)
class Record:
    """The answer that a command with an idempotency key had."""

    owner: str
    key: str
    digest: bytes
    """Of the request. A key that comes again with another digest was used for something else."""
    answer: bytes
    create_time: datetime


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One change of one of an owner's balances, with the transaction it is part of."""

    transaction_id: str
    number: int
    """Its place in the transaction."""
    transaction_kind: TransactionKind
    position_id: str | None
    kind: AccountKind
    currency: str
    amount: Decimal
    time: datetime


@dataclass(frozen=True, slots=True)
class Held:
    """What the limits look at of an open position: there may be many, and all of it would be ten times as much."""

    id: str
    owner: str
    symbol: str
    entry_notional: Decimal
    status: Status = Status.OPEN

    @property
    def quote_currency(self) -> str:
        return self.symbol.partition("-")[2]


@dataclass(frozen=True, slots=True)
class State:
    """How far a position has gone: what tells whether there is news of it, a small part of the whole."""

    id: str
    owner: str
    size: Decimal
    status: Status
    close_time: datetime | None


@dataclass(frozen=True, slots=True)
class Needs:
    """What a group of commands needs to be decided."""

    owners: frozenset[str]
    """Owners whose balances are needed. Nobody else changes anything of theirs until the group is kept."""
    holders: frozenset[str] = frozenset()
    """Those of them who want to hold more, so that all they hold is needed."""
    position_ids: frozenset[str] = frozenset()
    """Positions that are needed, open or not."""
    keys: frozenset[tuple[str, str]] = frozenset()
    """Idempotency records that are needed, by owner and key."""


@dataclass(slots=True)
class Known:
    """What a store knows of what was needed."""

    funded: set[str]
    """Owners that have had their initial money."""
    balances: dict[tuple[Account, str], Decimal]
    """Of the owners' accounts; not of the house's."""
    held: list[Held]
    """All open positions of the holders."""
    positions: dict[str, Position]
    """Those that were named."""
    records: dict[tuple[str, str], Record]


@dataclass(slots=True)
class Changes:
    """What a group of commands came to."""

    funded: dict[str, datetime] = field(default_factory=dict)
    """Owners that now have had their initial money, and when."""
    transactions: list[Transaction] = field(default_factory=list)
    positions: dict[str, Position] = field(default_factory=dict)
    """As they are now, new ones and changed ones."""
    trades: list[Trade] = field(default_factory=list)
    balances: dict[tuple[Account, str], Decimal] = field(default_factory=dict)
    """Of the owners' accounts that changed, what they hold now."""
    house: dict[tuple[Account, str], Decimal] = field(default_factory=dict)
    """Of the house's accounts that changed, by how much: other engines change them too."""
    records: dict[tuple[str, str], Record] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.funded or self.transactions or self.positions or self.trades or self.records)


Work = Callable[[Known], Changes]
"""Decides a group of commands. It may be asked more than once; what it gave last is what is kept."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list."""

    items: Sequence[T]
    next_token: str
    """Leads to the next part; empty at the end."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What an owner has, as of one moment."""

    balances: Mapping[tuple[AccountKind, str], Decimal]
    """By kind of account and currency; one that is not there is 0."""
    positions: Sequence[Position]
    """Open ones, oldest first."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something in the ledger that does not add up."""

    what: str
    where: str
    expected: Decimal
    found: Decimal

    def __str__(self) -> str:
        return f"{self.what} of {self.where}: {plain(self.found)} instead of {plain(self.expected)}"


class LedgerStore(Protocol):
    """Where the ledger is kept. Every method may raise `LedgerUnavailableError`."""

    async def transact(self, needs: Needs, work: Work) -> None:
        """Have a group of commands decided, and keep what they come to: all of it when this returns, else nothing.

        `LedgerUnavailableError` leaves open which it was, where the connection broke at the very end. A caller who is
        cancelled is let go only when the group has been kept or not.
        """

    async def purge(self, before: datetime, limit: int) -> int:
        """Forget at most `limit` idempotency records that were made before a time; gives how many they were."""

    async def balances(self, owner: str) -> dict[tuple[AccountKind, str], Decimal]:
        """An owner's balances by kind of account and currency; one that is not there is 0."""

    async def holdings(self, owner: str) -> Holdings:
        """An owner's balances and open positions, as of one moment."""

    async def position(self, owner: str, position_id: str) -> Position | None:
        """A position; None where there is none, or it is another owner's."""

    async def positions(
        self, owner: str, statuses: Collection[Status], page_size: int, page_token: str = ""
    ) -> Page[Position]:
        """An owner's positions in any of these states, in the order they were opened. May raise `PageTokenError`."""

    async def open_positions(self, owner: str | None = None) -> list[Position]:
        """The open positions of an owner, or of all, in the order they were opened."""

    async def open_states(self, owners: Collection[str]) -> list[State]:
        """What is open of some owners, in no order."""

    async def named(self, position_ids: Collection[str]) -> list[Position]:
        """These positions, whoever has them, in the order they were opened; without those that there are not."""

    async def traded_since(
        self,
        owners: Collection[str],
        since: datetime,
        *,
        is_news: Callable[[State], bool] = lambda _: True,
        states_max: int | None = None,
    ) -> list[Position]:
        """The positions of some owners that were opened, closed in whole or part, or liquidated at `since` or later,
        as they are now, in the order they were opened.

        Args:
            is_news: whether a position is wanted; the others are not read whole.
            states_max: `TooManyTradedError` is raised where more positions were traded.
        """

    async def trades(
        self, owner: str, page_size: int, page_token: str = "", *, position_id: str | None = None
    ) -> Page[Trade]:
        """An owner's trades, or those of one position, newest first. May raise `PageTokenError`."""

    async def entries(self, owner: str, page_size: int, page_token: str = "") -> Page[LedgerEntry]:
        """The changes of an owner's balances, newest first. May raise `PageTokenError`."""

    async def check(self) -> list[Difference]:
        """Whatever does not add up, as of one moment; see `Audit`. It reads all of the ledger."""


# Tokens of pages: the place of the last item.

Place = tuple[datetime, str, int]
"""Time, id, and a number where the id alone does not tell items apart."""


def page_of(items: Sequence[T], page_size: int, place_of: Callable[[T], Place]) -> Page[T]:
    """The page that begins with `items`, which are one more than `page_size` where there is another page."""
    if len(items) <= page_size:
        return Page(items, "")
    time, name, number = place_of(items[page_size - 1])
    text = f"{to_milliseconds(time)}|{number}|{name}"
    return Page(items[:page_size], base64.urlsafe_b64encode(text.encode()).decode().rstrip("="))


def place_in(page_token: str) -> Place | None:
    """The place that a page begins behind; None for the first one. Raises `PageTokenError`."""
    if not page_token:
        return None
    try:
        padded = (page_token + "=" * (-len(page_token) % 4)).encode("ascii")
        time, number, name = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii").split("|", 2)
        place = from_milliseconds(int(time)), name, int(number)
    except (ValueError, OverflowError, binascii.Error) as error:
        raise PageTokenError from error
    if place[0] < EPOCH or not name.isprintable() or not 0 <= place[2] < 2**31:
        raise PageTokenError
    return place


def state_of(position: Position) -> State:
    return State(position.id, position.owner, position.size, position.status, position.close_time)


def place_of_position(position: Position) -> Place:
    return position.open_time, position.id, 0


def place_of_trade(trade: Trade) -> Place:
    return trade.time, trade.id, 0


def place_of_entry(entry: LedgerEntry) -> Place:
    return entry.time, entry.transaction_id, entry.number


class Audit:
    """Adds up a ledger, line by line in any order, and tells what does not add up:

    - a balance that is not the sum of its entries
    - a currency that does not sum to 0, over all balances, or over the entries of one transaction
    - an owner's account that is negative
    - a margin account that is not the sum of the margins of its owner's open positions
    - a position that its trades do not add up to, or a trade of no position
    """

    def __init__(self) -> None:
        self._balances: dict[tuple[str, str, str], Decimal] = {}
        self._entries: defaultdict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
        self._transactions: dict[tuple[str, str], Decimal] = {}
        self._margins: defaultdict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
        self._positions: dict[str, Position] = {}
        self._trades: defaultdict[str, _Traded] = defaultdict(_Traded)

    def balance(self, owner: str, kind: str, currency: str, amount: Decimal) -> None:
        self._balances[owner, kind, currency] = amount

    def entry(self, transaction_id: str, owner: str, kind: str, currency: str, amount: Decimal) -> None:
        account = (owner, kind, currency)
        self._entries[account] = add(self._entries[account], amount)
        within = (transaction_id, currency)
        rest = add(self._transactions.get(within, _NOTHING), amount)
        if rest:
            self._transactions[within] = rest
        else:  # most are done with their last entry, so that few are kept
            self._transactions.pop(within, None)

    def position(self, position: Position) -> None:
        self._positions[position.id] = position
        if position.status is Status.OPEN:
            account = (position.owner, str(AccountKind.MARGIN), position.quote_currency)
            self._margins[account] = add(self._margins[account], position.margin)

    def trade(self, trade: Trade) -> None:
        traded = self._trades[trade.position_id]
        if trade.kind is TransactionKind.OPEN:
            traded.opened = add(traded.opened, trade.size)
        else:
            traded.closed = add(traded.closed, trade.size)
        traded.fees = add(traded.fees, trade.fee)
        traded.realised = add(traded.realised, trade.realised_pnl)

    def differences(self) -> list[Difference]:
        found: list[Difference] = []

        def compare(what: str, where: Iterable[str], expected: Decimal, actual: Decimal) -> None:
            if expected != actual:
                found.append(Difference(what, " ".join(where), expected, actual))

        totals: defaultdict[str, Decimal] = defaultdict(Decimal)
        margin = str(AccountKind.MARGIN)
        for account in sorted(self._balances.keys() | self._entries.keys() | self._margins.keys()):
            balance = self._balances.get(account, _NOTHING)
            compare("balance", account, self._entries.get(account, _NOTHING), balance)
            totals[account[2]] = add(totals[account[2]], balance)
            if AccountKind(account[1]).of_owner and balance < 0:
                compare("negative balance", account, _NOTHING, balance)
            if account[1] == margin:
                compare("margin", account, self._margins.get(account, _NOTHING), balance)
        for currency, total in sorted(totals.items()):
            compare("total", (currency,), _NOTHING, total)
        for within, rest in sorted(self._transactions.items()):
            compare("transaction", within, _NOTHING, rest)
        for name in sorted(self._positions.keys() | self._trades.keys()):
            traded, position = self._trades[name], self._positions.get(name)
            if position is None:
                compare("size traded without a position", (name,), _NOTHING, traded.opened)
                continue
            compare("initial size", (name,), traded.opened, position.initial_size)
            compare("size", (name,), subtract(traded.opened, traded.closed), position.size)
            compare("fees", (name,), traded.fees, position.fees_paid)
            compare("realised profit", (name,), traded.realised, position.realised_pnl)
        return found


@dataclass(slots=True)
class _Traded:
    opened: Decimal = _NOTHING
    closed: Decimal = _NOTHING
    fees: Decimal = _NOTHING
    realised: Decimal = _NOTHING


class MemoryStore:
    """A ledger that ends with the process, for tests and trials. It keeps the same promises as one on disk."""

    def __init__(self) -> None:
        self._funded: dict[str, datetime] = {}
        self._balances: dict[tuple[Account, str], Decimal] = {}
        self._positions: dict[str, Position] = {}
        self._transactions: dict[str, Transaction] = {}
        self._trades: dict[str, Trade] = {}
        self._records: dict[tuple[str, str], Record] = {}

    async def transact(self, needs: Needs, work: Work) -> None:
        await asyncio.sleep(0)  # others have their turn, as they have while a disk works
        known = Known(
            funded=set(needs.owners & self._funded.keys()),
            balances={
                key: amount
                for key, amount in self._balances.items()
                if key[0].kind.of_owner and key[0].owner in needs.owners
            },
            held=[
                Held(one.id, one.owner, one.symbol, one.entry_notional)
                for one in self._positions.values()
                if one.owner in needs.holders and one.status is Status.OPEN
            ],
            positions={name: self._positions[name] for name in needs.position_ids & self._positions.keys()},
            records={key: self._records[key] for key in needs.keys & self._records.keys()},
        )
        self._keep(work(known))

    def _keep(self, changes: Changes) -> None:
        transactions = {one.id: one for one in changes.transactions}
        trades = {one.id: one for one in changes.trades}
        if (
            len(transactions) < len(changes.transactions)
            or len(trades) < len(changes.trades)
            or transactions.keys() & self._transactions.keys()
            or trades.keys() & self._trades.keys()
        ):
            raise ValueError("an id is taken")
        self._funded |= changes.funded
        self._transactions |= transactions
        self._positions |= changes.positions
        self._trades |= trades
        self._records |= changes.records
        self._balances |= changes.balances
        for key, change in changes.house.items():
            self._balances[key] = add(self._balances.get(key, _NOTHING), change)

    async def purge(self, before: datetime, limit: int) -> int:
        old = [key for key, record in self._records.items() if record.create_time < before][:limit]
        for key in old:
            del self._records[key]
        return len(old)

    async def balances(self, owner: str) -> dict[tuple[AccountKind, str], Decimal]:
        return {
            (account.kind, currency): amount
            for (account, currency), amount in self._balances.items()
            if account.owner == owner and account.kind.of_owner
        }

    async def holdings(self, owner: str) -> Holdings:
        held = await self.open_positions(owner)
        return Holdings(await self.balances(owner), held)

    async def position(self, owner: str, position_id: str) -> Position | None:
        position = self._positions.get(position_id)
        return position if position is not None and position.owner == owner else None

    async def positions(
        self, owner: str, statuses: Collection[Status], page_size: int, page_token: str = ""
    ) -> Page[Position]:
        after = place_in(page_token)
        found = (one for one in self._positions.values() if one.owner == owner and one.status in statuses)
        ordered = sorted(found, key=place_of_position)
        rest = [one for one in ordered if after is None or place_of_position(one) > after]
        return page_of(rest[: page_size + 1], page_size, place_of_position)

    async def open_positions(self, owner: str | None = None) -> list[Position]:
        found = (one for one in self._positions.values() if one.status is Status.OPEN and owner in {None, one.owner})
        return sorted(found, key=place_of_position)

    async def open_states(self, owners: Collection[str]) -> list[State]:
        return [state_of(one) for one in self._positions.values() if one.status is Status.OPEN and one.owner in owners]

    async def named(self, position_ids: Collection[str]) -> list[Position]:
        found = (self._positions[name] for name in self._positions.keys() & set(position_ids))
        return sorted(found, key=place_of_position)

    async def traded_since(
        self,
        owners: Collection[str],
        since: datetime,
        *,
        is_news: Callable[[State], bool] = lambda _: True,
        states_max: int | None = None,
    ) -> list[Position]:
        traded = {one.position_id for one in self._trades.values() if one.owner in owners and one.time >= since}
        if states_max is not None and len(traded) > states_max:
            raise TooManyTradedError
        found = (self._positions[position_id] for position_id in traded)
        return sorted((one for one in found if is_news(state_of(one))), key=place_of_position)

    async def trades(
        self, owner: str, page_size: int, page_token: str = "", *, position_id: str | None = None
    ) -> Page[Trade]:
        found = (one for one in self._trades.values() if one.owner == owner)
        chosen = [one for one in found if position_id is None or one.position_id == position_id]
        return _newest(chosen, page_size, page_token, place_of_trade)

    async def entries(self, owner: str, page_size: int, page_token: str = "") -> Page[LedgerEntry]:
        found = [
            LedgerEntry(
                transaction.id,
                number,
                transaction.kind,
                transaction.position_id,
                entry.account.kind,
                entry.currency,
                entry.amount,
                transaction.create_time,
            )
            for transaction in self._transactions.values()
            for number, entry in enumerate(transaction.entries)
            if entry.account.owner == owner and entry.account.kind.of_owner
        ]
        return _newest(found, page_size, page_token, place_of_entry)

    async def check(self) -> list[Difference]:
        audit = Audit()
        for (account, currency), amount in self._balances.items():
            audit.balance(account.owner, str(account.kind), currency, amount)
        for transaction in self._transactions.values():
            for entry in transaction.entries:
                audit.entry(transaction.id, entry.account.owner, str(entry.account.kind), entry.currency, entry.amount)
        for position in self._positions.values():
            audit.position(position)
        for trade in self._trades.values():
            audit.trade(trade)
        return audit.differences()


def _newest(items: Sequence[T], page_size: int, page_token: str, place_of: Callable[[T], Place]) -> Page[T]:
    before = place_in(page_token)
    ordered = sorted(items, key=place_of, reverse=True)
    rest = [one for one in ordered if before is None or place_of(one) < before]
    return page_of(rest[: page_size + 1], page_size, place_of)
