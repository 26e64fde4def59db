"""The ledger in a database: SQLite, or PostgreSQL that several engines share. The statements are the same.

On PostgreSQL a group of commands first locks the rows of its owners, always in one order, so that groups of two engines
that share an owner follow each other, and never wait for each other in a circle. The house's row comes last of all, and
only when a group is about to be kept: every group changes the house's balances, none is decided by them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    Index,
    Select,
    Table,
    bindparam,
    delete,
    insert,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from entasis_engine.decimals import add
from entasis_engine.portfolio.ledger import HOUSE, Account, AccountKind, TransactionKind
from entasis_engine.portfolio.margin import Side
from entasis_engine.portfolio.positions import Position, Status
from entasis_engine.portfolio.store import (
    OWNER_KINDS,
    Audit,
    Changes,
    Difference,
    Held,
    Holdings,
    Known,
    LedgerEntry,
    LedgerUnavailableError,
    Needs,
    Page,
    Place,
    Record,
    State,
    TooManyTradedError,
    Trade,
    Work,
    page_of,
    place_in,
    place_of_entry,
    place_of_position,
    place_of_trade,
)
from entasis_engine.storage.columns import ExactDecimal, UtcMilliseconds
from entasis_engine.storage.database import UNREACHABLE, Database
from entasis_engine.storage.writes import finished

ATTEMPTS_MAX = 5
RETRY_SECONDS_MAX = 0.05
"""Of the first wait; each further one may be twice as long."""
AUDIT_ROWS = 1000
"""Read at a time."""
NAMED_ROWS = 500
"""Positions read at a time, where they are named."""

# SQLSTATEs of transactions that were undone though nothing was wrong with them: serialization failure, deadlock.
_TRANSIENT_STATES = {"40001", "40P01"}
# Classes of SQLSTATE that say something of the server rather than of the statement: connection, a server that only
# reads, authentication, resources, a lock that was not to be had in time, an operator, the system, a fault of its own.
_SERVER_STATES = ("08", "25", "28", "53", "55", "57", "58", "XX")

_Row = TypeVar("_Row")


class Base(SQLModel, registry=registry()):
    """Of a registry of its own, so that these tables are never made in the market's database."""


def _one_of(column: str, values: Iterable[str]) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


def _kind_fits(owner: str = "owner") -> CheckConstraint:
    """The kinds of owners' accounts are anybody's; the house's kinds are its own."""
    house = (kind for kind in AccountKind if not kind.of_owner)
    return CheckConstraint(f"{_OWNERS_KINDS} OR ({owner} = '{HOUSE}' AND {_one_of('kind', house)})", name="kind_fits")


_OWNERS_KINDS = _one_of("kind", OWNER_KINDS)

# `CAST(… AS NUMERIC)` is exact on PostgreSQL. On SQLite it is a binary float, but of the right sign.


class OwnerRow(Base, table=True):
    """Somebody with accounts. The row is what groups of commands lock."""

    __tablename__ = "owners"

    id: str = Field(primary_key=True)
    fund_time: datetime | None = Field(default=None, sa_type=UtcMilliseconds)
    """When the initial money was deposited."""


class BalanceRow(Base, table=True):
    """What an account holds of a currency; always the sum of its entries."""

    __tablename__ = "balances"
    __table_args__ = (
        _kind_fits(),
        CheckConstraint(
            f"NOT ({_OWNERS_KINDS}) OR CAST(amount AS NUMERIC) >= 0",
            name="owners_not_negative",
        ),
    )

    owner: str = Field(primary_key=True, foreign_key="owners.id")
    kind: str = Field(primary_key=True)
    currency: str = Field(primary_key=True)
    amount: Decimal = Field(sa_type=ExactDecimal)


