"""Streams of positions on a ledger in memory: what is told, in which order, and that nothing is lost or told twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.support.ledgers import CountedIds, close, liquidate, open_, working
from tests.support.market import BTC, SECOND, SetClock, SetMonotonic

from entasis.portfolio.v1 import portfolio_pb2 as pb
from entasis_engine.errors import EntasisError
from entasis_engine.portfolio import wire
from entasis_engine.portfolio.desk import Desk
from entasis_engine.portfolio.ids import SortableIds
from entasis_engine.portfolio.positions import Position
from entasis_engine.portfolio.store import LedgerUnavailableError, MemoryStore
from entasis_engine.portfolio.streams import COMPARE_SECONDS, OVERLAP, PositionStreams, _Reader

OWNER = "acc_1"


class Ledger(MemoryStore):
    """A ledger whose answers the test holds back, or that cannot be read."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.at_once: int | None = None
        """How many answers arrive at once; the others wait for `go`."""
        self.asked = 0
        self.broken = False

    async def traded_since(self, owners: Collection[str], since: datetime, **given: Any) -> list[Position]:
        return await self._slowly(await super().traded_since(owners, since, **given))

    async def open_positions(self, owner: str | None = None) -> list[Position]:
        return await self._slowly(await super().open_positions(owner))

    async def _slowly(self, found: list[Position]) -> list[Position]:
        """What was found, once the test lets it arrive: by then it may be old."""
        if self.broken:
            raise LedgerUnavailableError("gone")
        self.asked += 1
        if self.at_once is not None and self.asked > self.at_once:
            await self.go.wait()
        return found


@dataclass
class Room:
    """Two desks on one ledger, as two engines have them; the streams are told of what the first one does."""

    ledger: Ledger
    streams: PositionStreams
    ours: Desk
    other: Desk
    clock: SetClock
    prices: dict[str, Decimal] = field(default_factory=dict)
    instruments: list[Any] = field(default_factory=lambda: [BTC])
    """That of all positions; empty where it is listed no more."""
    monotonic: SetMonotonic = field(default_factory=SetMonotonic)

    @asynccontextmanager
    async def late(self, seconds: int) -> AsyncIterator[Desk]:
        """A desk of an engine whose clock is behind."""
        clock = SetClock(self.clock.now - seconds * SECOND)
        async with working(self.ledger, clock=clock, new_id=SortableIds(clock)) as desk:
            yield desk


@asynccontextmanager
async def room(queue_max: int = 1024, **given: Any) -> AsyncIterator[Room]:
    ledger, clock, prices = Ledger(), SetClock(), {"BTC-USDT": Decimal(10_000)}
    instruments, monotonic = [BTC], SetMonotonic()

    def last_price(symbol: str) -> tuple[Decimal, datetime] | None:
        return (prices[symbol], clock()) if symbol in prices else None

    streams = PositionStreams(
        ledger,
        lambda held: wire.position(held, instruments[0] if instruments else None, last_price, Decimal("0.005")),
        last_price,
        clock=clock,
        monotonic=monotonic,
        queue_max=queue_max,
        **given,
    )
    ids: dict[str, Any] = {"new_id": CountedIds(), "clock": clock}
    async with working(ledger, on_position=streams.changed, **ids) as ours, working(ledger, **ids) as other:
        yield Room(ledger, streams, ours, other, clock, prices, instruments, monotonic=monotonic)


async def taken(reader: Any) -> list[pb.PositionUpdate]:
    """What waits for a reader."""
    async with asyncio.timeout(10):
        return list(pb.StreamPositionsResponse.FromString(await reader.take()).updates)


async def snapshot(reader: Any) -> pb.PositionUpdate:
    (update,) = await taken(reader)
    assert update.event == "snapshot"
    return update


def told(updates: list[pb.PositionUpdate]) -> list[tuple[str, str, str]]:
    return [(one.event, one.positions[0].size, one.positions[0].status) for one in updates]


