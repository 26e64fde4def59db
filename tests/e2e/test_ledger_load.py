"""One hot account: many clients open and close over REST and gRPC at once, and spend what there is and no more.

The market stands still, so that every open costs exactly the same, and what the account may do is known to the digit.
ENTASIS_LEDGER_CALLS (100,000 in `make test-ledger`) says how many calls are made.
"""

from __future__ import annotations

import bisect
import os
import time
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from tests.e2e.conftest import Running, Start
from tests.support.ledger_load import PRICE, Books, Clients, Moved, Plan, Row, books, frozen_market, told_to_all
from tests.support.ledgers import PLACES

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]

CALLS = int(os.environ.get("ENTASIS_LEDGER_CALLS", "1200"))
CLIENTS = 64
HOLDING = 2
"""Positions that each client wants to hold at once."""
SIZE = "0.00123"
STEPS = 10**8
"""Money is counted in steps of 8 decimals."""


@dataclass(frozen=True)
class Cost:
    """What a position costs, in steps of money: a second account of the rules, in whole numbers."""

    margin: int
    fee: int

    @classmethod
    def at(cls, fee_rate: str) -> Cost:
        notional = Fraction(PRICE) * Fraction(SIZE) * STEPS
        return cls(_up(notional), _up(notional * Fraction(fee_rate)))

    @property
    def open(self) -> int:
        return self.margin + self.fee


def _up(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)


