"""AccessService in this process, on a real store: tokens, sessions, and changes that take hold while it runs."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from jwt.algorithms import OKPAlgorithm
from tests.support.access import ACCOUNT, make_key
from tests.support.market import NOON, SECOND, SetClock, SetMonotonic

from entasis.access.v1 import access_pb2 as pb
from entasis.market.v1 import market_pb2
from entasis_engine.access.directory import SCOPES
from entasis_engine.access.operation import Access, open_access
from entasis_engine.access.store import AccessStore
from entasis_engine.calls import Call
from entasis_engine.rpc.contract import snake_case
from entasis_engine.rpc.guard import AccessGuard
from entasis_engine.rpc.pipeline import Pipeline
from entasis_engine.rpc.server import open_server
from entasis_engine.rpc.stages import default_stages
from entasis_engine.settings import Settings

ADDRESS = "192.0.2.1"
MARKET = market_pb2.DESCRIPTOR.services_by_name["MarketService"]
HEED_SECONDS_MAX = 20.0
"""Until what other processes change takes hold, at the latest."""
SESSION_CHARACTERS_MAX = 256
HELD_MAX = 250

Metadata = list[tuple[str, str]]
T = TypeVar("T")


class Silent:
    """A market whose calls answer with nothing, and whose streams stay open and say nothing."""

    DESCRIPTOR = MARKET

    def __init__(self) -> None:
        for method in MARKET.methods:
            setattr(self, snake_case(method.name), self._stream if method.server_streaming else self._answer)

    def _answer(self, _request: Message, _call: Call) -> bytes:
        return b""

    @contextmanager
    def _stream(self, _request: Message, _call: Call) -> Iterator[Any]:
        class Nothing:
            async def take(self) -> bytes:
                await asyncio.Event().wait()
                raise AssertionError

        yield Nothing()


@dataclass(frozen=True)
class Refusal:
    """How a call was refused."""

    code: grpc.StatusCode
    reason: str
    metadata: dict[str, str]
    """What the error says beside its reason."""
    fields: tuple[str, ...]
    message: str


@dataclass
class Served:
    """A running access service, and clients of it."""

    settings: Settings
    access: Access
    store: AccessStore
    """Another one than the engine has: what it changes is changed by another process."""
    clock: SetClock
    monotonic: SetMonotonic
    channel: grpc.aio.Channel

    async def call(
        self, method: str, request: Message, answer: Any, sent: Metadata, address: str | None = ADDRESS
    ) -> tuple[Any, dict[str, str]]:
        """The answer and its headers."""
        metadata = [*sent, *([("x-client-ip", address)] if address is not None else [])]
        service = "access.v1.AccessService" if not method.startswith("Get") else "market.v1.MarketService"
        rpc = self.channel.unary_unary(f"/entasis.{service}/{method}", None, answer.FromString)
        call = rpc(request.SerializeToString(), metadata=metadata, timeout=20)
        decoded = await call
        return decoded, dict([*(await call.initial_metadata() or ()), *(await call.trailing_metadata() or ())])

    async def issue(self, sent: Metadata, *scopes: str, **fields: Any) -> Any:
        request = pb.IssueTokenRequest(scopes=scopes, **fields)
        return (await self.call("IssueToken", request, pb.IssueTokenResponse, sent))[0]

    async def session(self, sent: Metadata, address: str | None = ADDRESS) -> Any:
        return (await self.call("OpenSession", pb.OpenSessionRequest(), pb.OpenSessionResponse, sent, address))[0]

    async def ended(self, *held: tuple[str, str], address: str | None = None, sent: Metadata | None = None) -> Any:
        """Which of some sessions, with their addresses, are over: place and reason of each."""
        request = pb.ListEndedSessionsRequest()
        for session, whence in held:
            request.held.add(session=session, address=whence)
        answer, _ = await self.call("ListEndedSessions", request, pb.ListEndedSessionsResponse, sent or [], address)
        return [(one.index, one.reason) for one in answer.ended]

    async def accepts(self, sent: Metadata) -> bool:
        """Whether credentials are good for a price."""
        request = market_pb2.GetPriceRequest(symbol="BTC-USDT")
        try:
            await self.call("GetPrice", request, market_pb2.GetPriceResponse, sent)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
                raise
            return False
        return True

    async def stream(self, sent: Metadata) -> grpc.aio.UnaryStreamCall[bytes, bytes]:
        """A stream of prices that stands."""
        request = market_pb2.StreamPricesRequest(symbols=["BTC-USDT"]).SerializeToString()
        call = self.channel.unary_stream(f"/{MARKET.full_name}/StreamPrices")(
            request, metadata=[*sent, ("x-client-ip", ADDRESS)]
        )
        assert "x-ratelimit-limit" in dict(await call.initial_metadata() or ())
        return call

    def revoke(self, key: str) -> None:
        self.store.revoke_key(key.split("_")[1], self.clock())

    def key(self, **options: Any) -> str:
        """The text of a new key, which the engine does not know before it has looked."""
        return make_key(self.settings.data_dir, now=self.clock(), **options)


@asynccontextmanager
async def serving(data_dir: Path, **options: Any) -> AsyncIterator[Served]:
    settings = Settings(data_dir=data_dir, _env_file=None, **options)
    clock, monotonic = SetClock(), SetMonotonic()
    with tempfile.TemporaryDirectory() as short, closing(AccessStore(settings.access_path)) as store:
        async with open_access(settings, clock=clock, monotonic=monotonic) as access:
            stages = default_stages(monotonic, access.audit, log_everything=False)
            guard = AccessGuard(access.gate)
            pipeline = Pipeline([Silent(), access.service], stages, guard, deadline_seconds=10)
            access.watchers.append(pipeline.review_streams)
            served = open_server(pipeline, host="127.0.0.1", port=None, unix_path=f"{short}/s", drain_seconds=1)
            async with served, grpc.aio.insecure_channel(f"unix:{short}/s") as channel:
                yield Served(settings, access, store, clock, monotonic, channel)
                pipeline.end_streams()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with the account of the tests."""
    make_key(tmp_path, now=NOON)
    return tmp_path


