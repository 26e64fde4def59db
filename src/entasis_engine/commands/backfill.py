"""`entasis backfill`: candles of the past into the engine's own database, from files or from an exchange."""
# ruff: noqa: PLC0415 - commands import what they need, so that --help is quick

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from rich.markup import escape

from entasis_engine.commands.printing import moment, print_json, print_table, screen, settings_in, tell

if TYPE_CHECKING:
    from datetime import datetime

    from entasis_engine.commands.backfill_rules import Conflicts, Tally
    from entasis_engine.exchanges.feed import Candle, Feed, Interval
    from entasis_engine.settings import Settings
    from entasis_engine.storage.candles import CandleStore
    from entasis_engine.storage.database import Database

BATCH_CANDLES = 1000
"""Of an exchange a request, and a transaction; of files what is held at a time."""
ATTEMPTS_MAX = 5
BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_MAX_SECONDS = 30.0
DEADLINE_SECONDS = 60.0
"""Of one batch from an exchange."""
KEPT_OF_FILES = "Files that were loaded to their end are kept, and nothing of the others; run it again to go on."
KEPT_OF_EXCHANGE = "What was loaded before is kept; run it again to go on."
SOURCE = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
SYMBOL = re.compile(r"[A-Z0-9]{1,20}-[A-Z0-9]{1,20}")


def backfill(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Candle files named by symbol and interval, such as btcusdt-1h-2024.csv or .csv.gz, with the columns "
            "open_time, open, high, low, close and volume.",
            show_default=False,
            metavar="FILE",
        ),
    ] = None,
    exchange: Annotated[
        str | None, typer.Option(help="Ask this exchange instead, by its ccxt id: binance.", show_default=False)
    ] = None,
    symbols: Annotated[
        str | None,
        typer.Option(help="With --exchange: what to ask for, such as BTC-USDT,ETH-USDT.", show_default="BTC-USDT"),
    ] = None,
    interval: Annotated[
        Literal["1m", "5m", "1h", "1d"] | None,
        typer.Option(help="With --exchange: the length of the candles.", show_default="1h"),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--from", help="With --exchange: the first day, or time, in UTC.", metavar="WHEN"),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--to", help="With --exchange: the time before which it ends.", show_default="now", metavar="WHEN"
        ),
    ] = None,
    conflicts: Annotated[
        Literal["keep", "replace", "stop"],
        typer.Option(help="Where another candle is stored for the same time: keep that one, replace it, or stop."),
    ] = "keep",
    compare: Annotated[
        bool, typer.Option("--compare", help="With --exchange: ask for candles too that are stored, and compare them.")
    ] = False,
    source: Annotated[
        str | None,
        typer.Option(
            help="Whose history it is, by the name that the engine keeps it under: binance, simulated-7.",
            show_default="the exchange; for files ENTASIS_LIVE_EXCHANGE",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table, for scripts.")] = False,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the database.", show_default="ENTASIS_DATA_DIR, or entasis-data")
    ] = None,
) -> None:
    """Load candles of the past into the engine's database, from files or from an exchange.

    `entasis backfill btcusdt-1h-2017-08_2024-03.csv.gz ethusdt-1h-2017-08_2024-03.csv.gz`

    `entasis backfill --exchange binance --symbols BTC-USDT,ETH-USDT --interval 1h --from 2024-01-01`

    Run again, it changes nothing; broken off, it goes on where it was. The engine must be stopped meanwhile. An engine
    serves the candles where its feed is of the same exchange: `--feed live`, or a recording of it.
    """
    from entasis_engine.commands.backfill_rules import Conflicts

    settings = settings_in(data_dir)
    if exchange is not None:
        exchange = exchange.strip().lower()  # as ccxt names them
        if not SOURCE.fullmatch(exchange):
            raise typer.BadParameter(
                f"'{exchange}' is no name of an exchange such as binance.", param_hint="--exchange"
            )
    plan = _Plan(source or exchange or settings.live_exchange, Conflicts(conflicts), compare, dry_run)
    if not SOURCE.fullmatch(plan.source):
        raise typer.BadParameter(f"'{plan.source}' is no name of a source such as binance.", param_hint="--source")
    if bool(files) == (exchange is not None):
        raise typer.BadParameter("Give either candle files or --exchange.", param_hint="FILE")
    if exchange is None:
        if symbols or interval or since or until or compare:
            raise typer.BadParameter(
                "--symbols, --interval, --from, --to and --compare are for --exchange; the names and lines of files "
                "tell theirs.",
                param_hint="FILE",
            )
        tallies = _in_words(plan, settings, lambda: _load_files(settings, plan, files or []), KEPT_OF_FILES)
    else:
        span = _span(since, until, symbols or "BTC-USDT", interval or "1h")
        tallies = _in_words(plan, settings, lambda: _load_exchange(settings, plan, exchange, span), KEPT_OF_EXCHANGE)
    _tell_result(tallies, plan, settings, as_json=as_json)


