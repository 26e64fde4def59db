"""Who may do what, and for how long: over REST and WebSocket as the contract has it, and until a key is revoked."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2
from tests.e2e.conftest import Running, Start, eventually
from tests.support.access import make_key
from tests.support.forgeries import key_id
from tests.support.raw_http import GET_PRICE, Answer, Headers, Http, Http2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from entasis.access.v1 import access_pb2, requirement_pb2
from entasis.market.v1 import market_pb2 as pb
from entasis_engine import assets
from entasis_engine.access.directory import SCOPES
from entasis_engine.access.store import AccessStore
from entasis_engine.times import system_clock

pytestmark = pytest.mark.e2e

SECONDS_MAX = 5.0
"""Within which a revocation takes hold."""
PRICE = "/api/v1/market/price/BTC-USDT"
REQUEST = pb.GetPriceRequest(symbol="BTC-USDT").SerializeToString()
STREAM_PRICES = "/entasis.market.v1.MarketService/StreamPrices"
PRICES = pb.StreamPricesRequest(symbols=["BTC-USDT"]).SerializeToString()
SERVICE = "/entasis.access.v1.AccessService"
CHANNELS = {"market": "StreamPrices", "orderbook": "StreamOrderBooks", "candles": "StreamCandles"}


@dataclass(frozen=True)
class Rpc:
    """An RPC as the descriptor set that is shipped declares it."""

    name: str
    need: requirement_pb2.Requirement
    bindings: tuple[tuple[str, str], ...]
    """HTTP methods and paths."""


def registered() -> list[Rpc]:
    """Every RPC of the services that Envoy serves over REST."""
    edge = assets.path("envoy/envoy.yaml").read_text()
    (services,) = {tuple(one["services"]) for one in _objects(yaml.safe_load(edge)) if "proto_descriptor" in one}
    files = descriptor_pb2.FileDescriptorSet.FromString(assets.path("gen/descriptor/entasis.binpb").read_bytes()).file
    return [
        Rpc(f"/{file.package}.{service.name}/{method.name}", method.options.Extensions[requirement_pb2.requirement],
            tuple(_bindings(method.options.Extensions[annotations_pb2.http])))
        for file in files
        for service in file.service
        if f"{file.package}.{service.name}" in services
        for method in service.method
    ]  # fmt: skip


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(one)


def _bindings(rule: Any) -> Iterator[tuple[str, str]]:
    for one in (rule, *rule.additional_bindings):
        if pattern := one.WhichOneof("pattern"):
            yield pattern.upper(), getattr(one, pattern)


RPCS = registered()


@dataclass(frozen=True)
class Served:
    """An engine behind Envoy, and credentials of every kind of caller."""

    up: Running
    folder: Path
    public: bool
    callers: dict[str, Headers]

    def new_key(self, **options: Any) -> str:
        return make_key(self.folder, **options)


@pytest.fixture(scope="module", params=[True, False], ids=["public", "closed"])
def served(start: Start, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Served:
    folder = tmp_path_factory.mktemp("data")
    keys = {
        "owner": make_key(folder),
        "other account": make_key(folder, account="other"),
        "revoked": make_key(folder),
        **{f"missing {scope}": make_key(folder, scopes=[one for one in SCOPES if one != scope]) for scope in SCOPES},
    }
    up = start(
        "up",
        data_dir=folder,
        market_streams_public=request.param,
        anonymous_rate_limit_per_minute=1_000_000,
        log_level="warning",
    )
    callers = {name: key_header(key) for name, key in keys.items()} | {"anonymous": ()}
    tokens = {name: asyncio.run(token_of(up, keys[name])) for name in ("owner", "revoked")}
    callers |= {f"{name}, by token": bearer(token) for name, token in tokens.items()}
    callers["owner, by token and key"] = (*callers["owner, by token"], *callers["owner"])
    revoke_in(folder, keys["revoked"])
    asyncio.run(until_refused(up, callers["revoked"]))
    eventually(lambda: up.get("/api/v1/analysis/risk/BTC-USDT")[0], lambda status: status != 503)  # history is there
    return Served(up, folder, request.param, callers)


CALLERS = (
    "owner",
    "owner, by token",
    "owner, by token and key",
    "other account",
    "missing scope",
    "revoked",
    "revoked, by token",
    "anonymous",
)


def expected(need: requirement_pb2.Requirement, caller: str, *, public: bool) -> str:
    """The reason of the refusal that a declaration means for a caller; empty where the call passes."""
    if caller.startswith("revoked"):
        return "AUTH_001"
    if need.internal:
        return "AUTH_002"
    if need.anyone or (need.public and public):
        return ""
    if caller == "anonymous" or (need.api_key and caller == "owner, by token"):
        return "AUTH_001"
    return "AUTH_002" if need.scope and caller == "missing scope" else ""


def sent_by(served: Served, caller: str, need: requirement_pb2.Requirement) -> Headers:
    return served.callers[f"missing {need.scope or 'admin'}" if caller == "missing scope" else caller]


def key_header(key: str) -> Headers:
    return (("x-api-key", key.encode()),)


def bearer(token: str) -> Headers:
    return (("authorization", f"Bearer {token}".encode()),)


async def token_of(up: Running, key: str) -> str:
    """A token for a key that the engine may not know yet."""
    http = Http(up.grpc)
    headers = (*key_header(key), ("content-type", b"application/json"))
    async with asyncio.timeout(20):
        while (answer := await http.send("POST", "/api/v1/auth/token", headers, b"{}")).status != "200":
            await asyncio.sleep(0.05)
    http.close()
    return str(json.loads(answer.body)["access_token"])


async def until_refused(up: Running, headers: Headers) -> None:
    http = Http(up.grpc)
    async with asyncio.timeout(20):
        while (await http.get(PRICE, headers)).status != "401":
            await asyncio.sleep(0.05)
    http.close()


def revoke_in(folder: Path, key: str) -> None:
    store = AccessStore(folder / "access.db")
    store.revoke_key(key_id(key), system_clock())
    store.close()


# Who may do what -----------------------------------------------------------------------------------------------------


async def test_over_rest_each_rpc_lets_in_whom_it_declares(served: Served) -> None:
    """Every path of every RPC that is served over REST answers each kind of caller as its declaration says."""
    tried, wrong = 0, []
    http = Http(served.up.grpc)
    for rpc in RPCS:
        for (method, path), caller in itertools.product(rpc.bindings, CALLERS):
            filled = path.replace("{symbol}", "BTC-USDT").replace("{position_id}", "pos_none")
            filled = re.sub(r"\{path=([^}]*)\}", lambda own: own[1].replace("*", "nothing.js"), filled)
            if "/market/" in filled and filled.endswith((":stream", "/prices")):
                filled += "?symbols=BTC-USDT"
            body = b"{}" if method == "POST" else b""
            headers = (*sent_by(served, caller, rpc.need), ("content-type", b"application/json"))
            answer = await http.send(method, filled, headers, body)
            reason = expected(rpc.need, caller, public=served.public)
            # Whoever is let in is told what is wrong with the request, if anything is.
            answered = answer.status in {"200", "400", "404"} or answer.reason == "AI_001"  # no model was trained
            let_in = answered and not answer.reason.startswith("AUTH_")
            refused = (answer.status, answer.reason) == ({"AUTH_001": "401", "AUTH_002": "403"}.get(reason), reason)
            if not (refused if reason else let_in):
                wrong.append((rpc.name, filled, caller, answer))
            tried += 1
    http.close()
    assert not wrong
    assert {path for rpc in RPCS for _, path in rpc.bindings} >= {"/api/v1/market/price/{symbol}", "/v1/auth/token"}
    print(f"\n{tried} calls over REST, as declared")


@asynccontextmanager
async def opened(up: Running, headers: Headers) -> AsyncIterator[ClientConnection]:
    told = [(name, value.decode()) for name, value in headers]
    async with connect(up.websocket, additional_headers=told, compression=None) as socket:
        yield socket


async def reason_of_subscribing(socket: ClientConnection, channel: str) -> str:
    """Why a subscription is refused; empty where it is not."""
    message = {"action": "subscribe", "channel": channel, "symbol": "BTC-USDT", "id": channel}
    await socket.send(json.dumps(message))
    while (told := json.loads(await asyncio.wait_for(socket.recv(), 20))).get("id") != channel:
        pass
    if told["type"] == "ack":
        assert told["results"][0]["status"] == "ok"
        return ""
    return str(told["details"][0]["reason"])


@pytest.mark.parametrize("by_message", [False, True], ids=["in the handshake", "as a message"])
async def test_over_websocket_each_channel_lets_in_whom_its_stream_declares(served: Served, by_message: bool) -> None:
    """A channel is open to those whom the streaming RPC behind it declares, however they say who they are."""
    needs = {rpc.name.rpartition("/")[2]: rpc.need for rpc in RPCS}
    wrong = []
    for (channel, rpc), caller in itertools.product(CHANNELS.items(), CALLERS):
        need = needs[rpc]
        headers = sent_by(served, caller, need)
        reason = expected(need, caller, public=served.public)
        revoked = caller.startswith("revoked")
        try:
            async with opened(served.up, () if by_message else headers) as socket:
                if by_message and headers:
                    fields = {"x-api-key": "api_key", "authorization": "token"}
                    told = {fields[name]: value.decode().removeprefix("Bearer ") for name, value in headers}
                    await socket.send(json.dumps({"action": "auth", "id": 1} | told))
                    answer = json.loads(await socket.recv())
                    if (answer["type"] == "ack") == revoked:
                        wrong.append((channel, caller, answer))
                    if revoked:  # the socket is what it was: anonymous
                        reason = expected(need, "anonymous", public=served.public)
                found = await reason_of_subscribing(socket, channel)
        except InvalidStatus as refused:
            found = refused.response.headers["x-error-code"] if revoked and not by_message else str(refused)
        if found != reason:
            wrong.append((channel, caller, found))
    assert not wrong


# What nobody may call ------------------------------------------------------------------------------------------------

INTERNAL = ("ListEndedSessions", "OpenSession")
PATHS = (
    "/entasis.access.v1.AccessService/{}",
    "//entasis.access.v1.AccessService//{}",
    "/./entasis.access.v1.AccessService/./{}",
    "/entasis.access.v1.AccessService/{}/",
    "/entasis.access.v1.AccessService/{}?x=y",
    "/entasis.access.v1.AccessService/{};x=y",
    "/entasis.access.v1.AccessService/{}%20",
    "/entasis.access.v1.AccessService/IssueToken/../{}",
    "/entasis.access.v1.AccessService/IssueToken/%2e%2e/{}",
    "/entasis.access.v1.AccessService/IssueToken%2f..%2f{}",
    "/entasis.access.v1.AccessService%2f{}",
    "/entasis.access.v1.AccessService\\{}",
    "/entasis%2eaccess.v1.AccessService/{}",
    "/Entasis.Access.v1.AccessService/{}",
    "/entasis.market.v1.MarketService/../entasis.access.v1.AccessService/{}",
    "/entasis.market.v1.MarketService/Stream/../../entasis.access.v1.AccessService/{}",
    "/entasis.market.v1.MarketService/..%2fentasis.access.v1.AccessService/{}",
    "/entasis.market.v1.MarketService/..;/entasis.access.v1.AccessService/{}",
    "/grpc.health.v1.Health/../entasis.access.v1.AccessService/{}",
    "/ws/market/../../entasis.access.v1.AccessService/{}",
    "/ws/market/entasis.access.v1.AccessService/{}",
    "/api/v1/entasis.access.v1.AccessService/{}",
    "/api/v1/auth/{}",
    "/v1/auth/{}",
    "http://edge/entasis.access.v1.AccessService/{}",
    "http://engine/entasis.access.v1.AccessService/{}",
)
CONTENT_TYPES = (
    b"application/grpc", b"application/grpc+proto", b"application/grpc-web", b"application/grpc-web+proto",
    b"application/grpc-web-text", b"application/json", b"application/x-protobuf", b"Application/gRPC",
    b"application/octet-stream", b"text/plain", b"application/connect+proto", b"application/proto", b"",
)  # fmt: skip


async def test_internal_calls_are_not_reachable_through_envoy(served: Served) -> None:
    """However the path is written and whatever the body is said to be, Envoy passes none of them on, for nobody."""
    http = Http(served.up.grpc)
    reached = []
    headers = served.callers["owner"]
    attempts = itertools.product(INTERNAL, PATHS, CONTENT_TYPES, ("POST", "GET"))
    for number, (rpc, path, content_type, method) in enumerate(attempts):
        body = bytes(5) if method == "POST" else b""
        sent = (*headers, ("content-type", content_type), ("te", b"trailers"))
        if number % 3 == 0:
            sent = (*sent, ("x-client-ip", b""), ("x-envoy-original-path", b"/"))
        answer = await http.send(method, path.format(rpc), sent, body)
        redirected = answer.status == "307"  # to the same path without escapes, which is tried, too
        if not redirected and not answer.reason.startswith("REQUEST_"):
            reached.append((method, path.format(rpc), content_type, answer))
    http.close()
    assert not reached
    async with grpc.aio.insecure_channel(served.up.grpc) as channel:
        for rpc, caller in itertools.product(INTERNAL, ("owner", "anonymous", "owner, by token")):
            answer = await call(channel, f"{SERVICE}/{rpc}", served.callers[caller])
            assert answer == Answer("UNIMPLEMENTED", "REQUEST_002"), (rpc, caller)


async def call(channel: grpc.aio.Channel, method: str, headers: Headers, request: bytes = b"") -> Answer:
    metadata = [(name, value.decode()) for name, value in headers]
    try:
        return Answer("OK", body=await channel.unary_unary(method)(request, metadata=metadata, timeout=20))
    except grpc.aio.AioRpcError as error:
        return Answer(error.code().name, reason_in(error))


def reason_in(error: grpc.aio.AioRpcError) -> str:
    told = dict(error.initial_metadata() or ()) | dict(error.trailing_metadata() or ())
    return str(told.get("x-error-code", ""))


async def test_ended_sessions_are_told_to_nobody_on_the_open_port(served: Served) -> None:
    """ListEndedSessions is AUTH_002 on the engine's TCP port, for every account, every scope and every header."""
    asked = access_pb2.ListEndedSessionsRequest(
        held=[access_pb2.ListEndedSessionsRequest.Held(session="acc_x|k|", address="127.0.0.1")]
    ).SerializeToString()
    posing: list[Headers] = [
        (), (("x-client-ip", b""),), (("x-client-ip", b"127.0.0.1"),), (("x-client-ip", b"unix:"),),
        (("x-client-ip", b""), ("x-client-ip", b"")), (("x-envoy-original-path", b"/x"),),
        (("forwarded", b"for=unix"),), (("x-entasis-part", b"bridge"),),
        (("user-agent", b"grpc-python-asyncio/1.85.1"),), (("via", b"1.1 edge"),),
        (("x-forwarded-client-cert", b'Subject="CN=bridge.entasis.internal";DNS=edge.entasis.internal'),),
    ]  # fmt: skip
    http2 = Http2(served.up.engine)
    for caller, more in itertools.product(served.callers, posing):
        answer = await http2.call(f"{SERVICE}/ListEndedSessions", (*served.callers[caller], *more), asked)
        expected_here = ("16", "AUTH_001") if caller.startswith("revoked") else ("7", "AUTH_002")
        assert (answer.status, answer.reason) == expected_here, (caller, more)
    http2.close()


