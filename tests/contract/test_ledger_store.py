"""What every store of the ledger does, whatever it is made of; and what its databases do."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Inspector, event, inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from tests.support import ledgers
from tests.support.ledgers import PLACES, CountedIds, Place, close, deposit, key, liquidate, open_, withdraw, working
from tests.support.market import ETH, NOON, SECOND, SetClock

from entasis_engine.portfolio.desk import Desk
from entasis_engine.portfolio.ids import SortableIds
from entasis_engine.portfolio.ledger import Account, AccountKind, TransactionKind
from entasis_engine.portfolio.positions import Position, Status
from entasis_engine.portfolio.sql import Base, SqlStore
from entasis_engine.portfolio.store import (
    Changes,
    Known,
    LedgerStore,
    LedgerUnavailableError,
    Needs,
    Page,
    PageTokenError,
)
from entasis_engine.storage import migrations
from entasis_engine.storage.columns import ExactDecimal
from entasis_engine.storage.database import READERS_MAX, DatabaseError, open_ledger

ENDED = {Status.CLOSED, Status.LIQUIDATED}
EVERY = set(Status)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return PLACES[request.param](tmp_path)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[LedgerStore]:
    async with place.open() as opened:
        yield opened


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def desk(store: LedgerStore, clock: SetClock) -> AsyncIterator[Desk]:
    async with working(store, clock=clock, new_id=SortableIds(clock)) as opened:
        yield opened


async def _open(desk: Desk, *args: Any, **given: Any) -> Position:
    receipt = await desk.execute(open_(*args, **given))
    assert receipt.position is not None
    return receipt.position


async def _pages(read: Callable[[str], Any]) -> list[list[Any]]:
    """All pages, each read by the token of the one before."""
    pages: list[list[Any]] = []
    token = ""
    while True:
        page: Page[Any] = await read(token)
        pages.append(list(page.items))
        token = page.next_token
        if not token:
            return pages


# Reading.


async def test_a_new_ledger_is_empty(store: LedgerStore) -> None:
    """Nothing is there until something happens."""
    assert await store.balances("acc_1") == {}
    assert await store.open_positions() == []
    assert await store.position("acc_1", "pos_1") is None
    for page in (
        await store.positions("acc_1", EVERY, 9),
        await store.trades("acc_1", 9),
        await store.entries("acc_1", 9),
    ):
        assert (list(page.items), page.next_token) == ([], "")
    assert await store.purge(NOON, 9) == 0
    assert await store.check() == []


async def test_positions_come_in_the_order_they_were_opened(desk: Desk, store: LedgerStore, clock: SetClock) -> None:
    """Pages follow each other without gap or overlap, by open time and then by id, whatever the page size."""
    opened = []
    for number in range(7):
        opened.append(await _open(desk, price="10"))
        if number % 3 == 2:
            clock.now += SECOND
    for size in (1, 2, 3, 7, 100):
        pages = await _pages(lambda token, size=size: store.positions("acc_1", EVERY, size, token))
        assert [one for page in pages for one in page] == opened
        assert [len(page) for page in pages] == [size] * (len(pages) - 1) + [len(pages[-1])]
        assert pages[-1]


async def test_open_positions_are_those_of_an_owner_or_of_all(desk: Desk, store: LedgerStore) -> None:
    """Closed ones are left out; the order is that of opening."""
    mine, closed, others = await _open(desk), await _open(desk), await _open(desk, "acc_2")
    await desk.execute(close(closed.id))
    assert await store.open_positions("acc_1") == [mine]
    assert await store.open_positions("acc_2") == [others]
    assert await store.open_positions("acc_3") == []
    assert await store.open_positions() == [mine, others]


async def test_what_was_traded_since_is_told_as_it_is_now(desk: Desk, store: LedgerStore, clock: SetClock) -> None:
    """Opened, partly closed, closed and liquidated positions of the owners are told, and none that nothing befell."""
    untouched, parted, closed, ended = [await _open(desk) for _ in range(4)]
    await _open(desk, "acc_3")
    clock.now += SECOND
    since = clock.now
    for command in (close(parted.id, "0.4"), close(closed.id), liquidate(ended.id)):
        await desk.execute(command)
    fresh, others = await _open(desk), await _open(desk, "acc_2")
    told = {one.id: one for one in await store.traded_since(["acc_1", "acc_2"], since)}
    assert told.keys() == {parted.id, closed.id, ended.id, fresh.id, others.id}
    assert (told[parted.id].size, told[parted.id].status) == (Decimal("0.6"), Status.OPEN)
    assert (told[closed.id].status, told[ended.id].status) == (Status.CLOSED, Status.LIQUIDATED)
    assert told[fresh.id] == fresh
    assert untouched.id in {one.id for one in await store.traded_since(["acc_1"], since - SECOND)}
    assert await store.traded_since(["acc_1"], since + SECOND) == []
    assert await store.traded_since([], since) == []


async def test_positions_are_told_by_their_state(desk: Desk, store: LedgerStore) -> None:
    """A list holds the states that were asked for, and pages of it too."""
    first, second, third = [await _open(desk) for _ in range(3)]
    await desk.execute(close(second.id))
    await desk.execute(liquidate(third.id))

    async def ids(*statuses: Status) -> list[str]:
        pages = await _pages(lambda token: store.positions("acc_1", set(statuses), 1, token))
        return [one.id for page in pages for one in page]

    assert await ids(Status.OPEN) == [first.id]
    assert await ids(Status.CLOSED) == [second.id]
    assert await ids(*ENDED) == [second.id, third.id]
    assert await ids(*EVERY) == [first.id, second.id, third.id]
    assert await ids() == []
    assert [one.id for one in await store.open_positions()] == [first.id]


async def test_owners_see_their_own_alone(desk: Desk, store: LedgerStore) -> None:
    """What another owner has does not exist: no position, trade, entry or balance of it."""
    position = await _open(desk, "acc_1", "1", "10")
    assert await store.position("acc_1", position.id) == position
    assert await store.position("acc_2", position.id) is None
    assert (await store.trades("acc_2", 9, position_id=position.id)).items == []
    assert (await store.positions("acc_2", EVERY, 9)).items == []
    assert (await store.entries("acc_2", 9)).items == []
    assert (await store.holdings("acc_2")).balances == {}


async def test_an_owner_named_like_the_house_sees_nothing_of_it(desk: Desk, store: LedgerStore) -> None:
    """The house's accounts are nobody's to read, not even for an owner of the same name, who has accounts like all."""
    await desk.execute(open_("house", price="10", fee_rate="0.001"))
    assert {kind for kind, _ in await store.balances("house")} == {AccountKind.FREE, AccountKind.MARGIN}
    assert {one.kind for one in (await store.entries("house", 99)).items} == {AccountKind.FREE, AccountKind.MARGIN}
    assert await store.check() == []


async def test_trades_come_newest_first(desk: Desk, store: LedgerStore, clock: SetClock) -> None:
    """Pages of trades go back in time without gap or overlap; those of one position can be had alone."""
    for _ in range(4):
        position = await _open(desk, price="10", fee_rate="0.001")
        clock.now += SECOND
        await desk.execute(close(position.id, "0.5", "11"))
    trades = (await store.trades("acc_1", 99)).items
    assert [one.time for one in trades] == sorted((one.time for one in trades), reverse=True)
    assert len({one.id for one in trades}) == 8
    pages = await _pages(lambda token: store.trades("acc_1", 3, token))
    assert [one for page in pages for one in page] == trades
    mine = (await store.trades("acc_1", 99, position_id=position.id)).items
    assert [(one.kind, one.price, one.fee, one.realised_pnl) for one in mine] == [
        (TransactionKind.CLOSE, 11, 0, Decimal("0.5")),
        (TransactionKind.OPEN, 10, Decimal("0.01"), 0),
    ]


async def test_entries_come_newest_first(desk: Desk, store: LedgerStore, clock: SetClock) -> None:
    """Entries tell how each balance came to be, newest first, page after page, though a page ends in a transaction."""
    position = await _open(desk, price="10", leverage="4")
    clock.now += SECOND
    await desk.execute(close(position.id, None, "11"))
    clock.now += SECOND
    await desk.execute(withdraw("5"))
    entries = (await store.entries("acc_1", 99)).items
    assert [(one.transaction_kind, one.kind, one.amount) for one in entries] == [
        (TransactionKind.WITHDRAWAL, AccountKind.FREE, Decimal(-5)),
        (TransactionKind.CLOSE, AccountKind.FREE, Decimal("3.5")),
        (TransactionKind.CLOSE, AccountKind.MARGIN, Decimal("-2.5")),
        (TransactionKind.OPEN, AccountKind.MARGIN, Decimal("2.5")),
        (TransactionKind.OPEN, AccountKind.FREE, Decimal("-2.5")),
        (TransactionKind.DEPOSIT, AccountKind.FREE, Decimal(100_000)),
    ]
    assert [one.position_id for one in entries] == [None, *[position.id] * 4, None]
    assert [one.time for one in entries] == [NOON + 2 * SECOND, *[NOON + SECOND] * 2, *[NOON] * 3]
    for size in (1, 2, 5):
        pages = await _pages(lambda token, size=size: store.entries("acc_1", size, token))
        assert [one for page in pages for one in page] == entries


async def test_what_comes_meanwhile_disturbs_no_page(desk: Desk, store: LedgerStore, clock: SetClock) -> None:
    """Who turns pages sees each line once, though new ones come in between."""
    for _ in range(4):
        await desk.execute(deposit("1"))
    first = await store.entries("acc_1", 3)
    clock.now += SECOND
    await desk.execute(deposit("1"))
    second = await store.entries("acc_1", 3, first.next_token)
    assert len({(one.transaction_id, one.number) for one in (*first.items, *second.items)}) == 5


@pytest.mark.parametrize("token", ["x", "=", "é", "MTIz", "LTF8MHxw", "OTk5OTk5OTk5OTk5OTk5OTk5OXwwfHA", "MXwtMXxw"])
async def test_a_token_that_no_page_gave_is_an_error(store: LedgerStore, token: str) -> None:
    """Whatever is no token is told as such by every list."""
    for read in (store.positions("acc_1", EVERY, 9, token), store.trades("acc_1", 9, token)):
        with pytest.raises(PageTokenError):
            await read
    with pytest.raises(PageTokenError):
        await store.entries("acc_1", 9, token)


async def test_holdings_are_of_one_moment(desk: Desk, store: LedgerStore) -> None:
    """Balances and positions that are read together belong together, whatever is opened and closed meanwhile."""
    await desk.ensure_owner("acc_1")

    async def trade() -> None:
        for _ in range(15):
            position = await _open(desk)
            await desk.execute(close(position.id))

    trading = [asyncio.create_task(trade()) for _ in range(3)]
    while not all(one.done() for one in trading):
        await asyncio.sleep(0)
        holdings = await store.holdings("acc_1")
        margin = holdings.balances.get((AccountKind.MARGIN, "USDT"), Decimal(0))
        assert margin == sum(one.margin for one in holdings.positions)
        assert margin + holdings.balances[AccountKind.FREE, "USDT"] == 100_000
    await asyncio.gather(*trading)


@pytest.mark.parametrize("number", ["0.00000001", "12345678901234567890123456789012345678.12345678", "1E+30", "0.10"])
async def test_decimals_are_exact(desk: Desk, store: LedgerStore, number: str) -> None:
    """Every digit of an amount comes back, however small or large it is."""
    await desk.execute(deposit(number, currency="XYZ"))
    assert (await store.balances("acc_1"))[AccountKind.FREE, "XYZ"] == Decimal(number)
    assert (await store.entries("acc_1", 1)).items[0].amount == Decimal(number)
    assert await store.check() == []


async def test_times_are_aware_and_exact(desk: Desk, store: LedgerStore, clock: SetClock) -> None:
    """Times come back to the millisecond, aware and in UTC."""
    clock.now = datetime(2024, 3, 21, 9, 30, 0, 123_000, tzinfo=UTC)
    position = await _open(desk)
    found = await store.position("acc_1", position.id)
    assert found is not None
    assert (found.open_time, found.open_time.utcoffset()) == (clock.now, timedelta(0))


async def test_a_ledger_keeps_what_it_has(place: Place) -> None:
    """Opened again, everything is as it was."""
    async with place.open() as store, working(store, new_id=CountedIds()) as desk:
        position = await _open(desk, instrument=ETH)
        before = await store.holdings("acc_1"), await store.trades("acc_1", 9), await store.entries("acc_1", 9)
    async with place.open() as store:
        assert before == (
            await store.holdings("acc_1"),
            await store.trades("acc_1", 9),
            await store.entries("acc_1", 9),
        )
        assert await store.open_positions() == [position]
        assert await store.check() == []


async def test_a_reader_that_gives_up_leaves_the_store_usable(desk: Desk, store: LedgerStore) -> None:
    """Reads that are cancelled midway take no connection with them."""
    await _open(desk)
    for number in range(3 * READERS_MAX):
        reading = asyncio.create_task(store.holdings("acc_1"))
        for _ in range(number % 4 + 1):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
    async with asyncio.timeout(10):
        assert len((await store.holdings("acc_1")).positions) == 1


# Writing.


async def test_work_that_fails_keeps_nothing(store: LedgerStore) -> None:
    """What deciding a group raises reaches whoever asked, and nothing is kept."""

    def work(known: Known) -> Changes:
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        await store.transact(Needs(frozenset({"acc_1"})), work)
    assert await store.check() == []
    async with working(store) as desk:
        await desk.execute(deposit("1"))


async def test_what_is_not_needed_is_not_known(desk: Desk, store: LedgerStore) -> None:
    """A group is told of its own owners, positions and keys, and of nobody else's."""
    mine, other = await _open(desk, "acc_1", idempotency=key("k")), await _open(desk, "acc_2", idempotency=key("k"))
    told: list[Known] = []

    def look(known: Known) -> Changes:
        told.append(known)
        return Changes()

    owners = frozenset({"acc_1", "acc_3"})
    await store.transact(Needs(owners), look)
    keys = frozenset({("acc_1", "k"), ("acc_1", "none")})
    await store.transact(Needs(owners, frozenset({"acc_1"}), frozenset({other.id, "pos_none"}), keys), look)
    first, second = told
    assert first.funded == second.funded == {"acc_1"}
    assert {account for account, _ in first.balances} == {
        Account("acc_1", AccountKind.FREE),
        Account("acc_1", AccountKind.MARGIN),
    }
    assert (first.held, first.positions, first.records) == ([], {}, {})
    assert [one.id for one in second.held] == [mine.id]
    assert set(second.positions) == {other.id}
    assert set(second.records) == {("acc_1", "k")}


