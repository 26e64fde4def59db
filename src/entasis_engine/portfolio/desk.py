"""The desk: takes commands that change what owners hold, decides them in order, and answers when they are kept.

One task decides. It takes all commands that wait as one group, and one database transaction keeps what they come to, so
that many callers at once cost one wait for the disk. Within a group each command sees what those before it did, and one
that is refused changes nothing.

A command whose caller gives up before its turn is not done. Later it may be done all the same: it was accepted, and
others in its group wait. Whoever needs to know sends it again with the same idempotency key, and is told what came of
it the first time.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec
import structlog

from entasis_engine.decimals import subtract
from entasis_engine.exchanges.feed import Instrument
from entasis_engine.portfolio import ids, ledger, metrics, positions
from entasis_engine.portfolio.execution import Fill, Filled, check_size, check_step
from entasis_engine.portfolio.ledger import Account, AccountKind, InsufficientBalanceError, Transaction
from entasis_engine.portfolio.margin import MONEY_STEP, Side
from entasis_engine.portfolio.positions import (
    CloseTooLargeError,
    Limits,
    Position,
    PositionLimitError,
    PositionNotOpenError,
    Status,
)
from entasis_engine.portfolio.store import (
    Changes,
    Held,
    Known,
    LedgerStore,
    LedgerUnavailableError,
    Needs,
    Record,
    Trade,
)
from entasis_engine.times import Clock

log = structlog.get_logger()

QUEUE_COMMANDS_MAX = 1024
GROUP_COMMANDS_MAX = 256
DEADLINE_SECONDS = 5.0
OWNERS_REMEMBERED_MAX = 100_000
KEEP_ANSWERS = timedelta(hours=24)
PURGE_SECONDS = 60.0
PURGE_RECORDS_MAX = 1000
"""Forgotten at a time: nobody waits long for the database meanwhile."""


class PositionNotFoundError(Exception):
    """There is no such position, or it is another owner's: nobody is told which."""

    def __init__(self, position_id: str) -> None:
        super().__init__(f"no position {position_id}")
        self.position_id = position_id


class IdempotencyMismatchError(Exception):
    """An idempotency key that was used for another request before."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the idempotency key {key!r} was used for another request")
        self.key = key


@dataclass(frozen=True, slots=True)
class Idempotency:
    """What makes a command that is sent again the same command."""

    key: str
    """The caller's, unique among the owner's of the last 24 hours."""
    digest: bytes
    """Of the request as it came, so that a key used twice for different things shows."""


# The fill of a command is asked for when the command is decided, perhaps more than once.


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Open a position."""

    owner: str
    instrument: Instrument
    side: Side
    size: Decimal
    """In base currency."""
    fill: Fill
    leverage: Decimal
    fee_rate: Decimal
    """Share of the notional."""
    idempotency: Idempotency | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Close a position, or a part of it."""

    owner: str
    position_id: str
    fill: Fill
    lot: Decimal
    """The instrument's, in base currency."""
    fee_rate: Decimal
    size: Decimal | None = None
    """In base currency; None is all that is open when the command is decided."""
    idempotency: Idempotency | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Liquidate:
    """Liquidate all that is open of a position. Whether its liquidation price was passed is the caller's to know."""

    owner: str
    position_id: str
    fill: Fill
    idempotency: Idempotency | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposit:
    """Money comes in."""

    owner: str
    currency: str
    amount: Decimal
    idempotency: Idempotency | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    """Free money goes out."""

    owner: str
    currency: str
    amount: Decimal
    idempotency: Idempotency | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensure:
    """Nothing but what comes before every first command of an owner: the initial money."""

    owner: str
    idempotency: None = None


Command: TypeAlias = Open | Close | Liquidate | Deposit | Withdraw | Ensure


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a command did."""

    time: datetime
    transaction_id: str | None
    """None where nothing was asked for but the owner's initial money."""
    free: Mapping[str, Decimal]
    """What the owner then had free of the currencies concerned."""
    position: Position | None = None
    """As the command left it."""
    trade: Trade | None = None
    replayed: bool = False
    """Whether this is the answer that the same command had before."""


