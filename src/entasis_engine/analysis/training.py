"""Training in a process of its own, so that neither the event loop nor any call waits for it.

The parent hands the histories over as files in a private folder and starts this module as a program, which reads them,
removes the folder, and trains one timeframe after the other, the shortest first. It tells what it does as JSON lines on
standard output. As soon as a timeframe is done it is kept as a new version, which carries over what the version before
has for the others: so the first forecasts are served before the last are trained, and still every version is whole, one
checksummed folder that a reader takes or leaves. Versions by timeframe would have saved the copy of a few megabytes,
and cost every reader the question which of them belong together. Those between are marked as not complete, and removed
as soon as they are not in use: at the end of the training, and where it was killed at the beginning of the next, so
that one that fails again and again leaves no more than one of them.

The child ends with the parent: its standard input is a pipe to it, and where that ends the child exits, in the middle
of whatever it does; the registry bears that. A lock in the folder of the models, held by the child, lets only one
process train for them at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import numpy as np
import structlog

from entasis_engine.analysis.registry import KEPT, Loaded, ModelError, Registry, Storable, VersionInfo
from entasis_engine.analysis.series import Series
from entasis_engine.storage.writes import finished
from entasis_engine.times import Clock, Monotonic, system_clock

try:
    import fcntl
except ImportError:  # on Windows, where one engine a folder is up to the operator
    fcntl = None  # type: ignore[assignment]

log = structlog.get_logger()

DEADLINE_SECONDS: Final = 1800.0
NICENESS = 15
LINE_BYTES_MAX = 65_536
TAIL_BYTES = 4096
PROGRESS_SECONDS = 0.2
"""At least that long between two words of progress of a timeframe."""

POLL_SECONDS = 30.0
RETRY_SECONDS_MIN = 30.0
RETRY_SECONDS_MAX = 900.0
HISTORY_HOURS_MAX = 24
"""The longest wait for missing history: it may come sooner than one candle an hour, from a fetch or a file."""
GUESSED_SECONDS = 60.0
"""What a training takes, as long as none has shown it."""
SHARE_TOLD_BY = 0.02
"""From when on the pace of a training tells how long it will take."""

COMMAND = (sys.executable, "-P", "-m", "entasis_engine.analysis.training")
COLUMNS = ("open_time", "open", "high", "low", "close", "volume", "missing")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class TrainingError(Exception):
    """Nothing, or not all, was trained. The text says why; it is for the log."""


class TrainingBusyError(TrainingError):
    """Another process trains for the same folder."""


class HistoryTooShortError(TrainingError):
    """No timeframe has enough history.

    Attributes:
        needed: hours that the least demanding timeframe needs.
        given: hours that there are.
    """

    def __init__(self, needed: int, given: int) -> None:
        super().__init__(f"{needed} hours of history are needed, {given} are there.")
        self.needed, self.given = needed, given


@dataclass(frozen=True)
class Progress:
    """A word from a training."""

    timeframe: str
    share: float
    """Of that timeframe, from 0 to 1."""
    total: float
    """Of the whole training, from 0 to 1; each timeframe counts the same."""
    version: str = ""
    """The version with that timeframe, where it is done and kept."""
    skipped: tuple[int, int] | None = None
    """Hours needed and given, where the timeframe has too little history."""


# The parent's side.


class Trainer:
    """Starts trainings, one at a time.

    Args:
        root: folder of the models.
        deadline_seconds: a training that takes longer is ended.
        threads: that the child may use.
        keep: versions to keep of each source.
        command: starts the child; the folder with its work is added.
    """

    def __init__(
        self,
        root: Path,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        threads: int = 1,
        seed: int = 0,
        keep: int = KEPT,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._root = root
        self._deadline_seconds = deadline_seconds
        self._threads = threads
        self._seed = seed
        self._keep = keep
        self._command = command
        self._one_at_a_time = asyncio.Semaphore(1)

    async def train(
        self,
        histories: Mapping[str, Series],
        source: str,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        *,
        timeframes: Sequence[str] | None = None,
    ) -> str:
        """Train on histories by symbol, and keep the models; gives the version.

        Args:
            source: what the history is kept under: models of a simulated market must never serve a real one.
            on_progress: told of every word of the child, in the event loop.
            timeframes: to train; all that there are, else.

        Raises:
            TrainingBusyError: where another process trains for the same folder.
            HistoryTooShortError: where no timeframe has enough history.
            TrainingError: where anything else went wrong, the deadline included. Timeframes that were done are kept.
        """
        async with self._one_at_a_time:
            try:
                folder = Path(tempfile.mkdtemp(prefix="entasis-training-"))  # for our user alone
            except OSError as error:
                raise TrainingError(f"The training could not be started: {error.strerror or error}.") from error
            try:
                job = {
                    "root": str(self._root.absolute()),
                    "source": source,
                    "symbols": list(histories),
                    "timeframes": None if timeframes is None else list(timeframes),
                    "seed": self._seed,
                    "threads": self._threads,
                    "keep": self._keep,
                }
                await finished(asyncio.to_thread(_hand_over, folder, job, list(histories.values())))
                async with asyncio.timeout(self._deadline_seconds):
                    return await self._run(folder, on_progress)
            except TimeoutError:
                raise TrainingError(
                    f"The training took longer than {self._deadline_seconds:g} s, and was ended."
                ) from None
            except OSError as error:
                raise TrainingError(f"The training could not be started: {error.strerror or error}.") from error
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    async def _run(self, folder: Path, on_progress: Callable[[Progress], None]) -> str:
        process = await self._start(folder)
        tail = asyncio.ensure_future(_tail(_present(process.stderr)))
        try:
            outcome = await _followed(_present(process.stdout), on_progress)
            code = await process.wait()
            words = await tail
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await finished(process.wait())
            tail.cancel()
        if outcome.get("busy"):
            raise TrainingBusyError(f"Another process trains for {self._root}.")
        if short := outcome.get("short"):
            raise HistoryTooShortError(*_hours(short))
        if code != 0 or "version" not in outcome:
            problem = outcome.get("problem") or f"the process ended with {code}"
            raise TrainingError(f"The training failed: {problem}" + (f"\n{words}" if words else ""))
        return str(outcome["version"])

    async def _start(self, folder: Path) -> asyncio.subprocess.Process:
        # Nothing of ours but the work itself: settings in the environment hold secrets.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ENTASIS_")}
        environment.update(dict.fromkeys(THREADS, str(self._threads)))
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *self._command,
                str(folder),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=LINE_BYTES_MAX,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the parent, which knows what to do
            )
        )
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.wait([starting])
            if starting.exception() is None:
                starting.result().kill()
                await starting.result().wait()
            raise


async def _followed(stdout: asyncio.StreamReader, on_progress: Callable[[Progress], None]) -> dict[str, Any]:
    """Read the child's words until it falls silent; gives its last word, or nothing where it had none."""
    outcome: dict[str, Any] = {}
    while True:
        try:
            line = await stdout.readline()
            if not line:
                return outcome
            word = json.loads(line)
            if word["event"] == "end":
                outcome = word
                continue
            progress = _progress(word)
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"The training said what cannot be understood: {error!r}.") from None
        on_progress(progress)


