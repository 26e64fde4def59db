"""How a part of the engine that holds connections open names the credentials behind them; nothing in it is secret."""

from __future__ import annotations

from entasis_engine.calls import Principal


def named(principal: Principal) -> str:
    """The session of a principal, for `principal_of`. Expiry is not in it: whoever holds the session keeps that."""
    return "|".join((principal.account, ",".join(principal.key_ids), principal.signer))


def principal_of(session: str) -> Principal | None:
    """The principal that a session names; None for what is no session."""
    parts = session.split("|")
    if len(parts) != 3 or not parts[0]:
        return None
    account, key_ids, signer = parts
    return Principal(account, frozenset(), tuple(filter(None, key_ids.split(","))), signer)
