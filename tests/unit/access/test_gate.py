"""The gate: whose credentials count, from where, for what, and how often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from entasis_engine.access import keys
from entasis_engine.access.directory import SCOPES, Account, ApiKey, Directory
from entasis_engine.access.gate import REMEMBERED_MAX, Caller, Decision, Gate
from entasis_engine.access.limits import MovingWindow
from entasis_engine.access.needs import ANYONE, Need
from entasis_engine.access.tokens import Tokens

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
SECRET = b"s" * 32
HOME = "192.0.2.7"
READ = Need(scope="market:read")


@dataclass
class World:
    """A gate, with accounts and keys to be changed, and the time."""

    now: datetime = NOW
    accounts: dict[str, Account] = field(default_factory=dict)
    api_keys: dict[str, ApiKey] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    verified: int = 0
    """How many tokens were verified, not remembered."""

    def __post_init__(self) -> None:
        self.tokens = Tokens(SECRET, issuer="entasis", audience="entasis")
        options = {
            "allowed_addresses": (),
            "rate_limit": 1000,
            "anonymous_rate_limit": 1000,
            "market_streams_public": True,
        } | self.options
        verify = self.tokens.verify

        def counted(text: str, now: datetime) -> Any:
            self.verified += 1
            return verify(text, now)

        self.tokens.verify = counted  # type: ignore[method-assign]
        self.gate = Gate(
            Directory(),
            self.tokens,
            MovingWindow(lambda: (self.now - NOW).total_seconds()),  # noqa: PLW0108 - `now` changes
            clock=lambda: self.now,
            **options,
        )

    def change(self) -> None:
        self.gate.replace(Directory(self.accounts.values(), self.api_keys.values()), self.tokens)

    def account(self, name: str, **fields: Any) -> str:
        self.accounts[name] = Account(f"acc_{name}", name, NOW, **fields)
        self.change()
        return name

    def key(self, account: str, *scopes: str, **fields: Any) -> str:
        made = keys.new_key()
        self.api_keys[made.id] = ApiKey(
            made.id, f"acc_{account}", made.digest, frozenset(scopes or SCOPES), "", NOW, **fields
        )
        self.change()
        return made.text

    def token(self, key: str, *scopes: str, lives: timedelta = timedelta(minutes=15)) -> str:
        known = self.api_keys[key.split("_")[1]]
        return self.tokens.issue(
            account=known.account_id,
            key_id=known.id,
            scopes=scopes or SCOPES,
            now=self.now,
            expires_at=self.now + lives,
        )

    def set_key(self, key: str, **fields: Any) -> None:
        key_id = key.split("_")[1]
        self.api_keys[key_id] = replace(self.api_keys[key_id], **fields)
        self.change()

    async def call(
        self, *, key: str | None = None, token: str | None = None, need: Need = READ, address: str = HOME
    ) -> Decision:
        return await self.gate.decide(
            need,
            Caller(address, () if token is None else (f"Bearer {token}",), () if key is None else (key,)),
        )


@pytest.fixture
def world() -> World:
    made = World()
    made.account("desk")
    made.account("other")
    return made


def case(decision: Decision) -> str | None:
    return decision.refusal.case if decision.refusal is not None else None


async def test_a_key_or_a_token_is_enough_and_both_together_too(world: World) -> None:
    """Each alone, and both of one account, let the call pass in the account's name."""
    key = world.key("desk")
    token = world.token(key)
    for sent in ({"key": key}, {"token": token}, {"key": key, "token": token}):
        decision = await world.call(**sent)
        assert case(decision) is None
        assert decision.principal is not None
        assert decision.principal.account == "acc_desk"


async def test_both_must_name_the_same_account(world: World) -> None:
    """A token of one account and a key of another are refused, each of them good by itself."""
    decision = await world.call(key=world.key("desk"), token=world.token(world.key("other")))
    assert case(decision) == "CREDENTIALS_DIFFER"
    assert decision.principal is None


async def test_both_must_be_valid(world: World) -> None:
    """A good token does not make up for a bad key, nor the other way round."""
    key = world.key("desk")
    token = world.token(key)
    assert case(await world.call(key=key[:-1] + "!", token=token)) == "KEY_INVALID"
    assert case(await world.call(key=key, token=token[:-2])) == "TOKEN_INVALID"


async def test_both_must_permit_the_call(world: World) -> None:
    """A token that was narrowed narrows the call, though the key beside it could do more; and the other way round."""
    key = world.key("desk")
    assert case(await world.call(key=key, token=world.token(key, "portfolio:read"))) == "SCOPE_MISSING"
    narrow = world.key("desk", "portfolio:read")
    assert case(await world.call(key=narrow, token=world.token(key))) == "SCOPE_MISSING"