@dataclass(frozen=True)
class _Plan:
    source: str
    conflicts: Conflicts
    compare: bool
    dry_run: bool


@dataclass(frozen=True)
class Span:
    """What to ask an exchange for: candles with an open time in `[start, end)`."""

    symbols: tuple[str, ...]
    interval: Interval
    start: datetime
    end: datetime


def _span(since: str | None, until: str | None, symbols: str, interval: str) -> Span:
    from datetime import UTC, datetime

    from entasis_engine.commands.backfill_rules import moment_of, rounded_up
    from entasis_engine.exchanges.feed import Interval
    from entasis_engine.market.candles import open_time_of
    from entasis_engine.times import system_clock

    if since is None:
        raise typer.BadParameter("is needed with --exchange: the first day, such as 2024-01-01.", param_hint="--from")
    length, now = Interval(interval), system_clock()
    first = datetime(1970, 1, 1, tzinfo=UTC)
    bounds = {"--from": since, "--to": until or now.isoformat()}
    moments = {}
    for option, text in bounds.items():
        try:
            moments[option] = moment_of(text)
        except ValueError:
            raise typer.BadParameter(
                f"'{text}' is neither a date, 2024-01-31, nor a time, 2024-01-31T12:00:00Z.", param_hint=option
            ) from None
    wanted = tuple(dict.fromkeys(one.strip().upper() for one in symbols.split(",") if one.strip()))
    for one in wanted:
        if not SYMBOL.fullmatch(one):
            raise typer.BadParameter(f"'{one}' is no symbol such as BTC-USDT.", param_hint="--symbols")
    if moments["--from"] < first:
        raise typer.BadParameter("is before 1970, when there were no such markets.", param_hint="--from")
    start = rounded_up(moments["--from"], length)
    end = min(rounded_up(moments["--to"], length), open_time_of(now, length))  # the one in progress is not over
    if end <= start or not wanted:
        raise typer.BadParameter("leaves no candle that is over by now.", param_hint="--from")
    return Span(wanted, length, start, end)


def _in_words(plan: _Plan, settings: Settings, load: Callable[[], Awaitable[list[Tally]]], kept: str) -> list[Tally]:
    """Run a loading, and tell what a person can mend in one line; `kept` is what stays where it is broken off."""
    from sqlalchemy.exc import SQLAlchemyError

    from entasis_engine.commands.backfill_rules import BadCandleError, ConflictError
    from entasis_engine.exchanges.feed import FeedError
    from entasis_engine.storage.database import DatabaseBusyError, DatabaseError

    async def run() -> list[Tally]:
        return await load()

    try:
        return asyncio.run(run())
    except KeyboardInterrupt:
        tell(f"Broken off. {'Nothing was written.' if plan.dry_run else kept}")
        raise typer.Exit(130) from None
    except DatabaseBusyError:
        _refuse(
            f"An engine has the database in {settings.data_dir} open, and only one process may write it. Stop the "
            "engine (Ctrl-C where it runs), run this again, then start it; or look first with --dry-run."
        )
    except ConflictError as error:
        _refuse(
            f"{error}. Nothing of this part was written. Look which one is right: --conflicts keep leaves what is "
            "stored, --conflicts replace takes the new one."
        )
    except BadCandleError as error:
        _refuse(f"{error} {'Nothing was written.' if plan.dry_run else 'Nothing of it was written.'}")
    except (FeedError, DatabaseError) as error:
        _refuse(str(error))
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        _refuse(f"The database cannot be used: {cause}. `entasis doctor` looks what is wrong.")


