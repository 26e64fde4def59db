"""When a training is begun, what is served meanwhile, and what those who wait are told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from entasis_engine.analysis.registry import Loaded, ModelError, Registry
from entasis_engine.analysis.series import HOUR_MS, Series, SeriesError
from entasis_engine.analysis.training import (
    HistoryTooShortError,
    Progress,
    Trainer,
    TrainingBusyError,
    TrainingError,
    TrainingState,
    train_forever,
)

START = datetime(2026, 11, 22, 21, 0, tzinfo=UTC)
SOURCE = "simulated-7"
TIMEFRAMES = ("1h", "4h")
RETRAIN_AFTER = timedelta(hours=24)


@dataclass(frozen=True)
class FakeTrained:
    timeframe: str
    text: str
    symbols: tuple[str, ...] = ("BTC-USDT",)
    trained_from: datetime = START - timedelta(days=700)
    cutoff: datetime = START
    sample_size: int = 1
    feature_names: tuple[str, ...] = ()

    @property
    def metrics(self) -> Mapping[str, float]:
        return {}

    def to_files(self) -> Mapping[str, bytes]:
        return {"all": f"{self.timeframe} {self.text}".encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> FakeTrained:
        return cls(*files["all"].decode().split())


class FakeTrainer(Trainer):
    """Keeps its number as the models of each timeframe; `failures` come first. `skipped` are of too little history."""

    def __init__(
        self, world: World, *failures: Exception, skipped: Mapping[str, tuple[int, int]] | None = None
    ) -> None:
        self._world = world
        self._failures = list(failures)
        self._skipped = skipped or {}
        self.begun = 0
        self.cancelled = False
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def train(
        self,
        histories: Mapping[str, Series],
        source: str,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        **_: Any,
    ) -> str:
        self.begun += 1
        version = ""
        try:
            for place, timeframe in enumerate(TIMEFRAMES):
                if self._failures and place == 0:
                    raise self._failures.pop(0)
                if hours := self._skipped.get(timeframe):
                    on_progress(Progress(timeframe, 1.0, (place + 1) / len(TIMEFRAMES), skipped=hours))
                    continue
                last = place == len(TIMEFRAMES) - 1 or TIMEFRAMES[place + 1] in self._skipped
                version = self._world.save(timeframe, str(self.begun), complete=last)
                on_progress(Progress(timeframe, 1.0, (place + 1) / len(TIMEFRAMES), version))
                await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return version


class World:
    """A folder of models, a time that moves when someone waits for it, and whoever looks on."""

    def __init__(self, root: Path) -> None:
        self.registry = Registry(root, FakeTrained.from_files)
        self.now = START
        self.state = TrainingState(TIMEFRAMES, self.monotonic)
        self.served: list[dict[str, str]] = []
        self.waits = 0
        self.looks: list[int] = []
        """How many versions were served when the first look was over."""
        self._woken: asyncio.Queue[None] = asyncio.Queue()
        self._changed = asyncio.Event()

    def monotonic(self) -> float:
        return (self.now - START).total_seconds()

    def save(self, timeframe: str, text: str, *, complete: bool = True) -> str:
        trained = {timeframe: FakeTrained(timeframe, text)}
        return self.registry.save(trained, source=SOURCE, now=self.now, carry_over=True, complete=complete)

    async def histories(self) -> Mapping[str, Series]:
        return {}

    def on_loaded(self, loaded: Loaded[FakeTrained]) -> None:
        self.served.append({timeframe: one.text for timeframe, one in loaded.trained.items()})
        self._changed.set()

    async def sleep(self, seconds: float) -> None:
        self.waits += 1
        self._changed.set()
        await self._woken.get()

    def pass_time(self, **span: float) -> None:
        """The poll that waits is over after that time."""
        self.now += timedelta(**span)
        self._woken.put_nowait(None)

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), 10)

    async def poll(self, **span: float) -> None:
        """Let time pass, and wait until the loop has looked around."""
        waits = self.waits
        self.pass_time(**span)
        await self.until(lambda: self.waits > waits)

    def run(
        self, trainer: Trainer | None, histories: Callable[[], Awaitable[Mapping[str, Series]]] | None = None
    ) -> asyncio.Task[None]:
        return asyncio.create_task(
            train_forever(
                trainer,
                self.registry,
                histories or self.histories,
                source=SOURCE,
                state=self.state,
                on_loaded=self.on_loaded,
                on_looked=lambda: self.looks.append(len(self.served)),
                retrain_after=RETRAIN_AFTER,
                retry_seconds=(60, 200),
                clock=lambda: self.now,
                sleep=self.sleep,
            )
        )


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # nothing here pulls the plug
    return World(tmp_path / "models")


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_where_there_are_no_models_they_are_trained_and_each_timeframe_is_served_when_it_is_done(
    world: World,
) -> None:
    trainer = FakeTrainer(world)
    trainer.go_on.clear()
    task = world.run(trainer)
    await world.until(lambda: world.served == [{"1h": "1"}])
    assert world.state.training
    trainer.go_on.set()
    await world.until(lambda: world.served == [{"1h": "1"}, {"1h": "1", "4h": "1"}])
    await world.until(lambda: not world.state.training)
    await world.poll(hours=1)
    assert trainer.begun == 1
    await ended(task)


async def test_models_that_are_there_are_served_without_a_training(world: World) -> None:
    for timeframe in TIMEFRAMES:
        world.save(timeframe, "kept")
    trainer = FakeTrainer(world)
    task = world.run(trainer)
    await world.until(lambda: world.served == [{"1h": "kept", "4h": "kept"}])
    await world.poll(hours=23)
    assert trainer.begun == 0
    await ended(task)


async def test_models_that_are_old_are_trained_anew_and_served_until_then(world: World) -> None:
    for timeframe in TIMEFRAMES:
        world.save(timeframe, "kept")
    trainer = FakeTrainer(world)
    task = world.run(trainer)
    await world.until(lambda: world.waits == 1)
    world.pass_time(hours=24)
    await world.until(lambda: world.served[-1] == {"1h": "1", "4h": "1"})
    assert world.served[0] == {"1h": "kept", "4h": "kept"}
    await ended(task)


async def test_a_training_that_was_broken_off_is_begun_anew(world: World) -> None:
    world.save("1h", "half", complete=False)
    trainer = FakeTrainer(world)
    task = world.run(trainer)
    await world.until(lambda: bool(world.served) and world.served[-1] == {"1h": "1", "4h": "1"})
    assert world.served[0] == {"1h": "half"}
    await ended(task)


async def test_a_damaged_version_is_replaced_while_the_one_before_serves(world: World) -> None:
    for timeframe in TIMEFRAMES:
        world.save(timeframe, "old")
    world.now += timedelta(minutes=1)
    damaged = world.save("1h", "new")
    (world.registry.root / damaged / "1h" / "all").write_bytes(b"1h nex")
    trainer = FakeTrainer(world)
    task = world.run(trainer)
    await world.until(lambda: bool(world.served) and world.served[-1] == {"1h": "1", "4h": "1"})
    assert world.served[0] == {"1h": "old", "4h": "old"}
    assert trainer.begun == 1
    await ended(task)


async def test_what_others_have_trained_is_served_and_spares_a_training(world: World) -> None:
    for timeframe in TIMEFRAMES:
        world.save(timeframe, "kept")
    trainer = FakeTrainer(world)
    task = world.run(trainer)
    await world.until(lambda: world.waits == 1)
    world.now += timedelta(hours=23)
    for timeframe in TIMEFRAMES:
        world.save(timeframe, "theirs")
    await world.poll(hours=2)
    assert world.served[-1] == {"1h": "theirs", "4h": "theirs"}
    await world.poll()
    assert trainer.begun == 0
    await ended(task)


async def test_a_timeframe_that_was_carried_over_keeps_its_age(world: World) -> None:
    for timeframe in TIMEFRAMES:
        world.save(timeframe, "kept")
    task = world.run(FakeTrainer(world))
    await world.until(lambda: world.waits == 1)
    world.now += timedelta(hours=23)
    world.save("1h", "theirs")
    world.pass_time(hours=1)
    await world.until(lambda: world.served[-1] == {"1h": "1", "4h": "1"})
    assert {"1h": "theirs", "4h": "kept"} in world.served
    await ended(task)


async def test_a_version_without_one_of_the_timeframes_is_served_and_trained_anew(world: World) -> None:
    world.save("1h", "theirs")
    task = world.run(FakeTrainer(world))
    await world.until(lambda: bool(world.served) and world.served[-1] == {"1h": "1", "4h": "1"})
    assert world.served[0] == {"1h": "theirs"}
    await ended(task)


async def test_a_timeframe_that_was_skipped_is_tried_again_when_its_history_may_have_grown(world: World) -> None:
    trainer = FakeTrainer(world, skipped={"4h": (2880, 2870)})
    with capture_logs() as logs:
        task = world.run(trainer)
        await world.until(lambda: trainer.begun == 1 and world.served == [{"1h": "1"}] and not world.state.training)
        await world.poll(hours=9)
        await world.poll()
        assert trainer.begun == 1
        assert world.state.last_error == ""
        world.pass_time(hours=1)
        await world.until(lambda: trainer.begun == 2 and not world.state.training)
        await ended(task)
    assert [one["log_level"] for one in logs if one["event"] == "analysis.history_too_short"] == ["warning"]


async def test_models_that_cannot_be_read_are_not_trained_without_pause(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(source: str) -> None:
        raise ModelError("no weights")

    monkeypatch.setattr(world.registry, "load_newest_usable", unreadable)
    trainer = FakeTrainer(world)
    task = world.run(trainer)
    await world.until(lambda: trainer.begun == 1 and not world.state.training)
    for number, seconds in ((1, 60), (2, 120)):
        await world.poll(seconds=seconds - 1)
        await world.poll()
        assert trainer.begun == number
        world.pass_time(seconds=1)
        await world.until(lambda number=number: trainer.begun == number + 1 and not world.state.training)  # type: ignore[misc]
    await ended(task)


async def test_what_was_damaged_is_served_once_it_is_restored_and_told_once_until_then(world: World) -> None:
    for timeframe in TIMEFRAMES:
        world.save(timeframe, "old")
    world.now += timedelta(minutes=1)
    file = world.registry.root / world.save("1h", "new") / "1h" / "all"
    whole = file.read_bytes()
    file.write_bytes(b"1h nex")
    with capture_logs() as logs:
        task = world.run(None)
        await world.until(lambda: world.waits == 1)
        await world.poll()
        await world.poll()
        assert world.served == [{"1h": "old", "4h": "old"}]
        assert [one["event"] for one in logs].count("analysis.model_damaged") == 1
        file.write_bytes(whole)
        await world.poll()
        assert world.served[1:] == [{"1h": "new", "4h": "old"}]
        await world.poll()
        assert len(world.served) == 2
        await ended(task)


@pytest.mark.parametrize("method", ["current", "load_newest_usable"])
@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), RuntimeError("can't start new thread")])
async def test_whatever_fails_for_a_moment_the_loop_goes_on_and_tells_it_once(
    world: World, monkeypatch: pytest.MonkeyPatch, method: str, error: Exception
) -> None:
    for timeframe in TIMEFRAMES:
        world.save(timeframe, "kept")

    def fails(source: str) -> None:
        raise error

    with capture_logs() as logs:
        with monkeypatch.context() as patch:
            patch.setattr(world.registry, method, fails)
            task = world.run(None)
            await world.until(lambda: world.waits == 1)
            await world.poll()
            assert (world.served, world.looks) == ([], [0])
        await world.poll()
        assert world.served == [{"1h": "kept", "4h": "kept"}]
        await ended(task)
    told = [one for one in logs if one["event"] == "analysis.look_failed"]
    assert [one["exc_info"] for one in told] == [error]


async def test_the_first_look_is_told_once_after_what_there_is_has_been_served(world: World) -> None:
    world.save("1h", "kept")
    task = world.run(None)
    await world.until(lambda: world.waits == 1)
    world.save("1h", "next")
    await world.poll()
    assert world.looks == [1]
    await ended(task)


async def test_the_wait_for_histories_is_no_part_of_a_training(world: World) -> None:
    asked, there = asyncio.Event(), asyncio.Event()

    async def histories() -> Mapping[str, Series]:
        asked.set()
        await there.wait()
        return {}

    trainer = FakeTrainer(world)
    trainer.go_on.clear()
    task = world.run(trainer, histories)
    await asked.wait()
    assert not world.state.training
    world.now += timedelta(minutes=10)
    assert world.state.seconds_left() == 60
    there.set()
    await world.until(lambda: bool(world.served))
    assert world.state.training
    assert world.state.seconds_left("1h") <= 60
    trainer.go_on.set()
    await world.until(lambda: not world.state.training)
    assert world.state.seconds_left() == 0  # the hand has not moved since it began
    await ended(task)


async def test_a_failure_is_forgotten_once_another_has_trained(world: World) -> None:
    task = world.run(FakeTrainer(world, TrainingError("no")))
    await world.until(lambda: world.state.last_error == "no")
    for timeframe in TIMEFRAMES:
        world.save(timeframe, "theirs")
    await world.poll()
    assert world.state.last_error == ""
    await ended(task)


async def test_without_a_trainer_models_are_loaded_and_none_are_trained(world: World) -> None:
    task = world.run(None)
    await world.until(lambda: world.waits == 1)
    assert world.served == []
    world.save("1h", "theirs")
    await world.poll(minutes=1)
    assert world.served == [{"1h": "theirs"}]
    await ended(task)


async def test_after_failures_it_waits_longer_each_time_up_to_a_limit(world: World) -> None:
    trainer = FakeTrainer(world, *[TrainingError(f"failure {number}") for number in range(4)])
    task = world.run(trainer)
    # The loop looks around once when the training has begun, and again when it has failed.
    await world.until(lambda: world.state.last_error == "failure 0")
    for number, seconds in enumerate((60, 120, 200, 200), start=1):
        await world.poll(seconds=seconds - 1)
        assert trainer.begun == number
        assert world.state.last_error == f"failure {number - 1}"
        world.pass_time(seconds=1)
        awaited = f"failure {number}" if number < 4 else ""
        await world.until(lambda awaited=awaited: world.state.last_error == awaited)  # type: ignore[misc]
    await world.until(lambda: bool(world.served) and world.served[-1] == {"1h": "5", "4h": "5"})
    await ended(task)


@pytest.mark.parametrize("error", [SeriesError("a price below 0"), OSError("no database"), KeyError("x")])
async def test_histories_that_cannot_be_read_are_a_failure_like_others(world: World, error: Exception) -> None:
    failing = [error]

    async def histories() -> Mapping[str, Series]:
        if failing:
            raise failing.pop()
        return {}

    trainer = FakeTrainer(world)
    task = world.run(trainer, histories)
    await world.until(lambda: world.state.last_error == str(error))
    world.pass_time(seconds=60)
    await world.until(lambda: trainer.begun == 1)
    await ended(task)


async def test_that_another_trains_is_no_failure(world: World) -> None:
    trainer = FakeTrainer(world, *[TrainingBusyError("busy") for _ in range(3)])
    task = world.run(trainer)
    await world.until(lambda: trainer.begun == 1 and not world.state.training)
    for number in (2, 3):
        await world.poll(seconds=60)  # never longer
        await world.until(lambda number=number: trainer.begun == number and not world.state.training)  # type: ignore[misc]
        assert (world.state.last_error, world.state.short) == ("", None)
    assert world.state.seconds_left() == 60 + 60  # the wait, and what a training is guessed to take
    await ended(task)


async def test_want_of_history_is_told_with_the_hours(world: World) -> None:
    task = world.run(FakeTrainer(world, HistoryTooShortError(2880, 100)))
    await world.until(lambda: world.state.short is not None)
    assert world.state.short is not None
    assert (world.state.short.needed, world.state.short.given) == (2880, 100)
    await ended(task)


async def test_history_that_comes_at_once_is_learned_from_before_long(world: World) -> None:
    hours, asked = 0, 0

    async def histories() -> Mapping[str, Series]:
        nonlocal asked
        asked += 1
        prices = (np.ones(hours) for _ in range(5))
        return {"BTC-USDT": Series.from_arrays(np.arange(hours) * HOUR_MS, *prices)} if hours else {}

    trainer = FakeTrainer(world, HistoryTooShortError(2880, 0))
    task = world.run(trainer, histories)
    await world.until(lambda: trainer.begun == 1 and world.state.short is not None)
    hours = 2879
    world.pass_time(seconds=200)
    await world.until(lambda: asked == 2 and world.state.short is not None)
    await world.poll()
    assert trainer.begun == 1
    hours = 2880
    world.pass_time(seconds=200)
    await world.until(lambda: bool(world.served) and world.served[-1] == {"1h": "2", "4h": "2"})
    await ended(task)


@pytest.mark.parametrize(("given", "hours"), [(2875, 5), (100, 24), (2880, 1)])
async def test_want_of_history_is_no_error_and_waits_until_there_may_be_more(
    world: World, given: int, hours: int
) -> None:
    trainer = FakeTrainer(world, *[HistoryTooShortError(2880, given) for _ in range(2)])
    with capture_logs() as logs:
        task = world.run(trainer)
        await world.until(lambda: world.state.short is not None)
        await world.poll(hours=hours, seconds=-1)
        await world.poll()
        assert trainer.begun == 1
        world.pass_time(seconds=1)
        await world.until(lambda: trainer.begun == 2 and not world.state.training)
        await world.poll()
        await ended(task)
    told = [one for one in logs if one["log_level"] != "info"]
    assert [(one["event"], one["log_level"]) for one in told if "no_models" not in one["event"]] == [
        ("analysis.history_too_short", "warning")
    ]


async def test_cancelling_ends_the_training(world: World) -> None:
    trainer = FakeTrainer(world)
    trainer.go_on.clear()
    task = world.run(trainer)
    await world.until(lambda: bool(world.served))
    await ended(task)
    assert trainer.cancelled
    assert not world.state.training


# What those who wait are told.


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_the_pace_of_a_training_tells_how_long_it_will_take() -> None:
    clock = Hand()
    state = TrainingState(("1h", "4h", "1d", "1w"), clock)
    assert state.seconds_left() == 60
    state.begin()
    assert state.seconds_left("4h") == 30
    clock.seconds += 20
    assert state.seconds_left() == 40
    state.advance(Progress("1h", 0.8, 0.2))
    assert state.seconds_left() == pytest.approx(80)
    assert state.seconds_left("1h") == pytest.approx(5)
    assert state.seconds_left("4h") == pytest.approx(30)
    clock.seconds += 20
    state.advance(Progress("4h", 0.6, 0.4))
    assert state.seconds_left("1h") == pytest.approx(60)  # it was just trained; whoever asks for it missed that
    clock.seconds += 60
    state.end()
    assert state.seconds_left() == 100  # what the last one took
    assert state.seconds_left("1h") == 25


def test_a_wait_after_a_failure_counts() -> None:
    clock = Hand()
    state = TrainingState(TIMEFRAMES, clock)
    state.begin()
    clock.seconds += 5
    state.end(TrainingError("no"), next_after_seconds=300)
    assert state.last_error == "no"
    assert state.seconds_left("1h") == 330
    clock.seconds += 299
    assert state.seconds_left("1h") == 31
    clock.seconds += 299
    assert state.seconds_left("1h") == 30
    state.begin()
    state.end()
    assert state.last_error == ""


def test_an_estimate_is_a_second_at_least_while_a_training_runs() -> None:
    clock = Hand()
    state = TrainingState(TIMEFRAMES, clock)
    state.begin()
    clock.seconds += 1e6
    assert state.seconds_left() == 1
    state.advance(Progress("4h", 1.0, 1.0))
    assert state.seconds_left() == 1
