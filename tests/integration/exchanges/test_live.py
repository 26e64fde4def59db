"""The live feed, against a local exchange that speaks Binance's protocol and misbehaves on command."""

from __future__ import annotations

import asyncio
import csv
import gzip
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, TypeVar

import pytest

from entasis_engine.exchanges.feed import (
    BookDelta,
    BookSnapshot,
    Candle,
    Connected,
    Disconnected,
    Event,
    Feed,
    FeedError,
    Instrument,
    Interval,
    Trade,
)
from entasis_engine.exchanges.live import DEFAULT_SYMBOLS, Limits, LiveFeed
from entasis_engine.exchanges.live_ccxt import decode_json, make_exchange
from entasis_engine.exchanges.live_rules import (
    DECIMAL_PLACES,
    TICK_SIZE,
    Backoff,
    BookDiffer,
    TradeRun,
    exact_decimal,
    to_instrument,
)
from entasis_engine.times import from_milliseconds, to_milliseconds

pytest.importorskip("ccxt")

from tests.support.exchange_server import (
    ExchangeServer,
    Kline,
    Market,
    data_dir,
    recorded_lines,
    synthetic_lines,
)

SYMBOL = "BTC-USDT"
NATIVE = "BTCUSDT"
STREAMS = ("btcusdt@trade", "btcusdt@depth@100ms")
NOW = datetime(2024, 8, 9, 12, tzinfo=UTC)
WAIT_SECONDS = 30
DAMAGED_BY_A_FLOAT = ("0.1000000000000000055", "123456789012345.123456789")

FAST = Limits(
    request_deadline_seconds=20,
    trade_silence_seconds=WAIT_SECONDS,
    book_silence_seconds=WAIT_SECONDS,
    backoff_first_seconds=0.01,
    backoff_max_seconds=0.05,
)

_E = TypeVar("_E", bound=Event)


