"""What clients of /ws/market get, over real sockets, from an engine that the test controls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.integration.websocket.conftest import MakeWorld, World
from tests.integration.websocket.fake_engine import until
from websockets.exceptions import InvalidStatus

from entasis_engine.websocket import Limits

PRICE = {
    "symbol": "BTC-USDT",
    "price": "65432.10",
    "timestamp": "2024-03-21T09:30:00.123Z",
    "volume": "1.23",
    "channel": "market",
    "seq": 101,
}


def reason(error: dict[str, Any]) -> str:
    """The code of an error, which must have the form of google.rpc.Status."""
    assert isinstance(error["code"], int)
    assert error["message"]
    info = error["details"][0]
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert info["domain"] == "entasis"
    return str(info["reason"])


async def test_market_message_has_the_asked_for_fields_first(world: World) -> None:
    """A trade reaches a subscriber with symbol, price, timestamp and volume first, in that order."""
    world.engine.trade()
    client = await world.client()
    await client.market()
    message = await client.receive()
    assert list(message) == ["symbol", "price", "timestamp", "volume", "channel", "seq"]
    assert message == PRICE


async def test_orderbook_message(world: World) -> None:
    """A book reaches a subscriber as pairs of strings; depth, number and checksum follow the asked-for fields."""
    world.engine.book()
    client = await world.client()
    await client.send(action="subscribe", channel="orderbook", symbol="BTC-USDT", depth=2)
    message = await client.receive()
    assert list(message) == ["symbol", "bids", "asks", "timestamp", "channel", "depth", "seq", "checksum"]
    assert message["bids"] == [["65000.00", "1.234"], ["64999.00", "1.234"]]
    assert message["asks"] == [["65001.00", "1.234"], ["65002.00", "1.234"]]
    assert (message["depth"], message["seq"], message["checksum"]) == (2, 101, 4242)
    assert world.engine.opened[0].request.depth == 2


async def test_candle_message(world: World) -> None:
    """A candle reaches a subscriber, and once more when it closes; whole seconds print without a fraction."""
    world.engine.candle()
    client = await world.client()
    await client.send(action="subscribe", channel="candles", symbol="BTC-USDT")
    message = await client.receive()
    assert message == {
        "symbol": "BTC-USDT",
        "timestamp": "2024-03-21T09:30:00Z",
        "open": "65000.00",
        "high": "65100.00",
        "low": "64900.00",
        "close": "65050.00",
        "volume": "2.5",
        "channel": "candles",
        "interval": "1m",
        "closed": False,
        "seq": 101,
    }
    world.engine.candle(closed=True)
    assert (await client.receive())["closed"] is True


async def test_a_client_without_id_gets_only_data(world: World) -> None:
    """A subscribe without an id is answered by data alone."""
    client = await world.client()
    await client.market("BTC-USDT", "ETH-USDT")
    await client.nothing_but()
    world.engine.trade("ETH-USDT")
    assert (await client.receive())["symbol"] == "ETH-USDT"


async def test_one_upstream_stream_serves_every_client(world: World) -> None:
    """However many clients subscribe to a stream, the engine sees one, and each client gets every update once."""
    clients = [await world.client() for _ in range(20)]
    for client in clients:
        answer = await client.ask(action="subscribe", channel="market", symbol="BTC-USDT", id=1)
        assert answer["results"] == [{"symbol": "BTC-USDT", "status": "ok"}]
    world.engine.trade(count=50)
    for client in clients:
        assert [(await client.receive())["seq"] for _ in range(50)] == list(range(101, 151))
    assert len(world.engine.opened) == 1


async def test_acknowledgement_comes_before_the_snapshot(world: World) -> None:
    """The acknowledgement names each symbol's newest number, and the snapshot of an open stream follows it."""
    world.engine.trade()
    for _ in range(2):  # the first opens the stream, the second finds it open
        client = await world.client()
        answer = await client.ask(action="subscribe", channel="market", symbols=["BTC-USDT"], id="a")
        assert answer == {
            "type": "ack",
            "id": "a",
            "action": "subscribe",
            "channel": "market",
            "results": [{"symbol": "BTC-USDT", "status": "ok", "seq": 101}],
        }
        assert await client.receive() == PRICE