# For how long --------------------------------------------------------------------------------------------------------


class Watched:
    """What runs with a key while it is revoked; each tells when it was refused, and how."""

    def __init__(self) -> None:
        self.ended: dict[str, tuple[float, Answer]] = {}
        self.begun: dict[str, asyncio.Event] = {}

    async def run(self, name: str, work: Callable[[asyncio.Event], Awaitable[Answer]]) -> None:
        self.begun[name] = asyncio.Event()
        answer = await work(self.begun[name])
        self.ended[name] = time.monotonic(), answer


async def asking(up: Running, headers: Headers, begun: asyncio.Event) -> Answer:
    """Ask for the price again and again until that is refused."""
    http = Http(up.grpc)
    while (answer := await http.get(PRICE, headers)).status == "200":
        begun.set()
        await asyncio.sleep(0.05)
    http.close()
    return answer


async def asking_by_grpc(up: Running, headers: Headers, begun: asyncio.Event) -> Answer:
    async with grpc.aio.insecure_channel(up.engine) as channel:
        while (answer := await call(channel, GET_PRICE, headers, REQUEST)).status == "OK":
            begun.set()
            await asyncio.sleep(0.05)
    return answer


async def streaming(target: str, headers: Headers, begun: asyncio.Event) -> Answer:
    """Read a stream until it ends."""
    async with grpc.aio.insecure_channel(target) as channel:
        metadata = [(name, value.decode()) for name, value in headers]
        try:
            async for _ in channel.unary_stream(STREAM_PRICES)(PRICES, metadata=metadata):
                begun.set()
        except grpc.aio.AioRpcError as error:
            return Answer(error.code().name, reason_in(error))
    return Answer("OK")


