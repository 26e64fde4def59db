"""From one stream to many clients: what is sent to whom, and when. No socket is known here, only a place to write to.

A `Topic` is a numbered log of ready WebSocket frames. A client owns no queue: its `Subscription` remembers how far in
the log it has been served. So an update costs the same for one client and for a thousand, frames that many clients
are due are joined once, and a client that does not read costs nothing but that number: when its socket drains it
gets the newest frame, and the skipped `seq` shows the gap.

When frames leave: time is cut in periods of `flush_seconds`. A client gets at most one write of data per period. If it
has had none yet, the frame leaves at once; otherwise all that gathers leaves when the period ends.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from google.rpc import status_pb2
from websockets.frames import Frame, Opcode

from entasis.portfolio.v1 import portfolio_pb2
from entasis_engine.errors import EntasisError, Language
from entasis_engine.times import Monotonic
from entasis_engine.websocket import metrics, protocol
from entasis_engine.websocket.limits import Limits
from entasis_engine.websocket.protocol import Stream

OPEN = "open"
"""Status of a position that may still change."""
SNAPSHOT = "snapshot"
"""Event of a message that has all open positions."""


def text_frame(payload: bytes) -> bytes:
    """A WebSocket text frame as a server sends it, ready for the transport."""
    return Frame(Opcode.TEXT, payload).serialize(mask=False)


class Outlet(Protocol):
    """The way to one client."""

    def write(self, data: bytes) -> None:
        """Take whole frames; nothing happens once the connection is closing."""
        ...

    def expel(self, reason: str) -> None:
        """Disconnect a client that does not read."""
        ...


class CallLater(Protocol):
    """`loop.call_later`, as far as it is needed."""

    def __call__(self, delay: float, callback: Callable[[], None], /) -> object: ...


class _Entry(NamedTuple):
    """One frame of a topic's log, the same object twice unless it speaks."""

    seq: int
    """The data's number; -1 for a notice, which has none."""
    english: bytes
    korean: bytes


