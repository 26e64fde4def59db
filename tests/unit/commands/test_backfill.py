"""What may be backfilled, what is new about it, and what becomes of the database."""

from __future__ import annotations

import gzip
import json
import signal
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import typer
from click.testing import Result
from msgspec.structs import replace
from tests.support.market import BTC, NoSleep
from typer.testing import CliRunner

from entasis_engine.commands.backfill import Span, _batches, backfill, load_from
from entasis_engine.commands.backfill_rules import (
    BadCandleError,
    ConflictError,
    Conflicts,
    Tally,
    checked,
    missing_between,
    moment_of,
    pages,
    rounded_up,
    take,
)
from entasis_engine.exchanges.feed import Candle, FeedError, Instrument, Interval
from entasis_engine.storage.candles import CandleStore
from entasis_engine.storage.database import open_database

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
NOW = datetime(2024, 6, 1, tzinfo=UTC)
HEADER = "open_time,open,high,low,close,volume"

app = typer.Typer()
app.command()(backfill)


def candle(hour: int, close: str = "105", *, low: str = "90") -> Candle:
    return Candle(START + hour * HOUR, Decimal(100), Decimal(110), Decimal(low), Decimal(close), Decimal("1.5"))


def line(hour: int, close: str = "105", *, low: str = "90") -> str:
    return f"{(START + hour * HOUR).isoformat()},100,110,{low},{close},1.5"


def write(folder: Path, *lines: str, name: str = "btcusdt-1h-2024.csv") -> Path:
    file = folder / name
    text = "\n".join([HEADER, *lines, ""])
    if name.endswith(".gz"):
        file.write_bytes(gzip.compress(text.encode()))
    else:
        file.write_text(text)
    return file


def run(folder: Path, *arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [*map(str, arguments), "--data-dir", str(folder / "data")])
    assert result.exit_code == code, result.output
    return result


def counted(result: Result) -> list[int]:
    """New, same and conflicting, as JSON tells them."""
    (one,) = json.loads(result.stdout)
    return [one["new"], one["same"], one["conflicting"]]


def closes(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "data" / "entasis.db")) as connection:
        return [row[0] for row in connection.execute("SELECT close FROM candles ORDER BY open_time")]


# Rules.


@pytest.mark.parametrize(
    ("candles", "said"),
    [
        ([candle(0), candle(0)], "line 2: .*comes after"),
        ([candle(1), candle(0)], "line 2: .*in order"),
        ([candle(0, low="106")], "line 1: .*prices that cannot be"),
        ([candle(0, low="0")], "line 1: .*above 0"),
        ([Candle(START + timedelta(minutes=30), *[Decimal(1)] * 5)], "line 1: .*whole 1h"),
        ([candle(0), candle(24 * 152)], "line 2: .*is not over before 2024-06-01T01:00:00Z"),
        ([replace(candle(0), open_time=datetime(9999, 12, 31, 23, tzinfo=UTC))], "line 1: .*in the future"),
        ([candle(0, "1E+999999999")], "line 1: .*more than 18 digits"),
        ([candle(0, low="1E-19")], "line 1: .*more than 18 digits"),
        ([candle(0, "NaN")], "line 1: .*more than 18 digits"),
    ],
)
def test_a_candle_that_must_not_be_stored_is_named_by_its_line(candles: Sequence[Candle], said: str) -> None:
    """Out of order, twice, impossible, not aligned, not over."""
    with pytest.raises(BadCandleError, match=f"f.csv, {said}"):
        list(checked(enumerate(candles, 1), Interval.HOUR, NOW, "f.csv, line"))


def test_gaps_are_no_fault() -> None:
    """An exchange that stood still has none for that time."""
    given = list(enumerate([candle(0), candle(5)], 1))
    assert list(checked(given, Interval.HOUR, NOW, "x")) == given


