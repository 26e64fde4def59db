"""The whole engine on a live feed whose exchange replays a recording and cuts the connection in the middle of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import grpc
import pytest
from tests.support.access import make_key, sending
from tests.support.market import MINUTE, SetClock

from entasis.market.v1 import market_pb2 as pb
from entasis.market.v1.market_pb2_grpc import MarketServiceStub
from entasis_engine.bootstrap import open_engine
from entasis_engine.exchanges.binance import FrameDecoder
from entasis_engine.exchanges.feed import Candle, Trade
from entasis_engine.exchanges.live import Limits, LiveFeed
from entasis_engine.market.candles import MinuteFolder, merge
from entasis_engine.settings import Settings
from entasis_engine.times import to_milliseconds

pytest.importorskip("ccxt")

from tests.support.exchange_server import ExchangeServer, Market, recorded_lines

pytestmark = pytest.mark.data

FIRST = datetime(2024, 8, 8, 23, 55, tzinfo=UTC)
STREAMS = ("btcusdt@trade", "btcusdt@depth@100ms")
QUICK = Limits(backoff_first_seconds=0.01, backoff_max_seconds=0.05)


def published(lines: list[str]) -> list[Candle]:
    """The five minutes from 23:55 on, as the exchange publishes them."""
    folder, decoder = MinuteFolder(), FrameDecoder("BTC-USDT")
    folder.connected(FIRST - MINUTE)
    closed = []
    for line in lines:
        for event in decoder.decode(line):
            if isinstance(event, Trade):
                closed += folder.add(event)
    return [one.candle for one in closed if one.candle.open_time >= FIRST]


def as_kline(candle: Candle, length: timedelta) -> list[object]:
    opened = to_milliseconds(candle.open_time)
    numbers = (candle.open, candle.high, candle.low, candle.close, candle.volume)
    return [opened, *(str(number) for number in numbers), opened + length // timedelta(milliseconds=1) - 1, *"00000"]


async def history(market: MarketServiceStub, interval: str) -> dict[int, tuple[Decimal, ...]]:
    """The candles from 23:55 on by open time in seconds."""
    request = pb.GetHistoryRequest(symbol="BTC-USDT", interval=interval, start={"seconds": int(FIRST.timestamp())})
    request.end.seconds = int(FIRST.timestamp()) + 300
    answer = await market.GetHistory(request, timeout=10)
    numbers = ("open", "high", "low", "close", "volume")
    return {one.timestamp.seconds: tuple(Decimal(getattr(one, name)) for name in numbers) for one in answer.data}


async def test_a_cut_connection_leaves_no_hole_in_history(tmp_path: Path) -> None:
    """Minutes that were seen whole and the one that was cut are all in history, exactly as the exchange has them."""
    lines = recorded_lines("BTCUSDT", "20240808")
    minutes = published(lines)
    assert len(minutes) == 5
    market = Market("BTCUSDT", lines)
    market.klines["1m"] = [as_kline(one, MINUTE) for one in minutes]
    market.klines["5m"] = [as_kline(merge(minutes, FIRST), 5 * MINUTE)]
    clock = SetClock(FIRST - timedelta(seconds=30))
    address = f"unix:{tmp_path}/s"
    async with ExchangeServer.running(market) as server:
        feed = LiveFeed("binance", ["BTC-USDT"], base_urls=server.base_urls(), limits=QUICK, clock=clock)
        settings = Settings(data_dir=tmp_path, grpc_port=0, stale_after_seconds=60)
        async with (
            asyncio.timeout(60),
            open_engine(settings, unix_path=f"{tmp_path}/s", feed=feed, clock=clock),
            grpc.aio.insecure_channel(address, interceptors=sending(make_key(tmp_path))) as channel,
        ):
            stub = MarketServiceStub(channel)
            await server.subscribed(*STREAMS)
            clock.now = FIRST + timedelta(minutes=2, seconds=30)
            await server.play(market.remaining // 2)
            server.cut()
            await server.abandoned()
            await server.subscribed(*STREAMS)
            clock.now = FIRST + timedelta(minutes=6)
            await server.play()
            expected = {
                int(one.open_time.timestamp()): (one.open, one.high, one.low, one.close, one.volume) for one in minutes
            }
            while (found := await history(stub, "1m")) != expected:
                assert found.items() <= expected.items()
                await asyncio.sleep(0.05)
            whole = merge(minutes, FIRST)
            while not (longer := await history(stub, "5m")):
                await asyncio.sleep(0.05)
            assert longer == {int(FIRST.timestamp()): (whole.open, whole.high, whole.low, whole.close, whole.volume)}