async def test_a_snapshot_and_then_every_change() -> None:
    """The open positions come first, oldest first, then each change with the next number and the state it left."""
    async with room() as held:
        first = (await held.ours.execute(open_(OWNER, "2"))).position
        second = (await held.ours.execute(open_(OWNER, "1"))).position
        await held.ours.execute(open_("acc_2"))
        assert first is not None
        assert second is not None
        with held.streams.read(OWNER) as reader:
            begun = await snapshot(reader)
            assert [one.position_id for one in begun.positions] == [first.id, second.id]
            await held.ours.execute(close(first.id, "0.5", owner=OWNER))
            await held.ours.execute(close(first.id, owner=OWNER))
            await held.ours.execute(liquidate(second.id, owner=OWNER))
            await held.ours.execute(open_(OWNER, "3"))
            updates = await taken(reader)
    assert told(updates) == [
        ("changed", "1.5", "open"),
        ("closed", "2", "closed"),
        ("liquidated", "1", "liquidated"),
        ("opened", "3", "open"),
    ]
    assert [one.seq for one in updates] == [begun.seq + number for number in range(1, 5)]


async def test_an_owner_without_positions_gets_an_empty_snapshot_and_nothing_of_others() -> None:
    """Whoever holds nothing is told so at once; what another account does is not told."""
    async with room() as held:
        with held.streams.read(OWNER) as reader:
            assert not (await snapshot(reader)).positions
            await held.ours.execute(open_("acc_2"))
            await held.ours.execute(open_(OWNER, "5"))
            assert told(await taken(reader)) == [("opened", "5", "open")]


async def test_what_happens_while_the_ledger_is_read_is_in_the_snapshot_once() -> None:
    """Changes between the question to the ledger and its answer win over the older answer, and are not told again."""
    async with room() as held:
        shrinks = (await held.ours.execute(open_(OWNER, "2"))).position
        ends = (await held.ours.execute(open_(OWNER, "1"))).position
        assert shrinks is not None
        assert ends is not None
        with held.streams.read(OWNER) as reader:
            held.ledger.at_once = 1
            taking = asyncio.create_task(taken(reader))
            while held.ledger.asked < 2:  # the list of open positions is read, and under way
                await asyncio.sleep(0)
            await held.ours.execute(close(shrinks.id, "0.5", owner=OWNER))
            await held.ours.execute(close(ends.id, owner=OWNER))
            new = (await held.ours.execute(open_(OWNER, "7"))).position
            assert new is not None
            assert not taking.done()
            held.ledger.go.set()
            (begun,) = await taking
            assert {one.position_id: one.size for one in begun.positions} == {shrinks.id: "1.5", new.id: "7"}
            await held.streams.look()
            await held.ours.execute(close(new.id, owner=OWNER))
            assert told(await taken(reader)) == [("closed", "7", "closed")]


async def test_an_old_answer_changes_nothing() -> None:
    """What a look at the ledger found before the desk's own news is neither told nor brought back."""
    async with room() as held:
        part = (await held.ours.execute(open_(OWNER, "2"))).position
        whole = (await held.ours.execute(open_(OWNER, "1"))).position
        assert part is not None
        assert whole is not None
        with held.streams.read(OWNER) as reader:
            await snapshot(reader)
            asked = held.ledger.at_once = held.ledger.asked
            looking = asyncio.create_task(held.streams.look())
            while held.ledger.asked == asked:
                await asyncio.sleep(0)
            await held.ours.execute(close(part.id, "0.5", owner=OWNER))
            await held.ours.execute(close(whole.id, owner=OWNER))
            assert told(await taken(reader)) == [("changed", "1.5", "open"), ("closed", "1", "closed")]
            held.ledger.go.set()
            await looking
            await held.ours.execute(open_(OWNER, "4"))
            assert told(await taken(reader)) == [("opened", "4", "open")]


async def test_what_another_engine_did_is_told_once() -> None:
    """Openings, part closes and ends by another engine are found by a look, even where all lies between two looks."""
    async with room() as held:
        old = (await held.other.execute(open_(OWNER, "9"))).position
        assert old is not None
        await held.other.execute(close(old.id, owner=OWNER))
        kept = (await held.other.execute(open_(OWNER, "2"))).position
        assert kept is not None
        with held.streams.read(OWNER) as reader:
            assert [one.size for one in (await snapshot(reader)).positions] == ["2"]
            brief = (await held.other.execute(open_(OWNER, "1"))).position
            assert brief is not None
            await held.other.execute(close(brief.id, owner=OWNER))
            await held.other.execute(close(kept.id, "0.5", owner=OWNER))
            for _ in range(3):
                await held.streams.look()
            assert sorted(told(await taken(reader))) == [("changed", "1.5", "open"), ("closed", "1", "closed")]
            held.clock.now += OVERLAP + SECOND
            for _ in range(2):
                await held.streams.look()
            await held.other.execute(liquidate(kept.id, owner=OWNER))
            await held.streams.look()
            assert told(await taken(reader)) == [("liquidated", "2", "liquidated")]


