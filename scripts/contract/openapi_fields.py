"""What the fields hold that Protobuf has no types for, with an example of each: decimals, names, ids.

A key is `Message.field`, or `field` where the field means the same in every message. A field of an answer that is not
here stops the generator, and so does a key that no field has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Holds:
    """What a field holds: what its type does not say of it, and an example."""

    schema: Schema
    example: object


SYMBOL_PATTERN = "^[A-Z0-9]{1,20}-[A-Z0-9]{1,20}$"
DECIMAL: Schema = {"pattern": r"^[0-9]+(\.[0-9]+)?$"}
SIGNED: Schema = {"pattern": r"^-?[0-9]+(\.[0-9]+)?$"}
DECIMAL_OR_EMPTY: Schema = {"pattern": r"^([0-9]+(\.[0-9]+)?)?$"}
POSITION_ID: Schema = {"pattern": "^pos_[0-9A-Za-z_]{1,60}$"}
NAME: Schema = {"minLength": 1}
COUNT: Schema = {"minimum": 0}
SHARE: Schema = {"minimum": 0, "maximum": 1}
ANY: Schema = {}
PAIR: Schema = {"type": "array", "items": {"type": "string", **DECIMAL}, "minItems": 2, "maxItems": 2}
"""A price and a size."""
SIDES = ["long", "short"]
TIMEFRAMES = ["1h", "4h", "1d"]
MOMENT = "2024-03-21T09:30:00Z"
MOMENT_MS = "2024-03-21T09:30:00.123Z"
POSITION = "pos_123456"

HOLDS: Mapping[str, Holds] = {
    # Everywhere.
    "symbol": Holds({"pattern": SYMBOL_PATTERN}, "BTC-USDT"),
    "timestamp": Holds(ANY, MOMENT),
    "seq": Holds(ANY, "1711013400123001"),
    "exchange": Holds(NAME, "binance"),
    "next_page_token": Holds(ANY, ""),
    "currency": Holds(NAME, "USDT"),
    "position_id": Holds(POSITION_ID, POSITION),
    "type": Holds({"enum": SIDES}, "long"),
    "price": Holds(DECIMAL, "65432.10"),
    "size": Holds(DECIMAL, "1.5"),
    "interval": Holds({"enum": ["1m", "5m", "1h", "1d"]}, "1h"),
    "timeframe": Holds({"enum": TIMEFRAMES}, "1h"),
    "model": Holds({"enum": ["lstm", "ensemble"]}, "ensemble"),
    "sample_size": Holds(COUNT, 1095),
    # Market.
    "volume": Holds(DECIMAL, "123.45"),
    "PriceUpdate.timestamp": Holds(ANY, MOMENT_MS),
    "PriceUpdate.volume": Holds(DECIMAL, "1.23"),
    "SymbolFailure.symbol": Holds({"pattern": SYMBOL_PATTERN}, "FOO-BAR"),
    "SymbolFailure.reason": Holds({"enum": ["MARKET_001", "MARKET_002"]}, "MARKET_001"),
    "message": Holds(NAME, "Unknown symbol 'FOO-BAR'"),
    "Candle.timestamp": Holds(ANY, "2024-03-21T09:00:00Z"),
    "open": Holds(DECIMAL, "65000.00"),
    "high": Holds(DECIMAL, "65100.00"),
    "low": Holds(DECIMAL, "64900.00"),
    "close": Holds(DECIMAL, "65050.00"),
    "Candle.volume": Holds(DECIMAL, "234.56"),
    "closed": Holds(ANY, False),
    "GetOrderBookResponse.timestamp": Holds(ANY, MOMENT_MS),
    "bids": Holds(PAIR, [["65000.00", "1.234"], ["64999.00", "2.345"]]),
    "asks": Holds(PAIR, [["65001.00", "1.234"], ["65002.00", "2.345"]]),
    "checksum": Holds(ANY, 3054209017),
    "interruptions": Holds(ANY, []),
    "restored": Holds(ANY, False),
    "last_heard_time": Holds(ANY, "2024-03-21T09:29:44.871Z"),
    "base_currency": Holds(NAME, "BTC"),
    "quote_currency": Holds(NAME, "USDT"),
    "tick_size": Holds(DECIMAL, "0.01"),
    "lot_size": Holds(DECIMAL, "0.00001"),
    "quote_scale": Holds(COUNT, 2),
    "max_leverage": Holds(DECIMAL, "20"),
    # Portfolio.
    "entry_price": Holds(DECIMAL, "64000.00"),
    "current_price": Holds(DECIMAL, "65000.00"),
    "pnl": Holds(SIGNED, "1500.00"),
    "leverage": Holds(DECIMAL, "1"),
    "Position.status": Holds({"enum": ["open", "closed", "liquidated"]}, "open"),
    "status": Holds({"const": "success"}, "success"),
    "margin": Holds(DECIMAL, "96000.00"),
    "liquidation_price": Holds(DECIMAL_OR_EMPTY, "320.00"),
    "realised_pnl": Holds(SIGNED, "0.00"),
    "fees": Holds(DECIMAL, "48.00"),
    "open_time": Holds(ANY, "2024-03-20T15:00:00Z"),
    "close_time": Holds(ANY, MOMENT),
    "ClosePositionResponse.price": Holds(DECIMAL, "65000.00"),
    "ClosePositionResponse.realised_pnl": Holds(SIGNED, "1500.00"),
    "ClosePositionResponse.fee": Holds(DECIMAL, "48.75"),
    "open_size": Holds(DECIMAL, "0"),
    "event": Holds(ANY, "snapshot"),
    "balance": Holds(DECIMAL, "99952.00"),
    "equity": Holds(SIGNED, "101452.00"),
    "free_margin": Holds(DECIMAL, "3952.00"),
    "used_margin": Holds(DECIMAL, "96000.00"),
    "unrealised_pnl": Holds(SIGNED, "1500.00"),
    "trade_id": Holds({"pattern": "^trd_[0-9A-Za-z_]+$"}, "trd_123456"),
    "Trade.kind": Holds({"enum": ["open", "close", "liquidation"]}, "open"),
    "Trade.price": Holds(DECIMAL, "64000.00"),
    "Trade.notional": Holds(DECIMAL, "96000.00"),
    "Trade.timestamp": Holds(ANY, "2024-03-20T15:00:00Z"),
    "fee": Holds(DECIMAL, "48.00"),
    "transaction_id": Holds({"pattern": "^txn_[0-9A-Za-z_]+$"}, "txn_123456"),
    "LedgerEntry.kind": Holds({"enum": ["deposit", "withdrawal", "open", "close", "liquidation"]}, "open"),
    "LedgerEntry.position_id": Holds({"pattern": "^(pos_[0-9A-Za-z_]{1,60})?$"}, POSITION),
    "LedgerEntry.account": Holds({"enum": ["free", "margin"]}, "free"),
    "LedgerEntry.timestamp": Holds(ANY, "2024-03-20T15:00:00Z"),
    "amount": Holds(SIGNED, "-96048.00"),
    # Analysis.
    "prediction": Holds(DECIMAL, "66000.00"),
    "confidence": Holds(SHARE, 0.85),
    "as_of": Holds(ANY, "2024-03-21T09:00:00Z"),
    "target_time": Holds(ANY, "2024-03-21T10:00:00Z"),
    "last_price": Holds(DECIMAL, "65050.00"),
    "band": Holds(DECIMAL, "0.005"),
    "PredictionInterval.level": Holds(SHARE, 0.95),
    "PredictionInterval.low": Holds(DECIMAL, "65100.00"),
    "PredictionInterval.high": Holds(DECIMAL, "66900.00"),
    "GetPredictionResponse.volatility": Holds(DECIMAL, "0.006942"),
    "model_version": Holds(NAME, "20240320T000012345Z-1a2b3c"),
    "training_cutoff": Holds(ANY, "2024-03-20T00:00:00Z"),
    "var_95": Holds(DECIMAL, "3200.00"),
    "expected_shortfall": Holds(DECIMAL, "3800.00"),
    "volatility": Holds(DECIMAL, "0.45"),
    "method": Holds(NAME, "har-garman-klass/peaks-over-threshold"),
    "horizon": Holds({"const": "1d"}, "1d"),
    "unvalued_position_ids": Holds(POSITION_ID, []),
    "net_notional": Holds(SIGNED, "97500.00"),
    "gross_notional": Holds(DECIMAL, "97500.00"),
    "CurrencyRisk.var_95": Holds(DECIMAL, "4800.00"),
    "CurrencyRisk.expected_shortfall": Holds(DECIMAL, "5700.00"),
    "notional": Holds(DECIMAL, "97500.00"),
    "var_contribution": Holds(SIGNED, "4800.00"),
    "expected_shortfall_contribution": Holds(SIGNED, "5700.00"),
    "first_as_of": Holds(ANY, "2023-12-22T09:00:00Z"),
    "last_as_of": Holds(ANY, "2024-03-21T08:00:00Z"),
    "mean_absolute_error": Holds(DECIMAL_OR_EMPTY, "212.40"),
    "random_walk_error": Holds(DECIMAL_OR_EMPTY, "213.10"),
    "relative_error": Holds(COUNT, 0.9967),
    "t_statistic": Holds(ANY, 1.31),
    "Coverage.level": Holds(SHARE, 0.95),
    "share": Holds(SHARE, 0.9487),
    "hit_rate": Holds(SHARE, 0.8512),
    "mean_confidence": Holds(SHARE, 0.8447),
    "calibration_error": Holds(SHARE, 0.0123),
    "brier_skill": Holds({"maximum": 1}, 0.0341),
    "version": Holds(NAME, "20240320T000012345Z-1a2b3c"),
    "trained_from": Holds(ANY, "2021-03-21T00:00:00Z"),
    "symbols": Holds({"pattern": SYMBOL_PATTERN}, ["BTC-USDT", "ETH-USDT"]),
    "features": Holds(NAME, ["return_24", "variance_24", "volume_24"]),
    "metrics": Holds(ANY, {"relative_error_both": 0.9967}),
    "state": Holds({"enum": ["loading", "idle", "running", "failed", "off"]}, "idle"),
    "progress": Holds(SHARE, 0.0),
    "expected_time": Holds(ANY, "2024-03-21T09:31:00Z"),
    # Access. The token is no real one.
    "access_token": Holds(NAME, "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJhY2NfMTIzNDU2In0.c2lnbmF0dXJl"),
    "token_type": Holds({"const": "Bearer"}, "Bearer"),
    "expires_in": Holds({"minimum": 0}, 900),
    "expires_at": Holds(ANY, "2024-03-21T09:45:00Z"),
    "scopes": Holds(ANY, ["market:read"]),
    "IssueTokenResponse.scopes": Holds(
        {"enum": ["admin", "analysis:read", "market:read", "portfolio:read", "portfolio:write"]}, ["market:read"]
    ),
    "account": Holds(NAME, "acc_123456"),
    # Requests alone. Examples in requests are tried out in Swagger UI: they must be answered by a fresh engine.
    "start": Holds(ANY, "2024-03-21T09:00:00Z"),
    "end": Holds(ANY, "2024-03-21T10:00:00Z"),
    "page_size": Holds(ANY, 100),
    "page_token": Holds(ANY, ""),
    "depth": Holds(ANY, 10),
    "days": Holds(ANY, 90),
    "lifetime_seconds": Holds(ANY, 300),
    "ListPositionsRequest.status": Holds(ANY, "open"),
    "StreamCandlesRequest.interval": Holds(ANY, "1m"),
    "ClosePositionRequest.size": Holds(ANY, "0.5"),
}

MAY_BE_ABSENT: Mapping[str, str] = {
    "FeedInterruption.last_heard_time": "the feed was never heard of",
    "Position.close_time": "the position is open",
    "Accuracy.first_as_of": "nothing is scored yet",
    "Accuracy.last_as_of": "nothing is scored yet",
    "Training.expected_time": "no training runs, and none has failed",
}
"""Fields that hold a message and are left out at times, with when that is; all other messages always are there."""

NOT_SHOWN: Sequence[str] = ("Position.close_time", "Training.expected_time")
"""Fields that are left out of examples, since the rest of the example does not go with them."""

VALUES: Mapping[str, str] = {
    "symbol": "FOO-BAR",
    "exchange": "binance",
    "required": "64032.00",
    "available": "3952.00",
    "currency": "USDT",
    "limit": "1000",
    "what": "open positions",
    "position_id": POSITION,
    "status": "closed",
    "open_size": "0.5",
    "given": "1.5",
    "needed": "1000",
    "timeframe": "1h",
    "cutoff": "2024-03-21T09:00:00Z",
    "scope": "portfolio:write",
    "address": "192.0.2.1",
    "request_id": "7377c689-3e03-4de1-b085-ad40e55a9c65",
    "header": "X-API-Key",
    "form": "<key>",
    "problem": "depth: must be from 1 to 100, not 0",
}
"""What the placeholders of the catalogue's messages stand for in examples."""

CASE_VALUES: Mapping[str, Mapping[str, str]] = {
    "SYMBOL_MALFORMED": {"symbol": "btc"},
    "POSITION_LIMIT": {"limit": "100"},
    "HISTORY_SHORT": {"given": "12"},
    "TOO_LARGE": {"limit": "65536"},
    "TOO_MANY": {"limit": "100", "what": "open streams"},
}
