"""What a room knows of the call it serves, whatever transport the call came over."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NamedTuple, Protocol

from entasis_engine.errors import EntasisError, Language, language_of

REQUEST_ID_CHARACTERS_MAX = 64


@dataclass(frozen=True)
class Principal:
    """Who calls, as proved by their credentials."""

    account: str
    """Id of the account."""
    scopes: frozenset[str]
    """What the credentials permit, all together."""
    key_ids: tuple[str, ...] = ()
    """Ids of the API keys that were sent, or that the token was issued for."""
    signer: str = ""
    """Fingerprint of the key that signed the token; empty without a token."""
    expires_at: datetime | None = None
    """When the first of the credentials expires."""


class Allowance(NamedTuple):
    """What is left of a caller's requests, as every answer says it in `X-RateLimit-*`."""

    limit: int
    """Requests in any 60 seconds."""
    remaining: int
    """How many of them are left."""
    reset_seconds: int
    """Until the earliest request that still counts does not any more."""


class Call:
    """One call. What is asked of it seldom, such as its name, is worked out only then: most calls never fail.

    Args:
        method: full name, such as `/entasis.market.v1.MarketService/GetPrice`.
        metadata: the caller's headers, names in lower case.
        peer: the other end of the connection, as gRPC names it.
    """

    def __init__(self, method: str, metadata: Iterable[tuple[str, str | bytes]] = (), peer: str = "") -> None:
        self.method = method
        self.peer = peer
        self.started = 0.0
        """Monotonic seconds."""
        self.error: EntasisError | None = None
        """Why the call failed, once it has."""
        self.cancelled = False
        """True where the caller went away first."""
        self.principal: Principal | None = None
        """Who calls; None where the call is anonymous."""
        self.address = ""
        """The caller's own address; empty for parts of the engine itself."""
        self.suspect: Principal | None = None
        """Whose the credentials are that were refused though they are right; for the audit log alone."""
        self.by_part = False
        """Whether it came from a part of the engine, for itself or for a caller, and is believed what it states."""
        self.bucket = ""
        """Whom the call is counted for; empty for parts of the engine that call for themselves."""
        self.original_path = ""
        """Path and query of the REST call that this was made of, as Envoy states it; empty for any other call."""
        self.body_fields: tuple[str, ...] = ()
        """Names in the JSON body of that REST call, as Envoy states them."""
        self.allowance: Allowance | None = None
        """What is left of the caller's requests; None for parts of the engine itself."""
        self.told: tuple[tuple[str, str], ...] = ()
        """Headers that the answer carries, however the call ends."""
        self._metadata = metadata

    @property
    def metadata(self) -> Iterable[tuple[str, str | bytes]]:
        """All headers, as they came."""
        return self._metadata

    def header(self, name: str) -> str:
        """A header's text, the first of that name; empty where it was not sent."""
        for key, value in self._metadata:
            if key == name and isinstance(value, str):
                return value
        return ""

    @cached_property
    def request_id(self) -> str:
        """Names the call, so that its log lines, its error and the caller's report can be put together."""
        given = self.header("x-request-id")
        usable = 0 < len(given) <= REQUEST_ID_CHARACTERS_MAX and given.isascii() and given.isprintable()
        return given if usable else secrets.token_hex(8)

    @cached_property
    def language(self) -> Language:
        """The language that the caller prefers."""
        return language_of(self.header("accept-language"))


current_call: ContextVar[Call | None] = ContextVar("current_call", default=None)
"""The call that is being served, for whatever logs meanwhile."""


class Batches(Protocol):
    """What a stream sends: each `take` waits for something to send and gives it as one encoded response."""

    async def take(self) -> bytes: ...
