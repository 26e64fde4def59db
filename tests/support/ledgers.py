"""What tests of the ledger share: every kind of store, a desk on it, and short makers of commands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.support.market import BTC, SetClock
from tests.support.postgres import PostgresMissingError, shared_postgres

from entasis_engine.exchanges.feed import Instrument
from entasis_engine.portfolio.desk import Close, Deposit, Desk, Fill, Idempotency, Liquidate, Open, Withdraw
from entasis_engine.portfolio.execution import Filled
from entasis_engine.portfolio.margin import Side
from entasis_engine.portfolio.positions import Limits
from entasis_engine.portfolio.sql import SqlStore
from entasis_engine.portfolio.store import LedgerStore, MemoryStore
from entasis_engine.storage.database import open_ledger

PAPER = {"USDT": Decimal(100_000)}
LIMITS = Limits(open_positions_max=50, notional_max=Decimal(1_000_000))


@dataclass(frozen=True)
class Place:
    """Where a ledger is kept. It may be opened again and again, and is always the same one."""

    kind: str
    open: Callable[[], AbstractAsyncContextManager[LedgerStore]]
    url: str = ""


def _memory(_folder: Path) -> Place:
    store = MemoryStore()

    @asynccontextmanager
    async def opened() -> AsyncIterator[LedgerStore]:
        yield store

    return Place("memory", opened)


def at_url(kind: str, url: str) -> Place:
    @asynccontextmanager
    async def opened() -> AsyncIterator[LedgerStore]:
        async with open_ledger(url) as database:
            yield SqlStore(database)

    return Place(kind, opened, url)


def sqlite(folder: Path) -> Place:
    return at_url("sqlite", f"sqlite+aiosqlite:///{folder}/ledger.db")


def postgresql(_folder: Path) -> Place:
    try:
        server = shared_postgres()
    except PostgresMissingError as error:
        pytest.skip(str(error))
    return at_url("postgresql", server.new_database())


PLACES: Mapping[str, Callable[[Path], Place]] = {"memory": _memory, "sqlite": sqlite, "postgresql": postgresql}


class CountedIds:
    """Ids that are counted, in the order they were asked for."""

    def __init__(self) -> None:
        self._numbers: dict[str, count[int]] = {}

    def __call__(self, prefix: str) -> str:
        return f"{prefix}_{next(self._numbers.setdefault(prefix, count(1))):06}"


@asynccontextmanager
async def working(store: LedgerStore, **given: Any) -> AsyncIterator[Desk]:
    """A desk that executes what it is asked for."""
    usual = {"limits": LIMITS, "paper": PAPER, "clock": SetClock(), "new_id": CountedIds()}
    desk = Desk(store, **{**usual, **given})
    writing = asyncio.create_task(desk.write_forever())
    try:
        yield desk
    finally:
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing


def at(price: str) -> Fill:
    """Fills any size at one price."""
    return lambda size: Filled(size, Decimal(price) * size)


def key(text: str | None, digest: bytes = b"digest") -> Idempotency | None:
    return None if text is None else Idempotency(text, digest)


def open_(
    owner: str = "acc_1",
    size: str = "1",
    price: str = "10000",
    *,
    side: Side = Side.LONG,
    leverage: str = "10",
    fee_rate: str = "0",
    instrument: Instrument = BTC,
    idempotency: Idempotency | None = None,
) -> Open:
    return Open(
        owner=owner,
        instrument=instrument,
        side=side,
        size=Decimal(size),
        fill=at(price),
        leverage=Decimal(leverage),
        fee_rate=Decimal(fee_rate),
        idempotency=idempotency,
    )


def close(
    position_id: str,
    size: str | None = None,
    price: str = "10000",
    *,
    owner: str = "acc_1",
    fee_rate: str = "0",
    idempotency: Idempotency | None = None,
) -> Close:
    return Close(
        owner=owner,
        position_id=position_id,
        fill=at(price),
        lot=BTC.lot_size,
        fee_rate=Decimal(fee_rate),
        size=None if size is None else Decimal(size),
        idempotency=idempotency,
    )


def liquidate(position_id: str, price: str = "9000", *, owner: str = "acc_1") -> Liquidate:
    return Liquidate(owner=owner, position_id=position_id, fill=at(price))


def deposit(amount: str, owner: str = "acc_1", currency: str = "USDT", **given: Any) -> Deposit:
    return Deposit(owner=owner, currency=currency, amount=Decimal(amount), **given)


def withdraw(amount: str, owner: str = "acc_1", currency: str = "USDT", **given: Any) -> Withdraw:
    return Withdraw(owner=owner, currency=currency, amount=Decimal(amount), **given)
