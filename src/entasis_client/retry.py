"""When to try again, and after how long. Pure: no clock, no sleep, and chance is passed in."""

from __future__ import annotations

import random
from dataclasses import dataclass

import grpc

from entasis_client.errors import EntasisError

# How a broken connection looks: through Envoy one that is cut in the middle is a reset stream, and not UNAVAILABLE.
_CUT = frozenset(
    (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.CANCELLED,
    )
)
_DOUBLINGS_MAX = 32


@dataclass(frozen=True)
class Backoff:
    """Waits that double from the first to the longest, each of them shortened by chance by up to a half, so that
    clients that lost the same engine do not come back all at once.
    """

    first_seconds: float = 0.1
    longest_seconds: float = 5.0

    def seconds(self, attempt: int, chance: random.Random) -> float:
        """How long to wait after a number of failures, of which the first is 0."""
        full: float = min(self.longest_seconds, self.first_seconds * 2 ** min(attempt, _DOUBLINGS_MAX))
        return full * chance.uniform(0.5, 1.0)


def is_cut(error: EntasisError) -> bool:
    """Whether there was no answer of the engine at all: of a write nobody knows whether it was done."""
    return not error.reason and error.code in _CUT


def may_repeat(error: EntasisError) -> bool:
    """Whether the same call may succeed soon. A write may be repeated too, since it always has its idempotency key."""
    if error.reason in {"LIMIT_001", "SERVER_002"} or is_cut(error):
        return True
    # Such as no live data, or a model that is being loaded: only where the engine says when.
    return error.code is grpc.StatusCode.UNAVAILABLE and error.retry_after_seconds is not None


def may_reconnect(error: EntasisError, *, established: bool) -> bool:
    """Whether a stream is worth opening again.

    Args:
        established: it was open before. Then the engine may still count the broken one among the open ones (LIMIT_002).
    """
    too_late = not error.reason and error.code is grpc.StatusCode.DEADLINE_EXCEEDED
    return may_repeat(error) or too_late or (established and error.reason == "LIMIT_002")


def pause_seconds(error: EntasisError, attempt: int, backoff: Backoff, chance: random.Random) -> float:
    """How long to wait: as the engine says, or the backoff, whichever is longer."""
    return max(backoff.seconds(attempt, chance), error.retry_after_seconds or 0.0)
