"""How many messages a client may send."""

from __future__ import annotations

from entasis_engine.websocket.limits import TokenBucket


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_and_then_the_rate() -> None:
    """As many as the burst are admitted at once, and then one per interval of the rate."""
    clock = Clock()
    bucket = TokenBucket(rate=50, burst=200, clock=clock)
    assert [bucket.take() for _ in range(201)] == [True] * 200 + [False]
    clock.now += 0.03
    assert [bucket.take(), bucket.take()] == [True, False]


def test_rest_restores_the_burst_and_no_more() -> None:
    """A long silence gives back the burst, not more."""
    clock = Clock()
    bucket = TokenBucket(rate=50, burst=3, clock=clock)
    clock.now += 1000
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


def test_a_charge_is_paid_by_later_messages() -> None:
    """What a message cost beyond itself delays the next."""
    clock = Clock()
    bucket = TokenBucket(rate=1, burst=2, clock=clock)
    assert bucket.take()
    bucket.charge(3)
    clock.now += 2
    assert not bucket.take()
    clock.now += 1
    assert bucket.take()
