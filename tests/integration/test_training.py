"""Training as a process: it ends when it should, leaves nothing, and what it kept can be served."""

from __future__ import annotations

import asyncio
import fcntl
import gzip
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import typer
from click.testing import Result
from scripts.evaluation import protocol
from typer.testing import CliRunner

from entasis_engine.analysis import forecasting
from entasis_engine.analysis.registry import Registry
from entasis_engine.analysis.series import HOUR_MS, Series
from entasis_engine.analysis.training import (
    HistoryTooShortError,
    Progress,
    Trainer,
    TrainingBusyError,
    TrainingError,
)
from entasis_engine.bootstrap import make_feed
from entasis_engine.commands import train as command
from entasis_engine.exchanges.feed import Candle, Interval
from entasis_engine.settings import Settings
from entasis_engine.storage.candles import CandleStore
from entasis_engine.storage.database import open_database
from entasis_engine.times import system_clock

SOURCE = "simulated-7"

PREAMBLE = '''
import sys, time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from entasis_engine.analysis import training

NOW = datetime(2026, 11, 22, tzinfo=UTC)

@dataclass
class FakeTrained:
    timeframe: str
    text: str
    symbols: tuple = ("BTC-USDT",)
    trained_from: datetime = NOW
    cutoff: datetime = NOW
    sample_size: int = 1
    feature_names: tuple = ()
    metrics = {}
    def to_files(self):
        return {"all": f"{self.timeframe} {self.text}".encode()}
    @classmethod
    def from_files(cls, files):
        return cls(*files["all"].decode().split())

class ShortError(Exception):
    needed, given = 2880, 100

def train(histories, timeframe, seed, threads, progress):
    """What a test puts in its place."""

def main(train):
    models = training.Models(("1h", "4h", "1d"), train, FakeTrained.from_files, ShortError)
    sys.exit(training.run(Path(sys.argv[1]), models))
'''


class FakeTrained:
    """The same, on this side."""

    def __init__(self, timeframe: str, text: str) -> None:
        self.timeframe, self.text = timeframe, text

    @classmethod
    def from_files(cls, files: dict[str, bytes]) -> FakeTrained:
        return cls(*files["all"].decode().split())


def series(hours: int = 50, seed: int = 1) -> Series:
    generator = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(generator.normal(size=hours) * 0.01))
    opened = np.concatenate([[100.0], close[:-1]])
    wick = np.abs(generator.normal(size=(2, hours))) * 0.003
    return Series.from_arrays(
        np.arange(hours, dtype=np.int64) * HOUR_MS,
        opened,
        np.maximum(opened, close) * (1 + wick[0]),
        np.minimum(opened, close) * (1 - wick[1]),
        close,
        generator.lognormal(size=hours),
    )


HISTORIES = {"BTC-USDT": series(50, 1), "ETH-USDT": series(40, 2)}


class Bench:
    """A folder of models, children that do what a test says, and a temporary folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "models"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.heard: list[Progress] = []
        self._changed = asyncio.Event()

    def trainer(self, body: str, deadline_seconds: float = 60.0, keep: int = 5) -> Trainer:
        """Of a child that runs `body`: either statements, or those that define `train` and hand it to `main`."""
        script = self.folder / f"child-{len(list(self.folder.iterdir()))}.py"
        script.write_text(PREAMBLE + textwrap.dedent(body))
        return Trainer(
            self.root, deadline_seconds=deadline_seconds, keep=keep, command=(sys.executable, "-P", str(script))
        )

    def listen(self, progress: Progress) -> None:
        self.heard.append(progress)
        self._changed.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), 30)

    def texts(self) -> dict[str, str]:
        registry = Registry(self.root, FakeTrained.from_files)  # type: ignore[type-var, arg-type]
        return {timeframe: one.text for timeframe, one in registry.load(SOURCE).trained.items()}  # type: ignore[attr-defined]

    def pid(self) -> int:
        return int((self.folder / "pid").read_text())


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    before = set(psutil.Process().children())  # servers that other tests share
    monkeypatch.setattr(tempfile, "tempdir", str(bench.temporary))
    yield bench
    # Whatever a test was about: no child, no folder.
    assert set(psutil.Process().children()) <= before
    assert list(bench.temporary.iterdir()) == []


@pytest.fixture(autouse=True)
async def _no_task_is_left() -> AsyncIterator[None]:
    yield
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


SIMPLE = """
def train(histories, timeframe, seed, threads, progress):
    progress(0.5)
    return FakeTrained(timeframe, f"{seed}-{threads}-{'-'.join(str(len(one)) for one in histories.values())}")
