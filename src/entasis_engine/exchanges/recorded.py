"""A recording as a feed: raw exchange frames as they came, and candle files as history or, without frames, as ticks."""

from __future__ import annotations

import asyncio
import csv
import gzip
import heapq
import itertools
import re
import zlib
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from entasis_engine.decimals import scale_of
from entasis_engine.exchanges.binance import FrameDecoder, parse_frame, split_line, to_symbol
from entasis_engine.exchanges.feed import (
    BookDelta,
    BookSnapshot,
    Candle,
    Connected,
    Disconnected,
    Event,
    FeedError,
    Instrument,
    Interval,
    Trade,
)
from entasis_engine.times import Monotonic

LINES_PER_BATCH = 200
LINES_LOOKED_AT = 5_000
NANOSECONDS_PER_SECOND = 1_000_000_000
REPLAYED_SPAN = timedelta(days=1)
COLUMNS = ("open_time", "open", "high", "low", "close", "volume")
ENCODING = "utf-8-sig"
"""Spreadsheets begin a file with a mark of its encoding, which is no part of the first column's name."""
NUMBER = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?")
"""More digits than any price or volume has. Without a bound, one of 1E+999999999 would take all memory to print."""
YEAR_MIN, YEAR_MAX = 1970, 9998
"""Of open times; beyond, what is reckoned with them would be no time any more."""


_Read = TypeVar("_Read")


class _Step(NamedTuple):
    """What a recording holds for one moment: when it was received, in nanoseconds, and what it says."""

    received: int
    decode: Callable[[], Sequence[Event]]


