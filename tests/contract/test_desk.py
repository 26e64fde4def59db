"""What the desk does on every store of the ledger, whatever it is made of."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests.support import ledger_model, ledgers
from tests.support.ledger_model import Driver, Level, Listed, Model, instrument, money, quantity
from tests.support.ledgers import (
    LIMITS,
    PLACES,
    CountedIds,
    Place,
    close,
    deposit,
    key,
    liquidate,
    open_,
    withdraw,
    working,
)
from tests.support.market import BTC, NOON, SetClock

from entasis_engine.portfolio.desk import (
    Close,
    Command,
    Deposit,
    Desk,
    IdempotencyMismatchError,
    Liquidate,
    Open,
    PositionNotFoundError,
    Receipt,
    Withdraw,
    is_replayed,
)
from entasis_engine.portfolio.execution import StepError, fill
from entasis_engine.portfolio.ids import SortableIds
from entasis_engine.portfolio.ledger import AccountKind, InsufficientBalanceError, TransactionKind
from entasis_engine.portfolio.margin import LeverageError, Side
from entasis_engine.portfolio.positions import (
    CloseTooLargeError,
    Limits,
    PositionLimitError,
    PositionNotOpenError,
    Status,
)
from entasis_engine.portfolio.sql import SqlStore
from entasis_engine.portfolio.store import LedgerStore, LedgerUnavailableError, MemoryStore, Needs, Work
from entasis_engine.storage.database import open_ledger
from entasis_engine.times import system_clock

FREE, MARGIN = (AccountKind.FREE, "USDT"), (AccountKind.MARGIN, "USDT")
STEPS = int(os.environ.get("ENTASIS_LEDGER_STORE_STEPS", "3000"))
KILLS = int(os.environ.get("ENTASIS_LEDGER_KILLS", "3"))


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return PLACES[request.param](tmp_path)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[LedgerStore]:
    """A store, which after every test adds up."""
    async with place.open() as opened:
        yield opened
        assert await opened.check() == []


@pytest.fixture
async def desk(store: LedgerStore) -> AsyncIterator[Desk]:
    async with working(store) as opened:
        yield opened


async def _all(*commands: Awaitable[Receipt]) -> list[Receipt | BaseException]:
    return await asyncio.gather(*commands, return_exceptions=True)


# What commands do.


async def test_opening_takes_margin_and_fee(desk: Desk, store: LedgerStore) -> None:
    """An opened position is kept as the receipt tells it, and paid from what was free."""
    receipt = await desk.execute(open_(size="1.5", price="64000", leverage="10", fee_rate="0.0005"))
    assert receipt.position is not None
    assert receipt.trade is not None
    assert receipt.position == await store.position("acc_1", receipt.position.id)
    assert (receipt.position.margin, receipt.position.fees_paid) == (Decimal(9600), Decimal(48))
    assert receipt.free == {"USDT": Decimal(100_000 - 9600 - 48)}
    assert await store.balances("acc_1") == {FREE: Decimal(90_352), MARGIN: Decimal(9600)}
    assert (receipt.time, receipt.replayed, receipt.position.open_time) == (NOON, False, NOON)
    assert (receipt.trade.kind, receipt.trade.price, receipt.trade.fee) == (TransactionKind.OPEN, 64_000, 48)


async def test_closing_in_parts_gives_back_margin_and_profit(desk: Desk, store: LedgerStore) -> None:
    """A part takes its share, the whole what is left; each is a trade, and the position ends closed."""
    name = _name(await desk.execute(open_(size="1")))
    part = await desk.execute(close(name, "0.4", "11000"))
    assert part.position is not None
    assert (part.position.size, part.position.status) == (Decimal("0.6"), Status.OPEN)
    whole = await desk.execute(close(name, None, "9500"))
    assert whole.position is not None
    assert whole.trade is not None
    assert (whole.position.size, whole.position.status, whole.position.close_time) == (0, Status.CLOSED, NOON)
    assert whole.trade.realised_pnl == Decimal(-300)
    assert await store.balances("acc_1") == {FREE: Decimal(100_100), MARGIN: Decimal(0)}
    trades = (await store.trades("acc_1", 9, position_id=name)).items
    assert [(one.kind, one.size) for one in trades] == [
        (TransactionKind.CLOSE, Decimal("0.6")),
        (TransactionKind.CLOSE, Decimal("0.4")),
        (TransactionKind.OPEN, Decimal(1)),
    ]


async def test_a_close_is_filled_with_what_is_open(desk: Desk) -> None:
    """The size that is filled is what is open when the command is decided, not when it was sent."""
    name = _name(await desk.execute(open_(size="1")))
    part, whole = await asyncio.gather(desk.execute(close(name, "0.3")), desk.execute(close(name)))
    assert part.trade is not None
    assert whole.trade is not None
    assert (part.trade.size, whole.trade.size) == (Decimal("0.3"), Decimal("0.7"))


async def test_liquidating_takes_the_margin(desk: Desk, store: LedgerStore) -> None:
    """A liquidated position costs its whole margin and nothing more, and cannot be liquidated or closed again."""
    name = _name(await desk.execute(open_(size="1")))
    receipt = await desk.execute(liquidate(name, "8000"))
    assert receipt.position is not None
    assert receipt.position.status is Status.LIQUIDATED
    assert await store.balances("acc_1") == {FREE: Decimal(99_000), MARGIN: Decimal(0)}
    for again in (liquidate(name), close(name)):
        with pytest.raises(PositionNotOpenError):
            await desk.execute(again)


async def test_money_comes_and_goes(desk: Desk, store: LedgerStore) -> None:
    """Deposits and withdrawals change what is free, to the last digit and in any currency."""
    assert (await desk.execute(deposit("0.12345678", currency="BTC"))).free == {"BTC": Decimal("0.12345678")}
    await desk.execute(withdraw("0.02345678", currency="BTC"))
    assert (await store.balances("acc_1"))[AccountKind.FREE, "BTC"] == Decimal("0.1")


async def test_long_decimals_are_exact(desk: Desk, store: LedgerStore) -> None:
    """Notionals with sixteen decimals, and sums with thirty digits, lose nothing on the way."""
    await desk.execute(deposit("1234567890123456789012.00000001"))
    name = _name(await desk.execute(open_(size="0.00001", price="12345.67890123456", leverage="3")))
    receipt = await desk.execute(close(name, None, "23456.78901234567"))
    # 1234567890123456789012.00000001 + 100000 + 0.00001 x (23456.78901234567 - 12345.67890123456)
    assert (await store.balances("acc_1"))[FREE] == Decimal("1234567890123456889012.1111111111111111")
    assert receipt.free == {"USDT": Decimal("1234567890123456889012.1111111111111111")}


async def test_refusals_are_the_rules_and_change_nothing(desk: Desk, store: LedgerStore) -> None:
    """Every rule refuses with its own exception, and nothing is kept of what was refused."""
    name = _name(await desk.execute(open_(size="1")))
    before = await store.holdings("acc_1")
    for command, error in (
        (open_(size="0.000001"), StepError),
        (open_(leverage="21"), LeverageError),
        (open_(size="100", leverage="1"), PositionLimitError),
        (open_(size="99", leverage="1"), InsufficientBalanceError),
        (withdraw("99000.00000001"), InsufficientBalanceError),
        (withdraw("0"), StepError),
        (deposit("-1"), StepError),
        (close(name, "1.00001"), CloseTooLargeError),
        (close(name, "0"), StepError),
        (close(name, owner="acc_2"), PositionNotFoundError),
        (close("pos_nothing"), PositionNotFoundError),
        (liquidate(name, owner="acc_2"), PositionNotFoundError),
    ):
        with pytest.raises(error):
            await desk.execute(command)
    assert await store.holdings("acc_1") == before


async def test_limits_count_what_is_open(store: LedgerStore) -> None:
    """The number of open positions and their notional are limited, also within one group; a close makes room."""
    async with working(store, limits=Limits(2, Decimal(25_000))) as desk:
        outcomes = await _all(*(desk.execute(open_(size="1")) for _ in range(3)))
        assert [type(one) for one in outcomes] == [Receipt, Receipt, PositionLimitError]
        await desk.execute(close(_name(outcomes[0])))
        with pytest.raises(PositionLimitError, match="notional"):
            await desk.execute(open_(size="1.50001"))
        await desk.execute(open_(size="1.5"))


async def test_a_market_that_fails_spoils_nothing_else(desk: Desk) -> None:
    """What a fill raises reaches its caller alone; the others of the group have what they asked for."""
    name = _name(await desk.execute(open_()))

    def gone(_size: Decimal) -> Any:
        raise ConnectionError("no market")

    broken = Close(owner="acc_1", position_id=name, fill=gone, lot=BTC.lot_size, fee_rate=Decimal(0))
    outcomes = await _all(desk.execute(open_()), desk.execute(broken), desk.execute(close(name)))
    assert [type(one) for one in outcomes] == [Receipt, ConnectionError, Receipt]


async def test_a_refused_command_changes_nothing_of_its_group(desk: Desk, store: LedgerStore) -> None:
    """In one group each command sees what those before it did, and the refused ones do nothing."""
    outcomes = await _all(
        desk.execute(withdraw("60000")),
        desk.execute(withdraw("60000")),
        desk.execute(deposit("30000")),
        desk.execute(withdraw("60000")),
        desk.execute(withdraw("1", owner="acc_2")),
    )
    assert [type(one) for one in outcomes] == [Receipt, InsufficientBalanceError, Receipt, Receipt, Receipt]
    assert await store.balances("acc_1") == {FREE: Decimal(10_000)}
    assert await store.balances("acc_2") == {FREE: Decimal(99_999)}


async def test_a_command_that_cannot_be_kept_spoils_nothing_else(desk: Desk, place: Place) -> None:
    """What a database cannot hold fails alone, though it waited together with others."""
    if place.kind == "memory":
        pytest.skip("memory holds anything")
    outcomes = await _all(
        desk.execute(deposit("1")), desk.execute(deposit("1", owner="a\ud800")), desk.execute(deposit("1"))
    )
    assert isinstance(outcomes[0], Receipt)
    assert isinstance(outcomes[1], Exception)
    assert not isinstance(outcomes[1], LedgerUnavailableError)
    assert isinstance(outcomes[2], Receipt)
    assert outcomes[2].free == {"USDT": Decimal(100_002)}


async def test_changed_positions_are_told(store: LedgerStore) -> None:
    """Whoever watches positions is told each one as it is kept."""
    told: list[tuple[str, Status]] = []
    async with working(store, on_position=lambda one: told.append((one.id, one.status))) as desk:
        name = _name(await desk.execute(open_()))
        await desk.execute(close(name))
        with pytest.raises(PositionNotOpenError):
            await desk.execute(close(name))
    assert told == [(name, Status.OPEN), (name, Status.CLOSED)]


# Initial money.


async def test_initial_money_comes_once(desk: Desk, store: LedgerStore) -> None:
    """The first command or read of an owner deposits the initial money, however many there are at once."""
    await asyncio.gather(*(desk.ensure_owner("acc_1") for _ in range(10)), desk.execute(deposit("1")))
    await desk.ensure_owner("acc_1")
    assert await store.balances("acc_1") == {FREE: Decimal(100_001)}
    entries = (await store.entries("acc_1", 9)).items
    assert [(one.transaction_kind, one.amount) for one in entries] == [
        (TransactionKind.DEPOSIT, 1),
        (TransactionKind.DEPOSIT, 100_000),
    ]


async def test_initial_money_does_not_come_again(place: Place) -> None:
    """A desk on the same ledger, later, knows who has had it: also who has withdrawn it all, or never had any."""
    async with place.open() as store, working(store) as desk:
        await desk.execute(withdraw("100000"))
    async with place.open() as store, working(store, paper={}) as desk:
        await desk.ensure_owner("acc_2")
    async with place.open() as store, working(store) as desk:
        await desk.ensure_owner("acc_1")
        await desk.ensure_owner("acc_2")
        assert await store.balances("acc_1") == {FREE: Decimal(0)}
        assert await store.balances("acc_2") == {}


async def test_a_refused_first_command_leaves_the_initial_money(desk: Desk, store: LedgerStore) -> None:
    """An owner whose first command is refused has the initial money all the same."""
    with pytest.raises(InsufficientBalanceError):
        await desk.execute(withdraw("100001"))
    assert await store.balances("acc_1") == {FREE: Decimal(100_000)}


# Idempotency.


async def test_a_repeated_key_has_the_first_answer(desk: Desk, store: LedgerStore) -> None:
    """The same key and request again is answered as before, marked, and does nothing; even after a close."""
    first = await desk.execute(open_(idempotency=key("k")))
    await desk.execute(close(_name(first)))
    again = await desk.execute(open_(price="99999", idempotency=key("k")))
    assert again.replayed
    assert (again.position, again.trade, again.free, again.time) == (first.position, first.trade, first.free, NOON)
    assert again.transaction_id == first.transaction_id
    assert len((await store.positions("acc_1", set(Status), 9)).items) == 1


async def test_a_key_of_another_request_is_refused(desk: Desk) -> None:
    """A key that comes again with another digest is an error, and does nothing."""
    await desk.execute(deposit("1", idempotency=key("k", b"one")))
    with pytest.raises(IdempotencyMismatchError):
        await desk.execute(deposit("2", idempotency=key("k", b"two")))


async def test_keys_belong_to_their_owner(desk: Desk) -> None:
    """Two owners may use one key, and neither sees the other's answer."""
    for owner in ("acc_1", "acc_2"):
        receipt = await desk.execute(open_(owner, idempotency=key("k")))
        assert not receipt.replayed
        assert receipt.position is not None
        assert receipt.position.owner == owner


