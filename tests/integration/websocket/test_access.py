"""Whose a socket is: credentials at the handshake and later, what they permit, and how a socket ends with them."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

import grpc
import pytest
import requests
from structlog.testing import capture_logs
from tests.integration.websocket.conftest import Client, MakeWorld, World
from tests.integration.websocket.fake_engine import session, until
from tests.integration.websocket.test_market import PRICE, reason
from websockets.asyncio.client import unix_connect
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response

from entasis.access.v1 import access_pb2
from entasis_engine.errors import EntasisError
from entasis_engine.settings import Settings
from entasis_engine.websocket import Limits, metrics, open_bridge

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhY2MtMSJ9.c2lnbmF0dXJl"
KEY = "ek_abcdefghijklmnopqrstuvwxyz"
LOCAL = "127.0.0.1"
CLOSED = access_pb2.OpenSessionResponse()
"""What the engine says of an anonymous client where market streams are not public."""
HANDSHAKE = (
    b"GET /ws/market HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
QUICK = Limits(linger_seconds=0.2, answer_seconds=20, sessions_seconds=0.02, housekeeping_seconds=0.02)
RATE_REFUSED = (("x-ratelimit-limit", "1000"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "41"))


class Watch:
    """A clock that stands until the test moves it."""

    def __init__(self) -> None:
        self.now = datetime(2024, 3, 21, 9, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def body(response: Response) -> dict[str, Any]:
    """The JSON of a refused handshake, whose code the header must repeat."""
    printed: dict[str, Any] = json.loads(response.body or b"")
    assert response.headers["x-error-code"] == reason(printed)
    assert response.headers["Content-Type"] == "application/json"
    return printed


def sent(world: World) -> dict[str, str]:
    """The credentials that came with the last OpenSession."""
    names = ("authorization", "x-api-key")
    return {name: value for name, value in world.engine.access.opened[-1].items() if name in names}


async def refused_subscribe(client: Client) -> dict[str, Any]:
    error = await client.ask(action="subscribe", channel="market", symbol="BTC-USDT", id=1)
    assert (error["type"], error["id"], error["channel"]) == ("error", 1, "market")
    return dict(error)


# --- The handshake ----------------------------------------------------------------------------------------------------


async def test_an_anonymous_handshake_asks_the_engine_once(world: World) -> None:
    """Without credentials the engine is told address, language and request, and the client gets what is public."""
    world.engine.trade()
    client = await world.client(accept_language="ko", x_request_id="r-1")
    assert len(world.engine.access.opened) == 1
    metadata = world.engine.access.opened[0]
    assert (metadata["x-client-ip"], metadata["accept-language"], metadata["x-request-id"]) == (LOCAL, "ko", "r-1")
    assert sent(world) == {}
    await client.market()
    assert await client.receive() == PRICE


@pytest.mark.parametrize("given", ["x" * 65, "two words\tand a tab"])
async def test_a_request_id_that_cannot_be_passed_on_is_left_out(world: World, given: str) -> None:
    """A request id that is too long or not printable does not reach the engine."""
    await world.client(x_request_id=given)
    assert "x-request-id" not in world.engine.access.opened[0]


async def test_an_address_cannot_be_claimed_over_tcp(world: World) -> None:
    """Over TCP the engine is told the peer's address, whatever the client says."""
    await world.client(x_client_ip="6.6.6.6")
    assert world.engine.access.opened[0]["x-client-ip"] == LOCAL


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("-", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
async def test_the_address_on_the_unix_socket_is_what_envoy_states(world: World, stated: str | None, told: str) -> None:
    """On the unix socket x-client-ip is believed, in plain form; without it nobody passes for a part of the engine."""
    path = Path(world.engine.address.removeprefix("unix:")).with_name("websocket.sock")
    async with (
        grpc.aio.insecure_channel(world.engine.address) as channel,
        open_bridge(Settings(), channel=channel, unix_path=str(path)),
    ):
        headers = {} if stated is None else {"x-client-ip": stated}
        async with unix_connect(str(path), "ws://localhost/ws/market", additional_headers=headers):
            assert world.engine.access.opened[-1]["x-client-ip"] == told


@pytest.mark.parametrize(
    ("headers", "offered", "passed_on"),
    [
        ({"authorization": f"Bearer {TOKEN}"}, None, {"authorization": f"Bearer {TOKEN}"}),
        ({"authorization": f"bearer  {TOKEN}"}, None, {"authorization": f"Bearer {TOKEN}"}),
        ({"x_api_key": KEY}, None, {"x-api-key": KEY}),
        ({}, ["entasis.v1", f"bearer.{TOKEN}"], {"authorization": f"Bearer {TOKEN}"}),
        ({}, [f"key.{KEY}", "entasis.v1"], {"x-api-key": KEY}),
        (
            {"authorization": f"Bearer {TOKEN}", "x_api_key": KEY},
            None,
            {"authorization": f"Bearer {TOKEN}", "x-api-key": KEY},
        ),
        (
            {"authorization": f"Bearer {TOKEN}"},
            ["entasis.v1", f"key.{KEY}", f"bearer.{TOKEN}"],
            {"authorization": f"Bearer {TOKEN}", "x-api-key": KEY},
        ),
    ],
)
async def test_credentials_are_passed_on(
    world: World, headers: dict[str, str], offered: list[str] | None, passed_on: dict[str, str]
) -> None:
    """Credentials in headers, in subprotocols or in both reach the engine, once each."""
    world.engine.access.known = {TOKEN: session(), KEY: session()}
    client = await world.client(offered, **headers)
    assert sent(world) == passed_on
    assert client.socket.subprotocol == ("entasis.v1" if offered else None)
    await client.subscribed()


async def test_the_subprotocol_is_selected_without_credentials_too(world: World) -> None:
    """A client that offers entasis.v1 and no credentials gets it selected, and is anonymous."""
    client = await world.client(["chat", "entasis.v1"])
    assert client.socket.subprotocol == "entasis.v1"
    assert sent(world) == {}


async def test_unknown_subprotocols_are_not_selected(world: World) -> None:
    """A client that offers only subprotocols that we do not know is served without any."""
    client = await world.client(["chat", "superchat"])
    assert client.socket.subprotocol is None
    await client.nothing_but()


@pytest.mark.parametrize(
    ("headers", "offered", "at_fault"),
    [
        ({"authorization": "Basic dXNlcjpwYXNz"}, None, "Authorization"),
        ({"authorization": "Bearer"}, None, "Authorization"),
        ({"authorization": "Bearer two words"}, None, "Authorization"),
        ({"authorization": "Bearer " + "x" * 4097}, None, "Authorization"),
        ({"x_api_key": ""}, None, "X-API-Key"),
        ({"x_api_key": "two words"}, None, "X-API-Key"),
        ({"x_api_key": "ek_\xe9"}, None, "X-API-Key"),
        ({"x_api_key": "x" * 513}, None, "X-API-Key"),
        ({}, [f"bearer.{TOKEN}"], "Sec-WebSocket-Protocol"),
        ({}, ["chat", f"key.{KEY}"], "Sec-WebSocket-Protocol"),
        ({}, ["entasis.v1", "bearer."], "Sec-WebSocket-Protocol"),
        ({}, ["entasis.v1", f"bearer.{TOKEN}", "bearer.another"], "Sec-WebSocket-Protocol"),
        ({"authorization": "Bearer another"}, ["entasis.v1", f"bearer.{TOKEN}"], "Authorization"),
        ({"x_api_key": "another"}, ["entasis.v1", f"key.{KEY}"], "X-API-Key"),
    ],
)
async def test_malformed_and_conflicting_credentials(
    world: World, headers: dict[str, str], offered: list[str] | None, at_fault: str
) -> None:
    """What can be no credential, or contradicts another, is 401 AUTH_001 and names the header; the engine notes it."""
    response = await world.refused(offered, **headers)
    error = body(response)
    assert (response.status_code, error["code"], reason(error)) == (401, 16, "AUTH_001")
    assert error["details"][0]["metadata"]["header"] == at_fault
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert world.engine.access.opened == []
    assert world.engine.access.noted == ["CREDENTIAL_MALFORMED"]


async def test_a_list_of_subprotocols_that_is_none(world: World) -> None:
    """A subprotocol that is no name is REQUEST_001, as it is without credentials, and is not repeated."""
    response = await world.refused(sec_websocket_protocol=f"entasis.v1 bearer.{TOKEN}")
    assert (response.status_code, reason(body(response))) == (400, "REQUEST_001")
    assert TOKEN.encode() not in bytes(response.body or b"")


@pytest.mark.parametrize(
    ("error", "http"),
    [
        (EntasisError("KEY_INVALID"), 401),
        (EntasisError("TOKEN_EXPIRED"), 401),
        (EntasisError("CREDENTIALS_DIFFER"), 401),
        (EntasisError("ADDRESS_REFUSED", address=LOCAL), 403),
        (EntasisError("RATE_LIMITED", limit="1000", retry_after_seconds=41), 429),
        (EntasisError("INTERNAL", request_id="r-1"), 500),
    ],
)
async def test_the_engines_refusal_is_the_answer(world: World, error: EntasisError, http: int) -> None:
    """What the engine has against a client is the handshake's answer, with its words, status and figures."""
    world.engine.access.known[KEY] = error
    world.engine.access.rate_headers = RATE_REFUSED
    response = await world.refused(x_api_key=KEY)
    assert response.status_code == http
    assert body(response)["message"] == error.message()
    assert response.headers.get("Retry-After") == (str(error.retry_after_seconds) if http == 429 else None)
    assert response.headers.get("WWW-Authenticate") == ("Bearer" if http == 401 else None)
    assert response.headers["X-RateLimit-Limit"] == "1000"
    assert response.headers["X-RateLimit-Remaining"] == "0"
    assert response.headers["X-RateLimit-Reset"] == "41"
    assert world.bridge.clients == 0


async def test_the_engines_refusal_in_korean(world: World) -> None:
    """What the engine says in the client's language is not exchanged for other words of the same code."""
    world.engine.access.known[KEY] = EntasisError("KEY_ENDED")
    response = await world.refused(x_api_key=KEY, accept_language="ko")
    assert body(response)["message"] == EntasisError("KEY_ENDED").message("ko")


async def test_an_anonymous_client_may_be_refused(world: World) -> None:
    """An address that is not allowed, or asks too often, is refused without credentials as well."""
    world.engine.access.anonymous = EntasisError("ADDRESS_REFUSED", address=LOCAL)
    response = await world.refused()
    assert (response.status_code, reason(body(response))) == (403, "AUTH_003")


async def test_an_accepted_handshake_tells_the_rate_limit(world: World) -> None:
    """The 101 carries X-RateLimit headers where a limit applies, and none where none does."""
    world.engine.access.known[KEY] = session(rate_limit=1000, rate_remaining=999, rate_reset_seconds=60)
    headers = (await world.client(x_api_key=KEY)).socket.response.headers
    names = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
    assert [headers[name] for name in names] == ["1000", "999", "60"]
    headers = (await world.client()).socket.response.headers
    assert not [name for name in names if name in headers]


@pytest.mark.parametrize("how", ["stopped", "without a reason", "silent"])
async def test_an_engine_that_cannot_be_asked_lets_nobody_in(make_world: MakeWorld, how: str) -> None:
    """Where the engine does not say whose a client is, the handshake is 503 SERVER_002 with Retry-After."""
    world: World = await make_world(Limits(answer_seconds=0.1))
    if how == "stopped":
        await world.engine.stop()
    elif how == "silent":
        world.engine.access.go.clear()
    else:
        world.engine.access.broken = True
    for headers in ({}, {"x_api_key": KEY}):
        response = await world.refused(**headers)
        assert (response.status_code, reason(body(response))) == (503, "SERVER_002")
        assert response.headers["Retry-After"] == "1"
    assert world.bridge.clients == 0


async def test_what_is_refused_anyway_is_not_asked_about(make_world: MakeWorld) -> None:
    """A wrong path, a request that is no handshake and a client too many cost the engine nothing."""
    world: World = await make_world(websocket_clients_max=1)
    await world.client()
    url = f"http://127.0.0.1:{world.bridge.port}"
    for path, status in (("/ws", 404), ("/ws/market", 503)):
        assert (await asyncio.to_thread(requests.get, url + path, timeout=10)).status_code == status
    assert len(world.engine.access.opened) == 1


async def test_a_plain_request_is_not_asked_about(world: World) -> None:
    """A GET that is no WebSocket handshake is refused without the engine."""
    response = await asyncio.to_thread(
        requests.get, f"http://127.0.0.1:{world.bridge.port}/ws/market", headers={"X-API-Key": KEY}, timeout=10
    )
    assert response.status_code == 426
    assert world.engine.access.opened == []


async def test_handshakes_at_once_do_not_overrun_the_limit(make_world: MakeWorld) -> None:
    """While the engine is asked a client counts: of many at once, only as many as the limit ask and get in."""
    world: World = await make_world(websocket_clients_per_address_max=3)
    world.engine.access.go.clear()
    opening = [asyncio.create_task(world.client()) for _ in range(10)]
    await until(lambda: world.engine.access.waiting == 3 and sum(task.done() for task in opening) == 7)
    world.engine.access.go.set()
    outcomes = await asyncio.gather(*opening, return_exceptions=True)
    refusals = [outcome for outcome in outcomes if isinstance(outcome, InvalidStatus)]
    assert [refusal.response.status_code for refusal in refusals] == [429] * 7
    assert world.bridge.clients == 3


async def test_a_refused_client_makes_room(make_world: MakeWorld) -> None:
    """Whoever the engine refuses does not count against the limits any more."""
    world: World = await make_world(websocket_clients_max=1)
    for _ in range(3):
        assert (await world.refused(x_api_key="wrong")).status_code == 401
    await world.client()


async def test_a_client_that_leaves_while_the_engine_is_asked(make_world: MakeWorld) -> None:
    """When a client hangs up during its handshake the question is withdrawn, and it does not count any more."""
    world: World = await make_world(Limits(answer_seconds=60, open_seconds=60))
    world.engine.access.go.clear()
    for _ in range(5):
        _, writer = await asyncio.open_connection(LOCAL, world.bridge.port)
        writer.write(HANDSHAKE)
        await until(lambda: world.engine.access.waiting == 1)
        writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()  # with a reset
        await until(lambda: world.engine.access.waiting == 0 and world.bridge.clients == 0)


async def test_what_is_sent_before_the_answer_is_served_after_it(world: World) -> None:
    """A client that does not wait for the answer to its handshake loses nothing."""
    world.engine.access.go.clear()
    reader, writer = await asyncio.open_connection(LOCAL, world.bridge.port)
    writer.write(HANDSHAKE)
    await until(lambda: world.engine.access.waiting == 1)
    ping = json.dumps({"action": "ping", "id": "early"}).encode()
    writer.write(Frame(Opcode.TEXT, ping).serialize(mask=True) * 40)  # more than the library takes in at once
    await writer.drain()
    world.engine.access.go.set()
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    for _ in range(40):
        await reader.readuntil(b'"id":"early"')
    writer.close()


@pytest.mark.parametrize(
    "data",
    [
        Frame(Opcode.TEXT, b"x" * 20_000).serialize(mask=True),
        Frame(Opcode.TEXT, b"no mask").serialize(mask=False),
        Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True),
        Frame(Opcode.TEXT, b"\xff").serialize(mask=True),
        b"\xff" * 100,
    ],
    ids=["too large", "no mask", "close", "no UTF-8", "no frame"],
)
async def test_nonsense_before_the_answer_hurts_nobody(world: World, data: bytes) -> None:
    """A client that breaks the protocol while the engine is asked is gone afterwards, and does not count any more."""
    world.engine.access.go.clear()
    reader, writer = await asyncio.open_connection(LOCAL, world.bridge.port)
    writer.write(HANDSHAKE)
    await until(lambda: world.engine.access.waiting == 1)
    writer.write(data)
    await writer.drain()
    world.engine.access.go.set()
    async with asyncio.timeout(10):
        await reader.read()
    writer.close()
    await until(lambda: world.bridge.clients == 0)
    await world.client()


