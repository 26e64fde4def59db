"""`entasis accounts` and `entasis keys`: who may call the API. A running engine heeds a change within seconds."""
# ruff: noqa: PLC0415 - commands import what they need, so that --help is quick

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from entasis_engine.commands.printing import moment, print_json, print_table, settings_in, tell
from entasis_engine.times import isoformat, system_clock

if TYPE_CHECKING:
    from entasis_engine.access.audit import AuditLog
    from entasis_engine.access.directory import Account, ApiKey, Directory
    from entasis_engine.access.store import AccessStore

accounts = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Accounts: who calls. Each owns its API keys (`entasis keys`) and its positions.",
)
keys = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="API keys: what callers send as `X-API-Key`. Each has scopes, and may have an expiry and a list of addresses.",
)


DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder of the accounts and keys.", show_default="ENTASIS_DATA_DIR, or entasis-data"),
]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table, for scripts.")]
KeyId = Annotated[str, typer.Argument(help="The key: `ek_…` as `entasis keys list` shows it.", metavar="KEY_ID")]

EXPIRED_FORM = "90d, 12h, 30m or a date, 2026-12-31, at whose beginning in UTC it ends"
_SPAN = re.compile(r"([0-9]{1,6})([dhm])")
_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}


# Accounts.


@accounts.command("create")
def create_account(
    name: Annotated[str, typer.Argument(help="1 to 64 characters: a-z, 0-9 and -.")],
    limit: Annotated[
        int | None,
        typer.Option(
            help="Requests per minute of all its keys together.", show_default="ENTASIS_RATE_LIMIT_PER_MINUTE"
        ),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Make an account. It can do nothing until it has a key: `entasis keys create NAME`.

    Example: `entasis accounts create trading-desk --limit 5000`
    """
    with _opened(data_dir, make=True, changing=True) as access:
        account = access.store.create_account(name, limit, access.now)
        access.note(
            "account.created", account=account.name, detail={"account_id": account.id, "rate_limit": account.rate_limit}
        )
        tell(f"Account [bold]{account.name}[/] ({account.id}) is made, in {escape(str(access.path))}.")
        tell(f"Give it a key: entasis keys create {account.name}")


@accounts.command("list")
def list_accounts(as_json: Json = False, data_dir: DataDir = None) -> None:
    """Show all accounts, closed ones too.

    Example: `entasis accounts list`
    """
    with _opened(data_dir) as access:
        directory = access.store.load()
        live = _live_keys(directory, access.now)
        if as_json:
            print_json([_account_as_json(account, live[account.id]) for account in directory.accounts])
            return
        rows = [
            (
                account.name,
                account.id,
                str(live[account.id]),
                _limit(account.rate_limit),
                moment(account.created_at),
                "open" if account.closed_at is None else f"closed {moment(account.closed_at)}",
            )
            for account in directory.accounts
        ]
        print_table(("account", "id", "live keys", "limit", "created", "state"), rows)
        if not rows:
            tell("There are no accounts yet. Make one: entasis accounts create NAME")


@accounts.command("close")
def close_account(
    name: Annotated[str, typer.Argument(help="The account, by its name.")], data_dir: DataDir = None
) -> None:
    """Close an account: all its keys and tokens end within five seconds. It cannot be opened again, nor its name be
    given anew.

    Example: `entasis accounts close trading-desk`
    """
    with _opened(data_dir, changing=True) as access:
        account = access.store.close_account(name, access.now)
        if account.closed_at == access.now:
            access.note("account.closed", account=account.name, detail={"account_id": account.id})
            tell(f"Account [bold]{account.name}[/] is closed; a running engine refuses its keys within seconds.")
        elif account.closed_at is not None:
            tell(f"Account [bold]{account.name}[/] is closed already, since {moment(account.closed_at)}.")


# Keys.


@keys.command("create")
def create_key(
    account: Annotated[str, typer.Argument(help="The account, by its name.")],
    scopes: Annotated[
        str,
        typer.Option(
            help="What it permits, separated by commas: market:read, portfolio:read, portfolio:write, analysis:read, "
            "admin."
        ),
    ] = "market:read",
    expires: Annotated[
        str | None, typer.Option(help=f"When it ends: {EXPIRED_FORM}.", show_default="never", metavar="WHEN")
    ] = None,
    address: Annotated[
        list[str] | None,
        typer.Option(
            help="A network that it may be used from, such as 203.0.113.0/24; repeat for several.",
            show_default="any",
            metavar="CIDR",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Requests per minute of this key.", show_default="that of the account")
    ] = None,
    label: Annotated[str, typer.Option(help="What it is for, to know it again in the list.")] = "",
    data_dir: DataDir = None,
) -> None:
    """Make an API key. Its text is all that goes to standard output, once: it is stored nowhere.

    Example: `KEY=$(entasis keys create trading-desk --scopes market:read,portfolio:write --expires 90d)`
    """
    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    with _opened(data_dir, changing=True) as access:
        expires_at = _expiry(expires, access.now) if expires is not None else None
        key, text = access.store.create_key(account, wanted, label, expires_at, address or [], limit, access.now)
        access.note("key.created", account=account, key_id=key.id, detail=_key_detail(key))
        _hand_over(key, text, f"Key [bold]{_shown(key.id)}[/] of {account} is made: {', '.join(_in_order(key))}.")


@keys.command("list")
def list_keys(
    account: Annotated[str | None, typer.Argument(help="Only keys of this account.", show_default="all")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Keys that have ended, too.")] = False,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Show API keys: what they permit, and whether they are live. Never their text, which is stored nowhere.

    Example: `entasis keys list trading-desk --all`
    """
    with _opened(data_dir) as access:
        directory = access.store.load()
        owner = _account(directory, account) if account is not None else None
        found = [
            key
            for key in directory.keys
            if (owner is None or key.account_id == owner.id) and (everything or directory.is_live(key.id, access.now))
        ]
        if as_json:
            print_json([_key_as_json(key, directory, access.now) for key in found])
            return
        rows = [
            (
                "\n".join(filter(None, (_shown(key.id), key.label))),
                _owner(directory, key.id),
                "\n".join(_in_order(key)),
                "\n".join(key.addresses) or "any",
                _limit(key.rate_limit),
                _state(key, directory, access.now).replace(", ", "\n"),
            )
            for key in found
        ]
        print_table(("key", "account", "scopes", "addresses", "limit", "state"), rows)
        if not rows:
            tell(
                "There are no such keys. Make one: entasis keys create ACCOUNT"
                + ("" if everything else "; see those that have ended: --all")
            )


@keys.command("rotate")
def rotate_key(
    key_id: KeyId,
    overlap: Annotated[
        str, typer.Option(help="How long the old key goes on: 24h, 7d, 30m; 0 ends it at once.", metavar="SPAN")
    ] = "24h",
    data_dir: DataDir = None,
) -> None:
    """Make a key that takes the place of another: same scopes, addresses, limit and label, and as long a life anew.

    Both work until the overlap is over, so that callers can change without a pause. The new key's text is all that
    goes to standard output, once.

    Example: `entasis keys rotate ek_4fGh1JkLmN0p --overlap 2h`
    """
    span = timedelta(0) if overlap.strip() == "0" else _span(overlap)
    if span is None:
        raise typer.BadParameter("it must be 24h, 7d, 30m or 0.", param_hint="--overlap")
    old_id = _key_id(key_id)
    with _opened(data_dir, changing=True) as access:
        owner = _owner(access.store.load(), old_id)
        key, text = access.store.rotate_key(old_id, span, access.now)
        change = {"replaced_by": key.id, "overlap_seconds": span.total_seconds()}
        access.note("key.rotated", account=owner, key_id=old_id, detail=change)
        access.note("key.created", account=owner, key_id=key.id, detail={"replaces": old_id, **_key_detail(key)})
        _hand_over(key, text, f"Key [bold]{_shown(key.id)}[/] of {owner} takes the place of {_shown(old_id)}.")
        old = access.store.load().key(old_id)
        if old is not None and old.expires_at is not None:
            tell(f"The old one {'ends' if old.expires_at > access.now else 'has ended'} {moment(old.expires_at)}.")


@keys.command("revoke")
def revoke_key(key_id: KeyId, data_dir: DataDir = None) -> None:
    """End an API key, within five seconds, and every token that was issued for it. It cannot be undone.

    Whoever finds a lost key may give its whole text: the id is taken out of it, and the rest is not repeated.

    Example: `entasis keys revoke ek_4fGh1JkLmN0p`
    """
    with _opened(data_dir, changing=True) as access:
        known = access.store.load()
        key = access.store.revoke_key(_key_id(key_id), access.now)
        if key.revoked_at == access.now:
            access.note("key.revoked", account=_owner(known, key.id), key_id=key.id, detail={})
            tell(f"Key [bold]{_shown(key.id)}[/] is revoked; a running engine refuses it within seconds.")
        elif key.revoked_at is not None:
            tell(f"Key [bold]{_shown(key.id)}[/] is revoked already, since {moment(key.revoked_at)}.")


# What they share.


@dataclass(frozen=True)
class _Access:
    """The store, open, and the audit log beside it."""

    path: Path
    store: AccessStore
    audit: AuditLog
    now: datetime
    user: str

    def note(self, action: str, *, account: str, key_id: str = "", detail: dict[str, Any]) -> None:
        self.audit.changed(action, account=account, key_id=key_id, by=self.user, detail=detail)


@contextmanager
def _opened(data_dir: Path | None, *, make: bool = False, changing: bool = False) -> Iterator[_Access]:
    """The store in the data folder; what cannot be done with it ends the command with one line that says why.

    Only where it is to be made it may be missing: a mistyped folder must not look like an empty store.
    """
    from entasis_engine.access.audit import AuditLog
    from entasis_engine.access.store import AccessError, AccessStore
    from entasis_engine.telemetry import logs

    settings = settings_in(data_dir)
    logs.configure(settings.log_level, settings.log_format)
    path = settings.access_path.absolute()
    with ExitStack() as stack:
        try:
            if not make and _missing(path):
                raise AccessError(
                    f"There are no accounts and keys in {path.parent}. Name the engine's folder with --data-dir or "
                    "ENTASIS_DATA_DIR, or make an account: entasis accounts create NAME."
                )
            store = AccessStore(path)
            stack.callback(store.close)
            audit = AuditLog(settings.audit_path, system_clock)
            stack.callback(audit.close)
            if changing:
                _require_noting(audit, settings.audit_path)
            yield _Access(path, store, audit, system_clock(), _user())
        except AccessError as error:
            tell(f"[red]{escape(str(error))}[/]")
            raise typer.Exit(1) from None


def _require_noting(audit: AuditLog, folder: Path) -> None:
    """A change that cannot be noted is not made."""
    from entasis_engine.access.store import AccessError

    try:
        audit.require_changes()
    except OSError as error:
        raise AccessError(
            f"Nothing was changed: the audit log in {folder} cannot be written ({error.strerror or error}). Give this "
            "user the right to write there, or make room on the disk."
        ) from None


def _missing(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # it may be there; opening it tells what is wrong
        return False
    return False


def _user() -> str:
    """The name of the user of the operating system, for the audit log. The environment is not asked: it can lie."""
    if sys.platform == "win32":
        import getpass

        return getpass.getuser()
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _hand_over(key: ApiKey, text: str, told: str) -> None:
    """Give a new key's text to standard output, and what is to be known of it to the person."""
    try:
        typer.echo(text)
    except OSError:
        tell(
            f"[red]The key could not be written to standard output, and is lost. End it: "
            f"entasis keys revoke {_shown(key.id)}[/]"
        )
        raise typer.Exit(1) from None
    until = "It does not expire." if key.expires_at is None else f"It expires {moment(key.expires_at)}."
    tell(f"{told} {until}")
    tell(
        "Its text is shown this once and stored nowhere: keep it. Callers send it as X-API-Key; a running engine knows "
        "it within a second or two."
    )


def _key_id(given: str) -> str:
    from entasis_engine.access.keys import id_in

    return id_in(given) or ""  # which the store refuses, in words that do not repeat what was given


def _account(directory: Directory, name: str) -> Account:
    from entasis_engine.access.store import AccessError, no_such_account

    account = directory.account_named(name)
    if account is None:
        raise AccessError(no_such_account(name, [one.name for one in directory.accounts]))
    return account


def _owner(directory: Directory, key_id: str) -> str:
    """The name of the account that a key belongs to; empty where there is no such key."""
    key = directory.key(key_id)
    account = directory.account(key.account_id) if key is not None else None
    return account.name if account is not None else ""


def _live_keys(directory: Directory, now: datetime) -> dict[str, int]:
    counts = {account.id: 0 for account in directory.accounts}
    for key in directory.keys:
        counts[key.account_id] += directory.is_live(key.id, now)
    return counts


# Times.


def _span(text: str) -> timedelta | None:
    match = _SPAN.fullmatch(text.strip())
    return int(match[1]) * _UNITS[match[2]] if match else None


def _expiry(text: str, now: datetime) -> datetime:
    span = _span(text)
    try:
        return now + span if span is not None else datetime.strptime(text.strip(), "%Y-%m-%d").replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"it must be {EXPIRED_FORM}.", param_hint="--expires") from None


def _remaining(span: timedelta) -> str:
    """How long that is, to the nearest unit that a person would use."""
    for unit, name in ((timedelta(days=1), "days"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min")):
        if (count := round(span / unit)) >= 2:
            return f"{count} {name}"
    return f"{span.total_seconds():.0f} s"


# How things are told.


def _shown(key_id: str) -> str:
    from entasis_engine.access.keys import shown

    return shown(key_id)


def _in_order(key: ApiKey) -> list[str]:
    from entasis_engine.access.directory import SCOPES

    return [scope for scope in SCOPES if scope in key.scopes]


def _limit(rate_limit: int | None) -> str:
    return f"{rate_limit}/min" if rate_limit is not None else "default"


def _state(key: ApiKey, directory: Directory, now: datetime) -> str:
    state = directory.state(key.id, now)
    if state == "live":
        if key.expires_at is None:
            return "live"
        left = _remaining(key.expires_at - now)
        return f"live, expires in {left}" if key.replaced_by is None else f"replaced, ends in {left}"
    if state == "replaced" and key.replaced_by is not None:
        return f"replaced by {_shown(key.replaced_by)}"
    at = {"revoked": key.revoked_at, "expired": key.expires_at}.get(state)
    return state if at is None else f"{state} {moment(at)}"


def _end_detail(key: ApiKey | None) -> dict[str, Any]:
    return {"expires_at": isoformat(key.expires_at)} if key is not None and key.expires_at is not None else {}


def _key_detail(key: ApiKey) -> dict[str, Any]:
    return {
        "scopes": _in_order(key),
        "label": key.label,
        "addresses": list(key.addresses),
        "rate_limit": key.rate_limit,
        **_end_detail(key),
    }


def _account_as_json(account: Account, live_keys: int) -> dict[str, Any]:
    return {
        "id": account.id,
        "name": account.name,
        "created_at": isoformat(account.created_at),
        "closed_at": _json_time(account.closed_at),
        "rate_limit": account.rate_limit,
        "live_keys": live_keys,
    }


def _key_as_json(key: ApiKey, directory: Directory, now: datetime) -> dict[str, Any]:
    return {
        "id": _shown(key.id),
        "account": _owner(directory, key.id),
        "label": key.label,
        "scopes": _in_order(key),
        "addresses": list(key.addresses),
        "rate_limit": key.rate_limit,
        "created_at": isoformat(key.created_at),
        "expires_at": _json_time(key.expires_at),
        "revoked_at": _json_time(key.revoked_at),
        "replaced_by": None if key.replaced_by is None else _shown(key.replaced_by),
        "state": directory.state(key.id, now),
    }


def _json_time(moment: datetime | None) -> str | None:
    return None if moment is None else isoformat(moment)
