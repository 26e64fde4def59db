"""What `entasis doctor` looks at. Nothing here changes anything; whatever is asked has a deadline."""
# ruff: noqa: PLC0415 - each check imports what it looks at, so that what cannot be imported spoils that check alone

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from entasis_engine.commands import doctor_rules as rules
from entasis_engine.commands.doctor_rules import Finding, Holder, Kept, Package, PortFound, Ran, Schema, Trouble
from entasis_engine.settings import Settings, misspelt

DISTRIBUTION = "entasis-engine"
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 3.0
OUR_PROGRAMS = ("entasis", "envoy")
PROGRAM_SECONDS = 20.0
QUICK_CHECK_SECONDS = 30.0
COUNT_SECONDS = 3.0
DATABASE_SECONDS = 8.0
ANSWER_BYTES_MAX = 65_536
HEALTH_SERVICE = "entasis.market.v1.MarketService"

Facts = Callable[[Settings], Sequence[Finding]]

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Check:
    """Something to look at, and how long it may take."""

    name: str
    seconds_max: float
    look: Facts


def settings_or_defaults() -> tuple[Settings, list[tuple[str, str]]]:
    """The settings, with the default in the place of each that cannot be used; and those, with what is wrong."""
    from pydantic import ValidationError

    unread = unreadable_env()
    source: dict[str, Any] = {"_env_file": None} if unread else {}
    told = [(".env", unread)] if unread else []
    try:
        return Settings(**source), told
    except ValidationError as error:
        faults = {str(fault["loc"][0]): fault["msg"] for fault in error.errors(include_input=False)}
    fields = Settings.model_fields
    defaults = {name: fields[name].get_default(call_default_factory=True) for name in faults if name in fields}
    return Settings(**source, **defaults), told + [(f"ENTASIS_{name.upper()}", why) for name, why in faults.items()]


def unreadable_env() -> str:
    """Why the file `.env` of this folder cannot be read; empty where it can be, or is not there."""
    try:
        Path(".env").read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError):
        return ""
    except UnicodeDecodeError:
        return "it is no text in UTF-8, so nothing in it counts"
    except OSError as error:
        return f"it cannot be read, so nothing in it counts: {error.strerror}"
    return ""


def checks(faults: Sequence[tuple[str, str]]) -> list[Check]:
    """All, in the order in which they are told."""
    return [
        Check("python", 5, lambda _: [rules.of_python(sys.version_info[:3], sys.executable)]),
        Check("packages", 10, lambda _: rules.of_packages(list(_packages()))),
        Check("lightgbm", PROGRAM_SECONDS + 5, _lightgbm),
        Check("envoy", 2 * PROGRAM_SECONDS + 5, _envoy),
        Check("contract", 20, _contract),
        Check("settings", 5, lambda _: _settings(faults)),
        Check("data folder", 10, lambda settings: rules.of_folder(_folder(settings.data_dir.absolute()))),
        Check("secrets", 10, _secrets),
        Check("sqlite", 5, lambda _: [rules.of_sqlite(sqlite3.sqlite_version_info)]),
        Check("database", 2 * (QUICK_CHECK_SECONDS + COUNT_SECONDS + CONNECT_SECONDS), _database),
        Check("ledger", 2 * (QUICK_CHECK_SECONDS + CONNECT_SECONDS), _ledger),
        Check("accounts", 15, _accounts),
        Check("ports", 20, _ports),
        Check("tls", 10, _tls),
        Check("open files", 5, _open_files),
        Check("clock", 10, _clock),
        Check("extras", 5, _extras),
        Check("models", 15, _models),
        Check("pages", 10, _pages),
    ]


# What is installed.