def _progress(word: Mapping[str, Any]) -> Progress:
    return Progress(
        str(word["timeframe"]),
        float(word["share"]),
        float(word["total"]),
        str(word.get("version", "")),
        None if word.get("skipped") is None else _hours(word["skipped"]),
    )


def _hours(given: Sequence[int]) -> tuple[int, int]:
    needed, there = given
    return int(needed), int(there)


async def _tail(stream: asyncio.StreamReader) -> str:
    """The end of what a process wrote; the rest is read, so that the process does not wait, and forgotten."""
    tail = b""
    while chunk := await stream.read(TAIL_BYTES):
        tail = (tail + chunk)[-TAIL_BYTES:]
    return tail.decode(errors="replace").strip()


def _present(stream: asyncio.StreamReader | None) -> asyncio.StreamReader:
    assert stream is not None  # noqa: S101 - it was asked for
    return stream


def _hand_over(folder: Path, job: Mapping[str, Any], histories: Sequence[Series]) -> None:
    arrays = {f"{place}.{name}": getattr(one, name) for place, one in enumerate(histories) for name in COLUMNS}
    np.savez(folder / "histories.npz", allow_pickle=False, **arrays)
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")


# When to train.


class TrainingState:
    """What a training is about, for those who wait for it.

    Args:
        timeframes: that are trained, in their order.
    """

    def __init__(self, timeframes: Sequence[str], monotonic: Monotonic = time.monotonic) -> None:
        self.timeframes = tuple(timeframes)
        self.training = False
        self.progress: Progress | None = None
        """The last word of the training that runs."""
        self.last_error = ""
        """Why the last training failed; empty after one that did not."""
        self.short: HistoryTooShortError | None = None
        """Where that was for want of history."""
        self._monotonic = monotonic
        self._began = 0.0
        self._next = 0.0
        self._took = GUESSED_SECONDS

    def seconds_left(self, timeframe: str | None = None) -> float:
        """An estimate of how long it takes until models of a timeframe, or of all, are trained anew.

        Where no training runs, the wait until the next one, as far as one is planned, counts too.
        """
        part = 1.0
        if timeframe in self.timeframes:
            part = (self.timeframes.index(timeframe) + 1) / len(self.timeframes)
        if not self.training:
            return max(0.0, self._next - self._monotonic()) + part * self._took
        elapsed = self._monotonic() - self._began
        total = self.progress.total if self.progress is not None else 0.0
        if total >= part:
            part = 1.0  # that timeframe has just been trained, and perhaps failed: what is left is the rest
        if total < SHARE_TOLD_BY:
            return max(1.0, part * self._took - elapsed)
        return max(1.0, elapsed * (part - total) / total)

    # Told by who trains.

    def begin(self) -> None:
        self.training, self.progress, self._began = True, None, self._monotonic()

    def advance(self, progress: Progress) -> None:
        self.progress = progress

    def end(self, error: Exception | None = None, *, next_after_seconds: float = 0.0) -> None:
        now = self._monotonic()
        if self.training and error is None:
            self._took = now - self._began
        self.training, self.progress, self._next = False, None, now + next_after_seconds
        self.last_error = str(error) if error is not None else ""
        self.short = error if isinstance(error, HistoryTooShortError) else None

    def postpone(self, seconds: float) -> None:
        """It did not come to a training, and that is no failure: the next try is after so many seconds."""
        self.training, self.progress, self._next = False, None, self._monotonic() + seconds
        self.last_error, self.short = "", None


