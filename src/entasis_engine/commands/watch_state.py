"""What `entasis watch` knows: the messages of /ws/market go in, and what is to be shown comes out. No sockets here."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any

CANDLES_MAX = 240
"""Candles held of each symbol; more than a terminal is wide."""
NOTES_MAX = 5
RESTART_STEP = 1_000_000
"""`seq` begins with the time in seconds, times a million, where an engine starts: a step this long is no loss of a
slow reader."""
INTERRUPTIONS = {"MARKET_002": "the exchange connection failed", "SERVER_002": "the engine cannot be reached"}
"""Errors after which data goes on by itself."""
DAY = "1d"

DAY_AGO_AGE_MAX = timedelta(hours=1)
"""From this age on the price of 24 hours ago is that of another time."""
DIGITS_MAX = 40
"""Of a number, on either side of the point: what would fill the memory when it is printed is none."""

AUTH_HINT = "Set ENTASIS_KEY to a valid API key, or name a file of one with --key-file: entasis keys create ACCOUNT."
SCOPE_HINT = "Make a key with it: entasis keys create ACCOUNT --scopes market:read."


class RefusedError(Exception):
    """The server will not give what was asked for, however often it is asked. The text says why."""


class UnknownSymbolError(RefusedError):
    """The server does not list a symbol."""

    def __init__(self, symbol: str) -> None:
        super().__init__(f"This server does not list {shown(symbol)}.")
        self.symbol = symbol


class StrangeMessageError(RefusedError):
    """Something that the server of this engine does not say."""


class Link(Enum):
    """The state of the connection."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"


@dataclass(frozen=True)
class CandleSeen:
    """A candle, as the server tells it."""

    timestamp: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: str
    closed: bool


@dataclass
class SymbolSeen:
    """What is known of one symbol. Texts are as the server wrote them."""

    symbol: str
    price_text: str = ""
    price: Decimal | None = None
    direction: int = 0
    """1 after a rise, -1 after a fall, 0 before any."""
    size: str = ""
    timestamp: str = ""
    seq: int | None = None
    missed: int = 0
    """Trades that `seq` shows to be missing."""
    restarts: int = 0
    seen_at: datetime | None = None
    """When the newest message of it came, by our clock."""
    interrupted: str = ""
    """Why no data flows, while none does."""
    bids: Sequence[tuple[Decimal, Decimal, str, str]] = ()
    """Best first: price and size, and both as they were written."""
    asks: Sequence[tuple[Decimal, Decimal, str, str]] = ()
    candles: deque[CandleSeen] = field(default_factory=lambda: deque(maxlen=CANDLES_MAX))
    day_open: Decimal | None = None
    """What the day in UTC began with."""
    day_ago: Decimal | None = None
    """The price of 24 hours ago, where a key permits to ask for it."""
    day_ago_at: datetime | None = None
    """When it was asked for."""

    def change(self, now: datetime) -> tuple[Decimal, str] | None:
        """How the price changed, as a share, and since when; None where nothing is known."""
        fresh = self.day_ago_at is not None and now - self.day_ago_at < DAY_AGO_AGE_MAX
        reference, since = (self.day_ago, "24h") if fresh and self.day_ago else (self.day_open, "today")
        if self.price is None or not reference:
            return None
        return self.price / reference - 1, since


@dataclass(frozen=True)
class Note:
    """Something that happened."""

    at: datetime
    text: str


