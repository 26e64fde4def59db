"""Real recordings of Binance, played through the engine's own parts, against what the exchange itself published."""

from __future__ import annotations

import asyncio
import gzip
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from tests.support.market import SetMonotonic

from entasis_engine.exchanges.binance import BookTicker, FrameDecoder
from entasis_engine.exchanges.feed import BookDelta, BookSnapshot, Candle, Event, Interval, Trade
from entasis_engine.exchanges.recorded import RecordedFeed, read_candles
from entasis_engine.market.book import OrderBook
from entasis_engine.market.candles import ClosedCandle
from entasis_engine.market.hub import Hub
from entasis_engine.market.instruments import Instruments

pytestmark = pytest.mark.data

SYMBOLS = {"BTC-USDT": "btcusdt", "ETH-USDT": "ethusdt"}
EVE = datetime(2024, 8, 8, 23, 55, tzinfo=UTC)
MIDNIGHT = datetime(2024, 8, 9, tzinfo=UTC)
GOLDEN = Candle(EVE, Decimal(61828), Decimal("61860.8"), Decimal("61583.22"), Decimal("61685.99"), Decimal("199.42863"))


def _files(data_dir: Path, native: str) -> list[Path]:
    return [data_dir / "recordings" / f"binance_spot_{native}_2024080{day}.gz" for day in (8, 9)]


def _lines(files: list[Path]) -> Iterator[str]:
    for file in files:
        with gzip.open(file, "rt") as lines:
            yield from lines


@dataclass
class Replay:
    """What came of playing all recordings."""

    closed: list[ClosedCandle] = field(default_factory=list)
    trades: defaultdict[str, list[Trade]] = field(default_factory=lambda: defaultdict(list))
    feed: RecordedFeed | None = None


@pytest.fixture(scope="module")
def replay(data_dir: Path) -> Replay:
    """All four recordings, as fast as possible, through the feed and the hub."""
    return asyncio.run(_replayed(data_dir))


async def _replayed(data_dir: Path) -> Replay:
    files = [file for native in SYMBOLS.values() for file in _files(data_dir, native)]
    feed = RecordedFeed(files, [], speed=0, monotonic=SetMonotonic())
    instruments = await feed.instruments()
    result = Replay(feed=feed)
    hub = Hub(
        Instruments(instruments), clock=feed.now, monotonic=SetMonotonic(), stale_after_seconds=15, queue_max=1024
    )
    async for batch in feed.events():
        for event in batch:
            if isinstance(event, Trade):
                result.trades[event.symbol].append(event)
        result.closed += hub.apply(batch)
        result.closed += hub.advance(feed.now())
    return result


async def test_five_minute_candles_are_those_that_the_exchange_published(replay: Replay, data_dir: Path) -> None:
    """Every five-minute candle that the recordings cover whole is exactly the published one, to the last digit."""
    compared = set()
    for symbol, native in SYMBOLS.items():
        (file,) = data_dir.glob(f"{native}-5m-*.csv.gz")
        published = {one.open_time: one for one in read_candles(file)}
        for one in replay.closed:
            if (one.symbol, one.interval, one.complete) == (symbol, Interval.FIVE_MINUTES, True):
                assert one.candle == published[one.candle.open_time]
                compared.add((symbol, one.candle.open_time))
    assert compared >= {(symbol, opened) for symbol in SYMBOLS for opened in (EVE, MIDNIGHT)}
    print(f"\n{len(compared)} five-minute candles equal the published ones")


async def test_minutes_close_once_and_in_order(replay: Replay) -> None:
    """Every minute between the first and the last closes once; only the first, joined midway, is incomplete."""
    for symbol in SYMBOLS:
        minutes = [one for one in replay.closed if (one.symbol, one.interval) == (symbol, Interval.MINUTE)]
        opens = [one.candle.open_time for one in minutes]
        assert opens == [opens[0] + number * timedelta(minutes=1) for number in range(len(opens))]
        assert [one.complete for one in minutes] == [False] + [True] * (len(minutes) - 1)
        assert len(minutes) >= 11


