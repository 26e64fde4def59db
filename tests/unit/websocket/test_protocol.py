"""The rules of the messages: what is understood, what is refused, and how everything is printed."""

from __future__ import annotations

import json
import traceback
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.struct_pb2 import ListValue
from google.rpc import status_pb2
from hypothesis import given
from hypothesis import strategies as st

from entasis.market.v1 import market_pb2
from entasis_engine.errors import EntasisError
from entasis_engine.websocket import protocol
from entasis_engine.websocket.access import Credentials
from entasis_engine.websocket.protocol import (
    Auth,
    Heartbeat,
    List,
    Ping,
    Rejected,
    Result,
    Stream,
    Subscribe,
    Unsubscribe,
    parse,
)


def command(**message: Any) -> protocol.Command:
    return parse(json.dumps(message), symbols_max=100)


def fault_of(text: str, symbols_max: int = 100) -> Rejected:
    with pytest.raises(Rejected) as rejected:
        parse(text, symbols_max=symbols_max)
    return rejected.value


def test_the_example_of_the_specification() -> None:
    """The asked-for subscribe message is understood as it stands."""
    parsed = command(action="subscribe", channel="market", symbols=["BTC-USDT", "ETH-USDT"])
    assert isinstance(parsed, Subscribe)
    assert [parsed.stream(symbol) for symbol in parsed.all_symbols] == [
        Stream("market", "BTC-USDT"),
        Stream("market", "ETH-USDT"),
    ]
    assert parsed.id is None


def test_symbol_and_symbols_may_both_be_given() -> None:
    """`symbol` and `symbols` add up on every channel, and a symbol named twice counts once."""
    for channel in ("market", "orderbook", "candles"):
        parsed = command(action="subscribe", channel=channel, symbol="A-B", symbols=["C-D", "A-B"])
        assert isinstance(parsed, Subscribe)
        assert parsed.all_symbols == ["A-B", "C-D"]


def test_defaults_of_the_selectors() -> None:
    """A book has 10 levels and a candle one minute unless something else is asked for; others have neither."""
    for fields, stream in (
        ({"channel": "orderbook"}, Stream("orderbook", "A-B", depth=10)),
        ({"channel": "orderbook", "depth": 100}, Stream("orderbook", "A-B", depth=100)),
        ({"channel": "candles"}, Stream("candles", "A-B", interval="1m")),
        ({"channel": "candles", "interval": "1d"}, Stream("candles", "A-B", interval="1d")),
        ({"channel": "market", "depth": 5, "interval": "1h"}, Stream("market", "A-B")),
    ):
        parsed = command(action="subscribe", symbol="A-B", **fields)
        assert isinstance(parsed, Subscribe)
        assert parsed.stream("A-B") == stream


def test_unsubscribe_without_selector_means_every_stream_of_the_symbol() -> None:
    """`depth` and `interval` narrow an unsubscribe down; without them it covers all."""
    wide = command(action="unsubscribe", channel="orderbook", symbol="A-B")
    narrow = command(action="unsubscribe", channel="orderbook", symbol="A-B", depth=5)
    assert isinstance(wide, Unsubscribe)
    assert isinstance(narrow, Unsubscribe)
    for depth in (5, 10):
        assert wide.matches(Stream("orderbook", "A-B", depth=depth), "A-B")
        assert narrow.matches(Stream("orderbook", "A-B", depth=depth), "A-B") == (depth == 5)
    assert not wide.matches(Stream("market", "A-B"), "A-B")
    assert not wide.matches(Stream("orderbook", "C-D", depth=10), "A-B")


def test_positions_have_no_symbol_and_are_somebodys() -> None:
    """The channel `positions` names one stream, that of a session and an address; an unsubscribe matches it."""
    subscribe = command(action="subscribe", channel="positions", id=1)
    unsubscribe = command(action="unsubscribe", channel="positions")
    assert isinstance(subscribe, Subscribe)
    assert isinstance(unsubscribe, Unsubscribe)
    (symbol,) = subscribe.all_symbols
    stream = subscribe.stream(symbol, "acc_1|key|secret", "192.0.2.1")
    assert stream == Stream("positions", "", session="acc_1|key|secret", address="192.0.2.1")
    assert [unsubscribe.matches(stream, one) for one in unsubscribe.all_symbols] == [True]
    assert stream.label == "positions acc_1"
    market = command(action="subscribe", channel="market", symbol="A-B")
    assert isinstance(market, Subscribe)
    assert market.stream("A-B", "acc_1|key|secret", "192.0.2.1") == Stream("market", "A-B")