async def test_one_key_at_once_opens_one_position(desk: Desk, store: LedgerStore) -> None:
    """Of many with one key in one group one is done, and the others have its answer."""
    receipts = await asyncio.gather(*(desk.execute(open_(idempotency=key("k"))) for _ in range(20)))
    assert len({_name(one) for one in receipts}) == 1
    assert sorted(one.replayed for one in receipts) == [False] + [True] * 19
    assert len(await store.open_positions()) == 1


@pytest.mark.parametrize(
    ("command", "mended"),
    [
        (withdraw("100001", idempotency=key("k")), deposit("5000")),
        (open_(size="100", leverage="1", idempotency=key("k")), deposit("5000")),
        (open_(size="101", idempotency=key("k")), deposit("5000")),
    ],
)
async def test_refusals_of_the_ledger_are_repeated(desk: Desk, command: Command, mended: Command) -> None:
    """What balance or limits refused stays refused for its key, word for word, and is marked."""
    first, _, second = await _all(*map(desk.execute, (command, mended, command)))
    assert type(first) is type(second) in {InsufficientBalanceError, PositionLimitError}
    assert str(first) == str(second)
    assert not is_replayed(first)  # type: ignore[arg-type]
    assert is_replayed(second)  # type: ignore[arg-type]


async def test_refused_closes_are_repeated(desk: Desk) -> None:
    """So it is with what was too large or no longer open."""
    name = _name(await desk.execute(open_()))
    large = close(name, "2", idempotency=key("large"))
    late = close(name, idempotency=key("late"))
    first = await _all(desk.execute(large), desk.execute(close(name)), desk.execute(late))
    second = await _all(desk.execute(large), desk.execute(late))
    assert [str(first[0]), str(first[2])] == [str(one) for one in second]
    assert [type(one) for one in second] == [CloseTooLargeError, PositionNotOpenError]