class Watched:
    """The state of a watch. Memory is bounded, whatever comes.

    Args:
        symbols: what is watched.
        interval: of the candles; empty for none.
        depth: levels of the order book; 0 for none.
        day: whether the change since midnight is wanted, too.
    """

    def __init__(self, symbols: Sequence[str], *, interval: str = "", depth: int = 0, day: bool = False) -> None:
        self.symbols = {symbol: SymbolSeen(symbol) for symbol in symbols}
        self.interval = interval
        self.depth = depth
        self.link = Link.CONNECTING
        self.retry_at: datetime | None = None
        self.reason = ""
        self.notes: deque[Note] = deque(maxlen=NOTES_MAX)
        self.noted = 0
        """How many there have been."""
        self.updates = 0
        """Messages with data that were shown."""
        self._day = day
        self._resuming: set[str] = set()
        self._anew: set[str] = set()
        """Symbols whose server does not go on after what is known here, and may count its trades anew."""

    def requests(self) -> list[dict[str, Any]]:
        """What to send on a new connection; with the last `seq` of each symbol, so that no trade is missed."""
        symbols = list(self.symbols)
        known = {one.symbol: one.seq for one in self.symbols.values() if one.seq is not None}
        market: dict[str, Any] = {"action": "subscribe", "channel": "market", "symbols": symbols, "id": "market"}
        if known:
            market["resume"] = known
        self._resuming, self._anew = set(known), set()
        found = [market]
        if self.depth:
            book = {"action": "subscribe", "channel": "orderbook", "symbols": symbols, "depth": self.depth}
            found.append({**book, "id": "orderbook"})
        intervals = dict.fromkeys(one for one in (self.interval, DAY if self._day else "") if one)
        for interval in intervals:
            candles = {"action": "subscribe", "channel": "candles", "symbols": symbols, "interval": interval}
            found.append({**candles, "id": f"candles {interval}"})
        return found

    def opened(self, now: datetime) -> None:
        """The connection is there."""
        if self.link is Link.RECONNECTING:
            self._note(now, "connected again")
        self.link, self.retry_at, self.reason = Link.CONNECTED, None, ""

    def lost(self, reason: str, retry_at: datetime, now: datetime) -> None:
        """The connection ended, or could not be made; another attempt follows."""
        reason = shown(reason)
        if self.link is not Link.RECONNECTING:
            self._note(now, f"connection lost: {reason}")
        self.link, self.retry_at, self.reason = Link.RECONNECTING, retry_at, reason

    def with_history(self, symbol: str, candles: Sequence[Mapping[str, Any]]) -> None:
        """Put closed candles, oldest first, before those that came since."""
        one = self.symbols[symbol]
        oldest = one.candles[0].timestamp if one.candles else ""
        older = [_candle({**candle, "closed": True}) for candle in candles]
        kept = [candle for candle in older if not oldest or candle.timestamp < oldest]
        one.candles = deque([*kept, *one.candles], maxlen=CANDLES_MAX)

    def with_day_ago(self, symbol: str, price: str, now: datetime) -> None:
        """Note the price of 24 hours ago. Raises `ValueError` where it is none."""
        one = self.symbols[symbol]
        one.day_ago, one.day_ago_at = _number(price), now

    def take(self, message: object, now: datetime) -> bool:
        """Take a message in; gives whether it is an update to be shown.

        Raises:
            RefusedError: the server will not give what was asked for.
        """
        if not isinstance(message, Mapping):
            raise StrangeMessageError(_STRANGE)
        match message.get("type"):
            case "error":
                self._fail(message, str(message.get("symbol", "")), now)
                return False
            case "ack":
                results = _results(message)
                for result in results:
                    if "error" in result:
                        self._fail(result["error"], str(result.get("symbol", "")), now)
                if message.get("id") == "market":
                    self._acknowledged(results, now)
                return False
            case None:
                is_shown = self._update(message, now)
                self.updates += is_shown
                return is_shown
            case _:
                return False

    def _acknowledged(self, results: Sequence[Mapping[str, Any]], now: datetime) -> None:
        for result in results:
            symbol = str(result.get("symbol", ""))
            if symbol not in self._resuming:
                continue
            if result.get("resumed"):
                self._note(now, f"{symbol}: resumed, no trade was missed")
            else:
                self._anew.add(symbol)
                seq = result.get("seq")
                if isinstance(seq, int):
                    self._compare(self.symbols[symbol], seq, now)
        self._resuming = set()

    def _compare(self, one: SymbolSeen, seq: int, now: datetime) -> None:
        """Forget what is known of a series that does not go on: one whose numbers are lower is another."""
        if one.symbol in self._anew and one.seq is not None and seq < one.seq:
            one.seq = None
            one.restarts += 1
            self._note(now, f"{one.symbol}: {_ANEW}")

    def _update(self, message: Mapping[str, Any], now: datetime) -> bool:
        one = self.symbols.get(str(message.get("symbol")))
        if one is None:
            return False
        try:
            match message.get("channel"):
                case "market":
                    is_shown = self._trade(one, message, now)
                case "orderbook":
                    _ = message["timestamp"], message["seq"]  # which a line of it tells
                    one.bids, one.asks = _side(message["bids"]), _side(message["asks"])
                    is_shown = True
                case "candles":
                    is_shown = self._on_candle(one, message)
                case _:
                    return False
        except (LookupError, TypeError, ValueError, OverflowError):
            raise StrangeMessageError(f"The server sent an update that cannot be read: {str(message)[:200]}") from None
        if one.interrupted:
            self._note(now, f"{one.symbol}: data flows again")
        one.interrupted, one.seen_at = "", now
        return is_shown

    def _trade(self, one: SymbolSeen, message: Mapping[str, Any], now: datetime) -> bool:
        seq = int(message["seq"])
        self._compare(one, seq, now)
        self._anew.discard(one.symbol)
        before = one.seq
        if before is not None and seq <= before:
            return False  # the snapshot that a subscription begins with, known already
        if before is not None and seq > before + 1:
            missing = seq - before - 1
            if missing >= RESTART_STEP:
                one.restarts += 1
                self._note(now, f"{one.symbol}: {_ANEW}")
            else:
                one.missed += missing
                trades = "1 trade is" if missing == 1 else f"{missing:,} trades are"
                self._note(now, f"{one.symbol}: {trades} missing before seq {seq}")
        price = _number(message["price"])
        if one.price is not None and price != one.price:
            one.direction = 1 if price > one.price else -1
        one.price, one.price_text, one.size = price, shown(message["price"]), shown(message["volume"])
        one.timestamp, one.seq = shown(message["timestamp"]), seq
        return True

    def _on_candle(self, one: SymbolSeen, message: Mapping[str, Any]) -> bool:
        candle = _candle(message)
        if message["interval"] == DAY:
            one.day_open = candle.open
        if message["interval"] != self.interval:
            return False
        if one.candles and one.candles[-1].timestamp == candle.timestamp:
            one.candles[-1] = candle
        elif not one.candles or one.candles[-1].timestamp < candle.timestamp:
            one.candles.append(candle)
        else:  # one that closed late
            known = {known.timestamp: known for known in one.candles} | {candle.timestamp: candle}
            one.candles = deque((known[at] for at in sorted(known)), maxlen=CANDLES_MAX)
        return True

    def _fail(self, error: object, symbol: str, now: datetime) -> None:
        if not isinstance(error, Mapping):
            raise StrangeMessageError(_STRANGE)
        reason = reason_of(error)
        if reason in INTERRUPTIONS:
            for one in self.symbols.values():
                if symbol in {"", one.symbol} and not one.interrupted:
                    one.interrupted = INTERRUPTIONS[reason]
                    self._note(now, f"{one.symbol}: {INTERRUPTIONS[reason]}; data goes on by itself")
            return
        if reason == "MARKET_001":
            raise UnknownSymbolError(symbol or "a symbol")
        raise RefusedError(refusal(error))

    def _note(self, now: datetime, text: str) -> None:
        self.notes.append(Note(now, shown(text)))
        self.noted += 1


