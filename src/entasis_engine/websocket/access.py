"""Whose each socket is, and what that permits.

The engine alone decides. A client's credentials are passed on to it once, and forgotten; what is kept is the session
that it names, and it is asked again and again whether that is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeAlias

import grpc
import structlog
from google.rpc import status_pb2

from entasis.access.v1 import access_pb2, access_pb2_grpc
from entasis_engine import times
from entasis_engine.errors import EntasisError, Language
from entasis_engine.websocket import metrics, protocol
from entasis_engine.websocket.failures import status_in
from entasis_engine.websocket.limits import Limits

MARKET_SCOPE = "market:read"
POSITIONS_SCOPE = "portfolio:read"
HELD_MAX = 250
"""Sessions that the contract lets one call ask about."""

_RATE_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")

_log = structlog.get_logger(__name__)

Held: TypeAlias = tuple[str, str]
"""A session, and the address that its client came from."""


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """What a client sent to prove who it is; empty where it sent none. Not to be kept, and not to be printed."""

    token: str = ""
    api_key: str = ""

    def metadata(self) -> Sequence[tuple[str, str]]:
        """As the engine reads them."""
        sent = (("authorization", self.token and f"Bearer {self.token}"), ("x-api-key", self.api_key))
        return [(name, value) for name, value in sent if value]


@dataclass(frozen=True, slots=True)
class Session:
    """Whose a socket is. Without arguments: nobody's, who may do nothing."""

    account: str = ""
    """Empty where the client is anonymous."""
    name: str = ""
    """What the engine knows the credentials by; empty where the client is anonymous."""
    scopes: Sequence[str] = ()
    expires_at: datetime | None = None
    market_streams: bool = False
    """Whether market streams are open to it."""
    by_token: bool = False
    """Whether a token was among the credentials."""

    def refusal(self, channel: protocol.Channel) -> EntasisError | None:
        """Why a channel is not open to this client, if it is not."""
        of_account = channel == "positions"
        scope = POSITIONS_SCOPE if of_account else MARKET_SCOPE
        if (bool(self.account) and scope in self.scopes) if of_account else self.market_streams:
            return None
        return EntasisError("SCOPE_MISSING", scope=scope) if self.account else EntasisError("CREDENTIAL_MISSING")

    def expiry(self, now: datetime) -> EntasisError | None:
        """What to tell its client if its time is over."""
        if self.expires_at is None or now < self.expires_at:
            return None
        return EntasisError("TOKEN_EXPIRED" if self.by_token else "KEY_ENDED")

    def revocation(self) -> EntasisError:
        """What to tell its client if it is over before its time."""
        return EntasisError("TOKEN_INVALID" if self.by_token else "KEY_ENDED")


class Refused(Exception):  # noqa: N818 - it is what happened to the client; the error is inside
    """The engine does not take a client's credentials, its address or one more request of it, or cannot be asked."""

    def __init__(self, problem: EntasisError | status_pb2.Status, headers: Mapping[str, str] | None = None) -> None:
        """
        Args:
            headers: what an HTTP answer is to say of the rate limit.
        """
        super().__init__(protocol.reason_of(problem))
        self.problem = problem
        self.headers = headers or {}


class Opened(NamedTuple):
    """The engine's answer about a client."""

    session: Session
    headers: Mapping[str, str]
    """What an HTTP answer is to say of the rate limit."""


