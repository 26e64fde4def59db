"""From what the contract's rules found to words that name the field and what would be right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from entasis_engine.errors import EntasisError, FieldFault, Language

QUOTED_CHARACTERS_MAX = 64
SYMBOL = re.compile(r"[A-Z0-9]{1,20}-[A-Z0-9]{1,20}")
# The whole error travels in the trailers of a response, and clients take only 8 KiB of those.
FAULTS_MAX = 8

# By the rule's id. Placeholders: {value}, what was given; {rule}, the rule's own value.
WORDS: dict[str, dict[Language, str]] = {
    "string.in": {
        "en": "must be one of {rule}, not '{value}'",
        "ko": "'{value}'이(가) 아니라 {rule} 중 하나여야 합니다",
    },
    "string.pattern": {
        "en": "must have the form {rule}, not '{value}'",
        "ko": "'{value}'이(가) 아니라 {rule} 형식이어야 합니다",
    },
    "string.max_len": {"en": "must have at most {rule} characters", "ko": "최대 {rule}자여야 합니다"},
    "repeated.min_items": {"en": "must have at least {rule} item", "ko": "최소 {rule}개 항목이 필요합니다"},
    "repeated.max_items": {"en": "must have at most {rule} items", "ko": "최대 {rule}개 항목만 허용됩니다"},
    "map.max_pairs": {"en": "must have at most {rule} entries", "ko": "최대 {rule}개 항목만 허용됩니다"},
    "int32.gte": {"en": "must be {rule} or more, not {value}", "ko": "{value}이(가) 아니라 {rule} 이상이어야 합니다"},
    "int32.gte_lte": {
        "en": "must be from 1 to 100, not {value}",
        "ko": "{value}이(가) 아니라 1에서 100 사이여야 합니다",
    },
    "timestamp.gte_lte": {
        "en": "must be from 1970-01-01T00:00:00Z to 9999-12-31T23:59:59Z",
        "ko": "1970-01-01T00:00:00Z부터 9999-12-31T23:59:59Z까지여야 합니다",
    },
    "start.not_after_end": {"en": "must not be after end", "ko": "end보다 늦을 수 없습니다"},
}
_DECIMAL_PATTERN = re.compile(r"\^\(?\[0-9\]\{1,(\d+)\}\(\\\.\[0-9\]\{1,(\d+)\}\)\?")
_DECIMAL: dict[Language, str] = {
    "en": "must be a number such as 0.5, with at most {whole} digits and {places} after the point, not '{value}'",
    "ko": "'{value}'이(가) 아니라 0.5와 같은 숫자여야 합니다. 정수 최대 {whole}자리, 소수점 아래 최대 {places}자리",
}
_POSITION: dict[Language, str] = {
    "en": "must be the id of a position, such as pos_01kapt8m3v7w4x0y5z6a9b2c1d, not '{value}'",
    "ko": "'{value}'이(가) 아니라 pos_01kapt8m3v7w4x0y5z6a9b2c1d와 같은 포지션 ID여야 합니다",
}
_SYMBOL: dict[Language, str] = {
    "en": "must be BASE-QUOTE in capitals, such as BTC-USDT, not '{value}'",
    "ko": "'{value}'이(가) 아니라 BTC-USDT처럼 대문자 BASE-QUOTE 형식이어야 합니다",
}


def refusal(violations: Sequence[Any]) -> EntasisError:
    """The error for a request that breaks rules of the contract: MARKET_001 where a symbol does, else REQUEST_001."""
    faults = []
    symbol: str | None = None
    for violation in violations:
        field = _field(violation)
        decimal: re.Match[str] | None = None
        value = str(violation.field_value)[:QUOTED_CHARACTERS_MAX]
        if violation.proto.rule_id == "string.pattern" and field.partition("[")[0] in {"symbol", "symbols"}:
            # Several may be joined by commas: name the one that is wrong.
            parts = str(violation.field_value).split(",") if field.startswith("symbols") else [value]
            value = next((part for part in parts if not SYMBOL.fullmatch(part)), value)[:QUOTED_CHARACTERS_MAX]
            symbol = symbol if symbol is not None else value
            words = _SYMBOL
        elif decimal := _DECIMAL_PATTERN.match(_rule(violation.rule_value)):
            words = _DECIMAL
        elif "pos_" in _rule(violation.rule_value):
            words = _POSITION
        else:
            # A rule without words of its own still says something, if only in English.
            words = WORDS.get(violation.proto.rule_id) or dict.fromkeys(("en", "ko"), "{message}")
        values = {"value": value, "rule": _rule(violation.rule_value), "message": violation.proto.message}
        if decimal is not None:
            values |= {"whole": decimal[1], "places": decimal[2]}
        faults.append(FieldFault(field, {language: text.format_map(values) for language, text in words.items()}))
    if symbol is not None:
        return EntasisError("SYMBOL_MALFORMED", faults=faults[:FAULTS_MAX], symbol=symbol)
    return EntasisError("REQUEST_MALFORMED", faults=faults[:FAULTS_MAX])


def _field(violation: Any) -> str:
    """The field's path, such as `symbols[2]`. A rule over several fields is named after the one at fault: `start.…`."""
    if violation.proto.field is None:
        return str(violation.proto.rule_id).partition(".")[0]
    path = ""
    for element in violation.proto.field.elements:
        path += f".{element.field_name}" if path else element.field_name
        subscript = element.subscript
        if subscript is not None:
            path += f"[{subscript.value}]"
    return path


def _rule(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value if item != "")
    return str(value)
