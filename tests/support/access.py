"""Keys for tests, and gRPC channels that send them."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import grpc

from entasis_engine.access.directory import SCOPES
from entasis_engine.access.needs import Need
from entasis_engine.access.store import AccessStore
from entasis_engine.calls import Call
from entasis_engine.times import system_clock

ACCOUNT = "tests"
GENEROUS = 1_000_000
"""Requests per minute: tests call more often than people do."""


def make_key(
    data_dir: Path,
    *,
    account: str = ACCOUNT,
    scopes: Collection[str] = SCOPES,
    rate_limit: int | None = GENEROUS,
    addresses: Collection[str] = (),
    lives: timedelta | None = None,
    now: datetime | None = None,
) -> str:
    """A new key of an account, which is made where there is none of the name."""
    store = AccessStore(data_dir / "access.db")
    now = now or system_clock()
    try:
        if store.load().account_named(account) is None:
            store.create_account(account, None, now)
        _, text = store.create_key(
            account, scopes, "made by a test", None if lives is None else now + lives, addresses, rate_limit, now
        )
        return text
    finally:
        store.close()


class Unguarded:
    """Lets everybody pass: for tests of what comes after the guard."""

    async def admit(self, call: Call, need: Need, auth_context: Callable[[], Any]) -> None:
        pass

    def ended(self, call: Call) -> None:
        return None


class _Details(
    namedtuple("_Details", ("method", "timeout", "metadata", "credentials", "wait_for_ready", "compression")),
    grpc.ClientCallDetails,
):
    """What grpc wants of a call's details; it offers no class of its own to make them."""


class _Blocking(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    def __init__(self, key: str) -> None:
        self._key = key

    def _with_key(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        metadata = [*(details.metadata or ()), ("x-api-key", self._key)]
        kept = (details.credentials, details.wait_for_ready, details.compression)
        return continuation(_Details(details.method, details.timeout, metadata, *kept), request)

    intercept_unary_unary = _with_key
    intercept_unary_stream = _with_key


class _UnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, key: str) -> None:
        self._key = key

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(_keyed(details, self._key), request)


class _UnaryStream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, key: str) -> None:
        self._key = key

    async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(_keyed(details, self._key), request)


def _keyed(details: Any, key: str) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*(details.metadata or ()), ("x-api-key", key))
    return grpc.aio.ClientCallDetails(
        details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
    )


def sending(key: str) -> list[grpc.aio.ClientInterceptor]:
    """For `grpc.aio.insecure_channel(…, interceptors=…)`: every call sends the key."""
    return [_UnaryUnary(key), _UnaryStream(key)]


def blocking_channel(target: str, key: str) -> grpc.Channel:
    """A blocking channel whose every call sends the key."""
    return grpc.intercept_channel(grpc.insecure_channel(target), _Blocking(key))
