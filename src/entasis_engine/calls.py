"""What a room knows of the call it serves, whatever transport the call came over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from entasis_engine.errors import EntasisError, Language


@dataclass(slots=True)
class Call:
    """One call. Made at the edge; what it learns on its way in is added to it."""

    method: str
    """Full name, such as `/entasis.market.v1.MarketService/GetPrice`."""
    metadata: Mapping[str, str | bytes] = field(default_factory=dict)
    """The caller's headers, names in lower case; of a repeated one, the last."""
    peer: str = ""
    """The other end of the connection, as gRPC names it."""
    request_id: str = ""
    language: Language = "en"
    started: float = 0.0
    """Monotonic seconds."""
    error: EntasisError | None = None
    """Why the call failed, once it has."""
    cancelled: bool = False
    """True where the caller went away first."""

    def header(self, name: str) -> str:
        """A header's text; empty where it was not sent."""
        value = self.metadata.get(name, "")
        return value if isinstance(value, str) else ""


class Batches(Protocol):
    """What a stream sends: each `take` waits for something to send and gives it as one encoded response."""

    async def take(self) -> bytes: ...
