"""Where orders are filled. On paper now, at the market's price; a broker of an exchange would stand behind the same
interface.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

from entasis_engine.exchanges.feed import Instrument
from entasis_engine.market.hub import Hub
from entasis_engine.portfolio.execution import Fill, Filled, fill, takes_asks
from entasis_engine.portfolio.margin import Side


class Broker(Protocol):
    """Fills orders."""

    def order(self, instrument: Instrument, side: Side, *, opening: bool) -> Fill:
        """How an order is filled that opens or closes a position of a side. What it gives may raise MARKET_002."""
        ...


class PaperBroker:
    """Fills at the price that walking the order book gives, or at the last price where there is no book."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def order(self, instrument: Instrument, side: Side, *, opening: bool) -> Fill:
        """As `Broker` has it."""

        def filled(size: Decimal) -> Filled:
            quote = self._hub.quote(instrument.symbol)
            return fill(quote.asks if takes_asks(side, opening=opening) else quote.bids, quote.last_price, size)

        return filled