@pytest.mark.parametrize(("how", "written"), [(Conflicts.KEEP, [2]), (Conflicts.REPLACE, [1, 2])])
def test_what_is_stored_is_compared(how: Conflicts, written: list[int]) -> None:
    """Equal figures are the same however they are written; others stay, unless they are to be replaced."""
    stored = {candle(hour).open_time: candle(hour) for hour in (0, 1)}
    tally = Tally("BTC-USDT", Interval.HOUR)
    given = [candle(0, "105.00"), candle(1, "104"), candle(2)]
    assert take(given, stored, how, tally) == [given[index] for index in written]
    assert (tally.new, tally.same, tally.conflicting) == (1, 1, 1)
    assert (tally.first, tally.last) == (START, START + 2 * HOUR)


def test_a_conflict_may_stop_it() -> None:
    """Then both figures are told."""
    with pytest.raises(ConflictError, match=r"BTC-USDT 1h: at 2024-01-01T00:00:00Z close 105 is stored, 104 given"):
        take([candle(0, "104")], {START: candle(0)}, Conflicts.STOP, Tally("BTC-USDT", Interval.HOUR))


def test_pages_cover_ranges_exactly() -> None:
    """Each range in parts of at most so many candles."""
    found = list(pages([(START, START + 5 * HOUR), (START + 7 * HOUR, START + 8 * HOUR)], Interval.HOUR, 2))
    hours = [((start - START) // HOUR, (end - START) // HOUR) for start, end in found]
    assert hours == [(0, 2), (2, 4), (4, 5), (7, 8)]


def test_times_are_utc() -> None:
    """A date is its midnight; a time without zone is in UTC; others are turned into it."""
    assert moment_of("2024-01-01") == START
    assert moment_of("2024-01-01T00:00") == START
    assert moment_of("2024-01-01T09:00+09:00") == START
    assert rounded_up(START + timedelta(minutes=1), Interval.HOUR) == START + HOUR
    assert rounded_up(START, Interval.HOUR) == START
    assert rounded_up(datetime.max.replace(tzinfo=UTC), Interval.HOUR) == datetime(9999, 12, 31, 23, tzinfo=UTC)
    for text in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-14:00"):
        with pytest.raises(ValueError, match=text[:4]):
            moment_of(text)
    assert missing_between(START, START + 5 * HOUR, 4, Interval.HOUR) == 2


# Files.


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    """All are new first, and the same then."""
    file = write(tmp_path, line(0), line(1), line(3), name="btcusdt-1h-2024.csv.gz")
    assert counted(run(tmp_path, file, "--json")) == [3, 0, 0]
    before = closes(tmp_path)
    assert counted(run(tmp_path, file, "--json")) == [0, 3, 0]
    assert closes(tmp_path) == before == ["105", "105", "105"]


@pytest.mark.parametrize(("how", "kept", "code"), [("keep", "105", 0), ("replace", "104", 0), ("stop", "105", 1)])
def test_conflicts_go_as_they_are_told_to(tmp_path: Path, how: str, kept: str, code: int) -> None:
    """Kept by default; a stop leaves everything as it was, new candles before it too."""
    run(tmp_path, write(tmp_path, line(1)))
    given = write(tmp_path, line(0), line(1, "104"), name="btcusdt-1h-other.csv")
    result = run(tmp_path, given, "--conflicts", how, code=code)
    assert closes(tmp_path) == (["105"] if how == "stop" else ["105", kept])
    assert "105 is stored, 104 given" in result.output


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("a,b", "line 3: not a candle"),
        (f"{line(1)[:-3]}1E+9", "line 3: not a number: volume"),
        (f'{line(1)},"{"x" * 200_000}"', "line 3: field larger"),
        (line(0), "line 3: the candle of 2024-01-01T00:00:00Z comes after"),
        (line(1, low="106"), "line 3: prices that cannot be"),
    ],
)
def test_a_bad_line_is_named_and_no_file_is_begun(tmp_path: Path, bad: str, said: str) -> None:
    """All files are looked through before anything is written."""
    good = write(tmp_path, line(0), name="ethusdt-1h.csv")
    result = run(tmp_path, good, write(tmp_path, line(0), bad), code=1)
    assert f"btcusdt-1h-2024.csv, {said}" in result.output
    assert not (tmp_path / "data").exists()


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    """It counts against what is stored, and where there is nothing makes nothing."""
    file = write(tmp_path, line(0), line(1))
    assert counted(run(tmp_path, file, "--dry-run", "--json")) == [2, 0, 0]
    assert not (tmp_path / "data").exists()
    run(tmp_path, write(tmp_path, line(0), name="btcusdt-1h-one.csv"))
    assert counted(run(tmp_path, file, "--dry-run", "--json")) == [1, 1, 0]
    assert closes(tmp_path) == ["105"]


