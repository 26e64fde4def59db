"""Envoy in front of given endpoints."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.e2e.edge.fakes import FakeMarket, serve_echo, serve_market

from entasis_engine import assets
from entasis_engine.edge import Edge, Endpoint, UnixEndpoint, open_edge
from entasis_engine.settings import Settings

IMPATIENT = {
    " timeout: 15s": " timeout: 0.5s",
    " request_headers_timeout: 5s": " request_headers_timeout: 0.4s",
    " request_timeout: 10s": " request_timeout: 0.4s",
}
"""Time limits that tests wait for, as they stand in envoy.yaml and as they are shortened."""

EdgeFor = Callable[..., AbstractAsyncContextManager[Edge]]


def edge_settings(**changes: Any) -> Settings:
    """Settings that take free ports and read nothing from the surroundings."""
    values: dict[str, Any] = {"rest_port": 0, "envoy_admin_port": 0, "drain_seconds": 5.0, "_env_file": None}
    return Settings(**(values | changes))


def impatient_config() -> str:
    """The configuration with short time limits."""
    text = assets.path("envoy/envoy.yaml").read_text(encoding="utf-8")
    for usual, short in IMPATIENT.items():
        assert usual in text, usual
        text = text.replace(usual, short)
    return text


def http_client(base_url: str = "") -> httpx.AsyncClient:
    """A client that asks no proxy, and loads no certificates for what is plain HTTP."""
    return httpx.AsyncClient(base_url=base_url, timeout=20, trust_env=False, verify=False)


@dataclass
class Stack:
    """Envoy and what stands behind it."""

    edge: Edge
    market: FakeMarket

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.edge.rest_port}"


@pytest.fixture(scope="session")
def socket_dir() -> Iterator[Path]:
    """A folder whose path is short enough for unix sockets."""
    with tempfile.TemporaryDirectory(prefix="edge-") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def edge_for(tmp_path_factory: pytest.TempPathFactory) -> EdgeFor:
    """Makes an `open_edge` in front of given endpoints, for `async with`."""

    def opening(
        engine: Endpoint, bridge: Endpoint, config_text: str | None = None, **changes: Any
    ) -> AbstractAsyncContextManager[Edge]:
        run_dir = tmp_path_factory.mktemp("edge")
        return open_edge(
            edge_settings(**changes),
            engine=engine,
            bridge=bridge,
            run_dir=run_dir,
            log_path=run_dir / "envoy.log",
            config_text=config_text,
        )

    return opening


@contextmanager
def running(opening: AbstractAsyncContextManager[Edge]) -> Iterator[Edge]:
    """An edge that outlives the event loops of single tests."""
    with asyncio.Runner() as runner:
        edge = runner.run(_entered(opening))
        try:
            yield edge
        finally:
            runner.run(_left(opening))


async def _entered(opening: AbstractAsyncContextManager[Edge]) -> Edge:
    return await opening.__aenter__()


async def _left(opening: AbstractAsyncContextManager[Edge]) -> None:
    await opening.__aexit__(None, None, None)


@pytest.fixture(scope="session")
def stack(socket_dir: Path, edge_for: EdgeFor) -> Iterator[Stack]:
    """Envoy in front of the fakes, shared by all tests that do not stop anything."""
    market = FakeMarket()
    engine, bridge = socket_dir / "engine.sock", socket_dir / "bridge.sock"
    with ExitStack() as opened:
        opened.enter_context(serve_market(market, engine))
        opened.enter_context(serve_echo(bridge))
        edge = opened.enter_context(running(edge_for(UnixEndpoint(engine), UnixEndpoint(bridge), impatient_config())))
        yield Stack(edge, market)


@pytest.fixture(scope="session")
def dead_end(socket_dir: Path, edge_for: EdgeFor) -> Iterator[Edge]:
    """Envoy in front of nothing."""
    nothing = UnixEndpoint(socket_dir / "nothing.sock")
    with running(edge_for(nothing, nothing, drain_seconds=0)) as edge:
        yield edge


@pytest.fixture
async def rest(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A REST client of the shared Envoy."""
    async with http_client(f"http://{stack.authority}") as client:
        yield client