def test_answers_about_positions_name_no_symbol() -> None:
    """Acknowledgement, list and error of a channel without symbols have no such field."""
    stream = Stream("positions", "", session="acc_1|key|secret", address="192.0.2.1")
    assert json.loads(protocol.subscriptions(List(), [stream])) == {
        "type": "subscriptions",
        "subscriptions": [{"channel": "positions"}],
    }
    printed = json.loads(protocol.selection_ack(Subscribe(id=1, channel="positions"), [Result(None, seq=5)], "en"))
    assert printed["results"] == [{"status": "ok", "seq": 5}]


def test_the_other_commands() -> None:
    """`list`, `ping` and `heartbeat` are understood, with an id of either kind."""
    assert command(action="list", id="x") == List(id="x")
    assert command(action="ping", id=2**63 - 1) == Ping(id=2**63 - 1)
    assert command(action="heartbeat", seconds=0) == Heartbeat(seconds=0)
    assert command(action="auth", token="a.b.c", id=1) == Auth(token="a.b.c", id=1)
    assert command(action="auth", api_key="ek_1", token=None) == Auth(api_key="ek_1")


def test_a_credential_is_never_printed() -> None:
    """Neither the command nor its rejection shows a credential, however it is printed."""
    parsed = command(action="auth", token="secret-1", api_key="secret-2", id="visible")
    for printed in (repr(parsed), str(parsed), f"{[parsed]}", str(parsed.__rich_repr__())):
        assert "secret" not in printed
        assert "visible" in printed
    for text in ('{"action": "auth", "token": "secret 1"}', '{"action": "auth", "token": ["secret"], "api_key": "x"}'):
        rejected = fault_of(text)
        assert "secret" not in "".join(traceback.format_exception(rejected)) + repr(rejected)
    assert "secret" not in repr(Credentials(token="secret-1", api_key="secret-2"))


def test_unknown_fields_are_ignored() -> None:
    """A field that means nothing here does not spoil a message, as in a REST body."""
    assert command(action="ping", sent_at="now") == Ping()


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "message"),
        ("{", "message"),
        ("null", "message"),
        ("[1]", "message"),
        ('{"action": "ping"} {}', "message"),
        ('{"action": "ping", "id": "\\ud800"}', "message"),
        ("[" * 10_000, "message"),
        ('{"action": "ping", "deep": ' + "[" * 10_000, "message"),
        ("{}", "action"),
        ('{"action": null}', "action"),
        ('{"action": "Subscribe"}', "action"),
        ('{"action": "subscribe", "symbol": "A-B"}', "channel"),
        ('{"action": "subscribe", "channel": "trades", "symbol": "A-B"}', "channel"),
        ('{"action": "subscribe", "channel": "market"}', "symbols"),
        ('{"action": "subscribe", "channel": "market", "symbols": []}', "symbols"),
        ('{"action": "subscribe", "channel": "market", "symbols": [1]}', "symbols"),
        ('{"action": "subscribe", "channel": "market", "symbol": ["A-B"]}', "symbol"),
        ('{"action": "subscribe", "channel": "orderbook", "symbol": "A-B", "depth": 0}', "depth"),
        ('{"action": "subscribe", "channel": "orderbook", "symbol": "A-B", "depth": "10"}', "depth"),
        ('{"action": "subscribe", "channel": "candles", "symbol": "A-B", "interval": "4h"}', "interval"),
        ('{"action": "subscribe", "channel": "candles", "symbol": "A-B", "resume": {"A-B": 1}}', "resume"),
        ('{"action": "subscribe", "channel": "market", "symbol": "A-B", "resume": {"A-B": -1}}', "resume"),
        ('{"action": "subscribe", "channel": "positions", "symbol": "A-B"}', "symbols"),
        ('{"action": "subscribe", "channel": "positions", "symbols": ["A-B"]}', "symbols"),
        ('{"action": "subscribe", "channel": "positions", "resume": {"": 1}}', "resume"),
        ('{"action": "unsubscribe", "channel": "positions", "symbol": "A-B"}', "symbols"),
        ('{"action": "unsubscribe", "channel": "market"}', "symbols"),
        ('{"action": "heartbeat"}', "seconds"),
        ('{"action": "heartbeat", "seconds": 3601}', "seconds"),
        ('{"action": "auth"}', "token"),
        ('{"action": "auth", "token": ""}', "token"),
        ('{"action": "auth", "token": "a\\n"}', "token"),
        ('{"action": "auth", "token": {}}', "token"),
        ('{"action": "auth", "token": "a", "api_key": "b c"}', "api_key"),
        ('{"action": "ping", "id": 1.5}', "id"),
        ('{"action": "ping", "id": 9223372036854775808}', "id"),
        ('{"action": "ping", "id": ' + "9" * 16_000 + "}", "id"),
        ('{"action": "ping", "id": "' + "x" * 129 + '"}', "id"),
    ],
)
def test_what_is_wrong_is_named_by_its_field(text: str, field: str) -> None:
    """Every malformed message is REQUEST_001 and names the field at fault, in both languages."""
    rejected = fault_of(text)
    assert rejected.error.entry.reason == "REQUEST_001"
    assert [fault.field for fault in rejected.error.faults] == [field]
    for language in ("en", "ko"):
        assert field in rejected.error.message(language)