# Checking.


async def test_damage_is_found(place: Place) -> None:
    """Whatever somebody changes behind the ledger's back does not add up any more, and is named."""
    if place.kind == "memory":
        pytest.skip("nobody can change it from outside")
    async with open_ledger(place.url) as database:
        store = SqlStore(database)
        async with working(store) as desk:
            position = await _open(desk, fee_rate="0.001")
        for damage, mended, told in (
            (
                "UPDATE balances SET amount = '1' WHERE kind = 'free'",
                "UPDATE balances SET amount = '98990' WHERE kind = 'free'",
                ["balance of acc_1 free USDT: 1 instead of 98990", "total of USDT: -98989 instead of 0"],
            ),
            (
                "UPDATE entries SET amount = '11' WHERE kind = 'fees'",
                "UPDATE entries SET amount = '10' WHERE kind = 'fees'",
                [
                    "balance of house fees USDT: 10 instead of 11",
                    f"transaction of {await _transaction(store)} USDT: 1 instead of 0",
                ],
            ),
            (
                "UPDATE positions SET margin = '999'",
                "UPDATE positions SET margin = '1000'",
                ["margin of acc_1 margin USDT: 1000 instead of 999"],
            ),
            (
                "UPDATE trades SET fee = '9'",
                "UPDATE trades SET fee = '10'",
                [f"fees of {position.id}: 10 instead of 9"],
            ),
        ):
            for statement, expected in ((damage, told), (mended, [])):
                async with database.writer.begin() as connection:
                    await connection.execute(text(statement))
                assert [str(one) for one in await store.check()] == expected