async def test_the_bridge_ends_in_time_while_the_engine_is_asked(make_world: MakeWorld) -> None:
    """A handshake that waits for the engine does not hold up the end of the bridge."""
    world: World = await make_world(Limits(answer_seconds=60, open_seconds=60, close_seconds=0.1))
    world.engine.access.go.clear()
    opening = asyncio.create_task(world.client())
    await until(lambda: world.engine.access.waiting == 1)
    async with asyncio.timeout(30):
        await world.bridge.close()
    with pytest.raises(Exception):  # noqa: B017, PT011 - the library names it in many ways
        await opening


# --- Origins ----------------------------------------------------------------------------------------------------------

DESK = "https://desk.example.com,http://localhost:3000"


@pytest.mark.parametrize("origin", ["https://desk.example.com", "HTTPS://Desk.Example.Com", "http://localhost:3000"])
async def test_a_page_of_an_allowed_origin_may_connect(make_world: MakeWorld, origin: str) -> None:
    """An origin that is listed is accepted, and the case of scheme and host does not matter."""
    world: World = await make_world(websocket_origins=DESK)
    await world.client(origin=origin)


@pytest.mark.parametrize(
    "origin",
    [
        "http://desk.example.com",
        "https://desk.example.com:8443",
        "https://desk.example.com.evil.example",
        "https://evil.example/https://desk.example.com",
        "http://localhost",
        "null",
        "",
        "https://\xe9.example",
    ],
)
async def test_a_page_of_another_origin_may_not(make_world: MakeWorld, origin: str) -> None:
    """Any other origin, `null` too, is 403 AUTH_003, whatever its credentials; the engine notes it."""
    world: World = await make_world(websocket_origins=DESK)
    response = await world.refused(origin=origin)
    assert (response.status_code, reason(body(response))) == (403, "AUTH_003")
    assert world.engine.access.opened == []
    assert world.engine.access.noted == ["ORIGIN_REFUSED"]
    assert world.bridge.clients == 0


