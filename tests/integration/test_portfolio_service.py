"""The portfolio in process, on a market that the test makes: exact money, and what the mark does to positions."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.access import make_key, sending
from tests.support.market import NOON, ScriptedFeed, SetClock, SetMonotonic, snapshot, trade
from tests.support.postgres import PostgresMissingError, shared_postgres

from entasis.access.v1 import access_pb2
from entasis.access.v1.access_pb2_grpc import AccessServiceStub
from entasis.portfolio.v1 import portfolio_pb2 as pb
from entasis.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceStub
from entasis_engine.access.store import AccessStore
from entasis_engine.bootstrap import open_engine
from entasis_engine.portfolio.sql import SqlStore
from entasis_engine.portfolio.store import LedgerUnavailableError
from entasis_engine.settings import Settings
from entasis_engine.storage.database import open_ledger
from entasis_engine.times import system_clock


@dataclass
class Traded:
    """An engine, its market, and the portfolio of one account."""

    feed: ScriptedFeed
    clock: SetClock
    stub: Any
    folder: Path
    target: str
    """The unix socket."""
    port: int
    end_streams: Callable[[], None]

    async def price(self, price: str) -> None:
        """Have the market trade at a price."""
        self.clock.now += timedelta(milliseconds=100)
        self.feed.give(trade(price, self.clock.now))

    async def opened(self, **fields: str) -> str:
        """Open a position, once the market is live; its id."""
        request = pb.CreatePositionRequest(**({"symbol": "BTC-USDT", "size": "1.5", "type": "long"} | fields))
        async with asyncio.timeout(20):
            while True:
                try:
                    return str((await self.stub.CreatePosition(request)).position_id)
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise

    async def until(self, position_id: str, **expected: str) -> pb.Position:
        """The position, once it has these fields."""
        async with asyncio.timeout(20):
            while True:
                held = (await self.stub.GetPosition(pb.GetPositionRequest(position_id=position_id))).position
                if all(getattr(held, name) == value for name, value in expected.items()):
                    return held  # type: ignore[no-any-return]
                await asyncio.sleep(0.01)

    async def balance(self) -> pb.Balance:
        (balance,) = (await self.stub.GetBalance(pb.GetBalanceRequest())).balances
        return balance  # type: ignore[no-any-return]


@asynccontextmanager
async def _traded(folder: Path, *, clock: SetClock | None = None, **settings: Any) -> AsyncIterator[Traded]:
    clock = clock or SetClock(NOON)
    feed = ScriptedFeed(clock=clock)
    values: dict[str, Any] = {"data_dir": folder, "grpc_port": 0, "drain_seconds": 1, "_env_file": None} | settings
    with tempfile.TemporaryDirectory() as short:
        async with (
            grpc.aio.insecure_channel(f"unix:{short}/s", interceptors=sending(make_key(folder))) as channel,
            open_engine(
                Settings(**values), unix_path=f"{short}/s", feed=feed, clock=clock, monotonic=SetMonotonic()
            ) as engine,
        ):
            yield Traded(
                feed,
                clock,
                PortfolioServiceStub(channel),
                folder,
                f"unix:{short}/s",
                engine.grpc_port,
                engine.end_streams,
            )


async def test_the_specified_position_has_the_specified_numbers(tmp_path: Path) -> None:
    """1.5 BTC opened at 64000.00 show a profit of 1500.00 at 65000.00, printed as specified, at the trade's time."""
    async with _traded(tmp_path, fee_rate="0") as traded:
        await traded.price("64000.00")
        position = await traded.opened(leverage="1")
        await traded.price("65000.00")
        held = await traded.until(position, current_price="65000.00")
        (listed,) = (await traded.stub.ListPositions(pb.ListPositionsRequest())).positions
    assert listed == held
    assert (held.symbol, held.size, held.entry_price, held.pnl) == ("BTC-USDT", "1.5", "64000.00", "1500.00")
    assert (held.type, held.leverage, held.status, held.margin) == ("long", "1", "open", "96000.00")
    assert held.timestamp.ToDatetime(tzinfo=NOON.tzinfo) == traded.clock.now


async def test_an_order_walks_the_book(tmp_path: Path) -> None:
    """A size larger than the best level is filled at each level's own price; closing takes the other side."""
    async with _traded(tmp_path, fee_rate="0") as traded:
        book = snapshot([("63990", "5")], [("64000", "1"), ("64010", "1")])
        traded.feed.give(trade("64000", traded.clock.now), book)
        position = await traded.opened(size="1.5")
        held = await traded.until(position)
        closed = await traded.stub.ClosePosition(pb.ClosePositionRequest(position_id=position))
    assert held.margin == "96005.00"  # 64000 x 1 + 64010 x 0.5
    assert (closed.price, closed.realised_pnl) == ("63990.00", "-20.00")