async def _transaction(store: LedgerStore) -> str:
    return (await store.entries("acc_1", 1)).items[0].transaction_id


NONSENSE = [
    "UPDATE balances SET amount = '-0.00000001' WHERE kind = 'free'",
    "INSERT INTO balances (owner, kind, currency, amount) VALUES ('acc_1', 'fees', 'USDT', '0')",
    "INSERT INTO balances (owner, kind, currency, amount) VALUES ('nobody', 'free', 'USDT', '0')",
    "UPDATE entries SET amount = '0'",
    "UPDATE entries SET kind = 'other'",
    "UPDATE positions SET status = 'closed'",
    "UPDATE positions SET size = '0'",
    "UPDATE positions SET margin = '-1'",
    "UPDATE positions SET side = 'both'",
    "UPDATE trades SET size = '0'",
    "UPDATE trades SET position_id = 'pos_none'",
    "DELETE FROM transactions",
    "INSERT INTO transactions SELECT * FROM transactions",
    "INSERT INTO idempotency SELECT * FROM idempotency",
    "INSERT INTO trades SELECT 'trd_2', owner, position_id, transaction_id, kind, symbol, side, size, notional, fee, "
    "realised_pnl, create_time FROM trades",
]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_the_database_refuses_nonsense(kind: str, tmp_path: Path) -> None:
    """Negative accounts of owners, doubled ids and keys, and states that contradict themselves cannot be stored."""
    async with open_ledger(PLACES[kind](tmp_path).url) as database:
        async with working(SqlStore(database)) as desk:
            await _open(desk, idempotency=key("k"))
        for statement in NONSENSE:
            with pytest.raises(IntegrityError):
                async with database.writer.begin() as connection:
                    await connection.execute(text(statement))
        assert await SqlStore(database).check() == []


