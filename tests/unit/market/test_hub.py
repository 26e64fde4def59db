"""The hub: the latest of every instrument, its numbers, and what readers are sent."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from decimal import Decimal
from typing import TypeVar

import pytest
from google.protobuf.message import Message
from tests.support.market import (
    BTC,
    ETH,
    MINUTE,
    NOON,
    SECOND,
    SetClock,
    SetMonotonic,
    candle,
    delta,
    snapshot,
    trade,
)

from entasis.market.v1 import market_pb2 as pb
from entasis_engine.errors import EntasisError
from entasis_engine.exchanges.feed import Candle, Connected, Disconnected, Event, Interval
from entasis_engine.market.book import checksum
from entasis_engine.market.candles import ClosedCandle
from entasis_engine.market.hub import CLOSE_GRACE, RESUME_UPDATES_MAX, Hub
from entasis_engine.market.instruments import Instruments
from entasis_engine.market.mailbox import Mailbox
from entasis_engine.times import from_milliseconds

STALE_AFTER_SECONDS = 15.0
_M = TypeVar("_M", bound=Message)


class Bench:
    """A hub with clocks that are set by hand."""

    def __init__(self, *, queue_max: int = 1024, clock: SetClock | None = None) -> None:
        self.clock = clock or SetClock()
        self.monotonic = SetMonotonic()
        self.hub = Hub(
            Instruments([BTC, ETH]),
            clock=self.clock,
            monotonic=self.monotonic,
            stale_after_seconds=STALE_AFTER_SECONDS,
            queue_max=queue_max,
        )

    def apply(self, *events: Event) -> list[ClosedCandle]:
        return self.hub.apply(events)

    def pass_seconds(self, seconds: float) -> None:
        self.monotonic.seconds += seconds
        self.clock.now += timedelta(seconds=seconds)

    def price(self, symbol: str = "BTC-USDT") -> pb.GetPriceResponse:
        return pb.GetPriceResponse.FromString(self.hub.price(symbol))

    def book(self, depth: int = 10, symbol: str = "BTC-USDT") -> pb.GetOrderBookResponse:
        return pb.GetOrderBookResponse.FromString(self.hub.order_book(symbol, depth))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def _taken(mailbox: Mailbox, kind: type[_M]) -> _M:
    """What waits in a mailbox; nothing where nothing waits."""

    async def take() -> bytes:
        try:
            async with asyncio.timeout(0):
                return await mailbox.take()
        except TimeoutError:
            return b""

    return kind.FromString(asyncio.run(take()))


def _prices(mailbox: Mailbox) -> list[str]:
    return [update.price for update in _taken(mailbox, pb.StreamPricesResponse).updates]


def _seqs(mailbox: Mailbox) -> list[int]:
    return [update.seq for update in _taken(mailbox, pb.StreamPricesResponse).updates]


def _pairs(side: Sequence[object]) -> list[tuple[str, str]]:
    return [(level[0], level[1]) for level in side]  # type: ignore[index]


def _refused(bench: Bench, symbol: str = "BTC-USDT") -> EntasisError:
    with pytest.raises(EntasisError) as refused:
        bench.hub.price(symbol)
    return refused.value


# Prices.


def test_the_price_is_that_of_the_last_trade(bench: Bench) -> None:
    """The price, its time and its exchange are the last trade's, printed at the quote scale."""
    bench.apply(Connected("BTC-USDT", NOON), trade("65000", NOON), trade("65432.1", NOON + SECOND, "0.5"))
    price = bench.price()
    assert (price.symbol, price.price, price.volume, price.exchange) == ("BTC-USDT", "65432.10", "1.5", "binance")
    assert price.timestamp.ToDatetime(tzinfo=NOON.tzinfo) == NOON + SECOND


def test_a_price_asked_for_again_is_the_newest(bench: Bench) -> None:
    """Having answered once does not make the next answer old."""
    bench.apply(trade("1", NOON))
    assert bench.price().price == "1.00"
    bench.apply(trade("2", NOON))
    assert bench.price().price == "2.00"


def test_tiny_prices_and_sizes_print_without_exponent(bench: Bench) -> None:
    """Numbers that Python would print with an exponent are printed in full."""
    bench.apply(trade("1E-8", NOON, "1E-18"))
    assert (bench.price().price, bench.price().volume) == ("0.00000001", "0.000000000000000001")


