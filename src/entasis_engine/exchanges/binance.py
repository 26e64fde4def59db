"""Binance spot's own wire rules: what a raw frame says, and how diffs become an order book.

Pure: no sockets, no clock, no ccxt. The live feed and the recorded feed share these rules.
https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, TypeVar

import msgspec

from entasis_engine.exchanges.feed import BookDelta, BookSnapshot, Event, FeedError, Level, Trade
from entasis_engine.times import from_milliseconds

QUOTE_CURRENCIES = ("FDUSD", "USDT", "USDC", "TUSD", "BUSD", "BTC", "ETH", "BNB", "TRY", "EUR", "BRL", "JPY")
"""Quote currencies of the spot market, longest first: `BTCFDUSD` ends in `FDUSD`, not in `USD`."""

DIFFS_BUFFERED_MAX = 1000
"""Diffs kept while a snapshot is awaited: 100 s of the 100 ms stream, ten times what a snapshot request may take."""

_MICROSECONDS_FROM = 10**14
"""Stamps this large are microseconds (year 5138 in milliseconds): a connection may be asked for either unit."""

_NANOSECONDS_PER_MILLISECOND = 1_000_000


class FrameError(FeedError):
    """A frame that is not what Binance documents."""


# What the wire carries: our names, with the exchange's letters beside them.

_Number = Annotated[int, msgspec.Meta(ge=0)]


class TradeFrame(msgspec.Struct, frozen=True):
    """`<symbol>@trade`."""

    native: str = msgspec.field(name="s")
    trade_id: _Number = msgspec.field(name="t")
    price: Decimal = msgspec.field(name="p")
    size: Decimal = msgspec.field(name="q")
    time_stamp: _Number = msgspec.field(name="T")
    buyer_is_maker: bool = msgspec.field(name="m")


class DepthDiff(msgspec.Struct, frozen=True):
    """`<symbol>@depth` or `<symbol>@depth@100ms`: the new sizes of the levels that `first_id` to `last_id` changed."""

    native: str = msgspec.field(name="s")
    time_stamp: _Number = msgspec.field(name="E")
    first_id: _Number = msgspec.field(name="U")
    last_id: _Number = msgspec.field(name="u")
    bids: list[Level] = msgspec.field(name="b")
    asks: list[Level] = msgspec.field(name="a")


class BookTicker(msgspec.Struct, frozen=True):
    """`<symbol>@bookTicker`: the best levels as of `update_id`. No event comes of it; it checks a book."""

    native: str = msgspec.field(name="s")
    update_id: _Number = msgspec.field(name="u")
    bid: Decimal = msgspec.field(name="b")
    bid_size: Decimal = msgspec.field(name="B")
    ask: Decimal = msgspec.field(name="a")
    ask_size: Decimal = msgspec.field(name="A")


class DepthSnapshot(msgspec.Struct, frozen=True):
    """The answer of `GET /api/v3/depth`. It names neither its symbol nor its time."""

    last_update_id: _Number = msgspec.field(name="lastUpdateId")
    bids: list[Level]
    asks: list[Level]


_Book = TypeVar("_Book", DepthDiff, DepthSnapshot)
Frame = TradeFrame | DepthDiff | BookTicker | DepthSnapshot


class _Envelope(msgspec.Struct, frozen=True):
    """Enough of any message to tell what it is."""

    stream: str = ""
    data: msgspec.Raw = msgspec.Raw()
    event: str = msgspec.field(name="e", default="")
    last_update_id: int | None = msgspec.field(name="lastUpdateId", default=None)
    ask_size: object = msgspec.field(name="A", default=None)


_envelope = msgspec.json.Decoder(_Envelope)
_trade = msgspec.json.Decoder(TradeFrame)
_diff = msgspec.json.Decoder(DepthDiff)
_ticker = msgspec.json.Decoder(BookTicker)
_snapshot = msgspec.json.Decoder(DepthSnapshot)

_StreamDecoder = msgspec.json.Decoder[TradeFrame] | msgspec.json.Decoder[DepthDiff] | msgspec.json.Decoder[BookTicker]
_BY_STREAM: dict[str, _StreamDecoder] = {"trade": _trade, "depth": _diff, "bookTicker": _ticker}
_BY_EVENT: dict[str, _StreamDecoder] = {"trade": _trade, "depthUpdate": _diff}


def parse_frame(text: str | bytes | msgspec.Raw) -> Frame | None:
    """What a message says, or None for one that says nothing of the market (an acknowledgement, another stream).

    Takes combined messages (`{"stream", "data"}`), bare ones, and REST snapshots. Raises `FrameError`.
    """
    try:
        frame = _parse(text)
    except msgspec.DecodeError as error:
        raise FrameError(f"not a frame of Binance spot: {error}") from error
    if frame is not None:
        _require_usable(frame)
    return frame


def _parse(text: str | bytes | msgspec.Raw) -> Frame | None:
    envelope = _envelope.decode(text)
    if envelope.stream:
        # The stream's name tells what its data is: "btcusdt@depth@100ms".
        kind = envelope.stream.split("@", 2)[1:2]
        decoder = _BY_STREAM.get(kind[0]) if kind else None
        return decoder.decode(envelope.data) if decoder is not None else None
    if envelope.event:
        decoder = _BY_EVENT.get(envelope.event)
        return decoder.decode(text) if decoder is not None else None
    if envelope.last_update_id is not None:
        return _snapshot.decode(text)
    # A bare bookTicker is the one event that does not say its type.
    return _ticker.decode(text) if envelope.ask_size is not None else None


def to_diff(message: object) -> DepthDiff:
    """A depthUpdate whose JSON was already decoded, its numbers still text. Raises `FrameError`."""
    return _convert(message, DepthDiff)


def to_snapshot(message: object) -> DepthSnapshot:
    """A depth answer whose JSON was already decoded, its numbers still text. Raises `FrameError`."""
    return _convert(message, DepthSnapshot)


def _convert(message: object, kind: type[_Book]) -> _Book:
    try:
        frame = msgspec.convert(message, kind)
    except msgspec.ValidationError as error:
        raise FrameError(f"not a {kind.__name__} of Binance spot: {error}") from error
    _require_usable(frame)
    return frame


def _require_usable(frame: Frame) -> None:
    match frame:
        case TradeFrame():
            usable = _is_positive(frame.price) and _is_positive(frame.size)
        case DepthDiff():
            usable = frame.first_id <= frame.last_id and _are_levels(frame.bids) and _are_levels(frame.asks)
        case DepthSnapshot():
            usable = _are_levels(frame.bids) and _are_levels(frame.asks)
        case BookTicker():
            usable = _are_levels(((frame.bid, frame.bid_size), (frame.ask, frame.ask_size)))
    if not usable:
        raise FrameError(f"a {type(frame).__name__} with a price, size or number that cannot be")


def _is_positive(value: Decimal) -> bool:
    return value.is_finite() and value > 0


def _are_levels(levels: Iterable[Level]) -> bool:
    return all(_is_positive(price) and size.is_finite() and size >= 0 for price, size in levels)


def to_native(symbol: str) -> str:
    """Binance's spelling of a symbol: `BTC-USDT` is `BTCUSDT`."""
    return symbol.replace("-", "")


