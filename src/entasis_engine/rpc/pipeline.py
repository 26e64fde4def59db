"""Around every call: the stages, validation by the contract, and the translation of every error.

Handlers are wrapped once, when they are registered, and not by grpc.aio's interceptors, which cost about as much again
as a bare call (docs/decisions/0003-handlers-are-wrapped-once.md).
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol, cast

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from grpc_status import rpc_status

from entasis_engine.access.needs import ANYONE, Need, need_of
from entasis_engine.calls import Call
from entasis_engine.errors import EntasisError
from entasis_engine.rpc import contract
from entasis_engine.rpc.guard import Guard
from entasis_engine.rpc.stages import Stage
from entasis_engine.telemetry import metrics

log = structlog.get_logger()

OPEN_MESSAGES_MAX = 1_000
"""Of one stream of gRPC's own services; whoever lists and describes everything needs a tenth."""
REQUEST_BYTES_MAX = 65_536
"""As Envoy has it; the largest request of the contract is a tenth of this."""

# grpc's stubs describe its blocking server; grpc.aio's handlers and contexts are the same classes with coroutines.
Handler = Any
Context = Any


class Servicer(Protocol):
    """A room's servicer: each RPC of the descriptor is a method by its name in snake case, over (request, call).

    A unary method gives a message, the message's bytes where they are ready, or a coroutine that comes to either where
    it has to wait. A streaming method gives a context manager of `Batches`.
    """

    DESCRIPTOR: ServiceDescriptor


