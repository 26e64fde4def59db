"""What every rate limiter does, whatever it keeps its requests in."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entasis_engine.access.limits import MemoryWindows, MovingWindow, RateLimiter, Standing
from entasis_engine.times import Monotonic

WINDOW = 60


class Clock:
    """Stands until it is set. Tests go by fractions that a float holds exactly."""

    def __init__(self, now: float = 12345.75) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


LIMITERS: dict[str, Callable[[Monotonic], RateLimiter]] = {"memory": MovingWindow}


@pytest.fixture(params=LIMITERS)
def make(request: pytest.FixtureRequest) -> Callable[[Monotonic], RateLimiter]:
    return LIMITERS[request.param]


every_limiter = pytest.mark.parametrize("make", LIMITERS.values(), ids=LIMITERS)


def _told(standing: Standing | Awaitable[Standing]) -> Standing:
    async def awaited(standing: Awaitable[Standing]) -> Standing:
        return await standing

    return standing if isinstance(standing, Standing) else asyncio.run(awaited(standing))


def _hit(limiter: RateLimiter, caller: str, limit: int) -> Standing:
    return _told(limiter.hit(caller, limit))


def _look(limiter: RateLimiter, caller: str, limit: int) -> Standing:
    return _told(limiter.standing(caller, limit))


class Model:
    """The rule, spelt out: every admitted request is kept for ever and counted anew each time."""

    def __init__(self) -> None:
        self.admitted: defaultdict[str, list[float]] = defaultdict(list)

    def hit(self, caller: str, limit: int, now: float) -> Standing:
        admits = self.look(caller, limit, now).admitted
        if admits:
            self.admitted[caller].append(now)
        return self.look(caller, limit, now)._replace(admitted=admits)

    def look(self, caller: str, limit: int, now: float) -> Standing:
        counting = [moment for moment in self.admitted[caller] if moment > now - WINDOW]
        if not counting:
            return Standing(True, limit, limit, 0)
        leaves = counting[max(len(counting) - limit, 0)]
        left = max(limit - len(counting), 0)
        return Standing(left > 0, limit, left, math.ceil(leaves + WINDOW - now))


PAUSES = st.one_of(
    st.just(0.0),
    st.integers(0, 16 * WINDOW).map(lambda sixteenths: sixteenths / 16),
    st.sampled_from([WINDOW - 1 / 1024, WINDOW, WINDOW + 1 / 1024, 1 / 1024]),
)


@every_limiter
@given(st.lists(st.tuples(PAUSES, st.sampled_from("abc"), st.sampled_from([1, 2, 5]), st.booleans()), max_size=60))
@settings(max_examples=300, deadline=None)
def test_the_standing_is_exact_at_every_step(
    make: Callable[[Monotonic], RateLimiter], steps: list[tuple[float, str, int, bool]]
) -> None:
    """Admission, what is left and the time to wait are those of the rule, for callers and limits of every kind."""
    clock, model = Clock(), Model()
    limiter = make(clock)
    for pause, caller, limit, looks in steps:
        clock.now += pause
        if looks:
            assert _look(limiter, caller, limit) == model.look(caller, limit, clock.now)
        else:
            assert _hit(limiter, caller, limit) == model.hit(caller, limit, clock.now)


@every_limiter
@given(st.integers(1, 6), st.lists(st.integers(0, 40 * 1024), min_size=1, max_size=120))
@settings(max_examples=200, deadline=None)
def test_no_window_holds_more_than_the_limit(
    make: Callable[[Monotonic], RateLimiter], limit: int, pauses: list[int]
) -> None:
    """Wherever a window of 60 seconds begins, no more than the limit were admitted in it."""
    clock = Clock()
    limiter = make(clock)
    admitted: list[float] = []
    for pause in pauses:
        clock.now += pause / 1024
        if _hit(limiter, "a", limit).admitted:
            admitted.append(clock.now)
    # A fullest window can be moved until it begins with a request.
    for start in admitted:
        assert sum(start <= moment < start + WINDOW for moment in admitted) <= limit


@every_limiter
@given(st.integers(1, 5), st.lists(st.integers(0, 30 * 1024), min_size=1, max_size=40))
@settings(max_examples=200, deadline=None)
def test_waiting_as_long_as_told_is_enough(
    make: Callable[[Monotonic], RateLimiter], limit: int, pauses: list[int]
) -> None:
    """Who is refused and waits for as long as they were told is admitted, and is told to wait at least a second."""
    clock = Clock()
    limiter = make(clock)
    for pause in pauses:
        clock.now += pause / 1024
        standing = _hit(limiter, "a", limit)
        if not standing.admitted:
            assert 1 <= standing.reset_seconds <= WINDOW
            clock.now += standing.reset_seconds
            assert _hit(limiter, "a", limit).admitted


def test_a_new_caller_has_everything_left(make: Callable[[Monotonic], RateLimiter]) -> None:
    """Of a caller who has not called nothing counts, so nothing needs to end."""
    assert _look(make(Clock()), "a", 1000) == Standing(True, 1000, 1000, 0)


def test_a_request_counts_for_sixty_seconds(make: Callable[[Monotonic], RateLimiter]) -> None:
    """A request counts until 60 seconds have passed, and then no more."""
    clock = Clock()
    limiter = make(clock)
    assert _hit(limiter, "a", 1) == Standing(True, 1, 0, 60)
    clock.now += 0.5
    assert _hit(limiter, "a", 1) == Standing(False, 1, 0, 60)
    clock.now += 59
    assert _hit(limiter, "a", 1) == Standing(False, 1, 0, 1)
    clock.now += 0.5
    assert _hit(limiter, "a", 1) == Standing(True, 1, 0, 60)


def test_a_refused_request_does_not_count(make: Callable[[Monotonic], RateLimiter]) -> None:
    """Refused requests delay nothing, however many they are."""
    clock = Clock()
    limiter = make(clock)
    assert [_hit(limiter, "a", 3).admitted for _ in range(100)] == [True] * 3 + [False] * 97
    for _ in range(59):
        clock.now += 1
        assert not _hit(limiter, "a", 3).admitted
    clock.now += 1
    assert [_hit(limiter, "a", 3).admitted for _ in range(4)] == [True] * 3 + [False]


def test_looking_counts_nothing(make: Callable[[Monotonic], RateLimiter]) -> None:
    """However often a caller's standing is looked at, it stays as it is."""
    limiter = make(Clock())
    _hit(limiter, "a", 2)
    assert {_look(limiter, "a", 2) for _ in range(100)} == {Standing(True, 2, 1, 60)}
    _hit(limiter, "a", 2)
    assert _look(limiter, "a", 2) == Standing(False, 2, 0, 60)