@pytest.fixture
def key(folder: Path) -> str:
    """A key of all scopes that the engine knows from the start."""
    return make_key(folder, now=NOON)


@pytest.fixture
async def served(folder: Path, key: str) -> AsyncIterator[Served]:
    async with serving(folder) as one:
        yield one


def by_key(key: str) -> Metadata:
    return [("x-api-key", key)]


def by_token(token: str) -> Metadata:
    return [("authorization", f"Bearer {token}")]


async def refused(call: Any) -> Refusal:
    """How a call is refused; fails where it is not."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return refusal_in(raised.value)


def refusal_in(error: grpc.aio.AioRpcError) -> Refusal:
    status = rpc_status.from_call(error)
    assert status is not None, error
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info) or detail.Unpack(bad)
    fields = tuple(violation.field for violation in bad.field_violations)
    return Refusal(error.code(), info.reason, dict(info.metadata), fields, status.message)


async def soon(ask: Callable[[], Any], wanted: T) -> None:
    """Ask again and again until the answer is the one that is wanted; fails after HEED_SECONDS_MAX."""
    deadline = asyncio.get_running_loop().time() + HEED_SECONDS_MAX
    while (found := await ask()) != wanted:
        assert asyncio.get_running_loop().time() < deadline, f"still {found!r}"
        await asyncio.sleep(0.05)


async def heeded(served: Served) -> None:
    """Wait until the engine has looked at the store: a key that was made just now is accepted."""
    fence = served.key()
    await soon(lambda: served.accepts(by_key(fence)), True)


# --- IssueToken ---------------------------------------------------------------------------------------------------


async def test_a_token_has_all_of_its_keys_scopes_by_default(served: Served, key: str) -> None:
    """Without wishes a token has the key's scopes, sorted, its account, and the usual life."""
    answer = await served.issue(by_key(key))
    assert list(answer.scopes) == sorted(SCOPES)
    assert (answer.token_type, answer.expires_in) == ("Bearer", 900)
    assert answer.expires_at.ToDatetime(NOON.tzinfo) == NOON + 900 * SECOND
    account = served.store.load().account_named(ACCOUNT)
    assert account is not None
    assert answer.account == account.id
    opened = await served.session(by_token(answer.access_token))
    assert (opened.account, list(opened.scopes)) == (account.id, sorted(SCOPES))