async def test_a_token_permits_no_more_than_its_key_does_now(world: World) -> None:
    """A key that loses a scope takes it from its tokens."""
    key = world.key("desk")
    token = world.token(key)
    assert case(await world.call(token=token)) is None
    world.set_key(key, scopes=frozenset({"portfolio:read"}))
    assert case(await world.call(token=token)) == "SCOPE_MISSING"


async def test_a_token_dies_with_its_key(world: World) -> None:
    """Once the key is revoked, its token is refused, though remembered a moment ago."""
    key = world.key("desk")
    token = world.token(key)
    assert case(await world.call(token=token)) is None
    world.set_key(key, revoked_at=NOW)
    assert case(await world.call(token=token)) == "KEY_ENDED"
    assert case(await world.call(key=key)) == "KEY_ENDED"


async def test_a_closed_account_is_closed_to_all_its_credentials(world: World) -> None:
    """Keys and tokens of a closed account are refused."""
    key = world.key("desk")
    token = world.token(key)
    world.account("desk", closed_at=NOW)
    assert case(await world.call(key=key)) == "KEY_ENDED"
    assert case(await world.call(token=token)) == "TOKEN_INVALID"


async def test_a_token_of_a_key_that_is_unknown_or_of_another_account_is_refused(world: World) -> None:
    """What a token says of its key must be true."""
    key = world.key("desk")
    key_id = key.split("_")[1]
    for account, named in (("acc_other", key_id), ("acc_desk", "x" * 12), ("acc_nobody", key_id)):
        token = world.tokens.issue(
            account=account, key_id=named, scopes=SCOPES, now=NOW, expires_at=NOW + timedelta(minutes=1)
        )
        assert case(await world.call(token=token)) == "TOKEN_INVALID"


async def test_what_was_verified_is_remembered_until_it_expires_and_not_longer(world: World) -> None:
    """The second call verifies nothing; at the instant of expiry the token is refused."""
    token = world.token(world.key("desk"), lives=timedelta(seconds=60))
    for _ in range(5):
        assert case(await world.call(token=token)) is None
    assert world.verified == 1
    world.now = NOW + timedelta(seconds=59, milliseconds=999)
    assert case(await world.call(token=token)) is None
    assert world.verified == 1
    world.now = NOW + timedelta(seconds=60)
    assert case(await world.call(token=token)) == "TOKEN_EXPIRED"


async def test_a_remembered_key_expires_on_time(world: World) -> None:
    """A key that was good a millisecond ago is refused at the instant of its expiry; so is its token."""
    key = world.key("desk", expires_at=NOW + timedelta(seconds=30))
    token = world.token(key)
    assert case(await world.call(key=key)) is None
    assert case(await world.call(token=token)) is None
    world.now = NOW + timedelta(seconds=30)
    assert case(await world.call(key=key)) == "KEY_ENDED"
    assert case(await world.call(token=token)) == "KEY_ENDED"


async def test_what_is_remembered_is_bounded(world: World) -> None:
    """However many tokens there are, at most the bound is remembered."""
    key = world.key("desk", rate_limit=10**6)
    first = world.token(key)
    await world.call(token=first)
    for _ in range(REMEMBERED_MAX):
        world.gate._remembered[(str(_),), ()] = next(iter(world.gate._remembered.values()))
        if len(world.gate._remembered) >= REMEMBERED_MAX:
            break
    await world.call(token=world.token(key, "market:read"))
    assert len(world.gate._remembered) == REMEMBERED_MAX
    await world.call(token=first)
    assert world.verified == 3


@pytest.mark.parametrize(
    "sent",
    [
        Caller(HOME, ("Basic dXNlcjpwYXNz",)),
        Caller(HOME, ("Bearer",)),
        Caller(HOME, ("Bearer ",)),
        Caller(HOME, ("",)),
        Caller(HOME, ("Bearer a.b.c", "Bearer d.e.f")),
        Caller(HOME, (), ("ek_a", "ek_b")),
        Caller(HOME, (), ("",)),
    ],
)
@pytest.mark.parametrize("need", [READ, ANYONE, Need(scope="market:read", public=True)])
async def test_a_credential_that_is_sent_must_be_valid(world: World, sent: Caller, need: Need) -> None:
    """What is no credential is refused, even where none would have been needed."""
    decision = await world.gate.decide(need, sent)
    assert decision.refusal is not None
    assert decision.refusal.entry.reason == "AUTH_001"