# From files. Each is one transaction.


async def _load_files(settings: Settings, plan: _Plan, files: Sequence[Path]) -> list[Tally]:
    from entasis_engine.commands.backfill_rules import Tally, missing_between
    from entasis_engine.exchanges.feed import FeedError
    from entasis_engine.exchanges.recorded import name_of_candles
    from entasis_engine.storage.candles import CandleStore

    named = [(file, *name_of_candles(file)) for file in files]
    # All are looked through first: a bad line in the last one must not be found when the others are stored.
    with _bar("checking") as advance:
        counts = []
        for file, _, interval in named:
            count = 0
            for batch in _batches(file, interval):
                count += len(batch)
                advance(len(batch), 0)
                await asyncio.sleep(0)  # where Ctrl-C takes effect
            if not count:
                raise FeedError(f"{file.name}: it has no candle, only the names of the columns.")
            counts.append(count)
    tallies = []
    async with _opened(settings, plan) as database:
        store = CandleStore(database) if database is not None else None
        with _bar("comparing" if plan.dry_run else "loading", sum(counts)) as advance:
            for (file, symbol, interval), count in zip(named, counts, strict=True):
                tally = Tally(symbol, interval)
                await _load_file(store, plan, file, tally, advance)
                if tally.first is not None and tally.last is not None:
                    tally.absent = missing_between(tally.first, tally.last, count, interval)
                tallies.append(tally)
    return tallies


async def _load_file(
    store: CandleStore | None, plan: _Plan, file: Path, tally: Tally, advance: Callable[[int, int], None]
) -> None:
    from entasis_engine.commands.backfill_rules import take

    if store is None or plan.dry_run:
        for batch in _batches(file, tally.interval):
            stored = await _stored(store, plan.source, tally, batch) if store is not None else {}
            take(batch, stored, plan.conflicts, tally)
            advance(len(batch), 0)
            await asyncio.sleep(0)
        return
    async with store.loading(plan.source, tally.symbol, tally.interval) as loading:
        for batch in _batches(file, tally.interval):
            stored = await loading.read(batch[0].open_time, batch[-1].open_time + tally.interval.length)
            await loading.write(take(batch, stored, plan.conflicts, tally))
            advance(len(batch), 0)
            await asyncio.sleep(0)


def _batches(file: Path, interval: Interval) -> Iterable[list[Candle]]:
    from entasis_engine.commands.backfill_rules import checked
    from entasis_engine.exchanges.recorded import numbered_candles
    from entasis_engine.times import system_clock

    candles = (candle for _, candle in checked(numbered_candles(file), interval, system_clock(), f"{file.name}, line"))
    while batch := list(islice(candles, BATCH_CANDLES)):
        yield batch


async def _stored(store: CandleStore, source: str, tally: Tally, batch: Sequence[Candle]) -> dict[datetime, Candle]:
    from entasis_engine.storage.writes import finished

    end = batch[-1].open_time + tally.interval.length
    # Finished even after Ctrl-C: the thread that reads would answer to a loop that has ended.
    found = await finished(store.read(source, tally.symbol, tally.interval, batch[0].open_time, end, BATCH_CANDLES))
    return {candle.open_time: candle for candle in found}


# From an exchange. Each batch is one transaction.