async def test_a_token_has_no_more_than_was_asked_for(served: Served, key: str) -> None:
    """A token with fewer scopes is refused what the key itself may do."""
    answer = await served.issue(by_key(key), "portfolio:read", "analysis:read", "portfolio:read")
    assert list(answer.scopes) == ["analysis:read", "portfolio:read"]
    assert list((await served.session(by_token(answer.access_token))).scopes) == ["analysis:read", "portfolio:read"]
    price = market_pb2.GetPriceRequest(symbol="BTC-USDT")
    found = await refused(
        served.call("GetPrice", price, market_pb2.GetPriceResponse, by_token(answer.access_token)),
    )
    assert (found.reason, found.metadata) == ("AUTH_002", {"scope": "market:read"})


async def test_a_scope_that_the_key_lacks_is_named(folder: Path) -> None:
    """A token with more than its key has is AUTH_002, naming the scope, also beside others that the key has."""
    small = make_key(folder, scopes=["market:read"], now=NOON)
    async with serving(folder) as served:
        for wanted in (["admin"], ["market:read", "admin"]):
            found = await refused(served.issue(by_key(small), *wanted))
            assert (found.code, found.reason) == (grpc.StatusCode.PERMISSION_DENIED, "AUTH_002")
            assert found.metadata == {"scope": "admin"}
            assert "'admin'" in found.message


@pytest.mark.parametrize(
    ("scopes", "fields"),
    [
        (["root"], ("scopes[0]",)),
        (["market:read", "MARKET:READ"], ("scopes[1]",)),
        (["", "x"], ("scopes[0]", "scopes[1]")),
        (["market:read"] * 17, ("scopes",)),
    ],
)
async def test_a_scope_that_is_none_is_named_by_its_place(
    served: Served, key: str, scopes: list[str], fields: tuple[str, ...]
) -> None:
    """An unknown scope, or too many, is REQUEST_001 with the field."""
    found = await refused(served.issue(by_key(key), *scopes))
    assert (found.code, found.reason, found.fields) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_001", fields)


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (60, 60), (900, 900), (901, 900), (2**31 - 1, 900)])
async def test_a_life_may_be_shorter_and_never_longer(served: Served, key: str, asked: int, given: int) -> None:
    """A token lives as long as was asked for, up to the setting; then it is refused as expired."""
    answer = await served.issue(by_key(key), lifetime_seconds=asked)
    assert answer.expires_in == given
    sent = by_token(answer.access_token)
    served.clock.now = NOON + (given - 1) * SECOND
    assert await served.accepts(sent)
    served.clock.now = NOON + given * SECOND
    found = await refused(served.session(sent))
    assert (found.reason, "expired" in found.message) == ("AUTH_001", True)


@pytest.mark.parametrize("seconds", [0, -1, -(2**31)])
async def test_a_life_of_nothing_is_a_malformed_request(served: Served, key: str, seconds: int) -> None:
    """Zero and less are REQUEST_001 naming lifetime_seconds, and not the default."""
    found = await refused(served.issue(by_key(key), lifetime_seconds=seconds))
    assert (found.reason, found.fields) == ("REQUEST_001", ("lifetime_seconds",))


async def test_the_setting_decides_on_the_longest_life(folder: Path, key: str) -> None:
    """ENTASIS_TOKEN_SECONDS is the usual life and the longest one."""
    async with serving(folder, token_seconds=30) as served:
        assert (await served.issue(by_key(key))).expires_in == 30
        assert (await served.issue(by_key(key), lifetime_seconds=900)).expires_in == 30


@pytest.mark.parametrize("lives", [timedelta(seconds=100), timedelta(seconds=99, milliseconds=900)])
async def test_a_token_never_outlives_its_key(folder: Path, lives: timedelta) -> None:
    """A token of a key that ends soon ends with it, in whole seconds rounded down, whatever was asked for."""
    ending = make_key(folder, lives=lives, now=NOON)
    async with serving(folder) as served:
        for asked in ({}, {"lifetime_seconds": 900}):
            answer = await served.issue(by_key(ending), **asked)
            assert answer.expires_in == int(lives.total_seconds())
            assert answer.expires_at.ToDatetime(NOON.tzinfo) <= NOON + lives
        served.clock.now = NOON + lives
        assert not await served.accepts(by_token(answer.access_token))