def _packages() -> Iterator[Package]:
    from packaging.requirements import Requirement

    for text in metadata.requires(DISTRIBUTION) or ():
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        installed = _version(requirement.name)
        fits = installed is not None and requirement.specifier.contains(installed, prereleases=True)
        yield Package(requirement.name, str(requirement.specifier), installed, fits)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _run(command: Sequence[object], environment: Mapping[str, str] | None = None) -> Ran:
    """Run a program to its end. A crash of it is not ours."""
    try:
        done = subprocess.run(  # noqa: S603 - our own programs
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PROGRAM_SECONDS,
            env=environment,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Ran(None, str(error))
    return Ran(done.returncode, done.stdout.decode(errors="replace"))


def _lightgbm(_: Settings) -> list[Finding]:
    script = "import lightgbm, numpy; print(f'{lightgbm.__version__} with numpy {numpy.__version__}')"
    return [rules.of_lightgbm(_run([sys.executable, "-c", script]))]


def _envoy(settings: Settings) -> list[Finding]:
    from entasis_engine import assets
    from entasis_engine.edge import EdgeError, UnixEndpoint, envoy_binary, envoy_environment, https_of, render, secrets
    from entasis_engine.tls import TlsError

    try:
        binary = envoy_binary()
    except EdgeError as error:
        return [rules.of_envoy(str(error), "", None)]
    if not os.access(binary, os.X_OK):
        return [rules.of_envoy(f"{binary} cannot be executed", "", None)]
    said = _run([binary, "--version"], envoy_environment())
    if said.exit_code != 0:
        return [rules.of_envoy(f"{binary} does not run: {said.last_line}", "", None)]
    version = f"Envoy {next((part for part in said.output.split('/') if part[:1].isdigit() and '.' in part), '?')}"
    try:
        https = https_of(settings)
    except TlsError:
        return [rules.of_envoy("", version, None)]
    with tempfile.TemporaryDirectory(prefix="entasis-doctor-") as folder:
        run_dir = Path(folder)
        engine = UnixEndpoint(run_dir / "engine.sock")
        config = render(
            assets.path("envoy/envoy.yaml").read_text(encoding="utf-8"),
            host=settings.loopback,
            rest_port=settings.rest_port,
            admin_port=settings.envoy_admin_port,
            engine=engine,
            bridge=UnixEndpoint(run_dir / "bridge.sock"),
            descriptor=assets.path("gen/descriptor/entasis.binpb"),
            lua=assets.path("envoy/rest.lua"),
            https=https,
            secrets_dir=run_dir,
        )
        for name, text in {"envoy.json": config, **secrets(https, engine)}.items():
            (run_dir / name).write_text(text, encoding="utf-8")
        command = [binary, "--mode", "validate", "--log-level", "error", "-c", run_dir / "envoy.json"]
        return [rules.of_envoy("", version, _run(command, envoy_environment()))]


def _contract(_: Settings) -> list[Finding]:
    import importlib

    from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

    from entasis_engine import assets

    try:
        content = assets.path("gen/descriptor/entasis.binpb").read_bytes()
        names = [one.name for one in FileDescriptorSet.FromString(content).file if one.name.startswith("entasis/")]
        modules = {
            name: importlib.import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2") for name in names
        }
    except (OSError, ImportError) as error:
        return [rules.of_contract(str(error), (), 0)]
    except Exception as error:  # protobuf has several for what is no descriptor set
        return [rules.of_contract(f"gen/descriptor/entasis.binpb cannot be read: {error}", (), 0)]
    differing = []
    # Read once more: options are understood only after the modules that define them are imported.
    for one in FileDescriptorSet.FromString(content).file:
        if one.name in modules:
            generated = FileDescriptorProto.FromString(modules[one.name].DESCRIPTOR.serialized_pb)
            if _bare(one) != _bare(generated):
                differing.append(one.name)
    return [rules.of_contract("", differing, len(names))]


def _bare(file: Any) -> bytes:
    """A file's descriptor without comments and the JSON names that protoc puts into descriptor sets alone."""
    file.ClearField("source_code_info")
    waiting = list(file.message_type)
    fields = list(file.extension)
    while waiting:
        message = waiting.pop()
        waiting += message.nested_type
        fields += [*message.field, *message.extension]
    for one in fields:
        one.ClearField("json_name")
    content: bytes = file.SerializeToString(deterministic=True)
    return content


def _extras(settings: Settings) -> list[Finding]:
    live = settings.feed == "live"
    return [
        rules.of_extra("ccxt", _version("ccxt"), "markets of real exchanges (--feed live)", needed=live),
        rules.of_extra("betterproto2", _version("betterproto2"), "the messages in gen/betterproto", needed=False),
    ]


def _pages(_: Settings) -> list[Finding]:
    from entasis_engine.web import files

    return [rules.of_pages(files.missing())]


# How it is set.


def _settings(faults: Sequence[tuple[str, str]]) -> list[Finding]:
    from dotenv import dotenv_values

    given = [*os.environ, *(() if unreadable_env() else dotenv_values(".env"))]
    return rules.of_settings(faults, misspelt(given), Path(".env").is_file())


def _folder(path: Path) -> rules.Folder:
    exists = path.exists()
    if exists and not path.is_dir():
        return rules.Folder(str(path), True, is_folder=False)
    nearest = next(one for one in (path, *path.parents) if one.exists())
    if not nearest.is_dir():
        return rules.Folder(str(path), exists, writable=False)
    writable = os.access(nearest, os.W_OK | os.X_OK)
    if exists and writable:  # a file system may be mounted to read alone, whatever the permissions say
        try:
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError:
            writable = False
    return rules.Folder(
        str(path), exists, True, writable, shutil.disk_usage(nearest).free, _filesystem_of(nearest.resolve())
    )


def _filesystem_of(path: Path) -> str:
    """The kind of file system that a folder is on; empty where the system does not tell."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return ""
    found = max(
        ((point, kind) for _, point, kind, *_ in mounts if path.is_relative_to(point)),
        key=lambda one: len(one[0]),
        default=("", ""),
    )
    return found[1]


def _secrets(settings: Settings) -> list[Finding]:
    certs = settings.data_dir / "certs"
    given = (settings.tls_key, settings.upstream_key)
    keys = [path for path in given if path is not None] + sorted(certs.glob("*.key"))
    paths = dict.fromkeys([settings.access_path, settings.jwt_secret_path, *keys])
    modes = {}
    for path in paths:
        try:
            modes[str(path.absolute())] = path.stat().st_mode & 0o777
        except OSError:
            continue  # it is not there, which is for other checks
    return rules.of_secrets(modes)


# What is kept.


def _database(settings: Settings) -> list[Finding]:
    from entasis_engine.storage.candles import CandleRow
    from entasis_engine.storage.database import DatabaseError, database_file, is_owned

    try:
        file = database_file(settings.resolved_database_url)
    except DatabaseError as error:
        return [rules.wrong("database", str(error), "correct ENTASIS_DATABASE_URL, or leave it empty")]

    def look(connection: sqlite3.Connection) -> tuple[list[str], int | None]:
        _quick_check(connection)
        columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(candles)")}
        missing = sorted(set(CandleRow.model_fields) - columns) if columns else []
        return missing, _counted(connection) if columns else 0

    kept, found = _looked_at(file, look)
    if found is not None:
        kept = Kept(str(file), missing=found[0], rows=found[1], in_use=is_owned(file))
    return [rules.of_database(kept)]


def _ledger(settings: Settings) -> list[Finding]:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    from entasis_engine.storage.database import POSTGRESQL, SQLITE
    from entasis_engine.storage.migrations import HEAD

    versions = Path(sys.modules["entasis_engine.storage.migrations"].__file__ or "").parent / "versions"
    known = [path.stem for path in versions.glob("*.py") if path.stem != "__init__"]
    try:
        url = make_url(settings.resolved_ledger_url)
    except ArgumentError:
        url = None
    if url is not None and url.drivername == POSTGRESQL:
        kept, version = _ledger_on_server(settings.resolved_ledger_url, f"{url.database} at {url.host}")
    elif url is not None and url.drivername == SQLITE and url.database:
        kept, version = _ledger_in_file(Path(url.database).absolute())
    else:
        error = "is neither of SQLite nor of PostgreSQL"
        kept, version = Kept("ENTASIS_LEDGER_URL", error=error, trouble=Trouble.MISNAMED), None
    return [rules.of_ledger(kept, Schema(version, HEAD, known))]


def _ledger_in_file(file: Path) -> tuple[Kept, str | None]:
    def look(connection: sqlite3.Connection) -> list[str]:
        _quick_check(connection)
        there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        return [row[0] for row in connection.execute("SELECT version_num FROM alembic_version")] if there else []

    kept, versions = _looked_at(file, look)
    return kept, versions[0] if versions else None


def _ledger_on_server(url: str, where: str) -> tuple[Kept, str | None]:
    import asyncio

    from sqlalchemy import inspect, text
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.ext.asyncio import create_async_engine

    from entasis_engine.storage.database import UNREACHABLE

    async def ask() -> str | None:
        engine = create_async_engine(url, connect_args={"timeout": CONNECT_SECONDS * 2, "command_timeout": 3})
        try:
            async with asyncio.timeout(DATABASE_SECONDS), engine.connect() as connection:
                if not await connection.run_sync(lambda sync: inspect(sync).has_table("alembic_version")):
                    return None
                found = await connection.execute(text("SELECT version_num FROM alembic_version"))
                version: str | None = found.scalar()
                return version
        finally:
            await engine.dispose()

    try:
        return Kept(where), asyncio.run(ask())
    except (SQLAlchemyError, *UNREACHABLE) as error:
        cause = getattr(error, "orig", None) or error
        said = str(cause).splitlines()[0] if str(cause) else "no answer in time"
        return Kept(where, error=said, trouble=Trouble.UNREACHABLE), None


class _DamagedError(Exception):
    """SQLite finds a file's content wrong. The text says how."""


class _LateError(Exception):
    """A file was not looked through in time. The text says in which."""


def _looked_at(file: Path, look: Callable[[sqlite3.Connection], _Found]) -> tuple[Kept, _Found | None]:
    """Look into a SQLite file; what was found is None where it is not there, or could not be looked into."""
    try:
        if not file.exists():
            return Kept(str(file), exists=False), None
        if not file.is_file():
            return Kept(str(file), error="is no file", trouble=Trouble.MISNAMED), None
        still = _is_still(file)
        try:
            found = _into(file, look, still=still)
        except (sqlite3.Error, _DamagedError):
            if not still or _is_still(file):
                raise
            found = _into(file, look, still=False)  # an engine has just begun to write it
    except (sqlite3.Error, _DamagedError, _LateError, OSError) as error:
        said = getattr(error, "strerror", None) or str(error)
        return Kept(str(file), error=said, trouble=trouble_of(error, readable=os.access(file, os.R_OK))), None
    return Kept(str(file)), found


def trouble_of(error: Exception, *, readable: bool) -> Trouble:
    """Why a file could not be looked through; `readable` is whether this user may read it."""
    if isinstance(error, _DamagedError):
        return Trouble.DAMAGED
    if isinstance(error, _LateError):
        return Trouble.LATE
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:  # the rest of it are details
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return Trouble.DAMAGED
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Trouble.LOCKED
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_AUTH:
            return Trouble.FORBIDDEN
    return Trouble.OTHER if readable and not isinstance(error, PermissionError) else Trouble.FORBIDDEN


def _is_still(file: Path) -> bool:
    """Whether a SQLite file has a write-ahead log that nobody writes, so that all there is is in the file itself."""
    from entasis_engine.storage.database import is_owned

    with file.open("rb") as opened:
        head = opened.read(20)
    return head[18:] == b"\x02\x02" and not file.with_name(f"{file.name}-wal").exists() and not is_owned(file)


def _into(file: Path, look: Callable[[sqlite3.Connection], _Found], *, still: bool) -> _Found:
    """To read alone, which is safe beside the engine that writes.

    Where nobody writes, SQLite is told so: it would leave files of a write-ahead log behind, and of whoever looks.
    """
    uri = f"{file.as_uri()}?mode=ro{'&immutable=1' if still else ''}"
    with closing(sqlite3.connect(uri, uri=True, timeout=CONNECT_SECONDS, check_same_thread=False)) as connection:
        return look(connection)


def _quick_check(connection: sqlite3.Connection) -> None:
    """Raises `_DamagedError` or `_LateError`, or what SQLite raises."""
    try:
        with _within(connection, QUICK_CHECK_SECONDS):
            said = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            raise _LateError(f"not looked through in {QUICK_CHECK_SECONDS:.0f} s") from None
        raise
    if said != ["ok"]:
        raise _DamagedError("; ".join(said))


def _counted(connection: sqlite3.Connection) -> int | None:
    """How many candles there are; None where it takes too long to count them."""
    try:
        with _within(connection, COUNT_SECONDS):
            (count,) = connection.execute("SELECT count(*) FROM candles").fetchone()
            return int(count)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return None
        raise


@contextmanager
def _within(connection: sqlite3.Connection, seconds: float) -> Iterator[None]:
    """Interrupt what runs longer."""
    deadline = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
    try:
        yield
    finally:
        connection.set_progress_handler(None, 0)


def _accounts(settings: Settings) -> list[Finding]:
    from entasis_engine.access.store import SCHEMA_VERSION
    from entasis_engine.times import system_clock, to_milliseconds

    now = to_milliseconds(system_clock())

    def look(connection: sqlite3.Connection) -> tuple[int, int, bool]:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            return 0, 0, True
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'api_keys'").fetchone():
            return 0, 0, False
        (accounts,) = connection.execute("SELECT count(*) FROM accounts").fetchone()
        (live,) = connection.execute(_LIVE_KEYS, (now,)).fetchone()
        return accounts, live, False

    # Not by AccessStore, which makes what is missing.
    kept, found = _looked_at(settings.access_path.absolute(), look)
    accounts, live, newer = found or (0, 0, False)
    return [rules.of_accounts(kept, accounts=accounts, live_keys=live, demo=settings.demo_account, newer=newer)]


_LIVE_KEYS = """
SELECT count(*) FROM api_keys JOIN accounts ON accounts.id = api_keys.account_id
WHERE closed_at IS NULL AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)
"""


def _models(settings: Settings) -> list[Finding]:
    from entasis_engine.analysis.forecasting import Trained
    from entasis_engine.analysis.registry import ModelError, Registry
    from entasis_engine.commands.train import source_of
    from entasis_engine.times import system_clock

    source = source_of(settings)
    registry = Registry(settings.models_path.absolute(), Trained.from_files)
    try:
        current = registry.current(source)
        made = None
        if current is not None:
            made = registry.load(source).info.created_at  # read whole: what is damaged would not serve
        models = rules.Models(source, "", current, made)
    except ModelError as error:
        models = rules.Models(source, str(error))
    return [
        rules.of_models(
            models, system_clock(), timedelta(hours=settings.retrain_hours), automatic=settings.training == "auto"
        )
    ]


# Where it listens, and as whom.


def _ports(settings: Settings) -> list[Finding]:
    from entasis_engine.storage.database import DatabaseError, database_file, is_owned

    try:
        runs_here = is_owned(database_file(settings.resolved_database_url))
    except (DatabaseError, OSError):
        runs_here = False
    tls = settings.tls_certificate is not None
    inside = settings.loopback
    found = [
        _port("Envoy", "ENTASIS_REST_PORT", inside, settings.rest_port, _ask_rest),
        _port("the engine's gRPC", "ENTASIS_GRPC_PORT", settings.host, settings.grpc_port, _ask_grpc(settings)),
        _port("Envoy's administration", "ENTASIS_ENVOY_ADMIN_PORT", inside, settings.envoy_admin_port, _ask_admin),
        _port("metrics", "ENTASIS_METRICS_PORT", inside, settings.metrics_port, _ask_metrics),
    ]
    if tls:
        found.append(_port("Envoy's TLS", "ENTASIS_HTTPS_PORT", settings.host, settings.https_port, _ask_tls(settings)))
    elsewhere = [
        PortFound(one.what, one.setting, one.host, one.port, Holder.ELSEWHERE, one.told, one.fault)
        if one.holder is Holder.OURS and not runs_here
        else one
        for one in found
    ]
    return [rules.of_port(one) for one in elsewhere]


Ask = Callable[[str, int], tuple[bool, str, str]]
"""Asks whoever listens: whether it is ours, what it told, and what is wrong with it. May raise what sockets raise."""


def _port(what: str, setting: str, host: str, port: int, ask: Ask) -> PortFound:
    if port == 0:
        return PortFound(what, setting, host, 0, Holder.NOBODY)
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - to ask, not to listen
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            taken, why = error.errno in {98, 48}, error.strerror or str(error)  # EADDRINUSE, on Linux and macOS
        else:
            return PortFound(what, setting, host, port, Holder.NOBODY)
    if not taken:
        return PortFound(what, setting, host, port, Holder.UNUSABLE, why)
    program = _program_at(port)
    try:
        ours, told, fault = ask(address, port)
    except TimeoutError:  # what cannot answer is told by its name
        ours, told, fault = program.startswith(OUR_PROGRAMS), "", f"does not answer within {ANSWER_SECONDS:g} seconds"
    except (OSError, http.client.HTTPException, ValueError):
        ours, told, fault = False, "", ""
    if ours:
        return PortFound(what, setting, host, port, Holder.OURS, told, fault)
    return PortFound(what, setting, host, port, Holder.STRANGER, program or "it does not tell what it is")


def _get(host: str, port: int, path: str) -> tuple[int, Mapping[str, str], str]:
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read(ANSWER_BYTES_MAX).decode(errors="replace")
        return response.status, {name.lower(): value for name, value in response.getheaders()}, body
    finally:
        connection.close()


def _ask_rest(host: str, port: int) -> tuple[bool, str, str]:
    status, headers, _ = _get(host, port, "/api/v1/market/instruments")
    reason = headers.get("x-error-code", "")
    fault = "it reaches no engine (SERVER_002)" if reason == "SERVER_002" else ""
    return headers.get("server") == "entasis", f"REST answers {status} {reason}".rstrip(), fault


def _ask_admin(host: str, port: int) -> tuple[bool, str, str]:
    _, _, body = _get(host, port, "/server_info")
    told = json.loads(body)
    version = str(told["version"]).split("/")[1] if "/" in str(told.get("version", "")) else "?"
    return "version" in told, f"Envoy {version}, {told.get('state', '')}", ""


def _ask_metrics(host: str, port: int) -> tuple[bool, str, str]:
    _, _, body = _get(host, port, "/metrics")
    return "entasis_" in body, "metrics are there", ""


def _ask_grpc(settings: Settings) -> Ask:
    if settings.tls_certificate is not None:
        return _ask_tls(settings)

    def ask(host: str, port: int) -> tuple[bool, str, str]:
        import grpc
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                answer = stub.Check(health_pb2.HealthCheckRequest(service=HEALTH_SERVICE), timeout=ANSWER_SECONDS)
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise TimeoutError from None
                return False, "", ""
        status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        return True, f"health says {status}", "" if status == "SERVING" else f"health says {status}"

    return ask


def _ask_tls(settings: Settings) -> Ask:
    """Whoever shows the certificate that is set is ours; whether it is a good one is for another check."""

    def ask(host: str, port: int) -> tuple[bool, str, str]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection((host, port), timeout=ANSWER_SECONDS) as plain,
            context.wrap_socket(plain) as secured,
        ):
            shown = secured.getpeercert(binary_form=True) or b""
        ours = settings.tls_certificate is not None and _leaf(settings.tls_certificate) == shown
        return ours, "it shows our certificate", ""

    return ask


