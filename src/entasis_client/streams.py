"""Streams that outlive their connection.

Trackers are pure: they say what to ask for, and make events of what comes. `followed` holds the connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import betterproto2
import grpc

from entasis_betterproto.entasis.market import v1 as market
from entasis_betterproto.entasis.portfolio import v1 as portfolio
from entasis_client.calls import (
    Calls,
    Clock,
    Credentials,
    Headers,
    Method,
    Timing,
    is_cancelled,
    too_late,
    translated,
)
from entasis_client.errors import EntasisError, made
from entasis_client.results import (
    Candle,
    CandleUpdate,
    FeedInterruption,
    OrderBook,
    PositionUpdate,
    PriceUpdate,
    taken,
)
from entasis_client.retry import may_reconnect, pause_seconds

A = TypeVar("A", bound=betterproto2.Message)
M_contra = TypeVar("M_contra", bound=betterproto2.Message, contravariant=True)
E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)

CLOSES_REMEMBERED = 64
INTERVALS: Mapping[str, timedelta] = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "1h": timedelta(hours=1),
    "1d": timedelta(days=1),
}
LATE_INTERVALS_MAX = 16
"""A candle may close so many intervals late: after a reconnect the history is asked from that far back."""
FILLED_MAX = 1000
"""Candles that are filled in after one loss; of a longer one the last so many."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Updates between these two numbers were or may have been lost: the reader was too slow, was away for longer than
    the engine remembers, or the engine was restarted and numbers from its new start on. The difference is a count only
    in the first case.

    After a lost connection also what a symbol tells for the first time comes after a Gap: there may have been more.
    """

    symbol: str
    """Empty in the stream of positions, where numbers are the account's."""
    last_seq: int
    """Of the last update before; 0 where there was none."""
    first_seq: int
    """Of the first one after."""


@dataclass(frozen=True, slots=True)
class MissedCandles:
    """Candles with these open times closed while there was no connection, or the engine heard nothing of the exchange,
    or the reader was too slow; and the history does not have them, or could not be read (`error`). One that the engine
    hears of late may still come.
    """

    symbol: str
    interval: str
    open_times: tuple[datetime, ...]
    error: EntasisError | None


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The connection was lost and stands again. What may have been lost by it the events after this one say."""

    outage_seconds: float
    attempts: int
    error: EntasisError
    """What ended the connection before."""


@dataclass(frozen=True, slots=True)
class Fill:
    """Not for readers: closed candles to be looked up, `[start, end)` by open time."""

    symbol: str
    start: datetime
    end: datetime
    wanted: tuple[datetime, ...]
    """The open times within that were not given."""
    again: bool
    """The history was asked for them before, and did not have them yet."""


PriceEvent: TypeAlias = PriceUpdate | Gap | FeedInterruption | Reconnected
BookEvent: TypeAlias = OrderBook | FeedInterruption | Reconnected
CandleEvent: TypeAlias = CandleUpdate | MissedCandles | FeedInterruption | Reconnected
PositionEvent: TypeAlias = PositionUpdate | Gap | Reconnected


class Tracker(Protocol[M_contra, E_co]):
    """What one stream remembers from connection to connection."""

    def request(self) -> betterproto2.Message:
        """What to ask for now."""

    def connected(self) -> None:
        """A new connection stands."""

    def take(self, message: M_contra) -> Iterator[E_co]:
        """What a message tells."""


class _Numbers:
    """The last number of each symbol. On a new connection numbers may begin lower: another engine has its own."""

    def __init__(self) -> None:
        self.last: dict[str, int] = {}
        self.connections = 0
        self._begun: set[str] = set()

    def connected(self) -> None:
        self.connections += 1
        self._begun.clear()

    def advance(self, symbol: str, seq: int) -> int | None:
        """Take a number in; gives the one before (0 for none), or None where this one was given already."""
        before = self.last.get(symbol, 0)
        repeated = seq <= before if symbol in self._begun else seq == before
        self._begun.add(symbol)
        if repeated:
            return None
        self.last[symbol] = seq
        return before


class PriceTracker:
    """Every trade once; where numbers jump, a Gap."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self._symbols = symbols
        self._numbers = _Numbers()

    def request(self) -> market.StreamPricesRequest:
        return market.StreamPricesRequest(symbols=list(self._symbols), resume_after=dict(self._numbers.last))

    def connected(self) -> None:
        self._numbers.connected()

    def take(self, message: market.StreamPricesResponse) -> Iterator[PriceUpdate | Gap | FeedInterruption]:
        for interruption in message.interruptions:
            yield taken(FeedInterruption, interruption)
        for update in message.updates:
            before = self._numbers.advance(update.symbol, update.seq)
            if before is None:
                continue
            # Where a symbol tells something for the first time, only the first connection says that it is the first.
            if update.seq != before + 1 and (before or self._numbers.connections > 1):
                yield Gap(update.symbol, before, update.seq)
            yield taken(PriceUpdate, update)


