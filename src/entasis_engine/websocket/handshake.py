"""Who may open a WebSocket, and what those are told who may not: the body that REST gives."""

from __future__ import annotations

import http
import re
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence

import structlog
from google.rpc import error_details_pb2, status_pb2
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from entasis_engine.addresses import normalise
from entasis_engine.calls import REQUEST_ID_CHARACTERS_MAX
from entasis_engine.errors import CATALOGUE, EntasisError, Language, language_of
from entasis_engine.settings import Settings
from entasis_engine.websocket import metrics, protocol
from entasis_engine.websocket.access import Credentials
from entasis_engine.websocket.connection import SUBPROTOCOL

PATH = "/ws/market"
ADDRESS_UNKNOWN = "unknown"
"""Told of a client whose address nobody stated: it is on no list, and without any the client would pass for a part of
the engine.
"""
ORIGIN_CHARACTERS_SHOWN = 128
WHITESPACE = " \t"
"""What may stand around a header's value (RFC 9110, section 5.6.3). What Unicode has besides is part of the value."""

_SUBPROTOCOL_HEADER = "Sec-WebSocket-Protocol"
_TOKEN_PREFIX = "bearer."  # noqa: S105 - what comes before one
_KEY_PREFIX = "key."
_FORMS: Mapping[str, str] = {
    "Authorization": "'Bearer <token>'",
    "X-API-Key": "<key>",
    _SUBPROTOCOL_HEADER: f"'{SUBPROTOCOL}, {_TOKEN_PREFIX}<token>' or '{SUBPROTOCOL}, {_KEY_PREFIX}<key>'",
}
_SUBPROTOCOL_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110
_CREDENTIAL = re.compile(protocol.CREDENTIAL_PATTERN)
_DEFAULT_PORT = re.compile(r"^(http://[^/]+):80$|^(https://[^/]+):443$")
_HTTP: Mapping[int, int] = {entry.code: entry.http for entry in CATALOGUE.values()}

_log = structlog.get_logger(__name__)


def address_of(connection: ServerConnection, request: Request) -> str:
    """The client's address: what Envoy states on the unix socket, and the peer's own anywhere else."""
    peer = connection.remote_address
    if isinstance(peer, tuple):
        stated = [str(peer[0])]
    else:  # None where the socket is closed already: such a client is not believed
        stated = [] if peer is None else request.headers.get_all("x-client-ip")
    return (normalise(stated[0]) if len(stated) == 1 else "") or ADDRESS_UNKNOWN


def refusal(
    request: Request, settings: Settings, origins: Collection[str], clients: int, clients_of_address: int
) -> EntasisError | None:
    """Why a handshake is refused, if it is, by what the bridge knows itself. Credentials are the engine's to judge.

    Args:
        origins: those whose pages may connect, as `allowed_origins` has them.
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
    # Browsers say which page wants to connect, and cannot be made to lie; others send no origin and are not asked.
    for origin in request.headers.get_all("Origin"):
        if origins and _plain_origin(origin) not in origins:
            shown = origin[:ORIGIN_CHARACTERS_SHOWN].encode("ascii", "replace").decode("ascii")
            return EntasisError("ORIGIN_REFUSED", origin=shown)
    return None


def allowed_origins(settings: Settings) -> frozenset[str]:
    """The origins that are allowed, in the one form that they are compared in; empty where all are."""
    return frozenset(map(_plain_origin, settings.websocket_origins))


def _plain_origin(origin: str) -> str:
    """Scheme and host regard no case, and browsers leave out the scheme's own port."""
    return _DEFAULT_PORT.sub(r"\1\2", origin.strip().lower())


