"""Structured logs: one event a line, JSON for machines and colours for people."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog

from entasis_engine.calls import current_call
from entasis_engine.telemetry.redaction import redacted

GRPC_LOGGER = "grpc._cython.cygrpc"
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def _name_the_call(
    _logger: structlog.typing.WrappedLogger, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Say for which call a line was logged."""
    call = current_call.get()
    if call is not None:
        event["method"], event["request_id"] = call.method, call.request_id
    return event


def _redact(
    _logger: structlog.typing.WrappedLogger, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Much of what is logged was chosen by callers, who may send a credential as a request id, say."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = redacted(value)
    return event


def configure(level: str, style: Literal["auto", "console", "json"]) -> None:
    """Set up logging of the whole process, on standard error."""
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        _name_the_call,
        _redact,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]  # locals may hold secrets
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries that log through the standard library.
    logging.basicConfig(level=max(LEVELS[level], logging.WARNING), stream=sys.stderr, format="%(name)s: %(message)s")
    logging.getLogger(GRPC_LOGGER).addFilter(_tells_nothing_that_was_sent)


def _tells_nothing_that_was_sent(record: logging.LogRecord) -> bool:
    """Keep gRPC from writing whole headers, which may be credentials, whenever one of them is not UTF-8."""
    return not str(record.msg).startswith("Invalid encoding")