# Databases.


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_migrations_make_what_the_code_declares(kind: str, tmp_path: Path) -> None:
    """The versions come to exactly the tables, indices and constraints that the code declares, and to the newest."""
    made, declared = (PLACES[kind](tmp_path / name) for name in ("made", "declared"))  # the folders are made, too
    async with open_ledger(made.url) as database, database.writer.connect() as connection:
        from_versions = await connection.run_sync(_described)
        assert await connection.run_sync(_differences) == []
        version = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalars().all()
        assert version == [migrations.HEAD]
    async with open_ledger(declared.url) as database, database.writer.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            await connection.execute(text(f"DROP TABLE {table.name}"))
        await connection.run_sync(Base.metadata.create_all)
        assert await connection.run_sync(_described) == from_versions


def _differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": _decimals_alike})
    return list(compare_metadata(context, Base.metadata))


def _decimals_alike(_context: Any, _inspected: Any, _declared: Any, found: Any, declared: Any) -> bool | None:
    return False if isinstance(declared, ExactDecimal) and str(found) in {"NUMERIC", "TEXT"} else None


def _described(connection: Connection) -> dict[str, Any]:
    found: Inspector = inspect(connection)

    def sort(things: Iterable[Any]) -> list[str]:
        return sorted(str(one) for one in things)

    return {
        table: {
            "columns": [str({**one, "type": str(one["type"])}) for one in found.get_columns(table)],
            "primary key": str(found.get_pk_constraint(table)),
            "foreign keys": sort(found.get_foreign_keys(table)),
            "unique": sort(found.get_unique_constraints(table)),
            "checks": sort(found.get_check_constraints(table)),
            "indices": sort(_readable(one) for one in found.get_indexes(table)),
        }
        for table in sorted(found.get_table_names())
    }


