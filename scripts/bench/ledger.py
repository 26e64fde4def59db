"""Opening positions: through the desk, beside bare sqlite3 and pgbench doing the same to the same tables.

    python -m scripts.bench.ledger

Many callers open at once, as gRPC calls would. sqlite3 is one loop without rules, idempotency checks or callers: for
each position it inserts and updates the same rows and commits, on a file that waits for the disk as ours does. pgbench
has as many clients as we have callers, each with a connection of its own: its transaction is one opening, with what a
group of ours reads, locks and writes for it. All of them change the house's balance of fees, one after the other; so it
is measured without that row, too. PostgreSQL waits for the disk, and its processes' CPU time is told apart. It is left
out where it is not installed.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import uvloop
from sqlalchemy import make_url
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable
from tests.support.postgres import USER, Postgres, PostgresMissingError, running_postgres

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
OURS_SQLITE, PEER_SQLITE = "the desk on SQLite", "bare sqlite3"
OURS_POSTGRESQL, PEER_POSTGRESQL = "the desk on PostgreSQL", "pgbench"
PEER_WITHOUT_HOUSE = "pgbench, without the house's row"
FILLED = Filled(Decimal("0.5"), Decimal("32716.05"))


class Figure(NamedTuple):
    """What opening came to."""

    opens_per_second: float
    p99_ms: float
    """From asking to the answer, of 99 in 100 at most."""
    cpu_us: float = 0.0
    """CPU microseconds for each of the process that opens, where it is ours."""
    server_cpu_us: float = 0.0
    """The same of the database's processes, where it has some."""


