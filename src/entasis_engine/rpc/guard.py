"""Access control around every call: who calls is found out from the connection and its headers, the gate decides."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

from entasis_engine.access.gate import Caller, Gate
from entasis_engine.access.needs import Need
from entasis_engine.addresses import address_of_peer, normalise
from entasis_engine.calls import Call
from entasis_engine.errors import EntasisError
from entasis_engine.tls import names_of

CLIENT_ADDRESS = "x-client-ip"
ORIGINAL_PATH = "x-envoy-original-path"
BODY_FIELDS = "x-envoy-body-fields"
SESSION = "x-session-bin"
"""In whose stead a bridge calls. Envoy takes every header that ends so from its callers; besides, it is signed."""
NO_ADDRESS = "unknown"
"""In place of an address that is none; on no list."""


class Guard(Protocol):
    """What the pipeline asks before it serves a call, and while it serves a stream."""

    async def admit(self, call: Call, need: Need, auth_context: Callable[[], Any]) -> None:
        """Complete the call with who makes it. Raises AUTH_001, AUTH_002, AUTH_003 or LIMIT_001."""

    def ended(self, call: Call) -> EntasisError | None:
        """Why a stream that was admitted may not go on; None where it may."""


class AccessGuard:
    """The guard of an engine. Whether what a connection states of the caller's address is believed is decided here.

    Args:
        edge_names: names in certificates of parts of the engine; empty where the port asks for no certificates.
    """

    def __init__(self, gate: Gate, *, edge_names: Collection[str] = ()) -> None:
        self._gate = gate
        self._edge_names = frozenset(edge_names)

    async def admit(self, call: Call, need: Need, auth_context: Callable[[], Any]) -> None:
        """As `Guard` has it."""
        authorizations: tuple[str, ...] = ()
        api_keys: tuple[str, ...] = ()
        stated: str | None = None
        original_path = body_fields = session = ""
        for name, value in call.metadata:
            if name == "authorization":
                authorizations += (str(value),)
            elif name == "x-api-key":
                api_keys += (str(value),)
            elif name == CLIENT_ADDRESS:
                stated = str(value)
            elif name == ORIGINAL_PATH:
                original_path = str(value)
            elif name == BODY_FIELDS:
                body_fields = str(value)
            elif name == SESSION and isinstance(value, bytes):
                session = value.decode("utf-8", "replace")
        # Our own parts state whom they call for, and how: over the unix socket, which only our user can open, or with
        # their certificate. Anybody else may write into those headers what they like.
        call.by_part = self._is_ours(call.peer, auth_context)
        if call.by_part:
            call.address = "" if stated is None else normalise(stated) or NO_ADDRESS
            call.original_path = original_path
            call.body_fields = tuple(filter(None, body_fields.split(",")))
        else:
            call.address = address_of_peer(call.peer) or NO_ADDRESS
            session = ""
        caller = Caller(call.address, authorizations, api_keys, session)
        decision = await self._gate.decide(need, caller)
        call.principal, call.suspect = decision.principal, decision.suspect
        call.bucket = decision.bucket
        call.allowance = decision.allowance
        if decision.refusal is not None:
            raise decision.refusal

    def ended(self, call: Call) -> EntasisError | None:
        """As `Guard` has it; anonymous callers have nothing to lose."""
        return self._gate.ended(call.principal, call.address) if call.principal is not None else None

    def _is_ours(self, peer: str, auth_context: Callable[[], Any]) -> bool:
        if peer.startswith("unix:"):
            return True
        return bool(self._edge_names) and not self._edge_names.isdisjoint(names_of(auth_context()))