async def streaming_by_rest(up: Running, headers: Headers, begun: asyncio.Event) -> Answer:
    host, _, port = up.grpc.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = [b"GET /api/v1/market/prices:stream?symbols=BTC-USDT HTTP/1.1", b"host: edge"]
    lines += [name.encode() + b": " + value for name, value in headers]
    writer.write(b"\r\n".join(lines) + b"\r\n\r\n")
    last = b""
    while line := await reader.readline():
        last = line.strip() or last
        if b'"price"' in line:
            begun.set()
        if last == b"0":  # the chunk that is the last
            break
    writer.close()
    return Answer("ended")


async def listening(up: Running, headers: Headers, begun: asyncio.Event) -> Answer:
    """Take what a WebSocket brings until it is closed; the code, and the reason in the error message before it."""
    reason = ""
    async with opened(up, headers) as socket:
        await socket.send(json.dumps({"action": "subscribe", "channel": "market", "symbol": "BTC-USDT"}))
        with contextlib.suppress(ConnectionClosed):
            while True:
                told = json.loads(await socket.recv())
                if "price" in told:
                    begun.set()
                reason = told["details"][0]["reason"] if told.get("type") == "error" else ""
        assert (socket.close_reason or "").startswith(reason)
        return Answer(str(socket.close_code), reason)


