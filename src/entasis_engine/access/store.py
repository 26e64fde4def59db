"""Accounts and API keys on disk: a SQLite file of their own, which the command line writes while an engine runs.

It is apart from the market's database, which only one process may open. Several processes share this one, so it keeps
a rollback journal: SQLite before 3.51.3 may lose commits when several of them write a WAL file.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import sqlite3
import string
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, URL, Connection, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import registry
from sqlalchemy.pool import NullPool
from sqlmodel import Field, Session, SQLModel, select

from entasis_engine.access import keys
from entasis_engine.access.directory import SCOPES, Account, ApiKey, Directory
from entasis_engine.storage.columns import UtcMilliseconds
from entasis_engine.telemetry.redaction import redacted
from entasis_engine.times import from_milliseconds, isoformat, to_milliseconds

SCHEMA_VERSION = 1
BUSY_TIMEOUT_SECONDS = 5.0
NAME_CHARACTERS_MAX = 64
LABEL_CHARACTERS_MAX = 100
ADDRESSES_MAX = 100
RATE_LIMIT_MAX = 2**31 - 1
"""The contract tells limits as int32."""
NAMES_TOLD_MAX = 20
"""Of the known accounts, in an error."""

_NAME_SIGNS = frozenset(string.ascii_lowercase + string.digits + "-")
_ACCOUNT_ID_SIGNS = string.ascii_lowercase + string.digits
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


class AccessError(Exception):
    """What was asked for cannot be done. The text says why, and what to do."""


class _Base(SQLModel, registry=registry()):
    """Of a registry of its own, so that these tables are never made in the market's database."""


class AccountRow(_Base, table=True):
    """An account. Rows are never deleted, so that what the audit log names is always known."""

    __tablename__ = "accounts"

    id: str = Field(primary_key=True)
    name: str = Field(unique=True)
    created_at: datetime = Field(sa_type=UtcMilliseconds)
    closed_at: datetime | None = Field(default=None, sa_type=UtcMilliseconds)
    rate_limit: int | None = None


class ApiKeyRow(_Base, table=True):
    """An API key, without its text."""

    __tablename__ = "api_keys"

    id: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="accounts.id")
    digest: bytes
    scopes: list[str] = Field(sa_type=JSON)
    label: str
    created_at: datetime = Field(sa_type=UtcMilliseconds)
    expires_at: datetime | None = Field(default=None, sa_type=UtcMilliseconds)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcMilliseconds)
    replaced_by: str | None = Field(default=None, foreign_key="api_keys.id")
    addresses: list[str] = Field(sa_type=JSON)
    rate_limit: int | None = None


