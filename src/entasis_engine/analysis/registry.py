"""Trained models on disk: whole versions, of which a reader sees one or the next and never parts of both.

    models/
      current                          which version each source of history uses; replaced in one go
      20261122T215300123Z-5be2c0/      a version: never changed once it is there
        manifest.json                  what it is made of and for, with size and SHA-256 of every file
        1h/…  4h/…  1d/…               the files of each timeframe
      .writing                         a lock: one process writes at a time; readers need none
      .new-…                           a version that is being written, or what is left of one

A version is complete in itself: one that changes a single timeframe carries over the files of the others. That costs a
few megabytes, and spares readers from putting versions together. Checksums show damage; they are no defence against
whoever may write into the folder. Nothing that is read can run code: files are handed over as bytes, never unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

from entasis_engine.times import MILLISECOND, isoformat

try:
    import fcntl
except ImportError:  # on Windows, where one engine a folder is up to the operator
    fcntl = None  # type: ignore[assignment]

FORMAT: Final = 1
"""Of the manifest. It changes where an engine of before could not read it rightly."""
MANIFEST: Final = "manifest.json"
CURRENT: Final = "current"

FILE_BYTES_MAX = 64 * 2**20
VERSION_BYTES_MAX = 256 * 2**20
MANIFEST_BYTES_MAX = 2**20
FILES_MAX = 256
KEPT = 5
ATTEMPTS_MAX = 5

_LIBRARIES = ("entasis-engine", "numpy", "lightgbm")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TIMEFRAME = re.compile(r"[0-9]{1,3}[mhd]")
_VERSION = re.compile(r"[0-9]{8}T[0-9]{9}Z-[0-9a-f]{6}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ModelError(Exception):
    """Models cannot be loaded or kept. The text says why; it is for the log, since it names files."""


class NoModelError(ModelError):
    """There is no version of that source at all."""


class Storable(Protocol):
    """Models of one timeframe, as far as keeping them goes; `forecasting.Trained` is one."""

    @property
    def timeframe(self) -> str: ...
    @property
    def symbols(self) -> Sequence[str]: ...
    @property
    def trained_from(self) -> datetime: ...
    @property
    def cutoff(self) -> datetime: ...
    @property
    def sample_size(self) -> int: ...
    @property
    def feature_names(self) -> Sequence[str]: ...
    @property
    def metrics(self) -> Mapping[str, float]: ...
    def to_files(self) -> Mapping[str, bytes]: ...


_Trained = TypeVar("_Trained", bound=Storable)


@dataclass(frozen=True)
class KeptFile:
    """A file of a version."""

    size: int
    sha256: str


@dataclass(frozen=True)
class TimeframeInfo:
    """What the manifest says of the models of one timeframe."""

    symbols: tuple[str, ...]
    trained_from: datetime
    """Open time of the first candle that they learned from."""
    cutoff: datetime
    """Close of the last one."""
    sample_size: int
    feature_names: tuple[str, ...]
    metrics: Mapping[str, float]
    """Those that are finite: JSON knows no others."""
    trained_in: str
    """The version that they were trained for: the name of these very models. An earlier one than the version they are
    read from where they were carried over, however often; that one may be removed by now."""
    trained_at: datetime
    files: Mapping[str, KeptFile]


@dataclass(frozen=True)
class VersionInfo:
    """What the manifest says of a version."""

    version: str
    source: str
    created_at: datetime
    complete: bool
    """False where the training that made it had more timeframes to go."""
    timeframes: Mapping[str, TimeframeInfo]
    libraries: Mapping[str, str]


@dataclass(frozen=True)
class Listed:
    """A version's folder, and what is in it."""

    version: str
    info: VersionInfo | None
    fault: str = ""
    """Why there is no `info`."""


@dataclass(frozen=True)
class Loaded(Generic[_Trained]):
    """A version, with every checksum verified."""

    info: VersionInfo
    trained: Mapping[str, _Trained]
    """By timeframe."""

    @property
    def version(self) -> str:
        return self.info.version


