"""gen/asyncapi/entasis.yaml says what the code does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError
from tests.support.asyncapi import DOCUMENT, MESSAGES, REQUESTS, SCHEMAS, VALIDATORS, kinds

from entasis.errors.v1 import error_reason_pb2
from entasis.market.v1 import market_pb2
from entasis.portfolio.v1 import portfolio_pb2
from entasis_engine.errors import CATALOGUE, EntasisError
from entasis_engine.websocket import handshake, protocol
from entasis_engine.websocket.limits import Limits
from entasis_engine.websocket.protocol import Result, Stream

EXAMPLES = [(name, example["payload"]) for name, message in MESSAGES.items() for example in message["examples"]]
NOW = datetime(2026, 11, 22, 16, 50, 54, 5000, tzinfo=UTC)


def is_accepted(message: Mapping[str, Any]) -> bool:
    """Whether the schema of any message from clients takes it."""
    return not REQUESTS.isdisjoint(kinds(message))


def references(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def parse(message: Any) -> protocol.Command:
    return protocol.parse(json.dumps(message), symbols_max=512)


def test_every_reference_leads_somewhere() -> None:
    """References point at something, nothing is never pointed at, and each operation's messages are in its channel."""
    pointed_at = set(references(DOCUMENT))
    assert pointed_at.issuperset(f"#/components/schemas/{name}" for name in SCHEMAS)
    for reference in pointed_at:
        part: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            part = part[step]
    for operation in DOCUMENT["operations"].values():
        channel = operation["channel"]["$ref"]
        told = [*operation["messages"], *operation.get("reply", {}).get("messages", [])]
        assert all(reference["$ref"].startswith(f"{channel}/messages/") for reference in told)
    (channel_,) = DOCUMENT["channels"].values()
    assert set(channel_["messages"]) == set(MESSAGES)
    assert channel_["address"] == handshake.PATH


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schemas_are_schemas(name: str) -> None:
    """Each is a JSON Schema in the dialect of AsyncAPI."""
    Draft7Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_the_examples_are_what_the_schemas_say(name: str, example: Any) -> None:
    """Each example is of its message, has no field that is not described, and is of no other message."""
    VALIDATORS[name].validate(example)
    assert kinds(example) == [name]


def test_every_message_has_an_example() -> None:
    assert {name for name, _ in EXAMPLES} == set(MESSAGES)


@pytest.mark.parametrize(
    ("name", "example"),
    [(name, example) for name, example in EXAMPLES if name in REQUESTS],
)
def test_the_server_understands_the_examples(name: str, example: Any) -> None:
    """What the document shows a client sending is parsed, as the action that it names."""
    command = parse(example)
    assert (
        type(command).__struct_config__.tag
        == example["action"]
        == SCHEMAS[_schema(name)]["properties"]["action"]["const"]
    )


def _schema(message: str) -> str:
    return str(MESSAGES[message]["payload"]["$ref"]).rpartition("/")[2]


def test_every_action_and_channel_is_described() -> None:
    """The document has the actions, channels and fields of the protocol, no more and no fewer."""
    fields: dict[str, set[str]] = {}
    channels: dict[str, set[str]] = {}
    for name in REQUESTS:
        properties = SCHEMAS[_schema(name)]["properties"]
        action = properties["action"]["const"]
        fields.setdefault(action, set()).update(properties)
        channel = properties.get("channel", {})
        channels.setdefault(action, set()).update(channel.get("enum", [channel.get("const")]))
    commands = {command.__struct_config__.tag: command for command in get_args(protocol.Command)}
    assert fields == {action: {"action", *command.__struct_fields__} for action, command in commands.items()}
    assert channels["subscribe"] == channels["unsubscribe"] == set(get_args(protocol.Channel))


