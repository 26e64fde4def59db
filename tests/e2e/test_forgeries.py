"""Ten thousand forged or damaged credentials, sent over each transport: none is taken, and none does any harm."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import grpc
import pytest
from tests.e2e.conftest import Running, Start
from tests.support.forgeries import Forgery, Genuine, forgeries, good_headers, prepare
from tests.support.raw_http import GET_PRICE, Answer, Headers, Http, Http2
from websockets.asyncio.client import connect

from entasis.market.v1 import market_pb2 as pb

pytestmark = pytest.mark.e2e

WANTED = 10_000
PRICE = "/api/v1/market/price/BTC-USDT"
REQUEST = pb.GetPriceRequest(symbol="BTC-USDT").SerializeToString()
REFUSED = {"AUTH_001", "AUTH_003"}
WHOLE = re.compile(rb"ek_\w{12}_\w{32}_\w{6}|eyJ[\w-]+\.[\w-]+\.[\w-]+")
"""A key, or a token with its signature."""
MESSAGES_PER_SOCKET = 150
"""Fewer than a client may send at once."""

Judged = list[tuple[Forgery, Answer]]


@pytest.fixture(scope="module")
def genuine(tmp_path_factory: pytest.TempPathFactory) -> Genuine:
    return prepare(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def forged(genuine: Genuine) -> list[Forgery]:
    return forgeries(genuine)


@pytest.fixture(scope="module")
def up(start: Start, genuine: Genuine) -> Running:
    return start(
        "up",
        **genuine.settings,
        anonymous_rate_limit_per_minute=1_000_000,
        rate_limit_per_minute=1_000_000,
        market_streams_public=False,
        websocket_auth_seconds=110,
        log_level="warning",
    )


@pytest.fixture(scope="module")
def table() -> Any:
    """What was sent of each kind over each transport; printed at the end."""
    counted: dict[str, Counter[str]] = {}
    yield counted
    kinds = sorted({kind for counter in counted.values() for kind in counter})
    print(f"\n\n{'':38}" + "".join(f"{transport:>14}" for transport in counted))
    for kind in kinds:
        print(f"{kind:38}" + "".join(f"{counter[kind]:14}" for counter in counted.values()))
    print(f"{'all':38}" + "".join(f"{counter.total():14}" for counter in counted.values()))


async def spread(work: Iterable[Forgery], workers: Sequence[Callable[[Forgery], Awaitable[Answer]]]) -> Judged:
    """Have each forgery judged by whichever worker is free."""
    left = iter(work)
    judged: Judged = []

    async def go_on(judge: Callable[[Forgery], Awaitable[Answer]]) -> None:
        for forgery in left:
            judged.append((forgery, await judge(forgery)))

    async with asyncio.TaskGroup() as tasks:
        for worker in workers:
            tasks.create_task(go_on(worker))
    return judged


def demand(judged: Judged, allowed: Callable[[Forgery, Answer], bool]) -> None:
    """Each answer is a refusal as documented."""
    wrong = [(forgery, answer) for forgery, answer in judged if not allowed(forgery, answer)]
    summary = Counter((forgery.kind, answer.status, answer.reason) for forgery, answer in wrong)
    shown = "\n".join(f"{str(forgery)[:300]} -> {str(answer)[:200]}" for forgery, answer in wrong[:10])
    assert not wrong, f"{len(wrong)} of {len(judged)}: {summary.most_common(30)}\n{shown}"


def by_http(forgery: Forgery) -> bool:
    """Whether it holds what HTTP itself may refuse: signs that no header may have, or too many of them."""
    texts = [value for _, value in forgery.headers]
    odd = any(byte < 0x20 or byte > 0x7E for value in texts for byte in value)
    return odd or sum(map(len, texts)) > 8000 or any("_" in name for name, _ in forgery.headers)


def tell(table: dict[str, Counter[str]], transport: str, judged: Judged, began: float) -> None:
    table[transport] = Counter(forgery.kind for forgery, _ in judged)
    answers = Counter(f"{answer.status} {answer.reason}".strip() for _, answer in judged)
    told = ", ".join(f"{count} × {answer}" for answer, count in answers.most_common())
    print(f"\n{transport}: {len(judged)} in {time.monotonic() - began:.1f} s: {told}")


# REST ----------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def over_rest(up: Running, count: int = 32) -> AsyncIterator[list[Http]]:
    opened = [Http(up.grpc) for _ in range(count)]
    yield opened
    for one in opened:
        one.close()


def rest_refusal(forgery: Forgery, answer: Answer) -> bool:
    if answer.status in {"401", "403"}:
        return answer.reason in REFUSED
    itself = {("400", "REQUEST_001"), ("431", "REQUEST_004")}
    return (answer.status, answer.reason) in itself and (by_http(forgery) or bool(forgery.query))


async def test_rest_takes_no_forgery(
    up: Running, genuine: Genuine, forged: list[Forgery], table: dict[str, Counter[str]]
) -> None:
    """Each gets 401 or 403, or 400 or 431 where HTTP itself refuses it; the good ones get 200 before and after."""
    carried = [one for one in forged if not one.lost_on_the_way]
    assert len(carried) >= WANTED
    async with over_rest(up) as connections:
        await demand_good(genuine, lambda headers: connections[0].get(PRICE, headers), "200")

        def judging(http: Http) -> Callable[[Forgery], Awaitable[Answer]]:
            def judge(forgery: Forgery) -> Awaitable[Answer]:
                query = f"?{urlencode(forgery.query)}" if forgery.query else ""
                return http.get(PRICE + query, forgery.headers)

            return judge

        began = time.monotonic()
        judged = await spread(carried, [judging(http) for http in connections])
        tell(table, "REST", judged, began)
        await demand_good(genuine, lambda headers: connections[0].get(PRICE, headers), "200")
    demand(judged, rest_refusal)


async def demand_good(genuine: Genuine, send: Callable[[Headers], Awaitable[Answer]], status: str) -> None:
    """The good credentials are taken, in each form: else nothing would be shown by refusals."""
    for headers in good_headers(genuine):
        answer = await send(headers)
        assert (answer.status, answer.reason) == (status, ""), (headers, answer)


# gRPC ----------------------------------------------------------------------------------------------------------------


def by_library(channel: grpc.aio.Channel) -> Callable[[Headers], Awaitable[Answer]]:
    call = channel.unary_unary(GET_PRICE)

    async def send(metadata: Headers) -> Answer:
        try:
            await call(REQUEST, metadata=[(name, value.decode("ascii")) for name, value in metadata], timeout=20)
        except grpc.aio.AioRpcError as error:
            told = dict(error.initial_metadata() or ()) | dict(error.trailing_metadata() or ())
            return Answer(error.code().name, str(told.get("x-error-code", "")))
        return Answer("OK")

    return send


def by_hand(http2: Http2) -> Callable[[Headers], Awaitable[Answer]]:
    async def send(metadata: Headers) -> Answer:
        answer = await http2.call(GET_PRICE, metadata, REQUEST)
        names = {str(code.value[0]): code.name for code in grpc.StatusCode}
        return answer._replace(status=names.get(answer.status, answer.status))

    return send


def of_metadata(send: Callable[[Headers], Awaitable[Answer]]) -> Callable[[Forgery], Awaitable[Answer]]:
    def judge(forgery: Forgery) -> Awaitable[Answer]:
        return send(forgery.metadata or ())

    return judge


def sendable(forgery: Forgery) -> bool:
    """Whether gRPC's own client sends it: printable ASCII."""
    return all(0x20 <= byte <= 0x7E for _, value in forgery.metadata or () for byte in value)


