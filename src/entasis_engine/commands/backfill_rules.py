"""What backfilling goes by: which candles may be stored, what is new about them, and what is still to be asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

from entasis_engine.exchanges.feed import Candle, Interval
from entasis_engine.market.candles import open_time_of
from entasis_engine.times import isoformat

DIGITS_MAX = 18
"""On either side of the point. What an exchange gives is bounded as what a file holds is."""
EXAMPLES_MAX = 3
"""Conflicts that are told one by one."""


class Conflicts(StrEnum):
    """What to do where another candle is stored for the same time."""

    KEEP = "keep"
    REPLACE = "replace"
    STOP = "stop"


class BadCandleError(Exception):
    """A candle that must not be stored. The text says where it is, and why."""


class ConflictError(Exception):
    """Another candle is stored, and conflicts are to end the command. The text tells both."""


def checked(
    numbered: Iterable[tuple[int, Candle]], interval: Interval, now: datetime, where: str
) -> Iterator[tuple[int, Candle]]:
    """Candles in order, aligned to their interval and over.

    Args:
        numbered: each with its line, or its position; prices and volumes are checked where they are read.
        where: what the number counts, such as `btcusdt-1h.csv, line`.

    Raises:
        BadCandleError: one is not so.
    """
    before: datetime | None = None
    for number, candle in numbered:
        opened = candle.open_time
        if fault := _fault(candle, before, interval, now):
            raise BadCandleError(f"{where} {number}: the candle of {isoformat(opened)} {fault}")
        before = opened
        yield number, candle


def _fault(candle: Candle, before: datetime | None, interval: Interval, now: datetime) -> str:  # noqa: PLR0911 - each
    opened = candle.open_time
    if opened > now:
        return "opens in the future; is its time in UTC?"
    if not all(map(_is_bounded, (candle.open, candle.high, candle.low, candle.close, candle.volume))):
        return f"has a number with more than {DIGITS_MAX} digits before or after the point."
    if not 0 < candle.low <= min(candle.open, candle.close) <= max(candle.open, candle.close) <= candle.high:
        return "has prices that cannot be: low ≤ open, close ≤ high, all above 0."
    if candle.volume < 0:
        return "has a volume below 0."
    if opened != open_time_of(opened, interval):
        return f"does not open at a whole {interval.value}; is the interval another one?"
    if before is not None and opened <= before:
        return f"comes after that of {isoformat(before)}; put the lines in order, each time once."
    if opened + interval.length > now:
        return f"is not over before {isoformat(opened + interval.length)}; stored candles are final, so leave it out."
    return ""


def _is_bounded(number: Decimal) -> bool:
    """Whether it is a number with no more digits on either side of the point than are permitted."""
    exponent = number.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -DIGITS_MAX and (not number or number.adjusted() < DIGITS_MAX)


@dataclass
class Tally:
    """What became of the candles of one series so far."""

    symbol: str
    interval: Interval
    new: int = 0
    same: int = 0
    """Stored already, with equal figures."""
    conflicting: int = 0
    """Stored already, with others."""
    absent: int = 0
    """Of the time asked for, what the exchange does not have; in a file, what is missing between its first and last."""
    first: datetime | None = None
    last: datetime | None = None
    examples: list[tuple[Candle, Candle]] = field(default_factory=list)
    """Some of the conflicts: the one that is stored, and the other."""

    def saw(self, candles: Sequence[Candle]) -> None:
        """Note the span of candles, which come in order."""
        if candles:
            opened, last = candles[0].open_time, candles[-1].open_time
            self.first = opened if self.first is None else min(self.first, opened)
            self.last = last if self.last is None else max(self.last, last)


def take(candles: Sequence[Candle], stored: Mapping[datetime, Candle], how: Conflicts, tally: Tally) -> list[Candle]:
    """The candles to write, given those that are stored; all are counted.

    Raises:
        ConflictError: there is a conflict, and conflicts are to stop it.
    """
    tally.saw(candles)
    to_write = []
    for candle in candles:
        known = stored.get(candle.open_time)
        if known is None:
            tally.new += 1
            to_write.append(candle)
        elif known == candle:  # decimals are equal by value: 1.10 is 1.1
            tally.same += 1
        else:
            tally.conflicting += 1
            if how is Conflicts.STOP:
                raise ConflictError(f"{tally.symbol} {tally.interval.value}: {told(known, candle)}")
            if how is Conflicts.REPLACE:
                to_write.append(candle)
            if len(tally.examples) < EXAMPLES_MAX:
                tally.examples.append((known, candle))
    return to_write


def told(stored: Candle, given: Candle) -> str:
    """A conflict in words."""
    names = ("open", "high", "low", "close", "volume")
    differences = [
        f"{name} {getattr(stored, name)} is stored, {getattr(given, name)} given"
        for name in names
        if getattr(stored, name) != getattr(given, name)
    ]
    return f"at {isoformat(stored.open_time)} {'; '.join(differences)}"


def missing_between(first: datetime, last: datetime, count: int, interval: Interval) -> int:
    """How many candles are missing of those that `[first, last]` could hold, where `count` are there."""
    return (last - first) // interval.length + 1 - count


def pages(
    ranges: Iterable[tuple[datetime, datetime]], interval: Interval, size: int
) -> Iterator[tuple[datetime, datetime]]:
    """Half-open ranges in parts of at most `size` candles."""
    for start, end in ranges:
        at = start
        while at < end:
            following = min(at + size * interval.length, end)
            yield at, following
            at = following


def moment_of(text: str) -> datetime:
    """A date, which is its midnight in UTC, or an ISO 8601 time; without a zone it is UTC. Raises ValueError."""
    found = datetime.fromisoformat(text)
    try:
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except OverflowError:  # within hours of the first or the last time that there is
        raise ValueError(text) from None


def rounded_up(moment: datetime, interval: Interval) -> datetime:
    """The first time from `moment` on at which a candle opens; at the end of all times the last one before it."""
    opened = open_time_of(moment, interval)
    try:
        return opened if opened == moment else opened + interval.length
    except OverflowError:
        return opened
