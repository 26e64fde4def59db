"""The channel `positions`: who gets it, what it says, and what happens to it when credentials or engines end."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.integration.websocket.conftest import Client, MakeWorld, World
from tests.integration.websocket.fake_engine import SLOW_SECONDS, session, until
from tests.integration.websocket.test_market import reason

from entasis.access.v1 import access_pb2
from entasis_engine.access.sessions import Sessions
from entasis_engine.calls import Principal
from entasis_engine.errors import EntasisError
from entasis_engine.websocket import Limits
from entasis_engine.websocket.fanout import PositionsTopic

KEY, OTHER_KEY, TOKEN = "ek_one", "ek_two", "a.b.c"
LOCAL = "127.0.0.1"
SCOPES = ["market:read", "portfolio:read"]
NAME = "acc-1|key-1"
QUICK = Limits(
    linger_seconds=60, answer_seconds=20, sessions_seconds=0.02, housekeeping_seconds=0.02, retry_seconds_max=0.2
)
SESSIONS = Sessions(b"secret of a test")
EXPIRY = datetime(2030, 1, 1, tzinfo=UTC)

POSITION = {
    "symbol": "BTC-USDT",
    "size": "1.5",
    "entry_price": "64000.00",
    "current_price": "65000.00",
    "pnl": "1500.00",
    "timestamp": "2024-03-21T09:30:00.123Z",
    "position_id": "pos_1",
    "type": "long",
    "leverage": "1",
    "status": "open",
    "margin": "96000.00",
    "liquidation_price": "320.00",
    "realised_pnl": "0.00",
    "fees": "48.00",
    "open_time": "2024-03-21T09:30:00Z",
}


def readers(account: str = "acc-1", key: str = "key-1", **fields: Any) -> access_pb2.OpenSessionResponse:
    """Good credentials of an account, which may read its positions."""
    return session(account, **({"session": f"{account}|{key}", "scopes": SCOPES} | fields))


def by(*key_ids: str, scopes: list[str] = SCOPES, signer: str = "") -> access_pb2.OpenSessionResponse:
    """Good credentials of acc-1, named as the engine names them."""
    expires_at = EXPIRY if signer else None
    name = SESSIONS.named(Principal("acc-1", frozenset(scopes), key_ids, signer, expires_at))
    return readers(session=name, scopes=scopes)


@pytest.fixture
async def known(make_world: MakeWorld) -> World:
    """A world where KEY may read positions of acc-1."""
    world: World = await make_world(QUICK)
    world.engine.access.known = {KEY: readers(), OTHER_KEY: readers("acc-2")}
    return world


async def subscribe(client: Client, **extra: Any) -> dict[str, Any]:
    """The snapshot that a subscribe gives."""
    await client.send(action="subscribe", channel="positions", **extra)
    snapshot: dict[str, Any] = await client.receive()
    assert (snapshot["channel"], snapshot["event"]) == ("positions", "snapshot")
    return snapshot


async def test_a_snapshot_and_then_what_happens(known: World) -> None:
    """First all open positions in one message; then each change, as REST prints a position, with event and seq."""
    engine = known.engine.portfolio
    first = engine.change("opened", "pos_1")
    client = await known.client(x_api_key=KEY)
    assert await subscribe(client) == {
        "positions": [POSITION],
        "channel": "positions",
        "event": "snapshot",
        "seq": first,
    }
    engine.change("changed", "pos_1", size="0.5")
    message = await client.receive()
    assert message == {
        "positions": [{**POSITION, "size": "0.5"}],
        "channel": "positions",
        "event": "changed",
        "seq": first + 1,
    }
    assert list(message["positions"][0])[:6] == list(POSITION)[:6]
    engine.change("liquidated", "pos_1", size="1.5", liquidation_price="")
    ended = {"status": "liquidated", "liquidation_price": "", "close_time": "2024-03-21T09:30:00.123Z"}
    assert await client.receive() == {
        "positions": [{**POSITION, **ended}],
        "channel": "positions",
        "event": "liquidated",
        "seq": first + 2,
    }
    await client.nothing_but()


async def test_the_engine_is_told_in_whose_stead_and_whence(known: World) -> None:
    """The bridge names the session and the address of the socket, and sends no credential."""
    client = await known.client(x_api_key=KEY)
    assert (await subscribe(client))["positions"] == []
    (stream,) = known.engine.portfolio.opened
    assert (stream.session, stream.address) == (NAME, LOCAL)


async def test_acknowledgement_list_and_unsubscribe(known: World) -> None:
    """With an id the answers come first and name no symbol; after an unsubscribe nothing comes, upstream neither."""
    engine = known.engine.portfolio
    client = await known.client(x_api_key=KEY)
    answer = await client.ask(action="subscribe", channel="positions", id=1)
    seq = {"seq": engine.seq}
    assert answer == {
        "type": "ack",
        "id": 1,
        "action": "subscribe",
        "channel": "positions",
        "results": [{"status": "ok", **seq}],
    }
    assert (await client.receive())["event"] == "snapshot"
    assert (await client.ask(action="list"))["subscriptions"] == [{"channel": "positions"}]
    answer = await client.ask(action="unsubscribe", channel="positions", id=2)
    assert answer["results"] == [{"status": "ok"}]
    await until(lambda: not engine.open)  # though a market stream would linger
    engine.change("opened", "pos_1")
    await client.nothing_but()
    assert (await client.ask(action="list"))["subscriptions"] == []


async def test_subscribing_again_gives_a_fresh_snapshot(known: World) -> None:
    """A second subscribe shows what is open now, and later changes come once."""
    engine = known.engine.portfolio
    client = await known.client(x_api_key=KEY)
    await subscribe(client)
    for number in range(2):
        engine.change("opened", f"pos_{number}")
        assert (await client.receive())["event"] == "opened"
    assert [one["position_id"] for one in (await subscribe(client))["positions"]] == ["pos_0", "pos_1"]
    seq = engine.change("closed", "pos_0")
    assert (await client.receive())["seq"] == seq
    await client.nothing_but()


async def test_an_anonymous_socket_is_refused_until_it_authenticates(known: World) -> None:
    """Without credentials subscribe is AUTH_001, though market streams are public; after auth it is served."""
    client = await known.client()
    error = await client.ask(action="subscribe", channel="positions", id=1)
    assert (error["type"], error["id"], error["channel"], reason(error)) == ("error", 1, "positions", "AUTH_001")
    assert "symbol" not in error
    assert known.engine.portfolio.opened == []
    await client.subscribed()
    await client.send(action="auth", api_key=KEY)
    await subscribe(client)
    await until(lambda: known.engine.access.noted == ["CREDENTIAL_MISSING"])


async def test_a_credential_without_the_scope(known: World) -> None:
    """Without portfolio:read subscribe is AUTH_002 and names the scope; the market is served all the same."""
    known.engine.access.known[KEY] = readers(scopes=["market:read"])
    client = await known.client(x_api_key=KEY)
    error = await client.ask(action="subscribe", channel="positions")
    assert (error["code"], reason(error)) == (7, "AUTH_002")
    assert error["details"][0]["metadata"] == {"scope": "portfolio:read"}
    await client.subscribed()
    assert known.engine.portfolio.opened == []


async def test_the_scope_is_enough_where_market_streams_are_closed(known: World) -> None:
    """portfolio:read alone opens positions and not the market."""
    known.engine.access.known[KEY] = readers(scopes=["portfolio:read"], market_streams=False)
    client = await known.client(x_api_key=KEY)
    await subscribe(client)
    error = await client.ask(action="subscribe", channel="market", symbol="BTC-USDT")
    assert reason(error) == "AUTH_002"


async def test_accounts_do_not_see_each_other(known: World) -> None:
    """Each socket gets the positions of its own account."""
    engine = known.engine.portfolio
    engine.change("opened", "pos_1")
    one, two = await known.client(x_api_key=KEY), await known.client(x_api_key=OTHER_KEY)
    assert len((await subscribe(one))["positions"]) == 1
    assert (await subscribe(two))["positions"] == []
    engine.change("opened", "pos_2", "acc-2")
    assert (await two.receive())["positions"][0]["position_id"] == "pos_2"
    await one.nothing_but()


async def test_sockets_of_a_session_share_one_stream(known: World) -> None:
    """However many sockets a session has, the engine sees one stream; a late one begins with what is open by then."""
    engine = known.engine.portfolio
    clients = [await known.client(x_api_key=KEY) for _ in range(5)]
    for client in clients[:-1]:
        await subscribe(client)
    engine.change("opened", "pos_1")
    seq = engine.change("price", "pos_1", current_price="66000.00")
    for client in clients[:-1]:
        assert [(await client.receive())["event"] for _ in range(2)] == ["opened", "price"]
    snapshot = await subscribe(clients[-1])
    assert (snapshot["seq"], snapshot["positions"][0]["current_price"]) == (seq, "66000.00")
    engine.change("closed", "pos_1")
    for client in clients:
        assert (await client.receive())["positions"][0]["status"] == "closed"
    assert (await subscribe(clients[0]))["positions"] == []
    assert len(engine.opened) == 1


@pytest.mark.parametrize("extra", [{"symbol": "BTC-USDT"}, {"symbols": ["BTC-USDT"]}])
async def test_positions_have_no_symbol(known: World, extra: dict[str, Any]) -> None:
    """A symbol would promise a selection that is not made: REQUEST_001."""
    client = await known.client(x_api_key=KEY)
    error = await client.ask(action="subscribe", channel="positions", id=1, **extra)
    assert (error["id"], error["channel"], reason(error)) == (1, "positions", "REQUEST_001")
    assert error["details"][1]["field_violations"][0]["field"] == "symbols"


async def test_data_goes_on_after_a_restart_of_the_engine(known: World) -> None:
    """While the engine is away clients are told once; then a new snapshot replaces what they knew, and data goes on."""
    engine = known.engine.portfolio
    engine.change("opened", "pos_1")
    client = await known.client(x_api_key=KEY)
    before = (await subscribe(client))["seq"]
    await known.engine.stop()
    error = await client.receive()
    assert (error["channel"], reason(error)) == ("positions", "SERVER_002")
    engine.change("closed", "pos_1")
    engine.change("opened", "pos_2")
    await known.engine.start()
    snapshot = await client.receive()
    assert (snapshot["event"], [one["position_id"] for one in snapshot["positions"]]) == ("snapshot", ["pos_2"])
    assert snapshot["seq"] > before
    engine.change("price", "pos_2")
    assert (await client.receive())["event"] == "price"


async def test_a_stale_snapshot_is_given_to_nobody(known: World) -> None:
    """Whoever subscribes while the engine is away is told so, and gets the snapshot when it is back."""
    engine = known.engine.portfolio
    engine.change("opened", "pos_1")
    clients = [await known.client(x_api_key=KEY) for _ in range(2)]
    await subscribe(clients[0])
    await known.engine.stop()
    assert reason(await clients[0].receive()) == "SERVER_002"
    assert reason(await clients[1].ask(action="subscribe", channel="positions")) == "SERVER_002"
    await known.engine.start()
    for client in clients:
        assert (await client.receive())["event"] == "snapshot"
        await client.nothing_but()


async def test_what_the_engine_refuses_is_told(known: World) -> None:
    """A caller with too many streams gets LIMIT_002, and is not subscribed."""
    known.engine.portfolio.refusals[NAME] = EntasisError("TOO_MANY", limit="100", what="open streams")
    client = await known.client(x_api_key=KEY)
    answer = await client.ask(action="subscribe", channel="positions", id=1)
    assert answer["results"][0]["error"]["details"][0]["reason"] == "LIMIT_002"
    assert (await client.ask(action="list"))["subscriptions"] == []
    known.engine.portfolio.refusals.clear()
    await subscribe(client)


@pytest.mark.parametrize(
    "limit",
    [
        EntasisError("RATE_LIMITED", limit="600", retry_after_seconds=3600),
        EntasisError("TOO_MANY", limit="100", what="open streams"),
    ],
    ids=["LIMIT_001", "LIMIT_002"],
)
async def test_a_limit_does_not_end_what_was_served(make_world: MakeWorld, limit: EntasisError) -> None:
    """When a stream cannot be opened again because of a limit, its client stays, and data goes on once that is over;
    which is tried after a bounded pause, whatever the engine says.
    """
    world: World = await make_world(replace(QUICK, retry_told_seconds_max=0.01))
    world.engine.access.known[KEY] = readers()
    engine = world.engine.portfolio
    client = await world.client(x_api_key=KEY)
    await subscribe(client)
    engine.end(NAME, limit)
    assert reason(await client.receive()) == "SERVER_002"
    await until(lambda: len(engine.opened) > 2)
    await client.nothing_but()
    assert (await client.ask(action="list"))["subscriptions"] == [{"channel": "positions"}]
    engine.refusals.clear()
    assert (await client.receive())["event"] == "snapshot"


async def test_a_limit_is_given_the_time_that_it_asks_for(make_world: MakeWorld) -> None:
    """A stream that is beyond a limit is opened again no sooner than `retry_delay` says."""
    world: World = await make_world(replace(QUICK, retry_seconds_min=0.001, retry_seconds_max=0.002))
    world.engine.access.known[KEY] = readers()
    engine = world.engine.portfolio
    client = await world.client(x_api_key=KEY)
    await subscribe(client)
    ended = time.monotonic()
    engine.end(NAME, EntasisError("RATE_LIMITED", limit="600", retry_after_seconds=1))
    engine.refusals.clear()
    assert reason(await client.receive()) == "SERVER_002"
    assert (await client.receive())["event"] == "snapshot"
    assert time.monotonic() - ended >= 1


async def test_a_ledger_that_fails_slowly_is_an_outage(make_world: MakeWorld) -> None:
    """A stream counts as open when its snapshot is there, not when its headers are: clients are told once."""
    world: World = await make_world(replace(QUICK, refusal_seconds=SLOW_SECONDS / 10))
    world.engine.access.known[KEY] = readers()
    engine = world.engine.portfolio
    client = await world.client(x_api_key=KEY)
    await subscribe(client)
    engine.slow_failure = EntasisError("UNAVAILABLE")
    with capture_logs() as lines:
        engine.cut(NAME)
        assert reason(await client.receive()) == "SERVER_002"
        await until(lambda: len(engine.opened) > 5)
        await client.nothing_but()
    assert [line["event"] for line in lines if "upstream" in line["event"]] == ["websocket_upstream_lost"]
    engine.slow_failure = None
    assert (await client.receive())["event"] == "snapshot"
    await client.nothing_but()


async def test_revoked_credentials_end_socket_and_stream(known: World) -> None:
    """When a key is over its socket ends with 4401, its stream to the engine with it, and other accounts' go on."""
    engine = known.engine.portfolio
    doomed, other = await known.client(x_api_key=KEY), await known.client(x_api_key=OTHER_KEY)
    await subscribe(doomed)
    await subscribe(other)
    known.engine.access.ended[NAME, LOCAL] = "AUTH_001"
    assert reason(await doomed.receive()) == "AUTH_001"
    assert (await doomed.closed()).code == 4401
    await until(lambda: [stream.session for stream in engine.open] == ["acc-2|key-1"])
    engine.change("opened", "pos_2", "acc-2")
    assert (await other.receive())["event"] == "opened"


