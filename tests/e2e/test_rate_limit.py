"""The rate limit through the real Envoy: what is admitted, what is refused, and what every answer says of it."""

from __future__ import annotations

import base64
import http.client
import json
import math
import socket
import struct
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from grpc_status import rpc_status
from tests.e2e.conftest import Running, Start
from tests.support.access import make_key
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from entasis.access.v1 import access_pb2
from entasis.access.v1.access_pb2_grpc import AccessServiceStub
from entasis.market.v1 import market_pb2
from entasis.market.v1.market_pb2_grpc import MarketServiceStub
from entasis_engine.access.store import AccessStore
from entasis_engine.errors import EntasisError, Language
from entasis_engine.times import system_clock

pytestmark = pytest.mark.e2e

WINDOW_SECONDS = 60.0
LIMIT = 1000
"""The default of ENTASIS_RATE_LIMIT_PER_MINUTE."""
ANONYMOUS_LIMIT = 5
PRICE = "/api/v1/market/price/BTC-USDT"
TOKEN = "/api/v1/auth/token"
STREAM = "/api/v1/market/prices:stream?symbols=BTC-USDT"
INFO = "type.googleapis.com/google.rpc.ErrorInfo"
RETRY = "type.googleapis.com/google.rpc.RetryInfo"

ATTEMPTS_AT_ONCE = 3000
PACE_PER_SECOND = 100
"""Of all clients together: more than the limit admits in the long run, so that it is reached once more."""
RUN_SECONDS = 74.0
CALL_SECONDS_MAX = 20.0
"""How long a client waits for an answer."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("limited")


@pytest.fixture(scope="module")
def key_of(folder: Path) -> Callable[..., str]:
    """Makes keys; the engine knows those that were made before it started."""

    def made(account: str, limit: int | None = None, **options: Any) -> str:
        return make_key(folder, account=account, rate_limit=limit, **options)

    return made


@dataclass(frozen=True)
class Keys:
    """A caller for each test, so that none uses up what another counts on."""

    racing: str
    fresh: list[str]
    """Each of an account of its own, to be taken from the end."""
    having: str
    lacking: str
    """Of the same account, without market:read."""
    one: str
    """One request a minute; so have the three that follow."""
    one_by_grpc: str
    one_by_socket: str
    one_in_korean: str
    streaming: str
    socket: str
    authenticating: str
    own: str
    """Three requests a minute, in an account with the usual limit."""
    own_sibling: str
    shared: Sequence[str]
    """Of one account, which has four requests a minute."""
    patient: str
    minting: str


@pytest.fixture(scope="module")
def keys(folder: Path, key_of: Callable[..., str]) -> Keys:
    with closing(AccessStore(folder / "access.db")) as store:
        store.create_account("shared", 4, system_clock())
    return Keys(
        racing=key_of("racing"),
        fresh=[key_of(f"fresh-{number}") for number in range(16)],
        having=key_of("having"),
        lacking=key_of("having", scopes=["admin"]),
        one=key_of("one", 1),
        one_by_grpc=key_of("one", 1),
        one_by_socket=key_of("one", 1),
        one_in_korean=key_of("one", 1),
        streaming=key_of("streaming", 3),
        socket=key_of("socket", 5),
        authenticating=key_of("authenticating", 2),
        own=key_of("own", 3),
        own_sibling=key_of("own"),
        shared=[key_of("shared"), key_of("shared")],
        patient=key_of("patient"),
        minting=key_of("minting", 50),
    )


@pytest.fixture(scope="module")
def up(start: Start, folder: Path, keys: Keys) -> Running:
    up = start("up", data_dir=folder, anonymous_rate_limit_per_minute=ANONYMOUS_LIMIT)
    assert up.web
    return up


# --- What an answer says ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """What an answer says of the limit."""

    limit: int
    remaining: int
    reset: int
    retry_after: int | None = None


def told_by(headers: dict[str, str]) -> Told:
    retry_after = headers.get("retry-after")
    limit, remaining, reset = (int(headers[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset"))
    return Told(limit, remaining, reset, None if retry_after is None else int(retry_after))


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content)

    @property
    def told(self) -> Told:
        return told_by(self.headers)


def ask(
    up: Running,
    path: str = PRICE,
    key: str | None = None,
    *,
    source: str = "127.0.0.1",
    body: bytes | None = None,
    **headers: str,
) -> Answer:
    """A REST call from an address of this machine, with names of headers written by underscores."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if key is not None:
        given["X-API-Key"] = key
    with closing(connection_to(up, source)) as connection:
        connection.request("GET" if body is None else "POST", path, body, given)
        answer = connection.getresponse()
        return Answer(answer.status, lowered(answer.getheaders()), answer.read())


