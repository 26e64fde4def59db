"""Who may open a WebSocket, and what those are told who may not: the body that REST gives."""

from __future__ import annotations

import http

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from entasis_engine.errors import EntasisError, Language, language_of
from entasis_engine.settings import Settings
from entasis_engine.websocket import metrics, protocol

PATH = "/ws/market"


def address_of(connection: ServerConnection, request: Request) -> str:
    """The client's address: what Envoy states on the unix socket, and the peer's own anywhere else."""
    peer = connection.remote_address
    if isinstance(peer, tuple):
        return str(peer[0])
    return request.headers.get("x-client-ip", "")


def refusal(request: Request, settings: Settings, clients: int, clients_of_address: int) -> EntasisError | None:
    """Why a handshake is refused, if it is. Who may connect is decided here and nowhere else.

    Args:
        clients: how many WebSockets are open.
        clients_of_address: how many of them the same address has.
    """
    if request.path.partition("?")[0] != PATH:
        return EntasisError("NOTHING_HERE")
    if clients >= settings.websocket_clients_max:
        # Not this client's doing, and a balancer should try the next bridge: 503 rather than 429.
        return EntasisError("UNAVAILABLE")
    if clients_of_address >= settings.websocket_clients_per_address_max:
        return protocol.too_many(settings.websocket_clients_per_address_max, protocol.CONNECTIONS_PER_ADDRESS)
    return None


def language_asked(request: Request) -> Language:
    """The language of everything that this client is told."""
    return language_of(", ".join(request.headers.get_all("Accept-Language")))


def answer(connection: ServerConnection, request: Request, error: EntasisError) -> Response:
    """The refusal as an HTTP response."""
    response = connection.respond(http.HTTPStatus(error.entry.http), "")
    _fill(response, error, language_asked(request))
    if error.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response


def complete(connection: ServerConnection, request: Request, response: Response) -> None:
    """Give the library's own refusals, such as of a request that is no WebSocket handshake, the same kind of body."""
    if response.status_code != http.HTTPStatus.SWITCHING_PROTOCOLS and "x-error-code" not in response.headers:
        _fill(response, protocol.field_fault("handshake"), language_asked(request))


def _fill(response: Response, error: EntasisError, language: Language) -> None:
    metrics.REFUSED.labels(error.entry.reason).inc()
    response.body = protocol.handshake_body(error, language)
    for name, value in (
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(response.body))),
        ("x-error-code", error.entry.reason),
    ):
        response.headers.pop(name, None)
        response.headers[name] = value