async def test_a_change_that_is_kept_late_is_found() -> None:
    """A trade whose time lies before the last look, of a slow commit or another clock, is told by the next one."""
    async with room() as held:
        late = SetClock(held.clock.now - 20 * SECOND)
        with held.streams.read(OWNER) as reader:
            await snapshot(reader)
            await held.streams.look()
            async with working(held.ledger, clock=late, new_id=SortableIds(late)) as slow:
                await slow.execute(open_(OWNER, "2"))
            await held.streams.look()
            assert told(await taken(reader)) == [("opened", "2", "open")]


async def test_what_ended_before_a_stream_began_is_no_news() -> None:
    """A look that goes back further, for another account's sake, tells nothing of what ended before a stream began."""
    async with room() as held:
        with held.streams.read("acc_2") as other:
            await snapshot(other)
            position = (await held.other.execute(open_(OWNER, "1"))).position
            assert position is not None
            await held.other.execute(close(position.id, owner=OWNER))
            held.clock.now += OVERLAP + SECOND  # in which nobody looks
            with held.streams.read(OWNER) as reader:
                await snapshot(reader)
                await held.streams.look()
                await held.ours.execute(open_(OWNER, "5"))
                assert told(await taken(reader)) == [("opened", "5", "open")]


async def test_an_outage_of_the_ledger_loses_nothing() -> None:
    """What happened while the ledger could not be read is found afterwards, however long that was."""
    async with room() as held:
        with held.streams.read(OWNER) as reader:
            await snapshot(reader)
            position = (await held.other.execute(open_(OWNER, "2"))).position
            assert position is not None
            await held.other.execute(close(position.id, owner=OWNER))
            held.ledger.broken = True
            for _ in range(3):
                held.clock.now += OVERLAP
                with pytest.raises(LedgerUnavailableError):
                    await held.streams.look()
            held.ledger.broken = False
            await held.streams.look()
            assert told(await taken(reader)) == [("closed", "2", "closed")]


async def test_a_ledger_that_cannot_be_read_at_the_beginning() -> None:
    """A stream cannot begin without the ledger: SERVER_002, and the next one begins as soon as it is there."""
    async with room() as held:
        held.ledger.broken = True
        with held.streams.read(OWNER) as reader:
            with pytest.raises(EntasisError) as raised:
                await reader.take()
            assert raised.value.case == "UNAVAILABLE"
            held.ledger.broken = False
            await snapshot(reader)


async def test_prices_are_told_when_they_change() -> None:
    """A new price is told once for each open position that it concerns, with what it makes of it."""
    async with room() as held:
        position = (await held.ours.execute(open_(OWNER, "2"))).position
        assert position is not None
        with held.streams.read(OWNER) as reader:
            begun = await snapshot(reader)
            await held.streams.value()  # nothing is new
            held.prices["BTC-USDT"] = Decimal(10_100)
            await held.streams.value()
            await held.streams.value()
            (update,) = await taken(reader)
            assert (update.event, update.seq) == ("price", begun.seq + 1)
            assert (update.positions[0].current_price, update.positions[0].pnl) == ("10100.00", "200.00")
            await held.ours.execute(close(position.id, owner=OWNER))
            held.prices["BTC-USDT"] = Decimal(10_200)
            await held.streams.value()
            assert told(await taken(reader)) == [("closed", "2", "closed")]


async def test_a_second_readers_snapshot_does_not_keep_news_from_the_first() -> None:
    """A price that a new reader's snapshot shows is still told to those who were there before."""
    async with room() as held:
        await held.ours.execute(open_(OWNER))
        with held.streams.read(OWNER) as first:
            await snapshot(first)
            held.prices["BTC-USDT"] = Decimal(10_100)
            with held.streams.read(OWNER) as second:
                assert (await snapshot(second)).positions[0].current_price == "10100.00"
                await held.streams.value()
                assert [one.event for one in await taken(first)] == ["price"]


async def test_numbers_never_go_back() -> None:
    """Whoever comes again, to an account that nobody read meanwhile, gets higher numbers, though the clock stands."""
    async with room() as held:
        last = 0
        for _ in range(3):
            with held.streams.read(OWNER) as reader:
                begun = await snapshot(reader)
                assert begun.seq > last
                await held.ours.execute(open_(OWNER))
                last = (await taken(reader))[-1].seq


