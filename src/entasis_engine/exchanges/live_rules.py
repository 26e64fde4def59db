"""What the live feed makes of ccxt's answers. Pure: no sockets, no clock, no ccxt."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any, cast

from entasis_engine.decimals import plain, scale_of
from entasis_engine.exchanges.feed import BookDelta, BookSnapshot, Candle, FeedError, Instrument, Level, Trade
from entasis_engine.times import from_milliseconds

# ccxt's names for the ways in which an exchange states its steps.
DECIMAL_PLACES, TICK_SIZE = 2, 4

_SUMS = Context(prec=200, traps=[Inexact])
"""Digits enough for any sum of sizes; the usual 28 would round."""


def exact_decimal(value: object) -> Decimal:
    """A number that ccxt gave, as it was on the wire. Raises `FeedError` for a float: its digits are not the wire's."""
    if isinstance(value, float):
        raise FeedError(f"ccxt gave the binary float {value!r}")
    try:
        number = value if isinstance(value, Decimal) else Decimal(cast(str, value))
    except (InvalidOperation, TypeError, ValueError) as error:
        raise FeedError(f"ccxt gave {value!r} for a number") from error
    if not number.is_finite():
        raise FeedError(f"ccxt gave {value!r} for a number")
    return number


class Backoff:
    """How long to wait before each attempt: a random part of a bound that doubles (full jitter)."""

    def __init__(self, first_seconds: float, max_seconds: float, rng: random.Random) -> None:
        self._first_seconds = first_seconds
        self._max_seconds = max_seconds
        self._rng = rng
        self._bound_seconds = first_seconds

    def next_seconds(self) -> float:
        bound_seconds = self._bound_seconds
        self._bound_seconds = min(bound_seconds * 2, self._max_seconds)
        return self._rng.uniform(0, bound_seconds)

    def reset(self) -> None:
        """Something worked: the next wait is short again."""
        self._bound_seconds = self._first_seconds


class TradeRun:
    """One symbol's trades in order, each once, whatever is repeated around a reconnection."""

    RECENT_MAX = 10_000
    """Ids remembered where they are not numbers that grow."""

    def __init__(self, symbol: str, *, consecutive: bool) -> None:
        """`consecutive` says that the exchange numbers a symbol's trades without holes."""
        self._symbol = symbol
        self._consecutive = consecutive
        self._last_id: int | None = None
        self._recent: deque[str] = deque()
        self._recent_set: set[str] = set()

    def take(self, rows: Sequence[Mapping[str, Any]], *, after_loss: bool = False) -> tuple[list[Trade], bool]:
        """New trades among ccxt's `rows`, up to a gap, and whether there is one; only consecutive ids show gaps.

        `after_loss` says that trades before the first new one may be missing, and that this is known.
        """
        trades: list[Trade] = []
        for row in sorted(rows, key=_age):
            trade_id = self._new_id(row)
            if trade_id is None:
                continue
            forgiven = self._last_id is None or (after_loss and not trades)
            if self._consecutive and not forgiven and trade_id != (self._last_id or 0) + 1:
                return trades, True
            trades.append(_trade(self._symbol, trade_id, row))
            self._last_id = trade_id
        return trades, False

    def _new_id(self, row: Mapping[str, Any]) -> int | None:
        text = str(row["id"])
        if text.isdecimal():
            trade_id = int(text)
            return trade_id if self._last_id is None or trade_id > self._last_id else None
        if text in self._recent_set:
            return None
        if len(self._recent) >= self.RECENT_MAX:
            self._recent_set.discard(self._recent.popleft())
        self._recent.append(text)
        self._recent_set.add(text)
        # Made from the time, so that numbers grow over restarts too.
        return max((self._last_id or 0) + 1, int(row["timestamp"]) * 1000)


def _age(row: Mapping[str, Any]) -> int:
    """Orders trades: by number, or by time where the exchange names them otherwise; equal times stay as they came."""
    text = str(row["id"])
    return int(text) if text.isdecimal() else int(row["timestamp"])


