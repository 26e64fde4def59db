"""`entasis watch`: the market live in a terminal, as a client of the public API alone."""
# ruff: noqa: PLC0415 - commands import what they need, so that --help is quick

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn
from urllib.parse import urlsplit

import typer
from rich.markup import escape

from entasis_engine.commands.printing import settings_in, tell

if TYPE_CHECKING:
    import ssl
    from datetime import datetime

    from entasis_engine.commands.watch_state import Watched

SYMBOL = re.compile(r"[A-Z0-9]{1,20}-[A-Z0-9]{1,20}")
PATH = "/ws/market"
OPEN_SECONDS_MAX = 10.0
CLOSE_SECONDS_MAX = 1.0
"""Of the farewell after Ctrl-C."""
REST_SECONDS_MAX = 10.0
"""An engine that has just started waits some seconds for its history."""
REST_BYTES_MAX = 4 * 1024 * 1024
BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 15.0
REFRESH_SECONDS = 0.1
MESSAGE_BYTES_MAX = 1024 * 1024
FRAMES_MAX = 64
"""Read ahead; then the server notices that we are slow, and leaves updates out."""
HISTORY_CANDLES = 200
DEPTH_MAX = 100
KEY_BYTES_MAX = 512
LINE_CHUNK_BYTES = min(4096, getattr(select, "PIPE_BUF", 512))
"""So much a pipe that has room takes at once."""
AGAIN_SECONDS = (1.0, 2.0, 5.0, 10.0)
"""Before history is asked for again that could not be had."""
DAY_AGO_SECONDS = 300.0
"""Between questions for the price of 24 hours ago."""
DUMB_TERMINALS = {"dumb", "unknown"}
"""Those that no picture can be drawn on."""
FOR_GOOD = {4401, 4403}
"""Close codes after which the same credentials would be refused again."""
REFUSED_FOR_GOOD = {400, 401, 403, 404, 405, 426}


