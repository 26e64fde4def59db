"""The gRPC servicer of access: decode, one call, encode."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from entasis.access.v1 import access_pb2 as pb
from entasis_engine.access.audit import ACCESS_REASONS, AuditLog, note_refusal
from entasis_engine.access.gate import Gate
from entasis_engine.access.tokens import Tokens
from entasis_engine.calls import Call, Principal
from entasis_engine.errors import CATALOGUE, EntasisError
from entasis_engine.times import Clock

BEARER = "Bearer"
WEBSOCKET_PATH = "/ws/market"


class AccessService:
    """Serves `entasis.access.v1.AccessService`. Calls come with whoever makes them, as the gate has found it."""

    DESCRIPTOR = pb.DESCRIPTOR.services_by_name["AccessService"]

    def __init__(self, gate: Gate, tokens: Tokens, audit: AuditLog, *, token_seconds: int, clock: Clock) -> None:
        self._gate = gate
        self._audit = audit
        self._tokens = tokens
        self._token_seconds = token_seconds
        self._clock = clock

    def issue_token(self, request: pb.IssueTokenRequest, call: Call) -> pb.IssueTokenResponse:
        """A token for the API key of the call. Raises AUTH_002 for a scope that the key has not."""
        principal = call.principal
        if principal is None:
            raise EntasisError("KEY_NEEDED")
        scopes = _narrowed(principal, request.scopes)
        seconds = min(self._token_seconds, request.lifetime_seconds or self._token_seconds)
        # Tokens tell time in whole seconds.
        now = self._clock().replace(microsecond=0)
        expires_at = now + timedelta(seconds=seconds)
        if principal.expires_at is not None:
            expires_at = min(expires_at, principal.expires_at.replace(microsecond=0))
        if expires_at <= now:
            raise EntasisError("KEY_ENDED")  # in the second that it ends in
        token = self._tokens.issue(
            account=principal.account, key_id=principal.key_ids[0], scopes=scopes, now=now, expires_at=expires_at
        )
        call.told = (("cache-control", "no-store"),)  # RFC 6749, section 5.1
        response = pb.IssueTokenResponse(
            access_token=token,
            token_type=BEARER,
            expires_in=int((expires_at - now).total_seconds()),
            scopes=sorted(scopes),
            account=principal.account,
        )
        response.expires_at.FromDatetime(expires_at)
        return response

    def open_session(self, request: pb.OpenSessionRequest, call: Call) -> pb.OpenSessionResponse:
        """Whose the credentials of the call are, and what they permit."""
        if request.refused and call.by_part:
            note_refusal(self._audit, call, EntasisError(request.refused))
        principal = call.principal
        response = pb.OpenSessionResponse(market_streams=self._gate.may_stream(principal))
        if call.allowance is not None:
            response.rate_limit, response.rate_remaining, response.rate_reset_seconds = call.allowance
        if principal is not None:
            response.account = principal.account
            response.session = self._gate.sessions.named(principal)
            response.scopes.extend(sorted(principal.scopes))
            if principal.expires_at is not None:
                response.expires_at.FromDatetime(principal.expires_at)
        return response

    def list_ended_sessions(self, request: pb.ListEndedSessionsRequest, call: Call) -> pb.ListEndedSessionsResponse:
        """Which of the sessions that a bridge holds are over; so is what no engine of this secret has named."""
        response = pb.ListEndedSessionsResponse()
        for index, held in enumerate(request.held):
            principal = self._gate.sessions.proved(held.session)
            over = EntasisError("KEY_INVALID") if principal is None else self._gate.ended(principal, held.address)
            if over is not None:
                response.ended.add(index=index, reason=over.entry.reason)
        return response

    def note_refusals(self, request: pb.NoteRefusalsRequest, call: Call) -> pb.NoteRefusalsResponse:
        """Notes in the audit log what a bridge refused by itself; without an account where its session proves none."""
        for refusal in request.refusals:
            entry = CATALOGUE.get(refusal.case)
            if entry is None or entry.reason not in ACCESS_REASONS:
                continue
            principal = self._gate.sessions.proved(refusal.session)
            self._audit.refused(
                reason=entry.reason,
                case=refusal.case,
                method=WEBSOCKET_PATH,
                address=refusal.address,
                account=principal.account if principal is not None else "",
                key_id=",".join(principal.key_ids) if principal is not None else "",
                request_id=call.request_id,
                transport="websocket",
            )
        return pb.NoteRefusalsResponse()


def _narrowed(principal: Principal, asked: Collection[str]) -> frozenset[str]:
    """The scopes of a new token: those asked for, or all. Raises AUTH_002 for one that the caller has not."""
    for scope in asked:
        if scope not in principal.scopes:
            raise EntasisError("SCOPE_MISSING", scope=scope)
    return frozenset(asked) or principal.scopes
