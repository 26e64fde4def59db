"""Recordings as a feed, from files made by hand."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from tests.support.market import MINUTE, NOON, SECOND, SetMonotonic, candle

from entasis_engine.exchanges.feed import (
    BookDelta,
    BookSnapshot,
    Candle,
    Connected,
    Disconnected,
    Event,
    FeedError,
    Interval,
    Trade,
)
from entasis_engine.exchanges.recorded import LINES_PER_BATCH, RecordedFeed, read_candles
from entasis_engine.market.candles import Aggregate, MinuteFolder

START_NS = int(NOON.timestamp()) * 10**9
HEADER = "open_time,open,high,low,close,volume\n"


class Pace:
    """Monotonic time that passes only in sleep, which is noted."""

    def __init__(self) -> None:
        self.monotonic = SetMonotonic(0)
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        if seconds:
            self.slept.append(seconds)
        self.monotonic.seconds += seconds


def _feed(
    frames: Sequence[Path] = (), candles: Sequence[Path] = (), *, symbols: Sequence[str] = (), speed: float = 0.0
) -> tuple[RecordedFeed, Pace]:
    pace = Pace()
    return (
        RecordedFeed(frames, candles, symbols=symbols, speed=speed, monotonic=pace.monotonic, sleep=pace.sleep),
        pace,
    )


async def _events(feed: RecordedFeed) -> list[Event]:
    return [event async for batch in feed.events() for event in batch]


def _trade(seconds: float, number: int, price: str = "65000.10", native: str = "BTCUSDT") -> str:
    stamp = int(NOON.timestamp() * 1000 + seconds * 1000)
    data = {
        "e": "trade",
        "E": stamp,
        "s": native,
        "t": number,
        "p": price,
        "q": "0.5",
        "T": stamp,
        "m": False,
        "M": True,
    }
    return _line(seconds, {"stream": f"{native.lower()}@trade", "data": data})


def _diff(seconds: float, first: int, last: int, native: str = "BTCUSDT") -> str:
    stamp = int(NOON.timestamp() * 1000 + seconds * 1000)
    data = {"e": "depthUpdate", "E": stamp, "s": native, "U": first, "u": last, "b": [["64999.00", "1"]], "a": []}
    return _line(seconds, {"stream": f"{native.lower()}@depth@100ms", "data": data})


def _whole_book(seconds: float, last: int) -> str:
    return _line(seconds, {"lastUpdateId": last, "bids": [["64998.00", "2"]], "asks": [["65001.00", "3"]]})


def _line(seconds: float, message: object) -> str:
    return f"{START_NS + int(seconds * 10**9)} {json.dumps(message)}"


def _write(file: Path, lines: Sequence[str]) -> Path:
    text = "".join(f"{line}\n" for line in lines)
    if file.suffix == ".gz":
        file.write_bytes(gzip.compress(text.encode()))
    else:
        file.write_text(text, encoding="utf-8")
    return file


def _csv(file: Path, candles: Sequence[Candle]) -> Path:
    rows = [
        f"{one.open_time.isoformat()},{one.open},{one.high},{one.low},{one.close},{one.volume}\n" for one in candles
    ]
    file.write_text(HEADER + "".join(rows), encoding="utf-8")
    return file


# Frames.


@pytest.mark.parametrize("name", ["btc.gz", "btc.txt"])
async def test_frames_become_events(tmp_path: Path, name: str) -> None:
    """A recording, gzipped or not, says that it is connected, and then its book and trades in order."""
    file = _write(tmp_path / name, [_diff(0, 5, 7), _whole_book(0.1, 6), _trade(0.2, 1), _diff(0.3, 8, 9)])
    feed, _ = _feed([file])
    (instrument,) = await feed.instruments()
    events = await _events(feed)
    assert [type(event) for event in events] == [Connected, BookSnapshot, BookDelta, Trade, BookDelta]
    assert (instrument.symbol, instrument.tick_size, instrument.quote_scale) == ("BTC-USDT", Decimal("0.1"), 1)
    trade = events[3]
    assert isinstance(trade, Trade)
    assert (trade.price, trade.size, trade.taker_buys) == (Decimal("65000.10"), Decimal("0.5"), True)
    assert feed.now() == NOON + timedelta(milliseconds=300)


async def test_files_of_one_symbol_continue_each_other(tmp_path: Path) -> None:
    """A second file goes on with the book of the first, and the feed is connected once."""
    first = _write(tmp_path / "1.txt", [_diff(0, 5, 7), _whole_book(0.1, 6), _trade(0.2, 1)])
    second = _write(tmp_path / "2.txt", [_diff(60, 8, 9), _trade(61, 2)])
    events = await _events(_feed([first, second])[0])
    assert [type(event) for event in events] == [Connected, BookSnapshot, BookDelta, Trade, BookDelta, Trade]


async def test_recordings_of_several_symbols_are_merged_by_time(tmp_path: Path) -> None:
    """Events of several files come in the order in which they were received."""
    btc = _write(tmp_path / "btc.txt", [_trade(0, 1), _trade(2, 2), _trade(4, 3)])
    eth = _write(tmp_path / "eth.txt", [_trade(1, 1, native="ETHUSDT"), _trade(3, 2, native="ETHUSDT")])
    trades = [event for event in await _events(_feed([btc, eth])[0]) if isinstance(event, Trade)]
    assert [(one.time - NOON) // SECOND for one in trades] == [0, 1, 2, 3, 4]
    assert {one.symbol for one in trades} == {"BTC-USDT", "ETH-USDT"}


async def test_only_the_symbols_asked_for_are_played(tmp_path: Path) -> None:
    """Of several recordings those asked for are played, and one that is not there is named."""
    btc = _write(tmp_path / "btc.txt", [_trade(0, 1)])
    eth = _write(tmp_path / "eth.txt", [_trade(1, 1, native="ETHUSDT")])
    feed, _ = _feed([btc, eth], symbols=["ETH-USDT"])
    assert [one.symbol for one in await feed.instruments()] == ["ETH-USDT"]
    assert {event.symbol for event in await _events(feed)} == {"ETH-USDT"}
    with pytest.raises(FeedError, match=r"holds SOL-USDT of ENTASIS_SYMBOLS"):
        await _feed([btc, eth], symbols=["ETH-USDT", "SOL-USDT"])[0].instruments()


@pytest.mark.parametrize(("speed", "slept"), [(1.0, [2.0, 3.0]), (10.0, [0.2, 0.3]), (0.5, [4.0, 6.0]), (0.0, [])])
async def test_the_pace_is_the_recordings_own_times_the_speed(tmp_path: Path, speed: float, slept: list[float]) -> None:
    """Between lines passes what passed when they were received, divided by the speed; speed 0 waits for nothing."""
    feed, pace = _feed([_write(tmp_path / "btc.txt", [_trade(0, 1), _trade(2, 2), _trade(5, 3)])], speed=speed)
    batches = [len(batch) async for batch in feed.events() if batch]
    assert pace.slept == pytest.approx(slept)
    assert sum(batches) == 4
    assert (len(batches) == 3) == bool(slept)


async def test_a_slow_reader_is_not_waited_for_twice(tmp_path: Path) -> None:
    """Where reading took longer than the recording, the next lines come at once."""
    feed, pace = _feed([_write(tmp_path / "btc.txt", [_trade(0, 1), _trade(1, 2), _trade(2, 3)])], speed=1.0)
    async for _batch in feed.events():
        pace.monotonic.seconds += 10
    assert pace.slept == [1.0]


async def test_long_recordings_come_in_batches(tmp_path: Path) -> None:
    """Played as fast as possible, a recording is given in batches of bounded size."""
    feed, _ = _feed([_write(tmp_path / "btc.txt", [_trade(number, number) for number in range(1000)])])
    sizes = [len(batch) async for batch in feed.events()]
    assert max(sizes) <= LINES_PER_BATCH + 1
    assert sum(sizes) == 1001


@pytest.mark.parametrize(
    "bad",
    ["not a line", "123", f"{START_NS} {{broken", f"{START_NS} " + '{"e": "trade", "s": "BTCUSDT", "p": "NaN"}'],
)
@pytest.mark.parametrize("position", [0, 2, 6000])
async def test_a_bad_line_is_named(tmp_path: Path, bad: str, position: int) -> None:
    """A line that cannot be read is an error that names file and line, wherever it stands."""
    lines = [_trade(number, number) for number in range(position)] + [bad] + [_trade(position + 1, position + 1)]
    feed, _ = _feed([_write(tmp_path / "btc.txt", lines)])
    with pytest.raises(FeedError, match=rf"^btc\.txt, line {position + 1}: "):
        await _events(feed)


async def test_a_recording_of_another_symbol_within_is_named(tmp_path: Path) -> None:
    """A file that changes its symbol is refused at the line where it does."""
    file = _write(tmp_path / "btc.txt", [_trade(0, 1), _trade(1, 2, native="ETHUSDT")])
    with pytest.raises(FeedError, match=r"btc\.txt, line 2: .*ETHUSDT"):
        await _events(_feed([file])[0])


async def test_a_file_that_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    """Neither a missing file, nor one that is no gzip, nor a truncated one, nor one of other bytes, goes unnamed."""
    whole = gzip.compress("\n".join(_trade(number, number) for number in range(100)).encode())
    files = {"cut.gz": whole[:-20], "text.gz": b"plain text", "latin.txt": b"\xff\xfe\x00", "empty.txt": b""}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for name in (*files, "missing.txt"):
        with pytest.raises(FeedError, match=name):
            await _feed([tmp_path / name])[0].instruments()


def test_a_feed_without_files_says_what_to_set() -> None:
    """A recorded feed needs files, and says by which setting they are given."""
    with pytest.raises(FeedError, match="ENTASIS_RECORDED_FRAMES or ENTASIS_RECORDED_CANDLES"):
        _feed()


# Candle files.

FIVE = timedelta(minutes=5)
CANDLES = [
    candle(NOON + number * FIVE, 100 + number, 110 + number, 90, 101 - number, volume=f"{number + 1}.00001")
    for number in range(6)
]


def _folded(events: Sequence[Event]) -> list[Candle]:
    """Five-minute candles that the ticks fold into."""
    folder, aggregate, closed = MinuteFolder(), Aggregate(Interval.FIVE_MINUTES), []
    end = max(event.time for event in events) + MINUTE
    for event in [*events, None]:
        if isinstance(event, Trade):
            minutes = folder.add(event)
        elif isinstance(event, Connected):
            folder.connected(event.time)
            continue
        elif event is None:
            minutes = folder.advance(end)
        else:
            continue
        for minute in minutes:
            aggregate.advance(minute.candle.open_time)
            if minute.complete:
                aggregate.add(minute.candle)
            if (longer := aggregate.advance(minute.candle.open_time + MINUTE)) is not None:
                closed.append(longer)
    assert all(one.complete for one in closed)
    return [one.candle for one in closed]


async def test_candles_are_played_as_ticks_that_fold_into_them_again(tmp_path: Path) -> None:
    """Without frames a candle file is played as trades whose candles are exactly those of the file."""
    feed, _ = _feed([], [_csv(tmp_path / "btcusdt-5m-2024.csv", CANDLES)])
    (instrument,) = await feed.instruments()
    assert (instrument.symbol, instrument.lot_size) == ("BTC-USDT", Decimal("0.00001"))
    assert _folded(await _events(feed)) == CANDLES


async def test_a_quiet_candle_gives_no_trade_and_folds_flat(tmp_path: Path) -> None:
    """A candle without volume is played as silence, and the folding makes it again."""
    quiet = candle(NOON + FIVE, 101, volume=0)
    feed, _ = _feed([], [_csv(tmp_path / "btcusdt-5m-2024.csv", [CANDLES[0], quiet, CANDLES[2]])])
    assert _folded(await _events(feed)) == [CANDLES[0], quiet, CANDLES[2]]


async def test_a_gap_in_a_candle_file_is_a_lost_connection(tmp_path: Path) -> None:
    """Where candles are missing the feed says so, and covers the time from the next one on."""
    feed, _ = _feed([], [_csv(tmp_path / "btcusdt-5m-2024.csv", [CANDLES[0], CANDLES[3]])])
    events = await _events(feed)
    assert [(type(event), event.time) for event in events if not isinstance(event, Trade)] == [
        (Connected, NOON),
        (Disconnected, NOON + FIVE),
        (Connected, NOON + 3 * FIVE),
    ]


async def test_files_that_overlap_double_nothing(tmp_path: Path) -> None:
    """A candle that two files hold is played once."""
    first = _csv(tmp_path / "btcusdt-5m-1.csv", CANDLES[:4])
    second = _csv(tmp_path / "btcusdt-5m-2.csv", CANDLES[2:])
    assert _folded(await _events(_feed([], [second, first, first])[0])) == CANDLES


async def test_only_the_last_day_is_played_and_the_rest_is_history(tmp_path: Path) -> None:
    """Playing begins a day before the last candle; what was closed by then is history from the start."""
    days = [candle(NOON + number * timedelta(hours=1), 1) for number in range(60)]
    feed, _ = _feed([], [_csv(tmp_path / "btcusdt-1h-2024.csv", days)])
    await feed.instruments()
    assert feed.now() == days[-1].open_time - timedelta(days=1)
    history = await feed.candles("BTC-USDT", Interval.HOUR, NOON, NOON + timedelta(days=9))
    assert [one.open_time for one in history] == [one.open_time for one in days[:35]]
    await _events(feed)
    assert len(await feed.candles("BTC-USDT", Interval.HOUR, NOON, NOON + timedelta(days=9))) == 59


async def test_the_finest_interval_is_played(tmp_path: Path) -> None:
    """Of several files of one symbol the finest one is played; the others are history."""
    fine = _csv(tmp_path / "btcusdt-5m-2024.csv", CANDLES)
    coarse = _csv(tmp_path / "btcusdt-1h-2024.csv", [candle(NOON - timedelta(hours=1), 5), candle(NOON, 5)])
    feed, _ = _feed([], [coarse, fine])
    assert _folded(await _events(feed)) == CANDLES
    assert len(await feed.candles("BTC-USDT", Interval.HOUR, NOON - timedelta(hours=1), NOON)) == 1


@pytest.mark.parametrize(
    "row",
    [
        "2024-03-21T12:00:00Z,1,2,1,1",
        "yesterday,1,2,1,1,5",
        "2024-03-21T12:00:00Z,1,two,1,1,5",
        "2024-03-21T12:00:00,1,2,1,1,5",
        "2024-03-21T12:00:00Z,1,NaN,1,1,5",
        "2024-03-21T12:00:00Z,1,Infinity,1,1,5",
        "2024-03-21T12:00:00Z,1,2,1,1,-5",
        "2024-03-21T12:00:00Z,1,1,2,1,5",
        "2024-03-21T12:00:00Z,0,2,0,1,5",
        "2024-03-21T12:00:00Z,1,1E+999999999,1,1,5",
        "2024-03-21T12:00:00Z,1,2,1E-18,1,5",
        "2024-03-21T12:00:00Z,1,1234567890123456789,1,1,5",
        "2024-03-21T12:00:00Z,1,2,0.1234567890123456789,1,5",
        "2024-03-21T12:00:00Z,1,٢,1,1,5",
        "2024-03-21T12:00:00Z,1, 2,1,1,5",
        "0001-01-01T00:00:00+14:00,1,2,1,1,5",
        "9999-12-31T23:59:00-14:00,1,2,1,1,5",
        "9999-12-31T23:59:00Z,1,2,1,1,5",
        f"2024-03-21T12:00:00Z,1,{'2' * 200_000},1,1,5",
    ],
    ids=lambda row: row[:50],
)
def test_a_bad_row_is_named(tmp_path: Path, row: str) -> None:
    """A row that is no candle is an error that names file and line."""
    file = tmp_path / "btcusdt-1m-2024.csv"
    file.write_text(f"{HEADER}2024-03-21T11:59:00Z,1,2,1,1,5\n{row}\n", encoding="utf-8")
    with pytest.raises(FeedError, match=r"^btcusdt-1m-2024\.csv, line 3: "):
        read_candles(file)


def test_rows_are_read_exactly_and_in_utc(tmp_path: Path) -> None:
    """Numbers keep every digit, and another zone's time becomes UTC."""
    file = tmp_path / "btcusdt-1m-2024.csv"
    file.write_text(f"{HEADER}2024-03-21T21:00:00+09:00,0.123456789012345678,2,0.000000000000000001,1,{'9' * 18}\n")
    (one,) = read_candles(file)
    assert one.open_time == NOON
    assert one.open_time.utcoffset() == timedelta(0)
    assert (one.open, one.low, one.volume) == (Decimal("0.123456789012345678"), Decimal("1E-18"), 10**18 - 1)


