"""The gRPC server: the rooms' services, health and reflection, on a unix socket and a loopback port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from entasis_engine.rpc.pipeline import Pipeline

# What is larger than this gRPC refuses by itself, with a status but without our details.
MESSAGE_BYTES_MAX = 4 * 1024 * 1024

OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_concurrent_streams", 1000),
    # Envoy refuses headers beyond 60 KiB in our words; gRPC's own limit of 8 KiB would come first and say others.
    ("grpc.max_metadata_size", 128 * 1024),
    ("grpc.absolute_max_metadata_size", 256 * 1024),
    # Two engines on one port would share its calls unevenly and hide that the port was taken.
    ("grpc.so_reuseport", 0),
    # A client that vanished without a word is noticed within a minute and a half.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 30_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class PortTakenError(Exception):
    """The address to listen on is in use, or may not be used."""


@dataclass(frozen=True)
class Server:
    """A server that listens."""

    port: int
    """The loopback port; 0 where it listens on the unix socket alone."""


@asynccontextmanager
async def open_server(
    pipeline: Pipeline,
    *,
    host: str,
    port: int | None,
    unix_path: str | None,
    drain_seconds: float,
    notice_seconds: float = 0.0,
) -> AsyncIterator[Server]:
    """Serve until the end; then say NOT_SERVING, for `notice_seconds` go on serving those who have not heard it, end
    streams, and let calls in flight finish within `drain_seconds`.
    """
    server = grpc.aio.server(options=OPTIONS)
    health_service = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_service, server)
    reflected = [*pipeline.service_names, health.SERVICE_NAME, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(reflected, server)
    server.add_generic_rpc_handlers([pipeline])
    if unix_path is not None:
        _listen(server, f"unix:{unix_path}")
    bound = _listen(server, f"{f'[{host}]' if ':' in host else host}:{port}") if port is not None else 0
    await server.start()
    for name in ("", *pipeline.service_names):
        await health_service.set(name, health_pb2.HealthCheckResponse.SERVING)
    try:
        yield Server(bound)
    finally:
        await health_service.enter_graceful_shutdown()
        await asyncio.sleep(notice_seconds)
        pipeline.end_streams()
        await server.stop(drain_seconds)


def _listen(server: Any, address: str) -> int:
    try:
        return int(server.add_insecure_port(address))
    except RuntimeError:
        raise PortTakenError(
            f"Cannot listen on {address}: something else does. End it, or choose another with ENTASIS_GRPC_PORT."
        ) from None
