import datetime

from buf.validate import validate_pb2 as _validate_pb2
from entasis.access.v1 import requirement_pb2 as _requirement_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListPositionsRequest(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: str
    def __init__(self, status: _Optional[str] = ...) -> None: ...

class ListPositionsResponse(_message.Message):
    __slots__ = ("positions",)
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.RepeatedCompositeFieldContainer[Position]
    def __init__(self, positions: _Optional[_Iterable[_Union[Position, _Mapping]]] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("symbol", "size", "entry_price", "current_price", "pnl", "timestamp", "position_id", "type", "leverage", "status")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    ENTRY_PRICE_FIELD_NUMBER: _ClassVar[int]
    CURRENT_PRICE_FIELD_NUMBER: _ClassVar[int]
    PNL_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    POSITION_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    LEVERAGE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    size: str
    entry_price: str
    current_price: str
    pnl: str
    timestamp: _timestamp_pb2.Timestamp
    position_id: str
    type: str
    leverage: str
    status: str
    def __init__(self, symbol: _Optional[str] = ..., size: _Optional[str] = ..., entry_price: _Optional[str] = ..., current_price: _Optional[str] = ..., pnl: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., position_id: _Optional[str] = ..., type: _Optional[str] = ..., leverage: _Optional[str] = ..., status: _Optional[str] = ...) -> None: ...

class CreatePositionRequest(_message.Message):
    __slots__ = ("symbol", "size", "type", "leverage")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    LEVERAGE_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    size: str
    type: str
    leverage: str
    def __init__(self, symbol: _Optional[str] = ..., size: _Optional[str] = ..., type: _Optional[str] = ..., leverage: _Optional[str] = ...) -> None: ...

class CreatePositionResponse(_message.Message):
    __slots__ = ("position_id", "status", "timestamp")
    POSITION_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    position_id: str
    status: str
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, position_id: _Optional[str] = ..., status: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
