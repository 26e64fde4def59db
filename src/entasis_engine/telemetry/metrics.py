"""Prometheus metrics of calls and of the market, served on a loopback port."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics, start_http_server

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series beside each counter, which nobody asks for

CALLS = Counter("entasis_calls_total", "Calls that ended, by method and outcome", ["method", "code"])
CALL_SECONDS = Histogram(
    "entasis_call_seconds",
    "Time from a unary call's arrival to its answer",
    ["method"],
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 10),
)
STREAMS_OPEN = Gauge("entasis_streams_open", "Streams that are open", ["method"])
EVENTS = Counter("entasis_feed_events_total", "Events that the feed gave", ["exchange"])
CANDLES_CLOSED = Counter("entasis_candles_closed_total", "Candles that closed", ["interval", "complete"])
CONFLATED = Counter("entasis_stream_updates_conflated_total", "Updates left out for slow gRPC readers")

# Looking a child up by its labels costs more than counting, so the children are remembered.
calls = cache(CALLS.labels)
call_seconds = cache(CALL_SECONDS.labels)
candles_closed = cache(CANDLES_CLOSED.labels)
streams_open = cache(STREAMS_OPEN.labels)


@contextmanager
def serve_metrics(host: str, port: int) -> Iterator[int]:
    """Serve the metrics over HTTP, in a thread of their own; gives the port, which 0 leaves to the system."""
    server, thread = start_http_server(port, host)
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