def test_the_volume_window_moves_though_nothing_is_traded(bench: Bench) -> None:
    """The volume of a day ago leaves the price as minutes pass, even where no trade comes."""
    bench.apply(Connected("BTC-USDT", NOON), trade("5", NOON, "7"), trade("5", NOON + 1439 * MINUTE, "1"))
    assert bench.price().volume == "8"
    bench.apply(delta([], [], NOON + 1440 * MINUTE + SECOND))
    bench.hub.advance(NOON + 1440 * MINUTE + CLOSE_GRACE)
    assert bench.price().volume == "1"


def test_history_counts_in_the_volume(bench: Bench) -> None:
    """Minutes of the last day that history gives are in the volume, each once, the running one included."""
    bench.apply(Connected("BTC-USDT", NOON), trade("5", NOON, "1"))
    bench.price()
    for minute in (candle(NOON - MINUTE, 5, volume=10), candle(NOON - MINUTE, 5, volume=10), candle(NOON, 5, volume=1)):
        bench.hub.fill("BTC-USDT", minute)
    assert bench.price().volume == "11"


def test_a_symbol_that_is_not_listed_is_unknown(bench: Bench) -> None:
    """Asking for an unlisted symbol is MARKET_001 and NOT_FOUND, in every way of asking."""
    with pytest.raises(EntasisError) as refused:
        bench.hub.order_book("FOO-BAR", 1)
    asked = [_refused(bench, "FOO-BAR"), refused.value]
    for reading in (
        bench.hub.read_prices(["FOO-BAR"], {}),
        bench.hub.read_books(["FOO-BAR"], 1),
        bench.hub.read_candles(["FOO-BAR"], Interval.MINUTE),
    ):
        with pytest.raises(EntasisError) as refused, reading:
            pass
        asked.append(refused.value)
    assert {(error.entry.reason, error.entry.http, error.metadata["symbol"]) for error in asked} == {
        ("MARKET_001", 404, "FOO-BAR")
    }


def test_events_of_other_symbols_are_left_aside(bench: Bench) -> None:
    """An event of a symbol that is not listed changes nothing and harms nothing."""
    assert bench.apply(trade("1", NOON, symbol="FOO-BAR"), trade("2", NOON)) == []
    assert bench.price().price == "2.00"


# Staleness.


def test_before_anything_was_heard_there_is_no_market(bench: Bench) -> None:
    """Neither price nor book is there before the feed has said anything."""
    error = _refused(bench)
    assert (error.entry.reason, error.metadata) == ("MARKET_002", {"symbol": "BTC-USDT", "exchange": "binance"})
    with pytest.raises(EntasisError, match="MARKET_DOWN"):
        bench.book()


def test_without_a_trade_there_is_no_price_and_without_a_book_no_book(bench: Bench) -> None:
    """A feed that is heard but has given no trade, or no book, yet is MARKET_002 for what is missing."""
    bench.apply(Connected("BTC-USDT", NOON), snapshot([("1", "1")], [("2", "1")]))
    assert _refused(bench).entry.reason == "MARKET_002"
    assert bench.book().symbol == "BTC-USDT"
    bench.apply(Connected("ETH-USDT", NOON), trade("1", NOON, symbol="ETH-USDT"))
    assert bench.price("ETH-USDT").price == "1.00"
    with pytest.raises(EntasisError, match="MARKET_DOWN"):
        bench.book(symbol="ETH-USDT")


def test_a_silent_feed_is_stale_after_the_set_time(bench: Bench) -> None:
    """A price is given up to the set silence and MARKET_002 beyond it, each symbol for itself."""
    bench.apply(trade("1", NOON), snapshot([("1", "1")], []), trade("9", NOON, symbol="ETH-USDT"))
    bench.pass_seconds(STALE_AFTER_SECONDS)
    bench.apply(trade("9", NOON, symbol="ETH-USDT"))
    assert bench.price().price == "1.00"
    bench.pass_seconds(0.001)
    assert _refused(bench).entry.reason == "MARKET_002"
    with pytest.raises(EntasisError, match="MARKET_DOWN"):
        bench.book()
    assert bench.price("ETH-USDT").price == "9.00"


