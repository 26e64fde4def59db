"""`entasis watch`, `entasis backfill` and `entasis doctor`, as people and scripts use them."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Running, Start, eventually
from tests.support.access import make_key
from websockets.asyncio.server import ServerConnection, serve

from entasis_engine.commands.authority import issue, make_authority
from entasis_engine.commands.backfill import Span, load_from
from entasis_engine.commands.backfill_rules import Conflicts
from entasis_engine.exchanges.feed import Candle, Interval
from entasis_engine.storage.candles import CandleStore
from entasis_engine.storage.database import open_database
from entasis_engine.times import isoformat, to_milliseconds

pytestmark = pytest.mark.e2e

ENTASIS = str(Path(sys.executable).parent / "entasis")
HOUR = timedelta(hours=1)
LONG_AGO = datetime(2017, 8, 17, 4, tzinfo=UTC)
COMMAND_SECONDS_MAX = 60


def entasis(*arguments: str, code: int = 0, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with settings alone that are named here."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ENTASIS_")}
    given = {f"ENTASIS_{name.upper()}": str(value) for name, value in settings.items()}
    done = subprocess.run(
        [ENTASIS, *arguments],
        env=kept | given,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def up(start: Start, folder: Path) -> Running:
    """An engine on the simulated market."""
    return start("up", data_dir=folder)


# Watching.


def test_a_script_gets_messages_as_they_are(up: Running) -> None:
    """With --json each line is a message of the WebSocket, and --count ends it."""
    done = entasis("watch", "BTC-USDT,eth-usdt", "--depth", "3", "--json", "--count", "4", "--url", up.websocket)
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(messages) == 4
    assert {one["channel"] for one in messages} <= {"market", "orderbook"}
    assert {one["symbol"] for one in messages} == {"BTC-USDT", "ETH-USDT"}


def test_a_line_is_an_update(up: Running) -> None:
    """Where standard output is no terminal, it has a line for each trade, and the port is that of the settings."""
    done = entasis("watch", "BTC-USDT", "--count", "2", rest_port=up.web.rpartition(":")[2])
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["BTC-USDT"] * 2
    assert all(" seq " in line for line in done.stdout.splitlines())


def test_an_unknown_symbol_is_told_with_those_that_there_are(up: Running) -> None:
    """With and without a key, which comes by the environment."""
    for key in ({"key": up.key}, {}):
        done = entasis("watch", "FOO-BAR", "--url", up.websocket, code=2, **key)
        assert "does not list FOO-BAR. There are BTC-USDT," in done.stderr
    refused = entasis("watch", "BTC-USDT", "--url", up.websocket, code=1, key="ek_unknown").stderr
    assert "Not authenticated" in refused


def test_nothing_there_says_what_to_start() -> None:
    """Nobody waits for a server that was never there."""
    port = free_port()
    done = entasis("watch", "BTC-USDT", code=1, rest_port=port)
    assert done.stderr.strip() == f"Nothing answers at ws://127.0.0.1:{port}/ws/market; start it with `make run`."


def test_a_key_never_goes_in_plaintext_to_another_machine() -> None:
    """Without TLS a key stays here."""
    done = entasis("watch", "BTC-USDT", "--url", "ws://192.0.2.1:8080", code=2, key="ek_something")
    assert "in plaintext" in done.stderr
    assert "ek_something" not in done.stderr


async def test_a_lost_connection_is_resumed_and_a_gap_is_told(tmp_path: Path) -> None:
    """It connects again with the last seq that it has and its key, and counts what is missing nevertheless."""
    asked: list[dict[str, Any]] = []
    keys: list[str | None] = []

    async def answer(connection: ServerConnection) -> None:
        assert connection.request is not None
        keys.append(connection.request.headers.get("X-API-Key"))
        asked.append(json.loads(await connection.recv()))
        for seq in [1] if len(asked) == 1 else [2, 5]:
            trade = {"symbol": "BTC-USDT", "price": "1.50", "timestamp": "2026-11-23T01:24:11Z", "volume": "1"}
            await connection.send(json.dumps({**trade, "channel": "market", "seq": seq}))
        await connection.close(1001, "the server is shutting down")

    key_file = tmp_path / "key"
    key_file.write_text("ek_a_b\n")
    async with serve(answer, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        url = f"ws://127.0.0.1:{port}/ws/market"
        arguments = ("watch", "BTC-USDT", "--count", "3", "--url", url, "--key-file", str(key_file))
        done = await asyncio.to_thread(entasis, *arguments)
    assert [line.rpartition(" ")[2] for line in done.stdout.splitlines()] == ["1", "2", "5"]
    assert "resume" not in asked[0]
    assert asked[1]["resume"] == {"BTC-USDT": 1}
    assert keys == ["ek_a_b", "ek_a_b"]
    for said in ("connection lost: 1001", "connected again", "2 trades are missing before seq 5"):
        assert said in done.stderr


async def test_tls_needs_an_authority_that_is_trusted(tmp_path: Path) -> None:
    """By wss:// with --ca; without it the message names the option."""

    async def answer(connection: ServerConnection) -> None:
        await connection.recv()
        trade = {"symbol": "BTC-USDT", "price": "1.50", "timestamp": "2026-11-23T01:24:11Z", "volume": "1"}
        await connection.send(json.dumps({**trade, "channel": "market", "seq": 7}))
        await connection.wait_closed()

    authority = make_authority(datetime.now(UTC))
    server_side = issue(authority, "server", ["localhost", "127.0.0.1"], days=1, now=datetime.now(UTC))
    for name, content in (
        ("ca.pem", authority.certificate_pem),
        ("server.pem", server_side.certificate_pem),
        ("server.key", server_side.key_pem),
    ):
        (tmp_path / name).write_bytes(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    async with serve(answer, "127.0.0.1", 0, ssl=context) as server:
        url = f"wss://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        arguments = ("watch", "BTC-USDT", "--count", "1", "--url", url)
        done = await asyncio.to_thread(entasis, *arguments, "--ca", str(tmp_path / "ca.pem"))
        assert done.stdout.endswith("seq 7\n")
        assert "--ca" in (await asyncio.to_thread(entasis, *arguments, code=1)).stderr


def test_ctrl_c_gives_the_terminal_back(up: Running) -> None:
    """The view is drawn with prices in it; Ctrl-C ends it at once with exit code 0, and the screen is as before."""
    command, key = [ENTASIS, "watch", "BTC-USDT", "--url", up.websocket], up.key
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS="120", LINES="30", ENTASIS_KEY=key)
        os.execv(ENTASIS, command)
    drawn, deadline, told_at = b"", time.monotonic() + COMMAND_SECONDS_MAX, 0.0
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            drawn += os.read(terminal, 65536)
        except OSError:  # it has ended, and the terminal with it
            break
        if not told_at and b"spread" in drawn and (b"24h" in drawn or b"today" in drawn):
            told_at = time.monotonic()
            os.write(terminal, b"\x03")
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0, drawn[-2000:]
    assert told_at
    assert time.monotonic() - told_at < 20
    assert b"BTC-USDT" in drawn
    for begun, ended in ((b"\x1b[?1049h", b"\x1b[?1049l"), (b"\x1b[?25l", b"\x1b[?25h")):
        assert drawn.rindex(ended) > drawn.rindex(begun)


