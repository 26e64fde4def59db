"""The catalogue of errors and what callers see of it."""

from __future__ import annotations

import json
import re
import string
from pathlib import Path
from typing import get_args

import pytest
from google.rpc import code_pb2, error_details_pb2

from entasis.errors.v1.error_reason_pb2 import ErrorReason
from entasis_engine.errors import (
    CATALOGUE,
    DOMAIN,
    EntasisError,
    FieldFault,
    Language,
    field_error,
    language_of,
    status_as_json,
)

LANGUAGES: tuple[Language, ...] = get_args(Language)
PROTO = Path(__file__).parents[2] / "proto/entasis/errors/v1/error_reason.proto"

# https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
HTTP_OF_CODE = {
    code_pb2.INVALID_ARGUMENT: 400,
    code_pb2.FAILED_PRECONDITION: 400,
    code_pb2.OUT_OF_RANGE: 400,
    code_pb2.UNAUTHENTICATED: 401,
    code_pb2.PERMISSION_DENIED: 403,
    code_pb2.NOT_FOUND: 404,
    code_pb2.ALREADY_EXISTS: 409,
    code_pb2.RESOURCE_EXHAUSTED: 429,
    code_pb2.INTERNAL: 500,
    code_pb2.UNIMPLEMENTED: 501,
    code_pb2.UNAVAILABLE: 503,
    code_pb2.DEADLINE_EXCEEDED: 504,
}
# HTTP knows these more exactly than gRPC does.
NARROWER = {"METHOD_REFUSED": 405, "TOO_LARGE": 413, "HEADERS_TOO_LARGE": 431}

# Every case that the specification's table or the contract's comments name, with the code they give it.
CODES = {
    "SYMBOL_MALFORMED": ("MARKET_001", "INVALID_ARGUMENT"),
    "SYMBOL_UNKNOWN": ("MARKET_001", "NOT_FOUND"),
    "MARKET_DOWN": ("MARKET_002", "UNAVAILABLE"),
    "BALANCE_SHORT": ("PORT_001", "FAILED_PRECONDITION"),
    "POSITION_LIMIT": ("PORT_002", "FAILED_PRECONDITION"),
    "POSITION_UNKNOWN": ("PORT_003", "NOT_FOUND"),
    "POSITION_NOT_OPEN": ("PORT_004", "FAILED_PRECONDITION"),
    "CLOSE_TOO_LARGE": ("PORT_004", "FAILED_PRECONDITION"),
    "IDEMPOTENCY_MISMATCH": ("REQUEST_005", "ALREADY_EXISTS"),
    "MODEL_MISSING": ("AI_001", "UNAVAILABLE"),
    "MODEL_IN_TRAINING": ("AI_001", "UNAVAILABLE"),
    "MODEL_DAMAGED": ("AI_001", "UNAVAILABLE"),
    "MODEL_LOADING": ("AI_001", "UNAVAILABLE"),
    "MODEL_AHEAD": ("AI_001", "UNAVAILABLE"),
    "PREDICTION_FAILED": ("AI_002", "INTERNAL"),
    "HISTORY_SHORT": ("AI_002", "FAILED_PRECONDITION"),
    "HISTORY_LOADING": ("MARKET_002", "UNAVAILABLE"),
    "REQUEST_MALFORMED": ("REQUEST_001", "INVALID_ARGUMENT"),
    "NOTHING_HERE": ("REQUEST_002", "NOT_FOUND"),
    "METHOD_REFUSED": ("REQUEST_002", "UNIMPLEMENTED"),
    "NO_SUCH_RPC": ("REQUEST_002", "UNIMPLEMENTED"),
    "TOO_LARGE": ("REQUEST_003", "OUT_OF_RANGE"),
    "HEADERS_TOO_LARGE": ("REQUEST_004", "OUT_OF_RANGE"),
    "CREDENTIAL_MISSING": ("AUTH_001", "UNAUTHENTICATED"),
    "CREDENTIAL_MALFORMED": ("AUTH_001", "UNAUTHENTICATED"),
    "KEY_INVALID": ("AUTH_001", "UNAUTHENTICATED"),
    "KEY_ENDED": ("AUTH_001", "UNAUTHENTICATED"),
    "KEY_NEEDED": ("AUTH_001", "UNAUTHENTICATED"),
    "TOKEN_INVALID": ("AUTH_001", "UNAUTHENTICATED"),
    "TOKEN_EXPIRED": ("AUTH_001", "UNAUTHENTICATED"),
    "CREDENTIALS_DIFFER": ("AUTH_001", "UNAUTHENTICATED"),
    "SCOPE_MISSING": ("AUTH_002", "PERMISSION_DENIED"),
    "NOT_FOR_CALLERS": ("AUTH_002", "PERMISSION_DENIED"),
    "ADDRESS_REFUSED": ("AUTH_003", "PERMISSION_DENIED"),
    "ORIGIN_REFUSED": ("AUTH_003", "PERMISSION_DENIED"),
    "RATE_LIMITED": ("LIMIT_001", "RESOURCE_EXHAUSTED"),
    "TOO_MANY": ("LIMIT_002", "RESOURCE_EXHAUSTED"),
    "INTERNAL": ("SERVER_001", "INTERNAL"),
    "UNAVAILABLE": ("SERVER_002", "UNAVAILABLE"),
    "TOO_SLOW": ("SERVER_003", "DEADLINE_EXCEEDED"),
}


