"""`entasis up`: everything starts with one command, plays real recordings exactly, and ends without a trace."""

from __future__ import annotations

import csv
import gzip
import signal
import socket
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.e2e.conftest import Running, Start, eventually

pytestmark = pytest.mark.e2e

FIELDS = ("open", "high", "low", "close", "volume")


def candles(up: Running, symbol: str, interval: str) -> dict[str, tuple[Decimal, ...]]:
    """The candles that REST gives, by open time."""
    status, body, _ = up.get(f"/api/v1/market/history/{symbol}?interval={interval}&start=2024-08-08T00:00:00Z")
    assert status == 200, body
    return {one["timestamp"]: tuple(Decimal(one[field]) for field in FIELDS) for one in body["data"]}


def published(data_dir: Path, symbol: str) -> dict[str, tuple[Decimal, ...]]:
    (file,) = data_dir.glob(f"{symbol.replace('-', '').lower()}-5m-*.csv.gz")
    with gzip.open(file, "rt") as rows:
        return {row["open_time"]: tuple(Decimal(row[field]) for field in FIELDS) for row in csv.DictReader(rows)}


@pytest.mark.data
def test_a_recorded_candle_comes_out_of_rest_exactly(start: Start, data_dir: Path) -> None:
    """The recorded BTCUSDT trades of 2024-08-08 from 23:55 on fold into exactly the candle that Binance published."""
    frames = data_dir / "recordings" / "binance_spot_btcusdt_20240808.gz"
    up = start("up", "--feed", "recorded", "--frames", str(frames), "--speed", "0")
    found = eventually(lambda: candles(up, "BTC-USDT", "5m"), lambda found: "2024-08-08T23:55:00Z" in found)
    expected = tuple(Decimal(number) for number in ("61828", "61860.8", "61583.22", "61685.99", "199.42863"))
    assert found == {"2024-08-08T23:55:00Z": expected}


@pytest.mark.data
def test_every_covered_candle_of_all_recordings_is_the_published_one(start: Start, data_dir: Path) -> None:
    """Played together, the four recordings give each five-minute candle that they cover whole, and no other."""
    frames = sorted((data_dir / "recordings").glob("*.gz"))
    up = start("up", *(part for file in frames for part in ("--frames", str(file))), feed="recorded", recorded_speed=0)
    for symbol in ("BTC-USDT", "ETH-USDT"):
        found = eventually(lambda symbol=symbol: candles(up, symbol, "5m"), lambda found: len(found) >= 2)
        assert sorted(found) == ["2024-08-08T23:55:00Z", "2024-08-09T00:00:00Z"]
        expected = published(data_dir, symbol)
        assert found == {open_time: expected[open_time] for open_time in found}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_three_cleanly(start: Start, number: signal.Signals) -> None:
    """After Ctrl-C or SIGTERM the exit code is 0, no process is left and the port is free."""
    up = start("up")
    port = int(up.grpc.rpartition(":")[2])
    family = [psutil.Process(up.process.pid), *psutil.Process(up.process.pid).children(recursive=True)]
    assert any("envoy" in one.name() for one in family)
    assert up.stop(number) == 0, "".join(up.lines)
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert not any("Traceback" in line for line in up.lines), "".join(up.lines)
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_signal_during_the_start_ends_it_too(start: Start) -> None:
    """A signal before the ready message leaves nothing behind either."""
    up = start("up")
    eventually(lambda: psutil.Process(up.process.pid).num_threads(), lambda threads: threads > 1)
    family: list[Any] = [psutil.Process(up.process.pid), *psutil.Process(up.process.pid).children(recursive=True)]
    up.stop(signal.SIGTERM)
    eventually(lambda: [one for one in family if one.is_running()], lambda left: not left)


def test_a_taken_port_is_named(start: Start) -> None:
    """Where the REST port is in use, the message names it and says what to do, without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = start("up", rest_port=port)
        said = up.until_said(r"Cannot go on:.*")[0]
        assert str(port) in said
        assert up.process.wait(timeout=20) == 1
        assert not any("Traceback" in line for line in up.lines)


def test_a_setting_out_of_range_is_named(start: Start) -> None:
    """A bad setting is named as it is written in the environment, with what is wrong about it."""
    up = start("up", stale_after_seconds="soon")
    assert "number" in up.until_said(r"ENTASIS_STALE_AFTER_SECONDS.*")[0]
    assert up.process.wait(timeout=20) == 2
