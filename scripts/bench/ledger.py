"""Opening positions: through the desk on SQLite and on PostgreSQL, beside bare sqlite3 doing the same statements.

    python -m scripts.bench.ledger

Many callers open at once, as gRPC calls would. The bare peer is one loop without rules, idempotency checks or callers:
for each position it inserts and updates the same rows and commits, on a file that waits for the disk as ours does.
PostgreSQL runs in processes of its own, whose CPU time is told apart. It is left out where it is not installed.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import uvloop
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable
from tests.support.postgres import PostgresMissingError, running_postgres

from entasis_engine.exchanges.feed import Instrument
from entasis_engine.portfolio.desk import Close, Desk, Idempotency, Open
from entasis_engine.portfolio.execution import Filled
from entasis_engine.portfolio.ids import SortableIds
from entasis_engine.portfolio.margin import Side
from entasis_engine.portfolio.positions import Limits
from entasis_engine.portfolio.sql import Base, SqlStore
from entasis_engine.storage.database import open_ledger
from entasis_engine.times import system_clock

CALLERS = 64
OPENS = 3_200
ROUNDS = 3
OWNERS = 64
INSTRUMENT = Instrument("BTC-USDT", Decimal("0.01"), Decimal("0.00001"), 2, "simulated", Decimal(20))
FILLED = Filled(Decimal("0.5"), Decimal("32716.05"))


class Figure(NamedTuple):
    """What opening came to."""

    opens_per_second: float
    cpu_us: float
    """CPU microseconds of our process for each."""
    server_cpu_us: float = 0.0
    """The same of the database's processes, where it has some."""