async def test_the_scheme_may_be_written_in_any_case(world: World) -> None:
    """`bearer` and `BEARER` are `Bearer` (RFC 9110, section 11.1)."""
    token = world.token(world.key("desk"))
    for scheme in ("bearer", "BEARER", "Bearer"):
        assert (await world.gate.decide(READ, Caller(HOME, (f"{scheme} {token}",)))).refusal is None


@pytest.mark.parametrize(
    ("need", "anonymous", "without_scope", "with_scope"),
    [
        (READ, "CREDENTIAL_MISSING", "SCOPE_MISSING", None),
        (Need(scope="market:read", public=True), None, None, None),
        (Need(api_key=True), "KEY_NEEDED", None, None),
        (ANYONE, None, None, None),
        (Need(internal=True), "NOT_FOR_CALLERS", "NOT_FOR_CALLERS", "NOT_FOR_CALLERS"),
    ],
)
async def test_each_requirement_asks_what_it_says(
    world: World, need: Need, anonymous: str | None, without_scope: str | None, with_scope: str | None
) -> None:
    """Nobody, a key without the scope and a key with it: each passes or not, as the requirement has it."""
    assert case(await world.call(need=need)) == anonymous
    assert case(await world.call(need=need, key=world.key("desk", "analysis:read"))) == without_scope
    assert case(await world.call(need=need, key=world.key("desk", "market:read"))) == with_scope


async def test_public_streams_can_be_closed() -> None:
    """Where they are not public, market streams ask for the scope."""
    world = World(options={"market_streams_public": False})
    world.account("desk")
    need = Need(scope="market:read", public=True)
    assert case(await world.call(need=need)) == "CREDENTIAL_MISSING"
    assert case(await world.call(need=need, key=world.key("desk", "admin"))) == "SCOPE_MISSING"
    assert case(await world.call(need=need, key=world.key("desk", "market:read"))) is None


async def test_a_token_is_no_api_key(world: World) -> None:
    """Where an API key is needed, a token alone does not do: it could renew itself for ever."""
    key = world.key("desk")
    assert case(await world.call(need=Need(api_key=True), token=world.token(key))) == "KEY_NEEDED"
    assert case(await world.call(need=Need(api_key=True), token=world.token(key), key=key)) is None


async def test_parts_of_the_engine_may_open_streams_and_ask_for_ended_sessions() -> None:
    """A call for nobody, over a trusted connection, passes where it is meant for parts of the engine; uncounted."""
    world = World(options={"market_streams_public": False})
    for need in (Need(internal=True), Need(scope="market:read", public=True), ANYONE):
        decision = await world.call(need=need, address="")
        assert (case(decision), decision.allowance) == (None, None)
    assert case(await world.call(need=READ, address="")) == "CREDENTIAL_MISSING"


async def test_the_list_of_addresses_comes_before_credentials() -> None:
    """From an address that is not on the list, not even a good key is looked at."""
    world = World(options={"allowed_addresses": ["10.0.0.0/8", "2001:db8::/32"]})
    world.account("desk")
    key = world.key("desk")
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"):
        assert case(await world.call(key=key, address=address)) is None
    for address in (HOME, "2001:db9::1", "unknown"):
        assert case(await world.call(key=key, address=address)) == "ADDRESS_REFUSED"
        assert case(await world.call(key="nonsense", address=address)) == "ADDRESS_REFUSED"


async def test_a_key_has_a_list_of_its_own_and_so_have_its_tokens(world: World) -> None:
    """A key that is bound to a network is refused elsewhere, and its token is too."""
    key = world.key("desk", addresses=("10.0.0.0/8",))
    token = world.token(key)
    assert case(await world.call(key=key, address="10.0.0.1")) is None
    assert case(await world.call(token=token, address="10.0.0.1")) is None
    assert case(await world.call(key=key)) == "ADDRESS_REFUSED"
    assert case(await world.call(token=token)) == "ADDRESS_REFUSED"
    assert case(await world.call(token=token, key=world.key("desk"))) == "ADDRESS_REFUSED"


async def _until_limited(world: World, **sent: Any) -> int:
    count = 0
    while (decision := await world.call(**sent)).refusal is None:
        count += 1
        assert decision.allowance is not None
        assert decision.allowance.remaining == decision.allowance.limit - count
    assert case(decision) == "RATE_LIMITED"
    assert decision.refusal.retry_after_seconds == decision.allowance.reset_seconds  # type: ignore[union-attr]
    return count


