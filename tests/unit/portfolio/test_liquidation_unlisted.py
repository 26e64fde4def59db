"""The liquidator and the lists, where an instrument is listed no more."""

from __future__ import annotations

from decimal import Decimal
from typing import cast

import pytest
from tests.support.ledgers import open_, working
from tests.support.market import BTC, ETH

from entasis_engine.errors import EntasisError
from entasis_engine.market.instruments import Instruments
from entasis_engine.portfolio import wire
from entasis_engine.portfolio.broker import Broker
from entasis_engine.portfolio.liquidation import Liquidator
from entasis_engine.portfolio.positions import Status
from entasis_engine.portfolio.store import MemoryStore


class Filling:
    """Fills at one price."""

    def order(self, *_: object, **__: object) -> object:
        return open_(price="1").fill


async def test_a_position_of_an_instrument_that_is_gone_keeps_nobody_from_being_liquidated() -> None:
    """It is not judged, for there is no mark, and stays open; the others are."""
    store, listed = MemoryStore(), Instruments([ETH])

    def mark(symbol: str) -> Decimal:
        listed.require(symbol)
        return Decimal(1)

    async with working(store) as desk:
        gone = (await desk.execute(open_(instrument=BTC))).position
        doomed = (await desk.execute(open_(instrument=ETH, price="1000"))).position
        assert gone is not None
        assert doomed is not None
        liquidator = Liquidator(desk, store, cast(Broker, Filling()), listed, mark, Decimal("0.005"))
        await liquidator.reload()
        liquidator.changed(gone)
        await liquidator.liquidate_passed()
        found = {one.id: one.status for one in await store.named([gone.id, doomed.id])}
    assert found == {gone.id: Status.OPEN, doomed.id: Status.LIQUIDATED}


async def test_it_is_listed_and_valued_at_what_it_was_opened_at() -> None:
    """Positions and balances are told without its instrument and without a price."""
    store, listed = MemoryStore(), Instruments([ETH])
    with pytest.raises(EntasisError):
        listed.require("BTC-USDT")
    async with working(store) as desk:
        gone = (await desk.execute(open_(instrument=BTC))).position
        assert gone is not None
        told = wire.position(gone, wire.listed(listed, gone.symbol), lambda _: None, Decimal("0.005"))
        assert (told.status, told.current_price, told.pnl, told.liquidation_price) == ("open", "10000.00", "0.00", "")
        (balance,) = wire.balances(await store.holdings("acc_1"), lambda _: None).balances
        assert (balance.equity, balance.unrealised_pnl) == ("100000.00", "0.00")
