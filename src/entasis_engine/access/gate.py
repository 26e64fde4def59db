"""The decision on every call: who calls, from where, whether they may, and how much they have left.

Knows no transport and does no I/O: what it decides from is handed in, and replaced when it changes.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from entasis_engine.access.directory import Account, ApiKey, Directory
from entasis_engine.access.limits import RateLimiter, Standing
from entasis_engine.access.needs import Need
from entasis_engine.access.sessions import Sessions
from entasis_engine.access.tokens import TOKEN_CHARACTERS_MAX, Tokens
from entasis_engine.addresses import AddressList, bucket_of
from entasis_engine.calls import Allowance, Principal
from entasis_engine.errors import EntasisError
from entasis_engine.times import Clock

REMEMBERED_MAX = 10_000
NEVER = datetime.max.replace(tzinfo=UTC)
LOOPBACK = "127.0.0.1"
NOWHERE = AddressList(["255.255.255.255"])


@dataclass(frozen=True)
class Caller:
    """What a transport knows of whoever calls."""

    address: str
    """Their own address, in canonical form; empty for a part of the engine that calls for itself."""
    authorizations: tuple[str, ...] = field(default=(), repr=False)
    """Values of the header `authorization`."""
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    """Values of the header `x-api-key`."""
    session: str = field(default="", repr=False)
    """In whose stead a part of the engine calls, as `Sessions` has named them; empty for any other call."""


@dataclass(frozen=True)
class Decision:
    """What came of a call."""

    principal: Principal | None
    suspect: Principal | None
    """For the audit log: whose the credentials are that were refused though they are right."""
    bucket: str
    """Whom it was counted for; empty for parts of the engine."""
    allowance: Allowance | None
    """How much is left to the caller; None for parts of the engine."""
    refusal: EntasisError | None


@dataclass(frozen=True)
class _Known:
    """Credentials that were verified, and what follows from them."""

    principal: Principal
    ends_at: datetime
    lists: Sequence[AddressList]
    bucket: str
    rate_limit: int


class Gate:
    """Decides on calls."""

    def __init__(
        self,
        directory: Directory,
        tokens: Tokens,
        limiter: RateLimiter,
        *,
        allowed_addresses: Iterable[str],
        rate_limit: int,
        anonymous_rate_limit: int,
        market_streams_public: bool,
        clock: Clock,
        sessions: Sessions | None = None,
    ) -> None:
        """
        Args:
            rate_limit: requests per minute of an account that has no limit of its own.
            anonymous_rate_limit: requests per minute of an address, without valid credentials.
            sessions: left out, those that are given end with this gate.
        """
        self.sessions = sessions or Sessions(secrets.token_bytes(32))
        self._directory = directory
        self._tokens = tokens
        self._limiter = limiter
        self._allowed = AddressList(allowed_addresses)
        self._rate_limit = rate_limit
        self._anonymous_rate_limit = anonymous_rate_limit
        self._public = market_streams_public
        self._clock = clock
        self._remembered: dict[tuple[str | None, str | None], _Known] = {}
        """By token and key."""
        self._lists: dict[str, AddressList] = {}

    def replace(self, directory: Directory, tokens: Tokens) -> None:
        """From now on decide by these; nothing verified before counts any more."""
        self._directory = directory
        self._tokens = tokens
        self._remembered.clear()
        self._lists.clear()

    async def decide(self, need: Need, caller: Caller) -> Decision:
        """Decide on a call, and count it."""
        known, refusal = self._identified(caller)
        suspect = self._suspect(caller) if refusal is not None else None
        bucket, allowance = "", None
        if known is not None or caller.address:
            bucket, rate_limit = self._counted(known, caller)
            standing = self._limiter.hit(bucket, rate_limit)
            if not isinstance(standing, Standing):
                standing = await standing
            allowance = Allowance(standing.limit, standing.remaining, standing.reset_seconds)
            if not standing.admitted:
                refusal = EntasisError(
                    "RATE_LIMITED", limit=str(standing.limit), retry_after_seconds=standing.reset_seconds
                )
        principal = known.principal if known is not None else None
        if refusal is None:
            refusal = self._refusal(need, principal, caller)
        return Decision(principal, suspect, bucket, allowance, refusal)

    def may_stream(self, principal: Principal | None) -> bool:
        """Whether market streams are open to a caller."""
        return self._public or (principal is not None and "market:read" in principal.scopes)

    def ended(self, principal: Principal, address: str) -> EntasisError | None:
        """Why credentials that were good once are not any more; None where they still are."""
        now = self._clock()
        if principal.expires_at is not None and principal.expires_at <= now:
            return EntasisError("TOKEN_EXPIRED" if principal.signer else "KEY_ENDED")
        if not all(self._directory.is_live(key_id, now) for key_id in principal.key_ids):
            return EntasisError("KEY_ENDED")
        if not self._directory.account_is_open(principal.account):
            return EntasisError("KEY_ENDED")
        if principal.signer and not self._tokens.knows(principal.signer):
            return EntasisError("TOKEN_INVALID")
        lists = [self._list_of(key) for key_id in principal.key_ids if (key := self._directory.key(key_id))]
        return self._misplaced(address) or _off_list(address, lists)

    def _identified(self, caller: Caller) -> tuple[_Known | None, EntasisError | None]:
        if (refusal := self._misplaced(caller.address)) is not None:
            return None, refusal
        if not caller.authorizations and not caller.api_keys and not caller.session:
            return None, None
        try:
            known = self._represented(caller) if caller.session else self._known(caller)
        except EntasisError as error:
            return None, error
        if (refusal := _off_list(caller.address, known.lists)) is not None:
            # Not counted as the key's own request: whoever has stolen it must not use up what its owner has.
            return None, refusal
        return known, None

    def _misplaced(self, address: str) -> EntasisError | None:
        """Why nobody at all may call from there; None where they may. Parts of the engine have no address."""
        if address and not self._allowed.allows(address):
            return EntasisError("ADDRESS_REFUSED", address=address)
        return None

    def _suspect(self, caller: Caller) -> Principal | None:
        """Who has sent credentials that are right and may not be used: from here, or any more. Only what is proved."""
        if caller.session:
            represented = self.sessions.proved(caller.session)
            return replace(represented, scopes=frozenset()) if represented is not None else None
        try:
            token, key_text = _bearer(caller.authorizations), _key(caller.api_keys)
            verified = self._tokens.verify(token, self._clock()) if token is not None else None
        except EntasisError:
            return None
        key_id = verified.key_id if verified is not None else self._directory.whose(key_text or "")
        key = self._directory.key(key_id)
        return Principal(key.account_id, frozenset(), (key.id,)) if key is not None else None

    def _known(self, caller: Caller) -> _Known:
        sent = _bearer(caller.authorizations), _key(caller.api_keys)
        known = self._remembered.get(sent)
        now = self._clock()
        if known is None:
            known = self._verified(*sent, now)
            if len(self._remembered) >= REMEMBERED_MAX:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[sent] = known
        elif known.ends_at <= now:
            del self._remembered[sent]
            return self._known(caller)  # which says why it is not valid any more
        return known

    def _represented(self, caller: Caller) -> _Known:
        """In whose stead a part of the engine calls. It may read what they may, and do nothing else."""
        if caller.authorizations or caller.api_keys:
            raise EntasisError("CREDENTIALS_DIFFER")
        principal = self.sessions.proved(caller.session)
        if principal is None:
            raise EntasisError("TOKEN_INVALID")
        if (over := self.ended(principal, caller.address)) is not None:
            raise over
        account = self._account(principal.account, "KEY_ENDED")
        keys = tuple(key for key_id in principal.key_ids if (key := self._directory.key(key_id)) is not None)
        scopes = principal.scopes.intersection(*(key.scopes for key in keys))
        reading = frozenset(scope for scope in scopes if scope.endswith(":read"))
        ends = [end for end in (principal.expires_at, *(key.expires_at for key in keys)) if end is not None]
        principal = replace(principal, scopes=reading, expires_at=min(ends, default=None))
        return self._entry(principal, account, keys[0] if keys else None, keys)

    def _verified(self, token: str | None, key_text: str | None, now: datetime) -> _Known:
        key = self._directory.authenticate(key_text, now) if key_text is not None else None
        if token is None:
            assert key is not None  # noqa: S101 - one of them was sent
            account = self._account(key.account_id, "KEY_ENDED")
            principal = Principal(account.id, key.scopes, (key.id,), expires_at=key.expires_at)
            return self._entry(principal, account, key, (key,))
        verified = self._tokens.verify(token, now)
        account = self._account(verified.account, "TOKEN_INVALID")
        token_key = self._directory.key(verified.key_id) if verified.key_id else None
        if verified.key_id and (token_key is None or token_key.account_id != account.id):
            raise EntasisError("TOKEN_INVALID")
        if token_key is not None and not self._directory.is_live(token_key.id, now):
            raise EntasisError("KEY_ENDED")
        if key is not None and key.account_id != account.id:
            raise EntasisError("CREDENTIALS_DIFFER")
        keys = tuple({one.id: one for one in (key, token_key) if one is not None}.values())
        # A token has its key's scopes or fewer, and both credentials must permit what the call does.
        scopes = verified.scopes.intersection(*(one.scopes for one in keys))
        ends = [verified.expires_at, *(one.expires_at for one in keys if one.expires_at is not None)]
        principal = Principal(account.id, scopes, tuple(one.id for one in keys), verified.signer, min(ends))
        return self._entry(principal, account, key or token_key, keys)

    def _entry(
        self, principal: Principal, account: Account, counted: ApiKey | None, keys: tuple[ApiKey, ...]
    ) -> _Known:
        """A key that has a limit of its own is counted by itself, all others together with their account."""
        if counted is not None and counted.rate_limit is not None:
            bucket, rate_limit = f"key:{counted.id}", counted.rate_limit
        else:
            bucket, rate_limit = f"account:{account.id}", account.rate_limit or self._rate_limit
        lists = [one for key in keys if (one := self._list_of(key))]
        return _Known(principal, principal.expires_at or NEVER, lists, bucket, rate_limit)

    def _account(self, account_id: str, otherwise: str) -> Account:
        account = self._directory.account(account_id)
        if account is None or not self._directory.account_is_open(account_id):
            raise EntasisError(otherwise)
        return account

    def _list_of(self, key: ApiKey) -> AddressList:
        if key.id not in self._lists:
            try:
                self._lists[key.id] = AddressList(key.addresses)
            except ValueError:  # the store checks them; whoever wrote there past it has locked the key
                self._lists[key.id] = NOWHERE
        return self._lists[key.id]

    def _counted(self, known: _Known | None, caller: Caller) -> tuple[str, int]:
        """Whom a call is counted for, and how many they have."""
        if known is not None:
            return known.bucket, known.rate_limit
        return f"address:{bucket_of(caller.address)}", self._anonymous_rate_limit

    def _refusal(self, need: Need, principal: Principal | None, caller: Caller) -> EntasisError | None:
        if need.scope:
            if principal is not None and need.scope in principal.scopes:
                return None
            if need.public and (self._public or not caller.address):
                return None
            missing = principal is None
            return EntasisError("CREDENTIAL_MISSING") if missing else EntasisError("SCOPE_MISSING", scope=need.scope)
        if need.api_key:
            return None if principal is not None and caller.api_keys else EntasisError("KEY_NEEDED")
        if need.internal:
            return EntasisError("NOT_FOR_CALLERS") if caller.address or principal is not None else None
        return None


def _off_list(address: str, lists: Iterable[AddressList]) -> EntasisError | None:
    """Why a key may not be used from there; None where it may."""
    address = address or LOOPBACK  # a local caller, over the unix socket
    if all(one.allows(address) for one in lists):
        return None
    return EntasisError("ADDRESS_REFUSED", address=address)


def _bearer(authorizations: tuple[str, ...]) -> str | None:
    """The token. What is remembered by it is bounded only if nothing but the token itself is let through."""
    if not authorizations:
        return None
    scheme, _, token = authorizations[0].partition(" ")
    if len(authorizations) > 1 or scheme.lower() != "bearer" or not 0 < len(token) <= TOKEN_CHARACTERS_MAX:
        raise EntasisError("CREDENTIAL_MALFORMED", header="Authorization", form="'Bearer <token>'")
    return token


def _key(api_keys: tuple[str, ...]) -> str | None:
    if not api_keys:
        return None
    if len(api_keys) > 1:
        raise EntasisError("CREDENTIAL_MALFORMED", header="X-API-Key", form="<key>")
    return api_keys[0]
