"""Streams over broken connections: nothing twice, and nothing lost without a word."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.client.fakes import CUT, RESET, Channel, Time, client, refused
from tests.unit.client.test_credentials import token

from entasis_betterproto.entasis.market import v1 as market
from entasis_betterproto.entasis.portfolio import v1 as portfolio
from entasis_client import (
    AuthenticationError,
    CandleUpdate,
    EntasisError,
    FeedInterruption,
    Gap,
    MissedCandles,
    NotFoundError,
    PositionUpdate,
    PriceUpdate,
    Reconnected,
    UnavailableError,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BTC, ETH = "BTC-USDT", "ETH-USDT"


def prices(*numbers: int, symbol: str = BTC) -> market.StreamPricesResponse:
    return market.StreamPricesResponse(
        updates=[market.PriceUpdate(symbol=symbol, price="1", volume="1", timestamp=NOW, seq=seq) for seq in numbers]
    )


def books(*numbers: int) -> market.StreamOrderBooksResponse:
    return market.StreamOrderBooksResponse(
        books=[market.GetOrderBookResponse(symbol=BTC, timestamp=NOW, seq=seq) for seq in numbers]
    )


def candle(minute: int, close: str = "1") -> market.Candle:
    return market.Candle(timestamp=NOW + minute * MINUTE, open="1", high="1", low="1", close=close, volume="1")


def candles(*updates: tuple[int, int, bool]) -> market.StreamCandlesResponse:
    """Of (seq, minute, closed)."""
    return market.StreamCandlesResponse(
        updates=[
            market.CandleUpdate(symbol=BTC, interval="1m", candle=candle(minute), closed=closed, seq=seq)
            for seq, minute, closed in updates
        ]
    )


def positions(*updates: tuple[str, int]) -> portfolio.StreamPositionsResponse:
    return portfolio.StreamPositionsResponse(
        updates=[portfolio.PositionUpdate(event=event, seq=seq) for event, seq in updates]
    )


async def told(events: AsyncGenerator[Any, None], count: int | None = None) -> list[Any]:
    """What a stream tells in short: numbers, and gaps and the like as they are; the first so many."""
    found: list[Any] = []
    async with aclosing(events) as listened:
        async for event in listened:
            match event:
                case PriceUpdate() | PositionUpdate():
                    found.append(event.seq)
                case CandleUpdate():
                    found.append(((event.candle.timestamp - NOW) // MINUTE, event.closed, event.seq))
                case Reconnected():
                    found.append("again")
                case _:
                    found.append(event)
            if len(found) == count:
                break
    return found


async def test_a_broken_stream_goes_on_where_it_was() -> None:
    """The new connection asks for what comes after the last number of each symbol; nothing is missing or doubled."""
    channel, time = Channel(), Time()
    channel.put(
        "StreamPrices",
        [prices(10, 11), prices(7, symbol=ETH), prices(12), CUT],
        [CUT],
        [RESET],
        [prices(13, 14), prices(8, symbol=ETH)],
    )
    events = client(channel, time).stream_prices([BTC, ETH])
    assert await told(events, 8) == [10, 11, 7, 12, "again", 13, 14, 8]
    assert [call.request.resume_after for call in channel.sent] == [{}, *[{BTC: 12, ETH: 7}] * 3]
    assert len(time.slept) == 3
    assert time.slept[0] < time.slept[1] < time.slept[2]
    assert all(call.cancelled for call in channel.calls)


async def test_a_stream_that_ends_is_opened_again() -> None:
    """An engine that stops says SERVER_002 or just ends the stream: neither is the end for the reader."""
    channel, time = Channel(), Time()
    channel.put("StreamPrices", [prices(1), refused("UNAVAILABLE")], [prices(2)], [prices(3)])
    events = client(channel, time).stream_prices(BTC)
    assert await told(events, 5) == [1, "again", 2, "again", 3]


async def test_reconnected_tells_what_happened() -> None:
    """For how long, after how many attempts, and what ended the connection."""
    channel, time = Channel(), Time()
    channel.put("StreamPrices", [prices(1), RESET], [CUT], [prices(2)])
    async with aclosing(client(channel, time).stream_prices(BTC)) as events:
        await anext(events)
        event = await anext(events)
    assert isinstance(event, Reconnected)
    assert event.outage_seconds == pytest.approx(sum(time.slept))
    assert event.attempts == 2
    assert event.error.message == "Received RST_STREAM with error code 2"


async def test_a_jump_is_told() -> None:
    """A reader that was too slow, and one that finds a new start of the engine, get a Gap before what follows."""
    channel, time = Channel(), Time()
    channel.put("StreamPrices", [prices(1, 2), prices(50, 51), CUT], [prices(9_000), prices(9_001)])
    events = client(channel, time).stream_prices(BTC)
    assert await told(events, 9) == [1, 2, Gap(BTC, 2, 50), 50, 51, "again", Gap(BTC, 51, 9_000), 9_000, 9_001]


async def test_nothing_is_given_twice() -> None:
    """What came already is left out, on the same connection and on the next."""
    channel, time = Channel(), Time()
    channel.put("StreamPrices", [prices(1, 2, 2, 1, 3), CUT], [prices(3), prices(4)])
    assert await told(client(channel, time).stream_prices(BTC), 5) == [1, 2, 3, "again", 4]


async def test_the_first_trade_of_a_symbol_after_a_loss_may_not_be_the_first() -> None:
    """A symbol that told nothing on the first connection: on a later one nobody knows what came in between."""
    channel, time = Channel(), Time()
    channel.put("StreamPrices", [prices(10), CUT], [prices(11), prices(50, 51, symbol=ETH)])
    events = client(channel, time).stream_prices([BTC, ETH])
    assert await told(events, 6) == [10, "again", 11, Gap(ETH, 0, 50), 50, 51]


async def test_another_engine_has_other_numbers() -> None:
    """Where numbers begin lower on a new connection another engine answers: that is a Gap, and not silence."""
    channel, time = Channel(), Time()
    channel.put("StreamPrices", [prices(1_000), CUT], [prices(500, 501)])
    assert await told(client(channel, time).stream_prices(BTC), 5) == [1_000, "again", Gap(BTC, 1_000, 500), 500, 501]


async def test_interruptions_are_passed_on() -> None:
    """A silent exchange is told, and its return."""
    channel, time = Channel(), Time()
    silent = market.FeedInterruption(symbol=BTC, exchange="simulated")
    channel.put("StreamPrices", [market.StreamPricesResponse(interruptions=[silent]), prices(1)])
    first, second = await told(client(channel, time).stream_prices(BTC), 2)
    assert first == FeedInterruption(BTC, restored=False, last_heard_time=None, exchange="simulated")
    assert second == 1


async def test_a_refusal_ends_a_stream() -> None:
    """What the engine refuses would be refused again, at the first connection and at any later one."""
    channel, time = Channel(), Time()
    channel.put("StreamPrices", [refused("SYMBOL_UNKNOWN", symbol=BTC)])
    with pytest.raises(NotFoundError):
        await told(client(channel, time).stream_prices(BTC))
    channel.put("StreamPrices", [prices(1), CUT], [refused("KEY_ENDED")])
    with pytest.raises(AuthenticationError):
        await told(client(channel, time).stream_prices(BTC))
    assert len(channel.sent) == 3


async def test_a_stream_that_never_stood_has_the_deadline_of_a_call() -> None:
    """A wrong address is told after `timeout`, and not tried for ever."""
    channel, time = Channel(), Time()
    channel.put("StreamPrices", *[[CUT]] * 100)
    with pytest.raises(UnavailableError):
        await told(client(channel, time, timeout=3.0).stream_prices(BTC))
    assert time.now <= 1003


@pytest.mark.parametrize("seconds", [60.0, None])
async def test_an_outage_is_waited_out_up_to_a_limit(seconds: float | None) -> None:
    """A stream that stood is tried for so long, with waits of at most the longest; without a limit for ever."""
    channel, time = Channel(), Time()
    channel.put("StreamPrices", [prices(1), CUT], *[[CUT]] * 500, [refused("SYMBOL_UNKNOWN", symbol=BTC)])
    with pytest.raises(UnavailableError if seconds else NotFoundError):
        await told(client(channel, time, outage_seconds_max=seconds).stream_prices(BTC))
    assert max(time.slept) <= 5.0
    assert time.now > (1050 if seconds else 2000)
    assert seconds is None or time.now <= 1060


async def test_waits_go_on_growing_where_connections_do_not_hold() -> None:
    """An engine that takes a connection and drops it at once is not asked at full speed; one that held begins anew."""
    channel, time = Channel(), Time()

    def hold() -> None:
        time.now += 60

    channel.put("StreamPrices", *[[CUT_AFTER, CUT]] * 5, [hold, CUT], [prices(1)])
    await told(client(channel, time).stream_prices(BTC), 7)
    assert time.slept[4] > 0.8
    assert time.slept[5] <= 0.1


def CUT_AFTER() -> None:
    """The connection stands, and says nothing."""


async def test_too_many_open_streams_are_waited_for_only_after_a_loss() -> None:
    """The engine may still count the broken stream; at the first connection it is the caller who has too many."""
    channel, time = Channel(), Time()
    too_many = refused("TOO_MANY", limit="100", what="open streams")
    channel.put("StreamPrices", [prices(1), CUT], [too_many], [prices(2)], [too_many])
    entasis = client(channel, time)
    assert await told(entasis.stream_prices(BTC), 3) == [1, "again", 2]
    with pytest.raises(EntasisError, match="LIMIT_002"):
        await told(entasis.stream_prices(BTC))


async def test_a_stream_whose_token_ended_goes_on_with_another() -> None:
    """With exchanged keys AUTH_001 in mid-stream is a reason to get a new token."""
    channel, time = Channel(), Time()
    channel.put("IssueToken", *[token(number) for number in range(1, 6)])
    channel.put("StreamPrices", [prices(1), refused("TOKEN_EXPIRED")], [prices(2), refused("TOKEN_EXPIRED")])
    channel.put("StreamPrices", [prices(3), CUT])
    channel.put("StreamPrices", [refused("TOKEN_INVALID")], [refused("TOKEN_INVALID")])
    events = client(channel, time, exchange_key=True).stream_prices(BTC)
    assert await told(events, 5) == [1, "again", 2, "again", 3]
    sent = [one.metadata["authorization"] for one in channel.of("StreamPrices")]
    assert sent == ["Bearer t1", "Bearer t2", "Bearer t3"]
    with pytest.raises(AuthenticationError):
        await told(client(channel, time, exchange_key=True).stream_prices(BTC))


async def test_closing_the_client_ends_its_streams() -> None:
    """The reader's loop ends without an error, and its task is not cancelled."""
    channel, time = Channel(), Time()
    entasis = client(channel, time)

    channel.put("StreamPrices", [prices(1)])
    seen: list[Any] = []
    async with aclosing(entasis.stream_prices(BTC)) as events:
        async for event in events:
            seen.append(event)
            await entasis.close()
    assert len(seen) == 1
    assert channel.calls[0].cancelled


