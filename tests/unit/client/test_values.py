"""What callers may give for numbers, times and symbols."""

from __future__ import annotations

import math
from datetime import date, datetime
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


@pytest.mark.parametrize("given", ["2026-01-01", date(2026, 1, 1), 0])
async def test_what_is_no_time_is_refused(given: Any) -> None:
    """A date has no zone either, and text is not read."""
    history = client(Channel(), Time()).history("BTC-USDT", end=given)
    with pytest.raises(TypeError, match=r"end is a \w+: an aware datetime"):
        await anext(history)


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (
            lambda one: one.issue_token(["market:read"], lifetime_seconds=300.0),
            TypeError,
            "lifetime_seconds is a float",
        ),
        (lambda one: one.issue_token([7]), TypeError, "scopes is a int"),
        (lambda one: anext(one.trades(123)), TypeError, "position_id is a int"),
        (lambda one: one.prices([1]), TypeError, "symbols is a int"),
        (lambda one: one.price(None), TypeError, "symbol is a NoneType"),
        (lambda one: one.price("\ud800"), ValueError, "symbol has half"),
        (lambda one: one.order_book("BTC-USDT", 10.5), TypeError, "depth is a float"),
        (lambda one: one.order_book("BTC-USDT", True), TypeError, "depth is a bool"),
        (lambda one: one.order_book("BTC-USDT", 2**32 + 3), ValueError, "depth is 4294967299"),
        (lambda one: anext(one.positions(page_size=-(2**31) - 1)), ValueError, "page_size is -2147483649"),
        (lambda one: one.accuracy("BTC-USDT", days="7"), TypeError, "days is a str"),
        (lambda one: one.close_position(7), TypeError, "position_id is a int"),
        (lambda one: anext(one.stream_prices([1])), TypeError, "symbols is a int"),
        (lambda one: anext(one.stream_order_books("BTC-USDT", 2**31)), ValueError, "depth is 2147483648"),
        (lambda one: anext(one.stream_candles("BTC-USDT", 5)), TypeError, "interval is a int"),
    ],
)
async def test_what_the_contract_cannot_carry_is_refused(call: Any, kind: type[Exception], words: str) -> None:
    """By the name of the argument, and before anything is sent: gRPC would send an empty request, or another number."""
    channel = Channel()
    with pytest.raises(kind, match=words):
        await call(client(channel, Time()))
    assert channel.sent == []


@pytest.mark.parametrize("given", [math.inf, math.nan, -0.1, 1e10])
async def test_a_deadline_is_within_a_year(given: float) -> None:
    """gRPC would take the end of time for now, and what lies before now for none."""
    channel = Channel()
    with pytest.raises(ValueError, match=r"timeout is .*: seconds from 0 to"):
        await client(channel, Time()).price("BTC-USDT", timeout=given)
    with pytest.raises(ValueError, match=r"timeout is .*: seconds from 0 to"):
        client(channel, Time(), timeout=given)
    with pytest.raises(TypeError, match="timeout is a str"):
        await client(channel, Time()).price("BTC-USDT", timeout="5")  # type: ignore[arg-type]
    assert channel.sent == []


def test_an_outage_may_be_waited_out_for_ever() -> None:
    """By None or by infinity; a time that is none is refused."""
    client(Channel(), Time(), outage_seconds_max=None)
    client(Channel(), Time(), outage_seconds_max=math.inf)
    for given in (math.nan, -1.0):
        with pytest.raises(ValueError, match="outage_seconds_max"):
            client(Channel(), Time(), outage_seconds_max=given)


ILLEGAL = ["se\ncret", "s\u00e9cret", "secret\x00", "s\u3000ecret"]


@pytest.mark.parametrize("given", ILLEGAL)
@pytest.mark.parametrize("name", ["api_key", "token", "language"])
def test_what_no_header_can_carry_is_refused(name: str, given: str) -> None:
    """By the name of the argument; a key is not told."""
    with pytest.raises(ValueError, match=f"{name} has characters") as raised:
        client(Channel(), Time(), **{name: given})
    assert given not in str(raised.value)


@pytest.mark.parametrize("given", ILLEGAL)
async def test_an_idempotency_key_that_no_header_can_carry_is_refused(given: str) -> None:
    """Before the write is sent."""
    channel = Channel()
    with pytest.raises(ValueError, match="idempotency_key has characters"):
        await client(channel, Time()).close_position("pos_1", idempotency_key=given)
    with pytest.raises(TypeError, match="idempotency_key is a int"):
        await client(channel, Time()).close_position("pos_1", idempotency_key=7)  # type: ignore[arg-type]
    assert channel.sent == []


def test_one_symbol_may_come_as_text() -> None:
    """A string is one symbol and not its letters; symbols given twice are asked for once."""
    assert symbol_list("BTC-USDT") == ["BTC-USDT"]
    assert symbol_list(("A-B", "C-D", "A-B")) == ["A-B", "C-D"]