async def test_a_running_engine_is_not_disturbed(tmp_path: Path) -> None:
    """While an engine has the file open, it is refused with what to do; a dry run may look."""
    file = write(tmp_path, line(0))
    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/data/entasis.db"):
        import asyncio

        refused = await asyncio.to_thread(run, tmp_path, file, code=1)
        assert "Stop the engine" in refused.output
        assert counted(await asyncio.to_thread(run, tmp_path, file, "--dry-run", "--json")) == [1, 0, 0]


def test_it_says_which_engine_serves_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Candles of Binance are no history of the simulated market."""
    monkeypatch.setenv("ENTASIS_FEED", "simulated")
    file = write(tmp_path, line(0))
    assert "--feed live" in run(tmp_path, file).output
    assert "with these settings serves them" in run(tmp_path, file, "--source", "simulated-7").output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "either candle files or --exchange"),
        (["btcusdt-1h.csv", "--exchange", "binance"], "either candle files or --exchange"),
        (["btcusdt-1h.csv", "--from", "2024-01-01"], "are for --exchange"),
        (["--exchange", "binance"], "is needed with --exchange"),
        (["--exchange", "binance", "--from", "soon"], "neither a date"),
        (["--exchange", "binance", "--from", "2999-01-01"], "leaves no candle"),
        (["--exchange", "binance", "--from", "0001-01-01T00:00:00+14:00"], "neither a date"),
        (["--exchange", "binance", "--from", "9999-12-31T23:59:00Z"], "leaves no candle"),
        (["--exchange", "binance", "--from", "0001-01-01"], "before 1970"),
        (["--exchange", "my exchange", "--from", "2024-01-01"], "no name of an exchange"),
        (["--exchange", "binance", "--from", "2024-01-01", "--symbols", "BTCUSDT"], "is no symbol"),
    ],
)
def test_what_cannot_be_meant_is_told(tmp_path: Path, arguments: list[str], said: str) -> None:
    """With exit code 2, as for every misuse."""
    output = run(tmp_path, *arguments, code=2).output
    assert said in " ".join(output.replace("│", " ").split())


def test_a_file_without_candles_is_told(tmp_path: Path) -> None:
    """Whoever gives one expects something to be loaded."""
    assert "has no candle" in run(tmp_path, write(tmp_path), code=1).output


def test_names_are_taken_in_capitals_and_small(tmp_path: Path) -> None:
    """As people write those of exchanges and symbols."""
    when = ("--from", "2024-01-01", "--to", "2024-01-02")
    (one,) = json.loads(
        run(tmp_path, "--exchange", "Binance", "--symbols", "btc-usdt", *when, "--dry-run", "--json").stdout
    )
    assert (one["source"], one["symbol"], one["new"]) == ("binance", "BTC-USDT", 24)


def test_a_dry_run_knows_an_exchange_that_there_is_not(tmp_path: Path) -> None:
    """Where ccxt is there to say so."""
    pytest.importorskip("ccxt")
    output = run(tmp_path, "--exchange", "nope", "--from", "2024-01-01", "--dry-run", code=1).output
    assert "no exchange 'nope'" in output


@pytest.mark.parametrize("arguments", [[], ["--dry-run"]])
def test_it_can_be_broken_off_between_two_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """Ctrl-C takes effect while files are looked through, and what is kept is told."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background begins without it
    monkeypatch.setattr("entasis_engine.commands.backfill.BATCH_CANDLES", 2)
    read: list[int] = []

    def batches(file: Path, interval: Interval) -> Iterator[list[Candle]]:
        for number, batch in enumerate(_batches(file, interval)):
            read.append(number)
            if number == 1:
                signal.raise_signal(signal.SIGINT)
            yield list(batch)

    monkeypatch.setattr("entasis_engine.commands.backfill._batches", batches)
    try:
        output = run(tmp_path, write(tmp_path, *map(line, range(20))), *arguments, code=130).output
    finally:
        signal.signal(signal.SIGINT, before)
    assert read == [0, 1]
    assert ("Nothing was written." if arguments else "nothing of the others") in output