async def test_what_failed_before_the_ledger_may_be_tried_again(desk: Desk) -> None:
    """A key whose command was malformed, or met no market, is free to be used."""
    name = _name(await desk.execute(open_()))
    with pytest.raises(StepError):
        await desk.execute(deposit("0.000000001", idempotency=key("k")))
    assert not (await desk.execute(deposit("1", idempotency=key("k")))).replayed
    with pytest.raises(PositionNotFoundError):
        await desk.execute(close("pos_none", idempotency=key("c")))
    assert not (await desk.execute(close(name, idempotency=key("c")))).replayed


async def test_answers_are_kept_for_a_day(store: LedgerStore) -> None:
    """After 24 hours a key is forgotten, whether its record has been purged or not."""
    clock = SetClock()
    async with working(store, clock=clock) as desk:
        for name in ("a", "b", "c"):
            await desk.execute(deposit("1", idempotency=key(name)))
        clock.now += timedelta(hours=24)
        assert (await desk.execute(deposit("1", idempotency=key("a")))).replayed
        assert await store.purge(clock.now - timedelta(hours=24), 10) == 0
        clock.now += timedelta(milliseconds=1)
        assert not (await desk.execute(deposit("1", idempotency=key("a")))).replayed
        assert (await desk.execute(deposit("1", idempotency=key("a")))).replayed
        assert [await store.purge(clock.now - timedelta(hours=24), 1) for _ in range(3)] == [1, 1, 0]
        assert (await desk.execute(deposit("1", idempotency=key("a")))).replayed


