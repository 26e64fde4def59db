"""What `entasis watch` makes of messages, and how it looks."""

from __future__ import annotations

import asyncio
import io
import math
import os
import select
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

import entasis_engine.commands.watch as subject
from entasis_engine.commands.watch import _decoded, _key, _write, watch
from entasis_engine.commands.watch_state import (
    CANDLES_MAX,
    DAY_AGO_AGE_MAX,
    NOTES_MAX,
    RESTART_STEP,
    RefusedError,
    StrangeMessageError,
    UnknownSymbolError,
    Watched,
    refusal,
)
from entasis_engine.commands.watch_view import bar, chart, line_of, render

NOW = datetime(2026, 11, 23, 1, 24, 11, tzinfo=UTC)
URL = "ws://127.0.0.1:8080/ws/market"


def trade(seq: int, price: str = "100.50", symbol: str = "BTC-USDT") -> dict[str, Any]:
    return {
        "symbol": symbol,
        "price": price,
        "timestamp": "2026-11-23T01:24:11.212Z",
        "volume": "0.02757",
        "channel": "market",
        "seq": seq,
    }


def candle(
    minute: int, close: str = "105", *, interval: str = "1m", closed: bool = False, opening: str = "100"
) -> dict[str, Any]:
    return {
        "symbol": "BTC-USDT",
        "timestamp": f"2026-11-23T{minute // 60:02}:{minute % 60:02}:00Z",
        "open": opening,
        "high": "110",
        "low": "90",
        "close": close,
        "volume": "1.5",
        "channel": "candles",
        "interval": interval,
        "closed": closed,
        "seq": 1,
    }


def failure(reason: str, symbol: str | None = "BTC-USDT", message: str = "Not so") -> dict[str, Any]:
    body = {"type": "error", "code": 5, "message": message, "details": [{"@type": "x", "reason": reason}]}
    return body if symbol is None else body | {"symbol": symbol}


def watched(*symbols: str, interval: str = "1m", depth: int = 5, day: bool = True) -> Watched:
    return Watched(symbols or ("BTC-USDT",), interval=interval, depth=depth, day=day)


def notes(state: Watched) -> list[str]:
    return [note.text for note in state.notes]


def text_of(state: Watched, *, width: int = 120, height: int = 30, now: datetime = NOW) -> str:
    """The picture without its colours."""
    console = Console(width=width, height=height, force_terminal=False, record=True, file=io.StringIO())
    console.print(render(state, URL, now, width, height))
    return console.export_text()


# Messages.


def test_it_asks_for_all_that_is_shown_and_resumes_after_what_it_has() -> None:
    """The first subscription names no seq; the one after a reconnect names the last seq of each symbol that has one."""
    state = watched("BTC-USDT", "ETH-USDT", interval="5m")
    first = state.requests()
    assert [one["id"] for one in first] == ["market", "orderbook", "candles 5m", "candles 1d"]
    assert "resume" not in first[0]
    state.take(trade(7), NOW)
    assert state.requests()[0]["resume"] == {"BTC-USDT": 7}


def test_lines_ask_for_trades_alone() -> None:
    """Where no order book and no candles are shown, none are asked for."""
    assert [one["channel"] for one in watched(interval="", depth=0, day=False).requests()] == ["market"]


def test_a_day_candle_is_asked_for_once() -> None:
    """Daily candles serve for the chart and for the change of the day."""
    assert [one.get("interval") for one in watched(interval="1d", depth=0).requests()] == [None, "1d"]


@pytest.mark.parametrize(("price", "direction"), [("101", 1), ("100", -1), ("100.50", 0)])
def test_the_direction_is_that_of_the_last_change(price: str, direction: int) -> None:
    """Up, down, or as before."""
    state = watched()
    state.take(trade(1), NOW)
    assert state.take(trade(2, price), NOW)
    assert state.symbols["BTC-USDT"].direction == direction


def test_missing_trades_are_counted_and_told() -> None:
    """A step of seq by more than one is a gap of so many trades."""
    state = watched()
    state.take(trade(10), NOW)
    state.take(trade(11), NOW)
    assert state.symbols["BTC-USDT"].missed == 0
    state.take(trade(15), NOW)
    assert state.symbols["BTC-USDT"].missed == 3
    assert notes(state) == ["BTC-USDT: 3 trades are missing before seq 15"]


