"""Accounts and API keys as they are at one moment, and the rules of which of them count. Pure: no files, no clock."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from entasis_engine.access import keys
from entasis_engine.errors import EntasisError

SCOPES = ("market:read", "portfolio:read", "portfolio:write", "analysis:read", "admin")
"""Everything that a key can permit; the contract names them in `access.proto`."""

KeyState = Literal["live", "expired", "replaced", "revoked", "account closed"]

_NOBODY = secrets.token_bytes(32)
"""A digest that no key has; compared with where there is no such key, so that the time taken does not tell."""


@dataclass(frozen=True)
class Account:
    """Who calls. An account owns keys and positions, and is never deleted, only closed."""

    id: str
    name: str
    created_at: datetime
    closed_at: datetime | None = None
    rate_limit: int | None = None
    """Requests per minute; None where the setting decides."""


@dataclass(frozen=True)
class ApiKey:
    """What is kept of an API key: everything but its text."""

    id: str
    account_id: str
    digest: bytes = field(repr=False)
    """SHA-256 of the whole text."""
    scopes: frozenset[str]
    label: str
    created_at: datetime
    expires_at: datetime | None = None
    """At this instant the key is dead."""
    revoked_at: datetime | None = None
    replaced_by: str | None = None
    """Id of the key that took its place when it was rotated."""
    addresses: tuple[str, ...] = ()
    """Networks that it may be used from, in canonical form; empty: any."""
    rate_limit: int | None = None
    """Requests per minute; None where the account or the setting decides."""


class Directory:
    """An immutable snapshot of all accounts and keys."""

    def __init__(self, accounts: Iterable[Account] = (), api_keys: Iterable[ApiKey] = ()) -> None:
        self._accounts = {account.id: account for account in accounts}
        self._names = {account.name: account for account in self._accounts.values()}
        self._keys = {key.id: key for key in api_keys}

    @property
    def accounts(self) -> tuple[Account, ...]:
        """All accounts, closed ones too, in the order given."""
        return tuple(self._accounts.values())

    @property
    def keys(self) -> tuple[ApiKey, ...]:
        """All keys, ended ones too, in the order given."""
        return tuple(self._keys.values())

    def account(self, account_id: str) -> Account | None:
        return self._accounts.get(account_id)

    def account_named(self, name: str) -> Account | None:
        return self._names.get(name)

    def key(self, key_id: str) -> ApiKey | None:
        return self._keys.get(key_id)

    def authenticate(self, text: str, now: datetime) -> ApiKey:
        """The live key that has this text.

        Raises `EntasisError`: KEY_INVALID where there is no such key, and KEY_ENDED where there was one. Only whoever
        has the whole key learns that it has ended.
        """
        parsed = keys.parse(text)
        if parsed is None:
            raise EntasisError("KEY_INVALID")
        key = self._keys.get(parsed.id)
        right = keys.same(parsed.digest, key.digest if key is not None else _NOBODY)
        if key is None or not right:
            raise EntasisError("KEY_INVALID")
        if self._state(key, now) != "live":
            raise EntasisError("KEY_ENDED")
        return key

    def whose(self, text: str) -> str:
        """The id of the key that has this text, live or not; empty where none has."""
        parsed = keys.parse(text)
        key = self._keys.get(parsed.id) if parsed is not None else None
        return key.id if parsed is not None and key is not None and keys.same(parsed.digest, key.digest) else ""

    def is_live(self, key_id: str, now: datetime) -> bool:
        """Whether the key is neither revoked nor expired, and its account open."""
        key = self._keys.get(key_id)
        return key is not None and self._state(key, now) == "live"

    def account_is_open(self, account_id: str) -> bool:
        account = self._accounts.get(account_id)
        return account is not None and account.closed_at is None

    def state(self, key_id: str, now: datetime) -> KeyState:
        """Whether a known key is live, or why it is not."""
        return self._state(self._keys[key_id], now)

    def _state(self, key: ApiKey, now: datetime) -> KeyState:
        if key.revoked_at is not None:
            return "revoked"
        if key.expires_at is not None and now >= key.expires_at:
            return "replaced" if key.replaced_by is not None else "expired"
        return "live" if self.account_is_open(key.account_id) else "account closed"


class DirectorySource(Protocol):
    """Where the engine has accounts and keys from. Its methods may block, and are called from any thread."""

    def load(self) -> Directory:
        """All accounts and keys as they are now."""
        ...

    def edition(self) -> int:
        """A number that changes whenever any process has changed an account or a key.

        Asked before `load`, so that what changes in between shows as another edition afterwards.
        """
        ...

    def close(self) -> None: ...
