"""Where the client speaks without TLS, and where it refuses to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from entasis_client import DeadlineError, Entasis, UnavailableError
from entasis_client.channel import is_local


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


def test_a_client_may_be_made_before_the_loop_runs() -> None:
    """The channel is opened by the first call, in the loop that makes it."""
    client = Entasis("127.0.0.1:1", timeout=0.05)

    async def call() -> None:
        async with client:
            with pytest.raises((UnavailableError, DeadlineError)):
                await client.instruments()

    asyncio.run(call())
