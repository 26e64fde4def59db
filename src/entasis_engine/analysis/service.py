"""The gRPC servicer of the analysis: decode, one call, encode."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from entasis.analysis.v1 import analysis_pb2 as pb
from entasis_engine.analysis import wire
from entasis_engine.analysis.accuracies import Accuracies
from entasis_engine.analysis.analyst import Analyst
from entasis_engine.analysis.forecasting import MODELS, TIMEFRAMES
from entasis_engine.analysis.portfolio import PortfolioAnalyst
from entasis_engine.analysis.records import PredictionsUnavailableError
from entasis_engine.analysis.shelf import Shelf
from entasis_engine.calls import Call
from entasis_engine.errors import EntasisError
from entasis_engine.market.instruments import Instruments
from entasis_engine.protobuf import timestamp

TIMEFRAME_DEFAULT = "1h"
MODEL_DEFAULT = "ensemble"
DAYS_DEFAULT = 90


class AnalysisService:
    """Serves `entasis.analysis.v1.AnalysisService`. Requests come validated."""

    DESCRIPTOR = pb.DESCRIPTOR.services_by_name["AnalysisService"]

    def __init__(
        self,
        analyst: Analyst,
        portfolio: PortfolioAnalyst,
        accuracies: Accuracies,
        shelf: Shelf,
        instruments: Instruments,
        training: Callable[[], pb.Training],
        *,
        market_now: Callable[[], datetime],
    ) -> None:
        self._analyst = analyst
        self._portfolio = portfolio
        self._accuracies = accuracies
        self._shelf = shelf
        self._instruments = instruments
        self._training = training
        self._market_now = market_now

    async def get_prediction(self, request: pb.GetPredictionRequest, call: Call) -> bytes:
        return await self._analyst.prediction(
            request.symbol, request.timeframe or TIMEFRAME_DEFAULT, request.model or MODEL_DEFAULT
        )

    async def get_risk(self, request: pb.GetRiskRequest, call: Call) -> bytes:
        return await self._analyst.risk(request.symbol)

    async def get_portfolio_risk(self, request: pb.GetPortfolioRiskRequest, call: Call) -> pb.GetPortfolioRiskResponse:
        if call.principal is None:  # the contract asks for a scope, so there is one
            raise EntasisError("CREDENTIAL_MISSING")
        return await self._portfolio.risk(call.principal.account)

    async def get_accuracy(self, request: pb.GetAccuracyRequest, call: Call) -> pb.GetAccuracyResponse:
        instrument = self._instruments.require(request.symbol)
        now = self._market_now()
        response = pb.GetAccuracyResponse(symbol=instrument.symbol, timestamp=timestamp(now))
        for timeframe in [request.timeframe] if request.timeframe else TIMEFRAMES:
            for model in [request.model] if request.model else MODELS:
                try:
                    found = await self._accuracies.of(
                        instrument.symbol, timeframe, model, days=request.days or DAYS_DEFAULT, now=now
                    )
                except PredictionsUnavailableError:
                    raise EntasisError("UNAVAILABLE") from None
                response.accuracies.append(wire.accuracy(found, instrument))
        return response

    def list_models(self, request: pb.ListModelsRequest, call: Call) -> pb.ListModelsResponse:
        return pb.ListModelsResponse(
            models=[wire.model(timeframe, one) for timeframe, one in self._shelf.all.items()],
            training=self._training(),
        )
