"""Order books and their checksum."""

from __future__ import annotations

import zlib
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from tests.support.market import NOON, SECOND, delta, levels, snapshot

from entasis_engine.exchanges.feed import BookDelta, BookSnapshot, Level
from entasis_engine.market.book import OrderBook, checksum

PRICES = st.integers(1, 12).map(lambda ticks: Decimal(ticks) / 4)
SIZES = st.sampled_from([Decimal(0), Decimal("0.00"), Decimal("1"), Decimal("2.50"), Decimal("1E-18")])
SIDES = st.lists(st.tuples(PRICES, SIZES), max_size=8, unique_by=lambda level: level[0])
CHANGES = st.lists(st.tuples(st.booleans(), SIDES, SIDES), max_size=20)


def _changed(model: dict[Decimal, Decimal], changes: list[Level]) -> None:
    for price, size in changes:
        model.pop(price, None)
        if size:
            model[price] = size


@given(CHANGES, st.integers(1, 5))
def test_a_book_is_what_a_dictionary_of_levels_would_be(
    changes: list[tuple[bool, list[Level], list[Level]]], depth: int
) -> None:
    """After any run of snapshots and deltas the best levels are those of a plain dictionary, sorted."""
    book, bids, asks = OrderBook(), dict[Decimal, Decimal](), dict[Decimal, Decimal]()
    for number, (is_whole, its_bids, its_asks) in enumerate([(True, [], []), *changes]):
        if is_whole:
            bids.clear()
            asks.clear()
            book.apply(BookSnapshot("BTC-USDT", number, its_bids, its_asks, NOON))
        else:
            book.apply(BookDelta("BTC-USDT", number, its_bids, its_asks, NOON))
        _changed(bids, its_bids)
        _changed(asks, its_asks)
        assert book.update_id == number
        assert book.bids(depth) == sorted(bids.items(), reverse=True)[:depth]
        assert book.asks(depth) == sorted(asks.items())[:depth]


def test_prices_of_many_digits_stay_exact() -> None:
    """A price of 40 digits is given back as it came, on both sides."""
    bid, ask = "1234567890123456789012345678901234567.891", "1234567890123456789012345678901234567.893"
    book = OrderBook()
    book.apply(snapshot([(bid, "1")], [(ask, "1E-18")]))
    assert book.bids(1) == levels((bid, "1"))
    assert book.asks(1) == levels((ask, "1E-18"))


def test_a_delta_without_a_snapshot_is_ignored() -> None:
    """Nothing is built on nothing: a first delta, or one after a loss, leaves the book invalid and empty."""
    book = OrderBook()
    book.apply(delta([("1", "1")], []))
    assert not book.valid
    book.apply(snapshot([("1", "1")], [("2", "1")]))
    book.invalidate()
    book.apply(delta([("1", "2")], []))
    assert not book.valid
    assert book.bids(10) == book.asks(10) == []


def test_a_snapshot_replaces_everything() -> None:
    """After a snapshot nothing of the book before is left."""
    book = OrderBook()
    book.apply(snapshot([("1", "1"), ("0.5", "1")], [("2", "1")]))
    book.apply(snapshot([("1.5", "3")], [], NOON + SECOND, update_id=9))
    assert book.bids(10) == levels(("1.5", "3"))
    assert book.asks(10) == []
    assert (book.update_id, book.time) == (9, NOON + SECOND)


def test_a_price_is_one_level_however_it_is_written() -> None:
    """`65000.0` changes and removes the level of `65000.00`."""
    book = OrderBook()
    book.apply(snapshot([("65000.00", "1")], []))
    book.apply(delta([("65000.0", "2")], []))
    assert book.bids(10) == levels(("65000", "2"))
    book.apply(delta([("6.5E+4", "0E-8")], []))
    assert book.bids(10) == []


def test_the_checksum_is_that_of_the_contract() -> None:
    """The levels alternate bid and ask, joined by colons, and go into a CRC-32."""
    bids = [("65000.00", "1.234"), ("64999.00", "2.345")]
    asks = [("65001.00", "1.234"), ("65002.00", "2.345")]
    printed = b"65000.00:1.234:65001.00:1.234:64999.00:2.345:65002.00:2.345"
    assert checksum(bids, asks) == zlib.crc32(printed)


def test_the_longer_side_goes_on_alone_in_the_checksum() -> None:
    """Where one side is shorter the other's levels follow each other; an empty book has the checksum of nothing."""
    assert checksum([("1", "2")], []) == zlib.crc32(b"1:2")
    assert checksum([], [("3", "4"), ("5", "6")]) == zlib.crc32(b"3:4:5:6")
    assert checksum([("1", "2")], [("3", "4"), ("5", "6")]) == zlib.crc32(b"1:2:3:4:5:6")
    assert checksum([], []) == 0
