"""What every store of accounts and keys does, whatever it is made of."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import SQLModel

from entasis_engine.access.audit import AuditLog
from entasis_engine.access.demo import ensure_demo
from entasis_engine.access.directory import SCOPES, ApiKey, DirectorySource
from entasis_engine.access.store import AccessError, AccessStore
from entasis_engine.errors import EntasisError

NOON = datetime(2026, 3, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)
READ = ("market:read",)


def _sqlite(folder: Path) -> AccessStore:
    return AccessStore(folder / "access.db")


STORES: dict[str, Callable[[Path], AccessStore]] = {"sqlite": _sqlite}


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def store(kind: str, tmp_path: Path) -> Iterator[AccessStore]:
    opened = STORES[kind](tmp_path)
    yield opened
    opened.close()


def _key(store: AccessStore, account: str = "desk", **given: Any) -> tuple[ApiKey, str]:
    usual = {"scopes": READ, "label": "", "expires_at": None, "addresses": (), "rate_limit": None, "now": NOON}
    return store.create_key(account, **{**usual, **given})


@pytest.fixture
def desk(store: AccessStore) -> AccessStore:
    """A store with an account."""
    store.create_account("desk", None, NOON)
    return store


# Accounts.


def test_a_new_store_is_empty(store: AccessStore) -> None:
    """Nothing is there until it is made."""
    source: DirectorySource = store
    assert source.load().accounts == source.load().keys == ()


def test_an_account_is_kept(store: AccessStore) -> None:
    """What creating an account gives is what is loaded."""
    made = store.create_account("trading-desk-7", 5000, NOON)
    assert (made.name, made.created_at, made.closed_at, made.rate_limit) == ("trading-desk-7", NOON, None, 5000)
    assert made.id.startswith("acc_")
    assert len(made.id) == 16
    assert made.id[4:].isalnum()
    assert made.id == made.id.lower()
    assert store.load().accounts == (made,)
    assert store.load().account_named("trading-desk-7") == store.load().account(made.id) == made


@pytest.mark.parametrize("name", ["", "x" * 65, "Desk", "a b", "a_b", "a\n", "é", "１", "a.b", "-\0"])
def test_names_have_a_form(store: AccessStore, name: str) -> None:
    """Names are 1 to 64 of a-z, 0-9 and -; others are refused without being repeated."""
    with pytest.raises(AccessError, match="1 to 64 characters: a-z, 0-9 and -") as raised:
        store.create_account(name, None, NOON)
    assert not name.strip() or f"'{name}'" not in str(raised.value)
    assert store.load().accounts == ()


def test_a_name_is_given_once(desk: AccessStore) -> None:
    """A name that is taken is refused, even after its account was closed."""
    for _ in range(2):
        with pytest.raises(AccessError, match="'desk' is taken"):
            desk.create_account("desk", None, NOON)
        desk.close_account("desk", NOON)
    assert len(desk.load().accounts) == 1


def test_closing_an_account_ends_its_keys(desk: AccessStore) -> None:
    """A closed account's keys are dead, and it gets no new ones; closing it again changes nothing."""
    key, text = _key(desk)
    assert desk.load().authenticate(text, NOON) == key
    closed = desk.close_account("desk", NOON + DAY)
    assert closed.closed_at == NOON + DAY
    assert desk.close_account("desk", NOON + 2 * DAY) == closed
    directory = desk.load()
    assert not directory.account_is_open(closed.id)
    with pytest.raises(EntasisError, match="KEY_ENDED"):
        directory.authenticate(text, NOON + DAY)
    for change in (lambda: _key(desk), lambda: desk.rotate_key(key.id, DAY, NOON)):
        with pytest.raises(AccessError, match="'desk' is closed and cannot have new keys"):
            change()


def test_an_unknown_account_is_told_with_those_there_are(store: AccessStore) -> None:
    """Whoever names an account that is not there learns which are, as far as they fit on a line."""
    with pytest.raises(AccessError, match=r"no account 'desk', nor any other\. Make it: entasis accounts create desk"):
        _key(store)
    for number in range(25):
        store.create_account(f"a{number:02}", None, NOON)
    with pytest.raises(AccessError, match=r"no account 'desk'. There are: a00, a01, .*, a19, …\. Or make it"):
        store.close_account("desk", NOON)


# Keys.