class Access:
    """The engine's AccessService, asked on behalf of clients."""

    def __init__(self, channel: grpc.aio.Channel, limits: Limits) -> None:
        self._stub = access_pb2_grpc.AccessServiceStub(channel)
        self._limits = limits
        self._unnoted: deque[access_pb2.NoteRefusalsRequest.Refusal] = deque(maxlen=limits.unnoted_max)
        """Refusals that the engine has not noted yet."""
        self._lost = False
        """Whether the last question was not answered."""

    async def open(
        self, credentials: Credentials, *, address: str, language: Language, request_id: str = "", refused: str = ""
    ) -> Opened:
        """Ask whose some credentials are; the engine counts it as one request of theirs.

        Args:
            refused: the case of the error that the bridge itself refuses the client with, for the audit log.
            request_id: as the client gave it; empty where it gave none.

        Raises:
            Refused: with the engine's own words, or SERVER_002 where it does not answer.
        """
        metadata = [("x-client-ip", address), ("accept-language", language), *credentials.metadata()]
        if request_id:
            metadata.append(("x-request-id", request_id))
        try:
            answer = await self._stub.OpenSession(
                access_pb2.OpenSessionRequest(refused=refused), metadata=metadata, timeout=self._limits.answer_seconds
            )
        except grpc.aio.AioRpcError as error:
            status = status_in(error)
            if status is None or not protocol.reason_of(status):
                self._unanswered(error)
                raise Refused(EntasisError("UNAVAILABLE")) from None
            self._answered()
            raise Refused(status, _rate_told(error)) from None
        self._answered()
        session = Session(
            account=answer.account,
            name=answer.session,
            scopes=tuple(answer.scopes),
            expires_at=_moment(answer),
            market_streams=answer.market_streams,
            by_token=bool(credentials.token),
        )
        figures = (answer.rate_limit, answer.rate_remaining, answer.rate_reset_seconds)
        headers = dict(zip(_RATE_HEADERS, map(str, figures), strict=True)) if answer.rate_limit else {}
        return Opened(session, headers)

    def note(self, problem: EntasisError | status_pb2.Status, session: str, address: str) -> None:
        """Have the engine note in its audit log that a client was refused something here. Where more wait than may, the
        oldest goes, and is counted.
        """
        if isinstance(problem, EntasisError):
            if len(self._unnoted) == self._unnoted.maxlen:
                metrics.UNNOTED.inc()
            note = access_pb2.NoteRefusalsRequest.Refusal(case=problem.case, session=session, address=address)
            self._unnoted.append(note)

    async def send_notes(self) -> None:
        """Hand over what is still to be noted. Raises `grpc.aio.AioRpcError` where the engine does not answer."""
        while self._unnoted:
            batch = list(itertools.islice(self._unnoted, HELD_MAX))
            request = access_pb2.NoteRefusalsRequest(refusals=batch)
            await self._stub.NoteRefusals(request, timeout=self._limits.answer_seconds)
            for one in batch:
                if self._unnoted and self._unnoted[0] is one:
                    self._unnoted.popleft()

    async def watch(self, held: Callable[[], Collection[Held]], on_ended: Callable[[Mapping[Held, str]], None]) -> None:
        """Ask again and again which sessions are over, and tell those, each with its reason.

        An engine that does not answer ends nothing: it is asked again.
        """
        while True:
            await asyncio.sleep(self._limits.sessions_seconds)
            with contextlib.suppress(grpc.aio.AioRpcError):  # they wait for the next time
                await self.send_notes()
            try:
                everything = list(held())
                for start in range(0, len(everything), HELD_MAX):
                    if ended := await self._ended(everything[start : start + HELD_MAX]):
                        on_ended(ended)
            except grpc.aio.AioRpcError as error:
                self._unanswered(error)
            except Exception:
                # A defect here must not end the bridge, and with it the watch over everybody's sessions.
                _log.exception("websocket_access_defect")

    async def _ended(self, asked: Sequence[Held]) -> dict[Held, str]:
        held = [access_pb2.ListEndedSessionsRequest.Held(session=name, address=address) for name, address in asked]
        request = access_pb2.ListEndedSessionsRequest(held=held)
        answer = await self._stub.ListEndedSessions(request, timeout=self._limits.answer_seconds)
        self._answered()
        return {asked[ended.index]: ended.reason for ended in answer.ended if 0 <= ended.index < len(asked)}

    def _answered(self) -> None:
        if self._lost:
            self._lost = False
            _log.info("websocket_access_regained")

    def _unanswered(self, error: grpc.aio.AioRpcError) -> None:
        if not self._lost:  # a line for the outage, not for each question
            self._lost = True
            _log.warning("websocket_access_lost", reason=f"{error.code().name}: {error.details()}")


def _moment(answer: access_pb2.OpenSessionResponse) -> datetime | None:
    if not answer.HasField("expires_at"):
        return None
    return times.from_milliseconds(answer.expires_at.ToMilliseconds())


def _rate_told(error: grpc.aio.AioRpcError) -> dict[str, str]:
    """What the engine said of the rate limit when it refused."""
    sent = {**dict(error.initial_metadata() or ()), **dict(error.trailing_metadata() or ())}
    told = {name: sent.get(name.lower()) for name in _RATE_HEADERS}
    return {name: value for name, value in told.items() if isinstance(value, str) and value.isdecimal()}
