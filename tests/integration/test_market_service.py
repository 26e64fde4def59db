"""The market over gRPC: an engine in this process on a scripted feed, and a real channel to it."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from tests.support.access import Unguarded, make_key, sending
from tests.support.market import (
    MINUTE,
    NOON,
    SECOND,
    ScriptedFeed,
    SetClock,
    SetMonotonic,
    candle,
    delta,
    snapshot,
    trade,
)

from entasis.market.v1 import market_pb2 as pb
from entasis.market.v1.market_pb2_grpc import MarketServiceStub
from entasis_engine.access.audit import AuditLog
from entasis_engine.bootstrap import Engine, open_engine
from entasis_engine.errors import Language
from entasis_engine.exchanges.feed import Connected, Disconnected, Interval
from entasis_engine.rpc.pipeline import Pipeline
from entasis_engine.rpc.server import open_server
from entasis_engine.rpc.stages import default_stages
from entasis_engine.settings import Settings

LANGUAGES: tuple[Language, ...] = get_args(Language)
HALF_PAST_NINE = datetime(2024, 3, 21, 9, 30, tzinfo=UTC)
PORTFOLIO = "entasis.portfolio.v1.PortfolioService"
ACCESS = "entasis.access.v1.AccessService"
ANALYSIS = "entasis.analysis.v1.AnalysisService"
WEB = "entasis.web.v1.WebService"
SERVICE = "entasis.market.v1.MarketService"
SECRET = "the password is 12345"  # what an exception inside says, and no caller may see


@dataclass
class Served:
    """A running engine, what it runs on, and a client of it."""

    engine: Engine
    channel: grpc.aio.Channel
    feed: ScriptedFeed
    clock: SetClock
    monotonic: SetMonotonic
    stub: Any = field(init=False)

    def __post_init__(self) -> None:
        self.stub = MarketServiceStub(self.channel)

    async def price(self, expected: str, symbol: str = "BTC-USDT") -> pb.GetPriceResponse:
        """The price, once it is the one expected."""
        while True:
            call = self.stub.GetPrice(pb.GetPriceRequest(symbol=symbol))
            if await call.code() is grpc.StatusCode.UNAVAILABLE:
                continue  # nothing was traded yet
            answer: pb.GetPriceResponse = await call
            if answer.price == expected:
                return answer

    async def history(self, **fields: Any) -> pb.GetHistoryResponse:
        """A page of history, once there is anything in it."""
        while True:
            answer: pb.GetHistoryResponse = await self.stub.GetHistory(
                pb.GetHistoryRequest(symbol="BTC-USDT", **fields)
            )
            if answer.data:
                return answer


@asynccontextmanager
async def _open(folder: Path, feed: ScriptedFeed, **settings: Any) -> AsyncIterator[Served]:
    """An engine on a feed; short paths, since a unix socket's has few characters."""
    monotonic = SetMonotonic()
    values = {"data_dir": folder, "grpc_port": 0, "drain_seconds": 5, "_env_file": None} | settings
    with tempfile.TemporaryDirectory() as short:
        address = f"{short}/e.sock"
        async with (
            # Outlives the engine, to see how it ends.
            grpc.aio.insecure_channel(f"unix:{address}", interceptors=sending(make_key(folder))) as channel,
            open_engine(
                Settings(**values), unix_path=address, feed=feed, clock=feed.clock, monotonic=monotonic
            ) as engine,
        ):
            yield Served(engine, channel, feed, feed.clock, monotonic)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with _open(tmp_path, ScriptedFeed(clock=SetClock(HALF_PAST_NINE))) as running:
        yield running


# What an error looks like to a caller.


def _status(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    trailers = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])  # type: ignore[arg-type]
    assert (status.code, status.message) == (error.code().value[0], error.details())
    assert trailers["x-error-code"] == _info(status).reason
    assert trailers["x-request-id"]
    return status


def _info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "entasis"
    return info


def _reason(error: grpc.aio.AioRpcError) -> str:
    return _info(_status(error)).reason


def _fields(status: status_pb2.Status) -> dict[str, str]:
    bad = error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.Unpack(bad):
            return {one.field: one.description for one in bad.field_violations}
    return {}


