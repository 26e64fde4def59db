"""The audit log: every refused call and every change of accounts and keys, one line of JSON each, never a secret.

`changes.jsonl` is forced to the disk line by line and kept whole. `refusals.jsonl` and `limited.jsonl` grow at the will
of whoever is refused, so they are bounded: they are rotated, and the oldest file goes.
"""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import Counter

from entasis_engine.calls import Call
from entasis_engine.errors import EntasisError
from entasis_engine.telemetry.redaction import redacted
from entasis_engine.times import Clock, Monotonic, isoformat

CHANGES = "changes"
REFUSALS = "refusals"
LIMITED = "limited"
"""Refusals for the rate limit have a file of their own: a flood of them must not push out the others."""
ACCESS_REASONS = frozenset({"AUTH_001", "AUTH_002", "AUTH_003", "LIMIT_001"})
ROTATE_BYTES = 64_000_000
ROTATED_FILES_MAX = 8
QUEUE_LINES_MAX = 10_000
TEXT_CHARACTERS_MAX = 256
"""Of any one value. Longer ones are cut: callers choose some of them."""
DETAILS_MAX = 128
COMPLAINT_SECONDS = 60.0

FAILURES = Counter("entasis_audit_failures_total", "Lines of the audit log that could not be written", ["log"])
for _log in (CHANGES, REFUSALS, LIMITED):
    FAILURES.labels(_log)  # so that the series are there, at zero, before anything fails

log = structlog.get_logger()


