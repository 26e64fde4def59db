"""How forecasts, their intervals and their confidence held, as sections of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from entasis_engine.analysis import scoring
from entasis_engine.analysis.features import VARIANCE_MIN
from entasis_engine.analysis.forecasting import BANDS, CONFIDENCE_RESIDUALS, LEVELS, Track
from entasis_engine.analysis.series import Floats
from entasis_engine.times import from_milliseconds
from scripts.evaluation.protocol import DESIGN_PERIOD, EMPIRICAL_ROLLING_HOURS, QUANTILES, SEED, Outcomes
from scripts.evaluation.report import Goal, Section, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Results = Mapping[str, Mapping[str, Outcomes]]
"""By timeframe, then by symbol."""


class _Wanted(NamedTuple):
    """What is to be reached at one horizon."""

    error: float
    t: float | None
    coverage: float
    pinball: float
    calibration: float
    skill: float


WANTED = {
    "1h": _Wanted(0.995, 3.0, 0.010, 0.94, 0.010, 0.13),
    "4h": _Wanted(0.997, 3.0, 0.010, 0.95, 0.015, 0.11),
    "1d": _Wanted(1.000, None, 0.015, 0.97, 0.035, 0.05),
}
SERVED = "ensemble"
_NORMAL = {0.5: 0.67449, 0.8: 1.28155, 0.95: 1.95996}
_SIMULATIONS = 200
_NOTABLE_T = 2.0


def sections(results: Results) -> list[Section]:
    """Of all horizons and symbols."""
    return [_points(results), _over_time(results), _intervals(results), _volatility(results), _confidence(results)]


def _all(results: Results) -> Iterator[tuple[str, str, Outcomes]]:
    for timeframe, of_symbol in results.items():
        for symbol, outcomes in of_symbol.items():
            yield timeframe, symbol, outcomes


def _goal(
    results: Results, timeframe: str, name: str, wanted: str, judge: Callable[[Outcomes], tuple[str, bool]]
) -> Goal:
    judged = {symbol: judge(outcomes) for symbol, outcomes in results[timeframe].items()}
    return Goal(
        name,
        timeframe,
        wanted,
        {symbol: text for symbol, (text, _) in judged.items()},
        {symbol: met for symbol, (_, met) in judged.items()},
    )


def absolute_gain(outcomes: Outcomes, price: Floats) -> tuple[float, float]:
    """Mean absolute error over that of the random walk, and the t of the difference. Errors are taken relative to the
    last price, so that a year of high prices counts no more than another.
    """
    error = np.abs(outcomes.actual - price) / outcomes.last
    walk = np.abs(outcomes.actual - outcomes.last) / outcomes.last
    t = scoring.diebold_mariano(error, walk, outcomes.hours)
    return float(error.sum() / walk.sum()), 0.0 if t is None else t


def _squared_gain(outcomes: Outcomes, price: Floats) -> tuple[float, float]:
    error = ((outcomes.actual - price) / outcomes.last) ** 2
    walk = ((outcomes.actual - outcomes.last) / outcomes.last) ** 2
    t = scoring.diebold_mariano(error, walk, outcomes.hours)
    return float(error.sum() / walk.sum()), 0.0 if t is None else t


def _points(results: Results) -> Section:
    def judge(timeframe: str) -> Callable[[Outcomes], tuple[str, bool]]:
        wanted = WANTED[timeframe]

        def one(outcomes: Outcomes) -> tuple[str, bool]:
            ratio, t = absolute_gain(outcomes, outcomes.tracks[SERVED].price)
            return (
                f"{ratio:.4f}, t {t:.2f} (n {outcomes.time.size:,})",
                ratio <= wanted.error and (wanted.t is None or t > wanted.t),
            )

        return one

    goals, rows, squared = [], [], []
    for timeframe in results:
        wanted = WANTED[timeframe]
        text = f"≤ {wanted.error:.3f}" + (f", t > {wanted.t:.0f}" if wanted.t else "")
        goals.append(_goal(results, timeframe, "mean absolute error / random walk", text, judge(timeframe)))
    for timeframe, symbol, outcomes in _all(results):
        prices = {
            "trees alone": outcomes.last * np.exp(outcomes.trees),
            "trees and network, no gate": outcomes.last * np.exp((outcomes.trees + outcomes.network) / 2),
            "`lstm`": outcomes.tracks["lstm"].price,
            "`ensemble`": outcomes.tracks[SERVED].price,
        }
        cells = ["{:.4f} (t {:.1f})".format(*absolute_gain(outcomes, price)) for price in prices.values()]
        rows.append([timeframe, symbol, f"{outcomes.time.size:,}", *cells])
        squared.append((timeframe, symbol, *_squared_gain(outcomes, outcomes.tracks[SERVED].price)))
    better = [one for one in squared if one[3] > _NOTABLE_T]
    said = (
        "The **squared** error does not beat the random walk: "
        if not better
        else f"The **squared** error beats the random walk in {len(better)} of {len(squared)} cases (t above 2): "
    ) + ", ".join(f"{timeframe} {symbol} {ratio:.4f} (t {t:.1f})" for timeframe, symbol, ratio, t in squared)
    head = ["timeframe", "symbol", "forecasts", *prices]
    markdown = (
        "Mean **absolute** error over that of the random walk, which says the last price; below 1 is better. In "
        "brackets the t of Diebold and Mariano, its variance over as many lags as forecasts overlap.\n\n"
        f"{table(head, rows)}\n\n{said}. What is forecast is the median, not the mean: it is nearer to most outcomes, "
        "and no nearer to the large ones."
    )
    return Section("Point forecasts", markdown, tuple(goals))


def _over_time(results: Results) -> Section:
    import matplotlib.pyplot as plt

    years = sorted({year for *_, outcomes in _all(results) for year in _years(outcomes)})
    rows = []
    for timeframe, symbol, outcomes in _all(results):
        cells = []
        for year in years:
            chosen = _years(outcomes) == year
            ratio, t = _ratio_of(outcomes, chosen)
            cells.append(f"{ratio:.4f} (t {t:.1f})" if chosen.any() else "")
        rows.append([timeframe, symbol, *cells])
    figure, axes = plt.subplots(1, len(results), figsize=(5 * len(results), 3.2), squeeze=False)
    for axis, (timeframe, of_symbol) in zip(axes[0], results.items(), strict=True):
        for symbol, outcomes in of_symbol.items():
            quarters = _quarters(outcomes)
            labels = np.unique(quarters)
            values = [_ratio_of(outcomes, quarters == label)[0] for label in labels]
            axis.plot([_quarter_start(label) for label in labels], values, marker="o", markersize=3, label=symbol)
        axis.axhline(1.0, color="black", linewidth=0.8)
        axis.set_title(f"{timeframe}: error / random walk, by quarter")
        _dated(axis)
    figure.tight_layout()
    halves = [
        f" {timeframe} {symbol}: {first:.2%} in the first half, {second:.2%} in the second."
        for timeframe, symbol, first, second in _halves(results)
    ]
    markdown = f"{fading(results)}{''.join(halves)}\n\n" + table(
        ["timeframe", "symbol", *(str(year) for year in years)], rows
    )
    return Section("The gain over time", markdown, (), {"error-by-quarter": figure})


def fading(results: Results) -> str:
    """Where the gain was seen to fade, and whether it did in this run."""
    halves = _halves(results)
    count = sum(second < first for *_, first, second in halves)
    seen = f"The gain was seen to **fade over the years** in the design's own measurement, over {DESIGN_PERIOD}"
    second_half = "smaller in the second half of the test period"
    if not halves:
        return f"{seen}; this run has nothing to judge that by."
    if count == len(halves):
        return f"{seen}, and it was in this run: it is {second_half} at each symbol and horizon below a day."
    if count == 0:
        return f"{seen}. In this run it was not: in no case is it {second_half}. That is no promise."
    return (
        f"{seen}. In this run it was in part: it is {second_half} in {count} of {len(halves)} cases. Where it is not, "
        "that is no promise."
    )


def _halves(results: Results) -> list[tuple[str, str, float, float]]:
    """The gain over the random walk in the first and in the second half, where there is one to fade: below a day."""
    found = []
    for timeframe, symbol, outcomes in _all(results):
        if timeframe != "1d" and outcomes.time.size > 1:
            early = np.arange(outcomes.time.size) < outcomes.time.size // 2
            first, second = (1 - _ratio_of(outcomes, part)[0] for part in (early, ~early))
            found.append((timeframe, symbol, first, second))
    return found


def _ratio_of(outcomes: Outcomes, chosen: npt.NDArray[np.bool_]) -> tuple[float, float]:
    error = (np.abs(outcomes.actual - outcomes.tracks[SERVED].price) / outcomes.last)[chosen]
    walk = (np.abs(outcomes.actual - outcomes.last) / outcomes.last)[chosen]
    t = scoring.diebold_mariano(error, walk, outcomes.hours)
    return float(error.sum() / walk.sum()) if walk.sum() > 0 else 1.0, 0.0 if t is None else t


def _covered(outcomes: Outcomes, track: Track) -> list[float]:
    return [
        float(np.mean((track.low[:, place] <= outcomes.actual) & (outcomes.actual <= track.high[:, place])))
        for place in range(len(LEVELS))
    ]


def _quantiles(outcomes: Outcomes, track: Track) -> Floats:
    """The ends of the intervals as log returns, in the order of QUANTILES."""
    ends = np.concatenate([track.low[:, ::-1], track.high], axis=1)
    return np.asarray(np.log(ends / outcomes.last[:, None]))


def pinball_ratios(outcomes: Outcomes, track: Track) -> tuple[float, float]:
    """Pinball loss over that of empirical quantiles: of the two years before, and of the rolling window."""
    levels = np.array(QUANTILES)
    own, long, rolling = (
        scoring.pinball(quantiles, levels, outcomes.returns) or 0.0
        for quantiles in (_quantiles(outcomes, track), outcomes.empirical, outcomes.empirical_rolling)
    )
    return own / long if long else 1.0, own / rolling if rolling else 1.0


def _intervals(results: Results) -> Section:
    import matplotlib.pyplot as plt

    goals, rows = [], []
    for timeframe in results:
        wanted = WANTED[timeframe]

        def covers(outcomes: Outcomes, off: float = wanted.coverage) -> tuple[str, bool]:
            covered = _covered(outcomes, outcomes.tracks[SERVED])
            text = " / ".join(f"{share:.1%}" for share in covered)
            return text, all(abs(share - level) <= off for share, level in zip(covered, LEVELS, strict=True))

        def loses(outcomes: Outcomes, most: float = wanted.pinball) -> tuple[str, bool]:
            long, rolling = pinball_ratios(outcomes, outcomes.tracks[SERVED])
            return f"{rolling:.3f} (2 years {long:.3f})", rolling <= most

        goals.append(
            _goal(results, timeframe, "coverage of 50/80/95 %", f"± {wanted.coverage * 100:g} pp each", covers)
        )
        goals.append(_goal(results, timeframe, "pinball loss / empirical quantiles", f"≤ {wanted.pinball:.2f}", loses))
    for timeframe, symbol, outcomes in _all(results):
        normal = []
        for level in LEVELS:
            reach = _NORMAL[level] * np.sqrt(outcomes.ewma)
            normal.append(float(np.mean(np.abs(outcomes.returns) <= reach)))
        for name, covered, ratios in (
            *(
                (f"`{model}`", _covered(outcomes, track), pinball_ratios(outcomes, track))
                for model, track in outcomes.tracks.items()
            ),
            ("moving average, normal", normal, None),
        ):
            rows.append(
                [
                    timeframe,
                    symbol,
                    name,
                    *(f"{share:.1%}" for share in covered),
                    *((f"{ratio:.3f}" for ratio in ratios) if ratios else ("", "")),
                ]
            )
    figure, axes = plt.subplots(1, len(results), figsize=(5 * len(results), 3.2), squeeze=False)
    for axis, (timeframe, of_symbol) in zip(axes[0], results.items(), strict=True):
        for (symbol, outcomes), style in zip(of_symbol.items(), _styles(), strict=False):
            quarters, track = _quarters(outcomes), outcomes.tracks[SERVED]
            labels = np.unique(quarters)
            for place, level in enumerate(LEVELS):
                inside = (track.low[:, place] <= outcomes.actual) & (outcomes.actual <= track.high[:, place])
                values = [float(inside[quarters == label].mean()) for label in labels]
                dates = [_quarter_start(label) for label in labels]
                axis.plot(dates, values, style, color=f"C{place}", label=f"{symbol} {level:.0%}", markersize=3)
        for level in LEVELS:
            axis.axhline(level, color="black", linewidth=0.6)
        axis.set_title(f"{timeframe}: coverage by quarter")
        _dated(axis, legend=timeframe == next(iter(results)))
    figure.tight_layout()
    window = ", ".join(f"{EMPIRICAL_ROLLING_HOURS[timeframe] // 24} days at {timeframe}" for timeframe in results)
    markdown = (
        "Share of outcomes within the intervals, and pinball loss at their six ends over that of empirical quantiles: "
        "of the returns of the two years before the quarter, and of those of a rolling window, which are the harder to "
        f"beat and which the goal is held against ({window}).\n\n"
        + table(
            ["timeframe", "symbol", "model", *(f"{level:.0%}" for level in LEVELS), "pinball / 2 years", "/ rolling"],
            rows,
        )
    )
    return Section("Intervals", markdown, tuple(goals), {"coverage-by-quarter": figure})


def _volatility(results: Results) -> Section:
    rows = []
    for timeframe, symbol, outcomes in _all(results):
        moved = outcomes.realised > VARIANCE_MIN
        realised = outcomes.realised[moved]

        def loss(variance: Floats, moved: npt.NDArray[np.bool_] = moved, realised: Floats = realised) -> float:
            return scoring.qlike(np.maximum(variance[moved], VARIANCE_MIN), realised) or 0.0

        walk = loss(outcomes.ewma)
        trees, har, network = (loss(variance) / walk for variance in outcomes.variances)
        served = loss(outcomes.tracks[SERVED].sigma ** 2) / walk
        rows.append([timeframe, symbol, f"{walk:.3f}", *(f"{one:.3f}" for one in (har, trees, network, served))])
    markdown = (
        "QLIKE of the variance of the log return over the horizon, against realised variance (the sum of Garman-Klass "
        "variances of its hours), over that of a moving average with a half-life of 72 hours; below 1 is better. "
        "Served is the geometric mean of trees (three parts) and HAR (one).\n\n"
        + table(["timeframe", "symbol", "moving average", "HAR", "trees", "network", "served"], rows)
    )
    return Section("Volatility", markdown)


def hits(outcomes: Outcomes, track: Track, timeframe: str) -> Floats:
    """1 where the outcome lay within the band around the forecast."""
    return (np.abs(outcomes.actual / track.price - 1) <= BANDS[timeframe]).astype(np.float64)


def _confidence(results: Results) -> Section:
    import matplotlib.pyplot as plt

    goals, rows = [], []
    for timeframe in results:
        wanted = WANTED[timeframe]

        def judge(outcomes: Outcomes, timeframe: str = timeframe, wanted: _Wanted = wanted) -> tuple[str, bool]:
            track = outcomes.tracks[SERVED]
            hit = hits(outcomes, track, timeframe)
            error = scoring.expected_calibration_error(track.confidence, hit) or 0.0
            skill = scoring.brier_skill(track.confidence, hit, outcomes.climatology) or 0.0
            return f"{error:.4f}; {skill:.3f}", error <= wanted.calibration and skill >= wanted.skill

        text = f"≤ {wanted.calibration:g}; ≥ {wanted.skill:g}"
        goals.append(_goal(results, timeframe, "confidence: calibration error; Brier skill", text, judge))
    for timeframe, symbol, outcomes in _all(results):
        for model, track in outcomes.tracks.items():
            hit = hits(outcomes, track, timeframe)
            chance = scoring.simulated_ece(track.confidence, np.random.default_rng(SEED), _SIMULATIONS)
            low, high = np.quantile(track.confidence, (0.01, 0.99))
            rows.append(
                [
                    timeframe,
                    symbol,
                    f"`{model}`",
                    f"{scoring.expected_calibration_error(track.confidence, hit) or 0.0:.4f}",
                    f"{chance.mean():.4f} ({np.quantile(chance, 0.95):.4f})",
                    f"{scoring.spiegelhalter_z(track.confidence, hit) or 0.0:.2f}",
                    f"{scoring.brier_skill(track.confidence, hit, outcomes.climatology) or 0.0:.3f}",
                    f"{scoring.brier_skill(track.confidence, hit, float(hit.mean())) or 0.0:.3f}",
                    f"{hit.mean():.3f}",
                    f"{low:.2f} to {high:.2f}",
                ]
            )
    figure, axes = plt.subplots(1, len(results), figsize=(4 * len(results), 3.8), squeeze=False)
    for axis, (timeframe, of_symbol) in zip(axes[0], results.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="black", linewidth=0.8)
        for symbol, outcomes in of_symbol.items():
            track = outcomes.tracks[SERVED]
            bins = scoring.reliability(track.confidence, hits(outcomes, track, timeframe), 20)
            axis.plot(
                [one.probability for one in bins], [one.hit_rate for one in bins], "o-", markersize=3, label=symbol
            )
        axis.set_title(f"{timeframe}: within ±{BANDS[timeframe]:.1%} of the forecast")
        axis.set_xlabel("confidence told")
        axis.set_ylabel("share that came true")
        axis.legend(fontsize=8)
    figure.tight_layout()
    bands = ", ".join(f"{BANDS[timeframe]:.1%} at {timeframe}" for timeframe in results)
    window = ", ".join(f"{CONFIDENCE_RESIDUALS[timeframe] // 24} days at {timeframe}" for timeframe in results)
    head = [
        "timeframe",
        "symbol",
        "model",
        "calibration error",
        "by chance (95 %)",
        "Spiegelhalter's z",
        "Brier skill",
        "over the test's own mean",
        "hits",
        "1 % to 99 % of what is told",
    ]
    markdown = (
        f"`confidence` is the probability that the close at the horizon is within a band around the forecast: {bands}. "
        "The calibration error is over ten bins of equal count. Beside it is what a perfect forecaster of the same "
        "probabilities would show by chance, were outcomes independent; those at 4h and 1d overlap, so that chance "
        "alone makes more there, and Spiegelhalter's z (beyond ± 1.96 is off, of independent outcomes) is too large "
        "too. Brier skill is over the share of hits in the two years before each quarter, and, which no one could have "
        f"known, over that of the test itself. Residuals of {window} make it.\n\n{table(head, rows)}"
    )
    return Section("Confidence", markdown, tuple(goals), {"reliability": figure})


def _years(outcomes: Outcomes) -> npt.NDArray[np.int64]:
    return outcomes.time.astype("datetime64[ms]").astype("datetime64[Y]").astype(np.int64) + 1970


def _quarters(outcomes: Outcomes) -> npt.NDArray[np.int64]:
    """Quarters since 1970."""
    return outcomes.time.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64) // 3


def _quarter_start(quarter: int) -> datetime:
    return datetime(1970 + int(quarter) // 4, int(quarter) % 4 * 3 + 1, 1, tzinfo=UTC)


def _styles() -> tuple[str, ...]:
    return ("o-", "s--", "^:", "v-.")


def _dated(axis: Axes, *, legend: bool = True) -> None:
    axis.tick_params(axis="x", labelrotation=45, labelsize=8)
    if legend:
        axis.legend(fontsize=7)


def span(results: Results) -> tuple[datetime, datetime]:
    """From the first forecast to the last."""
    times = [time for *_, outcomes in _all(results) for time in (outcomes.time[0], outcomes.time[-1])]
    return from_milliseconds(int(min(times))), from_milliseconds(int(max(times)))