async def test_purging_goes_on(store: LedgerStore) -> None:
    """The purge looks again and again, at the time that the clock tells."""
    clock, waits = SetClock(), asyncio.Queue[float](1)
    async with working(store, clock=clock, sleep=waits.put) as desk:
        await desk.execute(deposit("1", idempotency=key("k")))
        purging = asyncio.create_task(desk.purge_forever())
        await waits.get()
        clock.now += timedelta(days=2)
        for _ in range(3):
            await waits.get()
        purging.cancel()
        await asyncio.wait([purging])
        assert await store.purge(clock.now, 10) == 0


# The queue, and what goes wrong.


class Gate:
    """A store whose transactions wait until they are let through, or fail after they were decided."""

    def __init__(self, store: LedgerStore) -> None:
        self._store = store
        self.open = asyncio.Event()
        self.began = asyncio.Event()
        self.groups: list[Needs] = []
        self.failing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def transact(self, needs: Needs, work: Work) -> None:
        self.groups.append(needs)
        self.began.set()
        await self.open.wait()
        if self.failing:
            work(await _known(self._store, needs))
            raise LedgerUnavailableError("the disk is full")
        await self._store.transact(needs, work)


async def _known(store: LedgerStore, needs: Needs) -> Any:
    found: list[Any] = []

    def look(known: Any) -> Any:
        found.append(known)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.transact(needs, look)
    return found[0]


