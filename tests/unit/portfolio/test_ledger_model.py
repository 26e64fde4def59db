"""The rules of the portfolio against a second, plain account of them in integers."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, consumes, invariant, multiple, rule
from tests.support.ledger_model import (
    CURRENCIES,
    LEVERAGE,
    LISTED,
    OWNERS,
    STEP,
    Both,
    Level,
    Listed,
    run,
)

STEPS = int(os.environ.get("ENTASIS_LEDGER_STEPS", "5000"))
SEED = int(os.environ.get("ENTASIS_LEDGER_SEED", "1"))

FEE_RATES = st.sampled_from([0, 200, 500, 777])
AMOUNTS = st.integers(-1, 10**15).map(lambda steps: steps * STEP) | st.integers(1, 10**20)
SWINGS = st.integers(-90, 300)
"""By how many percent of the usual price the market has moved."""
DEPTHS = st.lists(st.integers(1, 10**6), max_size=3)
"""Sizes of the book's levels, in lots."""


def _market(listed: Listed, swing: int, depths: list[int]) -> tuple[list[Level], int]:
    price = max(1, listed.price * (100 + swing) // 100 // listed.tick) * listed.tick
    return [(price + number * listed.tick, lots * listed.lot) for number, lots in enumerate(depths)], price


class LedgerMachine(RuleBasedStateMachine):
    """Deposits, withdrawals, openings, closes and liquidations in any order, done to the code and to the model."""

    positions: Bundle[str] = Bundle("positions")

    def __init__(self) -> None:
        super().__init__()
        self.both = Both()
        for owner in OWNERS:
            for currency in CURRENCIES:
                self.both.deposit(owner, currency, 10**10 * STEP)

    @rule(owner=st.sampled_from(OWNERS), currency=st.sampled_from(CURRENCIES), amount=AMOUNTS)
    def deposit(self, owner: str, currency: str, amount: int) -> None:
        self.both.deposit(owner, currency, amount)

    @rule(owner=st.sampled_from(OWNERS), currency=st.sampled_from(CURRENCIES), amount=AMOUNTS)
    def withdraw(self, owner: str, currency: str, amount: int) -> None:
        self.both.withdraw(owner, currency, amount)

    @rule(
        target=positions,
        owner=st.sampled_from(OWNERS),
        listed=st.sampled_from(LISTED),
        long=st.booleans(),
        lots=st.integers(0, 10**6),
        off_lot=st.sampled_from([0, 0, 0, 1]),
        leverage=st.integers(LEVERAGE - 1, 130 * LEVERAGE),
        fee_rate=FEE_RATES,
        swing=SWINGS,
        depths=DEPTHS,
    )
    def open(
        self,
        owner: str,
        listed: Listed,
        long: bool,
        lots: int,
        off_lot: int,
        leverage: int,
        fee_rate: int,
        swing: int,
        depths: list[int],
    ) -> str | MultipleResults[str]:
        book, last = _market(listed, swing, depths)
        size = lots * listed.lot + off_lot
        name = self.both.open(owner, listed, long, size, leverage, fee_rate, book, last)
        return name if name in self.both.positions else multiple()

    @rule(name=positions, share=st.integers(0, 110), fee_rate=FEE_RATES, swing=SWINGS, depths=DEPTHS)
    def close(self, name: str, share: int, fee_rate: int, swing: int, depths: list[int]) -> None:
        held = self.both.model.held[name]
        size = held.size if share == 100 else held.size // held.listed.lot * share // 100 * held.listed.lot
        self.both.close(name, size, fee_rate, *_market(held.listed, swing, depths))

    @rule(name=consumes(positions), swing=SWINGS, depths=DEPTHS)
    def liquidate(self, name: str, swing: int, depths: list[int]) -> None:
        self.both.liquidate(name, *_market(self.both.model.held[name].listed, swing, depths))

    @invariant()
    def code_and_model_agree(self) -> None:
        """What is compared after each step: `Both._compare` and `Both._compare_position`."""
        assert self.both.differences == []


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.mark.timeout(0)  # as long as the number of steps that was asked for takes
def test_a_random_run_leaves_no_difference() -> None:
    """After every one of ENTASIS_LEDGER_STEPS random steps code and model agree; with -s, progress is shown."""
    both = run(STEPS, SEED, print)
    assert both.differences == []
    assert both.steps == STEPS


def test_a_random_run_does_everything() -> None:
    """Every action succeeds at times, and is refused for every reason there is."""
    outcomes = set(run(3000, 7).outcomes)
    refused = {
        "deposit": {"step"},
        "withdraw": {"step", "PORT_001"},
        "open": {"step", "leverage", "PORT_001", "PORT_002"},
        "close": {"step", "too large", "not open"},
        "liquidate": {"not open"},
    }
    assert outcomes == {f"{what}: {how}" for what, reasons in refused.items() for how in {"done", *reasons}}