def _steps(amount: Decimal | str) -> int:
    steps = Fraction(amount) * STEPS
    assert steps.denominator == 1, f"{amount} has more than 8 decimals"
    return steps.numerator


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize(("fee_rate", "share"), [("0.00007", 1), ("0", 5)], ids=["fees", "no-fees"])
def test_a_hot_account_spends_what_it_has_and_no_more(
    kind: str, fee_rate: str, share: int, start: Start, tmp_path: Path
) -> None:
    """64 clients on one account with half the money they want: exactly those opens succeed that the balance allowed,
    each refusal names a balance that was there and did not suffice, nothing is ever negative, and no answer is 5xx.
    """
    place = PLACES[kind](tmp_path)
    cost = Cost.at(fee_rate)
    funds = cost.open * CLIENTS * HOLDING // 2 + cost.open // 3
    up = start(
        "up",
        data_dir=tmp_path,
        ledger_url=place.url,
        paper_balance=f"USDT:{Decimal(funds) / STEPS}",
        positions_max=10_000,
        notional_max=10**9,
        fee_rate=fee_rate,
        **frozen_market(tmp_path),
    )
    began = time.monotonic()
    rest, grpc = (
        Clients(
            Plan(
                web=up.grpc,
                engine=up.engine,
                keys=[up.key],
                rest=CLIENTS // 2 if over_rest else 0,
                grpc=0 if over_rest else CLIENTS // 2,
                size=SIZE,
                seed=1 + over_rest,
                out=str(tmp_path / f"rows-{over_rest}"),
            )
        )
        for over_rest in (True, False)
    )
    both = (rest, grpc)
    try:
        free, held = funds, 0
        # Whatever the order, so many opens succeed and no more: everybody opens until refused, some are closed, again.
        for part in (0.5, 1.0, 0.25):
            told = told_to_all(both, "fill")
            assert sum(one["opened"] for one in told) == free // cost.open, str(told)
            assert [one["calls"] - one["opened"] for one in told] == [CLIENTS // 2] * 2
            free, held = free % cost.open, held + free // cost.open
            told = told_to_all(both, "close", share=part)
            closed = sum(one["closed"] for one in told)
            assert sum(one["calls"] for one in told) == closed > 0
            free, held = free + closed * (cost.margin - cost.fee), held - closed
        mixed = _mix(both, CALLS // share // 2)
        if fee_rate == "0":
            told = told_to_all(both, "close", share=1.0)
            told += told_to_all(both, "fill")
            assert sum(one["opened"] for one in told) == funds // cost.open
        rows = [row for clients in both for row in clients.end()]
    finally:
        for clients in both:
            clients.kill()
    seconds = time.monotonic() - began
    up.stop()
    _no_faults(rows, up)
    most = _follow(rows, books(place.url), cost, funds)
    statuses = Counter((row.what, row.answer.reason or "done") for row in rows)
    print(
        f"\n{kind}, fee rate {fee_rate}: {len(rows)} calls by {CLIENTS} clients in {seconds:.0f} s: "
        + ", ".join(f"{count} {what} {how}" for (what, how), count in sorted(statuses.items()))
        + f"; 5xx 0; {funds // cost.open} were affordable at once, {most} were open at most; balance looked at "
        f"{sum(one['looks'] for one in mixed)} times, least free {min(Decimal(one['free_margin']) for one in mixed)}"
    )


def _mix(both: tuple[Clients, Clients], calls: int) -> list[dict[str, str]]:
    """Opens and closes by chance, while the balance is looked at."""
    for clients in both:
        clients.tell("mix", calls=calls, holding=HOLDING)
    shown = 0
    while not all(clients.answered for clients in both):
        time.sleep(0.05)
        done = sum(clients.progress for clients in both)
        if done >= shown + 10_000:
            shown = done
            print(f"  {done} of {2 * calls} calls", flush=True)
    told = [clients.answer() for clients in both]
    for one in told:
        assert one["looks"] > 0
        assert Decimal(one["free_margin"]) >= 0
        assert Decimal(one["used_margin"]) >= 0
    return told


def _no_faults(rows: list[Row], up: Running) -> None:
    """Every call was answered: done, or refused for want of balance."""
    odd = Counter((row.what, row.answer.status, row.answer.reason) for row in rows if not row.answer.done)
    refused = {key: count for key, count in odd.items() if key[2] != "PORT_001" or key[0] != "open"}
    assert refused == {}, "".join(up.lines[-20:])
    assert {status for _, status, _ in odd} == {"400", "FAILED_PRECONDITION"}
    assert {row.answer.status for row in rows if row.answer.done} == {"200", "201", "OK"}


def _follow(rows: list[Row], kept: Books, cost: Cost, funds: int) -> int:
    """Go through the ledger in its order with a second account of the rules; gives how many were open at most."""
    assert kept.differences == []
    free = margin = most = 0
    opened: set[str | None] = set()
    closed: set[str | None] = set()
    states: list[tuple[int, int]] = []  # time, what was free from then on
    for moved in kept.transactions:
        mine = {kind: _steps(amount) for (owner, kind), amount in moved.amounts.items() if kind in {"free", "margin"}}
        house = {kind: _steps(amount) for (_, kind), amount in moved.amounts.items() if kind not in mine}
        assert sum(mine.values()) + sum(house.values()) == 0
        if moved.kind == "open":
            assert free >= cost.open, "opened without the money"
            assert (mine, house) == _of(moved, cost, -cost.open, cost.margin)
            opened.add(moved.position_id)
        elif moved.kind == "close":
            assert (mine, house) == _of(moved, cost, cost.margin - cost.fee, -cost.margin)
            closed.add(moved.position_id)
        else:
            assert (moved.kind, mine) == ("deposit", {"free": funds})
        free, margin = free + mine["free"], margin + mine.get("margin", 0)
        assert free >= 0
        assert margin == cost.margin * (len(opened) - len(closed)) >= 0
        most = max(most, len(opened) - len(closed))
        states.append((moved.time_ms, free))
    assert len(kept.transactions) == 1 + len(opened) + len(closed), "a position was opened or closed twice"
    assert len({owner for owner, _ in kept.positions.values()}) == 1
    assert opened == kept.positions.keys()
    assert closed == {name for name, (_, status) in kept.positions.items() if status == "closed"}

    # What was acknowledged is what is there, each once.
    for what, names in (("open", opened), ("close", closed)):
        told = [row.answer.position_id for row in rows if row.what == what and row.answer.done]
        assert len(told) == len(set(told))
        assert set(told) == names

    # Who was refused was refused by a balance that was there between question and answer.
    times = [time_ms for time_ms, _ in states]
    for row in rows:
        if row.answer.reason == "PORT_001":
            assert _steps(row.answer.told["required"]) == cost.open
            available = _steps(row.answer.told["available"])
            assert available < cost.open, "refused though the money was there"
            first = max(0, bisect.bisect_left(times, row.sent_ms - 1) - 1)
            last = bisect.bisect_right(times, row.answered_ms + 1)
            assert available in {free for _, free in states[first:last]}
    return most


def _of(moved: Moved, cost: Cost, free: int, margin: int) -> tuple[dict[str, int], dict[str, int]]:
    return {"free": free, "margin": margin}, ({"fees": cost.fee} if cost.fee else {})