class Topic:
    """One stream, and everything about it that its clients share."""

    def __init__(self, stream: Stream, *, ring_frames_max: int) -> None:
        self.stream = stream
        self.subscriptions: dict[Client, Subscription] = {}
        self.end = 0
        """How many frames the log has had; the ring holds the last of them."""
        self.seq: int | None = None
        """Number of the newest data."""
        self.holders = 0
        """Commands that wait for the first answer; the topic must not end under them."""
        self.settled = asyncio.Event()
        """Set once it is known whether the stream is open, refused or out of reach."""
        self.refusal: status_pb2.Status | None = None
        """Why the engine does not serve this stream at all."""
        self.due = False
        """Whether its frames leave when the period ends."""
        self.period = -1
        """The last period in which every client was written to."""
        self._ring: deque[_Entry] = deque(maxlen=ring_frames_max)
        self._newest: _Entry | None = None
        self._notice: _Entry | None = None
        self._joined: dict[tuple[int, Language], bytes] = {}
        self._newcomers: list[Client] = []
        self.sent = metrics.MESSAGES.labels(stream.channel)
        self.conflated = metrics.CONFLATED.labels(stream.channel)

    @property
    def live(self) -> bool:
        """Whether nothing is known to be wrong with the data."""
        return self._notice is None

    @property
    def newest_frame(self) -> bytes:
        """The newest data; empty where it is stale."""
        return b"" if self._newest is None else self._newest.english

    @property
    def idle(self) -> bool:
        """Whether nobody needs the topic."""
        return not self.subscriptions and not self.holders

    def append(self, seq: int, payload: bytes) -> None:
        """One more update. `Fanout.publish` must follow."""
        frame = text_frame(payload)
        self.seq = seq
        self._newest = _Entry(seq, frame, frame)
        self._newcomers.clear()  # they get this one like everybody
        self._append(self._newest)

    def restore(self, payload: bytes) -> None:
        """The newest update once more, after the stream was opened again. Who has had it gets nothing; who came when
        it could not be given, gets it now.
        """
        frame = text_frame(payload)
        self._newest = _Entry(self.seq or 0, frame, frame)
        newcomers, self._newcomers = self._newcomers, []
        for client in newcomers:
            if client in self.subscriptions:
                self.sent.inc()
                client.send([frame])

    def append_notice(self, error: EntasisError) -> None:
        """The data is not live from here on. What was newest is stale, so nobody gets it as a snapshot any more."""
        english, korean = (text_frame(self._speak(error, language)) for language in ("en", "ko"))
        self._newest = None
        self._notice = _Entry(-1, english, korean)
        self._append(self._notice)

    def welcome_later(self, client: Client) -> None:
        """Note that a client came while there was nothing live to begin with."""
        if client not in self._newcomers:
            self._newcomers.append(client)

    def recover(self) -> None:
        """The data is live again. Nothing is said of it: the data speaks."""
        self._notice = None

    def since(self, position: int, language: Language) -> bytes:
        """The frames after `position`, joined once for all who stand there; as far back as the ring reaches."""
        joined = self._joined.get((position, language))
        if joined is None:
            behind = min(self.end - position, len(self._ring))
            entries = [self._ring[index] for index in range(-behind, 0)]
            frames = [entry.korean if language == "ko" else entry.english for entry in entries]
            joined = self._joined[position, language] = frames[0] if behind == 1 else b"".join(frames)
        return joined

    def latest(self, language: Language) -> bytes:
        """What one who missed everything needs: the newest data unless it is stale, and what is wrong, if anything."""
        return self.newest_frame + self.notice(language)

    def again(self, position: int, language: Language) -> bytes:
        """What one gets who subscribes again before all up to here was sent: the rest, the newest included."""
        return self.since(position, language)

    def missed(self, position: int, language: Language, *, anew: bool) -> bytes:
        """What one needs who stands at `position` and cannot be given everything since.

        Args:
            anew: whether they are to begin anew, like one who has just come.
        """
        return self.latest(language)

    def notice(self, language: Language) -> bytes:
        """What is wrong, if anything."""
        entry = self._notice
        return b"" if entry is None else entry.korean if language == "ko" else entry.english

    def position_after(self, seq: int) -> int | None:
        """Where to go on for one who has everything up to `seq`; None if not everything since then is held."""
        if self.seq is None or seq > self.seq:
            return None
        position = self.end
        expected = self.seq  # the number that the next older update must have
        for offset, entry in enumerate(reversed(self._ring), start=1):
            if expected <= seq:
                break
            if entry.seq == -1 or entry.seq == expected + 1:
                continue  # a notice; or the snapshot that repeats an update after the stream was reopened
            if entry.seq != expected:
                return None
            position = self.end - offset
            expected -= 1
        return position if expected <= seq else None

    def _speak(self, error: EntasisError, language: Language) -> bytes:
        return protocol.error(error, language, channel=self.stream.channel, symbol=self.stream.symbol or None)

    def _append(self, entry: _Entry) -> None:
        self._ring.append(entry)
        self.end += 1
        self._joined.clear()


class _Newest(NamedTuple):
    """The newest frame about one position."""

    number: int
    """Its place in the topic's log."""
    frame: bytes
    position: portfolio_pb2.Position


