"""Every error that the market can raise has the documented body, the same over REST, gRPC and WebSocket."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from tests.e2e.conftest import Running, Start, eventually
from tests.support.access import blocking_channel
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from entasis.market.v1 import market_pb2 as pb
from entasis.market.v1.market_pb2_grpc import MarketServiceStub

pytestmark = pytest.mark.e2e

INFO = "type.googleapis.com/google.rpc.ErrorInfo"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


@pytest.fixture(scope="module")
def up(start: Start) -> Running:
    """An engine whose history is there."""
    running = start("up")
    eventually(lambda: running.get("/api/v1/analysis/risk/BTC-USDT")[0], lambda status: status != 503)
    return running


@pytest.fixture(scope="module")
def stale(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Running:
    """A market whose exchange has fallen silent: a recording that is over."""
    file = tmp_path_factory.mktemp("recording") / "btcusdt-1h-short.csv"
    file.write_text("open_time,open,high,low,close,volume\n2024-08-08T23:00:00Z,61000,61900,60900,61500,12.5\n")
    up = start("up", feed="recorded", recorded_candles=file, recorded_speed=0, stale_after_seconds=0.5)
    eventually(lambda: up.get("/api/v1/market/price/BTC-USDT")[0], lambda status: status == 503)
    return up


def detail(body: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = [one for one in body["details"] if one["@type"] == kind]
    return found


def check(body: dict[str, Any], code: int, reason: str, fields: tuple[str, ...] = ()) -> None:
    """The body is `google.rpc.Status` with an ErrorInfo of that reason, and a BadRequest of exactly those fields."""
    assert body["code"] == code, body
    assert body["message"]
    info = detail(body, INFO)
    assert info["reason"] == reason
    assert info["domain"] == "entasis"
    if fields:
        violations = detail(body, BAD_REQUEST)["field_violations"]
        assert tuple(one["field"] for one in violations) == fields
        assert all(one["description"] for one in violations)


def over_grpc(target: str, key: str, method: str, request: Any) -> dict[str, Any]:
    """The status of a call that fails, in the shape of the REST body."""
    with blocking_channel(target, key) as channel:
        call = getattr(MarketServiceStub(channel), method)
        with pytest.raises(grpc.RpcError) as raised:
            _consume(call(request, timeout=20))
    status = rpc_status.from_call(raised.value)
    assert status is not None, f"no details: {raised.value}"
    metadata = dict(raised.value.trailing_metadata() or ()) | dict(raised.value.initial_metadata() or ())
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    details: list[dict[str, Any]] = []
    for packed in status.details:
        if packed.Unpack(info):
            details.append(
                {"@type": INFO, "reason": info.reason, "domain": info.domain, "metadata": dict(info.metadata)}
            )
        elif packed.Unpack(bad):
            violations = [{"field": one.field, "description": one.description} for one in bad.field_violations]
            details.append({"@type": BAD_REQUEST, "field_violations": violations})
    assert metadata["x-error-code"] == info.reason
    return {"code": status.code, "message": status.message, "details": details}


def _consume(answer: Any) -> None:
    """Read a stream to its end; a unary answer is there already."""
    if hasattr(answer, "__iter__"):
        list(answer)


def _until_closed(socket: ClientConnection) -> list[str]:
    """What comes before the connection is closed, which raises."""
    said = []
    try:
        while True:
            said.append(str(socket.recv(timeout=20)))
    except ConnectionClosed as closed:
        closed.said = said  # type: ignore[attr-defined]
        raise


def answer_to(socket: ClientConnection, message: str | bytes | dict[str, Any]) -> dict[str, Any]:
    """The first message after one of ours that is not market data."""
    socket.send(json.dumps(message) if isinstance(message, dict) else message)
    while True:
        answer: dict[str, Any] = json.loads(socket.recv(timeout=20))
        if "type" in answer:
            return answer


REST = [
    ("/api/v1/market/price/FOO-BAR", 404, 5, "MARKET_001", ()),
    ("/v1/market/price/FOO-BAR", 404, 5, "MARKET_001", ()),
    ("/api/v1/market/price/btc-usdt", 400, 3, "MARKET_001", ("symbol",)),
    ("/api/v1/market/price/BTCUSDT", 400, 3, "MARKET_001", ("symbol",)),
    ("/api/v1/market/price/BTC-USDT%00", 400, 3, "REQUEST_001", None),
    ("/api/v1/market/history/FOO-BAR", 404, 5, "MARKET_001", ()),
    ("/api/v1/market/orderbook/FOO-BAR", 404, 5, "MARKET_001", ()),
    ("/api/v1/market/prices?symbols=btc", 400, 3, "MARKET_001", ("symbols[0]",)),
    ("/api/v1/market/price/BTC-USDT?symbol=ETH-USDT", 400, 3, "REQUEST_001", ("symbol",)),
    ("/api/v1/market/price/BTC-USDT/?symbol=ETH-USDT", 400, 3, "REQUEST_001", ("symbol",)),
    ("/api/v1/market/history/BTC-USDT?page_size=1&pageSize=2", 400, 3, "REQUEST_001", ("page_size",)),
    ("/api/v1/market/history/BTC-USDT?start.seconds=1", 400, 3, "REQUEST_001", ("start",)),
    ("/api/v1/market/prices?symbols=BTC-USDT,btc", 400, 3, "MARKET_001", ("symbols[0]",)),
    ("/api/v1/market/price/BTC-USDT?colour=red", 400, 3, "REQUEST_001", None),
    ("/api/v1/market/history/BTC-USDT?interval=2h", 400, 3, "REQUEST_001", ("interval",)),
    ("/api/v1/market/history/BTC-USDT?interval=1h&interval=1m", 400, 3, "REQUEST_001", ("interval",)),
    (
        "/api/v1/market/history/BTC-USDT?start=2024-03-21T10:00:00Z&end=2024-03-21T09:00:00Z",
        400,
        3,
        "REQUEST_001",
        ("start",),
    ),
    ("/api/v1/market/history/BTC-USDT?start=yesterday", 400, 3, "REQUEST_001", None),
    ("/api/v1/market/history/BTC-USDT?page_size=many", 400, 3, "REQUEST_001", None),
    ("/api/v1/market/history/BTC-USDT?page_size=-1", 400, 3, "REQUEST_001", ("page_size",)),
    ("/api/v1/market/history/BTC-USDT?page_token=abc", 400, 3, "REQUEST_001", ("page_token",)),
    ("/api/v1/market/orderbook/BTC-USDT?depth=0", 400, 3, "REQUEST_001", ("depth",)),
    ("/api/v1/market/orderbook/BTC-USDT?depth=101", 400, 3, "REQUEST_001", ("depth",)),
    ("/api/v1/market/prices:stream", 400, 3, "REQUEST_001", ("symbols",)),
    ("/api/v1/analysis/risk/BTC-USDT", 400, 9, "AI_002", ()),  # tests have a month of history
    ("/api/v1/analysis/prediction/BTC-USDT", 503, 14, "AI_001", ()),  # and no models
    ("/api/v1/analysis/prediction/BTC-USDT?timeframe=1w", 400, 3, "REQUEST_001", ("timeframe",)),
    ("/api/v1/analysis/accuracy/BTC-USDT?days=366", 400, 3, "REQUEST_001", ("days",)),
    ("/api/v1/market/prices:stream?symbols=FOO-BAR", 404, 5, "MARKET_001", ()),
    ("/api/v1/nowhere", 404, 5, "REQUEST_002", ()),
    ("/docs/nothing.js", 404, 5, "REQUEST_002", ()),
    ("/api/v1/portfolio/positions/pos_0", 404, 5, "PORT_003", ()),
    ("/api/v1/portfolio/positions?status=lost", 400, 3, "REQUEST_001", ("status",)),
    ("/api/v1/portfolio/positions?page_token=abc", 400, 3, "REQUEST_001", ("page_token",)),
]


@pytest.mark.parametrize(("path", "status", "code", "reason", "fields"), REST, ids=[case[0] for case in REST])
def test_rest_errors_have_the_documented_body(
    up: Running, path: str, status: int, code: int, reason: str, fields: tuple[str, ...] | None
) -> None:
    """Status, body and x-error-code agree with the specification, whoever found the error: engine, bridge or Envoy."""
    answered, body, headers = up.get(path)
    assert answered == status, body
    check(body, code, reason, fields or ())
    assert headers["x-error-code"] == reason
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("foo-bin", "!!!"),
        ("grpc-trace-bin", "%%%"),
        ("grpc-timeout", "abc"),
        ("grpc-encoding", "bogus"),
        ("grpc-previous-rpc-attempts", "abc"),
        ("grpc-status", "abc"),
        ("x-large", "a" * 15_000),
    ],
)
def test_headers_that_mean_something_to_grpc_alone_do_no_harm(up: Running, name: str, value: str) -> None:
    """A REST caller's header that gRPC would stumble over spoils neither this call nor gRPC calls after it."""
    assert up.get("/api/v1/market/price/BTC-USDT", {name: value})[0] == 200
    for _ in range(5):
        with blocking_channel(up.grpc, up.key) as channel:
            assert MarketServiceStub(channel).GetPrice(pb.GetPriceRequest(symbol="BTC-USDT"), timeout=20).price


