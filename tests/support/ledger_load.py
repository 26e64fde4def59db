"""Clients that load the ledger of a running engine from processes of their own, and what the ledger holds afterwards.

    python -m tests.support.ledger_load < plan

The first line of the input is a `Plan`; each further one is a command, which is answered by one line when it is done.
The `Clients` of a test do that. Half of the callers speak REST through Envoy, half gRPC to the engine's port.
"""

from __future__ import annotations

import asyncio
import json
import queue
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import msgspec
import uvloop
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from sqlalchemy import text
from tests.support.raw_http import Answer as HttpAnswer
from tests.support.raw_http import Http

from entasis.portfolio.v1 import portfolio_pb2 as pb
from entasis.portfolio.v1.portfolio_pb2_grpc import PortfolioServiceStub
from entasis_engine.portfolio.sql import SqlStore
from entasis_engine.storage.database import open_ledger

ROOT = Path(__file__).parents[2]
SYMBOL = "BTC-USDT"
PRICE = "64123.45"
CALL_SECONDS_MAX = 20.0
AGAIN_SECONDS = 0.1
"""Before a call that could not be answered is sent again."""
LOOK_SECONDS = 0.05
"""Between two looks at the balance."""
CUT_SHARE = 0.35
CUT_SECONDS_MAX = 0.008
POSITIONS = "/api/v1/portfolio/positions"


def frozen_market(folder: Path) -> dict[str, object]:
    """Settings of a market that makes one trade and then stands still, so that every fill is at `PRICE`."""
    file = folder / "frozen.frames"
    time_ms = 1711013400000
    trade = {"e": "trade", "E": time_ms, "s": "BTCUSDT", "t": 1, "p": PRICE, "q": "0.00001", "T": time_ms, "m": False}
    file.write_text(f"{time_ms}000000 {json.dumps({'stream': 'btcusdt@trade', 'data': trade})}\n")
    return {"feed": "recorded", "recorded_frames": file, "stale_after_seconds": 86_400, "symbols": SYMBOL}


