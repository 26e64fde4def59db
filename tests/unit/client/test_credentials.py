"""Keys, tokens, and keys that are exchanged for tokens."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.unit.client.fakes import CUT, Channel, Sent, Time, client, refused
from tests.unit.client.test_calls import OPENED, PRICE

from entasis_betterproto.entasis.access import v1 as access
from entasis_client import AuthenticationError, DeadlineError, UnavailableError

LIFE_SECONDS = 900


def token(number: int, life_seconds: int = LIFE_SECONDS) -> access.IssueTokenResponse:
    return access.IssueTokenResponse(
        access_token=f"t{number}",
        token_type="Bearer",
        expires_in=life_seconds,
        expires_at=datetime(2026, 1, 1, tzinfo=UTC),
        account="demo",
    )


def sent_tokens(channel: Channel) -> list[str]:
    return [one.metadata["authorization"] for one in channel.of("GetPrice")]


async def test_key_and_token_are_both_sent() -> None:
    """Without exchange, what is given goes with every call."""
    channel, time = Channel(), Time()
    channel.put("GetPrice", PRICE)
    await client(channel, time, token="t").price("BTC-USDT")
    assert channel.sent[0].metadata == {"x-api-key": "ek_1", "authorization": "Bearer t"}


async def test_a_key_read_from_a_file_is_without_the_end_of_its_line() -> None:
    """White space around a key or a token is no part of it."""
    channel, time = Channel(), Time()
    channel.put("GetPrice", PRICE)
    await client(channel, time, api_key="ek_1\r\n", token=" t\n").price("BTC-USDT")
    assert channel.sent[0].metadata == {"x-api-key": "ek_1", "authorization": "Bearer t"}


async def test_a_key_is_exchanged_once_for_many_calls() -> None:
    """Calls send the token and not the key; the key goes to IssueToken alone."""
    channel, time = Channel(), Time()
    channel.put("IssueToken", token(1))
    channel.put("GetPrice", *[PRICE] * 5)
    entasis = client(channel, time, exchange_key=True)
    for _ in range(5):
        await entasis.price("BTC-USDT")
    assert [one.metadata for one in channel.of("IssueToken")] == [{"x-api-key": "ek_1"}]
    assert [one.metadata for one in channel.of("GetPrice")] == [{"authorization": "Bearer t1"}] * 5


async def test_a_token_is_renewed_before_it_expires() -> None:
    """A minute before the end of a quarter of an hour there is a new one; not earlier."""
    channel, time = Channel(), Time()
    channel.put("IssueToken", token(1), token(2))
    channel.put("GetPrice", *[PRICE] * 3)
    entasis = client(channel, time, exchange_key=True)
    await entasis.price("BTC-USDT")
    time.now += LIFE_SECONDS - 61
    await entasis.price("BTC-USDT")
    time.now += 2
    await entasis.price("BTC-USDT")
    assert sent_tokens(channel) == ["Bearer t1", "Bearer t1", "Bearer t2"]


async def test_a_short_token_is_renewed_after_four_fifths_of_its_life() -> None:
    """A token that lives ten seconds is used for eight."""
    channel, time = Channel(), Time()
    channel.put("IssueToken", token(1, 10), token(2, 10))
    channel.put("GetPrice", *[PRICE] * 3)
    entasis = client(channel, time, exchange_key=True)
    for wait in (0, 7.9, 0.2):
        time.now += wait
        await entasis.price("BTC-USDT")
    assert sent_tokens(channel) == ["Bearer t1", "Bearer t1", "Bearer t2"]


async def test_many_calls_wait_for_one_renewal() -> None:
    """However many calls find no token, one asks for it."""
    channel, time = Channel(), Time()
    asked = asyncio.Event()
    answer = asyncio.Event()

    def issue(sent: Sent) -> Any:
        async def later() -> Any:
            asked.set()
            await answer.wait()
            return token(1)

        return later()

    channel.put("IssueToken", issue)
    channel.put("GetPrice", *[PRICE] * 20)
    entasis = client(channel, time, exchange_key=True)
    async with asyncio.TaskGroup() as owner:
        for _ in range(20):
            owner.create_task(entasis.price("BTC-USDT"))
        await asked.wait()
        answer.set()
    assert len(channel.of("IssueToken")) == 1
    assert sent_tokens(channel) == ["Bearer t1"] * 20


async def test_a_call_that_waits_for_a_renewal_has_its_own_deadline() -> None:
    """Whoever has less time than the renewal takes is told so, and the renewal goes on for the others."""
    channel, time = Channel(), Time()
    answer = asyncio.Event()

    def issue(sent: Sent) -> Any:
        async def later() -> Any:
            await answer.wait()
            return token(1)

        return later()

    channel.put("IssueToken", issue)
    channel.put("GetPrice", PRICE)
    entasis = client(channel, time, exchange_key=True)
    patient = asyncio.ensure_future(entasis.price("BTC-USDT"))
    await asyncio.sleep(0)
    with pytest.raises(DeadlineError):
        await entasis.price("BTC-USDT", timeout=0.01)
    answer.set()
    assert (await patient).symbol == "BTC-USDT"


async def test_a_token_that_is_still_good_is_used_while_another_call_renews_it() -> None:
    """A renewal that hangs holds up the call that makes it, and others only once the old token has expired."""
    channel, time = Channel(), Time()
    answer = asyncio.Event()

    def issue(sent: Sent) -> Any:
        async def later() -> Any:
            await answer.wait()
            return token(2)

        return later()

    channel.put("IssueToken", token(1), issue)
    channel.put("GetPrice", *[PRICE] * 3)
    entasis = client(channel, time, exchange_key=True)
    await entasis.price("BTC-USDT")
    time.now += LIFE_SECONDS - 50
    renewing = asyncio.ensure_future(entasis.price("BTC-USDT", timeout=100))
    await asyncio.sleep(0)
    await entasis.price("BTC-USDT", timeout=0.05)
    assert sent_tokens(channel) == ["Bearer t1"] * 2
    time.now += 50
    with pytest.raises(DeadlineError):
        await entasis.price("BTC-USDT", timeout=0.01)
    answer.set()
    await renewing
    assert sent_tokens(channel) == ["Bearer t1", "Bearer t1", "Bearer t2"]


async def test_a_token_that_is_still_good_outlives_a_renewal_that_fails() -> None:
    """Where the renewal fails, half of the call's time is left for the old token, and the next calls do not try again
    for five seconds; once it has expired, the failure is told.
    """
    channel, time = Channel(), Time()
    channel.put("IssueToken", token(1), *[CUT] * 50)
    channel.put("GetPrice", *[PRICE] * 3)
    entasis = client(channel, time, exchange_key=True)
    await entasis.price("BTC-USDT")
    time.now += LIFE_SECONDS - 50
    await entasis.price("BTC-USDT")
    assert (channel.sent[-1].timeout or 0) >= 5
    asked = len(channel.of("IssueToken"))
    assert asked > 2
    await entasis.price("BTC-USDT")
    assert len(channel.of("IssueToken")) == asked
    assert sent_tokens(channel) == ["Bearer t1"] * 3
    time.now += 50
    with pytest.raises(UnavailableError):
        await entasis.price("BTC-USDT")


async def test_a_token_that_is_refused_is_replaced_once() -> None:
    """After AUTH_001 the call is made again with a new token; refused again, it is over."""
    channel, time = Channel(), Time()
    channel.put("IssueToken", token(1), token(2), token(3))
    channel.put("CreatePosition", refused("TOKEN_INVALID"), OPENED)
    channel.put("GetPrice", refused("TOKEN_INVALID"), refused("TOKEN_INVALID"))
    entasis = client(channel, time, exchange_key=True)
    await entasis.open_position("BTC-USDT", "1")
    keys = {one.metadata["idempotency-key"] for one in channel.of("CreatePosition")}
    assert len(keys) == 1
    with pytest.raises(AuthenticationError):
        await entasis.price("BTC-USDT")
    assert sent_tokens(channel) == ["Bearer t2", "Bearer t3"]


async def test_a_key_that_is_refused_is_refused_once() -> None:
    """A key that is not valid is not tried again, neither by itself nor for a token."""
    channel, time = Channel(), Time()
    channel.put("IssueToken", refused("KEY_INVALID"))
    with pytest.raises(AuthenticationError) as raised:
        await client(channel, time, exchange_key=True).price("BTC-USDT")
    assert raised.value.reason == "AUTH_001"
    assert [one.rpc for one in channel.sent] == ["IssueToken"]


def test_exchange_needs_a_key_and_no_token() -> None:
    """There is nothing to exchange without a key, and a token would never be used."""
    for settings in ({"api_key": ""}, {"token": "t"}):
        with pytest.raises(ValueError, match="give api_key and no token"):
            client(Channel(), Time(), exchange_key=True, **settings)


async def test_a_write_tells_its_key_whatever_failed() -> None:
    """Where the first attempt was cut and no token could be had for the next, the key is in the error all the same."""
    channel, time = Channel(), Time()
    channel.put("IssueToken", token(1, 0), *[refused("KEY_ENDED")] * 2)
    channel.put("CreatePosition", CUT)
    with pytest.raises(AuthenticationError) as raised:
        await client(channel, time, exchange_key=True).open_position("BTC-USDT", "1")
    assert raised.value.idempotency_key == channel.of("CreatePosition")[0].metadata["idempotency-key"]
