"""The messages of google.rpc that an error carries (status.proto, error_details.proto), as far as they are read here.

`gen/betterproto` has only what our own contract imports, and these it does not.
"""

from __future__ import annotations

# ruff: noqa: RUF009 - betterproto2 declares fields so
import datetime
from dataclasses import dataclass

import betterproto2

from entasis_betterproto.google import protobuf


@dataclass(eq=False, repr=False)
class Status(betterproto2.Message):
    """What `grpc-status-details-bin` holds."""

    code: int = betterproto2.field(1, betterproto2.TYPE_INT32)
    message: str = betterproto2.field(2, betterproto2.TYPE_STRING)
    details: list[protobuf.Any] = betterproto2.field(3, betterproto2.TYPE_MESSAGE, repeated=True)


@dataclass(eq=False, repr=False)
class ErrorInfo(betterproto2.Message):
    """Why, for programs."""

    reason: str = betterproto2.field(1, betterproto2.TYPE_STRING)
    domain: str = betterproto2.field(2, betterproto2.TYPE_STRING)
    metadata: dict[str, str] = betterproto2.field(
        3,
        betterproto2.TYPE_MAP,
        map_meta=betterproto2.map_meta(betterproto2.TYPE_STRING, betterproto2.TYPE_STRING),
    )


@dataclass(eq=False, repr=False)
class FieldViolation(betterproto2.Message):
    """One field at fault."""

    field: str = betterproto2.field(1, betterproto2.TYPE_STRING)
    description: str = betterproto2.field(2, betterproto2.TYPE_STRING)


@dataclass(eq=False, repr=False)
class BadRequest(betterproto2.Message):
    """The fields at fault."""

    field_violations: list[FieldViolation] = betterproto2.field(1, betterproto2.TYPE_MESSAGE, repeated=True)


@dataclass(eq=False, repr=False)
class RetryInfo(betterproto2.Message):
    """After how long to try again."""

    retry_delay: datetime.timedelta | None = betterproto2.field(
        1, betterproto2.TYPE_MESSAGE, unwrap=lambda: protobuf.Duration, optional=True
    )