async def test_subscribing_twice_gives_a_fresh_snapshot_and_no_second_copy(world: World) -> None:
    """A duplicate subscribe is acknowledged and answered with the newest message; later updates come once."""
    world.engine.trade()
    client = await world.client()
    for _ in range(2):
        assert (await client.ask(action="subscribe", channel="market", symbol="BTC-USDT", id=1))["type"] == "ack"
        assert await client.receive() == PRICE
    world.engine.trade()
    assert (await client.receive())["seq"] == 102
    await client.nothing_but()


async def test_a_bad_symbol_spoils_nothing(world: World) -> None:
    """Unknown and malformed symbols are reported each on its own, and the good ones are served."""
    world.engine.trade("ETH-USDT")
    client = await world.client()
    symbols = ["FOO-BAR", "ETH-USDT", "btc", "BTC-USDT,ETH-USDT"]
    answer = await client.ask(action="subscribe", channel="market", symbols=symbols, id=7)
    by_symbol = {result["symbol"]: result for result in answer["results"]}
    assert by_symbol["ETH-USDT"]["status"] == "ok"
    assert by_symbol["FOO-BAR"]["error"] == {
        "code": 5,
        "message": "Unknown symbol 'FOO-BAR'",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "MARKET_001",
                "domain": "entasis",
                "metadata": {"symbol": "FOO-BAR"},
            }
        ],
    }
    assert by_symbol["btc"]["error"]["code"] == 3
    assert reason(by_symbol["BTC-USDT,ETH-USDT"]["error"]) == "MARKET_001"
    assert (await client.receive())["symbol"] == "ETH-USDT"
    assert len(world.engine.opened) == 2  # what is malformed never reaches the engine


async def test_without_id_each_bad_symbol_is_an_error_of_its_own(world: World) -> None:
    """Without an id, an unknown symbol gives one error message that names it, and the rest is served."""
    world.engine.trade()
    client = await world.client()
    await client.market("FOO-BAR", "BTC-USDT")
    error = await client.receive()
    assert (error["type"], error["channel"], error["symbol"]) == ("error", "market", "FOO-BAR")
    assert reason(error) == "MARKET_001"
    assert "id" not in error
    assert await client.receive() == PRICE


async def test_korean_clients_are_answered_in_korean(world: World) -> None:
    """Errors speak Korean to a client whose handshake prefers it, those that the engine words in English too."""
    client = await world.client(accept_language="ko-KR,ko;q=0.9,en;q=0.8")
    await client.market("FOO-BAR")
    assert (await client.receive())["message"] == "알 수 없는 심볼입니다: 'FOO-BAR'"
    error = await client.ask(action="dance")
    assert error["message"].startswith("잘못된 요청입니다: action: ")
    await client.subscribed()
    world.engine.interrupt()
    assert (await client.receive())["message"] == "binance 거래소 연결에 실패하여 'BTC-USDT'의 실시간 데이터가 없습니다"


async def test_unsubscribe_ends_the_data_and_then_the_topic(world: World) -> None:
    """After the last client has unsubscribed its data stops, and after the linger the engine's stream is closed."""
    client = await world.client()
    await client.ask(action="subscribe", channel="market", symbol="BTC-USDT", id=1)
    answer = await client.ask(action="unsubscribe", channel="market", symbol="BTC-USDT", id=2)
    assert answer["results"] == [{"symbol": "BTC-USDT", "status": "ok"}]
    world.engine.trade()
    await client.nothing_but()
    await until(lambda: not world.engine.open)


async def test_a_client_that_goes_away_ends_its_topics(world: World) -> None:
    """The streams of a client that disconnects end after the linger."""
    client = await world.client()
    await client.ask(action="subscribe", channel="market", symbols=["BTC-USDT", "ETH-USDT"], id=1)
    await client.socket.close()
    await until(lambda: not world.engine.open and world.bridge.clients == 0)


async def test_list_and_ping(world: World) -> None:
    """`list` names every subscription with its selectors, and `ping` is answered with the time."""
    client = await world.client()
    await client.ask(action="subscribe", channel="orderbook", symbol="BTC-USDT", depth=5, id=1)
    await client.ask(action="subscribe", channel="candles", symbol="ETH-USDT", interval="1h", id=2)
    assert await client.ask(action="list") == {
        "type": "subscriptions",
        "subscriptions": [
            {"channel": "orderbook", "symbol": "BTC-USDT", "depth": 5},
            {"channel": "candles", "symbol": "ETH-USDT", "interval": "1h"},
        ],
    }
    pong = await client.ask(action="ping", id="x")
    assert (pong["type"], pong["id"]) == ("pong", "x")
    assert pong["timestamp"].endswith("Z")