class Reader:
    """Reads a feed to its end, and keeps the book that its events make."""

    def __init__(self, feed: LiveFeed) -> None:
        self.events: list[Event] = []
        self.bids: dict[Decimal, Decimal] = {}
        self.asks: dict[Decimal, Decimal] = {}
        self.update_id = -1
        self._changed = asyncio.Condition()
        self._feed = feed
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for batch in self._feed.events():
            for event in batch:
                self._keep(event)
            async with self._changed:
                self._changed.notify_all()

    def _keep(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, BookSnapshot):
            self.bids, self.asks, self.update_id = dict(event.bids), dict(event.asks), event.update_id
        elif isinstance(event, BookDelta):
            assert event.update_id > self.update_id
            for side, levels in ((self.bids, event.bids), (self.asks, event.asks)):
                side.update(levels)
                for price, size in levels:
                    if size == 0:
                        side.pop(price, None)
            self.update_id = event.update_id

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds of what was read."""
        async with asyncio.timeout(WAIT_SECONDS), self._changed:
            await self._changed.wait_for(holds)

    def of(self, kind: type[_E]) -> list[_E]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def trade_ids(self) -> list[int]:
        return [trade.trade_id for trade in self.of(Trade)]


@asynccontextmanager
async def reading(feed: LiveFeed) -> AsyncIterator[Reader]:
    reader = Reader(feed)
    try:
        yield reader
    finally:
        await feed.close()
        await asyncio.wait_for(reader.task, WAIT_SECONDS)


@asynccontextmanager
async def streaming(
    market: Market, *, limits: Limits = FAST, exchange: str = "binance", combined: bool = False
) -> AsyncIterator[tuple[ExchangeServer, Reader]]:
    """A server, and a feed whose streams are flowing and whose book is known."""
    async with ExchangeServer.running(market) as server:
        feed = make_feed(server, limits=limits, exchange=exchange, combined=combined)
        async with reading(feed) as reader:
            await flowing(server, reader)
            yield server, reader


async def flowing(server: ExchangeServer, reader: Reader) -> None:
    """Wait for subscriptions, then let the market move on until the feed gives trades and a book, again."""
    before = len(reader.events)
    async with asyncio.timeout(WAIT_SECONDS):
        await server.subscribed(*STREAMS)
    async with server.moving():
        await reader.until(lambda: {Connected, BookSnapshot} <= {type(event) for event in reader.events[before:]})


def make_feed(
    server: ExchangeServer,
    symbols: Sequence[str] = (SYMBOL,),
    *,
    limits: Limits = FAST,
    exchange: str = "binance",
    combined: bool = False,
    now: datetime = NOW,
) -> LiveFeed:
    return LiveFeed(
        exchange,
        symbols,
        base_urls=server.base_urls(combined=combined),
        rng=random.Random(7),
        clock=lambda: now,
        limits=limits,
    )


def made_up(count: int = 2000, **options: Any) -> Market:
    return Market(NATIVE, synthetic_lines(NATIVE, count), **options)


def as_trades(played: Sequence[dict[str, Any]]) -> list[Trade]:
    return [
        Trade(SYMBOL, raw["t"], Decimal(raw["p"]), Decimal(raw["q"]), not raw["m"], from_milliseconds(raw["T"]))
        for raw in played
    ]


@asynccontextmanager
async def under_way(exchange: str) -> AsyncIterator[tuple[Market, ExchangeServer, Reader]]:
    """A made-up market that has moved on for a while, and a feed that has caught up with it."""
    market = made_up()
    async with streaming(market, exchange=exchange) as (server, reader):
        await server.play(50)
        await caught_up(reader, market)
        yield market, server, reader


async def caught_up(reader: Reader, market: Market) -> None:
    """Wait until the reader has the market's last trade and its last update.

    A book that is compared state by state gives no event of an update that changes nothing: its number stays behind.
    """
    last_trade = market.played_trades[-1]["t"]
    await reader.until(
        lambda: (
            last_trade in reader.trade_ids[-1:] and (reader.update_id >= market.update_id or same_book(reader, market))
        )
    )


def same_book(reader: Reader, market: Market) -> bool:
    return (reader.bids, reader.asks) == (market.bids, market.asks)


class TestStreams:
    @pytest.mark.parametrize("exchange", ["binance", "binanceus"])
    @pytest.mark.parametrize("quotes_numbers", [True, False], ids=["strings", "numbers"])
    async def test_digits_survive(self, exchange: str, quotes_numbers: bool) -> None:
        """Prices and sizes arrive digit for digit, by our own book rules and by ccxt's, quoted on the wire or not."""
        market = made_up(quotes_numbers=quotes_numbers)
        async with streaming(market, exchange=exchange) as (server, reader):
            await server.play()
            await caught_up(reader, market)
            assert reader.of(Trade) == as_trades(market.played_trades)
            assert DAMAGED_BY_A_FLOAT[0] in {str(trade.size) for trade in reader.of(Trade)}
            assert same_book(reader, market)
            assert not reader.of(Disconnected)

    @pytest.mark.data
    async def test_recording_arrives_exactly(self) -> None:
        """Every recorded trade arrives once, in order and exact, and the book is the one built independently."""
        market = Market(NATIVE, recorded_lines(NATIVE, "20240808"))
        async with streaming(market, combined=True) as (server, reader):
            await server.play()
            await caught_up(reader, market)
            assert reader.of(Trade) == as_trades(market.played_trades)
            assert len(reader.of(Trade)) > 9000
            assert len(reader.of(BookSnapshot)) == 1
            # The snapshot ends at 1000 levels a side; the market's own book goes deeper.
            for ours, theirs, best in ((reader.bids, market.bids, max), (reader.asks, market.asks, min)):
                assert best(ours) == best(theirs)
                assert ours.items() <= theirs.items()
                near = sorted(theirs, reverse=best is max)[:500]
                assert all(ours[price] == theirs[price] for price in near)

    async def test_two_symbols(self) -> None:
        """Symbols share a connection and are kept apart; the default ones are Bitcoin and Ether."""
        ether = Market("ETHUSDT", synthetic_lines("ETHUSDT", 100, seed=8))
        async with ExchangeServer.running(made_up(100), ether) as server, reading(make_feed(server, ())) as reader:
            async with asyncio.timeout(WAIT_SECONDS):
                await server.subscribed(*STREAMS, "ethusdt@trade", "ethusdt@depth@100ms")
            await server.play()
            await reader.until(lambda: len(reader.of(Trade)) == 100 and len(reader.of(BookSnapshot)) == 2)
            assert {event.symbol for event in reader.of(Trade)} == set(DEFAULT_SYMBOLS)
            assert {event.symbol for event in reader.of(BookSnapshot)} == set(DEFAULT_SYMBOLS)
            assert {event.symbol for event in reader.of(Connected)} == set(DEFAULT_SYMBOLS)
            assert server.connections_made == 1

    async def test_connected_comes_before_trades(self) -> None:
        """The first trade follows `Connected`, whose time leaves out the millisecond that may be incomplete."""
        async with streaming(made_up()) as (_, reader):
            events = [event for event in reader.events if isinstance(event, Connected | Trade)]
            connected, first = events[0], events[1]
            assert isinstance(connected, Connected)
            assert isinstance(first, Trade)
            assert connected.time == first.time + timedelta(milliseconds=1)


