"""Liquidating positions whose liquidation price the mark has passed. The mark is the last price of a live market."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import structlog

from entasis_engine.errors import EntasisError
from entasis_engine.market.instruments import Instruments
from entasis_engine.portfolio.broker import Broker
from entasis_engine.portfolio.desk import Desk, Liquidate, PositionNotFoundError
from entasis_engine.portfolio.margin import is_passed
from entasis_engine.portfolio.positions import Position, PositionNotOpenError, Status
from entasis_engine.portfolio.store import LedgerStore, LedgerUnavailableError

log = structlog.get_logger()

WATCH_SECONDS = 0.25
RELOAD_SECONDS = 10.0
"""Between looks at the ledger itself: other engines open positions there, too."""

Mark = Callable[[str], Decimal]
"""The price that positions of a symbol are judged by. Raises MARKET_002 where the market is not live."""


@dataclass(frozen=True)
class _Watched:
    position: Position
    price: Decimal
    """The mark that liquidates it."""


class Liquidator:
    """Watches open positions. `watch_forever` must run somewhere; `changed` is told of what the desk did."""

    def __init__(
        self, desk: Desk, store: LedgerStore, broker: Broker, instruments: Instruments, mark: Mark, rate: Decimal
    ) -> None:
        """
        Args:
            rate: maintenance margin, as a share of the entry notional.
        """
        self._desk = desk
        self._store = store
        self._broker = broker
        self._instruments = instruments
        self._mark = mark
        self._rate = rate
        self._watched: dict[str, dict[str, _Watched]] = {}
        """By symbol and id."""

    def changed(self, position: Position) -> None:
        """Watch a position as it is now, or no longer."""
        of_symbol = self._watched.setdefault(position.symbol, {})
        of_symbol.pop(position.id, None)
        if position.status is not Status.OPEN:
            return
        try:
            instrument = self._instruments.require(position.symbol)
        except EntasisError:
            return  # listed no more: there is no mark to judge it by
        price = position.liquidation_price(self._rate, instrument.tick_size)
        of_symbol[position.id] = _Watched(position, price)

    async def reload(self) -> None:
        """Watch what is open in the ledger."""
        found = await self._store.open_positions()
        self._watched.clear()
        for position in found:
            self.changed(position)

    async def watch_forever(self) -> None:
        """Look at the marks again and again."""
        waited = 0.0
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            waited += WATCH_SECONDS
            try:
                if waited >= RELOAD_SECONDS:
                    waited = 0.0
                    await self.reload()
                await self.liquidate_passed()
            except LedgerUnavailableError as error:
                log.warning("liquidation.put_off", reason=str(error))

    async def liquidate_passed(self) -> None:
        """Liquidate whatever the marks have passed by now."""
        for symbol, of_symbol in list(self._watched.items()):
            if not of_symbol:
                continue
            try:
                mark = self._mark(symbol)
            except EntasisError:
                continue  # a silent market liquidates nobody
            passed = [one for one in of_symbol.values() if is_passed(one.position.side, one.price, mark)]
            for one in passed:
                await self._liquidate(one, mark)

    async def _liquidate(self, watched: _Watched, mark: Decimal) -> None:
        position = watched.position
        instrument = self._instruments.require(position.symbol)
        fill = self._broker.order(instrument, position.side, opening=False)
        try:
            await self._desk.execute(Liquidate(owner=position.owner, position_id=position.id, fill=fill))
        except (PositionNotOpenError, PositionNotFoundError):
            self._watched[position.symbol].pop(position.id, None)  # its owner, or another engine, came first
        except EntasisError:
            pass  # the market fell silent in between
        else:
            log.info("position.liquidated", position=position.id, price=str(watched.price), mark=str(mark))
