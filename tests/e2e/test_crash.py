"""kill -9 in mid-feed: no closed candle is lost, and none is doubled."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.e2e.conftest import Running, Start
from tests.support.access import blocking_channel

from entasis.market.v1 import market_pb2 as pb
from entasis.market.v1.market_pb2_grpc import MarketServiceStub
from entasis_engine.decimals import at_scale, plain
from entasis_engine.exchanges import simulation
from entasis_engine.exchanges.feed import Interval

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

CRASHES = int(os.environ.get("ENTASIS_CRASHES", "5"))
SEED = 11
SPEED = 240
SYMBOLS = ("BTC-USDT", "ETH-USDT")

Row = tuple[str, str, str, str, str]


def history(engine: Running, symbol: str, interval: str, start: datetime) -> dict[datetime, Row]:
    """Every closed candle from `start` on, read page by page."""
    found: dict[datetime, Row] = {}
    with blocking_channel(engine.until_said(r"gRPC +(127.0.0.1:\d+)")[1], engine.key) as channel:
        stub = MarketServiceStub(channel)
        request = pb.GetHistoryRequest(symbol=symbol, interval=interval, page_size=1000)
        request.start.FromDatetime(start)
        request.end.FromDatetime(start + timedelta(days=3))
        while True:
            page = stub.GetHistory(request, timeout=20)
            for one in page.data:
                open_time = one.timestamp.ToDatetime(tzinfo=UTC)
                assert open_time not in found, f"{symbol} {interval} {open_time} is doubled"
                found[open_time] = (one.open, one.high, one.low, one.close, one.volume)
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token


def test_a_killed_engine_loses_and_doubles_no_candle(start: Start, tmp_path: Path) -> None:
    """Killed at any moment, the engine has after each restart every candle that was closed, as the exchange has it."""
    chance = random.Random(SEED)
    origin = datetime.now(UTC).replace(microsecond=0)
    begin = origin.replace(second=0) + timedelta(minutes=1)
    settings: dict[str, object] = {
        "data_dir": tmp_path,
        "symbols": ",".join(SYMBOLS),
        "simulated_seed": SEED,
        "simulated_speed": SPEED,
        "simulated_origin": origin.isoformat(),
    }
    seen: dict[tuple[str, str], dict[datetime, Row]] = {}
    for _crash in range(CRASHES):
        engine = start("serve", "engine", **settings)
        engine.until_said("Entasis is up")
        time.sleep(chance.uniform(0, 0.6))  # the moment of the crash is what is being tried
        for symbol in SYMBOLS:
            for interval in ("1m", "5m"):
                found = history(engine, symbol, interval, begin)
                before = seen.setdefault((symbol, interval), {})
                before |= found
        time.sleep(chance.uniform(0, 0.3))
        os.kill(engine.process.pid, signal.SIGKILL)
        engine.process.wait(timeout=20)

    engine = start("serve", "engine", **settings)
    engine.until_said("Entasis is up")
    walks = {one.instrument.symbol: simulation.Walk(one, SEED) for one in simulation.LISTED}
    checked = 0
    for (symbol, interval), before in seen.items():
        length = Interval(interval).length
        first, last = min(before), max(before)
        expected = {
            one.open_time: (
                *(at_scale(price, 2) for price in (one.open, one.high, one.low, one.close)),
                plain(one.volume),
            )
            for one in simulation.candles(walks[symbol], Interval(interval), first, last + length)
        }
        deadline = time.monotonic() + 120
        while not expected.keys() <= (found := history(engine, symbol, interval, begin)).keys():
            assert time.monotonic() < deadline, f"lost: {sorted(expected.keys() - found.keys())}"
        assert {open_time: found[open_time] for open_time in expected} == expected
        assert before.items() <= found.items(), "a candle that was closed has changed"
        checked += len(expected)
    engine.stop()
    with sqlite3.connect(tmp_path / "entasis.db") as database:
        total, distinct = database.execute(
            "SELECT count(*), count(DISTINCT symbol || interval || open_time) FROM candles"
        ).fetchone()
    assert total == distinct
    print(f"\n{CRASHES} crashes: {checked} closed candles checked, 0 lost, 0 doubled")