def take_credentials(request: Request) -> Credentials | EntasisError:
    """The credentials of a handshake, or what is wrong with them.

    They are removed from the request: the library keeps it as long as the socket is open.
    """
    headers = request.headers
    sent = {name: headers.get_all(name) for name in _FORMS}
    for name, values in sent.items():
        if values:
            del headers[name]
    parts = [part.strip(WHITESPACE) for value in sent[_SUBPROTOCOL_HEADER] for part in value.split(",")]
    offers = list(filter(None, parts))
    if SUBPROTOCOL in offers:
        headers[_SUBPROTOCOL_HEADER] = SUBPROTOCOL
    tokens = _after(_TOKEN_PREFIX, offers)
    keys = _after(_KEY_PREFIX, offers)
    if (tokens or keys) and SUBPROTOCOL not in offers:
        return _malformed(_SUBPROTOCOL_HEADER)
    for found, header, own, characters_max in (
        (tokens, "Authorization", map(_bearer, sent["Authorization"]), protocol.TOKEN_CHARACTERS_MAX),
        (keys, "X-API-Key", (value.strip(WHITESPACE) for value in sent["X-API-Key"]), protocol.KEY_CHARACTERS_MAX),
    ):
        source = header if sent[header] else _SUBPROTOCOL_HEADER
        found.update(own)
        if len(found) > 1 or not all(len(one) <= characters_max and _CREDENTIAL.match(one) for one in found):
            return _malformed(source)
    if not all(map(_SUBPROTOCOL_NAME.fullmatch, offers)):
        return protocol.field_fault("handshake")
    return Credentials(token="".join(tokens), api_key="".join(keys))


def _after(prefix: str, offers: Iterable[str]) -> set[str]:
    return {offer.removeprefix(prefix) for offer in offers if offer.startswith(prefix)}


def _bearer(authorization: str) -> str:
    """The token; empty, which no token is, where there is none."""
    scheme, _, token = authorization.strip(WHITESPACE).partition(" ")
    return token.lstrip(" ") if scheme.lower() == "bearer" else ""


def _malformed(header: str) -> EntasisError:
    return EntasisError("CREDENTIAL_MALFORMED", header=header, form=_FORMS[header])


def language_asked(request: Request) -> Language:
    """The language of everything that this client is told."""
    return language_of(", ".join(request.headers.get_all("Accept-Language")))


def request_id(request: Request) -> str:
    """The client's own name for the handshake; empty where it gave none that can be passed on."""
    given: Sequence[str] = request.headers.get_all("x-request-id")
    if len(given) != 1 or len(given[0]) > REQUEST_ID_CHARACTERS_MAX:
        return ""
    return given[0] if given[0].isascii() and given[0].isprintable() else ""


def answer(
    connection: ServerConnection,
    request: Request,
    problem: EntasisError | status_pb2.Status,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The refusal as an HTTP response.

    Args:
        headers: what else it is to say.
    """
    code = problem.entry.http if isinstance(problem, EntasisError) else _HTTP.get(problem.code, 500)
    response = connection.respond(http.HTTPStatus(code), "")
    _fill(response, problem, language_asked(request))
    if (retry_after_seconds := _retry_after_seconds(problem)) is not None:
        response.headers["Retry-After"] = str(retry_after_seconds)
    if code == http.HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    response.headers.update(headers or {})
    return response


def complete(connection: ServerConnection, request: Request, response: Response) -> None:
    """Give the library's own refusals, such as of a request that is no WebSocket handshake, the same kind of body."""
    if response.status_code == http.HTTPStatus.SWITCHING_PROTOCOLS or "x-error-code" in response.headers:
        return
    error = protocol.field_fault("handshake")
    if response.status_code == http.HTTPStatus.INTERNAL_SERVER_ERROR:  # a defect, of which the library has logged more
        error = EntasisError("INTERNAL", request_id=uuid.uuid4().hex)
        _log.error("websocket_handshake_defect", **error.metadata)
    _fill(response, error, language_asked(request))


def _fill(response: Response, problem: EntasisError | status_pb2.Status, language: Language) -> None:
    reason = protocol.reason_of(problem)
    metrics.REFUSED.labels(reason).inc()
    response.body = protocol.handshake_body(problem, language)
    for name, value in (
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(response.body))),
        ("x-error-code", reason),
    ):
        response.headers.pop(name, None)
        response.headers[name] = value


def _retry_after_seconds(problem: EntasisError | status_pb2.Status) -> int | None:
    if isinstance(problem, EntasisError):
        return problem.retry_after_seconds
    retry = error_details_pb2.RetryInfo()
    if not any(detail.Unpack(retry) for detail in problem.details):
        return None
    return int(retry.retry_delay.seconds) + int(retry.retry_delay.nanos > 0)
