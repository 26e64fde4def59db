"""How well forecasts did: read and worked out off the event loop, and remembered for a minute.

The longest span is read once for all questions about it, whatever number of days they ask for, so that asking for
other days costs no reading. What is remembered is answered at once; all else waits for its turn, so that the database
and the worker have one question at a time, however many ask.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from entasis_engine.analysis.accuracy import Accuracy, accuracy
from entasis_engine.analysis.records import PredictionStore, PredictionsUnavailableError, Track
from entasis_engine.storage.writes import finished
from entasis_engine.times import Monotonic

DAYS_MAX = 365
"""What the contract allows, and what is read."""
SCORED_MAX = 2 * DAYS_MAX * 24
"""Of one horizon and model: every hour of a year, and as many again where a model was swapped. The newest count."""
TRACKS_MAX = 24
"""Remembered at a time: three horizons of two models for four instruments, of 2 MB each at most."""
REMEMBERED_SECONDS = 60.0
"""Outcomes come once a minute."""
READ_DEADLINE_SECONDS = 5.0


class _Subject(NamedTuple):
    symbol: str
    timeframe: str
    model: str


@dataclass(frozen=True)
class _Known:
    track: Track
    read_seconds: float
    """When it was read, by the monotonic clock."""
    answers: dict[int, Accuracy] = field(default_factory=dict)
    """By days, of which there are `DAYS_MAX`."""


class Accuracies:
    """The figures of one source's forecasts.

    Args:
        executor: where they are worked out. One of its own, lest forecasts wait for it.
    """

    def __init__(self, store: PredictionStore, executor: Executor, *, source: str, monotonic: Monotonic) -> None:
        self._store = store
        self._executor = executor
        self._source = source
        self._monotonic = monotonic
        self._known: OrderedDict[_Subject, _Known] = OrderedDict()
        self._turn = asyncio.Lock()

    async def of(self, symbol: str, timeframe: str, model: str, *, days: int, now: datetime) -> Accuracy:
        """Of the forecasts of the last `days`, at most `DAYS_MAX`, up to `now`; as it was up to a minute ago.

        Raises `PredictionsUnavailableError` where they cannot be read.
        """
        subject, days = _Subject(symbol, timeframe, model), min(days, DAYS_MAX)
        known = self._fresh(subject)
        if known is not None and days in known.answers:
            return known.answers[days]
        async with self._turn:
            # To its end: whoever asks and leaves would otherwise have it begun anew each time, and never remembered.
            return await finished(self._work_out(subject, days, now))

    def _fresh(self, subject: _Subject) -> _Known | None:
        known = self._known.get(subject)
        if known is None or self._monotonic() - known.read_seconds >= REMEMBERED_SECONDS:
            return None
        self._known.move_to_end(subject)
        return known

    async def _work_out(self, subject: _Subject, days: int, now: datetime) -> Accuracy:
        known = self._fresh(subject) or await self._read(subject, now)
        if days not in known.answers:
            known.answers[days] = await asyncio.get_running_loop().run_in_executor(
                self._executor,
                accuracy,
                known.track.within(now - timedelta(days=days), now),
                subject.timeframe,
                subject.model,
            )
        return known.answers[days]

    async def _read(self, subject: _Subject, now: datetime) -> _Known:
        read_seconds = self._monotonic()
        try:
            async with asyncio.timeout(READ_DEADLINE_SECONDS):
                track = await self._store.track(self._source, *subject, now - timedelta(days=DAYS_MAX), now, SCORED_MAX)
        except TimeoutError as error:
            raise PredictionsUnavailableError("reading predictions took too long") from error
        known = self._known[subject] = _Known(track, read_seconds)
        self._known.move_to_end(subject)
        while len(self._known) > TRACKS_MAX:
            self._known.popitem(last=False)
        return known