async def test_the_golden_candle(replay: Replay) -> None:
    """The 8,863 trades of the last five minutes of 2024-08-08 fold into exactly the published candle."""
    trades = [one for one in replay.trades["BTC-USDT"] if EVE <= one.time < MIDNIGHT]
    assert len(trades) == 8863
    folded = [
        one.candle
        for one in replay.closed
        if (one.symbol, one.interval, one.candle.open_time) == ("BTC-USDT", Interval.FIVE_MINUTES, EVE)
    ]
    assert folded == [GOLDEN]


async def test_instruments_are_as_the_exchange_lists_them(replay: Replay) -> None:
    """Steps are read from the recording itself: Binance's ticks and lots of these two instruments."""
    assert replay.feed is not None
    steps = {one.symbol: (one.tick_size, one.lot_size, one.quote_scale) for one in await replay.feed.instruments()}
    assert steps == {
        "BTC-USDT": (Decimal("0.01"), Decimal("0.00001"), 2),
        "ETH-USDT": (Decimal("0.01"), Decimal("0.0001"), 2),
    }


Best = tuple[Decimal, Decimal, Decimal, Decimal]


def _best(book: OrderBook) -> Best:
    ((bid, bid_size),), ((ask, ask_size),) = book.bids(1), book.asks(1)
    return bid, bid_size, ask, ask_size


def _events_and_tickers(data_dir: Path, symbol: str) -> tuple[list[Event], list[BookTicker]]:
    tickers: list[BookTicker] = []
    decoder = FrameDecoder(symbol, on_book_ticker=tickers.append)
    events = [event for line in _lines(_files(data_dir, SYMBOLS[symbol])) for event in decoder.decode(line)]
    return events, tickers


# How many of the recorded best prices fall on an update at which the rebuilt book stands, and how many of its changes
# can be held against the latest best prices told before: fewer would mean that less was compared than there is.
AT_SAME_UPDATE = {"BTC-USDT": 1072, "ETH-USDT": 1056}
AT_LATEST = {"BTC-USDT": 6493, "ETH-USDT": 6468}
# Updates between two best prices told where a bid was gone for a moment, and of which the exchange told nothing: it
# leaves out states that do not last.
NOT_TOLD = {"BTC-USDT": {50_093_478_174, 50_093_480_542}, "ETH-USDT": set[int]()}


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_the_rebuilt_book_agrees_with_the_exchanges_best_prices(data_dir: Path, symbol: str) -> None:
    """At every update of which the exchange told the best bid and ask, the rebuilt book has the same, and after every
    change it has those of the latest one told, but for the two moments that the exchange left out."""
    events, tickers = _events_and_tickers(data_dir, symbol)
    told: dict[int, Best] = {one.update_id: (one.bid, one.bid_size, one.ask, one.ask_size) for one in tickers}
    ids = sorted(told)
    book, following = OrderBook(), 0
    at_same_update = at_latest = 0
    differing: list[int] = []
    for event in events:
        if isinstance(event, BookSnapshot | BookDelta):
            book.apply(event)
        if not isinstance(event, BookDelta):
            continue  # a snapshot is as of before the diffs that follow it, which bring it up to what was told
        while following < len(ids) and ids[following] <= event.update_id:
            following += 1
        latest = ids[following - 1]
        at_latest += 1
        at_same_update += latest == event.update_id
        if _best(book) != told[latest]:
            assert latest < event.update_id, "differs at the very same update"
            differing.append(event.update_id)
    print(
        f"\n{symbol}: of {len(tickers)} best prices told, {at_same_update} compared at the very same update, 0 differ; "
        f"{at_latest} changes compared with the latest one told, {len(differing)} differ"
    )
    assert set(differing) == NOT_TOLD[symbol]
    assert (at_same_update, at_latest) == (AT_SAME_UPDATE[symbol], AT_LATEST[symbol])