async def test_the_engine_may_be_first_to_end_a_stream(known: World) -> None:
    """When the engine ends the stream for its credentials the client is told, and no other is opened."""
    client = await known.client(x_api_key=KEY)
    await subscribe(client)
    known.engine.portfolio.end(NAME, EntasisError("KEY_ENDED"))
    error = await client.receive()
    assert (error["channel"], reason(error)) == ("positions", "AUTH_001")
    assert (await client.ask(action="list"))["subscriptions"] == []
    assert len(known.engine.portfolio.opened) == 1


async def test_a_renewal_by_another_key_moves_the_stream(known: World) -> None:
    """New credentials of the account go on with a fresh snapshot, and the old ones may end then."""
    engine = known.engine.portfolio
    known.engine.access.known["ek_new"] = readers(key="key-9")
    client = await known.client(x_api_key=KEY)
    await subscribe(client)
    assert (await client.ask(action="auth", api_key="ek_new", id=1))["type"] == "ack"
    assert (await client.receive())["event"] == "snapshot"
    await until(lambda: [stream.session for stream in engine.open] == ["acc-1|key-9"])
    engine.end(NAME, EntasisError("KEY_ENDED"))
    engine.change("opened", "pos_1")
    assert (await client.receive())["event"] == "opened"
    assert (await client.ask(action="list"))["subscriptions"] == [{"channel": "positions"}]


