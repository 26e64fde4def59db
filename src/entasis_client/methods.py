"""The RPCs of the contract that the client calls.

The generated stubs take neither metadata nor deadlines (betterproto2 0.10, `client_generation=sync`), so their paths
and message types are named here instead; a test holds them to the contract.
"""

from __future__ import annotations

from entasis_betterproto.entasis.access import v1 as access
from entasis_betterproto.entasis.analysis import v1 as analysis
from entasis_betterproto.entasis.market import v1 as market
from entasis_betterproto.entasis.portfolio import v1 as portfolio
from entasis_client.calls import Method

_MARKET = "/entasis.market.v1.MarketService"
_PORTFOLIO = "/entasis.portfolio.v1.PortfolioService"
_ANALYSIS = "/entasis.analysis.v1.AnalysisService"

GET_PRICE = Method(f"{_MARKET}/GetPrice", market.GetPriceRequest, market.GetPriceResponse)
LIST_PRICES = Method(f"{_MARKET}/ListPrices", market.ListPricesRequest, market.ListPricesResponse)
GET_HISTORY = Method(f"{_MARKET}/GetHistory", market.GetHistoryRequest, market.GetHistoryResponse)
GET_ORDER_BOOK = Method(f"{_MARKET}/GetOrderBook", market.GetOrderBookRequest, market.GetOrderBookResponse)
LIST_INSTRUMENTS = Method(f"{_MARKET}/ListInstruments", market.ListInstrumentsRequest, market.ListInstrumentsResponse)
STREAM_PRICES = Method(f"{_MARKET}/StreamPrices", market.StreamPricesRequest, market.StreamPricesResponse)
STREAM_ORDER_BOOKS = Method(
    f"{_MARKET}/StreamOrderBooks", market.StreamOrderBooksRequest, market.StreamOrderBooksResponse
)
STREAM_CANDLES = Method(f"{_MARKET}/StreamCandles", market.StreamCandlesRequest, market.StreamCandlesResponse)

LIST_POSITIONS = Method(f"{_PORTFOLIO}/ListPositions", portfolio.ListPositionsRequest, portfolio.ListPositionsResponse)
GET_POSITION = Method(f"{_PORTFOLIO}/GetPosition", portfolio.GetPositionRequest, portfolio.GetPositionResponse)
CREATE_POSITION = Method(
    f"{_PORTFOLIO}/CreatePosition", portfolio.CreatePositionRequest, portfolio.CreatePositionResponse
)
CLOSE_POSITION = Method(f"{_PORTFOLIO}/ClosePosition", portfolio.ClosePositionRequest, portfolio.ClosePositionResponse)
STREAM_POSITIONS = Method(
    f"{_PORTFOLIO}/StreamPositions", portfolio.StreamPositionsRequest, portfolio.StreamPositionsResponse
)
GET_BALANCE = Method(f"{_PORTFOLIO}/GetBalance", portfolio.GetBalanceRequest, portfolio.GetBalanceResponse)
LIST_TRADES = Method(f"{_PORTFOLIO}/ListTrades", portfolio.ListTradesRequest, portfolio.ListTradesResponse)
LIST_LEDGER_ENTRIES = Method(
    f"{_PORTFOLIO}/ListLedgerEntries", portfolio.ListLedgerEntriesRequest, portfolio.ListLedgerEntriesResponse
)

GET_PREDICTION = Method(f"{_ANALYSIS}/GetPrediction", analysis.GetPredictionRequest, analysis.GetPredictionResponse)
GET_RISK = Method(f"{_ANALYSIS}/GetRisk", analysis.GetRiskRequest, analysis.GetRiskResponse)
GET_PORTFOLIO_RISK = Method(
    f"{_ANALYSIS}/GetPortfolioRisk", analysis.GetPortfolioRiskRequest, analysis.GetPortfolioRiskResponse
)
GET_ACCURACY = Method(f"{_ANALYSIS}/GetAccuracy", analysis.GetAccuracyRequest, analysis.GetAccuracyResponse)
LIST_MODELS = Method(f"{_ANALYSIS}/ListModels", analysis.ListModelsRequest, analysis.ListModelsResponse)

ISSUE_TOKEN = Method("/entasis.access.v1.AccessService/IssueToken", access.IssueTokenRequest, access.IssueTokenResponse)
