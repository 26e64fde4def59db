"""The models in use, by horizon."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from entasis_engine.analysis.forecasting import Trained
from entasis_engine.errors import EntasisError


class InUse(NamedTuple):
    """What forecasts of one horizon are made with."""

    version: str
    trained: Trained


class Shelf:
    """Swapped whole: whoever asks gets one version or the next, never parts of both.

    Args:
        absence: says why there is no model for a timeframe.
    """

    def __init__(self, absence: Callable[[str], EntasisError]) -> None:
        self._in_use: Mapping[str, InUse] = {}
        self._absence = absence

    def put(self, version: str, trained: Mapping[str, Trained]) -> None:
        """Use a version from now on. A timeframe that it lacks has no model any more."""
        self._in_use = {timeframe: InUse(version, one) for timeframe, one in trained.items()}

    def clear(self) -> None:
        """Use none."""
        self._in_use = {}

    def require(self, timeframe: str) -> InUse:
        """The model of a timeframe. Raises AI_001 where there is none."""
        found = self._in_use.get(timeframe)
        if found is None:
            raise self._absence(timeframe)
        return found

    @property
    def all(self) -> Mapping[str, InUse]:
        """By timeframe."""
        return self._in_use
