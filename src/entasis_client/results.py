"""What the client gives: the contract's answers with prices, sizes and money as `Decimal` and times as aware datetimes.

Each type is a list of fields, named as in the contract (proto/entasis, where every field is explained); `taken` makes
it from the message of the same shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from functools import cache
from types import UnionType
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import betterproto2

R = TypeVar("R")


class Level(NamedTuple):
    """A level of an order book: price, and size in base currency."""

    price: Decimal
    size: Decimal


@dataclass(frozen=True, slots=True)
class Price:
    """The last traded price; `volume` is that of the last 24 hours."""

    symbol: str
    price: Decimal
    timestamp: datetime
    volume: Decimal
    exchange: str


@dataclass(frozen=True, slots=True)
class SymbolFailure:
    """Why one symbol of several has no price: MARKET_001 (not listed) or MARKET_002 (not live)."""

    symbol: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices that could be given, and the reasons for those that could not."""

    prices: tuple[Price, ...]
    failures: tuple[SymbolFailure, ...]


@dataclass(frozen=True, slots=True)
class Candle:
    """What was traded within one interval, which opens at `timestamp`."""

    timestamp: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True, slots=True)
class OrderBook:
    """The best levels, best first. `checksum` is over the levels as the engine prints them."""

    symbol: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    timestamp: datetime
    seq: int
    checksum: int


@dataclass(frozen=True, slots=True)
class Instrument:
    """What can be traded, and in which steps."""

    symbol: str
    base_currency: str
    quote_currency: str
    tick_size: Decimal
    lot_size: Decimal
    quote_scale: int
    max_leverage: Decimal
    exchange: str


@dataclass(frozen=True, slots=True)
class PriceUpdate:
    """One trade."""

    symbol: str
    price: Decimal
    timestamp: datetime
    volume: Decimal
    seq: int


@dataclass(frozen=True, slots=True)
class CandleUpdate:
    """One candle as it stands. `seq` is 0 where it was filled in from the history, after a loss."""

    symbol: str
    interval: str
    candle: Candle
    closed: bool
    seq: int


@dataclass(frozen=True, slots=True)
class FeedInterruption:
    """The data of one instrument is not live, or (`restored`) is again."""

    symbol: str
    restored: bool
    last_heard_time: datetime | None
    exchange: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A position is open."""

    position_id: str
    status: str
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class Closed:
    """What of a position was closed, and what is still open."""

    position_id: str
    status: str
    timestamp: datetime
    size: Decimal
    price: Decimal
    realised_pnl: Decimal
    fee: Decimal
    open_size: Decimal


@dataclass(frozen=True, slots=True)
class Position:
    """A size of one instrument, held long or short on isolated margin."""

    symbol: str
    size: Decimal
    entry_price: Decimal
    current_price: Decimal
    pnl: Decimal
    timestamp: datetime
    position_id: str
    type: str
    leverage: Decimal
    status: str
    margin: Decimal
    liquidation_price: Decimal | None
    realised_pnl: Decimal
    fees: Decimal
    open_time: datetime
    close_time: datetime | None


@dataclass(frozen=True, slots=True)
class PositionUpdate:
    """What a position is like now and why (`event`), or, where that is `snapshot`, all that are open."""

    event: str
    seq: int
    positions: tuple[Position, ...]


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account has of one currency."""

    currency: str
    balance: Decimal
    equity: Decimal
    free_margin: Decimal
    used_margin: Decimal
    unrealised_pnl: Decimal


@dataclass(frozen=True, slots=True)
class Trade:
    """A fill."""

    trade_id: str
    position_id: str
    symbol: str
    type: str
    kind: str
    size: Decimal
    price: Decimal
    notional: Decimal
    fee: Decimal
    realised_pnl: Decimal
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A change of one of the account's balances."""

    transaction_id: str
    kind: str
    position_id: str
    account: str
    currency: str
    amount: Decimal
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class PredictionInterval:
    """Where the close at the horizon lands with the probability `level`."""

    level: float
    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class Prediction:
    """A forecast. `confidence` is a probability, and a float as in the contract."""

    symbol: str
    prediction: Decimal
    confidence: float
    timeframe: str
    model: str
    timestamp: datetime
    as_of: datetime
    target_time: datetime
    last_price: Decimal
    band: Decimal
    intervals: tuple[PredictionInterval, ...]
    volatility: Decimal
    model_version: str
    training_cutoff: datetime


