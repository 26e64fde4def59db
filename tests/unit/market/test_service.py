"""The servicer of the market: what it answers while history is still being fetched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest
from tests.support.market import BTC, MINUTE, NOON, MemoryStore, ScriptedFeed, SetClock, candle

from entasis.market.v1 import market_pb2 as pb
from entasis_engine.errors import EntasisError
from entasis_engine.exchanges.feed import Candle, Interval
from entasis_engine.market import service as subject
from entasis_engine.market.hub import Hub
from entasis_engine.market.instruments import Instruments
from entasis_engine.market.keeper import CandleKeeper


class _SlowFeed(ScriptedFeed):
    """It has minutes at once, and longer candles once it is let."""

    def __init__(self) -> None:
        super().__init__(clock=SetClock(NOON + MINUTE))
        self.let = asyncio.Event()

    async def candles(self, symbol: str, interval: Interval, start: datetime, end: datetime) -> Sequence[Candle]:
        if interval is not Interval.MINUTE:
            await self.let.wait()
        return await super().candles(symbol, interval, start, end)


class _Desk:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.feed = _SlowFeed()
        self.feed.history["BTC-USDT", Interval.MINUTE] = [candle(NOON, 1)]
        hub = Hub(
            Instruments([BTC]), clock=self.feed.clock, monotonic=lambda: 0.0, stale_after_seconds=15.0, queue_max=16
        )
        store: Any = self.store
        self.keeper = CandleKeeper(
            store, self.feed, on_history=lambda _symbol, _minute: [], on_closed_late=lambda *_closed: []
        )
        self.service = subject.MarketService(hub, self.keeper, market_now=self.feed.clock)

    async def history(self, interval: str) -> list[str]:
        call: Any = None
        answer = await self.service.get_history(pb.GetHistoryRequest(symbol="BTC-USDT", interval=interval), call)
        return [one.close for one in pb.GetHistoryResponse.FromString(answer).data]


@pytest.fixture
async def desk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[_Desk]:
    """Whose history is being filled, and which waits for that no longer than it must."""
    monkeypatch.setattr(subject, "FIRST_FILL_SECONDS_MAX", 0.0)
    made = _Desk()
    filling = asyncio.create_task(made.keeper.fill_history_forever("BTC-USDT"))
    await made.keeper.history_tried("BTC-USDT", Interval.MINUTE)
    yield made
    filling.cancel()
    with suppress(asyncio.CancelledError):
        await filling


async def test_an_interval_that_is_there_does_not_wait_for_the_others(desk: _Desk) -> None:
    """Minutes are answered while hours are still being fetched."""
    assert await desk.history("1m") == ["1.00"]


async def test_no_candle_is_no_answer_while_they_are_still_being_fetched(desk: _Desk) -> None:
    """It is MARKET_002 with a time to ask again; once history was filled, that there is none is the answer."""
    with pytest.raises(EntasisError) as told:
        await desk.history("1h")
    assert (told.value.entry.reason, told.value.retry_after_seconds) == ("MARKET_002", 2)
    desk.feed.let.set()
    await desk.keeper.history_tried("BTC-USDT", Interval.HOUR)
    assert await desk.history("1h") == []


async def test_what_was_stored_before_is_given_while_the_rest_is_being_fetched(desk: _Desk) -> None:
    """An exchange that does not answer hides nothing that is known."""
    await desk.store.save("binance", [("BTC-USDT", Interval.HOUR, candle(NOON - 60 * MINUTE, 7))])
    assert await desk.history("1h") == ["7.00"]