async def test_a_token_must_not_be_stored_by_caches(served: Served, key: str) -> None:
    """The answer says Cache-Control: no-store."""
    _, headers = await served.call("IssueToken", pb.IssueTokenRequest(), pb.IssueTokenResponse, by_key(key))
    assert headers["cache-control"] == "no-store"


async def test_only_a_key_gets_a_token(served: Served, key: str) -> None:
    """A token alone, nobody, and a part of the engine without a key are AUTH_001, and told what is needed."""
    token = (await served.issue(by_key(key))).access_token
    for sent in (by_token(token), []):
        found = await refused(served.issue(sent))
        assert (found.code, found.reason) == (grpc.StatusCode.UNAUTHENTICATED, "AUTH_001")
        assert "X-API-Key" in found.message
    request = pb.IssueTokenRequest()
    found = await refused(served.call("IssueToken", request, pb.IssueTokenResponse, [], address=None))
    assert found.reason == "AUTH_001"


async def test_key_and_token_together_get_what_both_permit(served: Served, key: str) -> None:
    """Beside a token the key gets a new one with the scopes of both, which does not outlive the first."""
    first = await served.issue(by_key(key), "market:read", "analysis:read", lifetime_seconds=60)
    both = by_key(key) + by_token(first.access_token)
    second = await served.issue(both)
    assert (list(second.scopes), second.expires_in) == (["analysis:read", "market:read"], 60)
    found = await refused(served.issue(both, "admin"))
    assert (found.reason, found.metadata) == ("AUTH_002", {"scope": "admin"})


async def test_key_and_token_of_different_accounts_are_refused(folder: Path, key: str) -> None:
    """Both must name the same account."""
    other = make_key(folder, account="other", now=NOON)
    async with serving(folder) as served:
        token = (await served.issue(by_key(key))).access_token
        found = await refused(served.issue(by_key(other) + by_token(token)))
        assert (found.reason, "different accounts" in found.message) == ("AUTH_001", True)


# --- OpenSession --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("public", [True, False], ids=["public", "closed"])
async def test_a_session_says_whether_market_streams_are_open(folder: Path, key: str, public: bool) -> None:
    """Anonymous callers and those without market:read have market streams where the setting opens them to all."""
    small = make_key(folder, scopes=["portfolio:read"], now=NOON)
    async with serving(folder, market_streams_public=public) as served:
        assert (await served.session([])).market_streams is public
        assert (await served.session(by_key(small))).market_streams is public
        assert (await served.session(by_key(key))).market_streams
        token = await served.issue(by_key(key), "market:read")
        assert (await served.session(by_token(token.access_token))).market_streams
        token = await served.issue(by_key(key), "admin")
        assert (await served.session(by_token(token.access_token))).market_streams is public


async def test_a_session_of_nobody_is_empty(served: Served) -> None:
    """An anonymous caller has neither account nor session, and the limit of its address."""
    opened = await served.session([])
    assert (opened.account, opened.session, list(opened.scopes)) == ("", "", [])
    assert not opened.HasField("expires_at")
    assert (opened.rate_limit, opened.rate_remaining, opened.rate_reset_seconds) == (1000, 999, 60)


async def test_a_part_of_the_engine_has_no_limit(served: Served) -> None:
    """Without a caller's address nothing is counted, and the limit is 0."""
    opened = await served.session([], address=None)
    assert (opened.rate_limit, opened.rate_remaining, opened.rate_reset_seconds) == (0, 0, 0)


async def test_a_session_of_a_key(folder: Path) -> None:
    """A key's session has its account, scopes, limit and expiry; a session of a key that never ends has no expiry."""
    lasting = make_key(folder, scopes=["market:read", "admin"], rate_limit=5, now=NOON)
    ending = make_key(folder, lives=timedelta(hours=1), rate_limit=None, now=NOON)
    async with serving(folder) as served:
        opened = await served.session(by_key(lasting))
        assert (list(opened.scopes), opened.HasField("expires_at")) == (["admin", "market:read"], False)
        assert (opened.rate_limit, opened.rate_remaining, opened.rate_reset_seconds) == (5, 4, 60)
        opened = await served.session(by_key(ending))
        assert opened.expires_at.ToDatetime(NOON.tzinfo) == NOON + timedelta(hours=1)
        assert (opened.rate_limit, opened.rate_remaining) == (1000, 999)