def _readable(index: Any) -> dict[str, Any]:
    return {**index, "dialect_options": {name: str(one) for name, one in index["dialect_options"].items()}}


async def test_engines_that_start_at_once_do_not_collide(tmp_path: Path) -> None:
    """Several engines may open an empty PostgreSQL at the same moment; the tables are made once."""
    place = ledgers.postgresql(tmp_path)

    async def begin() -> None:
        async with place.open() as store:
            assert await store.check() == []

    await asyncio.gather(*(begin() for _ in range(5)))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_newer_ledger_is_refused(kind: str, tmp_path: Path) -> None:
    """Tables of a version that this program does not know are left alone, and that is said."""
    place = PLACES[kind](tmp_path)
    async with open_ledger(place.url) as database, database.writer.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = 'ledger_9999'"))
    with pytest.raises(DatabaseError, match="newer version of Entasis Engine"):
        async with open_ledger(place.url):
            pass


async def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    """Tables are changed in one transaction: where it cannot be finished, the file is as it was."""
    with sqlite3.connect(tmp_path / "ledger.db") as file:
        file.execute("CREATE TABLE trades (mine TEXT)")
    file.close()
    with pytest.raises(DatabaseError, match=r"ledger\.db: .*trades already exists"):
        async with open_ledger(ledgers.sqlite(tmp_path).url):
            pass
    with sqlite3.connect(tmp_path / "ledger.db") as file:
        assert file.execute("SELECT name FROM sqlite_master").fetchall() == [("trades",)]
    file.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_readers_cannot_write(kind: str, tmp_path: Path) -> None:
    """The connections for reading refuse to write."""
    async with open_ledger(PLACES[kind](tmp_path).url) as database, database.reader.connect() as connection:
        with pytest.raises(DBAPIError, match=r"read-?only"):
            await connection.execute(text("DELETE FROM owners"))