def test_a_restart_of_the_engine_is_no_count_of_trades() -> None:
    """A step as long as only a new start takes is told as one."""
    state = watched()
    state.take(trade(10), NOW)
    state.take(trade(10 + 2 * RESTART_STEP), NOW)
    assert state.symbols["BTC-USDT"].missed == 0
    assert "started anew" in notes(state)[0]


def test_a_snapshot_that_is_known_is_no_update() -> None:
    """After a reconnect the same trade comes again: nothing is shown, nothing is missing."""
    state = watched()
    assert state.take(trade(10), NOW)
    assert not state.take(trade(10), NOW)
    assert state.updates == 1


def test_a_resumed_stream_says_that_nothing_was_missed() -> None:
    """The answer to a resume is told, and only then."""
    state = watched()
    ack = {"type": "ack", "id": "market", "results": [{"symbol": "BTC-USDT", "status": "ok", "resumed": True}]}
    state.requests()
    state.take(ack, NOW)
    assert notes(state) == []
    state.take(trade(10), NOW)
    state.requests()
    state.take(ack, NOW)
    assert notes(state) == ["BTC-USDT: resumed, no trade was missed"]


def not_resumed(**more: object) -> dict[str, Any]:
    results = [{"symbol": "BTC-USDT", "status": "ok", "resumed": False} | more]
    return {"type": "ack", "id": "market", "results": results}


@pytest.mark.parametrize("more", [{}, {"seq": 5}])
def test_a_server_that_counts_anew_is_followed(more: dict[str, object]) -> None:
    """Where it does not resume and its numbers are lower, those before are forgotten, and it is told once."""
    state = watched()
    state.take(trade(100), NOW)
    state.requests()
    state.take(not_resumed(**more), NOW)
    assert state.take(trade(5), NOW)
    assert state.take(trade(6), NOW)
    assert (state.symbols["BTC-USDT"].missed, state.symbols["BTC-USDT"].restarts) == (0, 1)
    assert [note for note in notes(state) if "started anew" in note] == notes(state)
    assert not state.take(trade(4), NOW)


def test_a_server_that_goes_on_is_not_taken_for_another() -> None:
    """Where it cannot resume, since too much was missed, that is counted as before."""
    state = watched()
    state.take(trade(100), NOW)
    state.requests()
    state.take(not_resumed(seq=103), NOW)
    assert not state.take(trade(100), NOW)
    assert state.take(trade(104), NOW)
    assert (state.symbols["BTC-USDT"].missed, state.symbols["BTC-USDT"].restarts) == (3, 0)


@pytest.mark.parametrize("reason", ["MARKET_002", "SERVER_002"])
def test_an_interruption_lasts_until_data_flows(reason: str) -> None:
    """It is told once, shown meanwhile, and its end is told."""
    state = watched()
    state.take(failure(reason), NOW)
    state.take(failure(reason), NOW)
    assert "feed interrupted" in text_of(state)
    state.take(trade(1), NOW)
    assert "feed interrupted" not in text_of(state)
    assert len(notes(state)) == 2
    assert notes(state)[1] == "BTC-USDT: data flows again"


def test_an_interruption_without_a_symbol_is_of_all() -> None:
    """An engine that is gone is gone for each symbol."""
    state = watched("BTC-USDT", "ETH-USDT")
    state.take(failure("SERVER_002", None), NOW)
    assert all(one.interrupted for one in state.symbols.values())


def test_an_unknown_symbol_is_named() -> None:
    """In an answer to a subscription, and as an error by itself."""
    error = failure("MARKET_001")
    ack = {"type": "ack", "id": "market", "results": [{"symbol": "FOO-BAR", "status": "error", "error": error}]}
    with pytest.raises(UnknownSymbolError, match="FOO-BAR"):
        watched("FOO-BAR").take(ack, NOW)
    with pytest.raises(UnknownSymbolError, match="BTC-USDT"):
        watched().take(error, NOW)