async def test_books_replace_each_other() -> None:
    """The same state is given once; after a loss comes the newest, and no Gap, since nothing of value is missing."""
    channel, time = Channel(), Time()
    channel.put("StreamOrderBooks", [books(5), books(9), CUT], [books(9), books(12), CUT], [books(3)])
    events = [getattr(one, "seq", one) for one in await told(client(channel, time).stream_order_books(BTC, 5), 6)]
    assert events == [5, 9, "again", 12, "again", 3]


async def test_candles_that_closed_meanwhile_come_from_the_history() -> None:
    """After a loss the closes that are missing are given before the candle in progress, each once."""
    channel, time = Channel(), Time()
    channel.put(
        "StreamCandles",
        [candles((1, 0, False), (2, 0, True), (3, 1, False)), CUT],
        [candles((900, 4, False), (901, 4, True), (902, 5, False))],
    )
    channel.put("GetHistory", market.GetHistoryResponse(data=[candle(0), candle(1, "7"), candle(2), candle(3)]))
    events = client(channel, time).stream_candles(BTC)
    assert await told(events, 10) == [
        (0, False, 1),
        (0, True, 2),
        (1, False, 3),
        "again",
        (1, True, 0),
        (2, True, 0),
        (3, True, 0),
        (4, False, 900),
        (4, True, 901),
        (5, False, 902),
    ]
    asked = channel.of("GetHistory")[0].request
    assert (asked.interval, asked.start, asked.end) == ("1m", NOW + MINUTE, NOW + 4 * MINUTE)