@pytest.mark.parametrize(
    ("side", "safe", "passed"), [("long", "57920.01", "57600.00"), ("short", "70079.99", "70400.00")]
)
async def test_the_mark_liquidates_and_takes_no_more_than_the_margin(
    tmp_path: Path, side: str, safe: str, passed: str
) -> None:
    """Before its liquidation price a position stays; beyond it, it is liquidated: its margin is gone, and no more."""
    async with _traded(tmp_path, fee_rate="0", maintenance_margin_rate="0.005") as traded:
        await traded.price("64000.00")
        position = await traded.opened(size="1", type=side, leverage="10")
        held = await traded.until(position)
        assert held.liquidation_price == ("57920.00" if side == "long" else "70080.00")
        assert held.margin == "6400.00"
        before = await traded.balance()
        await traded.price(safe)
        await traded.until(position, current_price=safe, status="open")
        await traded.price(passed)
        ended = await traded.until(position, status="liquidated")
        after = await traded.balance()
        trades = (await traded.stub.ListTrades(pb.ListTradesRequest(position_id=position))).trades
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await traded.stub.ClosePosition(pb.ClosePositionRequest(position_id=position))
    assert (ended.pnl, ended.margin) == ("-6400.00", "0.00")
    assert (after.free_margin, after.used_margin, after.balance) == (before.free_margin, "0.00", before.free_margin)
    assert [one.kind for one in trades] == ["liquidation", "open"]
    assert dict(raised.value.trailing_metadata() or ())["x-error-code"] == "PORT_004"


async def test_limits_on_positions_and_notional(tmp_path: Path) -> None:
    """One position too many, or too large a notional, is PORT_002 with the limit, and opens nothing."""
    async with _traded(tmp_path, positions_max=2, notional_max="100000", fee_rate="0") as traded:
        await traded.price("10000.00")
        await traded.opened(size="1")
        for size in ("9.1", "1"):
            if size == "1":
                await traded.opened(size="1")
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await traded.stub.CreatePosition(pb.CreatePositionRequest(symbol="BTC-USDT", size=size, type="long"))
            assert dict(raised.value.trailing_metadata() or ())["x-error-code"] == "PORT_002"
        held = (await traded.stub.ListPositions(pb.ListPositionsRequest(status="all"))).positions
    assert len(held) == 2


# --- The stream -------------------------------------------------------------------------------------------------------