def measure(tick: Callable[[], None] = lambda: None) -> dict[str, Figure]:
    """Measure all in turns; the medians of the rounds count. `tick` is called after each of `ROUNDS`."""
    found: dict[str, list[Figure]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ways: dict[str, Callable[[int], Figure]] = {
            OURS_SQLITE: lambda number: uvloop.run(_ours(f"sqlite+aiosqlite:///{folder}/ours-{number}.db")),
            PEER_SQLITE: lambda number: _bare(folder / f"bare-{number}.db"),
        }
        try:
            server = stack.enter_context(running_postgres(durable=True))
            ways[OURS_POSTGRESQL] = lambda _: uvloop.run(_ours(server.new_database(), server.pid))
            ways[PEER_POSTGRESQL] = lambda _: _pgbench(server, with_house=True)
            ways[PEER_WITHOUT_HOUSE] = lambda _: _pgbench(server, with_house=False)
        except PostgresMissingError as error:
            print(f"ledger: PostgreSQL left out: {error}", file=sys.stderr)
        for number in range(ROUNDS):
            for name, way in ways.items():
                found.setdefault(name, []).append(way(number))
            tick()
    return {name: Figure(*map(statistics.median, zip(*rounds, strict=True))) for name, rounds in found.items()}


async def _ours(url: str, server_pid: int | None = None) -> Figure:
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
                asked = time.perf_counter()
                receipt = await desk.execute(_command(caller, next(keys)))
                took.append(time.perf_counter() - asked)
                held[caller].append(receipt.position.id if receipt.position else "")

        took: list[float] = []
        held: list[list[str]] = [[] for _ in range(CALLERS)]
        await asyncio.gather(*(call(caller, 2) for caller in range(CALLERS)))  # makes owners, and prepares statements
        seconds = cpu = server_cpu = 0.0
        took.clear()
        for _ in range(OPENS // CALLERS // 10):
            with _timed() as timed:
                before = _server_cpu_seconds(server_pid)
                await asyncio.gather(*(call(caller, 10) for caller in range(CALLERS)))
                server_cpu += _server_cpu_seconds(server_pid) - before
            seconds, cpu = seconds + timed[0], cpu + timed[1]
            # Not measured: owners hold few positions at a time, as people do.
            await asyncio.gather(*(desk.execute(_closing(who, name)) for who in range(CALLERS) for name in held[who]))
            for names in held:
                names.clear()
        if differences := await store.check():
            raise SystemExit(f"the ledger does not add up: {differences[:3]}")
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing
        opens = len(took)
        return Figure(opens / seconds, _p99_ms(took), cpu / opens * 1e6, server_cpu / opens * 1e6)


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
        took: list[float] = []
        with _timed() as timed:
            for number in range(OPENS):
                began = time.perf_counter()
                connection.execute("BEGIN IMMEDIATE")
                for statement, rows in _rows(number, new_id):
                    connection.executemany(statement, rows)
                connection.execute("COMMIT")
                took.append(time.perf_counter() - began)
        return Figure(OPENS / timed[0], _p99_ms(took), timed[1] / OPENS * 1e6)


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


def _pgbench(server: Postgres, *, with_house: bool) -> Figure:
    """Each client opens for one owner, whose row it locks; ids grow, as ours do."""
    url = server.new_database()
    uvloop.run(_made(url))
    parsed = make_url(url)
    host, database = str(parsed.query["host"]), str(parsed.database)
    server.sql(_OWNERS, database)
    script = [line for line in _opening() if with_house or " = 'house'" not in line]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # pgbench runs as the server's user
        (folder / "opening.sql").write_text("\n".join(script))
        log = f"pgbench-{database}"
        asked = ["-h", host, "-U", USER, "-n", "-M", "prepared", "-c", str(CALLERS), "-j", "2"]
        asked += ["-t", str(OPENS // CALLERS), "-D", "number=0", "-f", str(folder / "opening.sql")]
        before = _server_cpu_seconds(server.pid)
        said = server.run("pgbench", *asked, "-l", "--log-prefix", log, database)
        cpu = _server_cpu_seconds(server.pid) - before
    per_second = re.search(r"tps = ([\d.]+) \(without initial connection time\)", said)
    if per_second is None or "number of failed transactions: 0 " not in said:
        raise SystemExit(f"pgbench: {said}")
    # A line for each transaction: client, number, microseconds, …
    took = [int(line.split()[2]) / 1e6 for file in Path(host).glob(f"{log}*") for line in file.open()]
    return Figure(float(per_second[1]), _p99_ms(took), 0.0, cpu / len(took) * 1e6)


async def _made(url: str) -> None:
    async with open_ledger(url):
        pass


_OWNERS = f"""
INSERT INTO owners SELECT 'acc_' || lpad(n::text, 12, '0'), 1711013400000 FROM generate_series(0, {CALLERS - 1}) AS n;
INSERT INTO balances SELECT id, 'free', 'USDT', 1000000000 FROM owners WHERE id <> 'house';
INSERT INTO balances SELECT id, 'margin', 'USDT', 0 FROM owners WHERE id <> 'house';
INSERT INTO balances VALUES ('house', 'fees', 'USDT', 0);
"""  # noqa: S608 - a number of ours


def _opening() -> list[str]:
    """A script of pgbench. Openings are numbered over all clients, so that their ids grow."""
    owner, time = "'acc_' || lpad(:client_id::text, 12, '0')", "1711013400000 + :id"
    position, transaction, trade = (f"'{kind}_' || lpad(:id::text, 26, '0')" for kind in ("pos", "txn", "trd"))
    request, filled = "'request-' || :id::text", "'BTC-USDT', 'long', 0.5"
    entries = [(owner, "free", "-10921.708025"), (owner, "margin", "10905.35"), ("'house'", "fees", "16.358025")]

    def read(table: str, which: str) -> str:
        return f"SELECT * FROM {table} WHERE {which};"  # noqa: S608 - conditions of ours

    def written(table: str, *values: str) -> str:
        return f"INSERT INTO {table} VALUES ({', '.join(values)});"  # noqa: S608 - values of ours

    def changed(owner: str, kind: str, amount: str) -> str:
        row = f"owner = {owner} AND kind = '{kind}' AND currency = 'USDT'"
        return f"UPDATE balances SET amount = amount + {amount} WHERE {row};"  # noqa: S608 - values of ours

    return [
        r"\set number :number + 1",
        rf"\set id :number * {CALLERS} + :client_id",
        "BEGIN;",
        # What a group reads to decide. Callers of ours hold no more than ten positions, either.
        read("owners", f"id = {owner} FOR NO KEY UPDATE"),
        read("balances", f"owner = {owner} AND kind IN ('free', 'margin')"),
        read("positions", f"owner = {owner} AND status = 'open' LIMIT 10"),
        read("idempotency", f"owner = {owner} AND key = {request}"),
        # What it writes.
        written(
            "positions",
            f"{position}, {owner}, {filled}, 0.5, 32716.05, 32716.05, 3, 10905.35, 16.358025, {time}, 0, 0",
            "'open', NULL",
        ),
        written("transactions", transaction, "'open'", time, position),
        *(
            written("entries", transaction, str(number), who, f"'{kind}', 'USDT'", amount, time)
            for number, (who, kind, amount) in enumerate(entries)
        ),
        written("trades", trade, owner, position, transaction, "'open'", filled, "32716.05, 16.358025, 0", time),
        written("idempotency", owner, request, "repeat('d', 32)::bytea, repeat('a', 900)::bytea", time),
        *(changed(*entry) for entry in entries[:2]),
        read("owners", "id = 'house' FOR NO KEY UPDATE"),
        read("balances", "owner = 'house' AND kind NOT IN ('free', 'margin')"),
        changed(*entries[2]),
        "COMMIT;",
    ]


def _p99_ms(took: list[float]) -> float:
    return statistics.quantiles(took, n=100)[98] * 1000


@contextmanager
def _timed() -> Iterator[list[float]]:
    """Fills in seconds by the clock, and seconds of CPU of this process."""
    timed: list[float] = []
    began, cpu_began = time.perf_counter(), time.process_time()
    yield timed
    timed += [time.perf_counter() - began, time.process_time() - cpu_began]


def _server_cpu_seconds(pid: int | None) -> float:
    """Of a server with all its processes, those that have ended too; 0 where there is none."""
    if pid is None:
        return 0.0
    server = psutil.Process(pid)
    return sum(server.cpu_times()[:4]) + sum(sum(one.cpu_times()[:2]) for one in server.children(recursive=True))


def lines(figures: dict[str, Figure]) -> list[str]:
    """The figures as a table."""
    rows = [
        "## Opening positions",
        "",
        f"{CALLERS} callers at once, each for an account of its own; sqlite3 opens one after the other. All wait for",
        "the disk. The desk keeps what waits as one transaction, with its rules and its checks of idempotency keys; a",
        "transaction of sqlite3 or pgbench is one opening. That of pgbench reads, locks and writes the rows that ours",
        "does, on a connection of each client's own.",
        "",
        "| | opens per second | p99, ms | µs of CPU of the process | … of PostgreSQL's |",
        "|---|---|---|---|---|",
    ]
    for name, one in figures.items():
        cpu, server_cpu = (f"{value:.0f}" if value else "-" for value in (one.cpu_us, one.server_cpu_us))
        rows.append(f"| {name} | {one.opens_per_second:,.0f} | {one.p99_ms:.1f} | {cpu} | {server_cpu} |")
    for ours, peer in (
        (OURS_SQLITE, PEER_SQLITE),
        (OURS_POSTGRESQL, PEER_POSTGRESQL),
        (OURS_POSTGRESQL, PEER_WITHOUT_HOUSE),
    ):
        if peer in figures:
            ratio = figures[ours].opens_per_second / figures[peer].opens_per_second
            rows.append(f"| ratio of opens per second to {peer} | {ratio:.2f} | | | |")
    return [*rows, ""]


def main() -> None:
    print("\n".join(lines(measure())))


if __name__ == "__main__":
    main()
