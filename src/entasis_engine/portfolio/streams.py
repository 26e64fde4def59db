"""Streams of owners' positions: all that are open, and then every change, whoever made it.

What this desk does is told at once. What other engines do on the same ledger is found by looking at the trades of the
followed owners every second, and should clocks differ too far for that, by comparing all that is open every ten
(docs/decisions/0013-changes-by-other-engines-are-looked-for.md). Whatever way the news comes, and however often, a
position goes one way alone: it is opened, becomes smaller, and ends. So of two states of a position the smaller one is
the newer, and what was told before is not told again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import TypeVar

import structlog

from entasis.portfolio.v1 import portfolio_pb2 as pb
from entasis_engine.errors import EntasisError
from entasis_engine.market.hub import SEQ_PER_MILLISECOND
from entasis_engine.portfolio import metrics
from entasis_engine.portfolio.positions import Position, Status
from entasis_engine.portfolio.store import LedgerStore, LedgerUnavailableError, State, TooManyTradedError
from entasis_engine.portfolio.wire import LastPrice
from entasis_engine.telemetry.metrics import CONFLATED
from entasis_engine.times import Clock, Monotonic, to_milliseconds

log = structlog.get_logger()

T = TypeVar("T")

SNAPSHOT = "snapshot"
OPENED = "opened"
CHANGED = "changed"
CLOSED = "closed"
LIQUIDATED = "liquidated"
PRICE = "price"

PRICE_SECONDS = 0.5
"""Between looks at the prices. Nobody reads a number that changes faster, and each costs every position an encoding;
whoever needs each trade has the prices themselves.
"""
LOOK_SECONDS = 1.0
"""Between looks at the ledger."""
OVERLAP = timedelta(seconds=30)
"""How far back they go. A trade has the time of the clock of the engine that made it, and may be seen only later, when
it is kept: the locks that it waits for are given up after seconds. The rest is for clocks that differ.
"""
COMPARE_SECONDS = 10.0
"""Between comparisons of all that is open: they find what an engine did whose clock is wrong by more than that."""
ANSWER_SECONDS = 15.0
"""For the ledger to answer: longer than its database allows itself."""
OWNERS_PER_LOOK = 500
STATES_PER_LOOK = 2000
"""Where more positions were traded, of fewer owners at a time; of a single owner, all that is open is compared."""
BATCH_UPDATES_MAX = 1000
"""So that a batch stays far below the 4 MiB that clients take."""
TOLD_AT_ONCE = 50
"""Positions; then others have their turn."""


class _Account:
    """What is followed of one owner."""

    def __init__(self, owner: str, first_seq: int) -> None:
        self.owner = owner
        self.seq = first_seq
        self.open: dict[str, Position] = {}
        self.ended: dict[str, datetime] = {}
        """Positions that an older state could still be read of though they have ended, and since when: by our clock, or
        where it is later, by that of the engine that ended them.
        """
        self.shown: dict[str, Decimal | None] = {}
        """The price that each open position was last told at."""
        self.readers: set[_Reader] = set()
        self.loaded = False
        self.loading = asyncio.Lock()
        self.since: datetime | None = None
        """How far back the next look goes."""


class _Reader:
    """What waits for one reader: a snapshot, then updates in order.

    Where more than `capacity` would wait, only the newest of each position is kept, until all are taken. Where even
    they would be more, they give way to a new snapshot.
    """

    def __init__(self, begin: Callable[[], Awaitable[bytes]], capacity: int) -> None:
        self._begin = begin
        self._capacity = capacity
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._newest: dict[str, bytes] = {}
        """By position, last changed last; where it has any, all that waits is here."""
        self._filled = asyncio.Event()
        self._begins = True
        """Whether a snapshot comes next, which has all that happens until it is taken."""

    def put(self, position_id: str, encoded: bytes) -> None:
        """Add an update; never waits."""
        if self._begins:
            return
        if not self._newest and len(self._waiting) < self._capacity:
            self._waiting.append((position_id, encoded))
            self._filled.set()
            return
        while self._waiting:
            self._replace(*self._waiting.popleft())
        self._replace(position_id, encoded)
        if len(self._newest) > self._capacity:
            CONFLATED.inc(len(self._newest))
            self._newest.clear()
            self._begins = True

    async def take(self) -> bytes:
        """What waits, as one encoded response; waits until there is something."""
        if not self._begins:
            await self._filled.wait()
        if self._begins:
            snapshot = await self._begin()
            # No wait from here on: what is published next comes after the snapshot.
            self._begins = False
            self._filled.clear()
            return snapshot
        if self._newest:
            batch = [self._newest.pop(one) for one in list(islice(self._newest, BATCH_UPDATES_MAX))]
        else:
            batch = [self._waiting.popleft()[1] for _ in range(min(len(self._waiting), BATCH_UPDATES_MAX))]
        if not self._waiting and not self._newest:
            self._filled.clear()
        return b"".join(batch)  # responses of one update each, joined: a response of all of them

    def _replace(self, position_id: str, encoded: bytes) -> None:
        if self._newest.pop(position_id, None) is not None:  # so that the order is that of the last change
            CONFLATED.inc()
        self._newest[position_id] = encoded


class PositionStreams:
    """Follows the owners that somebody reads. `look_forever` and `value_forever` must run somewhere; `changed` is told
    of what the desk did.

    Args:
        describe: a position as the contract has it, at the last price.
        queue_max: updates that may wait for one reader before only the newest are kept.
        answer_seconds: for the ledger to answer.
    """

    def __init__(
        self,
        store: LedgerStore,
        describe: Callable[[Position], pb.Position],
        last_price: LastPrice,
        *,
        clock: Clock,
        monotonic: Monotonic,
        queue_max: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._store = store
        self._describe = describe
        self._last_price = last_price
        self._clock = clock
        self._monotonic = monotonic
        self._queue_max = queue_max
        self._sleep = sleep
        self._answer_seconds = answer_seconds
        self._accounts: dict[str, _Account] = {}
        self._highest_seq = 0
        """Given to an account that is followed no more; should the clock go back, numbers do not."""

    @contextmanager
    def read(self, owner: str) -> Iterator[_Reader]:
        """What one reader gets of an owner's positions: encoded `StreamPositionsResponse`, a snapshot first.

        Its `take` may raise SERVER_002, where the ledger cannot be read.
        """
        account = self._accounts.get(owner)
        if account is None:
            first_seq = max(to_milliseconds(self._clock()) * SEQ_PER_MILLISECOND, self._highest_seq + 1)
            account = self._accounts[owner] = _Account(owner, first_seq)
            metrics.FOLLOWED.inc()

        async def begin() -> bytes:
            await self._load(account)
            return _encoded(SNAPSHOT, account.seq, [self._describe(one) for one in _oldest_first(account)])

        reader = _Reader(begin, self._queue_max)
        account.readers.add(reader)  # before the ledger is asked, so that nothing falls in between
        try:
            yield reader
        finally:
            account.readers.discard(reader)
            if not account.readers:
                del self._accounts[owner]
                self._highest_seq = max(self._highest_seq, account.seq)
                metrics.FOLLOWED.dec()

    def changed(self, position: Position) -> None:
        """A position is now like this, which is kept."""
        account = self._accounts.get(position.owner)
        if account is not None:
            self._take_in(account, position)

    async def look_forever(self) -> None:
        """Look for changes that others made, again and again."""
        failing = False
        compared = self._monotonic()
        while True:
            await self._sleep(LOOK_SECONDS)
            try:
                if self._monotonic() - compared < COMPARE_SECONDS:
                    await self.look()
                else:
                    await self.compare()
                    compared = self._monotonic()
            except LedgerUnavailableError as error:
                if not failing:  # a line for the outage, not for each look
                    log.warning("positions.not_current", reason=str(error))
                failing = True
            except Exception as error:  # a defect here must not end the engine, and with it the desk
                if not failing:
                    log.error("positions.look_failed", exc_info=error)
                failing = True
            else:
                failing = False

    async def value_forever(self) -> None:
        """Look at the prices again and again; where there is much to tell, that takes half of the time at most."""
        failing = False
        while True:
            started = self._monotonic()
            try:
                await self.value()
            except Exception as error:  # nor must one here
                if not failing:
                    log.error("positions.value_failed", exc_info=error)
                failing = True
            else:
                failing = False
            await self._sleep(max(PRICE_SECONDS, self._monotonic() - started))

    async def look(self) -> None:
        """Tell what others changed by now. Raises `LedgerUnavailableError`; then the next look goes back further."""
        begun = self._clock()
        followed = [account for account in self._accounts.values() if account.loaded]
        for start in range(0, len(followed), OWNERS_PER_LOOK):
            asked = followed[start : start + OWNERS_PER_LOOK]
            await self._look_at(asked)
            for account in asked:
                account.since = begun - OVERLAP
                for position_id in [one for one, time in account.ended.items() if time < account.since]:
                    del account.ended[position_id]

    async def compare(self) -> None:
        """Look, and tell what no look has found: what is open in the ledger and not here, or the other way round.

        Raises `LedgerUnavailableError`.
        """
        followed = [account for account in self._accounts.values() if account.loaded]
        differing: list[tuple[_Account, list[str]]] = []
        for start in range(0, len(followed), OWNERS_PER_LOOK):
            differing += await self._differing(followed[start : start + OWNERS_PER_LOOK])
        await self.look()  # what is merely new is not among what was missed
        for account, names in differing:
            missed = await self._take_in_all([account], await self._answer(self._store.named(names)))
            if missed:
                log.warning("positions.missed", account=account.owner, positions=missed)

    async def _look_at(self, asked: Sequence[_Account]) -> None:
        """Tell what some accounts have traded."""
        by_owner = {account.owner: account for account in asked}
        since = min(account.since for account in asked if account.since is not None)
        try:
            found = await self._answer(
                self._store.traded_since(
                    list(by_owner),
                    since,
                    is_news=lambda state: _is_news(by_owner[state.owner], state),
                    states_max=STATES_PER_LOOK,
                )
            )
        except TooManyTradedError:
            if len(asked) > 1:
                for half in (asked[: len(asked) // 2], asked[len(asked) // 2 :]):
                    await self._look_at(half)
                return
            found = []
            for _, names in await self._differing(asked):
                found += await self._answer(self._store.named(names))
        await self._take_in_all(asked, found)

    async def _differing(self, asked: Sequence[_Account]) -> list[tuple[_Account, list[str]]]:
        """Of which positions accounts have another picture than the ledger; of those that differ."""
        known = {account.owner: set(account.open) for account in asked}  # what is opened meanwhile is not missing there
        states: dict[str, list[State]] = {account.owner: [] for account in asked}
        for state in await self._answer(self._store.open_states(list(states))):
            states[state.owner].append(state)
        differing = []
        for account in asked:
            there = states[account.owner]
            gone = known[account.owner].difference(one.id for one in there) & account.open.keys()
            if names := [*gone, *(one.id for one in there if _is_news(account, one))]:
                differing.append((account, names))
        return differing

    async def _take_in_all(self, accounts: Iterable[_Account], found: Iterable[Position]) -> int:
        """Tell what is new about positions of some accounts; of how many there was anything."""
        by_owner = {account.owner: account for account in accounts}
        news = 0
        for number, position in enumerate(found, 1):
            news += self._take_in(by_owner[position.owner], position)
            if number % TOLD_AT_ONCE == 0:
                await asyncio.sleep(0)
        return news

    async def _answer(self, asked: Awaitable[T]) -> T:
        """What the ledger answers. Raises `LedgerUnavailableError` where it takes too long."""
        try:
            async with asyncio.timeout(self._answer_seconds):
                return await asked
        except TimeoutError:
            raise LedgerUnavailableError("the ledger does not answer") from None

    async def value(self) -> None:
        """Tell what the prices make of open positions, where they changed."""
        told = 0
        for account in list(self._accounts.values()):
            for position_id in list(account.open) if account.loaded else ():
                position = account.open.get(position_id)
                if position is None or self._price(position) == account.shown.get(position_id):
                    continue
                self._publish(account, PRICE, position)
                told += 1
                if told % TOLD_AT_ONCE == 0:
                    await asyncio.sleep(0)

    async def _load(self, account: _Account) -> None:
        """Read what is open, once. What the desk tells meanwhile is taken in, too, and counts where it is newer.

        Raises SERVER_002.
        """
        async with account.loading:
            if account.loaded:
                return
            account.since = self._clock() - OVERLAP
            try:
                # In this order: what ends in between is told, rather than neither shown nor told.
                ended = await self._answer(
                    self._store.traded_since(
                        [account.owner], account.since, is_news=lambda state: state.status is not Status.OPEN
                    )
                )
                found = await self._answer(self._store.open_positions(account.owner))
            except LedgerUnavailableError:
                raise EntasisError("UNAVAILABLE") from None
            for position in (*ended, *found):
                self._take_in(account, position)
            account.loaded = True

    def _take_in(self, account: _Account, position: Position) -> bool:
        """Tell what is new about a position; whether there was anything."""
        known = account.open.get(position.id)
        if not _goes_on(account, position.id, position.size):
            return False
        if position.status is Status.OPEN:
            account.open[position.id] = position
            self._publish(account, OPENED if known is None else CHANGED, position)
        else:
            account.open.pop(position.id, None)
            now = self._clock()
            account.ended[position.id] = max(position.close_time or now, now)
            self._publish(account, CLOSED if position.status is Status.CLOSED else LIQUIDATED, position)
        return True

    def _publish(self, account: _Account, event: str, position: Position) -> None:
        account.seq += 1
        if position.status is Status.OPEN:
            account.shown[position.id] = self._price(position)
        else:
            account.shown.pop(position.id, None)
        if not account.loaded:
            return  # all its readers begin with a snapshot
        encoded = _encoded(event, account.seq, [self._describe(position)])
        for reader in account.readers:
            reader.put(position.id, encoded)

    def _price(self, position: Position) -> Decimal | None:
        last = self._last_price(position.symbol)
        return None if last is None else last[0]


def _goes_on(account: _Account, position_id: str, size: Decimal) -> bool:
    """Whether a position of this size is newer than what the account knows of it."""
    known = account.open.get(position_id)
    return position_id not in account.ended and (known is None or size < known.size)


def _is_news(account: _Account, state: State) -> bool:
    """Whether to tell of a position. What ended before the account was followed is no news, unless it was shown as
    open: then it ended by the clock of an engine that is behind.
    """
    if state.close_time is not None and account.since is not None and state.close_time < account.since:
        return state.id in account.open
    return _goes_on(account, state.id, state.size)


def _oldest_first(account: _Account) -> list[Position]:
    return sorted(account.open.values(), key=lambda one: (one.open_time, one.id))


def _encoded(event: str, seq: int, positions: Sequence[pb.Position]) -> bytes:
    update = pb.PositionUpdate(event=event, seq=seq, positions=positions)
    return pb.StreamPositionsResponse(updates=[update]).SerializeToString()