async def test_a_renewal_by_the_same_credentials_changes_nothing(known: World) -> None:
    """Whoever sends once more what the socket was authenticated by gets data as before, by the same stream."""
    known.engine.access.known[KEY] = by("key-1")
    client = await known.client(x_api_key=KEY)
    await subscribe(client)
    await client.send(action="auth", api_key=KEY)
    await client.nothing_but()
    known.engine.portfolio.change("opened", "pos_1")
    assert (await client.receive())["event"] == "opened"
    assert len(known.engine.portfolio.opened) == 1


@pytest.mark.parametrize(
    "renewed",
    [
        by("key-1", signer="5e7f"),
        by("key-2"),
        by("key-1", scopes=["portfolio:read"]),
    ],
    ids=["a token of the key", "another key", "fewer scopes"],
)
async def test_a_renewal_by_any_other_credentials_moves_the_stream(
    known: World, renewed: access_pb2.OpenSessionResponse
) -> None:
    """Another key, a token in place of its key, or other scopes: each goes on with a new snapshot by its own stream."""
    engine = known.engine.portfolio
    known.engine.access.known |= {KEY: by("key-1"), TOKEN: renewed}
    client = await known.client(x_api_key=KEY)
    await subscribe(client)
    await client.send(action="auth", token=TOKEN)
    assert (await client.receive())["event"] == "snapshot"
    await until(lambda: [stream.session for stream in engine.open] == [renewed.session])
    engine.change("opened", "pos_1")
    assert (await client.receive())["event"] == "opened"
    await client.nothing_but()


