"""The Python client against a real engine and a real Envoy: engines that are killed, connections that are cut, replies
that never come.

ENTASIS_CLIENT_KILLS (2) says how often the engine is killed in mid-stream, ENTASIS_CLIENT_CUTS (10) how often the
connection is cut.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.e2e.conftest import Running, Start
from tests.support.access import blocking_channel
from tests.support.ledger_load import free_port

from entasis.market.v1 import market_pb2 as pb
from entasis.market.v1.market_pb2_grpc import MarketServiceStub
from entasis_client import (
    AuthenticationError,
    Backoff,
    CandleUpdate,
    DeadlineError,
    Entasis,
    Gap,
    InvalidRequestError,
    MissedCandles,
    PositionUpdate,
    PriceUpdate,
    Reconnected,
    RefusedError,
    UnavailableError,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

KILLS = int(os.environ.get("ENTASIS_CLIENT_KILLS", "2"))
CUTS = int(os.environ.get("ENTASIS_CLIENT_CUTS", "10"))
SYMBOLS = ("BTC-USDT", "ETH-USDT")
SPEED = 60
"""So that there are about a hundred trades and one candle a second."""
MINUTE = timedelta(minutes=1)
SECONDS = 60.0
QUICK = Backoff(first_seconds=0.05, longest_seconds=0.5)
PROGRAM = Path(__file__).parents[1] / "stubs" / "python" / "trade.py"
Seen = dict[str, dict[int, tuple[Decimal, Decimal]]]
"""Price and volume of each trade, by symbol and number."""


@dataclass
class Place:
    """An engine that can be killed and comes back where it was, and an Envoy before it that stays."""

    start: Start
    settings: dict[str, object]
    engine: Running
    edge: Running

    @property
    def key(self) -> str:
        return self.edge.key

    @property
    def engine_address(self) -> str:
        return f"127.0.0.1:{self.settings['grpc_port']}"

    @property
    def envoy_address(self) -> str:
        return self.edge.grpc

    def kill(self) -> None:
        os.kill(self.engine.process.pid, signal.SIGKILL)
        self.engine.process.wait(timeout=20)

    def start_again(self) -> None:
        self.engine = self.start("serve", "engine", fresh=True, **self.settings)
        self.engine.until_said("Entasis is up")


@pytest.fixture(scope="module")
def place(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Place:
    settings: dict[str, object] = {
        "data_dir": tmp_path_factory.mktemp("client"),
        "grpc_port": free_port(),
        "symbols": ",".join(SYMBOLS),
        "simulated_speed": SPEED,
        "simulated_origin": datetime.now(UTC).isoformat(),
        "token_seconds": 3,
        "anonymous_rate_limit_per_minute": 1_000_000,
    }
    engine = start("serve", "engine", fresh=True, **settings)
    engine.until_said("Entasis is up")
    edge = start("serve", "edge", data_dir=settings["data_dir"])
    edge.until_said("Entasis is up")
    place = Place(start, settings, engine, edge)
    for address in (place.engine_address, place.envoy_address):  # the key is new
        asyncio.run(_until_known(address, place.key))
    return place


async def _until_known(address: str, key: str) -> None:
    async with Entasis(address, api_key=key) as client:
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                await client.instruments()
                return
            except AuthenticationError:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)


class Told:
    """What a stream has told so far, gathered by a task of the test."""

    def __init__(self, events: Any) -> None:
        self._events = events
        self.list: list[Any] = []
        self._more = asyncio.Condition()
        self.task = asyncio.ensure_future(self._gather())

    async def _gather(self) -> None:
        async with aclosing(self._events) as events:
            async for event in events:
                async with self._more:
                    self.list.append(event)
                    self._more.notify_all()

    async def until(self, holds: Callable[[list[Any]], bool]) -> None:
        """Wait until what was told fulfils something; fails where the stream ends."""
        async with asyncio.timeout(SECONDS), self._more:
            while not holds(self.list):
                if self.task.done():
                    self.task.result()
                    raise AssertionError("the stream has ended")
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._more.wait(), 0.5)

    async def grow(self, updates: int, kind: type[Any] = PriceUpdate) -> None:
        """Wait for so many updates more."""
        await self.more(kind, self.count(kind) + updates - 1)

    async def more(self, kind: type[Any], than: int) -> None:
        """Wait until there are more events of a kind than so many."""
        await self.until(lambda _: self.count(kind) > than)

    def count(self, kind: type[Any]) -> int:
        return sum(isinstance(event, kind) for event in self.list)

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class Witness:
    """An independent reader: grpcio's own stubs in a thread, on one connection, as long as that holds."""

    def __init__(self, address: str, key: str, seen: Seen) -> None:
        self._seen = seen
        self._channel = blocking_channel(address, key)
        self._call = MarketServiceStub(self._channel).StreamPrices(pb.StreamPricesRequest(symbols=SYMBOLS))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(grpc.RpcError):
            for message in self._call:
                for one in message.updates:
                    self._seen[one.symbol][one.seq] = (Decimal(one.price), Decimal(one.volume))

    def end(self) -> None:
        self._call.cancel()
        self._thread.join(timeout=20)
        self._channel.close()


