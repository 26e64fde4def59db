"""The portfolio in operation: the ledger's database, the desk, and the loops that they need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal

from entasis_engine.market.hub import Hub
from entasis_engine.portfolio.broker import PaperBroker
from entasis_engine.portfolio.desk import Desk
from entasis_engine.portfolio.ids import SortableIds
from entasis_engine.portfolio.liquidation import Liquidator
from entasis_engine.portfolio.positions import Limits
from entasis_engine.portfolio.service import PortfolioService
from entasis_engine.portfolio.sql import SqlStore
from entasis_engine.portfolio.store import LedgerStore
from entasis_engine.settings import Settings
from entasis_engine.storage.database import open_ledger
from entasis_engine.times import Clock


@dataclass(frozen=True)
class Portfolio:
    """The portfolio, open for business."""

    service: PortfolioService
    desk: Desk
    store: LedgerStore


@asynccontextmanager
async def open_portfolio(settings: Settings, hub: Hub, *, clock: Clock) -> AsyncIterator[Portfolio]:
    """Serve positions on the ledger that the settings name. At the end, what was accepted is kept.

    Raises `DatabaseError` where the ledger cannot be opened.
    """
    async with open_ledger(settings.resolved_ledger_url) as database:
        store, broker = SqlStore(database), PaperBroker(hub)
        desk = Desk(
            store,
            limits=Limits(settings.positions_max, settings.notional_max),
            paper=settings.paper_amounts,
            clock=clock,
            new_id=SortableIds(clock),
            on_position=lambda position: liquidator.changed(position),  # noqa: PLW0108 - made below, with the desk
        )
        liquidator = Liquidator(
            desk, store, broker, hub.instruments, lambda symbol: _mark(hub, symbol), settings.maintenance_margin_rate
        )
        await liquidator.reload()
        service = PortfolioService(
            desk,
            store,
            broker,
            hub.instruments,
            hub.last_price,
            fee_rate=settings.fee_rate,
            maintenance_rate=settings.maintenance_margin_rate,
        )
        async with asyncio.TaskGroup() as loops:
            tasks = [
                loops.create_task(desk.write_forever(), name="portfolio.write"),
                loops.create_task(desk.purge_forever(), name="portfolio.purge"),
                loops.create_task(liquidator.watch_forever(), name="portfolio.liquidate"),
            ]
            try:
                yield Portfolio(service, desk, store)
            finally:
                for task in tasks:
                    task.cancel()


def _mark(hub: Hub, symbol: str) -> Decimal:
    return hub.quote(symbol).last_price
