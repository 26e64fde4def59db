"""Ids of positions, transactions and trades: made by chance, and sorted by when they were made."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from entasis_engine.times import Clock, to_milliseconds

NewId = Callable[[str], str]
"""Gives a new id that begins with a prefix and `_`, such as `pos_01hsg6w3c5x7m2k9t4f8q0v1za`."""

POSITION = "pos"
TRANSACTION = "txn"
TRADE = "trd"

_SIGNS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u
_CHANCE_BITS = 80
_STEP_BITS = 32
_PAIRS = [first + second for first in _SIGNS for second in _SIGNS]
_SHIFTS = range(120, -1, -10)  # 26 characters: 48 bits of milliseconds and 80 of chance


class SortableIds:
    """Ids as ULID has them: milliseconds, then chance. Each is greater than all before it, even where the clock is not.

    Args:
        random_bits: gives an integer of that many random bits.
    """

    def __init__(self, clock: Clock, random_bits: Callable[[int], int] = secrets.randbits) -> None:
        self._clock = clock
        self._random_bits = random_bits
        self._last = 0

    def __call__(self, prefix: str) -> str:
        number = (to_milliseconds(self._clock()) << _CHANCE_BITS) | self._random_bits(_CHANCE_BITS)
        if number >> _CHANCE_BITS <= self._last >> _CHANCE_BITS:
            number = self._last + 1 + self._random_bits(_STEP_BITS)
        self._last = number
        return f"{prefix}_{_in_base_32(number)}"


def _in_base_32(number: int) -> str:
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in _SHIFTS])