def judged(events: list[Any], seen: Seen) -> tuple[int, int]:
    """How many updates and gaps there are, once they are consistent: numbers of each symbol grow by one, but where a
    Gap says otherwise, and what the witness saw is told unless it lies in a Gap.
    """
    last: dict[str, int] = {}
    gap: dict[str, Gap] = {}
    told: Seen = defaultdict(dict)
    gaps: list[Gap] = []
    for event in events:
        if isinstance(event, Gap):
            assert event.last_seq == last[event.symbol]
            gap[event.symbol] = event
            gaps.append(event)
        elif isinstance(event, PriceUpdate):
            before = last.get(event.symbol)
            said = gap.pop(event.symbol, None)
            if said is not None:
                assert event.seq == said.first_seq > said.last_seq + 1
            elif before is not None:
                assert event.seq == before + 1, f"{event.symbol}: {before} and then {event.seq} without a word"
            last[event.symbol] = event.seq
            told[event.symbol][event.seq] = (event.price, event.volume)
    for symbol in SYMBOLS:
        lost = [(one.last_seq, one.first_seq) for one in gaps if one.symbol == symbol]
        within = {seq: one for seq, one in seen[symbol].items() if min(told[symbol]) <= seq <= max(told[symbol])}
        for seq, one in within.items():
            if seq in told[symbol]:
                assert told[symbol][seq] == one
            else:
                assert any(before < seq < after for before, after in lost), f"{symbol} {seq} was lost without a word"
        assert len(within) > 20, "the witness saw nothing"
    return sum(map(len, told.values())), len(gaps)