def _placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def _documented(reason: str) -> str:
    """The comment of a reason in the contract."""
    comment = re.search(rf"((?: *//[^\n]*\n)+) *{reason} = ", PROTO.read_text(encoding="utf-8"))
    assert comment is not None
    return comment[1]


@pytest.mark.parametrize("case", CATALOGUE)
def test_a_case_has_the_reason_and_code_of_the_specification(case: str) -> None:
    """Every case of the catalogue has a reason of the contract, and the code that specification and contract give."""
    entry = CATALOGUE[case]
    assert entry.reason in ErrorReason.DESCRIPTOR.values_by_name
    assert (entry.reason, code_pb2.Code.Name(entry.code)) == CODES[case]
    assert code_pb2.Code.Name(entry.code) in _documented(entry.reason)


@pytest.mark.parametrize("case", CATALOGUE)
def test_http_status_is_that_of_the_code(case: str) -> None:
    """The HTTP status is what a transcoder makes of the code, except where HTTP has a narrower one."""
    entry = CATALOGUE[case]
    assert entry.http == NARROWER.get(case, HTTP_OF_CODE[entry.code])


@pytest.mark.parametrize("case", CATALOGUE)
def test_both_languages_fill_with_the_same_values(case: str) -> None:
    """Both languages have words, with the same placeholders, and fill without a remainder."""
    templates = CATALOGUE[case].messages
    assert set(templates) == set(LANGUAGES)
    names = _placeholders(templates["en"])
    assert _placeholders(templates["ko"]) == names
    error = EntasisError(case, **dict.fromkeys(names - {"problem"}, "{value}"))
    for language in LANGUAGES:
        assert error.message(language).count("{value}") == len(names - {"problem"})


@pytest.mark.parametrize("case", CATALOGUE)
def test_korean_is_korean(case: str) -> None:
    """The Korean words are in Hangul and the English ones are not."""
    assert re.search("[가-힣]", CATALOGUE[case].messages["ko"])
    assert not re.search("[가-힣]", CATALOGUE[case].messages["en"])


def test_every_reason_that_the_market_can_raise_is_in_the_catalogue() -> None:
    """The reasons that the market's contract names, and those of every server, are all in the catalogue."""
    market = set(
        re.findall(r"(?:MARKET|REQUEST)_\d{3}", PROTO.parents[2].joinpath("market/v1/market.proto").read_text())
    )
    server = {name for name in ErrorReason.DESCRIPTOR.values_by_name if name.startswith(("SERVER_", "REQUEST_"))}
    assert market == {"MARKET_001", "MARKET_002", "REQUEST_001"}
    assert market | server <= {entry.reason for entry in CATALOGUE.values()}


