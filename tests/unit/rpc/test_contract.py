"""What is read from the contract: decoding, and what REST may not say."""

from __future__ import annotations

import pytest

from entasis.market.v1 import market_pb2 as pb
from entasis.portfolio.v1 import portfolio_pb2
from entasis.web.v1 import web_pb2
from entasis_engine.errors import EntasisError
from entasis_engine.rpc.contract import CACHED_REQUEST_BYTES_MAX, QueryRules, decoder, snake_case

METHODS = pb.DESCRIPTOR.services_by_name["MarketService"].methods_by_name


def _faults(error: EntasisError) -> list[str]:
    return [fault.field for fault in error.faults]


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_garbage_is_refused_in_words(method: object) -> None:
    """Bytes that are no request are REQUEST_001 naming the message that they should have been, however many."""
    decode = decoder(method)  # type: ignore[arg-type]
    for garbage in (b"\xff\xff\xff", b"\x0a\x05ab", b"\xff" * (CACHED_REQUEST_BYTES_MAX + 1), b"\x0a\x02\xff\xfe"):
        if method.name == "ListInstruments" and garbage.startswith(b"\x0a"):  # type: ignore[attr-defined]
            continue  # it has no field that these bytes could break
        with pytest.raises(EntasisError) as refused:
            decode(garbage)
        assert refused.value.entry.reason == "REQUEST_001"
        assert _faults(refused.value) == ["body"]
        assert f"{method.name}Request" in refused.value.message("ko")  # type: ignore[attr-defined]


def test_a_request_is_decoded_and_remembered() -> None:
    """A valid request is decoded, and the same bytes give the same request without decoding them again."""
    decode = decoder(METHODS["GetPrice"])
    encoded = pb.GetPriceRequest(symbol="BTC-USDT").SerializeToString()
    assert decode(encoded) == pb.GetPriceRequest(symbol="BTC-USDT")
    assert decode(encoded) is decode(bytes(encoded))


def test_a_large_request_is_decoded_and_not_remembered() -> None:
    """Large requests seldom repeat, so they take no memory."""
    decode = decoder(METHODS["ListPrices"])
    encoded = pb.ListPricesRequest(symbols=["BTC-USDT"] * 50).SerializeToString()
    assert len(encoded) > CACHED_REQUEST_BYTES_MAX
    assert decode(encoded) == decode(encoded)
    assert decode(encoded) is not decode(encoded)


def test_a_refusal_is_the_same_each_time() -> None:
    """An invalid request is refused again when it comes again."""
    decode = decoder(METHODS["GetPrice"])
    for _ in range(2):
        with pytest.raises(EntasisError, match="SYMBOL_MALFORMED"):
            decode(pb.GetPriceRequest(symbol="btc").SerializeToString())


PRICE = QueryRules(METHODS["GetPrice"])
HISTORY = QueryRules(METHODS["GetHistory"])
PRICES = QueryRules(METHODS["ListPrices"])


@pytest.mark.parametrize(
    ("rules", "path"),
    [
        (PRICE, "/api/v1/market/price/BTC-USDT"),
        (PRICE, "/api/v1/market/price/BTC-USDT?"),
        (PRICE, "/api/v1/market/price/BTC-USDT?symbol=BTC-USDT"),
        (PRICE, "/api/v1/market/price/BTC%2DUSDT?symbol=BTC-USDT"),
        (HISTORY, "/v1/market/history/BTC-USDT?interval=1h&start=2024-03-21T09:00:00Z"),
        (HISTORY, "/v1/market/history/BTC-USDT?interval=1h&interval=1h"),
        (PRICES, "/api/v1/market/prices?symbols=BTC-USDT&symbols=ETH-USDT"),
    ],
)
def test_what_is_clear_passes(rules: QueryRules, path: str) -> None:
    """A query that agrees with the path, repeats itself, or repeats a field of many values, passes."""
    rules.check(path)


@pytest.mark.parametrize("base", ["/api/v1", "/v1"])
def test_a_query_may_not_contradict_the_path(base: str) -> None:
    """A symbol in the query that is not that of the path is REQUEST_001, on both base paths, and both are quoted."""
    with pytest.raises(EntasisError) as refused:
        PRICE.check(f"{base}/market/price/BTC-USDT?symbol=ETH-USDT")
    assert _faults(refused.value) == ["symbol"]
    for language in ("en", "ko"):
        assert "'ETH-USDT'" in refused.value.message(language)  # type: ignore[arg-type]
        assert "'BTC-USDT'" in refused.value.message(language)  # type: ignore[arg-type]


@pytest.mark.parametrize("query", ["interval=1h&interval=1d", "interval=1h&interval=", "page_size=1&page_size=2"])
def test_a_single_value_may_not_be_given_twice(query: str) -> None:
    """A field of one value that is given two is REQUEST_001 naming it."""
    with pytest.raises(EntasisError) as refused:
        HISTORY.check(f"/api/v1/market/history/BTC-USDT?{query}")
    assert _faults(refused.value) == [query.partition("=")[0]]


def test_what_is_quoted_is_short() -> None:
    """A very long value is quoted only in part, so that the error fits into a response's headers."""
    with pytest.raises(EntasisError) as refused:
        PRICE.check("/v1/market/price/BTC-USDT?symbol=" + "x" * 10_000)
    assert len(refused.value.message()) < 300


@pytest.mark.parametrize(
    ("name", "expected"), [("GetPrice", "get_price"), ("ListInstruments", "list_instruments"), ("Get", "get")]
)
def test_snake_case(name: str, expected: str) -> None:
    """RPC names become method names."""
    assert snake_case(name) == expected


def test_a_path_variable_with_a_template_of_its_own_is_read_as_the_transcoder_reads_it() -> None:
    """`{path=docs/*}` takes one part more, no two; what the query says of it must agree."""
    method = web_pb2.DESCRIPTOR.services_by_name["WebService"].methods_by_name["GetAsset"]
    rules = QueryRules(method)
    for path in (
        "/?path=docs",
        "/docs?path=docs",
        "/docs/start.js?path=docs/start.js",
        "/console/app.js?path=console/app.js",
    ):
        rules.check(path)
    for path in ("/docs?path=docs/start.js", "/docs/start.js?path=docs", "/docs/a/b?path=docs/a/b"):
        with pytest.raises(EntasisError) as refused:
            rules.check(path)
        assert _faults(refused.value) == ["path"]


@pytest.mark.parametrize("path", ["/api/v1/portfolio/positions?size=0.03", "/v1/portfolio/positions?leverage=2"])
def test_what_belongs_into_the_body_is_refused_in_the_query(path: str) -> None:
    """Where the body is the whole request, a parameter would change what is traded, or be left out without a word."""
    service = portfolio_pb2.DESCRIPTOR.services_by_name["PortfolioService"]
    with pytest.raises(EntasisError) as refused:
        QueryRules(service.methods_by_name["CreatePosition"]).check(path)
    assert refused.value.entry.reason == "REQUEST_001"
    close = QueryRules(service.methods_by_name["ClosePosition"])
    with pytest.raises(EntasisError):
        close.check("/v1/portfolio/positions/pos_1:close?size=0.1")
    close.check("/v1/portfolio/positions/pos_1?size=0.1")  # by DELETE, which has no body
