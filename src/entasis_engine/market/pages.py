"""Pages of history, encoded once and remembered until a candle is added to what they cover."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime

from entasis.market.v1 import market_pb2 as pb
from entasis_engine.exchanges.feed import Instrument, Interval
from entasis_engine.market import wire
from entasis_engine.market.candles import open_time_of
from entasis_engine.market.history import Page, next_token
from entasis_engine.market.keeper import CandleKeeper
from entasis_engine.times import MILLISECOND

PAGES_MAX = 256  # of at most about 100 KiB

_Key = tuple[str, Interval, datetime, datetime, int, bool]


class HistoryPages:
    """Answers to `GetHistory`. Charts and models ask for the same candles over and over, most of all for the latest."""

    def __init__(self, keeper: CandleKeeper) -> None:
        self._keeper = keeper
        self._pages: OrderedDict[_Key, tuple[int, bytes, datetime | None]] = OrderedDict()

    async def read(self, instrument: Instrument, page: Page) -> bytes:
        """The encoded `GetHistoryResponse`."""
        # Open times lie on a grid, so bounds between two of its points mean the same as the later one.
        interval = page.interval
        key = (
            instrument.symbol,
            interval,
            _on_grid(page.start, interval),
            _on_grid(page.end, interval),
            page.size,
            page.latest,
        )
        edition = self._keeper.edition(instrument.symbol, interval)
        known = self._pages.get(key)
        if known is None or known[0] != edition:
            candles = await self._keeper.read(instrument.symbol, interval, page.start, page.end, page.size + 1)
            if page.latest:
                candles = candles[-page.size :]
            encoded = pb.GetHistoryResponse(
                symbol=instrument.symbol,
                data=[wire.candle(instrument, candle) for candle in candles[: page.size]],
                interval=interval.value,
            ).SerializeToString()
            following = candles[page.size].open_time if len(candles) > page.size else None
            known = self._pages[key] = (edition, encoded, following)
            if len(self._pages) > PAGES_MAX:
                self._pages.popitem(last=False)
        self._pages.move_to_end(key)
        _, encoded, following = known
        if following is None:
            return encoded
        # Encoded messages concatenate: the token belongs to the question, the candles to everybody.
        return encoded + pb.GetHistoryResponse(next_page_token=next_token(page, following)).SerializeToString()


def _on_grid(bound: datetime, interval: Interval) -> datetime:
    """The first open time at or after `bound`; past the end of the calendar, the bound itself."""
    if datetime.max.replace(tzinfo=UTC) - bound < interval.length:
        return bound
    return open_time_of(bound - MILLISECOND, interval) + interval.length
