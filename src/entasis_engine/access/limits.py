"""How many requests a caller may make: a moving window of a minute, which no choice of the moment gets around."""

from __future__ import annotations

import math
import time
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Awaitable
from functools import lru_cache
from itertools import islice
from typing import NamedTuple, Protocol

from limits import RateLimitItemPerMinute
from limits.storage import MovingWindowSupport, Storage
from limits.strategies import MovingWindowRateLimiter

from entasis_engine.times import Monotonic

CALLERS_MAX = 100_000
_IDLEST = 16


class Standing(NamedTuple):
    """Where a caller stands."""

    admitted: bool
    """Whether the request is admitted; of a mere look: whether one would be."""
    limit: int
    """Requests in any 60 seconds."""
    remaining: int
    """How many of them are left."""
    reset_seconds: int
    """Until the earliest request that still counts does not any more, rounded up; 0 where none counts.

    Where no request is admitted, one is after that long.
    """


class RateLimiter(Protocol):
    """Counts requests by caller. A refused request does not count.

    For any caller no 60 seconds, their end not included, hold more admitted requests than the limit.
    """

    def hit(self, caller: str, limit: int) -> Standing | Awaitable[Standing]:
        """Admit a request, and count it, or refuse it."""

    def standing(self, caller: str, limit: int) -> Standing | Awaitable[Standing]:
        """Where a caller stands; nothing is counted."""


class MovingWindow:
    """Counts by the moving window of the library `limits`, in memory or in any of the library's storages.

    The library's own memory storage takes 10 µs for a request and its standing, starts a thread every 10 ms that walks
    over all callers, and reads the wall clock; with `MemoryWindows` in its place a request takes 4 µs.

    Args:
        clock: of the storage: what it stamps requests with. For the library's Redis storage that is `time.time`.
        storage: where requests are kept; our own memory by default.
    """

    def __init__(self, clock: Monotonic = time.monotonic, storage: Storage | None = None) -> None:
        self._clock = clock
        self._strategy = MovingWindowRateLimiter(MemoryWindows(clock) if storage is None else storage)

    def hit(self, caller: str, limit: int) -> Standing:
        """Admit a request, and count it, or refuse it. The limit must be 1 at least."""
        item = _requests_per_minute(limit)
        admitted = self._strategy.hit(item, caller)
        reset_at, remaining = self._strategy.get_window_stats(item, caller)
        # The clock went on since the decision, maybe past the end of the window.
        reset_seconds = max(math.ceil(reset_at - self._clock()), 1)
        if admitted:
            return Standing(True, limit, max(remaining, 0), reset_seconds)
        return Standing(False, limit, 0, reset_seconds if remaining <= 0 else 1)

    def standing(self, caller: str, limit: int) -> Standing:
        """Where a caller stands; nothing is counted. The limit must be 1 at least."""
        reset_at, remaining = self._strategy.get_window_stats(_requests_per_minute(limit), caller)
        if remaining == limit:
            return Standing(True, limit, limit, 0)
        return Standing(remaining > 0, limit, max(remaining, 0), max(math.ceil(reset_at - self._clock()), 1))


class MemoryWindows(Storage, MovingWindowSupport):
    """Keeps the moments of admitted requests in memory, for one event loop. Starts no thread and no timer.

    A request costs about the same whatever the limit, and a moment takes 8 bytes. Callers of whom nothing counts any
    more are forgotten a few at a time, as requests come.

    When there are too many callers, the new one takes the place of an old one: to turn the new one away would let
    whoever owns enough addresses lock everybody else out. The old one is, of the idlest, the one with the fewest
    requests to forget. So a flood of addresses pushes itself out: to have a full window forgotten, and the caller
    admitted anew, takes fifteen others that have been idle as long and are as full.
    """

    STORAGE_SCHEME = None

    def __init__(self, clock: Monotonic, callers_max: int = CALLERS_MAX) -> None:
        super().__init__()
        self._clock = clock
        self._callers_max = callers_max
        # Whoever called longest ago is first. No window is empty.
        self._windows: OrderedDict[str, array[float]] = OrderedDict()

    def __len__(self) -> int:
        """How many callers are remembered."""
        return len(self._windows)

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Admit as many requests, if there is room in the window for all of them."""
        if amount > limit:
            return False
        now = self._clock()
        edge = now - expiry
        self._forget_idle(edge)
        window = self._windows.get(key)
        if window is None:
            self._make_room()
            window = self._windows[key] = array("d")
        else:
            self._windows.move_to_end(key)
            if len(window) + amount > limit and _counting(window, edge) + amount > limit:
                return False
        for _ in range(amount):
            window.append(now)
        return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """The moment of the earliest request that counts, and how many do.

        Where the limit was higher once and more count than it is now: the moment of the one whose end makes room.
        """
        now = self._clock()
        window = self._windows.get(key)
        if window is None:
            return now, 0
        counting = _counting(window, now - expiry)
        if not counting:
            del self._windows[key]
            return now, 0
        return window[-min(counting, limit)], counting

    def clear(self, key: str) -> None:
        """Forget a caller."""
        self._windows.pop(key, None)

    def reset(self) -> int:
        """Forget all callers; says how many there were."""
        forgotten = len(self._windows)
        self._windows.clear()
        return forgotten

    def check(self) -> bool:
        """Memory is always there."""
        return True

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        raise NotImplementedError("Only moving windows are kept here.")

    def get(self, key: str) -> int:
        raise NotImplementedError("Only moving windows are kept here.")

    def get_expiry(self, key: str) -> float:
        raise NotImplementedError("Only moving windows are kept here.")

    def _make_room(self) -> None:
        """Forget a caller, where there are as many as can be."""
        if len(self._windows) >= self._callers_max:
            idlest = islice(self._windows.items(), _IDLEST)
            del self._windows[min(idlest, key=lambda item: len(item[1]))[0]]

    def _forget_idle(self, edge: float) -> None:
        """Forget some of those who have not been admitted since `edge`: more than one request can add."""
        for _ in range(2):
            caller = next(iter(self._windows), None)
            if caller is None:
                return
            if self._windows[caller][-1] > edge:
                return
            del self._windows[caller]


class _RequestsPerMinute(RateLimitItemPerMinute):
    """Leaves the limit out of the key, so that requests go on to count when a caller's limit is changed."""

    def key_for(self, *identifiers: bytes | str | float) -> str:
        return str(identifiers[0])


@lru_cache(maxsize=1024)
def _requests_per_minute(limit: int) -> RateLimitItemPerMinute:
    if limit < 1:
        raise ValueError(f"A limit of {limit} requests per minute admits nobody; it must be 1 at least.")
    return _RequestsPerMinute(limit)


def _counting(window: array[float], edge: float) -> int:
    """How many moments of the window are after `edge`. Most of those that are not are taken out."""
    if window[0] > edge:
        return len(window)
    past = bisect_right(window, edge) if window[-1] > edge else len(window)
    if past * 16 < len(window):
        return len(window) - past
    # Taking out moves what is left: at most 15 moments, or 120 bytes, for each that goes.
    del window[:past]
    return len(window)