async def test_all_credentials_of_an_account_are_counted_together(world: World) -> None:
    """1000 requests a minute are the account's, by whichever of its keys and tokens; another account has its own."""
    key, another = world.key("desk"), world.key("desk")
    token = world.token(key)
    for _ in range(250):
        for sent in ({"key": key}, {"key": another}, {"token": token}, {"key": key, "token": token}):
            assert case(await world.call(**sent)) is None
    assert case(await world.call(key=key)) == "RATE_LIMITED"
    assert case(await world.call(token=token)) == "RATE_LIMITED"
    assert case(await world.call(key=world.key("other"))) is None


async def test_a_key_may_have_a_limit_of_its_own(world: World) -> None:
    """Such a key is counted by itself, with its tokens, and takes nothing from its account."""
    key = world.key("desk", rate_limit=5)
    assert await _until_limited(world, key=key) == 5
    assert case(await world.call(token=world.token(key))) == "RATE_LIMITED"
    assert await _until_limited(world, key=world.key("desk")) == 1000


async def test_an_account_may_have_a_limit_of_its_own(world: World) -> None:
    """The account's limit is in place of the setting's."""
    world.account("desk", rate_limit=7)
    assert await _until_limited(world, key=world.key("desk")) == 7


async def test_refused_credentials_are_counted_by_address(world: World) -> None:
    """Guessing is limited too, and takes nothing from the account whose key is guessed at."""
    key = world.key("desk")
    for number in range(1000):
        assert case(await world.call(key=f"ek_guess_{number}")) == "KEY_INVALID"
    assert case(await world.call(key="ek_one_more")) == "RATE_LIMITED"
    assert case(await world.call()) == "RATE_LIMITED"
    assert case(await world.call(key="ek_one_more", address="192.0.2.8")) == "KEY_INVALID"
    assert case(await world.call(key=key)) is None


async def test_a_key_used_from_a_wrong_address_does_not_use_up_its_limit(world: World) -> None:
    """A thief who cannot use a key cannot use it up either."""
    key = world.key("desk", addresses=("10.0.0.0/8",), rate_limit=3)
    for _ in range(20):
        assert case(await world.call(key=key)) == "ADDRESS_REFUSED"
    assert await _until_limited(world, key=key, address="10.0.0.1") == 3


async def test_what_is_refused_for_want_of_a_scope_counts(world: World) -> None:
    """A caller who may not has called all the same."""
    key = world.key("desk", "admin", rate_limit=2)
    assert case(await world.call(key=key)) == "SCOPE_MISSING"
    assert case(await world.call(key=key)) == "SCOPE_MISSING"
    assert case(await world.call(key=key)) == "RATE_LIMITED"


async def test_a_local_caller_counts_as_loopback_then_and_later() -> None:
    """Over the unix socket a key is used from this machine: admitted by its list or not, and judged so afterwards."""
    world = World(options={"allowed_addresses": ["198.51.100.0/24"]})
    world.account("desk")
    local, elsewhere = world.key("desk", addresses=("127.0.0.0/8",)), world.key("desk", addresses=("10.0.0.0/8",))
    decision = await world.call(key=local, address="")
    assert case(decision) is None
    assert decision.principal is not None
    assert world.gate.ended(decision.principal, "") is None
    assert case(await world.call(key=elsewhere, address="")) == "ADDRESS_REFUSED"


def _revoke(world: World, key: str) -> None:
    world.set_key(key, revoked_at=NOW)


def _expire(world: World, key: str) -> None:
    world.set_key(key, expires_at=NOW)


def _close(world: World, key: str) -> None:
    world.account("desk", closed_at=NOW)


def _bind(world: World, key: str) -> None:
    world.set_key(key, addresses=("10.0.0.0/8",))


def _age(world: World, key: str) -> None:
    world.now = NOW + timedelta(minutes=15)


@pytest.mark.parametrize(
    ("what", "by_key", "by_token"),
    [
        (_revoke, "KEY_ENDED", "KEY_ENDED"),
        (_expire, "KEY_ENDED", "KEY_ENDED"),
        (_close, "KEY_ENDED", "KEY_ENDED"),
        (_bind, "ADDRESS_REFUSED", "ADDRESS_REFUSED"),
        (_age, None, "TOKEN_EXPIRED"),
    ],
)
async def test_what_ends_a_credential_ends_what_was_opened_with_it(
    world: World, what: Callable[[World, str], None], by_key: str | None, by_token: str | None
) -> None:
    """A principal that was admitted is over as soon as the credential would be refused, and not before."""
    key = world.key("desk")
    admitted = [(await world.call(**sent)).principal for sent in ({"key": key}, {"token": world.token(key)})]
    assert [world.gate.ended(one, HOME) for one in admitted if one] == [None, None]
    what(world, key)
    over = [world.gate.ended(one, HOME) for one in admitted if one]
    assert [one.case if one else None for one in over] == [by_key, by_token]
