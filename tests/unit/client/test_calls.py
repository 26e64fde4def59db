"""One call: what is repeated, how long is waited in between, and that all of it has one deadline."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import grpc
import pytest
from tests.unit.client.fakes import CUT, RESET, Channel, Sent, Time, client, refused, rpc_error

from entasis_betterproto.entasis.market import v1 as market
from entasis_betterproto.entasis.portfolio import v1 as portfolio
from entasis_client import (
    AuthenticationError,
    DeadlineError,
    EntasisError,
    LimitError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from entasis_engine import errors

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PRICE = market.GetPriceResponse(symbol="BTC-USDT", price="65432.10", timestamp=NOW, volume="1.5", exchange="simulated")
OPENED = portfolio.CreatePositionResponse(position_id="pos_1", status="success", timestamp=NOW)
TRADE = portfolio.Trade(size="1", price="1", notional="1", fee="0", realised_pnl="0", timestamp=NOW)


async def test_a_read_is_repeated_until_the_engine_is_there() -> None:
    """After broken connections and SERVER_002 the same call succeeds, with waits in between that double."""
    channel, time = Channel(), Time()
    channel.put("GetPrice", CUT, RESET, CUT, PRICE)
    async with client(channel, time) as entasis:
        assert (await entasis.price("BTC-USDT")).price == Decimal("65432.10")
    assert len(channel.sent) == 4
    assert len(time.slept) == 3
    for full, slept in zip((0.1, 0.2, 0.4), time.slept, strict=True):
        assert full / 2 <= slept <= full


async def test_every_attempt_has_what_is_left_of_the_deadline() -> None:
    """The time that attempts and waits took is not there for the next one."""
    channel, time = Channel(), Time()
    channel.put("GetPrice", CUT, CUT, PRICE)
    async with client(channel, time, timeout=4.0) as entasis:
        await entasis.price("BTC-USDT")
    timeouts = [sent.timeout for sent in channel.sent]
    assert timeouts == pytest.approx([4.0, 4.0 - time.slept[0], 4.0 - sum(time.slept)])


async def test_no_more_time_is_used_than_the_deadline() -> None:
    """Where the engine stays away, the last failure is raised before the deadline, and no wait goes beyond it."""
    channel, time = Channel(), Time()
    channel.put("GetPrice", *[CUT] * 100)
    with pytest.raises(UnavailableError) as raised:
        await client(channel, time).price("BTC-USDT", timeout=3.0)
    assert raised.value.reason == ""
    assert time.now < 1003.0
    assert len(channel.sent) > 4


async def test_a_deadline_of_nothing_is_over_at_once() -> None:
    """Without time left nothing is sent: gRPC would take 0 for no deadline at all."""
    channel, time = Channel(), Time()
    with pytest.raises(DeadlineError):
        await client(channel, time).price("BTC-USDT", timeout=0)
    assert channel.sent == []


async def test_a_call_that_takes_too_long_is_not_repeated() -> None:
    """DEADLINE_EXCEEDED is the caller's own deadline: there is no time left."""
    channel, time = Channel(), Time()
    channel.put("GetPrice", rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"))
    with pytest.raises(DeadlineError):
        await client(channel, time).price("BTC-USDT")
    assert time.slept == []


async def test_the_rate_limit_is_waited_for() -> None:
    """LIMIT_001 is repeated after the time that the engine says."""
    channel, time = Channel(), Time()
    channel.put("GetPrice", _limited(4), PRICE)
    await client(channel, time).price("BTC-USDT")
    assert time.slept == [4.0]


async def test_a_rate_limit_beyond_the_deadline_is_told_at_once() -> None:
    """What cannot be waited for within the deadline is raised without waiting."""
    channel, time = Channel(), Time()
    channel.put("GetPrice", _limited(30))
    with pytest.raises(LimitError) as raised:
        await client(channel, time).price("BTC-USDT")
    assert raised.value.retry_after_seconds == 30
    assert time.slept == []


@pytest.mark.parametrize(
    ("case", "metadata", "kind"),
    [
        ("KEY_INVALID", {}, AuthenticationError),
        ("SYMBOL_UNKNOWN", {"symbol": "FOO-BAR"}, NotFoundError),
        ("INTERNAL", {"request_id": "r-1"}, EntasisError),
        ("BALANCE_SHORT", {"required": "2", "available": "1", "currency": "USDT"}, RefusedError),
        ("MODEL_MISSING", {"timeframe": "1h"}, UnavailableError),
    ],
)
async def test_answers_are_not_repeated(case: str, metadata: dict[str, str], kind: type[EntasisError]) -> None:
    """What the engine has answered would be the same again, or not before the deadline."""
    channel, time = Channel(), Time()
    channel.put("CreatePosition", refused(case, **metadata))
    with pytest.raises(kind):
        await client(channel, time).open_position("BTC-USDT", "1")
    assert len(channel.sent) == 1
    assert time.slept == []


async def test_a_silent_market_is_asked_again_when_the_engine_says() -> None:
    """MARKET_002 says after how long; within the deadline that is tried."""
    channel, time = Channel(), Time()
    channel.put("GetPrice", refused("MARKET_DOWN", symbol="BTC-USDT", exchange="simulated"), PRICE)
    await client(channel, time).price("BTC-USDT")
    assert time.slept == [5.0]


async def test_a_write_is_repeated_with_its_key() -> None:
    """All attempts of one write have one key, whatever the failure; the next write has another."""
    channel, time = Channel(), Time()
    channel.put("CreatePosition", CUT, refused("UNAVAILABLE"), RESET, OPENED, CUT, OPENED)
    entasis = client(channel, time)
    await entasis.open_position("BTC-USDT", Decimal("0.5"))
    await entasis.open_position("BTC-USDT", Decimal("0.5"))
    keys = [sent.metadata["idempotency-key"] for sent in channel.sent]
    assert len(set(keys[:4])) == 1
    assert len(set(keys[4:])) == 1
    assert keys[0] != keys[4]
    assert all(1 <= len(key) <= 128 and key.isascii() for key in keys)


async def test_a_write_that_failed_tells_its_key() -> None:
    """Whoever does not know whether a write was done sends it again with the key that the error names."""
    channel, time = Channel(), Time()
    channel.put("ClosePosition", *[CUT] * 100)
    entasis = client(channel, time)
    with pytest.raises(UnavailableError) as raised:
        await entasis.close_position("pos_1")
    assert {raised.value.idempotency_key} == {sent.metadata["idempotency-key"] for sent in channel.sent}
    channel.answers["ClosePosition"] = [refused("POSITION_UNKNOWN", position_id="pos_1")]
    with pytest.raises(NotFoundError) as again:
        await entasis.close_position("pos_1", idempotency_key=raised.value.idempotency_key)
    assert again.value.idempotency_key == channel.sent[-1].metadata["idempotency-key"] == raised.value.idempotency_key


async def test_a_read_has_no_key() -> None:
    """Only writes have an idempotency key."""
    channel, time = Channel(), Time()
    channel.put("GetPrice", PRICE)
    await client(channel, time, language="ko").price("BTC-USDT")
    assert channel.sent[0].metadata == {"x-api-key": "ek_1", "accept-language": "ko"}


async def test_pages_are_read_to_the_last() -> None:
    """The token of each page leads to the next, with the rest of the request as it was."""
    channel, time = Channel(), Time()

    def page(number: int) -> Any:
        def answer(sent: Sent) -> market.GetHistoryResponse:
            assert sent.request.page_token == ("" if number == 1 else f"after {number - 1}")
            candle = market.Candle(timestamp=NOW, open="1", high="1", low="1", close=str(number), volume="0")
            return market.GetHistoryResponse(data=[candle], next_page_token="" if number == 3 else f"after {number}")

        return answer

    channel.put("GetHistory", page(1), CUT, page(2), page(3))
    candles = [candle async for candle in client(channel, time).history("BTC-USDT", "5m", start=NOW, page_size=1)]
    assert [candle.close for candle in candles] == [1, 2, 3]
    assert all(one.request.interval == two.request.interval == "5m" for one, two in pairwise(channel.sent))


async def test_a_closed_client_says_so() -> None:
    """A call on a closed client is a mistake of the program, not an error of the engine."""
    entasis = client(Channel(), Time())
    await entasis.close()
    with pytest.raises(RuntimeError, match="closed"):
        await entasis.price("BTC-USDT")


@pytest.mark.parametrize("failure", [asyncio.CancelledError(), grpc.aio.UsageError("Channel is closed."), CUT])
async def test_closing_the_client_ends_a_call_by_an_error(failure: BaseException) -> None:
    """Whatever gRPC makes of it: the caller's task is not cancelled, and a write tells its key."""
    channel, time = Channel(), Time()
    entasis = client(channel, time)

    async def closed(sent: Sent) -> Any:
        await entasis.close()
        return failure

    channel.put("CreatePosition", closed)
    with pytest.raises(EntasisError, match="the client was closed") as raised:
        await entasis.open_position("BTC-USDT", "1")
    assert raised.value.code is grpc.StatusCode.CANCELLED
    assert raised.value.idempotency_key == channel.sent[0].metadata["idempotency-key"]
    assert time.slept == []


async def test_closing_the_client_ends_a_call_that_waits_to_be_repeated() -> None:
    """After the wait nothing is sent any more."""
    channel, time = Channel(), Time()

    async def sleep(seconds: float) -> None:
        await entasis.close()

    entasis = client(channel, time, sleep=sleep)
    channel.put("GetPrice", CUT)
    with pytest.raises(EntasisError, match="the client was closed"):
        await entasis.price("BTC-USDT")
    assert len(channel.sent) == 1


async def test_closing_the_client_ends_calls_that_wait_for_a_token() -> None:
    """The one that asks for it, and those that wait for that one."""
    channel, time = Channel(), Time()
    entasis = client(channel, time, exchange_key=True)
    asked, closed = asyncio.Event(), asyncio.Event()

    async def cancelled(sent: Sent) -> Any:
        asked.set()
        await closed.wait()
        return asyncio.CancelledError()

    channel.put("IssueToken", cancelled)
    calls = [asyncio.ensure_future(entasis.price("BTC-USDT")) for _ in range(3)]
    await asked.wait()
    await entasis.close()
    closed.set()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [getattr(one, "code", one) for one in ends] == [grpc.StatusCode.CANCELLED] * 3
    assert len(channel.sent) == 1


async def test_closing_the_client_ends_pages_by_an_error() -> None:
    """Whoever reads them does not take those there were for all."""
    channel, time = Channel(), Time()
    channel.put("ListTrades", portfolio.ListTradesResponse(trades=[TRADE], next_page_token="more"))
    entasis = client(channel, time)
    trades = entasis.trades()
    await anext(trades)
    await entasis.close()
    with pytest.raises(EntasisError, match="the client was closed"):
        await anext(trades)


async def test_a_caller_who_is_cancelled_is_cancelled() -> None:
    """Also where the client is closed at the same time."""
    channel, time = Channel(), Time()
    entasis = client(channel, time)
    asked = asyncio.Event()

    async def hangs(sent: Sent) -> Any:
        asked.set()
        await asyncio.Event().wait()

    channel.put("GetPrice", hangs)
    call = asyncio.ensure_future(entasis.price("BTC-USDT"))
    await asked.wait()
    call.cancel()
    await entasis.close()
    with pytest.raises(asyncio.CancelledError):
        await call


def _limited(seconds: int) -> grpc.aio.AioRpcError:
    status = errors.EntasisError("RATE_LIMITED", limit="1000", retry_after_seconds=seconds).status()
    return rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, status.message, status.SerializeToString())