async def test_sqlite_is_opened_for_what_must_not_be_lost(tmp_path: Path) -> None:
    """The file is a WAL that waits for the disk at every commit, with foreign keys on, and has one writer."""
    async with open_ledger(ledgers.sqlite(tmp_path).url) as database, database.writer.connect() as connection:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            assert (await connection.exec_driver_sql(f"PRAGMA {pragma}")).scalar_one() == value
        assert database.writer.pool.size() == 1  # type: ignore[attr-defined]


async def test_a_second_engine_on_a_file_is_refused(tmp_path: Path) -> None:
    """While one engine has the file open another is refused in words; afterwards it may have it."""
    url = ledgers.sqlite(tmp_path).url
    async with open_ledger(url):
        with pytest.raises(DatabaseError, match="Another engine"):
            async with open_ledger(url):
                pass
    async with open_ledger(url):
        pass


async def test_reads_go_by_an_index(tmp_path: Path) -> None:
    """No read for one owner looks through a whole table, nor sorts it."""
    plans: list[str] = []
    async with open_ledger(ledgers.sqlite(tmp_path).url) as database:
        store = SqlStore(database)
        statements: list[tuple[str, Any]] = []

        def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            if statement.startswith("SELECT"):
                statements.append((statement, parameters))

        async with working(store, new_id=CountedIds()) as desk:
            for _ in range(3):
                position = await _open(desk, price="10", idempotency=key("k"))
            event.listen(database.reader.sync_engine, "before_cursor_execute", note)
            event.listen(database.writer.sync_engine, "before_cursor_execute", note)
            await _open(desk, price="10", idempotency=key("j"))
            await desk.execute(close(position.id, "0.5", idempotency=key("c")))
            await store.holdings("acc_1")
            for statuses in (EVERY, {Status.OPEN}, ENDED):
                await store.positions("acc_1", statuses, 1, (await store.positions("acc_1", EVERY, 1)).next_token)
            await store.trades("acc_1", 1, (await store.trades("acc_1", 1)).next_token)
            await store.trades("acc_1", 1, position_id=position.id)
            await store.entries("acc_1", 1, (await store.entries("acc_1", 1)).next_token)
        assert len(statements) > 10
        async with database.reader.connect() as connection:
            for statement, parameters in statements:
                plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                plans += [f"{row.detail} in {statement}" for row in plan]
    assert [plan for plan in plans if "SCAN" in plan.split(" in ")[0] and "CONSTANT ROW" not in plan] == []
    assert [plan for plan in plans if plan.startswith("USE TEMP") and "owners" not in plan] == []


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "sqlite:///x.db",
        "sqlite+aiosqlite://",
        "postgresql://u:s3cret@h/d",
        "postgresql+asyncpg://u:s3cret@h",
    ],
)
async def test_a_url_that_cannot_be_used_is_an_error_in_words(url: str) -> None:
    """Whatever is neither is refused with the setting to mend and examples, and without its password."""
    with pytest.raises(DatabaseError, match=r"ENTASIS_LEDGER_URL must be .*sqlite\+aiosqlite.*postgresql") as raised:
        async with open_ledger(url):
            pass
    assert "s3cret" not in str(raised.value)


