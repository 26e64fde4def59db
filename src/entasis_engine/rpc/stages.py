"""What every call passes on its way in, and in reverse order on its way out."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Protocol

import structlog
from google.rpc import code_pb2

from entasis_engine.calls import Call
from entasis_engine.errors import language_of
from entasis_engine.telemetry import metrics
from entasis_engine.times import Monotonic

log = structlog.get_logger()

SLOW_CALL_SECONDS = 1.0
QUIET_SERVICES = ("/grpc.health.v1.", "/grpc.reflection.")


class Stage(Protocol):
    """One thing that is done around every call."""

    def start(self, call: Call) -> None:
        """Before the call; raises `EntasisError` to refuse it."""

    def end(self, call: Call, *, streamed: bool) -> None:
        """After the call, however it ended: `call.error` and `call.cancelled` tell."""


class RequestId:
    """Names the call, so that its log lines, its error and the caller's report can be put together."""

    def start(self, call: Call) -> None:
        given = call.header("x-request-id")
        call.request_id = given if 0 < len(given) <= 64 and given.isprintable() else secrets.token_hex(8)
        call.language = language_of(call.header("accept-language"))

    def end(self, call: Call, *, streamed: bool) -> None:
        pass


class LogContext:
    """Puts the call's name on every line that is logged while it is served."""

    def start(self, call: Call) -> None:
        structlog.contextvars.bind_contextvars(request_id=call.request_id, method=call.method)

    def end(self, call: Call, *, streamed: bool) -> None:
        structlog.contextvars.clear_contextvars()


class AccessLog:
    """Logs calls as they end: all of them, or those that failed through no fault of the caller or were slow."""

    def __init__(self, monotonic: Monotonic, *, everything: bool) -> None:
        self._monotonic = monotonic
        self._everything = everything

    def start(self, call: Call) -> None:
        call.started = self._monotonic()

    def end(self, call: Call, *, streamed: bool) -> None:
        seconds = self._monotonic() - call.started
        code = outcome(call)
        write = log.debug
        if call.method.startswith(QUIET_SERVICES):
            write = log.debug
        elif code in {"INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED"}:
            write = log.warning
        elif self._everything or call.error is not None or (seconds > SLOW_CALL_SECONDS and not streamed):
            write = log.info
        else:
            return
        write("call", code=code, ms=round(seconds * 1000, 3), peer=call.peer, reason=reason(call))


class Metrics:
    """Counts calls and measures how long they take."""

    def __init__(self, monotonic: Monotonic) -> None:
        self._monotonic = monotonic

    def start(self, call: Call) -> None:
        pass

    def end(self, call: Call, *, streamed: bool) -> None:
        metrics.calls(call.method, outcome(call)).inc()
        if not streamed:
            metrics.call_seconds(call.method).observe(self._monotonic() - call.started)


def default_stages(monotonic: Monotonic, *, log_everything: bool) -> Sequence[Stage]:
    """The stages, outermost first. Translation of errors and validation stand in the pipeline itself, innermost.

    | stage      | comes before                                              |
    |------------|-----------------------------------------------------------|
    | RequestId  | everything: whatever is said of the call names it         |
    | LogContext | whatever may log                                          |
    | AccessLog  | Metrics, since it takes the time that both need           |
    | Metrics    | whatever may refuse the call: refusals are counted too    |
    """
    return (RequestId(), LogContext(), AccessLog(monotonic, everything=log_everything), Metrics(monotonic))


def outcome(call: Call) -> str:
    """How the call ended, as the name of a gRPC status code."""
    if call.error is not None:
        return code_pb2.Code.Name(call.error.entry.code)  # type: ignore[no-any-return]
    return "CANCELLED" if call.cancelled else "OK"


def reason(call: Call) -> str | None:
    """Why the call failed, as a reason of the contract."""
    return call.error.entry.reason if call.error is not None else None