async def test_candles_that_the_history_lacks_are_named() -> None:
    """What closed and cannot be found, not even when the next candle has closed, is told; where it comes late after
    all, it is given, and nothing else twice.
    """
    channel, time = Channel(), Time()
    channel.put(
        "StreamCandles",
        [candles((1, 0, False)), CUT],
        [candles((900, 3, False), (902, 0, True), (903, 3, True), (904, 1, True), (905, 1, True), (906, 4, False))],
    )
    channel.put("GetHistory", market.GetHistoryResponse(data=[candle(0), candle(2)]), market.GetHistoryResponse())
    events = await told(client(channel, time).stream_candles(BTC), 9)
    assert events[2:] == [
        (0, True, 0),
        (2, True, 0),
        (3, False, 900),
        MissedCandles(BTC, "1m", (NOW + MINUTE,), None),
        (3, True, 903),
        (1, True, 904),
        (4, False, 906),
    ]


@pytest.mark.parametrize("sign", [(904, 6, True), (904, 8, False)])
async def test_a_history_that_is_being_filled_is_asked_again(sign: tuple[int, int, bool]) -> None:
    """After a silence of the exchange the engine fills its history when the next candle has closed: then it is asked a
    second time, and what came late meanwhile is not given twice.
    """
    channel, time = Channel(), Time()
    channel.put("StreamCandles", [candles((1, 0, False)), candles((901, 6, False), (902, 0, True)), candles(sign)])
    every = market.GetHistoryResponse(data=[candle(minute) for minute in range(6)])
    channel.put("GetHistory", market.GetHistoryResponse(), every, market.GetHistoryResponse(data=[candle(7)]))
    seq, minute, closed = sign
    assert await told(client(channel, time).stream_candles(BTC), 9) == [
        (0, False, 1),
        (6, False, 901),
        (0, True, 902),
        *[(missed, True, 0) for missed in range(1, 6)],
        (minute, closed, seq) if closed else (7, True, 0),
    ]
    asked = [one.request for one in channel.of("GetHistory")[:2]]
    assert [(one.start, one.end) for one in asked] == [(NOW, NOW + 6 * MINUTE), (NOW + MINUTE, NOW + 6 * MINUTE)]


