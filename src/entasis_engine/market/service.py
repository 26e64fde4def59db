"""The gRPC servicer of the market: decode, one call, encode."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime

from entasis.errors.v1.error_reason_pb2 import ErrorReason
from entasis.market.v1 import market_pb2 as pb
from entasis_engine.calls import Batches, Call
from entasis_engine.errors import EntasisError
from entasis_engine.exchanges.feed import Interval
from entasis_engine.market import history, wire
from entasis_engine.market.hub import Hub
from entasis_engine.market.instruments import split_symbols
from entasis_engine.market.keeper import CandleKeeper
from entasis_engine.market.pages import HistoryPages

DEPTH_DEFAULT = 10
FIRST_FILL_SECONDS_MAX = 5.0
"""How long a page waits after a start for the history that is still being fetched."""


class MarketService:
    """Serves `entasis.market.v1.MarketService`. Requests come validated; answers may be ready bytes."""

    DESCRIPTOR = pb.DESCRIPTOR.services_by_name["MarketService"]

    def __init__(self, hub: Hub, keeper: CandleKeeper, *, market_now: Callable[[], datetime]) -> None:
        self._hub = hub
        self._keeper = keeper
        self._pages = HistoryPages(keeper)
        self._market_now = market_now

    def get_price(self, request: pb.GetPriceRequest, call: Call) -> bytes:
        return self._hub.price(request.symbol)

    def list_prices(self, request: pb.ListPricesRequest, call: Call) -> pb.ListPricesResponse:
        response = pb.ListPricesResponse()
        symbols = split_symbols(request.symbols) or [instrument.symbol for instrument in self._hub.instruments]
        for symbol in symbols:
            try:
                encoded = self._hub.price(symbol)
            except EntasisError as error:
                response.failures.add(
                    symbol=symbol,
                    reason=ErrorReason.Value(error.entry.reason),
                    message=error.message(call.language),
                )
            else:
                response.prices.add().MergeFromString(encoded)
        return response

    async def get_history(self, request: pb.GetHistoryRequest, call: Call) -> bytes:
        instrument = self._hub.instruments.require(request.symbol)
        page = history.plan(request, self._market_now())
        try:
            async with asyncio.timeout(FIRST_FILL_SECONDS_MAX):
                await self._keeper.history_tried(instrument.symbol, page.interval)
        except TimeoutError:
            # What is there is given; that there is nothing would not be true.
            if not await self._keeper.read(instrument.symbol, page.interval, page.start, page.end, 1):
                raise EntasisError("HISTORY_LOADING", symbol=instrument.symbol, exchange=instrument.exchange) from None
        return await self._pages.read(instrument, page)

    def get_order_book(self, request: pb.GetOrderBookRequest, call: Call) -> bytes:
        return self._hub.order_book(request.symbol, request.depth if request.HasField("depth") else DEPTH_DEFAULT)

    def list_instruments(self, request: pb.ListInstrumentsRequest, call: Call) -> pb.ListInstrumentsResponse:
        return pb.ListInstrumentsResponse(
            instruments=[wire.instrument(instrument) for instrument in self._hub.instruments]
        )

    def stream_prices(self, request: pb.StreamPricesRequest, call: Call) -> AbstractContextManager[Batches]:
        return self._hub.read_prices(split_symbols(request.symbols), request.resume_after)

    def stream_order_books(self, request: pb.StreamOrderBooksRequest, call: Call) -> AbstractContextManager[Batches]:
        depth = request.depth if request.HasField("depth") else DEPTH_DEFAULT
        return self._hub.read_books(split_symbols(request.symbols), depth)

    def stream_candles(self, request: pb.StreamCandlesRequest, call: Call) -> AbstractContextManager[Batches]:
        interval = Interval(request.interval or Interval.MINUTE)
        return self._hub.read_candles(split_symbols(request.symbols), interval)
