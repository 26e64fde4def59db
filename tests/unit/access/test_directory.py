"""Which keys count, and what whoever sends another is told."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from entasis_engine.access.directory import SCOPES, Account, ApiKey, Directory
from entasis_engine.access.keys import new_key
from entasis_engine.errors import EntasisError

NOON = datetime(2026, 3, 21, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
JUST_BEFORE = LATER - timedelta(milliseconds=1)

NEW = new_key(random.Random(1).choice)
OTHER = new_key(random.Random(2).choice)
OPEN = Account("acc_open00000000", "open", NOON)
CLOSED = replace(OPEN, closed_at=LATER)
KEY = ApiKey(NEW.id, OPEN.id, NEW.digest, frozenset({"market:read"}), "", NOON)

ENDED = {
    "revoked": (OPEN, replace(KEY, revoked_at=NOON)),
    "expired": (OPEN, replace(KEY, expires_at=LATER)),
    "replaced": (OPEN, replace(KEY, expires_at=LATER, replaced_by=OTHER.id)),
    "account closed": (CLOSED, KEY),
}


def _case(directory: Directory, text: str, now: datetime = LATER) -> str:
    with pytest.raises(EntasisError) as raised:
        directory.authenticate(text, now)
    assert raised.value.entry.http == 401
    assert raised.value.metadata == {}
    return raised.value.case


def test_the_scopes_are_those_of_the_contract() -> None:
    """The scopes are the values that IssueToken admits."""
    from buf.validate import validate_pb2
    from entasis.access.v1 import access_pb2

    field = access_pb2.IssueTokenRequest.DESCRIPTOR.fields_by_name["scopes"]
    rules = field.GetOptions().Extensions[validate_pb2.field].repeated.items.string
    assert tuple(getattr(rules, "in")) == SCOPES


def test_things_are_found_by_id_and_name() -> None:
    """Accounts are found by id and by name, keys by id, and what is not there is None."""
    directory = Directory([OPEN], [KEY])
    assert directory.accounts == (OPEN,)
    assert directory.keys == (KEY,)
    assert directory.account(OPEN.id) is directory.account_named("open") is OPEN
    assert directory.key(KEY.id) is KEY
    assert directory.account("open") is directory.account_named(OPEN.id) is directory.key("") is None


def test_an_empty_directory_knows_nobody() -> None:
    """Where there are no accounts, no key counts and nothing is open."""
    directory = Directory()
    assert _case(directory, NEW.text) == "KEY_INVALID"
    assert not directory.is_live(NEW.id, NOON)
    assert not directory.account_is_open(OPEN.id)


def test_a_live_key_is_its_own_proof() -> None:
    """The whole text of a live key gives the key."""
    assert Directory([OPEN], [KEY]).authenticate(NEW.text, LATER) is KEY


def test_other_texts_are_invalid() -> None:
    """Malformed texts, unknown keys and wrong secrets of known ids are all the same: not valid."""
    directory = Directory([OPEN], [KEY])
    assert _case(directory, "nonsense") == "KEY_INVALID"
    assert _case(directory, NEW.text[:-1]) == "KEY_INVALID"
    assert _case(directory, OTHER.text) == "KEY_INVALID"
    forged = Directory([OPEN], [replace(KEY, digest=OTHER.digest)])
    assert _case(forged, NEW.text) == "KEY_INVALID"


@pytest.mark.parametrize("state", ENDED)
def test_only_the_owner_learns_that_a_key_has_ended(state: str) -> None:
    """The right secret of an ended key is told so; a wrong one is not valid, as if the key were not there."""
    account, key = ENDED[state]
    directory = Directory([account], [key])
    assert _case(directory, NEW.text) == "KEY_ENDED"
    assert _case(Directory([account], [replace(key, digest=OTHER.digest)]), NEW.text) == "KEY_INVALID"
    assert not directory.is_live(key.id, LATER)
    assert directory.state(key.id, LATER) == state


def test_a_key_is_dead_at_the_instant_of_its_expiry() -> None:
    """A millisecond before it expires a key is live, and at the very instant it is not."""
    directory = Directory([OPEN], [replace(KEY, expires_at=LATER)])
    assert directory.is_live(KEY.id, JUST_BEFORE)
    assert directory.authenticate(NEW.text, JUST_BEFORE)
    assert not directory.is_live(KEY.id, LATER)
    assert _case(directory, NEW.text, LATER) == "KEY_ENDED"


def test_a_replaced_key_lives_until_its_overlap_is_over() -> None:
    """A rotated key counts until it expires."""
    directory = Directory([OPEN], [replace(KEY, expires_at=LATER, replaced_by=OTHER.id)])
    assert directory.state(KEY.id, JUST_BEFORE) == "live"
    assert directory.state(KEY.id, LATER) == "replaced"


def test_a_key_without_its_account_does_not_count() -> None:
    """Where the account is not there the key is not live."""
    directory = Directory([], [KEY])
    assert not directory.is_live(KEY.id, LATER)
    assert _case(directory, NEW.text) == "KEY_ENDED"


def test_a_closed_account_is_not_open() -> None:
    """An account is open until it is closed."""
    assert Directory([OPEN]).account_is_open(OPEN.id)
    assert not Directory([CLOSED]).account_is_open(OPEN.id)


def test_a_key_does_not_show_its_digest() -> None:
    """What is printed of a key does not hold the digest."""
    assert repr(NEW.digest) not in repr(KEY)
