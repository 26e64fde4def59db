"""Times: milliseconds since 1970 and their text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entasis_engine.times import from_milliseconds, isoformat, system_clock, to_milliseconds

LAST = to_milliseconds(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))


@given(st.integers(0, LAST))
def test_milliseconds_survive_the_way_there_and_back(milliseconds: int) -> None:
    """Every millisecond up to the year 9999 comes back as it was."""
    assert to_milliseconds(from_milliseconds(milliseconds)) == milliseconds


def test_milliseconds_are_exact_where_a_float_is_not() -> None:
    """A time far from 1970 keeps its millisecond."""
    assert from_milliseconds(253_402_300_799_001).microsecond == 1000


@pytest.mark.parametrize(("microseconds", "expected"), [(1999, 1), (1, 0), (-1, -1), (-1000, -1)])
def test_milliseconds_round_down(microseconds: int, expected: int) -> None:
    """A time between two milliseconds is the earlier one, before 1970 too."""
    assert to_milliseconds(from_milliseconds(0) + timedelta(microseconds=microseconds)) == expected


def test_another_zone_is_the_same_moment() -> None:
    """A time of another zone counts as the moment that it is."""
    seoul = datetime(2024, 3, 21, 18, 30, tzinfo=timezone(timedelta(hours=9)))
    assert to_milliseconds(seoul) == to_milliseconds(datetime(2024, 3, 21, 9, 30, tzinfo=UTC))


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (1_711_013_400_000, "2024-03-21T09:30:00Z"),
        (1_711_013_400_123, "2024-03-21T09:30:00.123Z"),
        (1_711_013_400_100, "2024-03-21T09:30:00.100Z"),
        (0, "1970-01-01T00:00:00Z"),
    ],
)
def test_text_has_a_fraction_only_where_there_is_one(milliseconds: int, text: str) -> None:
    """Whole seconds print without a fraction, others with three digits, and both end in Z."""
    assert isoformat(from_milliseconds(milliseconds)) == text


def test_the_system_clock_tells_whole_milliseconds_of_now() -> None:
    """The machine's clock is aware, in UTC, and kept to the millisecond."""
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    now = system_clock()
    assert before <= now <= datetime.now(UTC)
    assert now.tzinfo is UTC
    assert now.microsecond % 1000 == 0