@pytest.mark.parametrize("closed", [False, True])
async def test_closes_that_are_left_out_while_the_connection_stands_are_looked_up(closed: bool) -> None:
    """Where candles jump, since the exchange was silent or the reader too slow, closes come from the history."""
    channel, time = Channel(), Time()
    channel.put("StreamCandles", [candles((1, 0, False), (2, 0, True), (3, 1, False)), candles((50, 4, closed))])
    channel.put("GetHistory", market.GetHistoryResponse(data=[candle(1), candle(2), candle(3)]))
    events = await told(client(channel, time).stream_candles(BTC), 7)
    assert events[3:] == [(1, True, 0), (2, True, 0), (3, True, 0), (4, closed, 50)]


async def test_candles_that_follow_each_other_ask_for_nothing() -> None:
    """Neither the next candle nor a close that comes late is a jump."""
    channel, time = Channel(), Time()
    channel.put(
        "StreamCandles",
        [candles((1, 0, False), (2, 1, False), (3, 0, True), (4, 1, True), (5, 2, True), (6, 3, False))],
    )
    assert len(await told(client(channel, time).stream_candles(BTC), 6)) == 6
    assert channel.of("GetHistory") == []


@pytest.mark.parametrize("next_closes_first", [False, True])
async def test_one_close_that_a_slow_reader_missed_is_looked_up(next_closes_first: bool) -> None:
    """Where numbers jump a single close may be what was skipped, even if a candle of each minute was told."""
    channel, time = Channel(), Time()
    later = [(5, 2, True), (6, 3, False)] if next_closes_first else [(5, 2, False)]
    channel.put("StreamCandles", [candles((1, 0, False), (2, 0, True), (3, 1, False), *later)])
    channel.put("GetHistory", market.GetHistoryResponse(data=[candle(1)]))
    events = await told(client(channel, time).stream_candles(BTC), 4 + len(later))
    assert sorted(minute for minute, closed, _ in events if closed) == ([0, 1, 2] if next_closes_first else [0, 1])
    assert (1, True, 0) in events
    (asked,) = channel.of("GetHistory")
    assert (asked.request.start, asked.request.end) == (NOW + MINUTE, NOW + 2 * MINUTE)