async def test_what_waits_is_one_group(store: LedgerStore) -> None:
    """While a group is being kept, all that comes waits and is the next one; at most so many."""
    gate = Gate(store)
    async with working(gate, group_commands_max=5) as desk:
        first = asyncio.create_task(desk.execute(deposit("1")))
        await gate.began.wait()
        rest = [asyncio.create_task(desk.execute(deposit("1", owner=f"acc_{number}"))) for number in range(12)]
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(first, *rest)
        assert [len(needs.owners) for needs in gate.groups] == [1, 5, 5, 2]


async def test_a_group_that_cannot_be_kept_fails_for_all_and_leaves_nothing(store: LedgerStore) -> None:
    """A commit that fails is told to every caller as worth another try; afterwards it is as if they had not asked."""
    gate = Gate(store)
    gate.open.set()
    async with working(gate) as desk:
        await desk.execute(deposit("1"))
        gate.failing = True
        failed = await _all(*(desk.execute(open_(idempotency=key(str(number)))) for number in range(5)))
        assert {type(one) for one in failed} == {LedgerUnavailableError}
        assert len({id(one) for one in failed}) == 5
        with pytest.raises(LedgerUnavailableError):
            await desk.ensure_owner("acc_2")
        gate.failing = False
        assert await store.open_positions() == []
        assert not (await desk.execute(open_(idempotency=key("0")))).replayed
        assert await store.balances("acc_1") == {FREE: Decimal(99_001), MARGIN: Decimal(1000)}
        assert await store.balances("acc_2") == {}


async def test_a_full_queue_makes_callers_wait_to_their_deadline() -> None:
    """When too many wait, the next waits for a place, and is told in time that there is none."""
    gate = Gate(MemoryStore())
    async with working(gate, queue_commands_max=1) as desk:
        taken = asyncio.create_task(desk.execute(deposit("1")))
        await gate.began.wait()
        waiting = asyncio.create_task(desk.execute(deposit("1")))
        await asyncio.sleep(0)
        with pytest.raises(LedgerUnavailableError, match="too many"):
            await desk.execute(deposit("1"), deadline_seconds=0)
        patient = asyncio.create_task(desk.execute(deposit("1"), deadline_seconds=60))
        await asyncio.sleep(0)
        gate.open.set()
        assert [one.free["USDT"] for one in await asyncio.gather(taken, waiting, patient)] == [
            100_001,
            100_002,
            100_003,
        ]


async def test_who_gives_up_before_the_turn_is_passed_over() -> None:
    """A command whose caller was cancelled while it waited is not done; one at work is."""
    store = MemoryStore()
    gate = Gate(store)
    async with working(gate) as desk:
        at_work = asyncio.create_task(desk.execute(deposit("1")))
        await gate.began.wait()
        waiting = asyncio.create_task(desk.execute(deposit("2")))
        other = asyncio.create_task(desk.execute(deposit("4")))
        await asyncio.sleep(0)
        for caller in (at_work, waiting):
            caller.cancel()
        await asyncio.wait([at_work, waiting])
        gate.open.set()
        assert (await other).free == {"USDT": Decimal(100_005)}