main(train)
"""

HANGING = """
import os
Path(__file__).with_name("pid").write_text(str(os.getpid()))
def train(histories, timeframe, seed, threads, progress):
    if timeframe == "1h":
        return FakeTrained(timeframe, "done")
    progress(0.25)
    time.sleep(1000)
main(train)
"""


async def test_all_timeframes_are_trained_and_kept_and_progress_is_told(bench: Bench) -> None:
    version = await bench.trainer(SIMPLE).train(HISTORIES, SOURCE, bench.listen)
    registry = Registry(bench.root, FakeTrained.from_files)  # type: ignore[type-var, arg-type]
    assert registry.current(SOURCE) == version
    assert bench.texts() == dict.fromkeys(("1h", "4h", "1d"), "0-1-50-40")
    assert [(one.timeframe, one.share) for one in bench.heard] == [
        (timeframe, share) for timeframe in ("1h", "4h", "1d") for share in (0.5, 1.0)
    ]
    assert [one.total for one in bench.heard] == pytest.approx([1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1])
    assert bench.heard[-1].version == version
    assert [listed.version for listed in registry.versions()] == [version]  # those between are gone


async def test_the_histories_arrive_as_they_were(bench: Bench) -> None:
    body = """
    import hashlib
    def train(histories, timeframe, seed, threads, progress):
        digest = hashlib.sha256()
        for symbol, one in histories.items():
            for name in training.COLUMNS:
                array = getattr(one, name)
                digest.update(f"{symbol} {name} {array.dtype} {array.shape}".encode() + array.tobytes())
        return FakeTrained(timeframe, digest.hexdigest())
    main(train)
    """
    import hashlib

    digest = hashlib.sha256()
    for symbol, one in HISTORIES.items():
        for name in ("open_time", "open", "high", "low", "close", "volume", "missing"):
            array = getattr(one, name)
            digest.update(f"{symbol} {name} {array.dtype} {array.shape}".encode() + array.tobytes())
    await bench.trainer(body).train(HISTORIES, SOURCE)
    assert bench.texts()["1h"] == digest.hexdigest()


async def test_the_child_has_low_priority_one_thread_and_no_setting_of_ours(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENTASIS_JWT_SECRET", "secret")
    body = """
    import os
    def train(histories, timeframe, seed, threads, progress):
        told = [os.nice(0), os.environ["OMP_NUM_THREADS"], any(name.startswith("ENTASIS_") for name in os.environ)]
        return FakeTrained(timeframe, "-".join(str(one) for one in told))
    main(train)
    """
    await bench.trainer(body).train(HISTORIES, SOURCE)
    assert bench.texts()["1h"] == f"{min(19, os.nice(0) + 15)}-1-False"


async def test_what_libraries_print_does_no_harm(bench: Bench) -> None:
    body = """
    import os
    def train(histories, timeframe, seed, threads, progress):
        print("[LightGBM] [Info] hello")
        os.write(1, b"x" * 1_000_000)
        os.write(2, b"y" * 1_000_000)
        return FakeTrained(timeframe, "done")
    main(train)
    """
    await bench.trainer(body).train(HISTORIES, SOURCE)
    assert bench.texts()["1d"] == "done"


async def test_a_timeframe_that_is_done_can_be_served_while_the_next_is_trained(bench: Bench) -> None:
    training = asyncio.create_task(bench.trainer(HANGING).train(HISTORIES, SOURCE, bench.listen))
    await bench.until(lambda: len(bench.heard) == 2)
    assert bench.heard[0].version
    assert bench.texts() == {"1h": "done"}
    training.cancel()
    with pytest.raises(asyncio.CancelledError):
        await training
    assert bench.texts() == {"1h": "done"}


async def test_a_training_that_takes_too_long_is_ended(bench: Bench) -> None:
    with pytest.raises(TrainingError, match="longer than 3 s"):
        await bench.trainer(HANGING, deadline_seconds=3).train(HISTORIES, SOURCE)


@pytest.mark.parametrize("turns", [0, 1, 3, 10, 100, 1000, 10_000])
async def test_cancelling_early_leaves_nothing(bench: Bench, turns: int) -> None:
    training = asyncio.create_task(bench.trainer(HANGING).train(HISTORIES, SOURCE))
    for _ in range(turns):
        await asyncio.sleep(0)
    training.cancel()
    with pytest.raises(asyncio.CancelledError):
        await training


async def test_a_child_that_is_killed_is_a_failure(bench: Bench) -> None:
    training = asyncio.create_task(bench.trainer(HANGING).train(HISTORIES, SOURCE, bench.listen))
    await bench.until(lambda: len(bench.heard) == 2)
    os.kill(bench.pid(), signal.SIGKILL)
    with pytest.raises(TrainingError, match="ended with -9"):
        await training


async def test_the_child_ends_with_its_parent_and_takes_its_folder_along(bench: Bench) -> None:
    trainer = bench.trainer(HANGING)
    script = next(bench.folder.glob("child-*.py"))
    parent = subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-c",
            textwrap.dedent(
                f"""
                import asyncio, sys
                from pathlib import Path
                import numpy as np
                from entasis_engine.analysis.series import Series
                from entasis_engine.analysis.training import Trainer
                one = Series.from_arrays(np.arange(3) * 3600000, *(np.ones(3) for _ in range(5)))
                trainer = Trainer(Path({str(bench.root)!r}), command=({sys.executable!r}, "-P", {str(script)!r}))
                told = lambda progress: print(progress.timeframe, flush=True)
                asyncio.run(trainer.train({{"BTC-USDT": one}}, {SOURCE!r}, told))
                """
            ),
        ],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(bench.temporary)},
    )
    assert trainer is not None
    assert parent.stdout is not None
    with parent.stdout:
        assert await asyncio.to_thread(parent.stdout.readline) == b"1h\n"
        child = psutil.Process(bench.pid())
        parent.kill()
        parent.wait()
    await asyncio.to_thread(child.wait, 30)
    assert not child.is_running()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ValueError('an error of the child')", "an error of the child"),
        ("sys.exit(0)", "ended with 0"),
        ("print('no json'); sys.stdout.flush(); time.sleep(1000)", "cannot be understood"),
        ("print('[]'); sys.stdout.flush(); time.sleep(1000)", "cannot be understood"),
        ("""print('{"event": "progress"}'); sys.stdout.flush(); time.sleep(1000)""", "cannot be understood"),
        ("print('x' * 200_000); sys.stdout.flush(); time.sleep(1000)", "cannot be understood"),
    ],
    ids=["it raises", "it is silent", "no JSON", "no word", "half a word", "an endless line"],
)
async def test_a_child_that_is_not_as_it_should_be_is_a_failure(bench: Bench, body: str, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        await bench.trainer(body).train(HISTORIES, SOURCE)


async def test_of_many_last_words_the_end_is_told(bench: Bench) -> None:
    with pytest.raises(TrainingError, match="the end") as raised:
        await bench.trainer("sys.stderr.write('x' * 1_000_000 + 'the end'); sys.exit(2)").train(HISTORIES, SOURCE)
    assert len(str(raised.value)) < 5000


async def test_a_program_that_is_not_there_is_a_failure(bench: Bench) -> None:
    trainer = Trainer(bench.root, command=("/nowhere/python",))
    with pytest.raises(TrainingError, match="could not be started"):
        await trainer.train(HISTORIES, SOURCE)


async def test_one_timeframe_that_fails_does_not_keep_the_others_back(bench: Bench) -> None:
    body = """
    def train(histories, timeframe, seed, threads, progress):
        if timeframe == "4h":
            raise RuntimeError("singular")
        return FakeTrained(timeframe, "done")
    main(train)
    """
    with pytest.raises(TrainingError, match="4h: singular"):
        await bench.trainer(body).train(HISTORIES, SOURCE)
    assert bench.texts() == {"1h": "done", "1d": "done"}
    registry = Registry(bench.root, FakeTrained.from_files)  # type: ignore[type-var, arg-type]
    assert not registry.load(SOURCE).info.complete


FAILING = """
def train(histories, timeframe, seed, threads, progress):
    if timeframe == "1d":
        raise RuntimeError("singular")
    return FakeTrained(timeframe, "done")
