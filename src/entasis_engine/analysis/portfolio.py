"""The risk of an account's open positions together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from datetime import datetime
from decimal import Decimal

from entasis.analysis.v1 import analysis_pb2 as pb
from entasis_engine.analysis import wire
from entasis_engine.analysis.analyst import Analyst
from entasis_engine.analysis.portfolio_risk import Exposure, risk_of_scenarios
from entasis_engine.errors import EntasisError
from entasis_engine.portfolio.margin import Side
from entasis_engine.portfolio.positions import Position
from entasis_engine.portfolio.store import LedgerStore, LedgerUnavailableError
from entasis_engine.protobuf import timestamp

LastPrice = Callable[[str], tuple[Decimal, datetime] | None]


class PortfolioAnalyst:
    """Values open positions at the last prices, and asks what they may lose within a day."""

    def __init__(
        self,
        analyst: Analyst,
        ledger: LedgerStore,
        last_price: LastPrice,
        *,
        listed: Collection[str],
        market_now: Callable[[], datetime],
    ) -> None:
        self._analyst = analyst
        self._ledger = ledger
        self._last_price = last_price
        self._listed = frozenset(listed)
        self._market_now = market_now

    async def risk(self, owner: str) -> pb.GetPortfolioRiskResponse:
        """Raises MARKET_002, AI_002 or SERVER_002."""
        try:
            holdings = await self._ledger.holdings(owner)
        except LedgerUnavailableError:
            raise EntasisError("UNAVAILABLE") from None
        by_currency: defaultdict[str, list[Position]] = defaultdict(list)
        response = pb.GetPortfolioRiskResponse(timestamp=timestamp(self._market_now()))
        for held in holdings.positions:
            if held.symbol in self._listed:
                by_currency[held.quote_currency].append(held)
            else:
                response.unvalued_position_ids.append(held.id)
        for currency in sorted(by_currency):
            response.risks.append(await self._of_currency(currency, by_currency[currency]))
        return response

    async def _of_currency(self, currency: str, positions: list[Position]) -> pb.CurrencyRisk:
        symbols = sorted({held.symbol for held in positions})
        scenarios = {symbol: await self._analyst.scenarios(symbol) for symbol in symbols}
        prices = {held.symbol: (self._last_price(held.symbol) or (held.entry_price,))[0] for held in positions}
        exposures = [
            Exposure(held.id, held.symbol, float(_signed(held)), float(prices[held.symbol])) for held in positions
        ]
        found = await self._analyst.compute(
            ", ".join(symbols), risk_of_scenarios, exposures, {symbol: one for symbol, (_, one) in scenarios.items()}
        )
        as_of = min(as_of for as_of, _ in scenarios.values())
        return wire.currency_risk(currency, found, positions, prices, as_of)


def _signed(held: Position) -> Decimal:
    return held.size if held.side is Side.LONG else -held.size
