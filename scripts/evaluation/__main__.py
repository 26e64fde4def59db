"""Evaluate forecasts and risk on real candles, walk-forward, and write docs/evaluation.

    python -m scripts.evaluation                                  all of it, on the candles in the data folder
    python -m scripts.evaluation --candles BTC-USDT=btc.csv.gz    on other candles; once for each symbol
    python -m scripts.evaluation --candles BTC-USDT=old.csv --candles BTC-USDT=new.csv
                                                                  several files of one symbol are joined; where they
                                                                  overlap, the later one given counts
    python -m scripts.evaluation --start 2024-04-01 --out /tmp/x  another test period, another folder

Candle files are CSV, plain or .gz, with the columns open_time (UTC, ISO 8601 or milliseconds), open, high, low, close,
volume (base currency); hourly, or shorter ones, which are folded into hours. The test period goes from --start to the
last candle; two years before it are learned from. The data folder is ENTASIS_TEST_DATA or ../shared/data, of which
<symbol>-1h-*.csv.gz is read. Nothing is random but by a fixed seed: what scripts/evaluation/protocol.py says is frozen.
One core takes about ten minutes for two symbols and ten quarters.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from entasis_engine.analysis import calibration, ensemble
from entasis_engine.analysis.boosting import Size
from entasis_engine.analysis.ensemble import PURGE_HOURS
from entasis_engine.analysis.forecasting import (
    BANDS,
    CONFIDENCE_RESIDUALS,
    GATE_DAYS,
    RESIDUALS,
    TIMEFRAMES,
    TRAIN_HOURS,
    NotEnoughHistoryError,
)
from entasis_engine.analysis.series import Series, SeriesError
from scripts.evaluation import costs, forecasts, protocol, report, risk
from scripts.evaluation.protocol import Outcomes

ROOT = Path(__file__).parents[2]
DATA_DIR = Path(os.environ.get("ENTASIS_TEST_DATA", ROOT.parent / "shared" / "data"))
RESIDUAL_MONTHS = 6
"""Of one-hour forecasts before the test period, for the residuals that risk of an hour begins with."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.evaluation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA_DIR, help="folder of candle files (default: %(default)s)")
    parser.add_argument(
        "--candles",
        action="append",
        default=[],
        metavar="SYMBOL=FILE",
        help="a file of candles, instead of the folder's; may be given several times",
    )
    parser.add_argument(
        "--start",
        type=_day,
        default=protocol.TEST_START,
        metavar="YYYY-MM-DD",
        help=f"first day of the test period, best the first of a quarter (default: {protocol.TEST_START:%Y-%m-%d})",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "evaluation", help="where to write")
    parser.add_argument("--threads", type=int, default=1, help="threads that trees are trained with (default: 1)")
    given = parser.parse_args(arguments)
    try:
        histories = _histories(given.candles, given.data)
    except (OSError, ValueError, SeriesError) as error:
        parser.error(str(error))
    try:
        page = evaluate(histories, given.start, given.out, given.threads)
    except (ValueError, NotEnoughHistoryError) as error:
        parser.error(f"these candles cannot be evaluated from {given.start:%Y-%m-%d} on: {error}")
    print(page)
    return 0


def evaluate(histories: Mapping[str, Series], start: datetime, out: Path, threads: int = 1) -> Path:
    """Run the protocol and write the page; returns where it is."""
    import matplotlib as mpl

    mpl.use("Agg")
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        results: dict[str, Mapping[str, Outcomes]] = {}
        hourly: Mapping[str, Outcomes] = {}
        for timeframe in TIMEFRAMES:
            task = progress.add_task(f"forecasts {timeframe}", total=1.0)
            begin = _earlier(start, RESIDUAL_MONTHS) if timeframe == "1h" else start
            found = protocol.walk(
                histories,
                timeframe,
                begin,
                threads,
                lambda share, task=task: progress.update(task, completed=share),  # type: ignore[misc]
            )
            if timeframe == "1h":
                hourly = found
            found = {symbol: protocol.after(outcomes, start) for symbol, outcomes in found.items()}
            results[timeframe] = {symbol: outcomes for symbol, outcomes in found.items() if outcomes.time.size}
        sections = forecasts.sections(results)
        task = progress.add_task("risk", total=None)
        tell = lambda text: progress.update(task, description=text)  # noqa: E731 - it is told what, not how much
        sections.append(risk.daily(histories, start, tell))
        sections.append(risk.intraday({symbol: _hourly(one) for symbol, one in hourly.items()}, start, tell))
        progress.update(task, total=1, completed=1)
        task = progress.add_task("cost", total=1.0)
        cost = costs.costs(histories, lambda share: progress.update(task, completed=share))
    sections += [cost, _protocol()]
    return report.write(out, "Evaluation", _opening(histories, results), sections)


def _hourly(outcomes: Outcomes) -> risk.Hourly:
    sigma = outcomes.tracks[forecasts.SERVED].sigma
    return risk.Hourly(outcomes.time, np.asarray(outcomes.returns), sigma)