main(train)
"""

DYING = """
import os, signal
def train(histories, timeframe, seed, threads, progress):
    if timeframe == "1d":
        os.kill(os.getpid(), signal.SIGKILL)
    return FakeTrained(timeframe, "done")
main(train)
"""


@pytest.mark.parametrize(("body", "left"), [(FAILING, 1), (DYING, 2)], ids=["it fails", "it is killed"])
async def test_trainings_that_fail_leave_no_more_however_often_they_do(bench: Bench, body: str, left: int) -> None:
    """Of the two versions of each attempt the last is in use; one that was killed has its first removed by the next."""
    whole = await bench.trainer(SIMPLE).train(HISTORIES, SOURCE)
    registry = Registry(bench.root, FakeTrained.from_files)  # type: ignore[type-var, arg-type]
    for _ in range(3):
        with pytest.raises(TrainingError):
            await bench.trainer(body).train(HISTORIES, SOURCE)
        listed = [one.version for one in registry.versions()]
        assert listed[0] == registry.current(SOURCE)
        assert whole in listed
        # Before the next training: what the attempt before had in use, and what this one has made.
        assert len(listed) <= 1 + left + (body == DYING)
    await bench.trainer(SIMPLE).train(HISTORIES, SOURCE)
    assert all(one.info is not None and one.info.complete for one in registry.versions())


async def test_a_timeframe_goes_by_the_name_it_was_trained_under(bench: Bench) -> None:
    version = await bench.trainer(SIMPLE).train(HISTORIES, SOURCE, bench.listen)
    named = {one.timeframe: one.version for one in bench.heard if one.version}
    registry = Registry(bench.root, FakeTrained.from_files)  # type: ignore[type-var, arg-type]
    timeframes = registry.load(SOURCE).info.timeframes
    assert {timeframe: one.trained_in for timeframe, one in timeframes.items()} == named
    assert named["1d"] == version
    assert len(set(named.values())) == 3


async def test_a_full_temporary_folder_is_a_failure_in_words(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(bench.folder / "nowhere"))
    with pytest.raises(TrainingError, match="could not be started"):
        await bench.trainer(SIMPLE).train(HISTORIES, SOURCE)


async def test_a_timeframe_with_too_little_history_is_left_as_it_was(bench: Bench) -> None:
    await bench.trainer(SIMPLE).train(HISTORIES, SOURCE)
    body = """
    def train(histories, timeframe, seed, threads, progress):
        if timeframe == "1d":
            raise ShortError
        return FakeTrained(timeframe, "new")
    main(train)
    """
    await bench.trainer(body).train(HISTORIES, SOURCE, bench.listen)
    assert bench.texts() == {"1h": "new", "4h": "new", "1d": "0-1-50-40"}
    assert bench.heard[-1].skipped == (2880, 100)
    registry = Registry(bench.root, FakeTrained.from_files)  # type: ignore[type-var, arg-type]
    assert registry.load(SOURCE).info.complete


async def test_too_little_history_for_anything_is_told_with_the_hours(bench: Bench) -> None:
    body = """
    def train(histories, timeframe, seed, threads, progress):
        raise ShortError
    main(train)
    """
    with pytest.raises(HistoryTooShortError) as raised:
        await bench.trainer(body).train(HISTORIES, SOURCE)
    assert (raised.value.needed, raised.value.given) == (2880, 100)


async def test_only_the_timeframes_that_are_wanted_are_trained(bench: Bench) -> None:
    await bench.trainer(SIMPLE).train(HISTORIES, SOURCE, timeframes=["4h"])
    assert set(bench.texts()) == {"4h"}
    with pytest.raises(TrainingError, match="no timeframe"):
        await bench.trainer(SIMPLE).train(HISTORIES, SOURCE, timeframes=["2h"])


async def test_a_full_disk_is_a_failure_in_words(bench: Bench) -> None:
    bench.root.mkdir()
    (bench.root / "current").mkdir()  # which no file can replace
    with pytest.raises(TrainingError, match="Cannot keep models"):
        await bench.trainer(SIMPLE).train(HISTORIES, SOURCE)


async def test_two_trainers_of_one_folder_do_not_train_at_once(bench: Bench) -> None:
    first = asyncio.create_task(bench.trainer(HANGING).train(HISTORIES, SOURCE, bench.listen))
    await bench.until(lambda: len(bench.heard) == 2)
    with pytest.raises(TrainingBusyError):
        await bench.trainer(SIMPLE).train(HISTORIES, "binance")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await bench.trainer(SIMPLE).train(HISTORIES, SOURCE)


async def test_one_trainer_trains_one_after_the_other(bench: Bench) -> None:
    trainer = bench.trainer(SIMPLE)
    versions = await asyncio.gather(*(trainer.train(HISTORIES, source) for source in ("a", "b", "a")))
    assert len(set(versions)) == 3


async def test_the_loop_goes_on_while_a_child_computes(bench: Bench) -> None:
    """However long the child holds its interpreter, other tasks get their turn here."""
    body = """
    def train(histories, timeframe, seed, threads, progress):
        sum(range(20_000_000))
        return FakeTrained(timeframe, "done")
    main(train)
    """
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.01)
            turns += 1

    other = asyncio.create_task(others())
    await bench.trainer(body).train(HISTORIES, SOURCE)
    other.cancel()
    with pytest.raises(asyncio.CancelledError):
        await other
    assert turns > 10


async def test_real_models_are_trained_kept_and_read_again(bench: Bench) -> None:
    """The way of an engine: real models of a small history, in a process, and a forecast made with what was read."""
    histories = {"BTC-USDT": series(2950, 3), "ETH-USDT": series(2900, 4)}
    version = await Trainer(bench.root).train(histories, SOURCE, bench.listen, timeframes=["4h", "1h"])
    loaded = Registry(bench.root, forecasting.Trained.from_files).load(SOURCE)
    assert loaded.version == version
    assert set(loaded.trained) == {"1h", "4h"}
    assert [one.timeframe for one in bench.heard if one.version] == ["1h", "4h"]
    assert any(0 < one.share < 1 for one in bench.heard)
    trained = loaded.trained["1h"]
    info = loaded.info.timeframes["1h"]
    assert trained.symbols == info.symbols == ("BTC-USDT", "ETH-USDT")
    assert trained.cutoff == info.cutoff
    forecast = forecasting.Forecaster(trained, "BTC-USDT").forecast(histories["BTC-USDT"], "ensemble")
    assert forecast.price == pytest.approx(histories["BTC-USDT"].close[-1], rel=0.05)


async def test_a_history_that_is_too_short_for_real_models_says_what_is_needed(bench: Bench) -> None:
    with pytest.raises(HistoryTooShortError) as raised:
        await Trainer(bench.root).train(HISTORIES, SOURCE)
    assert raised.value.needed > raised.value.given == 50


# The command.


app = typer.Typer()
app.command()(command.train)


def told(result: Result) -> str:
    """What a person reads, in one line."""
    return " ".join(result.output.split())


class Desk:
    """A data folder and a command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "data"
        self.files = folder

    def run(self, *arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [*arguments, "--data-dir", str(self.folder)])
        assert result.exit_code == code, result.output
        return result

    def candle_file(self, hours: int, *, step: timedelta = timedelta(hours=1), name: str = "btc.csv.gz") -> Path:
        one = series(hours, 5)
        lines = ["open_time,open,high,low,close,volume"]
        for place in range(hours):
            moment = START + place * step
            figures = (one.open, one.high, one.low, one.close, one.volume)
            lines.append(",".join([moment.isoformat(), *(f"{figure[place]:.8f}" for figure in figures)]))
        path = self.files / name
        text = "\n".join(lines) + "\n"
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
        return path


START = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)  # where no .env lies
    for name in [name for name in os.environ if name.startswith("ENTASIS_")]:
        monkeypatch.delenv(name)
    return Desk(tmp_path)


def test_the_command_learns_from_files_and_shows_what_came_of_it(desk: Desk) -> None:
    file = desk.candle_file(2900)
    result = desk.run("--candles", f"BTC-USDT={file}", "--timeframe", "1h")
    assert "history of binance: BTC-USDT 2,900 h" in told(result)
    version = Registry(desk.folder / "models", forecasting.Trained.from_files).current("binance")
    assert version is not None
    assert f"Version {version} is in use" in told(result)
    assert "BTC-USDT" in result.stdout
    assert "relative error" in result.stdout
    listed = desk.run("--list")
    assert version in listed.stdout
    assert "in use" in listed.stdout
    (described,) = json.loads(desk.run("--list", "--json").stdout)
    assert (described["version"], described["source"], described["in_use"]) == (version, "binance", True)
    assert described["timeframes"]["1h"]["symbols"] == ["BTC-USDT"]
    (desk.folder / "models" / version / "manifest.json").write_bytes(b"{")
    assert "unusable" in desk.run("--list").stdout


async def test_the_command_learns_from_what_a_running_engine_has_stored(desk: Desk) -> None:
    url = f"sqlite+aiosqlite:///{desk.folder / 'entasis.db'}"
    one = series(2900, 6)
    candles = [
        (
            "BTC-USDT",
            Interval.HOUR,
            Candle(
                START + place * timedelta(hours=1),
                *(Decimal(f"{figure[place]:.8f}") for figure in (one.open, one.high, one.low, one.close, one.volume)),
            ),
        )
        for place in range(len(one))
    ]
    async with open_database(url) as database:  # as the engine holds it: nobody else may write
        store = CandleStore(database)
        await store.save("simulated-7", candles)
        await store.save("binance", [("ETH-USDT", interval, candle) for _, interval, candle in candles[:100]])
        result = await asyncio.to_thread(desk.run, "--timeframe", "1h", "--json")
        described = json.loads(result.stdout)
        assert described["source"] == "simulated-7"
        assert described["timeframes"]["1h"]["symbols"] == ["BTC-USDT"]
        short = await asyncio.to_thread(partial(desk.run, "--source", "binance", code=1))
        assert "hours of candles are needed, and there are 100" in told(short)
        other = await asyncio.to_thread(partial(desk.run, "--source", "kraken", code=1))
        assert "There is that of binance, simulated-7: --source names it." in told(other)