def test_the_reasons_and_codes_are_those_of_the_contract() -> None:
    """Errors are described with every reason of the contract, and with the codes of the catalogue."""
    declared = {name for name, number in error_reason_pb2.ErrorReason.items() if number}
    assert set(SCHEMAS["ErrorReason"]["enum"]) == declared
    assert set(SCHEMAS["Error"]["properties"]["code"]["enum"]) == {entry.code for entry in CATALOGUE.values()}


def test_the_limits_are_those_of_the_code() -> None:
    """Numbers in schemas are the ones that the server goes by."""
    subscribe = SCHEMAS["SubscribeOrderbook"]["properties"]
    assert subscribe["depth"]["default"] == protocol.DEPTH_DEFAULT
    assert SCHEMAS["SubscribeCandles"]["properties"]["interval"]["default"] == protocol.INTERVAL_DEFAULT
    assert SCHEMAS["SetHeartbeat"]["properties"]["seconds"]["maximum"] == protocol.HEARTBEAT_SECONDS_MAX
    credentials = SCHEMAS["Authenticate"]["properties"]
    assert credentials["token"]["maxLength"] == protocol.TOKEN_CHARACTERS_MAX
    assert credentials["api_key"]["maxLength"] == protocol.KEY_CHARACTERS_MAX
    limits = Limits()
    about = DOCUMENT["channels"]["market"]["description"]
    assert f"{limits.message_rate:.0f} a second, after a burst of {limits.message_burst:.0f}" in about


SYMBOLS = {"action": "subscribe", "channel": "market", "symbols": ["BTC-USDT"]}


@pytest.mark.parametrize(
    "message",
    [
        {**SYMBOLS, "symbol": "ETH-USDT", "id": "x" * 128},
        {**SYMBOLS, "symbol": None, "id": None},
        {**SYMBOLS, "id": 2**63 - 1},
        {**SYMBOLS, "id": -(2**63)},
        {**SYMBOLS, "resume": {}},
        {**SYMBOLS, "resume": {"BTC-USDT": 2**63 - 1}},
        {"action": "subscribe", "channel": "orderbook", "symbol": "BTC-USDT", "depth": 100},
        {"action": "subscribe", "channel": "orderbook", "symbol": "BTC-USDT", "depth": None},
        {"action": "subscribe", "channel": "candles", "symbol": "BTC-USDT"},
        {"action": "subscribe", "channel": "candles", "symbol": "BTC-USDT", "interval": None},
        {"action": "unsubscribe", "channel": "positions"},
        {"action": "unsubscribe", "channel": "orderbook", "symbol": "BTC-USDT", "depth": 1},
        {"action": "unsubscribe", "channel": "candles", "symbol": "BTC-USDT", "interval": "1d"},
        {"action": "heartbeat", "seconds": 0},
        {"action": "heartbeat", "seconds": protocol.HEARTBEAT_SECONDS_MAX},
        {"action": "auth", "token": "x" * protocol.TOKEN_CHARACTERS_MAX, "api_key": None},
        {"action": "auth", "api_key": "~", "token": "!"},
    ],
    ids=str,
)
def test_what_the_schemas_take_the_server_takes(message: dict[str, Any]) -> None:
    """The edges of what a client may send, as described, are within what is understood."""
    assert is_accepted(message)
    parse(message)


