"""The command line: `entasis up` starts everything, `entasis serve` one part alone."""

from __future__ import annotations

try:
    import asyncio
    import errno
    import gc
    import os
    import signal
    import socket
    import sys
    import tempfile
    import time
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing
    from functools import partial
    from pathlib import Path
    from typing import TYPE_CHECKING, Annotated, Any

    import typer
    from dotenv import dotenv_values
    from pydantic import ValidationError
    from rich.console import Console
    from rich.markup import escape

    from entasis_engine.commands.access import accounts, keys
    from entasis_engine.commands.backfill import backfill
    from entasis_engine.commands.certs import certs
    from entasis_engine.commands.doctor import doctor
    from entasis_engine.commands.train import train
    from entasis_engine.commands.watch import watch
    from entasis_engine.settings import Settings, misspelt
    from entasis_engine.telemetry.redaction import redacted
except KeyboardInterrupt:  # Ctrl-C before anything has begun
    raise SystemExit(130) from None

if TYPE_CHECKING:
    from entasis_engine.edge import TcpEndpoint, UnixEndpoint
    from entasis_engine.tls import UpstreamTls

app = typer.Typer(
    name="entasis",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Entasis Engine: market data over gRPC, REST and WebSocket. `entasis up` starts everything, `entasis watch "
    "BTC-USDT` shows it, `entasis doctor` tells what is wrong.",
    epilog="Every setting can also be given as ENTASIS_NAME in the environment or .env; docs/settings.md lists them.",
)
serve = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Run one part alone.")
app.add_typer(serve, name="serve")
app.add_typer(accounts, name="accounts")
app.add_typer(keys, name="keys")
app.command()(watch)
app.command()(backfill)
app.command()(doctor)
app.command()(certs)
app.command()(train)

screen = Console(stderr=True, highlight=False)

SOCKET_PATH_BYTES_MAX = 107 if sys.platform == "linux" else 103

