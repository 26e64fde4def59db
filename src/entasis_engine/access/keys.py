"""API keys as text: `ek_<id>_<secret>_<checksum>`, each part of ASCII letters and digits.

The id names the key and is no secret. The checksum lets a typing error be told without a look-up, and lets scanners of
leaked secrets be sure. Only a digest is ever stored.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

PREFIX = "ek_"
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_CHARACTERS = 12
SECRET_CHARACTERS = 32
"""Of 62 signs each: 190 random bits."""
CHECKSUM_CHARACTERS = 6
"""The fewest that hold 32 bits."""

Choose = Callable[[str], str]
"""Gives one of the characters of a text, by chance."""

_SIGN = "[0-9A-Za-z]"  # never \w or str.isalnum(), which take letters and digits of every script
_ID = re.compile(f"{_SIGN}{{{ID_CHARACTERS}}}")
_TEXT = re.compile(
    f"({PREFIX}({_SIGN}{{{ID_CHARACTERS}}})_{_SIGN}{{{SECRET_CHARACTERS}}}_)({_SIGN}{{{CHECKSUM_CHARACTERS}}})"
)
_NAMED = re.compile(f"(?:{PREFIX})?({_SIGN}{{{ID_CHARACTERS}}})(?:_.*)?", re.DOTALL)


@dataclass(frozen=True)
class NewKey:
    """A key that was just made: the only moment at which its text is known."""

    id: str
    text: str = field(repr=False)
    digest: bytes = field(repr=False)


@dataclass(frozen=True)
class Parsed:
    """What a well-formed text says of its key; whether there is such a key is another matter."""

    id: str
    digest: bytes = field(repr=False)


def new_key(choose: Choose = secrets.choice) -> NewKey:
    """Make a key by chance."""
    key_id, secret = (random_text(ALPHABET, count, choose) for count in (ID_CHARACTERS, SECRET_CHARACTERS))
    body = f"{PREFIX}{key_id}_{secret}_"
    text = body + _checksum(body)
    return NewKey(key_id, text, _digest(text))


def parse(text: str) -> Parsed | None:
    """The id and digest of a key's text; None for anything that is not exactly of a key's form."""
    match = _TEXT.fullmatch(text)
    if match is None or _checksum(match[1]) != match[3]:
        return None
    return Parsed(match[2], _digest(text))


def same(one: bytes, other: bytes) -> bool:
    """Whether two digests are the same, in a time that does not tell where they differ."""
    return hmac.compare_digest(one, other)


def random_text(alphabet: str, count: int, choose: Choose = secrets.choice) -> str:
    """That many characters of an alphabet, by chance."""
    return "".join(choose(alphabet) for _ in range(count))


def shown(key_id: str) -> str:
    """A key's id as people see it: the beginning of its text."""
    return f"{PREFIX}{key_id}"


def id_in(text: str) -> str | None:
    """The id in what a person gives to name a key: the id, `ek_<id>`, or a whole key. None where there is none."""
    match = _NAMED.fullmatch(text.strip())
    return match[1] if match else None


def is_id(text: str) -> bool:
    """Whether a text has the form of a key's id."""
    return _ID.fullmatch(text) is not None


def _digest(text: str) -> bytes:
    # One round of a fast hash is enough for 190 random bits; slow ones are for passwords, which can be guessed.
    return hashlib.sha256(text.encode()).digest()


def _checksum(body: str) -> str:
    """CRC-32 in base 62, always of the same length: no error of one character passes, and few others do."""
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(CHECKSUM_CHARACTERS):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