async def test_a_desk_that_stops_finishes_its_group_and_tells_the_rest() -> None:
    """On stopping, the group at work is kept and answered; who waits, in the queue or for it, is told to try again."""
    gate = Gate(MemoryStore())
    desk = Desk(gate, limits=LIMITS, paper={}, clock=SetClock(), new_id=CountedIds(), queue_commands_max=2)
    writing = asyncio.create_task(desk.write_forever())
    at_work = asyncio.create_task(desk.execute(deposit("1")))
    await gate.began.wait()
    others = [asyncio.create_task(desk.execute(deposit("1"), deadline_seconds=60)) for _ in range(10)]
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.wait([writing])
    assert (await at_work).free == {"USDT": Decimal(1)}
    async with asyncio.timeout(30):
        outcomes = await _all(*others)
    assert {type(one) for one in outcomes} == {LedgerUnavailableError}
    with pytest.raises(LedgerUnavailableError):
        await desk.execute(deposit("1"))


async def test_a_cancelled_group_leaves_the_store_usable(store: LedgerStore) -> None:
    """However a desk is stopped, what it began is kept or not, and the next desk works."""
    new_id = SortableIds(system_clock)
    for turns in range(1, 12):
        async with working(store, new_id=new_id) as desk:
            asking = [asyncio.create_task(desk.execute(open_(price="10", owner=f"acc_{n}"))) for n in range(3)]
            for _ in range(turns):
                await asyncio.sleep(0)
        await asyncio.wait(asking)
        assert {type(one.exception()) for one in asking} <= {type(None), LedgerUnavailableError}
    async with working(store, new_id=new_id) as desk, asyncio.timeout(10):
        await desk.execute(deposit("1"))


async def test_a_full_disk_is_told_and_survived(tmp_path: Path) -> None:
    """When a SQLite file cannot grow, every caller is told to try again; when it can, all goes on as if nothing was."""
    async with open_ledger(ledgers.sqlite(tmp_path).url) as database:
        store = SqlStore(database)
        async with working(store) as desk:
            await desk.execute(open_())
            async with database.writer.connect() as connection:
                pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
                await connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
            big = [open_(f"acc_{number}", idempotency=key("k" * 1000)) for number in range(200)]
            assert {type(one) for one in await _all(*map(desk.execute, big))} == {LedgerUnavailableError}
            async with database.writer.connect() as connection:
                await connection.exec_driver_sql("PRAGMA max_page_count=1000000")
            assert await store.check() == []
            assert {type(one) for one in await _all(*map(desk.execute, big))} == {Receipt}
            assert len(await store.open_positions()) == 201
            assert await store.check() == []


# Several engines on one PostgreSQL.


async def test_two_engines_share_a_ledger(tmp_path: Path) -> None:
    """Two engines with the same owners and keys do each thing once, never spend money twice, and add up together."""
    place = ledgers.postgresql(tmp_path)
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(place.open()) for _ in range(2)]
        desks = [await stack.enter_async_context(working(store, new_id=SortableIds(system_clock))) for store in stores]
        chance = random.Random(1)
        owners = ["acc_1", "acc_2", "acc_3", "house"]
        for round_number in range(15):
            commands: list[Open | Withdraw] = [
                open_(chance.choice(owners), price="20000", idempotency=key(f"{round_number}-{number % 20}"))
                for number in range(40)
            ]
            commands += [withdraw("30000", owner) for owner in owners]
            chance.shuffle(commands)
            asked = [(desk, command) for command in commands for desk in desks]
            outcomes = await _all(*(desk.execute(command) for desk, command in asked))
            kinds = {type(one) for one in outcomes}
            assert kinds <= {Receipt, InsufficientBalanceError, PositionLimitError}
            answers: dict[tuple[str, str], set[str]] = {}
            for (_, command), outcome in zip(asked, outcomes, strict=True):
                if command.idempotency is not None:
                    told = _name(outcome) if isinstance(outcome, Receipt) else str(outcome)
                    answers.setdefault((command.owner, command.idempotency.key), set()).add(told)
            assert {len(told) for told in answers.values()} == {1}
        assert await stores[0].check() == []
        withdrawn = [
            one
            for one in (await stores[1].entries("acc_1", 1000)).items
            if one.transaction_kind is TransactionKind.WITHDRAWAL
        ]
        assert 1 <= len(withdrawn) <= 3


