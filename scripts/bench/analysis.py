"""What forecasts and risk cost: computed and remembered, a whole training, and what a training costs others."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from entasis.analysis.v1 import analysis_pb2 as pb
from entasis.market.v1 import market_pb2
from entasis_engine.analysis.forecasting import HISTORY_HOURS_MIN, MODELS, TIMEFRAMES, Forecaster, Trained, train
from entasis_engine.analysis.risk import RiskModel
from entasis_engine.analysis.series import Series
from entasis_engine.exchanges import simulation
from entasis_engine.exchanges.feed import Interval
from scripts.bench import calls
from scripts.bench.processes import Program, entasis, make_key, running

SYMBOLS = ("BTC-USDT", "ETH-USDT")
DAYS = 1000
HOURS_COMPUTED = 200
READS_MAX = 20_000
QUIET_SECONDS = 30.0
TRAINING_SECONDS_MAX = 600.0
STEPS = 5

_ANALYSIS = "/entasis.analysis.v1.AnalysisService"
_PRICE = "/entasis.market.v1.MarketService/GetPrice"
PRICE = market_pb2.GetPriceRequest(symbol=SYMBOLS[0]).SerializeToString()


class Costs(NamedTuple):
    """What it all costs."""

    prediction_ms: float
    """CPU of one forecast of a new hour, median."""
    risk_ms: float
    """CPU of the risk of a new hour, median."""
    daily_fit_ms: float
    """CPU of what risk needs once a day, median."""
    refit_seconds: Mapping[str, float]
    """CPU of a training, by timeframe."""
    cached_us: Mapping[str, float]
    """CPU of a call that is answered from memory, by method, a price read among them."""
    quiet_ms: tuple[float, float]
    """Time of a price read, median and p99."""
    training_ms: tuple[float, float]
    """The same while a training runs."""
    reads: tuple[int, int]
    """How many reads these are."""


async def measure(tick: Callable[[], None] = lambda: None) -> Costs:
    """Measure all; `tick` is called after each of `STEPS`."""
    histories = {symbol: _history(symbol) for symbol in SYMBOLS}
    refit, trained = {}, {}
    for timeframe in TIMEFRAMES:
        began = time.process_time()
        trained[timeframe] = train(histories, timeframe, seed=1)
        refit[timeframe] = time.process_time() - began
        tick()
    prediction_ms, risk_ms, fit_ms = _computed(histories[SYMBOLS[0]], trained)
    tick()
    with tempfile.TemporaryDirectory() as data:
        key = make_key(Path(data))
        arguments, environment = entasis(
            Path(data), "serve", "engine", symbols=",".join(SYMBOLS), training="auto", hourly_history_days=DAYS
        )
        with running(arguments, "Entasis is up", **environment) as engine:
            async with grpc.aio.insecure_channel(engine.find(r"gRPC +(127[\d.:]+)")) as channel:
                metadata = [("x-api-key", key)]
                busy = await _while_training(channel, metadata)
                quiet = await _reads(channel, metadata, lambda seconds: seconds > QUIET_SECONDS)
                cached = await _cached(engine, channel, metadata)
    tick()
    return Costs(prediction_ms, risk_ms, fit_ms, refit, cached, _spread(quiet), _spread(busy), (len(quiet), len(busy)))


def _history(symbol: str) -> Series:
    listed = next(one for one in simulation.LISTED if one.instrument.symbol == symbol)
    start = simulation.GENESIS
    return Series.of(simulation.candles(simulation.Walk(listed, 7), Interval.HOUR, start, start + timedelta(days=DAYS)))


def _computed(series: Series, trained: Mapping[str, Trained]) -> tuple[float, float, float]:
    """Milliseconds of CPU of a forecast and of a risk answer, each of an hour that was not seen before, and of the
    day's part of the latter.
    """
    tail = HISTORY_HOURS_MIN + HOURS_COMPUTED
    predictions: list[float] = []
    for one in trained.values():
        forecaster = Forecaster(one, SYMBOLS[0])
        forecaster.forecast(series.last(tail).until(HISTORY_HOURS_MIN), MODELS[0])
        for hours in range(HISTORY_HOURS_MIN + 1, tail + 1):
            known = series.until(len(series) - tail + hours)
            predictions.append(_ms(lambda: forecaster.forecast(known, "ensemble")))  # noqa: B023 - called at once
    fits = [_ms(lambda: RiskModel.fit(series)) for _ in range(10)]
    model = RiskModel.fit(series)
    risks = []
    for hours in range(len(series) - HOURS_COMPUTED, len(series)):
        known = series.until(hours)
        risks.append(_ms(lambda: model.scenarios(known).risk()))  # noqa: B023 - called at once
    return statistics.median(predictions), statistics.median(risks), statistics.median(fits)


def _ms(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1e3


async def _while_training(channel: grpc.aio.Channel, metadata: Any) -> list[float]:
    """Times of price reads from when a training has begun until it is done."""
    models = channel.unary_unary(f"{_ANALYSIS}/ListModels")

    async def training() -> pb.Training:
        answer = pb.ListModelsResponse.FromString(await models(b"", metadata=metadata))
        return answer.training

    async with asyncio.timeout(TRAINING_SECONDS_MAX):
        while (await training()).progress == 0:
            await asyncio.sleep(0.1)
        times: list[float] = []
        while (await training()).state == "running":
            times += await _reads(channel, metadata, lambda seconds: seconds > 1)
    return times


async def _reads(channel: grpc.aio.Channel, metadata: Any, over: Callable[[float], bool]) -> list[float]:
    price = channel.unary_unary(_PRICE)
    times: list[float] = []
    began = time.perf_counter()
    while not over(time.perf_counter() - began) and len(times) < READS_MAX:
        sent = time.perf_counter()
        await price(PRICE, metadata=metadata)
        times.append(time.perf_counter() - sent)
    return times


async def _cached(engine: Program, channel: grpc.aio.Channel, metadata: Any) -> dict[str, float]:
    """Microseconds of CPU of calls that are answered from memory, measured in turns."""
    asked = {
        "GetPrice": (_PRICE, PRICE),
        "GetPrediction": (f"{_ANALYSIS}/GetPrediction", pb.GetPredictionRequest(symbol=SYMBOLS[0])),
        "GetRisk": (f"{_ANALYSIS}/GetRisk", pb.GetRiskRequest(symbol=SYMBOLS[0])),
    }
    found: dict[str, list[float]] = {name: [] for name in asked}
    for round_ in range(calls.ROUNDS + 1):
        for name, (path, request) in asked.items():
            method = channel.unary_unary(path)
            content = request if isinstance(request, bytes) else request.SerializeToString()
            before = engine.cpu_seconds()
            await calls.call(method, content, metadata)
            if round_:  # the first one warms up
                found[name].append((engine.cpu_seconds() - before) / calls.CALLS * 1e6)
    return {name: statistics.median(values) for name, values in found.items()}


def _spread(seconds: list[float]) -> tuple[float, float]:
    ordered = sorted(seconds)
    return ordered[len(ordered) // 2] * 1e3, ordered[int(len(ordered) * 0.99)] * 1e3


def lines(costs: Costs) -> Iterator[str]:
    """As they stand in docs/benchmarks.md."""
    price = costs.cached_us["GetPrice"]
    yield from (
        "## Forecasts and risk",
        "",
        "| | CPU | aim |",
        "|---|---|---|",
        f"| a forecast of a new hour, computed | {costs.prediction_ms:.2f} ms | 1 ms |",
        f"| the risk of a new hour, computed | {costs.risk_ms:.2f} ms | 0.5 ms |",
        f"| what risk needs once a day | {costs.daily_fit_ms:.1f} ms | |",
        *(
            f"| `{name}` from memory, a call | {us:.0f} µs: {us / price:.2f} of a price read | 1 |"
            for name, us in costs.cached_us.items()
            if name != "GetPrice"
        ),
        *(
            f"| training of {timeframe}, two symbols | {spent:.1f} s | |"
            for timeframe, spent in costs.refit_seconds.items()
        ),
        f"| training of all, on one core | {sum(costs.refit_seconds.values()):.1f} s | 60 s |",
        "",
        "| a price read | median | p99 | reads |",
        "|---|---|---|---|",
        f"| while a training runs | {costs.training_ms[0]:.2f} ms | {costs.training_ms[1]:.2f} ms | {costs.reads[1]} |",
        f"| without | {costs.quiet_ms[0]:.2f} ms | {costs.quiet_ms[1]:.2f} ms | {costs.reads[0]} |",
        f"| ratio; at most 1.5 is wanted | | {costs.training_ms[1] / costs.quiet_ms[1]:.2f} | |",
        "",
    )


if __name__ == "__main__":
    print("\n".join(lines(asyncio.run(measure()))))
