"""Aware UTC times, kept to the millisecond: the resolution that the contract promises and the database stores."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

Clock = Callable[[], datetime]
"""Tells the time, in UTC."""

Monotonic = Callable[[], float]
"""Tells seconds that only ever grow; good for ages and deadlines, not for dates."""


def system_clock() -> datetime:
    """The machine's time, rounded down to the millisecond."""
    return from_milliseconds(time.time_ns() // 1_000_000)


def from_milliseconds(milliseconds: int) -> datetime:
    """The time that many milliseconds after 1970-01-01T00:00:00Z; exact, unlike `datetime.fromtimestamp`."""
    return EPOCH + timedelta(milliseconds=milliseconds)


def to_milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970-01-01T00:00:00Z, rounded down."""
    return (moment - EPOCH) // MILLISECOND


def isoformat(moment: datetime) -> str:
    """RFC 3339 with `Z`: whole seconds without a fraction, others with three digits."""
    text = moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")