def connection_to(up: Running, source: str = "127.0.0.1") -> http.client.HTTPConnection:
    host, _, port = up.grpc.rpartition(":")
    return http.client.HTTPConnection(host, int(port), timeout=CALL_SECONDS_MAX, source_address=(source, 0))


def lowered(headers: Sequence[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}


def texts(*metadata: Any) -> dict[str, str]:
    """What is text in the metadata of a gRPC answer."""
    return {name: value for one in metadata for name, value in one or () if isinstance(value, str)}


def check_refused(body: dict[str, Any], told: Told, language: Language = "en") -> None:
    """The body is LIMIT_001 as the specification has it, and says the same as the headers."""
    message = EntasisError("RATE_LIMITED", limit=str(told.limit)).message(language)
    assert body == {
        "code": 8,
        "message": message,
        "details": [
            {"@type": INFO, "reason": "LIMIT_001", "domain": "entasis", "metadata": {"limit": str(told.limit)}},
            {"@type": RETRY, "retry_delay": f"{told.reset}s"},
        ],
    }
    assert (told.remaining, told.retry_after) == (0, told.reset)
    assert 1 <= told.reset <= WINDOW_SECONDS


def body_of(error: Any) -> dict[str, Any]:
    """The details of a failed gRPC call in the shape of the REST body."""
    status = rpc_status.from_call(error)
    assert status is not None, f"no details: {error}"
    return json_format.MessageToDict(status, preserving_proto_field_name=True)


# --- The run of four clients --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attempt:
    """A request of one of the clients. The engine decided on it between the two moments."""

    client: str
    sent: float
    received: float
    admitted: bool
    told: Told
    body: dict[str, Any] | None
    """Of a refusal."""


@dataclass
class Pace:
    """When each call may be made: the first ones at once, then so many a second, until the time is over."""

    at_once: int
    per_second: float
    until: float
    _given: int = 0
    _next: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def turns(self) -> Iterator[None]:
        """A turn for each call."""
        while True:
            with self._lock:
                now = time.monotonic()
                self._given += 1
                if self._given <= self.at_once:
                    turn = now
                else:
                    turn = self._next = max(self._next + 1 / self.per_second, now)
            if turn > self.until:
                return
            if turn > now:
                threading.Event().wait(turn - now)
            yield


Client = Callable[[], tuple[bool, dict[str, str], dict[str, Any] | None]]


def rest_client(up: Running, headers: dict[str, str]) -> Client:
    connection = connection_to(up)

    def call() -> tuple[bool, dict[str, str], dict[str, Any] | None]:
        connection.request("GET", PRICE, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status in {200, 429}, content
        return answer.status == 200, lowered(answer.getheaders()), None if answer.status == 200 else json.loads(content)

    return call


def grpc_client(target: str, key: str) -> Client:
    stub = MarketServiceStub(grpc.insecure_channel(target))
    request = market_pb2.GetPriceRequest(symbol="BTC-USDT")

    def call() -> tuple[bool, dict[str, str], dict[str, Any] | None]:
        try:
            _, made = stub.GetPrice.with_call(request, metadata=[("x-api-key", key)], timeout=CALL_SECONDS_MAX)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            return False, texts(error.initial_metadata(), error.trailing_metadata()), body_of(error)
        return True, texts(made.initial_metadata(), made.trailing_metadata()), None

    return call


def run(clients: dict[str, Client], pace: Pace, before: Sequence[Attempt] = ()) -> list[Attempt]:
    """Have all clients call in parallel; what came of it, in the order of sending."""
    attempts = list(before)
    failures: list[BaseException] = []

    def work(name: str, client: Client) -> None:
        try:
            for _ in pace.turns():
                sent = time.monotonic()
                admitted, headers, body = client()
                attempts.append(Attempt(name, sent, time.monotonic(), admitted, told_by(headers), body))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=item, daemon=True) for item in clients.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sorted(attempts, key=lambda attempt: attempt.sent)


def most_in_a_window(admitted: Sequence[Attempt]) -> int:
    """Most requests that were certainly admitted within less than 60 seconds, wherever those begin."""
    most = 0
    for first, beginning in enumerate(admitted):
        end = beginning.sent + WINDOW_SECONDS
        within = sum(attempt.received < end for attempt in admitted[first : bisect_left(admitted, end, key=_sent)])
        most = max(most, within)
    return most


def _sent(attempt: Attempt) -> float:
    return attempt.sent


class Counted:
    """Which admitted requests count at a moment, as far as the clients can know."""

    def __init__(self, admitted: Sequence[Attempt]) -> None:
        by_end = sorted((attempt.received, attempt.sent) for attempt in admitted)
        self._received = [received for received, _ in by_end]
        self._earliest_sent = _minima_from([sent for _, sent in by_end])
        by_start = sorted((attempt.sent, attempt.received) for attempt in admitted)
        self._sent = [sent for sent, _ in by_start]
        self._earliest_received = _minima_from([received for _, received in by_start])

    def reset_bounds(self, attempt: Attempt) -> tuple[int, int]:
        """The least and the most that an answer may say: until the earliest request that counts does not any more."""
        maybe = self._earliest_sent[bisect_right(self._received, attempt.sent - WINDOW_SECONDS)]
        surely = self._earliest_received[bisect_right(self._sent, attempt.received - WINDOW_SECONDS)]
        least = math.ceil(maybe + WINDOW_SECONDS - attempt.received)
        # Of a request that nothing counted before, the own moment is the earliest.
        return max(least, 1), min(math.ceil(surely + WINDOW_SECONDS - attempt.sent), round(WINDOW_SECONDS))


def _minima_from(numbers: Sequence[float]) -> list[float]:
    """The least of the numbers from each place on; after the last, infinity."""
    minima = [math.inf]
    for number in reversed(numbers):
        minima.append(min(number, minima[-1]))
    return minima[::-1]


@pytest.mark.parametrize(("seconds", "most"), [(59.9, 1001), (60.02, 1000)])
def test_one_request_too_many_would_be_found(seconds: float, most: int) -> None:
    """Of requests that are evenly spread, 1,001 are in a window exactly where the last comes within 60 seconds."""
    moments = [seconds * number / LIMIT for number in range(LIMIT + 1)]
    admitted = [Attempt("", moment, moment + 0.01, True, Told(LIMIT, 0, 1), None) for moment in moments]
    assert most_in_a_window(admitted) == most


def test_no_window_of_a_minute_admits_more_than_the_limit(up: Running, keys: Keys) -> None:
    """No 60-second window admits 1,001 requests of one caller, under 4 parallel clients; headers are right at every
    step.
    """
    sent = time.monotonic()
    minted = ask(up, TOKEN, keys.racing, body=b"{}")
    first = Attempt("token", sent, time.monotonic(), minted.status == 200, minted.told, None)
    clients = {
        "REST, key": rest_client(up, {"X-API-Key": keys.racing}),
        "REST, token": rest_client(up, {"Authorization": f"Bearer {minted.body['access_token']}"}),
        "gRPC, engine": grpc_client(up.engine, keys.racing),
        "gRPC, Envoy": grpc_client(up.grpc, keys.racing),
    }
    began = time.monotonic()
    attempts = run(clients, Pace(ATTEMPTS_AT_ONCE, PACE_PER_SECOND, began + RUN_SECONDS), [first])
    admitted = [attempt for attempt in attempts if attempt.admitted]
    refused = [attempt for attempt in attempts if not attempt.admitted]
    at_once = attempts[ATTEMPTS_AT_ONCE].sent - began

    # In the first window: exactly the limit, and each number that can remain exactly once.
    window_end = first.sent + WINDOW_SECONDS
    in_first = [attempt for attempt in admitted if attempt.received < window_end]
    assert sum(attempt.received < window_end for attempt in attempts) > ATTEMPTS_AT_ONCE
    assert len(in_first) == LIMIT
    assert sorted(attempt.told.remaining for attempt in in_first) == list(range(LIMIT))
    # In the order in which each client had its answers, fewer and fewer remain.
    for client in clients:
        own = [attempt.told.remaining for attempt in in_first if attempt.client == client]
        assert own == sorted(own, reverse=True)
        assert own, f"{client} was never admitted"

    # In any window.
    most = most_in_a_window(admitted)
    assert most <= LIMIT

    # Each answer.
    assert {attempt.told.limit for attempt in attempts} == {LIMIT}
    counted = Counted(admitted)
    wrong = []
    for attempt in attempts:
        least, greatest = counted.reset_bounds(attempt)
        if not least <= attempt.told.reset <= greatest:
            wrong.append((attempt, least, greatest))
    assert not wrong, f"{len(wrong)} of {len(attempts)}, such as {wrong[0]}"
    for attempt in refused:
        assert attempt.body is not None
        check_refused(attempt.body, attempt.told)
    assert {attempt.client for attempt in refused} == set(clients)
    assert all(attempt.told.retry_after is None for attempt in admitted)

    # Whoever comes back after Retry-After is admitted, unless another took the place meanwhile.
    again = 0
    for attempt in refused:
        assert attempt.told.retry_after is not None
        back = bisect_right(attempts, attempt.received + attempt.told.retry_after, key=_sent)
        if back < len(attempts):
            again += 1
            since = bisect_left(admitted, attempt.sent - CALL_SECONDS_MAX, key=_sent)
            # Of two that are under way at once, the one that was sent later may come first.
            until = bisect_right(admitted, attempts[back].received, key=_sent)
            assert any(one.received > attempt.sent for one in admitted[since:until]), attempt
    assert again
    assert len(admitted) > LIMIT * 3 / 2, "the window did not move"
    assert any(attempt.sent > window_end + 5 for attempt in refused), "the limit was not reached a second time"
    print(
        f"\n{len(attempts)} requests of 4 clients in {attempts[-1].received - first.sent:.1f} s, the first "
        f"{ATTEMPTS_AT_ONCE} in {at_once:.1f} s: {len(admitted)} admitted, {len(in_first)} in the first window, at "
        f"most {most} in any; {again} refusals whose Retry-After passed"
    )


# --- Where the headers are ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "path", "body"),
    [
        (200, PRICE, None),
        (200, "/v1/market/price/ETH-USDT", None),
        (400, "/api/v1/market/price/btc", None),
        (400, "/api/v1/market/orderbook/BTC-USDT?depth=0", None),
        (404, "/api/v1/market/price/FOO-BAR", None),
        (200, TOKEN, b"{}"),
        (400, TOKEN, b'{"scopes": ["root"]}'),
        (400, TOKEN, b'{"lifetime_seconds": 0}'),
    ],
)
def test_rest_answers_say_what_is_left(up: Running, keys: Keys, status: int, path: str, body: bytes | None) -> None:
    """Each answer of the engine, good or bad, has all three headers; a first request leaves one fewer."""
    answer = ask(up, path, keys.fresh.pop(), body=body)
    assert answer.status == status, answer.content
    assert answer.told == Told(LIMIT, LIMIT - 1, round(WINDOW_SECONDS))