def _opening(histories: Mapping[str, Series], results: forecasts.Results) -> str:
    first, last = forecasts.span(results)
    candles = ", ".join(
        f"{symbol} {int((~series.missing).sum()):,} hourly candles to {series.as_of:%Y-%m-%d %H:%M}"
        for symbol, series in histories.items()
    )
    return f"""Written by `python -m scripts.evaluation`, and can be made again. No model had seen the hours that it
forecasts here; but not everything about the models was settled without knowing such hours: see the protocol, below.

Data: {candles} (UTC). Forecasts from {first:%Y-%m-%d} to {last:%Y-%m-%d}, one at the close of every hour.

What the figures are, before anything else:

- Errors are **mean absolute errors**, beside those of the random walk, which says the last price. The **squared** error
  is listed too: see there whether it beats the random walk at all.
- The gain is small. {forecasts.fading(results)} See the table by year.
- At a day ahead the honest forecast is the last price, or nearly.
- What is worth more than the point is how sure it is: intervals, `confidence` and risk.

How to read a goal: "met" or "MISSED" is the measurement against what design asked for, row by row, for each symbol."""


def _protocol() -> report.Section:
    constants = [
        ("refit", f"every {protocol.REFIT_MONTHS} months, all symbols pooled"),
        ("learned from", f"{TRAIN_HOURS // 24} days of candles, which end {PURGE_HOURS} hours before the quarter"),
        ("seed", f"{protocol.SEED}"),
        ("trees of the median", _sizes(ensemble.MEDIAN_SIZE, ensemble.MEDIAN_SIZE_LONG)),
        ("trees of the variance", _sizes(ensemble.VARIANCE_SIZE, ensemble.VARIANCE_SIZE_LONG)),
        (
            "network",
            f"{ensemble.NETWORK_SAMPLES:,} samples, {ensemble.NETWORK_EPOCHS} epochs; at a day "
            f"{ensemble.NETWORK_EPOCHS_LONG}",
        ),
        ("sigma", "geometric mean of trees, HAR and network, weights " + _listed(ensemble.SIGMA_WEIGHTS, "{:.2f}")),
        (
            "`ensemble`",
            "mean of trees and network, moved towards the last price where its gains over the last "
            f"{GATE_DAYS} days have a t below {calibration.GATE_OPEN_T:g}; at {calibration.GATE_SHUT_T:g} it is the "
            "last price",
        ),
        ("residuals of intervals", _listed(RESIDUALS.values(), "{:,}") + " hours at " + ", ".join(TIMEFRAMES)),
        ("residuals of confidence", _listed(CONFIDENCE_RESIDUALS.values(), "{:,}") + " hours"),
        ("band of confidence", _listed(BANDS.values(), "±{:.1%}")),
        ("empirical quantiles", f"of the {protocol.EMPIRICAL_HOURS // 24} days before the quarter"),
    ]
    text = f"""Frozen in `scripts/evaluation/protocol.py` and the modules it names. At the start of every quarter one
model for each horizon is trained; it forecasts every hour of that quarter, each as of that hour's close, by the code
that serves, with residuals that roll on. A forecast counts where its hour and its outcome's hour have a candle.

What was settled by which candles, whatever test period this run was given: the kinds of model and the goals were taken
over from the design, whose own measurement reaches over {protocol.DESIGN_PERIOD}. What had to be chosen beyond that was
chosen by candles of {protocol.CHOSEN_PERIOD}. Two of these choices, the window of intervals at a day (180 days, not
365) and the size of the variance's trees at 1h and 4h, were made by those candles, but only after a first run had shown
figures of the test period {protocol.SEEN_PERIOD}: figures of that period are not free of hindsight. Candles after
it are free of these two, and candles after the design's measurement of all.

{report.table(("what", "value"), constants)}"""
    return report.Section("Protocol", text)


def _sizes(short: Size, long: Size) -> str:
    told = [f"{size.rounds} of {size.leaves} leaves, {size.samples} samples a leaf" for size in (short, long)]
    return "; at a day ".join(told)


def _listed(values: Iterable[float], form: str) -> str:
    return ", ".join(form.format(value) for value in values)


def _histories(given: Sequence[str], folder: Path) -> Mapping[str, Series]:
    files: dict[str, list[Path]] = {}
    for one in given:
        symbol, _, name = one.partition("=")
        if not symbol or not name:
            raise ValueError(f"--candles takes SYMBOL=FILE, not {one!r}")
        files.setdefault(symbol, []).append(Path(name))
    if not given:
        for path in sorted(folder.glob("*-1h-*.csv.gz")):
            pair = re.match(r"([a-z0-9]+?)(usdt|usdc|usd|eur)-1h-", path.name)
            if pair:
                files.setdefault(f"{pair[1]}-{pair[2]}".upper(), []).append(path)
    if not files:
        raise ValueError(f"no candles: {folder} has no <symbol>-1h-*.csv.gz; see --data and --candles")
    return {symbol: protocol.joined([protocol.read(path) for path in paths]) for symbol, paths in files.items()}


def _day(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)


def _earlier(moment: datetime, months: int) -> datetime:
    month = moment.year * 12 + moment.month - 1 - months
    return moment.replace(year=month // 12, month=month % 12 + 1, day=1)


if __name__ == "__main__":
    sys.exit(main())