class Stream:
    """What a stream of positions has told so far."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.updates: list[pb.PositionUpdate] = []

    async def next(self) -> pb.PositionUpdate:
        """The next update that is no new price alone."""
        async with asyncio.timeout(20):
            while True:
                if not self.updates:
                    response = await self.call.read()
                    assert response is not grpc.aio.EOF, await self.call.details()
                    self.updates += response.updates
                update = self.updates.pop(0)
                if update.event != "price":
                    return update

    async def until(self, event: str) -> pb.PositionUpdate:
        """The next update of a kind."""
        async with asyncio.timeout(20):
            while True:
                for update in self.updates:
                    if update.event == event:
                        self.updates.clear()
                        return update
                self.updates = list((await self.call.read()).updates)

    async def refusal(self) -> str:
        """Why it ended, which is the next thing that it tells."""
        async with asyncio.timeout(20):
            with suppress(grpc.aio.AioRpcError):
                while await self.call.read() is not grpc.aio.EOF:
                    pass
            return str(dict(await self.call.trailing_metadata() or ())["x-error-code"])


def streamed(stub: Any, **options: Any) -> Stream:
    return Stream(stub.StreamPositions(pb.StreamPositionsRequest(), **options))


async def test_a_stream_begins_with_what_is_open_and_tells_what_happens(tmp_path: Path) -> None:
    """A snapshot as GetPosition has it, an opening, a part close, a price and a close, each with the next number."""
    async with _traded(tmp_path, fee_rate="0") as traded:
        await traded.price("64000.00")
        first = await traded.opened(size="1")
        stream = streamed(traded.stub)
        begun = await stream.next()
        assert begun.event == "snapshot"
        assert list(begun.positions) == [await traded.until(first)]
        second = await traded.opened(size="0.2", type="short")
        opening = await stream.next()
        assert (opening.event, opening.seq) == ("opened", begun.seq + 1)
        assert list(opening.positions) == [await traded.until(second)]
        await traded.stub.ClosePosition(pb.ClosePositionRequest(position_id=first, size="0.4"))
        part = await stream.next()
        assert (part.event, part.positions[0].size, part.seq) == ("changed", "0.6", begun.seq + 2)
        await traded.price("65000.00")
        price = await stream.until("price")
        assert (price.positions[0].current_price, price.positions[0].status) == ("65000.00", "open")
        await traded.stub.ClosePosition(pb.ClosePositionRequest(position_id=first))
        closed = await stream.next()
        assert closed.event == "closed"
        assert list(closed.positions) == [await traded.until(first, status="closed")]
        assert closed.positions[0].pnl == "600.00"


async def test_a_liquidation_is_streamed(tmp_path: Path) -> None:
    """When the mark passes the liquidation price the stream says so, once, with the final state."""
    async with _traded(tmp_path, fee_rate="0") as traded:
        await traded.price("64000.00")
        position = await traded.opened(size="1", leverage="10")
        stream = streamed(traded.stub)
        await stream.next()
        await traded.price("57600.00")
        ended = await stream.next()
        assert (ended.event, ended.positions[0].pnl) == ("liquidated", "-6400.00")
        assert list(ended.positions) == [await traded.until(position, status="liquidated")]
        await traded.opened(size="0.1")
        assert (await stream.next()).event == "opened"


async def test_streams_that_begin_amid_changes_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    """Whenever a stream begins amid openings and closes, its numbers have no gap and its picture is right."""
    async with _traded(tmp_path, fee_rate="0") as traded:
        await traded.price("1000.00")
        await traded.opened(size="1")
        streams: list[Stream] = []

        async def work() -> None:
            position = await traded.opened(size="0.3")
            await traded.stub.ClosePosition(pb.ClosePositionRequest(position_id=position, size="0.1"))
            if len(streams) < 8:
                streams.append(streamed(traded.stub))
            if len(streams) % 2:
                await traded.stub.ClosePosition(pb.ClosePositionRequest(position_id=position))

        for _ in range(5):
            await asyncio.gather(*(work() for _ in range(8)))
        last = await traded.opened(size="0.7")
        held = (await traded.stub.ListPositions(pb.ListPositionsRequest())).positions
        expected = {one.position_id: one.size for one in held}
        for stream in streams:
            begun = await stream.next()
            known = {one.position_id: one.size for one in begun.positions}
            seq = begun.seq
            opened, ended = set(known), set()
            while last not in known:
                update = await stream.next()
                (position,) = update.positions
                seq += 1
                assert update.seq == seq
                if update.event == "opened":
                    assert position.position_id not in opened
                    opened.add(position.position_id)
                if position.status == "open":
                    known[position.position_id] = position.size
                else:
                    assert position.position_id not in ended
                    ended.add(position.position_id)
                    del known[position.position_id]
            assert known == expected


async def test_a_slow_reader_gets_the_end(tmp_path: Path) -> None:
    """Whoever reads late, with room for few updates, learns the final state of every position, in order."""
    async with _traded(tmp_path, fee_rate="0", stream_queue_max=4) as traded:
        await traded.price("1000.00")
        stream = streamed(traded.stub)
        await stream.next()
        ids = [await traded.opened(size="1") for _ in range(3)]
        for number in range(1, 100):
            await asyncio.gather(
                *(traded.stub.ClosePosition(pb.ClosePositionRequest(position_id=one, size="0.01")) for one in ids)
            )
            if number % 10 == 0:
                await traded.price(f"{1000 + number}.00")
        for one in ids:
            await traded.stub.ClosePosition(pb.ClosePositionRequest(position_id=one))
        ended, seq = set(), 0
        while ended != set(ids):
            update = await stream.next()
            assert update.seq > seq
            seq = update.seq
            for position in update.positions:
                assert position.position_id not in ended
                if position.status == "closed":
                    assert update.event == "closed"
                    ended.add(position.position_id)


async def test_another_account_and_a_key_without_the_scope(tmp_path: Path) -> None:
    """Another account's stream stays empty; without portfolio:read, or without a credential, there is none."""
    async with _traded(tmp_path) as traded:
        await traded.price("1000.00")
        other = make_key(tmp_path, account="other")
        blind = make_key(tmp_path, scopes=["market:read", "portfolio:write"])
        async with grpc.aio.insecure_channel(traded.target) as channel:
            stub = PortfolioServiceStub(channel)
            stranger = await _known(stub, other)
            assert not (await stranger.next()).positions
            await traded.opened(size="1")
            reader = streamed(traded.stub)
            assert len((await reader.next()).positions) == 1
            metadata = [("x-client-ip", "192.0.2.1")]
            assert await streamed(stub, metadata=[*metadata, ("x-api-key", blind)]).refusal() == "AUTH_002"
            assert await streamed(stub, metadata=metadata).refusal() == "AUTH_001"
            await stub.CreatePosition(
                pb.CreatePositionRequest(symbol="BTC-USDT", size="2", type="long"), metadata=[("x-api-key", other)]
            )
            update = await stranger.next()
            assert (update.event, update.positions[0].size) == ("opened", "2")


