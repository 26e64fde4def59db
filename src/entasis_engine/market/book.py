"""An order book: price levels that are replaced, changed and read from the best price on."""

from __future__ import annotations

import zlib
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from entasis_engine.exchanges.feed import BookDelta, BookSnapshot, Level


class _Side:
    """One side's levels, sorted so that the best price comes last and the busy end of the list is its cheap end."""

    def __init__(self, *, bids: bool) -> None:
        self._bids = bids
        self._keys: list[Decimal] = []  # prices of bids, negated prices of asks, ascending
        self._sizes: dict[Decimal, Decimal] = {}  # by key

    def replace(self, levels: Iterable[Level]) -> None:
        self._sizes = {self._negated(price): size for price, size in levels if size}
        self._keys = sorted(self._sizes)

    def change(self, levels: Iterable[Level]) -> None:
        for price, size in levels:
            key = self._negated(price)
            if size:
                if key not in self._sizes:
                    insort(self._keys, key)
                self._sizes[key] = size
            elif self._sizes.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]

    def best(self, depth: int) -> list[Level]:
        return [(self._negated(key), self._sizes[key]) for key in reversed(self._keys[-depth:])]

    def _negated(self, price: Decimal) -> Decimal:
        return price if self._bids else price.copy_negate()  # exact; a minus sign would round to 28 digits


class OrderBook:
    """The book of one instrument, built from a feed's snapshot and deltas."""

    def __init__(self) -> None:
        self._bids = _Side(bids=True)
        self._asks = _Side(bids=False)
        self.update_id: int | None = None
        """The exchange's number of the last change; None while there is no valid book."""
        self.time: datetime | None = None

    @property
    def valid(self) -> bool:
        return self.update_id is not None

    def apply(self, change: BookSnapshot | BookDelta) -> None:
        """Take a change in. A delta without a valid book under it is ignored: the feed owes a snapshot first."""
        if isinstance(change, BookSnapshot):
            self._bids.replace(change.bids)
            self._asks.replace(change.asks)
        elif self.valid:
            self._bids.change(change.bids)
            self._asks.change(change.asks)
        else:
            return
        self.update_id = change.update_id
        self.time = change.time

    def invalidate(self) -> None:
        """Forget the book: changes may have been missed."""
        self._bids.replace(())
        self._asks.replace(())
        self.update_id = None

    def bids(self, depth: int) -> list[Level]:
        """The best `depth` bids, highest price first."""
        return self._bids.best(depth)

    def asks(self, depth: int) -> list[Level]:
        """The best `depth` asks, lowest price first."""
        return self._asks.best(depth)


def checksum(bids: Sequence[tuple[str, str]], asks: Sequence[tuple[str, str]]) -> int:
    """CRC-32 (IEEE) of levels as printed: `bid:size:ask:size:bid:size:…`, the longer side going on alone."""
    parts: list[str] = []
    for position in range(max(len(bids), len(asks))):
        for side in (bids, asks):
            if position < len(side):
                parts.extend(side[position])
    return zlib.crc32(":".join(parts).encode())
