"""Streams of positions through a real Envoy: gRPC, newline-delimited JSON and WebSocket tell the same."""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from queue import Empty, Queue
from socket import SHUT_RDWR
from typing import Any, NamedTuple, Protocol

import grpc
import pytest
import requests
from tests.e2e.conftest import Running, Start, eventually
from tests.support.access import blocking_channel, make_key
from tests.support.market import ScriptedFeed, SetClock, SetMonotonic, trade
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from entasis.access.v1 import access_pb2
from entasis.portfolio.v1 import portfolio_pb2 as pb
from entasis.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceStub
from entasis_engine.access.store import AccessStore
from entasis_engine.bootstrap import open_engine
from entasis_engine.edge import UnixEndpoint, open_edge
from entasis_engine.settings import Settings
from entasis_engine.times import system_clock
from entasis_engine.websocket import CHANNEL_OPTIONS, open_bridge

pytestmark = pytest.mark.e2e

POSITIONS = "/api/v1/portfolio/positions"
SECONDS = 30


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("positions")


@pytest.fixture(scope="module")
def up(start: Start, data_dir: Path) -> Running:
    return start(
        "up",
        data_dir=data_dir,
        anonymous_rate_limit_per_minute=1_000_000,  # new keys are tried until they are known
    )


@pytest.fixture
def key(up: Running, data_dir: Path) -> str:
    """The key of an account that nobody else uses, which the engine knows."""
    made = make_key(data_dir, account=f"a{uuid.uuid4().hex[:12]}")
    eventually(lambda: up.get(POSITIONS, {"X-API-Key": made})[0], lambda status: status == 200)
    return made


class Served(Protocol):
    """Where Envoy answers."""

    @property
    def web(self) -> str: ...

    @property
    def grpc(self) -> str: ...

    @property
    def websocket(self) -> str: ...


class Told:
    """What one stream tells: each update as an event, its number, and the positions as REST prints them."""

    def __init__(self, updates: Iterator[tuple[str, int, list[dict[str, Any]]]]) -> None:
        self._queue: Queue[Any] = Queue()
        self._reader = threading.Thread(target=self._read, args=(updates,), daemon=True)
        self._reader.start()

    def _read(self, updates: Iterator[Any]) -> None:
        try:
            for update in updates:
                self._queue.put(update)
        except Exception as error:
            self._queue.put(error)

    def next(self, *events: str) -> tuple[str, int, list[dict[str, Any]]]:
        """The next update of one of these kinds, or of any but prices."""
        while True:
            try:
                update = self._queue.get(timeout=SECONDS)
            except Empty:
                raise AssertionError("nothing came") from None
            if isinstance(update, Exception):
                raise update
            if update[0] in events or (not events and update[0] != "price"):
                return update  # type: ignore[no-any-return]


@contextmanager
def over_grpc(up: Served, key: str) -> Iterator[Told]:
    with blocking_channel(up.grpc, key) as channel:
        call = PortfolioServiceStub(channel).StreamPositions(pb.StreamPositionsRequest())

        def updates() -> Iterator[Any]:
            for response in call:
                for one in response.updates:
                    # As JSON, so that it compares with the rest.
                    yield one.event, one.seq, [_printed(position) for position in one.positions]

        yield Told(updates())
        call.cancel()


def _printed(position: pb.Position) -> dict[str, Any]:
    names = [field.name for field in position.DESCRIPTOR.fields if field.message_type is None]
    return {name: getattr(position, name) for name in names}


@contextmanager
def over_rest(up: Served, key: str, prefix: str = "/api/v1") -> Iterator[Told]:
    connection = HTTPConnection(up.grpc, timeout=SECONDS)
    connection.connect()
    socket = connection.sock
    connection.request("GET", f"{prefix}/portfolio/positions:stream", headers={"X-API-Key": key})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    assert answer.headers["content-type"] == "application/x-ndjson"

    def updates() -> Iterator[Any]:
        for line in answer:
            for one in json.loads(line)["updates"]:
                yield one["event"], int(one["seq"]), one["positions"]

    yield Told(updates())
    socket.shutdown(SHUT_RDWR)  # the reader waits in the middle of an answer that has no end
    connection.close()


@contextmanager
def over_websocket(up: Served, key: str) -> Iterator[Told]:
    with connect(up.websocket, additional_headers={"X-API-Key": key}) as socket:
        socket.send(json.dumps({"action": "subscribe", "channel": "positions"}))

        def updates() -> Iterator[Any]:
            for message in map(json.loads, socket):
                assert message["channel"] == "positions", message
                if "event" in message:
                    yield message["event"], message["seq"], message["positions"]

        yield Told(updates())