async def test_heartbeat_is_sent_only_when_asked_for(world: World) -> None:
    """Heartbeats come after a client has asked for them, and end when it asks for 0."""
    client = await world.client()
    answer = await client.ask(action="heartbeat", seconds=1, id=1)
    assert answer == {"type": "ack", "id": 1, "action": "heartbeat", "seconds": 1}
    assert (await client.receive())["type"] == "heartbeat"
    await client.send(action="heartbeat", seconds=0)
    await client.nothing_but()


async def test_too_many_subscriptions(make_world: MakeWorld) -> None:
    """The subscription beyond the limit is refused with LIMIT_002; those within it stand, and may be renewed."""
    world: World = await make_world(websocket_subscriptions_max=2)
    client = await world.client()
    await client.ask(action="subscribe", channel="market", symbols=["BTC-USDT", "ETH-USDT"], id=1)
    answer = await client.ask(action="subscribe", channel="market", symbols=["SOL-USDT", "BTC-USDT"], id=2)
    assert reason(answer["results"][0]["error"]) == "LIMIT_002"
    assert answer["results"][1] == {"symbol": "BTC-USDT", "status": "ok"}
    error = await client.ask(action="subscribe", channel="market", symbols=["A-A", "B-B", "C-C"], id=3)
    assert (error["type"], error["id"], reason(error)) == ("error", 3, "LIMIT_002")


async def test_a_client_that_sends_too_much_is_told_and_not_obeyed(make_world: MakeWorld) -> None:
    """Messages beyond the rate are answered with LIMIT_002, carry their id, and have no effect."""
    world: World = await make_world(Limits(message_burst=3, message_rate=0.01))
    client = await world.client()
    for number in range(3):
        assert (await client.ask(action="ping", id=number))["type"] == "pong"
    error = await client.ask(action="ping", id=3)
    assert (error["type"], error["id"], reason(error)) == ("error", 3, "LIMIT_002")


async def test_resume_after_a_reconnect_gives_every_update_once(world: World) -> None:
    """A client that reconnects within the linger and names its last seq gets exactly what it missed."""
    client = await world.client()
    await client.subscribed()
    world.engine.trade(count=3)
    assert [(await client.receive())["seq"] for _ in range(3)] == [101, 102, 103]
    keeper = await world.client()
    await keeper.market()
    assert (await keeper.receive())["seq"] == 103
    await client.socket.close()
    world.engine.trade(count=5)
    while (await keeper.receive())["seq"] < 108:
        pass
    client = await world.client()
    answer = await client.ask(action="subscribe", channel="market", symbol="BTC-USDT", id=1, resume={"BTC-USDT": 103})
    assert answer["results"] == [{"symbol": "BTC-USDT", "status": "ok", "resumed": True, "seq": 108}]
    assert [(await client.receive())["seq"] for _ in range(5)] == [104, 105, 106, 107, 108]
    world.engine.trade()
    assert (await client.receive())["seq"] == 109
    assert len(world.engine.opened) == 1


async def test_resume_reaches_back_beyond_this_bridge(world: World) -> None:
    """A stream that is not open here is resumed from what the engine still holds."""
    world.engine.trade(count=10)
    client = await world.client()
    answer = await client.ask(action="subscribe", channel="market", symbol="BTC-USDT", id=1, resume={"BTC-USDT": 107})
    assert answer["results"][0]["resumed"] is True
    assert [(await client.receive())["seq"] for _ in range(3)] == [108, 109, 110]


async def test_resume_with_nothing_missed_sends_nothing(world: World) -> None:
    """A client that has the newest update is told so, and gets no snapshot."""
    world.engine.trade(count=2)
    client = await world.client()
    answer = await client.ask(action="subscribe", channel="market", symbol="BTC-USDT", id=1, resume={"BTC-USDT": 102})
    assert answer["results"] == [{"symbol": "BTC-USDT", "status": "ok", "resumed": True, "seq": 102}]
    await client.nothing_but()


