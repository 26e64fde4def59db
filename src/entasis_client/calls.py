"""Calls over a channel: credentials, one deadline over all attempts, and errors as `EntasisError`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import betterproto2
import grpc

from entasis_client.errors import EntasisError, from_rpc, made
from entasis_client.retry import Backoff, may_repeat, pause_seconds
from entasis_client.values import encoded

Q = TypeVar("Q", bound=betterproto2.Message)
A = TypeVar("A", bound=betterproto2.Message)
Headers = Sequence[tuple[str, str]]
Clock = Callable[[], float]
"""Seconds that only grow, such as `time.monotonic`."""
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True)
class Method(Generic[Q, A]):
    """An RPC of the contract."""

    path: str
    request: type[Q]
    response: type[A]


class Channel(Protocol):
    """What is used of `grpc.aio.Channel`."""

    def unary_unary(self, method: str, request_serializer: Any, response_deserializer: Any) -> Any: ...

    def unary_stream(self, method: str, request_serializer: Any, response_deserializer: Any) -> Any: ...

    async def close(self) -> None: ...


class Credentials(Protocol):
    """Who calls."""

    async def headers(self, deadline: float) -> Headers:
        """What to send, by a deadline of the clock. Raises EntasisError where it has to be fetched and cannot be."""

    def renew_after(self, refused: Headers) -> bool:
        """Whether, after AUTH_001 for these headers, the next ones may be better."""


@dataclass(frozen=True)
class Timing:
    """How time and chance come in, so that tests may put their own."""

    clock: Clock
    sleep: Sleep
    chance: random.Random
    backoff: Backoff


class Calls:
    """Makes calls. It owns no task: every attempt and every wait is its caller's."""

    def __init__(self, open_channel: Callable[[], Channel], timing: Timing, *, language: str) -> None:
        self._open_channel = open_channel
        self._opened: Channel | None = None
        self._timing = timing
        self._language: Headers = [("accept-language", language)] if language else []
        self._unary: dict[str, Any] = {}
        self.closed = False

    async def unary(
        self,
        method: Method[Q, A],
        request: Q,
        credentials: Credentials,
        *,
        deadline: float,
        idempotency_key: str = "",
    ) -> A:
        """The answer, by a deadline of the clock, after as many attempts as fit. Raises EntasisError, also where the
        client is closed meanwhile; TypeError or ValueError for what the contract cannot carry; RuntimeError where the
        client was closed before.

        A write must have its idempotency key, which every attempt sends and the error names.
        """
        if self.closed:
            raise RuntimeError("the client is closed")
        try:
            return await self._attempts(method, encoded(request), credentials, deadline, idempotency_key)
        except EntasisError as error:
            error.idempotency_key = idempotency_key
            raise
        except (asyncio.CancelledError, grpc.aio.UsageError, RuntimeError):
            # What gRPC makes of a call whose channel is closed, and the above of a token that is asked for then.
            if not self.closed or is_cancelled():
                raise
            error = closed_meanwhile()
            error.idempotency_key = idempotency_key
            raise error from None

    async def _attempts(
        self, method: Method[Q, A], request: bytes, credentials: Credentials, deadline: float, idempotency_key: str
    ) -> A:
        call = self._multicallable(method)
        clock, attempt, renewed = self._timing.clock, 0, False
        failure: EntasisError | None = None
        while True:
            headers = await credentials.headers(deadline)
            metadata = (*self._language, *headers, *([("idempotency-key", idempotency_key)] if idempotency_key else []))
            remaining = deadline - clock()
            if remaining <= 0:  # which gRPC takes for no deadline at all
                raise failure or too_late("the call")
            try:
                return await call(request, timeout=remaining, metadata=metadata)  # type: ignore[no-any-return]
            except grpc.aio.AioRpcError as error:
                failure = translated(error)
            if failure.reason == "AUTH_001" and not renewed and credentials.renew_after(headers):
                renewed = True
                continue
            pause = pause_seconds(failure, attempt, self._timing.backoff, self._timing.chance)
            if not may_repeat(failure) or clock() + pause >= deadline:
                raise failure
            if not self.closed:
                await self._timing.sleep(pause)
            if self.closed:
                raise closed_meanwhile()
            attempt += 1

    def stream(self, method: Method[Q, A], request: Q, headers: Headers) -> Any:
        """A stream that has been asked for: a `grpc.aio.UnaryStreamCall` of A. Raises TypeError or ValueError for what
        the contract cannot carry.
        """
        call = self._channel().unary_stream(method.path, None, method.response.parse)
        return call(encoded(request), metadata=(*self._language, *headers))

    async def close(self) -> None:
        """End every call and the connection."""
        self.closed = True
        if self._opened is not None:
            await self._opened.close()

    def _channel(self) -> Channel:
        if self._opened is None:  # not before the first call, since a channel belongs to the loop it is opened in
            self._opened = self._open_channel()
        return self._opened

    def _multicallable(self, method: Method[Q, A]) -> Any:
        if method.path not in self._unary:
            # Requests come encoded: where a serializer raises, grpc.aio sends an empty request, which asks for all.
            self._unary[method.path] = self._channel().unary_unary(method.path, None, method.response.parse)
        return self._unary[method.path]


def translated(error: grpc.aio.AioRpcError) -> EntasisError:
    """gRPC's error as ours."""
    metadata = [(str(name), value) for name, value in error.trailing_metadata() or ()]
    return from_rpc(error.code(), error.details() or "", metadata)


def too_late(what: str) -> EntasisError:
    """The deadline passed while `what` was waited for."""
    return made(grpc.StatusCode.DEADLINE_EXCEEDED, f"{what} did not come about in time")


def closed_meanwhile() -> EntasisError:
    """The client was closed while a call was under way."""
    return made(grpc.StatusCode.CANCELLED, "the client was closed")


def is_cancelled() -> bool:
    """Whether somebody cancelled the task that this runs in. Closing a channel cancels its calls, and no task."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
