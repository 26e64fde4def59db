"""The one catalogue of errors: what each reason means, its status on each transport, and its words in each language.

Code that finds something wrong raises `EntasisError` with a reason of the contract; the edge of each transport turns it
into `google.rpc.Status`. Nothing else ever reaches a caller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from google.protobuf import any_pb2, json_format
from google.rpc import code_pb2, error_details_pb2, status_pb2

DOMAIN = "entasis"
Language = Literal["en", "ko"]


@dataclass(frozen=True)
class Entry:
    """One way to fail. `messages` are templates over the metadata of the error."""

    reason: str
    code: int
    """The `google.rpc.Code`."""
    http: int
    messages: Mapping[Language, str]
    retry_after_seconds: int | None = None
    """Where it makes sense to try again, after how long."""


@dataclass(frozen=True)
class FieldFault:
    """A field that is at fault, and what would be right, in each language."""

    field: str
    messages: Mapping[Language, str]


def _entry(
    reason: str, code: int, http: int, english: str, korean: str, retry_after_seconds: int | None = None
) -> Entry:
    return Entry(reason, code, http, {"en": english, "ko": korean}, retry_after_seconds)


# The key names the case; several cases may share a reason, as the specification has it for MARKET_001 and AI_002.
CATALOGUE: Mapping[str, Entry] = {
    "SYMBOL_MALFORMED": _entry(
        "MARKET_001",
        code_pb2.INVALID_ARGUMENT,
        400,
        "Malformed symbol '{symbol}': it must be BASE-QUOTE in capitals, such as BTC-USDT",
        "심볼 '{symbol}'의 형식이 잘못되었습니다. BTC-USDT처럼 대문자 BASE-QUOTE 형식이어야 합니다",
    ),
    "SYMBOL_UNKNOWN": _entry(
        "MARKET_001", code_pb2.NOT_FOUND, 404, "Unknown symbol '{symbol}'", "알 수 없는 심볼입니다: '{symbol}'"
    ),
    "MARKET_DOWN": _entry(
        "MARKET_002",
        code_pb2.UNAVAILABLE,
        503,
        "No live data of '{symbol}' from {exchange}: the exchange connection failed",
        "{exchange} 거래소 연결에 실패하여 '{symbol}'의 실시간 데이터가 없습니다",
        retry_after_seconds=5,
    ),
    "HISTORY_LOADING": _entry(
        "MARKET_002",
        code_pb2.UNAVAILABLE,
        503,
        "The history of '{symbol}' is still being fetched from {exchange}",
        "{exchange} 거래소에서 '{symbol}'의 과거 데이터를 아직 가져오고 있습니다",
        retry_after_seconds=2,
    ),
    "BALANCE_SHORT": _entry(
        "PORT_001",
        code_pb2.FAILED_PRECONDITION,
        400,
        "Insufficient balance: {required} {currency} of margin and fee are needed, {available} are free",
        "잔고가 부족합니다. 증거금과 수수료로 {required} {currency}이(가) 필요하지만 {available}만 사용할 수 있습니다",
    ),
    "POSITION_LIMIT": _entry(
        "PORT_002",
        code_pb2.FAILED_PRECONDITION,
        400,
        "Position limit exceeded: at most {limit} {what}",
        "포지션 한도를 초과했습니다. {what} 최대 {limit}",
    ),
    "POSITION_UNKNOWN": _entry(
        "PORT_003", code_pb2.NOT_FOUND, 404, "There is no position '{position_id}'", "'{position_id}' 포지션이 없습니다"
    ),
    "POSITION_NOT_OPEN": _entry(
        "PORT_004",
        code_pb2.FAILED_PRECONDITION,
        400,
        "The position '{position_id}' is {status}, not open",
        "'{position_id}' 포지션은 열려 있지 않습니다 ({status})",
    ),
    "CLOSE_TOO_LARGE": _entry(
        "PORT_004",
        code_pb2.FAILED_PRECONDITION,
        400,
        "Only {open_size} of the position is open, not {given}",
        "포지션은 {given}이(가) 아니라 {open_size}만 열려 있습니다",
    ),
    "IDEMPOTENCY_MISMATCH": _entry(
        "REQUEST_005",
        code_pb2.ALREADY_EXISTS,
        409,
        "The Idempotency-Key was used for another request; use a new one",
        "이 Idempotency-Key는 다른 요청에 이미 사용되었습니다. 새 키를 사용해 주세요",
    ),
    "MODEL_MISSING": _entry(
        "AI_001",
        code_pb2.UNAVAILABLE,
        503,
        "There is no model for {timeframe} yet; `entasis train` makes one",
        "{timeframe} 모델이 아직 없습니다. `entasis train`으로 만들 수 있습니다",
        retry_after_seconds=60,
    ),
    "MODEL_IN_TRAINING": _entry(
        "AI_001",
        code_pb2.UNAVAILABLE,
        503,
        "The model for {timeframe} is in training",
        "{timeframe} 모델을 학습하고 있습니다",
        retry_after_seconds=10,
    ),
    "MODEL_DAMAGED": _entry(
        "AI_001",
        code_pb2.UNAVAILABLE,
        503,
        "The model for {timeframe} could not be loaded",
        "{timeframe} 모델을 불러올 수 없습니다",
        retry_after_seconds=60,
    ),
    "MODEL_LOADING": _entry(
        "AI_001",
        code_pb2.UNAVAILABLE,
        503,
        "The model for {timeframe} is being loaded",
        "{timeframe} 모델을 불러오는 중입니다",
        retry_after_seconds=1,
    ),
    "MODEL_AHEAD": _entry(
        "AI_001",
        code_pb2.UNAVAILABLE,
        503,
        "The model for {timeframe} has learned from candles up to {cutoff}, which are later than the last one here",
        "{timeframe} 모델은 {cutoff}까지의 캔들로 학습되어, 현재의 마지막 캔들보다 앞서 있습니다",
        retry_after_seconds=3600,
    ),
    "PREDICTION_FAILED": _entry(
        "AI_002",
        code_pb2.INTERNAL,
        500,
        "There is no finite answer for {symbol}",
        "{symbol}에 대한 유한한 답을 구할 수 없습니다",
    ),
    "HISTORY_SHORT": _entry(
        "AI_002",
        code_pb2.FAILED_PRECONDITION,
        400,
        "Too little history of {symbol}: {given} hours, and {needed} are needed",
        "{symbol}의 기록이 부족합니다. {needed}시간이 필요하지만 {given}시간뿐입니다",
    ),
    "REQUEST_MALFORMED": _entry(
        "REQUEST_001", code_pb2.INVALID_ARGUMENT, 400, "Malformed request: {problem}", "잘못된 요청입니다: {problem}"
    ),
    "NOTHING_HERE": _entry(
        "REQUEST_002",
        code_pb2.NOT_FOUND,
        404,
        "There is nothing at this path, or not for this method",
        "이 경로 또는 메서드에 해당하는 리소스가 없습니다",
    ),
    "METHOD_REFUSED": _entry(
        "REQUEST_002",
        code_pb2.UNIMPLEMENTED,
        405,
        "This path has the methods {methods}",
        "이 경로에서 사용할 수 있는 메서드: {methods}",
    ),
    "NO_SUCH_RPC": _entry(
        "REQUEST_002", code_pb2.UNIMPLEMENTED, 501, "There is no RPC '{method}'", "RPC '{method}'이(가) 없습니다"
    ),
    "TOO_LARGE": _entry(
        "REQUEST_003",
        code_pb2.OUT_OF_RANGE,
        413,
        "The message is larger than {limit} bytes",
        "메시지가 {limit}바이트보다 큽니다",
    ),
    "HEADERS_TOO_LARGE": _entry(
        "REQUEST_004", code_pb2.OUT_OF_RANGE, 431, "The headers are too large", "헤더가 너무 큽니다"
    ),
    "CREDENTIAL_MISSING": _entry(
        "AUTH_001",
        code_pb2.UNAUTHENTICATED,
        401,
        "Not authenticated: send an API key as X-API-Key, or a token as Authorization: Bearer",
        "인증되지 않았습니다. X-API-Key에 API 키를, 또는 Authorization: Bearer에 토큰을 보내 주세요",
    ),
    "CREDENTIAL_MALFORMED": _entry(
        "AUTH_001",
        code_pb2.UNAUTHENTICATED,
        401,
        "Not authenticated: {header} must be sent once, as {form}",
        "인증되지 않았습니다. {header} 헤더는 {form} 형식으로 한 번만 보내야 합니다",
    ),
    "KEY_INVALID": _entry(
        "AUTH_001",
        code_pb2.UNAUTHENTICATED,
        401,
        "Not authenticated: the API key is not valid",
        "인증되지 않았습니다. API 키가 유효하지 않습니다",
    ),
    "KEY_ENDED": _entry(
        "AUTH_001",
        code_pb2.UNAUTHENTICATED,
        401,
        "Not authenticated: the API key was revoked or has expired",
        "인증되지 않았습니다. API 키가 폐기되었거나 만료되었습니다",
    ),
    "KEY_NEEDED": _entry(
        "AUTH_001",
        code_pb2.UNAUTHENTICATED,
        401,
        "Not authenticated: this call needs an API key, sent as X-API-Key",
        "인증되지 않았습니다. 이 호출에는 X-API-Key로 보내는 API 키가 필요합니다",
    ),
    "TOKEN_INVALID": _entry(
        "AUTH_001",
        code_pb2.UNAUTHENTICATED,
        401,
        "Not authenticated: the token is not valid",
        "인증되지 않았습니다. 토큰이 유효하지 않습니다",
    ),
    "TOKEN_EXPIRED": _entry(
        "AUTH_001",
        code_pb2.UNAUTHENTICATED,
        401,
        "Not authenticated: the token has expired; get another with POST /api/v1/auth/token",
        "인증되지 않았습니다. 토큰이 만료되었습니다. POST /api/v1/auth/token으로 새로 받아 주세요",
    ),
    "CREDENTIALS_DIFFER": _entry(
        "AUTH_001",
        code_pb2.UNAUTHENTICATED,
        401,
        "Not authenticated: the token and the API key name different accounts",
        "인증되지 않았습니다. 토큰과 API 키의 계정이 서로 다릅니다",
    ),
    "SCOPE_MISSING": _entry(
        "AUTH_002",
        code_pb2.PERMISSION_DENIED,
        403,
        "No permission: the credential lacks the scope '{scope}'",
        "권한이 없습니다. 자격 증명에 '{scope}' 범위가 없습니다",
    ),
    "NOT_FOR_CALLERS": _entry(
        "AUTH_002",
        code_pb2.PERMISSION_DENIED,
        403,
        "No permission: only parts of the engine may call this",
        "권한이 없습니다. 엔진 내부에서만 호출할 수 있습니다",
    ),
    "ADDRESS_REFUSED": _entry(
        "AUTH_003",
        code_pb2.PERMISSION_DENIED,
        403,
        "The address {address} is not allowed",
        "허용되지 않은 주소입니다: {address}",
    ),
    "ORIGIN_REFUSED": _entry(
        "AUTH_003",
        code_pb2.PERMISSION_DENIED,
        403,
        "Pages of the origin '{origin}' may not open a WebSocket",
        "'{origin}' 출처의 페이지는 WebSocket을 열 수 없습니다",
    ),
    "RATE_LIMITED": _entry(
        "LIMIT_001",
        code_pb2.RESOURCE_EXHAUSTED,
        429,
        "Rate limit exceeded: {limit} requests per minute",
        "요청 한도를 초과했습니다. 분당 최대 {limit}회입니다",
    ),
    "TOO_MANY": _entry(
        "LIMIT_002",
        code_pb2.RESOURCE_EXHAUSTED,
        429,
        "Too many: at most {limit} {what}",
        "한도 초과: {what} 최대 {limit}",
    ),
    "INTERNAL": _entry(
        "SERVER_001",
        code_pb2.INTERNAL,
        500,
        "Internal error; please report request {request_id}",
        "내부 오류가 발생했습니다. 요청 번호 {request_id}을(를) 알려 주세요",
    ),
    "UNAVAILABLE": _entry(
        "SERVER_002",
        code_pb2.UNAVAILABLE,
        503,
        "The service is not available at the moment; try again",
        "현재 서비스를 이용할 수 없습니다. 다시 시도해 주세요",
        retry_after_seconds=1,
    ),
    "TOO_SLOW": _entry(
        "SERVER_003",
        code_pb2.DEADLINE_EXCEEDED,
        504,
        "The call took longer than allowed",
        "호출이 허용된 시간보다 오래 걸렸습니다",
    ),
}


class EntasisError(Exception):
    """An error that a caller is told of, by its case in the catalogue.

    Args:
        case: key of `CATALOGUE`.
        faults: the fields at fault, where fields are.
        retry_after_seconds: when to try again, where it is known better than the catalogue does.
        metadata: values for the message's template; they also reach the caller as such, in `ErrorInfo`.
    """

    def __init__(
        self, case: str, *, faults: Sequence[FieldFault] = (), retry_after_seconds: int | None = None, **metadata: str
    ) -> None:
        super().__init__(case, metadata)
        self.case = case
        self.entry = CATALOGUE[case]
        self.retry_after_seconds = retry_after_seconds or self.entry.retry_after_seconds
        self.faults = tuple(faults)
        self.metadata = metadata

    def message(self, language: Language = "en") -> str:
        values = dict(self.metadata)
        if "{problem}" in self.entry.messages[language]:
            values["problem"] = "; ".join(f"{fault.field}: {fault.messages[language]}" for fault in self.faults)
        return self.entry.messages[language].format_map(values)

    def status(self, language: Language = "en") -> status_pb2.Status:
        """The error as `google.rpc.Status`, the body of every transport."""
        status = status_pb2.Status(code=self.entry.code, message=self.message(language))
        info = error_details_pb2.ErrorInfo(reason=self.entry.reason, domain=DOMAIN, metadata=self.metadata)
        status.details.append(_packed(info))
        if self.faults:
            bad = error_details_pb2.BadRequest()
            for fault in self.faults:
                bad.field_violations.add(field=fault.field, description=fault.messages[language])
            status.details.append(_packed(bad))
        if self.retry_after_seconds is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.seconds = self.retry_after_seconds
            status.details.append(_packed(retry))
        return status


def field_error(field: str, english: str, korean: str) -> EntasisError:
    """REQUEST_001 for one field."""
    return EntasisError("REQUEST_MALFORMED", faults=[FieldFault(field, {"en": english, "ko": korean})])


def status_as_json(status: status_pb2.Status) -> dict[str, Any]:
    """The status as the JSON that REST callers see, ready to be printed."""
    body: dict[str, Any] = json_format.MessageToDict(
        status, preserving_proto_field_name=True, always_print_fields_with_no_presence=False
    )
    return body


def language_of(accept_language: str | None) -> Language:
    """Korean for a caller who prefers it by `Accept-Language` (RFC 9110 section 12.5.4), English otherwise."""
    best: tuple[float, Language] = (0.0, "en")
    for part in (accept_language or "").split(","):
        tag, _, parameters = part.strip().partition(";")
        name = tag.strip().lower().split("-")[0]
        quality = _quality(parameters)
        if quality > best[0] and (name in {"en", "ko"}):
            best = (quality, "ko" if name == "ko" else "en")
    return best[1]


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def _packed(message: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
