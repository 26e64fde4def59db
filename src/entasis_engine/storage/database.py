"""Opening databases: the market's, and the ledger's. On SQLite exactly one connection writes, and readers cannot.

SQLite before 3.51.3 may lose commits when two connections write or checkpoint one WAL file, and the Python that most
machines have brings such a version.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import asyncpg
from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel import SQLModel

from entasis_engine.storage import migrations

try:
    import fcntl
except ImportError:  # on Windows, where one engine a file is up to the operator
    fcntl = None  # type: ignore[assignment]

READERS_MAX = 4
OWNER_WAIT_SECONDS = 0.25
"""How long to ask for a file that is taken: whoever looks whether it is, as `entasis doctor` does, has it meanwhile."""
OWNER_RETRY_SECONDS = 0.01
BUSY_TIMEOUT_SECONDS = 5.0
CONNECT_TIMEOUT_SECONDS = 5.0
READ_TIMEOUT_SECONDS = 10.0
"""Of one statement that reads on PostgreSQL; a server that says nothing any more holds its callers no longer."""

# Of the ledger's writer on PostgreSQL. An engine that stops in mid-transaction, or a network that goes, must not hold
# the locks of its owners for ever.
LOCK_TIMEOUT_SECONDS = 5
IDLE_TRANSACTION_SECONDS_MAX = 15

SQLITE = "sqlite+aiosqlite"
POSTGRESQL = "postgresql+asyncpg"

UNREACHABLE = (OSError, PoolTimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What it raises, beside errors of SQLAlchemy, where there is no connection to be had."""


class DatabaseError(Exception):
    """The database cannot be used. The text says why."""


class DatabaseBusyError(DatabaseError):
    """Another process has the database's file open to write."""


@dataclass(frozen=True)
class Database:
    """A database with its tables made."""

    writer: AsyncEngine
    """One connection, so that writes queue here instead of failing as busy."""
    reader: AsyncEngine
    """Connections that can only read."""


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    """Open the database at a SQLAlchemy URL, make what tables it lacks, and close it at the end.

    Raises `DatabaseError` where it cannot be opened.
    """
    file = database_file(url)
    with _sole_owner(file):
        # A candle lost at power loss is fetched or folded again at the next start, so it need not wait for the disk.
        async with _opened_file(file, _prepare_with("NORMAL"), SQLModel.metadata.create_all) as database:
            yield database


@asynccontextmanager
async def open_to_read(url: str) -> AsyncIterator[Database | None]:
    """The database at a SQLAlchemy URL, to read alone, which an engine may have open; None where there is no file.

    Raises `DatabaseError` where the URL is of no use.
    """
    file = database_file(url)
    if not file.is_file():
        yield None
        return
    reader = _connections(file.as_uri(), at_most=READERS_MAX, mode="ro", uri="true")
    async with _disposing(reader):
        yield Database(reader, reader)  # neither can write


def is_owned(file: Path) -> bool:
    """Whether an engine, or another program of ours that writes, has a SQLite file open."""
    lock = _lock_of(file)
    if fcntl is None or not lock.exists():
        return False
    with lock.open() as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


@asynccontextmanager
async def open_ledger(url: str) -> AsyncIterator[Database]:
    """Open the ledger's database at a SQLAlchemy URL, bring its tables up to date, and close it at the end.

    A SQLite file has one owner. A PostgreSQL database may be open in any number of engines, and whichever comes first
    changes the tables.

    Raises `DatabaseError` where it cannot be opened.
    """
    parsed = _parsed(url)
    if parsed.drivername == POSTGRESQL and parsed.database:
        async with _opened_server(parsed) as database:
            yield database
    elif (file := _sqlite_file(parsed)) is not None:
        with _sole_owner(file):
            async with _opened_file(
                file, _prepare_ledger_writer, migrations.upgrade, begin="BEGIN IMMEDIATE"
            ) as database:
                yield database
    else:
        raise DatabaseError(
            f"ENTASIS_LEDGER_URL must be a SQLite file ({SQLITE}:///path/to/file.db) or a PostgreSQL database "
            f"({POSTGRESQL}://user:password@host/name), not '{_without_password(url)}'."
        )