def _trade(symbol: str, trade_id: int, row: Mapping[str, Any]) -> Trade:
    return Trade(
        symbol=symbol,
        trade_id=trade_id,
        price=exact_decimal(row["price"]),
        size=exact_decimal(row["amount"]),
        taker_buys=row["side"] == "buy",
        time=from_milliseconds(int(row["timestamp"])),
    )


class BookDiffer:
    """What changed between one state of ccxt's order book and the next."""

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol
        self._known = False
        self._bids: dict[Decimal, Decimal] = {}
        self._asks: dict[Decimal, Decimal] = {}
        self._update_id = 0

    def reset(self) -> None:
        """The next state is a snapshot again."""
        self._known = False
        self._bids, self._asks = {}, {}

    def update(self, book: Mapping[str, Any], time: datetime) -> BookSnapshot | BookDelta | None:
        """The first state as a snapshot, later ones as deltas; None where nothing changed."""
        bids, asks = _side(book["bids"]), _side(book["asks"])
        changed_bids, changed_asks = _changes(self._bids, bids), _changes(self._asks, asks)
        kind = BookDelta if self._known else BookSnapshot
        self._known, self._bids, self._asks = True, bids, asks
        if kind is BookDelta and not (changed_bids or changed_asks):
            return None
        nonce = book["nonce"]
        self._update_id = max(self._update_id + 1, 0 if nonce is None else int(nonce))
        return kind(self._symbol, self._update_id, changed_bids, changed_asks, time)


def _side(levels: Sequence[Sequence[object]]) -> dict[Decimal, Decimal]:
    side: dict[Decimal, Decimal] = {}
    for price, size, *_ in levels:
        exact_price = exact_decimal(price)
        exact_size = exact_decimal(size)
        if (known := side.get(exact_price)) is not None:
            # Books of single orders name a price more than once.
            exact_size = _SUMS.add(known, exact_size)
        side[exact_price] = exact_size
    return side


def _changes(before: Mapping[Decimal, Decimal], after: Mapping[Decimal, Decimal]) -> list[Level]:
    gone = [(price, Decimal(0)) for price in before if price not in after]
    return gone + [(price, size) for price, size in after.items() if before.get(price) != size]


def to_candle(row: Sequence[Any]) -> Candle:
    open_milliseconds, *numbers = row
    opening, high, low, close, volume = (exact_decimal(number) for number in numbers[:5])
    return Candle(from_milliseconds(int(open_milliseconds)), opening, high, low, close, volume)


def to_instrument(symbol: str, market: Mapping[str, Any], *, exchange: str, precision_mode: int) -> Instrument:
    """ccxt's description of a market as ours. Raises `FeedError` where it lacks fixed steps."""
    tick_size = _step(market["precision"]["price"], precision_mode, symbol)
    max_leverage = market["limits"].get("leverage", {}).get("max")
    return Instrument(
        symbol=symbol,
        tick_size=tick_size,
        lot_size=_step(market["precision"]["amount"], precision_mode, symbol),
        quote_scale=scale_of(tick_size),
        exchange=exchange,
        max_leverage=Decimal(1) if max_leverage is None else exact_decimal(max_leverage),
    )


def _step(value: object, precision_mode: int, symbol: str) -> Decimal:
    if value is None or precision_mode not in {DECIMAL_PLACES, TICK_SIZE}:
        raise FeedError(f"the exchange does not say in which steps {symbol} is traded")
    # A float here is a literal in ccxt's own source; its shortest spelling is what is written there.
    number = exact_decimal(repr(value) if isinstance(value, float) else value)
    step = number if precision_mode == TICK_SIZE else Decimal(1).scaleb(-int(number))
    if step <= 0:
        raise FeedError(f"the exchange says that {symbol} is traded in steps of {step}")
    return Decimal(plain(step))