def test_a_key_is_kept_without_its_text(desk: AccessStore) -> None:
    """What creating a key gives is what is loaded, and the text proves it."""
    key, text = _key(
        desk,
        scopes=["admin", "market:read", "admin"],
        label="for the 가 bot",
        expires_at=NOON + DAY + timedelta(microseconds=1234),
        addresses=["10.0.0.0/8", "2001:DB8::/32"],
        rate_limit=7,
    )
    account = desk.load().accounts[0]
    assert (key.account_id, key.scopes, key.label) == (account.id, {"admin", "market:read"}, "for the 가 bot")
    assert (key.created_at, key.expires_at) == (NOON, NOON + DAY + timedelta(milliseconds=1))
    assert (key.revoked_at, key.replaced_by) == (None, None)
    assert (key.addresses, key.rate_limit) == (("10.0.0.0/8", "2001:db8::/32"), 7)
    assert desk.load().keys == (key,)
    assert desk.load().authenticate(text, NOON) == key


def test_things_come_oldest_first(store: AccessStore) -> None:
    """Accounts and keys are loaded in the order they were made in."""
    for day in (2, 0, 1):
        store.create_account(f"a{day}", None, NOON + day * DAY)
        _key(store, f"a{day}", now=NOON + day * DAY, label=str(day))
    assert [account.name for account in store.load().accounts] == ["a0", "a1", "a2"]
    assert [key.label for key in store.load().keys] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"scopes": ["market:write"]}, "Unknown scope 'market:write'. There are: market:read, portfolio:read, portf"),
        ({"scopes": []}, "one scope at least. There are: market:read"),
        ({"expires_at": NOON}, "not in the future"),
        ({"expires_at": NOON + timedelta(microseconds=999)}, "not in the future"),
        ({"addresses": ["10.0.0.1/8"]}, "'10.0.0.1/8' is no network .*host bits"),
        ({"addresses": ["example.com"]}, "'example.com' is no network of addresses, such as 10.0.0.0/8"),
        ({"addresses": [""]}, "is no network"),
        ({"addresses": ["fe80::%eth0/64"]}, "names an interface"),
        ({"addresses": [f"10.0.{n}.0/24" for n in range(101)]}, "at most 100 networks, not 101"),
        ({"rate_limit": 0}, "1 to 2147483647 requests per minute, not 0"),
        ({"rate_limit": 2**31}, "requests per minute"),
        ({"label": "x" * 101}, "at most 100 printable"),
        ({"label": "a\nb"}, "printable"),
        ({"label": "\x1b[31m"}, "printable"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(desk: AccessStore, given: dict[str, Any], told: str) -> None:
    """Each thing that a key cannot have is an error that says what it may have, and no key is made."""
    with pytest.raises(AccessError, match=told):
        _key(desk, **given)
    assert desk.load().keys == ()


def test_account_limits_are_checked(store: AccessStore) -> None:
    """An account's limit is at least 1."""
    with pytest.raises(AccessError, match="1 to 2147483647"):
        store.create_account("desk", 0, NOON)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["203.0.113.7"], ("203.0.113.7/32",)),
        (["10.0.0.0/255.0.0.0", "10.0.0.0/8", " 10.0.0.0/8 "], ("10.0.0.0/8",)),
        (["2001:0DB8:0::/32"], ("2001:db8::/32",)),
        (["::ffff:10.0.0.0/104"], ("10.0.0.0/8",)),
        (["::ffff:10.1.2.3"], ("10.1.2.3/32",)),
        (["0.0.0.0/0", "::/0"], ("0.0.0.0/0", "::/0")),
    ],
)
def test_networks_have_one_spelling(desk: AccessStore, given: list[str], kept: tuple[str, ...]) -> None:
    """A network is kept in canonical form and once; IPv4 in IPv6 form is IPv4."""
    key, _ = _key(desk, addresses=given)
    assert key.addresses == desk.load().keys[0].addresses == kept


def test_a_revoked_key_is_dead_at_once(desk: AccessStore) -> None:
    """Revoking takes hold at that instant; doing so again changes nothing."""
    key, text = _key(desk)
    revoked = desk.revoke_key(key.id, NOON + DAY)
    assert revoked.revoked_at == NOON + DAY
    assert desk.revoke_key(key.id, NOON + 2 * DAY) == revoked == desk.load().key(key.id)
    with pytest.raises(EntasisError, match="KEY_ENDED"):
        desk.load().authenticate(text, NOON + DAY)