@pytest.mark.parametrize("good", [True, False])
async def test_the_old_stream_may_end_before_the_new_one_begins(known: World, good: bool) -> None:
    """A key that is revoked during a renewal costs no positions: what comes of the new credentials alone is told."""
    engine = known.engine.portfolio
    renewed = readers(key="key-9")
    known.engine.access.known["ek_new"] = renewed
    go = engine.hold_back[renewed.session] = asyncio.Event()
    client = await known.client(x_api_key=KEY)
    await subscribe(client)
    (connection,) = known.bridge._sockets
    assert (await client.ask(action="auth", api_key="ek_new", id=1))["type"] == "ack"
    await until(lambda: [stream.session for stream in engine.open] == [NAME, renewed.session])
    engine.end(NAME, EntasisError("KEY_ENDED"))
    await until(lambda: not connection.client.subscriptions)
    if good:
        go.set()
        assert (await client.receive())["event"] == "snapshot"
        engine.change("opened", "pos_1")
        assert (await client.receive())["event"] == "opened"
    else:
        engine.abort_held_back(renewed.session, EntasisError("SCOPE_MISSING", scope="portfolio:read"))
        assert reason(await client.receive()) == "AUTH_002"
    await client.nothing_but()
    listed = (await client.ask(action="list"))["subscriptions"]
    assert listed == ([{"channel": "positions"}] if good else [])


