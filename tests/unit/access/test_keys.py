"""API keys as text: one form, told from everything else."""

from __future__ import annotations

import hashlib
import random
import string
import zlib

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from entasis_engine.access import keys
from entasis_engine.access.keys import ALPHABET, Parsed, new_key, parse
from entasis_engine.telemetry.redaction import redacted

LENGTH = len("ek_") + 12 + len("_") + 32 + len("_") + 6


def _key(seed: int) -> keys.NewKey:
    return new_key(random.Random(seed).choice)


KEYS = st.integers(0, 10_000).map(_key)
PLACES = st.integers(0, LENGTH - 1)


@given(KEYS)
def test_a_key_is_parsed_to_itself(key: keys.NewKey) -> None:
    """A new key has the documented form, and its text says its id and digest."""
    assert len(key.text) == LENGTH
    assert key.text.isascii()
    prefix, key_id, secret, checksum = key.text.split("_")
    assert (prefix, key_id) == ("ek", key.id)
    assert (len(key_id), len(secret), len(checksum)) == (12, 32, 6)
    assert key.digest == hashlib.sha256(key.text.encode()).digest()
    assert parse(key.text) == Parsed(key.id, key.digest)


def test_keys_differ() -> None:
    """Chance comes from the system by default, and no two keys are alike in id or secret."""
    made = [new_key() for _ in range(1000)]
    assert len({key.id for key in made}) == len({key.text.split("_")[2] for key in made}) == 1000
    assert set("".join(key.text for key in made)) == set(ALPHABET + "_")


def test_the_secret_is_long_enough() -> None:
    """The secret part has at least 128 random bits."""
    assert len(ALPHABET) ** keys.SECRET_CHARACTERS > 2**128


@given(KEYS, PLACES, st.characters(codec="utf-8"))
def test_a_changed_character_is_noticed(key: keys.NewKey, at: int, sign: str) -> None:
    """With any one character changed to any other, the text is no key."""
    assume(sign != key.text[at])
    assert parse(key.text[:at] + sign + key.text[at + 1 :]) is None


@pytest.mark.parametrize("at", range(LENGTH))
def test_every_changed_letter_is_noticed(at: int) -> None:
    """The same for every place and every letter and digit, without chance."""
    text = _key(1).text
    for sign in ALPHABET:
        assert sign == text[at] or parse(text[:at] + sign + text[at + 1 :]) is None


@given(KEYS, st.integers(0, LENGTH), st.characters(codec="utf-8"))
@example(_key(2), LENGTH, "\n")
@example(_key(2), 0, " ")
def test_an_inserted_character_is_noticed(key: keys.NewKey, at: int, sign: str) -> None:
    """With any character inserted anywhere, a line's end too, the text is no key."""
    assert parse(key.text[:at] + sign + key.text[at:]) is None


@given(KEYS, PLACES)
def test_a_deleted_character_is_noticed(key: keys.NewKey, at: int) -> None:
    """With any one character left out the text is no key."""
    assert parse(key.text[:at] + key.text[at + 1 :]) is None


@given(KEYS, st.integers(0, LENGTH - 2))
def test_swapped_neighbours_are_noticed(key: keys.NewKey, at: int) -> None:
    """With two neighbours swapped the text is no key."""
    swapped = key.text[:at] + key.text[at + 1] + key.text[at] + key.text[at + 2 :]
    assume(swapped != key.text)
    assert parse(swapped) is None


@given(st.text())
@example("")
@example("ek_")
@example("ek_" + "0" * 12 + "_" + "0" * 32 + "_" + "0" * 6)
@example("x" * 1_000_000)
def test_other_texts_are_no_keys(text: str) -> None:
    """Whatever is not of a key's form is None, and never an error."""
    assert parse(text) is None


def _checksummed(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = ALPHABET[digit] + digits
    return body + digits


def test_the_checksum_is_crc_32_in_base_62() -> None:
    """Anyone can tell a mistyped key from a forged one: the checksum is CRC-32 over all before it, in base 62."""
    assert parse(_checksummed("ek_" + "a" * 12 + "_" + "b" * 32 + "_")) is not None
    assert string.digits + string.ascii_uppercase + string.ascii_lowercase == ALPHABET


@pytest.mark.parametrize("sign", ["а", "０", "١", "ß", "\u212a", "é", "_", "-", " ", "\0", "\u200b", "\ud800"])
def test_only_ascii_letters_and_digits_count(sign: str) -> None:
    """Letters and digits of other scripts, however alike, do not count, even where the checksum is right."""
    for body in (f"ek_{sign}{'a' * 11}_{'b' * 32}_", f"ek_{'a' * 12}_{sign}{'b' * 31}_"):
        if sign != "\ud800":
            assert parse(_checksummed(body)) is None
        assert parse(body + "000000") is None


def test_a_key_does_not_show_itself() -> None:
    """What is printed of a new key, by a log or in a traceback, holds neither its text nor its digest."""
    key = _key(3)
    parsed = parse(key.text)
    for shown in (repr(key), repr(parsed)):
        assert key.text.split("_")[2] not in shown
        assert repr(key.digest) not in shown
        assert key.id in shown


def test_people_may_name_a_key_in_several_ways() -> None:
    """The id is found in an id, in its shown form, and in a whole key, even a mistyped one; nowhere else."""
    key = _key(4)
    shown = keys.shown(key.id)
    assert shown == f"ek_{key.id}"
    for given_ in (key.id, shown, key.text, f" {shown}\n", key.text[:-1] + "é"):
        assert keys.id_in(given_) == key.id
    for given_ in ("", "ek_", key.id[:-1], key.id + "x", key.text.split("_")[2], "acc_" + key.id, "é" * 12):
        assert keys.id_in(given_) is None


def test_secrets_are_taken_out_of_texts() -> None:
    """Of keys in a text, cut ones too, the prefix and id remain; of tokens nothing but where they were."""
    key = _key(5)
    secret = key.text.split("_")[2]
    assert redacted(f"/v1?key={key.text}&x=1") == f"/v1?key=ek_{key.id}_…&x=1"
    assert redacted(key.text[:30]) == f"ek_{key.id}_…"
    assert secret not in redacted(f"{key.text}{key.text} {key.text}")
    assert redacted("Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl, ok") == "Bearer eyJ…, ok"
    for harmless in (f"ek_{key.id}", "seek_me_not", "/entasis.market.v1.MarketService/GetPrice", "eyJ", ""):
        assert redacted(harmless) == harmless