def test_a_refusal_for_want_of_permission_says_what_is_left(up: Running, keys: Keys) -> None:
    """403 has the headers of the account whose key was sent: its keys without a limit of their own count together."""
    assert ask(up, key=keys.having).status == 200
    answer = ask(up, key=keys.lacking)
    assert (answer.status, answer.headers["x-error-code"]) == (403, "AUTH_002")
    assert (answer.told.limit, answer.told.remaining) == (LIMIT, LIMIT - 2)


def test_a_refusal_for_want_of_a_credential_says_what_is_left(up: Running) -> None:
    """401 has the headers of the address, at the token endpoint too."""
    for count, (path, body) in enumerate([(PRICE, None), (TOKEN, b"{}")], start=1):
        answer = ask(up, path, source="127.0.0.11", body=body)
        assert (answer.status, answer.headers["x-error-code"]) == (401, "AUTH_001")
        assert (answer.told.limit, answer.told.remaining) == (ANONYMOUS_LIMIT, ANONYMOUS_LIMIT - count)


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
def test_rest_streams_say_what_is_left(up: Running, keys: Keys, accept: str) -> None:
    """A stream has the headers in front, while it goes on."""
    with closing(connection_to(up)) as connection:
        connection.request("GET", STREAM, headers={"X-API-Key": keys.fresh.pop(), "Accept": accept})
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.read1(1)
        assert told_by(lowered(answer.getheaders())) == Told(LIMIT, LIMIT - 1, round(WINDOW_SECONDS))


