"""The bounded queues between the hub and one reader of a stream."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable

from entasis_engine.telemetry import metrics

# gRPC clients take 4 MiB in one message unless they were told otherwise.
BATCH_BYTES_MAX = 1024 * 1024


class Mailbox:
    """Encoded updates that wait for one reader.

    The reader takes what waits as one batch: protobuf messages concatenate, so joining the encoded single-item batches
    is the batch. When `capacity` updates wait, only the newest of each key is kept, in the order of their last change:
    a slow reader loses steps on the way, never the latest state. Keys themselves give way, the oldest first, only
    where there are more of them than `capacity`.
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
            self._keep_newest(key)
        self._waiting.append((key, encoded))
        self._filled.set()

    async def take(self) -> bytes:
        """What waits, joined; waits until there is something. Of very much, a first part."""
        await self._filled.wait()
        batch: list[bytes] = []
        size_bytes = 0
        while self._waiting and size_bytes < BATCH_BYTES_MAX:
            _, encoded = self._waiting.popleft()
            batch.append(encoded)
            size_bytes += len(encoded)
        if not self._waiting:
            self._filled.clear()
        return b"".join(batch)

    def _keep_newest(self, coming: Hashable) -> None:
        """Make room for an update of the key `coming`."""
        before = len(self._waiting)
        newest: dict[Hashable, bytes] = {}
        for key, encoded in self._waiting:
            newest.pop(key, None)  # so that the order is that of the last change
            newest[key] = encoded
        newest.pop(coming, None)
        self._waiting = deque(newest.items())
        while len(self._waiting) >= self._capacity:
            self._waiting.popleft()
        left_out = before - len(self._waiting)
        self.conflated += left_out
        metrics.CONFLATED.inc(left_out)


class NewestOnly(Mailbox):
    """Keeps the newest update of each key from the first on: for updates that replace each other whole.

    It needs no capacity: it holds as many updates as there are keys.
    """

    def __init__(self) -> None:
        super().__init__(capacity=0)

    def put(self, key: Hashable, encoded: bytes) -> None:
        for position, (waiting_key, _) in enumerate(self._waiting):
            if waiting_key == key:
                self._waiting[position] = (key, encoded)
                self.conflated += 1
                return
        self._waiting.append((key, encoded))
        self._filled.set()
