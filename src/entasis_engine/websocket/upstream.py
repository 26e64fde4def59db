"""From the engine to topics: one gRPC stream per topic, opened for its first client and kept over restarts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import grpc
import structlog
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from entasis.market.v1 import market_pb2, market_pb2_grpc
from entasis.portfolio.v1 import portfolio_pb2, portfolio_pb2_grpc
from entasis_engine.errors import EntasisError
from entasis_engine.websocket import metrics, protocol
from entasis_engine.websocket.failures import status_in
from entasis_engine.websocket.fanout import SNAPSHOT, Fanout, PositionsTopic, Topic
from entasis_engine.websocket.limits import Limits
from entasis_engine.websocket.protocol import Stream

CHANNEL_OPTIONS: tuple[tuple[str, Any], ...] = (
    # After a restart of the engine, gRPC's own pauses (up to two minutes) would outlast ours.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # A host that vanishes says nothing; its silence is noticed by pings.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
)
"""For whoever opens the channel that the bridge is given."""

_Response = (
    market_pb2.StreamPricesResponse
    | market_pb2.StreamOrderBooksResponse
    | market_pb2.StreamCandlesResponse
    | portfolio_pb2.StreamPositionsResponse
)

# The stream itself is at fault, so trying again would give the same answer. Anything else may pass.
_REFUSALS: Mapping[grpc.StatusCode, str] = {
    grpc.StatusCode.NOT_FOUND: "SYMBOL_UNKNOWN",
    grpc.StatusCode.INVALID_ARGUMENT: "SYMBOL_MALFORMED",
}
# Whoever reads positions may not, or not any more: the client must do something about it.
_POSITIONS_REFUSALS = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}

_log = structlog.get_logger(__name__)


class _HungError(Exception):
    """The engine holds a stream open and does not answer."""


class Upstreams:
    """Every open topic, and the task that feeds it."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        fanout: Fanout,
        limits: Limits,
        tasks: asyncio.TaskGroup,
        on_refused: Callable[[Topic, status_pb2.Status], None],
    ) -> None:
        """
        Args:
            tasks: owns the tasks.
            on_refused: tells clients of a topic that the engine refuses it, where they had been subscribed already.
        """
        self._stub = market_pb2_grpc.MarketServiceStub(channel)
        self._portfolio = portfolio_pb2_grpc.PortfolioServiceStub(channel)
        self._health = health_pb2_grpc.HealthStub(channel)
        self._fanout = fanout
        self._limits = limits
        self._tasks = tasks
        self._on_refused = on_refused
        self._topics: dict[Stream, Topic] = {}
        self._feeders: dict[Topic, asyncio.Task[None]] = {}
        self._lingering: dict[Topic, asyncio.TimerHandle] = {}
        self._lost: set[Topic] = set()
        self._calls: set[grpc.aio.UnaryStreamCall[Any, Any]] = set()
        self._hung: set[grpc.aio.UnaryStreamCall[Any, Any]] = set()
        """Calls given up because the engine does not answer."""

    async def watch_engine(self) -> None:
        """Notice an engine that hangs: its streams stay open and silent, so it is asked whether it lives."""
        while True:
            await asyncio.sleep(self._limits.watch_seconds)
            if not self._calls:
                continue
            try:
                await self._health.Check(health_pb2.HealthCheckRequest(), timeout=self._limits.answer_seconds)
            except grpc.aio.AioRpcError as error:
                # Any answer is a sign of life; an engine that cannot be reached ends its streams by itself.
                if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    for call in list(self._calls):
                        self._hung.add(call)
                        call.cancel()

    def hold(self, stream: Stream, *, resume_after: int | None = None, instead_of: Topic | None = None) -> Topic:
        """The topic of a stream, opened where it is not yet; `release` must follow.

        Args:
            resume_after: where a new topic had better begin, since its first client has everything up to there.
            instead_of: what a client of it is about to leave for this one.

        Raises LIMIT_002 where too many streams are open.
        """
        topic = self._topics.get(stream)
        if topic is None:
            self._require_room(stream, instead_of)
            topic = self._topics[stream] = self._new_topic(stream)
            metrics.TOPICS.inc()
            name = f"websocket topic {stream.label}"
            self._feeders[topic] = self._tasks.create_task(self._feed(topic, resume_after), name=name)
        if (handle := self._lingering.pop(topic, None)) is not None:
            handle.cancel()
        topic.holders += 1
        return topic

    def _new_topic(self, stream: Stream) -> Topic:
        limits = self._limits
        # Only prices can be resumed.
        frames_max = limits.ring_frames_max if stream.channel == "market" else limits.ring_frames_max_replaced
        if stream.channel == "positions":
            return PositionsTopic(stream, ring_frames_max=frames_max, ended_max=limits.ended_positions_max)
        return Topic(stream, ring_frames_max=frames_max)

    def _require_room(self, stream: Stream, instead_of: Topic | None) -> None:
        """Each stream costs the engine an encoding at every change, so strangers may not open them without end."""
        if len(self._topics) >= self._limits.topics_max:
            raise protocol.too_many(self._limits.topics_max, protocol.STREAMS_OPEN)
        if stream.channel == "positions":
            accounts = [open_stream.account for open_stream in self._topics if open_stream.channel == "positions"]
            if len(accounts) >= self._limits.positions_topics_max:
                raise protocol.too_many(self._limits.positions_topics_max, protocol.STREAMS_OPEN)
            # Renewed credentials must not cost a client its positions for the moment that it has both streams.
            ending = instead_of is not None and not instead_of.holders and len(instead_of.subscriptions) == 1
            if accounts.count(stream.account) - ending >= self._limits.positions_topics_per_account_max:
                raise protocol.too_many(self._limits.positions_topics_per_account_max, protocol.POSITIONS_OPEN)
        if stream.channel == "orderbook" and stream.depth not in protocol.DEPTHS_ALWAYS_OPEN:
            others = sum(
                open_stream.symbol == stream.symbol
                and open_stream.channel == "orderbook"
                and open_stream.depth not in protocol.DEPTHS_ALWAYS_OPEN
                for open_stream in self._topics
            )
            if others >= self._limits.other_depths_max:
                raise protocol.too_many(self._limits.other_depths_max, protocol.DEPTHS_OPEN)

    def release(self, topic: Topic) -> None:
        """The opposite of `hold`."""
        topic.holders -= 1
        self.left(topic)

    def left(self, topic: Topic) -> None:
        """A client has left; where it was the last, the topic lingers and then ends."""
        if not topic.idle or topic in self._lingering or self._topics.get(topic.stream) is not topic:
            return
        loop = asyncio.get_running_loop()
        # Positions are read no longer than somebody who may read them is there; nor can their stream be resumed.
        seconds = 0 if topic.stream.channel == "positions" else self._limits.linger_seconds
        self._lingering[topic] = loop.call_later(seconds, self._end, topic)

    async def settled(self, topics: Iterable[Topic]) -> None:
        """Wait until the engine has answered for each topic, within limits; what is not answered then is lost."""
        waiting = [topic for topic in topics if not topic.settled.is_set()]
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                for topic in waiting:
                    await topic.settled.wait()
        except TimeoutError:
            for topic in waiting:
                if not topic.settled.is_set():
                    self._lose(topic, "no answer")

    def close(self) -> None:
        """End every topic."""
        for topic in list(self._feeders):
            self._end(topic)

    def _end(self, topic: Topic) -> None:
        if (handle := self._lingering.pop(topic, None)) is not None:
            handle.cancel()
        self._lost.discard(topic)
        if self._topics.get(topic.stream) is topic:
            del self._topics[topic.stream]
            metrics.TOPICS.dec()
        if (feeder := self._feeders.pop(topic, None)) is not None:
            feeder.cancel()

    async def _feed(self, topic: Topic, resume_after: int | None) -> None:
        """Keep the topic's stream open until the topic ends or the engine refuses it."""
        attempts = 0
        while True:
            told = 0.0
            try:
                await self._read(topic, topic.seq or resume_after, patient=attempts > 0)
                reason = "the engine ended the stream"
            except grpc.aio.AioRpcError as error:
                if (refusal := _refusal(topic, error)) is not None:
                    self._refuse(topic, refusal)
                    return
                told = _retry_told(error)
                reason = f"{error.code().name}: {error.details()}"
            except _HungError:
                reason = "the engine does not answer"
            except Exception as error:
                # One topic's defect must not end the bridge; it is tried again like a loss.
                _log.exception("websocket_upstream_defect", stream=topic.stream.label)
                reason = repr(error)
            # A stream that had been open begins its pauses anew.
            attempts = 1 if topic.settled.is_set() and topic not in self._lost else attempts + 1
            self._lose(topic, reason)
            await asyncio.sleep(self._pause(attempts, told))

    async def _read(self, topic: Topic, resume_after: int | None, *, patient: bool) -> None:
        """Open the stream once and read it to its end.

        Args:
            patient: wait until the engine can be reached at all, rather than fail at once.
        """
        call = self._open(topic.stream, resume_after, patient)
        self._calls.add(call)
        first = asyncio.ensure_future(call.read())
        try:
            # A stream that is well sends headers at once, but so may one that is refused right after; and a stream
            # that is well may have nothing to send for a while. Hence this short wait. Not for positions, which always
            # begin with a snapshot: until it is there, a ledger may be failing slowly.
            if topic.stream.channel != "positions":
                await call.initial_metadata()
                await asyncio.wait([first], timeout=self._limits.refusal_seconds)
                if not first.done():
                    self._opened(topic)
            response = await first
            while isinstance(response, _Response):  # it is `grpc.aio.EOF` at the end
                self._opened(topic)
                self._take(topic, response)
                response = await call.read()
        except asyncio.CancelledError:
            if call in self._hung:  # it is the call that was cancelled, not this task
                raise _HungError from None
            raise
        finally:
            self._hung.discard(call)
            self._calls.discard(call)
            call.cancel()
            first.cancel()

    def _open(self, stream: Stream, resume_after: int | None, patient: bool) -> grpc.aio.UnaryStreamCall[Any, Any]:
        if stream.channel == "positions":
            metadata = (("x-client-ip", stream.address), ("x-session-bin", stream.session.encode()))
            positions = portfolio_pb2.StreamPositionsRequest()
            return self._portfolio.StreamPositions(positions, metadata=metadata, wait_for_ready=patient)
        symbols = [stream.symbol]
        if stream.channel == "market":
            # One before what is needed: then the answer is never empty, so that whoever comes later has a snapshot.
            resume = {stream.symbol: resume_after - 1} if resume_after else {}
            prices = market_pb2.StreamPricesRequest(symbols=symbols, resume_after=resume)
            return self._stub.StreamPrices(prices, wait_for_ready=patient)
        if stream.channel == "orderbook":
            books = market_pb2.StreamOrderBooksRequest(symbols=symbols, depth=stream.depth)
            return self._stub.StreamOrderBooks(books, wait_for_ready=patient)
        candles = market_pb2.StreamCandlesRequest(symbols=symbols, interval=stream.interval)
        return self._stub.StreamCandles(candles, wait_for_ready=patient)

    def _take(self, topic: Topic, response: _Response) -> None:
        """Everything that one response brings, then one round to the clients."""
        if isinstance(response, market_pb2.StreamPricesResponse):
            for update in response.updates:
                if topic.seq is None or update.seq >= topic.seq:
                    _append(topic, update.seq, protocol.price(update))
        elif isinstance(response, market_pb2.StreamOrderBooksResponse):
            for book in response.books:
                topic.append(book.seq, protocol.book(book, topic.stream.depth))
        elif isinstance(response, market_pb2.StreamCandlesResponse):
            for candle in response.updates:
                _append(topic, candle.seq, protocol.candle(candle))
        else:
            _take_positions(topic, response)
            self._fanout.publish(topic)
            return
        if response.interruptions:
            # Only the last counts: what is over by now need not be told.
            last = response.interruptions[-1]
            if last.restored:
                topic.recover()
            else:
                topic.append_notice(EntasisError("MARKET_DOWN", symbol=last.symbol, exchange=last.exchange))
        self._fanout.publish(topic)

    def _opened(self, topic: Topic) -> None:
        """The engine serves the stream."""
        topic.settled.set()
        if topic in self._lost:
            self._lost.remove(topic)
            topic.recover()
            if not self._lost:
                _log.info("websocket_upstream_regained")

    def _lose(self, topic: Topic, reason: str) -> None:
        """The engine does not answer; clients are told once, until it does again."""
        topic.settled.set()
        if topic in self._lost:
            return
        if not self._lost:  # a line for the engine, not for each of its streams
            _log.warning("websocket_upstream_lost", first_stream=topic.stream.label, reason=reason)
        metrics.LOST.inc()
        self._lost.add(topic)
        topic.append_notice(EntasisError("UNAVAILABLE"))
        self._fanout.publish(topic)

    def _refuse(self, topic: Topic, status: status_pb2.Status) -> None:
        topic.refusal = status
        topic.settled.set()
        self._feeders.pop(topic, None)  # the caller is that task, and about to end
        self._end(topic)
        self._on_refused(topic, status)

    def _pause(self, attempts: int, told: float) -> float:
        """How long to wait before a stream is opened again.

        Args:
            told: seconds that the engine asks for; 0 where it does not say.
        """
        longest = min(self._limits.retry_seconds_max, self._limits.retry_seconds_min * 2**attempts)
        # Full jitter, so that a thousand topics do not come back in one instant.
        jitter = random.uniform(self._limits.retry_seconds_min, longest)  # noqa: S311 - nothing secret
        return jitter + min(told, self._limits.retry_told_seconds_max)


