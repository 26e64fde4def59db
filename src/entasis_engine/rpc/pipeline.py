"""The one interceptor: it wraps every method in the stages, translates every error, and validates every request.

grpc.aio gives an interceptor nothing but the method's handler, so the handler is wrapped, once per method.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import grpc
import structlog
from google.protobuf.message import Message
from grpc_status import rpc_status

from entasis_engine.calls import Call
from entasis_engine.errors import EntasisError
from entasis_engine.rpc.stages import Stage

log = structlog.get_logger()

# grpc's stubs describe its blocking server; grpc.aio's handlers and contexts are the same classes with coroutines.
Handler = Any
Context = Any


class Pipeline(grpc.aio.ServerInterceptor):
    """Around every call. Nothing but a status of the catalogue ever leaves it."""

    def __init__(self, stages: Sequence[Stage], *, deadline_seconds: float) -> None:
        self._stages = stages
        self._deadline_seconds = deadline_seconds
        self._wrapped: dict[str, Handler] = {}
        self._streams: set[asyncio.Task[None]] = set()
        self._draining = False

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Handler | None]], details: Any
    ) -> Handler:
        wrapped = self._wrapped.get(details.method)
        if wrapped is None:
            handler = await continuation(details)
            wrapped = self._wrap(details.method, handler)
            if handler is not None:  # unknown names are without number, so they are not remembered
                self._wrapped[details.method] = wrapped
        return wrapped

    def end_streams(self) -> None:
        """End every open stream with UNAVAILABLE: they would never end by themselves."""
        self._draining = True
        for task in self._streams:
            task.cancel()

    def _wrap(self, method: str, handler: Handler | None) -> Handler:
        if handler is None:
            return grpc.unary_unary_rpc_method_handler(self._unary(method, _no_such_rpc(method)))
        if handler.request_streaming:  # reflection alone; it answers for itself
            return handler
        if handler.response_streaming:
            # Our own streams are plain coroutines that write; generators are the libraries' (health's Watch).
            if getattr(handler.unary_stream, "is_ours", False):
                return grpc.unary_stream_rpc_method_handler(
                    self._stream(method, handler.unary_stream),
                    handler.request_deserializer,
                    handler.response_serializer,
                )
            return handler
        return grpc.unary_unary_rpc_method_handler(
            self._unary(method, handler.unary_unary), handler.request_deserializer, handler.response_serializer
        )

    def _unary(self, method: str, behaviour: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        takes_call = getattr(behaviour, "is_ours", False)

        async def wrapped(request: Any, context: Context) -> Any:
            call = _call(method, context)
            with self._around(call, streamed=False):
                try:
                    for stage in self._stages:
                        stage.start(call)
                    async with asyncio.timeout(self._deadline_seconds):
                        return await behaviour(request, call if takes_call else context)
                except grpc.aio.AbortError:
                    raise
                except Exception as error:
                    call.error = self._translated(error, call)
            return await _abort(context, call, call.error)

        return wrapped

    def _stream(self, method: str, behaviour: Callable[..., Any]) -> Callable[..., Awaitable[None]]:
        async def wrapped(request: Any, context: Context) -> None:
            call = _call(method, context)
            task = cast("asyncio.Task[None]", asyncio.current_task())
            self._streams.add(task)
            with self._around(call, streamed=True):
                try:
                    for stage in self._stages:
                        stage.start(call)
                    with behaviour(request, call) as batches:
                        # At once, so that a client knows that the stream stands before there is anything to send.
                        await context.send_initial_metadata(())
                        while True:
                            await context.write(await batches.take())
                except asyncio.CancelledError:
                    if not self._draining:
                        call.cancelled = True
                        raise
                    task.uncancel()
                    call.error = EntasisError("UNAVAILABLE")
                except Exception as error:
                    call.error = self._translated(error, call)
                finally:
                    self._streams.discard(task)
            await _abort(context, call, call.error)

        return wrapped

    @contextmanager
    def _around(self, call: Call, *, streamed: bool) -> Iterator[None]:
        try:
            yield
        except asyncio.CancelledError:
            call.cancelled = True
            raise
        finally:
            for stage in reversed(self._stages):
                stage.end(call, streamed=streamed)

    def _translated(self, error: Exception, call: Call) -> EntasisError:
        if isinstance(error, EntasisError):
            return error
        if isinstance(error, TimeoutError):
            return EntasisError("TOO_SLOW")
        log.error("call.failed", exc_info=error)
        return EntasisError("INTERNAL", request_id=call.request_id)


def _call(method: str, context: Context) -> Call:
    return Call(method, dict(context.invocation_metadata() or ()), peer=context.peer())


async def _abort(context: Context, call: Call, error: EntasisError | None) -> None:
    error = error or EntasisError("INTERNAL", request_id=call.request_id)
    status = rpc_status.to_status(error.status(call.language))
    await context.abort(
        status.code,
        status.details,
        (*status.trailing_metadata, ("x-error-code", error.entry.reason), ("x-request-id", call.request_id)),
    )


def _no_such_rpc(method: str) -> Callable[..., Awaitable[Message]]:
    async def refuse(_request: Any, _call: Call) -> Message:
        raise EntasisError("NO_SUCH_RPC", method=method[:128])

    refuse.is_ours = True  # type: ignore[attr-defined]
    return refuse