REPLAYED = "the same refusal as before, for a repeated idempotency key"


def is_replayed(error: Exception) -> bool:
    """Whether a refusal is the one that the same command had before."""
    return REPLAYED in getattr(error, "__notes__", ())


class Desk:
    """Executes commands on a store. `write_forever` must run somewhere.

    Args:
        store: what is kept there is the truth; nothing of it is remembered here, but which owners have their money.
        limits: of every owner.
        paper: initial money by currency, deposited once for each owner.
        new_id: gives ids; see `ids.SortableIds`.
        on_position: told of every position that was changed, after that is kept. It must not raise.
        queue_commands_max: accepted and not yet taken. When it is full, callers wait as long as their deadline allows.
    """

    def __init__(
        self,
        store: LedgerStore,
        *,
        limits: Limits,
        paper: Mapping[str, Decimal],
        clock: Clock,
        new_id: ids.NewId,
        on_position: Callable[[Position], None] = lambda _: None,
        queue_commands_max: int = QUEUE_COMMANDS_MAX,
        group_commands_max: int = GROUP_COMMANDS_MAX,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._limits = limits
        self._paper = dict(paper)
        for amount in self._paper.values():
            check_step("paper", amount, MONEY_STEP)
        self._clock = clock
        self._new_id = new_id
        self._on_position = on_position
        self._group_commands_max = group_commands_max
        self._sleep = sleep
        self._queue: asyncio.Queue[_Asked] = asyncio.Queue(queue_commands_max)
        queue = weakref.ref(self._queue)  # the metric lives longer than the desk, and must not keep what waited there
        metrics.QUEUE_COMMANDS.set_function(lambda: one.qsize() if (one := queue()) is not None else 0)
        self._ended = False
        # Owners that are known to have had their money, longest known first.
        self._funded: dict[str, None] = {}

    async def execute(self, command: Command, *, deadline_seconds: float = DEADLINE_SECONDS) -> Receipt:
        """Have a command decided, and wait until what it came to is kept.

        Args:
            deadline_seconds: how long to wait for a place in the queue, where it is full.

        Raises:
            LedgerUnavailableError: the queue stayed full, or the ledger cannot be used. Unless a key is sent again, it
                is not known whether the command was done.
            IdempotencyMismatchError: its key was used for another request.
            PositionNotFoundError: the owner has no such position.
            Exception: whatever the rules refuse it with, or `fill` raises; see `positions` and `ledger`.
        """
        if self._ended:
            raise LedgerUnavailableError("the desk is closed")
        asked = _Asked(command, asyncio.get_running_loop().create_future())
        try:
            self._queue.put_nowait(asked)
        except asyncio.QueueFull:
            await self._wait_for_place(asked, deadline_seconds)
        return await asked.answer

    async def ensure_owner(self, owner: str) -> None:
        """Deposit an owner's initial money, unless that was done before. Commands do so by themselves."""
        if owner not in self._funded:
            await self.execute(Ensure(owner=owner))

    async def write_forever(self) -> None:
        """Execute what is asked for. When cancelled, the group at hand is finished; those that wait are told."""
        try:
            while True:
                group = [await self._queue.get()]
                while len(group) < self._group_commands_max and not self._queue.empty():
                    group.append(self._queue.get_nowait())
                if group := [asked for asked in group if not asked.answer.done()]:
                    await self._execute_to_the_end(group)
        finally:
            self._ended = True
            while not self._queue.empty():
                self._turn_one_away()

    async def purge_forever(self) -> None:
        """Forget answers that are older than 24 hours."""
        while True:
            try:
                forgotten = await self._store.purge(self._clock() - KEEP_ANSWERS, PURGE_RECORDS_MAX)
            except LedgerUnavailableError as error:
                log.warning("ledger.purge_failed", reason=str(error))
                forgotten = 0
            if forgotten < PURGE_RECORDS_MAX:
                await self._sleep(PURGE_SECONDS)

    async def _wait_for_place(self, asked: _Asked, deadline_seconds: float) -> None:
        try:
            async with asyncio.timeout(deadline_seconds):
                await self._queue.put(asked)
        except TimeoutError:
            raise LedgerUnavailableError("too many commands wait") from None
        if self._ended:  # whoever came in by now makes room for the next
            self._turn_one_away()

    def _turn_one_away(self) -> None:
        self._queue.get_nowait().fail(LedgerUnavailableError("the desk is closed"))

    async def _execute_to_the_end(self, group: Sequence[_Asked]) -> None:
        """Whoever stops the desk in mid-group waits until its callers have their answers."""
        executing = asyncio.ensure_future(self._execute(group))
        try:
            await asyncio.shield(executing)
        except asyncio.CancelledError:
            await asyncio.wait([executing])
            raise

    async def _execute(self, group: Sequence[_Asked]) -> None:
        session: _Session | None = None

        def work(known: Known) -> Changes:
            nonlocal session
            session = _Session(known, self._limits, self._paper, self._clock(), self._new_id)
            for asked in group:
                asked.come_to(session.decide(asked.command))
            return session.changes

        try:
            await self._store.transact(_needs(group), work)
        except asyncio.CancelledError:
            # The event loop itself ends. The group is kept or not; which, nobody can say here.
            for asked in group:
                asked.fail(LedgerUnavailableError("the desk is closed"))
            raise
        except LedgerUnavailableError as error:
            log.warning("ledger.group_failed", commands=len(group), reason=str(error))
            for asked in group:
                asked.fail(LedgerUnavailableError(str(error)))
        except Exception as error:  # a command that the store cannot keep, which the rules should have refused
            if len(group) > 1:  # none of the others shall suffer from it
                for asked in group:
                    await self._execute([asked])
                return
            log.error("ledger.command_failed", command=type(group[0].command).__name__, exc_info=error)
            group[0].fail(error)
        else:
            metrics.GROUP_COMMANDS.observe(len(group))
            self._remember(group)
            for asked in group:
                asked.tell()
            if session is not None:
                for position in session.changes.positions.values():
                    self._on_position(position)

    def _remember(self, group: Sequence[_Asked]) -> None:
        for asked in group:
            self._funded[asked.command.owner] = None
        while len(self._funded) > OWNERS_REMEMBERED_MAX:
            del self._funded[next(iter(self._funded))]


class _Asked:
    """A command, and whoever waits for its answer."""

    __slots__ = ("_outcome", "answer", "command")

    def __init__(self, command: Command, answer: asyncio.Future[Receipt]) -> None:
        self.command = command
        self.answer = answer
        self._outcome: Receipt | Exception | None = None

    def come_to(self, outcome: Receipt | Exception) -> None:
        """What the command came to, to be told when it is kept."""
        self._outcome = outcome

    def tell(self) -> None:
        if isinstance(self._outcome, Receipt):
            if not self.answer.done():  # who gave up is told nothing
                self.answer.set_result(self._outcome)
        else:
            self.fail(self._outcome or RuntimeError("a command was not decided"))

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


def _needs(group: Sequence[_Asked]) -> Needs:
    commands = [asked.command for asked in group]
    return Needs(
        owners=frozenset(one.owner for one in commands),
        holders=frozenset(one.owner for one in commands if isinstance(one, Open)),
        position_ids=frozenset(one.position_id for one in commands if isinstance(one, Close | Liquidate)),
        keys=frozenset((one.owner, one.idempotency.key) for one in commands if one.idempotency is not None),
    )


class _Session:
    """A group's commands, one after the other, on what the store knew: no input and no output."""

    def __init__(
        self, known: Known, limits: Limits, paper: Mapping[str, Decimal], time: datetime, new_id: ids.NewId
    ) -> None:
        self.changes = Changes()
        self._limits = limits
        self._paper = paper
        self._time = time
        self._new_id = new_id
        self._funded = set(known.funded)
        # Of the house's accounts only what the group adds to them; theirs may be negative.
        self._balances = dict(known.balances)
        self._positions = dict(known.positions)
        self._held: dict[str, dict[str, Held | Position]] = {}
        for one in known.held:
            self._held.setdefault(one.owner, {})[one.id] = one
        oldest = time - KEEP_ANSWERS
        self._records = {key: one for key, one in known.records.items() if one.create_time >= oldest}

    def decide(self, command: Command) -> Receipt | Exception:
        """What a command comes to; a refusal changes nothing."""
        try:
            if command.owner not in self._funded:
                self._fund(command.owner)
            key = command.idempotency
            if key is None:
                return self._do(command)
            record = self._records.get((command.owner, key.key))
            if record is None:
                return self._do_and_record(command, key)
            if record.digest != key.digest:
                return IdempotencyMismatchError(key.key)
            return _replayed(record.answer)
        except Exception as error:  # the rules' refusals, and what `fill` raises: the command's affair alone
            return error

    def _do_and_record(self, command: Command, key: Idempotency) -> Receipt | Exception:
        outcome: Receipt | Exception
        try:
            outcome = self._do(command)
        except _DECIDED as error:  # by what the ledger holds; whatever else is wrong may be right the next time
            outcome = error
        record = Record(command.owner, key.key, key.digest, _encoded(outcome), self._time)
        self._records[command.owner, key.key] = self.changes.records[command.owner, key.key] = record
        return outcome

    def _do(self, command: Command) -> Receipt:
        match command:
            case Open():
                return self._open(command)
            case Close():
                return self._close(command)
            case Liquidate():
                return self._liquidate(command)
            case Deposit():
                return self._move(command.owner, command.currency, command.amount, ledger.deposit)
            case Withdraw():
                return self._move(command.owner, command.currency, command.amount, ledger.withdrawal)
            case Ensure():
                free = {currency: self._free(command.owner, currency) for currency in self._paper}
                return Receipt(self._time, None, free)

    def _fund(self, owner: str) -> None:
        for currency, amount in self._paper.items():
            self._post(ledger.deposit(self._new_id(ids.TRANSACTION), self._time, owner, currency, amount))
        self._funded.add(owner)
        self.changes.funded[owner] = self._time

    def _open(self, command: Open) -> Receipt:
        check_size(command.instrument, command.size)  # before there is a fill: a size of 0 has none
        filled = command.fill(command.size)
        opened, transaction = positions.open_position(
            filled,
            position_id=self._new_id(ids.POSITION),
            transaction_id=self._new_id(ids.TRANSACTION),
            owner=command.owner,
            instrument=command.instrument,
            side=command.side,
            leverage=command.leverage,
            fee_rate=command.fee_rate,
            time=self._time,
        )
        held = self._held.get(command.owner, {}).values()
        positions.check_limits(held, opened.quote_currency, opened.entry_notional, self._limits)
        return self._keep(None, opened, transaction, filled)

    def _close(self, command: Close) -> Receipt:
        position = self._owned(command.owner, command.position_id)
        size = position.size if command.size is None else command.size
        positions.check_close(position, size, command.lot)  # before there is a fill: a size of 0 has none
        filled = command.fill(size)
        closed, transaction = positions.close_position(
            position,
            filled,
            transaction_id=self._new_id(ids.TRANSACTION),
            lot=command.lot,
            fee_rate=command.fee_rate,
            time=self._time,
        )
        return self._keep(position, closed, transaction, filled)

    def _liquidate(self, command: Liquidate) -> Receipt:
        position = self._owned(command.owner, command.position_id)
        if position.status is not Status.OPEN:
            raise PositionNotOpenError(position.id, position.status)
        filled = command.fill(position.size)
        liquidated, transaction = positions.liquidate(
            position, filled, transaction_id=self._new_id(ids.TRANSACTION), time=self._time
        )
        return self._keep(position, liquidated, transaction, filled)

    def _move(self, owner: str, currency: str, amount: Decimal, make: Callable[..., Transaction]) -> Receipt:
        transaction = make(self._new_id(ids.TRANSACTION), self._time, owner, currency, amount)
        self._post(transaction)
        return Receipt(self._time, transaction.id, {currency: self._free(owner, currency)})

    def _owned(self, owner: str, position_id: str) -> Position:
        position = self._positions.get(position_id)
        if position is None or position.owner != owner:
            raise PositionNotFoundError(position_id)
        return position

    def _keep(self, before: Position | None, after: Position, transaction: Transaction, filled: Filled) -> Receipt:
        """Post the transaction that pays for a change of a position, and note both and the trade."""
        self._post(transaction)
        trade = Trade(
            id=self._new_id(ids.TRADE),
            owner=after.owner,
            position_id=after.id,
            transaction_id=transaction.id,
            kind=transaction.kind,
            symbol=after.symbol,
            side=after.side,
            size=filled.size,
            notional=filled.notional,
            fee=subtract(after.fees_paid, before.fees_paid) if before else after.fees_paid,
            realised_pnl=subtract(after.realised_pnl, before.realised_pnl) if before else after.realised_pnl,
            time=self._time,
        )
        self.changes.trades.append(trade)
        self._positions[after.id] = self.changes.positions[after.id] = after
        self._held.setdefault(after.owner, {})[after.id] = after
        currency = after.quote_currency
        return Receipt(self._time, transaction.id, {currency: self._free(after.owner, currency)}, after, trade)

    def _post(self, transaction: Transaction) -> None:
        posted = ledger.post(self._balances, transaction)  # raises before anything is changed
        self._balances.update(posted)
        for (account, currency), amount in posted.items():
            changed = self.changes.balances if account.kind.of_owner else self.changes.house
            changed[account, currency] = amount
        self.changes.transactions.append(transaction)

    def _free(self, owner: str, currency: str) -> Decimal:
        return self._balances.get((Account(owner, AccountKind.FREE), currency), Decimal(0))


# Answers as they are recorded.


class _Done(msgspec.Struct, tag="done"):
    receipt: Receipt


class _Short(msgspec.Struct, tag="insufficient_balance"):
    owner: str
    kind: AccountKind
    currency: str
    required: Decimal
    available: Decimal


class _Limited(msgspec.Struct, tag="position_limit"):
    what: str
    limit: Decimal
    reached: Decimal


class _NotOpen(msgspec.Struct, tag="not_open"):
    position_id: str
    status: Status


class _TooLarge(msgspec.Struct, tag="close_too_large"):
    given: Decimal
    open_size: Decimal


_Answer: TypeAlias = _Done | _Short | _Limited | _NotOpen | _TooLarge
_DECIDED = (InsufficientBalanceError, PositionLimitError, PositionNotOpenError, CloseTooLargeError)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_Answer)


