"""Idempotency keys that two processes send again and again, while replies are cut and the engine is restarted.

ENTASIS_LEDGER_KEYS (20,000 in `make test-ledger`) says how many keys there are.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from tests.e2e.conftest import Start
from tests.support.access import make_key
from tests.support.ledger_load import Clients, Plan, Row, books, free_port, frozen_market, times_sent
from tests.support.ledgers import PLACES

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]

KEYS = int(os.environ.get("ENTASIS_LEDGER_KEYS", "100"))
KEYS_PER_ACCOUNT = 200
RESTARTS = max(2, KEYS // 1000)
CALLERS = 8
"""Of each process over REST, and as many over gRPC."""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_key_makes_one_position_and_has_one_answer(kind: str, start: Start, tmp_path: Path) -> None:
    """Sent 1 to 20 times by two processes over REST and gRPC, with replies cut and the engine killed or stopped in
    between, every key has one position and one answer.
    """
    place = PLACES[kind](tmp_path)
    accounts = [make_key(tmp_path, account=f"keys-{number}") for number in range(max(2, KEYS // KEYS_PER_ACCOUNT))]
    settings: dict[str, object] = {
        "fresh": True,
        "data_dir": tmp_path,
        "ledger_url": place.url,
        "grpc_port": free_port(),
        "notice_seconds": 0.1,
        "positions_max": 10_000,
        **frozen_market(tmp_path),
    }
    engine = start("serve", "engine", **settings)
    engine.until_said("Entasis is up")
    edge = start("serve", "edge", fresh=True, data_dir=tmp_path)
    edge.until_said("Entasis is up")
    processes = [
        Clients(
            Plan(
                web=edge.grpc,
                engine=f"127.0.0.1:{settings['grpc_port']}",
                keys=accounts,
                rest=CALLERS,
                grpc=CALLERS,
                size="0.00123",
                seed=number,
                out=str(tmp_path / f"rows-{number}"),
            )
        )
        for number in range(2)
    ]
    total = sum(times_sent(KEYS))
    restarts = 0
    try:
        for number, clients in enumerate(processes):
            clients.tell("keys", count=KEYS, process=number, processes=len(processes))
        while not all(clients.answered for clients in processes):
            time.sleep(0.02)
            sent = sum(clients.progress for clients in processes)
            if restarts < RESTARTS and sent > total * (restarts + 1) // (RESTARTS + 1):
                # By turns at once, and in order with calls in flight.
                os.kill(engine.process.pid, signal.SIGTERM if restarts % 2 else signal.SIGKILL)
                engine.process.wait(timeout=30)
                engine = start("serve", "engine", **settings)
                engine.until_said("Entasis is up")
                restarts += 1
                print(f"  restart {restarts} of {RESTARTS}, {sent} of {total} sent", flush=True)
        told = [clients.answer() for clients in processes]
        rows = [row for clients in processes for row in clients.end()]
    finally:
        for clients in processes:
            clients.kill()
    assert restarts == RESTARTS
    engine.stop()
    edge.stop()
    assert sum(one["planned"] for one in told) == total

    odd = Counter(
        (row.rest, row.answer.status, row.answer.reason)
        for row in rows
        if not (row.answer.done or row.answer.unanswered)
    )
    assert odd == {}, "neither done nor to be sent again"
    answered: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.answer.done:
            answered[row.of].append(row)
    assert len(answered) == KEYS
    for key, of_key in answered.items():
        assert len({(row.answer.position_id, row.answer.time_ms) for row in of_key}) == 1, key
        for over_rest in (True, False):
            assert len({row.answer.body for row in of_key if row.rest is over_rest}) <= 1, key
        assert sum(not row.answer.replayed for row in of_key) <= 1, key
    positions = {key: of_key[0].answer.position_id for key, of_key in answered.items()}
    kept = books(place.url)
    assert kept.differences == []
    assert kept.positions.keys() == set(positions.values())
    assert len(kept.positions) == KEYS
    assert {key: name for (_, key), name in kept.opened_by_key.items()} == positions
    assert sum(moved.kind == "open" for moved in kept.transactions) == KEYS
    cut, lost = sum(one["cut"] for one in told), sum(one["lost"] for one in told)
    print(
        f"\n{kind}: {KEYS} keys sent {len(rows)} times by 2 processes, {cut} replies cut, {lost} lost to {restarts} "
        f"restarts; {len(rows) - cut - lost} answers, {KEYS} positions, 0 keys with none or two, or with two answers"
    )
