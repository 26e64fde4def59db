"""A second, plain account of what the portfolio's rules do to money, in integers alone, to hold the code against.

`Model` is written from the rules and shares nothing with the code. Money is counted in units of 1e-16, prices and sizes
in units of 1e-8, so that price times size is a whole number of units; leverages in 1e-4, fee rates in 1e-6. `Both` does
one thing to the code and to the model, and notes where they differ. A long random run:

    ENTASIS_LEDGER_STEPS=1000000 python -m tests.support.ledger_model
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from entasis_engine.exchanges.feed import Instrument
from entasis_engine.portfolio import ledger
from entasis_engine.portfolio.execution import Filled, StepError, fill
from entasis_engine.portfolio.ledger import Account, InsufficientBalanceError, Transaction
from entasis_engine.portfolio.margin import LeverageError, Side
from entasis_engine.portfolio.positions import (
    CloseTooLargeError,
    Limits,
    Position,
    PositionLimitError,
    PositionNotOpenError,
    check_limits,
    close_position,
    liquidate,
    open_position,
)

MONEY = 10**16  # units of money in 1
STEP = 10**8  # units of money in the smallest step of a margin or fee, 1e-8
QUANTITY = 10**8  # units of price or size in 1
LEVERAGE = 10**4
RATE = 10**6

Level = tuple[int, int]
Outcome = tuple[Any, ...]


class Listed(NamedTuple):
    """An instrument in units."""

    symbol: str
    tick: int
    lot: int
    leverage_max: int
    price: int
    """About what it trades at."""


# USDT with few digits, BTC as quote with nine, and one whose notionals have sixteen.
LISTED = (
    Listed("BTC-USDT", 1_000_000, 1_000, 125 * LEVERAGE, 64_000 * QUANTITY),
    Listed("ETH-BTC", 1_000, 10_000, 20 * LEVERAGE, 5_000_000),
    Listed("PEPE-USDC", 1, 1, 50 * LEVERAGE, 1_234),
    Listed("ETH-USDT", 1_000_000, 10_000, 100 * LEVERAGE, 3_000 * QUANTITY),
)
OWNERS = ("acc_1", "acc_2", "house")
CURRENCIES = ("USDT", "BTC", "USDC")
POSITIONS_MAX = 5
NOTIONAL_MAX = 1_000_000  # in whole units of each currency
TIME = datetime(2024, 3, 21, 9, 30, tzinfo=UTC)


@dataclass
class Held:
    """A position of the model."""

    owner: str
    listed: Listed
    long: bool
    size: int
    notional: int
    margin: int
    fees: int
    realised: int = 0
    status: str = "open"


class Model:
    """The rules in integers. Every method returns what came of it: `("done",)`, or why not."""

    def __init__(self) -> None:
        self.balances: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self.held: dict[str, Held] = {}

    def deposit(self, owner: str, currency: str, amount: int) -> Outcome:
        if amount <= 0 or amount % STEP:
            return ("step", "amount")
        self.balances[owner, "free", currency] += amount
        self.balances["house", "funding", currency] -= amount
        return ("done",)

    def withdraw(self, owner: str, currency: str, amount: int) -> Outcome:
        if amount <= 0 or amount % STEP:
            return ("step", "amount")
        if amount > self.balances[owner, "free", currency]:
            return ("PORT_001", amount, self.balances[owner, "free", currency], currency)
        self.balances[owner, "free", currency] -= amount
        self.balances["house", "funding", currency] += amount
        return ("done",)

    def open(
        self,
        name: str,
        owner: str,
        listed: Listed,
        long: bool,
        size: int,
        leverage: int,
        fee_rate: int,
        book: Sequence[Level],
        last: int,
    ) -> Outcome:
        if size <= 0 or size % listed.lot:
            return ("step", "size")
        if leverage < LEVERAGE or leverage > listed.leverage_max:
            return ("leverage",)
        currency = listed.symbol.split("-")[1]
        notional = cost(book, last, size)
        mine = [one for one in self.held.values() if one.owner == owner and one.status == "open"]
        if len(mine) >= POSITIONS_MAX:
            return ("PORT_002", "open_positions")
        if notional + sum(one.notional for one in mine if one.listed.symbol.endswith("-" + currency)) > (
            NOTIONAL_MAX * MONEY
        ):
            return ("PORT_002", "notional")
        margin = -(-notional * LEVERAGE // (leverage * STEP)) * STEP
        fee = -(-notional * fee_rate // (RATE * STEP)) * STEP
        free = self.balances[owner, "free", currency]
        if margin + fee > free:
            return ("PORT_001", margin + fee, free, currency)
        self.balances[owner, "free", currency] -= margin + fee
        self.balances[owner, "margin", currency] += margin
        self.balances["house", "fees", currency] += fee
        self.held[name] = Held(owner, listed, long, size, notional, margin, fee)
        return ("done",)

    def close(self, name: str, size: int, fee_rate: int, book: Sequence[Level], last: int) -> Outcome:
        one = self.held[name]
        if one.status != "open":
            return ("not open", one.status)
        if size <= 0 or (size != one.size and size % one.listed.lot):
            return ("step", "size")
        if size > one.size:
            return ("too large",)
        if size == one.size:
            notional, margin = one.notional, one.margin
        else:
            notional = one.notional * size // (one.size * STEP) * STEP
            margin = one.margin * size // (one.size * STEP) * STEP
        fetched = cost(book, last, size)
        gain = fetched - notional if one.long else notional - fetched
        loss_of_insurance = 0
        if gain < -margin:
            loss_of_insurance = -gain - margin
        back = margin + gain + loss_of_insurance
        fee = -(-fetched * fee_rate // (RATE * STEP)) * STEP
        if fee > back:
            fee = back
        currency = one.listed.symbol.split("-")[1]
        self.balances[one.owner, "margin", currency] -= margin
        self.balances[one.owner, "free", currency] += back - fee
        self.balances["house", "market", currency] -= gain
        self.balances["house", "insurance", currency] -= loss_of_insurance
        self.balances["house", "fees", currency] += fee
        one.size -= size
        one.notional -= notional
        one.margin -= margin
        one.fees += fee
        one.realised += gain + loss_of_insurance
        if one.size == 0:
            one.status = "closed"
        return ("done",)

    def liquidate(self, name: str, book: Sequence[Level], last: int) -> Outcome:
        one = self.held[name]
        if one.status != "open":
            return ("not open", one.status)
        fetched = cost(book, last, one.size)
        gain = fetched - one.notional if one.long else one.notional - fetched
        currency = one.listed.symbol.split("-")[1]
        self.balances[one.owner, "margin", currency] -= one.margin
        self.balances["house", "market", currency] -= gain
        self.balances["house", "insurance", currency] += one.margin + gain
        one.realised -= one.margin
        one.size = one.notional = one.margin = 0
        one.status = "liquidated"
        return ("done",)


def cost(book: Sequence[Level], last: int, size: int) -> int:
    """What `size` comes to, level by level; what is left over at the last level's price."""
    total = 0
    price = last
    for price, available in book:
        taken = min(size, available)
        total += price * taken
        size -= taken
    return total + price * size