def test_there_is_no_edge_to_gather_requests_at(make: Callable[[Monotonic], RateLimiter]) -> None:
    """A caller who sends all at the end of a minute of the clock has nothing left at the start of the next."""
    clock = Clock(now=59.0)
    limiter = make(clock)
    assert sum(_hit(limiter, "a", 1000).admitted for _ in range(1500)) == 1000
    clock.now = 61.0
    assert sum(_hit(limiter, "a", 1000).admitted for _ in range(1500)) == 0
    clock.now = 119.0
    assert sum(_hit(limiter, "a", 1000).admitted for _ in range(1500)) == 1000


def test_callers_do_not_influence_each_other(make: Callable[[Monotonic], RateLimiter]) -> None:
    """One who has used up everything takes nothing from another, whatever their names have in common."""
    limiter = make(Clock())
    names = ["a", "A", "a/1", "a/1/1/minute", "account:a", "address:2001:db8::/64", "address:1.2.3.4", "가", ""]
    for name in names:
        assert [_hit(limiter, name, 2).admitted for _ in range(3)] == [True, True, False]


def test_requests_go_on_to_count_when_the_limit_changes(make: Callable[[Monotonic], RateLimiter]) -> None:
    """A limit that is lowered counts what was before; one that is raised admits the difference."""
    clock = Clock()
    limiter = make(clock)
    for _ in range(10):
        _hit(limiter, "a", 10)
        clock.now += 1
    # Three more than seven must leave, and then one more: the fourth, which came 7 seconds ago.
    assert _hit(limiter, "a", 7) == Standing(False, 7, 0, 53)
    clock.now += 53
    assert _hit(limiter, "a", 7).admitted
    assert not _hit(limiter, "a", 7).admitted
    assert _hit(limiter, "a", 9).remaining == 1


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_admits_nobody_is_a_mistake(make: Callable[[Monotonic], RateLimiter], limit: int) -> None:
    """A limit below one is refused, rather than read as none at all."""
    limiter = make(Clock())
    with pytest.raises(ValueError, match="1 at least"):
        _hit(limiter, "a", limit)
    with pytest.raises(ValueError, match="1 at least"):
        _look(limiter, "a", limit)


@pytest.mark.parametrize("pause", [13.0, 19.75])
def test_a_wait_that_ends_while_it_is_worked_out(make: Callable[[Monotonic], RateLimiter], pause: float) -> None:
    """Who is refused has nothing left and waits a second, though there is room again before they hear of it."""
    clock = Clock()

    def ticking() -> float:
        clock.now += pause
        return clock.now

    limiter = make(ticking)
    standings = [_hit(limiter, "a", 1) for _ in range(100)]
    assert {standing.admitted for standing in standings} == {True, False}
    assert {standing for standing in standings if not standing.admitted} == {Standing(False, 1, 0, 1)}