class PositionRow(Base, table=True):
    """A position as it is now."""

    __tablename__ = "positions"
    __table_args__ = (
        CheckConstraint(_one_of("side", Side), name="side_known"),
        CheckConstraint(_one_of("status", Status), name="status_known"),
        CheckConstraint("(status = 'open') = (CAST(size AS NUMERIC) > 0)", name="open_has_size"),
        CheckConstraint("(status = 'open') = (close_time IS NULL)", name="open_has_no_end"),
        CheckConstraint("CAST(size AS NUMERIC) >= 0 AND CAST(initial_size AS NUMERIC) > 0", name="size_not_negative"),
        CheckConstraint("CAST(margin AS NUMERIC) >= 0", name="margin_not_negative"),
        CheckConstraint("CAST(fees_paid AS NUMERIC) >= 0", name="fees_not_negative"),
        CheckConstraint("CAST(leverage AS NUMERIC) >= 1", name="leverage_from_1"),
        Index("positions_of_owner", "owner", "open_time", "id"),
        Index(
            "positions_open",
            "owner",
            "open_time",
            "id",
            sqlite_where=text("status = 'open'"),
            postgresql_where=text("status = 'open'"),
        ),
    )

    id: str = Field(primary_key=True)
    owner: str = Field(foreign_key="owners.id")
    symbol: str
    side: str
    size: Decimal = Field(sa_type=ExactDecimal)
    initial_size: Decimal = Field(sa_type=ExactDecimal)
    entry_notional: Decimal = Field(sa_type=ExactDecimal)
    initial_notional: Decimal = Field(sa_type=ExactDecimal)
    leverage: Decimal = Field(sa_type=ExactDecimal)
    margin: Decimal = Field(sa_type=ExactDecimal)
    fees_paid: Decimal = Field(sa_type=ExactDecimal)
    open_time: datetime = Field(sa_type=UtcMilliseconds)
    exit_notional: Decimal = Field(sa_type=ExactDecimal)
    realised_pnl: Decimal = Field(sa_type=ExactDecimal)
    status: str
    close_time: datetime | None = Field(default=None, sa_type=UtcMilliseconds)


class TransactionRow(Base, table=True):
    """Entries that belong together. Never changed."""

    __tablename__ = "transactions"
    __table_args__ = (CheckConstraint(_one_of("kind", TransactionKind), name="kind_known"),)

    id: str = Field(primary_key=True)
    kind: str
    create_time: datetime = Field(sa_type=UtcMilliseconds)
    position_id: str | None = Field(default=None, foreign_key="positions.id")


class EntryRow(Base, table=True):
    """One change of one balance. Never changed."""

    __tablename__ = "entries"
    __table_args__ = (
        _kind_fits(),
        CheckConstraint("CAST(amount AS NUMERIC) <> 0", name="amount_not_zero"),
        # What owners read. The house's entries, one half of all, need no place in it.
        Index(
            "entries_of_owner",
            "owner",
            "create_time",
            "transaction_id",
            "number",
            sqlite_where=text(_OWNERS_KINDS),
            postgresql_where=text(_OWNERS_KINDS),
        ),
    )

    transaction_id: str = Field(primary_key=True, foreign_key="transactions.id")
    number: int = Field(primary_key=True)
    owner: str
    kind: str
    currency: str
    amount: Decimal = Field(sa_type=ExactDecimal)
    create_time: datetime = Field(sa_type=UtcMilliseconds)
    """The transaction's."""


class TradeRow(Base, table=True):
    """A fill. Never changed."""

    __tablename__ = "trades"
    __table_args__ = (
        CheckConstraint(_one_of("side", Side), name="side_known"),
        CheckConstraint(_one_of("kind", TransactionKind), name="kind_known"),
        CheckConstraint("CAST(size AS NUMERIC) > 0", name="size_above_0"),
        CheckConstraint("CAST(notional AS NUMERIC) >= 0 AND CAST(fee AS NUMERIC) >= 0", name="not_negative"),
        Index("trades_of_owner", "owner", "create_time", "id"),
        Index("trades_of_position", "position_id", "create_time", "id"),
    )

    id: str = Field(primary_key=True)
    owner: str
    position_id: str = Field(foreign_key="positions.id")
    transaction_id: str = Field(foreign_key="transactions.id", unique=True)
    kind: str
    symbol: str
    side: str
    size: Decimal = Field(sa_type=ExactDecimal)
    notional: Decimal = Field(sa_type=ExactDecimal)
    fee: Decimal = Field(sa_type=ExactDecimal)
    realised_pnl: Decimal = Field(sa_type=ExactDecimal)
    create_time: datetime = Field(sa_type=UtcMilliseconds)