class BookTracker:
    """Each book replaces the one before; the same state twice is given once."""

    def __init__(self, symbols: Sequence[str], depth: int | None) -> None:
        self._symbols = symbols
        self._depth = depth
        self._numbers = _Numbers()

    def request(self) -> market.StreamOrderBooksRequest:
        return market.StreamOrderBooksRequest(symbols=list(self._symbols), depth=self._depth)

    def connected(self) -> None:
        self._numbers.connected()

    def take(self, message: market.StreamOrderBooksResponse) -> Iterator[OrderBook | FeedInterruption]:
        for interruption in message.interruptions:
            yield taken(FeedInterruption, interruption)
        for book in message.books:
            if self._numbers.advance(book.symbol, book.seq) is not None:
                yield taken(OrderBook, book)


class _Closes:
    """Which closes of one symbol were given."""

    def __init__(self, first: datetime) -> None:
        self.first = self.newest = first
        self.given: deque[datetime] = deque(maxlen=CLOSES_REMEMBERED)
        self.lacking: Fill | None = None
        """What the history did not have at the first try, where there is a second one."""
        self.missed: deque[datetime] = deque(maxlen=CLOSES_REMEMBERED)
        """What it did not have then either."""
        self.skipped = False
        """Whether numbers have jumped since closes were last looked up."""


