"""Opening the database. On SQLite exactly one connection writes, and readers cannot.

SQLite before 3.51.3 may lose commits when two connections write or checkpoint one WAL file, and the Python that most
machines have brings such a version.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel import SQLModel

try:
    import fcntl
except ImportError:  # on Windows, where one engine a file is up to the operator
    fcntl = None  # type: ignore[assignment]

READERS_MAX = 4
BUSY_TIMEOUT_SECONDS = 5.0


class DatabaseError(Exception):
    """The database cannot be used. The text says why."""


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
    file = _file_of(url)
    with _sole_owner(file):
        async with _opened(file) as database:
            yield database


@contextmanager
def _sole_owner(file: Path) -> Iterator[None]:
    """Holds a lock beside the file while it is open here; the system frees it however the process ends."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.with_name(f"{file.name}.lock").open("a")
    except OSError as error:
        raise DatabaseError(
            f"Cannot keep the database in {file.parent}: {error.strerror}. Choose another folder: ENTASIS_DATA_DIR."
        ) from None
    with lock:
        if fcntl is not None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise DatabaseError(
                    f"Another engine has {file} open. End it, or give this one a folder of its own: ENTASIS_DATA_DIR."
                ) from None
        yield


@asynccontextmanager
async def _opened(file: Path) -> AsyncIterator[Database]:
    writer = _connections(str(file), at_most=1)
    event.listen(writer.sync_engine, "connect", _prepare_writer)
    try:
        try:
            async with writer.begin() as connection:
                await connection.run_sync(SQLModel.metadata.create_all)
        except SQLAlchemyError as error:
            raise DatabaseError(f"Cannot open the database {file}: {getattr(error, 'orig', None) or error}.") from error
        reader = _connections(file.as_uri(), at_most=READERS_MAX, mode="ro", uri="true")
        try:
            yield Database(writer, reader)
        finally:
            await reader.dispose()
    finally:
        await writer.dispose()


def _file_of(url: str) -> Path:
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = URL.create("unreadable")
    if parsed.drivername != "sqlite+aiosqlite" or not parsed.database or parsed.database == ":memory:":
        raise DatabaseError(
            "ENTASIS_DATABASE_URL must be a SQLite file (sqlite+aiosqlite:///path/to/file.db), "
            f"not '{_without_password(url)}'."
        )
    return Path(parsed.database).absolute()


def _without_password(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "…"  # what cannot be read cannot be rid of its password


def _connections(database: str, *, at_most: int, **query: str) -> AsyncEngine:
    return create_async_engine(
        URL.create("sqlite+aiosqlite", database=database, query=query),
        pool_size=at_most,
        max_overflow=0,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS},
    )


def _prepare_writer(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # A candle lost at power loss is fetched or folded again at the next start, so it need not wait for the disk.
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
