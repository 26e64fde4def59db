"""The portfolio in process, on a market that the test makes: exact money, and what the mark does to positions."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.access import make_key, sending
from tests.support.market import NOON, ScriptedFeed, SetClock, SetMonotonic, snapshot, trade

from entasis.portfolio.v1 import portfolio_pb2 as pb
from entasis.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceStub
from entasis_engine.bootstrap import open_engine
from entasis_engine.settings import Settings


@dataclass
class Traded:
    """An engine, its market, and the portfolio of one account."""

    feed: ScriptedFeed
    clock: SetClock
    stub: Any

    async def price(self, price: str) -> None:
        """Have the market trade at a price."""
        self.clock.now += timedelta(milliseconds=100)
        self.feed.give(trade(price, self.clock.now))

    async def opened(self, **fields: str) -> str:
        """Open a position, once the market is live; its id."""
        request = pb.CreatePositionRequest(**({"symbol": "BTC-USDT", "size": "1.5", "type": "long"} | fields))
        async with asyncio.timeout(20):
            while True:
                try:
                    return str((await self.stub.CreatePosition(request)).position_id)
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise

    async def until(self, position_id: str, **expected: str) -> pb.Position:
        """The position, once it has these fields."""
        async with asyncio.timeout(20):
            while True:
                held = (await self.stub.GetPosition(pb.GetPositionRequest(position_id=position_id))).position
                if all(getattr(held, name) == value for name, value in expected.items()):
                    return held  # type: ignore[no-any-return]
                await asyncio.sleep(0.01)

    async def balance(self) -> pb.Balance:
        (balance,) = (await self.stub.GetBalance(pb.GetBalanceRequest())).balances
        return balance  # type: ignore[no-any-return]


@asynccontextmanager
async def _traded(folder: Path, **settings: Any) -> AsyncIterator[Traded]:
    clock = SetClock(NOON)
    feed = ScriptedFeed(clock=clock)
    values: dict[str, Any] = {"data_dir": folder, "grpc_port": 0, "drain_seconds": 1, "_env_file": None} | settings
    with tempfile.TemporaryDirectory() as short:
        async with (
            grpc.aio.insecure_channel(f"unix:{short}/s", interceptors=sending(make_key(folder))) as channel,
            open_engine(Settings(**values), unix_path=f"{short}/s", feed=feed, clock=clock, monotonic=SetMonotonic()),
        ):
            yield Traded(feed, clock, PortfolioServiceStub(channel))


async def test_the_specified_position_has_the_specified_numbers(tmp_path: Path) -> None:
    """1.5 BTC opened at 64000.00 show a profit of 1500.00 at 65000.00, printed as specified, at the trade's time."""
    async with _traded(tmp_path, fee_rate="0") as traded:
        await traded.price("64000.00")
        position = await traded.opened(leverage="1")
        await traded.price("65000.00")
        held = await traded.until(position, current_price="65000.00")
        (listed,) = (await traded.stub.ListPositions(pb.ListPositionsRequest())).positions
    assert listed == held
    assert (held.symbol, held.size, held.entry_price, held.pnl) == ("BTC-USDT", "1.5", "64000.00", "1500.00")
    assert (held.type, held.leverage, held.status, held.margin) == ("long", "1", "open", "96000.00")
    assert held.timestamp.ToDatetime(tzinfo=NOON.tzinfo) == traded.clock.now


async def test_an_order_walks_the_book(tmp_path: Path) -> None:
    """A size larger than the best level is filled at each level's own price; closing takes the other side."""
    async with _traded(tmp_path, fee_rate="0") as traded:
        book = snapshot([("63990", "5")], [("64000", "1"), ("64010", "1")])
        traded.feed.give(trade("64000", traded.clock.now), book)
        position = await traded.opened(size="1.5")
        held = await traded.until(position)
        closed = await traded.stub.ClosePosition(pb.ClosePositionRequest(position_id=position))
    assert held.margin == "96005.00"  # 64000 x 1 + 64010 x 0.5
    assert (closed.price, closed.realised_pnl) == ("63990.00", "-20.00")


@pytest.mark.parametrize(
    ("side", "safe", "passed"), [("long", "57920.01", "57600.00"), ("short", "70079.99", "70400.00")]
)
async def test_the_mark_liquidates_and_takes_no_more_than_the_margin(
    tmp_path: Path, side: str, safe: str, passed: str
) -> None:
    """Before its liquidation price a position stays; beyond it, it is liquidated: its margin is gone, and no more."""
    async with _traded(tmp_path, fee_rate="0", maintenance_margin_rate="0.005") as traded:
        await traded.price("64000.00")
        position = await traded.opened(size="1", type=side, leverage="10")
        held = await traded.until(position)
        assert held.liquidation_price == ("57920.00" if side == "long" else "70080.00")
        assert held.margin == "6400.00"
        before = await traded.balance()
        await traded.price(safe)
        await traded.until(position, current_price=safe, status="open")
        await traded.price(passed)
        ended = await traded.until(position, status="liquidated")
        after = await traded.balance()
        trades = (await traded.stub.ListTrades(pb.ListTradesRequest(position_id=position))).trades
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await traded.stub.ClosePosition(pb.ClosePositionRequest(position_id=position))
    assert (ended.pnl, ended.margin) == ("-6400.00", "0.00")
    assert (after.free_margin, after.used_margin, after.balance) == (before.free_margin, "0.00", before.free_margin)
    assert [one.kind for one in trades] == ["liquidation", "open"]
    assert dict(raised.value.trailing_metadata() or ())["x-error-code"] == "PORT_004"


async def test_limits_on_positions_and_notional(tmp_path: Path) -> None:
    """One position too many, or too large a notional, is PORT_002 with the limit, and opens nothing."""
    async with _traded(tmp_path, positions_max=2, notional_max="100000", fee_rate="0") as traded:
        await traded.price("10000.00")
        await traded.opened(size="1")
        for size in ("9.1", "1"):
            if size == "1":
                await traded.opened(size="1")
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await traded.stub.CreatePosition(pb.CreatePositionRequest(symbol="BTC-USDT", size=size, type="long"))
            assert dict(raised.value.trailing_metadata() or ())["x-error-code"] == "PORT_002"
        held = (await traded.stub.ListPositions(pb.ListPositionsRequest(status="all"))).positions
    assert len(held) == 2