async def test_a_session_of_a_token_ends_with_it(served: Served, key: str) -> None:
    """A token's session expires when the token does, and is another one than the key's."""
    token = (await served.issue(by_key(key), lifetime_seconds=60)).access_token
    opened = await served.session(by_token(token))
    assert opened.expires_at.ToDatetime(NOON.tzinfo) == NOON + 60 * SECOND
    assert opened.session != (await served.session(by_key(key))).session


async def test_a_session_is_no_secret(served: Served, key: str) -> None:
    """What a session is named by has nothing of the key's secret, nor of the token, and cannot be sent as either."""
    token = (await served.issue(by_key(key))).access_token
    for sent in (by_key(key), by_token(token), by_key(key) + by_token(token)):
        session = (await served.session(sent)).session
        assert len(session) <= SESSION_CHARACTERS_MAX
        for secret in (key.split("_")[2], *token.split(".")):
            assert not any(secret[at : at + 8] in session for at in range(len(secret) - 7))
        for reused in (by_key(session), by_token(session)):
            assert (await refused(served.session(reused))).reason == "AUTH_001"


async def test_a_session_is_refused_like_any_call(folder: Path, key: str) -> None:
    """A bad key is AUTH_001, an address off the key's list AUTH_003, and one request too many LIMIT_001."""
    listed = make_key(folder, addresses=["198.51.100.0/24"], now=NOON)
    limited = make_key(folder, rate_limit=1, now=NOON)
    async with serving(folder) as served:
        assert (await refused(served.session(by_key(key[:-1])))).reason == "AUTH_001"
        found = await refused(served.session(by_key(listed)))
        assert (found.reason, found.metadata) == ("AUTH_003", {"address": ADDRESS})
        assert (await served.session(by_key(listed), address="198.51.100.9")).account
        assert (await served.session(by_key(limited))).rate_remaining == 0
        found = await refused(served.session(by_key(limited)))
        assert (found.code, found.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_001")


# --- ListEndedSessions --------------------------------------------------------------------------------------------


async def test_sessions_that_are_over_are_listed_by_place(folder: Path, key: str) -> None:
    """Of many sessions those of revoked and expired keys and closed accounts are listed, in order."""
    doomed, other = make_key(folder, now=NOON), make_key(folder, account="other", now=NOON)
    ending = make_key(folder, lives=timedelta(minutes=1), now=NOON)
    async with serving(folder) as served:
        tokens = [(await served.issue(by_key(one))).access_token for one in (key, doomed)]
        credentials = [by_key(one) for one in (key, doomed, ending, other)] + [by_token(one) for one in tokens]
        held = [((await served.session(sent)).session, ADDRESS) for sent in credentials]
        assert await served.ended(*held) == []
        served.revoke(doomed)
        served.store.close_account("other", NOON)
        served.clock.now = NOON + timedelta(minutes=1)
        over = [(1, "AUTH_001"), (2, "AUTH_001"), (3, "AUTH_001"), (5, "AUTH_001")]
        await soon(lambda: served.ended(*held), over)


@pytest.mark.parametrize(
    "session",
    [
        "",
        "|",
        "||",
        "|||",
        "x",
        "a|b",
        "a|b|c|d",
        "acc_000000000000||",
        "acc_000000000000|abcdefghijkl|",
        "가|나|다",
        "\0",
    ],
)
async def test_what_is_no_session_is_over(served: Served, session: str) -> None:
    """Unknown accounts and keys, and text that never was a session, are over rather than an error."""
    assert await served.ended((session, ADDRESS)) == [(0, "AUTH_001")]


async def test_a_session_belongs_to_its_addresses(folder: Path) -> None:
    """A session held from an address that its key does not allow is over with AUTH_003."""
    listed = make_key(folder, addresses=["192.0.2.0/24"], now=NOON)
    async with serving(folder) as served:
        session = (await served.session(by_key(listed))).session
        held = [(session, one) for one in (ADDRESS, "198.51.100.1", "", "nonsense", "192.0.2.255", "::ffff:192.0.2.7")]
        assert await served.ended(*held) == [(1, "AUTH_003"), (2, "AUTH_003"), (3, "AUTH_003")]


async def test_a_session_belongs_to_the_addresses_of_the_engine(folder: Path, key: str) -> None:
    """A session held from an address that the setting does not allow is over with AUTH_003."""
    async with serving(folder, allowed_addresses="192.0.2.0/24") as served:
        session = (await served.session(by_key(key))).session
        assert await served.ended((session, ADDRESS), (session, "198.51.100.1")) == [(1, "AUTH_003")]


async def test_as_many_sessions_as_the_contract_says(served: Served, key: str) -> None:
    """250 sessions are one question and 251 too many; so is a session of 257 characters."""
    session = (await served.session(by_key(key))).session
    held = [(session, ADDRESS)] * (HELD_MAX - 1)
    assert await served.ended(*held, ("x", ADDRESS)) == [(HELD_MAX - 1, "AUTH_001")]
    found = await refused(served.ended(*held, ("x", ADDRESS), ("y", ADDRESS)))
    assert (found.reason, found.fields) == ("REQUEST_001", ("held",))
    found = await refused(served.ended(("x" * (SESSION_CHARACTERS_MAX + 1), ADDRESS)))
    assert (found.reason, found.fields) == ("REQUEST_001", ("held[0].session",))


async def test_sessions_are_told_to_parts_of_the_engine_alone(served: Served, key: str) -> None:
    """A caller, whoever it is, gets AUTH_002, over the unix socket with a key too."""
    for address, sent in ((ADDRESS, []), (ADDRESS, by_key(key)), (None, by_key(key))):
        found = await refused(served.ended(("x", ADDRESS), address=address, sent=sent))
        assert (found.code, found.reason) == (grpc.StatusCode.PERMISSION_DENIED, "AUTH_002")


# --- What changes while it runs -----------------------------------------------------------------------------------


async def test_changes_of_another_process_take_hold(served: Served, key: str) -> None:
    """Keys that another store makes are accepted, and those that it ends refused, within five seconds."""
    new = served.key(account="newcomer")
    await soon(lambda: served.accepts(by_key(new)), True)
    token = (await served.issue(by_key(key))).access_token
    served.revoke(key)
    await soon(lambda: served.accepts(by_key(key)), False)
    assert not await served.accepts(by_token(token))
    served.store.close_account("newcomer", NOON)
    await soon(lambda: served.accepts(by_key(new)), False)


async def test_a_rotated_key_goes_on_until_its_overlap_is_over(served: Served, key: str) -> None:
    """Old and new key both work during the overlap, and the old one's token ends with the old one."""
    _, new = served.store.rotate_key(key.split("_")[1], timedelta(seconds=30), NOON)
    await soon(lambda: served.accepts(by_key(new)), True)
    token = await served.issue(by_key(key))
    assert token.expires_in == 30
    served.clock.now = NOON + 30 * SECOND
    assert not await served.accepts(by_key(key))
    assert not await served.accepts(by_token(token.access_token))
    assert await served.accepts(by_key(new))


async def test_a_store_in_the_place_of_another_takes_hold(served: Served, key: str, tmp_path_factory: Any) -> None:
    """After a backup was moved into its place, its keys count and no others."""
    backup = tmp_path_factory.mktemp("backup")
    restored = make_key(backup, now=NOON)
    (backup / "access.db").replace(served.settings.access_path)
    await soon(lambda: served.accepts(by_key(restored)), True)
    assert not await served.accepts(by_key(key))


def garbage(path: Path) -> None:
    path.write_bytes(b"no database " * 4096)


def truncated(path: Path) -> None:
    os.truncate(path, 4096)


def odd_scopes(path: Path) -> None:
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE api_keys SET scopes = 'no JSON'")


def no_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("ALTER TABLE api_keys RENAME TO other")


@pytest.mark.parametrize("damage", [garbage, truncated, odd_scopes, no_tables, Path.unlink])
async def test_a_damaged_store_locks_nobody_out_and_lets_nobody_in(
    served: Served, key: str, damage: Callable[[Path], None], tmp_path_factory: Any
) -> None:
    """With the file damaged or gone known keys go on and others stay out; once it is restored, changes take hold."""
    path = served.settings.access_path
    revoked, unknown = served.key(), make_key(tmp_path_factory.mktemp("elsewhere"), now=NOON)
    await soon(lambda: served.accepts(by_key(revoked)), True)
    served.revoke(revoked)
    await soon(lambda: served.accepts(by_key(revoked)), False)
    good = path.read_bytes()
    damage(path)
    await looked_twice(served)
    assert await served.accepts(by_key(key))
    assert not await served.accepts(by_key(revoked))
    assert not await served.accepts(by_key(unknown))
    path.write_bytes(good)
    served.revoke(key)
    await soon(lambda: served.accepts(by_key(key)), False)


async def looked_twice(served: Served) -> None:
    """Wait until the engine has looked after what may have changed twice since now."""
    looks: list[None] = []
    served.access.watchers.append(lambda: looks.append(None))

    async def count() -> bool:
        return len(looks) >= 2

    await soon(count, True)


async def test_a_locked_store_holds_up_no_call(served: Served, key: str) -> None:
    """While another process has the file to itself known keys go on; what it changed takes hold when it lets go."""
    with closing(sqlite3.connect(served.settings.access_path, isolation_level=None)) as raw:
        raw.execute("BEGIN EXCLUSIVE")
        raw.execute("UPDATE api_keys SET revoked_at = created_at WHERE id = ?", [key.split("_")[1]])
        loop = asyncio.get_running_loop()
        until = loop.time() + 2.5  # two looks and a half
        calls = 0
        while loop.time() < until:
            assert await served.accepts(by_key(key))
            calls += 1
        raw.execute("COMMIT")
    print(f"\n{calls} calls while the store was locked")
    await soon(lambda: served.accepts(by_key(key)), False)


# Another issuer's tokens.


class Issuer:
    """Another issuer of tokens, and the JWKS file with its public keys."""

    def __init__(self, path: Path, account: str) -> None:
        self._path = path
        self._account = account
        self._keys: dict[str, Ed25519PrivateKey] = {}

    def publish(self, *kids: str, more: Collection[dict[str, Any]] = ()) -> None:
        """Put a file with just these keys, made where they are new, in the place of the one before."""
        for kid in kids:
            self._keys.setdefault(kid, Ed25519PrivateKey.generate())
        public = [
            {**OKPAlgorithm.to_jwk(self._keys[kid].public_key(), as_dict=True), "kid": kid, "alg": "EdDSA"}
            for kid in kids
        ]
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps({"keys": [*public, *more]}))
        new.replace(self._path)

    def public(self, kid: str, *, shown_as: str) -> dict[str, Any]:
        """A key under another name."""
        key = self._keys[kid].public_key()
        return {**OKPAlgorithm.to_jwk(key, as_dict=True), "kid": shown_as, "alg": "EdDSA"}

    def token(self, kid: str, scopes: Sequence[str] = SCOPES) -> str:
        issued = int(NOON.timestamp())
        claims = {"iss": "entasis", "aud": "entasis", "sub": self._account, "scope": " ".join(scopes)}
        claims |= {"iat": issued, "exp": issued + 3600}
        return jwt.encode(claims, self._keys[kid], "EdDSA", headers={"typ": "at+jwt", "kid": kid})