_ANEW = "the engine was started anew; trades meanwhile are not known here"
_STRANGE = "What answers does not speak like /ws/market of this engine."


def shown(text: object) -> str:
    """What a server wrote, for a terminal: signs that would move its cursor, or do worse, are replaced."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in str(text))


def _results(message: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Those of an acknowledgement."""
    results = message.get("results", [])
    if not isinstance(results, list) or not all(isinstance(one, Mapping) for one in results):
        raise StrangeMessageError(_STRANGE)
    return results


def reason_of(error: Mapping[str, Any]) -> str:
    """The reason of an error body, such as `AUTH_001`; empty where it has none."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, Mapping) and "reason" in detail:
            return str(detail["reason"])
    return ""


def refusal(error: Mapping[str, Any]) -> str:
    """An error body in words, with what to do about it."""
    hint = {"AUTH_001": AUTH_HINT, "AUTH_002": SCOPE_HINT}.get(reason_of(error), "")
    said = shown(error.get("message", "")).rstrip(".") or "it gives no reason"
    return f"The server refuses: {said}. {hint}".rstrip()


def _candle(message: Mapping[str, Any]) -> CandleSeen:
    opening, high, low, close = (_number(message[name]) for name in ("open", "high", "low", "close"))
    return CandleSeen(
        shown(message["timestamp"]), opening, high, low, close, shown(message["volume"]), bool(message["closed"])
    )


def _side(levels: Sequence[Sequence[str]]) -> list[tuple[Decimal, Decimal, str, str]]:
    return [(_number(price), _number(size), shown(price), shown(size)) for price, size in levels]


def _number(text: object) -> Decimal:
    """Raises `ValueError` where it is none, or none that could be printed."""
    try:
        found = Decimal(str(text))
    except InvalidOperation:
        raise ValueError(text) from None
    exponent = found.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -DIGITS_MAX or found.adjusted() >= DIGITS_MAX:
        raise ValueError(text)
    return found
