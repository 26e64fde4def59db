"""The hub keeps the latest of every instrument, numbers it, and only then publishes it.

Whoever reads after a notice therefore never sees less than the notice said. Everything runs on one event loop and
nothing here waits, so no reader ever sees half a change.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from entasis.market.v1 import market_pb2 as pb
from entasis_engine.errors import EntasisError
from entasis_engine.exchanges.feed import (
    BookDelta,
    BookSnapshot,
    Candle,
    Disconnected,
    Event,
    Instrument,
    Interval,
    Level,
    Trade,
)
from entasis_engine.market import wire
from entasis_engine.market.book import OrderBook
from entasis_engine.market.candles import Aggregate, Closed, ClosedCandle, MinuteFolder, RollingVolume
from entasis_engine.market.instruments import Instruments
from entasis_engine.market.mailbox import Mailbox, NewestOnly
from entasis_engine.times import Clock, Monotonic, to_milliseconds

RESUME_UPDATES_MAX = 1024
SEQ_PER_MILLISECOND = 1000
# Trades may arrive this much later than the clock says; a candle closes by the clock only after it.
CLOSE_GRACE = timedelta(seconds=2)
# The most keys that updates of one symbol have at once: its interruption, and candles that closed in one go.
KEYS_PER_SYMBOL = 8
QUOTE_LEVELS = 1000
"""Of each side; as many as a feed keeps, or more."""

LONGER = (Interval.FIVE_MINUTES, Interval.HOUR, Interval.DAY)


class _State:
    """All that is known of one instrument at the moment."""

    def __init__(self, instrument: Instrument, first_seq: int) -> None:
        self.instrument = instrument
        self.last: Trade | None = None
        self.price_seq = self.book_seq = first_seq
        self.candle_seqs = dict.fromkeys(Interval, first_seq)
        """Of the last change, read or not: so whoever comes back sees whether there was one."""
        self.book = OrderBook()
        self.minute = MinuteFolder()
        self.longer = {interval: Aggregate(interval) for interval in LONGER}
        self.volume = RollingVolume()
        self.heard_at: float | None = None
        self.heard_time: datetime | None = None
        self.reached: datetime | None = None
        """The market's time up to which the feed has come."""
        self.live = False
        self.recent: deque[tuple[int, bytes]] = deque(maxlen=RESUME_UPDATES_MAX)
        self.encoded_price: bytes | None = None
        self.encoded_books: dict[int, bytes] = {}
        self.price_readers: set[Mailbox] = set()
        self.book_readers: defaultdict[int, set[Mailbox]] = defaultdict(set)
        self.candle_readers: defaultdict[Interval, set[Mailbox]] = defaultdict(set)

    def candle_in_progress(self, interval: Interval) -> Candle | None:
        minute = self.minute.current
        return minute if interval is Interval.MINUTE else self.longer[interval].current(minute)


@dataclass(frozen=True)
class Quote:
    """What orders can be filled at, as of one moment."""

    last_price: Decimal
    time: datetime
    """Of the last trade."""
    bids: Sequence[Level]
    """Best first; empty where there is no book."""
    asks: Sequence[Level]