class Pipeline(grpc.GenericRpcHandler):
    """Every method of some servicers, wrapped. Nothing but a status of the catalogue ever leaves it as an error.

    It answers for any name, so that an unknown RPC is refused in the same shape; register it last.
    """

    def __init__(
        self,
        servicers: Sequence[Servicer],
        stages: Sequence[Stage],
        guard: Guard,
        *,
        deadline_seconds: float,
        streams_max: int = 100,
    ) -> None:
        """
        Args:
            deadline_seconds: longest that a unary call may take.
            streams_max: open streams of one caller.

        Raises `UndeclaredError` for an RPC whose contract does not say who may call it.
        """
        self.service_names = [servicer.DESCRIPTOR.full_name for servicer in servicers]
        self._stages = stages
        self._guard = guard
        self._stages_reversed = tuple(reversed(stages))
        self._deadline_seconds = deadline_seconds
        self._streams: dict[asyncio.Task[None], Call] = {}
        self._streams_max = streams_max
        self._open: Counter[str] = Counter()
        """How many of them each caller has."""
        self._draining = False
        self._handlers = {
            f"/{servicer.DESCRIPTOR.full_name}/{method.name}": self._handler(servicer, method)
            for servicer in servicers
            for method in servicer.DESCRIPTOR.methods
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        """The handler of a method, by its full name."""
        method = str(handler_call_details.method)
        return self._handlers.get(method) or self._refusing(method)

    def add_open(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Serve what gRPC brings with it and our contract does not have, such as the health check: to anyone, as far as
        the address list and the rate limit let them.
        """
        for method, handler in handlers.items():
            name = f"/{service}/{method}"
            self._handlers[name] = self._guarded(name, handler)

    def end_streams(self) -> None:
        """End every open stream with UNAVAILABLE: they would never end by themselves."""
        self._draining = True
        for task in self._streams:
            task.cancel()

    def review_streams(self) -> None:
        """End every open stream whose caller has lost the right to it since it began."""
        for task, call in self._streams.items():
            if call.error is None:
                call.error = self._guard.ended(call)
                if call.error is not None:
                    task.cancel()

    def _handler(self, servicer: Servicer, method: MethodDescriptor) -> Handler:
        name = f"/{servicer.DESCRIPTOR.full_name}/{method.name}"
        need = need_of(method)
        behaviour = _validated(getattr(servicer, contract.snake_case(method.name)), method)
        # Requests come as bytes, so that decoding and validation happen in here and fail in our words.
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(self._stream(name, need, behaviour), None, None)
        return grpc.unary_unary_rpc_method_handler(self._unary(name, need, behaviour), None, None)

    def _refusing(self, method: str) -> Handler:
        def refuse(_request: bytes, _call: Call) -> bytes:
            raise EntasisError("NO_SUCH_RPC", method=method[:128])

        return grpc.unary_unary_rpc_method_handler(self._unary("unknown", ANYONE, refuse), None, None)

    def _unary(self, method: str, need: Need, behaviour: Callable[[bytes, Call], Any]) -> Any:
        async def serve(request: bytes, context: Context) -> bytes:
            call = Call(method, context.invocation_metadata() or (), context.peer())
            answer: Any = b""
            try:
                await self._admit(call, need, context)
                answer = behaviour(request, call)
                if asyncio.iscoroutine(answer):
                    async with asyncio.timeout(self._deadline_seconds):
                        answer = await answer
                if not isinstance(answer, bytes):
                    answer = cast("Message", answer).SerializeToString()
            except asyncio.CancelledError:
                call.cancelled = True
                self._end(call, streamed=False)
                raise
            except Exception as error:
                call.error = _translated(error, call)
            self._end(call, streamed=False)
            if call.error is not None:
                await _abort(context, call, call.error)
            if call.original_path:
                await context.send_initial_metadata(_told(call))  # REST gets no trailers
            else:
                context.set_trailing_metadata(_told(call))
            return cast("bytes", answer)

        return serve

    def _stream(self, method: str, need: Need, behaviour: Callable[[bytes, Call], Any]) -> Any:
        async def serve(request: bytes, context: Context) -> None:
            call = Call(method, context.invocation_metadata() or (), context.peer())
            task = cast("asyncio.Task[None]", asyncio.current_task())
            try:
                if self._draining:
                    raise EntasisError("UNAVAILABLE")
                await self._admit(call, need, context)
                self._enter(task, call)
                with behaviour(request, call) as batches, metrics.streams_open(method).track_inprogress():
                    # At once, so that a client knows that the stream stands before there is anything to send.
                    await context.send_initial_metadata(_told(call))
                    while True:
                        await context.write(await batches.take())
            except asyncio.CancelledError:
                self._cancelled(task, call, streamed=True)
            except Exception as error:
                call.error = _translated(error, call)
            finally:
                self._leave(task)
            self._end(call, streamed=True)
            await _abort(context, call, call.error or EntasisError("UNAVAILABLE"))

        return serve

    def _guarded(self, method: str, handler: Handler) -> Handler:
        streaming = (handler.request_streaming, handler.response_streaming)
        kind = "_".join("stream" if streams else "unary" for streams in streaming)
        inner = getattr(handler, kind)

        async def serve(request: Any, context: Context) -> Any:
            call = Call(method, context.invocation_metadata() or (), context.peer())
            task = cast("asyncio.Task[None]", asyncio.current_task())
            answer: Any = None
            try:
                await self._admit(call, ANYONE, context)
                context.set_trailing_metadata(_told(call))
                if not handler.response_streaming:
                    answer = await inner(request, context)
                else:
                    self._enter(task, call)
                    given = _bounded(request) if handler.request_streaming else request
                    if not inspect.isasyncgenfunction(inner):
                        await inner(given, context)
                    else:
                        async for one in inner(given, context):
                            await context.write(one)
            except asyncio.CancelledError:
                self._cancelled(task, call, streamed=handler.response_streaming)
            except Exception as error:
                call.error = _translated(error, call)
            finally:
                self._leave(task)
            self._end(call, streamed=handler.response_streaming)
            if call.error is not None:
                await _abort(context, call, call.error)
            return answer

        return handler._replace(**{kind: serve})

    async def _admit(self, call: Call, need: Need, context: Context) -> None:
        for stage in self._stages:
            stage.start(call)
        await self._guard.admit(call, need, context.auth_context)

    def _enter(self, task: asyncio.Task[None], call: Call) -> None:
        """Count a stream as open. Raises LIMIT_002 for one too many of its caller."""
        if call.bucket:
            if self._open[call.bucket] >= self._streams_max:
                raise EntasisError("TOO_MANY", limit=str(self._streams_max), what="open streams")
            self._open[call.bucket] += 1
        self._streams[task] = call

    def _leave(self, task: asyncio.Task[None]) -> None:
        call = self._streams.pop(task, None)
        if call is not None and call.bucket:
            self._open -= Counter((call.bucket,))  # which forgets those that have none left

    def _cancelled(self, task: asyncio.Task[None], call: Call, *, streamed: bool) -> None:
        """Find out who ended a call: `review_streams` has set its error, `end_streams` says so, or the caller left."""
        if call.error is None and not (self._draining and streamed):
            call.cancelled = True
            self._end(call, streamed=streamed)
            raise asyncio.CancelledError
        task.uncancel()
        call.error = call.error or EntasisError("UNAVAILABLE")

    def _end(self, call: Call, *, streamed: bool) -> None:
        for stage in self._stages_reversed:
            try:
                stage.end(call, streamed=streamed)
            except Exception as error:  # what only looks on must not spoil the answer, nor tell the caller of itself
                log.error("stage.failed", stage=type(stage).__name__, exc_info=error)


def _validated(behaviour: Callable[[Any, Call], Any], method: MethodDescriptor) -> Callable[[bytes, Call], Any]:
    decode = contract.decoder(method)
    query_rules = contract.QueryRules(method)

    def validated(encoded: bytes, call: Call) -> Any:
        if len(encoded) > REQUEST_BYTES_MAX:
            raise EntasisError("TOO_LARGE", limit=str(REQUEST_BYTES_MAX))
        if call.original_path:
            query_rules.check(call.original_path)
            query_rules.check_body(call.body_fields)
        request = decode(encoded)
        if call.original_path:
            query_rules.check_request(call.original_path, request)
        return behaviour(request, call)

    return validated


def _translated(error: Exception, call: Call) -> EntasisError:
    if isinstance(error, EntasisError):
        return error
    if isinstance(error, TimeoutError):
        return EntasisError("TOO_SLOW")
    log.error("call.failed", exc_info=error)
    return EntasisError("INTERNAL", request_id=call.request_id)


async def _abort(context: Context, call: Call, error: EntasisError) -> None:
    status = rpc_status.to_status(error.status(call.language))
    told = [("x-error-code", error.entry.reason), ("x-request-id", call.request_id), *_told(call)]
    if error.entry.http == HTTPStatus.UNAUTHORIZED:
        told.append(("www-authenticate", "Bearer"))  # RFC 9110, section 11.6.1
    if error.retry_after_seconds is not None:
        told.append(("retry-after", str(error.retry_after_seconds)))
    await context.abort(status.code, status.details, (*status.trailing_metadata, *told))


def _told(call: Call) -> tuple[tuple[str, str], ...]:
    if call.allowance is None:
        return call.told
    limit, remaining, reset_seconds = call.allowance
    return (
        ("x-ratelimit-limit", str(limit)),
        ("x-ratelimit-remaining", str(remaining)),
        ("x-ratelimit-reset", str(reset_seconds)),
        *call.told,
    )


async def _bounded(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The requests of a stream, up to a number: only the first of them was counted as one."""
    count = 0
    async for request in requests:
        count += 1
        if count > OPEN_MESSAGES_MAX:
            raise EntasisError("TOO_MANY", limit=str(OPEN_MESSAGES_MAX), what="messages on one stream")
        yield request