def grpc_refusal(forgery: Forgery, answer: Answer) -> bool:
    if answer.status in {"UNAUTHENTICATED", "PERMISSION_DENIED"}:
        return answer.reason in REFUSED
    # Envoy ends a call by HTTP/2 that has such a header, and gRPC has but one word for that.
    return answer.status == "INTERNAL" and any("_" in name for name, _ in forgery.metadata or ())


async def test_grpc_takes_no_forgery(
    up: Running, genuine: Genuine, forged: list[Forgery], table: dict[str, Counter[str]]
) -> None:
    """Each is UNAUTHENTICATED or PERMISSION_DENIED at the engine's port, whether or not a client library sends it."""
    carried = [one for one in forged if one.metadata is not None]
    assert len(carried) >= WANTED
    connections = [Http2(up.engine) for _ in range(8)]
    async with grpc.aio.insecure_channel(up.engine) as channel:
        for send in (by_library(channel), by_hand(connections[0])):
            await demand_good(genuine, send, "OK")
        began = time.monotonic()
        judged = await spread(filter(sendable, carried), [of_metadata(by_library(channel))] * 64)
        odd = [one for one in carried if not sendable(one)]
        judged += await spread(odd, [of_metadata(by_hand(http2)) for http2 in connections])
        tell(table, "gRPC", judged, began)
        for send in (by_library(channel), by_hand(connections[0])):
            await demand_good(genuine, send, "OK")
    for http2 in connections:
        http2.close()
    demand(judged, grpc_refusal)