WAYS: dict[str, Callable[..., Any]] = {"grpc": over_grpc, "rest": over_rest, "websocket": over_websocket}


def opened(up: Served, key: str, size: str = "0.1", side: str = "long", leverage: str = "1") -> str:
    body = {"symbol": "BTC-USDT", "size": size, "type": side, "leverage": leverage}
    answer = requests.post(up.web + POSITIONS, json=body, headers={"X-API-Key": key}, timeout=SECONDS)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["position_id"])


def closed(up: Running, key: str, position: str, size: str | None = None) -> None:
    body = {} if size is None else {"size": size}
    answer = requests.post(
        f"{up.web}{POSITIONS}/{position}:close", json=body, headers={"X-API-Key": key}, timeout=SECONDS
    )
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("way", WAYS)
def test_each_way_tells_the_same_story(up: Running, key: str, way: str) -> None:
    """Snapshot, opening, part close, new price and close, numbered, with positions as GET prints them."""
    first = opened(up, key)
    with WAYS[way](up, key) as told:
        event, seq, positions = told.next()
        assert (event, [one["position_id"] for one in positions]) == ("snapshot", [first])
        assert positions[0].keys() >= {"symbol", "size", "entry_price", "current_price", "pnl", "type", "margin"}
        second = opened(up, key, "0.3", "short")
        event, number, (position,) = told.next()
        assert (event, position["position_id"], position["type"]) == ("opened", second, "short")
        assert number > seq
        closed(up, key, second, "0.1")
        event, _, (position,) = told.next()
        assert (event, position["size"], position["status"]) == ("changed", "0.2", "open")
        told.next("price")
        closed(up, key, second)
        event, number, (position,) = told.next()
        assert (event, position["status"], position["size"]) == ("closed", "closed", "0.3")
        _, answer, _ = up.get(f"{POSITIONS}/{second}", {"X-API-Key": key})
        assert {name: answer["position"][name] for name in position} == position
        closed(up, key, first)
        assert told.next()[1] > number


def test_the_short_path_streams_too(up: Running, key: str) -> None:
    """/v1 is the same resource as /api/v1."""
    with over_rest(up, key, "/v1") as told:
        assert told.next()[0] == "snapshot"


class Scripted(NamedTuple):
    """Envoy and the bridge before an engine whose market the test makes."""

    web: str
    grpc: str
    websocket: str


async def test_a_liquidation_is_seen_on_every_stream(tmp_path: Path) -> None:
    """When the market passes a liquidation price, each way tells it, with the same final state and number."""
    key = make_key(tmp_path)
    settings = Settings(
        data_dir=tmp_path, rest_port=0, grpc_port=0, envoy_admin_port=0, drain_seconds=1, _env_file=None
    )
    clock = SetClock()
    feed = ScriptedFeed(clock=clock)
    loop = asyncio.get_running_loop()

    def price(text: str) -> None:
        loop.call_soon_threadsafe(lambda: feed.give(trade(text, clock.now)))

    def play(up: Scripted) -> None:
        with over_grpc(up, key) as one, over_rest(up, key) as two, over_websocket(up, key) as three:
            streams = [one, two, three]
            for told in streams:
                assert told.next()[0] == "snapshot"
            position = opened(up, key, "1", "long", "20")
            for told in streams:
                event, _, (held,) = told.next()
                assert (event, held["position_id"], held["liquidation_price"]) == ("opened", position, "9550.00")
            price("9560")
            for told in streams:
                assert told.next("price")[2][0]["pnl"] == "-440.00"
            price("9540")
            ends = [told.next("liquidated", "closed", "changed") for told in streams]
        event, seq, (held,) = ends[0]
        assert (event, held["status"], held["pnl"], held["margin"]) == ("liquidated", "liquidated", "-500.00", "0.00")
        for event, number, (other,) in ends:
            assert (event, number) == ("liquidated", seq)
            assert {name: other[name] for name in held} == held

    with tempfile.TemporaryDirectory() as short:
        engine, bridge = Path(short, "engine.sock"), Path(short, "bridge.sock")
        async with (
            open_engine(settings, unix_path=str(engine), feed=feed, clock=clock, monotonic=SetMonotonic()),
            grpc.aio.insecure_channel(f"unix:{engine}", options=CHANNEL_OPTIONS) as channel,
            open_bridge(settings, channel=channel, unix_path=str(bridge)),
            open_edge(
                settings,
                engine=UnixEndpoint(engine),
                bridge=UnixEndpoint(bridge),
                run_dir=tmp_path,
                log_path=tmp_path / "envoy.log",
            ) as edge,
        ):
            price("10000")
            authority = f"127.0.0.1:{edge.rest_port}"
            await asyncio.to_thread(play, Scripted(f"http://{authority}", authority, f"ws://{authority}/ws/market"))


