"""`entasis train`: models from stored history or from candle files. A running engine takes them up by itself."""
# ruff: noqa: PLC0415 - commands import what they need, so that --help is quick

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.markup import escape

from entasis_engine.commands.printing import moment, print_json, print_table, screen, settings_in, tell
from entasis_engine.settings import Settings
from entasis_engine.times import isoformat

if TYPE_CHECKING:
    from entasis_engine.analysis.registry import Listed, Registry, VersionInfo
    from entasis_engine.analysis.series import Series
    from entasis_engine.analysis.training import Progress
    from entasis_engine.exchanges.feed import Candle


SYMBOL = re.compile(r"[A-Z0-9]{1,20}-[A-Z0-9]{1,20}")
CANDLES_FORM = "SYMBOL=FILE, such as BTC-USDT=btcusdt-1h.csv.gz"
ROWS_AT_ONCE = 5000
FUTURE_MAX = timedelta(days=36_500)
"""A simulated market may run ahead of the clock."""


def train(
    candles: Annotated[
        list[str] | None,
        typer.Option(
            help="Learn from a file of hourly candles, in place of stored history: CSV, gzipped or not, with the "
            "columns open_time, open, high, low, close and volume. Repeat for several; where those of one symbol "
            "overlap, the later one given counts.",
            metavar="SYMBOL=FILE",
        ),
    ] = None,
    timeframe: Annotated[
        list[str] | None,
        typer.Option(help="Train this one alone: 1h, 4h or 1d; repeat for several.", show_default="all"),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="Whose history it is, by the name that the engine keeps it under: binance, simulated-7. Models serve "
            "only the market of that name.",
            show_default="that of ENTASIS_FEED; with --candles ENTASIS_LIVE_EXCHANGE",
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Threads to train with.")] = 1,
    show: Annotated[bool, typer.Option("--list", help="Show the versions that there are, and train nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table, for scripts.")] = False,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of history and models.", show_default="ENTASIS_DATA_DIR, or entasis-data"),
    ] = None,
) -> None:
    """Train the models that forecast, and put them to use.

    It learns from the history that the engine keeps, and needs no engine to be stopped: one that runs serves the new
    models soon (ENTASIS_MODELS_POLL_SECONDS). To learn from files:

    `entasis train --candles BTC-USDT=btcusdt-1h.csv.gz --candles ETH-USDT=ethusdt-1h.csv.gz`
    """
    settings = settings_in(data_dir)
    registry = _registry(settings)
    if show:
        _list(registry, as_json)
        return
    _check_timeframes(timeframe)
    files = _files(candles or [])
    market = source or (settings.live_exchange if files else source_of(settings))
    histories = _of_files(files) if files else _of_store(settings, market)
    spans = ", ".join(f"{symbol} {len(one):,} h" for symbol, one in histories.items())
    tell(f"Learning from the history of [bold]{escape(market)}[/]: {spans}.")
    version = _trained(settings, histories, market, timeframe, threads)
    listed = next((one for one in registry.versions() if one.version == version), None)
    if listed is None or listed.info is None:
        _refuse(f"{version} was trained, and cannot be read: {listed.fault if listed else 'it was removed'}")
    if as_json:
        print_json(_as_json(listed, in_use=True))
    else:
        _print_metrics(listed.info)
        tell("[dim]Errors are of forecasts out of sample, relative to the random walk: below 1 is better.[/]")
    tell(
        f"Version [bold]{version}[/] is in use for the history of {escape(market)}; a running engine serves it soon "
        "(ENTASIS_MODELS_POLL_SECONDS)."
    )


def source_of(settings: Settings) -> str:
    """The name that the engine keeps the history of its feed under."""
    match settings.feed:
        case "simulated":
            return f"simulated-{settings.simulated_seed}"
        case "recorded":
            return "binance"  # the only exchange whose frames are recorded
        case "live":
            return settings.live_exchange


# Training.