def to_symbol(native: str, quotes: Sequence[str] = QUOTE_CURRENCIES) -> str:
    """Our spelling of Binance's symbol, in any case: `btcusdt` is `BTC-USDT`. Raises `FrameError`."""
    capitals = native.upper()
    for quote in quotes:
        if capitals.endswith(quote) and len(capitals) > len(quote):
            return f"{capitals.removesuffix(quote)}-{quote}"
    raise FrameError(f"the quote currency of {native!r} is not known")


def to_time(stamp: int) -> datetime:
    """The time of an exchange's stamp, kept to the millisecond."""
    return from_milliseconds(stamp // 1000 if stamp >= _MICROSECONDS_FROM else stamp)


def to_trade(frame: TradeFrame, symbol: str) -> Trade:
    return Trade(
        symbol=symbol,
        trade_id=frame.trade_id,
        price=frame.price,
        size=frame.size,
        # A buyer who was the maker rested in the book, so the seller took.
        taker_buys=not frame.buyer_is_maker,
        time=to_time(frame.time_stamp),
    )


class BookSynchroniser:
    """Turns one symbol's diffs and snapshots into a gapless run: a `BookSnapshot`, then `BookDelta`s.

    Binance's rules: keep diffs until a snapshot comes; drop those that the snapshot already holds; the first one
    applied must reach over the snapshot's end; from then on each must begin right after the one before. Where one
    does not, a diff was lost and only a fresh snapshot helps.
    """

    def __init__(self, symbol: str, *, diffs_buffered_max: int = DIFFS_BUFFERED_MAX) -> None:
        self._symbol = symbol
        # Always without gaps within. When full the oldest is lost, which a later snapshot makes good, or shows.
        self._buffer: deque[DepthDiff] = deque(maxlen=diffs_buffered_max)
        self._update_id: int | None = None
        self._joined = False

    @property
    def needs_snapshot(self) -> bool:
        """Whether nothing more is emitted until a fresh snapshot is given."""
        return self._update_id is None

    @property
    def update_id(self) -> int | None:
        """The last update that was emitted; None while a snapshot is needed."""
        return self._update_id

    def reset(self) -> None:
        """Forget all: the connection was lost, so diffs may have been."""
        self._buffer.clear()
        self._update_id = None
        self._joined = False

    def on_diff(self, diff: DepthDiff) -> list[BookSnapshot | BookDelta]:
        """Take the next diff of the stream. After it, ask `needs_snapshot`."""
        if self._update_id is None:
            self._keep(diff)
            return []
        if diff.last_id <= self._update_id:
            return []
        if not self._follows(diff, self._update_id):
            self.reset()
            self._keep(diff)
            return []
        self._update_id = diff.last_id
        self._joined = True
        return [self._delta(diff)]

    def on_snapshot(self, snapshot: DepthSnapshot, time: datetime) -> list[BookSnapshot | BookDelta]:
        """Take a snapshot, and with it the diffs kept that go on from there.

        Emits nothing for one that is too old to be of use: older than what was emitted, or than the diffs kept; in
        the latter case a snapshot is still needed. `time` is used where no diff tells the exchange's own time.
        """
        if self._update_id is not None and snapshot.last_update_id < self._update_id:
            return []
        kept = [diff for diff in self._buffer if diff.last_id > snapshot.last_update_id]
        if kept and not self._overlaps(kept[0], snapshot.last_update_id):
            return []
        # A snapshot is as of some moment before the first diff that it does not hold.
        stale = len(self._buffer) - len(kept)
        as_of = to_time(self._buffer[stale - 1].time_stamp) if stale else time
        self._buffer.clear()
        self._update_id = kept[-1].last_id if kept else snapshot.last_update_id
        self._joined = bool(kept)
        whole = BookSnapshot(self._symbol, snapshot.last_update_id, snapshot.bids, snapshot.asks, as_of)
        return [whole, *(self._delta(diff) for diff in kept)]

    def _keep(self, diff: DepthDiff) -> None:
        # Diffs before a gap are useless: a snapshot either holds them all or is too old to reach over the gap.
        if self._buffer and diff.first_id != self._buffer[-1].last_id + 1:
            self._buffer.clear()
        self._buffer.append(diff)

    def _follows(self, diff: DepthDiff, update_id: int) -> bool:
        if self._joined:
            return diff.first_id == update_id + 1
        return self._overlaps(diff, update_id)

    @staticmethod
    def _overlaps(diff: DepthDiff, update_id: int) -> bool:
        return diff.first_id <= update_id + 1 <= diff.last_id

    def _delta(self, diff: DepthDiff) -> BookDelta:
        return BookDelta(self._symbol, diff.last_id, diff.bids, diff.asks, to_time(diff.time_stamp))


class FrameDecoder:
    """Turns the lines of one symbol's recording, `<local nanoseconds> <message>`, into events.

    Keep one decoder over files that continue each other: a file without a snapshot goes on with the book of the
    file before. A recording holds no `Connected`; whoever plays it knows where it begins.
    """

    def __init__(self, symbol: str, *, on_book_ticker: Callable[[BookTicker], None] | None = None) -> None:
        self._symbol = symbol
        self._native = to_native(symbol)
        self._on_book_ticker = on_book_ticker
        self._book = BookSynchroniser(symbol)
        self._last_trade_id = -1

    @property
    def needs_snapshot(self) -> bool:
        """Whether the book is unknown: no snapshot came yet, or diffs are missing since."""
        return self._book.needs_snapshot

    def decode(self, line: str | bytes) -> Sequence[Event]:
        """Events of one line, often one, sometimes none. Raises `FrameError`."""
        received_ns, frame = split_line(line)
        parsed = parse_frame(frame)
        if parsed is None:
            return ()
        if isinstance(parsed, DepthSnapshot):
            return self._book.on_snapshot(parsed, from_milliseconds(received_ns // _NANOSECONDS_PER_MILLISECOND))
        if parsed.native != self._native:
            raise FrameError(f"a frame of {parsed.native} in a recording of {self._native}")
        match parsed:
            case DepthDiff():
                return self._book.on_diff(parsed)
            case TradeFrame():
                return self._on_trade(parsed)
            case BookTicker():
                if self._on_book_ticker is not None:
                    self._on_book_ticker(parsed)
                return ()

    def _on_trade(self, frame: TradeFrame) -> Sequence[Event]:
        # Recordings that overlap repeat trades.
        if frame.trade_id <= self._last_trade_id:
            return ()
        self._last_trade_id = frame.trade_id
        return (to_trade(frame, self._symbol),)


def split_line(line: str | bytes) -> tuple[int, str]:
    """Local nanoseconds and message of a recording's line; recordings merge by the former. Raises `FrameError`."""
    try:
        text = line if isinstance(line, str) else line.decode()
        received, _, message = text.partition(" ")
        return int(received), message
    except ValueError as error:  # of which a UnicodeDecodeError is one
        raise FrameError("a recording's line does not begin with nanoseconds") from error