async def test_a_server_that_is_not_there_is_an_error_in_words() -> None:
    """Where nobody answers, the database is named, and the password is not."""
    with pytest.raises(DatabaseError, match=r"Cannot open the ledger's database ledger at 127\.0\.0\.1: .+") as raised:
        async with open_ledger("postgresql+asyncpg://u:s3cret@127.0.0.1:1/ledger"):
            pass
    assert "s3cret" not in str(raised.value)


async def test_a_database_that_is_not_there_is_an_error_in_words(tmp_path: Path) -> None:
    """Where the server does not know the database, it says so."""
    url = re.sub(r"/test_\d+", "/nowhere", ledgers.postgresql(tmp_path).url)
    with pytest.raises(DatabaseError, match=r"database nowhere at .*does not exist"):
        async with open_ledger(url):
            pass


async def test_a_server_that_is_gone_is_worth_another_try(tmp_path: Path) -> None:
    """While the server is down reads and commands are told to try again, and when it is back they work."""
    place = ledgers.postgresql(tmp_path)
    server = ledgers.shared_postgres()
    async with place.open() as store, working(store, new_id=CountedIds()) as desk:
        await desk.execute(deposit("1"))
        server.stop()
        try:
            for failing in (store.balances("acc_1"), desk.execute(deposit("1"))):
                with pytest.raises(LedgerUnavailableError):
                    await failing
        finally:
            server.start()
        assert (await desk.execute(deposit("1"))).free == {"USDT": Decimal(100_002)}
        assert (await store.balances("acc_1"))[AccountKind.FREE, "USDT"] == 100_002
        assert await store.check() == []


def test_ids_grow() -> None:
    """Ids sort by when they were made, in one millisecond too, and though the clock goes back; no two are alike."""
    clock = SetClock()
    new_id = SortableIds(clock)
    made = [new_id("pos") for _ in range(100)]
    clock.now += SECOND
    made.append(new_id("pos"))
    clock.now -= timedelta(hours=1)
    made += [new_id("pos") for _ in range(100)]
    assert made == sorted(set(made))
    assert {len(one) for one in made} == {30}
    assert all(one.startswith("pos_") for one in made)
    assert SortableIds(clock)("txn") != SortableIds(clock)("txn")
    assert SortableIds(clock, lambda _: 0)("trd") == "trd_01hsganxv80000000000000000"  # 2024-03-21T12:00:00Z