async def test_who_is_no_browser_is_not_asked_for_an_origin(make_world: MakeWorld) -> None:
    """A client without an Origin header is accepted, whatever the list says."""
    world: World = await make_world(websocket_origins=DESK)
    await world.client()


async def test_null_may_be_listed(make_world: MakeWorld) -> None:
    """Pages without an origin of their own are accepted where the list says so."""
    world: World = await make_world(websocket_origins="null")
    await world.client(origin="null")


async def test_a_port_that_is_the_schemes_own_may_be_listed(make_world: MakeWorld) -> None:
    """Browsers leave out the scheme's own port, so it makes no difference in the list."""
    world: World = await make_world(websocket_origins="https://desk.example.com:443")
    await world.client(origin="https://desk.example.com")


async def test_any_origin_without_a_list(world: World) -> None:
    """Without a list, pages of any origin may connect."""
    await world.client(origin="https://anywhere.example")


# --- The command auth -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("credential", [{"token": TOKEN}, {"api_key": KEY}, {"token": TOKEN, "api_key": KEY}])
async def test_auth_opens_market_streams(make_world: MakeWorld, credential: dict[str, str]) -> None:
    """Where market streams are not public, auth by token, key or both opens them, and tells whose they are."""
    world: World = await make_world()
    world.engine.trade()
    world.engine.access.anonymous = CLOSED
    expiring = session()
    expiring.expires_at.FromJsonString("2124-03-21T09:45:00.500Z")
    world.engine.access.known = {TOKEN: expiring, KEY: expiring}
    client = await world.client()
    assert reason(await refused_subscribe(client)) == "AUTH_001"
    answer = await client.ask(action="auth", id="a", **credential)
    assert answer == {
        "type": "ack",
        "id": "a",
        "action": "auth",
        "account": "acc-1",
        "scopes": ["market:read"],
        "expires_at": "2124-03-21T09:45:00.500Z",
    }
    assert len(sent(world)) == len(credential)
    assert world.engine.access.opened[-1]["x-client-ip"] == LOCAL
    await client.market()
    assert await client.receive() == PRICE


