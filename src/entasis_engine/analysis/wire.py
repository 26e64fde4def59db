"""From the analysis's values to the contract's messages. Estimates become decimals, on steps that say something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal

from entasis.analysis.v1 import analysis_pb2 as pb
from entasis_engine.analysis.accuracy import Accuracy
from entasis_engine.analysis.portfolio_risk import PortfolioRisk
from entasis_engine.analysis.records import Prediction
from entasis_engine.analysis.risk import Risk
from entasis_engine.analysis.series import Series
from entasis_engine.analysis.shelf import InUse
from entasis_engine.decimals import add, at_scale, multiply, plain
from entasis_engine.exchanges.feed import Instrument
from entasis_engine.portfolio.margin import Side
from entasis_engine.portfolio.positions import Position
from entasis_engine.protobuf import timestamp

_WIDE = Context(prec=1000, Emin=-10_000, Emax=10_000)  # as wide as any binary float

DIGITS_MIN = 4
"""Significant digits of an estimate at least, so that the risk of a very cheap coin is not 0."""
RATIO_SCALE = 2
SHARE_DIGITS = 4
MONEY_SCALE = 2
"""Digits that money prints with at least, where no instrument says."""


def on_tick(price: float, instrument: Instrument, rounding: str = ROUND_HALF_EVEN) -> Decimal:
    """An estimated price on the instrument's price steps, one of them at least."""
    ticks = (Decimal(price) / instrument.tick_size).to_integral_value(rounding)
    return max(ticks, Decimal(1)) * instrument.tick_size


def below(price: float, instrument: Instrument) -> Decimal:
    """A lower bound on the price steps, not above what was estimated unless that is below the first step."""
    return on_tick(price, instrument, ROUND_FLOOR)


def above(price: float, instrument: Instrument) -> Decimal:
    """An upper bound on the price steps, not below what was estimated."""
    return on_tick(price, instrument, ROUND_CEILING)


def estimate(value: float, scale: int, whole: float | None = None) -> str:
    """An estimate with `scale` digits after the point, or as many more as `DIGITS_MIN` significant ones need.

    Args:
        whole: what it is a part of, where it is one: the digits are then those of the whole.
    """
    size = Decimal(value if whole is None else whole)
    digits = scale if size.is_zero() else max(scale, DIGITS_MIN - 1 - size.adjusted())
    return at_scale(_WIDE.quantize(Decimal(value), Decimal(1).scaleb(-digits)), scale)


def prediction(made: Prediction, instrument: Instrument, cutoff: datetime, now: datetime) -> pb.GetPredictionResponse:
    """A forecast as it is answered."""
    scale = instrument.quote_scale
    return pb.GetPredictionResponse(
        symbol=made.symbol,
        prediction=at_scale(made.prediction, scale),
        confidence=round(made.confidence, SHARE_DIGITS),
        timeframe=made.timeframe,
        model=made.model,
        timestamp=timestamp(now),
        as_of=timestamp(made.as_of),
        target_time=timestamp(made.due),
        last_price=at_scale(made.last_price, scale),
        band=plain(Decimal(str(made.band))),
        intervals=[
            pb.PredictionInterval(level=one.level, low=at_scale(one.low, scale), high=at_scale(one.high, scale))
            for one in made.ranges
        ],
        volatility=estimate(made.sigma, RATIO_SCALE),
        model_version=made.version,
        training_cutoff=timestamp(cutoff),
    )


def risk(found: Risk, instrument: Instrument, series: Series, now: datetime) -> pb.GetRiskResponse:
    """What one unit may lose, as it is answered."""
    scale = instrument.quote_scale
    return pb.GetRiskResponse(
        symbol=instrument.symbol,
        var_95=estimate(found.value_at_risk, scale),
        expected_shortfall=estimate(found.expected_shortfall, scale),
        volatility=estimate(found.volatility, RATIO_SCALE),
        timestamp=timestamp(now),
        as_of=timestamp(series.as_of),
        method=found.method,
        horizon=horizon(found.horizon_hours),
        sample_size=found.sample_size,
        last_price=at_scale(Decimal(str(series.close[-1])), scale),
    )


def currency_risk(
    currency: str,
    found: PortfolioRisk,
    positions: Sequence[Position],
    prices: Mapping[str, Decimal],
    as_of: datetime,
) -> pb.CurrencyRisk:
    """What positions in one quote currency may lose together.

    Args:
        positions: in the order of the contributions.
        prices: by symbol, what the positions were valued at.
    """
    message = pb.CurrencyRisk(
        currency=currency,
        var_95=estimate(found.value_at_risk, MONEY_SCALE),
        expected_shortfall=estimate(found.expected_shortfall, MONEY_SCALE),
        as_of=timestamp(as_of),
        method=found.method,
        horizon=horizon(found.horizon_hours),
        sample_size=found.sample_size,
    )
    net = gross = Decimal(0)
    for held, part in zip(positions, found.contributions, strict=True):
        notional = multiply(held.size, prices[held.symbol])
        gross = add(gross, notional)
        net = add(net, notional if held.side is Side.LONG else -notional)
        message.positions.add(
            position_id=held.id,
            symbol=held.symbol,
            type=held.side.value,
            size=plain(held.size),
            notional=at_scale(notional, MONEY_SCALE),
            var_contribution=estimate(part.value_at_risk, MONEY_SCALE, found.value_at_risk),
            expected_shortfall_contribution=estimate(part.expected_shortfall, MONEY_SCALE, found.expected_shortfall),
        )
    message.net_notional, message.gross_notional = at_scale(net, MONEY_SCALE), at_scale(gross, MONEY_SCALE)
    return message


def accuracy(found: Accuracy, instrument: Instrument) -> pb.Accuracy:
    """How well forecasts did. Figures that the sample is too small for are left out."""
    message = pb.Accuracy(
        timeframe=found.timeframe,
        model=found.model,
        sample_size=found.sample_size,
        relative_error=_rounded(found.relative_error),
        t_statistic=_rounded(found.t_statistic),
        coverage=[
            pb.Coverage(level=one.level, share=_rounded(one.share)) for one in found.coverage if one.share is not None
        ],
        hit_rate=_rounded(found.hit_rate),
        mean_confidence=_rounded(found.mean_confidence),
        calibration_error=_rounded(found.expected_calibration_error),
        brier_skill=_rounded(found.brier_skill),
    )
    if found.first_as_of is not None and found.last_as_of is not None:
        message.first_as_of.CopyFrom(timestamp(found.first_as_of))
        message.last_as_of.CopyFrom(timestamp(found.last_as_of))
    if found.mean_absolute_error is not None and found.random_walk_error is not None:
        message.mean_absolute_error = estimate(found.mean_absolute_error, instrument.quote_scale)
        message.random_walk_error = estimate(found.random_walk_error, instrument.quote_scale)
    return message


def model(timeframe: str, in_use: InUse) -> pb.Model:
    """A model in use."""
    trained = in_use.trained
    return pb.Model(
        timeframe=timeframe,
        version=in_use.version,
        trained_from=timestamp(trained.trained_from),
        training_cutoff=timestamp(trained.cutoff),
        sample_size=trained.sample_size,
        symbols=trained.symbols,
        features=trained.feature_names,
        metrics=trained.metrics,
    )


def horizon(hours: int) -> str:
    """`1h`, `4h` or `1d`."""
    return f"{hours // 24}d" if hours % 24 == 0 else f"{hours}h"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, SHARE_DIGITS)