async def _load_exchange(settings: Settings, plan: _Plan, exchange: str, span: Span) -> list[Tally]:
    import importlib.util

    from entasis_engine.exchanges.live import LiveFeed
    from entasis_engine.storage.candles import CandleStore

    if plan.dry_run and importlib.util.find_spec("ccxt") is not None:
        await LiveFeed(exchange, span.symbols).close()  # which says so where there is no such exchange
    async with _opened(settings, plan) as database:
        store = CandleStore(database) if database is not None else None
        if plan.dry_run:
            return [await _what_is_missing(store, plan, symbol, span) for symbol in span.symbols]
        assert store is not None  # noqa: S101 - only a dry run goes without
        feed = LiveFeed(exchange, span.symbols)
        try:
            return await load_from(feed, store, span, plan.source, plan.conflicts, compare=plan.compare)
        finally:
            await feed.close()


async def _what_is_missing(store: CandleStore | None, plan: _Plan, symbol: str, span: Span) -> Tally:
    """In a dry run the exchange is not asked: everything that is not stored counts as new."""
    from entasis_engine.commands.backfill_rules import Tally
    from entasis_engine.storage.writes import finished

    known: Sequence[datetime] = ()
    if store is not None:
        known = await finished(store.open_times(plan.source, symbol, span.interval, span.start, span.end))
    total = (span.end - span.start) // span.interval.length
    return Tally(
        symbol,
        span.interval,
        new=total - len(known),
        same=len(known),
        first=span.start,
        last=span.end - span.interval.length,
    )