class CandleTracker:
    """Each candle as it stands, and its close once; and which closes to look up: after a lost connection, where numbers
    jump since the reader was slow, and where candles are left out since the engine heard nothing of the exchange.
    """

    def __init__(self, symbols: Sequence[str], interval: str) -> None:
        self._symbols = symbols
        self.interval = interval
        self._length = INTERVALS.get(interval, timedelta())
        self._numbers = _Numbers()
        self._closes: dict[str, _Closes] = {}
        self._to_fill: set[str] = set()

    def request(self) -> market.StreamCandlesRequest:
        return market.StreamCandlesRequest(symbols=list(self._symbols), interval=self.interval)

    def connected(self) -> None:
        self._numbers.connected()
        self._to_fill = set(self._closes)

    def take(self, message: market.StreamCandlesResponse) -> Iterator[CandleUpdate | FeedInterruption | Fill]:
        for interruption in message.interruptions:
            yield taken(FeedInterruption, interruption)
        for encoded in message.updates:
            before = self._numbers.advance(encoded.symbol, encoded.seq)
            if before is None:
                continue
            update = taken(CandleUpdate, encoded)
            open_time = update.candle.timestamp
            closes = self._closes.setdefault(update.symbol, _Closes(open_time))
            closes.skipped |= before != 0 and encoded.seq != before + 1  # a close may be among what was skipped
            yield from self._fills(update, closes)
            closes.newest = max(closes.newest, open_time)
            if not update.closed:
                yield update
            elif open_time not in closes.given:
                closes.given.append(open_time)
                yield update

    def _fills(self, update: CandleUpdate, closes: _Closes) -> Iterator[Fill]:
        """What to look up before an update."""
        open_time, start = update.candle.timestamp, None
        lost = update.symbol in self._to_fill and not update.closed
        if lost or (closes.skipped and not update.closed):
            # The candle in progress says where the stream goes on; what closed before it is to be looked up.
            self._to_fill.discard(update.symbol)
            closes.skipped = False
            start = max(closes.first, closes.newest - LATE_INTERVALS_MAX * self._length)
        elif open_time > closes.newest + self._length:
            lost, start = True, closes.newest
        if (before := closes.lacking) is not None and (lost or self._is_filled_by(update, before)):
            closes.lacking = None
            wanted = tuple(one for one in before.wanted if one not in closes.given)
            yield from self._fill(update.symbol, wanted, again=True)
        if start is not None and self._length:
            start = max(start, open_time - FILLED_MAX * self._length)
            every = (start + number * self._length for number in range((open_time - start) // self._length))
            told = {*closes.given, *(() if lost else closes.missed), *(before.wanted if before is not None else ())}
            wanted = tuple(one for one in every if one not in told)
            yield from self._fill(update.symbol, wanted, again=False)

    def _is_filled_by(self, update: CandleUpdate, fill: Fill) -> bool:
        """Whether the engine has most likely filled its history by now. It sees that candles are missing when the first
        minute after them closes, and asks the exchange.
        """
        open_time = update.candle.timestamp
        return open_time >= fill.end + (0 if update.closed else 2) * self._length

    def _fill(self, symbol: str, wanted: tuple[datetime, ...], *, again: bool) -> Iterator[Fill]:
        if wanted:
            yield Fill(symbol, wanted[0], wanted[-1] + self._length, wanted, again)

    def filled(
        self, fill: Fill, history: Sequence[Candle], error: EntasisError | None
    ) -> Iterator[CandleUpdate | MissedCandles]:
        """What the history had of what was to be looked up. What it lacks is missing where it was asked again, or could
        not be read; else it is asked again later.
        """
        closes = self._closes[fill.symbol]
        found = {candle.timestamp: candle for candle in history}
        lacking = []
        for open_time in fill.wanted:
            if (candle := found.get(open_time)) is None:
                lacking.append(open_time)
                continue
            closes.given.append(open_time)
            yield CandleUpdate(fill.symbol, self.interval, candle, closed=True, seq=0)
        if not lacking:
            return
        if fill.again or error is not None:
            closes.missed.extend(lacking)
            yield MissedCandles(fill.symbol, self.interval, tuple(lacking), error)
        else:
            before = closes.lacking.wanted if closes.lacking is not None else ()
            wanted = tuple(sorted({*before, *lacking}))
            closes.lacking = replace(fill, start=wanted[0], end=wanted[-1] + self._length, wanted=wanted)


class PositionTracker:
    """Updates of an account's positions; where numbers jump, a Gap: something may have been lost. A snapshot begins
    anew.
    """

    def __init__(self) -> None:
        self._last = 0

    def request(self) -> portfolio.StreamPositionsRequest:
        return portfolio.StreamPositionsRequest()

    def connected(self) -> None:
        """Nothing to do: what comes first is a snapshot."""

    def take(self, message: portfolio.StreamPositionsResponse) -> Iterator[PositionUpdate | Gap]:
        for update in message.updates:
            snapshot = update.event == "snapshot"
            if not snapshot and update.seq <= self._last:
                continue
            # The number of a snapshot is that of the last update it contains: the same one, where nothing was missed
            # and numbers go on. They begin anew when an account's last reader leaves, so that whoever is the only one
            # finds a Gap after each loss.
            expected = {self._last} if snapshot else {self._last + 1}
            if self._last and update.seq not in expected:
                yield Gap("", self._last, update.seq)
            self._last = update.seq
            yield taken(PositionUpdate, update)


class _Connection(Generic[A, E]):
    """One connection of a stream."""

    def __init__(
        self,
        calls: Calls,
        method: Method[Any, A],
        tracker: Tracker[A, E],
        credentials: Credentials,
        clock: Clock,
        connect_seconds: float,
    ) -> None:
        self._calls = calls
        self._method = method
        self._tracker = tracker
        self._credentials = credentials
        self._clock = clock
        self._connect_seconds = connect_seconds
        self._headers: Headers | None = None
        self.stood_at: float | None = None
        """Since when it stood; None as long as it does not."""

    async def events(self) -> AsyncGenerator[E | None, None]:
        """None once it stands, then what it tells. Raises EntasisError at its end; ends when the client is closed."""
        call = None
        try:
            self._headers = await self._credentials.headers(self._clock() + self._connect_seconds)
            if self._calls.closed:
                return
            call = self._calls.stream(self._method, self._tracker.request(), self._headers)
            async with asyncio.timeout(self._connect_seconds):
                await call.wait_for_connection()
            self.stood_at = self._clock()
            self._tracker.connected()
            yield None
            async for message in call:
                for event in self._tracker.take(message):
                    yield event
            failure = made(grpc.StatusCode.UNAVAILABLE, "the stream ended")
        except grpc.aio.AioRpcError as error:
            failure = translated(error)
        except TimeoutError:
            failure = too_late("the stream")
        except (asyncio.CancelledError, grpc.aio.UsageError, RuntimeError):
            # Closing the client cancels its calls, also that for a token: the end of the stream, and not of its reader.
            if not self._calls.closed or is_cancelled():
                raise
        finally:
            if call is not None:
                call.cancel()
        if not self._calls.closed:
            raise failure

    def may_renew(self) -> bool:
        """Whether other credentials may do better than those it had."""
        return self._headers is not None and self._credentials.renew_after(self._headers)


async def followed(
    calls: Calls,
    method: Method[Any, A],
    tracker: Tracker[A, E],
    credentials: Credentials,
    timing: Timing,
    *,
    connect_seconds: float,
    outage_seconds_max: float | None,
) -> AsyncGenerator[E | Reconnected, None]:
    """What a stream tells, over as many connections as it takes. It ends when the client is closed.

    Args:
        connect_seconds: how long it may take until the stream stands for the first time, and each attempt after that.
        outage_seconds_max: how long to try once it stood and broke; None: for ever.

    Raises EntasisError where the engine refuses, or where the time is over: then the last failure.
    """
    clock = timing.clock
    lost_at, established, renewed = clock(), False, False
    attempts, failures = 0, 0
    """To connect since then; and in a row, which waits grow with."""
    cause: EntasisError | None = None
    """What ended the last connection that stood."""
    while not calls.closed:
        connection = _Connection(calls, method, tracker, credentials, clock, connect_seconds)
        try:
            async with aclosing(connection.events()) as events:
                async for event in events:
                    if event is not None:
                        yield event
                    elif cause is not None:
                        yield Reconnected(clock() - lost_at, attempts, cause)
            return
        except EntasisError as error:
            failure = error
        if calls.closed:
            return
        if connection.stood_at is not None:
            established, cause, lost_at = True, failure, clock()
            attempts, renewed = 0, False
            # Where connections break as soon as they stand, waits go on growing.
            failures = 0 if lost_at - connection.stood_at > timing.backoff.longest_seconds else failures
        may_renew = failure.reason == "AUTH_001" and not renewed and connection.may_renew()
        if not may_renew and not may_reconnect(failure, established=established):
            raise failure
        renewed = may_renew
        pause = pause_seconds(failure, failures, timing.backoff, timing.chance)
        limit = outage_seconds_max if established else connect_seconds
        if limit is not None and clock() + pause - lost_at > limit:
            raise failure
        await timing.sleep(pause)
        attempts, failures = attempts + 1, failures + 1
