"""Whoever states an address is not believed: lists and limits go by the true one, over each transport."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.e2e.conftest import Running, Start
from tests.support.access import make_key
from tests.support.forgeries import forged_addresses
from tests.support.raw_http import GET_PRICE, Answer, Headers, Http, Http2
from websockets.asyncio.client import connect

from entasis.market.v1 import market_pb2 as pb

pytestmark = pytest.mark.e2e

WANTED = 1_000
LISTED = "198.51.100.0/24"
NEIGHBOUR = "127.0.0.2"
"""An address of this machine that is on the list; calls come from 127.0.0.1 otherwise."""
FORGED = forged_addresses(["198.51.100.7", NEIGHBOUR], WANTED + 250)
PRICE = "/api/v1/market/price/BTC-USDT"
REQUEST = pb.GetPriceRequest(symbol="BTC-USDT").SerializeToString()
LIMIT = 50

Send = Callable[[Headers], Awaitable[Answer]]


@pytest.fixture(scope="module")
def listed(start: Start) -> Running:
    """An engine that 127.0.0.1 may not call at all."""
    return start(
        "up",
        allowed_addresses=f"{LISTED},{NEIGHBOUR}",
        anonymous_rate_limit_per_minute=1_000_000,
        market_streams_public=False,
        log_level="error",
    )


@pytest.fixture(scope="module")
def bound(start: Start, tmp_path_factory: pytest.TempPathFactory) -> tuple[Running, str, str]:
    """An engine that anybody may call, a key that is bound to addresses elsewhere, and one to those of this machine."""
    folder = tmp_path_factory.mktemp("data")
    elsewhere, here = make_key(folder, addresses=[LISTED, NEIGHBOUR]), make_key(folder, addresses=["127.0.0.0/8"])
    up = start(
        "up",
        data_dir=folder,
        anonymous_rate_limit_per_minute=1_000_000,
        market_streams_public=False,
        log_level="error",
    )
    return up, elsewhere, here


@pytest.fixture(scope="module")
def limited(start: Start) -> Running:
    return start("up", anonymous_rate_limit_per_minute=LIMIT, log_level="error")


# Transports ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def rest(up: Running, source: str | None = None) -> AsyncIterator[Send]:
    http = Http(up.grpc, source)
    yield lambda headers: http.get(PRICE, headers)
    http.close()


@asynccontextmanager
async def websocket(up: Running, source: str | None = None) -> AsyncIterator[Send]:
    http = Http(up.grpc, source)

    async def send(headers: Headers) -> Answer:
        answer = await http.open_websocket(headers)
        return answer._replace(status="200" if b'"price"' in answer.body else answer.status)

    yield send
    http.close()


@asynccontextmanager
async def engine(up: Running, source: str | None = None) -> AsyncIterator[Send]:
    http2 = Http2(up.engine, source)

    async def send(headers: Headers) -> Answer:
        answer = await http2.call(GET_PRICE, tuple((name.lower(), value) for name, value in headers), REQUEST)
        return answer._replace(status=HTTP_OF.get(answer.status, answer.status))

    yield send
    http2.close()


@asynccontextmanager
async def envoy(up: Running, source: str | None = None) -> AsyncIterator[Send]:
    """gRPC through Envoy. It cannot choose where it calls from, and sends what is printable."""
    assert source is None
    async with grpc.aio.insecure_channel(up.grpc) as channel:

        async def send(headers: Headers) -> Answer:
            metadata = [(name.lower(), value.decode("ascii")) for name, value in headers]
            try:
                await channel.unary_unary(GET_PRICE)(REQUEST, metadata=metadata, timeout=20)
            except grpc.aio.AioRpcError as error:
                code = str(error.code().value[0])
                return Answer(HTTP_OF.get(code, code), reason_in(error))
            return Answer("200")

        yield send


def names_of(headers: Headers) -> set[str]:
    return {name.lower() for name, _ in headers}


def printable(forged: Sequence[Headers]) -> list[Headers]:
    """Those that gRPC's own client sends."""
    return [one for one in forged if all(0x20 <= byte <= 0x7E for _, value in one for byte in value)]


def reason_in(error: grpc.aio.AioRpcError | grpc.RpcError) -> str:
    told = dict(error.initial_metadata() or ()) | dict(error.trailing_metadata() or ())  # type: ignore[union-attr]
    return str(told.get("x-error-code", ""))


HTTP_OF = {"0": "200", "7": "403", "8": "429", "16": "401"}
TRANSPORTS = {"REST": rest, "WebSocket": websocket, "gRPC": engine, "gRPC through Envoy": envoy}
over_each = pytest.mark.parametrize("transport", TRANSPORTS)
over_each_with_sources = pytest.mark.parametrize("transport", [name for name in TRANSPORTS if "Envoy" not in name])


