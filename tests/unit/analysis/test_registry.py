"""Versions are whole or not there, damage is seen, and nothing outside of a version's folder is ever read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from entasis_engine.analysis import registry as module
from entasis_engine.analysis.registry import CURRENT, MANIFEST, ModelError, NoModelError, Registry

NOW = datetime(2026, 11, 22, 21, 53, 0, 123456, tzinfo=UTC)
SOURCE = "simulated-7"


@dataclass(frozen=True)
class FakeTrained:
    """Models that are their own text."""

    timeframe: str
    text: str = "models"
    symbols: tuple[str, ...] = ("BTC-USDT", "ETH-USDT")
    trained_from: datetime = NOW - timedelta(days=700)
    cutoff: datetime = NOW - timedelta(hours=1)
    sample_size: int = 20_000
    feature_names: tuple[str, ...] = ("return_1h", "volatility_24h")
    metrics: Mapping[str, float] = field(default_factory=lambda: {"relative_error": 0.994})
    extra_files: Mapping[str, bytes] = field(default_factory=dict)

    def to_files(self) -> Mapping[str, bytes]:
        head = json.dumps({"timeframe": self.timeframe}).encode()
        return {"meta.json": head, "weights.bin": self.text.encode(), **self.extra_files}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> FakeTrained:
        if files["weights.bin"].startswith(b"broken"):
            raise ValueError("no weights")
        return cls(json.loads(files["meta.json"])["timeframe"], files["weights.bin"].decode())


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here pulls the plug."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def opened(root: Path) -> Registry[FakeTrained]:
    return Registry(root, FakeTrained.from_files)


def texts(registry: Registry[FakeTrained], source: str = SOURCE) -> dict[str, str]:
    return {timeframe: one.text for timeframe, one in registry.load(source).trained.items()}


def saved(registry: Registry[FakeTrained], text: str, *timeframes: str, minutes: int = 0, **options: Any) -> str:
    trained = {timeframe: FakeTrained(timeframe, text) for timeframe in timeframes or ("1h", "4h")}
    return registry.save(trained, **{"source": SOURCE, "now": NOW + timedelta(minutes=minutes), **options})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "models"


def test_what_was_saved_is_loaded_with_all_that_is_known_of_it(root: Path) -> None:
    version = saved(opened(root), "first")
    loaded = opened(root).load(SOURCE)
    assert version.startswith("20261122T215300123Z-")
    assert loaded.version == version == opened(root).current(SOURCE)
    assert loaded.trained == {timeframe: FakeTrained(timeframe, "first") for timeframe in ("1h", "4h")}
    info = loaded.info
    assert (info.source, info.complete) == (SOURCE, True)
    assert info.created_at == NOW.replace(microsecond=123000)
    assert {"python", "numpy", "entasis-engine"} <= set(info.libraries)
    hourly = info.timeframes["1h"]
    assert hourly.symbols == ("BTC-USDT", "ETH-USDT")
    assert hourly.sample_size == 20_000
    assert hourly.feature_names == ("return_1h", "volatility_24h")
    assert hourly.metrics == {"relative_error": 0.994}
    assert (hourly.trained_in, hourly.trained_at) == (version, info.created_at)
    assert hourly.cutoff - hourly.trained_from == timedelta(days=700) - timedelta(hours=1)
    weights = hourly.files["weights.bin"]
    assert (weights.size, weights.sha256) == (5, hashlib.sha256(b"first").hexdigest())


def test_there_is_no_model_before_the_first_is_saved(root: Path) -> None:
    registry = opened(root)
    assert registry.current(SOURCE) is None
    assert registry.versions() == []
    with pytest.raises(NoModelError):
        registry.load(SOURCE)
    with pytest.raises(NoModelError):
        registry.load_newest_usable(SOURCE)


def test_models_of_one_source_never_serve_another(root: Path) -> None:
    registry = opened(root)
    simulated = saved(registry, "simulated")
    assert registry.current("binance") is None
    with pytest.raises(NoModelError):
        registry.load_newest_usable("binance")
    real = saved(registry, "real", source="binance")
    assert (registry.current(SOURCE), registry.current("binance")) == (simulated, real)
    assert (texts(registry)["1h"], texts(registry, "binance")["1h"]) == ("simulated", "real")
    pointed = module._seal({"format": 1, "versions": {"binance": simulated}})
    (root / CURRENT).write_bytes(pointed)
    with pytest.raises(ModelError, match="trained on the history of simulated-7"):
        registry.load("binance")


def test_a_version_carries_over_the_timeframes_that_it_does_not_change(root: Path) -> None:
    registry = opened(root)
    first = saved(registry, "old", "1h", "4h")
    second = saved(registry, "new", "1h", minutes=1, carry_over=True, complete=False)
    assert texts(registry) == {"1h": "new", "4h": "old"}
    info = registry.load(SOURCE).info
    assert not info.complete
    assert [info.timeframes[one].trained_in for one in ("1h", "4h")] == [second, first]
    assert info.timeframes["4h"].trained_at < info.timeframes["1h"].trained_at
    shutil.rmtree(root / first)
    assert texts(registry) == {"1h": "new", "4h": "old"}
    saved(registry, "alone", "1d", minutes=2)
    assert texts(registry) == {"1d": "alone"}


def test_models_keep_the_name_they_were_trained_under_through_every_carry(root: Path) -> None:
    registry = opened(root)
    first = saved(registry, "old", "1h", "1d")
    second = saved(registry, "new", "4h", minutes=1, carry_over=True, complete=False)
    third = saved(registry, "new", "1h", minutes=2, carry_over=True, complete=False)
    registry.prune(keep=1)
    last = registry.save({}, source=SOURCE, now=NOW + timedelta(minutes=3), carry_over=True)
    loaded = registry.load(SOURCE)
    assert loaded.version == last
    assert {timeframe: loaded.info.timeframes[timeframe].trained_in for timeframe in loaded.trained} == {
        "1d": first,
        "4h": second,
        "1h": third,
    }
    assert loaded.info.timeframes["1d"].trained_at == NOW.replace(microsecond=123000)


def test_what_is_damaged_is_not_carried_over(root: Path) -> None:
    registry = opened(root)
    first = saved(registry, "old", "4h", "1d")
    (root / first / "4h" / "weights.bin").write_bytes(b"odd")
    saved(registry, "new", "1h", carry_over=True)
    assert texts(registry) == {"1h": "new", "1d": "old"}


def test_names_ascend_even_where_the_clock_stands_or_goes_back(root: Path) -> None:
    registry = opened(root)
    versions = [saved(registry, "same", minutes=minutes) for minutes in (0, 0, 5, 3, -9000)]
    assert versions == sorted(set(versions))
    assert [one.version for one in registry.versions()] == versions[::-1]
    created = registry.load(SOURCE).info.created_at
    assert created == (NOW - timedelta(minutes=9000)).replace(microsecond=123000)
    (root / "99999999T999999999Z-000000").mkdir()  # no time at all
    assert saved(registry, "same") == registry.current(SOURCE)


def test_a_metric_that_is_no_number_is_left_out(root: Path) -> None:
    registry = opened(root)
    registry.save({"1h": FakeTrained("1h", metrics={"a": float("nan"), "b": 1.0})}, source=SOURCE, now=NOW)
    assert registry.load(SOURCE).info.timeframes["1h"].metrics == {"b": 1.0}


# Damage.


def _resealed(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """A manifest that someone changed with its checksum."""
    fields = json.loads((folder / MANIFEST).read_text())
    del fields["sha256"]
    change(fields)
    (folder / MANIFEST).write_bytes(module._seal(fields))


def _escaping(folder: Path) -> None:
    (folder.parent / "secret").write_bytes(b"secret")
    kept = {"size": 6, "sha256": hashlib.sha256(b"secret").hexdigest()}
    _resealed(folder, lambda fields: fields["timeframes"]["1h"]["files"].update({"../../secret": kept}))


def _timeframe_escaping(folder: Path) -> None:
    _resealed(folder, lambda fields: fields["timeframes"].update({"../1h": fields["timeframes"]["1h"]}))


def _linked(folder: Path) -> None:
    weights = folder / "1h" / "weights.bin"
    elsewhere = folder.parent / "elsewhere"
    weights.rename(elsewhere)
    weights.symlink_to(elsewhere)


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a file is missing": lambda folder: (folder / "1h" / "weights.bin").unlink(),
    "a file is cut off": lambda folder: (folder / "1h" / "weights.bin").write_bytes(b"new"[:2]),
    "a file has more": lambda folder: (folder / "1h" / "weights.bin").write_bytes(b"newer"),
    "a bit of a file is flipped": lambda folder: _flipped(folder / "1h" / "weights.bin"),
    "a file is a folder": lambda folder: ((folder / "1h/weights.bin").unlink(), (folder / "1h/weights.bin").mkdir()),
    "a file is a pipe": lambda folder: ((folder / "1h/weights.bin").unlink(), os.mkfifo(folder / "1h/weights.bin")),
    "a file is a link": _linked,
    "a name leads elsewhere": _escaping,
    "a timeframe leads elsewhere": _timeframe_escaping,
    "the folder is missing": shutil.rmtree,
    "the manifest is missing": lambda folder: (folder / MANIFEST).unlink(),
    "the manifest is empty": lambda folder: (folder / MANIFEST).write_bytes(b""),
    "the manifest is cut off": lambda folder: (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes()[:200]),
    "the manifest is no object": lambda folder: (folder / MANIFEST).write_bytes(b"[]"),
    "the manifest is no text": lambda folder: (folder / MANIFEST).write_bytes(b"\xff\xfe"),
    "the manifest is deep": lambda folder: (folder / MANIFEST).write_bytes(b"[" * 500_000),
    "the manifest is huge": lambda folder: (folder / MANIFEST).write_bytes(b" " * (2 * 2**20)),
    "a bit of the manifest is flipped": lambda folder: _flipped(folder / MANIFEST),
    "a figure was changed": lambda folder: (folder / MANIFEST).write_text(
        (folder / MANIFEST).read_text().replace("20000", "30000")
    ),
    "the format is foreign": lambda folder: _resealed(folder, lambda fields: fields.update(format=2)),
    "a field is missing": lambda folder: _resealed(folder, lambda fields: fields.pop("created_at")),
    "a time has no zone": lambda folder: _resealed(folder, lambda fields: fields.update(created_at="2026-11-22")),
    "a size is no number": lambda folder: _resealed(
        folder, lambda fields: fields["timeframes"]["1h"]["files"]["weights.bin"].update(size=True)
    ),
    "a size is absurd": lambda folder: _resealed(
        folder, lambda fields: fields["timeframes"]["1h"]["files"]["weights.bin"].update(size=2**40)
    ),
    "a metric is beyond all floats": lambda folder: _resealed(
        folder, lambda fields: fields["timeframes"]["1h"]["metrics"].update(relative_error=10**400)
    ),
    "a time is before all times": lambda folder: _resealed(
        folder, lambda fields: fields.update(created_at="0001-01-01T00:00:00+14:00")
    ),
    "models have no name": lambda folder: _resealed(
        folder, lambda fields: fields["timeframes"]["1h"].update(trained_in="")
    ),
    "there are no timeframes": lambda folder: _resealed(folder, lambda fields: fields["timeframes"].clear()),
    "it is another's": lambda folder: _resealed(
        folder, lambda fields: fields.update(version="20200101T000000000Z-000000")
    ),
    "models are of another timeframe": lambda folder: _resealed(
        folder, lambda fields: fields["timeframes"].update({"1h": fields["timeframes"]["4h"]})
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_seen_and_the_version_before_can_serve(root: Path, damage: Callable[[Path], object]) -> None:
    registry = opened(root)
    before = saved(registry, "old")
    version = saved(registry, "new", minutes=1)
    assert registry.load(SOURCE).version == version
    damage(root / version)
    with pytest.raises(ModelError) as raised:
        registry.load(SOURCE)
    assert not isinstance(raised.value, NoModelError)
    assert version in str(raised.value)
    loaded, faults = registry.load_newest_usable(SOURCE)
    assert loaded.version == before
    assert any(version in fault for fault in faults)


def test_models_that_their_reader_refuses_are_damaged(root: Path) -> None:
    registry = opened(root)
    saved(registry, "broken")
    with pytest.raises(ModelError, match="no weights"):
        registry.load(SOURCE)
    with pytest.raises(ModelError, match="no weights"):
        registry.load_newest_usable(SOURCE)


def test_files_that_the_manifest_does_not_name_are_not_read(root: Path) -> None:
    registry = opened(root)
    version = saved(registry, "models")
    os.mkfifo(root / version / "1h" / "more")  # reading it would never end
    (root / version / ".DS_Store").write_bytes(b"x")
    (root / "notes.txt").write_bytes(b"x")
    (root / "20261122").mkdir()
    assert registry.load(SOURCE).version == version
    assert [one.version for one in registry.versions()] == [version]


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"{", b'{"format": 1, "versions": []}', b"\xff"])
def test_a_damaged_pointer_is_said_and_the_newest_version_serves(root: Path, content: bytes) -> None:
    registry = opened(root)
    version = saved(registry, "models")
    (root / CURRENT).write_bytes(content)
    with pytest.raises(ModelError, match=CURRENT):
        registry.load(SOURCE)
    loaded, faults = registry.load_newest_usable(SOURCE)
    assert loaded.version == version
    assert len(faults) == 1
    assert saved(registry, "next", minutes=1) == registry.load(SOURCE).version


def test_a_pointer_cannot_lead_out_of_the_folder(root: Path) -> None:
    registry = opened(root)
    saved(registry, "models")
    (root / CURRENT).write_bytes(module._seal({"format": 1, "versions": {SOURCE: "../elsewhere"}}))
    with pytest.raises(ModelError, match="cannot be"):
        registry.load(SOURCE)


def test_a_version_that_never_became_the_one_in_use_serves_where_there_is_no_other(root: Path) -> None:
    registry = opened(root)
    version = saved(registry, "models")
    (root / CURRENT).unlink()
    assert registry.current(SOURCE) is None
    loaded, faults = registry.load_newest_usable(SOURCE)
    assert (loaded.version, faults) == (version, ())


def test_the_listing_shows_damaged_versions_too(root: Path) -> None:
    registry = opened(root)
    good = saved(registry, "models")
    bad = saved(registry, "models", minutes=1)
    (root / bad / MANIFEST).write_bytes(b"{")
    listed = registry.versions()
    assert [one.version for one in listed] == [bad, good]
    assert listed[0].info is None
    assert "damaged" in listed[0].fault
    assert listed[1].info is not None
    assert [one.version for one in registry.versions(SOURCE)] == [good]
    assert registry.versions("binance") == []


# What is not kept.


@pytest.mark.parametrize(
    "trained",
    [
        {},
        {"1h": FakeTrained("4h")},
        {"../1h": FakeTrained("../1h")},
        {"1h": FakeTrained("1h", extra_files={"../../x": b""})},
        {"1h": FakeTrained("1h", extra_files={".hidden": b""})},
        {"1h": FakeTrained("1h", extra_files={f"f{number}": b"" for number in range(300)})},
    ],
    ids=["nothing", "mislabelled", "odd timeframe", "a path", "hidden", "too many files"],
)
def test_what_could_not_be_loaded_is_not_saved(root: Path, trained: dict[str, FakeTrained]) -> None:
    registry = opened(root)
    with pytest.raises((ValueError, ModelError)):
        registry.save(trained, source=SOURCE, now=NOW)
    assert registry.versions() == []
    assert [path.name for path in root.iterdir()] == [".writing"]


def test_a_file_that_is_too_large_is_not_saved(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE_BYTES_MAX", 100)
    with pytest.raises(ValueError, match="101 bytes"):
        saved(opened(root), "x" * 101)


def test_a_folder_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "models").write_bytes(b"")
    with pytest.raises(ModelError, match="Cannot keep models"):
        saved(opened(tmp_path / "models"), "models")


def test_a_save_that_fails_leaves_what_was(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = opened(root)
    saved(registry, "old")
    written = 0

    def full(path: Path, content: bytes) -> None:
        nonlocal written
        written += 1
        if written == 3:
            raise OSError(28, "No space left on device")
        path.write_bytes(content)

    monkeypatch.setattr(module, "_write_through", full)
    with pytest.raises(ModelError, match="No space left"):
        saved(registry, "new", minutes=1)
    assert texts(registry)["1h"] == "old"
    assert not list(root.glob(".new-*"))


def test_all_is_on_the_disk_before_it_gets_its_name(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[str, str]] = []
    rename, replace = Path.rename, Path.replace

    def synced(descriptor: int) -> None:
        steps.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink().name))

    def renamed(path: Path, target: Path) -> Path:
        steps.append(("name", Path(target).name))
        return rename(path, target)

    def replaced(path: Path, target: Path) -> Path:
        steps.append(("name", Path(target).name))
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    monkeypatch.setattr(Path, "replace", replaced)
    version = saved(opened(root), "models", "1h")
    named = steps.index(("name", version))
    assert {"meta.json", "weights.bin", "1h", MANIFEST} < {name for step, name in steps[:named] if step == "sync"}
    assert steps[named + 1 :] == [
        ("sync", root.name),
        ("sync", ".new-current"),
        ("name", CURRENT),
        ("sync", root.name),
    ]


# Removing.


def test_pruning_keeps_the_newest_of_each_source_and_the_one_in_use(root: Path) -> None:
    registry = opened(root)
    mine = [saved(registry, f"{number}", minutes=number) for number in range(6)]
    others = [saved(registry, f"{number}", minutes=number, source="binance") for number in range(2)]
    (root / CURRENT).write_bytes(module._seal({"format": 1, "versions": {SOURCE: mine[0], "binance": others[1]}}))
    removed = registry.prune(keep=3)
    assert sorted(removed) == sorted(mine[1:4])
    assert {one.version for one in registry.versions()} == {mine[0], *mine[4:], *others}
    assert texts(registry)["1h"] == "0"
    assert not list(root.glob(".new-*"))


def test_pruning_takes_versions_between_first_and_keeps_the_training_before(root: Path) -> None:
    registry = opened(root)
    before = saved(registry, "old", "1h", "4h")
    between = saved(registry, "new", "1h", minutes=1, carry_over=True, complete=False)
    assert registry.prune(keep=2) == []
    whole = saved(registry, "new", "4h", minutes=2, carry_over=True)
    assert registry.prune(keep=2) == [between]
    assert [one.version for one in registry.versions()] == [whole, before]


def test_pruning_removes_what_cannot_be_read_only_when_it_is_old(root: Path) -> None:
    registry = opened(root)
    versions = [saved(registry, f"{number}", minutes=number) for number in range(4)]
    for place in (0, 3):
        (root / versions[place] / MANIFEST).write_bytes(b"{")
    (root / CURRENT).write_bytes(module._seal({"format": 1, "versions": {SOURCE: versions[2]}}))
    assert sorted(registry.prune(keep=2)) == versions[:1]
    assert {one.version for one in registry.versions()} == set(versions[1:])


def test_pruning_keeps_what_a_crash_kept_from_becoming_the_one_in_use(root: Path) -> None:
    registry = opened(root)
    between = saved(registry, "models", "1h", complete=False)
    (root / CURRENT).unlink()
    assert registry.prune(keep=1) == []
    assert registry.load_newest_usable(SOURCE)[0].version == between


def test_what_cannot_be_removed_is_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = opened(root)
    for number in range(2):
        saved(registry, f"{number}", minutes=number)

    def refuses(path: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuses)
    with pytest.raises(ModelError, match="Permission denied"):
        registry.prune(keep=1)


def test_without_knowing_what_is_in_use_nothing_is_removed(root: Path) -> None:
    registry = opened(root)
    for number in range(3):
        saved(registry, f"{number}", minutes=number)
    (root / CURRENT).write_bytes(b"{")
    with pytest.raises(ModelError):
        registry.prune(keep=1)
    assert len(registry.versions()) == 3


def test_what_a_writer_that_crashed_has_left_is_removed_by_the_next(root: Path) -> None:
    registry = opened(root)
    saved(registry, "old")
    (root / ".new-abc" / "1h").mkdir(parents=True)
    (root / ".new-abc" / "1h" / "weights.bin").write_bytes(b"half")
    (root / ".new-current").write_bytes(b"half")
    assert texts(registry)["1h"] == "old"
    saved(registry, "new", minutes=1)
    assert not list(root.glob(".new-*"))


# At the same time.


def test_readers_see_whole_versions_while_others_are_saved_and_removed(root: Path) -> None:
    """Each version says the same of all its timeframes: a reader that mixes two would show two texts."""
    registry = opened(root)
    saved(registry, "0")
    done = threading.Event()
    seen: list[set[str]] = []
    failures: list[BaseException] = []

    def read() -> None:
        mine = opened(root)
        try:
            while not done.is_set():
                seen.append(set(texts(mine).values()))
        except BaseException as error:
            failures.append(error)

    def write(writer: int) -> None:
        mine = opened(root)
        try:
            for number in range(1, 30):
                saved(mine, f"{writer}-{number}", minutes=number)
                mine.prune(keep=1)
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert not failures
    assert seen
    assert all(len(one) == 1 for one in seen)
    assert len(registry.versions()) == 1