async def test_auth_without_id_is_silent(world: World) -> None:
    """Without an id nothing is said of success; what never expires has no expiry in the acknowledgement."""
    world.engine.access.known[KEY] = session()
    client = await world.client()
    await client.send(action="auth", api_key=KEY)
    await client.nothing_but()
    assert "expires_at" not in await client.ask(action="auth", api_key=KEY, id=1)


async def test_a_failed_auth_changes_nothing(world: World) -> None:
    """Credentials that are not valid give an error with the id, and the socket keeps what it had."""
    world.engine.access.known[KEY] = session()
    clients = await world.client(), await world.client(x_api_key=KEY)
    for client in clients:
        await client.subscribed()
        error = await client.ask(action="auth", token="wrong", id=7)
        assert (error["type"], error["id"], error["code"], reason(error)) == ("error", 7, 16, "AUTH_001")
        error = await client.ask(action="auth", token="wrong")
        assert "id" not in error
        assert "wrong" not in json.dumps(error)
    seq = world.engine.trade()
    for client in clients:
        assert (await client.receive())["seq"] == seq


async def test_auth_beyond_the_rate_limit(world: World) -> None:
    """The engine's rate limit holds for auth: the error tells when to try again."""
    world.engine.access.known[KEY] = EntasisError("RATE_LIMITED", limit="1000", retry_after_seconds=41)
    client = await world.client()
    error = await client.ask(action="auth", api_key=KEY, id=1)
    assert (error["code"], reason(error)) == (8, "LIMIT_001")
    assert error["details"][1]["retry_delay"] == "41s"


