"""Who calls: an API key or a token on every call, or an API key that is exchanged for short-lived tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from entasis_client.calls import Clock, Headers, too_late
from entasis_client.errors import EntasisError

RENEW_BEFORE_SECONDS_MAX = 60.0
RENEW_AGAIN_SECONDS = 5.0
"""After a renewal failed, as long as the token at hand is still good."""


class Fixed:
    """The same credentials on every call: none, an API key, a token, or both, which must then name one account."""

    def __init__(self, api_key: str = "", token: str = "") -> None:
        self._headers: list[tuple[str, str]] = []
        if api_key:
            self._headers.append(("x-api-key", api_key))
        if token:
            self._headers.append(("authorization", f"Bearer {token}"))

    async def headers(self, deadline: float) -> Headers:
        return self._headers

    def renew_after(self, refused: Headers) -> bool:
        return False


@dataclass(frozen=True)
class _Held:
    header: tuple[str, str]
    renew_at: float
    expires_at: float


class Exchanged:
    """Tokens for an API key, renewed a fifth of their life (at most a minute) before they expire.

    The call that finds the token old renews it. Others go on with the old one as long as it is good, and wait for that
    one renewal only where it is not.
    """

    def __init__(self, issue: Callable[[float], Awaitable[tuple[str, float]]], clock: Clock) -> None:
        """
        Args:
            issue: gives a token and how many seconds it lives, by a deadline of the clock; raises EntasisError.
        """
        self._issue = issue
        self._clock = clock
        self._held: _Held | None = None
        self._renewing = asyncio.Lock()

    async def headers(self, deadline: float) -> Headers:
        held = self._fresh() or (self._good() if self._renewing.locked() else None)
        if held is None:
            try:
                async with asyncio.timeout(max(deadline - self._clock(), 0.0)):
                    async with self._renewing:
                        held = self._fresh() or await self._renewed(deadline)
            except TimeoutError:
                raise too_late("a token") from None
        return [held.header]

    def renew_after(self, refused: Headers) -> bool:
        if self._held is not None and self._held.header in refused:
            self._held = None
        return True

    def _fresh(self) -> _Held | None:
        return self._held if self._held is not None and self._clock() < self._held.renew_at else None

    def _good(self) -> _Held | None:
        return self._held if self._held is not None and self._clock() < self._held.expires_at else None

    async def _renewed(self, deadline: float) -> _Held:
        old = self._held
        asked_at = self._clock()  # what it lives is counted from then, so that it never seems to live longer
        if old is not None and asked_at < old.expires_at:
            deadline = (asked_at + deadline) / 2  # where this fails, the old one is good, and needs time for the call
        try:
            token, seconds = await self._issue(deadline)
        except EntasisError:
            if old is None or self._clock() >= old.expires_at:
                raise
            self._held = _Held(old.header, min(self._clock() + RENEW_AGAIN_SECONDS, old.expires_at), old.expires_at)
            return self._held
        margin = min(RENEW_BEFORE_SECONDS_MAX, seconds / 5)
        self._held = _Held(("authorization", f"Bearer {token}"), asked_at + seconds - margin, asked_at + seconds)
        return self._held
