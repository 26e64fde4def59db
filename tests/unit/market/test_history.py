"""Pages of history and their tokens."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from tests.support.market import MINUTE, NOON, SECOND, candle

from entasis.market.v1 import market_pb2 as pb
from entasis_engine.errors import EntasisError
from entasis_engine.exchanges.feed import Candle, Interval
from entasis_engine.market.candles import open_time_of
from entasis_engine.market.history import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, Page, next_token, plan
from entasis_engine.times import EPOCH

HOUR = timedelta(hours=1)
INTERVALS = st.sampled_from(list(Interval))


def _stamp(moment: datetime, nanos: int = 0) -> Timestamp:
    return Timestamp(seconds=int((moment - EPOCH).total_seconds()), nanos=nanos)


def _request(**fields: object) -> pb.GetHistoryRequest:
    return pb.GetHistoryRequest(**({"symbol": "BTC-USDT"} | fields))  # type: ignore[arg-type]


def _closed(page: Page, now: datetime) -> list[Candle]:
    """What a store that has every closed candle would give for a page, one more than fits included."""
    length, found = page.interval.length, []
    opened = open_time_of(page.start, page.interval)
    opened += length if opened < page.start else timedelta(0)
    while opened < page.end and opened + length <= now and len(found) <= page.size:
        found.append(candle(opened, 1))
        opened += length
    return found


def _token_after(page: Page, candles: list[Candle]) -> str:
    """The token after a page for which these candles, one more than fits at most, were read."""
    return next_token(page, candles[page.size].open_time) if len(candles) > page.size else ""


def test_left_out_the_page_is_that_of_the_specification() -> None:
    """Nothing but a symbol means the last page of hourly candles up to now."""
    page = plan(_request(), NOON)
    assert (page.interval, page.size, page.end) == (Interval.HOUR, PAGE_SIZE_DEFAULT, NOON)
    assert page.latest
    assert page.start == NOON - (PAGE_SIZE_DEFAULT + 1) * HOUR


@given(
    INTERVALS,
    st.integers(0, 2000),
    st.integers(0, 10**8).map(lambda seconds: NOON + seconds * SECOND),
    st.one_of(st.none(), st.integers(-(10**6), 10**6)),
)
def test_a_page_without_a_start_holds_exactly_its_size(
    interval: Interval, size: int, now: datetime, end_offset: int | None
) -> None:
    """Without a start a page has its size of closed candles before the end, even while the newest is not known yet."""
    end = {} if end_offset is None else {"end": _stamp(now + end_offset * SECOND)}
    page = plan(_request(interval=interval.value, page_size=size, **end), now)
    candles = _closed(page, now)
    assert page.latest
    assert len(candles) == page.size + 1 == (min(size, PAGE_SIZE_MAX) or PAGE_SIZE_DEFAULT) + 1


@pytest.mark.parametrize(("asked", "given_size"), [(0, 500), (1, 1), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)])
def test_an_oversized_page_is_lowered(asked: int, given_size: int) -> None:
    """The size is 500 where it is left out, and never more than 1000."""
    assert plan(_request(page_size=asked), NOON).size == given_size


@given(INTERVALS, st.integers(1, 7), st.integers(0, 30), st.integers(0, 7_200))
def test_pages_follow_each_other_without_gap_or_overlap(
    interval: Interval, size: int, count: int, offset_seconds: int
) -> None:
    """The pages of a range together are exactly its candles, once each and in order; the last has no token."""
    start = NOON + offset_seconds * SECOND
    end = start + count * interval.length
    asked = {"interval": interval.value, "start": _stamp(start), "end": _stamp(end), "page_size": size}
    now, token, seen = NOON + 1000 * interval.length, "", list[datetime]()
    while True:
        page = plan(_request(page_token=token, **asked), now)
        candles = _closed(page, now)
        seen += [one.open_time for one in candles[:size]]
        token = _token_after(page, candles)
        if not token:
            break
        assert len(candles) == size + 1
    assert seen == [one.open_time for one in _closed(Page(interval, start, end, 10**6, False, ""), now)]


def test_a_token_keeps_the_end_that_was_now() -> None:
    """Pages of a range up to now end where now was at the first page."""
    first = plan(_request(interval="1m", start=_stamp(NOON - HOUR), page_size=10), NOON)
    token = _token_after(first, [candle(NOON - HOUR + number * MINUTE, 1) for number in range(11)])
    second = plan(_request(interval="1m", start=_stamp(NOON - HOUR), page_size=10, page_token=token), NOON + HOUR)
    assert (second.start, second.end) == (NOON - HOUR + 10 * MINUTE, NOON)


def _token() -> str:
    page = plan(_request(page_size=1, start=_stamp(NOON - 2 * HOUR)), NOON)
    return _token_after(page, [candle(NOON - 2 * HOUR, 1), candle(NOON - HOUR, 1)])


@pytest.mark.parametrize(
    "changed",
    [{"symbol": "ETH-USDT"}, {"interval": "1m"}, {"start": _stamp(NOON)}, {"end": _stamp(NOON)}],
)
def test_a_token_of_another_question_is_refused(changed: dict[str, object]) -> None:
    """A token answers only the question it came with."""
    same = {"page_size": 1, "start": _stamp(NOON - 2 * HOUR), "page_token": _token()}
    assert plan(_request(**same), NOON).start == NOON - HOUR
    with pytest.raises(EntasisError) as refused:
        plan(_request(**(same | changed)), NOON)
    assert [fault.field for fault in refused.value.faults] == ["page_token"]


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "garbage!",
        "심볼",
        "====",
        _encoded("BTC-USDT|1h||"),
        _encoded("BTC-USDT|1h||||"),
        _encoded("BTC-USDT|1h|||x|y"),
        _encoded("BTC-USDT|1h|||1|999999999999999999999999"),
        _encoded("BTC-USDT|1h|||-999999999999999999|1"),
        base64.urlsafe_b64encode(b"\xff\xfe|1|2").decode(),
    ],
)
def test_a_forged_token_is_refused(token: str) -> None:
    """Whatever is no token of ours is REQUEST_001 on page_token."""
    with pytest.raises(EntasisError) as refused:
        plan(_request(page_token=token), NOON)
    assert refused.value.entry.reason == "REQUEST_001"
    assert [fault.field for fault in refused.value.faults] == ["page_token"]


def test_a_bound_between_two_milliseconds_is_the_later_one() -> None:
    """A start or end beyond a candle's open time by a nanosecond leaves that candle out, or lets it in."""
    page = plan(_request(start=_stamp(NOON, nanos=1), end=_stamp(NOON + HOUR, nanos=1)), NOON + 9 * HOUR)
    assert page.start == NOON + timedelta(milliseconds=1)
    assert page.end == NOON + HOUR + timedelta(milliseconds=1)
    assert plan(_request(start=_stamp(NOON, nanos=5_000_000)), NOON + HOUR).start == NOON + timedelta(milliseconds=5)