class Registry(Generic[_Trained]):
    """The models of a folder. It holds nothing itself, so any number of processes may have one of the same folder.

    Args:
        root: the folder; made by the first `save`.
        read: makes models of their files; raises ValueError where they are damaged. `Trained.from_files`.
    """

    def __init__(self, root: Path, read: Callable[[Mapping[str, bytes]], _Trained]) -> None:
        self.root = root
        self._read = read

    # Reading.

    def current(self, source: str) -> str | None:
        """The version in use for a source of history; None where there is none. Raises `ModelError`."""
        return self._pointers().get(source)

    def versions(self, source: str | None = None) -> list[Listed]:
        """What is there, newest first; with a source only its versions. What cannot be read has no source."""
        listed = []
        for version in self._names():
            try:
                one = Listed(version, self._info(version))
            except ModelError as error:
                one = Listed(version, None, str(error))
            if source is None or (one.info is not None and one.info.source == source):
                listed.append(one)
        return listed

    def load(self, source: str) -> Loaded[_Trained]:
        """The version in use. Raises `NoModelError` where there is none, `ModelError` where it is damaged."""
        for attempt in range(ATTEMPTS_MAX):
            version = self.current(source)
            if version is None:
                raise NoModelError(f"There is no trained model for the history of {source} in {self.root}.")
            try:
                return self._load(version, source)
            except ModelError:
                # It may have been replaced, and removed, while it was read.
                if attempt == ATTEMPTS_MAX - 1 or self.current(source) == version:
                    raise
        raise AssertionError("unreachable")

    def load_newest_usable(self, source: str) -> tuple[Loaded[_Trained], tuple[str, ...]]:
        """The version in use, or where it is damaged the newest that is not; and what is wrong with those before it.

        This is what a service should begin with: an earlier version is no wrong answer, only an older one, and each
        answer says by which version and cut-off it was made; AI_001 for as long as a training takes helps nobody. But
        the faults belong in the log, and a training should begin. Raises `ModelError` where no version can be used.
        """
        faults = []
        try:
            return self.load(source), ()
        except NoModelError:
            pass  # a crash may have come between a version and its becoming the one in use
        except ModelError as error:
            faults.append(str(error))
        for listed in self.versions(source):
            try:
                return self._load(listed.version, source), tuple(faults)
            except ModelError as error:
                if str(error) not in faults:
                    faults.append(str(error))
        if not faults:
            raise NoModelError(f"There is no trained model for the history of {source} in {self.root}.")
        raise ModelError(" ".join(faults))

    def _load(self, version: str, source: str) -> Loaded[_Trained]:
        info = self._info(version)
        if info.source != source:
            raise ModelError(f"{version} was trained on the history of {info.source}, not on that of {source}.")
        trained = {}
        for timeframe, one in info.timeframes.items():
            contents = {name: self._content(version, timeframe, name, kept) for name, kept in sorted(one.files.items())}
            try:
                made = self._read(contents)
            except Exception as error:  # whatever readers make of files that another version of theirs wrote
                raise ModelError(f"{version}: the models of {timeframe} cannot be read: {error}") from error
            if made.timeframe != timeframe:
                raise ModelError(f"{version}: the models of {timeframe} are of {made.timeframe}.")
            trained[timeframe] = made
        return Loaded(info, trained)

    def _content(self, version: str, timeframe: str, name: str, kept: KeptFile) -> bytes:
        content = self._bytes(self.root / version / timeframe / name, kept.size)
        if len(content) != kept.size:
            raise ModelError(
                f"{version}/{timeframe}/{name} has another size than the {kept.size} bytes it was kept with."
            )
        if hashlib.sha256(content).hexdigest() != kept.sha256:
            raise ModelError(f"{version}/{timeframe}/{name} is not what was kept: its checksum differs.")
        return content

    def _info(self, version: str) -> VersionInfo:
        path = self.root / version / MANIFEST
        if not _VERSION.fullmatch(version):
            raise ModelError(f"{version!r} is no name of a version.")
        info = _parsed(self._bytes(path, MANIFEST_BYTES_MAX), f"{version}/{MANIFEST}")
        if info.version != version:
            raise ModelError(f"{version}/{MANIFEST} is that of {info.version}.")
        return info

    def _bytes(self, path: Path, size_max: int) -> bytes:
        """At most one byte more than `size_max` of a regular file. Links are not followed: they may lead anywhere."""
        where = path.relative_to(self.root)
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise ModelError(f"{where} is no file.")
                return file.read(size_max + 1)
        except FileNotFoundError:
            raise ModelError(f"{where} is missing.") from None
        except OSError as error:
            raise ModelError(f"{where} cannot be read: {error.strerror or error}.") from None

    def _pointers(self) -> dict[str, str]:
        try:
            content = self._bytes(self.root / CURRENT, MANIFEST_BYTES_MAX)
        except ModelError:
            if not os.path.lexists(self.root / CURRENT):
                return {}
            raise
        try:
            pointers = _sealed(content, CURRENT)["versions"]
            if not all(_VERSION.fullmatch(version) for version in pointers.values()):
                raise ModelError(f"{CURRENT} names a version that cannot be.")
        except (KeyError, AttributeError, TypeError):
            raise ModelError(f"{CURRENT} is damaged.") from None
        return dict(pointers)

    def _names(self) -> list[str]:
        """The names of all versions, newest first."""
        try:
            return sorted((path.name for path in self.root.iterdir() if _VERSION.fullmatch(path.name)), reverse=True)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ModelError(f"{self.root} cannot be read: {error.strerror or error}.") from None

    # Writing.

    def save(
        self,
        trained: Mapping[str, _Trained],
        *,
        source: str,
        now: datetime,
        carry_over: bool = False,
        complete: bool = True,
    ) -> str:
        """Keep models by timeframe as a new version, which is then the one in use.

        Args:
            carry_over: take timeframes that are not among them from the version in use, where it can be read.
            complete: False where more timeframes of the same training are to come.

        Raises:
            ModelError: where the disk refuses.
            ValueError: where the models say of themselves what cannot be kept.
        """
        with self._writing():
            parts = {timeframe: _Part.of(timeframe, one) for timeframe, one in trained.items()}
            if carry_over:
                parts = {**self._in_use(source), **parts}
            if not parts:
                raise ValueError("a version has models of one timeframe at least")
            version = self._free_name(source, now, parts)
            try:
                self._write(version, _manifest(version, source, now, complete, parts), parts)
                self._point(source, version)
            except OSError as error:
                raise ModelError(f"Cannot keep models in {self.root}: {error.strerror or error}.") from error
            return version

    def prune(self, keep: int = KEPT) -> list[str]:
        """Remove old versions; gives their names.

        Of each source the version in use stays, and the newest others until there are `keep`. A version that was to be
        followed by more of the same training goes as soon as it is not in use. What cannot be read, and may be of a
        later format, goes when it is older than all that stay.

        Raises:
            ModelError: where it is not known what is in use, or the disk refuses.
        """
        with self._writing():
            pointers = self._pointers()
            listed = self.versions()
            for one in listed:  # where a crash kept a version from becoming the one in use, the newest is served
                if one.info is not None:
                    pointers.setdefault(one.info.source, one.version)
            in_use = set(pointers.values())
            places = {source: keep for one in listed if (source := _source_of(one)) is not None}
            for one in listed:
                if one.version in in_use and (source := _source_of(one)) is not None:
                    places[source] -= 1
            stay = set(in_use)
            for one in listed:
                source = _source_of(one)
                if one.version in in_use or source is None or one.info is None or not one.info.complete:
                    continue
                if places[source] > 0:
                    places[source] -= 1
                    stay.add(one.version)
            oldest = min(stay, default="")
            removed = [
                one.version
                for one in listed
                if one.version not in stay and (one.info is not None or one.version < oldest)
            ]
            for version in removed:
                # First out of sight, so that nobody finds half of it.
                gone = self.root / f".new-{version}"
                try:
                    (self.root / version).rename(gone)
                except OSError as error:
                    raise ModelError(f"{version} cannot be removed: {error.strerror or error}.") from error
                _remove(gone)
            return removed

    def _in_use(self, source: str) -> dict[str, _Part]:
        """What can be read of the version in use, by timeframe."""
        parts: dict[str, _Part] = {}
        with contextlib.suppress(ModelError):
            version = self.current(source)
            info = self._info(version) if version is not None else None
            if version is None or info is None or info.source != source:
                return parts
            for timeframe, one in info.timeframes.items():
                with contextlib.suppress(ModelError):
                    contents = {name: self._content(version, timeframe, name, kept) for name, kept in one.files.items()}
                    parts[timeframe] = _Part(one, contents)
        return parts

    def _free_name(self, source: str, now: datetime, parts: Mapping[str, _Part]) -> str:
        """Names sort as they were given: where the clock went back, a name goes on from the newest."""
        moment = now.astimezone(UTC)
        for name in self._names():
            with contextlib.suppress(ValueError, OverflowError):  # a name that is no time
                moment = max(moment, _named_moment(name) + MILLISECOND)
                break
        digests = [kept.sha256 for part in parts.values() for kept in part.info.files.values()]
        digest = hashlib.sha256("\n".join([source, *digests]).encode()).hexdigest()
        return f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03d}Z-{digest[:6]}"

    def _write(self, version: str, manifest: bytes, parts: Mapping[str, _Part]) -> None:
        folder = Path(tempfile.mkdtemp(dir=self.root, prefix=".new-"))
        try:
            for timeframe, part in parts.items():
                (folder / timeframe).mkdir()
                for name, content in part.contents.items():
                    _write_through(folder / timeframe / name, content)
                _sync_folder(folder / timeframe)
            _write_through(folder / MANIFEST, manifest)
            _sync_folder(folder)
            folder.rename(self.root / version)
        except BaseException:
            _remove(folder)
            raise
        _sync_folder(self.root)

    def _point(self, source: str, version: str) -> None:
        try:
            pointers = self._pointers()
        except ModelError:  # damaged: sources whose pointer is lost go on with their newest version
            pointers = {}
        new = self.root / ".new-current"
        _write_through(new, _seal({"format": FORMAT, "versions": {**pointers, source: version}}))
        new.replace(self.root / CURRENT)
        _sync_folder(self.root)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Holds the lock of writers, and removes what one that crashed had begun. The system frees it in any case."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / ".writing").open("a")
        except OSError as error:
            raise ModelError(f"Cannot keep models in {self.root}: {error.strerror or error}.") from None
        with lock:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX)
            for left in self.root.glob(".new-*"):
                _remove(left)
            yield


