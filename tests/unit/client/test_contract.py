"""The client holds to the contract: paths, messages, and every field of every answer."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, get_type_hints

import pytest
from google.protobuf.struct_pb2 import ListValue
from google.rpc import error_details_pb2, status_pb2

from entasis.access.v1 import access_pb2
from entasis.analysis.v1 import analysis_pb2
from entasis.market.v1 import market_pb2
from entasis.portfolio.v1 import portfolio_pb2
from entasis_betterproto.entasis.analysis import v1 as analysis
from entasis_betterproto.entasis.market import v1 as market
from entasis_betterproto.entasis.portfolio import v1 as portfolio
from entasis_client import details, methods, results
from entasis_client.calls import Method
from entasis_client.results import taken

METHODS = {name: one for name, one in vars(methods).items() if isinstance(one, Method)}
NOT_FOR_CLIENTS = {"OpenSession", "ListEndedSessions", "NoteRefusals"}
"""They are between the parts of the engine."""
NOW = datetime(2026, 1, 1, 12, 0, 0, 123000, tzinfo=UTC)

SHAPES: dict[type[Any], Any] = {
    results.Price: market_pb2.GetPriceResponse,
    results.SymbolFailure: market_pb2.SymbolFailure,
    results.Prices: market_pb2.ListPricesResponse,
    results.Candle: market_pb2.Candle,
    results.OrderBook: market_pb2.GetOrderBookResponse,
    results.Instrument: market_pb2.Instrument,
    results.PriceUpdate: market_pb2.PriceUpdate,
    results.CandleUpdate: market_pb2.CandleUpdate,
    results.FeedInterruption: market_pb2.FeedInterruption,
    results.Opened: portfolio_pb2.CreatePositionResponse,
    results.Closed: portfolio_pb2.ClosePositionResponse,
    results.Position: portfolio_pb2.Position,
    results.PositionUpdate: portfolio_pb2.PositionUpdate,
    results.Balance: portfolio_pb2.Balance,
    results.Trade: portfolio_pb2.Trade,
    results.LedgerEntry: portfolio_pb2.LedgerEntry,
    results.PredictionInterval: analysis_pb2.PredictionInterval,
    results.Prediction: analysis_pb2.GetPredictionResponse,
    results.Risk: analysis_pb2.GetRiskResponse,
    results.PositionRisk: analysis_pb2.PositionRisk,
    results.CurrencyRisk: analysis_pb2.CurrencyRisk,
    results.PortfolioRisk: analysis_pb2.GetPortfolioRiskResponse,
    results.Coverage: analysis_pb2.Coverage,
    results.Accuracy: analysis_pb2.Accuracy,
    results.Accuracies: analysis_pb2.GetAccuracyResponse,
    results.Model: analysis_pb2.Model,
    results.Training: analysis_pb2.Training,
    results.Models: analysis_pb2.ListModelsResponse,
    results.Token: access_pb2.IssueTokenResponse,
}


def test_every_rpc_is_there() -> None:
    """Each RPC that callers may use has a method of the client's, with its path and its messages."""
    expected = {
        f"/{service.full_name}/{method.name}": (method.input_type.name, method.output_type.name)
        for module in (market_pb2, portfolio_pb2, analysis_pb2, access_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if method.name not in NOT_FOR_CLIENTS
    }
    assert {one.path: (one.request.__name__, one.response.__name__) for one in METHODS.values()} == expected


@pytest.mark.parametrize("result", SHAPES)
def test_a_result_has_the_fields_of_its_message(result: type[Any]) -> None:
    """By name and in order, decimals as Decimal: what the contract gains is missed here first."""
    descriptor = SHAPES[result].DESCRIPTOR
    assert [field.name for field in fields(result)] == [field.name for field in descriptor.fields]
    hints = get_type_hints(result)
    for field in descriptor.fields:
        hint = hints[field.name]
        if field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp":
            assert hint in (datetime, datetime | None), field.name
        elif field.type == field.TYPE_DOUBLE:
            assert hint in (float, float | None), field.name
        elif field.type == field.TYPE_STRING and not field.is_repeated:
            assert hint in (str, Decimal, Decimal | None), field.name


def test_every_field_of_a_request_is_checked_before_it_is_sent() -> None:
    """Text and numbers are what callers give; times are checked by `aware`, and the client makes maps itself."""
    types = {field.metadata["betterproto"].proto_type for one in METHODS.values() for field in fields(one.request)}
    assert types <= {"string", "int32", "message", "map"}


def test_every_result_is_held_to_a_message() -> None:
    """No result is left out above but Level, which is a pair."""
    named = {one for one in vars(results).values() if hasattr(one, "__dataclass_fields__")}
    assert named == set(SHAPES)


@pytest.mark.parametrize(
    ("ours", "google"),
    [
        (details.Status, status_pb2.Status),
        (details.ErrorInfo, error_details_pb2.ErrorInfo),
        (details.BadRequest, error_details_pb2.BadRequest),
        (details.FieldViolation, error_details_pb2.BadRequest.FieldViolation),
        (details.RetryInfo, error_details_pb2.RetryInfo),
    ],
)
def test_the_messages_of_errors_are_those_of_google(ours: type[Any], google: Any) -> None:
    """Each field that is read has its number and its type: what one writes the other reads."""
    for field in fields(ours):
        assert google.DESCRIPTOR.fields_by_name[field.name].number == field.metadata["betterproto"].number
    assert google.FromString(bytes(ours())) == google()


def test_decimals_are_those_that_were_sent() -> None:
    """Every digit, trailing zeros too; times are aware; what may be empty is None."""
    message = portfolio_pb2.Position(
        symbol="BTC-USDT",
        size="0.000000000000000001",
        entry_price="65432.10",
        current_price="12345678901234567890.123456789012345678",
        pnl="-0.5",
        leverage="1",
        margin="1",
        realised_pnl="0.00",
        fees="0",
        status="closed",
    )
    message.timestamp.FromDatetime(NOW)
    message.open_time.FromDatetime(NOW)
    position = taken(results.Position, portfolio.Position.parse(message.SerializeToString()))
    assert str(position.entry_price) == "65432.10"
    assert position.current_price == Decimal("12345678901234567890.123456789012345678")
    assert (position.liquidation_price, position.close_time) == (None, None)
    assert position.timestamp == NOW
    assert position.timestamp.tzinfo is not None


def test_books_are_pairs_of_decimals() -> None:
    """Best first, as they came."""
    book = market_pb2.GetOrderBookResponse(symbol="A-B", seq=7, checksum=9)
    for price, size in (("2.10", "1"), ("2.0", "3")):
        pair = ListValue()
        pair.extend([price, size])
        book.bids.append(pair)
    book.timestamp.FromDatetime(NOW)
    result = taken(results.OrderBook, market.GetOrderBookResponse.parse(book.SerializeToString()))
    assert [(str(level.price), str(level.size)) for level in result.bids] == [("2.10", "1"), ("2.0", "3")]
    assert result.asks == ()


def test_nested_results_are_made_too() -> None:
    """Predictions have intervals, risks have positions, prices have failures with their reason by name."""
    prediction = analysis.GetPredictionResponse(
        prediction="1",
        last_price="1",
        band="0.005",
        volatility="0.1",
        confidence=0.5,
        timestamp=NOW,
        as_of=NOW,
        target_time=NOW,
        training_cutoff=NOW,
        intervals=[analysis.PredictionInterval(level=0.5, low="0.9", high="1.1")],
    )
    assert taken(results.Prediction, prediction).intervals[0].high == Decimal("1.1")
    part = analysis.PositionRisk(size="1", notional="2", var_contribution="-3", expected_shortfall_contribution="4")
    whole = analysis.CurrencyRisk(
        var_95="1", expected_shortfall="2", net_notional="3", gross_notional="4", positions=[part], as_of=NOW
    )
    risk = taken(results.PortfolioRisk, analysis.GetPortfolioRiskResponse(risks=[whole], timestamp=NOW))
    assert risk.risks[0].positions[0].var_contribution == -3
    failed = market_pb2.ListPricesResponse()
    failed.failures.add(symbol="A-B", reason=1, message="words")
    prices = taken(results.Prices, market.ListPricesResponse.parse(failed.SerializeToString()))
    assert prices.failures[0].reason == "MARKET_001"
    assert taken(results.Models, analysis.ListModelsResponse()).training is None


@pytest.mark.parametrize(
    "message",
    [
        market.GetPriceResponse(symbol="A-B", volume="1", timestamp=NOW),
        market.GetPriceResponse(symbol="A-B", volume="1", price="1"),
    ],
)
def test_what_an_answer_lacks_is_named(message: market.GetPriceResponse) -> None:
    """An answer of an engine without a field is an error that names it, and not a zero."""
    with pytest.raises(ValueError, match=r"Price\.(price|timestamp) .* older than this client"):
        taken(results.Price, message)


def test_a_token_does_not_print_itself() -> None:
    """It would end up in logs."""
    token = results.Token("secret", "Bearer", 900, NOW, (), "demo")
    assert "secret" not in repr(token)
