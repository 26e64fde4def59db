"""The audit log: whole lines, no secrets, bounded, and never in a call's way."""

from __future__ import annotations

import contextlib
import json
import os
import random
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from entasis_engine.access.audit import COMPLAINT_SECONDS, FAILURES, AuditLog
from entasis_engine.access.keys import new_key

NOON = datetime(2026, 3, 21, 12, 0, 0, 123_000, tzinfo=UTC)
KEY = new_key(random.Random(1).choice)
SECRET = KEY.text.split("_")[2]
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"


@contextmanager
def _log(folder: Path, **given: Any) -> Iterator[AuditLog]:
    audit = AuditLog(folder, lambda: NOON, **given)
    try:
        yield audit
    finally:
        audit.close()


def _refuse(audit: AuditLog, **given: str) -> None:
    usual = {"reason": "AUTH_001", "case": "KEY_INVALID", "method": "/a.B/C", "address": "10.0.0.1", "account": ""}
    audit.refused(**({**usual, "key_id": "", "request_id": "r1"} | given))


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().decode("ascii").splitlines()]


def _failures(log: str) -> float:
    return FAILURES.labels(log)._value.get()  # type: ignore[attr-defined,no-any-return]


def test_a_change_is_a_line(tmp_path: Path) -> None:
    """A change says when, what, whose and by whom, and is there as soon as the call returns."""
    with _log(tmp_path / "audit") as audit:
        audit.changed("key.created", account="desk", key_id=KEY.id, by="ana", detail={"scopes": ["admin"], "n": None})
        assert _lines(tmp_path / "audit" / "changes.jsonl") == [
            {
                "time": "2026-03-21T12:00:00.123Z",
                "action": "key.created",
                "account": "desk",
                "key_id": KEY.id,
                "by": "ana",
                "detail": {"scopes": ["admin"], "n": None},
            }
        ]


def test_a_refusal_is_a_line(tmp_path: Path) -> None:
    """A refusal says when, why, of what, whence and of whom; closing the log writes it."""
    with _log(tmp_path) as audit:
        _refuse(audit, transport="websocket", account="acc_1", key_id=KEY.id)
    assert _lines(tmp_path / "refusals.jsonl") == [
        {
            "time": "2026-03-21T12:00:00.123Z",
            "reason": "AUTH_001",
            "case": "KEY_INVALID",
            "method": "/a.B/C",
            "address": "10.0.0.1",
            "account": "acc_1",
            "key_id": KEY.id,
            "request_id": "r1",
            "transport": "websocket",
        }
    ]


def test_nothing_is_made_before_the_first_line(tmp_path: Path) -> None:
    """A log that nothing is noted in leaves no trace, neither on the disk nor as a thread."""
    with _log(tmp_path / "audit"):
        assert not (tmp_path / "audit").exists()
        assert not any(thread.name == "audit-writer" for thread in threading.enumerate())


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    """The files have mode 0600 and their folder 0700."""
    with _log(tmp_path / "audit", rotate_bytes=300) as audit:
        audit.changed("a", account="", by="", detail={})
        for _ in range(3):
            _refuse(audit)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "audit").iterdir()}
    assert modes == dict.fromkeys(["changes.jsonl", "refusals.jsonl", "refusals.1.jsonl", "refusals.2.jsonl"], 0o600)
    assert stat.S_IMODE((tmp_path / "audit").stat().st_mode) == 0o700


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "\x1b[31mred", "\u2028", "\x85", "\0", "\ud800", '"}\n{"', "가"])
def test_no_value_can_break_a_line(tmp_path: Path, text: str) -> None:
    """Whatever a caller sends, a line stays one line of plain ASCII, and the value can be read back."""
    with _log(tmp_path) as audit:
        _refuse(audit, method=text, request_id=text)
        audit.changed(text, account=text, by=text, detail={text: [text, {text: text}]})
    for name in ("refusals.jsonl", "changes.jsonl"):
        raw = (tmp_path / name).read_bytes()
        assert raw.count(b"\n") == 1
        assert raw.endswith(b"\n")
        assert all(0x20 <= byte < 0x7F for byte in raw[:-1])
    assert _lines(tmp_path / "refusals.jsonl")[0]["method"] == text
    assert _lines(tmp_path / "changes.jsonl")[0]["detail"] == {text: [text, {text: text}]}


