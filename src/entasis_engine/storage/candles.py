"""Closed candles on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import Field, SQLModel

from entasis_engine.exchanges.feed import Candle, Interval
from entasis_engine.storage.columns import ExactDecimal, UtcMilliseconds
from entasis_engine.storage.database import Database
from entasis_engine.storage.writes import finished


class CandleRow(SQLModel, table=True):
    """One closed candle. The primary key is what makes doubling impossible."""

    __tablename__ = "candles"

    source: str = Field(primary_key=True)
    symbol: str = Field(primary_key=True)
    interval: str = Field(primary_key=True)
    open_time: datetime = Field(primary_key=True, sa_type=UtcMilliseconds)
    open: Decimal = Field(sa_type=ExactDecimal)
    high: Decimal = Field(sa_type=ExactDecimal)
    low: Decimal = Field(sa_type=ExactDecimal)
    close: Decimal = Field(sa_type=ExactDecimal)
    volume: Decimal = Field(sa_type=ExactDecimal)


class CandleStore:
    """Closed candles by source, symbol, interval and open time. A candle, once stored, never changes.

    The source is part of it, so that a simulated market never passes for the history of a real one.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, source: str, candles: Sequence[tuple[str, Interval, Candle]]) -> None:
        """Store candles in one transaction; those already stored stay as they are."""
        if not candles:
            return
        await finished(self._insert([_row(source, *one) for one in candles]))

    async def _insert(self, rows: Sequence[dict[str, Any]]) -> None:
        async with self._database.writer.begin() as connection:
            await connection.execute(insert(CandleRow).on_conflict_do_nothing(), rows)

    @asynccontextmanager
    async def loading(self, source: str, symbol: str, interval: Interval) -> AsyncIterator[Loading]:
        """One transaction for candles that are brought in from elsewhere: all of it, or nothing where it fails."""
        async with self._database.writer.begin() as connection:
            yield Loading(connection, source, symbol, interval)

    async def read(
        self, source: str, symbol: str, interval: Interval, start: datetime, end: datetime, limit: int
    ) -> list[Candle]:
        """At most `limit` candles with an open time in `[start, end)`, oldest first."""
        statement = _within(select(*_OF_CANDLE), source, symbol, interval, start, end).limit(limit)
        async with self._database.reader.connect() as connection:
            return [Candle(*row) for row in await connection.execute(statement)]

    async def open_times(
        self, source: str, symbol: str, interval: Interval, start: datetime, end: datetime
    ) -> list[datetime]:
        """Open times in `[start, end)` of the candles that are stored, ascending."""
        statement = _within(select(_COLUMNS.open_time), source, symbol, interval, start, end)
        async with self._database.reader.connect() as connection:
            return list((await connection.execute(statement)).scalars())


class Loading:
    """A transaction on one series of candles. Unlike the engine, it may replace what is stored."""

    def __init__(self, connection: AsyncConnection, source: str, symbol: str, interval: Interval) -> None:
        self._connection = connection
        self._series = (source, symbol, interval)

    async def read(self, start: datetime, end: datetime) -> dict[datetime, Candle]:
        """What is stored in `[start, end)`, by open time."""
        statement = _within(select(*_OF_CANDLE), *self._series, start, end)
        return {row[0]: Candle(*row) for row in await finished(self._connection.execute(statement))}

    async def write(self, candles: Sequence[Candle]) -> None:
        """Store candles, in place of those of the same open time."""
        if not candles:
            return
        source, symbol, interval = self._series
        statement = insert(CandleRow)
        changed = {name: statement.excluded[name] for name in ("open", "high", "low", "close", "volume")}
        statement = statement.on_conflict_do_update(set_=changed, index_elements=list(_COLUMNS_OF_KEY))
        await finished(self._connection.execute(statement, [_row(source, symbol, interval, one) for one in candles]))


def _row(source: str, symbol: str, interval: Interval, candle: Candle) -> dict[str, Any]:
    return {
        "source": source,
        "symbol": symbol,
        "interval": interval.value,
        "open_time": candle.open_time,
        "open": candle.open,
        "high": candle.high,
        "low": candle.low,
        "close": candle.close,
        "volume": candle.volume,
    }


_COLUMNS = SQLModel.metadata.tables["candles"].columns
_OF_CANDLE = (_COLUMNS.open_time, _COLUMNS.open, _COLUMNS.high, _COLUMNS.low, _COLUMNS.close, _COLUMNS.volume)
_COLUMNS_OF_KEY = ("source", "symbol", "interval", "open_time")


def _within(
    statement: Select[Any], source: str, symbol: str, interval: Interval, start: datetime, end: datetime
) -> Select[Any]:
    return statement.where(
        _COLUMNS.source == source,
        _COLUMNS.symbol == symbol,
        _COLUMNS.interval == interval.value,
        _COLUMNS.open_time >= start,
        _COLUMNS.open_time < end,
    ).order_by(_COLUMNS.open_time)