def test_unknown_keys_are_told(desk: AccessStore) -> None:
    """An id that is not there is named; what is no id is not, for it may be a secret."""
    for change in (lambda id_: desk.revoke_key(id_, NOON), lambda id_: desk.rotate_key(id_, DAY, NOON)):
        with pytest.raises(AccessError, match="no key ek_abcdefghijkl"):
            change("abcdefghijkl")
        with pytest.raises(AccessError, match="no key's id") as raised:
            change("x" * 32)
        assert "x" * 32 not in str(raised.value)


# Rotation.


def test_rotation_hands_over(desk: AccessStore) -> None:
    """The new key has what the old one had; both work until the overlap is over, then only the new one."""
    old, old_text = _key(
        desk, scopes=["admin", "market:read"], label="bot", addresses=["10.0.0.0/8"], rate_limit=9, now=NOON
    )
    now = NOON + 5 * DAY
    new, text = desk.rotate_key(old.id, DAY, now)
    assert new.id != old.id
    assert (new.account_id, new.scopes, new.label) == (old.account_id, old.scopes, old.label)
    assert (new.addresses, new.rate_limit) == (old.addresses, old.rate_limit)
    assert (new.created_at, new.expires_at, new.replaced_by) == (now, None, None)
    directory = desk.load()
    kept = directory.key(old.id)
    assert kept is not None
    assert (kept.expires_at, kept.replaced_by, kept.revoked_at) == (now + DAY, new.id, None)
    assert directory.key(new.id) == new
    just_before = now + DAY - timedelta(milliseconds=1)
    assert directory.authenticate(old_text, just_before) == kept
    assert directory.authenticate(text, now + DAY) == new
    with pytest.raises(EntasisError, match="KEY_ENDED"):
        directory.authenticate(old_text, now + DAY)


def test_rotation_without_overlap_ends_the_old_key(desk: AccessStore) -> None:
    """With an overlap of nothing the old key is dead at that instant."""
    old, _ = _key(desk)
    new, _ = desk.rotate_key(old.id, timedelta(0), NOON + DAY)
    assert not desk.load().is_live(old.id, NOON + DAY)
    assert desk.load().is_live(new.id, NOON + DAY)


def test_rotation_gives_the_same_lifetime_anew(desk: AccessStore) -> None:
    """A key that was made for 90 days gives one of 90 days, and never lives longer than it would have."""
    old, _ = _key(desk, expires_at=NOON + 90 * DAY)
    now = NOON + 89 * DAY
    new, _ = desk.rotate_key(old.id, 7 * DAY, now)
    assert new.expires_at == now + 90 * DAY
    kept = desk.load().key(old.id)
    assert kept is not None
    assert kept.expires_at == NOON + 90 * DAY
    again, _ = desk.rotate_key(new.id, DAY, now + DAY)
    assert again.expires_at == now + 91 * DAY


def test_ended_keys_are_not_rotated(desk: AccessStore) -> None:
    """A key that was revoked, has expired or was replaced cannot be rotated, and stays as it is."""
    revoked, expired, replaced = (_key(desk, expires_at=NOON + DAY)[0] for _ in range(3))
    desk.revoke_key(revoked.id, NOON)
    new, _ = desk.rotate_key(replaced.id, DAY, NOON)
    before = desk.load().keys
    for key_id, now, told in (
        (revoked.id, NOON, "was revoked and cannot be rotated. Make a new one"),
        (expired.id, NOON + DAY, "expired at 2026-03-22T12:00:00Z and cannot"),
        (replaced.id, NOON, f"was replaced by ek_{new.id} already. Rotate that one"),
    ):
        with pytest.raises(AccessError, match=told):
            desk.rotate_key(key_id, DAY, now)
    assert desk.load().keys == before


def test_an_overlap_makes_sense(desk: AccessStore) -> None:
    """An overlap that is negative or beyond all calendars is refused."""
    key, _ = _key(desk)
    with pytest.raises(AccessError, match="negative"):
        desk.rotate_key(key.id, timedelta(seconds=-1), NOON)
    with pytest.raises(AccessError, match="too far"):
        desk.rotate_key(key.id, timedelta.max, NOON)
    assert desk.load().keys == (key,)


# The first start.


