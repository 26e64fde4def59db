"""What every call passes on its way in, and in reverse order on its way out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import structlog
from google.rpc import code_pb2

from entasis_engine.access.audit import ACCESS_REASONS, AuditLog, note_refusal
from entasis_engine.calls import Call, current_call
from entasis_engine.errors import CATALOGUE
from entasis_engine.telemetry import metrics
from entasis_engine.times import Monotonic

log = structlog.get_logger()

SLOW_CALL_SECONDS = 1.0
RATE_LIMITED = CATALOGUE["RATE_LIMITED"].reason
OUR_FAULT = frozenset({"INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED"})


class Stage(Protocol):
    """One thing that is done around every call."""

    def start(self, call: Call) -> None:
        """Before the call; raises `EntasisError` to refuse it."""

    def end(self, call: Call, *, streamed: bool) -> None:
        """After the call, however it ended: `call.error` and `call.cancelled` tell."""


class LogContext:
    """Has every line that is logged meanwhile name the call. Each call is served in a task, and so a context, of its
    own; there is nothing to undo.
    """

    def start(self, call: Call) -> None:
        current_call.set(call)

    def end(self, call: Call, *, streamed: bool) -> None:
        pass


class AccessLog:
    """Logs calls as they end: all of them, or those that failed or were slow."""

    def __init__(self, monotonic: Monotonic, *, everything: bool) -> None:
        self._monotonic = monotonic
        self._everything = everything

    def start(self, call: Call) -> None:
        call.started = self._monotonic()

    def end(self, call: Call, *, streamed: bool) -> None:
        seconds = self._monotonic() - call.started
        slow = seconds > SLOW_CALL_SECONDS and not streamed
        if call.error is None and not slow and not self._everything:
            return
        code = outcome(call)
        # Whoever is over the limit could fill the log; the metrics and the audit log, which is bounded, have them.
        over_limit = reason(call) == RATE_LIMITED
        write = log.warning if code in OUR_FAULT else log.debug if over_limit else log.info
        write("call", code=code, ms=round(seconds * 1000, 3), peer=call.peer, reason=reason(call), **caller(call))


class Audit:
    """Notes every call that was refused for who calls, whence, or how often, at whichever point that was found."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    def start(self, call: Call) -> None:
        pass

    def end(self, call: Call, *, streamed: bool) -> None:
        if call.error is not None and call.error.entry.reason in ACCESS_REASONS:
            note_refusal(self._log, call, call.error)


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


def default_stages(monotonic: Monotonic, audit: AuditLog, *, log_everything: bool) -> Sequence[Stage]:
    """The stages, outermost first. Translation of errors stands in the pipeline itself.

    | stage      | comes before                                              |
    |------------|-----------------------------------------------------------|
    | LogContext | whatever may log                                          |
    | AccessLog  | Metrics, since it takes the time that both need           |
    | Metrics    | whatever may refuse the call: refusals are counted too    |
    | Audit      | the same                                                  |

    After them comes the guard (guard.py), then the validation of the request: a caller who may not call is not told
    what is wrong with what they ask.
    """
    return (LogContext(), AccessLog(monotonic, everything=log_everything), Metrics(monotonic), Audit(audit))


def caller(call: Call) -> dict[str, str]:
    """Who made the call and whence, as far as it was found out."""
    told = {"address": call.address}
    if call.principal is not None:
        told |= {"account": call.principal.account, "key": ",".join(call.principal.key_ids)}
    return {name: value for name, value in told.items() if value}


def outcome(call: Call) -> str:
    """How the call ended, as the name of a gRPC status code."""
    if call.error is not None:
        return str(code_pb2.Code.Name(call.error.entry.code))
    return "CANCELLED" if call.cancelled else "OK"


def reason(call: Call) -> str | None:
    """Why the call failed, as a reason of the contract."""
    return call.error.entry.reason if call.error is not None else None