def test_who_may_not_read_is_refused(up: Running, key: str, data_dir: Path) -> None:
    """Without a credential, and without portfolio:read, REST and gRPC refuse by status, WebSocket by message."""
    blind = make_key(data_dir, account="blind", scopes=["market:read", "portfolio:write"])
    eventually(lambda: up.get("/api/v1/market/instruments", {"X-API-Key": blind})[0], lambda status: status == 200)
    path = f"{up.web}{POSITIONS}:stream"
    for headers, status, reason in (({}, 401, "AUTH_001"), ({"X-API-Key": blind}, 403, "AUTH_002")):
        answer = requests.get(path, headers=headers, timeout=SECONDS)
        assert (answer.status_code, answer.headers["x-error-code"]) == (status, reason)
        with connect(up.websocket, additional_headers=headers) as socket:
            socket.send(json.dumps({"action": "subscribe", "channel": "positions"}))
            error = json.loads(socket.recv(timeout=SECONDS))
        assert (error["type"], error["channel"], error["details"][0]["reason"]) == ("error", "positions", reason)
    with blocking_channel(up.grpc, blind) as channel, pytest.raises(grpc.RpcError) as raised:
        next(iter(PortfolioServiceStub(channel).StreamPositions(pb.StreamPositionsRequest())))
    assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_nobody_speaks_for_another_through_envoy(up: Running, key: str) -> None:
    """A session that a caller names means nothing, even a good one: over REST, gRPC or with the handshake."""
    with grpc.insecure_channel(up.engine) as channel:
        opened_session = channel.unary_unary("/entasis.access.v1.AccessService/OpenSession")
        answer = opened_session(b"", metadata=[("x-api-key", key)], timeout=SECONDS)
    session = access_pb2.OpenSessionResponse.FromString(answer).session
    assert session.startswith("acc_")
    for name, value in (("x-session-bin", _base64(session)), ("X-Session-Bin", session), ("x-session", session)):
        for path in (f"{POSITIONS}:stream", POSITIONS):
            answer = requests.get(up.web + path, headers={name: value}, timeout=SECONDS)
            assert (answer.status_code, answer.headers["x-error-code"]) == (401, "AUTH_001")
    for target in (up.grpc, up.engine):
        with grpc.insecure_channel(target) as channel:
            call = PortfolioServiceStub(channel).StreamPositions(
                pb.StreamPositionsRequest(), metadata=[("x-session-bin", session.encode())]
            )
            with pytest.raises(grpc.RpcError) as raised:
                next(call)
        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
    with connect(up.websocket, additional_headers={"x-session-bin": _base64(session)}) as socket:
        socket.send(json.dumps({"action": "subscribe", "channel": "positions"}))
        assert json.loads(socket.recv(timeout=SECONDS))["details"][0]["reason"] == "AUTH_001"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode().rstrip("=")


def test_a_revoked_key_ends_every_stream(up: Running, data_dir: Path) -> None:
    """Streams of a key that is revoked end within seconds: gRPC with AUTH_001, WebSocket with 4401, REST silently."""
    doomed = make_key(data_dir, account="doomed")
    eventually(lambda: up.get(POSITIONS, {"X-API-Key": doomed})[0], lambda status: status == 200)
    with blocking_channel(up.grpc, doomed) as channel:
        call = iter(PortfolioServiceStub(channel).StreamPositions(pb.StreamPositionsRequest(), timeout=SECONDS))
        assert next(call).updates[0].event == "snapshot"
        with (
            requests.get(
                f"{up.web}{POSITIONS}:stream", headers={"X-API-Key": doomed}, stream=True, timeout=SECONDS
            ) as answer,
            connect(up.websocket, additional_headers={"X-API-Key": doomed}) as socket,
        ):
            lines = answer.iter_lines(chunk_size=1)
            assert "snapshot" in next(lines).decode()
            socket.send(json.dumps({"action": "subscribe", "channel": "positions"}))
            assert json.loads(socket.recv(timeout=SECONDS))["event"] == "snapshot"
            store = AccessStore(data_dir / "access.db")
            store.revoke_key(doomed.split("_")[1], system_clock())
            store.close()
            with pytest.raises(grpc.RpcError) as raised:
                next(call)
            assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
            with pytest.raises((StopIteration, requests.RequestException)):
                next(lines)
            with pytest.raises(ConnectionClosed) as ended:
                _read_to_the_end(socket)
    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code == 4401


def _read_to_the_end(socket: ClientConnection) -> None:
    """Errors may come before the end, and nothing else."""
    while True:
        assert json.loads(socket.recv(timeout=SECONDS))["details"][0]["reason"] == "AUTH_001"