async def test_grpc_through_envoy_takes_no_forgery(
    up: Running, genuine: Genuine, forged: list[Forgery], table: dict[str, Counter[str]]
) -> None:
    """The same through Envoy, of a share of them and of every kind."""
    able = [one for one in forged if one.metadata is not None and sendable(one) and not one.lost_on_the_way]
    kinds = Counter[str]()
    carried = []
    for forgery in able:
        kinds[forgery.kind] += 1
        if kinds[forgery.kind] <= 40 or kinds[forgery.kind] % 6 == 0:
            carried.append(forgery)
    async with grpc.aio.insecure_channel(up.grpc) as channel:
        send = by_library(channel)
        await demand_good(genuine, send, "OK")
        began = time.monotonic()
        judged = await spread(carried, [of_metadata(send)] * 64)
        tell(table, "gRPC by Envoy", judged, began)
        await demand_good(genuine, send, "OK")
    demand(judged, grpc_refusal)


# WebSocket -----------------------------------------------------------------------------------------------------------


def websocket_refusal(forgery: Forgery, answer: Answer) -> bool:
    if answer.status == "101":  # an anonymous socket, which may not do anything
        return forgery.misplaced and answer.reason == "AUTH_001"
    if answer.status in {"401", "403"}:
        return answer.reason in REFUSED
    # What no subprotocol may be named is refused as a malformed handshake.
    return (answer.status, answer.reason) in {("400", "REQUEST_001"), ("431", "REQUEST_004")} and (
        by_http(forgery) or forgery.subprotocols is not None
    )


async def taken(http: Http, headers: Headers) -> Answer:
    """The answer to a handshake with good credentials: that the subscription brings a price counts as no error."""
    answer = await http.open_websocket(headers)
    return answer._replace(status="price" if b'"price"' in answer.body else answer.status)


async def judge_messages(up: Running, forged: Iterable[Forgery]) -> Judged:
    """Send forgeries as `auth` messages over one socket, which stays anonymous."""
    judged: Judged = []
    async with connect(up.websocket, compression=None) as socket:

        async def ask(message: dict[str, Any]) -> Answer:
            await socket.send(json.dumps(message, ensure_ascii=message.get("id", 0) % 2 == 0))
            told = json.loads(await asyncio.wait_for(socket.recv(), 20))
            assert told.get("id") == message.get("id"), told
            reasons = [detail["reason"] for detail in told.get("details", ()) if "reason" in detail]
            return Answer(str(told.get("type")), reasons[0] if reasons else "")

        for number, forgery in enumerate(forged):
            answer = await ask({"action": "auth", "id": number} | (forgery.message or {}))
            judged.append((forgery, answer))
        answer = await ask({"action": "subscribe", "channel": "market", "symbol": "BTC-USDT", "id": len(judged)})
        assert answer == Answer("error", "AUTH_001"), answer
    return judged