def test_any_event_is_a_sign_of_life(bench: Bench) -> None:
    """A change of the book keeps the price alive, though nothing is traded."""
    bench.apply(trade("1", NOON), snapshot([("1", "1")], []))
    bench.pass_seconds(STALE_AFTER_SECONDS)
    bench.apply(delta([("1", "2")], []))
    bench.pass_seconds(STALE_AFTER_SECONDS)
    assert bench.price().price == "1.00"


def test_staleness_does_not_hang_on_the_clock_on_the_wall(bench: Bench) -> None:
    """A wall clock that is set back or forth by hours makes no price stale."""
    bench.apply(trade("1", NOON))
    bench.clock.now += timedelta(hours=5)
    assert bench.price().price == "1.00"


def test_a_lost_feed_has_no_book_until_a_snapshot(bench: Bench) -> None:
    """After a loss the book is MARKET_002, whatever changes come, until it is whole again."""
    bench.apply(Connected("BTC-USDT", NOON), snapshot([("1", "1")], [("2", "1")]))
    bench.apply(Disconnected("BTC-USDT", NOON))
    with pytest.raises(EntasisError, match="MARKET_DOWN"):
        bench.book()
    bench.apply(Connected("BTC-USDT", NOON), delta([("1", "5")], []))
    with pytest.raises(EntasisError, match="MARKET_DOWN"):
        bench.book()
    bench.apply(snapshot([("1", "6")], [], update_id=8))
    assert _pairs(bench.book().bids) == [("1.00", "6")]


# Order books.


def test_the_book_prints_as_the_contract_has_it(bench: Bench) -> None:
    """Levels are pairs of decimal strings, best first, up to the depth, with the checksum of what is printed."""
    bench.apply(snapshot([("64999", "2.3450"), ("65000", "1.234")], [("65002", "2.345"), ("65001", "1E-3")]))
    book = bench.book(1)
    assert (_pairs(book.bids), _pairs(book.asks)) == ([("65000.00", "1.234")], [("65001.00", "0.001")])
    assert book.checksum == checksum(_pairs(book.bids), _pairs(book.asks))
    assert len(bench.book(10).bids) == 2


def test_every_change_of_a_book_has_the_next_number(bench: Bench) -> None:
    """The number of a book grows by one a change, and is the same at every depth."""
    bench.apply(snapshot([("1", "1")], []))
    first = bench.book(1).seq
    bench.apply(delta([("1", "2")], []), delta([("1", "3")], []))
    assert bench.book(1).seq == bench.book(5).seq == first + 2


def test_a_book_reader_gets_the_book_and_then_each_change(bench: Bench) -> None:
    """A book stream begins with the book as it stands; each change replaces it whole."""
    bench.apply(snapshot([("1", "1")], [("2", "1")]))
    with bench.hub.read_books(["BTC-USDT"], 10) as mailbox:
        assert _taken(mailbox, pb.StreamOrderBooksResponse).books == [bench.book()]
        bench.apply(delta([("1", "0")], []))
        (book,) = _taken(mailbox, pb.StreamOrderBooksResponse).books
        assert (_pairs(book.bids), _pairs(book.asks)) == ([], [("2.00", "1")])


def test_a_book_reader_of_several_symbols_gets_each_of_them(bench: Bench) -> None:
    """The books of all symbols wait side by side; the newest of one never displaces that of another."""
    bench.apply(snapshot([("1", "1")], []), snapshot([("9", "1")], [], symbol="ETH-USDT"))
    with bench.hub.read_books(["BTC-USDT", "ETH-USDT"], 10) as mailbox:
        assert {book.symbol for book in _taken(mailbox, pb.StreamOrderBooksResponse).books} == {"BTC-USDT", "ETH-USDT"}
        for size in ("2", "3", "4"):
            bench.apply(delta([("1", size)], []), delta([("9", size)], [], symbol="ETH-USDT"))
        books = _taken(mailbox, pb.StreamOrderBooksResponse).books
        assert {(book.symbol, book.bids[0][1]) for book in books} == {("BTC-USDT", "4"), ("ETH-USDT", "4")}
        assert len(books) == 2


def test_readers_of_different_depths_get_their_own(bench: Bench) -> None:
    """Each reader gets the depth that it asked for."""
    bench.apply(snapshot([("1", "1"), ("2", "1"), ("3", "1")], []))
    with bench.hub.read_books(["BTC-USDT"], 1) as shallow, bench.hub.read_books(["BTC-USDT"], 3) as deep:
        for mailbox in (shallow, deep):
            _taken(mailbox, pb.StreamOrderBooksResponse)
        bench.apply(delta([("4", "1")], []))
        assert [len(_taken(each, pb.StreamOrderBooksResponse).books[0].bids) for each in (shallow, deep)] == [1, 3]