@pytest.mark.parametrize("field", ["start", "end"])
@pytest.mark.parametrize("nanos", [-1, 1_000_000_000])
def test_nanos_that_no_timestamp_has_are_refused(field: str, nanos: int) -> None:
    """A timestamp that is none is REQUEST_001 on its field, at the end of time too."""
    with pytest.raises(EntasisError) as refused:
        plan(_request(**{field: Timestamp(seconds=253_402_300_798, nanos=nanos)}), NOON)
    assert [fault.field for fault in refused.value.faults] == [field]


@pytest.mark.parametrize("end", [EPOCH, EPOCH + MINUTE, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)])
@pytest.mark.parametrize("interval", list(Interval))
def test_the_ends_of_time_are_pages_too(end: datetime, interval: Interval) -> None:
    """The earliest and the latest end that the contract allows mean a page, which never starts before 1970."""
    page = plan(_request(interval=interval.value, end=_stamp(end)), NOON)
    assert EPOCH <= page.start <= NOON
    assert page.end == end


@pytest.mark.parametrize("damage", ["cut", "longer", "character"])
def test_a_damaged_token_is_refused(damage: str) -> None:
    """A token that lost, gained or changed a character is refused, and not taken for the end of history."""
    token = _token()
    damaged = {"cut": token[:-2], "longer": token + "AA", "character": token[:8] + "z" + token[9:]}[damage]
    with pytest.raises(EntasisError) as refused:
        plan(_request(page_size=1, start=_stamp(NOON - 2 * HOUR), page_token=damaged), NOON)
    assert [fault.field for fault in refused.value.faults] == ["page_token"]