@dataclass(frozen=True, slots=True)
class Risk:
    """What one unit of an instrument may lose within one day."""

    symbol: str
    var_95: Decimal
    expected_shortfall: Decimal
    volatility: Decimal
    timestamp: datetime
    as_of: datetime
    method: str
    horizon: str
    sample_size: int
    last_price: Decimal


@dataclass(frozen=True, slots=True)
class PositionRisk:
    """One position's part in the risk of an account."""

    position_id: str
    symbol: str
    type: str
    size: Decimal
    notional: Decimal
    var_contribution: Decimal
    expected_shortfall_contribution: Decimal


@dataclass(frozen=True, slots=True)
class CurrencyRisk:
    """The risk of the positions in one quote currency."""

    currency: str
    var_95: Decimal
    expected_shortfall: Decimal
    net_notional: Decimal
    gross_notional: Decimal
    positions: tuple[PositionRisk, ...]
    as_of: datetime
    method: str
    horizon: str
    sample_size: int


@dataclass(frozen=True, slots=True)
class PortfolioRisk:
    """What the account's open positions may lose within one day, by quote currency."""

    risks: tuple[CurrencyRisk, ...]
    timestamp: datetime
    unvalued_position_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often the close landed within an interval of the probability `level`."""

    level: float
    share: float


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How well one model did at one horizon; None for what the sample is too small for."""

    timeframe: str
    model: str
    sample_size: int
    first_as_of: datetime | None
    last_as_of: datetime | None
    mean_absolute_error: Decimal | None
    random_walk_error: Decimal | None
    relative_error: float | None
    t_statistic: float | None
    coverage: tuple[Coverage, ...]
    hit_rate: float | None
    mean_confidence: float | None
    calibration_error: float | None
    brier_skill: float | None


@dataclass(frozen=True, slots=True)
class Accuracies:
    """How well forecasts of one instrument have done."""

    symbol: str
    accuracies: tuple[Accuracy, ...]
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class Model:
    """What forecasts of one horizon are made with."""

    timeframe: str
    version: str
    trained_from: datetime | None
    training_cutoff: datetime | None
    sample_size: int
    symbols: tuple[str, ...]
    features: tuple[str, ...]
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Training:
    """What the training of models is about."""

    state: str
    progress: float
    expected_time: datetime | None


@dataclass(frozen=True, slots=True)
class Models:
    """All models, and the training."""

    models: tuple[Model, ...]
    training: Training | None


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A short-lived token, to be sent as `Authorization: Bearer <access_token>`. It does not print itself."""

    access_token: str
    token_type: str
    expires_in: int
    expires_at: datetime
    scopes: tuple[str, ...]
    account: str


def taken(result: type[R], message: betterproto2.Message) -> R:
    """A result from the message of the same shape. Raises ValueError where the message lacks what the type promises."""
    values = []
    for name, convert in _plan(result):  # type: ignore[arg-type] # mypy doubts that classes are hashable
        try:
            values.append(convert(getattr(message, name)))
        except (ArithmeticError, ValueError):
            raise ValueError(
                f"{result.__name__}.{name} came as {getattr(message, name)!r}: the engine is older than this client"
            ) from None
    return result(*values)


@cache
def _plan(result: type[Any]) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    hints = get_type_hints(result)
    return tuple((field.name, _converter(hints[field.name])) for field in fields(result))


def _converter(hint: Any) -> Callable[[Any], Any]:  # noqa: PLR0911 - one for each kind of field
    if get_origin(hint) in {UnionType, Union}:
        inner = _converter(get_args(hint)[0])
        return lambda value: None if value is None or value == "" else inner(value)
    if get_origin(hint) is tuple:
        of_one = _converter(get_args(hint)[0])
        return lambda values: tuple([of_one(value) for value in values])
    if hint is Decimal:
        return Decimal
    if hint is datetime:
        return _required
    if hint is str:
        return lambda value: value.name or str(value) if isinstance(value, betterproto2.Enum) else value
    if hint is Level:
        return lambda pair: Level(*[Decimal(value.string_value) for value in pair.values])
    if isinstance(hint, type) and hasattr(hint, "__dataclass_fields__"):
        return lambda message: taken(hint, _required(message))
    return _as_it_is


def _required(value: Any) -> Any:
    if value is None:
        raise ValueError
    return value


def _as_it_is(value: Any) -> Any:
    return value