@pytest.mark.parametrize(
    "message",
    [
        [],
        "subscribe",
        None,
        {},
        {"action": None},
        {"action": "dance"},
        {"action": "Subscribe", "channel": "market", "symbol": "BTC-USDT"},
        {"channel": "market", "symbol": "BTC-USDT"},
        {"action": "subscribe", "symbol": "BTC-USDT"},
        {"action": "subscribe", "channel": "weather", "symbol": "BTC-USDT"},
        {"action": "subscribe", "channel": "market"},
        {"action": "subscribe", "channel": "market", "symbols": []},
        {"action": "subscribe", "channel": "market", "symbol": None},
        {"action": "subscribe", "channel": "market", "symbols": "BTC-USDT"},
        {"action": "subscribe", "channel": "market", "symbols": [1]},
        {"action": "subscribe", "channel": "market", "symbols": None},
        {"action": "subscribe", "channel": "market", "symbol": ["BTC-USDT"]},
        {"action": "subscribe", "channel": "positions", "symbol": "BTC-USDT"},
        {"action": "subscribe", "channel": "positions", "symbols": ["BTC-USDT"]},
        {"action": "subscribe", "channel": "orderbook", "symbol": "BTC-USDT", "depth": 0},
        {"action": "subscribe", "channel": "orderbook", "symbol": "BTC-USDT", "depth": 101},
        {"action": "subscribe", "channel": "orderbook", "symbol": "BTC-USDT", "depth": 1.5},
        {"action": "subscribe", "channel": "orderbook", "symbol": "BTC-USDT", "depth": "10"},
        {"action": "subscribe", "channel": "orderbook", "symbol": "BTC-USDT", "depth": True},
        {"action": "subscribe", "channel": "candles", "symbol": "BTC-USDT", "interval": "2h"},
        {"action": "subscribe", "channel": "candles", "symbol": "BTC-USDT", "resume": {"BTC-USDT": 1}},
        {**SYMBOLS, "resume": {"BTC-USDT": -1}},
        {**SYMBOLS, "resume": {"BTC-USDT": 2**63}},
        {**SYMBOLS, "resume": ["BTC-USDT"]},
        {**SYMBOLS, "resume": None},
        {**SYMBOLS, "id": "x" * 129},
        {**SYMBOLS, "id": 2**63},
        {**SYMBOLS, "id": -(2**63) - 1},
        {**SYMBOLS, "id": 1.5},
        {**SYMBOLS, "id": True},
        {**SYMBOLS, "id": []},
        {"action": "unsubscribe", "channel": "market"},
        {"action": "unsubscribe", "channel": "positions", "symbol": "BTC-USDT"},
        {"action": "unsubscribe", "symbol": "BTC-USDT"},
        {"action": "heartbeat"},
        {"action": "heartbeat", "seconds": -1},
        {"action": "heartbeat", "seconds": protocol.HEARTBEAT_SECONDS_MAX + 1},
        {"action": "heartbeat", "seconds": None},
        {"action": "auth"},
        {"action": "auth", "token": None},
        {"action": "auth", "token": ""},
        {"action": "auth", "token": "with space"},
        {"action": "auth", "token": "x" * (protocol.TOKEN_CHARACTERS_MAX + 1)},
        {"action": "auth", "api_key": "열쇠"},
        {"action": "auth", "api_key": "x" * (protocol.KEY_CHARACTERS_MAX + 1)},
        {"action": "list", "id": {}},
        {"action": "ping", "id": "x" * 129},
    ],
    ids=lambda message: str(message)[:80],
)
def test_what_the_server_refuses_the_schemas_refuse(message: Any) -> None:
    """A message that is malformed is so by the document, too."""
    with pytest.raises(protocol.Rejected):
        parse(message)
    assert not is_accepted(message)


SUBSCRIBE = protocol.Subscribe(channel="market", symbols=["BTC-USDT"], id=1)
FAILURE = EntasisError("SYMBOL_UNKNOWN", symbol="FOO-BAR")