class IdempotencyRow(Base, table=True):
    """The answer that a command with a key had. The primary key is what makes doubling impossible."""

    __tablename__ = "idempotency"
    __table_args__ = (Index("idempotency_by_age", "create_time"),)

    owner: str = Field(primary_key=True, foreign_key="owners.id")
    key: str = Field(primary_key=True)
    digest: bytes
    answer: bytes
    create_time: datetime = Field(sa_type=UtcMilliseconds)


def _table(name: str) -> Table:
    return Base.metadata.tables[name]


_OWNERS = _table("owners")
_BALANCES = _table("balances")
_POSITIONS = _table("positions")
_TRANSACTIONS = _table("transactions")
_ENTRIES = _table("entries")
_TRADES = _table("trades")
_RECORDS = _table("idempotency")

# Written out, not bound: only so does SQLite see that a partial index fits.
_IS_OPEN = text("status = 'open'")
_IS_OF_OWNER = text(_OWNERS_KINDS)

_STATES = select(_POSITIONS.c.id, _POSITIONS.c.owner, _POSITIONS.c.size, _POSITIONS.c.status, _POSITIONS.c.close_time)
_FUND = update(_OWNERS).where(_OWNERS.c.id == bindparam("owner")).values(fund_time=bindparam("fund_time"))
_CHANGED = [column for column in _POSITIONS.c if column.name not in {"id", "owner", "symbol", "side", "open_time"}]
_CHANGE_POSITION = (
    update(_POSITIONS)
    .where(_POSITIONS.c.id == bindparam("position_id"))
    .values({column: bindparam(f"new_{column.name}") for column in _CHANGED})
)