def test_values_are_cut(tmp_path: Path) -> None:
    """However long the values and however many the details, a line stays short."""
    long = "x" * 1_000_000
    with _log(tmp_path) as audit:
        _refuse(audit, method=long, address=long, request_id=long)
        audit.changed("a", account=long, by=long, detail={"list": [long] * 1000, long: 1})
    assert len((tmp_path / "refusals.jsonl").read_bytes()) < 1500
    assert len((tmp_path / "changes.jsonl").read_bytes()) < 40_000
    assert _lines(tmp_path / "refusals.jsonl")[0]["method"] == "x" * 255 + "…"


@pytest.mark.parametrize("before", ["", "x" * 250, "x" * 1000, f"{KEY.text} " * 30])
def test_no_secret_is_written(tmp_path: Path, before: str) -> None:
    """A key or token in the wrong place, a method's name for instance, is not written, nor any piece of its secret."""
    with _log(tmp_path) as audit:
        for secret in (KEY.text, TOKEN):
            text = before + secret
            _refuse(audit, reason=text, case=text, method=text, address=text, account=text, key_id=text)
            _refuse(audit, request_id=text, transport=text)
            audit.changed(text, account=text, key_id=text, by=text, detail={text: [text], "a": text, "b": {"c": text}})
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir()).decode()
    for piece in (SECRET[:4], SECRET[-8:], TOKEN[4:12], TOKEN[-8:]):
        assert piece not in written
    assert "ek_" not in before or KEY.id in written  # the id is no secret


def test_refusals_keep_their_order(tmp_path: Path) -> None:
    """What one thread notes is written in that order, however much it is."""
    with _log(tmp_path) as audit:
        for number in range(2000):
            _refuse(audit, request_id=str(number))
    assert [line["request_id"] for line in _lines(tmp_path / "refusals.jsonl")] == [str(n) for n in range(2000)]


