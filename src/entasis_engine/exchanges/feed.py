"""What a source of market data gives: immutable events, and closed candles of the past.

A feed knows its exchange's protocol and nothing of what is done with the data. Every price and size is a `Decimal`,
every time an aware UTC `datetime` of whole milliseconds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

import msgspec


class Interval(StrEnum):
    """Lengths of a candle."""

    MINUTE = "1m"
    FIVE_MINUTES = "5m"
    HOUR = "1h"
    DAY = "1d"

    @property
    def length(self) -> timedelta:
        return _LENGTHS[self]


_LENGTHS = {
    Interval.MINUTE: timedelta(minutes=1),
    Interval.FIVE_MINUTES: timedelta(minutes=5),
    Interval.HOUR: timedelta(hours=1),
    Interval.DAY: timedelta(days=1),
}


class Instrument(msgspec.Struct, frozen=True):
    """What can be traded, and in which steps."""

    symbol: str
    """`BASE-QUOTE` in capitals."""
    tick_size: Decimal
    """Smallest step of a price, in quote currency."""
    lot_size: Decimal
    """Smallest step of a size, in base currency."""
    quote_scale: int
    """Digits after the point that prices print with at least."""
    exchange: str
    max_leverage: Decimal = Decimal(1)

    @property
    def base_currency(self) -> str:
        return self.symbol.partition("-")[0]

    @property
    def quote_currency(self) -> str:
        return self.symbol.partition("-")[2]


class Candle(msgspec.Struct, frozen=True):
    """What was traded in the half-open range `[open_time, open_time + interval)`."""

    open_time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    """In base currency."""


Level = tuple[Decimal, Decimal]
"""Price in quote currency and size in base currency."""


class Trade(msgspec.Struct, frozen=True):
    """One trade. The exchange's own order is the order in which a feed gives them."""

    symbol: str
    trade_id: int
    """The exchange's number, growing within a symbol."""
    price: Decimal
    size: Decimal
    taker_buys: bool
    """True where the buyer took a resting ask."""
    time: datetime


class BookSnapshot(msgspec.Struct, frozen=True):
    """A whole order book as of `update_id`; it replaces whatever was known."""

    symbol: str
    update_id: int
    bids: Sequence[Level]
    asks: Sequence[Level]
    time: datetime


class BookDelta(msgspec.Struct, frozen=True):
    """Levels that changed since the update before, each with its new size; a size of 0 removes the level.

    A feed gives deltas only without gaps, and after a `BookSnapshot`; where it misses one it gives a new snapshot.
    """

    symbol: str
    update_id: int
    bids: Sequence[Level]
    asks: Sequence[Level]
    time: datetime


class Connected(msgspec.Struct, frozen=True):
    """From `time` on, every trade of `symbol` is given. Candles that open before it are not covered."""

    symbol: str
    time: datetime


class Disconnected(msgspec.Struct, frozen=True):
    """Trades of `symbol` may be missing from now on, until the next `Connected`; its book is no longer valid."""

    symbol: str
    time: datetime


Event = Trade | BookSnapshot | BookDelta | Connected | Disconnected


class FeedError(Exception):
    """The exchange could not be reached, or answered what cannot be used. The text is for the log, not for callers."""


class Feed(Protocol):
    """A source of market data. One reader; made, read to its end or closed, and not used again."""

    exchange: str
    """Name in lower case, as callers see it."""
    source: str
    """What its history is kept under: feeds that give the same candles may share it, others must not."""

    async def instruments(self) -> Sequence[Instrument]:
        """What the feed gives events of. Raises `FeedError`."""
        ...

    def events(self) -> AsyncIterator[Sequence[Event]]:
        """Events in the order of the exchange, in batches of what came at once.

        Ends when there is nothing more to come (a recording); a live feed reconnects by itself and never ends.
        """
        ...

    async def candles(self, symbol: str, interval: Interval, start: datetime, end: datetime) -> Sequence[Candle]:
        """Closed candles with an open time in `[start, end)`, oldest first; as many as the source has.

        Raises `FeedError` when the source cannot be reached.
        """
        ...

    def now(self) -> datetime:
        """The market's time: the machine's for a live or simulated exchange, the recording's for a recording."""
        ...

    async def close(self) -> None:
        """Free what the feed holds; `events()` ends. May be called twice."""
        ...
