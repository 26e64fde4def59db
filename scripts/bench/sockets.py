"""A thousand WebSocket clients on a fast recorded feed, one of which stops reading; and the same on FastAPI."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import websockets

from scripts.bench.processes import Program, entasis, make_key, running

CLIENTS = 1000
STALLED = 1
SPEED = 11  # the eleven minutes that are recorded take one
PEER_MESSAGES = 100
SUBSCRIBE = '{"action": "subscribe", "channel": "market", "symbols": ["BTC-USDT"]}'
SETTLE_SECONDS_MAX = 60

DATA_DIR = Path(os.environ.get("ENTASIS_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


class Delivery(NamedTuple):
    """What a run with many clients came to."""

    seconds: float
    published: int
    delivered: int
    fewest: int
    cpu_us: dict[str, float]
    """CPU microseconds per delivered message, by kind of process."""
    memory_mib: dict[str, list[float]]
    """Resident memory by kind of process, sampled once a second from when all had connected."""
    distinct_last: int
    last_is_the_feeds: bool
    conflated: int


def recordings() -> list[Path]:
    return sorted((DATA_DIR / "recordings").glob("binance_spot_btcusdt_*.gz"))


class Clients:
    """The clients' process."""

    def __init__(self, address: str, count: int, stalled: int, subscribe: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scripts.bench.clients", address, str(count), str(stalled), subscribe],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._line() != "ready":
            raise SystemExit("the clients did not connect")

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def report(self) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write("report\n")
        self.process.stdin.flush()
        return json.loads(self._line())  # type: ignore[no-any-return]

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=20)


def settled(clients: Clients) -> dict[str, Any]:
    """The report once nothing more arrives."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    report = clients.report()
    while time.monotonic() < deadline:
        time.sleep(1)
        later = clients.report()
        if later == report:
            break
        report = later
    return report


def ours(tick: Callable[[], None]) -> Delivery:
    """`entasis up`, Envoy included, on the recorded trades of BTC-USDT at eleven times their speed."""
    frames = ",".join(str(file) for file in recordings())
    with tempfile.TemporaryDirectory() as data:
        key = make_key(Path(data))
        arguments, environment = entasis(
            Path(data),
            "up",
            feed="recorded",
            recorded_frames=frames,
            recorded_speed=SPEED,
            log_level="info",
            stale_after_seconds=3600,
            anonymous_rate_limit_per_minute=1_000_000,  # all clients come from one address
        )
        with running(arguments, "Ctrl-C ends it", **environment) as program:
            address = program.find(r"http://(\S+?)/api")
            clients = Clients(address, CLIENTS + STALLED, STALLED, SUBSCRIBE)
            delivery = _follow(program, clients, address, key, tick)
            clients.end()
            return delivery


def _follow(program: Program, clients: Clients, address: str, key: str, tick: Callable[[], None]) -> Delivery:
    names = ("entasis", "envoy")
    start, first = time.monotonic(), clients.report()
    cpu = {name: program.cpu_seconds(name) for name in names}
    memory = {name: [program.memory_mib(name)] for name in names}
    seq = _seq(first)
    while not any("feed.ended" in line for line in program.said):
        time.sleep(1)
        for name in names:
            memory[name].append(program.memory_mib(name))
        tick()
    seconds = time.monotonic() - start
    last = settled(clients)
    used = {name: program.cpu_seconds(name) - cpu[name] for name in names}
    delivered = last["messages"] - first["messages"]
    asked = urllib.request.Request(f"http://{address}/api/v1/market/price/BTC-USDT", headers={"X-API-Key": key})
    price = json.loads(urllib.request.urlopen(asked, timeout=10).read())
    values = [json.loads(text) for text in last["last"]]
    return Delivery(
        seconds,
        _seq(last) - seq,
        delivered,
        last["fewest"],
        {name: used[name] / delivered * 1e6 for name in names},
        memory,
        len(values),
        all(one["price"] == price["price"] and one["timestamp"] == price["timestamp"] for one in values),
        _conflated(program),
    )


def _seq(report: dict[str, Any]) -> int:
    return max(json.loads(text)["seq"] for text in report["last"])


def _conflated(program: Program) -> int:
    metrics = urllib.request.urlopen(program.find(r"Metrics +(http\S+)"), timeout=10).read().decode()
    counts = [line for line in metrics.splitlines() if "conflated_total" in line and not line.startswith("#")]
    return int(sum(float(line.split()[-1]) for line in counts))


def peer(tick: Callable[[], None]) -> float:
    """CPU microseconds per delivered message of FastAPI on uvicorn, sending the same text to as many clients."""
    with running([sys.executable, "-m", "scripts.bench.peers", "fastapi"], "ready on") as program:
        address = program.find(r"ready on (\S+)")
        clients = Clients(address, CLIENTS, 0, "")
        text = (
            '{"symbol":"BTC-USDT","price":"65432.10","timestamp":"2024-03-21T09:30:00.123Z","volume":"1.23",'
            '"channel":"market","seq":1711013400000123}'
        )
        before = program.cpu_seconds()

        async def supply() -> None:
            async with websockets.connect(f"ws://{address}/supply", compression=None) as source:
                for _ in range(PEER_MESSAGES):
                    await source.send(text)
                    tick()
                while (await asyncio.to_thread(clients.report))["fewest"] < PEER_MESSAGES:
                    await asyncio.sleep(0.2)

        asyncio.run(supply())
        used = program.cpu_seconds() - before
        clients.end()
        return used / (PEER_MESSAGES * CLIENTS) * 1e6