class SqlStore:
    """The ledger in a database that `open_ledger` has opened.

    Args:
        sleep: waits before a transaction that PostgreSQL has undone is tried again.
    """

    def __init__(self, database: Database, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._database = database
        self._sleep = sleep
        on_postgresql = database.writer.dialect.name == "postgresql"
        upsert: Callable[..., Any] = postgresql.insert if on_postgresql else sqlite.insert
        self._add_owner = upsert(_OWNERS).on_conflict_do_nothing()
        self._set_balance = _replacing(upsert(_BALANCES))
        self._set_record = _replacing(upsert(_RECORDS))
        # Readers look at one moment where they read more than once.
        self._snapshots = (
            database.reader.execution_options(isolation_level="REPEATABLE READ") if on_postgresql else database.reader
        )
        self._begin_snapshot = None if on_postgresql else "BEGIN"

    async def transact(self, needs: Needs, work: Work) -> None:
        await finished(self._transact(needs, work))

    async def purge(self, before: datetime, limit: int) -> int:
        return await finished(self._purge(before, limit))

    async def _transact(self, needs: Needs, work: Work) -> None:
        for attempt in range(ATTEMPTS_MAX):
            try:
                while not await self._try(needs, work):
                    await self._add_owners(needs.owners)
                return
            except DBAPIError as error:
                if not _is_transient(error) or attempt + 1 == ATTEMPTS_MAX:
                    _require_statements_fault(error)
                    raise
            except UNREACHABLE as error:  # no connection was to be had
                _require_statements_fault(error)
            # By chance, so that two that undid each other do not meet again.
            await self._sleep(random.uniform(0, RETRY_SECONDS_MAX * 2**attempt))  # noqa: S311 - no secret

    async def _try(self, needs: Needs, work: Work) -> bool:
        """Decide and keep a group; False, and nothing is done, where an owner has no row yet."""
        async with self._database.writer.connect() as connection:
            owners = await _lock(connection, needs.owners)
            if len(owners) < len(needs.owners):
                return False
            known = await _load(connection, needs, owners)
            changes = work(known)
            if not changes:
                return True
            await self._write(connection, known, changes)
            try:
                await connection.commit()
            except IntegrityError:
                raise
            except Exception as error:  # whatever it is, it does not say whether the group was kept
                raise LedgerUnavailableError("the database did not say whether it kept the transaction") from error
            return True

    async def _add_owners(self, owners: Iterable[str]) -> None:
        """In a transaction of its own, so that no group waits for a row while it holds others. A row alone means
        nothing.
        """
        async with self._database.writer.begin() as connection:
            await connection.execute(self._add_owner, [{"id": owner, "fund_time": None} for owner in sorted(owners)])

    async def _write(self, connection: AsyncConnection, known: Known, changes: Changes) -> None:
        fresh = [one for one in changes.positions.values() if one.id not in known.positions]
        changed = [one for one in changes.positions.values() if one.id in known.positions]
        balances = [(account, currency, amount) for (account, currency), amount in changes.balances.items()]
        for statement, rows in (
            (_FUND, [{"owner": owner, "fund_time": time} for owner, time in changes.funded.items()]),
            (insert(_POSITIONS), [_position_values(one) for one in fresh]),
            (_CHANGE_POSITION, [_changed_values(one) for one in changed]),
            (
                insert(_TRANSACTIONS),
                [
                    {"id": one.id, "kind": one.kind, "create_time": one.create_time, "position_id": one.position_id}
                    for one in changes.transactions
                ],
            ),
            (
                insert(_ENTRIES),
                [
                    {
                        "transaction_id": one.id,
                        "number": number,
                        "owner": entry.account.owner,
                        "kind": entry.account.kind,
                        "currency": entry.currency,
                        "amount": entry.amount,
                        "create_time": one.create_time,
                    }
                    for one in changes.transactions
                    for number, entry in enumerate(one.entries)
                ],
            ),
            (insert(_TRADES), [_trade_values(one) for one in changes.trades]),
            (
                self._set_record,
                [
                    {
                        "owner": one.owner,
                        "key": one.key,
                        "digest": one.digest,
                        "answer": one.answer,
                        "create_time": one.create_time,
                    }
                    for one in changes.records.values()
                ],
            ),
        ):
            if rows:
                await connection.execute(statement, rows)
        if changes.house:  # last, so that other engines wait for it no longer than they must
            balances += await _house_balances(connection, changes.house)
        if balances:
            await connection.execute(
                self._set_balance,
                [
                    {"owner": account.owner, "kind": account.kind, "currency": currency, "amount": amount}
                    for account, currency, amount in balances
                ],
            )

    async def _purge(self, before: datetime, limit: int) -> int:
        key = (_RECORDS.c.owner, _RECORDS.c.key)
        old = select(*key).where(_RECORDS.c.create_time < before).order_by(_RECORDS.c.create_time, *key).limit(limit)
        async with _using(self._database.writer) as connection:
            forgotten = (await connection.execute(delete(_RECORDS).where(tuple_(*key).in_(old)))).rowcount
            await connection.commit()
            return int(forgotten)

    # Reading.

    async def balances(self, owner: str) -> dict[tuple[AccountKind, str], Decimal]:
        return _balances_of(await self._read(_select_balances([owner])))

    async def holdings(self, owner: str) -> Holdings:
        balances, positions = await self._read_together(
            _select_balances([owner]), _in_order(select(_POSITIONS).where(_POSITIONS.c.owner == owner, _IS_OPEN))
        )
        return Holdings(_balances_of(balances), [_position(row) for row in positions])

    async def position(self, owner: str, position_id: str) -> Position | None:
        found = await self._read(select(_POSITIONS).where(_POSITIONS.c.id == position_id, _POSITIONS.c.owner == owner))
        return _position(found[0]) if found else None

    async def positions(
        self, owner: str, statuses: Collection[Status], page_size: int, page_token: str = ""
    ) -> Page[Position]:
        statement = select(_POSITIONS).where(_POSITIONS.c.owner == owner)
        if set(statuses) == {Status.OPEN}:
            statement = statement.where(_IS_OPEN)
        elif set(statuses) != set(Status):
            statement = statement.where(_POSITIONS.c.status.in_(sorted(statuses)))
        if (after := place_in(page_token)) is not None:
            statement = statement.where(tuple_(_POSITIONS.c.open_time, _POSITIONS.c.id) > after[:2])
        rows = await self._read(_in_order(statement).limit(page_size + 1))
        return page_of([_position(row) for row in rows], page_size, place_of_position)

    async def open_positions(self, owner: str | None = None) -> list[Position]:
        statement = select(_POSITIONS).where(_IS_OPEN)
        if owner is not None:
            statement = statement.where(_POSITIONS.c.owner == owner)
        return [_position(row) for row in await self._read(_in_order(statement))]

    async def open_states(self, owners: Collection[str]) -> list[State]:
        if not owners:
            return []
        asked = _STATES.where(_POSITIONS.c.owner.in_(_padded(owners)), _IS_OPEN)
        return [_state(row) for row in await self._read(asked)]

    async def named(self, position_ids: Collection[str]) -> list[Position]:
        found: list[Position] = []
        names = list(position_ids)
        for start in range(0, len(names), NAMED_ROWS):
            asked = select(_POSITIONS).where(_POSITIONS.c.id.in_(_padded(names[start : start + NAMED_ROWS])))
            found += [_position(row) for row in await self._read(asked)]
        return sorted(found, key=place_of_position)

    async def traded_since(
        self,
        owners: Collection[str],
        since: datetime,
        *,
        is_news: Callable[[State], bool] = lambda _: True,
        states_max: int | None = None,
    ) -> list[Position]:
        if not owners:
            return []
        traded = select(_TRADES.c.position_id).where(
            _TRADES.c.owner.in_(_padded(owners)), _TRADES.c.create_time >= since
        )
        asked = _STATES.where(_POSITIONS.c.id.in_(traded))
        rows = await self._read(asked if states_max is None else asked.limit(states_max + 1))
        if states_max is not None and len(rows) > states_max:
            raise TooManyTradedError
        return await self.named([one.id for one in map(_state, rows) if is_news(one)])

    async def trades(
        self, owner: str, page_size: int, page_token: str = "", *, position_id: str | None = None
    ) -> Page[Trade]:
        statement = select(_TRADES).where(_TRADES.c.owner == owner)
        if position_id is not None:
            statement = statement.where(_TRADES.c.position_id == position_id)
        order = (_TRADES.c.create_time, _TRADES.c.id)
        rows = await self._read(_newest_first(statement, order, place_in(page_token)).limit(page_size + 1))
        return page_of([_trade(row) for row in rows], page_size, place_of_trade)

    async def entries(self, owner: str, page_size: int, page_token: str = "") -> Page[LedgerEntry]:
        statement = (
            select(
                _ENTRIES.c.transaction_id,
                _ENTRIES.c.number,
                _TRANSACTIONS.c.kind.label("transaction_kind"),
                _TRANSACTIONS.c.position_id,
                _ENTRIES.c.kind,
                _ENTRIES.c.currency,
                _ENTRIES.c.amount,
                _ENTRIES.c.create_time,
            )
            .join(_TRANSACTIONS, _TRANSACTIONS.c.id == _ENTRIES.c.transaction_id)
            .where(_ENTRIES.c.owner == owner, text(_one_of("entries.kind", OWNER_KINDS)))
        )
        order = (_ENTRIES.c.create_time, _ENTRIES.c.transaction_id, _ENTRIES.c.number)
        rows = await self._read(_newest_first(statement, order, place_in(page_token)).limit(page_size + 1))
        return page_of([_entry(row) for row in rows], page_size, place_of_entry)

    async def check(self) -> list[Difference]:
        audit = Audit()
        async with _using(self._snapshots, self._begin_snapshot) as connection:
            async for row in _rows(connection, _BALANCES):
                audit.balance(row.owner, row.kind, row.currency, row.amount)
            async for row in _rows(connection, _ENTRIES):
                audit.entry(row.transaction_id, row.owner, row.kind, row.currency, row.amount)
            async for row in _rows(connection, _POSITIONS):
                audit.position(_position(row))
            async for row in _rows(connection, _TRADES):
                audit.trade(_trade(row))
        return audit.differences()

    async def _read(self, statement: Select[Any]) -> Sequence[Any]:
        async with _using(self._database.reader) as connection:
            rows: Sequence[Any] = (await connection.execute(statement)).all()
            return rows

    async def _read_together(self, *statements: Select[Any]) -> list[Sequence[Any]]:
        async with _using(self._snapshots, self._begin_snapshot) as connection:
            return [(await connection.execute(statement)).all() for statement in statements]


# What went wrong.


def _is_transient(error: DBAPIError) -> bool:
    """Whether the transaction was undone though nothing was wrong with it; the same one may well work now."""
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _TRANSIENT_STATES


def _require_statements_fault(error: Exception) -> None:
    """Raises `LedgerUnavailableError` unless the fault is the statement's, so that trying it again is of no use."""
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None)
        of_server = state is not None and state.startswith(_SERVER_STATES)
        of_file = state is None and isinstance(error, OperationalError | InterfaceError)  # busy, full, gone
        if not (_is_transient(error) or of_server or of_file):
            return
    cause = getattr(error, "orig", None) or error
    raise LedgerUnavailableError(f"the database cannot be used: {cause or type(cause).__name__}") from error