def test_a_mark_of_the_encoding_is_no_part_of_a_name(tmp_path: Path) -> None:
    """Spreadsheets write one at the beginning."""
    file = tmp_path / "btcusdt-1m-2024.csv"
    file.write_text(f"{HEADER}2024-03-21T12:00:00Z,1,2,1,1,5\n", encoding="utf-8-sig")
    assert len(read_candles(file)) == 1


@pytest.mark.parametrize("content", ["", "time,price\n1,2\n"])
def test_a_file_without_the_columns_says_which(tmp_path: Path, content: str) -> None:
    """A file that does not name the columns is refused with their names."""
    file = tmp_path / "btcusdt-1m-2024.csv"
    file.write_text(content)
    with pytest.raises(FeedError, match="open_time, open, high, low, close, volume"):
        read_candles(file)


async def test_a_file_without_candles_is_refused(tmp_path: Path) -> None:
    """A file of nothing but its header is an error in words."""
    file = tmp_path / "btcusdt-1m-2024.csv"
    file.write_text(HEADER)
    with pytest.raises(FeedError, match="holds a candle"):
        await _feed([], [file])[0].instruments()


@pytest.mark.parametrize("name", ["candles.csv", "btcusdt-2h-2024.csv", "btcxyz-1h.csv", "btcusdt.csv"])
async def test_a_candle_files_name_must_say_what_it_holds(tmp_path: Path, name: str) -> None:
    """A file whose name tells no symbol and interval is refused with an example."""
    with pytest.raises(FeedError, match=rf"{name}.*btcusdt-5m"):
        await _feed([], [_csv(tmp_path / name, CANDLES)])[0].instruments()


async def test_a_recording_has_no_time_before_it_is_read(tmp_path: Path) -> None:
    """Asking for the recording's time too early is an error instead of a wrong time."""
    feed, _ = _feed([], [_csv(tmp_path / "btcusdt-5m-2024.csv", CANDLES)])
    with pytest.raises(FeedError):
        feed.now()
    await feed.instruments()
    assert feed.now() == datetime(2024, 3, 20, 12, 25, tzinfo=UTC)