class AccessStore:
    """Accounts and keys in one SQLite file, which any number of processes may have open.

    Every change is one transaction, on the disk before the method returns. Methods block; any thread may call them.

    Args:
        path: the file; it and its folder are made where they are missing.
        choose: where ids and secrets come from.
        busy_timeout_seconds: how long to wait for another process that is writing.

    Raises `AccessError` where the file cannot be used, and so does every method.
    """

    def __init__(
        self, path: Path, *, choose: keys.Choose = secrets.choice, busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS
    ) -> None:
        self._path = path.absolute()
        self._choose = choose
        self._busy_timeout_seconds = busy_timeout_seconds
        # A new connection each time: it sees a file that was put in the place of another, and none is ever made.
        self._engine = create_engine(
            URL.create("sqlite", database=self._path.as_uri(), query={"mode": "rw", "uri": "true"}),
            poolclass=NullPool,
            connect_args={"timeout": busy_timeout_seconds, "check_same_thread": False},
        )
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", _begin)
        self._reading = self._engine.execution_options(entasis_reading=True)
        self._made = False
        self._watching = threading.Lock()
        self._watch: sqlite3.Connection | None = None
        self._watched: tuple[int, int] | None = None
        self._version = 0
        self._edition = 0
        with self._in_words():
            self._make_file()
            self._made = True
            self._make_tables()

    # What the engine needs.

    def load(self) -> Directory:
        """All accounts and keys as they are now, oldest first."""
        with self._in_words(), self._reading.connect() as connection:
            try:
                accounts = [_account(row) for row in connection.execute(_Base.metadata.tables["accounts"].select())]
                api_keys = [_api_key(row) for row in connection.execute(_Base.metadata.tables["api_keys"].select())]
            except (ValueError, TypeError, OverflowError) as error:  # of what no version of this program has written
                raise AccessError(f"Cannot use the accounts and keys in {self._path}: {_DAMAGED}") from error
        return Directory(
            sorted(accounts, key=lambda one: (one.created_at, one.id)),
            sorted(api_keys, key=lambda one: (one.created_at, one.id)),
        )

    def edition(self) -> int:
        """A number that changes whenever any process, this one too, has committed a change. Cheap.

        Ask before `load`: then a change in between shows as another edition afterwards.
        """
        with self._watching, self._in_words():
            status = self._path.stat()
            file = (status.st_dev, status.st_ino)
            if self._watch is None or file != self._watched:  # another file may be in its place, a backup for instance
                self._end_watch()
                self._watch, self._watched, self._version = self._connect_watch(), file, -1
            # Of this connection, which itself never writes: so it tells of the changes of all others.
            (version,) = self._watch.execute("PRAGMA data_version").fetchone()
            if version != self._version:
                self._version = version
                self._edition += 1
            return self._edition

    def close(self) -> None:
        """Let go of the file."""
        with self._watching:
            self._end_watch()
        self._engine.dispose()

    # What people change.

    def create_account(self, name: str, rate_limit: int | None, now: datetime) -> Account:
        """Make an account. Its name is free, and stays taken even after the account was closed."""
        with self._writing() as session:
            return _account(self._add_account(session, name, rate_limit, _whole(now)))

    def close_account(self, name: str, now: datetime) -> Account:
        """Close an account and so end all its keys. One that is closed stays as it is."""
        with self._writing() as session:
            row = _account_row(session, name)
            row.closed_at = row.closed_at or _whole(now)
            session.add(row)
            return _account(row)

    def create_key(
        self,
        account_name: str,
        scopes: Iterable[str],
        label: str,
        expires_at: datetime | None,
        addresses: Sequence[str],
        rate_limit: int | None,
        now: datetime,
    ) -> tuple[ApiKey, str]:
        """Make a key of an open account; gives it and its text, which is kept nowhere."""
        with self._writing() as session:
            account = _account_row(session, account_name)
            return self._add_key(
                session,
                account,
                scopes=_checked_scopes(scopes),
                label=_checked_label(label),
                expires_at=_checked_expiry(expires_at, now),
                addresses=_checked_addresses(addresses),
                rate_limit=_checked_limit(rate_limit),
                now=_whole(now),
            )

    def create_first(
        self, name: str, scopes: Iterable[str], label: str, now: datetime
    ) -> tuple[Account, ApiKey, str] | None:
        """Make an account with a key, both or neither; None where there has been any account already."""
        with self._writing() as session:
            if session.exec(select(AccountRow.id).limit(1)).first() is not None:
                return None
            row = self._add_account(session, name, None, _whole(now))
            key, text = self._add_key(
                session,
                row,
                scopes=_checked_scopes(scopes),
                label=_checked_label(label),
                expires_at=None,
                addresses=[],
                rate_limit=None,
                now=_whole(now),
            )
            return _account(row), key, text

    def rotate_key(self, key_id: str, overlap: timedelta, now: datetime) -> tuple[ApiKey, str]:
        """Make a key to take the place of a live one, which ends after the overlap, or earlier if it would anyway.

        The new key may do what the old one may, from the same addresses, and lives as long as the old one was to live
        when it was made.
        """
        now = _whole(now)
        if overlap < timedelta(0):
            raise AccessError("The overlap cannot be negative; 0 ends the old key at once.")
        with self._writing() as session:
            old = _key_row(session, key_id)
            _require_rotatable(old, now)
            account = session.get_one(AccountRow, old.account_id)
            key, text = self._add_key(
                session,
                account,
                scopes=old.scopes,
                label=old.label,
                expires_at=None if old.expires_at is None else _later(now, old.expires_at - old.created_at),
                addresses=old.addresses,
                rate_limit=old.rate_limit,
                now=now,
            )
            end = _whole(_later(now, overlap))
            old.expires_at = end if old.expires_at is None else min(old.expires_at, end)
            old.replaced_by = key.id
            session.add(old)
            return key, text

    def revoke_key(self, key_id: str, now: datetime) -> ApiKey:
        """End a key at once. One that is revoked stays as it is."""
        with self._writing() as session:
            row = _key_row(session, key_id)
            row.revoked_at = row.revoked_at or _whole(now)
            session.add(row)
            return _api_key(row)

    # How it is done.

    def _add_account(self, session: Session, name: str, rate_limit: int | None, now: datetime) -> AccountRow:
        _require_name(name)
        if session.exec(select(AccountRow).where(AccountRow.name == name)).first() is not None:
            raise AccessError(f"The name '{name}' is taken; choose another. Names of closed accounts stay taken, too.")
        account_id = f"acc_{keys.random_text(_ACCOUNT_ID_SIGNS, 12, self._choose)}"
        row = AccountRow(id=account_id, name=name, created_at=now, rate_limit=_checked_limit(rate_limit))
        session.add(row)
        session.flush()
        return row

    def _add_key(
        self,
        session: Session,
        account: AccountRow,
        *,
        scopes: list[str],
        label: str,
        expires_at: datetime | None,
        addresses: list[str],
        rate_limit: int | None,
        now: datetime,
    ) -> tuple[ApiKey, str]:
        if account.closed_at is not None:
            raise AccessError(
                f"The account '{account.name}' is closed and cannot have new keys. "
                "Make another: entasis accounts create NAME."
            )
        new = keys.new_key(self._choose)
        row = ApiKeyRow(
            id=new.id,
            account_id=account.id,
            digest=new.digest,
            scopes=scopes,
            label=label,
            created_at=now,
            expires_at=expires_at,
            addresses=addresses,
            rate_limit=rate_limit,
        )
        session.add(row)
        session.flush()
        return _api_key(row), new.text

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        with self._in_words(), Session(self._engine) as session, session.begin():
            yield session

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """Tell what may befall a file as an `AccessError`."""
        try:
            yield
        except OSError as error:
            self._require_file()
            raise AccessError(
                f"Cannot keep accounts and keys in {self._path}: {error.strerror}. "
                "Give this user the right to, or choose another folder: ENTASIS_DATA_DIR."
            ) from None
        except (SQLAlchemyError, sqlite3.Error) as error:
            self._require_file()
            cause = getattr(error, "orig", None) or error
            raise AccessError(f"Cannot use the accounts and keys in {self._path}: {_advice(cause)}") from error

    def _require_file(self) -> None:
        """Say so where the file has been there and is not any more."""
        if not self._made:
            return
        try:
            self._path.stat()
        except FileNotFoundError:
            raise AccessError(
                f"The accounts and keys are gone: there is no {self._path}. Restore it from a backup, or start anew."
            ) from None
        except OSError:  # it may be there
            return

    def _make_file(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # An existing file is never opened here: closing it again would let go of the locks that this process's other
        # connections hold on it.
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        if self._path.is_file() and self._path.stat().st_mode & 0o077:
            with suppress(PermissionError):  # another user's file; whether it can be used shows soon
                self._path.chmod(0o600)

    def _make_tables(self) -> None:
        with self._reading.connect() as connection:
            made = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        if made > SCHEMA_VERSION:
            raise AccessError(f"{self._path} was made by a newer version of Entasis Engine. Use that version.")
        if made < SCHEMA_VERSION:
            with self._engine.begin() as connection:
                _Base.metadata.create_all(connection)
                connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _connect_watch(self) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self._path.as_uri()}?mode=rw",
            uri=True,
            timeout=self._busy_timeout_seconds,
            check_same_thread=False,
            isolation_level=None,
        )

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None