@dataclass(frozen=True)
class _Part:
    """The models of one timeframe, ready to be written."""

    info: TimeframeInfo
    """`trained_in` is empty where they are new."""
    contents: Mapping[str, bytes]

    @classmethod
    def of(cls, timeframe: str, one: Storable) -> _Part:
        contents = dict(one.to_files())
        if one.timeframe != timeframe or not _TIMEFRAME.fullmatch(timeframe):
            raise ValueError(f"models of {one.timeframe!r} cannot be kept as those of {timeframe!r}")
        for name, content in contents.items():
            if not _FILE_NAME.fullmatch(name) or len(content) > FILE_BYTES_MAX:
                raise ValueError(f"a file {name!r} of {len(content)} bytes cannot be kept")
        return cls(
            TimeframeInfo(
                symbols=tuple(one.symbols),
                trained_from=one.trained_from,
                cutoff=one.cutoff,
                sample_size=int(one.sample_size),
                feature_names=tuple(one.feature_names),
                metrics={name: float(value) for name, value in one.metrics.items() if math.isfinite(value)},
                trained_in="",
                trained_at=one.cutoff,
                files={
                    name: KeptFile(len(content), hashlib.sha256(content).hexdigest())
                    for name, content in contents.items()
                },
            ),
            contents,
        )