# Streams of prices.


def test_a_price_reader_gets_the_last_trade_and_then_every_trade(bench: Bench) -> None:
    """The stream begins with the last trade; from then on every trade comes once, in order, numbered one by one."""
    bench.apply(trade("1", NOON), trade("2", NOON, "0.5"))
    with bench.hub.read_prices(["BTC-USDT"], {}) as mailbox:
        bench.apply(trade("3", NOON), trade("4", NOON))
        bench.apply(trade("5", NOON), trade("99", NOON, symbol="ETH-USDT"))
        updates = _taken(mailbox, pb.StreamPricesResponse).updates
    assert [(update.price, update.volume) for update in updates] == [
        ("2.00", "0.5"),
        ("3.00", "1"),
        ("4.00", "1"),
        ("5.00", "1"),
    ]
    assert [update.seq - updates[0].seq for update in updates] == [0, 1, 2, 3]


def test_reading_is_never_behind_what_was_published(bench: Bench) -> None:
    """Whoever asks for the price after an update sees at least that update."""
    bench.apply(trade("1", NOON))
    with bench.hub.read_prices(["BTC-USDT"], {}) as mailbox:
        bench.apply(trade("2", NOON + SECOND))
        assert _prices(mailbox)[-1] == bench.price().price == "2.00"


@pytest.mark.parametrize("missed", [0, 1, 500, RESUME_UPDATES_MAX])
def test_a_gap_is_resumed_with_each_update_exactly_once(missed: int) -> None:
    """A reader that names its last number gets every later update once and nothing else, then the stream goes on."""
    bench = Bench(queue_max=16)
    bench.apply(trade("1", NOON))
    with bench.hub.read_prices(["BTC-USDT"], {}) as mailbox:
        (last,) = _seqs(mailbox)
    for _ in range(missed):
        bench.apply(trade("2", NOON))
    with bench.hub.read_prices(["BTC-USDT"], {"BTC-USDT": last}) as mailbox:
        bench.apply(trade("3", NOON))
        assert _seqs(mailbox) == list(range(last + 1, last + missed + 2))


def test_gaps_of_several_symbols_are_resumed_at_once(bench: Bench) -> None:
    """Many missed updates of many symbols are all sent, though together they are more than a queue holds."""
    bench.apply(trade("1", NOON), trade("1", NOON, symbol="ETH-USDT"))
    with bench.hub.read_prices(["BTC-USDT", "ETH-USDT"], {}) as mailbox:
        last = {one.symbol: one.seq for one in _taken(mailbox, pb.StreamPricesResponse).updates}
    for symbol in last:
        bench.apply(*[trade("2", NOON, symbol=symbol)] * RESUME_UPDATES_MAX)
    with bench.hub.read_prices(list(last), last) as mailbox:
        seqs = [(one.symbol, one.seq) for one in _taken(mailbox, pb.StreamPricesResponse).updates]
    assert seqs == [(symbol, last[symbol] + 1 + number) for symbol in last for number in range(RESUME_UPDATES_MAX)]


@pytest.mark.parametrize("offset", [-RESUME_UPDATES_MAX - 1, 1])
def test_a_gap_that_is_no_longer_held_begins_with_a_snapshot(bench: Bench, offset: int) -> None:
    """A number too old, or of a future that never was, gets the last trade, whose number shows the gap."""
    bench.apply(*[trade("1", NOON)] * (2 * RESUME_UPDATES_MAX))
    with bench.hub.read_prices(["BTC-USDT"], {}) as mailbox:
        (newest,) = _seqs(mailbox)
    with bench.hub.read_prices(["BTC-USDT"], {"BTC-USDT": newest + offset}) as mailbox:
        assert _seqs(mailbox) == [newest]


def test_numbers_grow_over_a_restart() -> None:
    """A new hub begins above every number of the one before, even after a restart within a second."""
    before = Bench()
    before.apply(*[trade("1", NOON)] * 500, snapshot([("1", "1")], []))
    with before.hub.read_prices(["BTC-USDT"], {}) as mailbox:
        (last,) = _seqs(mailbox)
    after = Bench(clock=SetClock(NOON + timedelta(milliseconds=1)))
    after.apply(trade("1", NOON), snapshot([("1", "1")], []))
    with after.hub.read_prices(["BTC-USDT"], {"BTC-USDT": last}) as mailbox:
        (first,) = _seqs(mailbox)
    assert first > last
    assert after.book().seq > before.book().seq