def _refusal(topic: Topic, error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    """What the engine has against a stream; None where it may serve it later."""
    status, code = status_in(error), error.code()
    if code in _REFUSALS:
        return status or EntasisError(_REFUSALS[code], symbol=topic.stream.symbol).status()
    if topic.stream.channel != "positions":
        return None
    # A limit passes. Whoever was served before is served again then; whoever has just come had better be told.
    passing = code is grpc.StatusCode.RESOURCE_EXHAUSTED
    return status if code in _POSITIONS_REFUSALS or (passing and topic.seq is None) else None


def _retry_told(error: grpc.aio.AioRpcError) -> float:
    """In how many seconds a caller beyond a limit may try again; 0 for any other error: an outage may end sooner."""
    status = status_in(error)
    if status is None or error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
        return 0.0
    retry = error_details_pb2.RetryInfo()
    if not any(detail.Unpack(retry) for detail in status.details):
        return 0.0
    return max(0.0, float(retry.retry_delay.ToMilliseconds()) / 1000)


def _append(topic: Topic, seq: int, payload: bytes) -> None:
    if seq == topic.seq:  # what a stream that was opened again begins with, where nothing has changed meanwhile
        topic.restore(payload)
    else:
        topic.append(seq, payload)


def _take_positions(topic: Topic, response: portfolio_pb2.StreamPositionsResponse) -> None:
    if not isinstance(topic, PositionsTopic):
        raise TypeError(f"positions on the channel {topic.stream.channel}")
    for update in response.updates:
        if update.event == SNAPSHOT:
            topic.begin(update)
        else:
            topic.change(update)