class Both:
    """The code and the model, side by side, in one state."""

    def __init__(self) -> None:
        self.model = Model()
        self.balances: dict[tuple[Account, str], Decimal] = {}
        self.positions: dict[str, Position] = {}
        self.sums: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        """Of the entries of every transaction, in units."""
        self.steps = 0
        self.outcomes: Counter[str] = Counter()
        self.differences: list[str] = []

    def deposit(self, owner: str, currency: str, amount: int) -> None:
        def act(number: str) -> None:
            self._post(ledger.deposit(number, TIME, owner, currency, money(amount)))

        self._step("deposit", act, self.model.deposit(owner, currency, amount))

    def withdraw(self, owner: str, currency: str, amount: int) -> None:
        def act(number: str) -> None:
            self._post(ledger.withdrawal(number, TIME, owner, currency, money(amount)))

        self._step("withdraw", act, self.model.withdraw(owner, currency, amount))

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
        name = f"pos_{self.steps}"

        def act(number: str) -> None:
            position, transaction = open_position(
                filled(book, last, size),
                position_id=name,
                transaction_id=number,
                owner=owner,
                instrument=instrument(listed),
                side=Side.LONG if long else Side.SHORT,
                leverage=Decimal(leverage).scaleb(-4),
                fee_rate=Decimal(fee_rate).scaleb(-6),
                time=TIME,
            )
            mine = [one for one in self.positions.values() if one.owner == owner]
            limits = Limits(POSITIONS_MAX, Decimal(NOTIONAL_MAX))
            check_limits(mine, position.quote_currency, position.entry_notional, limits)
            self._post(transaction)
            self.positions[name] = position

        self._step("open", act, self.model.open(name, owner, listed, long, size, leverage, fee_rate, book, last), name)
        return name

    def close(self, name: str, size: int, fee_rate: int, book: Sequence[Level], last: int) -> None:
        def act(number: str) -> None:
            position, transaction = close_position(
                self.positions[name],
                filled(book, last, size),
                transaction_id=number,
                lot=quantity(self.model.held[name].listed.lot),
                fee_rate=Decimal(fee_rate).scaleb(-6),
                time=TIME,
            )
            self._post(transaction)
            self.positions[name] = position

        self._step("close", act, self.model.close(name, size, fee_rate, book, last), name)

    def liquidate(self, name: str, book: Sequence[Level], last: int) -> None:
        size = self.model.held[name].size

        def act(number: str) -> None:
            position, transaction = liquidate(
                self.positions[name], filled(book, last, size), transaction_id=number, time=TIME
            )
            self._post(transaction)
            self.positions[name] = position

        self._step("liquidate", act, self.model.liquidate(name, book, last), name)

    def forget(self, name: str) -> None:
        """Drop a position that is no longer open, on both sides."""
        del self.positions[name], self.model.held[name]

    def _post(self, transaction: Transaction) -> None:
        self.balances.update(ledger.post(self.balances, transaction))
        for entry in transaction.entries:
            self.sums[entry.account.owner, str(entry.account.kind), entry.currency] += units(entry.amount)

    def _step(self, what: str, act: Callable[[str], None], expected: Outcome, name: str | None = None) -> None:
        self.steps += 1
        outcome = _outcome(lambda: act(f"txn_{self.steps}"))
        self.outcomes[f"{what}: {outcome[0]}"] += 1
        if outcome != expected:
            self._differ(f"{what} came to {outcome}, in the model to {expected}")
        self._compare()
        if name in self.positions or name in self.model.held:
            self._compare_position(str(name))

    def _compare(self) -> None:
        code = {
            (account.owner, str(account.kind), currency): units(balance)
            for (account, currency), balance in self.balances.items()
            if balance
        }
        if code != {key: amount for key, amount in self.model.balances.items() if amount}:
            self._differ("balances are not those of the model")
        if code != {key: amount for key, amount in self.sums.items() if amount}:
            self._differ("balances are not the sums of the entries")
        totals: defaultdict[str, int] = defaultdict(int)
        for (_, kind, currency), amount in code.items():
            totals[currency] += amount
            if kind in {"free", "margin"} and amount < 0:
                self._differ(f"{kind} is negative")
        if any(totals.values()):
            self._differ(f"the currencies sum to {dict(totals)}")

    def _compare_position(self, name: str) -> None:
        position, held = self.positions[name], self.model.held[name]
        code = (
            units(position.size) // (MONEY // QUANTITY),
            *map(units, (position.entry_notional, position.margin, position.fees_paid, position.realised_pnl)),
            str(position.status),
        )
        model = (held.size, held.notional, held.margin, held.fees, held.realised, held.status)
        if code != model:
            self._differ(f"{name} is {code}, in the model {model}")

    def _differ(self, how: str) -> None:
        self.differences.append(f"step {self.steps}: {how}")


