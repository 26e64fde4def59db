"""The gRPC server: the rooms' services, health and reflection, on a unix socket and a TCP port, there by TLS or on
loopback.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from entasis_engine.rpc.pipeline import Pipeline
from entasis_engine.tls import ServerTls, require_tls, server_credentials

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
    # A stranger who connects and then says nothing is not waited for as long as gRPC would: two minutes.
    ("grpc.server_handshake_timeout_ms", 10_000),
    # A client that vanished without a word is noticed within a minute and a half.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 30_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class ServerEndedError(Exception):
    """The server does not serve any more, and nobody has told it to end."""


class PortTakenError(Exception):
    """The address to listen on is in use, or may not be used."""


@dataclass(frozen=True)
class Server:
    """A server that listens."""

    port: int
    """The TCP port; 0 where it listens on the unix socket alone."""


@asynccontextmanager
async def open_server(
    pipeline: Pipeline,
    *,
    host: str,
    port: int | None,
    unix_path: str | None,
    tls: ServerTls | None = None,
    drain_seconds: float,
    notice_seconds: float = 0.0,
) -> AsyncIterator[Server]:
    """Serve until the end; then say NOT_SERVING, for `notice_seconds` go on serving those who have not heard it, end
    streams, and let calls in flight finish within `drain_seconds`.

    Args:
        unix_path: a socket for parts of the engine on this machine; only our user can open it, and it needs no TLS.
        tls: for the TCP port, which without it must be on loopback.
    """
    if port is not None:
        require_tls(host, tls)
    server = grpc.aio.server(options=OPTIONS)
    health_service = health.aio.HealthServicer()
    names = list(pipeline.service_names)
    reflected = reflection.aio.ReflectionServicer([*names, health.SERVICE_NAME, reflection.SERVICE_NAME])
    health_pb2_grpc.add_HealthServicer_to_server(health_service, _ThroughPipeline(pipeline))
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflected, _ThroughPipeline(pipeline))
    server.add_generic_rpc_handlers([pipeline])
    if unix_path is not None:
        _listen_privately(server, Path(unix_path))
    bound = _listen(server, f"{f'[{host}]' if ':' in host else host}:{port}", tls) if port is not None else 0
    await server.start()
    for name in ("", *names):
        await health_service.set(name, health_pb2.HealthCheckResponse.SERVING)
    async with asyncio.TaskGroup() as owner:
        watching = owner.create_task(_watch(server), name="rpc.server")
        try:
            yield Server(bound)
        finally:
            watching.cancel()
            await health_service.enter_graceful_shutdown()
            await asyncio.sleep(notice_seconds)
            pipeline.end_streams()
            await server.stop(drain_seconds)


async def _watch(server: Any) -> None:
    """Let an engine whose server has ended end, too, so that whoever supervises it starts it again."""
    # Waited for and not awaited: cancelled with us, it would cancel what `stop` waits for. It ends with the server.
    await asyncio.wait([asyncio.ensure_future(server.wait_for_termination())])
    raise ServerEndedError("The gRPC server has ended by itself; what gRPC wrote before says why. Start it again.")


class _ThroughPipeline:
    """In place of a server, where gRPC's own services are registered: they pass the pipeline's guard, too."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        self._pipeline.add_open(service, handlers)

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """The same handlers once more; the pipeline is the only generic one here."""


def _listen_privately(server: Any, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as probe:
        # gRPC would take the socket over from an engine that serves it.
        if probe.connect_ex(str(path)) == 0:
            raise PortTakenError(f"Cannot listen on {path}: an engine does already. End it, or choose another: --unix.")
    # The mode from the moment it is there: until a later chmod, others could connect.
    umask = os.umask(0o177)
    try:
        _listen(server, f"unix:{path}")
    finally:
        os.umask(umask)


def _listen(server: Any, address: str, tls: ServerTls | None = None) -> int:
    try:
        if tls is None:
            return int(server.add_insecure_port(address))
        return int(server.add_secure_port(address, server_credentials(tls)))
    except RuntimeError:
        raise PortTakenError(
            f"Cannot listen on {address}: something else does, or it is no address of this machine. End what does, or "
            "choose another with ENTASIS_GRPC_PORT or ENTASIS_HOST."
        ) from None