OF_OUTPUT = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EBADF, errno.EIO}
"""What befalls standard output, in errors that name no file."""

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the databases, models, sockets and logs.", show_default="ENTASIS_DATA_DIR, or entasis-data"
    ),
]
Feed = Annotated[
    str | None,
    typer.Option(
        help="Source of market data.", metavar="simulated|recorded|live", show_default="ENTASIS_FEED, or simulated"
    ),
]
Symbols = Annotated[str | None, typer.Option(help="Instruments to serve, such as BTC-USDT,ETH-USDT.")]
Frames = Annotated[list[Path] | None, typer.Option(help="Recorded frames, in order; repeat for several files.")]
Candles = Annotated[list[Path] | None, typer.Option(help="Candle files (btcusdt-5m-….csv.gz); repeat for several.")]
Speed = Annotated[
    float | None, typer.Option(help="Speed of a simulated or recorded market; 0 plays a recording as fast as possible.")
]
Engine = Annotated[
    str | None,
    typer.Option(
        help="The engine: unix:/path, or host:port with the certificates of ENTASIS_UPSTREAM_….",
        show_default="engine.sock in the data folder",
    ),
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

    Of a real exchange: `entasis up --feed live --symbols BTC-USDT`
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
    unix: Annotated[
        Path | None,
        typer.Option(help="The unix socket for Envoy and bridge.", show_default="engine.sock in the data folder"),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """The gRPC services alone, for clients that need neither REST nor WebSocket."""
    settings = _settings(**_of_feed(feed, symbols, frames, candles, speed), grpc_port=port, data_dir=data_dir)
    _run(settings, partial(_serve_engine, settings, unix or settings.engine_socket))


@serve.command()
def bridge(
    engine: Engine = None,
    port: Annotated[
        int | None, typer.Option(help="A loopback port to serve instead of the unix socket; 0 takes a free one.")
    ] = None,
    unix: Annotated[
        Path | None, typer.Option(help="The unix socket for Envoy.", show_default="bridge.sock in the data folder")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """The WebSocket bridge alone, as a client of an engine on this machine or another."""
    settings = _settings(websocket_port=port, data_dir=data_dir)
    if unix is None and settings.websocket_port is None:
        unix = settings.bridge_socket
    _run(settings, partial(_serve_bridge, settings, engine or f"unix:{settings.engine_socket}", unix))


@serve.command()
def edge(
    engine: Engine = None,
    bridge: Annotated[
        str | None,
        typer.Option(help="The WebSocket bridge: unix:/path.", show_default="bridge.sock in the data folder"),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port of REST, gRPC and WebSocket; 0 takes a free one.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Envoy alone, in front of a bridge on this machine and an engine on this machine or another."""
    settings = _settings(rest_port=port, data_dir=data_dir)
    engine = engine or f"unix:{settings.engine_socket}"
    _run(settings, partial(_serve_edge, settings, engine, bridge or f"unix:{settings.bridge_socket}"))


def main() -> None:
    """Entry point of the `entasis` command."""
    # gRPC's fork handlers are for forks that go on in Python; the only child here is Envoy.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    # Else any stranger could fill standard error: gRPC writes a line for each handshake that fails.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    # Matrices here are small: threads that wait for each other would take the calls' time, and give nothing for it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # No command needs a whole key, and what is wrong with a command line is printed back.
    sys.argv[1:] = [redacted(argument).removesuffix("_…") for argument in sys.argv[1:]]
    _have_standard_output()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # what cannot be written shows here, and not after the end
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(_tell_of_files(error))


def _have_standard_output() -> None:
    """Where standard output is closed, have one that takes nothing, instead of the next file that is opened."""
    if sys.stdout is None:
        nothing = os.open(os.devnull, os.O_RDONLY)
        if nothing != 1:
            os.dup2(nothing, 1)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - until the end


def _tell_of_files(error: OSError | UnicodeDecodeError) -> int:
    """Say which of the files that every command has is of no use, or raise the error again. Gives the exit code."""
    from entasis_engine.commands.doctor_facts import unreadable_env

    if isinstance(error, OSError) and error.filename is None and error.errno in OF_OUTPUT:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter complains at its end
        if error.errno != errno.EPIPE:  # whoever read has seen enough
            said = escape(error.strerror or str(error))
            screen.print(f"[red]Cannot write to standard output:[/] {said}.", soft_wrap=True)
        return 1
    if unread := unreadable_env():
        screen.print(f"[red].env[/] in this folder: {escape(unread)}. Correct it, or move it away.", soft_wrap=True)
        return 2
    raise error


# What the commands do.


async def _up(settings: Settings, signals: _Signals) -> None:
    from entasis_engine.edge import UnixEndpoint, open_edge
    from entasis_engine.websocket.bridge import open_bridge

    started = time.monotonic()
    async with AsyncExitStack() as stack:
        # A short path of our own: a unix socket's may have 107 bytes at most, and a data folder may lie deep.
        run_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="entasis-")))
        engine_socket, bridge_socket = run_dir / "engine.sock", run_dir / "bridge.sock"
        key = await asyncio.to_thread(_demo_key, settings)
        # Nothing else knows it: a start that fails must not take it along.
        untold = stack.enter_context(ExitStack())
        untold.callback(screen.print, f"The account demo was made. Its key is shown this once: {key}", soft_wrap=True)
        if key is None:
            untold.pop_all()
        engine = await stack.enter_async_context(_engine(settings, str(engine_socket)))
        metrics_port = _serve_metrics(stack, settings.loopback, settings.metrics_port, "ENTASIS_METRICS_PORT")
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
        header = f"'X-API-Key: {key}'" if key else '"X-API-Key: $KEY"'
        open_header = "" if settings.market_streams_public else f"-H {header} "
        directly = f"{engine.grpc_port} directly{' by TLS' if settings.tls_certificate is not None else ''}"
        web = f"http://{_bracketed(settings.loopback)}:{edge.rest_port}"
        _ready(
            f"{settings.feed} market of {', '.join(engine.symbols)}, after {time.monotonic() - started:.1f} s",
            ("Key", f"{key} (account demo; it is shown this once)" if key else _key_advice(settings)),
            ("Console", f"{web}/"),
            ("Swagger UI", f"{web}/docs"),
            ("REST", f"curl -H {header} {web}/api/v1/market/price/{symbol}"),
            ("", f"curl -H {header} '{web}/api/v1/market/history/{symbol}?interval=1m&page_size=5'"),
            ("", f"curl -N {open_header}'{web}/api/v1/market/prices:stream?symbols={symbol}'"),
            ("", f"curl -H {header} {web}/api/v1/analysis/prediction/{symbol}"),
            ("WebSocket", f"ws://{_bracketed(settings.loopback)}:{edge.rest_port}/ws/market"),
            ("", f'send {{"action": "subscribe", "channel": "market", "symbols": ["{symbol}"]}}'),
            *_https(settings, edge.https_port, f"/api/v1/market/price/{symbol}", f"-H {header} "),
            (
                "gRPC",
                f"{_bracketed(settings.loopback)}:{edge.rest_port} through Envoy, port {directly}",
            ),
            ("Metrics", f"http://{_bracketed(settings.loopback)}:{metrics_port}/metrics"),
        )
        untold.pop_all()
        await signals.wait(edge.wait)
        # Streams and sockets never end by themselves; told first, they end in words, and calls in flight go on.
        await edge.refuse_new_callers()
        await bridge.close()
        engine.end_streams()


async def _serve_engine(settings: Settings, unix: Path, signals: _Signals) -> None:
    _make_room(unix)
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(_engine(settings, str(unix), notice_seconds=settings.notice_seconds))
        metrics_port = _serve_metrics(stack, settings.loopback, settings.metrics_port, "ENTASIS_METRICS_PORT")
        _ready(
            f"engine on the {settings.feed} market of {', '.join(engine.symbols)}",
            ("gRPC", f"{_bracketed(settings.host)}:{engine.grpc_port}, and unix:{unix}"),
            ("Metrics", f"http://{_bracketed(settings.loopback)}:{metrics_port}/metrics"),
        )
        await signals.wait()


async def _serve_bridge(settings: Settings, engine: str, unix: Path | None, signals: _Signals) -> None:
    from entasis_engine.edge import TcpEndpoint
    from entasis_engine.websocket.bridge import open_bridge

    async with AsyncExitStack() as stack:
        endpoint = _engine_at(settings, engine)
        tls = endpoint.tls if isinstance(endpoint, TcpEndpoint) else None
        metrics_port = _serve_metrics(
            stack, settings.loopback, settings.bridge_metrics_port, "ENTASIS_BRIDGE_METRICS_PORT"
        )
        channel = await stack.enter_async_context(_channel(engine, tls))
        if unix is not None:
            _make_room(unix)
        umask = os.umask(0o177)  # for the socket, from the moment it is there: what it says of callers is believed
        try:
            opened = await stack.enter_async_context(
                open_bridge(
                    settings,
                    channel=channel,
                    unix_path=str(unix) if unix else None,
                    host=settings.loopback,
                    port=settings.websocket_port or 0,
                )
            )
        finally:
            os.umask(umask)
        _ready(
            f"WebSocket bridge to {engine}",
            ("WebSocket", f"unix:{unix}" if unix else f"ws://{_bracketed(settings.loopback)}:{opened.port}/ws/market"),
            ("Metrics", f"http://{_bracketed(settings.loopback)}:{metrics_port}/metrics"),
        )
        await signals.wait()


async def _serve_edge(settings: Settings, engine: str, bridge: str, signals: _Signals) -> None:
    from entasis_engine.edge import open_edge

    async with AsyncExitStack() as stack:
        run_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="entasis-")))
        edge = await stack.enter_async_context(
            open_edge(
                settings,
                engine=_engine_at(settings, engine),
                bridge=_bridge_at(bridge),
                run_dir=run_dir,
                log_path=settings.data_dir / "envoy.log",
            )
        )
        path = "/api/v1/market/instruments"
        _ready(
            "Envoy",
            ("REST", f"http://{_bracketed(settings.loopback)}:{edge.rest_port}{path}"),
            *_https(settings, edge.https_port, path),
        )
        await signals.wait(edge.wait)


# What they share.


@asynccontextmanager
async def _engine(settings: Settings, unix_path: str | None, *, notice_seconds: float = 0.0) -> AsyncIterator[Any]:
    from entasis_engine.bootstrap import open_engine

    async with open_engine(settings, unix_path=unix_path, notice_seconds=notice_seconds) as opened:
        yield opened


@asynccontextmanager
async def _channel(target: str, tls: UpstreamTls | None = None) -> AsyncIterator[Any]:
    import grpc

    from entasis_engine.tls import channel_credentials, channel_options
    from entasis_engine.websocket.upstream import CHANNEL_OPTIONS

    if tls is None:
        # A proxy of the environment (`http_proxy`) would read the callers' keys, even on the way to this machine.
        options: list[tuple[str, Any]] = [*CHANNEL_OPTIONS, ("grpc.enable_http_proxy", 0)]
        opening = grpc.aio.insecure_channel(target, options=options)
    else:
        options = [*CHANNEL_OPTIONS, *channel_options(tls)]
        opening = grpc.aio.secure_channel(target, channel_credentials(tls), options=options)
    async with opening as channel:
        yield channel


def _key_advice(settings: Settings) -> str:
    folder = (
        f" --data-dir {settings.data_dir}" if settings.data_dir != Settings.model_fields["data_dir"].default else ""
    )
    return f"made at the first start; for another: {sys.argv[0]} keys create demo{folder}"


def _demo_key(settings: Settings) -> str | None:
    """The key of the demo account where this is the first start, which makes it."""
    from entasis_engine.access.audit import AuditLog
    from entasis_engine.access.demo import ensure_demo
    from entasis_engine.access.store import AccessStore
    from entasis_engine.times import system_clock

    if not settings.demo_account:
        return None
    with (
        closing(AccessStore(settings.access_path)) as store,
        closing(AuditLog(settings.audit_path, system_clock)) as audit,
    ):
        return ensure_demo(store, audit, system_clock())


def _serve_metrics(stack: AsyncExitStack, host: str, port: int, setting: str) -> int:
    from entasis_engine.telemetry.metrics import serve_metrics

    try:
        return stack.enter_context(serve_metrics(host, port))
    except OSError as error:
        raise _UnusableError(
            f"Cannot serve metrics on port {port}: {error.strerror}. Choose another: {setting}."
        ) from None


def _engine_at(settings: Settings, target: str) -> TcpEndpoint | UnixEndpoint:
    """Where an engine is, for a part of ours: it must be able to prove that it is one."""
    from entasis_engine.edge import TcpEndpoint
    from entasis_engine.tls import upstream_tls

    if target.startswith("unix:"):
        return _unix(target, "--engine unix:/path")
    host, _, port = target.rpartition(":")
    if not host or not port.isdigit():
        raise _UnusableError(f"'{target}' is no address: it must be unix:/path or host:port.")
    tls = upstream_tls(settings)
    if tls is None:
        raise _UnusableError(
            f"In plaintext the engine at {target} could not believe what Envoy and bridge say of their callers. Name "
            "its socket (--engine unix:/path), or set ENTASIS_UPSTREAM_CA, ENTASIS_UPSTREAM_CERTIFICATE and "
            "ENTASIS_UPSTREAM_KEY; `entasis certs` makes such certificates."
        )
    return TcpEndpoint(host.strip("[]"), int(port), tls)


def _bridge_at(target: str) -> UnixEndpoint:
    if not target.startswith("unix:"):
        raise _UnusableError(f"'{target}' is no unix:/path: Envoy and its bridge run side by side.")
    return _unix(target, "--bridge unix:/path")


def _unix(target: str, option: str) -> UnixEndpoint:
    from entasis_engine.edge import UnixEndpoint

    path = Path(target.removeprefix("unix:")).absolute()
    _require_short(path, option)
    return UnixEndpoint(path)


def _make_room(path: Path) -> None:
    """Have a unix socket's folder, before it is listened on."""
    _require_short(path.absolute(), "--unix /path")
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(path)) == 0:  # listening there would take it away from whoever does
            raise _UnusableError(f"Something listens on {path} already. End it, or choose another with --unix /path.")


def _require_short(path: Path, option: str) -> None:
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        raise _UnusableError(
            f"{path} is too long for a unix socket: {SOCKET_PATH_BYTES_MAX} bytes at most. Choose a shorter one with "
            f"{option}."
        )


class _UnusableError(Exception):
    """What was asked for cannot be done; the text says why, and what to do."""


def _settings(**given: Any) -> Settings:
    """The settings, with what the command line gives in place of the environment's."""
    _warn_of_misspelt_settings()
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        for fault in error.errors():
            name = "_".join(str(part) for part in fault["loc"])
            shown = "" if "secret" in name else f" (given: {fault['input']!r})"
            told = escape(redacted(fault["msg"] + shown))
            screen.print(f"[red]ENTASIS_{name.upper()}[/]: {told}", soft_wrap=True)
        raise typer.Exit(2) from None


def _warn_of_misspelt_settings() -> None:
    """A setting that is not known would be ignored without a word, and an address list with it."""
    for name, nearest in misspelt((*os.environ, *dotenv_values(".env"))).items():
        screen.print(f"[yellow]{name}[/] is no setting and is ignored. Did you mean {nearest}?", soft_wrap=True)


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
    from entasis_engine.access.store import AccessError
    from entasis_engine.access.tokens import JwksError
    from entasis_engine.edge import EdgeError
    from entasis_engine.exchanges.feed import FeedError
    from entasis_engine.portfolio.operation import MarginRateError
    from entasis_engine.rpc.server import PortTakenError, ServerEndedError
    from entasis_engine.storage.database import DatabaseError
    from entasis_engine.telemetry import logs
    from entasis_engine.tls import TlsError, server_tls

    logs.configure(settings.log_level, settings.log_format)
    gc.disable()  # until `_ready`: a start makes much, and hardly any garbage
    try:
        server_tls(settings)  # before anything starts, and for parts too that have no port beyond loopback
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_signalled(main))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(130) from None
    except Exception as error:
        cause = _first_cause(error)
        if not isinstance(
            cause,
            AccessError
            | JwksError
            | EdgeError
            | FeedError
            | MarginRateError
            | PortTakenError
            | ServerEndedError
            | DatabaseError
            | TlsError
            | OSError
            | _UnusableError,
        ):
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
        screen.print(f"  [bold]{name:<11}[/]{escape(value)}", soft_wrap=True)
    screen.print("\nCtrl-C ends it.")
    gc.freeze()  # what is there by now stays: no collection need look through it
    gc.enable()


def _https(settings: Settings, port: int | None, path: str, options: str = "") -> list[tuple[str, str]]:
    """What to try by TLS, by a name that the certificate has."""
    from entasis_engine.tls import names_in, read_identity, server_tls

    tls = server_tls(settings)
    if tls is None:
        return []
    certificate = tls.identity.certificate
    names = (name for name in names_in(read_identity(tls.identity).leaf) if "*" not in name)
    server = f"{_bracketed(next(names, settings.host))}:{port}"
    ca = certificate.with_name("ca.pem")  # beside it where `entasis certs` made it
    trusting = f"--cacert {ca} " if ca.is_file() else ""
    return [("HTTPS", f"curl {options}{trusting}https://{server}{path}"), ("", f"wss://{server}/ws/market")]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":
    main()