@pytest.fixture
def issuer(folder: Path, key: str) -> Issuer:
    """An issuer whose first key is published."""
    with closing(AccessStore(folder / "access.db")) as store:
        account = store.load().account_named(ACCOUNT)
    assert account is not None
    issuer = Issuer(folder / "jwks.json", account.id)
    issuer.publish("first")
    return issuer


async def test_a_replaced_jwks_file_takes_hold(folder: Path, issuer: Issuer) -> None:
    """Tokens of a key that a new JWKS file has are accepted, and those of one that it lacks refused."""
    async with serving(folder, jwt_jwks_file=folder / "jwks.json") as served:
        session = (await served.session(by_token(issuer.token("first")))).session
        assert await served.ended((session, ADDRESS)) == []
        issuer.publish("second")
        await soon(lambda: served.accepts(by_token(issuer.token("second"))), True)
        assert not await served.accepts(by_token(issuer.token("first")))
        assert await served.ended((session, ADDRESS)) == [(0, "AUTH_001")]


@pytest.mark.parametrize("content", ["", "{", '{"keys": [{"kty": "oct", "k": "AAAA", "kid": "a", "alg": "HS256"}]}'])
async def test_a_jwks_file_that_cannot_be_used_changes_nothing(folder: Path, issuer: Issuer, content: str) -> None:
    """With a broken JWKS file known keys go on, accounts are kept current, and the next good file takes hold."""
    async with serving(folder, jwt_jwks_file=folder / "jwks.json") as served:
        (folder / "jwks.json").write_text(content)
        await heeded(served)
        assert await served.accepts(by_token(issuer.token("first")))
        issuer.publish("second")
        await soon(lambda: served.accepts(by_token(issuer.token("second"))), True)


