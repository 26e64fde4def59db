"""How well forecasts did: worked out off the event loop, and remembered for a minute, since years are many rows."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import Executor
from datetime import datetime, timedelta
from typing import NamedTuple

from entasis_engine.analysis.accuracy import Accuracy, accuracy
from entasis_engine.analysis.records import PredictionStore

REMEMBERED_MAX = 512
REMEMBERED = timedelta(minutes=1)
"""Outcomes come once a minute."""
SCORED_MAX = 2 * 366 * 24
"""Of one horizon and model: every hour of a year, and as many again where a model was swapped."""


class _Question(NamedTuple):
    symbol: str
    timeframe: str
    model: str
    days: int


class Accuracies:
    """The figures of one source's forecasts.

    Args:
        executor: where they are worked out.
    """

    def __init__(self, store: PredictionStore, executor: Executor, *, source: str) -> None:
        self._store = store
        self._executor = executor
        self._source = source
        self._known: OrderedDict[_Question, tuple[datetime, Accuracy]] = OrderedDict()
        self._turn = asyncio.Lock()
        """One question at a time reads, however many ask."""

    async def of(self, symbol: str, timeframe: str, model: str, *, days: int, now: datetime) -> Accuracy:
        """Of the forecasts of the last `days` before `now`."""
        question = _Question(symbol, timeframe, model, days)
        async with self._turn:
            known = self._known.get(question)
            if known is None or not timedelta(0) <= now - known[0] < REMEMBERED:
                since = now - timedelta(days=days)
                scored = await self._store.scored(self._source, symbol, timeframe, model, since, SCORED_MAX)
                loop = asyncio.get_running_loop()
                found = await loop.run_in_executor(self._executor, accuracy, scored, timeframe, model)
                known = self._known[question] = (now, found)
                self._known.move_to_end(question)
                if len(self._known) > REMEMBERED_MAX:
                    self._known.popitem(last=False)
        return known[1]