@pytest.mark.parametrize("way", ["engine", "grpc"])
def test_grpc_answers_say_what_is_left(up: Running, keys: Keys, way: str) -> None:
    """Over gRPC an answer has them in its trailing metadata, a failure too, and a stream in its initial metadata."""
    metadata, remaining = [("x-api-key", keys.fresh.pop())], LIMIT
    with grpc.insecure_channel(getattr(up, way)) as channel:
        stub = MarketServiceStub(channel)
        _, call = stub.GetPrice.with_call(market_pb2.GetPriceRequest(symbol="BTC-USDT"), metadata=metadata, timeout=20)
        assert told_by(texts(call.trailing_metadata())).remaining == remaining - 1
        _, call = AccessServiceStub(channel).IssueToken.with_call(
            access_pb2.IssueTokenRequest(), metadata=metadata, timeout=20
        )
        assert told_by(texts(call.trailing_metadata())).remaining == remaining - 2
        for place, symbol in enumerate(("FOO-BAR", "foo"), start=3):
            with pytest.raises(grpc.RpcError) as raised:
                stub.GetPrice(market_pb2.GetPriceRequest(symbol=symbol), metadata=metadata, timeout=20)
            told = texts(raised.value.initial_metadata(), raised.value.trailing_metadata())
            assert told_by(told).remaining == remaining - place
        stream = stub.StreamPrices(market_pb2.StreamPricesRequest(symbols=["BTC-USDT"]), metadata=metadata, timeout=20)
        assert told_by(texts(stream.initial_metadata())).remaining == remaining - 5
        stream.cancel()
        refused = stub.StreamPrices(market_pb2.StreamPricesRequest(symbols=["x"]), metadata=metadata, timeout=20)
        with pytest.raises(grpc.RpcError) as raised:
            next(refused)
        told = texts(raised.value.initial_metadata(), raised.value.trailing_metadata())
        assert told_by(told).remaining == remaining - 6