async def load_from(
    feed: Feed,
    store: CandleStore,
    span: Span,
    source: str,
    conflicts: Conflicts,
    *,
    compare: bool = False,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> list[Tally]:
    """Load candles that are not stored, a batch a transaction.

    Args:
        compare: ask for those too that are stored.

    Raises:
        FeedError: the exchange cannot be used; what was loaded before is kept.
        BadCandleError: it gives what cannot be.
        ConflictError: a candle is stored with other figures, and `conflicts` is to stop there.
    """
    from entasis_engine.commands.backfill_rules import Tally, checked, pages, take
    from entasis_engine.market.keeper import missing_ranges
    from entasis_engine.storage.writes import finished

    await feed.instruments()  # an exchange that is not there, or lacks a symbol, shows before anything is written
    total = (span.end - span.start) // span.interval.length * len(span.symbols)
    tallies = []
    with _bar("loading", total) as advance:
        for symbol in span.symbols:
            tally = Tally(symbol, span.interval)
            ranges = [(span.start, span.end)]
            if not compare:
                # Of one symbol at a time: a year of minutes is half a million of them.
                known = await finished(store.open_times(source, symbol, span.interval, span.start, span.end))
                ranges = list(missing_ranges(known, span.interval, span.start, span.end))
                tally.same = len(known)
                advance(tally.same, tally.same)
            for start, end in pages(ranges, span.interval, BATCH_CANDLES):
                given = await _asked(feed, symbol, span.interval, start, end, sleep)
                numbered = checked(enumerate(given, 1), span.interval, feed.now(), f"{feed.exchange}, {symbol}, candle")
                candles = [candle for _, candle in numbered]
                async with store.loading(source, symbol, span.interval) as loading:
                    await loading.write(take(candles, await loading.read(start, end), conflicts, tally))
                expected = (end - start) // span.interval.length
                tally.absent += expected - len(candles)
                advance(expected, 0)
            tallies.append(tally)
    return tallies


async def _asked(
    feed: Feed,
    symbol: str,
    interval: Interval,
    start: datetime,
    end: datetime,
    sleep: Callable[[float], Awaitable[None]],
) -> Sequence[Candle]:
    import random

    from entasis_engine.exchanges.feed import FeedError
    from entasis_engine.exchanges.live_rules import Backoff

    backoff = Backoff(BACKOFF_FIRST_SECONDS, BACKOFF_MAX_SECONDS, random.Random())  # noqa: S311 - spreads requests
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await feed.candles(symbol, interval, start, end)
        except (FeedError, TimeoutError) as error:
            reason = str(error) or "no answer in time"
            if attempt == ATTEMPTS_MAX:
                raise FeedError(
                    f"{feed.exchange} does not give the candles of {symbol} from {moment(start)} on: {reason}. What "
                    "was loaded before is kept; run it again to go on."
                ) from error
            await sleep(backoff.next_seconds())
    raise AssertionError("unreachable")


# What both share.


@asynccontextmanager
async def _opened(settings: Settings, plan: _Plan) -> AsyncIterator[Database | None]:
    """The database; in a dry run to read alone, and None where there is none yet."""
    from entasis_engine.storage.database import open_database, open_to_read

    url = settings.resolved_database_url
    async with open_to_read(url) if plan.dry_run else open_database(url) as database:
        yield database


class _bar:  # noqa: N801 - it is used as a function is
    """A progress bar on standard error, where that is a terminal. Gives `advance(candles, of_them_skipped)`."""

    def __init__(self, what: str, total: int | None = None) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("candles"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        self._bars = Progress(*columns, console=screen, disable=not screen.is_terminal, transient=True)
        self._task = self._bars.add_task(what, total=total, rate="")
        self._skipped = 0

    def __enter__(self) -> Callable[[int, int], None]:
        self._bars.start()
        return self._advance

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def _advance(self, candles: int, skipped: int) -> None:
        self._skipped += skipped
        (task,) = self._bars.tasks
        done = task.completed + candles - self._skipped
        rate = f"{done / task.elapsed:,.0f}/s" if task.elapsed else ""
        self._bars.update(self._task, advance=candles, rate=rate)


def _tell_result(tallies: Sequence[Tally], plan: _Plan, settings: Settings, *, as_json: bool) -> None:
    from entasis_engine.commands.backfill_rules import Conflicts, told

    if as_json:
        print_json([_as_json(one, plan) for one in tallies])
    else:
        rows = [
            (
                one.symbol,
                one.interval.value,
                moment(one.first) if one.first else "",
                moment(one.last) if one.last else "",
                *(f"{count:,}" for count in (one.new, one.same, one.conflicting, one.absent)),
            )
            for one in tallies
        ]
        print_table(("symbol", "interval", "first", "last", "new", "same", "conflicting", "absent"), rows)
    for one in tallies:
        done = "replaced" if plan.conflicts is Conflicts.REPLACE else "kept as they were"
        if one.conflicting:
            would = "would be " if plan.dry_run else ""
            tell(
                f"[yellow]{one.symbol} {one.interval.value}: {one.conflicting:,} that are stored with other figures "
                f"{would}{done}[/]; {escape('; '.join(told(*example) for example in one.examples))}."
            )
    if plan.dry_run:
        tell("Nothing was written (--dry-run).")
    _tell_who_serves(plan, settings)


def _tell_who_serves(plan: _Plan, settings: Settings) -> None:
    from entasis_engine.commands.train import source_of

    if source_of(settings) == plan.source:
        tell(f"An engine with these settings serves them: they are the history of [bold]{plan.source}[/].")
    else:
        tell(
            f"They are the history of [bold]{plan.source}[/]. An engine with ENTASIS_FEED={settings.feed} serves that "
            f"of {source_of(settings)}, and so not these; start it with --feed live, or with a recording of "
            f"{plan.source}."
        )


def _as_json(tally: Tally, plan: _Plan) -> dict[str, Any]:
    from entasis_engine.times import isoformat

    return {
        "source": plan.source,
        "symbol": tally.symbol,
        "interval": tally.interval.value,
        "first": isoformat(tally.first) if tally.first else None,
        "last": isoformat(tally.last) if tally.last else None,
        "new": tally.new,
        "same": tally.same,
        "conflicting": tally.conflicting,
        "absent": tally.absent,
        "conflicts": plan.conflicts.value,
        "dry_run": plan.dry_run,
    }


def _refuse(problem: str) -> NoReturn:
    tell(f"[red]{escape(problem)}[/]")
    raise typer.Exit(1)