async def test_a_deadlock_or_a_broken_connection_is_tried_again(tmp_path: Path) -> None:
    """What PostgreSQL undoes for no fault of the group's, and a connection that breaks before the commit, no caller
    ever hears of.
    """
    place = ledgers.postgresql(tmp_path)
    async with open_ledger(place.url) as database, open_ledger(place.url) as other:
        store = SqlStore(database)
        async with working(store) as desk:
            await asyncio.gather(desk.execute(deposit("1", "acc_1")), desk.execute(deposit("1", "acc_2")))
            async with other.writer.begin() as connection:
                await connection.execute(text("SET LOCAL deadlock_timeout = '1h'"))
                await connection.execute(text("SELECT 1 FROM owners WHERE id = 'acc_2' FOR UPDATE"))
                both = asyncio.gather(desk.execute(deposit("1", "acc_1")), desk.execute(deposit("1", "acc_2")))
                await _waits_for_lock(database)
                await connection.execute(text("SELECT 1 FROM owners WHERE id = 'acc_1' FOR UPDATE"))
            assert [one.free["USDT"] for one in await both] == [100_002, 100_002]
            async with other.writer.begin() as connection:
                await connection.execute(text("SELECT 1 FROM owners WHERE id = 'acc_2' FOR UPDATE"))
                one = asyncio.create_task(desk.execute(deposit("1", "acc_2")))
                process = await _waits_for_lock(database)
                await connection.execute(text(f"SELECT pg_terminate_backend({process})"))
            assert (await one).free["USDT"] == 100_003
        assert await store.check() == []


async def _waits_for_lock(database: Any) -> int:
    """The server's process that waits for a lock, as soon as there is one."""
    waits = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with asyncio.timeout(20):
        while True:
            async with database.reader.connect() as connection:
                if (process := (await connection.execute(text(waits))).scalar()) is not None:
                    return int(process)


# Long runs.


class Asked:
    """In place of `ledger_model.Both`: what is done to the model is asked of a desk, many things at once."""

    def __init__(self, desk: Desk) -> None:
        self.model = Model()
        self.positions = self.model.held
        self._desk = desk
        self._opens = 0
        self._asked: list[tuple[asyncio.Task[Receipt], ledger_model.Outcome]] = []

    def deposit(self, owner: str, currency: str, amount: int) -> None:
        command = Deposit(owner=owner, currency=currency, amount=money(amount))
        self._ask(command, self.model.deposit(owner, currency, amount))

    def withdraw(self, owner: str, currency: str, amount: int) -> None:
        command = Withdraw(owner=owner, currency=currency, amount=money(amount))
        self._ask(command, self.model.withdraw(owner, currency, amount))

    def open(
        self,
        owner: str,
        listed: Listed,
        long: bool,
        size: int,
        leverage: int,
        fee_rate: int,
        book: Sequence[Level],
        last: int,
    ) -> str:
        name = f"pos_{self._opens + 1:06}"
        command = Open(
            owner=owner,
            instrument=instrument(listed),
            side=Side.LONG if long else Side.SHORT,
            size=quantity(size),
            fill=_market(book, last),
            leverage=Decimal(leverage).scaleb(-4),
            fee_rate=Decimal(fee_rate).scaleb(-6),
        )
        outcome = self.model.open(name, owner, listed, long, size, leverage, fee_rate, book, last)
        self._opens += outcome[0] != "step"  # of that one the desk takes no id
        self._ask(command, outcome)
        return name

    def close(self, name: str, size: int, fee_rate: int, book: Sequence[Level], last: int) -> None:
        held = self.model.held[name]
        command = Close(
            owner=held.owner,
            position_id=name,
            fill=_market(book, last),
            lot=quantity(held.listed.lot),
            fee_rate=Decimal(fee_rate).scaleb(-6),
            size=quantity(size),
        )
        self._ask(command, self.model.close(name, size, fee_rate, book, last))

    def liquidate(self, name: str, book: Sequence[Level], last: int) -> None:
        command = Liquidate(owner=self.model.held[name].owner, position_id=name, fill=_market(book, last))
        self._ask(command, self.model.liquidate(name, book, last))

    def forget(self, name: str) -> None:
        """The model keeps all, for the end."""

    async def compare(self) -> None:
        """Wait for all that was asked; each must have come to what it came to in the model."""
        for asking, expected in self._asked:
            await asyncio.wait([asking])
            assert ledger_model._outcome(lambda: _raise(asking.exception())) == expected  # noqa: B023 - called at once
        self._asked.clear()

    def _ask(self, command: Command, expected: ledger_model.Outcome) -> None:
        self._asked.append((asyncio.ensure_future(self._desk.execute(command)), expected))


def _market(book: Sequence[Level], last: int) -> Any:
    return lambda size: fill([(quantity(price), quantity(one)) for price, one in book], quantity(last), size)


def _raise(error: BaseException | None) -> None:
    if error is not None:
        raise error


