import datetime

from buf.validate import validate_pb2 as _validate_pb2
from entasis.access.v1 import requirement_pb2 as _requirement_pb2
from entasis.errors.v1 import error_reason_pb2 as _error_reason_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetPriceRequest(_message.Message):
    __slots__ = ("symbol",)
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    def __init__(self, symbol: _Optional[str] = ...) -> None: ...

class GetPriceResponse(_message.Message):
    __slots__ = ("symbol", "price", "timestamp", "volume", "exchange")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    price: str
    timestamp: _timestamp_pb2.Timestamp
    volume: str
    exchange: str
    def __init__(self, symbol: _Optional[str] = ..., price: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., volume: _Optional[str] = ..., exchange: _Optional[str] = ...) -> None: ...

class ListPricesRequest(_message.Message):
    __slots__ = ("symbols",)
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, symbols: _Optional[_Iterable[str]] = ...) -> None: ...

class ListPricesResponse(_message.Message):
    __slots__ = ("prices", "failures")
    PRICES_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    prices: _containers.RepeatedCompositeFieldContainer[GetPriceResponse]
    failures: _containers.RepeatedCompositeFieldContainer[SymbolFailure]
    def __init__(self, prices: _Optional[_Iterable[_Union[GetPriceResponse, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[SymbolFailure, _Mapping]]] = ...) -> None: ...

class SymbolFailure(_message.Message):
    __slots__ = ("symbol", "reason", "message")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    reason: _error_reason_pb2.ErrorReason
    message: str
    def __init__(self, symbol: _Optional[str] = ..., reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class GetHistoryRequest(_message.Message):
    __slots__ = ("symbol", "interval", "start", "end", "page_size", "page_token")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    interval: str
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    page_size: int
    page_token: str
    def __init__(self, symbol: _Optional[str] = ..., interval: _Optional[str] = ..., start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class GetHistoryResponse(_message.Message):
    __slots__ = ("symbol", "data", "interval", "next_page_token")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    data: _containers.RepeatedCompositeFieldContainer[Candle]
    interval: str
    next_page_token: str
    def __init__(self, symbol: _Optional[str] = ..., data: _Optional[_Iterable[_Union[Candle, _Mapping]]] = ..., interval: _Optional[str] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Candle(_message.Message):
    __slots__ = ("timestamp", "open", "high", "low", "close", "volume")
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    timestamp: _timestamp_pb2.Timestamp
    open: str
    high: str
    low: str
    close: str
    volume: str
    def __init__(self, timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., open: _Optional[str] = ..., high: _Optional[str] = ..., low: _Optional[str] = ..., close: _Optional[str] = ..., volume: _Optional[str] = ...) -> None: ...

class GetOrderBookRequest(_message.Message):
    __slots__ = ("symbol", "depth")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    depth: int
    def __init__(self, symbol: _Optional[str] = ..., depth: _Optional[int] = ...) -> None: ...

class GetOrderBookResponse(_message.Message):
    __slots__ = ("symbol", "bids", "asks", "timestamp", "seq", "checksum")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    BIDS_FIELD_NUMBER: _ClassVar[int]
    ASKS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    bids: _containers.RepeatedCompositeFieldContainer[_struct_pb2.ListValue]
    asks: _containers.RepeatedCompositeFieldContainer[_struct_pb2.ListValue]
    timestamp: _timestamp_pb2.Timestamp
    seq: int
    checksum: int
    def __init__(self, symbol: _Optional[str] = ..., bids: _Optional[_Iterable[_Union[_struct_pb2.ListValue, _Mapping]]] = ..., asks: _Optional[_Iterable[_Union[_struct_pb2.ListValue, _Mapping]]] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., seq: _Optional[int] = ..., checksum: _Optional[int] = ...) -> None: ...

class ListInstrumentsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListInstrumentsResponse(_message.Message):
    __slots__ = ("instruments",)
    INSTRUMENTS_FIELD_NUMBER: _ClassVar[int]
    instruments: _containers.RepeatedCompositeFieldContainer[Instrument]
    def __init__(self, instruments: _Optional[_Iterable[_Union[Instrument, _Mapping]]] = ...) -> None: ...

class Instrument(_message.Message):
    __slots__ = ("symbol", "base_currency", "quote_currency", "tick_size", "lot_size", "quote_scale", "max_leverage", "exchange")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    BASE_CURRENCY_FIELD_NUMBER: _ClassVar[int]
    QUOTE_CURRENCY_FIELD_NUMBER: _ClassVar[int]
    TICK_SIZE_FIELD_NUMBER: _ClassVar[int]
    LOT_SIZE_FIELD_NUMBER: _ClassVar[int]
    QUOTE_SCALE_FIELD_NUMBER: _ClassVar[int]
    MAX_LEVERAGE_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    base_currency: str
    quote_currency: str
    tick_size: str
    lot_size: str
    quote_scale: int
    max_leverage: str
    exchange: str
    def __init__(self, symbol: _Optional[str] = ..., base_currency: _Optional[str] = ..., quote_currency: _Optional[str] = ..., tick_size: _Optional[str] = ..., lot_size: _Optional[str] = ..., quote_scale: _Optional[int] = ..., max_leverage: _Optional[str] = ..., exchange: _Optional[str] = ...) -> None: ...

class StreamPricesRequest(_message.Message):
    __slots__ = ("symbols", "resume_after")
    class ResumeAfterEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    RESUME_AFTER_FIELD_NUMBER: _ClassVar[int]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    resume_after: _containers.ScalarMap[str, int]
    def __init__(self, symbols: _Optional[_Iterable[str]] = ..., resume_after: _Optional[_Mapping[str, int]] = ...) -> None: ...

class StreamPricesResponse(_message.Message):
    __slots__ = ("updates", "interruptions")
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    INTERRUPTIONS_FIELD_NUMBER: _ClassVar[int]
    updates: _containers.RepeatedCompositeFieldContainer[PriceUpdate]
    interruptions: _containers.RepeatedCompositeFieldContainer[FeedInterruption]
    def __init__(self, updates: _Optional[_Iterable[_Union[PriceUpdate, _Mapping]]] = ..., interruptions: _Optional[_Iterable[_Union[FeedInterruption, _Mapping]]] = ...) -> None: ...

class PriceUpdate(_message.Message):
    __slots__ = ("symbol", "price", "timestamp", "volume", "seq")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    price: str
    timestamp: _timestamp_pb2.Timestamp
    volume: str
    seq: int
    def __init__(self, symbol: _Optional[str] = ..., price: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., volume: _Optional[str] = ..., seq: _Optional[int] = ...) -> None: ...

class FeedInterruption(_message.Message):
    __slots__ = ("symbol", "restored", "last_heard_time", "exchange")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    RESTORED_FIELD_NUMBER: _ClassVar[int]
    LAST_HEARD_TIME_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    restored: bool
    last_heard_time: _timestamp_pb2.Timestamp
    exchange: str
    def __init__(self, symbol: _Optional[str] = ..., restored: _Optional[bool] = ..., last_heard_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., exchange: _Optional[str] = ...) -> None: ...

class StreamOrderBooksRequest(_message.Message):
    __slots__ = ("symbols", "depth")
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    depth: int
    def __init__(self, symbols: _Optional[_Iterable[str]] = ..., depth: _Optional[int] = ...) -> None: ...

class StreamOrderBooksResponse(_message.Message):
    __slots__ = ("books", "interruptions")
    BOOKS_FIELD_NUMBER: _ClassVar[int]
    INTERRUPTIONS_FIELD_NUMBER: _ClassVar[int]
    books: _containers.RepeatedCompositeFieldContainer[GetOrderBookResponse]
    interruptions: _containers.RepeatedCompositeFieldContainer[FeedInterruption]
    def __init__(self, books: _Optional[_Iterable[_Union[GetOrderBookResponse, _Mapping]]] = ..., interruptions: _Optional[_Iterable[_Union[FeedInterruption, _Mapping]]] = ...) -> None: ...

class StreamCandlesRequest(_message.Message):
    __slots__ = ("symbols", "interval")
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    interval: str
    def __init__(self, symbols: _Optional[_Iterable[str]] = ..., interval: _Optional[str] = ...) -> None: ...

class StreamCandlesResponse(_message.Message):
    __slots__ = ("updates", "interruptions")
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    INTERRUPTIONS_FIELD_NUMBER: _ClassVar[int]
    updates: _containers.RepeatedCompositeFieldContainer[CandleUpdate]
    interruptions: _containers.RepeatedCompositeFieldContainer[FeedInterruption]
    def __init__(self, updates: _Optional[_Iterable[_Union[CandleUpdate, _Mapping]]] = ..., interruptions: _Optional[_Iterable[_Union[FeedInterruption, _Mapping]]] = ...) -> None: ...

class CandleUpdate(_message.Message):
    __slots__ = ("symbol", "interval", "candle", "closed", "seq")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    CANDLE_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    interval: str
    candle: Candle
    closed: bool
    seq: int
    def __init__(self, symbol: _Optional[str] = ..., interval: _Optional[str] = ..., candle: _Optional[_Union[Candle, _Mapping]] = ..., closed: _Optional[bool] = ..., seq: _Optional[int] = ...) -> None: ...
