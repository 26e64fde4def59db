"""What the bridge counts. The names are read by dashboards: change them as you would change an API."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

CLIENTS = Gauge("entasis_websocket_clients", "Open WebSockets.")
TOPICS = Gauge("entasis_websocket_topics", "Streams open towards the engine, however many clients each has.")
MESSAGES = Counter("entasis_websocket_messages_sent", "Data messages written to clients.", ["channel"])
CONFLATED = Counter("entasis_websocket_messages_conflated", "Data messages that slow clients did not get.", ["channel"])
SLOW = Counter("entasis_websocket_slow_clients", "Times a client fell behind, so that only the newest was kept.")
EXPELLED = Counter("entasis_websocket_expelled_clients", "Clients disconnected because they did not read.")
ENDED = Counter(
    "entasis_websocket_ended_clients",
    "Clients disconnected for their credentials or address, by error code.",
    ["reason"],
)
REFUSED = Counter("entasis_websocket_refused_handshakes", "Handshakes refused, by error code.", ["reason"])
REJECTED = Counter("entasis_websocket_rejected_messages", "Client messages not acted upon, by error code.", ["reason"])
LOST = Counter("entasis_websocket_upstream_losses", "Times an open stream to the engine broke.")
UNNOTED = Counter("entasis_websocket_unnoted_refusals", "Refusals that did not get into the audit log in time")