async def _known(stub: Any, key: str) -> Stream:
    """A stream by a new key, once the engine knows that."""
    async with asyncio.timeout(20):
        while True:
            stream = streamed(stub, metadata=[("x-api-key", key)])
            try:
                stream.updates += (await stream.call.read()).updates
            except (grpc.aio.AioRpcError, AttributeError):
                await asyncio.sleep(0.05)
            else:
                return stream


async def test_a_stream_ends_with_its_key_and_with_the_engine(tmp_path: Path) -> None:
    """When its key is revoked a stream ends with AUTH_001, and others go on, until the engine ends: SERVER_002."""
    async with _traded(tmp_path) as traded:
        key = make_key(tmp_path, account="other")
        async with grpc.aio.insecure_channel(traded.target) as channel:
            doomed = await _known(PortfolioServiceStub(channel), key)
            other = streamed(traded.stub)
            await other.next()
            store = AccessStore(tmp_path / "access.db")
            store.revoke_key(key.split("_")[1], system_clock())
            store.close()
            assert await doomed.refusal() == "AUTH_001"
            assert not other.call.done()
            ending = asyncio.create_task(other.refusal())
            await asyncio.sleep(0)
            traded.end_streams()
            assert await ending == "SERVER_002"


async def test_streams_count_against_those_of_their_caller(tmp_path: Path) -> None:
    """One stream more than a caller may have open is LIMIT_002; when one has ended there is room again."""
    async with _traded(tmp_path, streams_per_caller_max=2) as traded:
        streams = [streamed(traded.stub) for _ in range(2)]
        for one in streams:
            await one.next()
        assert await streamed(traded.stub).refusal() == "LIMIT_002"
        streams[0].call.cancel()
        async with asyncio.timeout(20):
            while True:
                with suppress(grpc.aio.AioRpcError):  # there is no room yet
                    if await streamed(traded.stub).call.read() is not grpc.aio.EOF:
                        break


async def test_changes_by_another_engine_reach_the_stream(tmp_path: Path) -> None:
    """Two engines share a ledger on PostgreSQL: what one does is told by the other, numbered like its own."""
    try:
        url = shared_postgres().new_database()
    except PostgresMissingError as error:
        pytest.skip(str(error))
    clock = SetClock(NOON)
    shared: dict[str, Any] = {"ledger_url": url, "fee_rate": "0", "clock": clock}
    market = f"sqlite+aiosqlite:///{tmp_path}/market-"
    async with (
        _traded(tmp_path, database_url=f"{market}1.db", **shared) as reading,
        _traded(tmp_path, database_url=f"{market}2.db", **shared) as writing,
    ):
        await reading.price("1000.00")
        await writing.price("1000.00")
        stream = streamed(reading.stub)
        begun = await stream.next()
        theirs = await writing.opened(size="1")
        opening = await stream.next()
        assert (opening.event, opening.positions[0].position_id) == ("opened", theirs)
        mine = await reading.opened(size="3")
        assert (await stream.next()).positions[0].position_id == mine
        await writing.stub.ClosePosition(pb.ClosePositionRequest(position_id=theirs))
        closed = await stream.next()
        assert (closed.event, closed.positions[0].position_id) == ("closed", theirs)
        assert closed.seq == begun.seq + 3


async def test_a_read_of_a_server_that_stands_still_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """On PostgreSQL a read that takes too long is the ledger's failure; the next one works, and writes go on."""
    try:
        url = shared_postgres().new_database()
    except PostgresMissingError as error:
        pytest.skip(str(error))
    monkeypatch.setattr("entasis_engine.storage.database.READ_TIMEOUT_SECONDS", 0.2)
    async with open_ledger(url) as database:
        store = SqlStore(database)
        async with database.writer.connect() as blocking:
            await blocking.exec_driver_sql("LOCK TABLE positions IN ACCESS EXCLUSIVE MODE")
            async with asyncio.timeout(20):
                with pytest.raises(LedgerUnavailableError):
                    await store.open_positions("acc_1")
            await blocking.rollback()
        for _ in range(5):
            assert await store.open_positions("acc_1") == []


