"""A client of Entasis Engine over gRPC, for asyncio: `async with Entasis("127.0.0.1:8080", api_key=…) as client`.

It knows the contract alone, by the messages in gen/betterproto.
"""

from entasis_client.client import Entasis
from entasis_client.errors import (
    AuthenticationError,
    DeadlineError,
    EntasisError,
    InvalidRequestError,
    LimitError,
    NotFoundError,
    PermissionDeniedError,
    RefusedError,
    UnavailableError,
    Violation,
)
from entasis_client.results import (
    Candle,
    CandleUpdate,
    FeedInterruption,
    Level,
    OrderBook,
    Position,
    PositionUpdate,
    Price,
    PriceUpdate,
)
from entasis_client.retry import Backoff
from entasis_client.streams import Gap, MissedCandles, Reconnected
from entasis_client.values import decimal_text

__all__ = [
    "AuthenticationError",
    "Backoff",
    "Candle",
    "CandleUpdate",
    "DeadlineError",
    "Entasis",
    "EntasisError",
    "FeedInterruption",
    "Gap",
    "InvalidRequestError",
    "Level",
    "LimitError",
    "MissedCandles",
    "NotFoundError",
    "OrderBook",
    "PermissionDeniedError",
    "Position",
    "PositionUpdate",
    "Price",
    "PriceUpdate",
    "Reconnected",
    "RefusedError",
    "UnavailableError",
    "Violation",
    "decimal_text",
]