async def test_who_is_read_by_nobody_costs_nothing() -> None:
    """After the last reader has left the ledger is not asked any more."""
    async with room() as held:
        with held.streams.read(OWNER) as reader:
            await snapshot(reader)
        asked = held.ledger.asked
        await held.streams.look()
        assert held.ledger.asked == asked


async def test_a_slow_reader_gets_the_newest_of_each_position() -> None:
    """Beyond the bound only the newest state of each position is kept, and that of a closed one says so."""
    async with room(queue_max=5) as held:
        ids = [(await held.ours.execute(open_(OWNER, "4"))).position for _ in range(3)]
        first, second, third = (one.id for one in ids if one is not None)
        with held.streams.read(OWNER) as reader:
            begun = await snapshot(reader)
            await held.ours.execute(close(first, owner=OWNER))
            for _ in range(3):
                await held.ours.execute(close(second, "1", owner=OWNER))
            for _ in range(3):
                await held.ours.execute(close(third, "1", owner=OWNER))
            updates = await taken(reader)
    newest = {one.positions[0].position_id: one for one in updates}
    assert {name: (one.event, one.positions[0].status) for name, one in newest.items()} == {
        first: ("closed", "closed"),
        second: ("changed", "open"),
        third: ("changed", "open"),
    }
    assert (newest[second].positions[0].size, newest[third].positions[0].size) == ("1", "1")
    numbers = [one.seq for one in updates]
    assert numbers == sorted(numbers)
    assert numbers[-1] == begun.seq + 7
    assert len(numbers) < 7


async def test_a_reader_with_more_news_than_room_begins_anew() -> None:
    """Where more positions changed than may wait, a slow reader gets a new snapshot, not a part without a word."""
    async with room(queue_max=3) as held:
        with held.streams.read(OWNER) as reader:
            begun = await snapshot(reader)
            for _ in range(5):
                await held.ours.execute(open_(OWNER))
            again = await snapshot(reader)
            assert len(again.positions) == 5
            assert again.seq == begun.seq + 5
            await held.ours.execute(open_(OWNER))
            (update,) = await taken(reader)
            assert (update.event, update.seq) == ("opened", again.seq + 1)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["open", "part", "close", "look", "join"])), max_size=25))
def test_whoever_follows_the_updates_knows_what_is_open(steps: list[tuple[bool, str]]) -> None:
    """Whatever two engines do in whatever order, every reader's picture is the ledger's, and each end is told once."""

    async def play() -> None:
        async with room() as held:
            ids: list[str] = []
            with held.streams.read(OWNER) as first:
                readers, pictures, ends = [first], [await picture(first, {}, [])], [[]]  # type: ignore[var-annotated]
                with held.streams.read(OWNER) as second:
                    for by_us, step in steps:
                        desk = held.ours if by_us else held.other
                        if step == "open":
                            position = (await desk.execute(open_(OWNER, "4"))).position
                            assert position is not None
                            ids.append(position.id)
                        elif step == "part" and ids:
                            await desk.execute(close(ids[0], "0.5", owner=OWNER))
                            ids.append(ids.pop(0))
                            if (await held.ledger.position(OWNER, ids[-1])).status != "open":  # type: ignore[union-attr]
                                ids.pop()
                        elif step == "close" and ids:
                            await desk.execute(close(ids.pop(0), owner=OWNER))
                        elif step == "look":
                            await held.streams.look()
                        elif step == "join" and len(readers) == 1:
                            readers.append(second)
                            pictures.append(await picture(second, {}, []))
                            ends.append([])
                    await held.streams.look()
                    held.prices["BTC-USDT"] += 1
                    await held.ours.execute(open_(OWNER, "4"))  # so that each reader has something to take
                    expected = {one.id: one.size for one in await held.ledger.open_positions(OWNER)}
                    for reader, known, ended in zip(readers, pictures, ends, strict=True):
                        assert await picture(reader, known, ended) == expected
                        assert len(ended) == len(set(ended))

    asyncio.run(play())


async def picture(reader: Any, known: dict[str, Decimal], ended: list[str]) -> dict[str, Decimal]:
    """What a reader knows after the next batch."""
    for update in await taken(reader):
        if update.event == "snapshot":
            known.clear()
        for position in update.positions:
            if position.status == "open":
                known[position.position_id] = Decimal(position.size)
            else:
                known.pop(position.position_id, None)
                ended.append(position.position_id)
    return known


# --- Bounds, clocks and defects ---------------------------------------------------------------------------------------


class Hashed(str):
    """An id that counts how often it is looked up."""

    __slots__ = ()
    count = 0

    def __hash__(self) -> int:
        Hashed.count += 1
        return super().__hash__()


