"""CPU that access control adds to a unary call: keys and tokens, verified before and for the first time."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import grpc
import uvloop

from entasis.access.v1 import access_pb2
from entasis.market.v1 import market_pb2 as pb
from entasis_engine import bootstrap
from entasis_engine.access.needs import Need
from entasis_engine.access.tokens import Tokens
from entasis_engine.calls import Call
from entasis_engine.settings import Settings
from entasis_engine.times import system_clock
from scripts.bench import calls
from scripts.bench.processes import Program, entasis, make_key, running

ROUNDS = 7
CALLS = 3_200
GET_PRICE = "/entasis.market.v1.MarketService/GetPrice"
ISSUE_TOKEN = "/entasis.access.v1.AccessService/IssueToken"  # noqa: S105 - a name

Metadata = Sequence[tuple[str, str]]


class Added(NamedTuple):
    """Microseconds of CPU of one call, by the kind of credential that is sent."""

    without: dict[str, float]
    """On an engine without access control, which takes no notice of the credential."""
    added: dict[str, float]
    """What access control adds to that."""


class Unguarded:
    """In place of the engine's guard."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    async def admit(self, call: Call, need: Need, auth_context: object) -> None:
        pass

    def ended(self, call: Call) -> None:
        return None


async def measure(tick: Callable[[], None]) -> Added:
    """Measure, in turns."""
    with tempfile.TemporaryDirectory() as guarded_data, tempfile.TemporaryDirectory() as unguarded_data:
        data = Path(guarded_data)
        key = make_key(data)
        secret = "a secret of thirty-two bytes, at least"  # noqa: S105 - of this run alone
        ours_command = entasis(data, "serve", "engine", symbols="BTC-USDT", jwt_secret=secret)
        _, environment = entasis(Path(unguarded_data), "", symbols="BTC-USDT")
        with (
            running(ours_command[0], "Entasis is up", **ours_command[1]) as ours,
            running([sys.executable, "-m", "scripts.bench.access"], "ready on", **environment) as bare,
        ):
            async with (
                grpc.aio.insecure_channel(ours.find(r"gRPC +(127[\d.:]+)")) as channel,
                grpc.aio.insecure_channel(bare.find(r"ready on (\S+)")) as bare_channel,
            ):
                issued = access_pb2.IssueTokenResponse.FromString(
                    await channel.unary_unary(ISSUE_TOKEN)(b"", metadata=[("x-api-key", key)])
                )
                bearer = ("authorization", f"Bearer {issued.access_token}")
                fresh = _fresh_tokens(secret, issued.account, key.split("_")[1])
                price = channel.unary_unary(GET_PRICE)
                bare_price = bare_channel.unary_unary(GET_PRICE)
                kinds: dict[str, Iterator[Metadata]] = {
                    "API key": _always([("x-api-key", key)]),
                    "token": _always([bearer]),
                    "token and API key": _always([bearer, ("x-api-key", key)]),
                    "token, for the first time": fresh,
                }
                without: dict[str, list[float]] = {kind: [] for kind in kinds}
                added: dict[str, list[float]] = {kind: [] for kind in kinds}
                for round_ in range(ROUNDS + 1):
                    for kind, metadata in kinds.items():
                        bare_us = await _cpu_us(bare, bare_price, metadata)
                        us = await _cpu_us(ours, price, metadata)
                        if round_:  # the first one warms up
                            without[kind].append(bare_us)
                            added[kind].append(us - bare_us)
                    if round_:
                        tick()
    return Added(_medians(without), _medians(added))


def _medians(found: dict[str, list[float]]) -> dict[str, float]:
    return {kind: statistics.median(values) for kind, values in found.items()}


async def _cpu_us(program: Program, method: Callable[..., Awaitable[bytes]], metadata: Iterator[Metadata]) -> float:
    request = pb.GetPriceRequest(symbol="BTC-USDT").SerializeToString()

    async def some() -> None:
        for _ in range(CALLS // calls.CONCURRENCY):
            await method(request, metadata=next(metadata))

    before = program.cpu_seconds()
    await asyncio.gather(*(some() for _ in range(calls.CONCURRENCY)))
    return (program.cpu_seconds() - before) / CALLS * 1e6


def _always(metadata: Metadata) -> Iterator[Metadata]:
    while True:
        yield metadata


def _fresh_tokens(secret: str, account: str, key_id: str) -> Iterator[Metadata]:
    """Tokens as the engine itself would issue them, no two the same; made here, where no CPU is counted."""
    settings = Settings()
    tokens = Tokens(secret.encode(), issuer=settings.jwt_issuer, audience=settings.jwt_audience)
    while True:
        now = system_clock()
        text = tokens.issue(
            account=account, key_id=key_id, scopes=["market:read"], now=now, expires_at=now + timedelta(minutes=15)
        )
        yield [("authorization", f"Bearer {text}")]


async def _serve_unguarded() -> None:
    bootstrap.AccessGuard = Unguarded  # type: ignore[assignment, misc]
    async with bootstrap.open_engine(Settings()) as engine:
        print(f"ready on 127.0.0.1:{engine.grpc_port}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve_unguarded())