def test_what_the_disk_cannot_keep_up_with_is_counted(tmp_path: Path) -> None:
    """Where more lines wait than may, the callers go on; each line is either written, once, or counted as lost."""

    def note(audit: AuditLog, first: int) -> None:
        for number in range(first, first + 300):
            _refuse(audit, request_id=str(number))

    before = _failures("refusals")
    with _log(tmp_path, queue_lines_max=1) as audit:
        threads = [threading.Thread(target=note, args=(audit, 300 * at)) for at in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    written = [int(line["request_id"]) for line in _lines(tmp_path / "refusals.jsonl")]
    assert len(written) == len(set(written))
    assert len(written) + _failures("refusals") - before == 1200


def test_a_disk_that_stands_still_does_not_hold_up_the_caller(tmp_path: Path) -> None:
    """While nothing can be written, noting returns, however much is noted."""
    os.mkfifo(tmp_path / "refusals.jsonl")  # takes 64 KiB, and then blocks until somebody reads
    audit = AuditLog(tmp_path, lambda: NOON, queue_lines_max=10)
    before = _failures("refusals")
    for number in range(2_000):
        _refuse(audit, request_id=str(number))
    assert _failures("refusals") - before > 1_000
    reading = os.open(tmp_path / "refusals.jsonl", os.O_RDONLY | os.O_NONBLOCK)
    closing = threading.Thread(target=audit.close)
    closing.start()
    while closing.is_alive():
        with contextlib.suppress(BlockingIOError):
            os.read(reading, 65_536)
    os.close(reading)


def test_a_flood_beyond_the_limit_pushes_nothing_else_out(tmp_path: Path) -> None:
    """Refusals for the rate limit are in a file of their own, so that they rotate by themselves."""
    with _log(tmp_path, rotate_bytes=1_000, rotated_files_max=1) as audit:
        _refuse(audit, request_id="first")
        for _ in range(200):
            _refuse(audit, reason="LIMIT_001")
    assert [line["request_id"] for line in _lines(tmp_path / "refusals.jsonl")] == ["first"]
    assert {line["reason"] for line in _lines(tmp_path / "limited.jsonl")} == {"LIMIT_001"}


def test_what_is_noted_while_and_after_closing_is_written(tmp_path: Path) -> None:
    """No refusal is lost at the end, whenever the log is closed; closing twice is the same as once."""
    audit = AuditLog(tmp_path, lambda: NOON)
    begun = threading.Event()

    def note() -> None:
        for number in range(1000):
            _refuse(audit, request_id=str(number))
            if number == 100:
                begun.set()

    thread = threading.Thread(target=note)
    thread.start()
    assert begun.wait(30)
    audit.close()
    thread.join()
    audit.close()
    _refuse(audit, request_id="1000")
    audit.close()
    assert sorted(int(line["request_id"]) for line in _lines(tmp_path / "refusals.jsonl")) == list(range(1001))


def test_refusals_are_rotated(tmp_path: Path) -> None:
    """No file grows past the limit, only so many are kept, and together they hold the newest lines without a gap."""
    with _log(tmp_path, rotate_bytes=1000, rotated_files_max=3) as audit:
        for number in range(100):
            _refuse(audit, request_id=str(number))
    names = ["refusals.3.jsonl", "refusals.2.jsonl", "refusals.1.jsonl", "refusals.jsonl"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert all((tmp_path / name).stat().st_size <= 1000 for name in names)
    kept = [int(line["request_id"]) for name in names for line in _lines(tmp_path / name)]
    assert kept == list(range(kept[0], 100))
    assert len(kept) > 15


def test_rotation_counts_what_was_there_before(tmp_path: Path) -> None:
    """A log that is opened again goes on where it ended."""
    for number in range(10):
        with _log(tmp_path, rotate_bytes=1000, rotated_files_max=3) as audit:
            _refuse(audit, request_id=str(number))
    assert (tmp_path / "refusals.1.jsonl").exists()
    names = ["refusals.3.jsonl", "refusals.2.jsonl", "refusals.1.jsonl", "refusals.jsonl"]
    kept = [line["request_id"] for name in names if (tmp_path / name).exists() for line in _lines(tmp_path / name)]
    assert kept == [str(number) for number in range(10)]


def test_changes_are_never_rotated(tmp_path: Path) -> None:
    """Changes are kept whole, however many they are."""
    with _log(tmp_path, rotate_bytes=500) as audit:
        for number in range(100):
            audit.changed(str(number), account="", by="", detail={})
    assert [path.name for path in tmp_path.iterdir()] == ["changes.jsonl"]
    assert len(_lines(tmp_path / "changes.jsonl")) == 100


def test_a_torn_line_stays_by_itself(tmp_path: Path) -> None:
    """After a line that a power loss cut off the next one begins anew."""
    (tmp_path / "changes.jsonl").write_bytes(b'{"time": "2026-03')
    with _log(tmp_path) as audit:
        audit.changed("a", account="", by="", detail={})
    torn, whole = (tmp_path / "changes.jsonl").read_bytes().splitlines()
    assert torn == b'{"time": "2026-03'
    assert json.loads(whole)["action"] == "a"


def test_a_deleted_log_is_made_anew(tmp_path: Path) -> None:
    """Where somebody deletes the files under a running engine, the next lines go to new ones."""
    with _log(tmp_path / "audit") as audit:
        for action in ("first", "second"):
            audit.changed(action, account="", by="", detail={})
            assert [line["action"] for line in _lines(tmp_path / "audit" / "changes.jsonl")] == [action]
            (tmp_path / "audit" / "changes.jsonl").unlink()
            (tmp_path / "audit").rmdir()


def test_a_failing_disk_fails_no_call(tmp_path: Path) -> None:
    """What cannot be written is counted and told of once in a while; when the disk works again, so does the log."""
    seconds = 0.0
    (tmp_path / "audit").write_text("a file where the folder should be")
    before = _failures("changes"), _failures("refusals")
    with capture_logs() as told, _log(tmp_path / "audit", monotonic=lambda: seconds) as audit:
        for _ in range(3):
            audit.changed("a", account="", by="", detail={})
        assert [(line["event"], line["log"]) for line in told] == [("audit.failed", "changes")]
        seconds = COMPLAINT_SECONDS
        audit.changed("a", account="", by="", detail={})
        assert len(told) == 2
        _refuse(audit)
        audit.close()
        assert (_failures("changes"), _failures("refusals")) == (before[0] + 4, before[1] + 1)
        (tmp_path / "audit").unlink()
        audit.changed("b", account="", by="", detail={})
        _refuse(audit)
    assert [line["action"] for line in _lines(tmp_path / "audit" / "changes.jsonl")] == ["b"]
    assert len(_lines(tmp_path / "audit" / "refusals.jsonl")) == 1


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from entasis_engine.access.audit import AuditLog

audit = AuditLog(Path(sys.argv[1]), lambda: datetime(2026, 3, 21, tzinfo=UTC))
for number in range(200):
    audit.changed(f"{sys.argv[2]}{number}", account="x" * 200, by="", detail={"text": ["y" * 200] * 20})
"""


def test_processes_share_the_changes(tmp_path: Path) -> None:
    """Lines that several processes write at once never mix, and none is lost."""
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name]) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    found = [line["action"] for line in _lines(tmp_path / "changes.jsonl")]
    assert sorted(found) == sorted(f"{name}{number}" for name in "ab" for number in range(200))