async def test_a_renewal_may_take_positions_away(known: World) -> None:
    """When new credentials lack the scope positions end with AUTH_002, and the market goes on."""
    known.engine.access.known[TOKEN] = readers(scopes=["market:read"])
    client = await known.client(x_api_key=KEY)
    await subscribe(client)
    await client.subscribed()
    error = await client.ask(action="auth", token=TOKEN)
    assert (error["channel"], reason(error)) == ("positions", "AUTH_002")
    await until(lambda: not known.engine.portfolio.open)
    seq = known.engine.trade()
    assert (await client.receive())["seq"] == seq


async def test_positions_leave_room_for_the_market(make_world: MakeWorld) -> None:
    """Of the streams to the engine only some may be positions: LIMIT_002, and the market is served."""
    world: World = await make_world(Limits(positions_topics_max=1))
    world.engine.access.known = {KEY: readers(), OTHER_KEY: readers("acc-2")}
    one, two = await world.client(x_api_key=KEY), await world.client(x_api_key=OTHER_KEY)
    await subscribe(one)
    assert reason(await two.ask(action="subscribe", channel="positions")) == "LIMIT_002"
    await two.subscribed()
    await one.send(action="unsubscribe", channel="positions")
    await until(lambda: not world.engine.portfolio.open)
    await subscribe(two)