@asynccontextmanager
async def _using(engine: AsyncEngine, begin: str | None = None) -> AsyncIterator[AsyncConnection]:
    """A connection to read with, or to write one statement."""
    try:
        async with engine.connect() as connection:
            if begin is not None:
                await connection.exec_driver_sql(begin)
            yield connection
    except (DBAPIError, *UNREACHABLE) as error:
        _require_statements_fault(error)
        raise


async def _rows(connection: AsyncConnection, table: Table) -> AsyncIterator[Any]:
    """All rows of a table, few at a time."""
    found = await connection.stream(select(table).execution_options(yield_per=AUDIT_ROWS))
    async for rows in found.partitions():
        for row in rows:
            yield row


# What a group needs.


async def _lock(connection: AsyncConnection, owners: Collection[str]) -> Mapping[str, datetime | None]:
    """Lock owners' rows, the house's last; gives when each had its initial money."""
    statement = (
        select(_OWNERS.c.id, _OWNERS.c.fund_time)
        .where(_OWNERS.c.id.in_(_padded(owners)))
        .order_by(_OWNERS.c.id == HOUSE, _OWNERS.c.id)
        .with_for_update(key_share=True)
    )
    return {row.id: row.fund_time for row in await connection.execute(statement)}


async def _load(connection: AsyncConnection, needs: Needs, owners: Mapping[str, datetime | None]) -> Known:
    known = Known({owner for owner, time in owners.items() if time is not None}, {}, [], {}, {})
    for row in await connection.execute(_select_balances(needs.owners)):
        known.balances[Account(row.owner, AccountKind(row.kind)), row.currency] = row.amount
    if needs.holders:
        columns = (_POSITIONS.c.id, _POSITIONS.c.owner, _POSITIONS.c.symbol, _POSITIONS.c.entry_notional)
        held = select(*columns).where(_POSITIONS.c.owner.in_(_padded(needs.holders)), _IS_OPEN)
        known.held += [Held(*row) for row in await connection.execute(held)]
    if needs.position_ids:
        named = select(_POSITIONS).where(_POSITIONS.c.id.in_(_padded(needs.position_ids)))
        known.positions |= {row.id: _position(row) for row in await connection.execute(named)}
    if needs.keys:
        recorded = select(_RECORDS).where(tuple_(_RECORDS.c.owner, _RECORDS.c.key).in_(_padded(needs.keys)))
        known.records |= {
            (row.owner, row.key): Record(row.owner, row.key, row.digest, row.answer, row.create_time)
            for row in await connection.execute(recorded)
        }
    return known