async def test_an_update_costs_a_slow_reader_the_same_however_many_wait() -> None:
    """With 1023 positions waiting, each further update is a few look-ups, not one for each that waits."""

    async def begin() -> bytes:
        return b""

    reader = _Reader(begin, 1024)
    await reader.take()
    ids = [Hashed(number) for number in range(1023)]
    for one in ids + ids[:2]:  # the second of these is one too many
        reader.put(one, b"1")
    Hashed.count = 0
    for one in ids:
        reader.put(one, b"2")
    assert Hashed.count <= 10 * len(ids)
    assert await reader.take() + await reader.take() == b"2" * len(ids)


async def test_a_reader_that_caught_up_gets_each_update_again() -> None:
    """Only the newest are kept until the reader has taken all that waited; then nothing is left out any more."""
    async with room(queue_max=2) as held:
        position = (await held.ours.execute(open_(OWNER, "4"))).position
        assert position is not None
        with held.streams.read(OWNER) as reader:
            await snapshot(reader)
            for _ in range(3):
                await held.ours.execute(close(position.id, "0.5", owner=OWNER))
            assert told(await taken(reader)) == [("changed", "2.5", "open")]
            for _ in range(2):
                await held.ours.execute(close(position.id, "0.5", owner=OWNER))
            assert told(await taken(reader)) == [("changed", "2", "open"), ("changed", "1.5", "open")]


async def test_a_close_by_an_engine_whose_clock_is_behind_is_told() -> None:
    """Of a position that was shown the end is told once, though it lies before the time that the stream began."""
    async with room() as held:
        shown = (await held.ours.execute(open_(OWNER, "2"))).position
        assert shown is not None
        with held.streams.read(OWNER) as reader:
            await snapshot(reader)
            async with held.late(60) as behind:
                await behind.execute(close(shown.id, owner=OWNER))
            for _ in range(2):
                await held.streams.look()
            await held.ours.execute(open_(OWNER, "5"))
            assert told(await taken(reader)) == [("closed", "2", "closed"), ("opened", "5", "open")]


async def test_what_no_look_can_find_is_found_by_comparing() -> None:
    """Openings, part closes and ends of an engine whose clock is an hour behind are told once, with a warning."""
    async with room() as held:
        ended, parted = [(await held.ours.execute(open_(OWNER, "2"))).position for _ in range(2)]
        assert ended is not None
        assert parted is not None
        with held.streams.read(OWNER) as reader:
            await snapshot(reader)
            held.clock.now += OVERLAP + SECOND
            await held.streams.look()
            async with held.late(3600) as behind:
                await behind.execute(close(ended.id, owner=OWNER))
                await behind.execute(close(parted.id, "0.5", owner=OWNER))
                await behind.execute(open_(OWNER, "7"))
            with capture_logs() as lines:
                for _ in range(2):
                    await held.streams.look()
                    await held.streams.compare()
            assert sorted(told(await taken(reader))) == [
                ("changed", "1.5", "open"),
                ("closed", "2", "closed"),
                ("opened", "7", "open"),
            ]
        assert [(one["event"], one["account"], one["positions"]) for one in lines] == [("positions.missed", OWNER, 3)]


async def test_what_is_merely_new_was_not_missed() -> None:
    """A comparison that comes before the look tells what the look would have told, without a warning."""
    async with room() as held:
        shown = (await held.ours.execute(open_(OWNER, "2"))).position
        assert shown is not None
        with held.streams.read(OWNER) as reader:
            await snapshot(reader)
            await held.other.execute(close(shown.id, owner=OWNER))
            await held.other.execute(open_(OWNER, "7"))
            with capture_logs() as lines:
                await held.streams.compare()
            assert sorted(told(await taken(reader))) == [("closed", "2", "closed"), ("opened", "7", "open")]
        assert lines == []


async def test_only_what_is_news_is_read_whole() -> None:
    """Looks at what was told before, by this desk or an earlier look, read none of it whole."""
    async with room() as held:
        with held.streams.read(OWNER) as reader:
            await snapshot(reader)
            await held.ours.execute(open_(OWNER))
            asked: list[bool] = []
            kept = held.ledger.traded_since

            async def traded_since(owners: Collection[str], since: datetime, **given: Any) -> list[Position]:
                is_news = given["is_news"]
                given["is_news"] = lambda state: asked.append(is_news(state)) or asked[-1]
                return await kept(owners, since, **given)

            held.ledger.traded_since = traded_since  # type: ignore[method-assign]
            await held.streams.look()
            await held.other.execute(open_(OWNER))
            await held.streams.look()
            await held.streams.look()
    assert sorted(asked) == [False, False, False, False, True]