def test_grpc_headers_that_are_malformed_harm_nobody_else(up: Running) -> None:
    """A gRPC caller's malformed deadline or binary header spoils no call of anybody else."""
    for metadata in ([("foo-bin", b"x")], [("x-trace-bin", bytes(range(256)))]):
        with blocking_channel(up.grpc, up.key) as channel:
            stub = MarketServiceStub(channel)
            assert stub.GetPrice(pb.GetPriceRequest(symbol="BTC-USDT"), timeout=20, metadata=metadata).price


@pytest.mark.parametrize("path", ["price/BTC-USDT", "orderbook/BTC-USDT", "history/BTC-USDT"])
def test_a_body_cannot_change_what_the_path_says(up: Running, path: str) -> None:
    """A GET with a body is refused: it would win over the path, and the answer be of another instrument."""
    host, port = up.grpc.split(":")
    body = b'{"symbol":"ETH-USDT"}'
    with socket.create_connection((host, int(port)), timeout=20) as raw:
        raw.sendall(
            f"GET /api/v1/market/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
            f"x-api-key: {up.key}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400"), answer
    check(json.loads(answer.partition(b"\r\n\r\n")[2]), 3, "REQUEST_001")


@pytest.mark.parametrize("path", [case[0] for case in REST if case[3] != "REQUEST_002"])
def test_errors_speak_korean(up: Running, path: str) -> None:
    """A caller who prefers Korean gets the same error in Korean."""
    _, english, _ = up.get(path)
    _, korean, _ = up.get(path, {"Accept-Language": "ko-KR,ko;q=0.9,en;q=0.8"})
    assert any("가" <= character <= "힣" for character in korean["message"]), korean
    assert not any("가" <= character <= "힣" for character in english["message"])
    assert detail(korean, INFO)["reason"] == detail(english, INFO)["reason"]


