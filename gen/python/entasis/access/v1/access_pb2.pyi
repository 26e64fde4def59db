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

class IssueTokenRequest(_message.Message):
    __slots__ = ("scopes", "lifetime_seconds")
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    LIFETIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    scopes: _containers.RepeatedScalarFieldContainer[str]
    lifetime_seconds: int
    def __init__(self, scopes: _Optional[_Iterable[str]] = ..., lifetime_seconds: _Optional[int] = ...) -> None: ...

class IssueTokenResponse(_message.Message):
    __slots__ = ("access_token", "token_type", "expires_in", "expires_at", "scopes", "account")
    ACCESS_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOKEN_TYPE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_IN_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    access_token: str
    token_type: str
    expires_in: int
    expires_at: _timestamp_pb2.Timestamp
    scopes: _containers.RepeatedScalarFieldContainer[str]
    account: str
    def __init__(self, access_token: _Optional[str] = ..., token_type: _Optional[str] = ..., expires_in: _Optional[int] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., scopes: _Optional[_Iterable[str]] = ..., account: _Optional[str] = ...) -> None: ...

class OpenSessionRequest(_message.Message):
    __slots__ = ("refused",)
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    refused: str
    def __init__(self, refused: _Optional[str] = ...) -> None: ...

class OpenSessionResponse(_message.Message):
    __slots__ = ("account", "session", "scopes", "expires_at", "market_streams", "rate_limit", "rate_remaining", "rate_reset_seconds")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    MARKET_STREAMS_FIELD_NUMBER: _ClassVar[int]
    RATE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    RATE_REMAINING_FIELD_NUMBER: _ClassVar[int]
    RATE_RESET_SECONDS_FIELD_NUMBER: _ClassVar[int]
    account: str
    session: str
    scopes: _containers.RepeatedScalarFieldContainer[str]
    expires_at: _timestamp_pb2.Timestamp
    market_streams: bool
    rate_limit: int
    rate_remaining: int
    rate_reset_seconds: int
    def __init__(self, account: _Optional[str] = ..., session: _Optional[str] = ..., scopes: _Optional[_Iterable[str]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., market_streams: _Optional[bool] = ..., rate_limit: _Optional[int] = ..., rate_remaining: _Optional[int] = ..., rate_reset_seconds: _Optional[int] = ...) -> None: ...

class ListEndedSessionsRequest(_message.Message):
    __slots__ = ("held",)
    class Held(_message.Message):
        __slots__ = ("session", "address")
        SESSION_FIELD_NUMBER: _ClassVar[int]
        ADDRESS_FIELD_NUMBER: _ClassVar[int]
        session: str
        address: str
        def __init__(self, session: _Optional[str] = ..., address: _Optional[str] = ...) -> None: ...
    HELD_FIELD_NUMBER: _ClassVar[int]
    held: _containers.RepeatedCompositeFieldContainer[ListEndedSessionsRequest.Held]
    def __init__(self, held: _Optional[_Iterable[_Union[ListEndedSessionsRequest.Held, _Mapping]]] = ...) -> None: ...

class ListEndedSessionsResponse(_message.Message):
    __slots__ = ("ended",)
    class Ended(_message.Message):
        __slots__ = ("index", "reason")
        INDEX_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        index: int
        reason: str
        def __init__(self, index: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...
    ENDED_FIELD_NUMBER: _ClassVar[int]
    ended: _containers.RepeatedCompositeFieldContainer[ListEndedSessionsResponse.Ended]
    def __init__(self, ended: _Optional[_Iterable[_Union[ListEndedSessionsResponse.Ended, _Mapping]]] = ...) -> None: ...

class NoteRefusalsRequest(_message.Message):
    __slots__ = ("refusals",)
    class Refusal(_message.Message):
        __slots__ = ("case", "session", "address")
        CASE_FIELD_NUMBER: _ClassVar[int]
        SESSION_FIELD_NUMBER: _ClassVar[int]
        ADDRESS_FIELD_NUMBER: _ClassVar[int]
        case: str
        session: str
        address: str
        def __init__(self, case: _Optional[str] = ..., session: _Optional[str] = ..., address: _Optional[str] = ...) -> None: ...
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    refusals: _containers.RepeatedCompositeFieldContainer[NoteRefusalsRequest.Refusal]
    def __init__(self, refusals: _Optional[_Iterable[_Union[NoteRefusalsRequest.Refusal, _Mapping]]] = ...) -> None: ...

class NoteRefusalsResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