class TestTrouble:
    @pytest.mark.parametrize("exchange", ["binance", "binanceus"])
    async def test_cut_connection(self, exchange: str) -> None:
        """After a cut the feed says so, connects anew, gives a fresh book, and repeats and reorders no trade."""
        async with under_way(exchange) as (market, server, reader):
            seen_until = reader.of(Trade)[-1]
            server.cut()
            await reader.until(lambda: bool(reader.of(Disconnected)))
            assert reader.of(Disconnected)[0].time == seen_until.time
            await server.abandoned()
            await server.play(20)
            missed = {raw["t"] for raw in market.played_trades} - set(reader.trade_ids)
            await flowing(server, reader)
            await server.play()
            await caught_up(reader, market)
            assert same_book(reader, market)
            assert all(before < after for before, after in pairwise(reader.trade_ids))
            assert missed.isdisjoint(reader.trade_ids)
            # What came before the cut and what came after `Connected` is whole.
            late = reader.events[reader.events.index(reader.of(Connected)[1]) :]
            trades = [event for event in late if isinstance(event, Trade)]
            assert trades == [t for t in as_trades(market.played_trades) if t.trade_id >= trades[0].trade_id]
            disconnected = reader.events.index(reader.of(Disconnected)[0])
            assert any(isinstance(event, BookSnapshot) for event in reader.events[disconnected:])

    @pytest.mark.parametrize("exchange", ["binance", "binanceus"])
    async def test_missing_diffs(self, exchange: str) -> None:
        """Lost diffs cost a fresh snapshot, after which the book is right again; trades flow on."""
        async with under_way(exchange) as (market, server, reader):
            server.drop(3, stream="@depth")
            await server.play(20)
            await reader.until(lambda: len(reader.of(BookSnapshot)) == 2)
            await server.play()
            await caught_up(reader, market)
            assert same_book(reader, market)
            assert not reader.of(Disconnected)
            assert reader.of(Trade) == as_trades(market.played_trades)

    @pytest.mark.parametrize("exchange", ["binance", "binanceus"])
    async def test_missing_diff_in_a_burst(self, exchange: str) -> None:
        """A gap that is read in one go with what came before it costs a fresh snapshot, and needs no later diff."""
        async with under_way(exchange) as (market, server, reader):
            server.delay_seconds = 0.05
            await server.play(4)
            server.drop(1, stream="@depth")
            await server.play(8)
            time.sleep(2 * server.delay_seconds)  # all stands still, so that frames arrive together
            await reader.until(lambda: len(reader.of(BookSnapshot)) == 2)
            assert reader.of(BookSnapshot)[1].update_id == market.update_id
            assert same_book(reader, market)
            assert not reader.of(Disconnected)

    async def test_missing_trade(self) -> None:
        """A lost trade shows by its number: the feed says that trades are missing before it gives later ones."""
        market = made_up()
        async with streaming(market) as (server, reader):
            await server.play(20)
            await caught_up(reader, market)
            server.drop(1, stream="@trade")
            await server.play(20)
            await reader.until(lambda: bool(reader.of(Disconnected)))
            told = reader.events.index(reader.of(Disconnected)[0])
            before = [event.trade_id for event in reader.events[:told] if isinstance(event, Trade)]
            assert before == list(range(1, before[-1] + 1))
            await flowing(server, reader)
            await server.play()
            await caught_up(reader, market)
            assert same_book(reader, market)
            assert server.connections_made == 1

    async def test_delayed_frames(self) -> None:
        """Frames that are late are only late."""
        market = made_up(200)
        async with streaming(market) as (server, reader):
            server.delay_seconds = 0.3
            await server.play()
            assert len(reader.trade_ids) < len(market.played_trades)
            await caught_up(reader, market)
            assert reader.of(Trade) == as_trades(market.played_trades)
            assert same_book(reader, market)
            assert len(reader.of(BookSnapshot)) == 1
            assert not reader.of(Disconnected)

    async def test_dead_server(self) -> None:
        """While the server is dead the feed has said so once; when it is back the feed recovers by itself."""
        market = made_up()
        async with streaming(market) as (server, reader):
            await server.refuse()
            await reader.until(lambda: bool(reader.of(Disconnected)))
            await server.play(50)
            await server.accept()
            await flowing(server, reader)
            await server.play()
            await caught_up(reader, market)
            assert len(reader.of(Disconnected)) == 1
            assert same_book(reader, market)

    async def test_dead_from_the_start(self) -> None:
        """A feed that begins while the server is dead says so, and begins once the server is there."""
        market = made_up()
        async with ExchangeServer.running(market) as server:
            await server.refuse()
            feed = make_feed(server)
            with pytest.raises(FeedError):
                await feed.instruments()
            async with reading(feed) as reader:
                await reader.until(lambda: bool(reader.of(Disconnected)))
                await server.accept()
                await flowing(server, reader)
                assert isinstance(reader.events[0], Disconnected)

    async def test_failing_snapshots(self) -> None:
        """While snapshots fail trades flow on; the book comes once one is answered."""
        market = made_up()
        async with ExchangeServer.running(market) as server:
            feed = make_feed(server)
            await feed.instruments()
            server.is_failing = True
            async with reading(feed) as reader:
                async with asyncio.timeout(WAIT_SECONDS):
                    await server.subscribed(*STREAMS)
                    await server.play(20)
                    await server.asked("/api/v3/depth", 1)
                    await reader.until(lambda: len(reader.trade_ids) == 10)
                    server.is_failing = False
                async with server.moving():
                    await reader.until(lambda: bool(reader.of(BookSnapshot)))
                await server.play()
                await caught_up(reader, market)
                assert same_book(reader, market)
                assert not reader.of(Disconnected)

    async def test_stale_snapshots(self) -> None:
        """A snapshot older than the diffs is not used; the next one is."""
        market = made_up()
        async with ExchangeServer.running(market) as server:
            server.snapshots_stale_by = 1
            await server.play(10)
            async with reading(make_feed(server)) as reader:
                async with asyncio.timeout(WAIT_SECONDS):
                    await server.subscribed(*STREAMS)
                    await server.play(10)
                    await server.asked("/api/v3/depth", 1)
                    await server.play(10)
                    await server.asked("/api/v3/depth", 2)
                await server.play()
                await caught_up(reader, market)
                assert reader.of(BookSnapshot)[0].update_id > 1000
                assert same_book(reader, market)

    async def test_silence(self) -> None:
        """A connection that is open but mute is given up after a while, and made anew."""
        limits = Limits(
            trade_silence_seconds=1.0,
            book_silence_seconds=1.0,
            backoff_first_seconds=0.01,
            backoff_max_seconds=0.05,
        )
        market = made_up()
        async with streaming(market, limits=limits) as (server, reader):
            await reader.until(lambda: bool(reader.of(Disconnected)))
            connections = server.connections_made
            await server.abandoned()
            await flowing(server, reader)
            assert server.connections_made > 1
            assert connections >= 1

    async def test_slow_reader(self) -> None:
        """A reader that lags is told that trades are missing after what was kept for it, and then goes on."""
        market = made_up()
        limits = Limits(queue_batches_max=4, backoff_first_seconds=0.01, backoff_max_seconds=0.05)
        async with ExchangeServer.running(market) as server:
            feed = make_feed(server, limits=limits)
            stream = feed.events()
            events: list[Event] = []
            async with asyncio.timeout(WAIT_SECONDS):
                first = asyncio.ensure_future(anext(stream))
                await server.subscribed(*STREAMS)
                await server.play(2)
                events += await first
                # Nothing is read while the market moves on, until the queue has run over.
                while market.remaining > 1000:
                    await server.play(20)
                while not any(isinstance(event, Disconnected) for event in events):
                    events += await anext(stream)
                ids = [event.trade_id for event in events if isinstance(event, Trade)]
                assert ids == list(range(1, len(ids) + 1))
                assert len(ids) < 500

                told = len(events)
                async with server.moving():
                    while not {Connected, BookSnapshot} <= {type(event) for event in events[told:]}:
                        events += await anext(stream)
                assert server.connections_made == 1
            await feed.close()
            await stream.aclose()  # type: ignore[attr-defined]


