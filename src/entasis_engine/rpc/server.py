"""The gRPC server: the rooms' services, health and reflection, on a unix socket and a loopback port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from entasis_engine.calls import Call
from entasis_engine.rpc import contract
from entasis_engine.rpc.pipeline import Pipeline

log = structlog.get_logger()

REQUEST_BYTES_MAX = 1024 * 1024

OPTIONS = (
    ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
    ("grpc.max_concurrent_streams", 1000),
    # Two engines on one port would share its calls unevenly and hide that the port was taken.
    ("grpc.so_reuseport", 0),
    # A client that vanished without a word is noticed within a minute and a half.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 30_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class Servicer(Protocol):
    """A room's servicer. Each RPC of the descriptor is a method by its name in snake case: unary ones are coroutines
    over (request, call), streaming ones give a context manager of `Batches`.
    """

    DESCRIPTOR: ServiceDescriptor


class PortTakenError(Exception):
    """The address to listen on is in use, or may not be used."""


@dataclass(frozen=True)
class Server:
    """A server that listens."""

    port: int
    """The loopback port; 0 where it listens on the unix socket alone."""


@asynccontextmanager
async def open_server(
    servicers: Sequence[Servicer],
    pipeline: Pipeline,
    *,
    host: str,
    port: int | None,
    unix_path: str | None,
    drain_seconds: float,
) -> AsyncIterator[Server]:
    """Serve until the end; then say NOT_SERVING, end streams, let calls in flight finish within `drain_seconds`."""
    server = grpc.aio.server(interceptors=[pipeline], options=OPTIONS)
    server.add_generic_rpc_handlers([_handlers(servicer) for servicer in servicers])
    names = [servicer.DESCRIPTOR.full_name for servicer in servicers]
    health_service = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_service, server)
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    if unix_path is not None:
        _listen(server, f"unix:{unix_path}")
    bound = _listen(server, f"{f'[{host}]' if ':' in host else host}:{port}") if port is not None else 0
    await server.start()
    for name in ("", *names):
        await health_service.set(name, health_pb2.HealthCheckResponse.SERVING)
    try:
        yield Server(bound)
    finally:
        await health_service.enter_graceful_shutdown()
        pipeline.end_streams()
        await server.stop(drain_seconds)


def _listen(server: Any, address: str) -> int:
    try:
        return int(server.add_insecure_port(address))
    except RuntimeError:
        raise PortTakenError(
            f"Cannot listen on {address}: something else does. End it, or choose another with ENTASIS_GRPC_PORT."
        ) from None


def _handlers(servicer: Servicer) -> grpc.GenericRpcHandler:
    service = servicer.DESCRIPTOR
    return grpc.method_handlers_generic_handler(
        service.full_name, {method.name: _handler(servicer, method) for method in service.methods}
    )


def _handler(servicer: Servicer, method: MethodDescriptor) -> Any:
    behaviour = getattr(servicer, contract.snake_case(method.name))
    make = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
    # Requests arrive as bytes, so that decoding and validation happen inside the pipeline and fail in its words.
    return make(_validated(behaviour, method), request_deserializer=None, response_serializer=_serialised)


def _validated(behaviour: Callable[[Any, Call], Any], method: MethodDescriptor) -> Callable[[bytes, Call], Any]:
    decode = contract.decoder(method)
    query_rules = contract.QueryRules(method)

    def validated(encoded: bytes, call: Call) -> Any:
        if original_path := call.header("x-envoy-original-path"):
            query_rules.check(original_path)
        return behaviour(decode(encoded), call)

    validated.is_ours = True  # type: ignore[attr-defined]
    return validated


def _serialised(answer: Any) -> bytes:
    """Rooms may answer with bytes that are ready, since what is the same for every reader is encoded only once."""
    return answer if isinstance(answer, bytes) else answer.SerializeToString()
