"""kill -9 under load: no acknowledged position is lost, none is doubled, the ledger adds up, and soon all goes on.

ENTASIS_LEDGER_KILLS (200 in `make test-ledger`) says how often. ENTASIS_LEDGER_SERVING_SECONDS is how long an engine
that is started again may take, from the start of its process to its first acknowledged position over gRPC.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
import requests
from tests.e2e.conftest import Running, Start
from tests.support.access import make_key
from tests.support.ledger_load import (
    POSITIONS,
    SYMBOL,
    Books,
    Clients,
    Plan,
    books,
    free_port,
    frozen_market,
)
from tests.support.ledgers import PLACES

from entasis.portfolio.v1 import portfolio_pb2 as pb
from entasis.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceStub

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(7200)]

KILLS = int(os.environ.get("ENTASIS_LEDGER_KILLS", "1"))
SERVING_SECONDS_MAX = float(os.environ.get("ENTASIS_LEDGER_SERVING_SECONDS", "60"))
CALLERS = 8
"""Over REST, and as many over gRPC."""
ACCOUNTS = 8
SIZE = "0.00123"
CLOSING = 0.95
"""Share of positions that are closed again."""


class Acknowledged:
    """What callers were told."""

    def __init__(self) -> None:
        self.opened: dict[str, str] = {}
        """Positions by idempotency key."""
        self.closed: set[str] = set()

    def add(self, what: str, key: str, position_id: str) -> None:
        if what == "open":
            assert self.opened.setdefault(key, position_id) == position_id
        else:
            self.closed.add(position_id)

    def check(self, kept: Books) -> None:
        """All of it is in the ledger once, and the ledger adds up."""
        assert kept.differences == []
        by_key = {key: name for (_, key), name in kept.opened_by_key.items()}
        assert len(by_key) == len(kept.opened_by_key)
        assert self.opened.items() <= by_key.items(), "an acknowledged position is lost, or another"
        assert len(set(by_key.values())) == len(by_key)
        assert kept.positions.keys() == set(by_key.values()), "a position of no key: it is doubled"
        assert {kept.positions[name][1] for name in self.closed} <= {"closed"}, "an acknowledged close is lost"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_killed_engine_loses_and_doubles_nothing(kind: str, start: Start, tmp_path: Path) -> None:
    """After each kill -9 under load what was acknowledged is there once, and the engine soon serves again; in the end
    every key that was sent has one position.
    """
    place = PLACES[kind](tmp_path)
    chance = random.Random(29)
    accounts = [make_key(tmp_path, account=f"kills-{number}") for number in range(ACCOUNTS)]
    probe = make_key(tmp_path, account="probe")
    settings: dict[str, object] = {
        "fresh": True,
        "data_dir": tmp_path,
        "ledger_url": place.url,
        "grpc_port": free_port(),
        "positions_max": 100_000,
        "notional_max": 10**9,
        "paper_balance": "USDT:1000000000",
        **frozen_market(tmp_path),
    }
    engine = start("serve", "engine", **settings)
    engine.until_said("Entasis is up")
    edge = start("serve", "edge", fresh=True, data_dir=tmp_path)
    edge.until_said("Entasis is up")
    clients = Clients(
        Plan(
            web=edge.grpc,
            engine=f"127.0.0.1:{settings['grpc_port']}",
            keys=accounts,
            rest=CALLERS,
            grpc=CALLERS,
            size=SIZE,
            seed=7,
            out=str(tmp_path / "rows"),
        )
    )
    told = Acknowledged()
    over_grpc: list[float] = []
    over_rest: list[float] = []
    unanswered = acknowledged = 0
    try:
        clients.ask("run", closing=CLOSING)
        for kill in range(KILLS):
            time.sleep(chance.uniform(0.1, 0.6))  # the moment of the kill is what is being tried
            os.kill(engine.process.pid, signal.SIGKILL)
            engine.process.wait(timeout=20)
            report = clients.ask("report")
            assert report["odd"] == []
            unanswered += report["unanswered"]
            acknowledged += len(report["told"])
            for what, key, _, position_id in report["told"]:
                told.add(what, key, position_id)
            told.check(books(place.url, with_transactions=False))
            began = time.monotonic()
            engine = start("serve", "engine", **settings)
            first = _first_positions(engine, edge.web, int(str(settings["grpc_port"])), probe, f"probe-{kill}", began)
            for way, times in (("grpc", over_grpc), ("rest", over_rest)):
                seconds, position_id = first[way]
                times.append(seconds)
                told.add("open", f"probe-{kill}-{way}", position_id)
            if (kill + 1) % max(1, KILLS // 20) == 0:
                print(f"  kill {kill + 1} of {KILLS}: {_summary(over_grpc)}", flush=True)
        clients.ask("stop")
        rows = clients.end()
    finally:
        clients.kill()
    for row in rows:
        if row.answer.done:
            told.add(row.what, row.of if row.what == "open" else "", row.answer.position_id)
    engine.stop()
    edge.stop()
    kept = books(place.url, with_transactions=False)
    told.check(kept)
    assert kept.positions.keys() == set(told.opened.values())
    print(
        f"\n{kind}: {KILLS} kills under {2 * CALLERS} callers, {acknowledged} opens and closes acknowledged before, "
        f"{unanswered} calls unanswered and sent again: 0 lost, 0 doubled of {len(told.opened)} positions, the ledger "
        f"adds up\n  from the start of the process to the first acknowledged position: over gRPC {_summary(over_grpc)};"
        f" over REST {_summary(over_rest)}"
    )
    assert max(over_grpc) <= SERVING_SECONDS_MAX


def _summary(times: list[float]) -> str:
    return f"median {statistics.median(times):.2f} s, most {max(times):.2f} s"


def _first_positions(
    engine: Running, web: str, port: int, api_key: str, key: str, began: float
) -> dict[str, tuple[float, str]]:
    """How long after `began` the first position was acknowledged by either way, and which it is."""
    found: dict[str, tuple[float, str]] = {}

    def watch(way: str, try_: Callable[[], str]) -> None:
        while engine.process.poll() is None and time.monotonic() < began + 120:
            with suppress(OSError, grpc.RpcError, requests.RequestException):
                if position_id := try_():
                    found[way] = (time.monotonic() - began, position_id)
                    return
            time.sleep(0.005)

    def over_grpc() -> str:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            request = pb.CreatePositionRequest(symbol=SYMBOL, size=SIZE, type="long")
            metadata = [("x-api-key", api_key), ("idempotency-key", f"{key}-grpc")]
            answer = PortfolioServiceStub(channel).CreatePosition(request, metadata=metadata, timeout=20)
            return str(answer.position_id)

    def over_rest() -> str:
        headers = {"X-API-Key": api_key, "Idempotency-Key": f"{key}-rest"}
        body = {"symbol": SYMBOL, "size": SIZE, "type": "long"}
        answer = requests.post(web + POSITIONS, json=body, headers=headers, timeout=20)
        if answer.status_code == 503:
            time.sleep(0.02)
            return ""
        assert answer.status_code == 201, answer.text
        return str(answer.json()["position_id"])

    watching = [threading.Thread(target=watch, args=one) for one in (("grpc", over_grpc), ("rest", over_rest))]
    for thread in watching:
        thread.start()
    for thread in watching:
        thread.join()
    assert found.keys() == {"grpc", "rest"}, "".join(engine.lines)
    return found
