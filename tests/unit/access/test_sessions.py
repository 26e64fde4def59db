"""Names of sessions: what they say, how long, and what is believed of those that nobody has named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.unit.access.test_gate import HOME, NOW, World, case

from entasis.access.v1 import access_pb2 as pb
from entasis_engine.access.audit import AuditLog
from entasis_engine.access.gate import Caller, Decision
from entasis_engine.access.needs import Need
from entasis_engine.access.service import AccessService
from entasis_engine.access.sessions import Sessions
from entasis_engine.calls import Call, Principal

READ = Need(scope="portfolio:read")
TOKEN = Principal("acc_1", frozenset({"portfolio:read"}), ("k1", "k2"), "signer", datetime(2026, 1, 5, 13, tzinfo=UTC))


@pytest.fixture
def world() -> World:
    made = World()
    made.account("desk")
    return made


async def read_by(world: World, session: str, address: str = HOME) -> Decision:
    return await world.gate.decide(READ, Caller(address, session=session))


async def named(world: World, **sent: str) -> str:
    principal = (await world.call(**sent)).principal
    assert principal is not None
    return world.gate.sessions.named(principal)


def test_a_session_names_a_principal_and_when_a_token_ends() -> None:
    """What is named is what is proved; of a key alone the end is not in the name, since the directory knows it."""
    sessions = Sessions(b"secret")
    assert sessions.proved(sessions.named(TOKEN)) == TOKEN
    key = Principal("acc_1", frozenset({"admin"}), ("k1",), "", TOKEN.expires_at)
    found = sessions.proved(sessions.named(key))
    assert found == Principal("acc_1", frozenset({"admin"}), ("k1",))


def test_the_end_of_a_session_cannot_be_put_off() -> None:
    """A name whose end was changed, or taken out, proves nothing; nor does one of another secret."""
    sessions = Sessions(b"secret")
    *rest, ends, signature = sessions.named(TOKEN).split("|")
    for changed in (str(int(ends) + 1), ""):
        assert sessions.proved("|".join((*rest, changed, signature))) is None
    assert sessions.proved("|".join((*rest, signature))) is None
    assert Sessions(b"other").proved(sessions.named(TOKEN)) is None


async def test_a_session_ends_with_its_token(world: World) -> None:
    """Whoever is represented by a token's session may read until the token ends, and knows when; a key's goes on."""
    key = world.key("desk")
    by_token, by_key = await named(world, token=world.token(key)), await named(world, key=key)
    decision = await read_by(world, by_token)
    assert case(decision) is None
    assert decision.principal is not None
    assert decision.principal.expires_at == NOW + timedelta(minutes=15)
    world.now = NOW + timedelta(minutes=15)
    assert case(await read_by(world, by_token)) == "TOKEN_EXPIRED"
    assert case(await read_by(world, by_key)) is None


async def test_refusals_of_a_represented_caller_are_attributed(world: World) -> None:
    """Off its addresses, after its key's end, or beside other credentials: the audit log is told whose session it was.

    Of a made up one it is told nothing.
    """
    key = world.key("desk", addresses=("192.0.2.0/24",))
    session = await named(world, key=key)
    account, key_ids = "acc_desk", (key.split("_")[1],)
    for decision in (
        await read_by(world, session, "198.51.100.1"),
        await world.gate.decide(READ, Caller(HOME, api_keys=(key,), session=session)),
    ):
        assert decision.refusal is not None
        assert decision.suspect == Principal(account, frozenset(), key_ids)
    world.set_key(key, revoked_at=NOW)
    decision = await read_by(world, session)
    assert case(decision) == "KEY_ENDED"
    assert decision.suspect == Principal(account, frozenset(), key_ids)
    assert (await read_by(world, session[:-1] + "!")).suspect is None


class Noted:
    """An audit log that is read."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def refused(self, **line: Any) -> None:
        self.lines.append(line)


def service(world: World) -> tuple[AccessService, Noted]:
    audit = Noted()
    made = AccessService(world.gate, world.tokens, cast(AuditLog, audit), token_seconds=900, clock=lambda: world.now)
    return made, audit


async def test_an_unproved_session_is_over(world: World) -> None:
    """A good account and a good key do not make a session of what no engine has named."""
    good = await named(world, key=world.key("desk"))
    request = pb.ListEndedSessionsRequest()
    for session in (good, good[:-1] + "!", good.rpartition("|")[0] + "|"):
        request.held.add(session=session, address=HOME)
    answer = service(world)[0].list_ended_sessions(request, cast(Call, SimpleNamespace()))
    assert [(one.index, one.reason) for one in answer.ended] == [(1, "AUTH_001"), (2, "AUTH_001")]


async def test_a_note_of_an_unproved_session_names_no_account(world: World) -> None:
    """Nobody is blamed in the audit log for what a name says that no engine has given."""
    key = world.key("desk")
    good = await named(world, key=key)
    request = pb.NoteRefusalsRequest()
    for session in (good, good[:-1] + "!"):
        request.refusals.add(case="SCOPE_MISSING", session=session, address=HOME)
    serving, audit = service(world)
    serving.note_refusals(request, cast(Call, SimpleNamespace(request_id="r")))
    assert [(one["account"], one["key_id"]) for one in audit.lines] == [("acc_desk", key.split("_")[1]), ("", "")]