def measure(tick: Callable[[], None] = lambda: None) -> dict[str, Figure]:
    """Measure all in turns; the medians of the rounds count. `tick` is called after each of `ROUNDS`."""
    found: dict[str, list[Figure]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        places: dict[str, Callable[[int], tuple[str, Callable[[], float]]]] = {
            "sqlite": lambda number: (f"sqlite+aiosqlite:///{folder}/ours-{number}.db", lambda: 0.0)
        }
        try:
            server = stack.enter_context(running_postgres(durable=True))
            places["postgresql"] = lambda _: (server.new_database(), lambda: _server_cpu_seconds(server.pid))
        except PostgresMissingError as error:
            print(f"ledger: PostgreSQL left out: {error}", file=sys.stderr)
        for number in range(ROUNDS):
            for name, place in places.items():
                found.setdefault(name, []).append(uvloop.run(_ours(*place(number))))
            found.setdefault("bare sqlite3", []).append(_bare(folder / f"bare-{number}.db"))
            tick()
    return {name: Figure(*map(statistics.median, zip(*rounds, strict=True))) for name, rounds in found.items()}


async def _ours(url: str, server_cpu_seconds: Callable[[], float]) -> Figure:
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_ledger(url))
        limits = Limits(100, Decimal(10**12))
        paper = {"USDT": Decimal(10**9)}
        store = SqlStore(database)
        new_id = SortableIds(system_clock)
        desk = Desk(store, limits=limits, paper=paper, clock=system_clock, new_id=new_id)
        writing = asyncio.create_task(desk.write_forever())
        keys = iter(range(sys.maxsize))

        async def call(caller: int, opens: int) -> None:
            for _ in range(opens):
                receipt = await desk.execute(_command(caller, next(keys)))
                held[caller].append(receipt.position.id if receipt.position else "")

        held: list[list[str]] = [[] for _ in range(CALLERS)]
        await asyncio.gather(*(call(caller, 2) for caller in range(CALLERS)))  # makes owners, and prepares statements
        seconds = cpu = server_cpu = 0.0
        for _ in range(OPENS // CALLERS // 10):
            with _timed() as timed:
                before = server_cpu_seconds()
                await asyncio.gather(*(call(caller, 10) for caller in range(CALLERS)))
                server_cpu += server_cpu_seconds() - before
            seconds, cpu = seconds + timed[0], cpu + timed[1]
            # Not measured: owners hold few positions at a time, as people do.
            await asyncio.gather(*(desk.execute(_closing(who, name)) for who in range(CALLERS) for name in held[who]))
            for names in held:
                names.clear()
        if differences := await store.check():
            raise SystemExit(f"the ledger does not add up: {differences[:3]}")
        writing.cancel()
        await asyncio.wait([writing])
        opens = OPENS // CALLERS // 10 * 10 * CALLERS
        return Figure(opens / seconds, cpu / opens * 1e6, server_cpu / opens * 1e6)


def _command(caller: int, number: int) -> Open:
    return Open(
        owner=f"acc_{caller % OWNERS:012}",
        instrument=INSTRUMENT,
        side=Side.LONG,
        size=FILLED.size,
        fill=lambda _: FILLED,
        leverage=Decimal(3),
        fee_rate=Decimal("0.0005"),
        idempotency=Idempotency(f"request-{number}", b"d" * 32),
    )


def _closing(caller: int, position_id: str) -> Close:
    return Close(
        owner=f"acc_{caller % OWNERS:012}",
        position_id=position_id,
        fill=lambda size: Filled(size, FILLED.notional),
        lot=INSTRUMENT.lot_size,
        fee_rate=Decimal("0.0005"),
    )


def _bare(path: Path) -> Figure:
    """The same rows for each position, one commit each, by sqlite3 and nothing else."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for table in Base.metadata.sorted_tables:
            for made in (CreateTable(table), *map(CreateIndex, sorted(table.indexes, key=str))):
                connection.execute(str(made.compile(dialect=sqlite.dialect())))
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        new_id = SortableIds(system_clock)
        for number in range(OWNERS):
            owner = f"acc_{number:012}"
            connection.execute("INSERT INTO owners VALUES (?, ?)", (owner, 1711013400000))
            for kind, amount in (("free", "1000000000"), ("margin", "0")):
                connection.execute("INSERT INTO balances VALUES (?, ?, 'USDT', ?)", (owner, kind, amount))
        connection.execute("INSERT INTO owners VALUES ('house', NULL)")
        connection.execute("INSERT INTO balances VALUES ('house', 'fees', 'USDT', '0')")
        with _timed() as timed:
            for number in range(OPENS):
                connection.execute("BEGIN IMMEDIATE")
                for statement, rows in _rows(number, new_id):
                    connection.executemany(statement, rows)
                connection.execute("COMMIT")
        return Figure(OPENS / timed[0], timed[1] / OPENS * 1e6)


def _rows(number: int, new_id: Callable[[str], str]) -> list[tuple[str, list[tuple[Any, ...]]]]:
    owner, time_ms = f"acc_{number % OWNERS:012}", 1711013400000 + number
    position, transaction, trade = new_id("pos"), new_id("txn"), new_id("trd")
    moves = [
        (owner, "free", "-10921.70802500"),
        (owner, "margin", "10905.35"),
        ("house", "fees", "16.35802500"),
    ]
    opened = (position, owner, "BTC-USDT", "long", "0.5", "0.5", "32716.05", "32716.05", "3", "10905.35", "16.358025")
    traded = (trade, owner, position, transaction, "open", "BTC-USDT", "long", "0.5", "32716.05", "16.358025", "0")
    return [
        (_insert("positions"), [(*opened, time_ms, "0", "0", "open", None)]),
        (_insert("transactions"), [(transaction, "open", time_ms, position)]),
        (
            _insert("entries"),
            [
                (transaction, place, who, kind, "USDT", amount, time_ms)
                for place, (who, kind, amount) in enumerate(moves)
            ],
        ),
        (_insert("trades"), [(*traded, time_ms)]),
        (_insert("idempotency"), [(owner, f"request-{number}", b"d" * 32, b"a" * 900, time_ms)]),
        (
            "UPDATE balances SET amount = ? WHERE owner = ? AND kind = ? AND currency = 'USDT'",
            [(f"{number}.25", who, kind) for who, kind, _ in moves],
        ),
    ]


def _insert(table: str) -> str:
    columns = Base.metadata.tables[table].columns
    return f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 - a table of ours


@contextmanager
def _timed() -> Iterator[list[float]]:
    """Fills in seconds by the clock, and seconds of CPU of this process."""
    timed: list[float] = []
    began, cpu_began = time.perf_counter(), time.process_time()
    yield timed
    timed += [time.perf_counter() - began, time.process_time() - cpu_began]


def _server_cpu_seconds(pid: int) -> float:
    server = psutil.Process(pid)
    return sum(sum(one.cpu_times()[:2]) for one in (server, *server.children(recursive=True)))


def lines(figures: dict[str, Figure]) -> list[str]:
    """The figures as a table."""
    rows = [
        f"Opening a position, {CALLERS} callers at once; bare sqlite3 opens one after the other.",
        "",
        "| ledger | opens per second | CPU of the engine | CPU of the database's server |",
        "|---|---|---|---|",
    ]
    for name, one in figures.items():
        server = f"{one.server_cpu_us:.0f} µs" if one.server_cpu_us else "-"
        rows.append(f"| {name} | {one.opens_per_second:,.0f} | {one.cpu_us:.0f} µs | {server} |")
    return [*rows, ""]


def main() -> None:
    print("\n".join(lines(measure())))


if __name__ == "__main__":
    main()
