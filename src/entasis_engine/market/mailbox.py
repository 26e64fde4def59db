"""The bounded queue between the hub and one reader of a stream."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable, Iterable


class Mailbox:
    """Encoded updates that wait for one reader.

    The reader takes all that waits as one batch: protobuf messages concatenate, so joining the encoded
    single-item batches is the batch. When more than `capacity` updates wait, only the newest of each key is kept, in
    the order of their last change: a slow reader loses steps on the way, never the latest state, and its memory is
    bounded by the number of keys.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._waiting: deque[tuple[Hashable, bytes]] = deque()
        self._filled = asyncio.Event()
        self.conflated = 0
        """Updates left out so far because the reader was slow."""

    def put(self, key: Hashable, encoded: bytes) -> None:
        """Add an update; never waits."""
        if len(self._waiting) >= self._capacity:
            self._keep_newest()
        self._waiting.append((key, encoded))
        self._filled.set()

    def put_all(self, updates: Iterable[tuple[Hashable, bytes]]) -> None:
        for key, encoded in updates:
            self.put(key, encoded)

    async def take(self) -> bytes:
        """All that waits, joined; waits until there is something."""
        await self._filled.wait()
        batch = b"".join([encoded for _, encoded in self._waiting])
        self._waiting.clear()
        self._filled.clear()
        return batch

    def _keep_newest(self) -> None:
        before = len(self._waiting)
        newest: dict[Hashable, bytes] = {}
        for key, encoded in self._waiting:
            newest.pop(key, None)  # so that the order is that of the last change
            newest[key] = encoded
        self._waiting = deque(newest.items())
        self.conflated += before - len(newest)
        if len(self._waiting) >= self._capacity:  # more keys than places: the oldest give way
            self._waiting.popleft()
            self.conflated += 1
