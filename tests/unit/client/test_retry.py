"""The waits between attempts."""

from __future__ import annotations

import random
from typing import Any

import grpc

from entasis_client import Backoff, UnavailableError
from entasis_client.retry import may_repeat


def test_waits_double_up_to_the_longest() -> None:
    """Each is between half and the whole of its step, and none beyond the longest, however many there were."""
    backoff, chance = Backoff(0.1, 5.0), random.Random(1)
    for attempt, full in enumerate([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]):
        for _ in range(50):
            assert full / 2 <= backoff.seconds(attempt, chance) <= full
    assert backoff.seconds(1_000_000, chance) <= 5.0


def test_waits_differ_by_chance_and_repeat_with_the_seed() -> None:
    """Two clients do not come back at the same moment; the same seed gives the same waits."""
    backoff = Backoff()

    def waits(seed: int) -> list[float]:
        chance = random.Random(seed)
        return [backoff.seconds(attempt, chance) for attempt in range(10)]

    assert waits(1) == waits(1)
    assert not set(waits(1)) & set(waits(2))


def test_unavailable_is_repeated_only_where_the_engine_says_when() -> None:
    """An answer of the engine without a time to retry is an answer; without any reason it is a broken connection."""
    told: dict[str, Any] = {"code": grpc.StatusCode.UNAVAILABLE, "reason": "AI_001"}
    assert not may_repeat(UnavailableError("words", **told))
    assert may_repeat(UnavailableError("words", **told, retry_after_seconds=1))
    assert may_repeat(UnavailableError("words", code=grpc.StatusCode.UNAVAILABLE))
