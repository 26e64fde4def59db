"""Every rule of the contract has words, in every language."""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import Formatter
from typing import Any, get_args

import protovalidate
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from buf.validate import validate_pb2
from entasis.analysis.v1 import analysis_pb2
from entasis.market.v1 import market_pb2 as pb
from entasis.portfolio.v1 import portfolio_pb2
from entasis_engine.errors import EntasisError, Language
from entasis_engine.rpc.violations import FAULTS_MAX, QUOTED_CHARACTERS_MAX, WORDS, refusal

LANGUAGES: tuple[Language, ...] = get_args(Language)


def _ids_of(rules: Any) -> Iterator[str]:
    """Ids of the rules that are set, as protovalidate names them."""
    for kind, of_kind in rules.ListFields():
        if kind.name == "cel":
            yield from (one.id for one in of_kind)
        elif kind.type == FieldDescriptor.TYPE_MESSAGE:
            names = [name.name for name, _ in of_kind.ListFields()]
            for name in names:
                if name in {"items", "keys", "values"}:
                    yield from _ids_of(getattr(of_kind, name))
                elif name == "gte" and "lte" in names:
                    yield f"{kind.name}.gte_lte"
                elif not (name == "lte" and "gte" in names):
                    yield f"{kind.name}.{name}"


def _rule_ids(message: Descriptor) -> Iterator[str]:
    yield from _ids_of(message.GetOptions().Extensions[validate_pb2.message])
    for field in message.fields:
        yield from _ids_of(field.GetOptions().Extensions[validate_pb2.field])


MESSAGES = [
    message for file in (pb, portfolio_pb2, analysis_pb2) for message in file.DESCRIPTOR.message_types_by_name.values()
]
RULES = sorted({rule for message in MESSAGES for rule in _rule_ids(message)})


def test_the_rules_of_the_contract_are_found() -> None:
    """The rules that are looked through are really those of the contract."""
    assert {"string.pattern", "string.in", "timestamp.gte_lte", "start.not_after_end", "int32.gte_lte"} <= set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_words(rule: str) -> None:
    """Each rule of the contract has words in each language, with the same placeholders."""
    assert set(WORDS[rule]) == set(LANGUAGES)
    english, korean = (
        {name for _, name, _, _ in Formatter().parse(WORDS[rule][language]) if name} for language in LANGUAGES
    )
    assert english >= korean
    assert re.search("[가-힣]", WORDS[rule]["ko"])


def test_no_words_are_without_a_rule() -> None:
    """Words that no rule uses any more are gone."""
    assert set(WORDS) <= set(RULES)


# Requests that break each rule: the fields at fault, and the words that must be in the message.
BROKEN: list[tuple[Message, list[str], str]] = [
    (pb.GetPriceRequest(symbol="btc-usdt"), ["symbol"], "'btc-usdt'"),
    (pb.GetPriceRequest(), ["symbol"], "''"),
    (pb.ListPricesRequest(symbols=["BTC-USDT", "x"]), ["symbols[1]"], "'x'"),
    (pb.ListPricesRequest(symbols=["BTC-USDT,"]), ["symbols[0]"], "''"),
    (pb.ListPricesRequest(symbols=["BTC-USDT,btc"]), ["symbols[0]"], "'btc'"),
    (pb.ListPricesRequest(symbols=["A-B"] * 101), ["symbols"], "100"),
    (pb.StreamPricesRequest(), ["symbols"], "1"),
    (
        pb.StreamPricesRequest(symbols=["A-B"], resume_after={str(one): 1 for one in range(101)}),
        ["resume_after"],
        "100",
    ),
    (pb.GetHistoryRequest(symbol="A-B", interval="2h"), ["interval"], "1m, 5m, 1h, 1d"),
    (pb.GetHistoryRequest(symbol="A-B", page_size=-1), ["page_size"], "-1"),
    (pb.GetHistoryRequest(symbol="A-B", page_token="x" * 257), ["page_token"], "256"),
    (pb.GetHistoryRequest(symbol="A-B", start=Timestamp(seconds=-1)), ["start"], "1970-01-01T00:00:00Z"),
    (pb.GetHistoryRequest(symbol="A-B", end=Timestamp(seconds=253_402_300_800)), ["end"], "9999-12-31T23:59:59Z"),
    (
        pb.GetHistoryRequest(symbol="A-B", start=Timestamp(seconds=2), end=Timestamp(seconds=1)),
        ["start"],
        "end",
    ),
    (pb.GetOrderBookRequest(symbol="A-B", depth=0), ["depth"], "100"),
    (pb.GetOrderBookRequest(symbol="A-B", depth=101), ["depth"], "101"),
    (pb.GetHistoryRequest(symbol="x", interval="2h", page_size=-1), ["symbol", "interval", "page_size"], "BTC-USDT"),
    (
        portfolio_pb2.CreatePositionRequest(symbol="A-B", size="{1}", type="long"),
        ["size"],
        "'{1}'",
    ),
]


