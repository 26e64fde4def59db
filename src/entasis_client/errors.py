"""What can go wrong, as exceptions: one tree, made from the `google.rpc.Status` that every error of the engine carries.

Branch on the class for the kind, and on `reason` (docs/errors.md) for the case; the words may change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import betterproto2
import grpc

from entasis_client import details

M = TypeVar("M", bound=betterproto2.Message)


class Violation(NamedTuple):
    """A field of the request that is at fault."""

    field: str
    description: str


class EntasisError(Exception):
    """A call that did not succeed. Its subclasses say which kind; other kinds, such as INTERNAL, are this class."""

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        retry_after_seconds: float | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        """For people, in the language that the client was made with."""
        self.code = code
        self.reason = reason
        """The case, such as `PORT_001`; empty where the engine did not answer: connection broken, or out of time."""
        self.metadata = dict(metadata or {})
        """What the words are made of, such as `{"symbol": "FOO-BAR"}`."""
        self.violations = tuple(violations)
        self.retry_after_seconds = retry_after_seconds
        """When to try again, where the engine says so."""
        self.request_id = request_id
        """What the engine's log knows the call by; empty where the engine did not answer."""
        self.idempotency_key = ""
        """Of a write: the key it was sent with. Without an answer it may have been done: the same key finds out."""

    def __str__(self) -> str:
        return f"{self.reason or self.code.name} {self.message}"


class InvalidRequestError(EntasisError):
    """The request is malformed: `violations` name the fields."""


class AuthenticationError(EntasisError):
    """There is no credential, or it is not valid."""


class PermissionDeniedError(EntasisError):
    """The credential, or the address, does not permit this."""


class NotFoundError(EntasisError):
    """There is no such instrument or position."""


class RefusedError(EntasisError):
    """The state of things forbids it: no balance, a limit, a position that is not open, a key used otherwise."""


class LimitError(EntasisError):
    """Too many requests, or too many streams."""


class UnavailableError(EntasisError):
    """The engine, its market data or a model cannot be reached at the moment."""


class DeadlineError(EntasisError):
    """Time ran out before there was an answer."""


_KINDS: Mapping[grpc.StatusCode, type[EntasisError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequestError,
    grpc.StatusCode.UNAUTHENTICATED: AuthenticationError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.FAILED_PRECONDITION: RefusedError,
    grpc.StatusCode.ALREADY_EXISTS: RefusedError,
    grpc.StatusCode.ABORTED: RefusedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: LimitError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
}


def made(code: grpc.StatusCode, message: str) -> EntasisError:
    """An error of a code that nobody but this client says, without details."""
    return _KINDS.get(code, EntasisError)(message, code=code)


def from_rpc(code: grpc.StatusCode, message: str, metadata: Sequence[tuple[str, str | bytes]]) -> EntasisError:
    """The exception for a status as gRPC gives it.

    Args:
        metadata: the trailing metadata; its `grpc-status-details-bin` is a `google.rpc.Status`.
    """
    found = dict(metadata)
    status = _parsed(details.Status, found.get("grpc-status-details-bin"))
    info, bad, retry = details.ErrorInfo(), details.BadRequest(), details.RetryInfo()
    for one in status.details:
        match one.type_url.rpartition("/")[2]:
            case "google.rpc.ErrorInfo":
                info = _parsed(details.ErrorInfo, one.value)
            case "google.rpc.BadRequest":
                bad = _parsed(details.BadRequest, one.value)
            case "google.rpc.RetryInfo":
                retry = _parsed(details.RetryInfo, one.value)
    return _KINDS.get(code, EntasisError)(
        status.message or message or code.name,
        code=code,
        reason=info.reason,
        metadata=info.metadata,
        violations=[Violation(one.field, one.description) for one in bad.field_violations],
        retry_after_seconds=None if retry.retry_delay is None else retry.retry_delay.total_seconds(),
        request_id=str(found.get("x-request-id", "")),
    )


def _parsed(kind: type[M], encoded: object) -> M:
    """What was encoded; an empty message where it cannot be read."""
    if not isinstance(encoded, bytes):
        return kind()
    try:
        return kind.parse(encoded)
    except (
        Exception
    ):  # whatever stands between us and the engine wrote it; the code and the words are there all the same
        return kind()
