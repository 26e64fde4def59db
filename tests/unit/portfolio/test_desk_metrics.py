"""What the desk counts."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from prometheus_client import REGISTRY
from tests.support.ledgers import LIMITS, PAPER, CountedIds, open_, working
from tests.support.market import SetClock

from entasis_engine.portfolio.desk import Desk
from entasis_engine.portfolio.store import LedgerUnavailableError, MemoryStore, Needs, Work


def value(name: str) -> float:
    found = REGISTRY.get_sample_value(name)
    assert found is not None
    return found


class Broken(MemoryStore):
    """A ledger that keeps nothing."""

    async def transact(self, needs: Needs, work: Work) -> None:
        raise LedgerUnavailableError("gone")


async def test_only_what_was_kept_is_counted() -> None:
    """A group that could not be kept is not among the groups, one that was is there with its commands."""
    name = "entasis_desk_group_commands"
    before = value(f"{name}_count"), value(f"{name}_sum")
    async with working(Broken()) as desk:
        with pytest.raises(LedgerUnavailableError):
            await desk.execute(open_())
    assert (value(f"{name}_count"), value(f"{name}_sum")) == before
    async with working(MemoryStore()) as desk:
        await asyncio.gather(*(desk.execute(open_()) for _ in range(3)))
    assert value(f"{name}_sum") == before[1] + 3


async def test_the_queue_of_a_desk_that_is_gone_is_forgotten() -> None:
    """The gauge tells how many commands wait, and keeps nothing of a desk that nobody has any more."""
    desk = Desk(MemoryStore(), limits=LIMITS, paper=PAPER, clock=SetClock(), new_id=CountedIds())
    waiting = asyncio.create_task(desk.execute(open_()))
    await asyncio.sleep(0)
    assert value("entasis_desk_queue_commands") == 1
    waiting.cancel()
    queue = weakref.ref(desk._queue)
    await asyncio.wait([waiting])
    del desk, waiting
    gc.collect()
    assert queue() is None
    assert value("entasis_desk_queue_commands") == 0