def test_grpc_web_answers_say_what_is_left(up: Running, keys: Keys) -> None:
    """Over gRPC-Web they are in the trailers in the body, of a good answer and of a bad one among the headers."""
    key = keys.fresh.pop()
    for place, symbol in enumerate(("BTC-USDT", "FOO-BAR"), start=1):
        message = market_pb2.GetPriceRequest(symbol=symbol).SerializeToString()
        answer = ask(
            up,
            f"/{market_pb2.DESCRIPTOR.services_by_name['MarketService'].full_name}/GetPrice",
            key,
            body=struct.pack(">BI", 0, len(message)) + message,
            content_type="application/grpc-web+proto",
            x_grpc_web="1",
        )
        assert answer.status == 200
        assert told_by(answer.headers | web_trailers(answer.content)).remaining == LIMIT - place


def web_trailers(content: bytes) -> dict[str, str]:
    """The trailers in the body of a gRPC-Web answer."""
    found: dict[str, str] = {}
    while content:
        flags, length = struct.unpack(">BI", content[:5])
        frame, content = content[5 : 5 + length], content[5 + length :]
        if flags & 0x80:
            lines = frame.decode().split("\r\n")
            found |= lowered([(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)])
    return found


# --- What is counted, and by whom ---------------------------------------------------------------------------------