@pytest.mark.parametrize("last_seq", [1, 99_999], ids=["too old", "never given"])
async def test_resume_from_what_is_not_held_gives_a_snapshot(world: World, last_seq: int) -> None:
    """Where not everything since then is held the client learns it, and gets the newest update."""
    world.engine.trade(count=1500)
    client = await world.client()
    answer = await client.ask(
        action="subscribe", channel="market", symbol="BTC-USDT", id=1, resume={"BTC-USDT": last_seq}
    )
    assert answer["results"][0]["resumed"] is False
    assert (await client.receive())["seq"] == 1600


async def test_an_engine_that_dies_and_returns(world: World) -> None:
    """Subscribers are told once that the engine is gone, newcomers too, and data goes on when it is back."""
    world.engine.trade()
    client, newcomer = await world.client(), await world.client()
    await client.market()
    assert await client.receive() == PRICE
    await world.engine.stop()
    error = await client.receive()
    assert (error["type"], error["channel"], error["symbol"]) == ("error", "market", "BTC-USDT")
    assert (error["code"], reason(error)) == (14, "SERVER_002")

    answer = await newcomer.ask(action="subscribe", channel="market", symbol="BTC-USDT", id=1)
    assert answer["results"][0]["status"] == "ok"  # subscribed, though there is nothing to send yet
    assert reason(await newcomer.receive()) == "SERVER_002"  # and no stale price

    world.engine.trade(count=9)
    await world.engine.start()
    assert [(await client.receive())["seq"] for _ in range(9)] == list(range(102, 111))
    message = await newcomer.receive()
    while message["seq"] < 110:
        message = await newcomer.receive()
    world.engine.trade()
    assert (await client.receive())["seq"] == 111


async def test_a_cut_stream_doubles_no_trade(world: World) -> None:
    """When the stream breaks and nothing was missed, the last trade goes to those alone who came meanwhile."""
    world.engine.trade()
    client, newcomer = await world.client(), await world.client()
    await client.market()
    assert await client.receive() == PRICE
    await world.engine.stop()
    assert reason(await client.receive()) == "SERVER_002"
    await newcomer.market()
    assert reason(await newcomer.receive()) == "SERVER_002"
    await world.engine.start()
    assert await newcomer.receive() == PRICE
    world.engine.trade()
    assert (await client.receive())["seq"] == PRICE["seq"] + 1
    assert (await newcomer.receive())["seq"] == PRICE["seq"] + 1


async def test_an_engine_that_hangs_in_the_middle_is_noticed(make_world: MakeWorld) -> None:
    """Streams that stay open and silent because the engine hangs are told lost, and no stale price is handed out."""
    world = await make_world(Limits(linger_seconds=0.2, watch_seconds=0.05, answer_seconds=2))
    world.engine.trade()
    client = await world.client()
    await client.market()
    assert await client.receive() == PRICE
    world.engine.hangs = world.engine.silent = True
    assert reason(await client.receive()) == "SERVER_002"
    newcomer = await world.client()
    await newcomer.market()
    assert reason(await newcomer.receive()) == "SERVER_002"


async def test_odd_depths_are_bounded(make_world: MakeWorld) -> None:
    """Of one symbol only so many unusual depths are open at once; the usual ones always are."""
    world = await make_world(Limits(linger_seconds=0.2, other_depths_max=2))
    world.engine.book()
    client = await world.client()
    for depth, status in ((11, "ok"), (12, "ok"), (13, "error"), (20, "ok"), (100, "ok"), (11, "ok")):
        answer = await client.ask(action="subscribe", channel="orderbook", symbol="BTC-USDT", depth=depth, id=depth)
        while answer.get("type") != "ack":
            answer = await client.receive()
        assert (depth, answer["results"][0]["status"]) == (depth, status)
        if status == "error":
            assert reason(answer["results"][0]["error"]) == "LIMIT_002"


async def test_connections_of_one_address_are_bounded(make_world: MakeWorld) -> None:
    """An address may have so many sockets; one more is 429 LIMIT_002, and there is room again once one is closed."""
    world = await make_world(websocket_clients_per_address_max=2)
    first, _second = await world.client(), await world.client()
    with pytest.raises(InvalidStatus) as refused:
        await world.client()
    assert refused.value.response.status_code == 429
    assert refused.value.response.headers["x-error-code"] == "LIMIT_002"
    await first.socket.close()
    await until(lambda: world.bridge.clients == 1)
    await world.client()