GRPC = [
    ("GetPrice", pb.GetPriceRequest(symbol="FOO-BAR"), "/api/v1/market/price/FOO-BAR"),
    ("GetPrice", pb.GetPriceRequest(symbol="btc-usdt"), "/api/v1/market/price/btc-usdt"),
    (
        "GetHistory",
        pb.GetHistoryRequest(symbol="BTC-USDT", interval="2h"),
        "/api/v1/market/history/BTC-USDT?interval=2h",
    ),
    (
        "GetOrderBook",
        pb.GetOrderBookRequest(symbol="BTC-USDT", depth=101),
        "/api/v1/market/orderbook/BTC-USDT?depth=101",
    ),
    ("StreamPrices", pb.StreamPricesRequest(symbols=["FOO-BAR"]), "/api/v1/market/prices:stream?symbols=FOO-BAR"),
]


def without_empty(body: dict[str, Any]) -> dict[str, Any]:
    for one in body["details"]:
        for violation in one.get("field_violations", ()):
            violation.pop("reason", None)  # printed by REST though nothing is said there
    return body


@pytest.mark.parametrize(("method", "request_", "path"), GRPC, ids=[f"{case[0]} {case[2]}" for case in GRPC])
@pytest.mark.parametrize("through", ["envoy", "engine"])
def test_grpc_errors_are_those_of_rest(up: Running, method: str, request_: Any, path: str, through: str) -> None:
    """Over gRPC, directly or through Envoy, the status carries exactly what REST shows."""
    found = over_grpc(up.grpc if through == "envoy" else up.engine, up.key, method, request_)
    assert found == without_empty(up.get(path)[1])


