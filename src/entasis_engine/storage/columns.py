"""Column types that keep decimals exact and times aware, on every database."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, Numeric, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from entasis_engine.decimals import plain
from entasis_engine.times import from_milliseconds, to_milliseconds


class ExactDecimal(TypeDecorator[Decimal]):
    """A decimal with all its digits: as text on SQLite, where SQLAlchemy's `Numeric` would be a binary float, and as a
    `numeric` without a limit on PostgreSQL, which reckons with it exactly.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Numeric() if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return plain(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


class UtcMilliseconds(TypeDecorator[datetime]):
    """An aware UTC time as whole milliseconds since 1970: SQLite would give a naive one back."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return None if value is None else to_milliseconds(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else from_milliseconds(value)
