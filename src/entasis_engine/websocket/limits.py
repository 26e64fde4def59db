"""How much of everything, and for how long. What an operator may want to change is in `Settings` instead."""

from __future__ import annotations

from dataclasses import dataclass

from entasis_engine.times import Monotonic


@dataclass(frozen=True)
class Limits:
    """Bounds of the bridge that are part of its design. Tests make the waits shorter."""

    ring_frames_max: int = 1024
    """Messages kept per market stream for `resume`: as many as the engine keeps."""
    ring_frames_max_replaced: int = 64
    """Messages kept per stream of books, candles or positions, where none can be asked for again."""
    linger_seconds: float = 30.0
    """How long a stream stays open after its last client left, so that a client that reconnects can resume."""
    topics_max: int = 800
    """Streams open to the engine, which takes 1000 on one connection."""
    positions_topics_max: int = 500
    """Those of them that are somebody's positions, so that they leave room for the market's."""
    positions_topics_per_account_max: int = 10
    """Those of them that are one account's, whose every token and address has its own: so that few accounts cannot
    take them all.
    """
    ended_positions_max: int = 100
    """Positions that ended, kept per stream for clients that fell behind; beyond it they get a snapshot."""
    other_depths_max: int = 8
    """Order book depths of one symbol open at once, beside the usual ones."""
    unnoted_max: int = 10_000
    """Refusals that wait for the engine to note them in its audit log; beyond it the oldest is lost."""
    watch_seconds: float = 5.0
    """Pause between questions whether the engine lives."""
    answer_seconds: float = 3.0
    """How long the engine may take to answer: about a stream that was not open yet, or whose a client is."""
    sessions_seconds: float = 2.0
    """Pause between questions which sessions are over; so long a revoked key works on."""
    housekeeping_seconds: float = 0.5
    """Pause between looks at every socket: whether its time is over, it takes nothing, or a heartbeat is due."""
    refusal_seconds: float = 0.1
    """How long after its headers a market stream may still turn out to be refused; then it counts as open. Positions
    begin with a snapshot, which is waited for.
    """
    retry_seconds_min: float = 0.1
    """First pause before a lost stream is opened again; it doubles each time."""
    retry_seconds_max: float = 5.0
    retry_told_seconds_max: float = 60.0
    """The longest pause that the engine's `retry_delay` can ask for."""
    controls_max: int = 1000
    """Answers and errors kept for a client that does not read; one more and it is disconnected."""
    control_bytes_max: int = 1_048_576
    """The same in bytes."""
    hang_up_seconds: float = 1.0
    """How long a client that sends too large a frame may go on sending, unread, so that it reads the answer."""
    stall_seconds: float = 40.0
    """A client that took not one byte for this long is disconnected; as long as ping and its timeout together."""
    message_rate: float = 50.0
    """Messages per second that a client may send in the long run."""
    message_burst: float = 200.0
    """Messages that a client may send at once."""
    open_seconds: float = 10.0
    """How long a handshake may take."""
    close_seconds: float = 3.0
    """How long a closing handshake may take before the connection is cut."""
    ping_seconds: float = 20.0
    """Pause between pings, and how long a pong may take. Proxies cut sockets that are silent for longer."""


class TokenBucket:
    """Admits `rate` messages a second in the long run, and `burst` at once."""

    __slots__ = ("_burst", "_clock", "_rate", "_tokens", "_when")

    def __init__(self, rate: float, burst: float, clock: Monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._when = clock()

    def take(self) -> bool:
        """Whether one more message is admitted."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._when) * self._rate)
        self._when = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def charge(self, tokens: int) -> None:
        """Count what a message cost beyond itself; later messages wait for it."""
        self._tokens -= tokens
