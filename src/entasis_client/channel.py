"""The connection: TLS, plaintext where it is harmless or allowed, and pings that notice a peer who is gone."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from pathlib import Path

import grpc

OPTIONS = (
    # A peer that vanished without a word is noticed within half a minute; the engine allows a ping every ten seconds.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),  # for as long as a market is silent
    # gRPC would wait for up to two minutes between attempts to connect; how often we try is for `retry` to say.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # which, despite its name, is how long one attempt may take
)

INSECURE_OPTIONS = (
    *OPTIONS,
    # gRPC would send even what is for this machine to the proxy of `http_proxy`, and the key with it, in the clear.
    ("grpc.enable_http_proxy", 0),
)


def opener(
    address: str, *, tls: bool = False, ca_file: Path | str | None = None, plaintext: bool = False
) -> Callable[[], grpc.aio.Channel]:
    """What opens a channel, to be called in the event loop that it is for.

    Args:
        address: `host:port`.
        ca_file: certificates (PEM) that the server's must be signed by; implies TLS.
        plaintext: no TLS, whatever the address.

    Raises ValueError where an address that is not on this machine is to be spoken to without TLS, but for `plaintext`.
    """
    if ca_file is not None or tls:
        if plaintext:
            raise ValueError("plaintext contradicts tls and ca_file: choose one")
        roots = None if ca_file is None else Path(ca_file).read_bytes()
        credentials = grpc.ssl_channel_credentials(root_certificates=roots)
        return lambda: grpc.aio.secure_channel(address, credentials, options=OPTIONS)
    if not plaintext and not is_local(address):
        raise ValueError(
            f"{address} is not on this machine, and without TLS everybody on the way could read the key: pass "
            "ca_file=… (the certificate of the server's authority), or tls=True (the system's authorities), or, in a "
            "network that you trust, plaintext=True"
        )
    return lambda: grpc.aio.insecure_channel(address, options=INSECURE_OPTIONS)


def is_local(address: str) -> bool:
    """Whether what is sent there stays on this machine: loopback, or a unix socket."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