@contextmanager
def _sole_owner(file: Path) -> Iterator[None]:
    """Holds a lock beside the file while it is open here; the system frees it however the process ends."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock_of(file).open("a")
    except OSError as error:
        raise DatabaseError(
            f"Cannot keep the database in {file.parent}: {error.strerror}. Choose another folder: ENTASIS_DATA_DIR."
        ) from None
    with lock:
        if not _locked(lock):
            raise DatabaseBusyError(
                f"Another engine or backfill has {file} open. End it, or give this one a folder of its own: "
                "ENTASIS_DATA_DIR."
            )
        yield


def _locked(lock: IO[str]) -> bool:
    """Lock an open file, unless another process has it for longer than a look takes."""
    if fcntl is None:
        return True
    deadline = time.monotonic() + OWNER_WAIT_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(OWNER_RETRY_SECONDS)  # at a start alone, when there is nothing else to do
        else:
            return True


def _lock_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.lock")


@asynccontextmanager
async def _opened_file(
    file: Path,
    prepare: Callable[[Any, Any], None],
    make_tables: Callable[[Connection], None],
    *,
    begin: str | None = None,
) -> AsyncIterator[Database]:
    """Open a SQLite file.

    Args:
        prepare: what to do to a new connection that writes.
        make_tables: is given that connection, in a transaction.
        begin: how transactions of the writer begin, where the driver is not to guess.
    """
    writer = _connections(str(file), at_most=1)
    event.listen(writer.sync_engine, "connect", prepare)
    if begin is not None:
        event.listen(writer.sync_engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    async with _disposing(writer):
        try:
            async with writer.begin() as connection:
                await connection.run_sync(make_tables)
        except migrations.NewerError:
            raise DatabaseError(f"{file} {_NEWER}") from None
        except SQLAlchemyError as error:
            raise DatabaseError(f"Cannot open the database {file}: {getattr(error, 'orig', None) or error}.") from error
        reader = _connections(file.as_uri(), at_most=READERS_MAX, mode="ro", uri="true")
        async with _disposing(reader):
            yield Database(writer, reader)


@asynccontextmanager
async def _opened_server(url: URL) -> AsyncIterator[Database]:
    named = f"the ledger's database {url.database} at {url.host or url.query.get('host') or 'its server'}"
    writer = _server_connections(
        url,
        at_most=1,
        lock_timeout=f"{LOCK_TIMEOUT_SECONDS}s",
        idle_in_transaction_session_timeout=f"{IDLE_TRANSACTION_SECONDS_MAX}s",
        # An operator may have chosen others for all. What is acknowledged must be on the disk; and whoever waited for a
        # lock must then see what was done meanwhile, which in a transaction that looks at one moment it would not.
        synchronous_commit="on",
        default_transaction_isolation="read committed",
    )
    async with _disposing(writer):
        try:
            async with writer.begin() as connection:
                await connection.run_sync(migrations.upgrade)
        except migrations.NewerError:
            raise DatabaseError(f"{named[0].upper()}{named[1:]} {_NEWER}") from None
        except (SQLAlchemyError, *UNREACHABLE) as error:
            cause = getattr(error, "orig", None) or error
            reason = str(getattr(cause, "__cause__", None) or cause) or type(cause).__name__
            raise DatabaseError(f"Cannot open {named}: {reason}. See ENTASIS_LEDGER_URL.") from error
        reader = _server_connections(
            url, at_most=READERS_MAX, command_timeout=READ_TIMEOUT_SECONDS, default_transaction_read_only="on"
        )
        async with _disposing(reader):
            yield Database(writer, reader)


@asynccontextmanager
async def _disposing(engine: AsyncEngine) -> AsyncIterator[None]:
    """Close the connections at the end, whatever happened."""
    try:
        yield
    finally:
        await engine.dispose()


_NEWER = "was made by a newer version of Entasis Engine. Use that version."


def database_file(url: str) -> Path:
    """The file of the market's database. Raises `DatabaseError` where the URL names none."""
    file = _sqlite_file(_parsed(url))
    if file is None:
        raise DatabaseError(
            f"ENTASIS_DATABASE_URL must be a SQLite file ({SQLITE}:///path/to/file.db), not '{_without_password(url)}'."
        )
    return file


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError:
        return URL.create("unreadable")


def _sqlite_file(url: URL) -> Path | None:
    if url.drivername != SQLITE or not url.database or url.database == ":memory:":
        return None
    return Path(url.database).absolute()


def _without_password(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "…"  # what cannot be read cannot be rid of its password


def _connections(database: str, *, at_most: int, **query: str) -> AsyncEngine:
    return create_async_engine(
        URL.create(SQLITE, database=database, query=query),
        pool_size=at_most,
        max_overflow=0,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS},
    )


def _server_connections(
    url: URL, *, at_most: int, command_timeout: float | None = None, **server_settings: str
) -> AsyncEngine:
    """Connections to PostgreSQL. Where a statement takes longer than `command_timeout` seconds, it raises
    `TimeoutError`, which is among `UNREACHABLE`.
    """
    return create_async_engine(
        url,
        pool_size=at_most,
        max_overflow=0,
        connect_args={
            "timeout": CONNECT_TIMEOUT_SECONDS,
            "command_timeout": command_timeout,
            "server_settings": server_settings,
        },
        hide_parameters=True,  # of statements, in errors: they tell what owners have
    )


def _prepare_with(synchronous: str) -> Callable[[Any, Any], None]:
    def prepare(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={synchronous}")
        cursor.close()

    return prepare


def _prepare_ledger_writer(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say so, even those that change tables
    _prepare_with("FULL")(connection, record)  # what was acknowledged is on the disk
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
