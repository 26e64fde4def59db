"""Pages of history: encoded once, and never out of date."""

from __future__ import annotations

from datetime import timedelta

from tests.support.market import BTC, MINUTE, NOON, MemoryStore, ScriptedFeed, candle

from entasis.market.v1 import market_pb2 as pb
from entasis_engine.exchanges.feed import Interval
from entasis_engine.market.history import plan
from entasis_engine.market.keeper import CandleKeeper
from entasis_engine.market.pages import HistoryPages


class Bench:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.keeper = CandleKeeper(
            self.store,  # type: ignore[arg-type]
            ScriptedFeed(),
            on_history=lambda symbol, minute: [],
            on_closed_late=lambda symbol, interval, candle: [],
        )
        self.pages = HistoryPages(self.keeper)

    async def keep(self, minute: int) -> None:
        await self.keeper.keep("BTC-USDT", Interval.MINUTE, candle(NOON + minute * MINUTE, minute + 1))

    async def ask(self, *, now: int = 60, **asked: object) -> pb.GetHistoryResponse:
        request = pb.GetHistoryRequest(symbol="BTC-USDT", interval="1m", **asked)  # type: ignore[arg-type]
        page = plan(request, NOON + now * MINUTE + timedelta(seconds=30))
        return pb.GetHistoryResponse.FromString(await self.pages.read(BTC, page))


def _minutes(page: pb.GetHistoryResponse) -> list[int]:
    return [(one.timestamp.seconds - int(NOON.timestamp())) // 60 for one in page.data]


async def test_a_page_that_is_asked_again_is_not_read_again() -> None:
    """The same candles are read from the store once, however often and at whatever moment of the interval."""
    bench = Bench()
    await bench.keep(58)
    first = await bench.ask()
    bench.store.read_failures.append(RuntimeError("read again"))
    assert await bench.ask() == first
    assert _minutes(first) == [58]


async def test_a_new_candle_is_there_at_once() -> None:
    """A candle that closes, and one that is filled in later, are in the next answer."""
    bench = Bench()
    await bench.keep(58)
    assert _minutes(await bench.ask()) == [58]
    await bench.keep(59)
    assert _minutes(await bench.ask()) == [58, 59]
    await bench.keep(57)
    assert _minutes(await bench.ask()) == [57, 58, 59]


async def test_each_question_gets_its_own_token() -> None:
    """Two questions about the same candles share them, and each gets a token that goes on with itself."""
    bench = Bench()
    for minute in range(50, 60):
        await bench.keep(minute)
    start = {"seconds": int((NOON + 50 * MINUTE).timestamp())}
    plain = await bench.ask(start=start, page_size=4)
    odd = await bench.ask(start=start, end={"seconds": int((NOON + 60 * MINUTE).timestamp())}, page_size=4)
    assert _minutes(plain) == _minutes(odd) == [50, 51, 52, 53]
    assert plain.next_page_token != odd.next_page_token
    following = await bench.ask(start=start, page_size=4, page_token=plain.next_page_token)
    assert _minutes(following) == [54, 55, 56, 57]
    last = await bench.ask(start=start, page_size=4, page_token=following.next_page_token)
    assert (_minutes(last), last.next_page_token) == ([58, 59], "")


async def test_the_end_of_the_calendar_may_be_asked_for() -> None:
    """A bound in the year 9999 is a bound like any other."""
    bench = Bench()
    await bench.keep(58)
    page = await bench.ask(start={"seconds": int(NOON.timestamp())}, end={"seconds": 253402300799})
    assert _minutes(page) == [58]