async def test_an_engine_that_is_down_when_a_stream_is_first_wanted(world: World) -> None:
    """Who subscribes while the engine is down is told, and served once it is up, without doing anything."""
    client = await world.client()
    await world.engine.stop()
    await client.send(action="subscribe", channel="orderbook", symbol="BTC-USDT")
    assert reason(await client.receive()) == "SERVER_002"
    world.engine.book()
    await world.engine.start()
    assert (await client.receive())["seq"] == 101


async def test_a_candle_that_did_not_change_while_the_engine_could_not_be_reached(world: World) -> None:
    """Who has it gets it no second time; who came meanwhile gets it; the next change goes to both."""
    world.engine.candle()
    client, newcomer = await world.client(), await world.client()
    await client.send(action="subscribe", channel="candles", symbol="BTC-USDT", interval="1m")
    assert (await client.receive())["seq"] == 101
    await world.engine.stop()
    assert reason(await client.receive()) == "SERVER_002"
    await newcomer.send(action="subscribe", channel="candles", symbol="BTC-USDT", interval="1m")
    assert reason(await newcomer.receive()) == "SERVER_002"
    await world.engine.start()
    assert (await newcomer.receive())["seq"] == 101
    world.engine.candle()
    assert (await client.receive())["seq"] == (await newcomer.receive())["seq"] == 102


async def test_an_engine_that_hangs(make_world: MakeWorld) -> None:
    """A subscribe is answered within bounds even though the engine accepts the stream and says nothing."""
    world: World = await make_world(Limits(answer_seconds=2))
    world.engine.silent = True
    client = await world.client()
    await client.market()
    assert reason(await client.receive()) == "SERVER_002"


async def test_a_symbol_that_is_delisted_while_the_engine_restarts(world: World) -> None:
    """Subscribers of a stream that the engine refuses after its restart are told why, and are no longer subscribed."""
    client = await world.client()
    await client.ask(action="subscribe", channel="market", symbol="SOL-USDT", id=1)
    await world.engine.stop()
    assert reason(await client.receive()) == "SERVER_002"
    from tests.integration.websocket import fake_engine

    fake_engine.LISTED.discard("SOL-USDT")
    try:
        await world.engine.start()
        error = await client.receive()
    finally:
        fake_engine.LISTED.add("SOL-USDT")
    assert (error["symbol"], reason(error)) == ("SOL-USDT", "MARKET_001")
    assert (await client.ask(action="list"))["subscriptions"] == []


async def test_an_interrupted_feed(world: World) -> None:
    """Subscribers learn of an interruption, newcomers get that and no stale price, and the return needs no message."""
    world.engine.trade()
    client = await world.client()
    await client.market()
    assert await client.receive() == PRICE
    world.engine.interrupt()
    error = await client.receive()
    assert (error["code"], reason(error)) == (14, "MARKET_002")
    assert error["details"][0]["metadata"] == {"symbol": "BTC-USDT", "exchange": "binance"}

    newcomer = await world.client()
    await newcomer.market()
    assert reason(await newcomer.receive()) == "MARKET_002"
    await newcomer.nothing_but()

    world.engine.interrupt(restored=True)
    world.engine.trade()
    for each in (client, newcomer):
        assert (await each.receive())["seq"] == 102
    await client.nothing_but()


async def test_gap_in_the_engines_numbers_is_visible(world: World) -> None:
    """A number that the engine skipped is skipped for the client too, and is no ground to resume over."""
    client = await world.client()
    await client.subscribed()
    world.engine.trade()
    world.engine.seq += 5
    world.engine.trade()
    assert [(await client.receive())["seq"] for _ in range(2)] == [101, 107]
    answer = await client.ask(action="subscribe", channel="market", symbol="BTC-USDT", id=1, resume={"BTC-USDT": 101})
    assert answer["results"][0]["resumed"] is False


async def test_updates_of_several_streams_reach_one_client(world: World) -> None:
    """One client on many streams gets all of each, in the order of each."""
    client = await world.client()
    symbols = ["BTC-USDT", "ETH-USDT", "SOL-USDT"]
    await client.ask(action="subscribe", channel="market", symbols=symbols, id=1)
    made: dict[str, list[int]] = {symbol: [] for symbol in symbols}
    for turn in range(60):
        symbol = symbols[turn % 3]
        made[symbol].append(world.engine.trade(symbol))
        await asyncio.sleep(0)
    got: dict[str, list[int]] = {symbol: [] for symbol in symbols}
    for _ in range(60):
        message = await client.receive()
        got[message["symbol"]].append(message["seq"])
    assert got == made
