"""Predictions and their outcomes in the market's database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from sqlalchemy import Index, Text, bindparam, delete, select, text, tuple_, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

from entasis_engine.analysis.records import Outcome, PredictedRange, Prediction, PredictionKey, Scored
from entasis_engine.decimals import plain
from entasis_engine.storage.columns import ExactDecimal, UtcMilliseconds
from entasis_engine.storage.database import Database

PAGE_ROWS = 100
"""Decoded at a time, which takes some 4 ms: other calls get their turn in between."""

_Result = TypeVar("_Result")


class _Ranges(TypeDecorator[tuple[PredictedRange, ...]]):
    """As JSON: `[[0.5,"64900","65100"],…]`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[PredictedRange, ...] | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return json.dumps([[one.level, plain(one.low), plain(one.high)] for one in value], separators=(",", ":"))

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[PredictedRange, ...] | None:
        if value is None:
            return None
        return tuple(PredictedRange(level, Decimal(low), Decimal(high)) for level, low, high in json.loads(value))


class PredictionRow(SQLModel, table=True):
    """One prediction. The primary key is what makes doubling impossible."""

    __tablename__ = "predictions"
    __table_args__ = (
        Index("predictions_waiting", "source", "due", sqlite_where=text("score_time IS NULL")),
        Index("predictions_due", "due"),
    )

    source: str = Field(primary_key=True)
    symbol: str = Field(primary_key=True)
    timeframe: str = Field(primary_key=True)
    model: str = Field(primary_key=True)
    as_of: datetime = Field(primary_key=True, sa_type=UtcMilliseconds)
    version: str = Field(primary_key=True)
    due: datetime = Field(sa_type=UtcMilliseconds)
    last_price: Decimal = Field(sa_type=ExactDecimal)
    prediction: Decimal = Field(sa_type=ExactDecimal)
    ranges: str = Field(sa_type=_Ranges)
    band: float
    confidence: float
    sigma: float
    close: Decimal | None = Field(default=None, sa_type=ExactDecimal)
    """None with a `score_time` is void: no candle came."""
    score_time: datetime | None = Field(default=None, sa_type=UtcMilliseconds)


_TABLE = SQLModel.metadata.tables["predictions"]
_COLUMNS = _TABLE.columns
_NAMES = (
    "source",
    "symbol",
    "timeframe",
    "model",
    "as_of",
    "version",
    "due",
    "last_price",
    "prediction",
    "ranges",
    "band",
    "confidence",
    "sigma",
)
"""The columns of a prediction, which are called as its fields."""
_KEY = tuple(_COLUMNS[name] for name in PredictionKey._fields)
_FIELDS = tuple(_COLUMNS[name] for name in _NAMES)


class SqlPredictions:
    """A `PredictionStore` in the market's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, predictions: Sequence[Prediction]) -> None:
        if predictions:
            rows = [{name: getattr(one, name) for name in _NAMES} for one in predictions]
            await _finished(self._execute_many(insert(PredictionRow).on_conflict_do_nothing(), rows))

    async def due(self, source: str, now: datetime, limit: int, *, after: Prediction | None = None) -> list[Prediction]:
        order = (_COLUMNS.due, *_KEY)
        statement = select(*_FIELDS).where(
            _COLUMNS.source == source, _COLUMNS.due <= now, _COLUMNS.score_time.is_(None)
        )
        if after is not None:
            last = [
                bindparam(None, value, type_=column.type)
                for column, value in zip(order, (after.due, *after.key), strict=True)
            ]
            statement = statement.where(tuple_(*order) > tuple_(*last))
        async with self._database.reader.connect() as connection:
            return [_prediction(row) for row in await connection.execute(statement.order_by(*order).limit(limit))]

    async def score(self, outcomes: Sequence[Outcome], at: datetime) -> None:
        if outcomes:
            statement = (
                update(_TABLE)
                .where(*(column == bindparam(f"its_{column.name}", type_=column.type) for column in _KEY))
                .where(_COLUMNS.score_time.is_(None))
                .values(close=bindparam("its_close"), score_time=at)
            )
            rows = [
                {f"its_{name}": value for name, value in key._asdict().items()} | {"its_close": close}
                for key, close in outcomes
            ]
            await _finished(self._execute_many(statement, rows))

    async def scored(
        self, source: str, symbol: str, timeframe: str | None, model: str | None, since: datetime, limit: int
    ) -> list[Scored]:
        statement = select(*_FIELDS, _COLUMNS.close, _COLUMNS.score_time).where(
            _COLUMNS.source == source,
            _COLUMNS.symbol == symbol,
            _COLUMNS.as_of >= since,
            _COLUMNS.close.is_not(None),
        )
        if timeframe is not None:
            statement = statement.where(_COLUMNS.timeframe == timeframe)
        if model is not None:
            statement = statement.where(_COLUMNS.model == model)
        statement = statement.order_by(_COLUMNS.as_of.desc(), *_KEY).limit(limit)
        found: list[Scored] = []
        async with self._database.reader.connect() as connection:
            rows = await connection.execute(statement)
            while page := rows.fetchmany(PAGE_ROWS):
                found.extend(Scored(_prediction(row), *row[len(_NAMES) :]) for row in page)
                await asyncio.sleep(0)
        return found

    async def purge(self, before: datetime, limit: int) -> int:
        oldest = select(*_KEY).where(_COLUMNS.due < before).order_by(_COLUMNS.due, *_KEY).limit(limit)
        return await _finished(self._delete(delete(_TABLE).where(tuple_(*_KEY).in_(oldest))))

    async def _execute_many(self, statement: Any, rows: Sequence[dict[str, Any]]) -> None:
        async with self._database.writer.begin() as connection:
            await connection.execute(statement, rows)

    async def _delete(self, statement: Any) -> int:
        async with self._database.writer.begin() as connection:
            return int((await connection.execute(statement)).rowcount)


def _prediction(row: Iterable[Any]) -> Prediction:
    return Prediction(**dict(zip(_NAMES, row, strict=False)))


async def _finished(writing: Awaitable[_Result]) -> _Result:
    """Wait for a write to its end, even when cancelled: otherwise its connection, and so the database, stays locked."""
    task = asyncio.ensure_future(writing)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # whoever cancels is told nothing else, even if the write failed
        raise