def test_numbers_are_exact_as_a_double(bench: Bench) -> None:
    """Numbers stay below 2^53 until the year 2255, so that JavaScript reads them exactly."""
    late = Bench(clock=SetClock(from_milliseconds(9_000_000_000_000)))
    late.apply(trade("1", NOON))
    with late.hub.read_prices(["BTC-USDT"], {}) as mailbox:
        assert _seqs(mailbox)[0] < 2**53


def test_a_slow_price_reader_gets_the_newest_of_each_symbol() -> None:
    """A reader that falls too far behind loses steps, sees the gap in the numbers, and ends at the newest price."""
    bench = Bench(queue_max=16)
    bench.apply(trade("1", NOON), trade("1", NOON, symbol="ETH-USDT"))
    with bench.hub.read_prices(["BTC-USDT", "ETH-USDT"], {}) as mailbox:
        last, _ = _seqs(mailbox)
        bench.apply(trade("2", NOON, symbol="ETH-USDT"))
        for number in range(1000):
            bench.apply(trade(number + 1, NOON))
        updates = _taken(mailbox, pb.StreamPricesResponse).updates
    assert len(updates) <= 16
    assert [one.price for one in updates if one.symbol == "BTC-USDT"][-1] == "1000.00"
    assert [one.price for one in updates if one.symbol == "ETH-USDT"] == ["2.00"]
    seqs = [one.seq for one in updates if one.symbol == "BTC-USDT"]
    assert seqs == sorted(set(seqs))
    assert seqs[0] > last + 1
    assert seqs[-1] == last + 1000


def test_a_small_queue_still_holds_every_symbol() -> None:
    """A queue set smaller than the number of symbols loses none of them."""
    bench = Bench(queue_max=1)
    bench.apply(trade("1", NOON), trade("9", NOON, symbol="ETH-USDT"))
    with bench.hub.read_prices(["BTC-USDT", "ETH-USDT"], {}) as mailbox:
        assert _prices(mailbox) == ["1.00", "9.00"]


@pytest.mark.parametrize("how", ["prices", "books", "candles"])
def test_leaving_leaves_nothing_behind(bench: Bench, how: str) -> None:
    """Once a reader has left, by an error too, the hub holds nothing of it."""
    bench.apply(trade("1", NOON), snapshot([("1", "1")], []))
    readings = {
        "prices": lambda: bench.hub.read_prices(["BTC-USDT", "ETH-USDT"], {}),
        "books": lambda: bench.hub.read_books(["BTC-USDT", "ETH-USDT"], 7),
        "candles": lambda: bench.hub.read_candles(["BTC-USDT", "ETH-USDT"], Interval.HOUR),
    }
    left = []
    for fails in (False, True):
        try:
            with readings[how]() as mailbox:
                left.append(weakref.ref(mailbox))
                if fails:
                    raise ConnectionResetError
        except ConnectionResetError:
            pass
        del mailbox
    gc.collect()
    bench.apply(trade("2", NOON), delta([("1", "2")], []))
    assert [each() for each in left] == [None, None]


# Interruptions.


def test_readers_are_told_of_a_silence_and_of_its_end(bench: Bench) -> None:
    """Every stream of a symbol says once that its feed fell silent, and since when, and once that it is back."""
    bench.apply(Connected("BTC-USDT", NOON), trade("1", NOON), snapshot([("1", "1")], []))
    with (
        bench.hub.read_prices(["BTC-USDT"], {}) as prices,
        bench.hub.read_books(["BTC-USDT"], 5) as books,
        bench.hub.read_candles(["BTC-USDT"], Interval.MINUTE) as candles,
    ):
        kinds = (
            (prices, pb.StreamPricesResponse),
            (books, pb.StreamOrderBooksResponse),
            (candles, pb.StreamCandlesResponse),
        )
        for mailbox, kind in kinds:
            _taken(mailbox, kind)
        bench.pass_seconds(STALE_AFTER_SECONDS + 1)
        for _ in range(3):
            bench.hub.advance(NOON)
        for mailbox, kind in kinds:
            (interruption,) = _taken(mailbox, kind).interruptions  # type: ignore[attr-defined]
            assert (interruption.symbol, interruption.restored) == ("BTC-USDT", False)
            assert interruption.last_heard_time.ToDatetime(tzinfo=NOON.tzinfo) == NOON
        bench.apply(delta([("1", "2")], []), delta([("1", "3")], []))
        for mailbox, kind in kinds:
            assert [one.restored for one in _taken(mailbox, kind).interruptions] == [True]  # type: ignore[attr-defined]