async def _refused(call: Awaitable[Any] | Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await (_read_to_the_end(call) if hasattr(call, "read") else call)
    return refused.value


async def _read_to_the_end(stream: Any) -> None:
    while await stream.read() is not grpc.aio.EOF:
        pass


def _json(message: Message) -> str:
    return json_format.MessageToJson(message, preserving_proto_field_name=True, indent=None, ensure_ascii=False)


# The shapes of the specification.


async def test_a_price_is_byte_for_byte_that_of_the_specification(served: Served) -> None:
    """GET price has the names, types, order and values of the specification's example."""
    served.feed.give(Connected("BTC-USDT", HALF_PAST_NINE), trade("65432.1", HALF_PAST_NINE, "123.45"))
    assert _json(await served.price("65432.10")) == (
        '{"symbol": "BTC-USDT", "price": "65432.10", "timestamp": "2024-03-21T09:30:00Z", '
        '"volume": "123.45", "exchange": "binance"}'
    )


async def test_history_is_byte_for_byte_that_of_the_specification(tmp_path: Path) -> None:
    """GET history has the names, types, order and values of the specification's example, and then our own."""
    feed = ScriptedFeed(clock=SetClock(HALF_PAST_NINE + timedelta(hours=1)))
    hour = candle(HALF_PAST_NINE.replace(minute=0), "65000", "65100.0", "64900", "65050.00", volume="234.560")
    feed.history["BTC-USDT", Interval.HOUR] = [hour]
    async with _open(tmp_path, feed) as served:
        expected = (
            '{"symbol": "BTC-USDT", "data": [{"timestamp": "2024-03-21T09:00:00Z", "open": "65000.00", '
            '"high": "65100.00", "low": "64900.00", "close": "65050.00", "volume": "234.56"}]}'
        )
        assert _json(await served.history()) == expected[:-1] + ', "interval": "1h"}'


async def test_an_order_book_has_the_shape_of_the_specification(served: Served) -> None:
    """The order book has the names, pairs and millisecond time of the specification's message, and then our own."""
    moment = HALF_PAST_NINE + timedelta(milliseconds=123)
    served.feed.give(
        trade("1", moment),
        snapshot([("65000", "1.234"), ("64999", "2.345")], [("65001", "1.234"), ("65002", "2.345")], moment),
    )
    await served.price("1.00")
    book = await served.stub.GetOrderBook(pb.GetOrderBookRequest(symbol="BTC-USDT"))
    assert _json(book).startswith(
        '{"symbol": "BTC-USDT", "bids": [["65000.00", "1.234"], ["64999.00", "2.345"]], '
        '"asks": [["65001.00", "1.234"], ["65002.00", "2.345"]], "timestamp": "2024-03-21T09:30:00.123Z", "seq": "'
    )


async def test_a_trade_has_the_shape_of_the_specification(served: Served) -> None:
    """A streamed trade has the names, order and millisecond time of the specification's message, then its number."""
    moment = HALF_PAST_NINE + timedelta(milliseconds=123)
    stream = served.stub.StreamPrices(pb.StreamPricesRequest(symbols=["BTC-USDT"]))
    await stream.initial_metadata()
    served.feed.give(trade("65432.1", moment, "1.23"))
    while not (batch := await stream.read()).updates:
        pass
    assert _json(batch.updates[0]).startswith(
        '{"symbol": "BTC-USDT", "price": "65432.10", "timestamp": "2024-03-21T09:30:00.123Z", '
        '"volume": "1.23", "seq": "'
    )


# Every RPC.


async def test_prices_of_several_symbols_do_not_spoil_each_other(served: Served) -> None:
    """A batch holds the prices there are in the order asked for, and for the others a reason in the caller's words."""
    served.feed.give(trade("1", NOON), trade("2", NOON, symbol="ETH-USDT"))
    await served.price("2.00", "ETH-USDT")
    asked = pb.ListPricesRequest(symbols=["ETH-USDT,FOO-BAR", "BTC-USDT", "ETH-USDT"])
    for language, words in (("en", "Unknown symbol"), ("ko", "알 수 없는 심볼")):
        answer = await served.stub.ListPrices(asked, metadata=[("accept-language", language)])
        assert [one.price for one in answer.prices] == ["2.00", "1.00"]
        ((symbol, reason, message),) = [(one.symbol, one.reason, one.message) for one in answer.failures]
        assert (symbol, pb.SymbolFailure(reason=reason).reason) == ("FOO-BAR", 1)
        assert words in message
        assert "FOO-BAR" in message


async def test_prices_without_symbols_are_all(served: Served) -> None:
    """Without symbols every listed one is in the answer, with its price or with why there is none."""
    served.feed.give(trade("1", NOON))
    await served.price("1.00")
    answer = await served.stub.ListPrices(pb.ListPricesRequest())
    assert [one.symbol for one in answer.prices] == ["BTC-USDT"]
    assert [(one.symbol, one.reason) for one in answer.failures] == [("ETH-USDT", 2)]


async def test_instruments_are_listed_by_symbol(served: Served) -> None:
    """Every instrument is told with its steps, as decimal strings without exponent."""
    answer = await served.stub.ListInstruments(pb.ListInstrumentsRequest())
    assert json_format.MessageToDict(answer.instruments[0], preserving_proto_field_name=True) == {
        "symbol": "BTC-USDT",
        "base_currency": "BTC",
        "quote_currency": "USDT",
        "tick_size": "0.01",
        "lot_size": "0.00001",
        "quote_scale": 2,
        "max_leverage": "20",
        "exchange": "binance",
    }
    assert [one.symbol for one in answer.instruments] == ["BTC-USDT", "ETH-USDT"]
    assert served.engine.symbols == ("BTC-USDT", "ETH-USDT")


async def test_history_is_paged(tmp_path: Path) -> None:
    """Following the tokens gives every candle once, in order, and only closed ones."""
    feed = ScriptedFeed(clock=SetClock(NOON + 30 * SECOND))
    minutes = [candle(NOON - number * MINUTE, number + 1) for number in range(25, 0, -1)]
    feed.history["BTC-USDT", Interval.MINUTE] = minutes
    async with _open(tmp_path, feed) as served:
        await served.history(interval="1m")
        seen, token, pages = [], "", 0
        while pages == 0 or token:
            page = await served.history(
                interval="1m", page_size=10, page_token=token, start=_stamp(minutes[0].open_time)
            )
            seen += [one.timestamp.ToDatetime(tzinfo=UTC) for one in page.data]
            token, pages = page.next_page_token, pages + 1
        assert (seen, pages) == ([one.open_time for one in minutes], 3)


async def test_a_closed_candle_of_the_stream_is_in_history_at_once(served: Served) -> None:
    """Whoever sees a candle close can read it from history in the same moment."""
    stream = served.stub.StreamCandles(pb.StreamCandlesRequest(symbols=["BTC-USDT"]))
    await stream.initial_metadata()
    served.feed.give(Connected("BTC-USDT", HALF_PAST_NINE), trade("1", HALF_PAST_NINE))
    served.feed.give(trade("2", HALF_PAST_NINE + MINUTE))
    closed = None
    while closed is None:
        batch = await stream.read()
        closed = next((update.candle for update in batch.updates if update.closed), None)
    served.clock.now = HALF_PAST_NINE + 2 * MINUTE
    page = await served.stub.GetHistory(pb.GetHistoryRequest(symbol="BTC-USDT", interval="1m"))
    assert list(page.data) == [closed]


async def test_books_are_streamed(served: Served) -> None:
    """A book stream of several symbols gives each as it stands and then its changes."""
    served.feed.give(snapshot([("1", "1")], []), snapshot([("9", "1")], [], symbol="ETH-USDT"), trade("1", NOON))
    await served.price("1.00")
    stream = served.stub.StreamOrderBooks(pb.StreamOrderBooksRequest(symbols=["BTC-USDT,ETH-USDT"], depth=1))
    seen: dict[str, str] = {}
    while len(seen) < 2:
        seen |= {book.symbol: book.bids[0][1] for book in (await stream.read()).books}
    served.feed.give(delta([("1", "7")], []))
    assert [book.bids[0][1] for book in (await stream.read()).books] == ["7"]


async def test_a_silence_is_told_in_the_stream(served: Served) -> None:
    """A stream says that its feed fell silent, by the engine's own clock, and goes on when it is back."""
    served.feed.give(trade("1", NOON))
    await served.price("1.00")
    stream = served.stub.StreamPrices(pb.StreamPricesRequest(symbols=["BTC-USDT"]))
    assert [one.price for one in (await stream.read()).updates] == ["1.00"]
    served.monotonic.seconds += 60
    assert [one.restored for one in (await stream.read()).interruptions] == [False]
    served.feed.give(trade("2", NOON))
    batch = await stream.read()
    assert ([one.restored for one in batch.interruptions], [one.price for one in batch.updates]) == ([True], ["2.00"])


async def test_a_client_that_leaves_leaves_nothing_open(served: Served) -> None:
    """Streams that clients cancel are over for the engine too."""
    method = f"/{SERVICE}/StreamPrices"

    def open_streams() -> float:
        return REGISTRY.get_sample_value("entasis_streams_open", {"method": method}) or 0.0

    before = open_streams()
    streams = [served.stub.StreamPrices(pb.StreamPricesRequest(symbols=["BTC-USDT"])) for _ in range(20)]
    for stream in streams:
        await stream.initial_metadata()
    assert open_streams() == before + 20
    for stream in streams:
        stream.cancel()
    while open_streams() != before:
        await asyncio.sleep(0)


async def test_a_gap_while_the_engine_runs_is_filled(tmp_path: Path) -> None:
    """Candles of minutes in which the connection was lost are fetched once it is back, of every interval."""
    feed = ScriptedFeed(clock=SetClock(NOON))
    async with _open(tmp_path, feed) as served:
        feed.give(Connected("BTC-USDT", NOON), trade("1", NOON), Disconnected("BTC-USDT", NOON + SECOND))
        feed.clock.now = NOON + 11 * MINUTE + 3 * SECOND
        feed.history["BTC-USDT", Interval.MINUTE] = [candle(NOON + number * MINUTE, 5) for number in range(11)]
        feed.history["BTC-USDT", Interval.FIVE_MINUTES] = [candle(NOON + number * 5 * MINUTE, 5) for number in range(2)]
        again = NOON + 10 * MINUTE + SECOND
        feed.give(Connected("BTC-USDT", again), trade("2", again), trade("2", again + MINUTE))
        for interval, count in (("1m", 11), ("5m", 2)):
            while len((await served.history(interval=interval)).data) < count:
                pass


# Errors, in both languages.


def _stamp(moment: datetime) -> Timestamp:
    return Timestamp(seconds=int(moment.timestamp()))


Ask = Callable[[Any], Any]
REFUSALS: dict[str, tuple[Ask, str, grpc.StatusCode, dict[str, str], list[str]]] = {
    "malformed symbol": (
        lambda stub: stub.GetPrice,
        "MARKET_001",
        grpc.StatusCode.INVALID_ARGUMENT,
        {"symbol": "btc-usdt"},
        ["symbol"],
    ),
    "unknown symbol": (
        lambda stub: stub.GetPrice,
        "MARKET_001",
        grpc.StatusCode.NOT_FOUND,
        {"symbol": "FOO-BAR"},
        [],
    ),
    "no market": (
        lambda stub: stub.GetPrice,
        "MARKET_002",
        grpc.StatusCode.UNAVAILABLE,
        {"symbol": "BTC-USDT", "exchange": "binance"},
        [],
    ),
    "no book": (
        lambda stub: stub.GetOrderBook,
        "MARKET_002",
        grpc.StatusCode.UNAVAILABLE,
        {"symbol": "BTC-USDT", "exchange": "binance"},
        [],
    ),
    "history of unknown": (
        lambda stub: stub.GetHistory,
        "MARKET_001",
        grpc.StatusCode.NOT_FOUND,
        {"symbol": "A-B"},
        [],
    ),
    "interval": (lambda stub: stub.GetHistory, "REQUEST_001", grpc.StatusCode.INVALID_ARGUMENT, {}, ["interval"]),
    "range": (lambda stub: stub.GetHistory, "REQUEST_001", grpc.StatusCode.INVALID_ARGUMENT, {}, ["start"]),
    "token": (lambda stub: stub.GetHistory, "REQUEST_001", grpc.StatusCode.INVALID_ARGUMENT, {}, ["page_token"]),
    "nanos": (lambda stub: stub.GetHistory, "REQUEST_001", grpc.StatusCode.INVALID_ARGUMENT, {}, ["end"]),
    "depth": (lambda stub: stub.GetOrderBook, "REQUEST_001", grpc.StatusCode.INVALID_ARGUMENT, {}, ["depth"]),
    "too many": (lambda stub: stub.ListPrices, "REQUEST_001", grpc.StatusCode.INVALID_ARGUMENT, {}, ["symbols"]),
    "too many joined": (lambda stub: stub.ListPrices, "REQUEST_001", grpc.StatusCode.INVALID_ARGUMENT, {}, ["symbols"]),
    "no symbols": (lambda stub: stub.StreamPrices, "REQUEST_001", grpc.StatusCode.INVALID_ARGUMENT, {}, ["symbols"]),
    "stream of too many": (
        lambda stub: stub.StreamPrices,
        "REQUEST_001",
        grpc.StatusCode.INVALID_ARGUMENT,
        {},
        ["symbols"],
    ),
    "stream of unknown": (
        lambda stub: stub.StreamPrices,
        "MARKET_001",
        grpc.StatusCode.NOT_FOUND,
        {"symbol": "FOO-BAR"},
        [],
    ),
    "book stream of malformed": (
        lambda stub: stub.StreamOrderBooks,
        "MARKET_001",
        grpc.StatusCode.INVALID_ARGUMENT,
        {"symbol": "x"},
        ["symbols[1]"],
    ),
    "book stream depth": (
        lambda stub: stub.StreamOrderBooks,
        "REQUEST_001",
        grpc.StatusCode.INVALID_ARGUMENT,
        {},
        ["depth"],
    ),
    "candle stream interval": (
        lambda stub: stub.StreamCandles,
        "REQUEST_001",
        grpc.StatusCode.INVALID_ARGUMENT,
        {},
        ["interval"],
    ),
}
MANY = [f"A{number}-B" for number in range(101)]
REQUESTS: dict[str, Message] = {
    "malformed symbol": pb.GetPriceRequest(symbol="btc-usdt"),
    "unknown symbol": pb.GetPriceRequest(symbol="FOO-BAR"),
    "no market": pb.GetPriceRequest(symbol="BTC-USDT"),
    "no book": pb.GetOrderBookRequest(symbol="BTC-USDT"),
    "history of unknown": pb.GetHistoryRequest(symbol="A-B"),
    "interval": pb.GetHistoryRequest(symbol="BTC-USDT", interval="2h"),
    "range": pb.GetHistoryRequest(symbol="BTC-USDT", start=Timestamp(seconds=2), end=Timestamp(seconds=1)),
    "token": pb.GetHistoryRequest(symbol="BTC-USDT", page_token="x"),
    "nanos": pb.GetHistoryRequest(symbol="BTC-USDT", end=Timestamp(seconds=253_402_300_798, nanos=2_000_000_000)),
    "depth": pb.GetOrderBookRequest(symbol="BTC-USDT", depth=0),
    "too many": pb.ListPricesRequest(symbols=MANY),
    "too many joined": pb.ListPricesRequest(symbols=[",".join(MANY[:60]), ",".join(MANY[60:])]),
    "no symbols": pb.StreamPricesRequest(),
    "stream of too many": pb.StreamPricesRequest(symbols=[",".join(MANY)]),
    "stream of unknown": pb.StreamPricesRequest(symbols=["BTC-USDT,FOO-BAR"]),
    "book stream of malformed": pb.StreamOrderBooksRequest(symbols=["BTC-USDT", "x"]),
    "book stream depth": pb.StreamOrderBooksRequest(symbols=["BTC-USDT"], depth=101),
    "candle stream interval": pb.StreamCandlesRequest(symbols=["BTC-USDT"], interval="7m"),
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("case", REFUSALS)
async def test_a_refusal_is_told_in_full(served: Served, case: str, language: Language) -> None:
    """Every refusal has its code, reason and metadata, names its fields, and speaks the caller's language."""
    rpc, reason, code, metadata, fields = REFUSALS[case]
    error = await _refused(rpc(served.stub)(REQUESTS[case], metadata=[("accept-language", language)]))
    status = _status(error)
    assert error.code() is code
    assert (_info(status).reason, dict(_info(status).metadata)) == (reason, metadata)
    assert list(_fields(status)) == fields
    for text in (status.message, *_fields(status).values()):
        assert bool(re.search("[가-힣]", text)) == (language == "ko")


async def test_a_refusal_of_very_much_still_arrives(served: Served) -> None:
    """Even a hundred bad symbols come back as the refusal that they are, and not as headers too large to receive."""
    asked = pb.ListPricesRequest(symbols=["한" * 200] * 100)
    assert _reason(await _refused(served.stub.ListPrices(asked, metadata=[("accept-language", "ko")]))) == "MARKET_001"


async def test_a_request_that_is_too_large_is_refused(served: Served) -> None:
    """A request beyond 64 KiB is REQUEST_003 and says the limit."""
    error = await _refused(served.stub.ListPrices(pb.ListPricesRequest(symbols=["BTC-USDT"] * 7000)))
    assert _reason(error) == "REQUEST_003"
    assert "65536" in error.details()


async def test_what_failed_may_be_tried_again_when_told(served: Served) -> None:
    """MARKET_002 says after how long to try again."""
    status = _status(await _refused(served.stub.GetPrice(pb.GetPriceRequest(symbol="BTC-USDT"))))
    retry = error_details_pb2.RetryInfo()
    assert status.details[-1].Unpack(retry)
    assert retry.retry_delay.seconds == 5


async def test_the_callers_own_number_comes_back(served: Served) -> None:
    """The request id that a caller gives is the one in the answer's trailers."""
    call = served.stub.GetPrice(pb.GetPriceRequest(symbol="FOO-BAR"), metadata=[("x-request-id", "my-number-7")])
    error = await _refused(call)
    assert dict(error.trailing_metadata())["x-request-id"] == "my-number-7"


@pytest.mark.parametrize("method", [f"/{SERVICE}/Buy", "/entasis.market.v2.MarketService/GetPrice", "/x"])
async def test_an_unknown_rpc_is_named(served: Served, method: str) -> None:
    """A method that is not there is REQUEST_002 and UNIMPLEMENTED, with its name."""
    error = await _refused(served.channel.unary_unary(method)(b""))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert _reason(error) == "REQUEST_002"
    assert method in (error.details() or "")


@pytest.mark.parametrize("method", ["GetPrice", "GetHistory", "StreamPrices"])
async def test_garbage_bytes_are_a_malformed_request(served: Served, method: str) -> None:
    """Bytes that are no message are REQUEST_001, in unary calls and streams alike."""
    kind = served.channel.unary_stream if method.startswith("Stream") else served.channel.unary_unary
    error = await _refused(kind(f"/{SERVICE}/{method}")(b"\xff\xff\xff"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert list(_fields(_status(error))) == ["body"]


async def test_a_query_that_contradicts_its_path_is_refused(served: Served) -> None:
    """What a transcoder would misunderstand is refused by the path that it was given."""
    call = served.stub.GetPrice(
        pb.GetPriceRequest(symbol="ETH-USDT"),
        metadata=[("x-envoy-original-path", "/api/v1/market/price/BTC-USDT?symbol=ETH-USDT")],
    )
    assert list(_fields(_status(await _refused(call)))) == ["symbol"]


# A servicer that misbehaves, behind the same pipeline and server.


class _Misbehaving:
    """Serves the market's contract as a test says; `going` lets hanging calls end."""

    DESCRIPTOR = pb.DESCRIPTOR.services_by_name["MarketService"]

    def __init__(self) -> None:
        self.going = asyncio.Event()
        self.asked = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        def fail(_request: object, _call: object) -> Any:
            raise RuntimeError(SECRET)

        return fail

    async def get_history(self, _request: pb.GetHistoryRequest, _call: object) -> pb.GetHistoryResponse:
        self.asked.set()
        await self.going.wait()
        return pb.GetHistoryResponse(symbol="BTC-USDT")

    async def list_prices(self, _request: pb.ListPricesRequest, _call: object) -> pb.ListPricesResponse:
        raise ValueError(SECRET)

    @asynccontextmanager
    async def stream_candles(self, *_: object) -> AsyncIterator[None]:
        yield  # no context manager that a `with` takes


@dataclass
class _Odd:
    servicer: _Misbehaving
    channel: grpc.aio.Channel
    stub: Any
    stack: AsyncExitStack


@asynccontextmanager
async def _misbehaving(*, deadline_seconds: float = 30.0, drain_seconds: float = 5.0) -> AsyncIterator[_Odd]:
    servicer = _Misbehaving()
    pipeline = Pipeline(
        [servicer],
        default_stages(SetMonotonic(), AuditLog(Path("unused"), SetClock(HALF_PAST_NINE)), log_everything=False),
        Unguarded(),
        deadline_seconds=deadline_seconds,
    )
    with tempfile.TemporaryDirectory() as short:
        address = f"{short}/s.sock"
        async with grpc.aio.insecure_channel(f"unix:{address}") as channel, AsyncExitStack() as stack:
            server = open_server(pipeline, host="127.0.0.1", port=None, unix_path=address, drain_seconds=drain_seconds)
            await stack.enter_async_context(server)
            yield _Odd(servicer, channel, MarketServiceStub(channel), stack)


@pytest.mark.parametrize("method", ["GetPrice", "ListPrices", "StreamPrices", "StreamCandles"])
async def test_an_exception_inside_tells_nothing_of_itself(method: str) -> None:
    """Whatever is raised inside, the caller sees SERVER_001 and a number, and the log has the rest."""
    requests: dict[str, Message] = {
        "GetPrice": pb.GetPriceRequest(symbol="BTC-USDT"),
        "ListPrices": pb.ListPricesRequest(),
        "StreamPrices": pb.StreamPricesRequest(symbols=["BTC-USDT"]),
        "StreamCandles": pb.StreamCandlesRequest(symbols=["BTC-USDT"]),
    }
    async with _misbehaving() as odd:
        with capture_logs() as logs:
            error = await _refused(getattr(odd.stub, method)(requests[method]))
    status = _status(error)
    assert error.code() is grpc.StatusCode.INTERNAL
    assert _info(status).reason == "SERVER_001"
    number = _info(status).metadata["request_id"]
    assert status.message == f"Internal error; please report request {number}"
    everything = [status.SerializeToString(), *(str(pair).encode() for pair in error.trailing_metadata() or ())]
    assert not any(word in text for text in everything for word in (SECRET.encode(), b"RuntimeError", b"ValueError"))
    assert [line for line in logs if line["event"] == "call.failed" and line["log_level"] == "error"]


async def test_a_call_that_takes_too_long_is_ended() -> None:
    """A call that is slower than the server allows is SERVER_003 and DEADLINE_EXCEEDED."""
    async with _misbehaving(deadline_seconds=0.05) as odd:
        error = await _refused(odd.stub.GetHistory(pb.GetHistoryRequest(symbol="BTC-USDT")))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert _reason(error) == "SERVER_003"


async def test_calls_in_flight_may_end_on_shutdown() -> None:
    """A call that is being served when the shutdown begins gets its answer."""
    async with _misbehaving() as odd:
        call = odd.stub.GetHistory(pb.GetHistoryRequest(symbol="BTC-USDT"))
        await odd.servicer.asked.wait()
        closing = asyncio.create_task(odd.stack.aclose())
        await asyncio.sleep(0)
        odd.servicer.going.set()
        assert (await call).symbol == "BTC-USDT"
        await closing


async def test_a_call_that_never_ends_does_not_hold_up_the_shutdown() -> None:
    """After the drain time the server stops, whatever is still going on."""
    async with _misbehaving(drain_seconds=0.05) as odd:
        call = odd.stub.GetHistory(pb.GetHistoryRequest(symbol="BTC-USDT"))
        await odd.servicer.asked.wait()
        async with asyncio.timeout(30):
            await odd.stack.aclose()
        error = await _refused(call)
        assert error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


# Shutdown, health and reflection of the whole engine.


async def test_streams_end_as_unavailable_on_shutdown(tmp_path: Path) -> None:
    """Open streams end with SERVER_002, in the caller's language, when the engine stops, and at once."""
    feed = ScriptedFeed()
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(_open(tmp_path, feed, drain_seconds=60))
        symbols = ["BTC-USDT", "ETH-USDT"]
        korean = [("accept-language", "ko")]
        streams = [
            served.stub.StreamPrices(pb.StreamPricesRequest(symbols=symbols), metadata=korean),
            served.stub.StreamOrderBooks(pb.StreamOrderBooksRequest(symbols=symbols), metadata=korean),
            served.stub.StreamCandles(pb.StreamCandlesRequest(symbols=symbols), metadata=korean),
        ]
        for stream in streams:
            await stream.initial_metadata()
        ending = [asyncio.create_task(_refused(stream)) for stream in streams]
        stopping = asyncio.create_task(_stop(stack))
        for error in await asyncio.gather(*ending):
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert _reason(error) == "SERVER_002"
            assert re.search("[가-힣]", error.details() or "")
        await stopping
    assert feed.closed >= 1


async def _stop(stack: AsyncExitStack) -> None:
    async with asyncio.timeout(30):
        await stack.aclose()


async def test_health_is_told_until_the_end() -> None:
    """The server and its service are SERVING, a watcher sees NOT_SERVING on shutdown, and an unknown one is unknown."""
    async with _misbehaving() as odd:
        stub = health_pb2_grpc.HealthStub(odd.channel)
        for name in ("", SERVICE):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        error = await _refused(stub.Check(health_pb2.HealthCheckRequest(service="no.such.Service")))
        assert error.code() is grpc.StatusCode.NOT_FOUND
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        closing = asyncio.create_task(odd.stack.aclose())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        await closing


async def test_reflection_lists_what_is_served_and_nothing_else(served: Served) -> None:
    """Reflection names the services, health and itself, and each method of what it describes answers."""
    stub = reflection_pb2_grpc.ServerReflectionStub(served.channel)

    async def asked() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    answers = [answer async for answer in stub.ServerReflectionInfo(asked())]
    names = {one.name for one in answers[0].list_services_response.service}
    assert names == {
        SERVICE,
        PORTFOLIO,
        ANALYSIS,
        ACCESS,
        WEB,
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    for method in pb.DESCRIPTOR.services_by_name["MarketService"].methods:
        kind = served.channel.unary_stream if method.server_streaming else served.channel.unary_unary
        if method.name == "ListInstruments":
            await kind(f"/{SERVICE}/{method.name}")(b"")
            continue
        error = await _refused(kind(f"/{SERVICE}/{method.name}")(b"\xff"))
        assert _reason(error) == "REQUEST_001"


async def test_candles_outlive_the_engine(tmp_path: Path) -> None:
    """What closed before a shutdown is history after it, exactly and once."""
    feed = ScriptedFeed(clock=SetClock(NOON + 5 * MINUTE))
    async with _open(tmp_path, feed) as served:
        feed.give(
            Connected("BTC-USDT", NOON), *(trade(number + 1, NOON + number * MINUTE, "1E-18") for number in range(4))
        )
        await served.price("4.00")
        before = await served.history(interval="1m")
    async with _open(tmp_path, ScriptedFeed(clock=SetClock(NOON + 5 * MINUTE))) as served:
        after = await served.history(interval="1m")
    assert after == before
    assert [one.close for one in after.data] == ["1.00", "2.00", "3.00"]
    assert {one.volume for one in after.data} == {"0.000000000000000001"}


async def test_a_feed_that_fails_for_good_ends_the_engine_in_order(tmp_path: Path) -> None:
    """A feed that raises ends the engine with that error, after what was closed was stored and the feed was closed."""
    feed = ScriptedFeed(clock=SetClock(NOON + 5 * MINUTE))
    with pytest.RaisesGroup(RuntimeError, flatten_subgroups=True, allow_unwrapped=True):
        async with _open(tmp_path, feed) as served:
            feed.give(Connected("BTC-USDT", NOON), trade(1, NOON), trade(2, NOON + MINUTE))
            await served.price("2.00")
            feed.fail(RuntimeError("the feed is broken"))
            await asyncio.Event().wait()
    assert feed.closed >= 1
    async with _open(tmp_path, ScriptedFeed(clock=SetClock(NOON + 5 * MINUTE))) as served:
        assert [one.close for one in (await served.history(interval="1m")).data] == ["1.00"]


async def test_a_recording_that_ends_leaves_the_engine_running(tmp_path: Path) -> None:
    """When a feed has no more to give, what is known is served on."""
    feed = ScriptedFeed()
    async with _open(tmp_path, feed) as served:
        feed.give(trade("1", NOON))
        feed.end()
        await served.price("1.00")
        assert (await served.price("1.00")).price == "1.00"