def test_a_rejection_repeats_id_and_channel_where_it_can() -> None:
    """Whatever else is wrong with a message, its id and channel come back, unless it is they that are wrong."""
    rejected = fault_of('{"action": "subscribe", "channel": "market", "id": "a", "symbols": 1}')
    assert (rejected.request_id, rejected.channel) == ("a", "market")
    rejected = fault_of('{"action": "subscribe", "channel": ["x"], "id": true}')
    assert (rejected.request_id, rejected.channel) == (None, None)


def test_too_many_symbols_in_one_message() -> None:
    """More symbols than one message may name are LIMIT_002, counted without repetitions."""
    parse('{"action": "subscribe", "channel": "market", "symbols": ["A-B", "A-B", "C-D"]}', symbols_max=2)
    rejected = fault_of('{"action": "subscribe", "channel": "market", "symbols": ["A-B", "C-D", "E-F"]}', symbols_max=2)
    assert rejected.error.entry.reason == "LIMIT_002"


FIELDS = st.sampled_from(["action", "token", "channel", "symbol", "symbols", "depth", "id", "resume"])
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(FIELDS | st.text(), inner),
)


@given(st.text() | ANY_JSON.map(json.dumps))
def test_no_text_does_anything_but_parse_or_be_rejected(text: str) -> None:
    """Whatever a client sends, the outcome is a command, or a rejection that can be printed."""
    outcome: object
    try:
        outcome = parse(text, symbols_max=100)
    except Rejected as rejected:
        outcome = json.loads(protocol.rejection(rejected, "ko"))["type"]
    assert outcome == "error" or isinstance(outcome, Subscribe | Unsubscribe | List | Ping | Heartbeat | Auth)


@pytest.mark.parametrize("symbol", ["BTC-USDT", "A-B", "1INCH-USDT", "A" * 20 + "-" + "B" * 20])
def test_well_formed_symbols(symbol: str) -> None:
    """BASE-QUOTE in capitals and digits is well-formed."""
    assert protocol.symbol_fault(symbol) is None


@pytest.mark.parametrize(
    "symbol", ["", "BTC", "btc-usdt", "BTC-USDT,ETH-USDT", "BTC-USDT\n", "BTC_USDT", "A" * 21 + "-B", "비트-원"]
)
def test_malformed_symbols(symbol: str) -> None:
    """Anything else is MARKET_001, above all what the engine would take for several symbols."""
    fault = protocol.symbol_fault(symbol)
    assert fault is not None
    assert (fault.entry.reason, fault.entry.http) == ("MARKET_001", 400)


def test_data_prints_as_the_specification_has_it() -> None:
    """The asked-for fields come first, in order, as strings; whole seconds print without a fraction."""
    update = market_pb2.PriceUpdate(symbol="BTC-USDT", price="65432.10", volume="1.23", seq=2**53)
    update.timestamp.FromMilliseconds(1_711_013_400_123)
    assert protocol.price(update) == (
        b'{"symbol":"BTC-USDT","price":"65432.10","timestamp":"2024-03-21T09:30:00.123Z","volume":"1.23",'
        b'"channel":"market","seq":9007199254740992}'
    )
    update.timestamp.FromMilliseconds(1_711_013_400_000)
    assert b'"timestamp":"2024-03-21T09:30:00Z"' in protocol.price(update)


