"""The command line: `entasis up` starts everything, `entasis serve` one part alone."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from entasis_engine.settings import Settings

app = typer.Typer(
    name="entasis",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Entasis Engine: market data over gRPC, REST and WebSocket. `entasis up` starts everything.",
    epilog="Every setting can also be given as ENTASIS_NAME in the environment or .env; docs/settings.md lists them.",
)
serve = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Run one part alone.")
app.add_typer(serve, name="serve")

screen = Console(stderr=True, highlight=False)

DataDir = Annotated[Path | None, typer.Option(help="Folder of the database.")]
Feed = Annotated[str | None, typer.Option(help="Source of market data: simulated, recorded or live.")]
Symbols = Annotated[str | None, typer.Option(help="Instruments to serve, such as BTC-USDT,ETH-USDT.")]
Frames = Annotated[list[Path] | None, typer.Option(help="Recorded frames, in order; repeat for several files.")]
Candles = Annotated[list[Path] | None, typer.Option(help="Candle files (btcusdt-5m-….csv.gz); repeat for several.")]
Speed = Annotated[float | None, typer.Option(help="Speed of the market; 0 plays a recording as fast as possible.")]
Engine = Annotated[
    str | None, typer.Option(help="The engine: host:port, or unix:/path.", show_default="the port of ENTASIS_GRPC_PORT")
]


@app.command()
def up(
    feed: Feed = None,
    symbols: Symbols = None,
    frames: Frames = None,
    candles: Candles = None,
    speed: Speed = None,
    port: Annotated[int | None, typer.Option(help="Port of REST, gRPC and WebSocket; 0 takes a free one.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Start engine, WebSocket bridge and Envoy; Ctrl-C ends all three.

    Without options the market is simulated and needs no network. To play a recording:

    `entasis up --feed recorded --frames day1.gz --frames day2.gz --speed 10`
    """
    settings = _settings(**_of_feed(feed, symbols, frames, candles, speed), rest_port=port, data_dir=data_dir)
    _run(settings, partial(_up, settings))


@serve.command()
def engine(
    feed: Feed = None,
    symbols: Symbols = None,
    frames: Frames = None,
    candles: Candles = None,
    speed: Speed = None,
    port: Annotated[int | None, typer.Option(help="gRPC port; 0 takes a free one.")] = None,
    unix: Annotated[Path | None, typer.Option(help="A unix socket to serve as well.")] = None,
    data_dir: DataDir = None,
) -> None:
    """The gRPC services alone, for clients that need neither REST nor WebSocket."""
    settings = _settings(**_of_feed(feed, symbols, frames, candles, speed), grpc_port=port, data_dir=data_dir)
    _run(settings, partial(_serve_engine, settings, unix))


@serve.command()
def bridge(
    engine: Engine = None,
    port: Annotated[int | None, typer.Option(help="WebSocket port; 0 takes a free one.")] = None,
    unix: Annotated[Path | None, typer.Option(help="A unix socket to serve instead of the port.")] = None,
) -> None:
    """The WebSocket bridge alone, as a client of an engine elsewhere on this machine."""
    settings = _settings(websocket_port=port)
    _run(settings, partial(_serve_bridge, settings, engine or _local(settings, settings.grpc_port), unix))