class TestInstruments:
    async def test_steps_are_exact(self) -> None:
        """Steps are what the exchange says, digit for digit; without a leverage limit it is 1."""
        filters = (
            {"filterType": "PRICE_FILTER", "minPrice": "0", "maxPrice": "9", "tickSize": "0.00000000000000000100"},
            {"filterType": "LOT_SIZE", "minQty": "0", "maxQty": "9", "stepSize": DAMAGED_BY_A_FLOAT[0]},
        )
        async with ExchangeServer.running(made_up(filters=filters)) as server:
            feed = make_feed(server)
            assert await feed.instruments() == [
                Instrument(
                    symbol=SYMBOL,
                    tick_size=Decimal("0.000000000000000001"),
                    lot_size=Decimal(DAMAGED_BY_A_FLOAT[0]),
                    quote_scale=18,
                    exchange="binance",
                    max_leverage=Decimal(1),
                )
            ]
            await feed.close()

    async def test_unknown_symbol(self) -> None:
        """A symbol that the exchange does not list raises `FeedError`."""
        async with ExchangeServer.running(made_up()) as server:
            feed = make_feed(server, ["FOO-BAR"])
            with pytest.raises(FeedError, match="does not list FOO-BAR"):
                await feed.instruments()
            await feed.close()

    def test_unknown_exchange(self) -> None:
        """An exchange that ccxt cannot stream from raises `FeedError` at once."""
        with pytest.raises(FeedError, match="nowhere"):
            LiveFeed("nowhere")

    def test_without_ccxt(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without ccxt the feed says how to install it."""
        monkeypatch.setitem(sys.modules, "ccxt.pro", None)
        with pytest.raises(FeedError, match="make setup-extras"):
            LiveFeed("binance")

    def test_is_a_feed(self) -> None:
        """The live feed is a `Feed`."""
        feed: Feed = LiveFeed("binance", clock=lambda: NOW)
        assert (feed.exchange, feed.now()) == ("binance", NOW)


class TestCandles:
    async def test_pages(self) -> None:
        """Candles come over several pages, exact, oldest first, and only those of the half-open range."""
        candles = minutes(NOW - timedelta(minutes=3000), 3000)
        market = made_up()
        market.klines["1m"] = [as_kline(candle, Interval.MINUTE) for candle in candles]
        async with ExchangeServer.running(market) as server:
            feed = make_feed(server)
            start, end = candles[10].open_time, candles[2510].open_time
            assert await feed.candles(SYMBOL, Interval.MINUTE, start, end) == candles[10:2510]
            assert server.requests.count("/api/v3/klines") == 3
            await feed.close()

    async def test_only_closed_ones(self) -> None:
        """The candle in progress is left out, and so is one that a fast clock takes for closed."""
        candles = minutes(NOW - timedelta(minutes=3), 4)
        market = made_up()
        market.klines["1m"] = [as_kline(candle, Interval.MINUTE) for candle in candles]
        async with ExchangeServer.running(market) as server:
            for now, closed in ((NOW, 2), (NOW + timedelta(milliseconds=999), 2), (NOW + timedelta(seconds=1), 3)):
                feed = make_feed(server, now=now)
                got = await feed.candles(SYMBOL, Interval.MINUTE, NOW - timedelta(days=1), NOW + timedelta(days=1))
                assert got == candles[:closed]
                await feed.close()

    @pytest.mark.data
    async def test_real_history(self) -> None:
        """Four years of real hourly candles arrive exactly, across the hours that the exchange lacks."""
        path = data_dir() / "btcusdt-1h-2017-08_2024-03.csv.gz"
        if not path.exists():
            pytest.skip("skipped: no real data")
        start, end = datetime(2017, 12, 1, tzinfo=UTC), datetime(2021, 12, 1, tzinfo=UTC)
        with gzip.open(path, "rt") as lines:
            candles = [
                Candle(open_time, *(Decimal(row[name]) for name in ("open", "high", "low", "close", "volume")))
                for row in csv.DictReader(lines)
                if start <= (open_time := parse_time(row["open_time"])) < end
            ]
        assert len(candles) < (end - start) / Interval.HOUR.length
        market = made_up()
        market.klines["1h"] = [as_kline(candle, Interval.HOUR) for candle in candles]
        async with ExchangeServer.running(market) as server:
            feed = make_feed(server)
            assert await feed.candles(SYMBOL, Interval.HOUR, start, end) == candles
            await feed.close()

    async def test_failures(self) -> None:
        """A failing exchange, an unknown symbol and a dead exchange each raise `FeedError`."""
        async with ExchangeServer.running(made_up()) as server:
            feed = make_feed(server)
            await feed.instruments()
            span = (NOW - timedelta(hours=1), NOW)
            with pytest.raises(FeedError, match="does not list"):
                await feed.candles("FOO-BAR", Interval.MINUTE, *span)
            server.is_failing = True
            with pytest.raises(FeedError, match="An unknown error occurred"):
                await feed.candles(SYMBOL, Interval.MINUTE, *span)
            await server.refuse()
            with pytest.raises(FeedError, match="ExchangeNotAvailable"):
                await feed.candles(SYMBOL, Interval.MINUTE, *span)
            await feed.close()

    async def test_deadline(self) -> None:
        """An exchange that takes a request and never answers raises `FeedError` at the deadline."""

        async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        async with await asyncio.start_server(never_answer, "127.0.0.1", 0) as mute:
            address = f"http://127.0.0.1:{mute.sockets[0].getsockname()[1]}"
            limits = Limits(request_deadline_seconds=30, markets_deadline_seconds=0.2)
            feed = LiveFeed("binance", base_urls={"https://api.binance.com": address}, limits=limits)
            with pytest.raises(FeedError, match=r"did not answer within 0\.2 s"):
                await feed.instruments()
            await feed.close()


class TestClose:
    async def test_leaves_nothing(self) -> None:
        """After `close()` the reader has ended, no task runs and no socket is open; a second call does nothing."""
        market = made_up()
        async with ExchangeServer.running(market) as server:
            tasks_before = asyncio.all_tasks()
            feed = make_feed(server)
            reader = Reader(feed)
            await flowing(server, reader)
            await feed.close()
            await feed.close()
            async with asyncio.timeout(WAIT_SECONDS):
                await reader.task
                await server.deserted()
            assert asyncio.all_tasks() <= tasks_before

    async def test_while_unreachable(self) -> None:
        """A feed that cannot reach its exchange closes as well."""
        async with ExchangeServer.running(made_up()) as server:
            await server.refuse()
            tasks_before = asyncio.all_tasks()
            async with reading(make_feed(server)) as reader:
                await reader.until(lambda: bool(reader.of(Disconnected)))
            assert asyncio.all_tasks() <= tasks_before

    @pytest.mark.parametrize("exchange", ["binance", "binanceus"])
    async def test_while_connections_are_lost(self, exchange: str) -> None:
        """A feed closes as well whose streams fail at that very moment."""
        async with ExchangeServer.running(made_up()) as server:
            tasks_before = asyncio.all_tasks()
            feed = make_feed(server, exchange=exchange)
            reader = Reader(feed)
            await flowing(server, reader)
            feed.ccxt.drop_connections()
            async with asyncio.timeout(WAIT_SECONDS):
                await feed.close()
                await reader.task
                await server.deserted()
            assert asyncio.all_tasks() <= tasks_before

    async def test_unused(self) -> None:
        """A feed that was never read closes, and gives no events afterwards."""
        feed = LiveFeed("binance")
        await feed.close()
        assert [batch async for batch in feed.events()] == []

    async def test_one_reader(self) -> None:
        """A second reader is refused."""
        async with streaming(made_up()) as (_, reader):
            with pytest.raises(FeedError, match="one reader"):
                await anext(reader._feed.events())


class TestRules:
    @pytest.mark.parametrize("text", DAMAGED_BY_A_FLOAT)
    def test_json_numbers_stay_text(self, text: str) -> None:
        """A fractional JSON number becomes the `Decimal` that was written, and a float is refused."""
        assert str(exact_decimal(decode_json(f'{{"p": {text}}}')["p"])) == text
        with pytest.raises(FeedError, match="binary float"):
            exact_decimal(float(text))

    @pytest.mark.parametrize("value", [None, "x", "NaN", "Infinity", [1]])
    def test_what_is_no_number(self, value: object) -> None:
        """What is no finite number raises `FeedError`."""
        with pytest.raises(FeedError):
            exact_decimal(value)

    async def test_failure_before_a_read(self) -> None:
        """What failed while nobody read is told to the next read, once, and nothing is subscribed to by then."""
        exchange = make_exchange("binanceus", base_urls={}, timeout_seconds=1)
        client = exchange.client("ws://127.0.0.1:1")
        client.reject(FeedError("a gap"), "book")
        with pytest.raises(FeedError, match="a gap"):
            exchange.watch_multiple(client.url, ["book"], {}, ["book"])
        assert not client.subscriptions
        assert not client.future("book").done()
        await exchange.close()

    def test_malformed_json(self) -> None:
        """Malformed JSON raises what ccxt expects."""
        with pytest.raises(ValueError, match="truncated"):
            decode_json("{")

    def test_backoff(self) -> None:
        """Waits are random below a bound that doubles up to a limit, and short again after a reset."""

        class Highest(random.Random):
            def uniform(self, a: float, b: float) -> float:
                assert a == 0
                return b

        backoff = Backoff(0.5, 3, Highest())
        assert [backoff.next_seconds() for _ in range(5)] == [0.5, 1, 2, 3, 3]
        backoff.reset()
        assert backoff.next_seconds() == 0.5

    def test_trades_once_and_in_order(self) -> None:
        """Trades come in the order of their numbers, each once, over any number of reads."""
        run = TradeRun(SYMBOL, consecutive=False)
        assert ids_of(run, ["7", "5", "6", "6"]) == ([5, 6, 7], False)
        assert ids_of(run, ["6", "7", "9"]) == ([9], False)

    def test_gaps(self) -> None:
        """Where numbers are consecutive a missing one ends the run, unless a loss is known already."""
        run = TradeRun(SYMBOL, consecutive=True)
        assert ids_of(run, ["5", "6", "8"]) == ([5, 6], True)
        trades, has_gap = run.take([row("8"), row("9"), row("11")], after_loss=True)
        assert ([trade.trade_id for trade in trades], has_gap) == ([8, 9], True)

    def test_names_instead_of_numbers(self) -> None:
        """Trades named otherwise get numbers that grow, are given once, and are remembered for a bounded time."""
        run = TradeRun(SYMBOL, consecutive=False)
        (first, second), _ = run.take([row("a", 10), row("b", 10)])
        assert second.trade_id == first.trade_id + 1 == 10_001
        assert run.take([row("a", 10)]) == ([], False)
        for at in range(TradeRun.RECENT_MAX):
            run.take([row(f"n{at}", 11)])
        assert len(run.take([row("a", 10)])[0]) == 1

    def test_book_states_become_deltas(self) -> None:
        """The first state is a snapshot, each later one what changed, and nothing where nothing did."""
        differ = BookDiffer(SYMBOL)
        one, two = Decimal(1), Decimal(2)
        state = {"bids": [[one, one, 5]], "asks": [[two, one], [two, one]], "nonce": None}
        assert differ.update(state, NOW) == BookSnapshot(SYMBOL, 1, [(one, one)], [(two, two)], NOW)
        assert differ.update(state, NOW) is None
        assert differ.update({**state, "nonce": 8}, NOW) is None
        later = {"bids": [], "asks": [[two, one]], "nonce": 9}
        assert differ.update(later, NOW) == BookDelta(SYMBOL, 9, [(one, Decimal(0))], [(two, one)], NOW)
        differ.reset()
        assert differ.update(later, NOW) == BookSnapshot(SYMBOL, 10, [], [(two, one)], NOW)

    def test_long_sizes_stay_whole(self) -> None:
        """Sizes of more digits than decimal arithmetic keeps by default arrive, and add up, unrounded."""
        long = Decimal("123456789012345.1234567890123456789")
        state = {"bids": [[Decimal(1), long]], "asks": [[Decimal(2), long], [Decimal(2), long]], "nonce": 1}
        whole = BookDiffer(SYMBOL).update(state, NOW)
        assert isinstance(whole, BookSnapshot)
        assert str(whole.bids[0][1]) == str(long)
        assert str(whole.asks[0][1]) == "246913578024690.2469135780246913578"

    def test_steps_by_digits(self) -> None:
        """Steps given as a number of digits are understood, and so is a leverage limit."""
        described = {"precision": {"price": 2, "amount": 0}, "limits": {"leverage": {"max": Decimal(125)}}}
        instrument = to_instrument(SYMBOL, described, exchange="x", precision_mode=DECIMAL_PLACES)
        assert (instrument.tick_size, instrument.lot_size) == (Decimal("0.01"), Decimal(1))
        assert instrument.max_leverage == 125

    @pytest.mark.parametrize(("price", "mode"), [(None, TICK_SIZE), (Decimal(0), TICK_SIZE), (5, 3)])
    def test_no_fixed_steps(self, price: object, mode: int) -> None:
        """A market without fixed steps raises `FeedError`."""
        described = {"precision": {"price": price, "amount": Decimal(1)}, "limits": {}}
        with pytest.raises(FeedError):
            to_instrument(SYMBOL, described, exchange="x", precision_mode=mode)


def row(trade_id: str, stamp: int = 1) -> dict[str, object]:
    return {"id": trade_id, "price": Decimal(1), "amount": Decimal(1), "side": "buy", "timestamp": stamp}


def ids_of(run: TradeRun, ids: Sequence[str]) -> tuple[list[int], bool]:
    trades, has_gap = run.take([row(trade_id) for trade_id in ids])
    return [trade.trade_id for trade in trades], has_gap


def minutes(start: datetime, count: int) -> list[Candle]:
    digits = [Decimal(text) for text in DAMAGED_BY_A_FLOAT]
    return [
        Candle(start + at * Interval.MINUTE.length, digits[0], digits[1], digits[0], digits[1], Decimal(at) + digits[0])
        for at in range(count)
    ]


def as_kline(candle: Candle, interval: Interval) -> Kline:
    opened = to_milliseconds(candle.open_time)
    numbers = (candle.open, candle.high, candle.low, candle.close, candle.volume)
    closed = opened + interval.length // timedelta(milliseconds=1) - 1
    return [opened, *(f"{number:f}" for number in numbers), closed, "0", 0, "0", "0", "0"]


def parse_time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