def _encoded(outcome: Receipt | Exception) -> bytes:
    answer: _Answer
    match outcome:
        case Receipt():
            answer = _Done(outcome)
        case InsufficientBalanceError():
            account = outcome.account
            answer = _Short(account.owner, account.kind, outcome.currency, outcome.required, outcome.available)
        case PositionLimitError():
            answer = _Limited(outcome.what, outcome.limit, outcome.reached)
        case PositionNotOpenError():
            answer = _NotOpen(outcome.position_id, outcome.status)
        case CloseTooLargeError():
            answer = _TooLarge(outcome.given, outcome.open_size)
        case _:
            raise TypeError(f"{type(outcome).__name__} is not recorded")
    return _encoder.encode(answer)


def _replayed(encoded: bytes) -> Receipt | Exception:
    error: Exception
    match _decoder.decode(encoded):
        case _Done(receipt):
            return replace(receipt, replayed=True)
        case _Short() as one:
            account = Account(one.owner, one.kind)
            error = InsufficientBalanceError(account, one.currency, one.required, one.available)
        case _Limited() as one:
            error = PositionLimitError(one.what, one.limit, one.reached)
        case _NotOpen() as one:
            error = PositionNotOpenError(one.position_id, one.status)
        case _TooLarge() as one:
            error = CloseTooLargeError(one.given, one.open_size)
    error.add_note(REPLAYED)
    return error