def money(amount: int) -> Decimal:
    return Decimal(amount).scaleb(-16)


def quantity(amount: int) -> Decimal:
    return Decimal(amount).scaleb(-8)


def units(amount: Decimal) -> int:
    """In units of money. Fails on what is no whole number of them."""
    numerator, denominator = amount.as_integer_ratio()
    whole, rest = divmod(numerator * MONEY, denominator)
    assert not rest, f"{amount} is finer than the model's units"
    return whole


def filled(book: Sequence[Level], last: int, size: int) -> Filled:
    return fill([(quantity(price), quantity(one)) for price, one in book], quantity(last), quantity(size))


def instrument(listed: Listed) -> Instrument:
    leverage_max = Decimal(listed.leverage_max).scaleb(-4)
    return Instrument(listed.symbol, quantity(listed.tick), quantity(listed.lot), 2, "binance", leverage_max)


def _outcome(act: Callable[[], None]) -> Outcome:
    try:
        act()
    except StepError as error:
        return ("step", error.field)
    except LeverageError:
        return ("leverage",)
    except InsufficientBalanceError as error:
        return ("PORT_001", units(error.required), units(error.available), error.currency)
    except PositionLimitError as error:
        return ("PORT_002", error.what)
    except CloseTooLargeError:
        return ("too large",)
    except PositionNotOpenError as error:
        return ("not open", str(error.status))
    return ("done",)