def _refusal(request: Message) -> EntasisError:
    return refusal(protovalidate.collect_violations(request))


@pytest.mark.parametrize(("request_", "fields", "words"), BROKEN)
def test_a_broken_rule_names_its_field(request_: Message, fields: list[str], words: str) -> None:
    """Breaking a rule names the field at fault and what would be right, in both languages."""
    error = _refusal(request_)
    assert [fault.field for fault in error.faults] == fields
    for language in LANGUAGES:
        assert any(words in fault.messages[language] for fault in error.faults), error.message(language)
        assert not any(name in error.message(language) for name in ("{value}", "{rule}", "{message}"))
        assert bool(re.search("[가-힣]", error.faults[0].messages[language])) == (language == "ko")


@pytest.mark.parametrize(
    ("request_", "reason", "symbol"),
    [
        (pb.GetPriceRequest(symbol="x"), "MARKET_001", "x"),
        (pb.StreamPricesRequest(symbols=["A-B", "y"]), "MARKET_001", "y"),
        (pb.GetHistoryRequest(symbol="A-B", interval="2h"), "REQUEST_001", None),
        (pb.GetHistoryRequest(symbol="x", interval="2h"), "MARKET_001", "x"),
        (pb.StreamPricesRequest(), "REQUEST_001", None),
    ],
)
def test_a_malformed_symbol_is_its_own_reason(request_: Message, reason: str, symbol: str | None) -> None:
    """A symbol of another form is MARKET_001 and named; any other fault is REQUEST_001."""
    error = _refusal(request_)
    assert error.entry.reason == reason
    assert error.metadata.get("symbol") == symbol


def test_what_is_quoted_is_bounded() -> None:
    """Neither a long value nor many faults make an error larger than a response's trailers may be."""
    error = _refusal(pb.ListPricesRequest(symbols=["한" * 4000] * 100))
    assert len(error.faults) == FAULTS_MAX
    assert len(error.metadata["symbol"]) == QUOTED_CHARACTERS_MAX
    for language in LANGUAGES:
        assert len(error.status(language).SerializeToString()) < 5000


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("request_", "field", "words"),
    [
        (portfolio_pb2.CreatePositionRequest(symbol="BTC-USDT", size="abc", type="long"), "size", "0.5"),
        (
            portfolio_pb2.CreatePositionRequest(symbol="BTC-USDT", size="1", type="long", leverage="x"),
            "leverage",
            "0.5",
        ),
        (portfolio_pb2.ClosePositionRequest(position_id="pos_1", size="1,5"), "size", "18"),
        (portfolio_pb2.GetPositionRequest(position_id="7"), "position_id", "pos_01"),
    ],
)
def test_a_pattern_is_told_in_words(request_: Message, field: str, words: str, language: Language) -> None:
    """Whoever sends a letter in a number reads what a number looks like, and no regular expression."""
    [fault] = refusal(protovalidate.collect_violations(request_)).faults
    assert fault.field == field
    description = fault.messages[language]
    assert words in description
    assert "[0-9]" not in description