def test_nobody_is_counted_by_address(up: Running) -> None:
    """Anonymous callers have a limit for each address; who has used it up hurts no other address."""
    for count in range(1, ANONYMOUS_LIMIT + 1):
        assert ask(up, source="127.0.0.21").told.remaining == ANONYMOUS_LIMIT - count
    answer = ask(up, source="127.0.0.21")
    assert answer.status == 429
    check_refused(answer.body, answer.told)
    other = ask(up, source="127.0.0.22")
    assert (other.status, other.told.remaining) == (401, ANONYMOUS_LIMIT - 1)


def test_an_address_cannot_be_made_up(up: Running) -> None:
    """Headers in which a caller names another address change nothing of whom it counts as."""
    for count, name in enumerate(("x-client-ip", "x-forwarded-for", "x-real-ip", "forwarded"), start=1):
        answer = ask(up, source="127.0.0.23", **{name: f"198.51.100.{count}"})
        assert answer.told.remaining == ANONYMOUS_LIMIT - count


@pytest.mark.parametrize(
    ("source", "headers"),
    [
        ("127.0.0.31", {"X-API-Key": "ek_abcdefghijkl_abcdefghijklmnopqrstuvwxyzabcdef_abcdef"}),
        ("127.0.0.32", {"X-API-Key": "nonsense"}),
        ("127.0.0.33", {"Authorization": "Bearer e30.e30.e30"}),
        ("127.0.0.34", {"Authorization": "Basic " + base64.b64encode(b"user:password").decode()}),
    ],
)
def test_wrong_credentials_are_limited_too(up: Running, source: str, headers: dict[str, str]) -> None:
    """Whoever tries keys or tokens is refused with 401 as often as the address may call, and then with 429."""
    tried = [ask(up, source=source, **headers) for _ in range(ANONYMOUS_LIMIT + 1)]
    assert [answer.status for answer in tried] == [401] * ANONYMOUS_LIMIT + [429]
    check_refused(tried[-1].body, tried[-1].told)


def test_one_caller_never_uses_up_what_another_has(up: Running, keys: Keys) -> None:
    """With its address and another key used up, a caller with a key of its own still has the whole limit."""
    for _ in range(ANONYMOUS_LIMIT + 1):
        spent = ask(up, source="127.0.0.41")
    assert spent.status == 429
    assert [ask(up, key=keys.one, source="127.0.0.41").status for _ in range(2)] == [200, 429]
    answer = ask(up, key=keys.patient, source="127.0.0.41")
    assert (answer.status, answer.told.remaining) == (200, LIMIT - 1)


def test_a_key_with_a_limit_of_its_own_counts_by_itself(up: Running, keys: Keys) -> None:
    """Three requests of a key with that limit are admitted, and a token of it counts as the key; siblings go on."""
    minted = ask(up, TOKEN, keys.own, body=b"{}")
    by_token = ask(up, Authorization=f"Bearer {minted.body['access_token']}")
    by_key = ask(up, key=keys.own)
    assert [answer.told.remaining for answer in (minted, by_token, by_key)] == [2, 1, 0]
    refused = ask(up, Authorization=f"Bearer {minted.body['access_token']}")
    assert refused.told.limit == 3
    check_refused(refused.body, refused.told)
    sibling = ask(up, key=keys.own_sibling)
    assert (sibling.status, sibling.told.limit, sibling.told.remaining) == (200, LIMIT, LIMIT - 1)


