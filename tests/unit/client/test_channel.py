"""Where the client speaks without TLS, and where it refuses to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import grpc
import pytest

from entasis_client import DeadlineError, Entasis, EntasisError, UnavailableError
from entasis_client.channel import is_local
from entasis_engine import cli


@pytest.mark.parametrize(
    "address", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "127.9.9.9:1", "unix:/tmp/a.sock"]
)
def test_this_machine_needs_no_tls(address: str) -> None:
    """What is sent to loopback or a unix socket stays on this machine."""
    assert is_local(address)


@pytest.mark.parametrize(
    "address", ["10.0.0.1:8080", "api.example.com:443", "localhost.example.com:1", "[2001:db8::1]:1"]
)
async def test_another_machine_needs_tls(address: str) -> None:
    """The refusal says what to do."""
    with pytest.raises(ValueError, match=r"ca_file=.*tls=True.*plaintext=True"):
        Entasis(address, api_key="ek_1")


async def test_plaintext_can_be_allowed() -> None:
    """In so many words, and not together with TLS."""
    await Entasis("10.0.0.1:8080", plaintext=True).close()
    await Entasis("10.0.0.1:8080", tls=True).close()
    with pytest.raises(ValueError, match="contradicts"):
        Entasis("10.0.0.1:8080", plaintext=True, tls=True)


async def test_a_ca_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """And not found out by connections that fail."""
    with pytest.raises(FileNotFoundError):
        Entasis("10.0.0.1:8080", ca_file=tmp_path / "none.pem")


async def _open_client(address: str) -> None:
    async with Entasis(address, api_key="ek_1", timeout=3) as client:
        with pytest.raises((UnavailableError, DeadlineError)):
            await client.instruments()


async def _open_bridge(address: str) -> None:
    async with cli._channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary("/a/b")(b"", timeout=20)


@pytest.mark.parametrize("open_", [_open_client, _open_bridge])
@pytest.mark.parametrize("name", ["http_proxy", "https_proxy", "grpc_proxy"])
async def test_no_proxy_of_the_environment_reads_along(
    name: str, open_: Callable[[str], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without TLS a connection goes to the address itself, whatever the environment says, and the key with it."""
    reached: list[str] = []

    async def serve(at: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(at)
        writer.close()

    async with (
        await asyncio.start_server(partial(serve, "proxy"), "127.0.0.1") as proxy,
        await asyncio.start_server(partial(serve, "engine"), "127.0.0.1") as engine,
    ):
        for other in ("no_proxy", "no_grpc_proxy", "http_proxy", "https_proxy", "grpc_proxy"):
            monkeypatch.delenv(other, raising=False)
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        await open_(f"127.0.0.1:{engine.sockets[0].getsockname()[1]}")
    assert set(reached) == {"engine"}


async def test_closing_the_client_ends_a_call_that_finds_no_answer() -> None:
    """With gRPC as it is: the caller gets an error, and is not cancelled."""
    reached = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await reader.read(-1)
        writer.close()

    async with await asyncio.start_server(hold, "127.0.0.1") as silent:
        client = Entasis(f"127.0.0.1:{silent.sockets[0].getsockname()[1]}", timeout=20)
        call = asyncio.ensure_future(client.instruments())
        await reached.wait()
        await client.close()
        with pytest.raises(EntasisError, match="the client was closed"):
            await call


def test_a_client_may_be_made_before_the_loop_runs() -> None:
    """The channel is opened by the first call, in the loop that makes it."""
    client = Entasis("127.0.0.1:1", timeout=0.05)

    async def call() -> None:
        async with client:
            with pytest.raises((UnavailableError, DeadlineError)):
                await client.instruments()

    asyncio.run(call())