# --- In an account's stead --------------------------------------------------------------------------------------------


async def _session(target: str, key: str) -> tuple[str, bytes]:
    """What a bridge sends to read in the stead of a key's account."""
    async with grpc.aio.insecure_channel(target) as channel:
        opened = await AccessServiceStub(channel).OpenSession(
            access_pb2.OpenSessionRequest(), metadata=[("x-client-ip", "192.0.2.1"), ("x-api-key", key)]
        )
    return "x-session-bin", opened.session.encode()


async def test_a_part_of_the_engine_reads_for_the_account_of_a_session(tmp_path: Path) -> None:
    """Over the unix socket a session stands for its account, for reading alone, at addresses that its key allows."""
    key = make_key(tmp_path, addresses=["192.0.2.0/24"])
    async with _traded(tmp_path) as traded, grpc.aio.insecure_channel(traded.target) as channel:
        await traded.price("1000.00")
        position = await traded.opened(size="1")
        stub = PortfolioServiceStub(channel)
        session = await _session(traded.target, key)
        here, elsewhere = ("x-client-ip", "192.0.2.9"), ("x-client-ip", "198.51.100.1")
        begun = await streamed(stub, metadata=[session, here]).next()
        assert [one.position_id for one in begun.positions] == [position]
        assert await streamed(stub, metadata=[session, elsewhere]).refusal() == "AUTH_003"
        assert await streamed(stub, metadata=[session, here, ("x-api-key", key)]).refusal() == "AUTH_001"
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.ClosePosition(pb.ClosePositionRequest(position_id=position), metadata=[session, here])
        assert dict(raised.value.trailing_metadata() or ())["x-error-code"] == "AUTH_002"


async def test_a_session_that_no_engine_named_is_worth_nothing(tmp_path: Path) -> None:
    """A session that is changed, cut, or made up is AUTH_001, as is a good one that does not come from a part."""
    key, narrow = make_key(tmp_path), make_key(tmp_path, scopes=["market:read"])
    async with _traded(tmp_path) as traded, grpc.aio.insecure_channel(traded.target) as channel:
        stub = PortfolioServiceStub(channel)
        name, good = await _session(traded.target, key)
        _, poor = await _session(traded.target, narrow)
        here = ("x-client-ip", "192.0.2.9")
        assert (await streamed(stub, metadata=[(name, good), here]).next()).event == "snapshot"
        assert await streamed(stub, metadata=[(name, poor), here]).refusal() == "AUTH_002"
        account, keys, signer, scopes, ends, signature = good.split(b"|")
        for made_up in (
            b"|".join((b"acc_000000000000", keys, signer, scopes, ends, signature)),
            poor.replace(b"market:read", b"portfolio:read"),
            b"|".join((account, b"", b"", b"portfolio:read", b"", b"")),
            good[:-1],
            good + b"0",
            b"\xff\xfe|||portfolio:read||" + signature,
            b"|",
        ):
            assert await streamed(stub, metadata=[(name, made_up), here]).refusal() == "AUTH_001", made_up
        async with grpc.aio.insecure_channel(f"127.0.0.1:{traded.port}") as stranger:
            calling = PortfolioServiceStub(stranger)
            assert await streamed(calling, metadata=[(name, good)]).refusal() == "AUTH_001"


async def test_a_stream_in_an_accounts_stead_ends_with_its_key(tmp_path: Path) -> None:
    """When the key behind a session is revoked, what is read by it ends with AUTH_001, and cannot be had anew."""
    key = make_key(tmp_path, account="other")
    async with _traded(tmp_path) as traded, grpc.aio.insecure_channel(traded.target) as channel:
        stub = PortfolioServiceStub(channel)
        metadata = [await _session(traded.target, key), ("x-client-ip", "192.0.2.1")]
        stream = streamed(stub, metadata=metadata)
        await stream.next()
        store = AccessStore(tmp_path / "access.db")
        store.revoke_key(key.split("_")[1], system_clock())
        store.close()
        assert await stream.refusal() == "AUTH_001"
        assert await streamed(stub, metadata=metadata).refusal() == "AUTH_001"