def candles_judged(events: list[Any]) -> tuple[dict[str, dict[datetime, CandleUpdate]], int, int]:
    """Each symbol's closes, how many of them came from the history, and how many are told as missed: of all that closed
    between the first and the last, each is one of them, and none is given twice.
    """
    closes: dict[str, dict[datetime, CandleUpdate]] = {symbol: {} for symbol in SYMBOLS}
    missed: dict[str, set[datetime]] = {symbol: set() for symbol in SYMBOLS}
    for event in events:
        if isinstance(event, MissedCandles):
            assert event.error is None
            missed[event.symbol] |= set(event.open_times)
        elif isinstance(event, CandleUpdate) and event.closed:
            assert event.candle.timestamp not in closes[event.symbol], "a close is told twice"
            closes[event.symbol][event.candle.timestamp] = event
    for symbol, known in closes.items():
        first, last = min(known), max(known)
        every = {first + number * MINUTE for number in range((last - first) // MINUTE + 1)}
        assert every <= known.keys() | missed[symbol], "a close was lost without a word"
        missed[symbol] -= known.keys()
    filled = sum(one.seq == 0 for known in closes.values() for one in known.values())
    return closes, filled, sum(map(len, missed.values()))


async def test_a_killed_engine_loses_no_update_without_a_word(place: Place) -> None:
    """Streams of prices, books, candles and positions go on after the engine was killed and started again, directly and
    through Envoy: no update is lost without a Gap, none is doubled, and no close of a candle is missing.
    """
    chance = random.Random(5)
    seen: Seen = defaultdict(dict)
    # Through Envoy with tokens that live for three seconds, so that streams may end for that, too.
    direct = Entasis(place.engine_address, api_key=place.key, backoff=QUICK)
    behind = Entasis(place.envoy_address, api_key=place.key, exchange_key=True, backoff=QUICK)
    async with direct, behind:
        prices = [Told(client.stream_prices(SYMBOLS)) for client in (direct, behind)]
        candles = [Told(client.stream_candles(SYMBOLS)) for client in (direct, behind)]
        books, positions = Told(behind.stream_order_books("BTC-USDT", 5)), Told(behind.stream_positions())
        every = [*prices, *candles, books, positions]
        opened: list[str] = []
        for _kill in range(KILLS):
            witness = await asyncio.to_thread(Witness, place.engine_address, place.key, seen)
            for told in prices:
                await told.grow(150)
            opened.append((await behind.open_position("BTC-USDT", "0.001")).position_id)
            await positions.until(lambda list_: opened[-1] in _positions_told(list_))
            await asyncio.sleep(chance.uniform(0, 0.4))  # the moment of the kill is what is being tried
            outages = [told.count(Reconnected) for told in every]
            await asyncio.to_thread(place.kill)
            await asyncio.to_thread(witness.end)
            await asyncio.to_thread(place.start_again)
            for told, before in zip(every, outages, strict=True):
                await told.more(Reconnected, before)
        for told in (*prices, *candles):
            await told.grow(50, PriceUpdate if told in prices else CandleUpdate)
        for told in candles:
            await told.until(_is_filled_in)
        await positions.until(lambda list_: set(opened) <= _positions_in_last_snapshot(list_))
        for position_id in opened:
            await direct.close_position(position_id)
        for told in every:
            await told.end()
        figures = [judged(told.list, seen) for told in prices]
        assert all(gaps == KILLS * len(SYMBOLS) for _, gaps in figures), "each restart numbers anew, and nothing else"
        numbers = [event.seq for event in books.list if hasattr(event, "seq")]
        assert all(one < two for one, two in pairwise(numbers))
        print()
        for name, told, (updates, gaps) in zip(("direct", "Envoy"), prices, figures, strict=True):
            print(
                f"{name}: {KILLS} kills, {told.count(Reconnected)} reconnects, {updates} updates, {gaps} gaps, all told"
            )
        for told in candles:
            closes, filled, missed = candles_judged(told.list)
            count = sum(map(len, closes.values()))
            print(f"candles: {count} closes, {filled} of them filled in, {missed} missed and told")
            for symbol, known in closes.items():
                history = direct.history(symbol, "1m", start=min(known), end=max(known) + MINUTE, page_size=1000)
                kept = {candle.timestamp: candle async for candle in history}
                assert {when: one.candle for when, one in known.items()} == {when: kept[when] for when in known}


def _is_filled_in(events: list[Any]) -> bool:
    """Whether what closed before the last connection was looked up a second time, where the history lacked it: at the
    latest when the candle after next is in progress.
    """
    last = max(number for number, one in enumerate(events) if isinstance(one, Reconnected))
    opens: defaultdict[str, list[datetime]] = defaultdict(list)
    for event in events[last:]:
        if isinstance(event, CandleUpdate) and not event.closed:
            opens[event.symbol].append(event.candle.timestamp)
    return all(opens[symbol] and opens[symbol][-1] > opens[symbol][0] + 2 * MINUTE for symbol in SYMBOLS)


def _positions_told(events: list[Any]) -> set[str]:
    return {one.position_id for event in events if isinstance(event, PositionUpdate) for one in event.positions}


def _positions_in_last_snapshot(events: list[Any]) -> set[str]:
    snapshots = [event for event in events if isinstance(event, PositionUpdate) and event.event == "snapshot"]
    return {one.position_id for one in snapshots[-1].positions}


class Relay:
    """Passes bytes on between clients and a server, cuts connections when told, and can hold answers back."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self.address = ""
        self.connections = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, target: str) -> AsyncIterator[Relay]:
        relay = cls(target)
        server = await asyncio.start_server(relay._serve, "127.0.0.1", 0)
        relay.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield relay
        finally:
            server.close()
            relay.cut()

    def cut(self) -> None:
        """Reset every connection, in the middle of whatever it carries."""
        for writer in self._writers:
            writer.transport.abort()

    def hold_answers(self) -> None:
        self._passing.clear()

    def pass_answers(self) -> None:
        self._passing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        onward_reader, onward_writer = await asyncio.open_connection(self._host, self._port)
        both = {writer, onward_writer}
        self._writers |= both
        try:
            with suppress(OSError, ExceptionGroup):
                async with asyncio.TaskGroup() as owner:
                    owner.create_task(self._pass(reader, onward_writer, onwards=True))
                    owner.create_task(self._pass(onward_reader, writer, onwards=False))
        finally:
            self._writers -= both
            for one in both:
                one.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, onwards: bool) -> None:
        while data := await reader.read(65_536):
            if not onwards:
                await self._passing.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionError("one side has ended, and so does the other")


@pytest.mark.parametrize("through", ["engine", "Envoy"])
async def test_a_connection_that_is_cut_costs_nothing(place: Place, through: str) -> None:
    """While the engine lives, a stream whose connection is cut again and again has every update once, without a Gap."""
    chance = random.Random(9)
    seen: Seen = defaultdict(dict)
    target = place.engine_address if through == "engine" else place.envoy_address
    witness = await asyncio.to_thread(Witness, place.engine_address, place.key, seen)
    async with Relay.open(target) as relay, Entasis(relay.address, api_key=place.key, backoff=QUICK) as client:
        prices, positions = Told(client.stream_prices(SYMBOLS)), Told(client.stream_positions())
        await prices.grow(50)
        for _cut in range(CUTS):
            before = prices.count(Reconnected)
            await asyncio.sleep(chance.uniform(0, 0.1))  # the moment of the cut is what is being tried
            relay.cut()
            await prices.more(Reconnected, before)
            await prices.grow(chance.randrange(1, 30))
        await positions.until(lambda _: positions.count(Reconnected) >= 1)
        await prices.grow(50)
        await prices.end()
        await positions.end()
    await asyncio.to_thread(witness.end)
    updates, gaps = judged(prices.list, seen)
    assert gaps == 0
    print(f"\n{through}: {CUTS} cuts, {prices.count(Reconnected)} reconnects, {updates} updates, 0 lost, 0 doubled")


async def test_a_reader_that_is_away_too_long_is_told(place: Place) -> None:
    """Whoever comes back after more updates than the engine remembers gets a Gap for each symbol, and goes on."""
    seen: Seen = defaultdict(dict)
    async with (
        Relay.open(place.engine_address) as relay,
        Entasis(relay.address, api_key=place.key, backoff=QUICK) as client,
        Entasis(place.engine_address, api_key=place.key) as other,
    ):
        prices, watch = Told(client.stream_prices(SYMBOLS)), Told(other.stream_prices(SYMBOLS))
        await prices.grow(50)
        relay.hold_answers()
        await watch.until(lambda events: all(_count(events, symbol) > 1200 for symbol in SYMBOLS))
        for event in watch.list:
            if isinstance(event, PriceUpdate):
                seen[event.symbol][event.seq] = (event.price, event.volume)
        relay.cut()
        relay.pass_answers()
        await prices.until(lambda _: prices.count(Gap) >= len(SYMBOLS))
        await prices.grow(50)
        await prices.end()
        await watch.end()
    assert judged(prices.list, seen)[1] == len(SYMBOLS)


def _count(events: list[Any], symbol: str) -> int:
    return sum(isinstance(event, PriceUpdate) and event.symbol == symbol for event in events)


async def test_a_stream_outlives_its_token(place: Place) -> None:
    """The engine ends a stream whose token expires; the client goes on with a new one, and has every update once."""
    seen: Seen = defaultdict(dict)
    witness = await asyncio.to_thread(Witness, place.engine_address, place.key, seen)
    async with Entasis(place.envoy_address, api_key=place.key, exchange_key=True, backoff=QUICK) as client:
        prices = Told(client.stream_prices(SYMBOLS))
        await prices.more(Reconnected, 0)
        await prices.grow(50)
        await prices.end()
    await asyncio.to_thread(witness.end)
    assert {event.error.reason for event in prices.list if isinstance(event, Reconnected)} == {"AUTH_001"}
    assert judged(prices.list, seen)[1] == 0


async def test_a_write_whose_reply_is_cut_is_done_once(place: Place) -> None:
    """Where the engine opened a position and the reply was cut, the client's next attempt gets the first answer."""
    async with (
        Relay.open(place.envoy_address) as relay,
        Entasis(relay.address, api_key=place.key, backoff=QUICK) as client,
        Entasis(place.engine_address, api_key=place.key) as other,
    ):
        await client.balance()
        before = {one.position_id async for one in other.positions("all")}
        answered: list[str] = []
        for number in range(3):
            relay.hold_answers()
            call = asyncio.ensure_future(client.open_position("BTC-USDT", Decimal("0.00100"), leverage=2))
            async with asyncio.timeout(SECONDS):
                while len(before | {one.position_id async for one in other.positions("all")}) <= len(before) + number:
                    await asyncio.sleep(0.02)
            assert not call.done()
            relay.cut()
            relay.pass_answers()
            answered.append((await call).position_id)
        after = {one.position_id async for one in other.positions("all")}
        assert len(set(answered)) == 3
        assert after - before == set(answered)
        assert relay.connections >= 4
        for position_id in answered:
            closed = await client.close_position(position_id)
            assert (closed.size, closed.open_size) == (Decimal("0.001"), Decimal(0))
            fills = [one async for one in other.trades(position_id, page_size=1)]
            assert [one.kind for one in fills] == ["close", "open"]


async def test_a_key_of_ones_own_is_used(place: Place) -> None:
    """Two calls with one idempotency key are one position; another request with it is refused."""
    async with Entasis(place.envoy_address, api_key=place.key) as client:
        key = f"mine-{time.time_ns()}"
        first = await client.open_position("BTC-USDT", "0.001", idempotency_key=key)
        assert await client.open_position("BTC-USDT", "0.001", idempotency_key=key) == first
        with pytest.raises(RefusedError, match="REQUEST_005"):
            await client.open_position("BTC-USDT", "0.002", idempotency_key=key)
        await client.close_position(first.position_id)


async def test_errors_come_as_exceptions(place: Place) -> None:
    """A wrong key, a malformed symbol and a balance that is too small: kind, reason, fields and request id."""
    # A second attempt would take an hour.
    slow = Backoff(first_seconds=3600, longest_seconds=3600)
    for exchange_key in (False, True):
        wrong = Entasis(place.envoy_address, api_key=place.key[:-1], exchange_key=exchange_key, backoff=slow)
        async with wrong as client:
            with pytest.raises(AuthenticationError) as refused:
                await client.price("BTC-USDT")
            assert refused.value.reason == "AUTH_001"
            with pytest.raises(AuthenticationError):
                await anext(client.stream_prices(SYMBOLS))
    async with Entasis(place.envoy_address, api_key=place.key, backoff=slow, language="ko") as client:
        with pytest.raises(InvalidRequestError) as malformed:
            await client.price("btc")
        assert malformed.value.reason == "MARKET_001"
        assert [one.field for one in malformed.value.violations] == ["symbol"]
        assert malformed.value.metadata == {"symbol": "btc"}
        assert malformed.value.request_id
        assert re.search("[가-힣]", malformed.value.message)
        with pytest.raises(InvalidRequestError):
            await anext(client.stream_candles("btc"))
        with pytest.raises(RefusedError) as poor:
            await client.open_position("BTC-USDT", 5)
        assert poor.value.reason == "PORT_001"
        assert Decimal(poor.value.metadata["required"]) > Decimal(poor.value.metadata["available"])


async def test_a_call_has_a_deadline(place: Place) -> None:
    """An engine that does not answer is waited for as long as was said, and no longer."""
    async with Relay.open(place.envoy_address) as relay, Entasis(relay.address, api_key=place.key) as client:
        await client.price("BTC-USDT")
        relay.hold_answers()
        begun = time.monotonic()
        with pytest.raises(DeadlineError):
            await client.price("BTC-USDT", timeout=0.3)
        assert 0.2 < time.monotonic() - begun < 5
        relay.pass_answers()
        assert (await client.price("BTC-USDT")).symbol == "BTC-USDT"


async def test_closing_the_client_ends_its_streams(place: Place) -> None:
    """A reader that waits in its loop comes to the end of it, and is not cancelled."""
    client = Entasis(place.envoy_address, api_key=place.key)
    told = Told(client.stream_positions())
    await told.until(lambda events: len(events) > 0)
    await client.close()
    async with asyncio.timeout(SECONDS):
        await told.task
    assert not told.task.cancelled()


async def test_the_server_must_prove_itself(tmp_path: Path) -> None:
    """Over TLS the client speaks to a server whose certificate the given authority signed, and to no other."""
    for name in ("ours", "other"):
        command = [Path(sys.executable).parent / "entasis", "certs", "--out", tmp_path / name]
        subprocess.run([str(one) for one in command], check=True, capture_output=True, timeout=60)
    pair = [(tmp_path / "ours" / f"server.{kind}").read_bytes() for kind in ("key", "pem")]
    server = grpc.aio.server()
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(pair[0], pair[1])]))

    async def instruments(request: bytes, context: Any) -> bytes:
        return pb.ListInstrumentsResponse(instruments=[LISTED]).SerializeToString()

    handler: Any = grpc.unary_unary_rpc_method_handler(instruments)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("entasis.market.v1.MarketService", {"ListInstruments": handler})]
    )
    await server.start()
    try:
        async with Entasis(f"localhost:{port}", ca_file=tmp_path / "ours" / "ca.pem") as client:
            assert [one.symbol for one in await client.instruments()] == ["BTC-USDT"]
        for refusing in ({"ca_file": tmp_path / "other" / "ca.pem"}, {"tls": True}, {}):
            async with Entasis(f"localhost:{port}", timeout=0.5, **refusing) as client:
                with pytest.raises((UnavailableError, DeadlineError)):
                    await client.instruments()
    finally:
        await server.stop(None)


