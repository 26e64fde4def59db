"""The models in use, by horizon."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from entasis_engine.analysis.forecasting import Trained
from entasis_engine.errors import EntasisError


class InUse(NamedTuple):
    """What forecasts of one horizon are made with."""

    version: str
    """That it was trained for; later ones may have taken it over."""
    trained: Trained


class Shelf:
    """Swapped whole: whoever asks gets one version or the next, never parts of both.

    Args:
        absence: says why there is no model for a timeframe, to whoever asks for a symbol.
    """

    def __init__(self, absence: Callable[[str, str], EntasisError]) -> None:
        self._in_use: Mapping[str, InUse] = {}
        self._absence = absence

    def put(self, models: Mapping[str, InUse]) -> None:
        """Use these from now on. A timeframe that they lack has no model any more; where the version of one is that in
        use already, the models stay the same objects.
        """
        before = self._in_use
        self._in_use = {
            timeframe: before[timeframe] if timeframe in before and before[timeframe].version == one.version else one
            for timeframe, one in models.items()
        }

    def require(self, timeframe: str, symbol: str) -> InUse:
        """The model of a timeframe. Raises AI_001, or AI_002 for want of history, where there is none."""
        found = self._in_use.get(timeframe)
        if found is None:
            raise self._absence(timeframe, symbol)
        return found

    @property
    def all(self) -> Mapping[str, InUse]:
        """By timeframe."""
        return self._in_use