def test_a_terminal_that_cannot_be_drawn_on_gets_lines(up: Running) -> None:
    """As a pipe does."""
    command = [ENTASIS, "watch", "BTC-USDT", "--count", "1", "--url", up.websocket]
    process, terminal = pty.fork()
    if process == 0:
        os.environ["TERM"] = "dumb"
        os.execv(ENTASIS, command)
    drawn, deadline = b"", time.monotonic() + COMMAND_SECONDS_MAX
    while time.monotonic() < deadline:
        try:
            drawn += os.read(terminal, 65536)
        except OSError:  # it has ended
            break
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert b" seq " in drawn
    assert b"\x1b" not in drawn


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_lines_quietly(up: Running, number: signal.Signals) -> None:
    """In a pipe too, with exit code 0 and without a traceback."""
    command = [ENTASIS, "watch", "BTC-USDT", "--depth", "1", "--url", up.websocket]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline()
        program.send_signal(number)
        _, wrong = program.communicate(timeout=60)
    assert program.returncode == 0
    assert wrong == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_though_nobody_reads(number: signal.Signals) -> None:
    """A full pipe holds up the lines alone."""
    full = asyncio.Event()

    async def answer(connection: ServerConnection) -> None:
        await connection.recv()
        trade = {"symbol": "BTC-USDT", "price": "1.50", "timestamp": "2026-11-23T01:24:11Z", "volume": "1" * 4000}
        for seq in range(1, 100_000):
            try:
                async with asyncio.timeout(1):
                    await connection.send(json.dumps({**trade, "channel": "market", "seq": seq}))
            except TimeoutError:  # nothing is taken any more
                break
        full.set()
        await connection.wait_closed()

    async with serve(answer, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        command = [ENTASIS, "watch", "BTC-USDT", "--url", url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
            try:
                async with asyncio.timeout(COMMAND_SECONDS_MAX):
                    await full.wait()
                program.send_signal(number)
                assert await asyncio.to_thread(program.wait, 30) == 0
            finally:
                program.kill()


def test_standard_output_that_takes_nothing_is_told() -> None:
    """A full disk, or one that is closed, without a traceback."""
    for shell in ('exec "$0" doctor --json >/dev/full', 'exec "$0" --help >/dev/full', 'exec "$0" doctor >&-'):
        done = subprocess.run(
            ["/bin/sh", "-c", shell, ENTASIS],
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith("Cannot write to standard output: ")
        assert "Traceback" not in done.stderr


def test_an_env_that_is_no_text_is_told(tmp_path: Path) -> None:
    """By every command that would read it."""
    (tmp_path / ".env").write_bytes(b"ENTASIS_FEED=\xff\n")
    for arguments in (["watch", "BTC-USDT"], ["keys", "list", "demo"], ["up"]):
        done = subprocess.run(
            [ENTASIS, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )
        assert done.returncode == 2
        assert ".env in this folder: it is no text in UTF-8" in " ".join(done.stderr.split())


# Backfilling.


def candle_lines(first: datetime, interval: timedelta, count: int) -> list[str]:
    return [
        f"{isoformat(first + number * interval)},{4000 + number}.5,{4010 + number},{3990 + number},{4005 + number},7.25"
        for number in range(count)
    ]


def candle_file(folder: Path, name: str, lines: list[str]) -> Path:
    file = folder / name
    file.write_text("\n".join(["open_time,open,high,low,close,volume", *lines, ""]))
    return file


def test_an_engine_serves_what_was_backfilled(start: Start, tmp_path: Path) -> None:
    """Hours of long ago are in the history that REST gives, next to what the engine's own feed knows; and while the
    engine runs, more of it is refused.
    """
    hours = candle_file(tmp_path, "btcusdt-1h-2017.csv", candle_lines(LONG_AGO, HOUR, 30))
    recording = candle_file(
        tmp_path, "btcusdt-5m-2024.csv", candle_lines(datetime(2024, 1, 1, tzinfo=UTC), HOUR / 12, 400)
    )
    data = tmp_path / "data"
    (done,) = json.loads(entasis("backfill", str(hours), "--json", "--data-dir", str(data)).stdout)
    assert (done["new"], done["first"], done["source"]) == (30, "2017-08-17T04:00:00Z", "binance")
    up = start("up", feed="recorded", recorded_candles=recording, data_dir=data)
    path = f"/api/v1/market/history/BTC-USDT?interval=1h&start={isoformat(LONG_AGO)}&page_size=100"
    _, body, _ = eventually(lambda: up.get(path), lambda answer: answer[0] == 200)
    early = [one for one in body["data"] if one["timestamp"] < "2018"]
    assert [one["timestamp"] for one in early] == [isoformat(LONG_AGO + number * HOUR) for number in range(30)]
    assert [Decimal(early[29][name]) for name in ("open", "high", "low", "close", "volume")] == [
        Decimal(number) for number in ("4029.5", "4039", "4019", "4034", "7.25")
    ]
    refused = entasis("backfill", str(hours), "--data-dir", str(data), code=1)
    assert "Stop the engine" in refused.stderr
    (again,) = json.loads(entasis("backfill", str(hours), "--dry-run", "--json", "--data-dir", str(data)).stdout)
    assert (again["new"], again["same"]) == (0, 30)


def test_without_ccxt_or_its_exchange_it_says_so(tmp_path: Path) -> None:
    """An exchange that ccxt does not know, or a ccxt that is not there, is told with what to do."""
    arguments = ("--exchange", "nowhere", "--from", "2024-01-01", "--data-dir", str(tmp_path))
    said = entasis("backfill", *arguments, code=1).stderr
    assert "make setup-extras" in said or "has no exchange 'nowhere'" in said


async def test_an_exchange_gives_its_history_through_ccxt(tmp_path: Path) -> None:
    """Two pages and a hole come in exactly; a second run asks for the hole alone."""
    pytest.importorskip("ccxt")
    from tests.support.exchange_server import ExchangeServer, Market, synthetic_lines

    from entasis_engine.exchanges.live import LiveFeed

    market = Market("BTCUSDT", synthetic_lines("BTCUSDT", 2))
    start = datetime(2024, 1, 1, tzinfo=UTC)
    numbers = [Decimal(text) for text in ("42283.58", "42775.00", "42261.02", "42775.123456789012345678", "1.5")]
    numbers[1] = numbers[3]
    given = [Candle(start + hour * HOUR, *numbers) for hour in range(1200) if hour != 700]
    market.klines["1h"] = [
        [to_milliseconds(one.open_time), *(str(number) for number in numbers), to_milliseconds(one.open_time), *"00000"]
        for one in given
    ]
    span = Span(("BTC-USDT",), Interval.HOUR, start, start + 1200 * HOUR)
    async with (
        asyncio.timeout(COMMAND_SECONDS_MAX),
        ExchangeServer.running(market) as server,
        open_database(f"sqlite+aiosqlite:///{tmp_path}/x.db") as database,
    ):
        feed = LiveFeed("binance", ["BTC-USDT"], base_urls=server.base_urls())
        try:
            store = CandleStore(database)
            (first,) = await load_from(feed, store, span, "binance", Conflicts.STOP)
            asked = server.requests.count("/api/v3/klines")
            (second,) = await load_from(feed, store, span, "binance", Conflicts.STOP)
        finally:
            await feed.close()
        assert (first.new, first.absent) == (1199, 1)
        assert (second.new, second.same, second.absent) == (0, 1199, 1)
        assert server.requests.count("/api/v3/klines") == asked + 1
        assert await store.read("binance", "BTC-USDT", Interval.HOUR, start, span.end, 2000) == given


# The doctor.


def findings(done: subprocess.CompletedProcess[str]) -> Iterator[tuple[str, str, str, str]]:
    for one in json.loads(done.stdout)["findings"]:
        yield one["check"], one["state"], one["found"], one["mend"]


def require(done: subprocess.CompletedProcess[str], expected: Mapping[str, tuple[str, str, str]]) -> None:
    """Each check has a finding of this state that says this, and this of what mends it."""
    told = list(findings(done))
    for check, (state, says, mends) in expected.items():
        assert any(
            (name, its_state) == (check, state) and says in found and mends in mend
            for name, its_state, found, mend in told
        ), (check, told)


def test_a_sound_installation_has_nothing_wrong(up: Running, folder: Path) -> None:
    """Beside the engine that runs: its ports are ours, its data is whole, and the exit code is 0."""
    rest, grpc = up.web.rpartition(":")[2], up.engine.rpartition(":")[2]
    metrics = up.until_said(r":(\d+)/metrics")[1]
    done = entasis(
        "doctor", "--json", data_dir=folder, rest_port=rest, grpc_port=grpc, metrics_port=metrics, envoy_admin_port=0
    )
    assert json.loads(done.stdout)["wrong"] == 0
    require(
        done,
        {
            f"port {rest}": ("ok", "is up: REST answers", ""),
            f"port {grpc}": ("ok", "is up: health says SERVING", ""),
            f"port {metrics}": ("ok", "is up", ""),
            "database": ("ok", "in use by an engine", ""),
            "ledger": ("ok", "is whole, version ledger_", ""),
            "accounts": ("ok", "1 account, 1 live key", ""),
            "envoy": ("ok", "takes the configuration", ""),
            "contract": ("ok", "the code has", ""),
            "lightgbm": ("ok", "loads", ""),
        },
    )


def test_what_is_broken_is_told_with_what_mends_it(tmp_path: Path) -> None:
    """All at once: damaged files, tables of another version, readable secrets, an expired certificate, a port that a
    stranger has, settings that are wrong and misspelt. Nothing is changed.
    """
    data = tmp_path / "data"
    make_key(data)
    (data / "entasis.db").write_bytes(b"SQLite format 3\0" + os.urandom(8192))
    (data / "jwt-secret").write_bytes(os.urandom(32))
    (data / "jwt-secret").chmod(0o644)
    with closing(sqlite3.connect(data / "ledger.db")) as ledger, ledger:
        ledger.execute("CREATE TABLE alembic_version (version_num TEXT)")
        ledger.execute("INSERT INTO alembic_version VALUES ('ledger_9999')")
    then = datetime(2020, 1, 1, tzinfo=UTC)
    expired = issue(make_authority(then), "server", ["localhost"], days=1, now=then)
    (tmp_path / "server.pem").write_bytes(expired.certificate_pem)
    (tmp_path / "server.key").write_bytes(expired.key_pem)
    (tmp_path / "server.key").chmod(0o600)
    before = {path: path.read_bytes() for path in data.iterdir() if path.is_file()}
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        done = entasis(
            "doctor",
            "--json",
            code=1,
            data_dir=data,
            rest_port=port,
            grpc_port=0,
            envoy_admin_port=0,
            metrics_port=0,
            https_port=0,
            tls_certificate=tmp_path / "server.pem",
            tls_key=tmp_path / "server.key",
            stale_after_seconds="soon",
            simulated_sed=3,
        )
    require(
        done,
        {
            "database": ("wrong", "entasis.db", "move"),
            "ledger": ("wrong", "version ledger_9999, newer than this program", "newer version"),
            "secrets": ("wrong", "jwt-secret", "chmod 600"),
            "tls": ("wrong", "expired at 2020-01-02", "entasis certs"),
            f"port {port}": ("wrong", f"process {os.getpid()}", "ENTASIS_REST_PORT"),
            "settings": ("wrong", "ENTASIS_STALE_AFTER_SECONDS", "docs/settings.md"),
            "envoy": ("warning", "TLS files that do not fit", "mend tls"),
        },
    )
    require(done, {"settings": ("warning", "ENTASIS_SIMULATED_SED", "ENTASIS_SIMULATED_SEED")})
    assert {path: path.read_bytes() for path in data.iterdir() if path.is_file()} == before


def test_what_is_missing_is_told_with_what_mends_it(tmp_path: Path) -> None:
    """A data folder that cannot be made, a certificate that is not there, a database that does not answer."""
    (tmp_path / "file").write_text("in the way")
    done = entasis(
        "doctor",
        code=1,
        data_dir=tmp_path / "file" / "data",
        rest_port=0,
        grpc_port=0,
        envoy_admin_port=0,
        metrics_port=0,
        https_port=0,
        tls_certificate=tmp_path / "none.pem",
        tls_key=tmp_path / "none.key",
        ledger_url=f"postgresql+asyncpg://user:a-secret@127.0.0.1:{free_port()}/money",
    )
    for said in ("cannot be made", "choose another folder", "Cannot read", "none.pem", "money at 127.0.0.1"):
        assert said in done.stdout
    assert "a-secret" not in done.stdout + done.stderr
    assert "wrong" in done.stderr