def free_port() -> int:
    """A port that was free a moment ago: for an engine that must come back where it was."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


# One call.


class Answer(NamedTuple):
    """What a call came to."""

    status: str = ""
    """Of HTTP or of gRPC; empty where no answer came."""
    reason: str = ""
    body: str = ""
    """As it came: JSON, or a message in hexadecimal digits."""
    position_id: str = ""
    time_ms: int = 0
    replayed: bool = False
    told: dict[str, str] = {}  # noqa: RUF012 - never changed
    """What a refusal says beside its reason; of a balance, its amounts."""

    @property
    def done(self) -> bool:
        return self.status in {"200", "201", "OK"}

    @property
    def unanswered(self) -> bool:
        """Nothing is known of what came of it. gRPC itself cancels calls that come at the moment when it stops."""
        return (
            self.status in {"", "UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "499", "504"}
            or self.reason == "SERVER_002"
        )

    @property
    def servers_fault(self) -> bool:
        return self.status.startswith("5") or self.status in {
            "UNAVAILABLE",
            "INTERNAL",
            "UNKNOWN",
            "DEADLINE_EXCEEDED",
            "DATA_LOSS",
            "UNIMPLEMENTED",
        }


class Rest:
    """Calls through Envoy on a connection that is kept."""

    def __init__(self, web: str, key: str) -> None:
        self._http = _Http(web)
        self.use(key)

    def use(self, key: str) -> None:
        """Call as another account from now on."""
        self._key = (("x-api-key", key.encode()),)

    async def open(self, size: str, key: str = "", cut: float | None = None) -> Answer:
        body = {"symbol": SYMBOL, "size": size, "type": "long"}
        return await self._send("POST", POSITIONS, key, cut, json.dumps(body).encode())

    async def close(self, position_id: str, key: str = "", cut: float | None = None) -> Answer:
        return await self._send("DELETE", f"{POSITIONS}/{position_id}", key, cut)

    async def balance(self) -> Answer:
        return await self._send("GET", "/api/v1/portfolio/balance", "", None)

    async def end(self) -> None:
        self._http.close()

    async def _send(self, method: str, path: str, key: str, cut: float | None, body: bytes = b"") -> Answer:
        headers = self._key + ((("idempotency-key", key.encode()),) if key else ())
        if body:
            headers += (("content-type", b"application/json"),)
        try:
            async with asyncio.timeout(cut):
                got = await self._http.send(method, path, headers, body)
        except (TimeoutError, OSError):
            self._http.close()
            return Answer()
        if got.status == "closed":
            return Answer()
        if got.status not in {"200", "201"}:
            details = json.loads(got.body)["details"]
            told: dict[str, str] = next((one.get("metadata", {}) for one in details if "reason" in one), {})
            return Answer(got.status, got.reason, told=told)
        replayed = self._http.told.get("idempotency-replayed") == "true"
        said = json.loads(got.body)
        if "timestamp" not in said:
            return Answer(got.status, body=got.body.decode())
        moment = datetime.fromisoformat(said["timestamp"])
        return Answer(got.status, "", got.body.decode(), said["position_id"], _milliseconds(moment), replayed)


class _Http(Http):
    """Keeps the headers of the last answer."""

    told: dict[str, str]

    async def _answer(self, reader: asyncio.StreamReader) -> HttpAnswer:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.told = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        body = await reader.readexactly(int(self.told["content-length"]))
        if self.told.get("connection") == "close":
            self.close()
        return HttpAnswer(head[0].split(" ")[1], self.told.get("x-error-code", ""), body)


class Grpc:
    """Calls to the engine's own port on a connection of its own."""

    def __init__(self, engine: str, key: str) -> None:
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.min_reconnect_backoff_ms", 50),
            ("grpc.max_reconnect_backoff_ms", 100),
        ]
        self._channel = grpc.aio.insecure_channel(engine, options=options)
        self._stub = PortfolioServiceStub(self._channel)
        self.use(key)

    def use(self, key: str) -> None:
        """Call as another account from now on."""
        self._key = (("x-api-key", key),)

    async def open(self, size: str, key: str = "", cut: float | None = None) -> Answer:
        request = pb.CreatePositionRequest(symbol=SYMBOL, size=size, type="long")
        return await self._call(self._stub.CreatePosition, request, key, cut)

    async def close(self, position_id: str, key: str = "", cut: float | None = None) -> Answer:
        return await self._call(self._stub.ClosePosition, pb.ClosePositionRequest(position_id=position_id), key, cut)

    async def balance(self) -> Answer:
        return await self._call(self._stub.GetBalance, pb.GetBalanceRequest(), "", None)

    async def end(self) -> None:
        await self._channel.close()

    async def _call(self, method: Any, request: Message, key: str, cut: float | None) -> Answer:
        call = method(
            request, metadata=self._key + ((("idempotency-key", key),) if key else ()), timeout=CALL_SECONDS_MAX
        )
        try:
            async with asyncio.timeout(cut):
                got = await call
        except TimeoutError:
            call.cancel()
            return Answer()
        except grpc.aio.AioRpcError as error:
            if cut is not None and error.code() is grpc.StatusCode.CANCELLED:
                return Answer()  # both at once: the call ended while it was being cut
            return _refused(error)
        if isinstance(got, pb.GetBalanceResponse):
            rows = [{"free_margin": one.free_margin, "used_margin": one.used_margin} for one in got.balances]
            return Answer("OK", body=json.dumps({"balances": rows}))
        trailing = dict(await call.trailing_metadata())
        time_ms = got.timestamp.ToMilliseconds()
        replayed = trailing.get("idempotency-replayed") == "true"
        return Answer("OK", "", got.SerializeToString().hex(), got.position_id, time_ms, replayed)


def _refused(error: grpc.aio.AioRpcError) -> Answer:
    trailing = dict(error.trailing_metadata() or ())
    told: dict[str, str] = {}
    if details := trailing.get("grpc-status-details-bin"):
        for one in status_pb2.Status.FromString(details).details:
            info = error_details_pb2.ErrorInfo()
            if one.Unpack(info):
                told = dict(info.metadata)
    return Answer(error.code().name, str(trailing.get("x-error-code", "")), told=told)


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


# The process of the clients.


class Plan(msgspec.Struct):
    """Who calls whom."""

    web: str
    """host:port of Envoy."""
    engine: str
    """host:port of the engine's gRPC."""
    keys: list[str]
    """API keys, one for each account."""
    rest: int
    """Callers over REST."""
    grpc: int
    """Callers over gRPC."""
    size: str
    seed: int
    out: str
    """File for what the calls came to; see `Row`."""