# An exchange.


class History:
    """A feed with a history alone, which fails as often as it is told to."""

    exchange = source = "binance"

    def __init__(self, candles: Sequence[Candle], *, failures: int = 0) -> None:
        self.all = candles
        self.failures = failures
        self.asked: list[tuple[int, int]] = []

    async def instruments(self) -> Sequence[Instrument]:
        return [BTC]

    async def candles(self, symbol: str, interval: Interval, start: datetime, end: datetime) -> Sequence[Candle]:
        self.asked.append(((start - START) // HOUR, (end - START) // HOUR))
        if self.failures:
            self.failures -= 1
            raise FeedError("not now")
        return [one for one in self.all if start <= one.open_time < end]

    def now(self) -> datetime:
        return NOW


def span(hours: int) -> Span:
    return Span(("BTC-USDT",), Interval.HOUR, START, START + hours * HOUR)


async def test_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    """What is stored counts as the same; a hole that the exchange has too is told, and asked for again each time."""
    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/x.db") as database:
        store = CandleStore(database)
        await store.save("binance", [("BTC-USDT", Interval.HOUR, candle(2))])
        feed = History([candle(hour) for hour in range(10) if hour != 7])
        (first,) = await load_from(feed, store, span(10), "binance", Conflicts.KEEP)  # type: ignore[arg-type]
        assert feed.asked == [(0, 2), (3, 10)]
        assert (first.new, first.same, first.conflicting, first.absent) == (8, 1, 0, 1)
        (second,) = await load_from(feed, store, span(10), "binance", Conflicts.KEEP)  # type: ignore[arg-type]
        assert feed.asked[2:] == [(7, 8)]
        assert (second.new, second.same, second.absent) == (0, 9, 1)


async def test_stored_candles_are_compared_where_that_is_asked_for(tmp_path: Path) -> None:
    """With `--compare` all are asked for, and one that differs is told."""
    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/x.db") as database:
        store = CandleStore(database)
        await store.save("binance", [("BTC-USDT", Interval.HOUR, candle(0, "101"))])
        feed = History([candle(0), candle(1)])
        found = await load_from(feed, store, span(2), "binance", Conflicts.REPLACE, compare=True)  # type: ignore[arg-type]
        assert (found[0].new, found[0].same, found[0].conflicting) == (1, 0, 1)
        stored = await store.read("binance", "BTC-USDT", Interval.HOUR, START, NOW, 10)
        assert [one.close for one in stored] == [Decimal(105), Decimal(105)]


async def test_it_goes_on_where_it_was_broken_off(tmp_path: Path) -> None:
    """A batch is a transaction: those before a failure are kept, and the next run asks for the rest alone."""
    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/x.db") as database:
        store = CandleStore(database)
        given = [candle(hour) for hour in range(1500)]
        broken = [*given[:1200], candle(1200, low="106"), *given[1201:]]
        with pytest.raises(BadCandleError, match=r"binance, BTC-USDT, candle 201: .*prices"):
            await load_from(History(broken), store, span(1500), "binance", Conflicts.KEEP)  # type: ignore[arg-type]
        feed = History(given)
        (found,) = await load_from(feed, store, span(1500), "binance", Conflicts.KEEP)  # type: ignore[arg-type]
        assert feed.asked == [(1000, 1500)]
        assert (found.new, found.same) == (500, 1000)


@pytest.mark.parametrize(("failures", "succeeds"), [(4, True), (5, False)])
async def test_a_failing_exchange_is_asked_again_for_a_while(tmp_path: Path, failures: int, succeeds: bool) -> None:
    """Then it ends, and says that it can be run again."""
    sleep = NoSleep()
    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/x.db") as database:
        feed = History([candle(0)], failures=failures)
        loading = load_from(feed, CandleStore(database), span(1), "binance", Conflicts.KEEP, sleep=sleep)  # type: ignore[arg-type]
        if succeeds:
            assert (await loading)[0].new == 1
        else:
            with pytest.raises(FeedError, match=r"not now.*run it again"):
                await loading
    assert len(sleep.waits) == 4