async def test_auth_while_the_engine_is_away(world: World) -> None:
    """An engine that cannot be asked gives SERVER_002, and the socket keeps what it had."""
    client = await world.client()
    world.engine.access.broken = True
    assert reason(await client.ask(action="auth", api_key=KEY, id=1)) == "SERVER_002"
    await client.subscribed()


async def test_auth_by_what_the_engine_takes_for_nobody(world: World) -> None:
    """An engine that names no account for credentials authenticates nobody."""
    world.engine.access.known[KEY] = CLOSED
    client = await world.client()
    assert reason(await client.ask(action="auth", api_key=KEY, id=1)) == "AUTH_001"
    await client.subscribed()


async def test_auth_of_another_account_is_refused(make_world: MakeWorld) -> None:
    """A socket stays with its account: credentials of another are refused, and it keeps its own."""
    world: World = await make_world(QUICK)
    world.engine.access.known = {KEY: session(), TOKEN: session("acc-2")}
    client = await world.client(x_api_key=KEY)
    error = await client.ask(action="auth", token=TOKEN, id=1)
    assert error["message"] == EntasisError("CREDENTIALS_DIFFER").message()
    world.engine.access.asked.clear()
    await until(lambda: bool(world.engine.access.asked))
    assert world.engine.access.asked[0] == [("acc-1|key-1", LOCAL)]
    await until(lambda: world.engine.access.noted == ["CREDENTIALS_DIFFER"])


async def test_what_is_refused_on_an_open_socket_is_noted(make_world: MakeWorld) -> None:
    """A subscribe without credentials, one without the scope, and the end of a socket: the engine notes each once."""
    world: World = await make_world(QUICK)
    world.engine.access.anonymous = access_pb2.OpenSessionResponse(market_streams=False)
    world.engine.access.known = {KEY: session(scopes=["admin"], market_streams=False)}
    subscribe: dict[str, Any] = {"action": "subscribe", "channel": "market", "symbols": ["BTC-USDT"]}
    client = await world.client()
    await client.ask(**subscribe)
    await client.ask(action="auth", api_key=KEY, id=1)
    await client.ask(**subscribe)
    world.engine.access.ended = {("acc-1|key-1", LOCAL): "AUTH_001"}
    await until(lambda: world.engine.access.noted == ["CREDENTIAL_MISSING", "SCOPE_MISSING", "KEY_ENDED"])


async def test_an_engine_that_notes_nothing_is_asked_about_sessions_all_the_same(make_world: MakeWorld) -> None:
    """Where refusals cannot be handed over, revocations take hold, and the notes are handed over later."""
    world: World = await make_world(QUICK)
    world.engine.access.known = {KEY: session(), TOKEN: session("acc-2")}
    world.engine.access.notes_broken = True
    client = await world.client(x_api_key=KEY)
    await client.ask(action="auth", token=TOKEN, id=1)
    world.engine.access.ended = {("acc-1|key-1", LOCAL): "AUTH_001"}
    await until(lambda: world.bridge.clients == 0)
    assert world.engine.access.noted == []
    world.engine.access.notes_broken = False
    await until(lambda: world.engine.access.noted == ["CREDENTIALS_DIFFER", "KEY_ENDED"])