class Row(msgspec.Struct, array_like=True):
    """A call."""

    what: str
    """`open` or `close`."""
    of: str
    """The idempotency key, or the position that was to be closed."""
    account: int
    rest: bool
    sent_ms: int
    answered_ms: int
    answer: Answer


class _Process:
    """What the process of the clients does."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._chance = random.Random(plan.seed)
        self._callers = [self._caller(number, rest=number < plan.rest) for number in range(plan.rest + plan.grpc)]
        self._rows: list[Row] = []
        self._told = 0
        self._running: list[asyncio.Task[None]] = []
        self._balances: dict[str, Decimal] = {}
        self._looks = 0
        self._stopping = False

    def _caller(self, number: int, *, rest: bool) -> _Caller:
        account = number % len(self._plan.keys)
        calls = self._calls(account, rest=rest)
        return _Caller(number, account, rest, calls, random.Random(self._plan.seed * 1000 + number))

    def _calls(self, account: int, *, rest: bool) -> Rest | Grpc:
        key = self._plan.keys[account]
        return Rest(self._plan.web, key) if rest else Grpc(self._plan.engine, key)

    async def serve(self) -> None:
        commands: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
            "fill": self._fill,
            "close": self._close_some,
            "mix": self._mix,
            "keys": self._send_keys,
            "run": self._run,
            "report": self._report,
            "stop": self._stop,
        }
        while line := await asyncio.to_thread(sys.stdin.readline):
            command = json.loads(line)
            _say(await commands[command.pop("do")](**command))
        await self._stop()
        for caller in self._callers:
            await caller.calls.end()
        await asyncio.to_thread(Path(self._plan.out).write_bytes, msgspec.msgpack.encode(self._rows))

    # A hot account.

    async def _fill(self) -> dict[str, Any]:
        """Everybody opens until refused."""

        async def fill(caller: _Caller) -> None:
            while (await self._open(caller)).done:
                pass

        return await self._all(fill)

    async def _close_some(self, share: float) -> dict[str, Any]:
        """Everybody closes about this share of what they hold."""

        async def close(caller: _Caller) -> None:
            for _ in range(sum(caller.chance.random() < share for _ in caller.held)):
                await self._close(caller)

        return await self._all(close)

    async def _mix(self, calls: int, holding: int) -> dict[str, Any]:
        """So many calls, opens and closes by chance, nobody with more than `holding` positions."""
        left = calls
        looking = asyncio.create_task(self._look())

        async def mix(caller: _Caller) -> None:
            nonlocal left
            while left > 0:
                left -= 1
                if left % 500 == 0:
                    _say({"progress": calls - left})
                if len(caller.held) < holding and (not caller.held or caller.chance.random() < 0.6):
                    await self._open(caller)
                else:
                    await self._close(caller)

        result = await self._all(mix)
        looking.cancel()
        await asyncio.wait([looking])
        if looking.done() and not looking.cancelled():
            looking.result()
        return result | {"looks": self._looks} | {name: str(amount) for name, amount in self._balances.items()}

    async def _look(self) -> None:
        """Ask for the balance again and again, and keep the least."""
        callers = [self._calls(0, rest=rest) for rest in {one.rest for one in self._callers}]
        try:
            while True:
                for calls in callers:
                    got = await calls.balance()
                    if not got.done:
                        self._rows.append(Row("balance", "", 0, False, _now_ms(), _now_ms(), got))
                        continue
                    self._looks += 1
                    for one in json.loads(got.body)["balances"]:
                        for name in ("free_margin", "used_margin"):
                            amount = Decimal(one[name])
                            self._balances[name] = min(self._balances.get(name, amount), amount)
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for calls in callers:
                await calls.end()

    async def _all(self, does: Callable[[_Caller], Awaitable[None]]) -> dict[str, Any]:
        before = len(self._rows)
        async with asyncio.TaskGroup() as group:
            for caller in self._callers:
                group.create_task(_awaited(does(caller)))
        rows = self._rows[before:]
        opened = sum(row.what == "open" and row.answer.done for row in rows)
        closed = sum(row.what == "close" and row.answer.done for row in rows)
        refused = Counter(f"{row.answer.status} {row.answer.reason}" for row in rows if not row.answer.done)
        return {"done": True, "calls": len(rows), "opened": opened, "closed": closed, "refused": refused}

    async def _open(self, caller: _Caller, key: str = "", cut: float | None = None) -> Answer:
        sent = _now_ms()
        got = await caller.calls.open(self._plan.size, key, cut)
        if got.done and not key:
            caller.held.append(got.position_id)
        self._rows.append(Row("open", key, caller.account, caller.rest, sent, _now_ms(), got))
        return got

    async def _close(self, caller: _Caller) -> Answer:
        name = caller.held.pop(caller.chance.randrange(len(caller.held)))
        sent = _now_ms()
        got = await caller.calls.close(name)
        self._rows.append(Row("close", name, caller.account, caller.rest, sent, _now_ms(), got))
        return got

    # Keys.

    async def _send_keys(self, count: int, process: int, processes: int) -> dict[str, Any]:
        """Send this process's share of keys 0 to `count`, each of which is sent 1 to 20 times by all processes."""
        chance = random.Random(f"{count} shares")  # the same in all processes
        shares = [number for number, times in enumerate(times_sent(count)) for _ in range(times)]
        mine = [number for number in shares if chance.randrange(processes) == process]
        # About in order, so that all processes send a key at about the same time.
        sends = sorted((number + self._chance.uniform(0, 100), number) for number in mine)
        last = {number: place for place, (_, number) in enumerate(sends)}
        work = iter(enumerate(sends))
        cut = lost = 0

        async def send(caller: _Caller) -> None:
            nonlocal cut, lost
            for place, (_, number) in work:
                if place % max(1, len(sends) // 100) == 0:
                    _say({"progress": place})
                caller.account = number % len(self._plan.keys)
                caller.calls.use(self._plan.keys[caller.account])
                # The last time it must be answered.
                impatient = place < last[number] and caller.chance.random() < CUT_SHARE
                after = caller.chance.uniform(0, CUT_SECONDS_MAX) if impatient else None
                while (await self._open(caller, f"key-{number}", after)).unanswered:
                    if impatient:
                        cut += 1
                        break
                    lost += 1
                    await asyncio.sleep(AGAIN_SECONDS)

        result = await self._all(send)
        return result | {"planned": len(sends), "cut": cut, "lost": lost}

    # An engine that is killed.

    async def _run(self, closing: float) -> dict[str, Any]:
        """Open positions and close most of them, each with a key that is sent until it is answered, until stopped."""

        async def run(caller: _Caller) -> None:
            while True:
                caller.sent += 1
                key = f"{self._plan.seed}-{caller.number}-{caller.sent}"
                while (opened := await self._open(caller, key)).unanswered:
                    await asyncio.sleep(AGAIN_SECONDS)
                if opened.done and caller.chance.random() < closing:
                    while (await self._close_by_key(caller, opened.position_id, f"c{key}")).unanswered:
                        await asyncio.sleep(AGAIN_SECONDS)
                if self._stopping:
                    return

        self._stopping = False
        self._running = [asyncio.create_task(run(caller)) for caller in self._callers]
        return {"done": True}

    async def _close_by_key(self, caller: _Caller, position_id: str, key: str) -> Answer:
        sent = _now_ms()
        got = await caller.calls.close(position_id, key)
        self._rows.append(Row("close", key, caller.account, caller.rest, sent, _now_ms(), got))
        return got

    async def _report(self) -> dict[str, Any]:
        """What was answered since the last report: kind, key, account and position of each."""
        for task in self._running:
            if task.done():
                task.result()
        rows, self._told = self._rows[self._told :], len(self._rows)
        told = [(row.what, row.of, row.account, row.answer.position_id) for row in rows if row.answer.done]
        odd = [
            (row.what, row.answer.status, row.answer.reason)
            for row in rows
            if not row.answer.done and not row.answer.unanswered
        ]
        return {"done": True, "told": told, "odd": odd, "unanswered": sum(row.answer.unanswered for row in rows)}

    async def _stop(self) -> dict[str, Any]:
        """Let everybody come to an end."""
        self._stopping = True
        if self._running:
            await asyncio.gather(*self._running)
            self._running = []
        return {"done": True}


@dataclass
class _Caller:
    number: int
    account: int
    rest: bool
    calls: Rest | Grpc
    chance: random.Random
    held: list[str] = field(default_factory=list)
    sent: int = 0


async def _awaited(doing: Awaitable[None]) -> None:
    await doing


def _say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


# The other side, in the test.


class Clients:
    """A process of clients. It ends with its input, and so with whoever started it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.progress = 0
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.ledger_load"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._write(msgspec.to_builtins(plan))
        threading.Thread(target=self._read, daemon=True).start()

    def _write(self, what: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if "progress" in said:
                self.progress = said["progress"]
            else:
                self._answers.put(said)
        self._answers.put(None)

    def tell(self, do: str, **given: Any) -> None:
        """Give a command; `answer` waits for its end."""
        self._write({"do": do, **given})

    @property
    def answered(self) -> bool:
        return not self._answers.empty()

    def answer(self, seconds: float = 3600) -> dict[str, Any]:
        said = self._answers.get(timeout=seconds)
        if said is None:
            raise AssertionError("the clients have ended")
        return said

    def ask(self, do: str, **given: Any) -> dict[str, Any]:
        self.tell(do, **given)
        return self.answer()

    def end(self) -> list[Row]:
        """End the process; gives all its calls."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(timeout=60) == 0
        return msgspec.msgpack.decode(Path(self.plan.out).read_bytes(), type=list[Row])

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()


def times_sent(count: int) -> list[int]:
    """How often each of so many keys is sent."""
    chance = random.Random(f"{count} keys")
    return [chance.randint(1, 20) for _ in range(count)]


def told_to_all(clients: Sequence[Clients], do: str, **given: Any) -> list[dict[str, Any]]:
    """Give all the same command; waits for all."""
    for one in clients:
        one.tell(do, **given)
    return [one.answer() for one in clients]


# The ledger itself.


@dataclass(frozen=True)
class Moved:
    """A transaction."""

    id: str
    kind: str
    time_ms: int
    position_id: str | None
    amounts: dict[tuple[str, str], Decimal]
    """By owner and kind of account."""


@dataclass(frozen=True)
class Books:
    """All that a ledger holds."""

    differences: list[str]
    """What does not add up, as the store's audit finds it."""
    positions: dict[str, tuple[str, str]]
    """Owner and status by id."""
    opened_by_key: dict[tuple[str, str], str]
    """Positions that were opened, by owner and idempotency key."""
    transactions: list[Moved]
    """In the order they were decided: their ids grow."""


def books(url: str, *, with_transactions: bool = True) -> Books:
    """Read a ledger; no engine may have it open where it is a SQLite file."""
    return asyncio.run(_books(url, with_transactions))


async def _books(url: str, with_transactions: bool) -> Books:
    async with open_ledger(url) as database:
        differences = [str(one) for one in await SqlStore(database).check()]
        async with database.reader.connect() as connection:

            async def rows(statement: str) -> Sequence[Any]:
                return (await connection.execute(text(statement))).all()

            positions = {name: (owner, status) for name, owner, status in await rows(_POSITIONS)}
            records = await rows("SELECT owner, key, answer FROM idempotency")
            moved: dict[str, Moved] = {}
            if with_transactions:
                for name, kind, time_ms, position_id in await rows(_TRANSACTIONS):
                    moved[name] = Moved(name, kind, int(time_ms), position_id, {})
                for name, owner, kind, amount in await rows(_ENTRIES):
                    moved[name].amounts[owner, kind] = Decimal(str(amount))
    opened = {}
    for owner, key, answer in records:
        receipt = json.loads(bytes(answer)).get("receipt")
        if receipt is not None and receipt["trade"]["kind"] == "open":
            opened[owner, key] = receipt["position"]["id"]
    return Books(differences, positions, opened, [moved[name] for name in sorted(moved)])


_POSITIONS = "SELECT id, owner, status FROM positions"
_TRANSACTIONS = "SELECT id, kind, create_time, position_id FROM transactions"
_ENTRIES = "SELECT transaction_id, owner, kind, amount FROM entries"


async def _main() -> None:
    plan = msgspec.json.decode(sys.stdin.readline(), type=Plan)
    with suppress(BrokenPipeError):
        await _Process(plan).serve()


if __name__ == "__main__":
    uvloop.run(_main())