async def _house_balances(
    connection: AsyncConnection, changes: Mapping[tuple[Account, str], Decimal]
) -> list[tuple[Account, str, Decimal]]:
    """What the house's accounts hold after a change; nobody else changes them until the transaction ends."""
    await _lock(connection, [HOUSE])
    statement = select(_BALANCES).where(_BALANCES.c.owner == HOUSE, ~_BALANCES.c.kind.in_(OWNER_KINDS))
    held = {(row.kind, row.currency): row.amount for row in await connection.execute(statement)}
    return [
        (account, currency, add(held.get((account.kind, currency), Decimal(0)), change))
        for (account, currency), change in changes.items()
    ]


def _padded(values: Collection[_Row]) -> list[_Row]:
    """The last one again and again up to a power of two: so there are few different statements, which stay prepared."""
    padded = list(values)
    padded += padded[-1:] * ((1 << (len(padded) - 1).bit_length()) - len(padded))
    return padded


def _select_balances(owners: Collection[str]) -> Select[Any]:
    return select(_BALANCES).where(_BALANCES.c.owner.in_(_padded(owners)), _IS_OF_OWNER)


def _in_order(statement: Select[Any]) -> Select[Any]:
    return statement.order_by(_POSITIONS.c.open_time, _POSITIONS.c.id)