async def test_a_reader_that_is_always_slow_asks_for_each_close_twice_at_most() -> None:
    """However often numbers jump, what the history lacks is asked for again once, and told as missing once."""
    channel, time = Channel(), Time()
    jumping = [(2 * number, number // 4, False) for number in range(8, 80)]  # four jumps a minute, and no close
    channel.put("StreamCandles", [candles((1, 0, False), *jumping)])
    lasting = [candle(minute) for minute in range(20) if minute != 5]
    channel.put("GetHistory", *[market.GetHistoryResponse(data=lasting)] * 60)
    events = await told(client(channel, time).stream_candles(BTC), 1 + len(jumping) + 18 + 1)
    assert [one.open_times for one in events if isinstance(one, MissedCandles)] == [(NOW + 5 * MINUTE,)]
    closes = [event[0] for event in events if not isinstance(event, MissedCandles) and event[1]]
    assert sorted(closes) == [minute for minute in range(19) if minute != 5]
    assert len(channel.of("GetHistory")) <= 20 + 1


async def test_what_the_history_lacks_is_asked_for_before_a_second_loss_is_filled() -> None:
    """A loss on the heels of another one asks for what the first one lacked, tells it, and then for its own."""
    channel, time = Channel(), Time()
    channel.put(
        "StreamCandles", [candles((1, 0, False)), CUT], [candles((9, 2, False)), CUT], [candles((20, 4, False))]
    )
    channel.put(
        "GetHistory",
        market.GetHistoryResponse(data=[candle(0)]),
        market.GetHistoryResponse(),
        market.GetHistoryResponse(data=[candle(2), candle(3)]),
    )
    assert await told(client(channel, time).stream_candles(BTC), 9) == [
        (0, False, 1),
        "again",
        (0, True, 0),
        (2, False, 9),
        "again",
        MissedCandles(BTC, "1m", (NOW + MINUTE,), None),
        (2, True, 0),
        (3, True, 0),
        (4, False, 20),
    ]


async def test_closing_the_client_between_candles_that_are_filled_in_ends_the_stream() -> None:
    """No history is asked of a client that is closed, and the reader's loop just ends."""
    channel, time = Channel(), Time()

    def both(seq: int, minute: int) -> market.StreamCandlesResponse:
        message = candles((seq, minute, False), (seq + 1, minute, False))
        message.updates[1].symbol = ETH
        return message

    channel.put("StreamCandles", [both(1, 0), CUT], [both(9, 2)])
    channel.put("GetHistory", market.GetHistoryResponse(data=[candle(0), candle(1)]))
    entasis = client(channel, time)
    seen = 0
    async with aclosing(entasis.stream_candles([BTC, ETH])) as events:
        async for event in events:
            seen += 1
            if isinstance(event, CandleUpdate) and event.seq == 0:
                await entasis.close()
    assert seen >= 4
    assert len(channel.of("GetHistory")) == 1


async def test_of_a_long_loss_the_last_candles_are_filled_in() -> None:
    """However long it was, at most a thousand closes are asked for."""
    channel, time = Channel(), Time()
    channel.put("StreamCandles", [candles((1, 0, False)), CUT], [candles((900, 5_000, False), (901, 5_000, True))])
    channel.put("GetHistory", *[market.GetHistoryResponse()] * 2)
    events = await told(client(channel, time).stream_candles(BTC), 5)
    assert isinstance(events[3], MissedCandles)
    assert (len(events[3].open_times), events[3].open_times[0]) == (1_000, NOW + 4_000 * MINUTE)
    assert channel.of("GetHistory")[0].request.start == NOW + 4_000 * MINUTE


async def test_candles_are_told_as_missed_where_the_history_may_not_be_read() -> None:
    """Without the scope for history the stream goes on, and says what may be missing and why."""
    channel, time = Channel(), Time()
    channel.put("StreamCandles", [candles((1, 0, False)), CUT], [candles((900, 2, False))])
    channel.put("GetHistory", refused("SCOPE_MISSING", scope="market:read"))
    events = await told(client(channel, time).stream_candles(BTC), 4)
    assert isinstance(events[2], MissedCandles)
    assert events[2].open_times == (NOW, NOW + MINUTE)
    assert events[2].error is not None
    assert events[2].error.reason == "AUTH_002"
    assert events[3] == (2, False, 900)


async def test_a_loss_within_one_candle_asks_for_nothing() -> None:
    """Where no interval ended meanwhile there is nothing to look up."""
    channel, time = Channel(), Time()
    channel.put("StreamCandles", [candles((1, 0, False)), CUT], [candles((900, 0, False), (901, 0, True))])
    assert await told(client(channel, time).stream_candles(BTC), 4) == [
        (0, False, 1),
        "again",
        (0, False, 900),
        (0, True, 901),
    ]
    assert channel.of("GetHistory") == []


async def test_positions_begin_anew_with_a_snapshot() -> None:
    """After a loss comes a snapshot, with a Gap before it unless its number says that nothing happened."""
    channel, time = Channel(), Time()
    channel.put(
        "StreamPositions",
        [positions(("snapshot", 5)), positions(("opened", 6), ("opened", 6), ("price", 9)), CUT],
        [positions(("snapshot", 9), ("price", 10)), CUT],
        [positions(("snapshot", 400)), CUT],
        [positions(("snapshot", 20), ("closed", 21))],
    )
    assert await told(client(channel, time).stream_positions(), 14) == [
        5,
        6,
        Gap("", 6, 9),
        9,
        "again",
        9,
        10,
        "again",
        Gap("", 10, 400),
        400,
        "again",
        Gap("", 400, 20),
        20,
        21,
    ]