@pytest.mark.parametrize(
    "written",
    ["2026-01-01", "2026-01-01T00:00", "2026-01-01T00:00Z", "2026-01-01T00:00:00", "2026-01-01T00%3A00%3A00.000"],
)
def test_a_time_may_be_written_short(up: Running, written: str) -> None:
    """What ISO 8601 lets one leave out, time of day, seconds and zone, means midnight, 0 and UTC."""
    asked = "/api/v1/market/history/BTC-USDT?interval=1d&page_size=1&start="
    eventually(lambda: up.get(asked + "2026-01-01T00:00:00Z")[1]["data"], bool)
    assert up.get(asked + written)[1]["data"] == up.get(asked + "2026-01-01T00:00:00Z")[1]["data"]


def test_an_unknown_rpc_is_refused_in_the_same_shape(up: Running) -> None:
    """A service that is not served answers UNIMPLEMENTED with REQUEST_002."""
    with grpc.insecure_channel(up.engine) as channel, pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary("/entasis.web.v1.WebService/GetPage")(b"", timeout=20)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert dict(raised.value.trailing_metadata())["x-error-code"] == "REQUEST_002"


WEBSOCKET: list[tuple[str | dict[str, Any], int, str, tuple[str, ...] | None]] = [
    ({"action": "subscribe", "channel": "market", "symbols": ["FOO-BAR"]}, 5, "MARKET_001", ()),
    ({"action": "subscribe", "channel": "market", "symbols": ["btc"]}, 3, "MARKET_001", None),
    ({"action": "subscribe", "channel": "orderbook", "symbol": "BTC-USDT", "depth": 101}, 3, "REQUEST_001", ("depth",)),
    (
        {"action": "subscribe", "channel": "candles", "symbol": "BTC-USDT", "interval": "2h"},
        3,
        "REQUEST_001",
        ("interval",),
    ),
    ({"action": "subscribe", "channel": "weather", "symbol": "BTC-USDT"}, 3, "REQUEST_001", ("channel",)),
    ({"action": "dance"}, 3, "REQUEST_001", ("action",)),
    ({"action": "subscribe", "channel": "market"}, 3, "REQUEST_001", ("symbols",)),
    ("{not json", 3, "REQUEST_001", None),
    ("[]", 3, "REQUEST_001", None),
]


@pytest.mark.parametrize(("message", "code", "reason", "fields"), WEBSOCKET, ids=[str(case[0]) for case in WEBSOCKET])
def test_websocket_errors_have_the_documented_body(
    up: Running, message: Any, code: int, reason: str, fields: tuple[str, ...] | None
) -> None:
    """A bad message is answered with the documented body, and the connection goes on."""
    with connect(up.websocket) as socket:
        check(answer_to(socket, message), code, reason, fields or ())
        assert answer_to(socket, {"action": "ping"})["type"] == "pong"


def test_an_oversized_frame_is_refused(up: Running) -> None:
    """A frame over the limit closes the connection with 1009 and the documented reason."""
    with connect(up.websocket) as socket:
        socket.send("x" * 1_000_000)
        with pytest.raises(ConnectionClosed) as closed:
            _until_closed(socket)
        (said,) = closed.value.said
        check(json.loads(said), 11, "REQUEST_003")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        assert "REQUEST_003" in closed.value.rcvd.reason


def test_a_socket_may_send_much_over_time(up: Running) -> None:
    """Messages within the limit are answered however much they come to together."""
    with connect(up.websocket) as socket:
        for number in range(20):
            answer = answer_to(socket, json.dumps({"action": "ping", "id": number}) + " " * 16_000)
            assert (answer["type"], answer["id"]) == ("pong", number)


def test_invalid_utf8_is_refused(up: Running) -> None:
    """A text frame that is not UTF-8 closes the connection with 1007."""
    with connect(up.websocket) as client:
        client.send(b"\xff\xfe{", text=True)
        with pytest.raises(ConnectionClosed) as closed:
            _until_closed(client)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1007