@serve.command()
def edge(
    engine: Engine = None,
    bridge: Annotated[
        str | None,
        typer.Option(
            help="The WebSocket bridge: host:port, or unix:/path.", show_default="the port of ENTASIS_WEBSOCKET_PORT"
        ),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port of REST, gRPC and WebSocket; 0 takes a free one.")] = None,
) -> None:
    """Envoy alone, in front of an engine and a bridge that run elsewhere on this machine."""
    settings = _settings(rest_port=port)
    engine = engine or _local(settings, settings.grpc_port)
    _run(settings, partial(_serve_edge, settings, engine, bridge or _local(settings, settings.websocket_port)))


def main() -> None:
    """Entry point of the `entasis` command."""
    # gRPC's fork handlers are for forks that go on in Python; the only child here is Envoy.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    app()


# What the commands do.


async def _up(settings: Settings, signals: _Signals) -> None:
    from entasis_engine.edge import UnixEndpoint, open_edge
    from entasis_engine.websocket.bridge import open_bridge

    started = time.monotonic()
    async with AsyncExitStack() as stack:
        # A short path of our own: a unix socket's may have 107 bytes at most, and a data folder may lie deep.
        run_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="entasis-")))
        engine_socket, bridge_socket = run_dir / "engine.sock", run_dir / "bridge.sock"
        engine = await stack.enter_async_context(_engine(settings, str(engine_socket)))
        metrics_port = _serve_metrics(stack, settings.host, settings.metrics_port, "ENTASIS_METRICS_PORT")
        channel = await stack.enter_async_context(_channel(f"unix:{engine_socket}"))
        bridge = await stack.enter_async_context(open_bridge(settings, channel=channel, unix_path=str(bridge_socket)))
        edge = await stack.enter_async_context(
            open_edge(
                settings,
                engine=UnixEndpoint(engine_socket),
                bridge=UnixEndpoint(bridge_socket),
                run_dir=run_dir,
                log_path=settings.data_dir / "envoy.log",
            )
        )
        symbol = engine.symbols[0]
        web = f"http://{_bracketed(settings.host)}:{edge.rest_port}"
        _ready(
            f"{settings.feed} market of {', '.join(engine.symbols)}, after {time.monotonic() - started:.1f} s",
            ("REST", f"curl {web}/api/v1/market/price/{symbol}"),
            ("", f"curl '{web}/api/v1/market/history/{symbol}?interval=1m&page_size=5'"),
            ("", f"curl -N '{web}/api/v1/market/prices:stream?symbols={symbol}'"),
            ("WebSocket", f"ws://{_bracketed(settings.host)}:{edge.rest_port}/ws/market"),
            ("", f'send {{"action": "subscribe", "channel": "market", "symbols": ["{symbol}"]}}'),
            ("gRPC", f"{_bracketed(settings.host)}:{edge.rest_port} through Envoy, port {engine.grpc_port} directly"),
            ("Metrics", f"http://{_bracketed(settings.host)}:{metrics_port}/metrics"),
        )
        await signals.wait(edge.wait)
        # Streams and sockets never end by themselves; told first, they end in words, and calls in flight go on.
        await edge.refuse_new_callers()
        await bridge.close()
        engine.end_streams()


async def _serve_engine(settings: Settings, unix: Path | None, signals: _Signals) -> None:
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(
            _engine(settings, str(unix) if unix else None, notice_seconds=settings.notice_seconds)
        )
        metrics_port = _serve_metrics(stack, settings.host, settings.metrics_port, "ENTASIS_METRICS_PORT")
        _ready(
            f"engine on the {settings.feed} market of {', '.join(engine.symbols)}",
            ("gRPC", f"{_bracketed(settings.host)}:{engine.grpc_port}"),
            ("Metrics", f"http://{_bracketed(settings.host)}:{metrics_port}/metrics"),
        )
        await signals.wait()


async def _serve_bridge(settings: Settings, engine: str, unix: Path | None, signals: _Signals) -> None:
    from entasis_engine.websocket.bridge import open_bridge

    async with AsyncExitStack() as stack:
        metrics_port = _serve_metrics(stack, settings.host, settings.bridge_metrics_port, "ENTASIS_BRIDGE_METRICS_PORT")
        channel = await stack.enter_async_context(_channel(engine))
        opened = await stack.enter_async_context(
            open_bridge(
                settings,
                channel=channel,
                unix_path=str(unix) if unix else None,
                host=settings.host,
                port=settings.websocket_port,
            )
        )
        _ready(
            f"WebSocket bridge to {engine}",
            ("WebSocket", f"unix:{unix}" if unix else f"ws://{_bracketed(settings.host)}:{opened.port}/ws/market"),
            ("Metrics", f"http://{_bracketed(settings.host)}:{metrics_port}/metrics"),
        )
        await signals.wait()


async def _serve_edge(settings: Settings, engine: str, bridge: str, signals: _Signals) -> None:
    from entasis_engine.edge import open_edge

    async with AsyncExitStack() as stack:
        run_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="entasis-")))
        edge = await stack.enter_async_context(
            open_edge(
                settings,
                engine=_endpoint(engine),
                bridge=_endpoint(bridge),
                run_dir=run_dir,
                log_path=settings.data_dir / "envoy.log",
            )
        )
        _ready("Envoy", ("REST", f"http://{_bracketed(settings.host)}:{edge.rest_port}/api/v1/market/instruments"))
        await signals.wait(edge.wait)


# What they share.


@asynccontextmanager
async def _engine(settings: Settings, unix_path: str | None, *, notice_seconds: float = 0.0) -> AsyncIterator[Any]:
    from entasis_engine.bootstrap import open_engine

    async with open_engine(settings, unix_path=unix_path, notice_seconds=notice_seconds) as opened:
        yield opened


