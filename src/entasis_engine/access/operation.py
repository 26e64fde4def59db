"""Keeping access current: what the command line changes takes hold in the running engine within seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from entasis_engine.access.audit import AuditLog
from entasis_engine.access.gate import Gate
from entasis_engine.access.limits import MovingWindow
from entasis_engine.access.service import AccessService
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
        gate = Gate(
            await asyncio.to_thread(store.load),
            tokens,
            MovingWindow(monotonic),
            allowed_addresses=settings.allowed_addresses,
            rate_limit=settings.rate_limit_per_minute,
            anonymous_rate_limit=settings.anonymous_rate_limit_per_minute,
            market_streams_public=settings.market_streams_public,
            clock=clock,
        )
        service = AccessService(gate, tokens, audit, token_seconds=settings.token_seconds, clock=clock)
        access = Access(gate, service, audit, [])
        watcher = _Watcher(access, store, jwks_file, tokens, edition)
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
        self, access: Access, store: AccessStore, jwks_file: JwksFile | None, tokens: Tokens, edition: int
    ) -> None:
        self._access = access
        self._store = store
        self._jwks_file = jwks_file
        self._tokens = tokens
        self._edition = edition
        self._tokens_waiting: Tokens | None = None
        """With the keys of the JWKS file, which gives them once, and not yet in force."""
        self._failing = False

    async def run(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self._look()
            except Exception as error:
                # What was known goes on to count: a damaged file must not lock everybody out, nor let anybody in.
                if not self._failing:
                    expected = isinstance(error, AccessError | JwksError | OSError)
                    log.error("access.not_current", error=str(error), exc_info=None if expected else error)
                self._failing = True
            else:
                self._failing = False

    async def _look(self) -> None:
        edition = await asyncio.to_thread(self._store.edition)
        if self._jwks_file is not None and (keys := await asyncio.to_thread(self._jwks_file.poll)) is not None:
            self._tokens_waiting = self._tokens.with_jwks(keys)
        if edition != self._edition or self._tokens_waiting is not None:
            directory = await asyncio.to_thread(self._store.load)
            self._tokens = self._tokens_waiting or self._tokens
            self._access.gate.replace(directory, self._tokens)
            self._edition, self._tokens_waiting = edition, None
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