class AuditLog:
    """Writes the audit log. A disk that fails fails no call: it is counted, and told once in a while.

    Any number of processes may write changes; only the engine writes refusals.

    Args:
        folder: where the files are; made with the first line.
        clock: tells when something happened.
        monotonic: times the complaints about a failing disk.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        *,
        monotonic: Monotonic = time.monotonic,
        rotate_bytes: int = ROTATE_BYTES,
        rotated_files_max: int = ROTATED_FILES_MAX,
        queue_lines_max: int = QUEUE_LINES_MAX,
    ) -> None:
        self._clock = clock
        self._complaints = _Complaints(monotonic)
        self._changes = _File(folder / f"{CHANGES}.jsonl")
        self._bounded = {
            name: _File(folder / f"{name}.jsonl", rotate_bytes=rotate_bytes, rotated_max=rotated_files_max)
            for name in (REFUSALS, LIMITED)
        }
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(queue_lines_max)
        self._writer: threading.Thread | None = None
        self._handing = threading.Lock()
        self._closed = False

    def require_changes(self) -> None:
        """Raises `OSError` where changes cannot be noted: then none had better be made."""
        self._changes.append(b"", lasting=True)

    def changed(self, action: str, *, account: str, key_id: str = "", by: str, detail: Mapping[str, Any]) -> None:
        """Note a change of an account or a key. On return it is on the disk."""
        record = {"time": isoformat(self._clock()), "action": action, "account": account, "key_id": key_id, "by": by}
        self._write(CHANGES, self._changes, record | {"detail": detail}, lasting=True)

    def refused(
        self,
        *,
        reason: str,
        case: str,
        method: str,
        address: str,
        account: str,
        key_id: str,
        request_id: str,
        transport: str = "",
    ) -> None:
        """Note a refused call. A thread writes it. Where the disk stands still, and as many lines wait as may, it is
        lost and counted: the engine must not stand still with it.
        """
        record = {
            "time": isoformat(self._clock()),
            "reason": reason,
            "case": case,
            "method": method,
            "address": address,
            "account": account,
            "key_id": key_id,
            "request_id": request_id,
            "transport": transport,
        }
        if not self._handed_over(record):
            self._write_refusal(record)

    def close(self) -> None:
        """Write what is still waiting. What is noted afterwards is written at once."""
        with self._handing:
            self._closed = True
            writer, self._writer = self._writer, None
        if writer is not None:
            self._queue.put(None)
            writer.join()
        for file in (self._changes, *self._bounded.values()):
            file.close()

    def _handed_over(self, record: dict[str, Any]) -> bool:
        """Whether the writer takes it, or is to lose it. The lock keeps the last ones in front of the sign to end."""
        with self._handing:
            if self._closed:
                return False
            if self._writer is None:
                self._writer = threading.Thread(target=self._run, name="audit-writer", daemon=True)
                self._writer.start()
            try:
                self._queue.put_nowait(record)
            except queue.Full:
                self._failed(REFUSALS, "more lines wait for the disk than may")
            return True

    def _run(self) -> None:
        while (record := self._queue.get()) is not None:
            self._write_refusal(record)

    def _write_refusal(self, record: Mapping[str, Any]) -> None:
        name = LIMITED if record["reason"] == "LIMIT_001" else REFUSALS
        self._write(name, self._bounded[name], record)

    def _write(self, name: str, file: _File, record: Mapping[str, Any], *, lasting: bool = False) -> None:
        try:
            # ASCII alone: neither a line break nor a terminal's control sequence can stand in it.
            file.append(json.dumps(_told(record)).encode() + b"\n", lasting=lasting)
        except (OSError, ValueError, RecursionError) as error:
            self._failed(name, str(error))

    def _failed(self, name: str, reason: str) -> None:
        FAILURES.labels(name).inc()
        if self._complaints.due():
            log.error("audit.failed", log=name, reason=reason)


class _Complaints:
    """Says when it is time to tell of failures again, so that a full disk does not fill the log, too."""

    def __init__(self, monotonic: Monotonic) -> None:
        self._monotonic = monotonic
        self._last: float | None = None

    def due(self) -> bool:
        now = self._monotonic()
        if self._last is not None and now - self._last < COMPLAINT_SECONDS:
            return False
        self._last = now
        return True


class _File:
    """A file that lines are appended to, each in one write, so that those of several processes never mix."""

    def __init__(self, path: Path, *, rotate_bytes: int | None = None, rotated_max: int = 0) -> None:
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._rotated_max = rotated_max
        self._lock = threading.Lock()
        self._descriptor: int | None = None

    def append(self, line: bytes, *, lasting: bool) -> None:
        """Append a line; where it is to last, it is on the disk afterwards. Raises `OSError`."""
        with self._lock:
            try:
                descriptor = self._open_for(len(line))
                if os.write(descriptor, line) < len(line):
                    raise OSError("no room for a whole line")
                if lasting:
                    os.fsync(descriptor)
            except OSError:
                self._close()  # so that the next line begins with a fresh look at the folder
                raise

    def close(self) -> None:
        with self._lock:
            self._close()

    def _open_for(self, count: int) -> int:
        if self._descriptor is not None and os.fstat(self._descriptor).st_nlink == 0:
            self._close()  # deleted by somebody: what is written there is lost
        if self._descriptor is None:
            self._descriptor = self._open()
        if self._rotate_bytes is not None and 0 < os.fstat(self._descriptor).st_size > self._rotate_bytes - count:
            self._close()
            self._rotate()
            self._descriptor = self._open()
        return self._descriptor

    def _open(self) -> int:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = not self._path.exists()
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if new:
                _sync_folder(self._path.parent)
            if os.fstat(descriptor).st_size:
                os.lseek(descriptor, -1, os.SEEK_END)
                if os.read(descriptor, 1) != b"\n":  # a line that a full disk or a power loss cut off
                    os.write(descriptor, b"\n")
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _rotate(self) -> None:
        """The file becomes `name.1.jsonl`, that one `name.2.jsonl`, and so on; the last is overwritten."""
        names = [self._path, *(self._path.with_suffix(f".{at}.jsonl") for at in range(1, self._rotated_max + 1))]
        for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
            if newer.exists():
                newer.replace(older)

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # where folders cannot be opened, nor need it
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _told(value: Any) -> Any:
    """The value as it may stand in the log: bounded, and without secrets."""
    match value:
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {_text(str(name)): _told(one) for name, one in list(value.items())[:DETAILS_MAX]}
        case list() | tuple():
            return [_told(one) for one in value[:DETAILS_MAX]]
        case _:
            return _text(str(value))


def _text(text: str) -> str:
    # Cut before it is searched, so that a caller cannot make the search long, and after, because that is the limit.
    text = redacted(text[: 4 * TEXT_CHARACTERS_MAX])
    return text if len(text) <= TEXT_CHARACTERS_MAX else f"{text[: TEXT_CHARACTERS_MAX - 1]}…"


def note_refusal(audit: AuditLog, call: Call, refusal: EntasisError) -> None:
    """Note that a call was refused, and whose it was as far as that was found out."""
    principal = call.principal or call.suspect
    audit.refused(
        reason=refusal.entry.reason,
        case=refusal.case,
        method=call.method,
        address=call.address,
        account=principal.account if principal is not None else "",
        key_id=",".join(principal.key_ids) if principal is not None else "",
        request_id=call.request_id,
        transport=_transport(call),
    )


def _transport(call: Call) -> str:
    if call.original_path:
        return "rest"
    return "websocket" if call.by_part and call.method.endswith("/OpenSession") else "grpc"
