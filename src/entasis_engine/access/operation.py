"""Keeping access current: what the command line changes takes hold in the running engine within seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from entasis_engine.access.audit import AuditLog
from entasis_engine.access.directory import Directory, DirectorySource
from entasis_engine.access.gate import Gate
from entasis_engine.access.limits import MovingWindow
from entasis_engine.access.service import AccessService
from entasis_engine.access.sessions import Sessions
from entasis_engine.access.store import AccessError, AccessStore
from entasis_engine.access.tokens import JwksError, JwksFile, Tokens, ensure_secret
from entasis_engine.settings import Settings
from entasis_engine.times import Clock, Monotonic

log = structlog.get_logger()

POLL_SECONDS = 1.0
"""Between looks at what may have changed; with the bridge's own pause, a revocation takes hold within five seconds."""


@dataclass(frozen=True)
class Access:
    """Access control in operation."""

    gate: Gate
    service: AccessService
    audit: AuditLog
    watchers: list[Callable[[], None]]
    """Called about every second, for whatever must not outlive a key."""


@asynccontextmanager
async def open_access(settings: Settings, *, clock: Clock, monotonic: Monotonic) -> AsyncIterator[Access]:
    """Decide by the accounts and keys in the data folder, until the end. Raises `AccessError` or `JwksError`."""
    store = await asyncio.to_thread(AccessStore, settings.access_path)
    audit = AuditLog(settings.audit_path, clock)
    try:
        configured = settings.jwt_secret.get_secret_value().encode()
        try:
            secret = configured or await asyncio.to_thread(ensure_secret, settings.jwt_secret_path)
            tokens = Tokens(secret, issuer=settings.jwt_issuer, audience=settings.jwt_audience)
        except ValueError as error:
            raise AccessError(str(error)) from None
        jwks_file = JwksFile(settings.jwt_jwks_file) if settings.jwt_jwks_file is not None else None
        if jwks_file is not None and (keys := await asyncio.to_thread(jwks_file.poll)) is not None:
            tokens = tokens.with_jwks(keys)
        edition = await asyncio.to_thread(store.edition)
        directory = await asyncio.to_thread(store.load)
        gate = Gate(
            directory,
            tokens,
            MovingWindow(monotonic),
            allowed_addresses=settings.allowed_addresses,
            rate_limit=settings.rate_limit_per_minute,
            anonymous_rate_limit=settings.anonymous_rate_limit_per_minute,
            market_streams_public=settings.market_streams_public,
            clock=clock,
            sessions=Sessions(secret),
        )
        service = AccessService(gate, tokens, audit, token_seconds=settings.token_seconds, clock=clock)
        access = Access(gate, service, audit, [])
        watcher = _Watcher(access, store, jwks_file, directory=directory, edition=edition, tokens=tokens)
        async with asyncio.TaskGroup() as loops:
            tasks = [
                loops.create_task(watcher.run(), name="access.watch"),
                loops.create_task(_review(access), name="access.review"),
            ]
            try:
                yield access
            finally:
                for task in tasks:
                    task.cancel()
    finally:
        await asyncio.to_thread(audit.close)
        await asyncio.to_thread(store.close)


class _Watcher:
    """Brings the gate up to date with the store and the JWKS file."""

    def __init__(
        self,
        access: Access,
        store: DirectorySource,
        jwks_file: JwksFile | None,
        *,
        directory: Directory,
        edition: int,
        tokens: Tokens,
    ) -> None:
        self._access = access
        self._store = store
        self._jwks_file = jwks_file
        self._directory = directory
        self._edition = edition
        self._tokens = tokens
        self._failing: set[str] = set()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self._try("accounts", self._look_at_store)
            await self._try("jwks", self._look_at_jwks)

    async def _try(self, what: str, look: Callable[[], Awaitable[None]]) -> None:
        """What was known goes on to count: a damaged file must not lock everybody out, nor let anybody in."""
        try:
            await look()
        except Exception as error:
            if what not in self._failing:
                expected = isinstance(error, AccessError | JwksError | OSError)
                log.error("access.not_current", what=what, error=str(error), exc_info=None if expected else error)
            self._failing.add(what)
        else:
            self._failing.discard(what)

    async def _look_at_store(self) -> None:
        # Before it is loaded: what changes meanwhile must show as another edition afterwards.
        edition = await asyncio.to_thread(self._store.edition)
        if edition != self._edition:
            self._directory = await asyncio.to_thread(self._store.load)
            self._edition = edition
            self._replace()

    async def _look_at_jwks(self) -> None:
        if self._jwks_file is not None and (keys := await asyncio.to_thread(self._jwks_file.poll)) is not None:
            self._tokens = self._tokens.with_jwks(keys)
            self._replace()

    def _replace(self) -> None:
        self._access.gate.replace(self._directory, self._tokens)
        log.info("access.changed")


async def _review(access: Access) -> None:
    """Apart from looking for changes, which waits for the disk: time alone ends tokens, too."""
    while True:
        await asyncio.sleep(POLL_SECONDS)
        for watcher in access.watchers:
            try:
                watcher()
            except Exception as error:
                log.error("access.review_failed", exc_info=error)
