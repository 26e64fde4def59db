"""Value at risk and expected shortfall of positions held together for 24 hours, and what each position adds to them.

The scenarios of each instrument (`risk.Scenarios`) are taken from the same past days for all, so that what moved
together then moves together here (filtered historical simulation of a portfolio: Barone-Adesi, Giannopoulos & Vosper
1999). In each scenario a position loses `size x price x (1 - exp(return))`, a short position by a rise; the sums get
the same tail, and so the same estimator, as one unit in `risk`. One long unit at the last close therefore has exactly
the figures of `risk.daily_risk`.

What a position adds is Euler's allocation (Tasche 2000): the mean of its own loss where the portfolio's loss is in the
tail, for expected shortfall, and where it is near the value at risk, for that. Means over scenarios are not quite what
the fitted tail says of the whole; the rest is shared out by the size of each position's mean, so that the parts make
the whole but for the last digits. A part below 0 is that of a hedge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np

from entasis_engine.analysis.risk import (
    DAY_HOURS,
    HORIZON_HOURS,
    LEVEL,
    METHOD,
    NEEDED_HOURS,
    USABLE_DAYS,
    RiskModel,
    Scenarios,
    TooLittleHistoryError,
    finite,
    tail_risk,
)
from entasis_engine.analysis.series import Floats, Series

COMMON_DAYS = USABLE_DAYS - 30
"""So many scenario days must all instruments have in common."""


@dataclass(frozen=True)
class Exposure:
    """An open position."""

    position_id: str
    symbol: str
    size: float
    """In base currency; below 0 for a short position."""
    price: float
    """The mark price, in quote currency."""


@dataclass(frozen=True)
class Contribution:
    """What a position adds to the portfolio's figures, in quote currency; below 0 where it hedges the others."""

    position_id: str
    value_at_risk: float
    expected_shortfall: float


@dataclass(frozen=True)
class PortfolioRisk:
    """`expected_shortfall >= value_at_risk >= 0`; each is the sum of its contributions."""

    value_at_risk: float
    """The loss, in quote currency, that is exceeded with a probability of 5 %; 0 where that is no loss."""
    expected_shortfall: float
    """The mean loss, in quote currency, where the loss is beyond the value at risk."""
    contributions: tuple[Contribution, ...]
    """In the order of the positions."""
    sample_size: int
    """The number of past days that the scenarios are made of; 0 where there is no position."""
    method: str
    horizon_hours: int


def portfolio_risk(positions: Sequence[Exposure], histories: Mapping[str, Series]) -> PortfolioRisk:
    """Of positions whose instruments share a quote currency. Fits a model of each instrument anew.

    Args:
        positions: their symbols are keys of `histories`.
        histories: closed candles up to now.

    Raises `TooLittleHistoryError` and `NoRiskError` as `risk.daily_risk` does, and as `risk_of_scenarios`.
    """
    needed = {position.symbol: histories[position.symbol] for position in positions}
    return risk_of_scenarios(
        positions, {symbol: RiskModel.fit(series).scenarios(series) for symbol, series in needed.items()}
    )


def risk_of_scenarios(positions: Sequence[Exposure], scenarios: Mapping[str, Scenarios]) -> PortfolioRisk:
    """As `portfolio_risk`, from what `RiskModel.scenarios` gave for each symbol.

    Raises `TooLittleHistoryError` where the instruments have fewer than `COMMON_DAYS` scenario days in common, and
    `NoRiskError` where a figure is not finite.
    """
    if not positions:
        return PortfolioRisk(0.0, 0.0, (), 0, METHOD, HORIZON_HOURS)
    losses = _losses(positions, scenarios)
    total = losses.sum(axis=0)
    # Without a short position nothing is lost beyond what is held.
    long_only = all(position.size >= 0 for position in positions)
    worst = sum(position.size * position.price for position in positions) if long_only else np.inf
    tail = tail_risk(total, worst=worst)
    order = np.argsort(-total, kind="stable")
    # Of each position's losses in the tail, and around its beginning: from 2.5 % to 7.5 % of the scenarios.
    beyond = total.size * (1 - LEVEL)
    in_tail = losses[:, order[: max(1, round(beyond))]].mean(axis=1)
    near_quantile = losses[:, order[int(beyond / 2) : max(1, round(1.5 * beyond))]].mean(axis=1)
    gross = np.abs(losses).mean(axis=1)
    at_risk = _shared_out(tail.value_at_risk, near_quantile, gross)
    shortfall = _shared_out(tail.expected_shortfall, in_tail, gross)
    return PortfolioRisk(
        value_at_risk=finite(tail.value_at_risk),
        expected_shortfall=finite(tail.expected_shortfall),
        contributions=tuple(
            Contribution(position.position_id, finite(float(first)), finite(float(second)))
            for position, first, second in zip(positions, at_risk, shortfall, strict=True)
        ),
        sample_size=int(total.size),
        method=METHOD,
        horizon_hours=HORIZON_HOURS,
    )


def _losses(positions: Sequence[Exposure], scenarios: Mapping[str, Scenarios]) -> Floats:
    """In quote currency, by position and common day: shape (positions, days)."""
    of = {symbol: scenarios[symbol] for symbol in {position.symbol for position in positions}}
    days = reduce(partial(np.intersect1d, assume_unique=True), [each.day for each in of.values()])
    if days.size < COMMON_DAYS:
        raise TooLittleHistoryError(NEEDED_HOURS, DAY_HOURS * int(days.size))
    losses = {symbol: -np.expm1(each.returns[np.searchsorted(each.day, days)]) for symbol, each in of.items()}
    return np.stack([position.size * position.price * losses[position.symbol] for position in positions])


def _shared_out(total: float, parts: Floats, gross: Floats) -> Floats:
    """The parts, shape (n,), and the rest of the total in proportion to the parts' sizes: they sum to the total.

    All 0 where the total is: there the parts have no meaning. Where every part is 0, `gross` gives the proportion.
    """
    if total == 0:
        return np.zeros_like(parts)
    weights = np.abs(parts) if np.any(parts) else gross
    return np.asarray(parts + (total - parts.sum()) * (weights / weights.sum()))