@asynccontextmanager
async def _channel(target: str) -> AsyncIterator[Any]:
    import grpc

    from entasis_engine.websocket.upstream import CHANNEL_OPTIONS

    async with grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS) as channel:
        yield channel


def _serve_metrics(stack: AsyncExitStack, host: str, port: int, setting: str) -> int:
    from entasis_engine.telemetry.metrics import serve_metrics

    try:
        return stack.enter_context(serve_metrics(host, port))
    except OSError as error:
        raise _UnusableError(
            f"Cannot serve metrics on port {port}: {error.strerror}. Choose another: {setting}."
        ) from None


def _endpoint(target: str) -> Any:
    from entasis_engine.edge import TcpEndpoint, UnixEndpoint

    if target.startswith("unix:"):
        return UnixEndpoint(Path(target.removeprefix("unix:")))
    host, _, port = target.rpartition(":")
    if not host or not port.isdigit():
        raise _UnusableError(f"'{target}' is no address: it must be host:port or unix:/path.")
    return TcpEndpoint(host.strip("[]"), int(port))


class _UnusableError(Exception):
    """What was asked for cannot be done; the text says why, and what to do."""


def _settings(**given: Any) -> Settings:
    """The settings, with what the command line gives in place of the environment's."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        for fault in error.errors():
            name = "_".join(str(part) for part in fault["loc"])
            told = escape(f"{fault['msg']} (given: {fault['input']!r})")
            screen.print(f"[red]ENTASIS_{name.upper()}[/]: {told}", soft_wrap=True)
        raise typer.Exit(2) from None


def _of_feed(
    feed: str | None, symbols: str | None, frames: list[Path] | None, candles: list[Path] | None, speed: float | None
) -> dict[str, Any]:
    return {
        "feed": feed,
        "symbols": symbols,
        "recorded_frames": tuple(frames) if frames else None,
        "recorded_candles": tuple(candles) if candles else None,
        "recorded_speed": speed,
        "simulated_speed": speed if speed or feed == "simulated" else None,
    }


def _run(settings: Settings, main: Callable[[_Signals], Awaitable[None]]) -> None:
    """Run a command's coroutine, and tell failures that a person can mend in one line instead of a traceback."""
    from entasis_engine.edge import EdgeError
    from entasis_engine.exchanges.feed import FeedError
    from entasis_engine.rpc.server import PortTakenError
    from entasis_engine.storage.database import DatabaseError
    from entasis_engine.telemetry import logs

    logs.configure(settings.log_level, settings.log_format)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_signalled(main))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(130) from None
    except Exception as error:
        cause = _first_cause(error)
        if not isinstance(cause, EdgeError | FeedError | PortTakenError | DatabaseError | OSError | _UnusableError):
            raise
        screen.print(f"[red]Cannot go on:[/] {escape(str(cause))}", soft_wrap=True)
        raise typer.Exit(1) from None


def _first_cause(error: BaseException) -> BaseException:
    """What went wrong, out of the groups that the owners of the loops wrap it in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _signalled(main: Callable[[_Signals], Awaitable[None]]) -> None:
    await main(_Signals())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


class _Signals:
    """Ctrl-C and SIGTERM. The first one ends what runs in order, a second one ends the process at once."""

    def __init__(self) -> None:
        self._told = asyncio.Event()
        self._waiting = False
        self._command = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._tell)

    def _tell(self) -> None:
        if self._told.is_set():
            os._exit(130)
        self._told.set()
        if not self._waiting and self._command is not None:  # still starting: what is open is closed again
            self._command.cancel()

    async def wait(self, *endings: Callable[[], Awaitable[Exception]]) -> None:
        """Wait for the first signal, or for something to end by itself, whose reason is then raised."""
        self._waiting = True
        stopping = asyncio.ensure_future(self._told.wait())
        ended = [asyncio.ensure_future(ending()) for ending in endings]
        await asyncio.wait([stopping, *ended], return_when=asyncio.FIRST_COMPLETED)
        for future in (stopping, *ended):
            future.cancel()
        for future in ended:
            if future.done() and not future.cancelled():
                raise future.result()
        screen.print("Stopping: calls in flight may end …")


def _ready(title: str, *rows: tuple[str, str]) -> None:
    screen.print(f"\n[bold green]Entasis is up[/]: {escape(title)}\n", soft_wrap=True)
    for name, value in rows:  # one unbroken line each, so that a command can be copied
        screen.print(f"  [bold]{name:<10}[/]{escape(value)}", soft_wrap=True)
    screen.print("\nCtrl-C ends it.")


def _local(settings: Settings, port: int) -> str:
    return f"{_bracketed(settings.host)}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":
    main()