def watch(
    symbols: Annotated[list[str], typer.Argument(help="What to watch, such as BTC-USDT.", metavar="SYMBOL")],
    interval: Annotated[
        Literal["1m", "5m", "1h", "1d"] | None,
        typer.Option(help="Length of the candles.", show_default="1m; in lines and JSON no candles"),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=DEPTH_MAX,
            help="Levels of the order book on each side; 0 for none.",
            show_default="10; in lines and JSON none",
        ),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="A line for each update, as where standard output is no terminal.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The messages as they come, one a line.")] = False,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many updates.", show_default="never")] = None,
    url: Annotated[
        str | None,
        typer.Option(
            help="The server's WebSocket: ws://… on this machine, wss://… elsewhere.",
            show_default="ws://127.0.0.1:8080/ws/market, by ENTASIS_REST_PORT",
        ),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(help="For wss://: the authority to trust, such as ca.pem of `entasis certs`.", exists=True),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(help="A file with an API key, or - for standard input.", show_default="ENTASIS_KEY"),
    ] = None,
) -> None:
    """Watch prices, order books and candles live. Ctrl-C ends it.

    `entasis watch BTC-USDT ETH-USDT --interval 5m`

    In scripts it prints a line for each trade, and with `--json` the server's messages as they are:

    `entasis watch BTC-USDT --count 10 --json | jq -r .price`

    It reconnects by itself, goes on after the last trade that it has, and says where some were missed. Streams are
    public unless ENTASIS_MARKET_STREAMS_PUBLIC is false. With an API key in the environment (ENTASIS_KEY, never on the
    command line, where others can read it) the change over 24 hours and the candles of the past are shown, too.
    """
    from entasis_engine.commands.watch_state import RefusedError, UnknownSymbolError, Watched, shown

    wanted = _symbols(symbols)
    target = _target(url, ca, _key(key_file))
    lines = plain or as_json or not sys.stdout.isatty() or os.environ.get("TERM", "").lower() in DUMB_TERMINALS
    state = Watched(
        wanted,
        interval=interval or ("" if lines else "1m"),
        depth=(0 if lines else 10) if depth is None else depth,
        day=not lines,
    )
    follow = _follow_in_lines if lines else _follow_on_screen
    try:
        with asyncio.Runner() as runner:
            runner.run(_until_told(follow(state, target, count, as_json)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return
    except _OutputError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        if isinstance(error.__cause__, BrokenPipeError):  # whoever read has seen enough, as `head` has
            return
        _refuse(f"Cannot write to standard output: {error}.")
    except UnknownSymbolError as error:
        tell(f"[red]{escape(shown(str(error)))}[/] {escape(shown(_listed(target)))}")
        raise typer.Exit(2) from None
    except RefusedError as error:
        _refuse(str(error))


class _OutputError(Exception):
    """Standard output takes no more."""


@dataclass(frozen=True)
class Target:
    """A server, and how to speak to it."""

    url: str
    key: str = ""
    tls: ssl.SSLContext | None = None

    @property
    def rest(self) -> str:
        """The beginning of its REST addresses."""
        parts = urlsplit(self.url)
        return f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc}"


# What is asked for.


def _symbols(given: list[str]) -> list[str]:
    wanted = list(dict.fromkeys(one.strip().upper() for text in given for one in text.split(",") if one.strip()))
    for one in wanted:
        if not SYMBOL.fullmatch(one):
            raise typer.BadParameter(f"'{one}' is no symbol such as BTC-USDT.", param_hint="SYMBOL")
    if not wanted:
        raise typer.BadParameter("Name at least one, such as BTC-USDT.", param_hint="SYMBOL")
    return wanted


def _key(file: Path | None) -> str:
    from entasis_engine.settings import KEY_VARIABLE

    if file is None:
        from dotenv import dotenv_values

        key = os.environ.get(KEY_VARIABLE) or dotenv_values(".env").get(KEY_VARIABLE) or ""
        where = KEY_VARIABLE
    else:
        try:
            key, where = (sys.stdin.read() if str(file) == "-" else file.read_text()), str(file)
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(
                f"Cannot read {file}: {getattr(error, 'strerror', None) or 'it is no text'}.", param_hint="--key-file"
            ) from None
    key = key.strip()
    if key and (len(key) > KEY_BYTES_MAX or not key.isascii() or not key.isprintable() or " " in key):
        raise typer.BadParameter(f"What {where} holds is no API key.", param_hint="--key-file")
    return key


def _target(url: str | None, ca: Path | None, key: str) -> Target:
    import ssl

    if url is None:
        settings = settings_in(None)
        host = f"[{settings.loopback}]" if ":" in settings.loopback else settings.loopback
        url = f"ws://{host}:{settings.rest_port}{PATH}"
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.scheme not in {"ws", "wss"} or not host or parts.username is not None:
        without = re.sub(r"//.*@", "//…@", url, flags=re.DOTALL)  # a password is nobody's business
        raise typer.BadParameter(
            f"'{without}' is no address such as ws://127.0.0.1:8080{PATH} or wss://HOST:8443{PATH}.", param_hint="--url"
        )
    if parts.path in {"", "/"}:
        url = f"{parts.scheme}://{parts.netloc}{PATH}"
    if parts.scheme == "ws":
        if ca is not None:
            raise typer.BadParameter("is for wss://, which speaks TLS.", param_hint="--ca")
        if key and not _is_here(host):
            raise typer.BadParameter(
                f"The key would go to {host} in plaintext. Use wss://, or leave ENTASIS_KEY unset.", param_hint="--url"
            )
        return Target(url, key)
    try:
        return Target(url, key, ssl.create_default_context(cafile=ca))
    except (OSError, ssl.SSLError):
        raise typer.BadParameter(f"There is no certificate (PEM) in {ca}.", param_hint="--ca") from None


def _is_here(host: str) -> bool:
    """Whether a host of an address is this machine."""
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# The connection.


async def _until_told(following: Any) -> None:
    """Follow until it ends, or until Ctrl-C or SIGTERM: what is open is closed in order; at a second one, at once."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    told = False

    def end(_number: int, _frame: object) -> None:
        nonlocal told
        if told or task is None:
            raise KeyboardInterrupt
        told = True
        loop.call_soon_threadsafe(task.cancel)

    # Not by the loop, whose handlers wait until it comes to them: it may be held by a write that does not end.
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        await following
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def follow(state: Watched, target: Target, on_update: Callable[[str, Any], Awaitable[bool]]) -> None:
    """Keep a connection, and hand each update on, until `on_update` says that it is enough.

    Raises:
        RefusedError: the server is not there at first, or will not give what was asked for.
    """
    import random

    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

    from entasis_engine.commands.watch_state import RefusedError
    from entasis_engine.exchanges.live_rules import Backoff
    from entasis_engine.times import system_clock

    backoff = Backoff(BACKOFF_FIRST_SECONDS, BACKOFF_MAX_SECONDS, random.Random())  # noqa: S311 - spreads attempts
    connected = False
    while True:
        try:
            async with _connect(target) as socket:
                connected = True
                for request in state.requests():
                    await socket.send(json.dumps(request))
                state.opened(system_clock())
                while True:
                    text = await socket.recv()
                    message = _decoded(text)
                    if state.take(message, system_clock()):
                        backoff.reset()
                        if await on_update(str(text), message):
                            return
        except ConnectionClosed as error:
            closing = error.rcvd
            reason = f"{closing.code} {closing.reason}".strip() if closing is not None else "without a word"
            if closing is not None and closing.code in FOR_GOOD:
                raise RefusedError(f"The server ended the connection: {closing.reason or closing.code}.") from None
        except InvalidStatus as error:
            reason = _in_words(error)
            if not connected or error.response.status_code in REFUSED_FOR_GOOD:
                raise RefusedError(reason) from None
        except (OSError, TimeoutError, InvalidHandshake, EOFError) as error:
            reason = _unreachable(error, target)
            if not connected:
                raise RefusedError(reason) from None
        wait_seconds = backoff.next_seconds()
        now = system_clock()
        state.lost(reason, _later(now, wait_seconds), now)
        await asyncio.sleep(wait_seconds)


def _connect(target: Target) -> Any:
    from websockets.asyncio.client import connect

    # A proxy of the environment is for elsewhere, and not for this machine.
    proxy: Literal[True] | None = None if _is_here(urlsplit(target.url).hostname or "") else True
    return connect(
        target.url,
        additional_headers={"X-API-Key": target.key} if target.key else None,
        ssl=target.tls,
        compression=None,
        open_timeout=OPEN_SECONDS_MAX,
        close_timeout=CLOSE_SECONDS_MAX,
        max_size=MESSAGE_BYTES_MAX,
        max_queue=FRAMES_MAX,
        proxy=proxy,
    )


def _decoded(text: str | bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # the latter of what is nested too deeply
        return None


def _unreachable(error: Exception, target: Target) -> str:
    import ssl

    if isinstance(error, ssl.SSLError):
        why = getattr(error, "verify_message", None) or error.reason or "TLS failed"
        return (
            f"No TLS with {target.url}: {why}. Name its authority with --ca, such as ca.pem of `entasis certs`, and a "
            "host that its certificate has."
        )
    if isinstance(error, ConnectionRefusedError):
        return f"Nothing answers at {target.url}; start it with `make run`."
    if isinstance(error, TimeoutError):
        return f"Nothing answers at {target.url} within {OPEN_SECONDS_MAX:.0f} s."
    if isinstance(error, OSError):
        refused = "refused" in str(error).lower()  # of several addresses at once
        return f"Nothing answers at {target.url}{'' if refused else f' ({error})'}; start it with `make run`."
    return f"What answers at {target.url} is no WebSocket of this engine. Look at the port: `entasis doctor`."


def _in_words(error: Any) -> str:
    """A refused handshake, which has the body of an error."""
    from entasis_engine.commands.watch_state import refusal

    body = _decoded(error.response.body or b"")
    if isinstance(body, dict) and "message" in body:
        return refusal(body)
    return (
        f"The server refuses with status {error.response.status_code}. Look at the address: the WebSocket is {PATH}, "
        "and `entasis doctor` tells what has the port."
    )


def _later(now: datetime, seconds: float) -> datetime:
    from datetime import timedelta

    return now + timedelta(seconds=seconds)


# In lines.


async def _follow_in_lines(state: Watched, target: Target, count: int | None, as_json: bool) -> None:
    from entasis_engine.commands.watch_view import line_of

    output = sys.stdout.fileno()

    async def show(text: str, message: Any) -> bool:
        line = text.translate(_ONE_LINE) if as_json else line_of(message)
        try:
            await _write(output, f"{line}\n".encode(errors="replace"))
        except OSError as error:  # which must not pass for one of the connection
            raise _OutputError(error.strerror) from error
        return count is not None and state.updates >= count

    watcher = asyncio.create_task(_tell_notes(state))
    try:
        await follow(state, target, show)
    finally:
        watcher.cancel()
        await asyncio.wait([watcher])


_ONE_LINE = {ord("\n"): " ", ord("\r"): " "}
"""Ends of lines in JSON stand between values alone."""


async def _write(output: int, content: bytes) -> None:
    """Write to a file descriptor. While whoever reads it does not, only this waits, and nothing is held up by it."""
    for begin in range(0, len(content), LINE_CHUNK_BYTES):
        rest = content[begin : begin + LINE_CHUNK_BYTES]
        while rest:
            await _writable(output)
            rest = rest[os.write(output, rest) :]


async def _writable(output: int) -> None:
    # Files always are; and where it cannot be asked, as on Windows, a write may wait.
    if sys.platform == "win32" or select.select([], [output], [], 0)[1]:
        return
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_writer(output, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(output)


async def _tell_notes(state: Watched) -> None:
    """What happens to the connection and to the feed, on standard error."""
    told = 0
    try:
        while True:
            told = _tell_since(state, told)
            await asyncio.sleep(REFRESH_SECONDS)
    finally:
        _tell_since(state, told)


def _tell_since(state: Watched, told: int) -> int:
    fresh = min(state.noted - told, len(state.notes))
    for note in list(state.notes)[len(state.notes) - fresh :]:
        tell(f"[dim]{note.at:%H:%M:%S}[/] {escape(note.text)}")
    return state.noted


# On a terminal.


async def _follow_on_screen(state: Watched, target: Target, count: int | None, as_json: bool) -> None:
    from rich.console import Console
    from rich.live import Live

    from entasis_engine.commands.watch_view import render
    from entasis_engine.times import system_clock

    console = Console(highlight=False)

    def picture() -> Any:
        return render(state, target.url, system_clock(), console.width, console.height)

    async def draw(live: Live) -> None:
        while True:
            live.update(picture(), refresh=True)
            await asyncio.sleep(REFRESH_SECONDS)

    # Leaving it, whatever for, gives the terminal back as it was.
    with Live(picture(), console=console, screen=True, auto_refresh=False, redirect_stderr=False) as live:
        tasks = [asyncio.create_task(draw(live))]
        if target.key:
            tasks.append(asyncio.create_task(_fetch_history(state, target)))

        async def enough(*_: object) -> bool:
            return count is not None and state.updates >= count

        try:
            await follow(state, target, enough)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def _fetch_history(state: Watched, target: Target) -> None:
    """The candles of the past and, as time goes on, the prices of a day ago; where they cannot be had, the view does
    without.
    """
    for symbol in state.symbols:
        with suppress(*_NOT_TO_BE_HAD):
            if state.interval:
                path = f"/api/v1/market/history/{symbol}?interval={state.interval}&page_size={HISTORY_CANDLES}"
                answer = await _got(target, path)
                state.with_history(symbol, answer["data"])
        await _fetch_day_ago(state, target, symbol)
    while True:
        await asyncio.sleep(DAY_AGO_SECONDS)
        for symbol in state.symbols:
            await _fetch_day_ago(state, target, symbol)


async def _got(target: Target, path: str) -> Any:
    """What REST has, asked for again for as long as an engine takes that has just started."""
    for pause_seconds in AGAIN_SECONDS:
        try:
            return await _asked(target, path)
        except OSError:
            await asyncio.sleep(pause_seconds)
    return await _asked(target, path)


async def _asked(target: Target, path: str) -> Any:
    """`_get` in a thread that nobody waits for at the end: Ctrl-C is not to wait for a server."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Any] = loop.create_future()

    def tell(settle: Callable[[Any], None], what: object) -> None:
        if not answer.done():
            settle(what)

    def run() -> None:
        with suppress(RuntimeError):  # the loop has ended
            try:
                made = _get(target, path)
            except Exception as error:  # whatever it is, it is the caller's
                loop.call_soon_threadsafe(tell, answer.set_exception, error)
            else:
                loop.call_soon_threadsafe(tell, answer.set_result, made)

    threading.Thread(target=run, daemon=True).start()
    return await answer


async def _fetch_day_ago(state: Watched, target: Target, symbol: str) -> None:
    from datetime import datetime, timedelta

    from entasis_engine.times import isoformat, system_clock

    now = system_clock()
    start = isoformat((now - timedelta(days=1)).replace(second=0, microsecond=0))
    path = f"/api/v1/market/history/{symbol}?interval=1m&start={start}&page_size=1"
    with suppress(*_NOT_TO_BE_HAD):
        first = (await _got(target, path))["data"][0]
        if datetime.fromisoformat(first["timestamp"]) < now - timedelta(hours=23):  # else history begins later
            state.with_day_ago(symbol, first["open"], now)


_NOT_TO_BE_HAD = (OSError, ValueError, LookupError, TypeError, RecursionError)


def _listed(target: Target) -> str:
    """Which symbols there are, as far as it can be asked."""
    try:
        answer = _get(target, "/api/v1/market/instruments")
        names = [str(one["symbol"]) for one in answer["instruments"]]
    except _NOT_TO_BE_HAD:
        return ""
    return f"There are {', '.join(names)}."


def _get(target: Target, path: str) -> Any:
    """The decoded answer to a REST call. Raises `ValueError` where it is refused, else `OSError`."""
    import http.client
    import ssl

    parts = urlsplit(target.rest)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        tls = target.tls or ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, parts.port, timeout=REST_SECONDS_MAX, context=tls)
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=REST_SECONDS_MAX)
    try:
        connection.request("GET", path, headers={"X-API-Key": target.key} if target.key else {})
        response = connection.getresponse()
        body = response.read(REST_BYTES_MAX)
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()
    if response.status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        raise OSError(f"status {response.status}")
    if response.status != http.HTTPStatus.OK:
        raise ValueError(f"status {response.status}")
    return json.loads(body)


def _refuse(problem: str) -> NoReturn:
    from entasis_engine.commands.watch_state import shown

    tell(f"[red]{escape(shown(problem))}[/]")
    raise typer.Exit(1) from None
