"""In place of the network and the clock: a channel that answers as told, and time that passes only by sleeping."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import betterproto2
import grpc

from entasis_client import Backoff, Entasis, methods
from entasis_client.calls import Method
from entasis_engine import errors

METHODS: dict[str, Method[Any, Any]] = {one.path: one for one in vars(methods).values() if isinstance(one, Method)}
BACKOFF = Backoff(first_seconds=0.1, longest_seconds=5.0)


class Time:
    """Seconds that pass only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@dataclass(frozen=True)
class Sent:
    """A call that was made."""

    rpc: str
    request: Any
    timeout: float | None
    metadata: dict[str, str]


@dataclass
class Channel:
    """Answers each RPC with what was put for it, in turn: a message, an exception, or a function of the call."""

    answers: defaultdict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    sent: list[Sent] = field(default_factory=list)
    calls: list[Stream] = field(default_factory=list)

    def put(self, rpc: str, *answers: Any) -> None:
        self.answers[rpc] += answers

    def of(self, rpc: str) -> list[Sent]:
        return [one for one in self.sent if one.rpc == rpc]

    def unary_unary(self, method: str, request_serializer: Any, response_deserializer: Any) -> Any:
        async def call(request: Any, *, timeout: float, metadata: Any) -> Any:
            sent = Sent(method.rpartition("/")[2], request_parsed(method, request), timeout, dict(metadata))
            self.sent.append(sent)
            answer = self.answers[sent.rpc].pop(0)
            answer = answer(sent) if callable(answer) and not isinstance(answer, betterproto2.Message) else answer
            if asyncio.iscoroutine(answer):
                answer = await answer
            if isinstance(answer, BaseException):
                raise answer
            return response_deserializer(bytes(answer))

        return call

    def unary_stream(self, method: str, request_serializer: Any, response_deserializer: Any) -> Any:
        def call(request: Any, *, metadata: Any) -> Stream:
            sent = Sent(method.rpartition("/")[2], request_parsed(method, request), None, dict(metadata))
            self.sent.append(sent)
            self.calls.append(Stream(self.answers[sent.rpc].pop(0)))
            return self.calls[-1]

        return call

    async def close(self) -> None:
        for call in self.calls:
            call.cancel()


def request_parsed(method: str, request: bytes) -> betterproto2.Message:
    """As the engine would see it."""
    parsed: betterproto2.Message = METHODS[method].request.parse(request)
    return parsed


class Stream:
    """A streaming call that gives these messages; an exception among them ends it, also as the first thing."""

    def __init__(self, script: Sequence[Any]) -> None:
        self._script = list(script)
        self.cancelled = False

    async def wait_for_connection(self) -> None:
        if self._script and isinstance(self._script[0], BaseException):
            raise self._script[0]

    async def __aiter__(self) -> AsyncIterator[Any]:
        for one in self._script:
            if isinstance(one, BaseException):
                raise one
            if callable(one) and not isinstance(one, betterproto2.Message):
                one()
                continue
            yield one

    def cancel(self) -> None:
        self.cancelled = True


def refused(case: str, **metadata: Any) -> grpc.aio.AioRpcError:
    """An error of the engine's catalogue, as it comes."""
    status = errors.EntasisError(case, **metadata).status()
    code = next(one for one in grpc.StatusCode if one.value[0] == status.code)
    return rpc_error(code, status.message, status.SerializeToString())


def rpc_error(code: grpc.StatusCode, words: str = "", details: bytes | None = None) -> grpc.aio.AioRpcError:
    """A status as grpc.aio raises it; without details it is one of the transport."""
    trailing = grpc.aio.Metadata(("x-request-id", "r-1"))
    if details is not None:
        trailing.add("grpc-status-details-bin", details)
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, words)


CUT = rpc_error(grpc.StatusCode.UNAVAILABLE, "Socket closed")
RESET = rpc_error(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")


def client(channel: Channel, time: Time, **settings: Any) -> Entasis:
    """A client over the fake channel, whose chance is seeded."""
    given: dict[str, Any] = {
        "api_key": "ek_1",
        "backoff": BACKOFF,
        "chance": random.Random(7),
        "channel": channel,
        "clock": time.clock,
        "sleep": time.sleep,
    }
    return Entasis(**given | settings)