def _leaf(path: Path) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    return x509.load_pem_x509_certificates(path.read_bytes())[0].public_bytes(Encoding.DER)


def _program_at(port: int) -> str:
    """The program that listens on a port, where the system tells us: `python3 (process 4711)`."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        rows = (line.split() for line in lines)
        inodes |= {row[9] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port}
    if not inodes:
        return ""
    targets = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(one.readlink()) in targets for one in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
        except OSError:
            continue  # another user's, or it has just ended
    return ""


def _tls(settings: Settings) -> list[Finding]:
    import ipaddress

    from entasis_engine.tls import TlsError, names_in, read_identity, server_tls, upstream_tls

    found = []
    try:
        server, upstream = server_tls(settings), upstream_tls(settings)
        for what, tls in (("the server's", server), ("that to another engine,", upstream)):
            if tls is not None:
                leaf = read_identity(tls.identity).leaf
                path = str(tls.identity.certificate)
                found.append(rules.Certificate(what, path, names_in(leaf), leaf.not_valid_after_utc))
    except TlsError as error:
        return rules.of_tls(str(error), (), datetime.now(UTC))
    host = ipaddress.ip_address(settings.host)
    wanted = "" if host.is_loopback or host.is_unspecified or server is None else settings.host
    return rules.of_tls("", found, datetime.now(UTC), wanted)


# The machine.


def _open_files(settings: Settings) -> list[Finding]:
    try:
        import resource
    except ImportError:  # on Windows, which has no such limit
        return [rules.of_open_files(-1, -1, settings.websocket_clients_max)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [rules.of_open_files(soft, hard, settings.websocket_clients_max)]


def _clock(settings: Settings) -> list[Finding]:
    from entasis_engine.storage.database import DatabaseError, database_file
    from entasis_engine.times import from_milliseconds

    def look(connection: sqlite3.Connection) -> int | None:
        # A simulated market may run ahead of the clock.
        with _within(connection, COUNT_SECONDS):
            (latest,) = connection.execute(
                "SELECT max(open_time) FROM candles WHERE source NOT LIKE 'simulated-%'"
            ).fetchone()
        return None if latest is None else int(latest)

    newest = None
    with suppress(DatabaseError):  # which is for another check, as are errors of the file
        _, latest = _looked_at(database_file(settings.resolved_database_url), look)
        newest = from_milliseconds(latest) if latest is not None else None
    built = datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC)
    return [rules.of_clock(datetime.now(UTC), newest, built)]