def test_closed_streams_say_where_a_key_goes() -> None:
    """Without credentials where they are needed, the message names the environment variable."""
    with pytest.raises(RefusedError, match=r"Not authenticated.*ENTASIS_KEY"):
        watched().take(failure("AUTH_001", message="Not authenticated."), NOW)


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        "text",
        trade(1, "NaN"),
        trade(1, "a lot"),
        trade(1, "1E+999999999"),
        {**trade(1), "seq": None},
        {**trade(1), "seq": math.inf},
        {**candle(1), "open": None},
        {"channel": "orderbook", "symbol": "BTC-USDT", "bids": [], "asks": []},
        {"type": "ack", "results": [1]},
        {"type": "ack", "results": None},
        {"type": "ack", "id": "market", "results": {"symbol": "BTC-USDT"}},
        {"type": "ack", "results": [{"error": "no"}]},
    ],
)
def test_what_cannot_be_read_is_refused(message: object) -> None:
    """Something else that answers at the address is told as that, not with a traceback."""
    with pytest.raises(StrangeMessageError):
        watched().take(message, NOW)


def test_a_symbol_that_nobody_asked_for_is_ignored() -> None:
    """It is neither shown nor counted."""
    state = watched()
    assert not state.take(trade(1, symbol="ETH-USDT"), NOW)
    assert state.updates == 0


def test_candles_replace_and_follow_each_other() -> None:
    """One in progress is replaced, a new one follows, one that closed late takes its place."""
    state = watched()
    for message in (candle(1, "101"), candle(1, "102", closed=True), candle(3), candle(2), candle(2, "99")):
        state.take(message, NOW)
    found = state.symbols["BTC-USDT"].candles
    assert [(one.timestamp[14:16], one.close) for one in found] == [
        ("01", Decimal(102)),
        ("02", Decimal(99)),
        ("03", Decimal(105)),
    ]


def test_history_comes_before_what_came_since() -> None:
    """Candles of the past never replace newer ones."""
    state = watched()
    state.take(candle(3, "102"), NOW)
    state.with_history("BTC-USDT", [candle(2), candle(3, "1")])
    assert [one.close for one in state.symbols["BTC-USDT"].candles] == [Decimal(105), Decimal(102)]


def test_memory_is_bounded() -> None:
    """However much comes, only so many candles and notes are kept."""
    state = watched()
    for number in range(CANDLES_MAX + 50):
        state.take(candle(number), NOW)
        state.take(trade(1 + 2 * number), NOW)
    assert len(state.symbols["BTC-USDT"].candles) == CANDLES_MAX
    assert len(state.notes) == NOTES_MAX
    assert state.noted == CANDLES_MAX + 49


def test_the_change_is_since_midnight_until_a_day_ago_is_known() -> None:
    """Without a key it is that of the day in UTC."""
    state = watched()
    state.take(trade(1, "110"), NOW)
    one = state.symbols["BTC-USDT"]
    assert one.change(NOW) is None
    state.take(candle(0, interval="1d"), NOW)
    assert one.change(NOW) == (Decimal("0.1"), "today")
    state.with_day_ago("BTC-USDT", "88", NOW)
    assert one.change(NOW) == (Decimal("0.25"), "24h")
    assert one.change(NOW + DAY_AGO_AGE_MAX) == (Decimal("0.1"), "today")


@pytest.mark.parametrize("price", ["a lot", "NaN", "1E+999999999"])
def test_a_price_of_a_day_ago_that_is_none_is_an_error(price: str) -> None:
    """Of the one kind that whoever asks for it expects."""
    with pytest.raises(ValueError, match=price.replace("+", r"\+")):
        watched().with_day_ago("BTC-USDT", price, NOW)


# The picture.


def test_the_connection_is_shown() -> None:
    """Connecting, connected, and how long until the next attempt."""
    state = watched()
    assert "connecting" in text_of(state)
    state.opened(NOW)
    assert "● connected" in text_of(state)
    state.lost("1001 the server is shutting down", NOW + timedelta(seconds=7), NOW)
    assert "reconnecting in 7 s (1001 the server is shutting down)" in text_of(state)
    state.opened(NOW)
    assert notes(state) == ["connection lost: 1001 the server is shutting down", "connected again"]


def test_price_change_and_gap_are_shown() -> None:
    """The row of a symbol has all that is known of it."""
    state = watched()
    state.take(candle(0, interval="1d"), NOW)
    state.take(trade(10), NOW)
    state.take(trade(13, "99.00"), NOW)
    (row,) = [line for line in text_of(state).splitlines() if line.startswith("BTC-USDT")]
    assert row.split() == ["BTC-USDT", "▼", "99.00", "0.02757", "-1.00", "%", "today", "13", "2", "live"]
    assert "nothing for 20 s" in text_of(state, now=NOW + timedelta(seconds=20))