def test_keys_of_one_account_share_its_limit(up: Running, keys: Keys) -> None:
    """An account's own limit is for all its keys together."""
    found = [ask(up, key=keys.shared[at % 2]) for at in range(5)]
    assert [answer.status for answer in found] == [200] * 4 + [429]
    assert [answer.told.remaining for answer in found] == [3, 2, 1, 0, 0]
    assert {answer.told.limit for answer in found} == {4}


def test_tokens_are_no_way_around_the_limit(up: Running, keys: Keys) -> None:
    """Each new token costs a request, and all of them count as the key that they were issued for."""
    tokens = [ask(up, TOKEN, keys.minting, body=b"{}") for _ in range(3)]
    answers = [ask(up, Authorization=f"Bearer {token.body['access_token']}") for token in tokens]
    assert [one.told.remaining for one in (*tokens, *answers)] == list(range(49, 43, -1))


def test_a_stream_counts_once(up: Running, keys: Keys) -> None:
    """However many messages a stream sends, it is one request."""
    with closing(connection_to(up)) as connection:
        connection.request("GET", STREAM, headers={"X-API-Key": keys.streaming})
        answer = connection.getresponse()
        assert told_by(lowered(answer.getheaders())).remaining == 2
        for _ in range(5):  # more than the limit
            assert answer.readline()
        assert ask(up, key=keys.streaming).told.remaining == 1


# --- WebSocket ----------------------------------------------------------------------------------------------------


def open_socket(up: Running, key: str | None = None, source: str = "127.0.0.1", **options: Any) -> ClientConnection:
    host, _, port = up.grpc.rpartition(":")
    raw = socket.create_connection((host, int(port)), timeout=20, source_address=(source, 0))
    headers = {} if key is None else {"X-API-Key": key}
    return connect(up.websocket, sock=raw, additional_headers=headers, open_timeout=20, proxy=None, **options)


def test_a_websocket_counts_once(up: Running, keys: Keys) -> None:
    """The handshake is one request and says so in the 101; messages in either direction are none."""
    with open_socket(up, keys.socket) as opened:
        assert opened.response is not None
        told = told_by(lowered(list(opened.response.headers.raw_items())))
        assert (told.limit, told.remaining) == (5, 4)
        assert 1 <= told.reset <= WINDOW_SECONDS
        for number in range(20):
            opened.send(json.dumps({"action": "ping", "id": number}))
            assert json.loads(opened.recv(timeout=20))["type"] == "pong"
        opened.send(json.dumps({"action": "subscribe", "channel": "market", "symbols": ["BTC-USDT", "ETH-USDT"]}))
        for _ in range(7):
            assert "price" in json.loads(opened.recv(timeout=20))
        assert ask(up, key=keys.socket).told.remaining == 3


def test_websockets_of_nobody_are_counted_by_address(up: Running) -> None:
    """Anonymous handshakes and REST calls of an address have one limit together."""
    for count in range(1, ANONYMOUS_LIMIT):
        with open_socket(up, source="127.0.0.51") as opened:
            assert opened.response is not None
            assert told_by(lowered(list(opened.response.headers.raw_items()))).remaining == ANONYMOUS_LIMIT - count
    assert ask(up, source="127.0.0.51").told.remaining == 0
    refused_handshake(up, source="127.0.0.51")


@pytest.mark.parametrize(("source", "key"), [("127.0.0.52", "nonsense"), ("127.0.0.53", "no key at all")])
def test_handshakes_with_wrong_credentials_are_limited_too(up: Running, source: str, key: str) -> None:
    """Whoever tries keys by WebSocket is refused with 401 as often as the address may call, and then with 429."""
    tried: list[int] = []
    for _ in range(ANONYMOUS_LIMIT + 1):
        with pytest.raises(InvalidStatus) as raised:
            open_socket(up, key, source)
        tried.append(raised.value.response.status_code)
    assert tried == [401] * ANONYMOUS_LIMIT + [429]


