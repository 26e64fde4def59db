"""The engine's open port: what strangers send there ends no more than their own call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.support.access import make_key
from tests.support.market import SetClock
from tests.support.raw_http import Http2

from entasis.market.v1 import market_pb2 as pb
from entasis.market.v1.market_pb2_grpc import MarketServiceStub
from entasis_engine.access.store import AccessStore
from entasis_engine.bootstrap import open_engine
from entasis_engine.rpc import pipeline
from entasis_engine.settings import Settings
from entasis_engine.times import system_clock

GET_PRICE = "/entasis.market.v1.MarketService/GetPrice"


@dataclass
class Port:
    """An engine, called on its TCP port."""

    number: int
    channel: grpc.aio.Channel
    data_dir: Path

    @property
    def market(self) -> Any:
        return MarketServiceStub(self.channel)

    def refusals(self) -> list[dict[str, Any]]:
        """The lines of the audit log about refusals."""
        files = [self.data_dir / "audit" / name for name in ("refusals.jsonl", "limited.jsonl")]
        return [json.loads(line) for file in files if file.exists() for line in file.read_text().splitlines()]

    async def until_noted(self, count: int) -> list[dict[str, Any]]:
        """The refusals, once there are as many; a thread writes them."""
        async with asyncio.timeout(20):
            while len(lines := self.refusals()) < count:
                await asyncio.sleep(0.01)
        return lines


@asynccontextmanager
async def _port(data_dir: Path, **settings: Any) -> AsyncIterator[Port]:
    values = {"data_dir": data_dir, "grpc_port": 0, "drain_seconds": 1, "_env_file": None} | settings
    async with (
        open_engine(Settings(**values)) as engine,
        grpc.aio.insecure_channel(f"127.0.0.1:{engine.grpc_port}") as channel,
    ):
        yield Port(engine.grpc_port, channel, data_dir)


async def _error(call: Any) -> tuple[grpc.StatusCode, str]:
    """Status and reason of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await _end(call)
    return raised.value.code(), str(dict(raised.value.trailing_metadata() or ()).get("x-error-code", ""))


async def _end(call: Any) -> None:
    if hasattr(call, "read"):
        while await call.read() is not grpc.aio.EOF:
            pass
    else:
        await call