def test_the_first_start_makes_a_demo_account(store: AccessStore, tmp_path: Path) -> None:
    """An empty store gets an account and a key of all scopes but admin, once, and the audit log says so."""
    audit = AuditLog(tmp_path / "audit", lambda: NOON)
    text = ensure_demo(store, audit, NOON)
    assert text is not None
    key = store.load().authenticate(text, NOON)
    assert key.scopes == set(SCOPES) - {"admin"}
    assert key.label == "made at the first start"
    assert [account.name for account in store.load().accounts] == ["demo"]
    assert ensure_demo(store, audit, NOON) is None
    assert len(store.load().keys) == 1
    audit.close()
    changes = [json.loads(line) for line in (tmp_path / "audit" / "changes.jsonl").read_text().splitlines()]
    assert [(one["action"], one["account"], one["by"]) for one in changes] == [
        ("account.created", "demo", "entasis up"),
        ("key.created", "demo", "entasis up"),
    ]


def test_there_is_no_demo_beside_an_account(desk: AccessStore, tmp_path: Path) -> None:
    """Where there has been any account, even a closed one, the first start is over."""
    desk.close_account("desk", NOON)
    assert ensure_demo(desk, AuditLog(tmp_path / "audit", lambda: NOON), NOON) is None
    assert not (tmp_path / "audit").exists()


# Several at once.


def test_every_change_is_an_edition(store: AccessStore) -> None:
    """The edition stays as long as nothing changes, and changes with every kind of change, one's own too."""
    seen = [store.edition()]
    assert store.edition() == seen[0]
    key_id = ""
    for change in (
        lambda: store.create_account("desk", None, NOON),
        lambda: _key(store),
        lambda: store.rotate_key(store.load().keys[0].id, DAY, NOON),
        lambda: store.revoke_key(store.load().keys[1].id, NOON),
        lambda: store.close_account("desk", NOON),
    ):
        change()
        seen.append(store.edition())
        store.load()
        with pytest.raises(AccessError):
            store.revoke_key(key_id, NOON)  # neither reading nor failing changes anything
        assert store.edition() == seen[-1]
    assert len(set(seen)) == 6


def test_threads_share_a_store(desk: AccessStore) -> None:
    """However many threads write at once, nothing is lost, and readers see whole changes."""
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for at in range(5):
                key, text = _key(desk, label=f"{number}-{at}")
                assert desk.load().authenticate(text, NOON) == key
                desk.edition()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert {key.label for key in desk.load().keys} == {f"{number}-{at}" for number in range(4) for at in range(5)}