def test_large_limits_are_as_exact_as_small_ones(make: Callable[[Monotonic], RateLimiter]) -> None:
    """With 6000 a minute, a caller who sends 256 a second is admitted 6000 times at once, and again a minute later."""
    clock, model = Clock(), Model()
    limiter = make(clock)
    admitted: list[float] = []
    for step in range(25_000):
        clock.now = 1000 + step / 256
        standing = _hit(limiter, "a", 6000)
        if standing.admitted:
            admitted.append(clock.now)
        if step % 997 == 0:
            model.admitted["a"] = admitted
            assert standing[1:] == model.look("a", 6000, clock.now)[1:]
    assert admitted == [start + number / 256 for start in (1000, 1000 + WINDOW) for number in range(6000)]


# Memory only: how little is kept, and for how long.


def test_callers_are_forgotten_after_a_window() -> None:
    """Those of whom nothing counts any more are forgotten as others call, without a thread."""
    clock = Clock()
    windows = MemoryWindows(clock)
    limiter = MovingWindow(clock, windows)
    threads = threading.active_count()
    for number in range(1000):
        limiter.hit(f"old {number}", 10)
    assert len(windows) == 1000
    clock.now += WINDOW
    for number in range(500):
        limiter.hit(f"new {number}", 10)
    assert len(windows) == 500
    assert threading.active_count() == threads


def test_looking_at_a_caller_does_not_remember_them() -> None:
    """A look keeps nothing, and forgets whom it finds to have nothing that counts."""
    clock = Clock()
    windows = MemoryWindows(clock)
    limiter = MovingWindow(clock, windows)
    limiter.standing("a", 10)
    assert len(windows) == 0
    limiter.hit("a", 10)
    clock.now += WINDOW
    assert limiter.standing("a", 10).remaining == 10
    assert len(windows) == 0


def test_no_more_callers_are_kept_than_may_be() -> None:
    """However many callers there are, the newest is admitted and the number kept is bounded."""
    clock = Clock()
    windows = MemoryWindows(clock, callers_max=100)
    limiter = MovingWindow(clock, windows)
    for number in range(1000):
        clock.now += 1 / 1024
        assert limiter.hit(f"caller {number}", 1).admitted
        assert len(windows) == min(number + 1, 100)
    assert not limiter.hit("caller 999", 1).admitted


def test_a_flood_of_addresses_does_not_reset_a_full_window() -> None:
    """Whoever has used up their limit stays refused, however many strangers call once meanwhile."""
    clock = Clock()
    limiter = MovingWindow(clock, MemoryWindows(clock, callers_max=100))
    assert [limiter.hit("greedy", 5).admitted for _ in range(6)] == [True] * 5 + [False]
    for number in range(10_000):
        clock.now += 1 / 1024
        limiter.hit(f"stranger {number}", 5)
    assert not limiter.hit("greedy", 5).admitted


def test_whoever_goes_on_calling_is_not_idle() -> None:
    """Nobody gets a new window by calling on while they are refused, however many others call meanwhile."""
    clock = Clock()
    limiter = MovingWindow(clock, MemoryWindows(clock, callers_max=100))
    limiter.hit("greedy", 1)
    for number in range(10_000):
        clock.now += 1 / 1024
        limiter.hit(f"stranger {number}", 5)
        limiter.hit(f"stranger {number}", 5)
        assert not limiter.hit("greedy", 1).admitted


def test_the_memory_of_a_caller_is_bounded() -> None:
    """A caller who never stops is remembered by the requests that count, and a few that just ceased to."""
    clock = Clock()
    windows = MemoryWindows(clock)
    limiter = MovingWindow(clock, windows)
    for step in range(50_000):
        clock.now = 1000 + step / 64
        limiter.hit("a", 1_000_000)
        assert len(windows._windows["a"]) <= WINDOW * 64 * 16 / 15 + 1


def test_only_moving_windows_are_kept() -> None:
    """The library's other strategies find out at once that this storage is not for them."""
    windows = MemoryWindows(Clock())
    with pytest.raises(NotImplementedError):
        windows.incr("a", WINDOW)
    with pytest.raises(NotImplementedError):
        windows.get("a")
    with pytest.raises(NotImplementedError):
        windows.get_expiry("a")


def test_windows_can_be_cleared() -> None:
    """One caller, or all of them, can be given everything back."""
    windows = MemoryWindows(Clock())
    limiter = MovingWindow(Clock(), windows)
    for name in ("a", "b", "c"):
        limiter.hit(name, 1)
    windows.clear("a")
    windows.clear("nobody")
    assert limiter.hit("a", 1).admitted
    assert not limiter.hit("b", 1).admitted
    assert windows.reset() == 3
    assert windows.check()
    assert limiter.hit("b", 1).admitted
