"""Which candles a page of history holds, and the token that leads to the next one. Pure rules."""

from __future__ import annotations

import base64
import binascii
import zlib
from datetime import datetime
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from entasis.market.v1 import market_pb2 as pb
from entasis_engine.errors import field_error
from entasis_engine.exchanges.feed import Interval
from entasis_engine.market.candles import open_time_of
from entasis_engine.times import EPOCH, MILLISECOND, from_milliseconds, to_milliseconds

PAGE_SIZE_DEFAULT = 500
PAGE_SIZE_MAX = 1000
NANOSECONDS_PER_SECOND = 1_000_000_000


class Page(NamedTuple):
    """Candles of `interval` with an open time in `[start, end)`, at most `size` of them."""

    interval: Interval
    start: datetime
    end: datetime
    size: int
    latest: bool
    """Whether the last `size` candles before `end` are meant, and `start` only says how far back they can be."""
    asked: str
    """The question as it was asked; a token answers only the same one again."""


def plan(request: pb.GetHistoryRequest, now: datetime) -> Page:
    """The page that a request means. Raises REQUEST_001 on a token that is not of this request."""
    interval = Interval(request.interval or Interval.HOUR)
    size = min(request.page_size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
    start = _first_millisecond_from(request.start, "start") if request.HasField("start") else None
    end = _first_millisecond_from(request.end, "end") if request.HasField("end") else None
    asked = "|".join([request.symbol, interval, *(str(to_milliseconds(at)) if at else "" for at in (start, end))])
    if request.page_token:
        return _continued(request.page_token, interval, size, asked)
    until = end or now
    if start is not None:
        return Page(interval, start, until, size, False, asked)
    # One candle more: the newest one that is over by the clock may be a moment away from being known.
    return Page(interval, _page_before(until, now, interval, size + 1), until, size, True, asked)


def next_token(page: Page, following: datetime) -> str:
    """The token of the page after this one, which begins with the candle that opens at `following`."""
    text = f"{page.asked}|{to_milliseconds(following)}|{to_milliseconds(page.end)}"
    return base64.urlsafe_b64encode(f"{text}|{_checksum(text)}".encode()).decode().rstrip("=")


def _continued(token: str, interval: Interval, size: int, asked: str) -> Page:
    try:
        padded = (token + "=" * (-len(token) % 4)).encode("ascii")
        text, checksum = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii").rsplit("|", 1)
        its_question, start, end = text.rsplit("|", 2)
        page = Page(interval, from_milliseconds(int(start)), from_milliseconds(int(end)), size, False, asked)
        if checksum != _checksum(text) or not EPOCH <= page.start <= page.end:
            its_question = ""
    except (ValueError, OverflowError, binascii.Error):
        its_question = ""
    if its_question != asked:
        raise field_error(
            "page_token",
            "must be the next_page_token of the page before, with symbol, interval, start and end as they were",
            "이전 페이지의 next_page_token이어야 하며 symbol, interval, start, end는 그대로여야 합니다",
        )
    return page


def _checksum(text: str) -> str:
    """Shows damage; a token is no secret and guards none."""
    return f"{zlib.crc32(text.encode()):08x}"


def _page_before(end: datetime, now: datetime, interval: Interval, size: int) -> datetime:
    """The start at which `[start, end)` holds as many closed candles as a page."""
    # The last candle that can be there opens before `end` and is over by `now`.
    last_open = open_time_of(min(end - MILLISECOND, now - interval.length), interval)
    return max(EPOCH, last_open - (size - 1) * interval.length)


def _first_millisecond_from(moment: Timestamp, field: str) -> datetime:
    """Open times are whole milliseconds, so a bound between two of them means the later one."""
    if not 0 <= moment.nanos < NANOSECONDS_PER_SECOND:  # the contract's own rule looks at the seconds
        raise field_error(field, "must have nanos from 0 to 999999999", "nanos는 0에서 999999999 사이여야 합니다")
    return from_milliseconds(moment.seconds * 1000 + -(-moment.nanos // 1_000_000))
