"""What callers give, as the contract wants it: exact decimals, aware times, symbols as a list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any

import betterproto2

SECONDS_MAX = 365 * 24 * 3600
_RANGES: Mapping[str, tuple[int, int]] = {
    betterproto2.TYPE_INT32: (-(2**31), 2**31 - 1),
    betterproto2.TYPE_UINT64: (0, 2**64 - 1),
}


def decimal_text(value: Decimal | str | int, name: str = "value") -> str:
    """A decimal as digits, without exponent: what the contract takes, and what prints as people write it.

    Raises TypeError for a float, since it is not the number that was typed, and ValueError for NaN and infinity. Text
    goes as it is: the engine says what is wrong with it.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{name} is {value}: a finite number is needed")
        return format(value, "f")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise TypeError(
        f"{name} is a {type(value).__name__}, which may not be the number that you mean: pass a decimal.Decimal or a "
        f'str, such as Decimal("0.5") or "0.5"'
    )


def aware(value: datetime | None, name: str) -> datetime | None:
    """The time as it is. Raises ValueError where it has no zone, TypeError where it is no time."""
    if value is not None and not isinstance(value, datetime):
        raise TypeError(f"{name} is a {type(value).__name__}: an aware datetime is needed")
    if value is not None and value.tzinfo is None:
        raise ValueError(f"{name} has no zone: pass an aware datetime, such as datetime.now(timezone.utc)")
    return value


def symbol_list(symbols: str | Iterable[str]) -> list[str]:
    """The symbols, each once, in their order; a single one may come as text."""
    return list(dict.fromkeys([symbols] if isinstance(symbols, str) else symbols))


def seconds(value: float, name: str) -> float:
    """Seconds as they are. Raises ValueError where negative, NaN or more than a year; TypeError for what is no number.

    gRPC takes a deadline that lies beyond its numbers for one that is over.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is a {type(value).__name__}: a number of seconds is needed")
    if not 0 <= value <= SECONDS_MAX:
        raise ValueError(f"{name} is {value}: seconds from 0 to {SECONDS_MAX} are needed")
    return value


def header_text(value: str, name: str, *, trimmed: bool = False) -> str:
    """Text that may go as a header. Raises ValueError, without the text, where it is not printable ASCII.

    Args:
        trimmed: without white space at its ends.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} is a {type(value).__name__}: a str is needed")
    value = value.strip() if trimmed else value
    if not (value.isascii() and value.isprintable()):
        raise ValueError(f"{name} has characters that are not printable ASCII, which headers cannot carry")
    return value


def encoded(request: betterproto2.Message) -> bytes:
    """A request as it is sent.

    Raises TypeError or ValueError that name the field, which is the argument, where it has not the contract's type:
    the encoding would fail without saying where, or take a number for another one.
    """
    message: Any = request  # which its class does not say to be a dataclass
    for one in fields(message):
        meta = one.metadata["betterproto"]
        value = getattr(request, one.name)
        if value is None and meta.optional:
            continue
        for part in value if meta.repeated else (value,):
            _check(part, meta.proto_type, one.name)
    return bytes(request)


def _check(value: Any, proto_type: str, name: str) -> None:
    if proto_type == betterproto2.TYPE_STRING:
        if not isinstance(value, str):
            raise TypeError(f"{name} is a {type(value).__name__}: a str is needed")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError(f"{name} has half of a surrogate pair, which is no text")
    elif proto_type in _RANGES:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} is a {type(value).__name__}: an int is needed")
        low, high = _RANGES[proto_type]
        if not low <= value <= high:
            raise ValueError(f"{name} is {value}: it must be from {low} to {high}")