class Hub:
    """The latest of every instrument, and the readers of its streams.

    Sequence numbers start at the time of the start in microseconds, so that they grow over a restart too, as long as
    an instrument has fewer than a million updates a second.
    """

    def __init__(
        self,
        instruments: Instruments,
        *,
        clock: Clock,
        monotonic: Monotonic,
        stale_after_seconds: float,
        queue_max: int,
    ) -> None:
        self.instruments = instruments
        self._clock = clock
        self._monotonic = monotonic
        self._stale_after_seconds = stale_after_seconds
        self._queue_max = queue_max
        first_seq = to_milliseconds(clock()) * SEQ_PER_MILLISECOND
        self._states = {instrument.symbol: _State(instrument, first_seq) for instrument in instruments}

    # What the feed says.

    def apply(self, events: Sequence[Event]) -> list[ClosedCandle]:
        """Take events in and publish what they change; returns the candles that closed."""
        heard_at, heard_time = self._monotonic(), self._clock()
        closed: list[ClosedCandle] = []
        for event in events:
            state = self._states.get(event.symbol)
            if state is None:
                continue
            if isinstance(event, Disconnected):
                state.minute.disconnected()
                state.book.invalidate()
                state.encoded_books.clear()
                continue
            self._heard(state, event.time, heard_at, heard_time)
            if isinstance(event, Trade):
                closed += self._trade(state, event)
            elif isinstance(event, BookSnapshot | BookDelta):
                self._book(state, event)
            else:
                state.minute.connected(event.time)
        return closed

    def advance(self, market_now: datetime) -> list[ClosedCandle]:
        """Close candles that are over, and notice feeds that fell silent. To be called a few times a second."""
        closed: list[ClosedCandle] = []
        for state in self._states.values():
            over = market_now - CLOSE_GRACE
            if state.minute.is_covered and state.reached is not None:
                # The clock alone does not prove that every trade was given: the feed, or this process, may have hung.
                over = min(over, state.reached)
            closed += self._close(state, state.minute.advance(over))
            self._notice_silence(state)
        return closed

    def closed_late(self, symbol: str, interval: Interval, candle: Candle) -> list[ClosedCandle]:
        """Publish a candle that was not seen whole, now that the exchange has told it, and fold it on; returns the
        longer candles that closed by it.
        """
        state = self._states[symbol]
        closed = self.fill(symbol, candle) if interval is Interval.MINUTE else []
        self._candle(state, interval, candle, closed=True)
        return closed

    def fill(self, symbol: str, minute: Candle) -> list[ClosedCandle]:
        """Take in a closed minute of the past that was not seen whole, or not at all; returns the longer candles that
        turned out to be over.
        """
        state = self._states[symbol]
        current = state.minute.current
        state.volume.add(minute)
        state.encoded_price = None
        closed = []
        for interval, aggregate in state.longer.items():
            state.candle_seqs[interval] += 1  # nobody is sent it, but whoever reads sees that something has changed
            over = aggregate.advance(minute.open_time if current is None else current.open_time)
            if over is not None and current is not None:  # what was over before the feed began is history already
                closed.append(over)
            aggregate.add(minute)
        return self._publish_closed(state, closed)

    # What readers ask.

    def price(self, symbol: str) -> bytes:
        """The encoded `GetPriceResponse`. Raises MARKET_001 where not listed, MARKET_002 where not live."""
        state = self._live_state(symbol)
        if state.encoded_price is None:
            minute, last = state.minute.current, state.last
            if last is None or minute is None:
                raise _market_down(state)
            state.encoded_price = wire.price(state.instrument, last, state.volume.total(minute)).SerializeToString()
        return state.encoded_price

    def order_book(self, symbol: str, depth: int) -> bytes:
        """The encoded `GetOrderBookResponse`. Raises MARKET_001 where not listed, MARKET_002 where not live."""
        state = self._live_state(symbol)
        if not state.book.valid:
            raise _market_down(state)
        return self._encoded_book(state, depth)

    def quote(self, symbol: str) -> Quote:
        """What orders can be filled at. Raises MARKET_001 where not listed, MARKET_002 where not live."""
        state = self._live_state(symbol)
        if state.last is None:
            raise _market_down(state)
        book = state.book
        bids, asks = (book.bids(QUOTE_LEVELS), book.asks(QUOTE_LEVELS)) if book.valid else ([], [])
        return Quote(state.last.price, state.last.time, bids, asks)

    def last_price(self, symbol: str) -> tuple[Decimal, datetime] | None:
        """The last price, live or not, and when it was made; None where nothing was traded since the start."""
        state = self._states.get(symbol)
        return (state.last.price, state.last.time) if state is not None and state.last is not None else None

    @contextmanager
    def read_prices(self, symbols: Sequence[str], resume_after: Mapping[str, int]) -> Iterator[Mailbox]:
        """A mailbox of encoded `StreamPricesResponse`: what was missed or the last trade, then every trade."""
        states = self._to_read(symbols)
        with self._reading([state.price_readers for state in states], self._mailbox(states)) as mailbox:
            for state in states:
                updates = _updates_after(state.recent, resume_after.get(state.instrument.symbol))
                if not state.live:
                    mailbox.put(*self._interruption(state, restored=False))
                elif updates is None:
                    updates = list(state.recent)[-1:]
                if updates:
                    # As one, so that what a reader missed does not count as its being slow.
                    mailbox.put(state.instrument.symbol, b"".join([encoded for _, encoded in updates]))
            yield mailbox

    @contextmanager
    def read_books(self, symbols: Sequence[str], depth: int) -> Iterator[Mailbox]:
        """A mailbox of encoded `StreamOrderBooksResponse`: the book as it stands, then at each change."""
        states = self._to_read(symbols)
        try:
            with self._reading([state.book_readers[depth] for state in states], NewestOnly()) as mailbox:
                for state in states:
                    if not state.live:
                        mailbox.put(*self._interruption(state, restored=False))
                    elif state.book.valid:
                        mailbox.put(state.instrument.symbol, _as_item(self._encoded_book(state, depth)))
                yield mailbox
        finally:
            for state in states:
                if not state.book_readers[depth]:
                    del state.book_readers[depth]

    @contextmanager
    def read_candles(self, symbols: Sequence[str], interval: Interval) -> Iterator[Mailbox]:
        """A mailbox of encoded `StreamCandlesResponse`: the candle in progress, then each change and each close."""
        states = self._to_read(symbols)
        with self._reading([state.candle_readers[interval] for state in states], self._mailbox(states)) as mailbox:
            for state in states:
                candle = state.candle_in_progress(interval)
                if not state.live:
                    mailbox.put(*self._interruption(state, restored=False))
                elif candle is not None:
                    mailbox.put(*_encoded_candle(state, interval, candle, closed=False))
            yield mailbox

    @contextmanager
    def _reading(self, readers: Sequence[set[Mailbox]], mailbox: Mailbox) -> Iterator[Mailbox]:
        # Publishing and reading share one event loop: nothing can come between the snapshot and the first update.
        for group in readers:
            group.add(mailbox)
        try:
            yield mailbox
        finally:
            for group in readers:
                group.discard(mailbox)

    # Inside.

    def _to_read(self, symbols: Sequence[str]) -> list[_State]:
        """What a new reader reads. Raises MARKET_001 where a symbol is not listed."""
        states = [self._required(symbol) for symbol in symbols]
        for state in states:
            # Whoever is told of a silence is so told of its end too.
            self._notice_silence(state)
        return states

    def _mailbox(self, states: Sequence[_State]) -> Mailbox:
        return Mailbox(max(self._queue_max, len(states) * KEYS_PER_SYMBOL))

    def _trade(self, state: _State, trade: Trade) -> list[ClosedCandle]:
        state.last = trade
        state.price_seq += 1
        closed = self._close(state, state.minute.add(trade))
        state.encoded_price = None
        update = wire.price_update(state.instrument, trade, state.price_seq)
        encoded = pb.StreamPricesResponse(updates=[update]).SerializeToString()
        state.recent.append((state.price_seq, encoded))
        for mailbox in state.price_readers:
            mailbox.put(state.instrument.symbol, encoded)
        for interval in Interval:
            # What nobody reads is only counted.
            read = bool(state.candle_readers.get(interval))
            self._candle(state, interval, state.candle_in_progress(interval) if read else None, closed=False)
        return closed

    def _book(self, state: _State, change: BookSnapshot | BookDelta) -> None:
        state.book.apply(change)
        if not state.book.valid:
            return
        state.book_seq += 1
        state.encoded_books.clear()
        for depth, readers in state.book_readers.items():
            if readers:
                _put_all(readers, state.instrument.symbol, _as_item(self._encoded_book(state, depth)))

    def _close(self, state: _State, minutes: Sequence[Closed]) -> list[ClosedCandle]:
        """Fold closed minutes on into the longer candles, and publish all that closed."""
        closed: list[Closed] = []
        for minute in minutes:
            closed.append(minute)
            state.volume.add(minute.candle)
            state.encoded_price = None
            for aggregate in state.longer.values():
                # Where minutes were missed, the candle before may be over only now.
                before = aggregate.advance(minute.candle.open_time)
                if minute.complete:
                    aggregate.add(minute.candle)
                after = aggregate.advance(minute.candle.open_time + Interval.MINUTE.length)
                closed += [longer for longer in (before, after) if longer is not None]
        return self._publish_closed(state, closed)

    def _publish_closed(self, state: _State, closed: Sequence[Closed]) -> list[ClosedCandle]:
        for one in closed:
            if one.complete:
                self._candle(state, one.interval, one.candle, closed=True)
        return [ClosedCandle(state.instrument.symbol, one.interval, one.candle, one.complete) for one in closed]

    @staticmethod
    def _candle(state: _State, interval: Interval, candle: Candle | None, *, closed: bool) -> None:
        state.candle_seqs[interval] += 1
        readers = state.candle_readers.get(interval)
        if readers and candle is not None:
            _put_all(readers, *_encoded_candle(state, interval, candle, closed=closed))

    def _encoded_book(self, state: _State, depth: int) -> bytes:
        encoded = state.encoded_books.get(depth)
        if encoded is None:
            message = wire.order_book(state.instrument, state.book, depth, state.book_seq)
            encoded = state.encoded_books[depth] = message.SerializeToString()
        return encoded

    def _required(self, symbol: str) -> _State:
        self.instruments.require(symbol)
        return self._states[symbol]

    def _live_state(self, symbol: str) -> _State:
        state = self._required(symbol)
        if not self._is_live(state):
            raise _market_down(state)
        return state

    def _is_live(self, state: _State) -> bool:
        return state.heard_at is not None and self._monotonic() - state.heard_at <= self._stale_after_seconds

    def _heard(self, state: _State, event_time: datetime, heard_at: float, heard_time: datetime) -> None:
        state.heard_at = heard_at
        state.heard_time = heard_time
        if state.reached is None or event_time > state.reached:
            state.reached = event_time
        if not state.live:
            state.live = True
            self._publish_interruption(state, restored=True)

    def _notice_silence(self, state: _State) -> None:
        if state.live and not self._is_live(state):
            state.live = False
            self._publish_interruption(state, restored=False)

    def _publish_interruption(self, state: _State, *, restored: bool) -> None:
        key, encoded = self._interruption(state, restored=restored)
        for readers in (state.price_readers, *state.book_readers.values(), *state.candle_readers.values()):
            _put_all(readers, key, encoded)

    @staticmethod
    def _interruption(state: _State, *, restored: bool) -> tuple[Hashable, bytes]:
        message = wire.interruption(state.instrument, restored=restored, last_heard=state.heard_time)
        # `interruptions` has the same number in all three stream responses, so one encoding serves them all.
        return ("interruption", state.instrument.symbol), pb.StreamPricesResponse(
            interruptions=[message]
        ).SerializeToString()