async def test_a_jwks_file_with_our_own_kid_ends_nothing(folder: Path, key: str, issuer: Issuer) -> None:
    """A JWKS file that claims the kid of our own tokens is refused like any other that cannot be used."""
    async with serving(folder, jwt_jwks_file=folder / "jwks.json") as served:
        own = jwt.get_unverified_header((await served.issue(by_key(key))).access_token)["kid"]
        issuer.publish(more=[issuer.public("first", shown_as=own)])
        await heeded(served)
        assert await served.accepts(by_token(issuer.token("first")))
        issuer.publish("second")
        await soon(lambda: served.accepts(by_token(issuer.token("second"))), True)


async def test_a_jwks_file_that_changes_while_the_store_cannot_be_read_takes_hold(folder: Path, issuer: Issuer) -> None:
    """A signer that was removed while the store was damaged is refused once the store is restored."""
    path = folder / "access.db"
    async with serving(folder, jwt_jwks_file=folder / "jwks.json") as served:
        good = path.read_bytes()
        odd_scopes(path)
        issuer.publish("second")
        await looked_twice(served)
        path.write_bytes(good)
        await heeded(served)
        await soon(lambda: served.accepts(by_token(issuer.token("second"))), True)
        assert not await served.accepts(by_token(issuer.token("first")))


