"""What the streams ask of a ledger: how far positions have gone, and those that are named; on every kind of ledger."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from tests.support.ledgers import PLACES, close, open_, working
from tests.support.market import SECOND, SetClock

from entasis_engine.portfolio.positions import Status
from entasis_engine.portfolio.store import State, TooManyTradedError, state_of


@pytest.fixture(params=sorted(PLACES))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_states_and_names(kind: str, tmp_path: Path) -> None:
    """States are those of what is open of the owners, and what is named comes whole, in order, and nothing else."""
    async with PLACES[kind](tmp_path).open() as store, working(store) as desk:
        first, second, third = [(await desk.execute(open_(owner, "2"))).position for owner in ("a", "a", "b")]
        assert first is not None
        assert second is not None
        assert third is not None
        parted = (await desk.execute(close(second.id, "0.5", owner="a"))).position
        closed = (await desk.execute(close(first.id, owner="a"))).position
        assert parted is not None
        found = sorted(await store.open_states(["a", "b", "c"]), key=lambda one: one.id)
        assert found == [
            State(second.id, "a", Decimal("1.5"), Status.OPEN, None),
            State(third.id, "b", Decimal(2), Status.OPEN, None),
        ]
        assert found[0] == state_of(parted)
        assert await store.open_states([]) == []
        assert await store.named([third.id, "pos_none", first.id]) == [closed, third]
        assert await store.named([]) == []


async def test_more_names_than_are_asked_for_at_a_time(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are named, all are found, in the order they were opened."""
    monkeypatch.setattr("entasis_engine.portfolio.sql.NAMED_ROWS", 2)
    async with PLACES[kind](tmp_path).open() as store, working(store) as desk:
        opened = [(await desk.execute(open_())).position for _ in range(5)]
        names = [one.id for one in opened if one is not None]
        assert await store.named(names[::-1]) == opened


async def test_what_was_traded_is_read_whole_where_it_is_news(kind: str, tmp_path: Path) -> None:
    """Of what was traded since, each state is shown once, and only what is news is given; too many are refused."""
    clock = SetClock()
    async with PLACES[kind](tmp_path).open() as store, working(store, clock=clock) as desk:
        await desk.execute(open_())
        clock.now += SECOND
        opened = [(await desk.execute(open_())).position for _ in range(3)]
        assert opened[1] is not None
        shown: list[str] = []

        def is_news(state: State) -> bool:
            shown.append(state.id)
            return state.id == opened[1].id  # type: ignore[union-attr]

        assert await store.traded_since(["acc_1"], clock.now, is_news=is_news, states_max=3) == [opened[1]]
        assert sorted(shown) == [one.id for one in opened if one is not None]
        with pytest.raises(TooManyTradedError):
            await store.traded_since(["acc_1"], clock.now, states_max=2)
