"""What stands behind Envoy in these tests: a MarketService that answers by the book, and a WebSocket echo."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status
from websockets.sync.server import unix_serve

from entasis.market.v1 import market_pb2, market_pb2_grpc
from entasis_engine.errors import EntasisError, language_of

TIME = Timestamp(seconds=1711013400)
MILLIS = Timestamp(seconds=1711013400, nanos=123_000_000)
STREAMED = 3
SERVICE = market_pb2.DESCRIPTOR.services_by_name["MarketService"].full_name


class FakeMarket(market_pb2_grpc.MarketServiceServicer):
    """Answers any symbol. `SLOW-…` waits for `release`, `UNKNOWN-…` and `DOWN-…` fail as the engine would."""

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {}
        """What came with the last call."""
        self.waiting = threading.Semaphore(0)
        """Counts the slow calls that have arrived."""
        self.release = threading.Event()
        self.first_of_stream_read = threading.Event()

    def GetPrice(self, request: Any, context: Any) -> Any:
        self.metadata = dict(context.invocation_metadata())
        self._fail_if_asked(request.symbol, context)
        if request.symbol.startswith("SLOW-"):
            self.waiting.release()
            self.release.wait(timeout=10)
        return market_pb2.GetPriceResponse(
            symbol=request.symbol, price="65432.10", timestamp=TIME, volume="123.45", exchange="simulated"
        )

    def GetHistory(self, request: Any, context: Any) -> Any:
        candle = market_pb2.Candle(
            timestamp=request.start or TIME,
            open="65000.00",
            high="65100.00",
            low="64900.00",
            close="65050.00",
            volume="2.5",
        )
        count = request.page_size or 1
        return market_pb2.GetHistoryResponse(symbol=request.symbol, data=[candle] * count, interval=request.interval)

    def GetOrderBook(self, request: Any, context: Any) -> Any:
        book = market_pb2.GetOrderBookResponse(symbol=request.symbol, timestamp=MILLIS, seq=2**63, checksum=7)
        for price in range(request.depth):
            book.bids.add().extend([f"{65000 - price}.00", "1.234"])
            book.asks.add().extend([f"{65001 + price}.00", "2.345"])
        return book

    def ListInstruments(self, request: Any, context: Any) -> Any:
        instrument = market_pb2.Instrument(
            symbol="BTC-USDT",
            base_currency="BTC",
            quote_currency="USDT",
            tick_size="0.01",
            lot_size="0.00001",
            quote_scale=2,
            max_leverage="20",
            exchange="simulated",
        )
        return market_pb2.ListInstrumentsResponse(instruments=[instrument])

    def StreamPrices(self, request: Any, context: Any) -> Iterator[Any]:
        self._fail_if_asked(request.symbols[0], context)
        for seq in range(1, STREAMED + 1):
            update = market_pb2.PriceUpdate(
                symbol=request.symbols[0], price="65432.10", timestamp=MILLIS, volume="1.23", seq=seq
            )
            yield market_pb2.StreamPricesResponse(updates=[update])
            if request.symbols[0].startswith("SLOW-"):
                self.first_of_stream_read.wait(timeout=10)

    @staticmethod
    def _fail_if_asked(symbol: str, context: Any) -> None:
        cases = {
            "UNKNOWN": EntasisError("SYMBOL_UNKNOWN", symbol=symbol),
            "DOWN": EntasisError("MARKET_DOWN", symbol=symbol, exchange="simulated"),
        }
        if (error := cases.get(symbol.partition("-")[0])) is None:
            return
        language = language_of(dict(context.invocation_metadata()).get("accept-language"))
        status = rpc_status.to_status(error.status(language))
        retry = (
            () if error.entry.retry_after_seconds is None else (("retry-after", str(error.entry.retry_after_seconds)),)
        )
        context.set_trailing_metadata((*status.trailing_metadata, ("x-error-code", error.entry.reason), *retry))
        context.abort(status.code, status.details)


@contextmanager
def serve_market(market: FakeMarket, path: Path) -> Iterator[health.HealthServicer]:
    """The market, and the health service that is given, on a unix socket."""
    server = grpc.server(ThreadPoolExecutor(max_workers=64))
    market_pb2_grpc.add_MarketServiceServicer_to_server(market, server)
    checks = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection([SERVICE, reflection.SERVICE_NAME], server)
    server.add_insecure_port(f"unix:{path}")
    server.start()
    checks.set("", health_pb2.HealthCheckResponse.SERVING)
    try:
        yield checks
    finally:
        server.stop(grace=None).wait(timeout=5)


@contextmanager
def serve_echo(path: Path) -> Iterator[None]:
    """A WebSocket server on a unix socket: first it tells the headers it got, then it repeats what it is sent."""

    def echo(connection: Any) -> None:
        headers = connection.request.headers
        connection.send("\n".join(f"{name.lower()}: {value}" for name, value in headers.raw_items()))
        for message in connection:
            connection.send(message)

    with unix_serve(echo, str(path)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join(timeout=5)