def test_what_the_command_cannot_do_it_says_with_what_to_do_next(desk: Desk) -> None:
    refused = partial(desk.run, code=1)
    assert "Start the engine" in told(refused())
    assert "Cannot read" in told(refused("--candles", "BTC-USDT=nowhere.csv"))
    odd = desk.candle_file(10, step=timedelta(minutes=5), name="odd.csv")
    assert "Give hourly candles" in told(refused("--candles", f"BTC-USDT={odd}"))
    short = desk.candle_file(100, name="short.csv")
    assert "2,880 hours of candles are needed, and there are 100" in told(refused("--candles", f"BTC-USDT={short}"))
    assert "is not SYMBOL=FILE" in told(desk.run("--candles", "btc.csv", code=2))
    assert "is none of 1h, 4h, 1d" in told(desk.run("--timeframe", "2h", code=2))
    assert "There are no models" in told(desk.run("--list"))
    (desk.folder / "entasis.db").write_bytes(b"no database at all")
    assert "cannot be read" in told(refused())


def test_where_files_overlap_the_later_one_counts_as_it_does_in_the_evaluation(desk: Desk) -> None:
    lines = ["open_time,open,high,low,close,volume"]
    first, second = desk.files / "first.csv", desk.files / "second.csv"
    for file, price in ((first, 1), (second, 2)):
        rows = [
            f"{(START + hour * timedelta(hours=1)).isoformat()},{price},{price},{price},{price},1" for hour in range(3)
        ]
        file.write_text("\n".join(lines + rows))
    for files, price in (([first, second], 2), ([second, first], 1)):
        learned = command._of_files({"BTC-USDT": files})["BTC-USDT"]
        evaluated = protocol.joined([protocol.read(file) for file in files])
        assert learned.close.tolist() == evaluated.close.tolist() == [price] * 3


def test_the_command_waits_for_no_other_training(desk: Desk) -> None:
    root = desk.folder / "models"
    root.mkdir(parents=True)
    with (root / ".training").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        file = desk.candle_file(100)
        assert "A training is going on already" in told(desk.run("--candles", f"BTC-USDT={file}", code=1))


@pytest.mark.parametrize(
    "settings",
    [
        Settings(feed="simulated", simulated_seed=42),
        Settings(feed="recorded", recorded_candles=(Path("btcusdt-1h.csv"),)),
    ],
    ids=["simulated", "recorded"],
)
def test_the_command_knows_the_history_by_the_name_that_the_engine_keeps_it_under(settings: Settings) -> None:
    assert command.source_of(settings) == make_feed(settings, system_clock, time.monotonic).source
