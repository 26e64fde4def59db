"""The market in operation: what its loops leave behind when they end."""

from __future__ import annotations

import asyncio
import time

from tests.support.market import BTC, MINUTE, NOON, MemoryStore, ScriptedFeed, SetClock, trade

from entasis_engine.exchanges.feed import Connected, Interval
from entasis_engine.market.operation import open_market


async def test_what_is_not_written_yet_is_written_at_the_end() -> None:
    """A candle that closed while the disk was slow is on disk once the market has ended, and the feed is closed."""
    store, feed = MemoryStore(), ScriptedFeed([BTC], clock=SetClock(NOON + 3 * MINUTE))
    async with (
        asyncio.timeout(10),
        open_market(
            feed,
            store,  # type: ignore[arg-type]
            [BTC],
            clock=feed.clock,
            monotonic=time.monotonic,
            stale_after_seconds=15,
            queue_max=10,
        ) as market,
    ):
        store.going.clear()
        feed.give(Connected("BTC-USDT", NOON), trade("1", NOON), trade("2", NOON + MINUTE))
        while not await market.keeper.read("BTC-USDT", Interval.MINUTE, NOON, NOON + MINUTE, 1):
            await asyncio.sleep(0)
        assert not store.rows
        store.going.set()
    assert [open_time for *_, open_time in store.rows] == [NOON]
    assert feed.closed >= 1