def _process(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


BEGIN = """
import sys
from datetime import timedelta
from pathlib import Path
from tests.contract.test_access_store import DAY, NOON, STORES, _key
store = STORES[sys.argv[1]](Path(sys.argv[2]))
"""

WRITER = f"""{BEGIN}
print("ready", flush=True)
input()
for number in range(40):
    _key(store, label=sys.argv[3] + str(number))
"""


def test_processes_that_write_at_once_lose_nothing(kind: str, desk: AccessStore, tmp_path: Path) -> None:
    """Every key that either of two processes made is there."""
    writers = [_process(WRITER, kind, tmp_path, name) for name in "ab"]
    assert [_line(writer) for writer in writers] == ["ready"] * 2
    for writer in writers:
        _go(writer)
    for number in range(10):
        _key(desk, label=f"c{number}")
    for writer in writers:
        writer.communicate(timeout=60)
    assert [writer.returncode for writer in writers] == [0, 0]
    expected = [f"{name}{number}" for name in "ab" for number in range(40)] + [f"c{number}" for number in range(10)]
    assert sorted(key.label for key in desk.load().keys) == sorted(expected)


OPENER = f"""
print("ready", flush=True)
input()
{BEGIN}
try:
    store.create_account(sys.argv[3], None, NOON)
finally:
    store.close()
"""


def test_processes_may_open_a_new_store_at_once(kind: str, tmp_path: Path) -> None:
    """Where several processes are the first to open a store, each can use it."""
    openers = [_process(OPENER, kind, tmp_path / "new" / "folder", f"a{number}") for number in range(4)]
    assert [_line(opener) for opener in openers] == ["ready"] * 4
    for opener in openers:
        _go(opener)
    for opener in openers:
        opener.communicate(timeout=60)
    store = STORES[kind](tmp_path / "new" / "folder")
    assert {account.name for account in store.load().accounts} == {"a0", "a1", "a2", "a3"}
    store.close()


READER = f"""{BEGIN}
while True:
    print(store.edition(), len(store.load().keys), flush=True)
    input()
"""


def test_other_processes_see_what_changed(kind: str, desk: AccessStore, tmp_path: Path) -> None:
    """A reader in another process sees another edition after each change, and none without."""
    with _process(READER, kind, tmp_path) as reader:
        editions, counts = [], []
        for number in range(6):
            edition, count = map(int, _line(reader).split())
            editions.append(edition)
            counts.append(count)
            if number % 2:
                _key(desk)
            _go(reader)
        reader.kill()
    assert counts == [0, 0, 1, 1, 2, 2]
    assert len(set(editions)) == 3
    assert editions[::2] == editions[1::2]


KILLED = f"""{BEGIN}
key, _ = _key(store)
while True:
    print(key.id, flush=True)
    key, _ = store.rotate_key(key.id, timedelta(0), NOON)
"""


@pytest.mark.parametrize("attempt", range(5))
def test_a_killed_writer_leaves_whole_changes(kind: str, desk: AccessStore, tmp_path: Path, attempt: int) -> None:
    """After kill -9 in mid-write all that was acknowledged is there, rotations wholly or not at all, and it goes on."""
    with _process(KILLED, kind, tmp_path) as writer:
        told = [_line(writer) for _ in range(7 + attempt)]
        writer.send_signal(signal.SIGKILL)
        assert writer.stdout is not None
        told += [line.strip() for line in writer.stdout if line.endswith("\n")]
    directory = desk.load()
    by_id = {key.id: key for key in directory.keys}
    assert set(told) <= set(by_id)
    assert len(by_id) - len(told) <= 1
    live = [key for key in by_id.values() if directory.is_live(key.id, NOON)]
    assert [key.replaced_by for key in live] == [None]
    assert {key.replaced_by for key in by_id.values() if key.replaced_by} == set(by_id) - {told[0]}
    desk.rotate_key(live[0].id, DAY, NOON)


# What only a file does.


def test_a_file_keeps_its_accounts(tmp_path: Path) -> None:
    """Closed and opened again, the file has what was written; closing twice is the same as once."""
    store = _sqlite(tmp_path)
    store.create_account("desk", None, NOON)
    key, text = _key(store)
    store.edition()
    store.close()
    store.close()
    store = _sqlite(tmp_path)
    assert store.load().authenticate(text, NOON) == key
    store.close()


def test_no_secret_is_on_the_disk(tmp_path: Path) -> None:
    """Neither a key's text nor any piece of its secret is in any file, in any form that a text search would find."""
    store = _sqlite(tmp_path / "data")
    audit = AuditLog(tmp_path / "data" / "audit", lambda: NOON)
    demo = ensure_demo(store, audit, NOON)
    assert demo is not None
    store.create_account("desk", None, NOON)
    key, text = _key(store)
    _, rotated = store.rotate_key(key.id, DAY, NOON)
    with pytest.raises(AccessError) as raised:
        _key(store, label=text)
    assert text not in str(raised.value)
    store.close()
    audit.close()
    written = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert key.id.encode() in written
    for one in (demo, text, rotated):
        secret = one.split("_")[2]
        assert not any(secret[at : at + 6].encode() in written for at in range(len(secret) - 5))


def test_the_file_is_the_owners_alone(tmp_path: Path) -> None:
    """The file has mode 0600 whatever the umask, and one that others may read is closed to them."""
    before = os.umask(0)
    try:
        _sqlite(tmp_path / "new").close()
    finally:
        os.umask(before)
    file = tmp_path / "new" / "access.db"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    _sqlite(tmp_path / "new").close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_file_is_safe_for_several_processes(tmp_path: Path) -> None:
    """The journal is one that SQLite of every version shares safely, and every commit is on the disk."""
    store = _sqlite(tmp_path)
    with store._engine.connect() as connection:
        told = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert told == ["delete", 3, 1, 5000]
    store.close()


def test_the_market_database_does_not_have_these_tables() -> None:
    """The tables are of a registry of their own."""
    assert not {"accounts", "api_keys"} & set(SQLModel.metadata.tables)


@pytest.mark.parametrize("name", ["a b", "한글", "h#sh", "per%cent", "what?mode=ro"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    """Signs that mean something in a URL may stand in the path."""
    store = _sqlite(tmp_path / name)
    store.create_account("desk", None, NOON)
    assert store.edition() == store.edition()
    store.close()
    assert [path.name for path in (tmp_path / name).iterdir()] == ["access.db"]


HOT = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE accounts SET name = 'gone'")
for number in range(200):
    connection.execute(
        "INSERT INTO api_keys SELECT ?, account_id, digest, scopes, ?, created_at, expires_at, revoked_at, replaced_by,"
        " addresses, rate_limit FROM api_keys LIMIT 1", (str(number), "x" * 4000))
print("written", flush=True)
input()
"""


def test_half_a_change_on_the_disk_is_taken_back(tmp_path: Path) -> None:
    """Where a killed process has left pages of an unfinished change in the file, whoever is next finds it as before."""
    store = _sqlite(tmp_path)
    store.create_account("desk", None, NOON)
    _key(store)
    before, size = store.load(), (tmp_path / "access.db").stat().st_size
    edition = store.edition()
    with _process(HOT, tmp_path / "access.db") as writer:
        assert _line(writer) == "written"
        writer.send_signal(signal.SIGKILL)
    assert (tmp_path / "access.db-journal").exists()
    assert (tmp_path / "access.db").stat().st_size > size
    after = store.load()
    assert (after.accounts, after.keys) == (before.accounts, before.keys)
    assert store.edition() >= edition
    assert (tmp_path / "access.db").stat().st_size == size
    store.close()


def test_another_file_in_its_place_is_another_edition(tmp_path: Path) -> None:
    """After a backup was put in the place of the file, the edition changes and the backup counts."""
    store, other = _sqlite(tmp_path / "one"), _sqlite(tmp_path / "two")
    store.create_account("desk", None, NOON)
    seen = store.edition()
    other.close()
    (tmp_path / "two" / "access.db").replace(tmp_path / "one" / "access.db")
    assert store.edition() != seen
    assert store.load().accounts == ()
    store.create_account("new", None, NOON)
    assert [account.name for account in store.load().accounts] == ["new"]
    store.close()


def test_a_file_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    """Where the file is deleted under a running engine everything is an error, and no empty file takes its place."""
    store = _sqlite(tmp_path)
    store.create_account("desk", None, NOON)
    (tmp_path / "access.db").unlink()
    for use in (store.load, store.edition, lambda: store.create_account("new", None, NOON)):
        with pytest.raises(AccessError, match=r"there is no .*access\.db"):
            use()
    assert list(tmp_path.iterdir()) == []
    store.close()


def test_damage_is_told_in_words(tmp_path: Path) -> None:
    """A file of other content, a cut one, and rows that nobody has written are errors that name the file."""
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "access.db").write_text("not a database, but long enough to be taken for one" * 100)
    with pytest.raises(AccessError, match=r"text/access\.db: the file is damaged\. Restore it from a backup"):
        _sqlite(tmp_path / "text")

    cut = _sqlite(tmp_path / "cut")
    cut.create_account("desk", None, NOON)
    for _ in range(50):
        _key(cut)
    raw = (tmp_path / "cut" / "access.db").read_bytes()
    (tmp_path / "cut" / "access.db").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(AccessError, match=r"cut/access\.db: the file is damaged"):
        cut.load()
    cut.close()

    odd = _sqlite(tmp_path / "odd")
    odd.create_account("desk", None, NOON)
    _key(odd)
    with sqlite3.connect(tmp_path / "odd" / "access.db") as connection:
        connection.execute("UPDATE api_keys SET scopes = 'no json'")
    with pytest.raises(AccessError, match=r"odd/access\.db: the file is damaged"):
        odd.load()
    odd.close()


def test_places_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    """A folder where the file should be, and a file where the folder should be, are errors that say what to do."""
    (tmp_path / "one" / "access.db").mkdir(parents=True)
    (tmp_path / "two").write_text("")
    for place in ("one", "two"):
        with pytest.raises(AccessError, match=rf"{place}/access\.db.*ENTASIS_DATA_DIR"):
            _sqlite(tmp_path / place)


def test_a_file_of_the_future_is_refused(tmp_path: Path) -> None:
    """A file that a newer version has made is left alone."""
    _sqlite(tmp_path).close()
    with sqlite3.connect(tmp_path / "access.db") as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(AccessError, match="made by a newer version"):
        _sqlite(tmp_path)


def test_a_writer_that_does_not_end_is_told(tmp_path: Path) -> None:
    """Where another process holds the file, writers wait for a while and then say so; readers do not wait."""
    store = AccessStore(tmp_path / "access.db", busy_timeout_seconds=0.01)
    holder = sqlite3.connect(tmp_path / "access.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(AccessError, match="another process is writing and does not end"):
        store.create_account("desk", None, NOON)
    assert store.load().accounts == ()
    store.edition()
    holder.execute("ROLLBACK")
    holder.close()
    store.create_account("desk", None, NOON)
    store.close()