def printed() -> Iterator[tuple[str, bytes]]:
    """Messages as the server prints them, with everything that they can hold and with as little."""
    results = [
        Result("BTC-USDT", None, True, 5),
        Result("ETH-USDT", None, None, None),
        Result("FOO-BAR", FAILURE),
        Result(None, protocol.symbol_fault("btc")),
    ]
    yield "selectionAck", protocol.selection_ack(SUBSCRIBE, results, "en")
    unsubscribe = protocol.Unsubscribe(channel="positions", id="x")
    yield "selectionAck", protocol.selection_ack(unsubscribe, [Result(None)], "ko")
    yield "heartbeatAck", protocol.heartbeat_ack(protocol.Heartbeat(seconds=0, id=-(2**63)))
    yield "authAck", protocol.auth_ack(protocol.Auth(api_key="x", id=1), "acc_1", [], None)
    yield "authAck", protocol.auth_ack(protocol.Auth(api_key="x", id=1), "acc_1", ["market:read"], NOW)
    streams = [
        Stream("market", "BTC-USDT"),
        Stream("orderbook", "BTC-USDT", depth=7),
        Stream("candles", "BTC-USDT", interval="5m"),
        Stream("positions", "", session="acc_1|x"),
    ]
    yield "subscriptions", protocol.subscriptions(protocol.List(), streams)
    yield "pong", protocol.pong(protocol.Ping(), NOW)
    yield "pong", protocol.pong(protocol.Ping(id="x"), NOW.replace(microsecond=0))
    yield "heartbeat", protocol.heartbeat(NOW)
    yield "trade", protocol.price(market_pb2.PriceUpdate(symbol="BTC-USDT", price="1", volume="0.00001"))
    yield "orderBook", protocol.book(market_pb2.GetOrderBookResponse(symbol="BTC-USDT", checksum=2**32 - 1), 100)
    bar = market_pb2.Candle(open="1.00", high="1.00", low="1.00", close="1.00", volume="0")
    yield "candle", protocol.candle(market_pb2.CandleUpdate(symbol="BTC-USDT", interval="1d", candle=bar, closed=True))
    yield "positions", protocol.positions([], "snapshot", 0)
    held = portfolio_pb2.Position(
        **{"symbol": "BTC-USDT", "size": "1", "entry_price": "1.00", "current_price": "1.00", "pnl": "-0.01"},
        **{"position_id": "pos_1", "type": "short", "leverage": "1.5", "status": "liquidated", "margin": "0.00"},
        **{"realised_pnl": "-0.01", "fees": "0.00"},
    )
    held.close_time.FromSeconds(5)
    yield "positions", protocol.positions([held], "liquidated", 2**63)
    for case in CATALOGUE:
        error = EntasisError(case, faults=[protocol.FieldFault("x", {"en": "y", "ko": "z"})], **_Anything())
        yield "error", protocol.error(error, "ko", request_id=1, channel="market", symbol="nonsense")
        yield "error", protocol.error(error.status(), "en")


class _Anything(dict[str, str]):
    """Every value that any message of the catalogue speaks of."""

    def __init__(self) -> None:
        words = [text for entry in CATALOGUE.values() for text in entry.messages.values()]
        names = {part.split("}")[0] for text in words for part in text.split("{")[1:]} - {"problem"}
        super().__init__(dict.fromkeys(names, "something"))


PRINTED = list(printed())


def test_what_the_server_prints_is_as_described() -> None:
    """Each message is one of the document's, and no other, and has no field that is not described."""
    assert {name for name, _ in PRINTED} == set(MESSAGES) - REQUESTS
    for name, text in PRINTED:
        message = json.loads(text)
        assert kinds(message) == [name], message


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("trade", {"price": 1.5}),
        ("trade", {"price": "1e5"}),
        ("trade", {"timestamp": "2026-11-22T16:35:54.204+00:00"}),
        ("trade", {"extra": 1}),
        ("orderBook", {"bids": [["1"]]}),
        ("candle", {"interval": "2h"}),
        ("positions", {"event": "lost"}),
        ("error", {"details": []}),
        ("error", {"code": 99}),
    ],
)
def test_what_the_server_never_prints_is_not_as_described(name: str, change: dict[str, Any]) -> None:
    """The schemas are no nets with holes: a message that is slightly wrong is found."""
    message = next(json.loads(text) for other, text in PRINTED if other == name)
    with pytest.raises(ValidationError):
        VALIDATORS[name].validate(message | change)