async def test_an_account_has_some_of_the_streams(make_world: MakeWorld) -> None:
    """However many tokens and addresses an account has, others find room; and it may renew."""
    world: World = await make_world(Limits(positions_topics_per_account_max=2))
    keys = {f"ek_{number}": readers(key=f"key-{number}") for number in range(4)}
    world.engine.access.known = {**keys, OTHER_KEY: readers("acc-2")}
    clients = [await world.client(x_api_key=key) for key in keys]
    await subscribe(clients[0])
    await subscribe(clients[1])
    error = await clients[2].ask(action="subscribe", channel="positions")
    assert (reason(error), error["details"][0]["metadata"]["limit"]) == ("LIMIT_002", "2")
    await subscribe(await world.client(x_api_key=OTHER_KEY))
    await subscribe(await world.client(x_api_key="ek_0"))  # shares a stream
    await clients[1].send(action="auth", api_key="ek_3")
    assert (await clients[1].receive())["event"] == "snapshot"
    # The stream of the first is shared, so that it would not end.
    await clients[0].send(action="auth", api_key="ek_2")
    assert reason(await clients[0].receive()) == "LIMIT_002"
    names = {"acc-1|key-0", "acc-1|key-3", "acc-2|key-1"}
    await until(lambda: {stream.session for stream in world.engine.portfolio.open} == names)


async def test_few_messages_of_positions_are_kept(known: World) -> None:
    """They cannot be resumed, so a stream keeps what slow clients need: all together below 60 MB."""
    engine = known.engine.portfolio
    client = await known.client(x_api_key=KEY)
    await subscribe(client)
    (connection,) = known.bridge._sockets
    (topic,) = (sub.topic for sub in connection.client.subscriptions.values())
    for number in range(300):
        engine.change("opened", f"pos_{number}")
        last = engine.change("closed", f"pos_{number}")
    while (await client.receive())["seq"] != last:
        pass
    assert isinstance(topic, PositionsTopic)
    frames = [entry.english for entry in topic._ring] + [newest.frame for newest in topic._about.values()]
    assert len(frames) > 100
    assert sum(map(len, frames)) * Limits().positions_topics_max < 60_000_000


async def test_a_client_that_does_not_read_learns_the_end(make_world: MakeWorld) -> None:
    """A slow client gets the newest of each position when it reads again; one that closed meanwhile says so."""
    world: World = await make_world(websocket_buffer_bytes_max=4096)
    world.engine.access.known[KEY] = readers()
    engine = world.engine.portfolio
    for number in range(3):
        engine.change("opened", f"pos_{number}")
    client = await world.raw_client()
    await client.send(action="auth", api_key=KEY)
    await client.send(action="subscribe", channel="positions")
    await client.read_until(lambda message: message.get("event") == "snapshot")
    (connection,) = world.bridge._sockets
    (topic,) = {sub.topic for sub in connection.client.subscriptions.values()}
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        for _ in range(100):
            ticks += 1
            engine.change("price", "pos_0", current_price=f"{ticks}.00")
        await until(lambda: topic.seq == engine.seq)

    while not connection.client.congested:
        await tick()
    engine.change("closed", "pos_1")
    for _ in range(12):  # more than the ring holds
        await tick()
    last = engine.change("opened", "pos_9")
    await until(lambda: topic.seq == last)
    messages = await client.read_until(lambda message: message.get("seq") == last)
    told = [one["positions"][0] for one in messages]
    assert [one["status"] for one in told if one["position_id"] == "pos_1"] == ["closed"]
    assert [one["current_price"] for one in told if one["position_id"] == "pos_0"][-1] == f"{ticks}.00"
    seqs = [one["seq"] for one in messages]
    assert seqs == sorted(set(seqs))
    assert len(seqs) < ticks


async def test_no_session_is_logged(known: World) -> None:
    """What a session is called, with its signature, stays out of the log, whatever goes wrong."""
    known.engine.access.known[KEY] = readers(session="acc-1|key-1|signer|portfolio:read|SeCrEt")
    client = await known.client(x_api_key=KEY)
    with capture_logs() as lines:
        await subscribe(client)
        await known.engine.stop()
        await client.receive()
        await until(lambda: any(line["event"] == "websocket_upstream_lost" for line in lines))
    printed = json.dumps(lines, default=str)
    assert "positions acc-1" in printed
    assert "SeCrEt" not in printed + str([task.get_name() for task in asyncio.all_tasks()])
