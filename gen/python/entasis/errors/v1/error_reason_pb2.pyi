from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    MARKET_001: _ClassVar[ErrorReason]
    MARKET_002: _ClassVar[ErrorReason]
    PORT_001: _ClassVar[ErrorReason]
    PORT_002: _ClassVar[ErrorReason]
    PORT_003: _ClassVar[ErrorReason]
    PORT_004: _ClassVar[ErrorReason]
    AI_001: _ClassVar[ErrorReason]
    AI_002: _ClassVar[ErrorReason]
    REQUEST_001: _ClassVar[ErrorReason]
    REQUEST_002: _ClassVar[ErrorReason]
    REQUEST_003: _ClassVar[ErrorReason]
    REQUEST_004: _ClassVar[ErrorReason]
    REQUEST_005: _ClassVar[ErrorReason]
    AUTH_001: _ClassVar[ErrorReason]
    AUTH_002: _ClassVar[ErrorReason]
    AUTH_003: _ClassVar[ErrorReason]
    LIMIT_001: _ClassVar[ErrorReason]
    LIMIT_002: _ClassVar[ErrorReason]
    SERVER_001: _ClassVar[ErrorReason]
    SERVER_002: _ClassVar[ErrorReason]
    SERVER_003: _ClassVar[ErrorReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
MARKET_001: ErrorReason
MARKET_002: ErrorReason
PORT_001: ErrorReason
PORT_002: ErrorReason
PORT_003: ErrorReason
PORT_004: ErrorReason
AI_001: ErrorReason
AI_002: ErrorReason
REQUEST_001: ErrorReason
REQUEST_002: ErrorReason
REQUEST_003: ErrorReason
REQUEST_004: ErrorReason
REQUEST_005: ErrorReason
AUTH_001: ErrorReason
AUTH_002: ErrorReason
AUTH_003: ErrorReason
LIMIT_001: ErrorReason
LIMIT_002: ErrorReason
SERVER_001: ErrorReason
SERVER_002: ErrorReason
SERVER_003: ErrorReason