@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_websocket_beyond_the_limit_is_refused(up: Running, keys: Keys, language: Language) -> None:
    """The handshake is answered by 429 with LIMIT_001 and the same headers as REST, in the caller's language."""
    if ask(up, key=keys.one_by_socket).status == 200:
        assert ask(up, key=keys.one_by_socket).status == 429
    refused_handshake(up, keys.one_by_socket, language=language)


def refused_handshake(
    up: Running, key: str | None = None, source: str = "127.0.0.1", language: Language = "en"
) -> None:
    host, _, port = up.grpc.rpartition(":")
    raw = socket.create_connection((host, int(port)), timeout=20, source_address=(source, 0))
    headers = {"Accept-Language": language} | ({} if key is None else {"X-API-Key": key})
    with pytest.raises(InvalidStatus) as raised:
        connect(up.websocket, sock=raw, additional_headers=headers, open_timeout=20, proxy=None)
    response = raised.value.response
    assert response.status_code == 429
    told = lowered(list(response.headers.raw_items()))
    assert told["x-error-code"] == "LIMIT_001"
    check_refused(json.loads(response.body), told_by(told), language)


def test_authenticating_on_a_websocket_counts(up: Running, keys: Keys) -> None:
    """An `auth` message is a request of whom it names, and is refused with LIMIT_001 beyond their limit."""
    with open_socket(up, source="127.0.0.61") as opened:
        for number, kind in enumerate(("ack", "ack", "error")):
            opened.send(json.dumps({"action": "auth", "api_key": keys.authenticating, "id": number}))
            answer = json.loads(opened.recv(timeout=20))
            assert answer["type"] == kind, answer
        assert answer["details"][0]["reason"] == "LIMIT_001"
        assert ask(up, key=keys.authenticating).status == 429


# --- What is said beyond the limit --------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["engine", "grpc"])
@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_refusal_over_grpc(up: Running, keys: Keys, way: str, language: Language) -> None:
    """Over gRPC a refusal has the same details as over REST, and says in the trailers when to come back."""
    metadata = [("x-api-key", keys.one_by_grpc), ("accept-language", language)]
    ask(up, key=keys.one_by_grpc)
    with grpc.insecure_channel(getattr(up, way)) as channel:
        stub = MarketServiceStub(channel)
        price, stream = market_pb2.GetPriceRequest(symbol="BTC-USDT"), market_pb2.StreamPricesRequest(symbols=["X-Y"])
        for call in (
            lambda: stub.GetPrice(price, metadata=metadata, timeout=20),
            lambda: next(stub.StreamPrices(stream, metadata=metadata, timeout=20)),
        ):
            with pytest.raises(grpc.RpcError) as raised:
                call()
            told = texts(raised.value.initial_metadata(), raised.value.trailing_metadata())
            check_refused(body_of(raised.value), told_by(told), language)
            assert told["x-error-code"] == "LIMIT_001"


def test_a_refusal_in_korean(up: Running, keys: Keys) -> None:
    """A caller who prefers Korean is told of the limit in Korean, of a stream and of the token endpoint too."""
    ask(up, key=keys.one_in_korean)
    for path, body in ((PRICE, None), (STREAM, None), (TOKEN, b"{}")):
        answer = ask(up, path, keys.one_in_korean, body=body, Accept_Language="ko-KR,ko;q=0.9,en;q=0.8")
        assert answer.status == 429
        check_refused(answer.body, answer.told, "ko")
        assert "분당" in answer.body["message"]


def test_the_limit_comes_before_the_request_is_read(up: Running, keys: Keys) -> None:
    """Beyond the limit a malformed request is LIMIT_001 too, and a wrong credential is limited by its address."""
    ask(up, key=keys.one_in_korean)
    answer = ask(up, "/api/v1/market/price/btc", keys.one_in_korean)
    assert (answer.status, answer.headers["x-error-code"]) == (429, "LIMIT_001")