async def command(*arguments: str, folder: Path) -> str:
    """Run `entasis` in a process of its own; what it prints."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "entasis"),
        *arguments,
        env=os.environ | {"ENTASIS_DATA_DIR": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await process.communicate()
    assert process.returncode == 0, complained.decode()
    return said.decode().strip()


def all_transports(up: Running, key: str, token: str) -> dict[str, Callable[[asyncio.Event], Awaitable[Answer]]]:
    by_key, by_token = key_header(key), bearer(token)
    return {
        "REST, key": lambda begun: asking(up, by_key, begun),
        "REST, token": lambda begun: asking(up, by_token, begun),
        "REST, both": lambda begun: asking(up, (*by_token, *by_key), begun),
        "gRPC, key": lambda begun: asking_by_grpc(up, by_key, begun),
        "gRPC, token": lambda begun: asking_by_grpc(up, by_token, begun),
        "gRPC stream, key": lambda begun: streaming(up.engine, by_key, begun),
        "gRPC stream, token": lambda begun: streaming(up.engine, by_token, begun),
        "gRPC stream through Envoy": lambda begun: streaming(up.grpc, by_key, begun),
        "REST stream": lambda begun: streaming_by_rest(up, by_key, begun),
        "WebSocket, key": lambda begun: listening(up, by_key, begun),
        "WebSocket, token": lambda begun: listening(up, by_token, begun),
    }


ENDS = {"REST": "401", "gRPC": "UNAUTHENTICATED", "WebSocket": "4401"}


@asynccontextmanager
async def watching(
    up: Running, key: str, others: dict[str, Callable[[asyncio.Event], Awaitable[Answer]]] | None = None
) -> AsyncIterator[Watched]:
    """Everything that a key can be used for runs; at the end of the block it is over, but for what others run."""
    watched = Watched()
    async with asyncio.TaskGroup() as tasks:
        works = all_transports(up, key, await token_of(up, key))
        running = [tasks.create_task(watched.run(name, work)) for name, work in works.items()]
        kept = [tasks.create_task(watched.run(name, work)) for name, work in (others or {}).items()]
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            for begun in list(watched.begun.values()):
                await begun.wait()
        yield watched
        done, _ = await asyncio.wait(running, timeout=SECONDS_MAX + 10)
        assert len(done) == len(running), f"only {watched.ended} ended"
        assert not any(task.done() for task in kept), watched.ended
        for task in kept:
            task.cancel()


def demand_ended(watched: Watched, since: float) -> None:
    """Each was refused as documented, in time."""
    taken = {name: round(moment - since, 2) for name, (moment, _) in watched.ended.items()}
    print(f"\nseconds until refused: {taken}")
    for name, (_, answer) in watched.ended.items():
        if name != "REST stream":
            status = ENDS[name.partition(",")[0].split(" ")[0]]
            assert (answer.status, answer.reason) == (status, "AUTH_001"), name
    assert max(taken.values()) < SECONDS_MAX


async def test_a_revocation_takes_hold_everywhere_within_seconds(served: Served) -> None:
    """Five seconds after `entasis keys revoke` nothing goes on with the key or its token; another key is untouched."""
    key, other = served.new_key(), served.new_key()
    up, untouched = served.up, key_header(other)
    await token_of(up, other)
    others: dict[str, Callable[[asyncio.Event], Awaitable[Answer]]] = {
        "other": lambda begun: asking(up, untouched, begun),
        "other stream": lambda begun: streaming(up.engine, untouched, begun),
        "other WebSocket": lambda begun: listening(up, untouched, begun),
    }
    async with watching(up, key, others) as watched:
        await command("keys", "revoke", f"ek_{key_id(key)}", folder=served.folder)
        revoked = time.monotonic()
    demand_ended(watched, revoked)


async def test_closing_an_account_takes_hold_everywhere_within_seconds(served: Served) -> None:
    """Five seconds after `entasis accounts close` nothing goes on with any of its keys."""
    name = f"closing-{'public' if served.public else 'closed'}"
    key = served.new_key(account=name)
    async with watching(served.up, key) as watched:
        await command("accounts", "close", name, folder=served.folder)
        closed = time.monotonic()
    demand_ended(watched, closed)


async def test_a_key_ends_everywhere_when_it_expires(served: Served) -> None:
    """A key that expires ends what is open with it, as a revocation does, without anybody's doing."""
    key = served.new_key(lives=timedelta(seconds=8))
    expires = time.monotonic() + 8
    async with watching(served.up, key) as watched:
        pass
    demand_ended(watched, expires)