async def test_websocket_takes_no_forgery_as_message(
    up: Running, genuine: Genuine, forged: list[Forgery], table: dict[str, Counter[str]]
) -> None:
    """Each `auth` message with a forgery is answered by AUTH_001, and the socket stays anonymous."""
    carried = [one for one in forged if one.message is not None][::2]
    portions = [carried[start::40] for start in range(40)]
    assert max(map(len, portions)) < MESSAGES_PER_SOCKET
    await demand_good_messages(up, genuine)
    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        judging = [tasks.create_task(judge_messages(up, portion)) for portion in portions]
    judged = [one for task in judging for one in task.result()]
    tell(table, "auth message", judged, began)
    await demand_good_messages(up, genuine)
    malformed = {Answer("error", "REQUEST_001"), *(Answer("error", reason) for reason in REFUSED)}
    demand(judged, lambda _forgery, answer: answer in malformed)


async def demand_good_messages(up: Running, genuine: Genuine) -> None:
    for headers in good_headers(genuine):
        message = Forgery("", headers).message
        async with connect(up.websocket, compression=None) as socket:
            await socket.send(json.dumps({"action": "auth", "id": 1, **(message or {})}))
            told = json.loads(await socket.recv())
            assert (told["type"], told.get("account")) == ("ack", genuine.account), told


async def test_websocket_takes_no_forgery_in_the_handshake(
    up: Running, genuine: Genuine, forged: list[Forgery], table: dict[str, Counter[str]]
) -> None:
    """Each handshake with a forgery, in a header or as a subprotocol, is refused, or the socket may do nothing."""
    as_messages = {id(one) for one in [one for one in forged if one.message is not None][::2]}
    carried = [one for one in forged if id(one) not in as_messages and not one.lost_on_the_way and not one.query]
    assert len(carried) + len(as_messages) >= WANTED
    async with over_rest(up) as connections:

        async def demand_good_handshakes() -> None:
            await demand_good(genuine, lambda headers: taken(connections[0], headers), "price")
            for headers in good_headers(genuine):
                offer = Forgery("", headers).subprotocols
                assert offer is not None
                answer = await taken(connections[0], (("sec-websocket-protocol", offer),))
                assert answer.status == "price", answer

        def judging(http: Http) -> Callable[[Forgery], Awaitable[Answer]]:
            def judge(forgery: Forgery) -> Awaitable[Answer]:
                offer = forgery.subprotocols
                offered = offer is not None and sum(map(len, forgery.headers[0])) % 2 == 0
                headers = (("sec-websocket-protocol", offer),) if offer and offered else forgery.headers
                return http.open_websocket(headers)

            return judge

        await demand_good_handshakes()
        began = time.monotonic()
        judged = await spread(carried, [judging(http) for http in connections])
        tell(table, "handshake", judged, began)
        await demand_good_handshakes()
    demand(judged, websocket_refusal)


def test_the_engine_says_of_none_that_it_failed(up: Running) -> None:
    """Not one of them is a defect: no error is logged, nor any traceback."""
    assert up.process.poll() is None
    assert not [line for line in up.lines if "error" in line.lower() or "traceback" in line.lower()]


def test_no_credential_is_written_anywhere(up: Running, genuine: Genuine) -> None:
    """Neither on the screen nor in the data folder is a whole key or token, though another sign stood beside it."""
    said = "".join(up.lines).encode()
    written = {str(path): path.read_bytes() for path in genuine.folder.rglob("*") if path.is_file()}
    assert len(written) > 3
    found = {name: len(WHOLE.findall(text)) for name, text in ({"the screen": said} | written).items()}
    assert not any(found.values()), found