def test_an_empty_side_of_a_book_prints_as_an_empty_list() -> None:
    """A book with one side is printed with both."""
    book = market_pb2.GetOrderBookResponse(symbol="A-B", seq=1, checksum=7)
    level = ListValue()
    level.extend(["1.5", "2"])
    book.bids.append(level)
    printed = json.loads(protocol.book(book, 3))
    assert (printed["bids"], printed["asks"], printed["depth"]) == ([["1.5", "2"]], [], 3)


def test_acknowledgement_of_a_subscribe() -> None:
    """An acknowledgement reports each symbol on its own, and `resumed` only where that was asked."""
    parsed = Subscribe(id="a", channel="market", symbols=["A-B", "C-D", "x"])
    results = [Result("A-B", seq=5), Result("C-D", resumed=False, seq=9), Result("x", protocol.symbol_fault("x"))]
    printed = json.loads(protocol.selection_ack(parsed, results, "en"))
    assert list(printed) == ["type", "id", "action", "channel", "results"]
    assert printed["results"][0] == {"symbol": "A-B", "status": "ok", "seq": 5}
    assert printed["results"][1] == {"symbol": "C-D", "status": "ok", "resumed": False, "seq": 9}
    assert printed["results"][2]["error"]["details"][0]["reason"] == "MARKET_001"


def test_answers_without_id_carry_none() -> None:
    """Where the client gave no id, the answer has no such field."""
    now = datetime(2024, 3, 21, 9, 30, tzinfo=UTC)
    assert json.loads(protocol.pong(Ping(), now)) == {"type": "pong", "timestamp": "2024-03-21T09:30:00Z"}
    assert json.loads(protocol.subscriptions(List(), [])) == {"type": "subscriptions", "subscriptions": []}
    assert json.loads(protocol.heartbeat(now)) == {"type": "heartbeat", "timestamp": "2024-03-21T09:30:00Z"}


def test_an_error_is_the_rest_body_and_what_it_is_about() -> None:
    """An error carries code, message and details at the top level, beside type, id, channel and symbol."""
    printed = json.loads(
        protocol.error(EntasisError("SYMBOL_UNKNOWN", symbol="X-Y"), "en", request_id=0, channel="market", symbol="X-Y")
    )
    assert list(printed) == ["type", "id", "channel", "symbol", "code", "message", "details"]
    assert (printed["id"], printed["code"], printed["message"]) == (0, 5, "Unknown symbol 'X-Y'")


def test_words_inside_a_korean_message_are_korean_too() -> None:
    """What a message is filled with is translated; the metadata, which programs read, is not."""
    printed = json.loads(protocol.error(protocol.too_many(50, protocol.MESSAGES_PER_SECOND), "ko"))
    assert printed["message"] == "한도 초과: 초당 메시지 최대 50"
    assert printed["details"][0]["metadata"] == {"limit": "50", "what": "messages per second"}


def test_the_engines_status_is_repeated_word_for_word_in_english() -> None:
    """What the engine says reaches an English client as it is."""
    status = EntasisError("SYMBOL_UNKNOWN", symbol="X-Y").status()
    status.message = "in the engine's own words"
    assert protocol.in_language(status, "en") is status


def test_the_engines_status_is_translated_where_the_catalogue_has_the_words() -> None:
    """A Korean client reads a known failure in Korean, and an unknown one as the engine said it."""
    known = protocol.in_language(EntasisError("SYMBOL_UNKNOWN", symbol="X-Y").status(), "ko")
    assert known.message == "알 수 없는 심볼입니다: 'X-Y'"
    for case in ("KEY_ENDED", "TOKEN_EXPIRED"):  # which share their reason with others
        error = EntasisError(case)
        assert protocol.in_language(error.status(), "ko").message == error.message("ko")
        assert protocol.in_language(error.status("ko"), "ko").message == error.message("ko")
    unknown = status_pb2.Status(code=5, message="something new")
    assert protocol.in_language(unknown, "ko") == unknown