def _trained(
    settings: Settings, histories: Mapping[str, Series], source: str, timeframes: Sequence[str] | None, threads: int
) -> str:
    from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    from entasis_engine.analysis.forecasting import TIMEFRAMES
    from entasis_engine.analysis.training import HistoryTooShortError, Trainer, TrainingBusyError, TrainingError

    trainer = Trainer(settings.models_path, deadline_seconds=settings.training_seconds_max, threads=threads)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    shown: dict[str, TaskID] = {}
    with Bars(*columns, console=screen) as bars:
        for one in TIMEFRAMES:
            if not timeframes or one in timeframes:
                shown[one] = bars.add_task(one, total=1.0, start=False)

        def show(progress: Progress) -> None:
            task = shown[progress.timeframe]
            if not bars.tasks[bars.task_ids.index(task)].started:
                bars.start_task(task)
            bars.update(task, completed=progress.share)
            if progress.skipped is not None:
                needed, given = progress.skipped
                bars.update(task, description=f"{progress.timeframe} skipped: {needed} h needed, {given} there")
            if progress.share >= 1:
                bars.stop_task(task)

        try:
            return asyncio.run(trainer.train(histories, source, show, timeframes=timeframes))
        except TrainingBusyError:
            refusal = "A training is going on already, of an engine or another `entasis train`. Wait until it is over."
        except HistoryTooShortError as error:
            refusal = (
                f"{error.needed:,} hours of candles are needed, and there are {error.given:,}. Let the engine run "
                "until it has fetched more (ENTASIS_HOURLY_HISTORY_DAYS says how far back it goes), or learn from "
                f"files: --candles {CANDLES_FORM}."
            )
        except TrainingError as error:
            refusal = f"{error}\nModels that were in use before still are, but for timeframes that are done above."
    return _refuse(refusal)


def _check_timeframes(given: Sequence[str] | None) -> None:
    from entasis_engine.analysis.forecasting import TIMEFRAMES

    for one in given or ():
        if one not in TIMEFRAMES:
            raise typer.BadParameter(f"'{one}' is none of {', '.join(TIMEFRAMES)}.", param_hint="--timeframe")


# What to learn from.


def _files(given: Sequence[str]) -> Mapping[str, list[Path]]:
    files: dict[str, list[Path]] = defaultdict(list)
    for one in given:
        symbol, _, name = one.partition("=")
        if not SYMBOL.fullmatch(symbol) or not name:
            raise typer.BadParameter(f"'{one}' is not {CANDLES_FORM}.", param_hint="--candles")
        files[symbol].append(Path(name))
    return files


def _of_files(files: Mapping[str, Sequence[Path]]) -> dict[str, Series]:
    from entasis_engine.exchanges.feed import FeedError
    from entasis_engine.exchanges.recorded import read_candles

    histories = {}
    for symbol, names in files.items():
        found: list[Candle] = []
        for name in names:
            try:
                found.extend(read_candles(name))
            except FeedError as error:
                _refuse(f"{error}")
        # Files may overlap; of two candles of one hour the later one given counts, as the evaluation has it.
        whole = {candle.open_time: candle for candle in found}
        histories[symbol] = _series(
            symbol, [whole[moment] for moment in sorted(whole)], "Give hourly candles, as exchanges keep them."
        )
    return histories


def _of_store(settings: Settings, source: str) -> dict[str, Series]:
    """Every symbol's hourly candles in the database, which an engine may have open: nothing is written to it."""
    import sqlite3

    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    from entasis_engine.exchanges.feed import Interval

    advice = f"Start the engine, which fetches history, or learn from files: --candles {CANDLES_FORM}."
    try:
        name = make_url(settings.resolved_database_url).database
    except ArgumentError:
        name = None
    if not name:
        _refuse(f"ENTASIS_DATABASE_URL names no file. {advice}")
    file = Path(name).absolute()
    if not file.is_file():
        _refuse(f"There is no history in {file}. {advice}")
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
            kept = connection.execute(
                "SELECT source, symbol FROM candles WHERE interval = ? GROUP BY source, symbol", (Interval.HOUR.value,)
            ).fetchall()
        symbols = [symbol for its_source, symbol in kept if its_source == source]
        if not symbols:
            others = ", ".join(sorted({its_source for its_source, _ in kept}))
            there = f"There is that of {others}: --source names it. " if others else ""
            _refuse(f"There are no hourly candles of {source} in {file}. {there}{advice}")
        found = asyncio.run(_read(file, source, symbols))
    except (sqlite3.Error, SQLAlchemyError) as error:
        _refuse(f"The database {file} cannot be read: {getattr(error, 'orig', None) or error}. {advice}")
    return {symbol: _series(symbol, candles, "Learn from files instead: --candles.") for symbol, candles in found}