class PositionsTopic(Topic):
    """Positions of an account. Unlike a market's updates, one replaces the one before only if it is about the same
    position: so the newest about each is kept, of those too that ended.
    """

    def __init__(self, stream: Stream, *, ring_frames_max: int, ended_max: int) -> None:
        super().__init__(stream, ring_frames_max=ring_frames_max)
        self._ended_max = ended_max
        self._open: dict[str, portfolio_pb2.Position] = {}
        self._about: dict[str, _Newest] = {}
        """By position, in the order of the last change."""
        self._ended: deque[str] = deque()
        self._complete_after = 0
        """Whoever is done with fewer frames of the log has missed something that is not kept any more."""
        self._known = False
        """Whether it is known what is open."""
        self._snapshot: bytes | None = None

    def begin(self, update: portfolio_pb2.PositionUpdate) -> None:
        """What is open now, in place of all that was known. `Fanout.publish` must follow."""
        self._open = {held.position_id: held for held in update.positions}
        self._about = {name: newest for name, newest in self._about.items() if newest.position.status != OPEN}
        self._known = True
        # Those who fell behind before need all of it.
        self._complete_after = self.end + 1
        self.append(update.seq, protocol.positions(self._open.values(), update.event, update.seq))
        self._snapshot = self.newest_frame

    def change(self, update: portfolio_pb2.PositionUpdate) -> None:
        """Something happened to one position. `Fanout.publish` must follow."""
        held = update.positions[0]
        name = held.position_id
        self._snapshot = None
        self.append(update.seq, protocol.positions(update.positions, update.event, update.seq))
        self._about.pop(name, None)
        self._about[name] = _Newest(self.end, self.newest_frame, held)
        if held.status == OPEN:
            self._open[name] = held
            return
        self._open.pop(name, None)
        self._ended.append(name)
        if len(self._ended) > self._ended_max:
            forgotten = self._about.pop(self._ended.popleft(), None)
            if forgotten is not None:
                self._complete_after = max(self._complete_after, forgotten.number)

    def append_notice(self, error: EntasisError) -> None:
        self._known = False
        super().append_notice(error)

    def latest(self, language: Language) -> bytes:
        """All that are open, unless that is stale, and what is wrong, if anything."""
        if not self._known:
            return self.notice(language)
        if self._snapshot is None:
            self._snapshot = text_frame(protocol.positions(self._open.values(), SNAPSHOT, self.seq or 0))
        return self._snapshot + self.notice(language)

    def since(self, position: int, language: Language) -> bytes:
        """As `Topic` has it; where that reaches further back than the ring, the newest about each position."""
        if self.end - position > len(self._ring):
            return self.missed(position, language, anew=False)
        return super().since(position, language)

    def again(self, position: int, language: Language) -> bytes:
        return self.since(position, language) + self.latest(language)

    def missed(self, position: int, language: Language, *, anew: bool) -> bytes:
        """The newest about each position that changed after `position`; and what is open, where that is not enough."""
        whole = self._known and (anew or position < self._complete_after)
        frames = [
            newest.frame
            for newest in self._about.values()
            if newest.number > position and not (whole and newest.position.status == OPEN)
        ]
        return b"".join(frames) + (self.latest(language) if whole else self.notice(language))


class Subscription:
    """One client's place in one topic."""

    __slots__ = ("anew", "client", "position", "topic", "turn")

    def __init__(self, client: Client, topic: Topic) -> None:
        self.client = client
        self.topic = topic
        self.position = topic.end
        """Frames of the topic's log that this client is done with."""
        self.anew = False
        """Whether it is to begin anew once the client is not slow any more."""
        self.turn = 0
        """When it last had its turn while the client was slow."""


class Client:
    """One WebSocket, as far as sending goes."""

    __slots__ = (
        "_control_bytes",
        "_controls",
        "_limits",
        "_turns",
        "congested",
        "gone",
        "language",
        "outlet",
        "period",
        "subscriptions",
        "write",
    )

    def __init__(self, outlet: Outlet, language: Language, *, limits: Limits) -> None:
        self.outlet = outlet
        self.write = outlet.write  # bound once: this is called for every client in every period
        self.language: Language = language
        self.subscriptions: dict[Stream, Subscription] = {}
        self.congested = False
        """Whether so much is unsent that nothing more is written until the socket drains."""
        self.gone = False
        """Whether the socket is closed; nothing may be attached to it any more."""
        self.period = -1
        """The last period in which data was written."""
        self._controls: list[bytes] = []
        self._control_bytes = 0
        self._limits = limits
        self._turns = 0

    def send(self, frames: Sequence[bytes]) -> None:
        """Answers and errors: written at once, or kept in order while the client is congested, up to a limit."""
        if not self.congested:
            self.write(b"".join(frames))
            return
        self._controls.extend(frames)
        self._control_bytes += sum(map(len, frames))
        if len(self._controls) > self._limits.controls_max or self._control_bytes > self._limits.control_bytes_max:
            self._forget_controls()
            self.outlet.expel("too slow: answers were not read")

    def pause(self) -> None:
        """Too much is unsent."""
        self.congested = True
        metrics.SLOW.inc()

    def resume(self) -> None:
        """The socket has drained: first the answers, then the newest of each stream, the longest waiting first.

        Writing may fill the socket again; what is left then waits for the next time.
        """
        self.congested = False
        if self._controls:
            controls = b"".join(self._controls)
            self._forget_controls()
            self.write(controls)
        behind = [sub for sub in self.subscriptions.values() if sub.anew or sub.position < sub.topic.end]
        behind.sort(key=lambda sub: sub.turn)
        self._turns += 1
        for sub in behind:
            if self.congested:  # set by `pause` while writing
                break
            topic = sub.topic
            frames = topic.missed(sub.position, self.language, anew=sub.anew)
            topic.conflated.inc(max(0, topic.end - sub.position - 1))
            sub.position = topic.end
            sub.anew = False
            sub.turn = self._turns
            if frames:
                topic.sent.inc()
                self.write(frames)

    def _forget_controls(self) -> None:
        self._controls.clear()
        self._control_bytes = 0