_Trained = TypeVar("_Trained", bound=Storable)
_NONE_SEEN: Final = ""  # no version has that name


async def train_forever(
    trainer: Trainer | None,
    registry: Registry[_Trained],
    histories: Callable[[], Awaitable[Mapping[str, Series]]],
    *,
    source: str,
    state: TrainingState,
    on_loaded: Callable[[Loaded[_Trained]], None],
    on_looked: Callable[[], None] = lambda: None,
    retrain_after: timedelta,
    poll_seconds: float = POLL_SECONDS,
    retry_seconds: tuple[float, float] = (RETRY_SECONDS_MIN, RETRY_SECONDS_MAX),
    clock: Clock = system_clock,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Keep models of a source at hand until cancelled, which leaves no process behind.

    It loads the version in use, and each one that takes its place, whoever trained it: `entasis train` or another
    engine too. Where it is not whole, lacks a timeframe, or has one that was trained `retrain_after` ago or before, it
    trains. Whatever fails, it goes on.

    Args:
        trainer: None to train nothing, and only load what others have trained.
        histories: gives what to learn from, as of now; it may take its time.
        state: told of trainings; its timeframes are those that a version should have.
        on_loaded: given every version to be served from now on, in the event loop.
        on_looked: called once, after the first look, whether or not there was anything: what could be served at once,
            `on_loaded` has been given by then.
        poll_seconds: how often to look for what others have trained.
        retry_seconds: the wait after a first failure, which doubles with each, and its limit.
    """
    loop: _Loop[_Trained] = _Loop(registry, histories, source, state, on_loaded, retrain_after, retry_seconds)
    running: asyncio.Task[None] | None = None
    looked = False
    try:
        while True:
            if running is not None and running.done():  # before the look, which then sees what it has kept
                await running
                running = None
            await loop.look()
            if not looked:
                looked = True
                on_looked()
            if trainer is not None and running is None and loop.is_due(clock()):
                running = asyncio.create_task(loop.train(trainer, clock))
            pause = asyncio.ensure_future(sleep(poll_seconds))
            nudge = asyncio.ensure_future(loop.nudged.wait())
            try:
                waited_for = {pause, nudge} if running is None else {pause, nudge, running}
                await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
            finally:
                pause.cancel()
                nudge.cancel()
            loop.nudged.clear()
    finally:
        if running is not None:
            running.cancel()
            await asyncio.wait([running])


class _Loop(Generic[_Trained]):
    """What `train_forever` remembers between its turns."""

    def __init__(
        self,
        registry: Registry[_Trained],
        histories: Callable[[], Awaitable[Mapping[str, Series]]],
        source: str,
        state: TrainingState,
        on_loaded: Callable[[Loaded[_Trained]], None],
        retrain_after: timedelta,
        retry_seconds: tuple[float, float],
    ) -> None:
        self.nudged = asyncio.Event()
        """There is a new version, or a training has ended."""
        self._registry = registry
        self._histories = histories
        self._source = source
        self._state = state
        self._on_loaded = on_loaded
        self._retrain_after = retrain_after
        self._retry_seconds = retry_seconds
        self._seen: str | None = _NONE_SEEN
        self._served = ""
        """The version given last."""
        self._usable: VersionInfo | None = None
        self._fault = ""
        """What was wrong at the last look; each fault is logged once, not with every look."""
        self._failures = 0
        self._not_before: datetime | None = None
        self._skipped: list[int] = []
        """Hours that timeframes lack which the training that runs has skipped."""
        self._want = ""
        """The want of history that was logged last."""
        self._grown = 0
        """Hours of history from which on it may be long enough."""
        self._grown_at: datetime | None = None
        """When it will have become as long by itself."""

    async def look(self) -> None:
        """Load the version in use, where it is another than the last one that was loaded well."""
        try:
            await self._look()
        except Exception as error:  # no file or thread to be had for a moment: the next look may be luckier
            if self._is_new(repr(error)):
                log.error("analysis.look_failed", source=self._source, reason=str(error), exc_info=error)

    async def _look(self) -> None:
        try:
            current = await asyncio.to_thread(self._registry.current, self._source)
        except ModelError:
            current = _NONE_SEEN  # what is wrong with the pointer, loading says
        else:
            if current == self._seen:
                return
        try:
            loaded, faults = await asyncio.to_thread(self._registry.load_newest_usable, self._source)
        except ModelError as error:
            self._usable = None
            if self._is_new(str(error)):
                log.warning("analysis.no_models", source=self._source, reason=str(error))
            return
        if loaded.version != self._served:
            self._on_loaded(loaded)
            self._served = loaded.version
            log.info("analysis.models_loaded", source=self._source, version=loaded.version)
        if self._is_new("\n".join(faults)):
            for fault in faults:
                log.error("analysis.model_damaged", source=self._source, reason=fault, in_its_place=loaded.version)
        # One that stands in for a damaged one is served, but spares neither the training nor the next look: what could
        # not be read may be there again.
        self._usable = None if faults else loaded.info
        self._seen = _NONE_SEEN if faults else current

    def _is_new(self, fault: str) -> bool:
        before, self._fault = self._fault, fault
        return fault not in ("", before)

    def is_due(self, now: datetime) -> bool:
        """Whether to train now. Where nothing is lacking, failures of before are forgotten: someone has trained."""
        if not self._is_lacking(now):
            self._failures, self._not_before = 0, None
            if self._state.last_error:
                self._state.end()
            return False
        return self._not_before is None or now >= self._not_before

    def _is_lacking(self, now: datetime) -> bool:
        """Whether what is in use is broken off, old, or without one of the timeframes; each has an age of its own,
        since those that a training did not change were carried over."""
        usable = self._usable
        if usable is None or not usable.complete:
            return True
        found = [usable.timeframes.get(timeframe) for timeframe in self._state.timeframes]
        return any(one is None or now - one.trained_at >= self._retrain_after for one in found)

    async def train(self, trainer: Trainer, clock: Clock) -> None:
        self._skipped = []
        try:
            histories = await self._histories()  # which may take minutes after a start: no part of the training's time
            longest = max((len(one) for one in histories.values()), default=0)
            if self._grown_at is not None and clock() < self._grown_at and longest < self._grown:
                self._look_for_history(clock())
                return
            self._grown_at = None
            self._state.begin()
            version = await trainer.train(histories, self._source, self._on_progress)
        except TrainingBusyError:  # no failure: the other one's version will do
            seconds = self._retry_seconds[0]
            self._not_before = clock() + timedelta(seconds=seconds)
            self._state.postpone(seconds)
            log.info("analysis.training_busy", source=self._source)
        except HistoryTooShortError as error:
            seconds = self._until_grown(error.needed - error.given, str(error))
            self._postpone(error, seconds, clock())
            # It need not come hour by hour: an exchange that was out of reach gives years of it at once.
            self._grown = longest + max(1, error.needed - error.given)
            self._grown_at = self._not_before
            self._look_for_history(clock())
        except asyncio.CancelledError:
            self._state.training = False
            raise
        except Exception as error:  # whatever it was, the loop goes on, and the log tells
            wait = self._longer_wait()
            self._postpone(error, wait, clock())
            expected = isinstance(error, TrainingError)
            log.error(
                "analysis.training_failed",
                source=self._source,
                reason=str(error),
                failures=self._failures,
                retry_after_seconds=wait,
                exc_info=None if expected else error,
            )
        else:
            self._state.end()
            log.info("analysis.trained", source=self._source, version=version)
            # It counts as a success once it is seen in use: models that cannot be read must not be made without pause.
            if self._skipped:
                seconds = self._until_grown(min(self._skipped), f"{len(self._skipped)} timeframes were skipped.")
            else:
                seconds = self._longer_wait()
            self._not_before = clock() + timedelta(seconds=seconds)
        finally:
            self.nudged.set()

    def _longer_wait(self) -> float:
        """Seconds until the next try, twice as many with each."""
        self._failures += 1
        shortest, longest = self._retry_seconds
        return min(longest, shortest * 2.0 ** min(self._failures - 1, 30))

    def _look_for_history(self, now: datetime) -> None:
        """Ask for histories again before long, and begin no training unless they have grown."""
        assert self._grown_at is not None  # noqa: S101 - there is a want
        self._not_before = min(self._grown_at, now + timedelta(seconds=self._retry_seconds[1]))

    def _until_grown(self, hours: int, want: str) -> float:
        """Seconds until a history that lacks so many hours may be long enough: that it is not yet is no failure."""
        self._failures = 0
        hours = min(HISTORY_HOURS_MAX, max(1, hours))
        if want != self._want:
            self._want = want
            log.warning("analysis.history_too_short", source=self._source, reason=want, retry_after_hours=hours)
        return hours * 3600.0

    def _postpone(self, error: Exception, seconds: float, now: datetime) -> None:
        self._not_before = now + timedelta(seconds=seconds)
        self._state.end(error, next_after_seconds=seconds)

    def _on_progress(self, progress: Progress) -> None:
        self._state.advance(progress)
        if progress.skipped is not None:
            needed, given = progress.skipped
            self._skipped.append(needed - given)
        if progress.version:
            self.nudged.set()


# The child's side.


@dataclass(frozen=True)
class Models(Generic[_Trained]):
    """What can be trained."""

    timeframes: Sequence[str]
    """The first to be trained first."""
    train: Callable[[Mapping[str, Series], str, int, int, Callable[[float], None]], _Trained]
    """Given histories, timeframe, seed, threads, and whom to tell the share done."""
    read: Callable[[Mapping[str, bytes]], _Trained]
    too_short: type[Exception]
    """Raised by `train` where there is too little history; says how many hours are `needed` and `given`."""


def run(folder: Path, models: Models[Any], clock: Clock = system_clock) -> int:
    """The child's whole life; gives the exit code."""
    events = _take_standard_output()

    def tell(**word: Any) -> None:
        events.write(json.dumps(word) + "\n")
        events.flush()

    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    job, histories = _received(folder)
    registry: Registry[Any] = Registry(Path(job["root"]), models.read)
    with _sole_trainer(registry.root) as alone:
        if not alone:
            tell(event="end", busy=True)
            return 1
        _prune(registry, job["keep"])  # what one that was killed has left
        try:
            outcome = _train(job, histories, models, registry, clock, tell)
        except ModelError as error:
            outcome = {"problem": str(error)}
        finally:
            _prune(registry, job["keep"])
        tell(event="end", **outcome)
        return 0 if "version" in outcome else 1


def _train(
    job: Mapping[str, Any],
    histories: Mapping[str, Series],
    models: Models[Any],
    registry: Registry[Any],
    clock: Clock,
    tell: Callable[..., None],
) -> dict[str, Any]:
    """Train and keep all timeframes. One that fails does not keep the others from being trained."""
    wanted = [one for one in models.timeframes if job["timeframes"] is None or one in job["timeframes"]]
    version, whole = "", False
    problems, short = [], []
    for place, timeframe in enumerate(wanted):
        progress = _Paced(timeframe, place, len(wanted), tell)
        try:
            trained = models.train(histories, timeframe, job["seed"], job["threads"], progress)
        except models.too_short as error:
            needed, given = int(getattr(error, "needed", 0)), int(getattr(error, "given", 0))
            short.append((needed, given))
            tell(event="progress", timeframe=timeframe, share=1.0, total=progress.total(1.0), skipped=(needed, given))
        except Exception as error:  # whatever the models raise, the other timeframes are trained, and the parent told
            traceback.print_exc()
            problems.append(f"{timeframe}: {error}")
        else:
            whole = place == len(wanted) - 1 and not problems
            version = registry.save(
                {timeframe: trained}, source=job["source"], now=clock(), carry_over=True, complete=whole
            )
            tell(event="progress", timeframe=timeframe, share=1.0, total=progress.total(1.0), version=version)
    if problems:
        return {"problem": "; ".join(problems)}
    if not version:
        return {"short": min(short)} if short else {"problem": f"there is no timeframe {job['timeframes']}"}
    if not whole:  # the last timeframe was skipped
        version = registry.save({}, source=job["source"], now=clock(), carry_over=True)
    return {"version": version}


def _prune(registry: Registry[Any], keep: int) -> None:
    """Remove old versions and those between. Where that fails nothing is lost, and the training matters more."""
    try:
        registry.prune(keep)
    except ModelError:
        traceback.print_exc()


class _Paced:
    """Tells the share done of a timeframe, but not too often."""

    def __init__(self, timeframe: str, place: int, count: int, tell: Callable[..., None]) -> None:
        self._timeframe, self._place, self._count, self._tell = timeframe, place, count, tell
        self._told = float("-inf")

    def __call__(self, share: float) -> None:
        if time.monotonic() - self._told >= PROGRESS_SECONDS:
            self._told = time.monotonic()
            self._tell(event="progress", timeframe=self._timeframe, share=share, total=self.total(share))

    def total(self, share: float) -> float:
        return (self._place + share) / self._count


def _take_standard_output() -> Any:
    """Standard output for our words alone: what libraries print goes to standard error."""
    sys.stdout.flush()
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return events


def _end_with_parent(folder: Path) -> None:
    """Waits for the end of standard input, which the parent never writes to."""
    with contextlib.suppress(OSError):
        while os.read(0, 1024):
            pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(3)


def _received(folder: Path) -> tuple[dict[str, Any], dict[str, Series]]:
    """The work, which is then removed: however this process ends, it leaves nothing."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    with np.load(folder / "histories.npz", allow_pickle=False) as arrays:
        histories = {
            symbol: Series(*(arrays[f"{place}.{name}"] for name in COLUMNS))
            for place, symbol in enumerate(job["symbols"])
        }
    shutil.rmtree(folder, ignore_errors=True)
    return job, histories


@contextmanager
def _sole_trainer(root: Path) -> Iterator[bool]:
    """Holds the lock of who trains for a folder, or says that another does. The system frees it in any case."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".training").open("a") as lock:
        if fcntl is not None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
        yield True


def main() -> int:
    """Entry point of the child: trains what the folder named on the command line says."""
    # Not above: the engine need not know how models are made to have them made.
    from entasis_engine.analysis import forecasting  # noqa: PLC0415

    def train(
        histories: Mapping[str, Series], timeframe: str, seed: int, threads: int, progress: Callable[[float], None]
    ) -> forecasting.Trained:
        return forecasting.train(histories, timeframe, seed=seed, threads=threads, progress=progress)

    shortest_first = sorted(forecasting.TIMEFRAMES, key=forecasting.TIMEFRAMES.__getitem__)
    return run(
        Path(sys.argv[1]),
        Models(shortest_first, train, forecasting.Trained.from_files, forecasting.NotEnoughHistoryError),
    )


if __name__ == "__main__":
    sys.exit(main())