def test_the_json_of_a_status_is_that_of_the_specification() -> None:
    """The body is byte for byte the example of the specification."""
    status = EntasisError("SYMBOL_UNKNOWN", symbol="FOO-BAR").status()
    assert json.dumps(status_as_json(status)) == (
        '{"code": 5, "message": "Unknown symbol \'FOO-BAR\'", "details": [{"@type": '
        '"type.googleapis.com/google.rpc.ErrorInfo", "reason": "MARKET_001", "domain": "entasis", '
        '"metadata": {"symbol": "FOO-BAR"}}]}'
    )


def test_a_status_names_the_fields_at_fault() -> None:
    """A BadRequest names each field with what would be right, in the caller's language, and so does the message."""
    error = EntasisError(
        "REQUEST_MALFORMED",
        faults=[FieldFault("a", {"en": "is bad", "ko": "나쁨"}), FieldFault("b", {"en": "is worse", "ko": "더 나쁨"})],
    )
    for language, (first, second) in {"en": ("is bad", "is worse"), "ko": ("나쁨", "더 나쁨")}.items():
        status = error.status(language)  # type: ignore[arg-type]
        bad = error_details_pb2.BadRequest()
        assert status.details[1].Unpack(bad)
        assert [(one.field, one.description) for one in bad.field_violations] == [("a", first), ("b", second)]
        assert status.message.endswith(f"a: {first}; b: {second}")


def test_a_status_says_when_to_try_again() -> None:
    """Where trying again makes sense, the status says after how long."""
    retry = error_details_pb2.RetryInfo()
    assert EntasisError("MARKET_DOWN", symbol="BTC-USDT", exchange="binance").status().details[1].Unpack(retry)
    assert retry.retry_delay.seconds == 5


def test_a_status_carries_what_the_contract_promises() -> None:
    """The ErrorInfo has our domain and exactly the metadata that was given."""
    info = error_details_pb2.ErrorInfo()
    error = EntasisError("MARKET_DOWN", symbol="BTC-USDT", exchange="binance")
    assert error.status().details[0].Unpack(info)
    assert (info.reason, info.domain, dict(info.metadata)) == (
        "MARKET_002",
        DOMAIN,
        {"symbol": "BTC-USDT", "exchange": "binance"},
    )


def test_values_are_quoted_and_not_read_as_templates() -> None:
    """Braces that a caller sends stay braces."""
    assert EntasisError("SYMBOL_UNKNOWN", symbol="{0}{symbol}").message() == "Unknown symbol '{0}{symbol}'"


def test_an_unknown_case_is_a_defect() -> None:
    """A case that is not in the catalogue cannot be raised."""
    with pytest.raises(KeyError):
        EntasisError("NO_SUCH_CASE")


def test_a_field_error_is_a_malformed_request() -> None:
    """The short form for one field is REQUEST_001 with that field."""
    error = field_error("end", "is bad", "나쁨")
    assert error.entry.reason == "REQUEST_001"
    assert [fault.field for fault in error.faults] == ["end"]


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("ko", "ko"),
        ("KO-kr", "ko"),
        ("en", "en"),
        ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", "ko"),
        ("en-US,en;q=0.9,ko;q=0.8", "en"),
        ("en;q=0.5, ko;q=0.6", "ko"),
        ("en;Q=0.5, ko;Q=0.6", "ko"),
        ("en;q=0.6 , ko ; q=0.5", "en"),
        ("fr, de;q=0.9, ko;q=0.1", "ko"),
        ("fr", "en"),
        ("*", "en"),
        ("ko;q=0", "en"),
        ("ko;q=0, en;q=0.1", "en"),
        ("ko;q=nonsense", "en"),
        ("ko;q=nan", "en"),
        (";;;,,,=q", "en"),
        ("korean", "en"),
    ],
)
def test_the_language_is_the_one_preferred(header: str | None, language: str) -> None:
    """Korean where Accept-Language prefers it by its weights, English otherwise."""
    assert language_of(header) == language
