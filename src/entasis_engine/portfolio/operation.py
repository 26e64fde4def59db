"""The portfolio in operation: the ledger's database, the desk, and the loops that they need."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal

from entasis_engine.decimals import multiply, plain
from entasis_engine.exchanges.feed import Instrument
from entasis_engine.market.hub import Hub
from entasis_engine.portfolio import wire
from entasis_engine.portfolio.broker import PaperBroker
from entasis_engine.portfolio.desk import Desk
from entasis_engine.portfolio.ids import SortableIds
from entasis_engine.portfolio.liquidation import Liquidator
from entasis_engine.portfolio.positions import Limits, Position
from entasis_engine.portfolio.service import PortfolioService
from entasis_engine.portfolio.sql import SqlStore
from entasis_engine.portfolio.store import LedgerStore
from entasis_engine.portfolio.streams import PositionStreams
from entasis_engine.settings import Settings
from entasis_engine.storage.database import open_ledger
from entasis_engine.times import Clock


class MarginRateError(Exception):
    """The maintenance margin does not go with the leverage that an instrument allows. The text says what to set."""


@dataclass(frozen=True)
class Portfolio:
    """The portfolio, open for business."""

    service: PortfolioService
    desk: Desk
    store: LedgerStore


@asynccontextmanager
async def open_portfolio(settings: Settings, hub: Hub, *, clock: Clock) -> AsyncIterator[Portfolio]:
    """Serve positions on the ledger that the settings name. At the end, what was accepted is kept.

    Raises `MarginRateError`, or `DatabaseError` where the ledger cannot be opened.
    """
    check_margin_rate(hub.instruments, settings.maintenance_margin_rate)
    async with open_ledger(settings.resolved_ledger_url) as database:
        store, broker = SqlStore(database), PaperBroker(hub)
        desk = Desk(
            store,
            limits=Limits(settings.positions_max, settings.notional_max),
            paper=settings.paper_amounts,
            clock=clock,
            new_id=SortableIds(clock),
            on_position=lambda position: tell(position),  # noqa: PLW0108 - made below, with the desk
        )
        liquidator = Liquidator(
            desk, store, broker, hub.instruments, lambda symbol: _mark(hub, symbol), settings.maintenance_margin_rate
        )
        streams = PositionStreams(
            store,
            lambda held: wire.position(
                held, wire.listed(hub.instruments, held.symbol), hub.last_price, settings.maintenance_margin_rate
            ),
            hub.last_price,
            clock=clock,
            monotonic=time.monotonic,
            queue_max=settings.stream_queue_max,
        )

        def tell(position: Position) -> None:
            liquidator.changed(position)
            streams.changed(position)

        await liquidator.reload()
        service = PortfolioService(
            desk,
            store,
            broker,
            hub.instruments,
            hub.last_price,
            streams,
            fee_rate=settings.fee_rate,
            maintenance_rate=settings.maintenance_margin_rate,
        )
        async with asyncio.TaskGroup() as loops:
            tasks = [
                loops.create_task(desk.write_forever(), name="portfolio.write"),
                loops.create_task(desk.purge_forever(), name="portfolio.purge"),
                loops.create_task(liquidator.watch_forever(), name="portfolio.liquidate"),
                loops.create_task(streams.look_forever(), name="portfolio.look"),
                loops.create_task(streams.value_forever(), name="portfolio.value"),
            ]
            try:
                yield Portfolio(service, desk, store)
            finally:
                for task in tasks:
                    task.cancel()


def _mark(hub: Hub, symbol: str) -> Decimal:
    return hub.quote(symbol).last_price


def check_margin_rate(instruments: Iterable[Instrument], rate: Decimal) -> None:
    """Whether a position at the highest leverage has more margin than it must keep. Raises `MarginRateError`.

    That is so at the price that it is filled at. Where the book fills it worse than the mark, it has lost the
    difference from the beginning, and may be liquidated at once.

    Args:
        rate: maintenance margin, as a share of the entry notional.
    """
    for instrument in instruments:
        if multiply(instrument.max_leverage, rate) >= 1:
            raise MarginRateError(
                f"ENTASIS_MAINTENANCE_MARGIN_RATE is {plain(rate)}, and {instrument.symbol} allows leverage up to "
                f"{plain(instrument.max_leverage)}: the maintenance margin would be all of the margin, or more. "
                f"Set a rate below 1 / {plain(instrument.max_leverage)}."
            )
