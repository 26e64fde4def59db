"""The WebSocket server at /ws/market: sockets on one side, the engine's gRPC streams on the other.

The bridge is a client of the engine's contract and knows nothing else of it, so it may run beside it or elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http
import logging
import os
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeAlias, cast

import grpc
import structlog
from google.rpc import status_pb2
from websockets.asyncio.server import Server, ServerConnection, serve, unix_serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from entasis_engine.addresses import bucket_of
from entasis_engine.errors import CATALOGUE, EntasisError
from entasis_engine.settings import Settings
from entasis_engine.times import Clock, system_clock
from entasis_engine.websocket import handshake, metrics, protocol
from entasis_engine.websocket.access import Access, Credentials, Held, Opened, Refused, Session
from entasis_engine.websocket.connection import Connection
from entasis_engine.websocket.fanout import Client, Fanout, Topic, text_frame
from entasis_engine.websocket.limits import Limits, TokenBucket
from entasis_engine.websocket.protocol import Rejected, Result, Stream
from entasis_engine.websocket.upstream import Upstreams

_ADDRESS_REASON = CATALOGUE["ADDRESS_REFUSED"].reason

_log = structlog.get_logger(__name__)
# The library would log every connection's opening and closing; those are in the metrics.
_wire_log = logging.getLogger("entasis_engine.websocket.wire")
_wire_log.setLevel(logging.WARNING)

_Outcome: TypeAlias = EntasisError | status_pb2.Status | Topic
"""What a symbol of a subscribe came to: a failure, or the topic to attach to."""


class Bridge:
    """A running server. `open_bridge` makes it."""

    def __init__(
        self, settings: Settings, limits: Limits, channel: grpc.aio.Channel, clock: Clock, tasks: asyncio.TaskGroup
    ) -> None:
        self._settings = settings
        self._limits = limits
        self._clock = clock
        call_later = asyncio.get_running_loop().call_later
        self._fanout = Fanout(flush_seconds=settings.websocket_flush_seconds, call_later=call_later)
        self._upstreams = Upstreams(channel, self._fanout, limits, tasks, on_refused=self._on_refused)
        self._access = Access(channel, limits)
        self._origins = handshake.allowed_origins(settings)
        self._sockets: set[Connection] = set()
        """Every socket, those too that have not finished their handshake."""
        self._moving: set[Client] = set()
        """Those whose positions are about to be read by other credentials."""
        self._addresses: Counter[str] = Counter()
        """How many of them each address has; an IPv6 network of one customer counts as one."""
        self.clients = 0
        """How many WebSockets are open, or about to be."""
        self.port: int | None = None
        """The TCP port it listens on; None on a unix socket."""
        self._server: Server | None = None

    async def listen(self, *, unix_path: str | None, host: str, port: int) -> None:
        """Begin to accept clients."""
        settings, limits = self._settings, self._limits
        high = settings.websocket_buffer_bytes_max
        options: dict[str, Any] = {
            "create_connection": functools.partial(Connection, owner=self, limits=limits),
            "process_request": self._process_request,
            "process_response": handshake.complete,
            "compression": None,  # it costs twice the CPU and 50 KiB a client
            "server_header": None,
            "open_timeout": limits.open_seconds,
            "close_timeout": limits.close_seconds,
            "ping_interval": limits.ping_seconds,
            "ping_timeout": limits.ping_seconds,
            "max_size": settings.websocket_frame_bytes_max,
            "write_limit": (high, high // 4),
            "logger": _wire_log,
        }
        if unix_path is not None:
            server = await unix_serve(self._serve, unix_path, **options)
        else:
            server = await serve(self._serve, host, port, **options)
            self.port = next(iter(server.sockets)).getsockname()[1]
        self._server = server
        _log.info("websocket.listening", unix_path=unix_path, host=host, port=self.port)

    async def close(self) -> None:
        """Say 1001 (going away) to every client, and cut those that do not answer in time. May be called twice."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close(reason="the server is shutting down")
        try:
            async with asyncio.timeout(self._limits.close_seconds):
                await server.wait_closed()
        except TimeoutError:
            for connection in list(self._sockets):
                connection.transport.abort()
            await server.wait_closed()
        self._upstreams.close()
        with contextlib.suppress(grpc.aio.AioRpcError):
            await self._access.send_notes()

    async def watch_engine(self) -> None:
        """Notice an engine that hangs."""
        await self._upstreams.watch_engine()

    async def watch_sessions(self) -> None:
        """Notice credentials that are over before their time."""
        await self._access.watch(self._held, self._on_ended)

    async def keep_house(self) -> None:
        """Send heartbeats, and look after the clients that do not read and those whose time is over."""
        while True:
            await asyncio.sleep(self._limits.housekeeping_seconds)
            now, moment = time.monotonic(), self._clock()
            heartbeat: bytes | None = None
            for connection in list(self._sockets):
                connection.check_stall(now)
                if (error := connection.overdue(moment, now)) is not None:
                    self._end(connection, error)
                    continue
                if connection.heartbeat_is_due(now):
                    heartbeat = heartbeat or text_frame(protocol.heartbeat(moment))
                    connection.client.send([heartbeat])

    def connected(self, connection: Connection) -> None:
        """A socket is open."""
        self._sockets.add(connection)

    def disconnected(self, connection: Connection) -> None:
        """A socket is gone."""
        self._sockets.discard(connection)
        connection.client.gone = True
        self._leave_all(connection.client)
        self._dismiss(connection)

    async def _process_request(self, library_connection: ServerConnection, request: Request) -> Response | None:
        connection = cast("Connection", library_connection)
        credentials = handshake.take_credentials(request)
        address = handshake.address_of(connection, request)
        error = handshake.refusal(
            request, self._settings, self._origins, self.clients, self._addresses[bucket_of(address)]
        )
        if error is None and not isinstance(credentials, EntasisError):
            return await self._accept(connection, request, credentials, address)
        return await self._refuse(connection, request, error or cast("EntasisError", credentials), address)

    async def _accept(
        self, connection: Connection, request: Request, credentials: Credentials, address: str
    ) -> Response:
        # The engine is not asked for what is no WebSocket handshake.
        response = connection.protocol.accept(request)
        if response.status_code != http.HTTPStatus.SWITCHING_PROTOCOLS:
            return response
        self._count(connection, request, address)
        try:
            session, headers = await self._opened(connection, credentials, handshake.request_id(request))
        except Refused as refused:
            self._dismiss(connection)
            return handshake.answer(connection, request, refused.problem, refused.headers)
        must_authenticate = not session.account and not session.market_streams
        patience = time.monotonic() + self._settings.websocket_auth_seconds if must_authenticate else None
        connection.belongs_to(session, authenticate_by=patience)
        response.headers.update(headers)
        return response

    async def _refuse(self, connection: Connection, request: Request, error: EntasisError, address: str) -> Response:
        """The answer to a handshake that is refused here; the engine notes and counts it where access is the reason."""
        if not error.entry.reason.startswith("AUTH_"):
            return handshake.answer(connection, request, error)
        self._count(connection, request, address)
        try:
            name = handshake.request_id(request)
            _, headers = await self._opened(connection, Credentials(), name, refused=error.case)
        except Refused as refused:
            limited = protocol.reason_of(refused.problem).startswith("LIMIT_")
            return handshake.answer(connection, request, refused.problem if limited else error, refused.headers)
        finally:
            self._dismiss(connection)
        return handshake.answer(connection, request, error, headers)

    def _count(self, connection: Connection, request: Request, address: str) -> None:
        """From here on it counts, so that many handshakes at once cannot overrun the limits, nor the engine."""
        connection.admit(handshake.language_asked(request), address)
        self.clients += 1
        self._addresses[bucket_of(address)] += 1
        metrics.CLIENTS.inc()

    def _dismiss(self, connection: Connection) -> None:
        """It does not count any more."""
        if not connection.admitted:
            return
        connection.admitted = False
        self.clients -= 1
        self._addresses -= Counter((bucket_of(connection.address),))  # which forgets those that have none left
        metrics.CLIENTS.dec()

    async def _opened(
        self, connection: Connection, credentials: Credentials, request_id: str = "", *, refused: str = ""
    ) -> Opened:
        """Ask the engine whose credentials are; no longer than the socket lasts, since nothing else bounds how many
        clients come, ask and leave.
        """
        question = self._access.open(
            credentials,
            address=connection.address,
            language=connection.client.language,
            request_id=request_id,
            refused=refused,
        )
        asking = asyncio.ensure_future(question)
        try:
            waited = (asking, connection.connection_lost_waiter)
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise Refused(EntasisError("UNAVAILABLE"))  # which nobody hears
            return asking.result()
        finally:
            asking.cancel()

    async def _serve(self, connection: ServerConnection) -> None:
        bucket = TokenBucket(self._limits.message_rate, self._limits.message_burst, time.monotonic)
        # One command after the other: a client that subscribes and then unsubscribes ends unsubscribed, and one
        # that sends faster than it is served is slowed down by its own socket.
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self._receive(cast("Connection", connection), await connection.recv(), bucket)

    async def _receive(self, connection: Connection, message: str | bytes, bucket: TokenBucket) -> None:
        client = connection.client
        if client.gone:  # who is being disconnected is not served any more
            return
        try:
            text = message if isinstance(message, str) else ""
            if not bucket.take():
                limit = protocol.too_many(int(self._limits.message_rate), protocol.MESSAGES_PER_SECOND)
                raise protocol.rejected(text, limit)
            command = protocol.parse(text, symbols_max=self._settings.websocket_subscriptions_max)
            await self._act(connection, command, bucket)
        except Rejected as rejection:
            metrics.REJECTED.labels(protocol.reason_of(rejection.error)).inc()
            _tell(client, protocol.rejection(rejection, client.language))
        except Exception:
            request_id = uuid.uuid4().hex
            _log.exception("websocket_defect", request_id=request_id)
            _tell(client, protocol.error(EntasisError("INTERNAL", request_id=request_id), client.language))

    async def _act(self, connection: Connection, command: protocol.Command, bucket: TokenBucket) -> None:
        client = connection.client
        match command:
            case protocol.Subscribe():
                if (refusal := connection.session.refusal(command.channel)) is not None:
                    self._access.note(refusal, connection.session.name, connection.address)
                    raise Rejected(refusal, request_id=command.id, channel=command.channel)
                await self._subscribe(connection, command, bucket)
            case protocol.Unsubscribe():
                self._unsubscribe(client, command)
            case protocol.List():
                _tell(client, protocol.subscriptions(command, list(client.subscriptions)))
            case protocol.Ping():
                _tell(client, protocol.pong(command, self._clock()))
            case protocol.Heartbeat():
                connection.beat_every(command.seconds)
                if command.id is not None:
                    _tell(client, protocol.heartbeat_ack(command))
            case protocol.Auth():
                try:
                    await self._authenticate(connection, command)
                except Refused as refused:
                    raise Rejected(refused.problem, request_id=command.id) from None

    async def _authenticate(self, connection: Connection, command: protocol.Auth) -> None:
        client = connection.client
        session, _ = await self._opened(connection, Credentials(command.token or "", command.api_key or ""))
        if client.gone:
            return
        if not session.account:
            raise Refused(EntasisError("CREDENTIAL_MISSING"))
        if connection.session.account not in {"", session.account}:
            differ = EntasisError("CREDENTIALS_DIFFER")
            self._access.note(differ, session.name, connection.address)
            raise Refused(differ)
        connection.belongs_to(session)
        answers: list[bytes] = []
        if command.id is not None:
            answers.append(protocol.auth_ack(command, session.account, session.scopes, session.expires_at))
        moved: list[Stream] = []
        for stream, subscription in list(client.subscriptions.items()):
            if (refusal := session.refusal(stream.channel)) is not None:
                self._leave(client, subscription.topic)
                answers.append(_lost(stream, refusal, client))
            elif stream.channel == "positions" and (stream.session, stream.address) != connection.held:
                moved.append(stream)
        if answers:
            client.send([text_frame(answer) for answer in answers])
        for stream in moved:
            await self._move(connection, stream)

    async def _move(self, connection: Connection, stream: Stream) -> None:
        """Go on reading an account's positions by other credentials, before those that they were read by end."""
        client = connection.client
        name, address = connection.held
        refusal: EntasisError | status_pb2.Status | None = None
        topic: Topic | None = None
        old = client.subscriptions[stream].topic
        self._moving.add(client)
        try:
            try:
                topic = self._upstreams.hold(stream._replace(session=name, address=address), instead_of=old)
                await self._upstreams.settled([topic])
                refusal = topic.refusal
            except EntasisError as error:
                refusal = error
            if client.gone:
                return
            # The engine may have ended the old stream meanwhile. The client has not: its next command waits for this.
            if stream in client.subscriptions:
                self._leave(client, old)
            if topic is None or refusal is not None:
                _tell(client, _lost(stream, refusal or EntasisError("UNAVAILABLE"), client))
                return
            _, opening = self._fanout.attach(client, topic)
            if opening:
                client.send([opening])
        finally:
            self._moving.discard(client)
            if topic is not None:
                self._upstreams.release(topic)

    async def _subscribe(self, connection: Connection, command: protocol.Subscribe, bucket: TokenBucket) -> None:
        client = connection.client
        outcomes: dict[str, _Outcome] = {}
        held: list[Topic] = []
        room = self._settings.websocket_subscriptions_max - len(client.subscriptions)
        try:
            for symbol in command.all_symbols:
                stream = command.stream(symbol, *connection.held)
                is_new = stream not in client.subscriptions
                fault = None if command.channel == "positions" else protocol.symbol_fault(symbol)
                if fault is None and is_new and room == 0:
                    limit = self._settings.websocket_subscriptions_max
                    fault = protocol.too_many(limit, protocol.SUBSCRIPTIONS_PER_CONNECTION)
                if fault is not None:
                    outcomes[symbol] = fault
                    continue
                try:
                    topic = self._upstreams.hold(stream, resume_after=command.resume.get(symbol))
                except EntasisError as error:
                    outcomes[symbol] = error
                    continue
                room -= is_new
                held.append(topic)
                outcomes[symbol] = topic
            await self._upstreams.settled(held)
            if client.gone:
                return
            # A symbol that is refused costs the engine a call and is not held against the limit of subscriptions.
            bucket.charge(sum(topic.refusal is not None for topic in held))
            # No await from here on: the answer, the snapshots and what follows them stay in this order.
            client.send(self._openings(client, command, outcomes))
        finally:
            for topic in held:
                self._upstreams.release(topic)

    def _openings(
        self,
        client: Client,
        command: protocol.Subscribe,
        outcomes: dict[str, _Outcome],
    ) -> list[bytes]:
        """Subscribe to what can be; the frames to begin with: the answer first, then each stream's snapshot."""
        results: list[Result] = []
        openings: list[bytes] = []
        for name, outcome in outcomes.items():
            symbol = None if command.channel == "positions" else name
            if not isinstance(outcome, Topic):
                results.append(Result(symbol, outcome))
            elif outcome.refusal is not None:
                results.append(Result(symbol, outcome.refusal))
            else:
                resume_after = command.resume.get(name)
                resumed, opening = self._fanout.attach(client, outcome, resume_after=resume_after)
                results.append(Result(symbol, None, resumed, outcome.seq))
                openings.append(opening)
        if command.id is not None:
            answers = [protocol.selection_ack(command, results, client.language)]
        else:
            answers = [
                protocol.error(result.error, client.language, channel=command.channel, symbol=result.symbol)
                for result in results
                if result.error is not None
            ]
        return [text_frame(answer) for answer in answers] + [opening for opening in openings if opening]

    def _unsubscribe(self, client: Client, command: protocol.Unsubscribe) -> None:
        results: list[Result] = []
        for symbol in command.all_symbols:
            of_account = command.channel == "positions"
            fault = None if of_account else protocol.symbol_fault(symbol)
            results.append(Result(None if of_account else symbol, fault))
            for stream in [stream for stream in client.subscriptions if command.matches(stream, symbol)]:
                self._leave(client, client.subscriptions[stream].topic)
        if command.id is not None:
            _tell(client, protocol.selection_ack(command, results, client.language))
            return
        for result in results:
            if result.error is not None:
                error = protocol.error(result.error, client.language, channel=command.channel, symbol=result.symbol)
                _tell(client, error)

    def _leave(self, client: Client, topic: Topic) -> None:
        self._fanout.detach(client, topic)
        self._upstreams.left(topic)

    def _leave_all(self, client: Client) -> list[Stream]:
        """End every subscription; the streams that they were to."""
        subscriptions = list(client.subscriptions.values())
        for subscription in subscriptions:
            self._leave(client, subscription.topic)
        return [subscription.topic.stream for subscription in subscriptions]

    def _held(self) -> set[Held]:
        """The sessions of all sockets that somebody authenticated."""
        return {connection.held for connection in self._sockets if connection.session.name}

    def _on_ended(self, ended: Mapping[Held, str]) -> None:
        """The engine says that sessions are over."""
        moment = self._clock()
        for connection in list(self._sockets):
            reason = ended.get(connection.held)
            if reason == _ADDRESS_REASON:
                self._end(connection, EntasisError("ADDRESS_REFUSED", address=connection.address))
            elif reason is not None:
                self._end(connection, connection.session.expiry(moment) or connection.session.revocation())

    def _end(self, connection: Connection, error: EntasisError) -> None:
        """Disconnect a client that may not stay; nothing is sent, done or asked for it any more."""
        client = connection.client
        client.gone = True
        self._access.note(error, connection.session.name, connection.address)
        self._leave_all(client)
        connection.belongs_to(Session())
        connection.end(error)

    def _on_refused(self, topic: Topic, status: status_pb2.Status) -> None:
        """The engine took the stream at first, or seemed to, and refuses it now."""
        for client in list(topic.subscriptions):
            self._fanout.detach(client, topic)
            # Whose new credentials are being tried is told what comes of that.
            if client not in self._moving:
                _tell(client, _lost(topic.stream, status, client))


