"""What every store of candles does, whatever it is made of."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError
from tests.support.market import MINUTE, NOON, MemoryStore, candle

from entasis_engine.exchanges.feed import Candle, Interval
from entasis_engine.storage.candles import CandleStore
from entasis_engine.storage.database import READERS_MAX, DatabaseError, open_database

END = NOON + timedelta(days=1)


@asynccontextmanager
async def _sqlite(folder: Path) -> AsyncIterator[CandleStore]:
    async with open_database(f"sqlite+aiosqlite:///{folder}/candles.db") as database:
        yield CandleStore(database)


@asynccontextmanager
async def _memory(_folder: Path) -> AsyncIterator[MemoryStore]:
    """The one that other tests use, held to the same promises."""
    yield MemoryStore()


STORES: dict[str, Callable[[Path], AbstractAsyncContextManager[Any]]] = {"sqlite": _sqlite, "memory": _memory}


@pytest.fixture(autouse=True)
async def _threads_end() -> AsyncIterator[None]:
    """Whatever happened to a store, none of its threads outlives it."""
    yield
    async with asyncio.timeout(30):
        while any("_connection_worker_thread" in thread.name for thread in threading.enumerate()):
            await asyncio.sleep(0)


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[CandleStore]:
    async with STORES[request.param](tmp_path) as opened:
        yield opened


async def _save(store: CandleStore, *candles: Candle, exchange: str = "binance", symbol: str = "BTC-USDT") -> None:
    await store.save(exchange, [(symbol, Interval.MINUTE, one) for one in candles])


async def _read(store: CandleStore, start: datetime = NOON, end: datetime = END, limit: int = 10_000) -> list[Candle]:
    return await store.read("binance", "BTC-USDT", Interval.MINUTE, start, end, limit)


MINUTES = [candle(NOON + number * MINUTE, number + 1) for number in range(10)]


async def test_what_is_saved_is_read(store: CandleStore) -> None:
    """Candles come back as they were saved, oldest first, whatever the order they were saved in."""
    await _save(store, *reversed(MINUTES))
    assert await _read(store) == MINUTES


async def test_nothing_saved_is_nothing_read(store: CandleStore) -> None:
    """An empty store is empty, and saving nothing does nothing."""
    await store.save("binance", [])
    assert await _read(store) == []
    assert await store.open_times("binance", "BTC-USDT", Interval.MINUTE, NOON, END) == []


async def test_ranges_are_half_open_and_pages_are_limited(store: CandleStore) -> None:
    """A range holds its start and not its end; a page holds the oldest."""
    await _save(store, *MINUTES)
    assert await _read(store, NOON + 2 * MINUTE, NOON + 5 * MINUTE) == MINUTES[2:5]
    assert await _read(store, NOON + timedelta(milliseconds=1), NOON + 2 * MINUTE) == MINUTES[1:2]
    assert await _read(store, limit=3) == MINUTES[:3]
    assert await _read(store, NOON, NOON) == []


async def test_open_times_are_those_of_the_candles(store: CandleStore) -> None:
    """The open times of a range are those of its candles, ascending."""
    await _save(store, *MINUTES[::2])
    found = await store.open_times("binance", "BTC-USDT", Interval.MINUTE, NOON + MINUTE, END)
    assert found == [one.open_time for one in MINUTES[2::2]]


async def test_candles_are_kept_apart(store: CandleStore) -> None:
    """Exchange, symbol and interval each tell candles of one open time apart."""
    await _save(store, MINUTES[0])
    await _save(store, candle(NOON, 50), exchange="simulated")
    await _save(store, candle(NOON, 60), symbol="ETH-USDT")
    await store.save("binance", [("BTC-USDT", Interval.HOUR, candle(NOON, 70))])
    assert await _read(store) == MINUTES[:1]
    assert await store.read("simulated", "BTC-USDT", Interval.MINUTE, NOON, END, 9) == [candle(NOON, 50)]
    assert await store.read("binance", "ETH-USDT", Interval.MINUTE, NOON, END, 9) == [candle(NOON, 60)]
    assert await store.read("binance", "BTC-USDT", Interval.HOUR, NOON, END, 9) == [candle(NOON, 70)]


async def test_a_candle_once_stored_never_changes(store: CandleStore) -> None:
    """A second candle of the same open time is neither added nor put in its place, in the same save or a later one."""
    await _save(store, MINUTES[0], candle(NOON, 99))
    await _save(store, candle(NOON, 98), MINUTES[1])
    assert await _read(store) == MINUTES[:2]


async def test_saves_at_the_same_time_double_nothing(store: CandleStore) -> None:
    """However many write the same candles at once, each is there once."""
    await asyncio.gather(*(_save(store, *MINUTES) for _ in range(10)))
    assert await _read(store) == MINUTES


@pytest.mark.parametrize(
    "number",
    ["1E-18", "1234567890123456789012345678901234567890", "0." + "1234567890" * 4, "1E+30", "0", "65432.10", "0.1"],
)
async def test_decimals_are_exact(store: CandleStore, number: str) -> None:
    """Every digit of a number comes back, however small, large or long it is, and nothing else does."""
    await _save(store, candle(NOON, number, volume=number))
    (found,) = await _read(store)
    assert [found.open, found.high, found.low, found.close, found.volume] == [Decimal(number)] * 5


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2024, 3, 21, 9, 30, 0, 123_000, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 30, 23, 59, 59, 999_000, tzinfo=UTC),
    ],
)
async def test_times_keep_their_millisecond_and_zone(store: CandleStore, moment: datetime) -> None:
    """Open times come back to the millisecond, aware and in UTC."""
    await _save(store, candle(moment, 1))
    epoch, last = datetime(1970, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    (found,) = await _read(store, epoch, last)
    assert found.open_time == moment
    assert found.open_time.utcoffset() == timedelta(0)
    assert await store.open_times("binance", "BTC-USDT", Interval.MINUTE, epoch, last) == [moment]


async def test_a_reader_that_gives_up_leaves_the_store_usable(store: CandleStore) -> None:
    """Reads that are cancelled midway take no connection with them."""
    await _save(store, *MINUTES)
    for _ in range(3 * READERS_MAX):
        reading = asyncio.create_task(_read(store))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
    async with asyncio.timeout(10):
        assert await _read(store) == MINUTES


async def test_a_writer_that_is_stopped_leaves_the_store_usable(store: CandleStore) -> None:
    """A save that is cancelled midway is wholly there or not at all, and the next one works."""
    for _ in range(5):
        saving = asyncio.create_task(_save(store, *MINUTES))
        await asyncio.sleep(0)
        saving.cancel()
        await asyncio.wait([saving])
    assert await _read(store) in ([], MINUTES)
    async with asyncio.timeout(10):
        await _save(store, *MINUTES)
    assert await _read(store) == MINUTES


# What only a file does.


async def test_a_file_keeps_its_candles(tmp_path: Path) -> None:
    """Closed and opened again, the file has what was saved."""
    async with _sqlite(tmp_path) as store:
        await _save(store, *MINUTES)
    async with _sqlite(tmp_path) as store:
        await _save(store, *MINUTES)
        assert await _read(store) == MINUTES


async def test_whoever_stops_a_write_stops_though_it_fails(tmp_path: Path) -> None:
    """A save that is cancelled ends as cancelled even where the write itself failed, so that a shutdown goes on."""
    async with _sqlite(tmp_path) as store:
        unwritable = Candle(NOON, *[Decimal(1)] * 4, None)  # type: ignore[arg-type]
        with pytest.raises(IntegrityError):
            await _save(store, unwritable)
        saving = asyncio.create_task(_save(store, unwritable))
        await asyncio.sleep(0)
        saving.cancel()
        await asyncio.wait([saving])
        assert saving.cancelled()


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.contract.test_candle_store import MINUTES, NOON, _save, _sqlite
from tests.support.market import MINUTE, candle

async def main():
    async with _sqlite(Path(sys.argv[1])) as store:
        number = 0
        while True:
            await _save(store, *(candle(NOON + (number + at) * MINUTE, 1) for at in range(10)))
            number += 10
            print(number, flush=True)

asyncio.run(main())
"""


