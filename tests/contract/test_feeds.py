"""What every feed does, whatever exchange it speaks to.

A new feed is held to it by one more line in `FEEDS`: a function that makes it ready to be read.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from tests.support.market import MINUTE, NOON, SetClock, SetMonotonic

from entasis_engine.exchanges.feed import (
    BookDelta,
    BookSnapshot,
    Connected,
    Disconnected,
    Event,
    Feed,
    Interval,
    Trade,
)
from entasis_engine.exchanges.recorded import RecordedFeed
from entasis_engine.exchanges.simulated import SimulatedFeed
from entasis_engine.market.book import OrderBook
from entasis_engine.market.candles import open_time_of
from entasis_engine.times import to_milliseconds

EVENTS_READ = 300
READ_WITHIN_SECONDS = 20.0


@dataclass(frozen=True)
class Offered:
    """A feed that is ready to be read, and where it has a history to be asked for."""

    feed: Feed
    symbol: str
    interval: Interval
    start: datetime
    """Open time of a candle that the feed has, with at least nine closed ones after it."""


@asynccontextmanager
async def _simulated(_folder: Path) -> AsyncIterator[Offered]:
    clock = SetClock(NOON + timedelta(seconds=20))

    async def sleep(seconds: float) -> None:
        clock.now += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    feed = SimulatedFeed(seed=7, clock=clock, sleep=sleep)
    yield Offered(feed, "ETH-BTC", Interval.MINUTE, NOON - 60 * MINUTE)
    await feed.close()


@asynccontextmanager
async def _recorded(folder: Path, *, with_frames: bool) -> AsyncIterator[Offered]:
    rows = [
        f"{(NOON + at * MINUTE).isoformat()},{100 + at},{102 + at},{99 + at},{101 + at},{abs(at)}.5\n"
        for at in range(-60, 60)
    ]
    candles = folder / "btcusdt-1m-2024.csv"
    candles.write_text("open_time,open,high,low,close,volume\n" + "".join(rows), encoding="utf-8")
    frames = folder / "frames.txt"
    frames.write_text("".join(_frame(number) for number in range(400)), encoding="utf-8")
    feed = RecordedFeed([frames] if with_frames else [], [candles], speed=0, monotonic=SetMonotonic())
    yield Offered(feed, "BTC-USDT", Interval.MINUTE, NOON - 60 * MINUTE)
    await feed.close()


def _frame(number: int) -> str:
    """The lines of one tenth of a second: a diff, a trade, and at the start a whole book."""
    stamp = int(NOON.timestamp() * 1000) + 100 * number
    diff = {
        "e": "depthUpdate",
        "E": stamp,
        "s": "BTCUSDT",
        "U": number,
        "u": number,
        "b": [["99", f"{number % 3}"]],
        "a": [],
    }
    trade = {"e": "trade", "s": "BTCUSDT", "t": number, "p": "100.5", "q": "0.25", "T": stamp, "m": bool(number % 2)}
    messages: list[object] = [
        {"stream": "btcusdt@depth@100ms", "data": diff},
        {"stream": "btcusdt@trade", "data": trade},
    ]
    if number == 2:
        messages.append({"lastUpdateId": 1, "bids": [["99", "1"], ["98", "5"]], "asks": [["101", "1"]]})
    return "".join(f"{stamp}000000 {json.dumps(message)}\n" for message in messages)


@asynccontextmanager
async def _live(_folder: Path) -> AsyncIterator[Offered]:
    pytest.importorskip("ccxt")
    from tests.support.exchange_server import ExchangeServer, Market

    from entasis_engine.exchanges.live import LiveFeed

    lines = [line for number in range(2, 400) for line in _frame(number).splitlines()]
    lines.sort(key=lambda line: "lastUpdateId" not in line)  # the market begins with its book
    market = Market("BTCUSDT", lines)
    opened = [to_milliseconds(NOON + at * MINUTE) for at in range(-60, 60)]
    market.klines["1m"] = [[at, "100", "102", "99", "101", "2.5", at + 59_999, "0", 0, "0", "0", "0"] for at in opened]
    async with ExchangeServer.running(market) as server:
        feed = LiveFeed(
            "binance", ["BTC-USDT"], base_urls=server.base_urls(), clock=SetClock(NOON + timedelta(seconds=40))
        )

        async def play() -> None:
            await server.subscribed("btcusdt@trade", "btcusdt@depth@100ms")
            async with server.moving():
                await server.deserted()

        player = asyncio.create_task(play())
        yield Offered(feed, "BTC-USDT", Interval.MINUTE, NOON - 60 * MINUTE)
        player.cancel()
        await asyncio.wait([player])
        await feed.close()


FEEDS: dict[str, Callable[[Path], AbstractAsyncContextManager[Offered]]] = {
    "simulated": _simulated,
    "recorded frames": lambda folder: _recorded(folder, with_frames=True),
    "recorded candles": lambda folder: _recorded(folder, with_frames=False),
    "live": _live,
}


@pytest.fixture(params=FEEDS)
async def offered(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Offered]:
    async with FEEDS[request.param](tmp_path) as ready:
        yield ready


async def _some_events(feed: Feed) -> list[Event]:
    """The first events of a feed: as many as tell something, or all there are."""
    await feed.instruments()
    events: list[Event] = []
    batches = feed.events()
    async with asyncio.timeout(READ_WITHIN_SECONDS):
        async for batch in batches:
            events += batch
            if len(events) >= EVENTS_READ:
                break
    await batches.aclose()  # type: ignore[attr-defined]
    assert any(isinstance(event, Trade) for event in events)
    return events


async def test_instruments_are_told_in_full(offered: Offered) -> None:
    """Each instrument has a well-formed symbol, once, steps above zero, and the feed's own exchange."""
    instruments = await offered.feed.instruments()
    symbols = [one.symbol for one in instruments]
    assert len(set(symbols)) == len(symbols) > 0
    for one in instruments:
        assert one.symbol == one.symbol.upper()
        assert one.symbol == f"{one.base_currency}-{one.quote_currency}"
        assert one.tick_size > 0
        assert one.lot_size > 0
        assert one.max_leverage >= 1
        assert one.quote_scale >= 0
        assert one.exchange == offered.feed.exchange == offered.feed.exchange.lower()