LISTED = pb.Instrument(symbol="BTC-USDT", tick_size="0.01", lot_size="0.00001", max_leverage="20")


def test_the_short_program_prints_its_lines(place: Place) -> None:
    """tests/stubs/python/trade.py does everything once, says one line for each, and ends well."""
    done = _run(place.envoy_address, place.key)
    assert done.returncode == 0, done.stdout + done.stderr
    patterns = [
        r"price BTC-USDT \d+\.\d{2,}",
        r"history 5 candles, last close \d+\.\d{2,}",
        r"opened (pos_\w+) at \d+\.\d{2,}",
        r"closed (pos_\w+) pnl -?\d+(\.\d+)?",
        r"prediction (unavailable AI_\d{3}|\d+\.\d{2,} confidence 0\.\d{2} timeframe 1h model ensemble)",
        *[r"stream BTC-USDT \d{16} \d+\.\d{2,}"] * 3,
        r"error PORT_001 Insufficient balance: .+",
        "done",
    ]
    lines = done.stdout.splitlines()
    assert len(lines) == len(patterns), done.stdout
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), line


def test_the_short_program_tells_an_error(place: Place) -> None:
    """With a key that is not valid it ends with 1 and the words of the error."""
    done = _run(place.envoy_address, "ek_wrong")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error AUTH_001 Not authenticated: the API key is not valid\n"


def _run(address: str, key: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"ENTASIS_ADDRESS": address, "ENTASIS_KEY": key}
    command = [sys.executable, str(PROGRAM)]
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=60)