def test_the_book_has_its_best_prices_next_to_each_other() -> None:
    """Asks above, falling; then the spread; then bids, falling; bars in proportion."""
    state = watched()
    bids, asks = [["99.9", "4"], ["99.8", "1"]], [["100.1", "2"], ["100.2", "0.5"]]
    message = {"symbol": "BTC-USDT", "channel": "orderbook", "bids": bids, "asks": asks, "timestamp": "x", "seq": 1}
    assert state.take(message, NOW)
    lines = [line for line in text_of(state).splitlines() if any(sign in line for sign in ("99.", "100.", "spread"))]
    assert [line.split()[1] for line in lines] == ["100.2", "100.1", "spread", "99.9", "99.8"]
    assert "████████" in lines[3]
    assert "████ " in lines[1]


@pytest.mark.parametrize(("width", "height"), [(40, 10), (80, 24), (200, 60)])
def test_the_picture_fits_the_terminal(width: int, height: int) -> None:
    """No line is wider than the terminal, whatever its size."""
    state = watched("BTC-USDT", "ETH-USDT")
    for number in range(100):
        state.take(candle(number), NOW)
    state.take(trade(1), NOW)
    assert max(map(len, text_of(state, width=width, height=height).splitlines())) <= width


@pytest.mark.parametrize("width", [30, 40, 55, 56, 69, 70])
@pytest.mark.parametrize("interrupted", [False, True])
def test_a_narrow_terminal_cuts_no_price(width: int, *, interrupted: bool) -> None:
    """The number of the trade goes first, then size and missed trades; the state is cut before symbol and price."""
    state = watched()
    state.take(trade(1_795_397_647_889_185, "55543.41"), NOW)
    if interrupted:
        state.take(failure("MARKET_002"), NOW)
    head, row = text_of(state, width=width).splitlines()[1:3]
    assert row.split()[:2] == ["BTC-USDT", "55543.41"]
    assert ("seq" in head.split(), "size" in head.split()) == (width >= 70, width >= 56)
    assert interrupted or width < 40 or "live" in row


@pytest.mark.parametrize("height", [3, 6, 10, 24])
def test_symbols_that_have_no_line_are_counted(height: int) -> None:
    """As many as there is room for, and how many more there are."""
    state = watched(*(f"S{number}-USDT" for number in range(30)))
    lines = text_of(state, height=height).splitlines()
    listed = sum("-USDT" in line for line in lines)
    assert f"… and {30 - listed} more" in lines
    assert len(lines) <= max(height, 5)


@pytest.mark.parametrize(("size", "drawn"), [("0", ""), ("8", "████████"), ("1", "█"), ("0.5", "▌"), ("1.25", "█▎")])
def test_bars_are_in_proportion(size: str, drawn: str) -> None:
    """To an eighth of a sign."""
    assert bar(Decimal(size), Decimal(8), width=8) == drawn


def test_a_candle_is_drawn_between_its_prices() -> None:
    """The wick from low to high, the body from open to close, the newest on the right."""
    state = watched()
    state.take(candle(1, "110"), NOW)
    state.take(candle(2, "90"), NOW)
    drawn = [line.plain.split(" ")[0] for line in chart(list(state.symbols["BTC-USDT"].candles), 4)]
    assert drawn == ["█│", "█│", "██", "│█"]


# Lines.


EVIL = "1\x1b]0;pwn\x07\n\x9b31m"


def test_what_moves_a_cursor_is_replaced() -> None:
    """In lines, in the picture, in notes and in refusals."""
    state = watched()
    state.lost(EVIL, NOW, NOW)
    state.take({**trade(1), "volume": EVIL, "timestamp": EVIL}, NOW)
    message = refusal({"message": EVIL})
    for text in (line_of({**trade(1), "volume": EVIL}), message, str(UnknownSymbolError(EVIL)), *notes(state)):
        assert text.isprintable(), text
    assert not set(text_of(state)) & set("\x1b\x07\x9b")