# Streams that are open.


async def ending(call: grpc.aio.UnaryStreamCall[bytes, bytes]) -> Refusal:
    """How a stream ends, which must be soon."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        async with asyncio.timeout(HEED_SECONDS_MAX):
            await call.read()
    return refusal_in(raised.value)


async def test_a_stream_ends_with_its_key(served: Served, key: str) -> None:
    """When a key is revoked its streams end with AUTH_001, and those of others and of nobody go on."""
    token = (await served.issue(by_key(key))).access_token
    lasting = [await served.stream(sent) for sent in ([], by_key(await known(served)))]
    doomed = [await served.stream(sent) for sent in (by_key(key), by_token(token), by_key(key) + by_token(token))]
    served.revoke(key)
    for call in doomed:
        found = await ending(call)
        assert (found.code, found.reason) == (grpc.StatusCode.UNAUTHENTICATED, "AUTH_001")
        assert "revoked" in found.message
    assert not any(call.done() for call in lasting)


async def known(served: Served) -> str:
    """A new key that the engine knows already."""
    new = served.key()
    await soon(lambda: served.accepts(by_key(new)), True)
    return new


async def test_a_stream_ends_with_its_token(served: Served, key: str) -> None:
    """When a token expires its streams end with AUTH_001, which says so; the key's own and nobody's go on."""
    token = (await served.issue(by_key(key), lifetime_seconds=60)).access_token
    lasting = [await served.stream(sent) for sent in ([], by_key(key))]
    doomed = await served.stream(by_token(token))
    served.clock.now = NOON + 60 * SECOND
    found = await ending(doomed)
    assert (found.reason, "expired" in found.message) == ("AUTH_001", True)
    assert not any(call.done() for call in lasting)


async def test_a_stream_ends_with_its_signer(folder: Path, issuer: Issuer) -> None:
    """When a JWKS file loses the key that signed a token, the token's streams end with AUTH_001."""
    async with serving(folder, jwt_jwks_file=folder / "jwks.json") as served:
        doomed, lasting = await served.stream(by_token(issuer.token("first"))), await served.stream([])
        issuer.publish("second")
        assert (await ending(doomed)).reason == "AUTH_001"
        assert not lasting.done()


async def test_a_key_that_makes_no_sense_ends_nothing_else(served: Served, key: str) -> None:
    """A row of the store that no version of the program has written does not end the engine, nor others' streams."""
    doomed, lasting = await served.stream(by_key(await known(served))), await served.stream(by_key(key))
    with closing(sqlite3.connect(served.settings.access_path)) as raw, raw:
        raw.execute("UPDATE api_keys SET addresses = '[\"nonsense\"]' WHERE id <> ?", [key.split("_")[1]])
    await looked_twice(served)
    await heeded(served)
    assert await served.accepts(by_key(key))
    assert not lasting.done()
    doomed.cancel()
