"""Predictions and their outcomes in the market's database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Index,
    Text,
    bindparam,
    delete,
    select,
    text,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

from entasis_engine.analysis.records import (
    Outcome,
    PredictedRange,
    Prediction,
    PredictionKey,
    PredictionsUnavailableError,
    Scored,
    Track,
)
from entasis_engine.decimals import plain
from entasis_engine.storage.columns import ExactDecimal, UtcMilliseconds
from entasis_engine.storage.database import UNREACHABLE, Database
from entasis_engine.storage.writes import finished

PAGE_ROWS = 100
"""Decoded at a time, which takes some 4 ms: other calls get their turn in between."""
RAW_PAGE_ROWS = 500
"""Read at a time, and decoded in a thread, which never keeps the event loop from its turn for longer than a page."""


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
_RAW: tuple[ColumnElement[Any], ...] = (
    *(type_coerce(_COLUMNS[name], BigInteger) for name in ("as_of", "due")),
    *(type_coerce(_COLUMNS[name], Text) for name in ("last_price", "prediction", "close")),
    *(_COLUMNS[name] for name in ("confidence", "band")),
    type_coerce(_COLUMNS.ranges, Text),
)
"""The columns of a `Track`, as they are on disk."""


class SqlPredictions:
    """A `PredictionStore` in the market's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, predictions: Sequence[Prediction]) -> None:
        if predictions:
            rows = [{name: getattr(one, name) for name in _NAMES} for one in predictions]
            await finished(self._execute_many(insert(PredictionRow).on_conflict_do_nothing(), rows))

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
        with _readable():
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
            await finished(self._execute_many(statement, rows))

    async def scored(
        self,
        source: str,
        symbol: str,
        timeframe: str | None,
        model: str | None,
        since: datetime,
        until: datetime,
        limit: int,
    ) -> list[Scored]:
        statement = select(*_FIELDS, _COLUMNS.close, _COLUMNS.score_time).where(
            _COLUMNS.source == source,
            _COLUMNS.symbol == symbol,
            _COLUMNS.as_of >= since,
            _COLUMNS.as_of <= until,
            _COLUMNS.close.is_not(None),
        )
        if timeframe is not None:
            statement = statement.where(_COLUMNS.timeframe == timeframe)
        if model is not None:
            statement = statement.where(_COLUMNS.model == model)
        statement = statement.order_by(_COLUMNS.as_of.desc(), *_KEY).limit(limit)
        found: list[Scored] = []
        with _readable():
            async with self._database.reader.connect() as connection:
                rows = await connection.execute(statement)
                while page := rows.fetchmany(PAGE_ROWS):
                    found.extend(Scored(_prediction(row), *row[len(_NAMES) :]) for row in page)
                    await asyncio.sleep(0)
        return found

    async def track(
        self, source: str, symbol: str, timeframe: str, model: str, since: datetime, until: datetime, limit: int
    ) -> Track:
        statement = (
            select(*_RAW)
            .where(
                _COLUMNS.source == source,
                _COLUMNS.symbol == symbol,
                _COLUMNS.timeframe == timeframe,
                _COLUMNS.model == model,
                _COLUMNS.as_of >= since,
                _COLUMNS.as_of <= until,
                _COLUMNS.close.is_not(None),
            )
            .order_by(_COLUMNS.as_of.desc(), _COLUMNS.version.desc())  # the primary key, backwards: nothing to sort
            .limit(limit)
        )
        parts: list[Track] = []
        with _readable():
            async with self._database.reader.connect() as connection, connection.stream(statement) as rows:
                async for page in rows.partitions(RAW_PAGE_ROWS):
                    parts.append(await asyncio.to_thread(_track, page))
        parts.reverse()
        return Track.joined(parts)

    async def purge(self, source: str, before: datetime, limit: int) -> int:
        oldest = (
            select(*_KEY)
            .where(_COLUMNS.source == source, _COLUMNS.due < before)
            .order_by(_COLUMNS.due, *_KEY)
            .limit(limit)
        )
        return await finished(self._delete(delete(_TABLE).where(tuple_(*_KEY).in_(oldest))))

    async def _execute_many(self, statement: Any, rows: Sequence[dict[str, Any]]) -> None:
        async with self._database.writer.begin() as connection:
            await connection.execute(statement, rows)

    async def _delete(self, statement: Any) -> int:
        async with self._database.writer.begin() as connection:
            return int((await connection.execute(statement)).rowcount)


def _prediction(row: Iterable[Any]) -> Prediction:
    return Prediction(**dict(zip(_NAMES, row, strict=False)))


def _track(newest_first: Sequence[Any]) -> Track:
    as_of, due, last_price, prediction, close, confidence, band, ranges = zip(*reversed(newest_first), strict=True)
    levels = json.loads(f"[{','.join(ranges)}]")
    return Track.from_columns(as_of, due, last_price, prediction, close, confidence, band, levels)


@contextmanager
def _readable() -> Iterator[None]:
    """Raises `PredictionsUnavailableError` where reading fails."""
    try:
        yield
    except (SQLAlchemyError, *UNREACHABLE) as error:
        raise PredictionsUnavailableError("predictions cannot be read") from error
