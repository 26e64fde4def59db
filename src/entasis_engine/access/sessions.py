"""How a part of the engine that holds connections open names the credentials behind them.

A name says whose they are and what they permit. To call in a caller's stead takes the engine's own signature on it: so
a part speaks for those alone who have proved themselves through it, and for as long as their credentials are good.
"""

from __future__ import annotations

import hashlib
import hmac

from entasis_engine.calls import Principal
from entasis_engine.times import from_milliseconds, to_milliseconds

_PARTS = 6
_SIGNATURE_CHARACTERS = 32
"""Of a SHA-256, in hexadecimal: 128 bits, which nobody guesses."""


class Sessions:
    """Names principals, and knows the names that it has given.

    Args:
        secret: of the engine; those that share it know each other's names.
    """

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, b"entasis session", hashlib.sha256)

    def named(self, principal: Principal) -> str:
        """The session of a principal. That of a token ends with it; when a key ends, the directory knows."""
        scopes = ",".join(sorted(principal.scopes))
        ends = str(to_milliseconds(principal.expires_at)) if principal.signer and principal.expires_at else ""
        name = "|".join((principal.account, ",".join(principal.key_ids), principal.signer, scopes, ends))
        return f"{name}|{self._signature(name)}"

    def proved(self, session: str) -> Principal | None:
        """The principal of a session, which may be over; None for what no engine of the same secret has named."""
        name, _, signature = session.rpartition("|")
        # Compared as bytes: text that is not ASCII would raise.
        if not hmac.compare_digest(signature.encode(), self._signature(name).encode()):
            return None
        return _principal_of(session)

    def _signature(self, name: str) -> str:
        return hmac.digest(self._key, name.encode(), hashlib.sha256).hex()[:_SIGNATURE_CHARACTERS]


def _principal_of(session: str) -> Principal | None:
    parts = session.split("|")
    if len(parts) != _PARTS or not parts[0]:
        return None
    account, key_ids, signer, scopes, ends, _ = parts
    expires_at = from_milliseconds(int(ends)) if ends else None
    return Principal(account, _listed(scopes), tuple(filter(None, key_ids.split(","))), signer, expires_at)


def _listed(scopes: str) -> frozenset[str]:
    return frozenset(filter(None, scopes.split(",")))
