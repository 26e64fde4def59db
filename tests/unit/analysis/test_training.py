"""When a training is begun, what is served meanwhile, and what those who wait are told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from entasis_engine.analysis.registry import Loaded, Registry
from entasis_engine.analysis.series import Series, SeriesError
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
    """Keeps its number as the models of each timeframe; `failures` come first."""

    def __init__(self, world: World, *failures: Exception) -> None:
        self._world = world
        self._failures = list(failures)
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
                last = place == len(TIMEFRAMES) - 1
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
    world.save("1h", "theirs")
    await world.poll(hours=2)
    assert world.served[-1] == {"1h": "theirs", "4h": "kept"}
    assert trainer.begun == 0
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
    await ended(task)


async def test_want_of_history_is_told_with_the_hours(world: World) -> None:
    task = world.run(FakeTrainer(world, HistoryTooShortError(2880, 100)))
    await world.until(lambda: world.state.short is not None)
    assert world.state.short is not None
    assert (world.state.short.needed, world.state.short.given) == (2880, 100)
    await ended(task)


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