class Driver:
    """Does random things, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.both = Both()
        self._random = random.Random(seed)
        self._names: list[str] = []

    def step(self) -> None:
        choice = self._random.random()
        if choice < 0.1:
            self.both.deposit(self._owner(), *self._amount())
        elif choice < 0.15:
            self.both.withdraw(self._owner(), *self._amount())
        elif choice < 0.45 or not self._names:
            self._open()
        else:
            self._end(liquidated=choice > 0.95)

    def _owner(self) -> str:
        return self._random.choice(OWNERS)

    def _amount(self) -> tuple[str, int]:
        currency = self._random.choice(CURRENCIES)
        steps = int(10 ** self._random.uniform(0, 14 if currency != "BTC" else 10))
        off_step = self._random.random() < 0.02
        return currency, steps * STEP + off_step

    def _open(self) -> None:
        listed = self._random.choice(LISTED)
        book, last = self._market(listed)
        # From one lot to more than the limit on notional allows.
        value = 10 ** self._random.uniform(-3, 6.3 if listed.symbol != "ETH-BTC" else 2)
        size = max(1, int(value * QUANTITY * QUANTITY / listed.price) // listed.lot) * listed.lot
        size += self._random.choice((0,) * 50 + (1, -listed.lot))
        leverage = self._random.choice((LEVERAGE, 25_000, self._random.randint(9_000, listed.leverage_max + 1_000)))
        long = self._random.random() < 0.5
        name = self.both.open(self._owner(), listed, long, size, leverage, self._fee_rate(), book, last)
        if name in self.both.positions:
            self._names.append(name)

    def _end(self, *, liquidated: bool) -> None:
        index = self._random.randrange(len(self._names))
        name = self._names[index]
        held = self.both.model.held[name]
        book, last = self._market(held.listed)
        if liquidated:
            self.both.liquidate(name, book, last)
        else:
            part = self._random.randint(0, held.size // held.listed.lot + 1) * held.listed.lot
            size = self._random.choice((held.size, part, part, self._random.randint(0, held.size)))
            self.both.close(name, size, self._fee_rate(), book, last)
        # What has ended stays a while, to be refused; then it goes, so that a long run stays quick.
        if held.status != "open" and self._random.random() < 0.5:
            self._names[index] = self._names[-1]
            self._names.pop()
            self.both.forget(name)

    def _fee_rate(self) -> int:
        return self._random.choice((0, 200, 500, 777))

    def _market(self, listed: Listed) -> tuple[list[Level], int]:
        """A book of up to four levels around a price that is a little or far off, and that price."""
        swing = self._random.choice((0.002, 0.02, 0.7))
        price = max(1, int(listed.price * (1 + self._random.uniform(-swing, swing))) // listed.tick) * listed.tick
        book = []
        for number in range(self._random.choice((0, 1, 2, 4))):
            size = int(10 ** self._random.uniform(-3, 5) * QUANTITY * QUANTITY / listed.price)
            book.append((price + number * listed.tick, max(1, size // listed.lot) * listed.lot))
        return book, price


def run(steps: int, seed: int, say: Callable[[str], None] = lambda _: None) -> Both:
    """That many random steps; progress is said ten times."""
    driver = Driver(seed)
    began = time.monotonic()
    for number in range(1, steps + 1):
        driver.step()
        if number % max(1, steps // 10) == 0:
            seconds = time.monotonic() - began
            say(f"{number:,} steps, {len(driver.both.differences)} differences, {seconds:.0f} s")
    return driver.both


def main() -> int:
    steps = int(os.environ.get("ENTASIS_LEDGER_STEPS", "20000"))
    seed = int(os.environ.get("ENTASIS_LEDGER_SEED", "1"))
    both = run(steps, seed, lambda text: print(text, flush=True))
    for what, count in sorted(both.outcomes.items()):
        print(f"  {what:24} {count:>10,}")
    for difference in both.differences[:20]:
        print(difference)
    print(f"{both.steps:,} steps from seed {seed}: {len(both.differences)} differences")
    return 1 if both.differences else 0


if __name__ == "__main__":
    sys.exit(main())