async def test_a_killed_process_loses_nothing_that_was_saved(tmp_path: Path) -> None:
    """After kill -9 in mid-write everything whose save had returned is there, once, and the file is usable."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        saved = [int(writer.stdout.readline()) for _ in range(20)][-1]
        writer.send_signal(signal.SIGKILL)
        saved = max([saved, *(int(line) for line in writer.stdout if line.strip())])
    async with _sqlite(tmp_path) as store:
        opens = [one.open_time for one in await _read(store, end=NOON + timedelta(days=900))]
        assert opens == [NOON + number * MINUTE for number in range(len(opens))]
        assert len(opens) >= saved >= 200
        assert len(opens) % 10 == 0
        await _save(store, *MINUTES)


@pytest.mark.parametrize("name", ["a b", "한글", "h#sh", "per%cent"])
async def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    """Signs that mean something in a URL may stand in the path of the database; the folder is made."""
    url = f"sqlite+aiosqlite:///{tmp_path}/{name.replace('%', '%25')}/candles.db"
    async with open_database(url) as database:
        await _save(CandleStore(database), *MINUTES)
        assert await _read(CandleStore(database)) == MINUTES
    assert (tmp_path / name / "candles.db").exists()


async def test_readers_cannot_write(tmp_path: Path) -> None:
    """The connections for reading refuse to write."""
    url = f"sqlite+aiosqlite:///{tmp_path}/candles.db"
    async with open_database(url) as database, database.reader.connect() as connection:
        with pytest.raises(OperationalError, match="readonly"):
            await connection.exec_driver_sql("DELETE FROM candles")


@pytest.mark.parametrize(
    "url",
    ["nonsense", "sqlite:///x.db", "sqlite+aiosqlite://", "sqlite+aiosqlite:///:memory:", "postgresql+asyncpg://h/d"],
)
async def test_a_url_that_cannot_be_used_is_an_error_in_words(url: str) -> None:
    """Whatever is no file of SQLite is refused with the setting to mend and an example."""
    with pytest.raises(DatabaseError, match=r"ENTASIS_DATABASE_URL must be .*sqlite\+aiosqlite:///path"):
        async with open_database(url):
            pass


async def test_a_second_engine_is_refused(tmp_path: Path) -> None:
    """While one engine has the file open another is refused in words; afterwards it may have it."""
    url = f"sqlite+aiosqlite:///{tmp_path}/candles.db"
    async with open_database(url):
        with pytest.raises(DatabaseError, match="Another engine"):
            async with open_database(url):
                pass
    async with open_database(url):
        pass


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    """A file of other content, or a folder, is an error that names it and says why."""
    (tmp_path / "text.db").write_text("not a database, but long enough to be taken for one" * 100)
    (tmp_path / "folder.db").mkdir()
    for name, why in (("text.db", "not a database"), ("folder.db", "unable to open")):
        with pytest.raises(DatabaseError, match=rf"{name}: .*{why}"):
            async with open_database(f"sqlite+aiosqlite:///{tmp_path}/{name}"):
                pass