async def _read(file: Path, source: str, symbols: Sequence[str]) -> list[tuple[str, list[Candle]]]:
    from sqlalchemy import URL
    from sqlalchemy.ext.asyncio import create_async_engine

    from entasis_engine.exchanges.feed import Interval
    from entasis_engine.storage.candles import CandleStore
    from entasis_engine.storage.database import Database
    from entasis_engine.times import EPOCH, system_clock

    engine = create_async_engine(URL.create("sqlite+aiosqlite", database=file.as_uri(), query=_READ_ONLY))
    try:
        store = CandleStore(Database(writer=engine, reader=engine))  # both can only read
        found = []
        for symbol in symbols:
            candles: list[Candle] = []
            start, end = EPOCH, system_clock() + FUTURE_MAX
            while page := await store.read(source, symbol, Interval.HOUR, start, end, ROWS_AT_ONCE):
                candles += page
                start = page[-1].open_time + Interval.HOUR.length
            found.append((symbol, candles))
        return found
    finally:
        await engine.dispose()


_READ_ONLY = {"mode": "ro", "uri": "true"}


def _series(symbol: str, candles: Sequence[Candle], advice: str) -> Series:
    from entasis_engine.analysis.series import Series, SeriesError

    try:
        return Series.of(candles)
    except SeriesError as error:
        _refuse(f"The candles of {symbol} cannot be learned from: {error}. {advice}")


# How things are told.


def _list(registry: Registry[Any], as_json: bool) -> None:
    from entasis_engine.analysis.registry import ModelError

    try:
        listed = registry.versions()
        in_use = {registry.current(one.info.source) for one in listed if one.info is not None}
    except ModelError as error:
        _refuse(str(error))
    if as_json:
        print_json([_as_json(one, in_use=one.version in in_use) for one in listed])
        return
    rows = []
    for one in listed:
        info = one.info
        if info is None:
            rows.append((one.version, "", f"unusable: {one.fault}", "", "", ""))
            continue
        rows.append(
            (
                one.version,
                info.source,
                "in use" if one.version in in_use else "" if info.complete else "not complete",
                moment(info.created_at),
                "\n".join(info.timeframes),
                "\n".join(moment(timeframe.cutoff) for timeframe in info.timeframes.values()),
            )
        )
    if rows:
        print_table(("version", "history of", "state", "trained", "timeframes", "learned until"), rows)
    else:
        tell(f"There are no models in {escape(str(registry.root))} yet. Make them: entasis train")


def _print_metrics(info: VersionInfo) -> None:
    names = sorted({name for one in info.timeframes.values() for name in one.metrics})
    rows = [
        (
            timeframe,
            ", ".join(one.symbols),
            f"{one.trained_from:%Y-%m-%d} to {moment(one.cutoff)}",
            f"{one.sample_size:,}",
            *(f"{one.metrics[name]:.4f}" if name in one.metrics else "" for name in names),
        )
        for timeframe, one in info.timeframes.items()
    ]
    print_table(("timeframe", "symbols", "learned from", "samples", *(name.replace("_", " ") for name in names)), rows)


def _as_json(listed: Listed, *, in_use: bool) -> dict[str, Any]:
    info = listed.info
    if info is None:
        return {"version": listed.version, "fault": listed.fault}
    return {
        "version": listed.version,
        "source": info.source,
        "in_use": in_use,
        "complete": info.complete,
        "created_at": isoformat(info.created_at),
        "libraries": dict(info.libraries),
        "timeframes": {
            timeframe: {
                "symbols": list(one.symbols),
                "trained_from": isoformat(one.trained_from),
                "cutoff": isoformat(one.cutoff),
                "trained_in": one.trained_in,
                "trained_at": isoformat(one.trained_at),
                "sample_size": one.sample_size,
                "metrics": dict(one.metrics),
            }
            for timeframe, one in info.timeframes.items()
        },
    }


def _registry(settings: Settings) -> Registry[Any]:
    from entasis_engine.analysis.forecasting import Trained
    from entasis_engine.analysis.registry import Registry

    return Registry(settings.models_path.absolute(), Trained.from_files)


def _refuse(problem: str) -> NoReturn:
    tell(f"[red]{escape(problem)}[/]")
    raise typer.Exit(1)