class RecordedFeed:
    """Plays files back, at their own speed, faster, or as fast as they can be read.

    Args:
        frames: files of raw Binance frames, `<received, ns> <json>` a line, gzipped or not; those of one symbol in
            order, each continuing the one before.
        candles: CSV files of candles named `<symbol>-<interval>-….csv[.gz]` with the columns of `COLUMNS`. With frames
            they are history; without, the last day of the finest interval is played as ticks, four a candle (open, the
            two extremes, close), which fold into exactly that candle again.
        speed: 1 is the recording's own; 0 is as fast as possible.
    """

    def __init__(
        self,
        frames: Sequence[Path],
        candles: Sequence[Path],
        *,
        symbols: Sequence[str] = (),
        speed: float = 1.0,
        exchange: str = "binance",
        monotonic: Monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not frames and not candles:
            raise FeedError("A recorded feed needs files: set ENTASIS_RECORDED_FRAMES or ENTASIS_RECORDED_CANDLES.")
        self.exchange = self.source = exchange  # what was recorded there is that exchange's history
        self._frames = frames
        self._candle_files = candles
        self._symbols = frozenset(symbols)
        self._speed = speed
        self._monotonic = monotonic
        self._sleep = sleep
        self._history: dict[tuple[str, Interval], list[Candle]] = {}
        self._recordings: dict[str, list[Path]] = {}
        self._loaded = False
        self._closed = False
        self._now: datetime | None = None

    async def instruments(self) -> Sequence[Instrument]:
        await self._load()
        if self._recordings:
            return [self._of_frames(symbol, files[0]) for symbol, files in self._recordings.items()]
        return [self._of_candles(symbol) for symbol in dict.fromkeys(symbol for symbol, _ in self._history)]

    def now(self) -> datetime:
        if self._now is None:
            raise FeedError("A recording has no time before its instruments are read.")
        return self._now

    async def events(self) -> AsyncIterator[Sequence[Event]]:
        await self._load()
        steps = self._frame_steps() if self._recordings else self._candle_steps()
        started, first_received = self._monotonic(), None
        batch: list[Event] = []
        for position, step in enumerate(steps):
            if first_received is None:
                first_received = step.received
            if self._speed:
                due = started + (step.received - first_received) / NANOSECONDS_PER_SECOND / self._speed
                ahead = due - self._monotonic()
                if ahead > 0:
                    yield batch
                    batch = []
                    await self._sleep(ahead)
            if self._closed:
                return
            for event in step.decode():
                self._now = max(self.now(), event.time)
                batch.append(event)
            if position % LINES_PER_BATCH == LINES_PER_BATCH - 1:
                yield batch
                batch = []
                await self._sleep(0)  # so that readers get their turn
        yield batch

    async def candles(self, symbol: str, interval: Interval, start: datetime, end: datetime) -> Sequence[Candle]:
        await self._load()
        candles = self._history.get((symbol, interval), [])
        closed = min(end, self.now() - interval.length + timedelta(milliseconds=1))
        return candles[bisect_left(candles, start, key=_opened) : bisect_left(candles, closed, key=_opened)]

    async def close(self) -> None:
        self._closed = True

    # Reading files.

    async def _load(self) -> None:
        if not self._loaded:
            await asyncio.to_thread(self._read_files)
            self._loaded = True

    def _read_files(self) -> None:
        for file in self._frames:
            symbol = _symbol_of_frames(file)
            if not self._symbols or symbol in self._symbols:
                self._recordings.setdefault(symbol, []).append(file)
        for file in self._candle_files:
            symbol, interval = name_of_candles(file)
            if not self._symbols or symbol in self._symbols:
                self._history.setdefault((symbol, interval), []).extend(read_candles(file))
        for key, candles in self._history.items():
            # Files may overlap; of two candles of one interval the first one given counts.
            whole = {candle.open_time: candle for candle in reversed(candles)}
            self._history[key] = [whole[open_time] for open_time in sorted(whole)]
        played = self._recordings.keys() or {symbol for symbol, _ in self._history}
        if missing := self._symbols - played:
            raise FeedError(f"None of the recorded files holds {', '.join(sorted(missing))} of ENTASIS_SYMBOLS.")
        if self._recordings:
            self._now = min(_first_time(symbol, files[0]) for symbol, files in self._recordings.items())
        else:
            self._now = self._replayed_from()

    def _frame_steps(self) -> Iterator[_Step]:
        return heapq.merge(
            *(_played(symbol, files) for symbol, files in self._recordings.items()), key=lambda step: step.received
        )

    def _candle_steps(self) -> Iterator[_Step]:
        start = self.now()
        finest: dict[str, Interval] = {}
        for symbol, interval in sorted(self._history, key=lambda pair: pair[1].length):
            finest.setdefault(symbol, interval)
        return heapq.merge(
            *(_ticks(symbol, interval, self._history[symbol, interval], start) for symbol, interval in finest.items()),
            key=lambda step: step.received,
        )

    def _replayed_from(self) -> datetime:
        last = max((candles[-1].open_time for candles in self._history.values() if candles), default=None)
        if last is None:
            raise FeedError("None of the recorded files holds a candle.")
        return last - REPLAYED_SPAN

    def _of_frames(self, symbol: str, file: Path) -> Instrument:
        """The instrument as far as its first frames tell: its tick is the finest price that occurs in them,
        its lot the finest size traded (books hold orders from before a lot was coarsened).
        """
        prices: set[Decimal] = set()
        sizes: set[Decimal] = set()
        decoder = FrameDecoder(symbol)
        for events in _first_of(file, decoder.decode):
            for event in events:
                if isinstance(event, Trade):
                    prices.add(event.price)
                    sizes.add(event.size)
                elif isinstance(event, BookSnapshot | BookDelta):
                    prices.update(price for price, _ in (*event.bids, *event.asks))
        return self._instrument(symbol, prices, sizes)

    def _of_candles(self, symbol: str) -> Instrument:
        candles = next(candles for (its_symbol, _), candles in self._history.items() if its_symbol == symbol)
        seen = candles[-LINES_LOOKED_AT:]
        return self._instrument(symbol, (one.close for one in seen), (one.volume for one in seen))

    def _instrument(self, symbol: str, prices: Iterable[Decimal], sizes: Iterable[Decimal]) -> Instrument:
        price_scale = max((scale_of(price) for price in prices if price), default=0)
        size_scale = max((scale_of(size) for size in sizes if size), default=0)
        return Instrument(
            symbol, Decimal(1).scaleb(-price_scale), Decimal(1).scaleb(-size_scale), price_scale, self.exchange
        )


def read_candles(file: Path) -> list[Candle]:
    """The candles of a CSV file. Raises `FeedError` naming the line that cannot be read."""
    return [candle for _, candle in numbered_candles(file)]


def numbered_candles(file: Path) -> Iterator[tuple[int, Candle]]:
    """The candles of a CSV file, each with its line. Raises `FeedError` naming the line that cannot be read."""
    rows = csv.DictReader(line for _, line in _lines(file))
    try:
        columns = rows.fieldnames
        if columns is None or not set(COLUMNS) <= set(columns):
            raise FeedError(f"{file.name}: the first line must name the columns {', '.join(COLUMNS)}.")
        for row in rows:
            yield rows.line_num, _candle(row)
    except csv.Error as error:
        raise FeedError(f"{file.name}, line {rows.reader.line_num}: {error}.") from None
    except _NoCandleError as error:
        raise FeedError(f"{file.name}, line {rows.reader.line_num}: {error}.") from None


class _NoCandleError(Exception):
    """A row that is no candle. The text says why."""


def _candle(row: Mapping[str, str | None]) -> Candle:
    """Raises `_NoCandleError`."""
    try:
        given = datetime.fromisoformat(row["open_time"] or "")
        opened = given.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _NoCandleError("not a candle, since its open_time is no time") from None
    if given.tzinfo is None:
        raise _NoCandleError("a time without zone")
    if not YEAR_MIN <= opened.year <= YEAR_MAX:
        raise _NoCandleError("a time that cannot be")
    numbers = []
    for column in COLUMNS[1:]:
        text = row[column]
        if text is None:
            raise _NoCandleError("not a candle, since values are missing")
        if not NUMBER.fullmatch(text):
            raise _NoCandleError(f"not a number: {column}")
        numbers.append(Decimal(text))
    candle = Candle(opened, *numbers)
    if not 0 < candle.low <= min(candle.open, candle.close) <= max(candle.open, candle.close) <= candle.high:
        raise _NoCandleError("prices that cannot be")
    return candle


def _played(symbol: str, files: Sequence[Path]) -> Iterator[_Step]:
    """The frames of one symbol, with the moment from which on they are whole said first."""
    decoder = FrameDecoder(symbol)
    connected = False

    def decode(line: str) -> Sequence[Event]:
        nonlocal connected
        events = decoder.decode(line)
        if events and not connected:
            connected = True
            return [Connected(symbol, events[0].time), *events]
        return events

    for file in files:
        for number, line in _lines(file):
            yield _Step(_named(file, number, _received, line), partial(_named, file, number, decode, line))


def _ticks(symbol: str, interval: Interval, candles: Sequence[Candle], start: datetime) -> Iterator[_Step]:
    """Four trades a candle that fold into it again; a candle without volume gives none, and the folding fills it."""
    begin = bisect_left(candles, start, key=_opened)
    number = 0
    expected: datetime | None = None
    for candle in candles[begin:]:
        rising = candle.close >= candle.open
        turns = (candle.low, candle.high) if rising else (candle.high, candle.low)
        share = candle.volume / 4  # exact: a quarter has two digits more at most
        events: list[Event] = []
        if candle.open_time != expected:
            if expected is not None:
                events.append(Disconnected(symbol, expected))
            events.append(Connected(symbol, candle.open_time))
        expected = candle.open_time + interval.length
        for position, price in enumerate((candle.open, *turns, candle.close)):
            moment = candle.open_time + min(position * interval.length / 3, interval.length - timedelta(milliseconds=1))
            number += 1
            if share:
                events.append(Trade(symbol, number, price, share, price >= candle.open, moment))
            received = int(moment.timestamp()) * NANOSECONDS_PER_SECOND
            yield _Step(received, lambda events=tuple(events): events)  # type: ignore[misc]
            events = []


def _symbol_of_frames(file: Path) -> str:
    for symbol in _first_of(file, _symbol_in):
        if symbol is not None:
            return symbol
    raise FeedError(f"{file.name}: no frame that names a symbol among its first lines.")


def _first_time(symbol: str, file: Path) -> datetime:
    for events in _first_of(file, FrameDecoder(symbol).decode):
        for event in events:
            return event.time
    raise FeedError(f"{file.name}: nothing that can be played among its first lines.")


def name_of_candles(file: Path) -> tuple[str, Interval]:
    """Symbol and interval, as the name of a candle file tells them. Raises `FeedError`."""
    native, _, rest = file.name.partition("-")
    try:
        return to_symbol(native), Interval(rest.partition("-")[0].partition(".")[0])
    except (ValueError, FeedError):
        raise FeedError(f"{file.name}: a candle file must be named like btcusdt-5m-2024.csv.gz.") from None


def _symbol_in(line: str) -> str | None:
    native = getattr(parse_frame(split_line(line)[1]), "native", None)
    return to_symbol(native) if native else None


def _received(line: str) -> int:
    return split_line(line)[0]


def _first_of(file: Path, read: Callable[[str], _Read]) -> Iterator[_Read]:
    """What the first lines of a file say."""
    for number, line in itertools.islice(_lines(file), LINES_LOOKED_AT):
        yield _named(file, number, read, line)


def _named(file: Path, number: int, read: Callable[[str], _Read], line: str) -> _Read:
    """What a line says; an error says which line."""
    try:
        return read(line)
    except FeedError as error:
        raise FeedError(f"{file.name}, line {number}: {error}") from None


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file, gzipped or not, numbered from 1. Raises `FeedError` where it cannot be read."""
    try:
        with (
            gzip.open(file, "rt", encoding=ENCODING) if file.suffix == ".gz" else file.open(encoding=ENCODING) as lines
        ):
            yield from enumerate(lines, start=1)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise FeedError(f"Cannot read {file}: {getattr(error, 'strerror', None) or error}.") from None


def _opened(candle: Candle) -> datetime:
    return candle.open_time