def _market_down(state: _State) -> EntasisError:
    return EntasisError("MARKET_DOWN", symbol=state.instrument.symbol, exchange=state.instrument.exchange)


def _updates_after(recent: Sequence[tuple[int, bytes]], seq: int | None) -> list[tuple[int, bytes]] | None:
    """The updates after `seq`, each exactly once; None where they are no longer, or were never, all held."""
    if seq is None or not recent or not recent[0][0] - 1 <= seq <= recent[-1][0]:
        return None
    return [update for update in recent if update[0] > seq]


def _encoded_candle(state: _State, interval: Interval, candle: Candle, *, closed: bool) -> tuple[Hashable, bytes]:
    seq = state.candle_seqs[interval]
    update = wire.candle_update(state.instrument, interval, candle, closed=closed, seq=seq)
    key = (state.instrument.symbol, candle.open_time)
    return key, pb.StreamCandlesResponse(updates=[update]).SerializeToString()


def _as_item(encoded_book: bytes) -> bytes:
    """An encoded book as an encoded `StreamOrderBooksResponse` of that one book, without encoding it anew."""
    return _BOOKS_TAG + _varint(len(encoded_book)) + encoded_book


_BOOKS_TAG = b"\x0a"  # field 1, length-delimited


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _put_all(readers: Iterable[Mailbox], key: Hashable, encoded: bytes) -> None:
    for mailbox in readers:
        mailbox.put(key, encoded)