# Manifests.


def _manifest(version: str, source: str, now: datetime, complete: bool, parts: Mapping[str, _Part]) -> bytes:
    timeframes = {}
    for timeframe, part in parts.items():
        info = part.info
        timeframes[timeframe] = {
            "symbols": list(info.symbols),
            "trained_from": isoformat(info.trained_from),
            "cutoff": isoformat(info.cutoff),
            "sample_size": info.sample_size,
            "feature_names": list(info.feature_names),
            "metrics": dict(info.metrics),
            "trained_in": info.trained_in or version,
            "trained_at": isoformat(info.trained_at if info.trained_in else now),
            "files": {name: {"size": kept.size, "sha256": kept.sha256} for name, kept in info.files.items()},
        }
    manifest = _seal(
        {
            "format": FORMAT,
            "version": version,
            "source": source,
            "created_at": isoformat(now),
            "complete": complete,
            "libraries": dict(_libraries()),
            "timeframes": timeframes,
        }
    )
    _parsed(manifest, MANIFEST)  # what could not be read again is not written
    return manifest


def _parsed(content: bytes, where: str) -> VersionInfo:
    """The manifest's bytes, judged. Raises `ModelError`."""
    manifest = _sealed(content, where)
    try:
        info = VersionInfo(
            version=_typed(manifest["version"], str),
            source=_typed(manifest["source"], str),
            created_at=_moment(manifest["created_at"]),
            complete=_typed(manifest["complete"], bool),
            timeframes={name: _timeframe(name, one) for name, one in manifest["timeframes"].items()},
            libraries={name: _typed(version, str) for name, version in manifest["libraries"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ModelError(f"{where} is not as this engine writes it: {error!r}.") from None
    files = [kept for one in info.timeframes.values() for kept in one.files.values()]
    if not files or len(files) > FILES_MAX or sum(kept.size for kept in files) > VERSION_BYTES_MAX:
        raise ModelError(f"{where} names {len(files)} files, or more bytes than a version may have.")
    return info


def _timeframe(timeframe: str, one: Mapping[str, Any]) -> TimeframeInfo:
    if not _TIMEFRAME.fullmatch(timeframe):
        raise ValueError(f"timeframe {timeframe!r}")
    files = {}
    for name, kept in one["files"].items():
        size, sha256 = _typed(kept["size"], int), _typed(kept["sha256"], str)
        if not _FILE_NAME.fullmatch(name) or not 0 <= size <= FILE_BYTES_MAX or not _SHA256.fullmatch(sha256):
            raise ValueError(f"file {name!r}")
        files[name] = KeptFile(size, sha256)
    trained_in = _typed(one["trained_in"], str)
    if not _VERSION.fullmatch(trained_in):
        raise ValueError(f"version {trained_in!r}")
    return TimeframeInfo(
        symbols=tuple(_typed(symbol, str) for symbol in _typed(one["symbols"], list)),
        trained_from=_moment(one["trained_from"]),
        cutoff=_moment(one["cutoff"]),
        sample_size=_typed(one["sample_size"], int),
        feature_names=tuple(_typed(name, str) for name in _typed(one["feature_names"], list)),
        metrics={name: float(value) for name, value in one["metrics"].items()},
        trained_in=trained_in,
        trained_at=_moment(one["trained_at"]),
        files=files,
    )


def _seal(fields: Mapping[str, Any]) -> bytes:
    """JSON with its own checksum. Raises ValueError where a number is not finite."""
    sealed = {**fields, "sha256": _checksum(fields)}
    return (json.dumps(sealed, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _sealed(content: bytes, where: str) -> dict[str, Any]:
    """What `_seal` was given. Raises `ModelError`."""
    if len(content) > MANIFEST_BYTES_MAX:
        raise ModelError(f"{where} is larger than {MANIFEST_BYTES_MAX} bytes.")
    try:
        fields = json.loads(content, parse_constant=_refuse)
        written, its_format = fields.pop("sha256"), fields.get("format")
        if its_format != FORMAT:
            raise ModelError(
                f"{where} has the format {its_format!r}; this engine reads {FORMAT}. Use the one it is of."
            )
        if written != _checksum(fields):
            raise ModelError(f"{where} is not what was kept: its checksum differs.")
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        raise ModelError(f"{where} is damaged.") from None
    return dict(fields)


def _checksum(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _refuse(constant: str) -> float:
    raise ValueError(constant)


_Typed = TypeVar("_Typed")


def _typed(value: object, kind: type[_Typed]) -> _Typed:
    if type(value) is not kind:  # a bool is no number here
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _moment(text: object) -> datetime:
    moment = datetime.fromisoformat(_typed(text, str))
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no zone")
    return moment.astimezone(UTC)


def _named_moment(version: str) -> datetime:
    """When a version was made, by its name. Raises ValueError."""
    seconds, milliseconds = version[:15], int(version[15:18])
    return datetime.strptime(f"{seconds}+0000", "%Y%m%dT%H%M%S%z") + milliseconds * MILLISECOND


def _source_of(listed: Listed) -> str | None:
    return listed.info.source if listed.info is not None else None


@cache
def _libraries() -> Mapping[str, str]:
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


# Files.


def _write_through(path: Path, content: bytes) -> None:
    """Write a file, and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    if os.name == "nt":
        return  # it cannot open folders, and keeps names by itself
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """As far as it goes: what stays is tried again by the next writer."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