async def test_failed_auths_count_as_messages(make_world: MakeWorld) -> None:
    """Whoever tries credentials faster than messages may come is told LIMIT_002, and the engine is not asked."""
    world: World = await make_world(Limits(message_burst=3, message_rate=0.01))
    client = await world.client()
    reasons = [reason(await client.ask(action="auth", token="wrong", id=number)) for number in range(5)]
    assert reasons == ["AUTH_001"] * 3 + ["LIMIT_002"] * 2
    assert len(world.engine.access.opened) == 1 + 3


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({}, "token"),
        ({"token": None}, "token"),
        ({"token": 5}, "token"),
        ({"token": ""}, "token"),
        ({"token": "line\nbreak"}, "token"),
        ({"token": TOKEN + "\n"}, "token"),
        ({"token": "x" * 4097}, "token"),
        ({"api_key": "ek é"}, "api_key"),
        ({"api_key": "x" * 513}, "api_key"),
    ],
)
async def test_a_malformed_auth_names_the_field(world: World, message: dict[str, Any], field: str) -> None:
    """What can be no credential is REQUEST_001 for its field, does not reach the engine, and is not repeated."""
    client = await world.client()
    error = await client.ask(action="auth", id=1, **message)
    assert (error["id"], reason(error)) == (1, "REQUEST_001")
    assert [violation["field"] for violation in error["details"][1]["field_violations"]] == [field]
    for value in message.values():
        assert not value or str(value).strip() not in json.dumps(error)
    assert len(world.engine.access.opened) == 1


# --- What is permitted ------------------------------------------------------------------------------------------------


async def test_a_credential_without_the_scope(world: World) -> None:
    """Where market streams are closed to a credential, subscribe is AUTH_002 and names the scope; the socket stays."""
    world.engine.access.known[KEY] = session(scopes=["portfolio:read"], market_streams=False)
    client = await world.client(x_api_key=KEY)
    error = await refused_subscribe(client)
    assert (error["code"], reason(error)) == (7, "AUTH_002")
    assert error["details"][0]["metadata"] == {"scope": "market:read"}
    assert world.engine.opened == []
    await client.nothing_but()


async def test_a_renewal_may_take_market_streams_away(world: World) -> None:
    """When new credentials permit less, each subscription ends with an error of its own, after the acknowledgement."""
    world.engine.access.known = {KEY: session(), TOKEN: session(scopes=["portfolio:read"], market_streams=False)}
    client = await world.client(x_api_key=KEY)
    await client.subscribed("BTC-USDT", "ETH-USDT")
    assert (await client.ask(action="auth", token=TOKEN, id=1))["type"] == "ack"
    ended = [await client.receive() for _ in range(2)]
    assert {(error["channel"], error["symbol"], reason(error)) for error in ended} == {
        ("market", "BTC-USDT", "AUTH_002"),
        ("market", "ETH-USDT", "AUTH_002"),
    }
    world.engine.trade()
    assert (await client.ask(action="list"))["subscriptions"] == []
    await until(lambda: not world.engine.open)


# --- Ends -------------------------------------------------------------------------------------------------------------


async def test_who_does_not_authenticate_in_time_is_disconnected(make_world: MakeWorld) -> None:
    """Where market streams are closed to it, an anonymous socket ends with an error message and 4401."""
    world: World = await make_world(QUICK, websocket_auth_seconds=0.05)
    world.engine.access.anonymous = CLOSED
    client = await world.client(accept_language="ko")
    error = await client.receive()
    assert (error["type"], reason(error)) == ("error", "AUTH_001")
    assert error["message"] == EntasisError("CREDENTIAL_MISSING").message("ko")
    close = await client.closed()
    assert (close.code, close.reason) == (4401, f"AUTH_001 {EntasisError('CREDENTIAL_MISSING').message()}")
    await until(lambda: world.bridge.clients == 0)


async def test_who_authenticates_in_time_may_stay(make_world: MakeWorld) -> None:
    """Once authenticated a socket has no such limit, not even where its credentials open no market streams."""
    world: World = await make_world(QUICK, websocket_auth_seconds=2)
    world.engine.access.anonymous = CLOSED
    world.engine.access.known[KEY] = session(market_streams=False)
    client = await world.client()
    await client.ask(action="auth", api_key=KEY, id=1)
    late = await world.client()
    await late.receive()
    assert (await late.closed()).code == 4401  # whose time began later
    await client.nothing_but()


async def test_where_market_streams_are_public_nobody_has_to_authenticate(make_world: MakeWorld) -> None:
    """An anonymous socket with market streams open to it has no time limit."""
    world: World = await make_world(QUICK, websocket_auth_seconds=0.001)
    client = await world.client()
    await client.ask(action="heartbeat", seconds=1, id=1)
    assert (await client.receive())["type"] == "heartbeat"


@pytest.mark.parametrize(("credential", "case"), [("authorization", "TOKEN_EXPIRED"), ("x_api_key", "KEY_ENDED")])
async def test_a_socket_ends_when_its_credentials_expire(make_world: MakeWorld, credential: str, case: str) -> None:
    """At the expiry of its credentials, and not before, a socket ends with an error message and 4401."""
    watch = Watch()
    world: World = await make_world(QUICK, clock=watch)
    expiring = session()
    expiring.expires_at.FromDatetime(watch.now + timedelta(seconds=60))
    world.engine.access.known = {TOKEN: expiring, KEY: expiring}
    client = await world.client(**{credential: f"Bearer {TOKEN}" if credential == "authorization" else KEY})
    await client.subscribed()
    watch.forward(59.999)
    await client.ask(action="heartbeat", seconds=1, id=1)
    assert (await client.receive())["type"] == "heartbeat"  # the house was kept meanwhile
    watch.forward(0.001)
    error = await client.receive()
    assert (error["message"], reason(error)) == (EntasisError(case).message(), "AUTH_001")
    close = await client.closed()
    assert (close.code, close.reason) == (4401, f"AUTH_001 {EntasisError(case).message()}")
    await until(lambda: not world.engine.open and world.bridge.clients == 0)