async def send_all(transport: str, up: Running, key: str, forged: Sequence[Headers]) -> Counter[tuple[str, str]]:
    """Send each of the forged addresses with a key; counts what came of them."""
    if transport == "gRPC through Envoy":
        forged = printable(forged)
    assert len(forged) >= WANTED
    left = iter(forged)
    counted = Counter[tuple[str, str]]()

    async def go_on() -> None:
        async with TRANSPORTS[transport](up) as send:
            for headers in left:
                answer = await send((*headers, ("x-api-key", key.encode())))
                counted[answer.status, answer.reason] += 1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(16):
            tasks.create_task(go_on())
    print(f"\n{transport}: {counted.total()} forged addresses: {dict(counted)}")
    return counted


# Lists ---------------------------------------------------------------------------------------------------------------


@over_each
async def test_no_forged_address_lets_anybody_in(listed: Running, transport: str) -> None:
    """An engine with a list answers 403 AUTH_003 to each, though the key is good."""
    counted = await send_all(transport, listed, listed.key, FORGED)
    assert counted.keys() == {("403", "AUTH_003")}


@over_each_with_sources
async def test_the_true_address_lets_in(listed: Running, transport: str) -> None:
    """From an address on the list the same call is served, and goes on to be when it states another."""
    async with TRANSPORTS[transport](listed, NEIGHBOUR) as send:
        for more in ((), (("x-client-ip", b"127.0.0.1"),), (("x-forwarded-for", b"203.0.113.9"),)):
            assert (await send((*more, ("x-api-key", listed.key.encode())))).status == "200"


@pytest.mark.parametrize(
    "connection",
    [
        "x-client-ip",
        "X-Client-IP",
        "close, x-client-ip",
        "keep-alive, x-client-ip",
        "Upgrade, x-client-ip",
        "x-client-ip, te",
    ],
)
@pytest.mark.parametrize("path", [PRICE, "/v1/market/prices:stream?symbols=BTC-USDT", "/ws/market"])
async def test_the_true_address_cannot_be_left_out(listed: Running, path: str, connection: str) -> None:
    """To call the header one of the connection's own, which proxies leave out, does not make a part of the engine."""
    http = Http(listed.grpc)
    told: Headers = (("connection", connection.encode()), ("x-api-key", listed.key.encode()))
    upgrade: Headers = (
        ("upgrade", b"websocket"),
        ("sec-websocket-version", b"13"),
        ("sec-websocket-key", b"A" * 22 + b"=="),
    )
    for headers in (told, (*told, ("x-client-ip", NEIGHBOUR.encode())), (*told, ("te", b"trailers"))):
        answer = await http.get(path, headers)
        assert (answer.status, answer.reason) in {
            ("403", "AUTH_003"),
            ("400", "REQUEST_001"),
            ("404", "REQUEST_002"),
        } or (answer.status == "426" and path == "/ws/market"), answer
        if path == "/ws/market":
            answer = await http.get(path, (*headers, ("connection", b"Upgrade"), *upgrade))
            assert answer.status != "101", answer
    http.close()


@over_each
async def test_without_a_key_the_address_is_refused_all_the_same(listed: Running, transport: str) -> None:
    """Who may not call at all is told so, whatever else is wrong with the call."""
    async with TRANSPORTS[transport](listed) as send:
        for headers in ((), (("x-api-key", b"x"),), (("authorization", b"Bearer x"),), (("x-client-ip", b""),)):
            answer = await send(headers)
            assert (answer.status, answer.reason) == ("403", "AUTH_003")


@over_each
async def test_a_bound_key_is_bound_to_the_true_address(bound: tuple[Running, str, str], transport: str) -> None:
    """A key that is bound elsewhere is 403 AUTH_003 whatever is stated, and one that is bound here is served."""
    up, elsewhere, here = bound
    assert (await send_all(transport, up, elsewhere, FORGED)).keys() == {("403", "AUTH_003")}
    # At its own port the engine takes this header, which Envoy replaces, for the path of the caller's own REST call.
    served = [one for one in FORGED if transport != "gRPC" or "x-envoy-original-path" not in names_of(one)]
    assert (await send_all(transport, up, here, served)).keys() == {("200", "")}


@over_each_with_sources
async def test_a_bound_key_is_taken_where_it_is_bound_to(bound: tuple[Running, str, str], transport: str) -> None:
    """From an address of its list the key is served."""
    up, elsewhere, _ = bound
    async with TRANSPORTS[transport](up, NEIGHBOUR) as send:
        assert (await send((("x-api-key", elsewhere.encode()),))).status == "200"


def _health(channel: grpc.Channel, metadata: list[tuple[str, str]]) -> object:
    return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), metadata=metadata, timeout=20)


def _health_watched(channel: grpc.Channel, metadata: list[tuple[str, str]]) -> object:
    watch = health_pb2_grpc.HealthStub(channel).Watch
    return next(watch(health_pb2.HealthCheckRequest(), metadata=metadata, timeout=20))


