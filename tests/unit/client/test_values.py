"""What callers may give for numbers, times and symbols."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from tests.unit.client.fakes import Channel, Time, client

from entasis_client import decimal_text
from entasis_client.values import symbol_list


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (Decimal("0.50"), "0.50"),
        (Decimal("1E-8"), "0.00000001"),
        (Decimal("1E+3"), "1000"),
        ("0.5", "0.5"),
        (3, "3"),
        ("abc", "abc"),
    ],
)
def test_decimals_go_as_digits(given: Decimal | str | int, text: str) -> None:
    """No exponent, no rounding; text goes as it is."""
    assert decimal_text(given) == text


@pytest.mark.parametrize("given", [0.5, 1.0, True, None, b"1"])
async def test_floats_are_refused(given: Any) -> None:
    """A TypeError says what to pass, before anything is sent."""
    channel = Channel()
    entasis = client(channel, Time())
    with pytest.raises(TypeError, match=r'size is a \w+, .* pass a decimal.Decimal or a str, such as Decimal\("0.5"\)'):
        await entasis.open_position("BTC-USDT", given)
    with pytest.raises(TypeError, match="leverage"):
        await entasis.open_position("BTC-USDT", "1", leverage=2.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="size"):
        await entasis.close_position("pos_1", 0.5)  # type: ignore[arg-type]
    assert channel.sent == []


@pytest.mark.parametrize("given", [Decimal("NaN"), Decimal("Infinity")])
def test_what_is_no_number_is_refused(given: Decimal) -> None:
    """NaN and infinity have no digits."""
    with pytest.raises(ValueError, match="finite"):
        decimal_text(given)


async def test_times_without_a_zone_are_refused() -> None:
    """A naive time would be taken for one of this machine's zone."""
    history = client(Channel(), Time()).history("BTC-USDT", start=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="start has no zone"):
        await anext(history)


def test_one_symbol_may_come_as_text() -> None:
    """A string is one symbol and not its letters; symbols given twice are asked for once."""
    assert symbol_list("BTC-USDT") == ["BTC-USDT"]
    assert symbol_list(("A-B", "C-D", "A-B")) == ["A-B", "C-D"]