def test_a_reader_of_a_silent_feed_is_told_so_at_once(bench: Bench) -> None:
    """A stream that is opened while nothing was ever heard says so, and says when that is over."""
    with bench.hub.read_prices(["BTC-USDT"], {}) as mailbox:
        (interruption,) = _taken(mailbox, pb.StreamPricesResponse).interruptions
        assert not interruption.restored
        assert not interruption.HasField("last_heard_time")
        bench.apply(trade("1", NOON))
        batch = _taken(mailbox, pb.StreamPricesResponse)
        assert ([one.restored for one in batch.interruptions], [one.price for one in batch.updates]) == (
            [True],
            ["1.00"],
        )


def test_whoever_is_told_of_a_silence_is_told_of_its_end(bench: Bench) -> None:
    """A reader that comes in the moment between a silence and its being noticed hears of both its start and end."""
    bench.apply(trade("1", NOON))
    bench.pass_seconds(STALE_AFTER_SECONDS + 1)
    with bench.hub.read_prices(["BTC-USDT"], {}) as mailbox:
        bench.apply(trade("2", NOON))
        batch = _taken(mailbox, pb.StreamPricesResponse)
    assert [one.restored for one in batch.interruptions] == [False, True]
    assert [one.price for one in batch.updates] == ["2.00"]


# Candles.