def _reflection(channel: grpc.Channel, metadata: list[tuple[str, str]]) -> object:
    requests = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    return next(stub.ServerReflectionInfo(requests, metadata=metadata, timeout=20))


@pytest.mark.parametrize(
    "call", [_health, _health_watched, _reflection], ids=["health", "health watched", "reflection"]
)
@pytest.mark.parametrize("through", ["engine", "envoy"])
def test_health_and_reflection_go_by_the_list_too(
    listed: Running,
    bound: tuple[Running, str, str],
    through: str,
    call: Callable[[grpc.Channel, list[tuple[str, str]]], object],
) -> None:
    """Who may not call learns nothing, neither what there is nor whether it lives; others do."""
    stated = [[(name.lower(), value.decode()) for name, value in headers] for headers in printable(FORGED)[:40]]
    with grpc.insecure_channel(listed.engine if through == "engine" else listed.grpc) as channel:
        for metadata in ([], [("x-api-key", listed.key)], [("x-client-ip", NEIGHBOUR)], *stated):
            with pytest.raises(grpc.RpcError) as raised:
                call(channel, metadata)
            assert (raised.value.code(), reason_in(raised.value)) == (grpc.StatusCode.PERMISSION_DENIED, "AUTH_003")
    up = bound[0]
    with grpc.insecure_channel(up.engine if through == "engine" else up.grpc) as channel:
        assert call(channel, [])


# Limits --------------------------------------------------------------------------------------------------------------

SOURCES = {"REST": "127.0.0.11", "WebSocket": "127.0.0.12", "gRPC": "127.0.0.13", "gRPC through Envoy": None}


@over_each
async def test_a_forged_address_is_no_other_caller(limited: Running, transport: str) -> None:
    """Who calls without a key has fifty calls, and the fifty-first is refused whatever address each of them states."""
    source = SOURCES[transport]
    expected = ("200", "") if transport == "WebSocket" else ("401", "AUTH_001")  # market streams are public
    stated: list[Headers] = [(("x-client-ip", f"198.51.100.{number}".encode()),) for number in range(40)]
    stated += printable(FORGED)[: LIMIT - 20]
    answers = []
    async with TRANSPORTS[transport](limited, source) as send:
        for headers in stated:
            answers.append(await send(headers))
    told = [(answer.status, answer.reason) for answer in answers]
    assert told[:LIMIT] == [expected] * LIMIT
    assert told[LIMIT:] == [("429", "LIMIT_001")] * (len(stated) - LIMIT)


async def test_the_limit_of_an_address_is_one_over_all_transports(limited: Running) -> None:
    """Calls over one transport count over the others, bad credentials too; and no other address has to suffer."""
    source = "127.0.0.14"
    async with (
        rest(limited, source) as by_rest,
        engine(limited, source) as by_grpc,
        websocket(limited, source) as by_websocket,
        rest(limited, "127.0.0.15") as by_another,
    ):
        for number in range(LIMIT // 2):
            headers: Headers = (("x-client-ip", b"192.0.2.%d" % number), ("x-api-key", b"ek_%d" % number))
            assert (await by_rest(headers)).status == "401"
            assert (await by_grpc(headers)).status == "401"
        for send in (by_rest, by_grpc, by_websocket):
            assert (await send((("x-client-ip", b"192.0.2.99"),))).status == "429"
            key = (("x-api-key", limited.key.encode()),)
            assert (await send(key)).status == "200"
        assert (await by_another(())).status == "401"


async def test_auth_messages_are_counted_by_the_true_address(limited: Running) -> None:
    """The handshake and each failed `auth` count, and no header of the handshake gets around it."""
    headers = {"x-client-ip": "192.0.2.1", "x-forwarded-for": "192.0.2.2", "X-Real-IP": "192.0.2.3"}
    local = ("127.0.0.16", 0)
    reasons = []
    for messages in (LIMIT // 2 - 1, LIMIT // 2):  # each handshake is one call, and the last message one too many
        async with connect(limited.websocket, additional_headers=headers, local_addr=local, compression=None) as socket:
            for number in range(messages):
                await socket.send(json.dumps({"action": "auth", "api_key": f"ek_{number}", "id": number}))
                reasons.append(json.loads(await socket.recv())["details"][0]["reason"])
    assert reasons == ["AUTH_001"] * (LIMIT - 2) + ["LIMIT_001"]


def test_every_header_that_could_matter_was_forged() -> None:
    """The forms include each header that Envoy or the engine has ever believed, alone, repeated and in odd cases."""
    names = Counter(name for headers in FORGED for name in names_of(headers))
    for name in ("x-client-ip", "x-forwarded-for", "x-real-ip", "forwarded", "x-envoy-external-address"):
        assert names[name] >= 20
    assert any(len(headers) > 1 and len(names_of(headers)) == 1 for headers in FORGED)
    assert any(name != name.lower() for headers in FORGED for name, _ in headers)
