"""One socket: the library's connection, with a way past it for frames that are ready, and word of when it is full."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from websockets.asyncio.server import Server, ServerConnection
from websockets.frames import CloseCode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from entasis_engine.errors import EntasisError, Language
from entasis_engine.websocket import metrics, protocol
from entasis_engine.websocket.access import Held, Session
from entasis_engine.websocket.fanout import Client
from entasis_engine.websocket.limits import Limits

SUBPROTOCOL = Subprotocol("entasis.v1")
"""Selected where a client offers it; it changes nothing, but browsers send credentials as subprotocols beside it."""

# Close codes of an application begin at 4000; these end in the HTTP status of the same meaning.
_CLOSE_CODE_FIRST = 4000


def close_frame_of(error: EntasisError) -> tuple[int, str]:
    """Code and reason of the close frame that an error ends a socket with."""
    return _CLOSE_CODE_FIRST + error.entry.http, f"{error.entry.reason} {error.message()}"


class Owner(Protocol):
    """Whoever keeps count of the connections."""

    def connected(self, connection: Connection) -> None:
        """A socket is open; nothing of it is known yet."""
        ...

    def disconnected(self, connection: Connection) -> None:
        """The socket is gone; called once, whatever the reason."""
        ...


class _Protocol(ServerProtocol):
    """Says what the contract says before it closes because a frame is too large; knows our subprotocol."""

    language: Language = "en"
    lingers = False
    """Whether the end of the connection is put off: the client is in the middle of sending what is too large, and would
    never read an answer that comes with a reset.
    """

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        return SUBPROTOCOL if SUBPROTOCOL in subprotocols else None

    def fail(self, code: CloseCode | int, reason: str = "") -> None:
        if code == CloseCode.MESSAGE_TOO_BIG:
            error = EntasisError("TOO_LARGE", limit=str(self.max_message_size))
            if self.state is State.OPEN:
                self.send_text(protocol.error(error, self.language))
            reason = f"{error.entry.reason} {reason}"
            self.lingers = True
        super().fail(code, reason)

    def send_eof(self) -> None:
        if self.lingers:
            self.eof_sent = True  # the connection does it, a little later
        else:
            super().send_eof()


class Connection(ServerConnection):
    """A WebSocket of this bridge. Once admitted, its `client` takes part in the fan-out."""

    protocol: _Protocol

    def __init__(
        self, library_protocol: ServerProtocol, server: Server, owner: Owner, limits: Limits, **options: Any
    ) -> None:
        # The library offers no way to choose its inner protocol; this is the one it made, with our ending.
        max_size = (library_protocol.max_message_size, library_protocol.max_fragment_size)
        super().__init__(_Protocol(max_size=max_size, logger=library_protocol.logger), server, **options)
        self.client = Client(self, "en", limits=limits)
        self.admitted = False
        """Whether it counts against the limits."""
        self.address = ""
        self.session = Session()
        """Whose it is."""
        self._authenticate_by: float | None = None
        self._owner = owner
        self._stall_seconds = limits.stall_seconds
        self._hang_up_seconds = limits.hang_up_seconds
        self._hanging_up = False
        self._heartbeat_seconds = 0
        self._heartbeat_at = 0.0
        self._unsent_bytes = 0
        self._stalled_since: float | None = None

    def admit(self, language: Language, address: str) -> None:
        """As far as the bridge is concerned the handshake is accepted."""
        self.admitted = True
        self.address = address
        self.client.language = self.protocol.language = language

    def belongs_to(self, session: Session, authenticate_by: float | None = None) -> None:
        """It is known whose it is.

        Args:
            authenticate_by: until when, by the monotonic clock, it may stay as it is.
        """
        self.session = session
        self._authenticate_by = authenticate_by

    @property
    def held(self) -> Held:
        """What the engine is asked about; the first part is empty where the client is anonymous."""
        return self.session.name, self.address

    def overdue(self, moment: datetime, now: float) -> EntasisError | None:
        """What to tell the client if its time is over."""
        if self._authenticate_by is not None and now >= self._authenticate_by:
            return EntasisError("CREDENTIAL_MISSING")
        return self.session.expiry(moment)

    def write(self, data: bytes) -> None:
        """Send whole frames as they are; the library's own frames never come between, since it keeps none back."""
        if self.protocol.state is State.OPEN:  # after a close frame nothing may follow
            self.transport.write(data)

    def expel(self, reason: str) -> None:
        """Disconnect a client that does not read."""
        if self.protocol.state is not State.OPEN:
            return
        metrics.EXPELLED.inc()
        self._close(CloseCode.POLICY_VIOLATION, reason)

    def end(self, error: EntasisError) -> None:
        """Disconnect a client that may not stay, and say why: in a message, and in the close frame."""
        if self.protocol.state is not State.OPEN:
            return
        metrics.ENDED.labels(error.entry.reason).inc()
        self.protocol.send_text(protocol.error(error, self.protocol.language))
        self._close(*close_frame_of(error))

    def _close(self, code: int, reason: str) -> None:
        self.protocol.send_close(code, reason)
        self.send_data()
        # The close frame waits behind all that is unsent, perhaps for ever.
        self.loop.call_later(self.close_timeout or 0, self.transport.abort)

    def beat_every(self, seconds: int) -> None:
        """Begin, change or, with 0, end the heartbeat."""
        self._heartbeat_seconds = seconds
        self._heartbeat_at = time.monotonic() + seconds

    def heartbeat_is_due(self, now: float) -> bool:
        """Whether to send one now; not to a client that has not taken the data before it."""
        if not self._heartbeat_seconds or now < self._heartbeat_at or self.client.congested:
            return False
        self._heartbeat_at = now + self._heartbeat_seconds
        return True

    def check_stall(self, now: float) -> None:
        """Cut a client that takes nothing: its socket would stay open as long as the other side answers TCP.

        The library's keepalive does not do it, since its ping waits for the socket to drain.
        """
        if not self.client.congested:
            self._stalled_since = None
            return
        unsent_bytes = self.transport.get_write_buffer_size()
        if unsent_bytes == 0:
            # The transport should have said so; a client must not wait for ever if it did not.
            self.client.resume()
        elif self._stalled_since is None or unsent_bytes < self._unsent_bytes:
            self._stalled_since = now
        elif now - self._stalled_since > self._stall_seconds:
            metrics.EXPELLED.inc()
            self.transport.abort()
        self._unsent_bytes = unsent_bytes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._owner.connected(self)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.protocol.lingers and not self._hanging_up:
            self._hanging_up = True
            self.loop.call_later(self._hang_up_seconds, self._hang_up)

    def _hang_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._owner.disconnected(self)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.client.pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.client.resume()