async def test_instruments_may_be_asked_for_again(offered: Offered) -> None:
    """Asking twice gives the same."""
    assert await offered.feed.instruments() == await offered.feed.instruments()


async def test_events_are_of_the_instruments(offered: Offered) -> None:
    """No event is of a symbol that the feed does not list."""
    listed = {one.symbol for one in await offered.feed.instruments()}
    assert {event.symbol for event in await _some_events(offered.feed)} <= listed


async def test_values_are_exact_and_in_utc(offered: Offered) -> None:
    """Prices and sizes are finite decimals that can be, times are of UTC and of whole milliseconds."""
    for event in await _some_events(offered.feed):
        assert event.time.utcoffset() == timedelta(0)
        assert event.time.microsecond % 1000 == 0
        if isinstance(event, Trade):
            pairs = [(event.price, event.size)]
            assert event.size > 0
        elif isinstance(event, BookSnapshot | BookDelta):
            pairs = [*event.bids, *event.asks]
        else:
            pairs = []
        for price, size in pairs:
            assert isinstance(price, Decimal)
            assert isinstance(size, Decimal)
            assert price.is_finite()
            assert size.is_finite()
            assert price > 0
            assert size >= 0


async def test_coverage_is_told_before_the_first_trade(offered: Offered) -> None:
    """Before its first trade a symbol is connected, and it is not connected twice without a loss in between."""
    connected: set[str] = set()
    for event in await _some_events(offered.feed):
        if isinstance(event, Connected):
            assert event.symbol not in connected
            connected.add(event.symbol)
        elif isinstance(event, Disconnected):
            connected.discard(event.symbol)
        elif isinstance(event, Trade):
            assert event.symbol in connected


async def test_trades_come_in_the_exchanges_order(offered: Offered) -> None:
    """Within a symbol numbers grow and times do not go back."""
    events = await _some_events(offered.feed)
    for symbol in {event.symbol for event in events}:
        trades = [event for event in events if isinstance(event, Trade) and event.symbol == symbol]
        assert all(one.trade_id < after.trade_id and one.time <= after.time for one, after in pairwise(trades))


async def test_books_begin_whole_and_are_never_crossed(offered: Offered) -> None:
    """Changes of a book come only after a whole one, with growing numbers, and leave bids below asks."""
    books: dict[str, OrderBook] = {}
    for event in await _some_events(offered.feed):
        if isinstance(event, BookSnapshot):
            books[event.symbol] = OrderBook()
        elif isinstance(event, Disconnected):
            books.pop(event.symbol, None)
        if isinstance(event, BookSnapshot | BookDelta):
            book = books[event.symbol]
            assert book.update_id is None or event.update_id > book.update_id
            book.apply(event)
            assert not book.bids(1) or not book.asks(1) or book.bids(1)[0][0] < book.asks(1)[0][0]


async def test_the_markets_time_is_aware_and_does_not_go_back(offered: Offered) -> None:
    """The feed tells the market's time once its instruments are known, in UTC, and it only goes on."""
    await offered.feed.instruments()
    before = offered.feed.now()
    assert before.utcoffset() == timedelta(0)
    await _some_events(offered.feed)
    assert offered.feed.now() >= before


async def _history(offered: Offered, start: datetime, end: datetime) -> list[datetime]:
    await offered.feed.instruments()
    candles = await offered.feed.candles(offered.symbol, offered.interval, start, end)
    for one in candles:
        assert one.low <= min(one.open, one.close) <= max(one.open, one.close) <= one.high
        assert one.volume >= 0
        assert one.open_time.utcoffset() == timedelta(0)
    return [one.open_time for one in candles]


async def test_history_is_half_open_and_in_order(offered: Offered) -> None:
    """A range of history holds its start and not its end, oldest first, on the interval's boundaries."""
    await _some_events(offered.feed)
    length = offered.interval.length
    expected = [offered.start + number * length for number in range(9)]
    assert await _history(offered, offered.start, offered.start + 9 * length) == expected
    a_bit = timedelta(milliseconds=1)
    assert await _history(offered, offered.start + a_bit, offered.start + 8 * length + a_bit) == expected[1:]
    assert await _history(offered, offered.start, offered.start) == []


async def test_history_holds_closed_candles_alone(offered: Offered) -> None:
    """However far a range reaches, no candle that is not over is in it."""
    await _some_events(offered.feed)
    now, length = offered.feed.now(), offered.interval.length
    opens = await _history(offered, offered.start, now + 100 * length)
    assert offered.start in opens
    assert all(one + length <= now and one == open_time_of(one, offered.interval) for one in opens)
    assert await _history(offered, now, now + 100 * length) == []


async def test_history_before_everything_is_empty(offered: Offered) -> None:
    """A range before there was any market is no error and holds nothing."""
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    assert await _history(offered, long_ago, long_ago + 5 * offered.interval.length) == []


async def test_a_feed_may_be_closed_twice_and_its_events_end(offered: Offered) -> None:
    """Closing ends the events, and doing so again is no error."""
    await offered.feed.instruments()
    batches = offered.feed.events()
    await anext(batches)
    await offered.feed.close()
    await offered.feed.close()
    async with asyncio.timeout(READ_WITHIN_SECONDS):
        async for _batch in batches:
            pass