async def test_a_reader_that_stops_holds_nothing_up(tmp_path: Path) -> None:
    """Only the write waits, and can be broken off; what is read afterwards comes whole and in order."""
    out, into = os.pipe()
    try:
        content = b"".join(b"%d\n" % number for number in range(100_000))
        writing = asyncio.create_task(_write(into, content))
        read = b""
        while len(read) < 10_000:
            await asyncio.sleep(0)
            if select.select([out], [], [], 0)[0]:
                read += os.read(out, 10_000)
        for _ in range(100):
            await asyncio.sleep(0)
        assert not writing.done()
        while len(read) < len(content):
            await asyncio.sleep(0)
            if select.select([out], [], [], 0)[0]:
                read += os.read(out, 65_536)
        await writing
        assert read == content
        blocked = asyncio.create_task(_write(into, content))
        for _ in range(100):
            await asyncio.sleep(0)
        blocked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await blocked
    finally:
        os.close(out)
        os.close(into)
    with (tmp_path / "file").open("wb") as file:
        await _write(file.fileno(), content)
    assert (tmp_path / "file").read_bytes() == content


def test_what_is_nested_too_deeply_is_no_message() -> None:
    """As is what is no JSON."""
    assert _decoded("[" * 100_000 + "]" * 100_000) is None
    assert _decoded("{") is None


# The command line.

app = typer.Typer()
app.command()(watch)


def refused(*arguments: str) -> str:
    """What a misuse is answered with."""
    result = CliRunner().invoke(app, ["BTC-USDT", *arguments])
    assert result.exit_code == 2, result.output
    return " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize("url", ["ws://user:hunter2@127.0.0.1", "ws://user:hun/ter2@[::1", "http://a:hunter2@b"])
def test_a_password_in_an_address_is_not_echoed(url: str) -> None:
    """It may be that of another server."""
    said = refused("--url", url)
    assert "//…@" in said
    assert "ter2" not in said


def test_a_key_in_the_env_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As settings do, and after the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ENTASIS_KEY", raising=False)
    (tmp_path / ".env").write_text("ENTASIS_KEY=ek_file\n")
    assert _key(None) == "ek_file"
    monkeypatch.setenv("ENTASIS_KEY", "ek_environment")
    assert _key(None) == "ek_environment"


def test_each_kind_of_update_has_its_line() -> None:
    """Time, symbol, and what it says, in one line."""
    assert line_of(trade(7)) == "2026-11-23T01:24:11.212Z BTC-USDT 100.50 size 0.02757 seq 7"
    book = {"symbol": "A-B", "channel": "orderbook", "bids": [["1", "2"]], "asks": [], "timestamp": "T", "seq": 3}
    assert line_of(book) == "T A-B bid 1 x 2 ask none seq 3"
    assert line_of(candle(61, closed=True)) == (
        "2026-11-23T01:01:00Z BTC-USDT 1m open 100 high 110 low 90 close 105 volume 1.5 closed"
    )


@pytest.mark.parametrize("given_up", [False, True])
async def test_history_that_is_not_there_yet_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, given_up: bool
) -> None:
    """An engine that has just started gets some seconds; what is refused is asked for once."""
    asked: list[str] = []

    def get(target: object, path: str) -> str:
        asked.append(path)
        if given_up:
            raise ValueError("status 403")
        if len(asked) < 3:
            raise OSError("status 503")
        return "candles"

    monkeypatch.setattr(subject, "_get", get)
    monkeypatch.setattr(subject, "AGAIN_SECONDS", (0.0, 0.0, 0.0))
    target: Any = None
    if given_up:
        with pytest.raises(ValueError, match="403"):
            await subject._got(target, "/history")
    else:
        assert await subject._got(target, "/history") == "candles"
    assert len(asked) == (1 if given_up else 3)


def test_leaving_does_not_wait_for_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop ends though a question is still open."""
    asked, answer = threading.Event(), threading.Event()

    def get(target: object, path: str) -> None:
        asked.set()
        answer.wait()

    async def leave() -> None:
        target: Any = None
        asking = asyncio.create_task(subject._got(target, "/history"))
        await asyncio.to_thread(asked.wait)
        asking.cancel()

    monkeypatch.setattr(subject, "_get", get)
    asyncio.run(leave())
    assert not answer.is_set()
    answer.set()