async def test_a_renewal_puts_the_expiry_off(make_world: MakeWorld) -> None:
    """A socket whose credentials were renewed lives until the new ones expire, without a gap in its data."""
    watch = Watch()
    world: World = await make_world(QUICK, clock=watch)
    first, second = session(), session()
    first.expires_at.FromDatetime(watch.now + timedelta(seconds=60))
    second.expires_at.FromDatetime(watch.now + timedelta(seconds=120))
    world.engine.access.known = {"first": first, "second": second}
    client = await world.client(authorization="Bearer first")
    await client.subscribed()
    assert (await client.ask(action="auth", token="second", id=1))["expires_at"] == "2024-03-21T09:32:00Z"
    watch.forward(119)
    await client.ask(action="heartbeat", seconds=1, id=2)
    assert (await client.receive())["type"] == "heartbeat"
    seq = world.engine.trade()
    assert (await client.receive())["seq"] == seq
    watch.forward(1)
    assert reason(await client.receive()) == "AUTH_001"
    assert (await client.closed()).code == 4401


async def test_revoked_credentials_end_every_socket_that_has_them(make_world: MakeWorld) -> None:
    """When the engine says that a key is over, its sockets end with AUTH_001 and 4401, and no other does."""
    world: World = await make_world(QUICK)
    world.engine.access.known = {KEY: session(), TOKEN: session("acc-2")}
    clients = [await world.client(x_api_key=KEY) for _ in range(2)]
    renewed = await world.client()
    await renewed.ask(action="auth", api_key=KEY, id=1)
    others = [await world.client(), await world.client(authorization=f"Bearer {TOKEN}")]
    before = metrics.ENDED.labels("AUTH_001")._value.get()
    world.engine.access.ended["acc-1|key-1", LOCAL] = "AUTH_001"
    for client in (*clients, renewed):
        error = await client.receive()
        assert error["message"] == EntasisError("KEY_ENDED").message()
        close = await client.closed()
        assert (close.code, close.reason) == (4401, f"AUTH_001 {EntasisError('KEY_ENDED').message()}")
    assert metrics.ENDED.labels("AUTH_001")._value.get() == before + 3
    for client in others:
        await client.subscribed()


async def test_a_token_that_is_over_is_not_called_a_key(make_world: MakeWorld) -> None:
    """Whoever authenticated by a token is told that it is not valid any more."""
    world: World = await make_world(QUICK)
    world.engine.access.known[TOKEN] = session()
    client = await world.client(authorization=f"Bearer {TOKEN}")
    world.engine.access.ended["acc-1|key-1", LOCAL] = "AUTH_001"
    assert (await client.receive())["message"] == EntasisError("TOKEN_INVALID").message()
    assert (await client.closed()).code == 4401


async def test_an_address_that_is_no_longer_allowed(make_world: MakeWorld) -> None:
    """When the engine says that a session may not be used from an address any more, it ends with AUTH_003 and 4403."""
    world: World = await make_world(QUICK)
    world.engine.access.known[KEY] = session()
    client = await world.client(x_api_key=KEY)
    world.engine.access.ended["acc-1|key-1", LOCAL] = "AUTH_003"
    error = await client.receive()
    assert (error["code"], reason(error)) == (7, "AUTH_003")
    close = await client.closed()
    assert (close.code, close.reason) == (4403, f"AUTH_003 The address {LOCAL} is not allowed")


async def test_sessions_are_asked_about_once_each_and_in_bounds(make_world: MakeWorld) -> None:
    """However many sockets a session has it is asked about once, no call names more than 250, and none is left out."""
    world: World = await make_world(QUICK)
    clients: list[Client] = []
    for number in range(260):
        world.engine.access.known[f"ek_{number}"] = session(f"acc-{number}")
        clients.append(await world.client(x_api_key=f"ek_{number}"))
    clients.append(await world.client(x_api_key="ek_0"))
    clients.append(await world.client())  # of whom nothing is asked
    world.engine.access.asked.clear()
    await until(lambda: len(world.engine.access.asked) > 3)
    calls = world.engine.access.asked
    start = next(index for index, call in enumerate(calls) if len(call) == 250)
    assert [len(call) for call in calls[start : start + 2]] == [250, 10]
    assert {name for call in calls[start : start + 2] for name, _ in call} == {f"acc-{n}|key-1" for n in range(260)}
    world.engine.access.ended = {(f"acc-{number}|key-1", LOCAL): "AUTH_001" for number in range(260)}
    for client in clients[:-1]:
        await client.receive()
        assert (await client.closed()).code == 4401
    await clients[-1].nothing_but()


async def test_nobody_is_asked_about_anonymous_sockets(make_world: MakeWorld) -> None:
    """Without an authenticated socket the engine is not asked at all."""
    world: World = await make_world(QUICK)
    client = await world.client()
    await client.ask(action="heartbeat", seconds=1, id=1)
    await client.receive()
    assert world.engine.access.asked == []