async def test_more_trades_than_one_look_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an outage left too much to look at, what is open is compared: each account's picture is right again."""
    monkeypatch.setattr("entasis_engine.portfolio.streams.STATES_PER_LOOK", 2)
    async with room() as held:
        shown = (await held.ours.execute(open_(OWNER, "9"))).position
        assert shown is not None
        with held.streams.read(OWNER) as reader, held.streams.read("acc_2") as second:
            await snapshot(reader)
            await snapshot(second)
            await held.other.execute(close(shown.id, owner=OWNER))
            for size in "123":
                await held.other.execute(open_(OWNER, size))
            brief = (await held.other.execute(open_(OWNER, "4"))).position
            assert brief is not None
            await held.other.execute(close(brief.id, owner=OWNER))
            await held.other.execute(open_("acc_2", "5"))
            for _ in range(2):
                await held.streams.look()
            assert told(await taken(reader)) == [
                ("closed", "9", "closed"),
                *(("opened", size, "open") for size in "123"),
            ]
            assert told(await taken(second)) == [("opened", "5", "open")]


async def test_a_ledger_that_does_not_answer_is_not_waited_for() -> None:
    """A look, and the beginning of a stream, end with a refusal where the ledger says nothing in its time."""
    async with room(answer_seconds=0.01) as held:
        held.ledger.at_once = 0
        with held.streams.read(OWNER) as reader:
            async with asyncio.timeout(10):
                with pytest.raises(EntasisError) as raised:
                    await reader.take()
            assert raised.value.case == "UNAVAILABLE"
            held.ledger.at_once = None
            await snapshot(reader)
            held.ledger.at_once = 0
            async with asyncio.timeout(10):
                with pytest.raises(LedgerUnavailableError):
                    await held.streams.look()


class _EnoughError(BaseException):
    """Ends a loop that nothing else ends."""


async def test_defects_do_not_end_the_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a look or a valuation raises is told in the log once, and the next one comes all the same."""
    for loop, step, line in (
        ("look_forever", "look", "positions.look_failed"),
        ("value_forever", "value", "positions.value_failed"),
    ):
        calls: list[None] = []

        async def fail(calls: list[None] = calls) -> None:
            calls.append(None)
            raise KeyError("a defect")

        async def sleep(_: float, calls: list[None] = calls) -> None:
            if len(calls) == 3:
                raise _EnoughError

        async with room(sleep=sleep) as held:
            monkeypatch.setattr(held.streams, step, fail)
            with capture_logs() as lines, pytest.raises(_EnoughError):
                await getattr(held.streams, loop)()
        assert [one["event"] for one in lines] == [line]
        assert isinstance(lines[0]["exc_info"], KeyError)


async def test_what_is_open_is_compared_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of looks that are a second apart every tenth or so compares, too."""
    steps: list[str] = []
    advance: list[SetMonotonic] = []

    async def sleep(seconds: float) -> None:
        if len(steps) == 30:
            raise _EnoughError
        advance[0].seconds += seconds

    async with room(sleep=sleep) as held:
        advance.append(held.monotonic)
        for name in ("look", "compare"):

            async def note(name: str = name) -> None:
                steps.append(name)

            monkeypatch.setattr(held.streams, name, note)
        with pytest.raises(_EnoughError):
            await held.streams.look_forever()
    assert [number for number, name in enumerate(steps, 1) if name == "compare"] == [10, 20, 30]
    assert COMPARE_SECONDS == 10


async def test_positions_of_an_instrument_that_is_listed_no_more() -> None:
    """They are in the snapshot at the price they were opened at, are told, and are valued at nothing else."""
    async with room() as held:
        held.instruments.clear()
        held.prices.clear()
        position = (await held.ours.execute(open_(OWNER, "2"))).position
        assert position is not None
        with held.streams.read(OWNER) as reader:
            (one,) = (await snapshot(reader)).positions
            assert (one.current_price, one.pnl, one.liquidation_price) == ("10000.00", "0.00", "")
            await held.streams.value()
            await held.streams.compare()
            await held.other.execute(liquidate(position.id, owner=OWNER))
            await held.streams.look()
            assert told(await taken(reader)) == [("liquidated", "2", "liquidated")]