def _lost(stream: Stream, problem: EntasisError | status_pb2.Status, client: Client) -> bytes:
    """What a client is told whose subscription ends."""
    return protocol.error(problem, client.language, channel=stream.channel, symbol=stream.symbol or None)


def _tell(client: Client, payload: bytes) -> None:
    client.send([text_frame(payload)])


@contextlib.asynccontextmanager
async def open_bridge(
    settings: Settings,
    *,
    channel: grpc.aio.Channel,
    unix_path: str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    clock: Clock = system_clock,
    limits: Limits = Limits(),  # noqa: B008 - immutable
) -> AsyncIterator[Bridge]:
    """Serve /ws/market until the block ends; then clients get 1001 and everything is unwound.

    Args:
        channel: to the engine; it must outlive the block, and is best opened with `CHANNEL_OPTIONS`.
        unix_path: where to listen, instead of `host` and `port`.
        port: 0 takes any that is free; `Bridge.port` tells which.
        clock: for the times in pongs and heartbeats, and for the expiry of credentials.
    """
    async with asyncio.TaskGroup() as tasks:
        bridge = Bridge(settings, limits, channel, clock, tasks)
        await bridge.listen(unix_path=unix_path, host=host, port=port)
        loops = (
            tasks.create_task(bridge.keep_house(), name="websocket housekeeping"),
            tasks.create_task(bridge.watch_engine(), name="websocket engine watch"),
            tasks.create_task(bridge.watch_sessions(), name="websocket session watch"),
        )
        try:
            yield bridge
        finally:
            for loop in loops:
                loop.cancel()
            await bridge.close()
            if unix_path is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(unix_path)  # noqa: PTH108 - pathlib is not for coroutines