def test_a_path_that_is_not_utf8_is_refused(up: Running) -> None:
    """A path with bytes that are not UTF-8 gets a documented body too."""
    host, port = up.grpc.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as raw:
        raw.sendall(b"GET /api/v1/market/price/BTC-%FF%FE HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400"), answer
    check(json.loads(body), 3, json.loads(body)["details"][0]["reason"])


def test_a_silent_exchange_is_market_002_on_every_transport(stale: Running) -> None:
    """An old price is never dressed as new: REST, gRPC and WebSocket all say MARKET_002; history still answers."""
    status, body, headers = stale.get("/api/v1/market/price/BTC-USDT")
    assert status == 503
    check(body, 14, "MARKET_002")
    assert headers["x-error-code"] == "MARKET_002"
    assert detail(body, INFO)["metadata"] == {"symbol": "BTC-USDT", "exchange": "binance"}
    for target in (stale.grpc, stale.engine):
        found = over_grpc(target, stale.key, "GetPrice", pb.GetPriceRequest(symbol="BTC-USDT"))
        check(found, 14, "MARKET_002")
        assert found["message"] == body["message"]
    check(stale.get("/api/v1/market/orderbook/BTC-USDT")[1], 14, "MARKET_002")
    with connect(stale.websocket) as socket:
        subscribe = {"action": "subscribe", "channel": "market", "symbols": ["BTC-USDT"]}
        said = answer_to(socket, subscribe)
        check(said, 14, "MARKET_002")
        assert (said["message"], said["details"]) == (body["message"], body["details"])
    _, batch, _ = stale.get("/api/v1/market/prices?symbols=BTC-USDT")
    assert batch["prices"] == []
    assert batch["failures"][0]["reason"] == "MARKET_002"
    assert stale.get("/api/v1/market/history/BTC-USDT")[0] == 200


def test_a_dead_engine_is_server_002_on_every_transport(start: Start, tmp_path_factory: pytest.TempPathFactory) -> None:
    """With the engine gone, REST, gRPC and WebSocket say SERVER_002; with it back, everything goes on."""
    sockets = tmp_path_factory.mktemp("run")
    engine_socket, bridge_socket = f"unix:{sockets}/e", f"unix:{sockets}/b"
    data_dir = tmp_path_factory.mktemp("data")
    engine = start("serve", "engine", "--unix", f"{sockets}/e", data_dir=data_dir)
    engine.until_said("Entasis is up")
    start("serve", "bridge", "--engine", engine_socket, "--unix", f"{sockets}/b").until_said("Entasis is up")
    edge = start("serve", "edge", "--engine", engine_socket, "--bridge", bridge_socket)
    web = edge.web

    def get() -> tuple[int, Any]:
        status, body, _ = edge.get("/api/v1/market/price/BTC-USDT", {"X-API-Key": engine.key})
        return status, body

    assert eventually(get, lambda answer: answer[0] == 200)
    with connect(web.replace("http", "ws") + "/ws/market") as socket:
        socket.send(json.dumps({"action": "subscribe", "channel": "market", "symbols": ["BTC-USDT"]}))
        assert "price" in json.loads(socket.recv(timeout=20))
        engine.process.kill()
        engine.process.wait(timeout=20)
        while "type" not in (message := json.loads(socket.recv(timeout=20))):
            pass
        check(message, 14, "SERVER_002")
        _, body = eventually(get, lambda answer: answer[0] == 503)
        check(body, 14, "SERVER_002")
        found = over_grpc(web.removeprefix("http://"), engine.key, "GetPrice", pb.GetPriceRequest(symbol="BTC-USDT"))
        check(found, 14, "SERVER_002")
        Path(f"{sockets}/e").unlink(missing_ok=True)
        start("serve", "engine", "--unix", f"{sockets}/e", data_dir=data_dir).until_said("Entasis is up")
        while "price" not in (message := json.loads(socket.recv(timeout=30))):
            pass
        assert message["symbol"] == "BTC-USDT"
    assert eventually(get, lambda answer: answer[0] == 200)