def _newest_first(statement: Select[Any], order: Sequence[ColumnElement[Any]], before: Place | None) -> Select[Any]:
    if before is not None:
        statement = statement.where(tuple_(*order) < before[: len(order)])
    return statement.order_by(*(column.desc() for column in order))


def _replacing(statement: Any) -> Any:
    """An insert that takes the place of a row with the same primary key."""
    table = statement.table
    rest = {column.name: statement.excluded[column.name] for column in table.c if not column.primary_key}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=rest)


# Rows.


def _balances_of(rows: Iterable[Any]) -> dict[tuple[AccountKind, str], Decimal]:
    return {(AccountKind(row.kind), row.currency): row.amount for row in rows}


def _position(row: Any) -> Position:
    return Position(
        id=row.id,
        owner=row.owner,
        symbol=row.symbol,
        side=Side(row.side),
        size=row.size,
        initial_size=row.initial_size,
        entry_notional=row.entry_notional,
        initial_notional=row.initial_notional,
        leverage=row.leverage,
        margin=row.margin,
        fees_paid=row.fees_paid,
        open_time=row.open_time,
        exit_notional=row.exit_notional,
        realised_pnl=row.realised_pnl,
        status=Status(row.status),
        close_time=row.close_time,
    )


def _state(row: Any) -> State:
    return State(row.id, row.owner, row.size, Status(row.status), row.close_time)


def _position_values(position: Position) -> dict[str, Any]:
    return {column.name: getattr(position, column.name) for column in _POSITIONS.c}


def _changed_values(position: Position) -> dict[str, Any]:
    changed = {f"new_{column.name}": getattr(position, column.name) for column in _CHANGED}
    return {"position_id": position.id, **changed}


def _trade(row: Any) -> Trade:
    return Trade(
        id=row.id,
        owner=row.owner,
        position_id=row.position_id,
        transaction_id=row.transaction_id,
        kind=TransactionKind(row.kind),
        symbol=row.symbol,
        side=Side(row.side),
        size=row.size,
        notional=row.notional,
        fee=row.fee,
        realised_pnl=row.realised_pnl,
        time=row.create_time,
    )


def _trade_values(trade: Trade) -> dict[str, Any]:
    return {
        "id": trade.id,
        "owner": trade.owner,
        "position_id": trade.position_id,
        "transaction_id": trade.transaction_id,
        "kind": trade.kind,
        "symbol": trade.symbol,
        "side": trade.side,
        "size": trade.size,
        "notional": trade.notional,
        "fee": trade.fee,
        "realised_pnl": trade.realised_pnl,
        "create_time": trade.time,
    }


def _entry(row: Any) -> LedgerEntry:
    return LedgerEntry(
        row.transaction_id,
        row.number,
        TransactionKind(row.transaction_kind),
        row.position_id,
        AccountKind(row.kind),
        row.currency,
        row.amount,
        row.create_time,
    )