_DAMAGED = "the file is damaged. Restore it from a backup, or move it away to start anew."


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where `_begin` says so, not where the driver guesses
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA journal_mode=DELETE")
    # More than FULL, by one thing: a rollback journal must be gone for good, or a power loss would undo a revocation.
    cursor.execute("PRAGMA synchronous=EXTRA")
    cursor.close()


def _begin(connection: Connection) -> None:
    # Writers queue for their turn from the start. One that began as a reader could not wait, but would have to fail.
    reading = connection.get_execution_options().get("entasis_reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _advice(cause: Any) -> str:
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "another process is writing and does not end. Try again."
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return _DAMAGED
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return f"{cause}. Give this user the right to, or choose another folder: ENTASIS_DATA_DIR."
        case _:
            return f"{cause}."


# Rows come from the ORM where they may be changed, and without it, at less than half the cost, where all are loaded.


def _account(row: Any) -> Account:
    return Account(row.id, row.name, row.created_at, row.closed_at, row.rate_limit)


def _api_key(row: Any) -> ApiKey:
    return ApiKey(
        id=row.id,
        account_id=row.account_id,
        digest=row.digest,
        scopes=frozenset(row.scopes),
        label=row.label,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        replaced_by=row.replaced_by,
        addresses=tuple(row.addresses),
        rate_limit=row.rate_limit,
    )


def _account_row(session: Session, name: str) -> AccountRow:
    _require_name(name)
    row = session.exec(select(AccountRow).where(AccountRow.name == name)).first()
    if row is not None:
        return row
    raise AccessError(no_such_account(name, session.exec(select(AccountRow.name))))


def no_such_account(name: str, names: Iterable[str]) -> str:
    """What to say where somebody names an account that is not one of these."""
    _require_name(name)
    known = sorted(names)
    make = f"entasis accounts create {name}."
    if not known:
        return f"There is no account '{name}', nor any other. Make it: {make}"
    told = ", ".join(known[:NAMES_TOLD_MAX]) + (", …" if len(known) > NAMES_TOLD_MAX else "")
    return f"There is no account '{name}'. There are: {told}. Or make it: {make}"


def _key_row(session: Session, key_id: str) -> ApiKeyRow:
    if not keys.is_id(key_id):  # not repeated: it may be a secret
        raise AccessError(
            f"This is no key's id, which has {keys.ID_CHARACTERS} letters and digits. "
            "`entasis keys list --all` shows them."
        )
    row = session.get(ApiKeyRow, key_id)
    if row is None:
        raise AccessError(f"There is no key {keys.shown(key_id)}. `entasis keys list --all` shows those there are.")
    return row


def _require_name(name: str) -> None:
    if not 1 <= len(name) <= NAME_CHARACTERS_MAX or not _NAME_SIGNS.issuperset(name):
        # Not repeated: it may be a secret in the wrong place.
        raise AccessError(f"An account's name has 1 to {NAME_CHARACTERS_MAX} characters: a-z, 0-9 and -.")


def _require_rotatable(key: ApiKeyRow, now: datetime) -> None:
    if key.revoked_at is not None:
        raise AccessError(f"The key {keys.shown(key.id)} was revoked and cannot be rotated. {_MAKE_KEY}")
    if key.replaced_by is not None:
        raise AccessError(
            f"The key {keys.shown(key.id)} was replaced by {keys.shown(key.replaced_by)} already. Rotate that one."
        )
    if key.expires_at is not None and key.expires_at <= now:
        raise AccessError(
            f"The key {keys.shown(key.id)} expired at {isoformat(key.expires_at)} and cannot be rotated. {_MAKE_KEY}"
        )


_MAKE_KEY = "Make a new one: entasis keys create ACCOUNT."


def _checked_scopes(scopes: Iterable[str]) -> list[str]:
    given = set(scopes)
    if unknown := sorted(given.difference(SCOPES)):
        raise AccessError(f"Unknown scope '{redacted(unknown[0])[:50]}'. There are: {', '.join(SCOPES)}.")
    if not given:
        raise AccessError(f"A key needs one scope at least. There are: {', '.join(SCOPES)}.")
    return sorted(given, key=SCOPES.index)


def _checked_label(label: str) -> str:
    if len(label) > LABEL_CHARACTERS_MAX or not label.isprintable() or redacted(label) != label:
        raise AccessError(
            f"A label has at most {LABEL_CHARACTERS_MAX} printable characters, all on one line, and holds no key."
        )
    return label


def _checked_expiry(expires_at: datetime | None, now: datetime) -> datetime | None:
    if expires_at is None:
        return None
    expires_at = _whole(expires_at)
    if expires_at <= now:
        raise AccessError(f"The expiry {isoformat(expires_at)} is not in the future.")
    return expires_at


def _checked_limit(rate_limit: int | None) -> int | None:
    if rate_limit is not None and not 1 <= rate_limit <= RATE_LIMIT_MAX:
        raise AccessError(f"A limit is 1 to {RATE_LIMIT_MAX} requests per minute, not {rate_limit}.")
    return rate_limit


def _checked_addresses(addresses: Sequence[str]) -> list[str]:
    networks = list(dict.fromkeys(map(_canonical, addresses)))
    if len(networks) > ADDRESSES_MAX:
        raise AccessError(f"A key has at most {ADDRESSES_MAX} networks, not {len(networks)}. Use wider ones.")
    return networks


def _canonical(address: str) -> str:
    """The one spelling of a network. One of IPv4 addresses in IPv6 form is of IPv4: so addresses are compared."""
    try:
        network = ipaddress.ip_network(address.strip())
    except ValueError as error:
        told = redacted(address)[:50]
        raise AccessError(
            f"'{told}' is no network of addresses, such as 10.0.0.0/8, 203.0.113.7 or 2001:db8::/32"
            f"{' (it has host bits set)' if 'host bits' in str(error) else ''}."
        ) from None
    if isinstance(network, ipaddress.IPv6Network):
        if network.network_address.scope_id is not None:
            raise AccessError(f"'{network}' names an interface of this machine; give the network without it.")
        if network.subnet_of(_MAPPED):
            mapped = network.network_address.ipv4_mapped
            return str(ipaddress.IPv4Network((int(mapped or 0), network.prefixlen - 96)))
    return str(network)


def _later(now: datetime, span: timedelta) -> datetime:
    try:
        return now + span
    except OverflowError:
        raise AccessError("That is too far in the future.") from None


def _whole(moment: datetime) -> datetime:
    """Rounded down to the millisecond, as it is stored."""
    return from_milliseconds(to_milliseconds(moment))