async def test_an_engine_that_cannot_be_asked_ends_nothing(make_world: MakeWorld) -> None:
    """While the engine does not answer every socket stays, one line is logged, and afterwards it is asked again."""
    world: World = await make_world(QUICK)
    world.engine.access.known[KEY] = session()
    client = await world.client(x_api_key=KEY)
    world.engine.access.ended["acc-1|key-1", LOCAL] = "AUTH_001"
    with capture_logs() as lines:
        world.engine.access.broken = True
        world.engine.access.asked.clear()
        await until(lambda: len(world.engine.access.asked) > 5)
        await world.refused()  # which is the same outage
        assert [line["event"] for line in lines] == ["websocket_access_lost"]
        await client.subscribed()
        world.engine.access.broken = False
        await client.receive()
        assert (await client.closed()).code == 4401
        assert [line["event"] for line in lines] == ["websocket_access_lost", "websocket_access_regained"]


async def test_an_engine_that_names_sessions_it_was_not_asked_about(make_world: MakeWorld) -> None:
    """An answer about a session that was not in the question ends nothing."""
    world: World = await make_world(QUICK)
    world.engine.access.known[KEY] = session()
    client = await world.client(x_api_key=KEY)
    asked: list[int] = []

    async def confused(request: Any, context: Any) -> access_pb2.ListEndedSessionsResponse:
        asked.append(len(request.held))
        answer = access_pb2.ListEndedSessionsResponse()
        for index in (-1, 1, 99):
            answer.ended.add(index=index, reason="AUTH_001")
        return answer

    await world.engine.stop()
    world.engine.access.ListEndedSessions = confused  # type: ignore[method-assign]
    await world.engine.start()
    await until(lambda: len(asked) > 2)
    await client.nothing_but()


async def test_a_client_that_does_not_answer_the_close_is_cut(make_world: MakeWorld) -> None:
    """A socket that may not stay gets no more data, is not obeyed any more, and is cut after the closing time."""
    watch = Watch()
    limits = Limits(linger_seconds=0.05, housekeeping_seconds=0.02, close_seconds=2)
    world: World = await make_world(limits, clock=watch)
    expiring = session()
    expiring.expires_at.FromDatetime(watch.now + timedelta(seconds=60))
    world.engine.access.known[KEY] = expiring
    client = await world.raw_client()
    await client.send(action="auth", api_key=KEY, id=1)
    await client.send(action="subscribe", channel="market", symbol="BTC-USDT", id=2)
    await client.read_until(lambda message: message.get("id") == 2)
    watch.forward(60)
    messages = await client.read_until(lambda message: False)
    assert [message["type"] for message in messages] == ["error"]
    assert client.protocol.close_rcvd is not None
    assert client.protocol.close_rcvd.code == 4401
    await until(lambda: not world.engine.open)
    assert world.bridge.clients == 1
    await client.send(action="auth", api_key=KEY, id=3)
    await until(lambda: world.bridge.clients == 0)
    assert len(world.engine.access.opened) == 2


# --- Secrets ----------------------------------------------------------------------------------------------------------


@contextmanager
def everything_printed(capfd: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    """What the process prints and logs meanwhile, once it is over."""
    printed: list[str] = []
    capfd.readouterr()
    yield printed
    captured = capfd.readouterr()
    printed.extend((captured.out, captured.err))


async def test_no_credential_is_kept_or_told(
    make_world: MakeWorld, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """After its question no credential is in the socket, a log line, a metric or anything that the client is sent."""
    secrets = ("SeCrEt-header", "SeCrEt-subprotocol", "SeCrEt-auth", "SeCrEt-wrong")
    world: World = await make_world()
    for secret in secrets[:-1]:
        world.engine.access.known[secret] = session()
    told: list[Any] = []
    with everything_printed(capfd) as printed:
        by_header = await world.client(authorization=f"Bearer {secrets[0]}", x_api_key=secrets[0])
        by_subprotocol = await world.client(["entasis.v1", f"bearer.{secrets[1]}", f"key.{secrets[1]}"])
        later = await world.client()
        told.append(await later.ask(action="auth", token=secrets[2], api_key=secrets[2], id=1))
        told.append(await later.ask(action="auth", token=secrets[3], id=2))
        for message in ({"token": [secrets[3]]}, {"token": secrets[3] + " "}, {"action": secrets[3]}):
            told.append(await later.ask(**({"action": "auth"} | message)))
        for response in (
            await world.refused(authorization=f"Bearer {secrets[3]}"),
            await world.refused(authorization=f"Basic {secrets[3]}"),
            await world.refused([f"bearer.{secrets[3]}"]),
            await world.refused(sec_websocket_protocol=f"entasis.v1, bearer.{secrets[3]}, ("),
            await world.refused(sec_websocket_protocol=f"entasis.v1 bearer.{secrets[3]}"),
        ):
            told.append((str(response.headers), response.body))
        for client in (by_header, by_subprotocol):
            told.append(str(client.socket.response.headers))
        for connection in world.bridge._sockets:
            assert connection.request is not None
            told.append((vars(connection), vars(connection.protocol), str(connection.request.headers)))
            told.append((connection.session, connection.client.subscriptions))
    from prometheus_client import generate_latest

    everything = f"{told}{printed}{caplog.text}{generate_latest()!r}"
    assert "SeCrEt" not in everything