class Fanout:
    """Brings frames from topics to clients, in periods."""

    def __init__(
        self, *, flush_seconds: float, call_later: CallLater, stopwatch: Monotonic = time.perf_counter
    ) -> None:
        self._flush_seconds = flush_seconds
        self._call_later = call_later
        self._stopwatch = stopwatch
        self._period = 0
        self._running = False
        self._due: list[Topic] = []

    def publish(self, topic: Topic) -> None:
        """Bring what was appended to the topic to its clients, now or when the period ends."""
        if topic.due or not topic.subscriptions:
            return
        if not self._running:
            self._running = True
            self._period += 1
            self._call_later(self._flush_seconds, self._end_period)
        # Where all clients were already served in this period there is no need to look at each.
        if topic.period == self._period or not self._serve(topic, rested_only=True):
            topic.due = True
            self._due.append(topic)

    def attach(self, client: Client, topic: Topic, *, resume_after: int | None = None) -> tuple[bool | None, bytes]:
        """Subscribe, or subscribe again.

        Returns:
            Whether data goes on right after `resume_after` (None if not asked for), and the frames to begin with.
        """
        subscription = client.subscriptions.get(topic.stream)
        if subscription is None:
            subscription = Subscription(client, topic)
            client.subscriptions[topic.stream] = topic.subscriptions[client] = subscription
        resumed = None if resume_after is None else False
        if client.congested:
            subscription.anew = True  # nothing may be written: `Client.resume` does it
            return resumed, b""
        if resume_after is not None and (position := topic.position_after(resume_after)) is not None:
            resumed = True
            subscription.position = position
            opening = b"" if position == topic.end else topic.since(position, client.language)
            # What is wrong is told even to one who was told before the connection broke.
            if not opening and not topic.live:
                opening = topic.latest(client.language)
        elif subscription.position < topic.end:
            opening = topic.again(subscription.position, client.language)
        else:
            opening = topic.latest(client.language)
        subscription.position = topic.end
        if not topic.live:
            topic.welcome_later(client)
        if opening:
            topic.sent.inc()
        return resumed, opening

    def detach(self, client: Client, topic: Topic) -> None:
        """End a subscription; what was still due to it is not sent."""
        del client.subscriptions[topic.stream]
        del topic.subscriptions[client]

    def _end_period(self) -> None:
        started = self._stopwatch()
        self._period += 1
        due, self._due = self._due, []
        if not due:
            self._running = False
            return
        for topic in due:
            topic.due = False
        try:
            if len(due) == 1:
                self._serve(due[0], rested_only=False)
            else:
                self._serve_together(due)
        finally:
            # Under overload the next period lasts as long as this flush took, so that flushing leaves half the time
            # to reading, and writes become fewer and larger by themselves.
            self._call_later(max(self._flush_seconds, self._stopwatch() - started), self._end_period)

    def _serve(self, topic: Topic, *, rested_only: bool) -> bool:
        """Write what is due to the topic's clients; returns whether all were served."""
        end, period = topic.end, self._period
        sent = position = 0
        language: Language | None = None
        frames = b""
        complete = True
        for subscription in topic.subscriptions.values():
            client = subscription.client
            if client.congested or subscription.position == end:
                continue
            if rested_only and client.period == period:
                complete = False
                continue
            if subscription.position != position or client.language != language:
                position, language = subscription.position, client.language
                frames = topic.since(position, language)
            subscription.position = end
            client.period = period
            client.write(frames)
            sent += end - position
        if complete:
            topic.period = period
        topic.sent.inc(sent)
        return complete

    def _serve_together(self, topics: Iterable[Topic]) -> None:
        """Write what is due from several topics, with one write to each client."""
        due: dict[Client, list[bytes]] = {}
        for topic in topics:
            end = topic.end
            sent = 0
            for subscription in topic.subscriptions.values():
                client, position = subscription.client, subscription.position
                if client.congested or position == end:
                    continue
                frames = topic.since(position, client.language)
                if (together := due.get(client)) is None:
                    due[client] = [frames]
                else:
                    together.append(frames)
                subscription.position = end
                sent += end - position
            topic.period = self._period
            topic.sent.inc(sent)
        for client, parts in due.items():
            client.period = self._period
            client.write(parts[0] if len(parts) == 1 else b"".join(parts))