async def test_a_long_random_run_is_as_in_the_model(store: LedgerStore) -> None:
    """Some thousand random commands, in groups of any size, come to what a second account of the rules says."""
    chance = random.Random(7)
    limits = Limits(ledger_model.POSITIONS_MAX, Decimal(ledger_model.NOTIONAL_MAX))
    async with working(store, limits=limits, paper={}) as desk:
        driver = Driver(seed=7)
        asked = Asked(desk)
        driver.both = asked  # type: ignore[assignment]
        done = 0
        while done < STEPS:
            group = min(chance.choice((1, 2, 10, 60)), STEPS - done)
            for _ in range(group):
                driver.step()
            await asked.compare()
            done += group
        for owner in ledger_model.OWNERS:
            balances = {
                (owner, str(kind), currency): ledger_model.units(amount)
                for (kind, currency), amount in (await store.balances(owner)).items()
                if amount
            }
            expected = {
                where: amount
                for where, amount in asked.model.balances.items()
                if where[0] == owner and where[1] in {"free", "margin"} and amount
            }
            assert balances == expected
            everything = (await store.positions(owner, set(Status), 10_000)).items
            held = {name: one for name, one in asked.model.held.items() if one.owner == owner}
            assert {
                one.id: (
                    ledger_model.units(one.size) // 10**8,
                    *map(ledger_model.units, (one.entry_notional, one.margin, one.fees_paid, one.realised_pnl)),
                    str(one.status),
                )
                for one in everything
            } == {
                name: (one.size, one.notional, one.margin, one.fees, one.realised, one.status)
                for name, one in held.items()
            }
    assert await store.check() == []


KILLED = """
import asyncio, sys
from tests.support.ledgers import at_url, close, key, open_, working
from entasis_engine.portfolio.ids import SortableIds
from entasis_engine.times import system_clock

async def main(url, run):
    async with at_url("", url).open() as store, working(store, new_id=SortableIds(system_clock)) as desk:
        async def call(caller):
            number = 0
            while True:
                name = f"{run}-{caller}-{number}"
                receipt = await desk.execute(open_(f"acc_{caller % 5}", price="10", idempotency=key(name)))
                print(f"open {caller % 5} {name} {receipt.position.id}", flush=True)
                closing = close(receipt.position.id, price="11", owner=f"acc_{caller % 5}", idempotency=key("c" + name))
                await desk.execute(closing)
                print(f"close {caller % 5} {name} {receipt.position.id}", flush=True)
                number += 1
        await asyncio.gather(*(call(caller) for caller in range(16)))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_killed_engine_loses_and_doubles_nothing(kind: str, tmp_path: Path) -> None:
    """After kill -9 under load all that was acknowledged is there once, what was not is there once or not at all, and
    the ledger adds up; sent again, every command has its first answer.
    """
    place = PLACES[kind](tmp_path)
    told: dict[str, dict[tuple[str, str], str]] = {"open": {}, "close": {}}
    for run in range(KILLS):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, place.url, str(run)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        ) as engine:
            assert engine.stdout is not None
            lines = [engine.stdout.readline() for _ in range(150)]
            engine.send_signal(signal.SIGKILL)
            lines += [line for line in engine.stdout if line.endswith("\n")]
        for line in lines:
            what, owner, name, position_id = line.split()
            assert (owner, name) not in told[what]
            told[what][owner, name] = position_id
        async with place.open() as store:
            assert await store.check() == []
            kept = {one.id: one for owner in range(5) for one in await _everything(store, f"acc_{owner}")}
            for position_id in told["open"].values():
                assert position_id in kept
            for position_id in told["close"].values():
                assert kept[position_id].status is Status.CLOSED
            async with working(store, new_id=SortableIds(system_clock)) as desk:
                again = await asyncio.gather(
                    *(
                        desk.execute(open_(f"acc_{owner}", price="10", idempotency=key(name)))
                        for owner, name in told["open"]
                    )
                )
                assert all(one.replayed for one in again)
                assert [_name(one) for one in again] == list(told["open"].values())
                # What was not acknowledged: at most one of each caller.
                assert len(kept) - len(told["open"]) <= 16 * (run + 1)
            assert len({one for owner in range(5) for one in await _everything(store, f"acc_{owner}")}) == len(kept)
            assert await store.check() == []


async def _everything(store: LedgerStore, owner: str) -> Sequence[Any]:
    return (await store.positions(owner, set(Status), 100_000)).items


def _name(outcome: object) -> str:
    assert isinstance(outcome, Receipt)
    assert outcome.position is not None
    return outcome.position.id
