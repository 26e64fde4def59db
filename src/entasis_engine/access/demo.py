"""An account to begin with, so that the first start can show a call that works."""

from __future__ import annotations

from datetime import datetime

from entasis_engine.access.audit import AuditLog
from entasis_engine.access.directory import SCOPES
from entasis_engine.access.store import AccessStore

NAME = "demo"
LABEL = "made at the first start"


def ensure_demo(store: AccessStore, audit: AuditLog, now: datetime) -> str | None:
    """Where there is no account at all, make `demo` with a key for everything but administration; gives its text."""
    made = store.create_first(NAME, [scope for scope in SCOPES if scope != "admin"], LABEL, now)
    if made is None:
        return None
    account, key, text = made
    audit.changed("account.created", account=account.name, by="entasis up", detail={"account_id": account.id})
    audit.changed(
        "key.created",
        account=account.name,
        key_id=key.id,
        by="entasis up",
        detail={"scopes": sorted(key.scopes), "label": key.label},
    )
    return text
