"""What a running engine says on its WebSocket is what gen/asyncapi/entasis.yaml describes, down to each field."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.e2e.conftest import Running, Start, eventually
from tests.support.access import make_key
from tests.support.asyncapi import MESSAGES, REQUESTS, VALIDATORS, kinds, validator
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

pytestmark = pytest.mark.e2e

POSITIONS = "/api/v1/portfolio/positions"
SECONDS = 30
STATUS = validator({"$ref": "#/components/schemas/Status"})


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("asyncapi")


@pytest.fixture(scope="module")
def up(start: Start, data_dir: Path) -> Running:
    return start("up", data_dir=data_dir)


class Client:
    """A socket whose messages, of both sides, are held against the document."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.sent: set[str] = set()
        """Names of the messages that were sent."""
        self.seen: set[str] = set()
        """Names of the messages that came."""
        self.reasons: set[str] = set()
        """Of the errors that came."""

    def send(self, message: dict[str, Any]) -> None:
        (kind,) = kinds(message)
        assert kind in REQUESTS
        self.sent.add(kind)
        self._socket.send(json.dumps(message))

    def send_bad(self, message: Any) -> None:
        """What no schema takes; text goes as it is."""
        if not isinstance(message, str | bytes):
            assert REQUESTS.isdisjoint(kinds(message)), message
            message = json.dumps(message)
        self._socket.send(message)

    def next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv(timeout=SECONDS))
        found = kinds(message)
        if len(found) != 1 or found[0] in REQUESTS:
            tried = (list(one.iter_errors(message)) for name, one in VALIDATORS.items() if name not in REQUESTS)
            raise AssertionError(f"{message} is {found}: {[error.message for error in min(tried, key=len)]}")
        self.seen.add(found[0])
        if message.get("type") == "error":
            self.reasons.add(message["details"][0]["reason"])
        return message

    def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first message of which it holds."""
        while not holds(message := self.next()):
            pass
        return message

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """The answer to a message with an `id`."""
        self.send(message)
        return self.until(lambda answer: answer.get("id") == message["id"])

    def data(self, channel: str) -> dict[str, Any]:
        """The next data of a channel."""
        return self.until(lambda message: "type" not in message and message["channel"] == channel)

    def event(self, event: str) -> dict[str, Any]:
        """The next thing of this kind that happens to a position."""
        return self.until(lambda message: message.get("event") == event)


@contextmanager
def client(up: Running, **headers: str) -> Iterator[Client]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with connect(up.websocket, additional_headers=named) as socket:
        yield Client(socket)


def results(answer: dict[str, Any]) -> list[tuple[str | None, str]]:
    return [(result.get("symbol"), result["status"]) for result in answer["results"]]


def test_a_whole_session_is_as_described(up: Running, data_dir: Path) -> None:
    """Every message of the document is sent or seen, and none holds anything that the document does not say."""
    other = make_key(data_dir, account="another")
    eventually(lambda: up.get(POSITIONS, {"X-API-Key": other})[0], lambda status: status == 200)
    with client(up) as one:
        trades_of_the_market(one)
        books_and_candles(one)
        questions(one)
        assert one.ask({"action": "auth", "api_key": "ek_wrong", "id": 30})["code"] == 16
        assert one.ask({"action": "subscribe", "channel": "positions", "id": 31})["type"] == "error"
        assert one.ask({"action": "auth", "api_key": up.key, "id": 32})["account"]
        token = requests.post(f"{up.web}/api/v1/auth/token", headers={"X-API-Key": up.key}, timeout=SECONDS).json()
        assert one.ask({"action": "auth", "token": token["access_token"], "id": 33})["expires_at"]
        assert one.ask({"action": "auth", "api_key": other, "id": 34})["type"] == "error"
        positions_of_the_account(one, up)
        assert one.sent == REQUESTS
        assert one.seen == set(MESSAGES) - REQUESTS


def trades_of_the_market(one: Client) -> None:
    one.send({"action": "subscribe", "channel": "market", "symbol": "BTC-USDT", "symbols": ["ETH-USDT"]})
    first = one.until(lambda message: message["symbol"] == "BTC-USDT")
    assert one.until(lambda message: message["symbol"] == "ETH-USDT")["channel"] == "market"
    asked = {"action": "subscribe", "channel": "market", "symbols": ["BTC-USDT", "FOO-BAR"], "id": "a"}
    answer = one.ask(asked)
    assert results(answer) == [("BTC-USDT", "ok"), ("FOO-BAR", "error")]
    for number, seq in enumerate((first["seq"], 0)):
        again = {"action": "subscribe", "channel": "market", "symbol": "BTC-USDT", "resume": {"BTC-USDT": seq}}
        (result,) = one.ask({**again, "id": number})["results"]
        assert result["resumed"] == (seq > 0)
    ended = one.ask({"action": "unsubscribe", "channel": "market", "symbols": ["BTC-USDT", "SOL-USDT"], "id": "b"})
    assert results(ended) == [("BTC-USDT", "ok"), ("SOL-USDT", "ok")]


def books_and_candles(one: Client) -> None:
    one.send({"action": "subscribe", "channel": "orderbook", "symbol": "BTC-USDT"})
    assert one.data("orderbook")["depth"] == 10
    one.ask({"action": "subscribe", "channel": "orderbook", "symbol": "BTC-USDT", "depth": 3, "id": 10})
    book = one.until(lambda message: message.get("depth") == 3)
    assert (len(book["bids"]), len(book["asks"])) == (3, 3)
    one.send({"action": "subscribe", "channel": "candles", "symbols": ["BTC-USDT"], "id": None})
    assert one.data("candles")["interval"] == "1m"
    one.ask({"action": "subscribe", "channel": "candles", "symbol": "BTC-USDT", "interval": "1d", "id": 11})
    one.until(lambda message: message.get("interval") == "1d")


def questions(one: Client) -> None:
    listed = one.ask({"action": "list", "id": 20})["subscriptions"]
    assert {"channel": "orderbook", "symbol": "BTC-USDT", "depth": 3} in listed
    assert {"channel": "candles", "symbol": "BTC-USDT", "interval": "1d"} in listed
    one.send({"action": "list"})
    assert "id" not in one.until(lambda message: message.get("type") == "subscriptions")
    one.send({"action": "ping"})
    assert "id" not in one.until(lambda message: message.get("type") == "pong")
    assert one.ask({"action": "ping", "id": -(2**63)})["type"] == "pong"
    assert one.ask({"action": "heartbeat", "seconds": 1, "id": 21})["seconds"] == 1
    one.until(lambda message: message.get("type") == "heartbeat")
    one.ask({"action": "heartbeat", "seconds": 0, "id": 22})


def positions_of_the_account(one: Client, up: Running) -> None:
    def post(path: str, body: dict[str, str]) -> Any:
        answer = requests.post(up.web + path, json=body, headers={"X-API-Key": up.key}, timeout=SECONDS)
        assert answer.ok, answer.text
        return answer.json()

    assert results(one.ask({"action": "subscribe", "channel": "positions", "id": 40})) == [(None, "ok")]
    assert one.event("snapshot")["positions"] == []
    assert {"channel": "positions"} in one.ask({"action": "list", "id": 41})["subscriptions"]
    position = post(POSITIONS, {"symbol": "BTC-USDT", "size": "0.5", "type": "short", "leverage": "2"})["position_id"]
    (held,) = one.event("opened")["positions"]
    assert (held["position_id"], held["status"]) == (position, "open")
    one.event("price")
    assert one.ask({"action": "subscribe", "channel": "positions", "id": 42})["results"][0]["seq"]
    assert len(one.event("snapshot")["positions"]) == 1
    post(f"{POSITIONS}/{position}:close", {"size": "0.2"})
    assert one.event("changed")["positions"][0]["size"] == "0.3"
    post(f"{POSITIONS}/{position}:close", {})
    (held,) = one.event("closed")["positions"]
    assert held["status"] == "closed"
    assert held["close_time"]
    assert results(one.ask({"action": "unsubscribe", "channel": "positions", "id": 43})) == [(None, "ok")]


DEEP = 2500
BAD: list[Any] = [
    "",
    "{",
    "null",
    "[]",
    '"subscribe"',
    "NaN",
    "[" * DEEP,
    '{"action":' + "[" * DEEP + "]" * DEEP + "}",
    '{"action":"list","id":' + '{"a":' * DEEP + "1" + "}" * DEEP + "}",
    b'{"action": "ping"}',
    {},
    {"action": 1},
    {"action": "dance", "id": "x"},
    {"action": "subscribe", "channel": "weather", "symbol": "BTC-USDT"},
    {"action": "subscribe", "channel": "market"},
    {"action": "subscribe", "channel": "market", "symbols": "BTC-USDT", "id": 1},
    {"action": "subscribe", "channel": "market", "symbols": [{}]},
    {"action": "subscribe", "channel": "market", "symbol": "btc-usdt"},
    {"action": "subscribe", "channel": "market", "symbol": "x" * 1000},
    {"action": "subscribe", "channel": "market", "symbol": "", "id": 2},
    {"action": "subscribe", "channel": "market", "symbols": ["BTC-USDT,ETH-USDT"], "id": 3},
    {"action": "subscribe", "channel": "market", "symbol": "BTC-USDT", "resume": {"BTC-USDT": "1"}},
    {"action": "subscribe", "channel": "market", "symbol": "BTC-USDT", "id": [1]},
    {"action": "subscribe", "channel": "orderbook", "symbol": "BTC-USDT", "depth": 0, "id": 4},
    {"action": "subscribe", "channel": "orderbook", "symbol": "BTC-USDT", "resume": {"BTC-USDT": 1}},
    {"action": "subscribe", "channel": "candles", "symbol": "BTC-USDT", "interval": "1w", "id": 5},
    {"action": "subscribe", "channel": "positions", "symbol": "BTC-USDT", "id": 6},
    {"action": "unsubscribe", "channel": "market", "symbol": "btc", "id": 7},
    {"action": "unsubscribe", "channel": "market", "symbol": "btc"},
    {"action": "unsubscribe", "channel": "market"},
    {"action": "heartbeat", "seconds": 3601, "id": 8},
    {"action": "heartbeat", "seconds": "1"},
    {"action": "auth", "id": 9},
    {"action": "auth", "token": "with space", "id": 10},
    {"action": "ping", "id": "x" * 129},
    {"action": "ping", "id": 2**64},
]


@pytest.mark.parametrize("language", ["en", "ko"])
def test_what_is_wrong_is_answered_as_described(up: Running, language: str) -> None:
    """Each bad message, in either language, gets an error of the described form, or an acknowledgement that has one."""
    with client(up, Accept_Language=language) as one:
        for message in BAD:
            one.send_bad(message)
            answer = one.next()
            assert answer["type"] == "error" or results(answer)[0][1] == "error", message
        one.send({"action": "subscribe", "channel": "positions"})
        assert one.next()["channel"] == "positions"
        one.send({"action": "subscribe", "channel": "candles", "symbol": "FOO-BAR"})
        assert one.next()["symbol"] == "FOO-BAR"
        one.send({"action": "subscribe", "channel": "market", "symbols": [f"A{n}-B" for n in range(513)], "id": 11})
        assert one.next()["id"] == 11
        for number in range(600):  # more than a socket may send at once, and not slowed down by looking at each
            one.send_bad(f'{{"action":"ping","id":{number}}}')
        one.until(lambda message: message["type"] == "error")
        one.send_bad("x" * 20_000)
        with pytest.raises(ConnectionClosed):
            one.until(lambda _: False)
        assert one.reasons == {"REQUEST_001", "REQUEST_003", "MARKET_001", "AUTH_001", "LIMIT_002"}


def test_refused_handshakes_have_the_described_body(up: Running) -> None:
    """Who may not connect is told why in the form that the document names, and in no other."""
    cases: list[tuple[str, dict[str, Any], int]] = [
        (up.websocket, {"additional_headers": {"X-API-Key": "ek_wrong"}}, 401),
        (up.websocket, {"additional_headers": {"Authorization": "Basic eDp4"}}, 401),
        (up.websocket, {"subprotocols": ["bearer.x"]}, 401),
        (up.websocket.replace("market", "nowhere"), {}, 404),
    ]
    for address, options, status in cases:
        with pytest.raises(InvalidStatus) as refused, connect(address, **options):
            pass
        response = refused.value.response
        assert response.status_code == status
        STATUS.validate(json.loads(response.body))
