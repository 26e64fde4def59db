"""Streams of owners' positions: all that are open, and then every change, whoever made it.

What this desk does is told at once. What other engines do on the same ledger is found by looking at the trades of the
followed owners every second (docs/decisions/0013-changes-by-other-engines-are-looked-for.md). Whatever way the news
comes, and however often, a position goes one way alone: it is opened, becomes smaller, and ends. So of two states of a
position the smaller one is the newer, and what was told before is not told again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal

import structlog

from entasis.portfolio.v1 import portfolio_pb2 as pb
from entasis_engine.errors import EntasisError
from entasis_engine.market.hub import SEQ_PER_MILLISECOND
from entasis_engine.portfolio import metrics
from entasis_engine.portfolio.positions import Position, Status
from entasis_engine.portfolio.store import LedgerStore, LedgerUnavailableError
from entasis_engine.portfolio.wire import LastPrice
from entasis_engine.telemetry.metrics import CONFLATED
from entasis_engine.times import Clock, Monotonic, to_milliseconds

log = structlog.get_logger()

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
OWNERS_PER_LOOK = 500
BATCH_UPDATES_MAX = 1000
"""So that a batch stays far below the 4 MiB that clients take."""
VALUED_AT_ONCE = 50
"""Positions; then others have their turn."""


class _Account:
    """What is followed of one owner."""

    def __init__(self, owner: str, first_seq: int) -> None:
        self.owner = owner
        self.seq = first_seq
        self.open: dict[str, Position] = {}
        self.ended: dict[str, datetime] = {}
        """When positions ended that an older state could still be read of."""
        self.shown: dict[str, Decimal | None] = {}
        """The price that each open position was last told at."""
        self.readers: set[_Reader] = set()
        self.loaded = False
        self.loading = asyncio.Lock()
        self.since: datetime | None = None
        """How far back the next look goes."""


class _Reader:
    """What waits for one reader: a snapshot, then updates in order.

    Where `capacity` of them wait, only the newest of each position is kept. Where even they are too many, they give way
    to a new snapshot: nothing is ever left out without a word.
    """

    def __init__(self, begin: Callable[[], Awaitable[bytes]], capacity: int) -> None:
        self._begin = begin
        self._capacity = capacity
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._filled = asyncio.Event()
        self._begins = True
        """Whether a snapshot comes next, which has all that happens until it is taken."""

    def put(self, position_id: str, encoded: bytes) -> None:
        """Add an update; never waits."""
        if self._begins:
            return
        if len(self._waiting) >= self._capacity:
            self._keep_newest()
        self._waiting.append((position_id, encoded))
        self._filled.set()

    async def take(self) -> bytes:
        """What waits, as one encoded response; waits until there is something."""
        if not self._begins:
            await self._filled.wait()
        if self._begins:
            snapshot = await self._begin()
            # No wait from here on: what is published next comes after the snapshot.
            self._begins = False
            self._waiting.clear()
            self._filled.clear()
            return snapshot
        batch = [self._waiting.popleft()[1] for _ in range(min(len(self._waiting), BATCH_UPDATES_MAX))]
        if not self._waiting:
            self._filled.clear()
        return b"".join(batch)  # responses of one update each, joined: a response of all of them

    def _keep_newest(self) -> None:
        newest: dict[str, bytes] = {}
        for position_id, encoded in self._waiting:
            newest.pop(position_id, None)  # so that the order is that of the last change
            newest[position_id] = encoded
        if len(newest) >= self._capacity:
            self._begins = True
            newest.clear()
        CONFLATED.inc(len(self._waiting) - len(newest))
        self._waiting = deque(newest.items())


class PositionStreams:
    """Follows the owners that somebody reads. `look_forever` and `value_forever` must run somewhere; `changed` is told
    of what the desk did.

    Args:
        describe: a position as the contract has it, at the last price.
        queue_max: updates that may wait for one reader before only the newest are kept.
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
    ) -> None:
        self._store = store
        self._describe = describe
        self._last_price = last_price
        self._clock = clock
        self._monotonic = monotonic
        self._queue_max = queue_max
        self._sleep = sleep
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
        while True:
            await self._sleep(LOOK_SECONDS)
            try:
                await self.look()
            except LedgerUnavailableError as error:
                if not failing:  # a line for the outage, not for each look
                    log.warning("positions.not_current", reason=str(error))
                failing = True
            else:
                failing = False

    async def value_forever(self) -> None:
        """Look at the prices again and again; where there is much to tell, that takes half of the time at most."""
        while True:
            started = self._monotonic()
            await self.value()
            await self._sleep(max(PRICE_SECONDS, self._monotonic() - started))

    async def look(self) -> None:
        """Tell what others changed by now. Raises `LedgerUnavailableError`; then the next look goes back further."""
        begun = self._clock()
        followed = [account for account in self._accounts.values() if account.loaded]
        for start in range(0, len(followed), OWNERS_PER_LOOK):
            asked = followed[start : start + OWNERS_PER_LOOK]
            since = min(account.since for account in asked if account.since is not None)
            found = await self._store.traded_since([account.owner for account in asked], since)
            by_owner = {account.owner: account for account in asked}
            for position in found:
                account = by_owner[position.owner]
                # What ended before the account was followed is no news.
                if position.close_time is None or account.since is None or position.close_time >= account.since:
                    self._take_in(account, position)
            for account in asked:
                account.since = begun - OVERLAP
                for position_id in [one for one, time in account.ended.items() if time < account.since]:
                    del account.ended[position_id]

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
                if told % VALUED_AT_ONCE == 0:
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
                traded = await self._store.traded_since([account.owner], account.since)
                found = await self._store.open_positions(account.owner)
            except LedgerUnavailableError:
                raise EntasisError("UNAVAILABLE") from None
            for position in traded:
                if position.close_time is not None:
                    self._take_in(account, position)
            for position in found:
                self._take_in(account, position)
            account.loaded = True

    def _take_in(self, account: _Account, position: Position) -> None:
        """Tell what is new about a position, if anything."""
        known = account.open.get(position.id)
        if position.id in account.ended or (known is not None and position.size >= known.size):
            return
        if position.status is Status.OPEN:
            account.open[position.id] = position
            self._publish(account, OPENED if known is None else CHANGED, position)
        else:
            account.open.pop(position.id, None)
            account.ended[position.id] = position.close_time or self._clock()
            self._publish(account, CLOSED if position.status is Status.CLOSED else LIQUIDATED, position)

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


def _oldest_first(account: _Account) -> list[Position]:
    return sorted(account.open.values(), key=lambda one: (one.open_time, one.id))


def _encoded(event: str, seq: int, positions: Sequence[pb.Position]) -> bytes:
    update = pb.PositionUpdate(event=event, seq=seq, positions=positions)
    return pb.StreamPositionsResponse(updates=[update]).SerializeToString()
