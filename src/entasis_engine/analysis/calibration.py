"""From how wrong forecasts were to how wrong the next one may be: intervals and probabilities of rolling residuals.

A residual here is what a forecast missed by, over the sigma it told: (log return - location) / sigma. The last so many
of them, all of forecasts made before their outcome was known, stand for the distribution of the next: split conformal
prediction (Papadopoulos et al. 2002; Lei et al. 2018), with a window that rolls, since markets change.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable

import numpy as np

from entasis_engine.analysis.series import Floats

GATE_OPEN_T = 1.0
GATE_SHUT_T = -2.0
GATE_DAYS_MIN = 30


class Residuals:
    """The last `size` residuals, and what they say. One more costs microseconds, however many there are."""

    def __init__(self, size: int, residuals: Iterable[float] = ()) -> None:
        self._order: deque[float] = deque((float(residual) for residual in residuals), maxlen=size)
        self._sorted = sorted(self._order)

    def __len__(self) -> int:
        return len(self._order)

    def push(self, residual: float) -> None:
        """Add one, which must be finite; the oldest goes where there are too many."""
        if len(self._order) == self._order.maxlen:
            del self._sorted[bisect_left(self._sorted, self._order[0])]
        self._order.append(residual)
        insort(self._sorted, residual)

    def quantile(self, level: float) -> float:
        """Between the two residuals next to rank level x (n + 1), as conformal prediction counts; n at least 1."""
        values = self._sorted
        rank = min(max(level * (len(values) + 1) - 1, 0.0), len(values) - 1.0)
        below = int(rank)
        above = min(below + 1, len(values) - 1)
        return values[below] + (rank - below) * (values[above] - values[below])

    def probability(self, low: float, high: float) -> float:
        """Of the next residual to lie from low to high: their share, with one half added inside and one outside."""
        inside = bisect_right(self._sorted, high) - bisect_left(self._sorted, low)
        return (inside + 0.5) / (len(self._sorted) + 1.0)

    def array(self) -> Floats:
        """In the order they came, shape (n,)."""
        return np.array(self._order, dtype=np.float64)


class Gate:
    """How far to go from the random walk towards the forecast median, by how it did over the last `size` days.

    A day's gain is what its forecasts were nearer to the outcomes than the last price was. Where the t of the gains is
    GATE_OPEN_T or above the weight is 1; where it is GATE_SHUT_T or below, 0; a half in the middle, as long as there
    are too few days to tell. Half a step towards a median that is as good as none is better than a whole one or none.
    """

    def __init__(self, size: int) -> None:
        self._days: deque[float] = deque(maxlen=size)
        self._today: int | None = None
        self._sum = 0.0
        self.weight = 0.5

    def push(self, day: int, gain: float) -> None:
        """Add one forecast's gain; `day` never falls."""
        if day != self._today:
            if self._today is not None:
                self._days.append(self._sum)
                self.weight = self._weight()
            self._today, self._sum = day, 0.0
        self._sum += gain

    def _weight(self) -> float:
        days = np.array(self._days)
        if days.size < GATE_DAYS_MIN:
            return 0.5
        around = days - days.mean()
        # Outcomes of forecasts a day ahead overlap with the next day's: one autocovariance counts.
        own = around @ around / days.size
        variance = max(own + 2 * (around[1:] @ around[:-1]) / days.size, own / 4)
        if variance <= 0:
            return 0.5
        t = days.mean() / np.sqrt(variance / days.size)
        return float(np.clip((t - GATE_SHUT_T) / (GATE_OPEN_T - GATE_SHUT_T), 0.0, 1.0))