async def test_a_rotated_key_works_until_the_overlap_is_over(served: Served) -> None:
    """Both keys work during the overlap; then the old one ends on every transport, and the new one goes on."""
    up, old = served.up, served.new_key()
    await token_of(up, old)
    overlap = timedelta(seconds=8)
    store = AccessStore(served.folder / "access.db")
    over = time.monotonic() + overlap.total_seconds()
    _, new = store.rotate_key(key_id(old), overlap, system_clock())
    store.close()
    await token_of(up, new)
    others: dict[str, Callable[[asyncio.Event], Awaitable[Answer]]] = {
        "new": lambda begun: asking(up, key_header(new), begun),
        "new stream": lambda begun: streaming(up.engine, key_header(new), begun),
        "new WebSocket": lambda begun: listening(up, key_header(new), begun),
    }
    async with watching(up, old, others) as watched:
        assert time.monotonic() < over, "both have worked"
    # Tokens tell time in whole seconds.
    assert min(moment for moment, _ in watched.ended.values()) > over - 1.5
    demand_ended(watched, over)


async def test_a_key_that_is_rotated_without_overlap_ends_at_once(served: Served) -> None:
    """`entasis keys rotate --overlap 0` prints the new key, which works, and ends the old one within seconds."""
    old = served.new_key()
    async with watching(served.up, old) as watched:
        new = await command("keys", "rotate", f"ek_{key_id(old)}", "--overlap", "0", folder=served.folder)
        rotated = time.monotonic()
    demand_ended(watched, rotated)
    assert await token_of(served.up, new)
