"""What callers give, as the contract wants it: exact decimals, aware times, symbols as a list."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal


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
    """The time as it is. Raises ValueError where it has no zone."""
    if value is not None and value.tzinfo is None:
        raise ValueError(f"{name} has no zone: pass an aware datetime, such as datetime.now(timezone.utc)")
    return value


def symbol_list(symbols: str | Iterable[str]) -> list[str]:
    """The symbols, each once, in their order; a single one may come as text."""
    return list(dict.fromkeys([symbols] if isinstance(symbols, str) else symbols))
