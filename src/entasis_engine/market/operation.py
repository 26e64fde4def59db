"""Keeping the market going: the loops that read the feed, close candles by the clock, and keep history whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import structlog

from entasis_engine.exchanges.feed import Feed, Instrument, Interval
from entasis_engine.market.hub import Hub
from entasis_engine.market.instruments import Instruments
from entasis_engine.market.keeper import HOURLY_HISTORY, CandleKeeper
from entasis_engine.storage.candles import CandleStore
from entasis_engine.telemetry import metrics
from entasis_engine.times import Clock, Monotonic

log = structlog.get_logger()

ADVANCE_SECONDS = 0.25
FIRST_MINUTES_SECONDS_MAX = 15.0
"""How long a start waits for the minutes of the last day; an exchange that is slower makes nobody wait longer."""


@dataclass(frozen=True)
class Market:
    """The market in operation."""

    hub: Hub
    keeper: CandleKeeper
    feed: Feed


@asynccontextmanager
async def open_market(
    feed: Feed,
    store: CandleStore,
    instruments: Sequence[Instrument],
    *,
    clock: Clock,
    monotonic: Monotonic,
    stale_after_seconds: float,
    queue_max: int,
    hourly_history: timedelta = HOURLY_HISTORY,
) -> AsyncIterator[Market]:
    """Run the market on a feed. At the end every closed candle is on disk, and the feed is closed."""
    hub = Hub(
        Instruments(instruments),
        clock=clock,
        monotonic=monotonic,
        stale_after_seconds=stale_after_seconds,
        queue_max=queue_max,
    )
    keeper = CandleKeeper(
        store, feed, on_history=hub.fill, on_closed_late=hub.closed_late, hourly_history=hourly_history
    )
    try:
        async with asyncio.TaskGroup() as loops:
            tasks = [
                loops.create_task(_read_feed(feed, hub, keeper), name="market.feed"),
                loops.create_task(_advance_forever(feed, hub, keeper), name="market.advance"),
                loops.create_task(keeper.write_forever(), name="market.write"),
                loops.create_task(keeper.fill_wanted_forever(), name="market.fill_wanted"),
                *(
                    loops.create_task(keeper.fill_history_forever(one.symbol), name=f"market.fill_history.{one.symbol}")
                    for one in instruments
                ),
            ]
            # The volume of the last day comes from its minutes: without them it would be told wrong.
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_MINUTES_SECONDS_MAX):
                    for one in instruments:
                        await keeper.history_tried(one.symbol, Interval.MINUTE)
            yield Market(hub, keeper, feed)
            for task in tasks:
                task.cancel()
    finally:
        await keeper.flush()
        await feed.close()


async def _read_feed(feed: Feed, hub: Hub, keeper: CandleKeeper) -> None:
    counted = metrics.EVENTS.labels(feed.exchange)
    async for events in feed.events():
        counted.inc(len(events))
        await keeper.keep_closed(hub.apply(events))
    log.info("feed.ended", exchange=feed.exchange)


async def _advance_forever(feed: Feed, hub: Hub, keeper: CandleKeeper) -> None:
    while True:
        await keeper.keep_closed(hub.advance(feed.now()))
        await asyncio.sleep(ADVANCE_SECONDS)