def _candles(mailbox: Mailbox) -> list[tuple[str, int, bool]]:
    """Close, minute since noon, and closedness of the candle updates that wait."""
    return [
        (update.candle.close, (update.candle.timestamp.seconds - int(NOON.timestamp())) // 60, update.closed)
        for update in _taken(mailbox, pb.StreamCandlesResponse).updates
    ]


def _minutes(closed: Sequence[ClosedCandle], interval: Interval = Interval.MINUTE) -> list[tuple[Candle, bool]]:
    return [(one.candle, one.complete) for one in closed if one.interval is interval]


def test_a_candle_reader_gets_the_candle_its_changes_and_its_close(bench: Bench) -> None:
    """The stream gives the candle in progress, each change, and the candle once more, closed, when the next begins."""
    bench.apply(Connected("BTC-USDT", NOON), trade("1", NOON))
    with bench.hub.read_candles(["BTC-USDT"], Interval.MINUTE) as mailbox:
        assert _candles(mailbox) == [("1.00", 0, False)]
        bench.apply(trade("2", NOON + SECOND))
        assert _candles(mailbox) == [("2.00", 0, False)]
        bench.apply(trade("3", NOON + MINUTE))
        assert _candles(mailbox) == [("2.00", 0, True), ("3.00", 1, False)]


def test_longer_candles_are_streamed_too(bench: Bench) -> None:
    """A five-minute candle changes with its minutes and closes when the fifth one does."""
    bench.apply(Connected("BTC-USDT", NOON), trade("1", NOON))
    with bench.hub.read_candles(["BTC-USDT"], Interval.FIVE_MINUTES) as mailbox:
        for minute in range(1, 6):
            bench.apply(trade(1 + minute, NOON + minute * MINUTE))
        assert _candles(mailbox) == [
            *((f"{close}.00", 0, False) for close in range(1, 6)),
            ("5.00", 0, True),
            ("6.00", 5, False),
        ]


def test_an_incomplete_candle_is_never_streamed_as_closed(bench: Bench) -> None:
    """A candle that may lack trades is handed over as incomplete, and readers are not told that it is final."""
    bench.apply(Connected("BTC-USDT", NOON + SECOND), trade("1", NOON + 2 * SECOND))
    with bench.hub.read_candles(["BTC-USDT"], Interval.MINUTE) as mailbox:
        closed = bench.apply(trade("2", NOON + MINUTE))
        assert _minutes(closed) == [(candle(NOON, 1), False)]
        assert _candles(mailbox) == [("1.00", 0, False), ("2.00", 1, False)]


def test_a_candle_closes_by_the_clock_after_the_grace(bench: Bench) -> None:
    """A minute in which the feed goes on without a trade closes two seconds after its end, and not before."""
    bench.apply(Connected("BTC-USDT", NOON), trade("1", NOON), delta([], [], NOON + MINUTE + 3 * SECOND))
    assert bench.hub.advance(NOON + MINUTE + CLOSE_GRACE - timedelta(milliseconds=1)) == []
    assert _minutes(bench.hub.advance(NOON + MINUTE + CLOSE_GRACE)) == [(candle(NOON, 1), True)]


def test_the_clock_does_not_close_what_the_feed_has_not_reached(bench: Bench) -> None:
    """Where feed or process hung over the end of a minute, the trades that come after it still get into its candle."""
    bench.apply(Connected("BTC-USDT", NOON), trade("1", NOON))
    assert bench.hub.advance(NOON + 10 * MINUTE) == []
    closed = bench.apply(trade("2", NOON + 30 * SECOND), trade("3", NOON + MINUTE))
    assert _minutes(closed) == [(candle(NOON, 1, 2, 1, 2, volume=2), True)]


def test_the_clock_closes_what_a_lost_feed_left_behind(bench: Bench) -> None:
    """The minute in which the feed was lost closes by the clock, as incomplete, so that it is asked for at once."""
    bench.apply(Connected("BTC-USDT", NOON), trade("1", NOON), Disconnected("BTC-USDT", NOON + SECOND))
    assert _minutes(bench.hub.advance(NOON + MINUTE + CLOSE_GRACE)) == [(candle(NOON, 1), False)]


def test_quiet_minutes_are_flat(bench: Bench) -> None:
    """While the feed goes on, minutes without a trade close at the last price with no volume."""
    bench.apply(Connected("BTC-USDT", NOON), trade("5", NOON))
    closed = bench.apply(trade("6", NOON + 3 * MINUTE))
    assert _minutes(closed) == [
        (candle(NOON, 5), True),
        (candle(NOON + MINUTE, 5, volume=0), True),
        (candle(NOON + 2 * MINUTE, 5, volume=0), True),
    ]


def test_a_day_of_trades_closes_every_candle_once(bench: Bench) -> None:
    """A whole day gives 1440 minutes, 288 five-minute candles, 24 hours and a day, each once and all complete."""
    midnight = NOON.replace(hour=0)
    closed = bench.apply(Connected("BTC-USDT", midnight))
    for minute in range(1441):
        closed += bench.apply(trade(minute + 1, midnight + minute * MINUTE))
    assert all(one.complete for one in closed)
    for interval, count in (
        (Interval.MINUTE, 1440),
        (Interval.FIVE_MINUTES, 288),
        (Interval.HOUR, 24),
        (Interval.DAY, 1),
    ):
        opens = [one.candle.open_time for one in closed if one.interval is interval]
        assert opens == [midnight + number * interval.length for number in range(count)]
    (day,) = (one.candle for one in closed if one.interval is Interval.DAY)
    assert day == candle(midnight, 1, 1440, 1, 1440, volume=1440)


def test_history_completes_the_candle_in_progress(bench: Bench) -> None:
    """Minutes that history gives, before or after the feed's own, make the longer candle whole."""
    start = NOON + 3 * MINUTE
    bench.apply(Connected("BTC-USDT", start), trade("4", start))
    closed = bench.apply(trade("5", start + MINUTE))
    for minute in range(3):
        bench.hub.fill("BTC-USDT", candle(NOON + minute * MINUTE, minute + 1, volume=10))
    closed += bench.apply(trade("6", start + 2 * MINUTE))
    assert _minutes(closed, Interval.FIVE_MINUTES) == [(candle(NOON, 1, 5, 1, 5, volume=32), True)]


def test_every_candle_that_a_loss_spoiled_is_handed_over(bench: Bench) -> None:
    """After a loss over the end of a five-minute candle, that candle too is handed over as incomplete."""
    bench.apply(Connected("BTC-USDT", NOON), trade("1", NOON))
    bench.apply(trade("1", NOON + 3 * MINUTE), Disconnected("BTC-USDT", NOON + 3 * MINUTE))
    bench.hub.advance(NOON + 4 * MINUTE + CLOSE_GRACE)
    again = NOON + 11 * MINUTE
    closed = bench.apply(Connected("BTC-USDT", again), trade("2", again), trade("2", again + MINUTE))
    assert [(one.candle.open_time, one.complete) for one in closed if one.interval is Interval.FIVE_MINUTES] == [
        (NOON, False)
    ]


def test_a_slow_candle_reader_gets_the_newest_state_of_each_candle() -> None:
    """However many changes a reader missed, it gets each candle once as it last stood, those that closed as closed."""
    bench = Bench(queue_max=1)
    bench.apply(Connected("BTC-USDT", NOON), trade("1", NOON))
    with bench.hub.read_candles(["BTC-USDT"], Interval.MINUTE) as mailbox:
        for second in range(150):
            bench.apply(trade(second + 1, NOON + second * SECOND))
        updates = _candles(mailbox)
    newest = {minute: (close, closed) for close, minute, closed in updates}
    assert newest == {0: ("60.00", True), 1: ("120.00", True), 2: ("150.00", False)}
    assert len(updates) < 20


def test_candle_numbers_are_of_one_interval_and_leave_nothing_out(bench: Bench) -> None:
    """Each change of a candle has the next number, whoever reads other intervals, and whenever they come and go."""
    bench.apply(Connected("BTC-USDT", NOON), trade("1", NOON))
    seqs: list[int] = []
    with bench.hub.read_candles(["BTC-USDT"], Interval.MINUTE) as mailbox:
        for second in range(90):
            with ExitStack() as others:
                for interval in (Interval.MINUTE, Interval.HOUR):
                    others.enter_context(bench.hub.read_candles(["BTC-USDT"], interval))
                bench.apply(trade(Decimal(second + 1), NOON + second * SECOND))  # type: ignore[arg-type]
        bench.hub.closed_late("BTC-USDT", Interval.MINUTE, candle(NOON - MINUTE, 7))
        seqs += [one.seq for one in _taken(mailbox, pb.StreamCandlesResponse).updates]
    assert seqs == list(range(seqs[0], seqs[0] + 1 + 90 + 1 + 1))  # the first, the trades, a close, a late close


def test_a_candle_that_nobody_watched_has_another_number_when_it_has_changed(bench: Bench) -> None:
    """Who comes back to a candle sees by its number whether it has changed, and how often."""
    bench.apply(Connected("BTC-USDT", NOON), trade("1", NOON))

    def number() -> int:
        with bench.hub.read_candles(["BTC-USDT"], Interval.MINUTE) as mailbox:
            (update,) = _taken(mailbox, pb.StreamCandlesResponse).updates
        return update.seq

    first = number()
    assert number() == first
    bench.apply(trade("2", NOON + SECOND), trade("3", NOON + 2 * SECOND))
    assert number() == first + 2


def test_a_minute_that_is_filled_in_numbers_the_longer_candles(bench: Bench) -> None:
    """An hour in progress that a late minute has changed is another one for whoever comes back to it."""
    bench.apply(Connected("BTC-USDT", NOON + MINUTE), trade("1", NOON + MINUTE))

    def hour() -> pb.CandleUpdate:
        with bench.hub.read_candles(["BTC-USDT"], Interval.HOUR) as mailbox:
            (update,) = _taken(mailbox, pb.StreamCandlesResponse).updates
        return update

    before = hour()
    bench.hub.fill("BTC-USDT", candle(NOON, 9))
    assert (hour().candle.high, hour().seq) == ("9.00", before.seq + 1)


@pytest.mark.parametrize("interval", [Interval.MINUTE, Interval.HOUR])
def test_a_candle_that_the_exchange_told_later_is_streamed_as_closed(bench: Bench, interval: Interval) -> None:
    """A candle that was not seen whole closes for its readers once the exchange has told it."""
    bench.apply(Connected("BTC-USDT", NOON + 30 * SECOND), trade("1", NOON + 31 * SECOND))
    with bench.hub.read_candles(["BTC-USDT"], interval) as mailbox:
        _taken(mailbox, pb.StreamCandlesResponse)
        bench.hub.closed_late("BTC-USDT", interval, candle(NOON, 7))
        (update,) = _taken(mailbox, pb.StreamCandlesResponse).updates
    assert (update.closed, update.interval, update.candle.close) == (True, interval.value, "7.00")