@pytest.mark.parametrize("path", [b"/\xff/x", b"/\xed\xa0\x80/x", b"\xff", b"/", b"//", b"/a", b"/a/b/c", b"/%FF/x"])
async def test_a_path_that_is_none_ends_no_more_than_its_call(tmp_path: Path, path: bytes) -> None:
    """Bytes that are no name of a method leave the server serving."""
    async with _port(tmp_path) as port:
        raw = Http2(f"127.0.0.1:{port.number}")
        await raw.call(path, (), b"")
        raw.close()
        health = health_pb2_grpc.HealthStub(port.channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def _until_served(open_stream: Callable[[], Any]) -> None:
    """Open a stream again and again until it gives something."""
    async with asyncio.timeout(60):
        while True:
            with suppress(grpc.aio.AioRpcError):
                if await open_stream().read() is not grpc.aio.EOF:
                    return


async def test_open_streams_of_a_caller_are_bounded(tmp_path: Path) -> None:
    """One stream more than allowed is LIMIT_002; one that ends makes room; another account has its own."""
    async with _port(tmp_path, streams_per_caller_max=3) as port:
        request = pb.StreamPricesRequest(symbols=["BTC-USDT"])
        streams = [port.market.StreamPrices(request) for _ in range(3)]
        for stream in streams:
            await stream.initial_metadata()
        assert await _error(port.market.StreamPrices(request)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_002")
        key = [("x-api-key", make_key(tmp_path))]
        await _until_served(lambda: port.market.StreamPrices(request, metadata=key))  # the key is new
        streams[0].cancel()
        await _until_served(lambda: port.market.StreamPrices(request))


async def test_reflection_and_health_are_bounded_as_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of gRPC's own services takes so many messages and no more, and counts among its caller's streams."""
    monkeypatch.setattr(pipeline, "OPEN_MESSAGES_MAX", 5)
    async with _port(tmp_path, streams_per_caller_max=1) as port:
        reflection = reflection_pb2_grpc.ServerReflectionStub(port.channel)

        async def asked(count: int) -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
            for _ in range(count):
                yield reflection_pb2.ServerReflectionRequest(list_services="")

        call = reflection.ServerReflectionInfo(asked(5))
        assert len([answer async for answer in call]) == 5
        assert dict(await call.trailing_metadata())["x-ratelimit-limit"] == "1000"
        assert (await _error(reflection.ServerReflectionInfo(asked(6))))[1] == "LIMIT_002"
        watch = health_pb2_grpc.HealthStub(port.channel).Watch(health_pb2.HealthCheckRequest())
        await watch.read()
        assert (await _error(reflection.ServerReflectionInfo(asked(1))))[1] == "LIMIT_002"
        watch.cancel()


async def test_a_watch_of_health_ends_with_its_key(tmp_path: Path) -> None:
    """What a revoked key holds open ends, the health watch too."""
    async with _port(tmp_path) as port:
        key = make_key(tmp_path)
        stub = health_pb2_grpc.HealthStub(port.channel)
        async with asyncio.timeout(10):
            while True:  # until the engine knows the key
                watch = stub.Watch(health_pb2.HealthCheckRequest(), metadata=[("x-api-key", key)])
                try:
                    await watch.read()
                    break
                except grpc.aio.AioRpcError:
                    continue
        store = AccessStore(tmp_path / "access.db")
        store.revoke_key(key.split("_")[1], system_clock())
        store.close()
        assert await asyncio.wait_for(_error(watch), 30) == (grpc.StatusCode.UNAUTHENTICATED, "AUTH_001")


async def test_each_refusal_is_one_line_of_the_audit_log(tmp_path: Path) -> None:
    """No credential, a bad one, a missing scope, a scope that a key has not, an internal RPC, the limit, and an ended
    stream: each leaves exactly one line with its reason.
    """
    narrow = make_key(tmp_path, scopes=["analysis:read"])
    short = make_key(tmp_path, rate_limit=1)
    ending = make_key(tmp_path)
    async with _port(tmp_path) as port:
        price = port.channel.unary_unary(GET_PRICE)
        issue = port.channel.unary_unary("/entasis.access.v1.AccessService/IssueToken")
        ended = port.channel.unary_unary("/entasis.access.v1.AccessService/ListEndedSessions")
        stream = port.market.StreamPrices(
            pb.StreamPricesRequest(symbols=["BTC-USDT"]), metadata=[("x-api-key", ending)]
        )
        await stream.read()
        await _error(price(b""))
        await _error(price(b"", metadata=[("x-api-key", "ek_no")]))
        await _error(price(b"", metadata=[("x-api-key", narrow)]))
        await _error(issue(b"\n\x0bmarket:read", metadata=[("x-api-key", narrow)]))
        await _error(ended(b""))
        for _ in range(2):
            await _error(price(b"", metadata=[("x-api-key", short)]))
        store = AccessStore(tmp_path / "access.db")
        store.revoke_key(ending.split("_")[1], system_clock())
        store.close()
        await _error(stream)
        lines = await port.until_noted(7)
    assert sorted((line["reason"], line["case"]) for line in lines) == sorted(
        [
            ("AUTH_001", "CREDENTIAL_MISSING"),
            ("AUTH_001", "KEY_INVALID"),
            ("AUTH_002", "SCOPE_MISSING"),
            ("AUTH_002", "SCOPE_MISSING"),
            ("AUTH_002", "NOT_FOR_CALLERS"),
            ("LIMIT_001", "RATE_LIMITED"),
            ("AUTH_001", "KEY_ENDED"),
        ]
    )
    assert {line["address"] for line in lines} == {"127.0.0.1"}
    assert {line["transport"] for line in lines} == {"grpc"}


async def test_what_strangers_state_of_themselves_is_not_believed(tmp_path: Path) -> None:
    """On the open port neither a stated address nor a stated path nor a bridge's word means anything."""
    bound = make_key(tmp_path, addresses=["198.51.100.0/24"])
    key = make_key(tmp_path)
    async with _port(tmp_path) as port:
        stated = ("x-client-ip", "198.51.100.7")
        assert (await _error(port.channel.unary_unary(GET_PRICE)(b"", metadata=[("x-api-key", bound), stated])))[1] == (
            "AUTH_003"
        )
        path = ("x-envoy-original-path", "/api/v1/market/price/ETH-USDT?symbol=BTC-USDT")
        await port.market.ListInstruments(pb.ListInstrumentsRequest(), metadata=[("x-api-key", key), path])
        opened = port.channel.unary_unary("/entasis.access.v1.AccessService/OpenSession")
        await opened(b"\n\x0eORIGIN_REFUSED")
        await port.until_noted(1)
    assert [line["case"] for line in port.refusals()] == ["ADDRESS_REFUSED"]


async def test_the_clock_of_a_key_is_the_engines(tmp_path: Path) -> None:
    """A key that expires by the engine's clock is refused, whatever the machine's says."""
    clock = SetClock(system_clock())
    key = make_key(tmp_path, lives=timedelta(days=1))
    values: dict[str, Any] = {"data_dir": tmp_path, "grpc_port": 0, "drain_seconds": 1, "_env_file": None}
    async with (
        open_engine(Settings(**values), clock=clock) as engine,
        grpc.aio.insecure_channel(f"127.0.0.1:{engine.grpc_port}") as channel,
    ):
        call = channel.unary_unary("/entasis.access.v1.AccessService/OpenSession")
        await call(b"", metadata=[("x-api-key", key)])
        clock.now += timedelta(days=1, seconds=1)
        assert (await _error(call(b"", metadata=[("x-api-key", key)])))[1] == "AUTH_001"
