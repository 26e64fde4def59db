"""Forecasts and risk through the engine's own gRPC server, on a market whose past is given and whose clock is set."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from tests.support.access import make_key, sending
from tests.support.analysis import DAYS, SYMBOLS, keep_models, past
from tests.support.market import NOON, ScriptedFeed, SetClock, SetMonotonic, trade

from entasis.analysis.v1 import analysis_pb2 as pb
from entasis.analysis.v1.analysis_pb2_grpc import AnalysisServiceStub
from entasis.portfolio.v1 import portfolio_pb2
from entasis.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceStub
from entasis_engine.bootstrap import open_engine
from entasis_engine.exchanges.feed import Candle, Interval
from entasis_engine.settings import Settings

HOUR = timedelta(hours=1)


@dataclass
class Analysed:
    """An engine whose market does what it is told."""

    feed: ScriptedFeed
    clock: SetClock
    channel: grpc.aio.Channel
    address: str
    monotonic: SetMonotonic

    @property
    def stub(self) -> Any:
        return AnalysisServiceStub(self.channel)

    async def looked(self) -> None:
        """Wait until the models that there are have been loaded, or found to be none."""
        async with asyncio.timeout(30):
            while (await self.stub.ListModels(pb.ListModelsRequest())).training.state == "loading":
                await asyncio.sleep(0.01)

    async def prediction(self, **fields: str) -> pb.GetPredictionResponse:
        """A forecast, once there is one."""
        request = pb.GetPredictionRequest(**({"symbol": "BTC-USDT"} | fields))
        return await self.once_there(lambda: self.stub.GetPrediction(request))

    async def once_there(self, ask: Any) -> Any:
        async with asyncio.timeout(30):
            while True:
                try:
                    return await ask()
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
                    await asyncio.sleep(0.01)

    async def next_hour(self, close: str) -> None:
        """An hour passes, and its candle closes at a price, as the exchange tells it afterwards."""
        opened = self.clock.now.replace(minute=0, second=0)
        for symbol in SYMBOLS:
            price = Decimal(close) if symbol == "BTC-USDT" else past(symbol)[-1].close
            candle = Candle(opened, price, price + 1, price - 1, price, Decimal(3))
            self.feed.history[symbol, Interval.HOUR].append(candle)
        self.feed.give(*(trade("100", self.clock.now, symbol=symbol) for symbol in SYMBOLS))
        self.clock.now = opened + HOUR + timedelta(seconds=10)
        self.feed.give(*(trade("100", self.clock.now, symbol=symbol) for symbol in SYMBOLS))

    async def as_of(self, moment: datetime) -> pb.GetPredictionResponse:
        """A forecast, once it knows the candle that closed then."""
        async with asyncio.timeout(30):
            while True:
                answer = await self.prediction()
                if answer.as_of.ToDatetime(tzinfo=NOON.tzinfo) == moment:
                    return answer
                await asyncio.sleep(0.01)


@asynccontextmanager
async def _analysed(folder: Path, *, models: bool = True, days: int = DAYS, **settings: Any) -> AsyncIterator[Analysed]:
    clock, monotonic = SetClock(NOON + timedelta(seconds=30)), SetMonotonic()
    feed = ScriptedFeed(clock=clock)
    for symbol in SYMBOLS:
        feed.history[symbol, Interval.HOUR] = list(past(symbol))
    if models:
        keep_models(folder, feed.source)
    values: dict[str, Any] = {
        "data_dir": folder,
        "grpc_port": 0,
        "drain_seconds": 1,
        "hourly_history_days": days,
        "training": "off",
        "_env_file": None,
    }
    with tempfile.TemporaryDirectory() as short:
        async with (
            grpc.aio.insecure_channel(f"unix:{short}/s", interceptors=sending(make_key(folder))) as channel,
            open_engine(
                Settings(**values | settings),
                unix_path=f"{short}/s",
                feed=feed,
                clock=clock,
                monotonic=monotonic,
            ),
        ):
            analysed = Analysed(feed, clock, channel, f"unix:{short}/s", monotonic)
            await analysed.looked()
            yield analysed


def _problem(error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str]:
    return error.code(), dict(error.trailing_metadata() or ())["x-error-code"]


async def test_a_forecast_says_everything_that_is_specified(tmp_path: Path) -> None:
    """The answer has the specified names and types, the defaults are 1h and ensemble, and the rest belongs together."""
    async with _analysed(tmp_path) as analysed:
        answer = await analysed.prediction()
    body = json_format.MessageToDict(answer, preserving_proto_field_name=True)
    assert list(body)[:6] == ["symbol", "prediction", "confidence", "timeframe", "model", "timestamp"]
    assert (body["symbol"], body["timeframe"], body["model"]) == ("BTC-USDT", "1h", "ensemble")
    assert isinstance(body["prediction"], str)
    assert len(body["prediction"].partition(".")[2]) == 2
    assert isinstance(body["confidence"], float)
    assert 0 < body["confidence"] < 1
    assert (body["as_of"], body["target_time"]) == ("2024-03-21T12:00:00Z", "2024-03-21T13:00:00Z")
    assert body["last_price"] == f"{past('BTC-USDT')[-1].close:.2f}"
    assert body["band"] == "0.005"
    assert [one["level"] for one in body["intervals"]] == [0.5, 0.8, 0.95]
    lows, highs = zip(*((Decimal(one["low"]), Decimal(one["high"])) for one in body["intervals"]), strict=True)
    assert list(lows) == sorted(lows, reverse=True)
    assert list(highs) == sorted(highs)
    assert lows[0] <= Decimal(body["prediction"]) <= highs[0]
    assert Decimal(body["volatility"]) > 0
    assert body["training_cutoff"] == "2024-03-21T12:00:00Z"


@pytest.mark.parametrize("model", ["lstm", "ensemble"])
@pytest.mark.parametrize(("timeframe", "hours", "band"), [("1h", 1, "0.005"), ("4h", 4, "0.01"), ("1d", 24, "0.02")])
async def test_every_model_answers_at_every_horizon(
    tmp_path: Path, model: str, timeframe: str, hours: int, band: str
) -> None:
    """Each model has an answer at each horizon, with its band, and for when it is due."""
    async with _analysed(tmp_path) as analysed:
        answer = await analysed.prediction(symbol="ETH-USDT", timeframe=timeframe, model=model)
    assert (answer.timeframe, answer.model, answer.band) == (timeframe, model, band)
    assert answer.target_time.seconds - answer.as_of.seconds == hours * 3600


async def test_within_the_hour_the_answer_stays_and_then_it_is_a_new_one_and_the_old_one_is_scored(
    tmp_path: Path,
) -> None:
    """The same answer comes again until a candle closes; what was forecast is then measured against its close."""
    async with _analysed(tmp_path) as analysed:
        first = await analysed.prediction()
        analysed.clock.now += timedelta(minutes=20)
        assert await analysed.prediction() == first
        close = past("BTC-USDT")[-1].close + 40
        await analysed.next_hour(str(close))
        second = await analysed.as_of(NOON + HOUR)
        assert second.last_price == f"{close:.2f}"
        question = pb.GetAccuracyRequest(symbol="BTC-USDT", timeframe="1h", model="ensemble")
        async with asyncio.timeout(30):
            while not (found := (await analysed.stub.GetAccuracy(question)).accuracies[0]).sample_size:
                analysed.monotonic.seconds += 5.0  # figures are remembered for a minute, and prices age
                await asyncio.sleep(0.1)
    assert found.sample_size == 1
    assert Decimal(found.mean_absolute_error) == abs(Decimal(first.prediction) - close)
    assert Decimal(found.random_walk_error) == 40
    assert not found.HasField("relative_error")  # one forecast says nothing yet


async def test_without_a_forecast_the_accuracy_has_no_figures(tmp_path: Path) -> None:
    """All horizons and models are listed, with a sample of none."""
    async with _analysed(tmp_path, models=False) as analysed:
        answer = await analysed.stub.GetAccuracy(pb.GetAccuracyRequest(symbol="BTC-USDT"))
    assert [(one.timeframe, one.model) for one in answer.accuracies] == [
        (timeframe, model) for timeframe in ("1h", "4h", "1d") for model in ("lstm", "ensemble")
    ]
    assert {one.sample_size for one in answer.accuracies} == {0}


async def test_without_a_model_the_caller_is_told_when_to_try_again(tmp_path: Path) -> None:
    """AI_001 is UNAVAILABLE, with a time to retry; risk needs no model."""
    async with _analysed(tmp_path, models=False) as analysed:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await analysed.stub.GetPrediction(pb.GetPredictionRequest(symbol="BTC-USDT"))
        risk = await analysed.once_there(lambda: analysed.stub.GetRisk(pb.GetRiskRequest(symbol="BTC-USDT")))
        models = await analysed.stub.ListModels(pb.ListModelsRequest())
    assert _problem(raised.value) == (grpc.StatusCode.UNAVAILABLE, "AI_001")
    retry = error_details_pb2.RetryInfo()
    status = rpc_status.from_call(raised.value)
    assert status is not None
    assert any(detail.Unpack(retry) for detail in status.details)
    assert retry.retry_delay.seconds > 0
    assert Decimal(risk.var_95) > 0
    assert (list(models.models), models.training.state) == ([], "off")


@pytest.mark.parametrize("damage", ["none", "truncate", "flip", "remove", "manifest", "pointer"])
async def test_damaged_models_are_ai_001(tmp_path: Path, damage: str) -> None:
    """A file that is cut off, changed or gone, and a manifest that is no JSON, serve nobody: AI_001, and no stack. What
    is whole serves.
    """
    version = keep_models(tmp_path, "binance")
    folder = tmp_path / "models" / version
    file = folder / "1h" / "median.txt"
    match damage:
        case "truncate":
            file.write_bytes(file.read_bytes()[:1000])
        case "flip":
            content = bytearray(file.read_bytes())
            content[500] ^= 1
            file.write_bytes(content)
        case "remove":
            file.unlink()
        case "manifest":
            (folder / "manifest.json").write_text("{")
        case "pointer":
            (tmp_path / "models" / "current").write_text(json.dumps({"binance": "../../etc"}))
            (folder / "manifest.json").unlink()
    async with _analysed(tmp_path, models=False) as analysed:
        if damage == "none":
            await analysed.prediction()
            return
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await analysed.stub.GetPrediction(pb.GetPredictionRequest(symbol="BTC-USDT"))
    assert _problem(raised.value) == (grpc.StatusCode.UNAVAILABLE, "AI_001")
    assert "Traceback" not in str(raised.value.details())


async def test_an_earlier_version_stands_in_for_a_damaged_one(tmp_path: Path) -> None:
    """Where the newest version is damaged the one before it answers, and says so by its version."""
    before = keep_models(tmp_path, "binance")
    newest = keep_models(tmp_path, "binance", now=NOON + HOUR)
    (tmp_path / "models" / newest / "1h" / "lstm.npz").write_bytes(b"")
    async with _analysed(tmp_path, models=False) as analysed:
        assert (await analysed.prediction()).model_version == before


async def test_a_version_that_somebody_trains_meanwhile_is_taken_over(tmp_path: Path) -> None:
    """The engine finds a new version by itself and swaps it in whole."""
    async with _analysed(tmp_path, models=False, models_poll_seconds=0.05) as analysed:
        with pytest.raises(grpc.aio.AioRpcError):
            await analysed.stub.GetPrediction(pb.GetPredictionRequest(symbol="BTC-USDT"))
        version = keep_models(tmp_path, analysed.feed.source)
        assert (await analysed.prediction()).model_version == version
        models = await analysed.stub.ListModels(pb.ListModelsRequest())
    assert {one.version for one in models.models} == {version}
    assert [one.timeframe for one in models.models] == ["1h", "4h", "1d"]
    assert all(one.features and one.sample_size and list(one.symbols) == list(SYMBOLS) for one in models.models)


async def test_models_of_another_market_serve_nobody(tmp_path: Path) -> None:
    """What was trained on a simulated market is not used for a real one."""
    keep_models(tmp_path, "simulated-7")
    async with _analysed(tmp_path, models=False) as analysed:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await analysed.stub.GetPrediction(pb.GetPredictionRequest(symbol="BTC-USDT"))
    assert _problem(raised.value) == (grpc.StatusCode.UNAVAILABLE, "AI_001")


async def test_too_little_history_says_how_much_is_needed(tmp_path: Path) -> None:
    """AI_002 is FAILED_PRECONDITION where history is too short, with the hours that there are and that are needed."""
    async with _analysed(tmp_path, days=10) as analysed:
        for ask in (
            lambda: analysed.stub.GetPrediction(pb.GetPredictionRequest(symbol="BTC-USDT")),
            lambda: analysed.stub.GetRisk(pb.GetRiskRequest(symbol="BTC-USDT")),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await analysed.once_there(ask)
            assert _problem(raised.value) == (grpc.StatusCode.FAILED_PRECONDITION, "AI_002")
            assert "240 hours, and " in str(raised.value.details())


async def test_candles_that_stopped_coming_are_no_ground_for_a_forecast(tmp_path: Path) -> None:
    """Hours after the last candle, forecasts and risk are MARKET_002 rather than of the past."""
    async with _analysed(tmp_path) as analysed:
        await analysed.prediction()
        analysed.clock.now += 3 * HOUR
        for ask in (
            analysed.stub.GetPrediction(pb.GetPredictionRequest(symbol="BTC-USDT")),
            analysed.stub.GetRisk(pb.GetRiskRequest(symbol="BTC-USDT")),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await ask
            assert _problem(raised.value) == (grpc.StatusCode.UNAVAILABLE, "MARKET_002")


async def test_what_is_asked_wrongly_is_named(tmp_path: Path) -> None:
    """Bad fields are REQUEST_001, an unlisted symbol is MARKET_001."""
    async with _analysed(tmp_path) as analysed:
        for request, code in (
            (pb.GetPredictionRequest(symbol="BTC-USDT", timeframe="2h"), "REQUEST_001"),
            (pb.GetPredictionRequest(symbol="BTC-USDT", model="oracle"), "REQUEST_001"),
            (pb.GetPredictionRequest(symbol="FOO-BAR"), "MARKET_001"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await analysed.stub.GetPrediction(request)
            assert _problem(raised.value)[1] == code
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await analysed.stub.GetAccuracy(pb.GetAccuracyRequest(symbol="BTC-USDT", days=366))
        assert _problem(raised.value)[1] == "REQUEST_001"


async def test_risk_says_everything_that_is_specified(tmp_path: Path) -> None:
    """Losses are positive, expected shortfall is the larger one, and method, horizon and sample size are named."""
    async with _analysed(tmp_path) as analysed:
        answer = await analysed.once_there(lambda: analysed.stub.GetRisk(pb.GetRiskRequest(symbol="BTC-USDT")))
    body = json_format.MessageToDict(answer, preserving_proto_field_name=True)
    assert list(body)[:5] == ["symbol", "var_95", "expected_shortfall", "volatility", "timestamp"]
    assert all(isinstance(body[name], str) for name in ("var_95", "expected_shortfall", "volatility"))
    assert 0 < Decimal(body["var_95"]) < Decimal(body["expected_shortfall"]) < Decimal(body["last_price"])
    assert (body["horizon"], body["as_of"]) == ("1d", "2024-03-21T12:00:00Z")
    assert body["method"]
    assert body["sample_size"] >= 150


async def test_the_risk_of_an_account_adds_up_and_is_its_own(tmp_path: Path) -> None:
    """Contributions make the whole; one long unit has the risk of the instrument; a hedge takes risk away; positions
    of another account do not exist.
    """
    async with _analysed(tmp_path, fee_rate="0") as analysed:
        portfolio: Any = PortfolioServiceStub(analysed.channel)
        last = {symbol: past(symbol)[-1].close for symbol in SYMBOLS}
        analysed.feed.give(*(trade(str(last[symbol]), analysed.clock.now, symbol=symbol) for symbol in SYMBOLS))

        async def opened(symbol: str, size: str, side: str) -> None:
            request = portfolio_pb2.CreatePositionRequest(symbol=symbol, size=size, type=side, leverage="20")
            await analysed.once_there(lambda: portfolio.CreatePosition(request))

        async def risk() -> pb.CurrencyRisk:
            (found,) = (await analysed.stub.GetPortfolioRisk(pb.GetPortfolioRiskRequest())).risks
            return found  # type: ignore[no-any-return]

        assert not (await analysed.stub.GetPortfolioRisk(pb.GetPortfolioRiskRequest())).risks
        await opened("BTC-USDT", "1", "long")
        alone = await risk()
        one = await analysed.stub.GetRisk(pb.GetRiskRequest(symbol="BTC-USDT"))
        assert (alone.var_95, alone.expected_shortfall) == (one.var_95, one.expected_shortfall)
        assert (alone.currency, alone.horizon, alone.method) == ("USDT", "1d", one.method)
        await opened("ETH-USDT", "3", "long")
        both = await risk()
        for part, whole in (
            ("var_contribution", both.var_95),
            ("expected_shortfall_contribution", both.expected_shortfall),
        ):
            total = sum(Decimal(getattr(position, part)) for position in both.positions)
            assert abs(total - Decimal(whole)) <= Decimal("0.02")  # each is rounded to a cent
        assert Decimal(both.gross_notional) == last["BTC-USDT"] + 3 * last["ETH-USDT"]
        await opened("BTC-USDT", "1", "short")
        hedged = await risk()
        assert Decimal(hedged.var_95) < Decimal(both.var_95)
        assert Decimal(hedged.net_notional) == 3 * last["ETH-USDT"]
        assert min(Decimal(position.expected_shortfall_contribution) for position in hedged.positions) < 0
        other = sending(make_key(tmp_path, account="other"))
        async with grpc.aio.insecure_channel(analysed.address, interceptors=other) as channel:
            stub: Any = AnalysisServiceStub(channel)
            # The engine looks for new accounts once a second.
            async with asyncio.timeout(30):
                while True:
                    try:
                        answer = await stub.GetPortfolioRisk(pb.GetPortfolioRiskRequest())
                        break
                    except grpc.aio.AioRpcError as error:
                        if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
                            raise
                        await asyncio.sleep(0.05)
        assert not answer.risks
